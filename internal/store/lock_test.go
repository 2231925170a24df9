package store

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestLockRule(t *testing.T) {
	made := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rule LockRule
		want time.Time
	}{
		{LockRule{}, time.Time{}}, {LockRule{Enabled: true}, time.Time{}}, {LockRule{Mode: Compliance, Days: 3}, time.Time{}},
		{LockRule{Enabled: true, Mode: Governance, Days: 30}, made.AddDate(0, 0, 30)}, {LockRule{Enabled: true, Mode: Compliance, Years: 2}, made.AddDate(2, 0, 0)},
	} {
		if got := c.rule.Until(made); !got.Equal(c.want) {
			t.Errorf("%+v: %v, want %v", c.rule, got, c.want)
		}
	}
	for l, want := range map[Lock]bool{{}: false, {Mode: Governance, Until: made.Add(1)}: true, {Mode: Governance, Until: made}: false, {Hold: true}: true, {Until: made.Add(1)}: false} {
		if l.Holds(made) != want {
			t.Errorf("%+v", l)
		}
	}
	var err error = Fail("delete", "a", &LockedError{Lock{Mode: Compliance, Until: made}})
	if !errors.Is(err, ErrLocked) || IsTemporary(err) || err.Error() != "delete a: object is locked until 2026-01-31T12:00:00Z (COMPLIANCE)" {
		t.Error(err)
	}
}

// torn is a Versioner whose listings break off after so many versions, again and again.
type torn struct {
	Store
	all   []Version
	after int
	tries int
}

type passing struct{ error }

func (passing) Temporary() bool { return true }

func (s *torn) Keeping(context.Context) (Keeping, error)                    { return KeepsVersions, nil }
func (s *torn) DeleteVersion(context.Context, string, string) error         { return nil }
func (s *torn) Repeat(_ context.Context, _, _ string, f func() error) error { return again(f, 100) }

func again(f func() error, times int) (err error) {
	for range times {
		if err = f(); err == nil || !IsTemporary(err) {
			return err
		}
	}
	return err
}

func (s *torn) ListVersions(_ context.Context, _, after string, fn func(Version) error) error {
	s.tries++
	n := 0
	for _, v := range s.all {
		if v.Name <= after {
			continue
		}
		if n++; n > s.after {
			return passing{errors.New("broken off")}
		}
		if err := fn(v); err != nil {
			return err
		}
	}
	return nil
}

func TestEachVersion(t *testing.T) {
	var all []Version
	for _, name := range []string{"a", "b", "c", "d"} {
		for _, id := range []string{"3", "2", "1"}[:1+len(all)%3] {
			all = append(all, Version{Info: Info{Name: name}, ID: id})
		}
	}
	for after := 4; after < 9; after++ {
		s := &torn{all: all, after: after}
		var got []Version
		err := EachVersion(t.Context(), s, s, "", func(v Version) error { got = append(got, v); return nil })
		if err != nil || !slices.Equal(got, all) {
			t.Errorf("after %d: %v, %+v", after, err, got)
		}
	}
	s := &torn{all: all, after: 100}
	mine, seen := passing{errors.New("mine")}, 0
	err := EachVersion(t.Context(), s, s, "", func(Version) error { seen++; return mine })
	if err != mine || seen != 1 || s.tries != 1 {
		t.Errorf("%v after %d versions and %d listings", err, seen, s.tries)
	}
}
