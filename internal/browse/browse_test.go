package browse_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firn/internal/browse"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

func plant(w *world) {
	w.write("docs/a.txt", "aaa")
	w.write("docs/deep/b.txt", "bb")
	w.write("docs/deep/er/c.go", "c")
	w.write("docs.txt", "d")
	w.write("z\xff", "odd name")
	w.must(os.Symlink("docs/a.txt", filepath.Join(w.src, "link")))
	w.must(os.Link(filepath.Join(w.src, "docs/a.txt"), filepath.Join(w.src, "zlink")))
}

func list(t *testing.T, v *browse.View, o browse.ListOptions) string {
	t.Helper()
	var got []string
	if err := v.List(o, func(e *browse.Entry) error {
		name := string(e.Path)
		if e.Type == "dir" {
			name += "/"
		}
		got = append(got, name)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(got, " ")
}

func TestList(t *testing.T) {
	w := newWorld(t)
	plant(w)
	v := w.view(w.backup())
	for _, c := range []struct {
		o    browse.ListOptions
		want string
	}{
		{browse.ListOptions{}, "docs/ docs.txt link zlink z\xff"},
		{browse.ListOptions{Self: true}, "/ docs/ docs.txt link zlink z\xff"},
		{browse.ListOptions{Path: []byte("docs")}, "docs/a.txt docs/deep/"},
		{browse.ListOptions{Path: []byte("/docs/"), Self: true}, "docs/ docs/a.txt docs/deep/"},
		{browse.ListOptions{Path: []byte("docs"), Recursive: true}, "docs/a.txt docs/deep/ docs/deep/b.txt docs/deep/er/ docs/deep/er/c.go"},
		{browse.ListOptions{Path: []byte("docs/a.txt")}, "docs/a.txt"},
		{browse.ListOptions{Recursive: true, Include: patterns(t, "*.txt")}, "docs/a.txt docs/deep/b.txt docs.txt"},
		{browse.ListOptions{Recursive: true, Exclude: patterns(t, "/docs")}, "docs.txt link zlink z\xff"},
		{browse.ListOptions{Recursive: true, Exclude: patterns(t, "deep", "z*")}, "docs/ docs/a.txt docs.txt link"},
	} {
		if got := list(t, v, c.o); got != c.want {
			t.Errorf("%+v:\nwant %q\n got %q", c.o, c.want, got)
		}
	}
	if err := v.List(browse.ListOptions{Path: []byte("nothing")}, nil); !errors.Is(err, browse.ErrNotThere) {
		t.Error(err)
	}
	e, err := v.Stat([]byte("link"))
	w.must(err)
	if e.Type != "symlink" || string(e.Target) != "docs/a.txt" {
		t.Errorf("%+v", e)
	}
	raw, err := json.Marshal(e)
	w.must(err)
	if !strings.HasPrefix(string(raw), `{"path":"link","type":"symlink","mode":"0777","uid":`) || !strings.Contains(string(raw), `"target":"docs/a.txt"`) {
		t.Errorf("%s", raw)
	}
	e, err = v.Stat([]byte("z\xff"))
	w.must(err)
	if raw, _ := json.Marshal(e); !strings.HasPrefix(string(raw), `{"path_b64":"ev8="`) {
		t.Errorf("%s", raw)
	}
}

func TestCat(t *testing.T) {
	w := newWorld(t)
	plant(w)
	r := rand.New(rand.NewPCG(1, 1))
	large := make([]byte, 30<<20)
	for i := 0; i < len(large); i += 3 {
		large[i] = byte(r.Uint32())
	}
	clear(large[5<<20 : 12<<20])
	w.write("large", string(large))
	f, err := os.Create(filepath.Join(w.src, "sparse"))
	w.must(err)
	w.must(f.Truncate(4 << 20))
	_, err = f.WriteAt([]byte("end"), 4<<20-3)
	w.must(err)
	w.must(f.Close())
	v := w.view(w.backup())
	for _, name := range []string{"large", "sparse", "docs/a.txt", "zlink"} {
		want, err := os.ReadFile(filepath.Join(w.src, name))
		w.must(err)
		n := int64(len(want))
		for _, c := range []browse.CatOptions{{}, {Offset: 1}, {Offset: -2}, {Length: 2}, {Offset: n / 3, Length: n / 2}, {Offset: n - 1, Length: 5}, {Offset: n}, {Offset: -n - 7}} {
			from, to := c.Offset, n
			if from < 0 {
				from = max(0, n+from)
			}
			if c.Length > 0 {
				to = min(n, from+c.Length)
			}
			var b bytes.Buffer
			got, err := v.Cat(&b, []byte(name), c)
			if err != nil || got != to-from || !bytes.Equal(b.Bytes(), want[from:to]) {
				t.Errorf("%s %+v: %d bytes, %v", name, c, got, err)
			}
		}
		if _, err := v.Cat(&bytes.Buffer{}, []byte(name), browse.CatOptions{Offset: n + 1}); !errors.Is(err, browse.ErrRange) {
			t.Errorf("%s past its end: %v", name, err)
		}
	}
	for path, want := range map[string]error{"docs": browse.ErrNotFile, "link": browse.ErrNotFile, "none": browse.ErrNotThere} {
		if _, err := v.Cat(&bytes.Buffer{}, []byte(path), browse.CatOptions{}); !errors.Is(err, want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestDiff(t *testing.T) {
	for _, full := range []bool{false, true} {
		w := newWorld(t)
		plant(w)
		w.write("same", "same")
		first := w.backup()
		w.write("docs/a.txt", "AAAAA")
		w.write("new/file", "new")
		w.must(os.Remove(filepath.Join(w.src, "docs.txt")))
		w.must(os.Remove(filepath.Join(w.src, "link")))
		w.write("link", "now a file")
		w.must(os.Chmod(filepath.Join(w.src, "same"), 0o600))
		w.full = full
		second := w.backup()
		a, b := w.view(first), w.view(second)
		for _, c := range []struct {
			o    browse.DiffOptions
			want string
		}{
			{browse.DiffOptions{Metadata: true}, "metadata: modified:docs/a.txt removed:docs.txt type:link added:new added:new/file metadata:same modified:zlink"},
			{browse.DiffOptions{}, "modified:docs/a.txt removed:docs.txt type:link added:new added:new/file modified:zlink"},
			{browse.DiffOptions{Path: []byte("new")}, "added:new added:new/file"},
			{browse.DiffOptions{Include: patterns(t, "*.txt")}, "modified:docs/a.txt removed:docs.txt"},
		} {
			var got []string
			stats, err := browse.Diff(a, b, c.o, func(d *browse.Change) error {
				e := d.New
				if e == nil {
					e = d.Old
				}
				got = append(got, d.Kind+":"+string(e.Path))
				return nil
			})
			w.must(err)
			if strings.Join(got, " ") != c.want || stats.Approximate != full {
				t.Errorf("full %v %+v:\nwant %s\n got %s\n%+v", full, c.o, c.want, strings.Join(got, " "), stats)
			}
		}
		if _, err := browse.Diff(a, b, browse.DiffOptions{Path: []byte("nowhere")}, nil); !errors.Is(err, browse.ErrNotThere) {
			t.Error(err)
		}
	}
}

func TestFind(t *testing.T) {
	w := newWorld(t)
	plant(w)
	ids := []*snapshot.Snapshot{w.backup()}
	ids = append(ids, w.backup())
	w.write("docs/a.txt", "changed")
	ids = append(ids, w.backup())
	w.must(os.RemoveAll(filepath.Join(w.src, "docs")))
	ids = append(ids, w.backup())
	w.full = true
	ids = append(ids, w.backup())
	w.full = false
	w.write("docs/a.txt", "back again")
	ids = append(ids, w.backup())
	number := map[snapshot.ID]int{}
	for i, s := range ids {
		number[s.ID] = i
	}
	r, scope := w.open()
	for _, c := range []struct {
		pattern, kind, want string
	}{
		{"a.txt", "", "docs/a.txt 0-1 2; docs/a.txt 2-2 1; docs/a.txt 5-5 1"},
		{"*.go", "file", "docs/deep/er/c.go 0-2 3"},
		{"*.go", "dir", ""},
		{"docs.txt", "", "docs.txt 0-5 6"},
		{"deep", "dir", "docs/deep 0-2 3; docs/deep/er 0-2 3"},
	} {
		var got []string
		err := browse.Find(context.Background(), r, scope, browse.FindOptions{Include: patterns(t, c.pattern), Snapshots: scope.Items, Type: c.kind}, func(v *browse.Version) error {
			got = append(got, fmt.Sprintf("%s %d-%d %d", v.Path, number[v.First.ID], number[v.Last.ID], v.Count))
			return nil
		})
		w.must(err)
		if strings.Join(got, "; ") != c.want {
			t.Errorf("%s: want %s, got %s", c.pattern, c.want, strings.Join(got, "; "))
		}
	}
}

func TestWriteOnly(t *testing.T) {
	w := newWorld(t)
	plant(w)
	s := w.backup()
	w.access.Secrets = nil
	r, scope := w.open()
	if _, err := browse.Open(context.Background(), r, scope, s); !errors.Is(err, repo.ErrWriteOnly) {
		t.Error(err)
	}
}

func item(n byte, source byte, mod func(*snapshot.Item)) snapshot.Item {
	it := snapshot.Item{Marked: true, Snapshot: &snapshot.Snapshot{ID: snapshot.ID{n}, Start: time.Unix(int64(n)*86400, 0), Host: "nas", Sequence: uint64(n), Complete: true,
		Source: snapshot.Origin{ID: snapshot.Source{source}, Kind: "dir", Path: []byte(fmt.Sprintf("/data/%d", source))}}}
	if mod != nil {
		mod(&it)
	}
	return it
}

func TestSnapshots(t *testing.T) {
	items := []snapshot.Item{
		item(5, 2, func(i *snapshot.Item) { i.Tags = []string{"x", "y"}; i.Source.Name = "photos" }),
		item(1, 1, nil),
		item(2, 1, func(i *snapshot.Item) { i.Complete, i.Marked = false, false }),
		item(3, 1, func(i *snapshot.Item) { i.Voids = []snapshot.ID{{2}} }),
		item(4, 1, func(i *snapshot.Item) { i.Marked = false }),
		item(6, 1, func(i *snapshot.Item) { i.Forgotten = true }),
		item(7, 1, func(i *snapshot.Item) { i.Complete, i.Marked = false, false; i.Host = "other" }),
	}
	for _, c := range []struct {
		f    browse.Filter
		want string
	}{
		{browse.Filter{}, "1 done, 3 done, 4 unconfirmed, 5 done, 7 partial"},
		{browse.Filter{Voided: true, Forgotten: true}, "1 done, 2 partial, 3 done, 4 unconfirmed, 5 done, 6 forgotten, 7 partial"},
		{browse.Filter{Done: true}, "1 done, 3 done, 5 done"},
		{browse.Filter{Tags: []string{"y"}}, "5 done"},
		{browse.Filter{Source: "photos"}, "5 done"},
		{browse.Filter{Source: "/data/1/"}, "1 done, 3 done, 4 unconfirmed, 7 partial"},
		{browse.Filter{Source: "0100"}, "1 done, 3 done, 4 unconfirmed, 7 partial"},
		{browse.Filter{Source: "01"}, ""},
		{browse.Filter{Host: "other"}, "7 partial"},
	} {
		var got []string
		for _, i := range browse.Snapshots(items, c.f) {
			got = append(got, fmt.Sprintf("%d %s", i.ID[0], i.State))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%+v: want %s, got %s", c.f, c.want, strings.Join(got, ", "))
		}
	}
	var many *snapshot.AmbiguousError
	if _, err := browse.Select(items, "latest", browse.Filter{}, time.Now(), time.UTC); !errors.As(err, &many) {
		t.Errorf("latest of two sources: %v", err)
	}
	if it, err := browse.Select(items, "latest", browse.Filter{Source: "/data/1"}, time.Now(), time.UTC); err != nil || it.ID[0] != 3 {
		t.Errorf("latest: %v, %v", it.Snapshot, err)
	}
}
