package sim

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firn/internal/check"
	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/target"
	"firn/internal/thaw"
)

// choose finds a snapshot that has to restore.
func (w *world) choose(rng *rand.Rand) (id snapshot.ID, t *taken) {
	ids := slices.SortedFunc(maps.Keys(w.taken), func(a, b snapshot.ID) int { return w.taken[a].attempt.when.Compare(w.taken[b].attempt.when) })
	ids = slices.DeleteFunc(ids, func(id snapshot.ID) bool { t := w.taken[id]; return !t.reported || t.gone })
	if len(ids) == 0 {
		return id, nil
	}
	id = ids[rng.IntN(len(ids))]
	return id, w.taken[id]
}

// restore brings a snapshot back into a folder, however often it takes, and compares.
func (w *world) restore(s Step, _ *host, rng *rand.Rand) error {
	id, t := w.choose(rng)
	if t == nil {
		return nil
	}
	to := w.path("restored")
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(to) }()
	for try := 0; ; try++ {
		if try > 0 { // the next one goes on, and nothing is in its way
			s = Step{Do: s.Do, Seed: s.Seed + uint64(try)}
		}
		done, err := w.tryRestore(s, try, id, t, to, rng)
		if t.gone { // by a pruner beside it
			return nil
		}
		if err != nil || done {
			return err
		}
		if try > 3 {
			return violated("snapshot %v does not restore after %d tries", id, try)
		}
	}
}

func (w *world) tryRestore(s Step, try int, id snapshot.ID, t *taken, to string, rng *rand.Rand) (done bool, err error) {
	p, err := w.process(s, "a restore", w.desk)
	if err != nil {
		return false, err
	}
	defer p.end()
	p.cold = true
	res, err := w.runRestore(p, id, t, to, rng)
	switch {
	case err != nil && p.excused(err):
		return false, nil
	case err != nil && w.setup.weak && try < 3: // a listing left something out: it comes with a later one
		w.clock.pass(lag)
		return false, nil
	case err != nil && (t.gone || len(w.sick) > 0):
		return true, nil
	case err != nil:
		return false, violated("a restore of %v ends with: %w", id, err)
	case res == nil || p.dead:
		return false, nil
	case res.Failed > 0 && (s.Faults != "" || w.setup.weak && try < 3):
		w.clock.pass(lag)
		return false, nil
	case res.Failed > 0 && t.gone:
		return true, nil
	case res.Failed > 0 && len(w.sick) == 0 && !t.hurt:
		return false, violated("a restore of %v fails for %d entries: %w", id, res.Failed, &res.Damaged[0])
	}
	if w.o.Bug == NoWitness {
		spoil(to)
	}
	got, err := onDisk(to)
	if err == nil {
		err = t.attempt.compare(got, res.Failed == 0, t) // what failed was named, and the rest has to be right
	}
	if err != nil {
		return false, violated("snapshot %v, %s, restored: %w", id, t.attempt.tag, err)
	}
	w.counts.Restored++
	w.counts.Judged++
	return true, nil
}

func (w *world) runRestore(p *process, id snapshot.ID, t *taken, to string, rng *rand.Rand) (*restore.Result, error) {
	r, err := p.open(w.main, repo.Access{Secrets: w.access.Secrets})
	if err != nil {
		return nil, err
	}
	scope, err := r.Load(p.ctx, t.scope, true)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(scope.Items, func(it snapshot.Item) bool { return it.ID == id })
	if at < 0 {
		return nil, violated("snapshot %v is not there", id)
	}
	o := restore.Options{Repo: r, Scope: scope, Snapshot: scope.Items[at].Snapshot, Target: to, Overwrite: target.Changed, Sync: rng.IntN(2) == 0, Workers: 1 + rng.IntN(2), Report: p.report}
	if rng.IntN(3) == 0 {
		o.Window = 3 + rng.IntN(30)
	}
	if !w.setup.cold {
		plan, err := restore.Plan(p.ctx, o)
		if err != nil {
			return nil, err
		}
		return w.withinPlan(p, o, plan)
	}
	return w.thawAndRestore(p, o, rng)
}

