package timer

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// hostile are texts that some format takes for more than text.
var hostile = []string{"a b", `a"b`, "a'b", `a\b`, "100%", "%h", "$HOME", "${X}", "`id`", "a;b", "a&b", "<a>", "a--b", "-->", "ünïcødé", "#x", "*", "!x", "~", "a|b", "\\x41", "{\"", "]]>"}

func plain(kind Kind) Options {
	return Options{Kind: kind, Program: "/usr/local/bin/firn", Config: "/etc/firn/firn.toml", Env: []string{"HOME=/root", "PATH=/usr/local/bin:/usr/bin:/bin"}, Key: "nas", Home: "/home/eve"}
}

// TestGolden holds what is written to files that people have looked at.
func TestGolden(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"systemd": func(*Options) {}, "systemd-user": func(o *Options) { o.User = true }, "systemd-serve": func(o *Options) { o.Serve = true },
		"systemd-jobs": func(o *Options) {
			o.Jobs = []Job{{"photos", []string{"*-*-* 02:30:00"}}, {"prune@far away", []string{"Sun *-*-* 04:00:00", "Wed *-*-* 04:00:00"}}}
		},
		"systemd-strange": func(o *Options) { o.Program, o.Config = `/opt/my "firn"/100%/firn`, "/etc/ünï $x/a b.toml" },
		"cron":            func(o *Options) { o.Kind = Cron }, "cron-user": func(o *Options) { o.Kind, o.User, o.Every = Cron, true, 5*time.Minute },
		"cron-strange": func(o *Options) { o.Kind, o.User, o.Config = Cron, true, "/etc/it's 100% mine.toml" }, "cron-serve": func(o *Options) { o.Kind, o.Serve = Cron, true },
		"launchd": func(o *Options) { o.Kind = Launchd }, "launchd-serve": func(o *Options) {
			o.Kind, o.User, o.Serve, o.Config = Launchd, true, true, "/Users/eve/a <b> & c--.toml"
		},
		"periodic": func(o *Options) { o.Kind, o.Every = Periodic, 24*time.Hour },
	} {
		o := plain(Systemd)
		change(&o)
		files, err := Plan(o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var b bytes.Buffer
		for _, f := range files {
			fmt.Fprintf(&b, "-- %s %o %s --\n%s", f.name(), f.Mode, f.Unit, f.Content)
			if n, ours := noteOf(f.Content); !ours || n.Program != o.Program || n.Config != o.Config || n.Serve != o.Serve {
				t.Errorf("%s: %s says of itself %+v", name, f.name(), n)
			}
		}
		golden := filepath.Join("testdata", name+".golden")
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile(golden, b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != strings.ReplaceAll(string(want), "\r\n", "\n") {
			t.Errorf("%s:\n%s", name, got)
		}
	}
}

// TestVerify has systemd read the units.
func TestVerify(t *testing.T) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not here")
	}
	strange := filepath.Join(t.TempDir(), `a "b" 100% $HOME c`)
	if err := os.Mkdir(strange, 0o755); err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(strange, "firn")
	if err := os.Symlink("/bin/true", own); err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*Options){
		func(*Options) {}, func(o *Options) { o.Every = time.Minute }, func(o *Options) { o.Every = 6 * time.Hour }, func(o *Options) { o.Every = 24 * time.Hour }, func(o *Options) { o.Serve = true },
		func(o *Options) { o.User = true }, func(o *Options) { o.Program, o.Config = own, filepath.Join(strange, "x") },
		func(o *Options) {
			o.Jobs = []Job{{"a/b c@d%é", []string{"Mon,Tue *-*-01..07 02:30:00", "*-02~01 05:00:00"}}}
		},
	} {
		o := plain(Systemd)
		o.Program = "/bin/true"
		change(&o)
		files, err := Plan(o)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		args := []string{"verify", "--man=no"}
		if o.User {
			args = append(args, "--user")
		}
		for _, f := range files {
			name := filepath.Join(dir, filepath.Base(f.Path))
			if err := os.WriteFile(name, f.Content, 0o644); err != nil {
				t.Fatal(err)
			}
			args = append(args, strings.Replace(name, "@", "@firn.service", 1))
		}
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), "SYSTEMD_UNIT_PATH="+dir+":", "XDG_RUNTIME_DIR="+dir, "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, dir) || strings.Contains(line, "firn") { // of the machine's own units other lines may tell
				t.Errorf("%v: %s", args, line)
			}
		}
		if err != nil {
			t.Errorf("%v: %v\n%s", args, err, out)
		}
	}
}

