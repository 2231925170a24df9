// Package plot draws numbers over time as SVG: lines, steps and stacked areas (Plot), stacked columns (Columns), horizontal bars (Bars), a year as weeks and days (Year), and tiny lines
// beside a number (Spark).
//
// # Where pictures go
//
// A picture is a document of its own (Sheet.Alone), with title, paper and a style sheet that follows the reader's light or dark screen; or it is part of a page, which has its own headings and
// takes Style into its style sheet. No element carries a style attribute, so pages may forbid those. Colours also stand as presentation attributes, which style sheets replace, for programs
// that know none.
//
// # What everybody gets
//
// Each picture has a title and a description for who cannot see it, and each mark a title of its own, in words. Colours are told apart by those who see few of them, have at least 4.5 times the
// luminance of the paper or the reverse (WCAG 2.2, 1.4.3 and 1.4.11), and never stand alone: a legend names them, lines have dashes, days have letters.
//
// # What may be put in
//
// Numbers may be anything: those that are not finite, or larger than 1e300, are gaps; so are zero and less on logarithmic axes, and columns and areas take what is negative for zero. Texts
// may be anything: they are escaped, and what XML cannot hold or would turn the direction of writing is replaced. A series may be as long as memory allows: what falls on one column of pixels is
// drawn as its first, least, greatest and last value, so that no picture is larger than a few hundred kilobytes. The same input gives the same bytes.
package plot

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Sheet is what all pictures have in common.
type Sheet struct {
	ID     string // unique on a page; letters, digits and hyphens. Empty: "plot"
	Title  string
	Desc   string // more about it, for who cannot see it, and below the title of a document of its own
	Width  int    // in units of the picture, at least 300; 0: as is usual for its kind
	Height int    // likewise, at least 200
	Alone  bool   // a document of its own, not part of a page
}

// Colors is how many colours there are; numbers beyond begin again.
const Colors = 10

// color is one of the palette, for light and for dark paper.
type color struct{ light, dark string }

// palette is in an order in which neighbours differ for all kinds of sight.
var palette = [Colors]color{
	{"#2f6f9f", "#6cb0df"}, {"#a3590a", "#f0b45f"}, {"#2f7a4d", "#7cc796"}, {"#a13d70", "#e595bf"}, {"#6456a8", "#b8abef"},
	{"#7a5f22", "#d6b779"}, {"#1f7878", "#7fd0cf"}, {"#5b6b79", "#aebac6"}, {"#b3362f", "#f28b82"}, {"#4f6f16", "#b5d36b"},
}

// What is not of the palette.
const (
	paper, darkPaper = "#ffffff", "#12181e"
	ink, darkInk     = "#1b2733", "#e6ebf0"
	soft, darkSoft   = "#5b6b79", "#9fb0bf"
	grid, darkGrid   = "#dde4ea", "#2c3944"
	axis, darkAxis   = "#5b6b79", "#72828f"
	empty, darkEmpty = "#edf1f4", "#1e2831"
)

const fonts = `system-ui,-apple-system,"Segoe UI","DejaVu Sans",sans-serif`

// Style is what the style sheet of a page needs for pictures that are part of it.
func Style() string {
	var b strings.Builder
	b.WriteString(".plot{max-width:100%;height:auto}\n.plot text{font-family:" + fonts + ";font-variant-numeric:tabular-nums}\n.plot a:focus-visible .cell,.plot a:hover .cell{stroke:" + ink + ";stroke-width:2}\n")
	b.WriteString("@media (prefers-color-scheme: dark){\n.plot .paper{fill:" + darkPaper + "}.plot .ink{fill:" + darkInk + "}.plot .soft{fill:" + darkSoft + "}.plot .mark{fill:" + darkPaper + "}\n.plot .grid{stroke:" + darkGrid +
		"}.plot .axis{stroke:" + darkAxis + "}.plot .none{fill:" + darkEmpty + "}.plot a:focus-visible .cell,.plot a:hover .cell{stroke:" + darkInk + "}\n")
	for i, c := range palette {
		n := strconv.Itoa(i)
		b.WriteString(".plot .f" + n + "{fill:" + c.dark + "}.plot .s" + n + "{stroke:" + c.dark + "}\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// At is a time as an axis of time has it: seconds since 1970.
func At(t time.Time) float64 { return float64(t.Unix()) + float64(t.Nanosecond())/1e9 }

// huge bounds numbers that are drawn; sums of them stay finite.
const huge = 1e300

// finite reports whether a number can be drawn.
func finite(v float64) bool { return v >= -huge && v <= huge }

// canvas is an SVG in the making.
type canvas struct {
	b    []byte
	s    *Sheet
	w, h float64
	top  float64 // below the title
}

// begin opens a picture. group says that parts of it can be reached, such as links, which "img" would hide.
func begin(s *Sheet, width, height int, group bool) *canvas {
	if s.Width != 0 {
		width = min(max(s.Width, 300), 8000)
	}
	if s.Height != 0 {
		height = min(max(s.Height, 200), 8000)
	}
	c := &canvas{s: s, w: float64(width), h: float64(height), top: 8}
	role := "img"
	if group {
		role = "group"
	}
	id := s.id()
	c.put(`<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 `, num(c.w), " ", num(c.h), `" width="`, num(c.w), `" height="`, num(c.h), `" role="`, role, `" aria-labelledby="`, id, `-title`)
	if s.Desc != "" {
		c.put(` `, id, `-desc`)
	}
	c.put("\">\n<title id=\"", id, `-title">`, escape(s.Title), "</title>\n")
	if s.Desc != "" {
		c.put(`<desc id="`, id, `-desc">`, escape(s.Desc), "</desc>\n")
	}
	if s.Alone {
		c.put("<style>\n", Style(), "</style>\n")
		c.put(`<rect class="paper" width="`, num(c.w), `" height="`, num(c.h), `" fill="`, paper, "\"/>\n")
		c.text("ink", 24, 32, "start", 18, fit(s.Title, c.w-48, 18))
		c.top = 48
		if s.Desc != "" {
			c.text("soft", 24, 53, "start", 12, fit(s.Desc, c.w-48, 12))
			c.top = 70
		}
	}
	return c
}

func (c *canvas) end() []byte {
	c.put("</svg>\n")
	return c.b
}

// id is what ids of the picture begin with.
func (s *Sheet) id() string {
	id := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' {
			return r
		}
		return -1
	}, s.ID)
	if id == "" {
		return "plot"
	}
	return id
}

