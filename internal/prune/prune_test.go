package prune

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// history makes backups of two sources over some days, with one that is killed and one that is not confirmed.
func (w *world) history(rng *rand.Rand, days int) {
	w.t.Helper()
	for day := range days {
		w.clock.pass(24 * time.Hour)
		for source := byte(1); source <= 2; source++ {
			var texts []string
			for range 1 + rng.IntN(3) {
				texts = append(texts, fmt.Sprintf("%s %d", text(rng), rng.IntN(40)))
			}
			if day < days-1 && rng.IntN(3) == 0 { // does not come to its end
				b, err := begin(w.mem, w.access, w.now, source, w.newID(), repo.WriterOptions{})
				w.must(err)
				s, err := b.snapshot(rng.IntN(2) == 0, true, texts...)
				w.must(err)
				if rng.IntN(3) > 0 {
					_, err = b.out.Publish(ctx, s)
					w.must(err)
				}
				b.out.Abort()
			}
			w.backup(source, texts...)
		}
	}
}

// TestPrune: what goes, when, and what stays.
func TestPrune(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	for i := range 4 {
		w.backup(1, "shared", fmt.Sprint("only in ", i))
		w.clock.pass(time.Hour)
	}
	o := w.options(w.mem, w.prunes())
	res := w.prune(o)
	if len(res.Forgotten) != 2 || res.Retired.Packs != 0 || len(res.Waiting) != 1 || res.Waiting[0].Why != Young {
		t.Errorf("young: %+v", res)
	}
	if n := len(w.names("snapshots/")); n != 4 {
		t.Errorf("%d objects of snapshots", n)
	}
	w.clock.pass(25 * time.Hour)
	res = w.prune(w.options(w.mem, w.prunes()))
	if res.Retired.Packs != 4 || res.Deleted.Packs != 0 || len(res.Waiting) != 1 || res.Waiting[0].Why != Grace {
		t.Errorf("retired: %+v", res)
	}
	w.clock.pass(23 * time.Hour)
	if res = w.prune(w.options(w.mem, w.prunes())); res.Deleted.Packs != 0 {
		t.Errorf("within grace: %+v", res)
	}
	w.clock.pass(2 * time.Hour)
	res = w.prune(w.options(w.mem, w.prunes()))
	if res.Deleted.Packs != 4 || res.Parts != 2 || len(res.Waiting) != 0 {
		t.Errorf("deleted: %+v", res)
	}
	w.must(w.sound(true))
	if n := w.packs(); n != 5 || int64(n) != res.Needed.Packs {
		t.Errorf("%d packs are left, %d needed", n, res.Needed.Packs)
	}
	before := w.names("")
	w.clock.pass(time.Hour)
	if res = w.prune(w.options(w.mem, w.prunes())); res.Deleted.Packs+res.Retired.Packs != 0 || !slices.Equal(before, w.names("")) {
		t.Errorf("nothing to do: %+v", res)
	}
}

// summary is what a dry run has to foretell.
func summary(r *Result) string {
	var ids []string
	for _, f := range r.Forgotten {
		ids = append(ids, f.ID.String()+string(f.Why))
	}
	r.Refreshed.Within = 0
	return fmt.Sprint(ids, r.Needed, r.Retired, r.Deleted, r.Parts, r.Early, r.Waiting, r.Refreshed)
}

