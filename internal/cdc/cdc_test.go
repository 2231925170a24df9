package cdc

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// small parameters make many cuts out of little data.
var small = Params{Min: 256, Avg: 256 + 512, Max: 4096}

func testTable(seed uint64) *Table {
	return NewTable(randomBytes(seed, TableSize))
}

func randomBytes(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

// texts have less entropy: few byte values, runs, repeats.
func texts(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, 0, n+300)
	for len(b) < n {
		switch r.IntN(4) {
		case 0:
			b = append(b, bytes.Repeat([]byte{byte(r.IntN(3))}, r.IntN(300))...)
		case 1:
			if len(b) > 0 {
				from := r.IntN(len(b))
				b = append(b, b[from:min(len(b), from+r.IntN(300))]...)
			}
		default:
			for range r.IntN(100) {
				b = append(b, "etaoin shrdlu\n"[r.IntN(14)])
			}
		}
	}
	return b[:n]
}

// reference does what FORMAT §7.1 says, a byte at a time and each hash from the start of its chunk.
func reference(t *Table, p Params, data []byte) (cuts []int) {
	zeros := int(math.Log2(float64(p.Avg - p.Min)))
	for len(data) > 0 {
		n := len(data)
		h := uint64(0)
		for i := p.Min - 64; i < len(data); i++ {
			h = (h << 1) + t[data[i]]
			if i >= p.Min-1 && h>>(64-zeros) == 0 || i == p.Max-1 {
				n = i + 1
				break
			}
		}
		cuts = append(cuts, n)
		data = data[n:]
	}
	return cuts
}

// cutAll cuts data as a reader would that gets block() more bytes each time.
func cutAll(c *Cutter, data []byte, block func() int) (cuts []int) {
	have := 0
	for {
		if n := c.Next(data[:have]); n > 0 {
			cuts = append(cuts, n)
			data, have = data[n:], have-n
			continue
		}
		if have == len(data) {
			c.Reset()
			if have > 0 {
				cuts = append(cuts, have)
			}
			return cuts
		}
		have = min(len(data), have+block())
	}
}

