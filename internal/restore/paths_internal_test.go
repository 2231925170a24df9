package restore

import (
	"errors"
	"math/rand/v2"
	"testing"

	"firn/internal/manifest"
)

func TestPathsLimits(t *testing.T) {
	p := &Paths{text: make([]byte, MaxListedBytes-1, MaxListedBytes)} // nothing touches it, so it takes no memory
	if err := p.Add([]byte("x")); err != nil {
		t.Error(err)
	}
	if err := p.Add([]byte("x")); !errors.Is(err, ErrListed) {
		t.Error(err)
	}
	p = &Paths{all: make([]stretch, MaxListed)}
	if err := p.Add(nil); !errors.Is(err, ErrListed) {
		t.Error(err)
	}
	if (*Paths)(nil).Len() != 0 || p.Len() != MaxListed {
		t.Error("lengths")
	}
}

// TestPathsLookUp compares looking up by halving with looking at every path.
func TestPathsLookUp(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	path := func() []byte {
		var out []byte
		for i := range 1 + r.IntN(4) {
			if i > 0 {
				out = append(out, '/')
			}
			for range 1 + r.IntN(2) {
				out = append(out, "ab.\x01\xff"[r.IntN(5)])
			}
		}
		return out
	}
	for range 300 {
		p := &Paths{}
		for range r.IntN(12) {
			if err := p.Add(path()); err != nil {
				t.Fatal(err)
			}
		}
		p.sort()
		for range 100 {
			at := path()
			covers, below := false, false
			var after []byte
			for _, s := range p.all {
				l := p.path(s)
				covers = covers || manifest.Within(at, l)
				below = below || manifest.Within(l, at) || manifest.Within(at, l)
				if manifest.Compare(l, at) > 0 && after == nil {
					after = l
				}
			}
			if p.covers(at) != covers || p.below(at) != below {
				t.Fatalf("%q: covers %t, want %t; below %t, want %t", at, !covers, covers, !below, below)
			}
			if covers || below {
				continue
			}
			next := p.next(nil, at)
			if (next == nil) != (after == nil) || after != nil && (!manifest.Within(after, next) || manifest.Compare(next, at) <= 0 || !p.below(next)) {
				t.Fatalf("behind %q comes %q on the way to %q", at, next, after)
			}
			if up := parent(next); up != nil && !manifest.Within(at, up) {
				t.Fatalf("from %q to %q leaps over folders on the way", at, next)
			}
		}
	}
}

// parent is the folder above a path; nil: it is the source.
func parent(path []byte) []byte {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return nil
}
