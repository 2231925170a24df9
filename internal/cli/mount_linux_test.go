//go:build !386 && !arm && !mips && !mipsle

package cli_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firn/internal/coldtest"
	"firn/internal/mounttest"
)

// mountsHere runs a test in a process of its own with mounts of its own, and reports whether this is that process. It skips where the kernel has no FUSE, and, with CI=true, fails.
func mountsHere(t *testing.T) bool {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return mounttest.Privately(t)
}

// folder makes an empty folder, which is unmounted when the test ends.
func (c *terminal) folder(name string) string {
	c.t.Helper()
	path := filepath.Join(c.dir, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = syscall.Unmount(path, syscall.MNT_DETACH) })
	return path
}

// eventually waits until something is so.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 30_000 {
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("never: " + what)
}

func list(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestMountCommand: in the background, while backups and a prune go on; what is forgotten vanishes, and what was pruned while it was read fails and is told.
func TestMountCommand(t *testing.T) {
	if !mountsHere(t) {
		return
	}
	c := newLocal(t)
	if err := os.Mkdir(filepath.Join(c.dir, "src"), 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(c.dir, "src", "file")
	put(t, file, strings.Repeat("first ", 100_000))
	c.ok("backup", "src", "--source", "docs", "-q", "--tag", "first one")
	put(t, filepath.Join(c.dir, "other"), "another source\n")
	c.ok("backup", "other", "-q")
	dir := c.folder("mnt")
	c.says(0, []string{"mounted 1 snapshot of 1 source on \"mnt\""}, "mount", "mnt", "--detach", "--log", "log", "--refresh", "1s", "--source", "docs", "--owner", "12345:54321")
	if got := list(t, dir) + " / " + list(t, dir+"/sources") + " / " + list(t, dir+"/tags"); got != "dates hosts ids sources tags / docs / first_one" {
		t.Error(got)
	}
	old := dir + "/sources/docs/" + strings.Fields(list(t, dir+"/sources/docs"))[0]
	var st unix.Stat_t
	if err := unix.Stat(old+"/file", &st); err != nil || st.Uid != 12345 || st.Gid != 54321 || st.Size != 600_000 {
		t.Errorf("%+v, %v", st, err)
	}
	if err := os.Mkdir(filepath.Join(c.dir, "repo", "mnt"), 0o755); err != nil {
		t.Fatal(err)
	}
	c.says(1, []string{"lies in the repository", "hint: choose another folder"}, "mount", "repo/mnt")
	if err := os.Remove(filepath.Join(c.dir, "repo", "mnt")); err != nil {
		t.Fatal(err)
	}
	c.says(1, []string{"snapshots are mounted there already", "hint: ", "umount mnt"}, "mount", "mnt")
	put(t, file, strings.Repeat("second ", 100_000))
	c.ok("backup", "src", "--source", "docs", "-q", "--full")
	latest := dir + "/sources/docs/latest/file"
	eventually(t, "a new snapshot is there", func() bool {
		raw, err := os.ReadFile(latest)
		return err == nil && strings.HasPrefix(string(raw), "second ")
	})
	c.ok("forget", "latest~1", "--source", "docs", "--yes", "-q")
	eventually(t, "a forgotten snapshot is gone", func() bool {
		_, err := os.Stat(old)
		return errors.Is(err, os.ErrNotExist)
	})
	c.ok("prune", "--keep-all", "--grace", "0", "-q")
	if raw, err := os.ReadFile(latest); err != nil || len(raw) != 700_000 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
	if err := syscall.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log tells that it is unmounted", func() bool {
		raw, err := os.ReadFile(filepath.Join(c.dir, "log"))
		return err == nil && strings.Contains(string(raw), `note: "mnt" is unmounted`)
	})
}

