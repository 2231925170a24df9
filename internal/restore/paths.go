package restore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sort"

	"firn/internal/manifest"
)

// Limits of a list of paths.
const (
	MaxListed      = 8_000_000 // paths
	MaxListedBytes = 512 << 20 // of all together
)

// ErrListed tells that a list is longer than MaxListed or MaxListedBytes.
var ErrListed = fmt.Errorf("more than %d paths, or %d bytes of them", MaxListed, MaxListedBytes)

// Paths is a list of paths of a snapshot, each of which stands for itself and all below it. It takes the bytes of the paths and 16 more for each, and is looked up by halving; a walk leaps over what lies between. Not to be
// changed once it is in use.
type Paths struct {
	text   []byte
	all    []stretch // in the order of the manifest, once sorted
	tops   []stretch // of them those that lie below no other
	sorted bool
}

// stretch is a path in the text.
type stretch struct{ at, n uint32 }

// Add adds a path relative to the source, as in the manifest; "" is the source itself. It fails with ErrListed where there are too many.
func (p *Paths) Add(path []byte) error {
	path = bytes.Trim(path, "/")
	if len(p.all) >= MaxListed || len(p.text)+len(path) > MaxListedBytes {
		return ErrListed
	}
	p.all = append(p.all, stretch{uint32(len(p.text)), uint32(len(path))})
	p.text = append(p.text, path...)
	p.sorted = false
	return nil
}

// Len is how many there are; each counts once, from the first time that the list was looked at.
func (p *Paths) Len() int {
	if p == nil {
		return 0
	}
	return len(p.all)
}

func (p *Paths) path(s stretch) []byte { return p.text[s.at : s.at+s.n : s.at+s.n] }

// sort brings the paths into the order of the manifest.
func (p *Paths) sort() {
	if p.sorted {
		return
	}
	slices.SortFunc(p.all, func(a, b stretch) int { return manifest.Compare(p.path(a), p.path(b)) })
	p.all = slices.CompactFunc(p.all, func(a, b stretch) bool { return bytes.Equal(p.path(a), p.path(b)) })
	p.tops = make([]stretch, 0, len(p.all))
	for _, s := range p.all {
		if n := len(p.tops); n == 0 || !manifest.Within(p.path(s), p.path(p.tops[n-1])) {
			p.tops = append(p.tops, s)
		}
	}
	p.sorted = true
}

// from returns the number of the first top at or behind a path.
func (p *Paths) from(path []byte) int {
	return sort.Search(len(p.tops), func(i int) bool { return manifest.Compare(p.path(p.tops[i]), path) >= 0 })
}

// covers reports whether a path is listed, or lies below one that is.
func (p *Paths) covers(path []byte) bool {
	i := p.from(path)
	return i < len(p.tops) && bytes.Equal(p.path(p.tops[i]), path) || i > 0 && manifest.Within(path, p.path(p.tops[i-1]))
}

// below reports whether something below a folder is listed, or all of it.
func (p *Paths) below(dir []byte) bool {
	i := p.from(dir)
	return i < len(p.tops) && manifest.Within(p.path(p.tops[i]), dir) || i > 0 && manifest.Within(dir, p.path(p.tops[i-1]))
}

// next returns where what follows a path, which is not chosen and not on the way to anything that is, may be chosen again, or lies on the way there; nil: nothing is.
func (p *Paths) next(dst, path []byte) []byte {
	i := p.from(path)
	if i == len(p.tops) {
		return nil
	}
	top := p.path(p.tops[i])
	same := 0 // up to behind the last slash that both have
	for k := 0; k < min(len(top), len(path)) && top[k] == path[k]; k++ {
		if top[k] == '/' {
			same = k + 1
		}
	}
	end := bytes.IndexByte(top[same:], '/')
	if end < 0 {
		end = len(top) - same
	}
	return append(dst, top[:same+end]...)
}

// sum is the same for lists of the same paths, in whatever order.
func (p *Paths) sum() []byte {
	p.sort()
	h := sha256.New()
	for _, s := range p.all {
		_, _ = fmt.Fprintf(h, "%d ", s.n)
		_, _ = h.Write(p.path(s))
	}
	return h.Sum(nil)
}

// Absent returns the paths of Options.Paths that the snapshot does not have, or that do not lie in Options.Path, in the order of the manifest, and leaves them out of the list. It reads as much of the manifest as leads to the others.
// A stretch of the manifest that cannot be read makes nothing absent.
func Absent(ctx context.Context, o Options) ([][]byte, error) {
	if o.Paths == nil {
		return nil, nil
	}
	p := o.Paths
	p.sort()
	o.Workers = 1
	r, err := newRun(ctx, o)
	if err != nil {
		return nil, err
	}
	lost := false // what was not read may have the rest
	it := r.choice.m.EntriesPast(nil, func(manifest.Gap) bool { lost = true; return true })
	var absent [][]byte
	kept := p.all[:0:0]
	for _, s := range p.all {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		path := p.path(s)
		there := len(path) == 0
		if !there {
			it.Seek(path)
			there = it.Next() && bytes.Equal(it.Path(), path) || lost
		}
		if err := it.Err(); err != nil {
			return nil, err
		}
		if there && (manifest.Within(path, r.choice.base) || manifest.Within(r.choice.base, path)) {
			kept = append(kept, s)
		} else {
			absent = append(absent, path)
		}
	}
	p.all, p.sorted = kept, false
	p.sort()
	return absent, nil
}
