package backup

import (
	"context"
	"errors"
	"io"
	"sync"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/source"
)

// readStep is how much of a large file is read at once, in bytes. What is read past a cut moves to the next buffer, so a small step
// costs less copying.
const readStep = 256 << 10

// buffer holds the content of one chunk on its way.
type buffer struct{ data []byte }

// bufferPool hands out a bounded number of buffers, so that reading cannot run ahead of compressing.
type bufferPool struct {
	tokens chan struct{}
	mu     sync.Mutex
	free   []*buffer
}

func newBufferPool(n int) *bufferPool { return &bufferPool{tokens: make(chan struct{}, n)} }

// get waits for a buffer; it is empty.
func (p *bufferPool) get() *buffer {
	p.tokens <- struct{}{}
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		b.data = b.data[:0]
		return b
	}
	return &buffer{data: make([]byte, 0, bufferSize)}
}

// bufferSize is what most chunks need. A buffer that grew past it is not kept.
const bufferSize = 2 << 20

func (p *bufferPool) put(b *buffer) {
	if cap(b.data) <= bufferSize {
		p.mu.Lock()
		p.free = append(p.free, b)
		p.mu.Unlock()
	}
	<-p.tokens
}

// pendingChunk is a chunk of a large file that a worker has taken or finished.
type pendingChunk struct {
	buf  *buffer // nil once stored
	n    int64
	id   digest.Chunk
	err  error
	done chan struct{} // nil: finished when it was returned
}

// wait returns the id.
func (c *pendingChunk) wait() (digest.Chunk, error) {
	if c.done != nil {
		<-c.done
	}
	return c.id, c.err
}

// contentResult is the content of a file that is stored in pieces of its own.
type contentResult struct {
	entry manifest.Entry // Content, Tree, Hash, Size
	ids   []digest.Chunk // data chunks
	nodes []digest.Chunk // chunks of the content tree
	size  int64          // bytes read, holes included
	err   error          // the file's problem
}

// large is a file that is read by a goroutine of its own.
type large struct {
	member
	done   chan struct{}
	stored settled
	short  bool // only a part of it was read since the run was ending
}

// settled is which chunks of a large file are stored, for a partial snapshot that is published before its end.
type settled struct {
	mu  sync.Mutex
	ids []digest.Chunk
}

func (s *settled) add(id digest.Chunk) {
	s.mu.Lock()
	s.ids = append(s.ids, id)
	s.mu.Unlock()
}

// take returns those that were added since the last call.
func (s *settled) take() []digest.Chunk {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := s.ids
	s.ids = nil
	return ids
}

// extent is a stretch of data of a sparse file; stream is its place in the sequence of all data.
type extent struct{ stream, file, n int64 }

// largeReader cuts one file.
type largeReader struct {
	run     *run
	pool    *bufferPool
	f       source.Content
	cutter  *cdc.Cutter
	take    func(*buffer) (*pendingChunk, error)
	stored  *settled // told of each chunk that is stored; nil: nobody is
	pending []*pendingChunk
	extents []extent
	content *manifest.ContentBuilder
	res     *contentResult
	stream  int64 // bytes of data in chunks so far
	at      int64 // file offset up to which pieces were added
	failed  bool  // reading ended early
	file    bool  // no stream: which chunks it has is kept for the next run
}

// readLarge reads a file of st.Size bytes, cuts it and hands each chunk to take, which gives the buffer back. Errors of the file are in the result; what
// is returned as error ends the run.
func (r *run) readLarge(f source.Content, st *source.Stat, pool *bufferPool, take func(*buffer) (*pendingChunk, error)) (*contentResult, error) {
	return r.readLargeTold(f, st, pool, take, nil)
}

// readLargeTold is readLarge for a file, or a stream, whose chunks somebody hears of while it is read.
func (r *run) readLargeTold(f source.Content, st *source.Stat, pool *bufferPool, take func(*buffer) (*pendingChunk, error), stored *settled) (*contentResult, error) {
	l := &largeReader{run: r, pool: pool, f: f, cutter: cdc.NewCutter(r.gear, r.cut), take: take, stored: stored, res: &contentResult{}}
	l.content = manifest.NewContentBuilder(r.gear.Hash, func(content []byte) (digest.Chunk, error) {
		id, err := r.putMeta(content)
		l.res.nodes = append(l.res.nodes, id)
		return id, err
	}, digest.NewHasher(r.listKey))
	read := func() error { return l.read(st.Size) }
	if l.file = st.Size != source.UnknownSize; !l.file {
		read = l.readStream
	}
	if err := read(); err != nil {
		if errors.Is(err, errEnough) {
			if failed := l.abandon(); failed != nil {
				err = failed
			}
		}
		return nil, err
	}
	if after, err := f.Stat(); l.res.err == nil && err == nil && changed(st, &after) {
		l.res.err = errChanged
	}
	if err := l.content.Finish(&l.res.entry); err != nil {
		return nil, err
	}
	if len(l.res.entry.Content) == 1 && !l.res.entry.Content[0].IsHole() {
		l.res.entry.Hash = manifest.ShortHash(l.res.entry.Content[0].Chunk)
	}
	l.res.size = l.at
	return l.res, nil
}

