package coldtest

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"firn/internal/price"
)

// What the lines of a bill are for, besides those of package price.
const (
	WhatUnfinished = "unfinished uploads" // parts that are not put together yet
	WhatTransition = "transitions"        // by lifecycle rules
)

// gauge is bytes that are billed by the time that they stay.
type gauge struct {
	count, bytes int64
	since        time.Time
	months       float64 // byte-months until since
}

// stay names a gauge: what it is for, and at the rates of which class.
type stay struct{ what, class string }

// tally counts what is billed at once.
type tally struct {
	count, bytes int64
	cost         float64
}

// sale names a tally: what it is for, of which class, and which tier.
type sale struct{ what, class, tier string }

// meter adds up what a provider would bill. It takes rates from package price and computes by itself, since it judges what firn computes.
// All times are those of the bill; they never run backwards by more than the machine takes.
type meter struct {
	region *price.Region
	route  string
	stays  map[stay]*gauge
	sales  map[sale]*tally
	egress map[string]int64 // by month
}

func newMeter(region *price.Region, route string, start time.Time) *meter {
	m := &meter{region: region, route: route}
	m.reset(start)
	return m
}

// reset forgets what was billed; what stays goes on staying.
func (m *meter) reset(now time.Time) {
	old := m.stays
	m.stays, m.sales, m.egress = map[stay]*gauge{}, map[sale]*tally{}, map[string]int64{}
	for name, g := range old {
		if g.bytes > 0 || g.count > 0 {
			m.stays[name] = &gauge{count: g.count, bytes: g.bytes, since: now}
		}
	}
}

// class finds the rates of a class; what the price list lacks is billed as the default class.
func (m *meter) class(name string) *price.Class {
	if c, ok := m.region.Class(name); ok {
		return c
	}
	c, _ := m.region.Class("")
	return c
}

// monthsBetween counts calendar months, the begun ones by the share of their days.
func monthsBetween(from, to time.Time) float64 {
	position := func(t time.Time) float64 {
		t = t.UTC()
		first := time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
		return float64(t.Year()*12+int(t.Month())) + t.Sub(first).Hours()/first.AddDate(0, 1, 0).Sub(first).Hours()
	}
	return position(to) - position(from)
}

// move changes a gauge.
func (m *meter) move(now time.Time, what, class string, count, bytes int64) {
	name := stay{what, class}
	g := m.stays[name]
	if g == nil {
		g = &gauge{since: now}
		m.stays[name] = g
	}
	if now.After(g.since) {
		g.months += float64(g.bytes) * monthsBetween(g.since, now)
		g.since = now
	}
	g.count += count
	g.bytes += bytes
}

// sell counts something that is billed at once.
func (m *meter) sell(what, class, tier string, count, bytes int64, cost float64) {
	name := sale{what, class, tier}
	t := m.sales[name]
	if t == nil {
		t = &tally{}
		m.sales[name] = t
	}
	t.count += count
	t.bytes += bytes
	t.cost += cost
}

func (m *meter) perGB(rate price.Money, bytes int64) float64 {
	return float64(rate) * float64(bytes) / m.region.GB
}

// enter is an object that comes into a class, of a size that is scaled.
func (m *meter) enter(now time.Time, class string, size int64) { m.stayOf(now, class, size, 1) }

// stayOf counts an object in or out.
func (m *meter) stayOf(now time.Time, class string, size, n int64) {
	c := m.class(class)
	m.move(now, price.WhatStorage, c.Name, n, n*max(size, c.MinBytes))
	if c.Overhead > 0 {
		m.move(now, price.WhatOverhead, c.Name, n, n*c.Overhead)
	}
	if c.OverheadHot > 0 {
		m.move(now, price.WhatOverheadHot, m.class("").Name, n, n*c.OverheadHot)
	}
}

// leave is one that goes, deleted or into another class. What is left of the least stay is billed.
func (m *meter) leave(now time.Time, class string, size int64, since time.Time) {
	m.stayOf(now, class, size, -1)
	c := m.class(class)
	rest := since.Add(time.Duration(c.MinDays) * day).Sub(now)
	if c.MinDays == 0 || rest <= 0 {
		return
	}
	bytes := max(size, c.MinBytes) + c.Overhead
	m.sell(price.WhatEarly, c.Name, "", 1, bytes, m.perGB(c.Storage, bytes)*rest.Hours()/730)
}

func (m *meter) copyBegins(now time.Time, size int64) {
	m.move(now, price.WhatCopy, m.class("").Name, 1, size)
}

func (m *meter) copyEnds(now time.Time, size int64) {
	m.move(now, price.WhatCopy, m.class("").Name, -1, -size)
}

// partClass is the class at whose rates the parts of an upload are billed.
func (m *meter) partClass(class string) *price.Class {
	c := m.class(class)
	if c.Parts != "" {
		return m.class(c.Parts)
	}
	return c
}

func (m *meter) partComes(now time.Time, class string, size int64) {
	m.move(now, WhatUnfinished, m.partClass(class).Name, 1, size)
}

func (m *meter) partGoes(now time.Time, class string, size int64) {
	m.move(now, WhatUnfinished, m.partClass(class).Name, -1, -size)
}

// retrieve is a thaw that begins.
func (m *meter) retrieve(_ time.Time, class, tier string, size int64) {
	c := m.class(class)
	cost := 0.0
	if t, ok := c.Tier(tier); ok {
		cost = m.perGB(t.PerGB, size)
	} else if t, ok := c.Tier(""); ok {
		cost = m.perGB(t.PerGB, size)
	}
	m.sell(price.WhatRetrieval, c.Name, tier, 1, size, cost)
}

