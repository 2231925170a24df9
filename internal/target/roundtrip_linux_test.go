package target

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firn/internal/source"
	"firn/internal/source/dir"
)

var fixed = time.Unix(1_600_000_000, 123_456_789)

// item is all that a tree has at one path, read by calls of its own: neither the walker nor the target is trusted here.
type item struct {
	st      string
	content string
	xattrs  string
}

// survey reads a tree. Links are told by the first path of each inode.
func survey(t *testing.T, root string) map[string]item {
	t.Helper()
	out := map[string]item{}
	first := map[uint64]string{}
	var visit func(rel string)
	visit = func(rel string) {
		path := filepath.Join(root, rel)
		var st unix.Stat_t
		must(t, unix.Lstat(path, &st))
		var it item
		same := ""
		if st.Mode&unix.S_IFMT != unix.S_IFDIR && st.Nlink > 1 {
			if first[st.Ino] == "" {
				first[st.Ino] = rel
			}
			same = first[st.Ino]
		}
		it.st = fmt.Sprintf("%o %d:%d %d %d.%09d %s", st.Mode, st.Uid, st.Gid, st.Rdev, st.Mtim.Sec, st.Mtim.Nsec, same)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			it.content = content(t, path)
		case unix.S_IFLNK:
			it.content, _ = os.Readlink(path)
		}
		b := make([]byte, 65536)
		if n, err := unix.Llistxattr(path, b); err == nil {
			names := strings.Split(strings.Trim(string(b[:n]), "\x00"), "\x00")
			sort.Strings(names)
			for _, name := range names {
				v := make([]byte, 65536)
				if n, err := unix.Lgetxattr(path, name, v); err == nil && name != "" {
					it.xattrs += fmt.Sprintf("%s=%x;", name, v[:n])
				}
			}
		}
		out[rel] = it
		if st.Mode&unix.S_IFMT == unix.S_IFDIR {
			list, err := os.ReadDir(path)
			must(t, err)
			for _, e := range list {
				visit(filepath.Join(rel, e.Name()))
			}
		}
	}
	visit("")
	return out
}

