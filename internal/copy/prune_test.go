package copy_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/copy"
	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// TestPrunedCopies backs up, copies and prunes both sides at random: whatever is done on either side reads whole, and in the end the copy has all that it has not forgotten.
func TestPrunedCopies(t *testing.T) {
	for _, seed := range []uint64{1, 2, 6, 7} {
		rng := rand.New(rand.NewPCG(seed, 9))
		w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
		text := func() string { return strings.Repeat(fmt.Sprint("text ", rng.IntN(9)), 50) } // what was gone comes again
		renewed := int64(0)
		for range 24 {
			w.clock.pass(time.Hour)
			switch rng.IntN(6) {
			case 0, 1:
				w.backup(w.access, byte(rng.IntN(2)), text(), text())
			case 2, 3:
				res := w.whole()
				renewed += res.Renewed
				w.standIns()
				w.expect(w.to, w.access)
			case 4:
				w.prune(w.from, rng)
			case 5:
				w.prune(w.to, rng)
			}
		}
		w.expect(w.from, w.access)
		w.whole()
		w.standIns()
		w.expect(w.to, w.access)
		w.audit()
		there := map[snapshot.ID]bool{}
		s := w.load(w.to)
		for _, it := range s.Items {
			there[it.ID] = it.Status() == snapshot.IsDone
		}
		for old := range snapshot.Rewritten(s.Items) {
			there[old] = true
		}
		for _, it := range w.load(w.from).Items {
			if it.Status() == snapshot.IsDone && !there[it.ID] && !s.Forgotten()[it.ID] {
				t.Errorf("seed %d: %v is not there", seed, it.ID)
			}
		}
		t.Logf("seed %d: %d of %d snapshots were packed anew", seed, renewed, len(w.texts))
	}
}

// TestCopyBesidePrune copies to a place that is pruned all the while, twice at once: what is done there is whole.
func TestCopyBesidePrune(t *testing.T) {
	w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
	rng := rand.New(rand.NewPCG(3, 9))
	for range 4 {
		for range 4 {
			w.backup(w.access, byte(rng.IntN(2)), fmt.Sprint("text ", rng.IntN(9)), fmt.Sprint("text ", rng.IntN(9)))
		}
		var forget []snapshot.ID
		for _, it := range w.load(w.to).Items {
			if rng.IntN(2) == 0 && it.Status() == snapshot.IsDone {
				forget = append(forget, it.ID)
			}
		}
		from, to := w.open(w.from, w.access), [2]*repo.Repository{w.open(w.to, w.access), w.open(w.to, w.access)}
		o := prune.Options{Repo: w.open(w.to, w.access), Forget: forget, Last: true, Now: w.clock.now, Orphans: time.Nanosecond}
		var g errgroup.Group
		for i := range to {
			g.Go(func() error {
				_, err := copy.Run(ctx, copy.Options{From: from, To: to[i]})
				return err
			})
		}
		g.Go(func() error {
			for range 3 {
				var unreadable *prune.UnreadableError
				if _, err := prune.Run(ctx, o); err != nil && !errors.As(err, &unreadable) {
					return err
				}
				o.Forget = nil
			}
			return nil
		})
		w.must(g.Wait())
		w.standIns()
		w.expect(w.to, w.access)
	}
	w.whole()
	w.standIns()
	w.expect(w.to, w.access)
}

// standIns learns what the snapshots hold that stand in the place of others.
func (w *world) standIns() {
	for _, it := range w.load(w.to).Items {
		for _, l := range it.Rewrites {
			w.texts[it.ID] = w.texts[l.ID]
		}
	}
}

// prune forgets some snapshots of a place, and deletes what nobody needs.
func (w *world) prune(p *place, rng *rand.Rand) {
	w.t.Helper()
	var forget []snapshot.ID
	for _, it := range w.load(p).Items {
		if it.Status() == snapshot.IsDone && rng.IntN(3) == 0 {
			forget = append(forget, it.ID)
		}
	}
	for i := range 2 {
		o := prune.Options{Repo: w.open(p, w.access), Last: true, Now: w.clock.now, Grace: time.Minute, Orphans: time.Minute}
		if i == 0 {
			o.Forget = forget
		}
		_, err := prune.Run(ctx, o)
		w.must(err)
		w.clock.pass(time.Hour)
	}
}

