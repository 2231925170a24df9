package plot

import (
	"math"
	"time"
)

// Axis says what numbers along a side mean.
type Axis struct {
	Label string
	Unit  Unit
	Log   bool
	Time  *time.Location // not nil: they are times (At), shown in this zone; Unit and Log do not count
}

// tick is a place on an axis that has a name.
type tick struct {
	v     float64
	label string
	under string // below it, where it differs from that of the tick before
}

// scale leads from numbers to places.
type scale struct {
	a        *Axis
	lo, hi   float64
	from, to float64 // places of lo and hi
	ticks    []tick
}

// The times that have a date of four digits.
const earliest, latest = -62135596800, 253402300799

// drawable reports whether a number has a place on the axis.
func (a *Axis) drawable(v float64) bool {
	switch {
	case a.Time != nil:
		return v >= earliest && v <= latest
	case a.Log:
		return v > 0 && v >= 1/huge && v <= huge
	}
	return finite(v)
}

// newScale makes a scale for numbers from lo to hi with about so many ticks. What is not drawable counts for nothing; zero says that the scale begins there at the latest.
func newScale(a *Axis, lo, hi float64, zero bool, ticks int, from, to float64) *scale {
	s := &scale{a: a, from: from, to: to}
	ticks = max(ticks, 1)
	switch {
	case a.Time != nil:
		s.times(lo, hi, ticks)
	case a.Log:
		s.powers(lo, hi, ticks)
	default:
		s.linear(lo, hi, zero, ticks)
	}
	return s
}

func (s *scale) linear(lo, hi float64, zero bool, ticks int) {
	if !(lo <= hi) {
		lo, hi = 0, 0
	}
	if zero {
		lo, hi = math.Min(lo, 0), math.Max(hi, 0)
	}
	step := s.a.Unit.step(hi-lo, ticks)
	if hi == lo && lo != 0 {
		step = s.a.Unit.step(math.Abs(lo), ticks)
	}
	first, last := math.Floor(lo/step+1e-9), math.Ceil(hi/step-1e-9)
	if last <= first {
		last = first + float64(ticks)
	}
	for n := first; n <= last && len(s.ticks) <= 2*ticks+2; n++ {
		v := n * step
		s.ticks = append(s.ticks, tick{v: v, label: s.a.Unit.text(v)})
	}
	s.lo, s.hi = first*step, s.ticks[len(s.ticks)-1].v
}

// powers puts ticks on powers of ten, or of two; where there are few of these, also on twice and five times as much.
func (s *scale) powers(lo, hi float64, ticks int) {
	if !(lo <= hi) || lo <= 0 {
		lo, hi = 1, 10
	}
	base := 10.0
	if s.a.Unit.Binary {
		base = 2
	}
	log := func(v float64) float64 { return math.Log(v) / math.Log(base) }
	var marks []float64
	if first, last := math.Floor(log(lo)+1e-9), math.Ceil(log(hi)-1e-9); base == 2 || last-first > float64(ticks)/2 {
		last = math.Max(last, first+1)
		every := math.Max(1, math.Ceil((last-first)/float64(ticks)))
		if base == 2 && every > 5 {
			every = math.Ceil(every/10) * 10
		}
		for n := math.Floor(first/every) * every; ; n += every {
			marks = append(marks, math.Min(math.Max(math.Pow(base, n), 1e-305), 1e305)) // a number still
			if n >= last {
				break
			}
		}
	} else {
		for n := first; n <= last; n++ {
			for _, m := range []float64{1, 2, 5} {
				marks = append(marks, math.Min(math.Max(m*math.Pow(10, n), 1e-305), 1e305))
			}
		}
		for len(marks) > 2 && marks[1] <= lo*(1+1e-9) {
			marks = marks[1:]
		}
		for len(marks) > 2 && marks[len(marks)-2] >= hi*(1-1e-9) {
			marks = marks[:len(marks)-1]
		}
	}
	for _, v := range marks {
		s.ticks = append(s.ticks, tick{v: v, label: s.a.Unit.text(v)})
	}
	s.lo, s.hi = marks[0], marks[len(marks)-1]
}

// place is where a number lies; it is drawable.
func (s *scale) place(v float64) float64 {
	lo, hi := s.lo, s.hi
	if s.a.Log && s.a.Time == nil {
		lo, hi, v = math.Log(lo), math.Log(hi), math.Log(v)
	}
	if !(hi > lo) {
		return (s.from + s.to) / 2
	}
	part := v/(hi-lo) - lo/(hi-lo)
	return s.from + (s.to-s.from)*math.Min(1, math.Max(0, part))
}

// calendarStep is a distance of ticks of time.
type calendarStep struct {
	months, days, seconds int
	label, under          string
	length                float64 // seconds, about
}

var calendarSteps = func() (all []calendarStep) {
	for _, s := range []int{1, 5, 15, 30, 60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600} {
		label := "15:04"
		if s < 60 {
			label = "15:04:05"
		}
		all = append(all, calendarStep{seconds: s, label: label, under: "2 Jan 2006", length: float64(s)})
	}
	for _, d := range []int{1, 2, 7, 14} {
		all = append(all, calendarStep{days: d, label: "2 Jan", under: "2006", length: float64(d) * 86400})
	}
	for _, m := range []int{1, 2, 3, 6} {
		all = append(all, calendarStep{months: m, label: "Jan", under: "2006", length: float64(m) * 30.4 * 86400})
	}
	for _, y := range []int{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000} {
		all = append(all, calendarStep{months: 12 * y, label: "2006", length: float64(y) * 365.25 * 86400})
	}
	return all
}()

// times puts ticks where seconds, hours, days, months or years begin on the wall's clock.
func (s *scale) times(lo, hi float64, ticks int) {
	if !(lo <= hi) {
		lo, hi = 0, 86400
	}
	if hi-lo < 1 {
		lo, hi = lo-1800, hi+1800
	}
	lo, hi = math.Max(lo, earliest), math.Min(hi, latest)
	s.lo, s.hi = lo, hi
	step := calendarSteps[len(calendarSteps)-1]
	for _, c := range calendarSteps {
		if (hi-lo)/c.length <= float64(ticks) {
			step = c
			break
		}
	}
	first := time.Unix(int64(math.Floor(lo)), 0).In(s.a.Time)
	year, month, day := first.Date()
	last := time.Time{}
	for n := 0; n < 100_000 && len(s.ticks) <= 2*ticks+2; n++ {
		var t time.Time
		switch {
		case step.months > 0:
			months := (year*12 + int(month) - 1) / step.months * step.months
			t = time.Date(0, time.Month(months+n*step.months+1), 1, 0, 0, 0, 0, s.a.Time)
		case step.days > 0:
			t = time.Date(year, month, 1+(day-1)/step.days*step.days+n*step.days, 0, 0, 0, 0, s.a.Time)
		case step.seconds >= 3600:
			hours := step.seconds / 3600
			t = time.Date(year, month, day, first.Hour()/hours*hours+n*hours, 0, 0, 0, s.a.Time)
		default:
			t = time.Date(year, month, day, first.Hour(), 0, 0, 0, s.a.Time).Add(time.Duration(n*step.seconds) * time.Second)
		}
		at := At(t)
		if at > hi {
			break
		}
		if at < lo || !t.After(last) {
			continue
		}
		last = t
		mark := tick{v: at, label: t.Format(step.label)}
		if step.under != "" {
			mark.under = t.Format(step.under)
		}
		s.ticks = append(s.ticks, mark)
	}
}

// timeOf takes back At, to the second.
func timeOf(v float64) time.Time { return time.Unix(int64(math.Floor(v)), 0) }
