// Package price answers what requests, bytes and stays in object storage cost. The prices are data: a table of providers, regions and classes in
// prices.toml, each with its date and source, which a user's file can add to or correct, figure by figure (Parse, Table.With).
//
// # What is billed
//
// Storage is billed by the byte-hour: a month of storage is the bytes of every hour of a calendar month, added up and divided by the hours of that
// month, 672 to 744 (Amazon S3 FAQ, "How will I be charged"). A calendar month therefore costs the same however long it is. Months counts them exactly
// between two times; where only a duration is known, a month is Month, 730 hours, of which twelve make a year of 365 days.
//
// A GB is 2^30 bytes with Amazon, Google, Microsoft and Wasabi, 10^9 with others: the table says which (Region.GB).
//
// A class may bill small objects as larger (MinBytes), some bytes more for each object, in its own class or in the default one (Overhead, OverheadHot),
// and at least a number of days (MinDays, Region.Early). Least billed sizes are exact where the caller adds up Class.Billed of each object, else by
// the average. Prices are those of the first volume step: from 50 TB a month on some providers ask up to 10 % less, which is left out. Taxes and free
// allowances are left out, too, but for those of egress.
//
// Nothing here is rounded. Amounts are in the currency of the region.
package price

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Month is the length of a month where no dates are known: a twelfth of 365 days.
const Month = 730 * time.Hour

// DefaultClass names the class of objects for which none was chosen, with every provider that speaks S3.
const DefaultClass = "STANDARD"

// Names of routes that the table of this package knows. A region need not have all.
const (
	Direct      = "direct"       // from the store over the internet
	InRegion    = "in-region"    // to a machine of the same provider and region: what leaves that machine costs as Direct does
	OtherRegion = "other-region" // to another region of the same provider
	CDN         = "cdn"          // over the provider's, or a partner's, content delivery network
)

// Money is an amount in the currency of the region that it comes from.
type Money float64

// tiny is the least amount that is printed as it is.
const tiny Money = 1e-6

// String prints an amount of dollars for people: "$1,234.50", and small amounts with two digits that say something: "$0.0042", down to "<$0.000001".
func (m Money) String() string { return m.In("USD") }

// In prints an amount in a currency, by its three letters, as String does.
func (m Money) In(currency string) string {
	sign := ""
	if m < 0 {
		sign, m = "-", -m
	}
	if m > 0 && m < tiny {
		sign, m = "<"+sign, tiny
	}
	digits := amount(float64(m))
	switch currency {
	case "USD", "":
		return sign + "$" + digits
	case "EUR":
		return sign + "€" + digits
	case "GBP":
		return sign + "£" + digits
	}
	return sign + digits + " " + currency
}

// amount prints a number that is not negative.
func amount(v float64) string {
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "?"
	case v == 0:
		return "0.00"
	case v >= 0.0995:
		return grouped(strconv.FormatFloat(v, 'f', 2, 64))
	}
	places := min(9, 1-int(math.Floor(math.Log10(v))))
	s := strings.TrimRight(strconv.FormatFloat(v, 'f', places, 64), "0")
	for len(s) < len("0.00") {
		s += "0"
	}
	return s
}

// grouped puts commas between thousands.
func grouped(s string) string {
	whole, rest, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole + "." + rest
}

// Region is what one provider asks in one region.
type Region struct {
	Provider string
	Name     string
	Currency string  // three letters
	Date     string  // when the figures were looked up, YYYY-MM-DD
	Source   string  // where
	Note     string  // what is uncertain or left out; may be empty
	GB       float64 // bytes
	Least    Money   // a month, however little is stored
	Default  string  // class of objects for which none was chosen
	Classes  []Class // dearest storage first
	Routes   []Route // Direct first, then by name
}

// Key is "provider/name".
func (r *Region) Key() string { return r.Provider + "/" + r.Name }

// Format prints an amount in the region's currency.
func (r *Region) Format(m Money) string { return m.In(r.Currency) }

// Class finds a class by name or alias, in any case; "" is the default class.
func (r *Region) Class(name string) (*Class, bool) {
	if name == "" {
		name = r.Default
	}
	for i := range r.Classes {
		if r.Classes[i].is(name) {
			return &r.Classes[i], true
		}
	}
	return nil, false
}

// Find is Class that fails with *UnknownError.
func (r *Region) Find(name string) (*Class, error) {
	c, ok := r.Class(name)
	if !ok {
		return nil, unknown("class", name, r.Key(), r.classNames())
	}
	return c, nil
}

// Route finds a route by name; "" is Direct.
func (r *Region) Route(name string) (*Route, bool) {
	if name == "" {
		name = Direct
	}
	for i := range r.Routes {
		if strings.EqualFold(r.Routes[i].Name, name) {
			return &r.Routes[i], true
		}
	}
	return nil, false
}

// Class is what a storage class costs. Requests are priced by the thousand, storage by the GB and month, retrieval by the GB.
type Class struct {
	Name        string
	Aliases     []string // what else stores call it
	Cold        bool     // has to be thawed before it can be read
	Storage     Money
	Put         Money
	Get         Money
	List        Money // asked by Region.List of the default class
	Retrieval   Money // of reading an object that needs no thawing
	Tiers       []Tier
	MinDays     int    // least stay that is billed
	MinBytes    int64  // least size of an object that is billed
	Overhead    int64  // bytes billed in this class for each object on top
	OverheadHot int64  // bytes billed in the default class for each object on top
	Parts       string // class at whose rates the parts of an upload, and its beginning, are billed; only its completion is at this class's. Empty: this one
	Note        string
}

