// Package copy brings snapshots of a repository to a copy of it, object for object: packs pass as they are, and no key for them is needed. A host's write-only key
// is enough for the snapshots of its scope.
//
// Each pack that the copy lacks is read once, its SHA-256 is compared with its name while it passes, and it is there whole or not at all. Several pass at once, each in a
// few hundred KiB of memory, besides its recovery volume. Where the copy is to have recovery volumes, those that can be read are copied, and those that there are not, or that
// would have to be thawed, are made of the passing packs.
//
// A copy can be killed at any moment and made again: what arrived is found by listing the copy, and not sent again; a snapshot is marked as done after all that it
// needs (FORMAT §10.1). Snapshots are copied oldest first, those that others build on before these. A snapshot that needs something that cannot be had is left out and
// reported, and the others go on.
//
// A copy has its own prune records: what it has forgotten is not copied again, and what the repository has forgotten stays in the copy.
package copy

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"firn/internal/event"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/thaw"
)

// Options of a copy.
type Options struct {
	From, To *repo.Repository
	Scopes   []keys.ScopeID               // nil: all that the keys at hand open
	Choose   func(it *snapshot.Item) bool // which of the snapshots that are done; nil: all. What they build on comes along
	Again    bool                         // also what the copy has forgotten, anew (repo.CopyScope.Renew)
	Parallel int                          // packs on their way at once; 0: 8
	Report   event.Func
	Each     func(it *snapshot.Item, err error) // told of every snapshot that was copied, or could not be, by one goroutine; nil: nobody
}

// defaultParallel is how many packs are on their way at once.
const defaultParallel = 8

// Failure is a snapshot that could not be copied.
type Failure struct {
	Item snapshot.Item
	Err  error // *repo.RetiredError: the copy has retired what it needs; else what of it could not be had
}

// Result is what a copy did, or of a plan, what it would do. Sizes are bytes.
type Result struct {
	Snapshots int64     // that were copied
	There     int64     // that were there before
	Forgotten int64     // that the copy has forgotten
	Renewed   int64     // of those copied: for which new ones were made, since the copy has given up what they need
	Failed    []Failure // that could not be copied

	Outdated []snapshot.ID // that the repository has replaced since, by snapshots without some paths, and that the copy still has as they were

	Packs, Bytes         int64 // that were sent
	Taken                int64 // packs that lay in the copy already, from a run that was interrupted or from a backup that sent them there
	Volumes, VolumeBytes int64 // recovery volumes that were sent

	Cold []thaw.Need // packs that have to be thawed first
}

// run is one copy.
type run struct {
	o      Options
	from   store.Store
	to     store.Store
	total  int64 // packs of the batch
	res    Result
	mu     sync.Mutex // guards res.Cold
	packs  atomic.Int64
	bytes  atomic.Int64
	taken  atomic.Int64
	vols   atomic.Int64
	volume atomic.Int64
}

func newRun(o Options) *run {
	if o.Parallel <= 0 {
		o.Parallel = defaultParallel
	}
	return &run{o: o, from: o.From.Store(), to: o.To.Store()}
}

// Run copies. Errors are those of stores that do not answer or take nothing, and *repo.DifferentError and repo.ErrSelf; what concerns single snapshots is in Result.Failed. The
// Result is never nil.
func Run(ctx context.Context, o Options) (*Result, error) {
	x := newRun(o)
	err := x.scopes(ctx, func(s *repo.CopyScope, items []snapshot.Item) error {
		for len(items) > 0 {
			b, n, err := s.Batch(ctx, items)
			if err != nil {
				return err
			}
			items = items[n:]
			if err := x.batch(ctx, s, b); err != nil {
				return err
			}
		}
		s.To.Settle(ctx)
		return nil
	})
	x.count()
	return &x.res, err
}

func (x *run) count() {
	r := &x.res
	r.Packs, r.Bytes, r.Taken, r.Volumes, r.VolumeBytes = x.packs.Load(), x.bytes.Load(), x.taken.Load(), x.vols.Load(), x.volume.Load()
}

// scopes calls fn for each scope in which something is to be copied, with that, in the order in which it is to be copied.
func (x *run) scopes(ctx context.Context, fn func(s *repo.CopyScope, items []snapshot.Item) error) error {
	ids := x.o.Scopes
	if ids == nil {
		var err error
		if ids, err = x.o.From.Scopes(ctx); err != nil {
			return err
		}
	}
	var all []*repo.CopyScope
	for _, id := range ids {
		s, err := x.o.From.CopyScope(ctx, x.o.To, id)
		if err != nil {
			return err
		}
		all = append(all, s)
	}
	if err := x.o.From.CopyHosts(ctx, x.o.To); err != nil {
		return err
	}
	for _, s := range all {
		for old := range snapshot.Rewritten(s.From.Items) {
			if s.Status(old) == repo.CopyThere {
				x.res.Outdated = append(x.res.Outdated, old)
			}
		}
		items := x.chosen(s)
		if len(items) == 0 {
			continue
		}
		if err := s.Prepare(ctx); err != nil {
			return err
		}
		if err := fn(s, items); err != nil {
			return err
		}
	}
	return nil
}

