package state

import (
	"cmp"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Usage tells how many bytes the state of the repository takes on disk.
type Usage struct {
	Sources, Spool, Store, Chunks int64 // parts of the cache
	State                         int64 // host key, heads, locks, journals
}

// Cache is the sum that Trim works on.
func (u Usage) Cache() int64 { return u.Sources + u.Spool + u.Store + u.Chunks }

// Usage adds up the files. What cannot be read counts nothing.
func (s *State) Usage() Usage {
	sum := func(base string, elem ...string) (n int64) {
		if base == "" {
			return 0
		}
		walkFiles(filepath.Join(append([]string{base}, elem...)...), func(p piece) { n += p.size })
		return n
	}
	return Usage{
		Sources: sum(s.cache, "sources"), Spool: sum(s.cache, "spool"), Store: sum(s.cache, "store"), Chunks: sum(s.cache, "chunks"),
		State: sum(s.state),
	}
}

// piece is what Trim deletes at once.
type piece struct {
	paths []string
	size  int64
	used  time.Time
}

func walkFiles(root string, fn func(piece)) {
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil // what cannot be read is passed over
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			fn(piece{[]string{path}, info.Size(), info.ModTime()})
		}
		return nil
	})
}

// Trim deletes the pieces of the cache that were used the longest time ago, until it takes at most max bytes, and returns how many bytes that freed.
// A piece is a generation of a source (both files), a chunk table, an object of the store cache or a pack in the spool that nobody is sending. Readers that have a
// piece open go on reading where the system allows it; else the piece stays. Times of use are times of modification: readers of the stat cache set them, other
// owners of pieces use Touch. Packs that are being written or sent do not count: they go by themselves, and nothing else has to make room for them.
func (s *State) Trim(max int64) (freed int64) {
	if s.cache == "" {
		return 0
	}
	spool := s.Spool()
	spool.Clean()
	pairs := map[string]*piece{}
	var pieces []*piece
	var total int64
	walkFiles(s.cache, func(p piece) {
		dir, name := filepath.Split(p.paths[0])
		if filepath.Clean(dir) == spool.dir && spool.inUse(strings.TrimSuffix(name, uploadSuffix)) {
			return
		}
		total += p.size
		if strings.HasPrefix(name, tempPrefix) {
			return // being written
		}
		key := p.paths[0]
		if prefix, gen, ok := strings.Cut(name, "-"); ok && (prefix == statName || prefix == linesName) {
			key = dir + strings.TrimSuffix(gen, partSuffix)
		}
		if have := pairs[key]; have != nil {
			have.paths = append(have.paths, p.paths...)
			have.size += p.size
			if p.used.After(have.used) {
				have.used = p.used
			}
			return
		}
		pairs[key] = &p
		pieces = append(pieces, &p)
	})
	slices.SortFunc(pieces, func(a, b *piece) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.paths[0], b.paths[0]))
	})
	for _, p := range pieces {
		if total-freed <= max {
			break
		}
		freed += p.remove()
	}
	return freed
}

// remove deletes the files of a piece, the one that makes a generation valid first, and returns the bytes freed.
func (p *piece) remove() (freed int64) {
	slices.Sort(p.paths)
	slices.Reverse(p.paths) // "stat-…" before "lines-…"
	for _, path := range p.paths {
		info, err := os.Lstat(path)
		if err != nil {
			continue
		}
		if os.Remove(path) != nil {
			return freed
		}
		freed += info.Size()
	}
	return freed
}

// Touch marks a piece of the cache as used now.
func (s *State) Touch(path string, now time.Time) { _ = os.Chtimes(path, now, now) }
