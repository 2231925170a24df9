package units

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Day and Week are of 24 and 168 hours, whatever the clocks on the wall do.
const (
	Day  = 24 * time.Hour
	Week = 7 * Day
)

// MaxDuration is the longest that ParseDuration reads: 200 years.
const MaxDuration = 200 * 365 * Day

// ParseDuration reads a length of time as people write it: 90s, 15m, 2h30m, 3d, 2w, 1y (365 days), or several of these, the largest first, with fractions in the last one only
// ("1.5h"). A number without a unit is refused, but for 0.
func ParseDuration(s string) (time.Duration, error) {
	fail := func() (time.Duration, error) {
		return 0, fmt.Errorf("%q is no length of time: want one such as 90s, 2h, 3d or 2w", s)
	}
	if s == "0" {
		return 0, nil
	}
	if s == "" || len(s) > 64 {
		return fail()
	}
	total, rest, last := time.Duration(0), strings.ToLower(s), time.Duration(MaxDuration)
	for rest != "" {
		n := 0
		for n < len(rest) && (rest[n] >= '0' && rest[n] <= '9' || rest[n] == '.') {
			n++
		}
		number, err := strconv.ParseFloat(rest[:n], 64)
		unit, width := durationUnit(rest[n:])
		if err != nil || unit == 0 || unit >= last || strings.Contains(rest[:n], ".") && len(rest) > n+width {
			return fail()
		}
		part := number * float64(unit)
		if part > float64(MaxDuration-total) {
			return fail()
		}
		total, rest, last = total+time.Duration(part), rest[n+width:], unit
	}
	return total, nil
}

// durationUnit reads the unit that s begins with, and how long its name is; 0: there is none.
func durationUnit(s string) (time.Duration, int) {
	switch {
	case strings.HasPrefix(s, "ms"):
		return time.Millisecond, 2
	case strings.HasPrefix(s, "s"):
		return time.Second, 1
	case strings.HasPrefix(s, "m"):
		return time.Minute, 1
	case strings.HasPrefix(s, "h"):
		return time.Hour, 1
	case strings.HasPrefix(s, "d"):
		return Day, 1
	case strings.HasPrefix(s, "w"):
		return Week, 1
	case strings.HasPrefix(s, "y"):
		return 365 * Day, 1
	}
	return 0, 0
}
