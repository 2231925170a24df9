package thaw

import (
	"math"
	"testing"
	"time"

	"firn/internal/price"
	"firn/internal/store"
)

// surveyOf makes a survey of groups, each of objects of one size.
func surveyOf(groups ...Group) *Survey {
	s := &Survey{Taken: time.Unix(1e9, 0)}
	for _, g := range groups {
		size := g.Bytes / g.Objects
		g.Wanted = g.Bytes
		for range g.Objects {
			s.Needs = append(s.Needs, Need{Object: "x", Class: g.Class, Size: size, Wanted: size, Gets: 1})
		}
		if len(s.classes) == 0 || s.classes[len(s.classes)-1] != g.Class {
			s.classes = append(s.classes, g.Class)
		}
		for range g.Objects {
			s.facts = append(s.facts, fact{class: uint16(len(s.classes) - 1), state: noCopy + sight(g.Copy), cold: g.Cold, expires: 1e9 + 86400})
		}
	}
	s.sum()
	return s
}

func offerOf(t *testing.T, list []Offer, tier store.Tier, route string) Offer {
	t.Helper()
	for _, o := range list {
		if o.Tier == tier && o.Route == route {
			return o
		}
	}
	t.Fatalf("no offer %q %q among %d", tier, route, len(list))
	return Offer{}
}

func sameMoney(t *testing.T, what string, got price.Money, want float64) {
	t.Helper()
	if math.Abs(float64(got)-want) > 1e-4*math.Max(want, 0.01) {
		t.Errorf("%s: %v, want %v", what, float64(got), want)
	}
}

// Ten terabytes over 100 Mbit/s, computed by hand from the prices of us-east-1, in which a GB has 2^30 bytes.
func TestOfferTenTerabytes(t *testing.T) {
	s := surveyOf(Group{Class: "DEEP_ARCHIVE", Cold: true, Tally: Tally{Objects: 100_000, Bytes: 1e13}})
	s.Requests.List = 100
	list := Offers(aws(t), s, Link{Down: 12.5e6}, OfferOptions{})
	const gb = 1e13 / (1 << 30)
	bulk := offerOf(t, list, store.Bulk, price.Direct)
	// One day: 0.756 TB in 48 h is 4.4 MB/s; two days: 8.75 MB/s; three days keep the link busy.
	if bulk.Days != 3 || bulk.Windows != 5 || !near(float64(bulk.Window), 0.7*12.5e6*3*86400, 1e-6) {
		t.Errorf("%d days, %d windows of %d", bulk.Days, bulk.Windows, bulk.Window)
	}
	if want := 48*time.Hour + 800_000*time.Second; bulk.Last.Round(time.Second) != want || bulk.First != 12*time.Hour {
		t.Errorf("%v to %v, want %v", bulk.First, bulk.Last, want)
	}
	sameMoney(t, "requests", bulk.Bill.Of(price.WhatThaw), 2.5)
	sameMoney(t, "retrieval", bulk.Bill.Of(price.WhatRetrieval), gb*0.0025)
	sameMoney(t, "copies", bulk.Bill.Of(price.WhatCopy), gb*0.023*4*24/730)
	sameMoney(t, "gets", bulk.Bill.Of(price.WhatGet), 0.04+8*6*271*0.0004/1000)
	sameMoney(t, "egress", bulk.Bill.Of(price.WhatEgress), (gb-100)*0.09)
	sameMoney(t, "lists", bulk.Bill.Of(price.WhatList), 271*100*0.005/1000)
	sameMoney(t, "all", bulk.Total, 883.3+0.03)

	standard := offerOf(t, list, store.Standard, price.InRegion)
	if standard.Days != 1 || standard.Last.Round(time.Second) != 12*time.Hour+800_000*time.Second {
		t.Errorf("standard: %d days, %v", standard.Days, standard.Last)
	}
	sameMoney(t, "retrieval", standard.Bill.Of(price.WhatRetrieval), gb*0.02)
	sameMoney(t, "egress in region", standard.Bill.Of(price.WhatEgress), 0)
	for k := 1; k < len(list); k++ {
		if list[k].Total < list[k-1].Total {
			t.Error("not sorted")
		}
	}
	for _, o := range list {
		if o.Tier == store.Expedited {
			t.Error("expedited is offered")
		}
	}
}

func TestOfferThreeFiles(t *testing.T) {
	s := surveyOf(Group{Class: "GLACIER", Cold: true, Tally: Tally{Objects: 3, Bytes: 3 << 30}})
	list := Offers(aws(t), s, Link{Down: 1 << 20}, OfferOptions{Routes: []string{price.Direct}})
	for tier, want := range map[store.Tier]struct {
		cost        float64
		first, last time.Duration
	}{
		store.Expedited: {0.03 + 0.09, time.Minute, 5 * time.Minute},
		store.Standard:  {0.00015 + 0.03, 3 * time.Hour, 5 * time.Hour},
		store.Bulk:      {0, 5 * time.Hour, 12 * time.Hour},
	} {
		o := offerOf(t, list, tier, price.Direct)
		sameMoney(t, string(tier), o.Bill.Of(price.WhatThaw)+o.Bill.Of(price.WhatRetrieval), want.cost)
		sameMoney(t, "copies", o.Bill.Of(price.WhatCopy), 3*0.023*2*24/730)
		sameMoney(t, "egress below the free 100 GB", o.Bill.Of(price.WhatEgress), 0)
		if o.Days != 1 || o.Windows != 1 || o.Window != 3<<30 || o.First != want.first || o.Last != want.last+3072*time.Second {
			t.Errorf("%+v", o)
		}
	}
	out := offerOf(t, Offers(aws(t), s, Link{}, OfferOptions{Out: 100 << 30, Routes: []string{price.Direct}}), store.Bulk, price.Direct)
	sameMoney(t, "egress above them", out.Bill.Of(price.WhatEgress), 3*0.09)
}

