package frame

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func randomBytes(seed uint64, n int) []byte {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	b := make([]byte, n)
	_, _ = r.Read(b)
	return b
}

// text compresses about as well as source code does.
func text(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([][]byte, 3000)
	for i := range words {
		words[i] = fmt.Appendf(nil, "%x ", r.Uint64()>>(r.IntN(48)+8))
	}
	b := make([]byte, 0, n+32)
	for len(b) < n {
		b = append(b, words[min(r.IntN(len(words)), r.IntN(len(words)))]...)
	}
	return b[:n]
}

func contents() map[string][]byte {
	m := map[string][]byte{
		"empty": {}, "one byte": {7}, "text": text(1, 300_000), "random": randomBytes(1, 300_000), "zeros": make([]byte, 1<<20), "large text": text(2, 5<<20),
		"large random": randomBytes(2, 3<<20+17),
	}
	for _, n := range []int{255, 256, 257, 65_791, 65_792, blockMax - 1, blockMax, blockMax + 1, windows[0], 2*windows[0] + 1} {
		m[fmt.Sprint(n, " bytes of text")] = text(uint64(n), n)
		m[fmt.Sprint(n, " random bytes")] = randomBytes(uint64(n), n)
	}
	return m
}

func TestRoundTrip(t *testing.T) {
	for level := Fastest; level <= Best; level++ {
		e, d := NewEncoder(level), NewDecoder()
		for name, raw := range contents() {
			if level > Default && len(raw) > 1<<20 {
				continue
			}
			frame := e.Append([]byte("before"), raw)
			if string(frame[:6]) != "before" {
				t.Fatal("what was before is gone")
			}
			frame = frame[6:]
			if len(frame) > Bound(len(raw)) {
				t.Errorf("%s, %s: %d bytes become %d, bound %d", level, name, len(raw), len(frame), Bound(len(raw)))
			}
			if flags := frame[4]; flags&^0xC0 != 0x20 {
				t.Errorf("%s, %s: descriptor %#x", level, name, flags)
			}
			x, err := measure(frame)
			if err != nil || x.length != len(frame) || x.content != uint64(len(raw)) {
				t.Errorf("%s, %s: measures %+v, %v", level, name, x, err)
			}
			got, err := d.Append([]byte("first"), frame, len(raw))
			if err != nil || string(got) != "first"+string(raw) {
				t.Errorf("%s, %s: %v, %d bytes", level, name, err, len(got))
			}
		}
	}
}

func TestDeterministic(t *testing.T) {
	raw := text(3, 700_000)
	e := NewEncoder(Fastest)
	first := e.Append(nil, raw)
	e.Append(nil, randomBytes(3, 900_000))
	if !bytes.Equal(e.Append(nil, raw), first) || !bytes.Equal(NewEncoder(Fastest).Append(nil, raw), first) {
		t.Error("a used encoder writes other frames")
	}
}

func TestDecoderRefuses(t *testing.T) {
	e, d := NewEncoder(Fastest), NewDecoder()
	raw := text(4, 10_000)
	good := e.Append(nil, raw)
	dict, _ := zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithEncoderDictRaw(5, raw[:100]))
	windowed, _ := zstd.NewWriter(nil, zstd.WithSingleSegment(false))
	huge := slices.Concat(good[:4], []byte{0xE0, 0, 0, 0, 0, 1, 0, 0, 0}, good[7:])
	for name, test := range map[string]struct {
		frame []byte
		n     int
	}{
		"empty":              {nil, 0},
		"truncated":          {good[:len(good)-1], len(raw)},
		"two frames":         {slices.Concat(good, good), len(raw)},
		"a byte more":        {append(bytes.Clone(good), 0), len(raw)},
		"skippable behind":   {AppendSkippable(bytes.Clone(good), nil), len(raw)},
		"skippable":          {AppendSkippable(nil, good), len(raw)},
		"shorter":            {good, len(raw) - 1},
		"longer":             {good, len(raw) + 1},
		"negative":           {good, -1},
		"declares 4 GiB":     {huge, 1 << 32 & (1<<31 - 1)},
		"needs a dictionary": {dict.EncodeAll(raw, nil), len(raw)},
		"not single-segment": {windowed.EncodeAll(raw, nil), len(raw)},
		"other magic":        {append([]byte{1}, good[1:]...), len(raw)},
		"reserved bit":       {append(append(bytes.Clone(good[:4]), good[4]|8), good[5:]...), len(raw)},
		"reserved block":     {append(append(bytes.Clone(good[:7]), good[7]|6), good[8:]...), len(raw)},
	} {
		dst := []byte("kept")
		got, err := d.Append(dst, test.frame, test.n)
		if !errors.Is(err, ErrCorrupt) || string(got) != "kept" {
			t.Errorf("%s: %v, %d bytes", name, err, len(got))
		}
	}
	if got, err := d.Append(nil, good, len(raw)); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("a decoder is of no use after errors: %v", err)
	}
	sum, _ := zstd.NewWriter(nil, zstd.WithSingleSegment(true), zstd.WithEncoderCRC(true))
	checked := sum.EncodeAll(raw, nil)
	if got, err := d.Append(nil, checked, len(raw)); err != nil || !bytes.Equal(got, raw) {
		t.Errorf("with a checksum: %v", err)
	}
	checked[len(checked)-1] ^= 1
	if _, err := d.Append(nil, checked, len(raw)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a wrong checksum: %v", err)
	}
}

