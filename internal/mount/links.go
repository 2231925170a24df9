package mount

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"slices"
	"sync"

	"firn/internal/manifest"
	"firn/internal/repo"
)

// linkCounter counts the names of files, and looks whether any has an ACL. Only the later names of a file tell that there are several, so it reads a whole manifest, once, before the first file is
// described.
type linkCounter struct {
	mu     sync.Mutex
	done   chan struct{} // nil: nobody counts
	counts *linkCounts   // nil: not counted
	err    error         // of the last try
}

// linkCounts is how many later names the files have that have any, by the hash of the path of the first.
type linkCounts struct {
	hash  []uint64 // ascending
	count []uint32
	acls  bool // some file has one
}

// of returns how many names the file has that is first called so, as far as they were counted.
func (l *linkCounter) of(seed maphash.Seed, path []byte) uint32 {
	l.mu.Lock()
	counts := l.counts
	l.mu.Unlock()
	if counts == nil || len(counts.hash) == 0 {
		return 1
	}
	at, found := slices.BinarySearch(counts.hash, maphash.Bytes(seed, path))
	if !found {
		return 1
	}
	return 1 + counts.count[at]
}

// countLinks makes sure that the names of files were counted. run begins what goes on though nobody waits for it any more.
func (v look) countLinks(run func(func())) error {
	l := &v.links
	l.mu.Lock()
	if l.counts != nil {
		l.mu.Unlock()
		return nil
	}
	if l.done == nil {
		done := make(chan struct{})
		l.done, l.err = done, errStopped
		run(func() {
			counts, err := v.volume.count()
			l.mu.Lock()
			l.counts, l.err, l.done = counts, err, nil
			l.mu.Unlock()
			close(done)
		})
	}
	done := l.done
	l.mu.Unlock()
	select {
	case <-done:
	case <-v.stop:
		return errStopped
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts != nil {
		return nil
	}
	return l.err
}

// acls reports whether some file has an ACL, as far as is known.
func (l *linkCounter) acls() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts == nil || l.counts.acls
}

// What the lines have that are looked for; others may have it too.
var (
	hardlinkMember = []byte(`"hardlink`)
	aclName        = []byte(aclPrefix)
)

func (v *volume) count() (*linkCounts, error) {
	var all []uint64
	var never stopper
	past := func(g manifest.Gap) bool { return isDamage(g.Err) } // one who lists a folder there hears of it
	it := manifest.NewReader(v.source(&never), repo.TreeOf(v.item.Snapshot)).EntriesPast(nil, past)
	out := &linkCounts{}
	for it.Next() {
		out.acls = out.acls || bytes.Contains(it.Line(), aclName)
		if !bytes.Contains(it.Line(), hardlinkMember) {
			continue
		}
		if e, err := it.Entry(); err == nil && len(e.Hardlink) > 0 {
			all = append(all, maphash.Bytes(v.seed, e.Hardlink))
		}
	}
	if err := it.Err(); err != nil && !isDamage(err) {
		return nil, err
	}
	slices.Sort(all)
	for _, h := range all {
		if n := len(out.hash); n > 0 && out.hash[n-1] == h {
			out.count[n-1]++
			continue
		}
		out.hash, out.count = append(out.hash, h), append(out.count, 1)
	}
	return out, nil
}

// Pages of what is known of attributes: each of pageLines lines.
const (
	pageLines = 4096
	maxPages  = 1024 // of one volume: 1 MiB, four million lines
)

// noXattrs remembers which files have no extended attributes, since programs that list ask for each. Two bits a line: known, and none.
type noXattrs struct {
	mu    sync.Mutex
	pages map[int64]*xattrPage
	clock uint64
}

type xattrPage struct {
	none [pageLines / 64]uint64
	used uint64
}

// note remembers that a file has none.
func (x *noXattrs) note(line int64, none bool) {
	if !none || line < 0 {
		return
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.clock++
	p := x.pages[line/pageLines]
	if p == nil {
		if x.pages == nil {
			x.pages = map[int64]*xattrPage{}
		}
		if len(x.pages) >= maxPages {
			x.drop()
		}
		p = &xattrPage{}
		x.pages[line/pageLines] = p
	}
	p.used = x.clock
	at := line % pageLines
	p.none[at/64] |= 1 << (at % 64)
}

// drop forgets the half of the pages that was not used for longest.
func (x *noXattrs) drop() {
	type aged struct {
		page int64
		used uint64
	}
	var all []aged
	for i, p := range x.pages {
		all = append(all, aged{i, p.used})
	}
	slices.SortFunc(all, func(a, b aged) int { return cmp.Compare(a.used, b.used) })
	for _, a := range all[:len(all)/2] {
		delete(x.pages, a.page)
	}
}

// has reports whether a file is known to have none.
func (x *noXattrs) has(line int64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	p := x.pages[line/pageLines]
	if line < 0 || p == nil {
		return false
	}
	p.used = x.clock
	at := line % pageLines
	return p.none[at/64]&(1<<(at%64)) != 0
}
