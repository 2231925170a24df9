package restore

import (
	"bytes"
	"context"
	"io"
	"os"

	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/target"
)

// unfinished is the mode of a small file that an interrupted run has left under its own name (package target).
const unfinished = 0o200

// judge tells what is known of what stands in the place of a file: flags of a record. Only reading tells more where isAsked is set.
func (r *run) judge(info os.FileInfo, e *manifest.Entry) uint8 {
	flags := uint8(isThere)
	alike := info.Mode().IsRegular() && info.Size() == e.Size
	uid, gid, names, known := ownerOf(info)
	if known && uid == e.UID && gid == e.GID && len(e.Xattrs) == 0 && modeOf(info) == e.Mode && sameTime(info, e.Mtime) {
		flags |= isSame
	}
	if info.Mode().IsRegular() && modeOf(info) == unfinished && names == 1 && info.Size() <= e.Size {
		return flags
	}
	if r.o.Overwrite != target.Never && names > 1 && flags&isSame == 0 {
		return flags // its metadata would be that of files elsewhere, too
	}
	switch r.o.Overwrite {
	case target.Never:
		return flags | isKept | isSame
	case target.Changed:
		if alike && sameTime(info, e.Mtime) {
			flags |= isKept
		}
	case target.Always:
		switch {
		case alike && e.Size == 0:
			flags |= isKept
		case alike:
			flags |= isAsked
		}
	}
	return flags
}

// modeOf returns mode bits as the manifest has them.
func modeOf(info os.FileInfo) uint32 {
	m := uint32(info.Mode().Perm())
	for _, b := range []struct {
		bit  os.FileMode
		mode uint32
	}{{os.ModeSetuid, 0o4000}, {os.ModeSetgid, 0o2000}, {os.ModeSticky, 0o1000}} {
		if info.Mode()&b.bit != 0 {
			m |= b.mode
		}
	}
	return m
}

// sameTime compares modification times; a file system that keeps them less exactly is given the benefit.
func sameTime(info os.FileInfo, t manifest.Time) bool {
	have := info.ModTime()
	ns := int32(have.Nanosecond())
	return have.Unix() == t.Sec && (ns == t.Nsec || ns == 0 || ns == t.Nsec/100*100)
}

// openSame opens what lstat has seen, and nothing else.
func openSame(path string, info os.FileInfo) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if now, err := f.Stat(); err != nil || !os.SameFile(now, info) {
		_ = f.Close()
		return nil, os.ErrNotExist
	}
	return f, nil
}

// compare reads the files of records that are asked about.
func (w *worker) compare(win *window, part []int32) {
	for _, i := range part {
		rec := &win.records[i]
		if w.sameSmall(win, rec) {
			rec.flags |= isKept
		}
	}
}

func (w *worker) sameSmall(win *window, rec *record) bool {
	path := w.run.path(win.text(rec.path, rec.pathLen))
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(rec.size) || rec.hash.IsZero() {
		return false
	}
	f, err := openSame(path, info)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	w.grow(int(rec.size))
	if _, err := io.ReadFull(f, w.buf); err != nil {
		return false
	}
	return manifest.ShortHash(w.rd.Sum(w.buf)) == rec.hash
}

// grow makes room for n bytes in w.buf.
func (w *worker) grow(n int) {
	if cap(w.buf) < n {
		w.buf = make([]byte, max(n, 1<<20))
	}
	w.buf = w.buf[:n]
}

// judgeLarge is judge for a file in several pieces, which it reads where that is needed. It returns 0 where the file is to be written.
func (r *run) judgeLarge(ctx context.Context, info os.FileInfo, e *manifest.Entry) (flags uint8, err error) {
	flags = r.judge(info, e)
	switch {
	case flags&isKept != 0:
		return flags, nil
	case flags&isAsked == 0:
		return 0, nil
	}
	f, err := openSame(r.path(r.choice.rel(e.Path)), info)
	if err != nil {
		return 0, nil // it will be seen when it is replaced
	}
	defer func() { _ = f.Close() }()
	x := existing{r: f}
	it := r.choice.m.Pieces(e)
	for it.Next() {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if !x.holds(r, it.Piece(), it.Offset()) {
			return 0, nil
		}
	}
	if it.Err() != nil {
		return 0, nil
	}
	return flags | isKept, nil
}

// existing is the content of a file that is there.
type existing struct {
	r     io.ReaderAt
	punch func(off, n int64) error
	buf   []byte
}

// has reports whether a piece need not be fetched: it is there, or it is a hole, which it makes.
func (x *existing) has(r *run, p manifest.Piece, at int64) bool {
	if p.IsHole() {
		if x.punch != nil && !x.holds(r, p, at) {
			_ = x.punch(at, p.Length) // a failure shows as a file with zeros
		}
		return true
	}
	return x.r != nil && x.holds(r, p, at)
}

// holds reports whether the content of a piece is there. Only of whole chunks the id tells.
func (x *existing) holds(r *run, p manifest.Piece, at int64) bool {
	if p.IsHole() {
		return x.zeros(at, p.Length)
	}
	loc, ok, err := r.o.Scope.Set().Lookup(p.Chunk)
	if err != nil || !ok || p.Offset != 0 || int64(loc.Raw) != p.Length {
		return false
	}
	if int64(cap(x.buf)) < p.Length {
		x.buf = make([]byte, p.Length)
	}
	x.buf = x.buf[:p.Length]
	if _, err := x.r.ReadAt(x.buf, at); err != nil && err != io.EOF {
		return false
	}
	return r.sum.Sum(x.buf) == p.Chunk
}

var zeros [64 << 10]byte

func (x *existing) zeros(at, n int64) bool {
	if x.buf == nil {
		x.buf = make([]byte, 1<<20)
	}
	for n > 0 {
		b := x.buf[:min(n, int64(cap(x.buf)), int64(len(zeros)))]
		if _, err := x.r.ReadAt(b, at); err != nil && err != io.EOF || !bytes.Equal(b, zeros[:len(b)]) {
			return false
		}
		at, n = at+int64(len(b)), n-int64(len(b))
	}
	return true
}

// damageOf takes from an error which object and chunk it is about.
func damageOf(err error) Damage {
	d := Damage{Err: err}
	var obj *repo.DamageError
	var tree *manifest.CorruptError
	switch {
	case asError(err, &obj):
		d.Object, d.Chunk = obj.Object, obj.Chunk
	case asError(err, &tree):
		d.Chunk = tree.Chunk
	}
	return d
}
