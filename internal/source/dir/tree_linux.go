package dir

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

// ErrNotRegular is the error of Open for what is no regular file (any more).
var ErrNotRegular = errors.New("not a regular file")

// Tree is a folder or a single file; it is a source.Tree.
type Tree struct {
	opts    Options
	root    string // absolute, symlinks followed
	rootFD  int    // the folder; of a single file the folder that it lies in
	single  string // name of the single file's entry; "" for a folder
	base    string // of a single file: its name in rootFD
	parents parents
	names   names
}

var _ source.Tree = (*Tree)(nil)

// Open opens the root: a folder, or a single file of any type. A symlink is followed here, and only here. Errors are
// *fs.PathError: what is not there is fs.ErrNotExist.
func Open(path string, o Options) (*Tree, error) {
	root, err := resolve(path)
	if err != nil {
		return nil, err
	}
	t := &Tree{opts: o, root: root}
	info, err := os.Lstat(t.root)
	if err != nil {
		return nil, err
	}
	folder, mode := t.root, unix.O_RDONLY
	if !info.IsDir() {
		folder, t.base = filepath.Split(t.root)
		if t.single = filepath.Base(path); strings.Trim(t.single, "./") == "" {
			t.single = t.base
		}
		mode = unix.O_PATH
	}
	t.rootFD, err = openRetry(unix.AT_FDCWD, folder, mode|unix.O_DIRECTORY)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	t.parents.init(t.rootFD)
	return t, nil
}

// openRetry is openat with close-on-exec, repeated when a signal interrupts it.
func openRetry(fd int, name string, flags int) (int, error) {
	for {
		got, err := unix.Openat(fd, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return got, err
		}
	}
}

// failed says which system call failed; the caller of this package has the path.
func failed(call string, err error) error { return os.NewSyscallError(call, err) }

// Root is the absolute path of the root, symlinks followed.
func (t *Tree) Root() string { return t.root }

// SingleFile reports whether the root is no folder.
func (t *Tree) SingleFile() bool { return t.single != "" }

// Close releases the root and what Open and Details keep open. No method may run or be called afterwards.
func (t *Tree) Close() error {
	t.parents.close()
	return unix.Close(t.rootFD)
}

// Walk calls fn for every entry in the order of the manifest. See source.Tree; one Walk at a time. ctx ends it between two
// entries; a call that hangs in the system, as on a dead network file system, it cannot end.
func (t *Tree) Walk(ctx context.Context, fn func(*source.Entry) error) error {
	if t.single == "" {
		return t.walk(ctx, fn)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	e := source.Entry{Path: []byte(t.single)}
	name, err := unix.BytePtrFromString(t.base)
	if err != nil {
		return err
	}
	if errno := new(statBuf).at(t.rootFD, name, &e.Stat); errno != 0 {
		return &fs.PathError{Op: "lstat", Path: t.root, Err: errno}
	}
	return fn(&e)
}

func (t *Tree) problem(path []byte, err error) {
	if t.opts.Problem != nil {
		t.opts.Problem(path, err)
	}
}

func (t *Tree) note(path []byte, n Note) {
	if t.opts.Note != nil {
		t.opts.Note(path, n)
	}
}