// TestHostileSizes: few bytes must not make a reader allocate much.
func TestHostileSizes(t *testing.T) {
	bomb := []byte{0x28, 0xB5, 0x2F, 0xFD, 0xA0, 0, 0, 0, 1, 1, 0, 0} // 16 MiB declared, one empty block
	d := NewDecoder()
	if _, err := d.Append(nil, bomb, 16<<20); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v", err)
	}
	if n := testing.AllocsPerRun(10, func() { _, _ = d.Append(nil, bomb, 16<<20) }); n > 8 {
		t.Errorf("%v allocations", n)
	}
	if _, err := DecodeAll(bomb, 1<<30); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error %v", err)
	}
	big := NewEncoder(Fastest).Append(nil, make([]byte, 1<<20))
	if _, err := DecodeAll(bytes.Repeat(big, 3), 3<<20-1); !errors.Is(err, ErrLimit) {
		t.Errorf("error %v", err)
	}
	if _, err := DecodeAll(big, -1); !errors.Is(err, ErrLimit) {
		t.Errorf("error %v", err)
	}
}

func TestDecodeAll(t *testing.T) {
	e := NewEncoder(Default)
	a, b := text(5, 200_000), randomBytes(5, 1000)
	stream := AppendSkippable(nil, []byte("FIRNxxx1"))
	stream = e.Append(stream, a)
	stream = append(stream, 0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3) // skippable frames of others
	stream = e.Append(stream, nil)
	stream = e.Append(stream, b)
	stream = AppendSkippable(stream, nil)
	want := slices.Concat(a, b)
	got, err := DecodeAll(stream, len(want))
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v, %d bytes", err, len(got))
	}
	if _, err := DecodeAll(stream, len(want)-1); !errors.Is(err, ErrLimit) {
		t.Errorf("over the limit: %v", err)
	}
	for _, less := range []int{1, 7, 8, 9, 100, 1000, len(stream) / 2, len(stream) - 5} {
		if _, err := DecodeAll(stream[:len(stream)-less], len(want)); less != 8 && !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes less: %v", less, err)
		}
	}
	if got, err := DecodeAll(nil, 0); err != nil || len(got) != 0 {
		t.Errorf("nothing decodes to %d bytes, %v", len(got), err)
	}
}

