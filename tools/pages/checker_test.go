package pages

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

//go:embed checker.js
var checker string

// finding is what checker.js complains of.
type finding struct{ Rule, What, Where string }

// findings are those of checker.js and those of the browser's own tree of what a screen reader is told.
func (b *tab) findings() (out []finding) {
	b.t.Helper()
	b.eval(fmt.Sprintf("(%s)(%v)", checker, b.size.phone), &out)
	for _, n := range b.tree() {
		if f := n.check(); f.Rule != "" {
			out = append(out, f)
		}
	}
	return out
}

// usable fails the test for each finding.
func (b *tab) usable() {
	b.t.Helper()
	list := b.findings()
	const most = 12
	for _, f := range list[:min(len(list), most)] {
		b.t.Errorf("%s, %s, %s: %s: %s: %s", b.address(), b.size.name, b.scheme, f.Rule, f.What, f.Where)
	}
	if len(list) > most {
		b.t.Errorf("%s, %s, %s: and %d more", b.address(), b.size.name, b.scheme, len(list)-most)
	}
}

// node is one of the tree that the browser hands to screen readers.
type node struct {
	Ignored    bool
	Role, Name struct{ Value any }
	Properties []struct {
		Name  string
		Value struct{ Value any }
	}
}

// tree returns the nodes that screen readers are told of.
func (b *tab) tree() []node {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	nodes, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) ([]node, error) {
		var raw struct {
			Nodes []json.RawMessage `json:"nodes"`
		}
		if err := t.Call(ctx, "Accessibility.getFullAXTree", map[string]any{}, &raw); err != nil {
			return nil, err
		}
		out := make([]node, len(raw.Nodes))
		for i, r := range raw.Nodes {
			if err := json.Unmarshal(r, &out[i]); err != nil {
				return nil, err
			}
		}
		return out, nil
	})
	b.must(err)
	return nodes
}

// needNames are the roles of what has to be called something.
var needNames = []string{"link", "button", "textbox", "searchbox", "checkbox", "radio", "combobox", "listbox", "spinbutton", "slider", "switch", "tab", "menuitem", "image", "progressbar", "meter", "heading", "table", "radiogroup",
	"disclosuretriangle", "DisclosureTriangle", "columnheader", "rowheader", "dialog", "RootWebArea"}

func (n node) check() finding {
	role, _ := n.Role.Value.(string)
	name, _ := n.Name.Value.(string)
	focusable := false
	for _, p := range n.Properties {
		focusable = focusable || p.Name == "focusable" && p.Value.Value == true
	}
	if role == "main" { // takes the focus from the link that leads past the header
		return finding{}
	}
	if n.Ignored || strings.TrimSpace(name) != "" || !slices.Contains(needNames, role) && !focusable {
		return finding{}
	}
	return finding{"tree", "screen readers are told no name", role}
}

// serve answers with fixed pages.
func serve(t *testing.T, pages map[string]string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/favicon.ico" {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		text, ok := pages[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'self'; style-src 'unsafe-inline'; script-src 'self'")
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

const sound = `<!doctype html><html lang="en"><head><title>Fine</title><meta name="viewport" content="width=device-width"><style>a{display:inline-block;padding:8px} input{border:1px solid #555}</style></head>
<body><a href="#main">Skip</a><header><nav aria-label="Pages"><a href="/">Home</a></nav></header><main id="main"><h1>Fine</h1><h2>Things</h2>%s</main></body></html>`

