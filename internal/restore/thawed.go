package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"firn/internal/event"
	"firn/internal/glob"
	"firn/internal/state"
	"firn/internal/thaw"
)

// Packs is what a restore wants of the store, in the order of first need, as package thaw takes it.
func Packs(plan *Needs) []thaw.Need {
	needs := make([]thaw.Need, len(plan.Packs))
	for i := range plan.Packs {
		p := &plan.Packs[i]
		needs[i] = thaw.Need{Object: p.Object, Class: p.Class, Size: p.Size, Wanted: p.Download, Gets: p.Requests}
	}
	return needs
}

// Left is Packs without what an earlier Thaw of the same restore has brought, by the state that it was given.
func Left(s *state.State, o *Options, plan *Needs) ([]thaw.Need, error) {
	p, err := lookAtPasses(s, passesOf(o), o)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return Packs(plan), nil
	}
	defer p.Close()
	var left []thaw.Need
	for _, n := range Packs(plan) {
		if !p.Has(n.Object) || p.NeedsAgain(n.Object) {
			left = append(left, n)
		}
	}
	return left, nil
}

// Forget drops what the state has of the passes of a restore: where it was completed without Thaw, or where what they have brought is gone.
func Forget(s *state.State, o *Options) error {
	p, err := lookAtPasses(s, passesOf(o), o)
	if p != nil {
		p.Forget()
		p.Close()
	}
	return err
}

