package sync

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/minio/crc64nvme"
	"golang.org/x/sync/errgroup"

	"firn/internal/bucket"
	"firn/internal/seal"
	"firn/internal/source"
	"firn/internal/sync/ledger"
	"firn/internal/target"
)

// down decides about a key on the way into a folder.
func (r *run) down(ctx context.Context, key string, o *object, l *localFile, e *ledger.Entry) error {
	if l != nil {
		r.targets++
		r.foldersThere += int64(b2i(l.dir))
	}
	if o == nil {
		if l == nil {
			r.forget(key, e)
			return nil
		}
		return r.extraFile(l, e)
	}
	p := r.pathOf(key)
	folder := strings.HasSuffix(key, "/")
	err := checkKey(strings.TrimSuffix(p, "/"))
	switch {
	case err != nil:
	case folder && o.Size == 0 && !r.o.Folders:
		return nil // a folder that some program wants to see
	case folder && o.Size > 0:
		err = fmt.Errorf("%w: the key ends in a slash, and it has content", ErrKey)
	case len(r.o.Identities) > 0 && p == key && !folder:
		err = ErrSealed
	case !folder:
		if f := r.keep.of(p); f != "" {
			err = fmt.Errorf("%w: %q is a file", ErrKey, f)
		}
	}
	if err != nil {
		r.refuse(p, o.Key, err)
		return nil
	}
	r.count(o.Size)
	r.foldersHere += int64(b2i(folder))
	j := &job{action: Download, key: key, from: o, local: l}
	j.entry = counts(e, o)
	if e != nil && e.ETag == o.ETag {
		j.asked = e.Asked
	}
	if l == nil {
		return r.give(ctx, j)
	}
	sameSize := o.Size == l.size
	if j.entry != nil && j.entry.Has(ledger.Sealed) {
		sameSize = j.entry.Size == l.size
	} else if p != key && !folder {
		sameSize = seal.SealedSize(0, l.size) < o.Size && o.Size <= seal.SealedSize(seal.MaxPrefix, l.size)
	}
	if l.isLnk && r.o.Links != KeepLinks || l.dir != folder {
		j.change = "c"
		return r.give(ctx, j)
	}
	if folder && r.o.Metadata && j.entry == nil { // a run that was cut off may have made it
		j.change = "m"
		return r.give(ctx, j)
	}
	return r.decide(ctx, j, sameSize, o.Modified.UnixNano(), time.Unix(0, l.mtime))
}

// openTarget opens the folder that is written to, when the first file is.
func (r *run) openTarget() (*target.Target, error) {
	r.toOnce.Do(func() {
		r.to, r.toErr = target.Open(r.o.To.Folder, target.Options{Overwrite: target.Always, NoOwner: !r.o.Metadata, NoXattrs: true, Durable: true})
	})
	return r.to, r.toErr
}

// download brings one object home, again where it changes meanwhile.
func (r *run) download(ctx context.Context, j *job) error {
	t, err := r.openTarget()
	if err != nil {
		return &PlaceError{Place: r.o.To.Folder, Doing: "write", Err: err}
	}
	for try := 0; ; try++ {
		d := &fetching{r: r, t: t, j: j, path: r.pathOf(j.key)}
		err := d.fetch(ctx)
		switch {
		case err == nil:
			r.done(j, d.got)
			return r.landed(d.entry)
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, bucket.ErrCold):
			return r.freeze(j)
		case errors.Is(err, bucket.ErrPrecondition) && try < r.o.Retries:
			info, e := r.o.From.Bucket.Head(ctx, j.from.Key)
			if e != nil {
				r.unread(r.name(j), e)
				return nil
			}
			j.from = &object{info.Object, j.from.key}
		case errors.Is(err, bucket.ErrChecksum) && try < r.o.Retries:
		case r.o.Delete && !j.again && (errors.Is(err, target.ErrNotEmpty) || errors.Is(err, target.ErrInTheWay)):
			return r.blocked.add(j)
		case errors.As(err, new(*writeError)):
			return r.failed(r.name(j), err)
		default:
			r.unread(r.name(j), err)
			return nil
		}
	}
}

