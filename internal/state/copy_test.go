package state

import (
	"testing"
)

// TestCopiesDoNotMix keeps something of two copies of one repository: each sees its own, and both the one host key.
func TestCopiesDoNotMix(t *testing.T) {
	dirs := Dirs{Cache: t.TempDir(), State: t.TempDir()}
	repo, source := [16]byte{1}, SourceID{2}
	first, second, third := Open(dirs, repo, nil), OpenCopy(dirs, repo, [16]byte{9}, nil), OpenCopy(dirs, repo, [16]byte{8}, nil)
	first.SetHead(source, Head{Sequence: 7})
	second.SetHead(source, Head{Sequence: 3})
	for s, want := range map[*State]uint64{first: 7, second: 3, second.Still(): 3, third: 0} {
		if h, ok := s.Head(source); h.Sequence != want || ok != (want > 0) {
			t.Errorf("head %d, want %d", h.Sequence, want)
		}
	}
	for _, pick := range []func(*State) string{(*State).StoreCacheDir, (*State).ChunkTableDir, (*State).SpoolDir} {
		if a, b, c := pick(first), pick(second), pick(third); a == b || b == c || a == c || a == "" {
			t.Errorf("%q, %q, %q", a, b, c)
		}
	}
	if OpenCopy(dirs, repo, [16]byte{}, nil).StoreCacheDir() != first.StoreCacheDir() {
		t.Error("the first is not number zero")
	}
	if first.keys == "" || second.keys != first.keys || second.Still().keys != first.keys {
		t.Errorf("keys in %q and %q", first.keys, second.keys)
	}
}
