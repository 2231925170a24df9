package linetree

import (
	"bytes"
	"errors"
	"fmt"
	"math"
)

// nextLeaf opens the next chunk of level 0, and reports whether there is one.
func (it *Iterator) nextLeaf() bool {
	it.leaf = leaf{}
	for it.err == nil {
		f := &it.stack[len(it.stack)-1]
		for f.next < len(f.nodes) && f.nodes[f.next].skip {
			f.next++
			it.whole = false
		}
		if f.next < len(f.nodes) {
			if f.level == 0 {
				it.hops++
			}
			it.down()
			if it.leaf.open {
				return it.err == nil
			}
			continue
		}
		if len(it.stack) == 1 {
			it.finish()
			return false
		}
		it.stack = it.stack[:len(it.stack)-1]
	}
	return false
}

// finish checks what is known only when everything was read.
func (it *Iterator) finish() {
	if it.whole && it.bytes != it.tree.Bytes {
		it.corrupt(it.tree.Chunk, it.tree.Level, fmt.Errorf("tree has %d bytes, want %d", it.bytes, it.tree.Bytes))
	}
}

// down opens the next node of the lowest frame: it pushes a frame, or opens the leaf.
func (it *Iterator) down() {
	f := &it.stack[len(it.stack)-1]
	it.tell(f)
	n := &f.nodes[f.next]
	f.next++
	data, err := it.load(n, f.level)
	if err != nil {
		it.fail(n, f.level, err)
		return
	}
	if f.level == 0 {
		it.leaf = leaf{open: true, id: n.chunk, data: data}
		it.bytes += int64(len(data))
		return
	}
	below, err := it.parse(n, f.level, data)
	if err != nil {
		it.fail(n, f.level, err)
		return
	}
	it.stack = append(it.stack, below)
	it.err = it.enter(&it.stack[len(it.stack)-1])
}

// fail ends the iteration, or passes over what lies below a chunk.
func (it *Iterator) fail(n *node, level int, err error) {
	if it.opt.Pass == nil || !n.known || !it.opt.Pass(Gap{First: n.first, Chunk: n.chunk, Level: level, Lines: n.lines, Err: err}) {
		it.err = err
		return
	}
	it.whole = false
}

// enter asks which chunks of a frame that was just read are to be read.
func (it *Iterator) enter(f *frame) error {
	if it.opt.Enter == nil {
		return nil
	}
	for i := range f.nodes {
		ok, err := it.opt.Enter(f.nodes[i].chunk, f.level)
		if err != nil {
			return err
		}
		f.nodes[i].skip = !ok
	}
	return nil
}

// load gets a chunk and checks what the line about it says of a leaf.
func (it *Iterator) load(n *node, level int) ([]byte, error) {
	data, err := it.src.Get(n.chunk)
	if err != nil {
		return nil, err
	}
	switch {
	case len(data) == 0 || len(data) > MaxLine:
		err = fmt.Errorf("%d bytes long", len(data))
	case n.bytes >= 0 && int64(len(data)) != n.bytes:
		err = fmt.Errorf("%d bytes long, want %d", len(data), n.bytes)
	case data[len(data)-1] != '\n':
		err = errors.New("no newline at the end")
	case level == 0 && int64(bytes.Count(data, newline)) != n.lines:
		err = fmt.Errorf("%d lines, want %d", bytes.Count(data, newline), n.lines)
	case level == 0 && n.known:
		var first []byte
		first, err = it.keys.Of(data[:bytes.IndexByte(data, '\n')+1], nil)
		if err == nil && !bytes.Equal(first, n.first) {
			err = fmt.Errorf("begins at %.200q, want %.200q", first, n.first)
		}
	}
	if err != nil {
		return nil, &CorruptError{Chunk: n.chunk, Level: level, Err: err}
	}
	return data, nil
}

var newline = []byte{'\n'}

// parse reads the chunk of node n, which stands above level 0.
func (it *Iterator) parse(n *node, level int, data []byte) (frame, error) {
	f := frame{level: level - 1, nodes: make([]node, 0, min(len(data)/nodeLeast, bytes.Count(data, newline)))}
	arena := make([]byte, 0, len(data)/4)
	var lines, size, sum int64
	var err error
	for rest := data; len(rest) > 0 && err == nil; {
		i := bytes.IndexByte(rest, '\n') + 1
		var c node
		if c, arena, err = scanNode(&it.scan, rest[:i], arena); err != nil {
			break
		}
		if k := len(f.nodes); k > 0 && it.keys.Compare != nil && it.keys.Compare(f.nodes[k-1].first, c.first) >= 0 {
			err = fmt.Errorf("line %.200q out of order", c.first)
		}
		if c.lines > math.MaxInt64-lines || c.size > math.MaxInt64-max(size, 0) {
			err = errRange
		}
		lines += c.lines
		sum += c.bytes
		if c.size < 0 || size < 0 {
			size = -1
		} else {
			size += c.size
		}
		f.nodes = append(f.nodes, c)
		rest = rest[i:]
	}
	if err == nil {
		err = it.checkSums(n, &f, lines, size, sum)
	}
	if err != nil {
		return frame{}, &CorruptError{Chunk: n.chunk, Level: level, Err: err}
	}
	return f, nil
}

// nodeLeast is less than the shortest line of a node.
const nodeLeast = 100

// checkSums compares what stands in a chunk above level 0 with what the line about it says.
func (it *Iterator) checkSums(n *node, f *frame, lines, size, sum int64) error {
	switch {
	case lines != n.lines:
		return fmt.Errorf("%d lines below, want %d", lines, n.lines)
	case size >= 0 && n.size >= 0 && size != n.size:
		return fmt.Errorf("size %d below, want %d", size, n.size)
	case n.known && !bytes.Equal(f.nodes[0].first, n.first):
		return fmt.Errorf("begins at %.200q, want %.200q", f.nodes[0].first, n.first)
	case !n.known && f.level == 0 && sum != it.tree.Bytes:
		return fmt.Errorf("%d bytes below, want %d", sum, it.tree.Bytes)
	}
	return nil
}

// tell tells Prefetch of the nodes from the next one of f on, half a window at a time.
func (it *Iterator) tell(f *frame) {
	window := it.window()
	if it.src.Prefetch == nil || window <= 0 {
		return
	}
	if f.level > 0 {
		window = min(window, 2)
	}
	end := min(f.next+window, len(f.nodes))
	f.told = max(f.told, f.next)
	if f.told >= end || f.told > f.next+window/2 && end < len(f.nodes) {
		return
	}
	it.ids = it.ids[:0]
	for ; f.told < end; f.told++ {
		n := &f.nodes[f.told]
		if n.known && it.opt.To != nil && it.keys.Compare(n.first, it.opt.To) >= 0 {
			f.told = len(f.nodes)
			break
		}
		if !n.skip {
			it.ids = append(it.ids, n.chunk)
		}
	}
	if len(it.ids) > 0 {
		it.src.Prefetch(it.ids)
	}
}
