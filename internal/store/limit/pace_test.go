package limit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/storetest"
	"firn/internal/units"
)

// plan is a rate by how long after the start it begins; the last one stays.
type plan []struct {
	from time.Duration
	rate units.Size
}

func (p plan) rate(start time.Time) Rate {
	return func(now time.Time) (rate units.Size, changes time.Time) {
		for i := range p {
			if now.Sub(start) < p[i].from {
				return rate, start.Add(p[i].from)
			}
			rate = p[i].rate
		}
		return rate, time.Time{}
	}
}

// drain counts how much a pace lets through in so long, with some who ask at once.
func drain(t *testing.T, p *pace, who int, d time.Duration) int64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var n atomic.Int64
	var wg sync.WaitGroup
	for range who {
		wg.Go(func() {
			for {
				piece := min(p.piece(), 1000)
				if p.wait(ctx, piece) != nil {
					return
				}
				n.Add(int64(piece))
			}
		})
	}
	wg.Wait()
	return n.Load()
}

// TestPlan: what passes in a minute is what the rates of the minute add up to, however many ask, and also where one of them sleeps while the rate changes.
func TestPlan(t *testing.T) {
	for _, who := range []int{1, 7} {
		synctest.Test(t, func(t *testing.T) {
			p := newPace(plan{{0, 2000}, {20 * time.Second, 50000}, {30 * time.Second, 100}, {50 * time.Second, 10000}}.rate(time.Now()), time.Now)
			got, want := drain(t, p, who, time.Minute), int64(20*2000+10*50000+20*100+10*10000)
			if got < want-int64(who+1)*1000 || got > want+5000+1000 { // what waits at the end; what a burst is
				t.Errorf("%d at once: %d bytes passed, want %d", who, got, want)
			}
		})
	}
}

// TestBoundary: one who waits for hours at a slow rate passes when a faster one begins, or none at all.
func TestBoundary(t *testing.T) {
	for _, then := range []units.Size{0, units.MiB} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			s := New(mem.New(mem.Options{}), Options{Up: plan{{0, 10}, {3 * time.Hour, then}}.rate(begin)})
			storetest.Put(t, s, "a", storetest.Content(1, 1<<20)) // 29 hours
			if took := time.Since(begin); took < 3*time.Hour || took > 3*time.Hour+2*time.Second {
				t.Errorf("then %v: %v", then, took)
			}
		})
	}
}

// TestClosed: from no limit to a slow one, while somebody sends.
func TestClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		p := newPace(plan{{0, 0}, {time.Hour, 1000}}.rate(begin), time.Now)
		for range 1000 {
			if err := p.wait(t.Context(), 1<<20); err != nil {
				t.Fatal(err)
			}
		}
		if time.Since(begin) != 0 {
			t.Errorf("without a limit it took %v", time.Since(begin))
		}
		time.Sleep(time.Hour)
		begin = time.Now()
		if err := p.wait(t.Context(), maxBurst+10_000); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("%v", took)
		}
	})
}

// TestClock: a clock that is set, or stood still, neither lets everything through nor stops it for good.
func TestClock(t *testing.T) {
	for _, jump := range []time.Duration{-30 * 24 * time.Hour, -time.Hour, time.Hour, 30 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var off atomic.Int64
			wall := func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
			start := time.Now()
			day := func(now time.Time) (units.Size, time.Time) { // 1000 a second in even hours, 2000 in odd ones
				hours := now.Sub(start) / time.Hour
				return 1000 + 1000*units.Size(hours&1), start.Add((hours + 1) * time.Hour)
			}
			p := newPace(day, wall)
			drain(t, p, 1, 10*time.Second)
			off.Store(int64(jump))
			got := drain(t, p, 3, 10*time.Minute)
			if got < 9*60*1000 || got > 10*60*2000+5000 {
				t.Errorf("after %v: %d bytes in ten minutes", jump, got)
			}
		})
	}
}

// TestGiveUp: what one does not use who waits no longer, those behind get.
func TestGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(Always(1000), time.Now)
		if err := p.wait(t.Context(), minBurst); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		gaveUp := make(chan error, 1)
		go func() { gaveUp <- p.wait(ctx, 1_000_000) }()
		synctest.Wait()
		begin := time.Now()
		if err := p.wait(t.Context(), 5000); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 4*time.Second || took > 70*time.Second {
			t.Errorf("%v", took)
		}
		if err := <-gaveUp; !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// TestPaceAtRandom: for any plan and any pieces, what passed at any time is never more than the plan allows and a burst, and whoever waits passes in the end.
func TestPaceAtRandom(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			p, at := plan{}, time.Duration(0)
			for range 1 + rng.IntN(6) {
				p = append(p, struct {
					from time.Duration
					rate units.Size
				}{at, units.Size(1 + rng.IntN(100_000))})
				at += time.Duration(rng.Int64N(int64(time.Hour)))
			}
			start := time.Now()
			pc := newPace(p.rate(start), time.Now)
			passed := 0
			for range 200 {
				n := 1 + rng.IntN(20_000)
				if err := pc.wait(t.Context(), n); err != nil {
					t.Fatal(err)
				}
				passed += n
				allowed := float64(10_000 + 1)
				for i := range p {
					end := time.Since(start)
					if i+1 < len(p) {
						end = min(end, p[i+1].from)
					}
					allowed += max(0, (end-p[i].from).Seconds()) * float64(p[i].rate)
				}
				if float64(passed) > allowed*1.0001 {
					t.Fatalf("seed %d: %d bytes after %v, and %.0f are allowed", seed, passed, time.Since(start), allowed)
				}
				if rng.IntN(5) == 0 {
					time.Sleep(time.Duration(rng.Int64N(int64(10 * time.Minute))))
				}
			}
		})
	}
}

// TestSent: every byte that is handed on counts, also the second time, and by each way into a store.
func TestSent(t *testing.T) {
	content := storetest.Content(1, 300<<10)
	var sent atomic.Int64
	base := &shown{Store: mem.New(mem.Options{})}
	s := New(base, Options{Sent: &sent})
	if err := s.Put(t.Context(), "a", bytes.NewReader(content), int64(len(content)), store.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	want := int64(0)
	for i, read := range []func() error{
		func() error { _, err := io.Copy(io.Discard, base.r); return err },
		func() error { _, err := base.r.Seek(0, io.SeekStart); return err },
		func() error { _, err := io.Copy(io.Discard, base.r); return err },
		func() error { _, err := base.r.(io.ReaderAt).ReadAt(make([]byte, len(content)), 0); return err },
		func() error { _, err := store.Unpaced(base.r).Seek(0, io.SeekStart); return err },
		func() error { _, err := io.Copy(io.Discard, store.Unpaced(base.r)); return err },
	} {
		if err := read(); err != nil {
			t.Fatal(i, err)
		}
		if i == 0 || i == 2 || i == 3 {
			want += int64(len(content))
		}
		if sent.Load() != want {
			t.Fatalf("step %d: %d bytes, want %d", i, sent.Load(), want)
		}
	}
}

func BenchmarkPace(b *testing.B) {
	for _, rate := range []units.Size{0, units.TiB} {
		b.Run(fmt.Sprint(rate), func(b *testing.B) {
			p := newPace(func(time.Time) (units.Size, time.Time) { return rate, time.Time{} }, time.Now)
			for b.Loop() {
				_ = p.wait(b.Context(), 1)
			}
		})
	}
}
