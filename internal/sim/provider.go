package sim

import (
	"bytes"
	"context"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/check"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// cheat is what a provider shows in the place of a store: some objects are not there, some are others, some are back that were deleted. What is put goes nowhere else.
type cheat struct {
	store.Store
	v     *vault
	mu    sync.Mutex
	shown map[string][]byte
}

func newCheat(v *vault) *cheat { return &cheat{Store: v, v: v, shown: v.all()} }

func (c *cheat) get(name string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.shown[name]
}

func (c *cheat) Put(_ context.Context, name string, r io.ReadSeeker, size int64, _ store.PutOptions) error {
	raw, err := io.ReadAll(io.LimitReader(r, size))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.shown[name] != nil {
		return store.Fail("put", name, store.ErrExist)
	}
	c.shown[name] = raw
	return nil
}

func (c *cheat) Get(_ context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	raw := c.get(name)
	if raw == nil {
		return nil, store.Fail("get", name, store.ErrNotExist)
	}
	n, err := store.Clip(int64(len(raw)), offset, length)
	if err != nil {
		return nil, store.Fail("get", name, err)
	}
	return io.NopCloser(bytes.NewReader(raw[offset : offset+n])), nil
}

func (c *cheat) List(_ context.Context, prefix, after string, fn func(store.Info) error) error {
	c.mu.Lock()
	all := maps.Clone(c.shown)
	c.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(name, prefix) || name <= after {
			continue
		}
		if err := fn(store.Info{Name: name, Size: int64(len(all[name])), Modified: c.born(name)}); err != nil {
			return err
		}
	}
	return nil
}

func (c *cheat) Stat(_ context.Context, name string) (store.Info, error) {
	raw := c.get(name)
	if raw == nil {
		return store.Info{}, store.Fail("stat", name, store.ErrNotExist)
	}
	return store.Info{Name: name, Size: int64(len(raw)), Modified: c.born(name)}, nil
}

func (c *cheat) Delete(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.shown, name)
	return nil
}

func (c *cheat) born(name string) time.Time {
	c.v.mu.Lock()
	defer c.v.mu.Unlock()
	if at, ok := c.v.born[name]; ok {
		return at
	}
	return c.v.clock.Now()
}

// provider cheats: rolls back, omits, swaps. Each is noticed, or at least nothing wrong is restored. Then all is as it was.
func (w *world) provider(rng *rand.Rand) error {
	if len(w.sick)+len(w.lost) > 0 || w.setup.weak || w.inner > 0 {
		return nil
	}
	switch rng.IntN(4) {
	case 0:
		return w.rollback(rng)
	case 1:
		return w.omitSnapshot(rng)
	case 2:
		return w.omitPack(rng)
	}
	return w.swap(rng)
}

// rollback shows the store without the newest snapshots of a source, to the host that made them: its next backup says so.
func (w *world) rollback(rng *rand.Rand) error {
	h := w.hosts[rng.IntN(len(w.hosts))]
	number := rng.IntN(len(h.trees))
	source := h.sourceOf(number)
	last := h.heads[source.ID]
	if last == 0 || h.revoked {
		return nil
	}
	c := newCheat(w.main)
	scope := h.key.ScopeID.String()
	s, err := w.admin().Load(w.ctx, h.key.ScopeID, false)
	if err != nil {
		return violated("scope does not load: %w", err)
	}
	newest := uint64(0)
	for _, it := range s.Items {
		if it.Source.ID == source.ID && it.Status() == snapshot.IsDone {
			newest = max(newest, it.Sequence)
		}
	}
	if newest != last { // somebody else has written since, or a pruner has forgotten it
		return nil
	}
	for _, it := range s.Items {
		if it.Source.ID == source.ID && it.Sequence+uint64(rng.IntN(2)) >= last {
			delete(c.shown, "snapshots/"+scope+"/"+it.ID.String())
			delete(c.shown, "snapshots/"+scope+"/"+it.ID.String()+".done")
		}
	}
	step := Step{Do: "backup", Seed: rng.Uint64()}
	p, err := w.process(step, h.name+"'s backup to a cheat", h)
	if err != nil {
		return err
	}
	defer p.end()
	w.serial++
	a := &attempt{tag: "cheated", source: source.ID, versions: []truth{h.trees[number].truth()}}
	p.cheat = c
	p.dirs.State, p.dirs.Cache = w.path("cheated", "state"), w.path("cheated", "cache")
	if w.o.Bug != NoHeads {
		copyFolder(h.dirs.State, p.dirs.State)
	}
	copyFolder(h.dirs.Cache, p.dirs.Cache)
	_, err = w.runBackup(p, h, h.trees[number], number, a, rand.New(rand.NewPCG(step.Seed, 1)))
	if err == nil && !slices.ContainsFunc(a.notes, func(n string) bool { return strings.Contains(n, "rolled back") }) {
		return violated("%s does not notice that the store was rolled back behind number %d of %s", h.name, last, source.Path)
	}
	return nil
}

