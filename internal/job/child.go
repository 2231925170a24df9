package job

import (
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
	maxObject    = 256 << 10 // bytes of one line of its standard output; longer ones are garbage
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

// child is one run of this program for a job.
type child struct {
	program []string // with leading arguments
	args    []string
	env     []string
	grace   time.Duration
	clock   Clock

	object func(o map[string]json.RawMessage, raw []byte) // each JSON object, in order, by one goroutine
	line   func(string)                                   // each line of standard error, likewise by another one

	cmd *exec.Cmd
}

// ending is how a child ended.
type ending struct {
	code    int    // -1: it did not end by itself, or was never started
	signal  string // that ended it; empty: none
	stopped bool   // it was told to stop
	killed  bool   // and had to be killed, or is past even that
	garbage int64  // lines of its standard output that are no JSON objects
	first   string // the first of them
	err     error  // why it could not be started, or waited for
}

// run starts the child and waits for its end. ctx ends: it is told to stop.
func (c *child) run(ctx context.Context) (e ending) {
	e.code = -1
	out, outEnd, err := os.Pipe()
	if err != nil {
		e.err = err
		return e
	}
	said, saidEnd, err := os.Pipe()
	if err != nil {
		_, _ = out.Close(), outEnd.Close()
		e.err = err
		return e
	}
	c.cmd = exec.Command(c.program[0], append(c.program[1:len(c.program):len(c.program)], c.args...)...)
	c.cmd.Env, c.cmd.Stdout, c.cmd.Stderr = c.env, outEnd, saidEnd
	exited := make(chan error, 1)
	started := make(chan error, 1)
	go startAndWait(c.cmd, started, exited)
	err = <-started
	_, _ = outEnd.Close(), saidEnd.Close()
	if err != nil {
		_, _ = out.Close(), said.Close()
		e.err = err
		return e
	}
	var readers sync.WaitGroup
	readers.Go(func() { e.garbage, e.first = c.objects(out) })
	readers.Go(func() { c.lines(said) })
	status, ended := c.await(ctx, exited, &e)
	c.drain(&readers, out, said)
	if ended {
		e.judge(status)
	}
	return e
}

// await waits for the end, and stops the child where ctx ends. ended false: it does not end.
func (c *child) await(ctx context.Context, exited chan error, e *ending) (status error, ended bool) {
	select {
	case status = <-exited:
		return status, true
	case <-ctx.Done():
	}
	e.stopped = true
	askChild(c.cmd)
	for range 2 { // then a signal that it cannot refuse, then no more patience
		late, stop := c.clock.After(c.grace)
		select {
		case status = <-exited:
			stop()
			if e.killed {
				killChild(c.cmd) // what it left
			}
			return status, true
		case <-late:
			e.killed = true
			killChild(c.cmd)
		}
	}
	return nil, false
}

// drain waits for the readers. What the child left running may hold the pipes.
func (c *child) drain(readers *sync.WaitGroup, pipes ...*os.File) {
	done := make(chan struct{})
	go func() { readers.Wait(); close(done) }()
	late, stop := c.clock.After(outputGrace)
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
func (e *ending) judge(status error) {
	var exit *exec.ExitError
	switch {
	case status == nil:
		e.code = 0
	case errors.As(status, &exit):
		e.code = exit.ExitCode()
		e.signal = signalOf(exit.ProcessState)
	default:
		e.err = status
	}
}

// objects reads standard output: JSON objects, one a line. Anything else is counted, and thrown away.
func (c *child) objects(r io.Reader) (garbage int64, first string) {
	cut := &lineCutter{most: maxObject}
	cut.each = func(line []byte, whole bool) {
		if len(line) == 0 {
			return
		}
		var o map[string]json.RawMessage
		if whole && line[0] == '{' && json.Unmarshal(line, &o) == nil {
			c.object(o, line)
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
func (c *child) lines(r io.Reader) {
	cut := &lineCutter{most: tailLine}
	cut.each = func(line []byte, _ bool) {
		if text := strings.TrimRight(strings.ToValidUTF8(string(line), "\uFFFD"), " \r"); text != "" {
			c.line(text)
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

// tail keeps the last lines.
type tail struct {
	mu    sync.Mutex
	lines []string
	total int64
	err   string // the last line that told an error, as the child's last words
	hint  string
}

func (t *tail) add(line string) {
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

// words says in a few words how a child ended that did not end well; empty: it did, or told an error itself.
func (e *ending) words() string {
	switch {
	case e.err != nil:
		return e.err.Error()
	case e.killed && e.code < 0 && e.signal == "":
		return "it was told to stop, then killed, and does not end"
	case e.signal == "killed" && !e.stopped:
		return "it was ended by signal \"killed\", as the system does where memory runs out"
	case e.signal != "":
		return fmt.Sprintf("it was ended by signal %q", e.signal)
	}
	return ""
}
