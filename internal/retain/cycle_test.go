package retain

import (
	"errors"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestParseCycle(t *testing.T) {
	for text, want := range map[string]Cycle{
		"simple frequency=1 phase=0 diffs=6 fulls=4":             {Kind: Simple, Frequency: 1, Diffs: 6, Fulls: 4},
		"simple,diffs=0,fulls=1":                                 {Kind: Simple, Frequency: 1, Fulls: 1},
		" SIMPLE Fulls=2\tphase=6, frequency=7 diffs=3":          {Kind: Simple, Frequency: 7, Phase: 6, Diffs: 3, Fulls: 2},
		"hanoi frequency=1 discs=5 archive-oldest=yes full=no":   {Kind: Hanoi, Frequency: 1, Discs: 5, Archive: true},
		"hanoi discs=1 full=on archive_oldest=false frequency=2": {Kind: Hanoi, Frequency: 2, Discs: 1, Full: true},
	} {
		got, err := ParseCycle(text)
		if err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
		if again, err := ParseCycle(got.String()); err != nil || again != got {
			t.Errorf("%q: %+v, %v", got.String(), again, err)
		}
	}
	for _, text := range []string{"", " ", "tape", "simple", "simple diffs=6", "simple fulls=2", "hanoi", "simple diffs=1 fulls=0", "simple diffs=-1 fulls=2", "simple diffs=1 diffs=1 fulls=2",
		"simple diffs=1 fulls=2 discs=3", "simple diffs=1 fulls=2 phase=1", "simple diffs=1 fulls=2 frequency=0", "hanoi discs=0", "hanoi discs=17", "hanoi discs=16 frequency=3", "hanoi discs=5 full=maybe",
		"hanoi discs=5 full", "hanoi discs=", "hanoi discs=9999999999", "simple diffs=1 fulls=10001", string(make([]byte, 5000))} {
		if c, err := ParseCycle(text); !errors.As(err, new(*CycleError)) {
			t.Errorf("%.50q: %+v, %v", text, c, err)
		}
	}
}

func FuzzParseCycle(f *testing.F) {
	f.Add("simple frequency=1 phase=0 diffs=6 fulls=4")
	f.Add("hanoi,frequency=2,discs=5,archive-oldest=yes,full=no")
	f.Add("hanoi discs=\x00")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseCycle(text)
		if err != nil {
			if !errors.As(err, new(*CycleError)) {
				t.Fatal(err)
			}
			return
		}
		if again, err := ParseCycle(c.String()); err != nil || again != c {
			t.Fatalf("%q: %+v, %+v, %v", text, c, again, err)
		}
		c.Next([]Snapshot{{Done: true, Time: time.Unix(1e9, 0)}}, time.Unix(2e9, 0), time.UTC)
	})
}

// hanoiSet is the definition: the i-th backup goes to the disc whose number is that of the zeros at the end of i, but never beyond the last.
func hanoiSet(i int64, n int) (set []int64) {
	for k := range n {
		j := i
		for min(bits.TrailingZeros64(uint64(j)), n-1) != k {
			j--
		}
		set = append(set, j)
	}
	slices.Sort(set)
	return slices.Compact(set)
}

// TestHanoiByDefinition backs up in each slot for years, prunes after each backup, and compares what is left with what tapes would hold.
func TestHanoiByDefinition(t *testing.T) {
	for _, c := range []Cycle{{Frequency: 1, Discs: 5}, {Frequency: 1, Discs: 1}, {Frequency: 1, Discs: 2}, {Frequency: 3, Phase: 2, Discs: 4}, {Frequency: 1, Discs: 7}, {Frequency: 7, Phase: 1, Discs: 6}} {
		c.Kind = Hanoi
		w, left := &world{}, []Snapshot(nil)
		day := dayNumber(2023, time.March, 5)
		steps := 4<<(c.Discs-1) + 20
		for step := range steps {
			slot := c.slot(day) + int64(step)
			at := startOfDay(c.firstDay(slot), berlin).Add(time.Duration(20+step%4) * time.Hour / 2)
			left = append(left, *w.add(at))
			left = keptOf(left, Decide(left, Policy{Cycle: c}, at, berlin))
			var have []int64
			for _, s := range left {
				have = append(have, c.slot(momentOf(s.Time, berlin).day))
			}
			want := hanoiSet(slot, c.Discs)
			want = slices.DeleteFunc(want, func(j int64) bool { return j < c.slot(day) })
			if step >= 2<<(c.Discs-1) && !slices.Equal(have, want) {
				t.Fatalf("%v, slot %d: have %v, want %v", c, slot, have, want)
			}
			for _, j := range want {
				if !slices.Contains(have, j) {
					t.Fatalf("%v, slot %d: have %v, want also %d", c, slot, have, j)
				}
			}
			if len(have) < min(step+1, c.Discs) {
				t.Fatalf("%v, slot %d: have %v", c, slot, have)
			}
		}
	}
}

