package thaw

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/price"
	"firn/internal/store"
)

// A listing shows this many objects with one request (Amazon S3 API, ListObjectsV2).
const pageSize = 1000

const (
	lookWorkers = 16
	lookTries   = 8 // in a row without any progress
	headBatch   = 64
)

// looker asks a store about wanted objects, again and again as a job goes on.
type looker struct {
	st      store.Store
	thawer  store.Thawer // nil: nothing in this store is cold
	region  *price.Region
	clock   Clock
	workers int
	needs   []Need
	perPage float64 // heads that cost as much as one page of a listing

	silent  atomic.Bool        // listings do not tell what is thawed
	density map[string]float64 // objects below a root, were they spread over all of it; used between rounds only
	total   int64              // objects in all roots, if known
	lists   atomic.Int64
	heads   atomic.Int64

	mu      sync.Mutex
	classes []string
	ask     []int32 // seen by a listing that tells too little

	set func(i int32, f fact) // called by several goroutines, once a round for each object, with the state unseen if it is gone
}

func newLooker(st store.Store, needs []Need, o LookOptions) *looker {
	l := &looker{st: st, region: o.Region, clock: o.Clock, workers: o.Workers, needs: needs, total: o.Total, density: map[string]float64{}}
	l.thawer, _ = store.As[store.Thawer](st)
	if l.clock == nil {
		l.clock = WallClock{}
	}
	if l.workers <= 0 {
		l.workers = lookWorkers
	}
	l.perPage = headsPerPage(o.Region)
	return l
}

// headsPerPage is how many heads cost as much as a page of a listing: 12.5 with Amazon. Where requests cost nothing it is about how long they take.
func headsPerPage(r *price.Region) float64 {
	const usual = 12.5
	if r == nil {
		return usual
	}
	list, get := r.List(1000).Cost, r.Get("", 1000, 0).Cost
	if list <= 0 || get <= 0 {
		return usual
	}
	return min(max(float64(list/get), 3), 100)
}

// Look asks the store about needs: it lists, where that is cheaper only around what is wanted, and asks one by one where few are wanted of many or where listings do not
// tell what is thawed. It repeats what fails for a reason that may pass. Needs are at most MaxNeeds, and name no object twice.
func Look(ctx context.Context, st store.Store, needs []Need, o LookOptions) (*Survey, error) {
	order, err := byName(needs)
	if err != nil {
		return nil, err
	}
	l := newLooker(st, needs, o)
	return l.survey(ctx, order)
}

func (l *looker) survey(ctx context.Context, order []int32) (*Survey, error) {
	s := &Survey{Needs: l.needs, Taken: l.clock.Now(), facts: make([]fact, len(l.needs)), order: order}
	l.set = func(i int32, f fact) { s.facts[i] = f }
	err := l.look(ctx, order)
	if err != nil {
		return nil, err
	}
	s.classes = slices.Clone(l.classes)
	s.Requests, s.silent = l.requests(), l.silent.Load()
	s.sum()
	return s, nil
}

func (l *looker) requests() Requests { return Requests{List: l.lists.Load(), Head: l.heads.Load()} }

// byName checks needs and returns their indexes in the order of names.
func byName(needs []Need) ([]int32, error) {
	if len(needs) > MaxNeeds {
		return nil, fmt.Errorf("%d objects are wanted, more than %d", len(needs), MaxNeeds)
	}
	order := make([]int32, len(needs))
	for i := range needs {
		order[i] = int32(i)
		if n := &needs[i]; !store.ValidName(n.Object) || n.Size < 0 || n.Wanted < 0 || n.Gets < 0 {
			return nil, fmt.Errorf("cannot want %d bytes of %q of %d bytes by %d requests", n.Wanted, n.Object, n.Size, n.Gets)
		}
	}
	slices.SortFunc(order, func(a, b int32) int { return strings.Compare(needs[a].Object, needs[b].Object) })
	for k := 1; k < len(order); k++ {
		if needs[order[k]].Object == needs[order[k-1]].Object {
			return nil, fmt.Errorf("object %q is wanted twice", needs[order[k]].Object)
		}
	}
	return order, nil
}

