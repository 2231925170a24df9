package state

import (
	"encoding/binary"
	"io"
	"os"

	"firn/internal/source"
)

// StatReader goes through a generation of the stat cache, record by record. It is not for concurrent use; a nil reader is an empty one.
// What cannot be read ends the generation early, as if the last run had been killed there: Complete tells.
type StatReader struct {
	// Path and Stat are those of the current record, valid until Next and not to be changed.
	Path []byte
	Stat source.Stat

	s           *State
	path        string
	stat, lines *os.File
	linesSize   int64 // without the head
	tag, note   []byte
	total       int64 // records, of a whole generation
	complete    bool
	ended       bool

	in       blockReader
	at, next int64  // offsets of the current block and the one after it
	block    []byte // its records
	left     int    // records in block behind the current one
	start    int    // of the current record in block
	pos      int    // behind it
	done     int    // records of block before the current one
	index    int64  // records before the current one
	lineBase int64  // where the line of the block's first record begins
	lineOff  int64  // where the line of the current record begins
	lineLen  uint32
	lineSum  uint32

	window   []byte // of the lines file
	windowAt int64
}

// open opens the files and checks heads and, of a whole generation, the end.
func (r *StatReader) open(statPath, linesPath string, src SourceID, g generation) (err error) {
	if r.stat, err = os.Open(statPath); err != nil {
		return err
	}
	if r.lines, err = os.Open(linesPath); err != nil {
		return err
	}
	var head [blocksAt]byte
	for _, f := range []struct {
		file *os.File
		kind kind
	}{{r.lines, kindLines}, {r.stat, kindStat}} {
		want := head[:headLen]
		if f.kind == kindStat {
			want = head[:]
		}
		if _, err := f.file.ReadAt(want, 0); err != nil {
			return ErrDamaged
		}
		extra, err := r.s.checkHead(want, f.kind)
		if err != nil {
			return err
		}
		if string(extra[:16]) != string(statExtra(src, g.number)) {
			return ErrDamaged
		}
	}
	n := binary.LittleEndian.Uint32(head[headLen:])
	if n > MaxTag || crc(head[headLen:blocksAt-4]) != binary.LittleEndian.Uint32(head[blocksAt-4:]) {
		return ErrDamaged
	}
	r.tag = append(r.tag, head[headLen+4:headLen+4+n]...)
	info, err := r.lines.Stat()
	if err != nil {
		return err
	}
	r.linesSize = info.Size() - headLen
	if r.complete {
		if err := r.readEnd(g.size); err != nil {
			return err
		}
	}
	if _, err := r.stat.Seek(blocksAt, io.SeekStart); err != nil {
		return err
	}
	r.in = blockReader{r: r.stat, buf: make([]byte, 0, min(g.size, 256<<10))}
	return nil
}

// readEnd reads the last block of a whole generation.
func (r *StatReader) readEnd(size int64) error {
	var b [endLen]byte
	if _, err := r.stat.ReadAt(b[:], size-endLen); err != nil {
		return ErrDamaged
	}
	le := binary.LittleEndian
	if string(b[:4]) != "END1" || le.Uint32(b[4:]) != endLen-blockHead || blockSum(b[:], b[blockHead:]) != le.Uint32(b[20:]) {
		return ErrDamaged
	}
	payload := b[blockHead:]
	n := le.Uint32(payload[16:])
	if n > MaxNote || le.Uint64(payload[8:]) != uint64(r.linesSize) {
		return ErrDamaged
	}
	r.total = int64(le.Uint64(payload))
	r.note = append(r.note, payload[20:20+n]...)
	return nil
}

// blockSum is the checksum of a block: its head up to the sum, and what follows.
func blockSum(head, payload []byte) uint32 { return crcUpdate(crc(head[:20]), payload) }

// Next goes to the next record and reports whether there is one.
func (r *StatReader) Next() bool {
	if r == nil || r.left == 0 && !r.load() {
		return false
	}
	if r.pos > 0 {
		r.done++
		r.index++
		r.lineOff += int64(r.lineLen)
	}
	r.start = r.pos
	n := r.decode(r.block[r.pos:])
	if n == 0 || r.lineOff+int64(r.lineLen) > r.linesSize {
		r.cut(n == 0 || r.complete)
		return false
	}
	r.pos += n
	r.left--
	return true
}

