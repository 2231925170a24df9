package drill

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/glob"
	"firn/internal/index"
	"firn/internal/manifest"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/thaw"
)

// poolSize is how many files are held while one draws.
const poolSize = 1 << 18

// File is one of a sample.
type File struct {
	Path []byte // as in the manifest
	Size int64
}

// Sample is what is to be restored.
type Sample struct {
	Seed             uint64
	Reach            snapshot.Reach
	Files            []File // in order of the manifest
	Bytes            int64
	OfFiles, OfBytes int64 // regular files of the snapshot that have content, each hard link once
	Fresh            int64 // files that no earlier drill has tried
	TooLarge         int64 // files that were passed over for the limit on bytes
	TooDear          int64 // files that were passed over for what they would have cost
	Packs, OfPacks   int64 // that were chosen, where money was limited; else 0
	Gaps             int64 // stretches of the manifest that cannot be read
}

// all reports whether every file is in it.
func (s *Sample) all() bool { return int64(len(s.Files)) == s.OfFiles && s.Gaps == 0 }

// Include chooses the sample in package restore; nil: everything.
func (s *Sample) Include() (*glob.Set, error) {
	if s.all() {
		return nil, nil
	}
	lines := make([]string, len(s.Files))
	for i := range s.Files {
		lines[i] = pattern(s.Files[i].Path)
	}
	return glob.Parse(lines, "sample")
}