// sum fills Groups and Missing.
func (s *Survey) sum() {
	groups := map[Group]*Group{}
	for i := range s.facts {
		f := &s.facts[i]
		if f.state == unseen {
			s.Missing.add(&s.Needs[i])
			continue
		}
		key := Group{Class: s.classes[f.class], Cold: f.cold, Copy: f.copy().State}
		g := groups[key]
		if g == nil {
			g = &Group{Class: key.Class, Cold: key.Cold, Copy: key.Copy}
			groups[key] = g
		}
		g.add(&s.Needs[i])
	}
	s.Groups = make([]Group, 0, len(groups))
	for _, g := range groups {
		s.Groups = append(s.Groups, *g)
	}
	slices.SortFunc(s.Groups, func(a, b Group) int { return cmp.Or(strings.Compare(a.Class, b.Class), cmp.Compare(a.Copy, b.Copy)) })
}

// piece is a stretch of order that is looked at together. Its next moves on as objects are dealt with, so that it can be taken up where it failed.
type piece struct {
	order []int32
	next  int
	heads bool   // one by one
	after string // listing: goes on behind this name
	limit int    // listing: ends after so many objects; 0: none
	seen  int    // objects listed
	last  string // of them
}

func (l *looker) name(p *piece, k int) string { return l.needs[p.order[k]].Object }

// look asks about the objects of order, which is sorted by name, and calls set for each.
func (l *looker) look(ctx context.Context, order []int32) error {
	if len(order) == 0 {
		return ctx.Err()
	}
	if l.silent.Load() {
		return l.headAll(ctx, order)
	}
	pieces, err := l.plan(ctx, order)
	if err != nil {
		return err
	}
	if err := l.rounds(ctx, pieces); err != nil {
		return err
	}
	ask := l.ask
	l.ask = nil
	if len(ask) > 0 {
		slices.SortFunc(ask, func(a, b int32) int { return strings.Compare(l.needs[a].Object, l.needs[b].Object) })
		return l.headAll(ctx, ask)
	}
	return nil
}

func (l *looker) headAll(ctx context.Context, order []int32) error {
	return l.rounds(ctx, asHeads(nil, order))
}

func asHeads(to []*piece, order []int32) []*piece {
	for part := range slices.Chunk(order, headBatch) {
		to = append(to, &piece{order: part, heads: true})
	}
	return to
}

// rounds works on pieces, in parallel, and again on those that failed for a reason that may pass. It pauses while no request is under way.
func (l *looker) rounds(ctx context.Context, pieces []*piece) error {
	wait := 500 * time.Millisecond
	for tries := 0; ; {
		before := rest(pieces)
		failed, err := l.round(ctx, pieces)
		if err == nil {
			return nil
		}
		if end := ctx.Err(); end != nil {
			return end
		}
		if !store.IsTemporary(err) {
			return err
		}
		if rest(failed) < before {
			tries, wait = 0, 500*time.Millisecond
		}
		if tries++; tries >= lookTries {
			return fmt.Errorf("%w (after %d tries)", err, tries)
		}
		if err := l.clock.Sleep(ctx, wait); err != nil {
			return err
		}
		pieces, wait = failed, min(2*wait, 30*time.Second)
	}
}

func rest(pieces []*piece) (n int) {
	for _, p := range pieces {
		n += len(p.order) - p.next
	}
	return n
}

// round works on each piece once. It returns those that are not finished with the first error, preferring one that will not pass.
func (l *looker) round(ctx context.Context, pieces []*piece) (failed []*piece, first error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var mu sync.Mutex
	var all errgroup.Group
	all.SetLimit(l.workers)
	for _, p := range pieces {
		all.Go(func() error {
			err := l.work(ctx, p)
			if err == nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			failed = append(failed, p)
			if first == nil || store.IsTemporary(first) && !store.IsTemporary(err) && ctx.Err() == nil {
				first = err
			}
			if !store.IsTemporary(err) {
				stop()
			}
			return nil
		})
	}
	_ = all.Wait()
	return failed, first
}

