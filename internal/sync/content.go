package sync

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync/atomic"

	"firn/internal/source"
)

// readError is trouble with a file of this machine.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

// reading is a file, or what stands for the content of a link or folder, that is open.
type reading struct {
	io.ReaderAt
	c  source.Content // nil: content in memory
	st source.Stat    // when it was opened
}

// begin opens a file of the walk, and returns it as it is now.
func (f *folder) begin(l *localFile) (*reading, *localFile, error) {
	now := *l
	if l.isLnk || l.dir {
		if l.isLnk {
			now.size = int64(len(l.link))
		}
		return &reading{ReaderAt: bytes.NewReader([]byte(l.link))}, &now, nil
	}
	c, err := f.open(l)
	if err != nil {
		return nil, nil, &readError{err}
	}
	st, err := c.Stat()
	if err != nil {
		_ = c.Close()
		return nil, nil, &readError{err}
	}
	now.fill(&st)
	return &reading{c, c, st}, &now, nil
}

// changed reports whether the file is another than when it was opened.
func (r *reading) changed() bool {
	if r.c == nil {
		return false
	}
	st, err := r.c.Stat()
	return err != nil || st.Size != r.st.Size || st.MtimeSec != r.st.MtimeSec || st.MtimeNsec != r.st.MtimeNsec || st.CtimeSec != r.st.CtimeSec || st.CtimeNsec != r.st.CtimeNsec
}

// Close closes the file.
func (r *reading) Close() error {
	if r.c == nil {
		return nil
	}
	return r.c.Close()
}

// guard reads a stretch of a file for a request. Its last bytes are handed over only if the file is then what it was when it was opened; else the request is ended, and err tells why.
type guard struct {
	f        *reading
	off, len int64
	at       int64
	stop     context.CancelFunc
	failed   atomic.Pointer[readError]
}

// stretch makes a guard; the context ends when reading fails, so that nobody tries again what cannot go well.
func (r *reading) stretch(ctx context.Context, off, size int64) (context.Context, *guard) {
	ctx, cancel := context.WithCancel(ctx)
	return ctx, &guard{f: r, off: off, len: size, stop: cancel}
}

func (g *guard) fail(err error) error {
	e := &readError{err}
	g.failed.Store(e)
	g.stop()
	return e
}

// err is why the request cannot have gone well.
func (g *guard) err(of error) error {
	g.stop()
	if e := g.failed.Load(); e != nil {
		return e
	}
	return of
}

// Read implements io.Reader.
func (g *guard) Read(p []byte) (int, error) {
	if e := g.failed.Load(); e != nil {
		return 0, e
	}
	if g.at >= g.len {
		return 0, io.EOF
	}
	n, err := g.f.ReadAt(p[:min(int64(len(p)), g.len-g.at)], g.off+g.at)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return 0, g.fail(err)
	case n == 0 && len(p) > 0:
		return 0, g.fail(ErrChanged) // shorter than it was
	}
	if g.at += int64(n); g.at == g.len && g.f.changed() {
		return 0, g.fail(ErrChanged)
	}
	return n, nil
}

// Seek implements io.Seeker.
func (g *guard) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += g.at
	case io.SeekEnd:
		offset += g.len
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	g.at = offset
	return offset, nil
}
