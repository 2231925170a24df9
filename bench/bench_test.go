//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == measureWord {
		os.Exit(measureChild(os.Args[2:]))
	}
	os.Exit(m.Run())
}

// treeSum is the sum of all names, contents, modes and times of files.
func treeSum(t *testing.T, dir string) string {
	t.Helper()
	h := sha256.New()
	err := eachFile(dir, func(path string, info fs.FileInfo) error {
		content, err := os.ReadFile(path)
		fmt.Fprintf(h, "%s %v %v %x\n", strings.TrimPrefix(path, dir), info.Mode(), info.ModTime().UnixNano(), sha256.Sum256(content))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// inputs is a small machine: folders with text and programs.
func inputs(t *testing.T) (text, code []string) {
	t.Helper()
	dir := t.TempDir()
	for i := range 300 {
		for _, f := range []struct{ name, content string }{
			{fmt.Sprintf("text/%d/a.go", i), strings.Repeat(fmt.Sprintln("line", i), 300)},
			{fmt.Sprintf("code/%d.so", i), strings.Repeat(fmt.Sprint("\x7fELF\x00", i), 300)},
		} {
			path := filepath.Join(dir, f.name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := writeLike(path, []byte(f.content), 0o640, stamp(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return []string{filepath.Join(dir, "text"), filepath.Join(dir, "code")}, []string{filepath.Join(dir, "code"), filepath.Join(dir, "text")}
}

func buildSmall(t *testing.T, c corpus, text, code []string) string {
	t.Helper()
	b := &builder{dir: filepath.Join(t.TempDir(), c.name), scale: 0.002, text: text, code: code, rng: newRand(c.name)}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := c.build(b); err != nil {
		t.Fatal(err)
	}
	size, files, err := measureDir(b.dir)
	if err != nil || size != b.bytes || files != b.files || files == 0 {
		t.Fatalf("%s: %d files of %d bytes, counted %d of %d: %v", c.name, files, size, b.files, b.bytes, err)
	}
	return b.dir
}

func TestCorporaAreTheSameEachTime(t *testing.T) {
	text, code := inputs(t)
	for _, c := range corpora() {
		one, two := buildSmall(t, c, text, code), buildSmall(t, c, text, code)
		before := treeSum(t, one)
		if got := treeSum(t, two); got != before {
			t.Errorf("%s: two builds differ", c.name)
		}
		undo := filepath.Join(t.TempDir(), "undo")
		for _, dir := range []string{one, two} {
			if err := c.edit(newEditor(dir, undo+filepath.Base(filepath.Dir(dir)))); err != nil {
				t.Fatal(err)
			}
		}
		after := treeSum(t, one)
		if after == before || after != treeSum(t, two) {
			t.Errorf("%s: edits changed nothing, or not the same", c.name)
		}
		if err := newEditor(one, undo+filepath.Base(filepath.Dir(one))).revert(); err != nil {
			t.Fatal(err)
		}
		if treeSum(t, one) != before {
			t.Errorf("%s: edits were not taken back", c.name)
		}
	}
}

func TestEditsChangeOneInAHundred(t *testing.T) {
	c := corpora()[slices.Index(corpusNames(), "many")]
	plain, changed := buildSmall(t, c, nil, nil), buildSmall(t, c, nil, nil)
	e := newEditor(changed, filepath.Join(t.TempDir(), "undo"))
	if err := e.tree(); err != nil {
		t.Fatal(err)
	}
	d, err := compareTrees(plain, changed)
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Content + d.Missing; got != 6 || d.Files != 600 {
		t.Errorf("%d of %d files changed or missing, want 6 of 600: %s", got, d.Files, d)
	}
}

// A run that was killed between the journal and the end of its edits leaves some files in place.
func TestRevertHalfDone(t *testing.T) {
	c := corpora()[slices.Index(corpusNames(), "many")]
	dir, undo := buildSmall(t, c, nil, nil), filepath.Join(t.TempDir(), "undo")
	before := treeSum(t, dir)
	e := newEditor(dir, undo)
	if err := e.begin([]string{"00/000/note-000001.txt", "00/000/note-000002.txt"}, []string{"new"}); err != nil {
		t.Fatal(err)
	}
	if err := e.treeFile(0, "00/000/note-000001.txt"); err != nil {
		t.Fatal(err)
	}
	if treeSum(t, dir) == before {
		t.Fatal("nothing was edited")
	}
	if err := newEditor(dir, undo).revert(); err != nil {
		t.Fatal(err)
	}
	if treeSum(t, dir) != before {
		t.Error("not as it was")
	}
}

func TestCompareTrees(t *testing.T) {
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		want  string
	}{
		{"same", func(string) error { return nil }, "ok"},
		{"missing", func(d string) error { return os.Remove(filepath.Join(d, "sub/b")) }, "1 missing"},
		{"missing folder", func(d string) error { return os.RemoveAll(filepath.Join(d, "sub")) }, "1 missing"},
		{"extra", func(d string) error { return os.Mkdir(filepath.Join(d, "aa"), 0o755) }, "1 extra"},
		{"content", func(d string) error { return writeLike(filepath.Join(d, "a"), []byte("hullo"), 0o600, stamp(1)) }, "1 content"},
		{"longer", func(d string) error { return writeLike(filepath.Join(d, "a"), []byte("hello!"), 0o600, stamp(1)) }, "1 content"},
		{"mode", func(d string) error { return os.Chmod(filepath.Join(d, "a"), 0o644) }, "1 mode"},
		{"mtime", func(d string) error { return os.Chtimes(filepath.Join(d, "a"), stamp(1), stamp(1).Add(1)) }, "1 mtime fraction"},
		{"hour", func(d string) error { return os.Chtimes(filepath.Join(d, "a"), stamp(1), stamp(1).Add(time.Hour)) }, "1 mtime"},
		{"link", func(d string) error {
			return errJoin(os.Remove(filepath.Join(d, "z")), os.Symlink("b", filepath.Join(d, "z")))
		}, "1 content"},
		{"type", func(d string) error {
			return errJoin(os.Remove(filepath.Join(d, "a")), os.Mkdir(filepath.Join(d, "a"), 0o755))
		}, "1 content"},
	} {
		want, got := smallTree(t), smallTree(t)
		if err := c.spoil(got); err != nil {
			t.Fatal(err)
		}
		for _, d := range []string{want, got} { // not what is tested here
			for _, name := range []string{"sub", "z"} {
				setTime(t, filepath.Join(d, name))
			}
		}
		d, err := compareTrees(want, got)
		if err != nil {
			t.Fatal(err)
		}
		if d.String() != c.want {
			t.Errorf("%s: %s (%q), want %s", c.name, d, d.Examples, c.want)
		}
		if d.lost() == (c.want == "ok" || c.name == "mode" || c.name == "mtime" || c.name == "hour") {
			t.Errorf("%s: lost is %v", c.name, d.lost())
		}
	}
}

func errJoin(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func setTime(t *testing.T, path string) {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		return // removed by the case
	}
	if info.IsDir() {
		if err := os.Chtimes(path, stamp(2), stamp(2)); err != nil {
			t.Fatal(err)
		}
	} else if out, err := exec.Command("touch", "-h", "-d", "2020-01-01T00:00:00Z", path).CombinedOutput(); err != nil {
		t.Logf("%s", out)
	}
}

func smallTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := errJoin(
		writeLike(filepath.Join(dir, "a"), []byte("hello"), 0o600, stamp(1)),
		os.Mkdir(filepath.Join(dir, "sub"), 0o755),
		writeLike(filepath.Join(dir, "sub/b"), nil, 0o644, stamp(2)),
		os.Symlink("a", filepath.Join(dir, "z")),
	); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestFilter(t *testing.T) {
	f, err := parseFilter("firn/src,restic//restore")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		tool, corpus, phase string
		want                bool
	}{
		{"firn", "src", "first", true}, {"firn", "many", "first", false}, {"restic", "many", "restore", true},
		{"restic", "many", "first", false}, {"kopia", "src", "first", false}, {"", "src", "", true}, {"restic", "", "", true},
	} {
		if got := f.match(c.tool, c.corpus, c.phase); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
	for _, bad := range []string{"firn/source", "firn/src/last", "a/b/c/d"} {
		if _, err := parseFilter(bad); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestMedianAndRatios(t *testing.T) {
	var all []measurement
	for i, wall := range []float64{3, 1, 2} {
		all = append(all, measurement{Corpus: "src", Phase: first, Tool: "firn", Round: i, Usage: usage{Wall: wall, RSS: 10}},
			measurement{Corpus: "src", Phase: first, Tool: "restic", Round: i, Usage: usage{Wall: 4 * wall, RSS: 30}})
	}
	all = append(all, measurement{Corpus: "src", Phase: first, Tool: "kopia", Err: "no"})
	got := summarize(all)
	if len(got) != 3 || got[0].Wall != 2 || got[1].WallRatio != 4 || got[1].RSSRatio != 3 || got[2].Failed != 1 || got[2].WallRatio != 0 {
		t.Errorf("%+v", got)
	}
	if m := median([]int64{4, 1, 3, 2}); m != 2 {
		t.Errorf("median %d", m)
	}
}

func TestExecuteMeasures(t *testing.T) {
	hog := make([]byte, 256<<20) // memory of ours must not count as theirs
	for i := range hog {
		hog[i] = 1
	}
	u, err := execute(t.Context(), command{args: []string{"sh", "-c", "sleep 0.2"}}, time.Minute)
	if err != nil || u.Wall < 0.2 || u.Wall > 20 || u.RSS <= 0 || u.RSS > 100<<20 {
		t.Errorf("%+v %v", u, err)
	}
	if hog[0] != 1 {
		t.Fatal()
	}
	if _, err := execute(t.Context(), command{args: []string{"sh", "-c", "echo why >&2; exit 3"}}, time.Minute); err == nil || !strings.Contains(err.Error(), "why") {
		t.Errorf("error %v", err)
	}
	start := time.Now()
	if _, err := execute(t.Context(), command{args: []string{"sh", "-c", "sleep 60 & sleep 60"}}, 300*time.Millisecond); err == nil || time.Since(start) > 20*time.Second {
		t.Errorf("time limit: %v after %v", err, time.Since(start))
	}
}

// TestWholeRun takes the one tool that needs only Debian packages through everything.
func TestWholeRun(t *testing.T) {
	for _, p := range []string{"age", "age-keygen", "zstd", "tar", "bash"} {
		if _, err := exec.LookPath(p); err != nil {
			if os.Getenv("CI") == "true" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	dir := t.TempDir()
	var out, log bytes.Buffer
	err := run(context.Background(), []string{"--dir", dir, "--only", "pipe/many,pipe/image/restore", "--scale", "0.001", "--rounds", "2", "--json", "-"}, &out, &log)
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Medians) != 5 || len(r.Measurements) != 10 {
		t.Fatalf("%d medians, %d measurements\n%s", len(r.Medians), len(r.Measurements), log.String())
	}
	for _, m := range r.Medians {
		if m.Wall <= 0 || m.Stored <= 0 || m.Objects < 1 || math.IsNaN(m.CPU) || m.Phase == restore && m.Check != "ok" && !strings.HasSuffix(m.Check, " mtime fraction") {
			t.Errorf("%+v", m)
		}
	}
	for _, gone := range []string{"work", "undo/many", "undo/image"} {
		if _, err := os.Stat(filepath.Join(dir, gone)); err == nil {
			t.Errorf("%s was left behind", gone)
		}
	}
}
