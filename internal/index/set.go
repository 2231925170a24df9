package index

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sort"
	"sync"

	"firn/internal/chunk"
	"firn/internal/digest"
)

// Set answers where chunks lie, from stacked tables and what was added since. All methods may be called by many goroutines at once. A
// look-up in memory takes well under a microsecond, one in tables one to two for each table; it waits for no writing.
//
// Locks, in this order: change, mu, those of the shards. Whatever changes the layers holds change, and mu for the moment of the
// change; a look-up holds mu for reading.
type Set struct {
	change  sync.Mutex
	mu      sync.RWMutex
	tables  []*layer                   // the oldest first
	frozen  *delta                     // written by Spill and not attached; nil: none
	active  *delta                     // takes what is added
	retired map[digest.Object]struct{} // also names that are not there
	numbers []numbers                  // in order
	next    int                        // number of the next pack
}

// layer is a table in a set.
type layer struct {
	*Table
	base    int      // number of its first pack
	retired []uint64 // one bit for each pack; nil: none
}

func (l *layer) isRetired(n uint32) bool {
	return l.retired != nil && l.retired[n/64]>>(n%64)&1 != 0
}

func (l *layer) retire(n int) {
	if l.retired == nil {
		l.retired = make([]uint64, (l.packs.count+63)/64)
	}
	l.retired[n/64] |= 1 << (n % 64)
}

// numbers are the numbers base … base+count−1, which stand for packs first … first+count−1 of a table or delta.
type numbers struct {
	base, count, first int
	layer              *layer
	delta              *delta
	remap              []uint32 // if not nil: what each has become
}

// NewSet stacks tables, the oldest first. Their readers stay open for as long as the set uses them.
func NewSet(tables ...*Table) *Set {
	s := &Set{active: newDelta(), retired: make(map[digest.Object]struct{})}
	for _, t := range tables {
		s.tables = append(s.tables, s.stack(t))
	}
	return s
}

// stack gives numbers to the packs of a table.
func (s *Set) stack(t *Table) *layer {
	l := &layer{Table: t, base: s.next}
	s.allot(numbers{count: t.Packs(), layer: l})
	return l
}

func (s *Set) allot(n numbers) {
	if n.count > math.MaxInt-s.next {
		panic("index: numbers of packs are used up")
	}
	n.base = s.next
	s.next += n.count
	if k := len(s.numbers) - 1; k >= 0 && n.delta != nil && s.numbers[k].delta == n.delta && s.numbers[k].first+s.numbers[k].count == n.first {
		s.numbers[k].count += n.count
		return
	}
	s.numbers = append(s.numbers, n)
}

