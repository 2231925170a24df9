// Package look is the pages about what snapshots hold: which there are, their folders and files, search by name, versions of a file over time, what differs, previews and downloads.
//
// # What it reads
//
// Lists of snapshots and files are read from what is hot. The content of a file is read only where the index says that its packs are hot, or the store that they are thawed (place.go): no page here has anything thawed, or reads anything cold.
//
// # Addresses
//
//	/r/{repo}/snapshots                   ?source= host= tag= from= to= state= page=
//	/r/{repo}/s/{snapshot}/               ?p= folder, after= from=    {snapshot}: an id; its beginning, latest and so on lead there
//	/r/{repo}/s/{snapshot}/file           ?p=
//	/r/{repo}/s/{snapshot}/raw            ?p=  a picture, by its first bytes
//	/r/{repo}/s/{snapshot}/download       ?p=  any file, with ranges
//	/r/{repo}/search                      ?q= where= source=
//	/r/{repo}/versions                    ?source= p=
//	/r/{repo}/diff                        ?a= b= p=
//
// Paths are only ever looked up in manifests. What lies in a file comes back as text in a page, as a picture of four kinds, or as a download, never as something that a browser would run.
package look

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/snapshot"
	"firn/internal/web"
)

//go:embed *.html
var files embed.FS

// What a page shows at most, and how long one works.
const (
	rowsSnapshots = 100
	rowsFolder    = 500
	rowsSearch    = 300
	rowsVersions  = 200
	rowsDiff      = 500

	pageTime   = time.Minute      // for the store to answer
	searchTime = 15 * time.Second // then it says where it stopped
)

// room is the pages, with what they remember from one to the next.
type room struct {
	s                                                  *web.Site
	snapshots, folder, file, search, versions, changes *template.Template
	copies                                             copies
	sums                                               sums
}

// Add registers the pages.
func Add(s *web.Site) {
	page := func(name string) *template.Template { return web.Template(files, name, "parts.html") }
	x := &room{s: s, snapshots: page("snapshots.html"), folder: page("folder.html"), file: page("file.html"), search: page("search.html"), versions: page("versions.html"), changes: page("diff.html")}
	s.Handle("GET /r/{repo}/snapshots", x.showSnapshots)
	s.Handle("GET /r/{repo}/s/{snapshot}", x.slash)
	s.Handle("GET /r/{repo}/s/{snapshot}/{$}", x.in(x.showFolder))
	s.Handle("GET /r/{repo}/s/{snapshot}/file", x.in(x.showFile))
	s.Handle("GET /r/{repo}/s/{snapshot}/raw", x.in(x.raw))
	s.Handle("GET /r/{repo}/s/{snapshot}/download", x.in(x.download))
	s.Handle("GET /r/{repo}/search", x.showSearch)
	s.Handle("GET /r/{repo}/versions", x.showVersions)
	s.Handle("GET /r/{repo}/diff", x.showDiff)
}

// visit is a request about a snapshot.
type visit struct {
	a    *web.Archive
	it   snapshot.Item
	info browse.Info
	base string // address of the snapshot, without a slash at its end
	path []byte // that p names
}

// at is the address of a page about a path of the snapshot; which is empty for folders, or file, raw, download.
func (v *visit) at(which string, path []byte) string {
	return v.base + "/" + which + "?p=" + web.EncodePath(path)
}

func (x *room) slash(w http.ResponseWriter, r *http.Request) error {
	http.Redirect(w, r, r.URL.EscapedPath()+"/"+query(r), http.StatusFound)
	return nil
}

func query(r *http.Request) string {
	if r.URL.RawQuery == "" {
		return ""
	}
	return "?" + r.URL.RawQuery
}

// in finds the snapshot that an address names, and leads to that of its id where another one was used.
func (x *room) in(fn func(http.ResponseWriter, *http.Request, *visit) error) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		a, err := x.s.Archive(r)
		if err != nil {
			return err
		}
		expr := r.PathValue("snapshot")
		it, err := x.pick(r.Context(), a, expr, r.URL.Query().Get("source"))
		if err != nil {
			return err
		}
		base := a.Base() + "/s/" + it.ID.String()
		if expr != it.ID.String() {
			old := a.Base() + "/s/" + url.PathEscape(expr)
			http.Redirect(w, r, base+strings.TrimPrefix(r.URL.EscapedPath(), old)+query(r), http.StatusFound)
			return nil
		}
		path, err := web.DecodePath(r.URL.Query().Get("p"))
		if err != nil {
			return err
		}
		return fn(w, r, &visit{a: a, it: it, info: a.Known().Info(it), base: base, path: path})
	}
}

