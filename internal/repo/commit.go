package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/envelope"
	"firn/internal/index"
	"firn/internal/packset"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// RetiredError tells that packs which a snapshot needs were retired while it was written. The snapshot is not done; the content of these
// packs has to be stored again.
type RetiredError struct {
	Packs     []digest.Object
	Forgotten bool // the snapshot itself was forgotten meanwhile
}

func (e *RetiredError) Error() string {
	return fmt.Sprintf("%d packs were retired while the backup ran", len(e.Packs))
}

// EpochError means that a snapshot would depend on a pack of another epoch.
type EpochError struct {
	Pack        digest.Object
	Epoch, Want uint32
}

func (e *EpochError) Error() string {
	return fmt.Sprintf("pack %v is of epoch %d, not %d", e.Pack, e.Epoch, e.Want)
}

// refSet is the packs that a snapshot needs. A chunk whose pack is still being filled is kept until the pack has a name.
type refSet struct {
	mu      sync.Mutex
	packs   map[digest.Object]struct{}
	numbers map[int]struct{} // packs by number in the index set
	open    []openRef
	last    digest.Chunk
}

type openRef struct {
	id   digest.Chunk
	kind chunk.Kind
}

// Reference notes that the snapshot needs a chunk. It fails with ErrUnknownChunk if the chunk is neither stored nor put in this run.
func (w *Writer) Reference(id digest.Chunk, kind chunk.Kind) error {
	w.refs.mu.Lock()
	same := w.refs.last == id
	w.refs.last = id
	w.refs.mu.Unlock()
	if same {
		return nil // neighbours in a bundle
	}
	loc, ok, err := w.scope.set.Known(id, kind)
	if err != nil {
		return err
	}
	if ok {
		w.refs.mu.Lock()
		if w.refs.numbers == nil {
			w.refs.numbers = map[int]struct{}{}
		}
		w.refs.numbers[loc.Pack] = struct{}{}
		w.refs.mu.Unlock()
		return nil
	}
	s := &w.claims[id[0]%64]
	s.mu.Lock()
	_, claimed := s.m[id]
	s.mu.Unlock()
	if !claimed {
		if _, ok, err = w.scope.set.Known(id, kind); err != nil || !ok {
			return errors.Join(fmt.Errorf("%s chunk %v: %w", kind, id, ErrUnknownChunk), err)
		}
	}
	w.refs.mu.Lock()
	w.refs.open = append(w.refs.open, openRef{id, kind})
	w.refs.mu.Unlock()
	return nil
}

// ReferencePacks notes that the snapshot needs these packs: those of an earlier snapshot whose tree it takes over whole.
func (w *Writer) ReferencePacks(names []digest.Object) {
	w.refs.mu.Lock()
	defer w.refs.mu.Unlock()
	for _, n := range names {
		w.refs.packs[n] = struct{}{}
	}
}

// resolve returns the names of all packs referenced so far, sorted. All chunks put so far are in the store.
func (w *Writer) resolve() ([]digest.Object, error) {
	w.refs.mu.Lock()
	open := w.refs.open
	w.refs.open = nil
	w.refs.last = digest.Chunk{}
	w.refs.mu.Unlock()
	for _, o := range open {
		if err := w.Reference(o.id, o.kind); err != nil {
			return nil, err
		}
	}
	w.refs.mu.Lock()
	defer w.refs.mu.Unlock()
	for n := range w.refs.numbers {
		info, err := w.scope.set.Pack(n)
		if err != nil {
			return nil, err
		}
		if info.Epoch != w.o.Epoch {
			return nil, &EpochError{info.Name, info.Epoch, w.o.Epoch}
		}
		w.refs.packs[info.Name] = struct{}{}
	}
	clear(w.refs.numbers)
	names := make([]digest.Object, 0, len(w.refs.packs))
	for n := range w.refs.packs {
		names = append(names, n)
	}
	return packset.Normalize(names), nil
}

// flushIndex names every pack that was sent in an index.
func (w *Writer) flushIndex(ctx context.Context) error {
	w.mu.Lock()
	packs := w.unindexed
	w.unindexed = nil
	w.mu.Unlock()
	if len(packs) == 0 {
		return nil
	}
	for len(packs) > 0 {
		n, chunks := 0, 0
		for n < len(packs) && (n == 0 || chunks+len(packs[n].Chunks) <= index.MaxChunks) {
			chunks += len(packs[n].Chunks)
			n++
		}
		if _, err := w.scope.putIndex(ctx, index.Header{}, packs[:n]); err != nil {
			return err
		}
		packs = packs[n:]
	}
	if err := w.scope.saveTables(); err != nil {
		return err
	}
	return w.journal(journalIndexed, nil)
}

