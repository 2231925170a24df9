package drill

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/dir"
)

// What can differ.
const (
	Type    = "type"
	Size    = "size"
	Content = "content"
	Mode    = "mode"
	Time    = "time"
	Owner   = "owner"
	Xattrs  = "xattrs"
	Origin  = "source" // the source has other content, with the same size and time
)

// Finding is a file that did not come back, or came back otherwise.
type Finding struct {
	Path   []byte // as in the manifest
	What   string // one of the constants above; empty: it did not come back
	Object string // name of the object that is to blame; empty: unknown
	Err    error
}

// Comparison is what lies on the disk beside what was backed up.
type Comparison struct {
	Matched, BytesMatched int64 // files as in the manifest
	Same                  int64 // of them, those that are in the source as they were, with the same content
	Changed               int64 // of them, those that have changed in the source since, or are gone from it
	Unchecked             int64 // bytes of pieces of which only the restore knows that they are right
	Differing, Lost       []Finding
}

// CompareOptions say what is compared.
type CompareOptions struct {
	Repo     *repo.Repository
	Scope    *repo.ScopeState
	Snapshot *snapshot.Snapshot
	Sample   *Sample
	Scratch  string
	Source   string // folder or file on this machine; empty: not here
	Restored *Restored
	Report   event.Func
}

// Compare reads the sample in the scratch folder from the disk, and compares it with the manifest and, where that has the same version, with the source.
func Compare(ctx context.Context, o CompareOptions) (*Comparison, error) {
	c := &comparer{o: o, out: &Comparison{}, failed: map[string]Finding{}, root: os.Geteuid() == 0}
	if o.Restored == nil {
		c.o.Restored = &Restored{}
	}
	for _, f := range c.o.Restored.Failures {
		c.failed[string(f.Path)] = f
	}
	cache, err := o.Repo.NewChunkCache(ctx, o.Scope, o.Snapshot.Epoch, 2, 4<<20)
	if err != nil {
		return nil, err
	}
	defer cache.Close()
	c.m = manifest.NewReader(manifest.Source{Get: cache.Get, Prefetch: cache.Prefetch}, repo.TreeOf(o.Snapshot))
	if c.scratch, err = dir.Open(o.Scratch, dir.Options{}); err != nil {
		return nil, err
	}
	defer func() { _ = c.scratch.Close() }()
	if o.Source != "" {
		if c.source, err = dir.Open(o.Source, dir.Options{}); err != nil {
			c.source = nil // gone
		} else {
			defer func() { _ = c.source.Close() }()
		}
	}
	return c.run(ctx)
}

// comparer is one call of Compare.
type comparer struct {
	o       CompareOptions
	m       *manifest.Reader
	scratch *dir.Tree
	source  *dir.Tree // nil: not here
	failed  map[string]Finding
	root    bool

	mu   sync.Mutex
	out  *Comparison
	done int64
	read int64
}

