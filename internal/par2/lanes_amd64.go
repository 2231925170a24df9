//go:build !purego

package par2

import (
	"encoding/binary"

	"golang.org/x/sys/cpu"
)

// laneState is a register for each of a, b, c and d, and room for one for each word of a block; the kernel for 8 lanes uses the first half.
type laneState [4 + 16][16]uint32

// md5Lanes16 and md5Lanes8 add blocks to as many MD5 states; p says where the streams go on.
//
//go:noescape
func md5Lanes16(s *laneState, p *[maxLanes]*byte, blocks int)

//go:noescape
func md5Lanes8(s *laneState, p *[maxLanes]*byte, blocks int)

// vectorLanes hashes all streams at once.
type vectorLanes struct {
	n     int
	width int // 16 or 8
	state [maxLanes / 8]laneState
	size  int64
	tail  [][]byte
}

// newLanes returns what hashes n streams the fastest: with few of them the vectors would be mostly empty.
func newLanes(n int) lanes {
	x := &cpu.X86
	switch {
	case n > 3 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512DQ:
		return newVectorLanes(n, 16)
	case n > 3 && x.HasAVX2:
		return newVectorLanes(n, 8)
	}
	return newPlainLanes(n)
}

func newVectorLanes(n, width int) *vectorLanes {
	l := &vectorLanes{n: n, width: width}
	for i, x := range md5Init {
		for lane := range maxLanes {
			*l.word(lane, i) = x
		}
	}
	return l
}

// word returns one word of a lane's state.
func (l *vectorLanes) word(lane, i int) *uint32 {
	at := i*l.width + lane%l.width
	return &l.state[lane/l.width][at/16][at%16]
}

func (l *vectorLanes) write(b [][]byte) {
	n := len(b[0]) &^ 63
	l.size += int64(len(b[0]))
	l.blocks(b, n/64)
	if n < len(b[0]) {
		l.tail = make([][]byte, len(b))
		for i := range b {
			l.tail[i] = b[i][n:]
		}
	}
}

func (l *vectorLanes) blocks(b [][]byte, n int) {
	for done, step := 0, 0; done < n; done += step {
		step = min(n-done, kernelBytes/64/maxLanes)
		for first := 0; first < len(b); first += l.width {
			var p [maxLanes]*byte
			for i := range l.width {
				p[i] = &b[min(first+i, len(b)-1)][64*done] // lanes without a stream repeat the last one
			}
			if l.width == 16 {
				md5Lanes16(&l.state[0], &p, step)
			} else {
				md5Lanes8(&l.state[first/8], &p, step)
			}
		}
	}
}

func (l *vectorLanes) sums() []sum {
	last := make([][]byte, l.n)
	for i := range last {
		last[i] = make([]byte, 0, 128)
		if l.tail != nil {
			last[i] = append(last[i], l.tail[i]...)
		}
		n := len(last[i])
		last[i] = append(last[i], 0x80)
		last[i] = last[i][:64+(n+8)&^63]
		binary.LittleEndian.PutUint64(last[i][len(last[i])-8:], uint64(l.size)*8)
	}
	l.blocks(last, len(last[0])/64)
	s := make([]sum, l.n)
	for lane := range s {
		for i := range 4 {
			binary.LittleEndian.PutUint32(s[lane][4*i:], *l.word(lane, i))
		}
	}
	return s
}
