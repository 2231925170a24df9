package repo

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/index"
	"firn/internal/keys"
	"firn/internal/sign"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// parallelGets is how many small objects are fetched at once.
const parallelGets = 16

// ScopeState is what the store says of one scope: where chunks lie, which snapshots there are, what is retired or forgotten.
type ScopeState struct {
	kit  *scopeKit
	set  *index.Set
	tabs *localTables

	Items   []snapshot.Item // all snapshots that could be read, in no order
	Damaged []error         // what could not, and indexes and prune records that could not: each an *ObjectError
	Late    []snapshot.Item // with a mark, and the store got them after the key of their author was revoked. They count for nothing, but what they need stays until they are forgotten

	pruned    map[string]bool // names of prune records that were read
	never     []store.Info    // objects below prune/ that have the name of a record, and never were one
	forgotten map[snapshot.ID]bool
	retiring  []digest.Object // read from records and not yet marked in set
	epochs    uint32          // by the records, every epoch below may have been used
	onRecord  func(info store.Info, rec *snapshot.Record, late bool)
	listed    map[string]*listedSnapshot // by id, as the snapshots were listed
	known     func(snapshot.ID) (snapshot.Item, bool)
	objects   []index.Object
	seen      bool // snapshots of the scope are listed

	lastGen    uint64 // highest <gen> seen in index/
	lastRecord uint64 // in prune/

	refresh sync.Mutex  // held while stale ends
	stale   atomic.Bool // prune records were not read yet

	mu        sync.Mutex
	lostParts map[digest.Object]bool // pack sets that could not be read: nobody refers to them again; guarded by mu
	standIns  map[digest.Object]bool // objects that no snapshot names and that serve for pack sets which could not be read; guarded by mu

	// pend guards pending, the set against packs that pending lacks, tabs and objects: whoever holds it and finds pending empty knows that every pack of
	// the set is named in an index object.
	pend    sync.Mutex
	pending []index.Pack // in the store and in the set, in no index object yet
}

// maxListings is how often a folder is listed again because what was listed was merged into something else before it could be read.
const maxListings = 10

// ErrUnsteady tells of records that vanish again and again between listing and reading.
var ErrUnsteady = errors.New("records vanish while they are read")

// Load reads prune records and snapshots of a scope, and, where withIndex, its index, in the order that the protocol asks for: prune
// records first.
func (r *Repository) Load(ctx context.Context, id keys.ScopeID, withIndex bool) (*ScopeState, error) {
	kit, err := r.scope(id)
	if err != nil {
		return nil, err
	}
	s := newState(kit)
	if err := s.load(ctx, withIndex); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *ScopeState) load(ctx context.Context, withIndex bool) error {
	broken, err := s.readPrune(ctx)
	if err != nil {
		return err
	}
	s.Damaged = append(s.Damaged, broken...)
	if withIndex {
		if err := s.openIndex(ctx); err != nil {
			return err
		}
	}
	return s.loadSnapshots(ctx)
}

func newState(kit *scopeKit) *ScopeState {
	return &ScopeState{kit: kit, pruned: map[string]bool{}, forgotten: map[snapshot.ID]bool{}, set: index.NewSet()}
}

// LoadToWrite is Load with the index for a backup. It leaves out the prune records, which a Writer reads before it relies on a pack (Refresh): a backup of what has not
// changed relies on none but those of its last snapshot, and whether these are retired Confirm finds out anyway.
func (r *Repository) LoadToWrite(ctx context.Context, id keys.ScopeID) (*ScopeState, error) {
	kit, err := r.scope(id)
	if err != nil {
		return nil, err
	}
	s := newState(kit)
	s.stale.Store(true)
	if err := s.openIndex(ctx); err != nil {
		return nil, err
	}
	return s, s.loadSnapshots(ctx)
}

