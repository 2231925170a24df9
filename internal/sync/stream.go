package sync

import (
	"context"

	"golang.org/x/sync/errgroup"

	"firn/internal/sync/ledger"
)

type entryRef = ledger.Entry

const (
	batchLen = 256
	batches  = 8
)

// stream hands over what another goroutine produces, a batch at a time.
type stream[T any] struct {
	ch  chan []T
	cur []T
	err error // valid once next has returned nil
}

// produce runs fn in g. What is given to its argument comes out of the stream.
func produce[T any](ctx context.Context, g *errgroup.Group, fn func(ctx context.Context, yield func(T) error) error) *stream[T] {
	s := &stream[T]{ch: make(chan []T, batches)}
	g.Go(func() error {
		defer close(s.ch)
		batch := make([]T, 0, batchLen)
		send := func() error {
			if len(batch) == 0 {
				return nil
			}
			select {
			case s.ch <- batch:
				batch = make([]T, 0, batchLen)
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		err := fn(ctx, func(v T) error {
			if batch = append(batch, v); len(batch) == batchLen {
				return send()
			}
			return nil
		})
		if err == nil {
			err = send()
		}
		s.err = err
		return err
	})
	return s
}

// peek returns the next element without taking it; nil: there is none.
func (s *stream[T]) peek() *T {
	for len(s.cur) == 0 {
		batch, ok := <-s.ch
		if !ok {
			return nil
		}
		s.cur = batch
	}
	return &s.cur[0]
}

func (s *stream[T]) take() { s.cur = s.cur[1:] }

// book goes through the ledger, one entry ahead.
type pages struct {
	r    *ledger.Reader
	have bool
}

func (p *pages) peek() *ledger.Entry {
	if !p.have {
		if p.have = p.r.Next(); !p.have {
			return nil
		}
	}
	return &p.r.Entry
}

// join calls fn for every key that any of the three has, in order. The entry is fn's to keep, the others are, too.
func join[A, B any](a *stream[A], keyA func(*A) string, b *stream[B], keyB func(*B) string, led *pages, fn func(key string, a *A, b *B, e *ledger.Entry) error) error {
	for {
		x, y, z := a.peek(), b.peek(), led.peek()
		if x == nil && a.err != nil {
			return a.err
		}
		if y == nil && b.err != nil {
			return b.err
		}
		key, some := "", false
		if x != nil {
			key, some = keyA(x), true
		}
		if y != nil {
			if k := keyB(y); !some || k < key {
				key, some = k, true
			}
		}
		if z != nil && (!some || z.Key < key) {
			key, some = z.Key, true
		}
		if !some {
			return nil
		}
		var e *ledger.Entry
		if x != nil && keyA(x) != key {
			x = nil
		}
		if y != nil && keyB(y) != key {
			y = nil
		}
		if z != nil && z.Key == key {
			kept := *z
			e = &kept
			led.have = false
		}
		if x != nil {
			a.take()
		}
		if y != nil {
			b.take()
		}
		if err := fn(key, x, y, e); err != nil {
			return err
		}
	}
}
