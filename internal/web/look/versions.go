package look

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/web"
)

type versionsPage struct {
	Path, Source string
	Count        int // snapshots that are looked at
}

type versionRow struct {
	row
	Absent      bool
	First, Last snapshot.Item
	Count       int
	Newest      bool // it is so in the newest snapshot
	Diff        string
	Basket      string
	Next        string
	Token       string
}

type versionsEnd struct {
	Found int
	Late  bool
	More  string
	Fault string
	Hint  string
}

// showVersions tells what a path was over time, the newest first, as it is found out.
func (x *room) showVersions(w http.ResponseWriter, r *http.Request) error {
	a, err := x.s.Archive(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	path, err := web.DecodePath(q.Get("p"))
	if err != nil {
		return err
	}
	source, err := snapshot.ParseSource(q.Get("source"))
	if err != nil {
		return &web.StatusError{Code: http.StatusBadRequest, Text: "there is no such source", Hint: "choose a file in a snapshot first"}
	}
	st, err := a.State(r.Context())
	if err != nil {
		return err
	}
	if !st.Reads {
		return errBlind()
	}
	var items []snapshot.Item
	before := q.Get("before")
	for _, it := range st.History(source) {
		if it.ID.String() == before {
			break
		}
		if it.Complete && !it.Forgotten {
			items = append(items, it)
		}
	}
	if len(items) == 0 {
		return &web.StatusError{Code: http.StatusNotFound, Text: "there are no snapshots of that source", Hint: "choose a file in a snapshot of the list"}
	}
	d := &versionsPage{Path: web.ShownPath(path), Source: sourceName(items[0].Source), Count: len(items)}
	newest := items[len(items)-1]
	v := &visit{a: a, it: newest, base: a.Base() + "/s/" + newest.ID.String(), path: path}
	f := web.Frame{Title: "Versions of " + web.ShownPath(nameOf(path)), Section: "snapshots", Archive: a, Crumbs: append(openCrumbs(x.crumbs(v), v), web.Crumb{Text: "Versions"}), Notices: warn(st)}
	s, err := x.begin(w, r, f, x.versions, d)
	if err != nil {
		return err
	}
	k := &telling{x: x, a: a, r: r, s: s, path: path, newest: newest.ID, first: before == ""}
	ctx, cancel := context.WithTimeout(r.Context(), searchTime)
	defer cancel()
	end := k.run(ctx, items)
	if r.Context().Err() == nil {
		_ = s.end("end", end)
	}
	return nil
}

// openCrumbs is crumbs whose last one leads somewhere too.
func openCrumbs(crumbs []web.Crumb, v *visit) []web.Crumb {
	if last := &crumbs[len(crumbs)-1]; last.Address == "" {
		last.Address = v.at("", v.path)
	}
	return crumbs
}

// telling is a list of versions under way. A row waits for the one behind it, which it is compared with.
type telling struct {
	x      *room
	a      *web.Archive
	r      *http.Request
	s      *stream
	path   []byte
	newest snapshot.ID
	first  bool
	held   *versionRow
	from   snapshot.ID // the oldest snapshot that was told of
}

func (k *telling) run(ctx context.Context, items []snapshot.Item) *versionsEnd {
	err := k.a.Scope(ctx, items[0].Scope, func(o *web.Opened, scope *repo.ScopeState) error {
		return browse.Versions(ctx, o.Repo, scope, browse.VersionsOptions{Path: k.path, Snapshots: items}, k.tell)
	})
	end := &versionsEnd{}
	more := func() {
		if !k.from.IsZero() {
			end.More = k.a.Base() + "/versions?source=" + items[0].Source.ID.String() + "&p=" + web.EncodePath(k.path) + "&before=" + k.from.String()
		}
	}
	switch {
	case err == nil:
		_ = k.send("")
	case errors.Is(err, errFull):
		more()
	case ctx.Err() != nil:
		_ = k.send("")
		end.Late = true
		more()
	default:
		_ = k.send("")
		end.Fault, end.Hint = err.Error(), advice.Hint(err)
	}
	end.Found = k.s.Rows
	return end
}

func (k *telling) tell(v *browse.Version) error {
	at := &visit{a: k.a, it: v.Last, base: k.a.Base() + "/s/" + v.Last.ID.String(), path: k.path}
	entry := v.Entry.Clone()
	entry.Path = slices.Clone(k.path)
	next := &versionRow{row: rowOf(at, entry), Absent: v.Type == "", First: v.First, Last: v.Last, Count: v.Count, Newest: k.first && v.Last.ID == k.newest, Basket: k.a.Base() + "/restore/basket",
		Next: k.r.URL.RequestURI()}
	if err := k.send(v.Last.ID.String()); err != nil {
		return err
	}
	if k.s.Rows >= rowsVersions {
		return errFull
	}
	k.held = next
	return nil
}

// send sends the row that waits; older is the snapshot that it is compared with, empty: none.
func (k *telling) send(older string) error {
	h := k.held
	k.held = nil
	if h == nil {
		return nil
	}
	if older != "" {
		h.Diff = k.a.Base() + "/diff?a=" + older + "&b=" + h.First.ID.String() + "&p=" + web.EncodePath(k.path)
	}
	h.Token = web.Token(k.r)
	k.from = h.First.ID
	return k.s.row("version", h)
}
