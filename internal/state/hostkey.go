package state

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"firn/internal/keys"
)

// ModeError means that others than its owner can read a host key file. The file is not used.
type ModeError struct {
	Path string
	Mode fs.FileMode
}

func (e *ModeError) Error() string {
	return fmt.Sprintf("host key %q can be read by others than its owner (mode %04o)", e.Path, e.Mode.Perm())
}

// maxHostKey is the longest host key file, in bytes.
const maxHostKey = 1 << 20

// HostKey reads the host key of the repository: fs.ErrNotExist if there is none, *ModeError if others can read the file, ErrForeign if it is of
// another repository. Since nothing goes without a key, this part of the state does return errors.
func (s *State) HostKey() (*keys.HostKey, error) {
	if s.keys == "" {
		return nil, fmt.Errorf("host key: %w", fs.ErrNotExist)
	}
	h, err := ReadHostKey(filepath.Join(s.keys, "host.key"))
	if err == nil && h.Repository != s.repo {
		h.Wipe()
		return nil, &Error{"host key", filepath.Join(s.keys, "host.key"), ErrForeign}
	}
	return h, err
}

// ReadHostKey reads a host key file anywhere, with the same care.
func ReadHostKey(path string) (*keys.HostKey, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &Error{"host key", path, errors.New("not a regular file")}
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, &ModeError{path, info.Mode()}
	}
	if info.Size() > maxHostKey {
		return nil, &Error{"host key", path, ErrDamaged}
	}
	raw := make([]byte, info.Size())
	defer keys.Wipe(raw)
	if _, err := io.ReadFull(f, raw); err != nil {
		return nil, &Error{"host key", path, err}
	}
	h, err := keys.ParseHostKey(raw)
	if err != nil {
		return nil, &Error{"host key", path, err}
	}
	return h, nil
}

// SetHostKey keeps the host key, on disk when it returns nil.
func (s *State) SetHostKey(h *keys.HostKey) error {
	if s.keys == "" {
		return &Error{"host key", "", ErrNone}
	}
	if h.Repository != s.repo {
		return &Error{"host key", s.keys, ErrForeign}
	}
	if err := os.MkdirAll(s.keys, 0o700); err != nil {
		return err
	}
	raw, err := h.Marshal()
	if err != nil {
		return err
	}
	defer keys.Wipe(raw)
	return replaceFile(filepath.Join(s.keys, "host.key"), raw)
}
