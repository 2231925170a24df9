package schedule

import "time"

// reach is further from UTC than any zone is, or was: zones have crossed the date line.
const reach = 27 * time.Hour

// wall is what a clock in loc shows at t, as if it were UTC.
func wall(t time.Time, loc *time.Location) time.Time {
	_, offset := t.In(loc).Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// instant is the first time at which a clock in loc shows w, given as if it were UTC; where it never does, the end of the gap that skips it. It never falls as w grows.
func instant(w time.Time, loc *time.Location) time.Time {
	for at := w.Add(-reach).In(loc); ; {
		start, end := at.ZoneBounds()
		_, offset := at.Zone()
		t := w.Add(-time.Duration(offset) * time.Second)
		switch {
		case !start.IsZero() && t.Before(start):
			return start.In(loc)
		case end.IsZero() || t.Before(end):
			return t.In(loc)
		}
		at = end
	}
}

// zone is loc, UTC where there is none.
func zone(loc *time.Location) *time.Location {
	if loc == nil {
		return time.UTC
	}
	return loc
}

// workable reports whether t is a time that calendars reach.
func workable(t time.Time) bool { return t.Year() >= 0 && t.Year() < 9990 }
