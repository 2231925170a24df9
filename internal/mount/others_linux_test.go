//go:build linux && !386 && !arm && !mips && !mipsle

package mount

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"firn/internal/mounttest"
)

// reads reports whether a user may read a file, or list a folder.
func reads(t *testing.T, uid, gid uint32, path string) bool {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", `if test -d "$1"; then ls "$1"; else cat "$1"; fi`, "sh", path)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || !strings.Contains(string(out), "denied")) {
		t.Fatalf("%s: %v\n%s", path, err, out)
	}
	return err == nil
}

// open the way of the test's own folders to others.
func passable(t *testing.T, dir string) {
	t.Helper()
	for at := dir; at != "/" && at != os.TempDir(); at = filepath.Dir(at) {
		if err := os.Chmod(at, 0o755); err != nil && !errors.Is(err, syscall.EROFS) {
			t.Fatal(err)
		}
	}
}

const (
	eve   = 23456 // in the group of staff
	bob   = 12345
	staff = 34567
)

// TestOthers: who has not mounted it sees nothing, and where others may look, what mode, owner and access control list of a file let them.
func TestOthers(t *testing.T) {
	mounttest.Need(t, "setfacl")
	if !fuseHere(t) {
		return
	}
	w := newWorld(t)
	w.write("open", []byte("x"))
	w.write("own", []byte("x"))
	w.write("group", []byte("x"))
	w.write("list", []byte("x"))
	w.write("closed/below", []byte("x"))
	w.must(os.Chmod(w.src, 0o755))
	for name, mode := range map[string]os.FileMode{"open": 0o644, "own": 0o600, "group": 0o640, "list": 0o600, "closed": 0o700, "closed/below": 0o644} {
		w.must(os.Chmod(filepath.Join(w.src, name), mode))
		w.must(os.Lchown(filepath.Join(w.src, name), 0, staff))
	}
	mounttest.Do(t, "setfacl", "-m", "u:12345:r", filepath.Join(w.src, "list")) // its group has nothing still, though the mode says that it reads
	s := w.backup()
	for _, other := range []bool{false, true} {
		f := w.fs(func(o *Options) { o.AllowOther = other })
		m := show(t, f)
		passable(t, filepath.Dir(m.dir))
		if reads(t, eve, staff, m.dir) != other {
			t.Errorf("others may look: %v", !other)
		}
		if !other {
			continue
		}
		for _, c := range []struct {
			name     string
			uid, gid uint32
			want     bool
		}{
			{"open", eve, staff, true}, {"own", eve, staff, false}, {"group", eve, staff, true}, {"group", bob, bob, false}, {"list", bob, bob, true}, {"list", eve, staff, false}, {"list", eve, eve, false},
			{"closed/below", eve, eve, false}, {"closed", eve, staff, false},
		} {
			if got := reads(t, c.uid, c.gid, m.at(f, s, c.name)); got != c.want {
				t.Errorf("%s, user %d of group %d: %v", c.name, c.uid, c.gid, got)
			}
		}
	}
}

// TestInert: devices and set-user-id bits of a snapshot are to be seen, and do nothing.
func TestInert(t *testing.T) {
	if !fuseHere(t) {
		return
	}
	w := newWorld(t)
	w.must(syscall.Mknod(filepath.Join(w.src, "null"), syscall.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	w.write("program", []byte("#!/bin/sh\n"))
	w.must(os.Chmod(filepath.Join(w.src, "program"), 0o755|os.ModeSetuid))
	s := w.backup()
	f := w.fs(func(o *Options) { o.AllowOther = true })
	m := show(t, f)
	var st unix.Statfs_t
	w.must(unix.Statfs(m.dir, &st))
	if want := int64(unix.ST_NOSUID | unix.ST_NODEV | unix.ST_RDONLY); int64(st.Flags)&want != want {
		t.Errorf("flags %x", st.Flags)
	}
	if d, err := os.Open(m.at(f, s, "null")); !errors.Is(err, syscall.EACCES) {
		t.Error(d, err)
	}
	info, err := os.Stat(m.at(f, s, "program"))
	if err != nil || info.Mode()&os.ModeSetuid == 0 {
		t.Error(info, err)
	}
}