// TestChecker plants one fault after the other and wants it found, and nothing found where there is none.
func TestChecker(t *testing.T) {
	faults := []struct{ rule, fault string }{
		{"", `<p>Text</p><img src="/x.svg" alt=""><table><caption>All</caption><tr><th scope="col">A</th></tr><tr><td>1</td></tr></table><label>Name <input name="n"></label>`},
		{"name", `<button></button>`},
		{"name", `<a href="/x"></a>`},
		{"name", `<a href="/x"><span aria-hidden="true">x</span></a>`},
		{"name", `<progress max="1"></progress>`},
		{"label", `<input name="n" title="only a title">`},
		{"label", `<input type="radio" name="r" id="a"><label for="a">A</label><input type="radio" name="r" id="b"><label for="b">B</label>`},
		{"picture", `<img src="/favicon.ico">`},
		{"picture", `<svg width="10" height="10"><rect width="10" height="10"/></svg>`},
		{"heading", `<h1>Another</h1>`},
		{"heading", `<h4>Too deep</h4>`},
		{"landmark", `<nav>One more</nav>`},
		{"landmark", `</main><p>Outside</p><main>`},
		{"id", `<p id="x">1</p><p id="x">2</p>`},
		{"reference", `<p aria-describedby="nowhere">1</p>`},
		{"reference", `<label for="nowhere">1</label>`},
		{"reference", `<a href="#nowhere">1</a>`},
		{"role", `<p role="buton">1</p>`},
		{"role", `<p aria-labeledby="main">1</p>`},
		{"role", `<div role="option">1</div>`},
		{"tabindex", `<button tabindex="3">1</button>`},
		{"hidden", `<div aria-hidden="true"><button>1</button></div>`},
		{"nested", `<button><a href="/x">1</a></button>`},
		{"form", `<form><label>A <input name="a"></label></form>`},
		{"table", `<table><tr><th scope="col">A</th></tr></table>`},
		{"table", `<table><caption>A</caption><tr><th>A</th></tr></table>`},
		{"table", `<table><caption>A</caption><tr><td>A</td></tr></table>`},
		{"table", `<table><caption>A</caption><tr><th scope="col">A</th></tr><tr><td>A</td><td>B</td></tr></table>`},
		{"list", `<ul><p>1</p></ul>`},
		{"contrast", `<p style="color:#888">Grey</p>`},
		{"contrast", `<p style="background:#333;color:#666">Dark</p>`},
		{"contrast", `<p style="opacity:.4">Pale</p>`},
		{"contrast", `<label>A <input name="a" style="border:1px solid #ddd"></label>`},
		{"contrast", `<svg role="img" aria-label="x" width="90" height="30"><text y="20" fill="#bbb">pale</text></svg>`},
		{"link", `<p>A rather long sentence with <a href="/x" style="display:inline;padding:0;text-decoration:none">a link</a></p>`},
		{"target", `<button style="width:12px;height:12px;padding:0;border:0">a</button><button style="width:12px;height:12px;padding:0;border:0">b</button>`},
		{"sideways", `<div style="width:900px">wide</div>`},
		{"language", `<script src="/unlang.js"></script>`},
	}
	pages := map[string]string{}
	for i, f := range faults {
		pages[fmt.Sprintf("/%d", i)] = fmt.Sprintf(sound, f.fault)
		if f.rule == "language" {
			pages[fmt.Sprintf("/%d", i)] = strings.Replace(fmt.Sprintf(sound, ""), ` lang="en"`, "", 1)
		}
	}
	pages["/x.svg"] = `<svg xmlns="http://www.w3.org/2000/svg"/>`
	b := open(t, serve(t, pages))
	b.resize(phone)
	for i, f := range faults {
		b.visit(fmt.Sprintf("/%d", i))
		got := b.findings()
		if f.rule == "" && len(got) > 0 {
			t.Errorf("nothing is wrong, but: %q", got)
		}
		if f.rule != "" && !slices.ContainsFunc(got, func(g finding) bool { return g.Rule == f.rule }) {
			t.Errorf("%s: not found: %s (but %q)", f.rule, f.fault, got)
		}
		for _, g := range got {
			if g.Rule != f.rule && g.Rule != "tree" && g.Rule != "label" && g.Rule != "name" {
				t.Errorf("%s: also found %q", f.fault, g)
			}
		}
	}
}

// TestWatch wants problems of pages noticed.
func TestWatch(t *testing.T) {
	for _, c := range []struct{ want, body string }{
		{"", ""},
		{"status 404", `<img alt="" src="/missing.png">`},
		{"asks another place", `<img alt="" src="http://192.0.2.1/x.png">`},
		{"issue: ContentSecurityPolicyIssue", `<script>console.log(1)</script>`},
		{"not loaded", `<img alt="" src="http://elsewhere.example/x.png">`},
		{`console: error: "broken"`, `<script src="/broken.js"></script>`},
		{"exception", `<script src="/throws.js"></script>`},
	} {
		b := open(t, serve(t, map[string]string{"/": fmt.Sprintf(sound, c.body), "/broken.js": "console.error('broken')", "/throws.js": "throw new Error('thrown')"}))
		b.visit("/")
		b.eval("1", nil)
		b.mu.Lock()
		got := strings.Join(b.problems, "\n")
		b.problems = nil
		b.mu.Unlock()
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s: want %q, got %q", c.body, c.want, got)
		}
	}
}
