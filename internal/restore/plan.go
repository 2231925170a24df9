package restore

import (
	"cmp"
	"context"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/manifest"
	"firn/internal/repo"
)

// Plan tells what Run would need if nothing were in the target yet, each pack fetched in one go. It reads the manifest and the index and nothing else, and
// takes 12 bytes of memory for each piece of content and about 250 for each pack.
func Plan(ctx context.Context, o Options) (*Needs, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.Target, o.DryRun, o.Each, o.Workers = "", true, nil, 1
	r, err := newRun(ctx, o)
	if err != nil {
		return nil, err
	}
	p := &planner{r: r, packs: packNumbers{scope: o.Scope}, missing: map[digest.Chunk]struct{}{}, idle: make(chan *lookups, planAhead), work: make(chan *lookups), order: make(chan *lookups, planAhead)}
	for range planAhead {
		p.idle <- &lookups{ready: make(chan struct{}, 1)}
	}
	if err := p.gather(ctx); err != nil {
		return nil, err
	}
	return p.needs()
}

const (
	planBatch = 16 << 10 // chunks looked up by one goroutine at a time
	planAhead = 8        // such batches
)

// planner goes through the manifest, has chunks looked up by several goroutines, and counts what each pack is wanted for.
type planner struct {
	r       *run
	ctx     context.Context
	n       Needs
	folders []plannedFolder
	cur     *lookups
	recent  [4096]digest.Chunk // chunks that were asked for not long ago

	idle, work, order chan *lookups

	packs   packNumbers
	spots   spots
	counts  []int // spots of each pack
	missing map[digest.Chunk]struct{}
}

// plannedFolder is a folder on the way to the current entry.
type plannedFolder struct {
	path    []byte // its memory is used again
	counted bool
}

// lookups is a batch of chunks and what the index says of them.
type lookups struct {
	ids   []digest.Chunk
	locs  []index.Location // Raw 0: in no pack
	err   error
	ready chan struct{}
}

func (b *lookups) run(set *index.Set) {
	b.locs = slices.Grow(b.locs[:0], len(b.ids))
	for _, id := range b.ids {
		loc, ok, err := set.Lookup(id)
		if err != nil {
			b.err = err
			break
		}
		if !ok {
			loc = index.Location{}
		}
		b.locs = append(b.locs, loc)
	}
	b.ready <- struct{}{}
}

// gather fills n, but for its packs, and spots.
func (p *planner) gather(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	p.ctx = ctx
	g.Go(func() error {
		defer close(p.work)
		defer close(p.order)
		err := p.next()
		if err == nil {
			err = p.r.choice.walk(p.entry)
		}
		if err != nil {
			return err
		}
		return p.flush()
	})
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for b := range p.work {
				b.run(p.r.o.Scope.Set())
			}
			return nil
		})
	}
	g.Go(func() error {
		for b := range p.order {
			select {
			case <-b.ready:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := p.take(b); err != nil {
				return err
			}
			p.idle <- b
		}
		return nil
	})
	return g.Wait()
}

