package history

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/coldtest"
	"firn/internal/cost"
	"firn/internal/plot"
	"firn/internal/price"
	"firn/internal/retain"
	"firn/internal/retention"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/web"
	"firn/internal/web/webtest"
)

var now = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// daily makes one done snapshot a day of a source, newest last.
func daily(n int, source uint16, path string, until time.Time) (items []snapshot.Item) {
	origin := snapshot.Origin{ID: snapshot.Source{byte(source), byte(source >> 8), 0xab}, Kind: "dir", Path: []byte(path)}
	for i := range n {
		at := until.AddDate(0, 0, i-n+1)
		s := &snapshot.Snapshot{Source: origin, Host: "nas", Start: at.Add(-time.Hour), End: at, Sequence: uint64(i + 1), Complete: true, Scope: [8]byte{1},
			Stats: snapshot.Stats{Files: 10, Bytes: 1000 << 20, BytesRead: 100 << 20, BytesAdded: 20 << 20, BytesStored: 10 << 20, PacksAdded: 1}}
		copy(s.ID[:], fmt.Sprintf("%04x%08x", source, i))
		items = append(items, snapshot.Item{Snapshot: s, Stored: at, Marked: true})
	}
	return items
}

func TestStyle(t *testing.T) {
	css, err := os.ReadFile("../assets/firn.css")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(css), plot.Style()) {
		t.Errorf("assets/firn.css lacks what pictures need, word for word:\n%s", plot.Style())
	}
}

