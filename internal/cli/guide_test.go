package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/cost"
	"firn/internal/plot"
	"firn/internal/price"
	"firn/internal/retain"
)

// The NAS of the guide: its files, which grow, in packs as a fast line makes them, with the parity of cold classes and a thousandth as much in lists, indexes and the like.
const (
	guidePack   = 256 << 20
	guideParity = 0.05
	guideHot    = 0.001
	guideGrowth = 5e9 // a day
)

// guideInventory is a repository of so many bytes of files.
func guideInventory(bytes int64) *cost.Inventory {
	packs := bytes / guidePack
	parity, hot := int64(float64(bytes)*guideParity), int64(float64(bytes)*guideHot)
	inv := &cost.Inventory{At: time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC), Listed: true}
	add := func(class string, kind cost.Kind, objects, bytes int64) {
		inv.Holdings = append(inv.Holdings, cost.Holding{Class: class, Kind: kind, Objects: objects, Bytes: bytes, Billed: bytes})
	}
	add("STANDARD", cost.Meta, hot/guidePack+1, hot)
	add("DEEP_ARCHIVE", cost.Data, packs, bytes)
	add("DEEP_ARCHIVE", cost.Parity, packs, parity)
	return inv
}

// guideOutlook is what the guide looks ahead at.
func guideOutlook() cost.Outlook {
	return cost.Outlook{Months: 36, Days: 7, Growth: cost.Growth{Span: 90 * 24 * time.Hour, Backups: 90, Bytes: guideGrowth, Packs: guideGrowth / guidePack, Runs: 1}}
}

