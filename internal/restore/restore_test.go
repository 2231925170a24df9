package restore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/event"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/target"
)

// randomBytes are the same for the same seed; about a third of them is text that compresses.
func randomBytes(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	if seed%3 == 0 {
		for i := range b {
			b[i] = "the quick brown fox jumps over the lazy dog\n"[i%44]
		}
	}
	return b
}

// plant makes a tree with files of all sizes and everything that any user can make.
func (w *world) plant(seed uint64, files int) {
	r := rand.New(rand.NewPCG(seed, 2))
	names := []string{"a", "b b", "-c", "ü", "e\n", "\xff\xfe", "*", "long" + strings.Repeat("x", 200), "z.txt"}
	dirs := []string{""}
	for range files / 8 {
		d := filepath.Join(dirs[r.IntN(len(dirs))], names[r.IntN(len(names))]+fmt.Sprint(r.IntN(30)))
		if len(d) < 700 && !slices.Contains(dirs, d) {
			w.must(os.MkdirAll(filepath.Join(w.src, d), 0o755))
			dirs = append(dirs, d)
		}
	}
	sizes := []int{0, 1, 10, 100, 1000, 5000, 16 << 10, 40 << 10, 100 << 10, 600 << 10}
	for i := range files {
		name := filepath.Join(dirs[r.IntN(len(dirs))], names[r.IntN(len(names))]+fmt.Sprint("-", i))
		size := sizes[r.IntN(len(sizes))]
		if size > 100 && r.IntN(2) == 0 {
			size += r.IntN(size)
		}
		w.write(name, randomBytes(uint64(r.IntN(files)), size))
		if r.IntN(6) == 0 {
			w.must(os.Chmod(filepath.Join(w.src, name), os.FileMode(r.IntN(0o1000))|0o400))
		}
		if r.IntN(10) == 0 {
			w.must(os.Link(filepath.Join(w.src, name), filepath.Join(w.src, dirs[r.IntN(len(dirs))], fmt.Sprint("link-", i))))
		}
		if r.IntN(10) == 0 {
			w.must(os.Symlink(strings.Repeat("../", r.IntN(4))+"to \xfe", filepath.Join(w.src, dirs[r.IntN(len(dirs))], fmt.Sprint("sym-", i))))
		}
		w.must(os.Chtimes(filepath.Join(w.src, name), time.Time{}, time.Unix(r.Int64N(2e9)+w.oldest, r.Int64N(1e9))))
	}
	for _, d := range dirs[1:] {
		w.must(os.Chtimes(filepath.Join(w.src, d), time.Time{}, time.Unix(r.Int64N(2e9), r.Int64N(1e9))))
	}
	plantSpecials(w)
}

func TestRoundTrip(t *testing.T) {
	for seed := range uint64(3) {
		w := newWorld(t)
		w.pack = 300 << 10
		w.plant(seed, 70)
		w.backup()
		o := w.options("out")
		o.Window = []int{0, 7, 64}[seed]
		res := w.clean(o)
		sameTree(t, w.src, o.Target)
		if s := w.snap.Stats; res.Files != s.Files || res.Bytes != s.Bytes || res.Dirs != s.Dirs || res.Others != s.Others || res.Created != s.Files+s.Dirs+s.Others {
			t.Errorf("seed %d: %+v, snapshot has %+v", seed, res, s)
		}
		again := w.options("out")
		res = w.clean(again)
		if res.Created > 0 || res.Replaced > 5 || res.BytesGot > 0 { // devices and such may be made anew
			t.Errorf("second run: %+v", res)
		}
		sameTree(t, w.src, o.Target)
		w.noTemporaries("out")
	}
}

func TestSecondSnapshot(t *testing.T) {
	w := newWorld(t)
	w.plant(7, 60)
	w.backup()
	w.write("z.txt-new", []byte("new"))
	w.write("later/file", randomBytes(99, 200<<10))
	w.must(os.RemoveAll(filepath.Join(w.src, "devices")))
	w.backup()
	o := w.options("out")
	w.clean(o)
	sameTree(t, w.src, o.Target)
}

