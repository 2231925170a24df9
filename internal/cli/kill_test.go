package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"firn/internal/coldtest"
)

// TestKill kills the real program with SIGKILL at random moments of a backup, and of a restore, and runs the same command again. Nothing that was
// finished is read or sent again, and what comes out is what went in. FIRN_KILLS says how often (default 6).
func TestKill(t *testing.T) {
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("kills processes, for seconds")
	}
	k := newKilled(t)
	rounds := 6
	if n, err := strconv.Atoi(os.Getenv("FIRN_KILLS")); err == nil {
		rounds = n
	}
	whole := k.measure(t)
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for round := range rounds {
		after := time.Duration(rng.Int64N(int64(whole)))
		t.Logf("round %d: killed after %v of about %v", round, after, whole)
		k.backupAndRestore(t, after)
	}
}

// A key pair that protects nothing.
const (
	killIdentity  = "AGE-SECRET-KEY-17X2WYQEANACWAP8ENESJ8QG6AQCWF0GVP3D44ZT0YQKMYPMNSM3SN5RP0C"
	killRecipient = "age1kdu4e7s67lq9944ng80zlqu25kujr2l8s2ld4qpqchtvpty2gqns4ys0cw"
)

type killed struct {
	dir, program, src string
	size              int64
	clean             int64 // bytes of data/ after a backup that nobody killed
}

func newKilled(t *testing.T) *killed {
	k := &killed{dir: t.TempDir()}
	k.program = filepath.Join(k.dir, "firn")
	build := exec.Command("go", "build", "-o", k.program, "firn/cmd/firn")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	k.src = filepath.Join(k.dir, "src")
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 1500 {
		size := 20 << 10
		if i%100 == 0 {
			size = 4 << 20
		}
		content := make([]byte, size)
		for j := 0; j+8 <= size; j += 8 {
			v := rng.Uint64()
			for b := range 8 {
				content[j+b] = byte(v >> (8 * b))
			}
		}
		path := filepath.Join(k.src, fmt.Sprintf("d%02d", i%40), fmt.Sprintf("f%d", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		k.size += int64(size)
	}
	return k
}

func (k *killed) path(name string) string { return filepath.Join(k.dir, name) }

// command prepares a run of the program with a world of its own below the folder work.
func (k *killed) command(work string, args ...string) *exec.Cmd {
	cmd := exec.Command(k.program, args...)
	w := k.path(work)
	cmd.Env = append(os.Environ(), "FIRN_REPO="+filepath.Join(w, "repo"), "FIRN_CACHE_DIR="+filepath.Join(w, "cache"), "FIRN_STATE_DIR="+filepath.Join(w, "state"),
		"FIRN_IDENTITY="+filepath.Join(k.dir, "key"), "FIRN_PASSPHRASE=", "GOMAXPROCS=4") // what a kill loses grows with the workers
	return cmd
}

func (k *killed) must(t testing.TB, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd.Args[1:], err, out, stderr.Bytes())
	}
	return out
}

func (k *killed) init(t testing.TB, work string) {
	if err := os.RemoveAll(k.path(work)); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(k.path(work), 0o755); err != nil {
		t.Fatal(err)
	}
	k.must(t, k.command(work, "init", "--kit-saved", "--recipient", killRecipient))
}

// measure backs up once undisturbed.
func (k *killed) measure(t *testing.T) time.Duration {
	if err := os.WriteFile(filepath.Join(k.dir, "key"), []byte(killIdentity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.init(t, "clean")
	start := time.Now()
	k.must(t, k.command("clean", "backup", "--pack-size", "2M", k.src))
	whole := time.Since(start)
	k.clean = dataSize(k.path("clean/repo"))
	return whole
}

func dataSize(repo string) (n int64) {
	_ = filepath.WalkDir(filepath.Join(repo, "data"), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if i, err := d.Info(); err == nil {
				n += i.Size()
			}
		}
		return nil
	})
	return n
}

// killAfter runs a command and kills it, unless it ends by itself.
func (k *killed) killAfter(t *testing.T, cmd *exec.Cmd, after time.Duration) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	_ = cmd.Wait()
	timer.Stop()
}

func (k *killed) backupAndRestore(t *testing.T, after time.Duration) {
	const work = "round"
	k.init(t, work)
	k.killAfter(t, k.command(work, "backup", "--pack-size", "2M", "-q", k.src), after)
	sent := dataSize(k.path(work + "/repo"))
	var res struct {
		Stats struct {
			BytesRead int64 `json:"bytes_read"`
		} `json:"stats"`
	}
	out := k.must(t, k.command(work, "backup", "--pack-size", "2M", "--json", k.src))
	if err := json.Unmarshal(out, &res); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	// What lay in packs that were not full when the program died is lost with it, and what was in work: a few units and packs.
	const loss = 24 << 20
	if again := res.Stats.BytesRead + sent - k.size; again > loss {
		t.Errorf("%d bytes were in the store, and %d of %d were read all the same: %d twice", sent, res.Stats.BytesRead, k.size, again)
	}
	if n := dataSize(k.path(work + "/repo")); n > k.clean+loss {
		t.Errorf("%d bytes of packs instead of %d: some were sent twice", n, k.clean)
	}
	target := k.path(work + "/target")
	k.killAfter(t, k.command(work, "restore", "latest", "--target", target, "-q"), after/2)
	k.must(t, k.command(work, "restore", "latest", "--target", target, "-q"))
	if out, err := exec.Command("diff", "-r", k.src, target).CombinedOutput(); err != nil {
		t.Errorf("restored tree differs: %v\n%.2000s", err, out)
	}
}

