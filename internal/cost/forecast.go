package cost

import (
	"math"
	"time"

	"firn/internal/price"
	"firn/internal/snapshot"
)

const day = 24 * time.Hour

// Requests of one backup besides those that store packs: its index, pack set, snapshot and mark, and the listings before and after.
const (
	putsPerBackup  = 4
	listsPerBackup = 4
)

// Growth is how fast a repository grows. Rates are per day.
type Growth struct {
	Span    time.Duration // that was looked at
	Backups int           // in it, but for the first of each source, which is no growth; 0: nothing is known
	Bytes   float64       // of packs
	Packs   float64
	Runs    float64 // backups
}

// GrowthOf derives the growth from the statistics of the snapshots of the last window before now. Snapshots that a newer one of the same run replaces do
// not count.
func GrowthOf(items []snapshot.Item, now time.Time, window time.Duration) Growth {
	voided := snapshot.Voided(items)
	begin := now.Add(-window)
	oldest := now
	var g Growth
	for _, h := range snapshot.Histories(items) {
		first := true
		for _, it := range h.Items {
			if _, gone := voided[it.ID]; gone {
				continue
			}
			at := it.Start
			if at.Before(oldest) {
				oldest = at
			}
			if !first && !at.Before(begin) && !at.After(now) {
				g.Backups++
				g.Bytes += float64(it.Stats.BytesStored)
				g.Packs += float64(it.Stats.PacksAdded)
			}
			first = false
		}
	}
	if oldest.After(begin) {
		begin = oldest
	}
	g.Span = max(now.Sub(begin), day)
	days := float64(g.Span) / float64(day)
	g.Bytes, g.Packs, g.Runs = g.Bytes/days, g.Packs/days, float64(g.Backups)/days
	return g
}

// Kept tells how many of stored bytes, which would be there at a time if nothing were ever deleted, are there then.
type Kept func(at time.Time, stored float64) float64

// Everything is Kept where nothing is deleted.
func Everything(_ time.Time, stored float64) float64 { return stored }

// Period is one month of a forecast.
type Period struct {
	Start, End time.Time
	Bytes      int64 // at its end
	Storage    price.Money
	Requests   price.Money
}

// Total is what the month costs.
func (p Period) Total() price.Money { return p.Storage + p.Requests }

// Sum adds up a forecast.
func Sum(all []Period) (sum price.Money) {
	for _, p := range all {
		sum += p.Total()
	}
	return sum
}

// MaxMonths bounds a forecast.
const MaxMonths = 600

// Forecast says what each of the next months costs, from inv.At on, if the repository goes on to grow like g, spread over classes and kinds as what is there
// is. A month is billed at the mean of what is there at its beginning and at its end.
func Forecast(r *price.Region, inv *Inventory, g Growth, months int, kept Kept) []Period {
	if kept == nil {
		kept = Everything
	}
	_, stored := inv.Total()
	now := float64(stored)
	rate := g.Bytes // of all objects, a day
	if packs := inv.of(Data, Meta); packs > 0 {
		rate *= now / float64(packs)
	}
	at := func(t time.Time) float64 { return math.Max(0, kept(t, now+rate*float64(t.Sub(inv.At))/float64(day))) }
	var out []Period
	for i := range min(months, MaxMonths) {
		p := Period{Start: month(inv.At, i), End: month(inv.At, i+1)}
		days := float64(p.End.Sub(p.Start)) / float64(day)
		bytes := at(p.End)
		p.Bytes = int64(math.Min(bytes, math.MaxInt64/2))
		p.Storage = inv.scaled(scale((at(p.Start)+bytes)/2, now), r)
		p.Requests = inv.additions(scale(rate*days, now), r) + r.Backup([]price.Sent{{Objects: int64(math.Round(g.Runs * days * putsPerBackup))}}, int64(math.Round(g.Runs*days*listsPerBackup)), 0).Total()
		out = append(out, p)
	}
	return out
}

// month is i months after t; where that month is too short, its last day.
func month(t time.Time, i int) time.Time {
	next := t.AddDate(0, i, 0)
	if next.Day() != t.Day() {
		next = next.AddDate(0, 0, -next.Day())
	}
	return next
}

func scale(bytes, now float64) float64 {
	if now <= 0 {
		return 0
	}
	return bytes / now
}

func times(n int64, by float64) int64 { return int64(math.Min(float64(n)*by, math.MaxInt64/4)) }

// scaled is a month of the holdings, made larger or smaller; copies are gone by then.
func (inv *Inventory) scaled(by float64, r *price.Region) price.Money {
	var bill price.Bill
	for _, h := range inv.Holdings {
		switch h.Kind {
		case Copies:
		case Old: // nobody knows whether there will be more of them
			bill = append(bill, h.Month(r)...)
		default:
			bill = append(bill, r.HoldMonths(h.Class, times(h.Objects, by), times(h.Billed, by), 1)...)
		}
	}
	return bill.Total() + r.AtLeast(bill, 1).Cost
}

// additions is what it costs to store a share of the packs and parity that are there once more.
func (inv *Inventory) additions(share float64, r *price.Region) (sum price.Money) {
	for _, h := range inv.Holdings {
		if h.Kind == Data || h.Kind == Meta || h.Kind == Parity {
			sum += r.Put(h.Class, 1000, 0).Cost * price.Money(float64(h.Objects)*share/1000)
		}
	}
	return sum
}

// Backup is what one backup cost, by its statistics.
type Backup struct {
	Item  snapshot.Item
	Bill  price.Bill // requests
	Month price.Bill // of what it stored
}

// Last says what the newest backup that is done cost; false where there is none. class is that of its packs. Parity is taken to be in the measure in which
// inv has it, which may be nil.
func Last(r *price.Region, class string, items []snapshot.Item, inv *Inventory) (Backup, bool) {
	var newest *snapshot.Item
	for i := range items {
		if it := &items[i]; it.Status() == snapshot.IsDone && (newest == nil || it.Start.After(newest.Start)) {
			newest = it
		}
	}
	if newest == nil {
		return Backup{}, false
	}
	sent := Sent(class, newest.Stats.PacksAdded, newest.Stats.BytesStored, inv)
	return Backup{Item: *newest, Bill: r.Backup(sent, listsPerBackup, 0), Month: r.Monthly(sent)}, true
}

// Sent is what a backup that stores so many packs sends. inv, which may be nil, says how much parity goes with them.
func Sent(class string, packs, bytes int64, inv *Inventory) []price.Sent {
	sent := []price.Sent{{Class: class, Objects: packs, Bytes: bytes}, {Objects: putsPerBackup}}
	if inv == nil {
		return sent
	}
	if packed, parity := inv.of(Data, Meta), inv.of(Parity); packed > 0 && parity > 0 {
		sent = append(sent, price.Sent{Class: class, Objects: packs, Bytes: int64(float64(bytes) * float64(parity) / float64(packed))})
	}
	return sent
}
