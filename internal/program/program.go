// Package program runs the programs of others: what makes streams, and what takes them back. It judges them by how they end, bounds how long they may be silent, stops
// them with all that they have started, and keeps what they make in temporary files where that is wished.
//
// No program that it runs can ask a person anything: standard input is empty or is the stream, and there is no terminal. Secrets never belong into Command.Args or
// Command.Label, which other users of the machine can read while the program runs, and which end in logs: programs find theirs in files of their own, or in Command.Env.
//
// A program runs in a session and process group of its own, with the environment of this process and LC_ALL=C, so that what it says can be understood. To be stopped,
// the group gets a signal that it may act upon, and two seconds later one that it cannot refuse. Who leaves the group is out of reach.
package program

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"firn/internal/source"
)

// Command is a program to be run.
type Command struct {
	Name  string // looked for as Find does, unless it holds a slash
	Args  []string
	Env   []string      // added to the environment, "NAME=value"; later ones win
	Dir   string        // to run in; empty: where this process is
	Idle  time.Duration // it is stopped when it neither writes, reads nor ends for so long while somebody waits for it; 0: never
	Label string        // how errors call it, without secrets; empty: name and arguments
	Notes func(string)  // told of each line of its standard error as it comes, by a goroutine of ours; may be nil
	Print io.Writer     // Feed: gets its standard output; nil: nobody

	// Finish is for programs to which an end of their input in the wrong place is an error, and which may be at work on what was right before it: where r of Feed fails, they are given that end, and
	// so long to end by themselves, before they are stopped. 0: they are stopped at once, since the end would tell them that they have everything.
	Finish time.Duration

	grace    time.Duration // for what still holds its output after it has ended; 0: 10 s
	patience time.Duration // between the two signals; 0: 2 s
	after    func(d time.Duration, f func()) (stop func() bool)
}

// Reasons why a program that did not fail by itself counts as failed.
var (
	errIdle  = errors.New("nothing has come from it for too long, so it was stopped")
	errFull  = errors.New("it has taken nothing for too long, so it was stopped")
	errHeld  = errors.New("it has ended, but something that it started still holds its output open, so nobody can tell whether that is whole")
	errStuck = errors.New("it was stopped, but does not end")
)

// ErrUnread tells, inside the *source.ProducerError of Feed, that a program ended well without reading all that it was given. Who feeds what need not be read does not mind.
var ErrUnread = errors.New("it ended without reading all that it was given")

// errClosed stands for the wish of the caller; nobody sees it.
var errClosed = errors.New("closed")

// Find looks for a program in PATH and then where system programs are, under its first name, then under the others. It fails with *source.ProgramError, by the first name.
func Find(name string, others ...string) (string, error) {
	var first error
	for _, n := range append([]string{name}, others...) {
		path, err := exec.LookPath(n)
		if err == nil {
			return path, nil
		}
		if first == nil {
			first = err
		}
		if strings.ContainsRune(n, filepath.Separator) {
			continue
		}
		for _, dir := range systemDirs {
			if path, err = exec.LookPath(filepath.Join(dir, n)); err == nil {
				return path, nil
			}
		}
	}
	var lookup *exec.Error
	if errors.As(first, &lookup) {
		first = lookup.Err
	}
	return "", &source.ProgramError{Program: name, Err: first}
}

// Start runs the program and returns its standard output. Read returns io.EOF only after the program has ended with status 0 and all that it wrote has been read; where it failed,
// a *source.ProducerError, which holds an *exec.ExitError if there was a status; where ctx has ended, the cause of that. Close stops what still runs and waits for it; it
// has to be called, also after the end, and reports nothing. Start itself fails with *source.ProgramError.
func (p Command) Start(ctx context.Context) (io.ReadCloser, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.label(), err)
	}
	r, err := p.start(ctx, ours, func(c *exec.Cmd) { c.Stdout = theirs })
	_ = theirs.Close()
	if err != nil {
		_ = ours.Close()
		return nil, err
	}
	return &reader{r: r}, nil
}

// reader is the output of a program.
type reader struct {
	r   *running
	end error // what Read returns from now on
}

// Read implements io.Reader.
func (o *reader) Read(b []byte) (int, error) {
	if o.end != nil {
		return 0, o.end
	}
	if len(b) == 0 {
		return 0, nil
	}
	o.r.await(errIdle)
	n, err := o.r.pipe.Read(b)
	o.r.relax()
	if n > 0 || err == nil {
		return n, nil
	}
	if err != io.EOF {
		o.r.stop(err)
	}
	if o.end = o.r.finish(); o.end == nil {
		o.end = io.EOF
	}
	return 0, o.end
}

// Close implements io.Closer.
func (o *reader) Close() error {
	o.r.stop(errClosed)
	_ = o.r.finish()
	_ = o.r.pipe.Close()
	return nil
}

