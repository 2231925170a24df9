package frozen

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/backup"
	"firn/internal/repo"
)

// fillWorld makes a tree with everything in it: all types, bundles, large files, many pieces, holes, a manifest of several chunks.
func fillWorld(m *maker) {
	m.everyKind()
	for i := range 400 {
		m.file(fmt.Sprintf("many/%03d/file number %d", i%40, i), m.random(m.int(200)), 0o644)
	}
	m.file("large/random", m.random(1_000_000), 0o644)
	m.file("large/thin", m.thin(9_000_000), 0o644) // more than 64 pieces
	m.extents("large/holes", 90, 4096, 64<<10, 1<<20)
	m.extents("large/one hole", 0, 0, 0, 3<<20)
	m.extents("large/hole in front", 1, 0, 1<<20, 100_000)
	m.file("first", m.random(300_000), 0o640)
	for _, name := range []string{"twins/a", "twins/b"} {
		m.must(os.MkdirAll(m.path("twins"), 0o755))
		m.must(os.Link(m.path("first"), m.path(name)))
	}
}

func TestRecover(t *testing.T) {
	need(t, "python3", "age", "zstd")
	w := newWorld(t, t.TempDir(), smallChunks(repo.InitOptions{}))
	m := &maker{t: t, root: w.src, state: 1}
	fillWorld(m)
	m.times()
	first := readTree(t, w.src)
	a := w.backup(nil).Snapshot

	m.file("docs/two", []byte("zwei\n"), 0o644)
	m.must(os.RemoveAll(m.path("many/007")))
	m.file("many/new", m.random(100), 0o644)
	m.must(os.Rename(m.path("large/random"), m.path("large/renamed")))
	second := readTree(t, w.src)
	b := w.backup(func(o *backup.Options) { o.FlushAfter, o.FlushPacks = 1, 1 }).Snapshot

	key := w.dataKey()
	t.Run("list of snapshots", func(t *testing.T) {
		out := mustRecover(t, w.root, key)
		for _, id := range []string{a.ID.String(), b.ID.String()} {
			if !strings.Contains(out, id) || !strings.Contains(out, "nas:/srv/tree") {
				t.Errorf("snapshot %s is not in\n%s", id, out)
			}
		}
	})
	for _, c := range []struct {
		name, snapshot, path string
		want                 []item
	}{
		{"latest", "latest", "", second},
		{"beginning of an id", a.ID.String()[:12], "", first},
		{"folder", b.ID.String(), "many", second},
		{"not UTF-8", "latest", "names/caf\xe9", second},
		{"big file", "latest", "large/thin", second},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, what := filepath.Join(t.TempDir(), "target"), c.snapshot
			if c.path != "" {
				what += ":" + c.path
			}
			mustRecover(t, w.root, key, what, target)
			want := below(t, c.want, c.path)
			got := readTree(t, target)
			if len(want) == 1 && want[0].Type == "file" { // a file goes into the target under its name
				want[0].setPath([]byte(filepath.Base(c.path)))
				got = got[1:]
			}
			sameItems(t, want, got)
		})
	}
	t.Run("hard links whose first name is not chosen", func(t *testing.T) {
		target := filepath.Join(t.TempDir(), "target")
		mustRecover(t, w.root, key, a.ID.String()+":other-two", target)
		if got, err := os.ReadFile(filepath.Join(target, "other-two")); err != nil || string(got) != "two\n" {
			t.Errorf("%q, %v", got, err)
		}
		target = filepath.Join(t.TempDir(), "twins")
		mustRecover(t, w.root, key, "latest:twins", target)
		got := readTree(t, target)
		if len(got) != 3 || got[2].Hardlink != b64([]byte("a")) {
			t.Fatalf("got %+v", got)
		}
		want := below(t, first, "first")[0]
		want.setPath([]byte("a"))
		sameItems(t, []item{want}, got[1:2])
	})
	t.Run("list without data", func(t *testing.T) { testList(t, w, a.ID.String(), first) })
}

// testList restores with nothing of data/ but what --list prints, which it prints without data/.
func testList(t *testing.T, w *world, id string, want []item) {
	part, key := filepath.Join(t.TempDir(), "part"), w.dataKey()
	for _, name := range objects(t, w.root, "") {
		if !strings.HasPrefix(name, "data/") {
			copyObject(t, w.root, part, name)
		}
	}
	list := listed(t, mustRecover(t, part, key, "--list", id+":docs"), "missing")
	all := listed(t, mustRecover(t, part, key, "--list", id), "missing")
	if len(list) == 0 || len(list) >= len(all) || len(all) >= len(objects(t, w.root, "data")) {
		t.Errorf("listed %d objects for a folder, %d for all, there are %d", len(list), len(all), len(objects(t, w.root, "data")))
	}
	for _, name := range list {
		copyObject(t, w.root, part, name)
	}
	if again := listed(t, mustRecover(t, part, key, "--list", id+":docs"), "here"); len(again) != len(list) {
		t.Errorf("listed %d objects, and %d once they are here", len(list), len(again))
	}
	target := filepath.Join(t.TempDir(), "target")
	mustRecover(t, part, key, id+":docs", target)
	sameItems(t, below(t, want, "docs"), readTree(t, target))
	if _, errs, err := recoverPy(t, part, key, id, filepath.Join(t.TempDir(), "rest")); err == nil || !strings.Contains(errs, "No such file") {
		t.Errorf("restored all without its data: %v\n%s", err, errs)
	}
}

// listed returns the names that --list printed, all of which are to be here or missing.
func listed(t *testing.T, out, state string) (names []string) {
	t.Helper()
	for line := range strings.Lines(out) {
		name, rest, _ := strings.Cut(line, "\t")
		if !strings.HasSuffix(rest, "\t"+state+"\n") || strings.Count(rest, "\t") != 2 {
			t.Errorf("--list: %q", line)
		}
		names = append(names, name)
	}
	return names
}

func copyObject(t testing.TB, from, to, name string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(from, name))
	if err == nil {
		err = os.MkdirAll(filepath.Dir(filepath.Join(to, name)), 0o755)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(to, name), raw, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
