package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"firn/internal/config"
	"firn/internal/event"
	"firn/internal/notify"
	"firn/internal/program"
)

// Ended is the message of the line in the log with which a run ends.
const Ended = "ended"

// run is one run of a job.
type run struct {
	r    *Runner
	p    *Planned
	j    *Job
	log  *slog.Logger
	book *book

	said   Tail
	tally  tally
	report Report
	path   string
	full   bool
	forgot bool // how it ended is not remembered

	mu       sync.Mutex
	warnings []string
}

// one runs a job, or says why not.
func (r *Runner) one(ctx context.Context, p *Planned) Result {
	x := &run{r: r, p: p, j: &p.Job, log: r.o.Log.With("job", p.Job.Name), book: r.book(&p.Job)}
	now := r.o.Clock.Now()
	x.report = Report{Event: "job", Version: 1, Program: r.o.Version, Host: r.o.Host, Run: now.UTC().Format(reportTime) + "-" + strconv.Itoa(os.Getpid()), Job: x.j.Name, Kind: x.j.Kind,
		Repository: x.j.Repository.Name, Start: now, Cause: p.Decision.Cause, Moment: p.Decision.Moment, Missed: p.Decision.Missed, Problems: []Problem{}, Command: []string{}}
	if x.j.To != nil {
		x.report.To = x.j.To.Name
	}
	if x.j.Kind == Backup {
		x.report.Source = strings.Join(x.j.Specs, ", ")
	}
	res := Result{Job: x.j}
	if ctx.Err() != nil {
		return x.skip(res, WhyShutdown, "")
	}
	l, err := take(r.dir(x.j), x.j.Name, now, time.Sleep)
	if errors.As(err, &res.Held) {
		return x.skip(res, WhyHeld, err.Error())
	}
	if err != nil {
		x.warn("nothing is remembered of this run, and nothing keeps others from the job: %v", err)
	}
	defer l.release()
	if why, ok := x.still(); !ok {
		return x.skip(res, why, "")
	}
	if r.o.Began != nil {
		r.o.Began(x.j)
	}
	x.work(ctx)
	res.Report, res.Path, res.Summary, res.Forgotten = x.report, x.path, x.report.summary(x.tally.fresh), x.forgot
	if r.o.Ended != nil {
		r.o.Ended(&res)
	}
	return res
}

// still looks again, with the lock held, whether the job is to run: others may have been quicker, and what it waited for may have changed.
func (x *run) still() (why Why, ok bool) {
	x.book.tempLeft()
	x.book.compact()
	before := x.p.history
	now := x.r.plan(x.j, x.p.wish, x.r.look())
	x.p.history = now.history
	switch d := &now.Decision; {
	case d.Blocked != "":
		x.p.Decision.Until = d.Until
		return d.Blocked, false
	case !d.Due && (now.history.Runs != before.Runs || !now.history.Served.Equal(before.Served)):
		return WhyServed, false
	case x.p.Decision.Blocked != "" && !x.p.wish.Forced:
		return "", true // it was blocked, and is not any more
	}
	return "", true
}

// skip ends a run that did not begin.
func (x *run) skip(res Result, why Why, text string) Result {
	rep := &x.report
	rep.Outcome, rep.Why, rep.Error, rep.End, rep.Results, rep.Log = Skipped, why, text, rep.Start, []json.RawMessage{}, []string{}
	rep.Next = x.p.Decision.Until
	if h := x.p.history; why != WhyShutdown && why != WhyHeld && (h.Skip == nil || h.Skip.Why != why) {
		x.book.add(Record{Line: lineEnd, Start: rep.Start, End: rep.Start, Outcome: Skipped, Why: why})
	}
	x.log.Info("not run", "why", why)
	res.Report, res.Summary = *rep, rep.summary(x.tally.fresh)
	if x.r.o.Ended != nil {
		x.r.o.Ended(&res)
	}
	return res
}

// warn notes what went wrong around the run.
func (x *run) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	x.mu.Lock()
	x.warnings = append(x.warnings, clip(text, 1000))
	x.mu.Unlock()
	x.log.Warn(text)
	x.r.o.Notice(x.j.Name + ": " + text)
}

