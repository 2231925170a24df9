package drill_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/drill"
	"firn/internal/price"
	"firn/internal/snapshot"
	"firn/internal/thaw"
)

// TestDrill tries a real tree with a history: all of it, then parts, which go round until everything was tried.
func TestDrill(t *testing.T) {
	w := newWorld(t)
	w.plant(1, 120)
	w.backup()
	w.write("d01/new", []byte("new"))
	w.backup()
	all := w.clean(w.options())
	if all.Sample.OfFiles != int64(w.snap.Stats.Files)-2 || all.Compared.Same != all.Sample.OfFiles || all.Compared.Unchecked != 0 { // two are names of an empty one
		t.Errorf("%+v of %d files, %+v", all.Sample.OfFiles, w.snap.Stats.Files, all.Compared)
	}
	fresh := 0
	for n := range 5 {
		o := w.options()
		o.Seed, o.Want = uint64(n+10), drill.Want{Share: 0.25}
		w.clock.at = w.clock.at.Add(time.Hour)
		if n == 0 { // after the first drill, which tried everything, comes another round
			w.write("d02/fresh", []byte("fresh"))
			w.must(os.Chtimes(filepath.Join(w.src, "d02/fresh"), w.clock.at, w.clock.at))
			w.backup()
			o = w.options()
			o.Want = drill.Want{Share: 0.25}
		}
		res := w.clean(o)
		fresh += int(res.Sample.Fresh)
		if n == 0 && !strings.Contains(sampled(res), "d02/fresh") {
			t.Errorf("a file that is newer than the last drill was not preferred: %s", sampled(res))
		}
		if res.Sample.Reach.Turn != uint32(n+2) {
			t.Errorf("turn %d", res.Sample.Reach.Turn)
		}
	}
	if fresh != 1 {
		t.Errorf("%d files count as never tried", fresh)
	}
	r, s := w.open()
	proofs, err := r.Proofs(context.Background(), s.ID())
	w.must(err)
	if len(proofs) != 6 || !proofs[5].Good() || proofs[5].By != "tester" || proofs[5].Snapshot != w.snap.ID {
		t.Errorf("%+v", proofs)
	}
}

// TestRoundTrees: on real trees, too, quarter after quarter tries everything once, also from a machine that knows nothing but the repository.
func TestRoundTrees(t *testing.T) {
	w := newWorld(t)
	w.plant(2, 60)
	w.backup()
	seen := map[string]bool{}
	total := 0
	for n := range 4 {
		o := w.options()
		o.Seed, o.Want, o.State = uint64(n), drill.Want{Files: 19}, nil
		w.clock.at = w.clock.at.Add(time.Hour)
		res := w.clean(o)
		for _, f := range res.Sample.Files {
			seen[string(f.Path)] = true
		}
		total = int(res.Sample.OfFiles)
	}
	if len(seen) != min(total, 4*19) {
		t.Errorf("%d of %d files were tried in 4 drills of 19", len(seen), total)
	}
}

// TestSeed: by its seed alone a sample can be had again, whatever was drilled meanwhile, and stands in nobody's way.
func TestSeed(t *testing.T) {
	w := newWorld(t)
	w.plant(9, 40)
	w.backup()
	first := ""
	for n := range 3 {
		o := w.options()
		o.Seed, o.Alone, o.Want = 77, true, drill.Want{Files: 9}
		res := w.clean(o)
		if first == "" {
			first = sampled(res)
		}
		if sampled(res) != first || res.Sample.Reach.Turn != 0 {
			t.Errorf("%s\nnot %s", sampled(res), first)
		}
		o = w.options()
		o.Seed, o.Want = uint64(n), drill.Want{Files: 9}
		if res = w.clean(o); res.Sample.Fresh != 9 || res.Sample.Reach.Turn != uint32(n+1) {
			t.Errorf("%d of 9 are new in turn %d", res.Sample.Fresh, res.Sample.Reach.Turn)
		}
	}
}

