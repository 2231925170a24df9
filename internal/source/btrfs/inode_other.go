//go:build !linux

package btrfs

import "os"

// isSubvolume reports whether a path can be a subvolume: a folder.
func isSubvolume(path string) bool {
	st, err := os.Lstat(path)
	return err == nil && st.IsDir()
}