// read goes through the data of the file, stretch by stretch.
func (l *largeReader) read(size int64) error {
	buf := l.pool.get()
	defer func() {
		if buf != nil {
			l.pool.put(buf)
		}
	}()
	var err error
	for off := int64(0); off < size && l.res.err == nil; {
		start, end, nerr := l.f.NextData(off, size)
		if nerr != nil || end > size || start < off {
			start, end = off, size
		}
		if start >= end {
			break
		}
		l.extents = append(l.extents, extent{l.streamEnd(), start, 0})
		if buf, err = l.readExtent(buf, start, end); err != nil {
			return err
		}
		off = end
	}
	last := buf
	buf = nil
	if err := l.last(last); err != nil {
		return err
	}
	if now, err := l.f.Stat(); err == nil && now.Size < size {
		if l.res.err == nil {
			l.res.err = errShort
		}
		size = max(now.Size, l.at)
	}
	if l.at < size && !l.failed { // a hole at the end
		if err := l.content.Add(manifest.Piece{Length: size - l.at}); err != nil {
			return err
		}
		l.at = size
	}
	return nil
}

// last stores what is left in the buffer, which it gives back, and waits for all chunks.
func (l *largeReader) last(buf *buffer) error {
	if len(buf.data) == 0 {
		l.pool.put(buf)
	} else if err := l.cut(buf); err != nil {
		return err
	}
	return l.settleAll()
}

// settleAll waits for all chunks.
func (l *largeReader) settleAll() error {
	for len(l.pending) > 0 {
		if err := l.settle(); err != nil {
			return err
		}
	}
	return nil
}

// abandon waits for the chunks that are with workers, and notes those that were stored.
func (l *largeReader) abandon() error {
	for _, p := range l.pending {
		id, err := p.wait()
		if err != nil && !errors.Is(err, errEnough) {
			return err
		}
		if err == nil && l.stored != nil {
			l.stored.add(id)
		}
	}
	l.pending = nil
	return nil
}

// enough reports whether to read no further. Who is told of no chunks reads a small file, to its end.
func (l *largeReader) enough() bool { return l.stored != nil && l.run.ending() }

// readStream reads to the end. What the producer reports ends the run: half of what it makes is nothing.
func (l *largeReader) readStream() error {
	buf := l.pool.get()
	defer func() {
		if buf != nil {
			l.pool.put(buf)
		}
	}()
	l.extents = append(l.extents, extent{})
	for {
		if err := l.run.ctx.Err(); err != nil {
			return err
		}
		if l.enough() {
			return errEnough
		}
		n := min(readStep, l.run.cut.Max-len(buf.data))
		buf.grow(n)
		got, rerr := l.f.Read(buf.data[len(buf.data) : len(buf.data)+n])
		buf.data = buf.data[:len(buf.data)+got]
		l.extents[len(l.extents)-1].n += int64(got)
		l.run.bytesRead.Add(int64(got))
		l.run.bytesDone.Add(int64(got))
		var err error
		if buf, err = l.cutAll(buf); err != nil {
			return err
		}
		if rerr != nil && l.enough() {
			return errEnough // also at an end: whoever closes a stream may make one
		}
		if rerr == io.EOF { // and nothing that speaks of one
			break
		}
		if rerr != nil && l.run.ctx.Err() != nil {
			return l.run.ctx.Err() // it was closed for that
		}
		if rerr != nil {
			return rerr
		}
	}
	full := buf
	buf = nil
	return l.last(full)
}

// cutAll hands on the chunks that are complete in buf, and returns the buffer with what is left. It has given buf away where it fails.
func (l *largeReader) cutAll(buf *buffer) (*buffer, error) {
	for {
		cut := l.cutter.Next(buf.data)
		if cut == 0 {
			return buf, nil
		}
		next := l.pool.get()
		next.grow(len(buf.data) - cut)
		next.data = append(next.data, buf.data[cut:]...)
		buf.data = buf.data[:cut]
		if err := l.cut(buf); err != nil {
			return next, err
		}
		buf = next
		l.cutter.Reset()
	}
}

// streamEnd is where the next extent begins in the sequence of all data.
func (l *largeReader) streamEnd() int64 {
	if len(l.extents) == 0 {
		return l.stream
	}
	last := l.extents[len(l.extents)-1]
	return last.stream + last.n
}

// readExtent reads one stretch of data, cutting as it goes, and returns the buffer with what is left.
func (l *largeReader) readExtent(buf *buffer, off, end int64) (*buffer, error) {
	for off < end {
		if err := l.run.ctx.Err(); err != nil {
			return buf, err
		}
		if l.enough() {
			return buf, errEnough
		}
		n := min(readStep, end-off, int64(l.run.cut.Max-len(buf.data)))
		buf.grow(int(n))
		got, err := l.f.ReadAt(buf.data[len(buf.data):len(buf.data)+int(n)], off)
		buf.data = buf.data[:len(buf.data)+got]
		off += int64(got)
		l.extents[len(l.extents)-1].n += int64(got)
		l.run.bytesRead.Add(int64(got))
		var failed error
		if buf, failed = l.cutAll(buf); failed != nil {
			return buf, failed
		}
		if err != nil && !(errors.Is(err, io.EOF) && off >= end) {
			if errors.Is(err, io.EOF) {
				err = errShort
			}
			l.res.err, l.failed = err, true
			return buf, nil
		}
	}
	return buf, nil
}