func (l *looker) work(ctx context.Context, p *piece) error {
	if p.heads {
		for p.next < len(p.order) {
			if err := l.head(ctx, p.order[p.next]); err != nil {
				return err
			}
			p.next++
		}
		return nil
	}
	return l.list(ctx, p)
}

func (l *looker) head(ctx context.Context, i int32) error {
	l.heads.Add(1)
	info, err := l.st.Stat(ctx, l.needs[i].Object)
	if errors.Is(err, store.ErrNotExist) {
		l.set(i, fact{})
		return nil
	}
	if err == nil {
		l.set(i, l.fact(&info))
	}
	return err
}

// errEnough ends a listing.
var errEnough = errors.New("enough")

// list goes through the objects from the first wanted one to the last.
func (l *looker) list(ctx context.Context, p *piece) error {
	if p.next == len(p.order) {
		return nil
	}
	first := l.name(p, p.next)
	if p.after == "" || p.after < first {
		p.after = first[:len(first)-1] // sorts before it, and hardly anything between
	}
	prefix := common(first, l.name(p, len(p.order)-1))
	silent := l.silent.Load() || l.thawer == nil
	begun := p.seen
	see := func(info store.Info) error { return l.see(p, &info, silent) }
	var err error
	if silent {
		err = l.st.List(ctx, prefix, p.after, see)
	} else {
		err = l.thawer.ListCopies(ctx, prefix, p.after, see)
	}
	l.lists.Add(price.Lists(int64(p.seen - begun)))
	if errors.Is(err, store.ErrNoStatus) {
		l.silent.Store(true)
		return l.list(ctx, p)
	}
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if err == nil {
		for ; p.next < len(p.order); p.next++ {
			l.set(p.order[p.next], fact{})
		}
	}
	return nil
}

// see takes one object of a listing. It runs in the goroutine of the piece.
func (l *looker) see(p *piece, info *store.Info, silent bool) error {
	p.seen++
	p.after, p.last = info.Name, info.Name
	for p.next < len(p.order) && l.name(p, p.next) < info.Name {
		l.set(p.order[p.next], fact{})
		p.next++
	}
	if p.next < len(p.order) && l.name(p, p.next) == info.Name {
		i := p.order[p.next]
		f := l.fact(info)
		l.set(i, f)
		if silent && f.cold {
			l.mu.Lock()
			l.ask = append(l.ask, i)
			l.mu.Unlock()
		}
		p.next++
	}
	if p.next == len(p.order) || p.limit > 0 && p.seen >= p.limit {
		return errEnough
	}
	return nil
}

