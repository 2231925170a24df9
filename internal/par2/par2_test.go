package par2

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
)

// noise returns n bytes that no other seed gives.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), 1})
	src.Read(b)
	return b
}

func src(b []byte) Source { return Source{Data: bytes.NewReader(b), Size: int64(len(b))} }

func mustEncode(t testing.TB, name string, data []byte, p Params) []byte {
	t.Helper()
	v, err := Encode(name, data, p, 1)
	if err != nil {
		t.Fatal(err)
	}
	return v.Bytes()
}

func mustParse(t testing.TB, volumes ...[]byte) *Set {
	t.Helper()
	sources := make([]Source, len(volumes))
	for i, v := range volumes {
		sources[i] = src(v)
	}
	s, err := Parse(sources...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mend checks and repairs the only file of a set.
func mend(s *Set, data []byte, o Options) ([]byte, *Report, error) {
	r := s.Check([]Source{src(data)}, o)
	var out bytes.Buffer
	err := s.Repair(r, []io.Writer{&out}, o)
	return out.Bytes(), r, err
}

// sizes around everything that is special: padding of 4, of slices, of MD5 blocks, the 16 KiB of the start.
var sizes = []int{0, 1, 2, 3, 4, 5, 63, 64, 65, 3000, 4095, 4096, 4097, 8192, 16383, 16384, 16385, 100_000, 819_200, 819_201, 1_000_003}

func TestRoundTrip(t *testing.T) {
	for _, size := range sizes {
		for _, p := range []Params{{}, {Blocks: 1, Recovery: 1}, {Blocks: 7, Recovery: 3}, {Blocks: 1000, Recovery: 50}, {Blocks: 20, Recovery: 40}} {
			data := noise(uint64(size), size)
			s := mustParse(t, mustEncode(t, "pack", data, p))
			f := s.Files[0]
			if len(s.Files) != 1 || f.Name != "pack" || f.Size != int64(size) || s.Creator != "firn" {
				t.Fatalf("%d, %v: set is %+v", size, p, s)
			}
			if s.Slices > p.orDefault().Blocks || s.Recovery() != p.recovery(s.Slices) {
				t.Fatalf("%d, %v: %d slices and %d recovery slices", size, p, s.Slices, s.Recovery())
			}
			if r := s.Check([]Source{src(data)}, Options{}); !r.Whole() || r.Lost != 0 || r.Err() != nil {
				t.Fatalf("%d, %v: whole file: %+v", size, p, r)
			}
			lost := min(s.Slices, s.Recovery())
			damaged := bytes.Clone(data)
			for i := range lost {
				damaged[int64(i)*s.SliceSize] ^= 1
			}
			got, r, err := mend(s, damaged, Options{})
			if err != nil || !bytes.Equal(got, data) || r.Lost > lost {
				t.Fatalf("%d, %v: repair of %d slices: %v, %+v", size, p, lost, err, r)
			}
			if s.Slices > lost && s.length(lost) > 4 { // so few bytes are found again somewhere
				damaged[int64(lost)*s.SliceSize] ^= 1
				var beyond *BeyondRepairError
				if _, _, err := mend(s, damaged, Options{}); !errors.As(err, &beyond) || beyond.Lost != lost+1 || beyond.Recovery != lost {
					t.Fatalf("%d, %v: one slice too many: %v", size, p, err)
				}
			}
		}
	}
}

// TestEncoder holds the streaming encoder, whatever the sizes of writes, to the other one where they have the same slices.
func TestEncoder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, size := range sizes {
		for _, p := range []Params{{}, {Blocks: 30, Recovery: 4}, {Blocks: 1, Recovery: 3}} {
			data := noise(uint64(size), size)
			want := mustEncode(t, "pack", data, p)
			e, err := NewEncoder("pack", int64(size), p)
			if err != nil {
				t.Fatal(err)
			}
			for rest := data; len(rest) > 0; {
				n, err := e.Write(rest[:min(len(rest), rnd.IntN(100_000))])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if _, err := e.Write([]byte{1}); err != ErrTooLarge {
				t.Fatalf("%d: more than announced: %v", size, err)
			}
			if got := e.Finish().Bytes(); !bytes.Equal(got, want) {
				t.Fatalf("%d, %v: not the volume that Encode makes", size, p)
			}
		}
	}
}

// TestEncoderReset makes volumes of files of all sizes with one encoder that learns their names last: each is the one that Encode makes, wherever the announced
// size gives the same slices, and no larger than that where the file is smaller than announced and still in memory.
func TestEncoderReset(t *testing.T) {
	rnd := rand.New(rand.NewPCG(2, 1))
	var e Encoder
	all := append([]int{6 << 20, 9 << 20, 20 << 20}, sizes...)
	for _, limit := range []int64{0, 32 << 20} {
		for i := range 2 * len(all) {
			size, p := all[i%len(all)], []Params{{}, {Blocks: 30, Recovery: 4}, {Blocks: 200, Recovery: 200}}[i%3]
			data := noise(uint64(size), size)
			if err := e.Reset(max(limit, int64(size)), p); err != nil {
				t.Fatal(err)
			}
			for rest := data; len(rest) > 0; {
				n, err := e.Write(rest[:min(len(rest), rnd.IntN(100_000))])
				if err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			v, err := e.FinishAs("pack")
			if err != nil {
				t.Fatal(err)
			}
			got, want := v.Bytes(), mustEncode(t, "pack", data, p)
			if (limit == 0 || size <= 4<<20) && !bytes.Equal(got, want) {
				t.Fatalf("%d of %d, %v: not the volume that Encode makes", size, limit, p)
			}
			s := mustParse(t, got)
			if s.Files[0].Name != "pack" || s.Recovery() < p.recovery(s.Slices) {
				t.Fatalf("%d of %d, %v: %+v", size, limit, p, s)
			}
			damaged := bytes.Clone(data)
			if size > 0 {
				damaged[size/2] ^= 1
			}
			if fixed, _, err := mend(s, damaged, Options{}); err != nil || !bytes.Equal(fixed, data) {
				t.Fatalf("%d of %d, %v: %v", size, limit, p, err)
			}
		}
	}
	if err := e.Reset(1, Params{Blocks: -1}); err == nil {
		t.Error("impossible params are taken")
	}
	if err := e.Reset(1, Params{}); err != nil {
		t.Error(err)
	}
	if _, err := e.FinishAs(""); err == nil {
		t.Error("an empty name is taken")
	}
}

// TestEncoderReuse: one file after another takes no new memory but for what is small.
func TestEncoderReuse(t *testing.T) {
	var e Encoder
	data := noise(1, 5<<20)
	once := func(size int) {
		if err := e.Reset(int64(size), Params{}); err != nil {
			t.Fatal(err)
		}
		_, _ = e.Write(data[:size])
		if _, err := e.FinishAs("pack"); err != nil {
			t.Fatal(err)
		}
	}
	once(len(data))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range 20 {
		once(len(data) - i*5000)
	}
	runtime.ReadMemStats(&after)
	if took := (after.TotalAlloc - before.TotalAlloc) / 20; took > 200_000 {
		t.Errorf("%d bytes a file", took)
	}
}

// TestEncoderSmaller: less than announced means fewer slices and fewer recovery slices.
func TestEncoderSmaller(t *testing.T) {
	for _, size := range []int{0, 1, 5000, 100_000, 4_000_000} {
		e, err := NewEncoder("pack", 10_000_000, Params{})
		if err != nil {
			t.Fatal(err)
		}
		data := noise(uint64(size), size)
		e.Write(data)
		volume := e.Finish().Bytes()
		s := mustParse(t, volume)
		if e, err = s.Again(Params{}); err != nil {
			t.Fatal(err)
		}
		e.Write(data)
		if !bytes.Equal(e.Finish().Bytes(), volume) {
			t.Fatalf("%d: not the same volume again", size)
		}
		slices := int((int64(size) + 50048 - 1) / 50048)
		if s.SliceSize != 50048 || s.Slices != slices || s.Recovery() != (slices+19)/20 {
			t.Fatalf("%d: %+v", size, s)
		}
		if size > 0 {
			data[size-1]++
			got, _, err := mend(s, data, Options{})
			data[size-1]--
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d: %v", size, err)
			}
		}
	}
}

func TestEncodeWorkers(t *testing.T) {
	data := noise(1, 3_000_001)
	want := mustEncode(t, "pack", data, Params{})
	for _, workers := range []int{0, 2, 3, 8} {
		v, err := Encode("pack", data, Params{}, workers)
		if err != nil || !bytes.Equal(v.Bytes(), want) {
			t.Errorf("%d workers: another volume (%v)", workers, err)
		}
	}
}

// TestEncodeMemory: beside the pack and its parity, making a volume takes less than 16 MB, and Encode no more than a slice and 1 MiB.
func TestEncodeMemory(t *testing.T) {
	data := noise(1, 32<<20)
	for _, p := range []Params{{200, 10}, {1000, 50}, {20, 1}} {
		parity := uint64(p.SliceSize(int64(len(data)))) * uint64(p.Recovery)
		if got := allocated(func() {
			e, _ := NewEncoder("pack", int64(len(data)), p)
			for rest := data; len(rest) > 0; rest = rest[1<<19:] {
				e.Write(rest[:1<<19])
			}
			e.Finish()
		}); got > parity+16e6 {
			t.Errorf("%v: encoder allocates %d bytes for %d of parity", p, got, parity)
		}
		if got := allocated(func() { Encode("pack", data, p, 2) }); got > parity+uint64(p.SliceSize(int64(len(data))))+1<<20+1<<19 {
			t.Errorf("%v: Encode allocates %d bytes for %d of parity", p, got, parity)
		}
	}
}

// allocated returns how many bytes f allocates, all together.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestVolume(t *testing.T) {
	v, err := Encode("pack", noise(1, 100_000), Params{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := v.Bytes()
	var out bytes.Buffer
	if n, err := v.WriteTo(&out); err != nil || n != v.Size() || !bytes.Equal(out.Bytes(), want) {
		t.Errorf("WriteTo: %d bytes, %v", n, err)
	}
	got, err := io.ReadAll(io.NewSectionReader(v, 0, v.Size()))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("ReadAt: %d bytes, %v", len(got), err)
	}
	b := make([]byte, 100)
	if n, err := v.ReadAt(b, v.Size()-40); n != 40 || err != io.EOF || !bytes.Equal(b[:40], want[len(want)-40:]) {
		t.Errorf("ReadAt at the end: %d, %v", n, err)
	}
	if _, err := v.ReadAt(b, -1); err == nil {
		t.Error("ReadAt at -1")
	}
	for _, size := range sizes {
		v, _ := Encode(fmt.Sprintf("%064d", 0), noise(1, size), Params{}, 1)
		if told := (Params{}).VolumeSize(int64(size)); told < v.Size() || told > v.Size()+200 {
			t.Errorf("file of %d bytes: volume of %d, told %d", size, v.Size(), told)
		}
	}
}

func TestParams(t *testing.T) {
	for _, p := range []Params{{Blocks: -1, Recovery: 1}, {Blocks: 1}, {Recovery: 1}, {Blocks: 32769, Recovery: 1}, {Blocks: 1, Recovery: 32769}} {
		if p.Check() == nil {
			t.Errorf("%v passes", p)
		}
		if _, err := NewEncoder("x", 1, p); err == nil {
			t.Errorf("%v makes an encoder", p)
		}
	}
	for _, c := range []struct {
		percent float64
		blocks  int
		want    Params
	}{{5, 0, Params{200, 10}}, {10, 0, Params{200, 20}}, {5, 1000, Params{1000, 50}}, {0.1, 100, Params{100, 1}}, {12.5, 10, Params{10, 2}}, {100, 3, Params{3, 3}}} {
		if got := Percent(c.percent, c.blocks); got != c.want {
			t.Errorf("%v %% of %d: %v, want %v", c.percent, c.blocks, got, c.want)
		}
	}
	for _, name := range []string{"", string(make([]byte, maxName+1))} {
		if _, err := Encode(name, nil, Params{}, 1); err == nil {
			t.Errorf("name of %d bytes passes", len(name))
		}
	}
	if _, err := NewEncoder("x", -1, Params{}); err == nil {
		t.Error("negative size passes")
	}
	for size := int64(0); size < 1<<40; size = size*5/4 + 1 {
		for _, p := range []Params{{}, {Blocks: 1000, Recovery: 1}, {Blocks: 1, Recovery: 1}} {
			s := p.SliceSize(size)
			if n := (size + s - 1) / s; s%4 != 0 || n > int64(p.orDefault().Blocks) || size >= minSlice && s%64 != 0 {
				t.Errorf("%d, %v: slices of %d", size, p, s)
			}
		}
	}
}
