package price

import (
	"math"
	"time"
)

// per1000 is the price of n requests.
func per1000(price Money, n int64) Money { return price * Money(float64(n)/1000) }

// perGB is the price of bytes.
func (r *Region) perGB(price Money, bytes float64) Money { return price * Money(bytes/r.GB) }

// months is how many months a stay is. A negative one counts as none.
func months(d time.Duration) float64 { return math.Max(0, float64(d)/float64(Month)) }

// priced begins a line about a class, which is nil where the table does not know it.
func (r *Region) priced(what, class string, n, bytes int64) (Line, *Class) {
	l := Line{What: what, Class: class, Count: n, Bytes: bytes}
	c, ok := r.Class(class)
	if !ok {
		l.Unknown = true
		return l, nil
	}
	l.Class = c.Name
	return l, c
}

// Put is n objects of bytes in all, each sent with one request.
func (r *Region) Put(class string, n, bytes int64) Line {
	l, c := r.priced(WhatPut, class, n, bytes)
	if c != nil {
		l.Cost = per1000(c.Put, n)
	}
	return l
}

// PutParts is n objects sent in parts in all: for each object a request to begin, one for each of its parts, and one to complete it.
func (r *Region) PutParts(class string, n, parts, bytes int64) Bill {
	done, c := r.priced(WhatPut, class, n, bytes)
	if c == nil {
		return Bill{done}
	}
	done.Cost = per1000(c.Put, n)
	of := c.Parts
	if of == "" {
		of = c.Name
	}
	sent := r.Put(of, n+parts, 0)
	sent.What = WhatPart
	return Bill{done, sent}
}

// Get is n reads of bytes in all, the price of retrieving what needs no thawing included.
func (r *Region) Get(class string, n, bytes int64) Line {
	l, c := r.priced(WhatGet, class, n, bytes)
	if c != nil {
		l.Cost = per1000(c.Get, n) + r.perGB(c.Retrieval, float64(bytes))
	}
	return l
}

// List is n requests to list, of up to 1,000 objects each.
func (r *Region) List(n int64) Line {
	l, c := r.priced(WhatList, "", n, 0)
	if c != nil {
		l.Cost = per1000(c.List, n)
	}
	return l
}

// Lists is how many requests list so many objects.
func Lists(objects int64) int64 { return max(1, (objects+999)/1000) }

// Hold keeps objects of bytes in all for a time: storage, least billed sizes by the average, and overheads.
func (r *Region) Hold(class string, objects, bytes int64, d time.Duration) Bill {
	return r.HoldMonths(class, objects, bytes, months(d))
}

// HoldMonths is Hold for a number of months (see Months).
func (r *Region) HoldMonths(class string, objects, bytes int64, months float64) Bill {
	l, c := r.priced(WhatStorage, class, objects, bytes)
	if c == nil {
		return Bill{l}
	}
	l.Bytes = max(bytes, sized(objects, c.MinBytes))
	l.Cost = r.perGB(c.Storage, float64(l.Bytes)*months)
	bill := Bill{l}
	if extra := sized(objects, c.Overhead); extra > 0 {
		bill = append(bill, Line{What: WhatOverhead, Class: c.Name, Count: objects, Bytes: extra, Cost: r.perGB(c.Storage, float64(extra)*months)})
	}
	if extra := sized(objects, c.OverheadHot); extra > 0 {
		hot, std := r.priced(WhatOverheadHot, "", objects, extra)
		if std != nil {
			hot.Cost = r.perGB(std.Storage, float64(extra)*months)
		}
		bill = append(bill, hot)
	}
	return bill
}

// sized is n times bytes, without overflow.
func sized(n, bytes int64) int64 {
	if n <= 0 || bytes <= 0 {
		return 0
	}
	if n > math.MaxInt64/bytes {
		return math.MaxInt64
	}
	return n * bytes
}

// AtLeast returns the line that brings a bill of storage up to the least charge of so many months; its Cost is 0 where the bill is no less.
func (r *Region) AtLeast(bill Bill, months float64) Line {
	return Line{What: WhatLeast, Class: r.Default, Cost: max(0, r.Least*Money(months)-bill.Total())}
}

// Early is what deleting objects of that age, or moving them to another class, costs: the rest of the least stay.
func (r *Region) Early(class string, objects, bytes int64, age time.Duration) Bill {
	l, c := r.priced(WhatEarly, class, objects, bytes)
	if c == nil {
		return Bill{l}
	}
	rest := months(c.MinStay() - max(0, age))
	if rest == 0 {
		return nil
	}
	l.Bytes = max(bytes, sized(objects, c.MinBytes))
	l.Cost = r.perGB(c.Storage, (float64(l.Bytes)+float64(sized(objects, c.Overhead)))*rest)
	return Bill{l}
}

// Thaw is what a readable copy of cold objects costs for some days: requests, retrieval, and the copy itself, billed as the default class. It fails with
// *UnknownError where the table does not know the class or the tier, or the class is not cold.
func (r *Region) Thaw(class, tier string, objects, bytes int64, days float64) (Bill, error) {
	c, ok := r.Class(class)
	if !ok {
		return nil, unknown("class", class, r.Key(), r.classNames())
	}
	t, ok := c.Tier(tier)
	if !ok {
		return nil, unknown("tier", tier, r.Key()+" "+c.Name, c.tierNames())
	}
	bill := Bill{
		{What: WhatThaw, Class: c.Name, Count: objects, Cost: per1000(t.Per1000, objects)},
		{What: WhatRetrieval, Class: c.Name, Count: objects, Bytes: bytes, Cost: r.perGB(t.PerGB, float64(bytes))},
	}
	kept, std := r.priced(WhatCopy, "", objects, bytes)
	if std != nil {
		kept.Cost = r.perGB(std.Storage, float64(bytes)*math.Max(0, days)*24/Month.Hours())
	}
	return append(bill, kept), nil
}

