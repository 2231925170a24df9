package coldtest

import (
	"slices"
	"sort"
	"strings"
)

// index is the sorted set of a bucket's keys: short sorted runs one after another, so that a new key moves few others.
type index struct {
	runs [][]*entry
	n    int
}

// entry is a key with its versions, the newest last. It has at least one.
type entry struct {
	key      string
	versions []*version
}

const runLimit = 1024

// run finds the run in which key lies or belongs.
func (x *index) run(key string) int {
	i := sort.Search(len(x.runs), func(i int) bool { return x.runs[i][0].key > key })
	return max(i-1, 0)
}

func search(run []*entry, key string) (int, bool) {
	return slices.BinarySearchFunc(run, key, func(e *entry, key string) int { return strings.Compare(e.key, key) })
}

func (x *index) find(key string) *entry {
	if len(x.runs) == 0 {
		return nil
	}
	run := x.runs[x.run(key)]
	if i, ok := search(run, key); ok {
		return run[i]
	}
	return nil
}

// make finds the key, or puts an entry without versions there.
func (x *index) make(key string) *entry {
	if len(x.runs) == 0 {
		x.runs = [][]*entry{nil}
	}
	r := 0
	if len(x.runs[0]) > 0 {
		r = x.run(key)
	}
	i, ok := search(x.runs[r], key)
	if ok {
		return x.runs[r][i]
	}
	e := &entry{key: key}
	x.runs[r] = slices.Insert(x.runs[r], i, e)
	x.n++
	if len(x.runs[r]) > runLimit {
		half := slices.Clone(x.runs[r][runLimit/2:])
		x.runs[r] = slices.Clip(x.runs[r][:runLimit/2])
		x.runs = slices.Insert(x.runs, r+1, half)
	}
	return e
}

func (x *index) remove(key string) {
	if len(x.runs) == 0 {
		return
	}
	r := x.run(key)
	i, ok := search(x.runs[r], key)
	if !ok {
		return
	}
	x.runs[r] = slices.Delete(x.runs[r], i, i+1)
	x.n--
	if len(x.runs[r]) == 0 {
		x.runs = slices.Delete(x.runs, r, r+1)
	}
}

// from yields entries from key on, key included, until yield says stop.
func (x *index) from(key string, yield func(*entry) bool) {
	if len(x.runs) == 0 {
		return
	}
	r := x.run(key)
	i, _ := search(x.runs[r], key)
	for ; r < len(x.runs); r++ {
		for ; i < len(x.runs[r]); i++ {
			if !yield(x.runs[r][i]) {
				return
			}
		}
		i = 0
	}
}
