package timer

import (
	"bytes"
	"context"
	"path"
	"slices"
	"strings"
	"time"

	"firn/internal/schedule"
)

// Entry is what a scheduler was told.
type Entry struct {
	Kind    Kind
	User    bool
	Files   []string // "crontab" for the user's
	Program string   // that it starts
	Config  string   // that it is given; empty: none
	Serve   bool
	EachJob bool
	Every   time.Duration
	Units   []Unit   // of systemd and launchd
	Differs []string // files that are not, or no more, as they would be written now
}

// Unit is one that a scheduler is to keep active.
type Unit struct {
	Name  string
	State string    // active, inactive, failed …; empty: not known
	Next  time.Time // zero: not known
}

// Show returns what schedulers were told, the user's first. o says how it would be told now; its Kind, User, Serve, Every and, where jobs have no timers of their own, Jobs do not matter. loc is
// the zone in which cron goes.
func (s *System) Show(ctx context.Context, o Options, now time.Time, loc *time.Location) (entries []Entry, err error) {
	for _, user := range []bool{true, false} {
		for _, kind := range s.Known() {
			if kind == Periodic && user {
				continue
			}
			e, err := s.entry(ctx, o, kind, user, now, loc)
			if err != nil {
				return entries, err
			}
			if e != nil {
				entries = append(entries, *e)
			}
		}
	}
	return entries, nil
}

// Known are the schedulers that such a system can have at all.
func (s *System) Known() []Kind {
	switch s.OS {
	case "darwin":
		return []Kind{Launchd, Cron}
	case "linux":
		return []Kind{Systemd, Cron}
	case "windows":
		return nil
	case "freebsd":
		return []Kind{Cron, Periodic}
	}
	return []Kind{Cron}
}

func (s *System) entry(ctx context.Context, o Options, kind Kind, user bool, now time.Time, loc *time.Location) (*Entry, error) {
	o.Kind, o.User = kind, user
	if kind == Periodic {
		o.Every = 24 * time.Hour
	}
	s.system(&o)
	if o.Name == "" {
		o.Name = "firn"
	}
	if user && kind != Cron && !path.IsAbs(o.Home) || kind == Cron && o.Crontab && !user && s.UID != 0 {
		return nil, nil // whoever has no home has no units; and root's crontab is not shown to others
	}
	files, err := s.ours(ctx, o)
	if err != nil || len(files) == 0 {
		return nil, err
	}
	n, _ := noteOf(files[0].Content)
	for _, f := range files { // the failure unit may be older
		if m, _ := noteOf(f.Content); f.Unit != "" {
			n = m
		}
	}
	e := &Entry{Kind: kind, User: user, Program: n.Program, Config: n.Config, Serve: n.Serve, EachJob: n.Jobs, Every: time.Duration(n.Every) * time.Second}
	o.Serve, o.Every = n.Serve, e.Every
	if !n.Jobs {
		o.Jobs = nil
	}
	for _, f := range files {
		e.Files = append(e.Files, f.name())
		if f.Unit != "" {
			e.Units = append(e.Units, s.unit(ctx, o, f.Unit))
		}
	}
	if kind == Cron && !n.Serve {
		e.Units = []Unit{{Name: "cron", Next: cronNext(files[0].Content, now, loc)}}
	}
	e.Differs = differs(o, files)
	return e, nil
}

func (f File) name() string {
	if f.Path == "" {
		return "crontab"
	}
	return f.Path
}

// ours are the files of a scheduler that this package wrote.
func (s *System) ours(ctx context.Context, o Options) ([]File, error) {
	if o.Kind != Cron || !o.User && !o.Crontab {
		return s.stale(o, nil)
	}
	if s.UID == 0 && o.User && !s.there("/etc/cron.d") {
		return nil, nil // root's own is that of the system there
	}
	table, err := s.crontab(ctx)
	if err != nil {
		return nil, nil // no cron, or none for this user
	}
	from, to, err := find(table, o.begin(), o.end())
	if err != nil || from < 0 {
		return nil, err
	}
	return []File{{Content: table[from:to]}}, nil
}

// differs compares files with those that would be written now.
func differs(o Options, have []File) (names []string) {
	want, err := Plan(o)
	if err != nil {
		return []string{err.Error()}
	}
	for _, f := range want {
		i := slices.IndexFunc(have, func(h File) bool { return h.Path == f.Path })
		if i < 0 || !bytes.Equal(have[i].Content, f.Content) {
			names = append(names, f.name())
		}
	}
	for _, h := range have {
		if !slices.ContainsFunc(want, func(f File) bool { return h.Path == f.Path }) {
			names = append(names, h.name())
		}
	}
	return names
}

// unit asks a scheduler about one of its units.
func (s *System) unit(ctx context.Context, o Options, name string) Unit {
	u := Unit{Name: name}
	if o.Kind == Launchd {
		if _, err := s.Run(ctx, Call{Name: "launchctl", Args: []string{"print", s.domain(o) + "/" + name}}); err == nil {
			u.State = "active"
		} else {
			u.State = "inactive"
		}
		return u
	}
	out, err := s.Run(ctx, o.systemctl("show", "--property=ActiveState,NextElapseUSecRealtime", name))
	if err != nil {
		return u
	}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "ActiveState":
			u.State = value
		case "NextElapseUSecRealtime":
			if t, err := time.Parse("Mon 2006-01-02 15:04:05 MST", value); err == nil {
				u.Next = t
			}
		}
	}
	return u
}

// cronNext is the next moment of the line of a crontab that is ours; zero: none is known.
func cronNext(content []byte, now time.Time, loc *time.Location) time.Time {
	for line := range strings.Lines(string(content)) {
		fields := strings.Fields(line)
		if len(fields) < 6 || strings.HasPrefix(line, "#") {
			continue
		}
		if s, err := schedule.Parse(strings.Join(fields[:5], " ")); err == nil {
			return s.Next(now, loc)
		}
	}
	return time.Time{}
}
