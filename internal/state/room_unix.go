//go:build linux || darwin || freebsd

package state

import "golang.org/x/sys/unix"

// roomIn returns how many bytes may be written below a folder.
func roomIn(path string) (n int64, ok bool) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0, false
	}
	n = int64(st.Bavail) * int64(st.Bsize)
	return max(n, 0), true
}
