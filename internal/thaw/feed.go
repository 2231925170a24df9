package thaw

import (
	"context"
	"fmt"
	"time"
)

// Fed is how far somebody has come who reads objects in an order of his own, and while others are being thawed.
type Fed struct {
	// Passed are objects that he has left behind. They are wanted again if he has to start over, so they count as fetched in this Run only, but for what they cost.
	Passed []string
	// Brought are objects that nobody needs any more, as Job.Brought has it. They may have been Passed before.
	Brought []string
	// Cold are objects that could not be read as they were; they are looked at and, where they must, thawed again.
	Cold []string
	// Waits is the object without which he cannot go on; empty: he goes on meanwhile, or has ended.
	Waits string
	// Midway tells that what is Passed and not Brought is lost if he ends now.
	Midway bool
	Ended  bool
}

// feedStep is step where objects are not fetched but fed.
func (e *engine) feedStep(ctx context.Context) (done bool, err error) {
	names := e.readable()
	begun := e.clock.Now()
	fed, err := e.o.Feed(ctx, names, e.comes())
	e.res.Passes++
	e.leaveBehind(&fed, e.clock.Now().Sub(begun))
	if err != nil || fed.Ended {
		return true, err
	}
	if err := e.chilled(ctx, fed.Cold); err != nil {
		return false, err
	}
	return e.await(ctx, &fed)
}

// readable names what can be read, in order of need. What is gone is part of it: who reads it finds out.
func (e *engine) readable() []string {
	var names []string
	for i := range e.items {
		if s := e.items[i].stage; s == ready || s == gone {
			names = append(names, e.j.needs[i].Object)
		}
	}
	return names
}

// comes reports whether more can be read after some time, even if nothing is left behind until then.
func (e *engine) comes() bool {
	return e.objects(coming) > 0 || e.objects(wanted) > 0 && e.blocked == nil && e.clock.Now().Before(e.pauseUntil)
}

// leaveBehind takes in what was read.
func (e *engine) leaveBehind(fed *Fed, took time.Duration) {
	var bytes int64
	take := func(names []string) (list []int32) {
		for i := range e.indexes(names) {
			list = append(list, i)
			if e.items[i].stage != brought {
				bytes += e.j.needs[i].Wanted
				e.put(i, brought)
			}
		}
		return list
	}
	e.j.pass(set(take(fed.Passed)))
	e.j.bring(set(take(fed.Brought)))
	e.meter.pass(bytes, took)
}

// chilled looks at objects that could not be read.
func (e *engine) chilled(ctx context.Context, names []string) error {
	var list []int32
	named := e.indexes(names)
	if len(named) == 0 {
		return nil
	}
	now := e.storeNow().Unix()
	for i := range e.items { // what has expired beside them would be found out one by one, each with a wait of its own
		if it := &e.items[i]; it.stage == ready && (named[int32(i)] || it.cold && it.expires != 0 && it.expires <= now) {
			list = append(list, int32(i))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return e.unread(ctx, list)
}

// await does what is to be done until something can be fed again.
func (e *engine) await(ctx context.Context, fed *Fed) (done bool, err error) {
	e.behind, e.awaited = Tally{}, -1
	if fed.Waits == "" {
		if e.clock.Now().Sub(e.polled) < e.interval() {
			return false, nil
		}
		return false, e.poll(ctx)
	}
	i, ok := e.j.index(fed.Waits)
	if !ok {
		return false, fmt.Errorf("object %q is waited for, and the job is not about it", fed.Waits)
	}
	e.standing(i, fed.Midway)
	if fed.Midway || !e.comes() {
		e.awaited = i // whatever else is there: nothing goes on without it
	}
	if err := e.request(ctx); err != nil {
		return false, err
	}
	switch e.items[i].stage {
	case ready, gone:
		return false, nil
	case refused:
		return true, e.refusedOne(e.j.needs[i].Object)
	case brought:
		e.put(i, coming) // somebody starts over: the next look will tell
	case wanted:
		if e.blocked != nil {
			return true, e.refusedAll()
		}
	}
	if e.o.NoWait && !fed.Midway {
		return true, nil
	}
	if err := e.clock.Sleep(ctx, e.untilNext()); err != nil {
		return false, err
	}
	return false, e.poll(ctx)
}

// refusedOne is why nothing goes on where an object cannot be had.
func (e *engine) refusedOne(object string) error {
	err := &LeftError{Refused: int(e.objects(refused)), Missing: int(e.objects(gone))}
	for _, r := range e.res.Refused {
		if r.Object == object {
			err.First = r.Err
		}
	}
	return err
}

// refusedAll is why nothing goes on where nothing more is asked for.
func (e *engine) refusedAll() error {
	if e.overBudget != nil {
		return e.overBudget
	}
	return &LeftError{Refused: int(e.objects(refused) + e.objects(wanted)), Missing: int(e.objects(gone)), First: e.blocked}
}

// standing finds out which copies are kept only since they are needed once more, further on: they do not stand in the way of what is waited for.
func (e *engine) standing(waits int32, midway bool) {
	if !midway {
		return
	}
	for i := range waits {
		if it := &e.items[i]; it.stage == ready && Cold(e.o.Region, e.name(it.class)) {
			e.behind.add(&e.j.needs[i])
		}
	}
}

// pass writes down that objects were read, for what that costs.
func (j *Job) pass(list ranges) {
	if len(list) == 0 {
		return
	}
	j.append(encodeSets(recPassed, list))
	j.passedBy(list)
}

func (j *Job) passedBy(list ranges) {
	list.each(func(i int32) {
		if j.fetched.has(i) {
			return
		}
		j.passed.put(i)
		j.ledger.fetched(&j.needs[i])
	})
}
