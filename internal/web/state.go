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
	byID    []int32 // in order of ids
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
	slices.SortFunc(s.Items, func(a, b snapshot.Item) int {
		return cmp.Or(a.Start.Compare(b.Start), bytes.Compare(a.Source.ID[:], b.Source.ID[:]), cmp.Compare(a.Sequence, b.Sequence), bytes.Compare(a.ID[:], b.ID[:]))
	})
	x := &shelf{byID: make([]int32, len(s.Items)), voided: snapshot.Voided(s.Items), sources: map[snapshot.Source][]int32{}}
	for i := range s.Items {
		x.byID[i] = int32(i)
		source := s.Items[i].Source.ID
		x.sources[source] = append(x.sources[source], int32(i))
	}
	slices.SortFunc(x.byID, func(a, b int32) int { return bytes.Compare(s.Items[a].ID[:], s.Items[b].ID[:]) })
	for _, list := range x.sources {
		slices.SortStableFunc(list, func(a, b int32) int { return cmp.Compare(s.Items[a].Sequence, s.Items[b].Sequence) })
	}
	s.shelf = x
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
	i, ok := sort.Find(len(s.shelf.byID), func(i int) int { return bytes.Compare(id[:], s.Items[s.shelf.byID[i]].ID[:]) })
	if !ok {
		return snapshot.Item{}, false
	}
	return s.Items[s.shelf.byID[i]], true
}

func (s State) has(id snapshot.ID) bool {
	_, ok := s.Find(id)
	return ok
}

// Prefixed returns snapshots whose id, as text, begins with digits, at most most of them.
func (s State) Prefixed(digits string, most int) (found []snapshot.Item) {
	s = s.arranged()
	text := func(i int) string { return hex.EncodeToString(s.Items[s.shelf.byID[i]].ID[:]) }
	first := sort.Search(len(s.shelf.byID), func(i int) bool { return text(i) >= digits })
	for i := first; i < len(s.shelf.byID) && len(found) < most && strings.HasPrefix(text(i), digits); i++ {
		found = append(found, s.Items[s.shelf.byID[i]])
	}
	return found
}

// Info returns a snapshot as package browse tells of it.
func (s State) Info(it snapshot.Item) browse.Info {
	return browse.Describe(it, s.arranged().shelf.voided)
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
