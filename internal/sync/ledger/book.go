package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/state"
)

// Upload is one in parts that was begun: what is needed to go on with it.
type Upload struct {
	Key          string
	ID           string
	Size         int64 // of the file; times and inode as in an Entry
	Mtime, Ctime int64
	Inode        uint64
	PartSize     int64
	Meta         uint64 // sum of what the object is given besides its content
}

// Book is the ledger of a pair, its journal and its lock. It never fails its caller: trouble with the disk is told once, and costs the memory of what was done. Put, Forget, Begin and End may be called
// by many goroutines.
type Book struct {
	id      [16]byte
	dir     string // empty: there is none
	st      *state.State
	lock    *state.Lock
	journal *state.Journal
	note    func(error)

	mu      sync.Mutex
	uploads map[string]Upload // by id
	changes int64
	buf     []byte
}

// Kinds of records in the journal.
const (
	recordEntry  = 'e'
	recordUpload = 'u' // begun
	recordEnded  = 'x' // an upload, completed or given up
)

// source is the name of the one lock that a pair has.
var source = state.SourceID{'s', 'y', 'n', 'c'}

// Open opens the ledger of a pair, takes in what a run that was killed has left in the journal, and holds the lock until Close. Its only error is *state.HeldError. note is told of trouble with the disk.
func Open(dirs state.Dirs, id [16]byte, now time.Time, note func(error)) (*Book, error) {
	b := &Book{id: id, note: note, uploads: map[string]Upload{}}
	if note == nil {
		b.note = func(error) {}
	}
	below := state.Dirs{}
	if dirs.State != "" {
		below.State = filepath.Join(dirs.State, "sync")
		b.dir = filepath.Join(below.State, hex.EncodeToString(id[:]))
	}
	if dirs.Cache != "" {
		below.Cache = filepath.Join(dirs.Cache, "sync")
	}
	b.st = state.Open(below, id, b.note)
	var err error
	if b.lock, err = b.st.Lock(source, now); err != nil {
		return nil, err
	}
	b.sweep()
	b.merge()
	return b, nil
}

// sweep removes what a run that was killed while it wrote a ledger has left.
func (b *Book) sweep() {
	if b.dir == "" {
		return
	}
	for _, pattern := range []string{".sort-*", ".ledger-*"} {
		left, _ := filepath.Glob(filepath.Join(b.dir, pattern)) // the pattern is well formed
		for _, path := range left {
			_ = os.Remove(path)
		}
	}
}

// State is that of the pair, for whoever keeps more of it.
func (b *Book) State() *state.State { return b.st }

// Dir is the folder in which all of it lies; empty: there is none.
func (b *Book) Dir() string { return b.dir }

func (b *Book) path() string { return filepath.Join(b.dir, "ledger") }

// Read opens the ledger as it was when the book was opened, without what was put since.
func (b *Book) Read() *Reader {
	if b.dir == "" {
		return nil
	}
	return openFile(b.path(), b.id, b.note)
}

// Put notes that a file and an object are the same.
func (b *Book) Put(e *Entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.buf = appendEntry(append(b.buf[:0], recordEntry), e, e.Key)
	b.journal.Append(b.buf)
	b.changes++
}

// Forget drops what is known of a key.
func (b *Book) Forget(key string) { b.Put(&Entry{Key: key, Flags: gone}) }

// Begin notes an upload; it is on the disk when Begin returns.
func (b *Book) Begin(u Upload) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.uploads[u.ID] = u
	b.journal.Append(appendUpload(b.buf[:0], u))
	b.journal.Sync()
}

// End notes that an upload is complete or given up.
func (b *Book) End(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.uploads[id]; ok {
		delete(b.uploads, id)
		b.journal.Append(append([]byte{recordEnded}, id...))
	}
}

// Uploads are those that were begun and not ended, by key.
func (b *Book) Uploads() []Upload {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Upload
	for _, u := range b.uploads {
		all = append(all, u)
	}
	slices.SortFunc(all, func(x, y Upload) int { return strings.Compare(x.Key+"\x00"+x.ID, y.Key+"\x00"+y.ID) })
	return all
}

// Close makes a new ledger of the old one and the journal, and gives the lock back. Readers must be closed.
func (b *Book) Close() {
	b.journal.Close()
	if b.changes > 0 {
		b.merge()
		b.journal.Close()
	}
	b.lock.Release()
}

func appendUpload(b []byte, u Upload) []byte {
	b = appendText(appendText(append(b, recordUpload), u.Key), u.ID)
	b = binary.AppendVarint(b, u.Size)
	b = binary.AppendVarint(b, u.Mtime)
	b = binary.AppendVarint(b, u.Ctime)
	b = binary.AppendUvarint(b, u.Inode)
	b = binary.AppendUvarint(b, uint64(u.PartSize))
	return binary.AppendUvarint(b, u.Meta)
}

