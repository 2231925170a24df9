package repair_test

import (
	"context"
	"io"

	"firn/internal/store"
)

// strike counts a call, and tells whether it is carried out and whether it is answered.
func (d *dying) strike() (do, answer bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	*d.calls++
	switch {
	case *d.calls < d.at:
		return true, true
	case *d.calls == d.at:
		return d.after, false
	}
	return false, false
}

func (d *dying) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	do, answer := d.strike()
	var err error
	if do {
		err = d.Store.Put(ctx, name, r, size, o)
	}
	if !answer {
		return store.Fail("put", name, d.err)
	}
	return err
}

func (d *dying) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if _, answer := d.strike(); !answer {
		return nil, store.Fail("get", name, d.err)
	}
	return d.Store.Get(ctx, name, off, n)
}

func (d *dying) Delete(ctx context.Context, name string) error {
	do, answer := d.strike()
	var err error
	if do {
		err = d.Store.Delete(ctx, name)
	}
	if !answer {
		return store.Fail("delete", name, d.err)
	}
	return err
}

func (d *dying) Stat(ctx context.Context, name string) (store.Info, error) {
	if _, answer := d.strike(); !answer {
		return store.Info{}, store.Fail("stat", name, d.err)
	}
	return d.Store.Stat(ctx, name)
}

func (d *dying) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if _, answer := d.strike(); !answer {
		return store.Fail("list", prefix, d.err)
	}
	return d.Store.List(ctx, prefix, after, fn)
}
