package look_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"firn/internal/store"
	"firn/internal/web"
	"firn/internal/web/look"
	"firn/internal/web/webtest"
)

const png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func newWorld(t testing.TB, o webtest.Options) *webtest.World {
	t.Helper()
	w := webtest.New(t, o)
	look.Add(w.Site)
	return w
}

func enc(path string) string { return web.EncodePath([]byte(path)) }

// want fails where a page is not of that status or lacks a text.
func want(t *testing.T, p *webtest.Page, status int, texts ...string) {
	t.Helper()
	if p.Status != status {
		t.Errorf("%s: status %d, want %d\n%s", p.URL, p.Status, status, brief(p.Body))
	}
	for _, text := range texts {
		if !p.Has(text) {
			t.Errorf("%s: lacks %q\n%s", p.URL, text, brief(p.Body))
		}
	}
}

func brief(body string) string {
	if i := strings.Index(body, "<main"); i >= 0 {
		body = body[i:]
	}
	return body[:min(len(body), 3000)]
}

func TestSnapshots(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	want(t, w.Get("/r/nas/snapshots"), 200, "There are no snapshots yet")
	w.Write("photos", "a.txt", "one")
	first := w.Backup("photos", nil)
	w.Write("docs", "<b>.txt", "two")
	second := w.Backup("docs", nil)
	w.Write("photos", "a.txt", "three")
	third := w.Backup("photos", nil)
	p := w.Get("/r/nas/snapshots")
	want(t, p, 200, "3 snapshots", "/r/nas/s/"+first.ID.String()+"/", "/r/nas/s/"+second.ID.String()+"/", "/r/nas/diff?a="+first.ID.String()+"&amp;b="+third.ID.String())
	if p.Has("/r/nas/diff?a=" + second.ID.String()) {
		t.Error("a snapshot is compared with one of another source")
	}
	source := third.Source.ID.String()
	p = w.Get("/r/nas/snapshots?source=" + source + "&host=nas")
	want(t, p, 200, "2 snapshots", third.ID.String())
	if p.Has(second.ID.String()) {
		t.Error("the source is not heeded")
	}
	for _, none := range []string{"host=x", "tag=x", "from=2100-01-01", "to=1999-01-01", "state=partial", "source=0000000000000001"} {
		want(t, w.Get("/r/nas/snapshots?"+none), 200, "No snapshot is like that")
	}
	for _, odd := range []string{"page=-3", "page=x", "from=x&to=y", "source=zz", "page=99999999999"} {
		want(t, w.Get("/r/nas/snapshots?"+odd), 200, "3 snapshots")
	}
	want(t, w.Get("/r/other/snapshots"), 404)
}

func TestResolve(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	w.Write("photos", "dir/a.txt", "one")
	first := w.Backup("photos", nil)
	id := first.ID.String()
	for _, from := range []string{"/s/latest/", "/s/" + id[:10] + "/", "/s/" + id, "/s/latest"} {
		p := w.Get("/r/nas" + from + "?p=" + enc("dir"))
		want(t, p, 200, "a.txt")
		if p.URL.Path != "/r/nas/s/"+id+"/" || p.URL.Query().Get("p") != enc("dir") {
			t.Errorf("%s leads to %s", from, p.URL)
		}
	}
	w.Write("docs", "b.txt", "two")
	w.Backup("docs", nil)
	want(t, w.Get("/r/nas/s/latest/"), 404, "there are several sources")
	want(t, w.Get("/r/nas/s/latest/?source="+first.Source.ID.String()), 200, "dir/")
	for _, none := range []string{"zzz", "@never", strings.Repeat("0", 32), "..%2f..%2fetc", "%00"} {
		if p := w.Get("/r/nas/s/" + none + "/"); p.Status != 404 && p.Status != 400 {
			t.Errorf("%s: %d", none, p.Status)
		}
	}
}

