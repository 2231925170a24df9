// Package transition moves packs of file content whose hot time is over into their cold class: a source can be kept where it is read at once as long as it
// is young, and sink afterwards (snapshot.Storage). The store copies in place; no content goes over the line, and nothing is read.
//
// Which packs: those that only snapshots of sources with such a rule need, once they are older, by the store's clock, than the longest hot time among
// these sources, and that lie in another class than the one they are to go to. A pack that a source without such a rule needs as well stays, and so does one that
// sources want in different classes. Where a pack really is, the listing of the store says; where it should be, the newest done snapshot of each source.
//
// Whether it pays: a move costs a request, perhaps the rest of a minimum stay, perhaps a retrieval, and every object billed for some KiB more than it has. A pack is moved
// only if less storage makes up for that within Payback.
package transition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Payback is how long it may take until a move has paid for itself.
const Payback = 365 * 24 * time.Hour

// Errors that a caller may want to tell apart.
var (
	ErrNoMover = errors.New("store cannot move objects into another class")
	ErrUnknown = errors.New("prices of a class are not known")
)

// Options of a transition.
type Options struct {
	Repo     *repo.Repository
	Scopes   []*repo.ScopeState // loaded with their indexes
	Region   *price.Region      // what the store asks
	Anyway   bool               // move also what does not pay
	Now      func() time.Time
	Parallel int // moves at once; 0: 16
	Report   event.Func
}

// Move is one pack that is to move.
type Move struct {
	Object string        `json:"object"`
	From   string        `json:"from"`
	To     string        `json:"to"`
	Size   int64         `json:"size"`
	Age    time.Duration `json:"-"`
	scope  int
}

// Plan is what would be moved, and why the rest would not. Numbers are of packs and their recovery volumes, sizes bytes.
type Plan struct {
	Moves  []Move      `json:"moves"`
	Size   int64       `json:"size"`
	Cost   price.Bill  `json:"-"`
	Saves  price.Money `json:"saves"`         // a month
	Young  int64       `json:"young"`         // packs whose hot time is not over
	Shared int64       `json:"shared"`        // packs that a source without such a rule needs as well, or sources with different ones
	Unpaid int64       `json:"unpaid"`        // packs for which it would not pay
	Unused int64       `json:"unused"`        // packs that no snapshot needs: prune's business
	Moved  int64       `json:"moved"`         // packs that are in their cold class already
	Frozen int64       `json:"frozen"`        // packs in another cold class: they would have to be thawed first
	Rules  int         `json:"sources"`       // sources with such a rule
	Next   time.Time   `json:"next,omitzero"` // when the next pack's hot time is over; zero: never
}

// rule is what all sources together want with a pack.
type rule struct {
	storage snapshot.Storage
	stays   bool
}

// Make plans. It makes one listing of the data packs of each scope that has a source with such a rule.
func Make(ctx context.Context, o Options) (*Plan, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Plan{Moves: []Move{}}
	for n, scope := range o.Scopes {
		rules, count, err := scopeRules(ctx, scope)
		if err != nil {
			return nil, err
		}
		p.Rules += count
		if count == 0 {
			continue
		}
		if err := p.list(ctx, &o, n, rules); err != nil {
			return nil, err
		}
	}
	return p, p.price(o.Region, o.Anyway)
}

// scopeRules returns what is wanted with each pack of a scope, and how many sources have a rule.
func scopeRules(ctx context.Context, scope *repo.ScopeState) (map[digest.Object]rule, int, error) {
	newest := map[snapshot.Source]snapshot.Item{}
	for _, it := range scope.Items {
		if have, ok := newest[it.Source.ID]; it.Status() == snapshot.IsDone && (!ok || it.Sequence > have.Sequence) {
			newest[it.Source.ID] = it
		}
	}
	count := 0
	for _, it := range newest {
		if it.Storage.Then != "" {
			count++
		}
	}
	rules := map[digest.Object]rule{}
	if count == 0 {
		return rules, 0, nil
	}
	type seenPart struct {
		source snapshot.Source
		object digest.Object
	}
	seen := map[seenPart]bool{}
	for _, it := range scope.Items {
		if it.Status() == snapshot.IsForgotten {
			continue
		}
		fresh := &snapshot.Snapshot{}
		for _, part := range it.Packs {
			if k := (seenPart{it.Source.ID, part.Object}); !seen[k] {
				seen[k] = true
				fresh.Packs = append(fresh.Packs, part)
			}
		}
		names, err := scope.PackNames(ctx, fresh)
		if errors.Is(err, store.ErrNotExist) && it.Status() != snapshot.IsDone {
			continue // it lost a race with a pruner, and will never be done
		}
		if err != nil {
			return nil, 0, err
		}
		wants := newest[it.Source.ID].Snapshot // nil where no snapshot of the source is done
		for _, name := range names {
			have, ok := rules[name]
			rules[name] = have.with(wants, !ok)
		}
	}
	return rules, count, nil
}