// TestHanoiMissed leaves slots out, by chance and by habit, and looks for ages in powers of two.
func TestHanoiMissed(t *testing.T) {
	var r *rand.Rand
	for name, runs := range map[string]func(day int) bool{
		"by chance":   func(int) bool { return r.IntN(10) > 2 },
		"odd days":    func(day int) bool { return day%2 == 1 },
		"fourth days": func(day int) bool { return day%4 == 0 },
		"working":     func(day int) bool { return day%7 < 5 },
		"by weeks":    func(day int) bool { return day/7%2 == 0 },
	} {
		c := Cycle{Kind: Hanoi, Frequency: 1, Discs: 6}
		w, left := &world{}, []Snapshot(nil)
		r = rand.New(rand.NewPCG(1, 2))
		for day := range 400 {
			if !runs(day) {
				continue
			}
			now := time.Date(2024, 1, 1+day, 21, r.IntN(60), 0, 0, berlin)
			left = append(left, *w.add(now))
			left = keptOf(left, Decide(left, Policy{Cycle: c}, now, berlin))
			if len(left) < min(len(w.all), c.Discs) || len(left) > 3*c.Discs {
				t.Fatalf("%s: %d left on day %d: %v", name, len(left), day, dates(left, berlin))
			}
			for k := 1; k < c.Discs-1 && day > 100; k++ {
				if !slices.ContainsFunc(left, func(s Snapshot) bool {
					age := now.Sub(s.Time).Hours() / 24
					return age >= float64(int(1)<<k)/2-.1 && age <= float64(int(4)<<k)+8
				}) {
					t.Fatalf("%s: nothing about %d days old on day %d: %v", name, 1<<k, day, dates(left, berlin))
				}
			}
		}
	}
}

func TestHanoiArchive(t *testing.T) {
	c := Cycle{Kind: Hanoi, Frequency: 1, Discs: 5, Archive: true}
	w, left := &world{}, []Snapshot(nil)
	for day := range 3 * 365 {
		now := time.Date(2024, 1, 1+day, 3, 0, 0, 0, time.UTC)
		s := w.add(now)
		s.Added = 100
		left = append(left, *s)
		left = keptOf(left, Decide(left, Policy{Cycle: c}, now, time.UTC))
	}
	archived := 0
	for _, s := range left {
		if c.slot(momentOf(s.Time, time.UTC).day)%16 == 0 {
			archived++
		}
	}
	if archived < 3*365/16 || archived > 3*365/16+1 {
		t.Errorf("%d archived, one in 16 days of 3 years are %d", archived, 3*365/16)
	}
	g := c.Growth(w.all, w.all[len(w.all)-1].Time)
	if !g.Known || g.Snapshots < 22.8 || g.Snapshots > 22.9 || g.Bytes < 36500 || g.Bytes > 36600 {
		t.Errorf("%+v", g)
	}
	c.Full = true
	if g := c.Growth(w.all, w.all[len(w.all)-1].Time); !g.Known || g.Bytes < 2280 || g.Bytes > 2290 {
		t.Errorf("%+v", g)
	}
}

// host backs up as a cycle plans.
type host struct {
	world
	c     Cycle
	left  []Snapshot
	fulls []time.Time
}

// try runs at a time, and reports whether a backup was due.
func (h *host) try(now time.Time, loc *time.Location) bool {
	due, full, when := h.c.Next(h.left, now, loc)
	if !due {
		return false
	}
	if when.After(now) {
		panic("due before it is due")
	}
	if full {
		h.epoch++
		h.fulls = append(h.fulls, now)
	}
	h.left = append(h.left, *h.add(now))
	return true
}

// TestSimple goes through years with pruning now and then: whole epochs, never fewer than asked for, the oldest gone soon after the newest full.
func TestSimple(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, loc := range []*time.Location{time.UTC, berlin, mustZone("America/New_York"), mustZone("Australia/Lord_Howe")} {
		for _, c := range []Cycle{{Frequency: 1, Diffs: 6, Fulls: 4}, {Frequency: 2, Phase: 1, Diffs: 0, Fulls: 2}, {Frequency: 7, Phase: 3, Diffs: 3, Fulls: 1}} {
			c.Kind = Simple
			h := &host{c: c}
			for day := range 2 * 366 {
				if r.IntN(8) == 0 {
					continue
				}
				for _, hour := range []int{1, 13} {
					now := time.Date(2024, 2, 27+day, hour, r.IntN(60), 0, 0, loc)
					h.try(now, loc)
					if r.IntN(3) > 0 {
						continue
					}
					h.left = keptOf(h.left, Decide(h.left, Policy{Cycle: c}, now, loc))
					h.wholeEpochs(t, loc, day)
				}
			}
		}
	}
}

func (h *host) wholeEpochs(t *testing.T, loc *time.Location, day int) {
	t.Helper()
	have, all := map[uint32]int{}, map[uint32]int{}
	for _, s := range h.all {
		all[s.Epoch]++
	}
	for _, s := range h.left {
		have[s.Epoch]++
	}
	for e, n := range have {
		if all[e] != n || n > h.c.Diffs+1 {
			t.Fatalf("%v, %v, day %d: %d of %d left of epoch %d", loc, h.c, day, n, all[e], e)
		}
	}
	for e := int(h.epoch); e > max(0, int(h.epoch)-h.c.Fulls); e-- {
		if have[uint32(e)] == 0 {
			t.Fatalf("%v, %v, day %d: nothing left of epoch %d, the newest is %d", loc, h.c, day, e, h.epoch)
		}
	}
	if len(have) != min(int(h.epoch), h.c.Fulls) {
		t.Fatalf("%v, %v, day %d: %d epochs", loc, h.c, day, len(have))
	}
}

