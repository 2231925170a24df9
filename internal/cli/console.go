package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"firn/internal/advice"
)

// console is where a command reads and writes. Its methods may be called by several goroutines at once.
type console struct {
	in       *os.File
	out      *bufio.Writer // flushed by finish and before anything goes to err
	err      io.Writer
	terminal bool // standard input is one: questions can be asked
	live     bool // standard error is one: progress is shown

	quiet, verbose, debug bool
	json                  jsonMode
	config                configuration
	now                   func() time.Time

	mu      sync.Mutex
	line    string // progress on the screen
	outFail error
}

func newConsole(in, out, err *os.File) *console {
	return &console{
		in: in, out: bufio.NewWriterSize(out, 64<<10), err: err, now: time.Now,
		terminal: term.IsTerminal(int(in.Fd())), live: term.IsTerminal(int(err.Fd())) && os.Getenv("TERM") != "dumb",
	}
}

// register adds the flags that every command has.
func (c *console) register(f *pflag.FlagSet) {
	f.BoolVarP(&c.quiet, "quiet", "q", false, "print problems and errors only")
	f.BoolVarP(&c.verbose, "verbose", "v", false, "tell why things are done, file by file where it matters")
	f.BoolVar(&c.debug, "debug", false, "tell every decision and every S3 request")
	f.Var(&c.json, "json", "print JSON objects, one a line; --json=events: while it runs, too")
	f.Lookup("json").NoOptDefVal = "result"
	c.config.register(f)
}

// jsonMode is how much JSON is printed: "" none, "result" or "events".
type jsonMode string

func (m *jsonMode) String() string { return string(*m) }

// Set reads the value of the flag.
func (m *jsonMode) Set(text string) error {
	switch text {
	case "", "result", "events":
		*m = jsonMode(text)
		return nil
	case "true":
		*m = "result"
		return nil
	case "false":
		*m = ""
		return nil
	}
	return fmt.Errorf("%q is neither result nor events", text)
}

// Type names the value in the help.
func (m *jsonMode) Type() string { return "result|events" }

// say prints one line of a kind ("note", "warning", "error", "hint", "debug") to standard error.
func (c *console) say(kind, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	line := c.line
	c.erase()
	fmt.Fprintf(c.err, "firn: %s: %s\n", kind, printable(text))
	if line != "" {
		c.draw(line)
	}
}

// note tells what the user should know, unless they want to hear of trouble only.
func (c *console) note(format string, args ...any) {
	if !c.quiet {
		c.say("note", fmt.Sprintf(format, args...))
	}
}

// warn tells of trouble that ends nothing.
func (c *console) warn(format string, args ...any) { c.say("warning", fmt.Sprintf(format, args...)) }

// explain tells why something is done, to those who want to know.
func (c *console) explain(format string, args ...any) {
	if c.verbose || c.debug {
		c.say("debug", fmt.Sprintf(format, args...))
	}
}

// print writes to standard output.
func (c *console) print(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	fmt.Fprintf(c.out, format, args...)
	if c.live {
		c.flush() // in order with what goes to standard error
	}
}

// tell is print for what people read: to standard error where JSON goes to standard output.
func (c *console) tell(format string, args ...any) {
	if c.json == "" {
		c.print(format, args...)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	fmt.Fprintf(c.err, format, args...)
}

// object writes one JSON object.
func (c *console) object(v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.erase()
	_, _ = c.out.Write(append(raw, '\n')) // bufio keeps the error
	if c.json == "events" {
		c.flush()
	}
	return nil
}

// flush writes out what was printed. The first error stays and ends the command with a failure. c.mu is held.
func (c *console) flush() {
	if err := c.out.Flush(); err != nil && c.outFail == nil {
		c.outFail = err
	}
}

// writeError flushes and returns the error of writing to standard output, if there was one.
func (c *console) writeError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	if c.outFail != nil {
		return fmt.Errorf("standard output: %w", c.outFail)
	}
	return nil
}

// erase takes the progress line off the screen. c.mu is held.
func (c *console) erase() {
	if c.line != "" {
		fmt.Fprint(c.err, "\r\x1b[K")
		c.line = ""
	}
}

// draw puts a progress line on the screen. c.mu is held.
func (c *console) draw(line string) {
	fmt.Fprint(c.err, "\r\x1b[K"+line)
	c.line = line
}

// status shows a progress line, cut to the width of the terminal.
func (c *console) status(line string) {
	if !c.live || c.quiet {
		return
	}
	width := 80
	if f, ok := c.err.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			width = w
		}
	}
	if r := []rune(line); len(r) >= width {
		line = string(r[:width-1])
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draw(line)
}

// endLine removes the progress line for good.
func (c *console) endLine() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flush()
	c.erase()
}

// watchSignals returns a context that the first SIGINT or SIGTERM ends. The second one ends the process at once.
func (c *console) watchSignals(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	caught := make(chan os.Signal, 1)
	ignored := signal.Ignored(os.Interrupt) // shells have it so for what runs behind "&"
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case s := <-caught:
			if !ignored {
				signal.Stop(caught) // the second one does what it always does
			}
			c.say("note", fmt.Sprintf("%v: stopping; once more to end at once", s))
			cancel()
			if ignored {
				<-caught
				if p, err := os.FindProcess(os.Getpid()); err == nil {
					_ = p.Kill()
				}
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(caught); cancel() }
}

// usage is an error of how the program was called.
func usage(hint, format string, args ...any) error {
	return &advice.Error{Text: fmt.Sprintf(format, args...), Hint: hint, Code: advice.Usage}
}

// failure is an error with a hint.
func failure(hint, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &advice.Error{Text: err.Error(), Hint: hint, Err: errors.Unwrap(err)}
}

// incomplete ends a command of which some files could not be dealt with; each was named.
func incomplete() error { return &advice.Error{Code: advice.Incomplete} }

// printable keeps names of files from moving the cursor or forging lines.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029 {
			return '\ufffd'
		}
		return r
	}, s)
}

// content is standard output for content, which does not mix with lines.
func (c *console) content() io.Writer { return contentWriter{c} }

type contentWriter struct{ c *console }

func (w contentWriter) Write(b []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	w.c.erase()
	return w.c.out.Write(b)
}