// work runs the job with all that is around it.
func (x *run) work(ctx context.Context) {
	rep := &x.report
	x.book.note = func(err error) { x.warn("what is run is not remembered: %v", err) }
	x.book.add(Record{Line: lineBegin, Start: rep.Start, PID: os.Getpid(), Moment: rep.Moment})
	var telling sync.WaitGroup
	cut := x.cutMessage()
	telling.Go(func() {
		x.tell(ctx, x.startMessage())
		if cut != nil {
			x.tell(ctx, *cut)
		}
	})
	x.tally.kind, x.tally.hear = x.j.Kind, x.progress
	stop, cancel := x.limited(ctx, &telling)
	if err := x.hook(stop, "before", x.j.Hooks.Before); err != nil {
		x.failedBefore(stop, err)
	} else {
		x.child(stop)
	}
	cancel()
	rep.End = x.r.o.Clock.Now()
	rep.Seconds = float64(rep.End.Sub(rep.Start).Milliseconds()) / 1000
	rep.Amounts = x.tally.total()
	telling.Wait()
	x.finish(ctx)
}

// failedBefore ends a run whose first hook did not let it begin.
func (x *run) failedBefore(stop context.Context, err error) {
	x.report.Outcome, x.report.Error = Failed, err.Error()
	var s *Stop
	if errors.As(context.Cause(stop), &s) {
		x.report.Outcome, x.report.Why = Partial, s.Why
	}
}

// finish writes down, and tells, how it ended.
func (x *run) finish(ctx context.Context) {
	rep, r := &x.report, x.r
	rep.Results, rep.LeftOut = append([]json.RawMessage{}, x.tally.objects...), x.tally.left
	rep.Problems = append(rep.Problems, x.tally.problems...)
	rep.Log = append([]string{}, x.said.lines...)
	name := rep.Start.UTC().Format(reportTime) + ".json"
	record := Record{Line: lineEnd, Start: rep.Start, End: rep.End, Outcome: rep.Outcome, Why: rep.Why, Error: rep.Error, Moment: rep.Moment, Full: x.full, Next: x.tally.next, Report: name,
		Amounts: rep.Amounts}
	if rep.Sent > 0 {
		record.Repo, record.Month = repoKey(x.j), monthOf(rep.End, r.o.Location)
	}
	before := *x.p.history
	x.forgot = !x.book.add(record)
	x.p.history.fold(&record)
	rep.Next = r.clockwork().next(x.j, x.p.history)
	x.save(name)
	told := len(x.warnings)
	x.hooksAfter(ctx)
	x.tell(ctx, x.endMessage(&before))
	if len(x.warnings) > told || len(rep.Hooks) > 0 {
		x.save(name)
	}
	level := slog.LevelInfo
	if rep.Outcome == Failed || rep.Outcome == Incomplete {
		level = slog.LevelError
	}
	x.log.Log(ctx, level, Ended, "outcome", rep.Outcome, "why", rep.Why, "seconds", rep.Seconds, "error", rep.Error, "snapshot", rep.Snapshot, "sent", rep.Sent)
}

// save writes the report.
func (x *run) save(name string) {
	x.report.Warnings = slices.Clone(x.warnings)
	path, err := writeReport(x.r.dir(x.j), name, &x.report, x.r.o.Config.Run.Reports)
	switch {
	case err == nil:
		x.path = path
	case x.path == "" && !errors.Is(err, ErrNoState):
		x.warn("the report is not kept: %v", err)
		x.report.Warnings = slices.Clone(x.warnings)
	}
}

// startMessage says that the run begins.
func (x *run) startMessage() notify.Message {
	rep := &x.report
	return notify.Message{Run: rep.Run, Event: notify.Start, Host: rep.Host, Job: rep.Job, Kind: string(rep.Kind), Repository: rep.Repository, Source: rep.Source, Program: rep.Program, Time: rep.Start,
		Started: rep.Start}
}

// cutMessage says that runs are cut off again and again; nil: the last one was not, or one has got through lately. Whoever is cut off cannot tell of it.
func (x *run) cutMessage() *notify.Message {
	h := x.p.history
	old := x.r.clockwork().staleFor(x.j, h, x.report.Start)
	if h.Begun == nil || old == 0 {
		return nil
	}
	m := x.startMessage()
	m.Event, m.Failures = notify.Failure, x.troubled(h, old)
	m.Error = fmt.Sprintf("no run has got through for %s, and the last one was cut off: the process that ran it died", days(old))
	if h.Success != nil {
		m.LastSuccess = h.Success.End
	}
	return &m
}

