package prune

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// view is what there is in a scope, and what of it snapshots need.
type view struct {
	p       *repo.Pruning
	items   []snapshot.Item // that are there, and stay
	late    []snapshot.Item // of these those that count for nothing but what they need
	listed  *repo.Listed
	parts   []repo.StoredPart
	classes []class // of listed.Classes

	places  places                 // of listed.Packs
	needed  bits                   // of listed.Packs
	indexed bits                   //
	named   map[digest.Object]bool // pack-set objects
	lost    map[digest.Object]bool // packs that snapshots need and that are not there
	members map[digest.Object][]uint32
	locked  map[uint32]time.Time
}

// class is what a storage class asks.
type class struct {
	name  string
	stay  time.Duration
	month func(bytes int64) price.Money
}

// see reads what there is. going are snapshots that are taken to be gone already.
func (x *run) see(ctx context.Context, p *repo.Pruning, going []Forgotten, before *view) (*view, error) {
	v := &view{p: p, named: map[digest.Object]bool{}, lost: map[digest.Object]bool{}, members: map[digest.Object][]uint32{}}
	gone := map[snapshot.ID]bool{}
	for _, f := range going {
		gone[f.ID] = true
	}
	for _, it := range p.Items {
		if !gone[it.ID] {
			v.items = append(v.items, it)
		}
	}
	for _, it := range p.Late {
		if !gone[it.ID] {
			v.late = append(v.late, it)
		}
	}
	if err := x.list(ctx, v, before); err != nil {
		return nil, err
	}
	if err := v.findIndexed(); err != nil {
		return nil, err
	}
	return v, x.findNeeded(ctx, v)
}

// list lists packs and pack sets, or takes over what was listed.
func (x *run) list(ctx context.Context, v, before *view) (err error) {
	if before != nil {
		v.listed, v.parts, v.classes = before.listed, before.parts, before.classes
		return nil
	}
	x.tell("list", 0, 0)
	if v.listed, err = v.p.ListStored(ctx); err != nil {
		return err
	}
	if v.parts, err = v.p.ListParts(ctx); err != nil {
		return err
	}
	for _, name := range v.listed.Classes {
		v.classes = append(v.classes, x.classOf(name))
	}
	return nil
}

func (x *run) classOf(name string) class {
	region := x.o.Region
	k, ok := region.Class(name)
	if !ok {
		if !x.o.unpriced {
			x.note("prices of storage class %q are not known: nothing is known of a minimum stay either", name)
		}
		return class{name: name, month: func(int64) price.Money { return 0 }}
	}
	return class{name: name, stay: k.MinStay(), month: func(bytes int64) price.Money { return region.HoldMonths(name, 1, bytes, 1).Total() }}
}

// findIndexed marks the packs that an index names: both go by name.
func (v *view) findIndexed() error {
	v.indexed = newBits(len(v.listed.Packs))
	at := 0
	return v.p.Set().EachPack(func(i *index.Info, _ bool) error {
		for at < len(v.listed.Packs) && bytes.Compare(v.listed.Packs[at].Name[:], i.Name[:]) < 0 {
			at++
		}
		if at < len(v.listed.Packs) && v.listed.Packs[at].Name == i.Name {
			v.indexed.set(at)
		}
		return nil
	})
}

// findNeeded reads every pack set that a snapshot names. Forgotten snapshots that are still there count as well, and so do those that are not done: they may be, yet. What such a one
// needs does not count only where its pack set was retired and is gone: it was stored after somebody had listed the snapshots without it, and its writer has found, or will find, the
// record.
func (x *run) findNeeded(ctx context.Context, v *view) error {
	v.needed, v.places = newBits(len(v.listed.Packs)), newPlaces(v.listed.Packs)
	var parts []snapshot.Part
	owner := map[digest.Object]snapshot.Item{} // the one that counts most
	for _, it := range slices.Concat(v.items, v.late) {
		for _, p := range it.Packs {
			have, ok := owner[p.Object]
			if !ok {
				parts = append(parts, p)
			}
			if !ok || it.Status() < have.Status() {
				owner[p.Object] = it
			}
			v.named[p.Object] = true
		}
	}
	var stop *UnreadableError
	done := int64(0)
	err := v.p.ReadParts(ctx, parts, func(i int, names []digest.Object, broken error) {
		if done++; done%256 == 0 {
			x.tell("packsets", done, int64(len(parts)))
		}
		part := parts[i]
		if broken == nil {
			v.take(part.Object, names, !x.o.Refresh.Off && x.o.Decide != nil)
			return
		}
		if errors.Is(broken, store.ErrNotExist) && owner[part.Object].Status() != snapshot.IsDone && !v.p.Since(part.Object).IsZero() {
			return
		}
		if stop == nil {
			stop = &UnreadableError{Err: broken}
		}
		stop.Objects = append(stop.Objects, v.p.PartName(part)+" of snapshot "+owner[part.Object].ID.String())
	})
	if err == nil && stop != nil {
		slices.Sort(stop.Objects)
		return stop
	}
	for _, n := range v.p.StandIns() { // a repair has made them, and readers go by what is in them
		v.named[n] = true
	}
	return err
}

