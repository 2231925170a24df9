package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	r     *rand.Rand
	speed float64 // bytes a second; 0: nothing takes time
	jumps int     // how many times time may jump in the middle of a download

	mu     sync.Mutex
	twice  []string // asked for while a copy was there or on its way
	thaws  int
	die    int // at which request; 0: never
	cancel context.CancelFunc
}

func newGlacier(t testing.TB, seed uint64) *glacier {
	g := &glacier{clock: &clock{at: time.Now()}, r: rand.New(rand.NewPCG(seed, 9))}
	g.world = newWorldOn(t, mem.Options{Now: g.clock.Now, Watch: g.watch})
	g.plantPasses(seed)
	return g
}

// freeze puts all packs of content into a class, but for every nth.
func (g *glacier) freeze(class string, but int) {
	for i, name := range g.packs("data/") {
		if but == 0 || i%but != 0 {
			g.st.Reclass(name, class)
		}
	}
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
		g.thaws++
	case r.Op == "get" && r.Cold && g.speed > 0:
		g.clock.pass(time.Duration(float64(r.Size) / g.speed * 1e9))
		if g.jumps > 0 && g.r.IntN(10) == 0 {
			g.jumps--
			g.clock.pass(30 * time.Hour)
		}
	}
	return nil
}

// thaw restores, in a process that dies after some requests; 0: it does not.
func (g *glacier) thaw(o restore.Options, st *state.State, die int) (*restore.Thawed, error) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g.through(&o, g.st)
	plan, err := restore.Plan(ctx, o)
	g.must(err)
	key := restore.ThawKey(&o)
	job, err := thaw.Find(st, key, g.clock.Now())
	g.must(err)
	if job == nil {
		needs, err := restore.Left(st, &o, plan)
		g.must(err)
		job, err = thaw.Create(st, thaw.Header{Key: key, Purpose: "restore", Tier: store.Bulk, Days: 1}, needs, g.clock.Now())
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
	return restore.Thaw(ctx, o, restore.ThawOptions{Plan: plan, State: st, Job: job,
		Run: thaw.RunOptions{Store: g.st, Link: thaw.Link{Down: g.speed}, Clock: g.clock, Rate: 1e6, MaxRate: 1e6}})
}

func (g *glacier) state(name string) *state.State {
	return state.Open(state.Dirs{State: filepath.Join(g.base, name), Cache: filepath.Join(g.base, name)}, [16]byte{2}, func(err error) { g.t.Error(err) })
}

func TestThaw(t *testing.T) {
	g := newGlacier(t, 60)
	want := g.clean(g.options("plain"))
	g.freeze("DEEP_ARCHIVE", 3)
	g.speed = 1e5
	o := g.options("out")
	var last event.Thaw
	report := o.Report
	o.Report = func(e event.Event) {
		if s, ok := e.(event.Thaw); ok {
			last = s
		}
		report(e)
	}
	res, err := g.thaw(o, g.state("jobs"), 0)
	g.must(err)
	if !res.Done || len(g.twice) > 0 || g.thaws != int(res.Thaw.Thaws) || g.thaws >= len(g.packs("data/")) {
		t.Errorf("done %v, %d thaws, of these twice: %v", res.Done, g.thaws, g.twice)
	}
	sameTree(t, g.src, o.Target)
	sameCounts(t, want, res.Result)
	if last.Fetched != last.Objects || last.Fetched == 0 || last.BytesFetched != last.BytesTotal {
		t.Errorf("last event %+v", last)
	}
	g.noTemporaries("out")
}

// TestThawKilled kills a restore of days at random moments, 50 with FIRN_PASS_SEEDS above 2, has copies expire in the middle of downloads, and goes on in another process each time.
func TestThawKilled(t *testing.T) {
	g := newGlacier(t, 61)
	want := g.clean(g.options("plain"))
	kills, most := 0, 10
	if passSeeds() > 2 {
		most = 50
	}
	for round := 0; kills < most; round++ {
		if round > 20 {
			t.Fatalf("only %d kills", kills)
		}
		g.freeze("STANDARD", 0) // forgets copies
		g.freeze("DEEP_ARCHIVE", round%3*4)
		g.clock.pass(24 * time.Hour)
		name := fmt.Sprintf("out%d", round)
		o := g.options(name)
		g.speed, g.jumps, g.twice, g.thaws = []float64{120, 1e3, 1e5}[round%3], round%3, nil, 0
		begun := g.clock.Now()
		for {
			st := g.state("jobs" + name)
			die := 1 + g.r.IntN(60)
			if kills >= most {
				die = 0
			}
			res, err := g.thaw(o, st, die)
			if err == nil {
				if !res.Done {
					t.Fatalf("ended, and is not done: %+v", res)
				}
				if r := res.Result; r.Files != want.Files || r.Bytes != want.Bytes || r.Dirs != want.Dirs || r.Others != want.Others {
					sameCounts(t, want, r)
				}
				break
			}
			if !errors.Is(err, context.Canceled) || die == 0 {
				t.Fatal(err)
			}
			kills++
			if g.r.IntN(2) == 0 {
				g.rattle(o.Target)
			}
			g.clock.pass(time.Duration(g.r.IntN(5)) * time.Hour)
		}
		sameTree(t, g.src, o.Target)
		g.noTemporaries(name)
		if len(g.twice) > 0 || len(g.problems) > 0 {
			t.Errorf("round %d: asked for twice: %v; problems %v", round, g.twice, g.problems)
		}
		t.Logf("round %d: %d kills so far, %v, %d thaws of %d packs", round, kills, g.clock.Now().Sub(begun), g.thaws, len(g.packs("data/")))
		g.must(os.Chmod(filepath.Join(o.Target, "readonly"), 0o755))
		g.must(os.RemoveAll(o.Target))
	}
}

