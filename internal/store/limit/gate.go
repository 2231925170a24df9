package limit

import (
	"context"
	"sync"

	"firn/internal/store"
)

// gate lets some calls through at once, first come, first served: at most most, and fewer where the store is asked too much. A nil gate lets all through.
type gate struct {
	most int

	mu      sync.Mutex
	allowed float64 // at once, 1 to most
	inside  int
	turn    int // counts how often allowed was halved
	waiting []*waiter
}

type waiter struct{ in chan struct{} } // closed once it is inside

func newGate(most int) *gate { return &gate{most: most, allowed: float64(most)} }

// enter waits until the call may pass. The caller calls leave when it is done, with what became of it; further calls of leave do nothing.
func (g *gate) enter(ctx context.Context) (leave func(error), err error) {
	if g == nil {
		return func(error) {}, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	w := &waiter{make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.admit()
	g.mu.Unlock()
	select {
	case <-w.in:
	case <-ctx.Done():
		g.giveUp(w)
		return nil, ctx.Err()
	}
	g.mu.Lock()
	turn := g.turn
	g.mu.Unlock()
	var once sync.Once
	return func(err error) { once.Do(func() { g.leave(turn, err) }) }, nil
}

// admit lets in who is next. g.mu is held.
func (g *gate) admit() {
	for len(g.waiting) > 0 && g.inside < int(g.allowed) {
		close(g.waiting[0].in)
		g.waiting = g.waiting[1:]
		g.inside++
	}
}

// giveUp takes out who waits no longer, and who was let in at that moment.
func (g *gate) giveUp(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.waiting {
		if other == w {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			return
		}
	}
	g.inside--
	g.admit()
}

func (g *gate) leave(turn int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	switch {
	case err == nil:
		g.allowed = min(float64(g.most), g.allowed+1/g.allowed)
	case store.IsThrottled(err) && turn == g.turn: // those that were under way at the halving tell nothing new
		g.allowed = max(1, g.allowed/2)
		g.turn++
	}
	g.admit()
}