// unblock tries again what was in the way of, and may have been deleted meanwhile.
func (r *run) unblock(ctx context.Context) error {
	if r.blocked.n == 0 {
		return nil
	}
	if err := r.flush(); err != nil {
		return err
	}
	if r.to != nil { // it remembers folders that were deleted
		_ = r.to.Close()
		r.to, r.toOnce, r.made = nil, sync.Once{}, map[string]bool{}
	}
	return r.workers(ctx, func(ctx context.Context, _ *errgroup.Group) error {
		return r.blocked.each(func(j *job) error {
			j.again, j.agreed = true, true
			clearWay(r.o.To.Folder, r.pathOf(j.key))
			return r.give(ctx, j)
		})
	})
}

// clearWay removes a folder in which there is nothing but folders.
func clearWay(folder, p string) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return // the next try tells
	}
	defer func() { _ = root.Close() }()
	var all []string
	err = fs.WalkDir(root.FS(), p, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			err = fs.ErrExist
		}
		all = append(all, path)
		return err
	})
	for i := len(all) - 1; i >= 0 && err == nil; i-- {
		err = root.Remove(filepath.FromSlash(all[i]))
	}
}

// landedAtOnce is how many files are synced to the disk together.
const landedAtOnce = 1000

// landed notes a file that has its name. The ledger hears of it when it is on the disk.
func (r *run) landed(e *ledger.Entry) error {
	if e == nil {
		return nil
	}
	r.mu.Lock()
	r.fresh = append(r.fresh, e)
	full := len(r.fresh) >= landedAtOnce
	r.mu.Unlock()
	if full {
		return r.flush()
	}
	return nil
}

// flush syncs the target and tells the ledger what is on the disk now.
func (r *run) flush() error {
	r.mu.Lock()
	now := r.fresh
	r.fresh = nil
	r.mu.Unlock()
	if len(now) == 0 || r.to == nil {
		return nil
	}
	if err := r.to.Sync(); err != nil {
		return &PlaceError{Place: r.o.To.Folder, Doing: "write", Err: err}
	}
	for _, e := range now {
		r.put(e)
	}
	return nil
}

// settle ends a download: metadata of folders, the deepest first, and everything on the disk.
func (r *run) settle() error {
	if len(r.finish) > 0 {
		if _, err := r.openTarget(); err != nil {
			return err
		}
	}
	for i := len(r.finish) - 1; i >= 0; i-- {
		f := &r.finish[i]
		if err := r.to.Finish([]byte(f.path), &f.meta); err != nil {
			if err := r.failed(f.path, err); err != nil {
				return err
			}
			continue
		}
		if err := r.landed(f.entry); err != nil {
			return err
		}
	}
	return r.flush()
}

// writeError is trouble with a file of the target.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

func written(err error) error {
	if err == nil {
		return nil
	}
	return &writeError{err}
}

// fetching is one download under way.
type fetching struct {
	r     *run
	t     *target.Target
	j     *job
	path  string
	got   int64
	plain []byte
	entry *ledger.Entry
}

// fetch brings the object.
func (d *fetching) fetch(ctx context.Context) error {
	o := d.j.from
	if strings.HasSuffix(d.j.key, "/") {
		return d.folder(ctx)
	}
	if err := d.parents(d.path); err != nil {
		return err
	}
	sealed := len(d.r.o.Identities) > 0
	if !sealed && o.Size > d.r.o.Threshold {
		return d.ranges(ctx)
	}
	end, err := d.r.slotFor(ctx, o.Size)
	if err != nil {
		return err
	}
	defer end()
	in, info, err := d.r.o.From.Bucket.Get(ctx, o.Key, bucket.GetOptions{Length: -1, IfMatch: o.ETag})
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	if mode, ok := number(info.Metadata, metaMode, 0o177777); ok && d.r.o.Links == KeepLinks && uint32(mode)&typeMask == typeLink {
		return d.symlink(in, info)
	}
	if sealed {
		return d.sealed(in, info)
	}
	return d.whole(in, info)
}