// TestDryRun: a dry run stores and deletes nothing, and says exactly what the run then does.
func TestDryRun(t *testing.T) {
	for seed := range seedsOf(t, 4) {
		rng := rand.New(rand.NewPCG(seed, 3))
		w := newWorld(t, nil, []string{"", "DEEP_ARCHIVE", "STANDARD_IA"}[seed%3], nil)
		w.history(rng, 3+rng.IntN(2))
		for round := range 4 {
			w.clock.pass(time.Duration(rng.IntN(40*24)) * time.Hour)
			access := repo.Access{Host: w.pruner}
			if rng.IntN(2) == 0 {
				access.Secrets = w.access.Secrets
			}
			set := func(o *Options) {
				o.Grace = []time.Duration{0, DefaultGrace}[round%2]
				o.Early, o.MaxCost = seed%2 == 0, price.Money(float64(round)*1e-7)
				o.Decide = keepLast(1 + round)
			}
			before := w.names("")
			dry := w.options(w.mem, access)
			set(&dry)
			dry.DryRun = true
			want := summary(w.prune(dry))
			if !slices.Equal(before, w.names("")) {
				t.Fatal("a dry run has changed something")
			}
			real := w.options(w.mem, access)
			set(&real)
			if got := summary(w.prune(real)); got != want {
				t.Fatalf("seed %d, round %d: foretold\n%s, done\n%s", seed, round, want, got)
			}
			w.must(w.sound(false))
			w.backup(1, text(rng), text(rng))
		}
	}
}

// dying is a store that fails for good after so many changes.
type dying struct {
	store.Store
	left  atomic.Int64
	after bool // the last change is made, and fails all the same
}

var errDead = errors.New("dead")

func (d *dying) change(do func() error) error {
	n := d.left.Add(-1)
	if n < 0 || n == 0 && !d.after {
		return errDead
	}
	err := do()
	if n == 0 {
		err = errDead
	}
	return err
}

func (d *dying) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	return d.change(func() error { return d.Store.Put(ctx, name, r, size, o) })
}

func (d *dying) Delete(ctx context.Context, name string) error {
	return d.change(func() error { return d.Store.Delete(ctx, name) })
}

func (d *dying) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if d.left.Load() <= 0 {
		return errDead
	}
	return d.Store.List(ctx, prefix, after, fn)
}

// again is a copy of the world, with a clock of its own.
func (w *world) again() *world {
	w.t.Helper()
	c := &world{t: w.t, clock: newClock(), access: w.access, pruner: w.pruner, serial: w.serial}
	c.now = c.clock.now
	c.mem = mem.New(mem.Options{Now: c.now})
	w.must(w.mem.List(ctx, "", "", func(i store.Info) error {
		c.clock.at = i.Modified
		return c.mem.Put(ctx, i.Name, bytes.NewReader(w.object(i.Name)), i.Size, store.PutOptions{Class: i.Class})
	}))
	c.clock.at = w.now()
	return c
}

// TestKilled: a prune that is killed at any change of the store is made good by the next ones: all that is done restores, and the same is left in the end.
func TestKilled(t *testing.T) {
	finish := func(w *world) string {
		for range 3 {
			w.clock.pass(25 * time.Hour)
			o := w.options(w.mem, w.prunes())
			o.Orphans = time.Hour
			w.prune(o)
		}
		w.must(w.sound(true))
		kinds := map[string]int{}
		for _, n := range w.names("") {
			kind, _, _ := strings.Cut(n, "/")
			if kind != "prune" && kind != "index" && kind != "state" {
				kinds[kind]++
			}
		}
		return fmt.Sprint(kinds)
	}
	want := ""
	steps := 0
	first := newWorld(t, nil, "", nil)
	first.history(rand.New(rand.NewPCG(9, 9)), 3)
	first.clock.pass(48 * time.Hour)
	for step := 0; ; step++ {
		w := first.again()
		d := &dying{Store: direct{w.mem}, after: step%2 == 1}
		d.left.Store(int64(step/2 + 1))
		if step == 0 {
			d.left.Store(1 << 40)
		}
		var err error
		for range 3 {
			o := w.options(w.mem, w.prunes())
			r, oerr := repo.Open(ctx, d, w.prunes(), repo.Options{Now: w.now})
			if oerr != nil {
				err = oerr
				break
			}
			o.Repo, o.Orphans, o.Parallel = r, time.Hour, 1
			if _, err = Run(ctx, o); err != nil {
				break
			}
			w.clock.pass(25 * time.Hour)
		}
		if step == 0 {
			w.must(err)
			want = finish(w)
			continue
		}
		w.must(w.sound(false))
		if got := finish(w); got != want {
			t.Fatalf("killed at step %d: %s is left, not %s", step, got, want)
		}
		if err == nil {
			steps = step
			break
		}
		if !errors.Is(err, errDead) {
			t.Fatalf("step %d: %v", step, err)
		}
		if step > 12 {
			step += 6 // the rest by samples
		}
	}
	if steps < 30 {
		t.Errorf("only %d steps", steps)
	}
}

