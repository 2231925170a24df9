package thaw

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"firn/internal/price"
	"firn/internal/store"
)

// history is one random job with everything that goes wrong.
type history struct {
	t     *testing.T
	r     *rand.Rand
	needs []Need
	s     *simStore
	link  *simLink
	log   *simLog
	h     Header
	o     RunOptions
	lose  float64 // how likely a death takes the journal along
	runs  int
	over  *BudgetError // how it ended
}

func newHistory(t *testing.T, seed uint64) *history {
	w := &history{t: t, r: rand.New(rand.NewPCG(seed, 3))}
	classes := []string{"DEEP_ARCHIVE", "GLACIER", "STANDARD", "GLACIER_IR"}
	n := 1 + w.r.IntN(120)
	for k := range 1 + w.r.IntN(3) {
		w.needs = append(w.needs, packs(seed*10+uint64(k), n/(k+1)+1, classes[w.r.IntN(len(classes))], 1+w.r.Int64N(2e9))...)
	}
	w.r.Shuffle(len(w.needs), func(a, b int) { w.needs[a], w.needs[b] = w.needs[b], w.needs[a] })
	for i := range w.needs {
		w.needs[i].Wanted = w.r.Int64N(w.needs[i].Size + 1)
	}
	w.s = newSim(seed, append(packs(seed*10+7, w.r.IntN(3000), "DEEP_ARCHIVE", 1e9), w.needs...))
	w.s.latency = time.Duration(w.r.IntN(100)) * time.Millisecond
	w.s.silent = w.r.IntN(6) == 0
	w.s.clock = time.Duration(w.r.IntN(3)-1) * 10 * time.Minute
	down := []float64{1e5, 3e5, 1e6, 1e7, 1e8}[w.r.IntN(5)]
	if w.r.IntN(2) == 0 {
		w.s.faults = simFaults{throttle: w.r.Float64() * 0.3, lost: w.r.Float64() * 0.1, list: w.r.Float64() * 0.1, capacity: w.r.Float64() * 0.8}
	}
	slow, slowFrom := 1.0, time.Now().Add(time.Duration(w.r.IntN(100))*time.Hour)
	if w.r.IntN(3) == 0 {
		slow = 1 / float64(1+w.r.IntN(20))
	}
	w.link = &simLink{s: w.s, overhead: time.Duration(w.r.IntN(60)) * time.Second, speed: func() float64 {
		if d := time.Since(slowFrom); d > 0 && d < 50*time.Hour {
			return down * slow
		}
		return down
	}}
	if slow == 1 {
		w.s.allowed = func() int64 { return Window(Link{Down: down * 1.05}, w.h.Days) }
	}
	w.h = Header{Purpose: "restore", Tier: []store.Tier{store.Bulk, store.Standard, store.Expedited}[w.r.IntN(3)], Days: 1 + w.r.IntN(4), Route: price.Direct}
	w.o = RunOptions{Store: w.s, Region: aws(t), Link: Link{Down: down}, Fetch: w.link.fetch, Slower: w.r.IntN(2) == 0}
	return w
}

// left is what a restore that starts anew still needs.
func (w *history) left() []Need {
	var needs []Need
	for _, n := range w.needs {
		if o := w.s.find(n.Object); o.fetched {
			o.known = true
		} else {
			needs = append(needs, n)
		}
	}
	return needs
}

// run works on the job, dying now and then, until it is done.
func (w *history) run(deaths int, every int) {
	w.log = &simLog{s: w.s}
	j := w.log.write(w.t, w.h, w.needs)
	for {
		w.runs++
		ctx, cancel := context.WithCancel(w.t.Context())
		w.s.mu.Lock()
		w.s.ops, w.s.die, w.s.dead, w.s.kill, w.s.after = 0, 0, false, cancel, w.r.IntN(2) == 0
		if deaths > 0 {
			w.s.die = 1 + w.r.IntN(every)
		}
		deaths--
		w.s.mu.Unlock()
		if w.r.IntN(2) == 0 {
			w.link.tell = j
		}
		_, err := Run(ctx, j, w.o)
		w.link.tell = nil
		cancel()
		if err == nil {
			return
		}
		var over *BudgetError
		if errors.As(err, &over) && !w.s.dead {
			w.over = over
			return
		}
		if !w.s.dead {
			w.t.Fatalf("run %d: %v", w.runs, err)
		}
		if !errors.Is(err, context.Canceled) && over == nil {
			w.t.Fatalf("run %d died with %v", w.runs, err)
		}
		w.s.dead = false
		time.Sleep(time.Duration(w.r.Int64N(int64(3 * time.Hour))))
		if w.r.IntN(20) == 0 {
			time.Sleep(time.Duration(w.r.Int64N(int64(6 * day)))) // copies expire
		}
		if w.r.Float64() < w.lose {
			w.s.dead = false
			needs := w.left()
			if len(needs) == 0 {
				return
			}
			w.log = &simLog{s: w.s}
			j = w.log.write(w.t, w.h, needs)
			continue
		}
		j = w.log.open(w.t, j.header.ID)
	}
}

