package dir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
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

// got is what a walk delivered.
type got struct {
	paths    []string
	stats    map[string]source.Stat
	problems map[string]error
	notes    map[string]Note
}

func walkAll(t *testing.T, root string, o Options) got {
	t.Helper()
	g := got{stats: map[string]source.Stat{}, problems: map[string]error{}, notes: map[string]Note{}}
	o.Problem = func(path []byte, err error) { g.problems[string(path)] = err }
	o.Note = func(path []byte, n Note) { g.notes[string(path)] = n }
	tree, err := Open(root, o)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	err = tree.Walk(t.Context(), func(e *source.Entry) error {
		g.paths = append(g.paths, string(e.Path))
		g.stats[string(e.Path)] = e.Stat
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// reference lists a tree with the standard library and sorts it as the format says.
func reference(t *testing.T, root string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(root, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, p)
		if rel == "." {
			rel = ""
		}
		out = append(out, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(out, func(a, b string) int {
		return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
	})
	return out
}

func same(t *testing.T, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("entry %d is %q, want %q", i, got[i], want[i])
		}
	}
	t.Fatalf("%d entries, want %d", len(got), len(want))
}

// grow makes a random tree with awkward names.
func grow(t *testing.T, rng *rand.Rand, dir string, entries, depth int) {
	t.Helper()
	names := []string{"a", "a-b", "a.b", "a b", "ab", "\xff\xfe", "x\ny", "ä", "A", "-", " ", "~", "a!", strings.Repeat("l", 255), "'\"\\"}
	for i := range entries {
		name := filepath.Join(dir, names[rng.IntN(len(names))]+map[bool]string{true: "", false: fmt.Sprint(i)}[rng.IntN(3) == 0])
		if len(filepath.Base(name)) > 255 {
			continue
		}
		switch rng.IntN(6) {
		case 0:
			_ = os.Symlink("to/nowhere", name)
		case 1:
			_ = unix.Mkfifo(name, 0o640)
		case 2:
			if os.Mkdir(name, 0o755) == nil && depth > 0 {
				grow(t, rng, name, rng.IntN(entries+1), depth-1)
			}
		default:
			if f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600); err == nil {
				_, _ = f.Write(make([]byte, rng.IntN(5000)))
				f.Close()
			}
		}
	}
}

func TestWalkOrder(t *testing.T) {
	for seed := range uint64(6) {
		root := t.TempDir()
		grow(t, rand.New(rand.NewPCG(seed, 1)), root, 24, 3)
		want := reference(t, root)
		for _, workers := range []int{1, 2, 7} {
			g := walkAll(t, root, Options{Workers: workers})
			same(t, g.paths, want)
			if len(g.problems) != 0 {
				t.Fatal(g.problems)
			}
			for p, st := range g.stats {
				info, err := os.Lstat(filepath.Join(root, p))
				if err != nil {
					t.Fatal(err)
				}
				sys := info.Sys().(*syscall.Stat_t)
				if st.Inode != sys.Ino || st.Size != sys.Size || st.MtimeSec != info.ModTime().Unix() || int(st.MtimeNsec) != info.ModTime().Nanosecond() ||
					st.Mode != uint32(sys.Mode)&07777 || uint64(st.Nlink) != uint64(sys.Nlink) || st.UID != sys.Uid {
					t.Fatalf("%q: %+v", p, st)
				}
			}
		}
	}
}

// TestWalkLargeFolder has stretches with subfolders among them, and fewer descriptors than folders.
func TestWalkLargeFolder(t *testing.T) {
	root := t.TempDir()
	for i := range 5000 {
		name := filepath.Join(root, fmt.Sprintf("%x", i*7919%5000))
		if i%50 == 0 {
			if err := os.MkdirAll(filepath.Join(name, "sub", "deep"), 0o755); err != nil {
				t.Fatal(err)
			}
			name = filepath.Join(name, "sub", "file")
		}
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := reference(t, root)
	for _, workers := range []int{1, 3} {
		same(t, walkAll(t, root, Options{Workers: workers}).paths, want)
	}
}

// TestWalkLongPaths goes far beyond PATH_MAX, and back up through folders that had to be closed in between.
func TestWalkLongPaths(t *testing.T) {
	root := t.TempDir()
	const depth = 700
	name := strings.Repeat("d", 40)
	fd, err := unix.Open(root, unix.O_DIRECTORY|unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	for range depth {
		for _, n := range []string{name, "z"} {
			if err := unix.Mkdirat(fd, n, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		f, err := unix.Openat(fd, "z/file", unix.O_CREAT|unix.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = unix.Write(f, []byte("content"))
		unix.Close(f)
		next, err := unix.Openat(fd, name, unix.O_DIRECTORY|unix.O_RDONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
	for _, workers := range []int{1, 3} {
		g := walkAll(t, root, Options{Workers: workers})
		if len(g.paths) != 1+3*depth || len(g.problems) != 0 {
			t.Fatal(len(g.paths), len(g.problems))
		}
	}
	tree, err := Open(root, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	path := []byte(strings.Repeat(name+"/", depth-1) + "z/file")
	for range 2 { // the second time one component at a time
		c, err := tree.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 7)
		if _, err := c.ReadAt(b, 0); err != nil || string(b) != "content" {
			t.Fatal(string(b), err)
		}
		c.Close()
		st := source.Stat{Type: source.File}
		if _, err := tree.Details(path, &st); err != nil {
			t.Fatal(err)
		}
		tree.parents.close()
		defer noOpenat2.Store(noOpenat2.Swap(true))
	}
}

func TestWalkFewDescriptors(t *testing.T) {
	root := t.TempDir()
	rng := rand.New(rand.NewPCG(3, 3))
	grow(t, rng, root, 40, 3)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	want := reference(t, root)
	low := unix.Rlimit{Cur: uint64(len(open)) + 8, Max: old.Max}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	g := walkAll(t, root, Options{Workers: 2})
	if len(g.problems) > 0 {
		t.Fatal(g.problems)
	}
	same(t, g.paths, want)
}

func TestWalkLeavesOut(t *testing.T) {
	root := t.TempDir()
	for _, p := range []string{"keep/x", "skip/y", "skip/z/w", "cache/CACHEDIR.TAG", "cache/data", "cache/sub/data", "fake/CACHEDIR.TAG", "fake/data", "big", "o.o"} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(p)), 0o755); err != nil {
			t.Fatal(err)
		}
		content := "x"
		if p == "cache/CACHEDIR.TAG" {
			content = cacheSignature + "\n# a cache\n"
		}
		if p == "big" {
			content = strings.Repeat("x", 1001)
		}
		if err := os.WriteFile(filepath.Join(root, p), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex
	asked := map[string]bool{}
	g := walkAll(t, root, Options{MaxSize: 1000, CacheTags: true, Exclude: func(path []byte, dir bool, st *source.Stat) bool {
		mu.Lock()
		defer mu.Unlock()
		asked[string(path)] = true
		if dir != (st.Type == source.Dir) {
			t.Errorf("%q: dir is %v", path, dir)
		}
		return string(path) == "skip" || bytes.HasSuffix(path, []byte(".o"))
	}})
	same(t, g.paths, []string{"", "cache", "cache/CACHEDIR.TAG", "fake", "fake/CACHEDIR.TAG", "fake/data", "keep", "keep/x"})
	if g.notes["big"].Reason != TooLarge || g.notes["cache"].Reason != CacheFolder || len(g.notes) != 2 {
		t.Fatal(g.notes)
	}
	if asked["skip/y"] || !asked["keep/x"] || asked[""] {
		t.Fatal(asked)
	}
}

func TestRoots(t *testing.T) {
	base := t.TempDir()
	file, link, folder := filepath.Join(base, "file"), filepath.Join(base, "link"), filepath.Join(base, "folder")
	for _, err := range []error{os.WriteFile(file, []byte("hello"), 0o640), os.Symlink("file", link), os.Mkdir(folder, 0o755),
		os.Symlink("folder", filepath.Join(base, "dirlink")), os.WriteFile(filepath.Join(folder, "in"), nil, 0o600),
		unix.Mkfifo(filepath.Join(base, "fifo"), 0o600), os.Symlink("gone", filepath.Join(base, "dangling"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for root, want := range map[string][]string{file: {"file"}, link: {"link"}, filepath.Join(base, "dirlink"): {"", "in"}, folder + "/.": {"", "in"},
		filepath.Join(base, "fifo"): {"fifo"}} {
		same(t, walkAll(t, root, Options{}).paths, want)
	}
	tree, err := Open(link, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	c, err := tree.Open([]byte("link"))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := tree.Open([]byte("folder/in")); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, root := range []string{"gone", "dangling", "file/x"} {
		if _, err := Open(filepath.Join(base, root), Options{}); err == nil || !strings.Contains(err.Error(), filepath.Base(root)) {
			t.Fatal(root, err)
		}
	}
}

func TestWalkEnds(t *testing.T) {
	root := t.TempDir()
	grow(t, rand.New(rand.NewPCG(5, 5)), root, 30, 2)
	tree, err := Open(root, Options{Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	stop := errors.New("enough")
	for limit := range 40 {
		n := 0
		err := tree.Walk(t.Context(), func(*source.Entry) error {
			if n++; n > limit {
				return stop
			}
			return nil
		})
		if err != stop {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := tree.Walk(ctx, func(*source.Entry) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

// TestWalkRaces walks while others make, remove and exchange what is walked: every problem is one of things gone, each
// path comes once and in order.
func TestWalkRaces(t *testing.T) {
	root := t.TempDir()
	grow(t, rand.New(rand.NewPCG(8, 8)), root, 20, 2)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(time.Second)
	var wg sync.WaitGroup
	for i := range 2 {
		wg.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				d := filepath.Join(root, fmt.Sprintf("churn%d-%d", i, n%9))
				_ = os.MkdirAll(filepath.Join(d, "x"), 0o755)
				_ = os.WriteFile(filepath.Join(d, "x", "f"), []byte("1"), 0o600)
				_ = os.RemoveAll(d)
				_ = os.Symlink(outside, d)
				_ = os.Remove(d)
			}
		})
	}
	for time.Now().Before(end) {
		g := walkAll(t, root, Options{Workers: 3})
		for p, err := range g.problems {
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
				t.Errorf("%q: %v", p, err)
			}
		}
		for i, p := range g.paths {
			if strings.HasSuffix(p, "secret") {
				t.Fatal("a symlink was followed")
			}
			if i > 0 && strings.ReplaceAll(p, "/", "\x00") <= strings.ReplaceAll(g.paths[i-1], "/", "\x00") {
				t.Fatalf("%q after %q", p, g.paths[i-1])
			}
		}
	}
	wg.Wait()
}

func TestWalkPseudoFileSystems(t *testing.T) {
	if _, err := os.Stat("/proc/self/mountinfo"); err != nil {
		t.Skip("needs /proc")
	}
	skip := func(path []byte, dir bool, _ *source.Stat) bool {
		return dir && !slices.Contains([]string{"proc", "sys", "dev"}, strings.Split(string(path), "/")[0])
	}
	g := walkAll(t, "/", Options{Exclude: skip})
	if g.notes["proc"] != (Note{PseudoFileSystem, "proc"}) {
		t.Fatal(g.notes)
	}
	for _, p := range g.paths {
		if strings.HasPrefix(p, "proc/") {
			t.Fatal(p)
		}
	}
	if g := walkAll(t, "/proc/self/fdinfo", Options{}); len(g.paths) < 2 {
		t.Fatal("a root within a pseudo file system must be read")
	}
}

func TestOneFileSystem(t *testing.T) {
	root := t.TempDir()
	at := filepath.Join(root, "mnt")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", at, "tmpfs", 0, ""); err != nil {
		t.Skipf("may not mount: %v", err)
	}
	defer unix.Unmount(at, unix.MNT_DETACH)
	if err := os.WriteFile(filepath.Join(at, "in"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	same(t, walkAll(t, root, Options{}).paths, []string{"", "mnt", "mnt/in"})
	g := walkAll(t, root, Options{OneFileSystem: true})
	same(t, g.paths, []string{"", "mnt"})
	if g.notes["mnt"].Reason != OtherFileSystem {
		t.Fatal(g.notes)
	}
}

func TestJudge(t *testing.T) {
	info := func() []byte {
		return []byte("20 1 0:5 / /srv/root/dev rw - devtmpfs none rw\n21 1 0:44 / /run/user/1/doc rw - fuse.portal portal rw\n22 1 0:45 / /mnt/a\\040b rw shared:1 - fuse.sshfs host: rw\n23 1 0:46 / /home/eve/snapshots ro - fuse.firn firn ro\n")
	}
	for _, c := range []struct {
		path  string
		magic uint32
		dev   uint64
		want  Note
	}{
		{"/proc", 0x9fa0, 1, Note{PseudoFileSystem, "proc"}},
		{"/run", magicTmpfs, 1, Note{PseudoFileSystem, "tmpfs"}},
		{"/run/user/1000", magicTmpfs, 1, Note{PseudoFileSystem, "tmpfs"}},
		{"/runner", magicTmpfs, 1, Note{}},
		{"/tmp", magicTmpfs, 1, Note{}},
		{"/srv/root/dev", magicTmpfs, unix.Mkdev(0, 5), Note{PseudoFileSystem, "devtmpfs"}},
		{"/run/user/1/doc", magicFUSE, unix.Mkdev(0, 44), Note{PseudoFileSystem, "fuse.portal"}},
		{"/mnt/a b", magicFUSE, unix.Mkdev(0, 45), Note{}},
		{"/home/eve/snapshots", magicFUSE, unix.Mkdev(0, 46), Note{PseudoFileSystem, "fuse.firn"}},
		{"/net", magicAutofs, 1, Note{NotMounted, "autofs"}},
		{"/home", 0xef53, 1, Note{}},
	} {
		if got := judge(c.path, c.magic, c.dev, info); got != c.want {
			t.Errorf("%s %x: %v, want %v", c.path, c.magic, got, c.want)
		}
	}
	if got := mountedType(info(), 0, "/mnt/a b"); got != "fuse.sshfs" {
		t.Error(got)
	}
}

func FuzzMountinfo(f *testing.F) {
	f.Add([]byte("20 1 0:5 / /dev rw - devtmpfs none rw\n"), uint64(5), "/dev")
	f.Add([]byte(" - \n20 - x"), uint64(0), "")
	f.Fuzz(func(t *testing.T, b []byte, dev uint64, path string) { mountedType(b, dev, path) })
}

func FuzzDirents(f *testing.F) {
	b := make([]byte, 48)
	b[16], b[18], b[19] = 24, unix.DT_REG, 'a'
	b[40], b[43] = 24, 'b'
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r := reader{blocks: [][]byte{make([]byte, 0, blockSize)}}
		_ = r.parse(b)
		r.sort()
		a := arena{r.blocks}
		for _, k := range r.keys {
			if name := a.bytes(k.ref); len(name) == 0 || bytes.ContainsAny(name, "/\x00") || string(name) == ".." {
				t.Fatalf("%q", name)
			}
		}
	})
}
