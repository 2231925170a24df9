package prune

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Refreshing. Files change, and the packs that hold their old content, and beside it content that still lives, are named by every new snapshot as long as a byte of them lives: with one file
// in a hundred changed a day, a repository with thirty snapshots grows to four times of what these need. To retire such a pack makes the next backups send again
// what lives in it, once, in a fuller pack; the old one is named by old snapshots only, and goes with the last of these.
//
// That pays where what is freed, from the day when the old pack goes until Payback is over, is worth more than what is kept twice until then and the requests to send it. How long the
// snapshots that name a pack will stay, the rules are asked: they decide about a future in which backups go on as before. A pack that a snapshot keeps for longer than
// farthest is left alone, and so is one that would have to stay anyway since its class bills a minimum stay. On disks, where nothing has a price, bytes count instead.
//
// What lives, manifests tell, which only who holds everything can read. Chains are never refreshed, nor what one may be built on: what they were made of may be gone.
const (
	Payback  = 365 * 24 * time.Hour // in which it has to have paid
	mostLeft = 0.6                  // of a pack that is refreshed: else too much is sent for too little
	share    = 10                   // of all bytes that snapshots need, one in so many is sent again after one run, as long as nobody says otherwise,
	least    = 64 << 20             // or so many bytes
	dead     = 60 * 24 * time.Hour  // since the last backup of a source, which then is not expected to send anything
)

// probes are the times by which the rules are asked which snapshots are left.
var probes = [...]time.Duration{15 * 24 * time.Hour, 35 * 24 * time.Hour, 70 * 24 * time.Hour, 140 * 24 * time.Hour, 240 * 24 * time.Hour}

// never is the life of what is there after the last probe.
const never = time.Duration(math.MaxInt64)

// Refresh says how much is refreshed.
type Refresh struct {
	Off    bool
	All    bool  // whatever it costs, with no bound
	Budget int64 // bytes that may be sent again because of one run; 0: a share of all
}

// Refreshed is packs that are retired though snapshots need them, so that the next backups send again what is left of them.
type Refreshed struct {
	Amount
	Resend int64         `json:"resend"`        // bytes of them that still live, about: what is sent again
	Within time.Duration `json:"-"`             // until the old ones are gone, at most
	Left   int64         `json:"left"`          // packs for which it pays as well, beyond the budget
	Blind  bool          `json:"blind"`         // nobody could tell what lives: the key at hand does not open manifests
	Until  time.Time     `json:"gone,omitzero"` // when the last of the old ones is gone
}

func (r *Refreshed) add(o *Refreshed) {
	r.Amount.add(o.Packs, o.Bytes, o.Month)
	r.Resend, r.Left, r.Blind = r.Resend+o.Resend, r.Left+o.Left, r.Blind || o.Blind
	if r.Within = max(r.Within, o.Within); o.Until.After(r.Until) {
		r.Until = o.Until
	}
}

// refreshing is the plan of it.
type refreshing struct {
	Refreshed
	packs []uint32 // places in view.listed.Packs
}

// candidate is a pack that may be worth it.
type candidate struct {
	at   uint32
	life time.Duration // until the last snapshot that names it goes
	raw  int64         // bytes of content
	live int64         // of it, in the newest snapshots
	gain float64       // by price or bytes
}

// planRefresh chooses packs to refresh.
func (x *run) planRefresh(ctx context.Context, v *view) (*refreshing, error) {
	r := &refreshing{}
	if x.o.Refresh.Off || x.o.Decide == nil {
		return r, nil
	}
	cands, err := x.candidates(v)
	if err != nil || len(cands) == 0 {
		return r, err
	}
	if !x.o.Repo.CanRead() {
		r.Blind = true
		return r, nil
	}
	err = x.measure(ctx, v, cands)
	var broken *repo.ObjectError
	var damage *repo.DamageError
	var corrupt *manifest.CorruptError
	if errors.Is(err, store.ErrCold) || errors.Is(err, repo.ErrUnknownChunk) || errors.As(err, &broken) || errors.As(err, &damage) || errors.As(err, &corrupt) {
		x.note("nothing is refreshed, since a manifest cannot be read: %v", err)
		return r, nil
	}
	if err != nil {
		return nil, err
	}
	x.pick(v, cands, r)
	return r, nil
}

// candidates are the packs that could be refreshed, by what is known without reading manifests.
func (x *run) candidates(v *view) ([]candidate, error) {
	lives, err := x.lives(v)
	if err != nil {
		return nil, err
	}
	current := x.current(v)
	life := make([]time.Duration, len(v.listed.Packs))
	for _, it := range v.items {
		for _, p := range it.Packs {
			for _, i := range v.members[p.Object] {
				life[i] = max(life[i], lives[it.ID])
			}
		}
	}
	var out []candidate
	for i := range v.listed.Packs {
		s := &v.listed.Packs[i]
		if !current.has(i) || !v.indexed.has(i) || s.Size < 0 || life[i] == never || !v.p.Since(s.Name).IsZero() || v.freeAt(i).After(x.now.Add(life[i])) {
			continue
		}
		info, ok, err := v.p.Set().Find(s.Name)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, candidate{at: uint32(i), life: life[i], raw: info.Raw})
		}
	}
	return out, nil
}

