package manifest

import (
	"math/rand/v2"
	"slices"
	"testing"

	"firn/internal/digest"
)

// TestEntriesPast loses chunks of a manifest: what the others hold is found, in order, and the gaps make up the rest.
func TestEntriesPast(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for round := range 20 {
		c := newChunks()
		entries := randomTree(r, 4000)
		m := build(t, c, entries)
		var leaves, above []digest.Chunk
		top := m.Tree().Chunk
		err := m.Chunks(Visitor{Meta: func(id digest.Chunk, level int) (bool, error) {
			if level == 0 {
				leaves = append(leaves, id)
			} else if id != top {
				above = append(above, id)
			}
			return true, nil
		}})
		if err != nil || len(leaves) < 4 {
			t.Fatalf("%d leaves, %v", len(leaves), err)
		}
		lost := append([]digest.Chunk{leaves[0], leaves[len(leaves)-1]}, leaves[r.IntN(len(leaves))])
		if round%2 == 1 && len(above) > 0 {
			lost = append(lost, above[r.IntN(len(above))])
		}
		for _, id := range lost {
			delete(c.m, id)
		}
		checkPast(t, m, entries)
	}
}

func checkPast(t *testing.T, m *Reader, entries []*Entry) {
	t.Helper()
	want := paths(entries)
	var missing int64
	it := m.EntriesPast(nil, func(g Gap) bool {
		if g.Err == nil || !slices.Contains(want, string(g.First)) {
			t.Errorf("gap from %q: %v", g.First, g.Err)
		}
		missing += g.Lines
		return true
	})
	at, found := 0, int64(0)
	for it.Next() {
		i := slices.Index(want[at:], string(it.Path()))
		if i < 0 {
			t.Fatalf("%q is not there, or not in order", it.Path())
		}
		at += i + 1
		found++
	}
	if it.Err() != nil || missing == 0 || found+missing != int64(len(want)) {
		t.Errorf("%d found, %d missing of %d: %v", found, missing, len(want), it.Err())
	}
	for i := 0; i < len(want); i += 97 { // seeking into a gap goes on behind it
		it := m.EntriesPast([]byte(want[i]), func(Gap) bool { return true })
		if it.Next() && Compare(it.Path(), []byte(want[i])) < 0 || it.Err() != nil {
			t.Errorf("seeking %q: at %q, %v", want[i], it.Path(), it.Err())
		}
	}
	it = m.EntriesPast(nil, func(Gap) bool { return false })
	for it.Next() {
	}
	if it.Err() == nil {
		t.Error("no error where gaps are refused")
	}
}
