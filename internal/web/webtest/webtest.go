// Package webtest is a site over a small repository, and a browser of sorts, for the tests of pages.
//
//	w := webtest.New(t, webtest.Options{})
//	w.Backup("photos", func(dir string) { … write files below dir … })
//	look.Add(w.Site)
//	page := w.Get("/r/nas/snapshots")      // with a session, following redirects
//	page = w.Post("/r/nas/restore", form)  // with the field that forms carry
//
// The repository lies in a folder, which programs that tests start can open, too (Place.Flags, Phrase), or in a bucket with cold classes. Its clock and that of the site are World.Now.
package webtest

import (
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/coldtest"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/web"
	"firn/internal/web/gate"
	"firn/internal/wire"
)

// Phrase is the passphrase of the repository.
const Phrase = "correct horse"

// Options of a world. All may be left out.
type Options struct {
	Cold    string          // a class such as DEEP_ARCHIVE: the repository lies in a bucket of a coldtest server, World.Cold, whose credentials are set in the environment; empty: in a folder
	Blind   bool            // the pages have the key of the host alone: they see which snapshots there are, and nothing in them
	Jobs    func() web.Jobs // of the configuration
	Program []string        // that children are
	Name    string          // of the repository in addresses; empty: nas
	More    []web.Place     // repositories besides
	Monthly price.Money     // budget
}

// World is a site over one repository.
type World struct {
	Site  *web.Site
	Place web.Place
	Store store.Store      // the repository's, as it lies there
	Cold  *coldtest.Server // nil: a folder
	Repo  string           // where it lies
	Base  string           // folder of the test: sources are in src/NAME
	URL   string           // of the site, without a slash at its end
	Gate  *gate.Gate

	t      testing.TB
	dirs   state.Dirs
	access repo.Access
	client *http.Client

	mu  sync.Mutex
	now time.Time
}

// New makes a world with an empty repository. It ends with the test.
func New(t testing.TB, o Options) *World {
	t.Helper()
	base := t.TempDir()
	w := &World{t: t, Base: base, dirs: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}, now: time.Now().Truncate(time.Second)}
	flags := w.makeStore(o.Cold)
	pass, err := keys.Passphrase([]byte(Phrase), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(context.Background(), w.Store, repo.InitOptions{Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas", DataClass: o.Cold, Now: w.Now})
	w.must(err)
	if o.Name == "" {
		o.Name = "nas"
	}
	w.Place = web.Place{Name: o.Name, Location: w.Repo, Flags: flags, Monthly: o.Monthly, Secret: func(context.Context) ([]byte, error) { return []byte(Phrase), nil },
		Open: func(ctx context.Context) (*web.Opened, error) { return w.open(ctx, o) }}
	w.Gate = gate.New(gate.Options{Now: w.Now})
	w.Site, err = web.New(web.Options{Places: append([]web.Place{w.Place}, o.More...), Jobs: o.Jobs, Program: o.Program, StateDir: w.dirs.State, Version: "1.2", Now: w.Now, Location: time.UTC, Gate: w.Gate,
		Log: func(format string, args ...any) { t.Logf(format, args...) }})
	w.must(err)
	server := httptest.NewServer(w.Site)
	w.URL = server.URL
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		w.Site.Close()
		server.Close()
	})
	w.Site.Handle("GET /webtest/csrf", func(rw http.ResponseWriter, r *http.Request) error {
		_, err := io.WriteString(rw, gate.Token(r))
		return err
	})
	w.client = w.NewClient()
	return w
}

// makeStore makes a folder or a bucket, and returns the flags that lead there.
func (w *World) makeStore(cold string) []string {
	w.t.Helper()
	if cold == "" {
		w.Repo = filepath.Join(w.Base, "repo")
		w.Store = w.openStore(context.Background())
		return []string{"--repo", w.Repo}
	}
	w.Cold = coldtest.Start(w.t, coldtest.Options{})
	w.Cold.CreateBucket("bucket")
	for _, line := range w.Cold.Environment() {
		name, value, _ := strings.Cut(line, "=")
		w.t.Setenv(name, value)
	}
	w.Repo = "s3://bucket/nas"
	w.Store = w.openStore(context.Background())
	return []string{"--repo", w.Repo, "--endpoint", w.Cold.Endpoint()}
}

func (w *World) openStore(ctx context.Context) store.Store {
	w.t.Helper()
	st, err := wire.OpenStore(ctx, w.Repo, wire.StoreOptions{})
	w.must(err)
	w.t.Cleanup(func() { _ = st.Close() })
	return st
}

