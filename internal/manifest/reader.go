package manifest

import (
	"firn/internal/digest"
	"firn/internal/manifest/linetree"
)

// pathKeys are the keys of manifests.
var pathKeys = linetree.Keys{Of: PathOf, Compare: Compare}

// Reader reads a stored manifest. Its methods may be called by several goroutines at once if the source's may. Nothing is kept in memory
// but one chunk a level for each running call. Errors are *CorruptError, *LineError, those of the source, and those of callbacks.
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
	line, err := linetree.Find(r.src, r.tree, pathKeys, path)
	if line == nil || err != nil {
		return false, err
	}
	return true, ParseLine(line, e)
}

// Walk calls fn for prefix and all that lies below it, in order; prefix "" is everything. The entry is valid until fn returns. It
// stops at the first error of fn, which it returns.
func (r *Reader) Walk(prefix []byte, fn func(e *Entry) error) error {
	it := r.within(prefix, linetree.Options{ReadAhead: linetree.ReadAhead})
	for it.Next() {
		e, err := it.Entry()
		if err == nil {
			err = fn(e)
		}
		if err != nil {
			return err
		}
	}
	return it.Err()
}

// within iterates over prefix and what lies below it.
func (r *Reader) within(prefix []byte, opt linetree.Options) *Iterator {
	if len(prefix) > 0 {
		opt.To = AppendAfter(nil, prefix)
	}
	it := &Iterator{tree: linetree.NewIterator(r.src, r.tree, pathKeys, opt)}
	if len(prefix) > 0 {
		it.Seek(prefix)
	}
	return it
}

// Children calls fn for what lies directly in dir, in order; it skips what lies below subfolders without reading it where that
// fills whole chunks. The entry is valid until fn returns.
func (r *Reader) Children(dir []byte, fn func(e *Entry) error) error {
	return children(r.within(dir, linetree.Options{HopAhead: linetree.ReadAhead}), dir, fn)
}

func children(it *Iterator, dir []byte, fn func(e *Entry) error) error {
	var behind []byte
	for it.Next() {
		path := it.Path()
		if len(path) == len(dir) {
			continue
		}
		e, err := it.Entry()
		if err != nil {
			return err
		}
		behind = AppendAfter(behind[:0], path)
		isDir := e.Type == Dir
		if err := fn(e); err != nil {
			return err
		}
		if isDir {
			it.Seek(behind)
		}
	}
	return it.Err()
}

// Entries returns an iterator over all entries from the first path at or after from on.
func (r *Reader) Entries(from []byte) *Iterator {
	it := &Iterator{tree: linetree.NewIterator(r.src, r.tree, pathKeys, linetree.Options{ReadAhead: linetree.ReadAhead})}
	if len(from) > 0 {
		it.Seek(from)
	}
	return it
}

// Gap is a stretch of the manifest that cannot be read.
type Gap struct {
	First []byte // path of its first entry, valid until the function that is told of it returns
	Lines int64  // how many entries are in it
	Err   error
}

// EntriesPast is Entries for one who goes on behind what cannot be read: pass is told of every gap, and returns false to end with its error.
func (r *Reader) EntriesPast(from []byte, pass func(Gap) bool) *Iterator {
	it := &Iterator{tree: linetree.NewIterator(r.src, r.tree, pathKeys, linetree.Options{ReadAhead: linetree.ReadAhead,
		Pass: func(g linetree.Gap) bool { return pass(Gap{g.First, g.Lines, g.Err}) }})}
	if len(from) > 0 {
		it.Seek(from)
	}
	return it
}

// Pieces returns an iterator over the content of a file; e must not change while it is used.
func (r *Reader) Pieces(e *Entry) *Pieces { return NewPieces(r.src, e) }

// Iterator goes over entries in order:
//
//	it := r.Entries(nil)
//	for it.Next() {
//		… it.Path(), it.Line(), it.Entry() …
//	}
//	err := it.Err()
//
// Not for concurrent use.
type Iterator struct {
	tree  *linetree.Iterator
	entry Entry
}

