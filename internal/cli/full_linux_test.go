package cli_test

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// small mounts a file system of this size, where the user may, and returns what makes it larger.
func small(t *testing.T, dir, size string) (grow func(options string, flags uintptr)) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		if os.Getenv("CI") == "true" && os.Geteuid() == 0 {
			t.Fatalf("mounting: %v", err)
		}
		t.Skipf("mounting needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return func(options string, flags uintptr) {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|flags, options); err != nil {
			t.Fatal(err)
		}
	}
}

// newFull is a person with 6 MB of files that do not compress, and a file that was backed up before.
func newFull(t *testing.T) *hurt {
	dir := t.TempDir()
	h := &hurt{terminal: &terminal{t, dir, machine(dir, "FIRN_IDENTITY=key.txt")}}
	h.write("key.txt", identity+"\n")
	h.write("before/one", "one\n")
	sum := sha256.Sum256(nil)
	for _, name := range strings.Split("abcdef", "") {
		var b strings.Builder
		for b.Len() < 1<<20 {
			sum = sha256.Sum256(sum[:])
			b.Write(sum[:])
		}
		h.write("src/"+name, b.String())
	}
	h.at("world")
	return h
}

// begin makes the repository.
func (h *hurt) begin() {
	h.ok("init", "--recipient", recipient, "--kit-saved", "-q")
	h.ok("backup", "before", "-q")
}

// whole restores both sources and compares.
func (h *hurt) whole(folder string) {
	h.t.Helper()
	for source, files := range map[string]string{"before": "one", "src": "abcdef"} {
		target := filepath.Join(folder, source)
		h.ok("restore", "latest", "--source", source, "--target", target)
		if files == "abcdef" {
			files = "a b c d e f"
		}
		for _, name := range strings.Fields(files) {
			want, _ := os.ReadFile(filepath.Join(h.dir, source, name))
			if got, err := os.ReadFile(filepath.Join(h.dir, target, name)); err != nil || string(got) != string(want) {
				h.t.Errorf("%s/%s differs: %v", source, name, err)
			}
		}
	}
}

// TestFullStore fills the disk of the repository: what was there stays, and the same command succeeds once there is room. Then that disk cannot
// be written at all.
func TestFullStore(t *testing.T) {
	h := newFull(t)
	grow := small(t, filepath.Join(h.dir, "world"), "3m")
	h.begin()
	h.fails([]string{"firn: error: put", "no space left in store", "firn: hint: make room"}, "backup", "src", "--pack-size", "1M", "--json=false")
	h.ok("restore", "latest", "--source", "before", "--target", "still")
	if left, _ := filepath.Glob(filepath.Join(h.dir, "world", "repo", "~tmp", "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	grow("size=30m", 0)
	h.ok("backup", "src", "--pack-size", "1M")
	h.whole("out")

	grow("size=30m", unix.MS_RDONLY)
	h.fails([]string{"firn: error: ", "read-only", "firn: hint: make the store writable"}, "backup", "src")
	h.fails([]string{"firn: error: ", "read-only", "firn: hint: "}, "init", "world/other", "--recipient", recipient, "--kit-saved")
	h.ok("snapshots")
	h.whole("out2")
}

// TestFullTarget fills the disk that is restored to.
func TestFullTarget(t *testing.T) {
	h := newFull(t)
	h.begin()
	h.ok("backup", "src", "-q")
	grow := small(t, filepath.Join(h.dir, "disk"), "3m")
	out, errs, code := h.run("restore", "latest", "--source", "src", "--target", "disk/src")
	if code != 1 || !strings.HasPrefix(out, "stopped: ") || !strings.Contains(errs, "no space left on device") || !strings.Contains(errs, "hint: make room on that disk, then run the same command again") {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	if _, _, code := h.run("restore", "latest", "--source", "src", "--tar", "disk/src.tar"); code != 1 {
		t.Errorf("tar: code %d", code)
	}
	if found, _ := filepath.Glob(filepath.Join(h.dir, "disk", "*.tar*")); len(found) > 0 {
		t.Errorf("left: %q", found)
	}
	grow("size=30m", 0)
	h.whole("disk")
}

// TestFullState fills the disk that local state lies on, and takes the right to write there: runs take longer, say why once, and end well.
func TestFullState(t *testing.T) {
	h := newFull(t)
	h.begin()
	grow := small(t, filepath.Join(h.dir, "disk"), "64k")
	h.terminal = h.set("FIRN_CACHE_DIR", filepath.Join(h.dir, "disk", "cache"))
	h.terminal = h.set("FIRN_STATE_DIR", filepath.Join(h.dir, "disk", "state"))
	h.write("disk/rest", strings.Repeat("x", 48<<10))
	for _, step := range []string{"full", "read-only"} {
		for range 2 {
			out, errs, code := h.run("backup", "src")
			if code != 0 || strings.Count(errs, "going on without") != 1 {
				t.Errorf("%s: code %d\n%s%s", step, code, out, errs)
			}
		}
		h.whole("out-" + step)
		grow("size=64k", unix.MS_RDONLY)
	}
}
