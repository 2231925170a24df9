package history

import (
	"context"
	"errors"
	"html/template"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/cost"
	"firn/internal/plot"
	"firn/internal/price"
	"firn/internal/snapshot"
	"firn/internal/units"
	"firn/internal/web"
)

// What the page looks at, as the command line does where nothing else is said.
const (
	monthsAhead = 12
	copyDays    = 7
	mostSources = 200 // in the table of growth
	sparkSteps  = 40
)

// costData is what the page shows.
type costData struct {
	Base      string
	Sources   []choice
	Source    string
	Empty     bool
	Priced    bool
	Tiles     []tile
	Prices    string
	Note      string
	Holdings  []holding
	Sum       holding
	Unknown   string // classes without prices
	Counted   string // when the store was listed, and what that cost; empty: it was not
	Stale     bool   // there were other snapshots then
	CountCost string

	Areas, Classes, Sent, Months, Restores template.HTML
	Word                                   string
	Periods                                []periodRow
	Forecast                               []monthRow
	Growth                                 string
	Routes                                 []string
	Tiers                                  []tierRow
	Here                                   otherRow
	Others                                 []otherRow
	Providers                              []choice
	Wanted                                 struct{ Provider, Region, Class string }
	Streams                                []streamRow
	MoreStreams                            int
	Undone, Future                         int

	CommandCost, CommandSVG, CommandWhatIf string
}

type tile struct{ Label, Figure, Small string }

type holding struct{ Class, Kind, Objects, Size, Month string }

type periodRow struct{ Start, Backups, Read, Known, Squeezed, Stored string }

type monthRow struct{ Start, Bytes, Storage, Requests, Total string }

type tierRow struct {
	Tier, Thaw, Read string
	Totals           []string
	First, Last      string
}

type otherRow struct{ Where, Class, Month, Year, Restore, Moving, Moved string }

type streamRow struct {
	ID, Name, Host, Class       string
	Snapshots, Size, Stored     string
	Daily, Yearly, Month, Known string
	Last                        moment
	Spark                       template.HTML
}

func (p *pages) cost(w http.ResponseWriter, r *http.Request) error {
	a, err := p.site.Archive(r)
	if err != nil {
		return err
	}
	ctx := r.Context()
	k, notices, err := p.know(ctx, a)
	if err != nil {
		return err
	}
	fl, err := p.flow(ctx, k)
	if err != nil {
		return err
	}
	d := &costData{Base: "/r/" + a.Place().Name, Empty: len(fl.streams) == 0, Undone: fl.undone, Future: fl.future}
	only, err := d.choose(fl, r.URL.Query().Get("source"))
	if err != nil {
		return err
	}
	d.flows(fl, only, p.zone(), k.At)
	s, err := p.stock(ctx, a, k)
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		notices = append(notices, web.Notice{Level: "warning", Text: "what is stored, and so what it costs, cannot be told: " + err.Error(), Hint: advice.Hint(err)})
		s = nil
	}
	p.streams(d, fl, s, k.At)
	if s != nil {
		more := p.money(d, a, k, s, r)
		notices = append(notices, more...)
	}
	d.CommandCost = command(a, "cost", "--estimate")
	d.CommandSVG = command(a, "cost", "--estimate", "--svg", "cost.svg")
	return p.site.Render(w, r, web.Frame{Title: "Storage and cost", Section: "cost", Archive: a, Notices: notices}, costPage, d)
}

// choose fills the list of sources, and finds the one that was chosen.
func (d *costData) choose(fl *flow, text string) (only *stream, err error) {
	d.Source = text
	for _, s := range fl.streams {
		c := choice{s.ID.String(), s.Name + " on " + s.Host, s.ID.String() == text}
		if c.Chosen {
			only = s
		}
		d.Sources = append(d.Sources, c)
	}
	slices.SortStableFunc(d.Sources, func(a, b choice) int { return strings.Compare(a.Text, b.Text) })
	if text != "" && only == nil {
		if _, err := snapshot.ParseSource(text); err != nil {
			return nil, &web.StatusError{Code: http.StatusBadRequest, Text: "the source cannot be understood"}
		}
		return nil, &web.StatusError{Code: http.StatusNotFound, Text: "there is no snapshot of that source any more", Hint: "choose another one"}
	}
	return only, nil
}

