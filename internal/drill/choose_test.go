package drill

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"firn/internal/digest"
	"firn/internal/glob"
	"firn/internal/manifest"
	"firn/internal/price"
	"firn/internal/snapshot"
	"firn/internal/thaw"
)

// shelf is made-up files in made-up packs.
type shelf struct {
	files []candidate
	packs []pack
}

// newShelf has packs with between 1 and many files each, and some files in several packs.
func newShelf(seed uint64, packs, most int, large bool) *shelf {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &shelf{}
	for p := range packs {
		name := digest.Object{}
		for i := range name {
			name[i] = byte(r.Uint32())
		}
		s.packs = append(s.packs, pack{name: name, need: thaw.Need{Size: 1 << 20}})
		n := 1 + r.IntN(most)
		for range n {
			size := int64(1<<20) / int64(n)
			s.files = append(s.files, candidate{path: fmt.Appendf(nil, "d%d/f%d", p, len(s.files)), size: size, wants: []want{{int32(p), size}}})
		}
		if large && p%20 == 3 {
			c := candidate{path: fmt.Appendf(nil, "large%d", p), size: 5 << 20}
			for k := range 5 {
				c.wants = append(c.wants, want{int32((p + k) % packs), 1 << 20})
			}
			s.files = append(s.files, c)
		}
	}
	return s
}

// under gives everything the hashes of a seed.
func (s *shelf) under(seed uint64, rank func(c *candidate) uint32) []candidate {
	all := slices.Clone(s.files)
	for i := range all {
		all[i].key = key{hash: mix(hashOf(all[i].path), seed)}
		if rank != nil {
			all[i].rank = rank(&all[i])
		}
	}
	for i := range s.packs {
		s.packs[i].hash, s.packs[i].toll = packHash(s.packs[i].name, seed), Toll{Cost: 1, Cold: i%7 != 0}
	}
	slices.SortFunc(all, func(a, b candidate) int { return a.compare(b.key) })
	return all
}

func perPack(most price.Money) *Budget {
	return &Budget{Max: most, Send: func(bytes int64) price.Money { return price.Money(bytes) / (1 << 20) / 10 }}
}

// TestSameChance: without a limit on money every file is drawn as often as any other, whatever its size and however many share its pack; with one, too, as long as it
// could be paid for.
func TestSameChance(t *testing.T) {
	const rounds = 1500
	for name, c := range map[string]struct {
		l     limits
		large bool
	}{
		"plain":      {limits{files: 40, bytes: math.MaxInt64}, true},
		"budget":     {limits{files: 40, bytes: math.MaxInt64, budget: perPack(12)}, false},
		"dear bytes": {limits{files: 400, bytes: math.MaxInt64, budget: perPack(3)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(7, 60, 20, c.large)
			hits := map[string]int{}
			total := 0
			for seed := range uint64(rounds) {
				var out Sample
				for _, f := range choose(s.under(seed, nil), s.packs, c.l, &out) {
					hits[string(f.path)]++
					total++
				}
			}
			mean := float64(total) / float64(len(s.files))
			// Six standard deviations of a binomial; clusters are drawn together, so with a budget the files of one pack go up and down together.
			tolerance := 6 * math.Sqrt(mean)
			if c.l.budget != nil {
				tolerance += 0.12 * mean
			}
			for i := range s.files {
				if got := float64(hits[string(s.files[i].path)]); math.Abs(got-mean) > tolerance {
					t.Errorf("%s (%d in its pack's size) was drawn %v times, the mean is %.1f ± %.1f", s.files[i].path, s.files[i].size, got, mean, tolerance)
				}
			}
		})
	}
}

// TestBudget: no sample costs more than it may, whatever the shelf; and what is there to be had for the money is used.
func TestBudget(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	for n := range 200 {
		s := newShelf(uint64(n), 1+r.IntN(80), 1+r.IntN(60), n%2 == 0)
		l := limits{files: 1 + int64(r.IntN(300)), bytes: 1 << (16 + r.IntN(14)), budget: perPack(price.Money(r.Float64() * 20)), once: price.Money(n % 3)}
		var out Sample
		all := s.under(uint64(n), nil)
		picked := choose(all, s.packs, l, &out)
		till := newTill(l, s.packs)
		var bytes int64
		seen := map[string]bool{}
		for i := range picked {
			till.take(&picked[i])
			bytes += picked[i].size
			if seen[string(picked[i].path)] {
				t.Fatal("twice")
			}
			seen[string(picked[i].path)] = true
		}
		if till.cost() > l.budget.Max+1e-9 || bytes > l.bytes || int64(len(picked)) > l.files {
			t.Fatalf("%d: %d files of %d, %d bytes of %d, cost %v of %v", n, len(picked), l.files, bytes, l.bytes, till.cost(), l.budget.Max)
		}
		if len(picked) == 0 {
			for i := range all {
				if all[i].size <= l.bytes && newTill(l, s.packs).fits(&all[i]) && l.budget.Max > 6 {
					t.Fatalf("%d: nothing was drawn, though %s fits", n, all[i].path)
				}
			}
		}
		var again Sample
		if more := choose(s.under(uint64(n), nil), s.packs, l, &again); len(more) != len(picked) || again.Reach != out.Reach {
			t.Fatal("the same seed gave another sample")
		}
	}
}

