package cli

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"

	"firn/internal/config"
	"firn/internal/job"
	"firn/internal/logs"
)

// jobLog is where lines about jobs go.
type jobLog struct {
	log  *slog.Logger
	file io.Closer // nil: none
}

// Close writes out what is left.
func (l *jobLog) Close() {
	if l.file != nil {
		_ = l.file.Close() // it loses lines, and has said so
	}
}

// jobLog opens the sinks of the configuration. Where a person is at work the lines on standard error are those of any command: what is wrong and, with -v, the rest.
func (c *console) jobLog(cfg *config.Config, service bool) (*jobLog, error) {
	o := logs.Options{Level: cfg.Log.Level, Format: cfg.Log.Format, File: cfg.Log.File, MaxSize: cfg.Log.MaxSize, Keep: cfg.Log.Keep, Syslog: cfg.Log.Syslog, Journal: cfg.Log.Journal,
		Stderr: cfg.Log.Stderr && service, Note: func(text string) { c.note("%s", text) }, Writer: c.err}
	var hidden []string
	for _, name := range job.SecretVariables(cfg) {
		hidden = append(hidden, os.Getenv(name))
	}
	o.Secrets = logs.NewSecrets(hidden...)
	l := &jobLog{log: slog.New(&sayHandler{c: c})}
	if o.File == "" && !o.Syslog && !o.Journal && !o.Stderr {
		return l, nil
	}
	log, file, err := logs.Open(o)
	if err != nil {
		return nil, usage("", "configuration: %v", err)
	}
	if l.log, l.file = log, file; !service {
		l.log = slog.New(both{log.Handler(), &sayHandler{c: c}})
	}
	return l, nil
}

// sayHandler prints records as the lines of a command.
type sayHandler struct {
	c   *console
	job string
}

// Enabled implements slog.Handler.
func (h *sayHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || h.c.verbose || h.c.debug
}

// Handle implements slog.Handler.
func (h *sayHandler) Handle(_ context.Context, r slog.Record) error {
	if r.Message == job.Ended && !h.c.verbose && !h.c.debug {
		return nil // the table tells it
	}
	var b strings.Builder
	name := h.job
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "job" {
			name = a.Value.String()
		} else if a.Value.Kind() == slog.KindTime {
			b.WriteString(", " + a.Key + " " + a.Value.Time().Local().Format(timeFormat))
		} else if text := a.Value.String(); text != "" && text != "<nil>" && text != "0" {
			b.WriteString(", " + a.Key + " " + text)
		}
		return true
	})
	kind := "note"
	switch {
	case r.Level >= slog.LevelWarn: // the error of the command comes last
		kind = "warning"
	case r.Level < slog.LevelInfo:
		kind = "debug"
	}
	h.c.say(kind, strings.TrimPrefix(name+": "+b.String(), ": "))
	return nil
}

// WithAttrs implements slog.Handler.
func (h *sayHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	for _, a := range attrs {
		if a.Key == "job" {
			n.job = a.Value.String()
		}
	}
	return &n
}

// WithGroup implements slog.Handler.
func (h *sayHandler) WithGroup(string) slog.Handler { return h }

// both hands records to two handlers.
type both [2]slog.Handler

// Enabled implements slog.Handler.
func (b both) Enabled(ctx context.Context, level slog.Level) bool {
	return b[0].Enabled(ctx, level) || b[1].Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (b both) Handle(ctx context.Context, r slog.Record) error {
	var errs [2]error
	for i, h := range b {
		if h.Enabled(ctx, r.Level) {
			errs[i] = h.Handle(ctx, r.Clone())
		}
	}
	return errors.Join(errs[:]...)
}

// WithAttrs implements slog.Handler.
func (b both) WithAttrs(attrs []slog.Attr) slog.Handler {
	return both{b[0].WithAttrs(attrs), b[1].WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (b both) WithGroup(name string) slog.Handler {
	return both{b[0].WithGroup(name), b[1].WithGroup(name)}
}