// parents makes the folders above a file.
func (d *fetching) parents(p string) error {
	up := path.Dir(p)
	if up == "." {
		return nil
	}
	d.r.mu.Lock()
	there := d.r.made[up]
	d.r.mu.Unlock()
	if there {
		return nil
	}
	if err := d.parents(up); err != nil {
		return err
	}
	if info, err := os.Lstat(filepath.Join(d.r.o.To.Folder, filepath.FromSlash(up))); err == nil && !info.IsDir() {
		return written(fmt.Errorf("%q is no folder: %w", up, target.ErrInTheWay))
	}
	outcome, err := d.t.Mkdir([]byte(up))
	if err != nil {
		return written(fmt.Errorf("folder %q: %w", up, err))
	}
	if outcome != target.Kept {
		now := d.r.o.Now()
		meta := target.Meta{Type: source.Dir, Mode: 0o755, UID: -1, GID: -1, MtimeSec: now.Unix(), MtimeNsec: int32(now.Nanosecond())}
		if err := d.t.Finish([]byte(up), &meta); err != nil {
			return written(err)
		}
	}
	d.r.mu.Lock()
	d.r.made[up] = true
	d.r.mu.Unlock()
	return nil
}

// folder makes a folder of an empty object.
func (d *fetching) folder(ctx context.Context) error {
	p := strings.TrimSuffix(d.j.key, "/")
	if err := d.parents(p + "/x"); err != nil {
		return err
	}
	info, err := d.r.o.From.Bucket.Head(ctx, d.j.from.Key)
	if err != nil {
		return err
	}
	f := folderMeta{path: p, meta: d.meta(info, source.Dir, 0o755)}
	f.entry = d.r.entry(d.j.key, &localFile{dir: true, mtime: f.meta.MtimeSec*1e9 + int64(f.meta.MtimeNsec)}, info, false)
	d.r.forget(d.j.key, d.j.entry) // until then it has none of this
	d.r.mu.Lock()
	d.r.finish = append(d.r.finish, f)
	d.r.mu.Unlock()
	return nil
}

// meta is what a file gets: what the object says, else what the file had that it replaces.
func (d *fetching) meta(info bucket.Info, kind source.Type, mode uint32) target.Meta {
	m := target.Meta{Type: kind, Mode: mode, UID: -1, GID: -1, MtimeSec: info.Modified.Unix(), MtimeNsec: int32(info.Modified.Nanosecond())}
	if info.Modified.IsZero() {
		m.MtimeSec, m.MtimeNsec = d.j.from.Modified.Unix(), int32(d.j.from.Modified.Nanosecond())
	}
	if l := d.j.local; l != nil && l.mode&typeMask == typeFile && kind == source.File {
		m.Mode = l.mode & 0o7777
	}
	if ns, ok := parseMtime(info.Metadata); ok {
		m.MtimeSec, m.MtimeNsec = ns/1e9, int32(ns%1e9)
		if m.MtimeNsec < 0 {
			m.MtimeSec, m.MtimeNsec = m.MtimeSec-1, m.MtimeNsec+1e9
		}
	}
	if !d.r.o.Metadata {
		return m
	}
	if v, ok := number(info.Metadata, metaMode, 0o177777); ok {
		m.Mode = uint32(v) & 0o7777
	}
	if v, ok := number(info.Metadata, metaUID, 1<<32-2); ok {
		m.UID = int64(v)
	}
	if v, ok := number(info.Metadata, metaGID, 1<<32-2); ok {
		m.GID = int64(v)
	}
	return m
}

// symlink makes a symlink of an object that is one.
func (d *fetching) symlink(in io.Reader, info bucket.Info) error {
	if len(d.r.o.Identities) > 0 {
		var err error
		if in, err = seal.Open(in, d.r.o.Identities...); err != nil {
			return err
		}
	}
	b, err := io.ReadAll(io.LimitReader(in, 4097))
	if err != nil {
		return err
	}
	if len(b) == 0 || len(b) > 4096 || bytes.IndexByte(b, 0) >= 0 {
		return written(fmt.Errorf("%w: it says that it is a symlink, and its content is no target", ErrKey))
	}
	if d.j.local != nil && d.r.o.BackupDir != "" {
		if err := d.r.moveAside(d.path); err != nil {
			return written(err)
		}
	}
	if _, err := d.t.Symlink([]byte(d.path), string(b)); err != nil {
		return written(err)
	}
	meta := d.meta(info, source.Symlink, 0o777)
	d.got = info.Size
	if err := d.t.Finish([]byte(d.path), &meta); err != nil {
		return written(err)
	}
	return nil
}

