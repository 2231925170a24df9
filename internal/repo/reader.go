package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"filippo.io/age"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/seal"
	"firn/internal/store"
)

// How ranges of a pack are put together.
const (
	maxGap   = 512 << 10 // bytes between two frames that are fetched rather than a second request made
	maxRange = 4 << 20   // bytes of one request, unless one frame is longer; a reader holds them opened
)

// DamageError tells that a chunk could not be brought back from a pack: the object is missing, cut short, changed, or does not hold what
// the index says.
type DamageError struct {
	Object string       // name of the pack's object
	Chunk  digest.Chunk // zero: the whole object
	Err    error
}

func (e *DamageError) Error() string {
	if e.Chunk.IsZero() {
		return fmt.Sprintf("pack %s: %v", e.Object, e.Err)
	}
	return fmt.Sprintf("pack %s: chunk %v: %v", e.Object, e.Chunk, e.Err)
}

// Unwrap returns the reason.
func (e *DamageError) Unwrap() error { return e.Err }

// PackName is the name of the object of a pack of a scope.
func PackName(s *ScopeState, info *index.Info) string {
	return packName(info.Kind, s.kit.id, info.Name)
}

// objectKey names a pack of a scope.
type objectKey struct {
	scope keys.ScopeID
	pack  digest.Object
}

// openPack is what is needed to read from a pack.
type openPack struct {
	key   *seal.Key
	plain int64 // bytes of plaintext
	size  int64 // bytes of the object
	name  string
}

// Reader brings chunks of one scope and epoch back, verified. Each goroutine has its own; they share the state of the scope.
type Reader struct {
	r      *Repository
	scope  *ScopeState
	ids    []age.Identity
	hash   *digest.Hasher
	dec    *frame.Decoder
	sealed []byte
	plain  []byte
	raw    []byte
}

// NewReader returns a reader for chunks of an epoch, or fails with ErrWriteOnly.
func (r *Repository) NewReader(scope *ScopeState, epoch uint32) (*Reader, error) {
	ids, err := r.dataIdentities()
	if err != nil {
		return nil, err
	}
	return &Reader{r: r, scope: scope, ids: ids, hash: digest.NewHasher(scope.kit.keys.ChunkKey(epoch)), dec: frame.NewDecoder()}, nil
}

// open finds the payload key of a pack.
func (rd *Reader) open(info *index.Info) (*openPack, error) {
	k := objectKey{rd.scope.kit.id, info.Name}
	r := rd.r
	r.mu.Lock()
	p := r.opened[k]
	r.mu.Unlock()
	if p != nil {
		return p, nil
	}
	name := packName(info.Kind, rd.scope.kit.id, info.Name)
	key, err := seal.OpenPrefix(info.Prefix, rd.ids...)
	if err != nil {
		return nil, &DamageError{Object: name, Err: err}
	}
	plain, err := seal.PlainSize(len(info.Prefix), info.Size)
	if err != nil {
		return nil, &DamageError{Object: name, Err: err}
	}
	p = &openPack{key: key, plain: plain, size: info.Size, name: name}
	r.mu.Lock()
	if len(r.opened) > 4096 {
		clear(r.opened)
	}
	r.opened[k] = p
	r.mu.Unlock()
	return p, nil
}

// Sum returns the id that a chunk with this content has in the reader's epoch.
func (rd *Reader) Sum(content []byte) digest.Chunk { return rd.hash.Sum(content) }

// Want is one chunk wanted from a pack.
type Want struct {
	ID  digest.Chunk
	Loc index.Location
}