// TestReadsNothingCold: whatever a prune does, no object in a cold class is read, nor thawed.
func TestReadsNothingCold(t *testing.T) {
	watch := mem.NoColdGet(t.Errorf)
	w := newWorld(t, nil, "DEEP_ARCHIVE", func(r mem.Request) error {
		if r.Op == "thaw" || r.Op == "move" {
			t.Errorf("%s of %s", r.Op, r.Name)
		}
		return watch(r)
	})
	rng := rand.New(rand.NewPCG(1, 1))
	for range 8 {
		w.history(rng, 1)
		w.clock.pass(45 * 24 * time.Hour)
		o := w.options(w.mem, repo.Access{Secrets: w.access.Secrets})
		res := w.prune(o)
		if res.Early != 0 {
			t.Errorf("%v for deleting early", res.Early)
		}
	}
	if w.packs() > 60 {
		t.Errorf("%d packs", w.packs())
	}
	w.must(w.sound(false))
}

// TestStay: packs wait until their minimum stay is over, unless the user pays, and no more than he says.
func TestStay(t *testing.T) {
	w := newWorld(t, nil, "DEEP_ARCHIVE", nil)
	for i := range 3 {
		w.backup(1, fmt.Sprint("only in ", i, strings.Repeat(".", 5000)))
	}
	w.clock.pass(48 * time.Hour)
	o := w.options(w.mem, w.prunes())
	o.Decide = keepLast(1)
	res := w.prune(o)
	var stay Waiting
	for _, x := range res.Waiting {
		if x.Why == Stay {
			stay = x
		}
	}
	if stay.Packs != 2 || stay.Cost <= 0 || stay.Until.Before(w.now().Add(177*24*time.Hour)) || stay.Until.After(w.now().Add(179*24*time.Hour)) {
		t.Fatalf("%+v", res.Waiting)
	}
	early := func(most price.Money) *Result {
		o := w.options(w.mem, w.prunes())
		o.Decide, o.Early, o.MaxCost, o.Grace = keepLast(1), true, most, 0
		return w.prune(o)
	}
	if res := early(stay.Cost / 100); res.Deleted.Packs != 2 || res.Early != 0 { // the packs of manifests alone
		t.Errorf("for too little: %+v", res)
	}
	if res := early(stay.Cost * 0.6); res.Deleted.Packs != 1 || res.Early <= 0 || res.Early > stay.Cost*0.6 {
		t.Errorf("for half of it: %+v", res)
	}
	if res := early(stay.Cost); res.Deleted.Packs != 1 {
		t.Errorf("for all of it: %+v", res)
	}
	w.must(w.sound(false))
}

