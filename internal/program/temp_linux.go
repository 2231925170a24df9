package program

import (
	"os"

	"golang.org/x/sys/unix"
)

// openTemp makes a file without a name; some file systems cannot.
func openTemp(dir string) (*tempFile, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return namedTemp(dir)
	}
	return &tempFile{os.NewFile(uintptr(fd), dir), ""}, nil
}
