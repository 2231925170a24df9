// Package backup takes a tree of files into a repository.
//
//	walk → planner → units, chunks → workers → packs → store
//	          └──── steps, in tree order ────→ emitter → manifest, stat cache
//
// The planner compares the walk with what earlier runs saw (the stat cache) in lock step. Changed small files gather in units, which one
// worker reads, hashes, and stores as one chunk; a large file has a goroutine that reads and cuts it, and hands its chunks to the workers.
// The emitter takes everything in tree order: unchanged stretches from the cache, changed entries when their unit is done. It writes the
// manifest and the next stat cache. All queues are bounded, so memory does not grow with the tree.
//
// Whoever waits, waits for somebody nearer to the store: the planner for room in the queues, the emitter for units that are with a worker, a large file for
// its chunks. Nobody in that order waits for an earlier one.
package backup

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/frame"
	"firn/internal/index"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/state"
)

// Options say what is backed up and how.
type Options struct {
	Repo   *repo.Repository
	Scope  *repo.ScopeState // loaded with its index
	State  *state.State
	Tree   source.Tree
	Unread *Unread // what Tree could not read while it was walked; nil: nobody tells
	Names  func(uid, gid uint32) (user, group string)
	Source snapshot.Origin
	Host   string
	Tags   []string
	Full   bool    // open a new epoch: depend on nothing older
	Stream *Stream // the tree is made of streams; nil: of files
	Detect Detect  // what shows that a file is as it was

	Storage snapshot.Storage        // where content is stored from now on, and with how much parity; what is zero in it: as in the last snapshot of the source
	IsCold  func(class string) bool // whether objects of a class have to be thawed before they are read; nil: those of no class

	Workers    int   // goroutines that hash and compress; 0: one a core, as far as Memory allows
	PackSize   int64 // bytes; 0: 16 MiB, in a cold class what the link sends in 30 s
	Streams    int64 // packs that may become larger are streamed into the spool, in bytes; 0: repo.StreamAbove
	Uploads    int   // packs on their way at once; 0: 4
	Memory     int64 // bytes to keep to; 0: 128 MiB
	Level      frame.Level
	FlushPacks int           // packs after which a partial snapshot is kept; 0: 64
	FlushAfter time.Duration // time until the first one; 0: 10 s
	Grace      time.Duration // how long a run that was stopped may take to keep what it has done; 0: 2 minutes

	// The run ends in order, with a *LimitError and a partial snapshot, where it reaches one of these limits before it is through.
	Until     <-chan struct{} // closed when its time is over; nil: never
	MaxUpload int64           // bytes that may be sent, those of what is under way when that is noticed come on top; 0: any number
	Sent      func() int64    // bytes that count and were sent so far, here and elsewhere; nil: what packs of this run have

	// The run fails with a *ShrinkError, and publishes nothing, where the source has lost more since its last snapshot than it may. Of streams only whether there are any counts.
	NotEmpty  bool     // there were files, and there are none
	MaxShrink *float64 // the share of files, or of bytes, that may be gone, 0 to 1; nil: any, 1: any

	// Ready is awaited before anything is stored, and before a manifest is read: it is for what may still be checked while the walk
	// begins, such as a passphrase. It is called once; nil: there is nothing to wait for.
	Ready func(ctx context.Context) error

	Program string
	Report  event.Func
	Each    func(path []byte, why string) // told of every file whose content is to be read, and why, by one goroutine; nil: nobody
	Expect  func() (files, bytes int64)   // what there will be, for the progress of a first backup; 0: not known yet; nil: nobody knows
	Now     func() time.Time
}

