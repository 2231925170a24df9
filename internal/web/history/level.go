package history

import (
	"strconv"
	"strings"

	"firn/internal/plot"
	"firn/internal/retain"
	"firn/internal/snapshot"
)

// level is what keeps a snapshot, the rule that keeps it for longest first.
type level struct {
	rank   int
	Word   string // on the page
	Symbol string // in squares and badges, besides the colour
	color  int
	goes   bool
}

// levels of the rules, but for discs. Rank 0 counts most.
var levels = map[retain.Rule]level{
	retain.RuleArchive: {0, "archived disc", "A", 8, false}, retain.RuleYearly: {1, "yearly", "Y", 8, false}, retain.RuleQuarterly: {2, "quarterly", "Q", 5, false}, retain.RuleMonthly: {3, "monthly", "M", 4, false},
	retain.RuleWeekly: {4, "weekly", "W", 2, false}, retain.RuleDaily: {6, "daily", "D", 0, false}, retain.RuleHourly: {7, "hourly", "H", 6, false},
	retain.RuleTag: {40, "tag", "T", 3, false}, retain.RuleWithin: {41, "within a time", "I", 9, false}, retain.RuleLast: {42, "one of the last", "L", 1, false}, retain.RuleMin: {43, "fewest that stay", "N", 1, false},
	retain.RuleNewest: {44, "newest", "N", 1, false}, retain.RuleBase: {45, "base of another", "B", 7, false},
	retain.RuleUndone: {50, "not done", "…", 7, false}, retain.RuleUndated: {51, "of unknown time", "?", 5, false}, retain.RuleFuture: {52, "from the future", "!", 5, false}, retain.RuleMoved: {53, "stored long after", "!", 5, false},
}

// Levels that are no rules.
var (
	levelFull   = level{10, "full", "F", 4, false}
	levelDiff   = level{11, "diff", "d", 0, false}
	levelKept   = level{60, "kept: no policy is known", "•", 0, false}
	levelGoing  = level{90, "goes", "×", 7, true}
	levelOfDisc = 20 // rank of the first disc; the last disc is rarest and counts most
)

// levelOf tells the level of a snapshot; full says whether it is the first of its epoch, cycle whether its source has more than one of these, or chains.
func levelOf(v *retain.Verdict, it *snapshot.Item, full, cycle bool) level {
	if !v.Keep {
		return levelGoing
	}
	best, found := levelKept, false
	for i := range v.Reasons {
		r := &v.Reasons[i]
		if r.Past {
			continue
		}
		l, ok := levels[r.Rule]
		switch {
		case r.Rule == retain.RuleSimple && full:
			l, ok = levelFull, true
		case r.Rule == retain.RuleSimple:
			l, ok = levelDiff, true
		case r.Rule == retain.RuleHanoi:
			l, ok = disc(r.Slot), true
		}
		if ok && (!found || l.rank < best.rank) {
			best, found = l, true
		}
	}
	if found || it.Status() != snapshot.IsDone {
		return best
	}
	if cycle { // nobody says what stays, but the snapshots say how they were made
		l := levelDiff
		if full {
			l = levelFull
		}
		l.Word += ", kept: no policy is known"
		l.rank += 60
		return l
	}
	return best
}

// disc reads "disc 3 of 5".
func disc(slot string) level {
	words := strings.Fields(slot)
	n := 0
	if len(words) > 1 {
		n, _ = strconv.Atoi(words[1])
	}
	if n == 0 {
		return level{43, "no more than the cycle has discs", "N", 1, false}
	}
	return level{levelOfDisc + 16 - min(n, 16), "disc " + strconv.Itoa(n), strconv.Itoa(n), (n + plot.Colors - 1) % plot.Colors, false}
}

// keeps is a policy in words.
func keeps(p retain.Policy) string {
	var all []string
	add := func(n int, word string) {
		switch {
		case n == retain.All:
			all = append(all, "all "+word)
		case n > 0:
			all = append(all, strconv.Itoa(n)+" "+word)
		}
	}
	add(p.Last, "last")
	add(p.Hourly, "hourly")
	add(p.Daily, "daily")
	add(p.Weekly, "weekly")
	add(p.Monthly, "monthly")
	add(p.Quarterly, "quarterly")
	add(p.Yearly, "yearly")
	if p.Within > 0 {
		all = append(all, "within "+strconv.Itoa(int(p.Within.Hours()/24+0.5))+" days")
	}
	if len(p.Tags) > 0 {
		all = append(all, "tags "+strings.Join(p.Tags, ", "))
	}
	if p.Cycle.Kind != "" {
		all = append(all, p.Cycle.String())
	}
	if p.Min > 0 {
		all = append(all, "at least "+strconv.Itoa(p.Min))
	}
	if p.None {
		all = append(all, "nothing")
	}
	return strings.Join(all, ", ")
}
