package thaw

import (
	"cmp"
	"math"
	"slices"
	"time"

	"firn/internal/price"
	"firn/internal/store"
)

// OfferOptions bound what is offered; zero values stand for the defaults.
type OfferOptions struct {
	Days     int      // that copies are kept; 0: chosen
	Hold     bool     // objects are made readable and not fetched
	Routes   []string // nil: all that the region knows
	Out      int64    // bytes that left the store this month before
	Patience float64  // how many times the shortest time to the last byte it may take where that makes it cheaper; default 1.25
}

// Offer is one way to have everything, with its price and time.
//
// # The model
//
// Let L be the link's speed, T the time that a tier takes at most (by bytes, where several classes are thawed), B the bytes wanted that are to be thawed, d the days
// that copies are kept. The window is W = Pessimism · L · d days: that much is asked for and not yet fetched at any time, see Window. An
// object stays in the window for T at least, so bytes come home at the rate R = min(L, W/T) (Little's law), or at L where B fits the window. The last byte is here
// after T + B/R, or later where what can be read at once takes the link for longer than T.
//
// A copy is billed for d + 1 days: Amazon S3 keeps it until the midnight (UTC) after d days, and bills it until then. More days
// cost more and may be faster; d is the least with which the last byte comes no later than Patience times as late as with the best of 1 to MaxDays. Held
// objects, which nobody fetches, are kept HoldDays.
type Offer struct {
	Tier     store.Tier
	Route    string
	Days     int        // that copies are kept
	Bill     price.Bill // at most
	Total    price.Money
	Currency string
	Unknown  []string      // classes and routes without a price, which are not in Total
	First    time.Duration // until the first byte can be had
	Last     time.Duration // until the last byte is here, or, of Hold, can be had
	Window   int64         // most bytes thawed at once
	Windows  int           // how many times that is; 1: all at once, 0: nothing is to be thawed
	Classes  []ClassOffer  // cold classes of which something is to be thawed

	Thaw    Tally // to be thawed and paid for
	Thawing Tally // on its way already
	Ready   Tally // to be read now, thawed or in a hot class
	Missing Tally // gone
	Extend  Tally // thawed, and to be kept for longer
}

// ClassOffer is how the objects of one class are thawed.
type ClassOffer struct {
	Class string
	Tier  store.Tier // differs from the Offer's where the class lacks that
	Tally            // to be thawed
}

// Bounds of the days that copies are kept.
const (
	MaxDays  = 30 // that are chosen
	HoldDays = 7
)

const day = 24 * time.Hour

// unknownTime is how long a tier is taken to need that the price table does not know: the slowest of Amazon S3.
const unknownTime = 48 * time.Hour

// Window is how many bytes may be asked for and not yet fetched at a time, where copies are kept for some days.
func Window(l Link, days int) int64 {
	return int64(min(Pessimism*l.down()*float64(days)*day.Seconds(), math.MaxInt64/4))
}

// Nearest returns the tier of a class that comes nearest to the one asked for: itself, else the next slower one, else the next faster.
func Nearest(c *price.Class, want store.Tier) store.Tier {
	for _, t := range append([]store.Tier{want}, instead(want)...) {
		if _, ok := c.Tier(string(t)); ok {
			return t
		}
	}
	if len(c.Tiers) > 0 {
		return store.Tier(c.Tiers[0].Name)
	}
	return want
}

// instead returns what to try where there is no such tier. What is slower, and cheaper, comes first; Expedited, which is dear, never.
func instead(t store.Tier) []store.Tier {
	switch t {
	case store.Expedited:
		return []store.Tier{store.Standard, store.Bulk, store.NoTier}
	case store.Standard:
		return []store.Tier{store.Bulk, store.NoTier}
	case store.Bulk:
		return []store.Tier{store.Standard, store.NoTier}
	}
	return []store.Tier{store.Standard, store.Bulk}
}

// Offers returns a way for each tier that a class concerned has and for each route, cheapest first, of those that cost the same fastest first. Where
// nothing has to be thawed there is one for each route.
func Offers(region *price.Region, s *Survey, link Link, o OfferOptions) []Offer {
	if o.Patience < 1 {
		o.Patience = 1.25
	}
	m := offerer{region: region, s: s, link: link, o: o}
	routes := o.Routes
	if routes == nil {
		for _, r := range region.Routes {
			routes = append(routes, r.Name)
		}
	}
	if len(routes) == 0 || o.Hold {
		routes = []string{price.Direct}
	}
	var out []Offer
	for _, t := range m.tiers() {
		base := m.offer(t)
		for _, r := range routes {
			out = append(out, m.priced(base, r))
		}
	}
	slices.SortStableFunc(out, func(a, b Offer) int { return cmp.Or(cmp.Compare(a.Total, b.Total), cmp.Compare(a.Last, b.Last)) })
	return out
}

