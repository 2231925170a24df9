package cli

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"firn/internal/cost"
	"firn/internal/price"
)

// months makes a picture of n months, the cost of each given by its number.
func months(n int, of func(i int) float64) *costPicture {
	start := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	p := &costPicture{region: &price.Region{Provider: "aws", Name: "us-east-1", Currency: "USD", Date: "2026-09-30"}, stay: &cost.Alternative{}}
	for i := range n {
		v := price.Money(of(i))
		p.stay.Forecast = append(p.stay.Forecast, cost.Period{Start: start.AddDate(0, i, 0), End: start.AddDate(0, i+1, 0), Bytes: int64(i) << 30, Storage: v * 0.9, Requests: v * 0.1})
	}
	return p
}

func TestPlot(t *testing.T) {
	p := months(12, func(i int) float64 { return 1 + float64(i)/4 })
	got := plotMonths(p, p.stay.Forecast, 60, true)
	want := `
$5.00 ┤
      │
$4.00 ┤
      │                                  ▂▂▂ ███
$3.00 ┤                          ▄▄▄ ███ ███ ███
      │                  ▄▄▄ ███ ███ ███ ███ ███
$2.00 ┤              ▄▄▄ ███ ███ ███ ███ ███ ███
`
	lines := strings.Split(got, "\n")
	if len(lines) != plotRows+4 || !strings.HasPrefix(lines[0], "$5.00 ┤") || !strings.HasPrefix(lines[10], "$0.00 └──") || !strings.HasPrefix(lines[11], "       Nov") || !strings.HasPrefix(lines[12], "       2026") {
		t.Errorf("got\n%s\nwant something like\n%s", got, want)
	}
	if strings.Count(lines[9], "█") != 36 || strings.Count(lines[0], "█") != 0 {
		t.Errorf("the lowest row is full, the topmost empty:\n%s", got)
	}
}

// TestPlotFits: a plot keeps within the terminal and never fails, whatever it shows; where the terminal knows no more, it is ASCII.
func TestPlotFits(t *testing.T) {
	shapes := map[string]func(int) float64{
		"zero": func(int) float64 { return 0 }, "tiny": func(i int) float64 { return 1e-9 * float64(i) }, "huge": func(i int) float64 { return 1e9 * float64(i+1) }, "falling": func(i int) float64 { return 100 / float64(i+1) },
	}
	for name, shape := range shapes {
		for _, n := range []int{1, 2, 12, 40, 600} {
			for _, width := range []int{1, 30, 80, 300} {
				p := months(n, shape)
				for _, unicode := range []bool{true, false} {
					got := plotMonths(p, p.stay.Forecast, width, unicode)
					for _, line := range strings.Split(got, "\n") {
						if w := utf8.RuneCountInString(line); w > max(width, 40) {
							t.Fatalf("%s, %d months on %d columns: a line of %d:\n%s", name, n, width, w, got)
						}
						if !unicode && strings.Trim(line, " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~") != "" {
							t.Fatalf("not ASCII: %q", line)
						}
					}
				}
			}
		}
	}
}

func TestNiceStep(t *testing.T) {
	for most, want := range map[float64]float64{5: 1, 5.1: 2, 10: 2, 11: 5, 26: 10, 0.032: 0.01, 1: 0.2, 0: 0.2, 49: 10, 50: 10, 1e-9: 1e-6} {
		if got := niceStep(most, 5); math.Abs(got-want) > want*1e-9 {
			t.Errorf("%v: %v, want %v", most, got, want)
		}
	}
}

func TestSpeaksUTF8(t *testing.T) {
	for _, x := range []struct {
		all, ctype, lang string
		want             bool
	}{{"", "", "", false}, {"", "", "de_DE.UTF-8", true}, {"C", "", "de_DE.UTF-8", false}, {"", "en_US.utf8", "C", true}, {"", "", "POSIX", false}} {
		t.Setenv("LC_ALL", x.all)
		t.Setenv("LC_CTYPE", x.ctype)
		t.Setenv("LANG", x.lang)
		if got := speaksUTF8(); got != x.want && !strings.Contains(fmt.Sprint(t.Name()), "windows") {
			t.Errorf("%+v: %v", x, got)
		}
	}
}

// box is what an element of a drawing covers.
type box struct {
	what       string
	x, y, w, h float64
}

// boxes reads an SVG that forecastSVG made: its rectangles, and its texts as wide as a common font sets them.
func boxes(t *testing.T, svg []byte) (rects, texts []box) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(svg)))
	var open *box
	anchor, size := "", 0.0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return rects, texts
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
			n := func(name string) float64 { v, _ := strconv.ParseFloat(a[name], 64); return v }
			switch {
			case e.Name.Local == "rect":
				rects = append(rects, box{a["class"], n("x"), n("y"), n("width"), n("height")})
			case e.Name.Local == "text" && a["transform"] == "":
				open, anchor, size = &box{x: n("x"), y: n("y")}, a["text-anchor"], n("font-size")
			}
		case xml.CharData:
			if open != nil {
				open.what, open.w, open.h = string(e), float64(utf8.RuneCount(e))*size*0.56, size
				open.x -= map[string]float64{"middle": open.w / 2, "end": open.w}[anchor]
				open.y -= size
				texts, open = append(texts, *open), nil
			}
		}
	}
}

// TestSVG looks at the geometry: everything lies on the paper, bars stand on the axis and are as high as they should, and no text lies over another.
func TestSVG(t *testing.T) {
	for _, n := range []int{1, 2, 12, 36, 120, 600} {
		p := months(n, func(i int) float64 { return 2 + float64(i)/5 })
		p.region.Source = `<&"`
		rects, texts := boxes(t, forecastSVG(p))
		bars := 0
		for i, b := range append(rects, texts...) {
			if b.x < 0 || b.y < 0 || b.x+b.w > svgWidth || b.y+b.h > svgHeight {
				t.Errorf("%d months: off the paper: %+v", n, b)
			}
			if i < len(rects) && b.what == "storage" && b.y != svgHeight-24 {
				bars++
				if math.Abs(b.y+b.h-(svgHeight-svgBottom)) > 0.02 || b.y < svgTop-0.01 || b.x < svgLeft || b.x+b.w > svgWidth-svgRight {
					t.Errorf("%d months: a bar beside the axes: %+v", n, b)
				}
			}
		}
		if bars != n {
			t.Errorf("%d months: %d bars", n, bars)
		}
		for i, a := range texts {
			for _, b := range texts[:i] {
				if a.x < b.x+b.w && b.x < a.x+a.w && a.y < b.y+b.h && b.y < a.y+a.h {
					t.Errorf("%d months: %+v lies over %+v", n, a, b)
				}
			}
		}
	}
	flat, _ := boxes(t, forecastSVG(months(3, func(int) float64 { return 0 })))
	for _, b := range flat {
		if b.h < 0 || math.IsNaN(b.y) {
			t.Errorf("a repository that costs nothing: %+v", b)
		}
	}
}
