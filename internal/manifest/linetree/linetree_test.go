package linetree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"

	"firn/internal/digest"
	"firn/internal/manifest/jsonline"
)

// gear is the hash of FORMAT §7.3 under a table of the tests.
var gearTable = func() (t [256]uint64) {
	r := rand.New(rand.NewPCG(7, 7))
	for i := range t {
		t[i] = r.Uint64()
	}
	return t
}()

func gear(key []byte) (h uint64) {
	for _, c := range key {
		h = h<<1 + gearTable[c]
	}
	return h
}

// testKeys: a line is a JSON string, which is its key, and then, behind a comma, anything.
var testKeys = Keys{Of: func(line, scratch []byte) ([]byte, error) {
	var s jsonline.Scanner
	s.Reset(line)
	key := append(scratch[:0], s.Text()...)
	return key, s.Err()
}, Compare: bytes.Compare}

// chunks is a store of chunks that counts.
type chunks struct {
	m      map[digest.Chunk][]byte
	puts   int // calls of sink
	reads  map[digest.Chunk]int
	told   map[digest.Chunk]bool
	untold int // chunks read that Prefetch was not told of
	live   int // told and not read yet
	most   int
}

func newChunks() *chunks {
	return &chunks{m: map[digest.Chunk][]byte{}, reads: map[digest.Chunk]int{}, told: map[digest.Chunk]bool{}}
}

var hasher = digest.NewHasher(digest.Key{1})

func (c *chunks) sink(content []byte) (digest.Chunk, error) {
	c.puts++
	id := hasher.Sum(content)
	c.m[id] = bytes.Clone(content)
	return id, nil
}

func (c *chunks) source() Source {
	return Source{Get: func(id digest.Chunk) ([]byte, error) {
		c.reads[id]++
		if c.told[id] {
			c.live--
		} else {
			c.untold++
		}
		b, ok := c.m[id]
		if !ok {
			return nil, fmt.Errorf("no chunk %s", id)
		}
		return b, nil
	}, Prefetch: func(ids []digest.Chunk) {
		for _, id := range ids {
			c.told[id] = true
			c.live++
		}
		c.most = max(c.most, c.live)
	}}
}

func (c *chunks) forget() {
	c.reads, c.told, c.untold, c.live, c.most = map[digest.Chunk]int{}, map[digest.Chunk]bool{}, 0, 0, 0
}

// model is a sorted list of keys and what follows them in their lines.
type model struct {
	keys []string
	rest map[string]string
}

func (m *model) line(key string) []byte {
	return append(jsonline.AppendString(nil, key), m.rest[key]...)
}

func randomModel(r *rand.Rand, n, width int) *model {
	m := &model{rest: map[string]string{}}
	for range n {
		key := fmt.Sprintf("%0*d", 1+r.IntN(12), r.Uint64N(1e12))
		if r.IntN(50) == 0 {
			key += "\n\"é"
		}
		if _, ok := m.rest[key]; !ok {
			m.keys = append(m.keys, key)
		}
		m.rest[key] = "," + strings.Repeat("x", r.IntN(width)) + "\n"
	}
	sort.Strings(m.keys)
	return m
}