// flows shows what backups did.
func (d *costData) flows(fl *flow, only *stream, loc *time.Location, now time.Time) {
	if d.Empty {
		return
	}
	d.Areas = picture(fl.areas(loc, only, now).SVG())
	shown := fl.all
	if only != nil {
		shown = only
	}
	word, all := shown.byPeriod(loc)
	d.Word, d.Sent = word, picture(columns(word, all).SVG())
	slices.Reverse(all)
	for i := range all[:min(len(all), 120)] {
		x := &all[i]
		d.Periods = append(d.Periods, periodRow{x.start.Format("2006-01-02"), units.Count(x.sum.Backups), units.Size(x.sum.Read).String(), units.Size(x.sum.Known()).String(), units.Size(x.sum.Squeezed()).String(), units.Size(x.sum.Stored).String()})
	}
}

// streams fills the table of sources.
func (p *pages) streams(d *costData, fl *flow, s *stock, now time.Time) {
	for i, x := range fl.streams {
		if i == mostSources {
			d.MoreStreams = len(fl.streams) - mostSources
			break
		}
		daily := x.daily(now)
		row := streamRow{ID: x.ID.String(), Name: x.Name, Host: x.Host, Class: x.Class, Snapshots: units.Count(int64(x.Count)), Size: units.Size(x.Size).String(), Stored: units.Size(x.sum.Stored).String(),
			Daily: units.Size(daily).String(), Yearly: units.Size(math.Min(daily*365, math.MaxInt64/2)).String(), Known: "–", Last: p.moment(x.last, timeFormat)}
		if x.sum.Read > 0 {
			row.Known = web.Percent(float64(x.sum.Known()) / float64(x.sum.Read))
		}
		if s != nil {
			if row.Class == "" {
				row.Class = s.class
			}
			if priced(s.region) {
				row.Month = s.region.Format(s.region.Monthly([]price.Sent{{Class: row.Class, Bytes: x.sum.Stored}}).Total())
			}
		}
		row.Spark = picture((&plot.Spark{Sheet: plot.Sheet{ID: "spark-" + strconv.Itoa(i), Title: x.Name + ": stored in the last 90 days"}, Values: x.recentSteps(now)}).SVG())
		d.Streams = append(d.Streams, row)
	}
}

// recentSteps is what was stored at even distances over the last 90 days.
func (s *stream) recentSteps(now time.Time) (all []float64) {
	begin := now.Add(-recent)
	for i := range sparkSteps + 1 {
		at := plot.At(begin.Add(recent * time.Duration(i) / sparkSteps))
		n, found := slices.BinarySearch(s.at, at)
		if found || n > 0 {
			if !found {
				n--
			}
			all = append(all, s.stored[n])
			continue
		}
		all = append(all, 0)
	}
	return all
}

