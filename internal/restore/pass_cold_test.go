package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/event"
	"firn/internal/restore"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/target"
)

// melting is a store whose packs of content can be read or not, and may freeze again at any time.
type melting struct {
	store.Store
	mu      sync.Mutex
	r       *rand.Rand
	frozen  map[string]bool
	freezes int // in a hundred
	gets    map[string]int64
}

func (m *melting) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	m.mu.Lock()
	if strings.HasPrefix(name, "data/") {
		if m.r != nil && m.r.IntN(100) < m.freezes {
			m.frozen[name] = true
		}
		if m.frozen[name] {
			m.mu.Unlock()
			return nil, store.Fail("get", name, store.ErrCold)
		}
		if m.gets != nil {
			m.gets[name] += n
		}
	}
	m.mu.Unlock()
	return m.Store.Get(ctx, name, off, n)
}

// TestPassesThatExpire has packs freeze in the middle of passes: what was brought counts, the rest comes later, nothing is fetched twice.
func TestPassesThatExpire(t *testing.T) {
	for seed := range passSeeds() {
		w := newWorld(t)
		w.plantPasses(seed + 20)
		for _, mode := range []target.Overwrite{target.Never, target.Changed, target.Always} {
			name := fmt.Sprintf("%d-%d", seed, mode)
			plain := w.options(name + "plain")
			o := w.options(name + "passes")
			for _, x := range []*restore.Options{&plain, &o} {
				x.Overwrite, x.Window = mode, []int{0, 40}[seed%2]
				if seed%2 == 1 {
					w.litter(x.Target, seed)
					w.litter(x.Target+".before", seed)
				}
			}
			want := w.clean(plain)
			s := w.newSeries(o, seed, 0)
			m := &melting{Store: w.st, r: s.r, frozen: map[string]bool{}, gets: map[string]int64{}, freezes: 30}
			for round := 0; len(s.left) > 0; round++ {
				if round > 100 {
					m.freezes = 0
				}
				s.expirePass(m)
			}
			sameCounts(t, want, &s.sum)
			sameLines(t, seen(t, &plain), seen(t, &o))
			if seed%2 == 0 && s.sum.BytesGot > 2*s.plan.Download { // requests that found a pack frozen count as well
				t.Errorf("%d bytes for %d", s.sum.BytesGot, s.plan.Download)
			}
			var got int64
			for _, n := range m.gets {
				got += n
			}
			if got > s.plan.Download+s.plan.Download/10+1<<20 {
				t.Errorf("%d bytes came, %d are needed", got, s.plan.Download)
			}
		}
	}
}

func (s *series) expirePass(m *melting) {
	t := s.w.t
	o := s.o
	s.r.Shuffle(len(s.left), func(i, j int) { s.left[i], s.left[j] = s.left[j], s.left[i] })
	n := 1 + s.r.IntN(len(s.left))
	o.Passes, o.Only, o.Last = s.p, slices.Clone(s.left[:n]), n == len(s.left)
	m.mu.Lock()
	clear(m.frozen)
	m.mu.Unlock()
	s.w.through(&o, m)
	res, err := restore.Run(context.Background(), o)
	s.w.must(err)
	addUp(&s.sum, res)
	s.left = append(s.left[n:], res.Cold...)
	if s.r.IntN(3) == 0 {
		s.open()
	}
	if o.Last == (len(res.Cold) == 0) != s.p.Done() && o.Last {
		t.Errorf("last pass with %d cold packs, done: %v", len(res.Cold), s.p.Done())
	}
}

// TestLostPart removes and changes what passes have left of large files: they say so, and name the packs that they need once more.
func TestLostPart(t *testing.T) {
	for round, harm := range []func(path string) error{
		os.Remove,
		func(path string) error { return os.WriteFile(path, []byte("something else"), 0o600) },
		func(path string) error { // the right content under another time
			return os.Chtimes(path, time.Now(), time.Now())
		},
	} {
		w := newWorld(t)
		w.plantPasses(31)
		plain := w.options("plain")
		want := w.clean(plain)
		o := w.options("out")
		var mu sync.Mutex
		var notes []string
		report := o.Report
		o.Report = func(e event.Event) {
			if n, ok := e.(event.Note); ok {
				mu.Lock()
				notes = append(notes, n.Text)
				mu.Unlock()
			}
			report(e)
		}
		plan, err := restore.Plan(context.Background(), o)
		w.must(err)
		p, err := restore.OpenPasses(nil, "", &o, plan)
		w.must(err)
		o.Passes = p
		var sum restore.Result
		run := func(last bool, packs ...string) []string {
			o.Only, o.Last = packs, last
			res, err := restore.Run(context.Background(), o)
			w.must(err)
			addUp(&sum, res)
			return res.Cold
		}
		var parts []string
		done := 0
		for ; len(parts) == 0; done++ {
			run(false, plan.Packs[done].Object)
			for _, pattern := range []string{".firn-restore-*", "*/*/.firn-restore-*"} {
				found, err := filepath.Glob(filepath.Join(o.Target, pattern))
				w.must(err)
				parts = append(parts, found...)
			}
		}
		for _, part := range parts {
			w.must(harm(part))
		}
		var again []string
		for i := done; i < len(plan.Packs); i++ {
			again = append(again, run(false, plan.Packs[i].Object)...)
		}
		slices.Sort(again)
		again = slices.Compact(again)
		if (len(again) > 0) != (round < 2) || (len(notes) > 0) != (round < 2) {
			t.Errorf("round %d: needed once more: %v; notes %v", round, again, notes)
		}
		for _, name := range again {
			if !p.Has(name) {
				t.Errorf("%s was not had", name)
			}
		}
		if cold := run(true, again...); len(cold) > 0 {
			t.Errorf("cold: %v", cold)
		}
		sameTree(t, w.src, o.Target)
		sameCounts(t, want, &sum)
		w.noTemporaries("out")
	}
}

