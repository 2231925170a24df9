package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
)

const (
	tableTag   = "FIRNLTB1"
	entrySize  = 47
	recordSize = 113
	footerSize = 52
	metaBit    = 1 << 31
	par2Size   = 40 // of its sum and size

	// MaxNote is the longest note in a table, in bytes.
	MaxNote = 64 << 20
	// MaxTablePacks is the most packs of one table.
	MaxTablePacks = 1<<31 - 1
)

// Table is a sorted run of chunks, and of the packs that they lie in, in one file (see the package). It may be used by many
// goroutines at once. A table belongs to one Set.
type Table struct {
	r      io.ReaderAt
	chunks section
	packs  section
	attrs  span // of the file
	note   span
	sum    uint32 // CRC32C of the note
	size   int64
}

// span is a stretch of the file.
type span struct{ base, size int64 }

// place is a chunk in a table or in memory.
type place struct {
	pack, offset, frame, raw uint32 // frame with metaBit
}

func (p place) append(dst []byte, id *digest.Chunk) []byte {
	dst = append(dst, id[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, p.pack)
	dst = binary.LittleEndian.AppendUint32(dst, p.offset)
	dst = binary.LittleEndian.AppendUint32(dst, p.frame)
	n := p.raw - 1
	return append(dst, byte(n), byte(n>>8), byte(n>>16))
}

func parsePlace(e []byte) place {
	return place{
		pack:   binary.LittleEndian.Uint32(e[32:]),
		offset: binary.LittleEndian.Uint32(e[36:]),
		frame:  binary.LittleEndian.Uint32(e[40:]),
		raw:    (uint32(e[44]) | uint32(e[45])<<8 | uint32(e[46])<<16) + 1,
	}
}

func (p place) kind() chunk.Kind {
	if p.frame&metaBit != 0 {
		return chunk.Meta
	}
	return chunk.Data
}

// OpenTable reads the end of a table of size bytes; it keeps about 0.1 byte of memory for each chunk, and r. Errors are those of r and *CorruptError.
func OpenTable(r io.ReaderAt, size int64) (*Table, error) {
	var foot [footerSize]byte
	at := size - footerSize
	if at < 0 {
		return nil, &CorruptError{0, io.ErrUnexpectedEOF}
	}
	if err := readFull(r, foot[:], at); err != nil {
		return nil, err
	}
	le := binary.LittleEndian
	if string(foot[:8]) != tableTag || le.Uint32(foot[48:]) != crc32.Checksum(foot[:48], castagnoli) {
		return nil, &CorruptError{at, errChecksum}
	}
	chunks, packs, attrs, note := le.Uint64(foot[8:]), le.Uint64(foot[16:]), le.Uint64(foot[24:]), le.Uint64(foot[32:])
	if most := uint64(size); chunks > most/entrySize || packs > min(most/recordSize, MaxTablePacks) || attrs > most || note > min(most, MaxNote) {
		return nil, &CorruptError{at, errCount}
	}
	t := &Table{r: r, size: size, sum: le.Uint32(foot[40:])}
	chunkBlocks, packBlocks := blocksFor(int64(chunks), entrySize), blocksFor(int64(packs), recordSize)
	t.chunks = section{r: r, size: entrySize, count: int64(chunks)}
	t.packs = section{r: r, size: recordSize, count: int64(packs), base: chunkBlocks * blockSize}
	t.attrs = span{t.packs.base + packBlocks*blockSize, int64(attrs)}
	t.note = span{t.attrs.base + t.attrs.size, int64(note)}
	fences := span{t.note.base + t.note.size, 8 * (chunkBlocks + packBlocks)}
	if fences.base+fences.size != at {
		return nil, &CorruptError{at, errCount}
	}
	if err := t.readFences(fences, chunkBlocks, le.Uint32(foot[44:])); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *Table) readFences(s span, chunkBlocks int64, sum uint32) error {
	fences := make([]uint64, s.size/8)
	crc := uint32(0)
	var buf [blockSize]byte
	for i := 0; i < len(fences); {
		b := buf[:min(len(buf), 8*(len(fences)-i))]
		if err := readFull(t.r, b, s.base+int64(8*i)); err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, b)
		for ; len(b) > 0; b = b[8:] {
			fences[i] = binary.LittleEndian.Uint64(b)
			if i > 0 && int64(i) != chunkBlocks && fences[i] < fences[i-1] {
				return &CorruptError{s.base + int64(8*i), errOrder}
			}
			i++
		}
	}
	if crc != sum {
		return &CorruptError{s.base, errChecksum}
	}
	t.chunks.fences, t.packs.fences = fences[:chunkBlocks:chunkBlocks], fences[chunkBlocks:]
	return nil
}

