package job

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes a lock that goes with the open file, alone or with others, or says errHeld. It locks one byte far behind the text, since others could not read what is locked.
func tryLock(f *os.File, alone bool) error {
	var flags uint32 = windows.LOCKFILE_FAIL_IMMEDIATELY
	if alone {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 20})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return errHeld
	}
	return err
}