// Refresh reads the prune records if LoadToWrite has left them out.
func (s *ScopeState) Refresh(ctx context.Context) error {
	if !s.stale.Load() {
		return nil
	}
	s.refresh.Lock()
	defer s.refresh.Unlock()
	if !s.stale.Load() {
		return nil
	}
	broken, err := s.readPrune(ctx)
	if err == nil {
		err = s.markRetired()
	}
	if err != nil {
		return err
	}
	for _, damage := range broken {
		s.kit.r.note("%v", damage)
	}
	for i := range s.Items {
		s.Items[i].Forgotten = s.forgotten[s.Items[i].ID]
	}
	s.stale.Store(false)
	return nil
}

// openIndex loads the index and marks what is retired. Local tables that turn out to be damaged are built again.
func (s *ScopeState) openIndex(ctx context.Context) error {
	err := s.loadIndex(ctx)
	if err == nil {
		err = s.markRetired()
	}
	var corrupt *index.CorruptError
	if errors.As(err, &corrupt) {
		s.kit.r.decide("local chunk table is built again: %v", err)
		err = s.Rebuild(ctx)
	}
	return err
}

// Set answers where chunks lie.
func (s *ScopeState) Set() *index.Set { return s.set }

// Seen reports whether the store has snapshots of the scope.
func (s *ScopeState) Seen() bool { return s.seen }

// ID returns the id of the scope.
func (s *ScopeState) ID() keys.ScopeID { return s.kit.id }

// readPrune reads the records under prune/ that it has not read before; what they retire waits for markRetired. A record that nobody who may prune
// has written counts for nothing. One that is damaged may hide what is retired: it is returned in broken, an *ObjectError, every time.
//
// A record that is listed and gone was merged into another one. That may have come after the listing, so it is listed again.
func (s *ScopeState) readPrune(ctx context.Context) (broken []error, err error) {
	for i := range maxListings {
		vanished := false
		broken, vanished, err = s.readRecords(ctx)
		if err != nil || !vanished {
			return broken, err
		}
		if err := pause(ctx, i); err != nil {
			return nil, err
		}
	}
	return nil, store.Fail("list", prunePrefix, ErrUnsteady)
}

