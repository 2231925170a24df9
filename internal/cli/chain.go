package cli

import (
	"time"

	"firn/internal/browse"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// chainJSON is what a snapshot of streams stands on.
type chainJSON struct {
	Length int    `json:"length"`         // snapshots, itself included
	Base   string `json:"base,omitempty"` // id of the one before it
	Whole  bool   `json:"whole"`          // all of them are there

	base    snapshot.ID
	outside bool // the states are stored elsewhere, and nothing here
}

// pointJSON is a state of a source that a snapshot has (FORMAT §10.2).
type pointJSON struct {
	Stream  string     `json:"stream,omitempty"`
	Of      string     `json:"of"`
	At      string     `json:"at"`
	ID      string     `json:"id"`
	From    string     `json:"from,omitempty"`
	FromAt  string     `json:"from_at,omitempty"`
	Time    *time.Time `json:"time,omitempty"`
	Outside bool       `json:"outside,omitempty"`
}

// chainOf returns the chain of a snapshot, nil where there can be none.
func chainOf(items []snapshot.Item, it snapshot.Item) *chainJSON {
	if len(it.Points) == 0 && it.Base.IsZero() {
		return nil
	}
	bases, err := snapshot.Bases(items, it)
	c := &chainJSON{Length: len(bases), Whole: err == nil, base: it.Base, outside: len(it.Points) > 0}
	for _, p := range it.Points {
		c.outside = c.outside && p.Outside
	}
	if !it.Base.IsZero() {
		c.Base = it.Base.String()
	}
	return c
}

// chainsOf returns the chains of those snapshots that have one.
func chainsOf(items []snapshot.Item, list []browse.Info) map[snapshot.ID]*chainJSON {
	of := map[snapshot.Source][]snapshot.Item{} // a chain stays within its source
	for _, it := range items {
		of[it.Source.ID] = append(of[it.Source.ID], it)
	}
	all := map[snapshot.ID]*chainJSON{}
	for _, i := range list {
		if c := chainOf(of[i.Source.ID], i.Item); c != nil {
			all[i.ID] = c
		}
	}
	return all
}

// text is a chain for people.
func (c *chainJSON) text() string {
	switch {
	case c == nil:
		return ""
	case c.outside:
		return "elsewhere"
	case c.Base == "":
		return "full"
	case !c.Whole:
		return "broken, on " + shortID(c.base)
	}
	return units.Count(int64(c.Length)) + ", on " + shortID(c.base)
}

func pointsJSON(points []snapshot.Point) []pointJSON {
	var all []pointJSON
	for _, p := range points {
		j := pointJSON{Stream: p.Stream, Of: p.Of, At: p.At, ID: p.ID, From: p.From, FromAt: p.FromAt, Outside: p.Outside}
		if !p.Time.IsZero() {
			at := p.Time.UTC()
			j.Time = &at
		}
		all = append(all, j)
	}
	return all
}
