package state

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"firn/internal/source"
)

// StatWriter writes a new generation of the stat cache, in the order of the walk. It is not for concurrent use, and one source has one writer at a time:
// its owner holds the source's lock. Nothing in it fails: trouble is told once, and from then on the writer is off.
//
// Memory: about 512 KiB. The owner of a run whose head is unchanged makes the writer when it sees the first change, and calls CopyBefore first.
type StatWriter struct {
	s           *State
	src         SourceID
	dir, path   string
	gen         generation
	stat, lines *os.File // nil: off

	block    []byte // head and records of the block being filled
	records  uint32 // in block
	base     int64  // where the line of its first record begins
	total    int64
	statEnd  int64
	lineEnd  int64 // of all lines so far, pending ones included
	lineBuf  []byte
	prev     []byte // path of the record before, if known
	prevStat source.Stat
	known    bool // prev and prevStat are those of the record before

	from     *StatReader // the record before is one of these; nil: it is not
	keptNext int64       // index in from of the record that would go on with the run
	runOff   int64       // lines of from that wait to be copied: [runOff, runEnd)
	runEnd   int64
}

const lineBuffer = 256 << 10

// CreateStats begins a generation. tag, at most MaxTag bytes, comes back from StatReader.Tag.
func (s *State) CreateStats(src SourceID, tag []byte) *StatWriter {
	w := &StatWriter{s: s, src: src, statEnd: blocksAt}
	w.dir = s.folder("stat cache", s.cache, "sources", hexName(src))
	if w.dir == "" {
		return w
	}
	list, highest := generations(w.dir)
	w.tidy(list)
	w.gen = generation{number: highest + 1, part: true}
	w.path = filepath.Join(w.dir, w.gen.statFile())
	if err := w.create(tag); err != nil {
		w.off(err)
	}
	return w
}

// tidy removes all files but the newest whole generation and the longest that a killed run left after it.
func (w *StatWriter) tidy(list []generation) {
	keep := map[string]bool{}
	for _, g := range []generation{newestWhole(list), longestPart(list)} {
		keep[g.statFile()], keep[g.linesFile()] = true, true
	}
	w.removeBut(keep)
}

// removeBut removes the files of all generations but those named, the ones that make a generation valid first.
func (w *StatWriter) removeBut(keep map[string]bool) {
	files, err := os.ReadDir(w.dir)
	if err != nil {
		return
	}
	for _, d := range slices.Backward(files) { // by name: "stat-…" before "lines-…"
		prefix, _, ok := strings.Cut(d.Name(), "-")
		if ok && (prefix == statName || prefix == linesName) && !keep[d.Name()] {
			_ = os.Remove(filepath.Join(w.dir, d.Name()))
		}
	}
}

func (w *StatWriter) remove(g generation) {
	_ = os.Remove(filepath.Join(w.dir, g.statFile()))
	_ = os.Remove(filepath.Join(w.dir, g.linesFile()))
}

func (w *StatWriter) create(tag []byte) (err error) {
	if len(tag) > MaxTag {
		return errors.New("tag too long")
	}
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL
	if w.lines, err = os.OpenFile(filepath.Join(w.dir, w.gen.linesFile()), flags, 0o600); err != nil {
		return err
	}
	if w.stat, err = os.OpenFile(w.path, flags, 0o600); err != nil {
		return err
	}
	extra := statExtra(w.src, w.gen.number)
	if _, err = w.lines.Write(w.s.makeHead(kindLines, extra)); err != nil {
		return err
	}
	head := append(w.s.makeHead(kindStat, extra), make([]byte, blocksAt-headLen)...)
	binary.LittleEndian.PutUint32(head[headLen:], uint32(len(tag)))
	copy(head[headLen+4:], tag)
	binary.LittleEndian.PutUint32(head[blocksAt-4:], crc(head[headLen:blocksAt-4]))
	if _, err = w.stat.Write(head); err != nil {
		return err
	}
	w.block = make([]byte, blockHead, blockTarget+4096)
	w.lineBuf = make([]byte, 0, lineBuffer)
	return nil
}

// off turns the writer off and removes what it wrote: it may be all that fills the disk.
func (w *StatWriter) off(err error) {
	w.s.tell("stat cache", w.path, err)
	w.Discard()
}

