package linetree

import "bytes"

// Number returns how many lines of the tree stand before the one that Next returned last. It reads nothing.
func (it *Iterator) Number() int64 {
	var n int64
	for i := range it.stack {
		f := &it.stack[i]
		for k := range max(f.next-1, 0) {
			n += f.nodes[k].lines
		}
	}
	return n + int64(bytes.Count(it.leaf.data[:it.leaf.pos], newline)) - 1
}

// SeekNumber goes to before the line that n others stand before, forward or backward, or to the end. It reads no chunk that is open.
func (it *Iterator) SeekNumber(n int64) {
	if it.err != nil || it.tree.IsEmpty() {
		return
	}
	n = max(n, 0)
	it.whole, it.ended, it.hasKey = false, false, false
	for d := 0; it.err == nil; d++ {
		f := &it.stack[d]
		i := 0
		for i < len(f.nodes)-1 && f.nodes[i].lines <= n {
			n -= f.nodes[i].lines
			i++
		}
		below := d+1 < len(it.stack) || f.level == 0 && it.leaf.open
		if f.next-1 != i || !below {
			it.stack = it.stack[:d+1]
			it.leaf = leaf{}
			f.next, f.told = i, i
			if f.nodes[i].skip {
				return
			}
			it.down()
			if it.err == nil && !it.leaf.open && d+1 == len(it.stack) {
				return // passed over: Next goes on behind it
			}
		}
		if it.leaf.open && d+1 == len(it.stack) {
			it.skipLines(n)
			return
		}
	}
}

// skipLines goes behind the first n lines of the leaf.
func (it *Iterator) skipLines(n int64) {
	l := &it.leaf
	for l.pos = 0; n > 0 && l.pos < len(l.data); n-- {
		l.pos += bytes.IndexByte(l.data[l.pos:], '\n') + 1
	}
}
