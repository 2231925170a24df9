package faultstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/storetest"
)

func TestNoFaults(t *testing.T) {
	storetest.Suite{Open: func(*testing.T) store.Store { return New(mem.New(mem.Options{}), 1) }, Objects: 50}.Run(t)
}

func put(s store.Store, name string, content []byte) error {
	return s.Put(context.Background(), name, bytes.NewReader(content), int64(len(content)), store.PutOptions{})
}

func TestFaults(t *testing.T) {
	content := []byte("0123456789")
	for rule, check := range map[string]func(s *Store, base store.Store) string{
		"put * before": func(s *Store, base store.Store) string {
			err := put(s, "new", content)
			_, stat := base.Stat(t.Context(), "new")
			return fmt.Sprint(store.IsTemporary(err), errors.Is(stat, store.ErrNotExist))
		},
		"put * torn": func(s *Store, base store.Store) string {
			err := put(s, "new", content)
			_, stat := base.Stat(t.Context(), "new")
			return fmt.Sprint(store.IsTemporary(err), errors.Is(stat, store.ErrNotExist))
		},
		"put n after": func(s *Store, base store.Store) string {
			err := put(s, "new", content)
			_, stat := base.Stat(t.Context(), "new")
			return fmt.Sprint(store.IsTemporary(err), stat == nil)
		},
		"put * before permanent": func(s *Store, _ store.Store) string {
			err := put(s, "new", content)
			return fmt.Sprint(err != nil && !store.IsTemporary(err), true)
		},
		"get a torn": func(s *Store, _ store.Store) string {
			got, err := storetest.Get(t.Context(), s, "a/1", 0, -1)
			return fmt.Sprint(store.IsTemporary(err), string(got) == "01234")
		},
		"get * short": func(s *Store, _ store.Store) string {
			got, err := storetest.Get(t.Context(), s, "a/1", 2, 4)
			return fmt.Sprint(err == nil, string(got) == "23")
		},
		"get * flip": func(s *Store, _ store.Store) string {
			got, err := storetest.Get(t.Context(), s, "a/1", 0, -1)
			return fmt.Sprint(err == nil, string(got) == "01234%6789")
		},
		"any a missing": func(s *Store, _ store.Store) string {
			_, err := s.Stat(t.Context(), "a/1")
			names, list := storetest.Names(t.Context(), s, "", "")
			return fmt.Sprint(errors.Is(err, store.ErrNotExist), list == nil && slices.Equal(names, []string{"b/1"}))
		},
		"list * torn": func(s *Store, _ store.Store) string {
			names, err := storetest.Names(t.Context(), s, "", "")
			return fmt.Sprint(store.IsTemporary(err), len(names) == 1)
		},
		"list * lag last=2": func(s *Store, _ store.Store) string {
			_ = put(s, "c/1", nil)
			_ = put(s, "c/2", nil)
			names, err := storetest.Names(t.Context(), s, "", "")
			return fmt.Sprint(err == nil, slices.Equal(names, []string{"a/1", "b/1"}))
		},
		"stat * hang delay=1ms": func(s *Store, _ store.Store) string {
			_, err := s.Stat(t.Context(), "a/1")
			return fmt.Sprint(errors.Is(err, store.ErrTimeout), store.IsTemporary(err))
		},
		"stat * hang": func(s *Store, _ store.Store) string {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
			defer cancel()
			_, err := s.Stat(ctx, "a/1")
			return fmt.Sprint(errors.Is(err, context.DeadlineExceeded), true)
		},
		"delete * before nth=2": func(s *Store, _ store.Store) string {
			return fmt.Sprint(s.Delete(t.Context(), "a/1") == nil, s.Delete(t.Context(), "a/1") != nil)
		},
		"stat * before times=1": func(s *Store, _ store.Store) string {
			_, first := s.Stat(t.Context(), "a/1")
			_, second := s.Stat(t.Context(), "a/1")
			return fmt.Sprint(first != nil, second == nil)
		},
	} {
		base := mem.New(mem.Options{})
		storetest.Put(t, base, "a/1", content)
		storetest.Put(t, base, "b/1", content)
		s := New(base, 1, MustParse(rule)...)
		if got := check(s, base); got != "true true" {
			t.Errorf("%s: %s", rule, got)
		}
		if s.Count("") == 0 {
			t.Errorf("%s: no log", rule)
		}
	}
}

// The same seed strikes the same calls, in whatever order goroutines make them.
func TestReplay(t *testing.T) {
	rules := MustParse("put * before p=0.3\nget * torn p=0.2\n# a comment\n")
	run := func(seed uint64) string {
		s := New(mem.New(mem.Options{}), seed, rules...)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				name := fmt.Sprintf("o/%02d", i)
				for put(s, name, []byte("content")) != nil {
				}
				_, _ = storetest.Get(context.Background(), s, name, 0, -1)
			})
		}
		wg.Wait()
		var struck []string
		for _, c := range s.Log() {
			struck = append(struck, c.Op+c.Name+c.Fault)
		}
		slices.Sort(struck)
		return fmt.Sprint(struck)
	}
	first := run(1)
	if first != run(1) {
		t.Error("the same seed gives other faults")
	}
	if first == run(2) {
		t.Error("another seed gives the same faults")
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"put * before", "get data/ torn p=0.5 nth=2 times=1 delay=1s permanent", "list x lag last=3", "# x", "put", "put * slow p=2", "any * flip p=NaN"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := Parse(text)
		if err != nil {
			return
		}
		for _, r := range rules {
			again, err := Parse(r.String())
			if err != nil || len(again) != 1 || again[0].String() != r.String() {
				t.Fatalf("%+v is written %q and read %+v, %v", r, r, again, err)
			}
		}
	})
}
