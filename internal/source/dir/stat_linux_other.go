//go:build linux && !(amd64 || arm64 || ppc64 || ppc64le || riscv64 || s390x)

package dir

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

// statBuf is what the system writes into; it lives with a goroutine, so that a call allocates nothing. Where struct stat
// has times of 32 bits, statx (Linux 4.11) is asked, and struct stat only where statx is missing or forbidden.
type statBuf struct {
	raw unix.Statx_t
	old unix.Stat_t
}

// at is lstat of a name that ends with NUL, relative to an open folder.
func (b *statBuf) at(fd int, name *byte, out *source.Stat) unix.Errno {
	_, e := b.statx(fd, name, unix.AT_SYMLINK_NOFOLLOW, out)
	return e
}

func (b *statBuf) statx(fd int, name *byte, flags uintptr, out *source.Stat) (blocks int64, e unix.Errno) {
	for {
		_, _, e = unix.Syscall6(unix.SYS_STATX, uintptr(fd), uintptr(unsafe.Pointer(name)), flags,
			unix.STATX_BASIC_STATS, uintptr(unsafe.Pointer(&b.raw)), 0)
		if e != unix.EINTR {
			break
		}
	}
	switch e {
	case 0:
		fillX(out, &b.raw)
		return int64(b.raw.Blocks), 0
	case unix.ENOSYS, unix.EPERM:
		return b.stat(fd, name, int(flags), out)
	}
	return 0, e
}

func (b *statBuf) stat(fd int, name *byte, flags int, out *source.Stat) (blocks int64, e unix.Errno) {
	var err error
	if text := unix.BytePtrToString(name); text == "" {
		err = unix.Fstat(fd, &b.old)
	} else {
		err = unix.Fstatat(fd, text, &b.old, flags)
	}
	if err != nil {
		e, _ = err.(unix.Errno)
		return 0, e
	}
	fill(out, &b.old)
	return int64(b.old.Blocks), 0
}

func fillX(out *source.Stat, st *unix.Statx_t) {
	*out = source.Stat{
		Type: typeOf(uint32(st.Mode)), Mode: uint32(st.Mode) & 07777, UID: st.Uid, GID: st.Gid, Nlink: st.Nlink,
		Dev: unix.Mkdev(st.Dev_major, st.Dev_minor), Inode: st.Ino, Size: int64(st.Size),
		MtimeSec: st.Mtime.Sec, MtimeNsec: int32(st.Mtime.Nsec),
		CtimeSec: st.Ctime.Sec, CtimeNsec: int32(st.Ctime.Nsec),
	}
	if out.Type == source.Char || out.Type == source.Block {
		out.Rdev = unix.Mkdev(st.Rdev_major, st.Rdev_minor)
	}
}

// statFD is fstat; blocks are of 512 bytes.
func statFD(fd int, out *source.Stat) (blocks int64, err error) {
	var b statBuf
	var empty [1]byte
	blocks, e := b.statx(fd, &empty[0], unix.AT_EMPTY_PATH, out)
	if e != 0 {
		return 0, e
	}
	return blocks, nil
}
