//go:build linux && (amd64 || arm64 || ppc64 || ppc64le || riscv64 || s390x)

package dir

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

// statBuf is what the system writes into; it lives with a goroutine, so that a call allocates nothing.
type statBuf struct{ raw unix.Stat_t }

// at is lstat of a name that ends with NUL, relative to an open folder.
func (b *statBuf) at(fd int, name *byte, out *source.Stat) unix.Errno {
	for {
		_, _, e := unix.Syscall6(unix.SYS_NEWFSTATAT, uintptr(fd), uintptr(unsafe.Pointer(name)),
			uintptr(unsafe.Pointer(&b.raw)), unix.AT_SYMLINK_NOFOLLOW, 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e == 0 {
			fill(out, &b.raw)
		}
		return e
	}
}

// statFD is fstat; blocks are of 512 bytes.
func statFD(fd int, out *source.Stat) (blocks int64, err error) {
	var raw unix.Stat_t
	for {
		if err = unix.Fstat(fd, &raw); err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return 0, err
	}
	fill(out, &raw)
	return raw.Blocks, nil
}
