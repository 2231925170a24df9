package job

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/config"
	"firn/internal/event"
	"firn/internal/notify"
)

// Clock is what a runner needs of time.
type Clock interface {
	Now() time.Time
	// After returns a channel that gets the time once d has passed, and what gives it up.
	After(d time.Duration) (<-chan time.Time, func())
}

// System is the clock of the machine.
type System struct{}

// Now implements Clock.
func (System) Now() time.Time { return time.Now() }

// After implements Clock.
func (System) After(d time.Duration) (<-chan time.Time, func()) {
	t := time.NewTimer(d)
	return t.C, func() { t.Stop() }
}

// Reporter tells others what became of a job. A failure of it never changes what became of the job.
type Reporter interface {
	Report(ctx context.Context, j *Job, m notify.Message) error
}

// Options are what a Runner needs of the world.
type Options struct {
	Config   *config.Config    // not changed, also not by others, while the runner is in use
	Dir      string            // folder of ledgers, "jobs" in that of local state; empty: nothing is remembered, and nothing locked
	Program  []string          // this program, with arguments that come before the verb
	Version  string            // for reports
	Host     string            // as snapshots of this machine have it
	Clock    Clock             // nil: System
	Location *time.Location    // nil: time.Local
	Env      func() []string   // nil: os.Environ
	Log      *slog.Logger      // nil: none
	Reporter Reporter          // nil: nobody is told
	Grace    time.Duration     // that a child has to stop; 0: 2 minutes
	Telling  time.Duration     // that jobs wait for others to be told of what was missed; 0: a minute
	Notice   func(text string) // what a person should know beside the log; may be nil. Called by several goroutines
	Progress func(job string, e event.Event)
	Began    func(j *Job) // may be nil; called by several goroutines, as the next
	Ended    func(r *Result)
}

// Runner runs the jobs of one configuration. Its methods may be called by several goroutines at once.
type Runner struct {
	o     Options
	jobs  []Job
	month sync.Mutex // held while an allowance is looked up

	mu   sync.Mutex
	at   []*Job        // at work, of all calls of Run
	left chan struct{} // closed, and made anew, when one of them has ended
}

