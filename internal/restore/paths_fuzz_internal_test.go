package restore

import (
	"bytes"
	"testing"

	"firn/internal/manifest"
)

// FuzzPaths: a list covers what is in it and all below, nothing else, and a walk leaps over nothing that is chosen.
func FuzzPaths(f *testing.F) {
	f.Add([]byte("a\nb/c\n/b/c/d/\n\n"), []byte("b/c/x"))
	f.Add([]byte("a.b\na/b\na"), []byte("a.b/c"))
	f.Add([]byte("../x\n\x00\n//"), []byte("\xff"))
	f.Fuzz(func(t *testing.T, list, path []byte) {
		var p Paths
		want := false
		for _, l := range bytes.Split(list, []byte("\n")) {
			if p.Add(l) != nil {
				t.Fatal("too long")
			}
			l = bytes.Trim(l, "/")
			want = want || manifest.Within(path, l)
		}
		p.sort()
		if got := p.covers(path); got != want {
			t.Errorf("covers %q: %v", path, got)
		}
		if p.covers(path) && !p.below(path) {
			t.Errorf("%q is covered, and nothing of it", path)
		}
		if next := p.next(nil, path); !want && !p.below(path) && next != nil && manifest.Compare(next, path) < 0 {
			t.Errorf("from %q back to %q", path, next)
		}
	})
}
