//go:build !linux

package target

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"sync"
	"time"

	"firn/internal/source"
)

// Target is an open folder. Its methods may be called by several goroutines at once, for different paths.
type Target struct {
	opts   Options
	root   *os.Root
	limits limits
	owners owners
	cases  cases
}

// Open opens dir, which is made with its parents if it is not there. Errors are *fs.PathError.
func Open(dir string, o Options) (*Target, error) {
	if err := makeRoot(dir, o); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Target{opts: o, root: root}, nil
}

// Sync does nothing on this system, which writes to disk in its own time; with Options.Durable files are there already.
func (t *Target) Sync() error { return nil }

// Close releases the folder. No method may run or be called afterwards.
func (t *Target) Close() error { return t.root.Close() }

// place is the path as os.Root wants it.
func place(path []byte) (string, error) {
	if len(path) == 0 {
		return "", fmt.Errorf("%w: it is the target itself", ErrPath)
	}
	return string(path), check(path)
}

// cases remembers the names of the folder in which something was found in the way, to tell names that differ by case only.
type cases struct {
	mu     sync.Mutex
	folder string
	names  map[string]bool
}

// exact finds out whether what is in the way has the very name; only systems whose file systems usually fold cases are asked.
func (t *Target) exact(path []byte) error {
	if runtime.GOOS != "windows" && runtime.GOOS != "darwin" {
		return nil
	}
	folder, name := split(path)
	t.cases.mu.Lock()
	defer t.cases.mu.Unlock()
	if t.cases.names[string(name)] && t.cases.folder == string(folder) {
		return nil
	}
	list, err := t.list(string(folder))
	if err != nil {
		return err
	}
	t.cases.folder, t.cases.names = string(folder), map[string]bool{}
	for _, e := range list {
		t.cases.names[e.Name()] = true
	}
	if !t.cases.names[string(name)] {
		return ErrCaseClash
	}
	return nil
}

func (t *Target) list(folder string) ([]fs.DirEntry, error) {
	if folder == "" {
		folder = "."
	}
	f, err := t.root.Open(folder)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	list, err := f.ReadDir(-1)
	return list, cause(err)
}

// Mkdir makes a folder, of the mode that marks it as unfinished until Finish; its parents must be there. "" is the target itself. An existing folder is Kept under
// every policy, and made usable by its owner until Finish; one that an interrupted run has made is Resumed. Windows has no such modes.
func (t *Target) Mkdir(path []byte) (Outcome, error) {
	if len(path) == 0 {
		return Kept, nil
	}
	name, err := place(path)
	if err != nil {
		return 0, err
	}
	outcome, err := t.make(path, source.Dir, func() error { return t.root.Mkdir(name, 0o700) }, func(info fs.FileInfo) bool { return info.IsDir() })
	switch {
	case err != nil || runtime.GOOS == "windows":
	case outcome == Kept:
		if info, err := t.root.Lstat(name); err == nil && Unfinished(info) {
			outcome = Resumed
		} else if err == nil && info.Mode().Perm()&0o700 != 0o700 {
			_ = t.root.Chmod(name, info.Mode()|0o700)
		}
	default:
		_ = t.root.Chmod(name, fileMode(unfinishedDir)) // mkdir gives no such bit everywhere
	}
	return outcome, err
}

// make makes an entry by create, and deals with what is in its way; same finds that it is already there.
func (t *Target) make(path []byte, typ source.Type, create func() error, same func(fs.FileInfo) bool) (Outcome, error) {
	err := create()
	if err == nil {
		return Created, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return 0, cause(err)
	}
	info, err := t.root.Lstat(string(path))
	if err != nil {
		return 0, cause(err)
	}
	if err := t.exact(path); err != nil {
		return 0, err
	}
	switch {
	case same(info):
		return Kept, nil
	case t.opts.Overwrite == Never && typ == source.Dir:
		return 0, ErrInTheWay
	case t.opts.Overwrite == Never:
		return Kept, nil
	}
	if err := t.clear(string(path), info); err != nil {
		return 0, err
	}
	return Replaced, cause(create())
}

// clear removes what is in the way.
func (t *Target) clear(name string, info fs.FileInfo) error {
	if !info.IsDir() {
		return cause(t.root.Remove(name))
	}
	list, err := t.list(name)
	switch {
	case err != nil:
		return err
	case len(list) > 0 && !t.opts.Delete:
		return ErrNotEmpty
	}
	return cause(t.root.RemoveAll(name))
}

// Symlink makes a symlink; an existing one with the same target is Kept.
func (t *Target) Symlink(path []byte, to string) (Outcome, error) {
	name, err := place(path)
	if err != nil {
		return 0, err
	}
	return t.make(path, source.Symlink, func() error { return t.root.Symlink(to, name) }, func(info fs.FileInfo) bool {
		got, err := t.root.Readlink(name)
		return info.Mode()&fs.ModeSymlink != 0 && err == nil && got == to
	})
}

