package linetree

import (
	"math/rand/v2"
	"testing"
)

// TestSeekNumber jumps about in a tree by number and by key.
func TestSeekNumber(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	m, c := randomModel(r, 20000, 400), newChunks()
	tree := m.build(t, c)
	if tree.Level < 1 {
		t.Fatalf("level %d", tree.Level)
	}
	it := NewIterator(c.source(), tree, testKeys, Options{})
	for i := range 3000 {
		at := r.IntN(len(m.keys) + 20)
		if i%5 == 0 && at < len(m.keys) {
			it.Seek([]byte(m.keys[at]))
		} else {
			it.SeekNumber(int64(at))
		}
		for k := range r.IntN(5) * r.IntN(100) {
			want := at+k < len(m.keys)
			if it.Next() != want || want && string(it.Key()) != m.keys[at+k] {
				t.Fatalf("seek to %d, line %d: %q, %v", at, k, it.Key(), it.Err())
			}
			if want && it.Number() != int64(at+k) {
				t.Fatalf("line %d has number %d", at+k, it.Number())
			}
		}
	}
	c.forget() // seeking inside what is open reads nothing
	it.SeekNumber(0)
	it.Next()
	first := len(c.reads)
	it.SeekNumber(1)
	it.Next()
	if it.Number() != 1 || len(c.reads) != first {
		t.Errorf("number %d, %d chunks read, %d before", it.Number(), len(c.reads), first)
	}
	empty := NewIterator(c.source(), Tree{}, testKeys, Options{})
	empty.SeekNumber(3)
	if empty.Next() {
		t.Error("a line of an empty tree")
	}
}
