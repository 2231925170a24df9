// Package prune is the verb that makes room: it forgets snapshots, and deletes what no snapshot needs any more. It is the only one that deletes packs, and it goes
// by the protocol of docs/FORMAT.md §10.1 and §12, so that any number of backups and of pruners may be at work beside it, without a lock:
//
//  1. Snapshots that are to go are named in a record, which is awaited. Then their objects are deleted, the mark first.
//  2. The scope is read: the records first, then the index, then the snapshots and their pack sets. One done snapshot that cannot be read stops everything.
//  3. What no snapshot names, and what is to be sent again, is retired by a record, which is awaited. From then on no backup refers to it: one that
//     already has will find the record before it says that it is done.
//  4. What was retired at least the time of grace ago, and still is in no pack set, is deleted.
//  5. Index objects are written again without what is gone, records are merged: the new object first, then the old ones go.
//
// A run does not wait for the time of grace: the next one goes on. Killed anywhere, it is made good by the next one. Records are never withdrawn, and what they say is never left out
// when they are merged: a backup may have slept for years when it asks what is retired.
//
// Time is the store's: grace, ages and stays count from the dates that it gives its objects, up to the date that it gives one which the run itself stores.
//
// # Money
//
// A pack whose class bills a minimum stay waits until deleting it costs nothing: it is paid for anyway, and until it is retired new backups can refer to it.
//
// Snapshots name packs, and are never written again. So a pack of which a file is left cannot be packed again for old snapshots. What is done instead is called refreshing: a
// pack is retired of which little is left in the newest snapshots, so the next backups read what is left from the source and send it again, and the pack goes when the last snapshot that
// names it does. Nothing is read from the store but manifests. See refresh.go for when that pays.
package prune

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"firn/internal/event"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// Times.
const (
	DefaultGrace = 24 * time.Hour      // between retiring and deleting
	WeakGrace    = time.Hour           // the least on a store whose listings may be late
	OrphanAge    = 7 * 24 * time.Hour  // until a pack that no index names is taken for one that a killed backup left behind,
	CopyAge      = 60 * 24 * time.Hour // in a copy: what comes over a slow line may be under way for weeks, and what is retired there cannot be copied again with the key of a host
)

// Errors that a caller may want to tell apart.
var (
	ErrGrace   = errors.New("listings of this store may be late: it needs a longer time of grace")
	ErrRecords = errors.New("prune records cannot be read, and only who holds everything can replace them")
	ErrNothing = errors.New("no such snapshot")
)

// UnreadableError names snapshots, or pack sets of snapshots, that cannot be read. What they need is not known, so nothing was deleted, nor forgotten.
type UnreadableError struct {
	Objects []string
	Err     error // about the first
}

func (e *UnreadableError) Error() string { return e.text(5) }

// Whole is Error with all of the names.
func (e *UnreadableError) Whole() string { return e.text(len(e.Objects)) }

func (e *UnreadableError) text(names int) string {
	text := strings.Join(e.Objects[:min(len(e.Objects), names)], ", ")
	if more := len(e.Objects) - names; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Sprintf("what snapshots need cannot be read, so nothing is deleted: %s: %v", text, e.Err)
}

// Unwrap returns the reason.
func (e *UnreadableError) Unwrap() error { return e.Err }

// LastError tells that a source would be left without any snapshot that is done.
type LastError struct {
	Source snapshot.Origin
	ID     snapshot.ID // its newest
}

func (e *LastError) Error() string {
	name := e.Source.Name
	if name == "" {
		name = string(e.Source.Path)
	}
	return fmt.Sprintf("snapshot %v is the last one of %q", e.ID, name)
}

// BaseError tells that a snapshot is needed by others.
type BaseError struct {
	ID    snapshot.ID
	Needs []snapshot.ID // that are built on it
}

func (e *BaseError) Error() string {
	return fmt.Sprintf("snapshot %v is what %d others are built on, such as %v", e.ID, len(e.Needs), e.Needs[0])
}

// Decide says which snapshots of a scope are to go. It sees all that can be read and are not forgotten; now is by the store's clock.
type Decide func(items []snapshot.Item, now time.Time) ([]snapshot.ID, error)

