package sim

import (
	"errors"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"

	"firn/internal/digest"
	"firn/internal/repair"
	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/thaw"
)

// damage hurts an object, or loses it: within the reach of what is there to mend it, or, lost, beyond it.
func (w *world) damage(rng *rand.Rand) error {
	if len(w.sick) > 1 {
		return nil
	}
	area := []string{"data/", "data/", "meta/", "index/", "packset/"}[rng.IntN(5)]
	names := w.main.names(area)
	if len(names) == 0 {
		return nil
	}
	name := names[rng.IntN(len(names))]
	raw := w.main.has(name)
	pack := (area == "data/" || area == "meta/") && !strings.HasSuffix(name, ".par2")
	switch {
	case !pack && rng.IntN(2) == 0:
		w.sick[name] = raw
		w.main.decay(name, nil)
		w.tell("%s is lost", name)
	case pack && (!w.setup.parity || w.main.has(name+".par2") == nil || w.sick[name+".par2"] != nil):
		return nil // nothing could mend it: see lose
	default:
		content := slices.Clone(raw)
		content[rng.IntN(len(content))] ^= byte(1 + rng.IntN(255))
		w.sick[name] = raw
		w.main.decay(name, content)
		w.tell("%s decays", name)
	}
	w.sickness++
	return nil
}

// lose takes a pack of content away, with its recovery volume: nothing but the source can bring it back.
func (w *world) lose(rng *rand.Rand) error {
	if len(w.sick) > 0 || len(w.lost) > 1 {
		return nil
	}
	names := slices.DeleteFunc(w.main.names("data/"), func(n string) bool { return strings.HasSuffix(n, ".par2") })
	if len(names) == 0 {
		return nil
	}
	name := names[rng.IntN(len(names))]
	w.sick[name], w.lost[name] = w.main.has(name), true
	w.main.decay(name, nil)
	if w.main.has(name+".par2") != nil {
		w.main.decay(name+".par2", nil)
	}
	w.sickness++
	w.tell("%s is lost for good", name)
	return nil
}

// afflict notes which snapshots need what is lost for good.
func (w *world) afflict() error {
	r, err := repo.Open(w.ctx, peephole{w.main, w.main}, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.Now})
	if err != nil {
		return violated("the repository does not open: %w", err)
	}
	ids, err := r.Scopes(w.ctx)
	if err != nil {
		return violated("scopes cannot be listed: %w", err)
	}
	for _, id := range ids {
		s, err := r.Load(w.ctx, id, true)
		if err != nil {
			return violated("scope %v does not load: %w", id, err)
		}
		for _, it := range s.Items {
			if err := w.meet(id, it); err != nil {
				return err
			}
			names, err := s.PackNames(w.ctx, it.Snapshot)
			if err == nil && w.taken[it.ID] != nil && slices.ContainsFunc(names, w.isLost) {
				w.taken[it.ID].hurt = true
			}
		}
	}
	return nil
}

func (w *world) isLost(pack digest.Object) bool {
	for name := range w.lost {
		if strings.HasSuffix(name, pack.String()) {
			return true
		}
	}
	return false
}

// repair mends what is damaged, and expects that to be mended which can be.
func (w *world) repair(s Step, rng *rand.Rand) error {
	p, err := w.process(s, "a repair", w.desk)
	if err != nil {
		return err
	}
	defer p.end()
	p.cold, p.dear = true, true
	if len(w.lost) > 0 {
		if err := w.afflict(); err != nil {
			return err
		}
	}
	unnamed := slices.ContainsFunc(slices.Collect(maps.Keys(w.sick)), func(n string) bool { return strings.HasPrefix(n, "index/") }) // an index that is made again names no volume that is damaged
	res, err := w.runRepair(p, rng)
	for try := 0; err == nil && !p.dead && try < 3 && res.Count(repair.Waits) > 0; try++ { // a rebuilt index has shown more that has to be thawed: run it again
		res, err = w.runRepair(p, rng)
	}
	for name, was := range w.sick {
		if string(w.main.has(name)) == string(was) {
			delete(w.sick, name)
			w.sickness++
		}
	}
	w.tell("repaired: %v", err)
	switch {
	case err != nil && p.excused(err), p.dead, s.NoDisk:
		return nil
	case err != nil:
		return violated("a repair ends with: %w", err)
	case s.disturbed() || w.setup.weak: // it may have looked where something was late
		return nil
	}
	for _, step := range res.Steps {
		w.tell("repair: %s %s %s %s (%v)", step.Object, step.Damage, step.Remedy, step.Outcome, errors.Join(step.Why, step.Err))
		if (step.Outcome == repair.Left || step.Outcome == repair.Failed || step.Outcome == repair.Waits) && !w.lost[strings.TrimSuffix(step.Object, ".par2")] {
			return violated("a repair leaves %s, %s %s: %w", step.Object, step.Remedy, step.Outcome, errors.Join(step.Why, step.Err))
		}
	}
	for name, was := range w.sick {
		if now := w.main.has(name); strings.HasPrefix(name, "data/") && w.neededPack(name) && !w.lost[name] && !(unnamed && strings.HasSuffix(name, ".par2")) && string(now) != string(was) {
			return violated("a repair does not mend %s, and says nothing", name)
		}
	}
	for name, was := range w.sick {
		if !w.lost[name] && was != nil && w.main.has(name) != nil && !w.neededPack(name) {
			w.main.decay(name, was) // no snapshot needed it, so that it was none of the repair's; the next backup may take it up
		}
	}
	clear(w.sick)
	w.sickness++
	if len(w.lost) > 0 {
		return w.afflict()
	}
	return nil
}

func (w *world) runRepair(p *process, rng *rand.Rand) (*repair.Result, error) {
	r, err := repo.Open(p.ctx, p.doorTo(w.main), repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: p.now, Report: p.report})
	if err != nil {
		return nil, err
	}
	o := repair.Options{Repo: r, Dir: filepath.Join(p.dirs.State, "aside"), ReadData: true, Cold: w.setup.cold, Sums: rng.IntN(2) == 0, Region: w.region, Report: p.report, Now: p.now, Workers: 1}
	plan, err := repair.Examine(p.ctx, o)
	if err != nil {
		return nil, err
	}
	if !w.setup.cold || len(plan.Needs) == 0 {
		return repair.Run(p.ctx, o, plan, nil)
	}
	st := state.Open(p.dirs, w.access.Secrets.Repository, nil)
	if err := w.dropJob(st, plan.Needs); err != nil {
		return nil, err
	}
	job, run, err := w.job(p, st, "repair", "repair", plan.Needs, rng)
	if err != nil {
		return nil, err
	}
	defer job.Close()
	return repair.Run(p.ctx, o, plan, &repair.Thawing{Job: job, Run: run})
}

// dropJob cancels the job of an earlier repair that was about other objects.
func (w *world) dropJob(st *state.State, needs []thaw.Need) error {
	job, err := thaw.Find(st, "repair", w.clock.Now())
	if err != nil || job == nil {
		return err
	}
	defer job.Close()
	open := map[string]bool{}
	for i, n := range job.Needs() {
		open[n.Object] = !job.Fetched(i)
	}
	if slices.ContainsFunc(needs, func(n thaw.Need) bool { return !open[n.Object] }) {
		return job.End(thaw.Cancelled, w.clock.Now())
	}
	return nil
}
