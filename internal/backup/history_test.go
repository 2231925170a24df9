package backup_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"firn/internal/backup"
	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/local"
)

// notes collects what the user is told.
func (w *world) notes() *[]string {
	var mu sync.Mutex
	var out []string
	w.opts = func(o *backup.Options) {
		o.Report = func(e event.Event) {
			if n, ok := e.(event.Note); ok {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, n.Text)
			}
		}
	}
	return &out
}

func TestLostCacheReadsManifestAndNoFile(t *testing.T) {
	w := newWorld(t)
	w.grow(3, 80)
	w.settle()
	w.backup()
	if err := os.RemoveAll(w.dirs.Cache); err != nil {
		t.Fatal(err)
	}
	res := w.backup()
	if res.Snapshot.Stats.BytesRead != 0 || res.Snapshot.Stats.FilesUnchanged != 80 {
		t.Fatalf("%+v", res.Snapshot.Stats)
	}
	w.verify(res.Snapshot)
}

func TestWriteOnlyHostWithLostCache(t *testing.T) {
	w := newWorld(t)
	w.grow(3, 80)
	w.settle()
	w.access.Secrets, w.t = nil, t
	keep := w.access
	w.backup()
	if err := os.RemoveAll(w.dirs.Cache); err != nil {
		t.Fatal(err)
	}
	res := w.backup()
	if s := res.Snapshot.Stats; s.BytesRead == 0 || s.BytesAdded != 0 {
		t.Fatalf("everything is to be read and nothing to be sent: %+v", s)
	}
	if keep.Secrets != nil {
		t.Fatal("the test lost its point")
	}
}

func TestFullOpensAnEpoch(t *testing.T) {
	w := newWorld(t)
	w.grow(4, 60)
	w.settle()
	first := w.backup()
	w.opts = func(o *backup.Options) { o.Full = true }
	full := w.backup()
	w.opts = nil
	if full.Snapshot.Epoch != first.Snapshot.Epoch+1 || full.Snapshot.Stats.BytesAdded == 0 || full.Snapshot.Sequence != 2 {
		t.Fatalf("%+v", full.Snapshot)
	}
	_, s := w.open()
	old := map[digest.Object]bool{}
	for _, n := range w.packs(s, first.Snapshot) {
		old[n] = true
	}
	for _, n := range w.packs(s, full.Snapshot) {
		if old[n] {
			t.Fatal("the full depends on an older pack")
		}
	}
	w.verify(full.Snapshot)
	if next := w.backup(); !next.Unchanged || next.Snapshot.Epoch != full.Snapshot.Epoch {
		t.Fatalf("%+v", next.Snapshot)
	}
}

type packNamer interface {
	PackNames(context.Context, *snapshot.Snapshot) ([]digest.Object, error)
}

func (w *world) packs(s packNamer, snap *snapshot.Snapshot) []digest.Object {
	names, err := s.PackNames(context.Background(), snap)
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

// TestRolledBackStore puts an older copy of the repository back.
func TestRolledBackStore(t *testing.T) {
	w := newWorld(t)
	w.write("a", "1")
	w.settle()
	w.backup()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(w.root)); err != nil {
		t.Fatal(err)
	}
	w.write("a", "22")
	w.settle()
	second := w.backup()
	entries, err := os.ReadDir(w.root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(w.root, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(w.root, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	notes := w.notes()
	res := w.backup()
	if res.Snapshot.Sequence != second.Snapshot.Sequence+1 {
		t.Errorf("sequence %d after %d", res.Snapshot.Sequence, second.Snapshot.Sequence)
	}
	if !strings.Contains(strings.Join(*notes, "\n"), "rolled back") {
		t.Errorf("not told: %q", *notes)
	}
	w.verify(res.Snapshot)
}

// TestEmptiedStoreIsFilledAgain takes everything but the keys away: the files are read and sent again.
func TestEmptiedStoreIsFilledAgain(t *testing.T) {
	w := newWorld(t)
	w.grow(5, 40)
	w.settle()
	w.backup()
	for _, dir := range []string{"data", "meta", "index", "packset", "snapshots"} {
		if err := os.RemoveAll(filepath.Join(w.root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	res := w.backup()
	if res.Snapshot.Stats.BytesAdded == 0 {
		t.Fatal("nothing was sent again")
	}
	w.verify(res.Snapshot)
}

func TestRenameCarriesHistory(t *testing.T) {
	w := newWorld(t)
	w.grow(6, 50)
	w.settle()
	first := w.backup()
	moved := w.src + "-moved"
	if err := os.Rename(w.src, moved); err != nil {
		t.Fatal(err)
	}
	from := first.Snapshot.Source.ID
	w.src = moved
	var renamed *snapshot.Snapshot
	run := w.rename(from)
	renamed = run
	if renamed.Sequence != 2 || renamed.Renamed != from {
		t.Fatalf("%+v", renamed)
	}
	res := w.backup()
	// The moved folder itself has another ctime; no file has.
	if res.Snapshot.Stats.BytesRead != 0 || res.Snapshot.Stats.FilesUnchanged != 50 || res.Snapshot.Sequence != 3 {
		t.Fatalf("%+v", res.Snapshot.Stats)
	}
	w.verify(res.Snapshot)
}

func TestCancelledRunLeavesPartial(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(7, 7))
	for i := range 1000 {
		content := make([]byte, 20<<10)
		for j := range content {
			content[j] = byte(rng.Uint32())
		}
		w.write(fmt.Sprintf("d%d/f%d", i%10, i), string(content))
	}
	w.settle()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	st, err := local.Open(w.root, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.st = &cancelling{Store: st, cancel: cancel}
	w.opts = func(o *backup.Options) { o.PackSize, o.Workers, o.FlushPacks = 1<<20, 1, 1 } // a pack is sent long before the last file is met
	res, err := w.try(ctx)
	if !errors.Is(err, context.Canceled) || res == nil || !res.Partial {
		t.Fatalf("%v, %v", res, err)
	}
	w.st = st
	count := 0
	w.read(res.Snapshot, func(*manifest.Entry, []byte) { count++ })
	if count == 0 {
		t.Error("the partial snapshot is empty")
	}
	again := w.backup()
	w.verify(again.Snapshot)
	if s := again.Snapshot.Stats; s.FilesUnchanged == 0 {
		t.Errorf("nothing of the partial run was taken over: %+v", s)
	}
	w.checkScope(again.Snapshot.ID)
}

// cancelling ends the run once a snapshot is stored, the first partial one.
type cancelling struct {
	store.Store
	cancel func()
}

func (c *cancelling) Create(ctx context.Context, o store.PutOptions) (store.Pending, error) {
	return c.Store.(store.Creator).Create(ctx, o)
}

func (c *cancelling) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	err := c.Store.Put(ctx, name, r, size, o)
	if strings.HasPrefix(name, "snapshots/") {
		c.cancel()
	}
	return err
}
