package backup

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/source"
)

// What a unit of small files may hold at most, besides the bytes that the format allows.
const (
	maxMembers   = 8192
	holeMinimum  = 32 << 10 // a file below this is not searched for holes
	readAttempts = 2        // how often a file that changes while it is read is read from its start
)

// bundle is the chunk of a unit. id is set once done is closed; it is zero where no content was left to store. done stays open where the unit
// could not be finished: that ends the run, and who waits is told by its context.
type bundle struct {
	done chan struct{}
	id   digest.Chunk
}

// unit is a stretch of changed entries, in tree order, whose small files share one chunk. A worker owns it from the moment it is
// dispatched until done is closed.
type unit struct {
	*bundle // on its own, since files elsewhere may refer to it long after the unit is gone
	members []member
	bytes   int64
	skipped bool // nothing of it was read since the run was ending
}

// job says what is to be done for a member.
type job uint8

const (
	readContent job = iota // regular file: read it
	newDetails             // content as in old, metadata anew
	detailsOnly            // no regular file
	hardlink               // another name of first
)

// member is one entry of a unit.
type member struct {
	path  []byte
	stat  source.Stat
	job   job
	old   []byte // newDetails: the earlier line
	first []byte // hardlink: path of the entry with the content

	// Results, to be read once the unit is done.
	details source.Details
	place   place          // of content in a bundle; place.bundle is nil where there is none
	hash    manifest.Hash  // of content in a bundle
	large   *contentResult // content that has its own pieces
	gone    bool           // vanished or not to be opened: leave it out
	several bool           // it had other names when it was listed, and perhaps has no more
	swapped bool           // what was read is another file than the one that was listed: names that were links to that are none of this
	err     error          // could not be read whole
	readAt  time.Time      // when reading began
}

// worker processes units and chunks. It owns its buffers; nothing of it is shared.
type worker struct {
	run    *run
	number int
	hash   *digest.Hasher
	buf    []byte
}

// unit processes all members of u and stores their chunk.
func (w *worker) unit(u *unit) error {
	if w.run.ending() {
		w.run.shorten()
		u.skipped = true
		close(u.done)
		return nil
	}
	w.buf = w.buf[:0]
	for i := range u.members {
		m := &u.members[i]
		if m.job == hardlink {
			continue
		}
		if err := w.details(m); err != nil {
			return err
		}
		if m.gone || m.job != readContent {
			continue
		}
		if err := w.content(u, m); err != nil {
			return err
		}
	}
	if len(w.buf) > 0 {
		u.id = w.hash.Sum(w.buf)
		frame, err := w.run.writer.Put(w.number, chunk.Data, u.id, w.buf)
		if err != nil {
			return err
		}
		w.run.put(frame)
	}
	close(u.done)
	return nil
}

// details reads link target and attributes. A failure is the entry's problem, not the run's.
func (w *worker) details(m *member) error {
	d, err := w.run.tree.Details(m.path, &m.stat)
	if errors.Is(err, fs.ErrNotExist) {
		m.gone, m.err = true, err
		return nil
	}
	if err != nil {
		m.err = err
		if m.stat.Type == source.Symlink {
			m.gone = true // a link without a target is nothing
		}
	}
	m.details = d
	return nil
}

// content reads a small file into the worker's buffer.
func (w *worker) content(u *unit, m *member) error {
	m.readAt = w.run.now()
	if m.stat.Size == 0 {
		return nil
	}
	for attempt := 1; ; attempt++ {
		again, err := w.readOnce(u, m, attempt == readAttempts)
		if err != nil || !again {
			return err
		}
	}
}

var (
	errChanged = errors.New("changed while it was read")
	errShort   = errors.New("became shorter while it was read")
)