func (c *comparer) run(ctx context.Context) (*Comparison, error) {
	workers := min(runtime.GOMAXPROCS(0), 4)
	files := c.o.Sample.Files
	g, ctx := errgroup.WithContext(ctx)
	per := max((len(files)+workers*16-1)/(workers*16), 1)
	parts := make(chan []File)
	g.Go(func() error {
		defer close(parts)
		for part := range slices.Chunk(files, per) {
			select {
			case parts <- part:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range workers {
		g.Go(func() error {
			r, err := c.newReader(ctx)
			if err != nil {
				return err
			}
			for part := range parts {
				for i := range part {
					if err := r.file(&part[i]); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	byPath := func(a, b Finding) int { return manifest.Compare(a.Path, b.Path) }
	slices.SortFunc(c.out.Differing, byPath)
	slices.SortFunc(c.out.Lost, byPath)
	return c.out, nil
}

// limited reports whether metadata of a kind could not be set here.
func (c *comparer) limited(kinds ...string) bool {
	return slices.ContainsFunc(c.o.Restored.Limits, func(limit string) bool {
		return slices.ContainsFunc(kinds, func(k string) bool { return strings.HasPrefix(limit, k) })
	})
}

// Progress is told after so many files, and after each as large as that, in bytes.
const (
	tellEvery = 64
	tellLarge = 8 << 20
)

// note adds an outcome.
func (c *comparer) note(f *File, fn func(out *Comparison)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(c.out)
	c.done++
	c.read += f.Size
	if last := c.done == int64(len(c.o.Sample.Files)); c.done%tellEvery != 0 && f.Size < tellLarge && !last {
		return
	}
	c.o.Report.Emit(event.Progress{Phase: "compare", FilesDone: c.done, FilesTotal: int64(len(c.o.Sample.Files)), BytesDone: c.read, BytesTotal: c.o.Sample.Bytes,
		Problems: int64(len(c.out.Differing) + len(c.out.Lost)), Current: string(f.Path)})
}

// reader compares files, one at a time.
type reader struct {
	c   *comparer
	ctx context.Context
	rd  *repo.Reader
	buf []byte
}

func (c *comparer) newReader(ctx context.Context) (*reader, error) {
	rd, err := c.o.Repo.NewReader(c.o.Scope, c.o.Snapshot.Epoch)
	return &reader{c: c, ctx: ctx, rd: rd}, err
}

// file compares one file. Its error ends everything.
func (r *reader) file(f *File) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	if bad, failed := r.c.failed[string(f.Path)]; failed {
		r.lost(f, bad.Object, bad.Err)
		return nil
	}
	var e manifest.Entry
	found, err := r.c.m.Lookup(f.Path, &e)
	if err == nil && !found {
		err = fs.ErrNotExist
	}
	if err != nil {
		if r.ctx.Err() != nil {
			return r.ctx.Err()
		}
		r.lost(f, "", fmt.Errorf("list of files: %w", err))
		return nil
	}
	what, unchecked, err := r.restored(&e)
	switch {
	case err != nil && r.ctx.Err() != nil:
		return r.ctx.Err()
	case errors.Is(err, fs.ErrNotExist):
		r.lost(f, "", errors.New("not in the scratch folder"))
		return nil
	case err != nil && what == "":
		r.lost(f, "", err)
		return nil
	case what != "":
		r.differs(f, what, err)
		return nil
	}
	same, known, err := r.origin(&e)
	if err != nil {
		r.differs(f, Origin, err)
		return r.ctx.Err()
	}
	r.c.note(f, func(out *Comparison) {
		out.Matched++
		out.BytesMatched += f.Size
		out.Unchecked += unchecked
		switch {
		case same:
			out.Same++
		case known:
			out.Changed++
		}
	})
	return nil
}

func (r *reader) lost(f *File, object string, err error) {
	r.c.note(f, func(out *Comparison) {
		out.Lost = append(out.Lost, Finding{Path: f.Path, Object: object, Err: err})
	})
}

func (r *reader) differs(f *File, what string, err error) {
	r.c.note(f, func(out *Comparison) {
		out.Differing = append(out.Differing, Finding{Path: f.Path, What: what, Err: err})
	})
}

// restored compares what lies in the scratch folder with the manifest. what tells what differs, err how; an error alone: it cannot be read.
func (r *reader) restored(e *manifest.Entry) (what string, unchecked int64, err error) {
	content, st, err := r.open(e)
	if errors.Is(err, dir.ErrNotRegular) {
		return Type, 0, err
	}
	if err != nil {
		return "", 0, err
	}
	defer func() { _ = content.Close() }()
	if st.Size != e.Size {
		return Size, 0, fmt.Errorf("%d bytes, not %d", st.Size, e.Size)
	}
	if unchecked, err = r.content(content, e); err != nil {
		if errors.Is(err, errDiffers) {
			return Content, 0, err
		}
		return "", 0, err
	}
	what, err = r.metadata(e, &st)
	return what, unchecked, err
}

// open opens a restored file. Where its mode keeps its owner from reading it, that is lifted, once the mode is known.
func (r *reader) open(e *manifest.Entry) (source.Content, source.Stat, error) {
	content, err := r.c.scratch.Open(e.Path)
	if err == nil {
		st, err := content.Stat()
		if err != nil {
			_ = content.Close()
		}
		return content, st, err
	}
	if !errors.Is(err, fs.ErrPermission) {
		return nil, source.Stat{}, err
	}
	path := filepath.Join(r.c.o.Scratch, filepath.FromSlash(string(e.Path)))
	r.unlockFolders(e.Path)
	info, err := os.Lstat(path)
	if err != nil {
		return nil, source.Stat{}, err
	}
	if !info.Mode().IsRegular() {
		return nil, source.Stat{}, dir.ErrNotRegular
	}
	if err := os.Chmod(path, info.Mode().Perm()|0o400); err != nil {
		return nil, source.Stat{}, err
	}
	if content, err = r.c.scratch.Open(e.Path); err != nil {
		return nil, source.Stat{}, err
	}
	st, err := content.Stat()
	if err != nil {
		_ = content.Close()
		return nil, st, err
	}
	st.Mode = uint32(info.Mode().Perm()) | st.Mode&^0o777
	return content, st, nil
}

// unlockFolders lets the owner into the folders above a file of the scratch folder.
func (r *reader) unlockFolders(path []byte) {
	for i, b := range path {
		if b == '/' {
			at := filepath.Join(r.c.o.Scratch, filepath.FromSlash(string(path[:i])))
			if info, err := os.Lstat(at); err == nil && info.IsDir() && info.Mode()&0o500 != 0o500 {
				_ = os.Chmod(at, info.Mode().Perm()|0o700)
			}
		}
	}
}

// metadata compares what this system can keep of it.
func (r *reader) metadata(e *manifest.Entry, st *source.Stat) (what string, err error) {
	if mask := r.modeMask(); st.Mode&mask != e.Mode&mask {
		return Mode, fmt.Errorf("%04o, not %04o", st.Mode, e.Mode)
	}
	if !sameTime(st, e.Mtime) && !r.c.limited("time") {
		return Time, fmt.Errorf("%d.%09d, not %d.%09d", st.MtimeSec, st.MtimeNsec, e.Mtime.Sec, e.Mtime.Nsec)
	}
	if r.c.root && !r.c.limited("owner", "group") && (e.UID >= 0 && int64(st.UID) != e.UID || e.GID >= 0 && int64(st.GID) != e.GID) {
		return Owner, fmt.Errorf("%d:%d, not %d:%d", st.UID, st.GID, e.UID, e.GID)
	}
	if runtime.GOOS != "linux" || len(e.Xattrs) == 0 || r.c.limited("xattr", "acl", "capability") {
		return "", nil
	}
	have, err := r.c.scratch.Details(e.Path, st)
	if err != nil {
		return "", nil // what cannot be read cannot be compared
	}
	if name, ok := lacking(e.Xattrs, have.Xattrs); !ok {
		return Xattrs, fmt.Errorf("%q is missing or other", name)
	}
	return "", nil
}

// modeMask is the bits of the mode that count here.
func (r *reader) modeMask() uint32 {
	switch {
	case runtime.GOOS == "windows" || r.c.limited("mode"):
		return 0
	case r.c.limited("setuid bit", "setgid bit", "owner", "group"):
		return 0o1777
	}
	return 0o7777
}

// sameTime gives a file system the benefit that keeps times less exactly.
func sameTime(st *source.Stat, t manifest.Time) bool {
	return st.MtimeSec == t.Sec && (st.MtimeNsec == t.Nsec || st.MtimeNsec == 0 || st.MtimeNsec == t.Nsec/100*100)
}

// lacking finds an attribute that is not there as it should be; others may have come with the folder.
func lacking(want []manifest.Xattr, have []source.Xattr) (name string, ok bool) {
	for i := range want {
		if !slices.ContainsFunc(have, func(x source.Xattr) bool { return x.Name == want[i].Name && bytes.Equal(x.Value, want[i].Value) }) {
			return want[i].Name, false
		}
	}
	return "", true
}

// origin compares the source with the manifest. known: it is here; same: it has this version, with this content. An error is a finding: other content under the
// same size and time.
func (r *reader) origin(e *manifest.Entry) (same, known bool, err error) {
	if r.c.source == nil {
		return false, false, nil
	}
	content, err := r.c.source.Open(e.Path)
	if err != nil {
		return false, true, nil // gone, or another thing by now
	}
	defer func() { _ = content.Close() }()
	before, err := content.Stat()
	if err != nil || before.Size != e.Size || before.MtimeSec != e.Mtime.Sec || before.MtimeNsec != e.Mtime.Nsec || before.Mode != e.Mode && runtime.GOOS != "windows" {
		return false, true, nil
	}
	_, err = r.content(content, e)
	if after, e := content.Stat(); e != nil || after != before {
		return false, true, nil
	}
	if errors.Is(err, errDiffers) {
		return false, true, errors.New("the source has other content, under the same size and time")
	}
	return err == nil, true, nil
}

var errDiffers = errors.New("not what was backed up")

// content compares a file with its pieces: whole chunks, and chunks of which consecutive pieces add up to a whole, by their ids; a file in one piece by its hash; holes
// by being zeros. It returns how many bytes can be compared with nothing: parts of chunks in a file of several pieces.
func (r *reader) content(at io.ReaderAt, e *manifest.Entry) (unchecked int64, err error) {
	if len(e.Content) == 1 && !e.Content[0].IsHole() && e.Tree.IsEmpty() {
		return 0, r.whole(at, e)
	}
	var id digest.Chunk
	held := 0 // bytes of the chunk in buf
	flush := func() error {
		if held == 0 {
			return nil
		}
		loc, ok, err := r.c.o.Scope.Set().Lookup(id)
		if err != nil {
			return err
		}
		if !ok || int(loc.Raw) != held {
			unchecked += int64(held)
		} else if r.rd.Sum(r.buf[:held]) != id {
			return errDiffers
		}
		held = 0
		return nil
	}
	it := r.c.m.Pieces(e)
	for it.Next() {
		if err := r.ctx.Err(); err != nil {
			return 0, err
		}
		p := it.Piece()
		if p.IsHole() {
			if err := r.zeros(at, it.Offset(), p.Length); err != nil {
				return 0, err
			}
			continue
		}
		if held > 0 && (p.Chunk != id || int(p.Offset) != held) {
			if err := flush(); err != nil {
				return 0, err
			}
		}
		if held == 0 && p.Offset != 0 {
			unchecked += p.Length
			continue
		}
		id = p.Chunk
		if err := r.readInto(at, held, it.Offset(), p.Length); err != nil {
			return 0, err
		}
		held += int(p.Length)
	}
	if it.Err() != nil {
		return 0, it.Err()
	}
	return unchecked, flush()
}

// whole compares a file of one piece by its hash.
func (r *reader) whole(at io.ReaderAt, e *manifest.Entry) error {
	if err := r.readInto(at, 0, 0, e.Size); err != nil {
		return err
	}
	if !e.Hash.IsZero() && manifest.ShortHash(r.rd.Sum(r.buf[:e.Size])) != e.Hash {
		return errDiffers
	}
	return nil
}

// readInto reads n bytes at off into buf, behind what it holds. Pieces and files of one piece have at most manifest.MaxPiece bytes.
func (r *reader) readInto(at io.ReaderAt, held int, off, n int64) error {
	if int64(cap(r.buf)) < int64(held)+n {
		grown := make([]byte, max(int64(held)+n, 1<<20))
		copy(grown, r.buf[:held])
		r.buf = grown
	}
	r.buf = r.buf[:int64(held)+n]
	if _, err := at.ReadAt(r.buf[held:], off); err != nil && !(err == io.EOF && n == 0) {
		return shortRead(err)
	}
	return nil
}

func shortRead(err error) error {
	if errors.Is(err, io.EOF) {
		return errDiffers
	}
	return err
}

var zeros [64 << 10]byte

func (r *reader) zeros(at io.ReaderAt, off, n int64) error {
	var buf [64 << 10]byte
	for n > 0 {
		b := buf[:min(n, int64(len(buf)))]
		if m, err := at.ReadAt(b, off); err != nil && m < len(b) {
			return shortRead(err)
		}
		if !bytes.Equal(b, zeros[:len(b)]) {
			return errDiffers
		}
		off, n = off+int64(len(b)), n-int64(len(b))
	}
	return nil
}
