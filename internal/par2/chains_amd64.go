//go:build !purego

package par2

import (
	"encoding/binary"
	"hash/crc32"
	"sync"
	"unsafe"

	"golang.org/x/sys/cpu"

	"firn/internal/par2/gf16"
)

// md5Pair adds whole blocks to two MD5 states.
//
//go:noescape
func md5Pair(s *[2][4]uint32, p *byte, blocks int)

// weaver is what the woven kernels work on; the assembly knows its layout.
type weaver struct {
	md5 [2][4]uint32
	crc [64]byte // what the slice so far comes down to
	// Slices of a batch, gone through column by column, 64 bytes wide.
	in        *[]byte
	inOff     uintptr // in bytes, from in
	inEnd     uintptr
	factors   *byte
	factorOff uintptr
	out       *[]byte // in groups of ten
	outOff    uintptr // of a group
	outEnd    uintptr
	off, end  uintptr // column
	sums      [10][64]byte
}

const weaveBatch = 16 // slices

// weave0 hashes blocks, computes their CRC-32, and copies them to dst, which advances by step after each.
//
//go:noescape
func weave0(w *weaver, p, dst *byte, step, blocks int) (left int)

// weave1 does so too, and adds 64 bytes of the slices in w to the recovery slices for each block. It stops where all columns are done,
// with some blocks left.
//
//go:noescape
func weave1(w *weaver, p, dst *byte, step, blocks int) (left int)

// weave5 adds five times as much for each block, for five groups of recovery slices.
//
//go:noescape
func weave5(w *weaver, p, dst *byte, step, blocks int) (left int)

var canWeave = sync.OnceValue(func() bool {
	x := &cpu.X86
	return x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ && x.HasAVX512GFNI && x.HasAVX512VPCLMULQDQ
})

// weaves reports whether slices of a file of that slice size are added while it is hashed.
func weaves(slice int64) bool { return canWeave() && slice%64 == 0 }

// chains hashes a file and its slices: both MD5 chains at once, since a slice begins and ends with a block of the file.
type chains struct {
	plain *plainChains // does it all where slices do not end with blocks
	woven bool
	crc   uint32 // if not woven
	buf   [64]byte
	n     int   // bytes in buf
	size  int64 // of the file so far
	slice int64
	weaver
}

var md5Init = [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}

func newChains(slice int64) *chains {
	c := &chains{slice: slice, woven: canWeave()}
	if slice%64 != 0 {
		c.plain = newPlainChains()
	}
	c.md5 = [2][4]uint32{md5Init, md5Init}
	return c
}

func (c *chains) add(b, dst []byte, a *adder) {
	if c.plain != nil {
		c.plain.add(b, dst, a)
		return
	}
	c.size += int64(len(b))
	if c.n > 0 {
		n := copy(c.buf[c.n:], b)
		copy(dst, b[:n])
		if c.n += n; c.n == 64 {
			c.n = 0
			c.blocks(c.buf[:], nil, a)
		}
		b, dst = b[n:], dst[min(n, len(dst)):]
	}
	if n := len(b) &^ 63; n > 0 {
		c.blocks(b[:n], dst[:min(n, len(dst))], a)
		b, dst = b[n:], dst[min(n, len(dst)):]
	}
	if len(b) > 0 {
		c.n = copy(c.buf[:], b)
		copy(dst, b)
	}
}

// blocks hashes whole blocks; dst is empty or as long.
func (c *chains) blocks(b, dst []byte, a *adder) {
	if !c.woven {
		for len(b) > 0 {
			n := min(len(b), hashStep)
			md5Pair(&c.md5, &b[0], n/64)
			c.crc = crc32.Update(c.crc, crc32.IEEETable, b[:n])
			n = copy(dst, b[:n])
			b, dst = b[min(hashStep, len(b)):], dst[n:]
		}
		return
	}
	for len(b) > 0 {
		n := min(len(b), kernelBytes)
		left := c.weave(b[:n], dst[:min(n, len(dst))], a)
		b, dst = b[n-left:], dst[min(n-left, len(dst)):]
	}
}

// kernelBytes bounds how long a kernel runs, since nothing can interrupt it.
const kernelBytes = 256 << 10

