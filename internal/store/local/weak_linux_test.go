package local

import (
	"testing"

	"golang.org/x/sys/unix"
)

// A folder that other machines may change under this one is told from a disk.
func TestWeakness(t *testing.T) {
	for magic, want := range map[uint32]string{
		unix.EXT4_SUPER_MAGIC: "", unix.XFS_SUPER_MAGIC: "", unix.BTRFS_SUPER_MAGIC: "", unix.TMPFS_MAGIC: "", 0x2fc12fc1: "", // ZFS
		unix.NFS_SUPER_MAGIC: farAway, unix.SMB_SUPER_MAGIC: farAway, unix.CIFS_SUPER_MAGIC: farAway, unix.SMB2_SUPER_MAGIC: farAway, unix.V9FS_MAGIC: farAway,
		unix.AFS_SUPER_MAGIC: farAway, unix.CEPH_SUPER_MAGIC: farAway, unix.FUSE_SUPER_MAGIC: mayBeFar,
	} {
		got := weaknessOf(magic)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || got[0] != want) {
			t.Errorf("%#x: %q, want %q", magic, got, want)
		}
	}
}
