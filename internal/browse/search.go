package browse

import (
	"bytes"
	"context"

	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// SearchOptions say what is looked for, and where.
type SearchOptions struct {
	Match     func(path []byte, dir bool) bool // called for each path, as if it were a folder and as if it were none, and for what matches as what it is; the path is valid until it returns
	Below     []byte                           // folder; empty: everywhere
	Snapshots []snapshot.Item                  // of one source, the newest first: all that is in that one is told, and what was in older ones and is gone since
	After     Position                         // where an earlier Search stopped; zero: from the start
}

// Position is a place in a search.
type Position struct {
	Snapshot snapshot.ID
	Path     []byte
}

// Hit is a path that was found, as it was in the newest snapshot that has it.
type Hit struct {
	Entry
	Snapshot snapshot.Item
}

// Search calls fn for paths, as soon as they are found: those of the newest snapshot in order, then those that only older ones have, the newest of these first. It returns where it stopped, by an error of fn, since ctx has ended, or otherwise, so that it can
// be taken up there. A path that went away several times may be told again by a search that was taken up. Hits are valid until fn returns. It fails with repo.ErrWriteOnly.
func Search(ctx context.Context, r *repo.Repository, scope *repo.ScopeState, o SearchOptions, fn func(*Hit) error) (Position, error) {
	inner, cancel := context.WithCancel(ctx)
	s := &search{ctx: inner, o: &o, fn: fn, told: map[string]struct{}{}, at: o.After}
	s.o.Below = bytes.Trim(o.Below, "/")
	defer func() {
		cancel()
		for _, v := range []*View{s.newest, s.later} {
			if v != nil {
				v.Close()
			}
		}
	}()
	resumed := o.After.Snapshot.IsZero()
	for k, it := range o.Snapshots {
		here := it.ID == o.After.Snapshot
		last := k+1 < len(o.Snapshots) && o.Snapshots[k+1].ID == o.After.Snapshot
		if !resumed && !here && !last && k > 0 {
			continue
		}
		v, err := Open(inner, r, scope, it.Snapshot)
		if err != nil {
			return s.at, err
		}
		s.item = it
		if resumed = resumed || here; resumed {
			if !here {
				s.at = Position{Snapshot: it.ID}
			}
			err = s.look(v)
		}
		s.keep(v)
		if err != nil {
			return s.at, err
		}
	}
	return s.at, ctx.Err()
}

// search is a running Search.
type search struct {
	ctx    context.Context
	o      *SearchOptions
	fn     func(*Hit) error
	newest *View
	later  *View // the one looked at before, where it is not the newest
	item   snapshot.Item
	told   map[string]struct{}
	at     Position
	hit    Hit
}

// keep makes v the one that the next is compared with.
func (s *search) keep(v *View) {
	if s.newest == nil {
		s.newest = v
		return
	}
	if s.later != nil {
		s.later.Close()
	}
	s.later = v
}

func (s *search) look(v *View) error {
	if s.newest == nil {
		return s.walk(v)
	}
	later := s.later
	if later == nil {
		later = s.newest
	}
	return s.gone(v, later)
}

// walk goes through the newest snapshot. Lines are parsed where their path matches only.
func (s *search) walk(v *View) error {
	from := s.o.Below
	if len(s.at.Path) > 0 {
		from = s.at.Path
	}
	it := v.m.Entries(from)
	for n := 0; it.Next(); n++ {
		path := it.Path()
		if !manifest.Within(path, s.o.Below) {
			break
		}
		if n%256 == 0 {
			if err := s.ctx.Err(); err != nil {
				return err
			}
		}
		again := bytes.Equal(path, s.at.Path)
		s.at.Path = append(s.at.Path[:0], path...)
		if again || len(path) == 0 || !s.o.Match(path, true) && !s.o.Match(path, false) {
			continue
		}
		e, err := it.Entry()
		if err != nil {
			return err
		}
		if err := s.tell(e); err != nil {
			return err
		}
	}
	return it.Err()
}

// gone tells what a snapshot has that a later one lacks, and the newest too.
func (s *search) gone(v, later *View) error {
	after := bytes.Clone(s.at.Path)
	return manifest.Diff(v.m, later.m, equality(v, later), func(d manifest.Change) error {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if d.Old == nil || d.New != nil || !manifest.Within(d.Old.Path, s.o.Below) || len(after) > 0 && manifest.Compare(d.Old.Path, after) <= 0 {
			return nil
		}
		s.at.Path = append(s.at.Path[:0], d.Old.Path...)
		if !s.o.Match(d.Old.Path, d.Old.Type == manifest.Dir) {
			return nil
		}
		if _, ok := s.told[string(d.Old.Path)]; ok {
			return nil
		}
		var e manifest.Entry
		if back, err := s.newest.m.Lookup(d.Old.Path, &e); back || err != nil { // it came back later
			return err
		}
		s.told[string(d.Old.Path)] = struct{}{}
		return s.tell(d.Old)
	})
}

func (s *search) tell(e *manifest.Entry) error {
	if !s.o.Match(e.Path, e.Type == manifest.Dir) {
		return nil
	}
	s.hit.set(e)
	s.hit.Snapshot = s.item
	return s.fn(&s.hit)
}
