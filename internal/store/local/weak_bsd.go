//go:build darwin || freebsd

package local

import (
	"strings"

	"golang.org/x/sys/unix"
)

// weakness tells in what the file system at path falls short of the contract.
func weakness(path string) []string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return nil
	}
	switch name := strings.ToLower(unix.ByteSliceToString(st.Fstypename[:])); {
	case uint64(st.Flags)&unix.MNT_LOCAL == 0: // nfs, smbfs, afpfs, webdav
		return []string{farAway}
	case strings.Contains(name, "fuse"), strings.Contains(name, "9p"), strings.Contains(name, "virtio"): // whatever they say of themselves
		return []string{mayBeFar}
	}
	return nil
}
