package plot

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// picture is any of them.
type picture interface{ SVG() []byte }

// box is what an element of a drawing covers.
type box struct {
	what, text string
	x, y, w, h float64
}

// boxes reads a picture: its size, rectangles, and texts as wide as a common font sets them. It fails where the picture is no XML, has a style attribute, or coordinates that are no numbers.
func boxes(t *testing.T, svg []byte) (paper box, rects, texts []box) {
	t.Helper()
	for _, bad := range []string{" style=", "NaN", "Inf", "%!"} {
		if bytes.Contains(svg, []byte(bad)) {
			t.Fatalf("the picture has %q", bad)
		}
	}
	d := xml.NewDecoder(bytes.NewReader(svg))
	var open *box
	anchor, size := "", 0.0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return paper, rects, texts
		}
		if err != nil {
			t.Fatalf("not XML: %v", err)
		}
		switch e := token.(type) {
		case xml.StartElement:
			a := map[string]string{}
			for _, attr := range e.Attr {
				a[attr.Name.Local] = attr.Value
			}
			n := func(name string) float64 {
				v, err := strconv.ParseFloat(a[name], 64)
				if err != nil && a[name] != "" {
					t.Fatalf("<%s %s=%q>", e.Name.Local, name, a[name])
				}
				return v
			}
			switch {
			case e.Name.Local == "svg":
				paper = box{w: n("width"), h: n("height")}
			case e.Name.Local == "rect":
				if n("width") < 0 || n("height") < 0 {
					t.Errorf("a rectangle of negative size: %+v", a)
				}
				rects = append(rects, box{a["class"], "", n("x"), n("y"), n("width"), n("height")})
			case e.Name.Local == "text" && a["transform"] == "":
				open, anchor, size = &box{what: a["class"], x: n("x"), y: n("y")}, a["text-anchor"], n("font-size")
			}
		case xml.CharData:
			if open != nil {
				open.text, open.w, open.h = string(e), float64(utf8.RuneCount(e))*size*0.56, size
				open.x -= map[string]float64{"middle": open.w / 2, "end": open.w}[anchor]
				open.y -= size
				texts, open = append(texts, *open), nil
			}
		case xml.EndElement:
			open = nil
		}
	}
}

// sound holds a picture to what all of them promise: it is XML, all lies on the paper, no text over another, and it is bounded.
func sound(t *testing.T, name string, p picture) []byte {
	t.Helper()
	svg := p.SVG()
	if again := p.SVG(); !bytes.Equal(svg, again) {
		t.Errorf("%s: not the same twice", name)
	}
	if len(svg) > 600<<10 {
		t.Errorf("%s: %d bytes", name, len(svg))
	}
	paper, rects, texts := boxes(t, svg)
	for _, b := range append(rects, texts...) {
		if b.x < -0.5 || b.y < -0.5 || b.x+b.w > paper.w+0.5 || b.y+b.h > paper.h+0.5 {
			t.Errorf("%s: off the paper of %v by %v: %+v", name, paper.w, paper.h, b)
		}
	}
	for i, a := range texts {
		for _, b := range texts[:i] {
			if a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h {
				t.Errorf("%s: %+v lies over %+v", name, a, b)
			}
		}
	}
	return svg
}

func money(v float64) string { return fmt.Sprintf("$%.2f", v) }

func days(n int) (x []float64) {
	for i := range n {
		x = append(x, At(time.Date(2026, 1, 1+i, 12, 0, 0, 0, time.UTC)))
	}
	return x
}

func values(n int, of func(i int) float64) (y []float64) {
	for i := range n {
		y = append(y, of(i))
	}
	return y
}

