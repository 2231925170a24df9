package cli

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"

	"firn/internal/cost"
	"firn/internal/price"
	"firn/internal/units"
)

// Geometry of the SVG, in its units.
const (
	svgWidth, svgHeight = 760, 420
	svgLeft, svgRight   = 84, 24
	svgTop, svgBottom   = 84, 72
	svgTicks            = 5
)

// Colours of the drawing stand as attributes, for programs that know no style sheets; the sheet replaces them where the reader's screen is dark.
const svgStyle = `<style>
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; font-variant-numeric: tabular-nums }
@media (prefers-color-scheme: dark) {
.paper { fill: #12181e } .ink { fill: #e6ebf0 } .soft { fill: #9fb0bf } .grid { stroke: #2c3944 } .axis { stroke: #72828f }
.storage { fill: #6cb0df } .requests { fill: #f0b45f }
}
</style>
`

// forecastSVG draws the months ahead: a bar for each, or for a few where there are many, of storage and requests.
func forecastSVG(p *costPicture) []byte {
	months := p.stay.Forecast
	most := 0.0
	for _, m := range months {
		most = math.Max(most, float64(m.Total()))
	}
	d := &drawing{p: p, months: months, step: niceStep(most, svgTicks)}
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">`+"\n", svgWidth, svgHeight, svgWidth, svgHeight)
	title := fmt.Sprintf("Cost of the next %s: %s", counted(int64(len(months)), "month"), p.region.Format(cost.Sum(months)))
	d.printf("<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n%s", html.EscapeString(title), html.EscapeString(d.below()), svgStyle)
	d.printf("<rect class=\"paper\" width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n", svgWidth, svgHeight)
	d.text("ink", 24, 32, "start", 18, title)
	d.text("soft", 24, 53, "start", 12, d.below())
	d.scale()
	d.bars()
	d.legend()
	d.printf("</svg>\n")
	return []byte(d.b.String())
}

// drawing is an SVG in the making.
type drawing struct {
	p      *costPicture
	months []cost.Period
	step   float64 // of the scale, in money
	b      strings.Builder
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.b, format, args...) }

func (d *drawing) text(class string, x, y float64, anchor string, size int, text string) {
	fill := map[string]string{"ink": "#1b2733", "soft": "#5b6b79"}[class]
	d.printf("<text class=\"%s\" x=\"%s\" y=\"%s\" text-anchor=\"%s\" font-size=\"%d\" fill=\"%s\">%s</text>\n", class, num(x), num(y), anchor, size, fill, html.EscapeString(text))
}

// num prints a coordinate.
func num(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) }

// below is what stands below the title.
func (d *drawing) below() string {
	growth := "no growth known"
	if g := d.p.outlook.Growth; g.Backups > 0 {
		growth = fmt.Sprintf("%v more a day, everything kept", units.Size(g.Bytes))
	}
	return fmt.Sprintf("%s, prices of %s; %s", d.p.region.Key(), d.p.region.Date, growth)
}

// y is where an amount lies.
func (d *drawing) y(amount float64) float64 {
	return svgHeight - svgBottom - amount/(d.step*svgTicks)*(svgHeight-svgTop-svgBottom)
}

func (d *drawing) scale() {
	for tick := range svgTicks + 1 {
		v := d.step * float64(tick)
		class, stroke := "grid", "#dde4ea"
		if tick == 0 {
			class, stroke = "axis", "#5b6b79"
		}
		d.printf("<line class=\"%s\" x1=\"%d\" y1=\"%s\" x2=\"%d\" y2=\"%s\" stroke=\"%s\"/>\n", class, svgLeft, num(d.y(v)), svgWidth-svgRight, num(d.y(v)), stroke)
		d.text("soft", svgLeft-8, d.y(v)+4, "end", 12, d.p.region.Format(price.Money(v)))
	}
	middle := (svgTop + svgHeight - svgBottom) / 2
	d.printf("<text class=\"soft\" x=\"20\" y=\"%d\" transform=\"rotate(-90 20 %d)\" text-anchor=\"middle\" font-size=\"12\" fill=\"#5b6b79\">cost of a month</text>\n", middle, middle)
	d.text("soft", (svgLeft+svgWidth-svgRight)/2, svgHeight-14, "middle", 12, "month that begins then")
}

func (d *drawing) bars() {
	each := float64(svgWidth-svgLeft-svgRight) / float64(len(d.months))
	gap := math.Min(8, each*0.25)
	labels := 1
	for float64(labels)*each < 44 {
		labels++
	}
	year := 0
	for i, m := range d.months {
		x := svgLeft + float64(i)*each + gap/2
		storage, total := d.y(float64(m.Storage)), d.y(float64(m.Total()))
		d.printf("<g><title>%s: %s, %s stored at its end</title>", m.Start.Format("2006-01-02"), html.EscapeString(d.p.region.Format(m.Total())), units.Size(m.Bytes))
		d.printf("<rect class=\"storage\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"#2f6f9f\"/>", num(x), num(storage), num(each-gap), num(d.y(0)-storage))
		d.printf("<rect class=\"requests\" x=\"%s\" y=\"%s\" width=\"%s\" height=\"%s\" fill=\"#d07f1c\"/></g>\n", num(x), num(total), num(each-gap), num(storage-total))
		if i == 0 || i == len(d.months)-1 {
			at := math.Min(svgWidth-svgRight, math.Max(svgLeft, x+(each-gap)/2))
			anchor := "middle"
			if i > 0 && each < 44 {
				at, anchor = svgWidth-svgRight, "end"
			} else if each < 44 {
				at, anchor = svgLeft, "start"
			}
			d.text("ink", at, total-6, anchor, 12, d.p.region.Format(m.Total()))
		}
		if i%labels == 0 {
			d.text("soft", x+(each-gap)/2, svgHeight-svgBottom+18, "middle", 12, m.Start.Format("Jan"))
			if m.Start.Year() != year {
				year = m.Start.Year()
				d.text("soft", x+(each-gap)/2, svgHeight-svgBottom+34, "middle", 12, m.Start.Format("2006"))
			}
		}
	}
}

func (d *drawing) legend() {
	for i, l := range []struct{ class, fill, text string }{{"storage", "#2f6f9f", "storage"}, {"requests", "#d07f1c", "requests"}} {
		x := float64(svgWidth - svgRight - 180 + 95*i)
		d.printf("<rect class=\"%s\" x=\"%s\" y=\"%d\" width=\"11\" height=\"11\" fill=\"%s\"/>\n", l.class, num(x), svgHeight-24, l.fill)
		d.text("soft", x+17, svgHeight-14, "start", 12, l.text)
	}
}
