package prune

import (
	"bytes"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/event"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// moved brings the repository to another place by a plain copy: all dates are new, those of revocations before those of all that was stored under their keys.
func (w *world) moved() *world {
	moved := mem.New(mem.Options{Now: w.now})
	w.must(w.mem.List(ctx, "", "", func(i store.Info) error {
		w.clock.pass(time.Second)
		return moved.Put(ctx, i.Name, bytes.NewReader(w.object(i.Name)), i.Size, store.PutOptions{})
	}))
	n := *w
	n.mem = moved
	return &n
}

// What a host stored in its time must not be taken for what a thief stored after its revocation, wherever the dates are not those of once. It stays until it is forgotten by its id, and is told.
func TestMovedWithRevokedHost(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	base := w.backup(1, "one")
	w.clock.pass(time.Hour)
	item := w.backupOn(w.mem, 1, base.ID, 0, "one", "two")
	w.clock.pass(24 * time.Hour)
	w.must(w.open(w.mem, w.access).Revoke(ctx, w.access.Host.Host, "retired"))
	w.clock.pass(24 * time.Hour)
	w = w.moved()
	before := w.packs()
	var told atomic.Int64
	access := repo.Access{Secrets: w.access.Secrets, Host: w.pruner}
	for range 4 {
		w.clock.pass(9 * 24 * time.Hour)
		o := w.options(w.mem, access)
		o.Decide = keepLast(0)
		o.Report = func(e event.Event) {
			if n, ok := e.(event.Note); ok && strings.Contains(n.Text, "counts for nothing") {
				told.Add(1)
			}
		}
		w.prune(o)
	}
	if n := w.packs(); n < before {
		t.Errorf("%d of %d packs of a done snapshot are left", n, before)
	}
	if n := told.Load(); n != 8 {
		t.Errorf("told %d times", n)
	}
	for _, id := range []snapshot.ID{item.ID, base.ID} { // what it is built on is needed by it
		o := w.options(w.mem, access)
		o.Forget, o.Only = []snapshot.ID{base.ID}, true
		if _, err := Run(ctx, o); (err == nil) != (id == base.ID) {
			t.Errorf("forgetting the base: %v", err)
		}
		if o.Forget = []snapshot.ID{id}; id == item.ID {
			w.prune(o)
		}
	}
	for range 2 {
		w.clock.pass(9 * 24 * time.Hour)
		w.prune(w.options(w.mem, access))
	}
	if n := w.packs(); n > 0 {
		t.Errorf("%d packs are left of what was forgotten", n)
	}
}

// A record that the store got after its author was revoked still keeps packs from being referred to, since they may be gone; it forgets nothing, and no merging makes it count for more.
func TestRecordOfRevokedPruner(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	w.backup(1, "comes back", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	w.clock.pass(time.Hour)
	kept := w.backup(1, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	for range 3 {
		w.clock.pass(25 * time.Hour)
		o := w.options(w.mem, w.prunes())
		o.Decide, o.Refresh.Off = keepLast(1), true
		w.prune(o)
	}
	w.must(w.open(w.mem, w.access).Revoke(ctx, w.pruner.Host, "retired"))
	w.clock.pass(time.Hour)
	w = w.moved()
	w.backup(1, "comes back", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j")
	if err := w.sound(true); err != nil {
		t.Error(err)
	}

	r := w.open(w.mem, repo.Access{Host: w.pruner})
	p, err := r.LoadToPrune(ctx, w.access.Host.ScopeID)
	w.must(err)
	_, err = p.Retire(ctx, nil, []snapshot.ID{kept.ID})
	w.must(err)
	for range 12 { // enough to be merged
		w.clock.pass(25 * time.Hour)
		o := w.options(w.mem, repo.Access{Secrets: w.access.Secrets})
		o.Refresh.Off = true
		w.prune(o)
	}
	s, err := w.open(w.mem, repo.Access{Secrets: w.access.Secrets}).Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	if !slices.ContainsFunc(s.Items, func(it snapshot.Item) bool { return it.ID == kept.ID && it.Status() == snapshot.IsDone }) {
		t.Error("a revoked host has a snapshot forgotten")
	}
}
