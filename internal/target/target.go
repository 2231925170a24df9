// Package target writes a tree into a folder: the last step of a restore.
package target

import (
	"io"

	"firn/internal/source"
)

// Overwrite says what happens to what is in the way of an entry.
type Overwrite uint8

// The policies.
const (
	Never   Overwrite = iota // what exists stays
	Changed                  // a file of the same size and modification time stays, the rest is replaced
	Always                   // everything is replaced, unless FileSpec.Same finds the content equal
)

// Options of a target.
type Options struct {
	Overwrite   Overwrite
	Delete      bool // a folder with content that is in the way of something else is removed; else that is an error
	NoOwner     bool // leave owners as they come
	OwnerByName bool // where the system knows Meta.User or Group, its number counts instead of Meta.UID or GID
	NoXattrs    bool // leave out extended attributes, ACLs and capabilities with them
}

// Meta is what is applied to an entry when its content is there.
type Meta struct {
	Type        source.Type
	Mode        uint32 // 07777
	UID, GID    int64  // -1: unknown, left as it comes
	User, Group string // for Options.OwnerByName
	Rdev        uint64 // char, block: unix.Mkdev(major, minor)
	MtimeSec    int64
	MtimeNsec   int32
	Xattrs      []source.Xattr
}

// FileSpec describes a regular file to write.
type FileSpec struct {
	Meta
	Size   int64
	Sparse bool // has holes: no space is allocated in advance
	// Resume takes up what an interrupted run has left of this file: see File.Resumed.
	Resume bool
	// Same compares the content of an existing file of the right size, where the policy does not decide alone; nil: not equal.
	Same func(existing io.ReaderAt) (bool, error)
}

// Outcome is what became of an entry.
type Outcome uint8

// The outcomes.
const (
	Created  Outcome = iota // was not there
	Replaced                // something else was there
	Kept                    // what was there stays: nothing to write; Finish applies metadata if that is wanted
	Lacking                 // the user may not make it (device nodes): collected in Limits, no Finish
)

// Limit is a kind of thing that could not be set for lack of rights or because the file system cannot hold it.
type Limit struct {
	Kind  string // "owner", "group", "device node", "setuid bit", "setgid bit", "xattr user", "xattr security", "acl", …
	Count int64
	Path  string // of the first
	Err   error  // of the first
}
