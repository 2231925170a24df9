package cli_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	api "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"firn/internal/coldtest"
)

// coldTerminal is a terminal on a machine that knows an S3 server with cold classes.
func coldTerminal(t *testing.T, server *coldtest.Server) *terminal {
	dir := t.TempDir()
	for name, text := range map[string]string{"key.txt": identity + "\n", "src/one": "one\n", "src/two": strings.Repeat("two\n", 100_000)} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := &terminal{t, dir, machine(dir, append(server.Environment(), "FIRN_REPO=s3://firn-test/nas", "FIRN_IDENTITY=key.txt")...)}
	return c.set("FIRN_CACHE_DIR", dir+"/cache").set("FIRN_STATE_DIR", dir+"/state")
}

func rulesClient(server *coldtest.Server) *api.Client {
	u := server.User()
	return api.New(api.Options{BaseEndpoint: aws.String(server.Endpoint()), Region: server.Region(), UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(u.Access, u.Secret, u.Token)})
}

// setRules gives the bucket rules, as JSON of the S3 API.
func setRules(t *testing.T, server *coldtest.Server, raw []byte) {
	t.Helper()
	in := &types.BucketLifecycleConfiguration{}
	if err := json.Unmarshal(raw, in); err != nil {
		t.Fatal(err)
	}
	if _, err := rulesClient(server).PutBucketLifecycleConfiguration(t.Context(), &api.PutBucketLifecycleConfigurationInput{Bucket: aws.String("firn-test"), LifecycleConfiguration: in}); err != nil {
		t.Fatal(err)
	}
}