func (m *model) build(t testing.TB, c *chunks) Tree {
	t.Helper()
	b := NewBuilder(gear, bytes.Compare, c.sink)
	for _, k := range m.keys {
		if err := b.Add([]byte(k), m.line(k)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func collect(t *testing.T, it *Iterator) (keys []string) {
	t.Helper()
	for it.Next() {
		keys = append(keys, string(it.Key()))
	}
	if err := it.Err(); err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{0, 1, 2, 100, 1000, 30000} {
		for _, width := range []int{1, 300, 3000} {
			if n*width > 10e6 {
				continue
			}
			m, c := randomModel(r, n, width), newChunks()
			tree := m.build(t, c)
			if tree.Lines != int64(len(m.keys)) {
				t.Fatalf("%d lines, want %d", tree.Lines, len(m.keys))
			}
			c.forget()
			it := NewIterator(c.source(), tree, testKeys, Options{ReadAhead: ReadAhead})
			i := 0
			for ; it.Next(); i++ {
				if string(it.Key()) != m.keys[i] || !bytes.Equal(it.Line(), m.line(m.keys[i])) {
					t.Fatalf("line %d is %q", i, it.Line())
				}
			}
			if it.Err() != nil || i != len(m.keys) {
				t.Fatalf("%d lines, error %v", i, it.Err())
			}
			for id, k := range c.reads {
				if k != 1 {
					t.Errorf("chunk %s read %d times", id, k)
				}
			}
			if c.untold > 0 || c.live != 0 || c.most > ReadAhead+2*(tree.Level+1) {
				t.Errorf("prefetch: %d chunks untold, %d told in vain, %d at once", c.untold, c.live, c.most)
			}
			if len(c.reads) != len(c.m) {
				t.Errorf("%d chunks stored, %d read", len(c.m), len(c.reads))
			}
			checkCuts(t, c)
		}
	}
}

// checkCuts checks the sizes of chunks against the package comment.
func checkCuts(t *testing.T, c *chunks) {
	small := 0
	for _, b := range c.m {
		if len(b) < MinChunk {
			small++
		}
		if len(b) > SoftMax && bytes.Count(b, newline) > 1 {
			t.Errorf("chunk of %d bytes with %d lines", len(b), bytes.Count(b, newline))
		}
	}
	if small > MaxLevel || small > 6 {
		t.Errorf("%d small chunks", small)
	}
}

func TestSeek(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	m, c := randomModel(r, 20000, 400), newChunks()
	tree := m.build(t, c)
	if tree.Level < 1 {
		t.Fatalf("level %d", tree.Level)
	}
	it := NewIterator(c.source(), tree, testKeys, Options{})
	for i := range 3000 {
		key := fmt.Sprintf("%0*d", 1+r.IntN(12), r.Uint64N(1e12))
		if i%3 == 0 {
			key = m.keys[r.IntN(len(m.keys))]
		}
		if i%97 == 0 {
			key = "~" // behind everything
		}
		if i%101 == 0 {
			key = ""
		}
		at, _ := slices.BinarySearch(m.keys, key)
		it.Seek([]byte(key))
		for k := range r.IntN(5) * r.IntN(100) {
			want := at+k < len(m.keys)
			if it.Next() != want || want && string(it.Key()) != m.keys[at+k] {
				t.Fatalf("seek to %q, line %d: %q, %v", key, k, it.Key(), it.Err())
			}
		}
		line, err := Find(c.source(), tree, testKeys, []byte(key))
		if found := at < len(m.keys) && m.keys[at] == key; err != nil || (line != nil) != found {
			t.Fatalf("find %q: %q, %v", key, line, err)
		}
	}
	if it.Err() != nil {
		t.Fatal(it.Err())
	}
	c.forget() // seeking inside what is open reads nothing
	it.Seek([]byte(m.keys[0]))
	it.Seek([]byte(m.keys[5]))
	it.Seek([]byte(m.keys[2]))
	if len(c.reads) > tree.Level+1 {
		t.Errorf("%d chunks read", len(c.reads))
	}
}

func TestRange(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	m, c := randomModel(r, 20000, 400), newChunks()
	tree := m.build(t, c)
	for range 200 {
		a, b := r.IntN(len(m.keys)), r.IntN(len(m.keys))
		a, b = min(a, b), max(a, b)
		it := NewIterator(c.source(), tree, testKeys, Options{To: []byte(m.keys[b]), ReadAhead: 8})
		it.Seek([]byte(m.keys[a]))
		if got := collect(t, it); !slices.Equal(got, m.keys[a:b]) {
			t.Fatalf("%d to %d: %d keys", a, b, len(got))
		}
	}
}

func TestFlush(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 1))
	m, c, plain := randomModel(r, 20000, 300), newChunks(), newChunks()
	want := m.build(t, plain)
	b := NewBuilder(gear, bytes.Compare, c.sink)
	trees := map[int]Tree{}
	for i, k := range m.keys {
		if i%1777 == 0 {
			tree, err := b.Flush()
			if err != nil {
				t.Fatal(err)
			}
			trees[i] = tree
		}
		if err := b.Add([]byte(k), m.line(k)); err != nil {
			t.Fatal(err)
		}
	}
	got, err := b.Finish()
	if err != nil || got != want {
		t.Fatalf("flushed on the way %+v, %v; not flushed %+v", got, err, want)
	}
	if extra := c.puts - plain.puts; extra > len(trees)*(want.Level+2) {
		t.Errorf("%d chunks more for %d flushes", extra, len(trees))
	}
	for n, tree := range trees {
		part := &model{keys: m.keys[:n], rest: m.rest}
		if same := part.build(t, newChunks()); same != tree {
			t.Errorf("flush after %d lines: %+v, built alone %+v", n, tree, same)
		}
		if got := collect(t, NewIterator(c.source(), tree, testKeys, Options{})); !slices.Equal(got, m.keys[:n]) {
			t.Errorf("flush after %d lines has %d", n, len(got))
		}
	}
	if again := m.buildWith(t, b); again != want {
		t.Errorf("builder used again: %+v", again)
	}
}

func (m *model) buildWith(t *testing.T, b *Builder) Tree {
	for _, k := range m.keys {
		if err := b.Add([]byte(k), m.line(k)); err != nil {
			t.Fatal(err)
		}
	}
	tree, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestLongKeys(t *testing.T) {
	m, c := &model{rest: map[string]string{}}, newChunks()
	for i := range 64 {
		key := fmt.Sprintf("%03d", i) + strings.Repeat("\x01", 60_000) // six times as long in JSON
		m.keys, m.rest[key] = append(m.keys, key), "\n"
	}
	tree := m.build(t, c)
	if tree.Level != 6 {
		t.Errorf("level %d: two lines a chunk make 6", tree.Level)
	}
	if got := collect(t, NewIterator(c.source(), tree, testKeys, Options{})); !slices.Equal(got, m.keys) {
		t.Error("other keys")
	}
}

func TestRefusedLines(t *testing.T) {
	c := newChunks()
	b := NewBuilder(gear, bytes.Compare, c.sink)
	add := func(key, line string) error { return b.Add([]byte(key), []byte(line)) }
	if err := add("b", "\"b\"\n"); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][2]string{{"b", "\"b\"\n"}, {"a", "\"a\"\n"}, {"c", "\"c\""}, {"c", ""}, {"c", "\"c\n\"\n"}, {"c", strings.Repeat("x", MaxLine) + "\n"}} {
		var le *LineError
		if err := add(bad[0], bad[1]); !errors.As(err, &le) {
			t.Errorf("%.20q: %v", bad[1], err)
		}
	}
	long := "\"c\"" + strings.Repeat("x", MaxLine-4) + "\n"
	if err := add("c", long); err != nil {
		t.Fatal(err)
	}
	tree, err := b.Finish()
	if err != nil || tree.Lines != 2 {
		t.Fatalf("%+v, %v", tree, err)
	}
	if got := collect(t, NewIterator(c.source(), tree, testKeys, Options{})); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("%q", got)
	}
	broken := errors.New("sink is full")
	b = NewBuilder(gear, bytes.Compare, func([]byte) (digest.Chunk, error) { return digest.Chunk{}, broken })
	if err := add("c", long); err != nil {
		t.Fatal(err)
	}
	if err := add("d", long); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestDiff(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	told, vain := 0, 0
	for round := range 60 {
		a := randomModel(r, []int{0, 1, 50, 3000, 15000}[r.IntN(5)], 300)
		b := a.change(r, []int{0, 1, 20, 2000}[r.IntN(4)])
		if round%10 == 9 {
			b = randomModel(r, 3000, 300)
		}
		c := newChunks()
		ta, tb := a.build(t, c), b.build(t, c)
		shared := sharedChunks(t, c, ta, tb)
		c.forget()
		var got, want []string
		err := Diff(Side{c.source(), ta}, Side{c.source(), tb}, testKeys, 16, func(x, y []byte) error {
			got = append(got, string(x)+"|"+string(y))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range union(a.keys, b.keys) {
			x, y := "", ""
			if _, ok := a.rest[k]; ok {
				x = string(a.line(k))
			}
			if _, ok := b.rest[k]; ok {
				y = string(b.line(k))
			}
			if x != y {
				want = append(want, x+"|"+y)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("round %d: %d differences, want %d", round, len(got), len(want))
		}
		for id := range c.reads {
			if shared[id] {
				t.Errorf("round %d: chunk %s is in both trees and was read", round, id)
			}
		}
		told += len(c.told)
		for id := range c.told {
			if c.reads[id] == 0 {
				vain++
			}
		}
	}
	if told == 0 || vain > told/20 {
		t.Errorf("prefetch: %d chunks told, %d of them in vain", told, vain)
	}
	t.Logf("prefetch: %d chunks told, %d of them in vain", told, vain)
}

func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// change returns a copy with n lines changed, removed or added.
func (m *model) change(r *rand.Rand, n int) *model {
	c := &model{rest: map[string]string{}}
	for k, v := range m.rest {
		c.rest[k] = v
	}
	for range n {
		key := fmt.Sprintf("%012d", r.Uint64N(1e12))
		if len(m.keys) > 0 && r.IntN(3) > 0 {
			key = m.keys[r.IntN(len(m.keys))]
		}
		if _, ok := c.rest[key]; ok && r.IntN(3) == 0 {
			delete(c.rest, key)
		} else {
			c.rest[key] = fmt.Sprintf(",%d\n", r.Uint64())
		}
	}
	for k := range c.rest {
		c.keys = append(c.keys, k)
	}
	sort.Strings(c.keys)
	return c
}

// sharedChunks returns the chunks that both trees have (the same content at the same level).
func sharedChunks(t *testing.T, c *chunks, a, b Tree) map[digest.Chunk]bool {
	in := [2]map[digest.Chunk]bool{{}, {}}
	for i, tree := range [2]Tree{a, b} {
		collect(t, NewIterator(c.source(), tree, testKeys, Options{Enter: func(id digest.Chunk, level int) (bool, error) {
			in[i][id] = true
			return true, nil
		}}))
	}
	for id := range in[0] {
		if !in[1][id] {
			delete(in[0], id)
		}
	}
	return in[0]
}

func TestEnter(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	m, c := randomModel(r, 20000, 400), newChunks()
	tree := m.build(t, c)
	var last digest.Chunk
	told := map[digest.Chunk]int{}
	c.forget()
	it := NewIterator(c.source(), tree, testKeys, Options{ReadAhead: 4, Enter: func(id digest.Chunk, level int) (bool, error) {
		told[id]++
		if level == 0 {
			last = id
		}
		return level > 0, nil
	}})
	if got := collect(t, it); len(got) > 0 {
		t.Fatalf("%d lines of chunks not entered", len(got))
	}
	if len(told) != len(c.m) || c.reads[last] > 0 || c.live != 0 {
		t.Errorf("%d of %d chunks told, %d prefetched in vain", len(told), len(c.m), c.live)
	}
	stop := errors.New("enough")
	it = NewIterator(c.source(), tree, testKeys, Options{Enter: func(digest.Chunk, int) (bool, error) { return false, stop }})
	if it.Next() || it.Err() != stop {
		t.Errorf("error %v", it.Err())
	}
}

// TestHostile changes stored chunks in all kinds of ways, under ids that the source vouches for.
func TestHostile(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 1))
	m, good := randomModel(r, 3000, 400), newChunks()
	tree := m.build(t, good)
	var top digest.Chunk = tree.Chunk
	for _, c := range []struct {
		name   string
		change func(b []byte) []byte
	}{
		{"empty", func([]byte) []byte { return nil }},
		{"cut short", func(b []byte) []byte { return b[:len(b)-1] }},
		{"line gone", func(b []byte) []byte { return b[bytes.IndexByte(b, '\n')+1:] }},
		{"line twice", func(b []byte) []byte { return append(bytes.Clone(b), b[:bytes.IndexByte(b, '\n')+1]...) }},
		{"blank line", func(b []byte) []byte { return append(bytes.Clone(b), '\n') }},
		{"lines of zeros", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(`"lines":`), []byte(`"lines":0`)) }},
		{"too many lines", func(b []byte) []byte { return bytes.Replace(b, []byte(`"lines":`), []byte(`"lines":1`), 1) }},
		{"overflow", func(b []byte) []byte {
			return bytes.ReplaceAll(b, []byte(`"lines":`), []byte(`"lines":92233720368547758`))
		}},
		{"length", func(b []byte) []byte { return bytes.Replace(b, []byte(`"bytes":`), []byte(`"bytes":1`), 1) }},
		{"key", func(b []byte) []byte { return bytes.Replace(b, []byte(`"first":"`), []byte(`"first":"0`), 1) }},
		{"member missing", func(b []byte) []byte { return bytes.Replace(b, []byte(`"lines"`), []byte(`"linea"`), 1) }},
		{"member twice", func(b []byte) []byte { return bytes.Replace(b, []byte(`{`), []byte(`{"bytes":1,`), 1) }},
		{"cycle", func(b []byte) []byte {
			i := bytes.Index(b, []byte(`"chunk":"`)) + 9
			return append(append(bytes.Clone(b[:i]), top.String()...), b[i+64:]...)
		}},
		{"endless", func([]byte) []byte { return bytes.Repeat([]byte("\n"), MaxLine+1) }},
		{"two lines exchanged", func(b []byte) []byte {
			l := bytes.SplitAfter(b, newline)
			l[0], l[1] = l[1], l[0]
			return bytes.Join(l, nil)
		}},
	} {
		bad := *good
		bad.m = map[digest.Chunk][]byte{}
		for id, b := range good.m {
			bad.m[id] = b
		}
		bad.m[top] = c.change(good.m[top])
		it := NewIterator(bad.source(), tree, testKeys, Options{})
		for it.Next() {
		}
		var ce *CorruptError
		if !errors.As(it.Err(), &ce) {
			t.Errorf("%s: error %v", c.name, it.Err())
		}
	}
}