// Cheapest returns the tier that thaws objects of bytes in all for the least; nil where the class is not cold. Of several it is the fastest.
func (r *Region) Cheapest(class string, objects, bytes int64) *Tier {
	c, ok := r.Class(class)
	if !ok {
		return nil
	}
	var best *Tier
	var least Money
	for i := range c.Tiers {
		t := &c.Tiers[i]
		cost := per1000(t.Per1000, objects) + r.perGB(t.PerGB, float64(bytes))
		if best == nil || cost < least || cost == least && t.Last < best.Last {
			best, least = t, cost
		}
	}
	return best
}

// Egress is bytes that leave over a route in a month in which already were used up before. What is fetched is taken to be stored.
func (r *Region) Egress(route string, bytes, already int64) Line {
	return r.EgressStored(route, bytes, already, bytes)
}

// EgressStored is Egress where stored bytes are stored in all, which some providers allow to fetch for nothing.
func (r *Region) EgressStored(route string, bytes, already, stored int64) Line {
	l := Line{What: WhatEgress, Bytes: bytes, Class: route}
	way, ok := r.Route(route)
	if !ok {
		l.Unknown = true
		return l
	}
	l.Class = way.Name
	free := way.FreeGB*r.GB + way.FreeStored*float64(stored)
	l.Cost = r.stepped(way, float64(already)+float64(bytes)-free) - r.stepped(way, float64(already)-free)
	return l
}

// stepped is the price of the first bytes of a month.
func (r *Region) stepped(way *Route, bytes float64) Money {
	var sum Money
	below := 0.0
	for _, s := range way.Steps {
		upper := math.Inf(1)
		if s.UpToGB > 0 {
			upper = s.UpToGB * r.GB
		}
		if bytes <= below {
			break
		}
		sum += r.perGB(s.PerGB, math.Min(bytes, upper)-below)
		below = upper
	}
	return sum
}

// Move puts objects from one class into another, in place. Cold ones are thawed first, by the cheapest tier, for a day. The rest of a least stay is not in
// it (Early), since it depends on the objects' ages. From a class to itself is nothing.
func (r *Region) Move(from, to string, objects, bytes int64) Bill {
	_, source := r.priced(WhatMove, from, objects, bytes)
	l, c := r.priced(WhatMove, to, objects, bytes)
	switch {
	case source == nil:
		return Bill{{What: WhatMove, Class: from, Count: objects, Bytes: bytes, Unknown: true}}
	case c == nil:
		return Bill{l}
	case c == source:
		return nil
	}
	bill := r.thawFirst(source, objects, bytes)
	l.Cost = per1000(c.Put, objects) + r.perGB(source.Retrieval, float64(bytes))
	return append(bill, l)
}

// thawFirst is the cheapest way to read what lies in a class; nothing where it is not cold.
func (r *Region) thawFirst(c *Class, objects, bytes int64) Bill {
	if !c.Cold {
		return nil
	}
	t := r.Cheapest(c.Name, objects, bytes)
	if t == nil {
		return Bill{{What: WhatThaw, Class: c.Name, Count: objects, Bytes: bytes, Unknown: true}}
	}
	bill, err := r.Thaw(c.Name, t.Name, objects, bytes, 1)
	if err != nil {
		return Bill{{What: WhatThaw, Class: c.Name, Count: objects, Bytes: bytes, Unknown: true}}
	}
	return bill
}

// Migrate copies objects from a class of one region into a class of another: read there, thawed first where they are cold, over the route between regions
// of one provider or else over the internet, and put here. Amounts are in the currencies of from (leave) and to (arrive).
func Migrate(from *Region, fromClass string, to *Region, toClass string, objects, bytes, already int64) (leave, arrive Bill) {
	_, c := from.priced(WhatGet, fromClass, objects, bytes)
	if c == nil {
		return Bill{{What: WhatGet, Class: fromClass, Count: objects, Bytes: bytes, Unknown: true}}, nil
	}
	route := Direct
	if _, ok := from.Route(OtherRegion); ok && from.Provider == to.Provider {
		route = OtherRegion
	}
	leave = append(from.thawFirst(c, objects, bytes), from.Get(fromClass, objects, bytes), from.Egress(route, bytes, already))
	return leave, Bill{to.Put(toClass, objects, bytes)}
}

// Sent is what a backup stores in one class.
type Sent struct {
	Class   string
	Objects int64
	Parts   int64 // of the objects that went in parts; 0: all went with one request each
	Bytes   int64
}

// Backup is what sending costs: the requests that store what was sent, lists and gets.
func (r *Region) Backup(sent []Sent, lists, gets int64) Bill {
	var bill Bill
	for _, s := range sent {
		switch {
		case s.Objects == 0 && s.Parts == 0:
		case s.Parts > 0:
			bill = append(bill, r.PutParts(s.Class, s.Objects, s.Parts, s.Bytes)...)
		default:
			bill = append(bill, r.Put(s.Class, s.Objects, s.Bytes))
		}
	}
	if lists > 0 {
		bill = append(bill, r.List(lists))
	}
	if gets > 0 {
		bill = append(bill, r.Get("", gets, 0))
	}
	return bill.Merge()
}

// Monthly is what keeping it costs a month.
func (r *Region) Monthly(sent []Sent) Bill {
	var bill Bill
	for _, s := range sent {
		bill = append(bill, r.HoldMonths(s.Class, s.Objects, s.Bytes, 1)...)
	}
	return bill.Merge()
}