// TestMountPruned: a snapshot is pruned while somebody is in it: what the kernel has is there, the rest fails at once, and is told.
func TestMountPruned(t *testing.T) {
	if !mountsHere(t) {
		return
	}
	c := newLocal(t)
	for _, name := range []string{"src", "src/a", "src/b"} {
		if err := os.Mkdir(filepath.Join(c.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(c.dir, name, "file"), strings.Repeat(name, 100_000))
	}
	c.ok("backup", "src", "-q")
	dir := c.folder("mnt")
	c.ok("mount", "mnt", "--detach", "--log", "log", "--refresh", "1s")
	sources := dir + "/sources/" + list(t, dir+"/sources")
	inside, err := os.Open(sources + "/latest")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = inside.Close() }()
	put(t, filepath.Join(c.dir, "src/file"), "all is new")
	for _, name := range []string{"src/a", "src/b"} {
		if err := os.RemoveAll(filepath.Join(c.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c.ok("backup", "src", "-q", "--full")
	c.ok("prune", "--keep-last", "1", "--burst", "0", "--grace", "0", "-q")
	c.ok("prune", "--keep-last", "1", "--burst", "0", "--grace", "0", "-q")
	fd, err := unix.Openat(int(inside.Fd()), "a/file", unix.O_RDONLY, 0)
	if err == nil {
		_, err = unix.Read(fd, make([]byte, 10))
		_ = unix.Close(fd)
	}
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("of what was pruned: %v", err)
	}
	raw, err := os.ReadFile(filepath.Join(c.dir, "log"))
	if err != nil || !strings.Contains(string(raw), "is not in the repository any more") {
		t.Errorf("%s, %v", raw, err)
	}
	eventually(t, "the new one is there", func() bool {
		raw, err := os.ReadFile(sources + "/latest/file")
		return err == nil && string(raw) == "all is new"
	})
}

// TestMountForeground: it says that it is mounted, as JSON too, and ends by a signal with nothing left behind; what makes no sense is refused before.
func TestMountForeground(t *testing.T) {
	if !mountsHere(t) {
		return
	}
	c := newLocal(t)
	put(t, filepath.Join(c.dir, "file"), "content")
	c.ok("backup", "file", "-q")
	dir := c.folder("mnt")
	cmd, errs := c.command("mount", "mnt", "--json=events")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err, errs)
	}
	var said map[string]any
	if err := json.Unmarshal([]byte(line), &said); err != nil || said["event"] != "mount" || said["path"] != dir || said["pid"] != float64(cmd.Process.Pid) || said["snapshots"] != 1.0 || said["sources"] != 1.0 {
		t.Error(line)
	}
	busy, err := os.Open(dir + "/ids")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(busy.Close(), cmd.Process.Signal(syscall.SIGHUP)); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err, errs)
	}
	if got := list(t, dir); got != "" {
		t.Errorf("left behind: %s", got)
	}
	for _, args := range [][]string{{"mount"}, {"mount", "a", "b"}, {"mount", "mnt", "--refresh", "0s"}, {"mount", "mnt", "--owner", "nobody such"}, {"mount", "mnt", "--cache", "1K"}, {"mount", "mnt", "--log", "x"}} {
		c.says(2, []string{"error: "}, args...)
	}
	c.says(1, []string{"no such file or directory", "hint: mkdir -p "}, "mount", "gone")
	c.says(1, []string{"is not a folder"}, "mount", "key.txt")
	c.says(1, []string{"no source"}, "mount", "mnt", "--source", "no such")
	c.says(1, []string{"no source"}, "mount", "mnt", "--source", "no such", "--detach")
	if err := os.Remove(filepath.Join(c.dir, "repo", "firn.json")); err != nil {
		t.Fatal(err)
	}
	c.says(1, []string{"error: "}, "mount", "mnt")
}

// TestMountCold: files in Deep Archive are shown, and fail at once when they are read, with the command that tells what to do; once it was done they are read.
func TestMountCold(t *testing.T) {
	if !mountsHere(t) {
		return
	}
	x := newCold(t, coldtest.Options{}, 4)
	x.begin("DEEP_ARCHIVE")
	dir := x.folder("mnt")
	show := func() string {
		x.ok("mount", "mnt", "--detach")
		return dir + "/sources/" + list(t, dir+"/sources") + "/latest"
	}
	at := show()
	x.server.ForgetRequests()
	if err := filepath.WalkDir(at+"/", func(_ string, d os.DirEntry, err error) error {
		if err == nil {
			_, err = d.Info()
		}
		return err
	}); err != nil {
		t.Error(err)
	}
	x.untouched("looking around")
	for _, name := range []string{"d0/f00", "d1/f01", "d0/f00"} {
		if _, err := os.ReadFile(filepath.Join(at, name)); !errors.Is(err, syscall.ENOMEDIUM) {
			t.Errorf("%s: %v", name, err)
		}
	}
	x.thaws()
	why := make([]byte, 1000)
	n, err := unix.Getxattr(at+"/d0/f00", "user.firn.error", why)
	if err != nil {
		t.Fatal(err)
	}
	_, command, ok := strings.Cut(string(why[:n]), ": firn ")
	if !ok {
		t.Fatalf("%s", why[:n])
	}
	x.wants(x.ok(strings.Fields(command)...), "1 file") // it is a command that works
	if err := exec.Command("umount", dir).Run(); err != nil {
		t.Fatal(err)
	}
	x.ok("thaw", "latest", "--yes", "--tier", "bulk", "--poll", "200ms")
	at = show()
	for _, name := range []string{"d0/f00", "d1/f01", "small/s1.txt"} {
		want, err1 := os.ReadFile(filepath.Join(x.dir, x.src, name))
		got, err2 := os.ReadFile(filepath.Join(at, name))
		if err1 != nil || err2 != nil || string(want) != string(got) {
			t.Errorf("%s: %v, %v", name, err1, err2)
		}
	}
}