func (o *Options) setDefaults() {
	if o.Memory <= 0 {
		o.Memory = 128 << 20
	}
	if o.Streams <= 0 {
		o.Streams = repo.StreamAbove
	}
	if o.FlushPacks <= 0 {
		o.FlushPacks = 64
	}
	if o.FlushAfter <= 0 {
		o.FlushAfter = 10 * time.Second
	}
	if o.Grace <= 0 {
		o.Grace = 2 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Names == nil {
		o.Names = func(uint32, uint32) (string, string) { return "", "" }
	}
}

// display is a path as the user would write it.
func (o *Options) display(path []byte) string {
	if len(path) == 0 {
		return string(o.Source.Path)
	}
	return string(o.Source.Path) + "/" + string(path)
}

// Result is what a backup did.
type Result struct {
	Snapshot  *snapshot.Snapshot
	Unchanged bool  // nothing differed from the last backup
	Partial   bool  // the run was stopped; the snapshot holds what was done until then, and is nil where a limit ended the run before there was anything to keep
	Limit     Limit // that ended the run; empty: none
	Resumed   int   // packs of an interrupted run that were taken up

	Class           string // storage class of the packs of content that were sent; empty: the store's default
	Packs, Bytes    int64  // of content that were sent
	Volumes, Parity int64  // recovery volumes of these, and their bytes
	Metas, MetaSize int64  // packs of manifests that were sent, with their recovery volumes, and their bytes
}

// run is one pass over the tree.
type run struct {
	o      Options
	packs  repo.WriterOptions
	ctx    context.Context
	group  *errgroup.Group
	soft   context.Context // ends with ctx, or where a limit is reached: then nothing more is begun
	enough context.CancelCauseFunc
	tree   source.Tree
	writer *repo.Writer
	history

	gear       *cdc.Table
	cut        cdc.Params
	chunkKey   digest.Key
	listKey    digest.Key
	largeSize  int64
	bundleMin  int64
	bundleRoom int64

	previous []*previous // the interrupted run first
	base     *previous   // the last whole generation, if it belongs to the last snapshot and all its packs are sound
	files    *fileMap

	units      chan *unit
	chunks     chan *pendingChunk
	batches    chan []step
	largeSlots chan struct{}
	buffers    *bufferPool

	metaMu   sync.Mutex
	metaHash *digest.Hasher

	problemMu sync.Mutex
	problems  []snapshot.Problem
	lostPaths map[string]bool
	stats     snapshot.Stats // counted by the planner, under problemMu

	bytesRead atomic.Int64
	filesDone atomic.Int64
	bytesDone atomic.Int64

	largeMu sync.Mutex
	larges  []*large // that are being read

	started  time.Time
	voids    []snapshot.ID
	cutShort atomic.Bool // something was left out since the run was ending
}

// maxRestarts bounds how often a run starts over because packs were retired under it or its cache failed.
const maxRestarts = 5

// Run backs the tree up. When ctx ends, or a file system error ends the walk, what is done so far is kept as a partial snapshot, and Run returns it together with
// the error. Files that could not be read are reported as event.Problem and counted in Stats.Problems; they are no error.
func Run(ctx context.Context, o Options) (*Result, error) {
	o.setDefaults()
	o.setStorage()
	ready := o.Ready
	o.Ready = func(ctx context.Context) error { return nil }
	if ready != nil {
		var once sync.Once
		var failed error
		o.Ready = func(ctx context.Context) error {
			once.Do(func() { failed = ready(ctx) })
			return failed
		}
	}
	if err := confirmUndone(ctx, &o); err != nil {
		return nil, err
	}
	if o.Full { // which epochs there were, prune records may tell alone
		if err := o.Scope.Refresh(ctx); err != nil {
			return nil, err
		}
	}
	for attempt := 1; ; attempt++ {
		r, err := newRun(o)
		if err != nil {
			return nil, err
		}
		res, err := r.do(ctx, attempt > 1)
		var retired *repo.RetiredError
		var corrupt *index.CorruptError
		var base *BaseError
		again := (errors.As(err, &retired) || errors.Is(err, errCache) || errors.As(err, &corrupt)) && !errors.As(err, &base)
		if !again || attempt == maxRestarts || ctx.Err() != nil {
			return res, err
		}
		o.Report.Emit(event.Note{Text: "starting over: " + err.Error()})
		if err := o.Scope.Refresh(ctx); err != nil {
			return res, err
		}
		if corrupt != nil {
			if err := o.Scope.Rebuild(ctx); err != nil {
				return res, err
			}
		}
	}
}

// confirmUndone goes on where an earlier run was interrupted between publishing its snapshot and marking it done.
func confirmUndone(ctx context.Context, o *Options) error {
	host := [16]byte(o.Repo.Host().Host)
	voided := snapshot.Voided(o.Scope.Items)
	for _, it := range o.Scope.Items {
		if _, replaced := voided[it.ID]; replaced || it.HostID != host || it.Source.ID != o.Source.ID || it.Status() != snapshot.IsUndone {
			continue
		}
		if err := o.Ready(ctx); err != nil {
			return err
		}
		err := o.Scope.Confirm(ctx, it)
		var retired *repo.RetiredError
		var broken *repo.ObjectError
		if err != nil && !errors.As(err, &retired) && !errors.As(err, &broken) {
			return err
		}
	}
	return nil
}

func newRun(o Options) (*run, error) {
	packs := o.packing()
	r := &run{o: o, packs: packs, tree: o.Tree, started: o.Now(), lostPaths: map[string]bool{}, files: newFileMap()}
	if o.Unread != nil {
		o.Unread.run.Store(r)
	}
	if err := r.findHistory(); err != nil {
		return nil, err
	}
	cfg, scope := o.Repo.Config(), o.Repo.Host().Scope()
	r.gear = cdc.NewTable(scope.GearTable())
	r.cut = cdc.Params{Min: int(cfg.Chunk.Min), Avg: int(cfg.Chunk.Avg), Max: int(cfg.Chunk.Max)}
	r.chunkKey, r.listKey = scope.ChunkKey(r.epoch), scope.ListKey(r.epoch)
	r.metaHash = digest.NewHasher(r.chunkKey)
	r.largeSize = cfg.Chunk.Min
	r.bundleMin, r.bundleRoom = cfg.Bundle.Min, cfg.Bundle.Max
	r.units = make(chan *unit, o.Workers)
	r.chunks = make(chan *pendingChunk)
	r.batches = make(chan []step, 4)
	r.largeSlots = make(chan struct{}, 2)
	r.buffers = newBufferPool(2*o.Workers + 2)
	return r, nil
}

// do makes one pass.
func (r *run) do(ctx context.Context, cautious bool) (*Result, error) {
	res := &Result{Class: r.packs.Class}
	if res.Class == "" {
		res.Class = r.o.Repo.Config().Class.Data
	}
	journal, records, err := r.openJournal()
	if err != nil {
		return nil, err
	}
	defer journal.Close()
	late, end := outlive(ctx, r.o.Grace)
	defer end()
	w := r.packs
	w.Epoch, w.Level, w.MetaLevel, w.Journal = r.epoch, r.o.Level, frame.Fastest, journal
	r.writer, err = r.o.Repo.NewWriter(late, r.o.Scope, w)
	if err != nil {
		return nil, err
	}
	defer r.writer.Abort()
	defer func() {
		res.Packs, res.Bytes = r.writer.Sent(chunk.Data)
		res.Volumes, res.Parity = r.writer.SentVolumes(chunk.Data)
		res.Metas, res.MetaSize = r.writer.Sent(chunk.Meta)
		volumes, size := r.writer.SentVolumes(chunk.Meta)
		res.Metas, res.MetaSize = res.Metas+volumes, res.MetaSize+size
	}()
	if len(records) > 0 { // what the spool has kept is sent
		if err := r.o.Ready(ctx); err != nil {
			return nil, err
		}
	}
	if res.Resumed, err = r.writer.Adopt(ctx, records); err != nil {
		return nil, err
	}
	if r.o.Stream == nil {
		err = r.openPrevious(ctx, cautious)
	} else {
		err = r.checkStream(ctx)
	}
	if err != nil {
		return nil, err
	}
	defer r.closePrevious()
	em := &emitter{run: r, wait: r.o.FlushAfter, flushed: r.o.Now(), tree: manifest.NewBuilder(r.gear.Hash, r.sinkMeta)}
	stop := r.reportProgress()
	defer stop() // when the last pack was sent, too
	err = r.pipeline(ctx, em)
	defer em.close()
	if err != nil {
		return r.rescue(ctx, em, res, err)
	}
	if limit := r.reached(); limit != nil {
		return r.keep(ctx, em, res, limit)
	}
	err = r.finish(ctx, em, res)
	if err == nil {
		journal.Clear()
	}
	return res, err
}

// outlive returns a context that ends so much later than ctx, so that a store which does not answer holds up nobody for ever, or when end is called.
func outlive(ctx context.Context, grace time.Duration) (late context.Context, end func()) {
	late, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cancel(context.Cause(ctx))
		case <-late.Done():
		}
	})
	return late, func() { stop(); cancel(context.Canceled) }
}