// Link gives an entry that was restored before a second name.
func (t *Target) Link(existing, path []byte) (Outcome, error) {
	from, err := place(existing)
	if err != nil {
		return 0, err
	}
	name, err := place(path)
	if err != nil {
		return 0, err
	}
	return t.make(path, source.File, func() error { return t.root.Link(from, name) }, func(info fs.FileInfo) bool {
		other, err := t.root.Lstat(from)
		return err == nil && os.SameFile(info, other)
	})
}

// Mknod counts what it was asked for: special files are not made on this system.
func (t *Target) Mknod(path []byte, m *Meta) (Outcome, error) {
	if _, err := place(path); err != nil {
		return 0, err
	}
	t.limits.add(specialKind(m.Type), path, errors.ErrUnsupported)
	return Lacking, nil
}

// Finish applies metadata to anything but a file that CreateFile has begun; folders last, the deepest first.
func (t *Target) Finish(path []byte, m *Meta) error {
	name := "."
	if len(path) > 0 {
		var err error
		if name, err = place(path); err != nil {
			return err
		}
	}
	info, err := t.root.Lstat(name)
	if err != nil {
		return cause(err)
	}
	if info.IsDir() != (m.Type == source.Dir) || (info.Mode()&fs.ModeSymlink != 0) != (m.Type == source.Symlink) {
		return ErrInTheWay
	}
	return t.apply(name, m, path)
}

// apply sets owner, times and mode. Of a symlink only the owner can be set here.
func (t *Target) apply(name string, m *Meta, path []byte) error {
	var errs []error
	limited := func(kind string, err error) {
		switch {
		case err == nil:
		case errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported):
			t.limits.add(kind, path, cause(err))
		default:
			errs = append(errs, cause(err))
		}
	}
	if len(m.Xattrs) > 0 && !t.opts.NoXattrs {
		limited(xattrKind(m.Xattrs[0].Name), errors.ErrUnsupported)
	}
	mode := m.Mode
	uid, gid := t.owners.of(m, t.opts.OwnerByName)
	if runtime.GOOS != "windows" && !t.opts.NoOwner && (uid >= 0 || gid >= 0) {
		err := t.root.Lchown(name, int(uid), int(gid))
		if limited("owner", err); err != nil {
			mode &^= 0o6000
		}
	} else {
		mode &^= 0o6000
	}
	if m.Type == source.Symlink {
		return errors.Join(errs...)
	}
	limited("time", t.root.Chtimes(name, time.Time{}, time.Unix(m.MtimeSec, int64(m.MtimeNsec))))
	limited("mode", t.root.Chmod(name, fileMode(mode)))
	return errors.Join(errs...)
}

// fileMode translates mode bits to those of the standard library.
func fileMode(mode uint32) fs.FileMode {
	out := fs.FileMode(mode & 0o777)
	for bit, flag := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if mode&bit != 0 {
			out |= flag
		}
	}
	return out
}

// RemoveExtra removes from a folder everything for whose name keep is false, folders with all that is in them; symlinks are not followed. removed
// (may be nil) is told each entry removed directly in the folder. It goes on after an error; errors come joined. No file of the
// folder may be in work meanwhile.
func (t *Target) RemoveExtra(folder []byte, keep func(name []byte) bool, removed func(path []byte, typ source.Type)) error {
	if err := check(folder); err != nil {
		return err
	}
	list, err := t.list(string(folder))
	if err != nil {
		return err
	}
	var errs []error
	for _, e := range list {
		if keep([]byte(e.Name())) {
			continue
		}
		path := join(folder, e.Name())
		if err := t.root.RemoveAll(string(path)); err != nil {
			errs = append(errs, err)
		} else if removed != nil {
			removed(path, typeOf(e.Type()))
		}
	}
	return errors.Join(errs...)
}

func typeOf(mode fs.FileMode) source.Type {
	switch mode.Type() {
	case fs.ModeDir:
		return source.Dir
	case fs.ModeSymlink:
		return source.Symlink
	case fs.ModeNamedPipe:
		return source.FIFO
	case fs.ModeSocket:
		return source.Socket
	case fs.ModeDevice:
		return source.Block
	case fs.ModeDevice | fs.ModeCharDevice:
		return source.Char
	}
	return source.File
}

// File is a regular file in work. WriteAt, ReadAt and Punch may be called by several goroutines at once; then Finish or Abort once.
type File struct {
	t       *Target
	f       *os.File
	spec    *FileSpec
	path    []byte
	temp    string
	resumed bool
}

