package cli_test

import (
	"encoding/csv"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/coldtest"
)

// restoreAll is a restore of everything whose copies are kept long enough.
func restoreAll(target string, more ...string) []string {
	return append([]string{"restore", "latest", "--target", target, "--yes", "--tier", "standard", "--days", "40", "--poll", "200ms"}, more...)
}

// TestColdElsewhere goes on with a restore at another machine, to which nothing was brought but the secret.
func TestColdElsewhere(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 6)
	x.begin("DEEP_ARCHIVE")
	x.clock.stop()
	out := x.ok(restoreAll("out", "--detach")...)
	x.wants(out, "to come", "run the same command again")
	x.clock.goOn()
	there := x.elsewhere("other")
	t.Log(there.ok(restoreAll("out2")...))
	x.same("out2")
	t.Log(x.ok(restoreAll("out")...))
	x.same("out")
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid != len(x.packs()) {
		t.Errorf("%d paid for, %q twice", paid, twice)
	}
	third := x.elsewhere("third")
	third.ok(restoreAll("out3")...)
	x.same("out3")
	if _, paid := x.paidTwice(); paid != len(x.packs()) {
		t.Errorf("%d paid for", paid)
	}
}

// jobID takes the id of the first job that thaw list shows.
func (x *cold) jobID() string {
	x.t.Helper()
	lines := strings.Split(x.ok("thaw", "list"), "\n")
	if len(lines) < 2 || strings.TrimSpace(lines[1]) == "" {
		x.t.Fatalf("no job in %q", lines)
	}
	return strings.Fields(lines[1])[0]
}

// TestColdJobs looks at jobs, cancels one, goes on with another tier, and keeps two processes from one job.
func TestColdJobs(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 6)
	x.begin("DEEP_ARCHIVE")
	x.clock.stop() // the second process has to find the first one at it
	x.ok("restore", "latest", "--target", "out", "--yes", "--tier", "bulk", "--days", "40", "--poll", "200ms", "--detach")
	id := x.jobID()
	shown := x.ok("thaw", "show", id)
	t.Log(shown)
	x.wants(shown, "restore", "active", "bulk", "40 days", "out", "spent")
	shownJSON := objects(t, x.ok("thaw", "show", id, "--json"))["job"]
	if shownJSON["job"] == nil || shownJSON["status"] == nil {
		t.Errorf("%v", shownJSON)
	}

	// Two processes, and a faster tier.
	args := []string{"restore", "latest", "--target", "out", "--yes", "--tier", "standard", "--days", "40", "--poll", "200ms"}
	cmd, errs := x.command(args...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for tries := 0; !strings.Contains(x.ok("thaw", "list"), fmt.Sprintf("process %d", cmd.Process.Pid)); tries++ {
		if tries > 6000 {
			t.Fatal("the job is not shown to be worked on")
		}
		time.Sleep(10 * time.Millisecond)
	}
	_, second := x.refused(1, []string{"firn: error: ", fmt.Sprintf("hint: process %d is at it: firn thaw show ", cmd.Process.Pid)}, args...)
	t.Log(second)
	x.clock.goOn()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs)
	}
	x.wants(errs.String(), "going on with job "+id)
	t.Log(errs)
	x.same("out")
	if twice, _ := x.paidTwice(); len(twice) > 0 {
		t.Errorf("%q were paid for twice", twice)
	}
	x.wants(errs.String(), " packs are on their way with tier bulk")
	x.wants(x.ok("thaw", "list"), "done")
	x.refused(1, []string{"hint: "}, "thaw", "cancel", id)
	x.refused(1, []string{"hint: firn thaw list"}, "thaw", "show", "ffffffff")
	x.refused(1, []string{"hint: firn thaw list"}, "thaw", "cancel", "ffffffff")
	if code := x.code("thaw", "show"); code != 2 {
		t.Errorf("code %d", code)
	}
}

func (x *cold) code(args ...string) int {
	_, _, code := x.run(args...)
	return code
}

