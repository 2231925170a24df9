package sync

import (
	"strings"
	"testing"
)

// FuzzWords feeds what servers and users write to everything that reads it.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"", "d41d8cd98f00b204e9800998ecf8427e", "d41d8cd98f00b204e9800998ecf8427e-12", "1500000000.123456789", "-1.5", "size<128K,*.jpg=GLACIER", "a/../b", "a//b", "x=", "size<=1=Y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if tg, ok := parseTag(s); ok && (tg.parts < 0 || tg.parts > 10_000) {
			t.Error(tg)
		}
		if ns, ok := parseMtime(map[string]string{metaMtime: s}); ok {
			if again, ok := parseMtime(map[string]string{metaMtime: formatMtime(ns)}); !ok || again != ns {
				t.Errorf("%q: %d, %d", s, ns, again)
			}
		}
		if c, err := NewClasses("", []string{s}); err == nil {
			c.Of("a/b.jpg", 5)
		}
		if checkKey(s) == nil {
			for name := range strings.SplitSeq(s, "/") {
				if name == "" || name == "." || name == ".." {
					t.Errorf("%q is a path", s)
				}
			}
		}
		_ = checkPath(s)
		ContentType(s)
	})
}

// TestPartSizes wants the part size that was used to be among those that are tried, for the usual programs.
func TestPartSizes(t *testing.T) {
	for _, size := range []int64{1, 5 << 20, 100 << 20, 1 << 30, 500 << 30, 3 << 40} {
		for _, part := range []int64{5 << 20, 8 << 20, 15 << 20, 16 << 20, 64 << 20, 100 << 20, 512 << 20} {
			for (size+part-1)/part > 10_000 {
				part *= 2
			}
			found := false
			for _, p := range partSizes(size, int((size+part-1)/part)) {
				found = found || p == part || size <= part
			}
			if !found {
				t.Errorf("%d bytes in parts of %d", size, part)
			}
		}
	}
}
