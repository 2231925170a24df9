package job

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/notify"
	"firn/internal/retain"
)

// TestClockWasAhead: what was written down while the clock was years ahead keeps no job from running, hides no staleness, and no missed run, once the clock is right.
func TestClockWasAhead(t *testing.T) {
	ahead := start.AddDate(4, 0, 0)
	c := &clockwork{now: start, loc: time.UTC, host: "nas", catchUp: true}
	cycle := &Job{Name: "job", Cycle: retain.Cycle{Kind: retain.Simple, Frequency: 1, Diffs: 6, Fulls: 4}}
	for name, lines := range map[string][]Record{
		"not due":   {{Line: lineEnd, Start: ahead, End: ahead, Outcome: Done}, {Line: lineEnd, Start: ahead, End: ahead, Outcome: Skipped, Why: WhyNotDue, Next: ahead.AddDate(0, 0, 1)}},
		"succeeded": {{Line: lineEnd, Start: ahead, End: ahead, Outcome: Done}},
		"failed":    {{Line: lineEnd, Start: ahead, End: ahead, Outcome: Failed}},
	} {
		h := &History{}
		for i := range lines {
			h.fold(&lines[i])
		}
		if d := c.decide(cycle, h, Wish{Scheduled: true}); !d.Due {
			t.Errorf("%s: %+v", name, d)
		}
	}
	w := newWorld(t, "ok")
	j := &w.r.jobs[0]
	w.r.book(j).add(Record{Line: lineEnd, Start: ahead, End: ahead, Outcome: Done})
	w.r.book(j).add(Record{Line: lineMissed, Start: ahead, Moment: ahead, Missed: 1})
	if s := w.r.Status(w.r.Jobs(), 0)[0]; s.State != Stale || !s.Bad() {
		t.Errorf("a success in the future: %s", s.State)
	}
	w.run(Wish{Scheduled: true})
	w.clock.pass(4 * 24 * time.Hour)
	if d := w.r.Plan(w.r.Jobs(), Wish{Scheduled: true})[0].Decision; d.Missed != 3 {
		t.Errorf("missed: %+v", d)
	}
	w.c.Sources[0].FullEvery = 30 * 24 * time.Hour
	w.run(Wish{Scheduled: true})
	if all := w.children(); !slices.Contains(strings.Fields(all[len(all)-1]), "--full") {
		t.Errorf("no full after one in the future: %v", all)
	}
}

// TestStarved: runs that are stopped again and again are no failures, but somebody hears that none gets through, and that one does at last.
func TestStarved(t *testing.T) {
	w := newWorld(t, "limit")
	days := func(n int) {
		for range n {
			w.run(Wish{Scheduled: true})
			w.clock.pass(24 * time.Hour)
		}
	}
	days(6)
	if got := w.heard.events("limit"); slices.Contains(got, notify.Failure) {
		t.Fatalf("told of a first run that takes some nights: %v", got)
	}
	if s := w.r.Status(w.r.Jobs(), 0)[0]; s.State != Never {
		t.Errorf("%s", s.State)
	}
	days(3)
	if got := w.heard.events("limit"); !slices.Contains(got, notify.Failure) {
		t.Fatalf("nobody was told: %v", got)
	}
	if s := w.r.Status(w.r.Jobs(), 0)[0]; !s.Bad() {
		t.Errorf("%s", s.State)
	}
	outcome := func(rest string) notify.Message {
		id := w.r.jobs[0].ID
		w.c.Sources[0].Rest = "/fake/" + rest
		w.make()
		w.r.jobs[0].ID = id
		days(1)
		return w.heard.all[len(w.heard.all)-1]
	}
	if m := outcome("ok"); m.Event != notify.Recovered {
		t.Errorf("the end of it: %s", m.Event)
	}
	if m := outcome("limit"); m.Event != notify.Success {
		t.Errorf("one day without success: %s", m.Event)
	}
	if m := outcome("limit"); m.Event != notify.Failure || !strings.Contains(m.Error, "no run has got through") || m.LastSuccess.IsZero() || m.Failures < 1 {
		t.Errorf("two days without success: %+v", m)
	}
}

