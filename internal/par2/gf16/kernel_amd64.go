//go:build !purego

package gf16

import (
	"encoding/binary"
	"sync"

	"golang.org/x/sys/cpu"
)

func machineKernels() (k []*kernel) {
	wide := cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ
	if wide && cpu.X86.HasAVX512GFNI {
		k = append(k, affineKernel("GFNI and AVX-512", 10, 128, mulAddAffine512))
	}
	if cpu.X86.HasAVX2 && leaf7()&(1<<8) != 0 {
		k = append(k, affineKernel("GFNI and AVX2", 8, 32, mulAddAffine256))
	}
	if wide {
		k = append(k, shuffleKernel("AVX-512", 10, 128, mulAddShuffle512))
	}
	if cpu.X86.HasAVX2 {
		k = append(k, shuffleKernel("AVX2", 4, 64, mulAddShuffle256))
	}
	return k
}

// leaf7 returns ECX of CPUID's leaf 7, whose bit 8 is GFNI: package cpu tells of it together with AVX-512 only. That the system keeps the registers
// of AVX2 is seen to by HasAVX2.
//
//go:noescape
func leaf7() (ecx uint32)

type assembly func(out, in *[]byte, coef *byte, outs, ins, off, end int)

//go:noescape
func mulAddAffine512(out, in *[]byte, coef *byte, outs, ins, off, end int)

//go:noescape
func mulAddAffine256(out, in *[]byte, coef *byte, outs, ins, off, end int)

//go:noescape
func mulAddShuffle512(out, in *[]byte, coef *byte, outs, ins, off, end int)

//go:noescape
func mulAddShuffle256(out, in *[]byte, coef *byte, outs, ins, off, end int)

func (f assembly) mulAdd(out, in [][]byte, coef []byte, off, end int) {
	f(&out[0], &in[0], &coef[0], len(out), len(in), off, end)
}

func affineKernel(name string, outs, unit int, f assembly) *kernel {
	return &kernel{name: name, size: 32, outs: outs, unit: unit, prepare: prepareAffine, mulAdd: f.mulAdd}
}

func shuffleKernel(name string, outs, unit int, f assembly) *kernel {
	return &kernel{name: name, size: 128, outs: outs, unit: unit, prepare: prepareShuffle, mulAdd: f.mulAdd}
}

// The form of a factor is linear in it, so that of any is the sum of those of its two bytes.

var affineForms = sync.OnceValue(func() *[2][256][4]uint64 {
	forms := new([2][256][4]uint64)
	for b := range 256 {
		forms[0][b], forms[1][b] = affineForm(b), affineForm(b<<8)
	}
	return forms
})

// affineForm returns four matrices: low to low, high to high, high to low, low to high. Of a matrix, byte 7−i is row i: which bits of the
// byte that goes in make bit i of the one that comes out.
func affineForm(c int) (form [4]uint64) {
	for in := range 16 {
		for out := range 16 {
			if c>>out&1 != 0 {
				m := [2][2]int{{0, 3}, {2, 1}}[in/8][out/8]
				form[m] |= 1 << (8*(7-out%8) + in%8)
			}
		}
		c = Times2(c)
	}
	return form
}

// AffineFactor writes the form of a factor for which 8 words, their low bytes first, and the same with their high bytes first, are multiplied by one
// instruction of GFNI each: four matrices of 8 bytes, low to low and high to high bytes, then high to low and low to high.
func AffineFactor(dst []byte, c uint16) { prepareAffine(dst, c) }

func prepareAffine(dst []byte, c uint16) {
	f := affineForms()
	a, b := &f[0][c&255], &f[1][c>>8]
	for i := range a {
		binary.LittleEndian.PutUint64(dst[8*i:], a[i]^b[i])
	}
}

var shuffleForms = sync.OnceValue(func() *[2][256][16]uint64 {
	forms := new([2][256][16]uint64)
	for b := range 256 {
		forms[0][b], forms[1][b] = shuffleForm(b), shuffleForm(b<<8)
	}
	return forms
})

// shuffleForm returns, for each nibble of a word from the lowest on, 16 low bytes and 16 high bytes of products.
func shuffleForm(c int) (form [16]uint64) {
	for nibble := range 4 {
		for x := range 16 {
			p := Mul(uint16(c), uint16(x<<(4*nibble)))
			form[4*nibble+x/8] |= uint64(p&255) << (8 * (x % 8))
			form[4*nibble+2+x/8] |= uint64(p>>8) << (8 * (x % 8))
		}
	}
	return form
}

func prepareShuffle(dst []byte, c uint16) {
	f := shuffleForms()
	a, b := &f[0][c&255], &f[1][c>>8]
	for i := range a {
		binary.LittleEndian.PutUint64(dst[8*i:], a[i]^b[i])
	}
}