// readOnce reads a file once; again tells that it changed meanwhile and was not kept. What the last attempt reads is kept all the same,
// and named as a problem.
func (w *worker) readOnce(u *unit, m *member, last bool) (again bool, err error) {
	f, err := w.run.tree.Open(m.path)
	if err != nil {
		m.gone, m.err = true, err
		return false, nil
	}
	defer func() { _ = f.Close() }()
	before, err := f.Stat()
	if err != nil {
		m.gone, m.err = true, err
		return false, nil
	}
	m.opened(&before)
	start := len(w.buf)
	if int64(start)+before.Size > w.run.bundleRoom || w.hasHoles(f, before.Size) {
		return false, w.readPieces(f, m)
	}
	buf, readErr := appendFile(w.buf, f, before.Size)
	n := len(buf) - start
	w.run.bytesRead.Add(int64(n))
	if after, err := f.Stat(); err == nil && changed(&before, &after) {
		if !last {
			return true, nil
		}
		readErr = errors.Join(errChanged, readErr)
	}
	m.err = errors.Join(m.err, readErr)
	m.stat.Size = int64(n)
	w.buf = buf
	w.place(u, m, start, n)
	return false, nil
}

// opened takes note of the file that was found under the path when it was opened.
func (m *member) opened(st *source.Stat) {
	m.several, m.swapped = m.linked(), m.swapped || m.stat.Inode != st.Inode || m.stat.Dev != st.Dev
	m.stat = *st
}

// linked reports whether later entries may be links to this one.
func (m *member) linked() bool { return m.several || m.stat.Nlink > 1 && m.stat.Type != source.Dir }

// place puts the n bytes that were read to buf[start:] into the bundle, unless an equal file lies elsewhere already.
func (w *worker) place(u *unit, m *member, start, n int) {
	w.buf = w.buf[:start+n]
	if n == 0 {
		return
	}
	m.hash = manifest.ShortHash(w.hash.Sum(w.buf[start:]))
	here := place{bundle: u.bundle, offset: uint32(start), length: uint32(n)}
	if there, ok := w.run.files.findOrAdd(m.hash, here); ok {
		w.buf = w.buf[:start]
		here = there
	}
	m.place = here
}

// readPieces reads a file that has holes, or has outgrown its bundle, chunk by chunk.
func (w *worker) readPieces(f source.Content, m *member) error {
	pool := newBufferPool(4) // its own: the common one may wait for this very worker
	res, err := w.run.readLarge(f, &m.stat, pool, func(b *buffer) (*pendingChunk, error) {
		id, err := w.store(b.data)
		pool.put(b)
		return &pendingChunk{id: id, n: int64(len(b.data))}, err
	})
	if err != nil {
		return err
	}
	m.large, m.err = res, errors.Join(m.err, res.err)
	m.stat.Size = res.size
	return nil
}

// store puts one chunk of a large file.
func (w *worker) store(content []byte) (digest.Chunk, error) {
	id := w.hash.Sum(content)
	frame, err := w.run.writer.Put(w.number, chunk.Data, id, content)
	w.run.put(frame)
	return id, err
}

func (w *worker) hasHoles(f source.Content, size int64) bool {
	if size < holeMinimum {
		return false
	}
	start, end, err := f.NextData(0, size)
	return err == nil && (start != 0 || end < size)
}

// changed reports whether a file was written to between two fstats.
func changed(a, b *source.Stat) bool {
	return a.Size != b.Size || a.MtimeSec != b.MtimeSec || a.MtimeNsec != b.MtimeNsec || a.CtimeSec != b.CtimeSec || a.CtimeNsec != b.CtimeNsec
}

// appendFile appends exactly size bytes of f, or what there is and an error.
func appendFile(dst []byte, f io.Reader, size int64) ([]byte, error) {
	start := len(dst)
	if cap(dst)-start < int(size) {
		grown := make([]byte, start, max(2*cap(dst), start+int(size)))
		copy(grown, dst)
		dst = grown
	}
	n, err := io.ReadFull(f, dst[start:start+int(size)])
	dst = dst[:start+n]
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return dst, fmt.Errorf("%w: %d of %d bytes", errShort, n, size)
	}
	return dst, err
}
