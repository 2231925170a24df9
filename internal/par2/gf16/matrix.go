package gf16

import "fmt"

// Matrix holds the factors of outputs that are sums of inputs, in the form that the kernel likes best.
type Matrix struct {
	kernel    *kernel
	outs, ins int
	coef      []uint16 // [out][in]
	prepared  []byte   // [group of outputs][in][output in the group], kernel.size bytes each
}

// NewMatrix prepares the matrix whose row out has the factors coef[out*ins:(out+1)*ins], which it keeps. It panics if coef has another length.
func NewMatrix(outs, ins int, coef []uint16) *Matrix { return best().newMatrix(outs, ins, coef) }

func (k *kernel) newMatrix(outs, ins int, coef []uint16) *Matrix {
	if outs < 0 || ins < 0 || len(coef) != outs*ins {
		panic(fmt.Sprintf("gf16: %d factors for a matrix of %d × %d", len(coef), outs, ins))
	}
	m := &Matrix{kernel: k, outs: outs, ins: ins, coef: coef}
	if k.prepare == nil {
		return m
	}
	m.prepared = make([]byte, k.size*outs*ins)
	p := m.prepared
	for first := 0; first < outs; first += k.outs {
		last := min(first+k.outs, outs)
		for in := range ins {
			for out := first; out < last; out++ {
				k.prepare(p[:k.size], coef[out*ins+in])
				p = p[k.size:]
			}
		}
	}
	return m
}

// Bytes is how many bytes of a matrix of that shape the kernel reads beside the data.
func Bytes(outs, ins int) int { return best().size * outs * ins }

// MulAdd adds to each output the sum of the inputs times their factors. All buffers have the same even length and none overlaps another;
// it panics if lengths or the number of buffers do not fit.
func (m *Matrix) MulAdd(out, in [][]byte) {
	m.check(out, in)
	if len(out) == 0 || len(in) == 0 {
		return
	}
	n := len(in[0])
	if m.kernel.prepare == nil {
		m.mulAddTables(out, in)
		return
	}
	whole := n - n%m.kernel.unit
	for off := 0; off < whole; off += tile {
		m.run(out, in, off, min(off+tile, whole))
	}
	if whole < n {
		m.mulAddRest(out, in, whole)
	}
}

func (m *Matrix) check(out, in [][]byte) {
	if len(out) != m.outs || len(in) != m.ins {
		panic(fmt.Sprintf("gf16: %d outputs and %d inputs for a matrix of %d × %d", len(out), len(in), m.outs, m.ins))
	}
	for _, b := range [][][]byte{out, in} {
		for i := range b {
			if len(b[i]) != len(b[0]) || len(b[i])%2 != 0 || len(out) > 0 && len(b[i]) != len(out[0]) {
				panic(fmt.Sprintf("gf16: buffer of %d bytes", len(b[i])))
			}
		}
	}
}

// Columns are worked on tile by tile, so that outputs stay in the nearest cache while the inputs go by; so many inputs are
// added in registers before an output is touched.
const (
	tile  = 4096
	depth = 16
)

func (m *Matrix) run(out, in [][]byte, off, end int) {
	k := m.kernel
	for i := 0; i < m.ins; i += depth {
		n := min(depth, m.ins-i)
		for first := 0; first < m.outs; first += k.outs {
			group := min(k.outs, m.outs-first)
			p := m.prepared[k.size*(first*m.ins+group*i):]
			k.mulAdd(out[first:first+group], in[i:i+n], p[:k.size*group*n], off, end)
		}
	}
}

// mulAddRest does the bytes from off on, fewer than a unit of the kernel, in buffers of a whole unit.
func (m *Matrix) mulAddRest(out, in [][]byte, off int) {
	unit := m.kernel.unit
	buf := make([]byte, unit*(len(out)+len(in)))
	cut := func(from [][]byte) [][]byte {
		to := make([][]byte, len(from))
		for i, b := range from {
			to[i], buf = buf[:unit:unit], buf[unit:]
			copy(to[i], b[off:])
		}
		return to
	}
	o, i := cut(out), cut(in)
	m.run(o, i, 0, unit)
	for i, b := range out {
		copy(b[off:], o[i])
	}
}

// mulAddTables is the reference: for each factor a table of its products with each low and each high byte.
func (m *Matrix) mulAddTables(out, in [][]byte) {
	var lo, hi [256]uint16
	for o, dst := range out {
		for i, src := range in {
			c := m.coef[o*m.ins+i]
			if c == 0 {
				continue
			}
			byteProducts(&lo, &hi, c)
			dst := dst[:len(src)]
			for ; len(src) >= 8 && len(dst) >= 8; src, dst = src[8:], dst[8:] {
				dst[0], dst[1] = add(dst[0], dst[1], lo[src[0]]^hi[src[1]])
				dst[2], dst[3] = add(dst[2], dst[3], lo[src[2]]^hi[src[3]])
				dst[4], dst[5] = add(dst[4], dst[5], lo[src[4]]^hi[src[5]])
				dst[6], dst[7] = add(dst[6], dst[7], lo[src[6]]^hi[src[7]])
			}
			for ; len(src) >= 2 && len(dst) >= 2; src, dst = src[2:], dst[2:] {
				dst[0], dst[1] = add(dst[0], dst[1], lo[src[0]]^hi[src[1]])
			}
		}
	}
}

func add(lo, hi byte, x uint16) (byte, byte) { return lo ^ byte(x), hi ^ byte(x>>8) }

// byteProducts fills lo[b] with c·b and hi[b] with c·256·b. Multiplication is linear: what holds for bits holds for their sums.
func byteProducts(lo, hi *[256]uint16, c uint16) {
	x := int(c)
	for _, t := range []*[256]uint16{lo, hi} {
		t[0] = 0
		for bit := 1; bit < 256; bit <<= 1 {
			for b := range bit {
				t[bit+b] = t[b] ^ uint16(x)
			}
			x = Times2(x)
		}
	}
}