// TestNext follows a host that asks every hour for two years: one backup in each slot, across new years and changes of the clock, and when it says is when it is
// due.
func TestNext(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Apia"} {
		loc := mustZone(zone)
		for _, c := range []Cycle{{Frequency: 1}, {Frequency: 7, Phase: 2}, {Frequency: 5, Phase: 4}} {
			c.Kind, c.Diffs, c.Fulls = Simple, 2, 2
			h := &host{c: c}
			now := time.Date(2010, 12, 20, 5, 0, 0, 0, loc)
			var next time.Time
			for range 2 * 366 * 24 {
				if due, _, _ := c.Next(h.left, now, loc); due != (next.IsZero() || !now.Before(next)) {
					t.Fatalf("%s, %v: due %v at %v, expected %v", zone, c, due, now, next)
				} else if due {
					h.try(now, loc)
					if len(h.left) > 20 {
						h.left = h.left[10:]
					}
					_, _, next = c.Next(h.left, now, loc)
				}
				now = now.Add(time.Hour)
			}
			slots := map[int64]bool{}
			for i, s := range h.all {
				slot := c.slot(momentOf(s.Time, loc).day)
				if slots[slot] {
					t.Fatalf("%s, %v: two in a slot at %v", zone, c, s.Time)
				}
				slots[slot] = true
				if i > 0 && int(s.Epoch) != i/3+1 {
					t.Fatalf("%s, %v: number %d is of epoch %d", zone, c, i, s.Epoch)
				}
			}
			if want := 2 * 366 / c.Frequency; len(h.all) < want || len(h.all) > want+2 {
				t.Fatalf("%s, %v: %d backups, want %d", zone, c, len(h.all), want)
			}
		}
	}
}

func TestNextOdd(t *testing.T) {
	c := Cycle{Kind: Simple, Frequency: 1, Diffs: 1, Fulls: 2}
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, berlin)
	midnight := time.Date(2026, 11, 20, 0, 0, 0, 0, berlin)
	is := func(name string, snaps []Snapshot, due, full bool, when time.Time) {
		t.Helper()
		if d, f, w := c.Next(snaps, now, berlin); d != due || f != full || !w.Equal(when) {
			t.Errorf("%s: due %v, full %v, %v", name, d, f, w)
		}
	}
	is("nothing there", nil, true, true, midnight)
	w := &world{epoch: 1}
	w.add(now.Add(-time.Hour))
	is("done today", w.all, false, false, midnight.AddDate(0, 0, 1))
	w.add(now.Add(-time.Minute))
	is("twice today", w.all, false, false, midnight.AddDate(0, 0, 1))
	w.all[0].Time = now.AddDate(0, 0, -1)
	is("yesterday and today", w.all, false, true, midnight.AddDate(0, 0, 1))
	w.all[1].Done = false
	is("partial today", w.all, true, false, midnight)
	w.all[1].Done, w.all[1].Time = true, now.AddDate(3, 0, 0)
	is("from the future", w.all, true, false, midnight)
	w.all[1].Time = time.Time{}
	is("of unknown time", w.all, true, false, midnight)
	w.all[1].Time, w.all[1].Base, w.all[0].Time = now.AddDate(0, 0, -1), w.all[0].ID, now.AddDate(0, 0, -2)
	is("chain of two", w.all, true, true, midnight)
	w.add(now.Add(-time.Hour))
	is("a full of the same epoch", w.all, false, false, midnight.AddDate(0, 0, 1))
	c = Cycle{Kind: Hanoi, Frequency: 1, Discs: 3, Full: true}
	is("independent fulls", w.all, false, true, midnight.AddDate(0, 0, 1))
}

// TestFromYear compares with the rule that counts the days of a year from 0.
func TestFromYear(t *testing.T) {
	for y := 2019; y < 2031; y++ {
		for f := 1; f < 40; f += 6 {
			c := Cycle{Kind: Simple, Frequency: f, Phase: f / 2, Diffs: 1, Fulls: 2}
			moved := c.FromYear(y)
			if err := moved.Check(); err != nil {
				t.Fatal(err)
			}
			for day := time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC); day.Year() == y; day = day.AddDate(0, 0, 1) {
				n := momentOf(day, time.UTC).day
				if begins := moved.firstDay(moved.slot(n)) == n; begins != ((day.YearDay()-1+c.Phase)%f == 0) {
					t.Fatalf("%v, %v: %v", day, c, begins)
				}
			}
		}
	}
	if dayNumber(2001, 1, 1) != 0 || time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC).Weekday() != time.Monday {
		t.Error("days are counted from another day")
	}
}
