package drill

import (
	"cmp"
	"slices"

	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/snapshot"
)

// turn is an earlier sample.
type turn struct {
	seed  uint64
	reach snapshot.Reach
	time  manifest.Time
}

// turnsOf returns the samples of a source in order of their turns.
func turnsOf(proofs []snapshot.Proof) (out []turn) {
	for i := range proofs {
		p := &proofs[i]
		if p.Reach.Turn > 0 {
			out = append(out, turn{p.Seed, p.Reach, manifest.Time{Sec: p.Time.Unix(), Nsec: int32(p.Time.Nanosecond())}})
		}
	}
	slices.SortStableFunc(out, func(a, b turn) int { return cmp.Compare(a.reach.Turn, b.reach.Turn) })
	return out
}

func nextTurn(proofs []snapshot.Proof) uint32 {
	last := uint32(0)
	for i := range proofs {
		last = max(last, proofs[i].Reach.Turn)
	}
	return last + 1
}

// lastTurn tells in which turn a file was tried the last time, 0: in none that is known. It goes through the samples as they were drawn: each of them had the
// same rule. A file that was modified after a sample was not part of it as it is now. base is hashOf its path; home is called where the pack matters.
func lastTurn(turns []turn, base uint64, e *manifest.Entry, home func() digest.Object) (rank uint32) {
	for i := range turns {
		t := &turns[i]
		k := key{rank, mix(base, t.seed)}
		if k.compare(key{t.reach.Rank, t.reach.Hash}) > 0 || later(e.Mtime, t.time) {
			continue
		}
		if t.reach.Pack != ^uint64(0) && e.Size > 0 && packHash(home(), t.seed) > t.reach.Pack {
			continue
		}
		rank = t.reach.Turn
	}
	return rank
}

func later(a, b manifest.Time) bool { return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec }
