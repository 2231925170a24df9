package thaw

import (
	"cmp"
	"context"
	"slices"
	"time"
)

const (
	overheadShare = 10 // a pass is worth it that takes so many times its overhead
	mostIdle      = 15 * time.Minute
	leastWorth    = time.Minute // of download
)

// choose returns what to fetch now, in order of need; nothing if it is better to wait for more.
func (e *engine) choose() []int32 {
	have := e.sum(ready)
	now := e.clock.Now()
	if have.Objects == 0 {
		e.idle = time.Time{}
		return nil
	}
	if e.idle.IsZero() {
		e.idle = now
	}
	speed, overhead := e.meter.learnt()
	worth := speed * max(overheadShare*overhead, leastWorth.Seconds())
	most := max(speed*max(e.o.Pass.Seconds(), overheadShare*overhead), worth)
	urgent := e.urgent()
	waits := !e.o.NoWait && (e.objects(coming) > 0 || e.objects(wanted) > 0 && e.blocked == nil && now.Before(e.pauseUntil))
	switch {
	case len(urgent) > 0, !waits, float64(have.Wanted) >= worth:
	case e.objects(wanted) > 0 && e.copies(ready).Wanted >= e.window()/4: // it is in the way of more
	case now.Sub(e.idle) >= max(mostIdle, seconds(2*overheadShare*overhead)):
	default:
		return nil
	}
	e.idle = time.Time{}
	return e.pick(urgent, e.tight(), most)
}

// urgent returns what is ready and expires soon, the soonest first.
func (e *engine) urgent() []int32 {
	var list []int32
	soon := e.storeNow().Add(extendMargin + 2*e.o.Pass).Unix()
	for i := range e.items {
		if it := &e.items[i]; it.stage == ready && it.expires != 0 && it.expires < soon {
			list = append(list, int32(i))
		}
	}
	slices.SortStableFunc(list, func(a, b int32) int { return cmp.Compare(e.items[a].expires, e.items[b].expires) })
	return list
}

// tight reports whether copies might expire if what needs no thawing were fetched before them.
func (e *engine) tight() bool {
	speed, _ := e.meter.learnt()
	copies := e.copies(ready)
	if copies.Objects == 0 {
		return false
	}
	until := e.storeNow().Add(seconds(float64(copies.Wanted)/(Pessimism*speed)) + extendMargin + 2*e.o.Pass).Unix()
	for i := range e.items {
		if it := &e.items[i]; it.stage == ready && it.expires != 0 && it.expires < until {
			return true
		}
	}
	return false
}

// pick chooses what is urgent, then, if it is tight, copies, and then all that is ready, in order of need; of at most so many bytes, but one object at least.
func (e *engine) pick(urgent []int32, tight bool, most float64) []int32 {
	var pass []int32
	chosen := make(map[int32]bool)
	sum := 0.0
	add := func(i int32) bool {
		if chosen[i] {
			return true
		}
		if sum += float64(e.j.needs[i].Wanted); sum > most && len(pass) > 0 {
			return false
		}
		chosen[i] = true
		pass = append(pass, i)
		return true
	}
	more := true
	for _, i := range urgent {
		if more = add(i); !more {
			break
		}
	}
	for _, copies := range []bool{true, false} {
		if copies && !tight {
			continue
		}
		for i := 0; more && i < len(e.items); i++ {
			if it := &e.items[i]; it.stage == ready && (it.cold || !copies) {
				more = add(int32(i))
			}
		}
	}
	slices.Sort(pass)
	return pass
}

// fetch has a pass fetched.
func (e *engine) fetch(ctx context.Context, pass []int32) error {
	names := make([]string, len(pass))
	for k, i := range pass {
		names[k] = e.j.needs[i].Object
	}
	begun := e.clock.Now()
	cold, err := e.o.Fetch(ctx, names)
	e.res.Passes++
	missed := e.indexes(cold)
	var got ranges
	var bytes int64
	for _, i := range pass {
		if e.j.fetched.has(i) || err == nil && !missed[i] {
			delete(missed, i)
			if !e.j.fetched.has(i) {
				got = got.with(i)
			}
			bytes += e.j.needs[i].Wanted
			e.put(i, brought)
		}
	}
	e.j.bring(got)
	if err != nil {
		return err
	}
	e.meter.pass(bytes, e.clock.Now().Sub(begun))
	if len(missed) == 0 {
		return nil
	}
	list := make([]int32, 0, len(missed))
	for _, i := range pass {
		if missed[i] {
			list = append(list, i)
		}
	}
	return e.unread(ctx, list)
}

// indexes finds objects by their names. Those that nobody asked for are left out.
func (e *engine) indexes(names []string) map[int32]bool {
	out := make(map[int32]bool, len(names))
	for _, name := range names {
		if i, ok := e.j.index(name); ok {
			out[i] = true
		}
	}
	return out
}