// TestHostileLeaves changes a chunk of level 0.
func TestHostileLeaves(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 1))
	m, c := randomModel(r, 3000, 400), newChunks()
	tree := m.build(t, c)
	var leaves []digest.Chunk
	collect(t, NewIterator(c.source(), tree, testKeys, Options{Enter: func(id digest.Chunk, level int) (bool, error) {
		if level == 0 {
			leaves = append(leaves, id)
		}
		return true, nil
	}}))
	leaf := leaves[len(leaves)/2]
	good := c.m[leaf]
	for i := range 300 {
		b := bytes.Clone(good)
		switch i % 3 {
		case 0:
			at := r.IntN(len(b))
			b[at] ^= 1 << r.IntN(8)
		case 1: // exchange two lines
			l := bytes.SplitAfter(b, newline)
			x := r.IntN(len(l) - 2)
			l[x], l[x+1] = l[x+1], l[x]
			b = bytes.Join(l, nil)
		case 2:
			b = b[r.IntN(len(b)):]
		}
		c.m[leaf] = b
		it := NewIterator(c.source(), tree, testKeys, Options{})
		var last []byte
		for it.Next() {
			if last != nil && bytes.Compare(last, it.Key()) >= 0 {
				t.Fatal("lines out of order")
			}
			last = bytes.Clone(it.Key())
		}
		var ce *CorruptError
		if err := it.Err(); err != nil && (!errors.As(err, &ce) || ce.Chunk != leaf && ce.Chunk != leaves[len(leaves)/2+1]) {
			t.Errorf("error %v", err)
		} else if err == nil && i%3 == 1 {
			t.Errorf("exchanged lines not noticed")
		}
	}
}

