package par2

import (
	"crypto/md5"
	"fmt"
	"io"
	"testing"
)

// BenchmarkHash hashes what stays in the nearest cache: the limit of everything that makes volumes.
func BenchmarkHash(b *testing.B) {
	data := noise(1, 16<<10)
	b.Run("md5", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		h := md5.New()
		for b.Loop() {
			h.Write(data)
		}
	})
	b.Run("file and slices", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		h := newHasher(1 << 20)
		for b.Loop() {
			h.write(data, nil, nil)
		}
	})
}

// BenchmarkEncode makes whole volumes, in memory and streamed; bytes are those of the pack.
func BenchmarkEncode(b *testing.B) {
	data := noise(1, 64<<20)
	for _, p := range []Params{{200, 10}, {1000, 50}} {
		b.Run(fmt.Sprintf("%d+%d", p.Blocks, p.Recovery), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if _, err := Encode("pack", data, p, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("%d+%d/streamed", p.Blocks, p.Recovery), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				e, err := NewEncoder("pack", int64(len(data)), p)
				if err != nil {
					b.Fatal(err)
				}
				for rest := data; len(rest) > 0; rest = rest[min(1<<20, len(rest)):] {
					e.Write(rest[:min(1<<20, len(rest))])
				}
				e.Finish()
			}
		})
	}
}

// BenchmarkCheck looks at a whole file, BenchmarkRepair mends one with as many lost slices as can be.
func BenchmarkCheck(b *testing.B) {
	data := noise(1, 64<<20)
	s := mustParse(b, mustEncode(b, "pack", data, Params{}))
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if !s.Check([]Source{src(data)}, Options{}).Whole() {
			b.Fatal("not whole")
		}
	}
}

// BenchmarkCheckMoved looks at a file with a byte in front: every slice is found by its rolling CRC, or right behind another.
func BenchmarkCheckMoved(b *testing.B) {
	data := noise(1, 64<<20)
	s := mustParse(b, mustEncode(b, "pack", data, Params{}))
	for _, moved := range []struct {
		name string
		data []byte
	}{{"by 1", append([]byte{1}, data...)}, {"nothing there", noise(2, len(data))}} {
		b.Run(moved.name, func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				s.Check([]Source{src(moved.data)}, Options{})
			}
		})
	}
}

func BenchmarkRepair(b *testing.B) {
	data := noise(1, 64<<20)
	s := mustParse(b, mustEncode(b, "pack", data, Params{}))
	for i := range s.Recovery() {
		data[int64(19*i)*s.SliceSize] ^= 1
	}
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		r := s.Check([]Source{src(data)}, Options{})
		if err := s.Repair(r, []io.Writer{io.Discard}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
