package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/source"
	"firn/internal/store"
	"firn/internal/target"
)

// metaCache is how many bytes of the manifest are kept in memory.
const metaCache = 4 << 20

// run is one restore.
type run struct {
	o         Options
	choice    *choice
	to        *target.Target
	rootThere bool     // the target is there
	rootKept  bool     // it was there before the restore, so that its metadata stay
	whole     bool     // it got to its end
	rootDone  bool     // the target itself has got its metadata
	pass      *passRun // nil: all in one run
	workers   []*worker
	sum       *repo.Reader // of the gatherer: ids of content that is there

	names   *[maxNames]string // of users and groups; 0: none. Filled by the gatherer, read by workers once they have the window
	nameIDs map[string]uint32
	links   linker

	openMu sync.Mutex
	open   map[*large]struct{}
	clock  uint64

	total struct {
		files, bytes, dirs, others atomic.Int64
	}
	known     atomic.Bool // total is final
	filesDone atomic.Int64
	bytesDone atomic.Int64
	bytesGot  atomic.Int64
	requests  atomic.Int64

	mu   sync.Mutex
	res  Result
	lost map[string]*Damage // what failed, relative to the target; nil: not for damage
	gaps map[string]bool    // of the manifest, by the first path in them
}

// maxNames is how many names of users and groups are told apart; those beyond it are left to their numbers.
const maxNames = 4096

// Run restores. Files that could not be restored are in the result and reported as event.Problem; they are no error. When ctx ends, Run returns what it did so far
// together with the error; run again with target.Changed it goes on without writing what is complete.
//
// Where a pack lies in a cold class and is not thawed, a run that is no pass ends with *ColdError.
func Run(ctx context.Context, o Options) (*Result, error) {
	switch {
	case o.Passes != nil && (o.Tar != nil || o.DryRun):
		return nil, errPassOnly
	case o.Tar != nil:
		return runTar(ctx, o)
	case o.Target == "":
		return nil, ErrNowhere
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r, err := newRun(ctx, o)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(o.Target)
	r.rootThere, r.rootKept = err == nil, err == nil && !target.Unfinished(info)
	if err == nil && !info.IsDir() {
		if info, err := os.Stat(o.Target); err != nil || !info.IsDir() {
			return nil, fmt.Errorf("%q: %w", o.Target, errNoFolder)
		}
	}
	if o.Passes != nil {
		if err := r.beginPass(ctx); err != nil {
			return nil, err
		}
	}
	if !o.DryRun {
		r.to, err = target.Open(o.Target, target.Options{
			Overwrite: o.Overwrite, Delete: o.Delete, NoOwner: o.NoOwner, OwnerByName: o.OwnerByName, NoXattrs: o.NoXattrs, Fresh: !r.choice.single,
			Durable: o.Passes != nil || o.Sync})
		if err != nil {
			return nil, err
		}
		defer func() { _ = r.to.Close() }()
		defer r.unmark(ctx)
	}
	stop := r.reportProgress()
	if r.pass != nil {
		res, err := r.doPass(ctx)
		r.whole = err == nil && len(res.Cold) == 0
		stop()
		return res, err
	}
	err = r.do(ctx)
	r.whole = err == nil
	stop()
	return r.result(), coldError(ctx, o, err)
}

// unmark ends a restore that made its target and got to its end without a folder for it, such as one that chose nothing. A target that was marked before belongs to a restore that may go on, and one that
// has its metadata may have that very mode.
func (r *run) unmark(ctx context.Context) {
	if ctx.Err() == nil && r.whole && !r.rootThere && !r.rootDone && !r.choice.single {
		_ = target.Unmark(r.o.Target) // who cannot may not give it its metadata either, which was told
	}
}

var errNoFolder = errors.New("not a folder")

// newRun prepares what folder, tar and plan share.
func newRun(ctx context.Context, o Options) (*run, error) {
	if o.Workers <= 0 {
		o.Workers = min(max(runtime.GOMAXPROCS(0), 4), 16)
	}
	if o.Window <= 0 {
		o.Window = 32 << 10
	}
	r := &run{o: o, names: new([maxNames]string), nameIDs: map[string]uint32{}, open: map[*large]struct{}{}, lost: map[string]*Damage{}, gaps: map[string]bool{}}
	cache, err := o.Repo.NewChunkCache(ctx, o.Scope, o.Snapshot.Epoch, 2, metaCache)
	if err != nil {
		return nil, err
	}
	m := manifest.NewReader(manifest.Source{Get: cache.Get, Prefetch: cache.Prefetch}, repo.TreeOf(o.Snapshot))
	if r.choice, err = newChoice(m, &o); err != nil {
		return nil, err
	}
	r.choice.gap = r.gap
	r.links = linker{choice: r.choice, stands: map[string]string{}}
	if r.sum, err = o.Repo.NewReader(o.Scope, o.Snapshot.Epoch); err != nil {
		return nil, err
	}
	for range o.Workers {
		rd, err := o.Repo.NewReader(o.Scope, o.Snapshot.Epoch)
		if err != nil {
			return nil, err
		}
		r.workers = append(r.workers, &worker{run: r, rd: rd})
	}
	return r, nil
}

// do gathers and works, side by side, with two windows.
func (r *run) do(ctx context.Context) error {
	full, empty := make(chan *window), make(chan *window, 1)
	empty <- newWindow()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(full)
		err := r.gather(gctx, func(w *window) (*window, error) {
			select {
			case full <- w:
			case <-gctx.Done():
				return nil, gctx.Err()
			}
			select {
			case w := <-empty:
				return w, nil
			case <-gctx.Done():
				return nil, gctx.Err()
			}
		})
		r.known.Store(err == nil)
		return err
	})
	g.Go(func() error {
		for w := range full {
			if err := r.work(gctx, w); err != nil {
				return err
			}
			w.reset()
			empty <- w
		}
		return gctx.Err()
	})
	err := g.Wait()
	if err != nil {
		r.leaveOpen()
		return err
	}
	if r.o.Delete && !r.choice.single {
		if err := r.removeExtra(ctx); err != nil {
			return err
		}
	}
	if r.o.Sync && !r.o.DryRun {
		return r.to.Sync()
	}
	return nil
}

