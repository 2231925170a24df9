package look

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"firn/internal/snapshot"
	"firn/internal/web"
	"firn/internal/web/gate"
)

// manySnapshots are those of 50 sources.
func manySnapshots(n int) []snapshot.Item {
	items := make([]snapshot.Item, n)
	for i := range items {
		s := &snapshot.Snapshot{Host: fmt.Sprintf("host%02d", i%50), Sequence: uint64(i/50 + 1), Complete: true, Start: time.Unix(int64(1.6e9)+int64(i)*300, 0).UTC(), Tags: []string{"daily"},
			Stats: snapshot.Stats{Files: 1000, Bytes: 1 << 30}, Program: "firn 1.0", Packs: make([]snapshot.Part, 1)}
		s.End = s.Start.Add(time.Minute)
		binary.BigEndian.PutUint64(s.ID[:], uint64(i)*0x9e3779b97f4a7c15)
		s.ID[15] = 1
		s.Source = snapshot.Origin{Kind: "dir", Path: fmt.Appendf(nil, "/data/%d", i%50)}
		s.Source.ID[0] = byte(i%50 + 1)
		items[i] = snapshot.Item{Snapshot: s, Marked: true}
		binary.BigEndian.PutUint64(items[i].Sum[:], uint64(i))
	}
	return items
}

// BenchmarkSnapshots100k makes pages of a list of 100,000 snapshots.
func BenchmarkSnapshots100k(b *testing.B) {
	site, err := web.New(web.Options{Places: []web.Place{{Name: "nas"}}, Gate: gate.New(gate.Options{})})
	if err != nil {
		b.Fatal(err)
	}
	defer site.Close()
	a := site.Archives()[0]
	t := web.Template(files, "snapshots.html", "parts.html")
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	st := web.NewState(manySnapshots(100_000), time.Now())
	runtime.GC()
	runtime.ReadMemStats(&after)
	for _, c := range []struct {
		name string
		f    snapshotFilter
		page int
	}{{"first", snapshotFilter{}, 1}, {"last", snapshotFilter{}, 1000}, {"filtered", snapshotFilter{Host: "host07", Tag: "daily", State: "done"}, 3}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				f := c.f
				d := listSnapshots(a.Base(), st, &f, c.page)
				if len(d.Rows) != rowsSnapshots {
					b.Fatal(len(d.Rows))
				}
				w := httptest.NewRecorder()
				if err := site.Render(w, httptest.NewRequest(http.MethodGet, "/", nil), web.Frame{Title: "Snapshots", Archive: a}, t, d); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-held")
		})
	}
	b.Run("find", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if _, ok := st.Find(st.Items[i*7919%len(st.Items)].ID); !ok {
				b.Fatal("not there")
			}
		}
	})
}

// TestManySnapshots: pages of a long list fit together.
func TestManySnapshots(t *testing.T) {
	st := web.NewState(manySnapshots(1234), time.Now())
	seen := map[snapshot.ID]bool{}
	for page := 1; ; page++ {
		d := listSnapshots("/r/x", st, &snapshotFilter{}, page)
		if d.Total != 1234 || d.Pages != 13 || (d.Older != "") != (page < 13) || (d.Newer != "") != (page > 1) || len(d.Sources) != 50 {
			t.Fatalf("page %d: %d of %d, %q, %q", page, d.Total, d.Pages, d.Older, d.Newer)
		}
		for i, r := range d.Rows {
			if seen[r.ID] || i > 0 && r.Start.After(d.Rows[i-1].Start) {
				t.Errorf("page %d, row %d: %v", page, i, r.ID)
			}
			seen[r.ID] = true
		}
		if d.Older == "" {
			break
		}
	}
	if len(seen) != 1234 {
		t.Errorf("%d of 1234", len(seen))
	}
}
