package job

import (
	"time"
)

// State is how a job stands.
type State string

// The states.
const (
	OK      State = "ok"
	Running State = "running"
	DueNow  State = "due"    // and not stale
	Stale   State = "stale"  // the last success is too old
	Failing State = "failed" // the last run failed
	Paused  State = "paused"
	Off     State = "off"
	Never   State = "never" // no success is known
)

// Status is how a job stands, by its ledger.
type Status struct {
	Job       *Job
	State     State
	Success   *Record       // the last one; nil: none is known
	Last      *Record       // the last run, skipped ones left out
	Skip      *Record       // why it was last not run, where nothing has run since
	Age       time.Duration // of the last success; 0: none
	StaleTime time.Duration // how old it may be; 0: any age
	Due       bool
	Blocked   Why // what keeps it from running although it is due
	Next      time.Time
	Misses    int // moments that nothing served since the last success
	Failures  int
	Runner    *HeldError // who runs it
	CutOff    bool       // the last run was cut off, and goes on at the next
	Pause     *Pause

	ahead bool // the last success lies ahead of the clock: nobody knows how old it is
	none  bool // there is none, although the job is known for long
	long  bool // it has been at work for longer than a success may be old
}

// Old reports whether the last success is older than it may be, or there should have been one long ago.
func (s *Status) Old() bool {
	return s.none || s.StaleTime > 0 && (s.ahead || s.Age > s.StaleTime)
}

// Bad reports whether somebody should look.
func (s *Status) Bad() bool { return s.State == Stale || s.State == Failing }

// Status tells how each of jobs stands, in their order, by what this machine remembers: no request is made. older, where it is not 0, is how old the last success may be, whatever the
// configuration says.
func (r *Runner) Status(jobs []Job, older time.Duration) []Status {
	all := make([]Status, 0, len(jobs))
	look := r.look()
	for i := range jobs {
		all = append(all, r.status(&jobs[i], look, older))
	}
	return all
}

func (r *Runner) status(j *Job, look *looked, older time.Duration) Status {
	c := r.clockwork()
	p := r.plan(j, Wish{Scheduled: true}, look)
	h := p.history
	s := Status{Job: j, Success: h.Success, Last: h.Last, Skip: h.Skip, StaleTime: c.staleAfter(j), Due: p.Decision.Due, Blocked: p.Decision.Blocked, Next: p.Next, Misses: h.Misses + p.Decision.Missed,
		Failures: h.Failures, Pause: look.pause}
	if older > 0 && (j.Kind == Backup || s.StaleTime > 0) {
		s.StaleTime = older
	}
	if s.Due {
		s.Next = c.now
		if s.Blocked != "" {
			s.Next = p.Decision.Until
		}
	}
	if h.Success != nil {
		s.Age = max(c.now.Sub(h.Success.End), time.Second)
		s.ahead = believed(h.Success.End, c.now).IsZero()
	}
	s.none = h.Success == nil && c.staleFor(j, h, c.now) > 0
	if h.Begun != nil {
		s.Runner = holds(r.dir(j), j.Name)
		s.CutOff = s.Runner == nil
		limit := c.patience(j, h)
		s.long = limit > 0 && c.now.Sub(h.Begun.Start) > limit
	}
	s.State = s.state(j)
	if s.State == Never && older > 0 && j.Kind == Backup {
		s.State = Stale
	}
	return s
}

// state puts it into a word: what is worse comes first.
func (s *Status) state(j *Job) State {
	stale := s.Old()
	switch {
	case j.Off:
		return Off
	case s.Runner != nil && !(stale && s.long):
		return Running
	case s.Last != nil && s.Last.Outcome == Failed && s.Failures > 0:
		return Failing
	case stale:
		return Stale
	case s.Success == nil && s.Pause == nil:
		return Never
	case s.Pause != nil:
		return Paused
	case s.Due:
		return DueNow
	}
	return OK
}
