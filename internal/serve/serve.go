// Package serve is the daemon: it runs the jobs of a configuration when they are due, for machines without a scheduler of their own, and tells how they stand.
//
// # Jobs
//
// One goroutine decides. It sleeps until the next job is due, but never longer than Poll, so that a clock that is set, or a machine that slept, is noticed soon: whatever became due meanwhile runs once. Jobs run as job.Runner
// runs them, as children. While some are at work others begin beside them only where the configuration allows more at once, and they share no repository. A job that ended is not begun again within a minute, one that was stopped
// by its max_duration not before its next moment, whatever the ledger says.
//
// # Configuration
//
// It is read again when its files change and when somebody asks (Options.Reload). One that is refused changes nothing: the old one stays in use, it is said once, loudly, and shows in all that is told over HTTP. What runs goes on by the
// configuration by which it began.
//
// # HTTP
//
//	/healthz  200 while the daemon decides, else 503
//	/readyz   503 where a job is stale or failed, or the configuration is refused; with the names
//	/metrics  of package job/metrics
//	/status   how each job stands, without errors, which may name files
//	others    Crew.Pages, where there are any, which decide by themselves who may ask for what
//
// It listens on the loopback interface unless told otherwise. Who asks from there, and by a name of it (so that no page in a browser can, through a name of its own), needs no token; everybody else does.
package serve

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/job/metrics"
)

// Runner is what the daemon needs of a job.Runner. Its methods are called by several goroutines at once.
type Runner interface {
	Jobs() []job.Job
	Plan(jobs []job.Job, w job.Wish) []job.Planned
	Run(ctx context.Context, plan []job.Planned) *job.Summary
	Status(jobs []job.Job, older time.Duration) []job.Status
}

// Crew is what runs the jobs of one configuration.
type Crew struct {
	Runner Runner
	Log    *slog.Logger
	Token  string                                            // for HTTP; empty: none
	Alert  func(ctx context.Context, text string, over bool) // tells people what no job tells, and when it is over; may be nil
	Close  func()                                            // is called when the last of its jobs has ended; may be nil
	Use    func()                                            // is called once its configuration is the one in use; may be nil
	Pages  http.Handler                                      // answers who asks for anything but what the daemon tells; nil: nobody does
}

// Options are what the daemon needs of the world.
type Options struct {
	Load   func() (*config.Config, error)      // reads the configuration anew
	Hire   func(*config.Config) (*Crew, error) // is called once for each configuration that is to be used
	Dir    string                              // as job.Options.Dir
	Reload <-chan struct{}                     // asks for the configuration to be read again; nil: nobody asks

	Clock   job.Clock     // nil: job.System
	Poll    time.Duration // how often files are looked at, and how long it sleeps at most; 0: 20 s
	Grace   time.Duration // how long jobs have to end when the daemon does; 0: 2.5 minutes
	Version string
	Notify  func(state string)        // tells the service manager, as sd_notify has it; nil: nobody
	Up      func(address string)      // is called once it is ready; address is empty where it does not listen
	Moved   func(address string)      // is called where it listens elsewhere since the configuration was read again; may be nil
	Show    func([]job.Status) any    // what /status says, as JSON; nil: there is none
	Metrics func(*Crew) *metrics.View // what /metrics and the file say; nil: nothing
}

// Defaults.
const (
	defaultPoll  = 20 * time.Second
	defaultGrace = 150 * time.Second
	DefaultAt    = "127.0.0.1:7457" // where it listens
)

// Waits of the daemon.
const (
	lookAgain = 5 * time.Minute // ledgers are looked at so often, whatever was found in them, since others run jobs as well
	breath    = time.Minute     // between the end of a run of a job and the begin of its next
	thawing   = time.Hour       // between two looks whether what a drill waits for is there
	tellAgain = time.Hour       // between two times that something is told of a job that may not begin
	alive     = 3 * time.Minute // without a decision for so long it counts as dead
	settle    = 2 * time.Second // files that changed are read once they stay as they are for so long: whoever writes them may not be through
)

