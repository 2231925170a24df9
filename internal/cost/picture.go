package cost

import (
	"firn/internal/plot"
	"firn/internal/price"
	"firn/internal/units"
)

// Picture is a forecast as columns, one for each month, or for some months where there are many. The caller gives it a title.
func Picture(r *price.Region, months []Period) *plot.Columns {
	storage, requests := plot.Part{Name: "storage", Color: 0}, plot.Part{Name: "requests", Color: 1}
	c := &plot.Columns{Label: "month that begins then", Y: plot.Axis{Label: "cost of a month", Unit: Money(r)}, Ends: true}
	for _, m := range months {
		c.Slots = append(c.Slots, plot.Slot{Label: m.Start.Format("Jan"), Under: m.Start.Format("2006"), Title: m.Start.Format("2006-01-02") + ", " + units.Size(m.Bytes).String() + " stored at its end"})
		storage.Values, requests.Values = append(storage.Values, float64(m.Storage)), append(requests.Values, float64(m.Requests))
	}
	c.Parts = []plot.Part{storage, requests}
	return c
}

// Money is amounts in the currency of a region, on an axis.
func Money(r *price.Region) plot.Unit {
	return plot.Money(func(v float64) string { return r.Format(price.Money(v)) })
}
