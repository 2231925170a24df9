package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"firn/internal/cdc"
	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/manifest"
	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/retain"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// thief has the write-only key of a host and its credentials, which create and read and do not delete. He looks for something to read, writes over, floods, backdates and forges; the next prune must not
// take what was there before. Then the owner notices, clears up what was forged, and replaces the key.
func (w *world) thief(s Step, h *host, rng *rand.Rand) error {
	if h.revoked || w.inner > 0 || len(w.sick)+len(w.lost) > 0 || w.setup.weak {
		return nil
	}
	if err := errors.Join(w.readsNothing(h, rng), w.overwritesNothing(rng)); err != nil {
		return err
	}
	before, stood, err := w.verdicts()
	if err != nil {
		return err
	}
	since := w.clock.Now()
	if err := w.flood(h, rng); err != nil {
		return violated("a thief cannot even write: %w", err)
	}
	after, stand, err := w.verdicts()
	if err == nil && w.o.Bug == "" {
		err = w.spared(stood, stand, since)
	}
	if err != nil {
		return err
	}
	if w.setup.last == 0 {
		lost := map[snapshot.Source]int{}
		for id := range after {
			if t := w.taken[id]; t != nil && t.reported && !before[id] {
				if lost[t.attempt.source]++; lost[t.attempt.source] > 2 { // a place for each rule that a policy has
					return violated("a flood of a thief pushes snapshot %v out", id)
				}
			}
		}
	}
	forged := w.forge(h, rng)
	err = w.prune(Step{Do: "prune", Seed: s.Seed}, rng)
	for _, name := range forged { // the owner, by hand
		w.main.decay(name, nil)
	}
	if err != nil && !errors.As(err, new(*prune.UnreadableError)) && !errors.Is(err, prune.ErrRecords) && !errors.As(err, new(*repo.ObjectError)) {
		return err
	}
	p, err := w.process(Step{Do: "keys", Seed: s.Seed}, "the owner, who has noticed a thief,", nil)
	if err != nil {
		return err
	}
	defer p.end()
	r, err := p.open(w.main, repo.Access{Secrets: w.access.Secrets})
	if err == nil {
		err = w.replaceHost(p, r, h)
	}
	if err != nil {
		return violated("a stolen key cannot be replaced: %w", err)
	}
	return nil
}

// readsNothing expects a write-only key to open no pack, and no manifest.
func (w *world) readsNothing(h *host, rng *rand.Rand) error {
	r, err := repo.Open(w.ctx, peephole{w.main, w.main}, repo.Access{Host: h.key}, repo.Options{Now: w.clock.Now})
	if err != nil {
		return violated("a write-only key does not open the repository: %w", err)
	}
	s, err := r.Load(w.ctx, h.key.ScopeID, true)
	if err != nil {
		return violated("a write-only key does not load its scope: %w", err)
	}
	if _, err := r.NewReader(s, 0); !errors.Is(err, repo.ErrWriteOnly) {
		return violated("a write-only key reads: %w", err)
	}
	index, err := h.key.Scope().IndexIdentity()
	if err != nil {
		return err
	}
	ids := []age.Identity{h.key.Identity, index}
	for _, area := range []string{"data/", "meta/", "keys/"} {
		names := slices.DeleteFunc(w.main.names(area), func(n string) bool { return strings.HasSuffix(n, ".par2") || strings.HasSuffix(n, ".json") })
		for range min(len(names), 3) {
			name := names[rng.IntN(len(names))]
			if opened, err := age.Decrypt(bytes.NewReader(w.main.has(name)), ids...); err == nil {
				if _, err := io.ReadAll(opened); err == nil {
					return violated("a write-only key opens %s", name)
				}
			}
		}
	}
	return nil
}

// overwritesNothing puts over what is there, which a store that creates only refuses.
func (w *world) overwritesNothing(rng *rand.Rand) error {
	names := w.main.names("")
	for range 3 {
		name := names[rng.IntN(len(names))]
		err := w.storeOf(w.main, "a thief").Put(w.ctx, name, strings.NewReader("mine"), 4, store.PutOptions{})
		if !errors.Is(err, store.ErrExist) {
			return violated("%s was written over: %w", name, err)
		}
	}
	return nil
}

// verdicts are the snapshots that the policy would let go now, of all.
func (w *world) verdicts() (gone map[snapshot.ID]bool, all []snapshot.Item, err error) {
	r := w.admin()
	ids, err := r.Scopes(w.ctx)
	gone = map[snapshot.ID]bool{}
	for _, id := range ids {
		if err != nil {
			break
		}
		var s *repo.ScopeState
		if s, err = r.Load(w.ctx, id, false); err != nil {
			break
		}
		items := snapshot.Standing(s.Items)
		all = append(all, items...)
		for _, v := range retain.Decide(w.toRetain(items), w.setup.policy, w.clock.Now(), time.UTC) {
			if !v.Keep {
				gone[snapshot.ID(v.ID)] = true
			}
		}
	}
	if err != nil {
		return nil, nil, violated("snapshots cannot be listed: %w", err)
	}
	return gone, all, nil
}

