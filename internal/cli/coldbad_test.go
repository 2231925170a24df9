package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/coldtest"
)

// faults sets the rules by which requests fail from now on.
func (x *cold) faults(rules string) {
	x.t.Helper()
	if err := x.server.SetFaults(rules); err != nil {
		x.t.Fatal(err)
	}
}

// policy gives the server's user a policy from now on; nil: everything is allowed.
func (x *cold) policy(p *coldtest.Policy) {
	u := x.server.User()
	u.Policy = p
	x.server.AddUser(u)
}

// TestColdExpires: copies expire before they are fetched, with the third pack of either run. That costs again, is said, and is kept to the limit; what was restored stays.
func TestColdExpires(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 8)
	x.begin("DEEP_ARCHIVE")
	args := []string{"restore", "latest", "--target", "out", "--yes", "--tier", "standard", "--days", "1", "--poll", "200ms", "--connections", "1"}
	expire := fmt.Sprintf("GetObject nas/data slow nth=3 delay=%v", 49*time.Hour)
	offer := objects(t, x.ok(append(args, "--plan", "--json")...))["plan"]["offers"].([]any)[0].(map[string]any)
	limit := fmt.Sprintf("%.8f", 1.001*offer["total"].(float64))
	x.faults(expire)
	out, errs := x.refused(1, []string{"firn: error: ", "hint: raise --max-cost"}, append(args, "--max-cost", limit)...)
	t.Log(out, errs)
	x.faults(expire)
	out, errs = x.refused(0, []string{"going on with job"}, append(args, "--max-cost", "1")...)
	t.Log(out, errs)
	x.same("out")
	if twice, _ := x.paidTwice(); len(twice) == 0 {
		t.Error("no copy expired")
	}
	x.wants(x.ok("thaw", "show", x.jobID()), "paid again")
}

// TestColdDenied: the right to thaw is missing, altogether or for one pack.
func TestColdDenied(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 4)
	x.begin("DEEP_ARCHIVE")
	x.policy(coldtest.Without("s3:RestoreObject"))
	out, errs := x.refused(1, []string{"firn: error: ", "denied", "hint: thawing takes the right s3:RestoreObject"}, restoreAll("out")...)
	t.Log(out, errs)
	out, errs = x.refused(1, []string{"hint: thawing takes the right s3:RestoreObject"}, "thaw", "latest", "--yes", "--poll", "200ms")
	t.Log(out, errs)
	x.wants(x.ok("doctor", "--thorough"), "the credentials may not have objects thawed")

	one := x.packs()[0]
	p := coldtest.Without()
	p.Statement = append(p.Statement, coldtest.Statement{Effect: "Deny", Action: coldtest.Words{"s3:RestoreObject"}, Resource: coldtest.Words{"arn:aws:s3:::" + coldBucket + "/" + one}})
	x.policy(p)
	out, errs = x.refused(1, []string{"s3:RestoreObject", strings.TrimPrefix(one, coldRoot)}, restoreAll("out")...)
	t.Log(out, errs)
	got := readTree(t, filepath.Join(x.dir, "out"))
	whole := 0
	for _, e := range got {
		if len(e.content) > 0 {
			whole++
		}
	}
	if whole == 0 {
		t.Error("nothing of the rest was restored")
	}
	x.policy(nil)
	t.Log(x.ok(restoreAll("out")...))
	x.same("out")
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid != len(x.packs()) {
		t.Errorf("%d paid for, %q twice", paid, twice)
	}
}

// TestColdLost: a pack is gone, another one damaged; the rest is restored and the code is 3.
func TestColdLost(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 6)
	x.begin("DEEP_ARCHIVE")
	if _, err := rulesClient(x.server).DeleteObject(t.Context(), &api.DeleteObjectInput{Bucket: aws.String(coldBucket), Key: aws.String(x.packs()[1])}); err != nil {
		t.Fatal(err)
	}
	x.change(coldtest.Change{Corrupt: true}, x.packs()[2])
	out, errs := x.refused(0, nil, "restore", "latest", "--plan")
	x.wants(errs, "gone from the store: 1 pack")
	t.Log(out, errs)
	out, errs = x.refused(3, []string{"hint: get the objects back"}, restoreAll("out")...)
	t.Log(out, errs)
	if got := readTree(t, filepath.Join(x.dir, "out")); len(got) < 8 {
		t.Errorf("%d entries restored", len(got))
	}
	x.wants(x.ok("thaw", "list"), " done ")
}

