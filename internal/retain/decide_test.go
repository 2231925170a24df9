package retain

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestCheck(t *testing.T) {
	for _, p := range []Policy{{}, {Burst: time.Hour}} {
		if err := p.Check(); !errors.Is(err, ErrEmpty) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []Policy{{None: true, Last: 1}, {None: true, Tags: []string{"a"}}, {None: true, Cycle: Cycle{Kind: Hanoi, Frequency: 1, Discs: 3}}, {Last: -1}, {Yearly: -5}, {Within: -1}, {Last: 1, Within: 1<<63 - 1},
		{Last: 1, Burst: -2}, {Tags: []string{""}}} {
		if err := p.Check(); !errors.As(err, new(*PolicyError)) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []Policy{{Cycle: Cycle{Kind: "tape"}}, {Last: 1, Cycle: Cycle{Kind: Simple, Frequency: 1}}, {Cycle: Cycle{Kind: Hanoi, Frequency: 2, Phase: 2, Discs: 2}}} {
		if err := p.Check(); !errors.As(err, new(*CycleError)) {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for name, p := range policies() {
		if err := p.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, p := range []Policy{{None: true}, {Yearly: All}, {Min: 1}, {Last: 1, Burst: NoBurst}} {
		if err := p.Check(); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
}

// rulesOf returns the names of the reasons.
func rulesOf(v Verdict) string {
	var names []string
	for _, r := range v.Reasons {
		names = append(names, string(r.Rule))
	}
	return strings.Join(names, " ")
}

func TestNotDecided(t *testing.T) {
	w := &world{}
	w.daily(2026, 1, 1, 2, 30, time.UTC)
	now := w.all[19].Time.Add(time.Hour) // 20 to 29 are ahead of it
	w.all[3].Done = false
	w.all[4].Time = time.Time{}
	w.all[5].Done, w.all[5].Base = false, w.all[2].ID
	w.all[21].Base = w.all[1].ID
	got := Decide(w.all, Policy{Last: 2}, now, time.UTC)
	for i, want := range map[int]string{3: "not done", 4: "undated", 5: "not done", 2: "base", 1: "base", 21: "future", 29: "future", 18: "last", 19: "last newest", 17: "last", 0: "last"} {
		keep := i != 17 && i != 0
		if got[i].Keep != keep || rulesOf(got[i]) != want {
			t.Errorf("%d: %+v, want %v %s", i, got[i], keep, want)
		}
	}
	got = Decide(w.all, Policy{None: true}, now, time.UTC)
	for i, v := range got {
		if want := i == 3 || i == 5 || i == 2; v.Keep != want {
			t.Errorf("%d: %+v, want %v", i, v, want)
		}
	}
}

// TestMoved brings a repository to another store by a plain copy: all bears one date, and nothing is lost by it. Backups that follow are decided.
func TestMoved(t *testing.T) {
	eachPolicy(func(name string, p Policy, r *rand.Rand) {
		w := &world{}
		w.daily(2026, 1, 1, 2, 60, time.UTC)
		for i := range w.all {
			w.all[i].Made = w.all[i].Time
			w.all[i].Time = time.Date(2026, 3, 2, 12, 0, r.IntN(3000), 0, time.UTC)
		}
		all := len(w.all)
		for i := range 100 {
			at := time.Date(2026, 3, 3+i, 2, 0, 0, 0, time.UTC)
			w.add(at).Made = at
		}
		now := w.all[len(w.all)-1].Time
		got := Decide(w.all, p, now, time.UTC)
		for i := range all - 1 {
			if !got[i].Keep || rulesOf(got[i]) != "moved" {
				t.Errorf("%s: %d: %+v", name, i, got[i])
			}
		}
		if kept := len(keptOf(w.all, got)); p.Daily > 0 && p.Cycle.Kind == "" && kept > 60+20 {
			t.Errorf("%s: %d are kept", name, kept)
		}
	})
	// A clock that is years behind, or jumps, is none of that.
	w := &world{}
	w.daily(2026, 1, 1, 2, 60, time.UTC)
	for i := range w.all {
		w.all[i].Made = time.Date(1970, 1, 1+i, 0, 0, 0, 0, time.UTC)
	}
	if kept := len(keptOf(w.all, Decide(w.all, Policy{Daily: 7}, w.all[59].Time, time.UTC))); kept != 7 {
		t.Errorf("%d are kept of a host whose clock is wrong", kept)
	}
	// A thief cannot make anything look so that was there.
	for i := range w.all {
		w.all[i].Made = w.all[i].Time
	}
	last := w.all[59].Time
	for i := range 100 {
		w.add(last.Add(time.Duration(i) * time.Minute)).Made = last.AddDate(-i, 0, 0)
	}
	for i, v := range Decide(w.all, Policy{Daily: 7}, last.Add(2*time.Hour), time.UTC)[:60] {
		if v.Keep != (i >= 53) || rulesOf(v) != "daily" {
			t.Errorf("%d: %+v", i, v)
		}
	}
}

func TestBases(t *testing.T) {
	w := &world{}
	w.daily(2026, 1, 1, 2, 20, time.UTC)
	for i := 1; i < 20; i++ {
		if i != 10 {
			w.all[i].Base = w.all[i-1].ID
		}
	}
	now := w.all[19].Time.Add(time.Hour)
	got := Decide(w.all, Policy{Last: 3}, now, time.UTC)
	for i, v := range got {
		if v.Keep != (i >= 10) {
			t.Errorf("%d: %+v", i, v)
		}
	}
	if r := got[12].Reasons; len(r) != 1 || r[0].Rule != RuleBase || r[0].By != w.all[13].ID || r[0].String() != "base of 0e000001" {
		t.Errorf("%+v", r)
	}
	// Chains that lead in a circle, to themselves or nowhere end.
	w.all[10].Base = w.all[15].ID
	w.all[4].Base = w.all[4].ID
	w.all[0].Base = [16]byte{99}
	Decide(w.all, Policy{Last: 16}, now, time.UTC)
}

func TestSourcesApart(t *testing.T) {
	a, b := &world{}, &world{}
	a.daily(2026, 1, 1, 2, 20, time.UTC)
	b.daily(2020, 1, 1, 2, 7, time.UTC)
	for i := range b.all {
		b.all[i].Source[0], b.all[i].ID[5] = 2, 1
	}
	all := slices.Concat(a.all, b.all)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	got := Decide(all, Policy{Daily: 3, Min: 5}, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), time.UTC)
	kept := map[byte]int{}
	for i, v := range got {
		if v.ID != all[i].ID {
			t.Fatal("verdicts are not in order")
		}
		if v.Keep {
			kept[all[i].Source[0]]++
		}
	}
	if kept[1] != 5 || kept[2] != 5 {
		t.Errorf("%v", kept)
	}
}

// TestFirstStands checks that the first of each day, week, month and year stands, in zones that put their clocks forward and back at midnight and by odd amounts, or
// skip a day, with a snapshot every half an hour.
func TestFirstStands(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Asia/Kolkata", "America/Havana"} {
		loc := mustZone(zone)
		w := &world{}
		w.every(time.Date(2011, 1, 1, 0, 10, 0, 0, loc), 30*time.Minute, 48*400)
		now := w.all[len(w.all)-1].Time
		p := Policy{Daily: All, Weekly: All, Monthly: All, Quarterly: All, Yearly: All}
		seen := map[string]bool{}
		for i, v := range Decide(w.all, p, now, loc) {
			at := w.all[i].Time.In(loc)
			y, week := at.ISOWeek()
			want := 0
			for _, slot := range []string{at.Format("day 2006-01-02"), at.Format("month 2006-01"), at.Format("year 2006"), at.Format("quarter 2006-") + string(rune('1'+(int(at.Month())-1)/3)),
				time.Date(y, 1, week, 0, 0, 0, 0, time.UTC).Format("week 2006-01-02")} {
				if !seen[slot] {
					want++
				}
				seen[slot] = true
			}
			if i == len(w.all)-1 {
				want++ // the newest
			}
			if v.Keep != (want > 0) || v.Keep && len(v.Reasons) != want {
				t.Fatalf("%s: %v: %+v, want %d reasons", zone, at, v, want)
			}
		}
		hours := Decide(w.all, Policy{Hourly: All}, now, loc)
		for i, v := range hours {
			if zone != "Australia/Lord_Howe" && v.Keep != (i%2 == 0 || i == len(hours)-1) {
				t.Fatalf("%s: hours: %v: %+v", zone, w.all[i].Time.In(loc), v)
			}
		}
	}
}

// TestStartOfDay asks for the first moment of each day of some years.
func TestStartOfDay(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia", "America/Havana", "Asia/Tehran", "America/Asuncion"} {
		loc := mustZone(zone)
		for day := dayNumber(2009, 1, 1); day < dayNumber(2019, 1, 1); day++ {
			at := startOfDay(day, loc)
			if zone == "Pacific/Apia" && day == dayNumber(2011, 12, 30) {
				continue // there was none
			}
			if momentOf(at, loc).day != day || momentOf(at.Add(-time.Second), loc).day != day-1 && zone != "Pacific/Apia" {
				t.Fatalf("%s: day %d begins %v, a second before it is day %d", zone, day, at, momentOf(at.Add(-time.Second), loc).day)
			}
		}
	}
}

// TestClockJumps sets clocks wrong for a while, that of the store and that of whoever decides: nothing is lost by it.
func TestClockJumps(t *testing.T) {
	eachPolicy(func(name string, p Policy, _ *rand.Rand) {
		for _, jump := range []time.Duration{-40 * 24 * time.Hour, -3 * time.Hour, 3 * time.Hour, 40 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
			w, straight := &world{}, &world{}
			var left, wanted []Snapshot
			for i := range 150 {
				now := time.Date(2026, 1, 1+i, 2, 0, 0, 0, berlin)
				w.epoch, straight.epoch = uint32(i/7), uint32(i/7)
				at := now
				if i >= 100 && i < 105 {
					at = now.Add(jump) // the store's clock
				}
				left, wanted = append(left, *w.add(at)), append(wanted, *straight.add(now))
				left = keptOf(left, Decide(left, p, now, berlin))
				wanted = keptOf(wanted, Decide(wanted, p, now, berlin))
				if len(left) < len(wanted)-6 {
					t.Fatalf("%s, %v: %d are left at %v, else it were %d", name, jump, len(left), now, len(wanted))
				}
				if !slices.ContainsFunc(left, func(s Snapshot) bool { return s.Sequence == uint64(i+1) }) {
					t.Fatalf("%s, %v: the last one is gone at %v", name, jump, now)
				}
				// Whoever decides lives in another time.
				wrong := keptOf(left, Decide(left, p, now.Add(jump), berlin))
				if jump > 0 && i < 100 && len(wrong) != len(left) {
					t.Fatalf("%s: a clock that is %v ahead takes %d of %d", name, jump, len(left)-len(wrong), len(left))
				}
				if len(wrong) < len(left) && jump < 0 && i < 100 {
					t.Fatalf("%s: a clock that is %v behind takes %d of %d", name, -jump, len(left)-len(wrong), len(left))
				}
			}
		}
	})
}

// hostile makes snapshots of some sources in which nothing fits.
func hostile(r *rand.Rand, n int) []Snapshot {
	all := make([]Snapshot, n)
	base := time.Date(2024, 3, 1, 0, 0, 0, 0, time.UTC)
	for i := range all {
		s := &all[i]
		s.ID = [16]byte{byte(i), byte(i >> 8), 7}
		s.Source[0] = byte(r.IntN(3))
		s.Time = base.Add(time.Duration(r.Int64N(int64(400 * 24 * time.Hour))))
		if r.IntN(3) == 0 {
			s.Time = base.Add(time.Duration(r.IntN(40)) * 24 * time.Hour)
		}
		s.Sequence = uint64(s.Time.Sub(base)/(8*time.Hour)) + uint64(r.IntN(3))
		if r.IntN(20) == 0 {
			s.Sequence = r.Uint64() >> r.IntN(64)
		}
		if r.IntN(50) == 0 {
			s.Time = time.Time{}.Add(time.Duration(r.IntN(2)) * (1 << 62))
		}
		s.Epoch = uint32(s.Time.Sub(base) / (200 * time.Hour))
		if s.Made = s.Time; r.IntN(10) == 0 {
			s.Made = base.Add(time.Duration(r.Int64N(int64(400 * 24 * time.Hour))))
		}
		s.Done = r.IntN(10) > 0
		if r.IntN(6) == 0 {
			s.Base = [16]byte{byte(r.IntN(n)), byte(r.IntN(n) >> 8), 7}
		}
		if r.IntN(9) == 0 {
			s.Tags = []string{"keep"}
		}
	}
	return all
}

// TestAgain: what is kept is kept again, whatever it is. And never does everything go.
func TestAgain(t *testing.T) {
	eachPolicy(func(name string, p Policy, r *rand.Rand) {
		for range 25 {
			all := hostile(r, 1+r.IntN(300))
			now := time.Date(2024, 3, 1+r.IntN(500), r.IntN(24), 0, 0, 0, time.UTC)
			kept := keptOf(all, Decide(all, p, now, berlin))
			for i, v := range Decide(kept, p, now, berlin) {
				if !v.Keep {
					t.Fatalf("%s: %+v is dropped of what was kept: %v", name, kept[i], v.Reasons)
				}
			}
			for source := range byte(3) {
				has := func(s Snapshot) bool { return s.Source[0] == source && s.Done }
				if slices.ContainsFunc(all, has) && !slices.ContainsFunc(kept, has) {
					t.Fatalf("%s: nothing is left of source %d", name, source)
				}
			}
			if p.Min > 0 {
				plain := p
				plain.Burst = NoBurst
				n, left := 0, 0
				for i, v := range Decide(all, plain, now, berlin) {
					if all[i].Source[0] == 0 && counts(&all[i], now) {
						n++
						if v.Keep {
							left++
						}
					}
				}
				if left < min(n, p.Min) {
					t.Fatalf("%s: %d of %d left, at least %d were asked for", name, left, n, p.Min)
				}
			}
		}
	})
}

// once asks the rules one time, without looking again at what they kept.
func once(snaps []Snapshot, p Policy, now time.Time, loc *time.Location) []Verdict {
	out, all, moments := make([]Verdict, len(snaps)), make([]int, len(snaps)), make([]moment, len(snaps))
	for i := range snaps {
		all[i], moments[i] = i, momentOf(snaps[i].Time, loc)
	}
	for _, of := range bySource(snaps, all) {
		newLine(snaps, moments, of, &p, now, loc).decide(out)
	}
	return out
}

// TestNeverMissed prunes a source now and then for a year. What the rules need of the whole history was never dropped before: a snapshot once dropped does not come
// back as needed.
func TestNeverMissed(t *testing.T) {
	eachPolicy(func(name string, p Policy, r *rand.Rand) {
		for range 2 {
			w := &world{}
			var left []Snapshot
			at := time.Date(2025, 8, 1, 0, 0, 0, 0, berlin)
			for i := range 250 {
				at = at.Add(time.Duration(r.Int64N(int64(48 * time.Hour))))
				if r.IntN(40) == 0 {
					at = at.AddDate(0, 0, 30)
				}
				if i%7 == 0 {
					w.epoch++
				}
				s := w.add(at)
				if r.IntN(9) == 0 {
					s.Tags = []string{"keep"}
				}
				if left = append(left, *s); r.IntN(5) > 0 {
					continue
				}
				left = keptOf(left, Decide(left, p, at, berlin))
				plain := p
				plain.Burst = NoBurst
				for n, v := range once(w.all, plain, at, berlin) {
					needed := slices.ContainsFunc(v.Reasons, func(r Reason) bool { return r.Rule != RuleMin && (r.Rule != RuleHanoi || r.Slot != "") })
					if v.Keep && needed && !slices.ContainsFunc(left, func(s Snapshot) bool { return s.ID == w.all[n].ID }) {
						t.Fatalf("%s: number %d of %v is needed at %v for %v, and gone", name, n+1, w.all[n].Time, at, v.Reasons)
					}
				}
			}
		}
	})
}

// TestUntil holds the promise: with a backup each day, a snapshot is kept until the day that its verdict named.
func TestUntil(t *testing.T) {
	eachPolicy(func(name string, p Policy, _ *rand.Rand) {
		w := &world{}
		var left []Snapshot
		promised := map[[16]byte]time.Time{}
		for i := range 500 {
			now := time.Date(2026, 1, 1+i, 2, 0, 0, 0, berlin)
			w.epoch = uint32(i / 7)
			left = append(left, *w.add(now))
			verdicts := Decide(left, p, now, berlin)
			for j, v := range verdicts {
				if !v.Keep && now.Before(promised[v.ID]) {
					t.Fatalf("%s: %v goes on %v, and was promised until %v: %v", name, left[j].Time, now, promised[v.ID], v.Reasons)
				}
				if until, forever := v.Until(); forever {
					promised[v.ID] = now.AddDate(1000, 0, 0)
				} else if until.After(promised[v.ID]) {
					promised[v.ID] = until
				}
			}
			left = keptOf(left, verdicts)
		}
	})
}

// TestTenYears backs up each day, now and then not, and prunes each week: what is left stays as small as the rules say, and has what they ask for.
func TestTenYears(t *testing.T) {
	r := rand.New(rand.NewPCG(seed, 15))
	p := Policy{Daily: 7, Weekly: 5, Monthly: 12, Yearly: All}
	for _, loc := range []*time.Location{time.UTC, berlin, mustZone("America/Sao_Paulo")} {
		w := &world{}
		var left []Snapshot
		first := map[int]uint64{} // of each year
		for i := range 3653 {
			now := time.Date(2016, 1, 1+i, 0, r.IntN(180), 0, 0, loc)
			if r.IntN(10) > 0 {
				s := *w.add(now)
				left = append(left, s)
				if y := s.Time.In(loc).Year(); first[y] == 0 {
					first[y] = s.Sequence
				}
			}
			if i%7 > 0 {
				continue
			}
			left = keptOf(left, Decide(left, p, now, loc))
			if most := 7 + 5 + 12 + len(first); len(left) > most {
				t.Fatalf("%v: %d are left on %v, %d are asked for", loc, len(left), now, most)
			}
			months := map[string]bool{}
			for _, s := range left {
				months[s.Time.In(loc).Format("2006-01")] = true
			}
			for m := range min(12, i/31) {
				if month := time.Date(now.Year(), now.Month(), 1, 12, 0, 0, 0, loc).AddDate(0, -m-1, 0).Format("2006-01"); m < 11 && !months[month] {
					t.Fatalf("%v: nothing is left of %s on %v", loc, month, now)
				}
			}
		}
		for y, number := range first {
			if !slices.ContainsFunc(left, func(s Snapshot) bool { return s.Sequence == number }) {
				t.Errorf("%v: the first of %d is gone", loc, y)
			}
		}
	}
}

func TestReasons(t *testing.T) {
	w := &world{}
	w.daily(2026, 4, 1, 2, 10, time.UTC)
	w.add(time.Date(2026, 4, 10, 3, 0, 0, 0, time.UTC))
	w.all[0].Tags = []string{"a b"}
	now := time.Date(2026, 4, 10, 12, 0, 0, 0, time.UTC)
	texts := func(p Policy, i int) string {
		var out []string
		v := Decide(w.all, p, now, time.UTC)[i]
		for _, r := range v.Reasons {
			out = append(out, r.String())
		}
		return strings.Join(out, "; ")
	}
	p := Policy{Last: 2, Daily: 3, Tags: []string{"a b"}}
	for i, want := range map[int]string{0: `tag "a b"`, 1: "last: 2 are newer; daily 2026-04-02: 3 are newer", 8: "last, 2 of 2; daily 2026-04-09, 2 of 3", 10: "last, 1 of 2; newest"} {
		if got := texts(p, i); got != want {
			t.Errorf("%d: %s", i, got)
		}
	}
	for want, p := range map[string]Policy{"hourly 2026-04-10 02h, 2 of 5": {Hourly: 5, Burst: NoBurst}, "weekly 2026-W15: 09000001 stands for it": {Weekly: 5}, "quarterly 2026-Q2: 01000001 stands for it": {Quarterly: 5},
		"yearly 2026: 01000001 stands for it": {Yearly: All}, "within 3 days": {Within: 72 * time.Hour}, "min: there are no more than 2": {Min: 2}, "nothing is to be kept": {None: true}, "there is no valid policy": {},
		"simple epoch 0, 1 of 2": {Cycle: Cycle{Kind: Simple, Frequency: 1, Fulls: 2}}, "monthly 2026-04: 01000001 stands for it": {Monthly: 3}} {
		i := 9
		if strings.HasPrefix(want, "weekly") {
			w.all[8].Time = time.Date(2026, 4, 6, 1, 0, 0, 0, time.UTC)
		}
		if got := texts(p, i); got != want {
			t.Errorf("%+v: %s, want %s", p, got, want)
		}
	}
}

func TestCalendarPicture(t *testing.T) {
	w := &world{}
	w.daily(2026, 1, 1, 2, 45, time.UTC)
	lines := Calendar(w.all, Decide(w.all, Policy{Daily: 3, Weekly: 4}, w.all[44].Time, time.UTC), 2026, time.UTC, ASCII)
	for i, want := range []string{"    Jan Feb Mar  Apr May  Jun Jul Aug  Sep Oct Nov  Dec", "Mo   oo####...", "Tu   oooooo...", "We   oooooo...", "Th  oooooo#...", "Fr  oooooo#...", "Sa  oooooo#...", "Su  oooooo..."} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("%q, want %q", lines[i], want)
		}
	}
	marks := strings.TrimPrefix(strings.Join(lines[1:], ""), "Mo")
	if strings.Count(marks, "#") != 7 || strings.Count(marks, "o") != 38 || strings.Count(marks, ".") != 320 {
		t.Errorf("%s", strings.Join(lines, "\n"))
	}
	for y := 1990; y < 2030; y++ { // all shapes of years
		for _, line := range Calendar(w.all, Decide(w.all, Policy{Last: 1}, w.all[44].Time, time.UTC), y, time.UTC, ASCII) {
			if len(line) > 60 {
				t.Errorf("%d: %q", y, line)
			}
		}
	}
	if from, to := Years(w.all, time.UTC); from != 2026 || to != 2026 {
		t.Error(from, to)
	}
}

func BenchmarkDecide(b *testing.B) {
	w := &world{}
	from := time.Date(2020, 1, 1, 2, 0, 0, 0, berlin)
	for i := range 10000 {
		w.epoch = uint32(i / 7)
		w.add(from.Add(time.Duration(i) * 5 * time.Hour))
	}
	now := w.all[len(w.all)-1].Time
	shapes := map[string][]Snapshot{"regular": w.all}
	r := rand.New(rand.NewPCG(1, 2))
	flood := slices.Clone(w.all[:100])
	for i := range 9900 {
		flood = append(flood, forge(r, flood[:100], flood[99].Time.Add(time.Duration(i)*time.Second), i))
	}
	shapes["flood"] = flood
	for shape, snaps := range shapes {
		for name, p := range map[string]Policy{"usual": policies()["usual"], "all": policies()["all"], "hanoi": policies()["hanoi"], "last5000": {Last: 5000}, "min5000": {Min: 5000}, "within5y": {Within: 5 * 365 * 24 * time.Hour}} {
			b.Run(shape+"/"+name, func(b *testing.B) {
				for b.Loop() {
					Decide(snaps, p, now, berlin)
				}
			})
		}
	}
}