func TestSkippable(t *testing.T) {
	b := AppendSkippable([]byte("x"), []byte("payload"))
	b = append(b, "rest"...)
	payload, rest, err := Skippable(b[1:])
	if err != nil || string(payload) != "payload" || string(rest) != "rest" {
		t.Fatalf("%q, %q, %v", payload, rest, err)
	}
	if !bytes.Equal(b[1:9], []byte{0x57, 0x2A, 0x4D, 0x18, 7, 0, 0, 0}) {
		t.Errorf("head % x", b[1:9])
	}
	for n := range len("payload") + SkippableHead {
		if _, _, err := Skippable(b[1 : 1+n]); !errors.Is(err, ErrTruncated) || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, _, err := Skippable([]byte{0x58, 0x2A, 0x4D, 0x18, 0, 0, 0, 0}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another magic: %v", err)
	}
	if _, _, err := Skippable([]byte{0x57, 0x2A, 0x4D, 0x18, 255, 255, 255, 255}); !errors.Is(err, ErrLimit) {
		t.Errorf("4 GiB: %v", err)
	}
}

func TestPadme(t *testing.T) {
	for n, want := range map[int64]int64{
		0: 0, 1: 1, 2: 2, 3: 3, 7: 7, 8: 8, 9: 10, 15: 16, 16: 16, 17: 18, 100: 104, 255: 256, 1000: 1024, 1025: 1088, 1 << 20: 1 << 20, 1<<20 + 1: 1<<20 + 1<<15,
		999_999: 1_015_808, 1<<40 + 1: 1<<40 + 1<<34, 1 << 62: 1 << 62,
	} {
		if got := Padme(n); got != want {
			t.Errorf("Padmé of %d: %d instead of %d", n, got, want)
		}
	}
	last := int64(0)
	for n := int64(2); n < 100_000; n++ {
		p := Padme(n)
		if p < n || float64(p-n) > 0.1112*float64(n)+1 || Padme(p) != p || p < last {
			t.Fatalf("Padmé of %d: %d", n, p)
		}
		last = p
	}
}

func TestPadding(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for i := range 20_000 {
		used, tail := int64(i), r.IntN(200)
		if i%3 == 0 {
			used = r.Int64N(1 << (10 + r.IntN(12)))
		}
		pad := AppendPadding(nil, used, tail)
		total := used + int64(len(pad)+tail)
		if Padme(total) != total || int64(len(pad)) != PaddingSize(used+int64(tail)) {
			t.Fatalf("%d + %d + %d bytes are no Padmé size", used, len(pad), tail)
		}
		if len(pad) == 0 {
			continue
		}
		payload, rest, err := Skippable(pad)
		if err != nil || len(rest) > 0 || string(payload[:8]) != PadTag || len(bytes.Trim(payload[8:], "\x00")) > 0 {
			t.Fatalf("padding % .40x: %v", pad, err)
		}
	}
	for range 100_000 {
		n := r.Int64N(1 << (1 + r.IntN(40)))
		if pad := PaddingSize(n); Padme(n+pad) != n+pad || pad > 0 && pad < 16 {
			t.Fatalf("%d bytes are padded by %d", n, pad)
		}
	}
	if got := AppendPadding([]byte("abc"), 3, 0); string(got) != "abc" {
		t.Errorf("a Padmé size is padded: %q", got)
	}
}

func TestLevels(t *testing.T) {
	for l := Fastest; l <= Best; l++ {
		if got, err := ParseLevel(l.String()); got != l || err != nil {
			t.Errorf("%v reads as %v, %v", l, got, err)
		}
	}
	if _, err := ParseLevel("fast"); err == nil || Level(9).String() != "level(9)" {
		t.Error("unknown levels")
	}
}

// TestZstdProgram lets the zstd program judge both ways.
func TestZstdProgram(t *testing.T) {
	if _, err := exec.LookPath("zstd"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("zstd is not installed")
		}
		t.Skip("zstd is not installed")
	}
	dir := t.TempDir()
	e, d := NewEncoder(Fastest), NewDecoder()
	var stream, want []byte
	for _, raw := range contents() {
		want = append(want, raw...)
		stream = e.Append(stream, raw)
		stream = AppendPadding(stream, int64(len(stream)), 100)
		stream = AppendSkippable(stream, make([]byte, 92))
		if n := int64(len(stream)); Padme(n) != n {
			t.Errorf("%d bytes", n)
		}
	}
	name := filepath.Join(dir, "stream.zst")
	if err := os.WriteFile(name, stream, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("zstd", "-q", "-t", name).CombinedOutput(); err != nil {
		t.Errorf("zstd -t: %v: %s", err, out)
	}
	if got, err := exec.Command("zstd", "-dc", name).Output(); err != nil || !bytes.Equal(got, want) {
		t.Errorf("zstd -dc: %v, %d bytes instead of %d", err, len(got), len(want))
	}
	raw := filepath.Join(dir, "raw")
	if err := os.WriteFile(raw, want[:2<<20], 0o600); err != nil {
		t.Fatal(err)
	}
	frame, err := exec.Command("zstd", "-qc", "-3", "--no-check", raw).Output()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Append(nil, frame, 2<<20); err != nil && frame[4]&0x20 != 0 {
		t.Errorf("frame of zstd: %v", err)
	}
}

// TestMemory keeps an eye on what a worker's pair holds.
func TestMemory(t *testing.T) {
	raw := text(8, 4<<20)
	frame := make([]byte, 0, Bound(len(raw)))
	out := make([]byte, 0, len(raw))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	e, d := NewEncoder(Fastest), NewDecoder()
	for range 3 {
		frame = e.Append(frame[:0], raw)
		var err error
		if out, err = d.Append(out[:0], frame, len(raw)); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := int64(after.HeapAlloc) - int64(before.HeapAlloc)
	t.Logf("encoder and decoder hold %d KiB", held>>10)
	if held > 5<<20 {
		t.Errorf("encoder and decoder hold %d bytes", held)
	}
	runtime.KeepAlive(e)
	runtime.KeepAlive(d)
	if n := testing.AllocsPerRun(3, func() { frame = e.Append(frame[:0], raw) }); n > 1 {
		t.Errorf("%v allocations to encode", n)
	}
	if n := testing.AllocsPerRun(3, func() { out, _ = d.Append(out[:0], frame, len(raw)) }); n > 4 {
		t.Errorf("%v allocations to decode", n)
	}
}

func FuzzDecode(f *testing.F) {
	e := NewEncoder(Fastest)
	f.Add(e.Append(nil, text(1, 500)), 500)
	f.Add(e.Append(nil, nil), 0)
	f.Add(AppendSkippable(e.Append(nil, make([]byte, 5000)), []byte("FIRNTAB1")), 5000)
	f.Add([]byte{0x28, 0xB5, 0x2F, 0xFD, 0xA0, 0, 0, 0, 1, 1, 0, 0}, 16<<20)
	d := NewDecoder()
	f.Fuzz(func(t *testing.T, b []byte, n int) {
		if n > 1<<22 {
			return
		}
		got, err := d.Append(nil, b, n)
		if err == nil && len(got) != n {
			t.Fatalf("%d bytes instead of %d", len(got), n)
		}
		if err != nil && (got != nil || !errors.Is(err, ErrCorrupt)) {
			t.Fatalf("%d bytes and error %v", len(got), err)
		}
		all, allErr := DecodeAll(b, 1<<22)
		if err == nil && (allErr != nil || !bytes.Equal(all, got)) {
			t.Fatalf("all: %v", allErr)
		}
		if allErr != nil && !errors.Is(allErr, ErrCorrupt) && !errors.Is(allErr, ErrLimit) {
			t.Fatalf("all: %v", allErr)
		}
		payload, rest, err := Skippable(b)
		if err == nil && len(payload)+len(rest)+SkippableHead != len(b) {
			t.Fatal("skippable frame loses bytes")
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for level := Fastest; level <= Best; level++ {
		for name, raw := range map[string][]byte{"text": text(1, 2<<20), "random": randomBytes(1, 2<<20)} {
			b.Run(level.String()+"/"+name, func(b *testing.B) {
				e := NewEncoder(level)
				dst := make([]byte, 0, Bound(len(raw)))
				b.SetBytes(int64(len(raw)))
				b.ReportAllocs()
				for b.Loop() {
					dst = e.Append(dst[:0], raw)
				}
				b.ReportMetric(float64(len(raw))/float64(len(dst)), "ratio")
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	for name, raw := range map[string][]byte{"text": text(1, 2<<20), "random": randomBytes(1, 2<<20)} {
		b.Run(name, func(b *testing.B) {
			frame := NewEncoder(Fastest).Append(nil, raw)
			d := NewDecoder()
			dst := make([]byte, 0, len(raw))
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = d.Append(dst[:0], frame, len(raw)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestTextWithoutRepeats: Base64 and hex digits of random bytes come out about as small as single bytes can be coded, and what is random is not tried twice.
func TestTextWithoutRepeats(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, 300_000)
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	for level := Fastest; level <= Best; level++ {
		e, d := NewEncoder(level), NewDecoder()
		for name, c := range map[string]struct {
			raw  []byte
			most float64
		}{
			"base64": {[]byte(base64.StdEncoding.EncodeToString(random)), 0.77},
			"hex":    {[]byte(hex.EncodeToString(random)), 0.52},
			"both":   {append(bytes.Clone(random), hex.EncodeToString(random)...), 0.69},
			"random": {random, 1.001},
			"short":  {[]byte(hex.EncodeToString(random[:3000])), 1.001},
		} {
			got := e.Append([]byte("before"), c.raw)
			if share := float64(len(got)-6) / float64(len(c.raw)); share > c.most || string(got[:6]) != "before" {
				t.Errorf("%v, %s: %.3f of its size, want at most %.3f", level, name, share, c.most)
			}
			back, err := d.Append(nil, got[6:], len(c.raw))
			if err != nil || !bytes.Equal(back, c.raw) {
				t.Errorf("%v, %s: %v", level, name, err)
			}
			if len(got)-6 > Bound(len(c.raw)) {
				t.Errorf("%v, %s: %d bytes, more than the bound", level, name, len(got))
			}
		}
	}
	if wasteful(len(random)+50, random) {
		t.Error("random bytes are taken for text")
	}
}
