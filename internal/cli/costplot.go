package cli

import (
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"firn/internal/cost"
	"firn/internal/plot"
	"firn/internal/price"
)

// plotRows is the height of a plot on a terminal: as many rows for each of the plotTicks steps of its scale.
const (
	plotRows  = 10
	plotTicks = 5
)

// speaksUTF8 reports whether the terminal can be expected to show more than ASCII: what the locale says (POSIX, "Environment Variables").
func speaksUTF8() bool {
	if runtime.GOOS == "windows" {
		return true
	}
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(os.Getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// terminalWidth is that of standard output in columns, or what COLUMNS says, or 80.
func terminalWidth() int {
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil && w > 0 {
		return w
	}
	if w, err := strconv.Atoi(os.Getenv("COLUMNS")); err == nil && w > 0 {
		return w
	}
	return 80
}

// costBars is what is plotted: one value for each month, or the mean of several where there is no room.
type costBars struct {
	values []float64
	starts []time.Time
	each   int // months in a bar
}

// grouped makes at most most bars.
func groupedBars(months []cost.Period, most int) costBars {
	b := costBars{each: (len(months) + most - 1) / most}
	for i := 0; i < len(months); i += b.each {
		group := months[i:min(i+b.each, len(months))]
		b.values = append(b.values, float64(cost.Sum(group))/float64(len(group)))
		b.starts = append(b.starts, group[0].Start)
	}
	return b
}

// plotMonths draws the months as bars, in the width of a terminal.
func plotMonths(p *costPicture, months []cost.Period, width int, unicode bool) string {
	most := 0.0
	for _, m := range months {
		most = math.Max(most, float64(m.Total()))
	}
	step := plot.Step(most, plotTicks, 1e-6)
	label := func(tick int) string { return p.region.Format(price.Money(step * float64(tick))) }
	margin := 0
	for tick := range plotTicks + 1 {
		margin = max(margin, utf8.RuneCountInString(label(tick)))
	}
	room := max(12, width-margin-3)
	b := groupedBars(months, room)
	each := min(7, max(1, room/len(b.values)))
	var out strings.Builder
	for row := plotRows; row > 0; row-- {
		text, edge := "", "│"
		if row%(plotRows/plotTicks) == 0 {
			text, edge = label(row*plotTicks/plotRows), "┤"
		}
		out.WriteString(strings.Repeat(" ", margin-utf8.RuneCountInString(text)) + text + " " + edge)
		line := ""
		for _, v := range b.values {
			line += barCell(v/(step*plotTicks)*plotRows-float64(row-1), each)
		}
		out.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	out.WriteString(strings.Repeat(" ", margin-utf8.RuneCountInString(label(0))) + label(0) + " └" + strings.Repeat("─", each*len(b.values)) + "\n")
	out.WriteString(timeAxis(b, each, margin+2))
	if unicode {
		return out.String()
	}
	return strings.NewReplacer("┤", "+", "│", "|", "└", "+", "─", "-", "█", "#", "▇", "#", "▆", "#", "▅", "#", "▄", "=", "▃", "=", "▂", "_", "▁", "_", "€", "E", "£", "L").Replace(out.String())
}

// barCell is one row of a bar, filled up to so much of it, with a gap behind where there is room.
func barCell(filled float64, width int) string {
	block := " "
	if n := int(math.Round(math.Min(1, filled) * 8)); n > 0 {
		block = string([]rune(" ▁▂▃▄▅▆▇█")[n])
	}
	bar := max(1, width-1)
	return strings.Repeat(block, bar) + strings.Repeat(" ", width-bar)
}

// timeAxis names months, and years where they begin.
func timeAxis(b costBars, each, margin int) string {
	every := 1
	for _, k := range []int{1, 2, 3, 6, 12, 24, 60, 120} {
		every = max(1, k/b.each)
		if every*each >= 5 {
			break
		}
	}
	for every*each < 5 {
		every++
	}
	months, years := strings.Repeat(" ", margin), strings.Repeat(" ", margin)
	last := 0
	for i := 0; i < len(b.starts); i += every {
		if i > 0 && (len(b.starts)-i)*each < len("2026") {
			break // no room to the right
		}
		at := b.starts[i]
		months += pad(at.Month().String()[:3], every*each)
		year := ""
		if at.Year() != last {
			year, last = strconv.Itoa(at.Year()), at.Year()
		}
		years += pad(year, every*each)
	}
	return strings.TrimRight(months, " ") + "\n" + strings.TrimRight(years, " ") + "\n"
}

func pad(s string, width int) string { return s + strings.Repeat(" ", max(0, width-len(s))) }