// result sums up.
func (r *run) result() *Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	res := r.res
	res.Files, res.Bytes = r.total.files.Load(), r.total.bytes.Load()
	res.Dirs, res.Others = r.total.dirs.Load(), r.total.others.Load()
	res.BytesGot, res.Requests = r.bytesGot.Load(), r.requests.Load()
	if r.to != nil {
		res.Limits = r.to.Limits()
	}
	return &res
}

// name keeps the name of a user or group once.
func (r *run) name(s string) uint32 {
	if s == "" || !r.o.OwnerByName {
		return 0
	}
	if n, ok := r.nameIDs[s]; ok {
		return n
	}
	n := len(r.nameIDs) + 1
	if n == maxNames {
		return 0
	}
	r.names[n] = strings.Clone(s)
	r.nameIDs[r.names[n]] = uint32(n)
	return uint32(n)
}

// full is the path in the manifest of what goes to rel.
func (c *choice) full(rel []byte) []byte {
	p := bytes.Clone(c.base[:min(c.strip, len(c.base))])
	if len(p) > 0 && p[len(p)-1] != '/' && len(rel) > 0 {
		p = append(p, '/')
	}
	return append(p, rel...)
}

// done counts an entry and tells of it.
func (r *run) done(outcome target.Outcome, typ string, rel []byte, size int64) {
	action := Create
	r.mu.Lock()
	switch outcome {
	case target.Created, target.Resumed:
		r.res.Created++
	case target.Replaced:
		action = Replace
		r.res.Replaced++
	case target.Kept:
		action = Keep
		r.res.Kept++
	default:
		action = Skip
		r.res.Skipped++
	}
	r.mu.Unlock()
	r.count(typ, size)
	if r.o.Each != nil {
		r.o.Each(Item{action, typ, rel, size})
	}
}

