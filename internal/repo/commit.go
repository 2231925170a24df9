package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

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
	Forgotten bool        // the snapshot itself was forgotten meanwhile
	Base      snapshot.ID // what it is built on, itself or through others, and was forgotten meanwhile; zero: nothing
}

// gone reports whether the snapshot cannot be done.
func (e *RetiredError) gone() bool { return e.Forgotten || !e.Base.IsZero() || len(e.Packs) > 0 }

func (e *RetiredError) Error() string {
	if !e.Base.IsZero() {
		return fmt.Sprintf("snapshot %v, on which it is built, was forgotten while the backup ran", e.Base)
	}
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
	last    openRef
}

type openRef struct {
	id   digest.Chunk
	kind chunk.Kind
}

// Reference notes that the snapshot needs a chunk. It fails with ErrUnknownChunk if the chunk is neither stored nor put in this run.
func (w *Writer) Reference(id digest.Chunk, kind chunk.Kind) error {
	if err := w.Refresh(); err != nil {
		return err
	}
	w.refs.mu.Lock()
	same := w.refs.last == openRef{id, kind}
	w.refs.last = openRef{id, kind}
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
	if !w.claimed(id, kind) {
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
	w.refs.last = openRef{}
	w.refs.mu.Unlock()
	for _, o := range open {
		if err := w.Reference(o.id, o.kind); err != nil {
			return nil, err
		}
	}
	w.refs.mu.Lock()
	defer w.refs.mu.Unlock()
	if len(w.refs.open) > 0 { // never after SendPacks: a pack set that lacks a pack must not be written
		return nil, fmt.Errorf("%s chunk %v is not sent: %w", w.refs.open[0].kind, w.refs.open[0].id, ErrUnknownChunk)
	}
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

// IndexPacks names every pack that was sent so far in an index.
func (w *Writer) IndexPacks(ctx context.Context) error {
	names, err := w.scope.indexPending(ctx)
	w.journalIndexed(names)
	if err == nil {
		w.forgetRefused()
	}
	return err
}

// indexPending names every pack that no index names yet in one, and returns the names of those for which that was done. Packs that arrive meanwhile wait
// outside of the set, so that a local table which is written here holds nothing that is in no index: a run that is killed would leave it to
// others to refer to such a pack.
func (s *ScopeState) indexPending(ctx context.Context) (names []digest.Object, err error) {
	s.pend.Lock()
	defer s.pend.Unlock()
	for len(s.pending) > 0 {
		n, chunks := 0, 0
		for n < len(s.pending) && (n == 0 || chunks+len(s.pending[n].Chunks) <= index.MaxChunks) {
			chunks += len(s.pending[n].Chunks)
			n++
		}
		if _, err := s.putIndex(ctx, index.Header{}, s.pending[:n]); err != nil {
			return names, err
		}
		for i := range s.pending[:n] {
			names = append(names, s.pending[i].Name)
		}
		s.pending = s.pending[n:]
	}
	s.pending = nil
	return names, s.saveTables()
}

// SendPacks seals what is open and waits until all chunks put so far are in the store and in an index, or ctx ends. After an error it can be called again.
func (w *Writer) SendPacks(ctx context.Context) error {
	if err := w.drain(ctx); err != nil {
		return err
	}
	return w.IndexPacks(ctx)
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
	w.published, w.names = s.ID, names
	return item, nil
}

// knownParts returns the parts of pack sets that are stored and may be referred to, by the digest of their bodies: those of done snapshots, and those that
// this run has stored for its partial ones. (A partial snapshot of a long run has nearly all the parts of the one before.)
func (w *Writer) knownParts() map[digest.Object]snapshot.Part {
	known := map[digest.Object]snapshot.Part{}
	note := func(p snapshot.Part) {
		if !w.scope.set.Retired(p.Object) && !w.scope.lostPart(p.Object) {
			known[p.Digest] = p
		}
	}
	for _, it := range w.scope.Items {
		if it.Status() == snapshot.IsDone {
			for _, p := range it.Packs {
				note(p)
			}
		}
	}
	for _, p := range w.parts {
		note(p)
	}
	return known
}

// putParts stores the parts of a pack set that are not stored already.
func (w *Writer) putParts(ctx context.Context, names []digest.Object) ([]snapshot.Part, error) {
	known := w.knownParts()
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
	w.parts = parts
	return parts, nil
}

// Confirm makes a published snapshot done, or fails with *RetiredError if it lost a pack to a prune that ran beside it.
func (w *Writer) Confirm(ctx context.Context, item snapshot.Item) error {
	if item.ID != w.published {
		return w.scope.Confirm(ctx, item)
	}
	return w.scope.confirm(ctx, item, time.Time{}, func() ([]digest.Object, error) { return w.names, nil })
}

// Confirm goes on where a run was interrupted between publishing a snapshot and confirming it.
func (s *ScopeState) Confirm(ctx context.Context, item snapshot.Item) error {
	return s.confirm(ctx, item, time.Time{}, func() ([]digest.Object, error) { return s.PackNames(ctx, item.Snapshot) })
}

// confirm is the last step of the protocol; packs returns the packs that the snapshot needs. stored is when the store got what the snapshot stands for; zero: the snapshot
// itself.
func (s *ScopeState) confirm(ctx context.Context, item snapshot.Item, stored time.Time, packs func() ([]digest.Object, error)) error {
	broken, err := s.readPrune(ctx)
	if err != nil {
		return err
	}
	if len(broken) > 0 {
		return broken[0] // it may retire what the snapshot needs
	}
	if err := s.markRetired(); err != nil {
		return err
	}
	names, err := packs()
	if err != nil {
		return err
	}
	lost := &RetiredError{Forgotten: s.forgotten[item.ID], Base: s.ForgottenBase(item.Snapshot), Packs: s.retiredOf(names, item.Packs)}
	if lost.gone() {
		return lost
	}
	body, err := (&snapshot.Done{Snapshot: item.ID, Sum: item.Sum, Time: s.kit.r.o.Now(), Stored: stored}).Marshal()
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

// ForgottenBase returns which of the snapshots that one is built on, itself or through others, the records read so far forget; zero: none.
func (s *ScopeState) ForgottenBase(snap *snapshot.Snapshot) snapshot.ID {
	for n := 0; len(s.forgotten) > 0 && !snap.Base.IsZero() && n <= len(s.Items); n++ { // a chain is no longer than that
		if s.forgotten[snap.Base] {
			return snap.Base
		}
		i := slices.IndexFunc(s.Items, func(it snapshot.Item) bool { return it.ID == snap.Base })
		if i < 0 {
			break
		}
		snap = s.Items[i].Snapshot
	}
	return snapshot.ID{}
}

// retiredOf returns which packs and pack sets of a snapshot are retired.
func (s *ScopeState) retiredOf(names []digest.Object, parts []snapshot.Part) (retired []digest.Object) {
	for _, n := range names {
		if s.set.Retired(n) {
			retired = append(retired, n)
		}
	}
	for _, p := range parts {
		if s.set.Retired(p.Object) {
			retired = append(retired, p.Object)
		}
	}
	return retired
}

// lostPart reports whether a pack set could not be read.
func (s *ScopeState) lostPart(object digest.Object) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lostParts[object]
}

// PackNames returns the packs that a snapshot needs, sorted. A pack set that is damaged or missing is an *ObjectError; no snapshot will refer to it again.
func (s *ScopeState) PackNames(ctx context.Context, snap *snapshot.Snapshot) ([]digest.Object, error) {
	var all []digest.Object
	for _, p := range snap.Packs {
		names, err := s.partNames(ctx, p)
		var broken *ObjectError
		if errors.As(err, &broken) {
			s.mu.Lock()
			if s.lostParts == nil {
				s.lostParts = map[digest.Object]bool{}
			}
			s.lostParts[p.Object] = true
			s.mu.Unlock()
		}
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
	}
	return packset.Normalize(all), nil
}

// partNames reads one pack set, from another object with the same body where its own is lost.
func (s *ScopeState) partNames(ctx context.Context, p snapshot.Part) ([]digest.Object, error) {
	names, err := s.ReadPart(ctx, p)
	var broken *ObjectError
	if errors.As(err, &broken) {
		if again := s.partAgain(ctx, p); again != nil {
			return again, nil
		}
	}
	return names, err
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

// Kinds of journal records, by their first byte.
const (
	journalPack    = 'P' // a pack was sealed and is about to be sent: the body of an index with that pack
	journalIndexed = 'I' // names of packs that are in an index, 32 bytes each
)

// journalNames is how many names one record has at most.
const journalNames = 1 << 16

func (w *Writer) journalPack(p *index.Pack) error {
	if w.o.Journal == nil {
		return nil
	}
	rec, err := index.AppendHeader([]byte{journalPack}, index.Header{Author: w.r.host.Host})
	if err != nil {
		return err
	}
	if rec, err = index.AppendPack(rec, p); err != nil {
		return err
	}
	w.o.Journal.Append(rec)
	return nil
}

// journalIndexed names the packs and not "all so far": others are on their way meanwhile.
func (w *Writer) journalIndexed(names []digest.Object) {
	if w.o.Journal == nil {
		return
	}
	for some := range slices.Chunk(names, journalNames) {
		rec := []byte{journalIndexed}
		for i := range some {
			rec = append(rec, some[i][:]...)
		}
		w.o.Journal.Append(rec)
	}
}

// journalled returns the packs of a journal that may be in no index.
func (w *Writer) journalled(records [][]byte) (packs []index.Pack) {
	indexed := map[digest.Object]bool{}
	for _, rec := range records {
		switch {
		case len(rec)%32 == 1 && rec[0] == journalIndexed:
			for names := rec[1:]; len(names) > 0; names = names[32:] {
				indexed[digest.Object(names[:32])] = true
			}
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
	return slices.DeleteFunc(packs, func(p index.Pack) bool { return p.Epoch != w.o.Epoch || indexed[p.Name] || w.scope.isPending(p.Name) })
}

// isPending reports whether the next index will name a pack.
func (s *ScopeState) isPending(name digest.Object) bool {
	s.pend.Lock()
	defer s.pend.Unlock()
	return slices.ContainsFunc(s.pending, func(p index.Pack) bool { return p.Name == name })
}

// Adopt takes up the packs of an interrupted run from the records of its journal: those that reached the store, and those that the spool kept, which it sends, count
// as known and come into the next index, with their recovery volumes; the others are forgotten. It returns how many were taken up.
//
// That a pack is known already does not mean that an index names it, so it is named in the next one, perhaps for the second time.
func (w *Writer) Adopt(ctx context.Context, records [][]byte) (int, error) {
	packs := w.journalled(records)
	stored := make([]bool, len(packs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	for i := range packs {
		p := &packs[i]
		g.Go(func() error {
			info, err := w.r.lookFor(gctx, packName(p.Kind, w.kit.id, p.Name))
			if errors.Is(err, store.ErrNotExist) {
				stored[i], err = w.resend(gctx, p)
				return err
			}
			stored[i] = err == nil && info.Size == p.Size
			if stored[i] {
				err = w.adoptVolume(gctx, p, info.Class)
			}
			if stored[i] && err == nil {
				w.unspool(p.Name)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	adopted := 0
	for i := range packs {
		if !stored[i] {
			continue
		}
		if err := w.adopt(&packs[i]); err != nil {
			return adopted, err
		}
		adopted++
	}
	return adopted, nil
}

// errFound ends a listing.
var errFound = errors.New("found")

// lookFor is Stat for who may write only. S3 tells of a pack to those who may read it, and that something is not there to those who may list everything; a listing tells enough.
func (r *Repository) lookFor(ctx context.Context, name string) (store.Info, error) {
	info, denied := r.st.Stat(ctx, name)
	if !errors.Is(denied, store.ErrDenied) {
		return info, denied
	}
	err := r.st.List(ctx, name, "", func(i store.Info) error {
		if i.Name != name {
			return nil
		}
		info = i
		return errFound
	})
	switch {
	case err == nil:
		return info, store.Fail("stat", name, store.ErrNotExist)
	case errors.Is(err, errFound):
		return info, nil
	case errors.Is(err, store.ErrDenied):
		return info, denied
	}
	return info, err
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
