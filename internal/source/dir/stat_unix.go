//go:build unix && !linux

package dir

import (
	"errors"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

const openFlags = unix.O_NOFOLLOW | unix.O_NONBLOCK

// openError names what O_NOFOLLOW says of a symlink.
func openError(err error) error {
	if errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.ENXIO) {
		return ErrNotRegular
	}
	return err
}

// fill translates what lstat has told the standard library.
func fill(out *source.Stat, info fs.FileInfo) {
	*out = source.Stat{Size: info.Size(), MtimeSec: info.ModTime().Unix(), MtimeNsec: int32(info.ModTime().Nanosecond()), Nlink: 1}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return
	}
	mode := uint32(st.Mode)
	out.Mode, out.UID, out.GID, out.Nlink = mode&07777, st.Uid, st.Gid, uint32(st.Nlink)
	out.Dev, out.Inode = uint64(st.Dev), uint64(st.Ino)
	out.CtimeSec, out.CtimeNsec = changeTime(st)
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		out.Type = source.Dir
	case unix.S_IFLNK:
		out.Type = source.Symlink
	case unix.S_IFIFO:
		out.Type = source.FIFO
	case unix.S_IFCHR:
		out.Type, out.Rdev = source.Char, uint64(st.Rdev)
	case unix.S_IFBLK:
		out.Type, out.Rdev = source.Block, uint64(st.Rdev)
	case unix.S_IFSOCK:
		out.Type = source.Socket
	}
}
