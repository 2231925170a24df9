// Package job runs what the configuration asks for: named jobs, by schedule or by name, with limits, hooks, reports and a memory of what was run.
//
// # Jobs
//
// Each source is a job of its name, which backs it up. A repository has jobs that look after it: transition, prune, check, drill, and one for each copy. List names them all, with the exact command line of
// each: a job is a child process, this program itself with flags that follow from the configuration, which reads no configuration of its own. So a job has its own memory, takes nothing along
// when it hangs or dies, can be stopped at any moment (it leaves what the next run goes on with), and can be typed by hand.
//
// # When
//
// A job is due when its schedule has had a moment since its last run began, or its cycle a slot, or where the last run ended before it was through (partial). Several moments that went by count
// as one run; those beyond are missed, and told once. Moments that pass while the job itself is at work are served by the run that follows it. A run that was stopped since it took all the time that
// one may have (max_duration) goes on at the next moment, or when a person asks. What is due waits for its window, and for the end
// of a pause. Times that lie ahead of the clock are not believed. Whether a job is due is decided from the ledger alone (folder of Options.Dir): no request, no child.
//
// # Ledger
//
// Each job has a folder below Dir: runs.jsonl (one JSON line for each thing that happened, only ever appended to, compacted now and then; runs.old.jsonl is what was compacted), lock (held while it
// runs, by flock, so that it goes with its process), reports/ (one JSON document a run). Whatever of that is damaged or cannot be written costs memory, never a run: jobs run without, and say so.
// A run that never said that it ended was cut off, and is due again.
//
// # Outcomes
//
// done; incomplete: done, but some files could not be read; partial: stopped by a limit, a pause or the shutdown of the machine, goes on at the next run, no failure; failed; skipped: not begun.
// A job of which no run gets through for longer than it may be without success (the first one: a week, where nobody says otherwise) is told as failed at each run that is stopped, or was cut off.
package job

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"firn/internal/config"
	"firn/internal/retain"
)

// Kind is what a job does.
type Kind string

// The kinds, in the order in which jobs of one repository run.
const (
	Backup     Kind = "backup"
	Transition Kind = "transition"
	Prune      Kind = "prune"
	Check      Kind = "check"
	Drill      Kind = "drill"
	Copy       Kind = "copy"
)

// phase is the place of a kind among those of the same repository.
func (k Kind) phase() int {
	switch k {
	case Backup:
		return 0
	case Transition:
		return 1
	case Prune:
		return 2
	case Check:
		return 3
	}
	return 4
}

// Job is one of the jobs of a configuration. It is not changed once it is made.
type Job struct {
	Name       string
	Kind       Kind
	Place      config.Place
	Repository *config.Repository
	To         *config.Repository // of a copy
	Source     *config.Source     // of a backup
	Upkeep     *config.Upkeep     // of transition, prune, check and drill
	Timing     config.Timing
	Cycle      retain.Cycle // Kind empty: none
	Hooks      config.Hooks
	Notify     []string // names of channels that are told, and no others; empty: those with all = true
	Off        bool

	Args   []string      // of the child, without the program; what depends on the moment (how long, how much, whether in full) is not in it
	Specs  []string      // what stands at the end, behind "--"; Args do not hold it
	Secret config.Secret // the passphrase, where it comes from the environment; else empty
	Keep   []Keep        // of prune: what is kept of which source; empty: nothing is forgotten
	ID     string        // of what the job does and where, so that the ledger of another job of the same name is not taken for this one's
}

// Keep says what is kept of a source.
type Keep struct {
	Source string        `json:"source"` // as snapshots call it: its name, else its path or what stands behind the kind
	Kind   string        `json:"kind"`   // as in config.Source
	Host   string        `json:"host,omitempty"`
	Policy retain.Policy `json:"policy"`
}

// touches returns the names of the repositories that the job works on.
func (j *Job) touches() []string {
	all := []string{j.Repository.Name}
	if j.To != nil {
		all = append(all, j.To.Name)
	}
	if j.Source != nil {
		all = append(all, j.Repository.Also...)
	}
	return all
}

// target is the repository that gets what the job sends.
func (j *Job) target() *config.Repository {
	if j.To != nil {
		return j.To
	}
	return j.Repository
}

// exclusive reports whether no other job may work on the repository meanwhile: those that delete, and those that share an allowance.
func (j *Job) exclusive() bool { return j.Kind == Prune || j.target().UploadPerMonth > 0 }

