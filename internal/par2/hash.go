package par2

import (
	"crypto/md5"
	"hash"
	"hash/crc32"
)

// hasher computes all that a set says of one file while the file goes by once: its MD5, that of its start, and the sums of its slices.
type hasher struct {
	slice int64 // size
	size  int64 // seen
	in    int64 // of it in the slice that is under way
	file  hash.Hash
	part  hash.Hash
	crc   uint32
	start sum
	first []byte // up to 16 KiB
	sums  []sliceSum
}

func newHasher(slice int64) *hasher {
	return &hasher{slice: slice, file: md5.New(), part: md5.New()}
}

// hashStep is how much is hashed with one function before the next has its turn: it stays in the nearest cache.
const hashStep = 8 << 10

func (h *hasher) write(b []byte) {
	if n := min(len(b), hashStart-len(h.first)); n > 0 {
		h.first = append(h.first, b[:n]...)
	}
	h.size += int64(len(b))
	for len(b) > 0 {
		n := int(min(int64(min(len(b), hashStep)), h.slice-h.in))
		h.file.Write(b[:n])
		h.part.Write(b[:n])
		h.crc = crc32.Update(h.crc, crc32.IEEETable, b[:n])
		h.in += int64(n)
		b = b[n:]
		if h.in == h.slice {
			h.endSlice()
		}
	}
}

func (h *hasher) endSlice() {
	var s sliceSum
	h.part.Sum(s.md5[:0])
	s.crc = h.crc
	h.sums = append(h.sums, s)
	h.part.Reset()
	h.crc, h.in = 0, 0
}

// finish pads the last slice and returns what was found.
func (h *hasher) finish(name string) (*description, []sliceSum) {
	if h.in > 0 {
		zero := make([]byte, min(hashStep, h.slice-h.in))
		for h.in < h.slice {
			n := min(int64(len(zero)), h.slice-h.in)
			h.part.Write(zero[:n])
			h.crc = crc32.Update(h.crc, crc32.IEEETable, zero[:n])
			h.in += n
		}
		h.endSlice()
	}
	d := &description{size: h.size, name: name, start: md5.Sum(h.first)}
	h.file.Sum(d.md5[:0])
	return d, h.sums
}
