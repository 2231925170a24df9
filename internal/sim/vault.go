package sim

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"firn/internal/store"
	"firn/internal/store/mem"
)

// vault is a store in memory that also remembers what it was given, so that the judge reads what is cold, and the provider can take time back.
type vault struct {
	*mem.Store
	clock *clock

	mu      sync.Mutex
	raw     map[string][]byte    // what lies there now; content is never changed in place
	born    map[string]time.Time // when
	fresh   []string             // put since the judge has looked
	changes int                  // counts what was put and deleted
}

func newVault(c *clock) *vault {
	return &vault{Store: mem.New(mem.Options{Now: c.Now}), clock: c, raw: map[string][]byte{}, born: map[string]time.Time{}}
}

func (v *vault) keep(name string, raw []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.raw[name], v.born[name] = raw, v.clock.Now()
	v.fresh = append(v.fresh, name)
	v.changes++
}

// Put implements store.Store.
func (v *vault) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	raw, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return err
	}
	if err := v.Store.Put(ctx, name, bytes.NewReader(raw), size, o); err != nil {
		return err
	}
	v.keep(name, raw)
	return nil
}

// Create implements store.Creator.
func (v *vault) Create(ctx context.Context, o store.PutOptions) (store.Pending, error) {
	p, err := v.Store.Create(ctx, o)
	if err != nil {
		return nil, err
	}
	return &pending{Pending: p, v: v}, nil
}

type pending struct {
	store.Pending
	v   *vault
	raw []byte
}

func (p *pending) Write(b []byte) (int, error) {
	n, err := p.Pending.Write(b)
	p.raw = append(p.raw, b[:n]...)
	return n, err
}

func (p *pending) Commit(ctx context.Context, name string) error {
	err := p.Pending.Commit(ctx, name)
	if err == nil {
		p.v.keep(name, p.raw)
	}
	return err
}

// Delete implements store.Store.
func (v *vault) Delete(ctx context.Context, name string) error {
	if err := v.Store.Delete(ctx, name); err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.raw, name)
	delete(v.born, name)
	v.changes++
	return nil
}

// decay changes an object behind everybody's back; nil: it is gone.
func (v *vault) decay(name string, content []byte) {
	if content == nil {
		_ = v.Delete(context.Background(), name) // in memory
		return
	}
	v.Replace(name, content)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.raw[name] = content
	v.changes++
}

func (v *vault) changed() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.changes
}

// has returns an object as it lies there, nil if it does not.
func (v *vault) has(name string) []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.raw[name]
}

// names lists what begins with a prefix, in order.
func (v *vault) names(prefix string) (out []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(v.raw)) {
		if len(name) >= len(prefix) && name[:len(prefix)] == prefix {
			out = append(out, name)
		}
	}
	return out
}

// all is a picture of what lies there.
func (v *vault) all() map[string][]byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Clone(v.raw)
}

// takeFresh returns what was put since it was called last.
func (v *vault) takeFresh() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	fresh := v.fresh
	v.fresh = nil
	return fresh
}

// peephole is the vault for the judge, who reads what is cold as if it were not.
type peephole struct {
	store.Store
	v *vault
}

func (p peephole) Get(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	raw := p.v.has(name)
	if raw == nil {
		return nil, store.Fail("get", name, store.ErrNotExist)
	}
	n, err := store.Clip(int64(len(raw)), offset, length)
	if err != nil {
		return nil, store.Fail("get", name, err)
	}
	return io.NopCloser(bytes.NewReader(raw[offset : offset+n])), nil
}