// current are the packs that the next backups would name again: those of the newest snapshots. The others go as it is.
func (x *run) current(v *view) bits {
	b := newBits(len(v.listed.Packs))
	for _, h := range snapshot.Histories(snapshot.Standing(v.items)) {
		it, ok := h.Newest()
		if !ok || x.now.Sub(it.Stored) > dead {
			continue
		}
		for _, p := range it.Packs {
			for _, i := range v.members[p.Object] {
				b.set(int(i))
			}
		}
	}
	return b
}

// lives asks the rules how long each snapshot will stay. Chains, what the next link of one may be built on, and what no rule decides about, stay for ever.
func (x *run) lives(v *view) (map[snapshot.ID]time.Duration, error) {
	items := snapshot.Standing(v.items)
	lives := make(map[snapshot.ID]time.Duration, len(v.items))
	for _, it := range v.items {
		lives[it.ID] = never
		if it.Status() != snapshot.IsDone {
			lives[it.ID] = 0 // in its way for days at most
		}
	}
	for n := len(probes) - 1; n >= 0; n-- {
		gone, err := x.o.Decide(future(items, x.now, probes[n]), x.now.Add(probes[n]))
		if err != nil {
			return nil, err
		}
		for _, id := range gone {
			if have, ok := lives[id]; ok && have > probes[n] {
				lives[id] = probes[n]
			}
		}
	}
	for _, it := range items {
		for _, l := range it.Rewrites {
			if _, there := lives[l.ID]; there && it.Status() == snapshot.IsDone {
				lives[l.ID] = lives[it.ID]
			}
		}
	}
	for _, it := range v.items {
		if len(it.Points) > 0 || !it.Base.IsZero() {
			lives[it.ID] = never
		}
		if !it.Base.IsZero() {
			lives[it.Base] = never
		}
	}
	return lives, nil
}

// future adds to items what there will be if the backups go on as before.
func future(items []snapshot.Item, now time.Time, until time.Duration) []snapshot.Item {
	const most = 400 // of each source
	all := slices.Clone(items)
	serial := uint64(0)
	for _, h := range snapshot.Histories(items) {
		newest, ok := h.Newest()
		if !ok || now.Sub(newest.Stored) > dead {
			continue
		}
		every := max(cadence(h.Items), until/most)
		for at := newest.Stored.Add(every); !at.After(now.Add(until)); at = at.Add(every) {
			s := *newest.Snapshot
			serial++
			s.ID = snapshot.ID{}
			copy(s.ID[:], "not there yet")
			binary.BigEndian.PutUint64(s.ID[8:], serial)
			s.Sequence += serial
			s.Start, s.End = at, at
			all = append(all, snapshot.Item{Snapshot: &s, Marked: true, Stored: at})
		}
	}
	return all
}