// guideRegion is where the guide's bucket lies.
func guideRegion(t *testing.T, key string) *price.Region {
	t.Helper()
	r, err := price.Default().Region(price.Parsed(key))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// way is a restore of everything, by its tier and the way out of the store.
func way(t *testing.T, all []cost.Restore, tier, route string) *cost.Restore {
	t.Helper()
	i := slices.IndexFunc(all, func(o cost.Restore) bool { return o.Tier == tier && o.Route == route })
	if i < 0 {
		t.Fatalf("no restore by %s and %s in %+v", tier, route, all)
	}
	return &all[i]
}

// guideTables are the tables of docs/guide/nas-zfs.md.
func guideTables(t *testing.T) string {
	t.Helper()
	home := guideRegion(t, "aws/us-east-1")
	var b strings.Builder
	fmt.Fprintf(&b, "\nPrices: %s, %s (%s), without taxes. TB are 10¹² bytes; packs of 256 MiB; a thousandth of the files' size in lists and indexes; thawed copies stay for 7 days.\n\n", home.Source, home.Date, home.Key())
	b.WriteString("| files | first upload | a month | a year | everything back: in 2 days, to your house | … to a machine in that region | in half a day, to your house |\n|---|---|---|---|---|---|---|\n")
	round := home.Format
	for _, tb := range []int64{1, 4, 10} {
		inv := guideInventory(tb * 1e12)
		var sent []price.Sent
		for _, h := range inv.Holdings {
			sent = append(sent, price.Sent{Class: h.Class, Objects: h.Objects, Bytes: h.Bytes})
		}
		month := inv.Month(home).Total()
		all := cost.Restores(home, inv, 7)
		fmt.Fprintf(&b, "| %d TB | %s | **%s** | %s | %s | %s | %s |\n", tb, round(home.Backup(sent, 0, 0).Total()), round(month), round(12*month),
			round(way(t, all, "Bulk", price.Direct).Total()), round(way(t, all, "Bulk", price.InRegion).Total()), round(way(t, all, "Standard", price.Direct).Total()))
	}
	b.WriteString("\nThe same ten terabytes elsewhere, in the cheapest way back over the internet:\n\n| where | class | a month | everything back | when | prices of |\n|---|---|---|---|---|---|\n")
	for _, at := range []struct{ region, class string }{{"aws/us-east-1", "DEEP_ARCHIVE"}, {"aws/us-east-1", "GLACIER"}, {"aws/us-east-1", "GLACIER_IR"}, {"aws/us-east-1", "STANDARD"}, {"scaleway/fr-par", "GLACIER"}, {"wasabi/any", ""}, {"backblaze/any", ""}} {
		provider, name := price.Parsed(at.region)
		to, err := price.Default().Region(provider, name)
		if err != nil {
			t.Fatal(err)
		}
		a, err := cost.Compare(home, guideInventory(10e12), to, at.class, guideOutlook())
		if err != nil {
			t.Fatal(err)
		}
		back := cost.Cheapest(a.Restores)
		when := "at once"
		if back.Last > 0 {
			when = fmt.Sprintf("in %.0f hours", back.Last.Hours())
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", to.Key(), a.Class, to.Format(a.Month), to.Format(back.Total()), when, to.Date)
	}
	b.WriteString("\n")
	return b.String()
}

// guideYear draws what the rules of the guide keep of a snapshot a day, on the last day of a year.
func guideYear() string {
	policy := retain.Policy{Daily: 14, Weekly: 8, Monthly: 24}
	first := time.Date(2026, 1, 1, 2, 30, 0, 0, time.UTC)
	var snaps []retain.Snapshot
	for i := range 365 {
		s := retain.Snapshot{Source: [8]byte{1}, Time: first.AddDate(0, 0, i), Made: first.AddDate(0, 0, i), Sequence: uint64(i + 1), Done: true}
		s.ID[0], s.ID[1] = byte(i), byte(i>>8)+1
		snaps = append(snaps, s)
	}
	kinds := []struct {
		rule retain.Rule
		kind plot.Kind
	}{{retain.RuleMonthly, plot.Kind{Name: "first of a month", Symbol: "M", Color: 0}}, {retain.RuleWeekly, plot.Kind{Name: "first of a week", Symbol: "W", Color: 1}}, {retain.RuleDaily, plot.Kind{Name: "of the last 14 days", Symbol: "D", Color: 2}}}
	y := &plot.Year{Sheet: plot.Sheet{Title: "A snapshot a day, and what is kept of them on 31 December", Alone: true}, Year: 2026, Days: make([]plot.Day, len(snaps))}
	for _, k := range kinds {
		y.Kinds = append(y.Kinds, k.kind)
	}
	y.Kinds = append(y.Kinds, plot.Kind{Name: "forgotten by then", Symbol: "-", Color: 3})
	kept := 0
	for i, v := range retain.Decide(snaps, policy, first.AddDate(0, 0, len(snaps)-1).Add(time.Hour), time.UTC) {
		y.Days[i] = plot.Day{Kind: len(y.Kinds), Faint: true}
		if !v.Keep {
			continue
		}
		kept++
		for n := len(kinds) - 1; n >= 0; n-- { // the rule that keeps it the longest counts
			if slices.ContainsFunc(v.Reasons, func(r retain.Reason) bool { return r.Rule == kinds[n].rule && !r.Past }) {
				y.Days[i] = plot.Day{Kind: n + 1}
			}
		}
	}
	y.Desc = fmt.Sprintf("keep = { daily = 14, weekly = 8, monthly = 24 }: %d of %d", kept, len(snaps))
	return string(y.SVG())
}

// TestGuide holds the figures and the picture of docs/guide/nas-zfs.md to the table of prices, and that of a year to the rules of retention. UPDATE=1 makes them anew.
func TestGuide(t *testing.T) {
	dir := filepath.Join("..", "..", "docs", "guide")
	name := filepath.Join(dir, "nas-zfs.md")
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- From here made by go test ./internal/cli -run TestGuide with UPDATE=1 -->\n", "<!-- to here -->"
	text := strings.ReplaceAll(string(raw), "\r\n", "\n")
	before, rest, ok := strings.Cut(text, from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s: the marks are missing", name)
	}
	upToDate(t, name, before+from+guideTables(t)+to+after)

	r, o := guideRegion(t, "aws/us-east-1"), guideOutlook()
	p := &costPicture{region: r, stay: cost.Stay(r, guideInventory(10e12), o), outlook: o}
	upToDate(t, filepath.Join(dir, "pictures", "nas-cost.svg"), string(forecastSVG(p)))
	upToDate(t, filepath.Join(dir, "pictures", "year.svg"), guideYear())
}

// upToDate holds a file to what it should be, or with UPDATE=1 makes it so.
func upToDate(t *testing.T, name, want string) {
	t.Helper()
	got, err := os.ReadFile(name)
	switch {
	case err == nil && strings.ReplaceAll(string(got), "\r\n", "\n") == want:
	case os.Getenv("UPDATE") == "":
		t.Errorf("%s is stale: run this test with UPDATE=1", name)
	default:
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
