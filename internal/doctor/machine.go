package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"firn/internal/config"
	"firn/internal/program"
	"firn/internal/timer"
)

// Machine is what this machine is to do by itself.
type Machine struct {
	Config *config.Config // nil: there is none, or Broken
	Broken error          // why it cannot be read; nil: it can, or there is none
	File   string         // where it was read
	// Entries are what the system's schedulers were told.
	Entries []timer.Entry
	Program string // the path of this program, as a scheduler is told it
	Jobs    []Job  // of the configuration, as far as they have a time of their own
}

// Job is how a job of the configuration stands.
type Job struct {
	Name    string
	Last    time.Time     // the last success; zero: none is known
	Stale   time.Duration // how old it may be; 0: any age
	Failing bool          // the last run failed
}

// machine looks at the configuration, and at what follows from it.
func (d *doctor) machine(ctx context.Context) {
	m := d.o.Machine
	if m == nil {
		return
	}
	switch {
	case m.Broken != nil:
		f := Finding{Check: CheckConfig, Severity: Problem, What: "the configuration cannot be read", Why: "no scheduled run begins", Fix: Fix{Why: m.Broken}}
		var all config.Errors
		if errors.As(m.Broken, &all) {
			for _, e := range all {
				f.Evidence = append(f.Evidence, e.Error())
			}
		} else {
			f.Evidence = []string{m.Broken.Error()}
		}
		d.add(f)
		return
	case m.Config == nil:
		d.add(Finding{Check: CheckConfig, Severity: Note, What: "there is no configuration", Why: "backups are made when somebody makes them"})
		d.schedule(m)
		return
	}
	d.files(m)
	d.secrets(m.Config)
	d.sources(ctx, m.Config)
	d.hooks(m.Config)
	d.schedule(m)
	d.channels(m.Config)
	d.lastRuns(m)
}

// others reports who may read and who may write a file besides its owner.
func others(path string) (read, write bool) {
	info, err := os.Stat(path)
	if err != nil || runtime.GOOS == "windows" || !info.Mode().IsRegular() {
		return false, false
	}
	return info.Mode().Perm()&0o044 != 0, info.Mode().Perm()&0o022 != 0
}

// files looks at who may change the configuration.
func (d *doctor) files(m *Machine) {
	fine := true
	for _, name := range m.Config.Files {
		if _, write := others(name); write {
			fine = false
			d.add(Finding{Check: CheckConfig, Severity: Problem, What: fmt.Sprintf("%q can be written by others", name), Why: "commands stand in it, which whoever may write it has run as the user of firn",
				Fix: Fix{Close: name}})
		}
	}
	if fine {
		d.ok(CheckConfig, "%q can be read, and nobody else can write it", m.File)
	}
}

// secrets looks at the files with secrets that the configuration names.
func (d *doctor) secrets(c *config.Config) {
	var all []string
	add := func(place string, names ...string) {
		for _, name := range names {
			if name != "" && !slices.Contains(all, name) {
				all = append(all, name)
				d.secret(name, place)
			}
		}
	}
	before := len(d.findings)
	for _, r := range c.Repositories {
		add("repository "+r.Name, append([]string{r.Passphrase.File, r.HostKey, r.PruneKey}, r.Identity...)...)
	}
	for _, s := range c.Sources {
		add("source "+s.Name, append([]string{s.Passphrase.File}, s.Identity...)...)
	}
	for _, n := range c.Notify {
		add("channel "+n.Name, n.Secret.File, n.URLFrom.File)
	}
	add("serve", c.Serve.Token.File)
	if len(all) > 0 && len(d.findings) == before {
		d.ok(CheckSecrets, "%d files, and only their owner can read them", len(all))
	}
}

func (d *doctor) secret(name, place string) {
	if _, err := os.Stat(name); err != nil {
		d.add(Finding{Check: CheckSecrets, Severity: Problem, What: fmt.Sprintf("%q of %s: %v", name, place, reason(err)), Why: "without it the jobs that need it fail", Fix: Fix{Why: err}})
		return
	}
	if read, write := others(name); read || write {
		d.add(Finding{Check: CheckSecrets, Severity: Warning, What: fmt.Sprintf("%q of %s can be read by others", name, place), Why: "what it opens is open to them", Fix: Fix{Close: name}})
	}
}

// reason is an error without the path, which is said already.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// needs are the programs of kinds of sources, each with its other names.
var needs = map[string][][]string{
	"zfs": {{"zfs"}, {"zpool"}}, "btrfs": {{"btrfs"}}, "postgres": {{"pg_dump"}, {"pg_dumpall"}, {"psql"}}, "mysql": {{"mariadb-dump", "mysqldump"}, {"mariadb", "mysql"}}, "svn": {{"svnadmin"}, {"svnlook"}},
}