// plant grows a random tree with every type and kind of metadata that this user may make.
func plant(t *testing.T, rng *rand.Rand, root string) {
	t.Helper()
	dirs, files := []string{root}, []string{}
	root0 := os.Geteuid() == 0
	for i := range 120 {
		path := filepath.Join(dirs[rng.IntN(len(dirs))], fmt.Sprintf("%s%d", []string{"a", "ö", "\xfe", "x y", "-", "\n"}[rng.IntN(6)], i))
		switch k := rng.IntN(10); {
		case k == 0:
			must(t, os.Mkdir(path, 0o755))
			dirs = append(dirs, path)
		case k == 1:
			must(t, os.Symlink([]string{"/nowhere", "a", "../x", "\xff"}[rng.IntN(4)], path))
		case k == 2:
			must(t, unix.Mkfifo(path, 0o600))
		case k == 3:
			must(t, unix.Mknod(path, unix.S_IFSOCK|0o600, 0))
		case k == 4 && root0:
			must(t, unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
		case k == 5 && len(files) > 0:
			must(t, os.Link(files[rng.IntN(len(files))], path))
		default:
			must(t, os.WriteFile(path, bytes.Repeat([]byte{byte(i)}, rng.IntN(4)*rng.IntN(200_000)), 0o644))
			files = append(files, path)
		}
	}
	adorn(t, rng, root, root0)
}

// adorn gives everything in a tree random metadata, from the leaves up.
func adorn(t *testing.T, rng *rand.Rand, root string, root0 bool) {
	t.Helper()
	var paths []string
	must(t, filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error { paths = append(paths, p); return err }))
	setfacl, _ := exec.LookPath("setfacl")
	for i := len(paths) - 1; i >= 0; i-- {
		p := paths[i]
		info, err := os.Lstat(p)
		must(t, err)
		if root0 && rng.IntN(2) == 0 {
			must(t, os.Lchown(p, rng.IntN(3000), rng.IntN(3000)))
		}
		if info.Mode()&os.ModeSymlink == 0 {
			mode := uint32(rng.IntN(0o10000)) | 0o400
			if info.IsDir() {
				mode |= 0o700
			}
			if info.Mode().IsRegular() || info.IsDir() {
				_ = unix.Setxattr(p, "user.test", []byte{byte(i), 0, 0xff}, 0)
			}
			must(t, unix.Chmod(p, mode))
			if setfacl != "" && rng.IntN(4) == 0 && (info.Mode().IsRegular() || info.IsDir()) {
				_ = exec.Command(setfacl, "-m", "u:1234:rw,g:77:r", p).Run()
				if info.IsDir() {
					_ = exec.Command(setfacl, "-d", "-m", "u:1234:rwx", p).Run()
				}
			}
			if root0 && info.Mode().IsRegular() && rng.IntN(4) == 0 {
				_ = unix.Setxattr(p, "security.capability", []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
			}
		}
		ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(rng.Int64N(4e9)-1e9, rng.Int32N(1e9))}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, p, ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// copyTree restores into a target what the source reads of a folder.
func copyTree(t *testing.T, from string, tg *Target) {
	t.Helper()
	tree, err := dir.Open(from, dir.Options{Problem: func(path []byte, err error) { t.Errorf("%q: %v", path, err) }})
	must(t, err)
	defer tree.Close()
	type folder struct {
		path []byte
		m    Meta
	}
	var folders []folder
	first := map[uint64][]byte{}
	must(t, tree.Walk(t.Context(), func(e *source.Entry) error {
		st, path := e.Stat, bytes.Clone(e.Path)
		d, err := tree.Details(path, &st)
		must(t, err)
		m := Meta{Type: st.Type, Mode: st.Mode, UID: int64(st.UID), GID: int64(st.GID), MtimeSec: st.MtimeSec, MtimeNsec: st.MtimeNsec,
			Major: unix.Major(st.Rdev), Minor: unix.Minor(st.Rdev), Xattrs: d.Xattrs}
		if st.Type == source.Dir {
			_, err := tg.Mkdir(path)
			folders = append(folders, folder{path, m})
			return err
		}
		if first[st.Inode] != nil {
			_, err := tg.Link(first[st.Inode], path)
			return err
		}
		first[st.Inode] = path
		return one(tree, tg, path, &m, d.Target)
	}))
	for i := len(folders) - 1; i >= 0; i-- {
		must(t, tg.Finish(folders[i].path, &folders[i].m))
	}
}

// one restores one entry that is no folder.
func one(tree *dir.Tree, tg *Target, path []byte, m *Meta, to string) error {
	switch m.Type {
	case source.File:
		c, err := tree.Open(path)
		if err != nil {
			return err
		}
		defer c.Close()
		data, err := io.ReadAll(c)
		if err != nil {
			return err
		}
		o, err := tg.WriteFile(path, &FileSpec{Meta: *m, Size: int64(len(data))}, data)
		if o != Kept || err != nil {
			return err
		}
	case source.Symlink:
		if _, err := tg.Symlink(path, to); err != nil {
			return err
		}
	default:
		if _, err := tg.Mknod(path, m); err != nil {
			return err
		}
	}
	return tg.Finish(path, m)
}

func compare(t *testing.T, want, got map[string]item) {
	t.Helper()
	for p, w := range want {
		if g, ok := got[p]; !ok || g != w {
			t.Errorf("%q:\n got %s %s (%d bytes)\nwant %s %s (%d bytes)", p, g.st, g.xattrs, len(g.content), w.st, w.xattrs, len(w.content))
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d entries, want %d", len(got), len(want))
	}
}

// TestRoundTrip restores random trees into an empty folder, over themselves, and over another tree.
func TestRoundTrip(t *testing.T) {
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 7))
		from, to := t.TempDir(), t.TempDir()
		plant(t, rng, from)
		want := survey(t, from)
		for _, policy := range []Overwrite{Never, Changed, Always} {
			tg := openAt(t, to, Options{Overwrite: policy})
			if policy == Always {
				adorn(t, rng, to, os.Geteuid() == 0)
			}
			if policy == Never && survives(t, to) {
				t.Fatal("not empty")
			}
			copyTree(t, from, tg)
			compare(t, want, survey(t, to))
			if l := tg.Limits(); os.Geteuid() == 0 && len(l) > 0 {
				t.Fatalf("%+v", l)
			}
		}
	}
}

func survives(t *testing.T, dir string) bool {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	return len(list) > 0
}

// TestInheritedACL restores into a folder that gives its ACL to all that is made in it.
func TestInheritedACL(t *testing.T) {
	setfacl, err := exec.LookPath("setfacl")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("setfacl is not installed")
	}
	from, to := t.TempDir(), t.TempDir()
	must(t, os.MkdirAll(filepath.Join(from, "d"), 0o750))
	must(t, os.WriteFile(filepath.Join(from, "d", "f"), []byte("x"), 0o604))
	if err := exec.Command(setfacl, "-d", "-m", "u:1234:rwx,g::rwx,o::rwx", to).Run(); err != nil {
		t.Skipf("no ACLs here: %v", err)
	}
	copyTree(t, from, openAt(t, to, Options{}))
	compare(t, survey(t, from), survey(t, to))
}