// take notes what one pack set names; the names are sorted. Which they are is remembered for refreshing only.
func (v *view) take(object digest.Object, names []digest.Object, remember bool) {
	var members []uint32
	if remember {
		members = make([]uint32, 0, len(names))
	}
	for _, n := range names {
		i, ok := v.places.find(n)
		if !ok || v.listed.Packs[i].Size < 0 {
			v.lost[n] = true
			if !ok {
				continue
			}
		}
		v.needed.set(i)
		if remember {
			members = append(members, uint32(i))
		}
	}
	if remember {
		v.members[object] = members
	}
}

// plan is what is to be done about packs and pack sets.
type plan struct {
	retire      []uint32 // places in view.listed.Packs
	remove      []uint32
	retireParts []digest.Object
	removeParts []digest.Object
	refresh     *refreshing
	early       price.Money
}

// acts reports whether anything is to be stored or deleted.
func (p *plan) acts() bool {
	return len(p.retire)+len(p.remove)+len(p.retireParts)+len(p.removeParts)+len(p.refresh.packs) > 0
}

// look reads what there is, and plans all but what is refreshed. What was listed before, when nothing was stored or deleted yet, is not listed again: a pack that came since is one that nobody retires.
func (x *run) look(ctx context.Context, p *repo.Pruning, going []Forgotten, before *view) (*view, *plan, error) {
	if x.o.Only {
		return nil, &plan{refresh: &refreshing{}}, nil
	}
	v, err := x.see(ctx, p, going, before)
	if err != nil {
		return nil, nil, err
	}
	return v, x.plan(v), nil
}

// fate is what becomes of one pack that no snapshot needs.
type fate struct {
	reason Reason // why it waits; empty: it does not
	until  time.Time
	retire bool
	remove bool
	cost   price.Money // of removing it now
}

func (x *run) plan(v *view) *plan {
	pl := &plan{refresh: &refreshing{}}
	x.left = *x.budget
	for _, i := range x.unneeded(v) {
		f := x.fateOf(v, int(i))
		if f.retire {
			pl.retire = append(pl.retire, i)
		}
		if f.remove {
			pl.remove = append(pl.remove, i)
			pl.early += f.cost
			x.left -= f.cost
		}
	}
	slices.Sort(pl.retire)
	slices.Sort(pl.remove)
	for _, part := range v.parts {
		if v.named[part.Name] {
			continue
		}
		switch since := v.p.Since(part.Name); {
		case x.over(since):
			pl.removeParts = append(pl.removeParts, part.Name)
		case since.IsZero() && !part.Born.Add(x.o.Grace).After(x.now):
			pl.retireParts = append(pl.retireParts, part.Name)
			if x.o.Grace <= 0 {
				pl.removeParts = append(pl.removeParts, part.Name)
			}
		}
	}
	return pl
}

// unneeded are the packs that no snapshot needs, those whose stay is over first.
func (x *run) unneeded(v *view) []uint32 {
	var out []uint32
	for i := range v.listed.Packs {
		if !v.needed.has(i) {
			out = append(out, uint32(i))
		}
	}
	if x.o.Early {
		slices.SortStableFunc(out, func(a, b uint32) int { return cmp.Compare(x.rest(v, a), x.rest(v, b)) })
	}
	return out
}

// rest is how long a pack has to wait until deleting it costs nothing.
func (x *run) rest(v *view, i uint32) time.Duration { return max(0, v.freeAt(int(i)).Sub(x.now)) }

// over reports whether what was retired at a time may go.
func (x *run) over(since time.Time) bool {
	return !since.IsZero() && (x.o.faults.noGrace || !since.Add(x.o.Grace).After(x.now))
}

