package wizard_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/web"
	"firn/internal/web/gate"
	"firn/internal/web/webtest"
	"firn/internal/web/wizard"
	"firn/internal/wire"
)

// newCold is a world whose content has to be thawed. Its children look often at what is thawed, which takes as long as the test wants.
func newCold(t testing.TB) *world {
	w := newWorld(t, webtest.Options{Cold: "DEEP_ARCHIVE"})
	p := w.Place
	p.Flags = append(slices.Clone(p.Flags), "--poll=100ms", "--price-region=aws/us-east-1")
	w.Place = p
	w.Site.UsePlaces([]web.Place{p})
	return w
}

// films are some files that do not compress.
func (w *world) films() (*snapshot.Snapshot, map[string]string) {
	w.t.Helper()
	want := map[string]string{}
	for i := range 6 {
		content := make([]byte, 300<<10)
		_, _ = rand.Read(content)
		name := fmt.Sprintf("d%d/film%d", i%2, i)
		want[name] = string(content)
	}
	return w.Backup("films", func(string) {
		for name, content := range want {
			w.Write("films", name, content)
		}
	}), want
}

// thawsPaid is how often something was paid for to be thawed, and wants nothing to be paid for twice.
func (w *world) thawsPaid() int {
	w.t.Helper()
	paid := map[string]int{}
	for _, r := range w.Cold.Requests() {
		if r.Operation == "RestoreObject" && r.Status == 202 {
			if paid[r.Key]++; paid[r.Key] > 1 {
				w.t.Errorf("%s was paid for twice", r.Key)
			}
		}
	}
	return len(paid)
}

// thawTime is more than any tier takes. It passes for the store alone: sessions end sooner.
const thawTime = 60 * time.Hour

var amounts = regexp.MustCompile(`name="limit" value="([0-9.]+)"`)

// TestCold restores what has to be thawed: each tier with its price, the price that was confirmed as a limit, live state, stopping and going on.
func TestCold(t *testing.T) {
	w := newCold(t)
	s, want := w.films()
	w.fill(s, "d0", "d1/film1")
	target := filepath.Join(w.Base, "out")
	p := w.plan(s, "folder", target, "never")
	w.wants(p, 200, "DEEP_ARCHIVE", "has to be thawed", `<th scope="row">bulk</th>`, `<th scope="row">standard</th>`, "4 files in ", "2 days", "Restore for $", "Last byte", "By other routes", `value="bulk"`)
	if len(amounts.FindAllString(p.Body, -1)) < 2 {
		t.Error("no amounts")
	}
	if n := w.thawsPaid(); n != 0 {
		t.Fatalf("a plan has %d things thawed", n)
	}

	// Too low a limit is kept to.
	address, form := w.form(p, "/restore/go", `value="bulk"`)
	poor := maps.Clone(form)
	poor["limit"] = []string{"0.00001"}
	q := w.ended(w.Post(address, poor))
	w.wants(q, 200, badge("failed"), "raise --max-cost", "Spend up to")
	if n := w.thawsPaid(); n != 0 {
		t.Fatalf("%d things were thawed beyond the limit", n)
	}
	w.press(q, "/forget", "Forget")

	w.fill(s, "d0", "d1/film1")
	p = w.plan(s, "folder", target, "never")
	p = w.press(p, "/restore/go", `value="bulk"`)
	w.wants(p, 200, "--tier=bulk", "--max-cost=0.")
	here := p.URL.Path
	w.until(here, " being thawed</dd>")
	p = w.until(here, "0 thawed, 1 being thawed", "0 thawed, 2 being thawed", "0 thawed, 3 being thawed")
	w.wants(p, 200, badge("running"), "All by", "/events")
	w.wants(w.Get("/r/nas/restore"), 200, "Under way", badge("running"))
	p = w.press(p, "/stop", "Stop")
	p = w.ended(p)
	w.wants(p, 200, badge("stopped"), "Go on", "interrupted")
	p = w.press(p, "/on", "Go on")
	w.wants(p, 200, badge("running"))
	w.until(here, " being thawed</dd>")
	w.Cold.Advance(thawTime)
	p = w.until(here, badge("done"), badge("failed"))
	w.wants(p, 200, badge("done"), "4 files", "<dt>Spent</dt>")
	delete(want, "d1/film3")
	delete(want, "d1/film5")
	if got := tree(t, target); !maps.Equal(got, want) {
		t.Errorf("%d files", len(got))
	}
	if n := w.thawsPaid(); n == 0 {
		t.Error("nothing was thawed")
	}
}

