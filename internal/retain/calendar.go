package retain

import (
	"strings"
	"time"
)

// Marks are what days look like in a Calendar.
type Marks struct{ None, Kept, Going string }

// The marks for terminals that show Unicode, and for others.
var (
	Dots  = Marks{"·", "●", "○"}
	ASCII = Marks{".", "#", "o"}
)

// Calendar draws a year: a line with the months, then one for each day of the week from Monday on, with a column for each week. A day is Kept where one of its
// snapshots stays, Going where all of them go, else None. Of snaps, those without time are left out; verdicts belong to them, in order. No line is wider than 60
// columns.
func Calendar(snaps []Snapshot, verdicts []Verdict, year int, loc *time.Location, marks Marks) []string {
	first := dayNumber(year, time.January, 1)
	length := int(dayNumber(year+1, time.January, 1) - first)
	marked := make([]string, length)
	for i := range marked {
		marked[i] = marks.None
	}
	for i := range snaps {
		m := momentOf(snaps[i].Time, loc)
		switch at := m.day - first; {
		case m.year != year || snaps[i].Time.IsZero() || at < 0 || int(at) >= length:
		case verdicts[i].Keep:
			marked[at] = marks.Kept
		case marked[at] == marks.None:
			marked[at] = marks.Going
		}
	}
	const margin = 4
	blank := int(floorMod(first, 7)) // days of the first week that lie in the year before
	weeks := (blank + length + 6) / 7
	months := []byte(strings.Repeat(" ", margin+weeks+2))
	for m := time.January; m <= time.December; m++ {
		column := margin + (blank+int(dayNumber(year, m, 1)-first))/7
		copy(months[column:], m.String()[:3])
	}
	lines := []string{strings.TrimRight(string(months), " ")}
	for weekday, name := range [...]string{"Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"} {
		var b strings.Builder
		b.WriteString(name + strings.Repeat(" ", margin-len(name)))
		for w := range weeks {
			at := w*7 + weekday - blank
			if at < 0 || at >= length {
				b.WriteByte(' ')
				continue
			}
			b.WriteString(marked[at])
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}

// Years returns the years in which there are snapshots, from the first to the last; 0, 0: there are none.
func Years(snaps []Snapshot, loc *time.Location) (from, to int) {
	for i := range snaps {
		if snaps[i].Time.IsZero() {
			continue
		}
		y := snaps[i].Time.In(loc).Year()
		if from == 0 || y < from {
			from = y
		}
		if to == 0 || y > to {
			to = y
		}
	}
	return from, to
}
