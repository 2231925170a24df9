package sim

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/faultstore"
	"firn/internal/prune"
	"firn/internal/retain"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Bug is a mistake that is planted, to see that it is found; the empty one is none. Nothing in what ships knows of it: it sits between firn and the store, the source, the clock or the local disk, and makes firn behave, as seen
// from outside, as one would that had the mistake.
type Bug string

// The mistakes.
const (
	IndexFirst   Bug = "index before pack"           // packs are stored after the index that names them
	NoSync       Bug = "no sync"                     // what the store acknowledged is lost with the power
	NoGrace      Bug = "prune without grace"         // where listings are late
	NoSecondLook Bug = "prune without second look"   // snapshots are not listed again once the record is stored
	Deaf         Bug = "dedup against retired packs" // a backup heeds no prune records
	DoneFirst    Bug = "done before list"            // a backup looks at prune records only when it begins
	TornPack     Bug = "resume trusts a torn pack"   // half of a pack lies under its name, and counts as whole
	ShortThaw    Bug = "wrong thaw expiry"           // copies are gone before they are said to be
	OtherParity  Bug = "parity of another pack"      // recovery volumes are those of the pack before
	WrongRead    Bug = "reads wrong"                 // a file is not read as it is
	HostClock    Bug = "forgets by the host's clock" // retention believes what snapshots say of their time
	Overwrites   Bug = "overwrites"                  // a put is not create-only
	Leaks        Bug = "leaks"                       // a secret is stored in the open
	EarlyDelete  Bug = "deletes before its time"     // a pack is deleted that is paid for
	NoHeads      Bug = "forgets heads"               // a host does not remember what it has reported
	NoWitness    Bug = "restore skips what it cannot read"
)

// Bugs are all of them.
func Bugs() []Bug {
	return []Bug{IndexFirst, NoSync, NoGrace, NoSecondLook, Deaf, DoneFirst, TornPack, ShortThaw, OtherParity, WrongRead, HostClock, Overwrites, Leaks, EarlyDelete, NoHeads, NoWitness}
}

// prepare makes a world in which the mistake matters.
func (b Bug) prepare(s *setup) {
	if b == "" {
		return
	}
	s.weak, s.creator = b == NoGrace, false // what is streamed passes by the stores below
	switch b {
	case NoGrace, NoSecondLook, Deaf, DoneFirst:
		s.grace, s.orphans, s.cold, s.rarely = 0, time.Second, false, true
	case ShortThaw, EarlyDelete:
		s.cold = true
		if s.orphans == 0 {
			s.orphans = time.Hour
		}
	case OtherParity:
		s.parity, s.cold = true, false
	case HostClock:
		s.last, s.policy = 0, retain.Policy{Daily: 9}
	}
}

// weights are the steps that a search for the mistake consists of; nil: the usual ones.
func (b Bug) weights() map[string]int {
	switch b {
	case NoGrace, NoSecondLook, Deaf, DoneFirst:
		return map[string]int{"work": 20, "backup": 40, "wait": 10, "prune": 40}
	case HostClock:
		return map[string]int{"work": 10, "backup": 30, "wait": 20, "thief": 10}
	case ShortThaw:
		return map[string]int{"work": 10, "backup": 20, "restore": 20}
	case NoHeads:
		return map[string]int{"work": 10, "backup": 20, "provider": 20}
	case EarlyDelete:
		return map[string]int{"work": 10, "backup": 30, "wait": 20, "prune": 20}
	case IndexFirst, NoSync, TornPack:
		return map[string]int{"work": 20, "backup": 60, "wait": 5, "prune": 3}
	}
	return nil
}

// wrap is what a process sees of a vault.
func (b Bug) wrap(w *world, v *vault, who string) store.Store {
	writes := strings.HasSuffix(who, "backup")
	switch {
	case b == IndexFirst && writes:
		return &lateStore{Store: v}
	case b == NoSync && writes:
		return &looseStore{Store: v, w: w}
	case b == NoSecondLook && !writes:
		return &onceStore{Store: v, prefix: "snapshots/"}
	case b == Deaf && writes:
		return &onceStore{Store: v, prefix: "prune/", nothing: true}
	case b == DoneFirst && writes:
		return &onceStore{Store: v, prefix: "prune/"}
	case b == TornPack && writes:
		return &tornStore{Store: v, v: v, w: w}
	case b == ShortThaw:
		return v
	case b == OtherParity && writes:
		return &mixedStore{Store: v}
	case b == Overwrites:
		return &rashStore{Store: v, v: v}
	case b == Leaks && writes:
		return &leakyStore{Store: v}
	}
	return v
}

// pruning changes how a prune is run.
func (b Bug) pruning(w *world, o prune.Options) prune.Options {
	if b == EarlyDelete {
		o.Region, o.Grace = nil, 0
	}
	return o
}

// believed is when a snapshot was stored.
func (b Bug) believed(it snapshot.Item) time.Time {
	if b == HostClock {
		return it.End
	}
	return it.Stored
}

// whole reads what is to be put.
func whole(r io.ReadSeeker, size int64) ([]byte, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(r, size))
}

// lateStore stores packs only when something is asked for after the index that names them was stored.
type lateStore struct {
	store.Store
	mu      sync.Mutex
	held    []func() error
	indexed bool
}

