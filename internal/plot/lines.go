package plot

import (
	"math"
	"slices"
	"sort"
)

// Shape is how a series is drawn.
type Shape uint8

// The shapes.
const (
	Line  Shape = iota
	Steps       // a number holds until the next one
	Area        // from the area below, in the order of the series; on a logarithmic axis a Line
)

// Series is numbers that belong together. X and Y go by their places, whatever one of them has more is left out.
type Series struct {
	Name  string
	Shape Shape
	Color int
	X, Y  []float64
}

// Plot is series over numbers or times.
type Plot struct {
	Sheet
	X, Y   Axis
	Zero   bool // the vertical axis begins at zero at the latest; areas ask for it by themselves
	Series []Series
}

// mostHits is how many stretches of areas, or points of a line, have a title each.
const mostHits = 80

// SVG draws it.
func (p *Plot) SVG() []byte {
	c := begin(&p.Sheet, 760, 320, false)
	all := p.prepared()
	zero := p.Zero
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	for i := range all {
		zero = zero || all[i].Shape == Area
		for k := range all[i].X {
			for d, v := range [2]float64{all[i].X[k], all[i].Y[k]} {
				lo[d], hi[d] = math.Min(lo[d], v), math.Max(hi[d], v)
			}
		}
	}
	f := p.frame(c, lo, hi, zero)
	f.scales(c)
	for i := range all {
		if all[i].Shape == Area {
			f.area(c, all, i)
		}
	}
	for i := range all {
		if all[i].Shape != Area {
			f.stroke(c, &all[i], i)
		}
	}
	f.hits(c, all)
	if len(all) == 0 {
		c.text("soft", (f.left+f.right)/2, (f.top+f.bottom)/2, "middle", 13, "nothing to show")
	}
	return c.end()
}

// run is a series as it is drawn.
type run struct {
	Series
	base []float64 // of an area: where the one below ends
	gaps []bool    // nothing is drawn from the point before to this one
	last float64   // the last number itself
}

// prepared puts series in order, stacks areas, and leaves out what cannot be drawn and what pixels would not show.
func (p *Plot) prepared() (all []run) {
	columns := 760
	if p.Width != 0 {
		columns = min(max(p.Width, 300), 8000)
	}
	var areas []*Series
	for i := range p.Series {
		s := p.Series[i].inOrder(&p.X)
		if s.Shape == Area && p.Y.Log {
			s.Shape = Line
		}
		if s.Shape == Area {
			areas = append(areas, &s)
			continue
		}
		if r := s.run(&p.Y, columns); len(r.X) > 0 {
			all = append(all, r)
		}
	}
	return append(stacked(areas, columns), all...)
}

// inOrder returns a series sorted by X, without what has no place there.
func (s Series) inOrder(a *Axis) Series {
	n := min(len(s.X), len(s.Y))
	s.X, s.Y = s.X[:n], s.Y[:n]
	good := sort.Float64sAreSorted(s.X)
	for _, x := range s.X {
		good = good && a.drawable(x)
	}
	if good {
		return s
	}
	order := make([]int, 0, n)
	for i := range n {
		if a.drawable(s.X[i]) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case s.X[i] < s.X[j]:
			return -1
		case s.X[i] > s.X[j]:
			return 1
		}
		return 0
	})
	x, y := make([]float64, len(order)), make([]float64, len(order))
	for to, from := range order {
		x[to], y[to] = s.X[from], s.Y[from]
	}
	s.X, s.Y = x, y
	return s
}

// run leaves out gaps, and all but four points of each column of pixels.
func (s *Series) run(a *Axis, columns int) run {
	r := run{Series: Series{Name: s.Name, Shape: s.Shape, Color: s.Color}}
	gap := true
	var x, y []float64
	var gaps []bool
	for i, v := range s.Y {
		if !a.drawable(v) {
			gap = true
			continue
		}
		x, y, gaps = append(x, s.X[i]), append(y, v), append(gaps, gap)
		gap = false
		r.last = v
	}
	if len(x) <= 2*columns {
		r.X, r.Y, r.gaps = x, y, gaps
		return r
	}
	for from := 0; from < len(x); {
		to, least, most := from+1, from, from
		at := columnOf(x, from, columns)
		for to < len(x) && columnOf(x, to, columns) == at {
			if y[to] < y[least] {
				least = to
			}
			if y[to] > y[most] {
				most = to
			}
			to++
		}
		keep := []int{from, min(least, most), max(least, most), to - 1}
		for _, i := range slices.Compact(keep) {
			// A gap within a column is narrower than a pixel.
			r.X, r.Y, r.gaps = append(r.X, x[i]), append(r.Y, y[i]), append(r.gaps, gaps[i] && i == from)
		}
		from = to
	}
	return r
}

