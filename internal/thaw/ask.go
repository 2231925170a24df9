package thaw

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/store"
)

const (
	batchSize  = 2000 // objects that are written down, then asked for, together
	mostDenied = 20   // refusals in a row, after which the store is taken to refuse all
	leastPause = time.Minute
	tooLate    = 5 * time.Minute // to keep a copy: it might have to be paid for again
	mostPause  = 15 * time.Minute
	askAge     = time.Hour // how old what is known of an object may be when a copy is asked for: others may have thawed it meanwhile, for longer
)

// window is how many wanted bytes may be coming and ready together.
func (e *engine) window() int64 {
	if e.j.header.Hold {
		return math.MaxInt64 / 2
	}
	speed, _ := e.meter.learnt()
	return Window(Link{Down: speed}, e.j.header.Days)
}

// request asks for what fits the window, in order of need.
func (e *engine) request(ctx context.Context) error {
	for e.blocked == nil && e.objects(wanted) > 0 && !e.clock.Now().Before(e.pauseUntil) {
		if e.overLimit() && !e.giveUpAgain() {
			e.blocked = e.overBudget
			return nil
		}
		if err := e.priceable(); err != nil { // objects were moved, or a tier was not there
			e.blocked = err
			return nil
		}
		groups, n := e.batch()
		if n == 0 {
			return nil
		}
		if looked, err := e.refresh(ctx, groups, askAge); err != nil {
			return err
		} else if looked {
			continue
		}
		if err := e.send(ctx, groups, n); err != nil {
			return err
		}
		e.tell()
	}
	return nil
}

// batch picks the next objects to be asked for. One at least may always be, if nothing else is under way.
func (e *engine) batch() (groups []group, n int) {
	copies := e.copies(coming)
	copies.join(e.copies(ready))
	copies.leave(e.behind)
	out, under := copies.Wanted, copies.Objects
	room := e.window()
	at := map[uint16]int{}
	skipped := false
	for i := e.first; int(i) < len(e.items) && n < batchSize; i++ {
		it := &e.items[i]
		if it.stage != wanted {
			if !skipped {
				e.first = i
			}
			continue
		}
		skipped = true
		w := e.j.needs[i].Wanted
		if out+w > room && under > 0 && i != e.awaited {
			if e.awaited < i {
				break
			}
			continue
		}
		out += w
		under++
		n++
		k, ok := at[it.class]
		if !ok {
			k = len(groups)
			at[it.class] = k
			groups = append(groups, group{class: e.name(it.class), tier: e.tier(it.class).now, days: e.j.header.Days})
		}
		groups[k].set = groups[k].set.with(i)
	}
	return groups, n
}

// since is how long the Run has lasted, in seconds.
func (e *engine) since() uint32 {
	return uint32(min(max(e.clock.Now().Sub(e.started)/time.Second, 0), math.MaxUint32))
}

// refresh looks at the objects of groups of which nothing has been heard for some time, and reports whether there were any. A request for less than what is left of a copy that
// somebody else has asked for would cut it short.
func (e *engine) refresh(ctx context.Context, groups []group, age time.Duration) (bool, error) {
	now := e.since()
	var list []int32
	for _, g := range groups {
		g.set.each(func(i int32) {
			if it := &e.items[i]; now > it.looked && now-it.looked > uint32(age/time.Second) {
				list = append(list, i)
			}
		})
	}
	if len(list) == 0 {
		return false, nil
	}
	slices.SortFunc(list, func(a, b int32) int { return strings.Compare(e.j.needs[a].Object, e.j.needs[b].Object) })
	err := e.look.look(ctx, list)
	switch {
	case err == nil:
		e.update(list)
	case ctx.Err() != nil || !store.IsTemporary(err):
		return false, err
	default:
		for _, i := range list {
			e.items[i].looked = now // what was known has to do
		}
	}
	return true, nil
}

// extend asks for copies to be kept that would expire before the link gets to them.
func (e *engine) extend(ctx context.Context) error {
	if e.j.header.Hold || e.objects(ready) == 0 {
		return nil
	}
	groups, n := e.expiring()
	if looked, err := e.refresh(ctx, groups, surveyAge); err != nil {
		return err
	} else if looked {
		groups, n = e.expiring()
	}
	if n == 0 {
		return nil
	}
	if e.extensionTooDear(groups) {
		e.noteOnce("extend", "%d copies will expire before they are fetched, and keeping them would pass the limit on costs", n)
		for _, g := range groups {
			g.set.each(func(i int32) { e.items[i].kept = true })
		}
		return nil
	}
	return e.send(ctx, groups, n)
}

