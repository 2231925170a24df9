package retain

import (
	"fmt"
	"slices"
	"sort"
	"time"
)

// How the pace of a source is measured.
const (
	paceNumbers = 15                  // over so many backups
	paceLook    = 64                  // at most so many snapshots back
	unknownPace = 24 * 60 * 60 * 1000 // milliseconds; at least, where nothing older is known
)

// line is the snapshots of one source that count, in the order of the store's clock.
type line struct {
	snaps   []Snapshot
	p       *Policy
	now     time.Time
	loc     *time.Location
	of      []int // all of the source
	at      []int // those that count: index in snaps
	ms      []int64
	pace    []int64 // average time between the backups before it, in milliseconds
	moved   map[int]bool
	moments []moment
	today   moment
	kept    []bool
	reasons [][]Reason
	past    [][]Reason
}

// counts reports whether rules look at s.
func counts(s *Snapshot, now time.Time) bool {
	return s.Done && !s.Time.IsZero() && !s.Time.After(now.Add(Skew))
}

func newLine(snaps []Snapshot, moments []moment, of []int, p *Policy, now time.Time, loc *time.Location) *line {
	l := &line{snaps: snaps, p: p, now: now, loc: loc, of: of, today: momentOf(now, loc)}
	l.moved = movedOf(snaps, of, now)
	for _, i := range of {
		if counts(&snaps[i], now) && !l.moved[i] {
			l.at = append(l.at, i)
			l.ms = append(l.ms, snaps[i].Time.UnixMilli())
			l.moments = append(l.moments, moments[i])
		}
	}
	n := len(l.at)
	l.kept, l.reasons, l.past = make([]bool, n), make([][]Reason, n), make([][]Reason, n)
	l.pace = make([]int64, n)
	for i := range l.at {
		l.pace[i] = l.paceAt(i)
	}
	return l
}

// paceAt measures the pace before a snapshot, by its number and those of older ones. The oldest has none: where the next came later than a day after it, that is the
// pace.
func (l *line) paceAt(i int) int64 {
	number := l.snaps[l.at[i]].Sequence
	best, by := -1, uint64(0)
	for j := i - 1; j >= 0 && j >= i-paceLook && by < paceNumbers; j-- {
		if n := l.snaps[l.at[j]].Sequence; n < number && number-n > by {
			best, by = j, number-n
		}
	}
	if best >= 0 {
		return int64(uint64(l.ms[i]-l.ms[best]) / by)
	}
	if i+1 == len(l.at) {
		return unknownPace
	}
	by = 1
	if n := l.snaps[l.at[i+1]].Sequence; n > number {
		by = n - number
	}
	return max(unknownPace, int64(uint64(l.ms[i+1]-l.ms[i])/by))
}

// gap is how far apart snapshots newer than the i-th have to be to count one by one, in milliseconds, in a rule with slots of this length; 0: slots of their own
// will do.
func (l *line) gap(i int, length time.Duration) int64 {
	switch {
	case l.p.Burst < 0:
		return 0
	case l.p.Burst > 0:
		return l.p.Burst.Milliseconds()
	case l.pace[i]*2 <= length.Milliseconds()*3:
		return 0
	}
	return l.pace[i] / 2
}

// How a move shows: a snapshot was stored so long after it was made, beside others that were made that long before or after it.
const (
	movedLag    = 36 * time.Hour
	movedBeside = 24 * time.Hour
)

// movedOf returns which snapshots of one source, in the order of the store's clock, were brought to this store after they had been made. A host whose clock is wrong
// all the time does not look so: what it stores within a day it also made within a day.
func movedOf(snaps []Snapshot, of []int, now time.Time) map[int]bool {
	var at []int
	for _, i := range of {
		if counts(&snaps[i], now) && !snaps[i].Made.IsZero() {
			at = append(at, i)
		}
	}
	var moved map[int]bool
	var least, most []int // of those beside: falling and rising Made
	from, to := 0, 0
	for _, i := range at {
		s := &snaps[i]
		for ; to < len(at) && !snaps[at[to]].Time.After(s.Time.Add(movedBeside)); to++ {
			made := snaps[at[to]].Made
			for len(least) > 0 && !snaps[at[least[len(least)-1]]].Made.Before(made) {
				least = least[:len(least)-1]
			}
			for len(most) > 0 && !snaps[at[most[len(most)-1]]].Made.After(made) {
				most = most[:len(most)-1]
			}
			least, most = append(least, to), append(most, to)
		}
		for ; snaps[at[from]].Time.Before(s.Time.Add(-movedBeside)); from++ {
		}
		for least[0] < from {
			least = least[1:]
		}
		for most[0] < from {
			most = most[1:]
		}
		first, last := snaps[at[least[0]]].Made, snaps[at[most[0]]].Made
		if s.Time.Sub(s.Made) > movedLag && (s.Made.Sub(first) > movedBeside+movedLag || last.Sub(s.Made) > movedBeside+movedLag) {
			if moved == nil {
				moved = make(map[int]bool)
			}
			moved[i] = true
		}
	}
	return moved
}

