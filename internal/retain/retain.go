// Package retain decides which snapshots of a repository are kept. Its functions are pure: they look at snapshots, a policy, a time and a time zone, and touch no
// store and no clock.
//
// # Rules
//
// A policy is a set of rules; what one of them keeps is kept. Each source is decided by itself: a source that was renamed is two, and what stands under the old name
// is decided, and its newest kept, as if no backup had come since.
//
//	last N                         the newest N
//	hourly … yearly N              of each of the newest N hours … years that have a snapshot, the first one
//	within D                       what is younger than D, seen from the newest; time in which no backups came does not count
//	tag T                          what has the tag
//	simple cycle                   whole epochs: a full and its diffs, the newest Fulls of them
//	Hanoi cycle                    ages in powers of two (see Cycle)
//	min N                          where all this leaves fewer than N: the newest others
//
// The newest snapshot of a source is always kept, by the clock and by its number, and so are the bases of whatever is kept. A policy without a rule is an error, and
// decided with all the same it keeps everything: to keep nothing, None has to be set.
//
// Not decided, which means kept and not counted by any rule, are snapshots that are not done, whose time is unknown, or which come from the future by more than
// Skew: a clock that jumped costs space, never a snapshot. Nor are those that were moved: stored days after they were made, together with others that were made at
// other times. A repository that was brought to another disk or bucket by a plain copy bears the date of that, and rules that believe it would take years for one
// burst. No rule compares an age with the present: a clock that is years ahead, or a source that has been silent for years, loses nothing by it.
//
// # Against a thief
//
// Whoever steals the write-only key of a host can store snapshots without end, say of them what he likes (source, number, epoch, base, tags, sizes, the time by the
// host's clock) and have them done. He can neither delete nor choose the time by the store's clock. What was stored before the theft must not be pushed out. Hence:
//
//   - Times are the store's, so all that he stores is younger than all that was there. Whatever is asked of a snapshot is asked of older ones only: he changes no
//     answer.
//   - The first of a slot stands for it, not the last: a slot that was filled stays with whom it has. (A slot that begins after the theft may be his. From a stolen
//     key on, nothing tells his snapshots from those of the host; revoking the key as of that time does.)
//   - A rule lets a snapshot go only for newer ones that lie apart: apart from it and from each other by at least half the pace that its source had before it,
//     which is the average time between the fifteen backups before. Those that lie closer count as one, however many. For the oldest of a source nothing is known;
//     it is taken for a daily one, or a slower one if the next came later. Where backups are about as dense as the slots of a rule, or denser, the slots themselves
//     keep them apart. So N newer ones take at least half the time that the host itself would have taken.
//   - Of a burst the first members stand: they have the pace of what was before. Those that follow have the pace of the burst and are let go for the ones after
//     them, so that an honest burst (a job that repeats itself) does not fill the store either.
//   - The pace is time by number, so that it survives the deletion of what lay between. Numbers are claimed by hosts, but those before a snapshot are older than it.
//   - Epochs count in the order and by the time of their first snapshot, not by number. Only those apart by at least half of what the cycle plans count: a flood of
//     fulls, each the first of an epoch of its own, is one. A snapshot that claims an old epoch is kept or goes with that; it moves nothing.
//   - Hanoi's discs are slots as those of the calendar, of 1, 2, 4, … times the frequency, also apart by half a slot at least, and there are never fewer snapshots
//     than discs.
//   - Silence is where he could gain most, since one snapshot after months makes everything look old at once. Therefore within counts only time in which backups
//     came: of each gap at most twice the pace at its beginning. What it holds when a source falls silent has the rest of its time left when backups come again.
//   - Bases and tags that he names keep more, never less. Other sources are not touched, nor is a source joined with one that claims to be its continuation.
//
// What is left is bounded: in T after the theft he makes a snapshot lose no more than T divided by half the pace, plus one, of the places that it has in a rule.
// Policies that keep one of everything keep what came last; a Min, or a rule with several places, is the time within which a theft has to be noticed.
package retain

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// Snapshot is what rules look at. Everything but Time is claimed by the host that made it.
type Snapshot struct {
	ID       [16]byte
	Source   [8]byte
	Time     time.Time // by the store's clock, never the host's; zero: unknown
	Made     time.Time // when its backup ended by the host's clock, which only shows that a repository was moved; zero: unknown
	Sequence uint64    // its number in its source
	Epoch    uint32
	Base     [16]byte // of a chain: the one that this one needs; zero: none
	Tags     []string
	Done     bool
	Bytes    int64 // of content
	Added    int64 // bytes that were stored for it
}

