package dir

import (
	"bytes"
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

	"firn/internal/source"
)

func openTree(t *testing.T, root string) *Tree {
	t.Helper()
	tree, err := Open(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tree.Close() })
	return tree
}

func TestOpenRefuses(t *testing.T) {
	root := t.TempDir()
	for _, err := range []error{unix.Mkfifo(filepath.Join(root, "fifo"), 0o600), os.Symlink("/etc/passwd", filepath.Join(root, "link")), os.Symlink("/etc", filepath.Join(root, "etc")),
		os.Mkdir(filepath.Join(root, "dir"), 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tree := openTree(t, root)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for _, p := range []string{"fifo", "link", "dir"} {
			if _, err := tree.Open([]byte(p)); !errors.Is(err, ErrNotRegular) {
				t.Errorf("%s: %v", p, err)
			}
		}
		for _, p := range []string{"etc/passwd", "../x", "dir/..", "dir/../../x", "", "a\x00b", "dir/"} {
			if c, err := tree.Open([]byte(p)); err == nil {
				c.Close()
				t.Errorf("%q was opened", p)
			}
		}
	}()
	select {
	case <-finished:
	case <-time.After(5 * time.Minute):
		t.Fatal("hangs")
	}
}

func TestContent(t *testing.T) {
	root := t.TempDir()
	data := bytes.Repeat([]byte("0123456789"), 1000)
	path := filepath.Join(root, "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	tree := openTree(t, root)
	c, err := tree.Open([]byte("file"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b := make([]byte, 100)
	if _, err := c.ReadAt(b, 95); err != nil || !bytes.Equal(b, data[95:195]) {
		t.Fatal(err)
	}
	all, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(all, data) {
		t.Fatal(len(all), err)
	}
	if n, err := c.ReadAt(b, int64(len(data))-5); n != 5 || err != io.EOF {
		t.Fatal(n, err)
	}
	if start, end, err := c.NextData(7, int64(len(data))); start != 7 || end != int64(len(data)) || err != nil {
		t.Fatal(start, end, err)
	}
	if err := os.WriteFile(path, data[:10], 0o600); err != nil {
		t.Fatal(err)
	}
	if st, err := c.Stat(); err != nil || st.Size != 10 {
		t.Fatal(st, err)
	}
}

func TestSparse(t *testing.T) {
	root := t.TempDir()
	f, err := os.Create(filepath.Join(root, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	for _, off := range []int64{8 << 20, 40 << 20} {
		if _, err := f.WriteAt(bytes.Repeat([]byte("x"), 1<<20), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	f.Close()
	c, err := openTree(t, root).Open([]byte("sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var data int64
	pieces := 0
	for off := int64(0); off < size; pieces++ {
		start, end, err := c.NextData(off, size)
		if err != nil || start < off || end < start || start == end && start != size {
			t.Fatal(start, end, err)
		}
		data += end - start
		off = end
	}
	if data < 2<<20 || data > 4<<20 || pieces != 3 {
		t.Skipf("the file system of the temporary folder reports %d bytes of data in %d pieces", data, pieces)
	}
}

func TestDetails(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "file")
	long := strings.Repeat("t/", 1500)
	for _, err := range []error{os.WriteFile(path, nil, 0o600), os.Symlink(long, filepath.Join(root, "link"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tree := openTree(t, root)
	if d, err := tree.Details([]byte("link"), &source.Stat{Type: source.Symlink}); err != nil || d.Target != long {
		t.Fatal(err)
	}
	for name, value := range map[string][]byte{"user.b": {0, 1, 255}, "user.a": bytes.Repeat([]byte("v"), 2000), "user.empty": {}} {
		if err := unix.Setxattr(path, name, value, 0); err != nil {
			t.Skipf("no extended attributes here: %v", err)
		}
	}
	want := []string{"user.a", "user.b", "user.empty"}
	if setfacl, err := exec.LookPath("setfacl"); err == nil && exec.Command(setfacl, "-m", "u:12345:r", path).Run() == nil {
		want = append([]string{"system.posix_acl_access"}, want...)
	}
	if os.Geteuid() == 0 {
		capability := []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} // cap_net_bind_service, version 2
		if unix.Setxattr(path, "security.capability", capability, 0) == nil {
			want = append([]string{"security.capability"}, want...)
		}
	}
	if strings.HasPrefix(want[0], "security") && len(want) > 1 && strings.HasPrefix(want[1], "system") {
		t.Log("with ACL and capability")
	}
	defer noXattrAt.Store(noXattrAt.Load())
	for range 2 { // the second time through /proc
		d, err := tree.Details([]byte("file"), &source.Stat{Type: source.File})
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, x := range d.Xattrs {
			if x.Name != "security.selinux" {
				names = append(names, x.Name)
			}
			if x.Name == "user.a" && len(x.Value) != 2000 {
				t.Fatal(len(x.Value))
			}
		}
		same(t, names, want)
		if _, err := tree.Details(nil, &source.Stat{Type: source.Dir}); err != nil {
			t.Fatal(err)
		}
		noXattrAt.Store(true)
	}
}

func TestNames(t *testing.T) {
	tree := openTree(t, t.TempDir())
	for range 2 {
		if u, g := tree.Names(0, 0); u != "root" || g == "" {
			t.Skipf("user 0 is %q, group 0 %q", u, g)
		}
	}
	if u, g := tree.Names(4000000000, 4000000001); u != "" || g != "" {
		t.Fatal(u, g)
	}
}

// TestPlainUser runs the tests of this package again without rights, and what only such a user meets.
func TestPlainUser(t *testing.T) {
	if os.Geteuid() != 0 {
		root := t.TempDir()
		for _, name := range []string{"closed", "open"} {
			if err := os.MkdirAll(filepath.Join(root, name, "in"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(filepath.Join(root, "closed"), 0); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(filepath.Join(root, "closed"), 0o755)
		g := walkAll(t, root, Options{})
		same(t, g.paths, []string{"", "closed", "open", "open/in"})
		if !errors.Is(g.problems["closed"], os.ErrPermission) || len(g.problems) != 1 {
			t.Fatal(g.problems)
		}
		if c, err := openTree(t, "/etc").Open([]byte("passwd")); err != nil {
			t.Fatal(err) // a foreign file: O_NOATIME is refused
		} else {
			c.Close()
		}
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tmp, err := os.MkdirTemp("", "firn")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	copied := filepath.Join(tmp, "test")
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{os.WriteFile(copied, program, 0o755), os.Chmod(copied, 0o755), os.Chmod(tmp, 0o777)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(copied, "-test.run", "^(TestPlainUser|TestWalkOrder|TestOpenRefuses|TestDetails|TestContent|TestRoots)$")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.SysProcAttr = asNobody()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func asNobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
