package state

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Head is the last snapshot that this host saw of a source. A store that shows less than this was rolled back.
type Head struct {
	Snapshot [16]byte // id
	Sequence uint64
	Body     [32]byte // SHA-256 of the body of the snapshot
}

const headSize = 16 + 8 + 32

// Head returns what SetHead kept.
func (s *State) Head(source SourceID) (Head, bool) {
	path := s.headPath(source)
	if path == "" {
		return Head{}, false
	}
	raw, err := s.readFile(path, kindHead, headSize)
	if err == nil && len(raw) != headSize {
		err = ErrDamaged
	}
	if errors.Is(err, fs.ErrNotExist) {
		return Head{}, false
	}
	if err != nil {
		s.tell("head of a source", path, err)
		return Head{}, false
	}
	return Head{[16]byte(raw), binary.LittleEndian.Uint64(raw[16:]), [32]byte(raw[24:])}, true
}

// Heads lists the sources of which a head is kept, in order.
func (s *State) Heads() (sources []SourceID) {
	if s.state == "" {
		return nil
	}
	files, err := os.ReadDir(filepath.Join(s.state, "heads"))
	if err != nil {
		return nil // none yet
	}
	for _, f := range files {
		if raw, err := hex.DecodeString(f.Name()); err == nil && len(raw) == len(SourceID{}) {
			sources = append(sources, SourceID(raw))
		}
	}
	return sources
}

// SetHead keeps the last snapshot of a source, on disk when it returns.
func (s *State) SetHead(source SourceID, h Head) {
	dir := s.folder("heads", s.state, "heads")
	if dir == "" {
		return
	}
	raw := append([]byte{}, h.Snapshot[:]...)
	raw = binary.LittleEndian.AppendUint64(raw, h.Sequence)
	raw = append(raw, h.Body[:]...)
	path := s.headPath(source)
	s.tell("head of a source", path, s.writeFile(path, kindHead, raw))
}

// ForgetHead drops the head of a source, after the user agreed to a store that was rolled back.
func (s *State) ForgetHead(source SourceID) {
	if path := s.headPath(source); path != "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.tell("head of a source", path, err)
		}
	}
}

func (s *State) headPath(source SourceID) string {
	if s.state == "" {
		return ""
	}
	return filepath.Join(s.state, "heads", hexName(source))
}