// readFull reads len(b) bytes at off; the end of the file is damage.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = &CorruptError{off, io.ErrUnexpectedEOF}
	}
	return err
}

// Chunks returns how many entries the table has; a chunk in two packs counts twice.
func (t *Table) Chunks() int64 { return t.chunks.count }

// Packs returns how many packs the table has.
func (t *Table) Packs() int { return int(t.packs.count) }

// Size returns the length of the file in bytes.
func (t *Table) Size() int64 { return t.size }

// Note reads what the caller wrote with the table.
func (t *Table) Note() ([]byte, error) {
	b := make([]byte, t.note.size)
	if err := readFull(t.r, b, t.note.base); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != t.sum {
		return nil, &CorruptError{t.note.base, errChecksum}
	}
	return b, nil
}

// Verify reads the whole table and fails with *CorruptError if anything in it is damaged.
func (t *Table) Verify() error {
	if _, err := t.Note(); err != nil {
		return err
	}
	c, last := t.chunks.cursor(), []byte(nil)
	for {
		e, err := c.entry()
		if err != nil {
			return err
		}
		if e == nil {
			break
		}
		if last != nil && compareEntries(last, e) >= 0 || int64(parsePlace(e).pack) >= t.packs.count {
			return &CorruptError{t.chunks.base + (c.next-1)*blockSize, errOrder}
		}
		last = append(last[:0], e...)
	}
	return t.eachInfo(func(int, *Info) error { return nil })
}

// eachInfo calls fn for each pack, in order of name.
func (t *Table) eachInfo(fn func(number int, p *Info) error) error {
	c := t.packs.cursor()
	var last digest.Object
	for i := 0; ; i++ {
		e, err := c.entry()
		if err != nil || e == nil {
			return err
		}
		if i > 0 && string(last[:]) >= string(e[:32]) {
			return &CorruptError{t.packs.base + (c.next-1)*blockSize, errOrder}
		}
		last = digest.Object(e[:32])
		p, err := t.info(e)
		if err != nil {
			return err
		}
		if err := fn(i, &p); err != nil {
			return err
		}
	}
}

// find calls fn for each place of a chunk until fn gives false.
func (t *Table) find(id digest.Chunk, fn func(p place) bool) error {
	bad := false
	err := t.chunks.find((*[32]byte)(&id), func(_ int64, e []byte) bool {
		p := parsePlace(e)
		bad = int64(p.pack) >= t.packs.count
		return !bad && fn(p)
	})
	if bad && err == nil {
		err = &CorruptError{t.chunks.base, errCount}
	}
	return err
}

// number finds a pack by name.
func (t *Table) number(name digest.Object) (n int, ok bool, err error) {
	err = t.packs.find((*[32]byte)(&name), func(at int64, _ []byte) bool {
		n, ok = int(at), true
		return false
	})
	return n, ok, err
}

