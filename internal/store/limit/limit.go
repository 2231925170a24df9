// Package limit bounds what a store is asked at once and how many bytes flow in each direction, which may change with the hour (Rate), also while bytes flow; and it counts
// what is sent.
//
// Where the store says that it is asked too much (store.IsThrottled) the number of slots is halved, and it grows again by one with every round of calls that go
// well (the way in which TCP shares a line), up to what was configured.
//
// Reads and writes have separate slots, so that a caller who holds a reader open can put. A reader holds its slot until it is
// closed: who opens more readers than there are slots, without closing any, waits for ever. Listings, Stat and Delete take no slot.
package limit

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"firn/internal/store"
)

// Options of a limited store; zero values are no limit.
type Options struct {
	Connections int              // most Puts at once, and Gets at once
	Up, Down    Rate             // over all connections
	Now         func() time.Time // the clock of Up and Down; nil: the system's
	Sent        *atomic.Int64    // gets what content was handed on to be sent, in bytes, each time that it was; nil: nobody counts
}

// Store limits another store. Optional powers (store.As) other than store.Creator go past the limits.
type Store struct {
	s          store.Store
	puts, gets *gate // nil: no limit
	up, down   *pace // nil: no limit
	sent       *atomic.Int64
}

// New returns a store that asks s within the limits of o. It is a store.Creator where s is one.
func New(s store.Store, o Options) store.Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Store{s: s, up: newPace(o.Up, o.Now), down: newPace(o.Down, o.Now), sent: o.Sent}
	if o.Connections > 0 {
		l.puts, l.gets = newGate(o.Connections), newGate(o.Connections)
	}
	if c, ok := store.As[store.Creator](s); ok && l.watchesPuts() {
		return &creator{l, c}
	}
	return l
}

// watchesPuts reports whether content that is sent has to pass by here.
func (s *Store) watchesPuts() bool { return s.up != nil || s.sent != nil }

// Unwrap implements store.Wrapper.
func (s *Store) Unwrap() store.Store { return s.s }

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	leave, err := s.puts.enter(ctx)
	if err != nil {
		return store.Fail("put", name, err)
	}
	if s.watchesPuts() {
		r = paced(ctx, r, s.up, s.sent)
	}
	err = s.s.Put(ctx, name, r, size, o)
	leave(err)
	return err
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	leave, err := s.gets.enter(ctx)
	if err != nil {
		return nil, store.Fail("get", name, err)
	}
	r, err := s.s.Get(ctx, name, offset, length)
	if err != nil {
		leave(err)
		return nil, err
	}
	return &reader{r: slow{ctx, r, s.down, nil}, c: r, leave: leave}, nil
}

// slow reads no faster than its bucket fills, and counts.
type slow struct {
	ctx  context.Context
	r    io.Reader
	b    *pace         // nil: no limit
	sent *atomic.Int64 // nil: nobody counts
}

func (s slow) Read(p []byte) (int, error) {
	if s.b != nil {
		p = p[:min(len(p), s.b.piece())]
	}
	n, err := s.r.Read(p)
	return n, s.passed(n, err)
}

// passed waits until n bytes may pass, and returns err or why it did not wait to the end.
func (s slow) passed(n int, err error) error {
	if s.b != nil {
		if wait := s.b.wait(s.ctx, n); wait != nil && err == nil {
			return wait
		}
	}
	if s.sent != nil {
		s.sent.Add(int64(n))
	}
	return err
}

// slowSeeker is content to be put: a store.Paced, which can be read in several places at once (slowReaderAt) where what is behind it can.
type slowSeeker struct {
	slow
	io.Seeker
	behind io.ReadSeeker
}

func paced(ctx context.Context, r io.ReadSeeker, b *pace, sent *atomic.Int64) io.ReadSeeker {
	s := &slowSeeker{slow{ctx, r, b, sent}, r, r}
	if at, ok := r.(io.ReaderAt); ok {
		return &slowReaderAt{s, at}
	}
	return s
}

// Unpaced implements store.Paced.
func (s *slowSeeker) Unpaced() io.ReadSeeker { return s.behind }

type slowReaderAt struct {
	*slowSeeker
	at io.ReaderAt
}

// ReadAt implements io.ReaderAt.
func (s *slowReaderAt) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = s.at.ReadAt(p[n:min(len(p), n+s.b.piece())], offset+int64(n))
		n += m
		if end := s.passed(m, nil); end != nil {
			return n, end
		}
	}
	if n == len(p) && err == io.EOF {
		err = nil
	}
	return n, err
}

type reader struct {
	r     slow
	c     io.Closer
	leave func(error)
	err   error // that ended the reading
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

func (r *reader) Close() error {
	defer r.leave(r.err)
	return r.c.Close()
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return s.s.List(ctx, prefix, after, fn)
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	return s.s.Stat(ctx, name)
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error { return s.s.Delete(ctx, name) }

// Location implements store.Store.
func (s *Store) Location() string { return s.s.Location() }

// Close implements store.Store.
func (s *Store) Close() error { return s.s.Close() }

// creator is a Store in front of one that objects can be streamed into. Only the flow of bytes is limited: packs are open for as long as they are filled,
// and their number has bounds of its own.
type creator struct {
	*Store
	c store.Creator
}

// Create implements store.Creator.
func (c *creator) Create(ctx context.Context, o store.PutOptions) (store.Pending, error) {
	p, err := c.c.Create(ctx, o)
	if err != nil {
		return nil, err
	}
	return &pending{p, ctx, c.up, c.sent}, nil
}

// pending takes bytes no faster than its bucket fills.
type pending struct {
	store.Pending
	ctx  context.Context
	b    *pace
	sent *atomic.Int64
}

func (p *pending) Write(b []byte) (n int, err error) {
	for n < len(b) {
		part := b[n:min(len(b), n+p.b.piece())]
		if p.b != nil {
			if err := p.b.wait(p.ctx, len(part)); err != nil {
				return n, store.Fail("put", "", err)
			}
		}
		m, err := p.Pending.Write(part)
		n += m
		if p.sent != nil {
			p.sent.Add(int64(m))
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
