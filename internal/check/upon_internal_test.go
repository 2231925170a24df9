package check

import (
	"slices"
	"testing"

	"firn/internal/repo"
	"firn/internal/snapshot"
)

// TestUpon: a chain that stands on what is hurt is named, whatever nonsense the bodies tell.
func TestUpon(t *testing.T) {
	item := func(id, base byte) snapshot.Item {
		return snapshot.Item{Snapshot: &snapshot.Snapshot{ID: snapshot.ID{id}, Base: snapshot.ID{base}}}
	}
	live := []snapshot.Item{item(1, 0), item(2, 1), item(3, 2), item(4, 0), item(5, 4), item(6, 7), item(7, 6), item(8, 8), item(9, 99), item(10, 9)}
	for _, c := range []struct{ harms, want []byte }{
		{[]byte{1}, []byte{2, 3}}, {[]byte{2}, []byte{3}}, {[]byte{1, 2}, []byte{3}}, {[]byte{3}, nil}, {[]byte{4, 1}, []byte{2, 3, 5}},
		{[]byte{99}, []byte{9, 10}}, {[]byte{6}, []byte{7}}, {[]byte{8}, nil}, {nil, nil},
	} {
		var harms []repo.Harm
		for _, id := range c.harms {
			harms = append(harms, repo.Harm{ID: snapshot.ID{id}})
		}
		var got []byte
		for _, id := range upon(live, harms) {
			got = append(got, id[0])
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.harms, got, c.want)
		}
	}
}
