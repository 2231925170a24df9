package gf16

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// slowMul multiplies as the definition of the field says, bit by bit.
func slowMul(a, b uint16) uint16 {
	x, p := int(a), 0
	for ; b != 0; b >>= 1 {
		if b&1 != 0 {
			p ^= x
		}
		x = Times2(x)
	}
	return uint16(p)
}

func TestMul(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 100000 {
		a, b := uint16(rnd.Uint32()), uint16(rnd.Uint32())
		if got, want := Mul(a, b), slowMul(a, b); got != want {
			t.Fatalf("%#x·%#x = %#x, want %#x", a, b, got, want)
		}
	}
	for a := 1; a < 65536; a++ {
		if Mul(uint16(a), Inv(uint16(a))) != 1 {
			t.Fatalf("%#x · 1/%#x is not 1", a, a)
		}
	}
}

func TestPow(t *testing.T) {
	for _, a := range []uint16{0, 1, 2, 3, 0x1234, 0xFFFF} {
		x := uint16(1)
		for n := range uint32(300) {
			if Pow(a, n) != x {
				t.Fatalf("%#x^%d = %#x, want %#x", a, n, Pow(a, n), x)
			}
			x = slowMul(x, a)
		}
	}
	if Pow(2, Order) != 1 || Pow(2, 1<<32-1) != 1 {
		t.Error("2 is not of order 65535")
	}
}

// TestBases holds the first constants to those that the specification lists.
func TestBases(t *testing.T) {
	for i, exp := range []uint32{1, 2, 4, 7, 8, 11, 13, 14, 16, 19, 22, 23, 26, 28, 29, 31} {
		if Base(i) != Pow(2, exp) {
			t.Errorf("constant %d is %d, want 2^%d", i, Base(i), exp)
		}
	}
	if last := Base(Bases - 1); last != Pow(2, 65534) {
		t.Errorf("the last constant is %d", last)
	}
}

func buffers(rnd *rand.Rand, count, length, shift int) [][]byte {
	b := make([][]byte, count)
	for i := range b {
		whole := make([]byte, shift+length+8)
		for j := range whole {
			whole[j] = byte(rnd.Uint32())
		}
		b[i] = whole[shift : shift+length : shift+length]
	}
	return b
}

func clone(b [][]byte) [][]byte {
	c := make([][]byte, len(b))
	for i := range b {
		c[i] = bytes.Clone(b[i])
	}
	return c
}

// slowMulAdd is the definition, word by word.
func slowMulAdd(out, in [][]byte, coef []uint16) {
	for o := range out {
		for i := range in {
			for w := 0; w < len(in[i]); w += 2 {
				x := binary.LittleEndian.Uint16(out[o][w:]) ^ Mul(coef[o*len(in)+i], binary.LittleEndian.Uint16(in[i][w:]))
				binary.LittleEndian.PutUint16(out[o][w:], x)
			}
		}
	}
}

func checkKernel(t *testing.T, k *kernel, rnd *rand.Rand, outs, ins, length, shift int) {
	t.Helper()
	coef := make([]uint16, outs*ins)
	for i := range coef {
		coef[i] = uint16(rnd.Uint32())
		if rnd.IntN(8) == 0 {
			coef[i] = uint16(rnd.IntN(3))
		}
	}
	in, out := buffers(rnd, ins, length, shift), buffers(rnd, outs, length, shift)
	want, sources := clone(out), clone(in)
	slowMulAdd(want, in, coef)
	k.newMatrix(outs, ins, coef).MulAdd(out, in)
	for o := range out {
		if !bytes.Equal(out[o], want[o]) {
			t.Fatalf("%s: %d × %d, %d bytes at %d: output %d is wrong", k.name, outs, ins, length, shift, o)
		}
		if spare := out[o][:cap(out[o])]; len(spare) != length {
			t.Fatalf("%s: capacity", k.name)
		}
	}
	for i := range in {
		if !bytes.Equal(in[i], sources[i]) {
			t.Fatalf("%s: input %d was changed", k.name, i)
		}
	}
}