// examples are the golden pictures.
func examples() map[string]picture {
	utc := time.UTC
	x := days(40)
	stored := Plot{Sheet: Sheet{ID: "stored", Title: "Stored", Desc: "bytes in packs by source"}, X: Axis{Time: utc}, Y: Axis{Label: "stored", Unit: Bytes()}, Series: []Series{
		{Name: "/home", Shape: Area, Color: 0, X: x, Y: values(40, func(i int) float64 { return float64(i+3) * 1e9 })},
		{Name: "/srv <photos> & more", Shape: Area, Color: 1, X: x, Y: values(40, func(i int) float64 { return float64(i*i) * 1e8 })},
	}}
	alone := stored
	alone.Alone, alone.Height = true, 400
	sizes := values(7, func(i int) float64 { return math.Pow(10, float64(i+1)) })
	months := &Columns{Sheet: Sheet{ID: "cost", Title: "Cost", Alone: true, Height: 420}, Label: "month that begins then", Ends: true, Y: Axis{Label: "cost of a month", Unit: Money(money)},
		Parts: []Part{{"storage", 0, values(12, func(i int) float64 { return 1 + float64(i)/5 })}, {"requests", 1, values(12, func(i int) float64 { return 0.3 })}}}
	for i := range 12 {
		at := time.Date(2026, time.Month(11+i), 20, 0, 0, 0, 0, utc)
		months.Slots = append(months.Slots, Slot{at.Format("Jan"), at.Format("2006"), at.Format("2006-01-02")})
	}
	year := &Year{Sheet: Sheet{ID: "year", Title: "2026 of /home", Desc: "a square for each day"}, Year: 2026,
		Kinds: []Kind{{"yearly", "Y", 8}, {"monthly", "M", 4}, {"daily", "D", 0}, {"goes", "×", 7}}}
	for i := range 200 {
		d := Day{Kind: 3, Link: fmt.Sprintf("?day=%d&source=a", i), Title: fmt.Sprintf("day %d: kept as daily", i)}
		switch {
		case i == 0:
			d.Kind = 1
		case i%30 == 0:
			d.Kind = 2
		case i%3 == 1:
			d.Kind, d.Faint = 4, true
		case i%7 == 6:
			d = Day{}
		}
		year.Days = append(year.Days, d)
	}
	return map[string]picture{
		"areas": &stored, "areas-alone": &alone, "columns": months, "year": year,
		"log": &Plot{Sheet: Sheet{ID: "scale", Title: "Memory by files", Alone: true}, X: Axis{Label: "files", Unit: Counts(), Log: true}, Y: Axis{Label: "memory", Unit: Bytes(), Log: true}, Series: []Series{
			{Name: "firn", Color: 0, X: sizes, Y: values(7, func(i int) float64 { return 30e6 + 40*sizes[i] })},
			{Name: "other", Color: 1, X: sizes, Y: values(7, func(i int) float64 { return 50e6 + 900*sizes[i] })},
		}},
		"steps": &Plot{Sheet: Sheet{ID: "steps", Title: "Snapshots", Height: 200}, X: Axis{Time: utc}, Y: Axis{Unit: Counts()}, Zero: true, Series: []Series{
			{Name: "", Shape: Steps, Color: 2, X: x[:9], Y: []float64{1, 2, 3, math.NaN(), 3, 4, 4, 5, 2}}}},
		"bars":  &Bars{Sheet: Sheet{ID: "bars", Title: "Restore"}, Unit: Money(money), Rows: []string{"Bulk", "Standard", "Expedited"}, Parts: []Part{{"thaw", 4, []float64{2, 10, 30}}, {"egress", 1, []float64{90, 90, 90}}}},
		"spark": &Spark{Sheet: Sheet{ID: "spark", Title: "growth"}, Values: []float64{1, 2, 2, 3, 5, 8, math.Inf(1), 13, 12}},
	}
}