// decide fills in the verdicts of one source.
func (l *line) decide(out []Verdict) {
	for _, i := range l.of {
		s := &l.snaps[i]
		v := Verdict{ID: s.ID, Keep: true}
		switch {
		case !s.Done:
			v.Reasons = []Reason{{Rule: RuleUndone}}
		case l.p.None:
			v.Keep, v.Reasons = false, []Reason{{Rule: RuleNone, Past: true}}
		case s.Time.IsZero():
			v.Reasons = []Reason{{Rule: RuleUndated}}
		case !counts(s, l.now):
			v.Reasons = []Reason{{Rule: RuleFuture, Until: s.Time}}
		case l.moved[i]:
			v.Reasons = []Reason{{Rule: RuleMoved}}
		}
		out[i] = v
	}
	if l.p.None || len(l.at) == 0 {
		return
	}
	l.apply()
	for n, i := range l.at {
		switch out[i].Keep = l.kept[n]; {
		case l.kept[n]:
			out[i].Reasons = l.reasons[n]
		case len(l.past[n]) > 0:
			out[i].Reasons = l.past[n]
		default:
			out[i].Reasons = []Reason{{Rule: RuleNothing, Past: true}}
		}
	}
}

// apply asks all rules.
func (l *line) apply() {
	if l.p.Last > 0 {
		l.slotted(slots{rule: RuleLast, keep: l.p.Last})
	}
	cal := calendar(l.p, l.loc)
	for _, s := range cal {
		l.slotted(s)
	}
	l.within()
	l.tagged()
	switch l.p.Cycle.Kind {
	case Simple:
		l.epochs()
	case Hanoi:
		for _, s := range discs(l.p.Cycle, l.loc) {
			l.slotted(s)
		}
	}
	l.newest()
	if l.p.Cycle.Kind == Hanoi {
		l.fill(RuleHanoi, l.p.Cycle.Discs, l.byDisc())
	}
	if l.p.Min > 0 {
		l.fill(RuleMin, l.p.Min, l.newestFirst())
	}
}

// keep notes why the i-th is kept. Of Hanoi's discs the greatest counts, which is asked first.
func (l *line) keep(i int, r Reason) {
	l.kept[i] = true
	if r.Rule == RuleHanoi && slices.ContainsFunc(l.reasons[i], func(o Reason) bool { return o.Rule == RuleHanoi || o.Rule == RuleArchive }) {
		return
	}
	l.reasons[i] = append(l.reasons[i], r)
}

// drop notes which rule does not keep the i-th any more.
func (l *line) drop(i int, r Reason) {
	r.Past = true
	if r.Rule == RuleHanoi && slices.ContainsFunc(l.past[i], func(o Reason) bool { return o.Rule == RuleHanoi }) {
		return
	}
	l.past[i] = append(l.past[i], r)
}

// slotted asks a rule that keeps the first snapshots of the newest slots. Without a key each snapshot has a slot of its own.
func (l *line) slotted(s slots) {
	var standing []int
	var keys []int64 // of those
	for i := range l.at {
		k := int64(i)
		if s.key != nil {
			k = s.key(l.moments[i])
		}
		if n := len(keys); n > 0 && k <= keys[n-1] {
			l.besides(i, standing[n-1], &s, keys[n-1])
			continue
		}
		standing, keys = append(standing, i), append(keys, k)
	}
	spread := l.spread(standing)
	for a := len(standing) - 1; a >= 0; a-- {
		i := standing[a]
		newer, last := l.beats(standing, a, &s, spread[a])
		r := Reason{Rule: s.rule, Number: newer + 1, Of: s.keep}
		if s.name != nil {
			r.Slot = s.name(keys[a])
		}
		if newer >= s.keep {
			l.drop(i, r)
			continue
		}
		if s.start != nil && s.keep != All {
			open := max(keys[last]+1, s.key(l.today)) // the next slot that can be filled
			r.Until = s.start(open + int64(s.keep-newer-1))
			if r.Until.Before(l.now) {
				r.Until = l.now
			}
		}
		l.keep(i, r)
	}
}

