package repair_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repair"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

var ctx = context.Background()

// clock ticks a second whenever it is asked.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(time.Second)
	return c.at
}

func (c *clock) Now() time.Time { return c.now() }

func (c *clock) Sleep(_ context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
	return nil
}

// world is a small repository in memory.
type world struct {
	t      testing.TB
	clock  *clock
	mem    *mem.Store
	access repo.Access
	dir    string
	texts  map[snapshot.ID][][]byte // content of the files of each snapshot
	items  []snapshot.Item
}

const phrase = "correct horse battery staple"

func newWorld(t testing.TB, class string, parity int) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: time.Date(2026, 11, 20, 7, 0, 0, 0, time.UTC)}, dir: filepath.Join(t.TempDir(), "aside"), texts: map[snapshot.ID][][]byte{}}
	w.mem = mem.New(mem.Options{Now: w.clock.now})
	pass, err := keys.Passphrase([]byte(phrase), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(ctx, w.mem, repo.InitOptions{Keys: []repo.NewKey{{Label: "mine", Recipient: pass}}, HostName: "nas", Now: w.clock.now,
		DataClass: class, Parity: format.Parity{Data: parity, Meta: parity}})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// backup stores files, each in a chunk of its own, in packs of about size bytes, and a done snapshot of them.
func (w *world) backup(st store.Store, size int64, files ...[]byte) snapshot.Item {
	w.t.Helper()
	r, err := repo.Open(ctx, st, w.access, repo.Options{Now: w.clock.now})
	w.must(err)
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	out, err := r.NewWriter(ctx, s, repo.WriterOptions{Lanes: 1, PackSize: size})
	w.must(err)
	hash := digest.NewHasher(r.Host().Scope().ChunkKey(0))
	put := func(kind chunk.Kind, raw []byte) (digest.Chunk, error) {
		id := hash.Sum(raw)
		_, err := out.Put(0, kind, id, raw)
		if err == nil {
			err = out.Reference(id, kind)
		}
		return id, err
	}
	tree := manifest.NewBuilder(cdc.NewTable(r.Host().Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) { return put(chunk.Meta, raw) })
	for i, content := range files {
		id, err := put(chunk.Data, content)
		w.must(err)
		w.must(tree.Add(&manifest.Entry{Path: fmt.Appendf(nil, "f%03d", i), Mode: 0o644, Size: int64(len(content)), Content: []manifest.Piece{{Chunk: id, Length: int64(len(content))}}}))
	}
	named, err := tree.Finish()
	w.must(err)
	w.must(out.SendPacks(ctx))
	now := w.clock.now()
	random := hash.Sum([]byte(now.String()))
	snap := &snapshot.Snapshot{ID: snapshot.ID(random[:16]), Start: now, End: now, Host: "nas", HostID: [16]byte(r.Host().Host),
		Source: snapshot.Origin{ID: snapshot.Source{1}, Kind: "dir", Path: []byte("/")}, Scope: s.ID(), Sequence: 1, Complete: true, Manifest: snapshot.Tree(named)}
	for _, it := range s.Items {
		if it.Sequence >= snap.Sequence {
			snap.Sequence, snap.Previous = it.Sequence+1, &snapshot.Link{ID: it.ID, Sum: it.Sum}
		}
	}
	item, err := out.Publish(ctx, snap)
	w.must(err)
	w.must(out.Confirm(ctx, item))
	w.texts[snap.ID] = slices.Clone(files)
	w.items = append(w.items, item)
	return item
}

// options are those of a repair over st.
func (w *world) options(st store.Store) repair.Options {
	w.t.Helper()
	r, err := repo.Open(ctx, st, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.now})
	w.must(err)
	return repair.Options{Repo: r, Dir: w.dir, Now: w.clock.now, Workers: 1}
}

// repair examines and repairs until the end.
func (w *world) repair(st store.Store, change func(*repair.Options)) (*repair.Plan, *repair.Result) {
	w.t.Helper()
	o := w.options(st)
	if change != nil {
		change(&o)
	}
	p, err := repair.Examine(ctx, o)
	w.must(err)
	res, err := repair.Run(ctx, o, p, nil)
	w.must(err)
	return p, res
}

// readable returns every file that can be read, by snapshot and number. It fails the test where one has other content than it should.
func (w *world) readable(st store.Store) map[string]bool {
	w.t.Helper()
	out := map[string]bool{}
	r, err := repo.Open(ctx, st, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.now})
	if err != nil {
		return out
	}
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	for _, it := range s.Items {
		cache, err := r.NewChunkCache(ctx, s, 0, 1, 1<<20)
		w.must(err)
		entries := manifest.NewReader(manifest.Source{Get: cache.Get}, repo.TreeOf(it.Snapshot)).EntriesPast(nil, func(manifest.Gap) bool { return true })
		for entries.Next() {
			e, err := entries.Entry()
			w.must(err)
			raw, err := cache.Get(e.Content[0].Chunk)
			if err != nil {
				continue
			}
			var n int
			_, _ = fmt.Sscanf(string(e.Path), "f%03d", &n)
			if want := w.texts[it.ID][n]; !bytes.Equal(raw, want) {
				w.t.Errorf("snapshot %v, %s: wrong content", it.ID, e.Path)
			}
			out[fmt.Sprintf("%v %s", it.ID, e.Path)] = true
		}
		cache.Close()
	}
	return out
}

// names lists objects below a prefix that end so.
func (w *world) names(prefix, suffix string) (out []string) {
	w.t.Helper()
	w.must(w.mem.List(ctx, prefix, "", func(i store.Info) error {
		if strings.HasSuffix(i.Name, suffix) && (suffix != "" || !strings.HasSuffix(i.Name, ".par2")) {
			out = append(out, i.Name)
		}
		return nil
	}))
	return out
}

func get(t testing.TB, st store.Store, name string) []byte {
	t.Helper()
	rc, err := st.Get(ctx, name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(rc)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// all is every object with its content.
func (w *world) all() map[string][]byte {
	out := map[string][]byte{}
	for _, n := range append(w.names("", ""), w.names("", ".par2")...) {
		out[n] = get(w.t, w.mem, n)
	}
	return out
}

func random(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 77))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// flip damages n bytes of an object at off.
func (w *world) flip(name string, off, n int) {
	raw := get(w.t, w.mem, name)
	for i := off; i < min(off+n, len(raw)); i++ {
		raw[i] ^= 0x5a
	}
	w.mem.Replace(name, raw)
}

func (w *world) expectSame(before map[string][]byte, except ...string) {
	w.t.Helper()
	after := w.all()
	for name, raw := range before {
		if !bytes.Equal(after[name], raw) && !slices.ContainsFunc(except, func(p string) bool { return strings.HasPrefix(name, p) }) {
			w.t.Errorf("%s is not what it was", name)
		}
	}
}

func outcomes(res *repair.Result) string {
	var out []string
	for _, s := range res.Steps {
		out = append(out, fmt.Sprintf("%s %s %s %v", s.Remedy, s.Outcome, s.Object, s.Err))
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}
