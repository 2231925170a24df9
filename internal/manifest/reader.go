package manifest

import "firn/internal/digest"

// Reader reads a stored manifest. Its methods may be called by several goroutines at once if the source may be. Nothing is kept in memory
// but one chunk a level for each running call.
type Reader struct {
	src  Source
	tree Tree
}

// NewReader returns a reader of the manifest named tree.
func NewReader(src Source, tree Tree) *Reader { return &Reader{src, tree} }

// Tree returns the name of the manifest.
func (r *Reader) Tree() Tree { return r.tree }

// Lookup finds one path and parses its line into e.
func (r *Reader) Lookup(path []byte, e *Entry) (found bool, err error) {
	panic("manifest: not built yet")
}

// Walk calls fn for prefix and all that lies below it, in order; prefix "" is everything. The entry is valid until fn returns. It
// stops at the first error of fn, which it returns.
func (r *Reader) Walk(prefix []byte, fn func(e *Entry) error) error { panic("manifest: not built yet") }

// Children calls fn for what lies directly in dir, in order; it skips what lies below subfolders without reading it where that
// fills whole chunks. The entry is valid until fn returns.
func (r *Reader) Children(dir []byte, fn func(e *Entry) error) error {
	panic("manifest: not built yet")
}

// Entries returns an iterator over all entries from the first path at or after from on.
func (r *Reader) Entries(from []byte) *Iterator { panic("manifest: not built yet") }

// Iterator goes over entries in order:
//
//	it := r.Entries(nil)
//	for it.Next() {
//		… it.Path(), it.Line(), it.Entry() …
//	}
//	err := it.Err()
//
// Not for concurrent use.
type Iterator struct{}

// Next goes to the next line, and reports whether there is one; false at the end and on an error.
func (it *Iterator) Next() bool { panic("manifest: not built yet") }

// Path returns the path of the line; valid until the next call of Next or Seek.
func (it *Iterator) Path() []byte { panic("manifest: not built yet") }

// Line returns the line with its newline; valid until the next call of Next or Seek, never to be changed.
func (it *Iterator) Line() []byte { panic("manifest: not built yet") }

// Entry parses the line; the entry is valid until the next call of Entry.
func (it *Iterator) Entry() (*Entry, error) { panic("manifest: not built yet") }

// Seek goes to before the first path at or after key, forward or backward, reading no chunk that it has open.
func (it *Iterator) Seek(key []byte) { panic("manifest: not built yet") }

// Err returns the first error.
func (it *Iterator) Err() error { panic("manifest: not built yet") }

// Pieces returns an iterator over the content of a file; e must not change while it is used.
func (r *Reader) Pieces(e *Entry) *Pieces { panic("manifest: not built yet") }

// NewPieces is Pieces where no manifest is at hand.
func NewPieces(src Source, e *Entry) *Pieces { panic("manifest: not built yet") }

// Pieces goes over the pieces of a file in order. It fails if they do not add up to the file's size. Not for concurrent use.
type Pieces struct{}

// Next goes to the next piece, and reports whether there is one; false at the end and on an error.
func (p *Pieces) Next() bool { panic("manifest: not built yet") }

// Piece returns the piece.
func (p *Pieces) Piece() Piece { panic("manifest: not built yet") }

// Offset returns where in the file the piece begins.
func (p *Pieces) Offset() int64 { panic("manifest: not built yet") }

// SeekTo makes the piece that has the byte at offset of the file the next one; it reads only the chunks on the way to it.
func (p *Pieces) SeekTo(offset int64) { panic("manifest: not built yet") }

// Err returns the first error.
func (p *Pieces) Err() error { panic("manifest: not built yet") }

// Visitor takes the chunks that a manifest needs.
type Visitor struct {
	// Meta is told of each chunk of the manifest's tree, once, and of content trees, before it is read; level 0 has lines. Where it returns false
	// the chunk is not read and nothing below it is told: so a caller that has seen a chunk, in this manifest or another, saves the work.
	Meta func(id digest.Chunk, level int) (enter bool, err error)
	// Data is told of each chunk of file content. Repeats that follow closely are left out (small files share chunks with their
	// neighbours), others come again: the caller knows what it has seen.
	Data func(id digest.Chunk) error
}

// Chunks tells v every chunk that the manifest needs, parents first, streaming. It stops at the first error of v.
func (r *Reader) Chunks(v Visitor) error { panic("manifest: not built yet") }
