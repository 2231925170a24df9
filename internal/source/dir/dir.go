// Package dir reads a folder or a single file of a mounted file system as a source.Tree.
//
// # Walk
//
// On Linux the walk is made of getdents64 and fstatat calls relative to open folders: no path is ever longer than one name,
// so depth and length of paths have no limit, and a folder that is exchanged for a symlink while the walk runs is not followed.
// Several workers read ahead in the order in which the caller gets the entries; what was read and not yet delivered is bounded
// (about 32,000 entries, some 6 MB). Of a folder with very many entries only the names are held at once (length + 9 bytes, and 16 more
// while sorting), the rest in stretches of 1,024 entries. At most 128 folders are open at a time, fewer where RLIMIT_NOFILE says so.
//
// The root itself is followed if it is a symlink; nothing below it is.
//
// # What is left out
//
// By Options.Exclude, MaxSize and CacheTags what the user wants left out; a folder left out is not entered. By OneFileSystem what is
// mounted below the root: the folder it is mounted on stays, empty. Otherwise file systems that hold no data (proc, sysfs, cgroup, devpts,
// the tmpfs of /run and /dev, desktop portals, mounted snapshots, …: see mounts_linux.go) are left out where they are mounted below the root;
// the folder stays, empty. A root that lies inside one of them is read: who names it wants it. Everything that is left out and that
// a user may not expect is told through Options.Note.
//
// # Other systems
//
// Outside Linux a portable walker built on the standard library does the work in one goroutine. It reads no extended attributes and
// no ACLs, leaves out no pseudo file systems, knows no holes, opens by path (so a path has the limits of the system, and a folder exchanged for a symlink
// during the walk may be followed), and on Windows knows no owners, no change times, no inode numbers (so no hard links), no device nodes; the read-only
// attribute is the only part of the mode that is real there.
package dir

import (
	"fmt"

	"firn/internal/source"
)

// Options say what Walk leaves out and whom it tells. The zero value reads everything but pseudo file systems.
type Options struct {
	// Exclude reports whether an entry is left out (a folder with all that is in it); nil leaves out none. path is
	// relative to the root and valid until it returns, as is st. Called by several goroutines at once, for every entry but the root.
	Exclude func(path []byte, dir bool, st *source.Stat) bool
	// MaxSize leaves out regular files with more bytes than this; 0 is no limit.
	MaxSize int64
	// CacheTags leaves out what lies in a folder with a valid CACHEDIR.TAG (https://bford.info/cachedir/), except the tag.
	CacheTags bool
	// OneFileSystem does not enter what is mounted below the root.
	OneFileSystem bool
	// Problem is told what could not be read, by the goroutine that runs Walk, in the order of the walk; path is valid until
	// it returns. An entry that vanished after its folder was listed is told too: errors.Is(err, fs.ErrNotExist).
	Problem func(path []byte, err error)
	// Note is told what was left out for a reason other than Exclude, in the way of Problem.
	Note func(path []byte, n Note)
	// KeyOrder delivers entries in the order in which an object store lists the keys that their paths would be: bytewise, where the name of a folder counts with a
	// slash behind it and every other name with KeySuffix. Otherwise a folder comes where its bare name stands.
	KeyOrder  bool
	KeySuffix string
	// Workers is how many goroutines read, the one that runs Walk included; 0 chooses by the number of cores.
	Workers int
}

// Reason says why something was left out.
type Reason uint8

// The reasons.
const (
	OtherFileSystem  Reason = iota + 1 // Options.OneFileSystem
	PseudoFileSystem                   // nothing that is worth keeping
	NotMounted                         // an automount point that nothing is mounted on
	CacheFolder                        // Options.CacheTags
	TooLarge                           // Options.MaxSize
)

// Note says why something was left out.
type Note struct {
	Reason     Reason
	FileSystem string // its type, where the reason is one
}

// String is the note in words, to stand after the path.
func (n Note) String() string {
	switch n.Reason {
	case OtherFileSystem:
		return "left out: another file system is mounted there"
	case PseudoFileSystem:
		return fmt.Sprintf("left out: %s is no file system with data", n.FileSystem)
	case NotMounted:
		return "left out: an automount point on which nothing is mounted"
	case CacheFolder:
		return "content left out: the folder is tagged as a cache"
	case TooLarge:
		return "left out: larger than the limit"
	}
	return fmt.Sprintf("left out for reason %d", n.Reason)
}
