// Package notify tells people, and programs elsewhere, what became of a job: by mail, by web hooks and the services that take them, by a command.
//
// A Message says what happened; a Channel takes it somewhere. Whether a channel wants a message at all is decided by Wanted, which looks at nothing but its arguments.
//
// What a channel promises:
//
//   - The notice goes out. A template that fails is replaced by the built-in text, which says so; what may pass is tried again; a channel that fails does not keep another.
//   - It ends. Each try has a time limit, answers are read up to 64 KiB, and there are few tries.
//   - Secrets stay: passwords, tokens and addresses (those of web hooks are secrets) stand in no message and in no error, nor does what Options.Secrets names. Errors show an address as
//     scheme://host/… and hold no error of net/url. Nothing is sent on to another host than the one that was named.
//   - Names of jobs, files and hosts are text: they add no header, no line of a protocol, no markup and no mention.
package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is what happened.
type Event string

// The events.
const (
	Start     Event = "start"     // a run begins
	Success   Event = "success"   // a run is done
	Failure   Event = "failure"   // a run failed
	Missed    Event = "missed"    // a run that should have been was not
	Recovered Event = "recovered" // a run is done, and the one before was not; stands in the place of Success
	Test      Event = "test"      // somebody wants to know whether the channel works
)

// Limits of a message; what is longer is cut when it is sent.
const (
	MaxLog      = 200     // lines, the last ones count
	MaxLine     = 1000    // characters of a line of the log, a path, an error of one path
	MaxText     = 4000    // characters of Error, Hint, Summary
	MaxProblems = 100     // problems
	MaxReport   = 1 << 20 // bytes of Report; a longer one is left out, and Warnings says so
)

// Message is what happened to a job. It is the data of templates and, as JSON, what a command gets on its standard input and a web hook as its body. Empty members are left out of the JSON, but for event,
// host, job, kind, time and id. Templates also have its methods: {{.Title}}, {{.Text}}, {{.Name}}, {{.Duration}}.
type Message struct {
	ID     string `json:"id"`               // of this message, the same for all channels; the Message-ID of a mail follows from it. Empty: made from host, job, event and time
	Refers string `json:"refers,omitempty"` // ID of the message that this one goes on from: a recovery from its failure, a second failure from the first. Empty: Thread says it
	Run    string `json:"run,omitempty"`    // names the run: the same at its start and at its end

	Event      Event  `json:"event"`
	Host       string `json:"host"`
	Job        string `json:"job"`                  // name, as in the configuration
	Kind       string `json:"kind"`                 // backup, transition, prune, check, drill, copy
	Repository string `json:"repository,omitempty"` // name
	Source     string `json:"source,omitempty"`     // as in snapshots
	Snapshot   string `json:"snapshot,omitempty"`   // id
	Program    string `json:"program,omitempty"`    // who says it: firn and its version

	Time    time.Time `json:"time"`              // when it happened: the end of a run, the moment of a missed one
	Started time.Time `json:"started,omitzero"`  // the begin of the run
	Seconds float64   `json:"seconds,omitempty"` // that the run took

	Summary  string    `json:"summary,omitempty"` // one line, such as "312 files new, 1.2 GiB sent"
	Error    string    `json:"error,omitempty"`
	Hint     string    `json:"hint,omitempty"`
	ExitCode int       `json:"exit_code,omitempty"` // of the run
	Counts   Counts    `json:"counts,omitzero"`
	Problems []Problem `json:"problems,omitempty"` // the first ones; Counts.Problems is how many there are

	Failures    int       `json:"failures,omitempty"`    // runs in succession that failed or were missed, this one included; of a recovery: before it
	Missed      int       `json:"missed,omitempty"`      // runs that were missed in succession, with Missed
	Since       time.Time `json:"since,omitzero"`        // when the first of them should have been or failed
	LastSuccess time.Time `json:"last_success,omitzero"` // zero: never, or not known
	Next        time.Time `json:"next,omitzero"`         // when the next run is due
	Cost        float64   `json:"cost,omitempty"`        // of the run
	Currency    string    `json:"currency,omitempty"`    // of Cost
	StaleAfter  float64   `json:"stale_after,omitempty"` // seconds that the last success may be old
	ReportFile  string    `json:"report_file,omitempty"` // path on Host

	Log      []string        `json:"log,omitempty"`      // the last lines
	Report   json.RawMessage `json:"report,omitempty"`   // of the run
	Warnings []string        `json:"warnings,omitempty"` // about the notice itself: a template that failed, a report that was too long. A channel adds its own
}

// Counts are figures of a run; 0: none, or unknown.
type Counts struct {
	Files        int64 `json:"files,omitempty"`
	FilesNew     int64 `json:"files_new,omitempty"`
	FilesChanged int64 `json:"files_changed,omitempty"`
	Bytes        int64 `json:"bytes,omitempty"`        // of content
	BytesAdded   int64 `json:"bytes_added,omitempty"`  // of content that was not known
	BytesStored  int64 `json:"bytes_stored,omitempty"` // sent to the repository
	BytesFreed   int64 `json:"bytes_freed,omitempty"`  // deleted from it
	Snapshots    int64 `json:"snapshots,omitempty"`    // made, looked at or forgotten
	Problems     int64 `json:"problems,omitempty"`     // files and objects that could not be dealt with
}

// Problem is one path that could not be dealt with.
type Problem struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

// Duration is how long the run took.
func (m Message) Duration() time.Duration { return time.Duration(m.Seconds * float64(time.Second)) }

// Trouble reports whether something is wrong.
func (m Message) Trouble() bool { return m.Event == Failure || m.Event == Missed }

// Key is what tells messages apart: ID, or what stands for it.
func (m Message) Key() string {
	switch {
	case m.ID != "":
		return m.ID
	case m.Trouble() && m.Failures < 2 && m.Missed < 2:
		return m.Thread() // which it begins
	}
	return m.digest(string(m.Event), m.Time)
}

// Thread is the key of the message that began what this one goes on with: Refers, or what follows from the last success, which is the same for all that is said of one time of trouble, its end included. It is
// empty where nothing is wrong and nothing was.
func (m Message) Thread() string {
	if m.Refers != "" || !m.Trouble() && m.Event != Recovered {
		return m.Refers
	}
	return m.digest("trouble", m.LastSuccess)
}

func (m Message) digest(what string, at time.Time) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{m.Host, m.Repository, m.Job, m.Kind, what, at.UTC().Format(time.RFC3339Nano)}, "\x00")))
	return hex.EncodeToString(sum[:16])
}

// Name is the kind and the job, in words: "backup photos", "prune@main".
func (m Message) Name() string {
	switch {
	case m.Job == "" && m.Kind == "":
		return "a job"
	case m.Job == "":
		return line(m.Kind)
	case m.Kind == "" || strings.HasPrefix(m.Job, m.Kind):
		return line(m.Job)
	}
	return line(m.Kind + " " + m.Job)
}

// line makes one line of a text: what moves a cursor, ends a line or is no UTF-8 becomes a space or a replacement character.
func line(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029:
			return ' '
		case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069: // what turns the direction of writing hides what stands there
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError))))
}

// cut shortens a text to so many characters, the last of which is then an ellipsis.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	n, last := 0, 0
	for i := range s {
		if n++; n == most {
			last = i
		}
		if n > most {
			return s[:last] + "…"
		}
	}
	return s
}
