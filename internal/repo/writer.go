package repo

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/frame"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/pack"
	"firn/internal/snapshot"
)

// WriterOptions say how a Writer packs and sends. Zero values choose.
type WriterOptions struct {
	Epoch     uint32
	Class     string        // storage class of data packs; empty: the repository's
	Parity    *int          // recovery data of data packs, in percent; nil: the repository's
	Lanes     int           // data packs being filled at once, where they are held in memory
	Workers   int           // goroutines that put; where there are more of them than lanes they compress outside of these
	PackSize  int64         // bytes of plaintext of a data pack
	Streams   int64         // data packs that may become larger than this are not held in memory but streamed into the spool, in bytes; 0: StreamAbove
	PackTime  time.Duration // streamed packs grow or shrink to what the way to the store takes in this time, once that is known; 0: PackSize stays
	PackLeast int64         // within these bounds, in bytes
	PackMost  int64
	PartTime  time.Duration // a pack that takes twice as long to send is sent in parts of so much, which a run that goes on need not send again; 0: never
	Up        float64       // bytes a second that the way to the store takes, as far as known before; 0: not
	Uploads   int           // packs on their way at once
	Memory    int64         // bytes of sealed packs that may wait in memory; more go to the spool
	Level     frame.Level   // of file content
	MetaLevel frame.Level   // of manifests
	Journal   Journal       // nil: an interrupted run sends again what no index names
}

// Journal keeps records that outlive the process.
type Journal interface{ Append(record []byte) }

// Writer takes the chunks of one run and publishes them (FORMAT §10.1). Put, Known and Reference may be called by many goroutines;
// Flush and Commit by one at a time, while others go on putting.
//
// Locks, in order: putting, a lane; pend of the scope, a claim shard and the lock of refs are each taken while no later one is. Whoever holds putting or a lane may
// wait for an upload to end; an upload that ends takes pend and claim shards only, and who holds pend waits for nothing but the store.
type Writer struct {
	r     *Repository
	kit   *scopeKit
	o     WriterOptions
	scope *ScopeState
	lanes [2][]*lane // by chunk.Kind
	coils sync.Pool  // of *coil, for lanes that several workers share

	claims  [2][64]claimShard // by chunk.Kind: a file may have the content of a manifest
	putting sync.RWMutex      // held for reading from a claim until its chunk is in a lane

	uploads  chan struct{} // one token for each pack on its way
	inFlight sync.WaitGroup
	upCtx    context.Context
	fail     context.CancelCauseFunc

	mu       sync.Mutex
	inMemory int64
	flying   int           // packs on their way
	landed   chan struct{} // closed when one of them has ended

	recorders []*recorder // that no pack uses
	refused   []string    // volumes in the spool that the store does not take
	bares     atomic.Int64
	again     sync.Mutex // held while a volume is made once more

	link meter

	refs      refSet
	published snapshot.ID     // by the last Publish
	names     []digest.Object // the packs that it needs
	parts     []snapshot.Part // its pack sets

	sent  [2]struct{ packs, bytes, volumes, volumeBytes atomic.Int64 } // by chunk.Kind
	added atomic.Int64                                                 // bytes of content of new data chunks
	waits atomic.Int64                                                 // bytes of frames whose pack is not in the store
}

type claimShard struct {
	mu sync.Mutex
	m  map[digest.Chunk]struct{} // chunks in packs that are not yet in the store
}

const metaPackSize = 8 << 20

// NewWriter starts a run in the scope of this host.
func (r *Repository) NewWriter(ctx context.Context, scope *ScopeState, o WriterOptions) (*Writer, error) {
	if r.host == nil {
		return nil, ErrNoHost
	}
	if o.Lanes <= 0 {
		o.Lanes = runtime.GOMAXPROCS(0)
	}
	if o.PackSize <= 0 {
		o.PackSize = 16 << 20
	}
	if o.Class == "" {
		o.Class = r.classOf(chunk.Data)
	}
	if o.Uploads <= 0 {
		o.Uploads = 4
	}
	if o.Streams <= 0 {
		o.Streams = StreamAbove
	}
	w := &Writer{r: r, kit: scope.kit, o: o, scope: scope, landed: make(chan struct{})}
	w.refs.packs = map[digest.Object]struct{}{}
	for kind := range w.claims {
		for i := range w.claims[kind] {
			w.claims[kind][i].m = map[digest.Chunk]struct{}{}
		}
	}
	w.link.now = r.o.Now
	w.makeLanes()
	w.uploads = make(chan struct{}, o.Uploads)
	w.upCtx, w.fail = context.WithCancelCause(ctx)
	return w, nil
}

// Refresh learns what is retired, unless that is known.
func (w *Writer) Refresh() error { return w.explain(w.scope.Refresh(w.upCtx)) }

func (w *Writer) shard(id digest.Chunk, kind chunk.Kind) *claimShard {
	return &w.claims[kind][id[0]%64]
}

