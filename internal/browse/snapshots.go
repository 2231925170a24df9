package browse

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"time"

	"firn/internal/snapshot"
)

// Filter chooses snapshots. The zero Filter chooses all that count.
type Filter struct {
	Host      string   // name
	Source    string   // name, path or id of the source, or the beginning of an id of at least 4 digits; a path may end in a slash
	Tags      []string // all of them
	Done      bool     // only those that are done
	Voided    bool     // also those that a newer one of the same run replaces
	Forgotten bool     // also those about to be deleted
}

// States of a snapshot.
const (
	StateDone        = "done"
	StateUnconfirmed = "unconfirmed" // whole, but not reported done: a later run confirms or replaces it
	StatePartial     = "partial"     // of a backup that has not ended
	StateForgotten   = "forgotten"   // about to be deleted
)

// Info is a snapshot as people and programs see it.
type Info struct {
	snapshot.Item
	State    string
	VoidedBy snapshot.ID // zero: by none
}

// Snapshots chooses from items and sorts by time, then source.
func Snapshots(items []snapshot.Item, f Filter) []Info {
	voided := snapshot.Voided(items)
	var out []Info
	for _, it := range items {
		by, replaced := voided[it.ID]
		if replaced && !f.Voided || !f.has(it) {
			continue
		}
		out = append(out, Info{Item: it, State: stateOf(it), VoidedBy: by})
	}
	slices.SortFunc(out, func(a, b Info) int {
		return cmp.Or(a.Start.Compare(b.Start), bytes.Compare(a.Source.ID[:], b.Source.ID[:]), cmp.Compare(a.Sequence, b.Sequence), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return out
}

// Describe makes the Info of one of many items, of which snapshot.Voided told what replaces what.
func Describe(it snapshot.Item, voided map[snapshot.ID]snapshot.ID) Info {
	return Info{Item: it, State: stateOf(it), VoidedBy: voided[it.ID]}
}

func stateOf(it snapshot.Item) string {
	switch it.Status() {
	case snapshot.IsDone:
		return StateDone
	case snapshot.IsUndone:
		return StateUnconfirmed
	case snapshot.IsPartial:
		return StatePartial
	}
	return StateForgotten
}

// has reports whether the filter lets a snapshot through, whatever replaces it.
func (f *Filter) has(it snapshot.Item) bool {
	status := it.Status()
	if f.Done && status != snapshot.IsDone || !f.Forgotten && status == snapshot.IsForgotten {
		return false
	}
	if f.Host != "" && f.Host != it.Host || f.Source != "" && !IsSource(it.Source, f.Source) {
		return false
	}
	for _, t := range f.Tags {
		if !slices.Contains(it.Tags, t) {
			return false
		}
	}
	return true
}

// leastPrefix is how many digits of an id name a source.
const leastPrefix = 4

// IsSource reports whether text names a source: its name, its path, its id or the beginning of it.
func IsSource(o snapshot.Origin, text string) bool {
	if o.Name != "" && text == o.Name || text == string(o.Path) || len(text) > 1 && strings.TrimRight(text, "/") == strings.TrimRight(string(o.Path), "/") {
		return true
	}
	return len(text) >= leastPrefix && strings.HasPrefix(o.ID.String(), text)
}

// Select finds the snapshot that an expression means (package snapshot) among those that f chooses; voided ones only by their id. It fails as
// snapshot.Select.
func Select(items []snapshot.Item, expr string, f Filter, now time.Time, loc *time.Location) (snapshot.Item, error) {
	var chosen []snapshot.Item
	for _, it := range items {
		if f.has(it) {
			chosen = append(chosen, it)
		}
	}
	return snapshot.Select(chosen, expr, now, loc)
}
