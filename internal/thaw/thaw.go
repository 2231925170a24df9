// Package thaw has cold objects thawed, and fetched while they are: jobs that work window by window, and that outlive the process.
//
// The parts, in the order in which a caller uses them:
//
//   - Look finds out, by listing, in what class the wanted objects really are, which are thawed or on their way, and which are gone: a *Survey.
//   - Offers tells, for each tier and route, what it would cost to have them and how long it would take. It is pure.
//   - Create writes down a job: what is wanted, how, for whom. Find, Open and List come back to it, in this process or one of next week.
//   - Run does it: asks for copies, never for more than the link can bring home before they expire, waits, hands to Fetch what is there, keeps
//     copies that would expire too early, asks again for those that did.
//
// # What is trusted
//
// The store's word on what is thawed is the truth, at the start of each Run as within it. The journal of a job adds what no listing tells: what was fetched, and
// what was paid. If it is lost, nothing that is thawed or on its way is paid for again; the limit on costs counts afresh.
// Each request is written down before it is made and again when it was answered, so that a process that dies in between cannot overspend.
//
// # Windows
//
// What is hot, and what is thawed, is fetched in order of need, but copies come first where they would expire otherwise. A copy asked for with Days = d is there for d days at least, from a moment that the tier promises only roughly. So bytes asked for and not yet fetched are kept
// below what the link brings home in d days, at Pessimism of the speed that was measured last: even if all copies came at once,
// all would be fetched in time. A window smaller than what a link fetches while a tier thaws leaves the link idle; Offers chooses d with that in mind (see there).
//
// # Time
//
// A Clock is passed in. Run sleeps in one goroutine only, and never while Fetch or a listing is under way, so any virtual clock will do. Whether a copy has expired is the
// store's to say (its listing, or a read that fails with store.ErrCold); the clock only decides when to extend one, with a margin.
package thaw

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"firn/internal/price"
	"firn/internal/state"
	"firn/internal/store"
)

// Pessimism is the share of the link's speed that is counted on when windows are sized and copies extended.
const Pessimism = 0.7

// MaxNeeds is the most objects that one job can be about.
const MaxNeeds = 1 << 22

// Need is one object that is wanted. The order of a list of needs is the order in which they are thawed and fetched.
type Need struct {
	Object string // name in the store
	Class  string // as the index has it; what the store says counts
	Size   int64  // bytes
	Wanted int64  // bytes of it that will be fetched
	Gets   int64  // requests by which they will be; 0 counts as 1
}

// Link is the way from the store to here.
type Link struct {
	Down float64 // bytes per second; 0: unknown, AssumedDown
}

// AssumedDown is the speed of a link about which nothing is known, in bytes per second.
const AssumedDown = 5e6

func (l Link) down() float64 {
	if l.Down > 0 {
		return l.Down
	}
	return AssumedDown
}

// Clock tells and passes the time.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or with ctx's error when it ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// WallClock is the clock of this machine.
type WallClock struct{}

// Now implements Clock.
func (WallClock) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (WallClock) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Header says what a job is. It does not change once the job is created.
type Header struct {
	ID          string          `json:"id"`                    // 16 hex digits; Create chooses it
	Key         string          `json:"key,omitempty"`         // by which the caller finds the job again, such as a digest of all that makes its work the same; may be empty
	Purpose     string          `json:"purpose"`               // one word: restore, thaw, metadata, check, …
	Description json.RawMessage `json:"description,omitempty"` // the caller's own: snapshot, paths, target
	Created     time.Time       `json:"created"`
	Host        string          `json:"host,omitempty"`

	Hold     bool         `json:"hold,omitempty"` // objects are made readable and not fetched
	Tier     store.Tier   `json:"tier"`           // classes that lack it are thawed with the nearest they have (see Nearest)
	Days     int          `json:"days"`           // that copies are kept; at least 1
	MaxCost  *price.Money `json:"max_cost,omitempty"`
	Provider string       `json:"provider,omitempty"` // of the prices that were accepted
	Region   string       `json:"region,omitempty"`
	Route    string       `json:"route,omitempty"`    // by which bytes leave the store
	Accepted price.Money  `json:"accepted,omitempty"` // total of the offer that was taken
}

// State is where a job stands.
type State string

// The states. A job that is cancelled or done stays on the list for KeepEnded.
const (
	Active    State = "active"
	Cancelled State = "cancelled" // nothing is refunded: what was asked for comes, and expires by itself
	Done      State = "done"
)

