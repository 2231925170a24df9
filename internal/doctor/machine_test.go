package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/timer"
)

// machineFindings examines a machine alone, as lines of check, severity and what.
func machineFindings(t *testing.T, m *Machine) string {
	t.Helper()
	d := &doctor{o: Options{Machine: m, Now: func() time.Time { return time.Date(2026, 5, 10, 12, 0, 0, 0, time.UTC) },
		Version: func(context.Context, string) (string, error) { return "1.2", nil }}}
	d.machine(t.Context())
	var b strings.Builder
	for _, f := range d.findings {
		b.WriteString(f.Check + " " + f.Severity.String() + " " + f.What + "\n")
		if f.Severity > Note && f.Why == "" {
			t.Errorf("%s: %s: nothing says why", f.Check, f.What)
		}
	}
	return b.String()
}

func TestMachine(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("files have no modes")
	}
	dir := t.TempDir()
	file := func(name string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil { // the mask has no say
			t.Fatal(err)
		}
		return path
	}
	for _, name := range []string{"empty", "full"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file("full/one", 0o600)
	own, other := file("firn", 0o755), file("firn2", 0o755)
	t.Setenv("PATH", dir)
	file("pg_dump", 0o755)
	file("pg_dumpall", 0o755)
	file("psql", 0o755)
	good := func() *Machine {
		c := &config.Config{Files: []string{file("firn.toml", 0o644)}, Notify: []*config.Channel{{Name: "mail", Secret: config.Secret{File: file("smtp", 0o600)}}}}
		c.Repositories = []*config.Repository{{Name: "main", Passphrase: config.Secret{File: file("pass", 0o600)}}}
		c.Sources = []*config.Source{{Name: "docs", Kind: "dir", Rest: filepath.Join(dir, "full"), Hooks: config.Hooks{Before: file("hook", 0o700) + " --now"}}, {Name: "shop", Kind: "postgres", Rest: "shop"}}
		return &Machine{Config: c, File: c.Files[0], Program: own, Entries: []timer.Entry{{Kind: timer.Systemd, Program: own, Config: c.Files[0], Units: []timer.Unit{{Name: "firn.timer", State: "active"}}}},
			Jobs: []Job{{Name: "docs", Last: time.Date(2026, 5, 10, 2, 30, 0, 0, time.UTC), Stale: 36 * time.Hour}}}
	}
	if got := machineFindings(t, good()); strings.Contains(got, "note") || strings.Contains(got, "warning") || strings.Contains(got, "problem") ||
		!strings.Contains(got, "pg_dump 1.2, pg_dumpall 1.2 and psql 1.2") || strings.Count(got, "\n") != 6 {
		t.Errorf("all is well:\n%s", got)
	}
	for name, c := range map[string]struct {
		change func(*Machine)
		want   string
	}{
		"config of others": {func(m *Machine) { m.Config.Files = []string{file("open.toml", 0o666)} }, "configuration problem .*open.toml\" can be written by others"},
		"open secret":      {func(m *Machine) { m.Config.Repositories[0].Passphrase.File = file("pass2", 0o644) }, `secrets warning .*pass2" of repository main can be read by others`},
		"no secret":        {func(m *Machine) { m.Config.Notify[0].Secret.File = dir + "/none" }, `secrets problem .*none" of channel mail: no such file`},
		"no folder": {func(m *Machine) {
			m.Config.Sources[1] = &config.Source{Name: "x", Kind: "dir", Paths: []string{dir + "/gone"}}
		}, `sources problem .*gone" of source x: no such file`},
		"empty folder": {func(m *Machine) { m.Config.Sources[1] = &config.Source{Name: "x", Kind: "dir", Rest: dir + "/empty"} }, `sources warning .*empty" of source x is empty`},
		"off": {func(m *Machine) {
			m.Config.Sources[1] = &config.Source{Name: "x", Kind: "dir", Rest: dir + "/gone", Off: true}
		}, "sources ok"},
		"no program":     {func(m *Machine) { m.Config.Sources[1].Settings = map[string]string{"programs": "/nowhere"} }, `sources problem source shop \(postgres\) takes pg_dump, which is not here`},
		"hook":           {func(m *Machine) { m.Config.Sources[0].Hooks.After = file("noexec", 0o600) }, `hooks problem .*noexec" of source docs cannot be run: it is not executable`},
		"hook gone":      {func(m *Machine) { m.Config.Notify[0].Command = dir + "/gone --x" }, `hooks problem .*gone" of channel mail: no such file`},
		"hook of others": {func(m *Machine) { m.Config.Sources[0].Hooks.OnFailure = "'" + file("anybody", 0o777) + "'" }, `hooks problem .*anybody" of source docs can be written by others`},
		"no entry":       {func(m *Machine) { m.Entries = nil }, "schedule warning jobs have schedules, and nothing starts firn"},
		"two entries": {func(m *Machine) {
			m.Entries = append(m.Entries, timer.Entry{Kind: timer.Cron, User: true, Program: own})
		}, "schedule warning firn is started by the system's systemd and this user's cron"},
		"other program":     {func(m *Machine) { m.Entries[0].Program = other }, "schedule warning systemd starts .*firn2\", and this is"},
		"program gone":      {func(m *Machine) { m.Entries[0].Program = dir + "/gone" }, "schedule problem systemd starts .*gone\": no such file"},
		"program of others": {func(m *Machine) { m.Program = file("loose", 0o777); m.Entries[0].Program = m.Program }, `schedule problem .*loose" can be written by others, and systemd starts it`},
		"other file":        {func(m *Machine) { m.Entries[0].Config = "/etc/other.toml" }, `schedule warning systemd starts firn with "/etc/other.toml"`},
		"inactive":          {func(m *Machine) { m.Entries[0].Units[0].State = "inactive" }, "schedule problem firn.timer is inactive"},
		"differs":           {func(m *Machine) { m.Entries[0].Differs = []string{"x"} }, "schedule note the entry is not as it would be written now"},
		"no channel":        {func(m *Machine) { m.Config.Notify = nil }, "notify warning nobody hears when a backup fails"},
		"deaf channel":      {func(m *Machine) { m.Config.Notify[0].On = []string{"success"} }, "notify note channel mail hears of no failure"},
		"stale":             {func(m *Machine) { m.Jobs[0].Last = m.Jobs[0].Last.Add(-5 * 24 * time.Hour) }, "last backup problem the last success of job docs is 5 days old"},
		"failing":           {func(m *Machine) { m.Jobs[0].Failing = true }, "last backup problem the last run of job docs failed"},
		"never":             {func(m *Machine) { m.Jobs[0].Last = time.Time{} }, "last backup note 1 of 1 jobs have not run yet"},
		"none":              {func(m *Machine) { m.Config, m.Entries, m.Jobs = nil, nil, nil }, "configuration note there is no configuration"},
		"broken": {func(m *Machine) {
			m.Config, m.Broken = nil, config.Errors{&config.Error{Place: config.Place{File: "/f", Line: 3}, Key: "x", Text: "unknown"}}
		}, "configuration problem the configuration cannot be read"},
		"unreadable": {func(m *Machine) { m.Config, m.Broken = nil, errors.New("permission denied") }, "configuration problem the configuration cannot be read"},
	} {
		m := good()
		c.change(m)
		if got := machineFindings(t, m); !regexp.MustCompile(c.want).MatchString(got) {
			t.Errorf("%s: no %q in\n%s", name, c.want, got)
		}
	}
}

