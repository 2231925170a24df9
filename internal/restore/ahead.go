package restore

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/store"
)

// How far a stream is read ahead: batches of this much content, so many of them between the manifest and the writer.
const (
	batchRaw     = 4 << 20 // bytes
	batchEntries = 8192
	batchesAhead = 2
)

// step is one entry of a stream, or a part of one.
type step struct {
	entry  *manifest.Entry // nil: more of the entry before
	link   []byte          // hard link: to this path
	rel    []byte
	pieces []held
	whole  bool // the last part of the entry
	failed *Damage
}

// held is a piece of content in a step; chunk nil: a hole.
type held struct {
	chunk  *chunkContent
	off, n int64
}

// chunkContent is a chunk that several steps may need. It is read after its batch is ready, until the last batch that needs it is written.
type chunkContent struct {
	id      digest.Chunk
	loc     repo.Want
	batches atomic.Int32 // that need it; 0: gone
	raw     []byte
	bad     *Damage
}

// share notes one more batch; false: it is too late.
func (c *chunkContent) share() bool {
	for n := c.batches.Load(); n > 0; n = c.batches.Load() {
		if c.batches.CompareAndSwap(n, n+1) {
			return true
		}
	}
	return false
}

// spare keeps the memory of chunks that are written for those to come.
type spare struct {
	mu   sync.Mutex
	free [][]byte
}

// spareMax is how many pieces of memory wait, spareStep what their size is a multiple of.
const (
	spareMax  = 8
	spareStep = 256 << 10
)

// clone returns a copy of b.
func (s *spare) clone(b []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	best := -1
	for i, f := range s.free {
		if cap(f) >= len(b) && (best < 0 || cap(f) < cap(s.free[best])) {
			best = i
		}
	}
	if best < 0 {
		return append(make([]byte, 0, (len(b)+spareStep-1)/spareStep*spareStep), b...)
	}
	f := s.free[best]
	s.free = slices.Delete(s.free, best, best+1)
	return append(f[:0], b...)
}

// done takes back what a batch that is written held.
func (s *spare) done(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range b.known {
		if c.batches.Add(-1) == 0 && c.raw != nil && len(s.free) < spareMax {
			s.free = append(s.free, c.raw)
		}
	}
}

// batch is a stretch of the stream whose chunks are fetched together.
type batch struct {
	steps []step
	fetch []*chunkContent
	known map[digest.Chunk]*chunkContent
	raw   int64
	ready chan struct{}
}

func newBatch() *batch {
	return &batch{known: map[digest.Chunk]*chunkContent{}, ready: make(chan struct{})}
}

// reel goes through the manifest ahead of the writer and has chunks fetched, each batch by one worker.
type reel struct {
	r     *run
	ctx   context.Context
	cur   *batch
	last  []*batch // whose chunks are at hand as well
	spare spare
	above []step // folders on the way here that nothing has asked for yet
	order chan *batch
	fetch chan *batch
}