// TestEscapeUnit compares with the program of systemd.
func TestEscapeUnit(t *testing.T) {
	program, err := exec.LookPath("systemd-escape")
	if err != nil {
		t.Skip("systemd-escape is not here")
	}
	for _, text := range append([]string{"photos", ".hidden", "a.b", "/a/b/", "prune@far"}, hostile...) {
		if strings.HasPrefix(text, "-") {
			continue // taken for a flag
		}
		out, err := exec.Command(program, text).Output()
		if got := escapeUnit(text); err != nil || got != strings.TrimSpace(string(out)) {
			t.Errorf("%q: %q, want %q, %v", text, got, out, err)
		}
	}
}

// unquote reads a command line as systemd.syntax(7) and systemd.service(5) have it.
func unquote(t *testing.T, line string) (words []string) {
	var word strings.Builder
	quoted, any := false, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			i++
			word.WriteByte(line[i])
		case c == '"':
			quoted, any = !quoted, true
		case c == ' ' && !quoted:
			if any || word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
			any = false
		default:
			word.WriteByte(c)
		}
	}
	if quoted {
		t.Errorf("open quotes: %s", line)
	}
	words = append(words, word.String())
	for i, w := range words {
		w = strings.ReplaceAll(w, "%%", "%")
		if i > 0 {
			w = strings.ReplaceAll(w, "$$", "$")
		}
		words[i] = w
	}
	return words
}

func TestExecLine(t *testing.T) {
	args := append([]string{"/bin/x y$"}, hostile...)
	if got := unquote(t, execLine(args)); !slices.Equal(got, args) {
		t.Errorf("%q\n%s", got, execLine(args))
	}
}

// TestCronCommand has a real shell read what cron leaves of a line.
func TestCronCommand(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is neither cron nor a POSIX shell")
	}
	dir := filepath.Join(t.TempDir(), "a b'c 100%")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "show")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nprintf '%s\\n' \"$X\" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"X=" + strings.Join(hostile, " "), "PATH=/usr/bin:/bin"}
	line := cronCommand(env, append([]string{script}, hostile...))
	for i := range len(line) { // cron ends the command at the first that has no backslash before it
		if line[i] == '%' && line[i-1] != '\\' {
			t.Fatalf("a bare %% in %s", line)
		}
	}
	out, err := exec.Command("/bin/sh", "-c", strings.ReplaceAll(line, `\%`, "%")).CombinedOutput()
	want := strings.Join(append([]string{env[0][2:]}, hostile...), "\n") + "\n"
	if err != nil || string(out) != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
}

func TestPlist(t *testing.T) {
	o := plain(Launchd)
	o.Env = nil
	for _, h := range hostile {
		o.Env = append(o.Env, "X"+h+"="+h)
	}
	o.Config = "/" + strings.Join(hostile, "")
	files, err := Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	d := xml.NewDecoder(bytes.NewReader(files[0].Content))
	for {
		token, err := d.Token()
		if token == nil {
			if err.Error() != "EOF" {
				t.Fatal(err)
			}
			break
		}
		if c, ok := token.(xml.CharData); ok {
			texts = append(texts, string(c))
		}
		if c, ok := token.(xml.Comment); ok && bytes.Contains(c, []byte("--")) {
			t.Errorf("comment %s", c)
		}
	}
	for _, want := range append([]string{o.Config}, hostile...) {
		if !slices.Contains(texts, want) {
			t.Errorf("no %q", want)
		}
	}
	if n, ours := noteOf(files[0].Content); !ours || n.Config != o.Config {
		t.Errorf("%+v", n)
	}
}

