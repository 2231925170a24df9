package par2

import (
	"crypto/md5"
	"hash"
)

// maxLanes is how many streams can be hashed at once.
const maxLanes = 16

// lanes computes the MD5 of up to maxLanes streams of equal length at once.
type lanes interface {
	// write adds to each stream its next bytes: the same number to each, and, but for the last time, a multiple of 64.
	write(b [][]byte)
	// sums ends the streams.
	sums() []sum
}

// plainLanes hashes one stream after the other.
type plainLanes struct{ hash []hash.Hash }

func newPlainLanes(n int) *plainLanes {
	l := &plainLanes{hash: make([]hash.Hash, n)}
	for i := range l.hash {
		l.hash[i] = md5.New()
	}
	return l
}

func (l *plainLanes) write(b [][]byte) {
	for i := range b {
		l.hash[i].Write(b[i])
	}
}

func (l *plainLanes) sums() []sum {
	s := make([]sum, len(l.hash))
	for i := range s {
		l.hash[i].Sum(s[i][:0])
	}
	return s
}
