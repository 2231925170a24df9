package schedule

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestCalendar has systemd say when the next moments are, and compares.
func TestCalendar(t *testing.T) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here")
	}
	from := time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)
	for _, text := range []string{"hourly", "hourly :15,:45", "daily 02:30", "daily 02:30,14:30,14:45", "weekly", "Mon-Fri 22:00", "Mon,Thu 04:00", "monthly 1,15 03:00", "monthly last 03:00", "monthly 31 03:00",
		"monthly 30 03:00", "monthly 29 03:00", "monthly first Sun 04:00", "monthly last Sun 04:00", "monthly second,fifth Wed 01:00", "yearly 01-01 00:00", "yearly 02-29 05:00", "every 6h", "every 15m",
		"30 2 * * 1-5", "*/20 3,4 1,15 * 6", "0 0 13 * 5", "0 5 * 2,8 *", "daily 02:30 ~30m", "daily 02:30,23:30 ~12h", "Mon,Thu 23:00 ~2d", "hourly :10 ~50m", "monthly 3 01:00 ~5h"} {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		s = s.WithKey("nas")
		events := s.Calendar()
		if len(events) == 0 {
			t.Errorf("%s: no events", text)
			continue
		}
		cmd := exec.Command(program, append([]string{"calendar", "--iterations=12", "--base-time=" + from.Format("2006-01-02 15:04:05 UTC")}, events...)...)
		cmd.Env = append(os.Environ(), "TZ=UTC", "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %q: %v\n%s", text, events, err, out)
			continue
		}
		moments := map[string]bool{}
		for _, line := range strings.Split(string(out), "\n") {
			name, at, _ := strings.Cut(line, ": ")
			name = strings.TrimSpace(name)
			if name == "Next elapse" || strings.HasPrefix(name, "Iter. #") || strings.HasPrefix(name, "Iteration #") {
				moments[strings.TrimSpace(at)] = true
			}
		}
		if len(moments) < 8 {
			t.Fatalf("%s: %s", text, out)
		}
		at := from
		for range 8 {
			at = s.Next(at, time.UTC)
			if shown := at.Add(time.Minute - 1).Truncate(time.Minute).Format("Mon 2006-01-02 15:04:05 UTC"); !moments[shown] {
				t.Errorf("%s as %s: %s is none of %s", text, strconv.Quote(strings.Join(events, " | ")), shown, out)
				break
			}
		}
	}
}

func TestNoCalendar(t *testing.T) {
	for _, text := range []string{"manual", "every 5h", "monthly 3 23:59 ~1h", "yearly 05-05 23:59 ~1h"} {
		if s, err := Parse(text); err != nil || s.WithKey("nas").Calendar() != nil {
			t.Errorf("%s: %v, %v", text, s.Calendar(), err)
		}
	}
}
