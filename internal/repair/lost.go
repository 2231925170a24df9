package repair

import (
	"maps"
	"slices"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/snapshot"
)

// lost finds out what is gone with the packs that are beyond help, marks them, and tells which of them are healed: all that is needed of them lies in other packs, too.
func (x *run) lost(p *Plan) error {
	for _, sc := range p.scopes {
		broken := map[digest.Object]*unit{}
		for name, u := range sc.packs {
			if x.beyond[u.object] != nil && u.info != nil {
				broken[name] = u
			}
		}
		damaged, err := x.damagedManifests(sc)
		if err != nil {
			return err
		}
		if len(broken) == 0 && len(damaged) == 0 {
			continue
		}
		of, err := x.lostChunks(sc, broken)
		if err != nil {
			return err
		}
		missed := map[digest.Chunk]bool{}
		for _, it := range sc.Items {
			if it.Forgotten || !x.touched(sc, it, broken) && !damaged[it.ID] {
				continue
			}
			h, err := sc.Hurts(x.ctx, it.Snapshot, func(id digest.Chunk) bool {
				if of[id] {
					missed[id] = true
					return true
				}
				places, err := sc.Places(id)
				return err == nil && len(places) == 0
			})
			if err != nil {
				return err
			}
			if h != nil {
				p.Hurt = append(p.Hurt, h)
			}
		}
		if err := x.planLost(p, sc, broken, missed); err != nil {
			return err
		}
	}
	return nil
}

// damagedManifests returns the snapshots that name something which no index has: chunks whose packs were never named, or whose index is lost.
func (x *run) damagedManifests(sc *scope) (map[snapshot.ID]bool, error) {
	out := map[snapshot.ID]bool{}
	for _, it := range sc.Items {
		names, err := sc.PackNames(x.ctx, it.Snapshot)
		if err != nil {
			if x.ctx.Err() != nil {
				return nil, x.ctx.Err()
			}
			out[it.ID] = true
			continue
		}
		for _, n := range names {
			if _, ok, err := sc.FindPack(n); err != nil {
				return nil, err
			} else if !ok {
				out[it.ID] = true
			}
		}
	}
	return out, nil
}

// touched reports whether a snapshot needs one of these packs.
func (x *run) touched(sc *scope, it snapshot.Item, broken map[digest.Object]*unit) bool {
	names, err := sc.PackNames(x.ctx, it.Snapshot)
	return err != nil || slices.ContainsFunc(names, func(n digest.Object) bool { return broken[n] != nil })
}

// lostChunks returns the chunks that cannot be read from any pack.
func (x *run) lostChunks(sc *scope, broken map[digest.Object]*unit) (map[digest.Chunk]bool, error) {
	gone := map[digest.Chunk]map[digest.Object]bool{} // where a chunk cannot be read
	note := func(id digest.Chunk, name digest.Object) {
		if gone[id] == nil {
			gone[id] = map[digest.Object]bool{}
		}
		gone[id][name] = true
	}
	whole := map[digest.Object]bool{} // of which nothing can be read, as far as it is known
	v := sc.NewVerifier()
	for name, u := range broken {
		if u.pack == nil {
			whole[name] = true
			continue
		}
		f, err := v.Stored(x.ctx, u.info)
		if err != nil {
			if x.ctx.Err() != nil {
				return nil, x.ctx.Err()
			}
			whole[name] = true
			continue
		}
		if f == nil {
			continue
		}
		for _, c := range f.Chunks {
			note(c.ID, name)
		}
	}
	if len(whole) > 0 {
		err := sc.EachIndexed(x.ctx, func(p *index.Pack) error {
			if whole[p.Name] {
				for _, c := range p.Chunks {
					note(c.ID, p.Name)
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	lost := map[digest.Chunk]bool{}
	for id, in := range gone {
		places, err := sc.Places(id)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(places, func(n digest.Object) bool { return !in[n] }) {
			lost[id] = true
		}
	}
	return lost, nil
}

// planLost plans for packs that are beyond help. missed are the chunks that snapshots need and nobody has.
func (x *run) planLost(p *Plan, sc *scope, broken map[digest.Object]*unit, missed map[digest.Chunk]bool) error {
	needed := map[digest.Object]bool{}
	for id := range missed {
		places, err := sc.Places(id)
		if err != nil {
			return err
		}
		for _, n := range places {
			needed[n] = true
		}
	}
	names := slices.SortedFunc(maps.Keys(broken), func(a, b digest.Object) int { return slices.Compare(a[:], b[:]) })
	for _, name := range names {
		u := broken[name]
		s := &Step{Object: u.object, Remedy: Resend, Class: u.class(), Size: u.size(), scope: sc, unit: u, Err: x.beyond[u.object]}
		if f := x.found[u.object]; f != nil {
			s.Damage, s.Why = f.Kind, f.Err
		}
		switch {
		case !sc.Set().Retired(name): // nothing may refer to it, whether it is needed or not
		case needed[name]:
			s.Outcome = Marked
		default:
			s.Outcome = Healed
		}
		p.add(s)
	}
	return nil
}
