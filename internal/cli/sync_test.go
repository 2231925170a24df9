package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firn/internal/coldtest"
)

// TestSync mirrors a folder to a bucket and back, and tells what goes wrong in words.
func TestSync(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	server.CreateBucket("firn-test")
	c := coldTerminal(t, server).set("FIRN_PRICE_REGION", "aws/us-east-1")
	const at = "s3://firn-test/photos"
	lines := strings.Split(c.ok("sync", "src", at, "--dry-run", "-i"), "\n")
	slices.Sort(lines[:min(2, len(lines))]) // they come as they are dealt with, side by side
	if out := strings.Join(lines, "\n"); !strings.HasPrefix(out, "<f+++++++++ one\n<f+++++++++ two\nwould be: 2 new") {
		t.Error(out)
	}
	if n := server.Count("PutObject"); n != 0 {
		t.Fatalf("%d objects put by a dry run", n)
	}
	var line struct {
		Event, Action    string
		New, Same, Asked int64
		Requests         struct{ Put, Get, List int64 }
	}
	if err := json.Unmarshal([]byte(c.ok("sync", "src", at, "--json")), &line); err != nil || line.Event != "result" || line.New != 2 || line.Requests.Put != 2 || line.Requests.List != 1 {
		t.Fatalf("%v %+v", err, line)
	}
	if out := c.ok("sync", "src", at); !strings.Contains(out, "2 the same") || !strings.Contains(out, "1 request") {
		t.Error(out)
	}
	c.ok("sync", at, "back")
	for _, name := range []string{"one", "two"} {
		a, _ := os.ReadFile(filepath.Join(c.dir, "src", name))
		if b, err := os.ReadFile(filepath.Join(c.dir, "back", name)); err != nil || string(a) != string(b) {
			t.Errorf("%s: %v", name, err)
		}
	}
	syncGuards(t, c, server, at)
	syncCold(t, c, server)
}

// syncGuards wants refusals to say what to do.
func syncGuards(t *testing.T, c *terminal, server *coldtest.Server, at string) {
	if err := os.RemoveAll(filepath.Join(c.dir, "src", "one")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "src", "two")); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		code int
		want string
		args []string
	}{
		{1, "is FROM mounted?", []string{"src", at, "--delete"}},
		{1, "check the path", []string{"nowhere", at}},
		{1, "firn sync makes no bucket", []string{"src", "s3://no-such-bucket/x"}},
		{2, "rsync is what you want", []string{"src", "back"}},
		{2, "--max-delete", []string{"src", at, "--max-delete", "some"}},
		{2, "--class-rule", []string{"src", at, "--class-rule", "small=GLACIER IR"}},
		{2, "exclude each other", []string{"src", at, "--checksum", "--size-only"}},
		{2, "lies in TO", []string{at, "back", "--backup-dir", "back/old"}},
	} {
		out, errs, code := c.run(append([]string{"sync"}, x.args...)...)
		if code != x.code || !strings.Contains(errs, x.want) {
			t.Errorf("%q: code %d, want %d and %q\n%s%s", x.args, code, x.code, x.want, out, errs)
		}
	}
	if n, _ := server.Objects("firn-test", "photos/"); n != 2 {
		t.Errorf("%d objects, want 2", n)
	}
	if out := c.ok("sync", "src", at, "--delete", "--max-delete", "100%", "-i"); !strings.Contains(out, "*deleting   one\n") {
		t.Error(out)
	}
	u := coldtest.NewUser()
	u.Policy = coldtest.Without("s3:ListBucket")
	server.AddUser(u)
	out, errs, code := c.set("AWS_ACCESS_KEY_ID", u.Access).set("AWS_SECRET_ACCESS_KEY", u.Secret).run("sync", "src", at)
	if code != 1 || !strings.Contains(errs, "s3:ListBucket") {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
}

// syncCold replaces what has to be paid for longer, and fetches what is cold.
func syncCold(t *testing.T, c *terminal, server *coldtest.Server) {
	big := filepath.Join(c.dir, "src", "big")
	fill := func(b byte) {
		if err := os.WriteFile(big, []byte(strings.Repeat(string(b), 60<<20)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const at = "s3://firn-test/cold"
	fill('a')
	c.ok("sync", "src", at, "--class", "DEEP_ARCHIVE")
	fill('b')
	_, errs, code := c.run("sync", "src", at, "--class", "DEEP_ARCHIVE", "--max-cost", "0")
	if code != 1 || !strings.Contains(errs, "to replace 1 file of 60.0 MiB for $0.0003") || !strings.Contains(errs, "more than --max-cost 0") {
		t.Errorf("code %d: %s", code, errs)
	}
	unpriced := c.set("FIRN_PRICE_REGION", "")
	if _, errs, code := unpriced.run("sync", "src", at, "--class", "DEEP_ARCHIVE", "--max-cost", "9"); code != 1 || !strings.Contains(errs, "--max-cost cannot be kept to") {
		t.Errorf("code %d: %s", code, errs)
	}
	if _, errs, code := unpriced.run("sync", "src", at, "--class", "DEEP_ARCHIVE"); code != 0 || !strings.Contains(errs, "at a price that is not known") {
		t.Errorf("code %d: %s", code, errs)
	}
	fill('c')
	c.ok("sync", "src", at, "--class", "DEEP_ARCHIVE")
	out, errs, code := c.run("sync", at, "thawed", "--yes")
	if code != 3 || !strings.Contains(out, "1 file of 60.0 MiB in cold classes; run the same command again after") || server.Count("RestoreObject") != 1 {
		t.Errorf("code %d: %s%s", code, out, errs)
	}
}
