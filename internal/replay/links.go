package replay

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
)

// metaCache is how many bytes of a manifest are kept in memory; snapshots of a chain share what is left of maxMeta.
const (
	metaCache = 4 << 20
	leastMeta = 256 << 10
	maxMeta   = 16 << 20
)

// maxStreams is how many streams without a point a snapshot may have.
const maxStreams = 10_000

// Open finds the streams that lead to a snapshot. It reads manifests and nothing else. It fails with *snapshot.BrokenChainError where something of the chain is not there, *LinkError where a
// manifest does not have the stream of a point, ErrNotThere and ErrNoStream for Options.Path, and repo.ErrWriteOnly. What it returns works until ctx ends.
func Open(ctx context.Context, o Options) (*Streams, error) {
	s := &Streams{o: o, byKey: map[string]*link{}}
	s.fed.report = o.Report
	a := &assembly{s: s, ctx: ctx, open: map[snapshot.ID]*manifests{}, cache: metaCache}
	var err error
	if len(o.Path) > 0 {
		err = a.one(bytes.Trim(o.Path, "/"))
	} else {
		err = a.all("")
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// assembly makes links.
type assembly struct {
	s     *Streams
	ctx   context.Context
	open  map[snapshot.ID]*manifests
	cache int
}

// manifests is the manifest of one snapshot of the chain.
type manifests struct {
	m   *manifest.Reader
	src manifest.Source
}

func (a *assembly) manifest(it *snapshot.Item) (*manifests, error) {
	if m := a.open[it.ID]; m != nil {
		return m, nil
	}
	cache, err := a.s.o.Repo.NewChunkCache(a.ctx, a.s.o.Scope, it.Epoch, 2, a.cache)
	if err != nil {
		return nil, err
	}
	src := manifest.Source{Get: cache.Get, Prefetch: cache.Prefetch}
	m := &manifests{manifest.NewReader(src, repo.TreeOf(it.Snapshot)), src}
	a.open[it.ID] = m
	return m, nil
}

// one finds the one stream that is wanted.
func (a *assembly) one(path []byte) error {
	it := a.s.o.Item
	m, err := a.manifest(&it)
	if err != nil {
		return err
	}
	var e manifest.Entry
	found, err := m.m.Lookup(path, &e)
	switch {
	case err != nil:
		return err
	case found && e.Type == manifest.File && len(e.Hardlink) == 0:
	case Thing(it.Snapshot, path) != "":
		return a.all(Thing(it.Snapshot, path))
	case !found:
		return fmt.Errorf("%q: %w", path, ErrNotThere)
	default:
		return fmt.Errorf("%q: %w", path, ErrNoStream)
	}
	var point snapshot.Point
	for _, p := range it.Points {
		if p.Stream == string(path) {
			point = p
		}
	}
	_, err = a.add(it, m, &e, point, nil)
	return err
}

// Thing is what a snapshot has a state of under this name, whole or relative to the source: a dataset, a subvolume, a repository. Empty: nothing.
func Thing(s *snapshot.Snapshot, name []byte) string {
	below := strings.TrimSuffix(string(s.Source.Path), "/") + "/" + string(name)
	for i := range s.Points {
		if p := &s.Points[i]; !p.Outside && (p.Of == string(name) || p.Of == below) {
			return p.Of
		}
	}
	return ""
}

// all finds the streams of the chain: of one thing, or of all and those that are no state of anything.
func (a *assembly) all(of string) error {
	it := a.s.o.Item
	if of != "" { // what the others lack does not matter
		only := *it.Snapshot
		only.Points = slices.DeleteFunc(slices.Clone(it.Points), func(p snapshot.Point) bool { return p.Of != of })
		it.Snapshot = &only
	}
	lineages, err := snapshot.Lineages(a.s.o.Items, it)
	if err != nil {
		return err
	}
	named, snapshots := map[string]bool{}, map[snapshot.ID]bool{}
	for _, l := range lineages {
		for _, step := range l.Steps {
			snapshots[step.Item.ID] = true
		}
	}
	a.cache = min(max(maxMeta/(len(snapshots)+1), leastMeta), metaCache)
	for _, l := range lineages {
		if err := a.lineage(&l); err != nil {
			return err
		}
	}
	for _, p := range it.Points {
		named[p.Stream] = true
	}
	if of == "" {
		if err := a.unnamed(&it, named); err != nil {
			return err
		}
	}
	slices.SortStableFunc(a.s.links, func(x, y *link) int {
		return cmp.Or(cmp.Compare(x.item.Sequence, y.item.Sequence), cmp.Compare(x.Path, y.Path))
	})
	return nil
}

// lineage adds the links that lead to one state.
func (a *assembly) lineage(l *snapshot.Lineage) error {
	if l.Outside != nil && !slices.Contains(a.s.outside, *l.Outside) {
		a.s.outside = append(a.s.outside, *l.Outside)
	}
	var after *link
	for i := range l.Steps {
		step := &l.Steps[i]
		if own := a.s.byKey[step.Point.Stream+"\x00"+step.Point.ID]; own != nil && own.item.ID == step.Item.ID {
			after = own // another lineage goes this way, too
			continue
		}
		lost := func(err error) error {
			e := &LinkError{Path: step.Point.Stream, Snapshot: step.Item.ID, Point: pointOf(&step.Point), Lost: isLost(err), Err: err}
			if after != nil {
				e.Until, e.UntilSnapshot = &after.Link, after.item.ID
			}
			return e
		}
		m, err := a.manifest(&step.Item)
		if err != nil {
			return err
		}
		var e manifest.Entry
		found, err := m.m.Lookup([]byte(step.Point.Stream), &e)
		if err == nil && !found {
			err = ErrNotThere
		}
		if err == nil && (e.Type != manifest.File || len(e.Hardlink) > 0) {
			err = ErrNoStream
		}
		if err != nil && a.ctx.Err() != nil {
			return a.ctx.Err()
		}
		if err != nil {
			return lost(err)
		}
		if after, err = a.add(step.Item, m, &e, step.Point, after); err != nil {
			return err
		}
	}
	return nil
}

// unnamed adds the streams of the wanted snapshot that no point names: they build upon nothing.
func (a *assembly) unnamed(it *snapshot.Item, named map[string]bool) error {
	m, err := a.manifest(it)
	if err != nil {
		return err
	}
	n := 0
	return m.m.Walk(nil, func(e *manifest.Entry) error {
		if e.Type != manifest.File || named[string(e.Path)] {
			return a.ctx.Err()
		}
		if n++; n > maxStreams {
			return fmt.Errorf("snapshot %v has more than %d streams", it.ID, maxStreams)
		}
		if len(e.Hardlink) > 0 {
			return fmt.Errorf("%q: %w", e.Path, ErrNoStream)
		}
		_, err := a.add(*it, m, e, snapshot.Point{}, nil)
		return err
	})
}

// add makes a link. e is copied.
func (a *assembly) add(it snapshot.Item, m *manifests, e *manifest.Entry, p snapshot.Point, after *link) (*link, error) {
	s := a.s
	l := &link{item: it, src: m.src, after: after, entry: *e}
	l.entry.Path, l.entry.Content = bytes.Clone(e.Path), slices.Clone(e.Content)
	l.entry.Xattrs, l.entry.Target, l.entry.Hardlink = nil, nil, nil
	l.Link = source.Link{Path: string(e.Path), Point: pointOf(&p), Size: e.Size}
	l.Open = func(ctx context.Context) (io.ReadCloser, error) { return s.open(ctx, l) }
	if e.Error != "" {
		return nil, l.error(fmt.Errorf("it was not backed up whole: %s", e.Error), true)
	}
	key := keyOf(&l.Link)
	if s.byKey[key] != nil {
		return nil, l.error(fmt.Errorf("snapshot %v has the same", s.byKey[key].item.ID), true)
	}
	s.byKey[key] = l
	s.links = append(s.links, l)
	return l, nil
}

func keyOf(l *source.Link) string { return l.Path + "\x00" + l.Point.ID }

func pointOf(p *snapshot.Point) source.Point {
	return source.Point{Stream: p.Stream, Of: p.Of, At: p.At, ID: p.ID, From: p.From, FromAt: p.FromAt, Time: p.Time, Outside: p.Outside}
}
