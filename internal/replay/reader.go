package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/store"
)

// reader is a stream being read.
type reader struct {
	s    *Streams
	l    *link
	ctx  context.Context
	stop context.CancelCauseFunc

	shelf shelf
	work  chan *window
	order chan *window
	all   sync.WaitGroup
	ended error // of the cutter, once order is closed

	cur  *window
	at   int   // segment of cur
	off  int64 // of the stream
	rest []byte
	hole int64 // bytes of a hole to come
	err  error
}

var errShort = errors.New("chunk is shorter than the stream says")

func lostChunk(id digest.Chunk) error { return fmt.Errorf("chunk %v: %w", id, repo.ErrUnknownChunk) }

// newReader begins to fetch.
func (s *Streams) newReader(ctx context.Context, l *link) (*reader, error) {
	n := s.o.workers()
	r := &reader{s: s, l: l, work: make(chan *window), order: make(chan *window, n+1)}
	r.ctx, r.stop = context.WithCancelCause(ctx)
	l.failed = nil
	var readers []*repo.Reader
	for range n {
		rd, err := s.o.Repo.NewReader(s.o.Scope, l.item.Epoch)
		if err != nil {
			r.stop(err)
			return nil, err
		}
		readers = append(readers, rd)
	}
	r.all.Go(r.cut)
	for _, rd := range readers {
		r.all.Go(func() {
			for w := range r.work {
				r.fetch(rd, w)
				close(w.done)
			}
		})
	}
	return r, nil
}

// cut hands windows to the workers, and to who reads.
func (r *reader) cut() {
	defer close(r.order)
	defer close(r.work)
	c := newCutter(r.s.o.Scope, r.l, &r.shelf)
	for {
		w, err := c.next()
		if w == nil || err != nil {
			r.ended = err
			return
		}
		for _, to := range []chan *window{r.order, r.work} {
			select {
			case to <- w:
			case <-r.ctx.Done():
				r.ended = context.Cause(r.ctx)
				return
			}
		}
	}
}

// fetch brings the chunks of a window.
func (r *reader) fetch(rd *repo.Reader, w *window) {
	if w.err != nil {
		r.drop(w)
		return
	}
	w.err = w.groups(func(pack int, chunks []*held) error { return r.pack(rd, w, pack, chunks) })
	if w.err != nil {
		r.drop(w)
	}
}

// drop tells those who wait for what a window has not brought why it does not come.
func (r *reader) drop(w *window) {
	for _, h := range w.fetch {
		if h.raw == nil && h.err == nil {
			h.err = w.err
			close(h.ready)
		}
	}
}

// pack brings chunks that lie in one pack. Where a copy of it has gone, it waits for the next.
func (r *reader) pack(rd *repo.Reader, w *window, number int, chunks []*held) error {
	name, err := r.s.packName(number)
	if err != nil {
		return err
	}
	for {
		if err := r.l.gate.pass(r.ctx, w, name); err != nil {
			return err
		}
		left, cold, err := r.read(rd, chunks)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if !cold || r.l.gate == nil {
			return r.elsewhere(rd, left)
		}
		r.l.gate.close(name)
		chunks = left
	}
}

// read reads chunks of a pack, and returns those that could not be had from it.
func (r *reader) read(rd *repo.Reader, chunks []*held) (left []*held, cold bool, err error) {
	list := wants(chunks)
	for rest := list; len(rest) > 0; rest = rest[repo.OneRequest(rest):] {
		r.s.fed.requests.Add(1)
	}
	err = rd.ReadPack(r.ctx, list, func(i int, raw []byte) error {
		h := chunks[i]
		h.raw = r.shelf.clone(raw)
		r.s.fed.got.Add(int64(h.want.Loc.Frame))
		close(h.ready)
		return nil
	}, func(i int, err error) error {
		left = append(left, chunks[i])
		cold = cold || errors.Is(err, store.ErrCold)
		return nil
	})
	return left, cold, err
}

// elsewhere looks for chunks that a pack does not have as it should in all packs that have them.
func (r *reader) elsewhere(rd *repo.Reader, chunks []*held) error {
	for _, h := range chunks {
		raw, err := rd.Chunk(r.ctx, h.want.ID)
		if err != nil {
			return err
		}
		h.raw = r.shelf.clone(raw)
		close(h.ready)
	}
	return nil
}

// Read implements io.Reader. It returns io.EOF only where all that the stream has was read and verified.
func (r *reader) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	if r.hole > 0 {
		n := int(min(r.hole, int64(len(b))))
		clear(b[:n])
		r.hole -= int64(n)
		r.advance(n)
		return n, nil
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	r.advance(n)
	return n, nil
}

// WriteTo implements io.WriterTo.
func (r *reader) WriteTo(to io.Writer) (total int64, err error) {
	zeros := make([]byte, 64<<10)
	for {
		if err := r.fill(); err == io.EOF {
			return total, nil
		} else if err != nil {
			return total, err
		}
		b := r.rest
		if r.hole > 0 {
			b = zeros[:min(r.hole, int64(len(zeros)))]
		}
		n, err := to.Write(b)
		if r.hole > 0 {
			r.hole -= int64(n)
		} else {
			r.rest = r.rest[n:]
		}
		r.advance(n)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

func (r *reader) advance(n int) {
	r.off += int64(n)
	r.s.fed.bytes.Add(int64(n))
}

// fill makes sure that there is something to read.
func (r *reader) fill() error {
	for r.err == nil && len(r.rest) == 0 && r.hole == 0 {
		if r.err = r.step(); r.err != nil && r.err != io.EOF && r.l.failed == nil {
			r.l.failed = r.err
		}
	}
	if len(r.rest) > 0 || r.hole > 0 {
		return nil
	}
	return r.err
}

// step goes to the next segment.
func (r *reader) step() error {
	if r.cur == nil || r.at == len(r.cur.segments) {
		if r.cur != nil {
			r.shelf.leave(r.cur.uses)
			r.l.gate.read(r.l, r.cur.to)
		}
		if err := r.turn(); err != nil {
			return err
		}
	}
	s := &r.cur.segments[r.at]
	r.at++
	if s.held == nil {
		r.hole = s.n
		return nil
	}
	<-s.held.ready
	switch {
	case s.held.err != nil:
		return s.held.err
	case s.off+s.n > int64(len(s.held.raw)):
		return &repo.DamageError{Chunk: s.held.want.ID, Err: errShort}
	}
	r.rest = s.held.raw[s.off : s.off+s.n]
	return nil
}

// turn goes to the next window.
func (r *reader) turn() error {
	w, more := <-r.order
	if !more {
		r.cur = nil
		switch {
		case r.ended != nil:
			return r.ended
		case r.off != r.l.Size:
			return fmt.Errorf("stream has %d bytes, want %d", r.off, r.l.Size)
		}
		return io.EOF
	}
	r.l.gate.wait(w)
	select {
	case <-w.done:
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
	r.l.gate.wait(nil)
	if w.err != nil {
		return w.err
	}
	r.cur, r.at = w, 0
	return nil
}

var errClosed = errors.New("stream is closed")

// Close ends what is under way.
func (r *reader) Close() error {
	r.stop(errClosed)
	r.all.Wait()
	if r.err == nil {
		r.err = errClosed
	}
	r.rest, r.hole = nil, 0
	r.l.gate.wait(nil)
	return nil
}
