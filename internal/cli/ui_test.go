package cli_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// browser has cookies, and follows where it is led.
type browser struct {
	t *testing.T
	http.Client
}

func newBrowser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t, http.Client{Jar: jar}}
	t.Cleanup(b.CloseIdleConnections)
	return b
}

func (b *browser) read(res *http.Response, err error) (int, string, *url.URL) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return res.StatusCode, string(text), res.Request.URL
}

func (b *browser) get(address string) (int, string) {
	b.t.Helper()
	code, text, _ := b.read(b.Get(address))
	return code, text
}

// await asks for a page until it holds a text.
func (b *browser) await(address, want string) string {
	b.t.Helper()
	for end := time.Now().Add(10 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		_, text := b.get(address)
		if strings.Contains(text, want) {
			return text
		}
		if time.Now().After(end) {
			b.t.Fatalf("%s never says %q: %s", address, want, text)
		}
	}
}

// upUI is what firn ui --json says.
type upUI struct {
	Event, Address, Link string
	PID                  int
}

// ui starts the pages with a passphrase on standard input, and waits until they are up.
func (s *served) ui(input string, args ...string) upUI {
	s.t.Helper()
	s.cmd = s.command(append([]string{"ui", "--json"}, args...)...)
	s.cmd.Stderr, s.cmd.Stdin = &s.said, strings.NewReader(input)
	out, err := s.cmd.StdoutPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	return s.upOf(out)
}

func (s *served) upOf(out io.Reader) (up upUI) {
	s.t.Helper()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &up)
	}
	if err != nil || up.Event != "ui" || !strings.HasPrefix(up.Link, up.Address+"/enter?token=") {
		s.t.Fatalf("%v: %s\n%s", err, line, s.said.String())
	}
	return up
}

// link asks for one more.
func (s *served) link() (upUI, error) {
	s.t.Helper()
	out, err := s.command("ui", "--link", "--json").Output()
	if err != nil {
		return upUI{}, err
	}
	return s.upOf(strings.NewReader(string(out))), nil
}

const uiPhrase = "one two three four"

// newUIWorld is a machine with a repository and a snapshot, and no configuration.
func newUIWorld(t *testing.T) *served {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("there are no such signals")
	}
	s := &served{t: t, dir: t.TempDir()}
	s.env = machine(s.dir, "TZ=UTC", "FIRN_CONFIG=none", "FIRN_HOST=nas", "FIRN_REPO="+filepath.Join(s.dir, "repo"))
	if err := os.MkdirAll(filepath.Join(s.dir, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "docs", "a.txt"), []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--kit-saved", "-q"}, {"backup", "-q", "docs"}} {
		cmd := s.command(args...)
		cmd.Env = append(cmd.Env, "FIRN_PASSPHRASE="+uiPhrase)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	return s
}

// TestUI: a link lets one browser in; another one another; a backup is begun from the page with the passphrase that came by standard input; Ctrl-C ends all.
func TestUI(t *testing.T) {
	t.Parallel()
	s := newUIWorld(t)
	up := s.ui(uiPhrase+"\nnot this\n", "--passphrase-file", "-")
	b := newBrowser(t)
	if code, _ := b.get(up.Address + "/"); code != http.StatusUnauthorized {
		t.Errorf("without a session: %d", code)
	}
	if code, _, at := b.read(b.Get(up.Link)); code != 200 || at.Path != "/" || at.RawQuery != "" {
		t.Errorf("%d, %v", code, at)
	}
	page := b.await(up.Address+"/", "docs")
	if strings.Contains(page, uiPhrase) {
		t.Error("the passphrase is on the page")
	}
	if code, text := newBrowser(t).get(up.Link); code != http.StatusGone || !strings.Contains(text, "firn ui --link") {
		t.Errorf("used twice: %d", code)
	}
	second, err := s.link()
	if err != nil || second.Address != up.Address || second.PID != up.PID {
		t.Fatalf("%+v, %v", second, err)
	}
	if code, _ := newBrowser(t).get(second.Link); code != 200 {
		t.Errorf("another browser: %d", code)
	}
	s.beginBackup(b, up.Address)
	info, err := os.Stat(filepath.Join(stateOf(s.env), "ui", fmt.Sprint(up.PID)+".json"))
	if err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v, %v", info, err)
	}
	s.signal(os.Interrupt)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, s.said.String())
	}
	if _, err := s.link(); err == nil {
		t.Error("a link to what has ended")
	}
}

