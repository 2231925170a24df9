package look

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"firn/internal/browse"
	"firn/internal/snapshot"
	"firn/internal/web"
)

type folderPage struct {
	Info           browse.Info
	Name, Host     string // of the source
	Base           string // of the snapshot
	Path           []byte
	Up             string // address; empty: this is the source itself
	Rows           []row
	From           string // as typed
	First          string // addresses of pages; empty: there is none
	Back, Next     string
	Basket, Here   string
	Versions, Diff string
	Search         string
	Problems       []string
}

func (x *room) showFolder(w http.ResponseWriter, r *http.Request, v *visit) error {
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	q := r.URL.Query()
	after, err := web.DecodePath(q.Get("after"))
	if err != nil {
		return err
	}
	from := q.Get("from")
	d := &folderPage{Info: v.info, Name: sourceName(v.it.Source), Host: visible(v.it.Host), Base: v.base, Path: v.path, From: from, Basket: v.a.Base() + "/restore/basket", Here: r.URL.RequestURI()}
	isFile := false
	err = x.view(ctx, v.a, v.it.ID, func(view *browse.View) error {
		list, more, err := view.Page(browse.PageOptions{Path: v.path, After: after, From: []byte(from), Limit: rowsFolder})
		if isFile = isNoFolder(err); isFile {
			return nil
		}
		if err != nil {
			return err
		}
		d.Rows = d.Rows[:0]
		for _, e := range list {
			d.Rows = append(d.Rows, rowOf(v, e))
		}
		d.pages(v, q, after, list, more)
		return nil
	})
	if err != nil {
		return err
	}
	if isFile {
		http.Redirect(w, r, v.at("file", v.path), http.StatusFound)
		return nil
	}
	d.links(v)
	title := sourceName(v.it.Source)
	if len(v.path) > 0 {
		title = web.ShownPath(nameOf(v.path))
	}
	return x.s.Render(w, r, web.Frame{Title: title, Section: "snapshots", Archive: v.a, Crumbs: x.crumbs(v), Notices: standing(v.info)}, x.folder, d)
}

// links fills the addresses beside the list.
func (d *folderPage) links(v *visit) {
	if len(v.path) > 0 {
		d.Up = v.at("", parentOf(v.path))
		d.Versions = versionsOf(v, v.path)
	} else {
		for _, p := range v.it.Problems {
			d.Problems = append(d.Problems, visible(p.Path)+": "+visible(p.Error))
		}
	}
	if before, ok := v.a.Known().Previous(v.it); ok {
		d.Diff = diffOf(v.a, before.ID, v.it.ID, v.path)
	}
	d.Search = v.a.Base() + "/search?source=" + v.it.Source.ID.String()
	if len(v.path) > 0 {
		d.Search += "&p=" + web.EncodePath(v.path)
	}
}

// pages fills the addresses of the pages before and behind. Where the ones before began stands in the address, the latest of them.
func (d *folderPage) pages(v *visit, q url.Values, after []byte, list []*browse.Entry, more bool) {
	const most = 2000 // bytes of an address
	here, back := web.EncodePath(after), q.Get("back")
	with := func(after, back string) string {
		to := v.at("", v.path)
		if d.From != "" {
			to += "&from=" + url.QueryEscape(d.From)
		}
		if after != "" {
			to += "&after=" + after
		}
		if back != "" {
			to += "&back=" + url.QueryEscape(back)
		}
		return to
	}
	if more && len(list) > 0 {
		trail := back + "." + here
		for len(trail) > most {
			trail = trail[1:]
			trail = trail[max(strings.IndexByte(trail, '.'), 0):]
			if !strings.HasPrefix(trail, ".") {
				trail = ""
			}
		}
		d.Next = with(web.EncodePath(nameOf(list[len(list)-1].Path)), trail)
	}
	if at := strings.LastIndexByte(back, '.'); at >= 0 && len(back) <= most && here != "" {
		if before := back[at+1:]; strings.Trim(before, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == "" {
			d.Back = with(before, back[:at])
		}
	}
	if here != "" || d.From != "" {
		d.First = v.at("", v.path)
	}
}

// standing says of a snapshot that is not done what that means.
func standing(i browse.Info) []web.Notice {
	switch {
	case !i.VoidedBy.IsZero():
		return []web.Notice{{Level: "note", Text: "this snapshot was replaced by a newer one of the same run"}}
	case i.State == browse.StatePartial:
		return []web.Notice{{Level: "note", Text: "this backup has not ended: it holds what was stored so far"}}
	case i.State == browse.StateForgotten:
		return []web.Notice{{Level: "warning", Text: "this snapshot is about to be deleted", Hint: "what is needed of it should be restored now"}}
	}
	return nil
}

func versionsOf(v *visit, path []byte) string {
	return v.a.Base() + "/versions?source=" + v.it.Source.ID.String() + "&p=" + web.EncodePath(path)
}

func diffOf(a *web.Archive, before, after snapshot.ID, path []byte) string {
	to := a.Base() + "/diff?a=" + before.String() + "&b=" + after.String()
	if len(path) > 0 {
		to += "&p=" + web.EncodePath(path)
	}
	return to
}