// read is content that is read where it lies, to be copied.
func (m *meter) read(_ time.Time, class string, size int64) {
	c := m.class(class)
	if c.Retrieval > 0 {
		m.sell(price.WhatRetrieval, c.Name, "", 1, size, m.perGB(c.Retrieval, size))
	}
}

func (m *meter) transition(_ time.Time, class string) {
	c := m.class(class)
	m.sell(WhatTransition, c.Name, "", 1, 0, float64(c.Put)/1000)
}

// request is a request that was answered, or not. Amazon does not bill those that it failed itself (User Guide, "Billing for Amazon S3 error responses").
func (m *meter) request(now time.Time, r Request, scale int64) {
	if r.Out > 0 {
		m.egress[now.Format("2006-01")] += r.Out * scale
		m.read(now, r.Class, r.Out*scale)
	}
	if r.Status == 0 && r.Out == 0 || r.Status >= 500 {
		return
	}
	hot, c := m.class(""), m.class(r.Class)
	switch r.Operation {
	case "PutObject", "CopyObject", "CompleteMultipartUpload":
		m.sell(price.WhatPut, c.Name, "", 1, 0, float64(c.Put)/1000)
	case "CreateMultipartUpload", "UploadPart", "UploadPartCopy":
		p := m.partClass(r.Class)
		m.sell(price.WhatPart, p.Name, "", 1, 0, float64(p.Put)/1000)
	case "ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads", "ListParts", "ListBuckets":
		m.sell(price.WhatList, hot.Name, "", 1, 0, float64(hot.List)/1000)
	case "PutObjectRetention", "PutObjectLegalHold": // at what the class asks for a PUT, which is the most that the documentation can be read as
		m.sell(price.WhatPut, c.Name, "", 1, 0, float64(c.Put)/1000)
	case "GetObject", "HeadObject", "GetObjectAttributes", "GetObjectRetention", "GetObjectLegalHold":
		m.sell(price.WhatGet, c.Name, "", 1, 0, float64(c.Get)/1000)
	case "DeleteObject", "DeleteObjects", "AbortMultipartUpload", "DeleteBucket", "DeleteBucketLifecycle", "":
	case "RestoreObject":
		m.restoreRequest(c, r.Tier)
	default: // of buckets
		if strings.HasPrefix(r.Operation, "Put") || strings.HasPrefix(r.Operation, "Create") {
			m.sell(price.WhatPut, hot.Name, "", 1, 0, float64(hot.Put)/1000)
		} else {
			m.sell(price.WhatGet, hot.Name, "", 1, 0, float64(hot.Get)/1000)
		}
	}
}

func (m *meter) restoreRequest(c *price.Class, tier string) {
	t, ok := c.Tier(tier)
	if !ok {
		t, ok = c.Tier("")
	}
	if ok {
		m.sell(price.WhatThaw, c.Name, tier, 1, 0, float64(t.Per1000)/1000)
	}
}

// egressCost is what the bytes of a month cost over the route.
func (m *meter) egressCost(bytes int64) float64 {
	route, ok := m.region.Route(m.route)
	if !ok {
		return 0
	}
	left := float64(bytes)/m.region.GB - route.FreeGB
	cost, below := 0.0, 0.0
	for _, step := range route.Steps {
		if left <= 0 {
			break
		}
		n := left
		if step.UpToGB > 0 {
			n = min(left, step.UpToGB-below)
			below = step.UpToGB
		}
		cost += n * float64(step.PerGB)
		left -= n
	}
	return cost
}

// bill writes it all down, up to now.
func (m *meter) bill(now time.Time) price.Bill {
	var bill price.Bill
	for name := range m.stays {
		m.move(now, name.what, name.class, 0, 0)
		g := m.stays[name]
		rate := float64(m.class(name.class).Storage)
		if g.months != 0 || g.count != 0 {
			bill = append(bill, price.Line{What: name.what, Class: name.class, Count: g.count, Bytes: int64(g.months), Cost: price.Money(g.months / m.region.GB * rate)})
		}
	}
	for name, t := range m.sales {
		class := name.class
		if name.tier != "" {
			class += " " + name.tier
		}
		bill = append(bill, price.Line{What: name.what, Class: class, Count: t.count, Bytes: t.bytes, Cost: price.Money(t.cost)})
	}
	out := price.Line{What: price.WhatEgress, Class: m.route}
	for _, bytes := range m.egress {
		out.Bytes += bytes
		out.Cost += price.Money(m.egressCost(bytes))
	}
	if out.Bytes > 0 {
		bill = append(bill, out)
	}
	slices.SortFunc(bill, func(a, b price.Line) int {
		return cmp.Or(strings.Compare(a.What, b.What), strings.Compare(a.Class, b.Class))
	})
	return bill
}

// Bill is what the provider would charge since the server began or ResetBill was called, up to now. Bytes of a line about a stay (storage, overheads, temporary
// copies, unfinished uploads) are byte-months, and its Count is how many objects are there now; of other lines Bytes are bytes that moved. The class of thaws
// and retrievals has the tier behind it.
func (s *Server) Bill() price.Bill {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	return s.meter.bill(s.billed(s.moment))
}

// ResetBill begins a new bill.
func (s *Server) ResetBill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tick()
	s.meter.reset(s.billed(s.moment))
}