// TestColdCancel: what was asked for comes nevertheless, and the next restore uses it.
func TestColdCancel(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 3)
	x.begin("DEEP_ARCHIVE")
	x.clock.stop()
	x.ok(restoreAll("out", "--detach")...)
	id := x.jobID()
	out := x.ok("thaw", "cancel", id)
	x.wants(out, "cancelled "+id, "asked for come nevertheless")
	t.Log(out)
	x.wants(x.ok("thaw", "list"), "cancelled")
	before := len(x.requests("RestoreObject"))
	x.clock.goOn()
	_, errs := x.refused(0, nil, restoreAll("out")...)
	t.Log(errs)
	x.same("out")
	for _, r := range x.requests("RestoreObject")[before:] {
		if r.Status == 202 {
			t.Errorf("%s was paid for again", r.Key)
		}
	}
}

// TestColdThaw makes files readable for other commands.
func TestColdThaw(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 6)
	x.begin("DEEP_ARCHIVE")
	all := len(x.packs())
	hold := []string{"--yes", "--tier", "standard", "--days", "60", "--poll", "200ms"}
	t.Log(x.ok(append([]string{"thaw", "latest:d0"}, hold...)...))
	some := len(x.requests("RestoreObject"))
	if some == 0 || some == all {
		t.Errorf("%d of %d thawed", some, all)
	}
	want, err := os.ReadFile(filepath.Join(x.dir, "src/d0/f00"))
	if err != nil {
		t.Fatal(err)
	}
	if x.ok("cat", "latest:d0/f00") != string(want) {
		t.Error("cat differs")
	}
	out := x.ok(append([]string{"thaw", "latest:d0"}, hold...)...)
	x.wants(out, "nothing has to be thawed")
	t.Log(out)
	x.refused(1, []string{"hint: firn restore --plan"}, "restore", "latest", "--tar", "whole.tar")
	t.Log(x.ok(append([]string{"thaw", "latest", "--json"}, hold...)...))
	x.ok("restore", "latest", "--tar", "whole.tar")
	if i, err := os.Stat(filepath.Join(x.dir, "whole.tar")); err != nil || i.Size() < 6<<20 {
		t.Errorf("%v, %v", i, err)
	}
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid != all {
		t.Errorf("%d of %d paid for, %q twice", paid, all, twice)
	}
	x.ok("restore", "latest", "--target", "out", "--yes")
	x.same("out")
}

// TestColdManifest writes what S3 Batch Operations takes.
func TestColdManifest(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 4)
	x.begin("DEEP_ARCHIVE")
	out := x.ok("thaw", "latest", "--batch-manifest", "m.csv")
	t.Log(out)
	f, err := os.Open(filepath.Join(x.dir, "m.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil || len(rows) != len(x.packs()) {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	known := strings.Join(x.packs(), "\n")
	for _, r := range rows {
		if len(r) != 2 || r[0] != coldBucket || !strings.Contains(known, r[1]) {
			t.Errorf("%q", r)
		}
	}
	x.refused(1, []string{"m.csv", "exists"}, "thaw", "latest", "--batch-manifest", "m.csv")
	x.refused(1, []string{"no/such/m.csv"}, "thaw", "latest", "--batch-manifest", "no/such/m.csv")
	if n := len(x.requests("RestoreObject")); n != 0 {
		t.Errorf("%d thaws", n)
	}
}

// front is a CDN: it gives objects away without signatures.
type front struct {
	x    *cold
	gets atomic.Int64
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.URL.Path, "/")
	if r.Method != http.MethodGet || r.Header.Get("Authorization") != "" {
		http.Error(w, "no", http.StatusMethodNotAllowed)
		return
	}
	f.gets.Add(1)
	in := &api.GetObjectInput{Bucket: aws.String(coldBucket), Key: aws.String(key)}
	if span := r.Header.Get("Range"); span != "" {
		in.Range = aws.String(span)
	}
	out, err := rulesClient(f.x.server).GetObject(r.Context(), in)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	defer func() { _ = out.Body.Close() }()
	w.Header().Set("Content-Length", strconv.FormatInt(*out.ContentLength, 10))
	if out.ContentRange != nil {
		w.Header().Set("Content-Range", *out.ContentRange)
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = io.Copy(w, out.Body)
}

// TestColdFront reads packs by way of a CDN.
func TestColdFront(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 4)
	x.begin("DEEP_ARCHIVE")
	f := &front{x: x}
	server := httptest.NewServer(f)
	defer server.Close()
	x.server.ForgetRequests()
	t.Log(x.ok(restoreAll("out", "--get-endpoint", server.URL, "--route", "cdn")...))
	x.same("out")
	if f.gets.Load() == 0 {
		t.Error("nothing was read from the front")
	}
}
