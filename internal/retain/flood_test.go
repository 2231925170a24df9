package retain

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// policies that a thief would like to get around.
func policies() map[string]Policy {
	simple := Cycle{Kind: Simple, Frequency: 1, Diffs: 6, Fulls: 4}
	hanoi := Cycle{Kind: Hanoi, Frequency: 1, Discs: 6}
	return map[string]Policy{
		"last":      {Last: 10},
		"hourly":    {Hourly: 24},
		"daily":     {Daily: 7},
		"weekly":    {Weekly: 5},
		"monthly":   {Monthly: 12},
		"quarterly": {Quarterly: 4},
		"yearly":    {Yearly: 3},
		"within":    {Within: 30 * 24 * time.Hour},
		"tag":       {Tags: []string{"keep"}, Min: 6},
		"min":       {Daily: 2, Min: 9},
		"simple":    {Cycle: simple},
		"hanoi":     {Cycle: hanoi},
		"archive":   {Cycle: Cycle{Kind: Hanoi, Frequency: 1, Discs: 3, Archive: true, Full: true}},
		"all":       {Last: 5, Hourly: 12, Daily: 7, Weekly: 4, Monthly: 6, Yearly: 2, Within: 72 * time.Hour, Min: 4, Cycle: simple},
		"usual":     {Daily: 7, Weekly: 5, Monthly: 12},
	}
}

// eachPolicy runs test for each of policies, with chance of its own.
func eachPolicy(test func(name string, p Policy, r *rand.Rand)) {
	all := policies()
	for n, name := range slices.Sorted(maps.Keys(all)) {
		test(name, all[name], rand.New(rand.NewPCG(seed, uint64(n))))
	}
}

// seed of what tests do by chance.
const seed = 1

// forge makes what a thief would: of the victim's source, saying of itself what he likes.
func forge(r *rand.Rand, good []Snapshot, at time.Time, n int) Snapshot {
	victim := good[r.IntN(len(good))]
	s := Snapshot{ID: [16]byte{byte(n), byte(n >> 8), byte(n >> 16), 0xff}, Source: good[0].Source, Time: at, Done: true, Epoch: victim.Epoch, Sequence: uint64(len(good) + n)}
	switch r.IntN(8) {
	case 0:
		s.Epoch = 1000 + uint32(n) // a full of its own
	case 1:
		s.Sequence = ^uint64(0) - uint64(r.IntN(3))
	case 2:
		s.Sequence = uint64(r.IntN(5))
	case 3:
		s.Base = victim.ID
	case 4:
		s.Base = s.ID
	case 5:
		s.Tags = []string{"keep"}
	case 6:
		s.Epoch, s.Base, s.Sequence = 2000+uint32(n), victim.Base, victim.Sequence
	}
	return s
}

// lost returns the indices of the good snapshots that are kept before and not after.
func lost(before, after []Verdict) (out []int) {
	for i := range before {
		if before[i].Keep && !after[i].Keep {
			out = append(out, i)
		}
	}
	return out
}

// lived makes a history of years that was pruned now and then, and returns what is left of it.
func lived(r *rand.Rand, p Policy, pace time.Duration, n int, until time.Time) []Snapshot {
	w := &world{epoch: 1}
	var left []Snapshot
	for i := range n {
		at := until.Add(-time.Duration(n-i) * pace)
		if r.IntN(12) == 0 {
			continue // missed
		}
		if i%7 == 0 {
			w.epoch++
		}
		s := w.add(at.Add(time.Duration(r.Int64N(int64(pace) / 8))))
		s.Sequence = uint64(len(w.all))
		if r.IntN(9) == 0 {
			s.Tags = []string{"keep"}
		}
		if left = append(left, *s); r.IntN(10) == 0 {
			left = keptOf(left, Decide(left, p, at.Add(pace), berlin))
		}
	}
	return keptOf(left, Decide(left, p, until, berlin))
}

// TestFlood stores thousands within an hour: they do to what was there before no more than one honest backup does, made when they end.
func TestFlood(t *testing.T) {
	eachPolicy(func(name string, p Policy, r *rand.Rand) {
		for _, pace := range []time.Duration{4 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
			for range 3 {
				theft := time.Date(2026, time.Month(1+r.IntN(12)), 1+r.IntN(28), r.IntN(24), 0, 0, 0, time.UTC)
				good := lived(r, p, pace, 200, theft)
				at := theft.Add(time.Minute)
				if r.IntN(3) == 0 {
					at = at.Add(time.Duration(r.IntN(200)) * 24 * time.Hour) // after a long silence
				}
				flooded, honest := append([]Snapshot{}, good...), append([]Snapshot{}, good...)
				n := 100 + r.IntN(2000)
				for i := range n {
					flooded = append(flooded, forge(r, good, at.Add(time.Duration(i)*50*time.Minute/time.Duration(n)), i))
				}
				one := Snapshot{ID: [16]byte{9, 9, 9, 9}, Source: good[0].Source, Time: flooded[len(flooded)-1].Time, Done: true, Sequence: good[len(good)-1].Sequence + 1, Epoch: 5000}
				honest = append(honest, one)
				now := at.Add(time.Hour)
				before := Decide(good, p, theft, berlin)
				gone := lost(before, Decide(flooded, p, now, berlin))
				may := map[int]bool{}
				for _, i := range lost(before, Decide(honest, p, now, berlin)) {
					may[i] = true
				}
				for _, i := range gone {
					if !may[i] {
						t.Errorf("%s, every %v: a flood of %d takes %v (%v), which one backup does not: %v", name, pace, n, good[i].Time, before[i].Reasons, Decide(flooded, p, now, berlin)[i].Reasons)
					}
				}
			}
		}
	})
}