// pack reads what is known of pack n.
func (t *Table) pack(n int) (Info, error) {
	if n < 0 || int64(n) >= t.packs.count {
		return Info{}, fmt.Errorf("pack number %d of %d", n, t.packs.count)
	}
	b := blockPool.Get().(*block)
	defer blockPool.Put(b)
	per := perBlock(recordSize)
	entries, err := t.packs.read(b, int64(n/per))
	if err != nil {
		return Info{}, err
	}
	return t.info(entries[n%per*recordSize:][:recordSize])
}

// info reads a record and the attributes that belong to it.
func (t *Table) info(e []byte) (Info, error) {
	p, at, sum := parseRecord(e)
	attrs, err := t.readAttrs(at, sum)
	if err != nil {
		return Info{}, err
	}
	if err := p.parseAttrs(attrs); err != nil {
		return Info{}, &CorruptError{t.attrs.base + at.base, err}
	}
	return p, nil
}

func (t *Table) readAttrs(at span, sum uint32) ([]byte, error) {
	if at.base < 0 || at.size > maxAttrs || at.base > t.attrs.size-at.size {
		return nil, &CorruptError{t.attrs.base, errCount}
	}
	b := make([]byte, at.size)
	if err := readFull(t.r, b, t.attrs.base+at.base); err != nil {
		return nil, err
	}
	if crc32.Checksum(b, castagnoli) != sum {
		return nil, &CorruptError{t.attrs.base + at.base, errChecksum}
	}
	return b, nil
}

const maxAttrs = 1 + par2Size + 1 + MaxClass + MaxPrefix

// appendRecord adds the record of p, whose attributes lie at offset at.
func (p *Info) appendRecord(dst []byte, at int64, attrs []byte) []byte {
	le := binary.LittleEndian
	dst = append(dst, p.Name[:]...)
	dst = append(dst, p.Author[:]...)
	for _, v := range []int64{p.Size, p.Birth.Unix(), p.Frames, p.Raw, p.Padding, at} {
		dst = le.AppendUint64(dst, uint64(v))
	}
	for _, v := range []uint32{uint32(len(attrs)), crc32.Checksum(attrs, castagnoli), p.Epoch, uint32(p.Count)} {
		dst = le.AppendUint32(dst, v)
	}
	return append(dst, byte(p.Kind))
}

func parseRecord(e []byte) (p Info, attrs span, sum uint32) {
	le := binary.LittleEndian
	p.Name, p.Author = digest.Object(e[:32]), [16]byte(e[32:])
	p.Size, p.Birth = int64(le.Uint64(e[48:])), time.Unix(int64(le.Uint64(e[56:])), 0).UTC()
	p.Frames, p.Raw, p.Padding = int64(le.Uint64(e[64:])), int64(le.Uint64(e[72:])), int64(le.Uint64(e[80:]))
	p.Epoch, p.Count, p.Kind = le.Uint32(e[104:]), int(le.Uint32(e[108:])), chunk.Kind(e[112])
	return p, span{int64(le.Uint64(e[88:])), int64(le.Uint32(e[96:]))}, le.Uint32(e[100:])
}

func (p *Info) appendAttrs(dst []byte) []byte {
	if p.Par2 == nil {
		dst = append(dst, 0)
	} else {
		dst = append(append(dst, 1), p.Par2.Sum[:]...)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(p.Par2.Size))
	}
	dst = append(append(dst, byte(len(p.Class))), p.Class...)
	return append(dst, p.Prefix...)
}

var errAttrs = errors.New("attributes of pack")

func (p *Info) parseAttrs(b []byte) error {
	if len(b) == 0 || b[0] > 1 || b[0] == 1 && len(b) < 1+par2Size {
		return errAttrs
	}
	if b[0] == 1 {
		p.Par2 = &Par2{Sum: digest.Object(b[1:]), Size: int64(binary.LittleEndian.Uint64(b[33:]))}
		b = b[par2Size:]
	}
	b = b[1:]
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return errAttrs
	}
	n := 1 + int(b[0])
	p.Class, p.Prefix = string(b[1:n]), b[n:]
	return nil
}
