package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"firn/internal/chunk"
	"firn/internal/format"
	"firn/internal/index"
	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
)

// cut is a store to which the line drops behind some number of objects of content, and which counts how often packs of content are read.
type cut struct {
	store.Store
	left atomic.Int64
	gets atomic.Int64
}

func (c *cut) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if strings.HasPrefix(name, "data/") && c.left.Add(-1) < 0 {
		return fmt.Errorf("%w: %w", errDown, store.ErrTimeout)
	}
	return c.Store.Put(ctx, name, r, size, o)
}

func (c *cut) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, "data/") {
		c.gets.Add(1)
	}
	return c.Store.Get(ctx, name, off, n)
}

// TestVolumeAgain drops the line before a pack of content or behind it, and loses the volume that the spool has kept, or tears it. The next run stores what is whole, and makes
// the volume once more where the pack is at hand: in the spool, or in the store's usual class. Nothing is put again, and what is cold is not read.
func TestVolumeAgain(t *testing.T) {
	for _, c := range []struct {
		name         string
		sent         int64 // objects that get through
		class        string
		lose         func(path string) error
		volume, read bool
	}{
		{"none through, volume kept", 0, "COLD", nil, true, false},
		{"none through, volume torn", 0, "COLD", func(path string) error { return os.Truncate(path, 1000) }, true, false},
		{"none through, volume lost", 0, "COLD", os.Remove, true, false},
		{"pack through, volume kept", 1, "COLD", nil, true, false},
		{"pack through, volume torn, cold", 1, "COLD", func(path string) error { return os.Truncate(path, 1000) }, false, false},
		{"pack through, volume lost, cold", 1, "COLD", os.Remove, false, false},
		{"pack through, volume lost, at hand", 1, "", os.Remove, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, repo.InitOptions{Parity: format.Parity{Data: 5, Meta: 10}, DataClass: c.class})
			line := &cut{Store: w.st}
			line.left.Store(c.sent)
			w.st = line
			dirs := state.Dirs{Cache: t.TempDir(), State: t.TempDir()}
			spool := state.Open(dirs, w.access.Secrets.Repository, nil).Spool()
			log := &journal{}
			begin := func() *run {
				r, err := repo.Open(ctx, w.st, w.access, repo.Options{Now: w.clock.now, Spool: spool})
				w.must(err)
				return w.begin(r, w.load(r), repo.WriterOptions{PackSize: 40 << 20, Journal: log})
			}
			b := begin()
			_, err := b.put(chunk.Data, []byte(noise(1, 1<<20)))
			w.must(err)
			if err := b.out.SendPacks(ctx); !errors.Is(err, errDown) {
				t.Fatalf("first run: %v", err)
			}
			b.out.Abort()
			if c.lose != nil {
				kept, err := filepath.Glob(filepath.Join(dirs.Cache, "*", "spool", "*.par2"))
				if err != nil || len(kept) != 1 {
					t.Fatalf("%q, %v", kept, err)
				}
				w.must(c.lose(kept[0]))
			}
			line.left.Store(1000)
			b = begin()
			if n, err := b.out.Adopt(ctx, log.records); err != nil || n != 1 {
				t.Fatalf("%d packs taken up, %v", n, err)
			}
			if read := line.gets.Load() > 0; read != c.read {
				t.Errorf("read from the store: %v", read)
			}
			item, err := b.out.Publish(ctx, b.snapshot(true, noise(1, 1<<20)))
			w.must(err)
			w.must(b.out.Confirm(ctx, item))
			if added, _, _ := b.out.Counts(); added != 0 {
				t.Errorf("%d bytes were put again", added)
			}
			if left, _ := spool.List(); len(left) > 0 {
				t.Errorf("spool still holds %v", left)
			}
			w.indexedVolumes(c.volume)
		})
	}
}

// indexedVolumes wants each pack of content to have a volume, or none, in the store and in the index alike.
func (w *world) indexedVolumes(want bool) {
	w.t.Helper()
	s := w.load(w.open(w.access))
	w.must(s.Set().EachPack(func(info *index.Info, _ bool) error {
		if info.Kind != chunk.Data {
			return nil
		}
		got, err := w.st.Stat(ctx, repo.PackName(s, info)+".par2")
		if (info.Par2 != nil) != want || (err == nil) != want || want && (got.Size != info.Par2.Size || got.Class != info.Class) {
			w.t.Errorf("%v: volume %+v; in the store %+v, %v", info.Name, info.Par2, got, err)
		}
		return nil
	}))
}
