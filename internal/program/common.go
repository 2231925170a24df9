package program

import (
	"context"
	"errors"
	"os"
	"runtime"
	"time"

	"firn/internal/source"
)

// Common are the settings that every kind of source has beside its own. Timeout reads one of them; With obeys the others, so that no adapter has to.
var Common = []source.Setting{
	{Name: "timeout", Value: "DURATION", Default: "never", Help: "give up when the program that makes a stream is silent for so long"},
	{Name: "use_temp_file", Value: "yes|no", Default: "no", Help: "let the program write a temporary file first, so that it need not wait for uploads"},
	{Name: "temp_dir", Value: "FOLDER", Default: "the system's", Help: "where that file lies; use_temp_file is yes then"},
	{Name: "before", Value: "COMMAND", Help: "run before the backup, such as one that makes a snapshot; where it fails, no backup is made"},
	{Name: "after", Value: "COMMAND", Help: "run after the backup, always; FIRN_STATUS in its environment is done or failed"},
	{Name: "read_from", Value: "FOLDER", Help: "read the files here instead, such as where before has mounted a snapshot"},
}

// Timeout reads the setting that is meant for Command.Idle.
func Timeout(o *source.Settings) time.Duration { return o.Duration("timeout", 0) }

// Around is what the common settings ask for around a producer.
type Around struct {
	Before, After string // commands of the system's shell
	ReadFrom      string // folder to read instead
	TempFile      bool
	TempDir       string        // empty: the system's
	Idle          time.Duration // after which a command that says nothing is given up; 0: never
	// Note is told what the commands print; may be nil.
	Note func(string)
}

// ReadHooks reads the settings of a source that is no stream; what is wrong with them, o says.
func ReadHooks(o *source.Settings, host source.Host) Around {
	return Around{Before: o.Text("before", ""), After: o.Text("after", ""), ReadFrom: o.Text("read_from", ""), Note: host.Note}
}

// ReadAround reads the settings of any other source; what is wrong with them, o says.
func ReadAround(o *source.Settings, host source.Host) Around {
	a := ReadHooks(o, host)
	a.TempDir = o.Text("temp_dir", "")
	a.TempFile = o.Bool("use_temp_file", a.TempDir != "")
	a.Idle = Timeout(o)
	return a
}

// With obeys the common settings for a producer.
func With(p source.Producer, a Around) source.Producer {
	if a.Before == "" && a.After == "" && a.ReadFrom == "" && !a.TempFile {
		return p
	}
	return &around{p, a}
}

// around is a producer with commands before and after it.
type around struct {
	inner source.Producer
	a     Around
}

// errNoFolder tells of a setting that does not fit.
var errNoFolder = errors.New("read_from is for sources whose files are read, and this one makes streams")

// Prepare implements source.Producer.
func (p *around) Prepare(ctx context.Context, have []source.Have) (*source.Batch, error) {
	batch, err := p.prepare(ctx, have)
	if err != nil {
		return nil, p.both(err, p.end(context.WithoutCancel(ctx), nil, false))
	}
	inner := batch.End
	batch.End = func(ctx context.Context, done bool) error { return p.end(ctx, inner, done) }
	return batch, nil
}

func (p *around) prepare(ctx context.Context, have []source.Have) (*source.Batch, error) {
	if p.a.Before != "" {
		if err := p.a.hook(ctx, "before", p.a.Before); err != nil {
			return nil, err
		}
	}
	batch, err := p.inner.Prepare(ctx, have)
	if err != nil {
		return nil, err
	}
	if p.a.ReadFrom != "" {
		if batch.Folder == "" {
			err = errNoFolder
			if batch.End != nil {
				err = p.both(err, batch.End(context.WithoutCancel(ctx), false))
			}
			return nil, err
		}
		if batch.Display == "" {
			batch.Display = batch.Folder
		}
		batch.Folder = p.a.ReadFrom
	}
	if p.a.TempFile {
		for i, s := range batch.Streams {
			batch.Streams[i] = Staged(s, p.a.TempDir)
		}
	}
	return batch, nil
}

// end runs what comes after, whatever comes before it said.
func (p *around) end(ctx context.Context, inner func(context.Context, bool) error, done bool) error {
	var err error
	if inner != nil {
		err = inner(ctx, done)
	}
	if p.a.After == "" {
		return err
	}
	status := "FIRN_STATUS=failed"
	if done {
		status = "FIRN_STATUS=done"
	}
	return p.both(err, p.a.hook(ctx, "after", p.a.After, status))
}

// both returns the first error, and notes the second where that is not told otherwise.
func (p *around) both(first, second error) error {
	if first == nil {
		return second
	}
	if second != nil && p.a.Note != nil {
		p.a.Note(second.Error())
	}
	return first
}

// hook runs one of the commands.
func (a Around) hook(ctx context.Context, name, command string, env ...string) error {
	c := Shell(command)
	c.Label, c.Notes, c.Idle = `command "`+name+`"`, a.Note, a.Idle
	c.Env = append(c.Env, env...)
	if err := c.Run(ctx); err != nil {
		return &HookError{When: name, Err: err}
	}
	return nil
}

// HookError tells that a command around a backup failed.
type HookError struct {
	When string // before or after
	Err  error
}

func (e *HookError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *HookError) Unwrap() error { return e.Err }

// Shell returns what runs a command line as the system's shell understands it. Its locale is that of this process: what it prints is for people, or content.
func Shell(line string) Command {
	if runtime.GOOS == "windows" {
		return Command{Name: "cmd", Args: []string{"/d", "/c", line}, Env: KeepLocale()}
	}
	return Command{Name: "/bin/sh", Args: []string{"-c", line}, Env: KeepLocale()}
}

// KeepLocale returns the environment of a program whose output is for people, or content: with the locale of this process.
func KeepLocale() []string { return []string{"LC_ALL=" + os.Getenv("LC_ALL")} }