// sources looks whether what is to be backed up is there, and what it is read with.
func (d *doctor) sources(ctx context.Context, c *config.Config) {
	before := len(d.findings)
	var versions, seen []string
	for _, s := range c.Sources {
		if s.Off {
			continue
		}
		d.folders(s)
		for _, names := range needs[s.Kind] {
			dir := s.Settings["programs"]
			key := dir + "\n" + names[0]
			if slices.Contains(seen, key) {
				continue
			}
			seen = append(seen, key)
			if version := d.need(ctx, s, dir, names); version != "" {
				versions = append(versions, version)
			}
		}
	}
	if len(versions) > 0 {
		d.ok(CheckSources, "%s: what sources take is here", list(versions))
	} else if len(d.findings) == before {
		d.ok(CheckSources, "what is to be backed up is there")
	}
}

// folders looks at the folders of a source. An empty one may be a mount point without its file system, which must not pass for a backup of nothing.
func (d *doctor) folders(s *config.Source) {
	if s.Kind != "dir" || s.Hooks.Before != "" || s.Settings["before"] != "" { // what comes before may be what makes it be there
		return
	}
	paths := s.Paths
	if s.Rest != "" {
		paths = append([]string{s.Rest}, paths...)
	}
	for _, path := range paths {
		what := fmt.Sprintf("%q of source %s", path, s.Name)
		info, err := os.Stat(path)
		if err != nil {
			d.add(Finding{Check: CheckSources, Severity: Problem, What: fmt.Sprintf("%s: %v", what, reason(err)), Why: "its backup fails"})
			continue
		}
		if !info.IsDir() {
			continue
		}
		f, err := os.Open(path)
		if err == nil {
			_, err = f.Readdirnames(1)
			_ = f.Close()
		}
		switch {
		case errors.Is(err, io.EOF):
			d.add(Finding{Check: CheckSources, Severity: Warning, What: what + " is empty", Why: "is something to be mounted there? A backup that loses most of its files fails"})
		case errors.Is(err, fs.ErrPermission):
			d.add(Finding{Check: CheckSources, Severity: Problem, What: what + " cannot be read by this user", Why: "its backup fails, or lacks what cannot be read"})
		}
	}
}

// need finds a program of a source, and returns its name and version.
func (d *doctor) need(ctx context.Context, s *config.Source, dir string, names []string) string {
	tried := names
	if dir != "" {
		tried = nil
		for _, n := range names {
			tried = append(tried, filepath.Join(dir, n))
		}
	}
	path, err := program.Find(tried[0], tried[1:]...)
	if err != nil {
		d.add(Finding{Check: CheckSources, Severity: Problem, What: fmt.Sprintf("source %s (%s) takes %s, which is not here", s.Name, s.Kind, strings.Join(names, " or ")), Why: "its backup fails", Fix: Fix{Why: err}})
		return ""
	}
	version, err := d.o.Version(ctx, path)
	if err != nil || version == "" {
		return filepath.Base(path)
	}
	return filepath.Base(path) + " " + version
}

// hooks looks whether programs that hooks name by their path can be run.
func (d *doctor) hooks(c *config.Config) {
	seen := map[string]bool{}
	look := func(where, line string) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		word = strings.Trim(word, `"'`)
		if !filepath.IsAbs(word) || seen[word] {
			return
		}
		seen[word] = true
		info, err := os.Stat(word)
		f := Finding{Check: CheckHooks, Severity: Problem, Why: "the job fails before it begins, or what should follow it does not"}
		switch {
		case err != nil:
			f.What = fmt.Sprintf("%q of %s: %v", word, where, reason(err))
		case info.IsDir() || runtime.GOOS != "windows" && info.Mode()&0o111 == 0:
			f.Fix.Exec = word
			f.What = fmt.Sprintf("%q of %s cannot be run: it is not executable", word, where)
		default:
			if _, write := others(word); write {
				f.What, f.Why, f.Fix.Close = fmt.Sprintf("%q of %s can be written by others", word, where), "whoever may write it has it run as the user of firn", word
			}
		}
		if f.What != "" {
			d.add(f)
		}
	}
	all := func(where string, h config.Hooks) {
		for _, line := range []string{h.Before, h.After, h.OnSuccess, h.OnFailure} {
			look(where, line)
		}
	}
	for _, s := range c.Sources {
		all("source "+s.Name, s.Hooks)
		look("source "+s.Name, s.Settings["before"])
		look("source "+s.Name, s.Settings["after"])
	}
	for _, r := range c.Repositories {
		for _, u := range []*config.Upkeep{r.Prune, r.Check, r.Drill} {
			if u != nil {
				all("repository "+r.Name, u.Hooks)
			}
		}
		for _, k := range r.Copies {
			all("repository "+r.Name, k.Hooks)
		}
	}
	for _, n := range c.Notify {
		look("channel "+n.Name, n.Command)
	}
}

// schedule looks at what the system starts.
func (d *doctor) schedule(m *Machine) {
	if len(m.Entries) == 0 {
		if len(m.Jobs) > 0 {
			d.add(Finding{Check: CheckSchedule, Severity: Warning, What: "jobs have schedules, and nothing starts firn", Why: "no job runs by itself, unless firn is started by something that is not known here", Fix: Fix{Start: true}})
		}
		return
	}
	if len(m.Entries) > 1 {
		d.add(Finding{Check: CheckSchedule, Severity: Warning, What: "firn is started by " + list(kindsOf(m.Entries)), Why: "what one of them would do, another has done, and reports come from both", Fix: Fix{Drop: true}})
	}
	for _, e := range m.Entries {
		d.entry(m, e)
	}
}