func TestFolder(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	evil := "<script>alert(1)<b>\x1b[31m\u202egpj.exe"
	w.Write("photos", evil, "x")
	w.Write("photos", "caf\xe9", "x")
	w.Write("photos", "sub/deep/a.txt", "hello")
	dir := w.Dir("photos")
	must(t, os.Symlink("../<i>", filepath.Join(dir, "link")))
	must(t, os.Link(filepath.Join(dir, "sub/deep/a.txt"), filepath.Join(dir, "zother")))
	for i := range 1203 {
		w.Write("many", fmt.Sprintf("many/f%05d", i), "")
	}
	s := w.Backup("photos", nil)
	base := "/r/nas/s/" + s.ID.String()
	p := w.Get(base + "/")
	want(t, p, 200, "&lt;script&gt;", `\x1b[31m\u202egpj.exe`, `caf\xe9`, "../&lt;i&gt;", "same file as", "sub/deep/a.txt", `name="path" value="`+enc(evil)+`"`, `action="/r/nas/restore/basket"`, `name="csrf"`)
	if p.Has("<script>alert") || strings.ContainsAny(p.Body, "\x1b\u202e") || strings.Contains(p.Body, "\xe9") {
		t.Error("a name got through as it is")
	}
	want(t, w.Get(base+"/?p="+enc("sub/deep")), 200, `href="`+base+"/?p="+enc("sub")+`"`, "a.txt")
	want(t, w.Get(base+"/?p="+enc("sub/deep/a.txt")), 200, "hello") // leads to the file
	want(t, w.Get(base+"/?p="+enc(evil)), 200, "Preview")
	for _, bad := range []string{"../../etc/passwd", "sub/../sub", "/etc/passwd", "none", "sub/"} {
		if p := w.Get(base + "/?p=" + enc(bad)); p.Status != 404 && bad != "sub/" {
			t.Errorf("%q: %d", bad, p.Status)
		}
	}
	want(t, w.Get(base+"/?p=!!"), 400, "no path")

	m := w.Backup("many", nil)
	base = "/r/nas/s/" + m.ID.String()
	seen, pages, next := 0, 0, base+"/?p="+enc("many")
	for ; next != ""; pages++ {
		p := w.Get(next)
		want(t, p, 200)
		seen += len(checkbox.FindAllString(p.Body, -1))
		if back := link(p, "Page before"); (back != "") != (pages > 0) {
			t.Errorf("page %d: back leads to %q", pages, back)
		} else if back != "" {
			if b := w.Get(back); len(checkbox.FindAllString(b.Body, -1)) != 500 || link(b, "Next page") != next {
				t.Errorf("page %d: back leads to another page", pages)
			}
		}
		next = link(p, "Next page")
	}
	if seen != 1203 || pages != 3 {
		t.Errorf("%d entries on %d pages", seen, pages)
	}
	want(t, w.Get(base+"/?p="+enc("many")+"&from=f01000"), 200, "f01000", "First page", "203 entries")
}

var linkPattern = regexp.MustCompile(`href="([^"]*)">([^<]*)</a>`)

