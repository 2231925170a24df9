package thaw

import (
	"firn/internal/price"
	"firn/internal/store"
)

// ledger counts what was paid for, so that it can be priced by any table. It is kept as JSON.
type ledger struct {
	Thaws []*use   `json:"thaws,omitempty"`
	Gets  []*got   `json:"gets,omitempty"`
	Asked Requests `json:"asked"`
	Again int64    `json:"again,omitempty"` // thaws of what was thawed before
}

// use is what was thawed of one class by one tier.
type use struct {
	Class    string     `json:"class"`
	Tier     store.Tier `json:"tier"`
	Objects  int64      `json:"objects"`
	Bytes    int64      `json:"bytes"`
	ByteDays float64    `json:"byte_days"` // of copies, at most
	Extended int64      `json:"extended,omitempty"`
}

// got is what was fetched from one class.
type got struct {
	Class string `json:"class"`
	Tally
}

func (l *ledger) use(class string, tier store.Tier) *use {
	for _, u := range l.Thaws {
		if u.Class == class && u.Tier == tier {
			return u
		}
	}
	u := &use{Class: class, Tier: tier}
	l.Thaws = append(l.Thaws, u)
	return u
}

// thawed counts a thaw that began. A copy is billed to the end of its last day.
func (l *ledger) thawed(class string, tier store.Tier, size int64, days int) {
	u := l.use(class, tier)
	u.Objects++
	u.Bytes += size
	u.ByteDays += float64(size) * float64(days+1)
}

// extended counts a copy that is kept for longer: at most to the end of the last day, from a moment at which it is about to end.
func (l *ledger) extended(class string, tier store.Tier, size int64, days int) {
	u := l.use(class, tier)
	u.Extended++
	u.ByteDays += float64(size) * float64(days+1)
}

// fetched counts what came from the class that the index has it in.
func (l *ledger) fetched(n *Need) {
	for _, g := range l.Gets {
		if g.Class == n.Class {
			g.add(n)
			return
		}
	}
	g := &got{Class: n.Class}
	g.add(n)
	l.Gets = append(l.Gets, g)
}

// out is how many bytes were fetched.
func (l *ledger) out() (n int64) {
	for _, g := range l.Gets {
		n += g.Wanted
	}
	return n
}

// bill prices what was counted; nil without prices. Where nothing is fetched, route is empty.
func (l *ledger) bill(r *price.Region, route string, already int64) price.Bill {
	if r == nil {
		return nil
	}
	var bill price.Bill
	for _, u := range l.Thaws {
		asked, err := r.Thaw(u.Class, string(u.Tier), u.Objects+u.Extended, 0, 0)
		if err != nil {
			bill = append(bill, price.Line{What: price.WhatThaw, Class: u.Class, Count: u.Objects, Bytes: u.Bytes, Unknown: true})
			continue
		}
		brought, _ := r.Thaw(u.Class, string(u.Tier), 0, u.Bytes, 0)
		kept, _ := r.Thaw(u.Class, string(u.Tier), 0, int64(u.ByteDays), 1)
		for k := range asked {
			line := asked[k]
			switch line.What {
			case price.WhatRetrieval:
				line = brought[k]
				line.Count = u.Objects
			case price.WhatCopy:
				line = kept[k]
				line.Count, line.Bytes = u.Objects, u.Bytes
			}
			bill = append(bill, line)
		}
	}
	for _, g := range l.Gets {
		bill = append(bill, r.Get(g.Class, g.Gets, g.Wanted))
	}
	if out := l.out(); out > 0 {
		bill = append(bill, r.Egress(route, out, already))
	}
	if l.Asked.List > 0 {
		bill = append(bill, r.List(l.Asked.List))
	}
	if l.Asked.Head > 0 {
		bill = append(bill, r.Get("", l.Asked.Head, 0))
	}
	return bill.Merge()
}
