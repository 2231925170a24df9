package par2

import (
	"crypto/md5"
	"hash"
)

// lanes computes the MD5 of several streams of equal length at once.
type lanes struct{ hash []hash.Hash }

const maxLanes = 16

func newLanes(n int) *lanes {
	l := &lanes{hash: make([]hash.Hash, n)}
	for i := range l.hash {
		l.hash[i] = md5.New()
	}
	return l
}

// write adds to each stream its next bytes, the same number to each and, but for the last time, a multiple of 64.
func (l *lanes) write(b [][]byte) {
	for i := range b {
		l.hash[i].Write(b[i])
	}
}

func (l *lanes) sums() []sum {
	s := make([]sum, len(l.hash))
	for i := range s {
		l.hash[i].Sum(s[i][:0])
	}
	return s
}
