package job

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Outcome is how a run of a job ended.
type Outcome string

// The outcomes.
const (
	Done       Outcome = "done"
	Incomplete Outcome = "incomplete" // some files could not be read
	Partial    Outcome = "partial"    // stopped before it was through; goes on at the next run
	Failed     Outcome = "failed"
	Skipped    Outcome = "skipped" // not begun
)

// Good reports whether a run did what it was there for.
func (o Outcome) Good() bool { return o == Done || o == Incomplete }

// Why is the reason of a run that was stopped or not begun.
type Why string

// The reasons.
const (
	WhyWindow    Why = "window"    // it is not open, or closed
	WhyDuration  Why = "duration"  // max_duration was reached
	WhyPause     Why = "paused"    //
	WhyShutdown  Why = "shutdown"  // the runner was told to end
	WhyAllowance Why = "allowance" // nothing is left of upload_per_month, or it was used up
	WhyHeld      Why = "held"      // another process runs the job
	WhyNotDue    Why = "not due"   // the cycle says so
	WhyServed    Why = "served"    // another process was quicker
	WhyCutOff    Why = "cut off"   // the process that ran it died
	WhyLimit     Why = "limit"     // the child reached one of its limits
)

// What a line of a ledger says.
const (
	lineBegin  = "begin"
	lineEnd    = "end"
	lineMissed = "missed"
	lineSum    = "sum"
)

// ledgerVersion is that of the lines.
const ledgerVersion = 1

// Record is a line of a ledger.
type Record struct {
	Version int       `json:"v"`
	Line    string    `json:"line"` // begin, end, missed, sum
	Of      string    `json:"of"`   // Job.ID
	Start   time.Time `json:"start,omitzero"`
	End     time.Time `json:"end,omitzero"`
	PID     int       `json:"pid,omitempty"`
	Outcome Outcome   `json:"outcome,omitempty"`
	Why     Why       `json:"why,omitempty"`
	Error   string    `json:"error,omitempty"`  // at most maxError bytes
	Moment  time.Time `json:"moment,omitzero"`  // of the schedule that it serves, or up to which moments were missed
	Missed  int       `json:"missed,omitempty"` // moments before that one that nothing served
	Full    bool      `json:"full,omitempty"`   // a backup that was asked to depend on nothing older
	Next    time.Time `json:"next,omitzero"`    // when the child says that the job is due again
	Report  string    `json:"report,omitempty"` // name of the file in reports
	Amounts
	Repo  string   `json:"repo,omitempty"`  // of which an allowance counts what was sent
	Month string   `json:"month,omitempty"` // "2026-11", in which it was sent
	Sum   *History `json:"sum,omitempty"`   // all that stood before
}

// Amounts are what a run did.
type Amounts struct {
	Snapshot string  `json:"snapshot,omitempty"` // the last one that it made
	Files    int64   `json:"files,omitempty"`    // of the source
	Bytes    int64   `json:"bytes,omitempty"`
	Added    int64   `json:"added,omitempty"`   // bytes that were stored for it
	Sent     int64   `json:"sent,omitempty"`    // bytes to the store
	Unread   int64   `json:"unread,omitempty"`  // files that could not be read
	Cost     float64 `json:"cost,omitempty"`    // of the run
	Monthly  float64 `json:"monthly,omitempty"` // of what it added
	Currency string  `json:"currency,omitempty"`
}

// History is what the ledger of a job says. Times are those of the machine, in the order in which things happened, whatever its clock did.
type History struct {
	Of       string    `json:"of"`
	Runs     int64     `json:"runs"`             // that ended, skipped ones left out
	Served   time.Time `json:"served,omitzero"`  // begin of the last run that was through, or failed
	First    time.Time `json:"first,omitzero"`   // when anything was first written down of the job
	Counted  time.Time `json:"counted,omitzero"` // moment up to which missed ones were counted
	Success  *Record   `json:"success,omitempty"`
	Failure  *Record   `json:"failure,omitempty"`
	Last     *Record   `json:"last,omitempty"`     // that ended, skipped ones left out
	Skip     *Record   `json:"skip,omitempty"`     // the last one, where nothing has run since
	Begun    *Record   `json:"begun,omitempty"`    // and not ended
	Full     time.Time `json:"full,omitzero"`      // begin of the last full one that succeeded, or of the first success that is known
	Misses   int       `json:"misses,omitempty"`   // since the last success
	Failures int       `json:"failures,omitempty"` // in succession that failed or were incomplete, up to the last
	Next     time.Time `json:"next,omitzero"`      // before which a child said that nothing is due
	Sent     []Month   `json:"months,omitempty"`
}