func TestPaths(t *testing.T) {
	w := newWorld(t)
	w.write("docs/sub/one.txt", []byte("1"))
	w.write("docs/sub/two.go", []byte("2"))
	w.write("docs/three.txt", []byte("3"))
	w.write("docs.txt", []byte("4"))
	w.write("src/main.go", []byte("5"))
	w.write("src/deep/er/x.go", []byte("6"))
	w.must(os.Link(filepath.Join(w.src, "docs/three.txt"), filepath.Join(w.src, "src/linked")))
	w.must(os.Link(filepath.Join(w.src, "docs/three.txt"), filepath.Join(w.src, "src/linked2")))
	w.backup()
	for _, c := range []struct {
		path             string
		include, exclude []string
		want             string
	}{
		{"", nil, nil, "docs docs.txt docs/sub docs/sub/one.txt docs/sub/two.go docs/three.txt src src/deep src/deep/er src/deep/er/x.go src/linked src/linked2 src/main.go"},
		{"docs", nil, nil, "sub sub/one.txt sub/two.go three.txt"},
		{"/docs/", nil, nil, "sub sub/one.txt sub/two.go three.txt"},
		{"docs/sub/one.txt", nil, nil, "one.txt"},
		{"src/linked", nil, nil, "linked"},
		{"src", nil, []string{"deep"}, "linked linked2 main.go"},
		{"", []string{"*.go"}, nil, "docs docs/sub docs/sub/two.go src src/deep src/deep/er src/deep/er/x.go src/main.go"},
		{"", []string{"*.go"}, []string{"/docs"}, "src src/deep src/deep/er src/deep/er/x.go src/main.go"},
		{"", []string{"/docs/sub/"}, nil, "docs docs/sub docs/sub/one.txt docs/sub/two.go"},
		{"src", []string{"x.go"}, nil, "deep deep/er deep/er/x.go"},
		{"", []string{"nothing"}, nil, ""},
		{"", nil, []string{"*"}, ""},
	} {
		o := w.options(fmt.Sprintf("out%d", rand.Uint64()))
		o.Path = []byte(c.path)
		if c.include != nil {
			o.Include = patterns(t, c.include...)
		}
		if c.exclude != nil {
			o.Exclude = patterns(t, c.exclude...)
		}
		w.clean(o)
		if got := strings.Join(names(t, o.Target), " "); got != c.want {
			t.Errorf("%q %v %v:\nwant %s\n got %s", c.path, c.include, c.exclude, c.want, got)
		}
		if c.path == "src" && c.include == nil {
			a, errA := os.Stat(filepath.Join(o.Target, "linked"))
			b, errB := os.Stat(filepath.Join(o.Target, "linked2"))
			if errA != nil || errB != nil || !os.SameFile(a, b) {
				t.Error("later names of a file that is not chosen are not one file")
			}
		}
	}
	o := w.options("none")
	o.Path = []byte("docs/nothing")
	if _, err := restore.Run(context.Background(), o); !errors.Is(err, restore.ErrNotThere) {
		t.Errorf("path that is not there: %v", err)
	}
}

