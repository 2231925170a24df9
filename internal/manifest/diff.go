package manifest

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
	// ByHash: the same size and hash, wherever it is stored; for manifests of one scope and epoch.
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
func Diff(a, b *Reader, eq Equality, fn func(Change) error) error { panic("manifest: not built yet") }