func parseUpload(raw []byte) (u Upload, ok bool) {
	d := decoder{b: raw}
	u.Key, u.ID = string(d.text()), string(d.text())
	u.Size, u.Mtime, u.Ctime, u.Inode = d.varint(), d.varint(), d.varint(), d.uvarint()
	u.PartSize, u.Meta = d.size(), d.uvarint()
	return u, !d.bad && u.ID != "" && u.PartSize > 0
}

// merge opens the journal and makes a new ledger of it and the old one, where it tells anything.
func (b *Book) merge() {
	s := sorter{b: b}
	defer s.close()
	var err error
	b.uploads = map[string]Upload{}
	b.changes = 0
	b.journal, err = b.st.OpenJournal("changes", func(record []byte) error {
		if len(record) == 0 {
			return nil
		}
		switch record[0] {
		case recordEntry:
			return s.add(record[1:])
		case recordUpload:
			if u, ok := parseUpload(record[1:]); ok {
				b.uploads[u.ID] = u
			}
		case recordEnded:
			delete(b.uploads, string(record[1:]))
		}
		return nil
	})
	if err == nil && s.records > 0 {
		err = s.write()
	}
	if err != nil {
		b.note(fmt.Errorf("ledger: %w", err))
		if b.journal.Err() != nil {
			return
		}
	}
	if b.journal.Size() > headLen && err == nil {
		var keep [][]byte
		for _, u := range b.Uploads() {
			keep = append(keep, appendUpload(nil, u))
		}
		b.journal.Rewrite(keep)
	}
}

// sorter sorts what a journal tells, piece by piece, in files without a name.
type sorter struct {
	b       *Book
	buf     []byte
	at      []int // where records begin in buf
	records int64
	pieces  []*os.File
}

// pieceSize is how many bytes of records are sorted at once.
const pieceSize = 8 << 20

// add takes a record.
func (s *sorter) add(record []byte) error {
	s.records++
	s.at = append(s.at, len(s.buf))
	s.buf = append(s.buf, record...)
	if len(s.buf) >= pieceSize {
		return s.spill()
	}
	return nil
}

// spill writes a sorted piece; of several records for a key the last counts.
func (s *sorter) spill() error {
	if len(s.at) == 0 {
		return nil
	}
	key := func(at int) []byte {
		d := decoder{b: s.buf[at:]}
		d.uvarint()
		return d.text()
	}
	slices.SortStableFunc(s.at, func(x, y int) int { return bytes.Compare(key(x), key(y)) })
	f, err := os.CreateTemp(s.b.dir, ".sort-*")
	if err != nil {
		return err
	}
	s.pieces = append(s.pieces, f)
	w := newWriter(f, s.b.id)
	for i, at := range s.at {
		if i+1 < len(s.at) && bytes.Equal(key(at), key(s.at[i+1])) {
			continue
		}
		var e Entry
		d := decoder{b: s.buf[at:]}
		if d.entry(&e, nil) {
			w.add(&e)
		}
	}
	s.buf, s.at = s.buf[:0], s.at[:0]
	return w.end()
}

// write makes the new ledger.
func (s *sorter) write() error {
	if err := s.spill(); err != nil {
		return err
	}
	s.buf, s.at = nil, nil
	in := []*Reader{s.b.Read()}
	for _, p := range s.pieces {
		in = append(in, openFile(p.Name(), s.b.id, s.b.note))
	}
	defer func() {
		for _, r := range in {
			r.Close()
		}
	}()
	out, err := os.CreateTemp(s.b.dir, ".ledger-*")
	if err != nil {
		return err
	}
	w := newWriter(out, s.b.id)
	merge(in, w)
	if err := w.end(); err != nil {
		_ = out.Close()
		_ = os.Remove(out.Name())
		return err
	}
	for _, r := range in {
		r.Close() // some systems do not replace a file that is open
	}
	return replace(out, s.b.path())
}

// merge writes what all readers tell; of several entries for a key that of the last reader counts.
func merge(in []*Reader, w *writer) {
	var live []*Reader
	for _, r := range in {
		if r.Next() {
			live = append(live, r)
		}
	}
	for len(live) > 0 {
		best := live[0]
		for _, r := range live[1:] {
			if r.Entry.Key <= best.Entry.Key {
				best = r
			}
		}
		if !best.Entry.Has(gone) {
			w.add(&best.Entry)
		}
		key := best.Entry.Key
		live = slices.DeleteFunc(live, func(r *Reader) bool { return r.Entry.Key == key && !r.Next() })
	}
}

func (s *sorter) close() {
	for _, p := range s.pieces {
		_ = p.Close()
		_ = os.Remove(p.Name())
	}
}
