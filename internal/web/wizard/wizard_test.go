package wizard_test

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/snapshot"
	"firn/internal/web"
	"firn/internal/web/webtest"
)

// odd are names that a page must not be moved by.
var odd = map[string]string{
	"a/<script>alert(1)</script>.txt": "html", "a/quote\" onclick=\"x.txt": "quote", "a/new\nline.txt": "line", "a/\xff\xfe.bin": "no text", "b/plain.txt": "plain", "b/sub/deep.txt": "deep", "c.txt": "c",
}

func (w *world) photos() *snapshot.Snapshot {
	return w.Backup("photos", func(dir string) {
		for name, content := range odd {
			w.Write("photos", name, content)
		}
	})
}

// TestFolder goes the whole way of a hot restore into a folder: basket, plan, restore, result, forgetting.
func TestFolder(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	s := w.photos()
	w.wants(w.Get("/r/nas/restore"), 200, "The basket is empty")
	w.wants(w.fill(s, "b/sub", "b/sub/deep.txt", "c.txt", "a/<script>alert(1)</script>.txt", "a/new\nline.txt", "a/\xff\xfe.bin", "a/quote\" onclick=\"x.txt"), 200,
		"6 items", "b/sub/", `&lt;script&gt;`, `a/new\nline.txt`, `\xff\xfe`, "Show the plan")
	if p := w.Get("/r/nas/restore"); p.Has("<script>alert") || p.Has(`onclick="x`) || p.Has("new\nline") {
		t.Errorf("a name is taken for a part of the page:\n%s", p.Body)
	}
	p := w.Post("/r/nas/restore/remove", url.Values{"snapshot": {s.ID.String()}, "path": {web.EncodePath([]byte("c.txt"))}})
	w.wants(p, 200, "5 items")
	target := filepath.Join(w.Base, "out put")
	p = w.plan(s, "folder", target, "never")
	w.wants(p, 200, "5 files in ", "the folder is not there yet", "Nothing has to be thawed", "Room there")
	p = w.press(p, "/restore/go", "Restore")
	address := p.URL.Path
	p = w.ended(p)
	w.wants(p, 200, badge("done"), "5 files", "--target=", "--overwrite=never", "--files-from=", "--from0", "--max-cost=0", "created, 0 replaced")
	want := maps.Clone(odd)
	delete(want, "b/plain.txt")
	delete(want, "c.txt")
	if got := tree(t, target); !maps.Equal(got, want) {
		t.Errorf("%q", got)
	}
	p = w.Get("/r/nas/restore")
	w.wants(p, 200, "The basket is empty", "Restores that have ended", address, "out put")
	for _, f := range []string{".json", ".list"} {
		info, err := os.Stat(filepath.Join(w.Site.Options().StateDir, "restores", filepath.Base(address)+f))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	w.wants(w.press(w.Get(address), "/forget", "Forget"), 200, "The basket is empty")
	w.wants(w.Get(address), 404, "there is no such restore")
	if all, err := os.ReadDir(filepath.Join(w.Site.Options().StateDir, "restores")); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	if got := tree(t, target); len(got) != len(want) {
		t.Error("forgetting removed what was restored")
	}
}

// TestWhole restores everything over what is there already, as the plan said.
func TestWhole(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	s := w.photos()
	w.wants(w.fill(s, "c.txt"), 200, "1 item;")
	w.wants(w.fill(s, ""), 200, "Everything in this snapshot")
	target := filepath.Join(w.Base, "out")
	if err := os.MkdirAll(target, 0o755); err != nil {
		t.Fatal(err)
	}
	w.wants(w.plan(s, "folder", target, "never"), 200, "the folder is there, and empty")
	if err := os.WriteFile(filepath.Join(target, "c.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := w.plan(s, "folder", target, "")
	w.wants(p, 200, "files in it stay as they are")
	w.wants(w.ended(w.press(p, "/restore/go", "Restore")), 200, badge("done"), "7 files", "0 replaced")
	if got := tree(t, target); got["c.txt"] != "mine" || len(got) != len(odd) {
		t.Errorf("%q", got)
	}
	w.fill(s, "")
	p = w.plan(s, "folder", target, "always")
	w.wants(p, 200, "are replaced where their content differs")
	w.wants(w.ended(w.press(p, "/restore/go", "Restore")), 200, badge("done"), "1 replaced")
	if got := tree(t, target); !maps.Equal(got, odd) {
		t.Errorf("%q", got)
	}
}

// names are those of the files in a tar that is whole.
func names(t *testing.T, raw []byte) map[string]string {
	t.Helper()
	out := map[string]string{}
	for r := tar.NewReader(bytes.NewReader(raw)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			out[h.Name] = string(content)
		}
	}
}

// TestArchives: a tar on this machine, and one that the browser gets.
func TestArchives(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	s := w.photos()
	w.fill(s, "a", "b/sub")
	want := maps.Clone(odd)
	delete(want, "b/plain.txt")
	delete(want, "c.txt")
	archive := filepath.Join(w.Base, "out.tar")
	p := w.plan(s, "tar", archive, "")
	w.wants(p, 200, "appears under this name once it is complete")
	w.wants(w.ended(w.press(p, "/restore/go", "Write the archive")), 200, badge("done"), "--tar=")
	raw, err := os.ReadFile(archive)
	if got := names(t, raw); err != nil || !maps.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	w.fill(s, "a", "b/sub")
	w.wants(w.plan(s, "tar", archive, ""), 409, "is there already")
	p = w.plan(s, "download", "", "")
	w.wants(p, 200, "goes to this browser")
	p = w.press(p, "/restore/go", "Download")
	w.wants(p, 200, badge("ready"), "The download can begin")
	address := p.URL.Path
	for range 2 { // it can be had again
		p = w.press(w.Get(address), "/download", "Download")
		if got := names(t, []byte(p.Body)); p.Status != 200 || !maps.Equal(got, want) {
			t.Errorf("%d, %q", p.Status, got)
		}
		if d := p.Header.Get("Content-Disposition"); !strings.HasPrefix(d, "attachment; filename=photos-20") || p.Header.Get("Content-Type") != "application/x-tar" {
			t.Errorf("%q", d)
		}
	}
	w.wants(w.Get(address), 200, badge("done"), "Download")
}

// TestRefused: what makes no sense is said before anything is begun.
func TestRefused(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	s := w.photos()
	other := w.photos()
	file := filepath.Join(w.Base, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(w.Repo, filepath.Join(w.Base, "link")); err != nil {
		t.Fatal(err)
	}
	id := s.ID.String()
	w.wants(w.fill(s), 400, "nothing was chosen")
	w.wants(w.fill(s, "nothing/here"), 404)
	w.wants(w.Post("/r/nas/restore/basket", url.Values{"snapshot": {id}, "path": {"%%"}}), 400, "that is no path")
	w.wants(w.Post("/r/nas/restore/basket", url.Values{"snapshot": {"x"}, "path": {""}}), 400, "no id of a snapshot")
	w.wants(w.Post("/r/nas/restore/basket", url.Values{"snapshot": {strings.Repeat("0", 32)}, "path": {""}}), 410, "is gone")
	w.wants(w.Post("/r/other/restore/basket", url.Values{"snapshot": {id}}), 404)
	w.wants(w.plan(s, "folder", "/tmp/x", ""), 409, "the basket is empty")
	w.fill(s, "b")
	for _, c := range []struct{ to, target, overwrite, says string }{
		{"", "/tmp/x", "", "where to?"}, {"folder", "", "", "no path is given"}, {"folder", "relative/path", "", "is not absolute"}, {"folder", "/tmp/../etc", "", "is &#34;/etc&#34; meant?"},
		{"folder", "/tmp/", "", "is not plain"}, {"folder", "/tmp/a\x00b", "", "that is no path"}, {"folder", "/" + strings.Repeat("x", 5000), "", "that is no path"},
		{"folder", w.Repo, "", "lies in the repository"}, {"folder", filepath.Join(w.Repo, "data", "x"), "", "lies in the repository"}, {"folder", filepath.Join(w.Base, "link", "x"), "", "lies in the repository"},
		{"tar", filepath.Join(w.Repo, "x.tar"), "", "lies in the repository"}, {"folder", file, "", "is no folder"}, {"tar", filepath.Join(file, "x.tar"), "", ""}, {"tar", filepath.Join(w.Base, "none", "x.tar"), "", ""},
		{"folder", "/tmp/x", "maybe", "is none of that"},
	} {
		p := w.plan(s, c.to, c.target, c.overwrite)
		if p.Status < 400 || !p.Has(c.says) {
			t.Errorf("%+v: %d\n%s", c, p.Status, p.Body)
		}
	}

	for _, target := range []string{filepath.Join(file, "x"), filepath.Join(w.Base, strings.Repeat("x", 300))} {
		w.wants(w.plan(s, "folder", target, ""), 400, "cannot be used", "choose another path", `href="/r/nas/restore">Restore</a>`)
	}

	// Two tabs: what was agreed to is what was shown.
	target := filepath.Join(w.Base, "out")
	p := w.plan(s, "folder", target, "")
	w.fill(s, "c.txt")
	w.wants(w.press(p, "/restore/go", "Restore"), 409, "the basket was changed")
	p = w.plan(s, "folder", target, "")
	first := w.press(p, "/restore/go", "Restore")
	second := w.press(p, "/restore/go", "Restore")
	if first.URL.Path != second.URL.Path {
		t.Errorf("one form began two restores: %s and %s", first.URL, second.URL)
	}
	w.wants(w.ended(second), 200, badge("done"))
	w.wants(w.press(w.Get(first.URL.Path), "/forget", "Forget"), 200)
	w.wants(w.Post(first.URL.Path+"/on", nil), 404)
	w.wants(w.Post(first.URL.Path+"/download", nil), 404)
	w.wants(w.Get("/r/nas/restore/../../etc/passwd"), 400)
	w.wants(w.Get("/r/nas/restore/0123456789abcdeX"), 404)

	// Another session has baskets of its own.
	w.fill(other, "b")
	if p := w.GetBy(w.NewClient(), "/r/nas/restore"); !p.Has("The basket is empty") {
		t.Error("baskets of another session are shown")
	}
	address, values := w.form(w.plan(other, "folder", target, ""), "/restore/go", "Restore")
	w.wants(w.PostBy(w.NewClient(), address, values), 409, "the basket is empty")
	for name, bad := range map[string]string{"id": "../../x", "limit": "--yes", "tier": "a b", "to": "elsewhere"} {
		forged := maps.Clone(values)
		forged[name] = []string{bad}
		if p := w.Post(address, forged); p.Status != 400 {
			t.Errorf("%s %q: %d", name, bad, p.Status)
		}
	}
	forged := maps.Clone(values)
	delete(forged, "limit")
	w.wants(w.Post(address, forged), 400, "no amount was agreed to")
}
