// Package rewrite takes paths out of snapshots: each snapshot that has them is replaced by one that has all but them, and is then forgotten.
//
// What a new snapshot shares with the old one, its manifest's untouched parts and all content, stays where it is; only chunks of the manifest are written, and no content is
// read. The new snapshot stands in the place of the old one: same time, source, tags and number, a mark that says when the old one was stored (so that retention dates it as
// before), and a member that names what it stands for (FORMAT §10, rewrites). It is written by the root key, since no host may speak for another.
//
// Order: every stand-in of a scope is done before one prune record forgets all that they stand for. So whenever a run is cut off, each snapshot is there, as it was or
// without the paths, and the next run goes on: stand-ins that are done already are not made again, others are forgotten and made anew. A prune may come in between; rules see only
// one of the two (snapshot.Standing), and a snapshot is forgotten only if what stands in its place is there still.
//
// What this frees is for a prune to delete, and not all of it can be: files share packs, and the bytes of a file that was taken out stay in a pack, sealed, as long as
// anything else in that pack is needed. Result says how much that is.
package rewrite

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/glob"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/manifest/linetree"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// Why a snapshot is left as it is.
var (
	ErrChain      = errors.New("snapshot is a link in a chain of streams")
	ErrEverything = errors.New("nothing of the snapshot would be left")
	ErrRetired    = errors.New("snapshot needs packs that take no new references")
	ErrForgotten  = errors.New("what was to stand in the place of the snapshot was forgotten meanwhile")
)

// Options of a rewriting.
type Options struct {
	Repo    *repo.Repository                         // open with its secrets
	Choose  func(snapshot.Item) bool                 // which done snapshots; nil: all
	Paths   func(snapshot.Origin) (*glob.Set, error) // what is taken out of the snapshots of a source
	Retire  bool                                     // packs that still hold what was taken out take no new references: later backups store again what they need of these. Not those of chains
	Region  *price.Region                            // what stays for how long; nil: unknown
	Program string                                   // name and version of this one
	Now     func() time.Time                         // nil: time.Now
	Report  event.Func
}

// Affected is a snapshot that has such paths.
type Affected struct {
	Item                       snapshot.Item
	Files, Dirs, Others, Bytes int64 // that are taken out, as Stats count them
	root                       bool  // the source itself is chosen
}

// Skipped is a snapshot that is left as it is.
type Skipped struct {
	ID  snapshot.ID
	Err error // ErrChain, ErrEverything, ErrRetired, ErrForgotten, or what is damaged
}

// Plan is what would be done.
type Plan struct {
	Snapshots []Affected    // to be replaced, by source, in order of number
	Stale     []snapshot.ID // of a run that was cut off: their stand-ins are done, or they are stand-ins that never were
	Skipped   []Skipped
	Looked    int      // at snapshots
	Paths     [][]byte // the first of those that are taken out
	scopes    []*scopePlan
}

// maxPaths is how many paths a plan names.
const maxPaths = 20

// scopePlan is the part of a plan about one scope.
type scopePlan struct {
	id       keys.ScopeID
	repo     *repo.Repository // as the root key
	state    *repo.ScopeState
	affected []Affected
	stale    []snapshot.ID
	sets     map[snapshot.Source]*glob.Set
}

// Make looks through the manifests of the snapshots, each part that they share once. It fails with repo.ErrWriteOnly where manifests cannot be read. A snapshot that cannot be
// read is in Skipped.
func Make(ctx context.Context, o Options) (*Plan, error) {
	ids, err := o.Repo.Scopes(ctx)
	if err != nil {
		return nil, err
	}
	p := &Plan{}
	for _, id := range ids {
		s := &scopePlan{id: id, sets: map[snapshot.Source]*glob.Set{}}
		if s.repo, err = o.Repo.AsRoot(id); err != nil {
			return nil, err
		}
		if s.state, err = s.repo.Load(ctx, id, true); err != nil {
			return nil, err
		}
		for _, damage := range s.state.Damaged {
			p.Skipped = append(p.Skipped, Skipped{Err: damage})
		}
		if err := p.scan(ctx, &o, s); err != nil {
			return nil, err
		}
		p.scopes = append(p.scopes, s)
		p.Snapshots = append(p.Snapshots, s.affected...)
		p.Stale = append(p.Stale, s.stale...)
	}
	return p, nil
}