// Output runs the program and returns what it prints, up to limit bytes; more is an error. Errors are those of Start and of its Read.
func (p Command) Output(ctx context.Context, limit int64) ([]byte, error) {
	r, err := p.Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	out, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(out)) > limit {
		err = &source.ProducerError{Program: p.label(), Err: fmt.Errorf("it printed more than %d bytes", limit)}
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Run runs the program to its end. What it prints on standard output is noted like its standard error; what it leaves running in the background does not matter. Errors are those of Start
// and of its Read.
func (p Command) Run(ctx context.Context) error {
	r, err := p.start(ctx, nil, func(c *exec.Cmd) { c.Stdout = c.Stderr })
	if err != nil {
		return err
	}
	return r.finish()
}

// Feed runs the program with the content of r as its standard input, and waits for its end. It fails as Start and its Read do, and where the program ends without reading
// everything; an error of r stops the program and is returned as it is.
func (p Command) Feed(ctx context.Context, r io.Reader) error {
	theirs, ours, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("%s: %w", p.label(), err)
	}
	run, err := p.start(ctx, ours, func(c *exec.Cmd) {
		c.Stdin, c.WaitDelay = theirs, p.graceTime()
		if p.Print != nil {
			c.Stdout = p.Print
		}
	})
	_ = theirs.Close()
	if err != nil {
		_ = ours.Close()
		return err
	}
	readErr, unread := run.fill(r)
	if readErr != nil {
		if p.Finish > 0 {
			_ = ours.Close()
			run.letFinish(p.Finish)
		}
		run.stop(errClosed)
	}
	run.outlast()
	_ = ours.Close()
	err = run.finish()
	switch {
	case readErr != nil:
		return readErr
	case err == nil && unread:
		return run.failed(ErrUnread)
	}
	return err
}

// letFinish waits for the end of a program whose input has ended.
func (r *running) letFinish(most time.Duration) {
	over := make(chan struct{})
	defer r.p.timer(most, func() { close(over) })()
	select {
	case <-r.exited:
	case <-r.stuck: // it was stopped meanwhile, by whoever waits for all of this
	case <-over:
	}
}

// outlast waits for the end of a program that was stopped: the end of its input would tell one that does not go at once that it has everything.
func (r *running) outlast() {
	r.mu.Lock()
	stopped := r.cause != nil
	r.mu.Unlock()
	if stopped {
		select {
		case <-r.exited:
		case <-r.stuck:
		}
	}
}

// fill writes r into the program's standard input. unread tells that it took no more.
func (r *running) fill(from io.Reader) (readErr error, unread bool) {
	buf := make([]byte, 256<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			r.await(errFull)
			_, wrong := r.pipe.Write(buf[:n])
			r.relax()
			if wrong != nil {
				return nil, true
			}
		}
		if err == io.EOF {
			return nil, false
		}
		if err != nil {
			return err, false
		}
	}
}

// label is how errors call the program.
func (p Command) label() string {
	if p.Label != "" {
		return p.Label
	}
	var b strings.Builder
	b.WriteString(p.Name)
	for _, a := range p.Args {
		if a == "" || strings.ContainsAny(a, " \t\n\"'\\") {
			a = strconv.Quote(a)
		}
		b.WriteString(" " + a)
	}
	return b.String()
}

func (p Command) graceTime() time.Duration {
	if p.grace != 0 {
		return p.grace
	}
	return 10 * time.Second
}

func (p Command) patienceTime() time.Duration {
	if p.patience != 0 {
		return p.patience
	}
	return 2 * time.Second
}

// timer calls f after d.
func (p Command) timer(d time.Duration, f func()) (stop func() bool) {
	if p.after != nil {
		return p.after(d, f)
	}
	return time.AfterFunc(d, f).Stop
}

// keepStderr is how much of what a program says is kept for errors, in bytes.
const keepStderr = 4 << 10

// tail keeps the end of what a program says, and tells of its lines. A line that is longer than keepStderr is told in pieces.
type tail struct {
	note func(string)
	kept []byte
	line []byte
}

func (t *tail) add(b []byte) {
	t.kept = append(t.kept, b...)
	if len(t.kept) > 4*keepStderr {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-2*keepStderr:]...)
	}
	if t.note == nil {
		return
	}
	for len(b) > 0 {
		end := bytes.IndexAny(b, "\r\n")
		piece := b[:min(len(b), keepStderr-len(t.line))]
		if end >= 0 && end < len(piece) {
			piece = b[:end]
		}
		t.line = append(t.line, piece...)
		b = b[len(piece):]
		if len(b) > 0 && (b[0] == '\r' || b[0] == '\n') {
			b = b[1:]
			t.flush()
		} else if len(t.line) >= keepStderr {
			t.flush()
		}
	}
}

func (t *tail) flush() {
	if text := strings.TrimSpace(strings.ToValidUTF8(string(t.line), "\uFFFD")); text != "" && t.note != nil {
		t.note(text)
	}
	t.line = t.line[:0]
}

// text is the end of all that was said, from the begin of a line on where that leaves enough.
func (t *tail) text() string {
	b := bytes.TrimSpace(t.kept)
	if len(b) > keepStderr {
		b = b[len(b)-keepStderr:]
		if end := bytes.IndexByte(b, '\n'); end >= 0 && end < keepStderr/2 {
			b = b[end+1:]
		}
	}
	text := strings.ToValidUTF8(string(b), "?")
	return strings.TrimSpace(text[max(0, len(text)-keepStderr):])
}
