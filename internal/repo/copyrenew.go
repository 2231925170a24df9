package repo

import (
	"context"
	"crypto/rand"
	"fmt"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/snapshot"
)

// Renew copies a snapshot that the copy cannot take as it is, since it has retired something that the snapshot needs, or forgotten the snapshot itself: neither can come again under
// its name. What lies in packs that the copy cannot use is read, and packed anew; a new snapshot, signed by the root key, stands in the place of the old one (snapshot.Rewrites). The
// packs that it needs have to be readable, and all keys at hand: else it fails with *DamageError or ErrWriteOnly. Prepare comes before it.
func (s *CopyScope) Renew(ctx context.Context, it snapshot.Item) error {
	root, err := s.To.kit.r.AsRoot(s.To.kit.id)
	if err != nil {
		return err
	}
	to, err := root.Load(ctx, s.To.kit.id, true)
	if err != nil {
		return err
	}
	w, err := root.NewWriter(ctx, to, WriterOptions{Epoch: it.Epoch, Lanes: 1, Memory: 64 << 20})
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := s.repack(ctx, to, w, &it); err != nil {
		return err
	}
	if err := w.SendPacks(ctx); err != nil {
		return err
	}
	snap := *it.Snapshot
	_, _ = rand.Read(snap.ID[:]) // never fails (crypto/rand)
	snap.HostID, snap.Voids = [16]byte{}, nil
	snap.Rewrites = append([]snapshot.Link{{ID: it.ID, Sum: it.Sum}}, it.Rewrites...)
	if len(snap.Rewrites) > snapshot.MaxRewrites {
		snap.Rewrites = snap.Rewrites[:snapshot.MaxRewrites]
	}
	if now, ok := snapshot.Rewritten(to.Items)[snap.Base]; ok {
		snap.Base = now
	}
	item, err := w.Publish(ctx, &snap)
	if err != nil {
		return err
	}
	if err := w.ConfirmAs(ctx, item, it.Stored); err != nil {
		return err
	}
	s.renewed[it.ID] = true
	return nil
}

// repack refers to the packs that the copy has of a snapshot, and puts what lies in the others.
func (s *CopyScope) repack(ctx context.Context, to *ScopeState, w *Writer, it *snapshot.Item) error {
	names, err := s.From.PackNames(ctx, it.Snapshot)
	if err != nil {
		return err
	}
	want := map[digest.Object]*CopyPack{}
	for _, name := range names {
		_, known, err := to.set.Find(name)
		if err != nil {
			return err
		}
		if known && !to.set.Retired(name) && s.packs[name].size > 0 {
			w.ReferencePacks([]digest.Object{name})
			continue
		}
		want[name] = &CopyPack{}
	}
	packs, err := s.From.entries(ctx, want)
	if err != nil {
		return err
	}
	for i := range packs {
		delete(want, packs[i].Name)
		if err := s.put(ctx, w, it.Epoch, &packs[i]); err != nil {
			return err
		}
	}
	for name := range want {
		return &ObjectError{name.String(), errNoIndex}
	}
	return nil
}

// put puts all chunks of a pack that are not known to the copy.
func (s *CopyScope) put(ctx context.Context, w *Writer, epoch uint32, p *index.Pack) error {
	rd, err := s.From.kit.r.NewReader(s.From, epoch)
	if err != nil {
		return err
	}
	var wants []Want
	for _, ref := range p.Chunks {
		known, err := w.Known(ref.ID, p.Kind)
		if err != nil {
			return err
		}
		if known {
			if err := w.Reference(ref.ID, p.Kind); err != nil {
				return err
			}
			continue
		}
		loc, err := s.From.place(ref.ID, p.Name)
		if err != nil {
			return err
		}
		wants = append(wants, Want{ID: ref.ID, Loc: loc})
	}
	return rd.ReadPack(ctx, wants, func(i int, raw []byte) error {
		id := wants[i].ID
		_, err := w.Put(0, p.Kind, id, raw)
		if err == nil {
			err = w.Reference(id, p.Kind)
		}
		return err
	}, func(_ int, err error) error { return err })
}

// place finds a chunk in one pack.
func (s *ScopeState) place(id digest.Chunk, pack digest.Object) (index.Location, error) {
	locs, err := s.set.All(id)
	if err != nil {
		return index.Location{}, err
	}
	for _, l := range locs {
		info, err := s.set.Pack(l.Pack)
		if err != nil {
			return l, err
		}
		if info.Name == pack {
			return l, nil
		}
	}
	return index.Location{}, fmt.Errorf("chunk %v in pack %v: %w", id, pack, ErrUnknownChunk)
}

// CanRenew reports whether the keys at hand are enough for Renew.
func (s *CopyScope) CanRenew() bool { return s.vouch && s.From.kit.r.secrets != nil }
