package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"firn/internal/config"
	"firn/internal/notify"
)

// TestNotifier tells channels, each what it wants to hear and those that a job names, and remembers whom it told.
func TestNotifier(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the commands are for a POSIX shell")
	}
	dir := t.TempDir()
	channel := func(name string, all bool, on ...string) *config.Channel {
		return &config.Channel{Name: name, Type: "command", Command: "cat >> " + filepath.Join(dir, name) + "; echo >> " + filepath.Join(dir, name), All: all, On: on}
	}
	c := &config.Config{Notify: []*config.Channel{channel("usual", true), channel("each", true, "always", "start"), channel("own", false), channel("late", true, "missed"),
		{Name: "broken", Type: "mail", Server: "localhost:1", Secret: config.Secret{File: filepath.Join(dir, "none")}, On: []string{"missed"}, All: true}}}
	c.Notify[3].After = 3
	n := NewNotifier(c, filepath.Join(dir, "jobs"))
	j, special := &Job{Name: "photos"}, &Job{Name: "shop", Notify: []string{"own"}}
	now := start
	tell := func(j *Job, e notify.Event, failures, missed int) error {
		now = now.Add(time.Hour)
		return n.Report(context.Background(), j, notify.Message{Event: e, Host: "nas", Job: j.Name, Kind: "backup", Time: now, Failures: failures, Missed: missed})
	}
	for _, m := range []struct {
		e                notify.Event
		failures, missed int
	}{{notify.Start, 0, 0}, {notify.Success, 0, 0}, {notify.Failure, 1, 0}, {notify.Failure, 2, 0}, {notify.Failure, 3, 0}, {notify.Recovered, 3, 0}, {notify.Failure, 1, 0}} {
		if err := tell(j, m.e, m.failures, m.missed); err != nil {
			t.Errorf("%s: %v", m.e, err)
		}
	}
	if err := tell(special, notify.Failure, 1, 0); err != nil {
		t.Error(err)
	}
	if err := tell(j, notify.Missed, 3, 2); err == nil || !strings.Contains(err.Error(), `"broken"`) {
		t.Errorf("a channel without its password: %v", err)
	}
	for name, want := range map[string]string{
		"usual": "failure recovered failure", "each": "start success failure failure failure recovered failure missed", "own": "failure", "late": "failure missed",
	} {
		raw, _ := os.ReadFile(filepath.Join(dir, name))
		var got []string
		for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n") {
			var m notify.Message
			if json.Unmarshal([]byte(line), &m) == nil {
				got = append(got, string(m.Event))
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", name, got, want)
		}
	}
}

// TestSeveralErrors: the errors of several channels are one line, and each of them can be found in it.
func TestSeveralErrors(t *testing.T) {
	a, b := errors.New("a"), fmt.Errorf("b: %w", fs.ErrNotExist)
	if err := inOneLine([]error{nil, nil}); err != nil {
		t.Error(err)
	}
	if err := inOneLine([]error{nil, a}); err == nil || err.Error() != "a" {
		t.Error(err)
	}
	if err := inOneLine([]error{a, nil, b}); err.Error() != "a; b: file does not exist" || !errors.Is(err, a) || !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestReadSecret reads secrets from where they are.
func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("of a file\r\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("A_SECRET", "of the environment")
	for _, c := range []struct {
		s    config.Secret
		want string
		bad  bool
	}{
		{config.Secret{}, "", false},
		{config.Secret{File: path}, "of a file", false},
		{config.Secret{Command: "echo of a command"}, "of a command", false},
		{config.Secret{Env: "A_SECRET"}, "of the environment", false},
		{config.Secret{Env: "NO_SECRET"}, "", true},
		{config.Secret{File: path + "x"}, "", true},
		{config.Secret{Command: "exit 3"}, "", true},
	} {
		if got, err := ReadSecret(context.Background(), c.s); got != c.want || (err != nil) != c.bad {
			t.Errorf("%+v: %q, %v", c.s, got, err)
		}
	}
}