// getRules writes the rules of the bucket to a file, as somebody may who has the right to see them.
func getRules(t *testing.T, server *coldtest.Server, path string) {
	t.Helper()
	out, err := rulesClient(server).GetBucketLifecycleConfiguration(t.Context(), &api.GetBucketLifecycleConfigurationInput{Bucket: aws.String("firn-test")})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(types.BucketLifecycleConfiguration{Rules: out.Rules})
	if err == nil {
		err = os.WriteFile(path, raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestDoctorRules finds rules of a bucket, corrects them as it is told, and finds what they have done where they are not.
func TestDoctorRules(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	server.CreateBucket("firn-test")
	setRules(t, server, []byte(`{"Rules": [
		{"ID": "archive", "Status": "Enabled", "Filter": {"ObjectSizeGreaterThan": 1}, "Transitions": [{"Days": 0, "StorageClass": "GLACIER"}]},
		{"ID": "photos", "Status": "Enabled", "Filter": {"Prefix": "photos/"}, "Expiration": {"Days": 9}}]}`))
	c := coldTerminal(t, server)
	_, errs, code := c.run("init", "--recipient", recipient, "--kit-saved", "--class", "DEEP_ARCHIVE")
	if code != 0 || !strings.Contains(errs, `firn: warning: rule "archive" moves everything but data/ to GLACIER`) || !strings.Contains(errs, "firn doctor") {
		t.Errorf("init: code %d, %s", code, errs)
	}
	c.ok("backup", "src")
	getRules(t, server, filepath.Join(c.dir, "now.json"))
	out, _, code := c.run("doctor", "--rules", "now.json", "--fix-rules", "rules.json")
	want := []string{"rules problem rule", "thaw ok ", "class ok objects stay in DEEP_ARCHIVE", `rule "archive" moves "nas/data/" only`, "--bucket firn-test --lifecycle-configuration file://rules.json"}
	if missing := lacks(out, want); code != 1 || len(missing) > 0 {
		t.Errorf("code %d, no %q in %s", code, missing, out)
	}
	raw, err := os.ReadFile(filepath.Join(c.dir, "rules.json"))
	if err != nil {
		t.Fatal(err)
	}
	server.Advance(3 * 24 * time.Hour)
	out, _, code = c.run("doctor", "--read-only")
	if missing := lacks(out, []string{"hot objects problem ", "lie in GLACIER", "firn thaw --metadata", "firn.json lies in a cold class"}); code != 1 || len(missing) > 0 {
		t.Errorf("code %d, no %q in %s", code, missing, out)
	}
	setRules(t, server, raw)
	out, _, _ = c.run("doctor")
	if missing := lacks(out, []string{`rules ok rule "archive" moves data/ to GLACIER`, "uploads ok "}); len(missing) > 0 {
		t.Errorf("no %q in %s", missing, out)
	}
}

// TestDoctorProviders looks at servers that lack something, and at credentials that do.
func TestDoctorProviders(t *testing.T) {
	for name, c := range map[string]struct {
		provider coldtest.Provider
		policy   *coldtest.Policy
		code     int
		want     []string
	}{
		"conditions ignored": {provider: coldtest.Provider{ConditionsIgnored: true}, want: []string{"create-only warning the store lets objects be overwritten"}},
		"classes ignored":    {provider: coldtest.Provider{ClassesIgnored: true}, want: []string{`class warning the store keeps objects in class "STANDARD", not in "GLACIER"`}},
		"no rules":           {provider: coldtest.Provider{NoLifecycle: true}, want: []string{"rules ok the store has no rules of its own"}},
		"write-only":         {policy: coldtest.Without("s3:DeleteObject", "s3:RestoreObject", "s3:GetLifecycleConfiguration"), want: []string{"rights note the credentials may not delete", "thaw note ", "rules note ", "s3:RestoreObject", "s3:GetLifecycleConfiguration"}},
		"no put":             {policy: coldtest.Without("s3:PutObject"), code: 1, want: []string{"rights problem the credentials may not put objects", "allow the credentials s3:PutObject on this bucket"}},
	} {
		t.Run(name, func(t *testing.T) {
			server := coldtest.Start(t, coldtest.Options{Provider: c.provider})
			term := coldTerminal(t, server)
			term.ok("init", "--recipient", recipient, "--kit-saved", "--class", "GLACIER")
			if c.policy != nil {
				user := coldtest.NewUser()
				user.Policy = c.policy
				server.AddUser(user)
				term = term.set("AWS_ACCESS_KEY_ID", user.Access).set("AWS_SECRET_ACCESS_KEY", user.Secret)
			}
			out, errs, code := term.run("doctor")
			if missing := lacks(out, c.want); code != c.code || len(missing) > 0 {
				t.Errorf("code %d, no %q in %s%s", code, missing, out, errs)
			}
		})
	}
}

// TestChilled: a rule of the bucket took everything into a cold class. Backups go on by what this machine knows, and store nothing where it knows nothing any more.
func TestChilled(t *testing.T) {
	server := coldtest.Start(t, coldtest.Options{})
	c := coldTerminal(t, server)
	c.ok("init", "--recipient", recipient, "--kit-saved", "--class", "DEEP_ARCHIVE")
	c.ok("backup", "src")
	list, err := rulesClient(server).ListObjectsV2(t.Context(), &api.ListObjectsV2Input{Bucket: aws.String("firn-test")})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range list.Contents {
		if !strings.HasPrefix(*o.Key, "nas/data/") {
			if err := server.Change("firn-test", *o.Key, coldtest.Change{Class: "GLACIER"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.ok("backup", "src")
	if err := os.WriteFile(filepath.Join(c.dir, "src", "three"), []byte("three\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.set("FIRN_IDENTITY", "").ok("backup", "src")
	server.ForgetRequests()
	out, _, code := c.run("doctor")
	if missing := lacks(out, []string{"repository problem firn.json lies in a cold class", "hot objects problem ", "host key ok ", "packs ok 2 packs looked at"}); code != 1 || len(missing) > 0 {
		t.Errorf("code %d, no %q in %s", code, missing, out)
	}
	if n := server.Count("RestoreObject"); n != 1 { // of a probe object that is not cold, to see whether it may be asked for
		t.Errorf("doctor asked for %d copies", n)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "cache")); err != nil {
		t.Fatal(err)
	}
	server.ForgetRequests()
	c.fails([]string{"in a cold class and not thawed", "hint: a rule of the bucket", "firn thaw --metadata"}, "backup", "src")
	if n := server.Count("PutObject"); n != 0 {
		t.Errorf("%d objects were stored", n)
	}
}

// lacks returns those of some texts that do not stand in out, whatever the width of its columns.
func lacks(out string, texts []string) (missing []string) {
	out = regexp.MustCompile("  +").ReplaceAllString(out, " ")
	for _, text := range texts {
		if !strings.Contains(out, text) {
			missing = append(missing, text)
		}
	}
	return missing
}
