package schedule

import (
	"slices"
	"strings"
)

var monthNames = []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}

// cron reads five fields. As cron has it: where both days are said, one of them is enough.
func (p *parser) cron(r *rule, fields []string) error {
	var masks [5]uint64
	limits := [5]struct {
		what      string
		low, high int
		names     []string
	}{{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day of the month", 1, 31, nil}, {"month", 1, 12, monthNames}, {"day of the week", 0, 7, dayNames}}
	for i, l := range limits {
		mask, ok := cronField(fields[i], l.low, l.high, l.names)
		if !ok {
			return p.fail("%q is no %s as cron has it: want %d to %d, lists, ranges or steps", clip(fields[i]), l.what, l.low, l.high)
		}
		masks[i] = mask
	}
	for hour := range 24 {
		for minute := range 60 {
			if masks[1]>>hour&1 != 0 && masks[0]>>minute&1 != 0 {
				r.times = append(r.times, hour*60+minute)
			}
		}
	}
	r.days, r.months = uint32(masks[2]), uint16(masks[3])
	r.weekdays = uint8(masks[4]&0x7f | masks[4]>>7)
	r.either = !strings.HasPrefix(fields[2], "*") && !strings.HasPrefix(fields[4], "*")
	return nil
}

// cronField reads "*", "*/5", "1-5", "0-30/10", "mon,wed".
func cronField(text string, low, high int, names []string) (mask uint64, ok bool) {
	value := func(s string) (int, bool) {
		for i, name := range names {
			if len(s) == 3 && strings.HasPrefix(name, strings.ToLower(s)) {
				return i + low, true
			}
		}
		return number(s, low, high)
	}
	for part := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(part, "/")
		step := 1
		if stepped {
			if step, ok = number(stepText, 1, 99); !ok {
				return 0, false
			}
		}
		from, to := low, high
		if span != "*" {
			first, last, ranged := strings.Cut(span, "-")
			if from, ok = value(first); !ok {
				return 0, false
			}
			switch {
			case ranged:
				if to, ok = value(last); !ok || to < from {
					return 0, false
				}
			case !stepped:
				to = from
			}
		} else if slices.Equal(names, dayNames) {
			to = 6
		}
		for v := from; v <= to; v += step {
			mask |= 1 << v
		}
	}
	return mask, true
}
