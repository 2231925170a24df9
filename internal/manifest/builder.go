package manifest

import (
	"errors"

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

// Add adds an entry. It fails with *LineError for one that breaks the rules or the order, adding nothing, and with errors of the sink,
// after which the builder is of no more use.
func (b *Builder) Add(e *Entry) error {
	if err := e.Check(); err != nil {
		return err
	}
	b.line = AppendLine(b.line[:0], e)
	return b.AddLine(e.Path, b.line)
}

// AddLine adds a line as it stands, newline included, such as one from an earlier manifest; path is its path. It fails as Add does, but looks
// only at order and length.
func (b *Builder) AddLine(path, line []byte) error {
	err := b.tree.Add(path, line)
	var refused *linetree.LineError
	if errors.As(err, &refused) {
		return &LineError{Path: string(path), Offset: -1, Msg: refused.Msg}
	}
	return err
}

// Flush stores the manifest so far, for a partial snapshot; the builder goes on as if it had not been called.
func (b *Builder) Flush() (Tree, error) { return b.tree.Flush() }

// Finish stores the rest and returns the name of the manifest.
func (b *Builder) Finish() (Tree, error) { return b.tree.Finish() }

// Lines returns how many entries were added.
func (b *Builder) Lines() int64 { return b.tree.Lines() }
