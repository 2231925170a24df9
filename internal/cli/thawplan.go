package cli

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/price"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/units"
)

// thawFlags say how cold objects are thawed.
type thawFlags struct {
	tier    string
	route   string
	days    int
	maxCost string
	yes     bool
	detach  bool
	slower  bool
	poll    time.Duration
	link    units.Size
	prices  priceFlags
}

func (f *thawFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.tier, "tier", "", "how fast to thaw: bulk, standard or expedited (the cheapest)")
	fl.StringVar(&f.maxCost, "max-cost", "", "stop before thawing and downloading cost more than this, such as 25")
	fl.IntVar(&f.days, "days", 0, "how long thawed copies are kept (chosen by the speed of the link)")
	fl.BoolVarP(&f.yes, "yes", "y", false, "do not ask whether the price is right")
	fl.BoolVar(&f.detach, "detach", false, "ask for what may be asked for now, fetch what is thawed, and end; the same command goes on later")
	fl.BoolVar(&f.slower, "slower", false, "take a slower tier where the store has no capacity for this one")
	fl.StringVar(&f.route, "route", "", "how what is downloaded leaves the store, for the price: direct, in-region or cdn")
	fl.Var(&f.link, "link", "speed of the download, in bytes a second, such as 12M (as it was measured)")
	fl.Lookup("link").DefValue = ""
	fl.DurationVar(&f.poll, "poll", 0, "time between two looks at what is thawed (chosen by the tier)")
	complete(cmd, "tier", "bulk", "standard", "expedited")
	complete(cmd, "route", price.Direct, price.InRegion, price.CDN)
	f.prices.register(cmd)
}

// check refuses what makes no sense before anything is opened.
func (f *thawFlags) check() error {
	if _, err := f.wantedTier(); err != nil {
		return err
	}
	if _, err := f.limit(); err != nil {
		return err
	}
	switch {
	case f.days < 0 || f.days > 365:
		return usage("", "--days %d: want 1 to 365", f.days)
	case f.poll < 0 || f.poll > 0 && f.poll < 100*time.Millisecond:
		return usage("", "--poll %v: want at least 100ms", f.poll)
	}
	return nil
}

// wantedTier is the tier that the user asks for; any: the cheapest.
func (f *thawFlags) wantedTier() (store.Tier, error) {
	for _, t := range []store.Tier{store.Bulk, store.Standard, store.Expedited} {
		if strings.EqualFold(f.tier, string(t)) {
			return t, nil
		}
	}
	if f.tier == "" {
		return "any", nil
	}
	return "", usage("", "--tier %q: want bulk, standard or expedited", f.tier)
}

// limit is the most that it may cost; nil: anything.
func (f *thawFlags) limit() (*price.Money, error) {
	if f.maxCost == "" {
		return nil, nil
	}
	v, err := strconv.ParseFloat(strings.TrimLeft(f.maxCost, "$€ "), 64)
	if err != nil || v < 0 || v > 1e9 {
		return nil, usage("", "--max-cost %q: want an amount such as 25 or 0.50", f.maxCost)
	}
	m := price.Money(v)
	return &m, nil
}

// outlook is what is known of a thaw before it begins.
type outlook struct {
	survey *thaw.Survey
	offers []thaw.Offer // by every tier, and every route that was asked for
	region *price.Region
	link   thaw.Link
	metas  bool // it is not about packs of file content
}

// things is a number of what there is to thaw.
func (o *outlook) things(n int64) string {
	if o.metas {
		return counted(n, "object")
	}
	return counted(n, "pack")
}

// cold reports whether anything has to wait.
func (o *outlook) cold() bool {
	return slices.ContainsFunc(o.survey.Groups, func(g thaw.Group) bool { return g.Cold && g.Copy != store.Thawed })
}

// toAsk reports whether anything would have to be asked for.
func (o *outlook) toAsk() bool {
	return slices.ContainsFunc(o.survey.Groups, func(g thaw.Group) bool { return g.Cold && g.Copy == store.NoCopy })
}

// thawed reports whether anything lies in a cold class, thawed or not.
func (o *outlook) thawed() bool {
	return slices.ContainsFunc(o.survey.Groups, func(g thaw.Group) bool { return g.Cold })
}

// look finds out what is thawed and what the rest would cost.
func (f *thawFlags) look(ctx context.Context, s *session, sf *storeFlags, needs []thaw.Need, hold bool) (*outlook, error) {
	region, err := f.prices.orNone(s.st, sf)
	if err != nil {
		return nil, err
	}
	l := linkOf(s.state, sf)
	if f.link > 0 {
		l.Down = float64(f.link)
	}
	o := &outlook{region: region, link: thaw.Link{Down: l.Down}}
	if o.survey, err = thaw.Look(ctx, s.st, needs, thaw.LookOptions{Region: region}); err != nil {
		return nil, err
	}
	if region == nil {
		region = &price.Region{Provider: "unknown", Name: "unknown", GB: 1e9}
	}
	var routes []string
	if f.route != "" {
		if _, ok := region.Route(f.route); !ok && o.region != nil {
			return nil, usage("", "--route %q: the prices of %s do not know it", f.route, region.Key())
		}
		routes = []string{f.route}
	}
	o.offers = thaw.Offers(region, o.survey, o.link, thaw.OfferOptions{Days: f.days, Hold: hold, Routes: routes})
	return o, nil
}

