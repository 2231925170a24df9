package mount

import (
	"bytes"
	"context"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/browse"
	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/snapshot"
)

// chunkMap is a store of manifest chunks in memory.
type chunkMap map[digest.Chunk][]byte

func (m chunkMap) get(_ stopper, id digest.Chunk) ([]byte, error) {
	if raw, ok := m[id]; ok {
		return raw, nil
	}
	return nil, &manifest.CorruptError{Chunk: id, Err: fmt.Errorf("no such chunk")}
}

func (m chunkMap) ahead([]digest.Chunk) {}

// build makes a manifest of entries in any order.
func (m chunkMap) build(t testing.TB, entries []manifest.Entry) manifest.Tree {
	t.Helper()
	slices.SortFunc(entries, func(a, b manifest.Entry) int { return manifest.Compare(a.Path, b.Path) })
	h := digest.NewHasher(digest.Key{1})
	seed := maphash.MakeSeed()
	b := manifest.NewBuilder(func(key []byte) uint64 { return maphash.Bytes(seed, key) }, func(content []byte) (digest.Chunk, error) {
		id := h.Sum(content)
		m[id] = bytes.Clone(content)
		return id, nil
	})
	for i := range entries {
		if err := b.Add(&entries[i]); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// synthetic is an FS of one snapshot that lies in no repository.
func synthetic(t testing.TB, chunks chunkMap, tree manifest.Tree) (*FS, *volume) {
	t.Helper()
	o := Options{Refresh: -1, Zone: time.UTC, Report: func(r Report) { t.Log(r.Text) }}
	o.setDefaults()
	f := &FS{o: o, seed: maphash.MakeSeed(), meta: newCache(metaCache), data: newCache(o.Cache), slots: make(chan struct{}, maxReaders), names: newNames(),
		items: map[uint32]snapshot.Item{}, volumes: map[uint32]*volume{}, states: map[keys.ScopeID]*scopeIndex{}, origins: map[originKey]*origin{}}
	f.told.o = &f.o
	f.ctx, f.cancel = context.WithCancel(t.Context())
	t.Cleanup(f.Close)
	s := info(1, "/home/eve", time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	s.Manifest.Chunk, s.Manifest.Level, s.Manifest.Lines, s.Manifest.Bytes = tree.Chunk, tree.Level, tree.Lines, tree.Bytes
	f.shelf = f.names.shelve([]browse.Info{s}, time.UTC)
	slot := f.names.slot(s.ID)
	v := &volume{slot: slot, item: s.Item, chunks: chunks, seed: f.seed}
	f.items[slot], f.volumes[slot] = s.Item, v
	return f, v
}

// info is a snapshot of a source.
func info(n byte, path string, at time.Time) browse.Info {
	return browse.Info{State: browse.StateDone, Item: snapshot.Item{Marked: true, Snapshot: &snapshot.Snapshot{
		ID: snapshot.ID{n, 1, 2, 3, n}, Start: at, Host: "nas", Sequence: uint64(n), Complete: true,
		Source: snapshot.Origin{ID: snapshot.Source{path[len(path)-1]}, Kind: "dir", Path: []byte(path)},
	}}}
}

func entry(kind manifest.Type, path string) manifest.Entry {
	e := manifest.Entry{Path: []byte(path), Type: kind, Mode: 0o644, Mtime: manifest.Time{Sec: int64(len(path)), Nsec: 5}}
	if kind == manifest.Symlink {
		e.Target = []byte("to/" + path)
	}
	return e
}

// forest is a tree with folders of all sizes, and the names in each folder.
func forest(r *rand.Rand, n int) (all []manifest.Entry, inside map[string][]string) {
	inside = map[string][]string{"": nil}
	all = append(all, entry(manifest.Dir, ""))
	dirs := []string{""}
	for i := range n {
		d := dirs[r.IntN(len(dirs))]
		name := fmt.Sprintf("%s%d", strings.Repeat("n", r.IntN(60)), i)
		if i%50 == 0 {
			name += "\xff\n"
		}
		path := name
		if d != "" {
			path = d + "/" + name
		}
		kind := manifest.File
		if r.IntN(20) == 0 {
			kind = manifest.Dir
			dirs = append(dirs, path)
			inside[path] = nil
		}
		inside[d] = append(inside[d], name)
		all = append(all, entry(kind, path))
	}
	for d := range inside {
		slices.Sort(inside[d])
	}
	return all, inside
}

// names lists a folder some names at a time, from a listing of its own for each page where anew is set.
func (f *FS) namesOf(t *testing.T, dir node, page int, anew bool) (names []string, nodes []node) {
	t.Helper()
	d, behind, more := f.list(dir), int64(-1), true
	for more {
		if anew {
			d.close()
			d = f.list(dir)
		}
		more = false
		n := 0
		err := d.from(behind, nil, func(c *child) bool {
			if n == page {
				more = true
				return false
			}
			n++
			names, nodes, behind = append(names, string(c.name)), append(nodes, c.node), c.line
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	d.close()
	return names, nodes
}

// TestListing lists every folder in pages of all sizes, from places that were kept and from those that were not, and finds every name.
func TestListing(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	all, inside := forest(r, 4000)
	chunks := chunkMap{}
	f, v := synthetic(t, chunks, chunks.build(t, all))
	look := look{v, nil}
	for dir, want := range inside {
		n := lineNode(v.slot, -1)
		if dir != "" {
			err := look.byPath([]byte(dir), 0, func(_ *manifest.Entry, line int64) error {
				n = lineNode(v.slot, line)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		got, nodes := f.namesOf(t, n, 1+r.IntN(40), r.IntN(2) == 0)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%q holds %d names, want %d", dir, len(got), len(want))
		}
		for range min(len(nodes), 5) {
			k := r.IntN(len(nodes))
			one, err := look.attributes(nodes[k])
			if err != nil || one.node != nodes[k] || one.time.Nanosecond() != 5 {
				t.Fatalf("node %x: %+v, %v", nodes[k], one, err)
			}
			found, err := look.child(n, want[k])
			if err != nil || found.kind != one.kind && found.node == one.node {
				t.Fatalf("%q in %q: %+v, %v", want[k], dir, found, err)
			}
		}
		if _, err := look.child(n, "not there"); err != errNone {
			t.Fatalf("what is not in %q: %v", dir, err)
		}
	}
}

// TestListingOdd: entries whose folder is not there, a source that is one file, nothing at all.
func TestListingOdd(t *testing.T) {
	for name, c := range map[string]struct {
		entries []manifest.Entry
		want    []string
	}{
		"nothing":    {nil, nil},
		"one file":   {[]manifest.Entry{entry(manifest.File, "db.sql")}, []string{"db.sql"}},
		"no folders": {[]manifest.Entry{entry(manifest.Dir, ""), entry(manifest.File, "a/b/c"), entry(manifest.File, "a/d"), entry(manifest.File, "e")}, []string{"e"}},
		"root only":  {[]manifest.Entry{entry(manifest.Dir, "")}, nil},
	} {
		chunks := chunkMap{}
		f, v := synthetic(t, chunks, chunks.build(t, c.entries))
		got, _ := f.namesOf(t, lineNode(v.slot, -1), 1, true)
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
		root, err := look{v, nil}.root()
		if err != nil || root.kind != manifest.Dir || root.node != lineNode(v.slot, -1) {
			t.Errorf("%s: root %+v, %v", name, root, err)
		}
	}
}

// TestHardLinks: all names of a file are one node, with as many links.
func TestHardLinks(t *testing.T) {
	chunks := chunkMap{}
	var all []manifest.Entry
	all = append(all, entry(manifest.Dir, ""), entry(manifest.File, "a"), entry(manifest.File, "z"))
	for i := range 300 {
		e := entry(manifest.File, fmt.Sprintf("b%03d", i))
		if i%3 > 0 {
			e.Hardlink = fmt.Appendf(nil, "b%03d", i/3*3)
		}
		all = append(all, e)
	}
	f, v := synthetic(t, chunks, chunks.build(t, all))
	l, err := f.read(v.slot, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 300 {
		first, err1 := l.child(lineNode(v.slot, -1), fmt.Sprintf("b%03d", i/3*3))
		c, err2 := l.child(lineNode(v.slot, -1), fmt.Sprintf("b%03d", i))
		if err1 != nil || err2 != nil || c.node != first.node || c.links != 3 {
			t.Fatalf("b%03d: %+v, %v, %v", i, c, err1, err2)
		}
	}
	if c, err := l.child(lineNode(v.slot, -1), "a"); err != nil || c.links != 1 {
		t.Errorf("a: %+v, %v", c, err)
	}
	_, nodes := f.namesOf(t, lineNode(v.slot, -1), 7, false)
	slices.Sort(nodes)
	if got := len(slices.Compact(nodes)); got != 102 {
		t.Errorf("%d nodes, want 102", got)
	}
}

// TestDamagedManifest: what cannot be read fails, and what lies beside it does not.
func TestDamagedManifest(t *testing.T) {
	chunks := chunkMap{}
	var all []manifest.Entry
	all = append(all, entry(manifest.Dir, ""))
	for d := range 40 {
		all = append(all, entry(manifest.Dir, fmt.Sprintf("d%02d", d)))
		for i := range 200 {
			all = append(all, entry(manifest.File, fmt.Sprintf("d%02d/%s%d", d, strings.Repeat("x", 50), i)))
		}
	}
	tree := chunks.build(t, all)
	for id, raw := range chunks {
		if bytes.Contains(raw, []byte(`"d20/`)) && bytes.Contains(raw, []byte(`"type"`)) {
			delete(chunks, id)
		}
	}
	f, v := synthetic(t, chunks, tree)
	if _, err := f.read(v.slot, nil); err != nil {
		t.Fatal(err) // counting goes on behind it
	}
	bad, good := 0, 0
	for d := range 40 {
		c, err := look{v, nil}.child(lineNode(v.slot, -1), fmt.Sprintf("d%02d", d))
		if err != nil {
			bad++
			continue
		}
		if err := f.list(c.node).from(-1, nil, func(*child) bool { return true }); err != nil {
			bad++
			if kindOf(err) != isBroken {
				t.Errorf("kind %d of %v", kindOf(err), err)
			}
			continue
		}
		good++
	}
	if bad == 0 || good < 30 {
		t.Errorf("%d folders can be listed, %d cannot", good, bad)
	}
}

// BenchmarkListing lists a tree of folders with 500 files each, as ls -lR does, without a kernel in between.
func BenchmarkListing(b *testing.B) {
	chunks := chunkMap{}
	var all []manifest.Entry
	all = append(all, entry(manifest.Dir, ""))
	for d := range 200 {
		all = append(all, entry(manifest.Dir, fmt.Sprintf("folder-%05d", d)))
		for i := range 500 {
			e := entry(manifest.File, fmt.Sprintf("folder-%05d/photograph-%05d.jpg", d, i))
			e.Size, e.Hash, e.Content = 5, manifest.Hash{1}, []manifest.Piece{{Chunk: digest.Chunk{1}, Offset: uint32(i * 5), Length: 5}}
			all = append(all, e)
		}
	}
	f, v := synthetic(b, chunks, chunks.build(b, all))
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		var below func(dir node)
		below = func(dir node) {
			var dirs []node
			d := f.list(dir)
			err := d.from(-1, nil, func(c *child) bool {
				n++
				if c.kind == manifest.Dir {
					dirs = append(dirs, c.node)
				}
				return true
			})
			if err != nil {
				b.Fatal(err)
			}
			d.close()
			for _, n := range dirs {
				below(n)
			}
		}
		below(lineNode(v.slot, -1))
		if n != len(all)-1 {
			b.Fatalf("%d entries", n)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(all))/b.Elapsed().Seconds(), "entries/s")
}
