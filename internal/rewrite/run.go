package rewrite

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/glob"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Run does what was planned.
func Run(ctx context.Context, o Options, p *Plan) (*Result, error) {
	res := &Result{}
	if o.Now == nil {
		o.Now = time.Now
	}
	for _, s := range p.scopes {
		if len(s.affected)+len(s.stale) == 0 {
			continue
		}
		if err := s.run(ctx, &o, res, len(p.Snapshots)); err != nil {
			return res, err
		}
	}
	return res, nil
}

// run replaces the snapshots of a scope and forgets the old ones.
func (s *scopePlan) run(ctx context.Context, o *Options, res *Result, of int) error {
	links := s.links()
	held := &holding{state: s.state, packs: map[digest.Object]bool{}, seen: map[digest.Chunk]bool{}, made: map[snapshot.ID][]digest.Object{}}
	forget := slices.Clone(s.stale)
	for _, a := range s.affected {
		o.Report.Emit(event.Progress{Phase: "rewrite", FilesDone: int64(len(res.Replaced)), FilesTotal: int64(of), Current: a.Item.ID.String()})
		b := &builder{ctx: ctx, o: o, s: s, a: a, held: held}
		item, err := b.replace(links)
		res.Stored += b.stored
		var retired *repo.RetiredError
		if errors.As(err, &retired) || errors.Is(err, ErrRetired) {
			res.Skipped = append(res.Skipped, Skipped{a.Item.ID, ErrRetired})
			if item.Snapshot != nil {
				forget = append(forget, item.ID)
			}
			continue
		}
		if err != nil {
			return err
		}
		links[a.Item.ID] = snapshot.Link{ID: item.ID, Sum: item.Sum}
		forget = append(forget, a.Item.ID)
		res.Replaced = append(res.Replaced, Replaced{a.Item.ID, item.ID, a})
	}
	if len(forget) == 0 {
		return nil
	}
	return s.settle(ctx, o, res, forget, held)
}

// links tell which snapshots stand in the place of others already.
func (s *scopePlan) links() map[snapshot.ID]snapshot.Link {
	links := map[snapshot.ID]snapshot.Link{}
	standing, sums := snapshot.Rewritten(s.state.Items), map[snapshot.ID]digest.Object{}
	for _, it := range s.state.Items {
		sums[it.ID] = it.Sum
	}
	for old, by := range standing {
		links[old] = snapshot.Link{ID: by, Sum: sums[by]}
	}
	return links
}

// builder makes one snapshot.
type builder struct {
	ctx    context.Context
	o      *Options
	s      *scopePlan
	a      Affected
	held   *holding
	w      *repo.Writer
	hash   *digest.Hasher
	cache  *repo.ChunkCache
	tree   *manifest.Builder
	gone   map[string]*inode // by path, of entries without a hard link
	stored int64
}

// inode is a file that was taken out and that may have other names.
type inode struct {
	entry *manifest.Entry
	path  []byte // of the first name that stays; nil: none so far
}

// replace makes the stand-in of a snapshot and confirms it. Where it returns an item with an error, that was published and is not done.
func (b *builder) replace(links map[snapshot.ID]snapshot.Link) (item snapshot.Item, err error) {
	old := b.a.Item
	host := b.s.repo.Host().Scope()
	if b.w, err = b.s.repo.NewWriter(b.ctx, b.s.state, repo.WriterOptions{Epoch: old.Epoch, Lanes: 1}); err != nil {
		return item, err
	}
	defer b.w.Abort()
	if b.cache, err = b.s.repo.NewChunkCache(b.ctx, b.s.state, old.Epoch, 8, cacheSize); err != nil {
		return item, err
	}
	defer b.cache.Close()
	b.hash, b.gone = digest.NewHasher(host.ChunkKey(old.Epoch)), map[string]*inode{}
	b.tree = manifest.NewBuilder(cdc.NewTable(host.GearTable()).Hash, b.sink)
	named, err := b.lines(b.s.sets[old.Source.ID])
	if err != nil {
		return item, err
	}
	if err := b.w.SendPacks(b.ctx); err != nil {
		return item, err
	}
	_, b.stored, _ = b.w.Counts()
	if item, err = b.w.Publish(b.ctx, b.standIn(named, links)); err != nil {
		return snapshot.Item{}, err
	}
	b.held.made[item.ID] = b.w.PublishedPacks()
	return item, b.w.ConfirmAs(b.ctx, item, old.Stored)
}

