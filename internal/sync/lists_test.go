package sync_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/bucket"
	"firn/internal/bucket/buckettest"
	"firn/internal/sync"
)

// taken is a listing as it was at some time.
type taken []bucket.Object

func (l taken) Each(_ context.Context, fn func(bucket.Object) error) error {
	for _, o := range l {
		if err := fn(o); err != nil {
			return err
		}
	}
	return nil
}

// take lists the bucket of a world now.
func (w *world) take() (l taken) {
	w.t.Helper()
	if err := w.mem.List(w.t.Context(), w.prefix, "", func(o bucket.Object) error { l = append(l, o); return nil }); err != nil {
		w.t.Fatal(err)
	}
	return l
}

// TestOldListing syncs by a listing that is out of date in every way: what was stored since is known or looked at, nothing is replaced or deleted unseen.
func TestOldListing(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	for _, name := range []string{"a", "b", "gone", "mine"} {
		w.write(name, "first "+name)
	}
	w.ok(w.options())
	old, at := w.take(), time.Now().Add(-time.Hour)
	by := func() sync.Options {
		o := w.options()
		o.To.Listing, o.To.AsOf = old, at
		return o
	}
	w.still(by()) // and no listing
	w.write("new", "written after the listing")
	w.write("b", "changed")
	w.ok(w.options())
	w.still(by()) // the ledger is newer
	w.put("other", "somebody else's")
	w.put("mine", "changed by somebody else")
	w.write("other", "somebody else's")
	w.requests()
	if res := w.ok(by()); res.New != 0 || res.Same != 6 {
		t.Errorf("%+v %+v", res, w.items)
	}
	if others, lists := w.requests(); lists != 0 || others != 1 {
		t.Errorf("%d requests and %d listings, want a HEAD for what was missing", others, lists)
	}
	w.write("mine", "mine again, and larger")
	w.remove("gone")
	w.remove("a")
	w.put("a", "somebody changed what the folder lost")
	o := by()
	o.Delete = true
	if res := w.ok(o); res.Deleted != 1 || res.Undeleted != 1 || res.Changed != 1 {
		t.Errorf("%+v %+v", res, w.items)
	}
	if got := w.objects(); got["a"] == "" || got["gone"] != "" {
		t.Errorf("%q", got)
	}
	w.remove("other")
	back := w.back()
	back.From.Listing, back.From.AsOf, back.Delete = old[:2:2], at, true
	w.write("extra", "not in the bucket")
	back.Guard = sync.Guard{Set: true, Count: 10}
	res, err := w.run(back)
	if err != nil {
		t.Fatal(err)
	}
	if files := w.files(); files["new"] == "" || files["mine"] == "" {
		t.Errorf("%+v %q %q", res, files, w.errs)
	}
}

