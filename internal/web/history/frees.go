package history

import (
	"cmp"
	"html/template"
	"net/http"
	"slices"

	"firn/internal/cost"
	"firn/internal/plot"
	"firn/internal/snapshot"
	"firn/internal/units"
	"firn/internal/web"
)

// mostFreeing is how many snapshots the page names by itself, those that free most.
const mostFreeing = 50

// freesData is what the page shows.
type freesData struct {
	Base      string
	Sources   []choice
	Source    string
	Snapshot  string
	Priced    bool
	Chosen    *freedRow
	What      string // was chosen
	Note      string
	BySource  []freedRow
	Snapshots []freedRow
	Sums      []freedRow
	Picture   template.HTML
	Command   string
}

// freedRow is what would go with something.
type freedRow struct {
	ID, Name, Link      string
	At                  moment
	Packs, Bytes, Month string
	Now, Early          string
	First, Last         moment
	None                bool // nothing would go
}

func (p *pages) frees(w http.ResponseWriter, r *http.Request) error {
	a, err := p.site.Archive(r)
	if err != nil {
		return err
	}
	k, notices, err := p.know(r.Context(), a)
	if err != nil {
		return err
	}
	s, err := p.sharing(r.Context(), a, k)
	if err != nil {
		return err
	}
	if n := len(s.unread); n > 0 {
		notices = append(notices, web.Notice{Level: "warning", Text: web.Counted(int64(n), "list") + " of packs that snapshots need cannot be read, so more may be needed than is shown here, the first: " + s.unread[0].Error(), Hint: "firn check --level list tells all"})
	}
	d := &freesData{Base: "/r/" + a.Place().Name, Priced: priced(s.region), Source: r.URL.Query().Get("source"), Snapshot: r.URL.Query().Get("snapshot")}
	for _, it := range k.Sources() {
		id := it.Source.ID.String()
		name := nameOf(it.Source) + " on " + it.Host
		d.Sources = append(d.Sources, choice{id, name, id == d.Source})
		row := p.freed(s, s.shares.Sources[it.Source.ID])
		row.ID, row.Name, row.Link = id, name, d.Base+"/frees?source="+id
		d.BySource = append(d.BySource, row)
	}
	if err := p.chosen(d, a, k, s); err != nil {
		return err
	}
	p.lists(d, k, s)
	f := web.Frame{Title: "What deleting would free", Section: "cost", Archive: a, Notices: notices, Crumbs: []web.Crumb{{Text: "Storage and cost", Address: d.Base + "/cost"}, {Text: "What deleting would free"}}}
	return p.site.Render(w, r, f, freesPage, d)
}

// freed is a row without a name.
func (p *pages) freed(s *sharing, f cost.Freed) freedRow {
	row := freedRow{Packs: units.Count(f.Packs), Bytes: units.Size(f.Bytes).String(), Now: units.Size(f.Now).String(), First: p.moment(f.First, "2006-01-02"), Last: p.moment(f.Last, "2006-01-02"), None: f.Packs == 0}
	if priced(s.region) {
		row.Month, row.Early = s.region.Format(f.Month), s.region.Format(f.Early)
	}
	return row
}

// chosen tells of the source or snapshot that was asked for.
func (p *pages) chosen(d *freesData, a *web.Archive, k *known, s *sharing) error {
	args := []string{"prune", "--dry-run", "--keep-all"}
	switch {
	case d.Snapshot != "":
		it, err := found(k, d.Snapshot)
		if err != nil {
			return err
		}
		row := p.freed(s, s.shares.Snapshots[it.ID])
		d.Chosen, d.What = &row, "snapshot "+it.ID.String()[:8]+" of "+nameOf(it.Source)
		d.Snapshot = it.ID.String()
		if n := builtOn(k.Items, it.ID); n > 0 {
			d.Note = web.Counted(int64(n), "snapshot") + " are built on it: it can go only with these, and nothing is freed by it alone"
		}
		args = []string{"forget", it.ID.String()[:12], "--dry-run"}
	case d.Source != "":
		id, err := snapshot.ParseSource(d.Source)
		if err != nil {
			return &web.StatusError{Code: http.StatusBadRequest, Text: "the source cannot be understood"}
		}
		at := slices.IndexFunc(d.BySource, func(r freedRow) bool { return r.ID == d.Source })
		if at < 0 {
			return &web.StatusError{Code: http.StatusNotFound, Text: "there is no snapshot of that source any more", Hint: "choose another one"}
		}
		row := p.freed(s, s.shares.Sources[id])
		d.Chosen, d.What = &row, "all snapshots of "+d.BySource[at].Name
		args = []string{"prune", "--source", d.Source, "--keep-none", "--dry-run"}
	}
	d.Command = command(a, args...)
	return nil
}

