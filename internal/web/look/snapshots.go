package look

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/browse"
	"firn/internal/snapshot"
	"firn/internal/web"
)

// snapshotFilter is what the form above the list says.
type snapshotFilter struct {
	Source, Host, Tag, From, To, State string

	source   snapshot.Source
	from, to time.Time // to is the end of that day
}

// readFilter reads the form. What cannot be read counts as not given, and is shown as it is.
func readFilter(v url.Values, loc *time.Location) *snapshotFilter {
	f := &snapshotFilter{Source: v.Get("source"), Host: strings.TrimSpace(v.Get("host")), Tag: strings.TrimSpace(v.Get("tag")), From: v.Get("from"), To: v.Get("to"), State: v.Get("state")}
	f.source, _ = snapshot.ParseSource(f.Source)
	if t, err := time.ParseInLocation(time.DateOnly, f.From, loc); err == nil {
		f.from = t
	}
	if t, err := time.ParseInLocation(time.DateOnly, f.To, loc); err == nil {
		f.to = t.AddDate(0, 0, 1)
	}
	return f
}

// Any reports whether the form leaves anything out.
func (f *snapshotFilter) Any() bool { return *f != snapshotFilter{} }

// has reports whether a snapshot is shown. What is dear to find out comes last.
func (f *snapshotFilter) has(st *web.State, it *snapshot.Item) bool {
	status := it.Status()
	switch f.State {
	case "", "all", "replaced":
		if f.State == "" && status == snapshot.IsForgotten {
			return false
		}
	default:
		if stateNames[status] != f.State {
			return false
		}
	}
	if !f.source.IsZero() && it.Source.ID != f.source || f.Host != "" && it.Host != f.Host || f.Tag != "" && !slices.Contains(it.Tags, f.Tag) ||
		!f.from.IsZero() && it.Start.Before(f.from) || !f.to.IsZero() && !it.Start.Before(f.to) {
		return false
	}
	return f.State == "all" || st.Replaced(it.ID) == (f.State == "replaced")
}

// stateNames are those of package browse.
var stateNames = [...]string{snapshot.IsDone: browse.StateDone, snapshot.IsUndone: browse.StateUnconfirmed, snapshot.IsPartial: browse.StatePartial, snapshot.IsForgotten: browse.StateForgotten}

// address is that of the list with this filter.
func (f *snapshotFilter) address(base string, page int) string {
	v := url.Values{}
	for name, text := range map[string]string{"source": f.Source, "host": f.Host, "tag": f.Tag, "from": f.From, "to": f.To, "state": f.State} {
		if text != "" {
			v.Set(name, text)
		}
	}
	if page > 1 {
		v.Set("page", strconv.Itoa(page))
	}
	if len(v) == 0 {
		return base + "/snapshots"
	}
	return base + "/snapshots?" + v.Encode()
}

// snapshotRow is one line of the list.
type snapshotRow struct {
	browse.Info
	Name     string // of the source
	HostName string
	Tagged   []string
	Link     string
	Diff     string // address; empty: nothing to compare with
}

// choiceOf is a source in the form.
type choiceOf struct {
	ID, Name string
	Chosen   bool
}

type snapshotsPage struct {
	Filter        *snapshotFilter
	Rows          []snapshotRow
	Sources       []choiceOf
	States        []string
	Total, First  int
	Older, Newer  string
	Page, Pages   int
	Basket, After string // where rows are put into the basket, and what follows
}

// maxChoices is how many sources the form offers.
const maxChoices = 500

func (x *room) showSnapshots(w http.ResponseWriter, r *http.Request) error {
	a, err := x.s.Archive(r)
	if err != nil {
		return err
	}
	st, err := a.State(r.Context())
	if err != nil {
		return err
	}
	f := readFilter(r.URL.Query(), x.s.Options().Location)
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	page = min(max(page, 1), 1<<20)
	d := listSnapshots(a.Base(), st, f, page)
	if page > d.Pages && d.Total > 0 {
		http.Redirect(w, r, f.address(a.Base(), d.Pages), http.StatusFound)
		return nil
	}
	notices := warn(st)
	if !st.Reads {
		notices = append(notices, web.Notice{Level: "note", Text: "the key at hand shows which snapshots there are, and cannot read what is in them"})
	}
	return x.s.Render(w, r, web.Frame{Title: "Snapshots", Section: "snapshots", Archive: a, Notices: notices}, x.snapshots, d)
}

// listSnapshots makes one page of the list.
func listSnapshots(base string, st web.State, f *snapshotFilter, page int) *snapshotsPage {
	d := &snapshotsPage{Filter: f, Page: page, Basket: base + "/restore/basket", After: base + "/restore", First: (page-1)*rowsSnapshots + 1}
	for i := len(st.Items) - 1; i >= 0; i-- { // the newest first
		if !f.has(&st, &st.Items[i]) {
			continue
		}
		d.Total++
		if d.Total >= d.First && len(d.Rows) < rowsSnapshots {
			d.Rows = append(d.Rows, newSnapshotRow(base, st, st.Info(st.Items[i])))
		}
	}
	d.Pages = max((d.Total+rowsSnapshots-1)/rowsSnapshots, 1)
	if page > 1 {
		d.Newer = f.address(base, page-1)
	}
	if page < d.Pages {
		d.Older = f.address(base, page+1)
	}
	d.Sources = choices(st, f.source)
	d.States = []string{browse.StateDone, browse.StatePartial, browse.StateUnconfirmed, "replaced", browse.StateForgotten, "all"}
	return d
}

func newSnapshotRow(base string, st web.State, info browse.Info) snapshotRow {
	row := snapshotRow{Info: info, Name: sourceName(info.Source), HostName: visible(info.Host), Link: base + "/s/" + info.ID.String() + "/"}
	for _, t := range info.Tags {
		row.Tagged = append(row.Tagged, visible(t))
	}
	if before, ok := st.Previous(info.Item); ok {
		row.Diff = base + "/diff?a=" + before.ID.String() + "&b=" + info.ID.String()
	}
	return row
}

func choices(st web.State, chosen snapshot.Source) (out []choiceOf) {
	for _, it := range st.Sources() {
		if len(out) < maxChoices || it.Source.ID == chosen {
			out = append(out, choiceOf{it.Source.ID.String(), visible(it.Host) + ": " + sourceName(it.Source), it.Source.ID == chosen})
		}
	}
	return out
}
