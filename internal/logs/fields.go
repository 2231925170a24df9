package logs

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"time"
)

// priority is that of syslog (RFC 5424 §6.2.1), which the journal shares.
type priority int

// The priorities that levels have.
const (
	priorityErr     priority = 3
	priorityWarning priority = 4
	priorityInfo    priority = 6
	priorityDebug   priority = 7
)

func priorityOf(level slog.Level) priority {
	switch {
	case level >= slog.LevelError:
		return priorityErr
	case level >= slog.LevelWarn:
		return priorityWarning
	case level >= slog.LevelInfo:
		return priorityInfo
	}
	return priorityDebug
}

// daemon is a handler for log daemons, which know time and level by themselves: it makes a text of a record, message first, and a map of its attributes.
type daemon struct {
	level  slog.Level
	attrs  []slog.Attr // in groups already
	groups []string
	send   func(p priority, text string, fields map[string]string)
}

// Enabled implements slog.Handler.
func (h *daemon) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

// WithAttrs implements slog.Handler.
func (h *daemon) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	next.attrs = append(h.attrs[:len(h.attrs):len(h.attrs)], h.grouped(attrs)...)
	return &next
}

// WithGroup implements slog.Handler.
func (h *daemon) WithGroup(name string) slog.Handler {
	next := *h
	if name != "" {
		next.groups = append(h.groups[:len(h.groups):len(h.groups)], name)
	}
	return &next
}

// grouped puts attributes into the groups that are open.
func (h *daemon) grouped(attrs []slog.Attr) []slog.Attr {
	for i := len(h.groups) - 1; i >= 0; i-- {
		attrs = []slog.Attr{{Key: h.groups[i], Value: slog.GroupValue(attrs...)}}
	}
	return attrs
}

// Handle implements slog.Handler.
func (h *daemon) Handle(ctx context.Context, r slog.Record) error {
	var own []slog.Attr
	r.Attrs(func(a slog.Attr) bool {
		own = append(own, a)
		return true
	})
	attrs := append(h.attrs[:len(h.attrs):len(h.attrs)], h.grouped(own)...)
	var b bytes.Buffer
	if len(attrs) > 0 { // key=value as in files
		bare := slog.NewRecord(time.Time{}, r.Level, "", 0)
		bare.AddAttrs(attrs...)
		text := slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.Level(-1 << 20), ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && (a.Key == slog.LevelKey && a.Value.Kind() == slog.KindAny || a.Key == slog.MessageKey && a.Value.Equal(slog.StringValue(""))) {
				return slog.Attr{}
			}
			return a
		}})
		if err := text.Handle(ctx, bare); err != nil {
			return err
		}
	}
	fields := map[string]string{}
	collect(fields, "", attrs)
	line := strings.TrimRight(strings.ToValidUTF8(r.Message, "\ufffd")+" "+b.String(), " \n")
	h.send(priorityOf(r.Level), string(bytes.TrimRight(short([]byte(line)), "\n")), fields)
	return nil
}

// maxFields bounds what one record may bring.
const maxFields = 64

// collect flattens attributes: group_key.
func collect(into map[string]string, before string, attrs []slog.Attr) {
	for _, a := range attrs {
		v := a.Value.Resolve()
		name := before + a.Key
		if v.Kind() == slog.KindGroup {
			if a.Key != "" {
				name += "_"
			}
			collect(into, name, v.Group())
			continue
		}
		if a.Key != "" && len(into) < maxFields {
			into[name] = v.String()
		}
	}
}