// link is where a link with a text leads.
func link(p *webtest.Page, text string) string {
	for _, m := range linkPattern.FindAllStringSubmatch(p.Body, -1) {
		if m[2] == text {
			return strings.ReplaceAll(m[1], "&amp;", "&")
		}
	}
	return ""
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFile(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	picture, _ := base64.StdEncoding.DecodeString(png)
	random := make([]byte, 5<<20)
	r := rand.New(rand.NewPCG(1, 1))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte("x"))
	must(t, z.Close())
	w.Write("photos", "a.txt", "hello <world>\x1b[0m\r\nzwei\u202e\n")
	w.Write("photos", "latin.txt", "gr\xfc\xdfe")
	w.Write("photos", "empty", "")
	w.Write("photos", "picture.txt", string(picture))
	w.Write("photos", "evil.png", "<html><script>alert(1)</script>")
	w.Write("photos", "random", string(random))
	w.Write("photos", "x.gz", packed.String())
	w.Write("photos", "ünï \"q\";\n.bin", "content")
	w.Write("photos", "long.log", strings.Repeat("0123456789abcde\n", 40000))
	must(t, os.Link(filepath.Join(w.Dir("photos"), "a.txt"), filepath.Join(w.Dir("photos"), "zz")))
	must(t, os.Symlink("a.txt", filepath.Join(w.Dir("photos"), "link")))
	s := w.Backup("photos", nil)
	base := "/r/nas/s/" + s.ID.String()
	file := func(name string) *webtest.Page { return w.Get(base + "/file?p=" + enc(name)) }
	want(t, file("a.txt"), 200, "hello &lt;world&gt;‹U&#43;001B›[0m\nzwei‹U&#43;202E›", "UTF-8, 2 lines", "hot", "-rw-r--r-- (0644)", "Fingerprint")
	want(t, file("zz"), 200, "hello", "Same file as", base+"/file?p="+enc("a.txt"))
	want(t, file("link"), 200, "Leads to", "a.txt")
	want(t, file("latin.txt"), 200, "Latin-1", "grüße")
	want(t, file("empty"), 200, "The file is empty")
	want(t, file("picture.txt"), 200, `<img src="`+base+"/raw?p="+enc("picture.txt"))
	want(t, file("evil.png"), 200, "&lt;script&gt;alert")
	want(t, file("random"), 200, "neither text nor a picture", "5.00 MiB")
	want(t, file("long.log"), 200, "16,384 lines; the first 256 KiB are shown")
	want(t, file("none"), 404)
	want(t, w.Get(base+"/file"), 200, "evil.png") // the source itself: a folder

	raw := w.Get(base + "/raw?p=" + enc("picture.txt"))
	want(t, raw, 200)
	if raw.Body != string(picture) || raw.Header.Get("Content-Type") != "image/png" || raw.Header.Get("Content-Security-Policy") != "sandbox; default-src 'none'" ||
		raw.Header.Get("X-Content-Type-Options") != "nosniff" || !strings.HasPrefix(raw.Header.Get("Content-Disposition"), "inline; ") {
		t.Errorf("%d bytes, %v", len(raw.Body), raw.Header)
	}
	for _, name := range []string{"evil.png", "a.txt", "empty"} {
		want(t, w.Get(base+"/raw?p="+enc(name)), 415)
	}
	for _, name := range []string{"link", ""} {
		want(t, w.Get(base+"/raw?p="+enc(name)), 400)
		want(t, w.Get(base+"/download?p="+enc(name)), 400)
	}
	load := w.Get(base + "/download?p=" + enc("random"))
	want(t, load, 200)
	if load.Body != string(random) || load.Header.Get("Content-Type") != "application/octet-stream" || load.Header.Get("Accept-Ranges") != "bytes" {
		t.Errorf("%d bytes, %v", len(load.Body), load.Header)
	}
	odd := w.Get(base + "/download?p=" + enc("ünï \"q\";\n.bin"))
	if got, want := odd.Header.Get("Content-Disposition"), `attachment; filename="_n_ _q___.bin"; filename*=UTF-8''%C3%BCn%C3%AF%20%22q%22%3B_.bin`; got != want || odd.Body != "content" {
		t.Errorf("%s", got)
	}
	if p := w.Get(base + "/download?p=" + enc("evil.png")); p.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(p.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("%v", p.Header)
	}
	ranges(t, w, base+"/download?p="+enc("random"), random)
}

// ranges asks for parts of a file in many ways.
func ranges(t *testing.T, w *webtest.World, address string, content []byte) {
	t.Helper()
	c := w.NewClient()
	for _, x := range []struct {
		header   string
		status   int
		from, to int
	}{
		{"bytes=0-0", 206, 0, 1}, {"bytes=1000000-1000999", 206, 1000000, 1001000}, {"bytes=-5", 206, len(content) - 5, len(content)}, {"bytes=5000000-", 206, 5000000, len(content)},
		{"bytes=0-99999999", 206, 0, len(content)}, {"bytes=99999999-", 416, 0, 0}, {"bytes=5-2", 416, 0, 0}, {"lines=1-2", 416, 0, 0}, {"bytes=x", 416, 0, 0},
	} {
		r, err := http.NewRequest(http.MethodGet, w.URL+address, nil)
		must(t, err)
		r.Header.Set("Range", x.header)
		res, err := c.Do(r)
		must(t, err)
		body, err := io.ReadAll(res.Body)
		must(t, err)
		_ = res.Body.Close()
		if res.StatusCode != x.status || x.status == 206 && !bytes.Equal(body, content[x.from:x.to]) {
			t.Errorf("%s: %d, %d bytes", x.header, res.StatusCode, len(body))
		}
	}
}