// chosen returns what is to be copied of a scope, in order.
func (x *run) chosen(s *repo.CopyScope) []snapshot.Item {
	sorted := slices.Clone(s.From.Items)
	slices.SortStableFunc(sorted, func(a, b snapshot.Item) int {
		return cmp.Or(a.Stored.Compare(b.Stored), cmp.Compare(a.Sequence, b.Sequence), bytes.Compare(a.ID[:], b.ID[:]))
	})
	var out []snapshot.Item
	seen := map[snapshot.ID]bool{}
	for i := range sorted {
		it := &sorted[i]
		if it.Status() != snapshot.IsDone || x.o.Choose != nil && !x.o.Choose(it) {
			continue
		}
		chain, err := snapshot.Chain(s.From.Items, it.ID)
		if err != nil {
			x.fail(it, err)
			continue
		}
		for k := range chain {
			if !seen[chain[k].ID] && x.wanted(s, &chain[k]) {
				out = append(out, chain[k])
			}
			seen[chain[k].ID] = true
		}
	}
	return out
}

// wanted reports whether a snapshot is to be copied, and counts it if not.
func (x *run) wanted(s *repo.CopyScope, it *snapshot.Item) bool {
	switch s.Status(it.ID) {
	case repo.CopyThere:
		x.res.There++
	case repo.CopyForgotten:
		if x.o.Again {
			return it.Status() == snapshot.IsDone
		}
		x.res.Forgotten++
	default:
		return it.Status() == snapshot.IsDone
	}
	return false
}

func (x *run) fail(it *snapshot.Item, err error) {
	x.res.Failed = append(x.res.Failed, Failure{*it, err})
	if x.o.Each != nil {
		x.o.Each(it, err)
	}
}

// batch sends the packs of a batch and publishes its snapshots.
func (x *run) batch(ctx context.Context, s *repo.CopyScope, b *repo.CopyBatch) error {
	x.total = x.packs.Load() + x.taken.Load() + int64(len(b.Packs))
	if err := x.sendAll(ctx, b.Packs); err != nil {
		return err
	}
	if err := b.Publish(ctx); err != nil {
		return err
	}
	for i := range b.Items {
		if x.renewable(s, b.Errs[i]) {
			var err error
			if b.Errs[i], err = x.renew(ctx, s, &b.Items[i]); err != nil {
				return err
			}
		}
		if b.Errs[i] != nil {
			x.fail(&b.Items[i], b.Errs[i])
			continue
		}
		x.res.Snapshots++
		if x.o.Each != nil {
			x.o.Each(&b.Items[i], nil)
		}
	}
	return nil
}

// renewable reports whether a snapshot that cannot be copied as it is can be copied anew. One that the copy has just forgotten is not brought back unasked.
func (x *run) renewable(s *repo.CopyScope, err error) bool {
	var retired *repo.RetiredError
	return errors.As(err, &retired) && (x.o.Again || !retired.Forgotten) && s.CanRenew()
}

// renew makes a new snapshot in the place of one that the copy cannot take. failed is what is wrong with the snapshot, err what ends the copy.
func (x *run) renew(ctx context.Context, s *repo.CopyScope, it *snapshot.Item) (failed, err error) {
	x.o.Report.Emit(event.Decision{Text: "snapshot " + it.ID.String() + " is copied anew, since the copy has given up what it needs"})
	err = s.Renew(ctx, *it)
	var retired *repo.RetiredError
	var damage *repo.DamageError
	var object *repo.ObjectError
	switch {
	case err == nil:
		x.res.Renewed++
	case errors.As(err, &retired), errors.As(err, &damage), errors.As(err, &object):
		return err, nil
	}
	return nil, err
}

// sendAll sends packs, several at once. What is wrong with one of them is noted in it.
func (x *run) sendAll(ctx context.Context, packs []repo.CopyPack) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(x.o.Parallel)
	for i := range packs {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			err := x.send(gctx, &packs[i])
			if err == nil {
				x.progress(packs[i].Object)
			}
			return err
		})
	}
	return errors.Join(g.Wait(), ctx.Err())
}

