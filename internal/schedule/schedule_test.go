package schedule

import (
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // machines without zones
)

func load(t testing.TB, name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

func must(t testing.TB, text string) Schedule {
	s, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const form = "2006-01-02 15:04 -0700"

func TestNextTable(t *testing.T) {
	for _, c := range []struct{ text, zone, after, want string }{
		{"hourly", "UTC", "2026-11-20 15:30 +0000", "2026-11-20 16:00 +0000"},
		{"hourly :15", "UTC", "2026-11-20 15:15 +0000", "2026-11-20 16:15 +0000"},
		{"hourly :15,:45", "UTC", "2026-11-20 15:15 +0000", "2026-11-20 15:45 +0000"},
		{"daily", "Europe/Berlin", "2026-11-20 15:15 +0000", "2026-11-21 00:00 +0100"},
		{"daily 02:30", "Europe/Berlin", "2026-11-20 00:00 +0000", "2026-11-20 02:30 +0100"},
		{"daily 02:30,14:30", "UTC", "2026-11-20 02:30 +0000", "2026-11-20 14:30 +0000"},
		{"daily 2:30, 14:30", "UTC", "2026-11-20 02:30 +0000", "2026-11-20 14:30 +0000"},
		// summer time begins: 02:00 to 03:00 are left out
		{"daily 02:30", "Europe/Berlin", "2026-03-28 12:00 +0100", "2026-03-29 03:00 +0200"},
		{"daily 02:30", "Europe/Berlin", "2026-03-29 03:00 +0200", "2026-03-30 02:30 +0200"},
		{"daily 02:30", "America/New_York", "2026-03-08 00:00 -0500", "2026-03-08 03:00 -0400"},
		{"daily 02:15", "Australia/Lord_Howe", "2026-10-03 12:00 +1030", "2026-10-04 02:30 +1100"},
		// and ends: 02:00 to 03:00 come twice
		{"daily 02:30", "Europe/Berlin", "2026-10-25 00:00 +0200", "2026-10-25 02:30 +0200"},
		{"daily 02:30", "Europe/Berlin", "2026-10-25 02:30 +0200", "2026-10-26 02:30 +0100"},
		{"hourly :30", "Europe/Berlin", "2026-10-25 02:30 +0200", "2026-10-25 03:30 +0100"},
		{"daily 01:45", "Australia/Lord_Howe", "2026-04-05 01:45 +1100", "2026-04-06 01:45 +1030"},
		// midnight itself is left out, a whole day is
		{"daily", "Africa/Cairo", "2026-04-23 12:00 +0200", "2026-04-24 01:00 +0300"},
		{"daily 12:00", "Pacific/Apia", "2011-12-29 12:00 -1000", "2011-12-31 00:00 +1400"},
		{"daily 02:30", "Asia/Kathmandu", "2026-11-20 00:00 +0545", "2026-11-20 02:30 +0545"},
		{"weekly", "UTC", "2026-11-20 00:00 +0000", "2026-11-22 00:00 +0000"},
		{"weekly Sun 04:00", "UTC", "2026-11-20 00:00 +0000", "2026-11-22 04:00 +0000"},
		{"weekly 04:00", "UTC", "2026-11-20 00:00 +0000", "2026-11-22 04:00 +0000"},
		{"Mon-Fri 22:00", "UTC", "2026-11-20 22:00 +0000", "2026-11-23 22:00 +0000"},
		{"Fri-Mon 22:00", "UTC", "2026-11-23 22:00 +0000", "2026-11-27 22:00 +0000"},
		{"mon,thursday 04:00", "UTC", "2026-11-20 22:00 +0000", "2026-11-23 04:00 +0000"},
		{"monthly", "UTC", "2026-11-20 22:00 +0000", "2026-12-01 00:00 +0000"},
		{"monthly 03:00", "UTC", "2026-11-20 22:00 +0000", "2026-12-01 03:00 +0000"},
		{"monthly 1,15 03:00", "UTC", "2026-11-01 03:00 +0000", "2026-11-15 03:00 +0000"},
		{"monthly 31 03:00", "UTC", "2026-02-01 00:00 +0000", "2026-02-28 03:00 +0000"},
		{"monthly 30,31 03:00", "UTC", "2026-04-01 00:00 +0000", "2026-04-30 03:00 +0000"},
		{"monthly last 03:00", "UTC", "2028-02-01 00:00 +0000", "2028-02-29 03:00 +0000"},
		{"monthly first Sun 04:00", "UTC", "2026-11-20 00:00 +0000", "2026-12-06 04:00 +0000"},
		{"monthly last Fri 04:00", "UTC", "2026-11-20 04:00 +0000", "2026-11-27 04:00 +0000"},
		{"monthly second,fourth Tue", "UTC", "2026-11-11 00:00 +0000", "2026-11-24 00:00 +0000"},
		{"yearly", "UTC", "2026-11-20 00:00 +0000", "2027-01-01 00:00 +0000"},
		{"yearly 02-29 05:00", "UTC", "2026-11-20 00:00 +0000", "2027-02-28 05:00 +0000"},
		{"yearly 02-29 05:00", "UTC", "2027-11-20 00:00 +0000", "2028-02-29 05:00 +0000"},
		{"every 6h", "Europe/Berlin", "2026-11-20 07:00 +0100", "2026-11-20 12:00 +0100"},
		{"every 90m", "UTC", "2026-11-20 00:00 +0000", "2026-11-20 01:30 +0000"},
		{"every 1d", "UTC", "2026-11-20 00:00 +0000", "2026-11-21 00:00 +0000"},
		{"every 5h", "UTC", "2026-11-20 00:01 +0000", "2026-11-20 05:01 +0000"},
		{"every 2w", "UTC", "2026-11-20 00:01 +0000", "2026-12-04 00:01 +0000"},
		{"30 2 * * 1-5", "UTC", "2026-11-20 02:30 +0000", "2026-11-23 02:30 +0000"},
		{"*/20 8-18/5 * * *", "UTC", "2026-11-20 08:40 +0000", "2026-11-20 13:00 +0000"},
		{"0 0 13 * fri", "UTC", "2026-11-20 00:00 +0000", "2026-11-27 00:00 +0000"},
		{"0 0 13 * 5", "UTC", "2026-12-11 00:00 +0000", "2026-12-13 00:00 +0000"},
		{"0 0 * feb 7", "UTC", "2026-11-20 00:00 +0000", "2027-02-07 00:00 +0000"},
		{"0 0 29 2 *", "UTC", "2096-03-01 00:00 +0000", "2104-02-29 00:00 +0000"},
		{"0 0 30 2 *", "UTC", "2026-11-20 00:00 +0000", ""},
		{"manual", "UTC", "2026-11-20 00:00 +0000", ""},
	} {
		loc := load(t, c.zone)
		after, err := time.Parse(form, c.after)
		if err != nil {
			t.Fatal(err)
		}
		s := must(t, c.text)
		got := s.Next(after, loc)
		if text := got.Format(form); c.want == "" && !got.IsZero() || c.want != "" && text != c.want {
			t.Errorf("%q in %s after %s: %s, want %s", c.text, c.zone, c.after, text, c.want)
		}
		if s.String() != c.text {
			t.Errorf("%q is %q", c.text, s)
		}
		if !got.IsZero() && !s.Counted() && !s.Last(got, loc).Equal(got) {
			t.Errorf("%q: the last one at %s is %s", c.text, got, s.Last(got, loc))
		}
	}
}

var texts = []string{
	"hourly", "hourly :15", "daily", "daily 02:30", "daily 02:00", "daily 01:45,02:15,03:00,23:59", "weekly Sun 02:30", "Mon-Fri 22:00", "Sat,Sun 01:30,02:30", "monthly 31 02:30", "monthly last", "monthly first Sun 02:05",
	"yearly 03-29,10-25 02:30", "every 15m", "every 6h", "every 90m", "* * * * *", "*/7 0-3 * * *", "0 0 29 2 *", "15 2 8 * 0", "30 2 29 3 *",
}

var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Cairo", "America/Havana", "Pacific/Apia", "Africa/Casablanca"}

// naive finds moments by looking at a clock every minute: one is where the hands first show what the rule says, or pass over it.
func naive(r *rule, from, to time.Time, loc *time.Location) []time.Time {
	hits := func(w time.Time) bool {
		return r.matches(w.Truncate(24*time.Hour)) && slices.Contains(r.times, w.Hour()*60+w.Minute())
	}
	start := from.Add(-50 * time.Hour)
	newest := wall(start, loc)
	var out []time.Time
	for t := start.Add(time.Minute); !t.After(to); t = t.Add(time.Minute) {
		hit := false
		for w := wall(t, loc); newest.Before(w); {
			newest = newest.Add(time.Minute)
			hit = hit || hits(newest)
		}
		if hit && !t.Before(from) {
			out = append(out, t)
		}
	}
	return out
}

// TestNaive holds Next, Last and Due to a reference that looks at the clock every minute, around the changes of all kinds of zones and elsewhere.
func TestNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	starts := []string{"2026-03-27", "2026-10-23", "2026-03-06", "2026-10-30", "2026-10-02", "2026-04-03", "2011-12-28", "2028-02-27", "2026-04-22", "2026-02-13", "2026-12-30"}
	for _, zone := range zones {
		loc := load(t, zone)
		for _, start := range starts {
			from, _ := time.Parse("2006-01-02", start)
			to := from.Add(5 * 24 * time.Hour)
			for _, text := range texts {
				s := must(t, text)
				want := naive(s.rule, from, to, loc)
				var got []time.Time
				for at := s.Next(from.Add(-time.Second), loc); !at.IsZero() && !at.After(to); at = s.Next(at, loc) {
					got = append(got, at)
				}
				if !slices.EqualFunc(got, want, time.Time.Equal) {
					t.Fatalf("%q in %s from %s:\n%v\nwant\n%v", text, zone, start, got, want)
				}
				for range 3 {
					at := from.Add(time.Duration(random.Int64N(int64(to.Sub(from)))))
					i, found := slices.BinarySearchFunc(want, at, time.Time.Compare)
					if found {
						i++
					}
					if last := s.Last(at, loc); i > 0 && !last.Equal(want[i-1]) || i == 0 && !last.Before(from) {
						t.Fatalf("%q in %s: last at %s is %s, want %v", text, zone, at, last, want[:i])
					}
					before := from.Add(time.Duration(random.Int64N(int64(at.Sub(from) + 1))))
					j, found := slices.BinarySearchFunc(want, before, time.Time.Compare)
					if found {
						j++
					}
					due, moment, missed := s.Due(before, at, loc)
					if due != (j < i) || due && (!moment.Equal(want[i-1]) || missed != min(i-j-1, MaxMissed)) || !due && !moment.Equal(s.Next(at, loc)) {
						t.Fatalf("%q in %s, run at %s, now %s: due %v for %s, missed %d, want %v", text, zone, before, at, due, moment, missed, want[j:i])
					}
				}
			}
		}
	}
}

// TestInverse: Last of Next, and Next of what is just before a moment, come back to it, with spreads, too.
func TestInverse(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, zone := range zones {
		loc := load(t, zone)
		for _, text := range texts {
			for _, spread := range []string{"", " ~30m", " ~1m"} {
				s, err := Parse(text + spread)
				if err != nil {
					continue // longer than its pace
				}
				s = s.WithKey(zone + text)
				at := time.Unix(random.Int64N(2_500_000_000), random.Int64N(1e9))
				next := s.Next(at, loc)
				last := s.Last(at, loc)
				switch {
				case !next.After(at) || last.After(at):
					t.Fatalf("%q in %s at %s: %s, %s", text, zone, at, last, next)
				case !s.Last(next, loc).Equal(next) || !s.Last(next.Add(-1), loc).Equal(last):
					t.Fatalf("%q in %s at %s: next %s, its last %s, the one before %s, want %s", text, zone, at, next, s.Last(next, loc), s.Last(next.Add(-1), loc), last)
				case !last.IsZero() && (!s.Next(last, loc).Equal(next) || !s.Next(last.Add(-1), loc).Equal(last)):
					t.Fatalf("%q in %s at %s: last %s, next of it %s, want %s", text, zone, at, last, s.Next(last, loc), next)
				}
			}
		}
	}
}

func TestDue(t *testing.T) {
	now := time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)
	daily, five, manual, never := must(t, "daily 02:30"), must(t, "every 5h"), must(t, "manual"), must(t, "0 0 30 2 *")
	for _, c := range []struct {
		s      Schedule
		last   time.Time
		due    bool
		at     time.Time
		missed int
	}{
		{daily, time.Time{}, true, now, 0},
		{five, time.Time{}, true, now, 0},
		{manual, time.Time{}, false, time.Time{}, 0},
		{Schedule{}, now.AddDate(0, 0, -9), false, time.Time{}, 0},
		{never, time.Time{}, false, time.Time{}, 0},
		{daily, now.Add(-time.Hour), false, time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC), 0},
		{daily, now.AddDate(0, 0, -1), true, time.Date(2026, 11, 20, 2, 30, 0, 0, time.UTC), 0},
		{daily, now.AddDate(0, 0, -31), true, time.Date(2026, 11, 20, 2, 30, 0, 0, time.UTC), 30}, // slept for a month
		{must(t, "* * * * *"), now.AddDate(-1, 0, 0), true, now, MaxMissed},
		{daily, now.Add(30 * time.Minute), false, time.Date(2026, 11, 21, 2, 30, 0, 0, time.UTC), 0},
		{daily, now.Add(61 * time.Minute), true, now, 0}, // the clock was set back
		{daily, now.AddDate(30, 0, 0), true, now, 0},     // it stood wrong before
		{daily, time.Unix(1<<62, 0), true, now, 0},       // nonsense
		{daily, time.Unix(-1<<62, 0), true, now, 0},      // nonsense
		{daily, time.Unix(0, 0), true, time.Date(2026, 11, 20, 2, 30, 0, 0, time.UTC), MaxMissed},
		{five, now.Add(-4 * time.Hour), false, now.Add(time.Hour), 0},
		{five, now.Add(-5 * time.Hour), true, now, 0},
		{five, now.Add(-16 * time.Hour), true, now.Add(-time.Hour), 2},
		{five, now.Add(20 * time.Minute), false, now.Add(5 * time.Hour), 0},
	} {
		due, at, missed := c.s.Due(c.last, now, time.UTC)
		if due != c.due || !at.Equal(c.at) || missed != c.missed {
			t.Errorf("%q, last run %s: %v for %s, missed %d; want %v, %s, %d", c.s, c.last, due, at, missed, c.due, c.at, c.missed)
		}
	}
}

