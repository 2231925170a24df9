// Package command makes a stream of what a program prints, or of standard input.
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"
	"unicode/utf8"

	"firn/internal/program"
	"firn/internal/source"
)

// Kind is how snapshots call sources of this package.
const Kind = "command"

// Settings of a command.
var Settings = append([]source.Setting{
	{Name: "command", Value: "COMMAND", Help: "what to run, as a line for the system's shell; its standard output is stored if it ends with status 0"},
}, program.Common...)

// maxName bounds the name of a stream, in bytes.
const maxName = 1024

// NameError tells that a stream cannot be called so.
type NameError struct{ Name string }

func (e *NameError) Error() string {
	return fmt.Sprintf("%q cannot be the name of a stream: want a relative path of up to %d bytes, without \".\", \"..\" and what does not print", e.Name, maxName)
}

// ErrNoCommand tells that nothing is said of what to run.
var ErrNoCommand = errors.New("there is no command to run")

// Source is one stream. It implements source.Producer.
type Source struct {
	name string
	open func(ctx context.Context) (io.ReadCloser, error)
}

// New returns the stream called name that a shell command makes (the setting "command"). It fails with *NameError, ErrNoCommand or *source.SettingError.
func New(name string, o *source.Settings, host source.Host) (*Source, error) {
	line := o.Text("command", "")
	idle := program.Timeout(o)
	if err := check(name, o); err != nil {
		return nil, err
	}
	if strings.TrimSpace(line) == "" {
		return nil, ErrNoCommand
	}
	c := program.Shell(line)
	c.Idle = idle
	return ofProgram(name, c, host), nil
}

// Exec returns the stream called name that a program makes, without a shell between. args holds the program and its arguments.
func Exec(name string, args []string, o *source.Settings, host source.Host) (*Source, error) {
	c := program.Command{Env: program.KeepLocale(), Idle: program.Timeout(o)}
	if err := check(name, o); err != nil {
		return nil, err
	}
	if len(args) == 0 || args[0] == "" {
		return nil, ErrNoCommand
	}
	if o.Has("command") {
		o.Fail("command", "the program is given already")
		return nil, o.Err()
	}
	c.Name, c.Args = args[0], args[1:]
	return ofProgram(name, c, host), nil
}

// ofProgram keeps what was typed, which may hold secrets, out of errors.
func ofProgram(name string, c program.Command, host source.Host) *Source {
	c.Label = "command for " + name
	c.Notes = host.Note
	return &Source{name, func(ctx context.Context) (io.ReadCloser, error) { return c.Start(ctx) }}
}

// Input returns the stream called name that is read from r, once: a second Open fails with source.ErrOnce. A Read of r that does not return holds up nobody when the
// backup is stopped, but one goroutine stays with it.
func Input(name string, r io.Reader, o *source.Settings) (*Source, error) {
	if err := check(name, o); err != nil {
		return nil, err
	}
	if o.Has("command") {
		o.Fail("command", "standard input is read, and nothing is run")
		return nil, o.Err()
	}
	var mu sync.Mutex
	taken := false
	return &Source{name, func(ctx context.Context) (io.ReadCloser, error) {
		mu.Lock()
		defer mu.Unlock()
		if taken {
			return nil, source.ErrOnce
		}
		taken = true
		return pumped(ctx, r), nil
	}}, nil
}

// check tells of wrong settings and names.
func check(name string, o *source.Settings) error {
	if o.Err() != nil {
		return o.Err()
	}
	bad := func(r rune) bool { return r < ' ' || r == 0x7f }
	if name == "" || len(name) > maxName || path.Clean("/" + name)[1:] != name || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return &NameError{name}
	}
	return nil
}

// Prepare implements source.Producer.
func (s *Source) Prepare(context.Context, []source.Have) (*source.Batch, error) {
	return &source.Batch{Streams: []source.Stream{{Path: s.name, Open: s.open}}, Base: -1}, nil
}
