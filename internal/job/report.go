package job

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"firn/internal/notify"
	"firn/internal/units"
)

// Report is the JSON document of a run (docs/JSON.md). Members stay; new ones may be added.
type Report struct {
	Event      string    `json:"event"`   // job
	Version    int       `json:"version"` // 1
	Program    string    `json:"program"`
	Host       string    `json:"host"`
	Run        string    `json:"run"` // names the run
	Job        string    `json:"job"`
	Kind       Kind      `json:"kind"`
	Repository string    `json:"repository"`
	To         string    `json:"to,omitempty"`     // of a copy
	Source     string    `json:"source,omitempty"` // as it is written
	Command    []string  `json:"command"`          // the child, without secrets
	Start      time.Time `json:"start"`
	End        time.Time `json:"end"`
	Seconds    float64   `json:"seconds"`
	Cause      Cause     `json:"cause"`
	Moment     time.Time `json:"moment,omitzero"`
	Missed     int       `json:"missed"`
	Outcome    Outcome   `json:"outcome"`
	Why        Why       `json:"why,omitempty"`
	ExitCode   *int      `json:"exit_code"` // null: it did not end by itself, or was not started
	Signal     string    `json:"signal,omitempty"`
	Error      string    `json:"error,omitempty"`
	Hint       string    `json:"hint,omitempty"`
	Amounts
	Next     time.Time         `json:"next,omitzero"`
	Results  []json.RawMessage `json:"results"`  // what the child printed, progress and notes left out
	LeftOut  int               `json:"left_out"` // of these, since there was no more room
	Problems []Problem         `json:"problems"` // the first 100
	Log      []string          `json:"log"`      // the last lines of its standard error
	Hooks    []HookResult      `json:"hooks,omitempty"`
	Warnings []string          `json:"warnings,omitempty"` // what went wrong around the run and did not change its outcome
}

// HookResult is how a hook ended.
type HookResult struct {
	When    string  `json:"when"` // before, after, on_success, on_failure
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// reportTime is how reports are named, so that they sort.
const reportTime = "20060102T150405.000Z"

// writeReport stores a report, under the name that it has, and forgets the oldest ones but keep.
func writeReport(dir, name string, r *Report, keep int) (string, error) {
	if dir == "" {
		return "", ErrNoState
	}
	dir = filepath.Join(dir, "reports")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, name)
	if err := writeFile(path, append(raw, '\n')); err != nil {
		return "", err
	}
	trimReports(dir, keep)
	return path, nil
}

// trimReports keeps the newest ones, and none of what a crash left.
func trimReports(dir string, keep int) {
	found, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var names []string
	for _, e := range found {
		switch name := e.Name(); {
		case strings.HasPrefix(name, ".tmp-"):
			_ = os.Remove(filepath.Join(dir, name)) // the lock of the job is ours
		case strings.HasSuffix(name, ".json"):
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for ; len(names) > max(keep, 1); names = names[1:] {
		_ = os.Remove(filepath.Join(dir, names[0]))
	}
}

// summary is what a run did, in one line.
func (r *Report) summary(fresh struct{ new, changed int64 }) string {
	var parts []string
	switch r.Outcome {
	case Partial:
		parts = append(parts, "stopped ("+string(r.Why)+"), goes on at the next run")
	case Incomplete:
		parts = append(parts, "done, but not all of it")
	case Skipped:
		parts = append(parts, "not run ("+string(r.Why)+")")
	case Failed:
		parts = append(parts, "failed")
	}
	if r.Kind == Backup && r.Files > 0 {
		files := "files"
		if r.Files == 1 {
			files = "file"
		}
		parts = append(parts, fmt.Sprintf("%s %s, %s new, %s changed", units.Count(r.Files), files, units.Count(fresh.new), units.Count(fresh.changed)))
	}
	if r.Unread > 0 {
		parts = append(parts, units.Count(r.Unread)+" not read")
	}
	if r.Added > 0 {
		parts = append(parts, fmt.Sprintf("%v stored", units.Size(r.Added)))
	}
	if len(parts) == 0 {
		return string(r.Outcome)
	}
	return strings.Join(parts, ", ")
}

// message is what the report says, for whoever is to hear of it. h is what was before the run.
func (r *Report) message(h *History, path string, fresh struct{ new, changed int64 }) notify.Message {
	m := notify.Message{
		Run: r.Run, Event: notify.Success, Host: r.Host, Job: r.Job, Kind: string(r.Kind), Repository: r.Repository, Source: r.Source, Snapshot: r.Snapshot, Program: r.Program,
		Time: r.End, Started: r.Start, Seconds: r.Seconds, Summary: r.summary(fresh), Error: r.Error, Hint: r.Hint, Next: r.Next, Cost: r.Cost, Currency: r.Currency, ReportFile: path, Log: r.Log,
		Counts: notify.Counts{Files: r.Files, FilesNew: fresh.new, FilesChanged: fresh.changed, Bytes: r.Bytes, BytesStored: r.Added, Problems: r.Unread},
	}
	if r.ExitCode != nil {
		m.ExitCode = *r.ExitCode
	}
	for _, p := range r.Problems {
		m.Problems = append(m.Problems, notify.Problem{Path: p.Path, Error: p.Error})
	}
	if h.Success != nil {
		m.LastSuccess = h.Success.End
	}
	trouble := h.Failures + h.Misses
	switch r.Outcome {
	case Failed, Incomplete:
		m.Event, m.Failures = notify.Failure, trouble+1
	case Done:
		if trouble > 0 {
			m.Event, m.Failures = notify.Recovered, trouble
		}
	}
	if raw, err := json.Marshal(r); err == nil && len(raw) <= notify.MaxReport {
		m.Report = raw
	}
	return m
}
