// Package mem is a store in memory, for tests. It keeps the contract of package store to the letter, can be crashed and
// has the clock that it is given. It has cold classes, from which it thaws as that clock goes, versions and locks, counts its requests and lets a test watch and refuse them.
package mem

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"firn/internal/digest"
	"firn/internal/store"
)

// ErrCrashed is what every call of a store fails with once Crash was called.
var ErrCrashed = errors.New("store has crashed")

var errDays = errors.New("a copy is kept for a day at least")

// Options of a new store.
type Options struct {
	Now      func() time.Time // clock for Info.Modified; nil: time.Now
	Location string           // what Location tells; empty: "mem:"

	Cold     []string                                          // classes from which objects must be thawed; nil: GLACIER and DEEP_ARCHIVE
	ThawTime func(class string, tier store.Tier) time.Duration // until a copy is there; nil: AmazonThawTime
	NoTiers  bool                                              // thaws, but knows store.NoTier only
	NoStatus bool                                              // listings do not tell what is thawed
	Fixed    string                                            // class of all objects, whatever is asked for, as with servers that ignore classes; empty: as asked
	Rules    []store.Rule                                      // what Rules tells
	Lock     store.LockRule                                    // what LockRule tells, and what is done; Enabled: Versions, too
	Versions bool                                              // keeps what is deleted or replaced
	Watch    func(Request) error                               // told of every request, by several goroutines at once; its error is the answer
}

// Store is a store in memory.
type Store struct {
	o Options

	mu       sync.RWMutex
	objects  map[string]object
	older    map[string][]object // versions that are not seen, the oldest first; guarded by mu, as all of it
	ids      int                 // of versions
	requests map[string]int64    // by Request.Op
	crashed  bool
}

type object struct {
	content []byte // never changed once stored
	sum     digest.Object
	info    store.Info
	copy    thawed
	lock    store.Lock
	id      string // of the version
	mark    bool   // of deletion; among older only
}

// New returns an empty store.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Location == "" {
		o.Location = "mem:"
	}
	if o.Cold == nil {
		o.Cold = []string{"GLACIER", "DEEP_ARCHIVE"}
	}
	if o.ThawTime == nil {
		o.ThawTime = AmazonThawTime
	}
	o.Versions = o.Versions || o.Lock.Enabled
	return &Store{o: o, objects: map[string]object{}, older: map[string][]object{}, requests: map[string]int64{}}
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
	for name, older := range s.older {
		next.older[name] = slices.Clone(older)
	}
	next.ids, s.crashed = s.ids, true
	return next
}

// Replace stores content under name whatever is there, as decay or an intruder would. The class stays.
func (s *Store) Replace(name string, content []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.objects[name]
	s.insert(name, slices.Clone(content), store.PutOptions{Class: old.info.Class})
	o := s.objects[name]
	o.copy = old.copy
	s.objects[name] = o
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
	err := s.put(ctx, name, r, size, o)
	if (err == nil || errors.Is(err, store.ErrExist)) && o.Memory != nil && o.Memory.Upload() != "" {
		o.Memory.SetUpload("") // nothing is ever sent in parts here
	}
	return store.Fail("put", name, err)
}

func (s *Store) put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if err := s.ask(Request{Op: "put", Name: name, Class: o.Class, Size: size}); err != nil {
		return err
	}
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
	if s.o.Fixed != "" {
		o.Class = s.o.Fixed
	}
	s.supersede(name)
	s.objects[name] = object{content: content, sum: sha256.Sum256(content), id: s.nextID(), lock: s.newLock(),
		info: store.Info{Name: name, Size: int64(len(content)), Modified: s.o.Now(), Class: o.Class}}
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := s.ask(Request{Op: "get", Name: name, Size: max(length, 0)}); err != nil {
		return nil, store.Fail("get", name, err)
	}
	o, err := s.find(ctx, name)
	if err == nil && s.cold(o.info.Class) && o.copy.at(s.o.Now()).State != store.Thawed {
		err = store.ErrCold
	}
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
	return s.list(ctx, "list", prefix, after, fn)
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := s.ask(Request{Op: "stat", Name: name}); err != nil {
		return store.Info{}, store.Fail("stat", name, err)
	}
	o, err := s.find(ctx, name)
	if err != nil {
		return store.Info{}, store.Fail("stat", name, err)
	}
	o.info.Sum, o.info.Copy = o.sum, o.copy.at(s.o.Now())
	return o.info, nil
}

func (s *Store) find(ctx context.Context, name string) (object, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.findLocked(ctx, name)
}

func (s *Store) findLocked(ctx context.Context, name string) (object, error) {
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
	if err := s.ask(Request{Op: "delete", Name: name}); err != nil {
		return store.Fail("delete", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.aliveLocked(ctx); err != nil {
		return store.Fail("delete", name, err)
	}
	s.deleteLocked(name)
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
	if err := p.s.ask(Request{Op: "put", Name: name, Class: p.o.Class, Size: int64(p.b.Len())}); err != nil {
		return store.Fail("put", name, err)
	}
	return store.Fail("put", name, p.s.commit(ctx, name, p.b.Bytes(), p.o))
}

func (p *pending) Abort() error { return nil }

// Make implements store.Maker.
func (s *Store) Make(ctx context.Context) error {
	if err := s.ask(Request{Op: "make"}); err != nil {
		return store.Fail("make", "", err)
	}
	return store.Fail("make", "", s.alive(ctx))
}

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
