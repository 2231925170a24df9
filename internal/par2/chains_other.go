//go:build !amd64 || purego

package par2

type chains = plainChains

func newChains(int64) *chains { return newPlainChains() }

// Nothing is woven here.
type weave struct{}

func newLanes(n int) lanes { return newPlainLanes(n) }

func weaves(int64) bool { return false }

const weaveBatch = 16

func weavable(int) int { return 0 }
