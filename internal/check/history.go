package check

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"time"

	"firn/internal/digest"
	"firn/internal/state"
)

// History remembers which packs were read when, and which of them were damaged. It lies in local state and is expendable: without it a check begins anew, with packs drawn
// at random.
//
// It is a journal of records: time (Unix seconds, 4 bytes), 0 sound or 1 damaged (1 byte), then the first 8 bytes of the names of packs. What is told later of a pack counts.
type History struct {
	journal *state.Journal
	seen    map[packKey]reading
}

type packKey [8]byte

// reading is when a pack was read last, and whether it was damaged.
type reading struct {
	at      uint32
	damaged bool
}

const (
	historyName = "check"
	historyHead = 5
	historyMost = 1 << 17 // names of one record
)

// OpenHistory reads the history of a repository. Nothing fails: what cannot be read is not remembered.
func OpenHistory(s *state.State) *History {
	h := &History{seen: map[packKey]reading{}}
	records := 0
	h.journal, _ = s.OpenJournal(historyName, func(rec []byte) error {
		records++
		h.replay(rec)
		return nil
	})
	if records > 256 && h.journal.Size() > int64(4*len(h.seen)*len(packKey{})+1<<16) {
		h.journal.Rewrite(h.records())
	}
	return h
}

func (h *History) replay(rec []byte) {
	if len(rec) < historyHead || (len(rec)-historyHead)%len(packKey{}) != 0 {
		return
	}
	r := reading{binary.LittleEndian.Uint32(rec), rec[4] != 0}
	for names := rec[historyHead:]; len(names) > 0; names = names[len(packKey{}):] {
		h.seen[packKey(names)] = r
	}
}

// records are what a new journal has: a record for each moment.
func (h *History) records() (out [][]byte) {
	by := map[reading][]packKey{}
	for k, r := range h.seen {
		by[r] = append(by[r], k)
	}
	for r, all := range by {
		slices.SortFunc(all, func(a, b packKey) int { return bytes.Compare(a[:], b[:]) })
		for names := range slices.Chunk(all, historyMost) {
			out = append(out, r.record(names...))
		}
	}
	slices.SortFunc(out, func(a, b []byte) int {
		return cmp.Compare(binary.LittleEndian.Uint32(a), binary.LittleEndian.Uint32(b))
	})
	return out
}

func (r reading) record(names ...packKey) []byte {
	rec := binary.LittleEndian.AppendUint32(nil, r.at)
	rec = append(rec, 0)
	if r.damaged {
		rec[4] = 1
	}
	for _, n := range names {
		rec = append(rec, n[:]...)
	}
	return rec
}

// Close writes everything to disk.
func (h *History) Close() {
	if h == nil {
		return
	}
	h.journal.Sync()
	h.journal.Close()
}

// add remembers what reading a pack has shown.
func (h *History) add(name digest.Object, at time.Time, damaged bool) {
	if h == nil {
		return
	}
	r := reading{uint32(at.Unix()), damaged}
	h.seen[keyOf(name)] = r
	h.journal.Append(r.record(keyOf(name)))
}

// Mended forgets that packs were damaged: somebody has put sound ones in their places, or retired them.
func (h *History) Mended(names ...digest.Object) {
	for _, n := range names {
		if r, ok := h.seen[keyOf(n)]; ok && r.damaged {
			h.seen[keyOf(n)] = reading{}
			h.journal.Append(reading{}.record(keyOf(n)))
		}
	}
}

func keyOf(name digest.Object) packKey { return packKey(name[:8]) }

// last returns when a pack was read; zero: never, as far as is known.
func (h *History) last(name digest.Object) (at time.Time, damaged bool) {
	if h == nil {
		return time.Time{}, false
	}
	r, ok := h.seen[keyOf(name)]
	if !ok || r.at == 0 {
		return time.Time{}, false
	}
	return time.Unix(int64(r.at), 0), r.damaged
}

// choose takes a share of packs: those that were damaged before, then those that were never read, in no order, then those that were read the longest ago.
func (c *Check) choose(all []item, s Share) []item {
	type aged struct {
		item
		at      int64
		damaged bool
		draw    uint64
	}
	order := make([]aged, len(all))
	total := int64(0)
	for i, it := range all {
		at, damaged := c.o.History.last(it.pack)
		order[i] = aged{item: it, damaged: damaged, draw: draw(c.o.Seed, it.pack)}
		if !at.IsZero() {
			order[i].at = at.Unix()
		}
		total += it.size
	}
	slices.SortFunc(order, func(a, b aged) int {
		if a.damaged != b.damaged {
			if a.damaged {
				return -1
			}
			return 1
		}
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.draw, b.draw))
	})
	var out []item
	took := int64(0)
	for _, a := range order {
		if !s.wants(took, int64(len(out)), total, a.size) {
			break
		}
		out = append(out, a.item)
		took += a.size
	}
	return out
}

// wants reports whether one more pack of size bytes belongs to the share, of total bytes of which took, in n packs, are chosen.
func (s Share) wants(took, n, total, size int64) bool {
	switch {
	case s.All:
		return true
	case s.Of > 0:
		return took < (total+int64(s.Of)-1)/int64(s.Of)
	case s.Part > 0:
		return float64(took) < s.Part*float64(total)
	case s.Bytes > 0:
		return n == 0 && size <= s.Bytes || took+size <= s.Bytes
	}
	return n < s.Packs
}

// draw is a number that depends on seed and name alone.
func draw(seed uint64, name digest.Object) uint64 {
	return rand.NewPCG(seed, binary.LittleEndian.Uint64(name[:])).Uint64()
}
