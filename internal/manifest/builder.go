package manifest

import (
	"firn/internal/digest"
	"firn/internal/manifest/linetree"
)

// Builder makes a manifest from entries in order. Not for concurrent use.
type Builder struct {
	tree *linetree.Builder
	line []byte
}

// NewBuilder returns a builder; hash is the gear hash of FORMAT §7.3 (cdc.Table.Hash).
func NewBuilder(hash func(key []byte) uint64, sink Sink) *Builder {
	return &Builder{tree: linetree.NewBuilder(hash, Compare, sink)}
}

// Add adds an entry. It fails with *LineError or *linetree.LineError, adding nothing, and with errors of the sink.
func (b *Builder) Add(e *Entry) error { panic("manifest: not built yet") }

// AddLine adds a line as it stands, newline included, such as one from an earlier manifest; path is its path.
func (b *Builder) AddLine(path, line []byte) error { return b.tree.Add(path, line) }

// Flush stores the manifest so far, for a partial snapshot; the builder goes on as if it had not been called.
func (b *Builder) Flush() (Tree, error) { return b.tree.Flush() }

// Finish stores the rest and returns the name of the manifest.
func (b *Builder) Finish() (Tree, error) { return b.tree.Finish() }

// Lines returns how many entries were added.
func (b *Builder) Lines() int64 { return b.tree.Lines() }

// ContentBuilder makes the content of a file from its pieces: inline up to MaxInline of them, else a tree. It is reused from file to
// file. Not for concurrent use.
type ContentBuilder struct{}

// NewContentBuilder returns a builder; list makes hashes under the list key of the epoch (FORMAT §7.4).
func NewContentBuilder(hash func(key []byte) uint64, sink Sink, list *digest.Hasher) *ContentBuilder {
	panic("manifest: not built yet")
}

// Add adds the next piece of the file.
func (c *ContentBuilder) Add(p Piece) error { panic("manifest: not built yet") }

// Size returns the bytes so far.
func (c *ContentBuilder) Size() int64 { panic("manifest: not built yet") }

// Finish sets Size, Content, Tree and Hash of e and makes the builder ready for the next file. Of a file in one piece that is no hole the
// hash is that of its content, which only the caller knows: it leaves e.Hash zero there.
func (c *ContentBuilder) Finish(e *Entry) error { panic("manifest: not built yet") }

// Reset drops the pieces of a file that is given up.
func (c *ContentBuilder) Reset() { panic("manifest: not built yet") }

// ListHash computes the file hash of a file in several pieces.
type ListHash struct{}

// NewListHash returns one; list makes hashes under the list key.
func NewListHash(list *digest.Hasher) *ListHash { panic("manifest: not built yet") }

// Add adds the next piece.
func (l *ListHash) Add(p Piece) { panic("manifest: not built yet") }

// Sum returns the hash and starts the next file.
func (l *ListHash) Sum() Hash { panic("manifest: not built yet") }

// ShortHash is the hash of a file of which sum is the keyed hash of its whole content; of a file that is one whole chunk, that is the chunk id.
func ShortHash(sum digest.Chunk) Hash { return Hash(sum[:12]) }