// verifier is how the content of an object is checked.
type verifier struct {
	h     hash.Hash // nil: it cannot be
	want  []byte
	parts *partHash
	tag   tag
}

func verifierOf(info bucket.Info) *verifier {
	if s := info.Sum; s != nil && s.Parts == 0 {
		if h := sumHash(s.Algorithm); h != nil {
			return &verifier{h: h, want: s.Value}
		}
	}
	if info.Encryption != "" && info.Encryption != "AES256" {
		return &verifier{}
	}
	t, ok := parseTag(info.ETag)
	switch {
	case ok && t.parts == 0:
		return &verifier{h: md5.New(), want: t.sum[:]}
	case ok && info.PartSize > 0:
		return &verifier{parts: newPartHash(info.PartSize), tag: t}
	}
	return &verifier{}
}

// Write implements io.Writer.
func (v *verifier) Write(b []byte) (int, error) {
	if v.h != nil {
		_, _ = v.h.Write(b)
	}
	if v.parts != nil {
		_, _ = v.parts.Write(b)
	}
	return len(b), nil
}

func (v *verifier) check() error {
	if v.h != nil && !bytes.Equal(v.h.Sum(nil), v.want) || v.parts != nil && v.parts.sum() != v.tag {
		return fmt.Errorf("%w: it has not the checksum that the server tells", bucket.ErrChecksum)
	}
	return nil
}

// whole writes an object that comes in one piece.
func (d *fetching) whole(in io.Reader, info bucket.Info) error {
	v := verifierOf(info)
	if err := d.write(d.j.from.Size, d.meta(info, source.File, 0o644), io.TeeReader(in, v), v.check); err != nil {
		return err
	}
	d.noted(info)
	return nil
}

// sealed writes what an encrypted object holds.
func (d *fetching) sealed(in io.Reader, info bucket.Info) error {
	br := bufio.NewReaderSize(in, seal.MaxPrefix+1)
	head, err := br.Peek(int(min(seal.MaxPrefix, d.j.from.Size)))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	n, err := seal.PrefixLen(head)
	if err != nil {
		return err
	}
	size, err := seal.PlainSize(n, d.j.from.Size)
	if err != nil {
		return err
	}
	plain, err := seal.Open(br, d.r.o.Identities...)
	if err != nil {
		return err
	}
	crc := crc64nvme.New()
	end := func() error {
		if n, err := io.Copy(io.Discard, io.LimitReader(plain, 1)); err != nil || n > 0 {
			return errors.Join(seal.ErrCorrupt, err)
		}
		return nil
	}
	if err := d.write(size, d.meta(info, source.File, 0o644), io.TeeReader(plain, crc), end); err != nil {
		return err
	}
	d.plain = crc.Sum(nil)
	d.noted(info)
	return nil
}

// create begins the file. What is there is moved aside first where that is wanted.
func (d *fetching) create(size int64, meta target.Meta) (*target.File, error) {
	spec := &target.FileSpec{Meta: meta, Size: size, Resume: true} // so it is written under another name always
	f, _, err := d.t.CreateFile([]byte(d.path), spec)
	if err == nil && f == nil {
		err = target.ErrInTheWay
	}
	return f, written(err)
}

// finish gives the file its name.
func (d *fetching) finish(f *target.File) error {
	if d.j.local != nil && d.r.o.BackupDir != "" {
		if err := d.r.moveAside(d.path); err != nil {
			return errors.Join(written(err), f.Abort(false))
		}
	}
	return written(f.Finish())
}

