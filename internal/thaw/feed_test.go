package thaw

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"firn/internal/store"
)

// stroll reads objects in an order of its own, each for as long as the link takes, as a stream does.
type stroll struct {
	s      *simStore
	order  []string // with repeats
	at     int
	slice  time.Duration // of a call
	each   time.Duration // of a read
	broken string        // cannot be read, once
	waits  map[string]int
	passed []string
	midway bool
}

func (r *stroll) feed(ctx context.Context, ready []string, more bool) (Fed, error) {
	open := map[string]bool{}
	for _, name := range ready {
		open[name] = true
	}
	begun := time.Now()
	fed := Fed{Midway: r.midway}
	for r.at < len(r.order) && time.Since(begun) < r.slice {
		name := r.order[r.at]
		if !open[name] {
			fed.Waits = name
			r.waits[name]++
			return fed, nil
		}
		if name == r.broken {
			r.broken = ""
			fed.Cold = []string{name}
			fed.Waits = name
			return fed, nil
		}
		if err := sleep(ctx, r.each); err != nil {
			return fed, err
		}
		if r.s.state(r.s.find(name)).State != store.Thawed {
			fed.Cold, fed.Waits = []string{name}, name
			return fed, nil
		}
		r.at++
		if !slices.Contains(r.order[r.at:min(len(r.order), r.at+1)], name) && slices.Index(r.order[r.at:], name) < 0 {
			fed.Passed = append(fed.Passed, name)
			r.passed = append(r.passed, name)
		}
	}
	if r.at == len(r.order) {
		for _, name := range r.order {
			r.s.find(name).fetched = true
		}
		fed.Brought, fed.Ended = slices.Compact(slices.Sorted(slices.Values(r.order))), true
	}
	return fed, nil
}

// TestFeed: a stream longer than two windows, which needs its first objects once more at its end, thaws each object once and keeps what it has to.
func TestFeed(t *testing.T) {
	try(t, 1500, "GLACIER", func(w *trial) {
		r := &stroll{s: w.s, slice: 10 * time.Minute, each: 100 * time.Second, waits: map[string]int{}, midway: true, broken: w.log.needs[700].Object}
		for _, n := range w.log.needs {
			r.order = append(r.order, n.Object)
		}
		r.order = append(r.order, r.order[:50]...)
		w.o.Fetch, w.o.Feed = nil, r.feed
		j := w.job()
		res := w.must(w.run(j))
		w.all(1500)
		if res.Status.State != Done || len(res.Again) != 0 || res.Extended < 50 || res.Status.Left.Objects != 0 || res.Status.Fetched.Objects != 1500 {
			w.Errorf("%+v", res.Status)
		}
		var gets int64
		for _, g := range j.ledger.Gets {
			gets += g.Objects
		}
		if gets != 1500 {
			w.Errorf("%d objects were counted as fetched", gets)
		}
		w.Logf("%d kept for longer, %d calls", res.Extended, res.Passes)
	})
}

// TestFeedEnds: who cannot go on hears why.
func TestFeedEnds(t *testing.T) {
	try(t, 30, "GLACIER", func(w *trial) {
		r := &stroll{s: w.s, slice: 10 * time.Minute, each: time.Second, waits: map[string]int{}}
		for _, n := range w.log.needs {
			r.order = append(r.order, n.Object)
		}
		w.o.Fetch, w.o.Feed = nil, r.feed
		w.o.NoWait = true
		j := w.job()
		res := w.must(w.run(j))
		if res.Status.Thawing.Objects != 30 || res.Status.State != Active || r.at != 0 {
			w.Errorf("%+v", res.Status)
		}
		time.Sleep(24 * time.Hour)
		res = w.must(w.run(j))
		if res.Status.State != Done || r.at != 30 {
			w.Errorf("%+v", res.Status)
		}
	})
	try(t, 30, "GLACIER", func(w *trial) {
		r := &stroll{s: w.s, slice: 10 * time.Minute, each: time.Second, waits: map[string]int{}}
		for _, n := range w.log.needs {
			r.order = append(r.order, n.Object)
		}
		refused := w.log.needs[7].Object
		w.s.faults.denied = func(name string) error {
			if name == refused {
				return store.ErrDenied
			}
			return nil
		}
		w.o.Fetch, w.o.Feed = nil, r.feed
		res, err := w.run(w.job())
		var left *LeftError
		if !errors.As(err, &left) || left.Refused != 1 || !errors.Is(err, store.ErrDenied) || r.at != 7 || res.Status.State != Active {
			w.Errorf("%v after %d: %+v", err, r.at, res.Status)
		}
	})
	for name, order := range map[string][]string{"unknown": {"data/nobody"}} {
		try(t, 3, "GLACIER", func(w *trial) {
			r := &stroll{s: w.s, slice: time.Minute, each: time.Second, waits: map[string]int{}, order: order}
			w.o.Fetch, w.o.Feed = nil, r.feed
			if _, err := w.run(w.job()); err == nil {
				w.Error(name)
			}
		})
	}
}

// TestPassed: what was read and not brought costs, also when the job is taken up again, and is counted once more when it is read once more.
func TestPassed(t *testing.T) {
	s, _ := openState(t)
	now := time.Unix(1_900_000_000, 0)
	j := create(t, s, header("k"), packs(1, 10, "GLACIER", 100), now)
	id := j.Header().ID
	count := func(j *Job) (n int64) {
		for _, g := range j.ledger.Gets {
			n += g.Objects
		}
		return n
	}
	j.pass(ranges{{0, 4}})
	j.bring(ranges{{2, 6}})
	if got := count(j); got != 6 {
		t.Errorf("%d", got)
	}
	j.Close()
	again := func() *Job {
		t.Helper()
		j, err := Load(s, id, now)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j = again()
	if got := count(j); got != 6 || j.Fetched(0) || !j.Fetched(3) || !j.Fetched(5) {
		t.Errorf("%d", got)
	}
	j.pass(ranges{{0, 1}})
	for range compactAt {
		j.tell()
	}
	j.Close()
	j = again() // writes the log anew
	j.Close()
	j = again()
	defer j.Close()
	j.bring(ranges{{0, 10}})
	if got := count(j); got != 7+4 {
		t.Errorf("%d", got)
	}
}