// expiring returns the copies that are to be kept for longer, and how many they are.
func (e *engine) expiring() (groups []group, n int) {
	speed, overhead := e.meter.learnt()
	margin := extendMargin + max(e.o.Pass, seconds(10*overhead))
	press := min(margin+e.o.Pass+time.Hour, time.Duration(e.j.header.Days)*day/2)
	now := e.storeNow()
	var ahead float64
	type kind struct {
		class uint16
		days  int
	}
	at := map[kind]int{}
	for i := range e.items {
		it := &e.items[i]
		if it.stage != ready || !it.cold {
			continue
		}
		ahead += float64(e.j.needs[i].Wanted)
		left := time.Unix(it.expires, 0).Sub(now)
		turn := seconds(ahead/(Pessimism*speed)) + margin
		if it.expires == 0 || it.kept || left > press || left > turn || left < tooLate {
			continue
		}
		days := int(turn/day) + 1
		if time.Duration(days)*day <= left {
			continue
		}
		key := kind{it.class, days}
		k, ok := at[key]
		if !ok {
			k = len(groups)
			at[key] = k
			groups = append(groups, group{extend: true, class: e.name(it.class), tier: e.tier(it.class).now, days: days})
		}
		groups[k].set = groups[k].set.with(int32(i))
		n++
	}
	return groups, n
}

func (e *engine) extensionTooDear(groups []group) bool {
	if e.j.header.MaxCost == nil {
		return false
	}
	more := ledger{}
	for _, g := range groups {
		g.set.each(func(i int32) { more.extended(g.class, g.tier, e.j.needs[i].Size, g.days) })
	}
	return e.projected()+more.bill(e.o.Region, "", 0).Total() > e.limit()
}

// priceable reports, where there is a limit on costs, what has no price.
func (e *engine) priceable() error {
	h := &e.j.header
	if h.MaxCost == nil {
		return nil
	}
	for class := range e.tally[wanted] {
		if e.tally[wanted][class].Objects == 0 {
			continue
		}
		if _, err := e.o.Region.Thaw(e.name(uint16(class)), string(e.tier(uint16(class)).now), 1, 1, 1); err != nil {
			return err
		}
	}
	if line := e.o.Region.Egress(h.Route, 1, 0); line.Unknown && !h.Hold {
		return &price.UnknownError{What: "route", Name: h.Route, Of: e.o.Region.Key()}
	}
	return nil
}

// limit is the limit on costs; a hair more, since sums are rounded.
func (e *engine) limit() price.Money { return *e.j.header.MaxCost*(1+1e-9) + 1e-9 }

// projected is what the job will have cost when all that is left was thawed, once each, and fetched.
func (e *engine) projected() price.Money { return e.costWith(wanted, coming, ready) }

// inHand reports whether something that the job has paid for is there or on its way, and can be fetched within the limit.
func (e *engine) inHand() bool {
	paid := false
	for i := range e.items {
		it := &e.items[i]
		paid = paid || it.cold && (it.stage == ready || it.stage == coming) && e.j.paid.has(int32(i))
	}
	return paid && e.costWith(coming, ready) <= e.limit()
}

// costWith is what the job will have cost with what is in these stages.
func (e *engine) costWith(stages ...stage) price.Money {
	r, h := e.o.Region, &e.j.header
	asked := e.look.requests()
	e.j.ledger.Asked = Requests{List: e.asked0.List + asked.List, Head: e.asked0.Head + asked.Head}
	total := e.j.ledger.bill(r, h.Route, e.o.Out).Total()
	var left int64
	for _, s := range stages {
		for class, t := range e.tally[s] {
			if t.Objects == 0 {
				continue
			}
			if s == wanted {
				total += thawBill(r, e.name(uint16(class)), e.tier(uint16(class)).now, t.Objects, t.Bytes, h.Days).Total()
			}
			if !h.Hold {
				total += r.Get(e.name(uint16(class)), t.Gets, t.Wanted).Cost
				left += t.Wanted
			}
		}
	}
	if !h.Hold {
		total += r.Egress(h.Route, left, e.o.Out+e.j.ledger.out()).Cost
	}
	return total
}

