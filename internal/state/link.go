package state

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"path/filepath"
)

// Link is how fast the way to the store was when it was last used, in bytes a second; 0: not known.
type Link struct{ Up, Down float64 }

const linkSize = 16

// Link returns what SetLink kept.
func (s *State) Link() Link {
	if s.state == "" {
		return Link{}
	}
	path := filepath.Join(s.state, "link")
	raw, err := s.readFile(path, kindLink, linkSize)
	if err == nil && len(raw) != linkSize {
		err = ErrDamaged
	}
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.tell("speed of the link", path, err)
		}
		return Link{}
	}
	speed := func(b []byte) float64 {
		v := math.Float64frombits(binary.LittleEndian.Uint64(b))
		if !(v > 0 && v < math.MaxInt64) { // NaN, too
			return 0
		}
		return v
	}
	return Link{speed(raw), speed(raw[8:])}
}

// SetLink keeps what was measured; what is 0 in l stays as it was. The old figure counts for a half, so that one bad hour is not believed.
func (s *State) SetLink(l Link) {
	dir := s.folder("speed of the link", s.state, ".")
	if dir == "" {
		return
	}
	have := s.Link()
	mix := func(old, fresh float64) float64 {
		switch {
		case fresh <= 0:
			return old
		case old <= 0:
			return fresh
		}
		return (old + fresh) / 2
	}
	raw := binary.LittleEndian.AppendUint64(nil, math.Float64bits(mix(have.Up, l.Up)))
	raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(mix(have.Down, l.Down)))
	path := filepath.Join(dir, "link")
	s.tell("speed of the link", path, s.writeFile(path, kindLink, raw))
}