// Options of a prune.
type Options struct {
	Repo   *repo.Repository
	Scopes []keys.ScopeID // nil: all that a key at hand opens

	Decide Decide        // nil: no snapshot goes by rule
	Forget []snapshot.ID // these go in any case
	Last   bool          // a source may be left without any
	Only   bool          // forget, and leave the rest to a later run

	Grace   time.Duration // between retiring and deleting; 0: none
	Orphans time.Duration // 0: OrphanAge, in a copy CopyAge
	Region  *price.Region // nil: no class has a minimum stay, nothing has a price
	Early   bool          // delete also what has not served its minimum stay,
	MaxCost price.Money   // for no more than this
	Refresh Refresh

	Locks    *repo.LockMemory // nil: every pack that a lock may keep is asked for it in each run
	DryRun   bool
	Parallel int // deletions at once; 0: 32
	Now      func() time.Time
	Report   event.Func

	unpriced bool   // there is no Region
	faults   faults // of tests
}

// faults are mistakes that tests make on purpose, to see that they are noticed.
type faults struct {
	noGrace bool // delete what was retired, however short ago
	stale   bool // delete by what was listed before the record was stored
	late    bool // list once more, and store the record only then
}

func (o *Options) setDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Parallel <= 0 {
		o.Parallel = 32
	}
	if o.Orphans <= 0 {
		o.Orphans = OrphanAge
		if o.Repo.Config().Copy != [16]byte{} {
			o.Orphans = CopyAge
		}
	}
	if o.Region == nil {
		o.unpriced = true
		o.Region = &price.Region{GB: 1 << 30, Classes: []price.Class{{}}}
	}
}

// Amount is packs with their recovery volumes.
type Amount struct {
	Packs int64       `json:"packs"`
	Bytes int64       `json:"bytes"` // volumes included
	Month price.Money `json:"month"` // what keeping them costs a month
}

func (a *Amount) add(n, bytes int64, month price.Money) {
	a.Packs, a.Bytes, a.Month = a.Packs+n, a.Bytes+bytes, a.Month+month
}

// Forgotten is a snapshot that goes.
type Forgotten struct {
	ID     snapshot.ID
	Scope  keys.ScopeID
	Source snapshot.Origin // empty where it cannot be read
	Host   string
	Stored time.Time
	Why    Why
}

// Why a snapshot goes.
type Why string

// The reasons.
const (
	ByRule  Why = "rule"
	Asked   Why = "asked"
	Undone  Why = "undone"  // never confirmed, and a newer one of its source is done
	Partial Why = "partial" // of a backup that did not end, and a newer one of its source is done
	Before  Why = "before"  // an earlier run forgot it and did not come to delete it
)

// Reason is why packs that no snapshot needs are still there.
type Reason string

// The reasons.
const (
	Grace Reason = "grace" // retired, and the time of grace is not over
	Stay  Reason = "stay"  // deleting them would cost the rest of their minimum stay
	Young Reason = "young" // a backup that is under way may need them
	Lock  Reason = "lock"  // the store keeps them until a date
)

// Waiting is packs that no snapshot needs and that wait, by reason.
type Waiting struct {
	Why Reason `json:"why"`
	Amount
	Cost  price.Money `json:"cost"`           // of deleting them now
	First time.Time   `json:"first,omitzero"` // when the first can go
	Until time.Time   `json:"until,omitzero"` // when the last can; zero: nobody knows
}

// Result is what a prune did, or would do.
type Result struct {
	At        time.Time // by the store's clock
	Forgotten []Forgotten
	Locked    int // snapshots that are forgotten and that a lock keeps
	Needed    Amount
	Retired   Amount // by this run, refreshed ones not counted: in a time of grace they can go
	Deleted   Amount
	Parts     int         // pack-set objects deleted
	Early     price.Money // paid for minimum stays that were cut short
	Waiting   []Waiting
	Refreshed Refreshed

	Indexes int // index objects that were taken away
	Records int // prune records that were merged
	States  int // replaced objects of hosts that were deleted
}

func (r *Result) wait(why Reason, n, bytes int64, month, cost price.Money, until time.Time) {
	var w *Waiting
	for i := range r.Waiting {
		if r.Waiting[i].Why == why {
			w = &r.Waiting[i]
		}
	}
	if w == nil {
		r.Waiting = append(r.Waiting, Waiting{Why: why})
		w = &r.Waiting[len(r.Waiting)-1]
	}
	w.add(n, bytes, month)
	w.Cost += cost
	if !until.IsZero() && (w.First.IsZero() || until.Before(w.First)) {
		w.First = until
	}
	if until.After(w.Until) {
		w.Until = until
	}
}