// sink stores a chunk of the new manifest, unless it is one of the old one's.
func (b *builder) sink(raw []byte) (digest.Chunk, error) {
	id := b.hash.Sum(raw)
	if _, err := b.w.Put(0, chunk.Meta, id, raw); err != nil {
		return id, err
	}
	return id, b.w.Reference(id, chunk.Meta)
}

// lines makes the new manifest out of the old one.
func (b *builder) lines(set *glob.Set) (manifest.Tree, error) {
	it := manifest.NewReader(manifest.Source{Get: b.cache.Get, Prefetch: b.cache.Prefetch}, repo.TreeOf(b.a.Item.Snapshot)).Entries(nil)
	for it.Next() {
		if err := b.ctx.Err(); err != nil {
			return manifest.Tree{}, err
		}
		e, err := it.Entry()
		if err != nil {
			return manifest.Tree{}, err
		}
		if chosen, _ := set.Covers(e.Path, e.Type == manifest.Dir); chosen {
			err = b.leaveOut(e)
		} else {
			err = b.keep(e, it.Line())
		}
		if err != nil {
			return manifest.Tree{}, err
		}
	}
	if it.Err() != nil {
		return manifest.Tree{}, it.Err()
	}
	return b.tree.Finish()
}

// leaveOut notes where the content of an entry lies, and the entry itself: another name of the file may stay.
func (b *builder) leaveOut(e *manifest.Entry) error {
	if e.Type == manifest.Dir || len(e.Hardlink) > 0 {
		return nil
	}
	b.gone[string(e.Path)] = &inode{entry: e.Clone()}
	return b.chunks(e, func(id digest.Chunk, kind chunk.Kind) error { return b.held.note(id) })
}

// keep takes an entry over. Where it is another name of a file that was left out, the first such name becomes the file.
func (b *builder) keep(e *manifest.Entry, line []byte) error {
	if first := b.gone[string(e.Hardlink)]; len(e.Hardlink) > 0 && first != nil {
		return b.renamed(e, first)
	}
	if err := b.chunks(e, b.reference); err != nil {
		return err
	}
	return b.tree.AddLine(e.Path, line)
}

func (b *builder) renamed(e *manifest.Entry, first *inode) error {
	if first.path != nil {
		e.Hardlink = first.path
		return b.tree.Add(e)
	}
	first.path = slices.Clone(e.Path)
	file := *first.entry
	file.Path = first.path
	if err := b.chunks(&file, b.reference); err != nil {
		return err
	}
	return b.tree.Add(&file)
}

// chunks calls fn for what the content of an entry needs.
func (b *builder) chunks(e *manifest.Entry, fn func(digest.Chunk, chunk.Kind) error) error {
	for i := range e.Content {
		if p := &e.Content[i]; !p.IsHole() && (i == 0 || p.Chunk != e.Content[i-1].Chunk) {
			if err := fn(p.Chunk, chunk.Data); err != nil {
				return err
			}
		}
	}
	if e.Tree.IsEmpty() {
		return nil
	}
	return manifest.ContentChunks(manifest.Source{Get: b.cache.Get, Prefetch: b.cache.Prefetch}, e, manifest.Visitor{
		Meta: func(id digest.Chunk, _ int) (bool, error) { return true, fn(id, chunk.Meta) },
		Data: func(id digest.Chunk) error { return fn(id, chunk.Data) },
	})
}