// TestColdArchives: what is cold is thawed by a command of its own before a tar is written or downloaded.
func TestColdArchives(t *testing.T) {
	w := newCold(t)
	s, want := w.films()
	w.fill(s, "")
	archive := filepath.Join(w.Base, "out.tar")
	tarred := w.press(w.plan(s, "tar", archive, ""), "/restore/go", `value="bulk"`)
	w.wants(tarred, 200, "firn thaw ", "Thawing")
	w.until(tarred.URL.Path, " being thawed</dd>")
	w.Cold.Advance(thawTime)
	w.wants(w.until(tarred.URL.Path, badge("done"), badge("failed")), 200, badge("done"))
	raw, err := os.ReadFile(archive)
	if got := names(t, raw); err != nil || !maps.Equal(got, want) {
		t.Errorf("%d files, %v", len(got), err)
	}
	paid := w.thawsPaid()

	// It is thawed by now: the download needs no more.
	w.fill(s, "d0")
	p := w.plan(s, "download", "", "")
	w.wants(p, 200, "thawed</td>")
	p = w.press(p, "/restore/go", "Download")
	w.wants(p, 200, badge("ready"))
	p = w.press(p, "/download", "Download")
	if got := names(t, []byte(p.Body)); p.Status != 200 || len(got) != 3 {
		t.Errorf("%d, %d files", p.Status, len(got))
	}
	if n := w.thawsPaid(); n != paid {
		t.Errorf("%d thawed for a download of what was", n-paid)
	}

	// Once the copies have expired it is said, and is thawed again if somebody wants to pay for it.
	w.Cold.Advance(30 * 24 * time.Hour)
	w.fill(s, "d0/film0")
	p = w.press(w.plan(s, "download", "", ""), "/restore/go", `value="standard"`)
	here := p.URL.Path
	w.until(here, " being thawed</dd>")
	w.wants(w.Post(here+"/download", nil), 409, "cannot be downloaded yet")
	w.Cold.Advance(thawTime)
	w.wants(w.until(here, badge("ready"), badge("failed")), 200, badge("ready"), "Everything is thawed")
	w.Cold.Advance(30 * 24 * time.Hour)
	p = w.press(w.Get(here), "/download", "Download")
	w.wants(p, 502, "not thawed")
	w.wants(w.Get(here), 200, badge("failed"), "Thaw it again, for $")
	w.press(w.Get(here), "/on", "Thaw it again")
	w.until(here, " being thawed</dd>")
	w.Cold.Advance(thawTime)
	w.until(here, badge("ready"))
	p = w.press(w.Get(here), "/download", "Download")
	if got := names(t, []byte(p.Body)); p.Status != 200 || got["d0/film0"] != want["d0/film0"] {
		t.Errorf("%d, %d files", p.Status, len(got))
	}
}

// TestUI is firn ui for the test that kills it.
func TestUI(t *testing.T) {
	state := os.Getenv("FIRN_WIZARD_UI")
	if state == "" {
		t.Skip("is for a child of another test")
	}
	location, endpoint := os.Getenv("FIRN_WIZARD_REPO"), os.Getenv("FIRN_WIZARD_ENDPOINT")
	g := gate.New(gate.Options{})
	site, err := web.New(web.Options{Gate: g, Program: []string{firn(t)}, StateDir: state, Places: []web.Place{{
		Name: "nas", Location: location, Flags: []string{"--repo", location, "--endpoint", endpoint, "--poll=100ms", "--price-region=aws/us-east-1"},
		Secret: func(context.Context) ([]byte, error) { return []byte(webtest.Phrase), nil },
		Open:   func(ctx context.Context) (*web.Opened, error) { return openRepo(ctx, location, endpoint) },
	}}})
	if err != nil {
		t.Fatal(err)
	}
	wizard.Add(site)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("URL http://%s %s\n", l.Addr(), g.Link("/r/nas/restore"))
	_ = gate.Server(site).Serve(l)
}

func openRepo(ctx context.Context, location, endpoint string) (*web.Opened, error) {
	st, err := wire.OpenStore(ctx, location, wire.StoreOptions{Endpoint: endpoint})
	if err != nil {
		return nil, err
	}
	id, err := keys.PassphraseIdentity([]byte(webtest.Phrase))
	if err != nil {
		return nil, err
	}
	secrets, err := repo.Unlock(ctx, st, []age.Identity{id}...)
	if err != nil {
		return nil, err
	}
	r, err := repo.Open(ctx, st, repo.Access{Secrets: secrets}, repo.Options{})
	if err != nil {
		return nil, err
	}
	region, err := price.Default().Region(price.Parsed("aws/us-east-1"))
	return &web.Opened{Repo: r, Store: st, Region: region, Reads: true, Close: func() { _ = st.Close() }}, err
}

