//go:build unix

package local

import (
	"errors"
	"os"
	"syscall"
)

const openFlags = syscall.O_NONBLOCK // a pipe that lies where an object should be does not hang the caller

func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

func isReadOnly(err error) bool { return errors.Is(err, syscall.EROFS) }

func isNotFolder(err error) bool { return errors.Is(err, syscall.ENOTDIR) }

// refusesMove reports whether err says that the file system does not know a way to move.
func refusesMove(err error, link bool) bool {
	if link && errors.Is(err, syscall.EPERM) {
		return true
	}
	for _, e := range []error{errNoSuchMove, syscall.EINVAL, syscall.ENOSYS, syscall.ENOTSUP, syscall.EOPNOTSUPP} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// syncFolder flushes the entries of a folder. File systems that cannot do that say so by EINVAL.
func syncFolder(folder *os.File) error {
	err := folder.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