// decode reads the record at the start of b into the reader and returns its length, or 0 if it is none.
func (r *StatReader) decode(b []byte) int {
	if len(b) < minRecord {
		return 0
	}
	flags := b[0]
	shared, own, i := int(b[1]), int(b[2]), 3
	if (b[1]|b[2])&0x80 != 0 {
		if shared, own, i = longLengths(b); i == 0 {
			return 0
		}
	}
	need := fixedLen
	if flags&flagCtime != 0 {
		need += ctimeLen
	}
	if flags&flagAttr != 0 {
		need += attrLen
	}
	if shared > len(r.Path) || own > len(b)-i-need || flags > flagAttr|flagCtime || r.pos == 0 && (shared > 0 || flags&flagAttr == 0) {
		return 0
	}
	r.Path = append(r.Path[:shared], b[i:i+own]...)
	le := binary.LittleEndian
	i += own
	f := b[i : i+fixedLen : i+fixedLen]
	st := &r.Stat
	st.Inode = le.Uint64(f)
	st.Size = int64(le.Uint64(f[8:]))
	st.MtimeSec = int64(le.Uint64(f[16:]))
	st.MtimeNsec = int32(le.Uint32(f[24:]))
	r.lineLen = le.Uint32(f[28:])
	r.lineSum = le.Uint32(f[32:])
	i += fixedLen
	st.CtimeSec, st.CtimeNsec = st.MtimeSec, st.MtimeNsec
	if flags&flagCtime != 0 {
		st.CtimeSec = int64(le.Uint64(b[i:]))
		st.CtimeNsec = int32(le.Uint32(b[i+8:]))
		i += ctimeLen
	}
	if flags&flagAttr != 0 {
		f := b[i : i+attrLen : i+attrLen]
		st.Type = source.Type(f[0])
		st.Mode, st.UID, st.GID, st.Nlink = le.Uint32(f[1:]), le.Uint32(f[5:]), le.Uint32(f[9:]), le.Uint32(f[13:])
		st.Rdev, st.Dev = le.Uint64(f[17:]), le.Uint64(f[25:])
		i += attrLen
	}
	return i
}

// longLengths reads the two lengths of a record where one of them takes more than a byte.
func longLengths(b []byte) (shared, own, i int) {
	i = 1
	var v [2]int
	for k := range v {
		x, n := binary.Uvarint(b[i:])
		if n <= 0 || x > maxPath {
			return 0, 0, 0
		}
		v[k] = int(x)
		i += n
	}
	return v[0], v[1], i
}

// load reads the next block.
func (r *StatReader) load() bool {
	if r.ended {
		return false
	}
	if r.pos > 0 {
		r.index++
		r.lineOff += int64(r.lineLen)
	}
	r.at, r.block, r.pos, r.start, r.done = r.next, nil, 0, 0, 0
	r.lineBase, r.lineLen = r.lineOff, 0
	head := r.in.take(blockHead)
	if head == nil {
		r.cut(r.complete)
		return false
	}
	le := binary.LittleEndian
	length, records, base, sum := le.Uint32(head[4:]), le.Uint32(head[8:]), le.Uint64(head[12:]), le.Uint32(head[20:])
	if string(head[:4]) == "END1" && r.complete {
		r.ended = true
		if r.index != r.total || r.lineOff != r.linesSize {
			r.cut(true)
		}
		return false
	}
	if string(head[:4]) != "BLK1" || length > maxBlock || records == 0 || int64(records)*minRecord > int64(length) || base != uint64(r.lineOff) {
		r.cut(true)
		return false
	}
	want := crc(head[:20])
	payload := r.in.take(int(length))
	if payload == nil || crcUpdate(want, payload) != sum {
		r.cut(payload != nil || r.complete)
		return false
	}
	r.block, r.left = payload, int(records)
	r.next = r.at + blockHead + int64(length)
	return true
}

// cut ends the generation here. Damage is told; that a killed run's file is short is no damage.
func (r *StatReader) cut(damaged bool) {
	if damaged {
		r.s.tell("stat cache", r.path, ErrDamaged)
	}
	r.ended, r.complete, r.left = true, false, 0
}

// Line returns the line of the current record, valid until the next call, or ErrDamaged or what reading the disk said; then the caller treats
// the entry as new.
func (r *StatReader) Line() ([]byte, error) {
	if r.lineLen > maxLine {
		return nil, ErrDamaged
	}
	n := int64(r.lineLen)
	if r.lineOff < r.windowAt || r.lineOff+n > r.windowAt+int64(len(r.window)) {
		want := min(max(n, 256<<10), r.linesSize-r.lineOff)
		if int64(cap(r.window)) < want {
			r.window = make([]byte, want)
		}
		r.window, r.windowAt = r.window[:want], r.lineOff
		if _, err := r.lines.ReadAt(r.window, headLen+r.lineOff); err != nil {
			r.window = r.window[:0]
			return nil, err
		}
	}
	line := r.window[r.lineOff-r.windowAt:][:n:n]
	if crc(line) != r.lineSum {
		r.s.tell("stat cache", r.path, ErrDamaged)
		return nil, ErrDamaged
	}
	return line, nil
}

// LineLen returns the length of the line of the current record, in bytes.
func (r *StatReader) LineLen() int { return int(r.lineLen) }

// Tag returns what the writer was given when it began.
func (r *StatReader) Tag() []byte {
	if r == nil {
		return nil
	}
	return r.tag
}

// Note returns what Commit was given; nil of a generation that is not whole.
func (r *StatReader) Note() []byte {
	if r == nil {
		return nil
	}
	return r.note
}

// Complete reports whether this is a whole generation, as far as it is known: false once damage cut it short.
func (r *StatReader) Complete() bool { return r != nil && r.complete }

// Records returns the number of records of a whole generation; 0 if it is not whole.
func (r *StatReader) Records() int64 {
	if r == nil {
		return 0
	}
	return r.total
}

// Close closes the files.
func (r *StatReader) Close() {
	if r == nil {
		return
	}
	for _, f := range []*os.File{r.stat, r.lines} {
		if f != nil {
			_ = f.Close()
		}
	}
}
