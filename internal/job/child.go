package job

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Limits of what a child may make us keep.
const (
	maxObject    = 256 << 10 // bytes of one line of its standard output, unless Child.Longest says otherwise; longer ones are garbage
	maxResults   = 64        // objects that the report keeps
	maxResultAll = 1 << 20   // bytes of them together
	tailLines    = 50        // of its standard error
	tailLine     = 2 << 10   // bytes of one of them
	logLines     = 5000      // that go into the log; the tail of the rest goes into the report
)

// Grace is how long a child has to stop by itself, and how long what still holds its output may go on after its end.
const (
	stopGrace   = 2 * time.Minute
	outputGrace = 10 * time.Second
)

// Stop is why a child was told to stop. It is the cause of the context.
type Stop struct{ Why Why }

func (s *Stop) Error() string { return "stopped: " + string(s.Why) }

// Child is one run of this program by itself: of a job, or of what was begun from a page. Program, Env, Line and one of Object and Output must be set.
//
// It runs in a process group of its own. Where this process is killed, it is told to stop on Linux; elsewhere it ends when it tells how far it is.
type Child struct {
	Program []string // with leading arguments
	Args    []string
	Env     []string
	Input   []byte        // its standard input; nil: that is empty. It may be wiped once Run has returned
	Grace   time.Duration // to stop by itself; 0: two minutes
	Clock   Clock         // nil: that of the machine

	Object  func(o map[string]json.RawMessage, raw []byte) // each JSON object, in order, by one goroutine
	Longest int                                            // bytes of one of them; 0: 256 KiB
	Line    func(string)                                   // each line of standard error, likewise by another one
	Output  io.Writer                                      // takes its standard output as it is, in the place of Object. Where that fails the child is told to stop

	cmd *exec.Cmd
}

// Ending is how a child ended.
type Ending struct {
	Code    int    // -1: it did not end by itself, or was never started
	Signal  string // that ended it; empty: none
	Stopped bool   // it was told to stop
	Killed  bool   // and had to be killed, or is past even that
	Garbage int64  // lines of its standard output that are no JSON objects
	First   string // the first of them
	Err     error  // why it could not be started, or waited for
	Output  error  // why what it said could not be passed on to Child.Output
}