// TestDamage: a damaged or lost pack is found when the sample hits it, and named; what it does not hit is proven.
func TestDamage(t *testing.T) {
	w := newWorld(t)
	w.plant(3, 80)
	w.backup()
	packs := w.packs("data/")
	bad := packs[len(packs)/2]
	whole := w.object(bad)
	for name, hurt := range map[string]func(){
		"rot": func() {
			b := slices.Clone(whole)
			for i := 500; i < len(b); i += 1000 {
				b[i] ^= 1
			}
			w.st.Replace(bad, b)
		},
		"lost": func() { w.must(w.st.Delete(context.Background(), bad)) },
	} {
		t.Run(name, func(t *testing.T) {
			hurt()
			defer w.st.Replace(bad, whole)
			res, err := w.run(w.options(), 0)
			w.must(err)
			if res.Outcome() != "partly" || len(res.Compared.Lost) == 0 || len(res.Compared.Differing) > 0 {
				t.Fatalf("%s: %+v", res.Outcome(), res.Compared)
			}
			for _, f := range res.Compared.Lost {
				if f.Object != bad || f.Err == nil {
					t.Errorf("%q: %q, %v", f.Path, f.Object, f.Err)
				}
			}
			if p := res.Proof; p.Good() || p.Lost != int64(len(res.Compared.Lost)) || p.Files != res.Compared.Matched {
				t.Errorf("%+v", p)
			}
			w.nothingLeft()
			found := 0
			for seed := range uint64(6) {
				o := w.options()
				o.Seed, o.Want, o.State = seed, drill.Want{Files: 5}, nil
				res, err := w.run(o, 0)
				w.must(err)
				hit := false
				for _, f := range res.Sample.Files {
					hit = hit || contains(res.Compared.Lost, string(f.Path))
				}
				if hit != (res.Outcome() != "proven") {
					t.Errorf("seed %d: %s, %+v", seed, res.Outcome(), res.Compared)
				}
				if hit {
					found++
				}
			}
			t.Logf("%d of 6 small samples hit it", found)
		})
	}
}

// TestTampered: what lies on the disk is read again, not believed: whatever changes between restore and comparison shows, by name and kind.
func TestTampered(t *testing.T) {
	w := newWorld(t)
	w.plant(4, 40)
	w.backup()
	now := time.Unix(1_700_000_000, 123456789)
	flip := func(at int64) func(path string) error {
		return func(path string) error {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			b := []byte{0}
			_, err = f.ReadAt(b, at)
			b[0] ^= 0x40
			_, werr := f.WriteAt(b, at)
			return errors.Join(err, werr, f.Close(), os.Chtimes(path, now, now))
		}
	}
	for _, c := range []struct {
		path, what string
		do         func(path string) error
	}{
		{"large/l3", drill.Content, flip(250_000)},
		{"large/sparse", drill.Content, flip(500_000)}, // in the hole
		{"large/sparse", drill.Content, flip(1000)},
		{"large/sparse", drill.Content, flip(850_000)},
		{"d05/f005", drill.Content, flip(3)},
		{"d05/f005", drill.Size, func(p string) error { return os.Truncate(p, 1) }},
		{"large/l1", drill.Mode, func(p string) error { return os.Chmod(p, 0o600) }},
		{"large/l1", drill.Time, func(p string) error { return os.Chtimes(p, now, now.Add(time.Second)) }},
		{"large/l1", drill.Type, func(p string) error { return errors.Join(os.Remove(p), os.Mkdir(p, 0o755)) }},
		{"large/l1", "", os.Remove},
	} {
		o := w.options()
		restore := o.Restore
		o.Restore = func(ctx context.Context, t *drill.Trial) (*drill.Restored, error) {
			res, err := restore(ctx, t)
			return res, errors.Join(err, c.do(filepath.Join(t.Target, c.path)))
		}
		res, err := w.run(o, 0)
		w.must(err)
		list, want := res.Compared.Differing, "failed"
		if c.what == "" {
			list, want = res.Compared.Lost, "partly"
		}
		if res.Outcome() != want || len(list) != 1 || string(list[0].Path) != c.path || list[0].What != c.what {
			t.Errorf("%s of %s: %s, %+v", c.what, c.path, res.Outcome(), res.Compared)
		}
	}
}

