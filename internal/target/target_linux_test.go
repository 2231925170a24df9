package target

import (
	"bytes"
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
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

func openAt(t *testing.T, dir string, o Options) *Target {
	t.Helper()
	got, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = got.Close() })
	return got
}

// spec is a plain file of the user who runs the test.
func spec(size int) *FileSpec {
	return &FileSpec{Size: int64(size), Meta: Meta{Mode: 0o640, UID: -1, GID: -1, MtimeSec: 1_600_000_000, MtimeNsec: 123_456_789}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

// leftovers finds temporary names.
func leftovers(t *testing.T, dir string) (found []string) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(p string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(p), tempPrefix) {
			found = append(found, p)
		}
		return err
	}))
	return found
}

func TestPaths(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "target")
	tg := openAt(t, dir, Options{Overwrite: Always, Delete: true})
	for _, p := range []string{"../x", "a/../../x", "/x", "a//b", ".", "..", "a/.", "a\x00b", "./x", "a/"} {
		path := []byte(p)
		_, e1 := tg.WriteFile(path, spec(1), []byte("x"))
		_, e2 := tg.Mkdir(path)
		_, e3 := tg.Symlink(path, "to")
		_, e4 := tg.Link(path, []byte("new"))
		_, e5 := tg.Mknod(path, &Meta{Type: source.FIFO})
		e6 := tg.Finish(path, &Meta{})
		e7 := tg.RemoveExtra(path, func([]byte) bool { return false }, nil)
		for i, err := range []error{e1, e2, e3, e4, e5, e6, e7} {
			if !errors.Is(err, ErrPath) {
				t.Errorf("%q, call %d: %v", p, i, err)
			}
		}
	}
	if list, err := os.ReadDir(base); err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
}

// TestSymlinkAttack puts symlinks to a foreign folder wherever the restore goes.
func TestSymlinkAttack(t *testing.T) {
	for _, old := range []bool{false, true} {
		defer noOpenat2.Store(noOpenat2.Swap(old))
		base := t.TempDir()
		outside, dir := filepath.Join(base, "outside"), filepath.Join(base, "target")
		must(t, os.MkdirAll(filepath.Join(outside, "sub"), 0o755))
		must(t, os.WriteFile(filepath.Join(outside, "file"), []byte("precious"), 0o600))
		must(t, os.MkdirAll(filepath.Join(dir, "d"), 0o755))
		must(t, os.Symlink(outside, filepath.Join(dir, "link")))
		must(t, os.Symlink(outside, filepath.Join(dir, "d", "link")))
		must(t, os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "filelink")))
		tg := openAt(t, dir, Options{Overwrite: Always, Delete: true})
		for _, p := range []string{"link/file", "link/sub/new", "d/link/file", "d/link/new"} {
			if _, err := tg.WriteFile([]byte(p), spec(1), []byte("x")); err == nil {
				t.Errorf("%q was written", p)
			}
			if _, err := tg.Mkdir([]byte(p + "dir")); err == nil {
				t.Errorf("%q was made", p)
			}
			if err := tg.Finish([]byte(p), &Meta{Mode: 0o777, UID: -1, GID: -1}); err == nil {
				t.Errorf("%q was changed", p)
			}
			_ = tg.RemoveExtra([]byte(p[:strings.LastIndexByte(p, '/')]), func([]byte) bool { return false }, nil)
		}
		if err := tg.Finish([]byte("filelink"), &Meta{Mode: 0o777, UID: -1, GID: -1}); !errors.Is(err, ErrInTheWay) {
			t.Error(err)
		}
		_, err := tg.WriteFile([]byte("filelink"), spec(3), []byte("new"))
		must(t, err)
		if o, err := tg.Mkdir([]byte("link")); o != Replaced || err != nil {
			t.Error(o, err)
		}
		_, err = tg.WriteFile([]byte("link/file"), spec(3), []byte("new"))
		must(t, err)
		must(t, tg.RemoveExtra(nil, func(name []byte) bool { return string(name) == "link" }, nil))
		if content(t, filepath.Join(outside, "file")) != "precious" || content(t, filepath.Join(dir, "link", "file")) != "new" {
			t.Fatal("the foreign file was changed")
		}
		if list, err := os.ReadDir(outside); err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
	}
}

