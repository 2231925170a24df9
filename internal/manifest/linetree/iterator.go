package linetree

import (
	"bytes"
	"fmt"

	"firn/internal/digest"
	"firn/internal/manifest/jsonline"
)

// Options of an iterator.
type Options struct {
	To        []byte // keys at or behind To are not wanted; nil: all are. Only for sorted trees
	ReadAhead int    // chunks of level 0 that Prefetch is told of in advance; 0: it is not called
	HopAhead  int    // likewise, as long as seeks go forward by few chunks at a time; 0: seeks ask for what they need
	// Enter, if not nil, is told of every chunk once, the top first, when the chunk above it has been read. Where it returns false the chunk is passed over.
	Enter func(id digest.Chunk, level int) (bool, error)
	// Pass, if not nil, is told of a chunk that cannot be read. Where it returns true the iterator goes on behind what lies below that chunk. It is not
	// asked about the top chunk, below which everything lies.
	Pass func(Gap) bool
}

// Gap is what an iterator cannot read.
type Gap struct {
	First []byte // key of its first line, valid until Pass returns
	Chunk digest.Chunk
	Level int
	Lines int64
	Err   error
}

// Iterator goes over the lines of a tree in order:
//
//	it := linetree.NewIterator(src, tree, keys, linetree.Options{})
//	for it.Next() {
//		… it.Key(), it.Line() …
//	}
//	err := it.Err()
//
// It keeps one chunk a level. Everything read is checked: order, counts and lengths against the lines above; levels only go down.
// Errors are *CorruptError or come from the source or from Enter as they are. Not for concurrent use.
type Iterator struct {
	src    Source
	tree   Tree
	keys   Keys
	opt    Options
	stack  []frame // the top first; stack[0] has one node, for the top chunk
	leaf   leaf
	line   []byte
	key    []byte
	hasKey bool // key is of the line before leaf.pos, in order
	ended  bool
	keyBuf [2][]byte // for keys that do not lie in their line: this one's and the last one's
	turn   int
	whole  bool  // nothing was passed over since the start
	bytes  int64 // of leaves read since the start
	scan   jsonline.Scanner
	ids    []digest.Chunk
	hops   int // seeks in a row that went a short way forward
	err    error
}

// frame is a chunk above level 0 on the way to the current line.
type frame struct {
	level int // of the chunks that the nodes name
	nodes []node
	next  int // node to be opened next; the one before is open
	told  int // nodes before this one have been told to Prefetch
}

// leaf is the open chunk of level 0.
type leaf struct {
	open bool
	id   digest.Chunk
	data []byte
	pos  int
}

// NewIterator returns an iterator that stands before the first line.
func NewIterator(src Source, t Tree, keys Keys, opt Options) *Iterator {
	it := &Iterator{src: src, tree: t, keys: keys, opt: opt}
	it.keyBuf = [2][]byte{make([]byte, 0, 512), make([]byte, 0, 512)}
	if err := t.check(); err != nil {
		it.err = &CorruptError{Chunk: t.Chunk, Level: t.Level, Err: err}
		return it
	}
	it.reset()
	return it
}

func (it *Iterator) reset() {
	it.leaf, it.hasKey, it.ended, it.bytes, it.whole = leaf{}, false, false, 0, true
	if it.tree.IsEmpty() {
		it.stack = append(it.stack[:0], frame{})
		return
	}
	if len(it.stack) > 0 {
		it.stack = it.stack[:1]
		it.stack[0].next, it.stack[0].told = 0, 0
		return
	}
	top := node{chunk: it.tree.Chunk, lines: it.tree.Lines, bytes: -1, size: -1}
	if it.tree.Level == 0 {
		top.bytes = it.tree.Bytes
	}
	it.stack = append(it.stack[:0], frame{level: it.tree.Level, nodes: []node{top}})
	it.err = it.enter(&it.stack[0])
}

// Err returns the first error.
func (it *Iterator) Err() error { return it.err }

// Line returns the line with its newline; valid until the next call of Next or a seek. It must not be changed.
func (it *Iterator) Line() []byte { return it.line }

// Key returns the key of the line; valid until the next call of Next or a seek. Only for sorted trees.
func (it *Iterator) Key() []byte { return it.key }

// Next goes to the next line, and reports whether there is one; false at the end and on an error.
func (it *Iterator) Next() bool {
	for it.err == nil && !it.ended {
		if it.leaf.pos < len(it.leaf.data) {
			return it.nextLine()
		}
		if !it.nextLeaf() {
			it.ended = true
		}
	}
	it.line, it.key = nil, nil
	return false
}

// nextLine takes a line from the leaf, which has one.
func (it *Iterator) nextLine() bool {
	l := &it.leaf
	n := bytes.IndexByte(l.data[l.pos:], '\n') + 1 // a leaf ends with a newline: load checked
	line := l.data[l.pos : l.pos+n]
	if it.keys.Compare == nil {
		l.pos += n
		it.line = line
		return true
	}
	it.turn ^= 1
	key, err := it.keys.Of(line, it.keyBuf[it.turn])
	if err == nil && it.hasKey && it.keys.Compare(it.key, key) >= 0 {
		err = fmt.Errorf("line %.200q out of order", key)
	}
	if err != nil {
		return it.corrupt(l.id, 0, err)
	}
	if it.opt.To != nil && it.keys.Compare(key, it.opt.To) >= 0 {
		it.ended, it.line, it.key, it.hasKey = true, nil, nil, false
		return false
	}
	l.pos += n
	it.line, it.key, it.hasKey = line, key, true
	return true
}

func (it *Iterator) corrupt(id digest.Chunk, level int, err error) bool {
	if it.err == nil {
		it.err = &CorruptError{Chunk: id, Level: level, Err: err}
	}
	it.line, it.key = nil, nil
	return false
}
