package thaw

import "time"

// pace is a bucket of tokens, one for a request, whose rate rises while all goes well and is halved when the store complains.
type pace struct {
	rate, most float64 // requests per second
	tokens     float64
	at         time.Time // when tokens were counted
	until      time.Time // nothing is sent before that
	back       time.Duration
	cut        time.Time // when the rate was halved last
}

const (
	rateRise  = 20.0 // requests per second, each second
	leastRate = 2.0
	calm      = 10 * time.Second // without rising, after a complaint
)

// take takes a token, or tells how long to wait for one.
func (p *pace) take(now time.Time) time.Duration {
	if now.Before(p.until) {
		return p.until.Sub(now)
	}
	dt := min(now.Sub(p.at).Seconds(), 1)
	p.at = now
	if dt > 0 {
		if now.Sub(p.cut) > calm {
			p.rate = min(p.most, p.rate+rateRise*dt)
		}
		p.tokens = min(p.tokens+p.rate*dt, max(1, p.rate/20))
	}
	if p.tokens >= 1 {
		p.tokens--
		return 0
	}
	return max(time.Duration((1-p.tokens)/p.rate*float64(time.Second)), time.Millisecond)
}

// good notes that a request came through.
func (p *pace) good() { p.back = 0 }

// bad notes that the store complains, or does not answer.
func (p *pace) bad(now time.Time) {
	if now.Sub(p.cut) < time.Second && p.back > 0 {
		return // of the same moment
	}
	p.rate, p.cut = max(p.rate/2, min(leastRate, p.most)), now
	p.back = min(max(2*p.back, time.Second), time.Minute)
	p.until = now.Add(p.back)
}
