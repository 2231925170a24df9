package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"firn/internal/backup"
	"firn/internal/event"
	"firn/internal/keys"
	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/retain"
	"firn/internal/snapshot"
	"firn/internal/state"
)

// step does one step, and fails where an invariant does not hold at once.
func (w *world) step(s Step) error {
	rng := rand.New(rand.NewPCG(s.Seed, 4))
	w.clock.pass(time.Duration(50+rng.IntN(1000)) * time.Millisecond)
	w.deliver(rng)
	w.counts.Steps++
	w.counts.By[s.Do]++
	if s.disturbed() {
		w.counts.By[s.Do+" disturbed"]++
	}
	w.tell("%s", s.Do)
	h := w.hosts[s.Host%len(w.hosts)]
	var err error
	switch s.Do {
	case "work":
		w.work(h, rng)
	case "wait":
		w.clock.pass(someTime(rng))
	case "jump":
		h.skew = time.Duration(rng.Int64N(int64(96*time.Hour))) - 48*time.Hour
		if rng.IntN(2) == 0 {
			h.skew = 0
		}
	case "forget-state":
		err = w.forgetState(h, rng)
	case "backup":
		err = w.backup(s, h, rng)
	case "prune":
		err = w.prune(s, rng)
	case "restore":
		err = w.restore(s, h, rng)
	case "check":
		err = w.check(s, rng)
	case "damage":
		err = w.damage(rng)
	case "lose":
		err = w.lose(rng)
	case "repair":
		err = w.repair(s, rng)
	case "drill":
		err = w.drill(s, rng)
	case "keys":
		err = w.keys(s, h, rng)
	case "sync":
		err = w.sync(s, rng)
	case "thief":
		err = w.thief(s, h, rng)
	case "provider":
		err = w.provider(rng)
	case "copy":
		err = w.copy(s, rng)
	default:
		return fmt.Errorf("no step %q", s.Do)
	}
	return errors.Join(err, w.breaches())
}

// someTime passes: minutes, or days.
func someTime(rng *rand.Rand) time.Duration {
	switch rng.IntN(8) {
	case 0:
		return time.Duration(rng.Int64N(int64(20 * 24 * time.Hour)))
	case 1, 2:
		return time.Duration(rng.Int64N(int64(20 * time.Minute)))
	}
	return time.Duration(rng.Int64N(int64(50 * time.Hour)))
}

// deliver carries some late requests out.
func (w *world) deliver(rng *rand.Rand) {
	w.logMu.Lock()
	var now []func()
	for len(w.due) > 0 && rng.IntN(3) == 0 {
		now, w.due = append(now, w.due[0]), w.due[1:]
	}
	w.logMu.Unlock()
	for _, do := range now {
		do()
	}
}

func (w *world) breach(err error) {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	w.broken = append(w.broken, err)
}

func (w *world) breaches() error {
	w.logMu.Lock()
	defer w.logMu.Unlock()
	err := errors.Join(w.broken...)
	w.broken = nil
	return err
}

func (w *world) work(h *host, rng *rand.Rand) {
	number := rng.IntN(len(h.trees))
	for range 1 + rng.IntN(9) {
		w.change(h, number, rng)
	}
}

// change does one thing to a tree, which somebody may be reading.
func (w *world) change(h *host, number int, rng *rand.Rand) {
	w.clock.pass(30 * time.Millisecond)
	t := h.trees[number]
	w.tell("%s: %s", h.name, t.mutate(rng))
	w.clock.pass(30 * time.Millisecond)
	w.counts.Changes++
	for _, a := range w.running {
		if a.source == h.sourceOf(number).ID {
			a.versions = append(a.versions, t.truth())
		}
	}
}

// forgetState loses local folders: the cache, or all.
func (w *world) forgetState(h *host, rng *rand.Rand) error {
	err := os.RemoveAll(h.dirs.Cache)
	if rng.IntN(2) == 0 {
		h.heads = map[snapshot.Source]uint64{}
		err = errors.Join(err, os.RemoveAll(h.dirs.State))
	}
	return err
}

// sourceOf names a tree as a source.
func (h *host) sourceOf(tree int) snapshot.Origin {
	path := fmt.Sprintf("/srv/tree%d", tree)
	return snapshot.Origin{ID: snapshot.SourceID(h.key.Scope().SourceKey(), "dir", h.name, "", []byte(path)), Kind: "dir", Path: []byte(path)}
}