// TestLevels: what is kept is shown by the rule that keeps it for longest, in words and letters.
func TestLevels(t *testing.T) {
	rules := func(p retain.Policy) retention.Rules { return retention.Rules{{Source: "/home", Policy: p}} }
	letters := func(items []snapshot.Item, r retention.Rules) string {
		y := newYears(items, r, now, time.UTC)
		text := ""
		for _, l := range y.lines {
			for i := range l.levels {
				text += l.level(i).Symbol
			}
		}
		return text
	}
	cycle := daily(6, 1, "/home", now)
	for i := range cycle {
		cycle[i].Epoch = uint32(1 + i/3)
	}
	tagged := daily(3, 1, "/home", now)
	tagged[0].Tags = []string{"keep"}
	partial := daily(3, 1, "/home", now)
	partial[1].Complete, partial[1].Marked = false, false
	forgotten := daily(3, 1, "/home", now)
	forgotten[0].Forgotten = true
	ahead := daily(3, 1, "/home", now.AddDate(0, 0, 1))
	undated := daily(2, 1, "/home", now)
	undated[0].Stored = time.Time{}
	chain := daily(4, 1, "/home", now)
	for i := 1; i < 4; i++ {
		chain[i].Base = chain[i-1].ID
	}
	for _, c := range []struct {
		name  string
		items []snapshot.Item
		rules retention.Rules
		want  string
	}{
		{"daily and monthly", daily(10, 1, "/home", now), rules(retain.Policy{Daily: 3, Monthly: 2}), "M××××××DDD"},
		{"no policy", daily(3, 1, "/home", now), nil, "•••"},
		{"another's policy", daily(3, 1, "/srv", now), rules(retain.Policy{Last: 1}), "•••"},
		{"all sorts", daily(800, 1, "/home", now), rules(retain.Policy{Daily: 2, Weekly: 2, Yearly: 2}), ""},
		{"simple", cycle, rules(retain.Policy{Cycle: retain.Cycle{Kind: retain.Simple, Frequency: 1, Diffs: 2, Fulls: 2}}), "FddFdd"},
		{"simple without a policy", cycle, nil, "FddFdd"},
		{"a chain without a policy", chain, nil, "Fddd"},
		{"hanoi", daily(16, 1, "/home", now), rules(retain.Policy{Cycle: retain.Cycle{Kind: retain.Hanoi, Frequency: 1, Discs: 4}}), ""},
		{"tag", tagged, rules(retain.Policy{Tags: []string{"keep"}}), "T×N"},
		{"partial", partial, rules(retain.Policy{Last: 1}), "×…L"},
		{"forgotten", forgotten, rules(retain.Policy{Last: 5}), "LL"},
		{"from the future", ahead, rules(retain.Policy{Last: 1}), "×L!"},
		{"of unknown time", undated, rules(retain.Policy{Last: 1}), "?L"},
		{"within", daily(4, 1, "/home", now), rules(retain.Policy{Within: 36 * time.Hour}), ""},
		{"nothing", daily(2, 1, "/home", now), rules(retain.Policy{None: true}), ""},
	} {
		got := letters(c.items, c.rules)
		if c.want == "" {
			t.Logf("%s: %.200s", c.name, got)
			continue
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	hanoi := letters(daily(16, 1, "/home", now), rules(retain.Policy{Cycle: retain.Cycle{Kind: retain.Hanoi, Frequency: 1, Discs: 4}}))
	if !strings.Contains(hanoi, "4") || !strings.Contains(hanoi, "1") || !strings.Contains(hanoi, "×") {
		t.Errorf("hanoi: %s", hanoi)
	}
}

// TestZones: a day is one of the wall's clock, also where a day has 23 or 25 hours, and east and west of Greenwich.
func TestZones(t *testing.T) {
	for _, zone := range []string{"UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Pago_Pago", "America/Havana"} {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			t.Skip("no time zones here")
		}
		var items []snapshot.Item
		want := map[int32]int{}
		for i := range 400 * 24 {
			at := time.Date(2026, 1, 1, 0, 30, 0, 0, loc).Add(time.Duration(i) * time.Hour)
			x := daily(1, 1, "/home", at)[0]
			copy(x.ID[:], fmt.Sprintf("%08x", i))
			x.Sequence = uint64(i + 1)
			items = append(items, x)
			want[dayOf(at.Date())]++
		}
		l := newYears(items, nil, now, loc).lines[0]
		got := map[int32]int{}
		for _, d := range l.days {
			got[d]++
		}
		for d, n := range want {
			if got[d] != n {
				t.Fatalf("%s: %d on day %d, want %d", zone, got[d], d, n)
			}
		}
		pic, _ := l.picture(0, "/r/nas", asked{year: 2026})
		if n := strings.Count(string(pic.SVG), "<a "); n != 365 {
			t.Errorf("%s: %d days", zone, n)
		}
	}
}

// TestFlow: what snapshots say is added up whatever they say, and what is gone or made again does not count.
func TestFlow(t *testing.T) {
	items := append(daily(10, 1, "/home", now), daily(3, 2, "/srv", now)...)
	items[0].Forgotten = true
	items[12].Stats = snapshot.Stats{BytesStored: math.MaxInt64, BytesRead: -5, Bytes: math.MaxInt64, BytesAdded: 1}
	items[11].Stats.BytesStored = math.MaxInt64
	items[5].Complete, items[5].Marked = false, false
	items[6].Start = now.AddDate(3, 0, 0)
	f := newFlow(items, now)
	if len(f.streams) != 2 || f.hidden != 1 || f.undone != 1 || f.future != 1 || f.all.Count != 12 || f.all.sum.Stored != math.MaxInt64 || f.streams[0].Name != "/srv" {
		t.Errorf("%+v", f)
	}
	if home := f.streams[1]; home.sum.Stored != 90<<20 || home.sum.Known() != 9*80<<20 || home.sum.Squeezed() != 90<<20 {
		t.Errorf("%+v", home.sum)
	}
	for _, n := range []int{0, 1, 40, 200, 2000, 5000} {
		f := newFlow(daily(n, 1, "/home", now), now)
		word, all := f.all.byPeriod(time.UTC)
		sum := int64(0)
		for i := range all {
			sum += all[i].sum.Backups
		}
		if sum != int64(n) || len(all) > 110 {
			t.Errorf("%d snapshots: %d in %d %ss", n, sum, len(all), word)
		}
		if svg := string(f.areas(time.UTC, nil, now).SVG()) + string(columns(word, all).SVG()); strings.Contains(svg, "NaN") || len(svg) > 200<<10 {
			t.Errorf("%d snapshots: %d bytes", n, len(svg))
		}
	}
	var many []snapshot.Item
	for i := range 30 {
		many = append(many, daily(2, uint16(i), fmt.Sprintf("/%d", i), now)...)
	}
	if p := newFlow(many, now).areas(time.UTC, nil, now.Add(time.Hour)); len(p.Series) != mostAreas+1 || len(p.Series[mostAreas].Y) != 45 || p.Series[mostAreas].Y[44] != 44*10<<20 {
		t.Errorf("%d areas", len(p.Series))
	}
}

func TestKeeps(t *testing.T) {
	got := keeps(retain.Policy{Last: 3, Daily: 7, Yearly: retain.All, Within: 48 * time.Hour, Tags: []string{"a", "b"}, Min: 2, Cycle: retain.Cycle{Kind: retain.Hanoi, Frequency: 1, Discs: 5}})
	if got != "3 last, 7 daily, all yearly, within 2 days, tags a, b, hanoi frequency=1 phase=0 discs=5 archive-oldest=no full=no, at least 2" {
		t.Error(got)
	}
}

func TestStamp(t *testing.T) {
	items := daily(50, 1, "/home", now)
	before := stampOf(items)
	items[3], items[4] = items[4], items[3]
	if stampOf(items) != before {
		t.Error("the order counts")
	}
	items[7].Forgotten = true
	if stampOf(items) == before {
		t.Error("that one is forgotten does not count")
	}
}

// fine holds a page to what all pages promise.
func fine(t *testing.T, p *webtest.Page, status int) {
	t.Helper()
	if p.Status != status {
		t.Fatalf("%s: %d\n%.3000s", p.URL, p.Status, p.Body)
	}
	for _, bad := range []string{" style=", "<script>", "onclick", "NaN", "%!", "&lt;no value", "ZgotmplZ", "+Inf"} {
		if strings.Contains(p.Body, bad) {
			t.Errorf("%s has %q", p.URL, bad)
		}
	}
	ids := map[string]bool{}
	for _, part := range strings.Split(p.Body, ` id="`)[1:] {
		id, _, _ := strings.Cut(part, `"`)
		if ids[id] {
			t.Errorf("%s has the id %q twice", p.URL, id)
		}
		ids[id] = true
	}
}

func has(t *testing.T, p *webtest.Page, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !p.Has(text) {
			t.Errorf("%s lacks %q\n%.6000s", p.URL, text, p.Body)
		}
	}
}

