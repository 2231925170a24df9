package linetree

import (
	"bytes"
	"fmt"
	"math"

	"firn/internal/digest"
)

// Builder makes a tree from its lines, in order. Memory: levels × 64 KiB (more only for longer lines). Not for concurrent use.
type Builder struct {
	hash    func(key []byte) uint64
	compare func(a, b []byte) int
	sink    Sink
	levels  []*level
	last    []byte // key of the last line
	bytes   int64  // of level 0
}

// level is the open chunk of one level.
type level struct {
	buf    []byte
	first  []byte       // key of the first line of buf
	count  int          // lines in buf
	lines  int64        // level 0 lines below buf
	size   int64        // sum of sizes below buf
	chunks int64        // chunks that this level has stored
	id     digest.Chunk // of the last
	line   []byte       // that tells about it, in the level above
}

// NewBuilder returns a builder; hash is the gear hash of FORMAT §7.3 (cdc.Table.Hash); compare checks the order, nil: no order.
func NewBuilder(hash func(key []byte) uint64, compare func(a, b []byte) int, sink Sink) *Builder {
	return &Builder{hash: hash, compare: compare, sink: sink}
}

// Add adds a line, which ends with its only newline. It fails with *LineError for a line that breaks the rules, leaving the tree as it was,
// and with the error of the sink, after which the builder is of no more use.
func (b *Builder) Add(key, line []byte) error { return b.AddSized(key, line, 0) }

// AddSized is Add for trees whose node lines tell the sum of sizes below.
func (b *Builder) AddSized(key, line []byte, size int64) error {
	if msg := b.refuse(key, line, size); msg != "" {
		return &LineError{Key: string(key), Msg: msg}
	}
	b.last = append(b.last[:0], key...)
	b.bytes += int64(len(line))
	return b.add(0, key, line, 1, size)
}

func (b *Builder) refuse(key, line []byte, size int64) string {
	switch n := bytes.IndexByte(line, '\n'); {
	case len(line) > MaxLine:
		return fmt.Sprintf("%d bytes are more than a line can have", len(line))
	case n < 0 || n != len(line)-1:
		return "line does not end with its only newline"
	case size < 0 || size > 0 && b.total() > math.MaxInt64-size:
		return "size out of range"
	case b.compare != nil && b.Lines() > 0 && b.compare(b.last, key) >= 0:
		return fmt.Sprintf("out of order, after %.200q", b.last)
	}
	return ""
}

// total returns the sum of sizes.
func (b *Builder) total() (n int64) {
	for _, l := range b.levels {
		n += l.size
	}
	return n
}

// Lines returns how many lines were added.
func (b *Builder) Lines() (n int64) {
	for _, l := range b.levels {
		n += l.lines
	}
	return n
}

// add puts a line into level k, which stands for so many lines of level 0.
func (b *Builder) add(k int, key, line []byte, lines, size int64) error {
	if k == len(b.levels) {
		b.levels = append(b.levels, &level{})
	}
	l := b.levels[k]
	least := min(k, 1) + 1 // above level 0, two lines a chunk
	if len(l.buf)+len(line) > SoftMax && l.count >= least {
		if err := b.store(k); err != nil {
			return err
		}
	}
	if l.count == 0 {
		l.first = append(l.first[:0], key...)
	}
	l.buf = append(l.buf, line...)
	l.count++
	l.lines += lines
	l.size += size
	if len(l.buf) >= MinChunk && l.count >= least && b.hash(key)>>59 == 0 {
		return b.store(k)
	}
	return nil
}

// store ends the open chunk of level k and adds its line to the level above.
func (b *Builder) store(k int) error {
	l := b.levels[k]
	id, err := b.sink(l.buf)
	if err != nil {
		return err
	}
	n := node{first: l.first, chunk: id, bytes: int64(len(l.buf)), lines: l.lines, size: l.size}
	if l.line = appendNode(l.line[:0], &n); len(l.line) > MaxLine {
		return &LineError{Key: string(l.first), Msg: "key too long"}
	}
	l.buf, l.count, l.lines, l.size = l.buf[:0], 0, 0, 0
	if cap(l.buf) > 2*SoftMax {
		l.buf = nil // a long line passed
	}
	l.chunks++
	l.id = id
	return b.add(k+1, l.first, l.line, n.lines, n.size)
}

// Flush stores the tree of the lines so far and returns its name. The builder goes on as if it had not been called: what is open is
// stored as it stands, and again, longer, later.
func (b *Builder) Flush() (Tree, error) {
	c := &Builder{hash: b.hash, sink: b.sink, bytes: b.bytes}
	for _, l := range b.levels {
		copied := *l
		copied.buf = append([]byte(nil), l.buf...)
		copied.first = append([]byte(nil), l.first...)
		copied.line = nil
		c.levels = append(c.levels, &copied)
	}
	return c.Finish()
}

// Finish stores what is open and returns the name of the tree. The builder is then empty and can be used again.
func (b *Builder) Finish() (Tree, error) {
	t := Tree{Lines: b.Lines(), Bytes: b.bytes}
	for k := 0; k < len(b.levels); k++ {
		if b.levels[k].count > 0 {
			if err := b.store(k); err != nil {
				return Tree{}, err
			}
		}
		if b.levels[k].chunks == 1 { // the line about it in the level above is not needed
			t.Chunk, t.Level = b.levels[k].id, k
			break
		}
	}
	b.Reset()
	return t, nil
}

// Reset drops what was added.
func (b *Builder) Reset() { b.levels, b.bytes = b.levels[:0], 0 }
