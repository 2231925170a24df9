package repo_test

import (
	"fmt"
	"testing"

	"firn/internal/repo"
	"firn/internal/store"
)

// Index objects are merged all the time: where the store keeps versions, what was merged is billed on and on if it is only hidden.
func TestMergedIndexesLeaveNoVersions(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.mem.SetLock(store.LockRule{Enabled: true})
	for i := range 20 {
		w.backup(w.access, fmt.Sprint("text ", i))
		w.load(w.open(w.access)).Tidy(ctx)
	}
	listed, kept := len(w.names("index/")), 0
	w.must(w.mem.ListVersions(ctx, "index/", "", func(store.Version) error {
		kept++
		return nil
	}))
	if listed >= 20 || kept != listed {
		t.Errorf("%d objects of the index, %d versions and marks", listed, kept)
	}
}