// CreateFile begins a regular file; File is nil when the outcome is Kept.
func (t *Target) CreateFile(path []byte, spec *FileSpec) (*File, Outcome, error) {
	name, err := place(path)
	if err != nil {
		return nil, 0, err
	}
	outcome := Created
	if info, err := t.root.Lstat(name); err == nil {
		kept, err := t.judge(path, info, spec)
		if kept || err != nil {
			return nil, Kept, err
		}
		outcome = Replaced
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, cause(err)
	}
	folder, base := split(path)
	f := &File{t: t, spec: spec, path: bytes.Clone(path), temp: string(join(folder, tempName(string(base))))}
	if err := f.open(); err != nil {
		return nil, 0, cause(err)
	}
	return f, outcome, nil
}

// open makes the temporary file, or takes up the one of an interrupted run.
func (f *File) open() error {
	root := f.t.root
	var err error
	f.f, err = root.OpenFile(f.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := root.Lstat(f.temp)
	if err == nil && f.spec.Resume && info.Mode().IsRegular() && info.Size() <= f.spec.Size {
		f.resumed = info.Size() > 0
		f.f, err = root.OpenFile(f.temp, os.O_RDWR, 0)
		return err
	}
	if err := root.Remove(f.temp); err != nil {
		return err
	}
	f.f, err = root.OpenFile(f.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	return err
}

// judge decides about what is in the way; a folder it removes if it may, the rest is replaced when the file is complete.
func (t *Target) judge(path []byte, info fs.FileInfo, spec *FileSpec) (kept bool, err error) {
	if err := t.exact(path); err != nil {
		return false, err
	}
	switch {
	case t.opts.Overwrite == Never:
		return true, nil
	case info.IsDir():
		return false, t.clear(string(path), info)
	case !info.Mode().IsRegular() || info.Size() != spec.Size:
		return false, nil
	case t.opts.Overwrite == Changed && info.ModTime().Equal(time.Unix(spec.MtimeSec, int64(spec.MtimeNsec))):
		return true, nil
	case spec.Same == nil:
		return false, nil
	}
	f, err := t.root.Open(string(path))
	if err != nil {
		return false, nil // what cannot be read is not the same
	}
	defer f.Close()
	return spec.Same(f)
}

// Resumed reports whether the file has content of an interrupted run, for the caller to check with ReadAt: nothing says that
// it is right, and between its pieces may be holes.
func (f *File) Resumed() bool { return f.resumed }

// WriteAt writes all of p.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.f.WriteAt(p, off)
	return n, cause(err)
}

// ReadAt reads what was written, or left by an interrupted run.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.f.ReadAt(p, off)
	if err != io.EOF {
		err = cause(err)
	}
	return n, err
}

// Punch writes zeros over what an interrupted run has left; in a new file what is not written reads as zeros.
func (f *File) Punch(off, n int64) error {
	info, err := f.f.Stat()
	if err != nil {
		return cause(err)
	}
	n = min(n, info.Size()-off)
	zeros := make([]byte, max(0, min(n, 1<<20)))
	for n > 0 {
		k, err := f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

// Finish sets size and metadata, closes the file and gives it its name. If the content cannot be completed the file is removed.
// An error of metadata leaves the complete file there.
func (f *File) Finish() error {
	if f.f == nil {
		return os.ErrClosed
	}
	if err := f.f.Truncate(f.spec.Size); err != nil {
		return errors.Join(cause(err), f.Abort(false))
	}
	err := errors.Join(f.sync(), f.f.Close())
	f.f = nil
	if err != nil {
		return errors.Join(cause(err), cause(f.t.root.Remove(f.temp)))
	}
	metaErr := f.t.apply(f.temp, &f.spec.Meta, f.path)
	if err := f.t.root.Rename(f.temp, string(f.path)); err != nil {
		return errors.Join(cause(err), cause(f.t.root.Remove(f.temp)))
	}
	return metaErr
}

func (f *File) sync() error {
	if !f.t.opts.Durable {
		return nil
	}
	return f.f.Sync()
}

// Abort closes and removes the file; with keep, what was written stays under the temporary name for a later Resume.
func (f *File) Abort(keep bool) error {
	if f.f == nil {
		return nil
	}
	var err error
	if keep {
		err = f.sync()
	}
	err = errors.Join(err, f.f.Close())
	f.f = nil
	if keep {
		return cause(err)
	}
	return errors.Join(cause(err), cause(f.t.root.Remove(f.temp)))
}

// WriteFile makes a regular file with this content, of spec.Size bytes, and finishes it, unless the outcome is Kept.
func (t *Target) WriteFile(path []byte, spec *FileSpec, content []byte) (Outcome, error) {
	f, outcome, err := t.CreateFile(path, spec)
	if err != nil || f == nil {
		return outcome, err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return 0, errors.Join(err, f.Abort(false))
	}
	return outcome, f.Finish()
}
