package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/config"
	"firn/internal/event"
	"firn/internal/job"
	"firn/internal/job/metrics"
	"firn/internal/units"
)

// runCommand runs jobs of the configuration.
type runCommand struct {
	c         *console
	test      bool
	force     bool
	all       bool
	scheduled bool
}

func newRun(c *console) *cobra.Command {
	x := &runCommand{c: c}
	cmd := &cobra.Command{
		Use:   "run [JOB…]",
		Short: "Run the jobs of the configuration that are due, or those that are named",
		Long: `Runs what is due by the configuration: each source is a job of its name, and a repository has the jobs transition, prune, check,
drill and copy (with @REPOSITORY behind it where there are several; firn run --test lists them all). A JOB that is named is run whether
it is due or not; names may be patterns such as 'db-*'. Jobs run in the order of the file, or several at once as [run] says, backups
before what looks after the repository. One that fails does not keep the others from running.

A run that reaches a limit (its window closes, max_duration, upload_per_month, firn pause, or the machine shuts down) is stopped so
that the next one goes on where it stood, and is no failure. Another firn that runs the same job is not disturbed: the job is skipped.

Each job is a process of its own; its command line is in the report (in the local state, jobs/JOB/reports) and can be typed by hand.
Exit codes: 0 all went well, or was skipped, or goes on later; 1 something failed; 3 some files could not be read.`,
		Example: `  firn run
  firn run --test
  firn run photos 'db-*'
  firn run --force photos
  firn run --all -q && echo good`,
		ValidArgsFunction: x.complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.BoolVarP(&x.test, "test", "n", false, "tell what would be run, and when the rest is due, and do nothing")
	fl.BoolVarP(&x.force, "force", "f", false, "also what is not due, outside its window, paused, or not planned by its cycle: adds a snapshot, replaces none")
	fl.BoolVar(&x.all, "all", false, "all jobs, due or not")
	fl.BoolVar(&x.scheduled, "scheduled", false, "as a timer calls it: what is named runs only if it is due, and other programs come first")
	return cmd
}

// complete offers the names of jobs to the shell.
func (x *runCommand) complete(*cobra.Command, []string, string) (offers []string, _ cobra.ShellCompDirective) {
	cfg, err := x.c.config.load()
	if err != nil || cfg == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	for _, j := range job.List(cfg) {
		offers = append(offers, j.Name)
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}

// jobs reads the configuration; there has to be one.
func (c *console) jobs() (*config.Config, error) {
	cfg, err := c.config.load()
	if err == nil && cfg == nil {
		err = failure("firn config example prints one to begin with; --config FILE or FIRN_CONFIG name another place", "there is no configuration")
	}
	return cfg, err
}

// jobsDir is where ledgers are; empty: nowhere.
func jobsDir() string {
	if dirs := localDirs(); dirs.State != "" {
		return filepath.Join(dirs.State, "jobs")
	}
	return ""
}

// hostName is how snapshots of this machine are called, as far as that is known without a key.
func hostName(cfg *config.Config) string {
	if name := os.Getenv("FIRN_HOST"); name != "" {
		return name
	}
	for _, r := range cfg.Repositories {
		if r.Host != "" {
			return r.Host
		}
	}
	name, _ := os.Hostname() // without a name it has none
	return name
}

// runner makes a runner of the configuration. change may set more options.
func (c *console) runner(cfg *config.Config, change func(*job.Options)) (*job.Runner, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := job.Options{Config: cfg, Dir: jobsDir(), Program: []string{self}, Version: "firn " + Version, Host: hostName(cfg)}
	if change != nil {
		change(&o)
	}
	return job.New(o), nil
}

// find returns the jobs that names mean; all where there are none.
func findJobs(r *job.Runner, names []string) ([]job.Job, error) {
	if len(names) == 0 {
		return r.Jobs(), nil
	}
	found, err := job.Find(r.Jobs(), names)
	var unknown *job.UnknownError
	if errors.As(err, &unknown) {
		hint := "firn run --test lists the jobs"
		if unknown.Nearest != "" {
			hint = "was " + advice.ShellWord(unknown.Nearest) + " meant? " + hint
		}
		return nil, &advice.Error{Err: err, Code: advice.Usage, Hint: hint}
	}
	return found, err
}

func (x *runCommand) run(ctx context.Context, names []string) error {
	if x.all && len(names) > 0 {
		return usage("leave out one of them", "--all are all jobs, but %q is named", names[0])
	}
	cfg, err := x.c.jobs()
	switch there := err == nil; {
	case x.scheduled && !x.test && there:
		x.c.tellAccepted(cfg)
	case x.scheduled && !x.test:
		x.c.tellRefused(err)
		return err
	case !there:
		return err
	}
	if x.scheduled && cfg.Run.Priority != "normal" && !x.test {
		if err := job.LowPriority(); err != nil {
			x.c.explain("other programs do not come first: %v", err)
		}
	}
	log, err := x.c.jobLog(cfg, x.scheduled)
	if err != nil {
		return err
	}
	defer log.Close()
	show := &jobsShown{c: x.c, lines: map[string]*listener{}}
	r, err := x.c.runner(cfg, func(o *job.Options) {
		o.Log, o.Reporter = log.log, job.NewNotifier(cfg, o.Dir)
		o.Began, o.Progress, o.Ended = show.began, show.progress, show.ended
		o.Notice = func(text string) { x.c.explain("%s", text) } // the log tells it
	})
	if err != nil {
		return err
	}
	chosen, err := findJobs(r, names)
	if err != nil {
		return err
	}
	plan := r.Plan(chosen, job.Wish{Asked: (len(names) > 0 || x.all) && !x.scheduled, Forced: x.force && len(names) > 0, Scheduled: x.scheduled})
	if x.force && len(names) == 0 {
		plan = x.forced(r, chosen)
	}
	if x.test {
		return x.c.showPlan(plan)
	}
	for i := range plan {
		if p := &plan[i]; p.Job.Off && len(names) > 0 && !x.force {
			x.c.note("%s is switched off (enabled = false): --force runs it all the same", p.Job.Name)
		}
	}
	sum := r.Run(ctx, plan)
	x.c.endLine()
	if path := cfg.Metrics.TextFile; path != "" {
		if err := metrics.Of(Version, r).WriteFile(path); err != nil {
			x.c.warn("%v", err)
		}
	}
	return x.end(plan, sum)
}

// forced plans all jobs but those that are off, or have no time of their own, unless these are wanted, too.
func (x *runCommand) forced(r *job.Runner, jobs []job.Job) []job.Planned {
	var mine []job.Job
	for _, j := range jobs {
		manual := j.Timing.Schedule.IsZero() && j.Cycle.Kind == ""
		if !j.Off && (x.all || !manual) {
			mine = append(mine, j)
		}
	}
	return r.Plan(mine, job.Wish{Forced: true, Scheduled: x.scheduled})
}

// runJSON is what run prints last with --json.
type runJSON struct {
	Jobs    map[job.Outcome]int `json:"jobs"` // how many by outcome
	NotDue  int                 `json:"not_due"`
	Missed  int                 `json:"missed"`
	Outcome job.Outcome         `json:"outcome"`
}

// end tells what became of all, and chooses the exit code.
func (x *runCommand) end(plan []job.Planned, sum *job.Summary) error {
	c := x.c
	if c.json != "" {
		j := runJSON{Jobs: map[job.Outcome]int{}, NotDue: sum.NotDue, Missed: sum.Missed, Outcome: sum.Worst()}
		for i := range sum.Results {
			j.Jobs[sum.Results[i].Report.Outcome]++
		}
		if err := c.objectOf("run", j); err != nil {
			return err
		}
	} else if !c.quiet {
		c.showRun(sum)
		if len(sum.Results) == 0 {
			c.tellNext(plan)
		}
	}
	switch sum.Worst() {
	case job.Failed:
		return &advice.Error{Text: failedJobs(sum), Hint: "firn status shows how they stand; the reports tell more"}
	case job.Incomplete:
		return incomplete()
	}
	return nil
}

// failedJobs names what failed.
func failedJobs(sum *job.Summary) string {
	var names []string
	for i := range sum.Results {
		if r := &sum.Results[i]; r.Report.Outcome == job.Failed {
			names = append(names, r.Job.Name)
		}
	}
	return counted(int64(len(names)), "job") + " failed: " + strings.Join(names, ", ")
}

// showRun prints a line for each job.
func (c *console) showRun(sum *job.Summary) {
	t := c.table("job", "outcome", ">took", ">sent", "")
	for i := range sum.Results {
		r := &sum.Results[i].Report
		sent, took, text := "", "", sum.Results[i].Summary
		if r.Sent > 0 {
			sent = units.Size(r.Sent).String()
		}
		if r.Outcome != job.Skipped {
			took = duration(r.End.Sub(r.Start))
		}
		if r.Error != "" {
			text = r.Error
		}
		if !r.Next.IsZero() && r.Outcome == job.Skipped {
			text += ", until " + r.Next.Local().Format(timeFormat)
		}
		t.row(r.Job, string(r.Outcome), took, sent, text)
	}
	t.print()
	for i := range sum.Results {
		if r := &sum.Results[i].Report; r.Hint != "" && r.Outcome == job.Failed {
			c.say("hint", r.Job+": "+r.Hint)
		}
	}
}

// tellNext says why nothing was run.
func (c *console) tellNext(plan []job.Planned) {
	var first *job.Planned
	manual := 0
	for i := range plan {
		p := &plan[i]
		switch {
		case p.Next.IsZero() && !p.Job.Off:
			manual++
		case !p.Next.IsZero() && (first == nil || p.Next.Before(first.Next)):
			first = p
		}
	}
	switch {
	case first != nil:
		c.note("nothing is due; %s is next, on %s", first.Job.Name, first.Next.Local().Format(timeFormat))
	case manual > 0:
		c.note("nothing is due: no job has a schedule; firn run JOB runs one, firn run --all runs all")
	default:
		c.note("nothing is due")
	}
}

// plannedJSON is what run --test prints for each job with --json.
type plannedJSON struct {
	Job     string     `json:"job"`
	Kind    job.Kind   `json:"kind"`
	Due     bool       `json:"due"`
	Cause   job.Cause  `json:"cause,omitempty"`
	Missed  int        `json:"missed"`
	Blocked job.Why    `json:"blocked,omitempty"`
	Until   *time.Time `json:"until,omitempty"`
	Next    *time.Time `json:"next,omitempty"`
	Off     bool       `json:"off"`
	Command []string   `json:"command"`
}

// whenJSON is a time that need not be there.
func whenJSON(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// causes in words.
var causes = map[job.Cause]string{job.BySchedule: "by its schedule", job.ByCycle: "by its cycle", job.NeverRun: "it was never run", job.GoesOn: "goes on", job.Again: "it failed", job.Asked: "as asked"}

// reasons in words.
var reasons = map[job.Why]string{job.WhyWindow: "outside its window", job.WhyPause: "paused", job.WhyAllowance: "upload_per_month is used up"}

// showPlan prints what would be run.
func (c *console) showPlan(plan []job.Planned) error {
	t := c.table("job", "kind", "would", "why", "next")
	for i := range plan {
		p := &plan[i]
		d := &p.Decision
		if c.json != "" {
			command := p.Job.Args
			if len(p.Job.Specs) > 0 {
				command = append(append(command[:len(command):len(command)], "--"), p.Job.Specs...)
			}
			j := plannedJSON{p.Job.Name, p.Job.Kind, d.Due, d.Cause, d.Missed, d.Blocked, whenJSON(d.Until), whenJSON(p.Next), p.Job.Off, append([]string{"firn"}, command...)}
			if err := c.objectOf("planned", j); err != nil {
				return err
			}
			continue
		}
		would, why, next := "", "", "when asked"
		if !p.Next.IsZero() {
			next = p.Next.Local().Format(timeFormat)
		}
		switch {
		case d.Due && d.Blocked != "":
			would, why = "wait", reasons[d.Blocked]
			if !d.Until.IsZero() {
				why += " until " + d.Until.Local().Format(timeFormat)
			}
		case d.Due:
			would, why = "run", causes[d.Cause]
		case p.Job.Off:
			why, next = "off", ""
		}
		if d.Missed > 0 {
			why = strings.TrimPrefix(why+", "+counted(int64(d.Missed), "run")+" missed", ", ")
		}
		t.row(p.Job.Name, string(p.Job.Kind), would, why, next)
	}
	t.print()
	return nil
}

// jobsShown shows jobs while they run.
type jobsShown struct {
	c     *console
	mu    sync.Mutex
	lines map[string]*listener
}

func (s *jobsShown) began(j *job.Job) {
	s.mu.Lock()
	s.lines[j.Name] = s.c.listen()
	s.mu.Unlock()
	s.c.status(j.Name + ": begins")
	s.c.emit(map[string]any{"event": "job_begin", "job": j.Name, "kind": j.Kind})
}

func (s *jobsShown) progress(name string, e event.Event) {
	p, ok := e.(event.Progress)
	if !ok {
		return
	}
	s.mu.Lock()
	l := s.lines[name]
	s.mu.Unlock()
	if l == nil {
		return
	}
	l.mu.Lock()
	now := s.c.now()
	l.problems = p.Problems
	text := name + ": " + l.render(p, l.rate.add(now, p.BytesDone), now)
	l.mu.Unlock()
	s.c.status(text)
	s.c.emit(map[string]any{"event": "progress", "job": name, "phase": p.Phase, "files_done": p.FilesDone, "files_total": p.FilesTotal, "bytes_done": p.BytesDone, "bytes_total": p.BytesTotal,
		"bytes_sent": p.BytesSent, "bytes_got": p.BytesGot, "problems": p.Problems})
}

func (s *jobsShown) ended(r *job.Result) {
	s.c.endLine()
	if s.c.json != "" {
		rep := r.Report
		rep.Start, rep.End = rep.Start.UTC(), rep.End.UTC()
		_ = s.c.object(rep) // marshals; errors of writing are kept by the console
	}
}
