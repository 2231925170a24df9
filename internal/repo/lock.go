package repo

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/digest"
	"firn/internal/event"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
)

// ErrCannotLock is a store that keeps no object from being deleted.
var ErrCannotLock = errors.New("store cannot lock objects")

// Locking says which objects are to be locked, and for how long.
type Locking struct {
	Mode  store.LockMode // of locks that are new; NoLock: as the store locks new objects, else Governance
	Least time.Duration  // every object that is needed is to be locked so long from now
	// More is how much later a lock ends that is extended. A lock is extended only once less than Least is left of it, so that an object costs a request every More and not with
	// every run.
	More     time.Duration
	Keep     func(snapshot.Item) bool // whether a done snapshot is kept; nil: every one
	Region   *price.Region            // what the store asks
	Memory   *LockMemory              // nil: every object is asked for its lock
	Parallel int                      // requests at once; 0: 16
}

// LockPlan is what locking would do. Numbers are of objects.
type LockPlan struct {
	Mode    store.LockMode // of new locks
	Rule    store.LockRule // what the store does about new objects
	Least   time.Time      // locks that end before this are extended
	Until   time.Time      // to this
	Objects int64          // that the kept snapshots need
	Bytes   int64
	Enough  int64      // known to be locked long enough
	Short   int64      // known not to be
	Unknown int64      // have to be asked for their lock first
	Missing int64      // packs and pack sets that are needed and not there, or cannot be read
	Foreign int64      // objects in scopes that no key at hand opens
	Cost    price.Bill // at most: as if every unknown object had to be extended
	targets []lockTarget
	asks    map[string]int64 // by class
	puts    map[string]int64
	o       Locking
}

type lockTarget struct {
	name  string
	key   uint64
	known bool
}

// PlanLock finds out which objects the kept snapshots of scopes need, and of which the lock ends too early: packs of their pack sets with their recovery volumes, the pack
// sets, snapshots and marks themselves, all indexes, keys, certificates, and what explains the repository. It lists the store once and asks for no single object. Scopes
// are loaded; one that holds a damaged snapshot or pack set is locked all the same, as far as it is known. It fails with ErrCannotLock where nothing can be locked.
func (r *Repository) PlanLock(ctx context.Context, scopes []*ScopeState, o Locking) (*LockPlan, error) {
	locker, ok := store.As[store.Locker](r.st)
	if !ok {
		return nil, fmt.Errorf("%s: %w", r.st.Location(), ErrCannotLock)
	}
	p := &LockPlan{o: o}
	err := store.Repeat(ctx, r.st, "locks", "", func() (err error) {
		p.Rule, err = locker.LockRule(ctx)
		return err
	})
	if errors.Is(err, store.ErrUnsupported) || err == nil && !p.Rule.Enabled {
		return nil, fmt.Errorf("%s: %w", r.st.Location(), ErrCannotLock)
	}
	if err != nil && !errors.Is(err, store.ErrDenied) { // who may not see the rule may still lock
		return nil, err
	}
	if p.Mode = o.Mode; p.Mode == store.NoLock {
		p.Mode = p.Rule.Mode
	}
	if p.Mode == store.NoLock {
		p.Mode = store.Governance
	}
	now := r.o.Now().UTC()
	p.Least = now.Add(o.Least)
	p.Until = p.Least.Add(o.More)
	need := map[keys.ScopeID]*lockNeeds{}
	for _, scope := range scopes {
		if need[scope.ID()], err = scope.lockNeeds(ctx, o.Keep, p); err != nil {
			return nil, err
		}
	}
	return p, p.list(ctx, r.st, need)
}

// lockNeeds is what the kept snapshots of a scope need.
type lockNeeds struct {
	packs map[digest.Object]bool // true once it was listed
	parts map[digest.Object]bool // true once it was listed, or counted
	ids   map[snapshot.ID]bool
}

