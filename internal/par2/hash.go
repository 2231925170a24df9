package par2

import (
	"crypto/md5"
	"hash"
	"hash/crc32"
)

// hasher computes all that a set says of one file while the file goes by once: its MD5, that of its start, and the sums of its slices.
type hasher struct {
	slice  int64 // size
	size   int64 // seen
	in     int64 // of it in the slice that is under way
	chains *chains
	first  []byte // up to 16 KiB
	sums   []sliceSum
}

func newHasher(slice int64) *hasher { return &hasher{slice: slice, chains: newChains(slice)} }

// write takes the next bytes of the file, copies them to dst unless that is nil, and may use idle parts of the processor for what waits in a.
func (h *hasher) write(b, dst []byte, a *adder) {
	if n := min(len(b), hashStart-len(h.first)); n > 0 {
		h.first = append(h.first, b[:n]...)
	}
	h.size += int64(len(b))
	for len(b) > 0 {
		n := int(min(int64(len(b)), h.slice-h.in))
		if dst != nil {
			h.chains.add(b[:n], dst[:n], a)
			dst = dst[n:]
		} else {
			h.chains.add(b[:n], nil, a)
		}
		h.in += int64(n)
		b = b[n:]
		if h.in == h.slice {
			h.sums = append(h.sums, h.chains.endSlice(0))
			h.in = 0
		}
	}
}

// finish pads the last slice and returns what was found.
func (h *hasher) finish(name string) (*description, []sliceSum) {
	d := &description{size: h.size, name: name, start: md5.Sum(h.first), md5: h.chains.file()}
	if h.in > 0 {
		h.sums = append(h.sums, h.chains.endSlice(h.slice-h.in))
		h.in = 0
	}
	return d, h.sums
}

// plainChains hashes a file and its slices with what the standard library has.
type plainChains struct {
	whole, part hash.Hash
	crc         uint32
}

// hashStep is how much is hashed with one function before the next has its turn: it stays in the nearest cache.
const hashStep = 8 << 10

func (c *plainChains) add(b, dst []byte, _ *adder) {
	for len(b) > 0 {
		n := min(len(b), hashStep)
		c.whole.Write(b[:n])
		c.part.Write(b[:n])
		c.crc = crc32.Update(c.crc, crc32.IEEETable, b[:n])
		if dst != nil {
			copy(dst, b[:n])
			dst = dst[n:]
		}
		b = b[n:]
	}
}

// file returns the MD5 of the file, which ends here.
func (c *plainChains) file() sum { return sum(c.whole.Sum(nil)) }

// endSlice pads the slice with zeros, returns its sums, and begins the next one. With padding, the file must have been ended.
func (c *plainChains) endSlice(pad int64) (s sliceSum) {
	zero := make([]byte, min(hashStep, pad))
	for pad > 0 {
		n := min(int64(len(zero)), pad)
		c.part.Write(zero[:n])
		c.crc = crc32.Update(c.crc, crc32.IEEETable, zero[:n])
		pad -= n
	}
	s = sliceSum{md5: sum(c.part.Sum(nil)), crc: c.crc}
	c.part.Reset()
	c.crc = 0
	return s
}

func newPlainChains() *plainChains { return &plainChains{whole: md5.New(), part: md5.New()} }
