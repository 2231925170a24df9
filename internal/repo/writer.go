package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	"firn/internal/store"
)

// WriterOptions say how a Writer packs and sends. Zero values choose.
type WriterOptions struct {
	Epoch     uint32
	Lanes     int         // data packs being filled at once; a worker keeps to one
	PackSize  int         // bytes of plaintext of a data pack
	Uploads   int         // packs on their way at once
	Memory    int64       // bytes of sealed packs that may wait in memory; more go to the spool folder
	Level     frame.Level // of file content
	MetaLevel frame.Level // of manifests
	Journal   Journal     // nil: an interrupted run sends again what no index names
}

// Journal keeps records that outlive the process.
type Journal interface{ Append(record []byte) }

// Writer takes the chunks of one run and publishes them (FORMAT §10.1). Put, Known and Reference may be called by many goroutines;
// Flush and Commit by one at a time, while others go on putting.
//
// Locks, in order: a claim shard, then a lane; the lock of refs is taken alone.
type Writer struct {
	r     *Repository
	kit   *scopeKit
	o     WriterOptions
	scope *ScopeState
	lanes [2][]*lane // by chunk.Kind

	claims [64]claimShard

	uploads chan struct{} // one token for each pack on its way
	upCtx   context.Context
	fail    context.CancelCauseFunc

	mu        sync.Mutex
	unindexed []index.Pack // sent, in no index yet
	inMemory  int64

	refs refSet

	stored  atomic.Int64 // bytes of objects sent
	packs   atomic.Int64
	added   atomic.Int64 // bytes of content of new data chunks
	partial []snapshot.ID
}

type claimShard struct {
	mu sync.Mutex
	m  map[digest.Chunk]struct{} // chunks in packs that are not yet in the store
}

// lane is one pack that is being filled.
type lane struct {
	mu  sync.Mutex
	b   *pack.Builder
	enc *frame.Encoder
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
	if o.Uploads <= 0 {
		o.Uploads = 4
	}
	w := &Writer{r: r, kit: scope.kit, o: o, scope: scope}
	w.refs.packs = map[digest.Object]struct{}{}
	for i := range w.claims {
		w.claims[i].m = map[digest.Chunk]struct{}{}
	}
	for range o.Lanes {
		w.lanes[chunk.Data] = append(w.lanes[chunk.Data], &lane{b: pack.NewBuilder(chunk.Data, r.host.ScopeID, o.Epoch, o.PackSize), enc: frame.NewEncoder(o.Level)})
	}
	w.lanes[chunk.Meta] = []*lane{{b: pack.NewBuilder(chunk.Meta, r.host.ScopeID, o.Epoch, min(metaPackSize, o.PackSize)), enc: frame.NewEncoder(o.MetaLevel)}}
	w.uploads = make(chan struct{}, o.Uploads)
	w.upCtx, w.fail = context.WithCancelCause(ctx)
	return w, nil
}

// Known reports whether a chunk is stored, or about to be, in a pack that takes new references.
func (w *Writer) Known(id digest.Chunk, kind chunk.Kind) (bool, error) {
	s := &w.claims[id[0]%64]
	s.mu.Lock()
	_, claimed := s.m[id]
	s.mu.Unlock()
	if claimed {
		return true, nil
	}
	_, ok, err := w.scope.set.Known(id, kind)
	return ok, err
}

// Put stores a chunk unless it is known, and returns how many bytes its frame has, 0 where it was known. laneNo spreads
// workers over lanes.
func (w *Writer) Put(laneNo int, kind chunk.Kind, id digest.Chunk, raw []byte) (int, error) {
	s := &w.claims[id[0]%64]
	s.mu.Lock()
	if _, claimed := s.m[id]; claimed {
		s.mu.Unlock()
		return 0, nil
	}
	if _, ok, err := w.scope.set.Known(id, kind); ok || err != nil {
		s.mu.Unlock()
		return 0, err
	}
	s.m[id] = struct{}{}
	s.mu.Unlock()

	lanes := w.lanes[kind]
	l := lanes[laneNo%len(lanes)]
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
	if kind == chunk.Data {
		w.added.Add(int64(len(raw)))
	}
	return int(ref.Frame), nil
}

// seal ends the pack of a lane and sends it. The caller holds the lane's lock.
func (w *Writer) seal(l *lane, kind chunk.Kind) error {
	if l.b.Count() == 0 {
		return nil
	}
	plain, pad := l.b.Finish(w.kit.signer(), w.r.padded())
	class := w.r.classOf(kind)
	out, err := w.newOutput(kind, class, len(plain))
	if err != nil {
		return err
	}
	sealed, err := pack.Seal(out, plain, w.r.dataRecipient())
	if err != nil {
		out.abort()
		return err
	}
	p := index.Pack{
		Name: sealed.Name, Kind: kind, Epoch: w.o.Epoch, Size: sealed.Size, Class: class, Birth: w.r.o.Now().Truncate(time.Second),
		Prefix: sealed.Prefix, Padding: int64(pad), Chunks: append([]chunk.Ref(nil), l.b.Chunks()...),
	}
	l.b.Reset()
	if err := w.journal(journalPack, &p); err != nil {
		out.abort()
		return err
	}
	w.uploads <- struct{}{}
	go func() {
		defer func() { <-w.uploads }()
		if err := w.send(out, p); err != nil {
			w.fail(err)
		}
	}()
	return nil
}