// TestKernels holds every kernel that this processor can run to the definition.
func TestKernels(t *testing.T) {
	for _, k := range kernels() {
		t.Run(k.name, func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(3, 4))
			for length := 0; length <= 700; length += 2 {
				checkKernel(t, k, rnd, 1+rnd.IntN(4), 1+rnd.IntN(4), length, rnd.IntN(65))
			}
			for outs := range 24 {
				checkKernel(t, k, rnd, outs, rnd.IntN(5), 256, 0)
			}
			for ins := range 40 {
				checkKernel(t, k, rnd, 1+rnd.IntN(3), ins, 128, 1)
			}
			for range 20 {
				checkKernel(t, k, rnd, 1+rnd.IntN(12), 1+rnd.IntN(20), 2*rnd.IntN(8000), rnd.IntN(65))
			}
		})
	}
}

// TestKernelsAllFactors multiplies with every element of the field.
func TestKernelsAllFactors(t *testing.T) {
	in := buffers(rand.New(rand.NewPCG(5, 6)), 1, 128, 0)
	for _, k := range kernels() {
		for c := range 65536 {
			if testing.Short() && c%17 != 0 {
				continue
			}
			out := [][]byte{make([]byte, 128)}
			k.newMatrix(1, 1, []uint16{uint16(c)}).MulAdd(out, in)
			for w := 0; w < 128; w += 2 {
				want := Mul(uint16(c), binary.LittleEndian.Uint16(in[0][w:]))
				if got := binary.LittleEndian.Uint16(out[0][w:]); got != want {
					t.Fatalf("%s: factor %#x, word %d: %#x, want %#x", k.name, c, w, got, want)
				}
			}
		}
	}
}

func FuzzKernels(f *testing.F) {
	f.Add(uint64(1), uint8(10), uint8(20), uint16(300), uint8(3))
	f.Add(uint64(2), uint8(1), uint8(1), uint16(2), uint8(0))
	f.Add(uint64(3), uint8(11), uint8(17), uint16(2300), uint8(63))
	f.Fuzz(func(t *testing.T, seed uint64, outs, ins uint8, words uint16, shift uint8) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		for _, k := range kernels() {
			checkKernel(t, k, rnd, int(outs%30), int(ins%40), 2*int(words%3000), int(shift%65))
		}
	})
}

func TestMulAddPanics(t *testing.T) {
	for name, f := range map[string]func(){
		"odd length": func() {
			NewMatrix(1, 1, make([]uint16, 1)).MulAdd([][]byte{make([]byte, 3)}, [][]byte{make([]byte, 3)})
		},
		"unequal length": func() {
			NewMatrix(1, 1, make([]uint16, 1)).MulAdd([][]byte{make([]byte, 4)}, [][]byte{make([]byte, 6)})
		},
		"count": func() {
			NewMatrix(1, 2, make([]uint16, 2)).MulAdd([][]byte{make([]byte, 4)}, [][]byte{make([]byte, 4)})
		},
		"factors":      func() { NewMatrix(2, 2, make([]uint16, 3)) },
		"inverse of 0": func() { Inv(0) },
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
}

func TestSelect(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	for _, n := range []int{1, 2, 3, 7, 10, 33, 100} {
		rows := make([][]uint16, n+3)
		for r := range rows {
			rows[r] = make([]uint16, n)
			for j := range n {
				rows[r][j] = uint16(rnd.Uint32())
			}
		}
		clear(rows[0])
		copy(rows[1], rows[2]) // so that rows have to be left out
		if n == 1 {
			rows[1][0], rows[2][0] = 0, 0
		}
		picked, inverse, err := Select(n, len(rows), func(r int, f []uint16) { copy(f, rows[r]) })
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		for i := range n {
			for j := range n {
				sum := uint16(0)
				for k := range n {
					sum ^= Mul(inverse[i*n+k], rows[picked[k]][j])
				}
				if (sum == 1) != (i == j) || sum > 1 {
					t.Fatalf("%d: the product has %d in %d, %d", n, sum, i, j)
				}
			}
		}
	}
	if _, _, err := Select(3, 5, func(r int, f []uint16) { f[0], f[1], f[2] = uint16(r), 1, 0 }); err != ErrSingular {
		t.Errorf("a column of zeros: %v", err)
	}
}
