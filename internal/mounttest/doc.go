// Package mounttest runs tests among mounts and processes of their own, with file systems on files: zfs-fuse and btrfs. However such a test ends, nothing stays mounted or running, and tests that each have a
// daemon of their own run side by side: zfs-fuse has fixed places for its socket, its lock and its list of pools.
package mounttest