// New makes a runner. It touches nothing.
func New(o Options) *Runner {
	if o.Clock == nil {
		o.Clock = System{}
	}
	if o.Location == nil {
		o.Location = time.Local
	}
	if o.Env == nil {
		o.Env = os.Environ
	}
	if o.Log == nil {
		o.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if o.Telling == 0 {
		o.Telling = time.Minute
	}
	if o.Notice == nil {
		o.Notice = func(string) {}
	}
	if o.Grace == 0 {
		o.Grace = stopGrace
	}
	return &Runner{o: o, jobs: List(o.Config), left: make(chan struct{})}
}

// Jobs returns all jobs. They are not changed.
func (r *Runner) Jobs() []Job { return r.jobs }

// Planned is a job, and whether it is to run.
type Planned struct {
	Job      Job
	Decision Decision
	Next     time.Time // when it is due after this; zero: not by itself
	wish     Wish
	history  *History
}

// Untold reports whether there is something to be told, or written down for the first time, of a job that may not begin: Run does that.
func (p *Planned) Untold() bool {
	return p.Decision.Missed > 0 || p.Decision.Blocked != "" && p.history != nil && p.history.First.IsZero()
}

// Plan decides for each of jobs, in their order. It reads ledgers, and makes no request.
func (r *Runner) Plan(jobs []Job, w Wish) []Planned {
	all := make([]Planned, 0, len(jobs))
	look := r.look()
	for i := range jobs {
		all = append(all, r.plan(&jobs[i], w, look))
	}
	return all
}

// looked is what several decisions at once have in common.
type looked struct {
	pause *Pause
	sent  map[string]int64 // by repoKey, as far as it was asked for
}

func (r *Runner) look() *looked { return &looked{r.pause(), map[string]int64{}} }

func (r *Runner) plan(j *Job, w Wish, look *looked) Planned {
	c := r.clockwork()
	p := Planned{Job: *j, wish: w, history: r.book(j).read()}
	p.Decision = c.decide(j, p.history, w)
	c.block(j, &p.Decision, w, look.pause, func() int64 {
		key := repoKey(j)
		if _, ok := look.sent[key]; !ok {
			look.sent[key] = r.sent(j)
		}
		return look.sent[key]
	})
	p.Next = c.next(j, p.history)
	if d := &p.Decision; !d.Due && d.Moment.After(c.now) {
		p.Next = d.Moment
	}
	return p
}

// Next returns when the first of all jobs is due by itself, or when a paused or blocked one may go on; zero: never.
func (r *Runner) Next() (first time.Time) {
	now := r.o.Clock.Now()
	for _, p := range r.Plan(r.jobs, Wish{Scheduled: true}) {
		at := p.Next
		switch {
		case p.Decision.Due && p.Decision.Blocked == "":
			return now
		case p.Decision.Due:
			at = p.Decision.Until
		}
		if !at.IsZero() && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (r *Runner) clockwork() *clockwork {
	return &clockwork{now: r.o.Clock.Now(), loc: r.o.Location, host: r.o.Host, catchUp: r.o.Config.Run.CatchUp}
}

// dir is the folder of a job; empty: there is none.
func (r *Runner) dir(j *Job) string {
	if r.o.Dir == "" {
		return ""
	}
	return filepath.Join(r.o.Dir, safeName(j.Name))
}

func (r *Runner) book(j *Job) *book {
	return &book{dir: r.dir(j), of: j.ID, note: func(err error) { r.o.Log.Warn("ledger", "job", j.Name, "error", err) }}
}

// pause returns the pause that holds; nil: none.
func (r *Runner) pause() *Pause {
	p, err := ReadPause(r.o.Dir, r.o.Clock.Now())
	if err != nil {
		r.o.Log.Warn("pause", "error", err)
	}
	return p
}

// sent is what has gone to the repository of a job this month.
func (r *Runner) sent(j *Job) int64 {
	r.month.Lock()
	defer r.month.Unlock()
	return sentIn(r.o.Dir, repoKey(j), monthOf(r.o.Clock.Now(), r.o.Location))
}

// repoKey names the repository that a job sends to in ledgers.
func repoKey(j *Job) string { return identity("", j.target().Location) }

// Result is what became of a job.
type Result struct {
	Job       *Job
	Report    Report
	Path      string // of the report; empty: it is not kept
	Held      *HeldError
	Summary   string // one line
	Forgotten bool   // that it ended could not be written down: the ledger says that it is due
}

// Summary is what became of all.
type Summary struct {
	Results []Result // in the order in which they ended
	NotDue  int
	Missed  int // moments that nothing served
}

// Worst is the outcome that says most: failed, then incomplete, else done.
func (s *Summary) Worst() Outcome {
	worst := Done
	for i := range s.Results {
		switch s.Results[i].Report.Outcome {
		case Failed:
			return Failed
		case Incomplete:
			worst = Incomplete
		}
	}
	return worst
}

// Run runs what is due of a plan: at most Config.Run.Parallel jobs at once, in order, those of one repository by kind, and those that delete alone on theirs, also where it is called several times at
// once. One that fails does not keep the rest from running. Where ctx ends, what runs is told to stop, and what has not begun is skipped. It returns when all have ended.
func (r *Runner) Run(ctx context.Context, plan []Planned) *Summary {
	s := &Summary{}
	var queue []*Planned
	var untold []func(context.Context)
	for i := range plan {
		p := &plan[i]
		if p.Decision.Missed > 0 {
			s.Missed += p.Decision.Missed
			untold = append(untold, r.missed(p))
		}
		if p.Decision.Due {
			queue = append(queue, p)
		} else {
			s.NotDue++
		}
	}
	r.tellMissed(ctx, untold)
	ended := make(chan Result)
	mine := 0
	for len(queue)+mine > 0 {
		p, wait := r.admit(&queue)
		if p != nil {
			mine++
			go func() { ended <- r.one(ctx, p) }()
			continue
		}
		select {
		case res := <-ended:
			mine--
			r.leave(res.Job)
			s.Results = append(s.Results, res)
		case <-wait:
		}
	}
	return s
}

// admit takes a job that may begin out of a queue; nil: none may until wait is closed.
func (r *Runner) admit(queue *[]*Planned) (p *Planned, wait <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.at) >= max(r.o.Config.Run.Parallel, 1) {
		return nil, r.left
	}
	i := pick(*queue, r.at)
	if i < 0 {
		return nil, r.left
	}
	p = (*queue)[i]
	*queue, r.at = slices.Delete(*queue, i, i+1), append(r.at, &p.Job)
	return p, nil
}

// leave notes that a job has ended.
func (r *Runner) leave(j *Job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = slices.DeleteFunc(r.at, func(o *Job) bool { return o == j })
	close(r.left)
	r.left = make(chan struct{})
}

// pick chooses what may begin beside what is at work; negative: nothing may.
func pick(queue []*Planned, at []*Job) int {
	for i, p := range queue {
		free := true
		for _, other := range at {
			free = free && !clash(&p.Job, other)
		}
		for _, other := range queue {
			free = free && !(other.Job.Kind.phase() < p.Job.Kind.phase() && share(&p.Job, &other.Job))
		}
		if free {
			return i
		}
	}
	return -1
}

// clash reports whether two jobs may not be at work at once.
func clash(a, b *Job) bool {
	return share(a, b) && (a.exclusive() || b.exclusive() || a.Kind.phase() != b.Kind.phase())
}

// share reports whether two jobs work on one repository.
func share(a, b *Job) bool {
	return slices.ContainsFunc(a.touches(), func(name string) bool { return slices.Contains(b.touches(), name) })
}

// missed writes down that runs of a job should have been and were not. What it returns tells of them.
func (r *Runner) missed(p *Planned) (tell func(context.Context)) {
	d := &p.Decision
	now := r.o.Clock.Now()
	upTo := d.Moment
	switch {
	case p.Job.Cycle.Kind != "":
		upTo = now // it is not counted by moments
	case !d.Passed:
		upTo = upTo.Add(-time.Second)
	}
	r.book(&p.Job).add(Record{Line: lineMissed, Moment: upTo, Missed: d.Missed, End: now})
	h := p.history
	m := notify.Message{Event: notify.Missed, Host: r.o.Host, Job: p.Job.Name, Kind: string(p.Job.Kind), Repository: p.Job.Repository.Name, Program: r.o.Version, Time: now, Missed: d.Missed + h.Misses,
		Failures: d.Missed + h.Misses + h.Failures, Next: p.Next, Summary: "runs that should have been were not"}
	if h.Success != nil {
		m.LastSuccess = h.Success.End
	}
	if d.Due {
		m.Next = now
	}
	m.Since = r.firstMissed(p)
	h.Misses += d.Missed
	r.o.Log.Warn("missed", "job", p.Job.Name, "runs", d.Missed, "since", m.Since)
	return func(ctx context.Context) {
		if err := r.tell(ctx, &p.Job, m); err != nil {
			r.o.Log.Warn("notify", "job", p.Job.Name, "error", err)
			r.o.Notice(p.Job.Name + ": " + err.Error())
		}
	}
}

// tellMissed tells of all that was missed, side by side, before jobs begin: the other way round somebody would hear of the end of trouble first. Channels that do not answer hold the jobs up for
// no longer than Options.Telling, however many there are; who was not told then hears of it later.
func (r *Runner) tellMissed(ctx context.Context, untold []func(context.Context)) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), r.o.Telling, errTelling)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(8)
	for _, tell := range untold {
		g.Go(func() error {
			tell(ctx)
			return nil
		})
	}
	_ = g.Wait() // what fails has been told
}

// firstMissed returns the first moment that was missed; zero: it cannot be told.
func (r *Runner) firstMissed(p *Planned) time.Time {
	c := r.clockwork()
	s := c.scheduleOf(&p.Job)
	at, back := p.Decision.Moment, p.Decision.Missed
	if p.Decision.Passed {
		back-- // it is one of them
	}
	for range back {
		at = s.Last(at.Add(-time.Second), c.loc)
	}
	return at
}

// tellTime bounds how long telling of one thing may take.
const tellTime = 5 * time.Minute

var errTelling = errors.New("telling of it took too long")

// tell tells others.
func (r *Runner) tell(ctx context.Context, j *Job, m notify.Message) error {
	if r.o.Reporter == nil {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, tellTime, errTelling)
	defer cancel()
	return r.o.Reporter.Report(ctx, j, m)
}
