package web

import (
	"context"
	"encoding/json"
	"time"
)

// Spec is what is to be begun.
type Spec struct {
	Title  string   // for people, such as "back up photos"
	Kind   string   // backup, check, drill, restore, pause, …
	Place  *Place   // nil: that of the configuration
	Args   []string // of firn, without --json and without what leads to the repository
	Secret bool     // the child needs the passphrase of Place
	Once   string   // no two unfinished tasks have the same; empty: any number may run
}

// Tasks is what was begun from pages: children of firn, with what they tell. Some run at once, those that ended are kept for a while.
type Tasks struct {
	o *Options
}

// Task is a copy of how one stands.
type Task struct {
	ID         string
	Spec       Spec
	Line       string // what a person would type
	Begun      time.Time
	Ended      time.Time // zero: it runs
	Code       int       // exit code
	Phase      string
	FilesDone  int64
	FilesTotal int64
	BytesDone  int64
	BytesTotal int64
	Current    string
	Notes      []string          // warnings and notes, the newest last
	Results    []json.RawMessage // JSON objects of its result
	Error      string
	Hint       string
	Stopping   bool
}

func newTasks(o *Options) *Tasks { return &Tasks{o: o} }

func (t *Tasks) close() {}

// Start begins a task. It fails with *BusyError where one of the same Once runs, or too many do.
func (t *Tasks) Start(ctx context.Context, spec Spec) (*Task, error) { return nil, &BusyError{} }

// BusyError tells that a task cannot be begun now.
type BusyError struct{ ID string } // of the one that runs; empty: too many run

func (e *BusyError) Error() string {
	if e.ID == "" {
		return "too much is under way already"
	}
	return "that is under way already"
}
