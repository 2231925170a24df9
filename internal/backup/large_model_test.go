package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"firn/internal/cdc"
	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/source"
	"firn/internal/store/mem"
)

// fakeFile is a file that misbehaves as seeded: it tells odd extents, shrinks, grows, changes and fails while it is read. It remembers what it gave.
type fakeFile struct {
	rng     *rand.Rand
	data    []byte
	extents [][2]int64 // of data, in order
	stat    source.Stat
	given   []byte // what was read, zero where nothing was
	failAt  int64  // reads that reach this offset fail; negative: none
	after   int    // reads until the file is changed; negative: never
	change  func(f *fakeFile)
	odd     bool // NextData may answer nonsense
}

var errDisk = errors.New("disk is broken")

func (f *fakeFile) Read([]byte) (int, error)   { panic("not used") }
func (f *fakeFile) Close() error               { return nil }
func (f *fakeFile) Stat() (source.Stat, error) { return f.stat, nil }

func (f *fakeFile) ReadAt(p []byte, off int64) (n int, err error) {
	if f.after--; f.after == -1 && f.change != nil {
		f.change(f)
	}
	if off >= int64(len(f.data)) {
		return 0, io.EOF
	}
	n = copy(p, f.data[off:])
	if f.failAt >= 0 && off+int64(n) > f.failAt {
		n, err = int(max(0, f.failAt-off)), errDisk
	}
	if n < len(p) && err == nil {
		err = io.EOF
	}
	if end := off + int64(n); end > int64(len(f.given)) {
		f.given = append(f.given, make([]byte, end-int64(len(f.given)))...)
	}
	copy(f.given[off:], p[:n])
	return n, err
}

func (f *fakeFile) NextData(off, size int64) (start, end int64, err error) {
	if f.odd && f.rng.IntN(6) == 0 {
		switch f.rng.IntN(4) {
		case 0:
			return 0, 0, errDisk
		case 1:
			return off, size + 1 + f.rng.Int64N(1<<20), nil
		case 2:
			return off - 1, size, nil
		default:
			if off < size { // a piece of it
				return off, off + 1 + f.rng.Int64N(size-off), nil
			}
		}
	}
	for _, e := range f.extents {
		if e[1] > off {
			return max(e[0], off), e[1], nil
		}
	}
	return int64(len(f.data)), int64(len(f.data)), nil
}

func newFakeFile(rng *rand.Rand, limit int) *fakeFile {
	f := &fakeFile{rng: rng, failAt: -1, after: -1, odd: rng.IntN(2) == 0}
	for pos, first := int64(0), true; len(f.data) < limit && (first || rng.IntN(40) > 0); first = false {
		if rng.IntN(3) > 0 { // a hole
			n := 1 + rng.Int64N(int64(1+limit/(1+rng.IntN(200))))
			f.data = append(f.data, make([]byte, n)...)
			pos += n
		}
		n := 1 + rng.Int64N(int64(1+limit/(1+rng.IntN(400))))
		content := make([]byte, n)
		fill := byte(rng.IntN(3)) // some of it compresses and is cut at its longest only
		for i := range content {
			content[i] = fill
			if fill == 2 {
				content[i] = byte(rng.Uint32())
			}
		}
		f.data = append(f.data, content...)
		f.extents = append(f.extents, [2]int64{pos, pos + n})
		pos += n
	}
	if rng.IntN(3) == 0 {
		f.data = append(f.data, make([]byte, 1+rng.IntN(limit/2))...)
	}
	f.stat = source.Stat{Type: source.File, Nlink: 1, Size: int64(len(f.data))}
	return f
}

// misbehave makes the file change or fail, or does nothing, and says so.
func (f *fakeFile) misbehave() string {
	size := int64(len(f.data))
	f.after = f.rng.IntN(4)
	switch f.rng.IntN(8) {
	case 0:
		f.failAt = f.rng.Int64N(size)
		return "fails"
	case 1:
		f.change = func(f *fakeFile) {
			f.data = f.data[:f.rng.Int64N(size)]
			f.stat.Size, f.stat.CtimeSec = int64(len(f.data)), 1
		}
		return "shrinks"
	case 2:
		f.change = func(f *fakeFile) {
			f.data = append(f.data, make([]byte, 1+f.rng.IntN(1<<20))...)
			f.stat.Size, f.stat.CtimeSec = int64(len(f.data)), 1
		}
		return "grows"
	case 3:
		f.change = func(f *fakeFile) {
			for range 10 {
				f.data[f.rng.IntN(len(f.data))] ^= 0x55
			}
			f.stat.CtimeSec = 1
		}
		return "is written to"
	case 4:
		f.change = func(f *fakeFile) { // holes are filled, data are punched out
			f.extents, f.stat.CtimeSec = [][2]int64{{0, int64(len(f.data) / 2)}}, 1
			clear(f.data[len(f.data)/2:])
		}
		return "moves its holes"
	}
	return ""
}

