package snapshot

import (
	"time"

	"firn/internal/digest"
)

// SourceID returns the id of a source: the first 8 bytes of HMAC-SHA256 under the source key of
// kind, 0x00, host, 0x00 and its name, or its path where it has no name (FORMAT §10).
func SourceID(key [32]byte, kind, host, name string, path []byte) Source { panic("unwritten") }

// Marshal returns the body. It fails with ErrBody if s breaks a rule or limit.
func (s *Snapshot) Marshal() ([]byte, error) { panic("unwritten") }

// Parse reads the body of a snapshot.
func Parse(body []byte) (*Snapshot, error) { panic("unwritten") }

// Marshal returns the body of a mark.
func (d *Done) Marshal() ([]byte, error) { panic("unwritten") }

// ParseDone reads the body of a mark.
func ParseDone(body []byte) (*Done, error) { panic("unwritten") }

// Marshal returns the body of a host's state.
func (s *State) Marshal() ([]byte, error) { panic("unwritten") }

// ParseState reads the body of a host's state.
func ParseState(body []byte) (*State, error) { panic("unwritten") }

// Marshal returns the body of a prune record.
func (r *Record) Marshal() ([]byte, error) { panic("unwritten") }

// ParseRecord reads the body of a prune record.
func ParseRecord(body []byte) (*Record, error) { panic("unwritten") }

// Compact returns one record that holds all that the given ones do. They are of one scope.
func Compact(now time.Time, records ...*Record) (*Record, error) { panic("unwritten") }

// Status tells how much the snapshot counts.
func (it Item) Status() Status { panic("unwritten") }

// Histories groups items by source, each in order.
func Histories(items []Item) []History { panic("unwritten") }

// Newest returns the newest item that is done.
func (h *History) Newest() (Item, bool) { panic("unwritten") }

// Gap is a stretch of a history that is missing.
type Gap struct {
	After, Before uint64 // sequence numbers that are there; After 0: from the start
	Previous      ID     // the last of the missing
}

// Gaps returns what is missing in a history: what was forgotten by rule, or what somebody left out.
func (h *History) Gaps() []Gap { panic("unwritten") }

// ChainError tells that two snapshots of a history do not fit together.
type ChainError struct {
	ID, Previous ID
	Sum, Want    digest.Object
}

func (e *ChainError) Error() string { panic("unwritten") }

// Verify checks that each snapshot names the body and number of the one before it, where that is there.
func (h *History) Verify() error { panic("unwritten") }

// RollbackError tells that a list lacks what a host has seen.
type RollbackError struct {
	Head   Head
	Newest uint64 // sequence that the list goes to
}

func (e *RollbackError) Error() string { panic("unwritten") }

// CheckHead fails with *RollbackError if the history ends before the head.
func (h *History) CheckHead(head Head) error { panic("unwritten") }

// Chain returns the snapshots that the one with this id needs, itself last.
func Chain(items []Item, id ID) ([]Item, error) { panic("unwritten") }

// Voided returns which items are replaced by a done one.
func Voided(items []Item) map[ID]ID { panic("unwritten") }

// Select finds the snapshot that expr means: an id or a unique prefix of one; latest, latest~2; @today, @yesterday, @2023,
// @2023-07, @2023-07-19, @2023-07-19T10:00: the newest done one at or before the end of that stretch of time in loc.
func Select(items []Item, expr string, now time.Time, loc *time.Location) (Item, error) {
	panic("unwritten")
}
