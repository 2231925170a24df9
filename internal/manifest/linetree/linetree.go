// Package linetree keeps a sequence of JSON lines as a tree of chunks that are cut by content (FORMAT §7.3), so that two sequences which
// are mostly alike share most of their chunks.
//
//	level 0    the lines themselves, each ended by 0x0A
//	level k    {"first":"<key>","chunk":"<64 hex>","bytes":n,"lines":n}   one line for each chunk of level k − 1, in order
//	           first_b64 where the key is not UTF-8; bytes: length of that chunk; lines: level 0 lines below it; and, where
//	           lines have a size (content trees), "size": the sum of the sizes below it
//	top        one chunk, named by {"chunk":"<64 hex>","level":k,"lines":n,"bytes":n}; bytes: sum of level 0
//
// A chunk ends after a line where it has at least 8 KiB and the top 5 bits of the hash of that line's key are zero, and before a line
// that would take it past 64 KiB; above level 0 all but the last have at least two lines, so that every level has at most half as many
// chunks as the one below.
package linetree

import (
	"fmt"

	"firn/internal/digest"
)

// Limits. MinChunk and SoftMax are where the writer cuts; a reader takes any cut within MaxLine and MaxLevel.
const (
	MinChunk = 8 << 10
	SoftMax  = 64 << 10
	MaxLine  = 4 << 20 // bytes of a line with its newline; also the largest chunk, which then is that line
	MaxLevel = 32
)

// Tree names a line tree. The zero Tree is the empty one.
type Tree struct {
	Chunk digest.Chunk
	Level int
	Lines int64 // at level 0
	Bytes int64 // of level 0
}

// IsEmpty reports whether the tree has no line.
func (t Tree) IsEmpty() bool { return t.Chunk.IsZero() }

// Keys tells what the key of a level 0 line is and whether lines are sorted.
type Keys struct {
	// Of returns the key of a line (with its newline); it may be part of line, or use scratch's memory.
	Of func(line, scratch []byte) ([]byte, error)
	// Compare orders keys; a tree has them strictly ascending. Nil: the lines have no order, and there is no seeking by key.
	Compare func(a, b []byte) int
}

// Sink stores a chunk and returns its id. The content is valid only until it returns. It gets some chunks twice after a Flush.
type Sink func(content []byte) (digest.Chunk, error)

// Source has the chunks of trees.
type Source struct {
	// Get returns the content of a chunk, which it has verified against its id. The content is not changed by anybody until the
	// reader that asked for it is done. Errors reach the caller of the reader as they are.
	Get func(id digest.Chunk) ([]byte, error)
	// Prefetch, if not nil, is told which chunks will most likely be asked for next, in order and each once, at most ReadAhead of
	// them (and, from higher levels, two a level) before they are. It must not block. The slice is valid only until it returns.
	Prefetch func(ids []digest.Chunk)
}

// ReadAhead is how many chunks of level 0 Prefetch is told of in advance.
const ReadAhead = 128

// CorruptError tells that a chunk breaks the format, or is not what the tree above it says.
type CorruptError struct {
	Chunk digest.Chunk
	Level int
	Err   error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("manifest chunk %s at level %d: %v", e.Chunk, e.Level, e.Err)
}

// Unwrap returns the reason.
func (e *CorruptError) Unwrap() error { return e.Err }

// LineError tells that the builder was given a line that it cannot take; the tree is as before.
type LineError struct {
	Key string
	Msg string
}

func (e *LineError) Error() string { return fmt.Sprintf("manifest line %.200q: %s", e.Key, e.Msg) }