// TestChangedSource: a file that is another version by now is told so; one that has other content under the same size and time is a finding.
func TestChangedSource(t *testing.T) {
	w := newWorld(t)
	w.plant(5, 30)
	w.backup()
	w.write("d01/f001", []byte("another version"))
	w.must(os.Remove(filepath.Join(w.src, "d02/f002")))
	w.must(os.Chmod(filepath.Join(w.src, "d03/f003"), 0o600))
	res, err := w.run(w.options(), 0)
	w.must(err)
	if res.Outcome() != "proven" || res.Compared.Changed != 3 || res.Compared.Same != res.Sample.OfFiles-3 {
		t.Errorf("%s: %+v", res.Outcome(), res.Compared)
	}
	path := filepath.Join(w.src, "large/l2")
	info, err := os.Stat(path)
	w.must(err)
	raw, err := os.ReadFile(path)
	w.must(err)
	raw[77] ^= 1
	w.must(os.WriteFile(path, raw, 0))
	w.must(os.Chtimes(path, info.ModTime(), info.ModTime()))
	res, err = w.run(w.options(), 0)
	w.must(err)
	if d := res.Compared.Differing; len(d) != 1 || string(d[0].Path) != "large/l2" || d[0].What != drill.Origin {
		t.Errorf("%+v", res.Compared)
	}
	o := w.options()
	o.Source = filepath.Join(w.base, "not here")
	if res, err = w.run(o, 0); err != nil || res.Outcome() != "proven" || res.Compared.Same+res.Compared.Changed != 0 {
		t.Errorf("%+v %v", res.Compared, err)
	}
}

