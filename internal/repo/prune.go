package repo

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/keys"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Pruning is a scope as one looks at it who deletes: prune records first, then the index, then the snapshots, all from the store. What follows from it is decided elsewhere
// (package prune); here is what only this package may know: how objects are called, and in which order they go.
type Pruning struct {
	*ScopeState
	Unreadable []UnreadSnapshot // snapshots that are there and that nobody can read
	Marks      []snapshot.ID    // marks of forgotten snapshots that are gone
	Broken     []error          // prune records that cannot be read, each an *ObjectError: every backup waits until they are dealt with
	Newest     time.Time        // the latest date of anything listed, by the store's clock: it is that late at least

	records []pruneRecord
	retired retirements
	purger  *store.Purger
}

// UnreadSnapshot is a snapshot that cannot be read.
type UnreadSnapshot struct {
	ID     snapshot.ID
	Object string // its name, or that of its mark
	Marked bool   // its mark is there: it was reported done
	Stored time.Time
	Err    error
}

// unreadAge is how long a snapshot without a mark that cannot be read may be one that somebody is just about to mark (FORMAT §12.1).
const unreadAge = time.Hour

// Counts reports whether what the snapshot needs has to stay, so that nothing can be deleted as long as nobody knows what that is. One that was never marked as done may be anything, put there by
// anybody.
func (u *UnreadSnapshot) Counts(now time.Time) bool {
	return u.Marked || u.Stored.Add(unreadAge).After(now)
}

// pruneRecord is a record that was read and can be believed.
type pruneRecord struct {
	name   string
	stored time.Time // when the store got it,
	since  time.Time // and what it says
	rec    *snapshot.Record
}

