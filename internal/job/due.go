package job

import (
	"time"

	"firn/internal/retain"
	"firn/internal/schedule"
)

// Cause is why a job is due.
type Cause string

// The causes.
const (
	BySchedule Cause = "schedule"
	ByCycle    Cause = "cycle"
	NeverRun   Cause = "never run"
	GoesOn     Cause = "partial" // the last run did not get through
	Again      Cause = "failed"  // the last run failed, and somebody is there to look
	Asked      Cause = "asked"
)

// Decision says whether a job is to run.
type Decision struct {
	Due    bool
	Cause  Cause     // where it is due
	Moment time.Time // of the schedule or the cycle that is served, or, where it is not due, that is next; zero: none
	Missed int       // moments besides that nothing served, and that were not told yet
	Passed bool      // the moment was missed, too: it is too late for it, and what was missed is not caught up on

	Blocked Why       // due, but not now: window, paused, allowance; empty: it may run
	Until   time.Time // Blocked: when it may, as far as known
}

// fresh is how late a moment may be served where what was missed is not caught up on. Whoever wakes runners up does so to the minute, or within a random delay.
const fresh = time.Hour

// Wish is what the caller of a plan wants beside what is due.
type Wish struct {
	Asked     bool // by name, by a person: due whatever the schedule says
	Forced    bool // whatever else stands in the way: the cycle, the window, a pause, that it is off
	Scheduled bool // nobody is there to look: what failed waits for its next moment
}

// clockwork is what decisions need of the world.
type clockwork struct {
	now     time.Time
	loc     *time.Location
	host    string // spreads the moments of a fleet
	catchUp bool
}

// scheduleOf is the schedule of a job with its place in a spread.
func (c *clockwork) scheduleOf(j *Job) schedule.Schedule {
	return j.Timing.Schedule.WithKey(c.host + "\n" + j.Name)
}

// decide says whether a job is due, by its ledger alone. Blocked is left to block.
func (c *clockwork) decide(j *Job, h *History, w Wish) Decision {
	if w.Forced || w.Asked && !j.Off {
		return Decision{Due: true, Cause: Asked, Moment: c.now}
	}
	if j.Off {
		return Decision{}
	}
	if w.Scheduled && h.spent() {
		return c.later(j, h)
	}
	d := c.planned(j, h)
	switch {
	case h.Begun != nil || h.Last != nil && h.Last.Outcome == Partial:
		if !d.Due || d.Passed {
			d.Due, d.Passed, d.Moment = true, false, c.now
		}
		d.Cause = GoesOn
	case !d.Due && !w.Scheduled && h.Last != nil && h.Last.Outcome == Failed && !c.manual(j):
		d.Due, d.Cause, d.Moment = true, Again, c.now
	}
	return d
}

// spent reports whether the last run was stopped since it had all the time that one may have: what is left is for the next moment, or it would have no end.
func (h *History) spent() bool {
	return h.Begun == nil && h.Last != nil && h.Last.Outcome == Partial && h.Last.Why == WhyDuration
}

// later decides for a job of which the last run took all its time.
func (c *clockwork) later(j *Job, h *History) Decision {
	as := *h
	as.Served = h.Last.Start
	d := c.planned(j, &as)
	if again := h.Last.End.Add(24 * time.Hour); d.Due && j.Timing.Schedule.IsZero() && c.now.Before(again) && !h.Last.End.After(c.now) {
		return Decision{Moment: again} // a slot of its cycle has no moments: one run a day
	}
	if d.Due {
		d.Cause = GoesOn
	}
	return d
}

// manual reports whether a job has no time of its own.
func (c *clockwork) manual(j *Job) bool { return j.Timing.Schedule.IsZero() && j.Cycle.Kind == "" }

// planned is what schedule and cycle say.
func (c *clockwork) planned(j *Job, h *History) Decision {
	switch {
	case c.manual(j):
		return Decision{}
	case j.Timing.Schedule.IsZero():
		return c.byCycle(j, h)
	}
	s := c.scheduleOf(j)
	since := h.since()
	served := h.Served
	if served.IsZero() {
		served = since // it was tried, at least
	}
	due, at, _ := s.Due(served, c.now, c.loc)
	if !due {
		return Decision{Moment: at}
	}
	d := Decision{Due: true, Cause: BySchedule, Moment: at}
	if served.IsZero() {
		d.Cause = NeverRun
		return d
	}
	if j.Cycle.Kind != "" {
		cycle := c.byCycle(j, h)
		if !cycle.Due {
			return Decision{Moment: s.Next(cycle.Moment.Add(-time.Second), c.loc)}
		}
		if at.Before(cycle.Moment) { // the moment belongs to a slot that has its backup
			return Decision{Moment: s.Next(c.now, c.loc)}
		}
	}
	d.Missed = c.missed(s, since, at)
	if j.Cycle.Kind != "" {
		d.Missed = 0 // a slot that was missed cannot be made up for, nor told from one that was not due
	}
	if !c.catchUp && !s.Counted() && !c.isFresh(j, at) {
		d.Due, d.Passed = false, at.After(since)
		if d.Passed {
			d.Missed++
		}
		d.Moment = at
	}
	return d
}

