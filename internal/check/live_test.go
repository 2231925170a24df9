package check_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/check"
	"firn/internal/digest"
	"firn/internal/faultstore"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/thaw"
)

// Nothing but a thaw job reads what is cold.
func TestColdIsNotRead(t *testing.T) {
	w := newWorld(t, mem.Options{Watch: mem.NoColdGet(t.Errorf)}, "DEEP_ARCHIVE")
	w.history()
	name := w.names("data/", "")[0]
	r := w.check(level{wish: check.Wish{Sums: 1, Metadata: true, Read: check.Share{All: true}}})
	if len(r.Findings) > 0 || r.Result.Packs == 0 || r.Result.Packs >= r.Result.Candidates {
		t.Errorf("%v, %+v", r.Findings, r.Result)
	}
	w.replace(name, nil, "")
	for _, l := range []level{listing, metadata, reading, {blind: true, wish: reading.wish}, {host: w.hosts["nas"], wish: reading.wish}} {
		r := w.check(l)
		if !l.blind && l.host == nil && (len(r.Findings) != 1 || r.Findings[0].Object != name || len(r.Findings[0].Harms) == 0) {
			t.Errorf("%v", r.Findings)
		}
	}
}

// jumpClock passes only when somebody sleeps.
type jumpClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *jumpClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *jumpClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	return ctx.Err()
}

// A thaw job reads what is cold, and what is damaged there is found; what a run that was cut off has found is remembered.
func TestThaw(t *testing.T) {
	clock := &jumpClock{at: time.Now().Add(time.Hour)}
	w := newWorld(t, mem.Options{Now: clock.Now}, "DEEP_ARCHIVE")
	w.history()
	data := w.names("data/", "")
	var name, volume string
	for _, n := range data {
		if strings.HasSuffix(n, ".par2") {
			volume = n
		} else {
			name = n
		}
	}
	if volume == "" {
		t.Fatal("no volumes")
	}
	for _, n := range []string{name, volume} {
		info, err := w.st.Stat(ctx, n)
		w.must(err)
		w.replace(n, make([]byte, info.Size), "DEEP_ARCHIVE")
	}
	_ = clock.Sleep(ctx, time.Hour)
	keep := state.Open(state.Dirs{Cache: w.base + "/kc", State: w.base + "/ks"}, [16]byte{1}, func(err error) { t.Error(err) })
	o := w.options(listing)
	o.Now, o.History = clock.Now, check.OpenHistory(keep)
	c, err := check.Open(ctx, o)
	w.must(err)
	p, err := c.Plan(ctx, check.Wish{Cold: check.Share{All: true}})
	w.must(err)
	if len(p.Needs) != len(data) {
		t.Fatalf("%d needs, %d objects", len(p.Needs), len(data))
	}
	job, err := thaw.Create(keep, thaw.Header{Purpose: "check", Tier: store.Bulk, Days: 2}, p.Needs, clock.Now())
	w.must(err)
	res, err := thaw.Run(ctx, job, thaw.RunOptions{Store: w.st, Clock: clock, Fetch: c.Fetch})
	if err != nil || res.Status.Left.Objects > 0 {
		t.Fatalf("%+v, %v", res.Status, err)
	}
	job.Close()
	r, err := c.Report(ctx)
	w.must(err)
	c.Close()
	o.History.Close()
	found := map[string]check.Remedy{}
	for _, f := range r.Findings {
		found[f.Object] = f.Remedy
	}
	if len(found) != 2 || found[name] != check.FromParity || found[volume] != check.NewVolume {
		t.Errorf("%v", r.Findings)
	}
	if r.Result.Packs != int64(len(data)/2) || r.Result.Volumes != r.Result.Packs {
		t.Errorf("%+v of %d", r.Result, len(data))
	}
	o = w.options(listing)
	o.History = check.OpenHistory(keep)
	defer o.History.Close()
	r, err = run(o, check.Wish{})
	w.must(err)
	if len(r.Findings) != 1 || r.Findings[0].Object != name || !errors.As(r.Findings[0].Err, new(*check.EarlierError)) {
		t.Errorf("later: %v", r.Findings)
	}
	sum, err := digest.ParseObject(name[strings.LastIndexByte(name, '/')+1:])
	w.must(err)
	o.History.Mended(sum)
	if r, err = run(o, check.Wish{}); err != nil || len(r.Findings) > 0 {
		t.Errorf("mended: %v, %v", r, err)
	}
}

