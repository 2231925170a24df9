// Package source is the contract between the backup and whatever has the data: a tree of files, read in the order of the manifest.
package source

import (
	"context"
	"io"
)

// Type is what an entry is.
type Type uint8

// The types of entries, in the words of the manifest (FORMAT §7.4).
const (
	File Type = iota
	Dir
	Symlink
	FIFO
	Char
	Block
	Socket
)

// Stat is what one lstat tells; enough to see that nothing changed. It is comparable.
type Stat struct {
	Type      Type
	Mode      uint32 // permission bits with setuid, setgid and sticky: 07777
	UID, GID  uint32
	Nlink     uint32
	Rdev      uint64 // char, block: device number as the system codes it
	Dev       uint64 // device of the file system; not stable over reboots
	Inode     uint64
	Size      int64
	MtimeSec  int64
	CtimeSec  int64
	MtimeNsec int32
	CtimeNsec int32
}

// Entry is one file of a tree.
type Entry struct {
	Path []byte // relative to the root, as in the manifest; valid until the callback returns
	Stat Stat
}

// Tree is a folder or a single file. Its methods may be called by several goroutines at once, Walk by one at a time.
type Tree interface {
	// Walk calls fn for every entry in the order of the manifest: bytewise by path component, a folder before what is in it,
	// the root first with the path "" (a single file: one entry with its name). What cannot be read is
	// told to the tree's problem function and left out; Walk itself fails only if the root cannot be read, ctx ends, or fn fails.
	Walk(ctx context.Context, fn func(*Entry) error) error
	// Details reads what lstat does not tell: link target, extended attributes.
	Details(path []byte, st *Stat) (Details, error)
	// Open opens a regular file for reading.
	Open(path []byte) (Content, error)
	// Close releases the root.
	Close() error
}

// Details of an entry.
type Details struct {
	Target string  // symlink
	Xattrs []Xattr // sorted by name
}

// Xattr is one extended attribute.
type Xattr struct {
	Name  string
	Value []byte
}

// Content is an open regular file.
type Content interface {
	io.Reader
	io.ReaderAt
	io.Closer
	// Stat is fstat now, to notice a file that changes while it is read.
	Stat() (Stat, error)
	// NextData returns the next stretch of data at or after offset: [start, end). At the end of the data start = end = size of the
	// file. File systems that cannot tell report everything as data.
	NextData(offset, size int64) (start, end int64, err error)
}
