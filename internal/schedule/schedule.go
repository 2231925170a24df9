// Package schedule reads when something is to happen, and says when that is: moments (Schedule), stretches (Window), and rates that change with the hour (Timetable). It is pure: times and
// zones are arguments. All go by the clock on the wall: a moment that a change to summer time skips comes at the end of the gap, one that comes twice counts once.
package schedule

// Schedule is a rule that names moments. The zero value names none.
type Schedule struct{ text string }

// Window is a set of stretches of the week. The zero value is all of it.
type Window struct{ text string }

// Timetable is a rate, in bytes a second, for each moment of the week. The zero value is no limit.
type Timetable struct{ text string }

// String returns the text that was read.
func (s Schedule) String() string { return s.text }

// String returns the text that was read.
func (w Window) String() string { return w.text }

// String returns the text that was read.
func (t Timetable) String() string { return t.text }
