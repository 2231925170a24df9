//go:build linux && !386 && !arm && !mips && !mipsle

package mount

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firn/internal/manifest"
	"firn/internal/mounttest"
	"firn/internal/snapshot"
)

// fuseHere runs a test in a process of its own with mounts of its own, and reports whether this is that process. It skips where the kernel has no FUSE, and, with CI=true, fails.
func fuseHere(t *testing.T) bool {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return mounttest.Privately(t)
}

// mounted is an FS on a folder.
type mounted struct {
	dir  string
	end  context.CancelFunc
	done chan struct{}
	err  error
}

func (m *mounted) wait(t *testing.T) {
	t.Helper()
	if <-m.done; m.err != nil {
		t.Error(m.err)
	}
	if err := CheckPoint(m.dir); err != nil {
		t.Error("afterwards: ", err)
	}
}

// show mounts an FS until the test ends.
func show(t testing.TB, f *FS) *mounted {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	m := &mounted{dir: t.TempDir(), end: cancel, done: make(chan struct{})}
	up := make(chan struct{})
	go func() {
		defer close(m.done)
		m.err = Run(ctx, f, m.dir, func() { close(up) })
	}()
	t.Cleanup(func() {
		_ = syscall.Unmount(m.dir, syscall.MNT_DETACH)
		cancel()
		<-m.done
	})
	select {
	case <-up:
	case <-m.done:
		if errors.Is(m.err, syscall.EPERM) {
			t.Skip("may not mount: ", m.err)
		}
		t.Fatal(m.err)
	}
	return m
}

func (m *mounted) at(f *FS, s *snapshot.Snapshot, path string) string {
	return filepath.Join(m.dir, "sources", f.names.source[s.Source.ID], f.names.date[s.ID], path)
}

