//go:build unix

package restore

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownerOf returns the owner of a file.
func ownerOf(info os.FileInfo) (uid, gid int64, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1, false
	}
	return int64(st.Uid), int64(st.Gid), true
}

func deviceNumber(major, minor uint32) uint64 { return unix.Mkdev(major, minor) }
