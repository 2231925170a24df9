package prune

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// choose says which snapshots go. It fails, before anything is done, where one that was reported done cannot be read: what it needs is not known, and what the rules would
// say of the others neither.
func (x *run) choose(ctx context.Context, p *repo.Pruning) ([]Forgotten, error) {
	if err := x.unreadable(p); err != nil && (!x.o.Only || x.o.Decide != nil) {
		return nil, err // to forget by name takes nothing that others say
	}
	going := map[snapshot.ID]Why{}
	if err := x.byRule(p, going); err != nil {
		return nil, err
	}
	asked, err := x.asked(p)
	if err != nil {
		return nil, err
	}
	for _, id := range asked {
		going[id] = Asked
	}
	if err := x.bases(p, going); err != nil {
		return nil, err
	}
	if err := x.last(p, going); err != nil {
		return nil, err
	}
	if !x.o.Only {
		if err := x.abandoned(ctx, p, going); err != nil {
			return nil, err
		}
	}
	var out []Forgotten
	for _, it := range slices.Concat(p.Items, p.Late) {
		if why, ok := going[it.ID]; ok {
			out = append(out, Forgotten{it.ID, x.id, it.Source, it.Host, it.Stored, why})
		} else if it.Forgotten {
			out = append(out, Forgotten{it.ID, x.id, it.Source, it.Host, it.Stored, Before})
		}
	}
	for _, u := range p.Unreadable {
		if why, ok := going[u.ID]; ok {
			out = append(out, Forgotten{ID: u.ID, Scope: x.id, Stored: u.Stored, Why: why})
		} else if p.Forgotten()[u.ID] {
			out = append(out, Forgotten{ID: u.ID, Scope: x.id, Stored: u.Stored, Why: Before})
		}
	}
	return out, nil
}

// unreadable stops the run where a snapshot that counts cannot be read. One that was never marked as done may be anything, put there by anybody; it is left alone once it is
// so old that nobody is just about to mark it.
func (x *run) unreadable(p *repo.Pruning) error {
	var stop *UnreadableError
	for _, u := range p.Unreadable {
		switch {
		case x.wanted[u.ID] || p.Forgotten()[u.ID]:
		case u.Counts(x.now):
			if stop == nil {
				stop = &UnreadableError{Err: u.Err}
			}
			stop.Objects = append(stop.Objects, u.Object)
		default:
			x.note("%s cannot be read, and was never done: it is left alone: %v", u.Object, u.Err)
		}
	}
	if stop != nil {
		return stop
	}
	return nil
}

// tellLate says what is kept for nobody but who forgets it: after a plain copy of the repository, whose dates are all new, that is all that a host has ever stored which was revoked some day.
func (x *run) tellLate(p *repo.Pruning) {
	late := slices.DeleteFunc(slices.Clone(p.Late), func(it snapshot.Item) bool { return it.Forgotten || x.wanted[it.ID] })
	for i, it := range late {
		if i == 5 {
			x.note("and so do %d more snapshots", len(late)-i)
			return
		}
		x.note("snapshot %v of %q counts for nothing, since the store got it after the key of that host was revoked; what it needs stays until it is forgotten by its id", it.ID, it.Host)
	}
}

// byRule asks for the verdict on those that count, each once: a snapshot whose paths were taken out and the one that stands in its place share a slot.
func (x *run) byRule(p *repo.Pruning, going map[snapshot.ID]Why) error {
	if x.o.Decide == nil {
		return nil
	}
	items := snapshot.Standing(p.Items)
	ids, err := x.o.Decide(items, x.now)
	if err != nil {
		return err
	}
	status := map[snapshot.ID]snapshot.Status{}
	for _, it := range items {
		status[it.ID] = it.Status()
	}
	for _, id := range ids {
		if s, ok := status[id]; ok && s == snapshot.IsDone {
			going[id] = ByRule
		}
	}
	x.replaced(p.Items, going)
	return nil
}