// check looks at what came of it.
func (w *history) check() {
	w.t.Helper()
	for _, n := range w.needs {
		o := w.s.find(n.Object)
		if !o.fetched {
			w.t.Fatalf("%s was not fetched", n.Object)
		}
		if o.begun > 1+o.expired || !simCold(o.class) && o.begun > 0 {
			w.t.Errorf("%s in %s: %d thaws, %d expired", n.Object, o.class, o.begun, o.expired)
		}
	}
	for _, o := range w.s.objects {
		if o.begun > 0 && !o.fetched {
			w.t.Errorf("%s was thawed for nothing", o.name)
		}
	}
	if w.s.overAsks > 0 {
		w.t.Errorf("%d thaws beyond the window", w.s.overAsks)
	}
	if w.s.cut > time.Hour { // clocks differ by ten minutes
		w.t.Errorf("a request has cut a copy short by %v", w.s.cut)
	}
}

func TestHistories(t *testing.T) {
	begun, expired, kept, runs := 0, 0, 0, 0
	for seed := range uint64(99) {
		synctest.Test(t, func(t *testing.T) {
			w := newHistory(t, seed)
			switch seed % 3 {
			case 1:
				w.run(30, 1+w.r.IntN(400))
			case 2:
				w.lose = 0.3
				w.run(30, 1+w.r.IntN(400))
			default:
				w.run(0, 1)
			}
			w.check()
			for _, o := range w.s.objects {
				begun, expired, kept = begun+o.begun, expired+o.expired, kept+o.kept
			}
			runs += w.runs
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		})
	}
	t.Logf("%d runs, %d thaws, %d copies expired, %d extensions", runs, begun, expired, kept)
}

// TestBudgetHistories: whatever happens, no more is spent than was allowed.
func TestBudgetHistories(t *testing.T) {
	ended, done, again := 0, 0, 0
	for seed := range uint64(120) {
		synctest.Test(t, func(t *testing.T) {
			w := newHistory(t, 1000+seed)
			r := w.o.Region
			v, err := Look(t.Context(), w.s, w.needs, LookOptions{Region: r})
			for ; store.IsTemporary(err); v, err = Look(t.Context(), w.s, w.needs, LookOptions{Region: r}) {
			}
			if err != nil {
				t.Fatal(err)
			}
			tier := w.h.Tier
			list := Offers(r, v, w.o.Link, OfferOptions{Days: w.h.Days, Routes: []string{price.Direct}})
			most := list[0].Total
			for _, o := range list {
				if o.Tier == tier {
					most = o.Total
				}
			}
			most *= price.Money(0.97 + w.r.Float64()*0.6)
			w.h.MaxCost = &most
			w.run(40, 1+w.r.IntN(200))
			if spent := w.bill(); spent > most*1.000001 {
				t.Errorf("seed %d: spent %v of %v", seed, spent, most)
			}
			if w.over == nil {
				w.check()
				done++
			} else {
				ended++
			}
			for _, o := range w.s.objects {
				if o.begun > 1 {
					again++
				}
			}
		})
	}
	t.Logf("%d were done, %d would have cost too much, %d objects were paid for again", done, ended, again)
}

// bill is what a store would charge.
func (w *history) bill() price.Money {
	var total price.Money
	var out int64
	for _, o := range w.s.objects {
		for _, tier := range o.tiers {
			lines, err := w.o.Region.Thaw(o.class, string(tier), 1, o.size, float64(w.h.Days+1))
			if err != nil {
				w.t.Fatal(err)
			}
			total += lines.Total()
		}
		if o.fetched {
			total += w.o.Region.Get(o.class, 1, o.want).Cost
			out += o.want
		}
	}
	return total + w.o.Region.Egress(w.h.Route, out, 0).Cost
}

// TestEveryDeath kills one job at every call and every write, before it had its effect and after.
func TestEveryDeath(t *testing.T) {
	for _, lose := range []float64{0, 1} {
		for at := 1; ; at += 1 + int(lose) {
			ended := false
			synctest.Test(t, func(t *testing.T) {
				w := &history{t: t, needs: packs(9, 16, "GLACIER", 1e9), h: Header{Purpose: "restore"}}
				w.s = newSim(9, w.needs)
				w.link = &simLink{s: w.s, overhead: time.Second, speed: func() float64 { return 1e6 }}
				w.o = RunOptions{Store: w.s, Region: aws(t), Link: Link{Down: 1e6}, Poll: 20 * time.Minute, Fetch: w.link.fetch, Workers: 1 + at%4}
				w.h.Tier, w.h.Days = store.Bulk, 1
				w.lose = lose
				w.log = &simLog{s: w.s}
				j := w.log.write(t, w.h, w.needs)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				w.s.ops, w.s.die, w.s.kill, w.s.after = 0, (at+1)/2, cancel, at%2 == 0
				if _, err := Run(ctx, j, w.o); err == nil {
					ended = true
					return
				}
				w.s.dead, w.s.die, w.s.kill = false, 0, func() {}
				if lose > 0 {
					w.log = &simLog{s: w.s}
					j = w.log.write(t, w.h, w.left())
				} else {
					j = w.log.open(t, j.header.ID)
				}
				res, err := Run(t.Context(), j, w.o)
				if err != nil {
					t.Fatalf("death %d: %v", at, err)
				}
				w.check()
				if lose == 0 && (res.Status.Requested.Objects != 16 || res.Status.Again != 0 || !near(float64(res.Status.Requested.Bytes), 16e9, 0)) {
					t.Fatalf("death %d: counted %+v", at, res.Status)
				}
			})
			if ended || t.Failed() {
				t.Logf("%d deaths", at-1)
				break
			}
		}
	}
}
