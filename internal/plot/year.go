package plot

import (
	"math"
	"strings"
	"time"
)

// Year is a year as a column for each week, from Monday on, and a square for each day.
type Year struct {
	Sheet
	Year  int    // 1 to 9999
	Kinds []Kind // of days
	Days  []Day  // from 1 January on; what is missing at the end has nothing
}

// Kind is what a day can be.
type Kind struct {
	Name   string
	Symbol string // in the square, one or two letters: colours do not stand alone
	Color  int
}

// Day is what is on a day.
type Day struct {
	Kind  int    // place in Year.Kinds plus one; 0: nothing
	Title string // empty: the date
	Link  string // where the square leads, a path, query or fragment of the same site; anything else is left out
	Faint bool   // drawn as a frame only: what is there goes
}

// Sizes of a year.
const (
	cell   = 13.0
	margin = 30.0
	weeks  = 54 // at most

	legendWidth = weeks * cell
)

// SVG draws it.
func (y *Year) SVG() []byte {
	year := min(max(y.Year, 1), 9999)
	first := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
	length := first.AddDate(1, 0, -1).YearDay()
	blank := (int(first.Weekday()) + 6) % 7
	s := y.Sheet
	links := false
	for i := range y.Days {
		links = links || local(y.Days[i].Link)
	}
	s.Width, s.Height = 0, 0
	top := 8
	if s.Alone {
		top = 70
	}
	rows := legendRows(y.Kinds, legendWidth)
	c := begin(&s, int(margin+weeks*cell)+8, top+int(math.Ceil(22+7*cell+10))+18*rows+4, links)
	at := float64(top) + 22
	for m := time.January; m <= time.December; m++ {
		week := (blank + time.Date(year, m, 1, 0, 0, 0, 0, time.UTC).YearDay() - 1 + 6) / 7 // the first that begins in it
		c.text("soft", margin+float64(week)*cell, at-7, "start", 11, m.String()[:3])
	}
	for _, d := range []int{0, 2, 4} {
		c.text("soft", margin-5, at+float64(d)*cell+10, "end", 10, [...]string{"Mon", "", "Wed", "", "Fri"}[d])
	}
	for i := range length {
		day := Day{}
		if i < len(y.Days) {
			day = y.Days[i]
		}
		y.square(c, first.AddDate(0, 0, i), day, margin+float64((blank+i)/7)*cell, at+float64((blank+i)%7)*cell)
	}
	if rows > 0 {
		y.legend(c, at+7*cell+10)
	}
	return c.end()
}

// local reports whether a link stays on the site.
func local(link string) bool {
	return strings.HasPrefix(link, "/") && !strings.HasPrefix(link, "//") && !strings.HasPrefix(link, `/\`) || strings.HasPrefix(link, "?") || strings.HasPrefix(link, "#")
}

// square draws a day.
func (y *Year) square(c *canvas, date time.Time, d Day, x, at float64) {
	title := d.Title
	if title == "" {
		title = date.Format("2006-01-02")
	}
	if d.Kind < 1 || d.Kind > len(y.Kinds) {
		c.put(`<rect class="none" x="`, num(x+0.5), `" y="`, num(at+0.5), `" width="`, num(cell-1), `" height="`, num(cell-1), `" rx="2" fill="`, empty, `"><title>`, escape(title), "</title></rect>\n")
		return
	}
	k := y.Kinds[d.Kind-1]
	n, fill := colorOf(k.Color)
	if local(d.Link) { // what is behind stands in a table as well: not one stop of the keyboard for each day
		c.put(`<a href="`, escape(d.Link), `" tabindex="-1" aria-label="`, escape(title), `">`)
		defer func() { c.b = append(c.b[:len(c.b)-1], "</a>\n"...) }()
	}
	if d.Faint {
		c.put(`<g><title>`, escape(title), `</title><rect class="cell s`, n, `" x="`, num(x+1.5), `" y="`, num(at+1.5), `" width="`, num(cell-3), `" height="`, num(cell-3), `" rx="2" fill="`, fill, `" fill-opacity="0" stroke="`, fill, "\"/>")
	} else {
		c.put(`<g><title>`, escape(title), `</title><rect class="cell f`, n, `" x="`, num(x+0.5), `" y="`, num(at+0.5), `" width="`, num(cell-1), `" height="`, num(cell-1), `" rx="2" fill="`, fill, "\"/>")
	}
	class := "mark"
	if d.Faint {
		class = "soft"
	}
	if symbol := fit(k.Symbol, cell, 9); symbol != "" {
		c.text(class, x+cell/2, at+cell-3.5, "middle", 9, symbol)
		c.b = c.b[:len(c.b)-1]
	}
	c.put("</g>\n")
}

// legendRows is how many rows the names of kinds take.
func legendRows(kinds []Kind, width float64) int {
	if len(kinds) == 0 {
		return 0
	}
	rows, x := 1, 0.0
	for _, k := range kinds {
		need := 19 + wide(fit(k.Name, 200, 12), 12) + 16
		if x > 0 && x+need > width {
			rows, x = rows+1, 0
		}
		x += need
	}
	return rows
}

func (y *Year) legend(c *canvas, at float64) {
	x := margin
	for i, k := range y.Kinds {
		name := fit(k.Name, 200, 12)
		need := 19 + wide(name, 12) + 16
		if i > 0 && x+need > margin+legendWidth {
			x, at = margin, at+18
		}
		n, fill := colorOf(k.Color)
		c.put(`<rect class="f`, n, `" x="`, num(x), `" y="`, num(at), `" width="`, num(cell), `" height="`, num(cell), `" rx="2" fill="`, fill, "\"/>\n")
		if symbol := fit(k.Symbol, cell, 9); symbol != "" {
			c.text("mark", x+cell/2, at+cell-3.5, "middle", 9, symbol)
		}
		c.text("soft", x+19, at+11, "start", 12, name)
		x += need
	}
}