func TestEmpty(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	Add(w.Site)
	for _, path := range []string{"/r/nas/calendar", "/r/nas/calendar?year=1999", "/r/nas/calendar?day=2026-01-01", "/r/nas/cost", "/r/nas/frees"} {
		fine(t, w.Get(path), http.StatusOK)
	}
	has(t, w.Get("/r/nas/calendar"), "There are no snapshots yet")
	for path, status := range map[string]int{"/r/other/calendar": 404, "/r/nas/calendar?year=x": 400, "/r/nas/calendar?year=0": 400, "/r/nas/calendar?day=2026-02-31": 400, "/r/nas/calendar?source=zz": 400,
		"/r/nas/calendar?source=0011223344556677": 404, "/r/nas/calendar?page=-1": 400, "/r/nas/cost?source=x": 400, "/r/nas/cost?source=0011223344556677": 404, "/r/nas/frees?snapshot=12": 400, "/r/nas/frees?snapshot=1234abcd": 404,
		"/r/nas/frees?source=x": 400, "/r/nas/frees?source=0011223344556677": 404, "/r/nas/calendar?page=99999999999999999999": 400} {
		if p := w.Get(path); p.Status != status {
			t.Errorf("%s: %d, want %d", path, p.Status, status)
		}
	}
}

// TestPages looks at a small repository in a folder.
func TestPages(t *testing.T) {
	w := webtest.New(t, webtest.Options{})
	Add(w.Site)
	evil := `evil"><script>alert(1)<`
	first := w.Backup("photos", func(string) { w.Write("photos", "a", strings.Repeat("a", 5000)) })
	second := w.Backup("photos", func(string) { w.Write("photos", "b", strings.Repeat("b", 7000)) })
	w.Backup(evil, func(string) { w.Write(evil, "c", strings.Repeat("c", 3000)) })
	year := w.Now().UTC().Format("2006")
	p := w.Get("/r/nas/calendar")
	fine(t, p, http.StatusOK)
	has(t, p, "No policy is known", first.ID.String()[:8], second.ID.String(), "no policy is known", "for good", "firn retention explain --year "+year+" --repo ", "kept: no policy is known", "/r/nas/calendar?day="+w.Now().UTC().Format("2006-01-02")+"&amp;source=")
	if p.Has("<script>alert") {
		t.Error("a name is not escaped")
	}
	fine(t, w.Get("/r/nas/calendar?source="+first.Source.ID.String()+"&day="+w.Now().UTC().Format("2006-01-02")), http.StatusOK)
	fine(t, w.Get("/r/nas/calendar?year=1950"), http.StatusOK)
	p = w.Get("/r/nas/cost")
	fine(t, p, http.StatusOK)
	has(t, p, "Count exactly", "about 1 request", "as the indexes know it", "photos", "What backups read", "firn cost --estimate --repo", "Growth by source")
	if p.Has("A restore of everything") || p.Has("What if it lay elsewhere") {
		t.Error("a folder costs money")
	}
	p = w.Post("/r/nas/cost/count", nil)
	fine(t, p, http.StatusOK)
	has(t, p, "the store was listed at", "snapshots", "packset")
	w.Backup("photos", func(string) { w.Write("photos", "d", "more") })
	w.Advance(time.Hour)
	has(t, w.Get("/r/nas/cost"), "and backups came since")
	p = w.Get("/r/nas/frees")
	fine(t, p, http.StatusOK)
	has(t, p, "needed by several sources", "What deleting all snapshots of a source would free", "firn prune --dry-run --keep-all")
	p = w.Get("/r/nas/frees?source=" + first.Source.ID.String())
	fine(t, p, http.StatusOK)
	has(t, p, "all snapshots of", "would free", "--keep-none --dry-run")
	p = w.Get("/r/nas/frees?snapshot=" + first.ID.String()[:10])
	fine(t, p, http.StatusOK)
	has(t, p, "Deleting snapshot "+first.ID.String()[:8], "firn forget "+first.ID.String()[:12]+" --dry-run")
}

