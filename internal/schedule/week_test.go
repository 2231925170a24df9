package schedule

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"firn/internal/units"
)

func TestWindow(t *testing.T) {
	w, err := ParseWindow("Mon-Fri 22:00-06:00, Sat-Sun")
	if err != nil {
		t.Fatal(err)
	}
	loc := load(t, "Europe/Berlin")
	for text, open := range map[string]bool{
		"2026-11-20 21:59 +0100": false, "2026-11-20 22:00 +0100": true, "2026-11-21 05:59 +0100": true, "2026-11-21 12:00 +0100": true, "2026-11-22 23:59 +0100": true,
		"2026-11-23 00:00 +0100": false, "2026-11-23 03:00 +0100": false, "2026-11-23 22:00 +0100": true, "2026-11-24 05:59 +0100": true, "2026-11-24 06:00 +0100": false,
	} {
		at, _ := time.Parse(form, text)
		if w.Open(at, loc) != open {
			t.Errorf("%s: %v", text, !open)
		}
	}
	friday := time.Date(2026, 11, 20, 12, 0, 0, 0, loc)
	opens := w.Opens(friday, loc)
	if want := time.Date(2026, 11, 20, 22, 0, 0, 0, loc); !opens.Equal(want) {
		t.Errorf("opens %s", opens)
	}
	if closes := w.Closes(opens, loc); !closes.Equal(time.Date(2026, 11, 23, 0, 0, 0, 0, loc)) {
		t.Errorf("closes %s", closes)
	}
	if closes := w.Closes(friday, loc); !closes.Equal(friday) {
		t.Errorf("closed already, closes %s", closes)
	}
	for _, always := range []string{"Mon-Sun", "00:00-24:00", "00:00-12:00, 12:00-24:00", ""} {
		w, err := ParseWindow(always)
		if always == "" {
			w, err = Window{}, nil
		}
		if err != nil || !w.Open(friday, loc) || !w.Closes(friday, loc).IsZero() || !w.Opens(friday, loc).Equal(friday) {
			t.Errorf("%q: %v, closes %s", always, err, w.Closes(friday, loc))
		}
	}
	for text, nearest := range map[string]string{
		"": "", " ": "", ", ": "", "22:00": "", "22:00-22:00": "", "24:00-06:00": "", "22-06": "", "Mun 22:00-06:00": "Mon", "Mon-Fri 22:00-06:00 x": "", "Mon, , Tue": "", "Mon-Fri;": "", "Mon;Tue": "ok", "hello": "",
		"Mon 22:00-06:00 2M": "", strings.Repeat("Mon, ", 500): "",
	} {
		_, err := ParseWindow(text)
		var e *Error
		if nearest == "ok" {
			if err != nil {
				t.Errorf("%q: %v", text, err)
			}
		} else if !errors.As(err, &e) || e.Nearest != nearest {
			t.Errorf("%q: %#v", text, err)
		}
	}
}

