package replay_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"firn/internal/event"
	"firn/internal/replay"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/thaw"
)

// clock is moved by who sleeps on it, and by what comes over the link.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

func (c *clock) Sleep(ctx context.Context, d time.Duration) error {
	c.pass(d)
	return ctx.Err()
}

// glacier is a world whose content lies in a cold class, behind a slow link.
type glacier struct {
	*world
	clock *clock
	speed float64 // bytes a second; 0: nothing takes time

	workers int // 1: time does not pass four times as fast where four wait for the link

	mu     sync.Mutex
	twice  []string // asked for while on its way
	thawed map[string]int
	kept   int // copies that were asked for once more while there
	die    int // at which request; 0: never; -1: dead
	cancel context.CancelFunc
}

func newGlacier(t testing.TB) *glacier {
	g := &glacier{clock: &clock{at: time.Now()}, thawed: map[string]int{}}
	g.world = newWorld(t, mem.Options{Now: g.clock.Now, Watch: g.watch})
	return g
}

func (g *glacier) watch(r mem.Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.die > 0 {
		if g.die--; g.die == 0 {
			g.cancel()
			g.die = -1
		}
	}
	if g.die < 0 {
		return context.Canceled
	}
	switch {
	case r.Op == "thaw" && r.Copy == store.Thawing:
		g.twice = append(g.twice, r.Name)
	case r.Op == "thaw" && r.Copy == store.NoCopy:
		g.thawed[r.Name]++
	case r.Op == "thaw":
		g.kept++
	case r.Op == "get" && r.Cold && g.speed > 0:
		g.clock.pass(time.Duration(float64(r.Size) / g.speed * 1e9))
	}
	return nil
}

// freeze puts all packs of content into a class. Copies are gone.
func (g *glacier) freeze(class string) {
	for _, name := range g.packs() {
		g.st.Reclass(name, "STANDARD")
		g.st.Reclass(name, class)
	}
	g.thawed, g.twice, g.kept = map[string]int{}, nil, 0
}

func (g *glacier) state(name string) *state.State {
	return state.Open(state.Dirs{State: filepath.Join(g.base, name), Cache: filepath.Join(g.base, name)}, [16]byte{2}, func(err error) { g.t.Error(err) })
}

// thaw replays a snapshot in a process that dies after so many requests; 0: it does not. done tells that all is there.
func (g *glacier) thaw(it snapshot.Item, x *target, st *state.State, die int, change func(*thaw.RunOptions)) (*replay.Result, *thaw.Result, error) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ro := g.options(it)
	ro.Workers = g.workers
	s, err := replay.Open(ctx, ro)
	g.must(err)
	missing, err := s.Missing(ctx, x)
	g.must(err)
	n, err := s.Plan(ctx, missing)
	g.must(err)
	key := s.ThawKey("target")
	job, err := thaw.Find(st, key, g.clock.Now())
	g.must(err)
	if job != nil && !replay.Fits(job, n.Objects()) {
		g.must(job.End(thaw.Cancelled, g.clock.Now()))
		job.Close()
		job = nil
	}
	if job == nil {
		job, err = thaw.Create(st, thaw.Header{Key: key, Purpose: "restore", Tier: store.Bulk, Days: 1}, n.Objects(), g.clock.Now())
		g.must(err)
	}
	defer job.Close()
	g.mu.Lock()
	g.die, g.cancel = die, cancel
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		g.die = 0
		g.mu.Unlock()
	}()
	o := thaw.RunOptions{Store: g.st, Link: thaw.Link{Down: g.speed}, Clock: g.clock, Rate: 1e6, MaxRate: 1e6, Poll: time.Hour}
	if change != nil {
		change(&o)
	}
	to := replay.ThawOptions{Job: job, Run: o}
	to.Still()
	return s.Thaw(ctx, x, missing, to)
}

// once checks that every pack was thawed once.
func (g *glacier) once(but int) {
	g.t.Helper()
	again := 0
	for _, n := range g.thawed {
		again += n - 1
	}
	if again > but || len(g.twice) > 0 {
		g.t.Errorf("%d thaws too many, twice at a time %q", again, g.twice)
	}
}