// TestCold: what lies in a cold class is told of, with its price, and never read.
func TestCold(t *testing.T) {
	w := newWorld(t, webtest.Options{Cold: "DEEP_ARCHIVE"})
	w.Write("photos", "a.txt", "hello")
	w.Write("photos", "empty", "")
	s := w.Backup("photos", nil)
	base := "/r/nas/s/" + s.ID.String()
	p := w.Get(base + "/file?p=" + enc("a.txt"))
	want(t, p, 200, "cold", "To thaw the packs costs about", "bulk", "DEEP_ARCHIVE", "Only what can be read without being thawed is shown")
	if p.Has("/download?") || p.Has("hello") || p.Has("<img src=\"/r") {
		t.Error("cold content is offered")
	}
	want(t, w.Get(base+"/download?p="+enc("a.txt")), 409, "thawed first", "basket")
	want(t, w.Get(base+"/raw?p="+enc("a.txt")), 409)
	want(t, w.Get(base+"/file?p="+enc("empty")), 200, "The file is empty")
	var packs []string
	must(t, w.Store.List(context.Background(), "data/", "", func(i store.Info) error {
		if !strings.HasSuffix(i.Name, ".par2") {
			packs = append(packs, i.Name)
		}
		return nil
	}))
	thawer, ok := store.As[store.Thawer](w.Store)
	if !ok {
		t.Fatal("no store that thaws")
	}
	for _, name := range packs {
		if i, err := w.Store.Stat(context.Background(), name); err != nil || i.Copy.State != store.NoCopy {
			t.Errorf("%s: %+v, %v", name, i, err)
		}
		_, err := thawer.Thaw(context.Background(), name, store.ThawOptions{Tier: store.Standard, Days: 2})
		must(t, err)
	}
	w.Advance(2 * time.Minute)
	want(t, w.Get(base+"/file?p="+enc("a.txt")), 200, "thawing", "on its way")
	w.Advance(14 * time.Hour)
	c := w.NewClient() // the session has ended meanwhile
	want(t, w.GetBy(c, base+"/file?p="+enc("a.txt")), 200, "thawed", "It can be read until", "hello")
	if got := w.GetBy(c, base+"/download?p="+enc("a.txt")); got.Body != "hello" {
		t.Errorf("%d %q", got.Status, got.Body)
	}
}

