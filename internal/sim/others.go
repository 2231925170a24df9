package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"filippo.io/age"

	"firn/internal/copy"
	"firn/internal/drill"
	"firn/internal/format"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/target"
)

// drill has a sample restored and compared, and expects proof, unless something is damaged.
func (w *world) drill(s Step, rng *rand.Rand) error {
	id, t := w.choose(rng)
	if t == nil {
		return nil
	}
	p, err := w.process(s, "a drill", w.desk)
	if err != nil {
		return err
	}
	defer p.end()
	p.cold = true
	res, err := w.runDrill(p, id, t, rng)
	switch {
	case err != nil && p.excused(err), p.dead, t.gone, t.hurt, errors.Is(err, drill.ErrNothing), errors.Is(err, drill.ErrEmpty):
		return nil
	case err != nil && (len(w.sick) > 0 || w.setup.weak):
		return nil
	case err != nil:
		return violated("a drill of %v ends with: %w", id, err)
	case res == nil || s.disturbed() || s.NoDisk || w.setup.weak || len(w.sick) > 0:
		return nil
	case res.Outcome() != "proven" && res.Outcome() != "partly" && res.Outcome() != "waiting":
		return violated("a drill of %v is %s: %+v", id, res.Outcome(), res.Compared)
	}
	return nil
}

func (w *world) runDrill(p *process, id snapshot.ID, t *taken, rng *rand.Rand) (*drill.Result, error) {
	r, err := p.open(w.main, repo.Access{Secrets: w.access.Secrets})
	if err != nil {
		return nil, err
	}
	scope, err := r.Load(p.ctx, t.scope, true)
	if err != nil {
		return nil, err
	}
	find := func(id snapshot.ID) *snapshot.Snapshot {
		for _, it := range scope.Items {
			if it.ID == id && it.Status() == snapshot.IsDone {
				return it.Snapshot
			}
		}
		return nil
	}
	snap := find(id)
	if snap == nil {
		return nil, nil // a listing left it out
	}
	scratch := w.path("scratch")
	if err := os.MkdirAll(scratch, 0o700); err != nil {
		return nil, err
	}
	return drill.Run(p.ctx, drill.Options{Repo: r, Scope: scope, Snapshot: snap, Find: find, State: state.Open(p.dirs, r.ID(), nil), Seed: rng.Uint64(), Want: drill.Want{Files: int64(1 + rng.IntN(9))},
		Scratch: scratch, By: "sim", Now: p.now, Report: p.report,
		Restore: func(ctx context.Context, trial *drill.Trial) (*drill.Restored, error) {
			o := restore.Options{Repo: r, Scope: scope, Snapshot: trial.Snapshot, Include: trial.Include, Target: trial.Target, Overwrite: target.Changed, Workers: 1, Report: p.report}
			var res *restore.Result
			var err error
			if w.setup.cold {
				res, err = w.thawAndRestore(p, o, rng)
			} else {
				res, err = restore.Run(ctx, o)
			}
			out := &drill.Restored{Done: err == nil && res != nil, Currency: w.region.Currency}
			if res != nil {
				out.BytesGot = res.BytesGot
				for _, d := range res.Damaged {
					out.Failures = append(out.Failures, drill.Finding{Path: d.Path, Object: d.Object, Err: d.Err})
				}
			}
			return out, err
		}})
}

// keys changes who may do what: a passphrase comes and goes, a host is revoked and enrolled anew.
func (w *world) keys(s Step, h *host, rng *rand.Rand) error {
	p, err := w.process(s, "the owner, with keys,", nil)
	if err != nil {
		return err
	}
	defer p.end()
	r, err := p.open(w.main, repo.Access{Secrets: w.access.Secrets})
	if err == nil {
		if rng.IntN(3) == 0 && w.inner == 0 {
			err = w.replaceHost(p, r, h)
		} else {
			err = w.changePhrase(p, r)
		}
	}
	w.cutOff = w.cutOff || err != nil // a key may be left without its description, or the other way around
	if err != nil && !p.excused(err) && !errors.Is(err, errViolated) && len(w.sick) == 0 {
		return violated("keys: %w", err)
	}
	if errors.Is(err, errViolated) {
		return err
	}
	return w.opens()
}

// changePhrase adds a passphrase and removes the one before.
func (w *world) changePhrase(p *process, r *repo.Repository) error {
	text := fmt.Sprintf("%s %d", phrase, w.serial)
	w.serial++
	to, err := keys.Passphrase([]byte(text), keys.MinWork)
	if err != nil {
		return err
	}
	made, err := r.AddKey(p.ctx, text[len(phrase):], to)
	if err != nil {
		return err
	}
	id, err := keys.PassphraseIdentity([]byte(text))
	if err != nil {
		return err
	}
	if _, err := repo.Unlock(w.ctx, w.main, id); err != nil {
		return violated("a new passphrase does not open: %w", err)
	}
	if w.phraseKey != nil {
		err = r.RemoveKey(p.ctx, *w.phraseKey)
	}
	w.phraseKey = &made.Key
	return err
}