// pattern matches one path and nothing else.
func pattern(path []byte) string {
	var b strings.Builder
	b.WriteByte('/')
	for i, c := range path {
		switch {
		case strings.IndexByte(`*?[\`, c) >= 0, c == ' ' && i == len(path)-1:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\r' && i == len(path)-1:
			b.WriteString("[\r]")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// DrawOptions say what to draw from.
type DrawOptions struct {
	Repo     *repo.Repository
	Scope    *repo.ScopeState
	Snapshot *snapshot.Snapshot
	Seed     uint64
	Want     Want
	Budget   *Budget
	Proofs   []snapshot.Proof // of this source, sorted by time
	Report   event.Func
}

// Draw chooses a sample. It reads the manifest and the index and nothing else. It fails with ErrNothing where no file fits the limits, and with ErrEmpty where
// there is none.
func Draw(ctx context.Context, o DrawOptions) (*Sample, error) {
	d := &drawer{ctx: ctx, o: o, s: &Sample{Seed: o.Seed}, turns: turnsOf(o.Proofs), numbers: map[digest.Object]int32{}}
	d.pool.size = poolSize
	if err := d.gather(); err != nil {
		return nil, err
	}
	if err := d.price(); err != nil {
		return nil, err
	}
	d.s.Reach.Turn = nextTurn(o.Proofs)
	picked := choose(d.pool.sorted(), d.packs, d.limits(), d.s)
	switch {
	case d.s.OfFiles == 0:
		return nil, ErrEmpty
	case len(picked) == 0:
		return nil, fmt.Errorf("%w: %d of %d files are too large, %d too dear", ErrNothing, d.s.TooLarge, d.s.OfFiles, d.s.TooDear)
	}
	for _, c := range picked {
		d.s.Files = append(d.s.Files, File{c.path, c.size})
		d.s.Bytes += c.size
		if c.rank == 0 {
			d.s.Fresh++
		}
	}
	slices.SortFunc(d.s.Files, func(a, b File) int { return manifest.Compare(a.Path, b.Path) })
	return d.s, nil
}

// drawer goes through the manifest.
type drawer struct {
	ctx     context.Context
	o       DrawOptions
	s       *Sample
	turns   []turn
	pool    pool
	packs   []pack
	numbers map[digest.Object]int32 // of packs
	slots   []int32                 // of packs, by number in the index; 0: none yet, else slot + 1
	m       *manifest.Reader
	once    price.Money
}

// pack is one that holds content.
type pack struct {
	name digest.Object
	need thaw.Need
	hash uint64 // under the seed of the sample
	toll Toll
}

// want is how much of a pack a file needs, in bytes.
type want struct {
	pack  int32
	bytes int64
}

// candidate is a file that may be drawn.
type candidate struct {
	key
	path  []byte
	size  int64
	wants []want // the first is that of its first chunk
}

// key orders candidates.
type key struct {
	rank uint32 // turn in which it was tried the last time; 0: never
	hash uint64 // of the path, under the seed
}

func (k key) compare(l key) int {
	return cmp.Or(cmp.Compare(k.rank, l.rank), cmp.Compare(k.hash, l.hash))
}

// gather fills the pool.
func (d *drawer) gather() error {
	cache, err := d.o.Repo.NewChunkCache(d.ctx, d.o.Scope, d.o.Snapshot.Epoch, 2, 4<<20)
	if err != nil {
		return err
	}
	defer cache.Close()
	d.m = manifest.NewReader(manifest.Source{Get: cache.Get, Prefetch: cache.Prefetch}, repo.TreeOf(d.o.Snapshot))
	it := d.m.EntriesPast(nil, func(g manifest.Gap) bool {
		d.s.Gaps++
		d.o.Report.Emit(event.Note{Text: fmt.Sprintf("a part of the list of files cannot be read: %v", g.Err)})
		return d.ctx.Err() == nil && d.s.Gaps < 1000
	})
	for it.Next() {
		e, err := it.Entry()
		if err != nil {
			return err
		}
		if e.Type != manifest.File || len(e.Hardlink) > 0 || e.Size == 0 {
			continue
		}
		if d.s.OfFiles++; d.s.OfFiles%4096 == 0 {
			d.o.Report.Emit(event.Progress{Phase: "draw", FilesDone: d.s.OfFiles, FilesTotal: d.o.Snapshot.Stats.Files})
		}
		d.s.OfBytes += e.Size
		if err := d.entry(e); err != nil {
			return err
		}
	}
	if d.ctx.Err() != nil {
		return d.ctx.Err()
	}
	return it.Err()
}

// longest path that fits a pattern with every byte escaped.
const longestPath = (glob.MaxPattern - 4) / 2

func (d *drawer) entry(e *manifest.Entry) error {
	if len(e.Path) > longestPath {
		return nil
	}
	if d.o.Want.Bytes > 0 && e.Size > d.o.Want.Bytes {
		d.s.TooLarge++
		return nil
	}
	base := hashOf(e.Path)
	c := candidate{key: key{hash: mix(base, d.o.Seed)}, size: e.Size}
	home, known := digest.Object{}, false
	if len(d.turns) > 0 {
		var err error
		c.rank = lastTurn(d.turns, base, e, func() digest.Object {
			if !known && err == nil {
				home, err = d.home(e)
				known = true
			}
			return home
		})
		if err != nil {
			return err
		}
	}
	if !d.pool.takes(c.key) {
		return nil
	}
	if d.o.Budget != nil {
		var err error
		if c.wants, err = d.wants(e); err != nil {
			return err
		}
	}
	c.path = bytes.Clone(e.Path)
	d.pool.add(c)
	return nil
}

// home is the pack of the first chunk of a file; zero: none.
func (d *drawer) home(e *manifest.Entry) (digest.Object, error) {
	it := d.m.Pieces(e)
	for it.Next() {
		if p := it.Piece(); !p.IsHole() {
			loc, ok, err := d.o.Scope.Set().Lookup(p.Chunk)
			if err != nil || !ok {
				return digest.Object{}, err
			}
			slot, err := d.slot(loc.Pack)
			if err != nil {
				return digest.Object{}, err
			}
			return d.packs[slot].name, nil
		}
	}
	return digest.Object{}, nil // a content tree that cannot be read shows when it is restored
}

// wants tells which packs a file needs.
func (d *drawer) wants(e *manifest.Entry) (out []want, err error) {
	var last digest.Chunk
	it := d.m.Pieces(e)
	for it.Next() {
		p := it.Piece()
		if p.IsHole() || p.Chunk == last {
			continue
		}
		last = p.Chunk
		loc, ok, err := d.o.Scope.Set().Lookup(p.Chunk)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue // lost: the restore will tell
		}
		slot, err := d.slot(loc.Pack)
		if err != nil {
			return nil, err
		}
		at := slices.IndexFunc(out, func(w want) bool { return w.pack == slot })
		if at < 0 {
			at = len(out)
			out = append(out, want{pack: slot})
		}
		out[at].bytes += int64(loc.Frame)
	}
	return out, d.ctx.Err()
}

// slot numbers the packs that content lies in.
func (d *drawer) slot(number int) (int32, error) {
	if number < len(d.slots) && d.slots[number] != 0 {
		return d.slots[number] - 1, nil
	}
	info, err := d.o.Scope.Set().Pack(number)
	if err != nil {
		return 0, err
	}
	at, ok := d.numbers[info.Name]
	if !ok {
		at = int32(len(d.packs))
		d.numbers[info.Name] = at
		d.packs = append(d.packs, pack{name: info.Name, hash: packHash(info.Name, d.o.Seed), need: d.needOf(&info)})
	}
	if number >= len(d.slots) {
		d.slots = slices.Grow(d.slots, number+1-len(d.slots))[:number+1]
	}
	d.slots[number] = at + 1
	return at, nil
}

func (d *drawer) needOf(info *index.Info) thaw.Need {
	return thaw.Need{Object: repo.PackName(d.o.Scope, info), Class: strings.Clone(info.Class), Size: info.Size, Wanted: info.Size, Gets: 1}
}

// price asks what the packs cost.
func (d *drawer) price() error {
	if d.o.Budget == nil {
		return nil
	}
	needs := make([]thaw.Need, len(d.packs))
	for i := range d.packs {
		needs[i] = d.packs[i].need
	}
	tolls, once, err := d.o.Budget.Tolls(d.ctx, needs)
	if err != nil {
		return err
	}
	d.once = once
	for i := range d.packs {
		d.packs[i].toll = tolls[i]
	}
	return nil
}

// limits in numbers.
func (d *drawer) limits() limits {
	l := limits{files: MaxFiles, bytes: math.MaxInt64, budget: d.o.Budget, once: d.once}
	if d.o.Want.Files > 0 {
		l.files = min(l.files, d.o.Want.Files)
	}
	if d.o.Want.Bytes > 0 {
		l.bytes = d.o.Want.Bytes
	}
	if d.o.Want.Share > 0 {
		l.files = min(l.files, max(int64(math.Round(min(d.o.Want.Share, 1)*float64(d.s.OfFiles))), 1))
	}
	return l
}

// pool keeps the candidates with the lowest keys.
type pool struct {
	size int
	heap candidates
}

func (p *pool) takes(k key) bool { return len(p.heap) < p.size || k.compare(p.heap[0].key) < 0 }

func (p *pool) add(c candidate) {
	if len(p.heap) == p.size {
		heap.Pop(&p.heap)
	}
	heap.Push(&p.heap, c)
}

// sorted empties the pool.
func (p *pool) sorted() []candidate {
	all := []candidate(p.heap)
	p.heap = nil
	slices.SortFunc(all, func(a, b candidate) int { return cmp.Or(a.compare(b.key), bytes.Compare(a.path, b.path)) })
	return all
}

// candidates is a heap with the highest key first.
type candidates []candidate

func (h candidates) Len() int           { return len(h) }
func (h candidates) Less(i, j int) bool { return h[i].compare(h[j].key) > 0 }
func (h candidates) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *candidates) Push(x any)        { *h = append(*h, x.(candidate)) }
func (h *candidates) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = candidate{}
	*h = (*h)[:last]
	return c
}

// hashOf is FNV-1a of a path; mix spreads it under a seed, as the finalizer of MurmurHash3 does. Whether a file is drawn is no secret worth more.
func hashOf(path []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range path {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func mix(h, seed uint64) uint64 { return finalize(h ^ finalize(seed+0x9e3779b97f4a7c15)) }

func finalize(h uint64) uint64 {
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

func packHash(name digest.Object, seed uint64) uint64 {
	return mix(binary.BigEndian.Uint64(name[:8]), seed)
}
