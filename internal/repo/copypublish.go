package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/index"
	"firn/internal/packset"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Publish ends a batch in the order of FORMAT §10.1: the packs that were sent are named in an index, pack sets follow, then snapshots, then, after a fresh look at the prune records of the
// copy, their marks. It sets Errs of the snapshots that cannot be published, and goes on with the others; what it returns itself is a store that does not answer, and Publish
// can be called again.
func (b *CopyBatch) Publish(ctx context.Context) error {
	if err := b.index(ctx); err != nil {
		return err
	}
	for i := range b.Items {
		if b.Errs[i] == nil {
			b.Errs[i] = b.wanting(&b.Items[i])
		}
	}
	if err := b.each(ctx, b.putSnapshot); err != nil {
		return err
	}
	return b.confirm(ctx)
}

// wanting returns why a snapshot is not whole in the copy; nil: it is, but for its pack sets.
func (b *CopyBatch) wanting(it *snapshot.Item) (failed error) {
	told := map[error]bool{}
	for _, p := range it.Packs {
		for _, n := range b.needs[p.Object] {
			if pack := &b.Packs[n]; pack.Err != nil && !told[pack.Err] {
				told[pack.Err] = true
				if len(told) <= 10 {
					failed = errors.Join(failed, pack.Err)
				}
			}
		}
	}
	return failed
}

// index names what was sent.
func (b *CopyBatch) index(ctx context.Context) error {
	want := map[digest.Object]*CopyPack{}
	for i := range b.Packs {
		p := &b.Packs[i]
		switch {
		case !p.Sent && p.Err == nil:
			return fmt.Errorf("pack %v was not sent: %w", p.Name, ErrUnknownChunk)
		case p.Err == nil && !p.indexed:
			want[p.Name] = p
		}
	}
	packs, err := b.s.From.entries(ctx, want)
	if err != nil || len(packs) == 0 {
		return err
	}
	for i := range packs {
		p := want[packs[i].Name]
		packs[i].Class, packs[i].Par2, packs[i].Birth = p.To, p.Volume, b.s.To.kit.r.o.Now().Truncate(time.Second)
	}
	for _, p := range want {
		p.Err = &ObjectError{p.Object, errNoIndex}
	}
	for i := range packs {
		want[packs[i].Name].Err = nil
	}
	if err := b.s.reindex(ctx, packs); err != nil {
		return err
	}
	for i := range packs {
		p := want[packs[i].Name]
		p.indexed = true
		b.s.packs[p.Name] = listedPack{size: p.Size, class: p.To}
	}
	return nil
}

// reindex names packs in the copy's index.
func (s *CopyScope) reindex(ctx context.Context, packs []index.Pack) error {
	if !s.byHost() {
		_, err := s.To.Reindex(ctx, packs)
		return err
	}
	for i := range packs {
		if s.To.isPending(packs[i].Name) {
			continue
		}
		if err := s.To.take(&packs[i]); err != nil {
			return err
		}
	}
	_, err := s.To.indexPending(ctx)
	return err
}

// entries reads what the index says of some packs, with their chunks. It begins with the newest objects, and ends when it has them all.
func (s *ScopeState) entries(ctx context.Context, want map[digest.Object]*CopyPack) (packs []index.Pack, err error) {
	got := map[digest.Object]bool{}
	note := func(p *index.Pack) error {
		if want[p.Name] != nil && !got[p.Name] {
			got[p.Name] = true
			packs = append(packs, clonePack(p))
		}
		return nil
	}
	objects := slices.Clone(s.objects)
	slices.SortFunc(objects, func(a, b index.Object) int { return strings.Compare(b.Name, a.Name) })
	for _, o := range objects {
		if len(got) == len(want) {
			return packs, nil
		}
		body, _, err := s.kit.getIndex(ctx, indexPrefix(s.kit.id)+o.Name, time.Time{})
		var object *ObjectError
		switch {
		case errors.Is(err, store.ErrNotExist), errors.As(err, &object):
			continue // merged into another one meanwhile, or damaged
		case err != nil:
			return nil, err
		}
		if _, err := index.Parse(body, note); err != nil {
			s.kit.r.decide("index %s is left out: %v", o.Name, err)
		}
	}
	if len(got) < len(want) {
		err = s.EachIndexed(ctx, note)
	}
	return packs, err
}