// TestOrphans: packs that a killed backup left behind are deleted once they are old, and a backup that wakes up later and takes them for stored loses nothing.
func TestOrphans(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	w.backup(1, "one")
	indexed := w.names("index/")
	var journal records
	b, err := begin(w.mem, w.access, w.now, 1, w.newID(), repo.WriterOptions{Journal: &journal})
	w.must(err)
	_, err = b.put(0, []byte("sleeping"))
	w.must(err)
	w.must(b.out.SendPacks(ctx)) // named in an index; that is lost
	for _, n := range w.names("index/") {
		if !slices.Contains(indexed, n) {
			w.must(w.mem.Delete(ctx, n))
		}
	}
	journal = journal[:1]
	sleeper, err := begin(w.mem, w.access, w.now, 1, w.newID(), repo.WriterOptions{})
	w.must(err)
	w.must(sleeper.out.Refresh()) // before anything is retired
	before := w.packs()
	w.clock.pass(6 * 24 * time.Hour)
	if res := w.prune(w.options(w.mem, w.prunes())); res.Retired.Packs != 0 {
		t.Errorf("young orphans: %+v", res)
	}
	w.clock.pass(2 * 24 * time.Hour)
	if n, err := sleeper.out.Adopt(ctx, journal); err != nil || n != 1 {
		t.Fatalf("%d adopted, %v", n, err)
	}
	if res := w.prune(w.options(w.mem, w.prunes())); res.Retired.Packs != 1 {
		t.Errorf("old orphans: %+v", res)
	}
	w.clock.pass(25 * time.Hour)
	if res := w.prune(w.options(w.mem, w.prunes())); res.Deleted.Packs != 1 || w.packs() != before-1 {
		t.Errorf("%+v", res)
	}
	s, err := sleeper.snapshot(true, false, "sleeping")
	w.must(err)
	item, err := sleeper.out.Publish(ctx, s)
	w.must(err)
	var retired *repo.RetiredError
	if err := sleeper.out.Confirm(ctx, item); !errors.As(err, &retired) {
		t.Errorf("confirmed without its pack: %v", err)
	}
	w.must(w.sound(false))
	w.clock.pass(25 * time.Hour)
	w.prune(w.options(w.mem, w.prunes())) // it is left behind without its pack, and stops nobody
}

// records keeps what a journal is given.
type records [][]byte

func (r *records) Append(rec []byte) { *r = append(*r, bytes.Clone(rec)) }

// TestUnreadable: a done snapshot, or its pack set, that cannot be read stops everything and is named; what was never done stops nobody for long.
func TestUnreadable(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	for i := range 4 {
		w.backup(1, fmt.Sprint(i))
	}
	w.clock.pass(48 * time.Hour)
	for _, prefix := range []string{"snapshots/", "packset/"} {
		for _, name := range w.names(prefix) {
			whole := w.object(name)
			broken := slices.Clone(whole)
			broken[len(broken)/2] ^= 1
			w.mem.Replace(name, broken)
			before := w.names("")
			o := w.options(w.mem, w.prunes())
			o.Grace = 0
			o.Decide = keepLast(4)
			_, err := Run(ctx, o)
			var stop *UnreadableError
			if !errors.As(err, &stop) || len(stop.Objects) != 1 || !strings.HasPrefix(stop.Objects[0], name) {
				t.Errorf("%s: %v", name, err)
			}
			if !slices.Equal(before, w.names("")) {
				t.Errorf("%s: something was changed", name)
			}
			w.mem.Replace(name, whole)
		}
	}
	// Given up by name.
	name := w.names("snapshots/")[0]
	raw := w.object(name)
	w.mem.Replace(name, raw[:40])
	id, err := snapshot.ParseID(name[strings.LastIndexByte(name, '/')+1:])
	w.must(err)
	o := w.options(w.mem, w.prunes())
	o.Forget, o.Only, o.Decide = []snapshot.ID{id}, true, nil
	if res := w.prune(o); len(res.Forgotten) != 1 || len(w.names(name)) != 0 {
		t.Errorf("%+v", res)
	}
	// Garbage that anybody could have put there.
	scope := w.access.Host.ScopeID.String()
	junk := []string{"snapshots/" + scope + "/00000000000000000000000000000009", "snapshots/" + scope + "/what", "packset/" + scope + "/x", "prune/x",
		"prune/ffffffffffffffff-" + digest.SumObject([]byte("junk")).String()}
	for _, n := range junk {
		w.must(w.mem.Put(ctx, n, strings.NewReader("junk"), 4, store.PutOptions{}))
	}
	o = w.options(w.mem, w.prunes())
	if _, err := Run(ctx, o); !errors.As(err, new(*UnreadableError)) {
		t.Errorf("just stored: %v", err)
	}
	w.clock.pass(25 * time.Hour)
	o = w.options(w.mem, w.prunes())
	o.Decide = keepLast(1)
	w.prune(o)
	w.backup(1, "more") // is confirmed
	for _, n := range junk {
		w.must(w.mem.Delete(ctx, n))
	}
	w.must(w.sound(true))
}