// withinPlan restores, and expects no more bytes to be fetched than the plan says: of a restore into an empty folder that goes through at once.
func (w *world) withinPlan(p *process, o restore.Options, plan *restore.Needs) (*restore.Result, error) {
	res, err := restore.Run(p.ctx, o)
	if err == nil && o.Window == 0 && !p.step.disturbed() && res.BytesGot > plan.Download {
		return res, violated("a restore fetched %d bytes, planned were %d", res.BytesGot, plan.Download)
	}
	return res, err
}

// spoil does to a folder what a restore does that writes what it got without looking.
func spoil(root string) {
	_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		st, err := d.Info()
		if err != nil || st.Size() == 0 {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err == nil {
			raw[0] ^= 1
			_ = os.WriteFile(path, raw, st.Mode())
			_ = os.Chtimes(path, st.ModTime(), st.ModTime())
		}
		return filepath.SkipAll
	})
}

// thawAndRestore goes on with the job of a restore until it is done, or the process dies.
func (w *world) thawAndRestore(p *process, o restore.Options, rng *rand.Rand) (*restore.Result, error) {
	st := state.Open(p.dirs, w.access.Secrets.Repository, nil)
	plan, err := restore.Plan(p.ctx, o)
	if err != nil {
		return nil, err
	}
	needs, err := restore.Left(st, &o, plan)
	if err != nil {
		return nil, err
	}
	job, run, err := w.job(p, st, restore.ThawKey(&o), "restore", needs, rng)
	if err != nil {
		return nil, err
	}
	defer job.Close()
	res, err := restore.Thaw(p.ctx, o, restore.ThawOptions{Plan: plan, State: st, Job: job, Run: run})
	var cold *restore.ColdError
	if errors.As(err, &cold) { // the job has ended, and something was lost since: the next one goes on
		return nil, nil
	}
	if res == nil || err != nil || !res.Done {
		return nil, err
	}
	if job.Status().State == thaw.Active {
		err = job.End(thaw.Done, w.clock.Now())
	}
	if spent, accepted := job.Status().Spent, job.Header().Accepted; err == nil && !p.step.disturbed() && p.fresh && spent > accepted+accepted/100+1e-5 { // a few requests more or less
		return nil, violated("a thaw cost %g, accepted were %g", float64(spent), float64(accepted))
	}
	return res.Result, err
}

// job finds the job of this key, or makes one by any of the offers.
func (w *world) job(p *process, st *state.State, key, purpose string, needs []thaw.Need, rng *rand.Rand) (*thaw.Job, thaw.RunOptions, error) {
	link := thaw.Link{Down: float64(1000 + rng.IntN(1_000_000))}
	door := p.doorTo(w.main)
	run := thaw.RunOptions{Store: door, Region: w.region, Link: link, Clock: w.clock, Rate: 1e6, MaxRate: 1e6, Workers: 2, Poll: 2 * time.Hour}
	job, err := thaw.Find(st, key, w.clock.Now())
	if err != nil || job != nil {
		return job, run, err
	}
	survey, err := thaw.Look(p.ctx, door, needs, thaw.LookOptions{Region: w.region, Clock: w.clock})
	if err != nil {
		return nil, run, err
	}
	h := thaw.Header{Key: key, Purpose: purpose, Tier: store.Bulk, Days: 2, Provider: w.region.Provider, Region: w.region.Name}
	if offers := thaw.Offers(w.region, survey, link, thaw.OfferOptions{}); len(offers) > 0 {
		offer := offers[rng.IntN(len(offers))]
		h.Tier, h.Days, h.Route, h.Accepted = offer.Tier, max(offer.Days, 1), offer.Route, offer.Total
		most := 10*offer.Total + 1e-4
		h.MaxCost, p.fresh = &most, len(needs) > 0
	}
	job, err = thaw.Create(st, h, needs, w.clock.Now())
	return job, run, err
}

