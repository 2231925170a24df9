package thaw

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/store"
)

const (
	leastPoll = 5 * time.Second
	mostPoll  = 10 * time.Minute
	// samples are how many objects are asked for one by one before a long listing is made: as long as none of them has come, hardly any has.
	samples    = 8
	fullEvery  = time.Hour // whatever the samples say
	fullPolls  = 30        // likewise, looks, where somebody has chosen how often to look
	fewObjects = 12        // of which each is asked for
	fewPages   = 4         // of a listing that needs no samples
	// grace is how long a store may take to show that it heard a request.
	grace = 15 * time.Minute
	// mostTries is how often an object may fail to be read although the store says that it is thawed.
	mostTries = 4
)

// survey looks at all that is not fetched yet.
func (e *engine) survey(ctx context.Context) error {
	order := make([]int32, 0, len(e.order))
	for _, i := range e.order {
		if !e.j.fetched.has(i) {
			order = append(order, i)
		}
	}
	if !e.reuse() {
		if err := e.look.look(ctx, order); err != nil {
			return err
		}
	}
	e.polled, e.fullLook = e.clock.Now(), e.clock.Now()
	for i := range e.items {
		it, f := &e.items[i], &e.seen[i]
		if e.j.fetched.has(int32(i)) {
			e.place(int32(i), brought)
			continue
		}
		it.class, it.cold, it.expires = f.class, f.cold, f.expires
		switch {
		case f.state == unseen:
			e.place(int32(i), gone)
			e.missing(int32(i))
		case !f.cold || f.state == thawed:
			e.learnOffset(it)
			e.place(int32(i), ready)
		case f.state == thawing:
			e.place(int32(i), coming)
		default:
			e.place(int32(i), wanted)
		}
	}
	e.first = 0
	e.held()
	return nil
}

// surveyAge is how old a survey may be that a Run starts with.
const surveyAge = 15 * time.Minute

// reuse takes over the survey that was given, if it will do.
func (e *engine) reuse() bool {
	s := e.o.Survey
	if s == nil || len(s.facts) != len(e.items) || !sameObjects(s.Needs, e.j.needs) {
		return false
	}
	if age := e.started.Sub(s.Taken); age < 0 || age > surveyAge {
		return false
	}
	for _, p := range e.j.pending {
		if !p.at.Before(s.Taken) {
			return false // it does not tell what came of this
		}
	}
	copy(e.seen, s.facts)
	e.look.classes = slices.Clone(s.classes)
	e.look.silent.Store(s.silent)
	return true
}

func sameObjects(a, b []Need) bool {
	return slices.EqualFunc(a, b, func(a, b Need) bool { return a.Object == b.Object })
}

// place gives an object its first stage.
func (e *engine) place(i int32, s stage) {
	e.items[i].stage = s
	e.at(s, e.items[i].class).add(&e.j.needs[i])
}

func (e *engine) missing(i int32) {
	e.emit(event.Problem{Path: e.j.needs[i].Object, Err: store.Fail("stat", e.j.needs[i].Object, store.ErrNotExist)})
}

// held takes what is ready as fetched, where nothing is to be fetched.
func (e *engine) held() {
	if !e.j.header.Hold || e.objects(ready) == 0 {
		return
	}
	var set ranges
	for i := range e.items {
		if e.items[i].stage == ready {
			set = set.with(int32(i))
			e.put(int32(i), brought)
		}
	}
	e.j.bring(set)
}

// settlePending finds out, from what was seen, which requests of a Run that died reached the store.
func (e *engine) settlePending() {
	now := e.clock.Now()
	var begun, kept, free []int32
	for _, p := range e.j.pending {
		it := &e.items[p.i]
		if it.stage == wanted && !p.extend && now.Sub(p.at).Abs() < grace {
			it.unsure = true // the answer to the next request tells
			continue
		}
		heard := true
		switch it.stage {
		case gone:
			heard = false
		case wanted: // it may have come and gone
			heard = now.Sub(p.at) > time.Duration(p.days)*day
		case ready:
			heard = it.cold
		case coming:
			it.asked = p.at.Unix()
		}
		switch {
		case !heard:
			free = append(free, p.i)
		case p.extend:
			kept = append(kept, p.i)
		default:
			begun = append(begun, p.i)
		}
	}
	e.j.answer(answers{set(begun), set(kept), set(free)})
}

