package cli_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// served is a daemon that runs.
type served struct {
	t       *testing.T
	dir     string
	env     []string
	address string
	cmd     *exec.Cmd
	said    lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// configure writes the configuration as it is to be with these sources.
func (s *served) configure(more string, sources ...string) {
	s.t.Helper()
	text := fmt.Sprintf("repository = %q\nidentity = %q\nschedule = \"yearly\"\n[metrics]\ntextfile = %q\n%s\n", filepath.Join(s.dir, "repo"), filepath.Join(s.dir, "key.txt"), filepath.Join(s.dir, "firn.prom"), more)
	for _, name := range sources {
		path := filepath.Join(s.dir, "src", name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "file"), []byte(name), 0o644); err != nil {
			s.t.Fatal(err)
		}
		text += fmt.Sprintf("[sources.%s]\npath = %q\n", name, path)
	}
	file := filepath.Join(s.dir, "firn.toml")
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil { // the daemon may be looking at it
		s.t.Fatal(err)
	}
}

func (s *served) command(args ...string) *exec.Cmd {
	cmd := exec.Command("firn", args...)
	cmd.Dir, cmd.Env = s.dir, s.env
	return cmd
}

func (s *served) get(page string) (int, string) {
	s.t.Helper()
	res, err := http.Get("http://" + s.address + page)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// await asks until the answer is as wanted.
func (s *served) await(what, page string, wanted func(code int, text string) bool) {
	s.t.Helper()
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		code, text := s.get(page)
		if wanted(code, text) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s: still %d %s\n%s", what, code, text, s.said.String())
		}
	}
}

// TestServe runs the daemon: a job becomes due, the configuration breaks and is mended, there is room for one only, and it ends when it is told to.
func TestServe(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there are no such signals")
	}
	s := &served{t: t, dir: t.TempDir()}
	s.env = machine(s.dir, "TZ=UTC", "FIRN_CONFIG="+filepath.Join(s.dir, "firn.toml")) // the last of two counts
	if err := os.WriteFile(filepath.Join(s.dir, "key.txt"), []byte(identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.command("init", "--config", "none", "--repo", filepath.Join(s.dir, "repo"), "--recipient", recipient, "--kit-saved", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.configure("", "docs")
	s.start()
	done := func(name string) func(int, string) bool {
		return func(_ int, text string) bool {
			var st struct {
				Jobs []struct{ Job, Outcome, State string }
			}
			if err := json.Unmarshal([]byte(text), &st); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			for _, j := range st.Jobs {
				if j.Job == name && j.State == "ok" && j.Outcome == "done" {
					return true
				}
			}
			return false
		}
	}
	s.await("the first job", "/status", done("docs"))
	if code, text := s.get("/healthz"); code != 200 || !strings.Contains(text, `"jobs":1`) {
		t.Errorf("%d %s", code, text)
	}
	if code, text := s.get("/readyz"); code != 200 {
		t.Errorf("%d %s", code, text)
	}
	if _, text := s.get("/metrics"); !strings.Contains(text, `firn_job_last_outcome{job="docs",kind="backup",outcome="done",repository="default"} 1`) {
		t.Error(text)
	}
	if out, err := s.command("serve", "--listen", "off").CombinedOutput(); fmt.Sprint(err) != "exit status 1" || !strings.Contains(string(out), fmt.Sprintf("process %d serves already", s.cmd.Process.Pid)) {
		t.Errorf("a second one: %v\n%s", err, out)
	}
	s.configure("nonsense = 1", "docs")
	s.signal(syscall.SIGHUP)
	s.await("a broken configuration", "/readyz", func(code int, text string) bool { return code == 503 && strings.Contains(text, `"config":"refused"`) })
	s.configure("", "docs", "more")
	s.signal(syscall.SIGHUP)
	s.await("a job of the mended configuration", "/status", done("more"))
	s.await("the mended configuration", "/readyz", func(code int, _ string) bool { return code == 200 })
	s.signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, s.said.String())
	}
	if text := s.said.String(); strings.Count(text, "is refused") != 1 || !strings.Contains(text, "nonsense") {
		t.Errorf("said:\n%s", text)
	}
	if raw, err := os.ReadFile(filepath.Join(s.dir, "firn.prom")); err != nil || !bytes.Contains(raw, []byte(`job="more"`)) {
		t.Errorf("%v, %s", err, raw)
	}
}

// start starts the daemon, on a port that the kernel chooses, and waits until it is up.
func (s *served) start() {
	s.t.Helper()
	s.cmd = s.command("serve", "--listen", "127.0.0.1:0", "--json")
	s.cmd.Stderr = &s.said
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var up struct{ Event, Address string }
	if err == nil {
		err = json.Unmarshal(line, &up)
	}
	if err != nil || up.Event != "serve" || up.Address == "" {
		s.t.Fatalf("%v: %s\n%s", err, line, s.said.String())
	}
	s.address = up.Address
}

func (s *served) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}