// TestSwapRace exchanges a folder for a symlink while files are written below it.
func TestSwapRace(t *testing.T) {
	base := t.TempDir()
	outside, dir := filepath.Join(base, "outside"), filepath.Join(base, "target")
	must(t, os.Mkdir(outside, 0o755))
	must(t, os.MkdirAll(filepath.Join(dir, "a"), 0o755))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			_ = os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b"))
			_ = os.Symlink(outside, filepath.Join(dir, "a"))
			_ = os.Remove(filepath.Join(dir, "a"))
			_ = os.Rename(filepath.Join(dir, "b"), filepath.Join(dir, "a"))
		}
	})
	end := time.Now().Add(300 * time.Millisecond)
	for i := 0; time.Now().Before(end); i++ {
		tg, err := Open(dir, Options{Overwrite: Always})
		must(t, err)
		_, _ = tg.WriteFile(fmt.Appendf(nil, "a/%d", i), spec(1), []byte("x"))
		_, _ = tg.Mkdir(fmt.Appendf(nil, "a/d%d", i))
		must(t, tg.Close())
	}
	close(stop)
	wg.Wait()
	if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
}

// TestHardLinkAttack: a name that is also the name of a foreign file is not written through.
func TestHardLinkAttack(t *testing.T) {
	base := t.TempDir()
	foreign, dir := filepath.Join(base, "foreign"), filepath.Join(base, "target")
	must(t, os.WriteFile(foreign, []byte("old"), 0o600))
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Link(foreign, filepath.Join(dir, "f")))
	tg := openAt(t, dir, Options{Overwrite: Changed})
	if err := tg.Finish([]byte("f"), &Meta{Mode: 0o777, UID: -1, GID: -1}); !errors.Is(err, ErrInTheWay) {
		t.Fatal(err)
	}
	must(t, os.Chtimes(foreign, fixed, fixed))
	if o, err := tg.WriteFile([]byte("f"), spec(3), []byte("new")); o != Replaced || err != nil {
		t.Fatal(o, err)
	}
	if info, err := os.Stat(foreign); err != nil || info.Mode().Perm() != 0o600 || content(t, foreign) != "old" {
		t.Fatal(info, err)
	}
}

func TestOverwrite(t *testing.T) {
	same := func(want bool) func(io.ReaderAt) (bool, error) {
		return func(r io.ReaderAt) (bool, error) {
			b := make([]byte, 3)
			if _, err := r.ReadAt(b, 0); err != nil || string(b) != "old" {
				return false, fmt.Errorf("read %q: %w", b, err)
			}
			return want, nil
		}
	}
	for _, c := range []struct {
		policy  Overwrite
		touched bool // the existing file has the wanted time
		size    int
		same    func(io.ReaderAt) (bool, error)
		want    Outcome
	}{
		{Never, false, 3, nil, Kept}, {Never, false, 5, nil, Kept},
		{Changed, true, 3, nil, Kept}, {Changed, false, 3, nil, Replaced}, {Changed, true, 5, nil, Replaced},
		{Changed, false, 3, same(true), Kept}, {Changed, false, 3, same(false), Replaced},
		{Always, true, 3, nil, Replaced}, {Always, true, 3, same(true), Kept}, {Always, true, 3, same(false), Replaced},
	} {
		for _, large := range []bool{false, true} {
			dir := t.TempDir()
			path := filepath.Join(dir, "f")
			must(t, os.WriteFile(path, []byte("old"), 0o600))
			if c.touched {
				must(t, os.Chtimes(path, fixed, fixed))
			}
			tg := openAt(t, dir, Options{Overwrite: c.policy})
			s := spec(c.size)
			s.Same, s.Resume = c.same, large
			o, err := tg.WriteFile([]byte("f"), s, []byte("newer")[:c.size])
			if o != c.want || err != nil {
				t.Fatalf("%+v: %v, %v", c, o, err)
			}
			if want := map[bool]string{true: "old", false: "newer"[:c.size]}[o == Kept]; content(t, path) != want {
				t.Fatalf("%+v: %q", c, content(t, path))
			}
			if left := leftovers(t, dir); left != nil {
				t.Fatal(left)
			}
		}
	}
}