// TestRecords: a prune record that was damaged stops backups and prunes, until somebody who holds everything prunes.
func TestRecords(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	for i := range 3 {
		w.backup(1, fmt.Sprint(i))
	}
	w.clock.pass(48 * time.Hour)
	w.prune(w.options(w.mem, w.prunes()))
	name := w.names("prune/")[0]
	raw := w.object(name)
	raw[len(raw)/2] ^= 1
	w.mem.Replace(name, raw)
	if _, err := Run(ctx, w.options(w.mem, w.prunes())); !errors.Is(err, ErrRecords) {
		t.Errorf("%v", err)
	}
	w.prune(w.options(w.mem, repo.Access{Secrets: w.access.Secrets}))
	w.backup(1, "more")
	w.must(w.sound(true))
}

// TestMerged: records are merged, say the same then, and keep their age and the epochs.
func TestMerged(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	w.backupOn(w.mem, 1, snapshot.ID{}, 7, "of epoch seven")
	for i := range 12 {
		w.backup(1, fmt.Sprint(i))
		w.clock.pass(30 * time.Hour)
		o := w.options(w.mem, w.prunes())
		o.Decide = keepLast(1)
		w.prune(o)
	}
	if n := len(w.names("prune/")); n > 2*mergeRecords+6 {
		t.Errorf("%d records", n)
	}
	r := w.open(w.mem, w.access)
	s, err := r.LoadToPrune(ctx, w.access.Host.ScopeID)
	w.must(err)
	if s.Epochs() != 8 || len(s.Forgotten()) != 12 {
		t.Errorf("%d epochs, %d forgotten", s.Epochs(), len(s.Forgotten()))
	}
	oldest := w.now()
	s.Retirements(func(r repo.Retirement) {
		if r.Since.Before(oldest) {
			oldest = r.Since
		}
	})
	if w.now().Sub(oldest) < 48*time.Hour {
		t.Errorf("the oldest record is of %v ago", w.now().Sub(oldest))
	}
	w.must(w.sound(true))
	if n := w.packs(); n > 8 {
		t.Errorf("%d packs", n)
	}
}

// TestIndexes: what is gone vanishes from the index, and what is there stays in it, with whoever's key.
func TestIndexes(t *testing.T) {
	for _, host := range []bool{true, false} {
		w := newWorld(t, nil, "", nil)
		access := repo.Access{Secrets: w.access.Secrets}
		if host {
			access = w.prunes()
		}
		for i := range 30 {
			w.backup(1, "shared", fmt.Sprint(i))
			w.clock.pass(30 * time.Hour)
		}
		for range 4 {
			o := w.options(w.mem, access)
			o.Refresh.Off = true
			w.prune(o)
			w.clock.pass(30 * time.Hour)
		}
		if n := len(w.names("index/")); n > 2 {
			t.Errorf("%d index objects", n)
		}
		s, err := w.open(w.mem, w.access).Load(ctx, w.access.Host.ScopeID, true)
		w.must(err)
		known := 0
		w.must(s.EachPack(func(*repo.PackObject) error { known++; return nil }))
		if known != w.packs() {
			t.Errorf("%d packs indexed, %d there", known, w.packs())
		}
		w.backup(1, "shared", "again")
		w.must(w.sound(true))
	}
}

