//go:build unix && !solaris && !aix

package job

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// tryLock takes a lock that goes with the open file, alone or with others, or says errHeld.
func tryLock(f *os.File, alone bool) error {
	how := unix.LOCK_SH | unix.LOCK_NB
	if alone {
		how = unix.LOCK_EX | unix.LOCK_NB
	}
	for {
		err := unix.Flock(int(f.Fd()), how)
		switch {
		case errors.Is(err, unix.EWOULDBLOCK):
			return errHeld
		case !errors.Is(err, unix.EINTR):
			return err
		}
	}
}
