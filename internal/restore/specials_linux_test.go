package restore_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// plantSpecials makes what only some systems and users can make.
func plantSpecials(w *world) {
	d := filepath.Join(w.src, "devices")
	w.must(os.Mkdir(d, 0o750))
	w.must(unix.Mkfifo(filepath.Join(d, "fifo"), 0o640))
	w.must(unix.Mknod(filepath.Join(d, "socket"), unix.S_IFSOCK|0o600, 0))
	if os.Geteuid() == 0 {
		w.must(unix.Mknod(filepath.Join(d, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		w.must(unix.Mknod(filepath.Join(d, "disk"), unix.S_IFBLK|0o660, int(unix.Mkdev(259, 70000))))
		w.write("owned", []byte("owned"))
		w.must(os.Chown(filepath.Join(w.src, "owned"), 1234, 2_000_000_000))
		w.must(unix.Chmod(filepath.Join(w.src, "owned"), 0o6755))
		w.must(os.Lchown(filepath.Join(d, "fifo"), 77, 88))
	}
	w.must(os.Link(filepath.Join(d, "fifo"), filepath.Join(d, "fifo2")))
	w.write("attributes", []byte("with attributes"))
	for name, value := range map[string]string{"user.one": "1", "user.bin": "\x00\xff=\n", "user.empty": ""} {
		if err := unix.Setxattr(filepath.Join(w.src, "attributes"), name, []byte(value), 0); err != nil {
			w.t.Logf("no attributes here: %v", err)
		}
	}
	sparse(w.t, filepath.Join(w.src, "sparse"), 3<<20, 1<<20)
	sparse(w.t, filepath.Join(w.src, "allhole"), 1<<20, 2<<20)
	ro := filepath.Join(w.src, "readonly")
	w.write("readonly/inside", []byte("x"))
	w.must(os.Chmod(ro, 0o555))
	w.t.Cleanup(func() { _ = os.Chmod(ro, 0o755) })
}

// sparse makes a file with data at its start, at one place and at its end, if it is so long.
func sparse(t testing.TB, path string, size, at int64) {
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	if at >= size {
		return
	}
	for i, off := range []int64{0, at, size - 5000} {
		if _, err := f.WriteAt(randomBytes(uint64(i)+1, 5000), off); err != nil {
			t.Fatal(err)
		}
	}
}

func allocated(t testing.TB, path string) int64 {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

func TestSparse(t *testing.T) {
	w := newWorld(t)
	sparse(t, filepath.Join(w.src, "sparse"), 64<<20, 32<<20)
	sparse(t, filepath.Join(w.src, "hole"), 64<<20, 1<<40)
	w.write("full", randomBytes(1, 1<<20))
	w.backup()
	o := w.options("out")
	w.clean(o)
	sameTree(t, w.src, o.Target)
	for name, most := range map[string]int64{"sparse": 128 << 10, "hole": 8 << 10} {
		if n := allocated(t, filepath.Join(o.Target, name)); n > most {
			t.Errorf("%s takes %d bytes on disk", name, n)
		}
	}
}

// quickDir makes a folder in memory, where syncing takes no time; "" where there is none that is large enough and keeps attributes.
func quickDir(t testing.TB) string {
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) != nil || int64(st.Bavail)*int64(st.Bsize) < 2<<30 {
		return ""
	}
	dir, err := os.MkdirTemp("/dev/shm", "firn-restore-test-")
	if err != nil {
		return ""
	}
	t.Cleanup(func() {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				_ = os.Chmod(path, 0o700)
			}
			return nil
		})
		_ = os.RemoveAll(dir)
	})
	if unix.Setxattr(dir, "user.probe", []byte("x"), 0) != nil {
		return ""
	}
	return dir
}
