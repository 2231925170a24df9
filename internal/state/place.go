package state

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
)

// maxPlace bounds what is remembered of a place, in bytes.
const maxPlace = 64 << 10

// Place returns the firn.json that SetPlace kept of a store's location, nil if there is none. It is as trustworthy as the disk, and as fresh as the last visit:
// its signature has to be checked, and that the same repository is still there.
func (d Dirs) Place(location string) []byte {
	path := d.placePath(location)
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > maxPlace {
		return nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return raw
}

// SetPlace keeps the firn.json of a location; nil: none is known any more. Where it cannot be kept, it is read from the store each time.
func (d Dirs) SetPlace(location string, raw []byte) {
	path := d.placePath(location)
	switch {
	case path == "":
	case raw == nil:
		_ = os.Remove(path)
	case len(raw) <= maxPlace && os.MkdirAll(filepath.Dir(path), 0o700) == nil:
		_ = replaceFile(path, raw)
	}
}

func (d Dirs) placePath(location string) string {
	if d.State == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(location))
	return filepath.Join(d.State, "places", hex.EncodeToString(sum[:16]))
}
