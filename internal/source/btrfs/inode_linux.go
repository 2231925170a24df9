package btrfs

import "syscall"

// rootInode is the inode of every subvolume's root (BTRFS_FIRST_FREE_OBJECTID).
const rootInode = 256

// isSubvolume reports whether a path can be a subvolume, without asking the program.
func isSubvolume(path string) bool {
	var st syscall.Stat_t
	return syscall.Lstat(path, &st) == nil && st.Mode&syscall.S_IFMT == syscall.S_IFDIR && st.Ino == rootInode
}
