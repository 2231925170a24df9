package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/s3"

	"firn/internal/coldtest"
	"firn/internal/storetest/versitygw"
)

// newLocked is a person whose bucket locks new objects for some days by itself.
func newLocked(t *testing.T, days int) (*cold, *coldtest.Virtual) {
	clock := coldtest.NewVirtual(time.Time{}, 0)
	x := newCold(t, coldtest.Options{Clock: clock, Hurry: 1}, 3)
	x.server.LockBucket(coldBucket, "GOVERNANCE", days)
	return x, clock
}

// In a bucket that locks what is new a repository is made, backed up into, read, and locked for longer.
func TestColdLock(t *testing.T) {
	x, _ := newLocked(t, 30)
	x.begin("DEEP_ARCHIVE")
	x.ok("backup", x.src, "-q", "--tag", "again")
	if out := x.ok("doctor", "--identity", "key.txt"); !strings.Contains(out, "new objects are locked for 30 days (GOVERNANCE)") || !strings.Contains(out, "no rule removes them") {
		t.Errorf("doctor:\n%s", out)
	}
	objects := x.keys("")
	for _, key := range objects {
		if mode, until := x.server.LockOf(coldBucket, key); mode != "GOVERNANCE" || time.Until(until) < 29*24*time.Hour {
			t.Errorf("%s: %s until %v", key, mode, until)
		}
	}
	wanted := 0
	for _, key := range objects {
		if area := strings.TrimPrefix(key, coldRoot); !strings.HasPrefix(area, "state/") && !strings.HasPrefix(area, "probe/") {
			wanted++
		}
	}
	asked := func() (looks, locks int) {
		return x.server.CountFunc(func(r coldtest.Request) bool {
				return r.Operation == "HeadObject" && r.Status == 200 && !strings.HasSuffix(r.Key, "firn.json")
			}), x.server.CountFunc(func(r coldtest.Request) bool {
				return r.Operation == "PutObjectRetention" && r.Status == 200
			})
	}
	_, errs, code := x.run("lock", "--for", "90d", "--max-cost", "0.0000001", "--yes")
	if _, locks := asked(); code != 1 || locks > 0 || !strings.Contains(errs, "hint: raise --max-cost") {
		t.Errorf("%d, %d locks: %s", code, locks, errs)
	}
	plan := x.ok("lock", "--for", "90d", "--dry-run")
	if _, locks := asked(); locks > 0 || !strings.Contains(plan, fmt.Sprintf("%d to be asked for their lock first", wanted)) || !strings.Contains(plan, "(governance), at most $0.00") {
		t.Errorf("%d locks:\n%s", locks, plan)
	}
	x.server.ForgetRequests()
	var told struct {
		Objects, Unknown, Enough int
		Cost                     float64
		Until                    time.Time
		Result                   struct{ Extended, Failed int }
	}
	if err := json.Unmarshal([]byte(x.ok("lock", "--for", "90d", "--yes", "--json")), &told); err != nil {
		t.Fatal(err)
	}
	if looks, locks := asked(); told.Objects != wanted || told.Result.Extended != wanted || looks < wanted-1 || locks != wanted || told.Cost <= 0 {
		t.Errorf("%+v, %d looks, %d locks, %d wanted", told, looks, locks, wanted)
	}
	x.untouched("lock")
	for _, key := range x.keys("") {
		if strings.Contains(key, "/state/") {
			continue
		}
		if _, until := x.server.LockOf(coldBucket, key); until.Before(told.Until.Truncate(time.Second)) {
			t.Errorf("%s is locked until %v", key, until)
		}
	}
	x.server.ForgetRequests()
	again := x.ok("lock", "--for", "90d", "--yes")
	if looks, locks := asked(); looks+locks > 0 || !strings.Contains(again, fmt.Sprintf("%d locked long enough, 0 to be extended, 0 to be asked", wanted)) {
		t.Errorf("again: %d looks, %d locks:\n%s", looks, locks, again)
	}
	there := x.elsewhere("other")
	x.server.ForgetRequests()
	there.ok("lock", "--for", "90d", "--yes", "--identity", "key.txt", "-q")
	if looks, locks := asked(); looks < wanted-1 || locks > 0 {
		t.Errorf("elsewhere: %d looks, %d locks", looks, locks)
	}
	x.restores()
}

// restores wants everything to come back, thawed by the server's clock.
func (x *cold) restores() {
	x.t.Helper()
	x.ok("restore", "latest", "--target", "plan", "--plan", "--identity", "key.txt")
	if out := x.ok("cost"); !strings.Contains(out, "the bucket keeps versions: ") {
		x.t.Errorf("cost:\n%s", out)
	}
}

