package cli

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/timer"
	"firn/internal/units"
)

// scheduleCommand has the system's scheduler start firn.
type scheduleCommand struct {
	c       *console
	system  *timer.System
	kind    string
	name    string
	user    bool
	whole   bool // --system
	serve   bool
	eachJob bool
	every   string
	print   bool
	force   bool
}

func newSchedule(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Have the system start firn by itself: systemd, cron, launchd, periodic",
		Long: `Tells the scheduler of the system to start firn run --scheduled every quarter of an hour, or more often where a schedule needs that. The
configuration says what is due then, so an entry does not change when a schedule does.`,
		Example: "  firn schedule install\n  firn schedule show\n  firn schedule remove",
	}
	cmd.AddCommand(newScheduleInstall(c), newScheduleShow(c), newScheduleRemove(c), newScheduleFailed(c))
	return asFolder(cmd)
}

// register adds the flags that say which entry is meant.
func (x *scheduleCommand) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&x.kind, "kind", "", "scheduler: systemd, cron, launchd or periodic (the first that the machine has)")
	fl.BoolVar(&x.user, "user", false, "for this user alone (default for everybody but root)")
	fl.BoolVar(&x.whole, "system", false, "for the whole system (default for root)")
	fl.StringVar(&x.name, "name", "firn", "of the entry, where several configurations have one each; begins with firn")
	var kinds []string
	for _, k := range timer.Kinds() {
		kinds = append(kinds, string(k))
	}
	complete(cmd, "kind", kinds...)
}

func newScheduleInstall(c *console) *cobra.Command {
	x := &scheduleCommand{c: c, system: timer.Here()}
	cmd := &cobra.Command{
		Use: "install", Short: "Have the system start firn by itself", Args: noArgs,
		Long: `Writes an entry for the system's scheduler and makes it active. Doing it again brings the entry up to date. A file that firn did not write
is not replaced, and of a crontab every other line stays as it is.

One entry starts firn every quarter of an hour, and the configuration says what is due. With --each-job systemd gets a timer for each job
instead; with --serve the scheduler keeps firn serve running. Where systemd finds that firn itself could not run, the channels of the
configuration are told.`,
		Example: `  firn schedule install
  firn schedule install --serve
  firn schedule install --kind cron --print
  firn schedule install --config /etc/firn/photos.toml --name firn-photos`,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.install(cmd.Context()) },
	}
	x.register(cmd)
	fl := cmd.Flags()
	fl.BoolVar(&x.serve, "serve", false, "keep firn serve running, instead of starting firn run now and then")
	fl.BoolVar(&x.eachJob, "each-job", false, "systemd: a timer for each job")
	fl.StringVar(&x.every, "every", "", "how often firn looks for what is due, such as 5m (15m, or more often where a schedule needs it)")
	fl.BoolVar(&x.print, "print", false, "print what would be written, and change nothing")
	fl.BoolVar(&x.force, "force", false, "replace files that firn did not write")
	return cmd
}

func newScheduleShow(c *console) *cobra.Command {
	x := &scheduleCommand{c: c, system: timer.Here()}
	cmd := &cobra.Command{
		Use: "show", Short: "Show what the system was told, and when it starts firn next", Args: noArgs,
		Long:    "Lists the entries of firn that schedulers of this machine have: what they start, whether they are active, when they come next, and whether\nthey are still as firn schedule install would write them.",
		Example: "  firn schedule show\n  firn schedule show --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return x.show(cmd.Context()) },
	}
	cmd.Flags().StringVar(&x.name, "name", "firn", "of the entry")
	return cmd
}

func newScheduleRemove(c *console) *cobra.Command {
	x := &scheduleCommand{c: c, system: timer.Here()}
	cmd := &cobra.Command{
		Use: "remove", Short: "Take back what firn schedule install did", Args: noArgs,
		Long:    "Removes the entries of firn from the schedulers of this machine: of this user, or, for root, of the system. Whatever else they have stays.",
		Example: "  firn schedule remove",
		RunE:    func(cmd *cobra.Command, _ []string) error { return x.remove(cmd.Context()) },
	}
	x.register(cmd)
	return cmd
}

