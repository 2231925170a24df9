package dir

import (
	"golang.org/x/sys/unix"

	"firn/internal/source"
)

// typeOf translates the type bits of st_mode.
func typeOf(mode uint32) source.Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return source.Dir
	case unix.S_IFLNK:
		return source.Symlink
	case unix.S_IFIFO:
		return source.FIFO
	case unix.S_IFCHR:
		return source.Char
	case unix.S_IFBLK:
		return source.Block
	case unix.S_IFSOCK:
		return source.Socket
	}
	return source.File
}

// fill translates struct stat, whose fields differ in width from one machine to the next.
func fill(out *source.Stat, st *unix.Stat_t) {
	*out = source.Stat{
		Type: typeOf(st.Mode), Mode: st.Mode & 07777, UID: st.Uid, GID: st.Gid, Nlink: uint32(st.Nlink),
		Rdev: uint64(st.Rdev), Dev: uint64(st.Dev), Inode: st.Ino, Size: st.Size,
		MtimeSec: int64(st.Mtim.Sec), MtimeNsec: int32(st.Mtim.Nsec),
		CtimeSec: int64(st.Ctim.Sec), CtimeNsec: int32(st.Ctim.Nsec),
	}
	if out.Type != source.Char && out.Type != source.Block {
		out.Rdev = 0
	}
}
