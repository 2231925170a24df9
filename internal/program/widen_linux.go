package program

import (
	"os"

	"golang.org/x/sys/unix"
)

// widen lets a pipe hold as much as anybody may ask for (1 MiB; see pipe(7)), so that both sides wait less for one another. Where that is refused it stays as it is.
func widen(f *os.File) {
	if c, err := f.SyscallConn(); err == nil {
		_ = c.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, 1<<20) })
	}
}
