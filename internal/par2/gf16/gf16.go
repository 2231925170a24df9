// Package gf16 is the arithmetic of PAR 2.0: the field of 65,536 elements with the polynomial x^16 + x^12 + x^3 + x + 1, sums of products
// of whole buffers in it, and the inversion of matrices over it.
//
// A buffer is a row of 16-bit words, low byte first. Addition is exclusive or. Everything here gives the same bytes whatever kernel does the work:
// a kernel is chosen once, by what the processor can do, and tests hold each of them to the one in plain Go.
//
// It is pure: no disk, no network, no clock. All functions are safe for concurrent use; a Matrix is, once it is made.
package gf16

import "sync"

const (
	// Poly is the field's polynomial, the bit of x^16 included (PAR 2.0 specification, "Description of the Galois field").
	Poly = 0x1100B
	// Order is the number of elements other than 0. x, the number 2, generates them all.
	Order = 65535
	// Bases is how many bases Base knows: the powers of 2 whose order is Order.
	Bases = 32768
)

type logs struct {
	log  [Order + 1]uint16 // log[0] means nothing
	exp  [2 * Order]uint16 // twice over, so that a sum of two logarithms needs no modulo
	base [Bases]uint16
}

var field = sync.OnceValue(func() *logs {
	f := new(logs)
	x := 1
	for i := range Order {
		f.exp[i], f.exp[i+Order] = uint16(x), uint16(x)
		f.log[x] = uint16(i)
		x = Times2(x)
	}
	n := 0
	for i := range Order {
		if i%3 != 0 && i%5 != 0 && i%17 != 0 && i%257 != 0 {
			f.base[n] = f.exp[i]
			n++
		}
	}
	return f
})

// Times2 returns 2·x for an x below 65,536.
func Times2(x int) int {
	x <<= 1
	return x ^ (x>>16)*Poly
}

// Mul returns a·b.
func Mul(a, b uint16) uint16 {
	if a == 0 || b == 0 {
		return 0
	}
	f := field()
	return f.exp[int(f.log[a])+int(f.log[b])]
}

// Inv returns 1/a. It panics if a is 0.
func Inv(a uint16) uint16 {
	if a == 0 {
		panic("gf16: division by zero")
	}
	f := field()
	return f.exp[Order-int(f.log[a])]
}

// Pow returns a to the power of n; 0 to the power of 0 is 1.
func Pow(a uint16, n uint32) uint16 {
	switch {
	case n == 0:
		return 1
	case a == 0:
		return 0
	}
	f := field()
	return f.exp[uint64(f.log[a])*uint64(n)%Order]
}

// Base returns the constant of input slice i, which is 0 ≤ i < Bases: the i-th power of 2 of full order, that is, whose
// exponent no factor of 65,535 divides (PAR 2.0 specification, "Recovery slice packet").
func Base(i int) uint16 { return field().base[i] }
