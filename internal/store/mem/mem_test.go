package mem

import (
	"errors"
	"testing"
	"time"

	"firn/internal/store"
)

func TestCrash(t *testing.T) {
	now := time.Unix(1000, 0)
	s := New(Options{Now: func() time.Time { return now }})
	put := func(s *Store, name string) store.Pending {
		p, err := s.Create(t.Context(), store.PutOptions{Class: "COLD"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte(name)); err != nil {
			t.Fatal(err)
		}
		return p
	}
	if err := put(s, "a").Commit(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	pending := put(s, "b")
	r, err := s.Get(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	next := s.Crash()
	if err := pending.Commit(t.Context(), "b"); !errors.Is(err, ErrCrashed) {
		t.Errorf("commit: %v", err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, ErrCrashed) {
		t.Errorf("read: %v", err)
	}
	if _, err := s.Stat(t.Context(), "a"); !errors.Is(err, ErrCrashed) {
		t.Errorf("stat: %v", err)
	}
	info, err := next.Stat(t.Context(), "a")
	if n, size := next.Len(); err != nil || n != 1 || size != 1 || !info.Modified.Equal(now) || info.Class != "COLD" {
		t.Errorf("%d objects, %+v, %v", n, info, err)
	}
	next.Replace("a", []byte("other"))
	if _, size := next.Len(); size != 5 {
		t.Errorf("%d bytes", size)
	}
}