// besides notes that another stands for the slot in which the i-th is, in the finest rule.
func (l *line) besides(i, stands int, s *slots, k int64) {
	if len(l.past[i]) == 0 && !s.silent {
		l.drop(i, Reason{Rule: s.rule, Slot: s.name(k), By: l.snaps[l.at[stands]].ID})
	}
}

// spread returns for each the least distance between it and those after it that follow one another.
func (l *line) spread(standing []int) []int64 {
	least := make([]int64, len(standing))
	for a := len(standing) - 1; a >= 0; a-- {
		least[a] = 1<<63 - 1
		if a+1 < len(standing) {
			least[a] = min(least[a+1], l.ms[standing[a+1]]-l.ms[standing[a]])
		}
	}
	return least
}

// beats counts the newer ones that lie apart from the a-th and from one another, up to as many as let it go, and says which was the last of them, or a.
func (l *line) beats(standing []int, a int, s *slots, least int64) (n, last int) {
	gap := l.gap(standing[a], s.length)
	if gap <= least && s.apart == nil {
		n = min(len(standing)-1-a, s.keep)
		return n, a + n
	}
	apart := func(x, y int) bool {
		x, y = standing[x], standing[y]
		return l.ms[y]-l.ms[x] >= gap && (s.apart == nil || s.apart(l.moments[x], l.moments[y]))
	}
	for last = a; n < s.keep; n++ {
		next := nextFrom(last+1, len(standing), func(b int) bool { return apart(last, b) })
		if next == len(standing) {
			break
		}
		last = next
	}
	return n, last
}

// nextFrom returns the first index from lo on for which ok holds, n if there is none. Where ok holds it holds for all that follow. It looks nearby first.
func nextFrom(lo, n int, ok func(int) bool) int {
	step := 1
	for lo < n && !ok(lo) {
		if lo+step >= n || ok(lo+step) {
			return lo + 1 + sort.Search(min(lo+step, n)-lo-1, func(b int) bool { return ok(lo + 1 + b) })
		}
		lo, step = lo+step, step*2
	}
	return min(lo, n)
}

// within asks what is young enough. Of each gap between backups at most twice the pace at its beginning counts: silence makes nothing old.
func (l *line) within() {
	if l.p.Within == 0 {
		return
	}
	limit, age := l.p.Within.Milliseconds(), int64(0)
	newest := l.snaps[l.at[len(l.at)-1]].Time
	for i := len(l.at) - 1; i >= 0; i-- {
		if i+1 < len(l.at) {
			gap := l.ms[i+1] - l.ms[i]
			if l.p.Burst >= 0 {
				gap = min(gap, 2*l.pace[i])
			}
			age += gap
		}
		r := Reason{Rule: RuleWithin, Slot: spanText(l.p.Within)}
		if age > limit {
			l.drop(i, r)
			continue
		}
		r.Until = newest.Add(time.Duration(limit-age) * time.Millisecond)
		l.keep(i, r)
	}
}

func spanText(d time.Duration) string {
	if d%days(1) == 0 {
		return fmt.Sprintf("%d days", d/days(1))
	}
	return d.String()
}

func (l *line) tagged() {
	for i, at := range l.at {
		for _, tag := range l.p.Tags {
			if slices.Contains(l.snaps[at].Tags, tag) {
				l.keep(i, Reason{Rule: RuleTag, Slot: tag})
				break
			}
		}
	}
}

// newest keeps the newest, by time and, where clocks went back, by number.
func (l *line) newest() {
	last := len(l.at) - 1
	l.keep(last, Reason{Rule: RuleNewest})
	highest := last
	for i := range l.at {
		if l.snaps[l.at[i]].Sequence > l.snaps[l.at[highest]].Sequence {
			highest = i
		}
	}
	if highest != last {
		l.keep(highest, Reason{Rule: RuleNewest, Slot: fmt.Sprintf("number %d", l.snaps[l.at[highest]].Sequence)})
	}
}

func (l *line) newestFirst() []int {
	order := make([]int, len(l.at))
	for i := range order {
		order[i] = len(order) - 1 - i
	}
	return order
}

// byDisc returns, over and over, the newest that came to each disc, from the last one on, and at the end those that came to none. After a long silence one backup
// lets go of what is on many discs; so their ages stay apart.
func (l *line) byDisc() []int {
	c := l.p.Cycle
	came := make([][]int, c.Discs+1)
	for _, i := range l.newestFirst() {
		disc := 0
		for k := 0; k < c.Discs; k++ {
			slot := floorDiv(c.slot(l.moments[i].day), 1<<k)
			if i > 0 && floorDiv(c.slot(l.moments[i-1].day), 1<<k) >= slot {
				break
			}
			disc = k + 1
		}
		came[disc] = append(came[disc], i)
	}
	var order []int
	for more := true; more; {
		more = false
		for k := c.Discs; k > 0; k-- {
			if len(came[k]) > 0 {
				order, came[k], more = append(order, came[k][0]), came[k][1:], true
			}
		}
	}
	return append(order, came[0]...)
}

