package linetree

import "sort"

// Seek goes to before the first line whose key is at or behind key, forward or backward. It reads no chunk that is open. Only for
// sorted trees.
func (it *Iterator) Seek(key []byte) {
	if it.err != nil || it.tree.IsEmpty() {
		return
	}
	if it.keys.Compare == nil {
		panic("linetree: seek by key in a tree without order")
	}
	it.whole, it.ended = false, false
	for d := 0; it.err == nil; d++ {
		f := &it.stack[d]
		i := it.find(f, key)
		below := d+1 < len(it.stack) || f.level == 0 && it.leaf.open
		if f.next-1 != i || !below {
			it.stack = it.stack[:d+1]
			it.leaf, it.hasKey = leaf{}, false
			it.hop(f, i)
			if f.nodes[i].skip {
				return
			}
			it.down()
			if it.err == nil && !it.leaf.open && d+1 == len(it.stack) {
				return // passed over: Next goes on behind it
			}
		}
		if it.leaf.open && d+1 == len(it.stack) {
			it.seekLine(key)
			return
		}
	}
}

// nearHop is how many chunks a short way passes over, and hopsAhead how many such ways in a row make the next ones likely.
const nearHop, hopsAhead = 4, 2

// hop makes node i of f the next one. What was told to Prefetch stays told as long as the ways are short.
func (it *Iterator) hop(f *frame, i int) {
	near := it.opt.HopAhead > 0 && i >= f.next && i-f.next <= nearHop
	if f.level == 0 && near {
		it.hops++
	} else if f.level == 0 {
		it.hops = 0
	}
	if !near || f.level > 0 {
		f.told = i
	}
	f.next, f.told = i, max(f.told, i)
}

// window is how many chunks of level 0 are told in advance now.
func (it *Iterator) window() int {
	if it.hops >= hopsAhead {
		return max(it.opt.ReadAhead, it.opt.HopAhead)
	}
	return it.opt.ReadAhead
}

// find returns the last node of f that can have key.
func (it *Iterator) find(f *frame, key []byte) int {
	i := sort.Search(len(f.nodes), func(i int) bool {
		return f.nodes[i].known && it.keys.Compare(f.nodes[i].first, key) > 0
	})
	return max(i-1, 0)
}

// seekLine goes to before the first line of the leaf that is not before key, or to its end.
func (it *Iterator) seekLine(key []byte) {
	if !it.hasKey || it.keys.Compare(it.key, key) >= 0 {
		it.leaf.pos, it.hasKey = 0, false
	}
	for it.leaf.pos < len(it.leaf.data) {
		pos, prev, had := it.leaf.pos, it.key, it.hasKey
		if !it.nextLine() {
			return
		}
		if it.keys.Compare(it.key, key) >= 0 {
			it.leaf.pos, it.key, it.hasKey = pos, prev, had
			it.turn ^= 1 // the next key must not be written over prev
			return
		}
	}
}

// SeekSize starts again and passes over chunks without reading them as long as the sizes below them add up to no more than size; it
// returns that sum. What follows has to be passed over line by line. Where no sizes are given it goes to the first line.
func (it *Iterator) SeekSize(size int64) (passed int64) {
	if it.err != nil || it.tree.IsEmpty() {
		return 0
	}
	it.reset()
	for it.err == nil && !it.leaf.open {
		f := &it.stack[len(it.stack)-1]
		for f.next < len(f.nodes) && f.nodes[f.next].size >= 0 && passed+f.nodes[f.next].size <= size {
			passed += f.nodes[f.next].size
			f.next++
			it.whole = false
		}
		if f.next == len(f.nodes) {
			break // Next goes on behind this chunk
		}
		it.down()
	}
	return passed
}

// Find returns the line with this key; nil: there is none. The line is valid for good, but must not be changed. Only for sorted trees.
func Find(src Source, t Tree, keys Keys, key []byte) ([]byte, error) {
	it := NewIterator(src, t, keys, Options{})
	it.Seek(key)
	if it.Next() && keys.Compare(it.key, key) == 0 {
		return it.line, nil
	}
	return nil, it.err
}