func TestSpread(t *testing.T) {
	s := must(t, "daily 02:30 ~30m")
	base := time.Date(2026, 11, 20, 2, 30, 0, 0, time.UTC)
	seen := map[time.Time]bool{}
	for _, key := range []string{"", "a", "b", "nas photos", "nas music", "x"} {
		k := s.WithKey(key)
		at := k.Next(base.Add(-time.Hour), time.UTC)
		if d := at.Sub(base); d < 0 || d >= 30*time.Minute || !at.Equal(s.WithKey(key).Next(base.Add(-time.Hour), time.UTC)) {
			t.Errorf("%q: %s", key, at)
		}
		if k.String() != s.String() || k.Spread() != 30*time.Minute {
			t.Errorf("%q, %s", k, k.Spread())
		}
		seen[at] = true
	}
	if len(seen) < 5 {
		t.Errorf("%v", seen)
	}
	if at := s.Next(base.Add(-time.Hour), time.UTC); !at.Equal(base) {
		t.Errorf("without a key: %s", at)
	}
}

func TestPace(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string][2]time.Duration{
		"hourly": {time.Hour, time.Hour}, "daily 02:30": {day, day}, "daily 02:30,14:30": {day / 2, day / 2}, "weekly": {7 * day, 7 * day}, "Mon-Fri 22:00": {day, 3 * day}, "monthly": {31 * day, 31 * day},
		"yearly": {365 * day, 366 * day}, "every 6h": {6 * time.Hour, 6 * time.Hour}, "every 3d": {3 * day, 3 * day}, "manual": {}, "0 0 30 2 *": {}, "0 8-18 * * 1-5": {time.Hour, 62 * time.Hour},
		"0 0 29 2 *": {1461 * day, 1461 * day},
	} {
		s := must(t, text)
		if got := [2]time.Duration{s.Pace(), s.Longest()}; got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestBad(t *testing.T) {
	for text, nearest := range map[string]string{
		"": "", "   ": "", "dayly 02:30": "daily", "Hourli": "hourly", "daily 25:00": "", "daily 24:00": "", "daily 2:5": "", "daily 02:30 03:30": "", "daily 02:30,": "", "hourly 15": "", "hourly :60": "", "hourly :15 x": "",
		"weekly Son 04:00": "Mon", "Mon-Fry 22:00": "Fri", "Mom-Fri 22:00": "Mon", "monthly 0": "", "monthly 32": "", "monthly lst": "last", "monthly frist Sun": "first", "monthly 1 Sun": "", "yearly 02-30": "", "yearly 13-01": "", "yearly 1": "",
		"every": "", "every 6": "", "every 30s": "", "every 90s": "", "every 11y": "", "every 6h 7h": "", "every 5h ~30m": "", "daily ~30": "", "daily ~0s": "", "hourly ~2h": "", "* * * *": "", "60 * * * *": "", "* 24 * * *": "",
		"* * 0 * *": "", "* * * 13 *": "", "* * * * 8": "", "*/0 * * * *": "", "5-1 * * * *": "", "* * * * * *": "", "30 2 * * mo": "", "a\x00b": "", "manual 02:30": "manual", strings.Repeat("daily ", 1000): "", "~30m": "",
	} {
		s, err := Parse(text)
		var e *Error
		if !errors.As(err, &e) || e.Nearest != nearest || e.Reason == "" {
			t.Errorf("%q: %+v, %#v", text, s, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range append(texts, "daily 02:30 ~30m", "0 0 30 2 *", "manual", "every 5h", "weekly Sun", "monthly fifth Mon", "@daily", "1,2,3 */4 1-5/2 jan-mar sun") {
		f.Add(text, int64(1774742400))
	}
	berlin := load(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		s, err := Parse(text)
		var e *Error
		if err != nil {
			if !errors.As(err, &e) {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		at := time.Unix(unix, 0)
		next, last := s.WithKey("x").Next(at, berlin), s.Last(at, berlin)
		if !next.IsZero() && !next.After(at) || last.After(at) {
			t.Errorf("%q at %s: %s, %s", text, at, last, next)
		}
		s.Due(at, at.AddDate(0, 1, 0), berlin)
		if s.Pace() > s.Longest() {
			t.Errorf("%q: %s, %s", text, s.Pace(), s.Longest())
		}
		if again, err := Parse(s.String()); err != nil || !again.Next(at, berlin).Equal(s.Next(at, berlin)) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

func BenchmarkNext(b *testing.B) {
	berlin := load(b, "Europe/Berlin")
	s := must(b, "Mon-Fri 22:00")
	at := time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)
	for b.Loop() {
		s.Next(at, berlin)
	}
}

func BenchmarkNever(b *testing.B) {
	s := must(b, "0 0 30 2 *")
	at := time.Date(2026, 11, 20, 15, 0, 0, 0, time.UTC)
	for b.Loop() {
		s.Next(at, time.UTC)
	}
}