// N runs that read an Nth each have read everything; without the history they go on, at random.
func TestRolling(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	keep := state.Open(state.Dirs{Cache: w.base + "/kc", State: w.base + "/ks"}, [16]byte{1}, func(err error) { t.Error(err) })
	at := time.Now()
	var read, total int64
	for i := range 5 {
		o := w.options(listing)
		o.Seed = uint64(i + 1)
		o.Now = func() time.Time { return at }
		o.History = check.OpenHistory(keep)
		r, err := run(o, check.Wish{Read: check.Share{Of: 5}})
		o.History.Close()
		w.must(err)
		at = at.Add(24 * time.Hour)
		read += r.Result.Packs
		total = r.Result.Candidates
		if full := r.Result.Fresh == total; full != (i == 4) && read < total {
			t.Errorf("run %d: %+v", i, r.Result)
		}
	}
	o := w.options(listing)
	o.History = check.OpenHistory(keep)
	defer o.History.Close()
	r, err := run(o, check.Wish{})
	w.must(err)
	if r.Result.Fresh != total || r.Result.Oldest.IsZero() {
		t.Errorf("after all runs: %+v", r.Result)
	}
	for name, s := range map[string]check.Share{"bytes": {Bytes: 1 << 20}, "packs": {Packs: 3}, "part": {Part: 0.2}} {
		r := w.check(level{wish: check.Wish{Read: s}})
		if r.Result.Packs == 0 || r.Result.Packs >= total || s.Packs > 0 && r.Result.Packs != s.Packs || s.Bytes > 0 && r.Result.PackBytes > s.Bytes {
			t.Errorf("%s: %+v", name, r.Result)
		}
	}
}

// A store that fails says nothing about what it holds: a check ends with its error, or finds nothing.
func TestFaults(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	for seed := range uint64(15) {
		rules, err := faultstore.Parse([]string{"get * before p=0.03 permanent", "get * torn p=0.05", "list * torn nth=2", "stat * before p=0.2", "list * before nth=5"}[seed%5])
		w.must(err)
		o := w.options(reading)
		o.Store = faultstore.New(w.st, seed, rules...)
		r, err := run(o, check.Wish{Sums: 1, Metadata: true, Read: check.Share{All: true}})
		if err == nil && len(r.Findings) > 0 {
			t.Errorf("seed %d: %v", seed, r.Findings)
		}
	}
}

