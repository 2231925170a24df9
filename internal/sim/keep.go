package sim

import (
	"math/rand/v2"
	"slices"
	"time"

	"firn/internal/backup"
	"firn/internal/retain"
	"firn/internal/retention"
	"firn/internal/snapshot"
)

// keepTag is what some backups are tagged with, and some policies keep.
const keepTag = "keep"

// policies are what prunes may keep, all with a burst of 0.
func policies() []retain.Policy {
	simple := func(frequency, phase, diffs, fulls int) retain.Cycle {
		return retain.Cycle{Kind: retain.Simple, Frequency: frequency, Phase: phase, Diffs: diffs, Fulls: fulls}
	}
	hanoi := func(frequency, discs int, archive, full bool) retain.Cycle {
		return retain.Cycle{Kind: retain.Hanoi, Frequency: frequency, Discs: discs, Archive: archive, Full: full}
	}
	return []retain.Policy{
		{Daily: 2}, {Daily: 3, Weekly: 2, Monthly: 2}, {Weekly: 3}, {Monthly: 2, Last: 1}, {Within: 50 * time.Hour}, {Within: 20 * 24 * time.Hour, Tags: []string{keepTag}}, {Tags: []string{keepTag}, Min: 2},
		{Daily: 1, Min: 4}, {Cycle: simple(1, 0, 2, 1)}, {Cycle: simple(2, 1, 1, 2)}, {Cycle: simple(1, 0, 3, 2), Tags: []string{keepTag}}, {Cycle: hanoi(1, 3, false, false)}, {Cycle: hanoi(1, 2, true, true)},
		{Cycle: hanoi(3, 4, false, true), Min: 2},
	}
}

// policyOf is by what a step prunes, and whether it is written as rules for sources; !ok: by the policy of the world. It takes no chance from that of the step, so that all else in it stays as it is.
func (w *world) policyOf(s Step) (p retain.Policy, rules, ok bool) {
	rng := rand.New(rand.NewPCG(s.Seed, 8))
	if w.o.Bug != "" || rng.IntN(3) == 0 {
		return w.setup.policy, false, false
	}
	all := policies()
	p = all[rng.IntN(len(all))]
	if w.setup.cycle.Kind != "" && rng.IntN(2) == 0 {
		p = retain.Policy{Cycle: w.setup.cycle}
	}
	p.Burst = []time.Duration{0, 0, retain.NoBurst, 3 * time.Hour}[rng.IntN(4)]
	return p, rng.IntN(2) == 0, true
}

// newCycle is by what the backups of a world are planned; of no kind: by nothing.
func newCycle(seed uint64) retain.Cycle {
	rng := rand.New(rand.NewPCG(seed, 9))
	all := slices.DeleteFunc(policies(), func(p retain.Policy) bool { return p.Cycle.Kind == "" })
	if rng.IntN(2) == 0 {
		return retain.Cycle{}
	}
	return all[rng.IntN(len(all))].Cycle
}

// rulesOf says the same of each source by its name.
func (w *world) rulesOf(p retain.Policy) (rules retention.Rules) {
	for _, h := range w.hosts {
		for i := range h.trees {
			rules = append(rules, retention.Rule{Source: string(h.sourceOf(i).Path), Kind: "dir", Host: h.name, Policy: p})
		}
	}
	return rules
}

// decideBy is decide by another policy. What must stay by the reckoning of the simulator is remembered, and is looked for when the world is judged.
func (w *world) decideBy(p retain.Policy, rules bool) func([]snapshot.Item, time.Time) ([]snapshot.ID, error) {
	return func(items []snapshot.Item, now time.Time) (gone []snapshot.ID, err error) {
		if rules {
			gone = w.rulesOf(p).Decide(items, now, time.UTC)
		} else {
			for _, v := range retain.Decide(retention.Snapshots(items), p, now, time.UTC) {
				if !v.Keep {
					gone = append(gone, snapshot.ID(v.ID))
				}
			}
		}
		w.let(items, gone, p, now)
		return gone, nil
	}
}