func kindsOf(entries []timer.Entry) (kinds []string) {
	for _, e := range entries {
		whose := "the system's "
		if e.User {
			whose = "this user's "
		}
		kinds = append(kinds, whose+string(e.Kind))
	}
	return kinds
}

func (d *doctor) entry(m *Machine, e timer.Entry) {
	f := Finding{Check: CheckSchedule, Severity: Problem, Evidence: e.Files, Fix: Fix{Start: true}}
	info, err := os.Stat(e.Program)
	mine, mineErr := os.Stat(m.Program)
	switch {
	case err != nil:
		f.What, f.Why = fmt.Sprintf("%s starts %q: %v", e.Kind, e.Program, reason(err)), "no job runs by itself"
	case mineErr == nil && !os.SameFile(info, mine):
		f.Severity, f.What, f.Why = Warning, fmt.Sprintf("%s starts %q, and this is %q", e.Kind, e.Program, m.Program), "scheduled runs are of another version than those by hand"
	case e.Config != "" && m.Config != nil && e.Config != m.File:
		f.Severity, f.What, f.Why = Warning, fmt.Sprintf("%s starts firn with %q, and here %q counts", e.Kind, e.Config, m.File), "what is changed in one is not changed in the other"
	default:
		if _, write := others(e.Program); write {
			d.add(Finding{Check: CheckSchedule, Severity: Problem, What: fmt.Sprintf("%q can be written by others, and %s starts it", e.Program, e.Kind), Why: "whoever may write it has it run as the user of firn",
				Fix: Fix{Close: e.Program}})
		}
		for _, u := range e.Units {
			if u.State != "" && u.State != "active" && u.State != "activating" {
				f.What, f.Why = fmt.Sprintf("%s is %s", u.Name, u.State), "it starts nothing"
			}
		}
		if f.What == "" && len(e.Differs) > 0 {
			f.Severity, f.What, f.Evidence = Note, "the entry is not as it would be written now", e.Differs
			f.Why = "the configuration, the environment or the program has changed since"
		}
	}
	if f.What != "" {
		d.add(f)
		return
	}
	text := fmt.Sprintf("%s starts %q", e.Kind, e.Program)
	for _, u := range e.Units {
		if !u.Next.IsZero() {
			text += ", next at " + u.Next.Local().Format("2006-01-02 15:04")
			break
		}
	}
	d.ok(CheckSchedule, "%s", text)
}

// channels looks whether anybody hears of trouble.
func (d *doctor) channels(c *config.Config) {
	var hear []string
	for _, n := range c.Notify {
		hear = append(hear, n.Name)
		if n.Type == "command" || n.On == nil || slices.ContainsFunc(n.On, func(on string) bool { return on != "start" && on != "success" }) {
			continue
		}
		d.add(Finding{Check: CheckNotify, Severity: Note, What: fmt.Sprintf("channel %s hears of no failure", n.Name), Why: "silence from it may mean either"})
	}
	if len(hear) == 0 {
		d.add(Finding{Check: CheckNotify, Severity: Warning, What: "nobody hears when a backup fails", Why: "backups that stop are noticed on the day when one is needed", Fix: Fix{Tell: true}})
		return
	}
	d.ok(CheckNotify, "%s hear of trouble", list(hear))
}

// lastRuns looks when jobs were last done.
func (d *doctor) lastRuns(m *Machine) {
	now, fine := d.o.Now(), 0
	var never []string
	for _, j := range m.Jobs {
		f := Finding{Check: CheckBackups, Fix: Fix{Run: j.Name}}
		switch age := now.Sub(j.Last); {
		case j.Failing:
			f.Severity, f.What, f.Why = Problem, fmt.Sprintf("the last run of job %s failed", j.Name), "its report says why"
		case j.Last.IsZero():
			never = append(never, j.Name)
			continue
		case j.Stale > 0 && age > j.Stale:
			f.Severity, f.What = Problem, fmt.Sprintf("the last success of job %s is %s old", j.Name, ageText(age))
			f.Why = "by its schedule it may be " + ageText(j.Stale) + " old"
		default:
			fine++
			continue
		}
		if !j.Last.IsZero() {
			f.Evidence = []string{"last success " + j.Last.UTC().Format(time.RFC3339)}
		}
		d.add(f)
	}
	if len(never) > 0 {
		d.add(Finding{Check: CheckBackups, Severity: Note, What: fmt.Sprintf("%d of %d jobs have not run yet", len(never), len(m.Jobs)), Evidence: []string{some(never)}})
	}
	if fine > 0 {
		d.ok(CheckBackups, "%d of %d jobs have run in time", fine, len(m.Jobs))
	}
}

// some names the first few.
func some(names []string) string {
	const most = 10
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return list(names)
}

func ageText(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.Round(time.Minute).String()
}
