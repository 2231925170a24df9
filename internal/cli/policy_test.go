package cli_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"firn/internal/coldtest"
	"firn/internal/keys"
	"firn/internal/store"
	"firn/internal/wire"
)

// grantee is somebody who has exactly the rights that firn policy prints for a role.
type grantee struct {
	*terminal
	x      *cold
	role   string
	user   coldtest.User
	policy *coldtest.Policy
	seen   []coldtest.Request // that were allowed
	bears  []string           // actions, with the beginning of a key, that are refused and that the work is done without
}

// grantee makes such a user, with folders of their own. key is a host's; empty: they have the secret key.
func (x *cold) grantee(role, repo, key string, flags ...string) *grantee {
	x.t.Helper()
	g := &grantee{x: x, role: role, user: coldtest.NewUser()}
	out := x.ok(append([]string{"policy", role, "--repo", repo}, flags...)...)
	var err error
	if g.policy, err = coldtest.ParsePolicy([]byte(out)); err != nil {
		x.t.Fatalf("%s: %v\n%s", role, err, out)
	}
	if n := len(strings.Join(strings.Fields(out), "")); n > 6144 { // IAM User Guide, "IAM and AWS STS quotas"
		x.t.Errorf("%s: %d characters are too many for IAM", role, n)
	}
	g.may(g.policy)
	t := &terminal{x.t, x.dir, slices.DeleteFunc(slices.Clone(x.env), func(e string) bool { return key != "" && strings.HasPrefix(e, "FIRN_IDENTITY=") })}
	home := filepath.Join(x.dir, "home-"+role+key)
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": g.user.Access, "AWS_SECRET_ACCESS_KEY": g.user.Secret, "FIRN_STATE_DIR": home + "/state", "FIRN_CACHE_DIR": home + "/cache",
		"FIRN_HOST": role, "FIRN_HOST_KEY": key} {
		t = t.set(name, value)
	}
	g.terminal = t
	return g
}

// may sets what the user may do from now on.
func (g *grantee) may(p *coldtest.Policy) {
	g.user.Policy = p
	g.x.server.AddUser(g.user)
}

// refusals are the requests that the user was refused for want of a right, since the log began.
func (g *grantee) refusals() (refused []string) {
	for _, r := range g.x.server.Requests() {
		what := r.Action + " " + r.Key
		bears := slices.ContainsFunc(g.bears, func(b string) bool { return strings.HasPrefix(what, b) })
		if r.User == g.user.Access && r.Status == 403 && r.Code == "AccessDenied" && !bears {
			refused = append(refused, what)
		}
	}
	return refused
}

// without leaves a statement out.
func (g *grantee) without(sid string) *coldtest.Policy {
	p := &coldtest.Policy{}
	for _, s := range g.policy.Statement {
		if s.Sid != sid {
			p.Statement = append(p.Statement, s)
		}
	}
	return p
}

// does runs a command that all of the rights suffice for: nothing is refused. Before, it is run without each of the statements that needs names, which it has to be refused something for.
func (g *grantee) does(needs string, args ...string) string {
	g.x.t.Helper()
	for _, sid := range strings.Fields(needs) {
		g.x.server.ForgetRequests()
		g.may(g.without(sid))
		out, errs, code := g.run(args...)
		if len(g.refusals()) == 0 {
			g.x.t.Errorf("%s without %s: firn %q is refused nothing, and ends with %d\n%s%s", g.role, sid, args, code, out, errs)
		}
		g.note()
		g.may(g.policy)
	}
	g.x.server.ForgetRequests()
	out, errs, code := g.run(args...)
	if refused := g.refusals(); code != 0 || len(refused) > 0 {
		g.x.t.Errorf("%s: firn %q: code %d, refused %q\n%s%s", g.role, args, code, refused, out, errs)
	}
	g.note()
	return out
}

