package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/units"
)

// notes collects what is noted.
type notes struct {
	mu   sync.Mutex
	said []string
}

func (n *notes) note(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.said = append(n.said, text)
}

func (n *notes) list() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.said)
}

// open opens a logger that the test closes.
func open(t *testing.T, o Options) (*slog.Logger, func()) {
	t.Helper()
	o.drain = 10 * time.Minute // what a test looks at is there, however slow the machine is
	l, c, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return l, func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Level: "loud"}, `log: level "loud" is not known`},
		{Options{Format: "xml"}, `log: format "xml" is not known`},
	} {
		_, _, err := Open(c.o)
		var own *OptionError
		if !errors.As(err, &own) || err.Error() != c.want {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
	_, closer, err := Open(Options{Syslog: true, Note: func(string) {}})
	if haveSyslog != (err == nil) || err != nil && !errors.Is(err, ErrNoSyslog) {
		t.Errorf("syslog: %v", err)
	}
	if closer != nil {
		_ = closer.Close()
	}
}

func TestLevels(t *testing.T) {
	for level, want := range map[string]int{"debug": 4, "": 3, "info": 3, "WARN": 2, "warning": 2, "error": 1} {
		var b bytes.Buffer
		l, _ := open(t, Options{Level: level, Writer: &b})
		l.Debug("a")
		l.Info("b")
		l.Warn("c")
		l.Error("d")
		if got := strings.Count(b.String(), "\n"); got != want {
			t.Errorf("%q: %d lines, want %d: %s", level, got, want, b.String())
		}
	}
}

func TestFileFormats(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "log", "firn.log")
	var b bytes.Buffer
	l, done := open(t, Options{File: name, Format: "json", Writer: &b, Stderr: true})
	l.With("job", "photos").WithGroup("g").Info("done\nor not", "files", 3)
	done()
	for _, text := range []string{read(t, name), b.String()} {
		var o map[string]any
		if err := json.Unmarshal([]byte(text), &o); err != nil || o["msg"] != "done\nor not" || o["job"] != "photos" || o["g"].(map[string]any)["files"] != 3.0 {
			t.Errorf("%v: %s", err, text)
		}
	}
	l.Info("after the end")
	if strings.Contains(read(t, name), "after the end") {
		t.Error("written after it was closed")
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, most := range map[string]fs.FileMode{name: 0o640, filepath.Dir(name): 0o750} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&^most != 0 || info.Mode().Perm()&0o600 != 0o600 {
			t.Errorf("%s: %v %v", path, info.Mode(), err)
		}
	}
}

// TestRotation fills files, and finds each line once, in order, in no file that is too large.
func TestRotation(t *testing.T) {
	name := filepath.Join(t.TempDir(), "firn.log")
	l, done := open(t, Options{File: name, MaxSize: 4 * units.KiB, Keep: 3})
	const each = 400
	for i := range each {
		l.Info("line", "n", i)
	}
	done()
	found, err := filepath.Glob(name + "*")
	if err != nil || len(found) != 5 { // the file, three others, the lock
		t.Fatalf("%q %v", found, err)
	}
	next := each
	for _, f := range []string{name, name + ".1", name + ".2", name + ".3"} {
		text := read(t, f)
		if len(text) > 4096 {
			t.Errorf("%s has %d bytes", f, len(text))
		}
		list := strings.Split(strings.TrimSpace(text), "\n")
		for _, one := range slices.Backward(list) {
			if next--; !strings.HasSuffix(one, fmt.Sprintf("n=%d", next)) {
				t.Fatalf("%s: want %d, got %q", f, next, one)
			}
		}
	}
	// fewer are kept from now on
	l, done = open(t, Options{File: name, MaxSize: 4 * units.KiB, Keep: 1})
	for i := range 100 {
		l.Info("line", "n", i)
	}
	done()
	if found, _ := filepath.Glob(name + ".[0-9]*"); len(found) != 1 {
		t.Errorf("left: %q", found)
	}
	l, done = open(t, Options{File: name, MaxSize: 4 * units.KiB, Keep: 0})
	for i := range 200 {
		l.Info("line", "n", i)
	}
	done()
	if info, err := os.Stat(name); err != nil || info.Size() > 4096 {
		t.Errorf("%v %v", info, err)
	}
}

