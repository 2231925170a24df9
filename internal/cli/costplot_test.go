package cli

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
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

// TestSVG: the picture is XML whatever its words are, says what it is about, and has a column for each month. What it looks like is for package plot to prove.
func TestSVG(t *testing.T) {
	for _, n := range []int{1, 2, 12, 36, 120, 600} {
		p := months(n, func(i int) float64 { return 2 + float64(i)/5 })
		p.region.Name, p.region.Currency = `<&"`, "<EUR>"
		svg := string(forecastSVG(p))
		d := xml.NewDecoder(strings.NewReader(svg))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%d months: not XML: %v", n, err)
			}
		}
		if columns := strings.Count(svg, "<g><title>"); columns != n || !strings.Contains(svg, "Cost of the next "+counted(int64(n), "month")) || !strings.Contains(svg, "stored at its end") {
			t.Errorf("%d months: %d columns\n%.500s", n, columns, svg)
		}
	}
	if flat := string(forecastSVG(months(3, func(int) float64 { return 0 }))); strings.Contains(flat, "NaN") {
		t.Errorf("a repository that costs nothing: %s", flat)
	}
}
