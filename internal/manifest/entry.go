// Package manifest is the list of what a snapshot holds: one JSON line for each file, sorted by path, kept as a line tree (FORMAT §7.3,
// §7.4; package linetree). It writes and reads lines, looks paths up, walks subtrees, compares two manifests without reading what
// they share, and lists the chunks that a manifest needs.
//
// A line, with its newline, has its members in the order of FORMAT §7.4, integers without fraction or exponent, strings escaped as in
// RFC 8785 §3.2.2.2:
//
//	{"path":"a/b","type":"file","mode":"0644","uid":0,"gid":0,"user":"root","group":"root","mtime":"1690000000.000000000",
//	 "size":5,"hash":"<24 hex>","content":[["<64 hex>",0,5]]}
//
// Reading is strict about everything that a restore relies on and ignores members that it does not know.
package manifest

import (
	"firn/internal/digest"
	"firn/internal/manifest/jsonline"
	"firn/internal/manifest/linetree"
)

// Limits of lines; readers refuse more.
const (
	MaxPath   = 128 << 10 // bytes of a path, a link's target; NTFS allows 32,767 UTF-16 units, about 96 KiB of UTF-8
	MaxInline = 64        // pieces in a line; content in more has a tree of its own
	MaxPiece  = 16 << 20  // bytes: offset + length of a piece that is no hole; a chunk has no more content (FORMAT §2.1)
)

// Type is what an entry is. Its values are those of source.Type, in the same order.
type Type uint8

// The types of entries.
const (
	File Type = iota
	Dir
	Symlink
	FIFO
	Char
	Block
	Socket
)

var typeNames = [...]string{"file", "dir", "symlink", "fifo", "char", "block", "socket"}

// String returns the word that stands in the manifest.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return "unknown"
}

// Time is a point in time: Sec seconds since 1970 UTC, possibly negative, and then Nsec (0 to 999,999,999) nanoseconds later.
type Time struct {
	Sec  int64
	Nsec int32
}

// Xattr is an extended attribute.
type Xattr struct {
	Name  string // any bytes but NUL, not empty
	Value []byte
}

// Piece is a stretch of a file: Length bytes that stand at Offset of the chunk's content, or, where Chunk is zero, a hole (Offset 0).
type Piece struct {
	Chunk  digest.Chunk
	Offset uint32
	Length int64 // at least 1
}

// IsHole reports whether p is a hole.
func (p Piece) IsHole() bool { return p.Chunk.IsZero() }

// Hash is the first 12 bytes of a file hash (FORMAT §7.4); zero: none.
type Hash [12]byte

// IsZero reports whether h is unset.
func (h Hash) IsZero() bool { return h == Hash{} }

// Tree names a line tree.
type Tree = linetree.Tree

// CorruptError tells that a stored chunk of a manifest or content tree breaks the format.
type CorruptError = linetree.CorruptError

// Source has the chunks of trees.
type Source = linetree.Source

// Sink takes the chunks of a tree that is being built.
type Sink = linetree.Sink

// Entry is one line. What ParseLine puts into it lies in memory that the entry keeps and the next ParseLine reuses (never in memory that the
// caller put there): slices do not outlive that call, Clone makes a copy that does.
type Entry struct {
	Path     []byte // relative to the source, components joined by '/'; empty: the source itself, a folder
	Type     Type
	Mode     uint32 // permission bits with setuid, setgid and sticky: 07777
	UID, GID int64  // −1: unknown
	User     string // names; empty: unknown
	Group    string
	Mtime    Time
	Size     int64   // file: bytes, holes included; what was read, where Error is set
	Hash     Hash    // file of size > 0; comparable within one scope and epoch
	Content  []Piece // file: lengths add up to Size; empty if Tree is set, or Hardlink
	Tree     Tree    // file in more than MaxInline pieces; else zero
	Hardlink []byte  // not dir: path of an earlier entry that is the same inode
	Target   []byte  // symlink
	Major    uint32  // char, block: device number
	Minor    uint32
	Xattrs   []Xattr // sorted by name, bytewise, without duplicates
	Error    string  // the file could not be read whole

	own memory
}

// memory is what an entry's slices lie in after ParseLine.
type memory struct {
	bytes  []byte // Path, Hardlink, Target, values of Xattrs
	pieces []Piece
	xattrs []Xattr
	scan   jsonline.Scanner
}

// Clone returns a copy that shares nothing with e.
func (e *Entry) Clone() *Entry {
	c := *e
	c.own = memory{}
	c.Path = append([]byte(nil), e.Path...)
	c.Content = append([]Piece(nil), e.Content...)
	c.Hardlink = append([]byte(nil), e.Hardlink...)
	c.Target = append([]byte(nil), e.Target...)
	c.Xattrs = append([]Xattr(nil), e.Xattrs...)
	for i := range c.Xattrs {
		c.Xattrs[i].Value = append([]byte(nil), c.Xattrs[i].Value...)
	}
	return &c
}
