package cost

import (
	"firn/internal/price"
)

// Alternative is what a repository would cost elsewhere. Amounts are in the currency of Region, but Leave and Early, which are in that of where it is now.
type Alternative struct {
	Region    *price.Region
	Class     string // of packs and their parity
	Inventory *Inventory
	Month     price.Money
	Forecast  []Period
	Restores  []Restore

	Moved  int64       // bytes
	Leave  price.Bill  // to thaw, read and send, or to move in place
	Early  price.Money // the rest of least stays
	Arrive price.Bill  // to store there
}

// Outlook is what months, growth and retention a comparison looks at.
type Outlook struct {
	Growth Growth
	Months int
	Kept   Kept
	Days   float64 // that thawed copies are kept
}

// Stay is the repository where it is, to compare with.
func Stay(r *price.Region, inv *Inventory, o Outlook) *Alternative {
	a := &Alternative{Region: r, Class: inv.Bulk(), Inventory: inv}
	a.fill(o)
	return a
}

// Compare says what a repository in region from would cost in another class or region, or both, and what it costs to get there: in place where the region
// stays the same, else by reading it here and storing it there. An empty class stays the same, or becomes the nearest that there is: the cheapest cold one for
// a cold one, the default for any other. It fails with *price.UnknownError.
func Compare(from *price.Region, inv *Inventory, to *price.Region, class string, o Outlook) (*Alternative, error) {
	target, err := nearest(from, inv.Bulk(), to, class)
	if err != nil {
		return nil, err
	}
	a := &Alternative{Region: to, Class: target.Name, Inventory: &Inventory{At: inv.At, Listed: inv.Listed}}
	same := from.Key() == to.Key()
	gone := map[string]bool{}
	for _, h := range inv.Holdings {
		if h.Kind == Copies || h.Kind == Old {
			continue
		}
		moved := h
		switch {
		case h.Kind == Data || h.Kind == Parity && h.Class == inv.Bulk():
			moved.Class = target.Name
		case !same:
			moved.Class = to.Default
		}
		if c, ok := to.Class(moved.Class); ok {
			moved.Billed = max(h.Bytes, h.Objects*c.MinBytes)
		}
		a.Inventory.Holdings = append(a.Inventory.Holdings, moved)
		if same && moved.Class == h.Class {
			continue
		}
		a.Moved += h.Bytes
		if same {
			a.Leave = append(a.Leave, from.Move(h.Class, moved.Class, h.Objects, h.Bytes)...)
		} else {
			leave, arrive := price.Migrate(from, h.Class, to, moved.Class, h.Objects, h.Bytes, a.Moved-h.Bytes)
			a.Leave, a.Arrive = append(a.Leave, leave...), append(a.Arrive, arrive...)
		}
		if !gone[h.Class] {
			gone[h.Class] = true
			a.Early += inv.early[h.Class]
		}
	}
	a.Leave, a.Arrive = a.Leave.Merge(), a.Arrive.Merge()
	a.Inventory.sort(to)
	a.fill(o)
	return a, nil
}

// At is Compare with a place of a table: the provider's best known region where none is named, and where the provider is missing, too, another class here.
func At(t *price.Table, from *price.Region, inv *Inventory, provider, region, class string, o Outlook) (*Alternative, error) {
	to := from
	if provider != "" || region != "" {
		if provider == "" {
			provider = from.Provider
		}
		var err error
		if to, err = t.Region(provider, region); err != nil {
			return nil, err
		}
	}
	return Compare(from, inv, to, class, o)
}

// Moving is what it costs to get to an alternative, in the currency of where the repository is now, and what then is to be paid there, in that of there, 0 where both have one; false: the table does not know all of it.
func (a *Alternative) Moving(from *price.Region) (here, there price.Money, known bool) {
	here, there = a.Leave.Total()+a.Early, a.Arrive.Total()
	if from.Currency == a.Region.Currency {
		here, there = here+there, 0
	}
	return here, there, len(a.Leave.Unknown())+len(a.Arrive.Unknown()) == 0
}

func (a *Alternative) fill(o Outlook) {
	a.Month = a.Inventory.Month(a.Region).Total()
	a.Forecast = Forecast(a.Region, a.Inventory, o.Growth, o.Months, o.Kept)
	a.Restores = Restores(a.Region, a.Inventory, o.Days)
}

// Bulk is the class in which most of the content lies.
func (inv *Inventory) Bulk() string {
	var most Holding
	for _, h := range inv.Holdings {
		if h.Kind == Data && (most.Kind == "" || h.Bytes > most.Bytes) {
			most = h
		}
	}
	return most.Class
}

// nearest finds the class that objects of class now have in region to.
func nearest(from *price.Region, now string, to *price.Region, wanted string) (*price.Class, error) {
	if wanted != "" {
		return to.Find(wanted)
	}
	if c, ok := to.Class(now); ok {
		return c, nil
	}
	if c, ok := from.Class(now); ok && c.Cold {
		for i := len(to.Classes) - 1; i >= 0; i-- { // the cheapest storage is last
			if to.Classes[i].Cold {
				return &to.Classes[i], nil
			}
		}
	}
	return to.Find("")
}
