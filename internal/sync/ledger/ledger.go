// Package ledger remembers what a sync of a folder with a place in a bucket last knew to be equal: for each key the stat of the file, and ETag, size and class of the object. All of it can be
// lost or damaged: that costs a comparison of contents, never data, and nothing is sent that is there already.
//
// # What an entry means
//
// The file that had this size, these times and this inode, and the object that had this ETag and this size, had the same content. So an entry counts only while both still show the same; whoever
// changed one of them, by whatever program, is noticed. One ledger serves both directions.
//
// # Files
//
// All of a pair lies in <state>/sync/<id of the pair>/, see package state for locks and journals:
//
//	ledger              entries, sorted by key
//	journals/changes    what was done since the ledger was written
//	locks/…             one run at a time
//
// The order of writing: an object is stored and its ETag known, or a file has its name and is on the disk; then the entry goes to the journal; when a run ends, or the next one begins, ledger and
// journal become a new ledger, which replaces the old one at once; then the journal is emptied. So an entry is never younger than what it speaks of, and a run that is killed at any point
// is found in the journal up to its last record. Uploads that were begun and not ended stay in the journal.
//
// The ledger begins with a head of 64 bytes, integers little-endian, CRC32C as in RFC 3720 §12.1:
//
//	 0  8  magic "FIRNSYNC"
//	 8  4  version, 1
//	12 16  id of the pair
//	28 32  zero
//	60  4  CRC32C of bytes 0 … 59
//
// and goes on with blocks of about 64 KiB:
//
//	0  4  "BLK1", the last one "END1"
//	4  4  length of the records, at most 1 MiB; in the last one 8
//	8  4  number of records; in the last one 0
//	12 4  CRC32C of bytes 0 … 11 and the records
//	16 …  records; in the last one the number of records of the file (8)
//
// A record: uvarint bytes of the key shared with the record before (0 in the first of a block), then flags (uvarint), rest of the key, and unless it is a tombstone size, mtime, ctime (varints),
// inode (uvarint), sum of the metadata (8 bytes), size of the object (uvarint), ETag, class, ETag of the original, algorithm and value of the checksum, part size, times of asking and of storing (uvarints). Texts have
// their length in front (uvarint). An ETag of 32 hex digits is kept as 16 bytes, and a flag. What does not pass its checks ends the file early.
package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"

	"firn/internal/bucket"
)

// Flags of an entry.
type Flags uint64

// The flags.
const (
	Sealed Flags = 1 << iota // the object is encrypted; Size is that of the file
	Recent                   // the file had changed so shortly before it was read that a later change may not show in its times
	Opaque                   // the ETag says nothing of the content
	Link                     // the file is a symlink
	Folder                   // the file is a folder
	gone                     // no entry: what was known of the key is forgotten
	hexTag                   // of the format: see above
)

// Entry is what is known of one key. Times are nanoseconds since 1970 and only compared for equality.
type Entry struct {
	Key          string // below the prefix of the pair
	Flags        Flags
	Size         int64 // of the file; −1: there is none, and Asked is all that counts
	Mtime, Ctime int64
	Inode        uint64
	Meta         uint64 // sum of the metadata that the object was given; 0: not known

	Stored   int64 // size of the object
	ETag     string
	Class    string
	From     string           // of a copy: ETag of the original
	SumBy    bucket.Algorithm // of the file's content; empty: not known
	Sum      []byte
	PartSize int64 // of the upload; 0: in one piece, or not known
	Asked    int64 // seconds since 1970: when the object was last asked to be thawed
	At       int64 // seconds since 1970: when the object was stored by a sync; 0: not known
}

// Has reports whether a flag is set.
func (e *Entry) Has(f Flags) bool { return e.Flags&f != 0 }

// Limits.
const (
	headLen   = 64
	blockHead = 16
	blockSize = 64 << 10
	maxBlock  = 1 << 20
	maxText   = 4096
	version   = 1
	magic     = "FIRNSYNC"
)

// ErrDamaged is the reason why a ledger, or the rest of it, is not used.
var ErrDamaged = errors.New("damaged, not used from there on")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendText[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendEntry encodes an entry whose key is written as key.
func appendEntry(b []byte, e *Entry, key string) []byte {
	flags, tag := e.Flags&^hexTag, []byte(e.ETag)
	if raw, ok := rawTag(e.ETag); ok {
		flags, tag = flags|hexTag, raw[:]
	}
	b = appendText(binary.AppendUvarint(b, uint64(flags)), key)
	if e.Has(gone) {
		return b
	}
	b = binary.AppendVarint(b, e.Size)
	b = binary.AppendVarint(b, e.Mtime)
	b = binary.AppendVarint(b, e.Ctime)
	b = binary.AppendUvarint(b, e.Inode)
	b = binary.LittleEndian.AppendUint64(b, e.Meta)
	b = binary.AppendUvarint(b, uint64(max(e.Stored, 0)))
	b = appendText(b, tag)
	b = appendText(b, e.Class)
	b = appendText(b, e.From)
	b = appendText(b, e.SumBy)
	b = appendText(b, e.Sum)
	b = binary.AppendUvarint(b, uint64(max(e.PartSize, 0)))
	b = binary.AppendUvarint(b, uint64(max(e.Asked, 0)))
	return binary.AppendUvarint(b, uint64(max(e.At, 0)))
}

// rawTag is an MD5 as it stands in an ETag.
func rawTag(tag string) (raw [16]byte, ok bool) {
	if len(tag) != 32 {
		return raw, false
	}
	if _, err := hex.Decode(raw[:], []byte(tag)); err != nil {
		return raw, false
	}
	return raw, hex.EncodeToString(raw[:]) == tag
}

// decoder reads the fields of a record; after the first that is not there everything is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) size() int64 {
	v := d.uvarint()
	if v > 1<<62 {
		d.bad = true
		return 0
	}
	return int64(v)
}

func (d *decoder) bytes(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}

func (d *decoder) text() []byte {
	n := d.uvarint()
	if n > maxText {
		d.bad = true
		return nil
	}
	return d.bytes(n)
}

// entry decodes what appendEntry wrote; before stands in front of the key.
func (d *decoder) entry(e *Entry, before []byte) bool {
	*e = Entry{Flags: Flags(d.uvarint())}
	key := d.text()
	if len(before) == 0 {
		e.Key = string(key)
	} else {
		e.Key = string(append(append(make([]byte, 0, len(before)+len(key)), before...), key...))
	}
	if d.bad || e.Has(gone) {
		return !d.bad
	}
	e.Size, e.Mtime, e.Ctime, e.Inode = d.varint(), d.varint(), d.varint(), d.uvarint()
	if raw := d.bytes(8); raw != nil {
		e.Meta = binary.LittleEndian.Uint64(raw)
	}
	e.Stored = d.size()
	if tag := d.text(); e.Has(hexTag) {
		e.ETag = hex.EncodeToString(tag)
	} else {
		e.ETag = string(tag)
	}
	e.Flags &^= hexTag
	e.Class, e.From, e.SumBy = className(d.text()), string(d.text()), bucket.Algorithm(d.text())
	if sum := d.text(); len(sum) > 0 {
		e.Sum = bytes.Clone(sum)
	}
	e.PartSize, e.Asked, e.At = d.size(), d.size(), d.size()
	return !d.bad
}

// className saves the memory of names that come a million times.
func className(b []byte) string {
	for _, known := range []string{"", "STANDARD", "STANDARD_IA", "DEEP_ARCHIVE", "GLACIER", "GLACIER_IR"} {
		if string(b) == known {
			return known
		}
	}
	return string(b)
}