// pipeline runs all stages to their end.
func (r *run) pipeline(ctx context.Context, em *emitter) error {
	r.group, r.ctx = errgroup.WithContext(ctx)
	r.soft, r.enough = context.WithCancelCause(r.ctx)
	defer r.enough(context.Canceled)
	if r.o.Until != nil {
		var watching sync.WaitGroup
		watching.Go(r.watchTime)
		defer watching.Wait()
		defer r.enough(context.Canceled)
	}
	p := &planner{run: r, links: map[inode]*linked{}}
	for i := range r.o.Workers {
		w := &worker{run: r, number: i, hash: digest.NewHasher(r.chunkKey), buf: make([]byte, 0, r.bundleRoom)}
		r.group.Go(w.loop)
	}
	r.group.Go(func() error {
		defer close(r.batches)
		if err := p.walk(); err != nil {
			return err
		}
		for range cap(r.largeSlots) { // the last large files
			select {
			case r.largeSlots <- struct{}{}:
			case <-r.ctx.Done():
				return r.ctx.Err()
			}
		}
		close(r.units)
		return nil
	})
	r.group.Go(em.loop)
	return r.group.Wait()
}

// loop works until the planner has closed units, which it does after the last chunk of the last large file.
func (w *worker) loop() error {
	for {
		select {
		case p := <-w.run.chunks:
			if err := w.chunk(p); err != nil {
				return err
			}
		case u, ok := <-w.run.units:
			if !ok {
				return nil
			}
			if err := w.unit(u); err != nil {
				return err
			}
		case <-w.run.ctx.Done():
			return w.run.ctx.Err()
		}
	}
}

