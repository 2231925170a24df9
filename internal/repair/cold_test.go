package repair_test

import (
	"testing"
	"time"

	"firn/internal/repair"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/thaw"
)

// TestCold mends packs in Deep Archive: nothing is read before it was thawed, and what is mended lies there again.
func TestCold(t *testing.T) {
	w := threeBackups(t, "DEEP_ARCHIVE", 10)
	cold := map[string]bool{}
	w.must(w.mem.List(ctx, "data/", "", func(i store.Info) error {
		cold[i.Name] = i.Class == "DEEP_ARCHIVE"
		return nil
	}))
	packs := w.names("data/", "")
	want := w.frozen()
	w.mem.Replace(packs[0], append(want[packs[0]][:9000:9000], want[packs[0]][9500:]...))
	w.mem.Replace(packs[1]+".par2", want[packs[1]+".par2"][:3000])
	w.must(w.mem.Delete(ctx, packs[2]+".par2"))
	_, res := w.repair(w.mem, nil)
	if res.Count(repair.Waits) == 0 || len(res.Needs) == 0 || res.Count(repair.Left)+res.Count(repair.Marked) > 0 {
		t.Fatalf("without a job: %s", outcomes(res))
	}
	w.mendCold()
	w.must(w.mem.Delete(ctx, w.names("index/", "")[0]))
	w.mendCold()
	after := w.frozen()
	for name := range cold {
		if string(after[name]) != string(want[name]) {
			t.Errorf("%s is not what it was", name)
		}
		if i, err := w.mem.Stat(ctx, name); err != nil || i.Class != "DEEP_ARCHIVE" {
			t.Errorf("%s: class %q, %v", name, i.Class, err)
		}
	}
}

// frozen is every object with its content, cold ones by way of a store that is a copy and has no cold classes.
func (w *world) frozen() map[string][]byte {
	w.t.Helper()
	out := map[string][]byte{}
	_ = w.clock.Sleep(ctx, 400*time.Hour) // copies end
	for _, n := range append(w.names("", ""), w.names("", ".par2")...) {
		if _, err := w.mem.Thaw(ctx, n, store.ThawOptions{Tier: store.Bulk, Days: 1}); err != nil {
			continue
		}
	}
	_ = w.clock.Sleep(ctx, 60*time.Hour)
	for _, n := range append(w.names("", ""), w.names("", ".par2")...) {
		out[n] = get(w.t, w.mem, n)
	}
	_ = w.clock.Sleep(ctx, 72*time.Hour)
	return out
}

// mendCold repairs with thaw jobs until nothing is wrong.
func (w *world) mendCold() {
	w.t.Helper()
	for range 3 {
		o := w.options(w.mem)
		p, err := repair.Examine(ctx, o)
		w.must(err)
		if len(p.Steps) == 0 {
			return
		}
		st := state.Open(state.Dirs{State: w.t.TempDir(), Cache: w.t.TempDir()}, w.access.Secrets.Repository, nil)
		job, err := thaw.Create(st, thaw.Header{Purpose: "repair", Tier: store.Bulk, Days: 2}, p.Needs, w.clock.now())
		w.must(err)
		res, err := repair.Run(ctx, o, p, &repair.Thawing{Job: job, Run: thaw.RunOptions{Store: w.mem, Clock: w.clock}})
		w.must(err)
		job.Close()
		if !res.Well() || res.Thaw.Thaws == 0 {
			w.t.Errorf("%d thawed\n%s", res.Thaw.Thaws, outcomes(res))
		}
	}
	w.t.Error("something is wrong still")
}