func (c *Class) is(name string) bool {
	if strings.EqualFold(c.Name, name) {
		return true
	}
	for _, a := range c.Aliases {
		if strings.EqualFold(a, name) {
			return true
		}
	}
	return false
}

// Billed returns the size at which an object of size bytes is billed, without overheads.
func (c *Class) Billed(size int64) int64 { return max(size, c.MinBytes) }

// MinStay is the least stay that is billed.
func (c *Class) MinStay() time.Duration { return time.Duration(c.MinDays) * 24 * time.Hour }

// Tier finds a tier by name, in any case.
func (c *Class) Tier(name string) (*Tier, bool) {
	for i := range c.Tiers {
		if strings.EqualFold(c.Tiers[i].Name, name) {
			return &c.Tiers[i], true
		}
	}
	return nil, false
}

// Tier is a way to thaw.
type Tier struct {
	Name    string // in the words of S3: "Expedited", "Standard", "Bulk"; "" where a store has no tiers
	PerGB   Money
	Per1000 Money         // requests
	First   time.Duration // when the first objects are there, as the provider says
	Last    time.Duration // when all are
}

// Route is a way for bytes out of a store.
type Route struct {
	Name       string
	FreeGB     float64 // a month
	FreeStored float64 // also free a month: so many times what is stored
	Steps      []Step  // in order; none: free
	Note       string
}

// Step is the price of the GB of a month up to UpToGB of them, not counting those that are free.
type Step struct {
	UpToGB float64 // 0: the last step
	PerGB  Money
}

// Line is one item of a bill.
type Line struct {
	What    string // "storage", "put", "retrieval", …: the What… constants
	Class   string
	Count   int64 // requests or objects
	Bytes   int64
	Cost    Money
	Unknown bool // the table does not know what it costs; Cost is 0
}

// What a line is for.
const (
	WhatStorage     = "storage"
	WhatOverhead    = "overhead"        // for each object, in its own class
	WhatOverheadHot = "overhead in hot" // for each object, in the default class
	WhatLeast       = "least charge"
	WhatPut         = "put"
	WhatPart        = "parts"
	WhatGet         = "get"
	WhatList        = "list"
	WhatThaw        = "thaw requests"
	WhatRetrieval   = "retrieval"
	WhatCopy        = "temporary copy"
	WhatEgress      = "egress"
	WhatEarly       = "early deletion"
	WhatMove        = "move"
)

// Bill is a list of items.
type Bill []Line

// Total adds up what is known.
func (b Bill) Total() Money {
	var sum Money
	for _, l := range b {
		sum += l.Cost
	}
	return sum
}

// Of adds up the lines for one thing.
func (b Bill) Of(what string) Money {
	var sum Money
	for _, l := range b {
		if l.What == what {
			sum += l.Cost
		}
	}
	return sum
}

// Unknown names the classes and routes of which the table knows no price, each once.
func (b Bill) Unknown() []string {
	var names []string
	seen := map[string]bool{}
	for _, l := range b {
		if l.Unknown && !seen[l.Class] {
			seen[l.Class] = true
			names = append(names, l.Class)
		}
	}
	return names
}

// Merge adds up the lines for the same thing and class, in order of their first appearance.
func (b Bill) Merge() Bill {
	type key struct{ what, class string }
	at := map[key]int{}
	var out Bill
	for _, l := range b {
		k := key{l.What, l.Class}
		i, ok := at[k]
		if !ok {
			at[k] = len(out)
			out = append(out, l)
			continue
		}
		o := &out[i]
		o.Count, o.Bytes, o.Cost, o.Unknown = o.Count+l.Count, o.Bytes+l.Bytes, o.Cost+l.Cost, o.Unknown || l.Unknown
	}
	return out
}

// UnknownError tells that the table lacks something.
type UnknownError struct {
	What    string   // "provider", "region", "class", "tier", "route"
	Name    string   // what was asked for
	Of      string   // of which provider, region or class
	Nearest []string // what is meant, perhaps, the likeliest first
	Known   []string // all that there are
}

func (e *UnknownError) Error() string {
	text := fmt.Sprintf("no prices for %s %q", e.What, e.Name)
	if e.Of != "" {
		text += " of " + e.Of
	}
	return text
}

// Months counts months as they are billed: each hour is its share of the calendar month, in UTC, that it lies in. It is negative where to is before
// from.
func Months(from, to time.Time) float64 {
	if to.Before(from) {
		return -Months(to, from)
	}
	from, to = from.UTC(), to.UTC()
	first := time.Date(from.Year(), from.Month(), 1, 0, 0, 0, 0, time.UTC)
	last := time.Date(to.Year(), to.Month(), 1, 0, 0, 0, 0, time.UTC)
	whole := (last.Year()-first.Year())*12 + int(last.Month()) - int(first.Month())
	return float64(whole) - shareOfMonth(first, from) + shareOfMonth(last, to)
}

func shareOfMonth(first, t time.Time) float64 {
	return float64(t.Sub(first)) / float64(first.AddDate(0, 1, 0).Sub(first))
}