func TestTimetable(t *testing.T) {
	loc := load(t, "Europe/Berlin")
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, loc)
	for text, want := range map[string]map[time.Duration]units.Size{
		"2M":                               {0: 2 * units.MiB, 100 * time.Hour: 2 * units.MiB},
		"off":                              {0: 0},
		"unlimited":                        {9 * time.Hour: 0},
		"Mon-Fri 08:00-18:00 2M":           {0: 0, 8 * time.Hour: 2 * units.MiB, 18*time.Hour - 1: 2 * units.MiB, 18 * time.Hour: 0, 5*24*time.Hour + 9*time.Hour: 0},
		"Mon-Fri 08:00-18:00 2M, else off": {9 * time.Hour: 2 * units.MiB, 20 * time.Hour: 0},
		"08:00-18:00 2M, 18:00-23:00 10 MB/s, else 1K":             {0: units.KiB, 9 * time.Hour: 2 * units.MiB, 19 * time.Hour: 10 * units.MB, 23 * time.Hour: units.KiB},
		"Mon 12:00-13:00 off, Mon 1M, Sun 23:00-01:00 5M, else 9M": {0: units.MiB, 12 * time.Hour: 0, 13 * time.Hour: units.MiB, 24 * time.Hour: 9 * units.MiB, 6*24*time.Hour + 23*time.Hour: 5 * units.MiB},
		"Sun 23:00-01:00 5M, else 9M":                              {0: 5 * units.MiB, time.Hour: 9 * units.MiB},
	} {
		var table Timetable
		if err := table.Set(text); err != nil || table.String() != text || table.Type() == "" {
			t.Errorf("%q: %q, %v", text, table, err)
			continue
		}
		for after, rate := range want {
			if got := table.At(monday.Add(after), loc); got != rate {
				t.Errorf("%q at %s: %s, want %s", text, after, got, rate)
			}
		}
	}
	for text, nearest := range map[string]string{
		"": "", "fast": "", "of": "off", "0": "", "-1": "", "Mon-Fri 08:00-18:00": "", "else off, 2M": "", "08:00-18:00 2M, els off": "else", "08:00-18:00 2M,": "", "Mon-Fri 8-18 2M": "", "2M 3M": "", "else": "",
	} {
		var e *Error
		if table, err := ParseTimetable(text); !errors.As(err, &e) || e.Nearest != nearest {
			t.Errorf("%q: %+v, %#v", text, table, err)
		}
	}
	var none Timetable
	if none.At(monday, loc) != 0 || !none.Changes(monday, loc).IsZero() || !none.IsZero() {
		t.Error("the zero value is a limit")
	}
}

// TestWeekNaive holds Closes, Opens and Changes to what is seen when one looks every minute.
func TestWeekNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for _, zone := range zones {
		loc := load(t, zone)
		for _, start := range []string{"2026-03-27", "2026-10-23", "2026-10-02", "2026-04-03", "2011-12-28", "2026-12-30"} {
			from, _ := time.Parse("2006-01-02", start)
			for _, text := range []string{"22:00-06:00 1M", "02:15-02:45 1M", "Sun 02:00-03:00 1M, else 2M", "Sat-Sun 5M", "Sun 23:30-00:30 1M, Mon 2M, 12:00-12:01 3M", "01:30-02:10 1K, else off", "00:00-23:59 1M"} {
				table, err := ParseTimetable(text)
				if err != nil {
					t.Fatal(err)
				}
				at := from.Add(time.Duration(random.Int64N(int64(24 * time.Hour))))
				for range 6 {
					got := table.Changes(at, loc)
					want := at.Truncate(time.Minute).Add(time.Minute)
					for table.At(want, loc) == table.At(at, loc) {
						want = want.Add(time.Minute)
					}
					if !got.Equal(want) {
						t.Fatalf("%q in %s at %s: changes %s, want %s", text, zone, at, got, want)
					}
					at = got
				}
			}
		}
	}
}

func FuzzWeek(f *testing.F) {
	for _, text := range []string{"22:00-06:00", "Mon-Fri 22:00-06:00, Sat-Sun", "2M", "Mon-Fri 08:00-18:00 2M, else off", "Mon,Wed 00:00-24:00"} {
		f.Add(text, int64(1774742400))
	}
	berlin := load(f, "Europe/Berlin")
	f.Fuzz(func(t *testing.T, text string, unix int64) {
		at := time.Unix(unix, 0)
		if w, err := ParseWindow(text); err == nil {
			if open := w.Opens(at, berlin); !open.IsZero() && (open.Before(at) || !w.Open(open, berlin)) {
				t.Errorf("%q opens %s, at %s", text, open, at)
			}
			if closes := w.Closes(at, berlin); !closes.IsZero() && (closes.Before(at) || w.Open(closes, berlin)) {
				t.Errorf("%q closes %s, at %s", text, closes, at)
			}
		}
		if table, err := ParseTimetable(text); err == nil {
			if next := table.Changes(at, berlin); !next.IsZero() && (!next.After(at) || table.At(next, berlin) == table.At(at, berlin)) || table.At(at, berlin) < 0 {
				t.Errorf("%q changes %s, at %s", text, next, at)
			}
		}
	})
}