// each calls fn for every item that can still be copied, several at once. What concerns one object only is noted as the item's error.
func (b *CopyBatch) each(ctx context.Context, fn func(ctx context.Context, it *snapshot.Item) error) error {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	for i := range b.Items {
		if b.Errs[i] != nil {
			continue
		}
		g.Go(func() error {
			err := fn(gctx, &b.Items[i])
			var object *ObjectError
			var retired *RetiredError
			if errors.As(err, &object) || errors.As(err, &retired) {
				mu.Lock()
				b.Errs[i] = err
				mu.Unlock()
				return nil
			}
			return err
		})
	}
	return g.Wait()
}

// putSnapshot stores the pack sets of a snapshot, and then itself, as they are. The author's certificate was copied before, else nobody would believe it.
func (b *CopyBatch) putSnapshot(ctx context.Context, it *snapshot.Item) error {
	name := snapshotPrefix(b.s.To.kit.id) + it.ID.String()
	author := authorOf(it)
	if !author.IsRoot() {
		if err := b.s.To.kit.trust(ctx, author); err != nil {
			return blame(name, err)
		}
		if err := b.s.To.kit.inTime(author, b.s.To.kit.r.o.Now()); err != nil && !b.s.vouch {
			return &ObjectError{name, err}
		}
	}
	for _, p := range it.Packs {
		if err := b.putPart(ctx, p); err != nil {
			return err
		}
	}
	object, err := b.s.From.kit.r.fetch(ctx, name, snapshot.MaxBody+1<<20)
	if errors.Is(err, store.ErrNotExist) {
		return &ObjectError{name, err}
	}
	if err != nil {
		return err
	}
	body, _, err := b.s.From.kit.open(sign.Snapshot, name, object)
	if err == nil && digest.SumObject(body) != it.Sum {
		err = &ObjectError{name, ErrForged}
	}
	if err != nil {
		return err
	}
	return b.s.To.kit.r.putSame(ctx, name, object, func(there []byte) error {
		body, _, err := b.s.To.kit.open(sign.Snapshot, name, there)
		if err == nil && digest.SumObject(body) != it.Sum {
			err = &ObjectError{name, ErrForged}
		}
		return err
	})
}

// putSame is put for a name that is no sum: what lies there already has to be right.
func (r *Repository) putSame(ctx context.Context, name string, object []byte, right func(there []byte) error) error {
	err := r.st.Put(ctx, name, bytes.NewReader(object), int64(len(object)), store.PutOptions{Sum: digest.SumObject(object), Class: r.hotClass()})
	if !isThere(err) {
		return err
	}
	there, err := r.fetch(ctx, name, int64(len(object))+1<<20)
	if err != nil {
		return err
	}
	return right(there)
}

// putPart stores a pack set as it is; where its object is lost, and another one has served for it, it is sealed again: readers find it by its body.
func (b *CopyBatch) putPart(ctx context.Context, p snapshot.Part) error {
	s := b.s
	if s.parts[p.Object] {
		return nil
	}
	name := s.From.PartName(p)
	object, err := s.From.kit.r.fetch(ctx, name, 1<<20)
	if err == nil && digest.SumObject(object) != p.Object {
		err = &ObjectError{name, store.ErrChecksum}
	}
	var broken *ObjectError
	if errors.Is(err, store.ErrNotExist) || errors.As(err, &broken) {
		return b.sealPart(ctx, p)
	}
	if err != nil {
		return err
	}
	return s.To.kit.r.put(ctx, name, object, s.Class())
}

// sealPart makes a pack set again, from what has served for it.
func (b *CopyBatch) sealPart(ctx context.Context, p snapshot.Part) error {
	names, err := b.s.From.partNames(ctx, p)
	if err != nil {
		return err
	}
	k := b.s.To.kit
	var signer *sign.Signer
	if b.s.byHost() {
		signer = k.signer()
	} else {
		signer = k.r.secrets.RootSigner(k.id)
	}
	object, name, err := envelope.Seal(sign.Packset, packset.Append(nil, names), k.envelopeKeysOf(signer))
	if err != nil {
		return err
	}
	return k.r.put(ctx, packsetPrefix(k.id)+name.String(), object, k.r.hotClass())
}

