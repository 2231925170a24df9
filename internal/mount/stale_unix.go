//go:build unix

package mount

import (
	"errors"
	"os"
	"syscall"
)

// isStale reports whether an error is that of a folder whose file system has lost its program.
func isStale(err error) bool { return errors.Is(err, syscall.ENOTCONN) }

// isMountPoint reports whether a folder has another file system than the one that it lies in.
func isMountPoint(dir string) bool {
	var in, above *syscall.Stat_t
	if i, err := os.Stat(dir); err == nil {
		in, _ = i.Sys().(*syscall.Stat_t)
	}
	if i, err := os.Stat(dir + "/.."); err == nil {
		above, _ = i.Sys().(*syscall.Stat_t)
	}
	return in != nil && above != nil && in.Dev != above.Dev
}
