// Package timer speaks to the system's own scheduler: systemd, cron, launchd on a Mac, periodic on FreeBSD. Plan says what there is to be told, as files; System tells it, takes it back, and says
// what is there.
//
// One entry starts the program often, and the program finds out from its configuration what is due: so an entry does not change when a schedule does. Systemd may have a timer for each job
// in the place of that, and any scheduler may be told to keep the daemon running.
//
// Every file begins with a mark and a line that says what wrote it, for what program and configuration; a file without that is somebody else's. A user's crontab is shared: there our lines stand
// between two marks, and every other byte stays as it was.
package timer

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"
)

// Kind is a scheduler.
type Kind string

// The schedulers.
const (
	Systemd  Kind = "systemd"
	Cron     Kind = "cron"
	Launchd  Kind = "launchd"
	Periodic Kind = "periodic"
)

// Kinds are all of them.
func Kinds() []Kind { return []Kind{Systemd, Cron, Launchd, Periodic} }

// Options say what is to be run.
type Options struct {
	Kind    Kind
	Name    string // of units, files and marks; empty: firn. Several configurations have several names
	Program string // absolute
	Config  string // absolute; empty: where the program looks by itself
	User    bool   // for this user; else for the system
	Serve   bool   // keep the daemon running
	Every   time.Duration
	Delay   time.Duration // of each run at most, drawn anew each time, where the scheduler can do that; 0: a fifth of Every, at most 5 minutes
	Jobs    []Job         // Systemd: a timer for each of these; else and where there is none, one for all
	Env     []string      // "NAME=value": what the program needs that a scheduler does not know, such as where its folders are
	Key     string        // such as the host's name: places runs of hosts that share a bucket at different minutes, where the scheduler cannot draw a delay

	// Home of the user, and Config home (XDG_CONFIG_HOME; empty: .config in it): where a user's units and agents lie. Not needed for Cron, nor for the system.
	Home, ConfigHome string
	Crontab          bool // Cron for the system: root's crontab, where there is no /etc/cron.d
}

// Job is one that has a timer of its own.
type Job struct {
	Name   string
	Events []string // calendar events of systemd, not before the moments at which the program takes the job for due
}

// DefaultEvery is the pace of an entry.
const DefaultEvery = 15 * time.Minute

// File is one that a scheduler reads.
type File struct {
	Path    string // empty: the user's crontab, of which Content is a part
	Mode    fs.FileMode
	Content []byte
	// Unit is how systemd and launchd call what is to be made active; empty: nothing is.
	Unit string
}

// Error tells of options that no scheduler can be told.
type Error struct{ What, Value, Reason string }

func (e *Error) Error() string { return fmt.Sprintf("%s %q: %s", e.What, e.Value, e.Reason) }

// note is what a file of ours says of itself.
type note struct {
	Program string `json:"program"`
	Config  string `json:"config,omitempty"`
	Serve   bool   `json:"serve,omitempty"`
	Every   int    `json:"every,omitempty"` // seconds
	Jobs    bool   `json:"jobs,omitempty"`  // each has a timer
}

const (
	mark     = "Written by firn schedule install; firn schedule remove takes it away."
	noteMark = "firn-schedule: "
)

// header is what every file begins with, each line behind a prefix.
func (o Options) header(prefix string) string {
	raw, err := json.Marshal(note{o.Program, o.Config, o.Serve, int(o.Every / time.Second), len(o.Jobs) > 0})
	if err != nil {
		panic(err) // texts and a bool always encode
	}
	text := strings.ReplaceAll(string(raw), "--", `-\u002d`) // which ends a comment of XML
	return prefix + mark + "\n" + prefix + noteMark + text + "\n"
}

// noteOf finds what a file of ours says of itself.
func noteOf(content []byte) (n note, ours bool) {
	text := string(content)
	if !strings.Contains(text, mark) {
		return n, false
	}
	_, rest, found := strings.Cut(text, noteMark)
	line, _, _ := strings.Cut(rest, "\n")
	if !found || json.Unmarshal([]byte(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(line), "-->"))), &n) != nil {
		return note{}, true
	}
	return n, true
}

// Plan returns the files for a scheduler, in the order in which they are to be written.
func Plan(o Options) ([]File, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	switch o.Kind {
	case Systemd:
		return o.systemd()
	case Cron:
		return o.cron()
	case Launchd:
		return o.launchd()
	case Periodic:
		return o.periodic()
	}
	return nil, &Error{"kind", string(o.Kind), "want systemd, cron, launchd or periodic"}
}

// check refuses what would mean something else, and fills in what was left out.
func (o *Options) check() error {
	if o.Name == "" {
		o.Name = "firn"
	}
	if len(o.Name) > 60 || strings.Trim(o.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.HasPrefix(o.Name, "-") || !strings.HasPrefix(o.Name, "firn") {
		return &Error{"name", o.Name, "want one that begins with firn, of small letters, digits and hyphens"}
	}
	if o.Every == 0 {
		o.Every = DefaultEvery
	}
	if o.Every < time.Minute || o.Every > 24*time.Hour {
		return &Error{"pace", o.Every.String(), "want from a minute to a day"}
	}
	o.Every = evenly(o.Every)
	if o.Delay == 0 {
		o.Delay = min(o.Every/5, 5*time.Minute)
	}
	texts := append([]string{o.Program, o.Config, o.Home, o.ConfigHome}, o.Env...)
	for _, j := range o.Jobs {
		texts = append(texts, j.Name)
	}
	for _, t := range texts {
		if strings.ContainsFunc(t, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\ufffd' }) {
			return &Error{"text", t, "no scheduler takes control characters, nor what is no UTF-8"}
		}
	}
	for _, p := range []string{o.Program, o.Config} {
		if p != "" && !path.IsAbs(p) || o.Program == "" {
			return &Error{"path", p, "want an absolute one"}
		}
	}
	if len(o.Jobs) > 0 && (o.Kind != Systemd || o.Serve) {
		return &Error{"kind", string(o.Kind), "only systemd has timers for single jobs"}
	}
	if o.User && o.Kind == Periodic {
		return &Error{"kind", string(o.Kind), "it runs for the system only"}
	}
	return nil
}

// evenly is the longest time, no longer than d, that divides an hour or is divided by it and divides a day, so that it can be said by minutes and hours.
func evenly(d time.Duration) time.Duration {
	for _, m := range []int{24 * 60, 12 * 60, 8 * 60, 6 * 60, 4 * 60, 3 * 60, 2 * 60, 60, 30, 20, 15, 12, 10, 6, 5, 4, 3, 2} {
		if e := time.Duration(m) * time.Minute; e <= d {
			return e
		}
	}
	return time.Minute
}

// args are the words of the command, the program first.
func (o Options) args(job string) []string {
	args := []string{o.Program, "run", "--scheduled"}
	if o.Serve {
		args = []string{o.Program, "serve"}
	}
	if o.Config != "" {
		args = append(args, "--config", o.Config)
	}
	if job != "" {
		args = append(args, "--", job)
	}
	return args
}
