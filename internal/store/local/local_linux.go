package local

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// renameNew renames temp to a name that must be free.
func (s *Store) renameNew(root *os.Root, folder *os.File, temp, to string) error {
	from, err := root.Open(filepath.Dir(temp))
	if err != nil {
		return err
	}
	defer from.Close()
	return control(from, folder, func(old, new int) error {
		return unix.Renameat2(old, filepath.Base(temp), new, filepath.Base(to), unix.RENAME_NOREPLACE)
	})
}

// control calls fn with the descriptors of two folders.
func control(a, b *os.File, fn func(a, b int) error) error {
	first, err := a.SyscallConn()
	if err != nil {
		return err
	}
	second, err := b.SyscallConn()
	if err != nil {
		return err
	}
	var inner, result error
	err = first.Control(func(x uintptr) {
		inner = second.Control(func(y uintptr) { result = fn(int(x), int(y)) })
	})
	if err != nil {
		return err
	}
	if inner != nil {
		return inner
	}
	return result
}

// beginWriteback asks the kernel to write out a range soon, so that the flush at the end has little left to wait for.
func beginWriteback(f *os.File, offset, length int64) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_ = unix.SyncFileRange(int(fd), offset, length, unix.SYNC_FILE_RANGE_WRITE) // only a hint
	})
}

// File systems that share a server's folder, or may (linux/magic.h; FUSE and Ceph: fs/fuse/inode.c, include/linux/ceph/ceph_fs.h). virtiofs has the number of FUSE.
const (
	magicNFS  = 0x6969
	magicSMB  = 0x517b
	magicCIFS = 0xff534d42
	magicSMB2 = 0xfe534d42
	magic9P   = 0x01021997
	magicAFS  = 0x5346414f
	magicCeph = 0x00c36400
	magicFUSE = 0x65735546
)

// weakness tells in what the file system at path falls short of the contract.
func weakness(path string) []string {
	var st unix.Statfs_t
	if unix.Statfs(path, &st) != nil {
		return nil
	}
	return weaknessOf(uint32(st.Type))
}

func weaknessOf(magic uint32) []string {
	switch magic {
	case magicNFS, magicSMB, magicCIFS, magicSMB2, magic9P, magicAFS, magicCeph:
		return []string{farAway}
	case magicFUSE:
		return []string{mayBeFar}
	}
	return nil
}
