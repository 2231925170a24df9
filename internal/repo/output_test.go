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

// TestFitting: packs are no larger than half of the room in the spool; where that is little, those on their way leave first.
func TestFitting(t *testing.T) {
	w := &Writer{r: &Repository{}, landed: make(chan struct{})}
	w.upCtx, w.fail = context.WithCancelCause(t.Context())
	has := func(n int64) func() (int64, bool) { return func() (int64, bool) { return n, n >= 0 } }
	for _, c := range []struct{ limit, room, want int64 }{
		{256 << 20, -1, 256 << 20}, {256 << 20, 1 << 40, 256 << 20}, {256 << 20, 512 << 20, 256 << 20}, {256 << 20, 100 << 20, 50 << 20},
		{256 << 20, 20 << 20, 10 << 20}, {256 << 20, 0, 1 << 20}, {100_000, 150_000, 100_000}, {100_000, 1 << 20, 100_000},
	} {
		if got := w.fitting(c.limit, has(c.room)); got != c.want {
			t.Errorf("limit %d, room %d: %d, want %d", c.limit, c.room, got, c.want)
		}
	}
	w.flying = 1
	room := make(chan int64, 2)
	room <- 20 << 20
	room <- 80 << 20
	asked := make(chan struct{}, 2)
	got := make(chan int64)
	go func() {
		got <- w.fitting(256<<20, func() (int64, bool) { asked <- struct{}{}; return <-room, true })
	}()
	<-asked
	w.land()
	if n := <-got; n != 40<<20 {
		t.Errorf("%d, once there was room for more", n)
	}
	w.flying = 1
	w.fail(ErrAborted)
	if n := w.fitting(5, has(0)); n != 5 {
		t.Errorf("%d in a run that has ended", n)
	}
}
