package replay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"firn/internal/event"
	"firn/internal/source"
	"firn/internal/thaw"
)

// ThawKey is the same for replays that can go on where another one stopped: of the same streams into the same target, in the words of the caller.
func (s *Streams) ThawKey(into string) string {
	h := sha256.New()
	id := s.o.Repo.ID()
	fmt.Fprintf(h, "replay 1 %x %s %s %q %q", id[:], s.o.Scope.ID(), s.o.Item.ID, s.o.Path, into)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// ThawOptions say how a replay has thawed what it needs.
type ThawOptions struct {
	Job *thaw.Job // about Needs.Objects, or more; what it is not about can be read as it is. The caller closes it
	// Run says how the job is run. Fetch and Feed are not to be set. Events gets what the job tells, and event.Thaw, where Options.Report is nil.
	Run thaw.RunOptions

	still bool // nothing is fetched between two slices: for tests whose time passes as bytes come
}

// Fits reports whether a job is about all that is needed, and has not brought it: a target can have lost what it had. What such a job needs for nothing any more it is told.
func Fits(job *thaw.Job, needs []thaw.Need) bool {
	wanted := make(map[string]bool, len(needs))
	for i := range needs {
		wanted[needs[i].Object] = true
	}
	var had []string
	for i, need := range job.Needs() {
		switch {
		case !wanted[need.Object]:
			if !job.Fetched(i) {
				had = append(had, need.Object)
			}
		case job.Fetched(i):
			return false
		}
		delete(wanted, need.Object)
	}
	if len(wanted) > 0 {
		return false
	}
	job.Brought(had...)
	return true
}

// Thaw replays what is missing from a store that has to thaw what it needs. It does as Run does, while it runs the job; its errors are those of both. The job is done
// when all is replayed that can be; cut off, Thaw goes on when it is run again with what is missing then.
func (s *Streams) Thaw(ctx context.Context, t source.Taker, missing []source.Link, o ThawOptions) (*Result, *thaw.Result, error) {
	p, err := s.plan(ctx, missing)
	if err != nil {
		return &Result{}, nil, err
	}
	s.begin(p.links)
	ctx, cancel := context.WithCancel(ctx)
	f := &feeding{s: s, t: t, p: p, gate: newGate(p, o.Job), result: s.result(p.links), slice: time.Minute, now: runClock(&o.Run).Now, still: o.still}
	for _, l := range p.links {
		l.gate = f.gate
	}
	stop := s.reportProgress()
	run, told := o.Run, o.Run.OnStatus
	run.Feed = f.feed
	if run.Events == nil {
		run.Events = s.o.Report
	}
	run.OnStatus = func(st thaw.Status) {
		run.Events.Emit(thawEvent(&st))
		if told != nil {
			told(st)
		}
	}
	res, err := thaw.Run(ctx, o.Job, run)
	cancel()
	f.all.Wait()
	stop()
	var left *thaw.LeftError
	if f.ended && f.err == nil && errors.As(err, &left) && left.Refused == 0 {
		err = nil // what is gone is damage, and named
	}
	if f.err != nil && f.ended {
		err = f.err
	}
	if f.ended && f.err == nil && err == nil && o.Job.Status().State == thaw.Active {
		err = o.Job.End(thaw.Done, runClock(&o.Run).Now())
	}
	return f.result, res, err
}

func runClock(o *thaw.RunOptions) thaw.Clock {
	if o.Clock != nil {
		return o.Clock
	}
	return thaw.WallClock{}
}

func thawEvent(s *thaw.Status) event.Thaw {
	return event.Thaw{
		Objects: s.Fetched.Objects + s.Left.Objects, Thawing: s.Thawing.Objects, Ready: s.Ready.Objects, Fetched: s.Fetched.Objects,
		BytesTotal: s.Fetched.Wanted + s.Left.Wanted, BytesFetched: s.Fetched.Wanted, Spent: float64(s.Spent), ETA: s.ETA,
	}
}

// feeding is one call of Thaw.
type feeding struct {
	s      *Streams
	t      source.Taker
	p      *plan
	gate   *gate
	slice  time.Duration // after which the job looks after its copies
	now    func() time.Time
	since  time.Time // of this slice
	still  bool
	all    sync.WaitGroup
	result *Result

	begun bool
	done  chan struct{} // closed when all links are
	ended bool          // seen by feed
	err   error         // of the links, once done is closed
}

// feed is thaw.RunOptions.Feed.
func (f *feeding) feed(ctx context.Context, ready []string, more bool) (thaw.Fed, error) {
	f.gate.set(ready, more)
	if !f.begun {
		f.begun, f.done = true, make(chan struct{})
		f.all.Go(func() {
			defer close(f.done)
			f.err = f.replay(ctx)
		})
	}
	f.since = f.now()
	slice := time.NewTimer(f.slice)
	defer slice.Stop()
	for {
		if fed, now := f.look(); now {
			return fed, nil
		}
		select {
		case <-f.gate.changed:
		case <-slice.C:
			f.since = time.Time{}
		case <-f.done:
			f.ended, f.since = true, time.Time{}
			fed, _ := f.look()
			fed.Ended, fed.Waits = true, ""
			return fed, f.err
		}
	}
}

// look collects what the job has to know, and reports whether it has to know it now.
func (f *feeding) look() (fed thaw.Fed, now bool) {
	g := f.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	fed = thaw.Fed{Waits: g.stuck(), Midway: g.midway}
	now = fed.Waits != "" || len(g.cold) > 0 || len(g.brought) > 0 || f.now().Sub(f.since) >= f.slice
	if now {
		fed.Passed, fed.Brought, fed.Cold = g.passed, g.brought, g.cold
		g.passed, g.brought, g.cold = nil, nil, nil
		if f.still {
			clear(g.open)
		}
	}
	return fed, now
}

// replay takes all links.
func (f *feeding) replay(ctx context.Context) error {
	for _, l := range f.p.links {
		if l.after == nil || l.after.failed == nil {
			if err := f.gate.begin(ctx, l); err != nil {
				return l.error(err, false)
			}
		}
		if err := f.s.take(ctx, f.t, l, f.result); err != nil {
			return err
		}
		f.gate.end(l)
	}
	return nil
}