// freeAt is when deleting a pack costs nothing more, to the safe side: stores give dates in whole seconds.
func (v *view) freeAt(i int) time.Time {
	s := &v.listed.Packs[i]
	var stay time.Duration
	if s.Size >= 0 {
		stay = v.classes[s.Class].stay
	}
	if s.Volume >= 0 {
		stay = max(stay, v.classes[s.VClass].stay)
	}
	born := time.Unix(s.Born, 0)
	if stay == 0 {
		return born
	}
	return born.Add(stay + time.Minute)
}

// month is what keeping a pack costs a month.
func (v *view) month(i int) (sum price.Money) {
	s := &v.listed.Packs[i]
	if s.Size >= 0 {
		sum += v.classes[s.Class].month(s.Size)
	}
	if s.Volume >= 0 {
		sum += v.classes[s.VClass].month(s.Volume)
	}
	return sum
}

// earlyCost is what deleting a pack now costs.
func (x *run) earlyCost(v *view, i int) (sum price.Money) {
	s := &v.listed.Packs[i]
	age := x.now.Sub(time.Unix(s.Born, 0))
	if s.Size >= 0 {
		sum += x.o.Region.Early(v.classes[s.Class].name, 1, s.Size, age).Total()
	}
	if s.Volume >= 0 {
		sum += x.o.Region.Early(v.classes[s.VClass].name, 1, s.Volume, age).Total()
	}
	return sum
}

// fateOf decides about a pack that no snapshot needs. It is retired a time of grace before deleting it is free, and not earlier: until then backups may refer to it.
func (x *run) fateOf(v *view, i int) fate {
	born := time.Unix(v.listed.Packs[i].Born, 0)
	free := v.freeAt(i)
	since := v.p.Since(v.listed.Packs[i].Name)
	if !since.IsZero() {
		if !x.over(since) {
			return fate{reason: Grace, until: since.Add(x.o.Grace)}
		}
		if !free.After(x.now) {
			return fate{remove: true}
		}
		cost := x.earlyCost(v, i)
		if x.o.Early && cost <= x.left {
			return fate{remove: true, cost: cost}
		}
		return fate{reason: Stay, until: free, cost: cost}
	}
	settled := born.Add(x.o.Grace)
	if !v.indexed.has(i) {
		settled = born.Add(x.o.Orphans)
	}
	if settled.After(x.now) {
		return fate{reason: Young, until: settled.Add(x.o.Grace)}
	}
	if free.After(x.now.Add(x.o.Grace)) {
		cost := x.earlyCost(v, i)
		if !x.o.Early || cost > x.left {
			return fate{reason: Stay, until: free, cost: cost}
		}
		if x.o.Grace <= 0 {
			return fate{retire: true, remove: true, cost: cost}
		}
		return fate{retire: true, reason: Grace, until: x.now.Add(x.o.Grace)}
	}
	if x.o.Grace > 0 {
		return fate{retire: true, reason: Grace, until: x.now.Add(x.o.Grace)}
	}
	return fate{retire: true, remove: true}
}

// count adds what the plan says to the result.
func (pl *plan) count(x *run, v *view) {
	if v == nil {
		return
	}
	retire, remove := newBits(len(v.listed.Packs)), newBits(len(v.listed.Packs))
	for _, i := range pl.retire {
		retire.set(int(i))
	}
	for _, i := range pl.remove {
		remove.set(int(i))
	}
	x.left = 0 // the plan has spent it
	*x.budget -= pl.early
	for i := range v.listed.Packs {
		bytes, month := v.listed.Packs[i].Total(), v.month(i)
		if v.needed.has(i) {
			x.res.Needed.add(1, bytes, month)
			continue
		}
		if retire.has(i) {
			x.res.Retired.add(1, bytes, month)
		}
		if remove.has(i) {
			x.res.Deleted.add(1, bytes, month)
			continue
		}
		f := x.fateOf(v, i)
		if until, ok := v.locked[uint32(i)]; ok {
			f = fate{reason: Lock, until: until}
		} else if retire.has(i) {
			f = fate{reason: Grace, until: x.now.Add(x.o.Grace)}
		}
		x.res.wait(f.reason, 1, bytes, month, f.cost, f.until)
	}
	x.res.Parts += len(pl.removeParts)
	x.res.Early += pl.early
	x.res.Refreshed.add(&pl.refresh.Refreshed)
}