func TestTreeJSON(t *testing.T) {
	full := Tree{Chunk: digest.Chunk{1, 2, 3}, Level: 2, Lines: 1 << 40, Bytes: 1 << 50}
	for _, tree := range []Tree{{}, full} {
		b, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var back Tree
		if err := json.Unmarshal(b, &back); err != nil || back != tree {
			t.Errorf("%s: %+v, %v", b, back, err)
		}
	}
	hex := full.Chunk.String()
	for _, bad := range []string{
		`{}`, `[]`, `{"chunk":"","level":0,"lines":1,"bytes":0}`, `{"chunk":"` + hex + `","level":33,"lines":1,"bytes":1}`,
		`{"chunk":"` + hex + `","level":0,"lines":0,"bytes":0}`, `{"chunk":"` + hex + `","level":-1,"lines":1,"bytes":1}`,
		`{"chunk":"` + strings.Repeat("0", 64) + `","level":0,"lines":0,"bytes":0}`, `{"chunk":"` + hex + `","level":1,"lines":9,"bytes":3}`,
		`{"chunk":"` + hex + `","level":0,"lines":9,"bytes":5000000}`, `{"chunk":"","level":0,"lines":0,"bytes":0,"bytes":0}`,
	} {
		var back Tree
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestSizes(t *testing.T) {
	r := rand.New(rand.NewPCG(10, 1))
	c := newChunks()
	unordered := Keys{Of: testKeys.Of}
	b := NewBuilder(gear, nil, c.sink)
	var starts []int64
	var at int64
	for range 50000 {
		key := []byte(fmt.Sprintf("%08x", r.Uint32()>>r.IntN(32)))
		size := 1 + r.Int64N(1000)
		if err := b.AddSized(key, append(jsonline.AppendString(nil, key), '\n'), size); err != nil {
			t.Fatal(err)
		}
		starts = append(starts, at)
		at += size
	}
	tree, err := b.Finish()
	if err != nil || tree.Level < 1 {
		t.Fatalf("%+v, %v", tree, err)
	}
	it := NewIterator(c.source(), tree, unordered, Options{})
	for range 200 {
		want := r.Int64N(at + 1000)
		passed := it.SeekSize(want)
		i, ok := slices.BinarySearch(starts, passed)
		if passed > want || !ok && passed != at {
			t.Fatalf("%d passed to %d", passed, want)
		}
		n := int64(0)
		for it.Next() {
			n++
		}
		if passed == at {
			i = len(starts)
		}
		if it.Err() != nil || n != tree.Lines-int64(i) {
			t.Fatalf("%d lines behind line %d, %v", n, i, it.Err())
		}
		if i < len(starts)-2000 && want-passed > 2000*1000 {
			t.Errorf("passed only %d to %d", passed, want)
		}
	}
}
