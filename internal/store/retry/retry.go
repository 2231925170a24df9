// Package retry repeats calls to a store that failed for a reason that may pass (store.IsTemporary).
//
// Between tries it waits: a random time up to Options.First, doubled with every try, at most Options.Longest ("full jitter",
// AWS Architecture Blog, "Exponential Backoff And Jitter", 2015). It gives up after Options.Tries, or when the tries have taken
// Options.Patience. A listing goes on behind the last name shown, a reader where it broke off, so that nothing is seen twice.
//
// A Put whose first try may have had its effect, and whose next finds the name taken, is verified: names are sums or random, so
// an object of the same size and content is the one that was put.
package retry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"firn/internal/store"
)

// Options of the waiting; zero values stand for the defaults.
type Options struct {
	Tries    int           // of one call, the first included; default 10
	First    time.Duration // longest wait before the second try; default 500 ms
	Longest  time.Duration // longest wait of all; default 30 s
	Patience time.Duration // no try begins later than this after the first; default 10 min

	Sleep  func(context.Context, time.Duration) error // default: a timer
	Now    func() time.Time                           // default: time.Now
	Notify func(op, name string, err error, wait time.Duration)
}

// compareLimit is the size up to which an object of unknown sum is read back to verify it.
const compareLimit = 4 << 20

// Store repeats the calls of another store. Calls of optional powers (store.As) are repeated by who asks for it (store.Repeat).
type Store struct {
	s store.Store
	o Options
}

// New returns a store that repeats the calls of s.
func New(s store.Store, o Options) *Store {
	if o.Tries <= 0 {
		o.Tries = 10
	}
	if o.First <= 0 {
		o.First = 500 * time.Millisecond
	}
	if o.Longest <= 0 {
		o.Longest = 30 * time.Second
	}
	if o.Patience <= 0 {
		o.Patience = 10 * time.Minute
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Store{s, o}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Unwrap implements store.Wrapper.
func (s *Store) Unwrap() store.Store { return s.s }

// series is one call and its repetitions.
type series struct {
	s        *Store
	op, name string
	start    time.Time
	tries    int
}

func (s *Store) series(op, name string) *series {
	return &series{s: s, op: op, name: name, start: s.o.Now()}
}

// again waits and returns nil if the call that failed with err is to be repeated, else the error to return.
func (c *series) again(ctx context.Context, err error) error {
	if !store.IsTemporary(err) {
		return err
	}
	if end := ctx.Err(); end != nil {
		return errors.Join(end, err)
	}
	o := c.s.o
	c.tries++
	wait := o.Longest
	if c.tries < 32 && o.First<<(c.tries-1) < o.Longest && o.First<<(c.tries-1) > 0 {
		wait = o.First << (c.tries - 1)
	}
	wait = wait/16 + time.Duration(rand.Int64N(int64(wait)))*15/16
	if c.tries >= o.Tries || o.Now().Add(wait).Sub(c.start) > o.Patience {
		return fmt.Errorf("%w (after %d tries)", err, c.tries)
	}
	if o.Notify != nil {
		o.Notify(c.op, c.name, err, wait)
	}
	if o.Sleep(ctx, wait) != nil {
		return errors.Join(ctx.Err(), err)
	}
	return nil
}

// progress forgets the failures so far, since the call has moved on.
func (c *series) progress() { c.tries, c.start = 0, c.s.o.Now() }

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	calls := s.series("put", name)
	unclear := false
	for {
		err := s.s.Put(ctx, name, r, size, o)
		if errors.Is(err, store.ErrExist) && unclear {
			mine, check := s.mine(ctx, name, r, size, o)
			if mine {
				return nil
			}
			if check != nil {
				return check
			}
		}
		if err == nil {
			return nil
		}
		if again := calls.again(ctx, err); again != nil {
			return again
		}
		unclear = true
	}
}

// mine reports whether the object at name is the one that was to be put.
func (s *Store) mine(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) (bool, error) {
	info, err := s.Stat(ctx, name)
	if errors.Is(err, store.ErrDenied) {
		return !o.Sum.IsZero(), nil // who may write only cannot look; the name is a sum or random
	}
	if err != nil || info.Size != size {
		return false, err
	}
	if !info.Sum.IsZero() && !o.Sum.IsZero() {
		return info.Sum == o.Sum, nil
	}
	if size > compareLimit {
		return true, nil
	}
	got, err := s.Get(ctx, name, 0, -1)
	if errors.Is(err, store.ErrCold) || errors.Is(err, store.ErrDenied) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer got.Close()
	have, err := io.ReadAll(got)
	if err != nil {
		return false, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	want, err := io.ReadAll(io.LimitReader(r, size))
	return bytes.Equal(have, want), err
}

// Get implements store.Store. A reader that breaks off is opened again where it stood.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r := &reader{ctx: ctx, s: s, name: name, at: offset, left: length, calls: s.series("get", name)}
	if err := r.open(); err != nil {
		return nil, err
	}
	return r, nil
}

type reader struct {
	ctx      context.Context
	s        *Store
	name     string
	at, left int64 // where the next byte lies, and how many are wanted; left < 0: all
	r        io.ReadCloser
	calls    *series
	err      error // sticky
}

func (r *reader) open() error {
	for {
		var err error
		if r.r, err = r.s.s.Get(r.ctx, r.name, r.at, r.left); err == nil {
			return nil
		}
		if again := r.calls.again(r.ctx, err); again != nil {
			return again
		}
	}
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	for {
		n, err := r.r.Read(p)
		r.at += int64(n)
		if r.left > 0 {
			r.left -= int64(n)
		}
		if n > 0 {
			r.calls.progress()
		}
		if err == nil || err == io.EOF {
			return n, err
		}
		if n > 0 {
			return n, nil // the fault comes again
		}
		if r.err = r.reopen(err); r.err != nil {
			return 0, r.err
		}
	}
}

func (r *reader) reopen(err error) error {
	if again := r.calls.again(r.ctx, err); again != nil {
		return again
	}
	r.r.Close()
	if err := r.open(); err != nil {
		r.r = io.NopCloser(bytes.NewReader(nil))
		return err
	}
	return nil
}

func (r *reader) Close() error { return r.r.Close() }

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	calls := s.series("list", prefix)
	for {
		var failed error
		err := s.s.List(ctx, prefix, after, func(i store.Info) error {
			if failed = fn(i); failed == nil {
				after = i.Name
				calls.progress()
			}
			return failed
		})
		if err == nil || failed != nil {
			return err
		}
		if again := calls.again(ctx, err); again != nil {
			return again
		}
	}
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	calls := s.series("stat", name)
	for {
		info, err := s.s.Stat(ctx, name)
		if err == nil {
			return info, nil
		}
		if again := calls.again(ctx, err); again != nil {
			return store.Info{}, again
		}
	}
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	calls := s.series("delete", name)
	for {
		err := s.s.Delete(ctx, name)
		if err == nil {
			return nil
		}
		if again := calls.again(ctx, err); again != nil {
			return again
		}
	}
}

// Repeat implements store.Repeater.
func (s *Store) Repeat(ctx context.Context, op, name string, call func() error) error {
	calls := s.series(op, name)
	for {
		err := call()
		if err == nil {
			return nil
		}
		if again := calls.again(ctx, err); again != nil {
			return again
		}
	}
}

// Location implements store.Store.
func (s *Store) Location() string { return s.s.Location() }

// Close implements store.Store.
func (s *Store) Close() error { return s.s.Close() }