// reference notes that the new snapshot needs a chunk of the old one. One of a list of pieces that lies in a pack which was retired is stored again; content that does
// cannot be, without reading it.
func (b *builder) reference(id digest.Chunk, kind chunk.Kind) error {
	err := b.w.Reference(id, kind)
	if !errors.Is(err, repo.ErrUnknownChunk) {
		return err
	}
	if kind == chunk.Data {
		return fmt.Errorf("%w: %w", ErrRetired, err)
	}
	raw, err := b.cache.Get(id)
	if err != nil {
		return err
	}
	if _, err := b.w.Put(0, kind, id, raw); err != nil {
		return err
	}
	return b.w.Reference(id, kind)
}

// standIn is the snapshot that stands in the place of the old one.
func (b *builder) standIn(named manifest.Tree, links map[snapshot.ID]snapshot.Link) *snapshot.Snapshot {
	old := b.a.Item
	s := *old.Snapshot
	s.ID, s.HostID, s.Manifest, s.Packs, s.Program = newID(), [16]byte{}, snapshot.Tree(named), nil, b.o.Program
	s.Rewrites = append([]snapshot.Link{{ID: old.ID, Sum: old.Sum}}, old.Rewrites...)
	s.Rewrites = s.Rewrites[:min(len(s.Rewrites), snapshot.MaxRewrites)]
	if s.Previous != nil {
		if by, ok := links[s.Previous.ID]; ok {
			s.Previous = &by
		}
	}
	s.Stats.Files -= b.a.Files
	s.Stats.Dirs -= b.a.Dirs
	s.Stats.Others -= b.a.Others
	s.Stats.Bytes -= b.a.Bytes
	set := b.s.sets[old.Source.ID]
	s.Problems = slices.DeleteFunc(slices.Clone(old.Problems), func(p snapshot.Problem) bool {
		chosen, _ := set.Covers([]byte(p.Path), false)
		return chosen
	})
	return &s
}

func newID() (id snapshot.ID) {
	_, _ = rand.Read(id[:])
	return id
}

// holding collects the packs in which bytes of what was taken out lie, and those that stand-ins need.
type holding struct {
	state *repo.ScopeState
	packs map[digest.Object]bool
	seen  map[digest.Chunk]bool
	made  map[snapshot.ID][]digest.Object
}

// maxSeen bounds how many chunks a holding remembers, so as not to look them up again.
const maxSeen = 1 << 20

func (h *holding) note(id digest.Chunk) error {
	if h.seen[id] {
		return nil
	}
	if len(h.seen) >= maxSeen {
		clear(h.seen)
	}
	h.seen[id] = true
	locs, err := h.state.Set().All(id)
	if err != nil {
		return err
	}
	for _, l := range locs {
		if l.Kind != chunk.Data {
			continue
		}
		info, err := h.state.Set().Pack(l.Pack)
		if err != nil {
			return err
		}
		h.packs[info.Name] = true
	}
	return nil
}

// packsOf are the packs that a snapshot needs.
func (h *holding) packsOf(ctx context.Context, it snapshot.Item) ([]digest.Object, error) {
	if names, ok := h.made[it.ID]; ok {
		return names, nil
	}
	return h.state.PackNames(ctx, it.Snapshot)
}

// replaced leaves out of what is to be forgotten the snapshots in whose place nothing stands any more: since it was made, a prune or a user may have forgotten the stand-in.
func (s *scopePlan) replaced(ctx context.Context, res *Result, forget []snapshot.ID) ([]snapshot.ID, error) {
	now, err := s.repo.Load(ctx, s.id, false)
	if err != nil {
		return nil, err
	}
	forgotten, items := now.Forgotten(), slices.Clone(s.state.Items)
	for i := range items {
		items[i].Forgotten = forgotten[items[i].ID]
	}
	standing, spare := snapshot.Rewritten(items), twins(items)
	for _, r := range res.Replaced {
		if !forgotten[r.New] {
			standing[r.Old] = r.New
		}
	}
	alone := map[snapshot.ID]bool{}
	for _, it := range items {
		alone[it.ID] = it.Status() == snapshot.IsDone && standing[it.ID].IsZero() && !spare[it.ID]
	}
	left := func(id snapshot.ID) bool { return alone[id] }
	res.Replaced = slices.DeleteFunc(res.Replaced, func(r Replaced) bool {
		if left(r.Old) {
			res.Skipped = append(res.Skipped, Skipped{r.Old, ErrForgotten})
		}
		return left(r.Old)
	})
	return slices.DeleteFunc(forget, left), nil
}