func TestMoments(t *testing.T) {
	for every, want := range map[time.Duration]string{time.Minute: "* * * * *", 7 * time.Minute: "", 15 * time.Minute: "", time.Hour: "", 6 * time.Hour: "*/6", 24 * time.Hour: " 0 * * *"} {
		for _, key := range []string{"", "nas", "web1"} {
			o := plain(Cron)
			o.Every, o.Key = every, key
			if err := o.check(); err != nil {
				t.Fatal(err)
			}
			m := o.moments()
			files, err := Plan(o)
			if err != nil || !strings.Contains(m, want) {
				t.Errorf("%v: %q, %v", every, m, err)
			}
			from := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
			first := cronNext(files[0].Content, from, time.UTC)
			second := cronNext(files[0].Content, first, time.UTC)
			if first.IsZero() || second.Sub(first) != evenly(every) {
				t.Errorf("%v: %q: %v, then %v", every, m, first, second)
			}
		}
	}
}

func TestBadOptions(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no program": func(o *Options) { o.Program = "" }, "relative": func(o *Options) { o.Config = "firn.toml" }, "newline": func(o *Options) { o.Config = "/a\nb" }, "no UTF-8": func(o *Options) { o.Program = "/a\xff" },
		"name": func(o *Options) { o.Name = "backup" }, "strange name": func(o *Options) { o.Name = "firn/../x" }, "pace": func(o *Options) { o.Every = time.Second }, "kind": func(o *Options) { o.Kind = "at" },
		"jobs by cron": func(o *Options) { o.Kind, o.Jobs = Cron, []Job{{"a", []string{"*:0"}}} }, "job without moments": func(o *Options) { o.Jobs = []Job{{"a", nil}} },
		"no home": func(o *Options) { o.User, o.Home = true, "" }, "long": func(o *Options) { o.Kind, o.Config = Cron, "/"+strings.Repeat("x", 2000) }, "often": func(o *Options) { o.Kind = Periodic },
		"user's periodic": func(o *Options) { o.Kind, o.User, o.Every = Periodic, true, 24*time.Hour },
	} {
		o := plain(Systemd)
		change(&o)
		var bad *Error
		if _, err := Plan(o); !errors.As(err, &bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSplice tries crontabs of all kinds.
func TestSplice(t *testing.T) {
	o := Options{Name: "firn"}
	lines := []string{"", "# a comment", "MAILTO=eve", "0 1 * * * x % y", "  ", "\t* * * * * z", "# begin firnx", "@daily w", "# end", "bad \xff bytes"}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		var table []byte
		for range rng.IntN(6) {
			table = append(table, lines[rng.IntN(len(lines))]...)
			table = append(table, []string{"\n", "\r\n", "\n\n"}[rng.IntN(3)]...)
		}
		if rng.IntN(3) == 0 {
			table = append(table, "no newline at the end"...)
		}
		block := []byte(o.begin() + "* * * * * firn\n" + o.end())
		once, err := splice(table, block, o.begin(), o.end())
		if err != nil || !bytes.HasPrefix(once, table) || !bytes.HasSuffix(once, block) {
			t.Fatalf("%q: %q, %v", table, once, err)
		}
		table = bytes.TrimSuffix(once, block)
		once = append(once, "# after\n"...)
		other := []byte(o.begin() + "1 * * * * firn\n2 * * * * firn\n" + o.end())
		twice, err := splice(once, other, o.begin(), o.end())
		if want := slices.Concat(table, other, []byte("# after\n")); err != nil || !bytes.Equal(twice, want) {
			t.Fatalf("%q, want %q, %v", twice, want, err)
		}
		back, err := splice(twice, nil, o.begin(), o.end())
		if want := slices.Concat(table, []byte("# after\n")); err != nil || !bytes.Equal(back, want) {
			t.Fatalf("%q, want %q, %v", back, want, err)
		}
	}
	for _, broken := range []string{o.begin(), o.end(), o.end() + o.begin(), o.begin() + o.begin() + o.end(), o.begin() + o.end() + o.end()} {
		if _, err := splice([]byte("x\n"+broken+"y\n"), []byte("z\n"), o.begin(), o.end()); err == nil {
			t.Errorf("%q passes", broken)
		}
	}
}

// machine is a system whose programs are played.
type machine struct {
	*System
	t     *testing.T
	calls []string
	table []byte            // crontab of the user
	fail  map[string]string // call: what it says
	says  map[string]string
}

func newMachine(t *testing.T, system string, has ...string) *machine {
	m := &machine{t: t, fail: map[string]string{}, says: map[string]string{}}
	m.System = &System{OS: system, UID: 1000, Root: t.TempDir(), Run: m.run}
	for _, dir := range has {
		if err := os.MkdirAll(m.at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *machine) run(_ context.Context, c Call) ([]byte, error) {
	call := strings.Join(append([]string{c.Name}, c.Args...), " ")
	m.calls = append(m.calls, call)
	if text, ok := m.fail[call]; ok {
		return nil, errors.New(text)
	}
	switch call {
	case "crontab -l":
		if m.table == nil {
			return nil, errors.New("exit status 1: no crontab for eve")
		}
		return m.table, nil
	case "crontab -":
		m.table = c.Input
	case "crontab -r":
		m.table = nil
	}
	return []byte(m.says[call]), nil
}

func (m *machine) install(o Options) []Change {
	m.t.Helper()
	m.calls = nil
	done, err := m.Install(m.t.Context(), o, false)
	if err != nil {
		m.t.Fatal(err)
	}
	return done
}

func (m *machine) show(o Options) []Entry {
	m.t.Helper()
	entries, err := m.Show(m.t.Context(), o, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), time.UTC)
	if err != nil {
		m.t.Fatal(err)
	}
	return entries
}

func TestSystemd(t *testing.T) {
	m := newMachine(t, "linux", "/run/systemd/system", "/etc/systemd/system", "/etc/cron.d", "/usr/sbin/cron")
	if has := m.Has(t.Context()); !slices.Equal(has, []Kind{Systemd, Cron}) {
		t.Errorf("has %v", has)
	}
	o := plain(Systemd)
	foreign := m.at("/etc/systemd/system/firn.timer")
	if err := os.WriteFile(foreign, []byte("[Timer]\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var e *ForeignError
	if _, err := m.Install(t.Context(), o, false); !errors.As(err, &e) || e.Path != "/etc/systemd/system/firn.timer" {
		t.Fatalf("%v", err)
	}
	if entries, _ := os.ReadDir(m.at("/etc/systemd/system")); len(entries) != 1 || len(m.show(o)) > 0 {
		t.Errorf("%v", entries)
	}
	if _, err := m.Install(t.Context(), o, true); err != nil {
		t.Fatal(err)
	}
	for _, c := range m.install(o) {
		if c.What != "unchanged" {
			t.Errorf("again: %+v", c)
		}
	}
	if want := []string{"systemctl daemon-reload", "systemctl enable --now firn.timer"}; !slices.Equal(m.calls, want) {
		t.Errorf("%q", m.calls)
	}
	m.says["systemctl show --property=ActiveState,NextElapseUSecRealtime firn.timer"] = "ActiveState=active\nNextElapseUSecRealtime=Fri 2026-05-01 12:15:00 UTC\n"
	shown := m.show(o)
	if len(shown) != 1 || len(shown[0].Files) != 3 || len(shown[0].Differs) > 0 || shown[0].Units[0].State != "active" || shown[0].Units[0].Next.Minute() != 15 || shown[0].Program != o.Program {
		t.Errorf("%+v", shown)
	}
	moved := o
	moved.Program = "/opt/firn"
	if shown := m.show(moved); len(shown[0].Differs) != 3 {
		t.Errorf("%+v", shown)
	}
	moved.Jobs = []Job{{"a", []string{"*-*-* 02:00:00"}}}
	if shown := m.show(moved); shown[0].EachJob {
		t.Errorf("%+v", shown)
	}
	m.install(moved)
	if shown := m.show(moved); !shown[0].EachJob || len(shown[0].Differs) > 0 || !slices.Contains(m.calls, "systemctl disable --now firn.timer") {
		t.Errorf("%+v, %q", shown, m.calls)
	}
	moved.Jobs[0].Events[0] = "*-*-* 03:00:00"
	if shown := m.show(moved); len(shown[0].Differs) != 1 {
		t.Errorf("%+v", shown)
	}
	moved.Jobs, moved.Serve = nil, true
	m.install(moved)
	if entries, _ := os.ReadDir(m.at("/etc/systemd/system")); len(entries) != 2 {
		t.Errorf("%v", entries)
	}
	done, err := m.Remove(t.Context(), Options{Kind: Systemd})
	if err != nil || len(done) != 2 || m.calls[len(m.calls)-2] != "systemctl disable --now firn.service" {
		t.Errorf("%v, %v, %q", done, err, m.calls)
	}
	if entries, _ := os.ReadDir(m.at("/etc/systemd/system")); len(entries) != 0 || len(m.show(o)) > 0 {
		t.Errorf("%v", entries)
	}
	if done, err := m.Remove(t.Context(), Options{Kind: Systemd}); err != nil || len(done) > 0 {
		t.Errorf("%v, %v", done, err)
	}
	m.fail["systemctl daemon-reload"] = "System has not been booted with systemd"
	var a *ActivateError
	if _, err := m.Install(t.Context(), o, false); !errors.As(err, &a) {
		t.Errorf("%v", err)
	}
}

func TestUserUnits(t *testing.T) {
	m := newMachine(t, "linux", "/run/systemd/system")
	o := plain(Systemd)
	o.User = true
	m.install(o)
	if shown := m.show(o); len(shown) != 1 || !shown[0].User || shown[0].Files[0] != "/home/eve/.config/systemd/user/firn-failure@.service" || !slices.Contains(m.calls, "systemctl --user enable --now firn.timer") {
		t.Errorf("%+v, %q", shown, m.calls)
	}
}

func TestCron(t *testing.T) {
	m := newMachine(t, "linux", "/etc/cron.d")
	o := plain(Cron)
	m.install(o)
	if shown := m.show(o); len(shown) != 1 || shown[0].Files[0] != "/etc/cron.d/firn" || shown[0].Units[0].Next.IsZero() || len(shown[0].Differs) > 0 {
		t.Errorf("%+v", shown)
	}
	if done, err := m.Remove(t.Context(), o); err != nil || len(done) != 1 {
		t.Errorf("%v, %v", done, err)
	}
	o.User = true
	m.table = []byte("MAILTO=eve\n0 1 * * * x")
	m.install(o)
	m.install(o)
	if done := m.install(o); done[0].What != "unchanged" || bytes.Count(m.table, []byte("begin firn")) != 1 || !bytes.HasPrefix(m.table, []byte("MAILTO=eve\n0 1 * * * x\n# begin")) {
		t.Errorf("%v\n%s", done, m.table)
	}
	if shown := m.show(o); len(shown) != 1 || !shown[0].User || shown[0].Files[0] != "crontab" {
		t.Errorf("%+v", shown)
	}
	if done, err := m.Remove(t.Context(), o); err != nil || len(done) != 1 || string(m.table) != "MAILTO=eve\n0 1 * * * x\n" {
		t.Errorf("%v, %v, %q", done, err, m.table)
	}
	m.table = nil
	m.install(o)
	if _, err := m.Remove(t.Context(), o); err != nil || m.table != nil {
		t.Errorf("%v, %q", err, m.table)
	}
	m.fail["crontab -l"] = "you are not allowed to use this program"
	if _, err := m.Install(t.Context(), o, false); err == nil {
		t.Error("who may not read the crontab replaces it")
	}
}

func TestOtherSystems(t *testing.T) {
	m := newMachine(t, "darwin", "/Library/LaunchDaemons")
	o := plain(Launchd)
	o.User = true
	m.install(o)
	if want := []string{"launchctl bootout gui/1000/org.firn", "launchctl bootstrap gui/1000 /home/eve/Library/LaunchAgents/org.firn.plist"}; !slices.Equal(m.calls, want) {
		t.Errorf("%q", m.calls)
	}
	if shown := m.show(o); len(shown) != 1 || shown[0].Units[0].State != "active" || len(shown[0].Differs) > 0 {
		t.Errorf("%+v", shown)
	}
	if done, err := m.Remove(t.Context(), o); err != nil || len(done) != 1 {
		t.Errorf("%v, %v", done, err)
	}
	m = newMachine(t, "freebsd", "/var/cron", "/usr/local/etc/periodic/daily")
	o = plain(Periodic)
	o.Every = 24 * time.Hour
	m.install(o)
	info, err := os.Stat(m.at("/usr/local/etc/periodic/daily/500.firn"))
	if shown := m.show(o); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o755 || len(shown) != 1 || shown[0].Kind != Periodic || len(shown[0].Differs) > 0 {
		t.Errorf("%+v, %v", shown, err)
	}
	m.UID = 0
	o = plain(Cron) // there is no cron.d: root's crontab
	m.install(o)
	if shown := m.show(o); len(shown) != 2 || shown[0].User || shown[0].Files[0] != "crontab" || !bytes.Contains(m.table, []byte("HOME=/root")) {
		t.Errorf("%+v\n%s", shown, m.table)
	}
}

// TestRealPrograms runs a crontab program that is a script, by the runner that ships.
func TestRealPrograms(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no cron")
	}
	dir := t.TempDir()
	script := "#!/bin/sh\ncase $1 in\n-l) [ -e $SPOOL ] || { echo \"no crontab for eve\" >&2; exit 1; }; cat $SPOOL ;;\n-) cat >$SPOOL ;;\n-r) rm $SPOOL ;;\nesac\n"
	if err := os.WriteFile(filepath.Join(dir, "crontab"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(dir, "spool")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("SPOOL", spool)
	s := Here()
	o := plain(Cron)
	o.User = true
	if _, err := s.Install(t.Context(), o, false); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(spool); err != nil || !strings.HasSuffix(string(raw), "# end firn\n") {
		t.Errorf("%v\n%s", err, raw)
	}
	if done, err := s.Remove(t.Context(), o); err != nil || len(done) != 1 {
		t.Errorf("%v, %v", done, err)
	}
	if _, err := os.Stat(spool); err == nil {
		t.Error("an empty crontab stays")
	}
}

func FuzzSplice(f *testing.F) {
	f.Add([]byte("a\n"), []byte("b\n"))
	f.Add([]byte("# begin firn\n# end firn\n"), []byte(""))
	o := Options{Name: "firn"}
	f.Fuzz(func(t *testing.T, table, inner []byte) {
		if len(table)+len(inner) > 1<<12 || bytes.Contains(inner, []byte("firn")) {
			return
		}
		block := slices.Concat([]byte(o.begin()), inner, []byte("\n"+o.end()))
		once, err := splice(table, block, o.begin(), o.end())
		if err != nil {
			return
		}
		twice, err := splice(once, block, o.begin(), o.end())
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q: %q, then %q, %v", table, once, twice, err)
		}
		if _, _, err := find(once, o.begin(), o.end()); err != nil {
			t.Fatal(err)
		}
		_, _ = noteOf(table)
	})
}
