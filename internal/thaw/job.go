package thaw

import (
	"firn/internal/state"
	"time"
)

// Job is a job that this process works on, or looks at; nobody else does while it is not closed. One goroutine uses it at a time.
type Job struct {
	header Header
	needs  []Need
}

// Create writes a job down. It chooses the ID; now becomes Created. s may be nil, or not be able to keep anything: then the job lives as long as the process.
// Errors are about what was given.
func Create(s *state.State, h Header, needs []Need, now time.Time) (*Job, error) {
	return create(s, h, needs, now)
}

// Load returns a job by its ID, or a unique beginning of it. It fails with *NoJobError or *BusyError.
func Load(s *state.State, id string, now time.Time) (*Job, error) { return load(s, id, now) }

// Find returns the youngest active job with that Key, as Load does; nil if there is none.
func Find(s *state.State, key string, now time.Time) (*Job, error) { return find(s, key, now) }

// List returns the jobs of this machine, youngest first; those that others work on, too. Jobs that ended KeepEnded before now are forgotten.
func List(s *state.State, now time.Time) ([]Entry, error) { return list(s, now) }

// Cancel ends a job by its ID or a unique beginning of it; one that is being worked on stops at its next look around. What was asked for comes nevertheless,
// expires by itself after its days, and stays paid for: nothing is refunded. The returned Entry tells how much that is.
func Cancel(s *state.State, id string, now time.Time) (Entry, error) { return cancel(s, id, now) }

// Header returns what the job is.
func (j *Job) Header() Header { return j.header }

// Needs returns what the job is about; not to be changed.
func (j *Job) Needs() []Need { return j.needs }
