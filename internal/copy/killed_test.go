package copy_test

import (
	"strings"
	"testing"
	"time"

	"firn/internal/copy"
	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store/mem"
)

// stop kills the copy at a write whose name is chosen.
func (w *world) stop(at func(name string) bool) {
	w.to.set(func(r mem.Request) error {
		if r.Op == "put" && at(r.Name) {
			return errKilled
		}
		return nil
	})
}

// pruneCopy prunes the copy by no rule, as its own machine may do every night.
func (w *world) pruneCopy() {
	w.t.Helper()
	_, err := prune.Run(ctx, prune.Options{Repo: w.open(w.to, w.access), Grace: prune.DefaultGrace, Now: w.clock.now})
	w.must(err)
}

// A copy that was killed before it wrote a mark goes on, whatever the copy's own prune did meanwhile: a snapshot that was forgotten there would be left out for good.
func TestPruneAfterKilledCopy(t *testing.T) {
	for _, root := range []bool{true, false} {
		w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
		who := w.access
		if !root {
			who = repo.Access{Host: w.access.Host}
		}
		w.backup(w.access, 1, "one")
		w.clock.pass(25 * time.Hour)
		w.backup(w.access, 1, "two")
		w.stop(func(name string) bool { return strings.HasSuffix(name, ".done") })
		if _, err := w.copy(who); err == nil {
			t.Fatal("not killed")
		}
		w.to.set(nil)
		w.clock.pass(25 * time.Hour)
		w.backup(w.access, 1, "three")
		_, err := w.copy(who, func(o *copy.Options) { o.Choose = func(it *snapshot.Item) bool { return it.Sequence == 3 } })
		w.must(err)
		w.clock.pass(100 * 24 * time.Hour)
		w.pruneCopy()
		res, err := w.copy(who)
		w.must(err)
		if res.Forgotten > 0 || len(res.Failed) > 0 || w.expect(w.to, w.access) != 3 {
			t.Errorf("with the root key: %v: %+v", root, res)
		}
	}
}

// Packs that a slow copy has brought, and that no index names yet, are not taken for garbage after a week.
func TestPruneBesideSlowCopy(t *testing.T) {
	w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
	w.backup(w.access, 1, "one", "two", "three")
	who := repo.Access{Host: w.access.Host}
	w.stop(func(name string) bool { return strings.HasPrefix(name, "index/") })
	if _, err := w.copy(who); err == nil {
		t.Fatal("not killed")
	}
	w.to.set(nil)
	for range 7 {
		w.clock.pass(8 * 24 * time.Hour)
		w.pruneCopy()
	}
	res, err := w.copy(who)
	w.must(err)
	for _, f := range res.Failed {
		t.Errorf("can never be copied with this key: %v", f.Err)
	}
	w.expect(w.to, w.access)
}