// All as the number of a rule keeps without end.
const All = math.MaxInt32

// NoBurst as Policy.Burst makes every snapshot count, however close together they lie. It leaves the past to whoever has a key of the host.
const NoBurst time.Duration = -1

// Skew is by how much the clocks of the store and of whoever decides may differ before a snapshot comes from the future.
const Skew = time.Hour

// Policy is a set of rules. Numbers of 0 are no rule.
type Policy struct {
	Last      int
	Hourly    int
	Daily     int
	Weekly    int // weeks begin on Monday
	Monthly   int
	Quarterly int
	Yearly    int
	Within    time.Duration
	Tags      []string // any of them
	Min       int
	Cycle     Cycle // Kind empty: none
	None      bool  // keep nothing; no other rule may be set

	Burst time.Duration // snapshots closer together than this count as one; 0: than half the pace of their source
}

// Rule names why a snapshot is kept, or goes.
type Rule string

// The rules, as reasons name them.
const (
	RuleLast      Rule = "last"
	RuleHourly    Rule = "hourly"
	RuleDaily     Rule = "daily"
	RuleWeekly    Rule = "weekly"
	RuleMonthly   Rule = "monthly"
	RuleQuarterly Rule = "quarterly"
	RuleYearly    Rule = "yearly"
	RuleWithin    Rule = "within"
	RuleTag       Rule = "tag"
	RuleMin       Rule = "min"
	RuleSimple    Rule = "simple"
	RuleHanoi     Rule = "hanoi"
	RuleArchive   Rule = "archive" // of Hanoi's oldest disc
	RuleNewest    Rule = "newest"
	RuleBase      Rule = "base"
	RuleUndone    Rule = "not done"
	RuleUndated   Rule = "undated"
	RuleFuture    Rule = "future"
	RuleMoved     Rule = "moved"
	RulePolicy    Rule = "policy"  // the policy is not one: everything stays
	RuleNone      Rule = "none"    // nothing is to be kept
	RuleNothing   Rule = "nothing" // no rule speaks of it
)

// Reason is why a snapshot is kept or, where Past is set, why it is not any more.
type Reason struct {
	Rule   Rule
	Slot   string    // for people: the day, week, epoch, disc, tag … that the snapshot stands for; may be empty
	Number int       // its place in the rule, 1 being the newest; 0: there are no places
	Of     int       // so many places the rule has; All: without end
	Until  time.Time // the rule holds it until then at least if backups go on as before; zero: not known, or for good (Forever)
	By     [16]byte  // base: the one that needs it; Past: the one that stands for its slot; else zero
	Past   bool
}

// Verdict says what becomes of a snapshot.
type Verdict struct {
	ID      [16]byte
	Keep    bool
	Reasons []Reason // at least one
}

// Forever reports whether the rule keeps the snapshot for good, as long as the policy stays.
func (r *Reason) Forever() bool {
	return !r.Past && (r.Rule == RuleTag || r.Rule == RuleArchive || r.Of == All)
}

// Until returns until when a snapshot is kept at least, if backups go on as before; zero: not known. forever: for good.
func (v *Verdict) Until() (latest time.Time, forever bool) {
	for _, r := range v.Reasons {
		if r.Forever() {
			return time.Time{}, true
		}
		if !r.Past && r.Until.After(latest) {
			latest = r.Until
		}
	}
	return latest, false
}

// maxRounds bounds how often Decide looks at what it kept.
const maxRounds = 64