// confirm marks what is published, as a writer does that goes on after a crash.
func (b *CopyBatch) confirm(ctx context.Context) error {
	if !slices.Contains(b.Errs, nil) {
		return nil
	}
	broken, err := b.s.To.readPrune(ctx)
	if err == nil && len(broken) > 0 {
		err = broken[0] // it may retire what the snapshots need
	}
	if err == nil {
		err = b.s.To.markRetired()
	}
	if err != nil {
		return err
	}
	lost, err := b.retiredParts(ctx)
	if err != nil {
		return err
	}
	err = b.each(ctx, func(ctx context.Context, it *snapshot.Item) error {
		e := &RetiredError{Forgotten: b.s.To.forgotten[it.ID], Base: b.s.To.ForgottenBase(it.Snapshot)}
		for _, p := range it.Packs {
			e.Packs = append(e.Packs, lost[p.Object]...)
		}
		if e.gone() {
			return e
		}
		return b.mark(ctx, it)
	})
	if err != nil {
		return err
	}
	for i, it := range b.Items {
		if b.Errs[i] == nil {
			it.Marked, it.Forgotten, it.Vouched = true, false, b.s.vouch
			b.s.items[it.ID] = it
			for _, p := range it.Packs {
				b.s.whole[p.Object], b.s.parts[p.Object] = true, true
			}
		}
	}
	return nil
}

// retiredParts returns what the copy has retired of each pack set of the batch, itself included.
func (b *CopyBatch) retiredParts(ctx context.Context) (map[digest.Object][]digest.Object, error) {
	lost := map[digest.Object][]digest.Object{}
	if len(b.s.To.set.RetiredNames()) == 0 {
		return lost, nil
	}
	seen := map[digest.Object]bool{}
	for i := range b.Items {
		if b.Errs[i] != nil {
			continue
		}
		for _, p := range b.Items[i].Packs {
			if seen[p.Object] {
				continue
			}
			seen[p.Object] = true
			names, err := b.s.From.partNames(ctx, p)
			if err != nil {
				return nil, err
			}
			if gone := b.s.To.retiredOf(names, []snapshot.Part{p}); len(gone) > 0 {
				lost[p.Object] = gone
			}
		}
	}
	return lost, nil
}

// mark makes a snapshot done: by a mark of the root key, which says when it was stored first, or else by the one that it has.
func (b *CopyBatch) mark(ctx context.Context, it *snapshot.Item) error {
	k := b.s.To.kit
	name := snapshotPrefix(k.id) + it.ID.String() + doneSuffix
	var object []byte
	var err error
	if b.s.vouch {
		var body []byte
		body, err = (&snapshot.Done{Snapshot: it.ID, Sum: it.Sum, Time: k.r.o.Now(), Stored: it.Stored}).Marshal()
		if err == nil {
			object, err = k.sealRoot(sign.Done, body)
		}
	} else if object, err = b.s.From.kit.r.fetch(ctx, name, 1<<20); err == nil {
		err = rightMark(b.s.From.kit, name, object, it)
	}
	if err != nil {
		return err
	}
	return k.r.putSame(ctx, name, object, func(there []byte) error { return rightMark(k, name, there, it) })
}

// rightMark makes sure that a mark is of this snapshot.
func rightMark(k *scopeKit, name string, object []byte, it *snapshot.Item) error {
	body, _, err := k.open(sign.Done, name, object)
	if err != nil {
		return err
	}
	done, err := snapshot.ParseDone(body)
	if err == nil && (done.Snapshot != it.ID || done.Sum != it.Sum) {
		err = ErrForged
	}
	if err != nil {
		return &ObjectError{name, err}
	}
	return nil
}

// Settle merges index objects where many have gathered and the keys at hand may; see Tidy.
func (s *ScopeState) Settle(ctx context.Context) {
	if h := s.kit.r.host; h != nil && h.ScopeID == s.kit.id {
		s.Tidy(ctx)
	}
}
