package index

import (
	"bufio"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
)

// heapInUse returns the bytes of live heap, after a collection.
func heapInUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// benchID returns the id of chunk i: the same each time.
func benchID(i uint64) digest.Chunk {
	r := rand.NewPCG(i, 42)
	var id digest.Chunk
	for k := 0; k < 32; k += 8 {
		v := r.Uint64()
		for b := range 8 {
			id[k+b] = byte(v >> (8 * b))
		}
	}
	return id
}

// file makes a table in a file.
func file(b *testing.B, path string, write func(w *bufio.Writer) error) *Table {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	w := bufio.NewWriterSize(f, 1<<16)
	if err := write(w); err != nil {
		b.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	t, err := OpenTable(f, info.Size())
	if err != nil {
		b.Fatal(err)
	}
	return t
}

// BenchmarkLarge builds a set of FIRN_INDEX_CHUNKS chunks (default 200,000) by spilling and merging, then looks up.
// With 10,000,000 it shows what the limits of the package are about.
func BenchmarkLarge(b *testing.B) {
	n, _ := strconv.Atoi(os.Getenv("FIRN_INDEX_CHUNKS"))
	if n == 0 {
		n = 200_000
	}
	const perPack, perSpill = 64, 1 << 18
	before := heapInUse()
	peak := uint64(0)
	sample := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak = max(peak, m.HeapInuse)
	}
	dir := b.TempDir()
	s := NewSet()
	start := time.Now()
	r := rand.New(rand.NewPCG(1, 1))
	prefix := make([]byte, 184)
	p := &Pack{Size: 1 << 26, Birth: time.Unix(1700000000, 0), Class: "DEEP_ARCHIVE", Prefix: prefix}
	spills := 0
	for i := 0; i < n; {
		p.Name, p.Chunks = random32(r), p.Chunks[:0]
		for ; len(p.Chunks) < perPack && i < n; i++ {
			p.Chunks = append(p.Chunks, chunk.Ref{ID: benchID(uint64(i)), Frame: 700_000, Raw: 1 << 20})
		}
		if _, err := s.Add(p, [16]byte{7}); err != nil {
			b.Fatal(err)
		}
		if s.Pending() >= perSpill || i == n {
			sample()
			var sp *Spilled
			t := file(b, filepath.Join(dir, strconv.Itoa(spills)), func(w *bufio.Writer) (err error) {
				sp, err = s.Spill(w, nil)
				return err
			})
			if err := s.Attach(t, sp); err != nil {
				b.Fatal(err)
			}
			spills++
		}
	}
	built := time.Since(start)
	start = time.Now()
	var m *Merged
	t := file(b, filepath.Join(dir, "all"), func(w *bufio.Writer) (err error) {
		m, err = Merge(w, nil, s.Tables()...)
		sample()
		return err
	})
	merged := time.Since(start)
	if err := s.Replace(t, m); err != nil {
		b.Fatal(err)
	}
	s = NewSet(t)
	b.Logf("%d chunks, %d packs: %d spills in %v, merge in %v, file %.2f bytes/chunk, heap peak %d MB, grown by %d KB",
		n, t.Packs(), spills, built, merged, float64(t.Size())/float64(n), (peak-before)>>20, (int64(heapInUse())-int64(before))>>10)

	lookups(b, s, n)
}

// lookups measures a set with the chunks 0 … n−1.
func lookups(b *testing.B, s *Set, n int) {
	b.Run("hit", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, ok, err := s.Known(benchID(uint64(i*7919%n)), chunk.Data); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("miss", func(b *testing.B) {
		for i := range b.N {
			if _, ok, err := s.Known(benchID(uint64(n+i)), chunk.Data); ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(n); pb.Next(); i++ {
				if _, ok, err := s.Known(benchID(uint64(i*7919%n)), chunk.Data); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	})
}

// BenchmarkParse streams bodies of 64 packs of 64 chunks.
func BenchmarkParse(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var packs []*Pack
	for range 64 {
		packs = append(packs, randomPack(r, 64, nil))
	}
	data := body(b, Header{}, packs...)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for range b.N {
		if _, err := Parse(data, func(*Pack) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*64*64), "ns/chunk")
}
