package restore

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/target"
)

// archiver writes a PAX tar (POSIX.1-2001) in the order of the manifest. The folder itself that is restored has no entry, so that extracting does
// not change the folder that it is extracted in. Holes are zeros. Names that are not UTF-8 are marked with hdrcharset=BINARY. Attributes
// are SCHILY.xattr records. Owners that are unknown are nobody (65534). Times before 1970 with a fraction are written as POSIX says; bsdtar 3.7 takes
// the fraction to count upward.
type archiver struct {
	r       *run
	tw      *tar.Writer
	open    *manifest.Entry // whose content is being written
	skip    bool            // it is left out
	damage  *Damage         // of what is being written
	written int64
	sockets int64
}

// runTar restores into a stream.
func runTar(ctx context.Context, o Options) (*Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.Workers = max(o.Workers, batchesAhead)
	r, err := newRun(ctx, o)
	if err != nil {
		return nil, err
	}
	a := &archiver{r: r, tw: tar.NewWriter(o.Tar)}
	stop := r.reportProgress()
	err = r.stream(ctx, a.step)
	stop()
	if err == nil {
		err = a.tw.Close()
	}
	if a.sockets > 0 {
		r.o.Report.Emit(event.Note{Text: fmt.Sprintf("a tar cannot hold sockets: %d left out", a.sockets)})
	}
	r.known.Store(true)
	return r.result(), coldError(ctx, o, err)
}

// errUnnamed tells of a name that PAX has no way to write.
var errUnnamed = errors.New("name cannot stand in a tar")

func (a *archiver) step(s *step) error {
	if s.entry != nil {
		a.open, a.damage, a.skip, a.written = s.entry, nil, false, 0
		if err := a.begin(s); err != nil {
			return err
		}
	}
	if a.skip {
		if s.whole && a.open.Type == manifest.File && len(s.link) == 0 {
			a.r.bytesDone.Add(a.open.Size)
		}
		return nil
	}
	for i := range s.pieces {
		if err := a.piece(&s.pieces[i]); err != nil {
			return err
		}
	}
	if s.whole {
		return a.end(s)
	}
	return nil
}

// begin counts an entry and writes its head, or decides to leave it out.
func (a *archiver) begin(s *step) error {
	r, e := a.r, s.entry
	switch e.Type {
	case manifest.File:
		r.total.files.Add(1)
		r.total.bytes.Add(e.Size)
	case manifest.Dir:
		r.total.dirs.Add(1)
	default:
		r.total.others.Add(1)
	}
	bad := s.failed
	if s.whole && bad == nil {
		bad = s.lost()
	}
	if d, lost := r.isLost(s.link); s.link != nil && lost && bad == nil {
		if bad = d; bad == nil {
			return a.leave(s, errFirstFailed)
		}
	}
	switch {
	case bad != nil:
		a.skip = true
		return r.damaged(s.rel, e.Size, *bad)
	case len(s.rel) == 0:
		a.skip = true
		r.done(target.Kept, "dir", s.rel, 0)
		return nil
	case e.Type == manifest.Socket && s.link == nil:
		a.skip = true
		a.sockets++
		r.done(target.Lacking, "socket", s.rel, 0)
		return nil
	}
	if err := a.tw.WriteHeader(a.header(s)); err != nil {
		if errors.Is(err, tar.ErrHeader) {
			return a.leave(s, fmt.Errorf("%w: %w", errUnnamed, err))
		}
		return err
	}
	return nil
}

func (a *archiver) leave(s *step, err error) error {
	a.skip = true
	return a.r.failed(s.rel, s.entry.Type.String(), s.entry.Size, err)
}

// lost returns why a piece of the step cannot be had.
func (s *step) lost() *Damage {
	for i := range s.pieces {
		if c := s.pieces[i].chunk; c != nil {
			if c.bad != nil {
				return c.bad
			}
			if s.pieces[i].off+s.pieces[i].n > int64(len(c.raw)) {
				return &Damage{Chunk: c.id, Err: errShort}
			}
		}
	}
	return nil
}

