package job

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/retain"
)

// TestMoments simulates months in which a machine is switched off, runs are cut off, stopped, fail and last for days. Each moment of the schedule is served, passed while the job was at work, or is
// counted as missed: once.
func TestMoments(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip(err)
	}
	for _, text := range []string{"hourly :15", "daily 02:30", "daily 02:30,14:30", "Mon-Fri 22:00", "weekly Sun 04:00", "monthly last 03:00", "daily 02:30 ~90m", "0 */3 * * *"} {
		for _, catchUp := range []bool{true, false} {
			for seed := range uint64(1) {
				t.Run(fmt.Sprintf("%s %v %d", text, catchUp, seed), func(t *testing.T) {
					simulate(t, text, catchUp, seed, berlin)
				})
			}
		}
	}
}

// life is one simulated job.
type life struct {
	t      *testing.T
	c      *clockwork
	j      *Job
	h      *History
	random *rand.Rand
	served map[time.Time]int
	busy   [][2]time.Time // when it was at work, without what was cut off
	missed int
	looked time.Time
}

func simulate(t *testing.T, text string, catchUp bool, seed uint64, loc *time.Location) {
	begin := time.Date(2026, 2, 1, 0, 7, 0, 0, loc) // with a change to summer time in it
	l := &life{t: t, c: &clockwork{now: begin, loc: loc, host: "nas", catchUp: catchUp}, j: &Job{Name: "job", Timing: config.Timing{Schedule: parse(t, text)}}, h: &History{},
		random: rand.New(rand.NewPCG(seed, 1)), served: map[time.Time]int{}}
	end := begin.AddDate(0, 2, 15)
	for l.c.now.Before(end) {
		if l.random.IntN(1500) == 0 { // off
			l.sleep(time.Duration(l.random.IntN(20*24)) * time.Hour)
		}
		l.look()
		l.sleep(20 * time.Minute)
	}
	l.account()
}

func (l *life) sleep(d time.Duration) { l.c.now = l.c.now.Add(d) }

// look is what a runner does.
func (l *life) look() {
	l.looked = l.c.now
	d := l.c.decide(l.j, l.h, Wish{Scheduled: true})
	if d.Missed > 0 {
		l.missed += d.Missed
		upTo := d.Moment
		if !d.Passed {
			upTo = upTo.Add(-time.Second)
		}
		l.h.fold(&Record{Line: lineMissed, Moment: upTo, Missed: d.Missed})
	}
	if again := l.c.decide(l.j, l.h, Wish{Scheduled: true}); again.Missed != 0 {
		l.t.Fatalf("%v: told twice: %+v after %+v", l.c.now, again, d)
	}
	if !d.Due {
		return
	}
	l.served[d.Moment]++
	began := l.c.now
	l.h.fold(&Record{Line: lineBegin, Start: began})
	long := time.Duration(l.random.IntN(40)) * time.Minute
	if l.random.IntN(20) == 0 {
		long *= 100
	}
	l.sleep(long)
	if l.random.IntN(15) == 0 {
		l.sleep(time.Duration(l.random.IntN(100)) * time.Hour) // cut off, and switched on again
		return
	}
	outcome := []Outcome{Done, Done, Done, Incomplete, Failed, Partial}[l.random.IntN(6)]
	why := Why("")
	if outcome == Partial && l.random.IntN(2) == 0 {
		why = WhyDuration
	}
	l.h.fold(&Record{Line: lineEnd, Start: began, End: l.c.now, Outcome: outcome, Why: why})
	l.busy = append(l.busy, [2]time.Time{began, l.c.now})
}

