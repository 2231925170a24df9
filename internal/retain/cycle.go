package retain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is how a cycle goes round.
type Kind string

// The kinds of cycles.
const (
	Simple Kind = "simple"
	Hanoi  Kind = "hanoi"
)

// Cycle is a rotation as tapes have it. It plans backups (Next), and as part of a policy it says what is kept.
//
// Slots are Frequency days long. The days are counted from Monday, 1 January 2001, in the local calendar, without a break at new year; a slot begins with a day
// whose number plus Phase divides by Frequency, and one backup is due in each. One that was missed is due for the rest of its slot.
//
// Simple: a full backup opens an epoch, Diffs backups build on it, the next is a full again. Fulls epochs are kept, each as a whole, so no diff is ever without its
// full. The oldest goes once one more full is done, never before.
//
// Hanoi: there are Discs discs. Of n slots that follow one another, disc 0 takes every second, disc 1 every fourth, and so on; the last one takes each slot whose
// number divides by 2^(Discs-1). Each disc holds the backup that came to it last, so the ages of what there is are about 1, 2, 4, … slots. Full makes each backup an
// independent full; without it they share what they have in common, and retention alone follows Hanoi. Archive keeps whatever came to the last disc: one backup in
// 2^(Discs-1) slots stays for good.
//
// The same set, said so that missed slots do no harm: of stretches of 2^k slots, the first backups of the newest two (k < Discs-1), and of the newest one of
// 2^(Discs-1). (Of the newest two stretches of 2^k slots one has an odd number, and its beginning is what disc k holds; the other begins a stretch of 2^(k+1).) A
// stretch counts as newer only if its first backup is half a stretch away, and discs that were never written are used before another is: there are always as many
// snapshots as discs.
//
// What is a full, and which epoch a diff belongs to, follows from what a snapshot says: the first of its epoch in its source is a full; so is one without a base, if
// an older one of its epoch has one (a chain); one with a base belongs to the epoch of that.
type Cycle struct {
	Kind      Kind
	Frequency int // days, at least 1
	Phase     int // 0 up to, without it, Frequency

	Diffs int // simple: between two fulls
	Fulls int // simple: epochs that are kept, at least 1

	Discs   int  // Hanoi, at least 1
	Archive bool // Hanoi: keep what was on the last disc
	Full    bool // Hanoi: each backup is a full
}

// Limits of cycles.
const (
	maxFrequency = 3660 // days
	maxCount     = 10000
	maxDiscs     = 16
	maxDays      = 40000 // between two backups on the last disc
	maxText      = 1 << 10
)

// CycleError tells of a cycle that is none.
type CycleError struct{ Text, Reason string }

func (e *CycleError) Error() string { return fmt.Sprintf("cycle %q: %s", e.Text, e.Reason) }

// Check fails with *CycleError if a number is out of its range.
func (c Cycle) Check() error {
	bad := func(format string, args ...any) error { return &CycleError{c.String(), fmt.Sprintf(format, args...)} }
	switch {
	case c.Kind != Simple && c.Kind != Hanoi:
		return &CycleError{string(c.Kind), "want simple or hanoi"}
	case c.Frequency < 1 || c.Frequency > maxFrequency:
		return bad("frequency %d: want 1 to %d days", c.Frequency, maxFrequency)
	case c.Phase < 0 || c.Phase >= c.Frequency:
		return bad("phase %d: want 0 to %d, less than the frequency", c.Phase, c.Frequency-1)
	case c.Kind == Simple && (c.Diffs < 0 || c.Diffs > maxCount):
		return bad("diffs %d: want 0 to %d", c.Diffs, maxCount)
	case c.Kind == Simple && (c.Fulls < 1 || c.Fulls > maxCount):
		return bad("fulls %d: want 1 to %d", c.Fulls, maxCount)
	case c.Kind == Hanoi && (c.Discs < 1 || c.Discs > maxDiscs || c.Frequency<<(c.Discs-1) > maxDays):
		return bad("discs %d: want 1 to %d, the last of them used at least every %d days", c.Discs, maxDiscs, maxDays)
	}
	return nil
}

// String returns the cycle as ParseCycle reads it.
func (c Cycle) String() string {
	switch c.Kind {
	case Simple:
		return fmt.Sprintf("simple frequency=%d phase=%d diffs=%d fulls=%d", c.Frequency, c.Phase, c.Diffs, c.Fulls)
	case Hanoi:
		return fmt.Sprintf("hanoi frequency=%d phase=%d discs=%d archive-oldest=%s full=%s", c.Frequency, c.Phase, c.Discs, yesNo(c.Archive), yesNo(c.Full))
	}
	return string(c.Kind)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// ParseCycle reads "simple frequency=1 phase=0 diffs=6 fulls=4" or "hanoi frequency=1 phase=0 discs=5 archive-oldest=yes full=no". Members may stand in any order,
// with blanks or commas between; frequency is 1, phase 0, archive-oldest and full no where they are missing; fulls and discs must be there, and diffs. It fails with
// *CycleError.
func ParseCycle(text string) (Cycle, error) {
	bad := func(format string, args ...any) (Cycle, error) {
		return Cycle{}, &CycleError{fmt.Sprintf("%.100s", text), fmt.Sprintf(format, args...)}
	}
	if len(text) > maxText {
		return bad("%d bytes, want at most %d", len(text), maxText)
	}
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return r == ' ' || r == '\t' || r == ',' })
	if len(words) == 0 {
		return bad("want simple or hanoi, and what it needs")
	}
	c := Cycle{Kind: Kind(words[0]), Frequency: 1}
	wanted, ok := members[c.Kind]
	if !ok {
		return bad("want simple or hanoi, not %q", words[0])
	}
	var seen []string
	for _, word := range words[1:] {
		name, value, ok := strings.Cut(strings.ReplaceAll(word, "_", "-"), "=")
		switch {
		case !ok || value == "":
			return bad("%q: want NAME=VALUE", word)
		case !slices.Contains(wanted, name):
			return bad("%q is not known: want %s", name, strings.Join(wanted, ", "))
		case slices.Contains(seen, name):
			return bad("%q stands there twice", name)
		case !c.set(name, value):
			return bad("%s=%q: want a number, or yes or no for archive-oldest and full", name, value)
		}
		seen = append(seen, name)
	}
	for _, name := range []string{"diffs", "fulls", "discs"} {
		if slices.Contains(wanted, name) && !slices.Contains(seen, name) {
			return bad("%s is missing", name)
		}
	}
	return c, c.Check()
}