// piece writes content. The head of the file is out already: what is lost is zeros, and named.
func (a *archiver) piece(p *held) error {
	a.written += p.n
	a.r.bytesDone.Add(p.n)
	if c := p.chunk; c != nil && c.bad == nil && p.off+p.n <= int64(len(c.raw)) {
		_, err := a.tw.Write(c.raw[p.off : p.off+p.n])
		return err
	} else if c != nil && a.damage == nil {
		if a.damage = c.bad; a.damage == nil {
			a.damage = &Damage{Chunk: c.id, Err: errShort}
		}
	}
	return a.zeros(p.n)
}

func (a *archiver) zeros(n int64) error {
	for n > 0 {
		k, err := a.tw.Write(zeros[:min(n, int64(len(zeros)))])
		if err != nil {
			return err
		}
		n -= int64(k)
	}
	return nil
}

// end closes an entry.
func (a *archiver) end(s *step) error {
	r, e := a.r, a.open
	if s.link != nil {
		r.bytesDone.Add(e.Size)
	}
	if s.failed != nil && a.damage == nil {
		a.damage = s.failed
	}
	if e.Type == manifest.File && s.link == nil && a.written < e.Size {
		if err := a.zeros(e.Size - a.written); err != nil {
			return err
		}
	}
	if a.damage != nil {
		d := *a.damage
		d.Kept = true
		return r.damaged(s.rel, e.Size, d)
	}
	r.done(target.Created, e.Type.String(), s.rel, e.Size)
	return nil
}

var tarTypes = [...]byte{
	manifest.File: tar.TypeReg, manifest.Dir: tar.TypeDir, manifest.Symlink: tar.TypeSymlink, manifest.FIFO: tar.TypeFifo,
	manifest.Char: tar.TypeChar, manifest.Block: tar.TypeBlock, manifest.Socket: tar.TypeReg,
}

// header describes an entry.
func (a *archiver) header(s *step) *tar.Header {
	e := s.entry
	h := &tar.Header{
		Format: tar.FormatPAX, Typeflag: tarTypes[e.Type], Name: string(s.rel), Mode: int64(e.Mode), Uid: tarID(e.UID), Gid: tarID(e.GID),
		Uname: noNUL(e.User), Gname: noNUL(e.Group), ModTime: time.Unix(e.Mtime.Sec, int64(e.Mtime.Nsec)), PAXRecords: map[string]string{},
	}
	switch {
	case s.link != nil:
		h.Typeflag, h.Linkname = tar.TypeLink, string(s.link)
	case e.Type == manifest.File:
		h.Size = e.Size
	case e.Type == manifest.Dir:
		h.Name += "/"
	case e.Type == manifest.Symlink:
		h.Linkname = string(e.Target)
	case e.Type == manifest.Char || e.Type == manifest.Block:
		h.Devmajor, h.Devminor = int64(e.Major), int64(e.Minor)
	}
	if s.link == nil {
		for _, x := range e.Xattrs {
			h.PAXRecords["SCHILY.xattr."+xattrKeyword.Replace(x.Name)] = string(x.Value)
		}
	}
	if strings.ToValidUTF8(h.Name+h.Linkname+h.Uname+h.Gname, "") != h.Name+h.Linkname+h.Uname+h.Gname {
		h.PAXRecords["hdrcharset"] = "BINARY"
	}
	return h
}

// xattrKeyword writes a name so that it can be the keyword of a record, as GNU tar does.
var xattrKeyword = strings.NewReplacer("%", "%25", "=", "%3D")

func noNUL(s string) string {
	if strings.IndexByte(s, 0) >= 0 {
		return ""
	}
	return s
}

// tarID is an owner as a tar has it.
func tarID(id int64) int {
	if id < 0 || int64(int(id)) != id {
		return 65534
	}
	return int(id)
}