type offerer struct {
	region *price.Region
	s      *Survey
	link   Link
	o      OfferOptions
}

// tiers returns the tiers of the classes that are to be thawed.
func (m *offerer) tiers() []store.Tier {
	var tiers []store.Tier
	cold := false
	for _, g := range m.s.Groups {
		if !g.Cold || g.Copy != store.NoCopy {
			continue
		}
		cold = true
		c, ok := m.region.Class(g.Class)
		if !ok {
			continue
		}
		for _, t := range c.Tiers {
			if !slices.Contains(tiers, store.Tier(t.Name)) {
				tiers = append(tiers, store.Tier(t.Name))
			}
		}
	}
	if len(tiers) > 0 {
		return tiers
	}
	if cold {
		return []store.Tier{store.Standard}
	}
	return []store.Tier{store.NoTier}
}

// offer is all of an offer that does not depend on the route.
func (m *offerer) offer(tier store.Tier) Offer {
	of := Offer{Tier: tier, Currency: m.region.Currency, Missing: m.s.Missing}
	var t timing
	for _, g := range m.s.Groups {
		switch {
		case g.Cold && g.Copy == store.NoCopy:
			real := m.nearest(g.Class, tier)
			of.Classes = append(of.Classes, ClassOffer{Class: g.Class, Tier: real, Tally: g.Tally})
			of.Thaw.join(g.Tally)
			t.add(tierTimes(m.region, g.Class, real), g.Wanted)
		case g.Cold && g.Copy == store.Thawing:
			of.Thawing.join(g.Tally)
			t.add(tierTimes(m.region, g.Class, m.nearest(g.Class, tier)), 0)
		default:
			of.Ready.join(g.Tally)
		}
	}
	of.First = t.first
	if of.Ready.Objects > 0 || !t.any {
		of.First = 0
	}
	m.choose(&of, &t)
	of.Extend = m.extend(&of)
	return of
}

func (m *offerer) nearest(class string, tier store.Tier) store.Tier {
	if c, ok := m.region.Class(class); ok {
		return Nearest(c, tier)
	}
	return tier
}

// tierTimes returns the tier by which a class is thawed, as far as the price table knows it.
func tierTimes(r *price.Region, class string, tier store.Tier) price.Tier {
	if r != nil {
		if c, ok := r.Class(class); ok {
			if t, ok := c.Tier(string(tier)); ok {
				return *t
			}
		}
	}
	t := price.Tier{Name: string(tier), Last: unknownTime}
	if tier == store.Expedited {
		t.Last = 5 * time.Minute
	}
	return t
}

// timing sums up how long several classes take.
type timing struct {
	any         bool
	first, last time.Duration
	weighted    float64 // seconds · bytes
	bytes       float64
}

func (t *timing) add(tier price.Tier, wanted int64) {
	if !t.any || tier.First < t.first {
		t.first = tier.First
	}
	t.any, t.last = true, max(t.last, tier.Last)
	t.weighted += tier.Last.Seconds() * float64(wanted)
	t.bytes += float64(wanted)
}

// choose fixes Days, and with them Last and the window.
func (m *offerer) choose(of *Offer, t *timing) {
	of.Days = m.o.Days
	switch {
	case of.Days > 0:
	case m.o.Hold:
		of.Days = HoldDays
	default:
		best := time.Duration(math.MaxInt64)
		for d := 1; d <= MaxDays; d++ {
			best = min(best, m.last(of, t, d))
		}
		of.Days = 1
		for float64(m.last(of, t, of.Days)) > m.o.Patience*float64(best) {
			of.Days++
		}
	}
	of.Last = m.last(of, t, of.Days)
	if of.Thaw.Objects == 0 {
		return
	}
	of.Window, of.Windows = of.Thaw.Bytes, 1
	if w := Window(m.link, of.Days); !m.o.Hold && of.Thaw.Wanted > w {
		of.Windows = int((of.Thaw.Wanted + w - 1) / w)
		of.Window = int64(float64(of.Thaw.Bytes) * (float64(w) / float64(of.Thaw.Wanted)))
	}
}

