package restore

import (
	"bytes"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/repo"
)

// What a walk of a pass knows of a pack.
const (
	packSeen    = 1 << iota // its flags are known
	packOnly                // this pass is about it
	packHad                 // all that is needed of it is there
	packPart                // some of it is
	packTaken               // this walk is about it
	packPlanned             // the restore waits for it
)

// verdict is what a walk does with a chunk.
type verdict uint8

const (
	later   verdict = iota // not in this pass, or not in this walk
	ready                  // in this walk
	had                    // in an earlier pass
	nowhere                // never: no pack has it
)

// found is where a chunk lies.
type found struct {
	verdict verdict
	slot    int32 // of its pack
	loc     index.Location
}

// selection tells which chunks are for this walk. It takes packs as it meets them, until their needs would fill the memory that a walk may take; the
// rest is for the next walk.
type selection struct {
	set    *index.Set
	packs  packNumbers
	p      *Passes
	only   packSet
	cold   packSet // could not be read in this pass
	last   bool
	flags  []uint8 // by slot
	room   int     // bytes
	more   bool    // packs were left to the next walk
	id     digest.Chunk
	latest found                             // of id
	places map[digest.Chunk][]index.Location // where some chunks lie; nil: nothing has been looked up in advance
}

// chunkWeight is about how many bytes a chunk and its file take until the end of the walk.
const chunkWeight = 400

func newSelection(scope *repo.ScopeState, p *Passes, only packSet, last bool) *selection {
	return &selection{set: scope.Set(), packs: packNumbers{scope: scope}, p: p, only: only, cold: packSet{}, last: last}
}

// begin forgets what the last walk took.
func (s *selection) begin(room int) {
	s.room, s.more, s.id = room, false, digest.Chunk{}
	clear(s.flags)
}

// look finds a chunk. Of several packs the same one counts in every pass, whatever the order in which the index has them: first those that are planned, then by name.
func (s *selection) look(id digest.Chunk) (found, error) {
	if id == s.id {
		return s.latest, nil
	}
	all, ok := s.places[id]
	if !ok {
		var err error
		if all, err = s.set.All(id); err != nil {
			return found{}, err
		}
	}
	f := found{verdict: nowhere, slot: -1}
	for _, loc := range all {
		at, err := s.packs.slot(loc.Pack)
		if err != nil {
			return found{}, err
		}
		if f.slot < 0 || s.before(int32(at), f.slot) {
			f.slot, f.loc = int32(at), loc
		}
	}
	if f.slot >= 0 {
		f.verdict = s.judge(&f)
	}
	s.id, s.latest = id, f
	return f, nil
}

// before reports whether pack a comes before pack b where both have a chunk.
func (s *selection) before(a, b int32) bool {
	if x, y := s.flag(a)&packPlanned, s.flag(b)&packPlanned; x != y {
		return x != 0
	}
	return bytes.Compare(s.packs.infos[a].name[:], s.packs.infos[b].name[:]) < 0
}

func (s *selection) judge(f *found) verdict {
	flags := s.flag(f.slot)
	if flags&packHad != 0 {
		return had
	}
	if flags&packPart != 0 {
		if _, ok := s.p.parts[s.packs.infos[f.slot].name][f.loc.Offset]; ok {
			return had
		}
	}
	if flags&packOnly != 0 {
		return ready
	}
	return later
}

// flag returns what is known of a pack.
func (s *selection) flag(slot int32) uint8 {
	for int(slot) >= len(s.flags) {
		s.flags = append(s.flags, 0)
	}
	if f := s.flags[slot]; f != 0 {
		return f
	}
	name, f := s.packs.infos[slot].name, uint8(packSeen)
	for _, in := range []struct {
		yes bool
		bit uint8
	}{{(s.last || s.only.has(name)) && !s.cold.has(name), packOnly}, {s.p.had.has(name), packHad}, {s.p.parts[name] != nil, packPart}, {s.p.planned.has(name), packPlanned}} {
		if in.yes {
			f |= in.bit
		}
	}
	s.flags[slot] = f
	return f
}

func (p packSet) has(name digest.Object) bool {
	_, ok := p[name]
	return ok
}

// take reports whether this walk is about a pack that is ready.
func (s *selection) take(slot int32) bool {
	if s.flag(slot)&packTaken != 0 {
		return true
	}
	if s.room <= 0 {
		s.more = true
		return false
	}
	s.room -= s.packs.infos[slot].chunks * chunkWeight
	s.flags[slot] |= packTaken
	return true
}

// slotOf returns the slot of a pack that look has told of. It may be called by several goroutines while nobody looks.
func (s *selection) slotOf(loc *index.Location) int32 { return s.packs.slots[loc.Pack] - 1 }

// ofPass reports whether the pass, not only this walk, is about a pack.
func (s *selection) ofPass(slot int32) bool { return s.flag(slot)&packOnly != 0 }