// money shows what all of it costs.
func (p *pages) money(d *costData, a *web.Archive, k *known, s *stock, r *http.Request) (notices []web.Notice) {
	region, inv := s.region, s.inv
	d.Priced = priced(region)
	k.book.mu.Lock()
	c := k.book.counted
	k.book.mu.Unlock()
	if c != nil {
		inv = c.inv
		d.Counted = "the store was listed at " + c.inv.At.In(p.zone()).Format(timeFormat) + ": " + web.Counted(c.inv.Requests, "request") + ", " + region.Format(c.price)
		d.Stale = c.stamp != k.stamp
	}
	d.countCost(region, s.inv, k)
	if !d.Priced && region == &unpriced {
		notices = append(notices, web.Notice{Level: "note", Text: "no prices are known for this store, so sizes are shown and no money", Hint: "price_region in the configuration says whose prices count, such as aws/eu-central-1"})
	}
	bill := inv.Month(region)
	d.holdings(region, inv, bill)
	outlook := cost.Outlook{Growth: s.growth, Months: monthsAhead, Days: copyDays}
	stay := cost.Stay(region, inv, outlook)
	d.tiles(region, inv, bill, s.growth, stay, s, k.At)
	d.classes(s, p.zone(), k.At)
	d.months(region, stay, s.growth)
	if !d.Priced {
		return notices
	}
	d.Prices, d.Note = region.Key()+", "+region.Date+", "+region.Source, region.Note
	d.restores(region, stay)
	if n := p.whatIf(d, a, region, inv, stay, outlook, r); n != nil {
		notices = append(notices, *n)
	}
	if most := a.Place().Monthly; most > 0 && bill.Total() > most {
		notices = append(notices, web.Notice{Level: "warning", Text: "a month costs " + region.Format(bill.Total()) + ", and the budget is " + region.Format(most)})
	}
	return notices
}

// countCost says what listing the store would cost.
func (d *costData) countCost(region *price.Region, inv *cost.Inventory, k *known) {
	objects, _ := inv.Total()
	n := price.Lists(objects + 2*int64(len(k.Items)) + 100)
	d.CountCost = "about " + web.Counted(n, "request")
	if priced(region) {
		d.CountCost += ", " + region.Format(region.List(n).Cost)
	}
}

func (d *costData) holdings(region *price.Region, inv *cost.Inventory, bill price.Bill) {
	money := func(m price.Money) string {
		if !d.Priced {
			return ""
		}
		return region.Format(m)
	}
	for _, h := range inv.Holdings {
		b := h.Month(region)
		row := holding{h.Class, string(h.Kind), units.Count(h.Objects), units.Size(h.Bytes).String(), money(b.Total())}
		if d.Priced && len(b.Unknown()) > 0 {
			row.Month = "unknown"
		}
		d.Holdings = append(d.Holdings, row)
	}
	objects, bytes := inv.Total()
	d.Sum = holding{"all", "", units.Count(objects), units.Size(bytes).String(), money(bill.Total())}
	if d.Priced {
		d.Unknown = strings.Join(bill.Unknown(), ", ")
	}
}

func (d *costData) tiles(region *price.Region, inv *cost.Inventory, bill price.Bill, g cost.Growth, stay *cost.Alternative, s *stock, now time.Time) {
	_, bytes := inv.Total()
	estimated := "by the indexes: packs and their parity"
	if inv.Listed {
		estimated = "as listed"
	}
	d.Tiles = append(d.Tiles, tile{"stored", units.Size(bytes).String(), estimated})
	daily := "no second backup yet"
	if g.Backups > 0 {
		daily = "from " + web.Counted(int64(g.Backups), "backup") + " in " + web.Counted(int64(math.Ceil(g.Span.Hours()/24)), "day")
	}
	d.Tiles = append(d.Tiles, tile{"growth a day", units.Size(g.Bytes).String(), daily})
	if !d.Priced {
		return
	}
	d.Tiles = append(d.Tiles,
		tile{"a month, as it is now", region.Format(bill.Total()), "storage"},
		tile{"the month ahead", region.Format(stay.Forecast[0].Total()), "from now on, with backups going on as they do"},
		tile{"next 12 months", region.Format(cost.Sum(stay.Forecast)), "if everything is kept"},
		tile{"to date", region.Format(cost.ToDate(region, s.births, now)), "of what is still there, at today's prices"})
}

