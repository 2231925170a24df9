package limit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/storetest"
	"firn/internal/units"
)

// busy counts the calls under way, which last until they may end.
type busy struct {
	store.Store
	now, most atomic.Int64
	came      chan struct{}
	end       chan struct{}
}

func (b *busy) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	n := b.now.Add(1)
	defer b.now.Add(-1)
	for m := b.most.Load(); n > m && !b.most.CompareAndSwap(m, n); m = b.most.Load() {
	}
	b.came <- struct{}{}
	<-b.end
	return b.Store.Put(ctx, name, r, size, o)
}

func TestConnections(t *testing.T) {
	b := &busy{Store: mem.New(mem.Options{}), came: make(chan struct{}, 21), end: make(chan struct{})}
	s := New(b, Options{Connections: 3})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if err := s.Put(t.Context(), string(rune('a'+i)), bytes.NewReader(nil), 0, store.PutOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	for range 3 {
		<-b.came
	}
	close(b.end)
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
	synctest.Test(t, func(t *testing.T) {
		const rate, size = 1 << 20, 400 << 10
		s := New(mem.New(mem.Options{}), Options{Up: Always(rate), Down: Always(rate)})
		content := storetest.Content(1, size)
		want := time.Duration(float64(size-burstOf(rate)) / rate * float64(time.Second))
		for _, way := range []struct {
			name     string
			transfer func()
		}{
			{"up", func() { storetest.Put(t, s, "a", content) }},
			{"down", func() {
				if _, err := storetest.Get(t.Context(), s, "a", 0, -1); err != nil {
					t.Error(err)
				}
			}},
		} {
			begin := time.Now()
			way.transfer()
			if took := time.Since(begin); took < want || took > want+time.Millisecond {
				t.Errorf("%s: %d bytes at %d a second took %v, want %v", way.name, size, rate, took, want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Second, cancel)
		slow := New(mem.New(mem.Options{}), Options{Up: Always(1024)})
		begin := time.Now()
		err := slow.Put(ctx, "b", bytes.NewReader(content), size, store.PutOptions{})
		if !errors.Is(err, context.Canceled) || time.Since(begin) != 20*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// shown keeps the content that it was given to put.
type shown struct {
	store.Store
	r io.ReadSeeker
}

func (s *shown) Put(_ context.Context, _ string, r io.ReadSeeker, _ int64, _ store.PutOptions) error {
	s.r = r
	return nil
}

// Content can be read at several places where it could before, and for its sum as fast as it goes.
func TestPaced(t *testing.T) {
	content := storetest.Content(1, 300<<10)
	base := &shown{Store: mem.New(mem.Options{})}
	s := New(base, Options{Up: Always(units.GiB)})
	if err := s.Put(t.Context(), "a", bytes.NewReader(content), int64(len(content)), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	at, ok := base.r.(io.ReaderAt)
	if !ok {
		t.Fatal("no io.ReaderAt")
	}
	if err := iotest.TestReader(base.r, content); err != nil {
		t.Error(err)
	}
	for _, c := range []struct{ offset, length int }{{0, len(content)}, {1, 200 << 10}, {len(content) - 1, 1}, {len(content), 0}} {
		got := make([]byte, c.length)
		if n, err := at.ReadAt(got, int64(c.offset)); n != c.length || err != nil || !bytes.Equal(got, content[c.offset:][:c.length]) {
			t.Errorf("at %d+%d: %d, %v", c.offset, c.length, n, err)
		}
	}
	if n, err := at.ReadAt(make([]byte, 10), int64(len(content))-5); n != 5 || err != io.EOF {
		t.Errorf("past the end: %d, %v", n, err)
	}
	plain := store.Unpaced(base.r)
	if _, limited := plain.(store.Paced); limited || plain == base.r {
		t.Errorf("%T", plain)
	}
	if _, err := base.r.Seek(7, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(plain); err != nil || !bytes.Equal(b, content[7:]) {
		t.Errorf("%d bytes, %v: the position is not shared", len(b), err)
	}
	type onlySeeker struct{ io.ReadSeeker }
	if err := s.Put(t.Context(), "a", onlySeeker{bytes.NewReader(content)}, int64(len(content)), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, ok := base.r.(io.ReaderAt); ok {
		t.Error("content that cannot be read at several places")
	}
	ctx, cancel := context.WithCancel(t.Context())
	slow := New(base, Options{Up: Always(1024)})
	if err := slow.Put(ctx, "a", bytes.NewReader(content), int64(len(content)), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := base.r.(io.ReaderAt).ReadAt(make([]byte, 1<<20), 0); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
