package wire

import (
	"context"
	"io"

	"firn/internal/store"
)

// Pretending returns a store that shows what s has, and on which nothing changes: what is put is read and dropped, what is deleted stays.
func Pretending(s store.Store) store.Store { return &pretended{s} }

// pretended deliberately is no store.Wrapper: a Creator behind it would write, a Thawer or a Mover cost money.
type pretended struct{ s store.Store }

// Put implements store.Store: it reads what would be stored.
func (p *pretended) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, _ store.PutOptions) error {
	if !store.ValidName(name) {
		return store.Fail("put", name, store.ErrName)
	}
	_, err := r.Seek(0, io.SeekStart)
	var n int64
	if err == nil {
		n, err = io.Copy(io.Discard, r)
	}
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err == nil {
		err = ctx.Err()
	}
	return store.Fail("put", name, err)
}

// Get implements store.Store.
func (p *pretended) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	return p.s.Get(ctx, name, offset, length)
}

// List implements store.Store.
func (p *pretended) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return p.s.List(ctx, prefix, after, fn)
}

// Stat implements store.Store.
func (p *pretended) Stat(ctx context.Context, name string) (store.Info, error) {
	return p.s.Stat(ctx, name)
}

// Delete implements store.Store.
func (p *pretended) Delete(ctx context.Context, _ string) error { return ctx.Err() }

// Location implements store.Store.
func (p *pretended) Location() string { return p.s.Location() }

// Close implements store.Store.
func (p *pretended) Close() error { return p.s.Close() }
