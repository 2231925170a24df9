package job

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"firn/internal/event"
)

// result names the event by which a child of each kind says what it did.
var results = map[Kind]string{Backup: "result", Transition: "transition", Prune: "prune", Check: "checked", Drill: "drill", Copy: "copy"}

// Problem is one path that a child could not deal with.
type Problem struct {
	Path  string `json:"path"`
	Error string `json:"error"`
}

// maxProblems bounds those that a report keeps.
const maxProblems = 100

// tally adds up what a child says.
type tally struct {
	kind Kind
	hear func(event.Event) // may be nil

	mu       sync.Mutex
	amounts  Amounts
	objects  []json.RawMessage // results and findings
	size     int
	left     int // objects that were too many
	problems []Problem
	results  int
	states   map[string]int // of results
	next     time.Time      // the earliest that a result names
	sent     int64          // by sources that are through
	sending  int64          // by the one at work
	fresh    struct{ new, changed int64 }
	errors   []string // of results
	limit    string   // that ended a backup
}

// take reads one object.
func (t *tally) take(o map[string]json.RawMessage, raw []byte) {
	var name string
	_ = json.Unmarshal(o["event"], &name) // else it stays unknown
	t.mu.Lock()
	defer t.mu.Unlock()
	switch name {
	case "progress":
		t.progress(raw)
	case "problem":
		t.problem(raw)
	case "note", "":
	default:
		t.keep(raw)
		if name == results[t.kind] {
			t.result(raw)
		}
	}
}

func (t *tally) progress(raw []byte) {
	var p struct {
		Phase      string `json:"phase"`
		FilesDone  int64  `json:"files_done"`
		FilesTotal int64  `json:"files_total"`
		BytesDone  int64  `json:"bytes_done"`
		BytesTotal int64  `json:"bytes_total"`
		BytesSent  int64  `json:"bytes_sent"`
		BytesGot   int64  `json:"bytes_got"`
		Problems   int64  `json:"problems"`
	}
	if json.Unmarshal(raw, &p) != nil {
		return
	}
	if p.BytesSent < t.sending { // the next source has begun
		t.sent += t.sending
	}
	t.sending = max(p.BytesSent, 0)
	if t.hear != nil {
		t.hear(event.Progress{Phase: clip(p.Phase, 40), FilesDone: p.FilesDone, FilesTotal: p.FilesTotal, BytesDone: p.BytesDone, BytesTotal: p.BytesTotal, BytesSent: p.BytesSent,
			BytesGot: p.BytesGot, Problems: p.Problems})
	}
}

func (t *tally) problem(raw []byte) {
	var p Problem
	if json.Unmarshal(raw, &p) == nil && len(t.problems) < maxProblems {
		t.problems = append(t.problems, Problem{clip(p.Path, 4<<10), clip(p.Error, 1<<10)})
	}
}

// keep keeps an object for the report, as far as there is room.
func (t *tally) keep(raw []byte) {
	if len(t.objects) >= maxResults || t.size+len(raw) > maxResultAll {
		t.left++
		return
	}
	t.size += len(raw)
	t.objects = append(t.objects, append(json.RawMessage(nil), raw...))
}

// said is what we look for in the result of any kind.
type said struct {
	State    string    `json:"state"`   // backup
	Outcome  string    `json:"outcome"` // drill
	Snapshot string    `json:"snapshot"`
	Next     time.Time `json:"next"`
	Limit    string    `json:"limit"` // backup, where it is partial: time or upload
	Sent     int64     `json:"sent"`  // backup that counts it: with all that had to be repeated
	Resumed  int       `json:"resumed"`
	Bytes    int64     `json:"bytes"`
	Error    string    `json:"error"`
	Stats    struct {
		Files        int64 `json:"files"`
		Bytes        int64 `json:"bytes"`
		FilesNew     int64 `json:"files_new"`
		FilesChanged int64 `json:"files_changed"`
		BytesStored  int64 `json:"bytes_stored"`
		Problems     int64 `json:"problems"`
	} `json:"stats"`
	Cost json.RawMessage `json:"cost"`
}