// weave hashes whole blocks and adds what waits in a. It returns how many bytes are left where that ends before the blocks do.
func (c *chains) weave(b, dst []byte, a *adder) (left int) {
	var nowhere [64]byte
	to, step := &nowhere[0], 0
	if len(dst) > 0 {
		to, step = &dst[0], 64
	}
	switch adds := a != nil && a.load(&c.weaver); {
	case !adds:
		weave0(&c.weaver, &b[0], to, step, len(b)/64)
	case c.outEnd == 10*sliceHeader:
		left = weave1(&c.weaver, &b[0], to, step, len(b)/64)
		a.woven = int64(c.off)
	default:
		left = weave5(&c.weaver, &b[0], to, step, len(b)/64)
		a.woven, a.ahead = int64(c.off), int(c.outOff/sliceHeader)
	}
	return 64 * left
}

// pad ends one of the two MD5s after size bytes, n of which wait in the buffer.
func (c *chains) pad(chain int, size int64) (s sum) {
	tail := make([]byte, 128)
	copy(tail, c.buf[:c.n])
	tail[c.n] = 0x80
	if c.n < 56 {
		tail = tail[:64]
	}
	binary.LittleEndian.PutUint64(tail[len(tail)-8:], uint64(size)*8)
	state := c.md5
	md5Pair(&state, &tail[0], len(tail)/64)
	for i, x := range state[chain] {
		binary.LittleEndian.PutUint32(s[4*i:], x)
	}
	return s
}

func (c *chains) file() sum {
	if c.plain != nil {
		return c.plain.file()
	}
	return c.pad(0, c.size)
}

func (c *chains) endSlice(pad int64) (s sliceSum) {
	if c.plain != nil {
		return c.plain.endSlice(pad)
	}
	for zero := make([]byte, min(hashStep, pad)); pad > 0; {
		n := min(int64(len(zero)), pad)
		c.add(zero[:n], nil, nil)
		pad -= n
	}
	s.md5 = c.pad(1, c.slice)
	s.crc = c.crc
	if c.woven {
		s.crc = ^crc32.Update(1<<32-1, crc32.IEEETable, c.weaver.crc[:]) ^ crcZeros(c.slice)
	}
	c.md5[1], c.crc, c.weaver.crc = md5Init, 0, [64]byte{}
	return s
}

// weave is an adder's part of the work of woven kernels.
type weave struct {
	outs    [][]byte // 10 or 50
	factors []byte   // of the batch
	owner   *weaver  // whose state is that of this adder
	batch   int      // for which the factors are, from 1
}

const sliceHeader = unsafe.Sizeof([]byte{})

// weavable is how many of n recovery slices are added to on the way.
func weavable(n int) int { return min(n, 50) }

// load gives w the batch in hand, and reports whether anything is left to add.
func (a *adder) load(w *weaver) bool {
	if len(a.recovery) == 0 {
		return false
	}
	if a.woven == a.slice {
		a.next()
	}
	if a.at == len(a.in) {
		return false
	}
	if a.owner == w && a.batch == a.at+1 {
		return true
	}
	if a.outs == nil {
		a.outs = append(a.outs, a.recovery[:weavable(len(a.recovery))]...)
		for len(a.outs) != 10 && len(a.outs) != 50 {
			a.outs = append(a.outs, a.recovery[0]) // with factors of 0
		}
	}
	n := min(weaveBatch, len(a.in)-a.at)
	if a.factors == nil {
		a.factors = make([]byte, 32*len(a.outs)*weaveBatch)
	}
	clear(a.factors) // what pads the last ten stays 0
	for k, f := range factors(weavable(len(a.recovery)), n, a.first+a.at) {
		group, out, in := k/n/10, k/n%10, k%n
		gf16.AffineFactor(a.factors[32*(10*(group*n+in)+out):], f)
	}
	a.owner, a.batch = w, a.at+1
	w.in, w.inOff, w.inEnd = &a.in[a.at], 0, uintptr(n)*sliceHeader
	w.out, w.outOff, w.outEnd = &a.outs[0], 0, uintptr(len(a.outs))*sliceHeader
	w.factors, w.factorOff = &a.factors[0], 0
	w.off, w.end, w.sums = uintptr(a.woven), uintptr(a.slice), [10][64]byte{}
	return true
}
