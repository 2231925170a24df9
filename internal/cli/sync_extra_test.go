package cli_test

import (
	"crypto/md5"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/coldtest"
)

// TestSyncFiles takes listings and sums from files, and writes reports.
func TestSyncFiles(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	server.CreateBucket("firn-test")
	c := coldTerminal(t, server)
	const at = "s3://firn-test/photos"
	file := func(name string) string { return filepath.Join(c.dir, name) }
	write := func(name, text string) {
		if err := os.WriteFile(file(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.ok("sync", "src", at, "--report", file("a.csv"))
	raw, _ := os.ReadFile(file("a.csv"))
	if !strings.HasPrefix(string(raw), "state,path,why,") || strings.Count(string(raw), "\r\nmissing,") != 2 {
		t.Errorf("%q", raw)
	}
	one, _ := os.ReadFile(file("src/one"))
	write("saved.json", fmt.Sprintf(`{"Contents":[{"Key":"photos/one","Size":%d,"LastModified":"2026-01-01T00:00:00+00:00","ETag":"\"%x\""}]}`, len(one), md5.Sum(one)))
	write("sums", fmt.Sprintf("%x  src/one\nand this is none\n", md5.Sum(one)))
	server.ForgetRequests()
	out, errs, code := c.run("sync", "src", at, "--list-from", "saved.json", "--plan-from", "sums", "--report", "-", "--report-same")
	if code != 0 || !strings.Contains(errs, "1 objects, as of") || !strings.Contains(errs, "1 line not understood, the first of them is line 2") || strings.Count(out, `"state":"same"`) != 2 || server.Count("ListObjectsV2") != 0 {
		t.Errorf("code %d\n%s%s", code, out, errs)
	}
	write("manifest.json", `{"sourceBucket":"firn-test","destinationBucket":"arn:aws:s3:::lists","creationTimestamp":"1790000000000","fileFormat":"ORC","fileSchema":"","files":[]}`)
	write("bad.json", "[]")
	for _, x := range []struct {
		code int
		want string
		args []string
	}{
		{1, "configure the inventory as CSV or Parquet", []string{"--inventory", "manifest.json"}},
		{1, "list-objects-v2", []string{"--list-from", "bad.json"}},
		{1, "md5sum", []string{"--plan-from", "bad.json"}},
		{2, "exclude each other", []string{"--inventory", "x", "--list-from", "y"}},
		{2, "--report-same needs", []string{"--report-same"}},
		{2, "give it a file", []string{"--report", "-", "--json"}},
	} {
		out, errs, code := c.run(append([]string{"sync", "src", at}, x.args...)...)
		if code != x.code || !strings.Contains(errs, x.want) {
			t.Errorf("%q: code %d, want %d and %q\n%s%s", x.args, code, x.code, x.want, out, errs)
		}
	}
	if left, _ := filepath.Glob(file(".*-*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}
