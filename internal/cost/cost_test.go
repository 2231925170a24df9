package cost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/price"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

const (
	mib = 1 << 20
	gb  = 1 << 30
)

var noon = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func region(t testing.TB, key string) *price.Region {
	t.Helper()
	r, err := price.Default().Region(price.Parsed(key))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func near(a, b price.Money) bool {
	return math.Abs(float64(a-b)) <= 1e-12+1e-9*math.Abs(float64(b))
}

func TestKindOf(t *testing.T) {
	for name, want := range map[string]Kind{
		"data/0011/ab/ab12": Data, "data/0011/ab/ab12.par2": Parity, "meta/0011/ab/ab12": Meta, "meta/1/2/3.par2": Parity, "index/11/0001-ab": Index, "packset/1/2": PackSets,
		"snapshots/1/2.done": Snapshots, "firn.json": Other, "keys/a.age": Other, "state/1/2": Other, "prune/1": Other, "parity/x": Other, "other/x": Other, "data": Data, "": Other,
	} {
		if got := KindOf(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// world is a store with a clock; every read of content fails the test.
func world(t *testing.T, now *time.Time) *mem.Store {
	return mem.New(mem.Options{Now: func() time.Time { return *now }, Watch: func(r mem.Request) error {
		if r.Op == "get" {
			t.Errorf("%s was read", r.Name)
		}
		return nil
	}})
}

func put(t *testing.T, st store.Store, name, class string, size int) {
	t.Helper()
	if err := st.Put(context.Background(), name, bytes.NewReader(make([]byte, size)), int64(size), store.PutOptions{Class: class}); err != nil {
		t.Fatal(err)
	}
}

func TestTake(t *testing.T) {
	ctx := context.Background()
	now := noon
	st := world(t, &now)
	us := region(t, "aws/us-east-1")
	for i := range 3 {
		put(t, st, fmt.Sprintf("data/s/aa/%d", i), "DEEP_ARCHIVE", mib)
		put(t, st, fmt.Sprintf("data/s/aa/%d.par2", i), "DEEP_ARCHIVE", mib/16)
	}
	put(t, st, "data/s/aa/small", "GLACIER_IR", 1000)
	put(t, st, "meta/s/aa/1", "", 5000)
	put(t, st, "index/s/1", "STANDARD", 700)
	put(t, st, "firn.json", "", 300)
	put(t, st, "data/s/bb/odd", "NEW_CLASS", 77)
	if _, err := st.Thaw(ctx, "data/s/aa/0", store.ThawOptions{Tier: store.Bulk, Days: 3}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(60 * 24 * time.Hour)
	if _, err := st.Thaw(ctx, "data/s/aa/1", store.ThawOptions{Tier: store.Standard, Days: 30}); err != nil {
		t.Fatal(err)
	}
	now = now.Add(13 * time.Hour)
	inv, err := Take(ctx, st, us, now)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range inv.Holdings {
		got = append(got, fmt.Sprintf("%s %s %d %d %d", h.Class, h.Kind, h.Objects, h.Bytes, h.Billed))
	}
	want := []string{
		"STANDARD meta 1 5000 5000", "STANDARD index 1 700 700", "STANDARD other 1 300 300", "STANDARD thawed copy 1 1048576 1048576", "GLACIER_IR data 1 1000 131072",
		"DEEP_ARCHIVE data 3 3145728 3145728", "DEEP_ARCHIVE parity 3 196608 196608", "NEW_CLASS data 1 77 77",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	bill := inv.Month(us)
	deep := 3145728 + 196608 + 6*32768.0
	standard := 5000 + 700 + 300 + mib + 6*8192.0
	if want := price.Money(deep/gb*0.00099 + standard/gb*0.023 + 131072.0/gb*0.004); !near(bill.Total(), want) {
		t.Errorf("a month is %v, want %v", float64(bill.Total()), float64(want))
	}
	if unknown := bill.Unknown(); len(unknown) != 1 || unknown[0] != "NEW_CLASS" {
		t.Errorf("unknown: %v", unknown)
	}
	age := 60*24*time.Hour + 13*time.Hour
	early := us.Early("DEEP_ARCHIVE", 6, 3145728+196608, age).Total() + us.Early("GLACIER_IR", 1, 131072, age).Total()
	if objects, total := inv.Total(); objects != 11 || total != 3145728+196608+1000+5000+700+300+77 || inv.Requests != 1 || !inv.Listed || !near(inv.Early, early) {
		t.Errorf("%d objects, %d bytes, %d requests, early deletion %v, want %v", objects, total, inv.Requests, inv.Early, early)
	}
}

// TestTakeWithoutStatus lists a store whose listings do not tell what is thawed, and one that fails.
func TestTakeWithoutStatus(t *testing.T) {
	st := mem.New(mem.Options{NoStatus: true})
	put(t, st, "data/s/aa/1", "GLACIER", 10)
	inv, err := Take(context.Background(), st, region(t, "aws"), noon)
	if err != nil || len(inv.Holdings) != 1 {
		t.Fatalf("%+v, %v", inv, err)
	}
	st.Crash()
	if _, err := Take(context.Background(), st, region(t, "aws"), noon); !errors.Is(err, mem.ErrCrashed) {
		t.Errorf("from a store that fails: %v", err)
	}
}

func TestEstimate(t *testing.T) {
	set := index.NewSet()
	for i := range 4 {
		p := index.Pack{Name: digest.SumObject([]byte{byte(i)}), Kind: chunk.Data, Size: 10 * mib, Class: "DEEP_ARCHIVE", Birth: noon, Chunks: []chunk.Ref{{Frame: 10, Raw: 10}}}
		if i == 3 {
			p.Kind, p.Class = chunk.Meta, ""
		} else {
			p.Par2 = &index.Par2{Sum: p.Name, Size: mib}
		}
		p.Chunks[0].ID[0] = byte(i + 1)
		if _, err := set.Add(&p, [16]byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	inv, err := Estimate([]*index.Set{set}, region(t, "aws"), noon)
	if err != nil {
		t.Fatal(err)
	}
	objects, total := inv.Total()
	if objects != 7 || total != 43*mib || inv.of(Parity) != 3*mib || inv.of(Meta) != 10*mib || inv.Bulk() != "DEEP_ARCHIVE" || inv.Listed || inv.Requests != 0 {
		t.Errorf("%+v", inv)
	}
}

// history makes snapshots of one source, a backup every so many days, the oldest first. The last is done at noon.
func history(n int, every time.Duration, bytes int64) (items []snapshot.Item) {
	for i := range n {
		s := &snapshot.Snapshot{Start: noon.Add(-time.Duration(n-1-i) * every), Sequence: uint64(i + 1), Complete: true, Stats: snapshot.Stats{BytesStored: bytes, PacksAdded: 2}}
		s.ID[0], s.Source.ID[0] = byte(i+1), 1
		if i > 0 {
			s.Previous = &snapshot.Link{}
		}
		items = append(items, snapshot.Item{Snapshot: s, Marked: true})
	}
	return items
}

func TestGrowth(t *testing.T) {
	items := history(11, 24*time.Hour, 100)
	items[0].Stats.BytesStored = 1e12 // the first is no growth
	for _, x := range []struct {
		items   []snapshot.Item
		window  time.Duration
		backups int
		perDay  float64
	}{
		{nil, 90 * day, 0, 0},
		{items[:1], 90 * day, 0, 0},
		{items, 90 * day, 10, 100},
		{items, 5 * day, 6, 120}, // both its ends
		{history(3, 60*24*time.Hour, 900), 90 * day, 2, 20},
	} {
		g := GrowthOf(x.items, noon, x.window)
		if g.Backups != x.backups || math.Abs(g.Bytes-x.perDay) > 1e-9 {
			t.Errorf("window of %v: %+v, want %d backups, %v a day", x.window, g, x.backups, x.perDay)
		}
	}
	voided := history(4, 24*time.Hour, 100)
	voided[2].Complete, voided[2].Marked = false, false
	voided[3].Voids = []snapshot.ID{voided[2].ID}
	if g := GrowthOf(voided, noon, 90*day); g.Backups != 2 || g.Packs != 4.0/3 {
		t.Errorf("with a replaced one: %+v", g)
	}
	later := history(2, 24*time.Hour, 100)
	later[1].Start = noon.Add(time.Hour)
	if g := GrowthOf(later, noon, 90*day); g.Backups != 0 {
		t.Errorf("one of the future counts: %+v", g)
	}
}

// deep is an inventory of 1 TB in DEEP_ARCHIVE and 1 GB in STANDARD.
func deep() *Inventory {
	return &Inventory{At: noon, Listed: true, early: map[string]price.Money{"DEEP_ARCHIVE": 2}, Holdings: []Holding{
		{Class: "STANDARD", Kind: Meta, Objects: 100, Bytes: gb, Billed: gb},
		{Class: "DEEP_ARCHIVE", Kind: Data, Objects: 10000, Bytes: 1000 * gb, Billed: 1000 * gb},
		{Class: "DEEP_ARCHIVE", Kind: Parity, Objects: 10000, Bytes: 50 * gb, Billed: 50 * gb},
	}}
}

func TestForecast(t *testing.T) {
	us := region(t, "aws/us-east-1")
	inv := deep()
	month := inv.Month(us).Total()
	flat := Forecast(us, inv, Growth{}, 12, nil)
	for _, p := range flat {
		if !near(p.Total(), month) || p.Bytes != 1051*gb {
			t.Errorf("without growth: %+v, want %v", p, month)
		}
	}
	if len(flat) != 12 || !near(Sum(flat), 12*month) || flat[0].Start != noon || flat[11].End != noon.AddDate(1, 0, 0) {
		t.Errorf("%d months, %v to %v: %v", len(flat), flat[0].Start, flat[len(flat)-1].End, Sum(flat))
	}
	g := Growth{Backups: 90, Bytes: 1001 * gb / 365.0, Packs: 27, Runs: 1} // doubles within a year
	grown := Forecast(us, inv, g, 12, nil)
	if got := grown[11].Bytes; math.Abs(float64(got)-2*1051*gb) > mib {
		t.Errorf("after a year %d bytes", got)
	}
	for i, p := range grown {
		if i > 0 && p.Storage <= grown[i-1].Storage || p.Requests <= 0 {
			t.Errorf("month %d: %+v", i, p)
		}
	}
	puts := 20000*0.05/1000 + 100*0.005/1000 + 365*8*0.005/1000
	var requests, storage price.Money
	for _, p := range grown {
		requests, storage = requests+p.Requests, storage+p.Storage
	}
	if math.Abs(float64(requests)-puts) > 1e-3 || math.Abs(float64(storage/month)-18) > 0.05 {
		t.Errorf("requests %v, want %v; storage of %v months, want 18", requests, puts, storage/month)
	}
	half := Forecast(us, inv, g, 12, func(_ time.Time, stored float64) float64 { return stored / 2 })
	if ratio := half[11].Storage / grown[11].Storage; math.Abs(float64(ratio)-0.5) > 1e-3 {
		t.Errorf("where half is kept, storage costs %v of it", ratio)
	}
	if got := Forecast(region(t, "wasabi"), &Inventory{At: noon}, Growth{}, 3, nil); !near(Sum(got), 3*7.99) {
		t.Errorf("an empty repository with a least charge: %v", got)
	}
}

func TestMonth(t *testing.T) {
	at := time.Date(2027, 10, 31, 1, 0, 0, 0, time.UTC)
	var got []string
	for i := range 6 {
		got = append(got, month(at, i).Format("01-02"))
	}
	if s := strings.Join(got, " "); s != "10-31 11-30 12-31 01-31 02-29 03-31" {
		t.Error(s)
	}
}

func TestRestores(t *testing.T) {
	us := region(t, "aws/us-east-1")
	inv := deep()
	all := Restores(us, inv, 7)
	if len(all) != 6 || all[0].Tier != "Bulk" || all[0].Route != price.Direct || all[3].Tier != "Standard" {
		t.Fatalf("%+v", all)
	}
	copies := 1000 * 0.023 * 7 * 24 / 730
	read := 10100 * 0.0004 / 1000
	direct := price.Money(901 * 0.09)
	if want := price.Money(10000*0.025/1000+1000*0.0025+copies+read) + direct; !near(all[0].Total(), want) {
		t.Errorf("bulk, direct: %v, want %v", all[0].Total(), want)
	}
	if want := price.Money(10000*0.1/1000 + 1000*0.02 + copies + read); !near(all[5].Total(), want) || all[5].Route != price.InRegion {
		t.Errorf("standard, in the region: %v, want %v", all[5].Total(), want)
	}
	if all[0].First != 12*time.Hour || all[0].Last != 48*time.Hour || all[0].Objects != 10100 || all[0].Bytes != 1001*gb {
		t.Errorf("%+v", all[0])
	}
	if c := Cheapest(all); c == nil || c.Tier != "Bulk" || Cheapest(nil) != nil {
		t.Errorf("cheapest: %+v", c)
	}
	mixed := &Inventory{Holdings: append(inv.Holdings, Holding{Class: "GLACIER", Kind: Data, Objects: 1, Bytes: gb, Billed: gb}, Holding{Class: "NEW", Kind: Data, Objects: 1, Bytes: 1})}
	tiers := map[string]bool{}
	for _, o := range Restores(us, mixed, 1) {
		tiers[o.Tier] = true
		if o.Tier == "Expedited" && (!near(o.Thaw.Of(price.WhatRetrieval), 0.03+1000*0.0025) || o.First != time.Minute) {
			t.Errorf("%+v", o)
		}
	}
	if len(tiers) != 3 {
		t.Errorf("tiers of two classes: %v", tiers)
	}
	hot := Restores(region(t, "local"), &Inventory{}, 7)
	if len(hot) != 1 || hot[0].Total() != 0 || hot[0].Last != 0 {
		t.Errorf("of an empty folder: %+v", hot)
	}
	scaleway := region(t, "scaleway/fr-par")
	if o := Restores(scaleway, &Inventory{Holdings: []Holding{{Class: "GLACIER", Kind: Data, Objects: 1, Bytes: 1e9}}}, 0)[0]; !near(o.Total(), 0.009) || o.Last != 24*time.Hour {
		t.Errorf("without tiers: %+v", o)
	}
}

func TestLast(t *testing.T) {
	us := region(t, "aws/us-east-1")
	items := history(3, 24*time.Hour, 100*gb)
	items[2].Marked = false // not done
	b, ok := Last(us, "DEEP_ARCHIVE", items, deep())
	if !ok || b.Item.ID != items[1].ID {
		t.Fatalf("%+v, %v", b, ok)
	}
	if want := price.Money(4*0.05+4*0.005+4*0.005) / 1000; !near(b.Bill.Total(), want) {
		t.Errorf("requests %v, want %v", b.Bill, want)
	}
	if want := price.Money((100 + 100*50.0/1001) * 0.00099); !near(b.Month.Of(price.WhatStorage), want) {
		t.Errorf("a month %v, want %v", b.Month, want)
	}
	if _, ok := Last(us, "", nil, nil); ok {
		t.Error("a backup where there is none")
	}
	if b, ok := Last(us, "", items, nil); !ok || len(b.Bill) != 2 {
		t.Errorf("%+v", b)
	}
}

func TestCompare(t *testing.T) {
	us, eu, r2, scaleway := region(t, "aws/us-east-1"), region(t, "aws/eu-central-1"), region(t, "r2"), region(t, "scaleway/fr-par")
	inv := deep()
	inv.Holdings = append(inv.Holdings, Holding{Class: "STANDARD", Kind: Copies, Objects: 1, Bytes: gb, Billed: gb})
	o := Outlook{Months: 12, Days: 7}
	compare := func(to *price.Region, class string) *Alternative {
		t.Helper()
		a, err := Compare(us, inv, to, class, o)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	stay := Stay(us, inv, o)
	if stay.Class != "DEEP_ARCHIVE" || !near(stay.Month, inv.Month(us).Total()) || stay.Leave != nil || !near(Sum(stay.Forecast), 12*(stay.Month-0.023)) {
		t.Errorf("%+v", stay)
	}
	same := compare(us, "")
	if same.Moved != 0 || same.Leave != nil || same.Early != 0 || !near(same.Month, stay.Month-0.023) {
		t.Errorf("nothing changes, and yet: %+v", same)
	}
	ir := compare(us, "glacier_ir")
	wantMove := price.Money(20000*0.02/1000 + 20000*0.025/1000 + 1050*0.0025 + 1050*0.023*24/730)
	if ir.Class != "GLACIER_IR" || ir.Moved != 1050*gb || !near(ir.Leave.Total(), wantMove) || !near(ir.Early, 2) || ir.Arrive != nil || !near(ir.Month, 0.023+1050*0.004) {
		t.Errorf("another class: %v to get there, want %v; %+v", ir.Leave, wantMove, ir)
	}
	far := compare(eu, "")
	if far.Class != "DEEP_ARCHIVE" || far.Moved != 1051*gb || !near(far.Leave.Of(price.WhatEgress), 1051*0.02) || !near(far.Arrive.Total(), 20000*0.06/1000+100*0.0054/1000) {
		t.Errorf("another region: %+v", far)
	}
	away := compare(r2, "")
	if away.Class != "STANDARD" || !near(away.Leave.Of(price.WhatEgress), 951*0.09) || !near(away.Month, 1051*gb/1e9*0.015) {
		t.Errorf("another provider: %+v", away)
	}
	if cold := compare(scaleway, ""); cold.Class != "GLACIER" {
		t.Errorf("the nearest class is %s", cold.Class)
	}
	if a, err := Compare(us, inv, r2, "DEEP_ARCHIVE", o); !errors.As(err, new(*price.UnknownError)) {
		t.Errorf("%+v, %v", a, err)
	}
	if nothing, err := Compare(us, &Inventory{At: noon}, r2, "", o); err != nil || nothing.Moved != 0 {
		t.Errorf("%+v, %v", nothing, err)
	}
}

// TestTakeVersions: what was replaced or deleted is counted where it is kept.
func TestTakeVersions(t *testing.T) {
	now := noon
	st := mem.New(mem.Options{Now: func() time.Time { return now }, Versions: true})
	us := region(t, "aws/us-east-1")
	for i := range 3 {
		put(t, st, fmt.Sprintf("data/s/aa/%d", i), "STANDARD_IA", mib)
	}
	put(t, st, "index/s/1", "", 700)
	for _, name := range []string{"data/s/aa/1", "index/s/1"} {
		if err := st.Delete(context.Background(), name); err != nil {
			t.Fatal(err)
		}
	}
	st.SetLock(store.LockRule{Enabled: true})
	if _, err := st.Extend(context.Background(), "data/s/aa/2", store.Governance, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := st.Move(context.Background(), "data/s/aa/2", "DEEP_ARCHIVE"); err != nil {
		t.Fatal(err)
	}
	now = now.Add(90 * 24 * time.Hour)
	inv, err := Take(context.Background(), st, us, now)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, h := range inv.Holdings {
		got = append(got, fmt.Sprintf("%s %s %d %d", h.Class, h.Kind, h.Objects, h.Bytes))
	}
	want := "STANDARD old version 1 700, STANDARD_IA data 1 1048576, STANDARD_IA old version 2 2097152, DEEP_ARCHIVE data 1 1048576"
	if strings.Join(got, ", ") != want || inv.Versions != (Versions{Keeping: store.KeepsVersions, Marks: 2}) || inv.Requests != 2 {
		t.Errorf("got %s, %+v, %d requests", strings.Join(got, ", "), inv.Versions, inv.Requests)
	}
	if objects, bytes := inv.Total(); objects != 2 || bytes != 2*mib {
		t.Errorf("%d objects, %d bytes", objects, bytes)
	}
	with := inv.scaled(1, us)
	st2 := mem.New(mem.Options{Watch: func(r mem.Request) error {
		if r.Op == "versions" {
			return store.ErrDenied
		}
		return nil
	}})
	put(t, st2, "data/s/aa/1", "STANDARD_IA", mib)
	if inv, err := Take(context.Background(), st2, us, now); err != nil || !inv.Versions.Hidden || len(inv.Holdings) != 1 {
		t.Errorf("%+v, %v", inv, err)
	} else if without := inv.scaled(1, us); with <= without {
		t.Errorf("old versions cost nothing: %v, %v", with, without)
	}
}