// write writes size bytes, and the file only has its name when check agrees.
func (d *fetching) write(size int64, meta target.Meta, in io.Reader, check func() error) error {
	f, err := d.create(size, meta)
	if err != nil {
		return err
	}
	buf := make([]byte, min(max(size, 1), 128<<10))
	for off := int64(0); off < size; {
		n, err := io.ReadFull(in, buf[:min(int64(len(buf)), size-off)])
		if err != nil {
			return errors.Join(err, f.Abort(false))
		}
		if _, err := f.WriteAt(buf[:n], off); err != nil {
			return errors.Join(written(err), f.Abort(false))
		}
		off += int64(n)
	}
	d.got = size
	if err := check(); err != nil {
		return errors.Join(err, f.Abort(false))
	}
	return d.finish(f)
}

// ranges brings a large object in ranges, side by side.
func (d *fetching) ranges(ctx context.Context) error {
	o, b := d.j.from, d.r.o.From.Bucket
	info, err := b.Head(ctx, o.Key)
	if err != nil {
		return err
	}
	if info.ETag != o.ETag {
		return fmt.Errorf("%w: its ETag is another one", bucket.ErrPrecondition)
	}
	f, err := d.create(o.Size, d.meta(info, source.File, 0o644))
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(maxBeside)
	for off := int64(0); off < o.Size; off += d.r.o.PartSize {
		g.Go(func() error { return d.stretch(gctx, f, off, min(d.r.o.PartSize, o.Size-off)) })
	}
	v := verifierOf(info)
	err = g.Wait()
	if err == nil && (v.h != nil || v.parts != nil) {
		if err = feed(ctx, f, o.Size, v); err == nil {
			err = v.check()
		}
	}
	if err != nil {
		return errors.Join(err, f.Abort(false))
	}
	d.got = o.Size
	if err := d.finish(f); err != nil {
		return err
	}
	d.noted(info)
	return nil
}

// stretch brings one range.
func (d *fetching) stretch(ctx context.Context, f *target.File, off, n int64) error {
	end, err := d.r.slotFor(ctx, n)
	if err != nil {
		return err
	}
	defer end()
	in, _, err := d.r.o.From.Bucket.Get(ctx, d.j.from.Key, bucket.GetOptions{Offset: off, Length: n, IfMatch: d.j.from.ETag})
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	buf := make([]byte, min(n, 128<<10))
	for n > 0 {
		k, err := io.ReadFull(in, buf[:min(int64(len(buf)), n)])
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(buf[:k], off); err != nil {
			return written(err)
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

// noted makes the entry of the file that is there now.
func (d *fetching) noted(info bucket.Info) {
	c, err := openSingle(filepath.Join(d.r.o.To.Folder, filepath.FromSlash(d.path)))
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	st, err := c.Stat()
	if err != nil {
		return
	}
	l := &localFile{path: d.path, key: d.j.key}
	l.fill(&st)
	info.Object = d.j.from.Object
	e := d.r.entry(d.j.key, l, info, false)
	if s := info.Sum; d.plain != nil {
		e.Flags |= ledger.Sealed | ledger.Opaque
		e.SumBy, e.Sum = bucket.CRC64NVME, d.plain
	} else if s != nil && s.Parts == 0 {
		e.SumBy, e.Sum = s.Algorithm, s.Value
	}
	e.PartSize = info.PartSize
	d.entry = e
}

// moveAside keeps what is replaced or deleted of the target folder, in BackupDir.
func (r *run) moveAside(p string) error {
	from, to := filepath.Join(r.o.To.Folder, filepath.FromSlash(p)), filepath.Join(r.o.BackupDir, filepath.FromSlash(p))
	info, err := os.Lstat(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	err = os.Rename(from, to)
	switch {
	case err == nil:
		return nil
	case info.Mode()&fs.ModeSymlink != 0:
		return linkAside(from, to)
	case !info.Mode().IsRegular():
		return err
	}
	return copyAside(from, to, info)
}

// linkAside keeps a symlink on another file system.
func linkAside(from, to string) error {
	link, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if err := os.Remove(to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Symlink(link, to)
}

// copyAside is for another file system.
func copyAside(from, to string, info os.FileInfo) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.CreateTemp(filepath.Dir(to), ".firn-aside-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	if e := out.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = errors.Join(os.Chmod(out.Name(), info.Mode().Perm()), os.Chtimes(out.Name(), info.ModTime(), info.ModTime()))
	}
	if err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		_ = os.Remove(out.Name())
	}
	return err
}