func (t *tally) result(raw []byte) {
	var r said
	if json.Unmarshal(raw, &r) != nil {
		return
	}
	t.results++
	if t.states == nil {
		t.states = map[string]int{}
	}
	t.states[clip(r.State+r.Outcome, 20)]++
	if !r.Next.IsZero() && (t.next.IsZero() || r.Next.Before(t.next)) {
		t.next = r.Next
	}
	a := &t.amounts
	if r.Snapshot != "" {
		a.Snapshot = clip(r.Snapshot, 64)
	}
	a.Files += max(r.Stats.Files, 0)
	a.Bytes += max(r.Stats.Bytes, 0)
	a.Added += max(r.Stats.BytesStored, 0)
	a.Unread += max(r.Stats.Problems, 0)
	if t.kind == Copy {
		a.Added += max(r.Bytes, 0)
	}
	t.fresh.new += r.Stats.FilesNew
	t.fresh.changed += r.Stats.FilesChanged
	switch { // progress is told now and then only
	case t.kind == Copy:
		t.sending = max(t.sending, r.Bytes)
	case t.kind == Backup && r.Sent > 0:
		t.sending = max(t.sending, r.Sent)
	case t.kind == Backup && (r.Resumed == 0 || t.sending == 0):
		t.sending = max(t.sending, r.Stats.BytesStored)
	}
	if r.Limit != "" {
		t.limit = clip(r.Limit, 20)
	}
	t.sent, t.sending = t.sent+t.sending, 0
	var cost struct {
		Currency string  `json:"currency"`
		Now      float64 `json:"now"`
		Monthly  float64 `json:"monthly"`
	}
	if json.Unmarshal(r.Cost, &cost) == nil && cost.Currency != "" {
		a.Cost, a.Monthly, a.Currency = a.Cost+cost.Now, a.Monthly+cost.Monthly, clip(cost.Currency, 10)
	}
	if r.Error != "" && len(t.errors) < 10 {
		t.errors = append(t.errors, clip(r.Error, maxError))
	}
}

// total returns what was done, once nothing comes any more.
func (t *tally) total() Amounts {
	a := t.amounts
	a.Sent = t.sent + t.sending
	return a
}

// interrupted is the error of a child that was told to stop, and did.
const interrupted = "interrupted"

// verdict says how a run ended. stop is why it was told to; nil: it was not.
func (t *tally) verdict(e *Ending, stop *Stop, words string) (o Outcome, why Why, text string) {
	if words == "" && len(t.errors) > 0 {
		words = strings.Join(t.errors, "; ")
	}
	garbage := ""
	if e.Garbage > 0 {
		garbage = fmt.Sprintf("; it printed %d lines that mean nothing here, the first of them %q", e.Garbage, e.First)
	}
	switch {
	case e.Err != nil:
		return Failed, "", e.Words() + garbage
	case e.Code == 0 && t.results > 0:
		o, why = t.ended()
		return o, why, ""
	case stop != nil && e.Stopped:
		switch {
		case e.Killed:
			words = e.Words()
		case words == interrupted:
			words = ""
		}
		return Partial, stop.Why, words
	case e.Signal == "terminated" || e.Signal == "interrupt" || e.Signal == "hangup" || e.Code == 1 && words == interrupted:
		return Partial, WhyShutdown, "somebody else told it to stop"
	case e.Code < 0:
		return Failed, "", e.Words() + garbage
	case e.Code == 0:
		return Failed, "", "it ended without saying what it did" + garbage
	case e.Code == 3 && t.kind == Drill && t.states["waiting"] > 0 && t.states["failed"]+t.states["partly"] == 0:
		return Partial, WhyLimit, "" // it is being thawed
	case e.Code == 3 && t.states["partial"] > 0:
		o, why = t.ended()
		return o, why, ""
	case e.Code == 3:
		return Incomplete, "", words
	case words == "":
		words = fmt.Sprintf("it ended with status %d", e.Code)
	}
	return Failed, "", words + garbage
}

// ended is how a child that ended well says that it ended.
func (t *tally) ended() (Outcome, Why) {
	switch {
	case t.states["partial"] > 0 && t.limit == "upload":
		return Partial, WhyAllowance
	case t.states["partial"] > 0:
		return Partial, WhyLimit
	case t.kind == Backup && t.states["not due"] == t.results:
		return Skipped, WhyNotDue
	}
	return Done, ""
}