// check compares the store with itself, by some way, and expects damage where there is some, and none where there is none.
func (w *world) check(s Step, rng *rand.Rand) error {
	p, err := w.process(s, "a check", w.desk)
	if err != nil {
		return err
	}
	defer p.end()
	findings, deep, err := w.runCheck(p, rng)
	switch {
	case err != nil && p.excused(err), p.dead:
		return nil
	case err != nil && len(w.sick) > 0 && named(err):
		return nil
	case err != nil:
		return violated("a check ends with: %w", err)
	case s.disturbed() || w.setup.weak:
		return nil
	case len(w.sick) == 0:
		for _, f := range findings {
			if !w.lost[strings.TrimSuffix(f.Object, ".par2")] && !(w.cutOff && strings.HasPrefix(f.Object, "keys/")) {
				var harms []string
				for _, h := range f.Harms {
					if t := w.taken[h.ID]; t != nil {
						harms = append(harms, fmt.Sprintf("%v of %s, reported %v, gone %v", h.ID, t.attempt.tag, t.reported, t.gone))
					}
				}
				return violated("a check finds %s %s (%v) that harms %q, and nothing is damaged", f.Kind, f.Object, f.Err, harms)
			}
		}
	case deep && len(w.sick) > 0:
		return w.notices(findings)
	}
	return nil
}

// notices expects the damage of every pack that a snapshot needs, and of its recovery volume, among what was found. What was lost for good a later backup may have healed.
func (w *world) notices(findings []check.Finding) error {
	for name := range w.sick {
		if strings.HasPrefix(name, "index/") { // it says what volumes are: without it nobody knows
			return nil
		}
	}
	for name := range w.sick {
		if w.neededPack(name) && !w.lost[name] && !slices.ContainsFunc(findings, func(f check.Finding) bool { return f.Object == name }) {
			return violated("a check that reads everything does not notice the damage of %s", name)
		}
	}
	return nil
}

// neededPack reports whether a snapshot that has to restore needs a pack, or the pack of a recovery volume.
func (w *world) neededPack(name string) bool {
	pack := strings.TrimSuffix(name[strings.LastIndexByte(name, '/')+1:], ".par2")
	for _, t := range w.taken {
		if t.reported && !t.gone && slices.ContainsFunc(t.packs, func(n digest.Object) bool { return n.String() == pack }) {
			return true
		}
	}
	return false
}

// runCheck returns what was found, and whether everything was read.
func (w *world) runCheck(p *process, rng *rand.Rand) ([]check.Finding, bool, error) {
	o := check.Options{Store: p.doorTo(w.main), Access: &repo.Access{Secrets: w.access.Secrets}, Region: w.region, Dir: w.path("desk"), Report: p.report, Now: p.now, Seed: 1 + rng.Uint64(), Workers: 1 + rng.IntN(3)}
	how := rng.IntN(6)
	switch how {
	case 0:
		o.Access = nil
	case 1:
		o.Access = &repo.Access{Host: w.hosts[0].key}
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, false, err
	}
	history := check.OpenHistory(state.Open(p.dirs, w.access.Secrets.Repository, nil))
	defer history.Close()
	o.History = history
	c, err := check.Open(p.ctx, o)
	if err != nil {
		return nil, false, err
	}
	defer c.Close()
	deep := how > 1 && !w.setup.cold && rng.IntN(2) == 0
	wish := check.Wish{Metadata: deep || rng.IntN(2) == 0, Sums: float64(rng.IntN(2))}
	if deep {
		wish.Read = check.Share{All: true}
	}
	plan, err := c.Plan(p.ctx, wish)
	if err == nil {
		err = c.Sums(p.ctx, plan)
	}
	if err == nil && wish.Metadata && o.Access != nil {
		err = c.Metadata(p.ctx)
	}
	if err == nil {
		err = c.Read(p.ctx, plan)
	}
	if err != nil {
		return nil, false, err
	}
	report, err := c.Report(p.ctx)
	if err != nil {
		return nil, false, err
	}
	return report.Findings, deep, nil
}