// TestLargeFilesAgainstModel cuts random sparse files that change under the reader: the pieces must give exactly what was read, and, of a file that
// kept still, all of it.
func TestLargeFilesAgainstModel(t *testing.T) {
	ctx := context.Background()
	st := mem.New(mem.Options{})
	pass, err := keys.Passphrase([]byte("x"), keys.MinWork)
	if err != nil {
		t.Fatal(err)
	}
	access, err := repo.Init(ctx, st, repo.InitOptions{Keys: []repo.NewKey{{Label: "p", Recipient: pass}}, HostName: "nas"})
	if err != nil {
		t.Fatal(err)
	}
	rp, err := repo.Open(ctx, st, access, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	scope, err := rp.Load(ctx, access.Host.ScopeID, true)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 3))
		avg := 4096 << rng.IntN(6)
		cut := cdc.Params{Min: avg / 2, Avg: avg, Max: avg * (2 + rng.IntN(6))}
		w, err := rp.NewWriter(ctx, scope, repo.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		host := access.Host.Scope()
		r := &run{ctx: ctx, writer: w, gear: cdc.NewTable(host.GearTable()), cut: cut, chunkKey: host.ChunkKey(0), listKey: host.ListKey(0)}
		r.metaHash = digest.NewHasher(r.chunkKey)
		f := newFakeFile(rng, 16<<10<<rng.IntN(7))
		what := fmt.Sprintf("seed %d, %d bytes in %d extents, average %d, file %s", seed, len(f.data), len(f.extents), avg, f.misbehave())
		r.modelLarge(t, what, rng, f)
		w.Abort()
	}
}

func (r *run) modelLarge(t *testing.T, what string, rng *rand.Rand, f *fakeFile) {
	t.Helper()
	before := f.stat
	pool := newBufferPool(2 + rng.IntN(4))
	chunks := map[digest.Chunk][]byte{}
	hash := digest.NewHasher(r.chunkKey)
	res, err := r.readLarge(f, &before, pool, func(b *buffer) (*pendingChunk, error) {
		if n := len(b.data); n == 0 || n > r.cut.Max {
			t.Errorf("%s: chunk of %d bytes", what, n)
		}
		id := hash.Sum(b.data)
		chunks[id] = bytes.Clone(b.data)
		p := &pendingChunk{id: id, n: int64(len(b.data)), done: make(chan struct{})}
		close(p.done)
		clear(b.data) // nobody may read it any more
		pool.put(b)
		return p, nil
	})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if n := len(pool.tokens); n != 0 {
		t.Errorf("%s: %d buffers are not given back", what, n)
	}
	e := &manifest.Entry{Path: []byte("f"), Mode: 0o600, Size: res.entry.Size, Content: res.entry.Content, Tree: res.entry.Tree, Hash: res.entry.Hash}
	if err := e.Check(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if res.entry.Size != res.size {
		t.Errorf("%s: size %d and %d", what, res.entry.Size, res.size)
	}
	if !res.entry.Tree.IsEmpty() {
		return // the pieces are in a tree; most seeds have few enough
	}
	var got []byte
	for _, p := range res.entry.Content {
		if p.IsHole() {
			got = append(got, make([]byte, p.Length)...)
		} else {
			got = append(got, chunks[p.Chunk][p.Offset:int64(p.Offset)+p.Length]...)
		}
	}
	want := f.given
	if int64(len(want)) < res.size {
		want = append(want, make([]byte, res.size-int64(len(want)))...)
	}
	if !bytes.Equal(got, want[:min(int64(len(want)), res.size)]) {
		t.Fatalf("%s: pieces give %d bytes that are not those read (%v)", what, len(got), res.err)
	}
	if res.err == nil && !bytes.Equal(got, f.data) {
		t.Fatalf("%s: not the file, and no problem is told", what)
	}
	if res.err == nil && (before != f.stat || f.failAt >= 0 && int64(len(f.given)) > f.failAt) {
		t.Errorf("%s: no problem is told", what)
	}
}