// Month is what was sent to a repository in a month.
type Month struct {
	Repo  string `json:"repo"`
	Month string `json:"month"`
	Bytes int64  `json:"bytes"`
}

// maxMonths bounds History.Sent: some repositories in this month and the last.
const maxMonths = 8

// fold adds what a line says.
func (h *History) fold(r *Record) {
	if h.First.IsZero() && r.Line != lineSum {
		h.First = r.Start
	}
	switch r.Line {
	case lineSum:
		if r.Sum != nil {
			*h = *r.Sum
		}
	case lineBegin:
		h.Begun = r
	case lineMissed:
		h.Misses += r.Missed
		h.Counted = r.Moment
	case lineEnd:
		h.end(r)
	}
}

func (h *History) end(r *Record) {
	if r.Sent > 0 && r.Month != "" {
		h.sent(r)
	}
	if r.Outcome == Skipped {
		h.Skip = r
		if !r.Next.IsZero() {
			h.Next = r.Next
		}
		return
	}
	h.Runs++
	h.Begun, h.Skip, h.Last, h.Next = nil, nil, r, time.Time{}
	switch {
	case r.Outcome.Good():
		h.Success, h.Misses = r, 0
		h.Failures++
		if r.Outcome == Done {
			h.Failures = 0
		}
		if r.Full || h.Full.IsZero() {
			h.Full = r.Start
		}
	case r.Outcome == Failed:
		h.Failure = r
		h.Failures++
	}
	if r.Outcome != Partial {
		h.Served = r.Start
	}
}

func (h *History) sent(r *Record) {
	for i := range h.Sent {
		if m := &h.Sent[i]; m.Repo == r.Repo && m.Month == r.Month {
			m.Bytes += r.Sent
			return
		}
	}
	h.Sent = append(h.Sent, Month{r.Repo, r.Month, r.Sent})
	if len(h.Sent) > maxMonths {
		h.Sent = slices.Clone(h.Sent[len(h.Sent)-maxMonths:])
	}
}

// Limits of ledgers.
const (
	maxError     = 1000     // bytes of an error in a line
	maxLine      = 32 << 10 // bytes
	compactAbove = 8 << 10  // bytes of a file, from which on it is compacted
	maxLedger    = 1 << 20  // bytes that are read of a file; of a longer one its end
)

// book is the ledger of one job. It never fails its caller: what cannot be read or written is told to note.
type book struct {
	dir  string // of the job; empty: nothing is kept
	of   string
	note func(error)
}

// safeName makes a name of a job one of a folder: letters, digits, "@", "-", "_" and dots stand for themselves, anything else is "%" and two hexadecimal digits. A long one ends in a sum.
func safeName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '@' || c == '.' && i > 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	if b.Len() > 120 {
		return b.String()[:100] + "%" + identity("", name)
	}
	return b.String()
}

func (b *book) current() string { return filepath.Join(b.dir, "runs.jsonl") }
func (b *book) old() string     { return filepath.Join(b.dir, "runs.old.jsonl") }

// read returns what the ledger says.
func (b *book) read() *History {
	h := &History{Of: b.of}
	if b.dir == "" {
		return h
	}
	lines, summed, _ := b.lines(b.current())
	if !summed {
		if older, _, there := b.lines(b.old()); there {
			lines = append(older, lines...)
		}
	}
	for i := range lines {
		h.fold(&lines[i])
	}
	return h
}