// note remembers what was asked for and allowed.
func (g *grantee) note() {
	for _, r := range g.x.server.Requests() {
		if r.User == g.user.Access && r.Code != "AccessDenied" {
			g.seen = append(g.seen, r)
		}
	}
}

// least wants every statement, every action and every resource of the document to have been used, but for those that begin so.
func (g *grantee) least(but ...string) {
	g.x.t.Helper()
	unused := func(sid, what string) {
		if !slices.ContainsFunc(but, func(b string) bool { return strings.HasPrefix(sid+" "+what, b) }) {
			g.x.t.Errorf("%s: %s: nobody needs %s", g.role, sid, what)
		}
	}
	for _, s := range g.policy.Statement {
		used := func(match func(coldtest.Request) bool) bool {
			return slices.ContainsFunc(g.seen, func(r coldtest.Request) bool { return slices.Contains(r.Statements, s.Sid) && match(r) })
		}
		for _, action := range s.Action {
			if !used(func(r coldtest.Request) bool { return r.Action == action }) {
				unused(s.Sid, action)
			}
		}
		for _, resource := range s.Resource {
			_, key, _ := strings.Cut(strings.TrimPrefix(resource, "arn:aws:s3:::"), "/")
			prefix := strings.TrimSuffix(key, "*")
			if !used(func(r coldtest.Request) bool { return strings.HasPrefix(r.Key, prefix) }) {
				unused(s.Sid, key)
			}
		}
		for _, prefix := range s.Condition["StringLike"]["s3:prefix"] {
			prefix = strings.TrimSuffix(prefix, "*")
			if !used(func(r coldtest.Request) bool { return strings.HasPrefix(r.Key, prefix) }) {
				unused(s.Sid, prefix)
			}
		}
	}
}