// TestCold drills what lies in a cold class, and is killed at every so many requests on the way. It goes on with the same sample, and asks for nothing twice.
func TestCold(t *testing.T) {
	w := newWorld(t)
	w.plant(6, 100)
	w.backup()
	w.freeze("DEEP_ARCHIVE")
	r := rand.New(rand.NewPCG(6, 6))
	for round := range 2 {
		w.freeze("STANDARD") // forgets copies
		w.freeze("DEEP_ARCHIVE")
		w.thaws, w.twice = 0, nil
		kills, first := 0, ""
		for {
			o := w.options()
			o.Seed, o.Want = r.Uint64(), drill.Want{Files: 12} // another seed each time
			die := 1 + r.IntN(50)
			if kills == 12 {
				die = 0
			}
			before := w.thaws
			res, err := w.run(o, die)
			if err == nil {
				if res.Outcome() != "proven" || first != "" && before > 0 && sampled(res) != first {
					t.Fatalf("%s: %+v\n%s\n%s", res.Outcome(), res.Compared, sampled(res), first)
				}
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if kills++; w.thaws > 0 && res.Sample != nil {
				if first != "" && before > 0 && sampled(res) != first {
					t.Fatalf("another sample:\n%s\n%s", sampled(res), first)
				}
				first = sampled(res)
			}
		}
		w.nothingLeft()
		if len(w.twice) > 0 || w.thaws == 0 || w.thaws >= len(w.packs("data/")) {
			t.Errorf("round %d: %d thaws of %d packs, twice: %v", round, w.thaws, len(w.packs("data/")), w.twice)
		}
		t.Logf("round %d: %d kills, %d thaws", round, kills, w.thaws)
		w.notes = nil
	}
}

// TestMoney: a sample does not wake more packs than the money allows; where the model is too low a smaller one is drawn; where nothing fits it says so.
func TestMoney(t *testing.T) {
	w := newWorld(t)
	w.plant(7, 150)
	w.backup()
	w.freeze("DEEP_ARCHIVE")
	budget := func(most price.Money) *drill.Budget {
		return &drill.Budget{Max: most, Send: func(int64) price.Money { return 0 },
			Tolls: func(_ context.Context, packs []thaw.Need) ([]drill.Toll, price.Money, error) {
				out := make([]drill.Toll, len(packs))
				for i := range out {
					out[i] = drill.Toll{Cost: 1, Cold: true}
				}
				return out, 0, nil
			}}
	}
	for _, most := range []int{1, 3, 5} {
		w.freeze("STANDARD")
		w.freeze("DEEP_ARCHIVE")
		o := w.options()
		o.Seed, o.Want, o.Budget = uint64(most), drill.Want{Files: 30}, budget(price.Money(most))
		w.thaws = 0
		res := w.clean(o)
		if w.thaws > most || res.Sample.Packs > int64(most) || w.thaws == 0 || res.Sample.OfPacks == 0 {
			t.Errorf("%d thaws, %d packs for %d", w.thaws, res.Sample.Packs, most)
		}
		t.Logf("for %d: %d files, %d packs of %d, passed over %d", most, len(res.Sample.Files), res.Sample.Packs, res.Sample.OfPacks, res.Sample.TooDear)
	}
	o := w.options()
	o.Want, o.Budget = drill.Want{Files: 30}, budget(20)
	tries, inner := 0, o.Restore
	o.Restore = func(ctx context.Context, t *drill.Trial) (*drill.Restored, error) {
		if tries++; t.Packs > 2 { // twice as dear as the model says, and more
			return nil, fmt.Errorf("plan: %w", &thaw.BudgetError{Max: 20, Needed: price.Money(t.Packs) * 9})
		}
		return inner(ctx, t)
	}
	if res := w.clean(o); res.Sample.Packs > 2 || tries < 2 {
		t.Errorf("%d packs after %d tries", res.Sample.Packs, tries)
	}
	o = w.options()
	o.Budget, o.Want = budget(0.5), drill.Want{Files: 3}
	o.Seed = 3
	res, err := w.run(o, 0)
	if err == nil && res.Sample.Packs > 0 || err != nil && !errors.Is(err, drill.ErrNothing) {
		t.Errorf("%v, %+v", err, res.Sample)
	}
	w.nothingLeft()
}

// TestBook: what an interrupted drill has left counts only as long as its snapshot and scratch folder are there, and its owner wants it.
func TestBook(t *testing.T) {
	w := newWorld(t)
	w.plant(8, 40)
	w.backup()
	stop := errors.New("stop")
	interrupt := func() (*drill.Result, string) {
		o := w.options()
		o.Want = drill.Want{Files: 7}
		o.Restore = func(_ context.Context, t *drill.Trial) (*drill.Restored, error) {
			return &drill.Restored{Paid: true}, stop
		}
		res, err := w.run(o, 0)
		if !errors.Is(err, stop) || res.Scratch == "" {
			t.Fatal(err, res.Scratch)
		}
		return res, res.Scratch
	}
	for name, c := range map[string]struct {
		change func(scratch string, o *drill.Options)
		goesOn bool
	}{
		"as it was": {func(string, *drill.Options) {}, true},
		"new snapshot": {func(_ string, o *drill.Options) {
			old := o.Snapshot
			w.backup()
			next := w.options()
			next.Find = func(snapshot.ID) *snapshot.Snapshot { return old }
			*o = next
		}, true},
		"snapshot gone": {func(_ string, o *drill.Options) { w.write("d01/more", []byte{1}); w.backup(); *o = w.options() }, false},
		"scratch gone":  {func(scratch string, _ *drill.Options) { w.must(os.RemoveAll(scratch)) }, false},
		"anew":          {func(_ string, o *drill.Options) { o.Anew = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			left, scratch := interrupt()
			o := w.options()
			c.change(scratch, &o)
			o.Seed = 99
			res := w.clean(o)
			if goesOn := res.Sample.Seed == left.Sample.Seed; goesOn != c.goesOn || goesOn && sampled(res) != sampled(left) {
				t.Errorf("seed %d after %d", res.Sample.Seed, left.Sample.Seed)
			}
		})
	}
	// Without anything to go on with, nothing is left.
	o := w.options()
	o.Restore = func(context.Context, *drill.Trial) (*drill.Restored, error) { return nil, stop }
	if res, err := w.run(o, 0); !errors.Is(err, stop) || res.Scratch != "" {
		t.Error(err, res.Scratch)
	}
	w.nothingLeft()
	// Two at a time are one too many.
	o = w.options()
	o.Restore = func(ctx context.Context, t *drill.Trial) (*drill.Restored, error) {
		if _, err := drill.Run(ctx, w.options()); err == nil {
			w.t.Error("a second drill of the source ran meanwhile")
		}
		return nil, stop
	}
	_, _ = w.run(o, 0)
}
