package thaw

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// trial is one job in a bubble.
type trial struct {
	*testing.T
	s      *simStore
	link   *simLink
	log    *simLog
	h      Header
	o      RunOptions
	events []event.Event
}

// try runs fn in a bubble with a job about n objects of a class, of 1 GB each, over a link of 10 MB/s.
func try(t *testing.T, n int, class string, fn func(w *trial)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		needs := packs(uint64(n), n, class, 1e9)
		w := &trial{T: t, s: newSim(uint64(n), needs)}
		w.s.latency = 30 * time.Millisecond
		w.link = &simLink{s: w.s, speed: func() float64 { return 1e7 }, overhead: 10 * time.Second, broken: map[string]bool{}}
		w.log = &simLog{s: w.s, needs: needs}
		w.h = Header{Purpose: "restore", Tier: store.Standard, Days: 1, Route: price.Direct}
		w.o = RunOptions{Store: w.s, Region: aws(t), Link: Link{Down: 1e7}, Fetch: w.link.fetch, Events: func(e event.Event) { w.events = append(w.events, e) }}
		fn(w)
	})
}

func (w *trial) job() *Job {
	w.Helper()
	return w.log.write(w, w.h, w.log.needs)
}

func (w *trial) run(j *Job) (*Result, error) {
	w.Helper()
	return Run(w.Context(), j, w.o)
}

// all checks that everything was fetched, with that many thaws.
func (w *trial) all(thaws int) {
	w.Helper()
	sum := 0
	for _, o := range w.s.objects {
		if !o.fetched && w.o.Fetch != nil {
			w.Errorf("%s was not fetched", o.name)
		}
		sum += o.begun
	}
	if sum != thaws {
		w.Errorf("%d thaws, want %d", sum, thaws)
	}
}

func (w *trial) notes() (text string) {
	for _, e := range w.events {
		if n, ok := e.(event.Note); ok {
			text += n.Text + "\n"
		}
	}
	return text
}

func (w *trial) must(res *Result, err error) *Result {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
	return res
}

// offer is the offer for the job.
func (w *trial) offer() Offer {
	w.Helper()
	v, err := Look(w.Context(), w.s, w.log.needs, LookOptions{Region: w.o.Region})
	if err != nil {
		w.Fatal(err)
	}
	return offerOf(w.T, Offers(w.o.Region, v, w.o.Link, OfferOptions{Days: w.h.Days, Hold: w.h.Hold}), w.h.Tier, price.Direct)
}

func TestRunDays(t *testing.T) {
	try(t, 300, "DEEP_ARCHIVE", func(w *trial) {
		w.s.allowed = func() int64 { return Window(Link{Down: 1.02e7}, 1) }
		w.h.Tier = store.Bulk
		offer := w.offer()
		begun := time.Now()
		res := w.must(w.run(w.job()))
		w.all(300)
		if res.Status.State != Done || res.Thaws != 300 || res.Extended != 0 || w.s.overAsks != 0 || res.Status.Left.Objects != 0 {
			w.Errorf("%+v", res)
		}
		if took := time.Since(begun); took > offer.Last {
			w.Errorf("took %v, %v were promised", took, offer.Last)
		}
		if res.Bill.Total() > offer.Total || res.Status.Spent != res.Bill.Total() || !near(float64(res.Bill.Total()), float64(offer.Total), 0.02) {
			w.Errorf("cost %v, %v were offered: %+v", res.Bill.Total(), offer.Total, res.Bill)
		}
		if requests := w.s.calls["list"] + w.s.calls["stat"]; requests > 1500 {
			w.Errorf("%v", w.s.calls)
		}
		w.Logf("%v of %v, %d passes, %v", time.Since(begun), offer.Last, res.Passes, w.s.calls)
	})
}