func TestOfferMixed(t *testing.T) {
	s := surveyOf(
		Group{Class: "DEEP_ARCHIVE", Cold: true, Tally: Tally{Objects: 10, Bytes: 10 << 30}},
		Group{Class: "DEEP_ARCHIVE", Cold: true, Copy: store.Thawing, Tally: Tally{Objects: 5, Bytes: 5 << 30}},
		Group{Class: "DEEP_ARCHIVE", Cold: true, Copy: store.Thawed, Tally: Tally{Objects: 200, Bytes: 200 << 30}},
		Group{Class: "GLACIER", Cold: true, Tally: Tally{Objects: 2, Bytes: 2 << 30}},
		Group{Class: "STANDARD", Tally: Tally{Objects: 1, Bytes: 1 << 30}})
	s.Missing = Tally{Objects: 1}
	list := Offers(aws(t), s, Link{Down: 1 << 20}, OfferOptions{Routes: []string{price.InRegion}})
	o := offerOf(t, list, store.Expedited, price.InRegion)
	if len(o.Classes) != 2 || o.Classes[0].Tier != store.Standard || o.Classes[1].Tier != store.Expedited {
		t.Fatalf("%+v", o.Classes)
	}
	sameMoney(t, "retrieval", o.Bill.Of(price.WhatRetrieval), 10*0.02+2*0.03)
	if o.Thaw.Objects != 12 || o.Thawing.Objects != 5 || o.Ready.Objects != 201 || o.Missing.Objects != 1 || o.First != 0 {
		t.Errorf("%+v", o)
	}
	// All 200 thawed GB expire in a day; at 70 % of 1 MiB/s, 56 of them are here an hour before that.
	if o.Extend.Objects < 140 || o.Extend.Objects > 148 {
		t.Errorf("%d are to be extended", o.Extend.Objects)
	}
	hold := Offers(aws(t), s, Link{Down: 1}, OfferOptions{Hold: true})
	h := offerOf(t, hold, store.Bulk, price.Direct)
	if h.Days != HoldDays || h.Last != 48*time.Hour || h.Bill.Of(price.WhatEgress) != 0 || h.Windows != 1 || len(hold) != 3 {
		t.Errorf("%+v", h)
	}
	nothing := Offers(aws(t), surveyOf(Group{Class: "STANDARD", Tally: Tally{Objects: 1, Bytes: 1 << 30}}), Link{Down: 1 << 20}, OfferOptions{})
	if len(nothing) == 0 || nothing[0].Windows != 0 || nothing[0].Last != 1024*time.Second || nothing[0].First != 0 {
		t.Errorf("%+v", nothing)
	}
	strange := Offers(aws(t), surveyOf(Group{Class: "ICEBERG", Cold: true, Tally: Tally{Objects: 1, Bytes: 1}}), Link{}, OfferOptions{})
	if len(strange) == 0 || len(strange[0].Unknown) == 0 || strange[0].Unknown[0] != "ICEBERG" {
		t.Errorf("%+v", strange)
	}
}

func TestNearest(t *testing.T) {
	class := func(names ...string) *price.Class {
		c := &price.Class{}
		for _, n := range names {
			c.Tiers = append(c.Tiers, price.Tier{Name: n})
		}
		return c
	}
	for _, c := range []struct {
		class      *price.Class
		want, have store.Tier
	}{
		{class("Standard", "Bulk"), store.Expedited, store.Standard},
		{class("Bulk"), store.Expedited, store.Bulk},
		{class("Expedited", "Standard"), store.Bulk, store.Standard},
		{class(""), store.Bulk, store.NoTier},
		{class("Expedited", "Standard", "Bulk"), store.NoTier, store.Standard},
		{class("Expedited", "Standard", "Bulk"), store.Bulk, store.Bulk},
		{class("Overnight"), store.Bulk, "Overnight"},
		{class(), store.Bulk, store.Bulk},
	} {
		if got := Nearest(c.class, c.want); got != c.have {
			t.Errorf("%v: %q becomes %q, want %q", c.class.Tiers, c.want, got, c.have)
		}
	}
}

func BenchmarkOffers(b *testing.B) {
	s := surveyOf(Group{Class: "DEEP_ARCHIVE", Cold: true, Tally: Tally{Objects: 60_000, Bytes: 6e12}},
		Group{Class: "GLACIER", Cold: true, Copy: store.Thawed, Tally: Tally{Objects: 40_000, Bytes: 4e12}})
	r := aws(b)
	b.ReportAllocs()
	for b.Loop() {
		Offers(r, s, Link{Down: 12.5e6}, OfferOptions{})
	}
}
