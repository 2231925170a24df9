//go:build unix

package program

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/source"
)

func sh(script string) Command {
	return Command{Name: "/bin/sh", Args: []string{"-c", script}, Label: "test"}
}

// goroutines fails the test where it leaves goroutines of this package behind.
func goroutines(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		for range 30_000 {
			buf := make([]byte, 1<<20)
			if !strings.Contains(string(buf[:runtime.Stack(buf, true)]), "program.(*running)") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Error("goroutines are left")
	})
}

func all(t *testing.T, c Command) (string, error) {
	t.Helper()
	r, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if wrong := r.Close(); wrong != nil {
		t.Error(wrong)
	}
	if wrong := r.Close(); wrong != nil {
		t.Error(wrong)
	}
	return string(b), err
}

func TestEnds(t *testing.T) {
	goroutines(t)
	for _, c := range []struct{ name, script, out, stderr, fails string }{
		{"nothing", "", "", "", ""},
		{"all", "printf abc; echo note >&2", "abc", "", ""},
		{"half, then a status", "printf abc; echo why >&2; exit 1", "abc", "why", "exit status 1"},
		{"killed", "printf abc; kill -9 $$", "abc", "", "signal: killed"},
		{"closes its output and fails later", "exec >&-; sleep 0.05; echo late >&2; exit 3", "", "late", "exit status 3"},
		{"no input", "cat; cat; printf end", "end", "", ""},
		{"no terminal", "sh -c \": </dev/tty\" 2>/dev/null && printf terminal || printf none", "none", "", ""},
		{"locale", "printf $LC_ALL", "C", "", ""},
		{"a pipeline's background part fails with it", "sleep 1000 & exit 1", "", "", "exit status 1"},
		{"the background still writes", "(sleep 0.05; printf late) & printf early", "earlylate", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := all(t, sh(c.script))
			if out != c.out {
				t.Errorf("printed %q, want %q", out, c.out)
			}
			judge(t, err, c.fails, c.stderr)
		})
	}
}

func judge(t *testing.T, err error, fails, stderr string) {
	t.Helper()
	if fails == "" {
		if err != nil {
			t.Error(err)
		}
		return
	}
	var p *source.ProducerError
	if !errors.As(err, &p) {
		t.Fatalf("got %v, want a ProducerError", err)
	}
	if p.Program != "test" || p.Stderr != stderr || p.Err.Error() != fails {
		t.Errorf("got %+v, want %q and %q", p, fails, stderr)
	}
}

func TestHugeStderr(t *testing.T) {
	goroutines(t)
	n := 0
	c := sh(`i=0; while [ $i -lt 2000 ]; do echo "line $i 0123456789012345678901234567890123456789012345678901234567890123456789" >&2; i=$((i+1)); done; head -c 3000000 /dev/zero | tr '\0' x >&2; echo >&2; echo end >&2; exit 1`)
	c.Notes = func(line string) {
		if n++; len(line) > keepStderr {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
	_, err := all(t, c)
	var p *source.ProducerError
	if !errors.As(err, &p) || len(p.Stderr) > keepStderr || !strings.HasSuffix(p.Stderr, "x\nend") {
		t.Errorf("%.300v", err)
	}
	if want := 2000 + (3000000+keepStderr-1)/keepStderr + 1; n != want {
		t.Errorf("%d lines noted, want %d", n, want)
	}
}

func TestTail(t *testing.T) {
	for text, want := range map[string][]string{
		"a\nb\r\nc":        {"a", "b", "c"},
		"10%\r20%\r\n\n\n": {"10%", "20%"},
		" x \xff ":         {"x \uFFFD"},
	} {
		for _, step := range []int{1, 2, 100} {
			var got []string
			s := tail{note: func(line string) { got = append(got, line) }}
			for b := []byte(text); len(b) > 0; b = b[min(step, len(b)):] {
				s.add(b[:min(step, len(b))])
			}
			s.flush()
			if !slices.Equal(got, want) {
				t.Errorf("%q by %d: %q", text, step, got)
			}
		}
	}
}

// clock has timers that only the test fires.
type clock struct {
	mu     sync.Mutex
	timers map[*func()]time.Duration
}

func (c *clock) after(d time.Duration, f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timers == nil {
		c.timers = map[*func()]time.Duration{}
	}
	c.timers[&f] = d
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, &f)
		return true
	}
}

