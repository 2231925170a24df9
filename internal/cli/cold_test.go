package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/coldtest"
)

// The bucket of the tests, and where the repository lies in it.
const (
	coldBucket = "firn-test"
	coldRoot   = "nas/"
)

// cold is a person whose files lie in a cold class of an S3 server on this machine, which is faster than Amazon's by as much as the test wants.
type cold struct {
	*hurt
	server *coldtest.Server
	clock  *handClock // of the server; nil: it has another
	src    string
}

// quick is so much faster that a Bulk thaw of Deep Archive takes 2.2 to 2.9 seconds. A day stays a day: no copy expires because the machine is slow.
const quick = 60_000

// newCold makes such a person, with a source of files of 1 MB that do not compress and of some small ones.
func newCold(t *testing.T, o coldtest.Options, files int) *cold {
	t.Helper()
	if o.Clock == nil {
		o.Clock = &handClock{}
	}
	if o.Hurry == 0 {
		o.Hurry = quick
	}
	server := coldtest.Start(t, o)
	server.CreateBucket(coldBucket)
	x := &cold{hurt: &hurt{terminal: coldTerminal(t, server)}, server: server}
	x.clock, _ = o.Clock.(*handClock)
	x.terminal = x.set("FIRN_PRICE_REGION", "aws/us-east-1").set("TZ", "UTC").set("FIRN_CACHE_DIR", x.dir+"/cache").set("FIRN_STATE_DIR", x.dir+"/state")
	if err := os.RemoveAll(filepath.Join(x.dir, "src")); err != nil {
		t.Fatal(err)
	}
	x.src = "src"
	x.fill(x.src, files)
	return x
}

// handClock is the machine's clock in the hands of a test, which has it stand and leap. What may only happen before something else does so however slow the machine is.
type handClock struct {
	mu    sync.Mutex
	ahead time.Duration
	stood time.Time // zero: it goes
}

// Now implements coldtest.Clock.
func (h *handClock) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.stood.IsZero() {
		return h.stood
	}
	return time.Now().Add(h.ahead)
}

// Sleep implements coldtest.Clock: it leaps. So a rule that makes a request slow has time go by at that request.
func (h *handClock) Sleep(_ context.Context, d time.Duration) error {
	h.leap(d)
	return nil
}

// stop has nothing thaw until goOn, which makes up for the time.
func (h *handClock) stop() {
	now := h.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stood = now
}

func (h *handClock) goOn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stood = time.Time{}
}

// leap moves a clock that goes.
func (h *handClock) leap(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ahead += d
}

// fill writes the files of a source.
func (x *cold) fill(src string, files int) {
	rng := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32s", src))))
	content := make([]byte, 1<<20)
	for i := range files {
		_, _ = rng.Read(content)
		x.write(fmt.Sprintf("%s/d%d/f%02d", src, i%3, i), string(content))
	}
	for i := range 5 {
		x.write(fmt.Sprintf("%s/small/s%d.txt", src, i), strings.Repeat(fmt.Sprintf("%d small\n", i), 20))
	}
	x.write(src+"/empty", "")
}

// begin makes the repository and backs up, into packs of about 1 MB.
func (x *cold) begin(class string) {
	x.t.Helper()
	x.ok("init", "--recipient", recipient, "--kit-saved", "-q", "--class", class)
	x.ok("backup", x.src, "-q", "--pack-size", "1M")
}

// elsewhere is the same person at another machine, who has brought nothing but the secret.
func (x *cold) elsewhere(name string) *cold {
	there := *x
	there.hurt = &hurt{terminal: x.set("FIRN_STATE_DIR", filepath.Join(x.dir, name, "state")).set("FIRN_HOST", name)}
	there.terminal = there.set("FIRN_CACHE_DIR", filepath.Join(x.dir, name, "cache"))
	return &there
}

// requests of an operation about objects below data/.
func (x *cold) requests(operation string) []coldtest.Request {
	return slices.DeleteFunc(x.server.Requests(), func(r coldtest.Request) bool {
		return r.Operation != operation || !strings.HasPrefix(r.Key, coldRoot+"data/")
	})
}

// isCold reports whether a class has to be thawed.
func isCold(class string) bool { return class == "GLACIER" || class == "DEEP_ARCHIVE" }

// thaws wants no pack to be thawed.
func (x *cold) thaws() {
	x.t.Helper()
	for _, r := range x.requests("RestoreObject") {
		x.t.Errorf("%s was thawed: %d", r.Key, r.Status)
	}
}