// TestForget: by name, with what may not go.
func TestForget(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	first := w.backup(1, "one")
	base := w.backup(2, "base")
	link := w.backupOn(w.mem, 2, base.ID, 0, "base", "link")
	forget := func(last bool, ids ...snapshot.ID) error {
		o := w.options(w.mem, w.prunes())
		o.Decide, o.Forget, o.Only, o.Last = nil, ids, true, last
		_, err := Run(ctx, o)
		return err
	}
	var is *LastError
	if err := forget(false, first.ID); !errors.As(err, &is) || is.ID != first.ID {
		t.Errorf("last: %v", err)
	}
	var needed *BaseError
	if err := forget(false, base.ID); !errors.As(err, &needed) || needed.Needs[0] != link.ID {
		t.Errorf("base: %v", err)
	}
	if err := forget(true, base.ID, link.ID); err != nil {
		t.Errorf("chain: %v", err)
	}
	if err := forget(false, snapshot.ID{9}); !errors.Is(err, ErrNothing) {
		t.Errorf("none: %v", err)
	}
	if err := forget(true, first.ID); err != nil || len(w.names("snapshots/")) != 0 {
		t.Errorf("%v, %q", err, w.names("snapshots/"))
	}
	o := w.options(w.mem, repo.Access{Host: w.access.Host})
	o.Decide = nil
	if _, err := Run(ctx, o); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("a writer prunes: %v", err)
	}
}

// TestRules: what rules say is checked: a source is left one snapshot, and bases stay.
func TestRules(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	base := w.backup(2, "base")
	w.backupOn(w.mem, 2, base.ID, 0, "base", "link")
	o := w.options(w.mem, w.prunes())
	o.Decide = func(items []snapshot.Item, _ time.Time) (all []snapshot.ID, err error) {
		for _, it := range items {
			all = append(all, it.ID)
		}
		return all, nil
	}
	if _, err := Run(ctx, o); !errors.As(err, new(*LastError)) {
		t.Errorf("%v", err)
	}
	o.Decide = keepLast(1)
	if res := w.prune(o); len(res.Forgotten) != 0 {
		t.Errorf("a base was forgotten: %+v", res.Forgotten)
	}
	boom := errors.New("boom")
	o.Decide = func([]snapshot.Item, time.Time) ([]snapshot.ID, error) { return nil, boom }
	if _, err := Run(ctx, o); !errors.Is(err, boom) {
		t.Errorf("%v", err)
	}
}

// TestClocks: the machine's clock may be wrong, and snapshots may come from the future: grace and stays count by the store's.
func TestClocks(t *testing.T) {
	w := newWorld(t, nil, "DEEP_ARCHIVE", nil)
	for i := range 4 {
		w.backup(1, fmt.Sprint(i))
	}
	w.clock.pass(30 * time.Hour)
	for _, skew := range []time.Duration{-5000 * time.Hour, 5000 * time.Hour} {
		o := w.options(w.mem, w.prunes())
		at := time.Time{}
		o.Now = func() time.Time { return w.now().Add(skew) }
		o.Refresh.Off = true
		o.Decide = func(items []snapshot.Item, now time.Time) ([]snapshot.ID, error) {
			at = now
			return keepLast(2)(items, now)
		}
		res := w.prune(o)
		if res.Deleted.Packs != 0 || res.At.After(w.now()) && skew < 0 {
			t.Errorf("clock is %v off: %+v", skew, res)
		}
		if res.Forgets() && !at.Equal(w.now()) {
			t.Errorf("rules were asked about %v", at)
		}
	}
	if n := len(w.names("snapshots/")); n != 4 {
		t.Errorf("%d objects of snapshots", n)
	}
	w.must(w.sound(false))
}