// lockNeeds counts in the plan what of it is lost. A pack set that cannot be read keeps nothing else from being locked.
func (s *ScopeState) lockNeeds(ctx context.Context, keep func(snapshot.Item) bool, p *LockPlan) (*lockNeeds, error) {
	n := &lockNeeds{map[digest.Object]bool{}, map[digest.Object]bool{}, map[snapshot.ID]bool{}}
	for _, it := range s.Items {
		if it.Status() != snapshot.IsDone || keep != nil && !keep(it) {
			continue
		}
		n.ids[it.ID] = true
		for _, part := range it.Packs {
			if _, seen := n.parts[part.Object]; seen {
				continue
			}
			n.parts[part.Object] = false
			names, err := s.PackNames(ctx, &snapshot.Snapshot{Packs: []snapshot.Part{part}})
			var broken *ObjectError
			if errors.As(err, &broken) {
				s.kit.r.note("packs of snapshot %v are not known, and so not locked: %v", it.ID, err)
				p.Missing++
				n.parts[part.Object] = true // counted
				continue
			}
			if err != nil {
				return nil, err
			}
			for _, name := range names {
				n.packs[name] = false
			}
		}
	}
	return n, nil
}

// wants reports whether an object is needed. Records of prunes and states of hosts are not: without them nothing is lost.
func (p *LockPlan) wants(o ObjectName, name string, need map[keys.ScopeID]*lockNeeds) bool {
	switch o.Area {
	case "", "keys", "hosts":
		return true
	case "prune", "state":
		return false
	}
	n := need[o.Scope]
	if n == nil {
		p.Foreign++
		return false
	}
	switch o.Area {
	case "data", "meta":
		if _, needed := n.packs[o.Sum]; !needed {
			return false
		}
		n.packs[o.Sum] = n.packs[o.Sum] || !o.Volume
	case "packset":
		if _, needed := n.parts[o.Sum]; !needed {
			return false
		}
		n.parts[o.Sum] = true
	case "snapshots":
		return n.ids[idInName(name)]
	}
	return true
}

