package snapshot

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"firn/internal/digest"
)

// Item is a snapshot as it lies in a repository.
type Item struct {
	*Snapshot
	Sum       digest.Object // SHA-256 of its body
	Marked    bool          // its .done is there, and names this body
	Forgotten bool          // by a prune record
	Stored    time.Time     // by the store's clock, of a copy by that of the store where it was first; zero: unknown
	Vouched   bool          // the root key signed its mark, and says when it was stored first
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

// String returns "done", "undone", "partial" or "forgotten".
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status(%d)", uint8(s))
}

var statusNames = [...]string{"done", "undone", "partial", "forgotten"}

// Status tells how much the snapshot counts.
func (it Item) Status() Status {
	switch {
	case it.Forgotten:
		return IsForgotten
	case !it.Complete:
		return IsPartial
	case !it.Marked:
		return IsUndone
	}
	return IsDone
}

// History is the snapshots of one source.
type History struct {
	Source Source
	Items  []Item // in order of sequence, then time, then id
}

func order(a, b Item) int {
	return cmp.Or(cmp.Compare(a.Sequence, b.Sequence), a.Start.Compare(b.Start), bytes.Compare(a.ID[:], b.ID[:]))
}

// Histories groups items by source, in order of source; each history is in order.
func Histories(items []Item) []History {
	bySource := make(map[Source][]Item)
	for _, it := range items {
		bySource[it.Source.ID] = append(bySource[it.Source.ID], it)
	}
	all := make([]History, 0, len(bySource))
	for source, of := range bySource {
		slices.SortFunc(of, order)
		all = append(all, History{Source: source, Items: of})
	}
	slices.SortFunc(all, func(a, b History) int { return bytes.Compare(a.Source[:], b.Source[:]) })
	return all
}

// Newest returns the item with the highest sequence that is done.
func (h *History) Newest() (Item, bool) {
	for i := len(h.Items) - 1; i >= 0; i-- {
		if h.Items[i].Status() == IsDone {
			return h.Items[i], true
		}
	}
	return Item{}, false
}

// Head returns the item with the highest sequence, whatever its state, which the next snapshot names as previous.
func (h *History) Head() (Item, bool) {
	if len(h.Items) == 0 {
		return Item{}, false
	}
	return h.Items[len(h.Items)-1], true
}

// Renamed returns the source whose history this one goes on; zero: none. That of the first snapshot which says so counts.
func (h *History) Renamed() Source {
	for _, it := range h.Items {
		if !it.Renamed.IsZero() {
			return it.Renamed
		}
	}
	return Source{}
}

// Gap is a stretch of a history that is missing: the numbers after After and before Before.
type Gap struct {
	After    uint64 // 0: from the start
	Before   uint64
	Previous ID // the last of the missing
}

// Gaps returns what is missing in a history, forgotten by rule or left out by somebody, in order. What is missing at its end only CheckHead can tell.
func (h *History) Gaps() []Gap {
	var gaps []Gap
	after := uint64(0)
	for _, it := range h.Items {
		if it.Sequence > after+1 {
			g := Gap{After: after, Before: it.Sequence}
			if it.Previous != nil {
				g.Previous = it.Previous.ID
			}
			gaps = append(gaps, g)
		}
		after = it.Sequence
	}
	return gaps
}

// ChainError tells that two snapshots of a history do not fit together.
type ChainError struct {
	ID       ID
	Previous Link          // as the snapshot names it
	Sequence uint64        // of the one that is there under this id
	Sum      digest.Object // of its body
}

func (e *ChainError) Error() string {
	return fmt.Sprintf("snapshot %v follows %v with SHA-256 %v, but that is number %d with %v", e.ID, e.Previous.ID, e.Previous.Sum, e.Sequence, e.Sum)
}

// Verify checks that each snapshot fits the one that it names as previous, where that, or what stands in its place, is there. It fails with the *ChainErrors of all that do not.
func (h *History) Verify() error {
	type place struct {
		sequence uint64
		sum      digest.Object
	}
	byID := make(map[ID]place, len(h.Items))
	for _, it := range h.Items {
		for _, l := range it.Rewrites {
			byID[l.ID] = place{it.Sequence, l.Sum}
		}
	}
	for _, it := range h.Items {
		byID[it.ID] = place{it.Sequence, it.Sum}
	}
	var errs []error
	for _, it := range h.Items {
		if it.Previous == nil {
			continue
		}
		if p, ok := byID[it.Previous.ID]; ok && (p.sum != it.Previous.Sum || p.sequence+1 != it.Sequence) {
			errs = append(errs, &ChainError{ID: it.ID, Previous: *it.Previous, Sequence: p.sequence, Sum: p.sum})
		}
	}
	return errors.Join(errs...)
}

