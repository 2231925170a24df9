package job

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// HeldError means that another process runs the job.
type HeldError struct {
	Job   string
	PID   int       // 0: unknown
	Since time.Time // zero: unknown
}

func (e *HeldError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("job %q is being run by another process", e.Job)
	}
	return fmt.Sprintf("job %q is being run by process %d since %s", e.Job, e.PID, e.Since.Format(time.RFC3339))
}

// errHeld is what tryLock says of a lock that somebody has.
var errHeld = errors.New("held")

// lock is the lock of a job. The system releases it when the process ends, however it ends. The file stays: removing it would let two others lock two files.
type lock struct{ f *os.File }

// looks is how often a lock is tried that somebody holds: whoever only looks has it for a moment, and so has what a process that was killed was just starting.
const looks = 10

// take locks the job of a folder, or fails with *HeldError or with what keeps locks from being had.
func take(dir, job string, now time.Time, wait func(time.Duration)) (*lock, error) {
	if dir == "" {
		return nil, ErrNoState
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for n := 0; ; n++ {
		err = tryLock(f, true)
		if err == nil {
			break
		}
		if !errors.Is(err, errHeld) {
			_ = f.Close()
			return nil, err
		}
		if n == looks {
			held := holder(f, job)
			_ = f.Close()
			return nil, held
		}
		wait(20 * time.Millisecond)
	}
	_ = f.Truncate(0) // who holds it is for people
	_, _ = f.WriteAt(fmt.Appendf(nil, "pid %d\nsince %s\n", os.Getpid(), now.UTC().Format(time.RFC3339)), 0)
	return &lock{f}, nil
}

// release gives the lock back.
func (l *lock) release() {
	if l == nil {
		return
	}
	_ = l.f.Truncate(0)
	_ = l.f.Close()
}

// holds returns who runs the job of a folder; nil: nobody does, or it cannot be found out.
func holds(dir, job string) *HeldError {
	if dir == "" {
		return nil
	}
	f, err := os.Open(filepath.Join(dir, "lock"))
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	if errors.Is(tryLock(f, false), errHeld) {
		return holder(f, job)
	}
	return nil
}

// holder reads what take wrote; what is missing or odd stays unknown.
func holder(f io.ReaderAt, job string) *HeldError {
	held := &HeldError{Job: job}
	buf := make([]byte, 200)
	n, _ := f.ReadAt(buf, 0) // shorter at the end of the file
	for line := range strings.Lines(string(buf[:n])) {
		var pid int
		if _, err := fmt.Sscanf(line, "pid %d\n", &pid); err == nil && pid > 0 {
			held.PID = pid
		}
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "since "); ok {
			if t, err := time.Parse(time.RFC3339, text); err == nil {
				held.Since = t
			}
		}
	}
	return held
}