// TestRefresh: packs of which little is left are retired, the next backup sends that again, and the old packs go.
func TestRefresh(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	rng := rand.New(rand.NewPCG(4, 4))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return string(b)
	}
	keep := noise(1000)
	backup := func(texts ...string) {
		b, err := begin(w.mem, w.access, w.now, 1, w.newID(), repo.WriterOptions{})
		w.must(err)
		w.must(b.out.Refresh())
		s, err := b.snapshot(true, false, texts...)
		w.must(err)
		item, err := b.out.Publish(ctx, s)
		w.must(err)
		w.must(b.out.Confirm(ctx, item))
		w.clock.pass(24 * time.Hour)
	}
	backup(keep, noise(20_000))
	big := w.bytes()
	for range 6 {
		backup(keep)
	}
	access := repo.Access{Secrets: w.access.Secrets}
	o := w.options(w.mem, w.prunes())
	if res := w.prune(o); !res.Refreshed.Blind || res.Refreshed.Packs != 0 {
		t.Errorf("without the right to read: %+v", res.Refreshed)
	}
	o = w.options(w.mem, access)
	o.Refresh.Off = true
	if res := w.prune(o); res.Refreshed.Packs != 0 {
		t.Errorf("switched off: %+v", res.Refreshed)
	}
	o = w.options(w.mem, access)
	res := w.prune(o)
	if res.Refreshed.Packs != 1 || res.Refreshed.Resend > 2000 || res.Refreshed.Bytes < 20_000 {
		t.Fatalf("%+v", res.Refreshed)
	}
	w.must(w.sound(true))
	for range 3 {
		backup(keep)
	}
	w.clock.pass(24 * time.Hour)
	w.prune(w.options(w.mem, access))
	w.clock.pass(25 * time.Hour)
	w.prune(w.options(w.mem, access))
	if got := w.bytes(); got > big/4 {
		t.Errorf("%d bytes are left of %d", got, big)
	}
	w.must(w.sound(true))
	// Chains stay as they are.
	chain := newWorld(t, nil, "", nil)
	base := chain.backup(1, keep, noise(20_000))
	chain.backupOn(chain.mem, 1, base.ID, 0, keep)
	chain.clock.pass(100 * time.Hour)
	o = chain.options(chain.mem, repo.Access{Secrets: chain.access.Secrets})
	if res := chain.prune(o); res.Refreshed.Packs != 0 {
		t.Errorf("a chain: %+v", res.Refreshed)
	}
}

func (w *world) bytes() (sum int64) {
	w.t.Helper()
	w.must(w.mem.List(ctx, "data/", "", func(i store.Info) error {
		sum += i.Size
		return nil
	}))
	return sum
}

// weak is a store whose listings may be late.
type weak struct{ store.Store }

func (weak) Weakness() []string { return []string{"listings may be late"} }

// TestWeak: a store whose listings may be late needs a time of grace.
func TestWeak(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	w.backup(1, "one")
	o := w.options(weak{w.mem}, w.prunes())
	o.Grace = WeakGrace - 1
	if _, err := Run(ctx, o); !errors.Is(err, ErrGrace) {
		t.Errorf("%v", err)
	}
	o.Grace = WeakGrace
	w.prune(o)
}

// TestStates: what hosts leave behind is tidied by who holds everything, and garbage does not push out what is good.
func TestStates(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	host, err := w.open(w.mem, w.access).Enroll(ctx, "other", "nas", keys.Writer)
	w.must(err)
	access := repo.Access{Host: host, Secrets: w.access.Secrets}
	for range 8 {
		b, err := begin(w.mem, access, w.now, 3, w.newID(), repo.WriterOptions{})
		w.must(err)
		w.must(b.out.PutState(ctx, nil))
		w.clock.pass(time.Hour)
	}
	prefix := "state/" + host.Host.String() + "/"
	junk := digest.SumObject([]byte("junk"))
	for i := range 4 {
		w.must(w.mem.Put(ctx, fmt.Sprintf("%sff%014d-%v", prefix, i, junk), strings.NewReader("junk"), 4, store.PutOptions{}))
	}
	w.backup(1, "one")
	w.clock.pass(40 * 24 * time.Hour)
	o := w.options(w.mem, w.prunes())
	if res := w.prune(o); res.States != 0 {
		t.Errorf("a pruner's key cannot tell: %+v", res)
	}
	o = w.options(w.mem, repo.Access{Secrets: w.access.Secrets})
	if res := w.prune(o); res.States != 9 { // the garbage, too
		t.Errorf("%d states deleted; %q", res.States, w.names(prefix))
	}
}