// overLimit reports whether the job would cost more than it may, and notes by how much.
func (e *engine) overLimit() bool {
	if e.j.header.MaxCost == nil {
		return false
	}
	total := e.projected()
	if total <= e.limit() {
		return false
	}
	spent := e.j.ledger.bill(e.o.Region, e.j.header.Route, e.o.Out).Total()
	e.overBudget = &BudgetError{Max: *e.j.header.MaxCost, Spent: spent, Needed: total - spent, Currency: e.o.Region.Currency}
	return true
}

// giveUpAgain gives up objects that would have to be paid for once more, and reports whether the rest is within the limit.
func (e *engine) giveUpAgain() bool {
	for i := range e.items {
		if e.items[i].stage == wanted && e.j.paid.has(int32(i)) {
			e.refuse(int32(i), e.overBudget)
		}
	}
	kept := e.overBudget
	within := !e.overLimit()
	e.overBudget = kept
	return within
}

// order is one request that is to be made.
type order struct {
	i int32
	g *group
}

type reply struct {
	order
	answer store.Answer
	err    error
}

// sending is one batch on its way.
type sending struct {
	queue             []order
	begun, kept, free []int32
	good              time.Time // when something came through last
	stop              bool      // send no more of it, but for what may have been heard already
	fatal             error
}

// send writes down what is asked for, asks, and writes down what came of it. What is not known stays open in the journal.
func (e *engine) send(ctx context.Context, groups []group, n int) error {
	thawer := e.look.thawer
	if thawer == nil {
		return errors.New("the store cannot thaw")
	}
	e.j.ask(e.clock.Now(), groups)
	s := &sending{queue: make([]order, 0, n), good: e.clock.Now()}
	for k := range groups {
		groups[k].set.each(func(i int32) { s.queue = append(s.queue, order{i, &groups[k]}) })
	}
	slices.SortFunc(s.queue, func(a, b order) int { return int(a.i) - int(b.i) })
	e.deliver(ctx, thawer, s)
	s.leave(e)
	e.j.answer(answers{set(s.begun), set(s.kept), set(s.free)})
	e.held()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.fatal
}

func set(list []int32) (r ranges) {
	slices.Sort(list)
	for _, i := range list {
		r = r.with(i)
	}
	return r
}

// leave takes off the queue what was not sent yet.
func (s *sending) leave(e *engine) {
	unsure := s.queue[:0]
	for _, o := range s.queue {
		if e.items[o.i].unsure {
			unsure = append(unsure, o)
		} else {
			s.free = append(s.free, o.i)
		}
	}
	s.queue = unsure
}

// deliver makes the requests, several at once, and takes in the answers.
func (e *engine) deliver(ctx context.Context, thawer store.Thawer, s *sending) {
	workers := min(e.o.Workers, len(s.queue))
	orders, replies := make(chan order), make(chan reply, workers)
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for o := range orders {
				answer, err := thawer.Thaw(ctx, e.j.needs[o.i].Object, store.ThawOptions{Tier: o.g.tier, Days: o.g.days})
				replies <- reply{o, answer, err}
			}
		})
	}
	defer all.Wait()
	defer close(orders)
	for flying := 0; ; {
		select {
		case r := <-replies:
			flying--
			e.reply(ctx, s, r)
			continue
		default:
		}
		if s.stop {
			s.leave(e)
		}
		done := len(s.queue) == 0 || s.fatal != nil || ctx.Err() != nil
		if done && flying == 0 {
			return
		}
		if done || flying == workers {
			flying--
			e.reply(ctx, s, <-replies)
			continue
		}
		if wait := e.pace.take(e.clock.Now()); wait > 0 {
			_ = e.clock.Sleep(ctx, wait) // the end of ctx is seen above
			continue
		}
		orders <- s.queue[0]
		s.queue = s.queue[1:]
		flying++
	}
}

