package inventory

import (
	"bufio"
	"bytes"
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// Limits of a sort.
const (
	chunkLen  = 16 << 20 // bytes of records in memory
	maxRuns   = 8192     // of that many bytes on the disk
	maxRecord = 64 << 10
	readLen   = 32 << 20 // of buffers when runs are merged
)

// Sorter sorts records by their keys in memory that does not grow with them: what is more than 16 MiB goes through a temporary file. Records with the same key come in the order in which they were
// added. The zero value is empty. Add and Each are called by one goroutine at a time; Close in any case.
type Sorter struct {
	// Dir is where the temporary file lies; empty: where the system has them.
	Dir string

	chunk []byte
	at    []record
	runs  []int64 // ends in the file
	f     *os.File
	w     *bufio.Writer
	n     int64
	size  int64
	limit int // 0: chunkLen
}

// record lies in a chunk: uvarint length of the key, uvarint length of the value, key, value.
type record struct{ off, key, val, end uint32 }

// Add takes a record.
func (s *Sorter) Add(key string, value []byte) error {
	if len(key)+len(value) > maxRecord {
		return fmt.Errorf("a record has %d bytes, and %d is the most", len(key)+len(value), maxRecord)
	}
	if len(s.chunk)+len(key)+len(value) > cmp.Or(s.limit, chunkLen) {
		if err := s.spill(); err != nil {
			return err
		}
	}
	r := record{off: uint32(len(s.chunk))}
	s.chunk = binary.AppendUvarint(s.chunk, uint64(len(key)))
	s.chunk = binary.AppendUvarint(s.chunk, uint64(len(value)))
	r.key = uint32(len(s.chunk))
	s.chunk = append(s.chunk, key...)
	r.val = uint32(len(s.chunk))
	s.chunk = append(s.chunk, value...)
	r.end = uint32(len(s.chunk))
	s.at = append(s.at, r)
	s.n++
	return nil
}

// Len is how many records there are.
func (s *Sorter) Len() int64 { return s.n }

func (s *Sorter) sort() {
	slices.SortStableFunc(s.at, func(a, b record) int { return bytes.Compare(s.chunk[a.key:a.val], s.chunk[b.key:b.val]) })
}

// spill writes what is in memory as a run.
func (s *Sorter) spill() error {
	if len(s.at) == 0 {
		return nil
	}
	if len(s.runs) == maxRuns {
		return fmt.Errorf("too much to sort: more than %d GiB", maxRuns*chunkLen>>30)
	}
	if s.f == nil {
		f, err := os.CreateTemp(s.Dir, "firn-sort-*")
		if err != nil {
			return err
		}
		s.f, s.w = f, bufio.NewWriterSize(f, 256<<10)
	}
	s.sort()
	for _, r := range s.at {
		if _, err := s.w.Write(s.chunk[r.off:r.end]); err != nil {
			return err
		}
		s.size += int64(r.end - r.off)
	}
	s.runs = append(s.runs, s.size)
	s.chunk, s.at = s.chunk[:0], s.at[:0]
	return nil
}

// Each gives the records in order, and can be called again. Key and value are fn's until it returns.
func (s *Sorter) Each(fn func(key, value []byte) error) error {
	if s.f == nil {
		s.sort()
		for _, r := range s.at {
			if err := fn(s.chunk[r.key:r.val], s.chunk[r.val:r.end]); err != nil {
				return err
			}
		}
		return nil
	}
	if err := s.spill(); err != nil {
		return err
	}
	s.chunk, s.at = nil, nil
	if err := s.w.Flush(); err != nil {
		return err
	}
	m := merge{}
	for i, end := range s.runs {
		begin := int64(0)
		if i > 0 {
			begin = s.runs[i-1]
		}
		r := &run{in: bufio.NewReaderSize(io.NewSectionReader(s.f, begin, end-begin), max(4<<10, min(64<<10, readLen/len(s.runs)))), n: i}
		if err := r.next(); err != nil {
			return err
		}
		m = append(m, r)
	}
	heap.Init(&m)
	for len(m) > 0 {
		r := m[0]
		if err := fn(r.key, r.value); err != nil {
			return err
		}
		switch err := r.next(); {
		case errors.Is(err, io.EOF):
			heap.Pop(&m)
		case err != nil:
			return err
		default:
			heap.Fix(&m, 0)
		}
	}
	return nil
}

// Close removes the temporary file.
func (s *Sorter) Close() {
	if s.f != nil {
		_ = s.f.Close()
		_ = os.Remove(s.f.Name())
	}
	*s = Sorter{Dir: s.Dir}
}

// run is a sorted stretch of the file.
type run struct {
	in         *bufio.Reader
	n          int
	buf        []byte
	key, value []byte
}

func (r *run) next() error {
	key, err := binary.ReadUvarint(r.in)
	if err != nil {
		return err // io.EOF at the end of the run
	}
	value, err := binary.ReadUvarint(r.in)
	if err != nil || key > maxRecord || value > maxRecord {
		return errors.Join(io.ErrUnexpectedEOF, err)
	}
	n := int(key + value)
	r.buf = slices.Grow(r.buf[:0], n)[:n]
	if _, err := io.ReadFull(r.in, r.buf); err != nil {
		return io.ErrUnexpectedEOF
	}
	r.key, r.value = r.buf[:key], r.buf[key:]
	return nil
}

// merge is a heap of runs.
type merge []*run

func (m merge) Len() int { return len(m) }
func (m merge) Less(i, j int) bool {
	if c := bytes.Compare(m[i].key, m[j].key); c != 0 {
		return c < 0
	}
	return m[i].n < m[j].n
}
func (m merge) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merge) Push(x any)   { *m = append(*m, x.(*run)) }
func (m *merge) Pop() any {
	old := *m
	x := old[len(old)-1]
	*m = old[:len(old)-1]
	return x
}
