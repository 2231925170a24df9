package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sort"
	"sync"
)

const (
	blockSize = 4096
	blockTail = 5  // number of entries, CRC32C
	readAhead = 16 // blocks that a cursor reads at once
)

// CorruptError tells of a damaged table. It has to be built again from the index objects; nothing is lost.
type CorruptError struct {
	Offset int64 // in the file
	Err    error
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("local index is damaged at byte %d: %v", e.Offset, e.Err)
}

// Unwrap returns the reason.
func (e *CorruptError) Unwrap() error { return e.Err }

var (
	errChecksum = errors.New("checksum does not match")
	errOrder    = errors.New("entries are out of order")
	errCount    = errors.New("numbers do not fit")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

type block [blockSize]byte

var blockPool = sync.Pool{New: func() any { return new(block) }}

// sum returns the CRC32C of the block at that offset of the file.
func (b *block) sum(offset int64) uint32 {
	var place [8]byte
	binary.LittleEndian.PutUint64(place[:], uint64(offset))
	return crc32.Update(crc32.Checksum(b[:blockSize-4], castagnoli), castagnoli, place[:])
}

// section is a sequence of blocks with sorted entries of one size, each beginning with a 32-byte key.
type section struct {
	r      io.ReaderAt
	base   int64 // offset in the file
	size   int   // bytes of an entry
	count  int64 // entries
	fences []uint64
}

// perBlock returns how many entries of that many bytes a block holds.
func perBlock(size int) int { return (blockSize - blockTail) / size }

// blocksFor returns how many blocks hold count entries.
func blocksFor(count int64, size int) int64 {
	per := int64(perBlock(size))
	return (count + per - 1) / per
}

// entries returns how many entries block i has.
func (s *section) entries(i int64) int {
	per := int64(perBlock(s.size))
	return int(min(per, s.count-i*per))
}

// check verifies block i and returns its entries.
func (s *section) check(b *block, i int64) ([]byte, error) {
	offset := s.base + i*blockSize
	if binary.LittleEndian.Uint32(b[blockSize-4:]) != b.sum(offset) {
		return nil, &CorruptError{offset, errChecksum}
	}
	n := s.entries(i)
	if int(b[blockSize-blockTail]) != n {
		return nil, &CorruptError{offset, errCount}
	}
	return b[: n*s.size : n*s.size], nil
}

// read reads block i into b.
func (s *section) read(b *block, i int64) ([]byte, error) {
	offset := s.base + i*blockSize
	if n, err := s.r.ReadAt(b[:], offset); n < blockSize {
		if err == io.EOF {
			err = &CorruptError{offset, io.ErrUnexpectedEOF}
		}
		return nil, err
	}
	return s.check(b, i)
}

// find calls fn for each entry with that key, with its place, until fn gives false. Nearly always that is one read.
func (s *section) find(key *[32]byte, fn func(place int64, entry []byte) bool) error {
	prefix := binary.BigEndian.Uint64(key[:])
	// Entries with the key may begin in the block before the first whose fence is not below it.
	i := int64(sort.Search(len(s.fences), func(i int) bool { return s.fences[i] >= prefix }))
	i = max(0, i-1)
	b := blockPool.Get().(*block)
	defer blockPool.Put(b)
	per := int64(perBlock(s.size))
	for ; i < int64(len(s.fences)) && s.fences[i] <= prefix; i++ {
		entries, err := s.read(b, i)
		if err != nil {
			return err
		}
		n := len(entries) / s.size
		at := sort.Search(n, func(k int) bool { return string(entries[k*s.size:k*s.size+32]) >= string(key[:]) })
		for ; at < n; at++ {
			e := entries[at*s.size : (at+1)*s.size]
			if [32]byte(e) != *key || !fn(i*per+int64(at), e) {
				return nil
			}
		}
	}
	return nil
}

// cursor reads a section from its start.
type cursor struct {
	s    *section
	buf  []byte // whole blocks
	have int    // blocks in buf
	next int64  // block behind buf
	at   int    // block of buf
	rest []byte // entries of that block that are still to come
	seen int64  // entries

	remap []uint32 // of a section of chunks: new numbers of the packs; nil: as they are
}

func (s *section) cursor() *cursor { return &cursor{s: s} }

// entry returns the next entry, valid until the call after, or nil at the end.
func (c *cursor) entry() ([]byte, error) {
	if len(c.rest) == 0 {
		if c.seen == c.s.count {
			return nil, nil
		}
		if err := c.fill(); err != nil {
			return nil, err
		}
	}
	e := c.rest[:c.s.size]
	c.rest = c.rest[c.s.size:]
	c.seen++
	if c.remap != nil {
		n := binary.LittleEndian.Uint32(e[32:])
		if int64(n) >= int64(len(c.remap)) {
			return nil, &CorruptError{c.s.base, errCount}
		}
		binary.LittleEndian.PutUint32(e[32:], c.remap[n])
	}
	return e, nil
}

// fill goes to the next block.
func (c *cursor) fill() error {
	c.at++
	if c.at >= c.have {
		blocks := int64(len(c.s.fences))
		if c.buf == nil {
			c.buf = make([]byte, min(readAhead, blocks)*blockSize)
		}
		c.at, c.have = 0, int(min(readAhead, blocks-c.next))
		offset := c.s.base + c.next*blockSize
		if n, err := c.s.r.ReadAt(c.buf[:c.have*blockSize], offset); n < c.have*blockSize {
			if err == io.EOF {
				err = &CorruptError{offset, io.ErrUnexpectedEOF}
			}
			return err
		}
		c.next += int64(c.have)
	}
	var err error
	c.rest, err = c.s.check((*block)(c.buf[c.at*blockSize:]), c.next-int64(c.have)+int64(c.at))
	return err
}

// blockWriter writes a section.
type blockWriter struct {
	w      *counter
	size   int
	b      block
	n      int // entries in b
	count  int64
	fences []uint64
}

// counter counts what it writes.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// add writes an entry. Entries come in order.
func (w *blockWriter) add(e []byte) error {
	if w.n == 0 {
		w.fences = append(w.fences, binary.BigEndian.Uint64(e))
	}
	copy(w.b[w.n*w.size:], e[:w.size])
	w.n++
	w.count++
	if w.n == perBlock(w.size) {
		return w.flush()
	}
	return nil
}

// flush writes the block, if there is anything in it.
func (w *blockWriter) flush() error {
	if w.n == 0 {
		return nil
	}
	clear(w.b[w.n*w.size:])
	w.b[blockSize-blockTail] = byte(w.n)
	binary.LittleEndian.PutUint32(w.b[blockSize-4:], w.b.sum(w.w.n))
	w.n = 0
	_, err := w.w.Write(w.b[:])
	return err
}