// TestPolicies runs everybody's work under exactly the rights that their document gives, and under less.
func TestPolicies(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a hundred processes")
	}
	clock := &handClock{}
	x := newCold(t, coldtest.Options{Clock: clock}, 4)
	if _, err := rulesClient(x.server).DeleteBucket(t.Context(), &api.DeleteBucketInput{Bucket: aws.String(coldBucket)}); err != nil {
		t.Fatal(err)
	}
	repo := "s3://" + coldBucket + "/nas"
	admin := x.grantee("admin", repo, "", "--probe", "--lock")
	admin.does("MakeBucket", "init", "--recipient", recipient, "--kit-saved", "-q", "--class", "DEEP_ARCHIVE")
	admin.does("CreateOnly", "keys", "write-only", "--host", "web", "--output", "web.key")
	admin.does("", "keys", "write-only", "--host", "pruner", "--scope", "web", "--prune", "--output", "pruner.key")
	admin.does("Read List", "keys", "hosts")
	admin.does("", "keys", "add", "--recipient", recipient2, "--label", "two")
	admin.bears = []string{"s3:GetBucketVersioning", "s3:ListBucketVersions"}
	admin.does("Delete", "keys", "remove", "two")
	admin.does("Probe SeeSettings", "doctor", "--thorough")

	web := x.grantee("write-only", repo, "web.key", "--host-key", "web.key", "--probe")
	web.bears = []string{"s3:GetObject nas/data/", "s3:GetObject nas/meta/", "s3:GetObject nas/hosts/"} // what is refused so is looked for in listings
	web.does("CreateOnly List ReadWhatIsThere", "backup", x.src, "-q", "--pack-size", "1M")
	web.bears = append(web.bears, "s3:ListBucket nas/")
	web.does("Probe SeeSettings", "doctor", "--thorough")
	clock.leap(25 * time.Hour)
	x.fill(x.src+"/more", 1)
	web.does("", "backup", x.src, "-q", "--pack-size", "1M")
	raw, err := os.ReadFile(filepath.Join(x.dir, "web.key"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := keys.ParseHostKey(raw)
	if err != nil {
		t.Fatal(err)
	}
	web.parts(key.ScopeID.String())
	web.powerless()

	reader := x.grantee("restore", repo, "")
	reader.does("List Read", "snapshots")
	reader.does("Thaw", "restore", "latest", "--target", "out", "--yes", "--poll", "200ms", "--max-cost", "10")
	x.same("out")
	reader.does("", "check", "--read-data=100%", "--yes")
	reader.does("CreateOnly", "drill", "--files", "3", "--yes", "--poll", "200ms")

	elsewhere := *web // the same key on a machine that knows nothing
	elsewhere.terminal = web.set("FIRN_STATE_DIR", filepath.Join(x.dir, "anew", "state")).set("FIRN_CACHE_DIR", filepath.Join(x.dir, "anew", "cache"))
	elsewhere.does("", "backup", x.src, "-q")
	elsewhere.does("", "snapshots")

	pruner := x.grantee("prune", repo, "pruner.key", "--host-key", "pruner.key")
	pruner.bears = []string{"s3:GetBucketVersioning", "s3:ListBucketVersions"} // what is kept of what is deleted the bucket's rules remove
	prune := []string{"prune", "--keep-last", "1", "--yes", "--early", "--max-cost", "100", "--grace", "1h"}
	pruner.does("List CreateOnly", prune...)
	for i, needs := range []string{"", "Delete", "", "", ""} { // the store's clock is read off what it got last
		clock.leap(9 * 24 * time.Hour)
		x.write(x.src+"/small/s1.txt", strings.Repeat("new", i))
		web.does("", "backup", x.src, "-q")
		pruner.does(needs, prune...)
	}

	everything := x.grantee("prune", repo, "") // a prune with the secret key reads manifests and tidies what hosts left behind
	everything.bears = pruner.bears
	everything.does("Read", prune...)
	pruner.seen = append(pruner.seen, everything.seen...)

	x.server.LockBucket(coldBucket, "GOVERNANCE", 1)
	admin.does("SeeSettings", "doctor", "--read-only")
	admin.does("Locks", "lock", "--for", "200d", "--yes")

	web.seen = append(web.seen, elsewhere.seen...)
	for _, g := range []*grantee{reader, pruner} {
		g.least()
	}
	admin.least("Locks s3:GetObjectRetention")                                     // Amazon's HEAD wants it
	web.least("List nas/meta/", "SeeSettings s3:GetBucketObjectLockConfiguration") // a pack of manifests that was stored last; a bucket that keeps versions
}

// TestPoliciesOfCopies is TestPolicies of who writes a copy and of who mends one.
func TestPoliciesOfCopies(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a hundred processes")
	}
	x := newCold(t, coldtest.Options{}, 4)
	repo := "s3://" + coldBucket + "/nas"
	home := x.set("FIRN_REPO", "home")
	home.ok("init", "--recipient", recipient, "--kit-saved", "-q", "--parity", "10")
	home.ok("backup", x.src, "-q", "--pack-size", "1M")
	home.ok("init", repo, "--like", "home", "-q", "--parity", "10")
	copier := x.grantee("copy", repo, "")
	copier.terminal = copier.set("FIRN_REPO", "home")
	copier.does("CreateOnly List ReadWhatIsThere", "copy", repo)
	x.fill(x.src+"/more", 1)
	home.ok("backup", x.src, "-q", "--pack-size", "1M")
	home.ok("keys", "write-only", "--host", "web", "--output", "web.key")
	copier.does("", "copy", repo)
	x.ok("forget", "latest~1", "--yes")
	x.fill(x.src+"/most", 1)
	home.ok("backup", x.src, "-q", "--pack-size", "1M")
	anew := *copier
	anew.terminal = copier.set("FIRN_STATE_DIR", filepath.Join(x.dir, "anew", "state")).set("FIRN_CACHE_DIR", filepath.Join(x.dir, "anew", "cache"))
	anew.does("", "copy", repo)
	anew.parts("0123456789abcdef")
	anew.least("ReadWhatIsThere nas/packset/") // what a server says is there it is asked about

	mender := x.grantee("repair", repo, "", "--class", "STANDARD")
	for _, area := range []string{"data/", "meta/", "index/", "packset/"} {
		keys := slices.DeleteFunc(x.keys(area), func(key string) bool {
			return strings.HasSuffix(key, ".par2") || strings.Contains(key, "0123456789abcdef")
		})
		if area != "packset/" {
			keys = keys[:1]
		}
		x.change(coldtest.Change{Corrupt: true}, keys...)
	}
	mender.does("Read List Delete", "repair", "--read-data", "--yes")
	mender.parts("0123456789abcdef")
	packs := slices.DeleteFunc(x.keys("data/"), func(key string) bool { return strings.Contains(key, "0123456789abcdef") })
	for _, key := range packs[:2] { // a pack and its volume
		if _, err := rulesClient(x.server).DeleteObject(t.Context(), &api.DeleteObjectInput{Bucket: aws.String(coldBucket), Key: aws.String(key)}); err != nil {
			t.Fatal(err)
		}
	}
	out, _, code := mender.run("repair", "--read-data", "--yes")
	if refused := mender.refusals(); code == 0 || len(refused) > 0 {
		t.Errorf("a pack is lost: code %d, refused %q\n%s", code, refused, out)
	}
	mender.note()
	mender.least("Delete nas/packset/") // what is damaged twice
}

