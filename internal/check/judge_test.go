package check_test

import (
	"math/rand/v2"

	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 99)) }

// lostFiles reads every file of every snapshot, chunk by chunk, and returns those of which something cannot be had: the judge of what a check says.
func (w *world) lostFiles(string) map[snapshot.ID][]string {
	w.t.Helper()
	out := map[snapshot.ID][]string{}
	r, err := repo.Open(ctx, w.st, repo.Access{Secrets: w.access.Secrets}, repo.Options{})
	w.must(err)
	ids, err := r.Scopes(ctx)
	w.must(err)
	for _, id := range ids {
		s, err := r.Load(ctx, id, true)
		w.must(err)
		for _, it := range s.Items {
			rd, err := r.NewReader(s, it.Epoch)
			w.must(err)
			cache, err := r.NewChunkCache(ctx, s, it.Epoch, 1, 1<<20)
			w.must(err)
			m := manifest.NewReader(manifest.Source{Get: cache.Get}, repo.TreeOf(it.Snapshot))
			w.must(m.Walk(nil, func(e *manifest.Entry) error {
				p := m.Pieces(e)
				for p.Next() {
					if p.Piece().IsHole() {
						continue
					}
					if _, err := rd.Chunk(ctx, p.Piece().Chunk); err != nil {
						out[it.ID] = append(out[it.ID], string(e.Path))
						return nil
					}
				}
				return p.Err()
			}))
			cache.Close()
		}
	}
	return out
}
