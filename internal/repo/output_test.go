package repo

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"
)

// TestSpoolWaits fails writes to the spool as a full disk does: as long as a pack is on its way, which leaves the spool when it is through, the writer waits
// for that; the rest of what was begun to be written follows. After that the error comes out.
func TestSpoolWaits(t *testing.T) {
	if testing.Short() {
		t.Skip("waits")
	}
	r, f, err := os.Pipe() // takes what its buffer holds, then fails by its deadline
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer f.Close()
	if err := f.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Skip(err)
	}
	w := &Writer{r: &Repository{}, landed: make(chan struct{}), flying: 2}
	w.upCtx, w.fail = context.WithCancelCause(t.Context())
	content := make([]byte, 1<<20)
	for i := range content {
		content[i] = byte(i * i >> 3)
	}
	o := &output{w: w, file: f}
	var got []byte
	read := make(chan error, 1)
	ended := make(chan error, 1)
	go func() {
		_, err := o.Write(content)
		ended <- err
	}()
	w.land() // the disk is as full as before
	select {
	case err := <-ended:
		t.Fatalf("gave up while a pack was on its way: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	go func() {
		got = make([]byte, len(content))
		_, err := io.ReadFull(r, got)
		read <- err
	}()
	if err := f.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	w.land()
	if err := errors.Join(<-ended, <-read); err != nil || string(got) != string(content) {
		t.Fatalf("what was written is not what is there (%v)", err)
	}
	if err := f.SetWriteDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Write(content); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("nothing is on its way: %v", err)
	}
	w.mu.Lock()
	w.flying = 1
	w.mu.Unlock()
	w.fail(ErrAborted)
	if _, err := o.Write(content); !errors.Is(err, ErrAborted) {
		t.Fatalf("run has ended: %v", err)
	}
}
