package repo

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
	"time"

	"firn/internal/digest"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// snapshotCache keeps the bodies of done snapshots of a scope that were read and verified before, so that a repository of ten thousand snapshots is
// not decrypted anew by every run. It is a file beside the chunk tables and as expendable:
//
//	0 8  "FIRNSNC1"
//	then records: length n (4), CRC32C of the payload (4), payload: JSON of cachedSnapshot
//
// What does not pass its check ends the file; a cache of another repository or scope is not used. Whether a snapshot is still
// there, the listing of the store says.
type snapshotCache struct {
	path  string // empty: none
	owner string

	mu    sync.Mutex
	known map[string]cachedSnapshot
	fresh int // learned since it was read
}

type cachedSnapshot struct {
	Owner  string    `json:"owner"` // repository and scope
	ID     string    `json:"id"`
	Author string    `json:"author"`
	Stored time.Time `json:"stored"`         // by the store's clock
	First  time.Time `json:"first,omitzero"` // of a copy that the root key vouches for
	Body   []byte    `json:"body"`
}

const (
	snapshotCacheMagic  = "FIRNSNC1"
	maxCachedSnapshot   = 1 << 20 // bytes of a record; longer ones are read from the store
	freshSnapshotsWrite = 32      // so many new ones make it worth writing, or an eighth of all
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openSnapshotCache reads the cache of a scope; it never fails.
func (s *ScopeState) openSnapshotCache() *snapshotCache {
	c := &snapshotCache{known: map[string]cachedSnapshot{}, owner: fmt.Sprintf("%x/%v", s.kit.r.id, s.kit.id)}
	if s.kit.r.o.IndexDir == "" {
		return c
	}
	c.path = filepath.Join(s.kit.r.o.IndexDir, s.kit.id.String(), "snapshots.cache")
	raw, err := os.ReadFile(c.path)
	if err != nil || !bytes.HasPrefix(raw, []byte(snapshotCacheMagic)) {
		return c
	}
	for raw = raw[len(snapshotCacheMagic):]; len(raw) >= 8; {
		n, sum := binary.LittleEndian.Uint32(raw), binary.LittleEndian.Uint32(raw[4:])
		if n > maxCachedSnapshot || int(n) > len(raw)-8 {
			break
		}
		payload := raw[8 : 8+n]
		var rec cachedSnapshot
		if crc32.Checksum(payload, castagnoli) != sum || json.Unmarshal(payload, &rec) != nil || rec.Owner != c.owner {
			break
		}
		c.known[rec.ID] = rec
		raw = raw[8+n:]
	}
	return c
}

// cachedSnapshot returns a done snapshot that was verified before and has not been replaced in the store since.
func (s *ScopeState) cachedSnapshot(ctx context.Context, c *snapshotCache, id string, stored time.Time) (snapshot.Item, bool) {
	c.mu.Lock()
	rec, ok := c.known[id]
	c.mu.Unlock()
	if !ok || !rec.Stored.Equal(stored) {
		return snapshot.Item{}, false
	}
	author, err := sign.ParseAuthor(rec.Author)
	if err != nil || !author.IsRoot() && s.kit.trust(ctx, author) != nil || rec.First.IsZero() && s.kit.inTime(author, stored) != nil {
		return snapshot.Item{}, false
	}
	snap, err := snapshot.Parse(rec.Body)
	if err != nil || snap.ID.String() != id {
		return snapshot.Item{}, false
	}
	item := snapshot.Item{Snapshot: snap, Sum: digest.SumObject(rec.Body), Marked: true, Forgotten: s.forgotten[snap.ID], Stored: stored}
	if !rec.First.IsZero() {
		item.Stored, item.Vouched = rec.First, true
	}
	return item, true
}

// learn keeps a done snapshot.
func (c *snapshotCache) learn(id string, author sign.Author, stored, first time.Time, body []byte) {
	if c.path == "" || len(body) > maxCachedSnapshot/2 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[id] = cachedSnapshot{c.owner, id, author.String(), stored, first, body}
	c.fresh++
}

// save writes the cache if enough is new, without the snapshots that the store no longer lists.
func (s *ScopeState) saveSnapshotCache(c *snapshotCache, listed func(id string) bool) {
	if c.path == "" || c.fresh < freshSnapshotsWrite && c.fresh*8 < len(c.known) || c.fresh == 0 {
		return
	}
	out := []byte(snapshotCacheMagic)
	for id, rec := range c.known {
		payload, err := json.Marshal(rec)
		if err != nil || !listed(id) || len(payload) > maxCachedSnapshot {
			continue
		}
		out = binary.LittleEndian.AppendUint32(out, uint32(len(payload)))
		out = binary.LittleEndian.AppendUint32(out, crc32.Checksum(payload, castagnoli))
		out = append(out, payload...)
	}
	if err := replaceFile(c.path, out); err != nil {
		s.kit.r.decide("snapshots are not cached: %v", err)
	}
}

// replaceFile writes a file whole or not at all.
func replaceFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
