package plot

import (
	"math"
	"strconv"
)

// Columns is a column for each of some slots, such as months, of parts that stand on one another.
type Columns struct {
	Sheet
	Label string // below the slots
	Y     Axis   // never logarithmic
	Slots []Slot
	Parts []Part
	Ends  bool // write what the first and last columns come to above them
}

// Slot is the place of a column.
type Slot struct {
	Label string // below it, where there is room
	Under string // below that, where it differs from that of the slot before
	Title string // of the column
}

// Part is one colour of all columns. What it lacks at its end is zero.
type Part struct {
	Name   string
	Color  int
	Values []float64
}

// of is what a part adds to a column.
func (p *Part) of(i int) float64 {
	if i >= len(p.Values) || !finite(p.Values[i]) {
		return 0
	}
	return math.Max(0, p.Values[i])
}

// Grouped returns the same numbers in no more than most columns: means of as many slots as that takes, with the name of the first one.
func (cs *Columns) Grouped(most int) *Columns {
	each := (len(cs.Slots) + most - 1) / max(1, most)
	if each <= 1 {
		return cs
	}
	g := *cs
	g.Slots, g.Parts = nil, nil
	for i := 0; i < len(cs.Slots); i += each {
		s := cs.Slots[i]
		if n := min(each, len(cs.Slots)-i); n > 1 {
			s.Title = "mean of " + strconv.Itoa(n) + " from " + s.Title
		}
		g.Slots = append(g.Slots, s)
	}
	for k := range cs.Parts {
		p := Part{Name: cs.Parts[k].Name, Color: cs.Parts[k].Color}
		for i := 0; i < len(cs.Slots); i += each {
			sum, n := 0.0, min(each, len(cs.Slots)-i)
			for j := range n {
				sum += cs.Parts[k].of(i+j) / float64(n)
			}
			p.Values = append(p.Values, sum)
		}
		g.Parts = append(g.Parts, p)
	}
	return &g
}

// SVG draws it.
func (cs *Columns) SVG() []byte {
	c := begin(&cs.Sheet, 760, 320, false)
	all := cs.Grouped(min(int(c.w)-100, 1000))
	most := 0.0
	for i := range all.Slots {
		most = math.Max(most, all.total(i))
	}
	f := &frame{top: c.top, right: c.w - 16, bottom: c.h - 44}
	if cs.Label != "" {
		f.bottom -= 16
	}
	var names []string
	var colors []int
	for i := range all.Parts {
		names, colors = append(names, all.Parts[i].Name), append(colors, all.Parts[i].Color)
	}
	if len(names) > 1 {
		f.top = c.legend(c.top, names, colors)
	}
	f.top += 22
	y := cs.Y
	y.Log, y.Time = false, nil
	f.bottom = math.Max(f.bottom, f.top+10)
	f.y = newScale(&y, 0, most, true, max(2, int((f.bottom-f.top)/50)), f.bottom, f.top)
	f.left = 12.0
	for _, t := range f.y.ticks {
		f.left = math.Max(f.left, 12+wide(t.label, 12))
	}
	if y.Label != "" {
		f.left += 18
	}
	f.left = math.Min(f.left, c.w/2)
	c.vertical(f.y, f.left, f.right)
	all.columns(c, f)
	if cs.Label != "" {
		c.text("soft", (f.left+f.right)/2, c.h-6, "middle", 12, fit(cs.Label, f.right-f.left, 12))
	}
	if len(all.Slots) == 0 {
		c.text("soft", (f.left+f.right)/2, (f.top+f.bottom)/2, "middle", 13, "nothing to show")
	}
	return c.end()
}

func (cs *Columns) total(i int) (sum float64) {
	for k := range cs.Parts {
		sum = math.Min(huge, sum+cs.Parts[k].of(i))
	}
	return sum
}

// columns draws the columns, and what stands below and above them.
func (cs *Columns) columns(c *canvas, f *frame) {
	each := (f.right - f.left) / math.Max(1, float64(len(cs.Slots)))
	gap := math.Min(8, each*0.25)
	end, under, below := math.Inf(-1), "", math.Inf(-1)
	for i, s := range cs.Slots {
		x := f.left + float64(i)*each + gap/2
		sum := 0.0
		c.put("<g><title>", escape(s.Title), ": ", escape(f.y.a.Unit.text(cs.total(i))))
		for k := range cs.Parts {
			if len(cs.Parts) > 1 {
				c.put("\n", escape(named(cs.Parts[k].Name)), escape(f.y.a.Unit.text(cs.Parts[k].of(i))))
			}
		}
		c.put("</title>")
		for k := range cs.Parts {
			from := f.y.place(sum)
			sum = math.Min(huge, sum+cs.Parts[k].of(i))
			c.rect(cs.Parts[k].Color, x, f.y.place(sum), each-gap, from-f.y.place(sum))
		}
		c.put("</g>\n")
		middle := x + (each-gap)/2
		if half := wide(s.Label, 12) / 2; middle-half >= math.Max(end+8, 1) && middle+half <= c.w {
			end = middle + half
			c.text("soft", middle, f.bottom+17, "middle", 12, s.Label)
			if half := wide(s.Under, 12) / 2; s.Under != under && middle-half >= math.Max(below+8, 1) && middle+half <= c.w {
				c.text("soft", middle, f.bottom+31, "middle", 12, s.Under)
				under, below = s.Under, middle+half
			}
		}
	}
	if cs.Ends && len(cs.Slots) > 0 {
		cs.ends(c, f, each, gap)
	}
}

// ends writes what the first and the last column come to, where both have room.
func (cs *Columns) ends(c *canvas, f *frame, each, gap float64) {
	last := len(cs.Slots) - 1
	write := func(i int) (from, to float64) {
		text := f.y.a.Unit.text(cs.total(i))
		half := wide(text, 12) / 2
		at := math.Min(math.Max(f.left+float64(i)*each+each/2, f.left+half), f.right-half)
		c.text("ink", at, f.y.place(cs.total(i))-6, "middle", 12, text)
		return at - half, at + half
	}
	_, to := write(0)
	text := wide(f.y.a.Unit.text(cs.total(last)), 12)
	if from := math.Min(f.left+float64(last)*each+each/2-text/2, f.right-text); last > 0 && from > to+4 {
		write(last)
	}
}