// backup backs a tree up, which may change meanwhile.
func (w *world) backup(s Step, h *host, rng *rand.Rand) error {
	if h.revoked {
		return nil
	}
	number := rng.IntN(len(h.trees))
	t := h.trees[number]
	if slices.ContainsFunc(w.running, func(a *attempt) bool { return a.source == h.sourceOf(number).ID }) {
		return nil // the lock of the source is held
	}
	w.serial++
	a := &attempt{host: s.Host % len(w.hosts), tree: number, tag: fmt.Sprintf("attempt-%d", w.serial), source: h.sourceOf(number).ID, versions: []truth{t.truth()}, when: w.clock.Now()}
	w.attempts[a.tag] = a
	w.running = append(w.running, a)
	defer func() { w.running = slices.DeleteFunc(w.running, func(b *attempt) bool { return a == b }) }()
	p, err := w.process(s, h.name+"'s backup", h)
	if err != nil {
		return err
	}
	defer p.end()
	if rng.IntN(4) == 0 { // the tree changes while it is read
		for range 1 + rng.IntN(3) {
			seed := rng.Uint64()
			p.at[1+reach(rng)] = func() { w.change(h, number, rand.New(rand.NewPCG(seed, 5))) }
		}
	}
	res, err := w.runBackup(p, h, t, number, a, rng)
	if err != nil && len(w.sick) > 0 && named(err) {
		return nil
	}
	if err != nil && !p.excused(err) && !isLimit(err) {
		return violated("a backup of %s ends with: %w", h.name, err)
	}
	if err != nil || res == nil || res.Snapshot == nil || p.dead {
		delete(h.heads, a.source) // perhaps it was done, and the host knows, or not
		return nil
	}
	if res.Snapshot.Stats.Problems > 0 && len(a.versions) == 1 {
		return violated("a backup of %s has %d problems, and nothing was in its way", h.name, res.Snapshot.Stats.Problems)
	}
	if !res.Partial {
		h.heads[a.source] = res.Snapshot.Sequence
		if s.NoDisk {
			delete(h.heads, a.source)
		}
		w.taken[res.Snapshot.ID] = &taken{attempt: a, scope: h.key.ScopeID, reported: true, read: -1}
		w.tell("%s reports snapshot %v, number %d, unchanged %v", h.name, res.Snapshot.ID, res.Snapshot.Sequence, res.Unchanged)
	}
	return nil
}

func isLimit(err error) bool {
	var limit *backup.LimitError
	return errors.As(err, &limit)
}

func (w *world) runBackup(p *process, h *host, t *tree, number int, a *attempt, rng *rand.Rand) (*backup.Result, error) {
	r, err := p.open(w.main, repo.Access{Host: h.key})
	if err != nil {
		return nil, err
	}
	scope, err := r.LoadToWrite(p.ctx, h.key.ScopeID)
	if err != nil {
		return nil, err
	}
	if _, certified, err := r.Standing(p.ctx); err != nil {
		return nil, err
	} else if err := r.KeepCertificate(p.ctx, certified); err != nil {
		return nil, err
	}
	unread := &backup.Unread{}
	o := backup.Options{
		Repo: r, Scope: scope, State: state.Open(p.dirs, r.ID(), nil), Tree: &view{t: t, asked: p.tick, wrong: w.o.Bug == WrongRead && rng.IntN(5) == 0}, Unread: unread, Source: h.sourceOf(number), Host: h.name, Tags: []string{a.tag},
		Full: rng.IntN(12) == 0, Detect: backup.DefaultDetect, IsCold: func(class string) bool { return class == "DEEP_ARCHIVE" },
		Workers: 1 + rng.IntN(8)/7, Uploads: 1 + rng.IntN(8)/7, PackSize: int64(20_000 + rng.IntN(150_000)), Memory: 1 << 20, FlushPacks: 1 + rng.IntN(4), FlushAfter: time.Hour, Grace: time.Minute,
		Program: "sim", Report: p.report, Now: p.now,
	}
	if rng.IntN(3) == 0 {
		o.Streams = 1
	}
	if w.setup.rarely {
		o.FlushPacks = 1000
	}
	if w.setup.coarse {
		o.Detect = backup.Detect{Inode: rng.IntN(2) == 0}
	}
	if rng.IntN(10) == 0 {
		o.Detect.Never = true
	}
	if rng.IntN(10) == 0 {
		o.MaxUpload = 1 + rng.Int64N(100_000)
	}
	o.Report = func(e event.Event) {
		if note, ok := e.(event.Note); ok {
			a.notes = append(a.notes, note.Text)
		}
		p.report(e)
	}
	if w.o.Bug == "" && rand.New(rand.NewPCG(uint64(w.serial), w.o.Seed)).IntN(6) == 0 {
		o.Tags = append(o.Tags, keepTag)
	}
	if !w.planned(h, &o, uint64(w.serial)) {
		return nil, nil
	}
	return backup.Run(p.ctx, o)
}

