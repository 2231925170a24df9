// Package logs makes loggers: lines as text or JSON, to a file that rotates, the system's log, the journal and standard error, to several of them at once.
//
// Logging never fails or holds up who logs. A sink that fails (a full disk, a folder that is gone, a log daemon that hangs) loses lines, says so once on standard error until it works again, and keeps
// no other sink from working. What the caller names as secret is in no line.
//
// # Files
//
// A file is opened for appending; each line is one write, so that several processes may use one file. Before a line that would make it larger than MaxSize, it becomes FILE.1, FILE.1 becomes FILE.2, and
// so on; what goes beyond FILE.Keep is deleted. Whoever does that holds a lock on FILE.lock; who finds the lock taken writes on, and opens FILE anew once it is another file, also where somebody else has moved
// it. New files have mode 0640; the folder is made, with mode 0750, if only that is missing. On Windows a file that another process has open stays where it is, and grows.
package logs

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/units"
)

// Options say where lines go. Where no sink is on, or none can be opened, it is Stderr.
type Options struct {
	Level  string // debug, info, warn, error; empty: info
	Format string // text, json; empty: text. Of files and standard error; the system's log gets text, the journal fields

	File    string     // empty: none
	MaxSize units.Size // of a file; 0: 10 MiB; at least 4 KiB
	Keep    int        // rotated files beside it; 0: none, so that the file begins anew when it is full; at most 1000
	Syslog  bool
	Journal bool
	Stderr  bool

	Secrets *Secrets     // nil: none
	Program string       // how the system's log and the journal call us; empty: firn
	Writer  io.Writer    // in the place of standard error; nil: that
	Note    func(string) // is told of sinks that fail; nil: a line to Writer

	syslogAt string                                          // socket, for tests; empty: the system's
	send     func(string, priority, map[string]string) error // to the journal, for tests; nil: the journal
	drain    time.Duration                                   // how long closing waits for daemons, for tests; 0: drainTime
}

// Defaults and limits.
const (
	defaultSize units.Size = 10 << 20
	leastSize   units.Size = 4 << 10
	mostKeep               = 1000
	maxLine                = 256 << 10 // bytes; the rest of a longer line is left out
)

// ErrNoSyslog tells that this system has no such log.
var ErrNoSyslog = errors.New("this system has no syslog")

// OptionError tells of a setting that cannot be.
type OptionError struct {
	Key, Value string
	Err        error // nil, or why
}

func (e *OptionError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("log: %s: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("log: %s %q is not known", e.Key, e.Value)
}

// Unwrap returns the reason.
func (e *OptionError) Unwrap() error { return e.Err }

// Open makes a logger. Closing it waits, for a few seconds at most, until what was logged has been handed over, and closes the files; what is logged later is lost. Open fails with *OptionError only: a sink that
// does not work now is noted, and a file is tried again with each line.
func Open(o Options) (*slog.Logger, io.Closer, error) {
	level, err := parseLevel(o.Level)
	if err != nil {
		return nil, nil, err
	}
	if o.Format != "" && o.Format != "text" && o.Format != "json" {
		return nil, nil, &OptionError{Key: "format", Value: o.Format}
	}
	if o.Syslog && !haveSyslog {
		return nil, nil, &OptionError{Key: "syslog", Value: "true", Err: ErrNoSyslog}
	}
	if o.Program == "" {
		o.Program = "firn"
	}
	if o.Writer == nil {
		o.Writer = os.Stderr
	}
	if o.Note == nil {
		o.Note = func(text string) { _, _ = fmt.Fprintf(o.Writer, "%s: warning: %s\n", o.Program, o.Secrets.Hide(text)) }
	}
	s := &sinks{}
	s.open(o, level)
	handler := slog.Handler(slog.NewMultiHandler(s.handlers...))
	if o.Secrets != nil {
		handler = &redacting{handler, o.Secrets}
	}
	return slog.New(handler), s, nil
}

// parseLevel reads a level.
func parseLevel(text string) (slog.Level, error) {
	switch strings.ToLower(text) {
	case "debug":
		return slog.LevelDebug, nil
	case "", "info":
		return slog.LevelInfo, nil
	case "warn", "warning":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, &OptionError{Key: "level", Value: text}
}

// sinks are the handlers of a logger, and what is to be closed.
type sinks struct {
	handlers []slog.Handler
	closers  []io.Closer
	once     sync.Once
}

func (s *sinks) open(o Options, level slog.Level) {
	if o.File != "" {
		f := newFile(o)
		s.handlers, s.closers = append(s.handlers, lines(f, o.Format, level)), append(s.closers, f)
	}
	if o.Syslog {
		s.syslog(o, level)
	}
	journal := false
	if o.Journal {
		journal = s.journal(o, level)
	}
	if o.Stderr && !(journal && stderrIsJournal(o.Writer)) || len(s.handlers) == 0 {
		s.handlers = append(s.handlers, lines(&bounded{o.Writer}, o.Format, level))
	}
}

// Close implements io.Closer.
func (s *sinks) Close() error {
	s.once.Do(func() {
		for _, c := range slices.Backward(s.closers) {
			_ = c.Close()
		}
	})
	return nil
}

// lines writes records as lines.
func lines(w io.Writer, format string, level slog.Level) slog.Handler {
	o := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

// bounded cuts lines that are too long.
type bounded struct{ io.Writer }

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	_, err := b.Writer.Write(short(p))
	return len(p), err
}

// short cuts a line that is too long.
func short(p []byte) []byte {
	if len(p) <= maxLine {
		return p
	}
	return append(slices.Clone(p[:maxLine-1]), '\n')
}

// once tells of a sink's trouble when it begins.
type once struct {
	note    func(string)
	what    string
	mu      sync.Mutex
	trouble bool
}

// about says how a try went.
func (o *once) about(err error) {
	o.mu.Lock()
	tell := err != nil && !o.trouble
	o.trouble = err != nil
	o.mu.Unlock()
	if tell {
		o.note(fmt.Sprintf("%s: %v: lines are lost until that is over", o.what, err))
	}
}