// SendPacks seals what is open and waits until all chunks put so far are in the store and in an index.
func (w *Writer) SendPacks(ctx context.Context) error {
	if err := w.drain(); err != nil {
		return err
	}
	return w.flushIndex(ctx)
}

// Publish writes the pack sets and the snapshot, without its mark. It sets Packs of s. SendPacks has to come before it.
func (w *Writer) Publish(ctx context.Context, s *snapshot.Snapshot) (snapshot.Item, error) {
	names, err := w.resolve()
	if err != nil {
		return snapshot.Item{}, err
	}
	if s.Packs, err = w.putParts(ctx, names); err != nil {
		return snapshot.Item{}, err
	}
	body, err := s.Marshal()
	if err != nil {
		return snapshot.Item{}, err
	}
	object, _, err := w.kit.seal(sign.Snapshot, body)
	if err != nil {
		return snapshot.Item{}, err
	}
	if err := w.r.put(ctx, snapshotPrefix(w.kit.id)+s.ID.String(), object, w.r.hotClass()); err != nil {
		return snapshot.Item{}, err
	}
	item := snapshot.Item{Snapshot: s, Sum: digest.SumObject(body), Stored: w.r.o.Now()}
	w.scope.Items = append(w.scope.Items, item)
	return item, nil
}

// putParts stores the parts of a pack set that no living snapshot of the scope has stored already.
func (w *Writer) putParts(ctx context.Context, names []digest.Object) ([]snapshot.Part, error) {
	known := map[digest.Object]snapshot.Part{}
	for _, it := range w.scope.Items {
		if it.Status() == snapshot.IsDone {
			for _, p := range it.Packs {
				if !w.scope.set.Retired(p.Object) {
					known[p.Digest] = p
				}
			}
		}
	}
	var parts []snapshot.Part
	for _, part := range packset.Split(names) {
		sum := digest.Object(part.Digest())
		if p, ok := known[sum]; ok {
			parts = append(parts, p)
			continue
		}
		object, name, err := w.kit.seal(sign.Packset, part.Body())
		if err != nil {
			return nil, err
		}
		if err := w.r.put(ctx, packsetPrefix(w.kit.id)+name.String(), object, w.r.hotClass()); err != nil {
			return nil, err
		}
		parts = append(parts, snapshot.Part{Object: name, Packs: len(part.Names), Digest: sum})
	}
	return parts, nil
}

// Confirm makes a published snapshot done, or fails with *RetiredError if it lost a pack to a prune that ran beside it.
func (w *Writer) Confirm(ctx context.Context, item snapshot.Item) error {
	return w.scope.confirm(ctx, item, true)
}

// Confirm goes on where a run was interrupted between publishing a snapshot and confirming it.
func (s *ScopeState) Confirm(ctx context.Context, item snapshot.Item) error {
	return s.confirm(ctx, item, false)
}

// confirm is the last step of the protocol. A fresh snapshot holds no pack that was retired when this state was loaded, so that only what was
// retired since then matters.
func (s *ScopeState) confirm(ctx context.Context, item snapshot.Item, fresh bool) error {
	retired, broken, err := s.readPrune(ctx)
	if err != nil {
		return err
	}
	if len(broken) > 0 {
		return broken[0] // it may retire what the snapshot needs
	}
	for _, name := range retired {
		if err := s.set.Retire(name); err != nil {
			return err
		}
	}
	lost := &RetiredError{Forgotten: s.forgotten[item.ID]}
	if !fresh || len(retired) > 0 {
		if lost.Packs, err = s.retiredOf(ctx, item.Snapshot); err != nil {
			return err
		}
	}
	if lost.Forgotten || len(lost.Packs) > 0 {
		return lost
	}
	body, err := (&snapshot.Done{Snapshot: item.ID, Sum: item.Sum, Time: s.kit.r.o.Now()}).Marshal()
	if err != nil {
		return err
	}
	object, _, err := s.kit.seal(sign.Done, body)
	if err != nil {
		return err
	}
	if err := s.kit.r.put(ctx, snapshotPrefix(s.kit.id)+item.ID.String()+doneSuffix, object, s.kit.r.hotClass()); err != nil {
		return err
	}
	for i := range s.Items {
		if s.Items[i].ID == item.ID {
			s.Items[i].Marked = true
		}
	}
	return nil
}

