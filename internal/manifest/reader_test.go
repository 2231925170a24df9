package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"firn/internal/cdc"
	"firn/internal/digest"
)

// gear is the hash of FORMAT §7.3 under a table of the tests.
var gear = func() func([]byte) uint64 {
	r := rand.New(rand.NewPCG(7, 7))
	b := make([]byte, 2048)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return cdc.NewTable(b).Hash
}()

// chunks is a store of chunks that counts.
type chunks struct {
	m     map[digest.Chunk][]byte
	reads map[digest.Chunk]int
	h     *digest.Hasher
}

func newChunks() *chunks {
	return &chunks{m: map[digest.Chunk][]byte{}, reads: map[digest.Chunk]int{}, h: digest.NewHasher(digest.Key{1})}
}

func (c *chunks) sink(content []byte) (digest.Chunk, error) {
	id := c.h.Sum(content)
	if _, ok := c.m[id]; !ok {
		c.m[id] = bytes.Clone(content)
	}
	return id, nil
}

func (c *chunks) source() Source {
	return Source{Get: func(id digest.Chunk) ([]byte, error) {
		c.reads[id]++
		if b, ok := c.m[id]; ok {
			return b, nil
		}
		return nil, fmt.Errorf("no chunk %s", id)
	}}
}

func randomChunk(r *rand.Rand) (id digest.Chunk) {
	for i := range id {
		id[i] = byte(r.Uint32() | 1)
	}
	return id
}

// randomEntry returns an entry of any type.
func randomEntry(r *rand.Rand, path []byte) *Entry {
	e := &Entry{Path: path, Mode: r.Uint32N(0o10000), UID: r.Int64N(3) - 1, GID: r.Int64N(2000), Mtime: Time{r.Int64N(4e9) - 2e9, r.Int32N(1e9)}}
	if r.IntN(2) == 0 {
		e.User, e.Group = fmt.Sprint("user", r.IntN(3)), "staff"
	}
	if r.IntN(8) == 0 {
		e.Xattrs = []Xattr{{"user.a", []byte("x")}, {"user.b", make([]byte, r.IntN(100))}}[r.IntN(2):]
	}
	switch e.Type = Type(r.IntN(40)); e.Type {
	case Dir, FIFO, Socket:
	case Symlink:
		e.Target = []byte("to/somewhere")
	case Char, Block:
		e.Major, e.Minor = r.Uint32(), r.Uint32N(256)
	default:
		e.Type = File
		for range r.IntN(4) {
			p := Piece{Length: 1 + r.Int64N(1e6)}
			if r.IntN(5) > 0 {
				p.Chunk, p.Offset = randomChunk(r), r.Uint32N(1e6)
			}
			e.Content = append(e.Content, p)
			e.Size += p.Length
		}
		if e.Size > 0 {
			e.Hash = ShortHash(randomChunk(r))
		}
		if r.IntN(30) == 0 {
			e.Error = "input/output error"
		}
	}
	return e
}

// randomTree returns about n entries of nested folders, in order.
func randomTree(r *rand.Rand, n int) []*Entry {
	entries := []*Entry{{Path: []byte{}, Type: Dir, Mode: 0o755}}
	dirs := []string{""}
	seen := map[string]bool{"": true}
	for len(entries) < n {
		path := fmt.Sprintf("%s%c%d", strings.Repeat("n", r.IntN(8)), "abc-é\xff\x01"[r.IntN(7)], r.IntN(max(n/2, 1)))
		if dir := dirs[r.IntN(len(dirs))]; dir != "" {
			path = dir + "/" + path
		}
		if seen[path] {
			continue
		}
		seen[path] = true
		e := randomEntry(r, []byte(path))
		if r.IntN(20) == 0 && strings.Count(path, "/") < 6 {
			*e = Entry{Path: e.Path, Type: Dir, Mode: 0o755, Mtime: e.Mtime}
			dirs = append(dirs, path)
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *Entry) int { return Compare(a.Path, b.Path) })
	return entries
}