func (w *world) put(key, content string) {
	w.t.Helper()
	if _, err := w.mem.Put(w.t.Context(), w.prefix+key, strings.NewReader(content), int64(len(content)), bucket.PutOptions{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) remove(path string) {
	w.t.Helper()
	if err := os.Remove(filepath.Join(w.folder, path)); err != nil {
		w.t.Fatal(err)
	}
}

// list reads a list of sums.
func (w *world) list(text string, made time.Time) *sync.Checksums {
	w.t.Helper()
	c, err := sync.ReadChecksums(strings.NewReader(text), made, []string{w.folder}, w.t.TempDir())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// TestSums believes a list in the place of files, unless they are newer.
func TestSums(t *testing.T) {
	for _, kind := range []string{"md5", "sha256"} {
		w := newWorld(t, buckettest.MemOptions{})
		var lines []string
		for i, name := range []string{"a", "b/c", "x\ny"} {
			content := text(i, 1000)
			w.write(name, content)
			sum := fmt.Sprintf("%x", md5.Sum([]byte(content)))
			if kind == "sha256" {
				sum = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
			}
			if strings.Contains(name, "\n") {
				lines = append(lines, `\`+sum+"  "+strings.ReplaceAll(name, "\n", `\n`))
			} else {
				lines = append(lines, sum+" *./"+name)
			}
			sha := sha256.Sum256([]byte(content))
			if _, err := w.mem.Put(t.Context(), w.prefix+name, strings.NewReader(content), 1000, bucket.PutOptions{Sum: &bucket.Sum{Algorithm: bucket.SHA256, Value: sha[:]}}); err != nil {
				t.Fatal(err)
			}
		}
		slices.Reverse(lines)
		made := time.Now().Add(time.Minute)
		for name := range w.files() { // unreadable: whoever read it would notice; as root, other content does
			full := filepath.Join(w.folder, name)
			was, _ := os.Stat(full)
			if err := os.WriteFile(full, bytes.Repeat([]byte{'?'}, 1000), 0o644); err != nil {
				t.Fatal(err)
			}
			_ = os.Chtimes(full, was.ModTime(), was.ModTime())
		}
		o := w.options()
		o.Sums, o.DryRun = w.list(strings.Join(lines, "\r\n"), made), true
		if res := w.ok(o); res.Same != 3 {
			t.Errorf("%s: %+v", kind, res)
		}
		o = w.options()
		o.Sums, o.DryRun = w.list(strings.Join(lines, "\n"), time.Now().Add(-time.Hour)), true
		if res := w.ok(o); res.Same != 0 || res.Changed != 3 {
			t.Errorf("%s: an old list was believed: %+v", kind, res)
		}
		o = w.options()
		wrong := strings.Repeat("0", 32)
		if kind == "sha256" {
			wrong += wrong
		}
		o.Sums, o.DryRun = w.list(wrong+"  "+w.folder+"/a\n"+wrong+"  /elsewhere/a\nMD5 (b/c) = "+strings.Repeat("1", 32)+"\nwhat\n", made), true
		if c := o.Sums; c.Entries != 2 || c.Others != 1 || c.Bad != 1 || c.FirstBad != 4 {
			t.Errorf("%+v", c)
		}
		if res := w.ok(o); res.Same != 0 || res.Changed != 3 {
			t.Errorf("%s: %+v", kind, res)
		}
	}
}

// TestSumsByMd5sum is judged by GNU's program where it is there: its own list of strange names.
func TestSumLines(t *testing.T) {
	sum := strings.Repeat("ab", 16)
	for _, x := range []struct {
		line, name string
	}{{sum + "  a", "a"}, {sum + " *a b", "a b"}, {`\` + sum + `  a\nb\\c`, "a\nb\\c"}, {"MD5 (a (1).txt) = " + sum, "a (1).txt"}, {"MD5(a)= " + sum, "a"}, {strings.ToUpper(sum) + "  ./x//y", "x/y"},
		{sum + "  ../x", ""}, {sum + "  /etc/passwd", ""}, {`\` + sum + `  a\x`, ""}, {"SHA256 (a) = " + sum, ""}, {sum + "  ", ""}, {"SHA1 (a) = " + strings.Repeat("ab", 20), "a"}, {sum[1:] + "  a", ""}, {sum, ""}} {
		c, err := sync.ReadChecksums(strings.NewReader("# list\n"+x.line+"\n"), time.Now(), []string{"/srv"}, t.TempDir())
		if err != nil {
			if x.name != "" {
				t.Errorf("%q: %v", x.line, err)
			}
			continue
		}
		if name, ok := sync.FirstSum(c); name != x.name || ok != (x.name != "") {
			t.Errorf("%q: %q, want %q", x.line, name, x.name)
		}
		c.Close()
	}
}

// FuzzChecksums feeds anything to the reader of lists.
func FuzzChecksums(f *testing.F) {
	f.Add([]byte(strings.Repeat("ab", 16) + "  a\n\\" + strings.Repeat("ab", 32) + " *b\\n\nMD5 (x) = " + strings.Repeat("ab", 16) + "\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if c, err := sync.ReadChecksums(bytes.NewReader(raw), time.Now(), []string{"/srv"}, ""); err == nil {
			if name, ok := sync.FirstSum(c); ok && (strings.HasPrefix(name, "/") || strings.HasPrefix(name, "../") || name == "..") {
				t.Errorf("%q", name)
			}
			c.Close()
		}
	})
}

// TestReport wants each state once, in both formats, whatever names are.
func TestReport(t *testing.T) {
	w := newWorld(t, buckettest.MemOptions{})
	const odd = `=cmd|"x",\n`
	w.write("same", "1")
	w.write(odd, "2")
	w.write("size", "3")
	w.ok(w.options())
	w.write("size", "longer")
	w.write("content", "5")
	w.put("content", "6")
	w.put("only there", "7")
	w.put(odd, "other")
	w.write("new", "8")
	var js, cs bytes.Buffer
	for i, b := range []*bytes.Buffer{&js, &cs} {
		p := sync.NewReporter(b, i == 1)
		o := w.options()
		o.DryRun, o.Report, o.Delete = true, p.Write, i == 1
		w.ok(o)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]string{"same": "same", odd: "different size,time", "size": "different size", "content": "different content", "only there": "extra", "new": "missing"}
	dec := json.NewDecoder(&js)
	n := 0
	for dec.More() {
		var l struct {
			State, Path, Why string
			From, To         *struct {
				Size           int64
				Modified, ETag string
			}
		}
		if err := dec.Decode(&l); err != nil {
			t.Fatal(err)
		}
		n++
		if got := strings.TrimSpace(l.State + " " + l.Why); !strings.HasPrefix(got, strings.Split(want[l.Path], ",")[0]) || want[l.Path] == "" {
			t.Errorf("%q: %s, want %s", l.Path, got, want[l.Path])
		}
		if (l.From == nil) != (l.State == "extra") || (l.To == nil) != (l.State == "missing") || l.To != nil && (l.To.ETag == "" || l.To.Modified == "") {
			t.Errorf("%+v", l)
		}
	}
	rows, err := csv.NewReader(&cs).ReadAll()
	if err != nil || n != len(want) || len(rows) != n+1 {
		t.Fatalf("%v: %d and %d", err, n, len(rows))
	}
	if !slices.ContainsFunc(rows, func(r []string) bool { return r[1] == odd }) {
		t.Errorf("%q", rows)
	}
}
