package cli

import (
	"fmt"
	"math"
	"strings"
	"time"

	"firn/internal/advice"
	"firn/internal/cost"
	"firn/internal/price"
	"firn/internal/store"
	"firn/internal/units"
)

// show prints tables for people.
func (x *costCommand) show(p *costPicture) {
	x.showNow(p)
	x.showMonths(p)
	x.showRestores(p)
	x.showOthers(p)
	x.tell(p)
}

func (x *costCommand) showNow(p *costPicture) {
	money := p.region.Format
	t := x.c.table("class", "kind", ">objects", ">size", ">a month")
	for _, h := range p.inv.Holdings {
		bill := h.Month(p.region)
		t.row(orDash(h.Class), string(h.Kind), units.Count(h.Objects), units.Size(h.Bytes).String(), orUnknown(bill, money(bill.Of(price.WhatStorage))))
	}
	bill := p.inv.Month(p.region)
	for _, l := range bill {
		switch {
		case l.What == price.WhatOverhead || l.What == price.WhatOverheadHot:
			t.row(l.Class, "overhead", "", units.Size(l.Bytes).String(), money(l.Cost))
		case l.What == price.WhatLeast && l.Cost > 0:
			t.row("", "least charge", "", "", money(l.Cost))
		}
	}
	objects, bytes := p.inv.Total()
	t.row("all", "", units.Count(objects), units.Size(bytes).String(), money(bill.Total()))
	t.print()
}

// days counts days.
func days(n int) string {
	if n == 1 {
		return "1 day"
	}
	return units.Count(int64(n)) + " days"
}

