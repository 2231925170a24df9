package sync_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/bucket"
	"firn/internal/coldtest"
	"firn/internal/price"
	"firn/internal/state"
	"firn/internal/storetest/versitygw"
	"firn/internal/sync"
	"firn/internal/sync/ledger"
	"firn/internal/wire"
)

// TestMain lets the test's program be a process that syncs and is killed.
func TestMain(m *testing.M) {
	if os.Getenv("FIRN_SYNC_CHILD") != "" {
		child()
		return
	}
	os.Exit(m.Run())
}

// mortal kills its process before a transfer: not a moment later does anything of it run.
type mortal struct {
	bucket.Bucket
	left *atomic.Int64
}

func (m *mortal) die() {
	if m.left.Add(-1) == 0 {
		p, _ := os.FindProcess(os.Getpid())
		_ = p.Kill()
		select {}
	}
}

func (m *mortal) Put(ctx context.Context, key string, r io.ReadSeeker, size int64, o bucket.PutOptions) (bucket.Info, error) {
	m.die()
	return m.Bucket.Put(ctx, key, r, size, o)
}

func (m *mortal) PutPart(ctx context.Context, key, id string, n int, r io.ReadSeeker, size int64) (bucket.Part, error) {
	m.die()
	return m.Bucket.PutPart(ctx, key, id, n, r, size)
}

func (m *mortal) Complete(ctx context.Context, key, id string, parts []bucket.Part, o bucket.PutOptions) (bucket.Info, error) {
	m.die()
	return m.Bucket.Complete(ctx, key, id, parts, o)
}

func (m *mortal) Get(ctx context.Context, key string, o bucket.GetOptions) (io.ReadCloser, bucket.Info, error) {
	m.die()
	return m.Bucket.Get(ctx, key, o)
}

// child is a sync of its own process: FIRN_SYNC_CHILD has the folder, the state, the direction and the number of transfers until it is killed.
func child() {
	f := strings.Split(os.Getenv("FIRN_SYNC_CHILD"), "\n")
	left := &atomic.Int64{}
	var n int64
	_, _ = fmt.Sscan(f[3], &n)
	left.Store(n)
	if err := overWire(context.Background(), f[0], f[1], f[2] == "down", 1, func(b bucket.Bucket) bucket.Bucket { return &mortal{b, left} }); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// overWire syncs with the server that the environment names, by so many transfers at once. Where a process is killed there is one: so none is under way that may still come to be.
func overWire(ctx context.Context, folder, remember string, down bool, at int, wrap func(bucket.Bucket) bucket.Bucket) error {
	b, prefix, err := wire.OpenBucket(ctx, "s3://firn-test/p/", wire.StoreOptions{Connections: 4})
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	book, err := ledger.Open(state.Dirs{State: remember}, [16]byte{1}, time.Now(), nil)
	if err != nil {
		return err
	}
	defer book.Close()
	o := sync.Options{From: sync.Place{Folder: folder}, To: sync.Place{Bucket: wrap(b), Name: "firn-test", Prefix: prefix}, Book: book, Delete: true,
		Guard: sync.Guard{Set: true, Percent: 100, Count: -1}, Connections: at, PartSize: 5 << 20, Threshold: 6 << 20}
	if down {
		o.From, o.To = o.To, o.From
	}
	res, err := sync.Run(ctx, o)
	if err == nil && res.Incomplete() {
		err = fmt.Errorf("%+v", res)
	}
	return err
}

// TestKill kills a process at some points of a sync, both ways, and goes on: nothing that the server has is sent again, and both sides are equal at the end.
func TestKill(t *testing.T) {
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("kills processes")
	}
	server, still := stillServer(t)
	w := &world{t: t, folder: t.TempDir(), state: t.TempDir()}
	for i := range 12 {
		w.write(fmt.Sprintf("d%d/f%d", i%3, i), text(i, 3000))
	}
	w.write("d1/large", text(99, 17<<20))
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	want, from := w.files(), w.folder
	for range 4 {
		run(t, w, "up", 1+rng.IntN(10))
		still()
	}
	if err := overWire(t.Context(), w.folder, w.state, false, 4, same); err != nil {
		t.Fatal(err)
	}
	puts := server.CountFunc(func(r coldtest.Request) bool {
		return r.Status == 200 && (r.Operation == "PutObject" || r.Operation == "UploadPart")
	})
	if puts != 12+4 {
		t.Errorf("%d puts and parts, want 16", puts)
	}
	w.folder, w.state = t.TempDir(), t.TempDir()
	for range 3 {
		run(t, w, "down", 1+rng.IntN(10))
		still()
	}
	if err := overWire(t.Context(), w.folder, w.state, true, 4, same); err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(w.files(), want) {
		t.Fatalf("%s differs from %s", w.folder, from)
	}
}