// TestColdMoved: packs were moved to other classes behind firn's back, one into one that is colder and one into one that needs no thawing.
func TestColdMoved(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{}, 5)
	x.begin("GLACIER")
	x.change(coldtest.Change{Class: "DEEP_ARCHIVE"}, x.packs()[0])
	x.change(coldtest.Change{Class: "STANDARD"}, x.packs()[1])
	out := x.ok("restore", "latest", "--plan")
	x.wants(out, "in GLACIER", "in DEEP_ARCHIVE: 1 pack")
	t.Log(out)
	out, errs := x.refused(0, nil, "doctor")
	t.Log(out, errs)
	out, errs = x.refused(0, nil, restoreAll("out")...)
	t.Log(out, errs)
	x.same("out")

	// A rule chills the packs of a repository that is hot.
	y := newCold(t, coldtest.Options{}, 3)
	y.ok("init", "--recipient", recipient, "--kit-saved", "-q")
	y.ok("backup", y.src, "-q", "--pack-size", "1M")
	y.change(coldtest.Change{Class: "GLACIER"}, y.packs()[0])
	y.refused(1, []string{"nobody can be asked: Thaw it for"}, "restore", "latest", "--target", "out")
	out, errs = y.refused(0, nil, "restore", "latest", "--target", "out", "--yes", "--tier", "expedited", "--days", "40", "--poll", "200ms")
	t.Log(out, errs)
	y.same("out")
	for _, r := range y.requests("RestoreObject") {
		if r.Tier != "Expedited" {
			t.Errorf("thawed with tier %q", r.Tier)
		}
	}
}

// TestColdInterrupted: credentials expire, the server throttles and cuts connections, and the same command goes on.
func TestColdInterrupted(t *testing.T) {
	t.Parallel()
	x := newCold(t, coldtest.Options{Seed: 3}, 6)
	x.begin("DEEP_ARCHIVE")
	x.faults("HeadObject nas/data expired\nListObjectsV2 nas/data expired")
	out, errs := x.refused(1, []string{"hint: the credentials were good for a time that is over"}, restoreAll("out")...)
	t.Log(out, errs)
	x.faults("any * expired")
	x.refused(1, []string{"hint: the credentials were good for a time that is over"}, restoreAll("out")...)
	x.faults("GetObject nas/data expired nth=3")
	out, errs = x.refused(1, []string{"hint: the credentials were good for a time that is over"}, restoreAll("out")...)
	t.Log(out, errs)
	x.faults("any * slowdown p=0.3\nGetObject nas/data cut-out p=0.2\nRestoreObject * cut-after p=0.3\nHeadObject * internal p=0.2")
	out, errs = x.refused(0, nil, restoreAll("out")...)
	t.Log(out, errs)
	x.same("out")
	if twice, _ := x.paidTwice(); len(twice) > 0 {
		t.Errorf("%q paid for twice", twice)
	}
}

// TestColdCapacity: there is no room for expedited retrievals; firn takes a slower tier where it may, and else says so and waits.
func TestColdCapacity(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 3)
	x.begin("GLACIER")
	x.faults("RestoreObject nas/data capacity")
	args := []string{"restore", "latest", "--target", "out", "--yes", "--tier", "expedited", "--days", "40", "--poll", "200ms"}
	out, errs := x.refused(0, []string{"no capacity"}, append(args, "--detach")...)
	x.wants(out, "to come")
	t.Log(out, errs)
	out, errs = x.refused(0, []string{"no capacity", "asking with"}, append(args, "--slower")...)
	t.Log(out, errs)
	x.same("out")
}

// TestColdClock: the server's clock and this machine's do not agree.
func TestColdClock(t *testing.T) {
	x := newCold(t, coldtest.Options{Skew: 3 * time.Hour}, 1)
	out, errs, code := x.run("init", "--recipient", recipient, "--kit-saved", "-q", "--class", "DEEP_ARCHIVE")
	t.Log(code, out, errs)
	if code == 0 {
		x.ok("backup", x.src, "-q")
		x.ok(restoreAll("out")...)
		x.same("out")
		return
	}
	x.wants(errs, "hint: set this machine's clock")
}

// TestColdReadOnlyState: local state cannot be written: jobs live as long as the process, and nothing is paid for twice all the same.
func TestColdReadOnlyState(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("has no /proc")
	}
	x := newCold(t, coldtest.Options{}, 3)
	x.begin("DEEP_ARCHIVE")
	x.clock.stop() // it has to wait until it is killed
	y := *x
	y.hurt = &hurt{terminal: x.set("FIRN_STATE_DIR", "/proc/nowhere/state")}
	y.terminal = y.set("FIRN_CACHE_DIR", "/proc/nowhere/cache")
	cmd, errs := y.command(restoreAll("out")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for tries := 0; len(x.requests("RestoreObject")) < len(x.packs()) && tries < 6000; tries++ {
		time.Sleep(10 * time.Millisecond)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	x.clock.goOn()
	if strings.Count(errs.String(), "going on without") != 1 {
		t.Error(errs)
	}
	out, text := y.refused(0, []string{"going on without"}, restoreAll("out")...)
	t.Log(out, text)
	x.same("out")
	if twice, paid := x.paidTwice(); len(twice) > 0 || paid != len(x.packs()) {
		t.Errorf("%d paid for, %q twice", paid, twice)
	}
	if _, err := os.Stat("/proc/nowhere"); err == nil {
		t.Error("there is such a place")
	}
}
