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
	"firn/internal/price"
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

// TestGuide holds the figures and the picture of docs/guide/nas-zfs.md to the table of prices. UPDATE=1 makes them anew.
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