// await waits for a worker.
func (r *run) await(done <-chan struct{}) error {
	select {
	case <-done:
		return r.ctx.Err()
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
}

func (r *run) now() time.Time { return r.o.Now() }

// count notes an entry of the walk.
func (r *run) count(st *source.Stat) {
	r.problemMu.Lock()
	defer r.problemMu.Unlock()
	switch st.Type {
	case source.File:
		r.stats.Files++
		r.stats.Bytes += max(st.Size, 0)
	case source.Dir:
		r.stats.Dirs++
	default:
		r.stats.Others++
	}
}

func (r *run) unchanged(st *source.Stat) {
	if st.Type == source.File {
		r.problemMu.Lock()
		r.stats.FilesUnchanged++
		r.problemMu.Unlock()
		r.filesDone.Add(1)
		r.bytesDone.Add(st.Size)
	}
}

func (r *run) fresh(st *source.Stat, known bool) {
	if st.Type != source.File {
		return
	}
	r.filesDone.Add(1)
	r.bytesDone.Add(max(st.Size, 0))
	r.problemMu.Lock()
	defer r.problemMu.Unlock()
	if known {
		r.stats.FilesChanged++
	} else {
		r.stats.FilesNew++
	}
}

// reportProgress sends the state of the run a few times a second until stop is called.
func (r *run) reportProgress() (stop func()) {
	if r.o.Report == nil {
		return func() {}
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				_, stored, _ := r.writer.Counts()
				p := event.Progress{Phase: "backup", FilesDone: r.filesDone.Load(), BytesDone: r.bytesDone.Load(),
					FilesTotal: r.expected.Files, BytesTotal: r.expected.Bytes, BytesSent: stored}
				if r.o.Expect != nil && p.FilesTotal == 0 {
					p.FilesTotal, p.BytesTotal = r.o.Expect()
				}
				r.o.Report(p)
			case <-done:
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// newID returns a random snapshot id.
func newID() (id snapshot.ID) {
	_, _ = rand.Read(id[:]) // never fails (crypto/rand)
	return id
}
