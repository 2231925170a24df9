package cost

import (
	"cmp"
	"slices"
	"time"

	"firn/internal/price"
)

// Restore is what it costs to fetch everything: all packs of content and of manifests, each whole, and no parity.
type Restore struct {
	Tier        string // of all cold classes that have it, the others by their cheapest; "" where nothing is cold or the store has no tiers
	Route       string
	Objects     int64
	Bytes       int64
	Thaw        price.Bill // requests, retrieval and copies
	Get         price.Bill
	Egress      price.Line
	First, Last time.Duration // until the first and last pack of content can be fetched, as the provider says
}

// Total adds it all up.
func (o *Restore) Total() price.Money { return o.Thaw.Total() + o.Get.Total() + o.Egress.Cost }

// TierName is what the tier is called; where there is none, what there is instead.
func (o *Restore) TierName() string {
	switch {
	case o.Tier != "":
		return o.Tier
	case o.Last > 0:
		return "without tiers"
	}
	return "at once"
}

// Restores says what a full restore costs in each tier and by each route, sorted by tier, the cheapest first, then by route. Copies are kept for some days.
func Restores(r *price.Region, inv *Inventory, days float64) []Restore {
	needed := inv.needed()
	_, stored := inv.Total()
	var byTier []Restore
	for _, tier := range tiers(r, needed) {
		byTier = append(byTier, thawed(r, needed, tier, days))
	}
	slices.SortStableFunc(byTier, func(a, b Restore) int { return cmp.Compare(a.Thaw.Total(), b.Thaw.Total()) })
	var out []Restore
	for _, o := range byTier {
		for _, way := range r.Routes {
			if way.Name == price.OtherRegion {
				continue
			}
			o.Route, o.Egress = way.Name, r.EgressStored(way.Name, o.Bytes, 0, stored)
			out = append(out, o)
		}
	}
	return out
}

// needed is what a full restore reads.
func (inv *Inventory) needed() (out []Holding) {
	for _, h := range inv.Holdings {
		if h.Kind == Data || h.Kind == Meta {
			out = append(out, h)
		}
	}
	return out
}

// tiers lists the tiers of all classes that are to be thawed; one empty name where there is nothing to choose.
func tiers(r *price.Region, needed []Holding) (names []string) {
	for _, h := range needed {
		if c, ok := r.Class(h.Class); ok && c.Cold {
			for _, t := range c.Tiers {
				if !slices.Contains(names, t.Name) {
					names = append(names, t.Name)
				}
			}
		}
	}
	if len(names) == 0 {
		return []string{""}
	}
	return names
}

func thawed(r *price.Region, needed []Holding, tier string, days float64) Restore {
	o := Restore{Tier: tier, First: -1}
	for _, h := range needed {
		o.Objects, o.Bytes = o.Objects+h.Objects, o.Bytes+h.Bytes
		o.Get = append(o.Get, r.Get(h.Class, h.Objects, h.Bytes))
		c, ok := r.Class(h.Class)
		if !ok || !c.Cold {
			if ok && h.Kind == Data {
				o.First = 0
			}
			continue
		}
		t, ok := c.Tier(tier)
		if !ok {
			t = r.Cheapest(h.Class, h.Objects, h.Bytes)
		}
		bill, err := r.Thaw(h.Class, t.Name, h.Objects, h.Bytes, days)
		if err != nil {
			panic("cost: " + err.Error()) // class and tier are the table's own
		}
		o.Thaw = append(o.Thaw, bill...)
		if o.First < 0 || t.First < o.First {
			o.First = t.First
		}
		o.Last = max(o.Last, t.Last)
	}
	o.First, o.Thaw, o.Get = max(0, o.First), o.Thaw.Merge(), o.Get.Merge()
	return o
}

// Cheapest returns the restore that costs the least over the internet; nil where there is none.
func Cheapest(all []Restore) *Restore {
	for i := range all {
		if all[i].Route == price.Direct {
			return &all[i]
		}
	}
	return nil
}