// options are those of what is to be run.
func (x *scheduleCommand) options(ctx context.Context) (o timer.Options, err error) {
	if x.user && x.whole {
		return o, usage("give one of them", "both --user and --system are given")
	}
	o = timer.Options{Kind: timer.Kind(x.kind), Name: x.name, User: x.user || !x.whole && os.Geteuid() != 0, Serve: x.serve, ConfigHome: os.Getenv("XDG_CONFIG_HOME")}
	if o.Program, err = thisProgram(); err != nil {
		return o, err
	}
	if who, err := user.Current(); err == nil && filepath.IsAbs(who.HomeDir) {
		o.Home = who.HomeDir // and not what sudo or a shell has made of HOME
	} else if o.Home, err = os.UserHomeDir(); err != nil {
		return o, err
	}
	if !filepath.IsAbs(o.ConfigHome) {
		o.ConfigHome = ""
	}
	o.Key, _ = os.Hostname() // without a name all come at the same minute
	o.Env = scheduledEnv(o)
	if o.Kind == "" {
		if has := x.system.Has(ctx); len(has) > 0 {
			o.Kind = has[0]
		}
	}
	if o.Kind == timer.Periodic {
		o.Every = day
	}
	return o, nil
}

// thisProgram is the path by which this program is called, so that one that is updated is meant still.
func thisProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	found, err := exec.LookPath("firn")
	if err == nil {
		found, err = filepath.Abs(found)
	}
	if err == nil {
		a, errA := os.Stat(self)
		b, errB := os.Stat(found)
		if errA == nil && errB == nil && os.SameFile(a, b) {
			return found, nil
		}
	}
	return self, nil
}

// passedOn are the variables that say where things are, and that a scheduler does not know. None holds a secret.
var passedOn = []string{"FIRN_STATE_DIR", "FIRN_CACHE_DIR", "FIRN_HOST", "XDG_STATE_HOME", "XDG_CACHE_HOME", "AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_REGION",
	"AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_CA_BUNDLE", "SSL_CERT_FILE"}

