package look

import (
	"context"
	"errors"
	"net/http"

	"firn/internal/browse"
	"firn/internal/repo"
	"firn/internal/store"
	"firn/internal/web"
)

type filePage struct {
	Info                browse.Info
	Source, Host        string
	Entry               row
	Mode                string
	Hash                string
	Xattrs              []string
	Place               *place // nil: it has no content
	Start               *place // where what is shown of it lies
	Preview             *preview
	Trouble, Advice     string // why there is no preview; and what to do
	Raw, Download       string
	Versions, Diff      string
	Basket, Here        string
	RealLink, TargetOut string // address of the file that this is another name of
}

// showFile tells all of one file, and shows its beginning where that costs nothing.
func (x *room) showFile(w http.ResponseWriter, r *http.Request, v *visit) error {
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	d := &filePage{Info: v.info, Source: sourceName(v.it.Source), Host: visible(v.it.Host), Raw: v.at("raw", v.path), Download: v.at("download", v.path), Versions: versionsOf(v, v.path),
		Basket: v.a.Base() + "/restore/basket", Here: r.URL.RequestURI()}
	if before, ok := v.a.Known().Previous(v.it); ok {
		d.Diff = diffOf(v.a, before.ID, v.it.ID, v.path)
	}
	dir := false
	err := x.view(ctx, v.a, v.it.ID, func(view *browse.View) error {
		return v.a.Use(ctx, func(o *web.Opened) error {
			e, err := view.Stat(v.path)
			if err != nil {
				return err
			}
			if dir = e.Type == "dir"; dir {
				return nil
			}
			d.Entry, d.Mode, d.Hash = rowOf(v, e), mode(e), e.Hash
			for _, name := range e.Xattrs {
				d.Xattrs = append(d.Xattrs, visible(name))
			}
			if len(e.Hardlink) > 0 {
				d.RealLink = v.at("file", e.Hardlink)
			}
			if e.Type != "file" {
				return nil
			}
			return d.content(ctx, x, o, view, v.path)
		})
	})
	if err != nil {
		return err
	}
	if dir {
		http.Redirect(w, r, v.at("", v.path), http.StatusFound)
		return nil
	}
	return x.s.Render(w, r, web.Frame{Title: web.ShownPath(nameOf(v.path)), Section: "snapshots", Archive: v.a, Crumbs: x.crumbs(v), Notices: standing(v.info)}, x.file, d)
}

// content finds out where the content lies, and reads its beginning. What cannot be read is told on the page: the rest of it is worth seeing.
func (d *filePage) content(ctx context.Context, x *room, o *web.Opened, view *browse.View, path []byte) error {
	var err error
	if d.Place, err = x.where(ctx, o, view, path, 0); err != nil {
		if errors.Is(err, browse.ErrNotFile) {
			return nil // a name of what is no file
		}
		return err
	}
	if d.Start, err = x.where(ctx, o, view, path, previewText); err != nil {
		return err
	}
	if !d.Start.Readable() {
		return nil
	}
	f, err := view.OpenFile(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	d.Preview, err = readPreview(f)
	var damage *repo.DamageError
	switch {
	case err == nil:
	case errors.Is(err, store.ErrCold):
		d.Place.State, d.Start.State, d.Place.Ways = cold, cold, nil
	case web.Missing(err):
		return err // perhaps the snapshot is gone, or the index was old
	case errors.As(err, &damage):
		d.Trouble, d.Advice = "the content is damaged: "+err.Error(), "firn check tells what that hurts, firn repair what can be done"
	default:
		d.Trouble, d.Advice = "the content cannot be read now: "+err.Error(), "reload the page to try again"
	}
	if d.Preview != nil && d.Preview.Picture && !d.Place.Readable() {
		d.Preview = nil
	}
	return nil
}
