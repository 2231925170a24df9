package ledger

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Reader goes through a ledger in order of keys. A nil reader is an empty one.
type Reader struct {
	Entry Entry // the current one, valid until Next

	f     *os.File
	r     *bufio.Reader
	block []byte
	d     decoder
	left  uint32
	last  string // key before
	seen  uint64
	whole bool
	note  func(error)
}

// openFile opens a ledger; nil where there is none that can be read.
func openFile(path string, id [16]byte, note func(error)) *Reader {
	f, err := os.Open(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			note(fmt.Errorf("ledger: %w", err))
		}
		return nil
	}
	r := &Reader{f: f, r: bufio.NewReaderSize(f, 128<<10), note: note}
	head := make([]byte, headLen)
	if _, err := io.ReadFull(r.r, head); err != nil || string(head[:8]) != magic || binary.LittleEndian.Uint32(head[60:]) != crc32.Checksum(head[:60], castagnoli) ||
		binary.LittleEndian.Uint32(head[8:]) != version || [16]byte(head[12:28]) != id {
		note(fmt.Errorf("ledger %q: %w", path, ErrDamaged))
		_ = f.Close()
		return nil
	}
	return r
}

// Next goes to the next entry and reports whether there is one.
func (r *Reader) Next() bool {
	if r == nil || r.f == nil {
		return false
	}
	for r.left == 0 {
		if !r.nextBlock() {
			r.Close()
			return false
		}
	}
	r.left--
	shared := r.d.uvarint()
	if shared > uint64(len(r.last)) || !r.d.entry(&r.Entry, []byte(r.last[:shared])) || r.Entry.Key <= r.last && r.seen > 0 {
		r.damaged()
		return false
	}
	r.last = r.Entry.Key
	r.seen++
	return true
}

// nextBlock reads a block; false: there is none.
func (r *Reader) nextBlock() bool {
	var head [blockHead]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		r.damaged()
		return false
	}
	n := binary.LittleEndian.Uint32(head[4:])
	if n > maxBlock {
		r.damaged()
		return false
	}
	if uint32(cap(r.block)) < n {
		r.block = make([]byte, n)
	}
	r.block = r.block[:n]
	if _, err := io.ReadFull(r.r, r.block); err != nil || blockSum(head[:12], r.block) != binary.LittleEndian.Uint32(head[12:]) {
		r.damaged()
		return false
	}
	r.left, r.d = binary.LittleEndian.Uint32(head[8:]), decoder{b: r.block}
	if string(head[:4]) == "END1" {
		r.whole = n == 8 && binary.LittleEndian.Uint64(r.block) == r.seen
		if !r.whole {
			r.damaged()
		}
		return false
	}
	if string(head[:4]) != "BLK1" {
		r.damaged()
		return false
	}
	return true
}

func (r *Reader) damaged() {
	r.note(fmt.Errorf("ledger: %w", ErrDamaged))
	r.Close()
}

// Whole reports whether the ledger was read to its end and nothing was wrong with it.
func (r *Reader) Whole() bool { return r != nil && r.whole }

// Close closes the file.
func (r *Reader) Close() {
	if r != nil && r.f != nil {
		_ = r.f.Close()
		r.f, r.left = nil, 0
	}
}

func blockSum(head, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(head, castagnoli), castagnoli, body)
}

// writer writes a ledger, or a sorted piece of one.
type writer struct {
	f     *os.File
	w     *bufio.Writer
	block []byte
	count uint32
	last  string
	total uint64
}

func newWriter(f *os.File, id [16]byte) *writer {
	head := make([]byte, headLen)
	copy(head, magic)
	binary.LittleEndian.PutUint32(head[8:], version)
	copy(head[12:28], id[:])
	binary.LittleEndian.PutUint32(head[60:], crc32.Checksum(head[:60], castagnoli))
	w := &writer{f: f, w: bufio.NewWriterSize(f, 128<<10)}
	_, _ = w.w.Write(head) // bufio keeps the error
	return w
}

// add writes an entry; keys come in ascending order.
func (w *writer) add(e *Entry) {
	if len(w.block) >= blockSize {
		w.flush("BLK1")
	}
	shared := 0
	if w.count > 0 {
		for n := min(len(w.last), len(e.Key)); shared < n && w.last[shared] == e.Key[shared]; shared++ {
		}
	}
	w.block = appendEntry(binary.AppendUvarint(w.block, uint64(shared)), e, e.Key[shared:])
	w.last = e.Key
	w.count++
	w.total++
}

func (w *writer) flush(kind string) {
	var head [blockHead]byte
	copy(head[:], kind)
	binary.LittleEndian.PutUint32(head[4:], uint32(len(w.block)))
	binary.LittleEndian.PutUint32(head[8:], w.count)
	binary.LittleEndian.PutUint32(head[12:], blockSum(head[:12], w.block))
	_, _ = w.w.Write(head[:])
	_, _ = w.w.Write(w.block)
	w.block, w.count = w.block[:0], 0
}

// end completes the file.
func (w *writer) end() error {
	if w.count > 0 {
		w.flush("BLK1")
	}
	w.block = binary.LittleEndian.AppendUint64(w.block, w.total)
	w.flush("END1")
	return w.w.Flush()
}

// replace puts a complete ledger, f, into the place of the one at path.
func replace(f *os.File, path string) error {
	err := f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_ = d.Sync() // where a folder cannot be synced the rename comes with what is synced next
		_ = d.Close()
	}
	return nil
}