// pause waits a little, longer each time.
func pause(ctx context.Context, attempt int) error {
	t := time.NewTimer(time.Millisecond << attempt)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readRecords is one pass of readPrune.
func (s *ScopeState) readRecords(ctx context.Context) (broken []error, vanished bool, err error) {
	var fresh []store.Info
	err = s.kit.r.st.List(ctx, prunePrefix, "", func(i store.Info) error {
		switch {
		case s.pruned[i.Name]:
		case mayBeRecord(i):
			fresh = append(fresh, i)
		case strings.Count(i.Name, "/") == 1 && isGen(i.Name): // longer than any
			s.pruned[i.Name] = true
			s.never = append(s.never, i)
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	for _, info := range fresh {
		rec, err := s.readRecord(ctx, info)
		var object *ObjectError
		late := errors.Is(err, errRevoked) && rec != nil
		switch {
		case err == nil:
			s.pruned[info.Name] = true
		case late:
			s.pruned[info.Name] = true
			s.kit.r.note("%s retires packs, and forgets nothing: %v", info.Name, err)
		case s.foreignRecord(info.Name, err):
			s.pruned[info.Name] = true
			continue
		case s.neverRecord(ctx, info, err):
			s.pruned[info.Name] = true
			s.never = append(s.never, info)
			continue
		case errors.As(err, &object):
			broken = append(broken, err)
			continue
		case errors.Is(err, store.ErrNotExist):
			vanished = true
			continue
		default:
			return nil, false, err
		}
		s.takeRecord(info, rec, late)
	}
	return broken, vanished, nil
}

// takeRecord notes what a record says. One that the store got after its author was revoked may be a thief's, or have come with a plain copy of the whole repository, whose dates are all new: what
// it retires may be deleted already, and to heed that costs nothing but sending again; what it forgets would be deleted.
func (s *ScopeState) takeRecord(info store.Info, rec *snapshot.Record, late bool) {
	s.retiring = append(s.retiring, rec.Retire...)
	s.epochs = max(s.epochs, rec.Epochs)
	if s.onRecord != nil {
		s.onRecord(info, rec, late)
	}
	if late {
		return
	}
	gen, _, _ := parseGen(info.Name)
	s.lastRecord = max(s.lastRecord, gen) // only where it can be believed: another name could leave no later one
	for _, id := range rec.Forget {
		s.forgotten[id] = true
	}
}

// markRetired makes the set know what is retired. What it could not mark waits for the next time.
func (s *ScopeState) markRetired() error {
	if err := s.set.Retire(s.retiring...); err != nil {
		return err
	}
	s.retiring = nil
	return nil
}

// readRecord reads one prune record and checks that its author may retire and forget in this scope. It returns the record with errRevoked where the store got it too late.
func (s *ScopeState) readRecord(ctx context.Context, info store.Info) (*snapshot.Record, error) {
	body, author, err := s.kit.getTrusted(ctx, sign.Prune, info.Name)
	if err != nil {
		return nil, err
	}
	if err := s.mayPrune(ctx, author); err != nil {
		return nil, blame(info.Name, err)
	}
	rec, err := snapshot.ParseRecord(body)
	if err != nil {
		return nil, &ObjectError{info.Name, err}
	}
	if rec.Scope != [8]byte(s.kit.id) {
		return nil, &ObjectError{info.Name, ErrForged}
	}
	if err := s.kit.inTime(author, info.Modified); err != nil {
		return rec, &ObjectError{info.Name, err}
	}
	return rec, nil
}

// foreignRecord reports whether a record is of another scope, or by somebody who has no say in this one. Whoever holds all keys opens the records of all
// scopes, and sees by the MAC alone that one is not of this scope.
func (s *ScopeState) foreignRecord(name string, err error) bool {
	if s.kit.r.foreign(err) || errors.Is(err, sign.ErrMAC) {
		return true
	}
	if errors.Is(err, ErrUntrusted) || errors.Is(err, sign.ErrSignature) || errors.Is(err, sign.ErrAuthor) {
		s.kit.r.note("%s is left out: %v", name, err)
		return true
	}
	return false
}

// mayPrune checks that the author of a record, whose signature was verified, may retire and forget.
func (s *ScopeState) mayPrune(ctx context.Context, author sign.Author) error {
	if author.IsRoot() {
		return nil // the root key
	}
	cert, err := s.kit.certificate(ctx, author)
	if err != nil {
		return err
	}
	if cert.Role != keys.Pruner {
		return fmt.Errorf("host %v has no right to prune: %w", cert.Host, ErrUntrusted)
	}
	return nil
}

// foreign reports whether an envelope was sealed for another scope.
func (r *Repository) foreign(err error) bool {
	return isNoIdentity(err) || errors.Is(err, ErrForged)
}

// loadSnapshots lists and reads all snapshots of the scope.
func (s *ScopeState) loadSnapshots(ctx context.Context) error {
	found, err := s.listSnapshots(ctx)
	if err != nil {
		return err
	}
	s.seen, s.listed = len(found) > 0, found
	var ids []string
	for id, e := range found {
		if e.info.Name != "" { // a mark without its snapshot: forgotten half-way
			ids = append(ids, id)
		}
	}
	sort.Strings(ids)
	s.Items = make([]snapshot.Item, len(ids))
	late := make([]snapshot.Item, len(ids))
	damaged := make([]error, len(ids))
	cache := &snapshotCache{}
	if left := s.takeOver(ctx, ids, found); left > freshSnapshotsRead || s.known == nil {
		cache = s.openSnapshotCache()
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	for i, id := range ids {
		if s.Items[i].Snapshot != nil {
			continue
		}
		g.Go(func() error {
			stored, done := found[id].info.Modified, found[id].done
			if done {
				if item, ok := s.cachedSnapshot(gctx, cache, id, stored); ok {
					s.Items[i] = item
					return nil
				}
			}
			item, err := snapshot.Item{}, tooLong(sign.Snapshot, found[id].info.Name, found[id].info.Size)
			if err == nil {
				item, err = s.readSnapshot(gctx, cache, id, stored, done)
			}
			var broken *ObjectError
			if errors.As(err, &broken) {
				damaged[i] = err
			} else if err != nil {
				return err
			}
			if errors.Is(err, errRevoked) {
				late[i] = item
			} else {
				s.Items[i] = item
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	s.Items, s.Late = dropUnread(s.Items), dropUnread(late)
	s.saveSnapshotCache(cache, func(id string) bool { return found[id] != nil })
	for _, err := range damaged {
		if err != nil {
			s.Damaged = append(s.Damaged, err)
		}
	}
	return nil
}

// listedSnapshot is what the listing tells of a snapshot.
type listedSnapshot struct {
	info store.Info // Name is empty where only the mark is there
	done bool       // its mark is there
}

// listSnapshots lists the snapshots of the scope and their marks, by id.
func (s *ScopeState) listSnapshots(ctx context.Context) (map[string]*listedSnapshot, error) {
	prefix := snapshotPrefix(s.kit.id)
	found := map[string]*listedSnapshot{}
	err := s.kit.r.st.List(ctx, prefix, "", func(i store.Info) error {
		id, isDone := strings.CutSuffix(strings.TrimPrefix(i.Name, prefix), doneSuffix)
		e := found[id]
		if e == nil {
			e = &listedSnapshot{}
			found[id] = e
		}
		if isDone {
			e.done = true
		} else {
			e.info = i
		}
		return nil
	})
	return found, err
}

// dropUnread leaves out the snapshots that vanished between listing and reading.
func dropUnread(items []snapshot.Item) []snapshot.Item {
	kept := items[:0]
	for _, it := range items {
		if it.Snapshot != nil {
			kept = append(kept, it)
		}
	}
	return kept
}

// readSnapshot reads a snapshot that is listed. It returns one with errRevoked that has a mark and that the store got too late.
func (s *ScopeState) readSnapshot(ctx context.Context, cache *snapshotCache, id string, stored time.Time, marked bool) (snapshot.Item, error) {
	name := snapshotPrefix(s.kit.id) + id
	body, author, err := s.kit.getTrusted(ctx, sign.Snapshot, name)
	if errors.Is(err, store.ErrNotExist) {
		return snapshot.Item{}, nil
	}
	if err != nil {
		return snapshot.Item{}, err
	}
	snap, err := snapshot.Parse(body)
	if err != nil {
		return snapshot.Item{}, &ObjectError{name, err}
	}
	if snap.ID.String() != id || snap.Scope != [8]byte(s.kit.id) || snap.HostID != [16]byte(author) {
		return snapshot.Item{}, &ObjectError{name, ErrForged}
	}
	item := snapshot.Item{Snapshot: snap, Sum: digest.SumObject(body), Forgotten: s.forgotten[snap.ID], Stored: stored}
	var first time.Time
	if marked {
		item.Marked, first, err = s.readMark(ctx, name, item)
	}
	var broken *ObjectError
	if first.IsZero() && (err == nil || errors.As(err, &broken)) {
		if late := s.kit.inTime(author, stored); late != nil {
			if !marked {
				item = snapshot.Item{}
			}
			return item, &ObjectError{name, late} // with its mark, whatever that says: see Late
		}
	}
	if item.Marked && err == nil {
		cache.learn(id, author, stored, first, body)
	}
	if !first.IsZero() {
		item.Stored, item.Vouched = first, true
	}
	return item, err
}

// readMark checks that a .done names this very snapshot. first is when the snapshot was stored elsewhere before it was copied here, where the root key says so: a copy is as
// old as what it is a copy of, and counts also where its author was revoked since.
func (s *ScopeState) readMark(ctx context.Context, name string, item snapshot.Item) (marked bool, first time.Time, err error) {
	body, author, err := s.kit.getTrusted(ctx, sign.Done, name+doneSuffix)
	if errors.Is(err, store.ErrNotExist) {
		return false, first, nil
	}
	if err != nil {
		return false, first, err
	}
	done, err := snapshot.ParseDone(body)
	if err != nil {
		return false, first, &ObjectError{name + doneSuffix, err}
	}
	if done.Snapshot != item.ID || done.Sum != item.Sum {
		return false, first, &ObjectError{name + doneSuffix, ErrForged}
	}
	if author.IsRoot() {
		first = done.Stored
	}
	return true, first, nil
}
