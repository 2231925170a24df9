package copy

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"firn/internal/format"
	"firn/internal/repo"
	"firn/internal/store"
)

// Branch is a copy of the repository that gets new packs while a backup sends them.
type Branch struct {
	Store  store.Store
	Config *format.Config // of the copy: its classes, and whether it wants recovery volumes

	failed atomic.Pointer[error]
}

// Err returns why packs go there no more; nil: they do.
func (b *Branch) Err() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Tee returns a store that is s, and that also puts every pack which it takes into the branches, so that a copy after the backup need not read it again: from a cold class it could not. What
// goes wrong with a branch ends it, is told by note and by Branch.Err, and is no error of the Put. Packs that a store takes as streams (store.Creator: a folder, which is cheap to
// read again) do not come by here.
func Tee(s store.Store, note func(b *Branch, err error), branches ...*Branch) store.Store {
	return &tee{s, branches, note}
}

type tee struct {
	store.Store
	branches []*Branch
	note     func(b *Branch, err error)
}

// Unwrap implements store.Wrapper.
func (t *tee) Unwrap() store.Store { return t.Store }

// Put implements store.Store.
func (t *tee) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	err := t.Store.Put(ctx, name, r, size, o)
	if err != nil && !errors.Is(err, store.ErrExist) {
		return err
	}
	for _, b := range t.branches {
		class, wanted := b.takes(name)
		if !wanted || b.Err() != nil {
			continue
		}
		_, failed := r.Seek(0, io.SeekStart)
		if failed == nil {
			failed = b.Store.Put(ctx, name, r, size, store.PutOptions{Sum: o.Sum, Class: class})
		}
		if failed != nil && !errors.Is(failed, store.ErrExist) && b.failed.CompareAndSwap(nil, &failed) {
			t.note(b, failed)
		}
	}
	return err
}

// takes reports whether an object is one that a branch wants, and in which class.
func (b *Branch) takes(name string) (class string, wanted bool) {
	o, ok := repo.ParseName(name)
	data, meta := strings.HasPrefix(name, "data/"), strings.HasPrefix(name, "meta/")
	if !ok || !data && !meta {
		return "", false
	}
	class, parity := b.Config.Class.Meta, b.Config.Parity.Meta
	if data {
		class, parity = b.Config.Class.Data, b.Config.Parity.Data
	}
	return class, !o.Volume || parity > 0
}