// choose returns the offer that the user asks for: of the tier or the cheapest, by the route or directly.
func (f *thawFlags) choose(o *outlook) (*thaw.Offer, error) {
	want, err := f.wantedTier()
	if err != nil {
		return nil, err
	}
	route := f.route
	if route == "" {
		route = price.Direct
	}
	var offered []string
	for i := range o.offers {
		of := &o.offers[i]
		if of.Route != route {
			continue
		}
		if want == "any" || of.Tier == want || of.Thaw.Objects == 0 {
			return of, nil
		}
		offered = append(offered, tierText(of.Tier))
	}
	if len(offered) == 0 && len(o.offers) > 0 {
		return &o.offers[0], nil
	}
	return nil, usage("it has: "+strings.Join(offered, ", "), "the storage class has no tier %q", f.tier)
}

func tierText(t store.Tier) string {
	if t == store.NoTier {
		return "thaw"
	}
	return strings.ToLower(string(t))
}

// agree makes sure that the price is right: below the limit, and that somebody has seen it.
func (f *thawFlags) agree(ctx context.Context, c *console, o *outlook, of *thaw.Offer) error {
	limit, err := f.limit()
	if err != nil {
		return err
	}
	if limit != nil && (o.region == nil || len(of.Unknown) > 0) {
		return failure("give the prices with --prices, or leave --max-cost out", "what it costs is not known, so --max-cost cannot be kept to")
	}
	if limit != nil && of.Total > *limit {
		return &advice.Error{Err: &thaw.BudgetError{Max: *limit, Needed: of.Total, Currency: of.Currency}}
	}
	if f.yes || of.Thaw.Objects == 0 && of.Extend.Objects == 0 {
		return nil
	}
	question := "Thaw it?"
	if o.region != nil {
		question = sprintf("Thaw it for %s?", o.region.Format(of.Total))
	}
	return c.confirm(ctx, question)
}

// show prints what there is to thaw, and the offers.
func (o *outlook) show(c *console, chosen *thaw.Offer) {
	o.showClasses(c)
	if o.region == nil {
		c.note("no prices are known for this store: --price-region or --prices gives them")
		return
	}
	o.table(c, chosen)
	for i := range o.offers {
		if bad := o.offers[i].Unknown; len(bad) > 0 {
			c.note("prices are not known of: %s", strings.Join(bad, ", "))
			break
		}
	}
	speed := "assumed"
	down := thaw.AssumedDown
	if o.link.Down > 0 {
		speed, down = "measured or given", o.link.Down
	}
	c.print("the columns of routes are totals, for a link of %v/s (%s); prices of %s\n", units.Size(down), speed, o.region.Key())
}

// showClasses prints what lies in cold classes, and how it is.
func (o *outlook) showClasses(c *console) {
	var classes []string
	for _, g := range o.survey.Groups {
		if g.Cold && !slices.Contains(classes, g.Class) {
			classes = append(classes, g.Class)
		}
	}
	for _, class := range classes {
		c.print("  in %s: %s\n", class, o.states(class))
	}
	if n := o.survey.Missing; n.Objects > 0 {
		c.warn("gone from the store: %s", o.things(n.Objects))
	}
}