// Backups that come and go while a check runs give no findings, partial snapshots and killed runs included.
func TestBesideBackups(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	var stop atomic.Bool
	var wg sync.WaitGroup
	for _, host := range []string{"nas", "laptop"} {
		source := map[string]string{"nas": "docs", "laptop": "mail"}[host]
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				w.write(source, fmt.Sprintf("new%d", i%7), uint64(i), 90<<10)
				if i%3 == 2 {
					c, cancel := context.WithTimeout(ctx, 60*time.Millisecond)
					_, _ = w.tryBackup(c, w.st, host, source, backup.Options{FlushPacks: 1, FlushAfter: time.Millisecond})
					cancel()
					continue
				}
				if _, err := w.tryBackup(ctx, w.st, host, source, backup.Options{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 8 {
		r, err := run(w.options(reading), []check.Wish{reading.wish, metadata.wish, listing.wish}[i%3])
		if err != nil {
			t.Error(err)
			continue
		}
		for _, f := range r.Findings {
			t.Errorf("run %d: %v (%s)", i, f, f.Kind)
		}
	}
	stop.Store(true)
	wg.Wait()
	if r := w.check(reading); len(r.Findings) > 0 {
		t.Errorf("at the end: %v", r.Findings)
	}
}

// What a prune takes away is no damage, while it does so and after.
func TestBesidePrune(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	r, err := repo.Open(ctx, w.st, w.access, repo.Options{})
	w.must(err)
	s, err := r.Load(ctx, w.hosts["nas"].ScopeID, true)
	w.must(err)
	gone := map[snapshot.ID]bool{}
	keep := map[digest.Object]bool{}
	var forget []snapshot.ID
	for _, it := range s.Items {
		if gone[it.ID] = it.Sequence < 3 && strings.HasSuffix(string(it.Source.Path), "docs"); gone[it.ID] {
			forget = append(forget, it.ID)
			continue
		}
		names, err := s.PackNames(ctx, it.Snapshot)
		w.must(err)
		for _, n := range names {
			keep[n] = true
		}
	}
	var retire []digest.Object
	var objects []string
	w.must(s.EachPack(func(p *repo.PackObject) error {
		if !keep[p.Name] {
			retire = append(retire, p.Name)
			objects = append(objects, p.Object, p.Volume())
		}
		return nil
	}))
	if len(forget) != 2 || len(retire) == 0 {
		t.Fatalf("%d forgotten, %d retired", len(forget), len(retire))
	}
	steps := []func(){func() { _, err := s.Retire(ctx, nil, forget); w.must(err) }, func() { _, err := s.Retire(ctx, retire, nil); w.must(err) }}
	for _, id := range forget {
		steps = append(steps, func() {
			name := "snapshots/" + s.ID().String() + "/" + id.String()
			w.must(w.st.Delete(ctx, name))
			w.must(w.st.Delete(ctx, name+".done"))
		})
	}
	for _, name := range objects {
		if name != "" {
			steps = append(steps, func() { w.must(w.st.Delete(ctx, name)) })
		}
	}
	var at atomic.Int64 // a step is made at every so many requests of the check
	inner := w.st
	hook := &stepping{Store: inner, every: 9, do: func() {
		if i := at.Add(1) - 1; int(i) < len(steps) {
			steps[i]()
		}
	}}
	for range 6 {
		o := w.options(reading)
		o.Store = hook
		rep, err := run(o, reading.wish)
		w.must(err)
		for _, f := range rep.Findings {
			t.Errorf("step %d: %v (%s)", at.Load(), f, f.Kind)
		}
	}
	if int(at.Load()) < len(steps) {
		t.Errorf("%d of %d steps", at.Load(), len(steps))
	}
}

// stepping does something at every so many reads.
type stepping struct {
	store.Store
	mu    sync.Mutex
	n     int
	every int
	do    func()
}

func (s *stepping) step() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n++; s.n%s.every == 0 {
		s.do()
	}
}

func (s *stepping) Stat(ctx context.Context, name string) (store.Info, error) {
	s.step()
	return s.Store.Stat(ctx, name)
}

func (s *stepping) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	defer s.step()
	return s.Store.List(ctx, prefix, after, fn)
}

func (s *stepping) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	s.step()
	return s.Store.Get(ctx, name, offset, length)
}

// Volumes are read with their packs, and have to fit them.
func TestVolumes(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	volumes := w.names("data/", ".par2")
	if len(volumes) < 2 {
		t.Fatal("no volumes")
	}
	for how, do := range damage {
		raw := w.object(volumes[0])
		w.replace(volumes[0], do(bytes.Clone(raw), w.object(volumes[1])), "")
		for _, blind := range []bool{false, true} {
			r := w.check(level{blind: blind, wish: check.Wish{Read: check.Share{All: true}}})
			found := len(r.Findings) == 1 && r.Findings[0].Object == volumes[0] && r.Findings[0].Remedy == check.NewVolume && len(r.Findings[0].Harms) == 0
			if !found && (!blind || how == "exchanged") {
				t.Errorf("%s, blind %v: %v", how, blind, r.Findings)
			}
		}
		w.replace(volumes[0], raw, "")
	}
}

