package sync

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"firn/internal/bucket"
	"firn/internal/event"
	"firn/internal/source"
	"firn/internal/source/dir"
)

// sealedEnd is what follows the path of a file in the key of its encrypted object.
const sealedEnd = ".age"

// tempStart begins the names under which package target writes.
const tempStart = ".firn-restore-"

// maxFollow bounds how many symlinks to folders may lie within one another.
const maxFollow = 40

// folder is a local side that is open.
type folder struct {
	r      *run
	root   string
	tree   *dir.Tree // nil: it does not exist
	suffix string
	id     [2]uint64 // device and inode at the beginning
	isFrom bool
}

// openFolder opens a local side. As a target it need not be there.
func (r *run) openFolder(p *Place, isFrom bool) (*folder, error) {
	f := &folder{r: r, root: p.Folder, isFrom: isFrom}
	if len(r.o.Recipients) > 0 && isFrom || len(r.o.Identities) > 0 && !isFrom {
		f.suffix = sealedEnd
	}
	tree, err := dir.Open(p.Folder, f.options("", nil))
	switch {
	case err == nil:
	case !isFrom && errors.Is(err, fs.ErrNotExist):
		return f, nil
	default:
		return nil, &PlaceError{Place: p.Folder, Doing: "read", Err: err}
	}
	if tree.SingleFile() {
		_ = tree.Close()
		return nil, &PlaceError{Place: p.Folder, Doing: "read", Err: ErrFile}
	}
	f.tree = tree
	f.id, err = identity(tree.Root())
	return f, err
}

// identity tells two folders apart, where the system can.
func identity(path string) (id [2]uint64, err error) {
	t, err := dir.Open(path, dir.Options{})
	if err != nil {
		return id, err
	}
	defer func() { _ = t.Close() }()
	stop := errors.New("enough")
	err = t.Walk(context.Background(), func(e *source.Entry) error {
		id = [2]uint64{e.Stat.Dev, e.Stat.Inode}
		return stop
	})
	if errors.Is(err, stop) {
		err = nil
	}
	return id, err
}

// same fails where another folder lies in the place of the one that was opened.
func (f *folder) same() error {
	if f.tree == nil {
		return nil
	}
	now, err := identity(f.root)
	if err == nil && now == f.id {
		return nil
	}
	return &PlaceError{Place: f.root, Doing: "read", Err: cmp.Or(err, ErrVanished)}
}

func (f *folder) close() {
	if f.tree != nil {
		_ = f.tree.Close()
	}
}

// options are those of the walk of the folder, or of one that a symlink at prefix leads to.
func (f *folder) options(prefix string, problem func(path string, err error)) dir.Options {
	o := f.r.o
	return dir.Options{
		KeyOrder: true, KeySuffix: f.suffix, OneFileSystem: o.OneFileSystem,
		Exclude: func(path []byte, isDir bool, _ *source.Stat) bool {
			full := prefix + string(path)
			if isDir {
				for _, own := range o.Skip {
					if full == own {
						return true
					}
				}
				return o.Filter.Prunes(full)
			}
			return isTemp(full) || o.Filter.Leaves(full, false)
		},
		Problem: func(path []byte, err error) { f.unread(prefix+string(path), err) },
		Note: func(path []byte, n dir.Note) {
			if n.Reason == dir.OtherFileSystem && f.isFrom {
				f.r.spare(prefix + string(path))
			}
			o.Events.Emit(event.Note{Text: fmt.Sprintf("%q: %v", filepath.Join(f.root, prefix+string(path)), n)})
		},
	}
}

func isTemp(path string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	return strings.HasPrefix(name, tempStart) && len(name) == len(tempStart)+16
}

// unread tells of what could not be read in the walk.
func (f *folder) unread(path string, err error) {
	f.r.unread(filepath.Join(f.root, filepath.FromSlash(path)), err)
}

// walk gives the files of the folder in the order of their keys.
func (f *folder) walk(ctx context.Context, yield func(*localFile) error) error {
	if f.tree == nil {
		return nil
	}
	w := &keyWalk{f: f, ctx: ctx, yield: yield}
	err := w.tree(f.tree, "", "")
	if err == nil {
		err = w.until("", true)
	}
	if err != nil && ctx.Err() == nil && errors.As(err, new(*fs.PathError)) {
		err = &PlaceError{Place: f.root, Doing: "read", Err: err}
	}
	return err
}

