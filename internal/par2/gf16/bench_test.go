package gf16

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkMulAdd adds all slices of a file to its recovery slices, on one processor; bytes are those of the file.
func BenchmarkMulAdd(b *testing.B) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, shape := range []struct{ ins, outs, size int }{{200, 10, 64 << 20}, {1000, 50, 64 << 20}} {
		length := shape.size/shape.ins&^63 + 64
		in, out := make([][]byte, shape.ins), make([][]byte, shape.outs)
		data := make([]byte, length*shape.ins)
		for i := 0; i+8 < len(data); i += 8 {
			data[i] = byte(rnd.Uint32())
		}
		for i := range in {
			in[i] = data[i*length:][:length]
		}
		for i := range out {
			out[i] = make([]byte, length)
		}
		coef := make([]uint16, shape.ins*shape.outs)
		for i := range coef {
			coef[i] = uint16(rnd.Uint32())
		}
		for _, k := range kernels() {
			b.Run(fmt.Sprintf("%dx%d/%s", shape.ins, shape.outs, k.name), func(b *testing.B) {
				b.SetBytes(int64(len(data)))
				m := k.newMatrix(shape.outs, shape.ins, coef)
				for b.Loop() {
					m.MulAdd(out, in)
				}
			})
		}
	}
}