// with adds what one source wants.
func (r rule) with(newest *snapshot.Snapshot, first bool) rule {
	if newest == nil || newest.Storage.Then == "" {
		r.stays = true
		return r
	}
	s := newest.Storage
	switch {
	case first:
		r.storage = s
	case r.storage.Then != s.Then:
		r.stays = true
	default:
		r.storage.HotFor = max(r.storage.HotFor, s.HotFor)
	}
	return r
}

// paritySuffix marks the recovery volume of a pack, which goes where its pack goes.
const paritySuffix = ".par2"

// list goes through the packs that the store has.
func (p *Plan) list(ctx context.Context, o *Options, n int, rules map[digest.Object]rule) error {
	now := o.Now()
	return o.Repo.Store().List(ctx, repo.DataPrefix(o.Scopes[n].ID()), "", func(i store.Info) error {
		base := i.Name[strings.LastIndexByte(i.Name, '/')+1:]
		name, err := digest.ParseObject(strings.TrimSuffix(base, paritySuffix))
		if err != nil {
			return nil // none of firn's
		}
		r, ok := rules[name]
		m := Move{Object: i.Name, From: i.Class, To: r.storage.Then, Size: i.Size, Age: now.Sub(i.Modified), scope: n}
		switch {
		case !ok:
			p.Unused++
		case r.stays:
			p.Shared++
		case strings.EqualFold(m.From, m.To):
			p.Moved++
		case m.Age < r.storage.HotFor:
			p.Young++
			if at := i.Modified.Add(r.storage.HotFor); p.Next.IsZero() || at.Before(p.Next) {
				p.Next = at
			}
		default:
			p.Moves = append(p.Moves, m)
		}
		return nil
	})
}

// price leaves out what does not pay, and adds up the rest.
func (p *Plan) price(region *price.Region, anyway bool) error {
	paid := p.Moves[:0]
	for _, m := range p.Moves {
		if k, ok := region.Class(m.From); ok && k.Cold {
			p.Frozen++
			continue
		}
		cost := append(region.Move(m.From, m.To, 1, m.Size), region.Early(m.From, 1, m.Size, m.Age)...)
		saves := region.Hold(m.From, 1, m.Size, price.Month).Total() - region.Hold(m.To, 1, m.Size, price.Month).Total()
		if bad := cost.Unknown(); len(bad) > 0 && !anyway {
			return fmt.Errorf("%w: %s", ErrUnknown, strings.Join(bad, ", "))
		}
		if !anyway && float64(saves)*float64(Payback)/float64(price.Month) <= float64(cost.Total()) {
			p.Unpaid++
			continue
		}
		p.Cost = append(p.Cost, cost...)
		p.Saves += saves
		if len(p.Cost) > 1024 {
			p.Cost = p.Cost.Merge()
		}
		p.Size += m.Size
		paid = append(paid, m)
	}
	p.Cost = p.Cost.Merge()
	p.Moves = paid
	slices.SortFunc(p.Moves, func(a, b Move) int { return cmp.Compare(a.Object, b.Object) })
	return nil
}

// Result is what Run did. Numbers are of packs, sizes bytes.
type Result struct {
	Moved  int64 `json:"moved"`
	Size   int64 `json:"size"`
	Failed int64 `json:"failed"` // each reported as event.Problem
}

// tries of one move; what passes is repeated after a pause that doubles.
const (
	tries      = 6
	firstPause = time.Second
)

// Run moves what was planned. Killed, or made twice, it does no harm: what has moved already is left alone by the next plan.
func Run(ctx context.Context, o Options, p *Plan) (*Result, error) {
	mover, ok := store.As[store.Mover](o.Repo.Store())
	if !ok {
		return nil, ErrNoMover
	}
	if o.Parallel <= 0 {
		o.Parallel = 16
	}
	var moved, size, failed atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Parallel)
	for _, m := range p.Moves {
		if gctx.Err() != nil {
			g.Go(ctx.Err) // the rest is left
			break
		}
		g.Go(func() error {
			err := move(gctx, mover, m.Object, m.To)
			switch {
			case err == nil:
				moved.Add(1)
				size.Add(m.Size)
			case gctx.Err() != nil:
				return gctx.Err()
			case errors.Is(err, store.ErrDenied), errors.Is(err, store.ErrAuth), errors.Is(err, ErrNoMover):
				return err // no other pack fares better
			default:
				failed.Add(1)
				o.Report.Emit(event.Problem{Path: m.Object, Err: err})
			}
			o.Report.Emit(event.Progress{Phase: "transition", FilesDone: moved.Load(), FilesTotal: int64(len(p.Moves)), BytesDone: size.Load(), BytesTotal: p.Size, Problems: failed.Load()})
			return nil
		})
	}
	err := g.Wait()
	return &Result{moved.Load(), size.Load(), failed.Load()}, err
}

// move moves one object and repeats what may pass.
func move(ctx context.Context, mover store.Mover, name, class string) (err error) {
	pause := firstPause
	for range tries {
		if err = mover.Move(ctx, name, class); err == nil || !store.IsTemporary(err) {
			return err
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
		pause *= 2
	}
	return err
}
