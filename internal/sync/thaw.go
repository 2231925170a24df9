package sync

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"firn/internal/bucket"
	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/sync/ledger"
)

// cold reports whether an object has to be thawed before it can be read.
func (r *run) cold(o *object) bool {
	if o.Thawed || o.Class == "" {
		return false
	}
	if r.o.Region != nil {
		if c, ok := r.o.Region.Class(o.Class); ok {
			return c.Cold
		}
	}
	return strings.EqualFold(o.Class, "GLACIER") || strings.EqualFold(o.Class, "DEEP_ARCHIVE")
}

// samples is how many objects that a listing calls cold are asked about one by one, until one tells otherwise: some servers do not list what is thawed.
const samples = 16

// thawedAfterAll asks about an object whose thaw was asked for.
func (r *run) thawedAfterAll(ctx context.Context, o *object) bool {
	r.mu.Lock()
	ask := r.blind || r.sampled < samples
	r.sampled++
	r.mu.Unlock()
	if !ask {
		return false
	}
	info, err := r.o.From.Bucket.Head(ctx, o.Key)
	if err != nil || !info.Thawed || info.ETag != o.ETag {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.blind, o.Thawed = true, true
	return true
}

// freeze puts a job off whose object is cold.
func (r *run) freeze(j *job) error {
	r.add(func(res *Result) { res.Frozen++; res.FrozenSize += j.from.Size })
	r.tell(r.item(j, Thaw))
	return r.frozen.add(j)
}

// order is how the objects of one class are thawed.
type order struct {
	tier           string
	objects, bytes int64
	last           time.Duration
}

// again is how long after it was asked for a thaw is not asked for again, at least.
const again = 12 * time.Hour

// thaw asks for what is cold, and fetches it where it is to be waited for.
func (r *run) thaw(ctx context.Context) error {
	if r.frozen.n == 0 || r.o.Thaw == nil {
		return nil
	}
	orders, due, err := r.orders()
	if err != nil {
		return err
	}
	r.add(func(res *Result) {
		res.ThawCost = due.Cost
		res.Ready = r.ready
	})
	if r.o.DryRun {
		return nil
	}
	if due.Files > 0 {
		if err := r.agree(ctx, due); err != nil {
			return err
		}
		if err := r.ask(ctx, orders); err != nil {
			return err
		}
	}
	if !r.o.Thaw.Wait {
		return nil
	}
	poll := r.o.Thaw.Poll
	if poll <= 0 {
		poll = min(max(due.Last/20, time.Minute), 15*time.Minute)
	}
	for r.frozen.n > 0 {
		if err := r.o.Wait(ctx, poll); err != nil {
			return err
		}
		if err := r.fetchThawed(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pending reports whether a thaw that was asked for is still on its way.
func (r *run) pending(j *job, o *order) bool {
	return j.asked > 0 && r.since(j.asked) < max(o.last+o.last/2, again)
}

// orders plans how everything cold is thawed, and what that costs.
func (r *run) orders() (map[string]*order, Due, error) {
	orders := map[string]*order{}
	err := r.frozen.each(func(j *job) error {
		o := orders[j.from.Class]
		if o == nil {
			o = &order{tier: cmp.Or(r.o.Thaw.Tier, "Bulk")}
			r.tierOf(j.from.Class, o)
			orders[j.from.Class] = o
		}
		from := r.o.Now()
		if r.pending(j, o) {
			from = time.Unix(j.asked, 0)
		} else {
			o.objects++
			o.bytes += j.from.Size
		}
		if at := from.Add(o.last); o.last > 0 && at.After(r.ready) {
			r.ready = at
		}
		return nil
	})
	due := Due{Why: "thaw"}
	for class, o := range orders {
		due.Last = max(due.Last, o.last)
		due.Files += o.objects
		due.Bytes += o.bytes
		if r.o.Region == nil || o.objects == 0 {
			continue
		}
		if bill, err := r.o.Region.Thaw(class, o.tier, o.objects, o.bytes, float64(r.days()+1)); err == nil {
			due.Cost += bill.Total()
		}
		if r.dst != nil {
			due.Cost += r.o.Region.Egress(price.Direct, o.bytes, 0).Cost
		}
	}
	return orders, due, err
}

// tierOf chooses the tier of a class: the one that is asked for, where the class has it, else the cheapest.
func (r *run) tierOf(class string, o *order) {
	if r.o.Region == nil {
		return
	}
	c, ok := r.o.Region.Class(class)
	if !ok {
		return
	}
	t, ok := c.Tier(r.o.Thaw.Tier)
	if !ok || r.o.Thaw.Tier == "" {
		t = r.o.Region.Cheapest(class, 1000, 1<<30)
	}
	if t != nil {
		o.tier, o.last = t.Name, t.Last
	}
}

func (r *run) days() int { return cmp.Or(r.o.Thaw.Days, 7) }

// ask asks the store to thaw.
func (r *run) ask(ctx context.Context, orders map[string]*order) error {
	t, ok := r.o.From.Bucket.(bucket.Thawer)
	if !ok {
		return &PlaceError{Place: r.o.From.Bucket.Location(), Doing: "thaw", Err: errors.ErrUnsupported}
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(r.o.Connections)
	err := r.frozen.each(func(j *job) error {
		o := orders[j.from.Class]
		if r.pending(j, o) {
			return nil
		}
		g.Go(func() error {
			if err := t.Thaw(gctx, j.from.Key, o.tier, r.days()); err != nil {
				if gctx.Err() != nil {
					return gctx.Err()
				}
				return r.failed(r.name(j), err)
			}
			r.add(func(res *Result) { res.Asked++; r.streak = 0 })
			r.put(&ledger.Entry{Key: j.key, Size: -1, Stored: j.from.Size, ETag: j.from.ETag, Class: j.from.Class, Asked: r.o.Now().Unix()})
			return nil
		})
		return gctx.Err()
	})
	return cmp.Or(g.Wait(), err)
}

// lookAtOnce is how many frozen jobs are looked at together.
const lookAtOnce = 20_000

// fetchThawed looks what is thawed now and brings it; the rest stays frozen.
func (r *run) fetchThawed(ctx context.Context) error {
	was, left := r.frozen, &spill{}
	r.frozen = left
	defer was.close()
	err := r.workers(ctx, func(ctx context.Context, _ *errgroup.Group) error {
		var some []*job
		flush := func() error {
			err := r.lookAgain(ctx, some, left)
			some = some[:0]
			return err
		}
		err := was.each(func(j *job) error {
			if some = append(some, j); len(some) == lookAtOnce {
				return flush()
			}
			return nil
		})
		return cmp.Or(err, flush())
	})
	r.o.Events.Emit(event.Thaw{Objects: was.n, Thawing: left.n, Fetched: was.n - left.n, BytesTotal: was.bytes})
	return err
}

// lookAgain lists what lies between the first and the last key of some jobs, and hands on those that can be read now.
func (r *run) lookAgain(ctx context.Context, some []*job, left *spill) error {
	if len(some) == 0 {
		return nil
	}
	slices.SortFunc(some, func(a, b *job) int { return strings.Compare(a.from.Key, b.from.Key) })
	first, at := some[0].from.Key, 0
	enough := errors.New("enough")
	err := r.o.From.Bucket.List(ctx, r.o.From.Prefix, first[:len(first)-1], func(o bucket.Object) error {
		for at < len(some) && some[at].from.Key < o.Key {
			at++ // gone: the next run will tell
			r.add(func(res *Result) { res.Frozen-- })
		}
		if at == len(some) {
			return enough
		}
		j := some[at]
		if j.from.Key != o.Key {
			return nil
		}
		at++
		size := j.from.Size
		if j.from = (&object{o, j.key}); r.cold(j.from) && !r.thawedAfterAll(ctx, j.from) {
			return left.add(j)
		}
		r.add(func(res *Result) { res.Frozen--; res.FrozenSize -= size })
		return r.give(ctx, j)
	})
	if err != nil && !errors.Is(err, enough) {
		return &PlaceError{Place: r.o.From.Bucket.Location(), Doing: "list", Err: err}
	}
	return nil
}