// account goes through all moments.
func (l *life) account() {
	s := l.c.scheduleOf(l.j)
	first := l.busy[0][0]
	moments, served, busy := 0, 0, 0
	for at := s.Next(first, l.c.loc); !at.After(l.looked); at = s.Next(at, l.c.loc) {
		moments++
		if l.served[at] > 0 {
			served++
			continue
		}
		for _, b := range l.busy {
			if at.After(b[0]) && !at.After(b[1]) {
				busy++
				break
			}
		}
	}
	if moments-served-busy != l.missed {
		l.t.Errorf("%d moments: %d served, %d while it was at work, %d missed", moments, served, busy, l.missed)
	}
	if served == 0 {
		l.t.Error("nothing was served")
	}
}

// TestCatchUp looks at a machine that slept for a month.
func TestCatchUp(t *testing.T) {
	j := &Job{Name: "job", Timing: config.Timing{Schedule: parse(t, "daily 02:30")}}
	h := &History{}
	h.fold(&Record{Line: lineEnd, Start: start, End: start.Add(time.Minute), Outcome: Done})
	c := &clockwork{now: start.AddDate(0, 1, 0), loc: time.UTC, catchUp: true}
	d := c.decide(j, h, Wish{Scheduled: true})
	if want := time.Date(2026, 3, 3, 2, 30, 0, 0, time.UTC); !d.Due || d.Missed != 27 || !d.Moment.Equal(want) {
		t.Errorf("%+v", d)
	}
	c.catchUp = false
	if d = c.decide(j, h, Wish{Scheduled: true}); d.Due || d.Missed != 28 || !d.Passed {
		t.Errorf("without catching up: %+v", d)
	}
	j.Timing.Window = parseWindow(t, "12:00-18:00")
	if d = c.decide(j, h, Wish{Scheduled: true}); !d.Due || d.Missed != 27 {
		t.Errorf("its window has just opened: %+v", d)
	}
	c.now = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if d = c.decide(j, h, Wish{Scheduled: true}); !d.Due {
		t.Errorf("a clock that was years ahead: %+v", d)
	}
}

// TestCycleDue goes through a fortnight of a cycle of two days, alone and with a schedule.
func TestCycleDue(t *testing.T) {
	cycle, err := retain.ParseCycle("simple frequency=2 diffs=3 fulls=2")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "daily 04:00"} {
		j := &Job{Name: "job", Cycle: cycle}
		if text != "" {
			j.Timing.Schedule = parse(t, text)
		}
		h, runs := &History{}, 0
		c := &clockwork{loc: time.UTC, catchUp: true}
		for at := start; at.Before(start.AddDate(0, 0, 14)); at = at.Add(10 * time.Minute) {
			c.now = at
			d := c.decide(j, h, Wish{Scheduled: true})
			if !d.Due {
				if d.Moment.IsZero() || !d.Moment.After(at) {
					t.Fatalf("%q: at %v the next is %v", text, at, d.Moment)
				}
				continue
			}
			if runs++; runs > 1 && (at.Sub(h.Success.Start) < 36*time.Hour || text != "" && at.Hour() != 4 || text == "" && at.Hour() != 0) {
				t.Errorf("%q: at %v", text, at)
			}
			h.fold(&Record{Line: lineEnd, Start: at, End: at, Outcome: Done})
		}
		if runs < 7 || runs > 8 {
			t.Errorf("%q: %d runs in 14 days", text, runs)
		}
		c.now = c.now.AddDate(0, 0, 3)
		h.fold(&Record{Line: lineEnd, Start: c.now, End: c.now, Outcome: Skipped, Why: WhyNotDue, Next: c.now.Add(5 * time.Hour)})
		if d := c.decide(j, h, Wish{Scheduled: true}); d.Due {
			t.Errorf("%q: due although the child says it is not", text)
		}
		if d := c.decide(j, h, Wish{Forced: true}); !d.Due {
			t.Errorf("%q: not even if forced", text)
		}
	}
}