func TestGolden(t *testing.T) {
	for name, p := range examples() {
		svg := sound(t, name, p)
		path := filepath.Join("testdata", name+".svg")
		if *update {
			if err := os.WriteFile(path, svg, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(svg, want) {
			t.Errorf("%s is drawn in another way (-update writes it anew):\n%.2000s", name, svg)
		}
	}
}

// TestAnything: whatever the numbers and texts are, pictures are sound and bounded.
func TestAnything(t *testing.T) {
	nasty := []float64{0, math.Copysign(0, -1), 1, -1, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64, math.SmallestNonzeroFloat64, 1e300, -1e300, 1e-300, 3, 1e15}
	evil := "</title><script>alert(1)</script>\"'&\x00\x1b\xff\u202eevil"
	shapes := map[string]func(i int) float64{
		"nasty": func(i int) float64 { return nasty[i*7%len(nasty)] }, "zero": func(int) float64 { return 0 }, "tiny": func(i int) float64 { return 1e-9 * float64(i) },
		"huge": func(i int) float64 { return 1e299 * float64(i+1) }, "falling": func(i int) float64 { return 100 / float64(i+1) }, "same": func(int) float64 { return 42 }, "below": func(i int) float64 { return -float64(i) },
	}
	for name, shape := range shapes {
		for _, n := range []int{0, 1, 2, 12, 3000} {
			y := values(n, shape)
			for _, alone := range []bool{true, false} {
				for _, size := range [][2]int{{0, 0}, {1, 1}, {1500, 900}} {
					s := Sheet{ID: evil, Title: evil, Desc: evil, Alone: alone, Width: size[0], Height: size[1]}
					what := fmt.Sprintf("%s, %d, %v, alone %v", name, n, size, alone)
					if n > 1000 && alone {
						continue
					}
					check := sound
					for _, unit := range []Unit{Bytes(), Counts(), Money(money), Seconds(), {}} {
						for _, log := range []bool{false, true} {
							p := &Plot{Sheet: s, X: Axis{Label: "x", Unit: unit, Log: log}, Y: Axis{Label: "y", Unit: unit, Log: log}, Series: []Series{{evil, Line, 0, y, y}, {"b", Steps, 1, values(n, func(i int) float64 { return float64(i) }), y}, {"c", Area, -3, y, y}}}
							check(t, what+" plot", p)
						}
					}
					check(t, what+" time", &Plot{Sheet: s, X: Axis{Time: time.UTC}, Y: Axis{Unit: Bytes()}, Series: []Series{{"a", Area, 0, y, y}}})
					c := &Columns{Sheet: s, Label: evil, Y: Axis{Label: evil, Unit: Bytes()}, Parts: []Part{{"a", 0, y}, {evil, 77, y}}, Ends: true}
					bs := &Bars{Sheet: s, Unit: Bytes(), Parts: c.Parts}
					for i := range n {
						c.Slots = append(c.Slots, Slot{strconv.Itoa(i), strconv.Itoa(i / 9), evil})
						bs.Rows = append(bs.Rows, evil)
					}
					check(t, what+" columns", c)
					bounded(t, what+" bars", bs)
					bounded(t, what+" spark", &Spark{Sheet: s, Values: y})
				}
			}
		}
	}
}

// bounded is sound without the layout.
func bounded(t *testing.T, name string, p picture) []byte {
	t.Helper()
	svg := p.SVG()
	if len(svg) > 600<<10 {
		t.Errorf("%s: %d bytes", name, len(svg))
	}
	boxes(t, svg)
	if bytes.Contains(svg, []byte("<script")) {
		t.Errorf("%s: a text that was not escaped", name)
	}
	return svg
}

// TestHuge: a hundred thousand points become as many as there are columns of pixels, and the least and the greatest of them are still there.
func TestHuge(t *testing.T) {
	const n = 100_000
	x, y := make([]float64, n), make([]float64, n)
	for i := range x {
		x[i], y[i] = float64(i)*60, math.Sin(float64(i)/3000)
	}
	y[50_001], y[70_003] = 9, -9
	for _, shape := range []Shape{Line, Steps, Area} {
		p := &Plot{Sheet: Sheet{Title: "a"}, X: Axis{Time: time.UTC}, Series: []Series{{"a", shape, 0, x, y}}}
		svg := sound(t, "huge", p)
		if len(svg) > 100<<10 {
			t.Errorf("shape %d: %d bytes", shape, len(svg))
		}
		if shape == Area {
			continue
		}
		r := p.prepared()[0]
		low, high := false, false
		for _, v := range r.Y {
			low, high = low || v == -9, high || v == 9
		}
		if len(r.X) > 4*761 || !low || !high {
			t.Errorf("%d points, low %v, high %v", len(r.X), low, high)
		}
	}
	c := &Columns{Sheet: Sheet{Title: "a"}, Slots: make([]Slot, n), Parts: []Part{{"a", 0, x}, {"b", 1, x}}}
	sound(t, "many columns", c)
}

func TestStep(t *testing.T) {
	for most, want := range map[float64]float64{5: 1, 5.1: 2, 10: 2, 11: 5, 26: 10, 0.032: 0.01, 1: 0.2, 0: 0.2, 49: 10, 50: 10, 1e-9: 1e-6, math.NaN(): 0.2, math.Inf(1): 0.2, -3: 0.2} {
		if got := Step(most, 5, 1e-6); math.Abs(got-want) > want*1e-9 {
			t.Errorf("%v: %v, want %v", most, got, want)
		}
	}
}

func labels(s *scale) string {
	var all []string
	for _, t := range s.ticks {
		all = append(all, strings.TrimSpace(t.label+" "+t.under))
	}
	return strings.Join(all, ", ")
}

func TestTicks(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones here")
	}
	at := func(text string) float64 {
		v, err := time.ParseInLocation("2006-01-02 15:04", text, berlin)
		if err != nil {
			t.Fatal(err)
		}
		return At(v)
	}
	for _, c := range []struct {
		a      Axis
		lo, hi float64
		ticks  int
		want   string
	}{
		{Axis{Unit: Bytes()}, 0, 3 << 30, 4, "0 B, 1 GiB, 2 GiB, 3 GiB"},
		{Axis{Unit: Bytes()}, 0, 100, 4, "0 B, 32 B, 64 B, 96 B, 128 B"},
		{Axis{Unit: Counts()}, 0, 2, 5, "0, 1, 2"},
		{Axis{Unit: Counts()}, 990, 12345, 4, "0, 5,000, 10,000, 15,000"},
		{Axis{Unit: Money(money)}, 0, 4.2, 5, "$0.00, $1.00, $2.00, $3.00, $4.00, $5.00"},
		{Axis{Unit: Counts(), Log: true}, 1, 1e6, 6, "1, 10, 100, 1,000, 10,000, 100,000, 1,000,000"},
		{Axis{Unit: Counts(), Log: true}, 3, 60, 6, "2, 5, 10, 20, 50, 100"},
		{Axis{Unit: Bytes(), Log: true}, 1 << 20, 1 << 40, 3, "1 MiB, 1 GiB, 1 TiB"},
		{Axis{Unit: Seconds(), Log: true}, 1e-3, 100, 6, "1 ms, 10 ms, 100 ms, 1 s, 10 s, 1.667 min"},
		{Axis{Time: berlin}, at("2026-01-15 12:00"), at("2026-06-15 12:00"), 6, "Feb 2026, Mar 2026, Apr 2026, May 2026, Jun 2026"},
		{Axis{Time: berlin}, at("2020-03-15 12:00"), at("2026-06-15 12:00"), 7, "2021, 2022, 2023, 2024, 2025, 2026"},
		{Axis{Time: berlin}, at("2026-03-28 12:00"), at("2026-03-30 12:00"), 3, "29 Mar 2026, 30 Mar 2026"}, // the first of these days has 23 hours
		{Axis{Time: berlin}, at("2026-10-24 21:30"), at("2026-10-25 05:10"), 9, "22:00 24 Oct 2026, 23:00 24 Oct 2026, 00:00 25 Oct 2026, 01:00 25 Oct 2026, 02:00 25 Oct 2026, 03:00 25 Oct 2026, 04:00 25 Oct 2026, 05:00 25 Oct 2026"},
		{Axis{Time: berlin}, at("2026-10-24 21:30"), at("2026-10-25 05:10"), 4, "00:00 25 Oct 2026, 03:00 25 Oct 2026"},
		{Axis{Time: time.UTC}, -1e300, 1e300, 5, "1, 2000, 4000, 6000, 8000"},
	} {
		if c.a.Time != nil && c.a.Unit.Text == nil && c.lo == -1e300 {
			c.want = labels(newScale(&c.a, c.lo, c.hi, false, c.ticks, 0, 100)) // any, as long as it ends
		}
		if got := labels(newScale(&c.a, c.lo, c.hi, true, c.ticks, 0, 100)); got != c.want {
			t.Errorf("%v to %v: %s\nwant %s", c.lo, c.hi, got, c.want)
		}
	}
}

// TestContrast: what is drawn can be told from the paper by eyes that need 4.5 times the luminance (WCAG 2.2, 1.4.3), on light paper and on dark.
func TestContrast(t *testing.T) {
	luminance := func(hex string) (sum float64) {
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(hex[1+2*i:3+2*i], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			v := float64(n) / 255
			if v <= 0.04045 {
				v /= 12.92
			} else {
				v = math.Pow((v+0.055)/1.055, 2.4)
			}
			sum += weight * v
		}
		return sum
	}
	contrast := func(a, b string) float64 {
		la, lb := luminance(a), luminance(b)
		return (math.Max(la, lb) + 0.05) / (math.Min(la, lb) + 0.05)
	}
	all := append([]color{{ink, darkInk}, {soft, darkSoft}}, palette[:]...)
	for _, c := range all {
		if l, d := contrast(c.light, paper), contrast(c.dark, darkPaper); l < 4.5 || d < 4.5 {
			t.Errorf("%+v: %.2f on light, %.2f on dark", c, l, d)
		}
	}
}

func TestYearLinks(t *testing.T) {
	y := &Year{Sheet: Sheet{Title: "a"}, Year: 2024, Kinds: []Kind{{"a", "A", 0}}}
	for _, link := range []string{"javascript:alert(1)", "//evil", `/\evil`, "https://evil", "", "/good?a=1&b=\"2\"", "?x"} {
		y.Days = append(y.Days, Day{Kind: 1, Link: link}, Day{Kind: 9, Link: "/none"})
	}
	svg := string(sound(t, "links", y))
	if strings.Contains(svg, "evil") || strings.Contains(svg, "javascript") || strings.Count(svg, "<a ") != 2 || !strings.Contains(svg, `role="group"`) {
		t.Errorf("%s", svg)
	}
	if n := strings.Count(svg, "<title>2024-"); n != 366 {
		t.Errorf("%d days", n)
	}
	for _, year := range []int{-5, 0, 1, 1900, 2000, 2012, 2028, 9999, 123456} { // 2012 and 2028 have 54 columns or begin on a Saturday
		sound(t, fmt.Sprint(year), &Year{Sheet: Sheet{Title: "a", Alone: year%2 == 0}, Year: year, Kinds: y.Kinds, Days: make([]Day, 500)})
	}
}

// TestStyle: what a page takes into its style sheet closes all that it opens, and is what pictures of their own have.
func TestStyle(t *testing.T) {
	if s := Style(); strings.Count(s, "{") != strings.Count(s, "}") || !strings.Contains(s, "prefers-color-scheme: dark") || strings.Contains(s, "<") {
		t.Error(s)
	}
}

func BenchmarkPlot(b *testing.B) {
	const n = 100_000
	x, y := make([]float64, n), make([]float64, n)
	for i := range x {
		x[i], y[i] = float64(i)*600, float64(i%977)
	}
	for _, s := range []struct {
		name  string
		shape Shape
	}{{"line", Line}, {"area", Area}} {
		b.Run(s.name, func(b *testing.B) {
			p := &Plot{Sheet: Sheet{Title: "a"}, X: Axis{Time: time.UTC}, Series: []Series{{"a", s.shape, 0, x, y}}}
			for b.Loop() {
				b.SetBytes(int64(len(p.SVG())))
			}
		})
	}
}
