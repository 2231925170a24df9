package prune

import (
	"strings"
	"testing"
	"time"

	"firn/internal/store/mem"
)

// Packs, of which there may be a million, are listed once a run, whatever it does.
func TestPacksAreListedOnce(t *testing.T) {
	lists := 0
	w := newWorld(t, nil, "", func(r mem.Request) error {
		if r.Op == "list" && strings.HasPrefix(r.Name, "data/") {
			lists++
		}
		return nil
	})
	for range 4 {
		w.backup(1, "one", w.now().String())
		w.clock.pass(30 * time.Hour)
	}
	deleted := int64(0)
	for _, grace := range []time.Duration{DefaultGrace, DefaultGrace, 0} {
		o := w.options(w.mem, w.prunes())
		o.Grace, o.Refresh.Off = grace, true
		lists = 0
		res := w.prune(o)
		if deleted += res.Deleted.Packs; lists != 1 {
			t.Errorf("listed %d times: %+v", lists, res)
		}
		w.clock.pass(30 * time.Hour)
		w.backup(1, "one", w.now().String())
	}
	if deleted == 0 {
		t.Error("nothing was deleted")
	}
	if err := w.sound(true); err != nil {
		t.Error(err)
	}
}