// scan finds the snapshots of a scope that are to be replaced, and what a run that was cut off has left.
func (p *Plan) scan(ctx context.Context, o *Options, s *scopePlan) error {
	standing, twins := snapshot.Rewritten(s.state.Items), twins(s.state.Items)
	based := bases(s.state.Items)
	items := slices.Clone(s.state.Items)
	slices.SortFunc(items, func(a, b snapshot.Item) int {
		return cmp.Or(bytes.Compare(a.Source.ID[:], b.Source.ID[:]), cmp.Compare(a.Sequence, b.Sequence), a.Start.Compare(b.Start), bytes.Compare(a.ID[:], b.ID[:]))
	})
	seen := scanner{p: p, o: o, s: s, known: map[digest.Chunk]*Affected{}}
	defer seen.close()
	for _, it := range items {
		if it.Status() == snapshot.IsUndone && len(it.Rewrites) > 0 || it.Status() == snapshot.IsDone && (!standing[it.ID].IsZero() || twins[it.ID]) {
			s.stale = append(s.stale, it.ID)
			continue
		}
		if it.Status() != snapshot.IsDone || o.Choose != nil && !o.Choose(it) {
			continue
		}
		p.Looked++
		o.Report.Emit(event.Progress{Phase: "manifests", FilesDone: int64(p.Looked), FilesTotal: int64(len(items)), Current: it.ID.String()})
		found, err := seen.snapshot(ctx, it)
		if err != nil && ctx.Err() == nil && damaged(err) {
			p.Skipped = append(p.Skipped, Skipped{it.ID, err})
			continue
		}
		if err != nil {
			return err
		}
		switch {
		case found == nil:
		case found.root:
			p.Skipped = append(p.Skipped, Skipped{it.ID, ErrEverything})
		case based[it.ID], !it.Base.IsZero(), len(it.Points) > 0:
			p.Skipped = append(p.Skipped, Skipped{it.ID, ErrChain})
		default:
			s.affected = append(s.affected, *found)
		}
	}
	return nil
}

// bases are the snapshots on which others are built.
func bases(items []snapshot.Item) map[snapshot.ID]bool {
	based := map[snapshot.ID]bool{}
	for _, it := range items {
		if it.Status() != snapshot.IsForgotten {
			based[it.Base] = true
		}
	}
	return based
}

// twins are stand-ins of the same snapshot, with the same manifest, of runs side by side: all but one of them.
func twins(items []snapshot.Item) map[snapshot.ID]bool {
	type place struct {
		of   snapshot.Link
		tree snapshot.Tree
	}
	first, out := map[place]snapshot.ID{}, map[snapshot.ID]bool{}
	for _, it := range items {
		if it.Status() != snapshot.IsDone || len(it.Rewrites) == 0 {
			continue
		}
		at := place{it.Rewrites[0], it.Manifest}
		other, ok := first[at]
		switch {
		case !ok:
			first[at] = it.ID
		case bytes.Compare(it.ID[:], other[:]) < 0:
			first[at], out[other] = it.ID, true
		default:
			out[it.ID] = true
		}
	}
	return out
}

// damaged reports whether an error says something about what is stored, as against a store that does not answer.
func damaged(err error) bool {
	var damage *repo.DamageError
	var corrupt *manifest.CorruptError
	var line *manifest.LineError
	return errors.As(err, &damage) || errors.As(err, &corrupt) || errors.As(err, &line) || errors.Is(err, repo.ErrUnknownChunk)
}

// scanner counts what is chosen below each chunk of the manifests of a source, and so reads none twice.
type scanner struct {
	p      *Plan
	o      *Options
	s      *scopePlan
	source snapshot.Source
	known  map[digest.Chunk]*Affected // of this source
	epoch  uint32
	cache  *repo.ChunkCache
}

func (c *scanner) close() {
	if c.cache != nil {
		c.cache.Close()
	}
}

// cacheSize is how much of manifests is held in memory, in bytes.
const cacheSize = 32 << 20

// open turns to the manifests of an epoch.
func (c *scanner) open(ctx context.Context, it snapshot.Item) (err error) {
	if c.source != it.Source.ID {
		c.source = it.Source.ID
		clear(c.known)
	}
	if c.cache != nil && c.epoch == it.Epoch {
		return nil
	}
	c.close()
	c.cache, c.epoch = nil, it.Epoch
	c.cache, err = c.s.repo.NewChunkCache(ctx, c.s.state, it.Epoch, 8, cacheSize)
	return err
}

var pathKeys = linetree.Keys{Of: manifest.PathOf, Compare: manifest.Compare}

// snapshot returns what is to be taken out of a snapshot, nil: nothing.
func (c *scanner) snapshot(ctx context.Context, it snapshot.Item) (*Affected, error) {
	set, err := c.s.set(c.o, it.Source)
	if err != nil || set.Empty() || it.Manifest.Chunk.IsZero() {
		return nil, err
	}
	if err := c.open(ctx, it); err != nil {
		return nil, err
	}
	if err := c.walk(ctx, repo.TreeOf(it.Snapshot), set); err != nil {
		return nil, err
	}
	found := *c.known[it.Manifest.Chunk]
	if found.Item = it; found.Files+found.Dirs+found.Others == 0 {
		return nil, nil
	}
	return &found, nil
}