// decide lets snapshots go, and remembers which.
func (w *world) decide(items []snapshot.Item, now time.Time) (gone []snapshot.ID, err error) {
	if w.setup.last > 0 {
		for _, h := range snapshot.Histories(items) {
			done := slices.DeleteFunc(slices.Clone(h.Items), func(it snapshot.Item) bool { return it.Status() != snapshot.IsDone })
			for _, it := range done[:max(0, len(done)-w.setup.last)] {
				gone = append(gone, it.ID)
			}
		}
	} else {
		for _, v := range retain.Decide(w.toRetain(items), w.setup.policy, now, time.UTC) {
			if !v.Keep {
				gone = append(gone, snapshot.ID(v.ID))
			}
		}
	}
	if real := now.Sub(w.clock.Now()).Abs() < time.Minute; real { // else it is asked about days to come, to know what lives how long
		for _, id := range gone {
			if t := w.taken[id]; t != nil {
				t.gone = true
			}
		}
	}
	return gone, nil
}

// toRetain is what package retain knows of snapshots.
func (w *world) toRetain(items []snapshot.Item) (all []retain.Snapshot) {
	for _, it := range items {
		if it.Status() != snapshot.IsForgotten {
			all = append(all, retain.Snapshot{ID: it.ID, Source: it.Source.ID, Time: w.o.Bug.believed(it), Made: it.End, Sequence: it.Sequence, Epoch: it.Epoch, Base: it.Base, Tags: it.Tags,
				Done: it.Status() == snapshot.IsDone, Bytes: it.Stats.Bytes, Added: it.Stats.BytesStored})
		}
	}
	return all
}

// prune lets a pruner work: a host that may prune its scope, or whoever holds everything.
func (w *world) prune(s Step, rng *rand.Rand) error {
	root := rng.IntN(2) == 0
	who, access, scopes := "the pruner", repo.Access{Host: w.pruner}, []keys.ScopeID{w.pruner.ScopeID}
	if root {
		who, access, scopes = "the owner, who prunes,", repo.Access{Secrets: w.access.Secrets}, nil
	}
	p, err := w.process(s, who, nil)
	if err != nil {
		return err
	}
	defer p.end()
	r, err := p.open(w.main, access)
	if err == nil {
		decide := w.decide
		if policy, rules, ok := w.policyOf(s); ok {
			decide = w.decideBy(policy, rules)
		}
		o := prune.Options{Repo: r, Scopes: scopes, Decide: decide, Grace: w.setup.grace, Orphans: w.setup.orphans, Region: w.region, Parallel: 1 + rng.IntN(3), Now: p.now, Report: p.report}
		switch {
		case !w.setup.cold && rng.IntN(2) == 0:
			o.Region = nil
		case rng.IntN(6) == 0:
			o.Refresh.All = true
		}
		o = w.o.Bug.pruning(w, o)
		var res *prune.Result
		res, err = prune.Run(p.ctx, o)
		if err == nil {
			w.tell("pruned: %d forgotten, %d retired, %d refreshed, %d deleted", len(res.Forgotten), res.Retired.Packs, res.Refreshed.Packs, res.Deleted.Packs)
		}
	}
	if err != nil && !p.excused(err) && !w.unwell(err) {
		return violated("%s ends with: %w", who, err)
	}
	return nil
}

// unwell reports whether an error tells of damage that was done before.
func (w *world) unwell(err error) bool {
	var unread *prune.UnreadableError
	var object *repo.ObjectError
	var damage *repo.DamageError
	return len(w.sick) > 0 && (errors.As(err, &unread) || errors.As(err, &object) || errors.As(err, &damage))
}
