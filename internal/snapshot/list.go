package snapshot

import (
	"firn/internal/digest"
	"time"
)

// Item is a snapshot as it lies in a repository.
type Item struct {
	*Snapshot
	Sum       digest.Object // SHA-256 of its body
	Marked    bool          // its .done is there, and names this body
	Forgotten bool          // by a prune record
	Stored    time.Time     // by the store's clock; zero: unknown
}

// Status is how much a snapshot counts.
type Status uint8

// The states of a snapshot, the one that counts most first.
const (
	IsDone      Status = iota // complete, marked, not forgotten
	IsUndone                  // complete, but its mark is missing
	IsPartial                 // of a backup that has not ended
	IsForgotten               // about to be deleted
)

// History is the snapshots of one source.
type History struct {
	Source  Source
	Renamed Source // the source that it goes on from; zero: none
	Items   []Item // in order of sequence, then time
}
