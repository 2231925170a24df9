package sim

import (
	"context"
	"errors"
	"testing"
)

// TestBugsAreFound plants one mistake after another, and expects each to be found within some worlds.
func TestBugsAreFound(t *testing.T) {
	for _, bug := range Bugs() {
		t.Run(string(bug), func(t *testing.T) {
			dir := t.TempDir()
			if memory, err := Folder(); err == nil {
				dir = memory
				t.Cleanup(func() { removeAll(memory) })
			}
			var all Counts
			for seed := range uint64(300) {
				counts, err := Run(context.Background(), Options{Seed: seed, Bug: bug, Dir: dir})
				all.Add(counts)
				var v *Violation
				if errors.As(err, &v) {
					t.Logf("seed %d, after %d operations: %v", seed, all.Operations(), v.What)
					return
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			t.Errorf("nobody noticed in %d operations", all.Operations())
		})
	}
}