// ThawKey is the same for restores that can go on where another one stopped: of the same choice from the same snapshot, into the same folder, in the same way.
func ThawKey(o *Options) string {
	h := sha256.New()
	to := o.Target
	if abs, err := filepath.Abs(to); err == nil {
		to = abs
	}
	id := o.Repo.ID()
	fmt.Fprintf(h, "1 %x %s %s %q %q %d %t %t %t %t %t", id[:], o.Scope.ID(), o.Snapshot.ID, o.Path, to,
		o.Overwrite, o.Delete, o.NoOwner, o.OwnerByName, o.NoXattrs, o.KeepPartial)
	for _, set := range []*glob.Set{o.Include, o.Exclude} {
		fmt.Fprint(h, " set")
		if set.Empty() {
			continue
		}
		for _, r := range set.Rules() {
			fmt.Fprintf(h, " %q %t", r.Pattern, r.Negated)
		}
	}
	if o.Paths != nil {
		fmt.Fprintf(h, " paths %x", o.Paths.sum())
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// passesOf is the name of the journal of a restore.
func passesOf(o *Options) string { return "restore-" + ThawKey(o)[:16] }

// ThawOptions say how a restore has thawed what it needs.
type ThawOptions struct {
	Plan  *Needs       // of the restore; nil: it is planned first
	State *state.State // keeps what passes have done; nil: this process does
	Job   *thaw.Job    // about Packs, or what is Left of them. Its Key should be ThawKey, so that it is found again. The caller closes it
	// Run says how the job is run. Fetch is not to be set. Events gets what the job and the restore tell, and event.Thaw, where Options.Report is nil.
	Run thaw.RunOptions
}

// Thawed is how far a restore with thawing has come.
type Thawed struct {
	Result *Result      // of all passes, those of earlier processes included
	Thaw   *thaw.Result // nil: it did not begin
	Done   bool         // everything is restored, but what the Result says failed
}

// Thaw restores from a store that has to thaw what is needed: it runs the job, and makes a pass whenever enough can be read. Run again with the same Options,
// State and Job it goes on, at whatever point it was cut off: nothing that it has brought is read, fetched or paid for again.
//
// Errors are those of Run and of thaw.Run, and *thaw.BusyError where another process is at the same restore. *ColdError: the job has ended and packs are missing nevertheless, since something was lost from the target or the
// state; Left knows them.
func Thaw(ctx context.Context, o Options, t ThawOptions) (*Thawed, error) {
	if t.Plan == nil {
		plan, err := Plan(ctx, o)
		if err != nil {
			return nil, err
		}
		t.Plan = plan
	}
	if t.Run.Clock == nil {
		t.Run.Clock = thaw.WallClock{}
	}
	x := &thawing{o: o, t: t}
	lock, err := x.lock()
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	if x.p, err = OpenPasses(t.State, passesOf(&o), &o, t.Plan); err != nil {
		return nil, err
	}
	defer x.p.Close()
	return x.run(ctx)
}

// lock keeps another process from the passes of this restore. A job that was made at the same moment as that one's, and has asked for nothing, ends.
func (x *thawing) lock() (*state.Lock, error) {
	if x.t.State == nil {
		return &state.Lock{}, nil
	}
	now := x.t.Run.Clock.Now()
	sum := sha256.Sum256([]byte(passesOf(&x.o)))
	lock, err := x.t.State.Lock(state.SourceID(sum[:8]), now)
	var held *state.HeldError
	if !errors.As(err, &held) {
		return lock, err
	}
	busy := &thaw.BusyError{ID: x.t.Job.Header().ID, PID: held.PID, Since: held.Since}
	if s := x.t.Job.Status(); s.State == thaw.Active && s.Requested.Objects == 0 {
		return nil, errors.Join(busy, x.t.Job.End(thaw.Cancelled, now))
	}
	return nil, busy
}

// thawing is one call of Thaw.
type thawing struct {
	o Options
	t ThawOptions
	p *Passes
}

func (x *thawing) run(ctx context.Context) (*Thawed, error) {
	ro := x.t.Run
	if x.o.Report == nil {
		x.o.Report = ro.Events
	}
	report, told := x.o.Report, ro.OnStatus
	ro.Fetch, ro.Events = x.fetch, report
	ro.OnStatus = func(s thaw.Status) {
		report.Emit(thawEvent(&s))
		if told != nil {
			told(s)
		}
	}
	x.tellBrought() // a process may have ended between the two journals
	res, err := thaw.Run(ctx, x.t.Job, ro)
	out := &Thawed{Result: x.p.Result(), Thaw: res, Done: x.p.Done()}
	var left *thaw.LeftError
	var ended *thaw.EndedError
	switch {
	case errors.As(err, &left) && left.Refused == 0: // what is gone is damage
	case errors.As(err, &ended) && ended.State == thaw.Done:
	case err != nil:
		return out, err
	case res.Status.Left.Objects > 0:
		return out, nil
	}
	if !out.Done {
		cold, lerr := x.pass(ctx, nil, true)
		out.Result, out.Done = x.p.Result(), x.p.Done()
		if lerr != nil {
			return out, lerr
		}
		if err := x.end(); err != nil { // what is left is gone; what is needed once more is for another job
			return out, err
		}
		if len(cold) > 0 {
			out.Result.Cold = cold
			return out, &ColdError{Objects: cold, Err: errNotThawed}
		}
	}
	if out.Done {
		x.p.Forget()
	}
	return out, nil
}

// end ends a job that can do no more.
func (x *thawing) end() error {
	if x.t.Job.Status().State != thaw.Active {
		return nil
	}
	return x.t.Job.End(thaw.Done, x.t.Run.Clock.Now())
}

var errNotThawed = errors.New("not in the job that has ended")

func thawEvent(s *thaw.Status) event.Thaw {
	return event.Thaw{
		Objects: s.Fetched.Objects + s.Left.Objects, Thawing: s.Thawing.Objects, Ready: s.Ready.Objects, Fetched: s.Fetched.Objects,
		BytesTotal: s.Fetched.Wanted + s.Left.Wanted, BytesFetched: s.Fetched.Wanted, Spent: float64(s.Spent), ETA: s.ETA,
	}
}

// fetch is a pass over what the job says can be read.
func (x *thawing) fetch(ctx context.Context, objects []string) ([]string, error) {
	cold, err := x.pass(ctx, objects, x.lastWith(objects))
	if err != nil {
		x.tellBrought() // of a pass that ended early
	}
	return cold, err
}

// tellBrought lets the job know what passes have brought, so that it does not ask for that again.
func (x *thawing) tellBrought() {
	var had []string
	for _, n := range x.t.Job.Needs() {
		if x.p.Has(n.Object) && !x.p.NeedsAgain(n.Object) {
			had = append(had, n.Object)
		}
	}
	x.t.Job.Brought(had...)
}

func (x *thawing) pass(ctx context.Context, objects []string, last bool) ([]string, error) {
	o := x.o
	o.Passes, o.Only, o.Last = x.p, objects, last
	res, err := Run(ctx, o)
	if err != nil {
		return nil, err
	}
	return res.Cold, nil
}

// lastWith reports whether nothing is left after these packs.
func (x *thawing) lastWith(objects []string) bool {
	now := make(map[string]struct{}, len(objects))
	for _, name := range objects {
		now[name] = struct{}{}
	}
	for i := range x.t.Plan.Packs {
		name := x.t.Plan.Packs[i].Object
		if _, ok := now[name]; !ok && (!x.p.Has(name) || x.p.NeedsAgain(name)) {
			return false
		}
	}
	return true
}