// Decide says of each snapshot whether p keeps it; verdicts are in the order of snaps. now only tells which snapshots come from the future, loc where days begin.
// Deciding again on what was kept keeps the same: what a deletion changes (the pace of a source) is taken into account until nothing changes any more. A policy that
// Check refuses keeps everything.
func Decide(snaps []Snapshot, p Policy, now time.Time, loc *time.Location) []Verdict {
	out := make([]Verdict, len(snaps))
	alive := make([]int, len(snaps))
	for i := range snaps {
		alive[i] = i
		out[i] = Verdict{ID: snaps[i].ID, Keep: true, Reasons: []Reason{{Rule: RulePolicy}}}
	}
	if p.Check() != nil {
		return out
	}
	moments := make([]moment, len(snaps))
	for i := range snaps {
		moments[i] = momentOf(snaps[i].Time, loc)
	}
	for range maxRounds {
		for _, of := range bySource(snaps, alive) {
			l := newLine(snaps, moments, of, &p, now, loc)
			l.decide(out)
		}
		keepBases(snaps, alive, out)
		left := slices.DeleteFunc(slices.Clone(alive), func(i int) bool { return !out[i].Keep })
		if len(left) == len(alive) {
			break
		}
		alive = left
	}
	return out
}

// bySource groups the snapshots that alive names by source, each group in the order of the store's clock.
func bySource(snaps []Snapshot, alive []int) [][]int {
	sorted := slices.Clone(alive)
	slices.SortFunc(sorted, func(i, j int) int {
		a, b := &snaps[i], &snaps[j]
		return cmp.Or(slices.Compare(a.Source[:], b.Source[:]), a.Time.Compare(b.Time), cmp.Compare(a.Sequence, b.Sequence), slices.Compare(a.ID[:], b.ID[:]), cmp.Compare(i, j))
	})
	var groups [][]int
	for from := 0; from < len(sorted); {
		to := from + 1
		for to < len(sorted) && snaps[sorted[to]].Source == snaps[sorted[from]].Source {
			to++
		}
		groups = append(groups, sorted[from:to])
		from = to
	}
	return groups
}

// keepBases keeps what kept snapshots need, whatever source it is in.
func keepBases(snaps []Snapshot, alive []int, out []Verdict) {
	byID := make(map[[16]byte]int, len(alive))
	var needing []int
	for _, i := range alive {
		byID[snaps[i].ID] = i
		if out[i].Keep && snaps[i].Base != [16]byte{} {
			needing = append(needing, i)
		}
	}
	based := make(map[int]bool)
	for len(needing) > 0 {
		i := needing[len(needing)-1]
		needing = needing[:len(needing)-1]
		base, ok := byID[snaps[i].Base]
		if !ok || based[base] || base == i {
			continue
		}
		based[base] = true
		v := &out[base]
		if !v.Keep {
			v.Keep, v.Reasons = true, nil
		}
		v.Reasons = append(v.Reasons, Reason{Rule: RuleBase, By: snaps[i].ID})
		if snaps[base].Base != [16]byte{} {
			needing = append(needing, base)
		}
	}
}

// String says why, in a few words.
func (r Reason) String() string {
	text := string(r.Rule)
	if r.Slot != "" {
		text += " " + r.Slot
	}
	who := fmt.Sprintf("%x", r.By[:4])
	switch {
	case r.Rule == RuleBase:
		return "base of " + who
	case r.Rule == RuleTag:
		return fmt.Sprintf("tag %q", r.Slot)
	case r.Rule == RulePolicy:
		return "there is no valid policy"
	case r.Rule == RuleNone:
		return "nothing is to be kept"
	case r.Rule == RuleNothing:
		return "no rule keeps it"
	case r.Rule == RuleFuture:
		return "from the future"
	case r.Rule == RuleMoved:
		return "stored long after it was made"
	case r.Rule == RuleUndated:
		return "of unknown time"
	case r.Past && r.By != [16]byte{}:
		return text + ": " + who + " stands for it"
	case r.Past && r.Number > 0:
		return fmt.Sprintf("%s: %d are newer", text, r.Number-1)
	case r.Past:
		return "not " + text
	case r.Of == All:
		return text + ", all of them"
	case r.Number > 0:
		return fmt.Sprintf("%s, %d of %d", text, r.Number, r.Of)
	case r.Of > 0:
		return fmt.Sprintf("%s: there are no more than %d", text, r.Of)
	}
	return text
}
