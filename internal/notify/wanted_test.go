package notify

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestWanted(t *testing.T) {
	hour := func(n int) time.Time { return at.Add(time.Duration(n) * time.Hour) }
	told := func(failures, hours int) History { return History{failures, hour(-hours)} }
	for name, c := range map[string]struct {
		rule   Rule
		before History
		m      Message
		want   bool
	}{
		"default failure":                    {Rule{}, History{}, Message{Event: Failure}, true},
		"default missed":                     {Rule{}, History{}, Message{Event: Missed}, true},
		"default success":                    {Rule{}, History{}, Message{Event: Success}, false},
		"default start":                      {Rule{}, History{}, Message{Event: Start}, false},
		"default recovered, told":            {Rule{}, told(1, 1), Message{Event: Recovered}, true},
		"default recovered, not told":        {Rule{}, History{Failures: 1}, Message{Event: Recovered}, false},
		"default test":                       {Rule{On: []Event{Start}}, History{}, Message{Event: Test}, true},
		"always success":                     {Rule{On: []Event{Always}}, History{}, Message{Event: Success}, true},
		"always start":                       {Rule{On: []Event{Always}}, History{}, Message{Event: Start}, false},
		"always and start":                   {Rule{On: []Event{Always, Start}}, History{}, Message{Event: Start}, true},
		"always failure, just told":          {Rule{On: []Event{Always}}, told(1, 0), Message{Event: Failure, Time: at}, true},
		"always recovered, not told":         {Rule{On: []Event{Always}}, History{}, Message{Event: Recovered}, true},
		"success takes recovered":            {Rule{On: []Event{Success}}, History{}, Message{Event: Recovered}, true},
		"success and failure":                {Rule{On: []Event{Success}}, History{}, Message{Event: Failure}, false},
		"goes on, told an hour ago":          {Rule{}, told(1, 1), Message{Event: Failure, Time: at}, false},
		"goes on, told yesterday":            {Rule{}, told(1, 23), Message{Event: Failure, Time: at}, true},
		"goes on, never again":               {Rule{Remind: -1}, told(1, 2300), Message{Event: Failure, Time: at}, false},
		"goes on, again after an hour":       {Rule{Remind: time.Hour}, told(1, 1), Message{Event: Failure, Time: at}, true},
		"goes on, was not delivered":         {Rule{}, History{Failures: 3}, Message{Event: Failure, Time: at}, true},
		"first of three":                     {Rule{After: 3}, History{}, Message{Event: Failure}, false},
		"second of three":                    {Rule{After: 3}, History{Failures: 1}, Message{Event: Failure}, false},
		"third of three":                     {Rule{After: 3}, History{Failures: 2}, Message{Event: Failure}, true},
		"third by the message":               {Rule{After: 3}, History{}, Message{Event: Failure, Failures: 3}, true},
		"three missed at once":               {Rule{After: 3}, History{}, Message{Event: Missed, Missed: 3}, true},
		"one failed, two missed":             {Rule{After: 3}, History{Failures: 1}, Message{Event: Missed, Missed: 2}, true},
		"two missed":                         {Rule{After: 3}, History{}, Message{Event: Missed, Missed: 2}, false},
		"missed only, fails":                 {Rule{On: []Event{Missed}}, History{}, Message{Event: Failure}, false},
		"missed only, fails for days":        {Rule{On: []Event{Missed}, After: 3}, History{Failures: 2}, Message{Event: Failure}, true},
		"failure only, missed":               {Rule{On: []Event{Failure}, After: 3}, History{Failures: 9}, Message{Event: Missed}, false},
		"after three, recovered from one":    {Rule{After: 3}, History{Failures: 1}, Message{Event: Recovered}, false},
		"always after three, only the first": {Rule{On: []Event{Always}, After: 3}, History{}, Message{Event: Failure}, false},
	} {
		if got := Wanted(c.rule, c.before, c.m); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestWantedStory runs jobs through good and bad times: trouble that lasts is told at its After-th run, its end once and only if its begin was told, and nothing in between before Remind.
func TestWantedStory(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 7))
		rule := Rule{After: rng.IntN(4), Remind: time.Duration(1+rng.IntN(50)) * time.Hour}
		h, now := History{}, at
		for range 200 {
			now = now.Add(time.Hour)
			m := Message{Event: Success, Time: now}
			bad := rng.IntN(3) > 0
			switch {
			case bad:
				m.Event, m.Failures = Failure, h.Failures+1
			case h.Failures > 0:
				m.Event = Recovered
			}
			wanted, delivered := Wanted(rule, h, m), rng.IntN(4) > 0
			should := false
			switch m.Event {
			case Failure:
				should = m.Failures >= rule.After && (h.Told.IsZero() || now.Sub(h.Told) >= rule.Remind)
			case Recovered:
				should = !h.Told.IsZero()
			}
			if wanted != should {
				t.Fatalf("seed %d: %+v %+v %s: %v", seed, rule, h, m.Event, wanted)
			}
			switch {
			case m.Event != Failure:
				h = History{}
			default:
				h.Failures++
				if wanted && delivered {
					h.Told = now
				}
			}
		}
	}
}
