package zfs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// privately runs the test that calls it once more, in a process of its own that sees mounts and processes of its own, and reports whether this is that process. zfs-fuse has fixed places for its
// socket, its lock and its list of pools: there they are ours alone, and nothing stays mounted or running, however the test ends.
func privately(t *testing.T) bool {
	t.Helper()
	if os.Getenv("FIRN_TEST_PRIVATE") == t.Name() {
		return true
	}
	need(t, "zfs-fuse", "zfs", "zpool")
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip(err)
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), "FIRN_TEST_PRIVATE="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("--- FAIL")) && (strings.Contains(err.Error(), "not permitted") || strings.Contains(err.Error(), "invalid argument")) {
		t.Skip("no private mounts here: ", err)
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	return false
}

// need skips a test where a program is missing, but not where everything has to be tested.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, n := range names {
		_, err := exec.LookPath(n)
		if err != nil && n != "zstd" {
			_, err = exec.LookPath(filepath.Join("/usr/sbin", n))
		}
		switch {
		case err != nil && os.Getenv("CI") == "true":
			t.Fatal(err)
		case err != nil:
			t.Skip(err)
		}
	}
}

// fuse is a running zfs-fuse with one pool of a given size in MiB, mounted below a folder.
type fuse struct {
	t    *testing.T
	root string // of the file system "tank"
	dir  string
}

func newFuse(t *testing.T, size int64) *fuse {
	t.Helper()
	f := &fuse{t: t, dir: t.TempDir()}
	f.root = filepath.Join(f.dir, "tank")
	try := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	try(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	try(syscall.Mount("proc", "/proc", "proc", 0, ""))
	try(syscall.Mount("tmpfs", "/run", "tmpfs", 0, ""))
	try(syscall.Mount("tmpfs", "/var/lib", "tmpfs", 0, ""))
	try(os.MkdirAll("/run/lock", 0o755))
	t.Setenv("PATH", os.Getenv("PATH")+":/usr/sbin:/sbin")
	daemon := exec.Command("zfs-fuse", "-n", "--no-kstat-mount", "-m", "64")
	daemon.Dir = f.dir
	var said bytes.Buffer
	daemon.Stderr = &said
	try(daemon.Start())
	t.Cleanup(func() {
		_ = daemon.Process.Kill()
		_ = daemon.Wait()
		for _, m := range mounts() { // so that the folder can be removed
			if strings.HasPrefix(m, f.dir) {
				_ = syscall.Unmount(m, syscall.MNT_DETACH)
			}
		}
	})
	for range 1000 {
		if exec.Command("zpool", "list").Run() == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	f.pool("tank", size)
	return f
}

// pool makes a pool on a file.
func (f *fuse) pool(name string, size int64) {
	f.t.Helper()
	img := filepath.Join(f.dir, name+".img")
	if err := os.WriteFile(img, nil, 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Truncate(img, size<<20); err != nil {
		f.t.Fatal(err)
	}
	f.do("zpool", "create", "-o", "cachefile=none", "-m", filepath.Join(f.dir, name), name, img)
}

// do runs a program that has to work, and returns what it prints. What was mounted in zfs-fuse stays busy for a moment.
func (f *fuse) do(name string, args ...string) string {
	f.t.Helper()
	var out []byte
	var err error
	for range 200 {
		if out, err = exec.Command(name, args...).CombinedOutput(); err == nil {
			return strings.TrimSpace(string(out))
		}
		if !bytes.Contains(out, []byte("busy")) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	f.t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	return ""
}

func mounts() (list []string) {
	b, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 {
			list = append([]string{f[1]}, list...)
		}
	}
	return list
}

// try runs a program that may fail.
func (f *fuse) try(name string, args ...string) error { return exec.Command(name, args...).Run() }
