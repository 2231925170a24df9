package logs

import (
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/journal"
)

// journal adds the journal, and reports whether there is one. Attributes are fields: job is JOB, others have FIRN_ before them.
func (s *sinks) journal(o Options, level slog.Level) bool {
	send := o.send
	if send == nil {
		if !journal.Enabled() {
			o.Note("log: there is no journal on this system, so nothing is written there")
			return false
		}
		send = func(text string, p priority, fields map[string]string) error {
			return journal.Send(text, journal.Priority(p), fields)
		}
	}
	q := newQueue(&once{note: o.Note, what: "journal"}, queueLength, o.drain)
	s.closers = append(s.closers, q)
	s.handlers = append(s.handlers, &daemon{level: level, send: func(p priority, text string, attrs map[string]string) {
		fields := map[string]string{"SYSLOG_IDENTIFIER": o.Program}
		for name, value := range attrs {
			fields[fieldName(name)] = value
		}
		q.add(func() error { return send(text, p, fields) })
	}})
	return true
}

// fieldName makes the name of a field (systemd.journal-fields(7)): upper-case ASCII, digits and underscores, up to 64 characters.
func fieldName(key string) string {
	if key == "job" {
		return "JOB"
	}
	name := "FIRN_" + strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z' || r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, key)
	return name[:min(len(name), 64)]
}

// stderrIsJournal reports whether what is written there is in the journal already.
func stderrIsJournal(w io.Writer) bool {
	if w != os.Stderr {
		return false
	}
	is, err := journal.StderrIsJournalStream()
	return err == nil && is
}
