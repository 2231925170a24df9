package sync

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// State is how the two sides of a path compare.
type State string

// The states.
const (
	Missing    State = "missing" // the target lacks it
	Different  State = "different"
	Alone      State = "extra" // the source lacks it
	Alike      State = "same"
	Newer      State = "newer" // at the target, and left alone
	Unreadable State = "unreadable"
	Unwritten  State = "failed"
	Refused    State = "refused" // its name cannot be on the other side
)

// Difference is one line of a comparison: what the two sides had before anything was done.
type Difference struct {
	State State
	Path  string
	Why   string    // of Different: content, size, time, metadata, with commas between; of what went wrong: the error
	From  *Standing // nil: it is not there, or not known
	To    *Standing
}

// Standing is one side of a comparison.
type Standing struct {
	Size     int64
	Modified time.Time // zero: not known
	ETag     string    // of objects
	Class    string    // of objects; empty: the server's default
}

func ofFile(l *localFile) *Standing {
	if l == nil {
		return nil
	}
	return &Standing{Size: l.size, Modified: time.Unix(0, l.mtime)}
}

func ofObject(o *object) *Standing {
	if o == nil {
		return nil
	}
	return &Standing{Size: o.Size, Modified: o.Modified, ETag: o.ETag, Class: o.Class}
}

// compared tells of what was found out of a job.
func (r *run) compared(j *job, state State) {
	if r.o.Report == nil || j.agreed || j.again || j.told {
		return
	}
	j.told = true
	d := &Difference{State: state, Path: r.pathOf(j.key), From: ofObject(j.from), To: ofObject(j.to)}
	switch {
	case j.local == nil:
	case r.src != nil:
		d.Path, d.From = j.local.path, ofFile(j.local)
	default:
		d.Path, d.To = j.local.path, ofFile(j.local)
	}
	if state == Missing && d.To != nil {
		d.State = Different
	}
	if d.State == Different {
		for _, c := range j.change {
			if word := map[rune]string{'c': "content", 's': "size", 't': "time", 'm': "metadata"}[c]; word != "" && d.Why != "" {
				d.Why += "," + word
			} else {
				d.Why += word
			}
		}
	}
	r.report(d)
}

// trouble tells of what could not be compared or done.
func (r *run) trouble(state State, path string, err error) {
	for _, f := range []*folder{r.src, r.dst} {
		if f != nil {
			path = strings.TrimPrefix(path, strings.TrimSuffix(f.root, string(filepath.Separator))+string(filepath.Separator))
		}
	}
	if r.o.Report != nil {
		r.report(&Difference{State: state, Path: path, Why: err.Error()})
	}
}

func (r *run) report(d *Difference) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.o.Report(d)
}

// Reporter writes differences, as JSON or as CSV (RFC 4180 with a line of headings). Text is UTF-8 and stands as it is; of names that are no UTF-8 the bytes stand in path_hex.
type Reporter struct {
	w    io.Writer
	csv  *csv.Writer
	json *json.Encoder
	err  error
}

// line is a difference in a report.
type line struct {
	State   State  `json:"state"`
	Path    string `json:"path"`
	PathHex string `json:"path_hex,omitempty"`
	Why     string `json:"why,omitempty"`
	From    *side  `json:"from,omitempty"`
	To      *side  `json:"to,omitempty"`
}

type side struct {
	Size     int64  `json:"size"`
	Modified string `json:"modified,omitempty"`
	ETag     string `json:"etag,omitempty"`
	Class    string `json:"class,omitempty"`
}

// NewReporter makes a reporter; with asCSV it writes the headings at once.
func NewReporter(w io.Writer, asCSV bool) *Reporter {
	p := &Reporter{w: w}
	if !asCSV {
		p.json = json.NewEncoder(w)
		p.json.SetEscapeHTML(false)
		return p
	}
	p.csv = csv.NewWriter(w)
	p.csv.UseCRLF = true
	p.err = p.csv.Write([]string{"state", "path", "why", "from_size", "from_modified", "from_etag", "from_class", "to_size", "to_modified", "to_etag", "to_class", "path_hex"})
	return p
}

// Write writes one difference. After an error, which Close returns, it does nothing.
func (p *Reporter) Write(d *Difference) {
	if p.err != nil {
		return
	}
	l := line{State: d.State, Path: d.Path, Why: d.Why, From: sideOf(d.From), To: sideOf(d.To)}
	if !utf8.ValidString(d.Path) {
		l.PathHex = fmt.Sprintf("%x", d.Path)
	}
	if p.csv == nil {
		p.err = p.json.Encode(l)
		return
	}
	p.err = p.csv.Write(append(append(append([]string{string(l.State), l.Path, l.Why}, l.From.fields()...), l.To.fields()...), l.PathHex))
}

func sideOf(s *Standing) *side {
	if s == nil {
		return nil
	}
	x := &side{Size: s.Size, ETag: s.ETag, Class: s.Class}
	if !s.Modified.IsZero() {
		x.Modified = s.Modified.UTC().Format(time.RFC3339Nano)
	}
	return x
}

func (s *side) fields() []string {
	if s == nil {
		return []string{"", "", "", ""}
	}
	return []string{strconv.FormatInt(s.Size, 10), s.Modified, s.ETag, s.Class}
}

// Close ends the report and returns the first error.
func (p *Reporter) Close() error {
	if p.csv != nil {
		p.csv.Flush()
		if p.err == nil {
			p.err = p.csv.Error()
		}
	}
	return p.err
}