// TestCold looks at one in Deep Archive: money, tiers, least stays. Nothing cold is read, and the store is listed for nobody who has not asked.
func TestCold(t *testing.T) {
	w := webtest.New(t, webtest.Options{Cold: "DEEP_ARCHIVE", Monthly: price.Money(1e-12)})
	Add(w.Site)
	w.Backup("photos", func(string) { w.Write("photos", "a", strings.Repeat("a", 50_000)) })
	w.Advance(time.Hour)
	s := w.Backup("photos", func(string) { w.Write("photos", "b", strings.Repeat("b", 70_000)) })
	p := w.Get("/r/nas/cost")
	fine(t, p, http.StatusOK)
	has(t, p, "DEEP_ARCHIVE", "Bulk", "A restore of everything", "What if it lay elsewhere", "aws/us-east-1", "next 12 months", "to date", "and the budget is", "€")
	p = w.Get("/r/nas/cost?provider=wasabi")
	fine(t, p, http.StatusOK)
	has(t, p, "wasabi/", "--what-if provider=wasabi")
	p = w.Get("/r/nas/cost?provider=aws&in=mars-1")
	fine(t, p, http.StatusOK)
	has(t, p, "no prices for region", `name="provider"`, `name="in" value="mars-1"`, `name="class"`)
	fine(t, w.Get("/r/nas/cost?class="+url.QueryEscape(`<"&>`)), http.StatusOK)
	p = w.Get("/r/nas/frees?snapshot=" + s.ID.String())
	fine(t, p, http.StatusOK)
	has(t, p, "when least stays are over", "deleting it today would cost")
	fine(t, w.Post("/r/nas/cost/count", nil), http.StatusOK)
}

