package mount

import (
	"errors"
	"sync"
	"time"

	"firn/internal/digest"
)

// errSilent tells that the store takes very long.
var errSilent = errors.New("the store does not answer")

// cache keeps chunks, the latest used, up to so many bytes; what is being fetched does not count yet.
type cache struct {
	limit int64

	mu    sync.Mutex
	held  map[digest.Chunk]*kept
	ends  kept // of the ring of what is there: next is the one used last
	bytes int64
}

// kept is a chunk that is there, or will be.
type kept struct {
	id         digest.Chunk
	ready      chan struct{}
	raw        []byte
	err        error
	next, prev *kept // nil: not in the ring
}

func newCache(limit int64) *cache {
	c := &cache{limit: limit, held: map[digest.Chunk]*kept{}}
	c.ends.next, c.ends.prev = &c.ends, &c.ends
	return c
}

// find returns a chunk, and whether the caller is to fetch it and call finish.
func (c *cache) find(id digest.Chunk) (k *kept, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k = c.held[id]; k != nil {
		if k.next != nil {
			c.unlink(k)
			c.pushFront(k)
		}
		return k, false
	}
	k = &kept{id: id, ready: make(chan struct{})}
	c.held[id] = k
	return k, true
}

// has reports whether a chunk is there, or will be.
func (c *cache) has(id digest.Chunk) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[id] != nil
}

// finish hands a chunk to those who wait, and makes room. What failed is not kept: a later try may fare better.
func (c *cache) finish(k *kept, raw []byte, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k.raw, k.err = raw, err
	close(k.ready)
	if err != nil {
		delete(c.held, k.id)
		return
	}
	c.pushFront(k)
	c.bytes += int64(len(raw))
	for c.bytes > c.limit && c.ends.prev != k {
		old := c.ends.prev
		c.unlink(old)
		c.bytes -= int64(len(old.raw))
		delete(c.held, old.id)
	}
}

func (c *cache) unlink(k *kept) { k.prev.next, k.next.prev, k.next, k.prev = k.next, k.prev, nil, nil }

func (c *cache) pushFront(k *kept) {
	k.next, k.prev = c.ends.next, &c.ends
	k.next.prev, k.prev.next = k, k
}

// wait returns the content of a chunk, which nobody changes.
func (k *kept) wait(stop stopper) ([]byte, error) {
	select {
	case <-k.ready:
		return k.raw, k.err
	default:
	}
	t := time.NewTimer(silence)
	defer t.Stop()
	select {
	case <-k.ready:
		return k.raw, k.err
	case <-stop:
		return nil, errStopped
	case <-t.C:
		return nil, errSilent
	}
}