// TestKillCold does the same against an S3 server whose content goes into a cold class over a slow line: packs are streamed into the spool, and what the spool has kept is
// neither read nor packed again.
func TestKillCold(t *testing.T) {
	if runtime.GOOS == "windows" || testing.Short() {
		t.Skip("kills processes, for seconds")
	}
	k := newKilled(t)
	rounds := 2
	if n, err := strconv.Atoi(os.Getenv("FIRN_KILLS")); err == nil {
		rounds = n
	}
	if err := os.WriteFile(filepath.Join(k.dir, "key"), []byte(killIdentity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for round := range rounds {
		c := &killedCold{killed: k, server: coldtest.Start(t, coldtest.Options{Clock: coldtest.Real{}}), work: fmt.Sprint("cold", round)}
		c.server.CreateBucket(coldBucket)
		c.must(t, c.command("init", "--kit-saved", "--recipient", killRecipient, "--class", "DEEP_ARCHIVE"))
		times := 1 + rng.IntN(2)
		for range times {
			after := 100*time.Millisecond + time.Duration(rng.Int64N(int64(1800*time.Millisecond)))
			t.Logf("round %d: killed after %v", round, after)
			c.killAfter(t, c.backup("-q"), after)
		}
		c.goOn(t, times)
	}
}

type killedCold struct {
	*killed
	server *coldtest.Server
	work   string
}

// command prepares a run of the program against the server.
func (c *killedCold) command(args ...string) *exec.Cmd {
	cmd := c.killed.command(c.work, args...)
	cmd.Env = append(append(cmd.Env, c.server.Environment()...), "FIRN_REPO=s3://"+coldBucket+"/nas")
	return cmd
}

// killPack is more than what is held in memory, and killUp about a second and a half for all.
const killPack, killUp = 33 << 20, 60 << 20 // bytes, and bytes a second

func (c *killedCold) backup(more ...string) *exec.Cmd {
	return c.command(append(more, "backup", "--pack-size", fmt.Sprint(killPack), "--limit-upload", fmt.Sprint(killUp), c.src)...)
}

// spooled returns how many bytes the spool keeps under a name, and how many files there are in it.
func (c *killedCold) spooled(t *testing.T) (kept int64, files int) {
	paths, err := filepath.Glob(filepath.Join(c.path(c.work), "cache", "*", "spool", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if i, err := os.Stat(path); err == nil && filepath.Base(path)[0] != '.' {
			kept += i.Size()
		}
	}
	return kept, len(paths)
}

// goOn runs the backup to its end and looks at what it made of what was there.
func (c *killedCold) goOn(t *testing.T, times int) {
	_, sent := c.server.Objects(coldBucket, "nas/data/")
	kept, _ := c.spooled(t)
	var res struct {
		Resumed int
		Stats   struct {
			BytesRead int64 `json:"bytes_read"`
		}
	}
	out := c.must(t, c.backup("--json"))
	if err := json.Unmarshal(out, &res); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	t.Logf("%d bytes were in the store, %d in the spool; %d packs taken up, %d bytes read", sent, kept, res.Resumed, res.Stats.BytesRead)
	const loss = killPack + 24<<20 // a pack that is not full is lost
	if again := res.Stats.BytesRead + sent + kept - c.size; again > loss {
		t.Errorf("%d bytes were in the store, %d in the spool, and %d of %d were read all the same", sent, kept, res.Stats.BytesRead, c.size)
	}
	if _, n := c.server.Objects(coldBucket, "nas/data/"); n > c.size+c.size/50+int64(times)*(4<<20) {
		t.Errorf("%d bytes of packs for %d of content: some were sent twice", n, c.size)
	}
	if left, files := c.spooled(t); files > 0 {
		t.Errorf("%d files are left in the spool, %d bytes", files, left)
	}
	for _, r := range c.server.Requests() {
		switch {
		case r.Operation == "GetObject" && strings.HasPrefix(r.Key, "nas/data/"):
			t.Errorf("%s was asked for", r.Key)
		case r.Operation == "PutObject" && strings.HasPrefix(r.Key, "nas/data/") && r.Status == 200:
			if err := c.server.Change(coldBucket, r.Key, coldtest.Change{Class: "STANDARD"}); err != nil { // as if it was thawed
				t.Error(err)
			}
		}
	}
	keys := map[string]bool{}
	for _, r := range c.server.Requests() {
		if r.Operation == "PutObject" && r.Status == 200 {
			keys[r.Key] = true
		}
	}
	for key := range keys {
		if pack, isVolume := strings.CutSuffix(key, ".par2"); strings.HasPrefix(key, "nas/data/") && !keys[pack+".par2"] || isVolume && !keys[pack] {
			t.Errorf("%s lacks its pack or its recovery volume", key)
		}
	}
	target := c.path(c.work + "/target")
	c.must(t, c.command("restore", "latest", "--target", target, "-q"))
	if out, err := exec.Command("diff", "-r", c.src, target).CombinedOutput(); err != nil {
		t.Errorf("restored tree differs: %v\n%.2000s", err, out)
	}
}
