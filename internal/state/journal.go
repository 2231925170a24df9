package state

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// Journal is an append-only log of small records: sealed packs that wait to be sent, uploads to resume, jobs. After the head of file.go:
//
//	0  4  length of the payload
//	4  4  CRC32C of the length field and the payload
//	8  n  payload, at most MaxRecord
//
// A record that a crash tore off, and everything behind a record that does not pass its check, is cut off when the journal is opened. What Sync
// returned for is kept. Appending never fails: trouble is told once, and from then on the journal is off (Err tells). Many goroutines may use
// a journal at once; two processes may not, so its owner holds a lock.
type Journal struct {
	s    *State
	path string

	mu  sync.Mutex
	f   *os.File // nil: off
	end int64
	err error
	buf []byte
}

// MaxRecord is the longest record, in bytes.
const MaxRecord = 16 << 20

const recordHead = 8

// OpenJournal opens or makes a journal and gives each record in it to replay, in order; the slice is valid during the call. An error of
// replay ends the replaying and is returned; nothing else fails. name: letters, digits, - and _.
func (s *State) OpenJournal(name string, replay func(record []byte) error) (*Journal, error) {
	j := &Journal{s: s}
	dir := s.folder("journal", s.state, "journals")
	if dir == "" {
		j.err = ErrNone
		return j, nil
	}
	j.path = filepath.Join(dir, name)
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return j, j.readOnly(replay, err)
	}
	j.f = f
	return j, j.load(replay)
}

// readOnly replays a journal that cannot be written to.
func (j *Journal) readOnly(replay func([]byte) error, cause error) error {
	defer j.off(cause)
	f, err := os.Open(j.path)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	_, _, err = j.replayAll(f, info.Size(), replay)
	return err
}

// load replays what is there, cuts off what is torn, and writes the head of a new journal.
func (j *Journal) load(replay func([]byte) error) error {
	info, err := j.f.Stat()
	if err != nil {
		j.off(err)
		return nil
	}
	end, damage, err := j.replayAll(j.f, info.Size(), replay)
	if err != nil {
		_ = j.f.Close()
		j.f = nil
		return err
	}
	j.s.tell("journal", j.path, damage)
	if errors.Is(damage, ErrForeign) || errors.Is(damage, ErrNewer) {
		j.off(damage)
		return nil
	}
	if end == 0 {
		j.reset()
		return nil
	}
	if err := j.f.Truncate(end); err != nil {
		j.off(err)
		return nil
	}
	j.end = end
	return nil
}

// replayAll reads a journal of that size and returns where the last whole record ends, 0 if the head is not whole; damage is set if more than a torn tail was found.
func (j *Journal) replayAll(f io.Reader, size int64, replay func([]byte) error) (end int64, damage, err error) {
	r := &blockReader{r: f, buf: make([]byte, 0, min(size, 64<<10))}
	head := r.take(headLen)
	if head == nil {
		return 0, nil, nil
	}
	if _, err := j.s.checkHead(head, kindJournal); err != nil {
		return 0, err, nil
	}
	end = headLen
	for {
		head := r.take(recordHead)
		if head == nil {
			return end, nil, nil
		}
		n, sum := binary.LittleEndian.Uint32(head), binary.LittleEndian.Uint32(head[4:])
		if n > MaxRecord || int64(n) > size-end-recordHead {
			return end, nil, nil // torn, or nothing that can be told from it
		}
		payload := r.take(int(n))
		if payload == nil && n > 0 {
			return end, nil, nil
		}
		if recordSum(n, payload) != sum {
			if end+recordHead+int64(n) < size {
				damage = ErrDamaged
			}
			return end, damage, nil
		}
		if replay != nil {
			if err := replay(payload); err != nil {
				return end, nil, err
			}
		}
		end += recordHead + int64(n)
	}
}

func recordSum(n uint32, payload []byte) uint32 {
	var length [4]byte
	binary.LittleEndian.PutUint32(length[:], n)
	return crcUpdate(crc(length[:]), payload)
}

