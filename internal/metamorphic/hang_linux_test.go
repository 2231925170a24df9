package metamorphic

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"firn/internal/faultstore"
	"firn/internal/frame"
	"firn/internal/store"
)

// patience is how long a run may go on after it was cancelled, besides its grace; much, since the tests of many packages share the machine.
const patience = 5 * time.Minute

// settled waits until no more goroutines are there than before.
func settled(t *testing.T, what string, before int) {
	t.Helper()
	for start := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Since(start) > patience {
			buf := make([]byte, 1<<20)
			t.Fatalf("%s: %d goroutines were there before, %d are now:\n%s", what, before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
		}
	}
}

// TestHangingStore lets requests of each kind hang until their context ends, then cancels the run. It has to end in time, leave nobody behind, and the
// next run goes on.
func TestHangingStore(t *testing.T) {
	base := t.TempDir()
	x := newTree(t, rand.New(rand.NewPCG(1, 1)), filepath.Join(base, "src"))
	for range 150 {
		x.step()
	}
	time.Sleep(15 * time.Millisecond)
	want := describe(t, x.root)
	for i, rule := range []string{
		"put data/* hang", "put data/* hang nth=1", "put data/* hang nth=4", "put meta/* hang", "put meta/* hang nth=2", "put index/* hang", "put index/* hang nth=2",
		"put packset/* hang", "put snapshots/* hang nth=1", "put snapshots/* hang nth=2", "put snapshots/* hang nth=3", "put state/* hang",
		"list prune/* hang nth=1", "list prune/* hang nth=2", "list index/* hang", "list snapshots/* hang", "get * hang nth=1", "get * hang nth=2", "get packset/* hang",
		"get meta/* hang", "stat data/* hang", "any * hang nth=12", "any * hang nth=25", "any * hang p=0.2",
	} {
		both := []bool{i%3 == 0, i%3 != 0}
		if os.Getenv("FIRN_METAMORPHIC_TIME") == "" {
			both = both[:1] // one of them will do for a day
		}
		for _, spool := range both {
			w := newWorld(t, uint64(i), settings{name: "hang", init: sizes(64<<10, 128<<10, 512<<10, 16<<10, 128<<10), pack: 150_000,
				workers: 1 + i%4, flush: 1, cache: "keep", spool: spool, tables: true, level: frame.Fastest}, t.TempDir(), x.root)
			w.grace = 50 * time.Millisecond
			if strings.HasPrefix(rule, "get") || i%2 == 1 { // something to go on from
				w.backup(want, nil)
				x.step()
				time.Sleep(15 * time.Millisecond)
				want = describe(t, x.root)
			}
			h := w.hosts[0]
			before := runtime.NumGoroutine()
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(80*time.Millisecond, cancel)
			st := store.Store(faultstore.New(w.mem, 1, faultstore.MustParse(rule)...))
			if spool {
				st = bare{st}
			}
			start := time.Now()
			end := make(chan error, 1)
			go func() { end <- w.run(ctx, st, h, h.dirs, false, want, nil) }()
			select {
			case err := <-end:
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", rule, err)
				}
			case <-time.After(patience):
				buf := make([]byte, 1<<20)
				t.Fatalf("%s, spooled %v: the run goes on after %v\n%s", rule, spool, time.Since(start), buf[:runtime.Stack(buf, true)])
			}
			cancel()
			settled(t, rule, before)
			w.backup(want, nil)
			w.check(true)
		}
	}
}

// TestNobodyStays cancels and kills runs at random and expects no goroutine to stay.
func TestNobodyStays(t *testing.T) {
	seeds(t, func(t *testing.T, seed uint64) {
		base := t.TempDir()
		rng := rand.New(rand.NewPCG(seed, 8))
		x := newTree(t, rng, filepath.Join(base, "src"))
		var worlds []*world
		for _, s := range variants() {
			if s.stop != "" || s.faults != "" {
				worlds = append(worlds, newWorld(t, seed, s, base, x.root))
			}
		}
		for range 40 {
			x.step()
		}
		want, wantSub := describe(t, x.root), describe(t, filepath.Join(x.root, "sub"))
		for _, w := range worlds {
			for _, h := range w.hosts {
				for range 2 {
					before := runtime.NumGoroutine()
					w.attempt(h, true, want, wantSub)
					settled(t, w.s.name, before)
				}
			}
		}
	})
}
