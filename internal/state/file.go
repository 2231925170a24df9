package state

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Every file of the state but the host key begins with a head of 64 bytes:
//
//	 0  8  magic: "FIRN" and the kind
//	 8  4  version, 1
//	12 16  repository id
//	28 32  by kind: a small file: length of what follows (8), its CRC32C (4); a stat cache: source (8), generation (8); else zero
//	60  4  CRC32C of bytes 0 … 59
//
// A small file goes on with its content and ends there. CRC32C is that of RFC 3720 §12.1; integers are little-endian.
const (
	headLen     = 64
	fileVersion = 1
)

// kind is the second half of the magic.
type kind string

const (
	kindHead    kind = "HEAD"
	kindJournal kind = "JRNL"
	kindLink    kind = "LINK"
	kindStat    kind = "STAT"
	kindLines   kind = "LINE"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func crc(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

func crcUpdate(sum uint32, b []byte) uint32 { return crc32.Update(sum, castagnoli, b) }

func hexName(id SourceID) string { return hex.EncodeToString(id[:]) }

// makeHead returns the head of a file; extra has at most 32 bytes.
func (s *State) makeHead(k kind, extra []byte) []byte {
	b := make([]byte, headLen)
	copy(b, "FIRN"+string(k))
	binary.LittleEndian.PutUint32(b[8:], fileVersion)
	copy(b[12:28], s.repo[:])
	copy(b[28:60], extra)
	binary.LittleEndian.PutUint32(b[60:], crc(b[:60]))
	return b
}

// checkHead returns the 32 bytes by kind of a head.
func (s *State) checkHead(b []byte, k kind) ([]byte, error) {
	switch {
	case len(b) < headLen || string(b[:8]) != "FIRN"+string(k) || binary.LittleEndian.Uint32(b[60:]) != crc(b[:60]):
		return nil, ErrDamaged
	case binary.LittleEndian.Uint32(b[8:]) != fileVersion:
		return nil, ErrNewer
	case [16]byte(b[12:28]) != s.repo:
		return nil, ErrForeign
	}
	return b[28:60], nil
}

// readFile returns the content of a small file of at most limit bytes, or fs.ErrNotExist, ErrDamaged, ErrForeign, ErrNewer.
func (s *State) readFile(path string, k kind, limit int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, int64(headLen+limit)+1))
	if err != nil {
		return nil, err
	}
	extra, err := s.checkHead(raw, k)
	if err != nil {
		return nil, err
	}
	body := raw[headLen:]
	if binary.LittleEndian.Uint64(extra) != uint64(len(body)) || binary.LittleEndian.Uint32(extra[8:]) != crc(body) {
		return nil, ErrDamaged
	}
	return body, nil
}

// writeFile replaces a small file atomically.
func (s *State) writeFile(path string, k kind, body []byte) error {
	extra := binary.LittleEndian.AppendUint64(nil, uint64(len(body)))
	extra = binary.LittleEndian.AppendUint32(extra, crc(body))
	return replaceFile(path, append(s.makeHead(k, extra), body...))
}

// replaceFile writes a file of mode 0600 so that a crash leaves the old or the new content.
func replaceFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes renames in a folder last. Systems that cannot sync folders are trusted.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, fs.ErrInvalid) && !unsyncable(err) {
		return fmt.Errorf("sync %q: %w", path, err)
	}
	return nil
}
