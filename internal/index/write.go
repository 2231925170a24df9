package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"firn/internal/digest"
)

// tableWriter writes a table: all chunks in order, then all records in order, then all attributes in the same order, then close.
type tableWriter struct {
	w      *counter
	chunks blockWriter
	packs  blockWriter
	attrs  int64 // bytes announced by records
	got    int64 // bytes written
	record []byte
}

func newTableWriter(w io.Writer) *tableWriter {
	c := &counter{w: w}
	return &tableWriter{w: c, chunks: blockWriter{w: c, size: entrySize}, packs: blockWriter{w: c, size: recordSize}}
}

// pack writes the record of p, whose attributes come later.
func (t *tableWriter) pack(p *Info, attrs []byte) error {
	if t.packs.count == 0 {
		if err := t.chunks.flush(); err != nil {
			return err
		}
	}
	t.record = p.appendRecord(t.record[:0], t.attrs, attrs)
	t.attrs += int64(len(attrs))
	return t.packs.add(t.record)
}

// attributes writes those of the next pack.
func (t *tableWriter) attributes(b []byte) error {
	if t.got == 0 {
		if err := t.packs.flush(); err != nil {
			return err
		}
	}
	t.got += int64(len(b))
	_, err := t.w.Write(b)
	return err
}

// close writes note, fences and footer. It returns the size of the file.
func (t *tableWriter) close(note []byte) (int64, error) {
	if len(note) > MaxNote {
		return 0, fmt.Errorf("note of %d bytes in local index, want at most %d", len(note), MaxNote)
	}
	if t.got != t.attrs {
		panic("index: attributes do not match the records")
	}
	for _, s := range []*blockWriter{&t.chunks, &t.packs} { // what had nothing behind it
		if err := s.flush(); err != nil {
			return 0, err
		}
	}
	if _, err := t.w.Write(note); err != nil {
		return 0, err
	}
	sum := uint32(0)
	var buf []byte
	for part := range slices.Chunk(slices.Concat(t.chunks.fences, t.packs.fences), 512) {
		buf = buf[:0]
		for _, f := range part {
			buf = binary.LittleEndian.AppendUint64(buf, f)
		}
		sum = crc32.Update(sum, castagnoli, buf)
		if _, err := t.w.Write(buf); err != nil {
			return 0, err
		}
	}
	foot := []byte(tableTag)
	for _, v := range []int64{t.chunks.count, t.packs.count, t.attrs, int64(len(note))} {
		foot = binary.LittleEndian.AppendUint64(foot, uint64(v))
	}
	foot = binary.LittleEndian.AppendUint32(foot, crc32.Checksum(note, castagnoli))
	foot = binary.LittleEndian.AppendUint32(foot, sum)
	foot = binary.LittleEndian.AppendUint32(foot, crc32.Checksum(foot, castagnoli))
	_, err := t.w.Write(foot)
	return t.w.n, err
}

// Merged is the table that Merge wrote, for Set.Replace.
type Merged struct {
	Size   int64 // bytes written
	Chunks int64
	Packs  int
	tables []*Table
	remap  [][]uint32 // of each table: old number → new
}

// Merge writes to w one table with all that the given ones hold, and a note (at most MaxNote bytes). Where two tables have a pack of the same
// name, what the later one says of it counts. It reads each table in order, with 64 KiB of memory for each and 4 bytes for each
// pack. w should be buffered.
func Merge(w io.Writer, note []byte, tables ...*Table) (*Merged, error) {
	m := &Merged{tables: slices.Clone(tables), remap: make([][]uint32, len(tables))}
	for i, t := range tables {
		m.remap[i] = make([]uint32, t.packs.count)
	}
	tw := newTableWriter(w)
	if err := m.number(); err != nil {
		return nil, err
	}
	if err := m.writeChunks(tw); err != nil {
		return nil, err
	}
	if err := m.eachPack(func(t *Table, e []byte) error {
		p, at, sum := parseRecord(e)
		attrs, err := t.readAttrs(at, sum)
		if err != nil {
			return err
		}
		return tw.pack(&p, attrs)
	}); err != nil {
		return nil, err
	}
	if err := m.eachPack(func(t *Table, e []byte) error {
		_, at, sum := parseRecord(e)
		attrs, err := t.readAttrs(at, sum)
		if err != nil {
			return err
		}
		return tw.attributes(attrs)
	}); err != nil {
		return nil, err
	}
	var err error
	m.Size, err = tw.close(note)
	m.Chunks = tw.chunks.count
	return m, err
}