func (s *lateStore) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.indexed {
		for _, do := range s.held {
			_ = do() // in memory
		}
		s.held, s.indexed = nil, false
	}
}

func (s *lateStore) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	s.flush()
	if strings.HasPrefix(name, "data/") || strings.HasPrefix(name, "meta/") {
		raw, err := whole(r, size)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.held = append(s.held, func() error {
			return s.Store.Put(context.Background(), name, bytes.NewReader(raw), size, store.PutOptions{Class: o.Class})
		})
		return nil
	}
	err := s.Store.Put(ctx, name, r, size, o)
	if strings.HasPrefix(name, "index/") && err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.indexed = true
	}
	return err
}

func (s *lateStore) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	s.flush()
	return s.Store.List(ctx, prefix, after, fn)
}

func (s *lateStore) Stat(ctx context.Context, name string) (store.Info, error) {
	s.flush()
	return s.Store.Stat(ctx, name)
}

// looseStore acknowledges what a power cut takes away again.
type looseStore struct {
	store.Store
	w *world
}

func (s *looseStore) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	err := s.Store.Put(ctx, name, r, size, o)
	if err == nil {
		s.w.logMu.Lock()
		defer s.w.logMu.Unlock()
		s.w.unsynced = append(s.w.unsynced, name)
	}
	return err
}

// powerFails takes some of what was not synced.
func (w *world) powerFails(rng *rand.Rand) {
	w.logMu.Lock()
	names := w.unsynced
	w.unsynced = nil
	w.logMu.Unlock()
	for _, n := range names {
		if rng.IntN(2) == 0 {
			w.main.decay(n, nil)
		}
	}
}

// onceStore answers listings below a prefix as it did the first time, or with nothing.
type onceStore struct {
	store.Store
	prefix  string
	nothing bool
	mu      sync.Mutex
	seen    map[string][]store.Info
}

func (s *onceStore) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if !strings.HasPrefix(prefix, s.prefix) {
		return s.Store.List(ctx, prefix, after, fn)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen = map[string][]store.Info{}
	}
	key := prefix + " " + after
	if _, ok := s.seen[key]; !ok {
		s.seen[key] = []store.Info{}
		err := s.Store.List(ctx, prefix, after, func(i store.Info) error {
			if !s.nothing {
				s.seen[key] = append(s.seen[key], i)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, i := range slices.Clone(s.seen[key]) {
		if _, err := s.Store.Stat(ctx, i.Name); err != nil {
			continue // it is about what is not seen, not about what is gone
		}
		if err := fn(i); err != nil {
			return err
		}
	}
	return nil
}

// tornStore leaves half of a pack behind now and then, when the process fails in the middle, and tells it as whole.
type tornStore struct {
	store.Store
	v *vault
	w *world
}

func (s *tornStore) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	s.w.logMu.Lock()
	s.w.tears++
	tear := strings.HasPrefix(name, "data/") && s.w.tears%7 == 0
	s.w.logMu.Unlock()
	if !tear {
		return s.Store.Put(ctx, name, r, size, o)
	}
	raw, err := whole(r, size)
	if err == nil {
		err = s.v.Put(ctx, name, bytes.NewReader(raw[:size/2]), size/2, store.PutOptions{Class: o.Class})
	}
	s.w.logMu.Lock()
	s.w.torn[name] = size
	s.w.logMu.Unlock()
	if err != nil {
		return err
	}
	return store.Fail("put", name, &faultstore.Fault{Op: "put", Name: name})
}

func (s *tornStore) told(i store.Info) store.Info {
	s.w.logMu.Lock()
	defer s.w.logMu.Unlock()
	if size, ok := s.w.torn[i.Name]; ok {
		i.Size = size
	}
	return i
}

func (s *tornStore) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return s.Store.List(ctx, prefix, after, func(i store.Info) error { return fn(s.told(i)) })
}

func (s *tornStore) Stat(ctx context.Context, name string) (store.Info, error) {
	i, err := s.Store.Stat(ctx, name)
	return s.told(i), err
}

// mixedStore stores the recovery volume of the pack before.
type mixedStore struct {
	store.Store
	mu   sync.Mutex
	last []byte
}

func (s *mixedStore) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if !strings.HasSuffix(name, ".par2") {
		return s.Store.Put(ctx, name, r, size, o)
	}
	raw, err := whole(r, size)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	other := s.last
	if other == nil {
		other = raw
	}
	s.last = raw
	return s.Store.Put(ctx, name, bytes.NewReader(other), int64(len(other)), store.PutOptions{Class: o.Class})
}

// rashStore writes over what is there.
type rashStore struct {
	store.Store
	v *vault
}

func (s *rashStore) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if s.v.has(name) == nil {
		return s.Store.Put(ctx, name, r, size, o)
	}
	raw, err := whole(r, size)
	if err == nil {
		s.v.decay(name, raw)
	}
	return err
}

// leakyStore puts a secret behind what hosts keep.
type leakyStore struct{ store.Store }

func (s *leakyStore) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if !strings.HasPrefix(name, "state/") {
		return s.Store.Put(ctx, name, r, size, o)
	}
	raw, err := whole(r, size)
	if err != nil {
		return err
	}
	raw = append(raw, phrase...)
	return s.Store.Put(ctx, name, bytes.NewReader(raw), int64(len(raw)), store.PutOptions{Class: o.Class})
}
