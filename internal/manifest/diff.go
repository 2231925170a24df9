package manifest

import (
	"bytes"
	"slices"

	"firn/internal/manifest/linetree"
)

// Kind is what happened to a path between two manifests.
type Kind uint8

// The kinds of changes.
const (
	Added       Kind = iota
	Removed          //
	Modified         // content of a file, target of a link, device number
	Metadata         // mode, owner, mtime, xattrs, hard link, error; the content is the same
	TypeChanged      // a file became a folder, …
)

var kindNames = [...]string{"added", "removed", "modified", "metadata", "type"}

// String returns one word.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Equality is what makes two files' contents equal.
type Equality uint8

const (
	// ByPieces: the same stretches of the same chunks.
	ByPieces Equality = iota
	// ByHash: the same size and hash, wherever it is stored; for manifests of one scope and epoch. Where a hash is missing, ByPieces.
	ByHash
	// ByTime: the same size and mtime; for manifests of different scopes or epochs, whose hashes cannot be compared.
	ByTime
)

// Change is one difference.
type Change struct {
	Kind Kind
	Old  *Entry // nil: added
	New  *Entry // nil: removed
}

// Diff calls fn for every path at which the manifests differ, in order, without reading subtrees that they share. Entries are valid
// until fn returns. A file whose content counts as equal and whose metadata are the same is no difference, wherever it is stored.
func Diff(a, b *Reader, eq Equality, fn func(Change) error) error {
	var before, after Entry
	left, right := linetree.Side{Source: a.src, Tree: a.tree}, linetree.Side{Source: b.src, Tree: b.tree}
	return linetree.Diff(left, right, pathKeys, linetree.ReadAhead, func(la, lb []byte) error {
		var c Change
		if la != nil {
			if err := ParseLine(la, &before); err != nil {
				return err
			}
			c.Old = &before
		}
		if lb != nil {
			if err := ParseLine(lb, &after); err != nil {
				return err
			}
			c.New = &after
		}
		var changed bool
		if c.Kind, changed = classify(c.Old, c.New, eq); !changed {
			return nil
		}
		return fn(c)
	})
}

// classify tells how two entries of one path differ; false: not at all.
func classify(a, b *Entry, eq Equality) (Kind, bool) {
	switch {
	case a == nil:
		return Added, true
	case b == nil:
		return Removed, true
	case a.Type != b.Type:
		return TypeChanged, true
	case !sameContent(a, b, eq) || !bytes.Equal(a.Target, b.Target) || a.Major != b.Major || a.Minor != b.Minor:
		return Modified, true
	case !sameMetadata(a, b):
		return Metadata, true
	}
	return 0, false
}

// sameContent tells whether two entries of one type have the same content; a hard link's stands elsewhere.
func sameContent(a, b *Entry, eq Equality) bool {
	if a.Size != b.Size {
		return false
	}
	switch {
	case a.Type != File:
		return true
	case eq == ByTime:
		return a.Mtime == b.Mtime
	case eq == ByHash && !a.Hash.IsZero() && !b.Hash.IsZero():
		return a.Hash == b.Hash
	case len(a.Hardlink) > 0 || len(b.Hardlink) > 0:
		return a.Hash == b.Hash
	}
	return a.Tree == b.Tree && slices.Equal(a.Content, b.Content)
}

func sameMetadata(a, b *Entry) bool {
	return a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.User == b.User && a.Group == b.Group && a.Mtime == b.Mtime &&
		a.Error == b.Error && bytes.Equal(a.Hardlink, b.Hardlink) && slices.EqualFunc(a.Xattrs, b.Xattrs, func(x, y Xattr) bool {
		return x.Name == y.Name && bytes.Equal(x.Value, y.Value)
	})
}