// let notes what a rule lets go and what it must not.
func (w *world) let(items []snapshot.Item, gone []snapshot.ID, p retain.Policy, now time.Time) {
	if now.Sub(w.clock.Now()).Abs() >= time.Minute {
		return // it is asked about days to come, to know what lives how long
	}
	for _, h := range snapshot.Histories(items) {
		if id, why := wrongly(h.Items, gone, p, w.foreign); why != "" {
			w.breach(violated("%+v lets snapshot %v go, %s", p, id, why))
		}
	}
	for _, it := range items {
		goes := slices.Contains(gone, it.ID)
		if t := w.taken[it.ID]; t != nil && goes {
			t.gone = true
		} else if t != nil && it.Status() == snapshot.IsDone {
			w.stay[it.ID] = true
		}
	}
}

// wrongly looks in one source for a snapshot that goes and must not, by a reckoning of its own: it knows no pace and nothing that was moved, and says only what holds whatever these are.
func wrongly(items []snapshot.Item, gone []snapshot.ID, p retain.Policy, foreign map[snapshot.ID]bool) (snapshot.ID, string) {
	goes := func(it snapshot.Item) bool { return slices.Contains(gone, it.ID) }
	var done []snapshot.Item
	plain := true // nothing looks as if it was moved, and time and numbers go the same way
	for _, it := range items {
		switch {
		case it.Status() == snapshot.IsDone:
			done = append(done, it)
		case goes(it):
			return it.ID, "which is not done"
		}
	}
	slices.SortStableFunc(done, func(a, b snapshot.Item) int { return a.Stored.Compare(b.Stored) })
	stay, left := map[snapshot.ID]string{}, 0
	highest := 0
	for i, it := range done {
		plain = plain && !foreign[it.ID] && it.Stored.Sub(it.End) <= 36*time.Hour && (i == 0 || done[i-1].Sequence < it.Sequence && done[i-1].Stored.Before(it.Stored))
		if it.Sequence > done[highest].Sequence {
			highest = i
		}
		if !goes(it) {
			left++
			stay[it.Base] = "on which another is built"
		}
		if i >= len(done)-max(p.Last, 1) {
			stay[it.ID] = "one of the newest"
		}
		if slices.ContainsFunc(p.Tags, func(tag string) bool { return slices.Contains(it.Tags, tag) }) {
			stay[it.ID] = "which has the tag"
		}
		if p.Within > 0 && done[len(done)-1].Stored.Sub(it.Stored) < p.Within-time.Second {
			stay[it.ID] = "which is young enough"
		}
	}
	if len(done) == 0 {
		return snapshot.ID{}, ""
	}
	stay[done[highest].ID] = "which has the highest number"
	if least := min(len(done), max(p.Min, p.Cycle.Discs, 1)); left < least {
		return done[0].ID, "and others, so that fewer are left than must"
	}
	if plain {
		for _, id := range firsts(done, p) {
			stay[id] = "the first of its slot or epoch"
		}
	}
	for _, it := range done {
		if why, must := stay[it.ID]; must && goes(it) {
			return it.ID, why
		}
	}
	return snapshot.ID{}, ""
}

// firsts are the first snapshots of the newest slots of a policy, and whole epochs, in the order of time.
func firsts(done []snapshot.Item, p retain.Policy) (ids []snapshot.ID) {
	day := func(it snapshot.Item) int {
		return int(it.Stored.Sub(time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour))
	}
	slots := func(keep int, whole bool, key func(snapshot.Item) int) {
		var newest []int
		for i := len(done) - 1; i >= 0; i-- {
			k := key(done[i])
			if !slices.Contains(newest, k) {
				newest = append(newest, k)
			}
			if first := i == 0 || key(done[i-1]) != k; len(newest) <= keep && (whole || first) {
				ids = append(ids, done[i].ID)
			}
		}
	}
	slots(p.Daily, false, day)
	slots(p.Weekly, false, func(it snapshot.Item) int { return day(it) / 7 })
	slots(p.Monthly, false, func(it snapshot.Item) int { return it.Stored.UTC().Year()*12 + int(it.Stored.UTC().Month()) })
	c := p.Cycle
	switch c.Kind {
	case retain.Simple:
		slots(c.Fulls, true, func(it snapshot.Item) int { return int(it.Epoch) })
	case retain.Hanoi:
		for disc := range c.Discs {
			keep := 2
			if disc == c.Discs-1 {
				if keep = 1; c.Archive {
					keep = len(done)
				}
			}
			slots(keep, false, func(it snapshot.Item) int { return (day(it) + c.Phase) / c.Frequency >> disc })
		}
	}
	return ids
}

