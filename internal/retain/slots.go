package retain

import (
	"fmt"
	"time"
)

// moment is where a time lies in the local calendar.
type moment struct {
	day   int64 // number of the day, 0 being Monday, 1 January 2001
	hour  int64 // number of the hour; a day has 23 to 25 of them
	year  int
	month time.Month
}

// epochDay is the number that 1 January 2001 has from 1 January 1970 on.
const epochDay = 11323

func momentOf(t time.Time, loc *time.Location) moment {
	t = t.In(loc)
	y, m, d := t.Date()
	_, offset := t.Zone()
	return moment{dayNumber(y, m, d), floorDiv(t.Unix()+int64(offset%3600), 3600), y, m}
}

// dayNumber counts the days of the calendar.
func dayNumber(y int, m time.Month, d int) int64 {
	return floorDiv(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix(), 86400) - epochDay
}

// startOfDay returns the first moment of a day, which is not midnight where a clock is put forward then.
func startOfDay(day int64, loc *time.Location) time.Time {
	y, m, d := time.Unix((day+epochDay)*86400, 0).UTC().Date()
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	before, after := t.ZoneBounds()
	switch {
	case momentOf(t, loc).day < day && !after.IsZero():
		return after.In(loc) // there is no midnight
	case !before.IsZero() && t.Sub(before) <= 3*time.Hour:
		_, now := t.Zone()
		_, then := before.Add(-time.Second).In(loc).Zone()
		earlier := t.Add(time.Duration(now-then) * time.Second)
		if earlier.Before(before) && momentOf(earlier, loc).day == day {
			return earlier // midnight comes twice
		}
	}
	return t
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

// slots divide time; of each of them the first snapshot stands for it.
type slots struct {
	rule   Rule
	keep   int                     // so many of the newest
	length time.Duration           // usual
	key    func(m moment) int64    // number of the slot
	start  func(k int64) time.Time // nil: not known
	name   func(k int64) string
	apart  func(a, b moment) bool // nil: all slots lie apart
	silent bool                   // it says nothing of those that do not stand for a slot
}

// calendar returns the slots of a policy's rules.
func calendar(p *Policy, loc *time.Location) []slots {
	onDay := func(day int64) time.Time { return startOfDay(day, loc) }
	date := func(day int64) time.Time { return time.Unix((day+epochDay)*86400, 0).UTC() }
	monthDay := func(k int64) int64 { return dayNumber(int(floorDiv(k, 12)), time.Month(floorMod(k, 12)+1), 1) }
	hourAt := func(k int64) time.Time {
		t := time.Unix(k*3600, 0).In(loc)
		_, offset := t.Zone()
		return t.Add(-time.Duration(offset%3600) * time.Second)
	}
	all := []slots{
		{rule: RuleHourly, keep: p.Hourly, length: time.Hour, key: func(m moment) int64 { return m.hour }, start: hourAt,
			name: func(k int64) string { return hourAt(k).Format("2006-01-02 15h") }},
		{rule: RuleDaily, keep: p.Daily, length: days(1), key: func(m moment) int64 { return m.day }, start: onDay,
			name: func(k int64) string { return date(k).Format("2006-01-02") }},
		{rule: RuleWeekly, keep: p.Weekly, length: days(7), key: func(m moment) int64 { return floorDiv(m.day, 7) }, start: func(k int64) time.Time { return onDay(k * 7) },
			name: func(k int64) string {
				y, w := date(k * 7).ISOWeek()
				return fmt.Sprintf("%d-W%02d", y, w)
			}},
		{rule: RuleMonthly, keep: p.Monthly, length: days(30), key: func(m moment) int64 { return int64(m.year)*12 + int64(m.month) - 1 },
			start: func(k int64) time.Time { return onDay(monthDay(k)) }, name: func(k int64) string { return date(monthDay(k)).Format("2006-01") }},
		{rule: RuleQuarterly, keep: p.Quarterly, length: days(91), key: func(m moment) int64 { return int64(m.year)*4 + (int64(m.month)-1)/3 },
			start: func(k int64) time.Time { return onDay(monthDay(k * 3)) }, name: func(k int64) string { return fmt.Sprintf("%d-Q%d", floorDiv(k, 4), floorMod(k, 4)+1) }},
		{rule: RuleYearly, keep: p.Yearly, length: days(365), key: func(m moment) int64 { return int64(m.year) },
			start: func(k int64) time.Time { return onDay(monthDay(k * 12)) }, name: func(k int64) string { return fmt.Sprint(k) }},
	}
	var used []slots
	for _, s := range all {
		if s.keep > 0 {
			used = append(used, s)
		}
	}
	return used
}

// discs returns the slots of Hanoi's discs, the last disc first.
func discs(c Cycle, loc *time.Location) (all []slots) {
	for k := c.Discs - 1; k >= 0; k-- {
		size := int64(1) << k
		s := slots{rule: RuleHanoi, keep: 2, length: days(c.Frequency << k), key: func(m moment) int64 { return floorDiv(c.slot(m.day), size) },
			start: func(key int64) time.Time { return startOfDay(c.firstDay(key*size), loc) },
			name:  func(int64) string { return fmt.Sprintf("disc %d of %d", k+1, c.Discs) },
			apart: func(a, b moment) bool { return c.slot(b.day)-c.slot(a.day) >= (size+1)/2 }, silent: k > 0,
		}
		if k == c.Discs-1 {
			s.keep = 1
			if c.Archive {
				s.keep, s.rule = All, RuleArchive
			}
		}
		all = append(all, s)
	}
	return all
}
