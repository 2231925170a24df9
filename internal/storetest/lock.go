package storetest

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"firn/internal/store"
)

// LockSuite is the contract of store.Locker and store.Versioner, and of what store.Purger makes of them, as a test suite.
type LockSuite struct {
	// Open returns an empty store, which the suite closes, that keeps versions and can lock, and a func that moves the clock of what keeps its objects; nil where
	// nobody can.
	Open func(t *testing.T) (s store.Store, advance func(time.Duration))
	// SetRule makes the store lock new objects, as its owner would.
	SetRule func(t *testing.T, s store.Store, rule store.LockRule)
	// Plain returns an empty store that keeps no versions and cannot lock; nil: not tested.
	Plain func(t *testing.T) store.Store

	Class     string // one that objects can be moved to; empty: not tested
	NoAgain   bool   // the server is known not to create what is hidden behind a mark of deletion, which Amazon's does
	RuleApart bool   // the server is known not to tell of an object that the rule for new ones locks it
}

// lockStore is a store under test with its powers.
type lockStore struct {
	store.Store
	l       store.Locker
	v       store.Versioner
	advance func(time.Duration)
}

// Run runs the suite.
func (u LockSuite) Run(t *testing.T) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *lockStore)
	}{
		{"Versions", u.versions}, {"DeleteVersion", u.deleteVersion}, {"CreateAgain", u.createAgain}, {"ListVersions", u.listVersions}, {"Extend", u.extend},
		{"Expire", u.expire}, {"Rule", u.rule}, {"Purge", u.purge}, {"PurgeLocked", u.purgeLocked}, {"Move", u.move},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, advance := u.Open(t)
			defer closing(t, s)
			c.test(t, lockPowers(t, s, advance))
		})
	}
	if u.Plain != nil {
		t.Run("Plain", u.plain)
	}
}

