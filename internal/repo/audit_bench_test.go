package repo_test

import (
	"fmt"
	"runtime"
	"testing"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// wide makes a done snapshot of n small files, of which every changed-th has other content than in the snapshot of another round; a chunk has a hundred files.
func (w *world) wide(n, changed, round int) {
	w.t.Helper()
	r := w.open(w.access)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	b := w.begin(r, s, repo.WriterOptions{})
	tree := manifest.NewBuilder(cdc.NewTable(b.host.Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) {
		id, err := b.put(chunk.Meta, raw)
		if err == nil {
			err = b.out.Reference(id, chunk.Meta)
		}
		return id, err
	})
	chunkOf := func(text string) digest.Chunk {
		id, err := b.put(chunk.Data, []byte(text))
		w.must(err)
		w.must(b.out.Reference(id, chunk.Data))
		return id
	}
	var bundle digest.Chunk
	for i := range n {
		if i%100 == 0 {
			bundle = chunkOf(fmt.Sprintf("bundle %d", i))
		}
		piece := manifest.Piece{Chunk: bundle, Offset: uint32(i % 100), Length: 1}
		if changed > 0 && i%changed == 0 {
			piece = manifest.Piece{Chunk: chunkOf(fmt.Sprintf("file %d of round %d", i, round)), Length: 1}
		}
		w.must(tree.Add(&manifest.Entry{Path: []byte(fmt.Sprintf("d%04d/sub/file-%07d.txt", i/1000, i)), Mode: 0o644, UID: 1000, GID: 1000, User: "eve", Group: "eve",
			Mtime: manifest.Time{Sec: 1_700_000_000 + int64(i), Nsec: int32(i)}, Size: 1, Hash: manifest.ShortHash(piece.Chunk), Content: []manifest.Piece{piece}}))
	}
	named, err := tree.Finish()
	w.must(err)
	w.must(b.out.SendPacks(ctx))
	snap := b.snapshot(true)
	snap.Manifest = snapshot.Tree(named)
	item, err := b.out.Publish(ctx, snap)
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
}

// BenchmarkAudit reads the manifests of three snapshots of many files, 1 % of which differ.
func BenchmarkAudit(b *testing.B) {
	const files = 200_000
	w := newWorld(b, repo.InitOptions{})
	for i := range 3 {
		w.wide(files, 100, i)
	}
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		x, err := repo.OpenAudit(ctx, w.st, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.now, IndexDir: b.TempDir()})
		w.must(err)
		w.must(x.Load(ctx))
		w.must(x.Packs())
		w.must(x.Manifests(ctx))
		if all := x.Findings(); len(all) > 0 {
			b.Fatal(all)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-kept")
		runtime.KeepAlive(x)
	}
	b.ReportMetric(float64(files)*float64(b.N)/b.Elapsed().Seconds(), "files/s")
}