// table prints a line for each tier, with the price by each route.
func (o *outlook) table(c *console, chosen *thaw.Offer) {
	var routes []string
	for _, of := range o.offers {
		if !slices.Contains(routes, of.Route) && of.Route != price.OtherRegion {
			routes = append(routes, of.Route)
		}
	}
	slices.SortStableFunc(routes, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	titles := []string{"tier", ">thaw", ">copies"}
	for _, r := range routes {
		titles = append(titles, ">"+r)
	}
	t := c.table(append(titles, ">first byte", ">last byte", ">kept", ">windows", "")...)
	done := map[store.Tier]bool{}
	for i := range o.offers {
		of := &o.offers[i]
		if done[of.Tier] {
			continue
		}
		done[of.Tier] = true
		copies := of.Bill.Of(price.WhatCopy)
		name := tierText(of.Tier)
		if of.Thaw.Objects == 0 {
			name = "download"
		}
		row := []string{name, o.region.Format(of.Total - copies - of.Bill.Of(price.WhatEgress)), o.region.Format(copies)}
		for _, r := range routes {
			cell := ""
			for k := range o.offers {
				if o.offers[k].Tier == of.Tier && o.offers[k].Route == r {
					cell = o.region.Format(o.offers[k].Total)
				}
			}
			row = append(row, cell)
		}
		windows, mark := "", ""
		if of.Windows > 1 {
			windows = units.Count(int64(of.Windows))
		}
		if chosen != nil && of.Tier == chosen.Tier {
			mark = "<"
		}
		t.row(append(row, longDuration(of.First), longDuration(of.Last), counted(int64(of.Days), "day"), windows, mark)...)
	}
	t.print()
}

func rank(route string) int {
	if route == price.Direct {
		return 0
	}
	return 1
}

// states says how the objects of a class are.
func (o *outlook) states(class string) string {
	var out []string
	var soonest time.Time
	for i := range o.survey.Needs {
		if f := o.survey.At(i); f.Class == class && f.Copy.State == store.Thawed && (soonest.IsZero() || f.Copy.Expires.Before(soonest)) {
			soonest = f.Copy.Expires
		}
	}
	for _, g := range o.survey.Groups {
		if g.Class != class || !g.Cold {
			continue
		}
		text := sprintf("%s of %v", o.things(g.Objects), units.Size(g.Bytes))
		if !o.metas {
			text += sprintf(", %v of them wanted", units.Size(g.Wanted))
		}
		switch g.Copy {
		case store.Thawed:
			text += ", thawed"
			if !soonest.IsZero() {
				text += " until " + soonest.Local().Format(timeFormat)
			}
		case store.Thawing:
			text += ", being thawed"
		default:
			text += ", to be thawed"
		}
		out = append(out, text)
	}
	return strings.Join(out, "; ")
}

// offerJSON is an offer in the JSON of plans.
type offerJSON struct {
	Tier     string      `json:"tier"`
	Route    string      `json:"route"`
	Days     int         `json:"days"`
	Total    price.Money `json:"total"`
	Currency string      `json:"currency"`
	Thaw     price.Money `json:"thaw"`
	Copies   price.Money `json:"copies"`
	Egress   price.Money `json:"egress"`
	First    float64     `json:"first"` // seconds
	Last     float64     `json:"last"`
	Windows  int         `json:"windows"`
	Objects  int64       `json:"objects"` // to be thawed
	Bytes    int64       `json:"bytes"`
	Unknown  []string    `json:"unknown,omitempty"`
}

func (o *outlook) json() []offerJSON {
	out := []offerJSON{}
	for _, of := range o.offers {
		copies, egress := of.Bill.Of(price.WhatCopy), of.Bill.Of(price.WhatEgress)
		out = append(out, offerJSON{tierText(of.Tier), of.Route, of.Days, of.Total, of.Currency, of.Total - copies - egress, copies, egress,
			of.First.Seconds(), of.Last.Seconds(), of.Windows, of.Thaw.Objects, of.Thaw.Bytes, of.Unknown})
	}
	return out
}

// thawHeader is what a job remembers of an offer.
func (f *thawFlags) header(of *thaw.Offer, o *outlook, purpose, key string) (thaw.Header, error) {
	limit, err := f.limit()
	h := thaw.Header{Key: key, Purpose: purpose, Tier: of.Tier, Days: max(of.Days, 1), MaxCost: limit, Route: of.Route, Accepted: of.Total}
	if o.region != nil {
		h.Provider, h.Region = o.region.Provider, o.region.Name
	}
	return h, err
}

// change gives a job what the flags say now.
func (f *thawFlags) change(c *console, job *thaw.Job) error {
	h, changed := job.Header(), false
	tier, err := f.wantedTier()
	if err != nil {
		return err
	}
	if tier != "any" && tier != h.Tier {
		if n := job.Status().Thawing.Objects; n > 0 {
			c.note("%s are on their way with tier %s, which is paid for; %s is for what is asked for from now on", counted(n, "pack"), tierText(h.Tier), tierText(tier))
		}
		h.Tier, changed = tier, true
	}
	if f.days > 0 && f.days != h.Days {
		h.Days, changed = f.days, true
	}
	limit, err := f.limit()
	if err != nil {
		return err
	}
	if limit != nil {
		h.MaxCost, changed = limit, true
	}
	if !changed {
		return nil
	}
	return job.Update(h, c.now())
}

// run options that the flags give.
func (f *thawFlags) runOptions(s *session, o *outlook) thaw.RunOptions {
	return thaw.RunOptions{Store: s.st, Survey: o.survey, Region: o.region, Link: o.link, NoWait: f.detach, Slower: f.slower, Poll: f.poll}
}

// jobState is local state, or nil where nothing is to be kept.
func (s *session) jobState() *state.State {
	if s.dry {
		return nil
	}
	return s.state
}