func TestInTheWay(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"full/x", "full2/x"} {
		must(t, os.MkdirAll(filepath.Join(dir, p), 0o755))
	}
	for _, p := range []string{"empty", "empty2", "empty3", "empty4"} {
		must(t, os.Mkdir(filepath.Join(dir, p), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	tg := openAt(t, dir, Options{Overwrite: Changed})
	if _, err := tg.WriteFile([]byte("full"), spec(1), []byte("x")); !errors.Is(err, ErrNotEmpty) {
		t.Fatal(err)
	}
	if o, err := tg.WriteFile([]byte("empty"), spec(1), []byte("x")); o != Replaced || err != nil {
		t.Fatal(o, err)
	}
	if o, err := tg.Symlink([]byte("empty2"), "x"); o != Replaced || err != nil {
		t.Fatal(o, err)
	}
	if o, err := tg.Link([]byte("empty"), []byte("empty3")); o != Replaced || err != nil {
		t.Fatal(o, err)
	}
	if o, err := tg.Link([]byte("empty"), []byte("empty3")); o != Kept || err != nil {
		t.Fatal(o, err)
	}
	if o, err := tg.Mknod([]byte("empty4"), &Meta{Type: source.FIFO}); o != Replaced || err != nil {
		t.Fatal(o, err)
	}
	if o, err := tg.Mkdir([]byte("file")); o != Replaced || err != nil {
		t.Fatal(o, err)
	}
	if o, err := openAt(t, dir, Options{Overwrite: Changed, Delete: true}).WriteFile([]byte("full2"), spec(1), []byte("x")); o != Replaced || err != nil {
		t.Fatal(o, err)
	}
	never := openAt(t, dir, Options{})
	if o, err := never.Symlink([]byte("empty"), "x"); o != Kept || err != nil {
		t.Fatal(o, err)
	}
	if _, err := never.Mkdir([]byte("empty")); !errors.Is(err, ErrInTheWay) {
		t.Fatal(err)
	}
}

// TestInterrupted leaves files in work behind and does it again.
func TestInterrupted(t *testing.T) {
	for _, policy := range []Overwrite{Never, Changed, Always} {
		dir := t.TempDir()
		first, err := Open(dir, Options{Overwrite: policy})
		must(t, err)
		small, big := spec(8), spec(1<<20)
		big.Resume = true
		data := bytes.Repeat([]byte("x"), 1<<20)
		a, _, err := first.CreateFile([]byte("small"), small)
		must(t, err)
		b, _, err := first.CreateFile([]byte("big"), big)
		must(t, err)
		_, err = a.WriteAt([]byte("1234"), 0)
		must(t, err)
		_, err = b.WriteAt(data[:1000], 0)
		must(t, err)
		if _, err := os.Stat(filepath.Join(dir, "big")); !errors.Is(err, fs.ErrNotExist) {
			t.Fatal("a half-written file has its name", err)
		}
		second := openAt(t, dir, Options{Overwrite: policy})
		if _, _, err := second.CreateFile([]byte("big"), big); !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
		_ = unix.Close(a.fd) // as if the process had been killed
		_ = unix.Close(b.fd)
		if _, err := second.WriteFile([]byte("small"), small, []byte("12345678")); err != nil || content(t, filepath.Join(dir, "small")) != "12345678" {
			t.Fatal(err)
		}
		f, o, err := second.CreateFile([]byte("big"), big)
		if err != nil || o != Created || !f.Resumed() {
			t.Fatal(o, err)
		}
		got := make([]byte, 1000)
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, data[:1000]) {
			t.Fatal(err)
		}
		must(t, f.Punch(0, 500))
		_, err = f.WriteAt(data[1000:], 1000)
		must(t, err)
		must(t, f.Finish())
		if text := content(t, filepath.Join(dir, "big")); text != strings.Repeat("\x00", 500)+string(data[500:]) {
			t.Fatal(len(text))
		}
		if left := leftovers(t, dir); left != nil {
			t.Fatal(left)
		}
		must(t, first.Close())
	}
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	tg := openAt(t, dir, Options{})
	for _, size := range []int{10, directMax + 1} {
		f, _, err := tg.CreateFile([]byte("f"), spec(size))
		must(t, err)
		must(t, f.Abort(false))
		must(t, f.Abort(false))
		if err := f.Finish(); !errors.Is(err, os.ErrClosed) {
			t.Fatal(err)
		}
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) != 0 {
		t.Fatal(list, err)
	}
	if _, _, err := tg.CreateFile([]byte("gone/f"), spec(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
}

func TestSparse(t *testing.T) {
	dir := t.TempDir()
	tg := openAt(t, dir, Options{})
	s := spec(1 << 30)
	s.Sparse = true
	f, _, err := tg.CreateFile([]byte("f"), s)
	must(t, err)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			if _, err := f.WriteAt(bytes.Repeat([]byte{byte('a' + i)}, 1<<16), int64(i)<<28); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, f.Finish())
	var st unix.Stat_t
	must(t, unix.Stat(filepath.Join(dir, "f"), &st))
	if st.Size != 1<<30 || st.Blocks*512 > 16<<20 {
		t.Fatal(st.Size, st.Blocks)
	}
}

func TestRemoveExtra(t *testing.T) {
	dir := t.TempDir()
	for _, p := range []string{"keep/x", "drop/deep/er", "d/drop/x", "d/keep"} {
		must(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(p)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, p), nil, 0o600))
	}
	must(t, os.Symlink("/etc", filepath.Join(dir, "link")))
	tg := openAt(t, dir, Options{})
	_, err := tg.WriteFile([]byte("drop/deep/new"), spec(0), nil) // the folder is in the cache
	must(t, err)
	var gone []string
	keep := func(name []byte) bool { return string(name) == "keep" || string(name) == "d" }
	tell := func(path []byte, typ source.Type) { gone = append(gone, fmt.Sprintf("%s %d", path, typ)) }
	must(t, tg.RemoveExtra(nil, keep, tell))
	must(t, tg.RemoveExtra([]byte("d"), keep, tell))
	slices.Sort(gone)
	if want := []string{"d/drop 1", "drop 1", "link 2"}; !slices.Equal(gone, want) {
		t.Fatal(gone)
	}
	if _, err := tg.Mkdir([]byte("drop")); err != nil {
		t.Fatal(err)
	}
	if _, err := tg.Mkdir([]byte("drop/deep")); err != nil {
		t.Fatal(err)
	}
	if _, err := tg.WriteFile([]byte("drop/deep/new"), spec(0), nil); err != nil {
		t.Fatal(err)
	}
}

