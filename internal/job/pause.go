package job

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Pause keeps all jobs of this user on this machine from running, and stops those that run.
type Pause struct {
	Until time.Time // zero: until resumed
}

const pauseName = "paused"

// untilResumed stands in the file of a pause without an end.
const untilResumed = "until resumed"

// ErrNoState tells that there is no folder to keep anything in.
var ErrNoState = errors.New("there is no folder for local state")

// SetPause pauses jobs; dir is Options.Dir.
func SetPause(dir string, p Pause) error {
	if dir == "" {
		return ErrNoState
	}
	text := untilResumed
	if !p.Until.IsZero() {
		text = p.Until.UTC().Format(time.RFC3339)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, pauseName), []byte(text+"\n"))
}

// Resume ends a pause, and reports whether there was one.
func Resume(dir string, now time.Time) (was bool, err error) {
	if dir == "" {
		return false, ErrNoState
	}
	p, _ := ReadPause(dir, now) // what is damaged goes, too
	err = os.Remove(filepath.Join(dir, pauseName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return p != nil, err
}

// ReadPause returns the pause that holds; nil: none. A file that cannot be understood is told of and counts as no pause: nobody would look for it while backups stand still.
func ReadPause(dir string, now time.Time) (*Pause, error) {
	if dir == "" {
		return nil, nil
	}
	path := filepath.Join(dir, pauseName)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pause: %w", err)
	}
	if info.Size() > 1<<10 {
		return nil, fmt.Errorf("pause: %q has %d bytes, which is no pause", path, info.Size())
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("pause: %w", err)
	}
	text := strings.TrimSpace(string(raw))
	if text == untilResumed {
		return &Pause{}, nil
	}
	until, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, fmt.Errorf("pause: %q says neither when it ends nor %q", path, untilResumed)
	}
	if !now.Before(until) {
		return nil, nil
	}
	return &Pause{Until: until}, nil
}
