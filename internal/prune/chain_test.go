package prune

import (
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Whatever a next increment may be built on is not sent again: its base would be gone before there is one.
func TestChainsAreNotRefreshed(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	full, base, top, plain := w.oneOf(1, 1), w.oneOf(2, 1), w.oneOf(3, 2), w.oneOf(4, 3)
	full.Points = []snapshot.Point{{Of: "tank", At: "a", ID: "1", Stream: "tank"}}
	top.Base = base.ID
	items := []snapshot.Item{full, base, top, plain}
	x := &run{o: &Options{Decide: func(items []snapshot.Item, _ time.Time) (gone []snapshot.ID, err error) {
		for _, it := range items {
			gone = append(gone, it.ID)
		}
		return gone, nil
	}}, now: w.now()}
	lives, err := x.lives(&view{items: items})
	w.must(err)
	for _, it := range items {
		if chained := it.ID != plain.ID; chained != (lives[it.ID] == never) {
			t.Errorf("%v lives for %v", it.ID, lives[it.ID])
		}
	}
}

// asking calls before, once, when a record is about to be stored that says something: the first of a run only tells the time.
type asking struct {
	store.Store
	records atomic.Int64
	before  func()
}

func (a *asking) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if strings.HasPrefix(name, "prune/") {
		if a.records.Add(1) == 2 {
			a.before()
		}
	}
	return a.Store.Put(ctx, name, r, size, o)
}

// A snapshot that is built upon another one is done after a pruner has looked, and before its record forgets the base: that stays until nothing needs it any more.
func TestBaseIsForgottenMeanwhile(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	base := w.backup(1, "one")
	w.clock.pass(time.Hour)
	b, err := begin(w.mem, w.access, w.now, 1, w.newID(), repo.WriterOptions{})
	w.must(err)
	b.base = base.ID
	s, err := b.snapshot(true, true, "one", "two")
	w.must(err)
	var top snapshot.Item
	forget := func(st store.Store, id snapshot.ID) {
		t.Helper()
		o := w.options(st, w.prunes())
		o.Decide, o.Last, o.Only = nil, true, true
		if !id.IsZero() {
			o.Forget = []snapshot.ID{id}
		}
		w.prune(o)
	}
	forget(&asking{Store: w.mem, before: func() {
		top, err = b.out.Publish(ctx, s)
		w.must(err)
		w.must(b.out.Confirm(ctx, top))
	}}, base.ID)
	chain := func() error {
		state, err := w.open(w.mem, repo.Access{Secrets: w.access.Secrets}).Load(ctx, w.access.Host.ScopeID, true)
		w.must(err)
		_, err = snapshot.Chain(state.Items, top.ID)
		return err
	}
	if err := chain(); err != nil {
		t.Fatal(err)
	}
	forget(w.mem, snapshot.ID{}) // finds one that is forgotten, and still there
	o := w.options(w.mem, w.prunes())
	o.Decide = nil
	w.clock.pass(48 * time.Hour)
	w.prune(o)
	if err := chain(); err != nil {
		t.Fatal(err)
	}
	w.must(w.sound(true))
	forget(w.mem, top.ID)
	if left := w.names("snapshots/"); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