// since is up to when moments need no counting: they were counted, or the job was at work, also where it was stopped, or cut off later.
func (h *History) since() time.Time {
	from := h.Counted
	for _, r := range []*Record{h.Last, h.Begun} {
		if r != nil && r.Start.After(from) {
			from = r.Start
		}
		if r != nil && r.End.After(from) {
			from = r.End
		}
	}
	return from
}

// missed counts the moments after since and before at.
func (c *clockwork) missed(s schedule.Schedule, since, at time.Time) int {
	if since.IsZero() || since.After(c.now) {
		return 0
	}
	due, newest, n := s.Due(since, c.now, c.loc)
	if !due || newest.After(at) {
		return 0
	}
	return n
}

// isFresh reports whether a moment can still be served, where what was missed is not caught up on: not long after it, or after its window opened.
func (c *clockwork) isFresh(j *Job, at time.Time) bool {
	late := fresh
	if pace := j.Timing.Schedule.Pace(); pace > 0 {
		late = min(late, pace/2)
	}
	if w := j.Timing.Window; !w.IsZero() && !w.Open(at, c.loc) {
		if at = w.Opens(at, c.loc); at.IsZero() || at.After(c.now) {
			return true // it has not opened yet
		}
	}
	return c.now.Sub(at) <= late
}

// byCycle is what the cycle plans, with the successes of this machine as its snapshots.
func (c *clockwork) byCycle(j *Job, h *History) Decision {
	if h.Next.After(c.now) {
		return Decision{Moment: h.Next}
	}
	var snaps []retain.Snapshot
	if h.Success != nil {
		snaps = append(snaps, retain.Snapshot{Time: h.Success.Start, Sequence: 1, Done: true})
	}
	due, _, when := j.Cycle.Next(snaps, c.now, c.loc)
	d := Decision{Due: due, Cause: ByCycle, Moment: when}
	if failed := h.Failure; due && failed != nil && !failed.Start.Before(when) && (h.Success == nil || failed.Start.After(h.Success.Start)) {
		return Decision{Moment: j.nextSlot(c, failed.Start)} // its run of this slot failed; somebody has been told
	}
	return d
}

// nextSlot is the begin of the slot after the one that a run had.
func (j *Job) nextSlot(c *clockwork, run time.Time) time.Time {
	_, _, when := j.Cycle.Next([]retain.Snapshot{{Time: run, Sequence: 1, Done: true}}, c.now, c.loc)
	return when
}

// next is when a job is due as things stand, after now; zero: not by itself. Where it is due now it is the moment after that.
func (c *clockwork) next(j *Job, h *History) time.Time {
	switch {
	case j.Off || c.manual(j):
		return time.Time{}
	case j.Timing.Schedule.IsZero():
		return j.nextSlot(c, c.now)
	case j.Timing.Schedule.Counted():
		from := h.Served
		if from.IsZero() || from.After(c.now) {
			from = c.now
		}
		if at := c.scheduleOf(j).Next(from, c.loc); at.After(c.now) {
			return at
		}
	}
	return c.scheduleOf(j).Next(c.now, c.loc)
}

// block says what keeps a due job from running now. It asks sent only where the repository has an allowance.
func (c *clockwork) block(j *Job, d *Decision, w Wish, pause *Pause, sent func() int64) {
	if !d.Due || w.Forced {
		return
	}
	switch window := j.Timing.Window; {
	case pause != nil:
		d.Blocked, d.Until = WhyPause, pause.Until
	case !window.IsZero() && !window.Open(c.now, c.loc):
		d.Blocked, d.Until = WhyWindow, window.Opens(c.now, c.loc)
	case j.sends() && j.target().UploadPerMonth > 0 && sent() >= int64(j.target().UploadPerMonth):
		y, m, _ := c.now.In(c.loc).Date()
		d.Blocked, d.Until = WhyAllowance, time.Date(y, m+1, 1, 0, 0, 0, 0, c.loc)
	}
}

// sends reports whether a job stores content, of which an allowance may be left.
func (j *Job) sends() bool { return j.Kind == Backup || j.Kind == Copy }

// staleAfter is how old the last success of a job may be; 0: any age.
func (c *clockwork) staleAfter(j *Job) time.Duration {
	if j.Timing.StaleAfter > 0 {
		return j.Timing.StaleAfter
	}
	var pace time.Duration
	if !j.Timing.Schedule.IsZero() {
		pace = j.Timing.Schedule.Longest()
	}
	if j.Cycle.Kind != "" {
		pace = max(pace, time.Duration(j.Cycle.Frequency)*24*time.Hour)
	}
	return pace + pace/2
}
