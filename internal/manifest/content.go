package manifest

import (
	"encoding/binary"
	"fmt"
	"math"

	"firn/internal/digest"
	"firn/internal/manifest/jsonline"
	"firn/internal/manifest/linetree"
)

// Content trees: each line is one piece, ["<64 hex>",offset,length] or [null,0,length]; its key is the chunk id, of a hole empty.

// pieceKeys are the keys of content trees, which have no order.
var pieceKeys = linetree.Keys{Of: func(line, scratch []byte) ([]byte, error) {
	var s jsonline.Scanner
	p, err := parsePiece(&s, line)
	if err != nil || p.IsHole() {
		return nil, err
	}
	return append(scratch[:0], p.Chunk[:]...), nil
}}

func parsePiece(s *jsonline.Scanner, line []byte) (p Piece, err error) {
	s.Reset(line)
	scanPiece(s, &p)
	s.End()
	if msg := p.refuse(); msg != "" {
		s.Fail(msg)
	}
	return p, s.Err()
}

// ContentBuilder makes the content of a file from its pieces: inline up to MaxInline of them, else a tree. It is reused from file to
// file. Not for concurrent use.
type ContentBuilder struct {
	tree   *linetree.Builder
	list   *ListHash
	pieces []Piece // while there are at most MaxInline
	count  int64
	size   int64
	line   []byte
}

// NewContentBuilder returns a builder; list makes hashes under the list key of the epoch (FORMAT §7.4), for this builder alone.
func NewContentBuilder(hash func(key []byte) uint64, sink Sink, list *digest.Hasher) *ContentBuilder {
	return &ContentBuilder{tree: linetree.NewBuilder(hash, nil, sink), list: NewListHash(list)}
}

// Add adds the next piece of the file. It fails for a piece that is none, and with errors of the sink; Reset, then.
func (c *ContentBuilder) Add(p Piece) error {
	if msg := p.refuse(); msg != "" {
		return fmt.Errorf("piece of %d bytes at %d of chunk %s: %s", p.Length, p.Offset, p.Chunk, msg)
	}
	if p.Length > math.MaxInt64-c.size {
		return fmt.Errorf("piece of %d bytes behind %d: longer than a file can be", p.Length, c.size)
	}
	c.list.Add(p)
	c.count++
	c.size += p.Length
	if c.count <= MaxInline {
		c.pieces = append(c.pieces, p)
		return nil
	}
	for i := range c.pieces {
		if err := c.addLine(&c.pieces[i]); err != nil {
			return err
		}
	}
	c.pieces = c.pieces[:0]
	return c.addLine(&p)
}

func (c *ContentBuilder) addLine(p *Piece) error {
	var key []byte
	if !p.IsHole() {
		key = p.Chunk[:]
	}
	c.line = append(appendPiece(c.line[:0], p), '\n')
	return c.tree.AddSized(key, c.line, p.Length)
}

// Size returns the bytes so far.
func (c *ContentBuilder) Size() int64 { return c.size }

// Pieces returns the number of pieces so far.
func (c *ContentBuilder) Pieces() int64 { return c.count }

// Finish sets Size, Content, Tree and Hash of e, in e's memory, and makes the builder ready for the next file. Of a file in one piece that is no
// hole the hash is that of its content (ShortHash), which only the caller knows: it leaves e.Hash zero there.
func (c *ContentBuilder) Finish(e *Entry) (err error) {
	e.Size, e.Content, e.Tree, e.Hash = c.size, append(e.Content[:0], c.pieces...), Tree{}, Hash{}
	if c.count > MaxInline {
		e.Tree, err = c.tree.Finish()
	}
	if sum := c.list.Sum(); c.count > 1 || c.count == 1 && c.pieces[0].IsHole() {
		e.Hash = sum
	}
	c.pieces, c.count, c.size = c.pieces[:0], 0, 0
	return err
}

// Reset drops the pieces of a file that is given up.
func (c *ContentBuilder) Reset() {
	c.tree.Reset()
	c.list.Sum()
	c.pieces, c.count, c.size = c.pieces[:0], 0, 0
}

// ListHash computes the file hash of a file in several pieces (FORMAT §7.4).
type ListHash struct {
	h   *digest.Hasher
	buf []byte
}