// rattle leaves what is in work as a process does that had no time to leave it in order.
func (g *glacier) rattle(dir string) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".firn-restore-") {
			return os.Chtimes(path, time.Now(), time.Now())
		}
		return nil
	})
}

// TestThawGone loses a pack and the state: the first is damage, the second is named and begun anew.
func TestThawGone(t *testing.T) {
	g := newGlacier(t, 62)
	g.freeze("GLACIER", 0)
	g.speed = 1e5
	packs := g.packs("data/")
	lost := packs[len(packs)/2]
	kept := g.object2(lost)
	g.must(g.st.Delete(context.Background(), lost))
	o := g.options("out")
	res, err := g.thaw(o, g.state("jobs"), 0)
	g.must(err)
	if !res.Done || res.Result.Failed == 0 || slices.ContainsFunc(res.Result.Damaged, func(d restore.Damage) bool { return d.Object != lost }) {
		t.Errorf("%+v", res.Result)
	}
	g.st.Replace(lost, kept)
	g.problems = nil
	res, err = g.thaw(g.options("out"), g.state("more jobs"), 0)
	g.must(err)
	if !res.Done || res.Result.Failed > 0 || res.Result.Created == 0 || res.Result.Kept == 0 {
		t.Errorf("%+v", res.Result)
	}
	sameTree(t, g.src, o.Target)
}

// TestThawAnew: what was restored, but for what is gone, is removed and restored once more. The first job does not stand in the way.
func TestThawAnew(t *testing.T) {
	g := newGlacier(t, 63)
	g.freeze("GLACIER", 0)
	g.speed = 1e5
	lost := g.packs("data/")[1]
	kept := g.object2(lost)
	g.must(g.st.Delete(context.Background(), lost))
	st := g.state("jobs")
	if res, err := g.thaw(g.options("out"), st, 0); err != nil || !res.Done || res.Result.Failed == 0 {
		t.Fatal(res, err)
	}
	g.st.Replace(lost, kept)
	o := g.options("out")
	g.must(os.Chmod(filepath.Join(o.Target, "readonly"), 0o755))
	g.must(os.RemoveAll(o.Target))
	g.clock.pass(72 * time.Hour)
	res, err := g.thaw(o, st, 0)
	g.must(err)
	if !res.Done || res.Result.Failed > 0 {
		t.Errorf("%+v", res.Result)
	}
	sameTree(t, g.src, o.Target)
}

// TestThawAtOnce: of two processes at the same restore one does it.
func TestThawAtOnce(t *testing.T) {
	g := newGlacier(t, 64)
	g.freeze("GLACIER", 0)
	o := g.options("out")
	var busy error
	second := false
	report := o.Report
	o.Report = func(e event.Event) {
		if _, ok := e.(event.Thaw); ok && !second { // in the middle of the first
			second = true
			plan, err := restore.Plan(context.Background(), o)
			g.must(err)
			job, err := thaw.Create(g.state("jobs"), thaw.Header{Key: restore.ThawKey(&o), Purpose: "restore", Tier: store.Bulk, Days: 1}, restore.Packs(plan), g.clock.Now())
			g.must(err)
			defer job.Close()
			_, busy = restore.Thaw(context.Background(), o, restore.ThawOptions{Plan: plan, State: g.state("jobs"), Job: job, Run: thaw.RunOptions{Store: g.st, Clock: g.clock}})
			if job.Status().State != thaw.Cancelled {
				t.Errorf("the second job is %s", job.Status().State)
			}
		}
		report(e)
	}
	res, err := g.thaw(o, g.state("jobs"), 0)
	g.must(err)
	if !errors.As(busy, new(*thaw.BusyError)) || !res.Done {
		t.Errorf("%v, %+v", busy, res)
	}
	sameTree(t, g.src, o.Target)
}

// object2 reads an object in a cold class.
func (g *glacier) object2(name string) []byte {
	g.st.Reclass(name, "STANDARD")
	defer g.st.Reclass(name, "GLACIER")
	return g.object(name)
}