// ReadPack fetches chunks that lie in one pack, in the order of their frames and with as few requests as makes sense, and calls fn for each with its
// place in wants and its content, valid until fn returns. wants is sorted by it. A chunk that cannot be had is given to bad with a *DamageError; bad returns nil
// to go on. Errors of the store that are no damage end the call.
func (rd *Reader) ReadPack(ctx context.Context, wants []Want, fn func(i int, raw []byte) error, bad func(i int, err error) error) error {
	if len(wants) == 0 {
		return nil
	}
	slices.SortFunc(wants, func(a, b Want) int {
		if a.Loc.Offset < b.Loc.Offset {
			return -1
		}
		if a.Loc.Offset > b.Loc.Offset {
			return 1
		}
		return 0
	})
	info, err := rd.scope.set.Pack(wants[0].Loc.Pack)
	if err != nil {
		return err
	}
	p, err := rd.open(&info)
	if err != nil {
		return rd.allBad(wants, 0, err, bad)
	}
	for from := 0; from < len(wants); {
		to := from + OneRequest(wants[from:])
		if err := rd.readRange(ctx, p, &info, wants, from, to, fn, bad); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// OneRequest returns how many of wants, the first ones, ReadPack fetches with one request. All lie in one pack, in the order of their frames.
func OneRequest(wants []Want) int {
	start := int64(wants[0].Loc.Offset)
	end := start + int64(wants[0].Loc.Frame)
	n := 1
	for ; n < len(wants); n++ {
		next := int64(wants[n].Loc.Offset)
		nextEnd := next + int64(wants[n].Loc.Frame)
		if next-end > maxGap || nextEnd-start > maxRange {
			break
		}
		end = max(end, nextEnd)
	}
	return n
}

func (rd *Reader) allBad(wants []Want, base int, err error, bad func(int, error) error) error {
	for i := range wants {
		if err := bad(base+i, err); err != nil {
			return err
		}
	}
	return nil
}

// readRange fetches wants[from:to] with one request.
func (rd *Reader) readRange(ctx context.Context, p *openPack, info *index.Info, wants []Want, from, to int, fn func(int, []byte) error, bad func(int, error) error) error {
	start := int64(wants[from].Loc.Offset)
	last := wants[to-1].Loc
	end := int64(last.Offset) + int64(last.Frame)
	if end > p.plain {
		return rd.allBad(wants[from:to], from, &DamageError{Object: p.name, Err: fmt.Errorf("index names byte %d of a pack of %d", end, p.plain)}, bad)
	}
	err := rd.fetchPlain(ctx, p, start, end-start)
	if err != nil {
		var damage *DamageError
		if !errors.As(err, &damage) {
			return err
		}
		if to-from == 1 || errors.Is(err, store.ErrNotExist) || errors.Is(err, store.ErrCold) {
			return rd.allBad(wants[from:to], from, err, bad)
		}
		for i := from; i < to; i++ { // one by one: damage in one place does not take its neighbours along
			if err := rd.readRange(ctx, p, info, wants, i, i+1, fn, bad); err != nil {
				return err
			}
		}
		return nil
	}
	for i := from; i < to; i++ {
		w := &wants[i]
		off := int64(w.Loc.Offset) - start
		raw, err := rd.decode(w, rd.plain[off:off+int64(w.Loc.Frame)])
		if err != nil {
			if err := bad(i, &DamageError{Object: p.name, Chunk: w.ID, Err: err}); err != nil {
				return err
			}
			continue
		}
		if err := fn(i, raw); err != nil {
			return err
		}
	}
	return nil
}

// errHash tells that content is not what its id says.
var errHash = errors.New("content does not match its id")

// decode decompresses a frame and verifies it.
func (rd *Reader) decode(w *Want, fr []byte) ([]byte, error) {
	if w.Loc.Raw > chunk.MaxRaw {
		return nil, fmt.Errorf("chunk of %d bytes", w.Loc.Raw)
	}
	raw, err := rd.dec.Append(rd.raw[:0], fr, int(w.Loc.Raw))
	if err != nil {
		return nil, err
	}
	rd.raw = raw
	if rd.hash.Sum(raw) != w.ID {
		return nil, errHash
	}
	return raw, nil
}

// openStep is how many bytes of plaintext are opened at once: a number of whole segments.
const openStep = 4 * seal.SegmentSize

// fetchPlain reads bytes of the plaintext of a pack into rd.plain, from the nearest place where they can be had.
func (rd *Reader) fetchPlain(ctx context.Context, p *openPack, off, n int64) error {
	if rd.r.copies == nil {
		return rd.fetchFrom(ctx, rd.r.st, p, off, n)
	}
	return rd.r.copies.try(ctx, rd.r, p.name, func(st store.Store) error { return rd.fetchFrom(ctx, st, p, off, n) })
}

// fetchFrom is fetchPlain from one store.
func (rd *Reader) fetchFrom(ctx context.Context, st store.Store, p *openPack, off, n int64) error {
	objOff, objLen := p.key.Range(off, n, p.plain)
	rc, err := st.Get(ctx, p.name, objOff, objLen)
	if err != nil {
		return classify(p.name, err)
	}
	defer func() { _ = rc.Close() }()
	rd.plain = slices.Grow(rd.plain[:0], int(n))
	for end := off + n; off < end; {
		step := min(end, (off/openStep+1)*openStep) - off
		_, sealed := p.key.Range(off, step, p.plain)
		rd.sealed = slices.Grow(rd.sealed[:0], int(sealed))[:sealed]
		if _, err := io.ReadFull(rc, rd.sealed); err != nil {
			return rd.cutShort(ctx, st, p, err)
		}
		if rd.plain, err = p.key.OpenRange(rd.plain, rd.sealed, off, step, p.plain); err != nil {
			return &DamageError{Object: p.name, Err: err}
		}
		off += step
	}
	return nil
}

// classify makes a *DamageError of what cannot be mended by trying again.
func classify(name string, err error) error {
	if isDamage(err) {
		return &DamageError{Object: name, Err: err}
	}
	return err
}

// cutShort judges content that ended too early: the object is shorter than it should be, or only the connection broke off.
func (rd *Reader) cutShort(ctx context.Context, st store.Store, p *openPack, err error) error {
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return classify(p.name, err)
	}
	info, serr := st.Stat(ctx, p.name)
	if serr != nil {
		return classify(p.name, serr)
	}
	if info.Size != p.size {
		return &DamageError{Object: p.name, Err: fmt.Errorf("object has %d bytes instead of %d", info.Size, p.size)}
	}
	return store.Fail("get", p.name, err)
}

// Chunk reads one chunk into memory of its own. Where several packs have it, the next one is tried when one is damaged.
func (rd *Reader) Chunk(ctx context.Context, id digest.Chunk) ([]byte, error) {
	locs, err := rd.scope.set.All(id)
	if err != nil {
		return nil, err
	}
	if len(locs) == 0 {
		return nil, fmt.Errorf("chunk %v: %w", id, ErrUnknownChunk)
	}
	var out []byte
	var failed error
	for _, loc := range locs {
		failed = nil
		err := rd.ReadPack(ctx, []Want{{id, loc}}, func(_ int, raw []byte) error {
			out = slices.Clone(raw)
			return nil
		}, func(_ int, err error) error {
			failed = err
			return nil
		})
		if err != nil {
			return nil, err
		}
		if failed == nil {
			return out, nil
		}
	}
	return nil, failed
}

// ChunkCache reads chunks of manifests for several goroutines, keeps the latest, and fetches ahead what it is told of, pack by pack.
type ChunkCache struct {
	ctx     context.Context
	readers chan *Reader
	scope   *ScopeState

	mu      sync.Mutex
	content map[digest.Chunk]*cachedChunk
	order   []digest.Chunk // oldest first
	bytes   int
	limit   int
	begun   sync.WaitGroup
	ahead   atomic.Int32 // prefetches under way, or waiting for a reader
}

// maxAhead is how many prefetches there may be at once: two keep the way busy, the others are of neighbours that one cache serves.
const maxAhead = 6

type cachedChunk struct {
	ready chan struct{}
	raw   []byte
	err   error
}

// NewChunkCache returns a cache of about limit bytes over n readers. It lives as long as ctx.
func (r *Repository) NewChunkCache(ctx context.Context, scope *ScopeState, epoch uint32, n, limit int) (*ChunkCache, error) {
	c := &ChunkCache{ctx: ctx, readers: make(chan *Reader, n), scope: scope, content: map[digest.Chunk]*cachedChunk{}, limit: limit}
	for range n {
		rd, err := r.NewReader(scope, epoch)
		if err != nil {
			return nil, err
		}
		c.readers <- rd
	}
	return c, nil
}

// Get returns the content of a chunk; the caller does not change it.
func (c *ChunkCache) Get(id digest.Chunk) ([]byte, error) {
	c.mu.Lock()
	e := c.content[id]
	if e == nil {
		e = c.add(id)
		c.mu.Unlock()
		rd := <-c.readers
		raw, err := rd.Chunk(c.ctx, id)
		c.readers <- rd
		c.finish(id, e, raw, err)
		return raw, err
	}
	c.mu.Unlock()
	<-e.ready
	return e.raw, e.err
}

// Close waits for what Prefetch began. Nobody uses the cache any more.
func (c *ChunkCache) Close() {
	c.begun.Wait()
	for range cap(c.readers) {
		<-c.readers
	}
}

func (c *ChunkCache) add(id digest.Chunk) *cachedChunk {
	e := &cachedChunk{ready: make(chan struct{})}
	c.content[id] = e
	return e
}

// finish hands a chunk to those who wait and drops the oldest ones.
func (c *ChunkCache) finish(id digest.Chunk, e *cachedChunk, raw []byte, err error) {
	e.raw, e.err = raw, err
	c.mu.Lock()
	defer c.mu.Unlock()
	close(e.ready)
	if err != nil {
		delete(c.content, id) // a later call may fare better
		return
	}
	c.order = append(c.order, id)
	c.bytes += len(raw)
	for c.bytes > c.limit && len(c.order) > 1 {
		old := c.order[0]
		c.order = c.order[1:]
		if o := c.content[old]; o != nil {
			c.bytes -= len(o.raw)
			delete(c.content, old)
		}
	}
}

// Prefetch starts to fetch chunks, those of one pack together. It does not block.
func (c *ChunkCache) Prefetch(ids []digest.Chunk) {
	if c.ahead.Add(1) > maxAhead {
		c.ahead.Add(-1)
		return // Get will fetch
	}
	byPack := map[int][]Want{}
	pending := map[digest.Chunk]*cachedChunk{}
	c.mu.Lock()
	for _, id := range ids {
		if c.content[id] != nil {
			continue
		}
		loc, ok, err := c.scope.set.Lookup(id)
		if err != nil || !ok {
			continue
		}
		pending[id] = c.add(id)
		byPack[loc.Pack] = append(byPack[loc.Pack], Want{id, loc})
	}
	c.mu.Unlock()
	if len(pending) == 0 {
		c.ahead.Add(-1)
		return
	}
	c.begun.Go(func() {
		defer c.ahead.Add(-1)
		rd := <-c.readers
		c.prefetch(rd, byPack, pending)
		c.readers <- rd
	})
}

func (c *ChunkCache) prefetch(rd *Reader, byPack map[int][]Want, pending map[digest.Chunk]*cachedChunk) {
	var failed error
	for _, wants := range byPack {
		failed = rd.ReadPack(c.ctx, wants, func(i int, raw []byte) error {
			id := wants[i].ID
			c.finish(id, pending[id], slices.Clone(raw), nil)
			delete(pending, id)
			return nil
		}, func(int, error) error { return nil })
		if failed != nil {
			break
		}
	}
	for id, e := range pending { // damaged in this pack: perhaps another has it
		raw, err := rd.Chunk(c.ctx, id)
		c.finish(id, e, raw, err)
	}
}
