package par2

import "hash/crc32"

// A CRC-32 without its usual first and last exclusive or is linear: that of a sum is the sum of those of the parts, and a zero byte multiplies it by
// x^8 in the field of polynomials modulo the CRC's. Polynomials are held as the table-driven CRC holds them, the highest power in the lowest bit.

const crcOne = 1 << 31 // the polynomial 1

// crcMul multiplies two polynomials.
func crcMul(a, b uint32) uint32 {
	p := uint32(0)
	for ; a != 0; a <<= 1 {
		if a&crcOne != 0 {
			p ^= b
		}
		b = b>>1 ^ -(b&1)&crc32.IEEE
	}
	return p
}

// crcShift returns x^(8n), by which n zero bytes multiply a CRC; a negative n takes zero bytes away again.
func crcShift(n int64) uint32 {
	const order = 1<<32 - 1 // of x
	bits := uint64((n%order+order)%order) * 8 % order
	p, square := uint32(crcOne), uint32(crcOne>>1)
	for ; bits != 0; bits >>= 1 {
		if bits&1 != 0 {
			p = crcMul(p, square)
		}
		square = crcMul(square, square)
	}
	return p
}

// crcZeros returns what the usual CRC-32 of n bytes and the linear one differ by: the CRC-32 of n zeros.
func crcZeros(n int64) uint32 { return crcMul(1<<32-1, crcShift(n)) ^ (1<<32 - 1) }

// roller moves a window of a fixed size over data, byte by byte, and looks for linear CRCs.
type roller struct {
	crc    uint32
	leave  [256]uint32 // what a byte that leaves the window has added
	filter []uint64    // a bit for each value of some bits of the wanted CRCs
	shift  uint        // where these bits are
}

func newRoller(size int64, wanted []uint32) *roller {
	r := new(roller)
	move := crcShift(size)
	for b := range r.leave {
		r.leave[b] = crcMul(crc32.IEEETable[b], move)
	}
	bits := uint(12)
	for bits < 21 && 1<<bits < 64*len(wanted) {
		bits++
	}
	r.filter, r.shift = make([]uint64, 1<<bits/64), 32-bits
	for _, c := range wanted {
		c >>= r.shift
		r.filter[c/64] |= 1 << (c % 64)
	}
	return r
}

// roll takes bytes in at the front of the window and drops as many of old at its end, until the CRC may be a wanted one. It returns how many
// bytes that were, and whether it is so.
func (r *roller) roll(in, old []byte) (n int, hit bool) {
	crc, table, leave, filter, shift := r.crc, crc32.IEEETable, &r.leave, r.filter, r.shift
	old = old[:len(in)]
	for i, b := range in {
		crc = crc>>8 ^ table[byte(crc)^b] ^ leave[old[i]]
		if c := crc >> shift; filter[c/64]&(1<<(c%64)) != 0 {
			r.crc = crc
			return i + 1, true
		}
	}
	r.crc = crc
	return len(in), false
}