// list goes through the store.
func (p *LockPlan) list(ctx context.Context, st store.Store, need map[keys.ScopeID]*lockNeeds) error {
	objects := int64(0)
	p.asks, p.puts = map[string]int64{}, map[string]int64{}
	err := st.List(ctx, "", "", func(i store.Info) error {
		objects++
		if o, ok := ParseName(i.Name); ok && p.wants(o, i.Name, need) {
			p.add(i)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range need {
		for _, there := range n.packs {
			if !there {
				p.Missing++
			}
		}
		for _, there := range n.parts {
			if !there {
				p.Missing++
			}
		}
	}
	if r := p.o.Region; r != nil {
		p.Cost = price.Bill{r.List(price.Lists(objects))}
		for _, class := range slices.Sorted(maps.Keys(p.asks)) {
			p.Cost = append(p.Cost, r.Get(class, p.asks[class], 0))
		}
		for _, class := range slices.Sorted(maps.Keys(p.puts)) {
			p.Cost = append(p.Cost, r.Put(class, p.puts[class], 0))
		}
		p.Cost = p.Cost.Merge()
	}
	return nil
}

func (p *LockPlan) add(i store.Info) {
	p.Objects, p.Bytes = p.Objects+1, p.Bytes+i.Size
	t := lockTarget{name: i.Name, key: lockKey(i)}
	until, mode := p.o.Memory.recall(t.key)
	t.known = mode != store.NoLock
	switch {
	case !t.known:
		p.Unknown++
	case until.Before(p.Least):
		p.Short++
	default:
		p.Enough++
		return
	}
	p.targets = append(p.targets, t)
	if !t.known {
		p.asks[i.Class]++
	}
	p.puts[i.Class]++
}

// LockResult is what was done. Numbers are of objects.
type LockResult struct {
	Extended int64 // locks that end later than before
	Enough   int64 // of those that were asked for, locked long enough already
	Softer   int64 // of both, in Governance where Compliance was wanted: a lock that holds can be made harder only by who may lift it
	Gone     int64 // deleted meanwhile
	Failed   int64 // each reported as event.Problem
}

// RunLock extends the locks of a plan. Interrupted, it is planned and run again: what is locked by then is known, or found out.
func (r *Repository) RunLock(ctx context.Context, p *LockPlan) (*LockResult, error) {
	locker, ok := store.As[store.Locker](r.st)
	if !ok {
		return nil, ErrCannotLock
	}
	res := &LockResult{}
	var mu sync.Mutex
	done := int64(0)
	g, gctx := errgroup.WithContext(ctx)
	if g.SetLimit(16); p.o.Parallel > 0 {
		g.SetLimit(p.o.Parallel)
	}
	for _, t := range p.targets {
		if gctx.Err() != nil {
			g.Go(ctx.Err) // the rest is left
			break
		}
		g.Go(func() error {
			lock, extended, err := r.lock(gctx, locker, p, t)
			mu.Lock()
			defer mu.Unlock()
			done++
			if err := res.count(gctx, p, t, lock, extended, err); err != nil {
				return err
			}
			if err != nil && !errors.Is(err, store.ErrNotExist) {
				r.o.Report.Emit(event.Problem{Path: t.name, Err: err})
			}
			r.o.Report.Emit(event.Progress{Phase: "lock", FilesDone: done, FilesTotal: int64(len(p.targets)), Problems: res.Failed})
			return nil
		})
	}
	err := g.Wait()
	p.o.Memory.flush()
	return res, err
}

// count adds up what became of an object, and returns the error that ends it all.
func (res *LockResult) count(ctx context.Context, p *LockPlan, t lockTarget, lock store.Lock, extended bool, err error) error {
	switch {
	case err == nil:
		if p.Mode == store.Compliance && lock.Mode != p.Mode {
			res.Softer++
		}
		if res.Enough++; extended {
			res.Enough, res.Extended = res.Enough-1, res.Extended+1
		}
		p.o.Memory.note(t.key, lock)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, store.ErrNotExist):
		res.Gone++
	case errors.Is(err, store.ErrDenied), errors.Is(err, store.ErrAuth), errors.Is(err, store.ErrUnsupported):
		return err // no other object fares better
	default:
		res.Failed++
	}
	return nil
}

// lock makes sure that one object is locked long enough.
func (r *Repository) lock(ctx context.Context, locker store.Locker, p *LockPlan, t lockTarget) (lock store.Lock, extended bool, err error) {
	if !t.known {
		err := store.Repeat(ctx, r.st, "stat", t.name, func() (err error) {
			lock, err = locker.LockOf(ctx, t.name)
			return err
		})
		if err != nil || lock.Mode != store.NoLock && !lock.Until.Before(p.Least) {
			return lock, false, err
		}
	}
	err = store.Repeat(ctx, r.st, "lock", t.name, func() (err error) {
		lock, err = locker.Extend(ctx, t.name, p.Mode, p.Until)
		return err
	})
	return lock, true, err
}

// idInName is the id in the name of a snapshot or its mark.
func idInName(name string) snapshot.ID {
	id, _ := snapshot.ParseID(strings.TrimSuffix(name[strings.LastIndexByte(name, '/')+1:], doneSuffix))
	return id
}

// lockKey names an object in a LockMemory: one that was made anew under its name is another one.
func lockKey(i store.Info) uint64 {
	h := sha256.New()
	h.Write([]byte(i.Name))
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(i.Modified.Unix())))
	return binary.LittleEndian.Uint64(h.Sum(nil))
}

// LockMemory remembers, outside of the process, how long objects are locked at least, so that they need not be asked. What is lost costs a request an object.
//
// A record of its journal is any number of entries: key (8 bytes), hours since 1970 (4), with the highest bit set for Compliance. The last of a key counts.
type LockMemory struct {
	j     *state.Journal
	until map[uint64]uint32
	fresh []byte
	read  int // entries
}