// TestPoliciesOfVersions is TestPolicies of who prunes and moves packs in a bucket that keeps versions and locks, and of who mirrors files.
func TestPoliciesOfVersions(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a hundred processes")
	}
	clock := &handClock{ahead: -90 * 24 * time.Hour}
	x := newCold(t, coldtest.Options{Clock: clock}, 3)
	x.server.LockBucket(coldBucket, "GOVERNANCE", 1)
	repo := "s3://" + coldBucket + "/nas"
	x.ok("init", "--recipient", recipient, "--kit-saved", "-q", "--class", "STANDARD_IA")
	backup := []string{"backup", x.src, "-q", "--pack-size", "1M", "--hot-for", "30d", "--then", "DEEP_ARCHIVE", "--class", "STANDARD_IA"}
	x.ok(backup...)
	pruner := x.grantee("prune", repo, "", "--versions", "--lock", "--transition")
	prune := []string{"prune", "--keep-last", "1", "--yes", "--early", "--max-cost", "100", "--grace", "1h"}
	for i, needs := range []string{"", "DeleteVersions SeeVersions", "", "", ""} {
		clock.leap(9 * 24 * time.Hour)
		x.write(x.src+"/d0/f00", strings.Repeat(string(rune('a'+i)), 1<<20))
		x.ok(backup...)
		pruner.does(needs, prune...)
	}
	clock.leap(45 * 24 * time.Hour)
	pruner.does("Move", "transition", "--yes", "--anyway")
	pruner.does("Locks SeeLocks", append(prune, "--lock", "30d")...)
	pruner.least("Delete nas/", "Locks s3:GetObjectRetention") // plain deletion is for what a lock keeps, and Amazon's HEAD wants the other

	mirror := x.grantee("sync", "s3://"+coldBucket+"/www", "", "--class", "STANDARD")
	mirror.does("List ReadAndWrite", "sync", x.src, "s3://"+coldBucket+"/www")
	x.write(x.src+"/small/s1.txt", "new")
	if err := os.Remove(filepath.Join(x.dir, x.src, "small", "s2.txt")); err != nil {
		t.Fatal(err)
	}
	mirror.does("", "sync", "--delete", x.src, "s3://"+coldBucket+"/www")
	mirror.does("", "sync", "s3://"+coldBucket+"/www", "down")
	mirror.least("ReadAndWrite s3:AbortMultipartUpload", "ReadAndWrite s3:ListMultipartUploadParts") // of large files
}