// Rewritten returns the snapshots in whose place a done one stands, and which that is.
func Rewritten(items []Item) map[ID]ID {
	out := map[ID]ID{}
	for _, it := range items {
		if it.Status() != IsDone {
			continue
		}
		for _, l := range it.Rewrites {
			out[l.ID] = it.ID
		}
	}
	return out
}

// Standing leaves out what is forgotten, and what another one that is done stands in the place of: until a record forgets the old ones both are there, and they share number, date and
// source. Rules that saw both would take one for the other's spare, and it may be the one that is about to be forgotten. What a rule says of the stand-in goes for those in whose place
// it stands.
func Standing(items []Item) []Item {
	replaced := Rewritten(items)
	return slices.DeleteFunc(slices.Clone(items), func(it Item) bool {
		_, old := replaced[it.ID]
		return old || it.Forgotten
	})
}

// RollbackError tells that a history lacks what a host has seen.
type RollbackError struct {
	Head   Head
	Newest uint64 // highest sequence that is there
}

func (e *RollbackError) Error() string {
	return fmt.Sprintf("source %v was seen up to snapshot %v, number %d; what is there ends with number %d", e.Head.Source, e.Head.Snapshot, e.Head.Sequence, e.Newest)
}

// CheckHead fails with *RollbackError if the history ends before the head that somebody saw, or ends with something else in its place. A head that
// a later snapshot voids is excused; one that was forgotten, with nothing newer there, is for the caller to excuse.
func (h *History) CheckHead(head Head) error {
	newest, other := uint64(0), false
	for _, it := range h.Items {
		newest = max(newest, it.Sequence)
		if it.ID == head.Snapshot {
			if it.Sum != head.Sum {
				return &RollbackError{head, newest}
			}
			return nil
		}
		if slices.Contains(it.Voids, head.Snapshot) || slices.Contains(it.Rewrites, Link{head.Snapshot, head.Sum}) {
			return nil
		}
		other = other || it.Sequence == head.Sequence
	}
	if newest < head.Sequence || newest == head.Sequence && other {
		return &RollbackError{head, newest}
	}
	return nil
}

// ErrBase tells of a chain whose base is missing, or which leads back to itself.
var ErrBase = errors.New("chain of snapshots is broken")

// Chain returns the snapshots that the one with this id needs, the base first, itself last. It fails with ErrNone if there is no such
// snapshot, with ErrBase if the chain is broken.
func Chain(items []Item, id ID) ([]Item, error) {
	byID := make(map[ID]Item, len(items))
	for _, it := range items {
		byID[it.ID] = it
	}
	it, ok := byID[id]
	if !ok {
		return nil, fmt.Errorf("%w: %v", ErrNone, id)
	}
	chain := []Item{it}
	for !it.Base.IsZero() {
		base, ok := byID[it.Base]
		if !ok {
			return nil, fmt.Errorf("%w: snapshot %v needs %v", ErrBase, it.ID, it.Base)
		}
		if chain = append(chain, base); len(chain) > len(byID) {
			return nil, fmt.Errorf("%w: snapshot %v needs itself", ErrBase, id)
		}
		it = base
	}
	slices.Reverse(chain)
	return chain, nil
}

// Voided returns which snapshots, there or not, are replaced by a done one of the same source, and by which. Those that are done themselves are never replaced.
func Voided(items []Item) map[ID]ID {
	byID := make(map[ID]Item, len(items))
	for _, it := range items {
		byID[it.ID] = it
	}
	voided := make(map[ID]ID)
	for _, it := range items {
		if it.Status() != IsDone {
			continue
		}
		for _, id := range it.Voids {
			if old, ok := byID[id]; ok && (old.Status() == IsDone || old.Source.ID != it.Source.ID) {
				continue
			}
			voided[id] = it.ID
		}
	}
	return voided
}
