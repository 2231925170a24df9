package repo_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
)

const day = 24 * time.Hour

// lockWorld is a repository with two snapshots, on a store that can lock.
func lockWorld(t *testing.T) (w *world, first, second snapshot.Item) {
	w = newWorld(t, repo.InitOptions{})
	first = w.backup(w.access, "alpha", "beta")
	second = w.backup(w.access, "beta", "gamma")
	w.mem.SetLock(store.LockRule{Enabled: true})
	return w, first, second
}

// lockUp plans and runs.
func (w *world) lockUp(o repo.Locking) (*repo.LockPlan, *repo.LockResult, error) {
	w.t.Helper()
	r := w.open(w.access)
	p, err := r.PlanLock(ctx, []*repo.ScopeState{w.load(r)}, o)
	if err != nil {
		return nil, nil, err
	}
	res, err := r.RunLock(ctx, p)
	return p, res, err
}

// locked tells until when each object is locked.
func (w *world) locked() map[string]store.Lock {
	w.t.Helper()
	out := map[string]store.Lock{}
	for _, name := range w.names("") {
		l, err := w.mem.LockOf(ctx, name)
		w.must(err)
		out[name] = l
	}
	return out
}

func (w *world) memory() *repo.LockMemory {
	w.t.Helper()
	m, err := repo.OpenLockMemory(state.Open(state.Dirs{Cache: w.t.TempDir(), State: w.t.TempDir()}, [16]byte{1}, nil))
	w.must(err)
	return m
}