// TestMounted: what is mounted in the target is not removed.
func TestMounted(t *testing.T) {
	dir := t.TempDir()
	at := filepath.Join(dir, "drop", "mnt")
	must(t, os.MkdirAll(at, 0o755))
	if err := unix.Mount("none", at, "tmpfs", 0, ""); err != nil {
		t.Skipf("may not mount: %v", err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	must(t, os.WriteFile(filepath.Join(at, "f"), nil, 0o600))
	err := openAt(t, dir, Options{}).RemoveExtra(nil, func([]byte) bool { return false }, nil)
	if !errors.Is(err, ErrMount) {
		t.Fatal(err)
	}
	content(t, filepath.Join(at, "f"))
}

func TestLongPaths(t *testing.T) {
	tg := openAt(t, t.TempDir(), Options{})
	name := strings.Repeat("n", 100)
	path := []byte(nil)
	for range 120 {
		path = join(path, name)
		_, err := tg.Mkdir(path)
		must(t, err)
	}
	file := join(path, "file")
	_, err := tg.WriteFile(file, spec(4), []byte("deep"))
	must(t, err)
	_, err = tg.Link(file, join(path, "second"))
	must(t, err)
	m := Meta{Type: source.Dir, Mode: 0o755, UID: -1, GID: -1}
	must(t, tg.Finish(path, &m))
	tg.parents.close()
	if o, err := tg.WriteFile(file, spec(4), []byte("deep")); o != Kept || err != nil {
		t.Fatal(o, err)
	}
	must(t, tg.RemoveExtra(nil, func([]byte) bool { return false }, nil))
}

func TestParallel(t *testing.T) {
	dir := t.TempDir()
	tg := openAt(t, dir, Options{})
	for i := range 100 { // more than the cache holds
		_, err := tg.Mkdir(fmt.Appendf(nil, "%d", i))
		must(t, err)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(w), 0))
			for i := range 500 {
				if _, err := tg.WriteFile(fmt.Appendf(nil, "%d/%d-%d", rng.IntN(100), w, i), spec(2), []byte("ab")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n := 0
	must(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			n++
		}
		return err
	}))
	if n != 2000 {
		t.Fatal(n)
	}
}