// TestCutOffAgain: who is cut off each time cannot tell of it; the next one does.
func TestCutOffAgain(t *testing.T) {
	w := newWorld(t, "limit")
	j := &w.r.jobs[0]
	w.r.book(j).add(Record{Line: lineEnd, Start: start, End: start, Outcome: Done})
	w.clock.pass(24 * time.Hour)
	w.r.book(j).add(Record{Line: lineBegin, Start: w.clock.Now()})
	w.clock.pass(24 * time.Hour)
	w.run(Wish{Scheduled: true})
	if got := w.heard.events("limit"); !slices.Equal(got, []notify.Event{notify.Failure, notify.Failure}) {
		t.Errorf("%v", got)
	}
}

// TestNeverBegun: a job that something keeps from its very first run is told of, too, and is still due.
func TestNeverBegun(t *testing.T) {
	for _, kind := range []string{"schedule", "cycle"} {
		w := newWorld(t)
		s := w.source("ok", "daily 02:30")
		if kind == "cycle" {
			s.Schedule, s.Cycle = parse(t, "manual"), retain.Cycle{Kind: retain.Simple, Frequency: 1, Diffs: 6, Fulls: 4}
		}
		w.make()
		if err := SetPause(w.dir, Pause{}); err != nil {
			t.Fatal(err)
		}
		for range 15 * 24 {
			if p := w.r.Plan(w.r.Jobs(), Wish{Scheduled: true}); !p[0].Decision.Due {
				t.Fatalf("%s: not due on %v: %+v", kind, w.clock.Now(), p[0].Decision)
			}
			w.run(Wish{Scheduled: true})
			w.clock.pass(time.Hour)
		}
		got := w.heard.events("ok")
		if least, most := 1, 15; len(got) < least || len(got) > most || slices.Contains(got, notify.Failure) {
			t.Errorf("%s: told %v", kind, got)
		}
		if s := w.r.Status(w.r.Jobs(), 0)[0]; !s.Bad() {
			t.Logf("%s: %s", kind, s.State)
		}
		if _, err := Resume(w.dir, w.clock.Now()); err != nil {
			t.Fatal(err)
		}
		if rep := w.run(Wish{Scheduled: true})["ok"]; rep.Outcome != Done {
			t.Errorf("%s: %+v", kind, rep)
		}
		if s := w.r.Status(w.r.Jobs(), 0)[0]; s.Bad() {
			t.Errorf("%s: %s", kind, s.State)
		}
	}
}

// TestHangs: a run that does not end is told of while it lasts, and does not pass for one that is at work.
func TestHangs(t *testing.T) {
	w := newWorld(t, "hang")
	j := &w.r.jobs[0]
	w.r.book(j).add(Record{Line: lineEnd, Start: start.AddDate(0, 0, -1), End: start.AddDate(0, 0, -1), Outcome: Done})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	end := w.begin(ctx, Wish{Scheduled: true})
	w.working("hang")
	state := func() State { return w.r.Status(w.r.Jobs(), 0)[0].State }
	if s := state(); s != Running {
		t.Errorf("at first: %s", s)
	}
	for late := time.Now().Add(time.Minute); !slices.Contains(w.heard.events("hang"), notify.Failure) && time.Now().Before(late); time.Sleep(time.Millisecond) {
		w.clock.pass(time.Minute)
	}
	w.clock.pass(time.Hour)
	if s := state(); s != Stale {
		t.Errorf("while it hangs: %s", s)
	}
	cancel()
	w.await(end)
	if got := w.heard.events("hang"); len(got) < 2 || got[0] != notify.Failure {
		t.Errorf("%v", got)
	}
}