// cadence is how often a source is backed up: the middle one of the last times between two.
func cadence(items []snapshot.Item) time.Duration {
	var times []time.Time
	for _, it := range items {
		if it.Status() == snapshot.IsDone {
			times = append(times, it.Stored)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	times = times[max(0, len(times)-11):]
	var gaps []time.Duration
	for i := 1; i < len(times); i++ {
		gaps = append(gaps, times[i].Sub(times[i-1]))
	}
	if len(gaps) == 0 {
		return 24 * time.Hour
	}
	slices.Sort(gaps)
	return max(gaps[len(gaps)/2], time.Hour)
}

// measure finds out how much of the candidates the newest snapshot of each source needs.
func (x *run) measure(ctx context.Context, v *view, cands []candidate) error {
	m := &measuring{v: v, of: make(map[uint32]*candidate, len(cands)), packs: map[int]*candidate{}}
	for i := range cands {
		m.of[cands[i].at] = &cands[i]
	}
	var newest []snapshot.Item
	expected := int64(0)
	for _, h := range snapshot.Histories(snapshot.Standing(v.items)) {
		if it, ok := h.Newest(); ok {
			newest = append(newest, it)
			expected += it.Stats.Files + it.Stats.Bytes>>19
		}
	}
	m.seen = newFilter(expected)
	for i, it := range newest {
		x.tell("manifests", int64(i), int64(len(newest)))
		if err := m.snapshot(ctx, x.o.Repo, it.Snapshot); err != nil {
			return err
		}
	}
	return nil
}

// measuring adds up what lives.
type measuring struct {
	v     *view
	of    map[uint32]*candidate // by place in view.listed.Packs
	packs map[int]*candidate    // by number in the index set; nil: none of them
	seen  filter
}

func (m *measuring) snapshot(ctx context.Context, r *repo.Repository, s *snapshot.Snapshot) error {
	tree := repo.TreeOf(s)
	if tree.IsEmpty() {
		return nil
	}
	cache, err := r.NewChunkCache(ctx, m.v.p.ScopeState, s.Epoch, 4, 16<<20)
	if err != nil {
		return err
	}
	defer cache.Close()
	src := manifest.Source{Prefetch: cache.Prefetch, Get: func(id digest.Chunk) ([]byte, error) {
		raw, err := cache.Get(id)
		if err == nil {
			err = m.add(id, chunk.Meta, 0, int64(len(raw)))
		}
		return raw, err
	}}
	reader := manifest.NewReader(src, tree)
	it := reader.Entries(nil)
	for it.Next() {
		e, err := it.Entry()
		if err != nil {
			return err
		}
		if len(e.Hardlink) > 0 {
			continue
		}
		pieces := reader.Pieces(e)
		for pieces.Next() {
			p := pieces.Piece()
			if p.IsHole() {
				continue
			}
			if err := m.add(p.Chunk, chunk.Data, int64(p.Offset), p.Length); err != nil {
				return err
			}
		}
		if err := pieces.Err(); err != nil {
			return err
		}
	}
	return it.Err()
}

// add counts a piece of a chunk, once.
func (m *measuring) add(id digest.Chunk, kind chunk.Kind, offset, length int64) error {
	if m.seen.test(&id, uint64(offset)) {
		return nil
	}
	loc, ok, err := m.v.p.Set().Known(id, kind)
	if !ok || err != nil {
		return err // in retired packs only: those are no candidates
	}
	c, known := m.packs[loc.Pack]
	if !known {
		info, err := m.v.p.Set().Pack(loc.Pack)
		if err != nil {
			return err
		}
		if i := m.v.listed.Find(info.Name); i >= 0 {
			c = m.of[uint32(i)]
		}
		m.packs[loc.Pack] = c
	}
	if c != nil {
		c.live = min(c.live+length, c.raw)
	}
	return nil
}

// pick takes the packs for which it pays most for each byte that is sent again, as far as the budget goes.
func (x *run) pick(v *view, cands []candidate, r *refreshing) {
	budget := x.o.Refresh.Budget
	if budget == 0 {
		all := int64(0)
		for i := range v.listed.Packs {
			if v.needed.has(i) {
				all += v.listed.Packs[i].Total()
			}
		}
		budget = max(all/share, least)
	}
	largest := int64(1)
	for i := range v.listed.Packs {
		largest = max(largest, v.listed.Packs[i].Size)
	}
	worth := cands[:0]
	for _, c := range cands {
		if c.gain = x.gain(v, &c, largest); x.o.Refresh.All && c.live < c.raw || c.gain > 0 && float64(c.live) <= mostLeft*float64(c.raw) {
			worth = append(worth, c)
		}
	}
	slices.SortStableFunc(worth, func(a, b candidate) int { return compareFloat(a.rate(), b.rate()) })
	for _, c := range worth {
		resend := c.resend(v)
		if !x.o.Refresh.All && r.Resend+resend > budget {
			r.Left++
			continue
		}
		r.packs = append(r.packs, c.at)
		r.Amount.add(1, v.listed.Packs[c.at].Total(), v.month(int(c.at)))
		r.Resend += resend
		r.Within = max(r.Within, c.life)
	}
	if slices.Sort(r.packs); len(r.packs) > 0 && r.Within < never {
		r.Until = x.now.Add(r.Within)
	}
}

// rate is how much of a pack lives.
func (c *candidate) rate() float64 { return float64(c.live) / float64(max(1, c.raw)) }

// resend is how many bytes of the store a candidate takes once more.
func (c *candidate) resend(v *view) int64 {
	return int64(c.rate() * float64(v.listed.Packs[c.at].Total()))
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// gain is what refreshing a pack saves until Payback is over, less what it costs.
func (x *run) gain(v *view, c *candidate, largest int64) float64 {
	month := float64(v.month(int(c.at)))
	put := 0.0
	if month == 0 {
		month = float64(v.listed.Packs[c.at].Total())
	} else { // a share of a pack as large as they come
		put = float64(x.o.Region.Put(v.classes[v.listed.Packs[c.at].Class].name, 1, 0).Cost) * float64(c.resend(v)) / float64(largest)
	}
	months := func(d time.Duration) float64 { return float64(d) / float64(price.Month) }
	return (1-c.rate())*month*months(Payback-c.life) - c.rate()*month*months(c.life) - put
}

// filter remembers pieces, but for a few that it takes for one it has seen.
type filter []uint64

// newFilter makes room for n pieces: two bytes for each, 64 MiB at most.
func newFilter(n int64) filter {
	size := int64(1 << 10)
	for size < n/4 && size < 8<<20 {
		size *= 2
	}
	return make(filter, size)
}

// test adds a piece and reports whether it was there.
func (f filter) test(id *digest.Chunk, offset uint64) bool {
	h := binary.LittleEndian.Uint64(id[:]) ^ offset*0x9e3779b97f4a7c15
	h ^= h >> 29
	word, bit := h/64%uint64(len(f)), h%64
	had := f[word]>>bit&1 != 0
	f[word] |= 1 << bit
	return had
}
