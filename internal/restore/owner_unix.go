//go:build unix

package restore

import (
	"os"
	"syscall"
)

// ownerOf returns the owner of a file, and how many names it has.
func ownerOf(info os.FileInfo) (uid, gid int64, names uint64, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1, 1, false
	}
	return int64(st.Uid), int64(st.Gid), uint64(st.Nlink), true
}