// A bucket without Object Lock is told so.
func TestColdCannotLock(t *testing.T) {
	x := newCold(t, coldtest.Options{}, 1)
	x.begin("STANDARD")
	if _, errs, code := x.run("lock", "--for", "90d", "--yes"); code != 1 || !strings.Contains(errs, "store cannot lock objects") || !strings.Contains(errs, "hint: a bucket is made with Object Lock") {
		t.Errorf("%d: %s", code, errs)
	}
}

// versions tells what there is of packs besides their only version: marks of deletion, and what these hide.
func (x *cold) versions() (hidden []string) {
	x.t.Helper()
	out, err := rulesClient(x.server).ListObjectVersions(x.t.Context(), &api.ListObjectVersionsInput{Bucket: aws.String(coldBucket), Prefix: aws.String(coldRoot + "data/")})
	if err != nil {
		x.t.Fatal(err)
	}
	for _, v := range out.Versions {
		if !*v.IsLatest {
			hidden = append(hidden, *v.Key)
		}
	}
	for _, m := range out.DeleteMarkers {
		hidden = append(hidden, "mark of "+*m.Key)
	}
	return hidden
}

// What is forgotten in a bucket that locks waits until its lock is over, and goes then by version.
func TestColdPruneLocked(t *testing.T) {
	x, _ := newLocked(t, 10)
	large := make([]byte, 6<<20) // so that some pack has nothing of other folders, wherever chunks begin
	_, _ = rand.NewChaCha8([32]byte{3}).Read(large)
	x.write(x.src+"/d0/large", string(large))
	x.begin("STANDARD")
	before := len(x.keys("data/"))
	out := x.ok("forget", "--path", "/d0", "--yes")
	if !strings.Contains(out, "replaced: 1 snapshot") {
		t.Errorf("forget:\n%s", out)
	}
	if err := os.RemoveAll(filepath.Join(x.dir, x.src, "d0")); err != nil {
		t.Fatal(err)
	}
	x.ok("backup", x.src, "-q")
	prune := []string{"prune", "--keep-last", "1", "--burst", "0", "--grace", "0", "--refresh", "never"}
	for range 2 {
		t.Log(x.ok(prune...))
		if after := len(x.keys("data/")); after != before || len(x.versions()) > 0 {
			t.Errorf("%d objects of %d while they are locked, %q", after, before, x.versions())
		}
		x.ok("check", "-q")
	}
	x.server.Advance(11 * 24 * time.Hour)
	t.Log(x.ok(prune...))
	if after := len(x.keys("data/")); after >= before || len(x.versions()) > 0 {
		t.Errorf("%d objects of %d once no lock holds, %q", after, before, x.versions())
	}
	x.ok("check", "-q")
	x.ok("restore", "latest", "--target", "out", "-q")
	x.same("out")
}

// The same on a server of somebody else's.
func TestServerThatLocks(t *testing.T) {
	server := versitygw.StartVersioned(t)
	x := newTerminal(t, server)
	client := api.New(api.Options{BaseEndpoint: aws.String(server.Endpoint), Region: server.Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(server.Access, server.Secret, "")})
	bucket := aws.String("firn-test")
	if _, err := client.CreateBucket(t.Context(), &api.CreateBucketInput{Bucket: bucket, ObjectLockEnabledForBucket: aws.Bool(true)}); err != nil {
		t.Fatal(err)
	}
	x.ok("init", "--recipient", recipient, "--kit-saved", "-q")
	x.ok("backup", "src", "-q")
	prices := []string{"--price-region", "aws/us-east-1"}
	if out := x.ok(append([]string{"lock", "--for", "2d", "--mode", "governance", "--yes"}, prices...)...); !strings.Contains(out, "\nlocked ") || strings.Contains(out, " 0 to be asked") {
		t.Errorf("lock:\n%s", out)
	}
	x.ok(append([]string{"forget", "--path", "two", "-q"}, prices...)...)
	prune := append([]string{"prune", "--keep-all", "--grace", "0", "--refresh", "never", "--json"}, prices...)
	for range 2 {
		if out := x.ok(prune...); !strings.Contains(out, `"locked"`) {
			t.Errorf("prune:\n%s", out)
		}
		x.ok("check", "-q")
	}
	x.ok("restore", "latest", "--target", "out", "-q")
	if _, err := os.Stat(filepath.Join(x.dir, "out/sub/two")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was taken out is back: %v", err)
	}
	if out := x.ok("cost", "--price-region", "aws/us-east-1"); !strings.Contains(out, "the bucket keeps versions") {
		t.Errorf("cost:\n%s", out)
	}
}
