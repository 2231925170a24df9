package index

import (
	"bytes"
	"cmp"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"firn/internal/digest"
)

const shardCount = 64 // of a delta, by the first six bits of the id, so that shards in order are ids in order

// delta is what was added since the last spill. Packs are guarded by the locks of the Set, chunks by those of the shards.
type delta struct {
	packs  []Info
	retire []bool
	byName map[digest.Object]int
	count  atomic.Int64 // places
	shards [shardCount]shard
}

type shard struct {
	mu sync.RWMutex
	// first has one place of each chunk, more the others.
	first map[digest.Chunk]place
	more  map[digest.Chunk][]place
}

func newDelta() *delta { return &delta{byName: make(map[digest.Object]int)} }

func (d *delta) shard(id *digest.Chunk) *shard { return &d.shards[id[0]>>2] }

// add enters the chunks of a pack that has its number.
func (d *delta) add(pack int, p *Pack) {
	offset := uint32(0)
	for i := range p.Chunks {
		r := &p.Chunks[i]
		pl := place{pack: uint32(pack), offset: offset, frame: r.Frame, raw: r.Raw}
		if p.Kind != 0 {
			pl.frame |= metaBit
		}
		d.shard(&r.ID).add(r.ID, pl)
		offset += r.Frame
	}
	d.count.Add(int64(len(p.Chunks)))
}

func (s *shard) add(id digest.Chunk, p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = make(map[digest.Chunk]place)
	}
	if _, dup := s.first[id]; !dup {
		s.first[id] = p
		return
	}
	if s.more == nil {
		s.more = make(map[digest.Chunk][]place)
	}
	s.more[id] = append(s.more[id], p)
}

// find calls fn for each place of a chunk until fn gives false.
func (d *delta) find(id digest.Chunk, fn func(p place) bool) error {
	s := d.shard(&id)
	s.mu.RLock()
	p, ok := s.first[id]
	more := s.more[id] // its elements never change
	s.mu.RUnlock()
	if !ok || !fn(p) {
		return nil
	}
	for _, p := range more {
		if !fn(p) {
			return nil
		}
	}
	return nil
}

// order returns the packs in order of name, and for each its place in that order.
func (d *delta) order() (sorted []int, rank []uint32) {
	sorted, rank = make([]int, len(d.packs)), make([]uint32, len(d.packs))
	for i := range sorted {
		sorted[i] = i
	}
	slices.SortFunc(sorted, func(a, b int) int { return bytes.Compare(d.packs[a].Name[:], d.packs[b].Name[:]) })
	for place, i := range sorted {
		rank[i] = uint32(place)
	}
	return sorted, rank
}

// write writes a table. Nothing is added meanwhile.
func (d *delta) write(w io.Writer, note []byte) (*Spilled, error) {
	tw := newTableWriter(w)
	sorted, rank := d.order()
	var buf []byte
	for i := range d.shards {
		for _, c := range d.shards[i].sorted(rank) {
			buf = c.place.append(buf[:0], &c.id)
			if err := tw.chunks.add(buf); err != nil {
				return nil, err
			}
		}
	}
	for _, i := range sorted {
		if err := tw.pack(&d.packs[i], d.packs[i].appendAttrs(nil)); err != nil {
			return nil, err
		}
	}
	for _, i := range sorted {
		if err := tw.attributes(d.packs[i].appendAttrs(nil)); err != nil {
			return nil, err
		}
	}
	size, err := tw.close(note)
	return &Spilled{Size: size, Chunks: tw.chunks.count, Packs: len(sorted), delta: d, remap: rank}, err
}

type placed struct {
	id    digest.Chunk
	place place
}

// sorted returns the chunks of a shard in order, with the new numbers of packs.
func (s *shard) sorted(rank []uint32) []placed {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]placed, 0, len(s.first)+len(s.more))
	add := func(id digest.Chunk, p place) {
		p.pack = rank[p.pack]
		all = append(all, placed{id, p})
	}
	for id, p := range s.first {
		add(id, p)
	}
	for id, ps := range s.more {
		for _, p := range ps {
			add(id, p)
		}
	}
	slices.SortFunc(all, func(a, b placed) int {
		return cmp.Or(bytes.Compare(a.id[:], b.id[:]), cmp.Compare(a.place.pack, b.place.pack), cmp.Compare(a.place.offset, b.place.offset))
	})
	return all
}

// Spilled is the table that Set.Spill wrote, for Set.Attach.
type Spilled struct {
	Size   int64 // bytes written
	Chunks int64
	Packs  int
	delta  *delta
	remap  []uint32
}