// NewListHash returns one; list makes hashes under the list key, and nothing else until Sum.
func NewListHash(list *digest.Hasher) *ListHash {
	list.Reset()
	return &ListHash{h: list, buf: make([]byte, 0, listBatch)}
}

const listBatch = 64 * (32 + 4 + 8)

// Add adds the next piece.
func (l *ListHash) Add(p Piece) {
	if len(l.buf) == listBatch {
		_, _ = l.h.Write(l.buf)
		l.buf = l.buf[:0]
	}
	l.buf = append(l.buf, p.Chunk[:]...)
	l.buf = binary.LittleEndian.AppendUint32(l.buf, p.Offset)
	l.buf = binary.LittleEndian.AppendUint64(l.buf, uint64(p.Length))
}

// Sum returns the hash and starts the next file.
func (l *ListHash) Sum() Hash {
	_, _ = l.h.Write(l.buf)
	sum := l.h.Finish()
	l.h.Reset()
	l.buf = l.buf[:0]
	return ShortHash(sum)
}

// ShortHash is the hash of a file of which sum is the keyed hash of its whole content; of a file that is one whole chunk, that is the chunk id.
func ShortHash(sum digest.Chunk) Hash { return Hash(sum[:12]) }

// Pieces goes over the pieces of a file in order. It fails if they do not add up to the file's size. Not for concurrent use.
type Pieces struct {
	e      *Entry
	it     *linetree.Iterator // nil: the pieces stand in e
	inline int                // next of e.Content
	piece  Piece
	at     int64 // offset of piece
	end    int64 // behind it
	held   bool  // piece is the next one (SeekTo)
	scan   jsonline.Scanner
	err    error
}

// NewPieces returns an iterator over the content of a file; e must not change while it is used.
func NewPieces(src Source, e *Entry) *Pieces {
	p := &Pieces{e: e}
	if !e.Tree.IsEmpty() {
		p.it = linetree.NewIterator(src, e.Tree, pieceKeys, linetree.Options{ReadAhead: linetree.ReadAhead})
	}
	return p
}

// Next goes to the next piece, and reports whether there is one; false at the end and on an error.
func (p *Pieces) Next() bool {
	if p.held {
		p.held = false
		return true
	}
	if p.err != nil {
		return false
	}
	more := p.nextPiece()
	if p.err != nil {
		return false
	}
	p.at = p.end
	switch {
	case !more && p.end != p.want():
		p.err = p.corrupt(fmt.Sprintf("pieces add up to %d bytes, want %d", p.end, p.e.Size))
	case more && p.piece.Length > p.want()-p.end:
		p.err = p.corrupt(fmt.Sprintf("pieces add up to more than %d bytes", p.e.Size))
	case more:
		p.end += p.piece.Length
		return true
	}
	return false
}

// want returns what the pieces have to add up to.
func (p *Pieces) want() int64 {
	if len(p.e.Hardlink) > 0 {
		return 0
	}
	return p.e.Size
}

func (p *Pieces) corrupt(msg string) error {
	return &CorruptError{Chunk: p.e.Tree.Chunk, Level: p.e.Tree.Level, Err: fmt.Errorf("content of %q: %s", p.e.Path, msg)}
}

// nextPiece gets the next piece, and reports whether there is one.
func (p *Pieces) nextPiece() bool {
	if p.it == nil {
		if p.inline == len(p.e.Content) {
			return false
		}
		p.piece = p.e.Content[p.inline]
		p.inline++
		return true
	}
	if !p.it.Next() {
		p.err = p.it.Err()
		return false
	}
	if p.piece, p.err = parsePiece(&p.scan, p.it.Line()); p.err != nil {
		p.err = p.corrupt(p.err.Error())
	}
	return true
}

// Piece returns the piece.
func (p *Pieces) Piece() Piece { return p.piece }

// Offset returns where in the file the piece begins.
func (p *Pieces) Offset() int64 { return p.at }

// SeekTo makes the piece that has the byte at offset of the file the next one, forward or backward; none, if the file is not that long. It
// reads only the chunks on the way to it.
func (p *Pieces) SeekTo(offset int64) {
	if p.err != nil {
		return
	}
	p.held, p.inline, p.at, p.end = false, 0, 0, 0
	if p.it != nil {
		p.end = p.it.SeekSize(offset)
	}
	for p.Next() {
		if p.end > offset {
			p.held = true
			return
		}
	}
}

// Err returns the first error.
func (p *Pieces) Err() error { return p.err }