func TestThaw(t *testing.T) {
	g := newGlacier(t)
	items := g.chain(3, 1200<<10)
	for _, speed := range []float64{0, 1e5, 100} { // the last one brings home less a day than there is
		g.freeze("DEEP_ARCHIVE")
		g.speed, g.workers = speed, 1
		x := newTarget()
		begun := g.clock.Now()
		var last thaw.Status
		res, tr, err := g.thaw(items[2], x, g.state(fmt.Sprint("jobs", speed)), 0, func(o *thaw.RunOptions) { o.OnStatus = func(s thaw.Status) { last = s } })
		g.must(err)
		x.check(g.world, wholeChain...)
		g.once(0)
		if res.Links != 7 || res.Failed > 0 || tr.Status.State != thaw.Done || tr.Status.Left.Objects != 0 || int64(len(g.thawed)) != tr.Status.Fetched.Objects {
			t.Errorf("speed %v: %d links, %d failed, %d thawed, %+v", speed, res.Links, res.Failed, len(g.thawed), tr.Status)
		}
		if last.At.IsZero() {
			t.Error("nobody was told")
		}
		t.Logf("speed %v: %v, %d packs, %d kept, %d thawed again", speed, g.clock.Now().Sub(begun), len(g.packs()), g.kept, len(tr.Again))
	}
}

// TestThawKilled kills replays of days at random requests. Each link is taken whole or not at all, and what is thawed is not asked for again.
func TestThawKilled(t *testing.T) {
	g := newGlacier(t)
	items := g.chain(3, 400<<10)
	rnd := rand.New(rand.NewPCG(5, 5))
	kills := 0
	for round := 0; kills < 30; round++ {
		if round > 30 {
			t.Fatalf("only %d kills", kills)
		}
		g.freeze("GLACIER")
		g.speed = []float64{20, 1e3, 0}[round%3]
		begun := g.clock.Now()
		x := newTarget()
		jobs := fmt.Sprint("jobs", round)
		for {
			die := 1 + rnd.IntN(80)
			if kills >= 30 {
				die = 0
			}
			x.took = nil
			_, _, err := g.thaw(items[2], x, g.state(jobs), die, nil)
			if err == nil {
				break
			}
			if die == 0 || !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			kills++
		}
		x.took = nil
		x.check(g.world)
		if len(x.got) != 7 {
			t.Errorf("took %d streams", len(x.got))
		}
		if len(g.twice) > 0 {
			t.Errorf("asked for twice: %q", g.twice)
		}
		for name, n := range g.thawed {
			if n > 1 {
				t.Logf("round %d, %v after its start: %s was thawed %d times", round, g.clock.Now().Sub(begun), name[len(name)-8:], n)
			}
		}
	}
}

// TestThawStanding: packs that a stream needs at its start and once more at its end do not keep the rest from being thawed, and are not paid for twice.
func TestThawStanding(t *testing.T) {
	g := newGlacier(t)
	early := randomBytes(1, 700<<10)
	g.content["a-1"] = slices.Concat(early, randomBytes(2, 9<<20), early)
	it := g.backup(nil, []source.Point{point("a", "1", "")})
	g.freeze("GLACIER")
	g.workers = 1
	g.speed = 100 // 6 MB a day, counted with care
	x := newTarget()
	_, tr, err := g.thaw(it, x, g.state("jobs"), 0, nil)
	g.must(err)
	x.check(g.world, "a-1")
	if g.kept == 0 {
		t.Error("no copy was kept for longer")
	}
	g.once(0)
	t.Logf("%d packs, %d thaws, %d kept, again %d", len(g.packs()), len(g.thawed), g.kept, len(tr.Again))
}

