// Package cdc cuts content into chunks where the content says so, so that an insertion moves few cuts (FORMAT §7.1).
//
// The hash is Gear: h ← (h << 1) + table[byte], modulo 2^64. A byte has left it after 64 more, so h depends on the last 64
// bytes alone. From a cut, h starts at 0 with the byte at min − 64 and is tested after each byte from min − 1 on: the chunk ends
// after the byte where the top log2(avg − min) bits of h are zero (avg − min rounded down to a power of two), at the latest after max bytes.
//
// The table is secret and differs between scopes, so cuts tell nothing about known content. (Xia et al., "Ddelta", 2014, for Gear; "The Design
// of Fast Content-Defined Chunking", 2020, for two bytes a step.)
package cdc

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

const (
	// Window is the number of bytes that a hash depends on, and the smallest Params.Min.
	Window = 64
	// MaxChunk is the largest Params.Max in bytes.
	MaxChunk = 16 << 20
	// TableSize is the length in bytes of the key material of a table.
	TableSize = 256 * 8
)

// Params are sizes of chunks in bytes.
type Params struct{ Min, Avg, Max int }

// Check returns an error unless Window ≤ Min < Avg ≤ Max ≤ MaxChunk.
func (p Params) Check() error {
	if p.Min < Window || p.Avg <= p.Min || p.Max < p.Avg || p.Max > MaxChunk {
		return fmt.Errorf("chunk sizes %d, %d, %d: want %d ≤ min < avg ≤ max ≤ %d", p.Min, p.Avg, p.Max, Window, MaxChunk)
	}
	return nil
}

// Table is the key of the hash.
type Table [256]uint64

// NewTable reads 256 little-endian numbers. It panics if b has not TableSize bytes.
func NewTable(b []byte) *Table {
	if len(b) != TableSize {
		panic(fmt.Sprintf("cdc: table of %d bytes", len(b)))
	}
	t := new(Table)
	for i := range t {
		t[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return t
}

// Hash returns the Gear hash of key, from 0, over all its bytes (FORMAT §7.3).
func (t *Table) Hash(key []byte) uint64 {
	h := uint64(0)
	for _, c := range key[max(0, len(key)-Window):] {
		h = h<<1 + t[c]
	}
	return h
}

// Cutter finds cuts. It is not for concurrent use.
type Cutter struct {
	table *Table
	min   int
	max   int
	limit uint64 // a hash up to this has its top bits zero
	hash  uint64
	seen  int // bytes since the last cut that are in hash, or were skipped
}

// NewCutter returns a cutter at the beginning of some content. It panics if p.Check fails.
func NewCutter(t *Table, p Params) *Cutter {
	if err := p.Check(); err != nil {
		panic("cdc: " + err.Error())
	}
	zeros := bits.Len(uint(p.Avg-p.Min)) - 1
	return &Cutter{table: t, min: p.Min, max: p.Max, limit: uint64(1)<<(64-zeros) - 1}
}

// Reset forgets what was seen: the next data begins other content.
func (c *Cutter) Reset() { c.hash, c.seen = 0, 0 }

// Next looks for the next cut in data, which is the content since the last cut: what the calls before that found none had, and more. It
// returns the length of the chunk, or 0 if data has no cut yet; no byte is looked at twice. After a cut, the next data begins right behind
// it. Cuts do not depend on how much data each call sees. Less data than before is the caller's error: it panics.
func (c *Cutter) Next(data []byte) int {
	if len(data) < c.seen {
		panic("cdc: data became shorter")
	}
	data = data[:min(len(data), c.max)]
	pos := max(c.seen, min(c.min-Window, len(data)))
	for pos < len(data) && pos < c.min-1 {
		c.hash = c.hash<<1 + c.table[data[pos]]
		pos++
	}
	n := 0
	n, c.hash = c.table.scan(data[pos:], c.hash, c.limit)
	if n == 0 && len(data) < c.max {
		c.seen = len(data)
		return 0
	}
	c.Reset()
	if n == 0 {
		return len(data)
	}
	return pos + n
}

// scan continues the hash h over b up to the byte after which it is at most limit. It returns the length up to there, or 0 if there is no such byte,
// and the hash.
//
// Two bytes a step: the hash after the second is (h << 2) + (table[first] << 1) + table[second], where only the outer sum waits for the step
// before; the hash after the first hangs off to the side.
func (t *Table) scan(b []byte, h, limit uint64) (int, uint64) {
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		p := (*[8]byte)(b[i:])
		x, y := t[p[0]], t[p[1]]
		h1 := h<<1 + x
		h2 := h<<2 + (x<<1 + y)
		if h1 <= limit {
			return i + 1, h1
		}
		if h2 <= limit {
			return i + 2, h2
		}
		x, y = t[p[2]], t[p[3]]
		h1 = h2<<1 + x
		h2 = h2<<2 + (x<<1 + y)
		if h1 <= limit {
			return i + 3, h1
		}
		if h2 <= limit {
			return i + 4, h2
		}
		x, y = t[p[4]], t[p[5]]
		h1 = h2<<1 + x
		h2 = h2<<2 + (x<<1 + y)
		if h1 <= limit {
			return i + 5, h1
		}
		if h2 <= limit {
			return i + 6, h2
		}
		x, y = t[p[6]], t[p[7]]
		h1 = h2<<1 + x
		h = h2<<2 + (x<<1 + y)
		if h1 <= limit {
			return i + 7, h1
		}
		if h <= limit {
			return i + 8, h
		}
	}
	for ; i < len(b); i++ {
		if h = h<<1 + t[b[i]]; h <= limit {
			return i + 1, h
		}
	}
	return 0, h
}