// endMessage says how it ended. A run that was stopped is no failure, unless none has got through for longer than may be; that one has got through at last is told, too.
func (x *run) endMessage(before *History) notify.Message {
	rep := &x.report
	m := rep.message(before, x.path, x.tally.fresh)
	switch old := x.r.clockwork().staleFor(x.j, before, rep.End); {
	case old == 0:
	case m.Event == notify.Success && rep.Outcome == Partial:
		m.Event, m.Failures = notify.Failure, x.troubled(before, old)
		m.Error = fmt.Sprintf("no run has got through for %s, and this one was stopped as well (%s)", days(old), rep.Why)
	case m.Event == notify.Success && rep.Outcome == Done:
		m.Event, m.Failures = notify.Recovered, 1
	}
	return m
}

// troubled counts the runs that should have got through in so long a time without success, for channels that are told of several only.
func (x *run) troubled(h *History, old time.Duration) int {
	return h.Failures + h.Misses + 1 + int(old/x.r.clockwork().patience(x.j, h))
}

// days writes a time as people say it: whole days, or hours where it is less than two days.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d/time.Hour))
	}
	return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
}

// tell tells others; that it fails is a warning.
func (x *run) tell(ctx context.Context, m notify.Message) {
	m.StaleAfter = x.r.clockwork().staleAfter(x.j).Seconds()
	if err := x.r.tell(context.WithoutCancel(ctx), x.j, m); err != nil {
		x.warn("nobody, or not everybody, could be told (%s): %v", m.Event, err)
	}
}

func (x *run) progress(e event.Event) {
	if x.r.o.Progress != nil {
		x.r.o.Progress(x.j.Name, e)
	}
}

// lookEvery is how often a run is held against its limits, and against a pause.
const lookEvery = time.Second

// moreTime is how much longer a child that knows when to stop may take for it before it is told.
const moreTime = 30 * time.Second

func later(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(moreTime)
}

// limited returns a context that ends with *Stop as its cause: where ctx ends, the window closes, max_duration is over or jobs are paused. Times are compared with the clock, so that a machine that
// slept is no exception.
func (x *run) limited(ctx context.Context, telling *sync.WaitGroup) (context.Context, func()) {
	stop, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	closes, longest := x.deadlines()
	if x.j.Kind == Backup { // it knows when to stop
		closes, longest = later(closes), later(longest)
	}
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		hung := x.hungAfter(x.report.Start)
		for {
			tick, give := x.r.o.Clock.After(lookEvery)
			select {
			case <-ctx.Done():
				cancel(&Stop{WhyShutdown})
			case <-over:
				cancel(nil)
			case <-tick:
				now := x.r.o.Clock.Now()
				switch {
				case !longest.IsZero() && !now.Before(longest):
					cancel(&Stop{WhyDuration})
				case !closes.IsZero() && !now.Before(closes):
					cancel(&Stop{WhyWindow})
				case !x.p.wish.Forced && x.r.pause() != nil:
					cancel(&Stop{WhyPause})
				case !hung.IsZero() && !now.Before(hung):
					if m := x.hungMessage(now); m != nil {
						telling.Go(func() { x.tell(ctx, *m) })
					}
					hung = x.hungAfter(now)
				}
			}
			give()
			if stop.Err() != nil {
				return
			}
		}
	})
	return stop, func() { close(over); watch.Wait() }
}

// hungAfter is when a run that is still at work is looked at, and told of; zero: never.
func (x *run) hungAfter(t time.Time) time.Time {
	limit := x.r.clockwork().patience(x.j, x.p.history)
	if limit == 0 {
		return time.Time{}
	}
	return t.Add(limit)
}

// hungMessage says that the run has been at work for so long that no other gets through; nil: one has got through lately. It may work, or hang: nobody else would tell.
func (x *run) hungMessage(now time.Time) *notify.Message {
	h := x.p.history
	old := x.r.clockwork().staleFor(x.j, h, now)
	if old == 0 {
		return nil
	}
	m := x.startMessage()
	m.Event, m.Time, m.Failures = notify.Failure, now, x.troubled(h, old)
	m.Error = fmt.Sprintf("it has been at work for %s, and no run has got through for %s", days(now.Sub(x.report.Start)), days(old))
	if h.Success != nil {
		m.LastSuccess = h.Success.End
	}
	return &m
}

