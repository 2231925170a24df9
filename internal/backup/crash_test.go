package backup_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/chunk"
	"firn/internal/format"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
)

// dying is a store that fails every call after some number of writes, like a process that was killed: the last write may have happened or not.
type dying struct {
	store.Store
	left  atomic.Int64
	after bool // the write at which it dies happens
}

var errDead = errors.New("store is dead")

func (d *dying) write(do func() error) error {
	n := d.left.Add(-1)
	if n < 0 || n == 0 && !d.after {
		return errDead
	}
	err := do()
	if n == 0 {
		return errDead
	}
	return err
}

func (d *dying) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	return d.write(func() error { return d.Store.Put(ctx, name, r, size, o) })
}

func (d *dying) Delete(ctx context.Context, name string) error {
	return d.write(func() error { return d.Store.Delete(ctx, name) })
}

func (d *dying) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if d.left.Load() <= 0 {
		return nil, errDead
	}
	return d.Store.Get(ctx, name, off, n)
}

func (d *dying) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if d.left.Load() <= 0 {
		return errDead
	}
	return d.Store.List(ctx, prefix, after, fn)
}

func (d *dying) Stat(ctx context.Context, name string) (store.Info, error) {
	if d.left.Load() <= 0 {
		return store.Info{}, errDead
	}
	return d.Store.Stat(ctx, name)
}

// TestDieAtEveryWrite lets the store die at each write of a backup in turn. Whatever happened, the snapshots that are done restore, and the same
// backup run again ends, sends no pack twice, and restores. Packs are held in memory, or streamed into the spool, which must be empty in the end. With parity every pack has its
// recovery volume then, too.
func TestDieAtEveryWrite(t *testing.T) {
	t.Run("memory", func(t *testing.T) { dieAtEveryWrite(t, 0, format.Parity{}) })
	t.Run("memory, parity", func(t *testing.T) { dieAtEveryWrite(t, 0, format.Parity{Data: 5, Meta: 10}) })
	t.Run("streams, parity", func(t *testing.T) { dieAtEveryWrite(t, 1, format.Parity{Data: 5, Meta: 10}) })
}

func dieAtEveryWrite(t *testing.T, streams int64, parity format.Parity) {
	for i, after := range []bool{false, true} {
		start, step := int64(1), int64(1)
		if testing.Short() {
			start, step = int64(1+i), 4 // other writes after than before
		}
		if parity.Data > 0 && streams == 0 && !after {
			continue // it takes long
		}
		for n := start; ; n += step {
			w := newWorld(t, repo.InitOptions{Parity: parity})
			w.opts = func(o *backup.Options) {
				o.PackSize, o.FlushPacks, o.FlushAfter, o.Streams = 1<<20, 2, time.Hour, streams
			}
			w.grow(1, 60)
			w.settle()
			first := w.backup()
			w.grow(2, 60)
			w.settle()
			healthy := w.st
			d := &dying{Store: healthy, after: after}
			d.left.Store(n)
			w.st = d
			res, err := w.try(context.Background())
			w.st = healthy
			if err == nil {
				if n < 8 {
					t.Fatalf("only %d writes in a whole backup", n)
				}
				w.verify(res.Snapshot)
				break
			}
			if !errors.Is(err, errDead) {
				t.Fatalf("write %d: %v", n, err)
			}
			again := w.backup()
			w.verify(again.Snapshot)
			w.spoolIsEmpty()
			w.checkScope(first.Snapshot.ID, again.Snapshot.ID)
			w.checkVolumes(chunk.Data, parity.Data > 0)
			w.checkVolumes(chunk.Meta, parity.Meta > 0)
			if last := w.backup(); !last.Unchanged {
				t.Errorf("write %d: a third backup found changes", n)
			}
		}
	}
}

// TestSpoolAwaitsReady: what an interrupted run has left in the spool is not sent either before the run may store anything.
func TestSpoolAwaitsReady(t *testing.T) {
	w := newWorld(t)
	mayStore := true
	wrong := errors.New("wrong passphrase")
	w.opts = func(o *backup.Options) {
		o.PackSize, o.FlushPacks, o.FlushAfter, o.Streams, o.Grace = 1<<20, 2, time.Hour, 1, time.Second
		o.Ready = func(context.Context) error {
			if mayStore {
				return nil
			}
			return wrong
		}
	}
	w.grow(1, 60)
	w.settle()
	healthy := w.st
	d := &dying{Store: healthy}
	d.left.Store(1)
	w.st = d
	if _, err := w.try(t.Context()); !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	w.st = healthy
	kept, err := state.Open(w.dirs, w.access.Host.Repository, nil).Spool().List()
	if err != nil || len(kept) == 0 {
		t.Fatalf("spool holds %v, %v", kept, err)
	}
	mayStore = false
	writes := &dying{Store: healthy}
	writes.left.Store(1000)
	w.st = writes
	if _, err := w.try(t.Context()); !errors.Is(err, wrong) || writes.left.Load() != 1000 {
		t.Fatalf("%d writes, %v", 1000-writes.left.Load(), err)
	}
	mayStore, w.st = true, healthy
	res := w.backup()
	if res.Resumed != len(kept) {
		t.Errorf("%d packs taken up of %d", res.Resumed, len(kept))
	}
	w.verify(res.Snapshot)
	w.spoolIsEmpty()
}

// spoolIsEmpty makes sure that nothing waits any more.
func (w *world) spoolIsEmpty() {
	w.t.Helper()
	left, err := state.Open(w.dirs, w.access.Host.Repository, nil).Spool().List()
	if err != nil || len(left) > 0 {
		w.t.Errorf("spool holds %v, %v", left, err)
	}
}

// checkScope makes sure that the given snapshots are done, and that every open one is voided or confirmed.
func (w *world) checkScope(ids ...snapshot.ID) {
	w.t.Helper()
	_, s := w.open()
	voided := snapshot.Voided(s.Items)
	done := map[snapshot.ID]bool{}
	for _, it := range s.Items {
		switch it.Status() {
		case snapshot.IsDone:
			done[it.ID] = true
		default:
			if _, ok := voided[it.ID]; !ok {
				w.t.Errorf("snapshot %v is open and nothing voids it", it.ID)
			}
		}
	}
	for _, id := range ids {
		if !done[id] {
			w.t.Errorf("snapshot %v is not done", id)
		}
	}
	if len(s.Damaged) > 0 {
		w.t.Error(s.Damaged)
	}
}