// fill keeps more, in this order, until there are so many that lie apart.
func (l *line) fill(rule Rule, least int, order []int) {
	var kept []int64
	tight := int64(1<<63 - 1) // least distance between two of them
	add := func(at int, ms int64) {
		if at > 0 {
			tight = min(tight, ms-kept[at-1])
		}
		if at < len(kept) {
			tight = min(tight, kept[at]-ms)
		}
		kept = slices.Insert(kept, at, ms)
	}
	for i := range l.at {
		if l.kept[i] {
			add(len(kept), l.ms[i])
		}
	}
	for _, i := range order {
		if l.kept[i] {
			continue
		}
		at, _ := slices.BinarySearch(kept, l.ms[i])
		if len(kept) < least || around(kept, at, l.ms[i], l.gap(i, 0), tight, least) < least {
			add(at, l.ms[i])
			l.keep(i, Reason{Rule: rule, Of: least})
		}
	}
}

// around counts the times before and from the index at on that lie apart from ms and each other by gap, up to least. None are closer together than tight.
func around(kept []int64, at int, ms, gap, tight int64, least int) (n int) {
	// The nearest that lie apart from ms are at next and before-1.
	next := nextFrom(at, len(kept), func(b int) bool { return kept[b]-ms >= gap })
	before := at - nextFrom(0, at, func(x int) bool { return ms-kept[at-1-x] >= gap })
	if gap <= tight {
		return min(len(kept)-next+before, least)
	}
	for ; n < least && next < len(kept); n++ {
		last := kept[next]
		next = nextFrom(next+1, len(kept), func(b int) bool { return kept[b]-last >= gap })
	}
	for ; n < least && before > 0; n++ {
		last, from := kept[before-1], before-1
		before = from - nextFrom(0, from, func(x int) bool { return last-kept[from-1-x] >= gap })
	}
	return n
}

// epochs asks a simple cycle.
func (l *line) epochs() {
	of := epochsOf(l.snaps, l.at)
	starts := []int{}
	for i, e := range of {
		if e == len(starts) {
			starts = append(starts, i)
		}
	}
	c := l.p.Cycle
	apart := func(a, b int) bool {
		return l.p.Burst < 0 || l.ms[b]-l.ms[a] >= l.p.Burst.Milliseconds() && c.slot(l.moments[b].day)-c.slot(l.moments[a].day) >= int64(c.Diffs+2)/2
	}
	verdicts := make([]Reason, len(starts))
	for e, start := range starts {
		newer, last := 0, start
		for at := e + 1; newer < c.Fulls; newer, at = newer+1, at+1 {
			if at = nextFrom(at, len(starts), func(b int) bool { return apart(last, starts[b]) }); at == len(starts) {
				break
			}
			last = starts[at]
		}
		verdicts[e] = Reason{Rule: RuleSimple, Slot: fmt.Sprintf("epoch %d", l.snaps[l.at[start]].Epoch), Number: newer + 1, Of: c.Fulls,
			Until: startOfDay(l.moments[last].day+int64((c.Fulls-newer)*c.Frequency*(c.Diffs+1)), l.loc)}
		if verdicts[e].Until.Before(l.now) {
			verdicts[e].Until = l.now
		}
	}
	for i, e := range of {
		if r := verdicts[e]; r.Number <= r.Of {
			l.keep(i, r)
		} else {
			r.Until = time.Time{}
			l.drop(i, r)
		}
	}
}

// epochsOf numbers the epochs of one source by the time of their first snapshots, from 0, and returns that of each. of are those that count, in the order of time.
// (See Cycle.)
func epochsOf(snaps []Snapshot, of []int) []int {
	out := make([]int, len(of))
	byID := make(map[[16]byte]int, len(of)) // id to epoch
	byEpoch := make(map[uint32]int)
	chained := make(map[uint32]bool)
	next := 0
	for n, i := range of {
		s := &snaps[i]
		e, known := byEpoch[s.Epoch]
		if s.Base != [16]byte{} {
			if of, ok := byID[s.Base]; ok {
				e, known = of, true
			}
			chained[s.Epoch] = true
		} else if chained[s.Epoch] {
			known = false
		}
		if !known {
			e = next
			next++
			byEpoch[s.Epoch] = e
		}
		out[n], byID[s.ID] = e, e
	}
	return out
}