// wait returns when every pack that was on its way when it was called is in the store, or the run has failed.
func (w *Writer) wait() error {
	for range cap(w.uploads) {
		w.uploads <- struct{}{}
	}
	for range cap(w.uploads) {
		<-w.uploads
	}
	return context.Cause(w.upCtx)
}

// send commits one sealed pack and makes its chunks known.
func (w *Writer) send(out *output, p index.Pack) error {
	if w.upCtx.Err() != nil {
		out.abort()
		return context.Cause(w.upCtx)
	}
	name := packName(p.Kind, w.r.host.ScopeID, p.Name)
	if err := out.commit(w.upCtx, name, p.Size, p.Name); err != nil && !errors.Is(err, store.ErrExist) {
		return err
	}
	w.stored.Add(p.Size)
	w.packs.Add(1)
	return w.adopt(&p)
}

// adopt makes a pack that lies in the store known to this run.
func (w *Writer) adopt(p *index.Pack) error {
	if _, err := w.scope.set.Add(p, [16]byte(w.r.host.Host)); err != nil {
		return err
	}
	w.mu.Lock()
	w.unindexed = append(w.unindexed, *p)
	w.mu.Unlock()
	for _, ref := range p.Chunks {
		s := &w.claims[ref.ID[0]%64]
		s.mu.Lock()
		delete(s.m, ref.ID)
		s.mu.Unlock()
	}
	return nil
}

// drain seals every open pack and waits until all are in the store.
func (w *Writer) drain() error {
	w.mergeLanes(chunk.Data)
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
	return w.wait()
}

// mergeLanes moves the chunks of half-filled packs together, so that a small backup is one pack and not one for each worker.
func (w *Writer) mergeLanes(kind chunk.Kind) {
	lanes := w.lanes[kind]
	for i := len(lanes) - 1; i > 0; i-- {
		from, into := lanes[i], lanes[i-1]
		into.mu.Lock()
		from.mu.Lock()
		if from.b.Len()+into.b.Len() <= w.o.PackSize {
			for n, ref := range from.b.Chunks() {
				into.b.AddFrame(ref, from.b.Frame(n))
			}
			from.b.Reset()
		}
		from.mu.Unlock()
		into.mu.Unlock()
	}
}

// Unindexed returns how many packs were sent since the last Flush.
func (w *Writer) Unindexed() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.unindexed)
}

// Counts returns what the run has sent so far: content of new data chunks, bytes of objects, packs.
func (w *Writer) Counts() (added, stored, packs int64) {
	return w.added.Load(), w.stored.Load(), w.packs.Load()
}

// Abort ends the run without publishing anything; what was sent stays, and the journal knows it.
func (w *Writer) Abort() {
	w.fail(ErrAborted)
	_ = w.wait()
}

// output is where a pack is sealed into: the store itself where it takes streams, else memory or a spool file.
type output struct {
	w       *Writer
	pending store.Pending
	buf     *bytes.Buffer
	file    *os.File
	class   string
	held    int64
}

func (w *Writer) newOutput(kind chunk.Kind, class string, plain int) (*output, error) {
	out := &output{w: w, class: class}
	if c, ok := store.As[store.Creator](w.r.st); ok {
		p, err := c.Create(w.upCtx, store.PutOptions{Class: class})
		out.pending = p
		return out, err
	}
	size := int64(plain) + int64(plain)/1024 + 8192
	w.mu.Lock()
	fits := w.inMemory == 0 || w.inMemory+size <= w.o.Memory
	if fits {
		w.inMemory += size
	}
	w.mu.Unlock()
	if fits {
		out.held = size
		out.buf = bytes.NewBuffer(make([]byte, 0, size))
		return out, nil
	}
	f, err := os.CreateTemp(w.r.o.SpoolDir, "firn-pack-*")
	if err != nil {
		return nil, fmt.Errorf("spool of %s packs: %w", kind, err)
	}
	_ = os.Remove(f.Name()) // where the system allows it the file has no name from the start, and a kill leaves nothing
	out.file = f
	return out, nil
}

func (o *output) Write(p []byte) (int, error) {
	switch {
	case o.pending != nil:
		return o.pending.Write(p)
	case o.buf != nil:
		return o.buf.Write(p)
	}
	return o.file.Write(p)
}

func (o *output) commit(ctx context.Context, name string, size int64, sum digest.Object) error {
	if o.pending != nil {
		return o.pending.Commit(ctx, name)
	}
	defer o.abort()
	var r io.ReadSeeker = o.file
	if o.buf != nil {
		r = bytes.NewReader(o.buf.Bytes())
	}
	return o.w.r.st.Put(ctx, name, r, size, store.PutOptions{Sum: sum, Class: o.class})
}

// abort leaves nothing behind.
func (o *output) abort() {
	if o.pending != nil {
		_ = o.pending.Abort()
	}
	if o.file != nil {
		_ = o.file.Close()
		_ = os.Remove(o.file.Name())
	}
	o.buf = nil
	o.w.mu.Lock()
	o.w.inMemory -= o.held
	o.w.mu.Unlock()
	o.held = 0
}

// ScopeIDOf returns the scope in which this host writes.
func (r *Repository) ScopeIDOf() keys.ScopeID { return r.host.ScopeID }
