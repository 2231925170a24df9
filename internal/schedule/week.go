package schedule

import (
	"slices"
	"strings"
	"time"

	"firn/internal/units"
)

const (
	minutesOfDay  = 24 * 60
	minutesOfWeek = 7 * minutesOfDay
)

// Window is a set of stretches of the week. The zero value is all of it.
type Window struct {
	text string
	week *week // nil: always
}

// Timetable is a rate, in bytes a second, for each moment of the week. The zero value is no limit.
type Timetable struct {
	text string
	week *week // nil: no limit
}

// week is a value for each minute of the week, which begins on Sunday.
type week struct {
	from  []int // ascending, the first is 0
	value []int64
}

// span is a stretch of the week, in minutes; to may be up to a day past its end.
type span struct{ from, to int }

// String returns the text that was read.
func (w Window) String() string { return w.text }

// IsZero reports whether it is the zero value.
func (w Window) IsZero() bool { return w.week == nil }

// ParseWindow reads a window, as the package describes it. It fails with *Error.
func ParseWindow(text string) (Window, error) {
	p := &parser{text: text}
	clauses, err := p.clauses(false)
	if err != nil {
		return Window{}, err
	}
	for i := range clauses {
		clauses[i].value = 1
	}
	return Window{text, paint(clauses)}, nil
}

// Open reports whether t is inside.
func (w Window) Open(t time.Time, loc *time.Location) bool {
	return w.week == nil || w.week.at(wall(t, zone(loc))) != 0
}

// Closes is when the window that is open at t closes; t where it is closed; zero: never.
func (w Window) Closes(t time.Time, loc *time.Location) time.Time {
	if !w.Open(t, loc) {
		return t
	}
	return w.week.change(t, zone(loc))
}

// Opens is when the window that is closed at t opens; t where it is open.
func (w Window) Opens(t time.Time, loc *time.Location) time.Time {
	if w.Open(t, loc) {
		return t
	}
	return w.week.change(t, zone(loc))
}

// ParseTimetable reads a timetable, as the package describes it. It fails with *Error.
func ParseTimetable(text string) (Timetable, error) {
	p := &parser{text: text}
	clauses, err := p.clauses(true)
	if err != nil {
		return Timetable{}, err
	}
	return Timetable{text, paint(clauses)}, nil
}

// String returns the text that was read.
func (t Timetable) String() string { return t.text }

// IsZero reports whether it is the zero value.
func (t Timetable) IsZero() bool { return t.week == nil }

// Set makes *Timetable a flag value (pflag.Value).
func (t *Timetable) Set(text string) error {
	v, err := ParseTimetable(text)
	if err == nil {
		*t = v
	}
	return err
}

// Type names the flag value in help texts.
func (t *Timetable) Type() string { return "rate" }

// At is the rate at a time; 0: no limit.
func (t Timetable) At(at time.Time, loc *time.Location) units.Size {
	if t.week == nil {
		return 0
	}
	return units.Size(t.week.at(wall(at, zone(loc))))
}

// Changes is when the rate changes next after a time; zero: never.
func (t Timetable) Changes(at time.Time, loc *time.Location) time.Time {
	return t.week.change(at, zone(loc))
}

// Most is the highest rate that it ever has; 0: no limit at some time.
func (t Timetable) Most() units.Size {
	if t.week == nil || slices.Contains(t.week.value, 0) {
		return 0
	}
	return units.Size(slices.Max(t.week.value))
}

// clause is some stretches of the week with what holds then.
type clause struct {
	spans []span
	value int64
}

// clauses reads all clauses of a window, or of a timetable (with rates).
func (p *parser) clauses(rates bool) ([]clause, error) {
	if len(p.text) > maxText {
		return nil, p.fail("longer than %d bytes", maxText)
	}
	texts := strings.Split(strings.ReplaceAll(p.text, ", ", ";"), ";")
	if strings.TrimSpace(p.text) == "" {
		return nil, p.fail("empty: want such as %q", "Mon-Fri 22:00-06:00, Sat-Sun")
	}
	var out []clause
	for i, text := range texts {
		fields := strings.Fields(text)
		if len(fields) == 0 {
			return nil, p.fail("there is nothing between two commas")
		}
		var c clause
		var err error
		if rates && strings.EqualFold(fields[0], "else") {
			if i != len(texts)-1 {
				return nil, p.fail("\"else\" stands last")
			}
			c.spans, fields = []span{{0, minutesOfWeek}}, fields[1:]
		} else if c.spans, fields, err = p.spans(fields, rates); err != nil {
			return nil, err
		}
		switch {
		case rates:
			if c.value, err = p.rate(strings.Join(fields, " ")); err != nil {
				return nil, err
			}
		case len(fields) > 0:
			return nil, p.near(fields[0], []string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}, "%q is neither days nor a stretch of the day such as 22:00-06:00", clip(fields[0]))
		}
		out = append(out, c)
	}
	return out, nil
}