// pick finds the snapshot that a text means: an id, the beginning of one, or latest and what else package snapshot knows, of a source where one is named.
func (x *room) pick(ctx context.Context, a *web.Archive, expr, source string) (snapshot.Item, error) {
	if id, err := snapshot.ParseID(expr); err == nil {
		return a.Item(ctx, id)
	}
	st, err := a.State(ctx)
	if err != nil {
		return snapshot.Item{}, err
	}
	if expr != "" && strings.Trim(expr, "0123456789abcdef") == "" {
		switch found := st.Prefixed(expr, 2); len(found) {
		case 1:
			return found[0], nil
		case 2:
			return snapshot.Item{}, &web.StatusError{Code: http.StatusNotFound, Text: fmt.Sprintf("several snapshots begin with %q", expr), Hint: "give more digits, or choose it from the list of snapshots"}
		}
		return snapshot.Item{}, fmt.Errorf("%w: %q", snapshot.ErrNone, expr)
	}
	items := st.Items
	if id, err := snapshot.ParseSource(source); err == nil {
		items = st.History(id)
	}
	it, err := snapshot.Select(items, expr, x.s.Options().Now(), x.s.Options().Location)
	var ambiguous *snapshot.AmbiguousError
	var wrong *snapshot.ExprError
	switch {
	case errors.As(err, &ambiguous):
		err = &web.StatusError{Code: http.StatusNotFound, Text: "there are several sources", Hint: "choose the snapshot from the list of snapshots"}
	case errors.As(err, &wrong):
		err = &web.StatusError{Code: http.StatusNotFound, Text: err.Error(), Hint: "choose the snapshot from the list of snapshots"}
	}
	return it, err
}

// view calls fn with the snapshot open, and once more where the index turned out to be old. fn has not written anything when it fails. Where ctx ends before a store answers view returns without waiting for it: fn may go on then, and whatever it sets is not
// to be read; what it uses is to be had inside of it. The archive waits for it.
func (x *room) view(ctx context.Context, a *web.Archive, id snapshot.ID, fn func(*browse.View) error) error {
	done := make(chan error, 1)
	go func() {
		err := a.View(ctx, id, fn)
		if web.Missing(err) {
			err = a.View(ctx, id, fn)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &web.StatusError{Code: http.StatusGatewayTimeout, Text: "the store does not answer in time", Hint: "check the network, and reload the page to try again"}
	}
	return ctx.Err()
}

// sourceName is what people call a source.
func sourceName(o snapshot.Origin) string {
	if o.Name != "" {
		return web.ShownPath([]byte(o.Name))
	}
	return web.ShownPath([]byte(advice.SourceName(o)))
}

// crumbs is the way to a path of a snapshot.
func (x *room) crumbs(v *visit) []web.Crumb {
	day := v.it.Start.In(x.s.Options().Location).Format("2006-01-02 15:04")
	out := []web.Crumb{{Text: "Snapshots", Address: v.a.Base() + "/snapshots"}, {Text: sourceName(v.it.Source) + ", " + day, Address: v.at("", nil)}}
	if len(v.path) == 0 {
		out[1].Address = ""
		return out
	}
	for i := 0; i <= len(v.path); i++ {
		if i == len(v.path) || v.path[i] == '/' {
			name := v.path[strings.LastIndexByte(string(v.path[:i]), '/')+1 : i]
			out = append(out, web.Crumb{Text: web.ShownPath(name), Address: v.at("", v.path[:i])})
		}
	}
	out[len(out)-1].Address = ""
	return out
}

// nameOf is the last part of a path.
func nameOf(path []byte) []byte { return path[strings.LastIndexByte(string(path), '/')+1:] }

// parentOf is a path without its last part.
func parentOf(path []byte) []byte { return path[:max(strings.LastIndexByte(string(path), '/'), 0)] }

// warn is the notices that stand above pages about a repository of which not all is known.
func warn(st web.State) (out []web.Notice) {
	if st.Err != nil {
		out = append(out, web.Notice{Level: "warning", Text: "the repository cannot be reached, this is what was known: " + st.Err.Error(), Hint: advice.Hint(st.Err)})
	}
	if n := len(st.Damaged); n > 0 {
		out = append(out, web.Notice{Level: "warning", Text: fmt.Sprintf("%s cannot be read, the first: %v", web.Counted(int64(n), "object"), st.Damaged[0]), Hint: "firn check tells what that hurts"})
	}
	return out
}

// errBlind is what a page says that needs more than the list of snapshots.
func errBlind() error {
	return &web.StatusError{Code: http.StatusForbidden, Text: "this key cannot read what is in snapshots", Hint: "start the pages with a passphrase or an identity file that opens the repository"}
}
