package repo

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"firn/internal/store"
)

// place is a store from which packs are read.
type place struct {
	st   store.Store
	own  bool        // the repository's own
	down atomic.Bool // it did not answer, and is asked no more
}

// places are the stores from which packs are read, those of copies of the repository among them: a pack is the same object everywhere.
type places struct {
	order []*place
	told  sync.Map // what was noted already
}

// ReadAlso makes readers take packs from copies of the repository, too: from near ones rather than from its own store, from far ones where that does not have a pack, has it
// damaged or cold, or does not answer. It is for before the first read. Prefixes and tables come from the repository itself.
func (r *Repository) ReadAlso(near, far []store.Store) {
	p := &places{}
	add := func(own bool, some ...store.Store) {
		for _, st := range some {
			p.order = append(p.order, &place{st: st, own: own})
		}
	}
	add(false, near...)
	add(true, r.st)
	add(false, far...)
	r.copies = p
}

// try calls fn with one place after another until it succeeds. The error is that of the repository's own store.
func (p *places) try(ctx context.Context, r *Repository, name string, fn func(store.Store) error) (own error) {
	for _, at := range p.order {
		if at.down.Load() {
			continue
		}
		err := fn(at.st)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if at.own {
			own = err
		}
		p.note(r, at, name, err)
	}
	return own
}

// note tells why a pack is read elsewhere. A copy need not have it, so that it is missing there, or cold, is no news.
func (p *places) note(r *Repository, at *place, name string, err error) {
	var damage *DamageError
	switch damaged := errors.As(err, &damage); {
	case errors.Is(err, store.ErrNotExist) && !at.own, errors.Is(err, store.ErrCold):
		return
	case !damaged && !at.own:
		if at.down.CompareAndSwap(false, true) {
			r.note("%s: %v; nothing more is read there", at.st.Location(), err)
		}
		return
	}
	if _, told := p.told.LoadOrStore(at.st.Location()+"\x00"+name, true); !told {
		r.note("%s: %v; looking for it elsewhere", at.st.Location(), err)
	}
}

// Servable reports whether a copy that readers also use has an object so that it can be read at once.
func (r *Repository) Servable(ctx context.Context, name string, size int64) bool {
	if r.copies == nil {
		return false
	}
	for _, at := range r.copies.order {
		if at.own || at.down.Load() {
			continue
		}
		info, err := at.st.Stat(ctx, name)
		if err == nil && info.Size == size && (info.Class == "" || readable(ctx, at.st, name)) {
			return true
		}
	}
	return false
}

// readable reads a byte of an object.
func readable(ctx context.Context, st store.Store, name string) bool {
	rc, err := st.Get(ctx, name, 0, 1)
	if err != nil {
		return false
	}
	_ = rc.Close()
	return true
}