func TestSearch(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	for i := range 700 {
		w.Write("photos", fmt.Sprintf("d%d/File-%04d.jpg", i%3, i), "x")
	}
	w.Write("photos", "gone<1>.txt", "x")
	w.Write("photos", "Ünï/readme.TXT", "x")
	old := w.Backup("photos", nil)
	must(t, os.Remove(filepath.Join(w.Dir("photos"), "gone<1>.txt")))
	now := w.Backup("photos", nil)
	w.Write("docs", "other/readme.txt", "x")
	docs := w.Backup("docs", nil)
	search := func(q string) *webtest.Page { return w.Get("/r/nas/search?" + q) }
	want(t, search(""), 200, "Name")
	p := search("q=README.txt")
	want(t, p, 200, "2 hits.", now.ID.String(), docs.ID.String(), "Ünï")
	want(t, search("q=README.txt&source="+docs.Source.ID.String()), 200, "1 hit.")
	want(t, search("q=gone"), 200, "Nothing was found.")
	want(t, search("q=file-0001&p="+enc("d1")), 200, "1 hit.", "only below d1")
	want(t, search("q=file-0001&p="+enc("d2")), 200, "Nothing was found.")
	want(t, search("q=gone&where=all"), 200, "1 hit.", "gone&lt;1&gt;.txt", "gone since", old.ID.String())
	want(t, search("q="+url.QueryEscape("*-000?.jpg")), 200, "10 hits.")
	want(t, search("q="+url.QueryEscape("d1/file-0001")), 200, "1 hit.")
	want(t, search("q="+url.QueryEscape("[")), 200, "cannot be read")
	want(t, search("q="+url.QueryEscape("<script>")), 200, "&lt;script&gt;", "Nothing was found.")
	want(t, search("q="+strings.Repeat("x", 2000)), 200, "too long")
	seen := map[string]bool{}
	next := "/r/nas/search?q=file-&where=all"
	for n := 0; next != "" && n < 10; n++ {
		p := w.Get(next)
		want(t, p, 200)
		for _, m := range regexp.MustCompile(`>(File-\d+\.jpg)</a>`).FindAllStringSubmatch(p.Body, -1) {
			if seen[m[1]] {
				t.Errorf("%s twice", m[1])
			}
			seen[m[1]] = true
		}
		next = link(p, "Go on searching")
	}
	if len(seen) != 700 {
		t.Errorf("%d found", len(seen))
	}
	want(t, search("q=readme&at=nonsense"), 200, "2 hits.")
	ctx, cancel := context.WithCancel(t.Context())
	res := w.Stream(ctx, "/r/nas/search?q=file")
	cancel() // whoever goes ends it
	_, _ = io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
}

func TestVersions(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	w.Write("photos", "other", "x")
	w.Backup("photos", nil)
	w.Write("photos", "d/a.txt", "one")
	first := w.Backup("photos", nil)
	w.Write("photos", "other", "y")
	second := w.Backup("photos", nil)
	w.Write("photos", "d/a.txt", "three")
	third := w.Backup("photos", nil)
	address := "/r/nas/versions?source=" + first.Source.ID.String() + "&p=" + enc("d/a.txt")
	p := w.Get(address)
	want(t, p, 200, "(2 snapshots)", "not there", "newest", "/r/nas/s/"+third.ID.String()+"/file?p="+enc("d/a.txt"), "/r/nas/s/"+second.ID.String()+"/file?p="+enc("d/a.txt"),
		"/r/nas/diff?a="+second.ID.String()+"&amp;b="+third.ID.String()+"&amp;p="+enc("d/a.txt"), `name="csrf" value="`)
	if regexp.MustCompile(`name="csrf" value=""`).MatchString(p.Body) {
		t.Error("a form without its field")
	}
	want(t, w.Get(address+"&before="+third.ID.String()), 200, "(2 snapshots)")
	want(t, w.Get("/r/nas/versions?p="+enc("d")), 400)
	want(t, w.Get("/r/nas/versions?source=0123456789abcdef&p="+enc("d")), 404)
	want(t, w.Get("/r/nas/diff?a="+second.ID.String()+"&b="+third.ID.String()+"&p="+enc("d/a.txt")), 200, "d/a.txt", "changed", "3 B → 5 B")
}

func TestDiff(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	for i := range 600 {
		w.Write("photos", fmt.Sprintf("old/f%04d", i), "x")
	}
	w.Write("photos", "same", "x")
	first := w.Backup("photos", nil)
	must(t, os.RemoveAll(filepath.Join(w.Dir("photos"), "old")))
	w.Write("photos", "<new>", "12345")
	second := w.Backup("photos", nil)
	address := "/r/nas/diff?a=" + first.ID.String() + "&b=" + second.ID.String()
	for range 2 { // counted once, remembered then
		p := w.Get(address)
		want(t, p, 200, "&lt;new&gt;", ">601<", ">1<", "+5 B", "−600 B")
		next := link(p, "Next page")
		q := w.Get(next)
		want(t, q, 200, "f0599", ">601<")
		if n := strings.Count(p.Body, `"change removed"`) + strings.Count(q.Body, `"change removed"`); n != 601 {
			t.Errorf("%d removed on two pages", n)
		}
	}
	want(t, w.Get(address+"&p="+enc("old/f0003")), 200, "old/f0003", ">1<")
	want(t, w.Get("/r/nas/diff?a="+first.ID.String()+"&b="+first.ID.String()), 200, "Nothing differs")
	want(t, w.Get("/r/nas/diff?a="+first.ID.String()[:8]+"&b=latest"), 200, "&lt;new&gt;")
	want(t, w.Get("/r/nas/diff"), 400)
	want(t, w.Get(address+"&p="+enc("none")), 404)
}

