package plot

import (
	"math"
	"strconv"
	"strings"

	"firn/internal/units"
)

// Unit says how numbers are written, and which of them are round.
type Unit struct {
	Text   func(v float64) string
	Binary bool    // powers of two are round, not 1, 2 and 5 times a power of ten
	Least  float64 // least step between two ticks; 0: any
}

// Bytes are sizes, as all of firn writes them.
func Bytes() Unit {
	return Unit{Binary: true, Least: 1, Text: func(v float64) string {
		switch {
		case v < 0:
			return "-" + Bytes().Text(-v)
		case !(v < 1<<62):
			return strconv.FormatFloat(v/(1<<60), 'g', 4, 64) + " EiB"
		}
		return strings.NewReplacer(".00 ", " ", ".0 ", " ").Replace(units.Size(math.Round(v)).String())
	}}
}

// Counts are whole numbers of things.
func Counts() Unit {
	return Unit{Least: 1, Text: func(v float64) string {
		if math.Abs(v) < 1e15 {
			return units.Count(int64(math.Round(v)))
		}
		return strconv.FormatFloat(v, 'g', 4, 64)
	}}
}

// Numbers are any numbers.
func Numbers() Unit {
	return Unit{Text: func(v float64) string { return strconv.FormatFloat(v, 'g', 6, 64) }}
}

// Money is amounts, written by whoever knows their currency, down to a millionth.
func Money(text func(v float64) string) Unit { return Unit{Text: text, Least: 1e-6} }

// Seconds are lengths of time: "250 µs", "3 s", "2 h".
func Seconds() Unit {
	return Unit{Text: func(v float64) string {
		for _, u := range []struct {
			name string
			size float64
		}{{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}, {"ms", 1e-3}, {"µs", 1e-6}} {
			if math.Abs(v) >= u.size*(1-1e-9) {
				return strconv.FormatFloat(v/u.size, 'g', 4, 64) + " " + u.name
			}
		}
		if v == 0 {
			return "0 s"
		}
		return strconv.FormatFloat(v/1e-9, 'g', 4, 64) + " ns"
	}}
}

// text writes a number, also of a Unit that says nothing.
func (u *Unit) text(v float64) string {
	if u.Text == nil {
		return Numbers().Text(v)
	}
	return u.Text(v)
}

// Step is the least of 1, 2 and 5 times a power of ten that reaches most in so many steps, but no less than least.
func Step(most float64, steps int, least float64) float64 {
	if !(most > 0) || !finite(most) {
		return 1 / float64(steps)
	}
	each := math.Max(most/float64(steps), least)
	power := math.Pow(10, math.Floor(math.Log10(each)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= each*(1-1e-9) {
			return m * power
		}
	}
	return 10 * power
}

// step is Step in the unit.
func (u *Unit) step(most float64, steps int) float64 {
	if !u.Binary {
		return Step(most, steps, u.Least)
	}
	if !(most > 0) || !finite(most) {
		return math.Max(u.Least, 1)
	}
	return math.Pow(2, math.Ceil(math.Log2(math.Max(most/float64(steps), u.Least))-1e-9))
}
