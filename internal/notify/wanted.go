package notify

import (
	"slices"
	"time"
)

// Always stands in Rule.On for every event but Start.
const Always Event = "always"

// RemindAfter is how long trouble that goes on is left alone before it is told again, where Rule.Remind says nothing: a daily job tells each failure, an hourly one does not fill mailboxes.
const RemindAfter = 20 * time.Hour

// Rule is what a channel wants to hear of.
type Rule struct {
	On     []Event       // events and Always; empty: Failure, Missed, Recovered
	After  int           // how many runs in succession have to fail or to be missed before trouble is told; 0 and 1: the first
	Remind time.Duration // how long after it was told trouble is told again where it goes on; 0: RemindAfter; negative: never
}

// History is what one channel knows of one job before a message.
type History struct {
	Failures int       // runs in succession that failed or were missed, up to the last one before this message
	Told     time.Time // when this channel was last told, with success, of the trouble that lasts, or has just ended; zero: it was not
}

// Wanted reports whether a channel is to be told of a message. With After, a change of state is told once: trouble when it has lasted for so many runs (and again after Remind), its end when there was
// trouble that was told. A notice that did not get through counts as not told, so the next run tells it.
//
//   - Start and Success are told where On names them; Success by Always, too.
//   - Failure and Missed, where On names them, from the After-th run in succession on. A Rule with After above 1 that names Missed alone counts failures as well: there was no good run either way.
//     Where On has Always they are told each time.
//   - Recovered is told where On names it and the trouble was told, and wherever Success is.
//   - Test is always told.
func Wanted(rule Rule, before History, m Message) bool {
	on := rule.On
	if len(on) == 0 {
		on = []Event{Failure, Missed, Recovered}
	}
	always := slices.Contains(on, Always)
	named := func(e Event) bool { return slices.Contains(on, e) || always && e != Start }
	switch m.Event {
	case Test:
		return true
	case Recovered:
		return named(Success) || named(Recovered) && !before.Told.IsZero()
	case Failure, Missed:
		return (named(m.Event) || m.Event == Failure && rule.After > 1 && named(Missed)) && rule.due(before, m, always)
	}
	return named(m.Event)
}

// due reports whether trouble has lasted long enough to be told, or to be told again.
func (r Rule) due(before History, m Message, always bool) bool {
	runs := before.Failures + 1
	if m.Event == Missed {
		runs = before.Failures + max(1, m.Missed)
	}
	switch remind := r.Remind; {
	case max(runs, m.Failures) < r.After:
		return false
	case always || before.Told.IsZero():
		return true
	case remind < 0:
		return false
	case remind == 0:
		return m.Time.Sub(before.Told) >= RemindAfter
	default:
		return m.Time.Sub(before.Told) >= remind
	}
}