// next gets an empty batch.
func (p *planner) next() error {
	select {
	case p.cur = <-p.idle:
		p.cur.ids = p.cur.ids[:0]
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// flush has the batch looked up.
func (p *planner) flush() error {
	for _, to := range []chan *lookups{p.order, p.work} {
		select {
		case to <- p.cur:
		case <-p.ctx.Done():
			return p.ctx.Err()
		}
	}
	return nil
}

// entry counts an entry and notes its chunks.
func (p *planner) entry(e *manifest.Entry, chosen bool) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	for n := len(p.folders); n > 0 && !manifest.Within(e.Path, p.folders[n-1].path); n-- {
		p.folders = p.folders[:n-1]
	}
	if e.Type == manifest.Dir {
		n := len(p.folders)
		p.folders = slices.Grow(p.folders, 1)[:n+1]
		p.folders[n].path, p.folders[n].counted = append(p.folders[n].path[:0], e.Path...), false
		if chosen {
			p.countFolders()
		}
		return nil
	}
	p.countFolders()
	if e.Type != manifest.File {
		p.n.Others++
	} else {
		p.n.Files++
		p.n.Bytes += e.Size
	}
	if len(e.Hardlink) > 0 {
		_, real, err := p.r.links.resolve(e, p.r.choice.rel(e.Path))
		if err != nil || real == nil {
			return err
		}
		e = real
	}
	if e.Type != manifest.File {
		return nil
	}
	return p.content(e)
}

// countFolders counts those on the way here that nothing has asked for yet.
func (p *planner) countFolders() {
	for i := len(p.folders) - 1; i >= 0 && !p.folders[i].counted; i-- {
		p.folders[i].counted = true
		p.n.Dirs++
	}
}

// content notes the chunks of a file. Of a content tree that cannot be read, it notes those that it finds, as Run does.
func (p *planner) content(e *manifest.Entry) error {
	if e.Tree.IsEmpty() {
		for i := range e.Content {
			if err := p.chunk(&e.Content[i]); err != nil {
				return err
			}
		}
		return nil
	}
	it := p.r.choice.m.Pieces(e)
	for it.Next() {
		piece := it.Piece()
		if err := p.chunk(&piece); err != nil {
			return err
		}
	}
	return p.ctx.Err()
}

func (p *planner) chunk(piece *manifest.Piece) error {
	if piece.IsHole() {
		return nil
	}
	slot := &p.recent[(uint(piece.Chunk[0])|uint(piece.Chunk[1])<<8)%uint(len(p.recent))]
	if *slot == piece.Chunk {
		return nil
	}
	*slot = piece.Chunk
	p.cur.ids = append(p.cur.ids, piece.Chunk)
	if len(p.cur.ids) < planBatch {
		return nil
	}
	if err := p.flush(); err != nil {
		return err
	}
	return p.next()
}

// take counts what was looked up.
func (p *planner) take(b *lookups) error {
	if b.err != nil {
		return b.err
	}
	for i := range b.locs {
		loc := &b.locs[i]
		if loc.Raw == 0 {
			p.missing[b.ids[i]] = struct{}{}
			continue
		}
		at, err := p.packs.slot(loc.Pack)
		if err != nil {
			return err
		}
		for at >= len(p.counts) {
			p.counts = append(p.counts, 0)
		}
		p.counts[at]++
		p.spots.add(spot{uint32(at), loc.Offset, loc.Frame})
	}
	return nil
}

// needs sums up pack by pack.
func (p *planner) needs() (*Needs, error) {
	n := &p.n
	n.Missing = int64(len(p.missing))
	p.spots.sortByPack(p.counts)
	n.Packs = make([]PackNeed, len(p.packs.infos))
	var wants []repo.Want
	from := 0
	for i := range n.Packs {
		info := &p.packs.infos[i]
		need := &n.Packs[i]
		need.Object, need.Class, need.Size = repo.PackName(p.r.o.Scope, &index.Info{Pack: index.Pack{Kind: info.kind, Name: info.name}}), info.class, info.size
		wants = wants[:0]
		for to := from + p.counts[i]; from < to; from++ {
			s := p.spots.at(from)
			wants = append(wants, repo.Want{Loc: index.Location{Offset: s.offset, Frame: s.frame}})
		}
		need.add(wants)
		n.Chunks += need.Chunks
		n.Requests += need.Requests
		n.Download += need.Download
	}
	return n, nil
}

// add counts what is wanted of a pack; chunks may come in any order and more than once.
func (n *PackNeed) add(wants []repo.Want) {
	slices.SortFunc(wants, func(a, b repo.Want) int { return cmp.Compare(a.Loc.Offset, b.Loc.Offset) })
	wants = slices.CompactFunc(wants, func(a, b repo.Want) bool { return a.Loc.Offset == b.Loc.Offset })
	n.Chunks = int64(len(wants))
	for i := range wants {
		n.Wanted += int64(wants[i].Loc.Frame)
	}
	for len(wants) > 0 {
		k := repo.OneRequest(wants)
		last := &wants[k-1].Loc
		n.Requests++
		n.Download += int64(last.Offset) + int64(last.Frame) - int64(wants[0].Loc.Offset)
		wants = wants[k:]
	}
}

// spot is where a chunk lies, in the pack of that slot.
type spot struct{ pack, offset, frame uint32 }

const spotBlock = 1 << 14

// spots is a list that grows without being copied.
type spots struct {
	blocks []*[spotBlock]spot
	n      int
}

func (s *spots) add(v spot) {
	if s.n%spotBlock == 0 {
		s.blocks = append(s.blocks, new([spotBlock]spot))
	}
	*s.at(s.n) = v
	s.n++
}

func (s *spots) at(i int) *spot { return &s.blocks[i/spotBlock][i%spotBlock] }

// sortByPack sorts in place; counts says how many there are of each pack.
func (s *spots) sortByPack(counts []int) {
	next, end := make([]int, len(counts)), make([]int, len(counts))
	sum := 0
	for i, n := range counts {
		next[i] = sum
		sum += n
		end[i] = sum
	}
	for p := range next {
		for next[p] < end[p] {
			v := s.at(next[p])
			if int(v.pack) == p {
				next[p]++
				continue
			}
			to := s.at(next[v.pack])
			next[v.pack]++
			*v, *to = *to, *v
		}
	}
}