// omitSnapshot leaves out a snapshot that is not the newest of its source: its history has a gap.
func (w *world) omitSnapshot(rng *rand.Rand) error {
	id, t := w.choose(rng)
	if t == nil || len(w.foreign) > 0 { // together with a thief he can fill the gap
		return nil
	}
	c := newCheat(w.main)
	delete(c.shown, "snapshots/"+t.scope.String()+"/"+id.String())
	delete(c.shown, "snapshots/"+t.scope.String()+"/"+id.String()+".done")
	r, err := repo.Open(w.ctx, c, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.Now})
	if err != nil {
		return violated("the repository does not open: %w", err)
	}
	s, err := r.Load(w.ctx, t.scope, false)
	if err != nil {
		return violated("scope does not load: %w", err)
	}
	full, err := w.admin().Load(w.ctx, t.scope, false)
	if err != nil {
		return violated("scope does not load: %w", err)
	}
	var omitted snapshot.Item
	follows := false
	for _, it := range full.Items {
		if it.ID == id {
			omitted = it
		}
	}
	for _, it := range s.Items {
		follows = follows || omitted.Snapshot != nil && it.Previous != nil && it.Previous.ID == id && it.Status() == snapshot.IsDone
	}
	if !follows {
		return nil // who omits the newest is noticed by who has seen it: see rollback
	}
	for _, h := range snapshot.Histories(s.Items) {
		if h.Source == t.attempt.source && slices.ContainsFunc(h.Gaps(), func(g snapshot.Gap) bool { return g.Previous == id }) {
			return nil
		}
	}
	return violated("snapshot %v is omitted, and its history has no gap", id)
}

// omitPack leaves out a pack, or other objects that a snapshot needs: a check that only lists says so.
func (w *world) omitPack(rng *rand.Rand) error {
	id, t := w.choose(rng)
	if t == nil || t.packs == nil || len(t.packs) == 0 {
		return nil
	}
	c := newCheat(w.main)
	missing := t.packs[rng.IntN(len(t.packs))].String()
	for name := range c.shown {
		if strings.HasSuffix(name, missing) {
			delete(c.shown, name)
		}
	}
	findings, err := w.checkCheat(c, check.Wish{})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(findings, func(f check.Finding) bool { return strings.HasSuffix(f.Object, missing) }) {
		return violated("pack %s, which snapshot %v needs, is omitted, and a check that lists does not notice", missing, id)
	}
	return nil
}

func (w *world) checkCheat(c *cheat, wish check.Wish) ([]check.Finding, error) {
	k, err := check.Open(w.ctx, check.Options{Store: c, Access: &repo.Access{Secrets: w.access.Secrets}, Now: w.clock.Now, Seed: 1, Dir: w.dir, Workers: 2})
	if err != nil {
		return []check.Finding{}, violated("a check of a store that cheats ends with: %w", err)
	}
	defer k.Close()
	plan, err := k.Plan(w.ctx, wish)
	if err == nil && wish.Metadata {
		err = k.Metadata(w.ctx)
	}
	if err == nil {
		err = k.Read(w.ctx, plan)
	}
	if err != nil {
		return nil, violated("a check of a store that cheats ends with: %w", err)
	}
	report, err := k.Report(w.ctx)
	if err != nil {
		return nil, violated("a check of a store that cheats ends with: %w", err)
	}
	return report.Findings, nil
}

// swap shows one object in the place of another of its kind: a check that reads says so, and nothing wrong is restored.
func (w *world) swap(rng *rand.Rand) error {
	id, t := w.choose(rng)
	if t == nil {
		return nil
	}
	areas := []string{"meta/", "packset/", "snapshots/", "data/"}
	area := areas[rng.IntN(len(areas))] + t.scope.String() + "/"
	names := slices.DeleteFunc(w.main.names(area), func(n string) bool { return strings.HasSuffix(n, ".par2") || strings.HasSuffix(n, ".done") })
	if len(names) < 2 {
		return nil
	}
	c := newCheat(w.main)
	a, b := names[rng.IntN(len(names))], names[rng.IntN(len(names))]
	if a == b {
		return nil
	}
	c.shown[a], c.shown[b] = c.shown[b], c.shown[a]
	w.tell("the provider swaps %s and %s", a, b)
	r, err := repo.Open(w.ctx, c, repo.Access{Secrets: w.access.Secrets}, repo.Options{Now: w.clock.Now})
	if err != nil {
		return violated("the repository does not open: %w", err)
	}
	s, err := r.Load(w.ctx, t.scope, true)
	if err != nil {
		return violated("scope does not load: %w", err)
	}
	noticed := len(s.Damaged) > 0
	for _, it := range s.Items {
		if it.ID != id {
			continue
		}
		got, err := w.read(r, s, it)
		if err == nil {
			err = t.attempt.compare(got, it.Complete, t)
			if err != nil {
				return violated("the provider swaps objects, and a restore does not notice: %w", err)
			}
		} else if !named(err) {
			return violated("the provider swaps objects, and the error does not name one: %w", err)
		}
	}
	if noticed || strings.HasPrefix(area, "data/") && w.setup.cold {
		return nil
	}
	findings, err := w.checkCheat(c, check.Wish{Metadata: true, Read: check.Share{All: true}})
	if err != nil {
		return err
	}
	if !w.neededPack(a) && !w.neededPack(b) {
		return nil
	}
	if !slices.ContainsFunc(findings, func(f check.Finding) bool { return f.Object == a || f.Object == b }) {
		return violated("the provider swaps %s and %s, and a check that reads everything does not notice", a, b)
	}
	return nil
}
