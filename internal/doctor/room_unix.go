//go:build linux || darwin || freebsd

package doctor

import "golang.org/x/sys/unix"

// room returns how many bytes this user can still write to a folder.
func room(path string) (bytes int64, known bool) {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return 0, false
	}
	return int64(st.Bavail) * int64(st.Bsize), true
}
