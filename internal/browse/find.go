package browse

import (
	"cmp"
	"context"
	"slices"

	"firn/internal/glob"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// FindOptions say what is looked for and where.
type FindOptions struct {
	Include   *glob.Set // nil or empty: everything
	Exclude   *glob.Set
	Snapshots []snapshot.Item // of one scope; of any sources
	Type      string          // empty: any
}

// Version is a file as it was in one or several snapshots on end of one source.
type Version struct {
	Entry
	Source      snapshot.Origin
	First, Last snapshot.Item // the oldest and the newest snapshot that have it so; the same where one has
	Count       int           // snapshots
}

// finder looks through the snapshots of one source. The first is walked; of the others only what differs from the one before is read. Memory grows with
// what is found.
type finder struct {
	ctx    context.Context
	o      *FindOptions
	choice choice
	open   map[string]*Version // as of the snapshot looked at last
	closed []*Version
}

// Find calls fn for every version of every matching file, by source, then path, then time. A file unchanged over several snapshots is told once. It fails with
// repo.ErrWriteOnly.
func Find(ctx context.Context, r *repo.Repository, scope *repo.ScopeState, o FindOptions, fn func(*Version) error) error {
	for _, h := range snapshot.Histories(o.Snapshots) {
		f := &finder{ctx: ctx, o: &o, choice: choice{o.Include, o.Exclude}, open: map[string]*Version{}}
		if err := f.history(r, scope, h.Items); err != nil {
			return err
		}
		for _, v := range f.sorted() {
			if err := fn(v); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *finder) history(r *repo.Repository, scope *repo.ScopeState, items []snapshot.Item) error {
	var last *View
	var lastItem snapshot.Item
	for _, it := range items {
		v, err := Open(f.ctx, r, scope, it.Snapshot)
		if err != nil {
			return err
		}
		if last == nil {
			err = f.choice.walk(f.ctx, v.m, nil, func(e *manifest.Entry) error { f.begin(e, it); return nil })
		} else {
			err = f.step(last, v, lastItem, it)
		}
		if err != nil {
			return err
		}
		for _, v := range f.open {
			v.Last = it
			v.Count++
		}
		last, lastItem = v, it
	}
	for _, v := range f.open {
		f.closed = append(f.closed, v)
	}
	return nil
}

// step goes from one snapshot to the next.
func (f *finder) step(a, b *View, _, now snapshot.Item) error {
	return manifest.Diff(a.m, b.m, equality(a, b), func(d manifest.Change) error {
		if err := f.ctx.Err(); err != nil {
			return err
		}
		if d.Old != nil {
			if v := f.open[string(d.Old.Path)]; v != nil {
				f.closed = append(f.closed, v)
				delete(f.open, string(d.Old.Path))
			}
		}
		if d.New != nil && f.choice.has(d.New.Path, d.New.Type == manifest.Dir) {
			f.begin(d.New, now)
		}
		return nil
	})
}

// begin opens a version.
func (f *finder) begin(e *manifest.Entry, it snapshot.Item) {
	if f.o.Type != "" && f.o.Type != e.Type.String() {
		return
	}
	var x Entry
	x.set(e)
	f.open[string(e.Path)] = &Version{Entry: *x.Clone(), Source: it.Source, First: it}
}

func (f *finder) sorted() []*Version {
	slices.SortFunc(f.closed, func(a, b *Version) int {
		return cmp.Or(manifest.Compare(a.Path, b.Path), cmp.Compare(a.First.Sequence, b.First.Sequence), a.First.Start.Compare(b.First.Start))
	})
	return f.closed
}