// TestMoved has somebody else move, cut and delete the file.
func TestMoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be moved on Windows")
	}
	name := filepath.Join(t.TempDir(), "firn.log")
	l, _ := open(t, Options{File: name})
	l.Info("one")
	if err := os.Rename(name, name+".old"); err != nil {
		t.Fatal(err)
	}
	l.Info("two")
	if err := os.Truncate(name, 0); err != nil {
		t.Fatal(err)
	}
	l.Info("three")
	if err := os.Remove(name + ".old"); err != nil {
		t.Fatal(err)
	}
	if text := read(t, name); strings.Contains(text, "two") || !strings.Contains(text, "msg=three") || strings.Contains(text, "\x00") {
		t.Errorf("%q", text)
	}
	if err := os.RemoveAll(filepath.Dir(name)); err != nil {
		t.Fatal(err)
	}
	l.Info("four")
	if text := read(t, name); !strings.Contains(text, "four") {
		t.Errorf("%q", text)
	}
}

// TestTrouble has sinks that cannot be opened: each is told once, and the others go on.
func TestTrouble(t *testing.T) {
	dir := t.TempDir()
	for what, name := range map[string]string{"no folder": filepath.Join(dir, "a", "b", "firn.log"), "a folder": dir} {
		var n notes
		var b bytes.Buffer
		l, _ := open(t, Options{File: name, Writer: &b, Stderr: true, Note: n.note})
		for range 5 {
			l.Info("line")
		}
		if strings.Count(b.String(), "msg=line") != 5 || len(n.list()) != 1 || !strings.HasPrefix(n.list()[0], "log file: ") {
			t.Errorf("%s: %q %q", what, n.list(), b.String())
		}
	}
	// it works again, and is told again where it fails again
	var n notes
	name := filepath.Join(dir, "x", "y", "firn.log")
	l, _ := open(t, Options{File: name, Note: n.note})
	if err := os.Mkdir(filepath.Join(dir, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	l.Info("line")
	if !strings.Contains(read(t, name), "line") {
		t.Error("not written after the folder came")
	}
	if err := os.RemoveAll(filepath.Join(dir, "x")); err != nil && runtime.GOOS != "windows" {
		t.Fatal(err)
	} else if err == nil {
		l.Info("line")
		l.Info("line")
		if len(n.list()) != 2 {
			t.Errorf("%q", n.list())
		}
	}
}

// TestDefaultNote tells of trouble where nobody else listens, without secrets.
func TestDefaultNote(t *testing.T) {
	var b bytes.Buffer
	_, _ = open(t, Options{File: filepath.Join(t.TempDir(), "hunter22", "x", "firn.log"), Writer: &b, Secrets: NewSecrets("hunter22")})
	if !strings.HasPrefix(b.String(), "firn: warning: log file: open ") || strings.Count(b.String(), "\n") != 1 || strings.Contains(b.String(), "hunter22") {
		t.Errorf("%q", b.String())
	}
}

func TestLongLine(t *testing.T) {
	var b bytes.Buffer
	name := filepath.Join(t.TempDir(), "firn.log")
	l, _ := open(t, Options{File: name, Writer: &b, Stderr: true, MaxSize: 1 << 20})
	l.Info(strings.Repeat("x", 1<<20))
	l.Info("next")
	for _, text := range []string{read(t, name), b.String()} {
		if list := strings.Split(text, "\n"); len(list) != 3 || len(list[0]) != maxLine-1 || !strings.Contains(list[1], "next") {
			t.Errorf("%d lines, the first of %d bytes", len(list), len(list[0]))
		}
	}
}

// TestSmallerThanLine has a line larger than a file may be.
func TestSmallerThanLine(t *testing.T) {
	name := filepath.Join(t.TempDir(), "firn.log")
	l, _ := open(t, Options{File: name, MaxSize: 1, Keep: 2})
	for range 3 {
		l.Info(strings.Repeat("x", 10000))
	}
	for _, f := range []string{name, name + ".1", name + ".2"} {
		if strings.Count(read(t, f), "\n") != 1 {
			t.Errorf("%s", f)
		}
	}
}

// speaker is a value with a text of its own, lazy one that is resolved, both with a secret.
type (
	speaker struct{ Inner, Password string }
	lazy    string
)

func (l lazy) LogValue() slog.Value { return slog.GroupValue(slog.String("in", string(l))) }

// TestSecrets holds every sink to be free of secrets, wherever in a record they stand and however they have to be quoted.
func TestSecrets(t *testing.T) {
	secrets := []string{`pa"ss\word`, "zwölf Jäger", "new\nline", "hunter22", "a/b+c d=", "<&>x", "12345678"}
	known := NewSecrets(secrets[0])
	dir := t.TempDir()
	var b bytes.Buffer
	var sent []string
	var mu sync.Mutex
	for _, format := range []string{"text", "json"} {
		name := filepath.Join(dir, format)
		l, done := open(t, Options{File: name, Format: format, Writer: &b, Stderr: true, Secrets: known, Level: "debug", Journal: true, send: func(text string, _ priority, fields map[string]string) error {
			mu.Lock()
			defer mu.Unlock()
			sent = append(sent, text, fmt.Sprint(fields))
			return nil
		}})
		known.Add(secrets...)
		for _, s := range secrets {
			l.Info("begin "+s+" end", "a", s, slog.Group("g", slog.Any("e", fmt.Errorf("x: %w", errors.New(s)))))
			l.With("w", s).WithGroup("g").With("v", lazy(s)).Debug("m", "struct", speaker{"x", s}, "pointer", &speaker{s, "y"}, "bytes", []byte(s), "list", []string{s}, "map", map[string]string{"k": s}, "stringer", time.UTC)
			l.Info(s, slog.Group(s, slog.Int("n", 12345678)), "nil", nil)
		}
		done()
		b.WriteString(read(t, name))
	}
	all := b.String() + strings.Join(sent, "\n")
	for _, s := range secrets {
		raw, _ := json.Marshal(s)
		for _, form := range []string{s, string(raw[1 : len(raw)-1])} {
			if i := strings.Index(all, form); i >= 0 {
				t.Errorf("%q is logged: %q", s, all[max(0, i-80):min(len(all), i+80)])
			}
		}
	}
	if strings.Count(all, "UTC") != 6*len(secrets) {
		t.Error("what is no secret is gone, too")
	}
}

func TestShortSecrets(t *testing.T) {
	s := NewSecrets("abc", "", "  ")
	if got := s.Hide("abcabc"); got != "abcabc" {
		t.Error(got)
	}
	var none *Secrets
	if none.Hide("x") != "x" {
		t.Error("nil")
	}
}

// TestHang has a daemon that takes nothing: logging goes on, what is lost is told once, closing ends.
func TestHang(t *testing.T) {
	var n notes
	release, begun := make(chan struct{}), make(chan struct{})
	q := newQueue(&once{note: n.note, what: "journal"}, 4, time.Nanosecond)
	q.add(func() error { close(begun); <-release; return nil })
	<-begun
	for range 10 {
		q.add(func() error { return nil })
	}
	if said := n.list(); len(said) != 1 || !strings.Contains(said[0], "some are lost") {
		t.Errorf("%q", said)
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
	q.add(func() error { t.Error("ran after the end"); return nil })
	close(release)
	<-q.ended
	_ = q.Close()
}

// TestDaemonTrouble has a daemon that fails for a while.
func TestDaemonTrouble(t *testing.T) {
	var n notes
	var fail error = errors.New("gone")
	l, done := open(t, Options{Journal: true, Note: n.note, send: func(text string, _ priority, _ map[string]string) error {
		if strings.HasPrefix(text, "turn") {
			if fail == nil {
				fail = errors.New("gone")
			} else {
				fail = nil
			}
		}
		return fail
	}})
	for _, text := range []string{"a", "b", "turn", "c", "turn", "d"} {
		l.Info(text)
	}
	done()
	if said := n.list(); len(said) != 2 || said[0] != "journal: gone: lines are lost until that is over" {
		t.Errorf("%q", said)
	}
}

// TestJournalFields looks at what the journal is given.
func TestJournalFields(t *testing.T) {
	type entry struct {
		text   string
		p      priority
		fields map[string]string
	}
	var got []entry
	l, done := open(t, Options{Journal: true, Level: "debug", send: func(text string, p priority, fields map[string]string) error {
		got = append(got, entry{text, p, fields})
		return nil
	}})
	l = l.With("job", "photos")
	l.Debug("a")
	l.Warn("b", slog.Group("g", "x y", 1), "level", "high", "msg", "m")
	l.WithGroup("deep").With("k", "v").WithGroup("er").Error("c", "lines", "1\n2", strings.Repeat("n", 100), true)
	l.Log(t.Context(), slog.Level(2), "d")
	done()
	want := []entry{
		{"a job=photos", 7, map[string]string{"JOB": "photos"}},
		{`b job=photos "g.x y"=1 level=high msg=m`, 4, map[string]string{"JOB": "photos", "FIRN_G_X_Y": "1", "FIRN_LEVEL": "high", "FIRN_MSG": "m"}},
		{`c job=photos deep.k=v deep.er.lines="1\n2" deep.er.` + strings.Repeat("n", 100) + "=true", 3, map[string]string{"JOB": "photos", "FIRN_DEEP_K": "v", "FIRN_DEEP_ER_LINES": "1\n2", "FIRN_DEEP_ER_" + strings.Repeat("N", 51): "true"}},
		{"d job=photos", 6, map[string]string{"JOB": "photos"}},
	}
	for i, w := range want {
		w.fields["SYSLOG_IDENTIFIER"] = "firn"
		if i >= len(got) || got[i].text != w.text || got[i].p != w.p || fmt.Sprint(got[i].fields) != fmt.Sprint(w.fields) {
			t.Errorf("want %v\ngot  %v", w, got[min(i, len(got)-1)])
		}
	}
}

// TestSideBySide has many goroutines write to all sinks, for the race detector, and finds every line whole.
func TestSideBySide(t *testing.T) {
	name := filepath.Join(t.TempDir(), "firn.log")
	var b bytes.Buffer
	var journalled int
	secrets := NewSecrets("hunter22")
	l, done := open(t, Options{File: name, MaxSize: 8 << 10, Keep: 500, Stderr: true, Writer: &b, Secrets: secrets, Journal: true, send: func(string, priority, map[string]string) error { journalled++; return nil }})
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			own := l.With("w", w)
			for i := range 50 {
				own.Info("line", "i", i, "secret", "hunter22", "pad", strings.Repeat("p", rand.IntN(200)))
				secrets.Add(fmt.Sprintf("other%d-%d", w, i))
			}
		})
	}
	all.Wait()
	done()
	text := ""
	found, _ := filepath.Glob(name + "*")
	for _, f := range found {
		text += read(t, f)
	}
	for what, got := range map[string]int{"file": strings.Count(text, "secret=[secret]"), "stderr": strings.Count(b.String(), "secret=[secret]"), "journal": journalled} {
		if got != 400 {
			t.Errorf("%s: %d", what, got)
		}
	}
}