// classes draws what is stored over time by class.
func (d *costData) classes(s *stock, loc *time.Location, now time.Time) {
	pl := &plot.Plot{Sheet: plot.Sheet{ID: "classes", Width: wide, Title: "Stored over time, by class", Desc: "packs that are still there, by the day on which they were stored and the class in which they were"}, X: plot.Axis{Time: loc}, Y: plot.Axis{Label: "stored", Unit: plot.Bytes()}}
	at := map[string]int{}
	sums := map[string]float64{}
	for _, b := range s.births {
		i, known := at[b.Class]
		if !known {
			i = len(pl.Series)
			at[b.Class] = i
			name := b.Class
			if name == "" {
				name = "the store's only class"
			}
			pl.Series = append(pl.Series, plot.Series{Name: name, Shape: plot.Area, Color: i})
		}
		sums[b.Class] += float64(b.Bytes)
		x := &pl.Series[i]
		x.X, x.Y = append(x.X, plot.At(b.Day)), append(x.Y, sums[b.Class])
	}
	for i := range pl.Series {
		pl.Series[i] = until(pl.Series[i], now)
	}
	if len(pl.Series) > 0 {
		d.Classes = picture(pl.SVG())
	}
}

// months shows the forecast.
func (d *costData) months(region *price.Region, stay *cost.Alternative, g cost.Growth) {
	d.Growth = "nothing is known of growth yet: the months ahead are shown as if nothing were added"
	if g.Backups > 0 {
		d.Growth = "with " + units.Size(g.Bytes).String() + " more a day, as in the last 90 days, and everything kept"
	}
	for _, m := range stay.Forecast {
		row := monthRow{Start: m.Start.Format("2006-01-02"), Bytes: units.Size(m.Bytes).String()}
		if d.Priced {
			row.Storage, row.Requests, row.Total = region.Format(m.Storage), region.Format(m.Requests), region.Format(m.Total())
		}
		d.Forecast = append(d.Forecast, row)
	}
	if d.Priced {
		c := cost.Picture(region, stay.Forecast)
		c.Width, c.ID, c.Title, c.Desc = wide, "months", "Cost of the next 12 months: "+region.Format(cost.Sum(stay.Forecast)), d.Growth
		d.Months = picture(c.SVG())
	}
}

// restores shows what fetching everything costs.
func (d *costData) restores(region *price.Region, stay *cost.Alternative) {
	all := stay.Restores
	if len(all) == 0 || all[0].Objects == 0 {
		return
	}
	bars := &plot.Bars{Sheet: plot.Sheet{ID: "restores", Width: wide, Title: "A restore of everything, over the internet, by tier"}, Unit: cost.Money(region)}
	thaw, read, egress := plot.Part{Name: "thaw", Color: 0}, plot.Part{Name: "read", Color: 2}, plot.Part{Name: "egress", Color: 1}
	for i := range all {
		o := &all[i]
		if i == 0 || all[i-1].Tier != o.Tier {
			row := tierRow{Tier: o.TierName(), Thaw: region.Format(o.Thaw.Total()), Read: region.Format(o.Get.Total()), First: "at once", Last: "at once"}
			if o.Last > 0 {
				row.First, row.Last = web.Duration(o.First), web.Duration(o.Last)
			}
			d.Tiers = append(d.Tiers, row)
			bars.Rows = append(bars.Rows, row.Tier)
			thaw.Values, read.Values, egress.Values = append(thaw.Values, float64(o.Thaw.Total())), append(read.Values, float64(o.Get.Total())), append(egress.Values, 0)
		}
		row := &d.Tiers[len(d.Tiers)-1]
		row.Totals = append(row.Totals, region.Format(o.Total()))
		if len(d.Tiers) == 1 {
			d.Routes = append(d.Routes, o.Route)
		}
		if o.Route == price.Direct {
			egress.Values[len(egress.Values)-1] = float64(o.Egress.Cost)
		}
	}
	bars.Parts = []plot.Part{thaw, read, egress}
	d.Restores = picture(bars.SVG())
}

