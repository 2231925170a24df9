// Package schedule reads when something is to happen, and says when that is: moments (Schedule), stretches (Window), and rates that change with the hour (Timetable). It is pure: times and
// zones are arguments. All go by the clock on the wall: a moment that a change to summer time skips comes at the end of the gap, one that comes twice counts once, the first time.
//
// # Schedules
//
//	hourly            hourly :15          hourly :15,:45
//	daily             daily 02:30         daily 02:30,14:30
//	weekly            weekly Sun 04:00    Mon-Fri 22:00       Mon,Thu 04:00
//	monthly           monthly 1 03:00     monthly 1,15 03:00  monthly last 03:00   monthly first Sun 04:00
//	yearly            yearly 01-01 00:00
//	every 6h          from local midnight on where it divides a day; else counted from the last run
//	30 2 * * 1-5      as cron has it: minute, hour, day of the month, month, day of the week
//	manual            never by itself
//
// Where no time is said it is midnight, where no day is said it is Sunday, the first, the first of January. A day that a month does not have is its last one ("monthly 31", "yearly 02-29"),
// but for cron, where it does not come. Every schedule of fixed moments may end in a spread, "daily 02:30 ~30m": a delay below it, drawn once for good from a key (Schedule.WithKey), so that a fleet
// does not come at once.
//
// # Windows
//
// Clauses with a comma and a space between them; each is days, stretches of the day, or both: "22:00-06:00", "Mon-Fri 22:00-06:00, Sat-Sun", "Mon,Wed 12:00-13:00,18:00-20:00". A stretch that ends
// before it begins goes into the next day and belongs to the day on which it begins.
//
// # Timetables
//
// A rate ("2M"), or clauses as those of windows with a rate behind each, of which the first that holds counts, and "else": "Mon-Fri 08:00-18:00 2M, else off". off is no limit, and so is what no clause says.
package schedule

import (
	"fmt"
	"time"
)

// Schedule is a rule that names moments. The zero value names none.
type Schedule struct {
	text  string
	rule  *rule // nil: no moments
	delay time.Duration
}

// Error tells that a text is no schedule, window or timetable.
type Error struct {
	Text, Reason string
	Nearest      string // the word that may have been meant; may be empty
}

func (e *Error) Error() string { return fmt.Sprintf("%q: %s", e.Text, e.Reason) }

// String returns the text that was read.
func (s Schedule) String() string { return s.text }

// IsZero reports whether it names no moments and is not meant to: the zero value, or "manual".
func (s Schedule) IsZero() bool { return s.rule == nil }

// Counted reports whether its moments are counted from the last run ("every 5h"), so that it has none of its own: Last finds none, and Next is that long after its argument.
func (s Schedule) Counted() bool { return s.rule != nil && s.rule.every > 0 }

// Spread is the length of time within which a key places the moments; 0: they are where the text says.
func (s Schedule) Spread() time.Duration {
	if s.rule == nil {
		return 0
	}
	return s.rule.spread
}