func (c *canvas) put(parts ...string) {
	for _, p := range parts {
		c.b = append(c.b, p...)
	}
}

// colorOf finds a colour of the palette.
func colorOf(n int) (number, light string) {
	n = ((n % Colors) + Colors) % Colors
	return strconv.Itoa(n), palette[n].light
}

func (c *canvas) text(class string, x, y float64, anchor string, size float64, text string) {
	fill := map[string]string{"ink": ink, "soft": soft, "mark": paper}[class]
	c.put(`<text class="`, class, `" x="`, num(x), `" y="`, num(y), `" text-anchor="`, anchor, `" font-size="`, num(size), `" fill="`, fill, `">`, escape(text), "</text>\n")
}

// rect is a filled rectangle of a colour.
func (c *canvas) rect(color int, x, y, w, h float64) {
	n, fill := colorOf(color)
	c.put(`<rect class="f`, n, `" x="`, num(x), `" y="`, num(y), `" width="`, num(math.Max(0, w)), `" height="`, num(math.Max(0, h)), `" fill="`, fill, `"/>`)
}

func (c *canvas) line(class string, x1, y1, x2, y2 float64) {
	stroke := grid
	if class == "axis" {
		stroke = axis
	}
	c.put(`<line class="`, class, `" x1="`, num(x1), `" y1="`, num(y1), `" x2="`, num(x2), `" y2="`, num(y2), `" stroke="`, stroke, "\"/>\n")
}

// num prints a coordinate.
func num(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "0"
	}
	v = math.Round(v*100) / 100
	if v == 0 {
		return "0" // not -0
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// wide is about how wide a text is set.
func wide(text string, size float64) float64 {
	return float64(utf8.RuneCountInString(text)) * size * 0.56
}

// fit shortens a text to a width.
func fit(text string, width, size float64) string {
	if wide(text, size) <= width {
		return text
	}
	most := int(width/(size*0.56)) - 1
	if most < 1 {
		return ""
	}
	return string([]rune(text)[:most]) + "…"
}

// fitName is fit for names such as paths, of which the end says most.
func fitName(name string, width, size float64) string {
	if wide(name, size) <= width {
		return name
	}
	all := []rune(name)
	most := int(width/(size*0.56)) - 1
	if most < 6 {
		return fit(name, width, size)
	}
	return string(all[:most/3]) + "…" + string(all[len(all)-(most-most/3):])
}

// escape makes text that XML can hold, whatever it says.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"':
			b.WriteString("&#34;")
		case r == '\'':
			b.WriteString("&#39;")
		case r < ' ' && r != '\n' && r != '\t', r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e || r == 0x200f || r == 0xfffe || r == 0xffff:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// legend names colours, in as many rows as they need from y on, and returns where it ends.
func (c *canvas) legend(y float64, names []string, colors []int) float64 {
	x := 24.0
	if !c.s.Alone {
		x = 4
	}
	left := x
	for i, name := range names {
		name = fitName(name, math.Min(220, c.w-left-24), 12)
		need := 17 + wide(name, 12) + 18
		if x > left && x+need > c.w-4 {
			x, y = left, y+18
		}
		c.rect(colors[i], x, y, 11, 11)
		c.put("\n")
		c.text("soft", x+17, y+10, "start", 12, name)
		x += need
	}
	return y + 18
}