// stream calls write for all steps, in order. The chunks of a step have been fetched, or say why not.
func (r *run) stream(ctx context.Context, write func(*step) error) error {
	g, ctx := errgroup.WithContext(ctx)
	l := &reel{r: r, ctx: ctx, cur: newBatch(), order: make(chan *batch, batchesAhead-1), fetch: make(chan *batch)}
	g.Go(func() error {
		defer close(l.fetch)
		defer close(l.order)
		if err := r.choice.walk(l.entry); err != nil {
			return err
		}
		return l.send()
	})
	for _, w := range r.workers[:min(len(r.workers), batchesAhead)] {
		g.Go(func() error {
			for b := range l.fetch {
				if err := w.fetchBatch(ctx, b, &l.spare); err != nil {
					return err
				}
				close(b.ready)
			}
			return nil
		})
	}
	g.Go(func() error {
		for b := range l.order {
			select {
			case <-b.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
			for i := range b.steps {
				if err := write(&b.steps[i]); err != nil {
					return err
				}
			}
			l.spare.done(b)
		}
		return nil
	})
	return g.Wait()
}

// send hands the batch over.
func (l *reel) send() error {
	b := l.cur
	for _, to := range []chan *batch{l.fetch, l.order} {
		select {
		case to <- b:
		case <-l.ctx.Done():
			return l.ctx.Err()
		}
	}
	if l.last = append(l.last, b); len(l.last) > 2 {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.cur = newBatch()
	return nil
}

func (l *reel) entry(e *manifest.Entry, chosen bool) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	if len(l.cur.steps) >= batchEntries {
		if err := l.send(); err != nil {
			return err
		}
	}
	s := step{rel: slices.Clone(l.r.choice.rel(e.Path))}
	for n := len(l.above); n > 0 && !manifest.Within(s.rel, l.above[n-1].rel); n-- {
		l.above = l.above[:n-1]
	}
	if !chosen {
		s.entry, s.whole = e.Clone(), true
		l.above = append(l.above, s)
		return nil
	}
	l.cur.steps = append(l.cur.steps, l.above...)
	l.above = l.above[:0]
	content := e
	if len(e.Hardlink) > 0 {
		var err error
		if s.link, content, err = l.r.links.resolve(e, s.rel); err != nil {
			return err
		}
		s.link = slices.Clone(s.link)
		if content == nil && s.link == nil {
			s.failed = &Damage{Err: errNoFirst}
		}
	}
	if content == nil || s.link != nil {
		s.entry, s.whole = e.Clone(), true
		l.cur.steps = append(l.cur.steps, s)
		return nil
	}
	s.entry = content.Clone()
	s.entry.Content = nil
	if content.Type != manifest.File {
		s.whole = true
		l.cur.steps = append(l.cur.steps, s)
		return nil
	}
	return l.content(content, s)
}

// content adds the pieces of a file, over several batches where it is large.
func (l *reel) content(e *manifest.Entry, s step) error {
	it := l.r.choice.m.Pieces(e)
	for it.Next() {
		p := it.Piece()
		if l.cur.raw >= batchRaw {
			l.cur.steps = append(l.cur.steps, s)
			if err := l.send(); err != nil {
				return err
			}
			s = step{rel: s.rel}
		}
		c, err := l.chunk(p)
		if err != nil {
			return err
		}
		s.pieces = append(s.pieces, held{c, int64(p.Offset), p.Length})
	}
	if err := it.Err(); err != nil {
		if l.ctx.Err() != nil || errors.Is(err, store.ErrCold) {
			return err
		}
		d := damageOf(err)
		s.failed = &d
	}
	s.whole = true
	l.cur.steps = append(l.cur.steps, s)
	return nil
}

// chunk returns the content that a piece needs, or will have.
func (l *reel) chunk(p manifest.Piece) (*chunkContent, error) {
	if p.IsHole() {
		return nil, nil
	}
	if c := l.cur.known[p.Chunk]; c != nil {
		return c, nil
	}
	for _, b := range l.last {
		if c := b.known[p.Chunk]; c != nil && c.share() {
			l.cur.known[p.Chunk] = c
			return c, nil
		}
	}
	c := &chunkContent{id: p.Chunk}
	c.batches.Store(1)
	l.cur.known[p.Chunk] = c
	loc, ok, err := l.r.o.Scope.Set().Lookup(p.Chunk)
	if err != nil {
		return nil, err
	}
	if !ok {
		c.bad = &Damage{Chunk: p.Chunk, Err: repo.ErrUnknownChunk}
		return c, nil
	}
	c.loc = repo.Want{ID: p.Chunk, Loc: loc}
	l.cur.fetch = append(l.cur.fetch, c)
	l.cur.raw += int64(loc.Raw)
	return c, nil
}

// fetchBatch brings all chunks of a batch, pack by pack.
func (k *worker) fetchBatch(ctx context.Context, b *batch, s *spare) error {
	slices.SortStableFunc(b.fetch, func(x, y *chunkContent) int { return x.loc.Loc.Pack - y.loc.Loc.Pack })
	for from := 0; from < len(b.fetch); {
		to := from
		for to < len(b.fetch) && b.fetch[to].loc.Loc.Pack == b.fetch[from].loc.Loc.Pack {
			to++
		}
		if err := k.fetchChunks(ctx, b.fetch[from:to], b.known, s); err != nil {
			return err
		}
		from = to
	}
	return nil
}

func (k *worker) fetchChunks(ctx context.Context, chunks []*chunkContent, byID map[digest.Chunk]*chunkContent, s *spare) error {
	wants := make([]repo.Want, len(chunks))
	for i, c := range chunks {
		wants[i] = c.loc
		k.run.bytesGot.Add(int64(c.loc.Loc.Frame))
	}
	var bad []repo.Want
	err := k.rd.ReadPack(ctx, wants, func(i int, raw []byte) error {
		byID[wants[i].ID].raw = s.clone(raw)
		return nil
	}, func(i int, err error) error {
		if errors.Is(err, store.ErrCold) {
			return err
		}
		d := damageOf(err)
		byID[wants[i].ID].bad = &d
		bad = append(bad, wants[i])
		return nil
	})
	if err != nil {
		return err
	}
	for from := 0; from < len(wants); from += repo.OneRequest(wants[from:]) {
		k.run.requests.Add(1)
	}
	for _, w := range bad {
		raw, err := k.rd.Chunk(ctx, w.ID) // another pack may have it
		if err == nil {
			c := byID[w.ID]
			c.raw, c.bad = raw, nil
		} else if ctx.Err() != nil {
			return err
		}
	}
	return nil
}
