package prune

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/store"
)

// Housekeeping.
const (
	mergeRecords = 8                   // prune records are merged once there are so many
	keepStates   = 30 * 24 * time.Hour // what a host left behind below state/ and replaced is kept so long
)

// act does what is to be done. What the run decided so far it decides again, by the clock of the store: the machine's may be wrong.
func (x *run) act(ctx context.Context, p *repo.Pruning, before *view) (*view, *plan, error) {
	var err error
	if x.now, err = p.Stamp(ctx); err != nil {
		return nil, nil, err
	}
	going, err := x.choose(ctx, p)
	if err != nil {
		return nil, nil, err
	}
	if len(going)+len(p.Marks) > 0 {
		x.tell("forget", 0, int64(len(going)))
		if err := x.forget(ctx, p, going); err != nil {
			return nil, nil, err
		}
		x.res.Forgotten = append(x.res.Forgotten, going...)
	}
	if x.o.Only {
		return nil, &plan{refresh: &refreshing{}}, nil
	}
	if p, err = x.load(ctx); err != nil {
		return nil, nil, err
	}
	v, pl, err := x.look(ctx, p, nil, before)
	if err != nil {
		return nil, nil, err
	}
	if pl.refresh, err = x.planRefresh(ctx, v); err != nil {
		return nil, nil, err
	}
	steps := []func() error{
		func() error { return x.retire(ctx, v, pl) },
		func() error {
			if x.o.Grace > 0 || len(pl.retire)+len(pl.retireParts) == 0 || x.o.faults.stale {
				return nil
			}
			v, err = x.again(ctx, v, pl)
			return err
		},
	}
	if x.o.faults.late {
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, nil, err
		}
	}
	err = x.remove(ctx, v, pl)
	pl.count(x, v)
	return v, pl, err
}

// retire stores the record, and awaits the answer.
func (x *run) retire(ctx context.Context, v *view, pl *plan) error {
	var names []digest.Object
	for _, some := range [][]uint32{pl.retire, pl.refresh.packs} {
		for _, i := range some {
			names = append(names, v.listed.Packs[i].Name)
		}
	}
	names = append(names, pl.retireParts...)
	if len(names) == 0 {
		return nil
	}
	x.tell("retire", 0, int64(len(names)))
	_, err := v.p.Retire(ctx, names, nil)
	return err
}

// again lists and reads the snapshots once more, now that the record is stored, and takes back from the plan what one of them needs.
func (x *run) again(ctx context.Context, old *view, pl *plan) (*view, error) {
	p, err := x.load(ctx)
	if err != nil {
		return nil, err
	}
	if err := x.unreadable(p); err != nil {
		return nil, err
	}
	v := &view{p: p, items: p.Items, late: p.Late, listed: old.listed, parts: old.parts, classes: old.classes, indexed: old.indexed,
		named: map[digest.Object]bool{}, lost: map[digest.Object]bool{}, members: map[digest.Object][]uint32{}}
	if err := x.findNeeded(ctx, v); err != nil {
		return nil, err
	}
	var packs []uint32
	for _, i := range pl.remove {
		if !v.needed.has(int(i)) && (x.o.faults.late || !p.Since(v.listed.Packs[i].Name).IsZero()) {
			packs = append(packs, i)
		}
	}
	var parts []digest.Object
	for _, n := range pl.removeParts {
		if !v.named[n] && (x.o.faults.late || !p.Since(n).IsZero()) {
			parts = append(parts, n)
		}
	}
	pl.remove, pl.removeParts = packs, parts
	return v, nil
}

// remove deletes. A pack that a lock keeps waits; other failures end the run, and the next one goes on.
func (x *run) remove(ctx context.Context, v *view, pl *plan) error {
	if err := v.p.Ready(ctx); err != nil {
		return err
	}
	r := &remover{x: x, v: v, total: int64(len(pl.remove) + len(pl.removeParts))}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(x.o.Parallel)
	for _, i := range pl.remove {
		if gctx.Err() != nil {
			g.Go(ctx.Err) // the rest is left
			break
		}
		g.Go(func() error { return r.pack(gctx, i) })
	}
	for _, n := range pl.removeParts {
		if gctx.Err() != nil {
			g.Go(ctx.Err) // the rest is left
			break
		}
		g.Go(func() error { return r.part(gctx, n) })
	}
	err := g.Wait()
	pl.remove, pl.removeParts = r.packs, r.parts
	return err
}

// remover counts what several goroutines delete.
type remover struct {
	x     *run
	v     *view
	total int64

	mu    sync.Mutex
	packs []uint32
	parts []digest.Object
}

func (r *remover) pack(ctx context.Context, i uint32) error {
	s := &r.v.listed.Packs[i]
	if r.known(i) {
		return nil
	}
	err := r.v.p.DeletePack(ctx, s)
	r.mu.Lock()
	defer r.mu.Unlock()
	var locked *store.LockedError
	if errors.Is(err, store.ErrLocked) {
		var until time.Time
		if errors.As(err, &locked) && !locked.Lock.Hold {
			until = locked.Lock.Until
			r.v.p.NoteLock(r.x.o.Locks, s, locked.Lock)
		}
		r.v.lock(i, until)
		return nil
	}
	if err != nil {
		return err
	}
	r.packs = append(r.packs, i)
	r.told()
	return nil
}

// known reports whether a pack is known to be locked still: with millions of them asking costs something.
func (r *remover) known(i uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	until := r.v.p.KnownLock(r.x.o.Locks, &r.v.listed.Packs[i])
	if !until.After(r.x.now) {
		return false
	}
	r.v.lock(i, until)
	return true
}

func (r *remover) part(ctx context.Context, n digest.Object) error {
	err := r.v.p.DeletePart(ctx, n)
	if errors.Is(err, store.ErrLocked) {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.parts = append(r.parts, n)
		r.told()
	}
	return err
}

func (r *remover) told() {
	if n := int64(len(r.packs) + len(r.parts)); n%64 == 0 || n == r.total {
		r.x.tell("delete", n, r.total)
	}
}

// lock notes that a pack is locked.
func (v *view) lock(i uint32, until time.Time) {
	if v.locked == nil {
		v.locked = map[uint32]time.Time{}
	}
	v.locked[i] = until
}

// housekeeping makes index and records small again. Nothing depends on it.
func (x *run) housekeeping(ctx context.Context, v *view, pl *plan) error {
	if err := v.p.Ready(ctx); err != nil {
		return err
	}
	removed := newBits(len(v.listed.Packs))
	for _, i := range pl.remove {
		removed.set(int(i))
	}
	gone := func(n digest.Object) bool {
		i := v.listed.Find(n)
		there := i >= 0 && v.listed.Packs[i].Size >= 0 && !removed.has(i)
		return !there && !v.lost[n] && (i < 0 || !v.needed.has(i)) && !v.p.Since(n).IsZero()
	}
	x.tell("index", 0, 0)
	_, deleted, err := v.p.DropFromIndexes(ctx, x.now.Add(-x.o.Grace), gone)
	x.res.Indexes += deleted
	if err != nil {
		return err
	}
	merged, err := v.p.Compact(ctx, x.now.Add(-x.o.Grace), mergeRecords)
	x.res.Records += merged
	if err != nil {
		return err
	}
	states, err := v.p.TidyStates(ctx, x.now.Add(-keepStates))
	x.res.States += states
	return err
}