// TestThawDetached: without waiting, links are taken as their packs are all there.
func TestThawDetached(t *testing.T) {
	g := newGlacier(t)
	items := g.chain(2, 300<<10)
	g.freeze("GLACIER")
	g.speed = 1e6
	x := newTarget()
	st := g.state("jobs")
	detach := func(o *thaw.RunOptions) { o.NoWait = true }
	res, tr, err := g.thaw(items[1], x, st, 0, detach)
	g.must(err)
	if res.Links != 0 || tr.Status.Thawing.Objects == 0 || tr.Status.State != thaw.Active {
		t.Errorf("%+v, %+v", res, tr.Status)
	}
	g.clock.pass(13 * time.Hour)
	res, tr, err = g.thaw(items[1], x, st, 0, detach)
	g.must(err)
	x.check(g.world, "a-1", "b-1", "a-1-2", "b-1-2", "globals")
	if res.Links != 5 || tr.Status.State != thaw.Done {
		t.Errorf("%+v, %+v", res, tr.Status)
	}
	g.once(0)
}

// TestThawBroken: what fails in a target ends it, and the job goes on with what the target lacks; what is gone is named.
func TestThawBroken(t *testing.T) {
	g := newGlacier(t)
	items := g.chain(3, 400<<10)
	g.freeze("GLACIER")
	x := newTarget()
	x.fail = "a-1-2"
	st := g.state("jobs")
	_, tr, err := g.thaw(items[2], x, st, 0, nil)
	var link *replay.LinkError
	if !errors.As(err, &link) || link.Path != x.fail || link.Lost || tr.Status.State != thaw.Active {
		t.Fatalf("%v, %+v", err, tr.Status)
	}
	x.check(g.world, "a-1", "b-1")
	x.fail, x.took = "", nil
	_, _, err = g.thaw(items[2], x, st, 0, nil)
	g.must(err)
	x.check(g.world, wholeChain[2:]...)
	g.once(0)

	// A target that has lost what it had gets a job of its own.
	x = newTarget()
	g.clock.pass(100 * 24 * time.Hour)
	x.fail = "b-2-3"
	_, _, err = g.thaw(items[2], x, st, 0, nil)
	if !errors.As(err, &link) {
		t.Fatal(err)
	}
	x = newTarget()
	_, _, err = g.thaw(items[2], x, st, 0, nil)
	g.must(err)
	x.check(g.world, wholeChain...)

	// A pack that is gone.
	s := g.streams(items[2])
	n, err := s.Plan(t.Context(), s.Links()[2:3])
	g.must(err)
	first, err := s.Plan(t.Context(), s.Links()[:2])
	g.must(err)
	for _, p := range n.Packs {
		if !slices.ContainsFunc(first.Packs, func(o replay.Pack) bool { return o.Object == p.Object }) {
			g.must(g.st.Delete(t.Context(), p.Object))
			break
		}
	}
	g.clock.pass(100 * 24 * time.Hour)
	x = newTarget()
	res, tr, err := g.thaw(items[2], x, st, 0, nil)
	g.must(err)
	if res.Failed == 0 || res.Lost[0].Path != "a-1-2" || tr.Status.State != thaw.Done || slices.Contains(x.took, "a-2-3") || !slices.Contains(x.took, "globals") {
		t.Errorf("%+v, %+v, took %q", res, tr.Status, x.took)
	}
}

// TestThawExpires: copies that end while a target is slow are thawed again, and told as paid again.
func TestThawExpires(t *testing.T) {
	g := newGlacier(t)
	items := g.chain(2, 400<<10)
	g.freeze("GLACIER")
	x := newTarget()
	slow := true
	x.before = func() {
		if slow {
			g.clock.pass(20 * 24 * time.Hour)
			slow = false
		}
	}
	var notes []string
	_, tr, err := g.thaw(items[1], x, g.state("jobs"), 0, func(o *thaw.RunOptions) {
		o.Events = func(e event.Event) {
			if n, ok := e.(event.Note); ok {
				notes = append(notes, n.Text)
			}
		}
	})
	g.must(err)
	x.check(g.world, "a-1", "b-1", "a-1-2", "b-1-2", "globals")
	if tr.Status.Again == 0 || len(notes) == 0 {
		t.Errorf("again %d, notes %q", tr.Status.Again, notes)
	}
}