// TestBlind: with the key of the host alone there is nothing to browse, and all else is there.
func TestBlind(t *testing.T) {
	w := webtest.New(t, webtest.Options{Blind: true})
	Add(w.Site)
	s := w.Backup("photos", func(string) { w.Write("photos", "a", "aaa") })
	p := w.Get("/r/nas/calendar")
	fine(t, p, http.StatusOK)
	if p.Has("/s/" + s.ID.String()) {
		t.Error("it offers to browse")
	}
	fine(t, w.Get("/r/nas/cost"), http.StatusOK)
	fine(t, w.Get("/r/nas/frees"), http.StatusOK)
}

// TestLooksOnly: looking lists no packs and reads nothing cold; counting lists, once.
func TestLooksOnly(t *testing.T) {
	w := webtest.New(t, webtest.Options{Cold: "DEEP_ARCHIVE"})
	Add(w.Site)
	s := w.Backup("photos", func(string) { w.Write("photos", "a", strings.Repeat("a", 50_000)) })
	w.Cold.ForgetRequests()
	for _, path := range []string{"/r/nas/calendar", "/r/nas/cost", "/r/nas/frees", "/r/nas/frees?source=" + s.Source.ID.String(), "/r/nas/frees?snapshot=" + s.ID.String()} {
		fine(t, w.Get(path), http.StatusOK)
	}
	packs := func(r coldtest.Request) bool {
		return strings.Contains(r.Key, "/data/") || strings.HasSuffix(r.Key, "/data") || r.Key == "nas/" && strings.HasPrefix(r.Operation, "List")
	}
	if n := w.Cold.CountFunc(packs); n != 0 {
		t.Errorf("%d requests about packs: %+v", n, w.Cold.Requests())
	}
	before := w.Cold.Count("")
	for range 3 {
		fine(t, w.Get("/r/nas/cost"), http.StatusOK)
		fine(t, w.Get("/r/nas/frees"), http.StatusOK)
	}
	if n := w.Cold.Count(""); n != before {
		t.Errorf("%d requests for pages that were shown before", n-before)
	}
	fine(t, w.Post("/r/nas/cost/count", nil), http.StatusOK)
	if n := w.Cold.CountFunc(packs); n < 1 || n > 2 { // of what is there, and of old versions
		t.Errorf("%d listings", n)
	}
	if p := w.Get("/r/nas/cost/count"); p.Status == http.StatusOK {
		t.Errorf("GET counts: %d", p.Status)
	}
}

// TestPriceless: a repository whose prices nobody knows shows sizes.
func TestPriceless(t *testing.T) {
	var w *webtest.World
	plain := web.Place{Name: "plain", Open: func(ctx context.Context) (*web.Opened, error) {
		o, err := w.Place.Open(ctx)
		if err == nil {
			o.Region = nil
		}
		return o, err
	}}
	w = webtest.New(t, webtest.Options{More: []web.Place{plain}})
	Add(w.Site)
	w.Backup("photos", func(string) { w.Write("photos", "a", "aaa") })
	p := w.Get("/r/plain/cost")
	fine(t, p, http.StatusOK)
	has(t, p, "no prices are known for this store", "growth a day")
	fine(t, w.Get("/r/plain/frees"), http.StatusOK)
	fine(t, w.Post("/r/plain/cost/count", nil), http.StatusOK)
	has(t, w.Get("/r/plain/cost"), "the store was listed at")
}

// TestAway: what a repository that cannot be reached, or not whole, is known by is told with the reason.
func TestAway(t *testing.T) {
	p := &pages{site: webtest.New(t, webtest.Options{}).Site}
	if all := p.notices(&web.State{At: now}); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	all := p.notices(&web.State{At: now, Err: store.ErrTimeout, Damaged: []error{errors.New("bad"), errors.New("worse")}})
	if len(all) != 2 || !strings.Contains(all[0].Text, "this is how it stood at 2026-11-20 12:00") || all[0].Hint == "" || !strings.Contains(all[1].Text, "2 objects") {
		t.Errorf("%+v", all)
	}
}

