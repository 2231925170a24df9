package look

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"firn/internal/browse"
	"firn/internal/manifest"
	"firn/internal/snapshot"
	"firn/internal/units"
	"firn/internal/web"
)

type diffPage struct {
	A, B           browse.Info
	SourceA        string
	SourceB        string
	LinkA, LinkB   string
	Path           string
	Stats          browse.DiffStats
	Unfinished     bool // time was up: Stats are of the first part
	Rows           []changeRow
	First, Next    string
	Swap, Whole    string
	Bytes          string
	Nothing, Other bool // they are alike; they are of two sources
}

type changeRow struct {
	Kind string
	Text string // of the kind
	Name string // whole path
	Type string
	Link string // of the newer side where there is one
	Was  string // of the older side, where it was
	Size string
}

var kindTexts = [...][2]string{{"added", "added"}, {"removed", "removed"}, {"modified", "changed"}, {"metadata", "only its attributes changed"}, {"type", "became something else"}}

// showDiff tells what differs between two snapshots. What a pair of snapshots adds up to is counted once: they never change.
func (x *room) showDiff(w http.ResponseWriter, r *http.Request) error {
	a, err := x.s.Archive(r)
	if err != nil {
		return err
	}
	q := r.URL.Query()
	var path, after []byte
	if path, err = web.DecodePath(q.Get("p")); err == nil {
		after, err = web.DecodePath(q.Get("after"))
	}
	if err != nil {
		return err
	}
	var pair [2]snapshot.Item
	for i, name := range []string{"a", "b"} {
		if q.Get(name) == "" {
			return &web.StatusError{Code: http.StatusBadRequest, Text: "two snapshots are needed to compare", Hint: "the list of snapshots leads here"}
		}
		if pair[i], err = x.pick(r.Context(), a, q.Get(name), q.Get("source")); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	c := &comparing{x: x, a: a, pair: pair, path: path, after: after}
	if err := c.run(ctx); err != nil {
		return err
	}
	return x.s.Render(w, r, web.Frame{Title: "Changes", Section: "snapshots", Archive: a, Crumbs: []web.Crumb{{Text: "Snapshots", Address: a.Base() + "/snapshots"}, {Text: "Changes"}}}, x.changes, c.page())
}

// comparing is a comparison under way.
type comparing struct {
	x           *room
	a           *web.Archive
	pair        [2]snapshot.Item
	path, after []byte

	stats browse.DiffStats
	rows  []changeRow
	last  []byte
	more  bool
	late  bool
}

func (c *comparing) key() sumKey { return sumKey{c.pair[0].ID, c.pair[1].ID, string(c.path)} }

func (c *comparing) run(ctx context.Context) error {
	known, ok := c.x.sums.get(c.key())
	limited, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	return c.x.view(ctx, c.a, c.pair[0].ID, func(old *browse.View) error {
		return c.a.View(ctx, c.pair[1].ID, func(now *browse.View) error {
			c.rows, c.more, c.late = nil, false, false
			stats, err := browse.Diff(old, now, browse.DiffOptions{Path: c.path, Metadata: true}, func(ch *browse.Change) error {
				if limited.Err() != nil {
					return errFull
				}
				return c.take(ch, ok)
			})
			switch {
			case errors.Is(err, errFull) && ok:
			case errors.Is(err, errFull) && ctx.Err() == nil:
				c.late = true
			case err != nil:
				return err
			default:
				c.x.sums.put(c.key(), stats)
			}
			if c.stats = stats; ok {
				c.stats = known
			}
			return nil
		})
	})
}

// take keeps a change if it belongs to the page, and ends where nothing but the page is wanted.
func (c *comparing) take(ch *browse.Change, counted bool) error {
	e := ch.New
	if e == nil {
		e = ch.Old
	}
	if len(c.after) > 0 && manifest.Compare(e.Path, c.after) <= 0 {
		return nil
	}
	if len(c.rows) == rowsDiff {
		c.more = true
		if counted {
			return errFull
		}
		return nil
	}
	row := changeRow{Kind: ch.Kind, Name: web.ShownPath(e.Path), Type: e.Type, Size: sizes(ch)}
	for _, k := range kindTexts {
		if k[0] == ch.Kind {
			row.Text = k[1]
		}
	}
	if ch.New != nil {
		row.Link = c.link(1, ch.New)
	}
	if ch.Old != nil {
		row.Was = c.link(0, ch.Old)
	}
	c.rows = append(c.rows, row)
	c.last = append(c.last[:0], e.Path...)
	return nil
}

func (c *comparing) link(side int, e *browse.Entry) string {
	v := &visit{a: c.a, it: c.pair[side], base: c.a.Base() + "/s/" + c.pair[side].ID.String()}
	return rowOf(v, e).Link
}

// sizes is how the size of a file has changed.
func sizes(ch *browse.Change) string {
	is := func(e *browse.Entry) bool { return e != nil && e.Type == "file" }
	switch {
	case is(ch.Old) && is(ch.New) && ch.Old.Size != ch.New.Size:
		return units.Size(ch.Old.Size).String() + " → " + units.Size(ch.New.Size).String()
	case is(ch.New):
		return units.Size(ch.New.Size).String()
	case is(ch.Old):
		return units.Size(ch.Old.Size).String()
	}
	return ""
}

func (c *comparing) page() *diffPage {
	st := c.a.Known()
	base := c.a.Base()
	d := &diffPage{A: st.Info(c.pair[0]), B: st.Info(c.pair[1]), SourceA: sourceName(c.pair[0].Source), SourceB: sourceName(c.pair[1].Source), LinkA: base + "/s/" + c.pair[0].ID.String() + "/",
		LinkB: base + "/s/" + c.pair[1].ID.String() + "/", Stats: c.stats, Unfinished: c.late, Rows: c.rows, Swap: diffOf(c.a, c.pair[1].ID, c.pair[0].ID, c.path),
		Other: c.pair[0].Source.ID != c.pair[1].Source.ID, Nothing: len(c.rows) == 0 && len(c.after) == 0 && !c.late}
	here := diffOf(c.a, c.pair[0].ID, c.pair[1].ID, c.path)
	if len(c.path) > 0 {
		d.Path, d.Whole = web.ShownPath(c.path), diffOf(c.a, c.pair[0].ID, c.pair[1].ID, nil)
	}
	if len(c.after) > 0 {
		d.First = here
	}
	if c.more {
		d.Next = here + "&after=" + web.EncodePath(c.last)
	}
	return d
}

// sums remembers what comparisons added up to.
type sums struct {
	mu    sync.Mutex
	known map[sumKey]browse.DiffStats
}

type sumKey struct {
	a, b snapshot.ID
	path string
}

const mostSums = 256

func (s *sums) get(k sumKey) (browse.DiffStats, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.known[k]
	return d, ok
}

func (s *sums) put(k sumKey, d browse.DiffStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= mostSums {
		s.known = map[sumKey]browse.DiffStats{}
	}
	s.known[k] = d
}
