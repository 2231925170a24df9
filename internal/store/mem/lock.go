package mem

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"firn/internal/store"
)

var errNoVersion = errors.New("no version is named")

func (s *Store) nextID() string {
	s.ids++
	return fmt.Sprintf("v%06d", s.ids)
}

// newLock is the lock of an object that is made now.
func (s *Store) newLock() store.Lock {
	until := s.o.Lock.Until(s.o.Now())
	if until.IsZero() {
		return store.Lock{}
	}
	return store.Lock{Mode: s.o.Lock.Mode, Until: until}
}

// supersede keeps what is there, where versions are kept, before it is replaced. s.mu is held.
func (s *Store) supersede(name string) {
	if o, ok := s.objects[name]; ok && s.o.Versions {
		s.older[name] = append(s.older[name], o)
	}
}

func (s *Store) deleteLocked(name string) {
	if s.o.Versions {
		s.supersede(name)
		s.older[name] = append(s.older[name], object{info: store.Info{Name: name, Modified: s.o.Now()}, id: s.nextID(), mark: true})
	}
	delete(s.objects, name)
}

// SetLock replaces what LockRule tells. Where locks are enabled by it versions are kept from now on.
func (s *Store) SetLock(r store.LockRule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o.Lock, s.o.Versions = r, s.o.Versions || r.Enabled
}

// Versions tells how many versions and marks there are that are not seen.
func (s *Store) Versions() (n int) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, older := range s.older {
		n += len(older)
	}
	return n
}

// LockRule implements store.Locker.
func (s *Store) LockRule(ctx context.Context) (store.LockRule, error) {
	if err := s.request(ctx, "locks", ""); err != nil {
		return store.LockRule{}, store.Fail("locks", "", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.o.Lock, nil
}

// LockOf implements store.Locker.
func (s *Store) LockOf(ctx context.Context, name string) (store.Lock, error) {
	if err := s.request(ctx, "locks", name); err != nil {
		return store.Lock{}, store.Fail("stat", name, err)
	}
	o, err := s.find(ctx, name)
	return o.lock, store.Fail("stat", name, err)
}

// Extend implements store.Locker.
func (s *Store) Extend(ctx context.Context, name string, mode store.LockMode, until time.Time) (store.Lock, error) {
	if err := s.request(ctx, "lock", name); err != nil {
		return store.Lock{}, store.Fail("lock", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.findLocked(ctx, name)
	switch {
	case err != nil:
		return store.Lock{}, store.Fail("lock", name, err)
	case !s.o.Lock.Enabled:
		return store.Lock{}, store.Fail("lock", name, store.ErrUnsupported)
	case mode != store.Governance && mode != store.Compliance:
		return store.Lock{}, store.Fail("lock", name, fmt.Errorf("no mode of a lock: %q", mode))
	}
	if now := s.o.Now(); !until.After(now) {
		return store.Lock{}, store.Fail("lock", name, fmt.Errorf("a lock until %v would be over", until))
	} else if !o.lock.Holds(now) {
		o.lock.Mode = mode
	}
	if whole := until.UTC().Truncate(time.Second); whole.Before(until) {
		until = whole.Add(time.Second)
	}
	if until.After(o.lock.Until) {
		o.lock.Until = until.UTC()
	}
	s.objects[name] = o
	return o.lock, nil
}

// request counts a request and lets Watch refuse it.
func (s *Store) request(ctx context.Context, op, name string) error {
	if err := s.ask(Request{Op: op, Name: name}); err != nil {
		return err
	}
	return s.alive(ctx)
}

// Keeping implements store.Versioner.
func (s *Store) Keeping(ctx context.Context) (store.Keeping, error) {
	if err := s.request(ctx, "versions", ""); err != nil {
		return 0, store.Fail("versions", "", err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.o.Versions {
		return store.KeepsVersions, nil
	}
	return store.KeepsNothing, nil
}

// ListVersions implements store.Versioner. It shows the versions that were there when it began.
func (s *Store) ListVersions(ctx context.Context, prefix, after string, fn func(store.Version) error) error {
	if err := s.request(ctx, "versions", prefix); err != nil {
		return store.Fail("list", prefix, err)
	}
	for i, v := range s.versions(prefix, after) {
		var err error
		if i > 0 && i%pageSize == 0 {
			err = s.request(ctx, "versions", prefix)
		}
		if err == nil {
			err = s.alive(ctx)
		}
		if err != nil {
			return store.Fail("list", prefix, err)
		}
		if err := fn(v); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) versions(prefix, after string) (out []store.Version) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := map[string]bool{}
	for name := range s.objects {
		names[name] = true
	}
	for name := range s.older {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if !strings.HasPrefix(name, prefix) || name <= after {
			continue
		}
		all := slices.Clone(s.older[name])
		if o, ok := s.objects[name]; ok {
			all = append(all, o)
		}
		for i, o := range slices.Backward(all) {
			out = append(out, store.Version{Info: o.info, ID: o.id, Mark: o.mark, Latest: i == len(all)-1})
		}
	}
	return out
}

// DeleteVersion implements store.Versioner. What was replaced is seen again once its successors are gone.
func (s *Store) DeleteVersion(ctx context.Context, name, id string) error {
	if err := s.request(ctx, "delete", name); err != nil {
		return store.Fail("delete", name, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	all := slices.Clone(s.older[name])
	if o, ok := s.objects[name]; ok {
		all = append(all, o)
	}
	if id == "" {
		return store.Fail("delete", name, errNoVersion)
	}
	i := slices.IndexFunc(all, func(o object) bool { return o.id == id })
	if i < 0 {
		return nil
	}
	if all[i].lock.Holds(s.o.Now()) {
		return store.Fail("delete", name, &store.LockedError{Lock: all[i].lock})
	}
	all = slices.Delete(all, i, i+1)
	delete(s.objects, name)
	delete(s.older, name)
	if n := len(all); n > 0 && !all[n-1].mark {
		s.objects[name] = all[n-1]
		all = all[:n-1]
	}
	if len(all) > 0 {
		s.older[name] = all
	}
	return nil
}