// members are what each kind takes.
var members = map[Kind][]string{
	Simple: {"frequency", "phase", "diffs", "fulls"},
	Hanoi:  {"frequency", "phase", "discs", "archive-oldest", "full"},
}

// set reads one member.
func (c *Cycle) set(name, value string) (ok bool) {
	var to *int
	switch name {
	case "archive-oldest", "full":
		yes := slices.Contains([]string{"yes", "true", "on", "1"}, value)
		if name == "full" {
			c.Full = yes
		} else {
			c.Archive = yes
		}
		return yes || slices.Contains([]string{"no", "false", "off", "0"}, value)
	case "frequency":
		to = &c.Frequency
	case "phase":
		to = &c.Phase
	case "diffs":
		to = &c.Diffs
	case "fulls":
		to = &c.Fulls
	case "discs":
		to = &c.Discs
	}
	n, err := strconv.ParseUint(value, 10, 31)
	if err == nil {
		*to = int(n)
	}
	return err == nil
}

// FromYear returns the cycle that is due, in this year, on the days on which day of the year (from 0) plus Phase divides by Frequency, as older programs count,
// which begin anew each year.
func (c Cycle) FromYear(year int) Cycle {
	if c.Frequency > 0 {
		c.Phase = int(floorMod(int64(c.Phase)-dayNumber(year, time.January, 1), int64(c.Frequency)))
	}
	return c
}

// slot returns the number of the slot that a day lies in.
func (c *Cycle) slot(day int64) int64 { return floorDiv(day+int64(c.Phase), int64(c.Frequency)) }

// firstDay returns the number of the day with which a slot begins.
func (c *Cycle) firstDay(slot int64) int64 { return slot*int64(c.Frequency) - int64(c.Phase) }

// days is a number of days of usual length.
func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }

// Next says what the cycle plans for a source: whether a backup is due, because its slot has none, and whether the next one is to be a full. Where one is due, when
// is the begin of its slot; else that of the next slot, when one will be. snaps are those of one source; not done ones, those of unknown time and those from the
// future do not count. Their times may be those at which the backups began, by the host's clock: a backup that runs past midnight belongs to the evening. Several in
// one slot count as one. A cycle that Check refuses plans nothing.
func (c Cycle) Next(snaps []Snapshot, now time.Time, loc *time.Location) (due, full bool, when time.Time) {
	if c.Check() != nil {
		return false, false, time.Time{}
	}
	at := c.slot(momentOf(now, loc).day)
	all := make([]int, 0, len(snaps))
	for i := range snaps {
		if counts(&snaps[i], now) {
			all = append(all, i)
		}
	}
	newest, inEpoch := int64(0), 0
	for _, of := range bySource(snaps, all) {
		epochs := epochsOf(snaps, of)
		last := len(of) - 1
		slots := map[int64]bool{}
		for n, i := range of {
			slot := c.slot(momentOf(snaps[i].Time, loc).day)
			if n == 0 || slot > newest {
				newest = slot
			}
			if epochs[n] == epochs[last] {
				slots[slot] = true
			}
		}
		inEpoch = len(slots)
	}
	full = c.Kind == Hanoi && c.Full || len(all) == 0 || c.Kind == Simple && inEpoch > c.Diffs
	if len(all) == 0 || newest < at {
		return true, full, startOfDay(c.firstDay(at), loc)
	}
	return false, full, startOfDay(c.firstDay(max(newest, at)+1), loc)
}

// Growth is what archiving the oldest disc adds in a year.
type Growth struct {
	Snapshots float64
	Bytes     float64 // stored; at most, where snapshots share what they have in common
	Known     bool    // Bytes says something: there is enough history
}

// year in days, on the average.
const year = 365.2425

// Growth returns what archiving the last disc adds in a year: as many snapshots as come to it. With Full each takes what the fulls so far took on the average;
// without, all of them together take no more than what backups have added over the time that snaps span, apart from the first one. snaps are those of one source.
func (c Cycle) Growth(snaps []Snapshot, now time.Time) Growth {
	if c.Kind != Hanoi || !c.Archive || c.Check() != nil {
		return Growth{}
	}
	g := Growth{Snapshots: year / float64(c.Frequency<<(c.Discs-1))}
	var first, last time.Time
	var added, whole float64
	n := 0
	for i := range snaps {
		s := &snaps[i]
		if !counts(s, now) {
			continue
		}
		n++
		added += float64(s.Added)
		if first.IsZero() || s.Time.Before(first) {
			first, whole = s.Time, float64(s.Added)
		}
		if s.Time.After(last) {
			last = s.Time
		}
	}
	span := last.Sub(first).Hours() / 24
	switch {
	case c.Full && n > 0:
		g.Bytes, g.Known = g.Snapshots*added/float64(n), true
	case n > 1 && span >= 1:
		g.Bytes, g.Known = (added-whole)/span*year, true
	}
	return g
}