// replaced has snapshots share the fate of what stands in their place: of several stand-ins, made side by side, one that stays is enough.
func (x *run) replaced(items []snapshot.Item, going map[snapshot.ID]Why) {
	gone, stay := map[snapshot.ID]bool{}, map[snapshot.ID]bool{}
	for _, it := range snapshot.Standing(items) {
		if it.Status() != snapshot.IsDone {
			continue
		}
		_, goes := going[it.ID]
		for _, l := range it.Rewrites {
			gone[l.ID], stay[l.ID] = gone[l.ID] || goes, stay[l.ID] || !goes
		}
	}
	for _, it := range items {
		if it.Status() == snapshot.IsDone && gone[it.ID] && !stay[it.ID] {
			going[it.ID] = ByRule
		}
	}
}

// counting leaves out what is forgotten.
func counting(items []snapshot.Item) []snapshot.Item {
	return slices.DeleteFunc(slices.Clone(items), func(it snapshot.Item) bool { return it.Forgotten })
}

// asked returns those of the scope that the caller named.
func (x *run) asked(p *repo.Pruning) (ids []snapshot.ID, err error) {
	for _, it := range slices.Concat(p.Items, p.Late) {
		if x.wanted[it.ID] && !it.Forgotten {
			ids = append(ids, it.ID)
		}
	}
	for _, u := range p.Unreadable {
		if x.wanted[u.ID] && !p.Forgotten()[u.ID] {
			ids = append(ids, u.ID)
		}
	}
	return ids, nil
}

// bases keeps what others are built on: a rule that does not heed that is overruled, a wish is refused.
func (x *run) bases(p *repo.Pruning, going map[snapshot.ID]Why) error {
	needs := map[snapshot.ID][]snapshot.ID{}
	base := map[snapshot.ID]snapshot.ID{}
	for _, it := range slices.Concat(p.Items, p.Late) {
		if !it.Base.IsZero() && !it.Forgotten {
			base[it.ID] = it.Base
			needs[it.Base] = append(needs[it.Base], it.ID)
		}
	}
	for {
		changed := false
		for id, why := range going {
			var staying []snapshot.ID
			for _, n := range needs[id] {
				if _, goes := going[n]; !goes {
					staying = append(staying, n)
				}
			}
			if len(staying) == 0 {
				continue
			}
			if why == Asked {
				return &BaseError{id, staying}
			}
			delete(going, id)
			changed = true
		}
		if !changed {
			return nil
		}
	}
}

// last refuses to leave a source without a snapshot that is done.
func (x *run) last(p *repo.Pruning, going map[snapshot.ID]Why) error {
	if x.o.Last {
		return nil
	}
	for _, h := range snapshot.Histories(snapshot.Standing(p.Items)) {
		newest, ok := h.Newest()
		left := slices.ContainsFunc(h.Items, func(it snapshot.Item) bool {
			_, goes := going[it.ID]
			return !goes && it.Status() == snapshot.IsDone
		})
		if ok && !left {
			return &LastError{newest.Source, newest.ID}
		}
	}
	return nil
}

// abandoned adds those that were never done, once they are old and a newer one of their source is done, and stays.
func (x *run) abandoned(ctx context.Context, p *repo.Pruning, going map[snapshot.ID]Why) error {
	items := counting(p.Items)
	newest := map[snapshot.Source]snapshot.Item{}
	based := map[snapshot.ID]bool{}
	for _, it := range items {
		_, goes := going[it.ID]
		if have, ok := newest[it.Source.ID]; it.Status() == snapshot.IsDone && !goes && (!ok || it.Sequence > have.Sequence) {
			newest[it.Source.ID] = it
		}
		if !goes {
			based[it.Base] = true
		}
	}
	voided := snapshot.Voided(items)
	for _, it := range items {
		status := it.Status()
		if _, goes := going[it.ID]; goes || status == snapshot.IsDone || based[it.ID] || it.Stored.Add(max(x.o.Grace, WeakGrace)).After(x.now) {
			continue
		}
		_, replaced := voided[it.ID]
		if !replaced && x.comes(it) {
			continue
		}
		done, ok := newest[it.Source.ID]
		if !replaced && (!ok || done.Sequence < it.Sequence || !done.Stored.After(it.Stored)) {
			continue
		}
		if status == snapshot.IsUndone && !replaced {
			if marked, err := x.marked(ctx, p, it.ID); err != nil {
				return err
			} else if marked {
				continue
			}
		}
		if going[it.ID] = Undone; status == snapshot.IsPartial {
			going[it.ID] = Partial
		}
	}
	return nil
}

