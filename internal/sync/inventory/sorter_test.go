package inventory

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// TestSorter sorts with and without a file, keeps the order of equal keys, and leaves nothing behind.
func TestSorter(t *testing.T) {
	for _, limit := range []int{0, 4000} {
		dir := t.TempDir()
		s := Sorter{Dir: dir, limit: limit}
		rng := rand.New(rand.NewPCG(1, 1))
		var want []string
		for i := range 5000 {
			k := fmt.Sprint(rng.IntN(3000))
			want = append(want, fmt.Sprintf("%s %05d", k, i))
			if err := s.Add(k, fmt.Appendf(nil, "%05d", i)); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(want, func(a, b string) int {
			x, y := a[:len(a)-6], b[:len(b)-6]
			return max(-1, min(1, 2*compare(x, y)+compare(a[len(a)-5:], b[len(b)-5:])))
		})
		for range 2 {
			var got []string
			if err := s.Each(func(k, v []byte) error { got = append(got, fmt.Sprintf("%s %s", k, v)); return nil }); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("limit %d: not in order", limit)
			}
		}
		if err := s.Add("x", make([]byte, maxRecord)); err == nil {
			t.Error("a huge record was taken")
		}
		s.Close()
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%d files left", len(left))
		}
	}
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