// each calls fn for each place of a chunk, in memory first, then the newest table first, until fn gives false. The caller holds mu.
func (s *Set) each(id digest.Chunk, fn func(Location) bool) error {
	more := true
	for _, d := range []*delta{s.active, s.frozen} {
		if d == nil || !more {
			continue
		}
		_ = d.find(id, func(p place) bool {
			more = fn(s.location(p, s.deltaNumber(d, p.pack), d.retire[p.pack]))
			return more
		})
	}
	for i := len(s.tables) - 1; i >= 0 && more; i-- {
		l := s.tables[i]
		if err := l.find(id, func(p place) bool {
			more = fn(s.location(p, l.base+int(p.pack), l.isRetired(p.pack)))
			return more
		}); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) location(p place, number int, retired bool) Location {
	return Location{Pack: number, Kind: p.kind(), Retired: retired, Offset: p.offset, Frame: p.frame &^ metaBit, Raw: p.raw}
}

// deltaNumber returns the number of a pack of a delta, whose numbers may lie in several stretches.
func (s *Set) deltaNumber(d *delta, n uint32) int {
	for i := len(s.numbers) - 1; i >= 0; i-- {
		if r := &s.numbers[i]; r.delta == d && int(n) >= r.first {
			return r.base + int(n) - r.first
		}
	}
	panic("index: pack without number")
}

// Lookup finds a chunk for reading: any pack will do, one that is not retired is preferred. Errors are those of the tables' readers
// and *CorruptError.
func (s *Set) Lookup(id digest.Chunk) (loc Location, ok bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err = s.each(id, func(l Location) bool {
		if !ok || !l.Retired {
			loc, ok = l, true
		}
		return l.Retired
	})
	return loc, ok && err == nil, err
}

// Known finds a chunk for writing: in a pack of that kind that is not retired. Errors as Lookup.
func (s *Set) Known(id digest.Chunk, kind chunk.Kind) (loc Location, ok bool, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err = s.each(id, func(l Location) bool {
		if !l.Retired && l.Kind == kind {
			loc, ok = l, true
		}
		return !ok
	})
	return loc, ok && err == nil, err
}

// All finds every place of a chunk, those not retired first. One pack can be named under two numbers. Errors as Lookup.
func (s *Set) All(id digest.Chunk) (all []Location, err error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	err = s.each(id, func(l Location) bool {
		all = append(all, l)
		return true
	})
	slices.SortStableFunc(all, func(a, b Location) int {
		switch {
		case a.Retired == b.Retired:
			return 0
		case b.Retired:
			return -1
		}
		return 1
	})
	return all, err
}

// Pack tells about a pack by the number in a Location. Numbers stay valid as long as the set. Errors as Lookup; a number that the set did not give is an error too.
func (s *Set) Pack(number int) (Info, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	i := sort.Search(len(s.numbers), func(i int) bool { return s.numbers[i].base > number }) - 1
	for i >= 0 && number >= s.numbers[i].base+s.numbers[i].count { // stretches without packs
		i--
	}
	if i < 0 || number < s.numbers[i].base {
		return Info{}, fmt.Errorf("pack number %d of %d", number, s.next)
	}
	r := &s.numbers[i]
	n := number - r.base
	if r.remap != nil {
		n = int(r.remap[n])
	} else {
		n += r.first
	}
	if r.delta != nil {
		return r.delta.packs[n], nil
	}
	return r.layer.pack(n)
}

// Find tells about a pack by name: what the newest table says. Errors as Lookup.
func (s *Set) Find(name digest.Object) (Info, bool, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, d := range []*delta{s.active, s.frozen} {
		if d == nil {
			continue
		}
		if n, ok := d.byName[name]; ok {
			return d.packs[n], true, nil
		}
	}
	for i := len(s.tables) - 1; i >= 0; i-- {
		if n, ok, err := s.tables[i].number(name); err != nil {
			return Info{}, false, err
		} else if ok {
			p, err := s.tables[i].pack(n)
			return p, err == nil, err
		}
	}
	return Info{}, false, nil
}

// has reports whether a pack is there. The caller holds change or mu.
func (s *Set) has(name digest.Object) (bool, error) {
	for _, d := range []*delta{s.active, s.frozen} {
		if d == nil {
			continue
		}
		if _, ok := d.byName[name]; ok {
			return true, nil
		}
	}
	for _, l := range s.tables {
		if _, ok, err := l.number(name); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// Add takes in a pack by an author. A pack that is there already changes nothing and gives false, but where p has a recovery volume that is not known yet, which counts from now
// on: it was made again. It fails as Pack.Check does, and as Lookup.
func (s *Set) Add(p *Pack, author [16]byte) (bool, error) {
	if err := p.Check(); err != nil {
		return false, err
	}
	s.change.Lock()
	defer s.change.Unlock()
	if there, err := s.has(p.Name); err != nil || there && !s.otherVolume(p) {
		return false, err
	}
	info := Info{Pack: *p, Author: author, Count: len(p.Chunks)}
	info.Chunks, info.Prefix = nil, bytes.Clone(p.Prefix)
	for _, r := range p.Chunks {
		info.Frames += int64(r.Frame)
		info.Raw += int64(r.Raw)
	}
	_, retired := s.retired[p.Name]
	d := s.active
	s.mu.Lock()
	n := len(d.packs)
	d.packs, d.retire = append(d.packs, info), append(d.retire, retired)
	d.byName[p.Name] = n
	s.allot(numbers{count: 1, first: n, delta: d})
	s.mu.Unlock()
	d.add(n, p)
	return true, nil
}

// otherVolume reports whether p, which is there, has to be entered again for its recovery volume: what lies in memory takes that over at once. The caller holds change.
func (s *Set) otherVolume(p *Pack) bool {
	if p.Par2 == nil {
		return false
	}
	s.mu.Lock()
	if n, ok := s.active.byName[p.Name]; ok {
		volume := *p.Par2
		s.active.packs[n].Par2 = &volume
		s.mu.Unlock()
		return false
	}
	s.mu.Unlock()
	old, ok, err := s.Find(p.Name)
	return err == nil && ok && (old.Par2 == nil || *old.Par2 != *p.Par2)
}

// Pending returns how many chunks were added since the last Spill. One costs about 100 bytes of memory.
func (s *Set) Pending() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return int(s.active.count.Load())
}

var errSpill = errors.New("index: what was spilled before is not attached")

// Spill writes what was added to w as a table, with a note (at most MaxNote bytes). The set goes on to answer from memory until Attach
// takes the table; what is added meanwhile is not in it. If Spill fails, or its table is lost before Attach, the next Spill writes the same again.
// One Spill at a time. w should be buffered.
func (s *Set) Spill(w io.Writer, note []byte) (*Spilled, error) {
	s.change.Lock()
	if s.frozen == nil {
		s.mu.Lock()
		s.frozen, s.active = s.active, newDelta()
		s.mu.Unlock()
	}
	d := s.frozen
	s.change.Unlock()
	return d.write(w, note)
}

// Attach takes the table that Spill wrote, opened, in the place of what was spilled. It fails as Lookup does, and leaves the set as it was.
func (s *Set) Attach(t *Table, sp *Spilled) error {
	s.change.Lock()
	defer s.change.Unlock()
	if sp.delta != s.frozen || t.Chunks() != sp.Chunks || t.Packs() != sp.Packs {
		return errSpill
	}
	l := &layer{Table: t}
	if err := s.mark(l); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.base = s.next
	s.allot(numbers{count: t.Packs(), layer: l})
	for i := range s.numbers {
		if r := &s.numbers[i]; r.delta == sp.delta {
			*r = numbers{base: r.base, count: r.count, layer: l, remap: sp.remap[r.first : r.first+r.count]}
		}
	}
	s.tables, s.frozen = append(s.tables, l), nil
	return nil
}

// mark sets what is retired in a table that joins.
func (s *Set) mark(l *layer) error {
	for name := range s.retired {
		n, ok, err := l.number(name)
		if err != nil {
			return err
		}
		if ok {
			l.retire(n)
		}
	}
	return nil
}

// Tables returns the tables of the set, the oldest first.
func (s *Set) Tables() []*Table {
	s.mu.RLock()
	defer s.mu.RUnlock()
	all := make([]*Table, len(s.tables))
	for i, l := range s.tables {
		all[i] = l.Table
	}
	return all
}

var errReplace = errors.New("index: merged tables are not those of the set")

// Replace puts the table that Merge wrote, opened, in the place of those that it merged. When it returns, they are no longer read. It fails as
// Lookup does, and leaves the set as it was.
func (s *Set) Replace(t *Table, m *Merged) error {
	s.change.Lock()
	defer s.change.Unlock()
	if t.Chunks() != m.Chunks || t.Packs() != m.Packs || len(m.tables) == 0 {
		return errReplace
	}
	for _, old := range m.tables {
		if !slices.ContainsFunc(s.tables, func(l *layer) bool { return l.Table == old }) {
			return errReplace
		}
	}
	l := &layer{Table: t}
	if err := s.mark(l); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.base = s.next
	s.allot(numbers{count: t.Packs(), layer: l})
	for i := range s.numbers {
		if r := &s.numbers[i]; r.layer != nil {
			if k := slices.Index(m.tables, r.layer.Table); k >= 0 {
				r.become(l, m.remap[k])
			}
		}
	}
	at := slices.IndexFunc(s.tables, func(l *layer) bool { return l.Table == m.tables[0] })
	s.tables[at] = l
	s.tables = slices.DeleteFunc(s.tables, func(l *layer) bool { return slices.Contains(m.tables, l.Table) })
	return nil
}

// become makes old numbers mean packs of another table.
func (r *numbers) become(l *layer, remap []uint32) {
	became := make([]uint32, r.count)
	for i := range became {
		if r.remap != nil {
			became[i] = remap[r.remap[i]]
		} else {
			became[i] = remap[r.first+i]
		}
	}
	*r = numbers{base: r.base, count: r.count, layer: l, remap: became}
}

// Retire marks packs: they take no new references, and Known no longer finds what lies in them alone. Names that are not there are
// remembered for packs to come. After an error, as Lookup's, it is unknown which packs are marked: the set must not be used for writing.
func (s *Set) Retire(names ...digest.Object) error {
	s.change.Lock()
	defer s.change.Unlock()
	for _, name := range names {
		if err := s.retire(name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Set) retire(name digest.Object) error {
	found := make([]int, len(s.tables))
	for i, l := range s.tables {
		n, ok, err := l.number(name)
		if err != nil {
			return err
		}
		if found[i] = -1; ok {
			found[i] = n
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retired[name] = struct{}{}
	for i, l := range s.tables {
		if found[i] >= 0 {
			l.retire(found[i])
		}
	}
	for _, d := range []*delta{s.active, s.frozen} {
		if d == nil {
			continue
		}
		if n, ok := d.byName[name]; ok {
			d.retire[n] = true
		}
	}
	return nil
}

// Retired reports whether a pack of that name, there or not, was retired.
func (s *Set) Retired(name digest.Object) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.retired[name]
	return ok
}

// RetiredNames returns all names that Retire was given, in no order.
func (s *Set) RetiredNames() []digest.Object {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]digest.Object, 0, len(s.retired))
	for name := range s.retired {
		names = append(names, name)
	}
	return names
}

// EachPack calls fn for each pack once, in order of name, until fn fails; where tables differ, what the newest says counts. fn may look things
// up in the set and must not change it. Errors are fn's, or as Lookup.
func (s *Set) EachPack(fn func(p *Info, retired bool) error) error {
	s.change.Lock()
	defer s.change.Unlock()
	var fresh []Info // what is in memory, in order
	for _, d := range []*delta{s.active, s.frozen} {
		if d != nil {
			fresh = append(fresh, d.packs...)
		}
	}
	slices.SortStableFunc(fresh, func(a, b Info) int { return bytes.Compare(a.Name[:], b.Name[:]) })
	fresh = slices.CompactFunc(fresh, func(a, b Info) bool { return a.Name == b.Name }) // the first, of the active delta, stays
	call := func(p *Info) error {
		_, retired := s.retired[p.Name]
		return fn(p, retired)
	}
	m := &Merged{tables: s.Tables()}
	if err := m.eachPack(func(t *Table, e []byte) error {
		for len(fresh) > 0 && cmp.Compare(string(fresh[0].Name[:]), string(e[:32])) < 0 {
			if err := call(&fresh[0]); err != nil {
				return err
			}
			fresh = fresh[1:]
		}
		if len(fresh) > 0 && fresh[0].Name == digest.Object(e[:32]) {
			return nil // what is in memory is newer
		}
		p, err := t.info(e)
		if err != nil {
			return err
		}
		return call(&p)
	}); err != nil {
		return err
	}
	for i := range fresh {
		if err := call(&fresh[i]); err != nil {
			return err
		}
	}
	return nil
}
