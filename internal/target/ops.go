package target

import (
	"errors"

	"firn/internal/source"
)

var errLater = errors.New("not yet written")

// Target is an open folder. Its methods may be called by several goroutines at once, for different paths.
type Target struct{}

// Open opens dir, which is made with its parents if it is not there.
func Open(dir string, o Options) (*Target, error) { return nil, errLater }

// Mkdir makes a folder, 0700 until Finish; its parents must be there. "" is the target itself. An existing folder is Kept.
func (t *Target) Mkdir(path []byte) (Outcome, error) { return 0, errLater }

// CreateFile begins a regular file; File is nil when the outcome is Kept.
func (t *Target) CreateFile(path []byte, spec *FileSpec) (*File, Outcome, error) {
	return nil, 0, errLater
}

// WriteFile makes a regular file with this content and finishes it.
func (t *Target) WriteFile(path []byte, spec *FileSpec, content []byte) (Outcome, error) {
	return 0, errLater
}

// Symlink, Link (existing and path both below the target) and Mknod (by m.Type: fifo, char, block, socket) make the others.
func (t *Target) Symlink(path []byte, to string) (Outcome, error) { return 0, errLater }
func (t *Target) Link(existing, path []byte) (Outcome, error)     { return 0, errLater }
func (t *Target) Mknod(path []byte, m *Meta) (Outcome, error)     { return 0, errLater }

// Finish applies metadata to anything but a file begun with CreateFile; folders last, the deepest first.
func (t *Target) Finish(path []byte, m *Meta) error { return errLater }

// RemoveExtra removes from a folder everything for whose name keep is false; removed (may be nil) is told each entry removed directly in it.
func (t *Target) RemoveExtra(folder []byte, keep func(name []byte) bool, removed func(path []byte, typ source.Type)) error {
	return errLater
}

// Limits tells what could not be set.
func (t *Target) Limits() []Limit { return nil }

// Close releases the folder.
func (t *Target) Close() error { return nil }

// File is a regular file in work. WriteAt and ReadAt may be called by several goroutines at once; then Finish or Abort once.
type File struct{}

// Resumed reports whether the file has content of an interrupted run, for the caller to check with ReadAt.
func (f *File) Resumed() bool                            { return false }
func (f *File) WriteAt(p []byte, off int64) (int, error) { return 0, errLater }
func (f *File) ReadAt(p []byte, off int64) (int, error)  { return 0, errLater }

// Punch makes a hole; only a resumed file needs it, in a new one what is not written is a hole.
func (f *File) Punch(off, n int64) error { return errLater }

// Finish sets size and metadata, closes the file and gives it its name.
func (f *File) Finish() error { return errLater }

// Abort closes and removes it; with keep what is there stays for a later Resume.
func (f *File) Abort(keep bool) error { return errLater }