// TestCurrencies: what it costs to leave is in one currency, and what it costs to arrive in another.
func TestCurrencies(t *testing.T) {
	here, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		t.Fatal(err)
	}
	there := *here
	there.Provider, there.Currency = "other", "EUR"
	inv := &cost.Inventory{At: now, Holdings: []cost.Holding{{Class: "DEEP_ARCHIVE", Kind: cost.Data, Objects: 1000, Bytes: 1 << 40, Billed: 1 << 40}}}
	a, err := cost.Compare(here, inv, &there, "STANDARD", cost.Outlook{Months: 12, Days: 7})
	if err != nil {
		t.Fatal(err)
	}
	if row := other(here, a); !strings.Contains(row.Moving, " + €") || !strings.HasPrefix(row.Month, "€") || !strings.HasPrefix(row.Moving, "$") {
		t.Errorf("%+v", row)
	}
}

// TestRules: what the configuration keeps is shown, with letters, reasons and dates, and pages of a long table lead to one another.
func TestRules(t *testing.T) {
	items := append(daily(500, 1, "/home", now), daily(500, 2, "/srv", now)...)
	rules := retention.Rules{{Source: "/home", Policy: retain.Policy{Daily: 7, Monthly: retain.All}}}
	w := webtest.New(t, webtest.Options{})
	p := &pages{site: w.Site}
	y := newYears(items, rules, now, time.UTC)
	f := &web.Frame{Archive: w.Site.Archives()[0]}
	d, err := p.calendarOf(f, y, asked{year: 2026, page: 1, strip: 1}, true)
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Rows) != rowsOnPage || d.Pages.After != "/r/nas/calendar?year=2026&page=2" || d.Pages.Text != "page 1 of 7" || d.Before != "/r/nas/calendar?year=2025" || d.After != "" || len(d.Pictures) != 2 || d.Pictures[0].Policy != "7 daily, all monthly" || d.Pictures[1].Policy != "" {
		t.Errorf("%+v", d.Pages)
	}
	var first, monthly *row
	for i := range d.Rows {
		if r := &d.Rows[i]; r.Name == "/home" {
			if first == nil {
				first = r
			}
			if r.Level.Word == "monthly" && monthly == nil {
				monthly = r
			}
		}
	}
	if first.Level.Word != "daily" || !strings.HasPrefix(first.Until, "at least 2026-11-2") || monthly.Until != "for good" || !strings.Contains(monthly.Why, "monthly 2026-11, all of them") {
		t.Errorf("%+v\n%+v", first, monthly)
	}
	d, err = p.calendarOf(f, y, asked{year: 2026, page: 99, strip: 99, day: "2026-11-20", source: y.lines[0].ID.String()}, true)
	if err != nil || len(d.Rows) != 1 || d.Rows[0].Name != "/home" || len(d.Pictures) != 1 {
		t.Errorf("%v, %+v", err, d)
	}
	var many []snapshot.Item
	for i := range 25 {
		many = append(many, daily(2, uint16(i), fmt.Sprintf("/%02d", i), now)...)
	}
	d, err = p.calendarOf(f, newYears(many, nil, now, time.UTC), asked{year: 2026, page: 1, strip: 2}, true)
	if err != nil || len(d.Pictures) != sourcesOnPage || d.Pictures[0].Name != "/10" || d.More.Text != "sources 11 to 20 of 25" || d.More.After != "/r/nas/calendar?year=2026&strip=3" || d.More.Before != "/r/nas/calendar?year=2026" {
		t.Errorf("%v, %+v", err, d.More)
	}
}