// parts sends an object in parts, is cut off and goes on: as packs go over a slow line.
func (g *grantee) parts(scope string) {
	t := g.x.t
	t.Helper()
	for _, e := range g.env {
		if name, value, _ := strings.Cut(e, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value)
		}
	}
	st, err := wire.OpenStore(t.Context(), "s3://"+coldBucket+"/nas", wire.StoreOptions{PartSize: 5 << 20, PartsAbove: 6 << 20, Connections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = st.Close() }()
	content := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20)
	memory := &upload{}
	for _, area := range []string{"data", "meta"} {
		name := area + "/" + scope + "/00/" + strings.Repeat(fmt.Sprintf("%x", len(g.role)), 64)
		put := func() error {
			return st.Put(t.Context(), name, bytes.NewReader(content), int64(len(content)), store.PutOptions{Sum: sha256.Sum256(content), Memory: memory})
		}
		g.may(g.without("SendParts"))
		if err := put(); !errors.Is(err, store.ErrDenied) {
			t.Errorf("without SendParts: %v", err)
		}
		g.may(g.without("CreateOnly"))
		if err := put(); !errors.Is(err, store.ErrDenied) {
			t.Errorf("parts make an object without CreateOnly: %v", err)
		}
		g.may(g.policy)
		g.x.server.ForgetRequests()
		if err := put(); err != nil {
			t.Errorf("parts: %v", err)
		}
		if n := g.x.server.Count("UploadPart"); n > 0 && memory.had {
			t.Errorf("%d parts were sent again", n)
		}
		if err := put(); !errors.Is(err, store.ErrExist) {
			t.Errorf("an object is replaced: %v", err)
		}
		memory.SetUpload("")
		g.seen = append(g.seen, g.x.server.Requests()...)
	}
}

// upload remembers an upload in parts.
type upload struct {
	text string
	had  bool
}

// Upload implements store.UploadMemory.
func (u *upload) Upload() string { u.had = u.had || u.text != ""; return u.text }

// SetUpload implements store.UploadMemory.
func (u *upload) SetUpload(text string) { u.text = text }

// powerless tries what a write-only host must not be able to do to what is stored.
func (g *grantee) powerless() {
	t := g.x.t
	client := api.New(api.Options{BaseEndpoint: aws.String(g.x.server.Endpoint()), Region: g.x.server.Region(), UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(g.user.Access, g.user.Secret, "")})
	bucket := aws.String(coldBucket)
	for _, name := range g.x.keys("") {
		key := aws.String(name)
		tries := map[string]func() error{
			"put": func() error {
				_, err := client.PutObject(t.Context(), &api.PutObjectInput{Bucket: bucket, Key: key})
				return err
			},
			"delete": func() error {
				_, err := client.DeleteObject(t.Context(), &api.DeleteObjectInput{Bucket: bucket, Key: key})
				return err
			},
			"version": func() error {
				_, err := client.DeleteObject(t.Context(), &api.DeleteObjectInput{Bucket: bucket, Key: key, VersionId: aws.String("null")})
				return err
			},
			"copy": func() error {
				_, err := client.CopyObject(t.Context(), &api.CopyObjectInput{Bucket: bucket, Key: key, CopySource: aws.String(coldBucket + "/nas/firn.json"), StorageClass: "GLACIER"})
				return err
			},
			"thaw": func() error {
				_, err := client.RestoreObject(t.Context(), &api.RestoreObjectInput{Bucket: bucket, Key: key, RestoreRequest: &types.RestoreRequest{Days: aws.Int32(1)}})
				return err
			},
		}
		if strings.HasPrefix(name, "nas/data/") || strings.HasPrefix(name, "nas/meta/") || strings.HasPrefix(name, "nas/keys/") {
			tries["get"] = func() error {
				_, err := client.GetObject(t.Context(), &api.GetObjectInput{Bucket: bucket, Key: key})
				return err
			}
		}
		for what, try := range tries {
			var e smithy.APIError
			if err := try(); !errors.As(err, &e) || e.ErrorCode() != "AccessDenied" {
				t.Errorf("%s %s: %v", what, name, err)
			}
		}
	}
}
