package cli

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"firn/internal/advice"
	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/price"
	"firn/internal/units"
)

// statusCommand shows how jobs stand.
type statusCommand struct {
	c      *console
	cmd    *cobra.Command
	read   readFlags
	host   hostFlags
	remote bool
	maxAge string

	older time.Duration // --max-age; 0: not given
}

func newStatus(c *console) *cobra.Command {
	x := &statusCommand{c: c}
	x.cmd = &cobra.Command{
		Use:   "status [JOB…]",
		Short: "Show how every job stands, and whether a backup is stale",
		Long: `Shows the last good run of each job of the configuration, how old it is, what it holds, what the last run added and cost, and when it is
due again. That is what this machine remembers: nothing is asked of the store.

A job is stale where its last success is older than stale_after, or else than one and a half of the longest time between two moments
of its schedule.

--remote looks at the repository, from any machine: with the key of a host, a passphrase or an identity at the newest snapshot of each
source, without any key at the names and dates of what lies there, for each scope. --max-age 3d does that, too, and says what is older.

Exit codes: 0 all is well, 1 something is stale or has failed; each is named.`,
		Example: `  firn status
  firn status --json | jq -r 'select(.state == "stale") | .job'
  firn status --max-age 3d --repo s3://bucket/nas`,
		ValidArgsFunction: (&runCommand{c: c}).complete,
		RunE:              func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := x.cmd.Flags()
	fl.BoolVar(&x.remote, "remote", false, "look at the repository, not at what this machine remembers")
	fl.StringVar(&x.maxAge, "max-age", "", "how old the newest snapshot of a source may be, such as 36h or 3d; looks at the repository")
	fl.StringVar(&x.host.keyFile, "host-key", "", "write-only key of a host (FIRN_HOST_KEY)")
	x.read.register(x.cmd)
	fl.Lookup("repo").Usage = "look at this repository: a folder, s3://bucket/prefix, or a name in the configuration (default: all of it)"
	return x.cmd
}

func (x *statusCommand) run(ctx context.Context, names []string) error {
	if x.maxAge != "" {
		d, err := units.ParseDuration(x.maxAge)
		if err != nil || d <= 0 {
			return usage("such as 36h or 3d", "--max-age %q: want a time", x.maxAge)
		}
		x.older = d
	}
	if x.remote || x.older > 0 || x.read.store.repo != "" {
		if len(names) > 0 {
			return usage("firn status without --remote and --max-age shows single jobs", "a repository does not know of jobs: %q", names[0])
		}
		return x.lookAll(ctx)
	}
	cfg, err := x.c.jobs()
	if err != nil {
		return err
	}
	r, err := x.c.runner(cfg, nil)
	if err != nil {
		return err
	}
	jobs, err := findJobs(r, names)
	if err != nil {
		return err
	}
	return x.show(r.Status(jobs, 0))
}

// statusJSON is what status prints for each job with --json.
type statusJSON struct {
	Job        string      `json:"job"`
	Kind       job.Kind    `json:"kind"`
	Repository string      `json:"repository"`
	Source     []string    `json:"source,omitempty"`
	State      job.State   `json:"state"`
	Snapshot   string      `json:"snapshot,omitempty"` // the newest one from here
	Time       *time.Time  `json:"time,omitempty"`     // end of the last success
	Age        float64     `json:"age_seconds,omitempty"`
	Stale      float64     `json:"stale_seconds,omitempty"` // from which age on it is stale
	Files      int64       `json:"files"`
	Bytes      int64       `json:"bytes"`
	Added      int64       `json:"added"`
	Cost       float64     `json:"cost,omitempty"`
	Monthly    float64     `json:"monthly,omitempty"`
	Currency   string      `json:"currency,omitempty"`
	Outcome    job.Outcome `json:"outcome,omitempty"` // of the last run
	Why        job.Why     `json:"why,omitempty"`
	Ended      *time.Time  `json:"ended,omitempty"`
	Error      string      `json:"error,omitempty"`
	Due        bool        `json:"due"`
	Blocked    job.Why     `json:"blocked,omitempty"`
	Next       *time.Time  `json:"next,omitempty"`
	Missed     int         `json:"missed"` // since the last success
	Failures   int         `json:"failures"`
	PID        int         `json:"pid,omitempty"` // that runs it
	CutOff     bool        `json:"cut_off"`
}

func toStatusJSON(s *job.Status) statusJSON {
	j := statusJSON{Job: s.Job.Name, Kind: s.Job.Kind, Repository: s.Job.Repository.Name, Source: s.Job.Specs, State: s.State, Age: s.Age.Seconds(), Stale: s.StaleTime.Seconds(), Due: s.Due, Blocked: s.Blocked,
		Next: whenJSON(s.Next), Missed: s.Misses, Failures: s.Failures, CutOff: s.CutOff}
	if ok := s.Success; ok != nil {
		j.Snapshot, j.Time = ok.Snapshot, whenJSON(ok.End)
		j.Files, j.Bytes, j.Added, j.Cost, j.Monthly, j.Currency = ok.Files, ok.Bytes, ok.Added, ok.Cost, ok.Monthly, ok.Currency
	}
	if last := s.Last; last != nil {
		j.Outcome, j.Why, j.Ended, j.Error = last.Outcome, last.Why, whenJSON(last.End), last.Error
	}
	if s.Runner != nil {
		j.PID = s.Runner.PID
	}
	return j
}

// Colours of a terminal, by state.
var stateColour = map[job.State]string{job.Stale: "31", job.Failing: "31", job.Never: "33", job.Running: "36", job.Paused: "33", job.Off: "2"}

// coloured reports whether standard output is a terminal that shows colours.
func coloured() bool {
	return term.IsTerminal(int(os.Stdout.Fd())) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// show prints the jobs, and fails where one needs somebody to look.
func (x *statusCommand) show(all []job.Status) error {
	c := x.c
	var bad []string
	t := c.table("job", "state", "last good", ">age", "snapshot", ">files", ">size", ">added", ">cost", "next")
	for i := range all {
		s := &all[i]
		if s.Bad() {
			bad = append(bad, s.Job.Name+" ("+string(s.State)+")")
		}
		if c.json != "" {
			if err := c.objectOf("status", toStatusJSON(s)); err != nil {
				return err
			}
			continue
		}
		t.row(statusCells(s)...)
		t.colour(stateColour[s.State])
	}
	if c.json == "" {
		t.print()
		c.explainStatus(all)
	}
	return badJobs(bad)
}

// statusCells is a line of the table.
func statusCells(s *job.Status) []string {
	good, age, snap, files, size, added, cost, next := "", "", "", "", "", "", "", ""
	if r := s.Success; r != nil {
		good, age = r.End.Local().Format("2006-01-02 15:04"), longDuration(s.Age)
		if snap = r.Snapshot; len(snap) > 8 {
			snap = snap[:8]
		}
		if r.Files > 0 {
			files, size, added = units.Count(r.Files), units.Size(r.Bytes).String(), units.Size(r.Added).String()
		}
		if r.Currency != "" {
			cost = price.Money(r.Cost).In(r.Currency)
		}
	}
	switch {
	case s.State == job.Off:
	case s.Due && s.Blocked == "":
		next = "now"
	case !s.Next.IsZero():
		next = s.Next.Local().Format("2006-01-02 15:04")
	}
	return []string{s.Job.Name, string(s.State), good, age, snap, files, size, added, cost, next}
}

// explainStatus says more about those that need it.
func (c *console) explainStatus(all []job.Status) {
	for i := range all {
		s := &all[i]
		name := s.Job.Name
		switch last := s.Last; {
		case s.Runner != nil && s.Runner.PID > 0:
			c.note("%s: process %d runs it since %s", name, s.Runner.PID, s.Runner.Since.Local().Format(timeFormat))
		case s.CutOff:
			c.note("%s: its last run was cut off; it goes on at the next", name)
		case s.State == job.Failing && last.Error != "":
			c.warn("%s: failed on %s: %s", name, last.End.Local().Format(timeFormat), last.Error)
		case last != nil && last.Outcome == job.Incomplete:
			c.warn("%s: %s could not be read on %s", name, counted(last.Unread, "file"), last.End.Local().Format(timeFormat))
		case last != nil && last.Outcome == job.Partial:
			c.note("%s: its last run was stopped (%s); it goes on at the next", name, last.Why)
		case s.Blocked != "" && s.Blocked != job.WhyPause:
			c.note("%s: due, but %s", name, reasons[s.Blocked])
		}
		if s.Misses > 0 {
			c.warn("%s: %s missed since the last good one", name, counted(int64(s.Misses), "run"))
		}
	}
	if len(all) > 0 && all[0].Pause != nil {
		until := "until firn resume"
		if at := all[0].Pause.Until; !at.IsZero() {
			until = "until " + at.Local().Format(timeFormat)
		}
		c.note("jobs are paused %s", until)
	}
}

// badJobs is how the command ends.
func badJobs(bad []string) error {
	if len(bad) == 0 {
		return nil
	}
	text := ""
	for i, name := range bad {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return &advice.Error{Text: "not well: " + text}
}

// lookAll looks at one repository, or at those of the configuration.
func (x *statusCommand) lookAll(ctx context.Context) error {
	var bad []string
	for _, one := range x.places() {
		if one.err != nil {
			return one.err
		}
		some, err := x.look(ctx, one)
		if err != nil {
			return err
		}
		bad = append(bad, some...)
	}
	return badJobs(bad)
}

// place is a repository to look at.
type lookedAt struct {
	read *readFlags
	host *hostFlags
	name string // of the configuration; empty: none
	err  error
}

// places are the repositories that are meant.
func (x *statusCommand) places() []lookedAt {
	given := x.read.store.repo
	if given == "" {
		given = os.Getenv("FIRN_REPO")
	}
	cfg, err := x.c.config.load()
	if given != "" {
		if cfg != nil && isRepositoryName(given) && !exists(given) {
			if r := cfg.Repository(given); r != nil {
				return []lookedAt{x.place(r)}
			}
		}
		x.read.store.repo = given
		return []lookedAt{{read: &x.read, host: &x.host}}
	}
	if err != nil {
		return []lookedAt{{err: err}}
	}
	if cfg == nil {
		return []lookedAt{{read: &x.read, host: &x.host}} // which says what is missing
	}
	var all []lookedAt
	for _, r := range cfg.Repositories {
		all = append(all, x.place(r))
	}
	return all
}

// place takes what the configuration says of a repository, but for what the user says. What would take a secret is left out: the key of this host, or none, will do.
func (x *statusCommand) place(r *config.Repository) lookedAt {
	one := lookedAt{read: &readFlags{}, host: &hostFlags{}, name: r.Name}
	cmd := &cobra.Command{Use: "status"}
	one.read.register(cmd)
	cmd.Flags().StringVar(&one.host.keyFile, "host-key", "", "write-only key of this host")
	plain := *r
	plain.Passphrase, plain.Identity = config.Secret{}, nil
	one.err = x.c.takeOver(cmd, &plain)
	one.read.secrets = x.read.secrets
	if x.host.keyFile != "" {
		one.host.keyFile = x.host.keyFile
	}
	return one
}
