package cli_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/coldtest"
)

// keys are the keys of the repository's objects, as they are now.
func (x *cold) keys(prefix string) (keys []string) {
	x.t.Helper()
	pages := api.NewListObjectsV2Paginator(rulesClient(x.server), &api.ListObjectsV2Input{Bucket: aws.String(coldBucket), Prefix: aws.String(coldRoot + prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(x.t.Context())
		if err != nil {
			x.t.Fatal(err)
		}
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

// change does something to objects behind firn's back.
func (x *cold) change(c coldtest.Change, keys ...string) {
	x.t.Helper()
	for _, key := range keys {
		if err := x.server.Change(coldBucket, key, c); err != nil {
			x.t.Fatal(err)
		}
	}
}

// TestColdTrap: a rule of the bucket has moved everything into an archive. Backups go on from what this machine remembers, a machine that remembers nothing says
// what has happened, and everything works again once what is small is brought back.
func TestColdTrap(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 4)
	x.begin("DEEP_ARCHIVE")
	setRules(t, x.server, []byte(`{"Rules": [{"ID": "chill", "Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}]}]}`))
	hot := slices.DeleteFunc(x.keys(""), func(key string) bool { return strings.HasPrefix(key, coldRoot+"data/") })
	x.change(coldtest.Change{Class: "GLACIER"}, hot...)
	x.server.ForgetRequests()

	x.write("src/more.txt", "more\n")
	out, errs := x.refused(0, nil, "backup", x.src, "--pack-size", "1M")
	t.Logf("%s%s", out, errs)
	for _, r := range x.server.Requests() {
		if r.Operation == "RestoreObject" || r.Operation == "GetObject" && r.Class == "DEEP_ARCHIVE" {
			t.Errorf("%s of %s: %d", r.Operation, r.Key, r.Status)
		}
	}
	there := x.elsewhere("other")
	for _, args := range [][]string{{"snapshots"}, {"backup", x.src}, {"restore", "latest", "--target", "out", "--yes"}} {
		_, errs := there.refused(1, []string{"firn: error: ", "cold class", "hint: a rule of the bucket moved it", "firn thaw --metadata"}, args...)
		t.Log(errs)
	}
	out, errs = there.refused(1, []string{}, "doctor")
	t.Logf("%s%s", out, errs)
	x.wants(out+errs, `rule "chill"`, "firn thaw --metadata", "GLACIER")

	_, errs = there.refused(1, []string{"error: nobody can be asked: Thaw it for $", "add --yes"}, "thaw", "--metadata")
	t.Log(errs)
	if n := x.server.Count("RestoreObject"); n != 0 {
		for _, r := range x.server.Requests() {
			if r.Operation == "RestoreObject" && !strings.Contains(r.Key, "probe") {
				t.Errorf("%s was thawed though nobody agreed", r.Key)
			}
		}
	}
	there.refused(1, []string{"hint: raise --max-cost"}, "thaw", "--metadata", "--yes", "--max-cost", "0.0000001")
	t.Log(there.ok("thaw", "--metadata", "--yes", "--tier", "standard", "--poll", "200ms"))
	t.Log(there.ok("thaw", "--metadata", "--yes", "--tier", "standard", "--poll", "200ms"))
	there.ok("snapshots")
	there.ok("backup", x.src, "--pack-size", "1M", "-q")
	there.ok(restoreAll("out", "--host", "other")...)
	x.same("out")
	if n := x.server.CountFunc(func(r coldtest.Request) bool {
		return r.Operation == "RestoreObject" && r.Status == 202 && slices.Contains(hot, r.Key)
	}); n != len(hot) {
		t.Errorf("%d of %d hot objects were thawed", n, len(hot))
	}
}

// TestColdHotFor: content is hot for a time, then moved, at a price that is told before.
func TestColdHotFor(t *testing.T) {
	t.Parallel()
	clock := &handClock{ahead: -40 * 24 * time.Hour}
	x := newCold(t, coldtest.Options{Clock: clock}, 3)
	x.ok("init", "--recipient", recipient, "--kit-saved", "-q")
	hotFor := []string{"--pack-size", "1M", "--class", "STANDARD_IA", "--hot-for", "30d", "--then", "DEEP_ARCHIVE"}
	t.Log(x.ok(append([]string{"backup", x.src}, hotFor...)...))
	clock.leap(40 * 24 * time.Hour)
	x.fill("src/young", 1)
	t.Log(x.ok(append([]string{"backup", x.src}, hotFor...)...))
	before := x.ok("cost")
	t.Log(before)
	x.wants(before, "STANDARD_IA")
	out, _ := x.refused(0, nil, "transition", "--dry-run")
	t.Log(out)
	out, errs := x.refused(1, []string{"nobody can be asked", "--yes"}, "transition")
	t.Log(out, errs)
	if n := x.server.Count("CopyObject"); n != 0 {
		t.Errorf("%d were moved", n)
	}
	t.Log(x.ok("transition", "--yes"))
	after := x.ok("cost")
	t.Log(after)
	x.wants(after, "DEEP_ARCHIVE")
	t.Log(x.ok("transition", "--yes"))
	x.server.ForgetRequests()
	x.ok("backup", x.src, "-q")
	x.untouched("backup")
	t.Log(x.ok(restoreAll("out")...))
	x.same("out")
}

// TestColdServers: servers that are not Amazon's, each with its own shortcomings.
func TestColdServers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		provider coldtest.Provider
		class    string
		cold     bool
		warns    string
	}{
		{"no tiers", coldtest.NoTiers, "GLACIER", true, ""},
		{"scaleway", coldtest.Scaleway, "GLACIER", true, ""},
		{"ceph", coldtest.Ceph, "GLACIER", true, ""},
		{"versity", coldtest.Versity, "GLACIER", false, `keeps objects in class "`},
		{"old", coldtest.Old, "GLACIER", false, "lets objects be overwritten"},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := newCold(t, coldtest.Options{Provider: c.provider}, 3)
			if c.name == "scaleway" {
				x.terminal = x.set("FIRN_PRICE_REGION", "scaleway")
			}
			out, errs := x.refused(0, nil, "init", "--recipient", recipient, "--kit-saved", "-q", "--class", c.class)
			x.wants(errs, c.warns)
			t.Log(out, errs)
			x.ok("backup", x.src, "-q", "--pack-size", "1M")
			out, errs = x.refused(0, nil, "doctor")
			t.Log(out, errs)
			x.server.ForgetRequests()
			out, errs = x.refused(0, nil, "restore", "latest", "--plan")
			t.Log(out, errs)
			there := x.elsewhere("other") // which did not probe
			out, errs = there.refused(0, nil, "restore", "latest", "--target", "out", "--yes", "--days", "60", "--poll", "200ms")
			t.Log(out, errs)
			x.same("out")
			if n := len(x.requests("RestoreObject")); (n > 0) != c.cold {
				t.Errorf("%d thaws", n)
			}
			x.ok("restore", "latest", "--target", "out2", "--yes", "--days", "60", "--poll", "200ms")
			x.same("out2")
		})
	}
}
