package state

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// HeldError means that another process, or another part of this one, works on the source.
type HeldError struct {
	Source SourceID
	PID    int       // 0: unknown
	Since  time.Time // zero: unknown
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("source %x is locked by another process", e.Source)
	}
	return fmt.Sprintf("source %x is locked by process %d since %s", e.Source, e.PID, e.Since.Format(time.RFC3339))
}

// Lock is the lock of a source. The system releases it when the process ends, however it ends.
type Lock struct{ f *os.File }

// errHeld is what tryLock says of a lock that somebody has.
var errHeld = errors.New("held")

// Lock locks a source, or returns *HeldError at once; no other error. Where locks cannot be had, it tells so and returns a lock that locks nothing.
func (s *State) Lock(source SourceID, now time.Time) (*Lock, error) {
	dir := s.folder("lock", s.state, "locks")
	if dir == "" {
		return &Lock{}, nil
	}
	path := filepath.Join(dir, hexName(source))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		s.tell("lock", path, err)
		return &Lock{}, nil
	}
	err = tryLock(f)
	if errors.Is(err, errHeld) {
		held := readHolder(f)
		held.Source = source
		_ = f.Close()
		return nil, held
	}
	if err == nil {
		err = writeHolder(f, now)
	}
	s.tell("lock", path, err)
	return &Lock{f}, nil
}

// Release gives the lock back. The file stays: removing it would let two others lock two files.
func (l *Lock) Release() {
	if l.f == nil {
		return
	}
	_ = l.f.Truncate(0)
	_ = l.f.Close()
	l.f = nil
}

func writeHolder(f *os.File, now time.Time) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err := f.WriteAt(fmt.Appendf(nil, "pid %d\nsince %s\n", os.Getpid(), now.UTC().Format(time.RFC3339)), 0)
	return err
}

// readHolder reads what writeHolder wrote; what is missing or odd stays unknown.
func readHolder(r io.Reader) *HeldError {
	held := &HeldError{}
	lines := bufio.NewScanner(io.LimitReader(r, 200))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "pid":
			if n, err := strconv.ParseInt(value, 10, 32); err == nil && n > 0 {
				held.PID = int(n)
			}
		case "since":
			if t, err := time.Parse(time.RFC3339, value); err == nil {
				held.Since = t
			}
		}
	}
	return held
}