// Run starts the child and waits for its end. ctx ends: it is told to stop.
func (c *Child) Run(ctx context.Context) (e Ending) {
	e.Code = -1
	if c.Clock == nil {
		c.Clock = System{}
	}
	if c.Grace <= 0 {
		c.Grace = stopGrace
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, outEnd, err := os.Pipe()
	if err != nil {
		e.Err = err
		return e
	}
	said, saidEnd, err := os.Pipe()
	if err != nil {
		_, _ = out.Close(), outEnd.Close()
		e.Err = err
		return e
	}
	c.cmd = exec.Command(c.Program[0], append(c.Program[1:len(c.Program):len(c.Program)], c.Args...)...)
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = c.Env, outEnd, saidEnd
	if c.Input != nil {
		c.cmd.Stdin = bytes.NewReader(c.Input)
	}
	exited := make(chan error, 1)
	started := make(chan error, 1)
	go startAndWait(c.cmd, started, exited)
	err = <-started
	_, _ = outEnd.Close(), saidEnd.Close()
	if err != nil {
		_, _ = out.Close(), said.Close()
		e.Err = err
		return e
	}
	var readers sync.WaitGroup
	passed := make(chan struct{})
	readers.Go(func() {
		defer close(passed)
		if c.Output == nil {
			e.Garbage, e.First = c.objects(out)
			return
		}
		if _, e.Output = io.Copy(c.Output, out); e.Output != nil {
			_ = out.Close()
			cancel()
		}
	})
	readers.Go(func() { c.lines(said) })
	status, ended := c.await(ctx, exited, &e)
	if c.Output != nil && ended {
		select { // who takes it may be slow
		case <-passed:
		case <-ctx.Done():
		}
	}
	c.drain(&readers, out, said)
	if ended {
		e.judge(status)
	}
	return e
}

// await waits for the end, and stops the child where ctx ends. ended false: it does not end.
func (c *Child) await(ctx context.Context, exited chan error, e *Ending) (status error, ended bool) {
	select {
	case status = <-exited:
		return status, true
	case <-ctx.Done():
	}
	e.Stopped = true
	askChild(c.cmd)
	for range 2 { // then a signal that it cannot refuse, then no more patience
		late, stop := c.Clock.After(c.Grace)
		select {
		case status = <-exited:
			stop()
			if e.Killed {
				killChild(c.cmd) // what it left
			}
			return status, true
		case <-late:
			e.Killed = true
			killChild(c.cmd)
		}
	}
	return nil, false
}

// drain waits for the readers. What the child left running may hold the pipes.
func (c *Child) drain(readers *sync.WaitGroup, pipes ...*os.File) {
	done := make(chan struct{})
	go func() { readers.Wait(); close(done) }()
	late, stop := c.Clock.After(outputGrace)
	select {
	case <-done:
		stop()
	case <-late:
		for _, p := range pipes {
			if p.SetReadDeadline(time.Unix(1, 0)) != nil {
				_ = p.Close()
			}
		}
		<-done
	}
	for _, p := range pipes {
		_ = p.Close()
	}
}

// judge reads the status.
func (e *Ending) judge(status error) {
	var exit *exec.ExitError
	switch {
	case status == nil:
		e.Code = 0
	case errors.As(status, &exit):
		e.Code = exit.ExitCode()
		e.Signal = signalOf(exit.ProcessState)
	default:
		e.Err = status
	}
}

// objects reads standard output: JSON objects, one a line. Anything else is counted, and thrown away.
func (c *Child) objects(r io.Reader) (garbage int64, first string) {
	cut := &lineCutter{most: cmp.Or(c.Longest, maxObject)}
	cut.each = func(line []byte, whole bool) {
		if len(line) == 0 {
			return
		}
		var o map[string]json.RawMessage
		if whole && line[0] == '{' && json.Unmarshal(line, &o) == nil {
			c.Object(o, line)
			return
		}
		if garbage == 0 {
			first = clip(string(line), 200)
		}
		garbage++
	}
	cut.read(r)
	return garbage, first
}

// lines reads standard error.
func (c *Child) lines(r io.Reader) {
	cut := &lineCutter{most: tailLine}
	cut.each = func(line []byte, _ bool) {
		if text := strings.TrimRight(strings.ToValidUTF8(string(line), "\uFFFD"), " \r"); text != "" {
			c.Line(text)
		}
	}
	cut.read(r)
}

// lineCutter takes a stream apart into lines. Of one that is longer than most only the begin is told, as not whole.
type lineCutter struct {
	most int
	each func(line []byte, whole bool)
}

func (l *lineCutter) read(r io.Reader) {
	buf := make([]byte, 32<<10)
	var line []byte
	over := false
	for {
		n, err := r.Read(buf)
		for b := buf[:n]; len(b) > 0; {
			end := -1
			for i, ch := range b {
				if ch == '\n' {
					end = i
					break
				}
			}
			piece := b
			if end >= 0 {
				piece = b[:end]
			}
			if room := l.most - len(line); len(piece) > room {
				piece, over = piece[:room], true
			}
			line = append(line, piece...)
			if end < 0 {
				break
			}
			l.each(line, !over)
			line, over, b = line[:0], false, b[end+1:]
		}
		if err != nil {
			if len(line) > 0 {
				l.each(line, !over)
			}
			return
		}
	}
}

// clip cuts a text to so many bytes.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}

// Tail keeps the last lines that a child says.
type Tail struct {
	mu    sync.Mutex
	lines []string
	total int64
	err   string // the last line that told an error, as the child's last words
	hint  string
}

// Last returns the error and the hint with which a child ended, by what it said; empty: it told none.
func (t *Tail) Last() (err, hint string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err, t.hint
}

// Add takes a line.
func (t *Tail) Add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, line)
	if text, ok := strings.CutPrefix(line, "firn: error: "); ok {
		t.err = text
	}
	if text, ok := strings.CutPrefix(line, "firn: hint: "); ok {
		t.hint = text
	}
}

// Words says in a few words how a child ended that did not end well; empty: it did, or told an error itself.
func (e *Ending) Words() string {
	switch {
	case e.Err != nil:
		return e.Err.Error()
	case e.Killed && e.Code < 0 && e.Signal == "":
		return "it was told to stop, then killed, and does not end"
	case e.Signal == "killed" && !e.Stopped:
		return "it was ended by signal \"killed\", as the system does where memory runs out"
	case e.Signal != "":
		return fmt.Sprintf("it was ended by signal %q", e.Signal)
	}
	return ""
}
