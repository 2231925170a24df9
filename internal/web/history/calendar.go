package history

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/plot"
	"firn/internal/retain"
	"firn/internal/retention"
	"firn/internal/snapshot"
	"firn/internal/units"
	"firn/internal/web"
)

// Sizes of a page.
const (
	sourcesOnPage = 10
	rowsOnPage    = 100
)

// years is all sources with what becomes of their snapshots, by day.
type years struct {
	lines       []*line
	first, last int // years; 0: there are no snapshots
	forgotten   int // snapshots that are about to be deleted already
}

// line is one source.
type line struct {
	retention.Source
	ID         snapshot.Source
	Name, Host string
	Policy     string // in words; empty: none is known
	Plan       string // what its cycle plans next; empty: it has none
	Kept       int
	kinds      []level
	levels     []uint8 // of Items: places in kinds
	days       []int32 // of Items: days since 1970 in the zone of the page
}

// level is that of an item.
func (l *line) level(i int) level { return l.kinds[l.levels[i]] }

// years works out why each snapshot is kept.
func (p *pages) years(ctx context.Context, a *web.Archive, k *known) (*years, error) {
	return k.book.years.get(ctx, k.stamp^hour(k.At), func() (*years, error) {
		return newYears(k.Items, a.Place().Keep, k.At, p.zone()), nil
	})
}

func newYears(items []snapshot.Item, rules retention.Rules, now time.Time, loc *time.Location) *years {
	y := &years{}
	for i := range items {
		if items[i].Status() == snapshot.IsForgotten {
			y.forgotten++
		}
	}
	for _, s := range rules.Explain(items, now, loc) {
		last := s.Last()
		l := &line{Source: s, ID: last.Source.ID, Name: nameOf(last.Source), Host: last.Host, levels: make([]uint8, len(s.Items)), days: make([]int32, len(s.Items))}
		if policy := rules.PolicyOf(last); policy.Check() == nil {
			l.Policy = keeps(policy)
			if policy.Cycle.Kind != "" {
				l.Plan = plan(policy.Cycle, s.Items, now, loc)
			}
		}
		full, cycle := fulls(s.Items)
		for i := range s.Items {
			it := &s.Items[i]
			x := levelOf(&s.Verdicts[i], it, full[i], cycle)
			at := slices.Index(l.kinds, x)
			if at < 0 {
				at = len(l.kinds)
				l.kinds = append(l.kinds, x)
			}
			l.levels[i] = uint8(at) // there are fewer than fifty
			if s.Verdicts[i].Keep {
				l.Kept++
			}
			t := dated(it)
			l.days[i] = dayOf(t.In(loc).Date())
			year := t.In(loc).Year()
			if year < 1 || year > 9999 {
				continue
			}
			if y.first == 0 || year < y.first {
				y.first = year
			}
			y.last = max(y.last, year)
		}
		l.Snaps = nil // verdicts and items say it all
		y.lines = append(y.lines, l)
	}
	slices.SortFunc(y.lines, func(a, b *line) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Host, b.Host), slices.Compare(a.ID[:], b.ID[:]))
	})
	return y
}

// dated is when a snapshot counts: by the store's clock, by which rules go; by the host's where the store does not tell.
func dated(it *snapshot.Item) time.Time {
	if it.Stored.IsZero() {
		return it.Start
	}
	return it.Stored
}