// TestManual jobs run when they are asked for, and go on when they were stopped.
func TestManual(t *testing.T) {
	j := &Job{Name: "job"}
	h := &History{}
	c := &clockwork{now: start, loc: time.UTC, catchUp: true}
	if c.decide(j, h, Wish{}).Due || !c.decide(j, h, Wish{Asked: true}).Due || !c.next(j, h).IsZero() {
		t.Error("a manual job")
	}
	h.fold(&Record{Line: lineEnd, Start: start, End: start, Outcome: Failed})
	if c.decide(j, h, Wish{}).Due {
		t.Error("a manual job that failed")
	}
	h.fold(&Record{Line: lineEnd, Start: start, End: start, Outcome: Partial})
	if !c.decide(j, h, Wish{Scheduled: true}).Due {
		t.Error("a manual job that was stopped")
	}
	j.Off = true
	if c.decide(j, h, Wish{Asked: true}).Due || !c.decide(j, h, Wish{Forced: true}).Due {
		t.Error("a job that is off")
	}
}

// TestSpent looks at jobs that took all the time that they may have: they go on at their next moment, or when a person asks.
func TestSpent(t *testing.T) {
	cycle, err := retain.ParseCycle("simple frequency=7 diffs=3 fulls=2")
	if err != nil {
		t.Fatal(err)
	}
	h := &History{}
	h.fold(&Record{Line: lineEnd, Start: start, End: start.Add(time.Hour), Outcome: Partial, Why: WhyDuration})
	for _, c := range []struct {
		job   *Job
		after time.Duration // from the end of that run
		due   bool
	}{
		{&Job{Timing: config.Timing{Schedule: parse(t, "daily 02:30")}}, time.Minute, false},
		{&Job{Timing: config.Timing{Schedule: parse(t, "daily 02:30")}}, 14 * time.Hour, true},
		{&Job{Cycle: cycle}, 23 * time.Hour, false},
		{&Job{Cycle: cycle}, 24 * time.Hour, true},
		{&Job{}, 1000 * time.Hour, false},
	} {
		w := &clockwork{now: start.Add(time.Hour + c.after), loc: time.UTC, catchUp: true}
		if d := w.decide(c.job, h, Wish{Scheduled: true}); d.Due != c.due {
			t.Errorf("%+v: %+v", c, d)
		}
		if d := w.decide(c.job, h, Wish{}); !d.Due || d.Cause != GoesOn {
			t.Errorf("for a person: %+v", d)
		}
	}
}

// TestPause sets, reads and ends pauses.
func TestPause(t *testing.T) {
	w := newWorld(t, "ok")
	read := func() *Pause {
		p, err := ReadPause(w.dir, start)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if was, err := Resume(w.dir, start); was || err != nil || read() != nil {
		t.Fatal(was, err)
	}
	for _, p := range []Pause{{}, {Until: start.Add(2 * time.Hour)}} {
		if err := SetPause(w.dir, p); err != nil || *read() != p {
			t.Fatalf("%v, %+v", err, read())
		}
		d := w.r.Plan(w.r.Jobs(), Wish{Scheduled: true})[0].Decision
		if d.Blocked != WhyPause || !d.Until.Equal(p.Until) {
			t.Errorf("%+v", d)
		}
		if got := w.run(Wish{}); got["ok"].Outcome != Skipped || got["ok"].Why != WhyPause {
			t.Errorf("%+v", got)
		}
		if s := w.r.Status(w.r.Jobs(), 0)[0]; s.State != Paused {
			t.Errorf("%+v", s)
		}
	}
	w.clock.pass(2 * time.Hour)
	if d := w.r.Plan(w.r.Jobs(), Wish{Scheduled: true})[0].Decision; d.Blocked != "" {
		t.Errorf("after its end: %+v", d)
	}
	if was, err := Resume(w.dir, start); !was || err != nil || read() != nil {
		t.Error(was, err)
	}
	if SetPause("", Pause{}) == nil {
		t.Error("a pause was kept nowhere")
	}
	if err := writeFile(w.dir+"/paused", []byte("soon")); err != nil {
		t.Fatal(err)
	}
	if p, err := ReadPause(w.dir, start); p != nil || err == nil {
		t.Errorf("%+v, %v", p, err)
	}
}