// last is the time to the last byte if copies are kept for some days.
func (m *offerer) last(of *Offer, t *timing, days int) time.Duration {
	if m.o.Hold {
		return t.last
	}
	down := m.link.down()
	rate := down
	if w := float64(Window(m.link, days)); t.bytes > w {
		rate = min(down, w*t.bytes/max(t.weighted, 1))
	}
	now := seconds(float64(of.Ready.Wanted) / down)
	return max(now, t.last) + seconds(float64(of.Thawing.Wanted)/down) + seconds(t.bytes/rate)
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, 100*365*86400) * float64(time.Second))
}

// extend sums up the thawed objects that expire before the link gets to them, in order of need.
func (m *offerer) extend(of *Offer) Tally {
	var sum Tally
	if m.o.Hold || of.Ready.Objects == 0 {
		return sum
	}
	var ahead float64
	for i := range m.s.facts {
		f := &m.s.facts[i]
		if !f.cold || f.state != thawed {
			continue
		}
		ahead += float64(m.s.Needs[i].Wanted) // what is hot can wait
		if f.expires != 0 && m.s.Taken.Add(seconds(ahead/(Pessimism*m.link.down()))+extendMargin).Unix() > f.expires {
			sum.add(&m.s.Needs[i])
		}
	}
	return sum
}

// priced completes an offer for one route.
func (m *offerer) priced(of Offer, route string) Offer {
	of.Route = route
	var bill price.Bill
	for _, c := range of.Classes {
		bill = append(bill, thawBill(m.region, c.Class, c.Tier, c.Objects, c.Bytes, of.Days)...)
	}
	if of.Extend.Objects > 0 {
		bill = append(bill, m.extension(&of)...)
	}
	if !m.o.Hold {
		var wanted int64
		for _, g := range m.s.Groups {
			bill = append(bill, m.region.Get(g.Class, g.Gets, g.Wanted))
			wanted += g.Wanted
		}
		bill = append(bill, m.region.Egress(route, wanted, m.o.Out))
	}
	if of.Thaw.Objects+of.Thawing.Objects > 0 {
		bill = append(bill, m.polls(of.Last)...)
	}
	of.Bill = bill.Merge()
	of.Total, of.Unknown = of.Bill.Total(), of.Bill.Unknown()
	return of
}

// thawBill is what thawing costs at most; lines without a price where the table does not know the class.
func thawBill(r *price.Region, class string, tier store.Tier, objects, bytes int64, days int) price.Bill {
	bill, err := r.Thaw(class, string(tier), objects, bytes, float64(days+1))
	if err != nil {
		return price.Bill{{What: price.WhatThaw, Class: class, Count: objects, Bytes: bytes, Unknown: true}}
	}
	return bill
}

// extension is a request each, by the dearest class concerned, and the copies for as long again.
func (m *offerer) extension(of *Offer) price.Bill {
	var dearest price.Bill
	for _, g := range m.s.Groups {
		if !g.Cold || g.Copy != store.Thawed {
			continue
		}
		bill, err := m.region.Thaw(g.Class, string(m.nearest(g.Class, of.Tier)), of.Extend.Objects, of.Extend.Bytes, float64(of.Days+1))
		if err != nil {
			continue
		}
		bill = slices.DeleteFunc(bill, func(l price.Line) bool { return l.What == price.WhatRetrieval })
		if dearest == nil || bill.Total() > dearest.Total() {
			dearest = bill
		}
	}
	return dearest
}

// polls is what watching costs: what the survey did, each hour where it is much, and up to six times an hour where it is little.
func (m *offerer) polls(last time.Duration) price.Bill {
	hours := int64(last/time.Hour) + 1
	lists := m.s.Requests.List * hours
	if m.s.Requests.List <= 2 {
		lists *= 6
	}
	bill := price.Bill{m.region.List(lists)}
	if heads := m.s.Requests.Head*hours*6 + samples*hours*6; heads > 0 {
		bill = append(bill, m.region.Get("", heads, 0))
	}
	return bill
}

func (t *Tally) join(u Tally) {
	t.Objects, t.Bytes, t.Wanted, t.Gets = t.Objects+u.Objects, t.Bytes+u.Bytes, t.Wanted+u.Wanted, t.Gets+u.Gets
}

func (t *Tally) leave(u Tally) {
	t.Objects, t.Bytes, t.Wanted, t.Gets = t.Objects-u.Objects, t.Bytes-u.Bytes, t.Wanted-u.Wanted, t.Gets-u.Gets
}
