// Package mem is a store in memory, for tests. It keeps the contract of package store to the letter, can be crashed and
// has the clock that it is given.
package mem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/digest"
	"firn/internal/store"
)

// ErrCrashed is what every call of a store fails with once Crash was called.
var ErrCrashed = errors.New("store has crashed")

// Options of a new store.
type Options struct {
	Now      func() time.Time // clock for Info.Modified; nil: time.Now
	Location string           // what Location tells; empty: "mem:"
}

// Store is a store in memory.
type Store struct {
	o Options

	mu      sync.RWMutex
	objects map[string]object
	crashed bool
}

type object struct {
	content []byte // never changed once stored
	sum     digest.Object
	info    store.Info
}

// New returns an empty store.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Location == "" {
		o.Location = "mem:"
	}
	return &Store{o: o, objects: map[string]object{}}
}

// Crash ends this store as a power cut would: every call under way or to come fails with ErrCrashed. The store that it
// returns has the objects whose Put or Commit was acknowledged, and no others.
func (s *Store) Crash() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := New(s.o)
	for name, o := range s.objects {
		next.objects[name] = o
	}
	s.crashed = true
	return next
}

// Replace stores content under name whatever is there, as decay or an intruder would.
func (s *Store) Replace(name string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(name, slices.Clone(content), store.PutOptions{})
}

// Len tells how many objects there are, and their size in all.
func (s *Store) Len() (objects int, bytes int64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, o := range s.objects {
		bytes += int64(len(o.content))
	}
	return len(s.objects), bytes
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	return store.Fail("put", name, s.put(ctx, name, r, size, o))
}

func (s *Store) put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if err := s.alive(ctx); err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var b bytes.Buffer
	if n, err := io.Copy(&b, io.LimitReader(r, size)); err != nil {
		return err
	} else if n < size {
		return fmt.Errorf("content ends after %d of %d bytes", n, size)
	}
	return s.commit(ctx, name, b.Bytes(), o)
}

func (s *Store) commit(ctx context.Context, name string, content []byte, o store.PutOptions) error {
	if !store.ValidName(name) {
		return store.ErrName
	}
	if sum := sha256.Sum256(content); !o.Sum.IsZero() && o.Sum != sum {
		return store.ErrChecksum
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(ctx); err != nil {
		return err
	}
	if _, ok := s.objects[name]; ok {
		return store.ErrExist
	}
	s.insert(name, content, o)
	return nil
}

func (s *Store) insert(name string, content []byte, o store.PutOptions) {
	s.objects[name] = object{content: content, sum: sha256.Sum256(content),
		info: store.Info{Name: name, Size: int64(len(content)), Modified: s.o.Now(), Class: o.Class}}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	o, err := s.find(ctx, name)
	if err != nil {
		return nil, store.Fail("get", name, err)
	}
	n, err := store.Clip(int64(len(o.content)), offset, length)
	if err != nil {
		return nil, store.Fail("get", name, err)
	}
	return &reader{ctx: ctx, s: s, name: name, r: bytes.NewReader(o.content[offset : offset+n])}, nil
}

type reader struct {
	ctx  context.Context
	s    *Store
	name string
	r    *bytes.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.s.alive(r.ctx); err != nil {
		return 0, store.Fail("get", r.name, err)
	}
	return r.r.Read(p)
}

func (r *reader) Close() error { return nil }

// List implements store.Store. It shows the objects that were there when it began.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if err := s.alive(ctx); err != nil {
		return store.Fail("list", prefix, err)
	}
	for _, info := range s.matching(prefix, after) {
		if err := s.alive(ctx); err != nil {
			return store.Fail("list", prefix, err)
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) matching(prefix, after string) (out []store.Info) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for name, o := range s.objects {
		if strings.HasPrefix(name, prefix) && name > after {
			out = append(out, o.info)
		}
	}
	slices.SortFunc(out, func(a, b store.Info) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	o, err := s.find(ctx, name)
	if err != nil {
		return store.Info{}, store.Fail("stat", name, err)
	}
	o.info.Sum = o.sum
	return o.info, nil
}

func (s *Store) find(ctx context.Context, name string) (object, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if err := s.aliveLocked(ctx); err != nil {
		return object{}, err
	}
	o, ok := s.objects[name]
	if !ok {
		return object{}, store.ErrNotExist
	}
	return o, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(ctx); err != nil {
		return store.Fail("delete", name, err)
	}
	delete(s.objects, name)
	return nil
}

// Create implements store.Creator.
func (s *Store) Create(ctx context.Context, o store.PutOptions) (store.Pending, error) {
	if err := s.alive(ctx); err != nil {
		return nil, store.Fail("put", "", err)
	}
	return &pending{ctx: ctx, s: s, o: o}, nil
}

type pending struct {
	ctx context.Context
	s   *Store
	o   store.PutOptions
	b   bytes.Buffer
}

func (p *pending) Write(b []byte) (int, error) {
	if err := p.s.alive(p.ctx); err != nil {
		return 0, store.Fail("put", "", err)
	}
	return p.b.Write(b)
}

func (p *pending) Commit(ctx context.Context, name string) error {
	return store.Fail("put", name, p.s.commit(ctx, name, p.b.Bytes(), p.o))
}

func (p *pending) Abort() error { return nil }

// Make implements store.Maker.
func (s *Store) Make(ctx context.Context) error { return store.Fail("make", "", s.alive(ctx)) }

// Location implements store.Store.
func (s *Store) Location() string { return s.o.Location }

// Close implements store.Store. The objects stay, for a test that opens its store again.
func (s *Store) Close() error { return nil }

func (s *Store) alive(ctx context.Context) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.aliveLocked(ctx)
}

func (s *Store) aliveLocked(ctx context.Context) error {
	if s.crashed {
		return ErrCrashed
	}
	return ctx.Err()
}