// Add writes an entry with its line of the manifest.
func (w *StatWriter) Add(path []byte, st *source.Stat, line []byte) {
	if w.stat == nil {
		return
	}
	if len(path) > maxPath || len(line) > maxLine {
		w.off(errors.New("path or line too long"))
		return
	}
	w.copyRun()
	w.from = nil
	w.block = appendRecord(w.block, w.prev, &w.prevStat, path, st, uint32(len(line)), crc(line), !w.known || w.records == 0)
	w.prev = append(w.prev[:0], path...)
	w.prevStat = *st
	w.known = true
	w.writeLine(line)
	w.finishRecord(len(line))
}

// finishRecord counts a record whose bytes are in the block, and ends the block if it is long enough.
func (w *StatWriter) finishRecord(lineLen int) {
	w.records++
	w.total++
	w.lineEnd += int64(lineLen)
	if len(w.block) >= blockTarget {
		w.flush()
	}
}

// Keep takes over the current record of r, an older generation, with its line. A run of records that follow each other there is copied as
// bytes, its lines by the system.
func (w *StatWriter) Keep(r *StatReader) {
	if w.stat == nil {
		return
	}
	follows := w.from == r && w.keptNext == r.index
	if !follows {
		w.copyRun()
		w.from, w.runOff, w.runEnd = r, r.lineOff, r.lineOff
	}
	if follows && w.records > 0 {
		w.block = append(w.block, r.block[r.start:r.pos]...)
	} else {
		w.block = appendRecord(w.block, nil, nil, r.Path, &r.Stat, r.lineLen, r.lineSum, true)
	}
	w.known = false
	w.keptNext = r.index + 1
	w.runEnd += int64(r.lineLen)
	w.finishRecord(int(r.lineLen))
}

// CopyBefore takes over, into a writer that has no record yet, all records of r before the current one, or all of them if Next said that there is none
// left: whole blocks and all lines by the system, nothing decoded.
func (w *StatWriter) CopyBefore(r *StatReader) {
	if w.stat == nil || r == nil {
		return
	}
	if w.total > 0 {
		panic("state: CopyBefore on a writer that has records")
	}
	if r.index == 0 {
		return
	}
	err := copyRange(w.stat, r.stat, blocksAt, r.at-blocksAt, &r.in)
	if err == nil {
		err = copyRange(w.lines, r.lines, headLen, r.lineOff, nil)
	}
	if err != nil {
		w.off(err)
		return
	}
	w.statEnd = r.at
	w.total = r.index
	w.lineEnd = r.lineOff
	w.block = append(w.block[:blockHead], r.block[:r.start]...)
	w.records = uint32(r.done)
	w.base = r.lineBase
	w.known = false
	w.from, w.keptNext, w.runOff, w.runEnd = r, r.index, r.lineOff, r.lineOff
}