// grow makes room for n more bytes.
func (b *buffer) grow(n int) {
	if len(b.data)+n <= cap(b.data) {
		return
	}
	grown := make([]byte, len(b.data), max(2*cap(b.data), len(b.data)+n))
	copy(grown, b.data)
	b.data = grown
}

// cut hands a finished chunk on. Not more than a few wait at once.
func (l *largeReader) cut(b *buffer) error {
	p, err := l.take(b)
	if err != nil {
		return err
	}
	l.pending = append(l.pending, p)
	for len(l.pending) > cap(l.pool.tokens) {
		if err := l.settle(); err != nil {
			return err
		}
	}
	return nil
}

// settle waits for the oldest chunk and adds its pieces: one for each extent that it covers, with the holes between.
func (l *largeReader) settle() error {
	p := l.pending[0]
	l.pending = l.pending[1:]
	id, err := p.wait()
	if err != nil {
		return err
	}
	if l.stored != nil {
		l.stored.add(id)
	}
	if l.file {
		l.res.ids = append(l.res.ids, id)
	}
	start, end := l.stream, l.stream+p.n
	l.stream = end
	for len(l.extents) > 0 && start < end {
		e := &l.extents[0]
		n := min(e.n, end-start)
		if e.file > l.at {
			if err := l.content.Add(manifest.Piece{Length: e.file - l.at}); err != nil {
				return err
			}
			l.at = e.file
		}
		if n > 0 {
			if err := l.content.Add(manifest.Piece{Chunk: id, Offset: uint32(start - (end - p.n)), Length: n}); err != nil {
				return err
			}
		}
		l.at += n
		start += n
		e.stream, e.file, e.n = e.stream+n, e.file+n, e.n-n
		if e.n == 0 && len(l.extents) > 1 {
			l.extents = l.extents[1:]
		} else if e.n == 0 {
			break
		}
	}
	return nil
}

// readLargeFile is the goroutine of one large file.
func (r *run) readLargeFile(l *large) error {
	err := errEnough
	if !r.ending() {
		err = r.readMember(&l.member, &l.stored)
	}
	if errors.Is(err, errEnough) {
		r.shorten()
		l.short, err = true, r.ctx.Err()
	}
	if err != nil {
		return err // done stays open: the run ends
	}
	close(l.done)
	return nil
}

func (r *run) readMember(m *member, stored *settled) error {
	m.readAt = r.now()
	d, err := r.tree.Details(m.path, &m.stat)
	if err != nil {
		m.err = err
	}
	m.details = d
	f, err := r.tree.Open(m.path)
	if err != nil && m.stat.Size == source.UnknownSize {
		return err
	}
	if err != nil {
		m.gone, m.err = true, err
		return nil
	}
	defer func() { _ = f.Close() }()
	if m.stat.Size == source.UnknownSize { // a producer may be silent for as long as it likes, and a run that has failed waits for no one
		defer context.AfterFunc(r.soft, func() { _ = f.Close() })()
	}
	st, err := f.Stat()
	if err != nil {
		m.gone, m.err = true, err
		return nil
	}
	m.opened(&st)
	m.large, err = r.readLargeTold(f, &m.stat, r.buffers, r.dispatchChunk, stored)
	if err != nil {
		return err
	}
	if m.stat.Size == source.UnknownSize {
		r.countStream(m.large.size)
	}
	m.err = errors.Join(m.err, m.large.err)
	m.stat.Size = m.large.size
	return nil
}

// dispatchChunk gives a chunk to the workers.
func (r *run) dispatchChunk(b *buffer) (*pendingChunk, error) {
	p := &pendingChunk{buf: b, n: int64(len(b.data)), done: make(chan struct{})}
	select {
	case r.chunks <- p:
		return p, nil
	case <-r.ctx.Done():
		r.buffers.put(b)
		return nil, r.ctx.Err()
	}
}

// chunk stores one chunk of a large file.
func (w *worker) chunk(p *pendingChunk) error {
	defer close(p.done)
	if w.run.ending() {
		p.err = errEnough // its file hears of it and goes on in the next run
	} else {
		p.id, p.err = w.store(p.buf.data)
	}
	w.run.buffers.put(p.buf)
	p.buf = nil
	if p.err == errEnough {
		return nil
	}
	return p.err
}

// putMeta stores a chunk of a manifest or content tree.
func (r *run) putMeta(content []byte) (digest.Chunk, error) {
	r.metaMu.Lock()
	id := r.metaHash.Sum(content)
	r.metaMu.Unlock()
	frame, err := r.writer.Put(0, chunk.Meta, id, content)
	r.put(frame)
	return id, err
}
