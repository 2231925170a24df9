package backup

import (
	"encoding/binary"
	"sync"

	"firn/internal/manifest"
)

// fileMap finds small files that this run has met already, so that equal files share one place in one bundle. It is a help
// and not a promise: it holds a bounded number of files, and what does not fit is stored again inside its own bundle.
//
// The key is the first 12 bytes of the keyed hash, as in the manifest: 96 bits that nobody without the key can steer.
type fileMap struct {
	shards [16]fileShard
}

type fileShard struct {
	mu    sync.Mutex
	index map[manifest.Hash]place
}

// place is where the content of a small file lies: in a unit of this run whose chunk may not be known yet.
type place struct {
	bundle *bundle
	offset uint32
	length uint32
}

// maxFilesPerShard bounds the memory of a fileMap to about 64 MB.
const maxFilesPerShard = 1 << 15

func newFileMap() *fileMap {
	m := &fileMap{}
	for i := range m.shards {
		m.shards[i].index = make(map[manifest.Hash]place)
	}
	return m
}

// findOrAdd returns the place of a file with this hash and length, or notes p as its place and reports false.
func (m *fileMap) findOrAdd(h manifest.Hash, p place) (place, bool) {
	s := &m.shards[binary.LittleEndian.Uint16(h[:])%uint16(len(m.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	if have, ok := s.index[h]; ok && have.length == p.length {
		return have, true
	}
	if len(s.index) < maxFilesPerShard {
		s.index[h] = p
	}
	return place{}, false
}