// scheduledEnv is what the program needs and a scheduler does not give it: cron has neither the PATH nor, often, the HOME of a shell, and programs look for their passwords there.
func scheduledEnv(o timer.Options) []string {
	path := []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"}
	if runtime.GOOS == "darwin" {
		path = append([]string{"/opt/homebrew/bin"}, path...)
	}
	if dir := filepath.Dir(o.Program); !slices.Contains(path, dir) && !strings.Contains(dir, ":") {
		path = append(path, dir)
	}
	env := []string{"HOME=" + o.Home, "PATH=" + strings.Join(path, ":")}
	for _, name := range passedOn {
		if value := os.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// configured takes what the entry needs out of the configuration.
func (x *scheduleCommand) configured(o *timer.Options) (*config.Config, error) {
	cfg, err := x.c.config.load()
	if err != nil || cfg == nil {
		return nil, err
	}
	o.Config = x.c.config.path
	jobs := job.List(cfg)
	if o.Every == 0 {
		o.Every = pace(jobs)
	}
	o.Jobs = timersOf(jobs, hostName(cfg))
	return cfg, nil
}

// pace is how often to look for what is due: often enough for the busiest schedule.
func pace(jobs []job.Job) time.Duration {
	every := timer.DefaultEvery
	for i := range jobs {
		if s := jobs[i].Timing.Schedule; !jobs[i].Off && !s.IsZero() && s.Pace() > 0 {
			every = min(every, s.Pace())
		}
	}
	return max(every, time.Minute)
}

// timersOf are the jobs that have a timer of their own.
func timersOf(jobs []job.Job, host string) (timers []timer.Job) {
	for i := range jobs {
		if j := &jobs[i]; !j.Off && (!j.Timing.Schedule.IsZero() || j.Cycle.Kind != "") {
			timers = append(timers, timer.Job{Name: j.Name, Events: j.Timing.Schedule.WithKey(host + "\n" + j.Name).Calendar()}) // as job places them
		}
	}
	return timers
}

func (x *scheduleCommand) install(ctx context.Context) error {
	o, err := x.options(ctx)
	if err != nil {
		return err
	}
	if o.Kind == "" {
		return usage("let whatever starts programs here run: "+o.Program+" run --scheduled; or name a scheduler with --kind", "no scheduler is known on this machine")
	}
	if x.every != "" {
		if o.Every, err = units.ParseDuration(x.every); err != nil || o.Every <= 0 {
			return usage("", "--every %q: want a time such as 5m", x.every)
		}
	}
	if cfg, err := x.configured(&o); err != nil {
		return err
	} else if cfg == nil {
		_, err := x.c.jobs()
		return err
	}
	if !x.eachJob {
		o.Jobs = nil
	} else if len(o.Jobs) == 0 {
		return usage("give a source a schedule", "no job has a schedule")
	}
	if x.print {
		x.warnOfSecrets(o)
		return x.preview(o)
	}
	done, err := x.system.Install(ctx, o, x.force)
	if told := x.tellChanges(o, done); told != nil && err == nil {
		err = told
	}
	if err != nil {
		return x.wrong(err)
	}
	x.warnOfSecrets(o)
	return nil
}

// wrong says what to do about what schedulers refuse.
func (x *scheduleCommand) wrong(err error) error {
	var bad *timer.Error
	var foreign *timer.ForeignError
	var active *timer.ActivateError
	switch {
	case errors.As(err, &bad) && bad.What == "job":
		return &advice.Error{Err: err, Hint: "without --each-job one entry is enough for all jobs", Code: advice.Usage}
	case errors.As(err, &bad):
		return &advice.Error{Err: err, Code: advice.Usage}
	case errors.As(err, &foreign):
		return &advice.Error{Err: err, Hint: "--force replaces it; --name gives the entry another name"}
	case errors.As(err, &active):
		return &advice.Error{Err: err, Hint: "is the scheduler running? Another is chosen with --kind; firn schedule remove takes the files away"}
	case errors.Is(err, os.ErrPermission):
		return &advice.Error{Err: err, Hint: "an entry for the system takes root; --user makes one for this user"}
	}
	return err
}

// preview prints the files.
func (x *scheduleCommand) preview(o timer.Options) error {
	files, err := timer.Plan(o)
	if err != nil {
		return x.wrong(err)
	}
	for i, f := range files {
		name := f.Path
		if name == "" {
			name = "crontab"
		}
		if x.c.json != "" {
			if err := x.c.object(map[string]any{"event": "schedule_file", "kind": o.Kind, "path": name, "content": string(f.Content)}); err != nil {
				return err
			}
			continue
		}
		if len(files) > 1 {
			if i > 0 {
				x.c.print("\n")
			}
			x.c.print("# %s\n", printable(name))
		}
		x.c.print("%s", f.Content)
	}
	return nil
}

// tellChanges names every file that changed.
func (x *scheduleCommand) tellChanges(o timer.Options, done []timer.Change) error {
	for _, d := range done {
		if x.c.json != "" {
			if err := x.c.object(map[string]any{"event": "schedule_change", "kind": o.Kind, "path": d.Path, "what": d.What}); err != nil {
				return err
			}
		} else if !x.c.quiet {
			x.c.print("%s %s\n", d.What, printable(d.Path))
		}
	}
	return nil
}

// warnOfSecrets tells of what a scheduled run will not have.
func (x *scheduleCommand) warnOfSecrets(o timer.Options) {
	for _, name := range []string{"FIRN_PASSPHRASE", "AWS_SECRET_ACCESS_KEY"} {
		if os.Getenv(name) != "" {
			x.c.warn("%s is set here and is not in scheduled runs: keep it in a file that the configuration or ~/.aws/credentials names", name)
		}
	}
	if o.Kind == timer.Systemd && o.User {
		if who, err := user.Current(); err == nil {
			if _, err := os.Stat(filepath.Join("/var/lib/systemd/linger", who.Username)); err != nil {
				x.c.note("it runs while %s is logged in only; loginctl enable-linger changes that", who.Username)
			}
		}
	}
}

func (x *scheduleCommand) remove(ctx context.Context) error {
	o, err := x.options(ctx)
	if err != nil {
		return err
	}
	kinds := []timer.Kind{o.Kind}
	if x.kind == "" {
		kinds = x.system.Known()
	}
	removed := 0
	for _, o.Kind = range kinds {
		if o.User && o.Kind == timer.Periodic {
			continue
		}
		o.Every = 0
		if o.Kind == timer.Periodic {
			o.Every = day
		}
		done, err := x.system.Remove(ctx, o)
		removed += len(done)
		if told := x.tellChanges(o, done); told != nil {
			return told
		}
		if err != nil && (x.kind != "" || o.Kind != timer.Cron) { // a machine without cron has no entry in it
			return x.wrong(err)
		}
	}
	if removed == 0 {
		x.c.note("there is no entry of firn")
	}
	return nil
}

// entries are what schedulers were told.
func (x *scheduleCommand) entries(ctx context.Context) ([]timer.Entry, error) {
	o, err := x.options(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := x.configured(&o); err != nil {
		x.c.explain("entries are not compared with the configuration: %v", err)
	}
	return x.system.Show(ctx, o, x.c.now(), time.Local)
}

// scheduleJSON is what schedule show prints with --json for each entry.
type scheduleJSON struct {
	Event   string             `json:"event"` // schedule
	Kind    timer.Kind         `json:"kind"`
	User    bool               `json:"user"`
	Files   []string           `json:"files"`
	Program string             `json:"program"`
	Config  string             `json:"config,omitempty"`
	Serve   bool               `json:"serve"`
	EachJob bool               `json:"each_job"`
	Every   float64            `json:"every"` // seconds
	Units   []scheduleUnitJSON `json:"units"`
	Differs []string           `json:"differs"`
}

type scheduleUnitJSON struct {
	Name  string     `json:"name"`
	State string     `json:"state,omitempty"`
	Next  *time.Time `json:"next,omitempty"`
}

func (x *scheduleCommand) show(ctx context.Context) error {
	entries, err := x.entries(ctx)
	if err != nil {
		return err
	}
	t := x.c.table("scheduler", "for", "starts", "state", "next", "as it should be")
	for _, e := range entries {
		j := scheduleJSON{"schedule", e.Kind, e.User, e.Files, e.Program, e.Config, e.Serve, e.EachJob, e.Every.Seconds(), []scheduleUnitJSON{}, append([]string{}, e.Differs...)}
		whose := map[bool]string{true: "this user", false: "the system"}[e.User]
		starts := e.Program + map[bool]string{true: " serve", false: " run"}[e.Serve]
		fits := "yes"
		if len(e.Differs) > 0 {
			fits = "no: firn schedule install brings it up to date"
		}
		for _, u := range e.Units {
			one := scheduleUnitJSON{Name: u.Name, State: u.State}
			next := ""
			if !u.Next.IsZero() {
				utc := u.Next.UTC()
				one.Next, next = &utc, u.Next.Local().Format("2006-01-02 15:04")
			}
			j.Units = append(j.Units, one)
			t.row(string(e.Kind)+" "+u.Name, whose, starts, u.State, next, fits)
		}
		if len(e.Units) == 0 {
			t.row(string(e.Kind), whose, starts, "", "", fits)
		}
		if x.c.json != "" {
			if err := x.c.object(j); err != nil {
				return err
			}
		}
	}
	if x.c.json != "" {
		return nil
	}
	t.print()
	if len(entries) == 0 {
		x.c.note("the system was not told to start firn: firn schedule install does that")
	}
	return nil
}