// deadlines are when the window closes and when the run has lasted for as long as it may; zero: never.
func (x *run) deadlines() (closes, longest time.Time) {
	if w := x.j.Timing.Window; !w.IsZero() && !x.p.wish.Forced {
		closes = w.Closes(x.report.Start, x.r.o.Location)
	}
	if d := x.j.Timing.MaxDuration; d > 0 {
		longest = x.report.Start.Add(d)
	}
	return closes, longest
}

// command returns the command line of the child, as things stand.
func (x *run) command() ([]string, error) {
	a := args(slices.Clone(x.j.Args))
	closes, longest := x.deadlines()
	if longest.IsZero() || !closes.IsZero() && closes.Before(longest) {
		longest = closes
	}
	if !longest.IsZero() && x.j.Kind == Backup {
		a.text("stop-after", max(longest.Sub(x.r.o.Clock.Now()), time.Second).Round(time.Second).String())
	}
	if allowed := x.j.target().UploadPerMonth; allowed > 0 && x.j.Kind == Backup {
		left := max(int64(allowed)-x.r.sent(x.j), 1)
		a.text("max-upload", strconv.FormatInt(left, 10))
	}
	if x.j.Kind == Backup {
		x.asBackup(&a)
	}
	if len(x.j.Keep) > 0 {
		path, err := writeKeep(x.r.dir(x.j), x.r.o.Host, x.j.Keep)
		if err != nil {
			return nil, err
		}
		a.text("keep-file", path)
	}
	if len(x.j.Specs) > 0 {
		a = append(append(a, "--"), x.j.Specs...)
	}
	return a, nil
}

// asBackup adds what a backup is told of the past.
func (x *run) asBackup(a *args) {
	last := x.p.history.Full
	if s := x.j.Source; s.FullEvery > 0 && !last.IsZero() && (x.report.Start.Sub(last) >= s.FullEvery || believed(last, x.report.Start).IsZero()) {
		a.flag("full")
		x.full = true
	}
	if x.p.wish.Forced && x.j.Cycle.Kind != "" {
		a.flag("force")
	}
}

// child runs the child.
func (x *run) child(stop context.Context) {
	rep := &x.report
	line, err := x.command()
	env, secretErr := x.env()
	if err = errors.Join(err, secretErr); err != nil {
		rep.Outcome, rep.Error = Failed, err.Error()
		return
	}
	rep.Command = append(slices.Clone(x.r.o.Program), line...)
	x.log.Info("begins", "kind", x.j.Kind, "cause", rep.Cause, "command", Typed(rep.Command))
	c := &Child{Program: x.r.o.Program, Args: line, Env: env, Grace: x.r.o.Grace, Clock: x.r.o.Clock, Object: x.tally.take, Line: x.heard}
	e := c.Run(stop)
	if e.Code >= 0 {
		rep.ExitCode = &e.Code
	}
	rep.Signal = e.Signal
	var s *Stop
	_ = errors.As(context.Cause(stop), &s) // nil: nobody stopped it
	rep.Outcome, rep.Why, rep.Error = x.tally.verdict(&e, s, x.said.err)
	if rep.Outcome == Failed || rep.Outcome == Incomplete {
		rep.Hint = x.said.hint
	}
	if closes, longest := x.deadlines(); rep.Why == WhyLimit && x.tally.limit == "time" {
		rep.Why = WhyDuration
		if longest.IsZero() || !closes.IsZero() && closes.Before(longest) {
			rep.Why = WhyWindow
		}
	}
}

// heard takes a line of standard error.
func (x *run) heard(line string) {
	x.said.Add(line)
	switch n := x.said.total; {
	case n == logLines+1:
		x.log.Warn("it says so much that the rest is left out; the report has its last lines")
	case n <= logLines:
		level, text := slog.LevelInfo, line
		for prefix, l := range map[string]slog.Level{"firn: note: ": slog.LevelInfo, "firn: debug: ": slog.LevelDebug, "firn: warning: ": slog.LevelWarn, "firn: error: ": slog.LevelError, "firn: hint: ": slog.LevelInfo} {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				level, text = l, rest
			}
		}
		if text == interrupted {
			level = slog.LevelInfo
		}
		x.log.Log(context.Background(), level, text)
	}
}

