//go:build linux || darwin || freebsd

package wizard

import "golang.org/x/sys/unix"

// room is how many bytes may be written below a folder; -1: nobody knows.
func room(path string) int64 {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return -1
	}
	return max(int64(st.Bavail)*int64(st.Bsize), 0)
}