// TestMemo: one works, the others wait, a failure is tried again, and who leaves does not wait.
func TestMemo(t *testing.T) {
	var m memo[int]
	calls := 0
	fail := errors.New("no")
	if _, err := m.get(context.Background(), 1, func() (int, error) { calls++; return 0, fail }); !errors.Is(err, fail) {
		t.Error(err)
	}
	begun, end := make(chan bool), make(chan bool)
	var g sync.WaitGroup
	g.Go(func() {
		if v, err := m.get(context.Background(), 1, func() (int, error) { close(begun); <-end; calls++; return 7, nil }); v != 7 || err != nil {
			t.Error(v, err)
		}
	})
	<-begun
	gone, leave := context.WithCancel(context.Background())
	leave()
	if _, err := m.get(gone, 1, nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for range 3 {
		g.Go(func() {
			if v, err := m.get(context.Background(), 1, func() (int, error) { calls++; return 8, nil }); v != 7 || err != nil {
				t.Error(v, err)
			}
		})
	}
	close(end)
	g.Wait()
	if v, _ := m.get(context.Background(), 2, func() (int, error) { return 9, nil }); v != 9 || calls != 2 {
		t.Errorf("%d after %d calls", v, calls)
	}
	func() {
		defer func() { _ = recover() }()
		_, _ = m.get(context.Background(), 3, func() (int, error) { panic("bad") })
	}()
	if v, err := m.get(context.Background(), 3, func() (int, error) { return 4, nil }); v != 4 || err != nil {
		t.Error("after a panic nobody gets in:", v, err)
	}
}

// large is a site's worth of snapshots: hourly for eleven years from 50 sources.
func large() []snapshot.Item {
	var items []snapshot.Item
	for s := range 50 {
		for i := range 2000 {
			x := daily(1, uint16(s), fmt.Sprintf("/srv/%d", s), now.Add(-time.Duration(2000-i)*48*time.Hour))[0]
			copy(x.ID[:], fmt.Sprintf("%04x%08x", s, i))
			x.Sequence = uint64(i + 1)
			items = append(items, x)
		}
	}
	return items
}

// held reports what a benchmark's result takes in memory.
func held(b *testing.B, make func() any) {
	b.Helper()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := make()
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(after.HeapAlloc)-float64(before.HeapAlloc), "B-held")
	runtime.KeepAlive(x)
}

func BenchmarkYears(b *testing.B) {
	items := large()
	var rules retention.Rules
	for s := range 50 {
		rules = append(rules, retention.Rule{Source: fmt.Sprintf("/srv/%d", s), Host: "nas", Policy: retain.Policy{Daily: 14, Weekly: 8, Monthly: 24, Yearly: retain.All}})
	}
	for b.Loop() {
		newYears(items, rules, now, time.UTC)
	}
	held(b, func() any { return newYears(items, rules, now, time.UTC) })
}

func BenchmarkFlow(b *testing.B) {
	items := large()
	for b.Loop() {
		newFlow(items, now)
	}
	held(b, func() any { return newFlow(items, now) })
}

// BenchmarkPages is what pages of 100,000 snapshots take once all is worked out, template included.
func BenchmarkPages(b *testing.B) {
	items := large()
	w := webtest.New(b, webtest.Options{})
	p := &pages{site: w.Site, books: map[*web.Archive]*book{}}
	a := w.Site.Archives()[0]
	f := web.Frame{Title: "x", Archive: a}
	y, fl := newYears(items, nil, now, time.UTC), newFlow(items, now)
	region, err := price.Default().Region("aws", "us-east-1")
	if err != nil {
		b.Fatal(err)
	}
	s := &stock{region: region, inv: &cost.Inventory{At: now, Holdings: []cost.Holding{{Class: "DEEP_ARCHIVE", Kind: cost.Data, Objects: 1_000_000, Bytes: 1 << 45, Billed: 1 << 45}}}, growth: cost.GrowthOf(items, now, recent)}
	for i := range 3650 {
		s.births = append(s.births, cost.Birth{Day: now.AddDate(0, 0, i-3650), Class: "DEEP_ARCHIVE", Objects: 300, Bytes: 1 << 33, Billed: 1 << 33})
	}
	k := &known{State: web.State{Items: items, At: now}, book: &book{}}
	b.Run("calendar", func(b *testing.B) {
		for b.Loop() {
			d, err := p.calendarOf(&f, y, asked{year: 2026, page: 1, strip: 1}, true)
			if err == nil {
				err = w.Site.Render(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), f, calendarPage, d)
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("cost", func(b *testing.B) {
		for b.Loop() {
			d := &costData{}
			d.flows(fl, nil, time.UTC, now)
			p.streams(d, fl, s, now)
			p.money(d, a, k, s, httptest.NewRequest("GET", "/", nil))
			if err := w.Site.Render(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), f, costPage, d); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("stamp", func(b *testing.B) {
		for b.Loop() {
			stampOf(items)
		}
	})
}