// TestRunMany: 100,000 requests of 50 ms take less than three minutes.
func TestRunMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		needs := packs(1, 100_000, "GLACIER", 1e8)
		s := newSim(1, needs)
		s.latency = 50 * time.Millisecond
		j, err := Create(nil, Header{Purpose: "thaw", Tier: store.Bulk, Days: 3, Hold: true}, needs, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		res, err := Run(t.Context(), j, RunOptions{Store: s, NoWait: true})
		if err != nil || res.Thaws != 100_000 || res.Status.Thawing.Objects != 100_000 {
			t.Fatal(res, err)
		}
		if took := time.Since(begun); took > 3*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

func TestBudget(t *testing.T) {
	try(t, 100, "GLACIER", func(w *trial) {
		offer := w.offer()
		less := offer.Total * 0.9
		w.h.MaxCost = &less
		j := w.job()
		_, err := w.run(j)
		var over *BudgetError
		if !errors.As(err, &over) || over.Spent > 0.01 || w.s.calls["thaw"] != 0 || !strings.Contains(err.Error(), over.Max.String()) {
			w.Fatalf("%v, %v", err, w.s.calls)
		}
		h := j.Header()
		h.MaxCost = &offer.Total
		if err := j.Update(h, time.Now()); err != nil {
			w.Fatal(err)
		}
		j = w.log.open(w, j.header.ID)
		w.must(w.run(j))
		w.all(100)
		if _, err := w.run(j); !errors.As(err, new(*EndedError)) {
			w.Error(err)
		}
		w.o.Region = nil
		if _, err := w.run(w.job()); err == nil || errors.As(err, &over) {
			w.Error(err)
		}
	})
}

// TestBudgetAgain: copies expire because the link is dead for days, and may not be paid for again.
func TestBudgetAgain(t *testing.T) {
	for _, enough := range []bool{false, true} {
		try(t, 100, "GLACIER", func(w *trial) {
			limit := w.offer().Total * 1.01
			if enough {
				limit *= 2
			}
			w.h.MaxCost = &limit
			j := w.job()
			passes := 0
			w.o.Fetch = func(ctx context.Context, names []string) ([]string, error) {
				if passes++; passes == 2 {
					return nil, errors.New("no route to host")
				}
				return w.link.fetch(ctx, names)
			}
			if _, err := w.run(j); err == nil {
				w.Fatal("went on")
			}
			time.Sleep(5 * day)
			j = w.log.open(w, j.header.ID)
			res, err := w.run(j)
			if enough {
				w.must(res, err)
				if len(res.Again) == 0 || res.Status.Again != int64(len(res.Again)) || !strings.Contains(w.notes(), "once more") {
					w.Errorf("%+v\n%s", res.Status, w.notes())
				}
				w.all(100 + len(res.Again))
				return
			}
			var over *BudgetError
			if !errors.As(err, &over) || res.Status.Spent > limit || res.Status.State != Active {
				w.Errorf("%v, %+v", err, res.Status)
			}
		})
	}
}

func TestLosses(t *testing.T) {
	try(t, 60, "DEEP_ARCHIVE", func(w *trial) {
		name := func(k int) string { return w.log.needs[k].Object }
		w.s.remove(name(3))
		w.s.faults.denied = func(n string) error {
			switch n {
			case name(7):
				return store.ErrDenied
			case name(8):
				return errors.New("object is locked")
			}
			return nil
		}
		w.link.broken[name(11)] = true
		j := w.job()
		time.AfterFunc(30*time.Minute, func() {
			w.s.remove(name(20))
			w.s.mu.Lock()
			w.s.find(name(21)).class = "STANDARD"
			o := w.s.find(name(22))
			o.class, o.copyAt = "GLACIER", time.Time{}
			w.s.mu.Unlock()
		})
		res, err := w.run(j)
		var left *LeftError
		if !errors.As(err, &left) || left.Missing != 2 || left.Refused != 3 || !errors.Is(err, store.ErrDenied) {
			w.Fatal(err)
		}
		if len(res.Missing) != 2 || len(res.Refused) != 3 || res.Status.Failed.Objects != 5 || res.Status.Fetched.Objects != 55 || res.Status.State != Active {
			w.Errorf("%+v", res)
		}
		// Rights are given, the pack mends: the same job gets the rest.
		w.s.faults.denied = nil
		w.link.broken = nil
		res, err = w.run(w.log.open(w, j.header.ID))
		if !errors.As(err, &left) || left.Missing != 2 || left.Refused != 0 || res.Status.Left.Objects != 2 {
			w.Error(err, res.Status)
		}
		w.all(59) // of the 58 that are left, one twice: its copy went when it was moved
	})
}

func TestAllDenied(t *testing.T) {
	try(t, 200, "GLACIER", func(w *trial) {
		for k := range 5 {
			w.s.find(w.log.needs[k*7].Object).class = "STANDARD_IA"
		}
		w.s.faults.denied = func(string) error { return store.Fail("thaw", "x", store.ErrDenied) }
		res, err := w.run(w.job())
		var left *LeftError
		if !errors.As(err, &left) || left.Refused != 195 || !errors.Is(err, store.ErrDenied) || w.s.calls["thaw"] > 150 || res.Status.Fetched.Objects != 5 {
			w.Fatal(err, w.s.calls, res.Status)
		}
	})
}

func TestDeniedInTheMiddle(t *testing.T) {
	try(t, 500, "GLACIER", func(w *trial) {
		n := 0
		w.s.faults.denied = func(string) error {
			if n++; n > 100 {
				return store.ErrDenied
			}
			return nil
		}
		j := w.job()
		_, err := w.run(j)
		if !errors.Is(err, store.ErrDenied) {
			w.Fatal(err)
		}
		w.s.faults.denied = nil
		w.must(w.run(w.log.open(w, j.header.ID)))
		w.all(500)
	})
}

func TestCredentialsExpire(t *testing.T) {
	for _, gone := range []error{store.ErrAuth, store.ErrClock} {
		try(t, 300, "GLACIER", func(w *trial) {
			n := 0
			w.s.faults.denied = func(string) error {
				if n++; n > 150 {
					return gone
				}
				return nil
			}
			j := w.job()
			res, err := w.run(j)
			if !errors.Is(err, gone) || res.Thaws != 150 {
				w.Fatal(err, res)
			}
			w.s.faults.denied = nil
			w.must(w.run(w.log.open(w, j.header.ID)))
			w.all(300)
		})
	}
}

func TestCapacity(t *testing.T) {
	for _, slower := range []bool{false, true} {
		try(t, 50, "GLACIER", func(w *trial) {
			w.h.Tier = store.Expedited
			w.o.Slower = slower
			w.s.faults.capacity = 1
			time.AfterFunc(3*time.Hour, func() {
				w.s.mu.Lock()
				defer w.s.mu.Unlock()
				w.s.faults.capacity = 0
			})
			begun := time.Now()
			w.must(w.run(w.job()))
			w.all(50)
			for _, o := range w.s.objects {
				if want := map[bool]store.Tier{false: store.Expedited, true: store.Standard}[slower]; o.tier != want {
					w.Fatalf("thawed with %s", o.tier)
				}
			}
			if took := time.Since(begun); !slower && took < 3*time.Hour || took > 9*time.Hour || w.s.calls["thaw"] > 2000 {
				w.Errorf("took %v, %v", took, w.s.calls)
			}
			if !strings.Contains(w.notes(), "no capacity") {
				w.Error(w.notes())
			}
		})
	}
}

// TestTiers: without prices only the store knows what tiers there are.
func TestTiers(t *testing.T) {
	try(t, 20, "DEEP_ARCHIVE", func(w *trial) {
		w.h.Tier = store.Expedited
		w.o.Region = nil
		w.must(w.run(w.job()))
		w.all(20)
		if o := w.s.objects[0]; o.tier != store.Standard {
			w.Error(o.tier)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		m := mem.New(mem.Options{NoTiers: true, NoStatus: true, Cold: []string{"COLD"}, ThawTime: func(string, store.Tier) time.Duration { return time.Hour }})
		var needs []Need
		for k := range 30 {
			n := Need{Object: fmt.Sprintf("p%02d", k), Class: "COLD", Size: 1, Wanted: 1}
			needs = append(needs, n)
			if err := m.Put(t.Context(), n.Object, strings.NewReader("x"), 1, store.PutOptions{Class: "COLD"}); err != nil {
				t.Fatal(err)
			}
		}
		j, err := Create(nil, Header{Purpose: "restore", Tier: store.Bulk, Days: 1}, needs, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		res, err := Run(t.Context(), j, RunOptions{Store: m, Fetch: func(ctx context.Context, names []string) (cold []string, err error) {
			for _, n := range names {
				if _, err := m.Get(ctx, n, 0, -1); err != nil {
					return nil, err
				}
			}
			return nil, nil
		}})
		if err != nil || res.Thaws != 30 || res.Status.Fetched.Objects != 30 {
			t.Error(res, err)
		}
	})
}

func TestHold(t *testing.T) {
	try(t, 40, "DEEP_ARCHIVE", func(w *trial) {
		w.h.Hold, w.h.Days, w.h.Tier = true, 5, store.Bulk
		w.o.Fetch = nil
		offer := w.offer()
		w.h.MaxCost = &offer.Total
		j := w.job()
		w.o.NoWait = true
		res := w.must(w.run(j))
		if res.Status.Thawing.Objects != 40 || res.Status.State != Active || res.Status.ETA.Before(time.Now().Add(47*time.Hour)) {
			w.Errorf("%+v", res.Status)
		}
		w.o.NoWait = false
		res = w.must(w.run(w.log.open(w, j.header.ID)))
		w.all(40)
		if res.Status.Fetched.Objects != 40 || res.Thaws != 0 || res.Bill.Of(price.WhatEgress) != 0 {
			w.Errorf("%+v", res)
		}
	})
}

// TestOthers: what somebody else thaws is not paid for, and neither is what was thawed before the job.
func TestOthers(t *testing.T) {
	try(t, 100, "DEEP_ARCHIVE", func(w *trial) {
		for k, o := range w.s.objects {
			if k%2 == 0 {
				if _, err := w.s.Thaw(w.Context(), o.name, store.ThawOptions{Tier: store.Standard, Days: 2}); err != nil {
					w.Fatal(err)
				}
			}
		}
		time.Sleep(8 * time.Hour)
		w.must(w.run(w.job()))
		w.all(100)
		for _, o := range w.s.objects {
			if o.begun != 1 {
				w.Errorf("%+v", o)
			}
		}
	})
}

// TestExtend: the link is a hundred times slower than it was said to be.
func TestExtend(t *testing.T) {
	try(t, 300, "GLACIER", func(w *trial) {
		w.h.Days = 2
		w.link.speed = func() float64 { return 1e5 }
		w.o.Pass = 3 * time.Hour
		res := w.must(w.run(w.job()))
		if res.Extended == 0 || len(res.Again) > 0 {
			w.Errorf("%d extended, %d again", res.Extended, len(res.Again))
		}
		w.all(300)
		if !near(res.Status.Speed, 1e5, 0.1) {
			w.Errorf("speed %v", res.Status.Speed)
		}
	})
}

// TestClocks: the store's clock is a day ahead, or behind; told or not.
func TestClocks(t *testing.T) {
	for _, ahead := range []time.Duration{-26 * time.Hour, -time.Hour, time.Hour, 26 * time.Hour} {
		for _, told := range []bool{false, true} {
			try(t, 100, "GLACIER", func(w *trial) {
				w.s.clock = ahead
				if told {
					w.o.StoreNow = func(context.Context) (time.Time, error) { return w.s.now(), nil }
				}
				res := w.must(w.run(w.job()))
				w.all(100)
				if res.Extended > 10 && (told || ahead.Abs() < 2*time.Hour) || res.Extended > 100 {
					w.Errorf("ahead %v, told %v: %d extended", ahead, told, res.Extended)
				}
			})
		}
	}
}

func TestCancelledContext(t *testing.T) {
	try(t, 100, "GLACIER", func(w *trial) {
		ctx, cancel := context.WithTimeout(w.Context(), time.Hour)
		defer cancel()
		j := w.job()
		res, err := Run(ctx, j, w.o)
		if !errors.Is(err, context.DeadlineExceeded) || res.Status.Thawing.Objects == 0 {
			w.Error(res.Status, err)
		}
		if s := w.log.open(w, j.header.ID).Status(); s.Thawing != res.Status.Thawing || s.Spent != res.Status.Spent {
			w.Errorf("%+v, want %+v", s, res.Status)
		}
	})
}

// TestThrottled: the store bears 50 requests a second.
func TestThrottled(t *testing.T) {
	try(t, 2000, "GLACIER", func(w *trial) {
		w.h.Days = 5
		served, second := 0, time.Now()
		w.s.faults.denied = func(string) error {
			if time.Since(second) > time.Second {
				served, second = 0, time.Now()
			}
			if served++; served > 50 {
				return temporary{errors.New("slow down")}
			}
			return nil
		}
		w.must(w.run(w.job()))
		w.all(2000)
		if w.s.calls["thaw"] > 4000 {
			w.Errorf("%v", w.s.calls)
		}
	})
	try(t, 50, "GLACIER", func(w *trial) {
		w.s.faults.throttle = 1
		begun := time.Now()
		j := w.job()
		if _, err := w.run(j); !store.IsTemporary(err) || time.Since(begun) < time.Hour || time.Since(begun) > 2*time.Hour {
			w.Error(err, time.Since(begun))
		}
		w.s.faults.throttle = 0
		w.must(w.run(w.log.open(w, j.header.ID)))
		w.all(50)
	})
}

// TestOrder: what is needed first is asked for first, and fetched first if it comes first.
func TestOrder(t *testing.T) {
	try(t, 400, "GLACIER", func(w *trial) {
		var asked []string
		w.s.faults.denied = func(name string) error { asked = append(asked, name); return nil }
		w.o.Workers = 1
		last := map[string]int{}
		for i, n := range w.log.needs {
			last[n.Object] = i
		}
		w.o.Fetch = func(ctx context.Context, names []string) ([]string, error) {
			for k := 1; k < len(names); k++ {
				if last[names[k]] < last[names[k-1]] {
					w.Error("a pass is not in order of need")
				}
			}
			return w.link.fetch(ctx, names)
		}
		w.must(w.run(w.job()))
		for i, n := range w.log.needs {
			if asked[i] != n.Object {
				w.Fatalf("request %d is for %s, want %s", i, asked[i], n.Object)
			}
		}
	})
}

func BenchmarkRun(b *testing.B) {
	needs := packs(1, 100_000, "DEEP_ARCHIVE", 1e8)
	b.ReportAllocs()
	for b.Loop() {
		begun := time.Now()
		s := newSim(1, needs)
		clock := &jumpClock{now: begun}
		j, err := Create(nil, Header{Purpose: "restore", Tier: store.Bulk, Days: 3}, needs, clock.now)
		if err != nil {
			b.Fatal(err)
		}
		s.clock, s.jump = 0, clock
		res, err := Run(b.Context(), j, RunOptions{Store: s, Link: Link{Down: 12.5e6}, Clock: clock, Fetch: func(ctx context.Context, names []string) ([]string, error) {
			return nil, clock.Sleep(ctx, time.Duration(len(names))*8*time.Second)
		}})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(clock.now.Sub(begun).Hours()/24, "days")
		b.ReportMetric(float64(res.Passes), "passes")
		b.ReportMetric(float64(s.calls["list"]), "lists")
	}
}

// TestMute: a store that thaws, and tells nobody what is thawed.
func TestMute(t *testing.T) {
	try(t, 30, "GLACIER", func(w *trial) {
		w.s.mute = true
		w.must(w.run(w.job()))
		w.all(30)
	})
}

// TestSurveyReused: what was looked at for the offers is not looked at again at once.
func TestSurveyReused(t *testing.T) {
	try(t, 500, "GLACIER", func(w *trial) {
		v, err := Look(w.Context(), w.s, w.log.needs, LookOptions{Region: w.o.Region})
		if err != nil {
			w.Fatal(err)
		}
		before := w.s.calls["list"]
		w.o.Survey, w.o.NoWait = v, true
		j := w.job()
		w.must(w.run(j))
		if n := w.s.calls["list"]; n != before {
			w.Errorf("%d listings", n-before)
		}
		w.o.NoWait = false
		time.Sleep(time.Hour)
		w.must(w.run(j))
		w.all(500)
	})
}

func TestPricesUnknown(t *testing.T) {
	try(t, 3, "GLACIER", func(w *trial) {
		much := price.Money(1000)
		w.h.MaxCost, w.h.Route = &much, "pigeon"
		var unknown *price.UnknownError
		if _, err := w.run(w.job()); !errors.As(err, &unknown) || unknown.What != "route" {
			w.Error(err)
		}
		w.h.Route = price.Direct
		w.s.objects[0].class = "ICEBERG"
		if _, err := w.run(w.job()); !errors.As(err, &unknown) || unknown.What != "class" || w.s.calls["thaw"] > 0 {
			w.Error(err)
		}
	})
}

// TestHotAndCold: much that needs no thawing does not keep the rest from being thawed meanwhile, and copies do not expire behind it.
func TestHotAndCold(t *testing.T) {
	try(t, 3000, "GLACIER", func(w *trial) {
		for k, n := range w.log.needs {
			if k < 2500 {
				w.s.find(n.Object).class = "STANDARD"
			}
		}
		w.s.allowed = func() int64 { return Window(Link{Down: 1.05e7}, 1) }
		begun, first := time.Now(), time.Time{}
		w.s.faults.denied = func(string) error {
			if first.IsZero() {
				first = time.Now()
			}
			return nil
		}
		res := w.must(w.run(w.job()))
		w.all(500)
		if first.Sub(begun) > time.Hour || len(res.Again) > 0 || res.Extended > 0 {
			w.Errorf("the first thaw after %v, %d again, %d extended", first.Sub(begun), len(res.Again), res.Extended)
		}
		if took := time.Since(begun); took > 3*day+14*time.Hour {
			w.Errorf("took %v", took) // 3,000 GB at 10 MB/s take 83 hours
		}
	})
}

// TestOthersMeanwhile: what others have thawed for a month after the job began is used as it is, and stays for them as long as they wanted it.
func TestOthersMeanwhile(t *testing.T) {
	for _, atOnce := range []bool{false, true} {
		othersMeanwhile(t, atOnce)
	}
}

func othersMeanwhile(t *testing.T, atOnce bool) {
	try(t, 300, "GLACIER", func(w *trial) {
		other := func(k int) {
			if _, err := w.s.Thaw(w.Context(), w.log.needs[k].Object, store.ThawOptions{Tier: store.Standard, Days: 30}); err != nil && !errors.Is(err, store.ErrThawing) {
				w.Error(err)
			}
		}
		others := func() { // some far behind the first window, some in it
			for k := 0; k < 300; k += 20 {
				other(k)
			}
		}
		if atOnce { // between the look and the first request
			v, err := Look(w.Context(), w.s, w.log.needs, LookOptions{Region: w.o.Region})
			if err != nil {
				w.Fatal(err)
			}
			w.o.Survey = v
			others()
		} else {
			time.AfterFunc(30*time.Minute, others)
		}
		w.o.Link = Link{Down: 2e6}
		w.link.speed = func() float64 { return 1e6 } // so slow that copies have to be extended
		w.o.Pass = 3 * time.Hour
		res := w.must(w.run(w.job()))
		w.all(300)
		if w.s.cut > 0 || len(res.Again) > 0 || res.Extended > 100 {
			w.Errorf("a copy was cut short by %v; %d again, %d extended", w.s.cut, len(res.Again), res.Extended)
		}
	})
}

// TestMovedOutOfThePrices: what the limit cannot be kept to is not asked for.
func TestMovedOutOfThePrices(t *testing.T) {
	try(t, 300, "GLACIER", func(w *trial) {
		much := price.Money(1000)
		w.h.MaxCost, w.o.Link = &much, Link{Down: 1e6}
		w.link.speed = func() float64 { return 1e6 }
		time.AfterFunc(time.Hour, func() {
			w.s.mu.Lock()
			defer w.s.mu.Unlock()
			w.s.find(w.log.needs[299].Object).class = "ICEBERG"
		})
		res, err := w.run(w.job())
		var left *LeftError
		if !errors.As(err, &left) || !errors.As(err, new(*price.UnknownError)) || res.Status.Left.Objects == 0 {
			w.Errorf("%v, %+v", err, res.Status)
		}
		if o := w.s.find(w.log.needs[299].Object); o.begun > 0 {
			w.Error("asked for at an unknown price")
		}
	})
}

// TestBudgetInHand: what is paid for and there is fetched, though the rest would cost too much.
func TestBudgetInHand(t *testing.T) {
	try(t, 100, "GLACIER", func(w *trial) {
		j := w.job()
		w.o.NoWait, w.o.Link = true, Link{Down: 1e6}
		limit := w.offer().Total * 0.9
		res := w.must(w.run(j))
		asked := res.Status.Requested.Objects
		if asked == 100 {
			w.Fatal("all fit into one window")
		}
		time.Sleep(6 * time.Hour)
		h := j.Header()
		h.MaxCost = &limit
		if err := j.Update(h, time.Now()); err != nil {
			w.Fatal(err)
		}
		w.o.NoWait = false
		res, err := w.run(w.log.open(w, j.header.ID))
		if !errors.As(err, new(*BudgetError)) || res.Status.Fetched.Objects != asked || res.Status.Spent > limit {
			w.Errorf("%v: %+v", err, res.Status)
		}
		w.thaws(asked)
	})
}

// thaws checks how many there were, where not everything was fetched.
func (w *trial) thaws(want int64) {
	w.Helper()
	var sum int64
	for _, o := range w.s.objects {
		sum += int64(o.begun)
	}
	if sum != want {
		w.Errorf("%d thaws, want %d", sum, want)
	}
}