func (p *parser) rate(text string) (int64, error) {
	switch strings.ToLower(text) {
	case "off", "unlimited":
		return 0, nil
	case "":
		return 0, p.fail("a rate is missing: want one such as 2M, or off for no limit")
	}
	size, err := units.ParseSize(strings.TrimSuffix(text, "/s"))
	switch {
	case err != nil:
		first, _, _ := strings.Cut(text, " ")
		return 0, p.near(first, []string{"off", "unlimited", "else"}, "%q is no rate: want bytes a second such as 2M, or off for no limit", clip(text))
	case size == 0:
		return 0, p.fail("a rate of 0 would never end; off is no limit")
	}
	return int64(size), nil
}

// spans reads days, stretches of the day, or both, and returns the words that follow. whole: neither is all of the week.
func (p *parser) spans(fields []string, whole bool) (spans []span, rest []string, err error) {
	days, said := uint8(0x7f), false
	if isDays(fields[0]) {
		if days, err = p.days(fields[0]); err != nil {
			return nil, nil, err
		}
		fields, said = fields[1:], true
	}
	stretches := []span{{0, minutesOfDay}}
	if len(fields) > 0 && strings.Contains(fields[0], ":") {
		stretches, said = nil, true
		for text := range strings.SplitSeq(fields[0], ",") {
			first, last, _ := strings.Cut(text, "-")
			from, ok := clock(first)
			to, ok2 := clock(last)
			if !ok || !ok2 || from == minutesOfDay || from == to {
				return nil, nil, p.fail("%q is no stretch of the day: want one such as 22:00-06:00", clip(text))
			}
			if to < from {
				to += minutesOfDay
			}
			stretches = append(stretches, span{from, to})
		}
		fields = fields[1:]
	}
	if !said && !whole {
		return nil, fields, nil // the caller says what is wrong
	}
	for d := range 7 {
		for _, s := range stretches {
			if days>>d&1 != 0 {
				spans = append(spans, span{d*minutesOfDay + s.from, d*minutesOfDay + s.to})
			}
		}
	}
	return spans, fields, nil
}

// paint makes a week of clauses, of which the first that holds counts.
func paint(clauses []clause) *week {
	edges := []int{0}
	for _, c := range clauses {
		for _, s := range c.spans {
			edges = append(edges, s.from%minutesOfWeek, s.to%minutesOfWeek)
		}
	}
	w := &week{}
	for _, from := range sorted(edges) {
		value := find(clauses, from)
		if n := len(w.value); n == 0 || w.value[n-1] != value {
			w.from, w.value = append(w.from, from), append(w.value, value)
		}
	}
	return w
}

func find(clauses []clause, minute int) int64 {
	for _, c := range clauses {
		for _, s := range c.spans {
			if minute >= s.from && minute < s.to || minute+minutesOfWeek < s.to {
				return c.value
			}
		}
	}
	return 0
}

// ofWeek is how long ago the week began by a clock on the wall.
func ofWeek(wall time.Time) time.Duration {
	h, m, s := wall.Clock()
	return time.Duration(wall.Weekday())*units.Day + time.Duration(h*3600+m*60+s)*time.Second + time.Duration(wall.Nanosecond())
}

// index is the stretch in which a time of the week lies.
func (w *week) index(at time.Duration) int {
	i, found := slices.BinarySearch(w.from, int(at/time.Minute))
	if !found {
		i--
	}
	return i
}

func (w *week) at(wall time.Time) int64 { return w.value[w.index(ofWeek(wall))] }

// change is the first time after t at which the value is another one; zero: it never is.
func (w *week) change(t time.Time, loc *time.Location) time.Time {
	if w == nil || len(w.value) < 2 || !workable(t) {
		return time.Time{}
	}
	now := t.In(loc)
	value := w.at(wall(now, loc))
	for range 4 * (len(w.value) + 4) { // a step for each stretch of the week and each change of the clocks; four weeks at least
		at := ofWeek(wall(now, loc))
		next := time.Duration(minutesOfWeek) * time.Minute
		if i := w.index(at) + 1; i < len(w.from) {
			next = time.Duration(w.from[i]) * time.Minute
		}
		step := now.Add(next - at)
		if _, end := now.ZoneBounds(); !end.IsZero() && end.Before(step) {
			step = end.In(loc)
		}
		if now = step; w.at(wall(now, loc)) != value {
			return now
		}
	}
	return time.Time{}
}
