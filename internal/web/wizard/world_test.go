package wizard_test

import (
	"fmt"
	"html"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/snapshot"
	"firn/internal/web"
	"firn/internal/web/webtest"
	"firn/internal/web/wizard"
)

// program is firn itself, built once, or the one that FIRN_TEST_PROGRAM names.
var program = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("FIRN_TEST_PROGRAM"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "firn-wizard-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "firn")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	out, err := exec.Command("go", "build", "-o", path, "firn/cmd/firn").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := run(m)
	if path, err := program(); err == nil && built && os.Getenv("FIRN_TEST_PROGRAM") == "" {
		_ = os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// built tells that there is something to be removed.
var built bool

func firn(t testing.TB) string {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	built = true
	return path
}

// world is a site with the pages of restores, and a browser.
type world struct {
	*webtest.World
	t testing.TB
}

func newWorld(t testing.TB, o webtest.Options) *world {
	t.Helper()
	if o.Program == nil {
		o.Program = []string{firn(t)} // before HOME, in which what was compiled lies, is another
	}
	home := t.TempDir()
	for name, value := range map[string]string{"HOME": home, "FIRN_CONFIG": "none", "FIRN_CACHE_DIR": filepath.Join(home, "cache"), "FIRN_STATE_DIR": filepath.Join(home, "state"), "FIRN_PASSPHRASE": "", "FIRN_IDENTITY": "",
		"FIRN_REPO": "", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true"} {
		t.(interface{ Setenv(string, string) }).Setenv(name, value)
	}
	w := &world{webtest.New(t, o), t}
	wizard.Add(w.Site)
	return w
}

// fill puts paths into the basket of a snapshot.
func (w *world) fill(s *snapshot.Snapshot, paths ...string) *webtest.Page {
	w.t.Helper()
	form := url.Values{"snapshot": {s.ID.String()}}
	for _, p := range paths {
		form.Add("path", web.EncodePath([]byte(p)))
	}
	return w.Post("/r/nas/restore/basket", form)
}

// plan asks for the page of a plan.
func (w *world) plan(s *snapshot.Snapshot, to, target, overwrite string) *webtest.Page {
	w.t.Helper()
	return w.Get("/r/nas/restore/plan?" + url.Values{"snapshot": {s.ID.String()}, "to": {to}, "target": {target}, "overwrite": {overwrite}}.Encode())
}

var (
	formTag  = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)"[^>]*>(.*?)</form>`)
	inputTag = regexp.MustCompile(`<input [^>]*>`)
	attr     = regexp.MustCompile(`(name|value)="([^"]*)"`)
	idOf     = regexp.MustCompile(`^/r/nas/restore/([0-9a-f]{16})$`)
)

// form takes the first form of a page whose address ends so, and that has a text in it, as a browser would send it.
func (w *world) form(p *webtest.Page, action, text string) (address string, values url.Values) {
	w.t.Helper()
	for _, m := range formTag.FindAllStringSubmatch(p.Body, -1) {
		if !strings.HasSuffix(m[1], action) || !strings.Contains(m[2], text) {
			continue
		}
		values = url.Values{}
		for _, input := range inputTag.FindAllString(m[2], -1) {
			name, value := "", ""
			for _, a := range attr.FindAllStringSubmatch(input, -1) {
				if a[1] == "name" {
					name = a[2]
				} else {
					value = html.UnescapeString(a[2])
				}
			}
			if name != "csrf" && name != "" {
				values.Add(name, value)
			}
		}
		return m[1], values
	}
	w.t.Fatalf("no form %q with %q in\n%s", action, text, p.Body)
	return "", nil
}

// press sends a form of a page.
func (w *world) press(p *webtest.Page, action, text string) *webtest.Page {
	w.t.Helper()
	address, values := w.form(p, action, text)
	return w.Post(address, values)
}

// until asks for a page until it says something.
func (w *world) until(path string, words ...string) *webtest.Page {
	w.t.Helper()
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		p := w.Get(path)
		for _, word := range words {
			if p.Has(word) {
				return p
			}
		}
		if time.Now().After(end) {
			w.t.Fatalf("none of %q in\n%s", words, p.Body)
		}
	}
}

// badge is how a page says that a restore stands.
func badge(word string) string { return `">` + word + `</span>` }

// ended waits for the end of a restore.
func (w *world) ended(p *webtest.Page) *webtest.Page {
	w.t.Helper()
	if !idOf.MatchString(p.URL.Path) {
		w.t.Fatalf("%s is no page of a restore: %d\n%s", p.URL, p.Status, p.Body)
	}
	return w.until(p.URL.Path, badge("done"), badge("failed"), badge("stopped"), badge("partly"), badge("ready"), badge("cut off"))
}

// wants reports what a page lacks.
func (w *world) wants(p *webtest.Page, status int, texts ...string) {
	w.t.Helper()
	if p.Status != status {
		w.t.Errorf("%s: status %d, want %d", p.URL, p.Status, status)
	}
	for _, text := range texts {
		if !p.Has(text) {
			w.t.Errorf("%s: no %q", p.URL, text)
		}
	}
	if w.t.Failed() {
		w.t.Logf("%s\n%s", p.URL, p.Body)
	}
}

// tree is the files below a folder.
func tree(t testing.TB, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		rel, _ := filepath.Rel(root, path)
		out[filepath.ToSlash(rel)] = string(raw)
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return out
}

func run(m *testing.M) int { return m.Run() }
