package web

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"sort"
	"strings"
	"time"

	"firn/internal/browse"
	"firn/internal/keys"
	"firn/internal/snapshot"
)

// State is what is known of a repository.
type State struct {
	Items   []snapshot.Item // of all scopes that the keys open, by time, then source; not to be changed
	Damaged []error
	At      time.Time // when it was read; zero: never
	Err     error     // why it could not be read again since; nil: it could
	Reads   bool      // as Opened.Reads

	shelf *shelf
}

// shelf is what is found out once about all snapshots, so that no page has to go through 100,000 of them for one. Numbers are places in Items.
type shelf struct {
	byID    map[snapshot.ID]int32
	voided  map[snapshot.ID]snapshot.ID
	sources map[snapshot.Source][]int32 // in order of sequence
}

// NewState is what would be known of a repository with these snapshots, for who has them from elsewhere.
func NewState(items []snapshot.Item, at time.Time) State {
	s := State{Items: slices.Clone(items), At: at, Reads: true}
	s.arrange()
	return s
}

// arrange sorts the items and makes the shelf.
func (s *State) arrange() {
	sortItems(s.Items)
	x := &shelf{byID: make(map[snapshot.ID]int32, len(s.Items)), sources: map[snapshot.Source][]int32{}}
	voids := false
	for i := range s.Items {
		it := s.Items[i].Snapshot
		x.byID[it.ID] = int32(i)
		x.sources[it.Source.ID] = append(x.sources[it.Source.ID], int32(i))
		voids = voids || len(it.Voids) > 0
	}
	if voids {
		x.voided = snapshot.Voided(s.Items)
	}
	for _, list := range x.sources {
		slices.SortStableFunc(list, func(a, b int32) int { return cmp.Compare(s.Items[a].Sequence, s.Items[b].Sequence) })
	}
	s.shelf = x
}

// sortItems sorts by time, then source. It moves times and numbers rather than items, of which there may be many.
func sortItems(items []snapshot.Item) {
	type key struct {
		at int64
		i  int32
	}
	order := make([]key, len(items))
	for i := range items {
		order[i] = key{items[i].Start.UnixMicro(), int32(i)}
	}
	slices.SortFunc(order, func(x, y key) int {
		if x.at != y.at {
			return cmp.Compare(x.at, y.at)
		}
		a, b := &items[x.i], &items[y.i]
		return cmp.Or(a.Start.Compare(b.Start), bytes.Compare(a.Source.ID[:], b.Source.ID[:]), cmp.Compare(a.Sequence, b.Sequence), bytes.Compare(a.ID[:], b.ID[:]))
	})
	sorted := make([]snapshot.Item, len(items))
	for k := range order {
		sorted[k] = items[order[k].i]
	}
	copy(items, sorted)
}

// arranged returns s with its shelf, which a State that a test has put together lacks.
func (s State) arranged() State {
	if s.shelf == nil {
		s.Items = slices.Clone(s.Items)
		s.arrange()
	}
	return s
}

// Find returns the snapshot with an id.
func (s State) Find(id snapshot.ID) (snapshot.Item, bool) {
	s = s.arranged()
	i, ok := s.shelf.byID[id]
	if !ok {
		return snapshot.Item{}, false
	}
	return s.Items[i], true
}

func (s State) has(id snapshot.ID) bool {
	_, ok := s.Find(id)
	return ok
}

// Prefixed returns snapshots whose id, as text, begins with digits, at most most of them.
func (s State) Prefixed(digits string, most int) (found []snapshot.Item) {
	var text [2 * len(snapshot.ID{})]byte
	for i := range s.Items {
		hex.Encode(text[:], s.Items[i].ID[:])
		if len(digits) <= len(text) && string(text[:len(digits)]) == digits && len(found) < most {
			found = append(found, s.Items[i])
		}
	}
	return found
}

// Info returns a snapshot as package browse tells of it.
func (s State) Info(it snapshot.Item) browse.Info {
	return browse.Describe(it, s.arranged().shelf.voided)
}

// Replaced reports whether a newer snapshot of the same run stands in the place of one.
func (s State) Replaced(id snapshot.ID) bool {
	_, ok := s.arranged().shelf.voided[id]
	return ok
}

// History returns the snapshots of a source in order of sequence. It makes a list.
func (s State) History(source snapshot.Source) []snapshot.Item {
	s = s.arranged()
	list := s.shelf.sources[source]
	out := make([]snapshot.Item, len(list))
	for i, at := range list {
		out[i] = s.Items[at]
	}
	return out
}

// Previous returns the last snapshot of the same source before one that is done.
func (s State) Previous(of snapshot.Item) (snapshot.Item, bool) {
	s = s.arranged()
	list := s.shelf.sources[of.Source.ID]
	i := sort.Search(len(list), func(i int) bool { return s.Items[list[i]].Sequence >= of.Sequence })
	for i--; i >= 0; i-- {
		if it := s.Items[list[i]]; it.Status() == snapshot.IsDone {
			return it, true
		}
	}
	return snapshot.Item{}, false
}

// Sources returns the newest snapshot of each source that counts, the newest done one where there is any, in order of host, name and path.
func (s State) Sources() []snapshot.Item {
	s = s.arranged()
	out := make([]snapshot.Item, 0, len(s.shelf.sources))
	for _, list := range s.shelf.sources {
		newest := s.Items[list[len(list)-1]]
		for i := len(list) - 1; i >= 0; i-- {
			if it := s.Items[list[i]]; it.Status() == snapshot.IsDone {
				newest = it
				break
			}
		}
		out = append(out, newest)
	}
	slices.SortFunc(out, func(a, b snapshot.Item) int {
		return cmp.Or(strings.Compare(a.Host, b.Host), strings.Compare(a.Source.Name, b.Source.Name), bytes.Compare(a.Source.Path, b.Source.Path), bytes.Compare(a.Source.ID[:], b.Source.ID[:]))
	})
	return out
}

// share takes over from before what has not changed, and keeps one of texts that are alike, so that many snapshots take little memory and reading them again takes none.
func (s *State) share(before *State) {
	texts, paths := map[string]string{}, map[string][]byte{}
	one := func(text *string) {
		if known, ok := texts[*text]; ok {
			*text = known
		} else {
			texts[*text] = *text
		}
	}
	for i := range s.Items {
		it := &s.Items[i]
		if before.shelf != nil {
			if old, ok := before.Find(it.ID); ok && old.Sum == it.Sum {
				it.Snapshot = old.Snapshot
				continue
			}
		}
		x := it.Snapshot
		for _, text := range []*string{&x.Host, &x.Program, &x.Source.Kind, &x.Source.Name, &x.Storage.Class, &x.Storage.Then} {
			one(text)
		}
		for k := range x.Tags {
			one(&x.Tags[k])
		}
		if known, ok := paths[string(x.Source.Path)]; ok {
			x.Source.Path = known
		} else {
			paths[string(x.Source.Path)] = x.Source.Path
		}
	}
}

// stampsOf is a number for each scope that changes with its snapshots and how they stand.
func stampsOf(items []snapshot.Item) map[keys.ScopeID]uint64 {
	out := map[keys.ScopeID]uint64{}
	for i := range items {
		it := &items[i]
		x := binary.LittleEndian.Uint64(it.Sum[:]) ^ binary.LittleEndian.Uint64(it.ID[:])*uint64(2+it.Status())
		out[it.Scope] += x ^ x>>29
	}
	return out
}