// LoadToPrune reads a scope for somebody who deletes. The order matters: what the records that are read here retire was retired before the snapshots were listed.
func (r *Repository) LoadToPrune(ctx context.Context, id keys.ScopeID) (*Pruning, error) {
	kit, err := r.scope(id)
	if err != nil {
		return nil, err
	}
	p := &Pruning{ScopeState: newState(kit)}
	p.onRecord = p.keepRecord
	if p.Broken, err = p.readPrune(ctx); err != nil {
		return nil, err
	}
	if err := p.openIndex(ctx); err != nil {
		return nil, err
	}
	damagedIndexes := len(p.Damaged)
	if err := p.loadSnapshots(ctx); err != nil {
		return nil, err
	}
	p.retired.sort()
	p.findUnreadable(p.Damaged[damagedIndexes:])
	for id, e := range p.listed {
		p.see(e.info.Modified)
		parsed, err := snapshot.ParseID(id)
		if err == nil && e.info.Name == "" && e.done && p.forgotten[parsed] {
			p.Marks = append(p.Marks, parsed)
		}
	}
	slices.SortFunc(p.Marks, func(a, b snapshot.ID) int { return bytes.Compare(a[:], b[:]) })
	for _, items := range [][]snapshot.Item{p.Items, p.Late} {
		slices.SortFunc(items, func(a, b snapshot.Item) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	}
	return p, nil
}

// see notes a date by the store's clock.
func (p *Pruning) see(t time.Time) {
	if t.After(p.Newest) {
		p.Newest = t
	}
}

// keepRecord notes a record. One that came too late counts from when the store got it, whatever it says, and is neither merged nor deleted: merging would make it count.
func (p *Pruning) keepRecord(info store.Info, rec *snapshot.Record, late bool) {
	since := info.Modified
	if !late && !rec.Since.IsZero() && rec.Since.Before(since) {
		since = rec.Since
	}
	p.see(info.Modified)
	p.retired.add(rec.Retire, since)
	if !late {
		p.records = append(p.records, pruneRecord{info.Name, info.Modified, since, rec})
	}
}

// findUnreadable makes out what the errors say of snapshots. One whose author's key was revoked before the store got it is none: with a mark it is in Late, and without it counts for nothing.
func (p *Pruning) findUnreadable(damaged []error) {
	for _, err := range damaged {
		var object *ObjectError
		if errors.Is(err, errRevoked) || !errors.As(err, &object) {
			continue
		}
		text := strings.TrimSuffix(object.Name[strings.LastIndexByte(object.Name, '/')+1:], doneSuffix)
		u := UnreadSnapshot{Object: object.Name, Err: err}
		if e := p.listed[text]; e != nil {
			u.Marked, u.Stored = e.done, e.info.Modified
		}
		var perr error
		if u.ID, perr = snapshot.ParseID(text); perr != nil {
			continue // not the name of a snapshot, whoever put it there
		}
		p.Unreadable = append(p.Unreadable, u)
	}
}

// Since tells since when a pack or pack set is retired; zero: it is not. Records merged later keep the date.
func (p *Pruning) Since(name digest.Object) time.Time {
	i, ok := slices.BinarySearchFunc(p.retired.all, name, func(r Retirement, n digest.Object) int { return bytes.Compare(r.Name[:], n[:]) })
	if !ok {
		return time.Time{}
	}
	return p.retired.all[i].Since
}

// Retirements calls fn for each name that is retired, in order.
func (p *Pruning) Retirements(fn func(r Retirement)) {
	for _, r := range p.retired.all {
		fn(r)
	}
}

// Stored is a pack as the store lists it, with its recovery volume.
type Stored struct {
	Name   digest.Object
	Size   int64 // bytes; −1: the pack is not there
	Volume int64 // bytes of its recovery volume; −1: there is none
	Born   int64 // Unix seconds by the store's clock; of two objects the later
	Kind   chunk.Kind
	Class  uint16 // number in Listed.Classes
	VClass uint16 // of the volume
}

// Total is the bytes of pack and volume.
func (s *Stored) Total() int64 { return max(0, s.Size) + max(0, s.Volume) }

// Listed is all packs of a scope, as listed.
type Listed struct {
	Packs   []Stored // in order of name
	Classes []string
}

// Find returns the place of a pack; −1: it is not there.
func (l *Listed) Find(name digest.Object) int {
	i, ok := slices.BinarySearchFunc(l.Packs, name, func(s Stored, n digest.Object) int { return bytes.Compare(s.Name[:], n[:]) })
	if !ok {
		return -1
	}
	return i
}

// ListStored lists the packs of the scope and their recovery volumes. It reads none of them.
func (p *Pruning) ListStored(ctx context.Context) (*Listed, error) {
	l := &Listed{}
	classes := map[string]uint16{}
	err := p.ListPacks(ctx, func(o ObjectName, info store.Info) error {
		p.see(info.Modified)
		class, ok := classes[info.Class]
		if !ok {
			class = uint16(len(l.Classes))
			classes[info.Class] = class
			l.Classes = append(l.Classes, info.Class)
		}
		if n := len(l.Packs); n == 0 || l.Packs[n-1].Name != o.Sum {
			s := Stored{Name: o.Sum, Size: -1, Volume: -1, Class: class, VClass: class}
			if o.Area == chunk.Meta.String() {
				s.Kind = chunk.Meta
			}
			l.Packs = append(l.Packs, s)
		}
		s := &l.Packs[len(l.Packs)-1]
		if o.Volume {
			s.Volume, s.VClass = info.Size, class
		} else {
			s.Size, s.Class = info.Size, class
		}
		s.Born = max(s.Born, info.Modified.Unix())
		return nil
	})
	slices.SortFunc(l.Packs, func(a, b Stored) int { return bytes.Compare(a.Name[:], b.Name[:]) })
	return l, err
}

// StoredPart is a pack-set object as the store lists it.
type StoredPart struct {
	Name digest.Object
	Size int64
	Born time.Time
}

// ListParts lists the pack-set objects of the scope.
func (p *Pruning) ListParts(ctx context.Context) (parts []StoredPart, err error) {
	err = p.kit.r.st.List(ctx, packsetPrefix(p.kit.id), "", func(i store.Info) error {
		if o, ok := ParseName(i.Name); ok {
			p.see(i.Modified)
			parts = append(parts, StoredPart{o.Sum, i.Size, i.Modified})
		}
		return nil
	})
	return parts, err
}

// ReadParts reads pack sets, several at once, and calls fn for each, one call at a time, with its names, or with an *ObjectError where it cannot be read; other errors end it.
func (p *Pruning) ReadParts(ctx context.Context, parts []snapshot.Part, fn func(i int, names []digest.Object, broken error)) error {
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallelGets)
	for i, part := range parts {
		g.Go(func() error {
			names, err := p.partNames(gctx, part)
			var broken *ObjectError
			if err != nil && !errors.As(err, &broken) {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			fn(i, names, err)
			return nil
		})
	}
	return g.Wait()
}

// StandIns returns the pack-set objects that no snapshot names and that were read in the place of such as are lost or damaged, as far as ReadParts came upon them. They are all that is left of
// what a snapshot needs.
func (p *Pruning) StandIns() (names []digest.Object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range p.standIns {
		names = append(names, n)
	}
	return names
}

// purge deletes an object for good, with all versions of it.
func (p *Pruning) purge(ctx context.Context, name string) error {
	if p.purger == nil {
		purger, err := store.NewPurger(ctx, p.kit.r.st)
		if err != nil {
			return err
		}
		p.purger = purger
	}
	return p.purger.Purge(ctx, name)
}

// DeleteSnapshot deletes the mark of a snapshot that a record forgets, then the snapshot: the reverse of the order in which they were stored, so that no mark is left behind by
// a crash. It fails with *store.LockedError where one of them is locked.
func (p *Pruning) DeleteSnapshot(ctx context.Context, id snapshot.ID) error {
	object, mark := p.SnapshotName(id)
	if err := p.purge(ctx, mark); err != nil {
		return err
	}
	return p.purge(ctx, object)
}

// DeletePack deletes a pack that is retired and that no snapshot needs, then its recovery volume. Errors as DeleteSnapshot.
func (p *Pruning) DeletePack(ctx context.Context, s *Stored) error {
	name := packName(s.Kind, p.kit.id, s.Name)
	if s.Size >= 0 {
		if err := p.purge(ctx, name); err != nil {
			return err
		}
	}
	if s.Volume >= 0 {
		return p.purge(ctx, volumeName(name))
	}
	return nil
}

// DeletePart deletes a pack-set object that is retired and that no snapshot names. Errors as DeleteSnapshot.
func (p *Pruning) DeletePart(ctx context.Context, name digest.Object) error {
	return p.purge(ctx, packsetPrefix(p.kit.id)+name.String())
}

// Ready prepares the store for many deletions at once: it asks what it keeps of them.
func (p *Pruning) Ready(ctx context.Context) (err error) {
	if p.purger == nil {
		p.purger, err = store.NewPurger(ctx, p.kit.r.st)
	}
	return err
}

// MayPrune makes sure that what is written here counts for others: the host that prunes is certified for that, its certificate is in the store, and its key was not revoked. It fails with
// ErrWriteOnly where the key at hand may not prune, with ErrUntrusted where it was revoked.
func (p *Pruning) MayPrune(ctx context.Context) error {
	r := p.kit.r
	if !r.prunes(p.kit.id) {
		if r.secrets == nil {
			return ErrWriteOnly
		}
		return nil
	}
	revoked, certified, err := r.Standing(ctx)
	if err != nil {
		return err
	}
	if revoked {
		return errRevoked
	}
	return r.KeepCertificate(ctx, certified)
}

// Stamp writes a record that says nothing, and returns when the store got it: what time it is by the clock of the store. The next merging of records takes it away.
func (p *Pruning) Stamp(ctx context.Context) (time.Time, error) {
	name, err := p.putRecord(ctx, &snapshot.Record{})
	if err != nil {
		return time.Time{}, err
	}
	return p.storedAt(ctx, name)
}

// storedAt is when the store got an object.
func (p *Pruning) storedAt(ctx context.Context, name string) (time.Time, error) {
	info, err := p.kit.r.st.Stat(ctx, name)
	return info.Modified, err
}

// Compact merges the prune records that the store got at or before a time into one, or a few where it would be too long, under later names, once there are at least so many. What was merged
// is deleted by a later run, when the merged record is as old: listings of some stores are late, and whoever lists must see the one or the other. Nothing that a record says is left
// out, ever: a backup may sleep for years between its look at the index and the moment when it wants to refer to a pack. What was never a record goes as well, once it is as old. It returns how
// many records it deleted.
func (p *Pruning) Compact(ctx context.Context, before time.Time, least int) (int, error) {
	slices.SortFunc(p.records, func(a, b pruneRecord) int { return strings.Compare(a.name, b.name) })
	var aged, all cover
	var open, gone []pruneRecord
	for i := len(p.records) - 1; i >= 0; i-- { // a record is covered by later ones only
		r := p.records[i]
		merged := !r.rec.Since.IsZero()
		switch {
		case aged.has(r.rec):
			gone = append(gone, r)
		case !all.has(r.rec) && !r.since.After(before):
			open = append(open, r)
		}
		if merged {
			all.add(r.rec)
			if !r.stored.After(before) {
				aged.add(r.rec)
			}
		}
	}
	if len(open) >= least {
		if err := p.merge(ctx, open); err != nil {
			return 0, err
		}
	}
	for _, i := range p.never {
		if i.Modified.After(before) {
			continue
		}
		if err := p.purge(ctx, i.Name); err != nil && !errors.Is(err, store.ErrLocked) {
			return 0, err
		}
	}
	deleted := 0
	for _, r := range gone {
		err := p.purge(ctx, r.name)
		if errors.Is(err, store.ErrLocked) {
			continue // it says nothing new
		}
		if err != nil {
			return deleted, err
		}
		deleted++
	}
	return deleted, nil
}

// merge stores what these records say once more.
func (p *Pruning) merge(ctx context.Context, open []pruneRecord) error {
	recs := make([]*snapshot.Record, len(open))
	since := open[0].since
	for i, r := range open {
		recs[i] = r.rec
		if r.since.After(since) {
			since = r.since
		}
	}
	all, err := snapshot.Compact(p.kit.r.o.Now(), recs...)
	if err != nil {
		return err
	}
	for first := true; first || len(all.Retire)+len(all.Forget) > 0; first = false {
		some := all.Retire[:min(len(all.Retire), recordLines)]
		gone := all.Forget[:min(len(all.Forget), recordLines-len(some))]
		all.Retire, all.Forget = all.Retire[len(some):], all.Forget[len(gone):]
		if _, err := p.putRecord(ctx, &snapshot.Record{Since: since, Epochs: all.Epochs, Retire: some, Forget: gone}); err != nil {
			return err
		}
	}
	return nil
}

// cover is what merged records say together: names in order, of which there may be millions.
type cover struct {
	any    bool
	epochs uint32
	retire []digest.Object
	forget []snapshot.ID
}

func (c *cover) add(r *snapshot.Record) {
	c.any, c.epochs = true, max(c.epochs, r.Epochs)
	c.retire = union(c.retire, r.Retire, compareNames)
	c.forget = union(c.forget, r.Forget, compareIDs)
}

// has reports whether all that a record says is in c.
func (c *cover) has(r *snapshot.Record) bool {
	return c.any && r.Epochs <= c.epochs && within(c.retire, r.Retire, compareNames) && within(c.forget, r.Forget, compareIDs)
}

func compareNames(a, b digest.Object) int { return bytes.Compare(a[:], b[:]) }

func compareIDs(a, b snapshot.ID) int { return bytes.Compare(a[:], b[:]) }

// union adds names, which may be in any order, to some that are in order and stand there once.
func union[T comparable](sorted, more []T, compare func(a, b T) int) []T {
	sorted = append(sorted, more...)
	slices.SortFunc(sorted, compare)
	return slices.Compact(sorted)
}

// within reports whether all of some names are among others that are in order.
func within[T comparable](sorted, some []T, compare func(a, b T) int) bool {
	return !slices.ContainsFunc(some, func(n T) bool {
		_, ok := slices.BinarySearchFunc(sorted, n, compare)
		return !ok
	})
}

// Replace deals with prune records that cannot be read, which nobody may overlook: it does RetireUnneeded, and deletes them.
func (r *Repository) Replace(ctx context.Context, broken []error, givenUp func(snapshot.ID) bool) error {
	if err := r.RetireUnneeded(ctx, givenUp); err != nil {
		return err
	}
	purger, err := store.NewPurger(ctx, r.st)
	if err != nil {
		return err
	}
	for _, b := range broken {
		r.note("%s cannot be read: it is replaced by records that retire whatever no snapshot needs", Culprit(b))
		if err := purger.Purge(ctx, Culprit(b)); err != nil {
			return err
		}
	}
	return nil
}

// RetireUnneeded is for a prune record that is lost for good: it retires, in every scope, all that no snapshot needs, which covers whatever the lost one may have let a pruner delete. What it forgot
// is remembered no more. It takes who holds everything, since a record may be of any scope; else it fails with ErrWriteOnly. It fails where what a snapshot needs cannot be read, but for snapshots
// that are given up (nil: none is).
func (r *Repository) RetireUnneeded(ctx context.Context, givenUp func(snapshot.ID) bool) error {
	if r.secrets == nil {
		return ErrWriteOnly
	}
	if givenUp == nil {
		givenUp = func(snapshot.ID) bool { return false }
	}
	ids, err := r.Scopes(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		p, err := r.LoadToPrune(ctx, id)
		if err != nil {
			return err
		}
		now := r.o.Now()
		if p.Newest.After(now) {
			now = p.Newest // a clock that is late
		}
		for _, u := range p.Unreadable {
			if u.Counts(now) && !givenUp(u.ID) {
				return u.Err
			}
		}
		if err := p.retireUnneeded(ctx, givenUp); err != nil {
			return err
		}
	}
	return nil
}

// retireUnneeded retires every pack that the store lists or the index names, and every pack set, that no snapshot needs. What a snapshot needs that is not done and whose pack set is gone
// does not count: only a pruner has deleted that, and such a snapshot is to find what it needs retired.
func (p *Pruning) retireUnneeded(ctx context.Context, givenUp func(snapshot.ID) bool) error {
	needed := map[digest.Object]bool{}
	for _, it := range slices.Concat(p.Items, p.Late) {
		names, err := p.PackNames(ctx, it.Snapshot)
		if errors.Is(err, store.ErrNotExist) && it.Status() != snapshot.IsDone || err != nil && givenUp(it.ID) {
			continue
		}
		if err != nil {
			return err
		}
		for _, n := range names {
			needed[n] = true
		}
		for _, part := range it.Packs {
			needed[part.Object] = true
		}
	}
	var retire []digest.Object
	take := func(n digest.Object) {
		if !needed[n] {
			needed[n] = true // once
			retire = append(retire, n)
		}
	}
	if err := p.EachPack(func(o *PackObject) error { take(o.Name); return nil }); err != nil {
		return err
	}
	listed, err := p.ListStored(ctx)
	if err != nil {
		return err
	}
	for i := range listed.Packs {
		take(listed.Packs[i].Name)
	}
	parts, err := p.ListParts(ctx)
	if err != nil {
		return err
	}
	for _, part := range parts {
		take(part.Name)
	}
	slices.SortFunc(retire, func(a, b digest.Object) int { return bytes.Compare(a[:], b[:]) })
	_, err = p.Retire(ctx, retire, nil)
	return err
}

// sortedStates are the objects of one host below state/, the newest first.
type sortedStates struct {
	prefix string
	infos  []store.Info
}

// keptStates is how many valid objects of one host, or of the proofs of a scope, TidyStates leaves.
const keptStates = 3

// TidyStates deletes what hosts of this scope, and the proofs of the scope, have left behind below state/ and replaced since, as far as the store got it at or before a time. The newest few
// that can be read and are signed by whom they are of stay: anybody may add objects there, so what cannot be verified counts for nothing, and goes. It takes who holds everything, else it does
// nothing. It returns how many objects it deleted.
func (p *Pruning) TidyStates(ctx context.Context, before time.Time) (deleted int, err error) {
	if p.kit.r.secrets == nil {
		return 0, nil
	}
	groups, err := p.states(ctx)
	if err != nil {
		return 0, err
	}
	for _, g := range groups {
		valid := 0
		for _, info := range g.infos {
			if valid < keptStates {
				ok, err := p.validState(ctx, g.prefix, info)
				if err != nil {
					return deleted, err
				}
				if ok {
					valid++
					continue
				}
			}
			if info.Modified.After(before) {
				continue
			}
			err := p.purge(ctx, info.Name)
			if errors.Is(err, store.ErrLocked) {
				continue
			}
			if err != nil {
				return deleted, err
			}
			deleted++
		}
	}
	return deleted, nil
}

// states lists what is below state/ of hosts of this scope.
func (p *Pruning) states(ctx context.Context) ([]sortedStates, error) {
	byPrefix := map[string][]store.Info{}
	err := p.kit.r.st.List(ctx, "state/", "", func(i store.Info) error {
		if o, ok := ParseName(i.Name); ok && !o.Sum.IsZero() {
			prefix := i.Name[:strings.LastIndexByte(i.Name, '/')+1]
			byPrefix[prefix] = append(byPrefix[prefix], i)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var groups []sortedStates
	for prefix, infos := range byPrefix {
		if len(infos) <= keptStates || prefix != proofPrefix(p.kit.id) && !p.ownHost(ctx, prefix) {
			continue
		}
		slices.Reverse(infos)
		groups = append(groups, sortedStates{prefix, infos})
	}
	slices.SortFunc(groups, func(a, b sortedStates) int { return cmp.Compare(a.prefix, b.prefix) })
	return groups, nil
}

// ownHost reports whether a folder below state/ is that of a host of this scope.
func (p *Pruning) ownHost(ctx context.Context, prefix string) bool {
	author, err := parseStateOwner(prefix)
	if err != nil || author.IsRoot() {
		return false
	}
	_, err = p.kit.certificate(ctx, keys.HostID(author))
	return err == nil
}
