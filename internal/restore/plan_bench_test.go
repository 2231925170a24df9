package restore_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/local"
)

// bigWorld is a repository whose manifest is real and whose packs of content stand in the index only.
type bigWorld struct {
	repo  *repo.Repository
	scope *repo.ScopeState
	snap  *snapshot.Snapshot
	files int
	names []string // of some packs
}

// newBigWorld makes a snapshot of files in perPack chunks a pack; every tenth file is in another place than its neighbours.
func newBigWorld(t testing.TB, files, packs int) *bigWorld {
	t.Helper()
	ctx, dir := context.Background(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	st, err := local.Open(filepath.Join(dir, "repo"), local.Options{NoSync: true})
	must(err)
	maker, _ := store.As[store.Maker](st)
	must(maker.Make(ctx))
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	must(err)
	access, err := repo.Init(ctx, st, repo.InitOptions{Keys: []repo.NewKey{{Label: "p", Recipient: pass}}, HostName: "nas", Chunk: &format.Chunk{Min: 64 << 10, Avg: 128 << 10, Max: 512 << 10}})
	must(err)
	b := &bigWorld{files: files}
	b.repo, err = repo.Open(ctx, st, access, repo.Options{IndexDir: filepath.Join(dir, "index")})
	must(err)
	b.scope, err = b.repo.Load(ctx, access.Host.ScopeID, true)
	must(err)
	out, err := b.repo.NewWriter(ctx, b.scope, repo.WriterOptions{Lanes: 1})
	must(err)
	hash := digest.NewHasher(access.Host.Scope().ChunkKey(0))
	tree := manifest.NewBuilder(cdc.NewTable(access.Host.Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) {
		id := hash.Sum(raw)
		_, err := out.Put(0, chunk.Meta, id, raw)
		return id, err
	})
	r := rand.New(rand.NewPCG(1, 2))
	per := files / packs
	must(tree.Add(&manifest.Entry{Type: manifest.Dir, Mode: 0o755}))
	for i := range files {
		d := []byte(fmt.Sprintf("folder-%05d", i/100))
		if i%100 == 0 {
			must(tree.Add(&manifest.Entry{Path: d, Type: manifest.Dir, Mode: 0o755, Mtime: manifest.Time{Sec: 1.7e9}}))
		}
		c := i
		if i%10 == 0 {
			c = r.IntN(files)
		}
		size := int64(100<<10 + r.IntN(100<<10))
		must(tree.Add(&manifest.Entry{
			Path: fmt.Appendf(d, "/file-%06d.jpeg", i), Mode: 0o644, UID: 1000, GID: 1000, User: "someone", Group: "users", Size: size,
			Mtime: manifest.Time{Sec: 1.7e9 + int64(i), Nsec: int32(r.IntN(1e9))}, Hash: manifest.ShortHash(bigID(i)),
			Content: []manifest.Piece{{Chunk: bigID(c), Length: size}},
		}))
	}
	named, err := tree.Finish()
	must(err)
	must(out.SendPacks(ctx))
	b.snap = &snapshot.Snapshot{Manifest: snapshot.Tree(named)}
	for i := range packs {
		p := &index.Pack{Size: 64 << 20, Birth: time.Unix(1.7e9, 0), Class: "DEEP_ARCHIVE", Prefix: make([]byte, 184), Name: digest.Object(bigID(-1 - i))}
		for k := range per {
			p.Chunks = append(p.Chunks, chunk.Ref{ID: bigID(i*per + k), Frame: 200_000, Raw: 256 << 10})
		}
		_, err := b.scope.Set().Add(p, [16]byte{7})
		must(err)
		info := index.Info{Pack: *p}
		b.names = append(b.names, repo.PackName(b.scope, &info))
	}
	b.spill(t, filepath.Join(dir, "table"))
	return b
}

// spill puts what is known into a table on the disk, as a host has it.
func (b *bigWorld) spill(t testing.TB, path string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(path)
	must(err)
	t.Cleanup(func() { _ = f.Close() })
	w := bufio.NewWriterSize(f, 1<<20)
	sp, err := b.scope.Set().Spill(w, nil)
	must(err)
	must(w.Flush())
	table, err := index.OpenTable(f, sp.Size)
	must(err)
	must(b.scope.Set().Attach(table, sp))
}

func bigID(i int) (id digest.Chunk) {
	r := rand.NewPCG(uint64(i), 42)
	for k := 0; k < 32; k += 8 {
		binary.LittleEndian.PutUint64(id[k:], r.Uint64())
	}
	return id
}

// peak returns what fn takes of memory at most, in bytes, with what was held before; 0 where the system does not tell.
func peak(fn func()) uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		fn()
		return 0
	}
	fn()
	raw, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(raw), "VmHWM:")
	kib, _ := strconv.ParseUint(strings.Fields(rest + " 0")[0], 10, 64)
	return kib << 10
}

// BenchmarkPlan plans the restore of FIRN_PLAN_FILES files (default 20,000; 1,000,000 is what the package aims at) in a tenth as many packs.
func BenchmarkPlan(b *testing.B) {
	w := newBigWorld(b, bigFiles(), bigFiles()/10)
	for b.Loop() {
		var n *restore.Needs
		var err error
		most := peak(func() {
			n, err = restore.Plan(context.Background(), restore.Options{Repo: w.repo, Scope: w.scope, Snapshot: w.snap})
		})
		if err != nil || n.Files != int64(w.files) {
			b.Fatal(n, err)
		}
		b.ReportMetric(float64(most)/1e6, "peak-MB")
		b.ReportMetric(float64(len(n.Packs)), "packs")
	}
}

func bigFiles() int {
	if n, _ := strconv.Atoi(os.Getenv("FIRN_PLAN_FILES")); n > 0 {
		return n
	}
	return 20_000
}

// BenchmarkPass walks through a restore of FIRN_PLAN_FILES files for a pass that brings none of them.
func BenchmarkPass(b *testing.B) {
	w := newBigWorld(b, bigFiles(), bigFiles()/10)
	ctx := context.Background()
	o := restore.Options{Repo: w.repo, Scope: w.scope, Snapshot: w.snap, Target: filepath.Join(b.TempDir(), "out")}
	plan, err := restore.Plan(ctx, o)
	if err != nil {
		b.Fatal(err)
	}
	if o.Passes, err = restore.OpenPasses(nil, "", &o, plan); err != nil {
		b.Fatal(err)
	}
	if _, err := restore.Run(ctx, o); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		most := peak(func() {
			res, err := restore.Run(ctx, o)
			if err != nil || res.Files > 0 {
				b.Fatal(res, err)
			}
		})
		b.ReportMetric(float64(most)/1e6, "peak-MB")
	}
}