// flood makes done snapshots of the host's sources that say of themselves what the thief likes.
func (w *world) flood(h *host, rng *rand.Rand) error {
	for range 3 + rng.IntN(12) {
		w.clock.pass(time.Duration(rng.IntN(120)) * time.Second)
		if err := w.falsify(h, h.sourceOf(rng.IntN(len(h.trees))), rng); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) falsify(h *host, source snapshot.Origin, rng *rand.Rand) error {
	r, err := repo.Open(w.ctx, w.main, repo.Access{Host: h.key}, repo.Options{Now: w.clock.Now})
	if err != nil {
		return err
	}
	s, err := r.LoadToWrite(w.ctx, h.key.ScopeID)
	if err != nil {
		return err
	}
	out, err := r.NewWriter(w.ctx, s, repo.WriterOptions{Lanes: 1, Uploads: 1, PackSize: 1 << 16})
	if err != nil {
		return err
	}
	defer out.Abort()
	hash := digest.NewHasher(h.key.Scope().ChunkKey(0))
	tree := manifest.NewBuilder(cdc.NewTable(h.key.Scope().GearTable()).Hash, func(raw []byte) (digest.Chunk, error) {
		id := hash.Sum(raw)
		_, err := out.Put(0, chunk.Meta, id, raw)
		if err == nil {
			err = out.Reference(id, chunk.Meta)
		}
		return id, err
	})
	name := fmt.Appendf(nil, "ransom%d", rng.Uint32())
	if err := tree.Add(&manifest.Entry{Path: name, Mode: 0o644}); err != nil {
		return err
	}
	root, err := tree.Finish()
	if err == nil {
		err = out.SendPacks(w.ctx)
	}
	if err != nil {
		return err
	}
	at := w.clock.Now().Add([]time.Duration{0, -5000 * time.Hour, 5000 * time.Hour, -time.Duration(rng.IntN(30)) * 24 * time.Hour, -time.Duration(rng.IntN(800)) * time.Hour}[rng.IntN(5)])
	if n := len(s.Items); n > 0 && rng.IntN(2) == 0 { // right before one that is there: the first of a day counts
		at = s.Items[rng.IntN(n)].Stored.Add(-time.Duration(1+rng.IntN(600)) * time.Minute)
	}
	snap := &snapshot.Snapshot{Start: at, End: at, Host: h.name, HostID: [16]byte(h.key.Host), Source: source, Scope: s.ID(), Complete: true, Manifest: snapshot.Tree(root), Tags: []string{"thief"},
		Sequence: []uint64{1, 2, 1000, 1<<53 - 1, 1 << 53, 1 << 60}[rng.IntN(6)]}
	for i := range snap.ID {
		snap.ID[i] = byte(rng.Uint32())
	}
	for _, it := range s.Items {
		if snap.Sequence > 1 && it.Source.ID == source.ID && (snap.Previous == nil || rng.IntN(2) == 0) {
			snap.Previous = &snapshot.Link{ID: it.ID, Sum: it.Sum}
		}
		if rng.IntN(3) == 0 {
			snap.Voids = append(snap.Voids, it.ID)
		}
	}
	if snap.Previous == nil {
		snap.Sequence = 1
	}
	w.foreign[snap.ID] = true
	item, err := out.Publish(w.ctx, snap)
	if err == nil {
		err = out.Confirm(w.ctx, item)
	}
	return err
}

// forge puts objects that are not what their names say, and returns their names.
func (w *world) forge(h *host, rng *rand.Rand) (names []string) {
	scope := h.key.ScopeID.String()
	random := func(n int) string {
		raw := make([]byte, n)
		for i := range raw {
			raw[i] = byte(rng.Uint32())
		}
		return fmt.Sprintf("%x", raw)
	}
	existing := w.main.names("snapshots/" + scope + "/")
	for range 1 + rng.IntN(5) {
		name := []string{"snapshots/" + scope + "/" + random(16), "index/" + scope + "/" + random(8) + "-" + random(32), "packset/" + scope + "/" + random(32), "state/" + h.key.Host.String() + "/" + random(8) + "-" + random(32),
			"data/" + scope + "/" + "aa/" + random(32), "keys/" + random(8) + ".age", "prune/" + random(8) + "-" + random(32), "hosts/" + h.key.Host.String() + ".revoked"}[rng.IntN(8)]
		content := []byte(random(40))
		if rng.IntN(2) == 0 && len(existing) > 0 { // something real, in the wrong place
			content = w.main.has(existing[rng.IntN(len(existing))])
		}
		if w.main.Put(context.Background(), name, bytes.NewReader(content), int64(len(content)), store.PutOptions{}) == nil {
			names = append(names, name)
			w.tell("a thief forges %s", name)
		}
	}
	return names
}