func aws(t *testing.T) *price.Region {
	t.Helper()
	r, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLockWhatIsKept(t *testing.T) {
	w, first, second := lockWorld(t)
	r := w.open(w.access)
	names, err := w.load(r).PackNames(ctx, second.Snapshot)
	w.must(err)
	needed := map[string]bool{}
	for _, n := range names {
		needed[n.String()] = true
	}
	p, res, err := w.lockUp(repo.Locking{Least: 90 * day, More: 30 * day, Mode: store.Compliance, Region: aws(t), Keep: func(it snapshot.Item) bool { return it.ID == second.ID }})
	w.must(err)
	if p.Objects != res.Extended || res.Failed+res.Gone+res.Softer+res.Enough > 0 || p.Unknown != p.Objects || p.Missing+p.Foreign > 0 || p.Bytes == 0 {
		t.Errorf("%+v, %+v", p, res)
	}
	if want := .0054 / 1000 * float64(p.Objects); p.Cost.Total() < price.Money(want) || p.Cost.Total() > price.Money(want*1.01+.00001) {
		t.Errorf("costs %v, want about %v", float64(p.Cost.Total()), want)
	}
	locked := int64(0)
	for name, l := range w.locked() {
		o, _ := repo.ParseName(name)
		want := true
		switch o.Area {
		case "data", "meta":
			want = needed[o.Sum.String()]
		case "snapshots":
			want = strings.Contains(name, second.ID.String())
		case "packset":
			want = second.Packs[0].Object == o.Sum
		case "state", "prune":
			want = false
		}
		if got := l.Mode == store.Compliance && l.Until.Equal(p.Until.Truncate(time.Second)); got != want && l.Until.Sub(p.Until).Abs() > time.Second {
			t.Errorf("%s: %+v, want %v", name, l, want)
		}
		if l.Mode != store.NoLock {
			locked++
		}
	}
	if locked != p.Objects || locked == 0 {
		t.Errorf("%d objects locked of %d", locked, p.Objects)
	}
	if _, res, err := w.lockUp(repo.Locking{Least: 80 * day}); err != nil || res.Enough != p.Objects || res.Extended != 4 {
		t.Errorf("the other snapshot needs itself, its mark, its pack set and a pack more: %+v, %v (%v)", res, err, first.ID)
	}
}

// A pack set that is lost or damaged keeps nothing else from being locked.
func TestLockBesideDamage(t *testing.T) {
	for _, gone := range []bool{true, false} {
		w, first, second := lockWorld(t)
		r := w.open(w.access)
		all, err := r.PlanLock(ctx, []*repo.ScopeState{w.load(r)}, repo.Locking{Least: 90 * day})
		w.must(err)
		var lost string
		for _, n := range w.names("packset/") {
			if strings.HasSuffix(n, first.Packs[0].Object.String()) {
				lost = n
			}
		}
		if first.Packs[0].Object == second.Packs[0].Object || lost == "" {
			t.Fatal("the snapshots have no pack set of their own")
		}
		if gone {
			w.must(w.mem.Delete(ctx, lost))
		} else {
			w.mem.Replace(lost, []byte("x"))
		}
		p, res, err := w.lockUp(repo.Locking{Least: 90 * day, Mode: store.Governance})
		if err != nil {
			t.Fatalf("nothing is locked any more: %v", err)
		}
		if p.Missing != 1 || res.Extended < all.Objects-2 {
			t.Errorf("%+v, %+v; %d before", p, res, all.Objects)
		}
	}
}

func TestLockIsRemembered(t *testing.T) {
	w, _, _ := lockWorld(t)
	m := w.memory()
	o := repo.Locking{Least: 90 * day, More: 30 * day, Region: aws(t), Memory: m}
	asked := func() (looks, locks int64) {
		n := w.mem.Requests()
		return n["locks"], n["lock"]
	}
	round := func(later time.Duration, looks, locks func(p *repo.LockPlan) int64) {
		t.Helper()
		w.clock.at = w.clock.at.Add(later)
		a, b := asked()
		p, _, err := w.lockUp(o)
		w.must(err)
		c, d := asked()
		if c-a-1 != looks(p) || d-b != locks(p) { // one look is at the rule
			t.Errorf("after %v: %d looks, %d locks: %+v", later, c-a-1, d-b, p)
		}
	}
	none := func(*repo.LockPlan) int64 { return 0 }
	all := func(p *repo.LockPlan) int64 { return p.Objects }
	round(0, all, all)
	round(day, none, none)
	round(28*day, none, none)
	round(2*day, none, all) // less than 90 days are left, and what is left is known
	round(day, none, none)
	w.backup(w.access, "delta")
	round(day, func(p *repo.LockPlan) int64 { return p.Unknown }, func(p *repo.LockPlan) int64 { return p.Unknown })
	m.Close(w.clock.now())
}

// Killed after any number of requests, it goes on where it stood.
func TestLockGoesOn(t *testing.T) {
	for stop := range 12 {
		w, _, _ := lockWorld(t)
		m := w.memory()
		f := &stopAfter{Store: w.mem}
		f.left.Store(int64(stop))
		w.st = f
		_, _, err := w.lockUp(repo.Locking{Least: 90 * day, Memory: m, Parallel: 1})
		if !errors.Is(err, store.ErrAuth) {
			t.Fatalf("%d: %v", stop, err)
		}
		w.st = w.mem
		p, res, err := w.lockUp(repo.Locking{Least: 89 * day, Memory: m})
		if err != nil || p.Enough != int64(stop) || res.Extended != p.Objects-int64(stop) {
			t.Errorf("after %d: %+v, %+v, %v", stop, p, res, err)
		}
	}
}

// stopAfter is a store whose credentials expire after so many locks.
type stopAfter struct {
	store.Store
	left atomic.Int64
}

func (s *stopAfter) Unwrap() store.Store { return s.Store }

func (s *stopAfter) LockRule(c context.Context) (store.LockRule, error) {
	return s.Store.(store.Locker).LockRule(c)
}

func (s *stopAfter) LockOf(c context.Context, name string) (store.Lock, error) {
	return s.Store.(store.Locker).LockOf(c, name)
}

func (s *stopAfter) Extend(c context.Context, name string, mode store.LockMode, until time.Time) (store.Lock, error) {
	if s.left.Add(-1) < 0 {
		return store.Lock{}, store.Fail("lock", name, store.ErrAuth)
	}
	return s.Store.(store.Locker).Extend(c, name, mode, until)
}

func TestCannotLock(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	if _, _, err := w.lockUp(repo.Locking{Least: day}); !errors.Is(err, repo.ErrCannotLock) {
		t.Error(err)
	}
	w.mem.SetLock(store.LockRule{Enabled: true, Mode: store.Compliance, Days: 200})
	w.backup(w.access, "x")
	p, res, err := w.lockUp(repo.Locking{Least: 90 * day})
	if err != nil || p.Mode != store.Compliance || res.Enough == 0 || res.Extended == 0 {
		t.Errorf("%+v, %+v, %v", p, res, err)
	}
}

// What was learnt survives the process, and what is over is dropped.
func TestLockMemoryIsKept(t *testing.T) {
	w, _, _ := lockWorld(t)
	dirs := state.Dirs{Cache: t.TempDir(), State: t.TempDir()}
	open := func() *repo.LockMemory {
		t.Helper()
		m, err := repo.OpenLockMemory(state.Open(dirs, [16]byte{1}, nil))
		w.must(err)
		return m
	}
	size := func() int64 {
		t.Helper()
		files, err := filepath.Glob(filepath.Join(dirs.State, "*", "journals", "locks"))
		w.must(err)
		if len(files) != 1 {
			files, err = filepath.Glob(filepath.Join(dirs.State, "*", "*", "journals", "locks"))
			w.must(err)
		}
		info, err := os.Stat(files[0])
		w.must(err)
		return info.Size()
	}
	for round := range 60 {
		m := open()
		p, res, err := w.lockUp(repo.Locking{Least: 2 * day, More: day, Mode: store.Compliance, Memory: m})
		if err != nil || round > 0 && p.Unknown > 0 || res.Softer > 0 || res.Extended != p.Objects {
			t.Fatalf("round %d: %+v, %+v, %v", round, p, res, err)
		}
		m.Close(w.clock.now())
		m = open()
		if p, _, err := w.lockUp(repo.Locking{Least: 2 * day, More: day, Memory: m}); err != nil || p.Enough != p.Objects {
			t.Fatalf("round %d, again: %+v, %v", round, p, err)
		}
		m.Close(w.clock.now())
		w.clock.at = w.clock.at.Add(2 * day)
	}
	if n := size(); n > 20_000 {
		t.Errorf("%d bytes are remembered of some 20 objects", n)
	}
}

// TestLockStopped: who is stopped before all is locked is told so.
func TestLockStopped(t *testing.T) {
	w, _, _ := lockWorld(t)
	r := w.open(w.access)
	p, err := r.PlanLock(ctx, []*repo.ScopeState{w.load(r)}, repo.Locking{Least: 90 * day})
	w.must(err)
	stopped, stop := context.WithCancel(ctx)
	stop()
	if res, err := r.RunLock(stopped, p); !errors.Is(err, context.Canceled) || res.Extended != 0 {
		t.Errorf("%+v, %v", res, err)
	}
}