// set is what is chosen in a source.
func (s *scopePlan) set(o *Options, source snapshot.Origin) (set *glob.Set, err error) {
	set, ok := s.sets[source.ID]
	if !ok {
		if set, err = o.Paths(source); err != nil {
			return nil, err
		}
		s.sets[source.ID] = set
	}
	return set, nil
}

// walk counts what is new below the top chunk of a manifest. Chunks are opened parents first, so the sums go up from the last.
func (c *scanner) walk(ctx context.Context, tree manifest.Tree, set *glob.Set) error {
	var at digest.Chunk // opened last
	var order []digest.Chunk
	below := map[digest.Chunk][]digest.Chunk{}
	fresh := map[digest.Chunk]*Affected{}
	src := manifest.Source{Prefetch: c.cache.Prefetch, Get: func(id digest.Chunk) ([]byte, error) {
		raw, err := c.cache.Get(id)
		if err == nil {
			at = id
			order = append(order, id)
			fresh[id] = &Affected{}
		}
		return raw, err
	}}
	it := linetree.NewIterator(src, tree, pathKeys, linetree.Options{ReadAhead: linetree.ReadAhead, Enter: func(id digest.Chunk, _ int) (bool, error) {
		below[at] = append(below[at], id)
		return c.known[id] == nil, ctx.Err()
	}})
	var e manifest.Entry
	for it.Next() {
		if err := manifest.ParseLine(it.Line(), &e); err != nil {
			return err
		}
		if chosen, _ := set.Covers(e.Path, e.Type == manifest.Dir); !chosen {
			continue
		}
		fresh[at].count(&e)
		if len(c.p.Paths) < maxPaths && !slices.ContainsFunc(c.p.Paths, func(p []byte) bool { return within(e.Path, p) }) {
			c.p.Paths = append(c.p.Paths, slices.Clone(e.Path))
		}
	}
	if it.Err() != nil {
		return it.Err()
	}
	for _, id := range slices.Backward(order) {
		for _, b := range below[id] {
			if k := c.known[b]; k != nil {
				fresh[id].add(k)
			}
		}
		c.known[id] = fresh[id]
	}
	return nil
}

// within reports whether a path is another one or lies below it.
func within(path, dir []byte) bool {
	rest, ok := bytes.CutPrefix(path, dir)
	return ok && (len(rest) == 0 || len(dir) == 0 || rest[0] == '/')
}

// count adds an entry, as the statistics of a snapshot do.
func (a *Affected) count(e *manifest.Entry) {
	switch e.Type {
	case manifest.File:
		a.Files++
		a.Bytes += e.Size
	case manifest.Dir:
		a.Dirs++
	default:
		a.Others++
	}
	a.root = a.root || len(e.Path) == 0
}

func (a *Affected) add(b *Affected) {
	a.Files, a.Dirs, a.Others, a.Bytes, a.root = a.Files+b.Files, a.Dirs+b.Dirs, a.Others+b.Others, a.Bytes+b.Bytes, a.root || b.root
}

// Most is the most that is taken out of one snapshot.
func (p *Plan) Most() (files, bytes int64) {
	for _, a := range p.Snapshots {
		files, bytes = max(files, a.Files), max(bytes, a.Bytes)
	}
	return files, bytes
}

// Nothing reports whether there is nothing to do.
func (p *Plan) Nothing() bool { return len(p.Snapshots)+len(p.Stale) == 0 }

// Result is what was done.
type Result struct {
	Replaced  []Replaced
	Skipped   []Skipped // for reasons that were found on the way
	Forgotten int       // snapshots that a prune deletes now
	Freed     Packs     // which no snapshot needs any more: a prune deletes them
	Waiting   Packs     // of these, those that are billed for longer whether they are deleted or not
	FreedBy   time.Time // when the last of these stays is over; zero: none, or nobody knows
	Unsure    bool      // pack sets could not be read: the numbers of packs are too high, and no pack was retired
	Still     Packs     // that are needed, and in which bytes of what was taken out stay
	Retired   Packs     // of these, those that take no new references
	Stored    int64     // bytes of new manifests
}

// Packs are a number of them, and their bytes with those of their recovery volumes.
type Packs struct {
	Packs int64 `json:"packs"`
	Bytes int64 `json:"bytes"`
}

// Replaced is a snapshot and the one that stands in its place.
type Replaced struct {
	Old, New snapshot.ID
	Affected Affected
}

func (r Replaced) String() string { return fmt.Sprintf("%v in the place of %v", r.New, r.Old) }
