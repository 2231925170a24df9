//go:build linux

package mounttest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const private = "FIRN_TEST_PRIVATE"

// Privately runs the test that calls it once more, in a process of its own, and reports whether this is that process; where it is not, the test is done. It skips in short runs and where one of the
// programs or the right to mount is missing, and, with CI=true, fails for a program.
func Privately(t *testing.T, programs ...string) bool {
	t.Helper()
	if os.Getenv(private) == t.Name() {
		set := errors.Join(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), syscall.Mount("proc", "/proc", "proc", 0, ""), syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""),
			syscall.Mount("tmpfs", "/var/lib", "tmpfs", 0, ""), os.MkdirAll("/run/lock", 0o755))
		if set != nil {
			t.Fatal(set)
		}
		t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
		return true
	}
	if testing.Short() {
		t.Skip("left out of short runs")
	}
	Need(t, programs...)
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), private+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EINVAL):
		t.Skip("no mounts of its own here: ", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	default:
		t.Logf("%s", out)
	}
	return false
}

// Need skips a test where a program is missing, and fails it with CI=true.
func Need(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		_, err := exec.LookPath(name)
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			if err != nil {
				_, err = exec.LookPath(filepath.Join(dir, name))
			}
		}
		switch {
		case err != nil && os.Getenv("CI") == "true":
			t.Fatal(err)
		case err != nil:
			t.Skip(err)
		}
	}
}

// Try runs a program that may fail.
func Try(name string, args ...string) error { return exec.Command(name, args...).Run() }

// Do runs a program that has to work, and returns what it prints. What was mounted in zfs-fuse stays busy for a moment.
func Do(t *testing.T, name string, args ...string) string {
	t.Helper()
	var out []byte
	var err error
	for range 6000 {
		if out, err = exec.Command(name, args...).CombinedOutput(); err == nil {
			return strings.TrimSpace(string(out))
		}
		if !bytes.Contains(out, []byte("busy")) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	return ""
}

// StartZFS starts zfs-fuse, without pools, and returns a folder for these. Privately has to come before.
func StartZFS(t *testing.T) (dir string) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err)
	}
	dir = t.TempDir()
	daemon := exec.Command("zfs-fuse", "-n", "--no-kstat-mount", "-m", "64")
	daemon.Dir = dir
	var said bytes.Buffer
	daemon.Stderr = &said
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		unmount(dir) // so that the folder can be removed
	})
	for range 30_000 {
		if Try("zpool", "list") == nil {
			return dir
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("zfs-fuse does not start: %s", said.Bytes())
	return dir
}

// Pool makes a pool on a file of so many MiB in a folder of StartZFS, mounted at dir/name.
func Pool(t *testing.T, dir, name string, size int64) {
	t.Helper()
	img := filepath.Join(dir, name+".img")
	if err := errors.Join(os.WriteFile(img, nil, 0o600), os.Truncate(img, size<<20)); err != nil {
		t.Fatal(err)
	}
	Do(t, "zpool", "create", "-o", "cachefile=none", "-m", filepath.Join(dir, name), name, img)
}

// Btrfs makes a file system on a file of so many MiB, and returns where it is mounted. Privately has to come before.
func Btrfs(t *testing.T, size int64) (root string) {
	t.Helper()
	if b, err := os.ReadFile("/proc/filesystems"); err != nil || !bytes.Contains(b, []byte("\tbtrfs\n")) {
		t.Skip("the kernel has no btrfs")
	}
	root = filepath.Join(t.TempDir(), "disk")
	img := root + ".img"
	if err := errors.Join(os.Mkdir(root, 0o755), os.WriteFile(img, nil, 0o600), os.Truncate(img, size<<20)); err != nil {
		t.Fatal(err)
	}
	Do(t, "mkfs.btrfs", "-q", img)
	if out, err := exec.Command("mount", "-o", "loop", img, root).CombinedOutput(); err != nil {
		t.Skipf("a file cannot be mounted: %s", out)
	}
	t.Cleanup(func() { unmount(root) })
	return root
}

// unmount unmounts all below a folder, the last one first.
func unmount(dir string) {
	b, _ := os.ReadFile("/proc/self/mounts")
	var list []string
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && strings.HasPrefix(f[1], dir) {
			list = append([]string{f[1]}, list...)
		}
	}
	for _, m := range list {
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
	}
}