// blockReader hands out the bytes of a file in order, from one buffer.
type blockReader struct {
	r   io.Reader
	buf []byte // buf[at:] is unread
	at  int
}

// take returns the next n bytes, valid until the next call, or nil if there are fewer.
func (b *blockReader) take(n int) []byte {
	if len(b.buf)-b.at < n {
		rest := copy(b.buf[:cap(b.buf)], b.buf[b.at:])
		b.at = 0
		if cap(b.buf) < n {
			b.buf = append(make([]byte, 0, n), b.buf[:rest]...)
		}
		b.buf = b.buf[:rest]
		for len(b.buf) < n {
			got, err := b.r.Read(b.buf[len(b.buf):cap(b.buf)])
			b.buf = b.buf[:len(b.buf)+got]
			if err != nil && len(b.buf) < n {
				return nil
			}
		}
	}
	b.at += n
	return b.buf[b.at-n : b.at : b.at]
}

// off turns the journal off. The caller holds mu or is the only user.
func (j *Journal) off(err error) {
	if j.f != nil {
		_ = j.f.Close()
		j.f = nil
	}
	j.err = err
	j.s.tell("journal", j.path, err)
}

// reset makes the file an empty journal.
func (j *Journal) reset() {
	err := j.f.Truncate(0)
	if err == nil {
		_, err = j.f.WriteAt(j.s.makeHead(kindJournal, nil), 0)
	}
	if err != nil {
		j.off(err)
		return
	}
	j.end = headLen
}

// Append adds a record. It is on disk after Sync; a kill of the process alone does not lose it.
func (j *Journal) Append(record []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return
	}
	if len(record) > MaxRecord {
		j.off(errors.New("record too long"))
		return
	}
	j.buf = binary.LittleEndian.AppendUint32(j.buf[:0], uint32(len(record)))
	j.buf = binary.LittleEndian.AppendUint32(j.buf, recordSum(uint32(len(record)), record))
	j.buf = append(j.buf, record...)
	if _, err := j.f.WriteAt(j.buf, j.end); err != nil {
		_ = j.f.Truncate(j.end) // best effort: half a record is cut off at the next open as well
		j.off(err)
		return
	}
	j.end += int64(len(j.buf))
	if cap(j.buf) > 1<<20 {
		j.buf = nil
	}
}

// Sync returns when all records are on disk.
func (j *Journal) Sync() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return
	}
	if err := j.f.Sync(); err != nil {
		j.off(err)
	}
}

// Clear drops all records, when what they tell of is done.
func (j *Journal) Clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f != nil {
		j.reset()
	}
}

// Rewrite replaces all records at once: a crash leaves the old ones or the new ones.
func (j *Journal) Rewrite(records [][]byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return
	}
	content := j.s.makeHead(kindJournal, nil)
	for _, r := range records {
		if len(r) > MaxRecord {
			j.off(errors.New("record too long"))
			return
		}
		content = binary.LittleEndian.AppendUint32(content, uint32(len(r)))
		content = binary.LittleEndian.AppendUint32(content, recordSum(uint32(len(r)), r))
		content = append(content, r...)
	}
	_ = j.f.Close() // some systems do not replace a file that is open
	j.f = nil
	err := replaceFile(j.path, content)
	if err == nil {
		j.f, err = os.OpenFile(j.path, os.O_RDWR, 0o600)
	}
	if err != nil {
		j.off(err)
		return
	}
	j.end = int64(len(content))
}

// Size returns the length of the journal in bytes; 0 when it is off.
func (j *Journal) Size() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return 0
	}
	return j.end
}

// Err tells why the journal is off, or nil. Whoever must not lose a record asks after Sync.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.err
}

// Close closes the file; what was appended stays.
func (j *Journal) Close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.f == nil {
		return
	}
	if err := j.f.Close(); err != nil {
		j.s.tell("journal", j.path, err)
	}
	j.f, j.err = nil, os.ErrClosed
}