func (x *run) progress(current string) {
	x.o.Report.Emit(event.Progress{Phase: "copy", FilesDone: x.packs.Load() + x.taken.Load(), FilesTotal: x.total, BytesDone: x.bytes.Load(),
		BytesSent: x.bytes.Load() + x.volume.Load(), Current: current})
}

// Plan is what a copy would send.
type Plan struct {
	Result
	packs []repo.CopyPack
}

// Make plans a copy: it reads what a copy reads before the first pack, and changes nothing but what it copies of hosts, which a store that only pretends keeps it from.
func Make(ctx context.Context, o Options) (*Plan, error) {
	x := newRun(o)
	p := &Plan{}
	seen := map[string]bool{}
	err := x.scopes(ctx, func(s *repo.CopyScope, items []snapshot.Item) error {
		for len(items) > 0 {
			b, n, err := s.Batch(ctx, items)
			if err != nil {
				return err
			}
			items = items[n:]
			for i := range b.Packs {
				if pack := b.Packs[i]; !seen[pack.Object] {
					seen[pack.Object] = true
					p.packs = append(p.packs, pack)
				}
			}
			for i := range b.Items {
				if b.Errs[i] != nil {
					x.fail(&b.Items[i], b.Errs[i])
				} else {
					x.res.Snapshots++
				}
			}
		}
		return nil
	})
	for i := range p.packs {
		if p.packs[i].There {
			x.taken.Add(1)
			continue
		}
		x.packs.Add(1)
		x.bytes.Add(p.packs[i].Size)
	}
	x.count()
	p.Result = x.res
	return p, err
}

// Needs is what the plan wants of the store that it copies from, as package thaw takes it.
func (p *Plan) Needs() []thaw.Need {
	var needs []thaw.Need
	for i := range p.packs {
		if !p.packs[i].There {
			needs = append(needs, need(&p.packs[i]))
		}
	}
	return needs
}

// Sent is what the plan stores in the copy, by class; the sizes of recovery volumes are estimates.
func (p *Plan) Sent() (sent []price.Sent) {
	for i := range p.packs {
		pack := &p.packs[i]
		if pack.There {
			continue
		}
		n := slices.IndexFunc(sent, func(s price.Sent) bool { return s.Class == pack.To })
		if n < 0 {
			n = len(sent)
			sent = append(sent, price.Sent{Class: pack.To})
		}
		sent[n].Objects++
		sent[n].Bytes += pack.Size
		if pack.Parity > 0 {
			sent[n].Objects++
			sent[n].Bytes += pack.Size * int64(pack.Parity) / 100
		}
	}
	return sent
}

func need(p *repo.CopyPack) thaw.Need {
	return thaw.Need{Object: p.Object, Class: p.Class, Size: p.Size, Wanted: p.Size, Gets: 1}
}

// Thaw has what the plan needs thawed by a job about Needs, or some of them, and sends each pack as it comes; then it copies, as Run does, what can be copied by then. Run says how the job is run;
// Fetch is not to be set. Where the job goes on another day the Result tells of this one, and the status of the job how far it is. Errors are those of Run and of thaw.Run.
func Thaw(ctx context.Context, o Options, p *Plan, job *thaw.Job, ro thaw.RunOptions) (*Result, *thaw.Result, error) {
	x := newRun(o)
	x.total = int64(len(p.packs))
	byName := make(map[string]*repo.CopyPack, len(p.packs))
	for i := range p.packs {
		byName[p.packs[i].Object] = &p.packs[i]
	}
	ro.Events = o.Report
	ro.Fetch = func(ctx context.Context, objects []string) (cold []string, err error) {
		var some []repo.CopyPack
		for _, name := range objects {
			if pack := byName[name]; pack != nil {
				some = append(some, *pack)
			}
		}
		err = x.sendAll(ctx, some)
		for i := range some {
			if errors.Is(some[i].Err, store.ErrCold) {
				cold = append(cold, some[i].Object)
			}
		}
		return cold, err
	}
	done, err := thaw.Run(ctx, job, ro)
	var left *thaw.LeftError
	var ended *thaw.EndedError
	if err != nil && !errors.As(err, &left) && !(errors.As(err, &ended) && ended.State == thaw.Done) {
		x.count()
		return &x.res, done, err
	}
	res, err := Run(ctx, o)
	x.count()
	res.Packs, res.Bytes, res.Volumes, res.VolumeBytes = res.Packs+x.res.Packs, res.Bytes+x.res.Bytes, res.Volumes+x.res.Volumes, res.VolumeBytes+x.res.VolumeBytes
	res.Taken -= min(res.Taken, x.res.Packs)
	return res, done, err
}
