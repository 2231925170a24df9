package backup_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// verify reads a snapshot back and compares it with the folder: every path, type and content.
func (w *world) verify(snap *snapshot.Snapshot) {
	w.t.Helper()
	want := map[string]bool{}
	err := filepath.WalkDir(w.src, func(path string, _ fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(w.src, path)
		if rel == "." {
			rel = ""
		}
		want[rel] = true
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.read(snap, func(e *manifest.Entry, content []byte) {
		if !want[string(e.Path)] {
			w.t.Errorf("%q is in the snapshot and not in the folder", e.Path)
		}
		delete(want, string(e.Path))
		path := filepath.Join(w.src, string(e.Path))
		st, err := os.Lstat(path)
		if err != nil {
			w.t.Fatal(err)
		}
		if st.IsDir() != (e.Type == manifest.Dir) || st.ModTime().Unix() != e.Mtime.Sec || int32(st.ModTime().Nanosecond()) != e.Mtime.Nsec {
			w.t.Errorf("%q: wrong type or time", e.Path)
		}
		if e.Type == manifest.File && len(e.Hardlink) == 0 {
			disk, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(disk, content) {
				w.t.Errorf("%q: content of %d bytes differs from %d on disk (%v)", e.Path, len(content), len(disk), err)
			}
		}
	})
	for path := range want {
		w.t.Errorf("%q is missing from the snapshot", path)
	}
}

// read calls fn for each entry of a snapshot with its content.
func (w *world) read(snap *snapshot.Snapshot, fn func(*manifest.Entry, []byte)) {
	w.t.Helper()
	ctx := context.Background()
	r, s := w.open()
	cache, err := r.NewChunkCache(ctx, s, snap.Epoch, 2, 8<<20)
	if err != nil {
		w.t.Fatal(err)
	}
	src := manifest.Source{Get: cache.Get, Prefetch: cache.Prefetch}
	m := manifest.NewReader(src, repo.TreeOf(snap))
	err = m.Walk(nil, func(e *manifest.Entry) error {
		var content []byte
		for p := m.Pieces(e); p.Next(); {
			piece := p.Piece()
			if piece.IsHole() {
				content = append(content, make([]byte, piece.Length)...)
				continue
			}
			raw, err := cache.Get(piece.Chunk)
			if err != nil {
				return fmt.Errorf("%q: %w", e.Path, err)
			}
			content = append(content, raw[piece.Offset:int64(piece.Offset)+piece.Length]...)
		}
		if int64(len(content)) != e.Size && len(e.Hardlink) == 0 {
			return fmt.Errorf("%q: %d bytes of %d", e.Path, len(content), e.Size)
		}
		fn(e, content)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// grow fills the source with a random tree: many small files, some equal, some large ones.
func (w *world) grow(seed uint64, files int) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range files {
		size := rng.IntN(3000)
		switch rng.IntN(20) {
		case 0:
			size = 0
		case 1:
			size = 600<<10 + rng.IntN(4<<20)
		}
		content := make([]byte, size)
		if rng.IntN(4) == 0 {
			for j := range content {
				content[j] = byte(i % 7)
			}
		} else {
			for j := range content {
				content[j] = byte(rng.Uint32())
			}
		}
		w.write(fmt.Sprintf("d%d/e%d/f%d", rng.IntN(5), rng.IntN(3), i), string(content))
	}
}

func TestVerifyRandomTrees(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t)
		w.grow(seed, 150)
		w.settle()
		w.verify(w.backup().Snapshot)
		w.grow(seed+100, 40)
		w.settle()
		res := w.backup()
		if res.Snapshot.Stats.FilesUnchanged == 0 {
			t.Errorf("seed %d: nothing was taken over", seed)
		}
		w.verify(res.Snapshot)
		w.verify(w.backup().Snapshot)
	}
}