// dayOf counts days since 1970.
func dayOf(y int, m time.Month, d int) int32 {
	return int32(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// fulls tells which snapshots of a source are the first of their epoch, and whether there is more than one epoch, or a chain.
func fulls(items []snapshot.Item) (full []bool, cycle bool) {
	full = make([]bool, len(items))
	seen := map[uint32]bool{}
	for i := range items {
		full[i] = !seen[items[i].Epoch] && items[i].Base.IsZero()
		seen[items[i].Epoch] = true
		cycle = cycle || !items[i].Base.IsZero()
	}
	return full, cycle || len(seen) > 1
}

// plan says what a cycle plans next.
func plan(c retain.Cycle, items []snapshot.Item, now time.Time, loc *time.Location) string {
	due, full, when := c.Next(retention.Planned(items), now, loc)
	what, how := "a backup", "will be due on "
	if full {
		what = "a full backup"
	}
	if due {
		how = "is due since "
	}
	return what + " " + how + when.In(loc).Format("2006-01-02")
}

// calendarData is what the page shows.
type calendarData struct {
	Base           string
	Year           int
	Years          []int // that can be chosen
	Before, After  string
	Sources        []choice
	Source         string
	Day            string
	Words          []level // that the pictures show
	Pictures       []yearPicture
	More           pager
	Rows           []row
	Caption        string
	Pages          pager
	Forgotten      int
	Policyless     bool
	Command, Total string
}

type choice struct {
	Value, Text string
	Chosen      bool
}

// yearPicture is a source in a year.
type yearPicture struct {
	Name, Host, Policy, Plan, Summary string
	SVG                               template.HTML
}

// row is a snapshot in the table.
type row struct {
	ID, Short    string
	At           moment
	Name, Host   string
	Level        level
	Why, Until   string
	Size, Stored string
	Status       string // empty: done
	Browse       bool
}

// pager leads from page to page.
type pager struct {
	Before, After string // addresses; empty: there is none
	Text          string
}

// asked is what the address of a page asks for.
type asked struct {
	year   int
	source string
	day    string // 2006-01-02
	page   int
	strip  int // page of sources
}

func (p *pages) calendar(w http.ResponseWriter, r *http.Request) error {
	a, err := p.site.Archive(r)
	if err != nil {
		return err
	}
	k, notices, err := p.know(r.Context(), a)
	if err != nil {
		return err
	}
	y, err := p.years(r.Context(), a, k)
	if err != nil {
		return err
	}
	q, err := y.asked(r, k.At.In(p.zone()).Year())
	if err != nil {
		return err
	}
	f := web.Frame{Title: "Calendar", Section: "calendar", Archive: a, Notices: notices}
	d, err := p.calendarOf(&f, y, q, k.Reads)
	if err != nil {
		return err
	}
	return p.site.Render(w, r, f, calendarPage, d)
}

// asked reads the address. Where it names no year, the newest that has a snapshot is meant.
func (y *years) asked(r *http.Request, present int) (q asked, err error) {
	bad := func(what string) (asked, error) {
		return q, &web.StatusError{Code: http.StatusBadRequest, Text: what + " cannot be understood", Hint: "begin anew from the calendar"}
	}
	v := r.URL.Query()
	number := func(name string, least, most, otherwise int) (int, bool) {
		text := v.Get(name)
		if text == "" {
			return otherwise, true
		}
		n, err := strconv.Atoi(text)
		return n, err == nil && n >= least && n <= most
	}
	ok := false
	newest := y.last
	if newest == 0 {
		newest = present
	}
	if q.day = v.Get("day"); q.day != "" {
		at, err := time.Parse("2006-01-02", q.day)
		if err != nil || at.Year() < 1 {
			return bad("the day")
		}
		newest = at.Year()
	}
	if q.year, ok = number("year", 1, 9999, newest); !ok {
		return bad("the year")
	}
	if q.day != "" {
		q.year = newest
	}
	if q.page, ok = number("page", 1, 1<<30, 1); !ok {
		return bad("the page")
	}
	if q.strip, ok = number("strip", 1, 1<<30, 1); !ok {
		return bad("the page of sources")
	}
	if q.source = v.Get("source"); q.source != "" {
		if _, err := snapshot.ParseSource(q.source); err != nil {
			return bad("the source")
		}
	}
	return q, nil
}

// address is that of the page with something else asked for.
func (q asked) address(base string) string {
	v := "?year=" + strconv.Itoa(q.year)
	if q.day != "" {
		v = "?day=" + q.day
	}
	if q.source != "" {
		v += "&source=" + q.source
	}
	if q.strip > 1 {
		v += "&strip=" + strconv.Itoa(q.strip)
	}
	if q.page > 1 {
		v += "&page=" + strconv.Itoa(q.page)
	}
	return base + "/calendar" + v
}

func (q asked) with(change func(*asked)) asked {
	change(&q)
	return q
}

// calendarOf gathers what the page shows.
func (p *pages) calendarOf(f *web.Frame, y *years, q asked, reads bool) (*calendarData, error) {
	base := f.Base()
	d := &calendarData{Base: base, Year: q.year, Source: q.source, Day: q.day, Forgotten: y.forgotten}
	lines := y.lines
	for _, l := range y.lines {
		c := choice{l.ID.String(), l.Name + " on " + l.Host, l.ID.String() == q.source}
		if c.Chosen {
			lines = []*line{l}
		}
		d.Sources = append(d.Sources, c)
		d.Policyless = d.Policyless || l.Policy == ""
	}
	if q.source != "" && len(lines) != 1 {
		return nil, &web.StatusError{Code: http.StatusNotFound, Text: "there is no snapshot of that source any more", Hint: "choose another one in the calendar"}
	}
	from, to := y.first, y.last
	if from == 0 {
		from, to = q.year, q.year
	}
	if to-from > 200 { // a clock that was wrong
		from = to - 200
	}
	for n := to; n >= from; n-- {
		d.Years = append(d.Years, n)
	}
	if !slices.Contains(d.Years, q.year) {
		d.Years = append(d.Years, q.year)
	}
	plain := q.with(func(q *asked) { q.day, q.page, q.strip = "", 1, 1 })
	if q.year > from {
		d.Before = plain.with(func(q *asked) { q.year-- }).address(base)
	}
	if q.year < to {
		d.After = plain.with(func(q *asked) { q.year++ }).address(base)
	}
	args := []string{"retention", "explain", "--year", strconv.Itoa(q.year)}
	if q.source != "" {
		args = append(args, "--source", string(sourceFlag(lines[0].Last().Source)))
	}
	d.Command = command(f.Archive, args...)
	p.pictures(d, lines, plain, q)
	p.rows(d, lines, q, reads)
	return d, nil
}

func sourceFlag(o snapshot.Origin) string {
	if o.Name != "" {
		return o.Name
	}
	return string(o.Path)
}

// between returns which of the items of a line are of some days.
func (l *line) between(from, to int32) (first, end int) {
	// Items are in the order of the store's clock, and so are days, but for items of unknown time.
	if !slices.IsSorted(l.days) {
		return 0, len(l.days)
	}
	first, _ = slices.BinarySearch(l.days, from)
	end, _ = slices.BinarySearch(l.days, to+1)
	return first, end
}

// pictures draws the year of each source.
func (p *pages) pictures(d *calendarData, lines []*line, plain, q asked) {
	pagesOf := max(1, (len(lines)+sourcesOnPage-1)/sourcesOnPage)
	strip := min(q.strip, pagesOf)
	if pagesOf > 1 {
		d.More.Text = fmt.Sprintf("sources %d to %d of %d", (strip-1)*sourcesOnPage+1, min(strip*sourcesOnPage, len(lines)), len(lines))
		if strip > 1 {
			d.More.Before = q.with(func(q *asked) { q.strip = strip - 1 }).address(d.Base)
		}
		if strip < pagesOf {
			d.More.After = q.with(func(q *asked) { q.strip = strip + 1 }).address(d.Base)
		}
	}
	seen := map[string]bool{}
	for i, l := range lines[(strip-1)*sourcesOnPage : min(strip*sourcesOnPage, len(lines))] {
		pic, words := l.picture(i, d.Base, plain)
		d.Pictures = append(d.Pictures, pic)
		for _, w := range words {
			if !seen[w.Word] {
				seen[w.Word] = true
				d.Words = append(d.Words, w)
			}
		}
	}
	slices.SortStableFunc(d.Words, func(a, b level) int { return a.rank - b.rank })
}

// picture draws one source in a year.
func (l *line) picture(number int, base string, q asked) (yearPicture, []level) {
	start, end := dayOf(q.year, 1, 1), dayOf(q.year, 12, 31)
	type day struct {
		best        level
		count, kept int
	}
	days := make([]day, end-start+1)
	first, last := l.between(start, end)
	count, kept := 0, 0
	var words []level
	for i := first; i < last; i++ {
		at := l.days[i] - start
		if at < 0 || int(at) >= len(days) {
			continue
		}
		x := &days[at]
		if x.count == 0 || l.level(i).rank < x.best.rank {
			x.best = l.level(i)
		}
		x.count++
		count++
		if l.Verdicts[i].Keep {
			x.kept++
			kept++
		}
		if !slices.ContainsFunc(words, func(w level) bool { return w == l.level(i) }) {
			words = append(words, l.level(i))
		}
	}
	slices.SortStableFunc(words, func(a, b level) int { return a.rank - b.rank })
	y := &plot.Year{Sheet: plot.Sheet{ID: "year-" + strconv.Itoa(number), Title: fmt.Sprintf("%s on %s in %d", l.Name, l.Host, q.year)}, Year: q.year, Days: make([]plot.Day, len(days))}
	for _, w := range words {
		y.Kinds = append(y.Kinds, plot.Kind{Name: w.Word, Symbol: w.Symbol, Color: w.color})
	}
	for i, x := range days {
		if x.count == 0 {
			continue
		}
		date := time.Unix((int64(start)+int64(i))*86400, 0).UTC().Format("2006-01-02")
		title := date + ": " + web.Counted(int64(x.count), "snapshot") + ", " + x.best.Word
		if x.kept < x.count && x.kept > 0 {
			title += ", " + units.Count(int64(x.count-x.kept)) + " go"
		}
		y.Days[i] = plot.Day{Kind: 1 + slices.IndexFunc(words, func(w level) bool { return w.Word == x.best.Word }), Title: title, Faint: x.best.goes,
			Link: q.with(func(q *asked) { q.day, q.source = date, l.ID.String() }).address(base)}
	}
	y.Desc = web.Counted(int64(count), "snapshot") + ", " + units.Count(int64(kept)) + " stay, " + units.Count(int64(count-kept)) + " go"
	return yearPicture{Name: l.Name, Host: l.Host, Policy: l.Policy, Plan: l.Plan, Summary: y.Desc, SVG: picture(y.SVG())}, words
}

// rows fills the table: the snapshots of the year or of the day, the newest first.
func (p *pages) rows(d *calendarData, lines []*line, q asked, reads bool) {
	from, to := dayOf(q.year, 1, 1), dayOf(q.year, 12, 31)
	d.Caption = "Snapshots of " + strconv.Itoa(q.year)
	if q.day != "" {
		at, _ := time.Parse("2006-01-02", q.day) // asked has looked
		from = dayOf(at.Date())
		to = from
		d.Caption = "Snapshots of " + q.day
	}
	type place struct {
		l *line
		i int
	}
	var all []place
	for _, l := range lines {
		first, end := l.between(from, to)
		for i := first; i < end; i++ {
			if l.days[i] >= from && l.days[i] <= to {
				all = append(all, place{l, i})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b place) int { return dated(&b.l.Items[b.i]).Compare(dated(&a.l.Items[a.i])) })
	d.Total = web.Counted(int64(len(all)), "snapshot")
	last := max(1, (len(all)+rowsOnPage-1)/rowsOnPage)
	page := min(q.page, last)
	if last > 1 {
		d.Pages.Text = fmt.Sprintf("page %d of %d", page, last)
		if page > 1 {
			d.Pages.Before = q.with(func(q *asked) { q.page = page - 1 }).address(d.Base)
		}
		if page < last {
			d.Pages.After = q.with(func(q *asked) { q.page = page + 1 }).address(d.Base)
		}
	}
	for _, x := range all[(page-1)*rowsOnPage : min(page*rowsOnPage, len(all))] {
		d.Rows = append(d.Rows, p.row(x.l, x.i, reads))
	}
}

func (p *pages) row(l *line, i int, reads bool) row {
	it, v := &l.Items[i], &l.Verdicts[i]
	r := row{ID: it.ID.String(), Short: it.ID.String()[:8], At: p.moment(dated(it), timeFormat), Name: l.Name, Host: l.Host, Level: l.level(i),
		Size: units.Size(it.Stats.Bytes).String(), Stored: units.Size(it.Stats.BytesStored).String(), Browse: reads}
	if it.Status() != snapshot.IsDone {
		r.Status = it.Status().String()
	}
	var why []string
	for _, reason := range v.Reasons {
		text := reason.String()
		if reason.Rule == retain.RulePolicy {
			text = "no policy is known"
		}
		why = append(why, text)
	}
	r.Why = strings.Join(why, "; ")
	switch until, forever := v.Until(); {
	case !v.Keep:
		r.Until = "the next prune"
	case forever:
		r.Until = "for good"
	case !until.IsZero():
		r.Until = "at least " + until.In(p.zone()).Format("2006-01-02")
	case l.Policy == "":
		r.Until = "for good"
	default:
		r.Until = "not known"
	}
	return r
}
