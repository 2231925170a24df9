package cli_test

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/coldtest"
	"firn/internal/storetest/versitygw"
)

// copied is what copy prints with --json.
type copied struct {
	Snapshots, There, Packs, Bytes, Taken, Volumes, Cold int64
	Failed                                               []struct{ Error string }
}

func (c *terminal) copied(text string) (r copied) {
	c.t.Helper()
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &r); err != nil {
		c.t.Fatalf("%v in %s", err, text)
	}
	return r
}

// TestCopyBesideCold backs up into a cold class and a folder at once: nothing cold is read, and the folder alone restores.
func TestCopyBesideCold(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 4)
	x.ok("init", "--recipient", recipient, "--kit-saved", "-q", "--class", "DEEP_ARCHIVE")
	x.ok("init", "second", "--like", "s3://firn-test/nas", "-q")
	x.server.ForgetRequests()
	res := x.copied(x.ok("backup", x.src, "--also", "second", "--pack-size", "1M", "--json"))
	if res.Snapshots != 1 || res.Taken == 0 || res.Packs != 0 || res.Volumes != 0 || len(res.Failed) > 0 {
		t.Errorf("%+v", res)
	}
	x.untouched("backup --also")
	x.fill(x.src+"/more", 1)
	if res := x.copied(x.ok("backup", x.src, "--also", "second", "--json")); res.Snapshots != 1 || res.There != 1 || res.Packs != 0 {
		t.Errorf("%+v", res)
	}
	x.untouched("a second backup --also")
	x.set("FIRN_REPO", "second").ok("restore", "latest", "--target", "out")
	x.same("out")
	if out := x.set("FIRN_REPO", "second").ok("check", "--read-data", "--yes"); !strings.Contains(out, "nothing is damaged") {
		t.Error(out)
	}
	x.server.ForgetRequests()
	x.ok("restore", "latest", "--from", "second", "--target", "out2")
	x.same("out2")
	x.untouched("restore --from")
}

// TestCopyFromCold seeds a folder from a cold class: without anybody's word nothing is thawed, and nothing published; with it each pack is thawed and read once.
func TestCopyFromCold(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 4)
	x.begin("DEEP_ARCHIVE")
	x.ok("init", "second", "--like", "s3://firn-test/nas", "-q", "--parity", "10")
	out, errs, code := x.run("copy", "second", "--json")
	if res := x.copied(out); code != 3 || res.Snapshots != 0 || res.Cold == 0 || len(res.Failed) != 1 || !strings.Contains(errs, "--yes") {
		t.Errorf("code %d, %+v, %s", code, res, errs)
	}
	x.thaws()
	if out := x.set("FIRN_REPO", "second").ok("snapshots"); strings.Contains(out, "done") {
		t.Error(out)
	}
	plan := x.ok("copy", "second", "--dry-run")
	if !strings.Contains(plan, "bulk") || !strings.Contains(plan, "would copy 1 snapshot") {
		t.Error(plan)
	}
	x.thaws()
	out, errs, code = x.run("copy", "second", "--yes", "--max-cost", "0.0000001")
	if code != 1 || !strings.Contains(errs, "cost") {
		t.Errorf("code %d, %s%s", code, out, errs)
	}
	x.thaws()
	x.server.ForgetRequests()
	res := x.copied(x.ok("copy", "second", "--yes", "--max-cost", "1", "--poll", "100ms", "--json"))
	if res.Snapshots != 1 || res.Cold != 0 || len(res.Failed) > 0 || res.Volumes == 0 {
		t.Errorf("%+v", res)
	}
	read := map[string]int{}
	for _, r := range x.requests("GetObject") {
		if r.Status < 300 {
			read[r.Key]++
		}
	}
	for key, n := range read {
		if n > 1 || strings.HasSuffix(key, ".par2") {
			t.Errorf("%s was read %d times", key, n)
		}
	}
	x.set("FIRN_REPO", "second").ok("restore", "latest", "--target", "out")
	x.same("out")
}

// TestCopyIntoCold copies a folder's repository into a cold class, again and again: nothing cold is ever asked for.
func TestCopyIntoCold(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 3)
	home := x.set("FIRN_REPO", "home")
	home.ok("init", "--recipient", recipient, "--kit-saved", "-q", "--parity", "10")
	home.ok("backup", x.src, "-q", "--pack-size", "1M")
	home.ok("init", "s3://firn-test/nas", "--like", "home", "--class", "DEEP_ARCHIVE", "-q")
	if out := home.ok("copy", "s3://firn-test/nas", "--dry-run"); !strings.Contains(out, "storing it $0.00") || !strings.Contains(out, "a month") {
		t.Error(out)
	}
	x.server.ForgetRequests()
	for range 3 {
		if res := x.copied(home.ok("copy", "s3://firn-test/nas", "--json")); len(res.Failed) > 0 || res.Snapshots+res.There < 1 {
			t.Errorf("%+v", res)
		}
		x.fill(x.src+"/more", 1)
		home.ok("backup", x.src, "-q")
	}
	x.untouched("copy")
	puts := map[string]int{}
	for _, r := range x.requests("PutObject") {
		puts[r.Key]++
		if r.Class != "DEEP_ARCHIVE" {
			t.Errorf("%s is in class %q", r.Key, r.Class)
		}
	}
	for key, n := range puts {
		if n > 1 {
			t.Errorf("%s was sent %d times", key, n)
		}
	}
	if out := x.ok("check"); !strings.Contains(out, "nothing is damaged") {
		t.Error(out)
	}
}

// TestCopyS3 copies to a strict S3 server and back, and counts what a copy asks that has nothing to do.
func TestCopyS3(t *testing.T) {
	s := versitygw.Start(t)
	c := newTerminal(t, s)
	home := c.set("FIRN_REPO", "home")
	home.ok("init", "--recipient", recipient, "--kit-saved", "-q")
	home.ok("backup", "src", "-q")
	home.ok("init", "s3://firn-test/nas", "--like", "home", "-q")
	if res := home.copied(home.ok("copy", "s3://firn-test/nas", "--json")); res.Snapshots != 1 {
		t.Errorf("%+v", res)
	}
	home.ok("copy", "s3://firn-test/nas", "-q") // reads what it has written
	out, errs, code := home.run("copy", "s3://firn-test/nas", "--debug")
	n := strings.Count(errs, "firn: debug:")
	t.Logf("a copy with nothing to do makes %d requests", n)
	if code != 0 || n == 0 || n > 10 {
		t.Errorf("code %d, %d requests\n%s%s", code, n, out, errs)
	}
	home.ok("init", "back", "--like", "s3://firn-test/nas", "-q")
	c.ok("copy", "back")
	c.set("FIRN_REPO", "back").ok("restore", "latest", "--target", "out")
	if out, err := exec.Command("diff", "-r", filepath.Join(c.dir, "src"), filepath.Join(c.dir, "out")).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
