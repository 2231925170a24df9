package prune

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// A pack that a lock keeps is asked for it once: later runs remember until when, and delete it then.
func TestLocksAreRemembered(t *testing.T) {
	var asked atomic.Int64
	w := newWorld(t, nil, "", func(r mem.Request) error {
		if r.Op != "list" && (strings.HasPrefix(r.Name, "data/") || strings.HasPrefix(r.Name, "meta/")) {
			asked.Add(1)
		}
		return nil
	})
	w.mem.SetLock(store.LockRule{Enabled: true})
	w.backup(1, "one", "gone")
	w.clock.pass(time.Hour)
	w.backup(1, "one")
	for _, name := range append(w.names("data/"), w.names("meta/")...) {
		_, err := w.mem.Extend(ctx, name, store.Compliance, w.now().Add(60*24*time.Hour))
		w.must(err)
	}
	memory, err := repo.OpenLockMemory(state.Open(state.Dirs{Cache: t.TempDir(), State: t.TempDir()}, [16]byte{1}, nil))
	w.must(err)
	defer memory.Close(w.now())
	run := func() (*Result, int64) {
		o := w.options(w.mem, w.prunes())
		o.Decide, o.Refresh.Off, o.Locks = keepLast(1), true, memory
		asked.Store(0)
		w.clock.pass(30 * time.Hour)
		res := w.prune(o)
		return res, asked.Load()
	}
	run() // retires
	locked := func(res *Result) (n int64) {
		for _, w := range res.Waiting {
			if w.Why == Lock {
				n += w.Packs
			}
		}
		return n
	}
	first, n := run()
	if locked(first) == 0 || n == 0 {
		t.Fatalf("nothing is locked: %+v, %d requests", first, n)
	}
	for range 3 {
		if res, n := run(); n > 0 || locked(res) != locked(first) {
			t.Errorf("%d requests: %+v", n, res)
		}
	}
	w.clock.pass(60 * 24 * time.Hour)
	if res, _ := run(); locked(res) > 0 || res.Deleted.Packs != locked(first) {
		t.Errorf("the locks are over: %+v", res)
	}
}
