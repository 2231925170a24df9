package repo

import (
	"fmt"
	"testing"

	"firn/internal/digest"
	"firn/internal/index"
)

// The index of a large repository is read, to be written again, for what is small or gone in it, and not because it is large.
func TestWorthDropping(t *testing.T) {
	none := func(digest.Object) bool { return false }
	for _, c := range []struct {
		small, large int
		replaced     bool
		want         bool
	}{{0, 0, false, false}, {manySmall - 1, 0, false, false}, {manySmall, 0, false, true}, {manySmall - 1, 100, false, false}, {0, 100, true, true}} {
		p := &Pruning{ScopeState: newState(nil)}
		for i := range c.small + c.large {
			o := index.Object{Name: fmt.Sprint(i), Chunks: smallChunks}
			if i < c.small {
				o.Chunks--
			}
			p.objects = append(p.objects, o)
		}
		if c.replaced {
			p.objects[1].Replaces = []string{"0"}
		}
		if got, err := p.worthDropping(none); err != nil || got != c.want {
			t.Errorf("%+v: %v, %v", c, got, err)
		}
	}
}