func TestMatchesReference(t *testing.T) {
	params := []Params{
		small, {Min: 64, Avg: 65, Max: 65}, {Min: 64, Avg: 65, Max: 200}, {Min: 64, Avg: 66, Max: 128}, {Min: 65, Avg: 196, Max: 1000},
		{Min: 1000, Avg: 1000 + 1023, Max: 2500}, {Min: 64, Avg: 4096, Max: 4096},
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i, p := range params {
		for seed := range uint64(20) {
			table := testTable(seed + 100*uint64(i))
			data := randomBytes(seed, r.IntN(60_000))
			if seed%2 == 1 {
				data = texts(seed, r.IntN(60_000))
			}
			want := fmt.Sprint(reference(table, p, data))
			c := NewCutter(table, p)
			for name, block := range map[string]func() int{
				"all at once":  func() int { return len(data) },
				"random":       func() int { return 1 + r.IntN(3000) },
				"a few bytes":  func() int { return 1 + r.IntN(9) },
				"sometimes no": func() int { return r.IntN(2) * r.IntN(500) },
			} {
				if got := fmt.Sprint(cutAll(c, data, block)); got != want {
					t.Fatalf("params %v, seed %d, %s: cuts %s instead of %s", p, seed, name, got, want)
				}
			}
		}
	}
}

func TestSizes(t *testing.T) {
	p := Params{Min: 8 << 10, Avg: 24 << 10, Max: 128 << 10}
	cuts := cutAll(NewCutter(testTable(1), p), randomBytes(2, 8<<20), func() int { return 1 << 20 })
	for i, n := range cuts[:len(cuts)-1] {
		if n < p.Min || n > p.Max {
			t.Fatalf("chunk %d has %d bytes", i, n)
		}
	}
	if mean := 8 << 20 / len(cuts); mean < 22<<10 || mean > 27<<10 {
		t.Errorf("mean of %d bytes with %v", mean, p)
	}
	for _, n := range cutAll(NewCutter(new(Table), p), make([]byte, 1<<20), func() int { return 1 << 20 }) {
		if n != p.Min {
			t.Errorf("a hash of zero cuts at the minimum, got %d", n)
		}
	}
	high := new(Table)
	for i := range high {
		high[i] = 1 << 63
	}
	for _, n := range cutAll(NewCutter(high, p), make([]byte, 1<<20), func() int { return 1 << 20 }) {
		if n != p.Max {
			t.Errorf("without a cut the maximum counts, got %d", n)
		}
	}
}

func TestResync(t *testing.T) {
	data := randomBytes(3, 1<<20)
	table := testTable(3)
	r := rand.New(rand.NewPCG(3, 3))
	ends := func(data []byte) map[string]bool {
		m := map[string]bool{}
		for _, n := range cutAll(NewCutter(table, small), data, func() int { return 1 << 20 }) {
			m[string(data[:n])] = true
			data = data[n:]
		}
		return m
	}
	before := ends(data)
	lost := 0
	const rounds = 50
	for range rounds {
		at, cut := r.IntN(len(data)), r.IntN(200)
		changed := append(append(bytes.Clone(data[:at]), randomBytes(r.Uint64(), r.IntN(200))...), data[min(len(data), at+cut):]...)
		for chunk := range ends(changed) {
			if !before[chunk] {
				lost++
			}
		}
	}
	if per := float64(lost) / rounds; per > 8 {
		t.Errorf("an edit makes %.1f new chunks", per)
	}
}

func TestTableDecides(t *testing.T) {
	data := randomBytes(4, 1<<18)
	all := func() int { return len(data) }
	a := cutAll(NewCutter(testTable(1), small), data, all)
	b := cutAll(NewCutter(testTable(2), small), data, all)
	if fmt.Sprint(a) == fmt.Sprint(b) {
		t.Error("two tables cut alike")
	}
}

func TestHash(t *testing.T) {
	table := testTable(5)
	for n := range 300 {
		key := randomBytes(uint64(n), n)
		want := uint64(0)
		for _, c := range key {
			want = want<<1 + table[c]
		}
		if got := table.Hash(key); got != want {
			t.Fatalf("hash of %d bytes: %x instead of %x", n, got, want)
		}
	}
}

func TestNewTable(t *testing.T) {
	b := make([]byte, TableSize)
	copy(b, []byte{1, 2, 3, 4, 5, 6, 7, 8})
	b[TableSize-1] = 9
	table := NewTable(b)
	if table[0] != 0x0807060504030201 || table[255] != 9<<56 {
		t.Errorf("table starts with %#x and ends with %#x", table[0], table[255])
	}
}

func TestCallersErrors(t *testing.T) {
	for name, f := range map[string]func(){
		"table":        func() { NewTable(make([]byte, TableSize-1)) },
		"params":       func() { NewCutter(new(Table), Params{Min: 63, Avg: 100, Max: 100}) },
		"shorter data": func() { c := NewCutter(new(Table), small); c.Next(make([]byte, 10)); c.Next(make([]byte, 9)) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	for _, p := range []Params{{}, {64, 64, 64}, {64, 100, 99}, {64, 100, MaxChunk + 1}, {-1, 5, 9}} {
		if p.Check() == nil {
			t.Errorf("%v is taken", p)
		}
	}
	if err := (Params{512 << 10, 1 << 20, 8 << 20}).Check(); err != nil {
		t.Error(err)
	}
}

func FuzzCutter(f *testing.F) {
	f.Add(randomBytes(1, 1000), uint64(1), uint16(64), uint16(100), uint16(200))
	f.Add(texts(1, 900), uint64(2), uint16(70), uint16(71), uint16(71))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64, lo, mid, hi uint16) {
		p := Params{Min: int(lo), Avg: int(mid), Max: int(hi)}
		if p.Check() != nil {
			return
		}
		table := testTable(seed)
		r := rand.New(rand.NewPCG(seed, 1))
		want := fmt.Sprint(reference(table, p, data))
		if got := fmt.Sprint(cutAll(NewCutter(table, p), data, func() int { return r.IntN(2000) })); got != want {
			t.Fatalf("cuts %s instead of %s", got, want)
		}
	})
}

// BenchmarkCut cuts random data with the sizes of the format.
func BenchmarkCut(b *testing.B) {
	data := randomBytes(1, 64<<20)
	c := NewCutter(testTable(1), Params{Min: 512 << 10, Avg: 1 << 20, Max: 8 << 20})
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		for rest := data; len(rest) > 0; {
			n := c.Next(rest)
			if n == 0 {
				c.Reset()
				break
			}
			rest = rest[n:]
		}
	}
}

// BenchmarkScan is the inner loop alone, without what the minimum skips.
func BenchmarkScan(b *testing.B) {
	data := randomBytes(1, 1<<20)
	table := testTable(1)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		table.scan(data, 0, 0)
	}
}
