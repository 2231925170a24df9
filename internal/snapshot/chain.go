package snapshot

import (
	"errors"
	"fmt"
	"slices"
)

// MaxChain is how many snapshots a chain may have.
const MaxChain = 100_000

// Step is one stream of a chain: what leads to Point in Item.
type Step struct {
	Item  Item
	Point Point
}

// Lineage is what it takes to make one thing as it was at a snapshot: streams to be replayed in their order.
type Lineage struct {
	Of      string
	Steps   []Step // the first starts from nothing, or from Outside
	Outside *Point // a state that somebody else has stored; nil: the chain needs nothing
}

// BrokenChainError tells that a chain lacks a link.
type BrokenChainError struct {
	Of       string
	Snapshot ID     // that was wanted
	Missing  ID     // snapshot that is not there, or does not have what is needed of it
	From     string // ID of the point that is missing; empty: nothing but the snapshot is known to be
	FromAt   string // its name; may be empty
	Until    *Item  // the newest snapshot before the gap of which all is there; nil: none
	UntilAt  string // what the chain leads to there
	Err      error  // nil: it is not there
}

func (e *BrokenChainError) Error() string {
	text := fmt.Sprintf("the chain of %q that leads to snapshot %v is broken: snapshot %v", e.Of, e.Snapshot, e.Missing)
	if e.FromAt != "" {
		text += fmt.Sprintf(" with %q", e.FromAt)
	}
	if e.Err == nil {
		return text + " is not there"
	}
	return text + " " + e.Err.Error()
}

// Unwrap returns the reason.
func (e *BrokenChainError) Unwrap() error { return e.Err }

// Reasons why a chain is broken.
var (
	ErrNoPoint   = errors.New("does not have the state that the next stream starts from")
	ErrBadBase   = errors.New("cannot be the base: it is of another source, or not older, or incomplete")
	ErrChainLong = errors.New("is the end of a chain that is too long")
)

// Bases returns what a snapshot stands on, itself last. It fails with *BrokenChainError. It trusts no body: each base is complete, of the same source, scope and epoch, and has a
// smaller number, so that no ring is gone around twice.
func Bases(items []Item, want Item) ([]Item, error) { return bases(index(items), want) }

func index(items []Item) map[ID]Item {
	byID := make(map[ID]Item, len(items))
	for _, it := range items {
		byID[it.ID] = it
	}
	return byID
}

func bases(byID map[ID]Item, want Item) ([]Item, error) {
	list := []Item{want}
	for at := want; !at.Base.IsZero(); {
		base, ok := byID[at.Base]
		broken := &BrokenChainError{Of: at.named(), Snapshot: want.ID, Missing: at.Base}
		switch {
		case !ok:
		case base.Source.ID != at.Source.ID || base.Scope != at.Scope || base.Epoch != at.Epoch || base.Sequence >= at.Sequence || !base.Complete:
			broken.Err = ErrBadBase
		case len(list) == MaxChain:
			broken.Err = ErrChainLong
		default:
			list = append(list, base)
			at = base
			continue
		}
		slices.Reverse(list)
		return list, broken
	}
	slices.Reverse(list)
	return list, nil
}

// named is the first thing that a snapshot has a state of, or its source.
func (it *Item) named() string {
	for i := range it.Points {
		if !it.Points[i].Outside {
			return it.Points[i].Of
		}
	}
	if it.Source.Name != "" {
		return it.Source.Name
	}
	return string(it.Source.Path)
}

// Lineages returns that of each thing that a snapshot has a stream of, in the order of its points. A snapshot in the middle that has no point of a thing is passed over. It fails with *BrokenChainError, which
// says up to which snapshot all is there.
func Lineages(items []Item, want Item) ([]Lineage, error) {
	byID := index(items)
	below, err := bases(byID, want)
	var broken *BrokenChainError
	if err != nil && !errors.As(err, &broken) {
		return nil, err
	}
	var all []Lineage
	for i := range want.Points {
		p := &want.Points[i]
		if p.Outside {
			continue
		}
		c, gap := lineage(below, p, broken)
		if gap != nil {
			gap.Snapshot = want.ID
			gap.until(items, byID, want)
			return nil, gap
		}
		all = append(all, *c)
	}
	return all, nil
}

// lineage goes back from a point of the last of below. broken tells why below does not begin at the beginning; nil: it does.
func lineage(below []Item, p *Point, broken *BrokenChainError) (*Lineage, *BrokenChainError) {
	at := len(below) - 1
	c := &Lineage{Of: p.Of}
	if !p.Unmoved() {
		c.Steps = append(c.Steps, Step{below[at], *p})
	}
	for p.From != "" {
		from := -1
		var found *Point
		for k := at - 1; k >= 0 && found == nil; k-- {
			if found = pointOf(&below[k], p.Of, p.From); found != nil {
				from = k
			}
		}
		if found == nil {
			gap := &BrokenChainError{Of: p.Of, Missing: below[at].Base, From: p.From, FromAt: p.FromAt, Err: ErrNoPoint}
			if broken != nil {
				gap.Missing, gap.Err = broken.Missing, broken.Err
			}
			return nil, gap
		}
		if found.Outside {
			c.Outside = found
			break
		}
		if !found.Unmoved() {
			c.Steps = append(c.Steps, Step{below[from], *found})
		}
		at, p = from, found
	}
	slices.Reverse(c.Steps)
	return c, nil
}

// pointOf finds a state by what it is of and its ID. Where a stream leads to it, that counts.
func pointOf(it *Item, of, id string) *Point {
	var found *Point
	for i := range it.Points {
		if p := &it.Points[i]; p.Of == of && p.ID == id && (found == nil || found.Outside) {
			found = p
		}
	}
	return found
}

// until looks for the newest snapshot of the source before want with a whole chain of the same thing.
func (e *BrokenChainError) until(items []Item, byID map[ID]Item, want Item) {
	var older []Item
	for _, it := range items {
		if it.Source.ID == want.Source.ID && it.Scope == want.Scope && it.Sequence < want.Sequence && it.Status() == IsDone {
			older = append(older, it)
		}
	}
	slices.SortFunc(older, order)
	for i := len(older) - 1; i >= 0; i-- {
		it := &older[i]
		below, err := bases(byID, *it)
		var broken *BrokenChainError
		_ = errors.As(err, &broken)
		for k := range it.Points {
			if p := &it.Points[k]; p.Of == e.Of && !p.Outside {
				if _, gap := lineage(below, p, broken); gap == nil {
					e.Until, e.UntilAt = it, p.At
					return
				}
			}
		}
	}
}