// TestTee sends packs to a copy while they are sent to the repository: the copy that follows reads none of them. A branch that fails holds up nobody.
func TestTee(t *testing.T) {
	for _, fails := range []bool{false, true} {
		w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
		cfg, err := repo.ReadConfig(ctx, w.to.st)
		w.must(err)
		plain := plainStore{w.from.Store}
		b := &copy.Branch{Store: w.to.st, Config: cfg}
		told := 0
		w.from.st = copy.Tee(plain, func(*copy.Branch, error) { told++ }, b)
		broken := errors.New("broken")
		if fails {
			w.to.set(func(r mem.Request) error {
				if r.Op == "put" {
					return broken
				}
				return nil
			})
		}
		for n := range 3 {
			w.backup(w.access, 1, fmt.Sprint("text ", n))
		}
		w.to.set(nil)
		w.from.st = w.from.Store
		if fails != (b.Err() != nil) || fails && (told != 1 || !errors.Is(b.Err(), broken)) {
			t.Errorf("fails %v: told %d times, %v", fails, told, b.Err())
		}
		gets := 0
		w.from.set(func(r mem.Request) error {
			if r.Op == "get" && (strings.HasPrefix(r.Name, "data/") || strings.HasPrefix(r.Name, "meta/")) {
				gets++
			}
			return nil
		})
		res := w.whole()
		w.from.set(nil)
		if !fails && (gets != 0 || res.Taken != 6) || fails && res.Packs != 6 {
			t.Errorf("fails %v: %d packs read, %+v", fails, gets, res)
		}
		if n := w.expect(w.to, w.access); n != 3 {
			t.Errorf("%d snapshots", n)
		}
		w.audit()
	}
}

// plainStore takes no streams.
type plainStore struct{ s *mem.Store }

func (p plainStore) Put(c ctxt, name string, r seeker, size int64, o store.PutOptions) error {
	return p.s.Put(c, name, r, size, o)
}
func (p plainStore) Get(c ctxt, name string, offset, length int64) (closer, error) {
	return p.s.Get(c, name, offset, length)
}
func (p plainStore) List(c ctxt, prefix, after string, fn func(store.Info) error) error {
	return p.s.List(c, prefix, after, fn)
}
func (p plainStore) Stat(c ctxt, name string) (store.Info, error) { return p.s.Stat(c, name) }
func (p plainStore) Delete(c ctxt, name string) error             { return p.s.Delete(c, name) }
func (p plainStore) Location() string                             { return p.s.Location() }
func (p plainStore) Close() error                                 { return nil }

// TestChains copies what a snapshot builds on before it, chosen or not.
func TestChains(t *testing.T) {
	w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
	w.backup(w.access, 2, "another")
	base := w.backup(w.access, 1, "one")
	middle := w.chain(base, "one", "two")
	top := w.chain(middle, "one", "two", "three")
	var order []snapshot.ID
	res := w.whole(func(o *copy.Options) {
		o.Choose = func(it *snapshot.Item) bool { return it.ID == top.ID }
		o.Each = func(it *snapshot.Item, err error) { order = append(order, it.ID) }
	})
	if res.Snapshots != 3 || len(order) != 3 || order[0] != base.ID || order[1] != middle.ID || order[2] != top.ID {
		t.Errorf("%+v, %v", res, order)
	}
	w.expect(w.to, w.access)
}

// chain makes a snapshot that builds on another one.
func (w *world) chain(base snapshot.Item, texts ...string) snapshot.Item {
	w.t.Helper()
	r := w.open(w.from, w.access)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	out, err := r.NewWriter(ctx, s, repo.WriterOptions{Lanes: 1})
	w.must(err)
	names, err := s.PackNames(ctx, base.Snapshot)
	w.must(err)
	snap := w.fill(w.access, s, out, 1, texts)
	out.ReferencePacks(names)
	snap.Base = base.ID
	item, err := out.Publish(ctx, snap)
	w.must(err)
	w.must(out.Confirm(ctx, item))
	w.texts[item.ID] = texts
	return item
}
