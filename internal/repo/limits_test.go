package repo_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/store"
)

// counting counts the bytes that are read.
type counting struct {
	store.Store
	n *atomic.Int64
}

func (c counting) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	rc, err := c.Store.Get(ctx, name, offset, length)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(rc, counter{c.n}), rc}, nil
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

// No more is read of an object than it can have, whoever has put what in its place, and nothing of one that is listed with more.
func TestNoMoreIsReadThanAnObjectCanHave(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, "one")
	b := w.begin(w.open(w.access), w.load(w.open(w.access)), repo.WriterOptions{})
	it, err := b.out.Publish(ctx, b.snapshot(false, "two")) // a partial one
	w.must(err)
	long := []byte(strings.Repeat("x", 80<<20))
	prefix := "snapshots/" + w.access.Host.ScopeID.String() + "/"
	w.add(prefix+it.ID.String()+".done", long)
	w.add(prefix+strings.Repeat("0", 32), long)
	var n atomic.Int64
	w.st = counting{w.mem, &n}
	s := w.load(w.open(w.access))
	if n.Load() > 4<<20 {
		t.Errorf("%d MiB were read into memory", n.Load()>>20)
	}
	if len(s.Damaged) != 2 {
		t.Errorf("told: %v", s.Damaged)
	}
}

// What lies below state/ and never was a state of the host goes once it is old, and is not asked for by every prune.
func TestGarbageAmongStates(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	b := w.begin(r, w.load(r), repo.WriterOptions{})
	w.must(b.out.PutState(ctx, nil))
	real := w.names("state/")
	for i := range 50 {
		w.add(fmt.Sprintf("state/%v/%016x-%v", w.access.Host.Host, uint64(1)<<62+uint64(i), digest.Object{1, byte(i)}), []byte("x"))
	}
	p, err := w.open(repo.Access{Secrets: w.access.Secrets}).LoadToPrune(ctx, w.access.Host.ScopeID)
	w.must(err)
	before := w.clock.now()
	w.add(fmt.Sprintf("state/%v/%016x-%v", w.access.Host.Host, uint64(1)<<62, digest.Object{2}), []byte("young"))
	if n, err := p.TidyStates(ctx, before); err != nil || n != 50 {
		t.Errorf("%d deleted, %v", n, err)
	}
	if left := w.names("state/"); len(left) != len(real)+1 || left[0] != real[0] {
		t.Errorf("left: %v", left)
	}
}