// found finds a snapshot by the beginning of its id.
func found(k *known, text string) (snapshot.Item, error) {
	if len(text) < 4 || len(text) > 32 {
		return snapshot.Item{}, &web.StatusError{Code: http.StatusBadRequest, Text: "that is no id of a snapshot", Hint: "at least the first four digits of it"}
	}
	all := k.Prefixed(text, 2)
	switch len(all) {
	case 0:
		return snapshot.Item{}, snapshot.ErrNone
	case 1:
		return all[0], nil
	}
	return snapshot.Item{}, &web.StatusError{Code: http.StatusBadRequest, Text: "several snapshots begin with that", Hint: "give more digits"}
}

// builtOn counts the snapshots that need another one.
func builtOn(items []snapshot.Item, id snapshot.ID) (n int) {
	for i := range items {
		if items[i].Base == id && items[i].Status() != snapshot.IsForgotten {
			n++
		}
	}
	return n
}

// lists fills the tables.
func (p *pages) lists(d *freesData, k *known, s *sharing) {
	bars := &plot.Bars{Sheet: plot.Sheet{ID: "frees", Width: wide, Title: "What only one source needs"}, Unit: plot.Bytes()}
	order := slices.Clone(d.BySource)
	bytes := func(r freedRow) int64 {
		id, _ := snapshot.ParseSource(r.ID) // they are made of one
		return s.shares.Sources[id].Bytes
	}
	slices.SortStableFunc(order, func(a, b freedRow) int { return cmp.Compare(bytes(b), bytes(a)) })
	part := plot.Part{Color: 0}
	for _, r := range order {
		bars.Rows, part.Values = append(bars.Rows, r.Name), append(part.Values, float64(bytes(r)))
	}
	bars.Rows, part.Values = append(bars.Rows, "several sources"), append(part.Values, float64(s.shares.Common.Bytes))
	bars.Rows, part.Values = append(bars.Rows, "nobody any more"), append(part.Values, float64(s.shares.Nobody.Bytes))
	bars.Parts = []plot.Part{part}
	d.Picture, d.BySource = picture(bars.SVG()), order
	for _, x := range []struct {
		name string
		f    cost.Freed
	}{{"needed by several sources", s.shares.Common}, {"needed by no snapshot: the next prunes delete it", s.shares.Nobody}, {"all", s.shares.All}} {
		row := p.freed(s, x.f)
		row.Name = x.name
		d.Sums = append(d.Sums, row)
	}
	type pair struct {
		it snapshot.Item
		f  cost.Freed
	}
	var all []pair
	for i := range k.Items {
		it := &k.Items[i]
		if d.Source != "" && it.Source.ID.String() != d.Source {
			continue
		}
		if f, some := s.shares.Snapshots[it.ID]; some {
			all = append(all, pair{*it, f})
		}
	}
	slices.SortStableFunc(all, func(a, b pair) int { return cmp.Compare(b.f.Bytes, a.f.Bytes) })
	for _, x := range all[:min(len(all), mostFreeing)] {
		row := p.freed(s, x.f)
		row.ID, row.Name, row.At, row.Link = x.it.ID.String()[:8], nameOf(x.it.Source)+" on "+x.it.Host, p.moment(dated(&x.it), timeFormat), d.Base+"/frees?snapshot="+x.it.ID.String()
		d.Snapshots = append(d.Snapshots, row)
	}
}
