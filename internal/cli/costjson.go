package cli

import (
	"encoding/hex"
	"time"

	"firn/internal/cost"
	"firn/internal/price"
)

// Amounts in JSON are numbers in the currency of the line, which "currency" names.

// costJSON sums up: one line, the first.
type costJSON struct {
	Event       string      `json:"event"` // cost
	Provider    string      `json:"provider"`
	Region      string      `json:"region"`
	Currency    string      `json:"currency"`
	Date        string      `json:"date"` // of the prices
	Source      string      `json:"price_source"`
	Note        string      `json:"note,omitempty"`
	Listed      bool        `json:"listed"` // else estimated from the indexes
	Requests    int64       `json:"requests"`
	RequestCost price.Money `json:"request_cost"`
	Objects     int64       `json:"objects"`
	Bytes       int64       `json:"bytes"`
	Marks       int64       `json:"marks"` // of deletion
	Month       price.Money `json:"month"`
	Early       price.Money `json:"early_deletion"` // if all of it were deleted now
	Growth      growthJSON  `json:"growth"`
	Months      int         `json:"months"`
	Total       price.Money `json:"total"`   // of the months
	Unknown     []string    `json:"unknown"` // classes without prices
}

type growthJSON struct {
	Known   bool    `json:"known"`
	Days    float64 `json:"days"`
	Backups int     `json:"backups"`
	Bytes   float64 `json:"bytes_per_day"`
	Packs   float64 `json:"packs_per_day"`
	Keeps   string  `json:"retention"` // everything
}

type costClassJSON struct {
	Event    string      `json:"event"` // cost_class
	Class    string      `json:"class"`
	Kind     string      `json:"kind"`
	Objects  int64       `json:"objects"`
	Bytes    int64       `json:"bytes"`
	Billed   int64       `json:"bytes_billed"`
	Storage  price.Money `json:"storage"`  // a month
	Overhead price.Money `json:"overhead"` // a month
	Currency string      `json:"currency"`
}

type costMonthJSON struct {
	Event    string      `json:"event"` // cost_month
	Start    time.Time   `json:"start"`
	End      time.Time   `json:"end"`
	Bytes    int64       `json:"bytes"` // at the end
	Storage  price.Money `json:"storage"`
	Requests price.Money `json:"request_cost"`
	Total    price.Money `json:"total"`
	Currency string      `json:"currency"`
}

type costBackupJSON struct {
	Event    string      `json:"event"` // cost_backup
	Snapshot string      `json:"snapshot"`
	Time     time.Time   `json:"time"`
	Source   sourceJSON  `json:"source"`
	Bytes    int64       `json:"bytes"`
	Packs    int64       `json:"packs"`
	Requests price.Money `json:"request_cost"`
	Month    price.Money `json:"month"`
	Currency string      `json:"currency"`
}

type costRestoreJSON struct {
	Event    string      `json:"event"` // cost_restore
	Tier     string      `json:"tier"`
	Route    string      `json:"route"`
	Objects  int64       `json:"objects"`
	Bytes    int64       `json:"bytes"`
	Days     float64     `json:"days"`
	Thaw     price.Money `json:"thaw"`
	Read     price.Money `json:"read"`
	Egress   price.Money `json:"egress"`
	Total    price.Money `json:"total"`
	First    float64     `json:"first"` // seconds
	Last     float64     `json:"last"`
	Currency string      `json:"currency"`
}

type costElsewhereJSON struct {
	Event    string        `json:"event"` // cost_elsewhere
	WhatIf   string        `json:"what_if"`
	Provider string        `json:"provider"`
	Region   string        `json:"region"`
	Class    string        `json:"class"`
	Currency string        `json:"currency"`
	Month    price.Money   `json:"month"`
	Months   int           `json:"months"`
	Total    price.Money   `json:"total"`
	Restore  *price.Money  `json:"restore,omitempty"` // the cheapest over the internet
	Moved    int64         `json:"moved"`             // bytes
	Leave    amountOfMoney `json:"leave"`
	Arrive   amountOfMoney `json:"arrive"`
	Unknown  []string      `json:"unknown"`
}