// reply takes in one answer.
func (e *engine) reply(ctx context.Context, s *sending, r reply) {
	i, it := r.i, &e.items[r.i]
	now := e.clock.Now()
	if unclear(r.err) || endsRun(r.err) {
		it.unsure = true
		s.queue = append(s.queue, r.order)
		e.pace.bad(now)
		if s.fatal == nil && (endsRun(r.err) || ctx.Err() != nil || now.Sub(s.good) > e.o.Patience) {
			s.fatal = r.err
		}
		return
	}
	unsure := it.unsure
	it.unsure, s.good = false, now
	if !errors.Is(r.err, store.ErrNoCapacity) {
		e.pace.good()
	}
	if r.err == nil || errors.Is(r.err, store.ErrThawing) || errors.Is(r.err, store.ErrNotCold) {
		e.denials = 0
	}
	paid := r.err == nil && r.answer == store.ThawBegun
	if !paid && unsure && !r.g.extend { // the first try was heard; its copy may even have come meanwhile
		paid = r.err == nil || errors.Is(r.err, store.ErrThawing)
	}
	switch {
	case paid:
		s.begun = append(s.begun, i)
	case r.err == nil:
		s.kept = append(s.kept, i)
	default:
		s.free = append(s.free, i)
	}
	switch {
	case r.err != nil && !errors.Is(r.err, store.ErrThawing):
		e.turnedDown(s, r)
	case r.err == nil && r.g.extend && r.answer == store.ThawExtended:
		e.res.Extended++
		it.expires = max(it.expires, e.storeNow().Add(time.Duration(r.g.days)*day).Unix())
	case r.err == nil && r.answer == store.ThawExtended && !paid: // there, whatever its listing tells
		it.expires = 0
		e.put(i, ready)
	default:
		e.thawBegun(r.order, paid, now)
	}
}

// unclear reports whether a request that failed so may have been heard, or will be heard if it is repeated.
func unclear(err error) bool {
	if errors.Is(err, store.ErrNoCapacity) {
		return false
	}
	return store.IsTemporary(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// endsRun reports whether an error concerns all requests, and will not pass by itself.
func endsRun(err error) bool { return errors.Is(err, store.ErrAuth) || errors.Is(err, store.ErrClock) }

func (e *engine) thawBegun(o order, paid bool, now time.Time) {
	i, it := o.i, &e.items[o.i]
	e.pauseNext = 0
	it.asked, it.shown, it.days, e.begun = now.Unix(), false, 0, now
	if paid {
		e.res.Thaws++
		it.days = uint16(o.g.days)
		if e.j.paid.has(i) {
			e.res.Again = append(e.res.Again, e.j.needs[i].Object)
			e.noteOnce("again", "copies expired before they were fetched, and are paid for once more: %s and perhaps others", e.j.needs[i].Object)
		}
	}
	e.put(i, coming)
}

// turnedDown takes in a refusal. None costs anything.
func (e *engine) turnedDown(s *sending, r reply) {
	i, it := r.i, &e.items[r.i]
	switch {
	case errors.Is(r.err, store.ErrNotCold):
		it.cold, it.expires = false, 0
		e.put(i, ready)
	case errors.Is(r.err, store.ErrNotExist):
		e.put(i, gone)
		e.missing(i)
	case r.g.extend:
		it.kept = true
		e.emit(event.Decision{Text: fmt.Sprintf("the copy of %s cannot be kept: %v", e.j.needs[i].Object, r.err)})
	case errors.Is(r.err, store.ErrTier):
		if !e.otherTier(it.class, r.g.tier) {
			e.refuse(i, r.err)
		}
		s.stop = true
	case errors.Is(r.err, store.ErrNoCapacity):
		e.noCapacity(it.class, r.g.tier)
		s.stop = true
	default:
		e.refuse(i, r.err)
		if e.denials++; e.denials >= mostDenied {
			e.blocked, s.stop = r.err, true
		}
	}
}

// otherTier chooses another tier for a class that does not have one, and reports whether there is any.
func (e *engine) otherTier(class uint16, lacks store.Tier) bool {
	t := e.tier(class)
	if t.now != lacks {
		return true // chosen already, for another object of the batch
	}
	t.tried = append(t.tried, lacks)
	for _, next := range instead(e.j.header.Tier) {
		if !slices.Contains(t.tried, next) {
			t.now = next
			how := "without any"
			if next != store.NoTier {
				how = fmt.Sprintf("with %q", next)
			}
			e.note("objects of class %s cannot be thawed with tier %q: trying %s", e.name(class), lacks, how)
			return true
		}
	}
	return false
}

// noCapacity waits or, where that was allowed, takes the next slower tier.
func (e *engine) noCapacity(class uint16, full store.Tier) {
	t := e.tier(class)
	if t.now != full {
		return
	}
	if e.o.Slower {
		if next := instead(full)[0]; next != store.NoTier && full != store.Bulk && !slices.Contains(t.tried, next) {
			t.now = next
			e.note("the store has no capacity for tier %q: asking with %q", full, next)
			return
		}
	}
	now := e.clock.Now()
	if now.Before(e.pauseUntil) {
		return
	}
	e.pauseNext = min(max(2*e.pauseNext, leastPause), mostPause)
	e.pauseUntil = now.Add(e.pauseNext)
	e.noteOnce("capacity", "the store has no capacity for tier %q now: asking again from time to time", full)
}