// marked asks for the mark of a snapshot that the listing shows without one. A mark may be younger than its snapshot, by a run that went on after days or by a repair, and a listing may be late.
func (x *run) marked(ctx context.Context, p *repo.Pruning, id snapshot.ID) (bool, error) {
	_, mark := p.SnapshotName(id)
	info, err := x.o.Repo.Store().Stat(ctx, mark)
	if errors.Is(err, store.ErrNotExist) {
		return false, nil
	}
	return err == nil && info.Size > 0, err
}

// comes reports whether a snapshot may have been copied here but for its mark. Once it is forgotten under its id it is not copied again, so it is not for a prune to give it up: whoever copies
// next goes on with it.
func (x *run) comes(it snapshot.Item) bool {
	if x.o.Repo.Config().Copy == [16]byte{} || it.Status() != snapshot.IsUndone || len(it.Rewrites) > 0 {
		return false
	}
	if it.Stored.Add(CopyAge).Before(x.now) {
		x.note("snapshot %v of %q is complete, but has no mark: the next copy brings it; if none comes it keeps what it needs until it is forgotten by its id", it.ID, it.Host)
	}
	return true
}

// founded returns what of going others are built on that are not forgotten: one may have been confirmed between the look at the scope and the record, by a backup that had listed the records
// before. Such a base is forgotten, and stays as long as what needs it.
func (x *run) founded(ctx context.Context, going []Forgotten) (map[snapshot.ID]bool, error) {
	if len(going) == 0 {
		return nil, nil
	}
	now, err := x.o.Repo.Load(ctx, x.id, false)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(now.Items, now.Late)
	base, kept := map[snapshot.ID]snapshot.ID{}, map[snapshot.ID]bool{}
	for _, it := range all {
		base[it.ID] = it.Base
	}
	for _, it := range all {
		if it.Forgotten {
			continue
		}
		for at := it.Base; !at.IsZero() && !kept[at]; at = base[at] {
			kept[at] = true
		}
	}
	for _, f := range going {
		if kept[f.ID] {
			x.note("snapshot %v is forgotten, but others are built on it: it stays as long as these do", f.ID)
		}
	}
	return kept, nil
}

// forget stores the record, awaits the answer, and deletes the snapshots, but for those on which others are built.
func (x *run) forget(ctx context.Context, p *repo.Pruning, going []Forgotten) error {
	var fresh []snapshot.ID
	for _, f := range going {
		if f.Why != Before {
			fresh = append(fresh, f.ID)
		}
	}
	if len(fresh) > 0 {
		if _, err := p.Retire(ctx, nil, fresh); err != nil {
			return err
		}
	}
	kept, err := x.founded(ctx, going)
	if err != nil {
		return err
	}
	if err := p.Ready(ctx); err != nil {
		return err
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(x.o.Parallel)
	remove := func(id snapshot.ID) {
		g.Go(func() error {
			err := p.DeleteSnapshot(gctx, id)
			if errors.Is(err, store.ErrLocked) {
				mu.Lock()
				x.res.Locked++
				mu.Unlock()
				return nil
			}
			return err
		})
	}
	for _, f := range going {
		if !kept[f.ID] {
			remove(f.ID)
		}
	}
	for _, id := range p.Marks {
		remove(id)
	}
	return g.Wait()
}