// whatIf compares with the other classes here, and with what each other provider has nearest to it.
func (p *pages) whatIf(d *costData, a *web.Archive, region *price.Region, inv *cost.Inventory, stay *cost.Alternative, o cost.Outlook, r *http.Request) (notice *web.Notice) {
	table := price.Default()
	d.Here = other(region, stay)
	d.Here.Moving, d.Here.Moved = "", ""
	q := r.URL.Query()
	d.Wanted.Provider, d.Wanted.Region, d.Wanted.Class = clipped(q.Get("provider")), clipped(q.Get("in")), clipped(q.Get("class"))
	add := func(provider, in, class string) error {
		x, err := cost.At(table, region, inv, provider, in, class, o)
		if err == nil && (x.Region.Key() != region.Key() || x.Class != stay.Class) {
			row := other(region, x)
			if !slices.Contains(d.Others, row) {
				d.Others = append(d.Others, row)
			}
		}
		return err
	}
	args := []string{"cost", "--estimate", "--what-if", "class=GLACIER"}
	if d.Wanted.Provider+d.Wanted.Region+d.Wanted.Class != "" {
		var parts []string
		for _, x := range [][2]string{{"provider", d.Wanted.Provider}, {"region", d.Wanted.Region}, {"class", d.Wanted.Class}} {
			if x[1] != "" {
				parts = append(parts, x[0]+"="+x[1])
			}
		}
		args[3] = strings.Join(parts, ",")
		if err := add(d.Wanted.Provider, d.Wanted.Region, d.Wanted.Class); err != nil {
			notice = &web.Notice{Level: "warning", Text: err.Error()}
			var unknown *price.UnknownError
			if errors.As(err, &unknown) {
				notice.Hint = "known are " + strings.Join(unknown.Known, ", ")
			}
		}
	}
	d.CommandWhatIf = command(a, args...)
	for i := range region.Classes {
		_ = add("", "", region.Classes[i].Name) // it is there
	}
	for _, name := range table.Providers() {
		d.Providers = append(d.Providers, choice{name, name, name == d.Wanted.Provider})
		if name != region.Provider && name != "local" {
			_ = add(name, "", "") // one that has nothing of the kind is left out
		}
	}
	return notice
}

// clipped bounds what an address says.
func clipped(text string) string {
	if len(text) > 100 {
		return text[:100]
	}
	return strings.ToValidUTF8(text, "")
}

// other is an alternative as a row.
func other(here *price.Region, a *cost.Alternative) otherRow {
	row := otherRow{Where: a.Region.Key(), Class: a.Class, Month: a.Region.Format(a.Month), Year: a.Region.Format(cost.Sum(a.Forecast)), Moved: units.Size(a.Moved).String()}
	if o := cost.Cheapest(a.Restores); o != nil {
		row.Restore = a.Region.Format(o.Total())
	}
	switch leave, arrive, known := a.Moving(here); {
	case !known:
		row.Moving = "unknown"
	case arrive == 0:
		row.Moving = here.Format(leave)
	default:
		row.Moving = here.Format(leave) + " + " + a.Region.Format(arrive)
	}
	return row
}

// count lists the store. The page has said what that costs.
func (p *pages) count(w http.ResponseWriter, r *http.Request) error {
	a, err := p.site.Archive(r)
	if err != nil {
		return err
	}
	k, _, err := p.know(r.Context(), a)
	if err != nil {
		return err
	}
	c, err := p.list(r.Context(), a, k)
	if err != nil {
		return err
	}
	k.book.mu.Lock()
	k.book.counted = c
	k.book.mu.Unlock()
	http.Redirect(w, r, "/r/"+a.Place().Name+"/cost#now", http.StatusSeeOther)
	return nil
}

func (p *pages) list(ctx context.Context, a *web.Archive, k *known) (c *counted, err error) {
	err = a.Use(ctx, func(o *web.Opened) error {
		region := o.Region
		if region == nil {
			region = &unpriced
		}
		inv, err := cost.Take(ctx, o.Store, region, p.site.Options().Now())
		if err == nil {
			c = &counted{inv, k.stamp, region.List(inv.Requests).Cost}
		}
		return err
	})
	return c, err
}