// List returns all jobs of a configuration: backups in the order of the files, then those of each repository. It is pure. Jobs that name a repository that is not there are left out; config
// refuses such.
func List(c *config.Config) []Job {
	var all []Job
	taken := map[string]bool{}
	for _, s := range c.Sources {
		r := c.Repository(s.Repository)
		if r == nil {
			continue
		}
		taken[s.Name] = true
		j := Job{Name: s.Name, Kind: Backup, Place: s.Place, Repository: r, Source: s, Timing: s.Timing, Cycle: s.Cycle, Hooks: s.Hooks, Notify: s.Notify, Off: s.Off}
		j.Args, j.Specs, j.Secret = backupArgs(c, r, s)
		j.ID = identity(j.Kind, r.Location, append([]string{s.Kind, s.Rest, s.As}, s.Paths...)...)
		all = append(all, j)
	}
	for _, r := range c.Repositories {
		name := func(kind Kind) string {
			if len(c.Repositories) == 1 && !taken[string(kind)] {
				return string(kind)
			}
			return string(kind) + "@" + r.Name
		}
		for _, u := range []struct {
			kind Kind
			of   *config.Upkeep
		}{{Transition, r.Transition}, {Prune, r.Prune}, {Check, r.Check}, {Drill, r.Drill}} {
			if u.of == nil {
				continue
			}
			j := Job{Name: name(u.kind), Kind: u.kind, Place: u.of.Place, Repository: r, Upkeep: u.of, Timing: u.of.Timing, Hooks: u.of.Hooks}
			if u.kind == Prune {
				j.Keep = keeps(c, r)
			}
			j.Args, j.Secret = upkeepArgs(r, u.kind, u.of, len(j.Keep) > 0)
			j.ID = identity(u.kind, r.Location)
			all = append(all, j)
		}
		for _, p := range r.Copies {
			to := c.Repository(p.To)
			if to == nil {
				continue
			}
			j := Job{Name: name(Copy) + ":" + p.To, Kind: Copy, Place: p.Place, Repository: r, To: to, Timing: p.Timing, Hooks: p.Hooks}
			j.Args, j.Specs, j.Secret = copyArgs(r, to)
			j.ID = identity(Copy, r.Location, to.Location)
			all = append(all, j)
		}
	}
	return all
}

// keeps are the policies of the sources that a repository holds, its own and those of which it is a copy.
func keeps(c *config.Config, r *config.Repository) (all []Keep) {
	for _, s := range c.Sources {
		of := c.Repository(s.Repository)
		if of == nil || of != r && !slices.Contains(of.Also, r.Name) {
			continue
		}
		policy := s.Keep
		if policy.Check() != nil {
			continue // says nothing: never forgotten
		}
		for _, name := range names(s) {
			all = append(all, Keep{Source: name, Kind: s.Kind, Host: of.Host, Policy: policy})
		}
	}
	return all
}

// identity is a short sum of what a job does.
func identity(kind Kind, location string, more ...string) string {
	h := sha256.New()
	for _, part := range append([]string{string(kind), location}, more...) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}

// UnknownError tells that no job has a name, or fits a pattern.
type UnknownError struct {
	Name    string
	Nearest string // may be empty
}

func (e *UnknownError) Error() string { return fmt.Sprintf("there is no job %q", e.Name) }

// Find returns the jobs that names mean, in the order of jobs: names, or patterns with *, ? and […] where no job has that very name. It fails with *UnknownError.
func Find(jobs []Job, names []string) ([]Job, error) {
	chosen := make([]bool, len(jobs))
	for _, name := range names {
		found := false
		for i := range jobs {
			if jobs[i].Name == name {
				chosen[i], found = true, true
			}
		}
		for i := range jobs {
			if found && chosen[i] {
				continue
			}
			if ok, err := path.Match(name, jobs[i].Name); !exact(jobs, name) && ok && err == nil {
				chosen[i], found = true, true
			}
		}
		if !found {
			return nil, &UnknownError{name, nearest(jobs, name)}
		}
	}
	var out []Job
	for i := range jobs {
		if chosen[i] {
			out = append(out, jobs[i])
		}
	}
	return out, nil
}

func exact(jobs []Job, name string) bool {
	return slices.ContainsFunc(jobs, func(j Job) bool { return j.Name == name })
}

// nearest finds the job that was probably meant: one that begins so, or differs in few letters.
func nearest(jobs []Job, name string) string {
	best, least := "", 1+len(name)/3
	for i := range jobs {
		n := jobs[i].Name
		if len(name) > 1 && (strings.HasPrefix(strings.ToLower(n), strings.ToLower(name)) || strings.HasPrefix(strings.ToLower(name), strings.ToLower(n))) {
			return n
		}
		if d := distance(strings.ToLower(n), strings.ToLower(name)); d <= least && d < len(name) {
			best, least = n, d-1
		}
	}
	return best
}

// distance is how many letters have to be changed, added or left out.
func distance(a, b string) int {
	a, b = a[:min(len(a), 64)], b[:min(len(b), 64)]
	row := make([]int, len(b)+1)
	for i := range row {
		row[i] = i
	}
	for i := 1; i <= len(a); i++ {
		last := row[0]
		row[0] = i
		for k := 1; k <= len(b); k++ {
			cost := last
			if a[i-1] != b[k-1] {
				cost = 1 + min(last, row[k], row[k-1])
			}
			last, row[k] = row[k], cost
		}
	}
	return row[len(b)]
}
