//go:build linux && !386 && !arm && !mips && !mipsle

package mount

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	directFlags = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_RDONLY
	deviceLess  = false
	errnoCold   = syscall.ENOMEDIUM // nothing is damaged: the medium has to be fetched
	seekData    = unix.SEEK_DATA
	seekHole    = unix.SEEK_HOLE
)

// inert says that set-user-id bits and devices of a snapshot do nothing here.
var inert = []string{"nosuid", "nodev"}

// deviceNumber is a device as the kernel codes it for FUSE (new_encode_dev).
func deviceNumber(major, minor uint32) uint32 { return minor&0xff | major<<8 | minor&^0xff<<12 }

// helper is the program that mounts for users; root needs none.
func helper() (string, error) {
	for _, name := range []string{"fusermount3", "fusermount", "/bin/fusermount3", "/bin/fusermount"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNoHelper
}

func checkHelper() error {
	if os.Geteuid() == 0 {
		return nil
	}
	_, err := helper()
	return err
}

// detachPoint unmounts what is in use.
func detachPoint(dir string) error {
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err == nil {
		return nil
	}
	path, err := helper()
	if err != nil {
		return err
	}
	if out, err := exec.Command(path, "-u", "-z", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

// abortOf returns what makes all requests of a mounted folder fail, where the kernel offers that. It asks nothing of the file system but what the kernel knows.
func abortOf(dir string) (func(), error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, unix.AT_STATX_DONT_SYNC, 0, &st); err != nil {
		return func() {}, nil // it goes without
	}
	at := filepath.Join("/sys/fs/fuse/connections", fmt.Sprint(unix.Mkdev(st.Dev_major, st.Dev_minor)), "abort")
	return func() { _ = os.WriteFile(at, []byte("1"), 0) }, nil
}
