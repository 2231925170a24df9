package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Calendar returns the moments as calendar events of systemd (systemd.time(7)), which are to be joined. The delay that a key has drawn is part of them, up to the next whole minute. It returns nil
// where the schedule names no moments, counts them from the last run, or where the delay leads to another day of a month, which systemd cannot be told.
func (s Schedule) Calendar() (events []string) {
	if s.rule == nil || s.rule.every > 0 {
		return nil
	}
	shift := int((s.delay + time.Minute - 1) / time.Minute)
	later := map[int]*rule{} // by how many days
	for _, t := range s.rule.times {
		days := (t + shift) / minutesOfDay
		if later[days] == nil {
			r, ok := s.rule.afterDays(days)
			if !ok {
				return nil
			}
			later[days] = r
		}
		later[days].times = append(later[days].times, (t+shift)%minutesOfDay)
	}
	for _, r := range later {
		for _, day := range r.calendarDays() {
			for _, at := range r.calendarTimes() {
				events = append(events, day+" "+at)
			}
		}
	}
	return sortedTexts(events)
}

// afterDays is the rule of the days that come some days after those of r, without times.
func (r *rule) afterDays(days int) (*rule, bool) {
	later := *r
	later.times = nil
	if days == 0 || r.months == 0 && r.days == 0 && !r.last && r.weekdays == 0 && len(r.dates) == 0 {
		return &later, true
	}
	if r.months != 0 || r.days != 0 || r.last || r.nth != 0 || len(r.dates) > 0 {
		return nil, false
	}
	later.weekdays = 0
	for d := range 7 {
		if r.weekdays>>d&1 != 0 {
			later.weekdays |= 1 << ((d + days) % 7)
		}
	}
	return &later, true
}

// calendarDays are the days, each as "Mon,Thu *-01,02-03" and the like.
func (r *rule) calendarDays() (days []string) {
	if len(r.dates) > 0 {
		for _, d := range r.dates {
			days = append(days, clamped(fmt.Sprintf("%02d", d.month), d.day)...)
		}
		return sortedTexts(days)
	}
	months := bits(uint64(r.months), 1, 12, "*", strconv.Itoa)
	week := ""
	if r.weekdays != 0 && r.weekdays != 1<<7-1 {
		week = bits(uint64(r.weekdays), 0, 6, "", func(i int) string { return [...]string{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"}[i] }) + " "
	}
	ofMonth := r.daysOfMonth(months)
	switch {
	case r.nth != 0:
		for n := 1; n <= 5; n++ {
			if r.nth>>n&1 != 0 {
				days = append(days, fmt.Sprintf("%s*-%s-%02d..%02d", week, months, 7*n-6, min(7*n, 31)))
			}
		}
		if r.nth>>6&1 != 0 {
			days = append(days, week+"*-"+months+"~07/1")
		}
	case r.either:
		days = append(ofMonth, week+"*-"+months+"-*")
	default:
		for _, d := range ofMonth {
			days = append(days, week+d)
		}
	}
	return sortedTexts(days)
}

// daysOfMonth are the days without those of the week.
func (r *rule) daysOfMonth(months string) (days []string) {
	switch {
	case r.last:
		days = []string{"*-" + months + "~01"}
		fallthrough
	case r.clamp:
		for d := 1; d <= 31; d++ {
			if r.days>>d&1 != 0 {
				days = append(days, clamped(months, d)...)
			}
		}
	case r.days == 0:
		days = []string{"*-" + months + "-*"}
	default:
		days = []string{"*-" + months + "-" + bits(uint64(r.days), 1, 31, "*", strconv.Itoa)}
	}
	if len(days) == 0 {
		days = []string{"*-" + months + "-*"}
	}
	return days
}

// clamped is a day of a month, or of each, that is the last one of a month that lacks it.
func clamped(month string, day int) []string {
	if day == 31 || month == "02" && day == 29 {
		return []string{"*-" + month + "~01"}
	}
	days := []string{fmt.Sprintf("*-%s-%02d", month, day)}
	if day > 28 && month == "*" {
		days = append(days, "*-02~01")
	}
	return days
}

// calendarTimes are the times of the day, hours with the same minutes together.
func (r *rule) calendarTimes() (times []string) {
	minutes := [24]uint64{}
	for _, t := range r.times {
		minutes[t/60] |= 1 << (t % 60)
	}
	for hour, set := range minutes {
		if set == 0 || slices.Contains(minutes[:hour], set) {
			continue
		}
		hours := uint64(0)
		for h, other := range minutes {
			if other == set {
				hours |= 1 << h
			}
		}
		two := func(n int) string { return fmt.Sprintf("%02d", n) }
		times = append(times, bits(hours, 0, 23, "*", two)+":"+bits(set, 0, 59, "*", two)+":00")
	}
	return times
}

// bits lists the numbers of a set between two bounds; all is for none of them, and for all.
func bits(set uint64, from, to int, all string, name func(int) string) string {
	var names []string
	for n := from; n <= to; n++ {
		if set>>n&1 != 0 {
			names = append(names, name(n))
		}
	}
	if len(names) == 0 || len(names) == to-from+1 && all != "" {
		return all
	}
	return strings.Join(names, ",")
}

func sortedTexts(texts []string) []string {
	slices.Sort(texts)
	return slices.Compact(texts)
}
