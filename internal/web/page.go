package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"firn/internal/web/gate"
)

//go:embed assets
var assetFiles embed.FS

//go:embed layout.html
var layoutText string

// Frame is what stands around the content of a page.
type Frame struct {
	Title   string
	Section string        // entry of the navigation that this is: overview, run, snapshots, calendar, cost, search, restore
	Archive *Archive      // that it is about; nil: none
	Crumbs  []Crumb       // the way here, the last one without an address
	Notices []Notice      // above the content
	Refresh time.Duration // after which a browser without scripts asks again; 0: it does not
	Status  int           // of HTTP; 0: 200
}

// Crumb is a step of the way to a page.
type Crumb struct{ Text, Address string }

// Notice is something to be said above a page.
type Notice struct {
	Level string // error, warning, note
	Text  string
	Hint  string
}

// Main is what the template "main" of a page gets.
type Main struct {
	Frame
	Token string // of forms: <input type="hidden" name="csrf" value="{{.Token}}">
	D     any    // of the page
}

// Base is where the addresses of the page's repository begin, such as /r/nas; empty: it has none.
func (f *Frame) Base() string {
	if f.Archive == nil {
		return ""
	}
	return f.Archive.Base()
}

// Base is where the addresses of the repository begin, such as /r/nas.
func (a *Archive) Base() string { return "/r/" + url.PathEscape(a.place.Name) }

// asset is one of the files that pages are made with.
type asset struct {
	name    string // in the folder
	address string // changes with what it says
	body    []byte
}

// readAssets reads what is embedded.
var readAssets = sync.OnceValues(func() (map[string]asset, error) {
	all, err := fs.ReadDir(assetFiles, "assets")
	if err != nil {
		return nil, err
	}
	out := map[string]asset{}
	for _, f := range all {
		body, err := assetFiles.ReadFile("assets/" + f.Name())
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(body)
		ext := path.Ext(f.Name())
		out[f.Name()] = asset{f.Name(), "/assets/" + strings.TrimSuffix(f.Name(), ext) + "-" + hex.EncodeToString(sum[:6]) + ext, body}
	}
	return out, nil
})

// assetAddress is where a file of assets is served.
func assetAddress(name string) (string, error) {
	all, err := readAssets()
	if err != nil {
		return "", err
	}
	a, ok := all[name]
	if !ok {
		return "", fmt.Errorf("there is no asset %q", name)
	}
	return a.address, nil
}

// newAssets serves them. Their addresses change with what they say, so browsers may keep them.
func newAssets() (http.Handler, error) {
	all, err := readAssets()
	if err != nil {
		return nil, err
	}
	byAddress := map[string]asset{}
	for _, a := range all {
		byAddress[a.address] = a
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, ok := byAddress[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
		http.ServeContent(w, r, a.name, time.Time{}, bytes.NewReader(a.body))
	}), nil
}

// Template parses a page, which defines "main" and gets a Main. Files are those of fsys, by their names.
func Template(fsys fs.FS, names ...string) *template.Template {
	return template.Must(template.Must(base().Clone()).ParseFS(fsys, names...))
}

// base is the layout without a page in it.
var base = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("layout").Funcs(functions()).Parse(layoutText))
})

// EncodePath is the path of a file as it stands in addresses and forms.
func EncodePath(p []byte) string { return base64.RawURLEncoding.EncodeToString(p) }

// DecodePath takes it back.
func DecodePath(text string) ([]byte, error) {
	if len(text) > 64<<10 {
		return nil, &StatusError{Code: http.StatusBadRequest, Text: "the path is too long"}
	}
	p, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, &StatusError{Code: http.StatusBadRequest, Text: "that is no path"}
	}
	return p, nil
}

// ShownPath is a path as people are shown it: quoted where it holds what does not print.
func ShownPath(p []byte) string {
	text := string(p)
	if len(p) == 0 {
		return "."
	}
	if q := strconv.Quote(text); q[1:len(q)-1] != strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, `\"`) {
		return q
	}
	return text
}

// Render answers with a page.
func (s *Site) Render(w http.ResponseWriter, r *http.Request, f Frame, t *template.Template, data any) error {
	var b bytes.Buffer
	m := struct {
		Main
		Site    *Site
		Version string
	}{Main{Frame: f, Token: gate.Token(r), D: data}, s, s.o.Version}
	if err := t.ExecuteTemplate(&b, "layout", &m); err != nil {
		return fmt.Errorf("page %q: %w", f.Title, err)
	}
	scrub(b.Bytes())
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	if f.Status != 0 {
		w.WriteHeader(f.Status)
	}
	_, _ = b.WriteTo(w) // who is gone is gone
	return nil
}

// scrub takes control characters out of a page. HTML has no room for them, but names and errors may hold some.
func scrub(page []byte) {
	for i, c := range page {
		if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f {
			page[i] = '?'
		}
	}
}

var failTemplate = sync.OnceValue(func() *template.Template {
	return template.Must(template.Must(base().Clone()).Parse(`{{define "main"}}{{if .Token}}<p><a href="/">Overview</a></p>{{end}}{{end}}`))
})

// failPage answers with a page about an error.
func (s *Site) failPage(w http.ResponseWriter, r *http.Request, code int, text, hint string, back ...Crumb) {
	f := Frame{Title: http.StatusText(code), Status: code, Crumbs: back, Notices: []Notice{{Level: "error", Text: text, Hint: hint}}}
	if code == http.StatusOK {
		f.Title, f.Notices[0].Level = "firn", "note"
	}
	if err := s.Render(w, r, f, failTemplate(), nil); err != nil {
		http.Error(w, text, code)
	}
}