// beginBackup backs the source up from the page.
func (s *served) beginBackup(b *browser, address string) {
	s.t.Helper()
	page := b.await(address+"/run", "Back up now")
	if !strings.Contains(page, "firn backup --repo=") {
		s.t.Errorf("%s", page)
	}
	form := url.Values{}
	_, page, _ = strings.Cut(page, `action="/run/source"`)
	for _, name := range []string{"csrf", "repo", "source"} {
		_, rest, _ := strings.Cut(page, `name="`+name+`" value="`)
		value, _, _ := strings.Cut(rest, `"`)
		form.Set(name, value)
	}
	code, _, at := b.read(b.PostForm(address+"/run/source", form))
	if code != 200 || !strings.HasPrefix(at.Path, "/tasks/") {
		s.t.Fatalf("%d, %v", code, at)
	}
	b.await(at.String(), `<span class="badge ok">done</span>`)
}

// stateOf is where local state is.
func stateOf(env []string) string {
	found := ""
	for _, v := range env {
		if dir, ok := strings.CutPrefix(v, "FIRN_STATE_DIR="); ok {
			found = dir
		}
	}
	return found
}

// TestUIHostKey: without a passphrase the key of this host lists snapshots, and the page says how to see more; a repository that is not there is told.
func TestUIHostKey(t *testing.T) {
	t.Parallel()
	s := newUIWorld(t)
	up := s.ui("")
	b := newBrowser(t)
	if code, _ := b.get(up.Link); code != 200 {
		t.Fatalf("%d", code)
	}
	b.await(up.Address+"/", "with the key of this host alone")
	b.await(up.Address+"/", "docs")
	s.signal(syscall.SIGTERM)
	_ = s.cmd.Wait()
	if err := os.RemoveAll(filepath.Join(s.dir, "repo")); err != nil {
		t.Fatal(err)
	}
	up = s.ui("")
	if code, _ := b.get(up.Link); code != 200 {
		t.Fatalf("%d", code)
	}
	b.await(up.Address+"/", "nothing is known of it yet")
}

// TestUIUnderServe: the daemon has pages where the configuration says so; what it answered before it answers as before; a session outlives the configuration.
func TestUIUnderServe(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("there are no such signals")
	}
	s := &served{t: t, dir: t.TempDir()}
	s.env = machine(s.dir, "TZ=UTC", "FIRN_CONFIG="+filepath.Join(s.dir, "firn.toml"))
	if err := os.WriteFile(filepath.Join(s.dir, "key.txt"), []byte(identity+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := s.command("init", "--config", "none", "--repo", filepath.Join(s.dir, "repo"), "--recipient", recipient, "--kit-saved", "-q").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.configure("", "docs")
	s.start()
	b := newBrowser(t)
	if code, _ := b.get("http://" + s.address + "/"); code != http.StatusNotFound {
		t.Errorf("not asked for: %d", code)
	}
	if _, err := s.link(); err == nil {
		t.Error("a link to what is not there")
	}
	const pages = "[serve]\nui = true"
	s.configure(pages, "docs")
	s.signal(syscall.SIGHUP)
	s.await("pages", "/", func(code int, _ string) bool { return code == http.StatusUnauthorized })
	up, err := s.link()
	if err != nil || up.Address != "http://"+s.address {
		t.Fatalf("%+v, %v\n%s", up, err, s.said.String())
	}
	if code, _ := b.get(up.Link); code != 200 {
		t.Errorf("%d", code)
	}
	b.await(up.Address+"/", "docs")
	b.await(up.Address+"/run", "firn run docs")
	for _, page := range []string{"/healthz", "/readyz", "/metrics", "/status"} {
		code, text := s.get(page)
		if code != 200 || strings.Contains(text, "<html") {
			t.Errorf("%s: %d", page, code)
		}
	}
	res, err := b.Post(up.Address+"/healthz", "text/plain", nil)
	if code, _, _ := b.read(res, err); code != http.StatusMethodNotAllowed {
		t.Errorf("%d", code)
	}
	s.configure(pages, "docs", "more")
	s.signal(syscall.SIGHUP)
	b.await(up.Address+"/", "more")
	s.configure("", "docs")
	s.signal(syscall.SIGHUP)
	s.await("no pages", "/", func(code int, _ string) bool { return code == http.StatusNotFound })
	if _, err := s.link(); err == nil {
		t.Error("a link to what is not there any more")
	}
	s.signal(syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v\n%s", err, s.said.String())
	}
}
