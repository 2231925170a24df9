package drill

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"firn/internal/state"
)

// What a file and its folder take on a disk besides their content, in bytes, and what is left free in any case.
const (
	fileOverhead = 8 << 10
	leaveFree    = 16 << 20
)

// scratchPrefix is what the names of scratch folders begin with; nothing else is ever removed.
const scratchPrefix = "firn-drill-"

// findScratch names a folder of its own in dir, if there is room for the sample. It is made once its name is noted, so that it is found again.
func findScratch(dir string, s *Sample) (string, error) {
	if dir == "" {
		dir = os.TempDir()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	need := s.Bytes + int64(len(s.Files))*fileOverhead + leaveFree
	if have, ok := state.Room(dir); ok && have < need {
		return "", &RoomError{Path: dir, Need: need, Have: have}
	}
	return filepath.Join(dir, scratchPrefix+rand.Text()), nil // that it is there already is an error of making it
}

func isFolder(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// removeScratch removes a scratch folder, in which folders may be as they were backed up: closed to their owner.
func removeScratch(path string) error {
	if !strings.HasPrefix(filepath.Base(path), scratchPrefix) || os.RemoveAll(path) == nil {
		return nil
	}
	_ = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(at, 0o700) // WalkDir reads it after this
		}
		return nil
	})
	if err := os.RemoveAll(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("scratch folder stays: %w", err)
	}
	return nil
}
