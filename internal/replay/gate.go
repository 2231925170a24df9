package replay

import (
	"context"
	"slices"
	"sync"

	"firn/internal/thaw"
)

// gate lets those pass who fetch from packs that can be read, and knows whether the reader stands still for the others. A nil gate is open.
type gate struct {
	plan *plan

	mu      sync.Mutex
	open    map[string]struct{} // packs that can be read
	free    []string            // that always can
	more    bool                // more may come if one waits
	wake    chan struct{}       // closed when either has changed
	changed chan struct{}       // somebody may stand still now, or has gone on; holds one
	blocked map[*window]string  // who waits for which pack
	at      *window             // that the reader waits for; nil: it does not
	next    *link               // that is about to begin; nil: none
	midway  bool                // a link has begun and has not ended
	cold    []string            // packs that were open and could not be read
	passed  []string
	brought []string

	last   []behind // packs of the link in work, by where they are left behind; those before lastAt are passed
	lastAt int
}

// behind is where a pack is left behind.
type behind struct {
	off  int64
	pack int32
}

func newGate(p *plan, job *thaw.Job) *gate {
	g := &gate{plan: p, open: map[string]struct{}{}, wake: make(chan struct{}), changed: make(chan struct{}, 1), blocked: map[*window]string{}}
	about := make(map[string]struct{}, len(job.Needs()))
	for _, n := range job.Needs() {
		about[n.Object] = struct{}{}
	}
	for i := range p.Packs {
		if _, ok := about[p.Packs[i].Object]; !ok {
			g.free = append(g.free, p.Packs[i].Object)
		}
	}
	return g
}

func (g *gate) signal() {
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// set says what can be read now.
func (g *gate) set(open []string, more bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.open)
	for _, names := range [][]string{open, g.free} {
		for _, name := range names {
			g.open[name] = struct{}{}
		}
	}
	g.more, g.cold = more, nil
	close(g.wake)
	g.wake = make(chan struct{})
}

// pass returns when a pack can be read.
func (g *gate) pass(ctx context.Context, w *window, name string) error {
	if g == nil {
		return nil
	}
	for {
		g.mu.Lock()
		if _, ok := g.open[name]; ok {
			delete(g.blocked, w)
			g.mu.Unlock()
			g.signal()
			return nil
		}
		g.blocked[w] = name
		wake := g.wake
		g.mu.Unlock()
		g.signal()
		select {
		case <-wake:
		case <-ctx.Done():
			g.mu.Lock()
			delete(g.blocked, w)
			g.mu.Unlock()
			return context.Cause(ctx)
		}
	}
}

// close notes that a pack cannot be read after all.
func (g *gate) close(name string) {
	g.mu.Lock()
	if _, ok := g.open[name]; ok {
		delete(g.open, name)
		g.cold = append(g.cold, name)
	}
	g.mu.Unlock()
	g.signal()
}

// wait notes which window the reader waits for; nil: none.
func (g *gate) wait(w *window) {
	if g == nil {
		return
	}
	g.mu.Lock()
	g.at = w
	g.mu.Unlock()
	g.signal()
}

// begin returns when a link may begin.
func (g *gate) begin(ctx context.Context, l *link) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next = l
	for g.closed(l) != "" {
		wake := g.wake
		g.mu.Unlock()
		g.signal()
		select {
		case <-wake:
		case <-ctx.Done():
		}
		g.mu.Lock()
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	g.next, g.midway = nil, true
	g.last, g.lastAt = g.last[:0], 0
	for _, k := range g.plan.packs[l.number] {
		if p := &g.plan.Packs[k]; p.lastLink == l.number {
			g.last = append(g.last, behind{p.lastOff, k})
		}
	}
	slices.SortFunc(g.last, func(a, b behind) int {
		switch {
		case a.off < b.off:
			return -1
		case a.off > b.off:
			return 1
		}
		return 0
	})
	return nil
}

// closed returns the pack for which a link has to wait before it begins; empty: it may. The caller holds mu.
func (g *gate) closed(l *link) string {
	packs := g.plan.packs[l.number]
	for i, k := range packs {
		name := g.plan.Packs[k].Object
		if _, ok := g.open[name]; ok {
			continue
		}
		if i > 0 && !g.more {
			return "" // nothing more comes before something is left behind
		}
		return name
	}
	return ""
}

// read notes how far a link was read.
func (g *gate) read(l *link, to int64) {
	if g == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for ; g.lastAt < len(g.last) && g.last[g.lastAt].off <= to; g.lastAt++ {
		g.passed = append(g.passed, g.plan.Packs[g.last[g.lastAt].pack].Object)
	}
}

// end notes that a link is done with for good, or given up.
func (g *gate) end(l *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.midway = false
	for _, k := range g.plan.packs[l.number] {
		if p := &g.plan.Packs[k]; p.lastLink == l.number {
			g.brought = append(g.brought, p.Object)
		}
	}
	g.signal()
}

// stuck returns the pack without which nothing goes on; empty: something does. The caller holds mu.
func (g *gate) stuck() string {
	if g.next != nil {
		return g.closed(g.next)
	}
	name, ok := g.blocked[g.at]
	if g.at == nil || !ok {
		return ""
	}
	if _, open := g.open[name]; open {
		return ""
	}
	return name
}