// planned has the cycle of the world decide about a backup, as the command does: due, and whether as a full.
func (w *world) planned(h *host, o *backup.Options, seed uint64) (due bool) {
	if w.setup.cycle.Kind == "" || w.o.Bug != "" {
		return true
	}
	force := rand.New(rand.NewPCG(seed, 10)).IntN(4) > 0
	head, known := o.State.Head(o.Source.ID)
	var own []snapshot.Item
	for _, it := range snapshot.Standing(o.Scope.Items) {
		if it.Source.ID == o.Source.ID && !(known && it.Status() == snapshot.IsDone && it.Sequence > head.Sequence) {
			own = append(own, it)
		}
	}
	due, full, _ := w.setup.cycle.Next(retention.Planned(own), w.clock.Now().Add(h.skew), time.UTC)
	o.Full = due && full
	return due || force
}

// apart expects a snapshot to need no pack of another epoch: a full depends on nothing older.
func (w *world) apart(it snapshot.Item, t *taken) error {
	for _, name := range t.packs {
		if epoch, known := w.epochs[name]; known && epoch != it.Epoch {
			return violated("snapshot %v of epoch %d needs pack %v, of epoch %d", it.ID, it.Epoch, name, epoch)
		}
		w.epochs[name] = it.Epoch
	}
	return nil
}

// spared expects a flood, made from since until now, to have the policies take no more of what was there than one honest backup does, where it was no longer than half the pace of its source and in one hour of the calendar.
func (w *world) spared(before, after []snapshot.Item, since time.Time) error {
	now := w.clock.Now()
	if since.Truncate(time.Hour) != now.Truncate(time.Hour) {
		return nil
	}
	var honest []retain.Snapshot
	calm := map[snapshot.Source]bool{}
	for n, h := range snapshot.Histories(before) {
		done := slices.DeleteFunc(slices.Clone(h.Items), func(it snapshot.Item) bool { return it.Status() != snapshot.IsDone })
		slices.SortStableFunc(done, func(a, b snapshot.Item) int { return a.Stored.Compare(b.Stored) })
		if len(done) == 0 {
			continue
		}
		calm[done[0].Source.ID] = true
		for i, it := range done {
			if foreign := w.foreign[it.ID] || it.Stored.Sub(it.End).Abs() > 36*time.Hour; foreign || i > 0 && (it.Sequence <= done[i-1].Sequence || it.Stored.Sub(done[i-1].Stored) < time.Duration(it.Sequence-done[i-1].Sequence)*2*now.Sub(since)) {
				calm[it.Source.ID] = false
			}
		}
		last := done[len(done)-1]
		honest = append(honest, retain.Snapshot{ID: [16]byte{9, 9, byte(n)}, Source: last.Source.ID, Time: now, Made: now, Sequence: last.Sequence + 1, Epoch: 5000, Done: true})
	}
	for _, p := range policies() {
		may := map[[16]byte]bool{}
		for _, v := range retain.Decide(append(honest, retention.Snapshots(before)...), p, now, time.UTC) {
			may[v.ID] = !v.Keep
		}
		for _, v := range retain.Decide(retention.Snapshots(before), p, now, time.UTC) {
			may[v.ID] = may[v.ID] || !v.Keep
		}
		of := map[[16]byte]snapshot.Source{}
		for _, it := range before {
			of[it.ID] = it.Source.ID
		}
		for _, v := range retain.Decide(retention.Snapshots(after), p, now, time.UTC) {
			if source, was := of[v.ID]; was && calm[source] && !v.Keep && !may[v.ID] {
				return violated("by %+v a flood of a thief pushes snapshot %v out, which one backup does not", p, snapshot.ID(v.ID))
			}
		}
	}
	return nil
}
