package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"firn/internal/event"
	"firn/internal/snapshot"
)

// every visits all commands of firn itself.
func every(t *testing.T, fn func(cmd *cobra.Command)) {
	t.Helper()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = null.Close() })
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		fn(cmd)
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRoot(newConsole(null, null, null)))
}

// TestHelp holds every command to a short text, an example that runs it, and flags that say what they do.
func TestHelp(t *testing.T) {
	every(t, func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: short text %q", path, cmd.Short)
		}
		if !strings.Contains(cmd.Example, path) {
			t.Errorf("%s: no example", path)
		}
		for _, line := range strings.Split(cmd.Long, "\n") {
			if len([]rune(line)) > 140 {
				t.Errorf("%s: help line of %d characters", path, len(line))
			}
		}
		cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" || strings.HasSuffix(f.Usage, ".") {
				t.Errorf("%s --%s: usage %q", path, f.Name, f.Usage)
			}
		})
		if cmd.RunE == nil {
			t.Errorf("%s does nothing", path)
		}
	})
}

// TestNoSecretFlags: nothing secret is ever an argument.
func TestNoSecretFlags(t *testing.T) {
	every(t, func(cmd *cobra.Command) {
		for _, name := range []string{"passphrase", "password", "new-passphrase", "secret", "secret-key", "key"} {
			if cmd.Flags().Lookup(name) != nil {
				t.Errorf("%s has --%s", cmd.CommandPath(), name)
			}
		}
	})
}

func TestManual(t *testing.T) {
	every(t, func(cmd *cobra.Command) {
		page := string(manualPage(cmd, strings.ReplaceAll(cmd.CommandPath(), " ", "-")))
		for _, section := range []string{".TH ", ".SH NAME\n", ".SH SYNOPSIS\n", ".SH EXIT STATUS\n"} {
			if !strings.Contains(page, section) {
				t.Errorf("%s: no %q", cmd.CommandPath(), section)
			}
		}
		for _, line := range strings.Split(page, "\n") {
			if strings.HasPrefix(line, "'") || strings.HasPrefix(line, ".") && !strings.HasPrefix(line, ".SH") && !strings.HasPrefix(line, ".TH") &&
				!strings.HasPrefix(line, ".TP") && !strings.HasPrefix(line, ".PP") && !strings.HasPrefix(line, ".B ") && line != ".nf" && line != ".fi" {
				t.Errorf("%s: line %q", cmd.CommandPath(), line)
			}
		}
	})
}

func TestSplitExpr(t *testing.T) {
	for text, want := range map[string][2]string{
		"latest":                        {"latest", ""},
		"latest~2:/a:b":                 {"latest~2", "/a:b"},
		"5f3a:a/b":                      {"5f3a", "a/b"},
		"@2026-11-20":                   {"@2026-11-20", ""},
		"@2026-11-20:etc":               {"@2026-11-20", "etc"},
		"@2026-11-20T10:00":             {"@2026-11-20T10:00", ""},
		"@2026-11-20T10:00:etc/a":       {"@2026-11-20T10:00", "etc/a"},
		"@2026-11-20T10:00:30Z:etc":     {"@2026-11-20T10:00:30Z", "etc"},
		"@2026-11-20T10:00+02:00:/x":    {"@2026-11-20T10:00+02:00", "/x"},
		"@2026-11-20T10:00:30.25:a":     {"@2026-11-20T10:00:30.25", "a"},
		"@yesterday:home/eve/x 2026 :y": {"@yesterday", "home/eve/x 2026 :y"},
		"":                              {"", ""},
	} {
		if which, inside := splitExpr(text); which != want[0] || inside != want[1] {
			t.Errorf("%q: %q and %q", text, which, inside)
		}
	}
}

func TestPathIn(t *testing.T) {
	for _, c := range []struct{ source, text, want string }{
		{"/home/eve", "", ""}, {"/home/eve", "/home/eve", ""}, {"/home/eve", "/home/eve/", ""}, {"/home/eve", "/home/eve/a/b", "a/b"},
		{"/home/eve", "a/b/", "a/b"}, {"/home/eve", "/a", "a"}, {"/srv/eve", "/srv/eveline", "srv/eveline"}, {"/home/eve", ".", ""},
		{"/home/eve", "./a/../b", "b"}, {"/", "/etc/fstab", "etc/fstab"}, {"/", "etc", "etc"}, {"/", "/", ""},
		{`C:\Users\eve`, `C:\Users\eve\a\b`, "a/b"}, {`C:\Users\eve`, `a\b`, "a/b"},
	} {
		if got := string(pathIn(snapshot.Origin{Path: []byte(c.source)}, c.text)); got != c.want {
			t.Errorf("%q in %q: %q, want %q", c.text, c.source, got, c.want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{"a b\tc": "a b\tc", "a\nb": "a\ufffdb", "\x1b[2J": "\ufffd[2J", "ü\u0085": "ü\ufffd"} {
		if got := printable(text); got != want {
			t.Errorf("%q: %q", text, got)
		}
	}
	for path, want := range map[string]string{"": ".", "a b": "a b", "a\nb": `"a\nb"`, "a\xff": `"a\xff"`, `a"b\c`: `a"b\c`, "ü…": "ü…"} {
		if got := shownPath([]byte(path)); got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}

func TestFirstLine(t *testing.T) {
	for text, want := range map[string]string{"secret": "secret", "secret\n": "secret", "secret\r\n\n": "secret", " a b \n": " a b "} {
		if got, err := firstLine([]byte(text), "x"); err != nil || string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "\n", "\r\n", "a\nb", "\nb", strings.Repeat("x", maxSecret+1)} {
		if _, err := firstLine([]byte(text), "x"); err == nil {
			t.Errorf("%.20q passes", text)
		}
	}
}

// TestRealPath resolves what is there of a path that is not.
func TestRealPath(t *testing.T) {
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(base, "real"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("real", filepath.Join(base, "link")); err != nil {
		t.Skip(err)
	}
	if got, want := realPath(filepath.Join(base, "link", "a", "b")), filepath.Join(base, "real", "a", "b"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	r := root{real: filepath.Join(base, "real")}
	for path, want := range map[string]string{"real": "", "real/a/b": "a/b"} {
		if rel, ok := r.below(filepath.Join(base, filepath.FromSlash(path))); !ok || rel != want {
			t.Errorf("%s: %q, %v", path, rel, ok)
		}
	}
	for _, path := range []string{"", "really", "other", "real/../x"} {
		if rel, ok := r.below(filepath.Join(base, filepath.FromSlash(path))); ok {
			t.Errorf("%s is below: %q", path, rel)
		}
	}
}

func TestProgressLine(t *testing.T) {
	l := &listener{started: time.Unix(1000, 0), problems: 2}
	got := l.render(event.Progress{Phase: "backup", FilesDone: 1000, FilesTotal: 4000, BytesDone: 1 << 30, BytesTotal: 4 << 30, BytesSent: 1 << 20}, 100<<20, time.Unix(1010, 0))
	want := "backup: 1,000 files of 4,000, 1.00 GiB of 4.00 GiB (25 %), 100 MiB/s, sent 1.00 MiB, 2 problems, 10s, about 30s left"
	if got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if got := l.render(event.Progress{Phase: "restore", BytesTotal: 10}, 0, time.Unix(1001, 0)); strings.Contains(got, "left") {
		t.Errorf("guesses from nothing: %s", got)
	}
}