type amountOfMoney struct {
	Amount   price.Money `json:"amount"`
	Currency string      `json:"currency"`
}

// objects prints everything as JSON.
func (x *costCommand) objects(p *costPicture) error {
	lines := append([]any{x.summary(p)}, x.classes(p)...)
	if p.last != nil {
		it := p.last.Item
		lines = append(lines, costBackupJSON{Event: "cost_backup", Snapshot: hex.EncodeToString(it.ID[:]), Time: it.Start.UTC(), Source: originJSON(it.Source, it.Host), Bytes: it.Stats.BytesStored,
			Packs: it.Stats.PacksAdded, Requests: p.last.Bill.Total(), Month: p.last.Month.Total(), Currency: p.region.Currency})
	}
	for _, m := range p.stay.Forecast {
		lines = append(lines, costMonthJSON{"cost_month", m.Start.UTC(), m.End.UTC(), m.Bytes, m.Storage, m.Requests, m.Total(), p.region.Currency})
	}
	for _, o := range p.stay.Restores {
		lines = append(lines, costRestoreJSON{"cost_restore", o.Tier, o.Route, o.Objects, o.Bytes, x.days, o.Thaw.Total(), o.Get.Total(), o.Egress.Cost, o.Total(), o.First.Seconds(), o.Last.Seconds(), p.region.Currency})
	}
	for _, o := range p.others {
		lines = append(lines, elsewhere(p, o))
	}
	for _, l := range lines {
		if err := x.c.object(l); err != nil {
			return err
		}
	}
	return nil
}

func (x *costCommand) summary(p *costPicture) costJSON {
	r, g := p.region, p.outlook.Growth
	bill := p.inv.Month(r)
	objects, bytes := p.inv.Total()
	if p.keyless {
		g.Span = 0
	}
	return costJSON{
		Event: "cost", Provider: r.Provider, Region: r.Name, Currency: r.Currency, Date: r.Date, Source: r.Source, Note: r.Note, Listed: p.inv.Listed,
		Requests: p.inv.Requests, RequestCost: r.List(p.inv.Requests).Cost, Objects: objects, Bytes: bytes, Marks: p.inv.Versions.Marks, Month: bill.Total(), Early: p.inv.Early,
		Growth: growthJSON{!p.keyless && g.Backups > 0, g.Span.Hours() / 24, g.Backups, g.Bytes, g.Packs, "everything"},
		Months: len(p.stay.Forecast), Total: cost.Sum(p.stay.Forecast), Unknown: append([]string{}, bill.Unknown()...),
	}
}

func (x *costCommand) classes(p *costPicture) (lines []any) {
	for _, h := range p.inv.Holdings {
		bill := h.Month(p.region)
		storage := bill.Of(price.WhatStorage)
		lines = append(lines, costClassJSON{"cost_class", h.Class, string(h.Kind), h.Objects, h.Bytes, h.Billed, storage, bill.Total() - storage, p.region.Currency})
	}
	return lines
}

func elsewhere(p *costPicture, o costOther) costElsewhereJSON {
	unknown := append(o.Leave.Unknown(), o.Arrive.Unknown()...)
	j := costElsewhereJSON{
		Event: "cost_elsewhere", WhatIf: o.text, Provider: o.Region.Provider, Region: o.Region.Name, Class: o.Class, Currency: o.Region.Currency, Month: o.Month,
		Months: len(o.Forecast), Total: cost.Sum(o.Forecast), Moved: o.Moved, Leave: amountOfMoney{o.Leave.Total() + o.Early, p.region.Currency},
		Arrive: amountOfMoney{o.Arrive.Total(), o.Region.Currency}, Unknown: append([]string{}, unknown...),
	}
	if best := cost.Cheapest(o.Restores); best != nil {
		total := best.Total()
		j.Restore = &total
	}
	return j
}