// orUnknown is text, or a mark where the table does not know all of a bill.
func orUnknown(b price.Bill, text string) string {
	if len(b.Unknown()) > 0 {
		return "unknown"
	}
	return text
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (x *costCommand) showMonths(p *costPicture) {
	money, g := p.region.Format, p.outlook.Growth
	months := p.stay.Forecast
	end := months[len(months)-1]
	x.c.print("\n")
	if p.last != nil {
		st := p.last.Item.Stats
		x.c.print("last backup: %s, %s, stored %v in %s: about %s for requests, and %s a month\n", advice.SourceName(p.last.Item.Source), p.last.Item.Start.Local().Format(timeFormat),
			units.Size(st.BytesStored), counted(st.PacksAdded, "pack"), money(p.last.Bill.Total()), money(p.last.Month.Total()))
	}
	switch {
	case p.keyless:
		x.c.print("growth: unknown without a key; the months ahead are shown as if nothing were added\n")
	case g.Backups == 0:
		x.c.print("growth: none to see yet, since no source has a second backup in the last %s\n", days(x.growthDays))
	default:
		x.c.print("growth: %v a day, from %s in %s\n", units.Size(g.Bytes), counted(int64(g.Backups), "backup"), days(int(math.Ceil(g.Span.Hours()/24))))
	}
	x.c.print("next %s: %s, the last of them %s with %v; everything is taken to be kept\n", counted(int64(len(months)), "month"), money(cost.Sum(months)), money(end.Total()), units.Size(end.Bytes))
	if x.plot {
		x.c.print("\n%s", plotMonths(p, months, terminalWidth(), speaksUTF8()))
	}
}

// showRestores prints one row for each tier, with a column for each route.
func (x *costCommand) showRestores(p *costPicture) {
	all := p.stay.Restores
	if len(all) == 0 || all[0].Objects == 0 {
		return
	}
	money := p.region.Format
	titles := []string{"full restore", ">thaw", ">read"}
	for _, o := range all {
		if o.Tier != all[0].Tier {
			break
		}
		titles = append(titles, ">"+o.Route)
	}
	titles = append(titles, ">first byte", ">last thawed")
	t := x.c.table(titles...)
	for i := 0; i < len(all); {
		o := all[i]
		row := []string{o.TierName(), zeroEmpty(o.Thaw.Total(), money), money(o.Get.Total())}
		for ; i < len(all) && all[i].Tier == o.Tier; i++ {
			row = append(row, money(all[i].Total()))
		}
		t.row(append(row, hoursText(o.First, o.Last == 0), hoursText(o.Last, o.Last == 0))...)
	}
	x.c.print("\n")
	t.print()
	kept := ""
	if all[0].Last > 0 {
		kept = sprintf("; thawed copies are kept for %v days", x.days)
	}
	x.c.print("of %v; the columns of routes are totals, in-region is to a machine there%s\n", units.Size(all[0].Bytes), kept)
}

func zeroEmpty(m price.Money, money func(price.Money) string) string {
	if m == 0 {
		return ""
	}
	return money(m)
}

// hoursText prints how long a thaw takes.
func hoursText(d time.Duration, none bool) string {
	switch {
	case none:
		return ""
	case d == 0:
		return "at once"
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(math.Round(d.Hours())))
}

func (x *costCommand) showOthers(p *costPicture) {
	if len(p.others) == 0 {
		return
	}
	t := x.c.table("where", "class", ">a month", ">"+counted(int64(x.months), "month"), ">full restore", ">to get there", ">moved")
	row := func(where string, a *cost.Alternative, move string) {
		restore := ""
		if o := cost.Cheapest(a.Restores); o != nil {
			restore = a.Region.Format(o.Total())
		}
		t.row(where, orDash(a.Class), a.Region.Format(a.Month), a.Region.Format(cost.Sum(a.Forecast)), restore, move, sizeOrEmpty(a.Moved))
	}
	row(p.region.Key(), p.stay, "")
	for _, o := range p.others {
		row(o.Region.Key(), o.Alternative, p.moving(o.Alternative))
	}
	x.c.print("\n")
	t.print()
	x.c.print("a full restore is the cheapest over the internet; to get there: thawing, reading, sending, storing, and the rest of least stays\n")
}

func sizeOrEmpty(n int64) string {
	if n == 0 {
		return ""
	}
	return units.Size(n).String()
}

// moving is what it costs to get to an alternative, in one currency or two.
func (p *costPicture) moving(a *cost.Alternative) string {
	here, there, known := a.Moving(p.region)
	switch {
	case !known:
		return "unknown"
	case there == 0:
		return p.region.Format(here)
	}
	return p.region.Format(here) + " + " + a.Region.Format(there)
}

// tell says whose prices these are, and what it cost to find out.
func (x *costCommand) tell(p *costPicture) {
	r := p.region
	x.c.print("\nprices: %s, %s, %s\n", r.Key(), r.Date, r.Source)
	if r.Note != "" {
		x.c.print("        %s\n", r.Note)
	}
	if p.inv.Listed {
		x.c.print("listing took %s, %s\n", counted(p.inv.Requests, "request"), r.Format(r.List(p.inv.Requests).Cost))
	} else {
		x.c.print("estimated from the indexes: packs and their parity only, in the classes in which they were stored\n")
	}
	x.tellVersions(p)
	if unknown := p.inv.Month(r).Unknown(); len(unknown) > 0 {
		x.c.warn("no prices for class %s: they are left out of all sums", strings.Join(unknown, ", "))
	}
}

// tellVersions says what is kept of what was replaced or deleted, and how one gets rid of it.
func (x *costCommand) tellVersions(p *costPicture) {
	v := p.inv.Versions
	switch {
	case v.Hidden:
		x.c.note("the bucket may keep old versions of objects, which are billed: the right s3:ListBucketVersions is missing, so they are not counted")
		return
	case v.Keeping == store.KeepsNothing:
		return
	}
	objects, bytes, month := int64(0), int64(0), price.Money(0)
	for _, h := range p.inv.Holdings {
		if h.Kind == cost.Old {
			objects, bytes, month = objects+h.Objects, bytes+h.Bytes, month+h.Month(p.region).Total()
		}
	}
	x.c.print("the bucket keeps versions: %s of what was replaced or deleted, %v, cost %s a month, and %s\n", counted(objects, "version"), units.Size(bytes), p.region.Format(month),
		counted(v.Marks, "mark")+" of deletion")
	if objects > 0 {
		x.c.print("        what firn prune deletes leaves none; a rule of the bucket that expires noncurrent versions removes the others\n")
	}
}