// Next goes to the next line, and reports whether there is one; false at the end and on an error.
func (it *Iterator) Next() bool { return it.tree.Next() }

// Path returns the path of the line; valid until the next call of Next or Seek.
func (it *Iterator) Path() []byte { return it.tree.Key() }

// Line returns the line with its newline; valid until the next call of Next or Seek, never to be changed.
func (it *Iterator) Line() []byte { return it.tree.Line() }

// Entry parses the line; the entry is valid until the next call of Entry. A line that breaks the rules is a *LineError; Next goes on
// behind it.
func (it *Iterator) Entry() (*Entry, error) {
	if err := ParseLine(it.tree.Line(), &it.entry); err != nil {
		return nil, err
	}
	return &it.entry, nil
}

// Seek goes to before the first path at or after key, forward or backward, reading no chunk that it has open.
func (it *Iterator) Seek(key []byte) { it.tree.Seek(key) }

// Err returns the first error.
func (it *Iterator) Err() error { return it.tree.Err() }

// Visitor takes the chunks that a manifest needs.
type Visitor struct {
	// Meta is told of each chunk of the manifest's tree, once, and of content trees, before it is read; level 0 has lines. Where it returns false
	// the chunk is not read and nothing below it is told: so a caller that has seen a chunk, in this manifest or another, saves the work.
	Meta func(id digest.Chunk, level int) (enter bool, err error)
	// Data is told of each chunk of file content; nil: not wanted, and content trees are read
	// only as far as Meta needs it. Repeats that follow closely are left out
	// (small files share chunks with their neighbours), others come again: the caller knows what it has seen.
	Data func(id digest.Chunk) error
}

// Chunks tells v every chunk that the manifest needs, parents first, streaming. It stops at the first error of v.
func (r *Reader) Chunks(v Visitor) error {
	opt := linetree.Options{ReadAhead: linetree.ReadAhead, Enter: v.Meta}
	it := &Iterator{tree: linetree.NewIterator(r.src, r.tree, pathKeys, opt)}
	var recent recentChunks
	for it.Next() {
		e, err := it.Entry()
		if err == nil {
			err = contentChunks(r.src, e, &v, &recent)
		}
		if err != nil {
			return err
		}
	}
	return it.Err()
}

// ContentChunks tells v every chunk that the content of one file needs, those of its content tree included.
func ContentChunks(src Source, e *Entry, v Visitor) error {
	return contentChunks(src, e, &v, new(recentChunks))
}

func contentChunks(src Source, e *Entry, v *Visitor, recent *recentChunks) error {
	p := &Pieces{e: e}
	if !e.Tree.IsEmpty() {
		if recent.has(e.Tree.Chunk) {
			return nil // a copy of a file
		}
		opt := linetree.Options{ReadAhead: linetree.ReadAhead, Enter: v.Meta}
		if v.Data == nil {
			opt.Enter = v.metaOnly
		}
		p.it = linetree.NewIterator(src, e.Tree, pieceKeys, opt)
	}
	for p.err == nil && p.nextPiece() {
		if p.err != nil || v.Data == nil || p.piece.IsHole() || recent.has(p.piece.Chunk) {
			continue
		}
		if err := v.Data(p.piece.Chunk); err != nil {
			return err
		}
	}
	return p.err
}

// metaOnly is Meta for content trees whose pieces nobody wants.
func (v *Visitor) metaOnly(id digest.Chunk, level int) (enter bool, err error) {
	enter = true
	if v.Meta != nil {
		enter, err = v.Meta(id, level)
	}
	return enter && level > 0, err
}

// recentChunks remembers some of the last chunks.
type recentChunks [1024]digest.Chunk

// has reports whether id was asked for not long ago.
func (r *recentChunks) has(id digest.Chunk) bool {
	slot := &r[(uint(id[0])|uint(id[1])<<8)%uint(len(r))]
	if *slot == id {
		return true
	}
	*slot = id
	return false
}