// fire lets all timers of a length go off, and reports whether there were any.
func (c *clock) fire(d time.Duration) bool {
	c.mu.Lock()
	var due []func()
	for f, of := range c.timers {
		if of == d {
			due = append(due, *f)
			delete(c.timers, f)
		}
	}
	c.mu.Unlock()
	for _, f := range due {
		f()
	}
	return len(due) > 0
}

// until fires a kind of timer as soon as there is one.
func (c *clock) until(d time.Duration) {
	for !c.fire(d) {
		time.Sleep(time.Millisecond)
	}
}

func TestIdle(t *testing.T) {
	goroutines(t)
	clock := &clock{}
	c := sh("printf abc; sleep 1000")
	c.Idle, c.after = time.Hour, clock.after
	r, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if clock.fire(time.Hour) {
		t.Fatal("nobody waits, and the program is timed")
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "abc" {
		t.Fatal(err, b)
	}
	if clock.fire(time.Hour) { // the reader does something else now: it may take as long as it likes
		t.Fatal("a slow reader would kill the program")
	}
	go clock.until(time.Hour)
	_, err = r.Read(b)
	judge(t, err, errIdle.Error(), "")
	if _, again := r.Read(b); again != err {
		t.Errorf("the second time: %v", again)
	}
}

// hanging waits in its last moment: its output is closed.
func TestIdleAtTheEnd(t *testing.T) {
	goroutines(t)
	c := sh("printf abc; exec >&-; sleep 1000")
	c.Idle = time.Millisecond
	out, err := all(t, c)
	if out != "abc" && out != "" {
		t.Error(out)
	}
	judge(t, err, errIdle.Error(), "")
}

func TestHeldOutput(t *testing.T) {
	goroutines(t)
	pid := filepath.Join(t.TempDir(), "pid")
	clock := &clock{}
	c := sh("printf abc; sleep 1000 & echo $! >" + pid)
	c.grace, c.after = time.Hour, clock.after
	r, err := c.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(r, b); err != nil || string(b) != "abc" {
		t.Fatal(err, b)
	}
	go clock.until(time.Hour)
	_, err = r.Read(b)
	judge(t, err, errHeld.Error(), "")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	gone(t, pid)
}

// A grandchild in a session of its own cannot be killed, but must not keep the backup either.
func TestHeldOutputOutOfReach(t *testing.T) {
	if _, err := exec.LookPath("setsid"); err != nil {
		t.Skip("no setsid here")
	}
	goroutines(t)
	pid := filepath.Join(t.TempDir(), "pid")
	c := sh("setsid sh -c 'echo $$ >" + pid + "; exec sleep 1000' & while ! test -s " + pid + "; do sleep 0.01; done; exit 4")
	c.grace, c.patience = time.Millisecond, time.Millisecond
	_, err := all(t, c)
	judge(t, err, "exit status 4", "")
	kill(t, pid)
}

// What was said before the end is told, although nobody came to hear it for longer than anybody waits.
func TestHeardLate(t *testing.T) {
	goroutines(t)
	clock := &clock{}
	said, free := filepath.Join(t.TempDir(), "go"), make(chan struct{})
	var notes []string
	c := sh("echo first >&2; while ! test -e " + said + "; do sleep 0.01; done; echo last >&2; exit 3")
	c.patience, c.after = time.Hour, clock.after
	c.Notes = func(line string) {
		if notes = append(notes, line); line == "first" {
			if err := os.WriteFile(said, nil, 0o600); err != nil {
				t.Error(err)
			}
			<-free
		}
	}
	go func() {
		clock.until(time.Hour)
		close(free)
	}()
	judge(t, c.Run(t.Context()), "exit status 3", "first\nlast")
	if !slices.Equal(notes, []string{"first", "last"}) {
		t.Errorf("%q", notes)
	}
}

func kill(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := os.FindProcess(n); err == nil {
		_ = p.Kill()
	}
}

// gone waits until the process whose number is in a file has ended.
func gone(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	for range 30_000 {
		if !lives(n) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d still runs", n)
}

func TestStop(t *testing.T) {
	for name, script := range map[string]string{
		"quiet":              "echo $$ >PID; printf x; exec sleep 1000",
		"busy":               "echo $$ >PID; exec yes",
		"deaf":               "trap '' TERM; echo $$ >PID; printf x; sleep 1000; sleep 1000",
		"halted":             "echo $$ >PID; printf x; kill -STOP $$; sleep 1000",
		"grandchild":         "(exec sleep 1000) & echo $! >PID; printf x; wait",
		"grandchild, alone":  "sleep 1000 & echo $! >PID; printf x",
		"grandchild is deaf": "sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' & echo $! >PID; printf x; exec sleep 1000",
	} {
		for _, how := range []string{"close", "ctx"} {
			t.Run(name+", "+how, func(t *testing.T) {
				goroutines(t)
				pid := filepath.Join(t.TempDir(), "pid")
				ctx, cancel := context.WithCancelCause(t.Context())
				c := sh(strings.ReplaceAll(script, "PID", pid))
				c.patience = 10 * time.Millisecond
				r, err := c.Start(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				if how == "ctx" {
					why := errors.New("why")
					cancel(why)
					if _, err := io.Copy(io.Discard, r); err != why {
						t.Errorf("got %v", err)
					}
				}
				if err := r.Close(); err != nil {
					t.Error(err)
				}
				cancel(nil)
				gone(t, pid)
			})
		}
	}
}

func TestCloseBesideRead(t *testing.T) {
	goroutines(t)
	for range 20 {
		r, err := sh("exec sleep 1000").Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { _, err := r.Read(make([]byte, 1)); done <- err }()
		_ = r.Close()
		if err := <-done; err == nil || err == io.EOF {
			t.Fatalf("got %v", err)
		}
	}
}

func TestOutput(t *testing.T) {
	goroutines(t)
	out, err := sh("printf abc").Output(t.Context(), 3)
	if err != nil || string(out) != "abc" {
		t.Error(out, err)
	}
	_, err = sh("exec yes").Output(t.Context(), 1000)
	judge(t, err, "it printed more than 1000 bytes", "")
	out, err = sh("printf abc; exit 1").Output(t.Context(), 1000)
	judge(t, err, "exit status 1", "")
	if out != nil {
		t.Errorf("half an output: %q", out)
	}
}

// Run does not wait for a server that a command starts.
func TestRun(t *testing.T) {
	goroutines(t)
	var got []string
	c := sh("echo out; echo err >&2; sleep 1000 & echo $!")
	c.patience = time.Millisecond
	c.Notes = func(line string) { got = append(got, line) }
	if err := c.Run(t.Context()); err != nil {
		t.Error(err)
	}
	if len(got) != 3 || got[0] != "out" || got[1] != "err" {
		t.Fatalf("%q", got)
	}
	n, _ := strconv.Atoi(got[2])
	p, err := os.FindProcess(n)
	if err != nil || !lives(n) {
		t.Fatalf("what it started has ended: %v", err)
	}
	_ = p.Kill()
	judge(t, sh("echo why >&2; exit 2").Run(t.Context()), "exit status 2", "why")
}

func TestFeed(t *testing.T) {
	goroutines(t)
	big := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	why := errors.New("content is lost")
	for _, c := range []struct {
		name, script  string
		in            io.Reader
		prints, fails string
	}{
		{"nothing", "wc -c | tr -d ' \n'", strings.NewReader(""), "0", ""},
		{"all", "wc -c | tr -d ' \n'", bytes.NewReader(big), "3200000", ""},
		{"fails early", "exit 5", bytes.NewReader(big), "", "exit status 5"},
		{"fails late", "cat >/dev/null; exit 6", bytes.NewReader(big), "", "exit status 6"},
		{"reads half", "head -c 10", bytes.NewReader(big), "0123456789", ErrUnread.Error()},
		{"the reader fails", "cat >/dev/null", io.MultiReader(bytes.NewReader(big), &failing{why}), "", "lost"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			cmd := sh(c.script)
			cmd.Print = &out
			err := cmd.Feed(t.Context(), c.in)
			if c.fails == "lost" {
				if err != why {
					t.Errorf("got %v", err)
				}
				return
			}
			judge(t, err, c.fails, "")
			if out.String() != c.prints {
				t.Errorf("printed %q", out.String())
			}
		})
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// What cannot be given whole never looks whole: a program that does not heed that it is stopped never sees the end of its input, either.
func TestFeedNeverEndsEarly(t *testing.T) {
	goroutines(t)
	why := errors.New("content is lost")
	for name, cancelled := range map[string]bool{"lost": false, "cancelled": true} {
		t.Run(name, func(t *testing.T) {
			done := filepath.Join(t.TempDir(), "done")
			c := sh("trap '' TERM; echo deaf; cat >/dev/null; echo whole >" + done)
			c.patience = 50 * time.Millisecond
			var deaf bytes.Buffer
			heard, told := io.Pipe()
			c.Print = told
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			err := c.Feed(ctx, io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) {
				if _, err := io.CopyN(&deaf, heard, 5); err != nil {
					t.Error(err)
				}
				if cancelled {
					cancel()
					return 0, ctx.Err()
				}
				return 0, why
			})))
			if !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if _, err := os.Stat(done); err == nil {
				t.Error("it took half for the whole")
			}
		})
	}
}

// A source that is slow does not kill the program, a program that takes nothing is killed.
func TestFeedIdle(t *testing.T) {
	goroutines(t)
	clock := &clock{}
	c := sh("exec sleep 1000")
	c.Idle, c.after = time.Hour, clock.after
	first := true
	err := c.Feed(t.Context(), readerFunc(func(b []byte) (int, error) {
		if clock.fire(time.Hour) {
			t.Error("a slow source is timed")
		}
		if first {
			first = false
			go clock.until(time.Hour)
		}
		return len(b), nil
	}))
	var p *source.ProducerError
	if !errors.As(err, &p) {
		t.Fatal(err)
	}
	if p.Err != errFull {
		t.Error(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestFind(t *testing.T) {
	if p, err := Find("there-is-no-such-program", "sh"); err != nil || filepath.Base(p) != "sh" {
		t.Error(p, err)
	}
	_, err := Find("there-is-no-such-program", "nor-this")
	var missing *source.ProgramError
	if !errors.As(err, &missing) || missing.Program != "there-is-no-such-program" || strings.Count(err.Error(), "there-is") != 1 {
		t.Error(err)
	}
	for name, c := range map[string]Command{"missing": {Name: "there-is-no-such-program"}, "no program": {Name: t.TempDir()}, "no folder": {Name: "sh", Dir: "/there/is/none"}} {
		if _, err := c.Start(t.Context()); !errors.As(err, &missing) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLabel(t *testing.T) {
	for want, c := range map[string]Command{
		`tar -c "a b" ""`: {Name: "tar", Args: []string{"-c", "a b", ""}},
		"dump of x":       {Name: "tar", Args: []string{"secret"}, Label: "dump of x"},
	} {
		if got := c.label(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestEnvironmentAndFolder(t *testing.T) {
	t.Setenv("LC_ALL", "en_US.UTF-8")
	t.Setenv("FIRN_PASSPHRASE", "secret")
	dir := t.TempDir()
	if out, err := all(t, sh(`printf "<$FIRN_PASSPHRASE>"`)); err != nil || out != "<>" {
		t.Error(out, err) // it may run as somebody else
	}
	c := sh(`printf "$LC_ALL $A "; pwd -P | tr -d '\n'`)
	c.Dir, c.Env = dir, []string{"A=1", "A=2"}
	real, _ := filepath.EvalSymlinks(dir)
	if out, err := all(t, c); err != nil || out != "C 2 "+real {
		t.Error(out, err)
	}
	if out, err := Shell(`printf "$LC_ALL"`).Output(t.Context(), 100); err != nil || string(out) != "en_US.UTF-8" {
		t.Error(string(out), err)
	}
}

// TestFeedFinish has programs whose input fails end by themselves, which they tell by a file, or not in time.
func TestFeedFinish(t *testing.T) {
	why := errors.New("lost")
	file := filepath.Join(t.TempDir(), "done")
	c := Command{Name: "sh", Args: []string{"-c", `cat >/dev/null; echo done >"$0"`, file}, Finish: 10 * time.Minute}
	if err := c.Feed(t.Context(), io.MultiReader(strings.NewReader("half"), &failing{why})); err != why {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("it did not finish: %v", err)
	}
	c = Command{Name: "sh", Args: []string{"-c", "exec sleep 1000"}, Finish: time.Millisecond}
	if err := c.Feed(t.Context(), &failing{why}); err != why {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c.Finish = 10 * time.Minute
	err := c.Feed(ctx, readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, why
	}))
	if err != why {
		t.Errorf("%v", err)
	}
}