// Metadata that somebody chilled is no damage: the check ends and says what is cold.
func TestChilled(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	for _, prefix := range []string{"meta/", "index/", "packset/"} {
		name := w.names(prefix, "")[0]
		w.st.Reclass(name, "GLACIER")
		if r, err := run(w.options(metadata), metadata.wish); !errors.Is(err, store.ErrCold) {
			t.Errorf("%s: %v, %v", name, r, err)
		}
		w.st.Reclass(name, "STANDARD")
	}
	if r := w.check(metadata); len(r.Findings) > 0 {
		t.Errorf("warm again: %v", r.Findings)
	}
}

// A damaged certificate takes along all that its host wrote.
func TestCertificateHarm(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	name := "hosts/" + w.hosts["laptop"].Host.String()
	raw := w.object(name)
	raw[len(raw)/2] ^= 1
	w.replace(name, raw, "")
	r := w.check(metadata)
	if len(r.Findings) != 1 || r.Findings[0].Object != name || len(r.Findings[0].Harms) != 2 || r.Findings[0].Remedy != check.NextBackup {
		t.Errorf("%v", r.Findings)
	}
}

// A lost pack that was retired, and of which a backup has sent again what the source still had, is no damage any more; what the source no longer has is.
func TestHealed(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.write("docs", "stays", 1, 300<<10)
	w.backup("nas", "docs")
	var lost []string
	for _, name := range w.names("data/", "") {
		if !strings.HasSuffix(name, ".par2") {
			lost = append(lost, name)
		}
	}
	w.write("docs", "goes", 2, 300<<10)
	w.backup("nas", "docs")
	r, err := repo.Open(ctx, w.st, w.access, repo.Options{})
	w.must(err)
	s, err := r.Load(ctx, w.hosts["nas"].ScopeID, true)
	w.must(err)
	var retire []digest.Object
	for _, name := range lost {
		o, _ := repo.ParseName(name)
		retire = append(retire, o.Sum)
		w.replace(name, nil, "")
	}
	if rep := w.check(reading); len(rep.Findings) != len(lost) || len(rep.Findings[0].Harms) != 2 {
		t.Errorf("lost: %v", rep.Findings)
	}
	_, err = s.Retire(ctx, retire, nil)
	w.must(err)
	if rep := w.check(reading); len(rep.Findings) != len(lost) || rep.Result.Healed > 0 {
		t.Errorf("retired: %v", rep.Findings)
	}
	w.write("docs", "more", 3, 1000) // so that there is a new snapshot
	w.backupAs("nas", "docs", backup.Options{Detect: backup.DefaultDetect})
	rep := w.check(reading)
	if len(rep.Findings) > 0 || rep.Result.Healed != int64(len(lost)) {
		t.Errorf("healed: %v, %+v", rep.Findings, rep.Result)
	}
}

// Anything may be damaged, several things at once: it is noticed, and nothing panics or hangs.
func TestAnyDamage(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.history()
	all := w.names("", "")
	all = append(all, w.names("", ".done")...)
	content := map[string][]byte{}
	for _, name := range all {
		content[name] = w.object(name)
	}
	ways := []string{"cut", "flipped", "gone", "exchanged"}
	for seed := range uint64(25) {
		random := newRand(seed + 1000)
		kept := map[string][]byte{}
		for range 1 + random.IntN(8) {
			name := all[random.IntN(len(all))]
			if strings.HasPrefix(name, "keys/") || strings.HasPrefix(name, "state/") || name == "RECOVER.md" || name == "recover.py" || kept[name] != nil {
				continue
			}
			raw := damage[ways[random.IntN(4)]](bytes.Clone(content[name]), content[all[random.IntN(len(all))]])
			if !bytes.Equal(raw, content[name]) {
				kept[name] = content[name]
				w.replace(name, raw, "")
			}
		}
		rep, err := run(w.options(reading), reading.wish)
		if err != nil && !openable(err) {
			t.Errorf("seed %d: %v", seed, err)
		}
		for name := range kept {
			if err == nil && len(rep.Findings) == 0 {
				t.Errorf("seed %d: nothing is found, %s was damaged", seed, name)
			}
		}
		for name, raw := range kept {
			w.replace(name, raw, "")
		}
	}
}