// ui is firn ui in a process of its own, and a browser.
type ui struct {
	t      *testing.T
	url    string
	cmd    *exec.Cmd
	client *http.Client
}

func startUI(t *testing.T, w *world, state string) *ui {
	t.Helper()
	u := &ui{t: t, cmd: exec.Command(os.Args[0], "-test.run=^TestUI$")}
	u.cmd.Env = append(os.Environ(), "FIRN_WIZARD_UI="+state, "FIRN_WIZARD_REPO="+w.Repo, "FIRN_WIZARD_ENDPOINT="+w.Cold.Endpoint(), "FIRN_TEST_PROGRAM="+firn(t))
	u.cmd.Stderr = os.Stderr
	out, err := u.cmd.StdoutPipe()
	if err == nil {
		err = u.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.kill)
	link := ""
	for lines := bufio.NewScanner(out); link == "" && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "URL %s %s", &u.url, &link)
	}
	if link == "" {
		t.Fatal("it says nothing")
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u.client = &http.Client{Jar: jar, Timeout: 5 * time.Minute}
	u.get(link)
	return u
}

func (u *ui) kill() {
	_ = u.cmd.Process.Kill()
	_ = u.cmd.Wait()
}

func (u *ui) page(res *http.Response, err error) *webtest.Page {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		u.t.Fatal(err)
	}
	return &webtest.Page{Status: res.StatusCode, Body: string(body), Header: res.Header, URL: res.Request.URL}
}

func (u *ui) get(path string) *webtest.Page {
	u.t.Helper()
	return u.page(u.client.Get(u.url + path))
}

var csrfTag = regexp.MustCompile(`name="csrf" value="([^"]*)"`)

func (u *ui) post(path string, form url.Values) *webtest.Page {
	u.t.Helper()
	form = maps.Clone(form)
	if form == nil {
		form = url.Values{}
	}
	form["csrf"] = []string{csrfTag.FindStringSubmatch(u.get("/r/nas/restore").Body)[1]}
	r, err := http.NewRequest(http.MethodPost, u.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		u.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", u.url)
	return u.page(u.client.Do(r))
}

func (u *ui) until(path string, words ...string) *webtest.Page {
	u.t.Helper()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		p := u.get(path)
		if slices.ContainsFunc(words, func(word string) bool { return p.Has(word) }) {
			return p
		}
		if time.Now().After(end) {
			u.t.Fatalf("none of %q in\n%s", words, p.Body)
		}
	}
}

// TestColdKilled kills firn ui between asking for a thaw and fetching. Another one knows of the restore, which goes on and pays for nothing twice.
func TestColdKilled(t *testing.T) {
	w := newCold(t)
	s, want := w.films()
	state := t.TempDir()
	u := startUI(t, w, state)
	u.post("/r/nas/restore/basket", url.Values{"snapshot": {s.ID.String()}, "path": {web.EncodePath([]byte("d0")), web.EncodePath([]byte("d1"))}})
	target := filepath.Join(w.Base, "out")
	p := u.get("/r/nas/restore/plan?" + url.Values{"snapshot": {s.ID.String()}, "to": {"folder"}, "target": {target}}.Encode())
	address, form := w.form(p, "/restore/go", `value="bulk"`)
	p = u.post(address, form)
	here := p.URL.Path
	u.until(here, "0 thawed, 1 being thawed", "0 thawed, 2 being thawed", "0 thawed, 3 being thawed")
	paid := w.thawsPaid()
	u.kill()
	w.Cold.Advance(thawTime)

	u = startUI(t, w, state)
	p = u.get("/r/nas/restore")
	w.wants(p, 200, "cut off", "Under way")
	p = u.get(here)
	w.wants(p, 200, "It was cut off", "Go on", hex.EncodeToString(s.ID[:]))
	end := time.Now().Add(5 * time.Minute)
	for u.post(here+"/on", nil); ; u.post(here+"/on", nil) { // the child of the killed one is told to stop, and may take a moment for it
		p = u.until(here, badge("done"), badge("failed"), badge("stopped"))
		if !p.Has("is being worked on by process") && !p.Has("another process") || time.Now().After(end) {
			break
		}
	}
	w.wants(p, 200, badge("done"), "6 files")
	if got := tree(t, target); !maps.Equal(got, want) {
		t.Errorf("%d files", len(got))
	}
	if n := w.thawsPaid(); n != paid {
		t.Errorf("%d packs were paid for, then %d", paid, n)
	}
}