// StuckError tells that jobs did not end in time.
type StuckError struct{ Jobs []string }

func (e *StuckError) Error() string {
	return fmt.Sprintf("%d jobs did not end in time: %q", len(e.Jobs), e.Jobs)
}

// generation is a configuration in use.
type generation struct {
	cfg     *config.Config
	crew    *Crew
	working sync.WaitGroup // runs that began by it
}

// daemon is what the one goroutine knows.
type daemon struct {
	o     Options
	clock job.Clock
	gen   *generation
	face  *face

	files   map[string]stamp // as they were when the configuration was read
	changed map[string]stamp // as they were when they were seen to differ; nil: they did not
	refused string           // why the configuration is, as it stands now; empty: it is not

	running map[string]*job.Job  // at work or in a queue
	rest    map[string]time.Time // before which a job is not begun
	told    map[string]time.Time // when there was last something to be told of a job that may not begin
	ended   chan *shift
	gone    chan struct{} // closed when the daemon ends
	runs    sync.WaitGroup
	alerts  sync.WaitGroup
	retired sync.WaitGroup

	look   bool      // ledgers have to be looked at
	looked time.Time // when that was
	next   time.Time // when something is due; zero: nothing
	paused time.Time // change of the file of the pause
}

// shift is some jobs that were begun together.
type shift struct {
	gen  *generation
	jobs []*job.Job
	next map[string]time.Time // their next moments, as planned
	sum  *job.Summary
}

// Run runs jobs until ctx ends, and then stops what runs: those jobs go on with the next run. It fails where another daemon is at work (*job.HeldError), the first configuration is refused, or it cannot listen.
func Run(ctx context.Context, o Options) error {
	d := &daemon{o: o, clock: o.Clock, running: map[string]*job.Job{}, rest: map[string]time.Time{}, told: map[string]time.Time{}, ended: make(chan *shift), gone: make(chan struct{})}
	d.setDefaults()
	release, err := job.Hold(o.Dir, d.clock.Now())
	if err != nil {
		return err
	}
	defer release()
	defer close(d.gone)
	cfg, err := d.o.Load()
	if err != nil {
		return err
	}
	gen, err := d.hire(cfg)
	if err != nil {
		return err
	}
	d.gen, d.files = gen, stamps(cfg)
	defer func() { d.leave() }()
	d.face = newFace(d.o)
	d.face.use(gen)
	address, err := d.face.listen(gen)
	if err != nil {
		return err
	}
	defer d.face.close()
	d.look = true
	d.writeMetrics()
	d.gen.crew.Log.Info("ready", "jobs", len(gen.crew.Runner.Jobs()), "listen", address)
	d.o.Notify("READY=1\nSTATUS=" + countJobs(gen))
	d.o.Up(address)
	d.loop(ctx)
	err = d.stop()
	d.alerts.Wait()
	return err
}

func (d *daemon) setDefaults() {
	if d.clock == nil {
		d.clock, d.o.Clock = job.System{}, job.System{}
	}
	if d.o.Poll <= 0 {
		d.o.Poll = defaultPoll
	}
	if d.o.Grace <= 0 {
		d.o.Grace = defaultGrace
	}
	if d.o.Notify == nil {
		d.o.Notify = func(string) {}
	}
	if d.o.Up == nil {
		d.o.Up = func(string) {}
	}
}

func countJobs(g *generation) string { return fmt.Sprintf("%d jobs", len(g.crew.Runner.Jobs())) }

// loop decides until ctx ends.
func (d *daemon) loop(ctx context.Context) {
	for {
		began := d.clock.Now()
		d.face.beat(began)
		d.o.Notify("WATCHDOG=1")
		d.watchFiles(ctx)
		if d.look || d.isTime(began) {
			d.dispatch(ctx)
		}
		nap := d.nap()
		wake, give := d.clock.After(nap)
		select {
		case <-ctx.Done():
			give()
			return
		case <-d.o.Reload:
			d.reload(ctx, true)
		case s := <-d.ended:
			d.relieve(s)
		case <-wake:
		}
		give()
		d.noticeJump(began, nap)
	}
}