// Run prunes, scope by scope. With an error the result tells what was done until then.
func Run(ctx context.Context, o Options) (*Result, error) {
	o.setDefaults()
	res := &Result{}
	if weak, ok := store.As[store.Weak](o.Repo.Store()); ok && len(weak.Weakness()) > 0 && o.Grace < WeakGrace {
		return res, fmt.Errorf("%w: at least %v", ErrGrace, WeakGrace)
	}
	ids := o.Scopes
	if ids == nil {
		var err error
		if ids, err = o.Repo.Scopes(ctx); err != nil {
			return res, err
		}
	}
	wanted := map[snapshot.ID]bool{}
	for _, id := range o.Forget {
		wanted[id] = true
	}
	budget := o.MaxCost
	for _, id := range ids {
		x := &run{o: &o, res: res, id: id, wanted: wanted, budget: &budget}
		if err := x.scope(ctx); err != nil {
			return res, err
		}
	}
	for id := range wanted {
		return res, fmt.Errorf("%w: %v", ErrNothing, id)
	}
	return res, nil
}

// run is one scope.
type run struct {
	o      *Options
	res    *Result
	id     keys.ScopeID
	wanted map[snapshot.ID]bool // asked for, and not found yet
	budget *price.Money         // for cutting stays short, all scopes together
	left   price.Money          // of it
	now    time.Time
}

// scope prunes one scope.
func (x *run) scope(ctx context.Context) error {
	x.tell("read", 0, 0)
	p, err := x.load(ctx)
	if err != nil {
		return err
	}
	x.now = x.o.Now()
	if p.Newest.After(x.now) {
		x.now = p.Newest // a clock that is late
	}
	if !x.o.DryRun {
		if err := p.MayPrune(ctx); err != nil {
			return err
		}
	}
	x.tellLate(p)
	going, err := x.choose(ctx, p)
	if err != nil {
		return err
	}
	v, plan, err := x.look(ctx, p, going, nil)
	if err != nil {
		return err
	}
	acts := len(going) > 0 || len(p.Marks) > 0 || plan.acts()
	if v != nil && (x.o.DryRun || !acts) { // else it is planned by what is there then
		if plan.refresh, err = x.planRefresh(ctx, v); err != nil {
			return err
		}
		acts = acts || plan.acts()
	}
	if !x.o.DryRun && acts {
		if v, plan, err = x.act(ctx, p, v); err != nil {
			return err
		}
	} else {
		x.res.Forgotten = append(x.res.Forgotten, going...)
		plan.count(x, v)
	}
	for _, f := range going {
		delete(x.wanted, f.ID)
	}
	if x.res.At = x.now; x.o.DryRun || x.o.Only {
		return nil
	}
	return x.housekeeping(ctx, v, plan)
}

// load reads the scope, and has prune records replaced that cannot be read.
func (x *run) load(ctx context.Context) (*repo.Pruning, error) {
	p, err := x.o.Repo.LoadToPrune(ctx, x.id)
	if err != nil || len(p.Broken) == 0 {
		return p, err
	}
	if x.o.Only && x.o.Decide == nil {
		return p, nil // to forget by name takes nothing that records say
	}
	if x.o.DryRun {
		return nil, p.Broken[0]
	}
	err = x.o.Repo.Replace(ctx, p.Broken, func(id snapshot.ID) bool { return slices.Contains(x.o.Forget, id) })
	if errors.Is(err, repo.ErrWriteOnly) {
		return nil, fmt.Errorf("%w: %w", ErrRecords, p.Broken[0])
	}
	if err != nil {
		return nil, err
	}
	if p, err = x.o.Repo.LoadToPrune(ctx, x.id); err == nil && len(p.Broken) > 0 {
		err = p.Broken[0]
	}
	return p, err
}

func (x *run) tell(phase string, done, total int64) {
	x.o.Report.Emit(event.Progress{Phase: phase, FilesDone: done, FilesTotal: total})
}

func (x *run) note(format string, args ...any) {
	x.o.Report.Emit(event.Note{Text: fmt.Sprintf(format, args...)})
}

// Forgets reports whether snapshots go that were not forgotten before.
func (r *Result) Forgets() bool {
	return slices.ContainsFunc(r.Forgotten, func(f Forgotten) bool { return f.Why != Before })
}