// name returns the name of a class.
func (e *engine) name(class uint16) string {
	if int(class) < len(e.look.classes) {
		return e.look.classes[class]
	}
	return ""
}

// tier is how objects of a class are thawed now.
func (e *engine) tier(class uint16) *tiers {
	t := e.tiers[class]
	if t == nil {
		t = &tiers{now: e.j.header.Tier}
		if e.o.Region != nil {
			if c, ok := e.o.Region.Class(e.name(class)); ok {
				t.now = Nearest(c, t.now)
			}
		}
		e.tiers[class] = t
	}
	return t
}

func (e *engine) times(class uint16) price.Tier {
	return tierTimes(e.o.Region, e.name(class), e.tier(class).now)
}

// interval is how long to wait between two looks: a fiftieth of what the fastest tier that is under way takes at most.
func (e *engine) interval() time.Duration {
	if e.o.Poll > 0 {
		return e.o.Poll
	}
	d := mostPoll
	for class := range e.tally[coming] {
		if e.tally[coming][class].Objects > 0 {
			d = min(d, e.times(uint16(class)).Last/50)
		}
	}
	return max(d, leastPoll)
}

// poll looks at what is coming. Looks may fail for as long as Patience lasts.
func (e *engine) poll(ctx context.Context) error {
	now := e.clock.Now()
	e.polled = now
	list := e.list[:0]
	for _, i := range e.order {
		if e.items[i].stage == coming {
			list = append(list, i)
		}
	}
	e.list = list
	if len(list) == 0 {
		return nil
	}
	err := e.pollThese(ctx, list)
	switch {
	case err == nil:
		e.pollBad = time.Time{}
	case ctx.Err() != nil:
		return ctx.Err()
	case !store.IsTemporary(err):
		return err
	case e.pollBad.IsZero():
		e.pollBad = now
	case now.Sub(e.pollBad) > e.o.Patience:
		return err
	}
	if err != nil {
		e.noteOnce("poll", "could not look at what is thawed, and will try again: %v", err)
	}
	return nil
}

func (e *engine) pollThese(ctx context.Context, list []int32) error {
	if len(list) <= fewObjects {
		if err := e.look.headAll(ctx, list); err != nil {
			return err
		}
		e.update(list)
		return nil
	}
	now := e.clock.Now()
	every := fullEvery
	if e.o.Poll > 0 {
		every = min(every, fullPolls*e.o.Poll)
	}
	if !e.cheap && now.Sub(e.fullLook) < every {
		some := e.sample(list)
		if err := e.look.headAll(ctx, some); err != nil {
			return err
		}
		if !e.update(some) {
			return nil
		}
		list = slices.DeleteFunc(list, func(i int32) bool { return e.items[i].stage != coming })
	}
	before := e.look.requests()
	if err := e.look.look(ctx, list); err != nil {
		return err
	}
	after := e.look.requests()
	e.cheap = after.List-before.List <= fewPages && after.Head-before.Head <= fewObjects
	e.fullLook = now
	e.update(list)
	return nil
}

// sample picks some of list, in its order.
func (e *engine) sample(list []int32) []int32 {
	var picked []int32
	for k := range samples {
		from, to := k*len(list)/samples, (k+1)*len(list)/samples
		picked = append(picked, list[from+e.rand.IntN(to-from)])
	}
	return picked
}

// update takes in what a look told of objects that are coming, and reports whether anything has changed.
func (e *engine) update(list []int32) bool {
	changed := false
	for _, i := range list {
		e.take(i)
		changed = changed || e.items[i].stage != coming
	}
	e.held()
	return changed
}

