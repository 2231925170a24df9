package wizard

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"sync"

	"firn/internal/manifest"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/web"
)

// Limits of baskets.
const (
	maxSessions    = 32
	maxBaskets     = 8       // of a session
	maxPaths       = 20_000  // in one
	maxBasketBytes = 4 << 20 // of paths in one
)

// baskets are those of all sessions. What was not used for longest makes room.
type baskets struct {
	mu  sync.Mutex // guards all below, and what is in baskets
	all []*shelf   // the latest used last
}

// shelf is the baskets of a session.
type shelf struct {
	session web.SessionID
	all     []*basket // the latest used last
}

// basketKey says what a basket is about.
type basketKey struct {
	repo     string
	snapshot snapshot.ID
}

// basket is paths of a snapshot, none of which lies below another.
type basket struct {
	basketKey
	paths [][]byte // in the order of the manifest; the one path "" is everything
	size  int
}

func newBaskets() *baskets { return &baskets{} }

// of returns the baskets of a session, the latest used first.
func (b *baskets) of(session web.SessionID, repo string) (out []basket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.all {
		if s.session != session {
			continue
		}
		for _, k := range slices.Backward(s.all) {
			if k.repo == repo {
				out = append(out, k.copy())
			}
		}
	}
	return out
}

// get returns a basket; paths nil: it is empty.
func (b *baskets) get(session web.SessionID, key basketKey) basket {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.find(session, key, false); k != nil {
		return k.copy()
	}
	return basket{basketKey: key}
}

// find returns a basket and notes that it was used; nil: there is none. b.mu is held.
func (b *baskets) find(session web.SessionID, key basketKey, make bool) *basket {
	i := slices.IndexFunc(b.all, func(s *shelf) bool { return s.session == session })
	if i < 0 {
		if !make {
			return nil
		}
		b.all = append(b.all[max(len(b.all)+1-maxSessions, 0):], &shelf{session: session})
		i = len(b.all) - 1
	}
	s := b.all[i]
	b.all = append(slices.Delete(b.all, i, i+1), s)
	k := slices.IndexFunc(s.all, func(k *basket) bool { return k.basketKey == key })
	if k < 0 {
		if !make {
			return nil
		}
		s.all = append(s.all[max(len(s.all)+1-maxBaskets, 0):], &basket{basketKey: key})
		return s.all[len(s.all)-1]
	}
	found := s.all[k]
	s.all = append(slices.Delete(s.all, k, k+1), found)
	return found
}

// add puts paths into a basket: all, or none and an error.
func (b *baskets) add(session web.SessionID, key basketKey, paths [][]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.find(session, key, true)
	all := slices.Concat(k.paths, paths)
	slices.SortFunc(all, manifest.Compare)
	next := make([][]byte, 0, len(all))
	size := 0
	for _, p := range all {
		if n := len(next); n > 0 && manifest.Within(p, next[n-1]) {
			continue
		}
		next = append(next, bytes.Clone(p))
		size += len(p)
	}
	if len(next) > maxPaths || size > maxBasketBytes {
		if len(k.paths) == 0 {
			b.drop(session, key)
		}
		return refused(http.StatusRequestEntityTooLarge, "put in the folders that they lie in; the command line takes longer lists: firn restore --files-from", "a basket holds %d paths, and no more than %d bytes of them", maxPaths, maxBasketBytes)
	}
	k.paths, k.size = next, size
	return nil
}

// remove takes paths out of a basket; nil: all of them.
func (b *baskets) remove(session web.SessionID, key basketKey, paths [][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.find(session, key, false)
	if k == nil {
		return
	}
	gone := make(map[string]bool, len(paths))
	for _, p := range paths {
		gone[string(p)] = true
	}
	var next [][]byte
	k.size = 0
	for _, p := range k.paths {
		if paths != nil && !gone[string(p)] {
			next = append(next, p)
			k.size += len(p)
		}
	}
	if k.paths = next; len(next) == 0 {
		b.drop(session, key)
	}
}

// drop removes a basket. b.mu is held.
func (b *baskets) drop(session web.SessionID, key basketKey) {
	for _, s := range b.all {
		if s.session == session {
			s.all = slices.DeleteFunc(s.all, func(k *basket) bool { return k.basketKey == key })
		}
	}
}

// copy returns a basket whose list does not change.
func (k *basket) copy() basket {
	out := *k
	out.paths = slices.Clone(k.paths)
	return out
}

// whole reports whether it is all of the snapshot.
func (k *basket) whole() bool { return len(k.paths) == 1 && len(k.paths[0]) == 0 }

// list is the paths as a restore takes them; nil: everything.
func (k *basket) list() (*restore.Paths, error) {
	if k.whole() {
		return nil, nil
	}
	p := &restore.Paths{}
	for _, path := range k.paths {
		if err := p.Add(path); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// sum is the same for the same paths: by it a form knows that the basket is as it was shown.
func (k *basket) sum() string {
	h := sha256.New()
	for _, p := range k.paths {
		_, _ = h.Write(append(bytes.Clone(p), 0))
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}