// stopping is a store whose user stops the run once a pack of content has been deleted.
type stopping struct {
	store.Store
	stop func()
}

func (s stopping) Delete(ctx context.Context, name string) error {
	err := s.Store.Delete(ctx, name)
	if strings.HasPrefix(name, "data/") {
		s.stop()
	}
	return err
}

// TestStopped: a prune that is stopped while it deletes says so, even where nothing went wrong, and the next one goes on.
func TestStopped(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	for i := range 4 {
		w.backup(1, "shared", fmt.Sprint("only in ", i))
		w.clock.pass(time.Hour)
	}
	for range 2 {
		w.prune(w.options(w.mem, w.prunes()))
		w.clock.pass(25 * time.Hour)
	}
	before := w.packs()
	stopped, stop := context.WithCancel(ctx)
	o := w.options(stopping{w.mem, stop}, w.prunes())
	o.Parallel = 1
	if res, err := Run(stopped, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("%+v, %v", res, err)
	}
	midway := w.packs()
	w.prune(w.options(w.mem, w.prunes()))
	if n := w.packs(); midway >= before || n >= midway { // one more may be under way when the run is stopped
		t.Errorf("%d packs, then %d, then %d", before, midway, n)
	}
	w.must(w.sound(true))
}

// TestMendedPackSetStays: a pack set that was lost and made again, under a name that no snapshot has, is needed by the snapshot that it serves.
func TestMendedPackSetStays(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	item := w.backup(1, "one", "two")
	r := w.open(w.mem, repo.Access{Secrets: w.access.Secrets})
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	w.must(w.mem.Delete(ctx, s.PartName(item.Packs[0])))
	name, object, err := s.SealPart(ctx, item.Snapshot, item.Packs[0])
	w.must(err)
	w.must(w.mem.Put(ctx, name, bytes.NewReader(object), int64(len(object)), store.PutOptions{}))
	for range 4 {
		w.clock.pass(48 * time.Hour)
		w.prune(w.options(w.mem, w.prunes()))
		w.must(w.sound(true))
	}
}

// lacking is a store whose listings lack an object that is there.
type lacking struct {
	store.Store
	name string
}

func (l lacking) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return l.Store.List(ctx, prefix, after, func(i store.Info) error {
		if i.Name == l.name {
			return nil
		}
		return fn(i)
	})
}

// TestLateMark: a snapshot whose mark is there and not listed is done, however old it is.
func TestLateMark(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	old := w.backup(1, "one")
	w.clock.pass(30 * 24 * time.Hour)
	w.backup(1, "two")
	w.clock.pass(30 * 24 * time.Hour)
	s, err := w.open(w.mem, w.access).Load(ctx, w.access.Host.ScopeID, false)
	w.must(err)
	_, mark := s.SnapshotName(old.ID)
	if res := w.prune(w.options(lacking{w.mem, mark}, w.prunes())); len(res.Forgotten) > 0 {
		t.Errorf("forgotten: %v", res.Forgotten)
	}
	w.must(w.mem.Delete(ctx, mark)) // now it is not
	if res := w.prune(w.options(w.mem, w.prunes())); len(res.Forgotten) != 1 || res.Forgotten[0].ID != old.ID {
		t.Errorf("forgotten: %v", res.Forgotten)
	}
}