func columnOf(x []float64, i, columns int) int {
	return int((x[i]/2 - x[0]/2) / (x[len(x)-1]/2 - x[0]/2) * float64(columns))
}

// stacked puts areas on one another. Where they have numbers at different places, each holds its last one.
func stacked(areas []*Series, columns int) (all []run) {
	var grid []float64
	for _, s := range areas {
		grid = append(grid, s.X...)
	}
	if len(grid) == 0 {
		return nil
	}
	slices.Sort(grid)
	grid = slices.Compact(grid)
	if len(grid) > 2*columns {
		var few []float64
		for i := range grid {
			if i == 0 || i == len(grid)-1 || columnOf(grid, i, columns) != columnOf(grid, i-1, columns) || columnOf(grid, i, columns) != columnOf(grid, i+1, columns) {
				few = append(few, grid[i])
			}
		}
		grid = few
	}
	below := make([]float64, len(grid))
	for _, s := range areas {
		r := run{Series: Series{Name: s.Name, Shape: Area, Color: s.Color, X: grid, Y: make([]float64, len(grid))}, base: below}
		held, k := 0.0, 0
		for i, x := range grid {
			for ; k < len(s.X) && s.X[k] <= x; k++ {
				if finite(s.Y[k]) {
					held = math.Max(0, s.Y[k])
				}
			}
			r.Y[i] = math.Min(huge, below[i]+held)
		}
		r.last = held
		below = r.Y
		all = append(all, r)
	}
	return all
}

// frame is the part of a picture between axes.
type frame struct {
	left, right, top, bottom float64
	x, y                     *scale
}

// frame finds room for labels and legend.
func (p *Plot) frame(c *canvas, lo, hi [2]float64, zero bool) *frame {
	f := &frame{top: c.top, right: c.w - 16}
	var names []string
	var colors []int
	for i := range p.Series {
		names, colors = append(names, p.Series[i].Name), append(colors, p.Series[i].Color)
	}
	if len(names) > 1 || len(names) == 1 && names[0] != "" {
		f.top = c.legend(c.top, names, colors)
	}
	f.top += 8
	f.bottom = c.h - 24
	if p.X.Time != nil {
		f.bottom -= 14
	}
	if p.X.Label != "" {
		f.bottom -= 16
	}
	f.bottom = math.Max(f.bottom, f.top+10)
	f.y = newScale(&p.Y, lo[1], hi[1], zero && !p.Y.Log, max(2, int((f.bottom-f.top)/40)), f.bottom, f.top)
	f.left = 12.0
	for _, t := range f.y.ticks {
		f.left = math.Max(f.left, 12+wide(t.label, 12))
	}
	if p.Y.Label != "" {
		f.left += 18
	}
	f.left = math.Min(f.left, c.w/2)
	f.x = newScale(&p.X, lo[0], hi[0], false, max(2, int((f.right-f.left)/80)), f.left, f.right)
	return f
}

// scales draws ticks and labels.
func (f *frame) scales(c *canvas) {
	c.vertical(f.y, f.left, f.right)
	c.line("axis", f.left, f.bottom, f.right, f.bottom)
	end, below, under := math.Inf(-1), math.Inf(-1), ""
	for _, t := range f.x.ticks {
		x := f.x.place(t.v)
		t.label = fit(t.label, c.w/3, 12)
		half := wide(t.label, 12) / 2
		at := math.Min(math.Max(x, half+1), c.w-half-1)
		if at-half < end+8 {
			continue
		}
		end = at + half
		c.line("axis", x, f.bottom, x, f.bottom+4)
		c.text("soft", at, f.bottom+17, "middle", 12, t.label)
		if half := wide(t.under, 12) / 2; t.under != under {
			if at := math.Min(math.Max(x, half+1), c.w-half-1); at-half >= below+8 {
				c.text("soft", at, f.bottom+31, "middle", 12, t.under)
				below, under = at+half, t.under
			}
		}
	}
	if f.x.a.Label != "" {
		c.text("soft", (f.left+f.right)/2, c.h-6, "middle", 12, fit(f.x.a.Label, f.right-f.left, 12))
	}
}

// vertical draws lines across for the ticks of a vertical axis, with their labels to the left.
func (c *canvas) vertical(s *scale, left, right float64) {
	end := math.Inf(1)
	for i, t := range s.ticks {
		y := s.place(t.v)
		class := "grid"
		if i == 0 || t.v == 0 && !s.a.Log {
			class = "axis"
		}
		c.line(class, left, y, right, y)
		if y+4 > end-12 {
			continue
		}
		end = y + 4
		c.text("soft", left-8, y+4, "end", 12, fit(t.label, left-9, 12))
	}
	if s.a.Label != "" {
		y := (s.from + s.to) / 2
		c.put(`<text class="soft" x="14" y="`, num(y), `" transform="rotate(-90 14 `, num(y), `)" text-anchor="middle" font-size="12" fill="`, soft, `">`,
			escape(fit(s.a.Label, math.Abs(s.from-s.to), 12)), "</text>\n")
	}
}

