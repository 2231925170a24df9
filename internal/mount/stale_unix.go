//go:build unix

package mount

import (
	"errors"
	"syscall"
)

// isStale reports whether an error is that of a folder whose file system has lost its program.
func isStale(err error) bool { return errors.Is(err, syscall.ENOTCONN) }
