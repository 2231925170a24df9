package frozen

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// need skips a test without these programs; with CI=true that is a failure.
func need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			if inCI() {
				t.Fatal(err)
			}
			t.Skipf("needs %s: %v", p, err)
		}
	}
}

// readTree lists what lies on the disk.
func readTree(t testing.TB, root string) []item {
	t.Helper()
	var items []item
	first := map[uint64][]byte{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel := []byte(strings.TrimPrefix(strings.TrimPrefix(path, root), "/"))
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		i := item{Mode: fmt.Sprintf("%04o", st.Mode&07777), UID: int64(st.Uid), GID: int64(st.Gid), Mtime: mtime(int64(st.Mtim.Sec), int32(st.Mtim.Nsec)), Xattrs: xattrsOn(t, path)}
		i.setPath(rel)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			i.Type, i.Size, i.Holes, i.SHA256 = "file", st.Size, st.Blocks*512 < st.Size*3/4, sumFile(t, path)
		case unix.S_IFDIR:
			i.Type = "dir"
		case unix.S_IFLNK:
			i.Type = "symlink"
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			i.Target = b64([]byte(target))
		case unix.S_IFIFO:
			i.Type = "fifo"
		case unix.S_IFSOCK:
			i.Type = "socket"
		case unix.S_IFCHR, unix.S_IFBLK:
			i.Type = map[uint32]string{unix.S_IFCHR: "char", unix.S_IFBLK: "block"}[st.Mode&unix.S_IFMT]
			i.Rdev = []uint32{unix.Major(uint64(st.Rdev)), unix.Minor(uint64(st.Rdev))}
		}
		if i.Type != "dir" && st.Nlink > 1 {
			if f := first[st.Ino]; f != nil {
				i.Hardlink = b64(f)
			} else {
				first[st.Ino] = rel
			}
		}
		items = append(items, i)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sortItems(t, items)
	return items
}

func sumFile(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func xattrsOn(t testing.TB, path string) (out [][2]string) {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err == unix.ENOTSUP {
		return nil
	}
	if err != nil {
		t.Fatalf("%q: %v", path, err)
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Fatalf("%q: %v", path, err)
		}
		out = append(out, [2]string{b64([]byte(name)), b64(value[:n])})
	}
	return out
}

// maker builds a tree whose content depends on its seed alone.
type maker struct {
	t     testing.TB
	root  string
	state uint64
}

// next is xorshift64*, so that the content is the same for ever.
func (m *maker) next() uint64 {
	m.state ^= m.state >> 12
	m.state ^= m.state << 25
	m.state ^= m.state >> 27
	return m.state * 0x2545F4914F6CDD1D
}

func (m *maker) int(n int) int { return int(m.next() >> 1 % uint64(n)) }

// random returns n bytes that compress badly; sparsely: eight random bytes in every 512, which compress well and still cut.
func (m *maker) random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(m.next() >> 32)
	}
	return b
}

func (m *maker) thin(n int) []byte {
	b := make([]byte, n)
	for at := 0; at+8 <= n; at += 512 {
		for i, x := 0, m.next(); i < 8; i++ {
			b[at+i] = byte(x >> (8 * i))
		}
	}
	return b
}

func (m *maker) path(name string) string { return filepath.Join(m.root, name) }

func (m *maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *maker) file(name string, content []byte, mode os.FileMode) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	m.must(os.WriteFile(m.path(name), content, 0o600))
	m.must(os.Chmod(m.path(name), mode))
}

// extents writes a sparse file: step bytes of data in every stride.
func (m *maker) extents(name string, count, step, stride int, tail int64) {
	m.t.Helper()
	m.must(os.MkdirAll(filepath.Dir(m.path(name)), 0o755))
	f, err := os.Create(m.path(name))
	m.must(err)
	defer f.Close()
	for i := range count {
		_, err := f.WriteAt(m.thin(step), int64(i*stride))
		m.must(err)
	}
	m.must(f.Truncate(int64(count*stride) + tail))
}

// times gives everything a fixed time, below the root and the root itself.
func (m *maker) times() {
	m.t.Helper()
	var all []string
	m.must(filepath.WalkDir(m.root, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	for n := len(all) - 1; n >= 0; n-- {
		sec := int64(1_000_000_000 + m.int(700_000_000))
		if n%17 == 3 {
			sec = -sec / 2 // before 1970
		}
		ts := unix.NsecToTimespec(sec*1_000_000_000 + int64(m.int(1_000_000_000)))
		m.must(unix.UtimesNanoAt(unix.AT_FDCWD, all[n], []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// special makes an entry that only root may make, or that the file system may not take; where it cannot, it goes without.
func (m *maker) special(what string, err error) {
	if err != nil {
		m.t.Logf("goes without %s: %v", what, err)
	}
}

// everyKind makes entries of all types.
func (m *maker) everyKind() {
	m.t.Helper()
	m.file("docs/one", []byte("one\n"), 0o644)
	m.file("docs/two", []byte("two\n"), 0o640)
	m.file("docs/empty", nil, 0o600)
	m.file("docs/set-uid", []byte("#!/bin/sh\n"), 0o755|os.ModeSetuid)
	m.file("docs/read-only", []byte("stay\n"), 0o400)
	m.file("names/with space, \"quotes\", back\\slash and\nnewline", []byte("x"), 0o644)
	m.file("names/caf\xe9", []byte("latin 1"), 0o644)
	m.file("names/<&>\u2028ü/in", []byte("utf-8"), 0o644)
	m.file("names/a", []byte("sorts before a/ and a!"), 0o644)
	m.file("names/a!", []byte("!"), 0o644)
	m.file("names/b/c", []byte("below b"), 0o644)
	m.file("names/b!", []byte("behind b/c"), 0o644)
	m.must(os.Symlink("docs/one", m.path("link")))
	m.must(os.Symlink("nowhere/caf\xe9", m.path("names/dangling")))
	m.must(os.Link(m.path("docs/two"), m.path("docs/zwei")))
	m.must(os.Link(m.path("docs/two"), m.path("other-two")))
	m.must(os.Mkdir(m.path("hollow"), 0o700))
	m.must(os.Chmod(m.path("hollow"), 0o1777|os.ModeSticky))
	m.must(unix.Mkfifo(m.path("pipe"), 0o640))
	m.must(os.Link(m.path("pipe"), m.path("pipe too")))
	m.special("char device", unix.Mknod(m.path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	m.special("block device", unix.Mknod(m.path("disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
	m.special("owners", os.Lchown(m.path("docs/one"), 1234, 5678))
	m.special("owner of a link", os.Lchown(m.path("link"), 4321, 8765))
	m.special("attributes", unix.Setxattr(m.path("docs/one"), "user.firn", []byte("value\x00\xff"), 0))
	m.special("attribute that is not UTF-8", unix.Setxattr(m.path("docs/one"), "user.\xff\xfe", []byte("odd"), 0))
	m.special("attributes of folders", unix.Setxattr(m.path("docs"), "user.of folder", []byte{}, 0))
	m.special("capabilities", unix.Setxattr(m.path("docs/two"), "security.capability", []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 0))
}

// owner is who runs the tests.
func isRoot() bool { return syscall.Geteuid() == 0 }
