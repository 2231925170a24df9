package look

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/glob"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/web"
)

// maxQuery is the longest text that is looked for, in bytes.
const maxQuery = 1000

type searchPage struct {
	Query, Where string
	Sources      []choiceOf
	Chosen       snapshot.Source
	Asked        bool
	Problem      string
	Below        []byte // folder; empty: everywhere
}

// searchEnd is what stands below the hits.
type searchEnd struct {
	Found  int
	More   string // address; empty: that was all
	Late   bool   // time was up
	Faults []string
}

type hitRow struct {
	row
	Path     string // of the folder
	Source   string
	Snapshot snapshot.Item
	Gone     bool // the newest snapshot does not have it
	Folder   string
	Versions string
}

var errFull = errors.New("the page is full")

// showSearch looks for names. Hits are sent as they are found; the page ends when it is full, when time is up, or when nobody waits for it.
func (x *room) showSearch(w http.ResponseWriter, r *http.Request) error {
	a, err := x.s.Archive(r)
	if err != nil {
		return err
	}
	st, err := a.State(r.Context())
	if err != nil {
		return err
	}
	q := r.URL.Query()
	d := &searchPage{Query: q.Get("q"), Where: q.Get("where")}
	d.Chosen, _ = snapshot.ParseSource(q.Get("source"))
	if d.Below, err = web.DecodePath(q.Get("p")); err != nil {
		return err
	}
	d.Sources = choices(st, d.Chosen)
	f := web.Frame{Title: "Search", Section: "search", Archive: a, Notices: warn(st)}
	if !st.Reads {
		f.Notices = append(f.Notices, web.Notice{Level: "note", Text: "the key at hand cannot read what is in snapshots, so that there is nothing to search"})
	}
	match, err := matcher(d.Query)
	if err != nil {
		d.Problem = err.Error()
	}
	d.Asked = d.Query != "" && match != nil && st.Reads
	if !d.Asked {
		return x.s.Render(w, r, f, x.search, d)
	}
	s, err := x.begin(w, r, f, x.search, d)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), searchTime)
	defer cancel()
	k := &seeking{x: x, a: a, st: st, d: d, s: s, match: match, skip: readCursor(q.Get("at"))}
	end := k.run(ctx)
	if r.Context().Err() != nil {
		return nil // nobody is there
	}
	if end.More != "" {
		v := url.Values{"q": {d.Query}, "at": {end.More}}
		for name, text := range map[string]string{"where": d.Where, "source": q.Get("source"), "p": q.Get("p")} {
			if text != "" {
				v.Set(name, text)
			}
		}
		end.More = a.Base() + "/search?" + v.Encode()
	}
	_ = s.end("end", end) // who is gone is gone
	return nil
}

// seeking is a search under way.
type seeking struct {
	x     *room
	a     *web.Archive
	st    web.State
	d     *searchPage
	s     *stream
	match func([]byte, bool) bool
	skip  cursor // where to begin
	now   snapshot.Item
	end   searchEnd
}

// cursor is a place in a search over several sources.
type cursor struct {
	source snapshot.Source
	at     browse.Position
}

func (c cursor) String() string {
	if c.at.Snapshot.IsZero() {
		return c.source.String()
	}
	return c.source.String() + "." + c.at.Snapshot.String() + "." + web.EncodePath(c.at.Path)
}

// readCursor reads one; what cannot be read is the start.
func readCursor(text string) (c cursor) {
	source, rest, more := strings.Cut(text, ".")
	id, err := snapshot.ParseSource(source)
	if err != nil {
		return cursor{}
	}
	c.source = id
	if !more {
		return c
	}
	snap, path, _ := strings.Cut(rest, ".")
	sid, err := snapshot.ParseID(snap)
	p, perr := web.DecodePath(path)
	if err != nil || perr != nil {
		return cursor{}
	}
	c.at = browse.Position{Snapshot: sid, Path: p}
	return c
}

