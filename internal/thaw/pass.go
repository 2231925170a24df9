package thaw

import (
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
	case e.objects(wanted) > 0 && have.Wanted >= e.window()/4: // it is in the way of more
	case now.Sub(e.idle) >= max(mostIdle, seconds(2*overheadShare*overhead)):
	default:
		return nil
	}
	e.idle = time.Time{}
	return e.pick(urgent, most)
}

// urgent returns what is ready and expires soon.
func (e *engine) urgent() []int32 {
	var list []int32
	soon := e.storeNow().Add(extendMargin + 2*e.o.Pass).Unix()
	for i := range e.items {
		if it := &e.items[i]; it.stage == ready && it.expires != 0 && it.expires < soon {
			list = append(list, int32(i))
		}
	}
	return list
}

// pick chooses what is urgent and then what is needed first, of at most so many bytes, but one object at least.
func (e *engine) pick(urgent []int32, most float64) []int32 {
	var pass []int32
	sum := 0.0
	add := func(i int32) bool {
		sum += float64(e.j.needs[i].Wanted)
		if sum > most && len(pass) > 0 {
			return false
		}
		pass = append(pass, i)
		return true
	}
	for _, i := range urgent {
		if !add(i) {
			break
		}
	}
	chosen := len(pass)
	for i := range e.items {
		if e.items[i].stage != ready {
			continue
		}
		if _, twice := slices.BinarySearch(pass[:chosen], int32(i)); !twice && !add(int32(i)) {
			break
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