// count counts an entry that was decided on. What a single run decides on was counted when it was met.
func (r *run) count(typ string, size int64) {
	if typ == "file" {
		r.filesDone.Add(1)
	}
	switch {
	case r.pass == nil || typ == "dir":
	case typ == "file":
		r.total.files.Add(1)
		r.total.bytes.Add(size)
	default:
		r.total.others.Add(1)
	}
}

// failed counts an entry that could not be made. It returns an error where the rest would fail as well.
func (r *run) failed(rel []byte, typ string, size int64, err error) error {
	if fatal(err) {
		return fmt.Errorf("%q: %w", r.choice.full(rel), err)
	}
	r.fail(rel, typ, size, err, nil)
	return nil
}

// damaged counts a file whose content is lost, in whole or in part.
func (r *run) damaged(rel []byte, size int64, d Damage) error {
	d.Path = r.choice.full(rel)
	r.fail(rel, "file", size, d.Err, &d)
	return nil
}

func (r *run) fail(rel []byte, typ string, size int64, err error, d *Damage) {
	r.mu.Lock()
	r.res.Failed++
	r.lost[string(rel)] = d
	if d != nil && len(r.res.Damaged) < MaxDamages {
		r.res.Damaged = append(r.res.Damaged, *d)
	}
	r.mu.Unlock()
	r.count(typ, size)
	if r.o.Each != nil {
		r.o.Each(Item{Fail, typ, rel, size})
	}
	r.o.Report.Emit(event.Problem{Path: string(r.choice.full(rel)), Err: err})
}

// gap goes on behind what is damaged of the manifest, and counts and tells it once.
func (r *run) gap(g manifest.Gap) bool {
	if errors.Is(g.Err, store.ErrCold) {
		return false // not lost
	}
	var damaged *repo.DamageError
	var corrupt *manifest.CorruptError
	if !errors.As(g.Err, &damaged) && !errors.As(g.Err, &corrupt) && !errors.Is(g.Err, repo.ErrUnknownChunk) {
		return false
	}
	object := ""
	if damaged != nil {
		object = damaged.Object
	}
	err := fmt.Errorf("up to %d entries from here on are lost with a part of the manifest: %w", g.Lines, g.Err)
	r.mu.Lock()
	told := r.gaps[string(g.First)] || r.pass != nil && r.pass.p.begun
	r.gaps[string(g.First)] = true
	if !told {
		r.res.Failed += g.Lines
		if len(r.res.Damaged) < MaxDamages {
			r.res.Damaged = append(r.res.Damaged, Damage{Path: bytes.Clone(g.First), Object: object, Err: err})
		}
	}
	r.mu.Unlock()
	if !told {
		r.o.Report.Emit(event.Problem{Path: string(g.First), Err: err})
	}
	return true
}

// isLost reports whether an entry failed, and its damage if that was why.
func (r *run) isLost(rel []byte) (*Damage, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	d, ok := r.lost[string(rel)]
	if !ok && r.pass != nil {
		d, ok = r.pass.p.lost[string(rel)]
	}
	return d, ok
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
				r.progress()
			case <-done:
				r.progress()
				return
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

func (r *run) progress() {
	p := event.Progress{Phase: "restore", FilesDone: r.filesDone.Load(), BytesDone: r.bytesDone.Load(), BytesGot: r.bytesGot.Load()}
	if r.pass != nil {
		r.pass.progress(&p)
	}
	switch {
	case p.FilesTotal > 0:
	case r.known.Load():
		p.FilesTotal, p.BytesTotal = r.total.files.Load(), r.total.bytes.Load()
	case len(r.choice.base) == 0 && r.choice.all():
		p.FilesTotal, p.BytesTotal = r.o.Snapshot.Stats.Files, r.o.Snapshot.Stats.Bytes
	}
	r.mu.Lock()
	p.Problems = r.res.Failed
	r.mu.Unlock()
	r.o.Report(p)
}

func typeName(t source.Type) string { return manifest.Type(t).String() }

func asError[T error](err error, to *T) bool { return errors.As(err, to) }