// retiredOf returns the packs and pack sets of a snapshot that are retired.
func (s *ScopeState) retiredOf(ctx context.Context, snap *snapshot.Snapshot) ([]digest.Object, error) {
	names, err := s.PackNames(ctx, snap)
	if err != nil {
		return nil, err
	}
	for _, p := range snap.Packs {
		names = append(names, p.Object)
	}
	return slices.DeleteFunc(names, func(n digest.Object) bool { return !s.set.Retired(n) }), nil
}

// PackNames returns the packs that a snapshot needs, sorted.
func (s *ScopeState) PackNames(ctx context.Context, snap *snapshot.Snapshot) ([]digest.Object, error) {
	var all []digest.Object
	for _, p := range snap.Packs {
		name := packsetPrefix(s.kit.id) + p.Object.String()
		body, _, err := s.kit.getTrusted(ctx, sign.Packset, name)
		if err != nil {
			return nil, err
		}
		names, err := packset.Parse(body)
		if err != nil {
			return nil, &ObjectError{name, err}
		}
		if digest.SumObject(body) != p.Digest || len(names) != p.Packs {
			return nil, &ObjectError{name, ErrForged}
		}
		all = append(all, names...)
	}
	return packset.Normalize(all), nil
}

// Tidy merges index objects once many have gathered. It needs the right to delete, so it is for those who hold everything.
func (s *ScopeState) Tidy(ctx context.Context) {
	if s.kit.r.secrets == nil {
		return
	}
	err := s.consolidate(ctx)
	if err != nil && !errors.Is(err, context.Canceled) {
		s.kit.r.decide("index objects were not merged: %v", err)
	}
}

// Kinds of journal records: one byte, then the body of an index with one pack.
const (
	journalPack    = 'P' // a pack was sealed and is about to be sent
	journalIndexed = 'I' // every pack before this record is in an index
)

func (w *Writer) journal(kind byte, p *index.Pack) error {
	if w.o.Journal == nil {
		return nil
	}
	rec := []byte{kind}
	if p != nil {
		var err error
		if rec, err = index.AppendHeader(rec, index.Header{Author: w.r.host.Host}); err != nil {
			return err
		}
		if rec, err = index.AppendPack(rec, p); err != nil {
			return err
		}
	}
	w.o.Journal.Append(rec)
	return nil
}

// Adopt takes up the packs of an interrupted run from the records of its journal: those that reached the store count as known and come
// into the next index; the others are forgotten. It returns how many were taken up.
func (w *Writer) Adopt(ctx context.Context, records [][]byte) (int, error) {
	var packs []index.Pack
	for _, rec := range records {
		switch {
		case len(rec) == 1 && rec[0] == journalIndexed:
			packs = packs[:0]
		case len(rec) > 1 && rec[0] == journalPack:
			_, err := index.Parse(rec[1:], func(p *index.Pack) error {
				packs = append(packs, clonePack(p))
				return nil
			})
			if err != nil {
				w.r.decide("a journal record is left out: %v", err)
			}
		}
	}
	adopted := 0
	for i := range packs {
		p := &packs[i]
		if p.Epoch != w.o.Epoch {
			continue
		}
		if _, known, err := w.scope.set.Find(p.Name); err != nil || known {
			continue
		}
		info, err := w.r.st.Stat(ctx, packName(p.Kind, w.kit.id, p.Name))
		if errors.Is(err, store.ErrNotExist) {
			continue
		}
		if err != nil {
			return adopted, err
		}
		if info.Size != p.Size {
			continue
		}
		if err := w.adopt(p); err != nil {
			return adopted, err
		}
		adopted++
	}
	return adopted, nil
}

// PutState stores what this host needs to go on if its disk dies (FORMAT §11).
func (w *Writer) PutState(ctx context.Context, heads []snapshot.Head) error {
	host := [16]byte(w.r.host.Host)
	body, err := (&snapshot.State{Host: host, Time: w.r.o.Now(), Heads: heads}).Marshal()
	if err != nil {
		return err
	}
	k := w.kit.envelopeKeys()
	k.Recipients[0] = w.r.host.Identity.Recipient()
	object, sum, err := envelope.Seal(sign.State, body, k)
	if err != nil {
		return err
	}
	gen := uint64(w.r.o.Now().UnixMicro())
	return w.r.put(ctx, statePrefix(w.r.host.Host.String())+genName(gen, sum), object, w.r.hotClass())
}