// take takes in what a look told of one object.
func (e *engine) take(i int32) {
	it, f := &e.items[i], e.seen[i]
	it.looked = e.since()
	if f.state != unseen && (f.class != it.class || f.cold != it.cold) {
		e.reclass(i, f)
	}
	was := it.stage
	switch {
	case f.state == unseen:
		e.put(i, gone)
		e.missing(i)
	case !it.cold:
		it.expires = 0
		e.put(i, ready)
	case f.state == thawed:
		it.expires, it.kept = f.expires, false
		e.learnOffset(it)
		e.put(i, ready)
	case f.state == thawing:
		it.shown = true
		e.put(i, coming)
	case was == coming && !it.shown && it.asked != 0 && e.clock.Now().Unix()-it.asked < int64(grace/time.Second):
		// asked for a moment ago
	case was == wanted:
	default:
		e.put(i, wanted)
		e.emit(event.Decision{Text: fmt.Sprintf("%s is not thawed any more", e.j.needs[i].Object)})
	}
}

// reclass notes that an object was moved to another class. An object that looked hot and was not keeps being taken for cold.
func (e *engine) reclass(i int32, f fact) {
	it := &e.items[i]
	if f.class != it.class {
		e.emit(event.Decision{Text: fmt.Sprintf("%s is in class %s now", e.j.needs[i].Object, e.name(f.class))})
		at := it.stage
		one := Tally{}
		one.add(&e.j.needs[i])
		e.at(at, it.class).leave(one)
		it.class = f.class
		e.at(at, it.class).join(one)
		it.cold = f.cold
	}
	it.cold = it.cold || f.cold
}

// unread looks at objects that could not be read though they seemed to be thawed.
func (e *engine) unread(ctx context.Context, list []int32) error {
	slices.SortFunc(list, func(a, b int32) int { return strings.Compare(e.j.needs[a].Object, e.j.needs[b].Object) })
	if err := e.look.headAll(ctx, list); err != nil {
		if store.IsTemporary(err) && ctx.Err() == nil {
			for _, i := range list {
				e.put(i, coming) // the next look will tell
			}
			return nil
		}
		return err
	}
	expired := 0
	for _, i := range list {
		it := &e.items[i]
		looksHot := e.seen[i].state == noCopy && !e.seen[i].cold
		e.take(i)
		if it.stage == wanted {
			expired++
		}
		if it.stage != ready {
			continue
		}
		if it.tries++; it.tries >= mostTries {
			e.refuse(i, fmt.Errorf("the store says that it is thawed: %w", store.ErrCold))
			continue
		}
		if looksHot {
			it.cold = true // an archive tier that its class does not show
			e.put(i, wanted)
			continue
		}
		it.asked = 0
		e.put(i, coming) // looked at again after a while
	}
	if expired > 0 {
		e.note("%d copies expired while they were being fetched", expired)
	}
	return nil
}

// now is the store's time.
func (e *engine) storeNow() time.Time { return e.clock.Now().Add(e.offset) }

// syncClock asks for the store's time, now and then.
func (e *engine) syncClock(ctx context.Context) error {
	now := e.clock.Now()
	if e.o.StoreNow == nil || !e.offsetAt.IsZero() && now.Sub(e.offsetAt) < time.Hour {
		return nil
	}
	theirs, err := e.o.StoreNow(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		e.noteOnce("clock", "the store does not tell the time: %v", err)
	} else {
		e.offset = theirs.Sub(e.clock.Now())
	}
	e.offsetAt = now
	return nil
}

// learnOffset bounds the store's time by a copy that came just now: it expires in the future and, where nobody else has asked for it, not much later than it was asked to be kept.
func (e *engine) learnOffset(it *item) {
	if e.o.StoreNow != nil || it.expires == 0 {
		return
	}
	left := time.Unix(it.expires, 0).Sub(e.storeNow())
	if left < 0 {
		e.offset += left
	}
	if most := time.Duration(it.days+1) * day; it.days != 0 && it.stage == coming && left > most {
		e.offset += left - most
	}
}