const (
	lockEntry      = 12
	lockFlush      = 256 * lockEntry
	lockCompliance = 1 << 31
	lockJournal    = "locks"
)

// OpenLockMemory reads what is remembered. The caller closes it.
func OpenLockMemory(s *state.State) (*LockMemory, error) {
	m := &LockMemory{until: map[uint64]uint32{}}
	var err error
	m.j, err = s.OpenJournal(lockJournal, func(rec []byte) error {
		for ; len(rec) >= lockEntry; rec = rec[lockEntry:] {
			m.until[binary.LittleEndian.Uint64(rec)] = binary.LittleEndian.Uint32(rec[8:])
			m.read++
		}
		return nil
	})
	return m, err
}

func (m *LockMemory) recall(key uint64) (until time.Time, mode store.LockMode) {
	if m == nil {
		return until, store.NoLock
	}
	v, ok := m.until[key]
	if !ok {
		return until, store.NoLock
	}
	mode = store.Governance
	if v&lockCompliance != 0 {
		mode = store.Compliance
	}
	return time.Unix(int64(v&^lockCompliance)*3600, 0).UTC(), mode
}

// note is called by one goroutine at a time.
func (m *LockMemory) note(key uint64, lock store.Lock) {
	if m == nil || lock.Mode == store.NoLock {
		return
	}
	v := uint32(lock.Until.Unix() / 3600)
	if lock.Mode == store.Compliance {
		v |= lockCompliance
	}
	m.until[key] = v
	m.fresh = binary.LittleEndian.AppendUint64(m.fresh, key)
	m.fresh = binary.LittleEndian.AppendUint32(m.fresh, v)
	if len(m.fresh) >= lockFlush {
		m.flush()
	}
}

// KnownLock tells until when a pack is known to be locked at least; zero: nobody has asked. A lock that somebody has lifted since is still known.
func (p *Pruning) KnownLock(m *LockMemory, s *Stored) time.Time {
	until, _ := m.recall(p.lockKey(s))
	return until
}

// NoteLock remembers the lock that kept a pack from being deleted. It is called by one goroutine at a time, and not beside KnownLock.
func (p *Pruning) NoteLock(m *LockMemory, s *Stored, lock store.Lock) { m.note(p.lockKey(s), lock) }

func (p *Pruning) lockKey(s *Stored) uint64 {
	return lockKey(store.Info{Name: packName(s.Kind, p.kit.id, s.Name), Modified: time.Unix(s.Born, 0)})
}

func (m *LockMemory) flush() {
	if m == nil || len(m.fresh) == 0 {
		return
	}
	m.j.Append(m.fresh)
	m.read += len(m.fresh) / lockEntry
	m.fresh = m.fresh[:0]
}

// Close keeps what was learnt, and drops entries of locks that ended before a time or stand twice once they are the half of all.
func (m *LockMemory) Close(now time.Time) {
	if m == nil {
		return
	}
	m.flush()
	over := 0
	for _, v := range m.until {
		if int64(v&^lockCompliance)*3600 < now.Unix() {
			over++
		}
	}
	if live := len(m.until) - over; m.read > 2*live+lockFlush/lockEntry {
		m.rewrite(now)
	}
	m.j.Sync()
	m.j.Close()
}

func (m *LockMemory) rewrite(now time.Time) {
	var records [][]byte
	var rec []byte
	for key, v := range m.until {
		if int64(v&^lockCompliance)*3600 < now.Unix() {
			continue
		}
		rec = binary.LittleEndian.AppendUint64(rec, key)
		if rec = binary.LittleEndian.AppendUint32(rec, v); len(rec) >= state.MaxRecord/2 {
			records, rec = append(records, rec), nil
		}
	}
	if len(rec) > 0 {
		records = append(records, rec)
	}
	m.j.Rewrite(records)
}