// TestRound: drills go round: with the history of seeds alone, all files are tried before any is tried again.
func TestRound(t *testing.T) {
	for _, money := range []*Budget{nil, perPack(15)} {
		s := newShelf(5, 40, 30, false)
		var proofs []snapshot.Proof
		tried := map[string]int{}
		seed := uint64(100)
		drills, again := 0, 0
		for ; len(tried) < len(s.files); drills++ {
			turns := turnsOf(proofs)
			byPath := func(c *candidate) uint32 {
				e := manifest.Entry{Path: c.path, Size: c.size, Mtime: manifest.Time{Sec: 1}}
				return lastTurn(turns, hashOf(c.path), &e, func() digest.Object { return s.packs[c.wants[0].pack].name })
			}
			out := Sample{}
			picked := choose(s.under(seed, byPath), s.packs, limits{files: 50, bytes: math.MaxInt64, budget: money}, &out)
			out.Reach.Turn = nextTurn(proofs)
			for i := range picked {
				if money == nil && picked[i].rank != uint32(tried[string(picked[i].path)]) {
					t.Fatalf("%s: rank %d, was tried in %d", picked[i].path, picked[i].rank, tried[string(picked[i].path)])
				}
				if picked[i].rank > 0 {
					again++
				}
				tried[string(picked[i].path)] = int(out.Reach.Turn)
			}
			proofs = append(proofs, snapshot.Proof{Seed: seed, Reach: out.Reach})
			proofs[len(proofs)-1].Time = proofs[len(proofs)-1].Time.AddDate(2020, 0, drills)
			seed = finalize(seed)
			if drills > 10*len(s.files)/50+20 {
				t.Fatalf("after %d drills %d of %d files were tried", drills, len(tried), len(s.files))
			}
		}
		t.Logf("%d files, %d drills, %d tried again on the way", len(s.files), drills, again)
		if least := (len(s.files) + 49) / 50; money == nil && drills != least {
			t.Errorf("%d drills, want %d", drills, least)
		}
	}
}

// TestPool: the pool keeps the lowest keys of any number, each with the same chance.
func TestPool(t *testing.T) {
	p := pool{size: 50}
	r := rand.New(rand.NewPCG(1, 2))
	var all []key
	for range 5000 {
		k := key{rank: uint32(r.IntN(3)), hash: r.Uint64()}
		all = append(all, k)
		if p.takes(k) {
			p.add(candidate{key: k})
		}
	}
	slices.SortFunc(all, key.compare)
	for i, c := range p.sorted() {
		if c.key != all[i] {
			t.Fatal(i)
		}
	}
}

// TestPattern: a pattern chooses its path and no other, whatever is in it.
func TestPattern(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	alphabet := []byte("ab*?[]\\!# \r\n\t.-^{}\xff\xc3\xa4")
	var paths [][]byte
	for len(paths) < 2000 {
		var p []byte
		for n := range 1 + r.IntN(3) {
			if n > 0 {
				p = append(p, '/')
			}
			for range 1 + r.IntN(5) {
				p = append(p, alphabet[r.IntN(len(alphabet))])
			}
		}
		if manifest.CheckPath(p) == "" && !slices.ContainsFunc(paths, func(q []byte) bool { return bytes.Equal(p, q) }) {
			paths = append(paths, p)
		}
	}
	for i, p := range paths {
		set, err := glob.Parse([]string{pattern(p)}, "test")
		if err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		if len(set.Rules()) != 1 {
			t.Fatalf("%q: no rule", p)
		}
		for k, q := range paths {
			in, _ := set.Covers(q, false)
			if want := i == k || bytes.HasPrefix(q, append(bytes.Clone(p), '/')); in != want {
				t.Fatalf("pattern %q of %q, path %q: %v", pattern(p), p, q, in)
			}
		}
	}
}
