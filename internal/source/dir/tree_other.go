//go:build !linux

package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firn/internal/source"
)

// ErrNotRegular is the error of Open for what is no regular file (any more).
var ErrNotRegular = errors.New("not a regular file")

// Tree is a folder or a single file; it is a source.Tree.
type Tree struct {
	opts   Options
	root   string // absolute, symlinks followed
	single string // name of the single file's entry; "" for a folder
	names  names
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
	if !info.IsDir() {
		if t.single = filepath.Base(path); strings.Trim(t.single, `./\`) == "" {
			t.single = filepath.Base(t.root)
		}
	}
	return t, nil
}

// Root is the absolute path of the root, symlinks followed.
func (t *Tree) Root() string { return t.root }

// SingleFile reports whether the root is no folder.
func (t *Tree) SingleFile() bool { return t.single != "" }

// Close releases the root.
func (t *Tree) Close() error { return nil }

// locate is the path of an entry for the system.
func (t *Tree) locate(path []byte) (string, error) {
	if t.single != "" {
		if string(path) != t.single {
			return "", os.NewSyscallError("open", fs.ErrNotExist)
		}
		return t.root, nil
	}
	if len(path) == 0 {
		return t.root, nil
	}
	if !fs.ValidPath(string(path)) {
		return "", os.NewSyscallError("open", fs.ErrInvalid)
	}
	return filepath.Join(t.root, filepath.FromSlash(string(path))), nil
}

// cause strips the path, which the caller has.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return os.NewSyscallError(p.Op, p.Err)
	}
	return err
}

// Walk calls fn for every entry in the order of the manifest, in one goroutine. See source.Tree.
func (t *Tree) Walk(ctx context.Context, fn func(*source.Entry) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := os.Lstat(t.root)
	if err != nil {
		return err
	}
	e := source.Entry{Path: []byte(t.single)}
	fill(&e.Stat, info)
	if t.single != "" {
		return fn(&e)
	}
	if err := fn(&e); err != nil {
		return err
	}
	w := walker{t: t, ctx: ctx, fn: fn}
	return w.folder(t.root, nil, e.Stat.Dev)
}

type walker struct {
	t     *Tree
	ctx   context.Context
	fn    func(*source.Entry) error
	entry source.Entry
}

// folder walks what is in a folder.
func (w *walker) folder(abs string, path []byte, dev uint64) error {
	list, err := os.ReadDir(abs)
	if err != nil {
		if len(path) == 0 {
			return err
		}
		w.problem(path, err)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int {
		if o := &w.t.opts; o.KeyOrder {
			return compareKeys([]byte(a.Name()), o.ending(a.IsDir()), []byte(b.Name()), o.ending(b.IsDir()))
		}
		return strings.Compare(a.Name(), b.Name())
	})
	if w.t.opts.CacheTags && tagged(abs, list) {
		list = slices.DeleteFunc(list, func(e fs.DirEntry) bool { return e.Name() != cacheTag })
		defer func() { w.note(path, Note{Reason: CacheFolder}) }()
	}
	base := len(path)
	for _, item := range list {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		if path = path[:base]; base > 0 {
			path = append(path, '/')
		}
		path = append(path, item.Name()...)
		if err := w.item(filepath.Join(abs, item.Name()), path, item, dev); err != nil {
			return err
		}
	}
	return nil
}

// item delivers one entry, and if it is a folder what is in it.
func (w *walker) item(abs string, path []byte, item fs.DirEntry, dev uint64) error {
	info, err := item.Info()
	if err != nil {
		w.problem(path, err)
		return nil
	}
	o, e := &w.t.opts, &w.entry
	fill(&e.Stat, info)
	isDir := e.Stat.Type == source.Dir
	if o.Exclude != nil && o.Exclude(path, isDir, &e.Stat) {
		return nil
	}
	if e.Stat.Type == source.File && o.MaxSize > 0 && e.Stat.Size > o.MaxSize {
		w.note(path, Note{Reason: TooLarge})
		return nil
	}
	e.Path = path
	here := e.Stat.Dev
	if err := w.fn(e); err != nil || !isDir {
		return err
	}
	if o.OneFileSystem && here != dev {
		w.note(path, Note{Reason: OtherFileSystem})
		return nil
	}
	return w.folder(abs, path, here)
}

func (w *walker) problem(path []byte, err error) {
	if w.t.opts.Problem != nil {
		w.t.opts.Problem(path, cause(err))
	}
}

func (w *walker) note(path []byte, n Note) {
	if w.t.opts.Note != nil {
		w.t.opts.Note(path, n)
	}
}

const (
	cacheTag       = "CACHEDIR.TAG"
	cacheSignature = "Signature: 8a477f597d28d172789f06886806bc55"
)

// tagged reports whether the folder has a valid cache tag.
func tagged(abs string, list []fs.DirEntry) bool {
	for _, item := range list {
		if item.Name() != cacheTag || !item.Type().IsRegular() {
			continue
		}
		f, err := os.Open(filepath.Join(abs, cacheTag))
		if err != nil {
			return false
		}
		defer f.Close()
		var b [len(cacheSignature)]byte
		_, err = io.ReadFull(f, b[:])
		return err == nil && string(b[:]) == cacheSignature
	}
	return false
}

// Details reads the target of a symlink. Extended attributes are not read on this system.
func (t *Tree) Details(path []byte, st *source.Stat) (source.Details, error) {
	if st.Type != source.Symlink {
		return source.Details{}, nil
	}
	abs, err := t.locate(path)
	if err != nil {
		return source.Details{}, err
	}
	target, err := os.Readlink(abs)
	if err != nil {
		return source.Details{}, cause(err)
	}
	return source.Details{Target: target}, nil
}

// content is an open regular file; the system is not asked for holes.
type content struct{ *os.File }

// Open opens a regular file for reading, without waiting for what is not a file (any more).
func (t *Tree) Open(path []byte) (source.Content, error) {
	abs, err := t.locate(path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(abs, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, openError(cause(err))
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		if err != nil {
			return nil, cause(err)
		}
		return nil, ErrNotRegular
	}
	return content{f}, nil
}

func (c content) Stat() (source.Stat, error) {
	var st source.Stat
	info, err := c.File.Stat()
	if err == nil {
		fill(&st, info)
	}
	return st, cause(err)
}

func (c content) NextData(offset, size int64) (start, end int64, err error) {
	return min(offset, size), size, nil
}
