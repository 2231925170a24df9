package replay

import (
	"errors"
	"slices"
	"sync"

	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/repo"
)

// windowRaw is how many bytes of content one worker fetches at a time, but for the last chunk.
const windowRaw = 4 << 20

// shares is how many windows before one may have a chunk that it needs as well.
const shares = 2

// held is the content of a chunk that windows next to each other may need.
type held struct {
	want  repo.Want
	users int // windows, and the cutter while it may give it to more; guarded by the shelf
	raw   []byte
	err   error
	ready chan struct{} // closed when raw or err is set
}

// segment is a piece of content in a window; held nil: a hole.
type segment struct {
	held   *held
	off, n int64
}

// window is a stretch of a stream whose chunks are fetched together.
type window struct {
	from, to int64 // bytes of the stream
	segments []segment
	fetch    []*held // that it is the first to need, those of one pack together
	uses     []*held
	raw      int64
	known    map[digest.Chunk]*held
	done     chan struct{} // closed when all that it fetches is there
	err      error         // of those
}

// cutter makes windows of the pieces of a stream, and finds out where their chunks lie.
type cutter struct {
	scope *repo.ScopeState
	it    *manifest.Pieces
	shelf *shelf
	last  []*window
	over  bool
}

func newCutter(scope *repo.ScopeState, l *link, sh *shelf) *cutter {
	return &cutter{scope: scope, it: manifest.NewPieces(l.src, &l.entry), shelf: sh}
}

// next returns the next window; nil at the end. What cannot be found fails in the window.
func (c *cutter) next() (*window, error) {
	if c.over {
		return nil, c.it.Err()
	}
	w := &window{known: map[digest.Chunk]*held{}, done: make(chan struct{})}
	for w.raw < windowRaw {
		if !c.it.Next() {
			c.over = true
			break
		}
		p := c.it.Piece()
		if len(w.segments) == 0 {
			w.from = c.it.Offset()
		}
		w.to = c.it.Offset() + p.Length
		var h *held
		if !p.IsHole() {
			var err error
			if h, err = c.find(w, p.Chunk); err != nil {
				return nil, err
			}
		}
		w.segments = append(w.segments, segment{h, int64(p.Offset), p.Length})
		if len(w.segments) == maxSegments {
			break
		}
	}
	if err := c.it.Err(); err != nil {
		return nil, err
	}
	if len(w.segments) == 0 {
		return nil, nil
	}
	c.keep(w)
	return w, nil
}

// maxSegments is how many pieces a window may have: chunks can be small, and holes many.
const maxSegments = 16 << 10

// find gives a window a chunk.
func (c *cutter) find(w *window, id digest.Chunk) (*held, error) {
	if h := w.known[id]; h != nil {
		return h, nil
	}
	var h *held
	for _, before := range c.last {
		if h = before.known[id]; h != nil {
			break
		}
	}
	if h == nil {
		loc, ok, err := c.scope.Set().Lookup(id)
		if err != nil {
			return nil, err
		}
		h = &held{want: repo.Want{ID: id, Loc: loc}, ready: make(chan struct{})}
		if !ok {
			h.err = repo.ErrUnknownChunk
			close(h.ready)
			w.err = errors.Join(w.err, lostChunk(id))
		} else {
			w.fetch = append(w.fetch, h)
			w.raw += int64(loc.Raw)
		}
	}
	w.known[id] = h
	w.uses = append(w.uses, h)
	c.shelf.use(h)
	return h, nil
}

// keep lets the windows after w share its chunks, and sorts what is to be fetched by pack.
func (c *cutter) keep(w *window) {
	for _, h := range w.uses {
		c.shelf.use(h)
	}
	if c.last = append(c.last, w); len(c.last) > shares {
		c.shelf.leave(c.last[0].uses)
		c.last = slices.Delete(c.last, 0, 1)
	}
	order := map[int]int{} // packs by first need
	for _, h := range w.fetch {
		if _, ok := order[h.want.Loc.Pack]; !ok {
			order[h.want.Loc.Pack] = len(order)
		}
	}
	slices.SortStableFunc(w.fetch, func(a, b *held) int {
		if d := order[a.want.Loc.Pack] - order[b.want.Loc.Pack]; d != 0 {
			return d
		}
		return int(int64(a.want.Loc.Offset) - int64(b.want.Loc.Offset))
	})
}

// groups calls fn for the chunks of each pack of a window.
func (w *window) groups(fn func(pack int, chunks []*held) error) error {
	for from := 0; from < len(w.fetch); {
		to := from
		for to < len(w.fetch) && w.fetch[to].want.Loc.Pack == w.fetch[from].want.Loc.Pack {
			to++
		}
		if err := fn(w.fetch[from].want.Loc.Pack, w.fetch[from:to]); err != nil {
			return err
		}
		from = to
	}
	return nil
}

func wants(chunks []*held) []repo.Want {
	list := make([]repo.Want, len(chunks))
	for i, h := range chunks {
		list[i] = h.want
	}
	return list
}

// shelf keeps the memory of chunks that were read for those to come. nil: nothing is kept, as where a stream is only looked at.
type shelf struct {
	mu   sync.Mutex
	free [][]byte
}

// Memory is given in steps, so that it fits again; so much of it waits at most.
const (
	shelfStep = 256 << 10
	shelfMax  = 8
)

func (s *shelf) use(h *held) {
	if s == nil {
		return
	}
	s.mu.Lock()
	h.users++
	s.mu.Unlock()
}

// leave gives up chunks.
func (s *shelf) leave(list []*held) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range list {
		if h.users--; h.users == 0 && h.raw != nil {
			if len(s.free) < shelfMax {
				s.free = append(s.free, h.raw)
			}
			h.raw = nil
		}
	}
}

// clone copies b into memory of the shelf.
func (s *shelf) clone(b []byte) []byte {
	s.mu.Lock()
	best := -1
	for i, f := range s.free {
		if cap(f) >= len(b) && (best < 0 || cap(f) < cap(s.free[best])) {
			best = i
		}
	}
	var to []byte
	if best >= 0 {
		to = s.free[best]
		s.free = slices.Delete(s.free, best, best+1)
	}
	s.mu.Unlock()
	if to == nil {
		to = make([]byte, 0, (len(b)+shelfStep-1)/shelfStep*shelfStep)
	}
	return append(to[:0], b...)
}