func TestReadOnlyFolder(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("for a plain user: TestPlainUser runs it")
	}
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "d"), 0o500))
	tg := openAt(t, dir, Options{Overwrite: Always})
	if o, err := tg.Mkdir([]byte("d")); o != Kept || err != nil {
		t.Fatal(o, err)
	}
	_, err := tg.WriteFile([]byte("d/f"), spec(1), []byte("x"))
	must(t, err)
	must(t, tg.Finish([]byte("d"), &Meta{Type: source.Dir, Mode: 0o500, UID: -1, GID: -1}))
	if info, err := os.Stat(filepath.Join(dir, "d")); err != nil || info.Mode().Perm() != 0o500 {
		t.Fatal(info, err)
	}
	must(t, os.Chmod(filepath.Join(dir, "d"), 0o700))
}

// TestLimits: what a plain user may not do is counted, and no setuid bit without its owner.
func TestLimits(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("for a plain user: TestPlainUser runs it")
	}
	dir := t.TempDir()
	tg := openAt(t, dir, Options{})
	s := spec(1)
	s.UID, s.GID, s.Mode = 0, 0, 0o6755
	s.Xattrs = []source.Xattr{{Name: "security.capability", Value: []byte{1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}}}
	for i := range 3 {
		_, err := tg.WriteFile(fmt.Appendf(nil, "f%d", i), s, []byte("x"))
		must(t, err)
	}
	if o, err := tg.Mknod([]byte("null"), &Meta{Type: source.Char, Major: 1, Minor: 3}); o != Lacking || err != nil {
		t.Fatal(o, err)
	}
	got := map[string]int64{}
	for _, l := range tg.Limits() {
		got[l.Kind] = l.Count
	}
	want := map[string]int64{"owner": 3, "group": 3, "setuid bit": 3, "setgid bit": 3, "capability": 3, "device node": 1}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatal(got)
	}
	if info, err := os.Stat(filepath.Join(dir, "f0")); err != nil || info.Mode() != 0o755 {
		t.Fatal(info.Mode(), err)
	}
}

// TestPlainUser runs the tests of this package again without rights.
func TestPlainUser(t *testing.T) {
	if os.Geteuid() != 0 {
		return
	}
	tmp, err := os.MkdirTemp("", "firn")
	must(t, err)
	defer os.RemoveAll(tmp)
	self, err := os.Executable()
	must(t, err)
	program, err := os.ReadFile(self)
	must(t, err)
	copied := filepath.Join(tmp, "test")
	must(t, os.WriteFile(copied, program, 0o755))
	must(t, os.Chmod(copied, 0o755)) // whatever the umask is
	must(t, os.Chmod(tmp, 0o777))
	cmd := exec.Command(copied, "-test.skip", "TestParallel|TestSwapRace")
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func FuzzPath(f *testing.F) {
	for _, s := range []string{"", "a/b", "..", "a/../b", "/a", "a\x00", "CON", "a:b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if check(p) == nil && len(p) > 0 && (!fs.ValidPath(strings.ToValidUTF8(string(p), "?")) || string(p) == ".") {
			t.Fatalf("%q", p)
		}
	})
}

// TestUnfinishedFolder: a folder that was made and never got its metadata is known for one, and no other is.
func TestUnfinishedFolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	meta := Meta{Type: source.Dir, Mode: 0o755, UID: -1, GID: -1, MtimeSec: 77}
	run := func(path string) (outcome Outcome, finish func()) {
		to, err := Open(dir, Options{Fresh: true})
		must(t, err)
		outcome, err = to.Mkdir([]byte(path))
		must(t, err)
		return outcome, func() { must(t, to.Finish([]byte(path), &meta)); must(t, to.Close()) }
	}
	for _, want := range []Outcome{Created, Resumed, Resumed} {
		if got, _ := run("d"); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	if info, err := os.Stat(dir); err != nil || !Unfinished(info) {
		t.Errorf("the target itself: %v, %v", info, err)
	}
	must(t, Unmark(dir))
	if info, err := os.Stat(dir); err != nil || Unfinished(info) {
		t.Errorf("the target itself: %v, %v", info, err)
	}
	_, finish := run("d")
	finish()
	if got, finish := run("d"); got != Kept {
		t.Errorf("%d, want that it was there", got)
	} else {
		finish()
	}
	for _, mode := range []fs.FileMode{0o700, 0o755 | fs.ModeSticky, 0o777 | fs.ModeSticky} {
		must(t, os.Chmod(filepath.Join(dir, "d"), mode))
		if got, finish := run("d"); got != Kept {
			t.Errorf("mode %v: %d, want that it was there", mode, got)
		} else {
			finish()
		}
	}
}