func (k *seeking) run(ctx context.Context) *searchEnd {
	skipping := !k.skip.source.IsZero()
	if skipping && !slices.ContainsFunc(k.st.Sources(), func(it snapshot.Item) bool { return it.Source.ID == k.skip.source }) {
		skipping = false // it is gone
	}
	for _, newest := range k.st.Sources() {
		source := newest.Source.ID
		if !k.d.Chosen.IsZero() && source != k.d.Chosen {
			continue
		}
		var after browse.Position
		if skipping {
			if source != k.skip.source {
				continue
			}
			skipping, after = false, k.skip.at
		}
		if newest.Forgotten {
			continue
		}
		k.now = newest
		at, err := k.source(ctx, newest, after)
		switch {
		case err == nil:
			continue
		case errors.Is(err, errFull):
			k.end.More = cursor{source, at}.String()
		case ctx.Err() != nil:
			k.end.Late, k.end.More = true, cursor{source, at}.String()
		default:
			text := sourceName(newest.Source) + ": " + err.Error()
			if hint := advice.Hint(err); hint != "" {
				text += " (" + hint + ")"
			}
			k.end.Faults = append(k.end.Faults, text)
			continue
		}
		break
	}
	k.end.Found = k.s.Rows
	return &k.end
}

// source searches one source.
func (k *seeking) source(ctx context.Context, newest snapshot.Item, after browse.Position) (at browse.Position, err error) {
	items := []snapshot.Item{newest}
	if k.d.Where == "all" {
		items = items[:0]
		for _, it := range k.st.History(newest.Source.ID) {
			if it.Complete && !it.Forgotten {
				items = append(items, it)
			}
		}
		slices.Reverse(items)
		if len(items) == 0 {
			return at, nil
		}
	}
	if !after.Snapshot.IsZero() && !slices.ContainsFunc(items, func(it snapshot.Item) bool { return it.ID == after.Snapshot }) {
		after = browse.Position{} // that snapshot is gone: from the start
	}
	o := browse.SearchOptions{Match: k.match, Snapshots: items, After: after, Below: k.d.Below}
	at = after
	err = k.a.Scope(ctx, newest.Scope, func(opened *web.Opened, scope *repo.ScopeState) error {
		var err error
		at, err = browse.Search(ctx, opened.Repo, scope, o, k.tell)
		return err
	})
	return at, err
}

func (k *seeking) tell(h *browse.Hit) error {
	v := &visit{a: k.a, it: h.Snapshot, base: k.a.Base() + "/s/" + h.Snapshot.ID.String()}
	hit := hitRow{row: rowOf(v, &h.Entry), Path: web.ShownPath(parentOf(h.Path)), Source: sourceName(h.Snapshot.Source), Snapshot: h.Snapshot,
		Gone: h.Snapshot.ID != k.now.ID, Folder: v.at("", parentOf(h.Path)), Versions: versionsOf(v, h.Path)}
	if err := k.s.row("hit", &hit); err != nil {
		return err
	}
	if k.s.Rows >= rowsSearch {
		return errFull
	}
	return nil
}

// matcher makes a test of what was typed: a pattern as those of gitignore where it has a wildcard, else a part of the name, or of the path where it has a slash. Case does not count.
func matcher(query string) (func(path []byte, dir bool) bool, error) {
	if query == "" {
		return nil, nil
	}
	if len(query) > maxQuery || !utf8.ValidString(query) || strings.ContainsAny(query, "\n\x00") {
		return nil, errors.New("what is looked for is too long, or no text")
	}
	if strings.ContainsAny(query, "*?[") {
		set, err := glob.Options{FoldCase: true}.Parse([]string{query}, "search")
		if err != nil || set.Empty() {
			return nil, errors.New("that pattern cannot be read; want one such as *.jpg or report-20[0-9][0-9].odt")
		}
		return func(path []byte, dir bool) bool { is, _ := set.Match(path, dir); return is }, nil
	}
	want := bytes.ToLower([]byte(query))
	whole := bytes.IndexByte(want, '/') >= 0
	return func(path []byte, _ bool) bool {
		if !whole {
			path = nameOf(path)
		}
		return bytes.Contains(path, want) || bytes.Contains(bytes.ToLower(path), want)
	}, nil
}