func closing(t *testing.T, s store.Store) {
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func lockPowers(t *testing.T, s store.Store, advance func(time.Duration)) *lockStore {
	t.Helper()
	l, locks := store.As[store.Locker](s)
	v, versions := store.As[store.Versioner](s)
	if !locks || !versions {
		t.Fatalf("%s is a Locker: %v, a Versioner: %v", s.Location(), locks, versions)
	}
	return &lockStore{s, l, v, advance}
}

// shown lists versions as "name", with "!" before marks and "*" before what is latest.
func (s *lockStore) shown(t *testing.T, prefix, after string) (shown []string, all []store.Version) {
	t.Helper()
	err := s.v.ListVersions(t.Context(), prefix, after, func(v store.Version) error {
		text := v.Name
		if v.Mark {
			text = "!" + text
		} else if v.Size != int64(len(v.Name)) {
			t.Errorf("%+v", v)
		}
		if v.Latest {
			text = "*" + text
		}
		if v.ID == "" || v.Modified.IsZero() {
			t.Errorf("%+v", v)
		}
		shown, all = append(shown, text), append(all, v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return shown, all
}

func (s *lockStore) expect(t *testing.T, prefix string, want ...string) []store.Version {
	t.Helper()
	shown, all := s.shown(t, prefix, "")
	if !slices.Equal(shown, want) {
		t.Fatalf("versions of %q: %q, want %q", prefix, shown, want)
	}
	return all
}

func (s *lockStore) put(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		Put(t, s, name, []byte(name))
	}
}

func (s *lockStore) remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := s.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
}

func (s *lockStore) gone(t *testing.T, name string, want bool) {
	t.Helper()
	_, stat := s.Stat(t.Context(), name)
	_, get := Get(t.Context(), s, name, 0, -1)
	names, err := Names(t.Context(), s, name, "")
	if errors.Is(stat, store.ErrNotExist) != want || errors.Is(get, store.ErrNotExist) != want || err != nil || slices.Contains(names, name) == want {
		t.Fatalf("%s: stat %v, get %v, list %q, %v", name, stat, get, names, err)
	}
}

func (u LockSuite) versions(t *testing.T, s *lockStore) {
	if k, err := s.v.Keeping(t.Context()); err != nil || k != store.KeepsVersions {
		t.Errorf("keeping: %v, %v", k, err)
	}
	s.put(t, "a/x", "a/y")
	s.expect(t, "", "*a/x", "*a/y")
	s.remove(t, "a/x")
	s.gone(t, "a/x", true)
	all := s.expect(t, "", "*!a/x", "a/x", "*a/y")
	if all[0].ID == all[1].ID {
		t.Error("two versions of one id")
	}
	s.remove(t, "never")
	s.gone(t, "never", true)
}

func (u LockSuite) deleteVersion(t *testing.T, s *lockStore) {
	s.put(t, "x", "y")
	s.remove(t, "x")
	all := s.expect(t, "x", "*!x", "x")
	remove := func(v store.Version) {
		t.Helper()
		if err := s.v.DeleteVersion(t.Context(), v.Name, v.ID); err != nil {
			t.Fatal(err)
		}
	}
	remove(all[0]) // the mark: the object is back
	s.gone(t, "x", false)
	s.expect(t, "x", "*x")
	s.remove(t, "x")
	again := s.expect(t, "x", "*!x", "x")
	remove(again[1])
	remove(again[1]) // nothing to do
	s.gone(t, "x", true)
	remove(again[0])
	s.expect(t, "x")
	s.gone(t, "y", false)
	if err := s.v.DeleteVersion(t.Context(), "y", ""); err == nil {
		t.Error("a version without an id")
	}
	s.gone(t, "y", false)
}

// createAgain: what is hidden behind a mark is not there, for who creates.
func (u LockSuite) createAgain(t *testing.T, s *lockStore) {
	s.put(t, "x")
	if err := put(t.Context(), s, "x", []byte("x")); !errors.Is(err, store.ErrExist) {
		t.Errorf("a second put: %v", err)
	}
	for n := range 3 {
		s.remove(t, "x")
		s.gone(t, "x", true)
		if u.NoAgain {
			if err := put(t.Context(), s, "x", []byte("x")); err == nil || errors.Is(err, store.ErrExist) || store.IsTemporary(err) {
				t.Errorf("put of what is hidden: %v", err)
			}
			return
		}
		s.put(t, "x")
		s.gone(t, "x", false)
		if _, all := s.shown(t, "x", ""); len(all) != 2*n+3 {
			t.Errorf("%d versions after %d rounds", len(all), n+1)
		}
		if err := put(t.Context(), s, "x", []byte("x")); !errors.Is(err, store.ErrExist) {
			t.Errorf("a second put: %v", err)
		}
	}
}

func (u LockSuite) listVersions(t *testing.T, s *lockStore) {
	var want []string
	for i := range 9 {
		name := fmt.Sprintf("d/%d", i)
		s.put(t, name)
		line := []string{"*" + name}
		for range i % 3 {
			s.remove(t, name)
			if line = append([]string{"*!" + name, name}, line[1:]...); i%2 == 0 && !u.NoAgain {
				s.put(t, name)
				line = append([]string{"*" + name, "!" + name}, line[1:]...)
			}
		}
		want = append(want, line...)
	}
	shown, _ := s.shown(t, "d/", "")
	if len(shown) != len(want) {
		t.Fatalf("%q, want %q", shown, want)
	}
	for i, text := range shown { // of what was made within a second nobody knows which is older
		if text[0] == '*' != (want[i][0] == '*') || text[len(text)-3:] != want[i][len(want[i])-3:] {
			t.Errorf("%q at %d, want %q", text, i, want[i])
		}
	}
	after, _ := s.shown(t, "d/", "d/4")
	if i := len(shown) - len(after); i < 0 || !slices.Equal(after, shown[i:]) || after[0] != shown[i] || after[0][len(after[0])-1] != '5' {
		t.Errorf("after d/4: %q", after)
	}
	stop, seen := errors.New("enough"), 0
	if err := s.v.ListVersions(t.Context(), "d/", "", func(store.Version) error { seen++; return stop }); err != stop || seen != 1 {
		t.Errorf("%v after %d", err, seen)
	}
	if one, _ := s.shown(t, "d/4", ""); len(one) == 0 || one[0][len(one[0])-1] != '4' {
		t.Errorf("%q", one)
	}
}

const day = 24 * time.Hour

// lock extends a lock and compares what it is then.
func (s *lockStore) lock(t *testing.T, name string, mode store.LockMode, until time.Time, want store.Lock) {
	t.Helper()
	got, err := s.l.Extend(t.Context(), name, mode, until)
	have, failed := s.l.LockOf(t.Context(), name)
	if err != nil || failed != nil || got != have || got.Mode != want.Mode || !got.Until.Equal(want.Until) {
		t.Fatalf("%s until %v: %+v, %v; it is %+v, %v; want %+v", mode, until, got, err, have, failed, want)
	}
}

// now is a whole second, by the store's clock.
func (s *lockStore) now(t *testing.T) time.Time {
	t.Helper()
	s.put(t, "clock")
	info, err := s.Stat(t.Context(), "clock")
	if err != nil {
		t.Fatal(err)
	}
	return info.Modified.UTC().Truncate(time.Second)
}

func (u LockSuite) extend(t *testing.T, s *lockStore) {
	now := s.now(t)
	s.put(t, "g", "c")
	if l, err := s.l.LockOf(t.Context(), "g"); err != nil || l != (store.Lock{}) {
		t.Errorf("%+v, %v", l, err)
	}
	g := func(days int) store.Lock {
		return store.Lock{Mode: store.Governance, Until: now.Add(time.Duration(days) * day)}
	}
	c := func(days int) store.Lock {
		return store.Lock{Mode: store.Compliance, Until: now.Add(time.Duration(days) * day)}
	}
	s.lock(t, "g", store.Governance, g(3).Until, g(3))
	s.lock(t, "g", store.Governance, g(2).Until, g(3)) // never shorter
	s.lock(t, "g", store.Governance, g(3).Until, g(3))
	s.lock(t, "g", store.Governance, g(4).Until.Add(-time.Millisecond), g(4))
	s.lock(t, "c", store.Compliance, c(5).Until, c(5))
	s.lock(t, "c", store.Compliance, c(2).Until, c(5))
	s.lock(t, "c", store.Governance, g(4).Until, c(5)) // nor softer
	s.lock(t, "c", store.Governance, g(6).Until, c(6))
	if l, err := s.l.Extend(t.Context(), "g", store.Compliance, c(7).Until); err != nil || !l.Until.Equal(c(7).Until) {
		t.Errorf("harder: %+v, %v", l, err)
	}
	if _, err := s.l.Extend(t.Context(), "g", "", c(8).Until); err == nil {
		t.Error("a lock without a mode")
	}
	if _, err := s.l.Extend(t.Context(), "nothing", store.Governance, c(8).Until); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	if _, err := s.l.LockOf(t.Context(), "nothing"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("of nothing: %v", err)
	}
	for _, name := range []string{"g", "c"} {
		_, all := s.shown(t, name, "")
		err := s.v.DeleteVersion(t.Context(), name, all[0].ID)
		var locked *store.LockedError
		if !errors.As(err, &locked) || !locked.Lock.Until.After(now.Add(5*day)) || store.IsTemporary(err) {
			t.Errorf("%s is removed: %v", name, err)
		}
		s.gone(t, name, false)
	}
}

// expire: a lock that is over does not bind any more, and can begin anew.
func (u LockSuite) expire(t *testing.T, s *lockStore) {
	if s.advance == nil {
		t.Skip("nobody moves the store's clock")
	}
	now := s.now(t)
	s.put(t, "x", "y")
	for _, name := range []string{"x", "y"} {
		s.lock(t, name, store.Compliance, now.Add(2*day), store.Lock{Mode: store.Compliance, Until: now.Add(2 * day)})
	}
	s.advance(3 * day)
	if l, err := s.l.LockOf(t.Context(), "x"); err != nil || l.Holds(now.Add(3*day)) {
		t.Errorf("%+v, %v", l, err)
	}
	s.lock(t, "y", store.Governance, now.Add(9*day), store.Lock{Mode: store.Governance, Until: now.Add(9 * day)})
	_, all := s.shown(t, "x", "")
	if err := s.v.DeleteVersion(t.Context(), "x", all[0].ID); err != nil {
		t.Error(err)
	}
	s.expect(t, "x")
}

func (u LockSuite) rule(t *testing.T, s *lockStore) {
	r, err := s.l.LockRule(t.Context())
	if want := (store.LockRule{Enabled: true}); err != nil || r != want {
		t.Errorf("%+v, %v", r, err)
	}
	now := s.now(t)
	for i, want := range []store.LockRule{{Enabled: true, Mode: store.Governance, Days: 3}, {Enabled: true, Mode: store.Compliance, Years: 1}} {
		u.SetRule(t, s.Store, want)
		if r, err = s.l.LockRule(t.Context()); err != nil || r != want {
			t.Errorf("%+v, %v", r, err)
		}
		name := fmt.Sprint("n", i)
		s.put(t, name)
		l, err := s.l.LockOf(t.Context(), name)
		if u.RuleApart {
			l = store.Lock{Mode: want.Mode, Until: want.Until(now)}
		}
		if off := l.Until.Sub(want.Until(now)); err != nil || l.Mode != want.Mode || off < -time.Minute || off > 10*time.Minute {
			t.Errorf("a new object: %+v, %v", l, err)
		}
	}
}

func (u LockSuite) purge(t *testing.T, s *lockStore) {
	p, err := store.NewPurger(t.Context(), s.Store)
	if err != nil || p.Keeping() != store.KeepsVersions {
		t.Fatal(p.Keeping(), err)
	}
	purge := func(name string) {
		t.Helper()
		if err := p.Purge(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	s.put(t, "x", "x.par2", "x0", "y")
	purge("x")
	s.expect(t, "", "*x.par2", "*x0", "*y")
	purge("x")
	purge("never")
	s.remove(t, "y")
	purge("y")
	s.expect(t, "", "*x.par2", "*x0")
	s.put(t, "y")
	s.remove(t, "y")
	if !u.NoAgain {
		s.put(t, "y")
	}
	purge("y")
	s.expect(t, "", "*x.par2", "*x0")
	s.put(t, "y")
	s.expect(t, "y", "*y")
}

func (u LockSuite) purgeLocked(t *testing.T, s *lockStore) {
	now := s.now(t)
	s.put(t, "x")
	s.lock(t, "x", store.Governance, now.Add(2*day), store.Lock{Mode: store.Governance, Until: now.Add(2 * day)})
	p, err := store.NewPurger(t.Context(), s.Store)
	if err != nil {
		t.Fatal(err)
	}
	refused := func() {
		t.Helper()
		err := p.Purge(t.Context(), "x")
		var locked *store.LockedError
		if !errors.As(err, &locked) || !locked.Lock.Until.Equal(now.Add(2*day)) || locked.Lock.Mode != store.Governance {
			t.Errorf("%v", err)
		}
	}
	refused()
	s.gone(t, "x", false)
	s.expect(t, "x", "*x")
	err = s.Delete(t.Context(), "x") // a mark can be made of what is locked, but not with every server
	if err != nil && !errors.Is(err, store.ErrLocked) {
		t.Error(err)
	}
	s.gone(t, "x", err == nil)
	refused()
	if s.advance == nil {
		return
	}
	s.advance(2*day + time.Minute)
	if err := p.Purge(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	s.expect(t, "x")
}

// move: an object that is moved leaves nothing behind, unless it is locked, and takes its lock along.
func (u LockSuite) move(t *testing.T, s *lockStore) {
	mover, ok := store.As[store.Mover](s.Store)
	if !ok || u.Class == "" {
		t.Skip("it has no classes")
	}
	now := s.now(t)
	s.put(t, "free", "locked")
	want := store.Lock{Mode: store.Governance, Until: now.Add(3 * day)}
	s.lock(t, "locked", store.Governance, want.Until, want)
	for _, name := range []string{"free", "locked"} {
		if err := mover.Move(t.Context(), name, u.Class); err != nil {
			t.Fatal(err)
		}
		if info, err := s.Stat(t.Context(), name); err != nil || info.Class != u.Class {
			t.Errorf("%+v, %v", info, err)
		}
	}
	s.expect(t, "free", "*free")
	s.expect(t, "locked", "*locked", "locked")
	if l, err := s.l.LockOf(t.Context(), "locked"); err != nil || l != want {
		t.Errorf("%+v, %v", l, err)
	}
}

func (u LockSuite) plain(t *testing.T) {
	st := u.Plain(t)
	defer closing(t, st)
	s := lockPowers(t, st, nil)
	if r, err := s.l.LockRule(t.Context()); err != nil && !errors.Is(err, store.ErrUnsupported) || r.Enabled {
		t.Errorf("%+v, %v", r, err)
	}
	if k, err := s.v.Keeping(t.Context()); err != nil && !errors.Is(err, store.ErrUnsupported) || k != store.KeepsNothing {
		t.Errorf("%v, %v", k, err)
	}
	s.put(t, "x")
	if _, err := s.l.Extend(t.Context(), "x", store.Governance, time.Now().Add(day)); !errors.Is(err, store.ErrUnsupported) {
		t.Errorf("extend: %v", err)
	}
	if l, err := s.l.LockOf(t.Context(), "x"); err != nil || l != (store.Lock{}) {
		t.Errorf("%+v, %v", l, err)
	}
	p, err := store.NewPurger(t.Context(), s.Store)
	if err != nil || p.Keeping() != store.KeepsNothing {
		t.Fatal(p, err)
	}
	if err := p.Purge(t.Context(), "x"); err != nil {
		t.Error(err)
	}
	s.gone(t, "x", true)
}