// TestGone: a snapshot is pruned while it is looked at; a repository goes away.
func TestGone(t *testing.T) {
	w := newWorld(t, webtest.Options{})
	w.Write("photos", "d/a.txt", "one")
	first := w.Backup("photos", nil)
	base := "/r/nas/s/" + first.ID.String()
	want(t, w.Get(base+"/"), 200)
	for _, area := range []string{"snapshots", "data", "meta"} {
		must(t, os.RemoveAll(filepath.Join(w.Repo, area)))
		must(t, os.Mkdir(filepath.Join(w.Repo, area), 0o755))
	}
	for _, page := range []string{"/file?p=" + enc("d/a.txt"), "/", "/?p=" + enc("d"), "/download?p=" + enc("d/a.txt")} {
		want(t, w.Get(base+page), 410, "not there any more", "choose another one")
	}
	w.Write("photos", "d/a.txt", "two")
	second := w.Backup("photos", nil)
	want(t, w.Get("/r/nas/snapshots"), 200, second.ID.String())
	must(t, os.CopyFS(w.Repo+"-away", os.DirFS(w.Repo)))
	must(t, os.RemoveAll(w.Repo)) // an open folder that is only renamed would still be there
	w.Advance(time.Hour)
	want(t, w.Get("/r/nas/snapshots"), 200, second.ID.String(), "cannot be reached")
	if p := w.Get("/r/nas/s/" + second.ID.String() + "/"); p.Status < 400 || p.Status == 500 && !p.Has("notice error") {
		t.Errorf("%d", p.Status)
	}
	must(t, os.Rename(w.Repo+"-away", w.Repo))
	w.Advance(time.Hour)
	p := w.Get("/r/nas/snapshots")
	want(t, p, 200, second.ID.String())
	if p.Has("cannot be reached") {
		t.Error("it is there again")
	}
	want(t, w.Get("/r/nas/s/"+second.ID.String()+"/?p="+enc("d")), 200, "a.txt")
}

func TestBlind(t *testing.T) {
	w := newWorld(t, webtest.Options{Blind: true})
	w.Write("photos", "a.txt", "one")
	s := w.Backup("photos", nil)
	want(t, w.Get("/r/nas/snapshots"), 200, s.ID.String(), "cannot read")
	base := "/r/nas/s/" + s.ID.String()
	for _, page := range []string{base + "/", base + "/file?p=" + enc("a.txt"), base + "/download?p=" + enc("a.txt"), "/r/nas/versions?source=" + s.Source.ID.String() + "&p=" + enc("a.txt"),
		"/r/nas/diff?a=" + s.ID.String() + "&b=" + s.ID.String()} {
		want(t, w.Get(page), 403, "this key cannot read")
	}
	want(t, w.Get("/r/nas/search?q=a"), 200, "nothing to search")
}

func FuzzDecodePath(f *testing.F) {
	for _, s := range []string{"", "YQ", "YS9i", "_-8", "!!", strings.Repeat("A", 70000)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := web.DecodePath(text)
		var status *web.StatusError
		if err != nil && !errors.As(err, &status) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && len(p) > 64<<10 {
			t.Errorf("a path of %d bytes", len(p))
		}
		if back, err := web.DecodePath(web.EncodePath(p)); err != nil || !bytes.Equal(back, p) {
			t.Errorf("%q: %q, %v", text, back, err)
		}
		if shown := web.ShownPath(p); strings.ContainsAny(shown, "\x00\x1b\n\u202e") {
			t.Errorf("%q is shown as %q", p, shown)
		}
	})
}
