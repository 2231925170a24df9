package browse_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"firn/internal/browse"
)

// TestPage goes through folders page by page, and jumps into them.
func TestPage(t *testing.T) {
	w := newWorld(t)
	plant(w)
	w.write("many/a/below", "x")
	w.write("many/a/deep/er", "x")
	for i := range 700 {
		w.write(fmt.Sprintf("many/file%04d", i), "x")
	}
	w.must(os.MkdirAll(filepath.Join(w.src, "many", "zz", "sub"), 0o755))
	w.must(os.Mkdir(filepath.Join(w.src, "empty"), 0o755))
	v := w.view(w.backup())
	defer v.Close()
	for _, folder := range []string{"", "docs", "docs/deep", "many", "many/a", "many/zz", "empty"} {
		var want []string
		w.must(v.List(browse.ListOptions{Path: []byte(folder)}, func(e *browse.Entry) error { want = append(want, string(e.Path)); return nil }))
		for _, limit := range []int{1, 2, 100, 1000} {
			if limit == 1 && len(want) > 100 {
				continue
			}
			var got []string
			var after []byte
			for more := true; more; {
				var list []*browse.Entry
				var err error
				list, more, err = v.Page(browse.PageOptions{Path: []byte(folder), After: after, Limit: limit})
				w.must(err)
				if more && len(list) != limit {
					t.Fatalf("%q: a page of %d, and there is more", folder, len(list))
				}
				for _, e := range list {
					got = append(got, string(e.Path))
					after = e.Path[bytes.LastIndexByte(e.Path, '/')+1:]
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%q by %d: %d entries, want %d", folder, limit, len(got), len(want))
			}
		}
	}
	for _, c := range []struct{ folder, after, from, want string }{
		{"many", "", "file03", "many/file0300"}, {"many", "", "a", "many/a"}, {"many", "", "a/b", "many/a"}, {"many", "", "b", "many/file0000"},
		{"many", "", "zzz", ""}, {"many", "a", "zz", "many/file0000"}, {"many", "file06", "", "many/file0600"}, {"many", "zz", "", ""}, {"", "", "docs.txt", "docs.txt"}, {"", "docs", "", "docs.txt"},
	} {
		list, _, err := v.Page(browse.PageOptions{Path: []byte(c.folder), After: []byte(c.after), From: []byte(c.from), Limit: 1})
		w.must(err)
		if got := ""; len(list) > 0 && string(list[0].Path) != c.want || len(list) == 0 && c.want != got {
			t.Errorf("%+v: %v", c, list)
		}
	}
	if _, _, err := v.Page(browse.PageOptions{Path: []byte("docs.txt")}); !errors.Is(err, browse.ErrNotFolder) {
		t.Error(err)
	}
	if _, _, err := v.Page(browse.PageOptions{Path: []byte("none")}); !errors.Is(err, browse.ErrNotThere) {
		t.Error(err)
	}
}