func build(t testing.TB, c *chunks, entries []*Entry) *Reader {
	t.Helper()
	b := NewBuilder(gear, c.sink)
	for _, e := range entries {
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return NewReader(c.source(), tree)
}

func paths(entries []*Entry) (out []string) {
	for _, e := range entries {
		out = append(out, string(e.Path))
	}
	return out
}

func TestReader(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 300, 12000} {
		entries, c := randomTree(r, n), newChunks()
		m := build(t, c, entries)
		i := 0
		err := m.Walk(nil, func(e *Entry) error {
			if !reflect.DeepEqual(norm(e), norm(entries[i])) {
				t.Fatalf("read %+v\nwant %+v", e, entries[i])
			}
			i++
			return nil
		})
		if err != nil || i != len(entries) {
			t.Fatalf("%d entries, %v", i, err)
		}
		var e Entry
		for range 300 {
			want := entries[r.IntN(len(entries))]
			if found, err := m.Lookup(want.Path, &e); !found || err != nil || !reflect.DeepEqual(norm(&e), norm(want)) {
				t.Fatalf("%q: %v, %v", want.Path, found, err)
			}
			checkBelow(t, m, entries, want.Path)
		}
		if found, err := m.Lookup([]byte("no such path"), &e); found || err != nil {
			t.Fatalf("%v, %v", found, err)
		}
		checkBelow(t, m, entries, []byte("nnn"))
		checkBelow(t, m, entries, nil)
	}
}

// checkBelow compares Walk, Children and Entries with the list.
func checkBelow(t *testing.T, m *Reader, entries []*Entry, dir []byte) {
	t.Helper()
	var all, direct, from []string
	for _, e := range entries {
		path := string(e.Path)
		if Within(e.Path, dir) {
			all = append(all, path)
			rest := strings.TrimPrefix(path[len(dir):], "/")
			if rest != "" && !strings.Contains(rest, "/") {
				direct = append(direct, path)
			}
		}
		if Compare(e.Path, dir) >= 0 && len(from) < 500 {
			from = append(from, path)
		}
	}
	var got []string
	take := func(e *Entry) error { got = append(got, string(e.Path)); return nil }
	if err := m.Walk(dir, take); err != nil || !slices.Equal(got, all) {
		t.Fatalf("walk %q: %d, want %d; %v", dir, len(got), len(all), err)
	}
	got = nil
	if err := m.Children(dir, take); err != nil || !slices.Equal(got, direct) {
		t.Fatalf("children of %q: %d, want %d; %v", dir, len(got), len(direct), err)
	}
	got = nil
	it := m.Entries(dir)
	for len(got) < 500 && it.Next() {
		got = append(got, string(it.Path()))
	}
	if it.Err() != nil || !slices.Equal(got, from) {
		t.Fatalf("from %q: %d, want %d; %v", dir, len(got), len(from), it.Err())
	}
}

// TestChildrenSkip lists a folder of which one subfolder has nearly everything.
func TestChildrenSkip(t *testing.T) {
	entries := []*Entry{{Path: []byte(""), Type: Dir}, {Path: []byte("big"), Type: Dir}}
	for i := range 100000 {
		entries = append(entries, &Entry{Path: fmt.Appendf(nil, "big/%06d", i), Type: File})
	}
	entries = append(entries, &Entry{Path: []byte("small"), Type: File})
	c := newChunks()
	m := build(t, c, entries)
	n := 0
	clear(c.reads)
	if err := m.Children(nil, func(*Entry) error { n++; return nil }); err != nil || n != 2 {
		t.Fatalf("%d children, %v", n, err)
	}
	if len(c.reads) > 2*(m.Tree().Level+1) {
		t.Errorf("%d of %d chunks read", len(c.reads), len(c.m))
	}
}

func TestEntryErrors(t *testing.T) {
	c := newChunks()
	b := NewBuilder(gear, c.sink)
	var le *LineError
	if err := b.Add(&Entry{Path: []byte("../x"), Type: File}); !errors.As(err, &le) {
		t.Errorf("error %v", err)
	}
	if err := b.AddLine([]byte("a"), []byte(`{"path":"a","type":"what"}`+"\n")); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(&Entry{Path: []byte("b"), Type: File}); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(&Entry{Path: []byte("b"), Type: File}); !errors.As(err, &le) {
		t.Errorf("the same path again: error %v", err)
	}
	tree, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	it := NewReader(c.source(), tree).Entries(nil)
	if !it.Next() {
		t.Fatal(it.Err())
	}
	if _, err := it.Entry(); !errors.As(err, &le) {
		t.Errorf("error %v", err)
	}
	if !it.Next() { // one bad line does not hide the others
		t.Fatal(it.Err())
	}
	if e, err := it.Entry(); err != nil || string(e.Path) != "b" {
		t.Errorf("%v, %v", e, err)
	}
}