// KeepEnded is how long a job that has ended can be looked at.
const KeepEnded = 30 * 24 * time.Hour

// Status is how far a job has come, by what its last Run wrote down.
type Status struct {
	State     State     `json:"state"`
	At        time.Time `json:"at"`        // when it was written down
	Requested Tally     `json:"requested"` // thaws that began for this job, in all its runs; an object counts each time; without Wanted
	Thawing   Tally     `json:"thawing"`
	Ready     Tally     `json:"ready"`   // to be read now, not fetched yet
	Fetched   Tally     `json:"fetched"` // or, of a job that does not fetch, seen to be ready
	Left      Tally     `json:"left"`    // not fetched, the thawing and the ready ones included
	Failed    Tally     `json:"failed"`  // gone or refused, as of the last Run; part of Left
	Extended  int64     `json:"extended,omitempty"`
	Again     int64     `json:"again,omitempty"` // paid once more, since a copy expired before it was fetched

	Spent price.Money `json:"spent"` // by the price table, at most (see Bill of Result)
	Speed float64     `json:"speed,omitempty"`
	ETA   time.Time   `json:"eta,omitzero"` // of the last byte; zero: unknown
}

// Tally is a number of objects and their bytes.
type Tally struct {
	Objects int64 `json:"objects"`
	Bytes   int64 `json:"bytes"`
	Wanted  int64 `json:"wanted"` // bytes of them that are fetched
	Gets    int64 `json:"gets"`   // requests by which they are
}

func (t *Tally) add(n *Need) {
	t.Objects++
	t.Bytes += n.Size
	t.Wanted += n.Wanted
	t.Gets += max(n.Gets, 1)
}

// Entry is one line of List.
type Entry struct {
	Header Header
	Status Status
	PID    int // process that works on it now; 0: none, or unknown
}

// BudgetError means that a job would cost more than it may. Nothing beyond Spent was paid.
type BudgetError struct {
	Max, Spent, Needed price.Money // Needed: what the rest would cost
	Currency           string
}

func (e *BudgetError) Error() string {
	return fmt.Sprintf("would cost %s on top of %s spent, more than the limit of %s", e.Needed.In(e.Currency), e.Spent.In(e.Currency), e.Max.In(e.Currency))
}

// LeftError means that a job did all it could, and that some objects could not be had.
type LeftError struct {
	Missing int   // objects that are gone
	Refused int   // objects that the store would not thaw, or that could not be read though thawed
	First   error // the first refusal, if any
}

func (e *LeftError) Error() string {
	text := fmt.Sprintf("%d of the objects could not be thawed or read", e.Refused)
	switch {
	case e.Refused == 0:
		text = fmt.Sprintf("%d of the objects are gone", e.Missing)
	case e.Missing > 0:
		text += fmt.Sprintf(", and %d are gone", e.Missing)
	}
	if e.First != nil {
		text += ": " + e.First.Error()
	}
	return text
}

// Unwrap returns the first refusal.
func (e *LeftError) Unwrap() error { return e.First }

// BusyError means that another process, or another part of this one, works on the job.
type BusyError struct {
	ID    string
	PID   int       // 0: unknown
	Since time.Time // zero: unknown
}

func (e *BusyError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("another process works on thaw job %s", e.ID)
	}
	return fmt.Sprintf("process %d has worked on thaw job %s since %s", e.PID, e.ID, e.Since.Format(time.RFC3339))
}

// NoJobError means that there is no such job on this machine, or none that can be read.
type NoJobError struct {
	ID     string
	Reason error // nil: it is not there
}

func (e *NoJobError) Error() string {
	if e.Reason == nil {
		return fmt.Sprintf("no thaw job %q is known here", e.ID)
	}
	return fmt.Sprintf("thaw job %q cannot be read: %v", e.ID, e.Reason)
}

// Unwrap returns the reason.
func (e *NoJobError) Unwrap() error { return e.Reason }

// lost reports whether there is nothing left of the job that could ever be read.
func (e *NoJobError) lost() bool {
	return errors.Is(e.Reason, errRecord) || errors.Is(e.Reason, state.ErrDamaged) || errors.Is(e.Reason, state.ErrForeign)
}

// EndedError means that a job was cancelled or is done already.
type EndedError struct {
	ID    string
	State State
}

func (e *EndedError) Error() string { return fmt.Sprintf("thaw job %s is %s", e.ID, e.State) }
