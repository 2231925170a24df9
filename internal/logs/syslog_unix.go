//go:build unix

package logs

import (
	"fmt"
	"log/slog"
	"log/syslog"
	"strings"
)

const haveSyslog = true

// syslog adds the system's log, as a daemon; messages are text. It is dialled by the goroutine that writes, since that can hang.
func (s *sinks) syslog(o Options, level slog.Level) {
	var w *syslog.Writer
	dial := func() (err error) {
		const usual = syslog.LOG_DAEMON | syslog.LOG_INFO
		if w != nil {
			return nil
		}
		if o.syslogAt != "" {
			w, err = syslog.Dial("unixgram", o.syslogAt, usual, o.Program)
		} else {
			w, err = syslog.New(usual, o.Program)
		}
		if err != nil {
			w = nil
			return fmt.Errorf("no syslog answers here: %w", err)
		}
		return nil
	}
	q := newQueue(&once{note: o.Note, what: "syslog"}, queueLength, o.drain)
	s.closers = append(s.closers, q)
	s.handlers = append(s.handlers, &daemon{level: level, send: func(p priority, text string, _ map[string]string) {
		text = strings.Map(oneLine, text)
		q.add(func() error {
			if err := dial(); err != nil {
				return err
			}
			switch p {
			case priorityErr:
				return w.Err(text)
			case priorityWarning:
				return w.Warning(text)
			case priorityInfo:
				return w.Info(text)
			}
			return w.Debug(text)
		})
	}})
}

// oneLine keeps a message from looking like several.
func oneLine(r rune) rune {
	if r < ' ' || r == 0x7f {
		return ' '
	}
	return r
}