func names(t testing.TB, root string) []string {
	t.Helper()
	var out []string
	if err := filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, p); rel != "." {
			out = append(out, filepath.ToSlash(rel))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func TestOverwrite(t *testing.T) {
	when := time.Unix(1_500_000_000, 0)
	for _, c := range []struct {
		policy                 target.Overwrite
		same, forged, old, big string // what becomes of files there
		kept, replaced         int64
	}{
		// same: as in the snapshot. forged: size and time as there, content not. old: content as there, time not. big: another size.
		{target.Never, "content", "FORGED!", "content", "something else", 6, 0},
		{target.Changed, "content", "FORGED!", "content", "content", 4, 2},
		{target.Always, "content", "content", "content", "content", 4, 2},
	} {
		w := newWorld(t)
		large := randomBytes(1, 300<<10)
		for _, n := range []string{"same", "forged", "old", "big"} {
			w.write(n, []byte("content"))
			w.must(os.Chtimes(filepath.Join(w.src, n), when, when))
		}
		w.write("large", large)
		w.must(os.Chtimes(filepath.Join(w.src, "large"), when, when))
		w.backup()
		o := w.options("out")
		o.Overwrite = c.policy
		w.must(os.Mkdir(o.Target, 0o755))
		put := func(name, content string, at time.Time) {
			path := filepath.Join(o.Target, name)
			w.must(os.WriteFile(path, []byte(content), 0o600))
			w.must(os.Chtimes(path, at, at))
		}
		put("same", "content", when)
		put("forged", "FORGED!", when)
		put("old", "content", when.Add(time.Hour))
		put("big", "something else", when)
		put("large", string(large), when)
		put("extra", "extra", when)
		dry := o
		dry.DryRun, dry.Delete = true, true
		before := describe(t, o.Target)
		pres := w.clean(dry)
		sameLines(t, before, describe(t, o.Target))
		w.items = nil
		res := w.clean(o)
		if res.Kept != c.kept || res.Replaced != c.replaced {
			t.Errorf("policy %d: kept %d, replaced %d: %v", c.policy, res.Kept, res.Replaced, w.items)
		}
		if pres.Kept != res.Kept || pres.Replaced != res.Replaced || pres.Created != res.Created || pres.Deleted != 1 {
			t.Errorf("policy %d: a dry run told %+v", c.policy, pres)
		}
		for name, want := range map[string]string{"same": c.same, "forged": c.forged, "old": c.old, "big": c.big, "large": string(large), "extra": "extra"} {
			if got, err := os.ReadFile(filepath.Join(o.Target, name)); err != nil || string(got) != want {
				t.Errorf("policy %d: %s is %.40q, %v", c.policy, name, got, err)
			}
		}
		if info, err := os.Stat(filepath.Join(o.Target, "old")); err != nil || (c.policy != target.Never) != info.ModTime().Equal(when) {
			t.Errorf("policy %d: old has time %v, %v", c.policy, info.ModTime(), err)
		}
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	w.write("a/keep", []byte("1"))
	w.write("a/b/keep", []byte("2"))
	w.write("c/x.go", []byte("3"))
	w.backup()
	fill := func(dir string) {
		for _, n := range []string{"a/extra", "a/b/extra/deep/file", "c/other.txt", "c/other.go", "top"} {
			w.must(os.MkdirAll(filepath.Dir(filepath.Join(dir, n)), 0o755))
			w.must(os.WriteFile(filepath.Join(dir, n), nil, 0o644))
		}
	}
	o := w.options("all")
	o.Delete = true
	fill(o.Target)
	w.clean(o)
	sameTree(t, w.src, o.Target)

	o = w.options("part")
	o.Delete, o.Path = true, []byte("a")
	w.must(os.MkdirAll(filepath.Join(o.Target, "gone"), 0o755))
	w.clean(o)
	if got := strings.Join(names(t, o.Target), " "); got != "b b/keep keep" {
		t.Error(got)
	}

	o = w.options("pattern")
	o.Delete, o.Include = true, patterns(t, "*.go")
	fill(o.Target)
	w.clean(o)
	if got := strings.Join(names(t, o.Target), " "); got != "a a/b a/b/extra a/b/extra/deep a/b/extra/deep/file a/extra c c/other.txt c/x.go top" {
		t.Error(got)
	}

	w.must(w.st.Delete(context.Background(), w.packs("data/")[0]))
	o = w.options("damaged")
	o.Delete = true
	fill(o.Target)
	if res := w.run(o); !res.NoDelete || res.Deleted != 0 || !exists(filepath.Join(o.Target, "top")) {
		t.Errorf("deleted after damage: %+v", res)
	}
}

func TestWriteOnly(t *testing.T) {
	w := newWorld(t)
	w.write("x", []byte("x"))
	w.backup()
	w.access.Secrets = nil
	o := w.options("out")
	if _, err := restore.Run(context.Background(), o); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("run: %v", err)
	}
	if _, err := restore.Plan(context.Background(), o); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("plan: %v", err)
	}
	o.Target, o.Tar = "", &bytes.Buffer{}
	if _, err := restore.Run(context.Background(), o); !errors.Is(err, repo.ErrWriteOnly) {
		t.Errorf("tar: %v", err)
	}
}

func TestPlan(t *testing.T) {
	w := newWorld(t)
	w.pack = 200 << 10
	w.plant(3, 80)
	w.backup()
	o := w.options("out")
	n, err := restore.Plan(context.Background(), o)
	w.must(err)
	res := w.clean(o)
	if n.Files != res.Files || n.Bytes != res.Bytes || n.Dirs != res.Dirs || n.Others != res.Others || n.Requests != res.Requests || n.Download != res.BytesGot || n.Missing != 0 {
		t.Errorf("plan %+v\nrun %+v", n, res)
	}
	if len(n.Packs) != len(w.packs("data/")) {
		t.Errorf("%d packs planned, there are %d", len(n.Packs), len(w.packs("data/")))
	}
	for _, p := range n.Packs {
		if info, err := w.st.Stat(context.Background(), p.Object); err != nil || info.Size != p.Size || p.Download > p.Size {
			t.Errorf("%+v: %+v, %v", p, info, err)
		}
	}
	if res.Requests > int64(len(n.Packs)+2) {
		t.Errorf("%d requests for %d packs", res.Requests, len(n.Packs))
	}
}

func TestProgress(t *testing.T) {
	w := newWorld(t)
	w.plant(4, 60)
	w.backup()
	o := w.options("out")
	var last event.Progress
	o.Report = func(e event.Event) {
		if p, ok := e.(event.Progress); ok {
			last = p
		}
	}
	res := w.run(o)
	if last.Phase != "restore" || last.FilesDone != res.Files || last.FilesTotal != res.Files || last.BytesDone != res.Bytes || last.BytesTotal != res.Bytes {
		t.Errorf("last progress %+v of %+v", last, res)
	}
}