// TestColdError names what is cold where no passes are made.
func TestColdError(t *testing.T) {
	w := newWorld(t)
	w.plantPasses(40)
	o := w.options("out")
	plan, err := restore.Plan(context.Background(), o)
	w.must(err)
	m := &melting{Store: w.st, frozen: map[string]bool{plan.Packs[2].Object: true}}
	w.through(&o, m)
	_, err = restore.Run(context.Background(), o)
	var cold *restore.ColdError
	if !errors.As(err, &cold) || !errors.Is(err, store.ErrCold) || cold.Objects[0] != plan.Packs[2].Object || len(cold.Objects) != len(plan.Packs) {
		t.Errorf("%v: %+v", err, cold)
	}
	m.frozen = map[string]bool{w.packs("meta/")[0]: true}
	m.Store = &frozenMeta{w.st}
	w.through(&o, m)
	if res, err := restore.Run(context.Background(), o); !errors.Is(err, store.ErrCold) || res != nil && res.Failed > 0 {
		t.Errorf("cold manifest: %v, %+v", err, res)
	}
}

// frozenMeta has the manifests in a cold class.
type frozenMeta struct{ store.Store }

func (f *frozenMeta) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, "meta/") {
		return nil, store.Fail("get", name, store.ErrCold)
	}
	return f.Store.Get(ctx, name, off, n)
}

// TestPassesWithDamage loses packs: what fails is the same, in number and name, as in a single run.
func TestPassesWithDamage(t *testing.T) {
	for _, keep := range []bool{false, true} {
		w := newWorld(t)
		plantDamage(w)
		all := w.packs("data/")
		bad := []string{all[1], all[len(all)/2], all[len(all)-2]}
		for _, b := range bad {
			harms["flipped"](w, b)
		}
		plain := w.options("plain")
		plain.KeepPartial = keep
		want := w.run(plain)
		o := w.options("out")
		o.KeepPartial = keep
		s := w.newSeries(o, 3, 2)
		for !s.pass() {
		}
		res := s.p.Result()
		if !keep {
			res.Damaged = slices.DeleteFunc(res.Damaged, func(d restore.Damage) bool { return d.Object == "" })
		}
		if len(res.Damaged) != len(want.Damaged) || res.Failed != want.Failed || want.Failed == 0 {
			t.Errorf("keep %v: %d damaged, %d failed; in a single run %d, %d", keep, len(res.Damaged), res.Failed, len(want.Damaged), want.Failed)
		}
		names := func(r *restore.Result) (out []string) {
			for _, d := range r.Damaged {
				out = append(out, fmt.Sprintf("%s kept %v", d.Path, d.Kept))
			}
			slices.Sort(out)
			return out
		}
		sameLines(t, names(want), names(res))
		sameLines(t, describe(t, plain.Target), describe(t, o.Target))
		w.noTemporaries("out")
	}
}

// TestLostFiles removes what earlier passes have restored: the last one finds out, and names the packs that are needed once more.
func TestLostFiles(t *testing.T) {
	for _, window := range []int{0, 1} { // all packs in one walk, or a few
		loseFiles(t, window)
	}
}

func loseFiles(t *testing.T, window int) {
	w := newWorld(t)
	w.plantPasses(51)
	o := w.options("out")
	o.Window = window
	plan, err := restore.Plan(context.Background(), o)
	w.must(err)
	st := state.Open(state.Dirs{State: filepath.Join(w.base, "jobs")}, [16]byte{1}, func(err error) { t.Error(err) })
	p, err := restore.OpenPasses(st, "job", &o, plan)
	w.must(err)
	m := &melting{Store: w.st, frozen: map[string]bool{}}
	run := func(last bool, packs ...string) []string {
		o.Passes, o.Only, o.Last = p, packs, last
		w.through(&o, m)
		return w.clean(o).Cold
	}
	var all []string
	for _, p := range plan.Packs {
		all = append(all, p.Object)
		m.frozen[p.Object] = true
	}
	half := len(all) / 2
	clear(m.frozen)
	run(false, all[:half]...)
	lost := 0
	for _, rel := range names(t, o.Target) {
		if info, err := os.Lstat(filepath.Join(o.Target, rel)); err == nil && info.Mode().IsRegular() && info.Size() > 0 && info.Size() < 50<<10 && len(rel)%3 == 0 && !strings.HasPrefix(rel, "readonly/") {
			w.must(os.Remove(filepath.Join(o.Target, rel)))
			lost++
		}
	}
	for _, name := range all[:half] {
		m.frozen[name] = true
	}
	cold := run(true, all[half:]...)
	if lost == 0 || len(cold) == 0 || p.Done() {
		t.Fatalf("%d files lost, packs needed once more: %v", lost, cold)
	}
	clear(m.frozen)
	p.Close()
	p, err = restore.OpenPasses(st, "job", &o, plan)
	w.must(err)
	if cold := run(true, cold...); len(cold) > 0 || !p.Done() {
		t.Errorf("cold: %v", cold)
	}
	sameTree(t, w.src, o.Target)
	w.must(os.Chmod(filepath.Join(o.Target, "readonly"), 0o755))
	w.must(os.RemoveAll(o.Target)) // all is lost
	if cold := run(true, all...); len(cold) > 0 || !p.Done() {
		t.Errorf("cold: %v", cold)
	}
	sameTree(t, w.src, o.Target)
}
