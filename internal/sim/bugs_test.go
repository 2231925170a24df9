package sim

import (
	"errors"
	"os"
	"slices"
	"testing"
)

// TestBugsAreFound plants one mistake after another, and expects each to be found within some worlds.
func TestBugsAreFound(t *testing.T) {
	dir, err := Folder()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	for _, bug := range Bugs() {
		t.Run(string(bug), func(t *testing.T) {
			if testing.Short() && slices.Contains([]Bug{NoGrace, NoSecondLook, Deaf, DoneFirst, HostClock, NoHeads}, bug) {
				t.Skip("takes seeds that take long")
			}
			var all Counts
			for seed := range uint64(400) {
				counts, err := Run(t.Context(), Options{Seed: seed, Bug: bug, Dir: dir})
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