// isTime reports whether something is due, or ledgers were not looked at for long.
func (d *daemon) isTime(now time.Time) bool {
	return !d.next.IsZero() && !now.Before(d.next) || now.Sub(d.looked) >= lookAgain
}

// noticeJump looks again where the clock was set, or the machine slept.
func (d *daemon) noticeJump(began time.Time, nap time.Duration) {
	passed := d.clock.Now().Round(0).Sub(began.Round(0)) // without the monotonic reading, which knows of neither
	if passed < 0 || passed > nap+d.o.Poll {
		d.gen.crew.Log.Info("the clock has jumped", "by", passed)
		d.look = true
	}
	if passed < -breath {
		clear(d.rest) // by a clock that was ahead
		clear(d.told)
	}
}

// nap is how long to sleep.
func (d *daemon) nap() time.Duration {
	nap := d.o.Poll
	if d.changed != nil {
		nap = min(nap, settle)
	}
	if !d.next.IsZero() {
		nap = min(nap, max(d.next.Sub(d.clock.Now()), time.Second))
	}
	return nap
}

// dispatch begins what is due, and finds out when the next is.
func (d *daemon) dispatch(ctx context.Context) {
	now := d.clock.Now()
	d.look, d.looked, d.next = false, now, time.Time{}
	var idle []job.Job
	for _, j := range d.gen.crew.Runner.Jobs() {
		if d.running[j.Name] == nil {
			idle = append(idle, j)
		}
	}
	var due []job.Planned
	for _, p := range d.gen.crew.Runner.Plan(idle, job.Wish{Scheduled: true}) {
		at := p.Next
		switch rest := d.rest[p.Job.Name]; {
		case p.Decision.Due && rest.After(now):
			at = rest
		case p.Decision.Due && p.Decision.Blocked == "":
			due = append(due, p)
			at = time.Time{} // looked at again when it has ended
		case p.Decision.Due:
			if at = p.Decision.Until; p.Untold() && d.mayTell(&p, now) {
				due = append(due, p) // to be told, and written down
			}
		case p.Decision.Missed > 0 && d.mayTell(&p, now):
			due = append(due, p) // to be told
		}
		if !at.IsZero() && (d.next.IsZero() || at.Before(d.next)) {
			d.next = at
		}
	}
	if due = d.fitting(due); len(due) > 0 {
		d.begin(ctx, due)
	}
}

// mayTell reports whether it is time to tell something of a job that may not begin. What is told should be remembered, and may not be: a disk is full.
func (d *daemon) mayTell(p *job.Planned, now time.Time) bool {
	last, ok := d.told[p.Job.Name]
	return !ok || now.Sub(last) >= tellAgain
}

// fitting are those that may begin beside what is at work.
func (d *daemon) fitting(due []job.Planned) []job.Planned {
	if len(d.running) == 0 {
		return due
	}
	free := d.gen.cfg.Run.Parallel - len(d.running)
	var out []job.Planned
	for _, p := range due {
		if free > 0 && !d.shares(&p.Job) {
			out = append(out, p)
			free--
		}
	}
	return out
}

// shares reports whether a job works on a repository of one that is at work.
func (d *daemon) shares(j *job.Job) bool {
	for _, other := range d.running {
		if slices.ContainsFunc(repositories(j), func(name string) bool { return slices.Contains(repositories(other), name) }) {
			return true
		}
	}
	return false
}

// repositories are the locations on which a job works: names may mean others since the configuration was read again.
func repositories(j *job.Job) []string {
	all := []string{j.Repository.Location}
	if j.To != nil {
		all = append(all, j.To.Location)
	}
	if j.Source != nil {
		all = append(all, j.Repository.Also...)
	}
	return all
}