// keyWalk walks a folder, and the folders that symlinks lead to, each where its keys belong.
type keyWalk struct {
	f     *folder
	ctx   context.Context
	yield func(*localFile) error
	last  string
	some  bool
	wait  linkHeap
	depth int
	above [][2]uint64
}

// aside is a symlink to a folder whose turn has not come.
type aside struct {
	path, abs string
}

type linkHeap []aside

func (h linkHeap) Len() int           { return len(h) }
func (h linkHeap) Less(i, j int) bool { return h[i].path+"/" < h[j].path+"/" }
func (h linkHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *linkHeap) Push(x any)        { *h = append(*h, x.(aside)) }
func (h *linkHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// tree walks one folder whose paths begin with prefix; abs is where it lies, empty for the folder itself.
func (w *keyWalk) tree(t *dir.Tree, prefix, abs string) error {
	return t.Walk(w.ctx, func(e *source.Entry) error {
		if len(e.Path) == 0 {
			return nil
		}
		path := prefix + string(e.Path)
		if err := w.until(path, false); err != nil {
			return err
		}
		return w.entry(t, e, path, abs)
	})
}

// until walks the folders behind symlinks whose turn has come before path.
func (w *keyWalk) until(path string, all bool) error {
	for len(w.wait) > 0 && (all || w.wait[0].path+"/" < path) {
		next := heap.Pop(&w.wait).(aside)
		if err := w.follow(next); err != nil {
			return err
		}
	}
	return nil
}

// follow walks the folder that a symlink leads to.
func (w *keyWalk) follow(a aside) error {
	id, err := identity(a.abs)
	if err != nil {
		w.f.unread(a.path, err)
		return nil
	}
	for _, up := range append(w.above, w.f.id) {
		if up == id && id[1] != 0 || w.depth >= maxFollow {
			w.f.unread(a.path, errors.New("symlinks lead in a circle"))
			return nil
		}
	}
	t, err := dir.Open(a.abs, w.f.options(a.path+"/", nil))
	if err != nil {
		w.f.unread(a.path, err)
		return nil
	}
	defer func() { _ = t.Close() }()
	outer := w.wait
	w.wait = nil
	w.depth++
	w.above = append(w.above, id)
	err = w.tree(t, a.path+"/", a.abs)
	if err == nil {
		err = w.until("", true)
	}
	w.above = w.above[:len(w.above)-1]
	w.depth--
	w.wait = outer
	return err
}

// entry passes one entry on.
func (w *keyWalk) entry(t *dir.Tree, e *source.Entry, path, abs string) error {
	f := w.f
	l := &localFile{path: path, key: path + f.suffix}
	if abs != "" {
		l.abs = filepath.Join(abs, filepath.FromSlash(string(e.Path)))
	}
	l.fill(&e.Stat)
	switch e.Stat.Type {
	case source.File:
	case source.Dir:
		l.key, l.dir, l.size = path+"/", true, 0
		if !f.r.o.Folders {
			return nil
		}
	case source.Symlink:
		ok, err := w.symlink(t, e, l)
		if !ok || err != nil {
			return err
		}
	default:
		f.r.skip(path, "a special file")
		if l.left = true; !f.isFrom {
			return nil
		}
	}
	if w.some && l.key <= w.last {
		f.unread(path, ErrChanged) // it became a file or a folder while its folder was read
		return nil
	}
	w.last, w.some = l.key, true
	return w.yield(l)
}

// symlink decides about a symlink; false: it is no entry of its own.
func (w *keyWalk) symlink(t *dir.Tree, e *source.Entry, l *localFile) (bool, error) {
	f := w.f
	if !f.isFrom || f.r.o.Links == KeepLinks {
		d, err := t.Details(e.Path, &e.Stat)
		if err != nil && d.Target == "" {
			f.unread(l.path, err)
			return false, nil
		}
		l.isLnk, l.link, l.size = true, d.Target, int64(len(d.Target))
		return true, nil
	}
	if f.r.o.Links == SkipLinks {
		f.r.skip(l.path, "a symlink")
		l.left = true
		return true, nil
	}
	full := l.abs
	if full == "" {
		full = filepath.Join(f.tree.Root(), filepath.FromSlash(l.path))
	}
	real, err := filepath.EvalSymlinks(full)
	if err != nil {
		f.unread(l.path, err)
		return false, nil
	}
	info, err := os.Stat(real)
	switch {
	case err != nil:
		f.unread(l.path, err)
	case info.IsDir():
		if !f.r.o.Filter.Prunes(l.path) {
			heap.Push(&w.wait, aside{l.path, real})
		}
	case info.Mode().IsRegular():
		l.abs = real
		return true, w.statOf(l, real)
	default:
		f.r.skip(l.path, "a symlink to a special file")
		l.left = true
		return true, nil
	}
	return false, nil
}

// statOf fills in what a symlink leads to.
func (w *keyWalk) statOf(l *localFile, real string) error {
	c, err := openSingle(real)
	if err != nil {
		return nil // it is told when it is read
	}
	defer func() { _ = c.Close() }()
	if st, err := c.Stat(); err == nil {
		l.fill(&st)
	}
	return nil
}

// The types of file in a mode, as POSIX has them and s3fs writes them.
const (
	typeMask = 0o170000
	typeFile = 0o100000
	typeDir  = 0o040000
	typeLink = 0o120000
)

func (l *localFile) fill(st *source.Stat) {
	l.size, l.inode = st.Size, st.Inode
	l.mtime, l.ctime = st.MtimeSec*1e9+int64(st.MtimeNsec), st.CtimeSec*1e9+int64(st.CtimeNsec)
	l.uid, l.gid = st.UID, st.GID
	l.mode = st.Mode | map[source.Type]uint32{source.File: typeFile, source.Dir: typeDir, source.Symlink: typeLink}[st.Type]
}

// openSingle opens a file by its path.
func openSingle(abs string) (source.Content, error) {
	t, err := dir.Open(abs, dir.Options{})
	if err != nil {
		return nil, err
	}
	c, err := t.Open([]byte(filepath.Base(abs)))
	if err != nil {
		_ = t.Close()
		return nil, err
	}
	return &single{c, t}, nil
}

type single struct {
	source.Content
	t *dir.Tree
}

func (s *single) Close() error { return errors.Join(s.Content.Close(), s.t.Close()) }

// open opens a file of the walk.
func (f *folder) open(l *localFile) (source.Content, error) {
	if l.abs != "" {
		return openSingle(l.abs)
	}
	if f.tree == nil {
		return nil, fs.ErrNotExist
	}
	return f.tree.Open([]byte(l.path))
}

// list gives the objects of a bucket side that the filter lets through, in the order of their keys.
func (r *run) list(ctx context.Context, p *Place, yield func(*object) error) error {
	last, some := "", false
	each := func(o bucket.Object) error {
		rel, ok := strings.CutPrefix(o.Key, p.Prefix)
		if !ok || rel == "" || r.o.BackupDir != "" && p == &r.o.To && strings.HasPrefix(o.Key, r.o.BackupDir) {
			return nil
		}
		if some && rel <= last {
			return fmt.Errorf("key %q comes after %q: not in order", rel, last)
		}
		last, some = rel, true
		if path := r.pathOf(rel); r.o.Filter.Leaves(strings.TrimSuffix(path, "/"), strings.HasSuffix(path, "/")) {
			if p == &r.o.To && isMark(rel) {
				r.hide(strings.TrimSuffix(rel, repositoryMark))
			}
			return nil
		}
		return yield(&object{o, rel})
	}
	var err error
	if p.Listing != nil {
		err = p.Listing.Each(ctx, each)
	} else {
		err = p.Bucket.List(ctx, p.Prefix, "", each)
	}
	if err != nil && ctx.Err() == nil {
		return &PlaceError{Place: p.Bucket.Location(), Doing: "list", Err: err}
	}
	return err
}

// pathOf is the path of the file that an object with this key below the prefix is.
func (r *run) pathOf(key string) string {
	if len(r.o.Recipients) > 0 || len(r.o.Identities) > 0 {
		return strings.TrimSuffix(key, sealedEnd)
	}
	return key
}