// stillServer is a server that the environment names. still waits until it has dealt with all that was sent to it: what a process sent just before it was killed counts as sent.
func stillServer(t *testing.T) (server *coldtest.Server, still func()) {
	server, err := coldtest.New(coldtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server.CreateBucket("firn-test")
	var open atomic.Int64
	s := httptest.NewUnstartedServer(server)
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			open.Add(1)
		case http.StateClosed, http.StateHijacked:
			open.Add(-1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	u := server.User()
	environment(t, "AWS_ENDPOINT_URL_S3="+s.URL, "AWS_REGION="+server.Region(), "AWS_ACCESS_KEY_ID="+u.Access, "AWS_SECRET_ACCESS_KEY="+u.Secret)
	one := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return server, func() {
		res, err := one.Get(s.URL) // whoever connected before was let in before
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		for open.Load() > 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// environment makes these variables all that is said to clients of S3, also by files of this machine.
func environment(t *testing.T, vars ...string) {
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, value) // puts it back
			_ = os.Unsetenv(name)
		}
	}
	for _, v := range append(vars, "AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull) {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
}

func same(b bucket.Bucket) bucket.Bucket { return b }

func run(t *testing.T, w *world, how string, after int) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FIRN_SYNC_CHILD="+strings.Join([]string{w.folder, w.state, how, fmt.Sprint(after)}, "\n"))
	out, err := cmd.CombinedOutput()
	t.Logf("%s, killed before transfer %d: %v", how, after, err)
	if err == nil || len(out) > 0 {
		t.Logf("it was not killed: %s", out)
	}
}

// TestDeepArchive goes to Deep Archive and back over a server with cold classes: asks once, pays once, and comes home whole.
func TestDeepArchive(t *testing.T) {
	for name, p := range map[string]coldtest.Provider{"amazon": coldtest.Amazon, "ceph": coldtest.Ceph} { // the latter does not list what is thawed
		t.Run(name, func(t *testing.T) { deepArchive(t, p) })
	}
}

func deepArchive(t *testing.T, p coldtest.Provider) {
	server := coldtest.Start(t, coldtest.Options{Provider: p})
	server.CreateBucket("firn-test")
	environment(t, server.Environment()...)
	region, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	b, prefix, err := wire.OpenBucket(t.Context(), "s3://firn-test/p/", wire.StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.Close() }()
	w := &world{t: t, folder: t.TempDir(), state: t.TempDir()}
	w.write("big", text(1, 1<<20))
	w.write("small", "tiny")
	classes, err := sync.NewClasses("DEEP_ARCHIVE", nil)
	if err != nil {
		t.Fatal(err)
	}
	classes.Price(region)
	var dues []sync.Due
	options := func(down bool) sync.Options {
		o := sync.Options{From: sync.Place{Folder: w.folder}, To: sync.Place{Bucket: b, Name: "firn-test", Prefix: prefix}, Classes: classes, Region: region, Now: server.Clock().Now,
			Thaw: &sync.Thawing{}, Agree: func(_ context.Context, d sync.Due) error { dues = append(dues, d); return nil }}
		if down {
			o.From, o.To = o.To, o.From
		}
		return o
	}
	if res := w.ok(options(false)); res.Classes["DEEP_ARCHIVE"].Objects != 1 || res.Classes["STANDARD"].Objects != 1 {
		t.Fatalf("%+v", res)
	}
	want := w.files()
	w.folder, w.state = filepath.Join(t.TempDir(), "new"), t.TempDir()
	for range 2 { // the second run asks for nothing
		if res := w.ok(options(true)); res.Frozen != 1 {
			t.Fatalf("%+v", res)
		}
	}
	if n := server.Count("RestoreObject"); n != 1 || len(dues) != 1 {
		t.Fatalf("%d requests to thaw, %+v", n, dues)
	}
	server.Advance(49 * time.Hour)
	if res := w.ok(options(true)); res.Frozen != 0 || !maps.Equal(w.files(), want) {
		t.Fatalf("%+v", res)
	}
	w.write("big", text(2, 1<<20))
	dues = nil
	if res := w.ok(options(false)); res.Early <= 0 || len(dues) != 1 || dues[0].Why != "replace" {
		t.Fatalf("%+v %+v", res, dues)
	}
}

// TestVersity goes over a strict server that keeps objects as files of the same names: diff is the judge.
func TestVersity(t *testing.T) {
	s := versitygw.Start(t)
	environment(t, "AWS_ACCESS_KEY_ID="+s.Access, "AWS_SECRET_ACCESS_KEY="+s.Secret, "AWS_REGION="+s.Region, "AWS_ENDPOINT_URL_S3="+s.Endpoint)
	w := &world{t: t, folder: t.TempDir(), state: t.TempDir()}
	if err := os.Mkdir(filepath.Join(s.Folder, "firn-test"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		w.write(fmt.Sprintf("%s/%s%d", names[i%len(names)], names[(i+3)%len(names)], i), text(i, i*100))
	}
	w.write("large", text(99, 11<<20))
	judge := func(a, b string) {
		t.Helper()
		if out, err := exec.Command("diff", "-r", a, b).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for range 3 {
		if err := overWire(t.Context(), w.folder, w.state, false, 4, same); err != nil {
			t.Fatal(err)
		}
		judge(w.folder, filepath.Join(s.Folder, "firn-test", "p"))
		w.edit(rand.New(rand.NewPCG(5, 5)), 20)
	}
	back := filepath.Join(t.TempDir(), "back")
	if err := overWire(t.Context(), back, t.TempDir(), true, 4, same); err != nil {
		t.Fatal(err)
	}
	judge(back, filepath.Join(s.Folder, "firn-test", "p"))
}