// number gives the packs of all tables their new numbers.
func (m *Merged) number() error {
	h, err := newHeap(m.packCursors(), compareNames)
	if err != nil {
		return err
	}
	next := make([]uint32, len(m.tables))
	var last digest.Object
	n := int64(-1)
	for {
		i, e, err := h.pop()
		if err != nil {
			return err
		}
		if e == nil {
			break
		}
		if name := digest.Object(e); n < 0 || name != last {
			n++
			last = name
		}
		if n >= MaxTablePacks {
			return fmt.Errorf("%w: too many packs for one table", ErrPack)
		}
		m.remap[i][next[i]] = uint32(n)
		next[i]++
	}
	m.Packs = int(n + 1)
	return nil
}

func (m *Merged) packCursors() []*cursor {
	cs := make([]*cursor, len(m.tables))
	for i, t := range m.tables {
		cs[i] = t.packs.cursor()
	}
	return cs
}

// eachPack calls fn once for each pack, in order of name, with the latest record.
func (m *Merged) eachPack(fn func(t *Table, e []byte) error) error {
	h, err := newHeap(m.packCursors(), compareNames)
	if err != nil {
		return err
	}
	var held []byte // records of one name: the last one counts
	from := -1
	for {
		i, e, err := h.pop()
		if err != nil {
			return err
		}
		if from >= 0 && (e == nil || compareNames(held, e) != 0) {
			if err := fn(m.tables[from], held); err != nil {
				return err
			}
		}
		if e == nil {
			return nil
		}
		held, from = append(held[:0], e...), i
	}
}

// writeChunks writes the chunks of all tables with the new numbers, each chunk of a pack once.
func (m *Merged) writeChunks(tw *tableWriter) error {
	cs := make([]*cursor, len(m.tables))
	for i, t := range m.tables {
		cs[i] = t.chunks.cursor()
		cs[i].remap = m.remap[i]
	}
	h, err := newHeap(cs, compareEntries)
	if err != nil {
		return err
	}
	var last []byte
	for {
		_, e, err := h.pop()
		if e == nil || err != nil {
			return err
		}
		switch c := compareEntries(last, e); {
		case last != nil && c == 0:
			continue
		case last != nil && c > 0:
			return &CorruptError{0, errOrder}
		}
		if err := tw.chunks.add(e); err != nil {
			return err
		}
		last = append(last[:0], e...)
	}
}

func compareNames(a, b []byte) int { return bytes.Compare(a[:min(32, len(a))], b[:min(32, len(b))]) }

// compareEntries orders by id, then by number of the pack, then by offset.
func compareEntries(a, b []byte) int {
	if len(a) == 0 || len(b) == 0 {
		return len(a) - len(b)
	}
	if c := bytes.Compare(a[:32], b[:32]); c != 0 {
		return c
	}
	x, y := parsePlace(a), parsePlace(b)
	if x.pack != y.pack {
		if x.pack < y.pack {
			return -1
		}
		return 1
	}
	if x.offset != y.offset {
		if x.offset < y.offset {
			return -1
		}
		return 1
	}
	return 0
}

// heap merges cursors. Entries that compare equal come in the order of the cursors.
type heap struct {
	compare func(a, b []byte) int
	heads   []head
	moved   bool // heads[0] was given out and has to move on
}

type head struct {
	from int
	c    *cursor
	e    []byte
}

func newHeap(cs []*cursor, compare func(a, b []byte) int) (*heap, error) {
	h := &heap{compare: compare}
	for i, c := range cs {
		e, err := c.entry()
		if err != nil {
			return nil, err
		}
		if e != nil {
			h.heads = append(h.heads, head{i, c, e})
		}
	}
	for i := len(h.heads)/2 - 1; i >= 0; i-- {
		h.down(i)
	}
	return h, nil
}

// pop returns the least entry, valid until the next call, and which cursor it came from; nil at the end.
func (h *heap) pop() (int, []byte, error) {
	if h.moved {
		h.moved = false
		top := &h.heads[0]
		e, err := top.c.entry()
		if err != nil {
			return 0, nil, err
		}
		if top.e = e; e == nil {
			last := len(h.heads) - 1
			h.heads[0] = h.heads[last]
			h.heads = h.heads[:last]
		}
		h.down(0)
	}
	if len(h.heads) == 0 {
		return 0, nil, nil
	}
	h.moved = true
	return h.heads[0].from, h.heads[0].e, nil
}

func (h *heap) less(a, b *head) bool {
	if c := h.compare(a.e, b.e); c != 0 {
		return c < 0
	}
	return a.from < b.from
}

func (h *heap) down(i int) {
	for {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < len(h.heads); k++ {
			if h.less(&h.heads[k], &h.heads[least]) {
				least = k
			}
		}
		if least == i {
			return
		}
		h.heads[i], h.heads[least] = h.heads[least], h.heads[i]
		i = least
	}
}