// plant makes a source with all that a file system can have.
func plant(w *world) {
	t := w.t.(*testing.T)
	for i := range 700 {
		w.write(fmt.Sprintf("many/%s%03d", strings.Repeat("long name ", i%20), i), []byte(fmt.Sprint(i)))
	}
	w.write("content/large", noise(1, 9<<20+77))
	w.write("content/empty", nil)
	w.write("names/\xff\xfe\n *", []byte("odd"))
	w.write("names/ü/日本", []byte("deep"))
	p := func(name string) string { return filepath.Join(w.src, name) }
	w.must(os.Mkdir(p("links"), 0o751))
	w.write("links/one", []byte("linked"))
	w.must(os.Link(p("links/one"), p("a link of links one")))
	w.must(os.Link(p("links/one"), p("links/two")))
	w.must(os.Symlink("../\xffnowhere", p("links/symbolic")))
	w.must(os.Symlink("../content", p("links/folder")))
	w.must(syscall.Mkfifo(p("fifo"), 0o640))
	w.must(syscall.Mknod(p("character"), syscall.S_IFCHR|0o600, int(unix.Mkdev(5, 300))))
	w.must(syscall.Mknod(p("block"), syscall.S_IFBLK|0o600, int(unix.Mkdev(259, 70000))))
	w.must(os.Link(p("fifo"), p("fifo again")))
	w.must(os.WriteFile(p("sparse"), nil, 0o600))
	w.must(os.Truncate(p("sparse"), 20<<20))
	for _, at := range []int64{3 << 20, 12 << 20} {
		f, err := os.OpenFile(p("sparse"), os.O_WRONLY, 0)
		w.must(err)
		_, err = f.WriteAt(noise(uint64(at), 1<<20), at)
		w.must(errors.Join(err, f.Close()))
	}
	for name, value := range map[string]string{"user.text": "value", "user.empty": "", "user.bytes": "\x00\xff", "trusted.x": "y"} {
		if err := unix.Lsetxattr(p("links/one"), name, []byte(value), 0); err != nil {
			t.Log(name, err)
		}
	}
	if setfacl, err := exec.LookPath("setfacl"); err == nil {
		if out, err := exec.Command(setfacl, "-m", "u:12345:r", p("content/large")).CombinedOutput(); err != nil {
			t.Logf("%s", out)
		}
	}
	w.must(os.Lchown(p("content/empty"), 12345, 54321))
	w.must(os.Lchown(p("links/symbolic"), 4, 5))
	w.must(os.Chmod(p("content/empty"), 0o4751))
	for name, at := range map[string]time.Time{"content/empty": time.Unix(-5, 123456789), "names": time.Unix(1<<33, 1), "links": time.Unix(0, 0)} {
		ts := []unix.Timespec{unix.NsecToTimespec(at.UnixNano()), unix.NsecToTimespec(at.UnixNano())}
		w.must(unix.UtimesNanoAt(unix.AT_FDCWD, p(name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
}

// TestTree compares what is mounted with what was backed up, in all that can be asked for.
func TestTree(t *testing.T) {
	if !fuseHere(t) {
		return
	}
	w := newWorld(t)
	plant(w)
	s := w.backup()
	f := w.fs(nil)
	m := show(t, f)
	root := m.at(f, s, "")
	n := 0
	inodes, back := map[uint64]uint64{}, map[uint64]uint64{}
	err := filepath.WalkDir(w.src, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n++
		rel, _ := filepath.Rel(w.src, path)
		a, b := same(t, path, filepath.Join(root, rel))
		if i, ok := inodes[a]; ok && i != b {
			t.Errorf("%q has inode %d, another name of it %d", rel, b, i)
		}
		if i, ok := back[b]; ok && i != a {
			t.Errorf("%q shares inode %d with another file", rel, b)
		}
		inodes[a], back[b] = b, a
		return nil
	})
	w.must(err)
	shown := 0
	w.must(filepath.WalkDir(root, func(string, fs.DirEntry, error) error { shown++; return nil }))
	if shown != n || n < 700 {
		t.Errorf("%d files are shown, %d are there", shown, n)
	}
	for _, name := range []string{"latest", "../../ids/" + s.ID.String()[:8], "../../ids/" + s.ID.String()[:5], "../../hosts/nas/" + f.names.source[s.Source.ID] + "/latest"} {
		if same, err := os.ReadFile(filepath.Join(filepath.Dir(root), name, "links/one")); err != nil || string(same) != "linked" {
			t.Errorf("%s: %q, %v", name, same, err)
		}
	}
	if v, err := xattr(root, attrSnapshot); err != nil || v != s.ID.String() {
		t.Errorf("%q, %v", v, err)
	}
	m.end()
	m.wait(t)
	if strings.Contains(w.told(), "fault") {
		t.Error(w.told())
	}
}

func xattr(path, name string) (string, error) {
	b := make([]byte, 4096)
	n, err := unix.Lgetxattr(path, name, b)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

func xattrs(t *testing.T, path string) (all []string) {
	b := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, b)
	if err != nil {
		t.Errorf("%q: %v", path, err)
		return nil
	}
	for _, name := range strings.Split(strings.TrimRight(string(b[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		v, err := xattr(path, name)
		if err != nil {
			t.Errorf("%q: %s: %v", path, name, err)
		}
		all = append(all, name+"="+v)
	}
	slices.Sort(all)
	return all
}

// same compares two files, and returns their inodes.
func same(t *testing.T, want, got string) (a, b uint64) {
	t.Helper()
	var x, y unix.Stat_t
	if err := errors.Join(unix.Lstat(want, &x), unix.Lstat(got, &y)); err != nil {
		t.Error(err)
		return 0, 0
	}
	isDir := x.Mode&unix.S_IFMT == unix.S_IFDIR
	if x.Mode != y.Mode || x.Uid != y.Uid || x.Gid != y.Gid || x.Rdev != y.Rdev || !isDir && (x.Size != y.Size || x.Nlink != y.Nlink) || x.Mtim != y.Mtim {
		t.Errorf("%q is\n%+v\n%+v", want, x, y)
	}
	if slack := x.Blocks/8 + 64; !isDir && (y.Blocks > x.Blocks+slack || y.Blocks < x.Blocks-slack) {
		t.Errorf("%q has %d blocks, %d at the source", want, y.Blocks, x.Blocks)
	}
	if v, w := xattrs(t, got), xattrs(t, want); !slices.Equal(v, w) {
		t.Errorf("%q has attributes %q, want %q", want, v, w)
	}
	switch x.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		sameContent(t, want, got)
	case unix.S_IFLNK:
		v, err1 := os.Readlink(want)
		w, err2 := os.Readlink(got)
		if v != w || err1 != nil || err2 != nil {
			t.Errorf("%q leads to %q, %v, want %q, %v", want, w, err2, v, err1)
		}
	}
	return x.Ino, y.Ino
}

func sameContent(t *testing.T, want, got string) {
	t.Helper()
	a, err1 := os.ReadFile(want)
	b, err2 := os.ReadFile(got)
	if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
		t.Errorf("%q: %v, %v, %d bytes and %d", want, err1, err2, len(a), len(b))
		return
	}
	x, err1 := os.Open(want)
	y, err2 := os.Open(got)
	if err1 != nil || err2 != nil {
		t.Error(err1, err2)
		return
	}
	defer func() { _, _ = x.Close(), y.Close() }()
	for off := int64(0); off < int64(len(a)); { // holes
		d1, err1 := unix.Seek(int(x.Fd()), off, unix.SEEK_DATA)
		d2, err2 := unix.Seek(int(y.Fd()), off, unix.SEEK_DATA)
		h1, _ := unix.Seek(int(x.Fd()), max(d1, off), unix.SEEK_HOLE)
		h2, _ := unix.Seek(int(y.Fd()), max(d1, off), unix.SEEK_HOLE)
		if err1 != err2 || d1 != d2 || h1 != h2 {
			t.Errorf("%q: data from %d on is at %d to %d, %v, want %d to %d, %v", want, off, d2, h2, err2, d1, h1, err1)
			return
		}
		if err1 != nil {
			break
		}
		off = h1
	}
}

// TestReadOnly: nothing can be changed.
func TestReadOnly(t *testing.T) {
	if !fuseHere(t) {
		return
	}
	w := newWorld(t)
	w.write("f", []byte("content"))
	w.write("d/g", nil)
	s := w.backup()
	f := w.fs(nil)
	m := show(t, f)
	at := m.at(f, s, "")
	_, err := os.OpenFile(at+"/f", os.O_WRONLY, 0)
	tried := map[string]error{
		"open": err, "create": os.WriteFile(at+"/new", nil, 0o600), "mkdir": os.Mkdir(at+"/new", 0o700), "remove": os.Remove(at + "/f"), "rmdir": os.Remove(at + "/d"),
		"rename": os.Rename(at+"/f", at+"/h"), "link": os.Link(at+"/f", at+"/h"), "symlink": os.Symlink("x", at+"/h"), "chmod": os.Chmod(at+"/f", 0o600), "chown": os.Chown(at+"/f", 1, 1),
		"truncate": os.Truncate(at+"/f", 1), "times": os.Chtimes(at+"/f", time.Now(), time.Now()), "xattr": unix.Setxattr(at+"/f", "user.x", nil, 0), "mkfifo": unix.Mkfifo(at+"/p", 0o600),
		"above": os.Mkdir(m.dir+"/new", 0o700), "among": os.Mkdir(m.dir+"/sources/new", 0o700), "no xattr": unix.Removexattr(at+"/f", "user.x"),
	}
	for what, err := range tried {
		if !errors.Is(err, syscall.EROFS) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := CheckPoint(m.dir); !errors.Is(err, ErrMounted) {
		t.Error(err)
	}
	if _, err := os.Stat(at + "/not there"); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestUnmountFromOutside: umount ends it, as it ends any other.
func TestUnmountFromOutside(t *testing.T) {
	if !fuseHere(t) {
		return
	}
	w := newWorld(t)
	w.write("f", []byte("content"))
	w.backup()
	m := show(t, w.fs(nil))
	if err := syscall.Unmount(m.dir, 0); err != nil {
		t.Fatal(err)
	}
	m.wait(t)
}

// TestUnmountUnderLoad: it ends while files are open, folders are listed and the store does not answer, and nobody hangs.
func TestUnmountUnderLoad(t *testing.T) {
	if !fuseHere(t) {
		return
	}
	w := newWorld(t)
	for i := range 40 {
		w.write(fmt.Sprintf("d%d/f", i), noise(uint64(i), 200<<10))
	}
	s := w.backup()
	f := w.fs(func(o *Options) { o.Grace = time.Millisecond })
	m := show(t, f)
	open, err := os.Open(m.at(f, s, "d1/f"))
	w.must(err)
	defer func() { _ = open.Close() }()
	free := w.st.stop()
	defer free()
	busy := make(chan struct{}, 40)
	for i := range 8 {
		go func() {
			defer func() { busy <- struct{}{} }()
			for k := 0; ; k++ {
				_, err := os.ReadDir(m.at(f, s, fmt.Sprintf("d%d", (i+k)%40)))
				if err == nil {
					_, err = os.ReadFile(m.at(f, s, fmt.Sprintf("d%d/f", (i+k)%40)))
				}
				if err != nil {
					return
				}
			}
		}()
	}
	<-w.st.met // one of them waits for the store
	m.end()
	m.wait(t)
	for range 8 {
		<-busy
	}
	if _, err := open.ReadAt(make([]byte, 10), 0); err == nil {
		t.Error("can be read although it is unmounted")
	}
}

// TestTrouble: what is cold, and what is damaged, fails with errors of their own, and says why; what is beside them can be copied.
func TestTrouble(t *testing.T) {
	if !fuseHere(t) {
		return
	}
	w := newWorld(t)
	w.write("hot", noise(1, 1<<20))
	w.backup()
	w.write("damaged", noise(2, 2<<20))
	w.backup()
	w.write("cold", noise(3, 2<<20))
	s := w.backup() // each has packs of its own
	f := w.fs(nil)
	w.st.bad = w.holding(f, s, "damaged")
	for p := range w.holding(f, s, "cold") {
		w.st.Reclass(p, "DEEP_ARCHIVE")
	}
	m := show(t, f)
	if got, err := os.ReadFile(m.at(f, s, "hot")); err != nil || !bytes.Equal(got, noise(1, 1<<20)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	for name, want := range map[string]error{"damaged": syscall.EIO, "cold": errnoCold} {
		if _, err := os.ReadFile(m.at(f, s, name)); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		why, err := xattr(m.at(f, s, name), attrError)
		if err != nil || !strings.Contains(w.told(), why) || !strings.Contains(why, name) {
			t.Errorf("%s: %q, %v", name, why, err)
		}
	}
	if !strings.Contains(w.told(), "--plan") {
		t.Error(w.told())
	}
}

// TestHugeFolder lists a folder in one go and in parts, from the middle, and stops half-way.
func TestHugeFolder(t *testing.T) {
	if !fuseHere(t) {
		return
	}
	const n = 30_000
	chunks := chunkMap{}
	all := []manifest.Entry{entry(manifest.Dir, ""), entry(manifest.Dir, "d")}
	for i := range n {
		kind := manifest.File
		if i%100 == 0 {
			kind = manifest.Dir
		}
		all = append(all, entry(kind, fmt.Sprintf("d/%06d", i)))
		if kind == manifest.Dir {
			all = append(all, entry(manifest.File, fmt.Sprintf("d/%06d/below", i)))
		}
	}
	f, _ := synthetic(t, chunks, chunks.build(t, all))
	m := show(t, f)
	at := filepath.Join(m.dir, "sources/home-eve/latest/d")
	names, err := os.ReadDir(at)
	if err != nil || len(names) != n {
		t.Fatalf("%d names, %v", len(names), err)
	}
	d, err := os.Open(at)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	r := rand.New(rand.NewPCG(1, 1))
	for range 20 {
		if _, err := d.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got, err := d.Readdirnames(1 + r.IntN(5000))
		if err != nil || !slices.IsSorted(got) || got[0] != "000000" {
			t.Fatalf("%d names, %v", len(got), err)
		}
	}
	if info, err := os.Stat(at + "/000100/below"); err != nil || info.Size() != 0 {
		t.Error(err)
	}
}

// TestPoints: places where nothing can be mounted.
func TestPoints(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for place, want := range map[string]error{name: ErrNotFolder, dir: ErrNotEmpty, filepath.Join(dir, "not"): fs.ErrNotExist} {
		var p *PointError
		if err := CheckPoint(place); !errors.As(err, &p) || !errors.Is(err, want) || p.Dir != place {
			t.Errorf("%q: %v", place, err)
		}
	}
}

// TestStale: a folder whose program was killed is told as that.
func TestStale(t *testing.T) {
	if !fuseHere(t) {
		return
	}
	dir := t.TempDir()
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("x", dir, "fuse.x", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	if err := syscall.Close(fd); err != nil {
		t.Fatal(err)
	}
	if err := CheckPoint(dir); !errors.Is(err, ErrStale) {
		t.Error(err)
	}
}

// BenchmarkMounted lists a tree through the kernel with the attributes of all files, as find -ls does.
func BenchmarkMounted(b *testing.B) {
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		b.Skip("needs /dev/fuse and root")
	}
	chunks := chunkMap{}
	all := []manifest.Entry{entry(manifest.Dir, "")}
	for d := range 100 {
		all = append(all, entry(manifest.Dir, fmt.Sprintf("folder-%05d", d)))
		for i := range 500 {
			all = append(all, entry(manifest.File, fmt.Sprintf("folder-%05d/photograph-%05d.jpg", d, i)))
		}
	}
	tree := chunks.build(b, all)
	for b.Loop() {
		b.StopTimer()
		f, _ := synthetic(b, chunks, tree) // anew, so that the kernel knows nothing
		m := show(b, f)
		n := 0
		b.StartTimer()
		err := filepath.WalkDir(filepath.Join(m.dir, "sources/home-eve/2026-11-20_10-00-00"), func(_ string, d fs.DirEntry, err error) error {
			if err == nil {
				_, err = d.Info()
			}
			n++
			return err
		})
		if err != nil || n != len(all) {
			b.Fatalf("%d entries, %v", n, err)
		}
		b.StopTimer()
		m.end()
		<-m.done
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N)*float64(len(all))/b.Elapsed().Seconds(), "entries/s")
}
