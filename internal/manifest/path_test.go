package manifest

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func sign(n int) int { return max(min(n, 1), -1) }

// compareByComponent is Compare the slow way.
func compareByComponent(a, b string) int {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	if a == "" {
		x = nil
	}
	if b == "" {
		y = nil
	}
	return slices.Compare(x, y)
}

func TestCompare(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	random := func() string {
		b := make([]byte, 0, 40)
		for n := r.IntN(4); len(b) < n*9; {
			b = append(b, "ab-\xff\x01"[r.IntN(5)])
			if r.IntN(3) == 0 {
				b = append(b, '/')
			}
		}
		return strings.Trim(strings.ReplaceAll(string(b), "//", "/"), "/")
	}
	for range 100000 {
		a, b := random(), random()
		if r.IntN(2) == 0 {
			b = a[:r.IntN(len(a)+1)] + b
		}
		if CheckPath([]byte(a)) != "" || CheckPath([]byte(b)) != "" {
			continue
		}
		if got, want := sign(Compare([]byte(a), []byte(b))), compareByComponent(a, b); got != want {
			t.Fatalf("%q, %q: %d, want %d", a, b, got, want)
		}
		within := b == "" || a == b || strings.HasPrefix(a, b+"/")
		if Within([]byte(a), []byte(b)) != within {
			t.Fatalf("%q within %q: not %v", a, b, within)
		}
		if b != "" {
			after := AppendAfter(nil, []byte(b))
			if behind := Compare([]byte(a), after) > 0; behind != (compareByComponent(a, b) > 0 && !within) {
				t.Fatalf("%q behind all of %q: %v", a, b, behind)
			}
		}
	}
}

func BenchmarkCompare(b *testing.B) {
	x, y := []byte("home/someone/src/project/internal/package/file_one.go"), []byte("home/someone/src/project/internal/package/file_two.go")
	for b.Loop() {
		if Compare(x, y) >= 0 || bytes.Equal(x, y) {
			b.Fatal("wrong")
		}
	}
}