// lines reads a file. summed tells that nothing that stood before it is needed.
func (b *book) lines(path string) (lines []Record, summed, there bool) {
	f, err := os.Open(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			b.note(err)
		}
		return nil, false, false
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err == nil && info.Size() > maxLedger {
		_, _ = f.Seek(-maxLedger, io.SeekEnd) // a regular file
		b.note(fmt.Errorf("%q is longer than %d bytes: its end counts", path, maxLedger))
	}
	damaged := 0
	scan := bufio.NewScanner(io.LimitReader(f, maxLedger))
	scan.Buffer(make([]byte, 0, 8<<10), maxLedger)
	for scan.Scan() {
		line := bytes.TrimSpace(scan.Bytes())
		if len(line) == 0 {
			continue
		}
		var r Record
		if len(line) > maxLine || json.Unmarshal(line, &r) != nil || r.Version != ledgerVersion || r.Line == "" {
			damaged++
			continue
		}
		if r.Of != b.of {
			continue // of another job that had the name, or has it in another configuration
		}
		summed = summed || r.Line == lineSum
		lines = append(lines, r)
	}
	if damaged > 0 || scan.Err() != nil {
		b.note(fmt.Errorf("%q: %d damaged lines are left out", path, max(damaged, 1)))
	}
	return lines, summed, true
}

// add appends a line, and makes it last. It reports whether that worked.
func (b *book) add(r Record) bool {
	if b.dir == "" {
		return false
	}
	r.Version, r.Of = ledgerVersion, b.of
	if len(r.Error) > maxError {
		r.Error = strings.ToValidUTF8(r.Error[:maxError], "") + "…"
	}
	if err := b.append(r); err != nil {
		b.note(err)
		return false
	}
	return true
}

func (b *book) append(r Record) (err error) {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(b.current(), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var last [1]byte
	if n := info.Size(); n > 0 {
		if _, err := f.ReadAt(last[:], n-1); err != nil || last[0] != '\n' {
			line = append([]byte("\n"), line...) // a line that was torn stays alone
		}
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return err
	}
	return f.Sync()
}

// compact puts what a long file says into its first line. It is called with the lock of the job held. A crash leaves the old file or the new one.
func (b *book) compact() {
	info, err := os.Stat(b.current())
	if b.dir == "" || err != nil || info.Size() < compactAbove {
		return
	}
	h := b.read()
	line, err := json.Marshal(Record{Version: ledgerVersion, Line: lineSum, Of: b.of, Sum: h})
	if err != nil || len(line) > maxLine {
		return // grows on; read is bounded
	}
	tmp := b.old() + ".tmp"
	_ = os.Remove(tmp)
	if os.Link(b.current(), tmp) == nil {
		_ = os.Rename(tmp, b.old())
	}
	if err := writeFile(b.current(), append(line, '\n')); err != nil {
		b.note(err)
	}
}

// writeFile replaces a file of mode 0600 so that a crash leaves the old or the new content.
func writeFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// sentIn returns how many bytes went to a repository in a month, by the ledgers of all jobs that there ever were.
func sentIn(dir, repo, month string) (total int64) {
	found, err := os.ReadDir(dir)
	if dir == "" || err != nil {
		return 0
	}
	for _, e := range found {
		if !e.IsDir() {
			continue
		}
		total += sentBy(filepath.Join(dir, e.Name()), repo, month)
	}
	return total
}

// sentBy adds up one ledger, whatever jobs its lines are of.
func sentBy(dir, repo, month string) (total int64) {
	of := map[string]*History{}
	b := book{dir: dir, note: func(error) {}}
	for _, path := range []string{b.old(), b.current()} {
		raw, err := os.ReadFile(path)
		if err != nil || len(raw) > maxLedger {
			continue
		}
		for line := range bytes.Lines(raw) {
			var r Record
			if json.Unmarshal(line, &r) != nil || r.Version != ledgerVersion {
				continue
			}
			if of[r.Of] == nil {
				of[r.Of] = &History{}
			}
			of[r.Of].fold(&r)
		}
	}
	for _, h := range of {
		for _, m := range h.Sent {
			if m.Repo == repo && m.Month == month {
				total += m.Bytes
			}
		}
	}
	return total
}

// monthOf names the calendar month of a time.
func monthOf(t time.Time, loc *time.Location) string { return t.In(loc).Format("2006-01") }

// tempLeft removes what a crash left of writeFile. It is called with the lock of the job held.
func (b *book) tempLeft() {
	left, _ := filepath.Glob(filepath.Join(b.dir, ".tmp-*"))
	for _, path := range left {
		_ = os.Remove(path)
	}
}