// TestSlowFlood lets the thief store for days: he is no faster than a host that backs up twice as often as it did.
func TestSlowFlood(t *testing.T) {
	eachPolicy(func(name string, p Policy, r *rand.Rand) {
		for _, pace := range []time.Duration{6 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour} {
			for _, paces := range []int{1, 3, 6} {
				w := &world{epoch: 1}
				theft := time.Date(2026, 5, 13, 2, 0, 0, 0, berlin)
				for i := range 120 {
					if i%7 == 0 {
						w.epoch++
					}
					w.add(theft.Add(-time.Duration(120-i) * pace))
				}
				good := w.all
				length := time.Duration(paces) * pace
				flooded, honest := append([]Snapshot{}, good...), append([]Snapshot{}, good...)
				for i := range 1000 {
					flooded = append(flooded, forge(r, good, theft.Add(time.Duration(r.Int64N(int64(length)))), i))
				}
				for i := range 2*paces + 1 {
					one := forge(r, good, theft.Add(time.Duration(i)*pace/2-time.Second), 5000+i)
					one.Sequence, one.Base, one.Epoch = uint64(200+i), [16]byte{}, 3000+uint32(i)
					honest = append(honest, one)
				}
				now := theft.Add(length)
				before := Decide(good, p, theft, berlin)
				may := map[int]bool{} // also what is only there to have enough: a flood may have enough of its own by then
				for i, v := range Decide(honest, p, now, berlin)[:len(good)] {
					may[i] = !slices.ContainsFunc(v.Reasons, func(r Reason) bool { return !r.Past && r.Rule != RuleMin && (r.Rule != RuleHanoi || r.Slot != "") })
				}
				for _, i := range lost(before, Decide(flooded, p, now, berlin)) {
					if !may[i] {
						t.Errorf("%s, every %v, for %v: %v is lost (%v)", name, pace, length, good[i].Time, before[i].Reasons)
					}
				}
			}
		}
	})
}

// TestFloodOfFulls opens an epoch with each of a thousand snapshots.
func TestFloodOfFulls(t *testing.T) {
	c := Cycle{Kind: Simple, Frequency: 1, Diffs: 6, Fulls: 3}
	h := &host{c: c}
	for day := range 60 {
		now := time.Date(2026, 1, 1+day, 2, 0, 0, 0, time.UTC)
		h.try(now, time.UTC)
		h.left = keptOf(h.left, Decide(h.left, Policy{Cycle: c}, now, time.UTC))
	}
	theft := h.left[len(h.left)-1].Time
	good := append([]Snapshot{}, h.left...)
	for i := range 1000 {
		h.left = append(h.left, Snapshot{ID: [16]byte{byte(i), byte(i >> 8), 0xff}, Source: good[0].Source, Time: theft.Add(time.Duration(i) * 30 * time.Second), Done: true, Epoch: 100 + uint32(i), Sequence: 1000})
	}
	verdicts := Decide(h.left, Policy{Cycle: c}, theft.Add(24*time.Hour), time.UTC)
	epochs := map[uint32]bool{}
	for i := range good {
		if verdicts[i].Keep {
			epochs[good[i].Epoch] = true
		}
	}
	if len(epochs) < c.Fulls-1 {
		t.Errorf("epochs %v are left of the good ones", epochs)
	}
}

// TestSilence lets a source rest for a year and then stores one snapshot, or a hundred.
func TestSilence(t *testing.T) {
	eachPolicy(func(name string, p Policy, _ *rand.Rand) {
		w := &world{epoch: 1}
		w.daily(2025, 1, 1, 2, 100, time.UTC)
		for i := range w.all {
			w.all[i].Epoch = uint32(i / 7)
		}
		left := keptOf(w.all, Decide(w.all, p, time.Date(2025, 4, 11, 0, 0, 0, 0, time.UTC), time.UTC))
		for _, n := range []int{1, 100} {
			after := append([]Snapshot{}, left...)
			for i := range n {
				after = append(after, Snapshot{ID: [16]byte{byte(i), 1, 2, 3}, Source: left[0].Source, Time: time.Date(2026, 4, 11, 1, 0, i, 0, time.UTC), Done: true, Sequence: 101 + uint64(i), Epoch: 99})
			}
			got := 0
			for _, v := range Decide(after, p, time.Date(2026, 4, 12, 0, 0, 0, 0, time.UTC), time.UTC)[:len(left)] {
				if v.Keep {
					got++
				}
			}
			least := len(left) - 2 // a place in a rule, and being the newest
			switch {
			case name == "all":
				least = len(left) - 12
			case p.Cycle.Kind == Simple:
				least = len(left) - 7 // an epoch
			case p.Within > 0:
				least = len(left) - 3 // twice the pace is what passes at most
			}
			if got < least {
				t.Errorf("%s: %d of %d are left after silence and %d more", name, got, len(left), n)
			}
		}
	})
}

// TestBurst is an honest one: a job that repeats itself every minute for a day and more does not fill the store.
func TestBurst(t *testing.T) {
	w := &world{}
	w.daily(2026, 1, 1, 2, 50, time.UTC)
	from := time.Date(2026, 2, 20, 2, 0, 0, 0, time.UTC)
	w.every(from, time.Minute, 2000)
	now := from.Add(2000 * time.Minute)
	kept := keptOf(w.all, Decide(w.all, Policy{Last: 10}, now, time.UTC))
	days := map[string]int{}
	for _, s := range kept {
		days[s.Time.Format("01-02")]++
	}
	if len(kept) > 50 || len(days) < 9 {
		t.Errorf("%d are left: %v", len(kept), fmt.Sprint(days))
	}
}
