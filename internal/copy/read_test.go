package copy_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"firn/internal/event"
	"firn/internal/faultstore"
	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// TestReadAlso reads a snapshot of the repository while packs are damaged, missing, cold or out of reach here and there: it is whole as long as one place has each pack.
func TestReadAlso(t *testing.T) {
	w := newWorld(t, repo.InitOptions{}, repo.LikeOptions{})
	var texts []string
	for _, text := range []string{"one", "two", "three", "four"} {
		texts = append(texts, strings.Repeat(text, 10000))
		w.backup(w.access, 1, texts...)
	}
	w.whole()
	packs := append(w.from.names(t, "data/"), w.from.names(t, "meta/")...)
	newest := func(r *repo.Repository) ([]string, error) {
		s, err := r.Load(ctx, w.access.Host.ScopeID, true)
		w.must(err)
		for _, it := range s.Items {
			if it.Sequence == 4 {
				return read(r, s, it)
			}
		}
		t.Fatal("no snapshot")
		return nil, nil
	}
	var mu sync.Mutex
	var notes []string
	open := func(near, far []store.Store) *repo.Repository {
		notes = nil
		r, err := repo.Open(ctx, w.from.st, w.access, repo.Options{Now: w.clock.now, Report: func(e event.Event) {
			if n, ok := e.(event.Note); ok {
				mu.Lock()
				notes = append(notes, n.Text)
				mu.Unlock()
			}
		}})
		w.must(err)
		r.ReadAlso(near, far)
		return r
	}
	gets := func(p *place) *int {
		n := new(int)
		p.set(func(r mem.Request) error {
			if r.Op == "get" && slices.Contains(packs, r.Name) {
				*n++
			}
			return nil
		})
		return n
	}
	here, there := gets(w.from), gets(w.to)
	got, err := newest(open([]store.Store{w.to.st}, nil))
	if err != nil || !slices.Equal(got, texts) || *here != 0 || *there == 0 || len(notes) > 0 {
		t.Errorf("near: %v; read %d here and %d there; %q", err, *here, *there, notes)
	}
	*here, *there = 0, 0
	if got, err = newest(open(nil, []store.Store{w.to.st})); err != nil || !slices.Equal(got, texts) || *here == 0 || *there != 0 {
		t.Errorf("far: %v; read %d here and %d there", err, *here, *there)
	}
	damage := func(p *place, name string, how int) {
		switch raw := slices.Clone(p.object(t, name)); how {
		case 0:
			raw[len(raw)/2] ^= 1
			p.Replace(name, raw)
		case 1:
			w.must(p.Delete(ctx, name))
		case 2:
			p.Reclass(name, "GLACIER")
		case 3:
			p.Replace(name, raw[:len(raw)/2])
		}
	}
	for i, name := range packs {
		damage([]*place{w.from, w.to}[i%2], name, i/2%4)
	}
	for _, near := range []bool{true, false} {
		r := open(nil, []store.Store{w.to.st})
		if near {
			r = open([]store.Store{w.to.st}, nil)
		}
		if got, err := newest(r); err != nil || !slices.Equal(got, texts) {
			t.Errorf("damaged, near %v: %v", near, err)
		}
		if len(notes) == 0 {
			t.Error("nobody was told")
		}
	}
	if !open(nil, []store.Store{w.to.st}).Servable(ctx, packs[0], int64(len(w.to.object(t, packs[0])))) {
		t.Error("the copy has it")
	}

	// A copy that does not answer is asked once.
	silent := faultstore.New(w.to.Store, 1, faultstore.MustParse("any * before permanent")...)
	_, err = newest(open([]store.Store{silent}, nil))
	var broken *repo.DamageError
	if !errors.As(err, &broken) || !strings.Contains(strings.Join(notes, "\n"), "nothing more is read there") {
		t.Errorf("%v, %q", err, notes)
	}
}
