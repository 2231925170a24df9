package linetree

import (
	"bytes"

	"firn/internal/digest"
)

// Side is one of two trees that are compared.
type Side struct {
	Source Source
	Tree   Tree
}

// Diff calls fn for every key at which two sorted trees differ, in order, with the lines of a and of b; nil where there is none. It reads no
// chunk of a that stands in b at the same key and level: what they share costs nothing. Lines are valid until fn returns. It stops at the first
// error of fn, which it returns; others are those of an Iterator.
func Diff(a, b Side, keys Keys, readAhead int, fn func(a, b []byte) error) error {
	d := differ{compare: keys.Compare}
	for i, s := range [2]Side{a, b} {
		d.side[i] = cursor{it: NewIterator(s.Source, s.Tree, keys, Options{ReadAhead: readAhead})}
		if err := d.side[i].it.err; err != nil {
			return err
		}
		d.side[i].it.whole = false
		d.side[i].settle()
	}
	return d.run(fn)
}

// cursor is where one side is: at a chunk that is not open yet, at a line, or at the end.
type cursor struct {
	it    *Iterator
	chunk *node  // not nil: at this chunk
	line  []byte // not nil: at this line
	key   []byte // of either; nil and !known for the top chunk
	known bool
	level int // of the chunk; −1: a line
}

// settle finds the item at which the iterator stands.
func (c *cursor) settle() {
	c.chunk, c.line = nil, nil
	it := c.it
	if it.err != nil {
		return
	}
	if it.leaf.pos < len(it.leaf.data) {
		if it.nextLine() {
			c.line, c.key, c.known, c.level = it.line, it.key, true, -1
		}
		return
	}
	it.leaf = leaf{}
	for {
		f := &it.stack[len(it.stack)-1]
		if f.next < len(f.nodes) {
			c.chunk = &f.nodes[f.next]
			c.key, c.known, c.level = c.chunk.first, c.chunk.known, f.level
			return
		}
		if len(it.stack) == 1 {
			return
		}
		it.stack = it.stack[:len(it.stack)-1]
	}
}

// pass goes behind the line or over the chunk.
func (c *cursor) pass() {
	if c.chunk != nil {
		c.it.stack[len(c.it.stack)-1].next++
		c.it.hasKey = false
	}
	c.settle()
}

func (c *cursor) atEnd() bool { return c.chunk == nil && c.line == nil }

type differ struct {
	compare func(a, b []byte) int
	side    [2]cursor
}

func (d *differ) run(fn func(a, b []byte) error) error {
	a, b := &d.side[0], &d.side[1]
	for {
		if a.it.err != nil {
			return a.it.err
		}
		if b.it.err != nil {
			return b.it.err
		}
		if a.atEnd() && b.atEnd() {
			return nil
		}
		if err := d.step(a, b, fn); err != nil {
			return err
		}
	}
}

// step moves at least one side on.
func (d *differ) step(a, b *cursor, fn func(a, b []byte) error) error {
	switch {
	case b.atEnd():
		return alone(a, true, func(line []byte) error { return fn(line, nil) })
	case a.atEnd():
		return alone(b, true, func(line []byte) error { return fn(nil, line) })
	case a.chunk != nil && b.chunk != nil && a.level == b.level && a.chunk.chunk == b.chunk.chunk:
		a.pass()
		b.pass()
		return nil
	case !a.known || !b.known:
		d.openHigher(a, b)
		return nil
	}
	switch c := d.compare(a.key, b.key); {
	case c < 0:
		return alone(a, false, func(line []byte) error { return fn(line, nil) })
	case c > 0:
		return alone(b, false, func(line []byte) error { return fn(nil, line) })
	case a.chunk != nil || b.chunk != nil:
		d.openHigher(a, b)
		return nil
	}
	if !bytes.Equal(a.line, b.line) {
		if err := fn(a.line, b.line); err != nil {
			return err
		}
	}
	a.pass()
	b.pass()
	return nil
}

// alone moves on a side that is before the other: its line is only there. last: the other side has nothing more.
func alone(c *cursor, last bool, fn func(line []byte) error) error {
	if c.chunk != nil {
		c.it.down()
		hushAll(c.it, !last)
		c.settle()
		return nil
	}
	err := fn(c.line)
	c.pass()
	return err
}

// openHigher opens the side at the higher level, or both.
func (d *differ) openHigher(a, b *cursor) {
	la, lb := a.level, b.level
	if la >= lb {
		a.it.down()
	}
	if lb >= la {
		b.it.down()
	}
	if la == lb && la > 0 && a.it.err == nil && b.it.err == nil {
		hush(a.it, b.it)
	} else {
		hushAll(a.it, la > lb)
		hushAll(b.it, lb > la)
	}
	if la >= lb {
		a.settle()
	}
	if lb >= la {
		b.settle()
	}
}

// hush keeps chunks that both sides have from being told to Prefetch, in frames that were just opened.
func hush(a, b *Iterator) {
	fa, fb := &a.stack[len(a.stack)-1], &b.stack[len(b.stack)-1]
	shared := make(map[digest.Chunk]bool, len(fa.nodes))
	for i := range fa.nodes {
		shared[fa.nodes[i].chunk] = false
	}
	for i := range fb.nodes {
		if _, ok := shared[fb.nodes[i].chunk]; ok {
			shared[fb.nodes[i].chunk] = true
			fb.nodes[i].skip = true
		}
	}
	for i := range fa.nodes {
		fa.nodes[i].skip = shared[fa.nodes[i].chunk]
	}
}

// hushAll keeps all chunks of a frame that was just opened from being told to Prefetch: nothing is known about them yet.
func hushAll(it *Iterator, opened bool) {
	if f := &it.stack[len(it.stack)-1]; opened && it.err == nil && !it.leaf.open {
		f.told = len(f.nodes)
	}
}
