package schedule

import (
	"crypto/sha256"
	"encoding/binary"
	"sort"
	"time"
)

const (
	// horizon is how far Next and Last look, in days: 29 February may be eight years away.
	horizon = 9 * 366
	// MaxMissed is the most that Due counts.
	MaxMissed = 1000
	// Skew is how far in the future a last run may lie and still be believed: clocks are set back.
	Skew = time.Hour
)

// rule is a compiled schedule: minutes of days that match, or a distance.
type rule struct {
	every  time.Duration // > 0: counted from the last run; nothing else is set
	spread time.Duration
	times  []int // minutes of the day, ascending

	months   uint16 // bit 1 is January; 0: all
	days     uint32 // bit 1 is the first; 0: all
	last     bool   // the last day of the month
	clamp    bool   // days that a month lacks are its last one
	weekdays uint8  // bit 0 is Sunday; 0: all
	nth      uint8  // with weekdays: bit 1 is the first of the month …, bit 6 the last; 0: all
	either   bool   // cron: days or weekdays
	dates    []date // of the year; empty: all
}

type date struct{ month, day int }

// matches reports whether the day of t, in UTC, is one of the rule's.
func (r *rule) matches(t time.Time) bool {
	_, month, day := t.Date()
	if r.months != 0 && r.months>>month&1 == 0 {
		return false
	}
	length := 0
	if r.clamp || r.last || r.nth != 0 {
		length = monthLength(t)
	}
	if len(r.dates) > 0 {
		for _, d := range r.dates {
			if d.month == int(month) && (d.day == day || d.day > day && day == length) {
				return true
			}
		}
		return false
	}
	byDay := r.days == 0 && !r.last || r.days>>day&1 != 0 || r.last && day == length || r.clamp && day == length && r.days>>(day+1) != 0
	byWeek := r.weekdays == 0 || r.weekdays>>t.Weekday()&1 != 0
	if byWeek && r.nth != 0 {
		byWeek = r.nth>>((day-1)/7+1)&1 != 0 || r.nth>>6&1 != 0 && day+7 > length
	}
	if r.either {
		return byDay || byWeek
	}
	return byDay && byWeek
}

func monthLength(t time.Time) int {
	return time.Date(t.Year(), t.Month()+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// Next is the first moment after a time, as clocks in loc show it; zero: there is none within nine years. Of a schedule that is counted from the last run it is that long after the time.
func (s Schedule) Next(after time.Time, loc *time.Location) time.Time {
	loc = zone(loc)
	switch {
	case s.rule == nil || !workable(after):
		return time.Time{}
	case s.rule.every > 0:
		return after.Add(s.rule.every).In(loc)
	}
	after = after.Add(-s.delay)
	day := wall(after, loc).Truncate(24*time.Hour).AddDate(0, 0, -2) // clocks were set back over days
	for range horizon {
		if s.rule.matches(day) {
			times := s.rule.times
			at := func(i int) time.Time { return instant(day.Add(time.Duration(times[i])*time.Minute), loc) }
			if i := sort.Search(len(times), func(i int) bool { return at(i).After(after) }); i < len(times) {
				return at(i).Add(s.delay)
			}
		}
		day = day.AddDate(0, 0, 1)
	}
	return time.Time{}
}

// Last is the newest moment that is not after a time; zero: there is none within nine years, or the schedule is counted from the last run.
func (s Schedule) Last(at time.Time, loc *time.Location) time.Time {
	if s.rule == nil || s.rule.every > 0 || !workable(at) {
		return time.Time{}
	}
	loc = zone(loc)
	at = at.Add(-s.delay)
	day := wall(at, loc).Truncate(24*time.Hour).AddDate(0, 0, 2)
	for range horizon {
		if s.rule.matches(day) {
			times := s.rule.times
			moment := func(i int) time.Time { return instant(day.Add(time.Duration(times[i])*time.Minute), loc) }
			if i := sort.Search(len(times), func(i int) bool { return moment(i).After(at) }); i > 0 {
				return moment(i - 1).Add(s.delay)
			}
		}
		day = day.AddDate(0, 0, -1)
	}
	return time.Time{}
}

// Due tells whether a job is to run now that ran last (began) at lastRun; zero: never. A job that never ran is due at once. at is the moment for which it runs, now where it never ran; where it is not due, its next moment,
// zero if there is none. However many moments passed, they count as one run; missed is how many there were besides, at most MaxMissed. A last run in the future by more than Skew counts as none.
func (s Schedule) Due(lastRun, now time.Time, loc *time.Location) (due bool, at time.Time, missed int) {
	next := s.Next(now, loc)
	if next.IsZero() && s.Last(now, loc).IsZero() {
		return false, time.Time{}, 0
	}
	switch {
	case lastRun.IsZero() || lastRun.After(now.Add(Skew)) || !workable(lastRun):
		return true, now, 0
	case lastRun.After(now):
		lastRun = now
	}
	if s.rule.every > 0 {
		n := int64(now.Sub(lastRun) / s.rule.every)
		if n == 0 {
			return false, lastRun.Add(s.rule.every), 0
		}
		return true, lastRun.Add(time.Duration(n) * s.rule.every), int(min(n-1, MaxMissed))
	}
	at = s.Last(now, loc)
	if !at.After(lastRun) {
		return false, next, 0
	}
	for t := s.Next(lastRun, loc); t.Before(at) && missed < MaxMissed && !t.IsZero(); missed++ {
		t = s.Next(t, loc)
	}
	return true, at, missed
}

// WithKey places the moments of a schedule with a spread by a key, such as host and job: the same key always gives the same delay. Without a key there is none.
func (s Schedule) WithKey(key string) Schedule {
	if s.Spread() > 0 {
		sum := sha256.Sum256([]byte("firn schedule " + key))
		s.delay = time.Duration(binary.BigEndian.Uint64(sum[:])%uint64(s.rule.spread/time.Second)) * time.Second
	}
	return s
}

// Pace is the typical (median) distance between its moments; 0: it has not two.
func (s Schedule) Pace() time.Duration {
	pace, _ := s.distances()
	return pace
}

// Longest is the longest distance between two of its moments: of "Mon-Fri 22:00" three days. 0: it has not two.
func (s Schedule) Longest() time.Duration {
	_, longest := s.distances()
	return longest
}

// distances goes through eight years of UTC.
func (s Schedule) distances() (median, longest time.Duration) {
	if s.rule == nil || s.rule.every > 0 {
		if s.rule != nil {
			median = s.rule.every
		}
		return median, median
	}
	times := s.rule.times
	const day = 24 * 60
	count, total, before := map[int]int{}, 0, -1
	matched := 0
	start := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 8*366 + 1 {
		if !s.rule.matches(start.AddDate(0, 0, i)) {
			continue
		}
		matched++
		if before >= 0 {
			count[i*day+times[0]-before]++
			total++
		}
		before = i*day + times[len(times)-1]
	}
	for i := range times[1:] {
		count[times[i+1]-times[i]] += matched
		total += matched
	}
	gaps := make([]int, 0, len(count))
	for gap, n := range count {
		if n > 0 {
			gaps = append(gaps, gap)
		}
	}
	sort.Ints(gaps)
	seen := 0
	for _, gap := range gaps {
		if seen += count[gap]; median == 0 && 2*seen >= total {
			median = time.Duration(gap) * time.Minute
		}
		longest = time.Duration(gap) * time.Minute
	}
	return median, longest
}
