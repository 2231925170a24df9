package limit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/storetest"
)

// busy counts the calls under way.
type busy struct {
	store.Store
	now, most atomic.Int64
}

func (b *busy) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	n := b.now.Add(1)
	defer b.now.Add(-1)
	for m := b.most.Load(); n > m && !b.most.CompareAndSwap(m, n); m = b.most.Load() {
	}
	time.Sleep(time.Millisecond)
	return b.Store.Put(ctx, name, r, size, o)
}

func TestConnections(t *testing.T) {
	b := &busy{Store: mem.New(mem.Options{})}
	s := New(b, Options{Connections: 3})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := s.Put(t.Context(), string(rune('a'+i)), bytes.NewReader(nil), 0, store.PutOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if m := b.most.Load(); m != 3 {
		t.Errorf("%d puts at once", m)
	}
	// readers hold their slot until they are closed, once
	var open []io.ReadCloser
	for range 3 {
		r, err := s.Get(t.Context(), "a", 0, -1)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, r)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Get(ctx, "a", 0, -1); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a fourth reader: %v", err)
	}
	if err := s.Put(t.Context(), "zz", bytes.NewReader(nil), 0, store.PutOptions{}); err != nil {
		t.Errorf("a put while all readers are open: %v", err)
	}
	open[0].Close()
	open[0].Close()
	for range 2 {
		if _, err := s.Get(t.Context(), "nothing", 0, -1); !errors.Is(err, store.ErrNotExist) {
			t.Errorf("%v", err)
		}
	}
}

func TestRates(t *testing.T) {
	const rate, size = 1 << 20, 400 << 10
	s := New(mem.New(mem.Options{}), Options{Up: rate, Down: rate})
	content := storetest.Content(1, size)
	begin := time.Now()
	storetest.Put(t, s, "a", content)
	up := time.Since(begin)
	begin = time.Now()
	if _, err := storetest.Get(t.Context(), s, "a", 0, -1); err != nil {
		t.Fatal(err)
	}
	down := time.Since(begin)
	for direction, took := range map[string]time.Duration{"up": up, "down": down} {
		if took < 250*time.Millisecond || took > 3*time.Second {
			t.Errorf("%s: %d bytes at %d a second took %v", direction, size, rate, took)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	slow := New(mem.New(mem.Options{}), Options{Up: 1024})
	begin = time.Now()
	err := slow.Put(ctx, "b", bytes.NewReader(content), size, store.PutOptions{})
	if !errors.Is(err, context.Canceled) || time.Since(begin) > 2*time.Second {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}
