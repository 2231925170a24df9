package plot

import (
	"math"
	"strconv"
)

// Bars is a horizontal bar for each of some things, of parts that stand behind one another.
type Bars struct {
	Sheet // its height follows from the rows
	Unit  Unit
	Parts []Part // Values are by row
	Rows  []string
}

// maxRows bounds the rows of a picture; the others become one.
const maxRows = 40

// SVG draws it.
func (bs *Bars) SVG() []byte {
	rows, parts := bs.folded()
	s := bs.Sheet
	s.Height = 0
	top := 12
	if s.Alone {
		top = 76
	}
	legends := 0
	if len(parts) > 1 {
		legends = 22 * (1 + len(parts)/3)
	}
	c := begin(&s, 760, top+legends+22*max(1, len(rows))+8, false)
	y := float64(top)
	if len(parts) > 1 {
		var names []string
		var colors []int
		for i := range parts {
			names, colors = append(names, parts[i].Name), append(colors, parts[i].Color)
		}
		c.legend(y, names, colors)
		y += float64(legends)
	}
	all := Columns{Parts: parts}
	most, left, right := 0.0, 40.0, 40.0
	for i, row := range rows {
		most = math.Max(most, all.total(i))
		left = math.Max(left, wide(row, 12))
		right = math.Max(right, wide(bs.Unit.text(all.total(i)), 12))
	}
	left = math.Min(left, c.w*0.4) + 12
	right = math.Min(right, c.w*0.3) + 12
	for i, row := range rows {
		c.text("soft", left-6, y+15, "end", 12, fitName(row, left-8, 12))
		c.put("<g><title>", escape(row), ": ", escape(bs.Unit.text(all.total(i))))
		sum, x := 0.0, left
		for k := range parts {
			if len(parts) > 1 {
				c.put("\n", escape(named(parts[k].Name)), escape(bs.Unit.text(parts[k].of(i))))
			}
		}
		c.put("</title>")
		for k := range parts {
			sum = math.Min(huge, sum+parts[k].of(i))
			to := left
			if most > 0 {
				to = left + (c.w-left-right)*(sum/most)
			}
			c.rect(parts[k].Color, x, y+3, to-x, 16)
			x = to
		}
		c.put("</g>\n")
		c.text("ink", x+6, y+15, "start", 12, fit(bs.Unit.text(all.total(i)), c.w-x-7, 12))
		y += 22
	}
	if len(rows) == 0 {
		c.text("soft", c.w/2, y+15, "middle", 12, "nothing to show")
	}
	return c.end()
}

// folded makes one row of those that are too many.
func (bs *Bars) folded() (rows []string, parts []Part) {
	if len(bs.Rows) <= maxRows {
		return bs.Rows, bs.Parts
	}
	rows = append(rows, bs.Rows[:maxRows-1]...)
	rows = append(rows, strconv.Itoa(len(bs.Rows)-maxRows+1)+" more")
	for k := range bs.Parts {
		p := &bs.Parts[k]
		few := Part{Name: p.Name, Color: p.Color, Values: make([]float64, maxRows)}
		for i := range bs.Rows {
			at := min(i, maxRows-1)
			few.Values[at] = math.Min(huge, few.Values[at]+p.of(i))
		}
		parts = append(parts, few)
	}
	return rows, parts
}

// Spark is a line beside a number, without axes.
type Spark struct {
	Sheet  // always of one size
	Color  int
	Values []float64 // at even distances
}

// SVG draws it.
func (sp *Spark) SVG() []byte {
	s := sp.Sheet
	s.Alone, s.Width, s.Height = false, 0, 0
	c := begin(&s, 160, 60, false)
	x := make([]float64, len(sp.Values))
	for i := range x {
		x[i] = float64(i)
	}
	series := Series{Shape: Line, Color: sp.Color, X: x, Y: sp.Values}
	a := &Axis{}
	r := series.run(a, int(c.w))
	if len(r.X) == 0 {
		return c.end()
	}
	lo, hi := math.Inf(1), math.Inf(-1)
	for _, v := range r.Y {
		lo, hi = math.Min(lo, v), math.Max(hi, v)
	}
	lo, hi = math.Min(lo, 0), math.Max(hi, 0)
	f := &frame{x: &scale{a: a, lo: 0, hi: float64(len(x) - 1), from: 4, to: c.w - 6}, y: &scale{a: a, lo: lo, hi: hi, from: c.h - 4, to: 6}}
	n, stroke := colorOf(sp.Color)
	c.put(`<path class="s`, n, `" fill="none" stroke="`, stroke, `" stroke-width="2" stroke-linejoin="round" d="`)
	for i := range r.X {
		c.put([]string{"L", "M"}[b2i(r.gaps[i])], num(f.x.place(r.X[i])), " ", num(f.y.place(r.Y[i])))
	}
	last := len(r.X) - 1
	c.put("\"/>\n<circle class=\"f", n, `" cx="`, num(f.x.place(r.X[last])), `" cy="`, num(f.y.place(r.Y[last])), `" r="3.5" fill="`, stroke, "\"/>\n")
	return c.end()
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