// opens expects the first key to open the repository, as ever.
func (w *world) opens() error {
	ids := []age.Identity{w.human}
	if w.setup.hybrid {
		id, err := keys.PassphraseIdentity([]byte(phrase))
		if err != nil {
			return err
		}
		ids[0] = id
	}
	if _, err := repo.Unlock(w.ctx, w.main, ids...); err != nil {
		return violated("the key that was always there does not open: %w", err)
	}
	return nil
}

// replaceHost revokes a host's key, and gives it another: what it has made stays.
func (w *world) replaceHost(p *process, r *repo.Repository, h *host) error {
	if err := r.Revoke(p.ctx, h.key.Host, "replaced"); err != nil {
		if p.excused(err) {
			h.revoked = true // perhaps: the command is run again
		}
		return err
	}
	h.revoked = true
	key, err := r.Enroll(p.ctx, h.name, h.key.ScopeName, keys.Writer)
	if err != nil {
		return err
	}
	w.clock.pass(time.Second)
	h.key, h.revoked = key, false
	w.tell("%s has another key", h.name)
	return nil
}

// copy brings snapshots to a second place, and compares what is there.
func (w *world) copy(s Step, rng *rand.Rand) error {
	if w.spare == nil {
		w.spare = newVault(w.clock)
		like := repo.LikeOptions{Now: w.clock.Now}
		if rng.IntN(2) == 0 {
			like.Parity = format.Parity{Data: 20, Meta: 20}
		}
		if err := w.admin().InitLike(w.ctx, w.spare, like); err != nil {
			return violated("a copy cannot be made: %w", err)
		}
	}
	p, err := w.process(s, "a copy", w.desk)
	if err != nil {
		return err
	}
	defer p.end()
	p.cold = true
	res, err := w.runCopy(p, rng)
	switch {
	case err != nil && !p.excused(err) && len(w.sick) == 0 && !w.setup.weak:
		return violated("a copy ends with: %w", err)
	case err == nil && !p.dead && !s.disturbed() && !w.setup.weak && len(w.sick)+len(w.lost) == 0 && len(res.Failed) > 0 && len(s.Beside) == 0:
		return violated("a copy fails for %v: %w", res.Failed[0].Item.ID, res.Failed[0].Err)
	}
	return w.judgeCopy(err == nil && !p.dead && !s.disturbed() && len(s.Beside) == 0 && !w.setup.weak && len(w.sick)+len(w.lost) == 0)
}

func (w *world) runCopy(p *process, rng *rand.Rand) (*copy.Result, error) {
	from, err := p.open(w.main, repo.Access{Secrets: w.access.Secrets})
	if err != nil {
		return nil, err
	}
	to, err := repo.Open(p.ctx, p.doorTo(w.spare), repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: p.now, Report: p.report})
	if err != nil {
		return nil, err
	}
	o := copy.Options{From: from, To: to, Parallel: 1 + rng.IntN(2), Report: p.report}
	if !w.setup.cold {
		return copy.Run(p.ctx, o)
	}
	plan, err := copy.Make(p.ctx, o)
	if err != nil {
		return nil, err
	}
	needs := plan.Needs()
	if len(needs) == 0 {
		return copy.Run(p.ctx, o)
	}
	st := state.Open(p.dirs, w.access.Secrets.Repository, nil)
	job, run, err := w.job(p, st, fmt.Sprintf("copy %d", w.counts.Steps), "copy", needs, rng)
	if err != nil {
		return nil, err
	}
	defer job.Close()
	res, _, err := copy.Thaw(p.ctx, o, plan, job, run)
	return res, err
}

// judgeCopy reads what is done in the copy, and, where the copy went through, expects all to be there that has to restore.
func (w *world) judgeCopy(through bool) error {
	r, err := repo.Open(w.ctx, peephole{w.spare, w.spare}, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.Now})
	if err != nil {
		return violated("the copy does not open: %w", err)
	}
	ids, err := r.Scopes(w.ctx)
	if err != nil {
		return violated("scopes of the copy cannot be listed: %w", err)
	}
	there := map[snapshot.ID]bool{}
	for _, id := range ids {
		s, err := r.Load(w.ctx, id, true)
		if err != nil || through && len(s.Damaged) > 0 { // between a snapshot of a host that was revoked and its mark it counts for nothing
			return violated("scope %v of the copy does not load: %w", id, errors.Join(append(s.Damaged, err)...))
		}
		for _, it := range s.Items {
			t := w.taken[it.ID]
			if there[it.ID] = it.Status() == snapshot.IsDone; !there[it.ID] || t == nil || slices.Contains(w.copied, it.ID) {
				continue
			}
			got, err := w.read(r, s, it)
			if err == nil {
				err = t.attempt.compare(got, true, t)
			}
			if err != nil {
				return violated("snapshot %v in the copy: %w", it.ID, err)
			}
			w.copied = append(w.copied, it.ID)
			w.counts.Judged++
		}
	}
	for id, t := range w.taken {
		if through && t.reported && !t.gone && !there[id] {
			return violated("a copy went through, and snapshot %v is not in it", id)
		}
	}
	return nil
}
