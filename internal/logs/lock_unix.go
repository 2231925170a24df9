//go:build unix

package logs

import (
	"os"

	"golang.org/x/sys/unix"
)

// tryLock locks a file until it is closed, unless somebody has it.
func tryLock(f *os.File) bool {
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	err = raw.Control(func(fd uintptr) { ok = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB) == nil })
	return ok && err == nil
}