// copyRange appends n bytes of src at off to dst, by copy_file_range where the system has it. It uses the file offset of src, which is put
// back to where in, its sequential reader, expects it.
func copyRange(dst, src *os.File, off, n int64, in *blockReader) error {
	if n == 0 {
		return nil
	}
	if in != nil {
		back, err := src.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		defer func() { _, _ = src.Seek(back, io.SeekStart) }()
	}
	if _, err := src.Seek(off, io.SeekStart); err != nil {
		return err
	}
	got, err := io.Copy(dst, &io.LimitedReader{R: src, N: n})
	if err == nil && got != n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// copyRun copies the lines of kept records that still wait.
func (w *StatWriter) copyRun() {
	n := w.runEnd - w.runOff
	if w.stat == nil || n == 0 {
		return
	}
	from, off := w.from, w.runOff
	w.runOff = w.runEnd
	var err error
	if n <= lineBuffer {
		if len(w.lineBuf)+int(n) > lineBuffer {
			w.flushLines()
		}
		start := len(w.lineBuf)
		w.lineBuf = w.lineBuf[:start+int(n)]
		_, err = from.lines.ReadAt(w.lineBuf[start:], headLen+off)
	} else {
		w.flushLines()
		if w.lines != nil {
			err = copyRange(w.lines, from.lines, headLen+off, n, nil)
		}
	}
	if err != nil {
		w.off(err)
	}
}

func (w *StatWriter) writeLine(line []byte) {
	if len(w.lineBuf)+len(line) > lineBuffer {
		w.flushLines()
	}
	if w.lines == nil {
		return
	}
	if len(line) > lineBuffer {
		if _, err := w.lines.Write(line); err != nil {
			w.off(err)
		}
		return
	}
	w.lineBuf = append(w.lineBuf, line...)
}

func (w *StatWriter) flushLines() {
	if w.lines == nil || len(w.lineBuf) == 0 {
		return
	}
	_, err := w.lines.Write(w.lineBuf)
	w.lineBuf = w.lineBuf[:0]
	if err != nil {
		w.off(err)
	}
}

// Save writes what is in memory, as a block that may be short, so that a process that is killed after it loses nothing of what was added before. It
// does not wait for the disk. Without anything new it does nothing.
func (w *StatWriter) Save() { w.flush() }

// flush writes the lines, then the block that speaks of them.
func (w *StatWriter) flush() {
	if w.stat == nil {
		return
	}
	w.copyRun()
	w.flushLines()
	if w.stat == nil || w.records == 0 {
		return
	}
	w.writeBlock("BLK1", w.block, w.records, w.base)
	w.block, w.records, w.base = w.block[:blockHead], 0, w.lineEnd
}

// writeBlock fills in the head of a block, its first bytes, and writes it.
func (w *StatWriter) writeBlock(magic string, b []byte, records uint32, base int64) {
	le := binary.LittleEndian
	copy(b, magic)
	le.PutUint32(b[4:], uint32(len(b)-blockHead))
	le.PutUint32(b[8:], records)
	le.PutUint64(b[12:], uint64(base))
	le.PutUint32(b[20:], blockSum(b, b[blockHead:]))
	if _, err := w.stat.Write(b); err != nil {
		w.off(err)
		return
	}
	w.statEnd += int64(len(b))
}

// Commit makes the generation the valid one, on disk when it returns, deletes older ones, and reports whether that went well. note, at most MaxNote bytes,
// comes back from StatReader.Note.
func (w *StatWriter) Commit(note []byte) bool {
	w.flush()
	if w.stat == nil {
		return false
	}
	if len(note) > MaxNote {
		w.off(errors.New("note too long"))
		return false
	}
	end := make([]byte, endLen)
	le := binary.LittleEndian
	le.PutUint64(end[blockHead:], uint64(w.total))
	le.PutUint64(end[blockHead+8:], uint64(w.lineEnd))
	le.PutUint32(end[blockHead+16:], uint32(len(note)))
	copy(end[blockHead+20:], note)
	w.writeBlock("END1", end, 0, w.lineEnd)
	if w.stat == nil {
		return false
	}
	if err := w.publish(); err != nil {
		w.off(err)
		return false
	}
	w.removeBut(map[string]bool{w.gen.statFile(): true, w.gen.linesFile(): true})
	return true
}

// publish syncs and closes both files and renames the one that makes the generation valid.
func (w *StatWriter) publish() error {
	err := errors.Join(w.lines.Sync(), w.stat.Sync(), w.lines.Close(), w.stat.Close())
	w.stat, w.lines = nil, nil
	if err != nil {
		return err
	}
	w.gen.part = false
	path := filepath.Join(w.dir, w.gen.statFile())
	if err := os.Rename(w.path, path); err != nil {
		return err
	}
	w.path = path
	return syncDir(w.dir)
}

// Close leaves what was written as an interrupted generation. After Commit and Discard it does nothing.
func (w *StatWriter) Close() {
	w.flush()
	if w.stat == nil {
		return
	}
	_ = w.stat.Close()
	_ = w.lines.Close()
	w.stat, w.lines = nil, nil
}

// Discard removes what was written, unless Commit made it valid.
func (w *StatWriter) Discard() {
	for _, f := range []*os.File{w.stat, w.lines} {
		if f != nil {
			_ = f.Close()
		}
	}
	w.stat, w.lines = nil, nil
	if w.path != "" && w.gen.part {
		w.remove(w.gen)
		w.path = ""
	}
}
