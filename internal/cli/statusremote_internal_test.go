package cli

import (
	"testing"
	"time"

	"firn/internal/job"
)

// TestJudge: what is dated far ahead says nothing of how old the newest snapshot is, so it is no proof that all is well.
func TestJudge(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	x := &statusCommand{c: &console{now: func() time.Time { return now }}, older: 72 * time.Hour}
	for age, want := range map[time.Duration]job.State{time.Hour: job.OK, -time.Hour: job.OK, 73 * time.Hour: job.Stale, -4 * 365 * 24 * time.Hour: job.Stale} {
		j := remoteJSON{State: job.Never}
		if x.judge(&j, now.Add(-age)); j.State != want {
			t.Errorf("%v old: %s, want %s", age, j.State, want)
		}
	}
	x.older = 0
	j := remoteJSON{State: job.Never}
	if x.judge(&j, now.AddDate(4, 0, 0)); j.State != job.OK {
		t.Errorf("without --max-age: %s", j.State)
	}
}