// dashes tell lines apart that have no colour.
var dashes = [...]string{"", "7 3", "2 3", "9 3 2 3", "12 4", "4 2 1 2"}

func (f *frame) stroke(c *canvas, r *run, number int) {
	n, stroke := colorOf(r.Color)
	dash := dashes[number%len(dashes)]
	c.put(`<path class="s`, n, `" fill="none" stroke="`, stroke, `" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"`)
	if dash != "" {
		c.put(` stroke-dasharray="`, dash, `"`)
	}
	c.put(` d="`)
	y := 0.0
	for i := range r.X {
		px, py := f.x.place(r.X[i]), f.y.place(r.Y[i])
		switch {
		case r.gaps[i]:
			c.put("M", num(px), " ", num(py))
			if i+1 == len(r.X) || r.gaps[i+1] {
				c.put("h0") // a point by itself
			}
		case r.Shape == Steps:
			c.put("H", num(px))
			if py != y {
				c.put("V", num(py))
			}
		default:
			c.put("L", num(px), " ", num(py))
		}
		y = py
	}
	c.put(`"><title>`, escape(r.Name), ": ", escape(f.y.a.Unit.text(r.last)), " at the end</title></path>\n")
	if len(r.X) > mostHits {
		return
	}
	for i := range r.X {
		c.put(`<circle class="f`, n, `" cx="`, num(f.x.place(r.X[i])), `" cy="`, num(f.y.place(r.Y[i])), `" r="2.5" fill="`, stroke, `"><title>`, escape(named(r.Name)+f.x.at(r.X[i])+": "+f.y.a.Unit.text(r.Y[i])), "</title></circle>\n")
	}
}

func named(name string) string {
	if name == "" {
		return ""
	}
	return name + ", "
}

// at writes a number of the axis.
func (s *scale) at(v float64) string {
	if s.a.Time == nil {
		return s.a.Unit.text(v)
	}
	t := timeOf(v).In(s.a.Time)
	if s.hi-s.lo < 90*86400 {
		return t.Format("2006-01-02 15:04")
	}
	return t.Format("2006-01-02")
}

// area draws one area down to the one below.
func (f *frame) area(c *canvas, all []run, number int) {
	r := &all[number]
	n, fill := colorOf(r.Color)
	c.put(`<path class="f`, n, `" fill="`, fill, `" fill-opacity="0.85" d="`)
	for i := range r.X {
		c.put([]string{"M", "L"}[min(i, 1)], num(f.x.place(r.X[i])), " ", num(f.y.place(r.Y[i])))
	}
	thick := ""
	if len(r.X) == 1 {
		thick = "h3" // one point has no width
	}
	c.put(thick)
	for i := len(r.X) - 1; i >= 0; i-- {
		if thick != "" {
			c.put("V", num(f.y.place(r.base[i])), "h-3")
			continue
		}
		c.put("L", num(f.x.place(r.X[i])), " ", num(f.y.place(r.base[i])))
	}
	c.put(`Z"><title>`, escape(r.Name), ": ", escape(f.y.a.Unit.text(r.last)), " at the end</title></path>\n")
}

// hits lays stretches over areas which tell the numbers there.
func (f *frame) hits(c *canvas, all []run) {
	var areas []run
	for i := range all {
		if all[i].Shape == Area {
			areas = append(areas, all[i])
		}
	}
	if len(areas) == 0 {
		return
	}
	grid := areas[0].X
	every := (len(grid) + mostHits - 1) / mostHits
	for i := every - 1; i < len(grid); i += every {
		from, to := f.left, f.x.place(grid[i])
		if i >= every {
			from = f.x.place(grid[i-every])
		}
		c.put(`<rect class="hit" x="`, num(from), `" y="`, num(f.top), `" width="`, num(math.Max(1, to-from)), `" height="`, num(f.bottom-f.top), `" fill="#000000" fill-opacity="0"><title>`, escape(f.x.at(grid[i])))
		for k := range areas {
			c.put("\n", escape(named(areas[k].Name)), escape(f.y.a.Unit.text(math.Max(0, areas[k].Y[i]-areas[k].base[i]))))
		}
		if len(areas) > 1 {
			c.put("\nall ", escape(f.y.a.Unit.text(areas[len(areas)-1].Y[i])))
		}
		c.put("</title></rect>\n")
	}
}