func TestDiff(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for range 20 {
		before := randomTree(r, 1+r.IntN(6000))
		var after []*Entry
		want := map[string]Kind{}
		for _, e := range before {
			n := e.Clone()
			switch path := string(e.Path); r.IntN(400) {
			case 0:
				if path != "" {
					want[path] = Removed
					continue
				}
			case 1:
				n.Mode ^= 1
				want[path] = Metadata
			case 2:
				if n.Type == File && len(n.Hardlink) == 0 {
					n.Size, n.Content, n.Hash = n.Size+1, append(n.Content, Piece{Length: 1}), ShortHash(randomChunk(r))
					want[path] = Modified
				}
			case 3:
				if n.Type == File {
					*n = Entry{Path: n.Path, Type: FIFO}
					want[path] = TypeChanged
				}
			}
			after = append(after, n)
			if r.IntN(400) == 0 && n.Type != Dir {
				add := randomEntry(r, append(bytes.Clone(n.Path), "\x01"...))
				after = append(after, add)
			}
		}
		slices.SortFunc(after, func(a, b *Entry) int { return Compare(a.Path, b.Path) })
		after = slices.CompactFunc(after, func(a, b *Entry) bool { return bytes.Equal(a.Path, b.Path) })
		had := map[string]bool{}
		for _, p := range paths(before) {
			had[p] = true
		}
		for _, p := range paths(after) {
			if !had[p] {
				want[p] = Added
			}
		}
		c := newChunks()
		a, b := build(t, c, before), build(t, c, after)
		got := map[string]Kind{}
		var last []byte
		err := Diff(a, b, ByPieces, func(ch Change) error {
			e := ch.New
			if e == nil {
				e = ch.Old
			}
			if len(got) > 0 && Compare(last, e.Path) >= 0 {
				t.Fatal("out of order")
			}
			last = bytes.Clone(e.Path)
			got[string(e.Path)] = ch.Kind
			return nil
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%v: got %v, want %v", err, got, want)
		}
	}
}

func TestEquality(t *testing.T) {
	a := &Entry{Path: []byte("f"), Type: File, Size: 5, Hash: Hash{1}, Mtime: Time{1, 0}, Content: []Piece{{Chunk: testChunk, Length: 5}}}
	moved, touched, other, epoch := a.Clone(), a.Clone(), a.Clone(), a.Clone()
	moved.Content[0].Offset = 100
	touched.Mtime.Sec++
	other.Hash, other.Content[0].Offset, other.Mtime.Sec = Hash{2}, 7, 9
	epoch.Hash, epoch.Content[0].Offset = Hash{2}, 7
	none := Kind(255)
	for _, c := range []struct {
		name                   string
		b                      *Entry
		byPieces, byHash, time Kind
	}{
		{"moved", moved, Modified, none, none}, {"touched", touched, Metadata, Metadata, Modified},
		{"other", other, Modified, Modified, Modified}, {"other epoch", epoch, Modified, Modified, none},
	} {
		for eq, want := range map[Equality]Kind{ByPieces: c.byPieces, ByHash: c.byHash, ByTime: c.time} {
			kind, changed := classify(a, c.b, eq)
			if !changed {
				kind = none
			}
			if kind != want {
				t.Errorf("%s, equality %d: %v, want %v", c.name, eq, kind, want)
			}
		}
	}
}

func TestContent(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	c := newChunks()
	key := digest.Key{9}
	b := NewContentBuilder(gear, c.sink, digest.NewHasher(key))
	for _, n := range []int{0, 1, 2, MaxInline, MaxInline + 1, 1000, 30000} {
		pieces := make([]Piece, n)
		starts := make([]int64, n)
		list := NewListHash(digest.NewHasher(key))
		var size int64
		if n == 1000 { // a file that was given up before
			for range 100 {
				_ = b.Add(Piece{Length: 1})
			}
			b.Reset()
		}
		for i := range pieces {
			pieces[i] = Piece{Length: 1 + r.Int64N(1<<20)}
			if r.IntN(10) > 0 {
				pieces[i].Chunk, pieces[i].Offset = randomChunk(r), r.Uint32N(1<<20)
			}
			starts[i] = size
			size += pieces[i].Length
			list.Add(pieces[i])
			if err := b.Add(pieces[i]); err != nil {
				t.Fatal(err)
			}
		}
		e := Entry{Path: []byte("f"), Type: File}
		if err := b.Finish(&e); err != nil || e.Size != size || (n > MaxInline) == e.Tree.IsEmpty() {
			t.Fatalf("%+v, %v", e, err)
		}
		if sum := list.Sum(); n > 1 && e.Hash != sum {
			t.Error("another list hash")
		}
		var back Entry
		if err := ParseLine(AppendLine(nil, &e), &back); err != nil {
			t.Fatal(err)
		}
		checkPieces(t, r, c, &back, pieces, starts)
	}
}

func checkPieces(t *testing.T, r *rand.Rand, c *chunks, e *Entry, pieces []Piece, starts []int64) {
	t.Helper()
	p := NewPieces(c.source(), e)
	for i := range pieces {
		if !p.Next() || p.Piece() != pieces[i] || p.Offset() != starts[i] {
			t.Fatalf("piece %d: %+v at %d, %v", i, p.Piece(), p.Offset(), p.Err())
		}
	}
	if p.Next() || p.Err() != nil {
		t.Fatalf("more pieces, %v", p.Err())
	}
	for range 50 {
		at := r.Int64N(e.Size + 1)
		clear(c.reads)
		p.SeekTo(at)
		i, ok := slices.BinarySearch(starts, at)
		if !ok {
			i--
		}
		if at == e.Size {
			if p.Next() {
				t.Fatalf("piece behind the end")
			}
			continue
		}
		for k := i; k < min(i+3, len(pieces)); k++ {
			if !p.Next() || p.Piece() != pieces[k] || p.Offset() != starts[k] {
				t.Fatalf("seek to %d: %+v at %d, %v", at, p.Piece(), p.Offset(), p.Err())
			}
		}
		if len(c.reads) > e.Tree.Level+3 {
			t.Errorf("seek read %d chunks", len(c.reads))
		}
	}
	for _, wrong := range []int64{-1, 1} {
		bad := e.Clone()
		bad.Size += wrong
		p := NewPieces(c.source(), bad)
		for p.Next() {
		}
		var ce *CorruptError
		if !errors.As(p.Err(), &ce) {
			t.Errorf("size wrong by %d: error %v", wrong, p.Err())
		}
	}
}

func TestChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	entries, c := randomTree(r, 5000), newChunks()
	want := map[digest.Chunk]bool{}
	b := NewContentBuilder(gear, c.sink, digest.NewHasher(digest.Key{9}))
	for i, e := range entries {
		if e.Type == File && i%500 == 7 {
			for range 3000 {
				if err := b.Add(Piece{Chunk: randomChunk(r), Length: 1}); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.Finish(e); err != nil {
				t.Fatal(err)
			}
			p := NewPieces(c.source(), e)
			for p.Next() {
				want[p.Piece().Chunk] = true
			}
		}
		for _, p := range e.Content {
			if !p.IsHole() {
				want[p.Chunk] = true
			}
		}
	}
	m := build(t, c, entries)
	clear(c.reads)
	meta, data := map[digest.Chunk]int{}, map[digest.Chunk]bool{}
	err := m.Chunks(Visitor{Meta: func(id digest.Chunk, level int) (bool, error) {
		meta[id]++
		return true, nil
	}, Data: func(id digest.Chunk) error {
		data[id] = true
		return nil
	}})
	if err != nil || !reflect.DeepEqual(data, want) {
		t.Fatalf("%d data chunks, want %d; %v", len(data), len(want), err)
	}
	for id := range c.m {
		if meta[id] != 1 || c.reads[id] != 1 {
			t.Errorf("chunk told %d times, read %d times", meta[id], c.reads[id])
		}
	}
	again := 0 // a second manifest of which all was seen
	err = m.Chunks(Visitor{Meta: func(id digest.Chunk, _ int) (bool, error) { again++; return false, nil }, Data: func(digest.Chunk) error { again++; return nil }})
	if err != nil || again != 1 {
		t.Errorf("%d chunks told again, %v", again, err)
	}
	stop := errors.New("enough")
	if err := m.Chunks(Visitor{Data: func(digest.Chunk) error { return stop }}); err != stop {
		t.Errorf("error %v", err)
	}
}

// usual returns entry i of a tree as one finds it on disks: 20 files a folder.
func usual(e *Entry, i int) {
	e.Path = fmt.Appendf(e.Path[:0], "home/someone/project%02d/src%03d/package/file_%07d.go", i/20000, i/20%1000, i)
	*e = Entry{Path: e.Path, Type: File, Mode: 0o644, UID: 1000, GID: 1000, User: "someone", Group: "someone", Mtime: Time{1690000000 + int64(i), 123456789},
		Size: 5000, Hash: Hash{1, 2, 3, byte(i)}, Content: append(e.Content[:0], Piece{Chunk: digest.Chunk{byte(i >> 8), 1, 2, 3}, Offset: uint32(i & 255 * 5000), Length: 5000})}
}

// TestStability changes 1 % of the lines and counts the chunks that are written anew: as many as have a changed line, and no others.
func TestStability(t *testing.T) {
	const n = 60000
	r := rand.New(rand.NewPCG(5, 1))
	c := newChunks()
	first, second := NewBuilder(gear, c.sink), NewBuilder(gear, c.sink)
	var e Entry
	for i := range n {
		usual(&e, i)
		if err := first.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	a, err := first.Finish()
	if err != nil {
		t.Fatal(err)
	}
	before := len(c.m)
	for i := range n {
		if usual(&e, i); r.IntN(100) == 0 {
			e.Mtime.Nsec++
		}
		if err := second.Add(&e); err != nil {
			t.Fatal(err)
		}
	}
	b, err := second.Finish()
	if err != nil {
		t.Fatal(err)
	}
	touched, leaves := touchedLeaves(t, c, a, b)
	added := len(c.m) - before
	t.Logf("%d lines of %d bytes, level %d, %d chunks (%d bytes on average): 1 %% changed lines, %d leaves touched, %d chunks added (%.0f %%)",
		n, a.Bytes/n, a.Level, before, a.Bytes/int64(leaves), touched, added, 100*float64(added)/float64(before))
	if added > touched+before/50+5 {
		t.Errorf("%d chunks added for %d touched", added, touched)
	}
}

// touchedLeaves counts the chunks of level 0 of a that have a line which b has not.
func touchedLeaves(t *testing.T, c *chunks, a, b Tree) (touched, leaves int) {
	lines := map[string]bool{}
	it := NewReader(c.source(), b).Entries(nil)
	for it.Next() {
		lines[string(it.Line())] = true
	}
	err := NewReader(c.source(), a).Chunks(Visitor{Meta: func(id digest.Chunk, level int) (bool, error) {
		if level == 0 {
			leaves++
			for line := range bytes.Lines(c.m[id]) {
				if !lines[string(line)] {
					touched++
					break
				}
			}
		}
		return true, nil
	}})
	if err != nil || it.Err() != nil {
		t.Fatal(err, it.Err())
	}
	return touched, leaves
}

func BenchmarkAppendLine(b *testing.B) {
	var e Entry
	usual(&e, 1234)
	buf := AppendLine(nil, &e)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendLine(buf[:0], &e)
	}
}

func BenchmarkParseLine(b *testing.B) {
	var e Entry
	usual(&e, 1234)
	line := AppendLine(nil, &e)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if err := ParseLine(line, &e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPathOf(b *testing.B) {
	var e Entry
	usual(&e, 1234)
	line := AppendLine(nil, &e)
	for b.Loop() {
		if _, err := PathOf(line, nil); err != nil {
			b.Fatal(err)
		}
	}
}

const million = 1_000_000

func buildMillion(b *testing.B, c *chunks, touch bool) Tree {
	m := NewBuilder(gear, c.sink)
	var e Entry
	for i := range million {
		if usual(&e, i); touch && i == million/2 {
			e.Mode = 0o600
		}
		if err := m.Add(&e); err != nil {
			b.Fatal(err)
		}
	}
	tree, err := m.Finish()
	if err != nil {
		b.Fatal(err)
	}
	return tree
}

// BenchmarkMillion builds, iterates, parses and compares a manifest of a million entries.
func BenchmarkMillion(b *testing.B) {
	if testing.Short() {
		b.Skip("long")
	}
	c := newChunks()
	tree, other := buildMillion(b, c, false), buildMillion(b, c, true)
	m := NewReader(c.source(), tree)
	perEntry := func(b *testing.B) {
		b.ReportMetric(float64(b.N)*million/b.Elapsed().Seconds(), "entries/s")
	}
	b.Run("build", func(b *testing.B) {
		drop := newChunks()
		for range b.N {
			buildMillion(b, drop, false)
		}
		perEntry(b)
	})
	b.Run("iterate", func(b *testing.B) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range b.N {
			it := m.Entries(nil)
			for it.Next() {
			}
			if it.Err() != nil {
				b.Fatal(it.Err())
			}
		}
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.TotalAlloc-before.TotalAlloc)/float64(b.N), "B-allocated")
		perEntry(b)
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			if err := m.Walk(nil, func(*Entry) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		perEntry(b)
	})
	b.Run("diff-one-changed", func(b *testing.B) {
		for range b.N {
			clear(c.reads)
			if err := Diff(m, NewReader(c.source(), other), ByPieces, func(Change) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(len(c.reads)), "chunks-read")
	})
	b.Run("lookup", func(b *testing.B) {
		var e Entry
		for i := range b.N {
			usual(&e, i*7919%million)
			if ok, err := m.Lookup(bytes.Clone(e.Path), &e); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
}