// SecretVariables are the names of the variables in which secrets of a configuration are, and that of the passphrase.
func SecretVariables(c *config.Config) []string {
	names := []string{"FIRN_PASSPHRASE"}
	add := func(s config.Secret) {
		if s.Env != "" {
			names = append(names, s.Env)
		}
	}
	for _, r := range c.Repositories {
		add(r.Passphrase)
	}
	for _, s := range c.Sources {
		add(s.Passphrase)
	}
	for _, n := range c.Notify {
		add(n.Secret)
		add(n.URLFrom)
	}
	add(c.Serve.Token)
	return names
}

// env is the environment of the child: without the secrets of others, with its own.
func (x *run) env() ([]string, error) {
	env := x.r.o.Env()
	given := x.j.Secret.Env != "" || slices.ContainsFunc(x.j.Args, func(a string) bool {
		return strings.HasPrefix(a, "--passphrase-") || strings.HasPrefix(a, "--identity=")
	})
	var pass string
	drop := SecretVariables(x.r.o.Config)
	if given { // else what the environment says is meant for all
		drop = append(drop, "FIRN_PASSPHRASE_FILE", "FIRN_PASSPHRASE_COMMAND", "FIRN_IDENTITY")
	} else {
		drop = slices.DeleteFunc(drop, func(name string) bool { return name == "FIRN_PASSPHRASE" })
	}
	out := make([]string, 0, len(env)+1)
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		if name == x.j.Secret.Env && name != "" {
			pass = value
		}
		if !slices.Contains(drop, name) && name != "FIRN_CONFIG" {
			out = append(out, v)
		}
	}
	if x.j.Secret.Env != "" {
		if pass == "" {
			return nil, fmt.Errorf("the passphrase is to come from the variable %q, which is not set", x.j.Secret.Env)
		}
		out = append(out, "FIRN_PASSPHRASE="+pass)
	}
	return out, nil
}

// hookTimeout is how long a hook may take where the configuration does not say.
const hookTimeout = 10 * time.Minute

// errHookTime ends hooks that take too long.
var errHookTime = errors.New("it took too long, and was stopped")

// hook runs one of the commands around a job, until stop ends or its time is over.
func (x *run) hook(stop context.Context, when, line string) error {
	if line == "" {
		return nil
	}
	limit := x.j.Hooks.Timeout
	if limit <= 0 {
		limit = hookTimeout
	}
	stop, cancel := context.WithCancelCause(stop)
	defer cancel(nil)
	late, give := x.r.o.Clock.After(limit)
	defer give()
	go func() {
		select {
		case <-late:
			cancel(errHookTime)
		case <-stop.Done():
		}
	}()
	c := program.Shell(line)
	c.Label = when
	c.Notes = func(text string) { x.log.Info(text, "hook", when) }
	for _, name := range SecretVariables(x.r.o.Config) {
		c.Env = append(c.Env, name+"=")
	}
	c.Env = append(c.Env, "FIRN_JOB="+x.j.Name, "FIRN_KIND="+string(x.j.Kind), "FIRN_STATUS="+string(x.report.Outcome), "FIRN_REPORT="+x.path)
	began := x.r.o.Clock.Now()
	err := c.Run(stop)
	h := HookResult{When: when, Seconds: float64(x.r.o.Clock.Now().Sub(began).Milliseconds()) / 1000}
	if err != nil {
		h.Error = clip(err.Error(), maxError)
		if !strings.HasPrefix(err.Error(), when+": ") { // as errors of the command itself do
			err = fmt.Errorf("%s: %w", when, err)
		}
	}
	x.report.Hooks = append(x.report.Hooks, h)
	return err
}

// hooksAfter runs the commands that follow the job. They cannot change its outcome.
func (x *run) hooksAfter(ctx context.Context) {
	last := context.WithoutCancel(ctx) // also where everything is being stopped: they may have to undo what the first one did
	h := x.j.Hooks
	lines := []struct{ when, line string }{{"on_success", ""}, {"on_failure", ""}, {"after", h.After}}
	switch x.report.Outcome {
	case Done:
		lines[0].line = h.OnSuccess
	case Failed, Incomplete:
		lines[1].line = h.OnFailure
	}
	for _, l := range lines {
		if err := x.hook(last, l.when, l.line); err != nil {
			x.warn("%v", err)
		}
	}
}

// Typed is a command line as a person would type it.
func Typed(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-=./:,%+@") != "" {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		b.WriteString(w)
	}
	return b.String()
}
