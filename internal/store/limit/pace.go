package limit

import (
	"context"
	"sync"
	"time"

	"firn/internal/units"
)

// Rate says how many bytes a second may pass at a moment, 0 for any number, and when that changes next; zero: never. It is asked at each change and now and then between.
type Rate func(now time.Time) (perSecond units.Size, changes time.Time)

// Always is a rate that stays. It returns nil, which is no limit, where perSecond is 0.
func Always(perSecond units.Size) Rate {
	if perSecond <= 0 {
		return nil
	}
	return func(time.Time) (units.Size, time.Time) { return perSecond, time.Time{} }
}

// burst is the longest piece that passes at once, so that waits stay short: a tenth of a second, within these bounds.
const (
	minBurst = 1 << 10
	maxBurst = 128 << 10
)

func burstOf(perSecond units.Size) int {
	if perSecond <= 0 {
		return maxBurst
	}
	return int(min(max(perSecond/10, minBurst), maxBurst))
}

// longestNap bounds how long a waiter sleeps before it looks at the clock again, which may have been set, or have stood still while the machine slept.
const longestNap = time.Minute

// pace is a token bucket whose rate changes with time: whoever wants to pass draws a number, the count of all bytes up to his own, and waits until so many were granted. So they
// pass in the order in which they came, and one who sleeps when the rate changes only has to look again. A nil pace lets everything pass.
//
// Two clocks: now is that on the wall, by which the rate goes; what is granted in between goes by the monotonic one, which nobody sets.
type pace struct {
	rate Rate
	now  func() time.Time

	mu        sync.Mutex
	perSecond units.Size
	changes   time.Time // on the wall; zero: never
	asked     time.Time // when rate was asked
	at        time.Time // up to which was granted, on the monotonic clock
	drawn     float64   // bytes asked for so far
	granted   float64   // at most drawn and a burst
}

func newPace(rate Rate, now func() time.Time) *pace {
	if rate == nil {
		return nil
	}
	p := &pace{rate: rate, now: now, at: time.Now()}
	p.ask(now())
	p.granted = float64(burstOf(p.perSecond))
	return p
}

// ask learns the rate of a moment. p.mu is held, but in newPace.
func (p *pace) ask(wall time.Time) {
	p.perSecond, p.changes = p.rate(wall)
	p.asked = wall
}

// piece is how much is to be asked for at once.
func (p *pace) piece() int {
	if p == nil {
		return maxBurst
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return burstOf(p.perSecond)
}

// grant brings the bucket up to this moment. p.mu is held.
func (p *pace) grant() {
	wall, now := p.now(), time.Now()
	dt := now.Sub(p.at)
	p.at = now
	if p.isOver(wall) {
		before := dt
		if late := wall.Sub(p.changes); !p.changes.IsZero() && late >= 0 {
			before = min(max(dt-late, 0), dt)
		}
		p.fill(before)
		p.ask(wall)
		dt -= before
	}
	p.fill(dt)
}

// isOver reports whether the rate has to be asked for again: it changes, the clock was set back, or there was no look at it for long.
func (p *pace) isOver(wall time.Time) bool {
	return !p.changes.IsZero() && !wall.Before(p.changes) || wall.Before(p.asked) || wall.Sub(p.asked) >= longestNap
}

func (p *pace) fill(dt time.Duration) {
	full := p.drawn + float64(burstOf(p.perSecond))
	if p.perSecond <= 0 {
		p.granted = max(p.granted, full)
		return
	}
	p.granted = min(p.granted+float64(p.perSecond)*dt.Seconds(), max(full, p.granted))
}

// wait waits until n bytes more may pass, or ctx ends.
func (p *pace) wait(ctx context.Context, n int) error {
	if p == nil || n == 0 {
		return ctx.Err()
	}
	p.mu.Lock()
	p.grant()
	p.drawn += float64(n)
	number := p.drawn
	nap := p.nap(number)
	p.mu.Unlock()
	for nap > 0 {
		t := time.NewTimer(nap)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			p.mu.Lock()
			p.granted += float64(n) // what was not used, those behind may have
			p.mu.Unlock()
			return ctx.Err()
		}
		p.mu.Lock()
		p.grant()
		nap = p.nap(number)
		p.mu.Unlock()
	}
	return ctx.Err()
}

// nap is how long to wait before looking again whether a number was granted; 0: it was. p.mu is held.
func (p *pace) nap(number float64) time.Duration {
	missing := number - p.granted
	if missing <= 0 || p.perSecond <= 0 {
		return 0
	}
	nap := longestNap
	if seconds := missing / float64(p.perSecond); seconds < nap.Seconds() {
		nap = time.Duration(seconds*float64(time.Second)) + 1
	}
	if !p.changes.IsZero() {
		nap = min(nap, max(p.changes.Sub(p.now()), time.Millisecond))
	}
	return nap
}