// needs tells which packs the snapshots need that are to be forgotten, which the others, and which a chain.
func (s *scopePlan) needs(ctx context.Context, res *Result, forget []snapshot.ID, held *holding) (before, after, chained map[digest.Object]bool, err error) {
	gone := map[snapshot.ID]bool{}
	for _, id := range forget {
		gone[id] = true
	}
	before, after, chained = map[digest.Object]bool{}, map[digest.Object]bool{}, map[digest.Object]bool{}
	based := bases(s.state.Items)
	for _, it := range s.state.Items {
		if it.Status() == snapshot.IsForgotten {
			continue
		}
		names, err := held.packsOf(ctx, it)
		var broken *repo.ObjectError
		switch {
		case errors.Is(err, store.ErrNotExist) && it.Status() != snapshot.IsDone:
			continue // it lost a race with a pruner, and will never be done
		case errors.As(err, &broken):
			res.Unsure = true
			continue
		case err != nil:
			return nil, nil, nil, err
		}
		for _, n := range names {
			if gone[it.ID] {
				before[n] = true
			} else {
				after[n] = true
			}
			chained[n] = chained[n] || len(it.Points) > 0 || !it.Base.IsZero() || based[it.ID]
		}
	}
	return before, after, chained, nil
}

// settle forgets what was replaced, and finds out what that frees.
func (s *scopePlan) settle(ctx context.Context, o *Options, res *Result, forget []snapshot.ID, held *holding) error {
	forget, err := s.replaced(ctx, res, forget)
	if err != nil || len(forget) == 0 {
		return err
	}
	before, after, chained, err := s.needs(ctx, res, forget, held)
	if err != nil {
		return err
	}
	var retire []digest.Object
	for n := range held.packs {
		if after[n] {
			retire = append(retire, n)
		}
	}
	if err := s.add(&res.Still, retire); err != nil {
		return err
	}
	if !o.Retire || res.Unsure {
		retire = nil
	}
	retire = slices.DeleteFunc(retire, func(n digest.Object) bool { return chained[n] }) // what streams were made of may be gone: nobody could send them again
	if err := s.add(&res.Retired, retire); err != nil {
		return err
	}
	if _, err := s.state.Retire(ctx, retire, forget); err != nil {
		return err
	}
	res.Forgotten += len(forget)
	s.state.Tidy(ctx) // each stand-in has brought an index
	return s.freed(o, res, before, after)
}

// add counts packs.
func (s *scopePlan) add(to *Packs, names []digest.Object) error {
	for _, n := range names {
		info, ok, err := s.state.Set().Find(n)
		if err != nil {
			return err
		}
		to.Packs++
		if to.Bytes += info.Size; ok && info.Par2 != nil {
			to.Bytes += info.Par2.Size
		}
	}
	return nil
}

// freed counts the packs that only forgotten snapshots need.
func (s *scopePlan) freed(o *Options, res *Result, before, after map[digest.Object]bool) error {
	for n := range before {
		if after[n] {
			continue
		}
		if err := s.add(&res.Freed, []digest.Object{n}); err != nil {
			return err
		}
		info, ok, err := s.state.Set().Find(n)
		if err != nil {
			return err
		}
		if !ok || o.Region == nil {
			continue
		}
		class, known := o.Region.Class(info.Class)
		if !known {
			continue
		}
		if end := info.Birth.Add(class.MinStay()); end.After(o.Now()) {
			if err := s.add(&res.Waiting, []digest.Object{n}); err != nil {
				return err
			}
			if end.After(res.FreedBy) {
				res.FreedBy = end
			}
		}
	}
	return nil
}
