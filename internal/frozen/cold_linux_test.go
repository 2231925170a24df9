package frozen

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"firn/internal/coldtest"
	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/store/s3"
)

const coldBucket, coldPrefix = "firn-cold", "some/nas"

// coldWorld is a repository whose packs lie in GLACIER on an S3 server. Something that does what the AWS program would is there.
func coldWorld(t *testing.T) (w *world, server *coldtest.Server) {
	need(t, "python3", "age", "zstd", "bash")
	server = coldtest.Start(t, coldtest.Options{})
	user := server.User()
	st, err := s3.Open(t.Context(), s3.Options{Bucket: coldBucket, Prefix: coldPrefix, Endpoint: server.Endpoint(), Region: server.Region(),
		Credentials: credentials.NewStaticCredentialsProvider(user.Access, user.Secret, user.Token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	o := smallChunks(repo.InitOptions{})
	o.DataClass = "GLACIER"
	w = newWorldIn(t, t.TempDir(), st, o)
	m := &maker{t: t, root: w.src, state: 11}
	for _, folder := range []string{"docs", "photos"} { // in packs of their own
		for i := range 6 {
			m.file(fmt.Sprintf("%s/%02d", folder, i), m.random(20_000+m.int(200_000)), 0o644)
		}
		m.times()
		w.backup(nil)
	}
	standsIn(t, "aws")
	for _, e := range append(server.Environment(), "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "TMPDIR="+t.TempDir()) {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	return w, server
}

// page is a copy of the RECOVER.md that is written today.
func page(t *testing.T) (folder string) {
	t.Helper()
	folder = t.TempDir()
	copyObject(t, "../repo/recovery", folder, "RECOVER.md")
	return folder
}

// follow runs the commands of RECOVER.md that hold a text, with the names of this test, in the folder that the user is in.
func follow(t *testing.T, here, key, target, with string) string {
	t.Helper()
	script := strings.NewReplacer("B=bucket P=prefix/", ":", "latest:photos/2019", "latest:photos", "TARGET", target).Replace(block(t, page(t), with))
	return shell(t, here, fmt.Sprintf("B=%s P=%s/ KEY=%s\n%s", coldBucket, coldPrefix, key, script))
}

// TestRecoverCold goes the way out of cold storage that RECOVER.md describes, command by command.
func TestRecoverCold(t *testing.T) {
	w, server := coldWorld(t)
	here, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
	want := below(t, readTree(t, w.src), "photos")
	key := w.dataKey()

	out := follow(t, here, key, target, "--thaw")
	if lines := strings.Split(out, "\n"); !strings.Contains(out, "\tGLACIER\t") || !strings.Contains(out, "\tmissing\n") || len(lines) < 4 {
		t.Errorf("--list: %s", out)
	}
	all, _ := server.Objects(coldBucket, coldPrefix+"/data/")
	if asked := server.Count("RestoreObject"); asked == 0 || asked >= all {
		t.Errorf("%d of %d packs were asked for", asked, all)
	}
	status := shell(t, here, "sh thaw.sh 2>&1; python3 repo/recover.py repo "+key+" --status latest:photos s3://"+coldBucket+"/"+coldPrefix+" | sh")
	if !strings.Contains(status, `ongoing-request="true"`) || !strings.Contains(status, "RestoreAlreadyInProgress") {
		t.Errorf("asked twice: %s", status)
	}
	server.Advance(13 * time.Hour)
	out = follow(t, here, key, target, "--status")
	if !strings.Contains(out, `ongoing-request="false"`) || strings.Contains(out, `"true"`) {
		t.Errorf("--status: %s", out)
	}
	sameItems(t, want, readTree(t, target))
	if again := shell(t, here, "python3 repo/recover.py repo "+key+" --thaw latest:photos s3://"+coldBucket+"/"+coldPrefix); again != "" {
		t.Errorf("commands for what is here already: %s", again)
	}
}

// TestRecoverAllCold thaws everything by one job.
func TestRecoverAllCold(t *testing.T) {
	w, server := coldWorld(t)
	here, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
	key := w.dataKey()
	follow(t, here, key, target, "create-job")
	server.Advance(13 * time.Hour)
	shell(t, here, fmt.Sprintf("aws s3 sync --force-glacier-transfer s3://%s/%s/ repo && python3 repo/recover.py repo %s latest %s", coldBucket, coldPrefix, key, target))
	sameItems(t, readTree(t, w.src), readTree(t, target))
}

// TestRecoverChilled: a rule of the bucket has moved everything.
func TestRecoverChilled(t *testing.T) {
	w, server := coldWorld(t)
	here, target := t.TempDir(), filepath.Join(t.TempDir(), "target")
	key := w.dataKey()
	hot := 0
	w.must(w.store.List(t.Context(), "", "", func(i store.Info) error {
		if strings.HasPrefix(i.Name, "data/") {
			return nil
		}
		hot++
		return server.Change(coldBucket, coldPrefix+"/"+i.Name, coldtest.Change{Class: "GLACIER"})
	}))
	script := block(t, page(t), "StorageClass!='STANDARD'")
	first, last, ok := strings.Cut(script, "done < hot")
	if !ok {
		t.Fatal(script)
	}
	set := fmt.Sprintf("B=%s P=%s/\n", coldBucket, coldPrefix)
	shell(t, here, set+first+"done < hot")
	if n := server.Count("RestoreObject"); n != hot {
		t.Errorf("%d of %d objects were asked for", n, hot)
	}
	server.Advance(6 * time.Hour)
	shell(t, here, set+":"+last)
	follow(t, here, key, target, "--thaw")
	server.Advance(13 * time.Hour)
	follow(t, here, key, target, "--status")
	sameItems(t, below(t, readTree(t, w.src), "photos"), readTree(t, target))
}
