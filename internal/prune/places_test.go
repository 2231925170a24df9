package prune

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"firn/internal/digest"
	"firn/internal/repo"
)

// TestPlaces compares what is found by first bits with what a search finds, for names that are there and that are not.
func TestPlaces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for size := range 70 {
		packs := make([]repo.Stored, size)
		for i := range packs {
			packs[i].Name[0], packs[i].Name[31] = byte(rnd.IntN(16)*rnd.IntN(17)), byte(rnd.IntN(256))
		}
		order := func(a, b repo.Stored) int { return bytes.Compare(a.Name[:], b.Name[:]) }
		slices.SortFunc(packs, order)
		packs = slices.CompactFunc(packs, func(a, b repo.Stored) bool { return a.Name == b.Name })
		p := newPlaces(packs)
		for range 200 {
			names := make([]digest.Object, rnd.IntN(20))
			for i := range names {
				names[i][0], names[i][31] = byte(rnd.IntN(256)), byte(rnd.IntN(256))
				if len(packs) > 0 && rnd.IntN(2) == 0 {
					names[i] = packs[rnd.IntN(len(packs))].Name
				}
			}
			for _, n := range names {
				want, found := slices.BinarySearchFunc(packs, repo.Stored{Name: n}, order)
				if got, ok := p.find(n); ok != found || ok && got != want {
					t.Fatalf("%d packs: %d %v, want %d %v", len(packs), got, ok, want, found)
				}
			}
		}
	}
}