// begin runs jobs.
func (d *daemon) begin(ctx context.Context, due []job.Planned) {
	s := &shift{gen: d.gen, next: map[string]time.Time{}}
	for i := range due {
		p := &due[i]
		if !p.Decision.Due || p.Decision.Blocked != "" {
			d.told[p.Job.Name] = d.clock.Now()
		}
		if !p.Decision.Due {
			continue
		}
		d.running[p.Job.Name] = &p.Job
		s.jobs = append(s.jobs, &p.Job)
		s.next[p.Job.Name] = p.Next
	}
	d.tellRunning()
	s.gen.working.Add(1)
	d.runs.Go(func() {
		defer s.gen.working.Done()
		s.sum = s.gen.crew.Runner.Run(ctx, due)
		select {
		case d.ended <- s:
		case <-d.gone: // nobody waits any more
		}
	})
}

// relieve takes in what has ended.
func (d *daemon) relieve(s *shift) {
	now := d.clock.Now()
	for _, j := range s.jobs {
		delete(d.running, j.Name)
		d.rest[j.Name] = now.Add(breath)
	}
	worked := false
	for i := range s.sum.Results {
		r := &s.sum.Results[i]
		worked = worked || r.Report.Outcome != job.Skipped
		d.restAfter(r, s.next[r.Job.Name], now)
	}
	d.look = true
	d.tellRunning()
	d.writeMetrics()
	if worked {
		debug.FreeOSMemory() // it may be long until the next
	}
}

// restAfter keeps a job from beginning again before there is a reason for it.
func (d *daemon) restAfter(r *job.Result, next, now time.Time) {
	partial := r.Report.Outcome == job.Partial
	switch {
	case partial && r.Report.Why == job.WhyLimit && r.Job.Kind == job.Drill:
		if at := now.Add(thawing); next.IsZero() || next.After(at) {
			next = at // what it waits for does not stay until its next moment
		}
	case partial && (r.Report.Why == job.WhyDuration || r.Report.Why == job.WhyLimit): // it has had its time
	case r.Forgotten && r.Report.Outcome != job.Skipped: // the ledger will say that it is due
	default:
		return
	}
	if next.After(now) {
		d.rest[r.Job.Name] = next
	}
}

func (d *daemon) tellRunning() {
	var names []string
	for name := range d.running {
		names = append(names, name)
	}
	slices.Sort(names)
	d.face.setRunning(names)
	text := countJobs(d.gen)
	if len(names) > 0 {
		text = fmt.Sprintf("%s, running: %q", text, names)
	}
	d.o.Notify("STATUS=" + text)
}

// writeMetrics writes the file for node_exporter.
func (d *daemon) writeMetrics() {
	path := d.gen.cfg.Metrics.TextFile
	if path == "" || d.o.Metrics == nil {
		return
	}
	if err := d.o.Metrics(d.gen.crew).WriteFile(path); err != nil {
		d.gen.crew.Log.Warn("metrics", "error", err)
	}
}

// stop waits for what runs, which the end of the context has told to stop.
func (d *daemon) stop() error {
	d.o.Notify(fmt.Sprintf("STOPPING=1\nEXTEND_TIMEOUT_USEC=%d\nSTATUS=stopping", (d.o.Grace + 10*time.Second).Microseconds()))
	d.gen.crew.Log.Info("stopping", "running", len(d.running))
	done := make(chan struct{})
	go func() { d.runs.Wait(); close(done) }()
	late, give := d.clock.After(d.o.Grace)
	defer give()
	for {
		select {
		case s := <-d.ended:
			for _, j := range s.jobs {
				delete(d.running, j.Name)
			}
		case <-done:
			d.writeMetrics()
			return nil
		case <-late:
			e := &StuckError{}
			for name := range d.running {
				e.Jobs = append(e.Jobs, name)
			}
			slices.Sort(e.Jobs)
			return e
		}
	}
}

// leave closes what is left when the daemon ends. Jobs that did not end in time keep their logs.
func (d *daemon) leave() {
	if len(d.running) > 0 {
		return
	}
	d.retire(d.gen)
	d.retired.Wait()
}