// untouched wants no content of a cold object to be asked for, and no thaw, since the log began.
func (x *cold) untouched(what string) {
	x.t.Helper()
	for _, r := range x.server.Requests() {
		if r.Operation == "RestoreObject" || r.Operation == "GetObject" && isCold(r.Class) {
			x.t.Errorf("%s: %s of %s in %s: %d %s", what, r.Operation, r.Key, r.Class, r.Status, r.Code)
		}
	}
}

// packs are the keys of the objects of file content that lie in a cold class.
func (x *cold) packs() (keys []string) {
	isPack := func(key string) bool {
		return strings.HasPrefix(key, coldRoot+"data/") && !strings.HasSuffix(key, ".par2")
	}
	for _, r := range x.server.Requests() {
		if r.Operation == "PutObject" && r.Status == 200 && isPack(r.Key) {
			keys = append(keys, r.Key)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// paidTwice are the objects that were paid for more than once, and how many were paid for at all.
func (x *cold) paidTwice() (twice []string, paid int) {
	until := map[string]bool{}
	for _, r := range x.requests("RestoreObject") {
		if r.Status != 202 {
			continue
		}
		paid++
		if until[r.Key] {
			twice = append(twice, r.Key)
		}
		until[r.Key] = true
	}
	return twice, paid
}

// entryOf is what a restored tree must have of each entry.
type treeEntry struct {
	mode    fs.FileMode
	mtime   time.Time
	content string
}

func readTree(t *testing.T, root string) map[string]treeEntry {
	t.Helper()
	tree := map[string]treeEntry{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		i, err := d.Info()
		if err != nil {
			return err
		}
		e := treeEntry{mode: i.Mode(), mtime: i.ModTime()}
		if d.Type().IsRegular() {
			raw, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			e.content = string(raw)
		}
		rel, _ := filepath.Rel(root, path)
		tree[rel] = e
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// same wants a restored folder to be as the source.
func (x *cold) same(target string) {
	x.t.Helper()
	want, got := readTree(x.t, filepath.Join(x.dir, x.src)), readTree(x.t, filepath.Join(x.dir, target))
	for name, w := range want {
		g, ok := got[name]
		if name == "." { // the target keeps its own where it was there before
			g.mode, g.mtime = w.mode, w.mtime
		}
		if !ok || g.mode != w.mode || g.content != w.content || !g.mtime.Equal(w.mtime) {
			x.t.Errorf("%s: %q differs: there %t, mode %v of %v, %d of %d bytes, time %v of %v", target, name, ok, g.mode, w.mode, len(g.content), len(w.content), g.mtime, w.mtime)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			x.t.Errorf("%s: %q should not be there", target, name)
		}
	}
}

// refused wants an exit code, and words on standard error.
func (x *cold) refused(code int, words []string, args ...string) (out, errs string) {
	x.t.Helper()
	out, errs, got := x.run(args...)
	if got != code {
		x.t.Errorf("firn %q: code %d, want %d\n%s%s", args, got, code, out, errs)
	}
	for _, w := range words {
		if !strings.Contains(errs, w) {
			x.t.Errorf("firn %q: no %q in\n%s", args, w, errs)
		}
	}
	return out, errs
}

// objects are the JSON objects that a command prints, by their event; the last of each.
func objects(t *testing.T, out string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	d := json.NewDecoder(bytes.NewReader([]byte(out)))
	for d.More() {
		o := map[string]any{}
		if err := d.Decode(&o); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		all[fmt.Sprint(o["event"])] = o
	}
	return all
}

// wants reports what is missing in a text.
func (x *cold) wants(text string, words ...string) {
	x.t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			x.t.Errorf("no %q in\n%s", w, text)
		}
	}
}

// TestColdLife: whatever does not need file content reads none, a restore says what it costs and asks, and restores what was asked for.
func TestColdLife(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 8)
	x.begin("DEEP_ARCHIVE")
	packs := x.packs()
	if len(packs) < 6 {
		t.Fatalf("%d packs", len(packs))
	}
	for _, r := range x.server.Requests() {
		if r.Operation == "PutObject" && r.Status == 200 && (r.Class == "DEEP_ARCHIVE") != strings.HasPrefix(r.Key, coldRoot+"data/") {
			if !strings.Contains(r.Key, "~") && !strings.Contains(r.Key, "probe") {
				t.Errorf("%s was put in %q", r.Key, r.Class)
			}
		}
	}

	x.server.ForgetRequests()
	t.Log(x.set("FIRN_IDENTITY", "").ok("backup", x.src, "--pack-size", "1M"))
	if n := x.server.Count(""); n > 6 {
		t.Errorf("an unchanged backup makes %d requests", n)
	}
	x.write("src/late.txt", "late\n")
	x.ok("backup", x.src, "--pack-size", "1M", "-q")
	for _, args := range [][]string{
		{"snapshots"}, {"ls", "latest", "-R"}, {"find", "*.txt"}, {"diff", "latest~1", "latest"}, {"cost"}, {"doctor"}, {"transition", "--dry-run"}, {"transition", "--dry-run", "--json"},
		{"backup", x.src, "--dry-run"}, {"backup", x.src, "--dry-run", "--full", "--pack-size", "1G"}, {"restore", "latest", "--plan"}, {"restore", "latest", "--plan", "--json"}, {"source", "list"}, {"keys", "list"}, {"thaw", "list"},
		{"restore", "latest", "--target", "out", "--dry-run"},
	} {
		out, errs, code := x.run(args...)
		if code != 0 {
			t.Errorf("%q: code %d\n%s%s", args, code, out, errs)
		}
		t.Logf("%q\n%s%s", args, out, errs)
	}
	if n := len(x.requests("GetObject")); n != 0 {
		t.Errorf("packs were asked for %d times", n)
	}
	_, errs := x.refused(1, []string{"hint: firn restore --plan"}, "cat", "latest:d0/f00")
	t.Log(errs)
	x.thaws()
	for _, r := range x.requests("GetObject") {
		if r.Status < 400 {
			t.Errorf("%s was read: %d", r.Key, r.Status)
		}
	}
}

// TestColdRestore restores with each tier and parts by path and pattern, and is refused where nobody has agreed to the price.
func TestColdRestore(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 8)
	x.begin("DEEP_ARCHIVE")
	all := len(x.packs())
	x.server.ForgetRequests()

	x.refused(1, []string{"error: nobody can be asked: Thaw it for $", "hint: add --yes"}, "restore", "latest", "--target", "out")
	x.refused(1, []string{"error: nobody can be asked: Thaw it for $", "hint: add --yes"}, "thaw", "latest")
	x.refused(1, []string{"0.0001", "hint: raise --max-cost"}, "restore", "latest", "--target", "out", "--yes", "--max-cost", "0.0001")
	x.refused(2, []string{`no tier "expedited"`, "hint: it has: "}, "restore", "latest", "--target", "out", "--yes", "--tier", "expedited")
	x.refused(1, []string{"hint: "}, "restore", "latest", "--tar", "out.tar")
	if n := len(x.requests("RestoreObject")); n != 0 {
		t.Fatalf("%d thaws though nobody agreed", n)
	}
	if _, err := os.Stat(filepath.Join(x.dir, "out")); err == nil {
		t.Error("the target was made")
	}
	if _, err := os.Stat(filepath.Join(x.dir, "out.tar")); err == nil {
		t.Error("the tar was made")
	}
	if out := x.ok("thaw", "list"); strings.Contains(out, "active") {
		t.Errorf("a job was made:\n%s", out)
	}

	out := x.ok("restore", "latest:d0/f00", "--target", "one", "--yes", "--tier", "standard", "--days", "40", "--poll", "200ms", "--max-cost", "1")
	t.Log(out)
	if n := len(x.requests("RestoreObject")); n == 0 || n > all/2 {
		t.Errorf("%d of %d packs thawed for one file", n, all)
	}
	if got, err := os.ReadFile(filepath.Join(x.dir, "one", "f00")); err != nil || len(got) != 1<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	t.Log(x.ok("restore", "latest", "*.txt", "--target", "texts", "--yes", "--tier", "bulk", "--days", "40", "--poll", "200ms"))
	if got := readTree(t, filepath.Join(x.dir, "texts")); got["small/s3.txt"].content == "" || got["d0/f00"].content != "" {
		t.Errorf("%d entries", len(got))
	}
	t.Log(x.ok("restore", "latest", "--target", "out", "--plan"))
	t.Log(x.ok("restore", "latest", "--target", "out", "--yes", "--tier", "standard", "--days", "40", "--poll", "200ms"))
	x.same("out")
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid != all {
		t.Errorf("%d paid for, of %d: %q twice", paid, all, twice)
	}
	t.Log(x.ok("thaw", "list"))
}
