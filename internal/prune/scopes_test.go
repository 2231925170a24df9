package prune

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// A scope whose last snapshot was forgotten is pruned as well, with the passphrase alone.
func TestScopeWithoutSnapshotsIsPruned(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	w.backup(1, "one", "two")
	all := repo.Access{Secrets: w.access.Secrets}
	for range 5 {
		w.clock.pass(10 * 24 * time.Hour)
		o := w.options(w.mem, all)
		o.Decide, o.Last = func(items []snapshot.Item, _ time.Time) (gone []snapshot.ID, err error) {
			for _, it := range items {
				gone = append(gone, it.ID)
			}
			return gone, nil
		}, true
		w.prune(o)
	}
	if n := w.packs(); n > 0 {
		t.Errorf("%d packs are never deleted", n)
	}
	if ids, err := w.open(w.mem, all).Scopes(ctx); err != nil || len(ids) != 0 {
		t.Errorf("scopes: %v, %v", ids, err)
	}
}

// Names of scopes that nobody has cost nothing but the listing that shows them, and a look at what lies there.
func TestScopesThatNobodyHas(t *testing.T) {
	var lists atomic.Int64
	on := false
	w := newWorld(t, nil, "", func(r mem.Request) error {
		if on && r.Op == "list" {
			lists.Add(1)
		}
		return nil
	})
	w.backup(1, "one")
	for i := range 50 {
		name := fmt.Sprintf("snapshots/%016x/%032x", i+1, i+1)
		w.must(w.mem.Put(ctx, name, strings.NewReader("x"), 1, store.PutOptions{}))
	}
	w.clock.pass(48 * time.Hour)
	all := repo.Access{Secrets: w.access.Secrets}
	o := w.options(w.mem, all)
	on = true
	w.prune(o)
	if n := lists.Load(); n > 50 {
		t.Errorf("%d listings for one scope and 50 names", n)
	}
	for _, name := range w.names("hosts/") { // whose certificate is lost
		w.must(w.mem.Delete(ctx, name))
	}
	if ids, err := w.open(w.mem, all).Scopes(ctx); err != nil || len(ids) != 1 || ids[0] != w.access.Host.ScopeID {
		t.Errorf("scopes: %v, %v", ids, err)
	}
}