// common returns what both names begin with.
func common(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// fact turns what the store says into what is kept.
func (l *looker) fact(info *store.Info) fact {
	f := fact{state: noCopy + sight(info.Copy.State), cold: l.thawer != nil && (info.Copy.State != store.NoCopy || Cold(l.region, info.Class))}
	if !info.Copy.Expires.IsZero() {
		f.expires = info.Copy.Expires.Unix()
	}
	f.class = l.class(info.Class)
	return f
}

func (l *looker) class(name string) uint16 {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := slices.Index(l.classes, name)
	if k < 0 {
		if len(l.classes) == math.MaxUint16 {
			return 0 // no store has so many
		}
		k = len(l.classes)
		l.classes = append(l.classes, name)
	}
	return uint16(k)
}

// hotClasses are those of Amazon S3 that are read as they are (User Guide, "Understanding and managing Amazon S3 storage classes").
var hotClasses = []string{"", "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "GLACIER_IR", "EXPRESS_ONEZONE", "OUTPOSTS"}

// Cold reports whether objects of a class have to be thawed; r may be nil. One that nobody knows is taken to be cold: a store that is asked to thaw what is not says so, for nothing.
func Cold(r *price.Region, name string) bool {
	if r != nil {
		if c, ok := r.Class(name); ok {
			return c.Cold
		}
	}
	return !slices.Contains(hotClasses, name)
}

// plan cuts order into pieces, each to be listed or asked for one by one.
func (l *looker) plan(ctx context.Context, order []int32) ([]*piece, error) {
	var pieces []*piece
	for len(order) > 0 {
		root := rootOf(l.needs[order[0]].Object)
		n := 1
		for n < len(order) && rootOf(l.needs[order[n]].Object) == root {
			n++
		}
		part, err := l.planRoot(ctx, root, order[:n])
		if err != nil {
			return nil, err
		}
		pieces, order = append(pieces, part...), order[n:]
	}
	return pieces, nil
}

// rootOf is the folder of an object or, where that is named for the first two digits of the object's own name, the one above it.
func rootOf(name string) string {
	at := strings.LastIndexByte(name, '/') + 1
	if at >= 3 && len(name) >= at+2 && name[at-3:at-1] == name[at:at+2] && (at == 3 || name[at-4] == '/') {
		return name[:at-3]
	}
	return name[:at]
}

// place is where a name that begins with hexadecimal digits lies among all such names, from 0 to 1.
func place(name string) (float64, bool) {
	digits := name[strings.LastIndexByte(name, '/')+1:]
	if len(digits) < 12 {
		return 0, false
	}
	v, err := strconv.ParseUint(digits[:12], 16, 64)
	return float64(v) / (1 << 48), err == nil
}

func (l *looker) planRoot(ctx context.Context, root string, order []int32) ([]*piece, error) {
	if float64(len(order)) <= l.perPage {
		return asHeads(nil, order), nil
	}
	_, ok := place(l.needs[order[0]].Object)
	_, ok2 := place(l.needs[order[len(order)-1]].Object)
	if !ok || !ok2 {
		return split(nil, order, float64(len(order))/pageSize, l.workers), nil
	}
	dense, known := l.density[root]
	if !known && l.total > 0 {
		dense, known = float64(l.total)*float64(len(order))/float64(len(l.needs)), true
	}
	if !known {
		probe := &piece{order: order, limit: pageSize}
		if err := l.rounds(ctx, []*piece{probe}); err != nil {
			return nil, err
		}
		from, _ := place(l.needs[order[0]].Object)
		to, _ := place(probe.last)
		dense = float64(probe.seen) / max(to-from, 1e-9)
		l.density[root] = dense
		order = order[probe.next:]
	}
	return l.stretches(order, dense), nil
}

// stretches cuts order where more than a page and a half of unwanted objects lies between two wanted ones, and chooses how to look at each part.
func (l *looker) stretches(order []int32, dense float64) []*piece {
	var pieces []*piece
	var single []int32
	for len(order) > 0 {
		from, _ := place(l.needs[order[0]].Object)
		n, at := 1, from
		for ; n < len(order); n++ {
			next, ok := place(l.needs[order[n]].Object)
			if ok && (next-at)*dense > 1.5*pageSize {
				break
			}
			at = next
		}
		pages := max(1, math.Ceil((at-from)*dense/pageSize))
		if float64(n) <= pages*l.perPage {
			single = append(single, order[:n]...)
		} else {
			pieces = split(pieces, order[:n], pages, l.workers)
		}
		order = order[n:]
	}
	return asHeads(pieces, single)
}

// split cuts a long stretch into parts of some pages each, to be listed side by side.
func split(to []*piece, order []int32, pages float64, workers int) []*piece {
	parts := min(max(1, int(pages/2)), 2*workers, len(order))
	for k := range parts {
		to = append(to, &piece{order: order[k*len(order)/parts : (k+1)*len(order)/parts]})
	}
	return to
}