// open opens the repository for the site, as the command line does for reading.
func (w *World) open(ctx context.Context, o Options) (*web.Opened, error) {
	st, err := wire.OpenStore(ctx, w.Repo, wire.StoreOptions{})
	if err != nil {
		return nil, err
	}
	header, err := repo.ReadHeader(ctx, st)
	if err != nil {
		_ = st.Close()
		return nil, err
	}
	local := state.OpenCopy(w.dirs, header.ID, header.Copy, func(err error) { w.t.Log(err) })
	access := repo.Access{Secrets: w.access.Secrets}
	if o.Blind {
		access = repo.Access{Host: w.access.Host}
	}
	r, err := repo.Open(ctx, st, access, repo.Options{Now: w.Now, IndexDir: local.ChunkTableDir(), Spool: local.Spool(), Header: header})
	if err != nil {
		_ = st.Close()
		return nil, err
	}
	region := "local"
	if o.Cold != "" {
		region = "aws/us-east-1"
	}
	prices, err := price.Default().Region(price.Parsed(region))
	if err != nil {
		_ = st.Close()
		return nil, err
	}
	return &web.Opened{Repo: r, Store: st, Region: prices, Reads: !o.Blind, Close: func() { _ = st.Close() }}, nil
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Now is the time in this world. It stands still.
func (w *World) Now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// Advance lets time pass.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
	if w.Cold != nil {
		w.Cold.Advance(d)
	}
}

// Dir is the folder of a source. It is there.
func (w *World) Dir(name string) string {
	w.t.Helper()
	path := filepath.Join(w.Base, "src", name)
	w.must(os.MkdirAll(path, 0o755))
	return path
}

// Write writes a file of a source, with the folders above it.
func (w *World) Write(source, name, content string) {
	w.t.Helper()
	path := filepath.Join(w.Dir(source), name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(content), 0o644))
	w.must(os.Chmod(path, 0o644)) // whatever the umask is
}

// Backup has change write what it likes into the folder of a source, which is backed up then. change may be nil. A minute passes.
func (w *World) Backup(source string, change func(dir string)) *snapshot.Snapshot {
	w.t.Helper()
	path := w.Dir(source)
	time.Sleep(15 * time.Millisecond) // so that times of change can be relied on
	if change != nil {
		change(path)
	}
	ctx := context.Background()
	r, err := repo.Open(ctx, w.Store, w.access, repo.Options{Now: w.Now})
	w.must(err)
	scope, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	tree, err := dir.Open(path, dir.Options{Problem: func(path []byte, err error) { w.t.Errorf("%q: %v", path, err) }})
	w.must(err)
	defer func() { _ = tree.Close() }()
	st := state.Open(state.Dirs{Cache: filepath.Join(w.Base, "writer-cache"), State: filepath.Join(w.Base, "writer-state")}, r.ID(), func(err error) { w.t.Log(err) })
	res, err := backup.Run(ctx, backup.Options{
		Repo: r, Scope: scope, State: st, Tree: tree, Names: tree.Names, Host: "nas",
		Source: snapshot.Origin{ID: snapshot.SourceID(w.access.Host.Scope().SourceKey(), "dir", "nas", "", []byte(path)), Kind: "dir", Path: []byte(path)},
		Detect: backup.DefaultDetect, Program: "test", Now: w.Now,
	})
	w.must(err)
	w.Advance(time.Minute)
	return res.Snapshot
}

// Page is an answer.
type Page struct {
	Status int
	Body   string
	Header http.Header
	URL    *url.URL // where redirects led
}

// Has reports whether a page holds all of some texts, as they stand in its source.
func (p *Page) Has(texts ...string) bool {
	for _, text := range texts {
		if !strings.Contains(p.Body, text) {
			return false
		}
	}
	return true
}

// NewClient returns a browser of its own with a session.
func (w *World) NewClient() *http.Client {
	w.t.Helper()
	jar, err := cookiejar.New(nil)
	w.must(err)
	c := &http.Client{Jar: jar, Timeout: 5 * time.Minute}
	res, err := c.Get(w.URL + w.Gate.Link("/webtest/csrf"))
	w.must(err)
	_ = res.Body.Close()
	return c
}

// Get asks for a page.
func (w *World) Get(path string) *Page {
	w.t.Helper()
	return w.GetBy(w.client, path)
}

// GetBy asks as another browser.
func (w *World) GetBy(c *http.Client, path string) *Page {
	w.t.Helper()
	res, err := c.Get(w.URL + path)
	w.must(err)
	return w.page(res)
}

// Post sends a form, with the field that shows where it comes from, and follows where that leads.
func (w *World) Post(path string, form url.Values) *Page {
	w.t.Helper()
	return w.PostBy(w.client, path, form)
}

// PostBy posts as another browser.
func (w *World) PostBy(c *http.Client, path string, form url.Values) *Page {
	w.t.Helper()
	all := url.Values{"csrf": {w.GetBy(c, "/webtest/csrf").Body}}
	for name, values := range form {
		all[name] = values
	}
	r, err := http.NewRequest(http.MethodPost, w.URL+path, strings.NewReader(all.Encode()))
	w.must(err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", w.URL)
	res, err := c.Do(r)
	w.must(err)
	return w.page(res)
}

// Stream begins a request whose answer takes long, such as of events. Its body is for the caller to read and close.
func (w *World) Stream(ctx context.Context, path string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL+path, nil)
	w.must(err)
	res, err := w.client.Do(r)
	w.must(err)
	return res
}

func (w *World) page(res *http.Response) *Page {
	w.t.Helper()
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	w.must(err)
	return &Page{Status: res.StatusCode, Body: string(body), Header: res.Header, URL: res.Request.URL}
}
