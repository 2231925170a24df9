// Package target writes a tree into a folder: the last step of a restore.
//
// # Safety
//
// Whatever the paths and link targets of a tree say, nothing outside the target folder is written, changed or removed:
//   - Paths are slash-separated names below the folder. An empty name, ".", "..", a NUL and, on Windows, what the system would read in
//     another way (a colon, a backslash, CON, a name that ends in a dot or space) is ErrPath.
//   - The folder itself is opened as the user names it, symlinks followed. Below it no symlink is followed: on Linux folders are opened by
//     openat2 with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS, or with O_NOFOLLOW name by name where the kernel has no openat2, and everything else
//     works on one name in an open folder. Elsewhere os.Root confines all calls: a symlink that somebody puts there may be followed within the
//     folder, never out of it.
//   - An existing regular file is never written into and never gets new metadata while it has other names (hard links): it is
//     replaced. So a link to a foreign file, put there by another user, is harmless.
//   - Who can rename folders inside the target while a restore runs can move what is being restored, not what it writes to.
//
// # Interruption
//
// No name ever shows a half-written file that could pass for a whole one. A file of more than 256 KiB, one that replaces another, and one
// with FileSpec.Resume is written as ".firn-restore-<16 hex digits of the SHA-256 of its name>" in the same folder and renamed when it is
// complete with its metadata. A small new file is created under its own name, which saves a rename (a quarter of the time for
// 300,000 tiny files), with mode 0200, and gets its mode last: a file of mode 0200, owned by the user, with one name and no larger than
// the one to restore is taken for one that was interrupted, and replaced under every policy. A temporary file left behind is taken over (Resume) or replaced
// by the next run; it is locked (flock) while in work, so that a second restore into the same folder cannot take it. Outside Linux all
// files are written under the temporary name.
//
// A folder has mode 01700 until it gets its metadata, when all below it is there. Nobody gives a folder that mode, so one that has it, and belongs to the user, is one that an interrupted run has made.
//
// Nothing is synced to disk file by file; Sync does that for all, once.
//
// # What a user may not do
//
// Owners, device nodes, some attributes: what fails for lack of rights, or because the file system cannot hold it, is counted by kind in Limits and
// is no error. Where the owner or group of a file cannot be set, its setuid or setgid bit is not set either.
package target

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"firn/internal/source"
)

// Errors that callers tell apart; they come wrapped, without the path, which the caller has.
var (
	ErrPath      = errors.New("path cannot be written here")
	ErrInTheWay  = errors.New("something else is in the way")
	ErrNotEmpty  = errors.New("a folder with content is in the way")
	ErrCaseClash = errors.New("differs from another name by case only, and the file system keeps one of them")
	ErrBusy      = errors.New("another restore is writing this file")
	ErrMount     = errors.New("a file system is mounted there")
)

// Overwrite says what happens to what is in the way of an entry.
type Overwrite uint8

// The policies. Folders stay under each of them, and what is in them that the tree has not.
const (
	Never   Overwrite = iota // what exists stays
	Changed                  // a file of the same size and modification time stays, the rest is replaced
	Always                   // everything is replaced, unless FileSpec.Same finds the content equal
)

// Options of a target.
type Options struct {
	Overwrite   Overwrite
	Delete      bool // a folder with content that is in the way of something else is removed; else that is ErrNotEmpty
	NoOwner     bool // leave owners as they come
	OwnerByName bool // where the system knows Meta.User or Group, its number counts instead of Meta.UID or GID
	NoXattrs    bool // leave out extended attributes, ACLs and capabilities with them
	Fresh       bool // the target itself, where it is made, is marked as unfinished, too: Finish follows, or Unmark
	Durable     bool // what Sync returned for is on the disk: where the system cannot sync all at once, each file is synced as it is closed
}

// unfinishedDir is the mode of a folder that was made and has no metadata yet.
const unfinishedDir = 0o1700

// isUnfinished tells it by mode bits; the group's bit is inherited in some folders.
func isUnfinished(mode uint32) bool { return mode&0o7777&^0o2000 == unfinishedDir }

// Unfinished reports whether a folder is one that an interrupted run has made and given no metadata yet.
func Unfinished(info fs.FileInfo) bool {
	return info.IsDir() && info.Mode().Perm() == unfinishedDir&0o777 && info.Mode()&(fs.ModeSticky|fs.ModeSetuid) == fs.ModeSticky
}

// makeRoot makes the target where it is not there.
func makeRoot(dir string, o Options) error {
	if _, err := os.Lstat(dir); !o.Fresh || runtime.GOOS == "windows" || !errors.Is(err, fs.ErrNotExist) {
		return os.MkdirAll(dir, 0o777)
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(dir)), 0o777); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700|fs.ModeSticky); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return os.MkdirAll(dir, 0o777) // which is an error where it is no folder
}

// Unmark gives a target that is still marked as unfinished an ordinary mode: nothing of the tree was to be written there after all.
func Unmark(dir string) error {
	if info, err := os.Stat(dir); err != nil || !Unfinished(info) {
		return err
	}
	return os.Chmod(dir, 0o755)
}

// Meta is what is applied to an entry when its content is there.
type Meta struct {
	Type        source.Type
	Mode        uint32 // 07777
	UID, GID    int64  // -1: unknown, left as it comes
	User, Group string // for Options.OwnerByName
	Major       uint32 // char, block
	Minor       uint32
	MtimeSec    int64
	MtimeNsec   int32
	Xattrs      []source.Xattr
}

// FileSpec describes a regular file to write. It must stay as it is until the File is finished.
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
	Lacking                 // the user or the system may not make it (device nodes): counted in Limits, no Finish
	Resumed                 // a folder that an interrupted run has made: it may hold something, and Finish is due
)

// directMax is the size up to which a new file is written under its own name.
const directMax = 256 << 10
