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
	since := h.since(c.now)
	served := h.Served
	if served.IsZero() {
		served = h.tried(c.now)
	}
	due, at, _ := s.Due(served, c.now, c.loc)
	if !due {
		return Decision{Moment: at}
	}
	d := Decision{Due: true, Cause: BySchedule, Moment: at}
	if served.IsZero() {
		d.Cause = NeverRun
		if at = s.Last(c.now, c.loc); !at.IsZero() { // what kept it from its first run may do so for long
			d.Missed = c.missed(s, latest(believed(h.First, c.now), since), at)
		}
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
		d.Missed = c.starved(j, h) // a slot that was missed cannot be made up for, nor told from one that was not due
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

// believed is a time that was remembered, or none where it lies ahead: the clock was wrong when it was written down, and has been set back since.
func believed(t, now time.Time) time.Time {
	if t.After(now.Add(schedule.Skew)) {
		return time.Time{}
	}
	return t
}

// since is up to when moments need no counting: they were counted, or the job was at work, also where it was stopped, or cut off later.
func (h *History) since(now time.Time) time.Time {
	return latest(believed(h.Counted, now), h.tried(now))
}

// tried is when the job was last at work; zero: never.
func (h *History) tried(now time.Time) (at time.Time) {
	for _, r := range []*Record{h.Last, h.Begun} {
		if r != nil {
			at = latest(at, latest(believed(r.Start, now), believed(r.End, now)))
		}
	}
	return at
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// firstTime is how long a job may be without its first success where nobody has said otherwise: a first backup takes many nights.
const firstTime = 7 * 24 * time.Hour

// patience is how long a job may be without success; 0: for any time.
func (c *clockwork) patience(j *Job, h *History) time.Duration {
	limit := c.staleAfter(j)
	if limit > 0 && h.Success == nil && j.Timing.StaleAfter == 0 {
		limit = max(limit, firstTime)
	}
	return limit
}

// starved is 1 where a job of a cycle has been due for so long that somebody has to hear of it, and has not, else 0.
func (c *clockwork) starved(j *Job, h *History) int {
	from := h.since(c.now)
	if from.IsZero() {
		from = believed(h.First, c.now)
	}
	if limit := c.patience(j, h); from.IsZero() || limit <= 0 || c.now.Sub(from) <= limit {
		return 0
	}
	return 1
}

// staleFor is how long a job has been without success where that is longer than it may be, else 0. One that never had any counts from when it was first looked at.
func (c *clockwork) staleFor(j *Job, h *History, at time.Time) time.Duration {
	from := h.First
	if h.Success != nil {
		from = h.Success.End
	}
	limit := c.patience(j, h)
	if from = believed(from, at); from.IsZero() || limit <= 0 || at.Sub(from) <= limit {
		return 0
	}
	return at.Sub(from)
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
	if h.Next.After(c.now) && (h.Skip == nil || !believed(h.Skip.Start, c.now).IsZero()) {
		return Decision{Moment: h.Next}
	}
	var snaps []retain.Snapshot
	if h.Success != nil {
		snaps = append(snaps, retain.Snapshot{Time: h.Success.Start, Sequence: 1, Done: true})
	}
	due, _, when := j.Cycle.Next(snaps, c.now, c.loc)
	d := Decision{Due: due, Cause: ByCycle, Moment: when}
	if failed := h.Failure; due && failed != nil && !believed(failed.Start, c.now).Before(when) && (h.Success == nil || failed.Start.After(h.Success.Start)) {
		return Decision{Moment: j.nextSlot(c, failed.Start)} // its run of this slot failed; somebody has been told
	}
	if due {
		d.Missed = c.starved(j, h)
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
