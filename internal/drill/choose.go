package drill

import (
	"cmp"
	"math"
	"slices"

	"firn/internal/price"
)

// limits of a sample.
type limits struct {
	files, bytes int64
	budget       *Budget
	once         price.Money // for anything that is thawed
}

// choose picks a sample from candidates in order of key, and fills in what the Sample tells of it besides its files.
func choose(all []candidate, packs []pack, l limits, s *Sample) []candidate {
	wish, large := prefix(all, l)
	s.TooLarge += large
	s.Reach.Pack = math.MaxUint64
	if len(wish) > 0 {
		last := all[wish[len(wish)-1]]
		s.Reach.Rank, s.Reach.Hash = last.rank, last.hash
	}
	if l.budget != nil {
		t := newTill(l, packs)
		for _, i := range wish {
			t.take(&all[i])
		}
		if t.cost() > l.budget.Max {
			n := len(wish)
			if wish = affordable(all, packs, l, n, s); len(wish) == 0 {
				s.TooDear = int64(n)
			}
		}
		s.OfPacks = int64(len(packs))
		s.Packs = int64(awake(all, wish, len(packs)))
	}
	out := make([]candidate, len(wish))
	for i, k := range wish {
		out[i] = all[k]
	}
	return out
}

// prefix takes candidates in their order, passing over those that do not fit what is left of the bytes.
func prefix(all []candidate, l limits) (picked []int, large int64) {
	for i := range all {
		switch {
		case int64(len(picked)) == l.files:
			return picked, large
		case all[i].size > l.bytes:
			large++
		default:
			l.bytes -= all[i].size
			picked = append(picked, i)
		}
	}
	return picked, large
}

func awake(all []candidate, picked []int, packs int) (n int) {
	seen := make([]bool, packs)
	for _, i := range picked {
		for _, w := range all[i].wants {
			if !seen[w.pack] {
				seen[w.pack] = true
				n++
			}
		}
	}
	return n
}

// attempt is a sample from as many packs as the money allows, of an equal share of the files that begin in them.
type attempt struct {
	picked []int
	dear   int64
	last   key    // of the candidates, up to which files belong to it
	pack   uint64 // hash of packs, up to which
}

// affordable draws from fewer packs, and more of each, twice as much at a time, until there are no more files to be had for the money. n is how many there would be without
// a limit on it.
func affordable(all []candidate, packs []pack, l limits, n int, s *Sample) []int {
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	hash := func(i int) uint64 {
		if len(all[i].wants) == 0 {
			return 0
		}
		return packs[all[i].wants[0].pack].hash
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(hash(a), hash(b)) })
	var tries []attempt
	most := 0
	for top := n; ; top *= 2 {
		top = min(max(top, 1), len(all))
		a := try(all, packs, l, order, top, hash)
		tries, most = append(tries, a), max(most, len(a.picked))
		if top == len(all) || int64(len(a.picked)) >= min(l.files, int64(n)) {
			break
		}
	}
	for _, a := range tries {
		if len(a.picked)*10 >= most*9 { // the most packs of those that give about as many files
			s.TooDear, s.Reach.Rank, s.Reach.Hash, s.Reach.Pack = a.dear, a.last.rank, a.last.hash, a.pack
			return a.picked
		}
	}
	return nil
}

// try goes through the packs in their order, and takes of each the files among the first top candidates.
func try(all []candidate, packs []pack, l limits, order []int, top int, hash func(int) uint64) (a attempt) {
	if top > 0 {
		a.last = all[top-1].key
	}
	t := newTill(l, packs)
	bytes := l.bytes
	for _, i := range order {
		c := &all[i]
		switch {
		case i >= top || c.size > bytes:
		case int64(len(a.picked)) == l.files:
			return a
		case !t.opens(c):
			return a // not even the next pack
		case !t.fits(c):
			a.dear++
			a.pack = hash(i)
		default:
			t.take(c)
			bytes -= c.size
			a.picked = append(a.picked, i)
			a.pack = hash(i)
		}
	}
	a.pack = math.MaxUint64
	return a
}

// till adds up what a sample costs.
type till struct {
	l     limits
	packs []pack
	sent  []int64 // bytes of each pack
	awake []bool
	cold  bool // something has to be thawed
	woken price.Money
	bytes int64
}

func newTill(l limits, packs []pack) *till {
	return &till{l: l, packs: packs, sent: make([]int64, len(packs)), awake: make([]bool, len(packs))}
}

func (t *till) cost() price.Money { return t.woken + t.l.budget.Send(t.bytes) }

// wake is what a pack adds that is not awake yet.
func (t *till) wake(pack int32, cold bool) (cost price.Money, nowCold bool) {
	p := &t.packs[pack]
	if t.awake[pack] {
		return 0, cold
	}
	if p.toll.Cold && !cold {
		return p.toll.Cost + t.l.once, true
	}
	return p.toll.Cost, cold
}

// more is what a file adds.
func (t *till) more(c *candidate) (wake price.Money, bytes int64, cold bool) {
	cold = t.cold
	for _, w := range c.wants {
		var cost price.Money
		cost, cold = t.wake(w.pack, cold)
		wake += cost
		bytes += min(w.bytes, t.packs[w.pack].need.Size-t.sent[w.pack])
	}
	return wake, bytes, cold
}

// fits reports whether there is money for a file.
func (t *till) fits(c *candidate) bool {
	wake, bytes, _ := t.more(c)
	return t.woken+wake+t.l.budget.Send(t.bytes+bytes) <= t.l.budget.Max
}

// opens reports whether there is money for the pack that a file begins in, if not for the file.
func (t *till) opens(c *candidate) bool {
	if len(c.wants) == 0 {
		return true
	}
	wake, _ := t.wake(c.wants[0].pack, t.cold)
	return wake == 0 || t.cost()+wake <= t.l.budget.Max
}

func (t *till) take(c *candidate) {
	wake, bytes, cold := t.more(c)
	for _, w := range c.wants {
		t.awake[w.pack] = true
		t.sent[w.pack] = min(t.sent[w.pack]+w.bytes, t.packs[w.pack].need.Size)
	}
	t.woken += wake
	t.bytes += bytes
	t.cold = cold
}
