package desk

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/cost"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/web"
)

// How far back and ahead the overview looks.
const (
	sparkSnapshots = 30
	addedTime      = 30 * 24 * time.Hour
	growthTime     = 90 * 24 * time.Hour
	months         = 12
	again          = time.Minute // between two attempts that failed
)

// book is what was found out of a repository: the lines of its sources, of the state that the pages have of it, and its costs and drills, which take longer and are found out beside pages.
type book struct {
	mu     sync.Mutex
	at     time.Time // of the state that lines are of
	lines  []source
	key    string // of the snapshots that costs are of
	busy   bool
	tried  time.Time
	cash   *cash
	proofs map[snapshot.Source]snapshot.Proof
	turns  int // counts what has changed
}

// cash is what a repository holds and costs, by its indexes.
type cash struct {
	bytes, objects int64
	region         *price.Region // nil: unknown
	month, year    price.Money
}

// book finds what is known of a repository, and begins to find out what has changed.
func (d *desk) book(a *web.Archive, st web.State) *book {
	d.mu.Lock()
	for old := range d.books {
		if !slices.Contains(d.site.Archives(), old) {
			delete(d.books, old)
		}
	}
	b := d.books[a]
	if b == nil {
		b = &book{}
		d.books[a] = b
	}
	d.mu.Unlock()
	if st.At.IsZero() {
		return b
	}
	now := d.site.Options().Now()
	key := keyOf(&st)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.key == key || b.busy || now.Sub(b.tried).Abs() < again && b.cash == nil && !b.tried.IsZero() {
		return b
	}
	b.busy, b.tried = true, now
	d.site.Go(func(ctx context.Context) { d.reckon(ctx, a, b, st, key) })
	return b
}

// keyOf changes with the snapshots that there are.
func keyOf(st *web.State) string {
	var last time.Time
	for i := range st.Items {
		last = later(last, st.Items[i].End)
	}
	return fmt.Sprint(len(st.Items), last.UnixNano())
}

// reckon finds out costs and drills.
func (d *desk) reckon(ctx context.Context, a *web.Archive, b *book, st web.State, key string) {
	now := d.site.Options().Now()
	c, err := cashOf(ctx, a, &st, now)
	if err != nil && ctx.Err() == nil {
		d.tell("what %s costs cannot be found out: %v", a.Place().Name, err)
	}
	proofs := proofsOf(ctx, a, &st)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.busy = false
	b.turns++
	b.at = time.Time{} // lines show the drills
	b.proofs = proofs
	if err == nil {
		b.cash, b.key = c, key
	}
}

func scopesOf(st *web.State) (all []keys.ScopeID) {
	seen := map[keys.ScopeID]bool{}
	for i := range st.Items {
		if id := keys.ScopeID(st.Items[i].Scope); !seen[id] {
			seen[id] = true
			all = append(all, id)
		}
	}
	return all
}

// cashOf adds up what the indexes know, and looks ahead.
func cashOf(ctx context.Context, a *web.Archive, st *web.State, now time.Time) (*cash, error) {
	inv := &cost.Inventory{At: now}
	c := &cash{}
	for _, id := range scopesOf(st) {
		err := a.Scope(ctx, id, func(o *web.Opened, s *repo.ScopeState) error {
			c.region = o.Region
			prices := o.Region
			if prices == nil {
				prices = &price.Region{}
			}
			part, err := cost.Estimate([]*index.Set{s.Set()}, prices, now)
			if err == nil {
				inv.Holdings = append(inv.Holdings, part.Holdings...)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	c.objects, c.bytes = inv.Total()
	if c.region != nil {
		all := cost.Forecast(c.region, inv, cost.GrowthOf(st.Items, now, growthTime), months, cost.Everything)
		c.month, c.year = all[0].Total(), cost.Sum(all)
	}
	return c, nil
}

// proofsOf finds the last drill of each source. Where that cannot be read none is shown.
func proofsOf(ctx context.Context, a *web.Archive, st *web.State) map[snapshot.Source]snapshot.Proof {
	last := map[snapshot.Source]snapshot.Proof{}
	_ = a.Use(ctx, func(o *web.Opened) error {
		for _, id := range scopesOf(st) {
			all, err := o.Repo.Proofs(ctx, id)
			if err != nil {
				return err
			}
			for _, p := range all {
				if p.Time.After(last[p.Source].Time) {
					last[p.Source] = p
				}
			}
		}
		return nil
	})
	return last
}

func (b *book) money() *cash {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cash
}

// waiting reports whether costs are being found out.
func (b *book) waiting() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.busy
}

// turn changes with what the book says.
func (b *book) turn() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.turns
}

func (b *book) lastDrill() (t time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.proofs {
		t = later(t, p.Time)
	}
	return t
}

// rows returns a line for each source. They are worked out once for each state.
func (b *book) rows(st web.State) []source {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !st.At.IsZero() && !st.At.Equal(b.at) {
		b.lines = nil
		for _, it := range st.Sources() {
			s := lineOf(&it, st.History(it.Source.ID), st.At)
			if p, ok := b.proofs[it.Source.ID]; ok {
				s.Proof = &p
			}
			b.lines = append(b.lines, s)
		}
		b.at = st.At
	}
	return slices.Clone(b.lines)
}

// lineOf is what the snapshots of a source say of it.
func lineOf(newest *snapshot.Item, history []snapshot.Item, now time.Time) source {
	s := source{Name: nameOf(newest.Source), Kind: newest.Source.Kind, Host: newest.Host, origin: newest.Source}
	if newest.Status() == snapshot.IsDone {
		s.Known, s.Good, s.Files, s.Bytes = true, newest.End, newest.Stats.Files, newest.Stats.Bytes
	}
	var sizes []int64
	for i := range history {
		it := &history[i]
		if it.Status() != snapshot.IsDone {
			continue
		}
		sizes = append(sizes, it.Stats.Bytes)
		if i > 0 && now.Sub(it.Start) < addedTime {
			s.Added += it.Stats.BytesStored
		}
	}
	s.Sparks = sparks(sizes[max(0, len(sizes)-sparkSnapshots):])
	return s
}

// Size of the drawing of a trend, in its own units.
const sparkWidth, sparkHeight = 100, 24

// sparks draws sizes as a line, as the path of an SVG: from the smallest to the largest, or flat. Fewer than two are no trend.
func sparks(sizes []int64) string {
	if len(sizes) < 2 {
		return ""
	}
	low, high := slices.Min(sizes), slices.Max(sizes)
	var b strings.Builder
	for i, n := range sizes {
		y := float64(sparkHeight) / 2
		if high > low {
			y = 2 + (sparkHeight-4)*float64(high-n)/float64(high-low)
		}
		fmt.Fprintf(&b, "%c%.4g %.4g", "ML"[min(i, 1)], float64(sparkWidth)*float64(i)/float64(len(sizes)-1), y)
	}
	return b.String()
}