// TestRevokedHost tells of a host whose key no longer counts.
func TestRevokedHost(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	find := func() Finding {
		for _, f := range w.examine(nil) {
			if f.Check == CheckHostKey {
				return f
			}
		}
		return Finding{}
	}
	if f := find(); f.Severity != OK {
		t.Errorf("%+v", f)
	}
	w.must(w.mem.Put(t.Context(), "hosts/"+w.access.Host.Host.String()+".revoked", strings.NewReader("x"), 1, store.PutOptions{}))
	if f := find(); f.Severity != Problem || !strings.Contains(f.What, "was revoked") {
		t.Errorf("%+v", f)
	}
}

// TestWorksAnyway: credentials that are limited to what backups store may not store probes, and are as they should be.
func TestWorksAnyway(t *testing.T) {
	w := newWorld(t, mem.Options{}, "")
	w.watch = func(r mem.Request) error {
		if strings.HasPrefix(r.Name, "probe/") && r.Op == "put" {
			return store.ErrDenied
		}
		return nil
	}
	for last, want := range map[time.Duration]Severity{time.Hour: Note, 100 * time.Hour: Problem} {
		for _, f := range w.examine(func(o *Options) {
			o.Machine = &Machine{Jobs: []Job{{Name: "docs", Last: w.now().Add(-last), Stale: 36 * time.Hour}}}
		}) {
			if f.Check == CheckRights && f.Severity != want {
				t.Errorf("%v ago: %+v", last, f)
			}
		}
	}
}
