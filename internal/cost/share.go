package cost

import (
	"bytes"
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// Sharing is which snapshots need which packs, as indexes and pack sets tell: small hot objects, of which each is read once. It knows for each pack the one snapshot that needs it, or the one source, or that it
// is shared; so it grows with the packs, not with the snapshots. Its zero value is empty.
type Sharing struct {
	Unread []error // pack sets that cannot be read: what they name may be taken for less needed than it is

	packs     []sharedPack
	classes   []string
	sources   []snapshot.Source
	snapshots []snapshot.ID
}

// Owners of a pack, besides numbers of snapshots and sources.
const (
	nobody  = int32(-1)
	several = int32(-2)
)

// sharedPack is a pack with its recovery volume.
type sharedPack struct {
	size, volume int64 // volume: -1 where there is none
	born         int64 // seconds since 1970
	class        int32
	snapshot     int32
	source       int32
}

// owner is the only snapshot, and the only source, that need something.
type owner struct{ snapshot, source int32 }

var unowned = owner{nobody, nobody}

// and is who owns what both of two need.
func (o owner) and(p owner) owner { return owner{one(o.snapshot, p.snapshot), one(o.source, p.source)} }

func one(a, b int32) int32 {
	switch {
	case a == b || b == nobody:
		return a
	case a == nobody:
		return b
	}
	return several
}

// readers is how many pack sets are read at once.
const readers = 16

// Add reads the pack sets of the snapshots of a scope; items may hold others, too. Snapshots that are forgotten count as gone. Errors are those of the store; pack sets that are damaged become Unread.
func (s *Sharing) Add(ctx context.Context, scope *repo.ScopeState, items []snapshot.Item) error {
	names, first, err := s.addPacks(scope)
	if err != nil {
		return err
	}
	owners := map[digest.Object]owner{}
	var parts []snapshot.Part
	sources := map[snapshot.Source]int32{}
	for i := range items {
		it := &items[i]
		if it.Scope != scope.ID() || it.Status() == snapshot.IsForgotten {
			continue
		}
		at, known := sources[it.Source.ID]
		if !known {
			at = int32(len(s.sources))
			sources[it.Source.ID] = at
			s.sources = append(s.sources, it.Source.ID)
		}
		o := owner{int32(len(s.snapshots)), at}
		s.snapshots = append(s.snapshots, it.ID)
		for _, p := range it.Packs {
			have, named := owners[p.Object]
			if !named {
				parts, have = append(parts, p), unowned
			}
			owners[p.Object] = have.and(o)
		}
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, p := range parts {
		g.Go(func() error {
			members, err := scope.ReadPart(gctx, p)
			if gctx.Err() != nil {
				return gctx.Err()
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				s.Unread = append(s.Unread, err)
				return nil
			}
			s.mark(names, first, members, owners[p.Object])
			return nil
		})
	}
	return g.Wait()
}

// addPacks takes over what the index of a scope knows, and returns the names of its packs, in order, and the number of the first.
func (s *Sharing) addPacks(scope *repo.ScopeState) (names []digest.Object, first int, err error) {
	first = len(s.packs)
	classes := map[string]int32{}
	for i, name := range s.classes {
		classes[name] = int32(i)
	}
	err = scope.EachPack(func(p *repo.PackObject) error {
		class, known := classes[p.Class]
		if !known {
			class = int32(len(s.classes))
			classes[p.Class] = class
			s.classes = append(s.classes, p.Class)
		}
		k := sharedPack{size: p.Size, volume: -1, born: p.Birth.Unix(), class: class, snapshot: nobody, source: nobody}
		if p.Par2 != nil {
			k.volume = p.Par2.Size
		}
		names, s.packs = append(names, p.Name), append(s.packs, k)
		return nil
	})
	return names, first, err
}

// mark gives an owner to the packs that a pack set names. Both are in order, so each is looked for behind the one before.
func (s *Sharing) mark(names []digest.Object, first int, members []digest.Object, o owner) {
	from := 0
	for _, name := range members {
		reach := 1
		for from+reach < len(names) && bytes.Compare(names[from+reach][:], name[:]) < 0 {
			reach *= 2
		}
		i, there := slices.BinarySearchFunc(names[from:min(len(names), from+reach+1)], name, func(a, b digest.Object) int { return bytes.Compare(a[:], b[:]) })
		from += i
		if there {
			k := &s.packs[first+from]
			got := owner{k.snapshot, k.source}.and(o)
			k.snapshot, k.source = got.snapshot, got.source
		}
	}
}

// Freed is what would go with what needs it alone: packs with their recovery volumes.
type Freed struct {
	Packs int64
	Bytes int64
	Month price.Money // what keeping it costs a month
	Now   int64       // bytes whose least stay is over: deleting them costs nothing any more
	Early price.Money // deleting the others now would cost, for the rest of their least stays
	First time.Time   // when the first of the others can go for nothing; zero: there are none
	Last  time.Time   // when all can

	holds []Holding // by number of class
}

// Shares is who would free how much.
type Shares struct {
	All       Freed
	Nobody    Freed // what no snapshot needs: it goes with the next runs of a pruner
	Common    Freed // what more than one source needs
	Sources   map[snapshot.Source]Freed
	Snapshots map[snapshot.ID]Freed // those that are missing here share all that they need with others
}

// Sum adds up who would free how much at a time, by the prices of a region.
func (s *Sharing) Sum(r *price.Region, now time.Time) *Shares {
	sum := &Shares{}
	sources, snapshots := make([]*Freed, len(s.sources)), make([]*Freed, len(s.snapshots))
	for i := range s.packs {
		k := &s.packs[i]
		to := [3]*Freed{&sum.All}
		switch {
		case k.source == nobody:
			to[1] = &sum.Nobody
		case k.source == several:
			to[1] = &sum.Common
		default:
			to[1] = at(sources, k.source)
		}
		if k.snapshot >= 0 {
			to[2] = at(snapshots, k.snapshot)
		}
		s.share(r, now, k, to)
	}
	finish := func(f *Freed) {
		for _, h := range f.holds {
			f.Month += h.Month(r).Total()
		}
		f.holds = nil
	}
	for _, f := range []*Freed{&sum.All, &sum.Nobody, &sum.Common} {
		finish(f)
	}
	sum.Sources = named(sources, s.sources, finish)
	sum.Snapshots = named(snapshots, s.snapshots, finish)
	return sum
}

func at(all []*Freed, i int32) *Freed {
	if all[i] == nil {
		all[i] = &Freed{}
	}
	return all[i]
}

func named[K comparable](all []*Freed, names []K, finish func(*Freed)) map[K]Freed {
	out := map[K]Freed{}
	for i, f := range all {
		if f != nil {
			finish(f)
			out[names[i]] = *f
		}
	}
	return out
}

// share adds a pack to all that it belongs to.
func (s *Sharing) share(r *price.Region, now time.Time, k *sharedPack, to [3]*Freed) {
	name := s.classes[k.class]
	class, known := r.Class(name)
	born := time.Unix(k.born, 0)
	free, early := born, price.Money(0)
	if known && class.MinDays > 0 {
		free = born.Add(class.MinStay() + time.Minute) // as a pruner waits: stores give dates in whole seconds
	}
	waits := free.After(now)
	var bytes, billed, objects int64
	for _, size := range [2]int64{k.size, k.volume} {
		if size < 0 {
			continue
		}
		bytes, objects = bytes+size, objects+1
		if known {
			billed += class.Billed(size)
		}
		if known && waits {
			early += r.Early(name, 1, size, now.Sub(born)).Total()
		}
	}
	for _, f := range to {
		if f == nil {
			continue
		}
		f.Packs, f.Bytes, f.Early = f.Packs+1, f.Bytes+bytes, f.Early+early
		for len(f.holds) <= int(k.class) {
			f.holds = append(f.holds, Holding{Class: s.classes[len(f.holds)]})
		}
		h := &f.holds[k.class]
		h.Objects, h.Billed = h.Objects+objects, h.Billed+billed
		switch {
		case !waits:
			f.Now += bytes
		case f.First.IsZero() || free.Before(f.First):
			f.First = free
		}
		if waits && free.After(f.Last) {
			f.Last = free
		}
	}
}