// claimed reports whether a chunk was put and is not yet in the store.
func (w *Writer) claimed(id digest.Chunk, kind chunk.Kind) bool {
	s := w.shard(id, kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.m[id]
	return ok
}

// Known reports whether a chunk is stored, or about to be, in a pack that takes new references.
func (w *Writer) Known(id digest.Chunk, kind chunk.Kind) (bool, error) {
	if err := w.Refresh(); err != nil {
		return false, err
	}
	if w.claimed(id, kind) {
		return true, nil
	}
	_, ok, err := w.scope.set.Known(id, kind)
	return ok, err
}

// claim takes a chunk for the caller to put into a lane, unless it is known or somebody else has done so.
func (w *Writer) claim(id digest.Chunk, kind chunk.Kind) (mine bool, err error) {
	s := w.shard(id, kind)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, claimed := s.m[id]; claimed {
		return false, nil
	}
	if _, ok, err := w.scope.set.Known(id, kind); ok || err != nil {
		return false, err
	}
	s.m[id] = struct{}{}
	return true, nil
}

// Put stores a chunk unless it is known, and returns how many bytes its frame has, 0 where it was known. laneNo spreads
// workers over lanes. An error that is not the index's ends the run: every later call fails, too.
func (w *Writer) Put(laneNo int, kind chunk.Kind, id digest.Chunk, raw []byte) (int, error) {
	if err := w.Refresh(); err != nil {
		return 0, err
	}
	w.putting.RLock()
	defer w.putting.RUnlock()
	if mine, err := w.claim(id, kind); !mine || err != nil {
		return 0, err
	}
	lanes := w.lanes[kind]
	l := lanes[laneNo%len(lanes)]
	if l.streams || len(lanes) < w.o.Workers && kind == chunk.Data {
		return w.putShared(l, kind, id, raw)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.upCtx.Err() != nil {
		return 0, context.Cause(w.upCtx)
	}
	if !l.b.Fits(len(raw)) {
		if err := w.seal(l, kind); err != nil {
			return 0, err
		}
	}
	ref := l.b.Add(id, raw, l.enc)
	w.count(kind, raw, int(ref.Frame))
	return int(ref.Frame), nil
}

func (w *Writer) count(kind chunk.Kind, raw []byte, frame int) {
	w.waits.Add(int64(frame))
	if kind == chunk.Data {
		w.added.Add(int64(len(raw)))
	}
}

// seal ends the pack of a lane and sends it. The caller holds the lane's lock. A pack that cannot be sealed ends the run.
func (w *Writer) seal(l *lane, kind chunk.Kind) error {
	if w.upCtx.Err() != nil {
		return context.Cause(w.upCtx)
	}
	if l.count() == 0 {
		return nil
	}
	x, p, err := w.finishPack(l, kind)
	if err != nil {
		return w.failed(err)
	}
	x.keep(p.Name)
	if err := w.journalPack(&p); err != nil {
		x.abort()
		return w.failed(err)
	}
	select {
	case w.uploads <- struct{}{}:
	case <-w.upCtx.Done():
		x.leave()
		return context.Cause(w.upCtx)
	}
	w.mu.Lock()
	w.flying++
	w.mu.Unlock()
	w.inFlight.Go(func() {
		defer func() { <-w.uploads }()
		if err := w.send(x, p); err != nil {
			w.fail(err)
		}
		w.land()
	})
	return nil
}

// land notes that a pack is no longer on its way.
func (w *Writer) land() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flying--
	close(w.landed)
	w.landed = make(chan struct{})
}

// underWay returns how many packs are on their way, and what is closed when the next of them has ended.
func (w *Writer) underWay() (n int, landed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.flying, w.landed
}

// classOf is the storage class of a new pack.
func (w *Writer) classOf(kind chunk.Kind) string {
	if kind == chunk.Data {
		return w.o.Class
	}
	return w.r.classOf(kind)
}

// wait returns when every pack that was on its way when it was called is in the store, the run has failed, or ctx has ended.
func (w *Writer) wait(ctx context.Context) error {
	held := 0
	defer func() {
		for range held {
			<-w.uploads
		}
	}()
	for held < cap(w.uploads) {
		select {
		case w.uploads <- struct{}{}:
			held++
		case <-w.upCtx.Done():
			return context.Cause(w.upCtx)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return context.Cause(w.upCtx)
}

// send commits one sealed pack, then its volume, and makes its chunks known.
func (w *Writer) send(x parcel, p index.Pack) error {
	if w.upCtx.Err() != nil {
		x.leave()
		return context.Cause(w.upCtx)
	}
	name := packName(p.Kind, w.r.host.ScopeID, p.Name)
	if err := x.pack.commit(w.upCtx, name, p.Size, p.Name); err != nil && !isThere(err) {
		x.volume.leaveIfAny()
		return err
	}
	w.wasSent(&p)
	for i := range p.Chunks {
		w.waits.Add(-int64(p.Chunks[i].Frame))
	}
	if err := w.sendVolume(w.upCtx, x.volume, &p); err != nil {
		return err
	}
	return w.adopt(&p)
}

// adopt makes a pack that lies in the store known to this run.
func (w *Writer) adopt(p *index.Pack) error {
	if err := w.scope.take(p); err != nil {
		return err
	}
	for _, ref := range p.Chunks {
		s := w.shard(ref.ID, p.Kind)
		s.mu.Lock()
		delete(s.m, ref.ID)
		s.mu.Unlock()
	}
	return nil
}

// take enters a pack of this host that lies in the store and no index names yet.
func (s *ScopeState) take(p *index.Pack) error {
	s.pend.Lock()
	defer s.pend.Unlock()
	if _, err := s.set.Add(p, [16]byte(s.kit.r.host.Host)); err != nil {
		return err
	}
	s.pending = append(s.pending, *p)
	return nil
}

// drain seals every open pack and waits until all are in the store, or ctx ends.
func (w *Writer) drain(ctx context.Context) error {
	w.putting.Lock() // from here on what was put is in a lane, also what another one than the caller put
	failed := w.upCtx.Err() != nil
	w.putting.Unlock()
	if failed {
		return context.Cause(w.upCtx)
	}
	if !w.lanes[chunk.Data][0].streams {
		w.mergeLanes(chunk.Data)
	}
	for kind, lanes := range w.lanes {
		for _, l := range lanes {
			l.mu.Lock()
			err := w.seal(l, chunk.Kind(kind))
			l.mu.Unlock()
			if err != nil {
				return err
			}
		}
	}
	return w.wait(ctx)
}

// mergeLanes moves the chunks of half-filled packs together, so that a small backup is one pack and not one for each worker.
func (w *Writer) mergeLanes(kind chunk.Kind) {
	lanes := w.lanes[kind]
	for i := len(lanes) - 1; i > 0; i-- {
		from, into := lanes[i], lanes[i-1]
		into.mu.Lock()
		from.mu.Lock()
		fits := int64(from.b.Len()+into.b.Len()) <= w.o.PackSize && from.b.Count()+into.b.Count() <= pack.MaxChunks
		if fits && w.upCtx.Err() == nil { // a builder whose pack failed takes no more
			for n, ref := range from.b.Chunks() {
				into.b.AddFrame(ref, from.b.Frame(n))
			}
			from.b.Reset()
		}
		from.mu.Unlock()
		into.mu.Unlock()
	}
}

// Unindexed returns how many packs were sent and are in no index yet.
func (w *Writer) Unindexed() int {
	w.scope.pend.Lock()
	defer w.scope.pend.Unlock()
	return len(w.scope.pending)
}

// Counts returns what the run has sent so far: content of new data chunks, bytes of packs and of their recovery volumes, packs.
func (w *Writer) Counts() (added, stored, packs int64) {
	for kind := range w.sent {
		stored += w.sent[kind].bytes.Load() + w.sent[kind].volumeBytes.Load()
		packs += w.sent[kind].packs.Load()
	}
	return w.added.Load(), stored, packs
}

// Unsent returns how many bytes of chunks were put whose packs are not in the store yet; those on their way count whole.
func (w *Writer) Unsent() int64 { return w.waits.Load() }

// Sent returns how many packs of one kind the run has sent so far, and their bytes.
func (w *Writer) Sent(kind chunk.Kind) (packs, bytes int64) {
	return w.sent[kind].packs.Load(), w.sent[kind].bytes.Load()
}

// SentVolumes returns how many recovery volumes of packs of one kind the run has sent so far, and their bytes.
func (w *Writer) SentVolumes(kind chunk.Kind) (volumes, bytes int64) {
	return w.sent[kind].volumes.Load(), w.sent[kind].volumeBytes.Load()
}

func (w *Writer) wasSent(p *index.Pack) {
	w.sent[p.Kind].packs.Add(1)
	w.sent[p.Kind].bytes.Add(p.Size)
}

// Up returns how many bytes a second the way to the store took in this run, 0 where nothing tells.
func (w *Writer) Up() float64 { return w.link.rate() }

// Abort ends the run without publishing anything, and returns when nothing of it is at work any more; what was sent stays, and the journal knows it. Nobody
// puts meanwhile.
func (w *Writer) Abort() {
	w.fail(ErrAborted)
	w.inFlight.Wait()
	w.dropStreams()
}

// cause is why the run has failed.
func (w *Writer) cause() error { return context.Cause(w.upCtx) }

// failed ends the run, unless it has ended, and returns why it did: what goes wrong at once after the first error, such as a pack that is no longer written,
// follows from that.
func (w *Writer) failed(err error) error {
	w.fail(err)
	return w.cause()
}

// explain returns why the run has failed in place of an error that came of it.
func (w *Writer) explain(err error) error {
	if err != nil && w.upCtx.Err() != nil {
		return w.cause()
	}
	return err
}

// ScopeIDOf returns the scope in which this host writes.
func (r *Repository) ScopeIDOf() keys.ScopeID { return r.host.ScopeID }
