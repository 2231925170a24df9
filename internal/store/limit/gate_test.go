package limit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/storetest"
)

type tooMuch struct{}

func (tooMuch) Error() string   { return "too much" }
func (tooMuch) Temporary() bool { return true }
func (tooMuch) Throttled() bool { return true }

// through lets n calls in, and fails the test if not exactly n may be inside.
func through(t *testing.T, g *gate, n int) (leave []func(error)) {
	t.Helper()
	for range n {
		l, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave = append(leave, l)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := g.enter(ctx); done <- err }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatalf("more than %d are let in", n)
	}
	return leave
}

func TestGate(t *testing.T) {
	g := newGate(8)
	for _, step := range []struct {
		inside int
		err    error
	}{{8, tooMuch{}}, {4, tooMuch{}}, {2, tooMuch{}}, {1, tooMuch{}}, {1, nil}, {2, nil}, {2, nil}, {3, errors.New("something else")}, {3, nil}, {4, nil}, {5, nil}} {
		if g.allowed < float64(step.inside) || g.allowed >= float64(step.inside+1) {
			t.Fatalf("%v are allowed, want %d", g.allowed, step.inside)
		}
		for _, leave := range through(t, g, step.inside) {
			leave(step.err)
			leave(tooMuch{}) // a second time is none
		}
		if g.inside != 0 || len(g.waiting) != 0 {
			t.Fatalf("%d inside, %d waiting", g.inside, len(g.waiting))
		}
	}
	for range 100 {
		leave, err := g.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		leave(nil)
	}
	if g.allowed != 8 {
		t.Errorf("%v are allowed in the end", g.allowed)
	}
}

// narrow is a store that refuses more than some Puts at once.
type narrow struct {
	store.Store
	most int

	mu              sync.Mutex
	inside, refused int
}

func (n *narrow) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	n.mu.Lock()
	n.inside++
	refuse := n.inside > n.most
	if refuse {
		n.refused++
	}
	n.mu.Unlock()
	defer func() { n.mu.Lock(); n.inside--; n.mu.Unlock() }()
	if refuse {
		return store.Fail("put", name, tooMuch{})
	}
	return n.Store.Put(ctx, name, r, size, o)
}

// Everybody gets through a store that is asked too much, and the slots come back.
func TestGateUnderLoad(t *testing.T) {
	base := &narrow{Store: mem.New(mem.Options{}), most: 3}
	s := New(base, Options{Connections: 32}).(*Store)
	content := storetest.Content(1, 20_000)
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := range 20 {
				name, err := fmt.Sprintf("%d/%d", w, i), error(tooMuch{})
				for store.IsTemporary(err) {
					err = s.Put(t.Context(), name, bytes.NewReader(content), int64(len(content)), store.PutOptions{})
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		})
	}
	wg.Wait()
	if s.puts.inside != 0 || len(s.puts.waiting) != 0 || s.puts.allowed < 1 {
		t.Errorf("%d inside, %d waiting, %v allowed", s.puts.inside, len(s.puts.waiting), s.puts.allowed)
	}
	t.Logf("%d of %d calls were refused", base.refused, 640+base.refused)
}
