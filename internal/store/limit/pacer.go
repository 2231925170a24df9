package limit

import (
	"context"
	"time"
)

// Pacer lets bytes pass at a Rate, for adapters that ask for every piece by themselves.
type Pacer struct{ p *pace }

// NewPacer returns nil where rate is nil: no limit. now is the clock of rate; nil: the system's.
func NewPacer(rate Rate, now func() time.Time) *Pacer {
	if rate == nil {
		return nil
	}
	if now == nil {
		now = time.Now
	}
	return &Pacer{newPace(rate, now)}
}

// WaitN waits until n bytes may pass, or ctx ends.
func (p *Pacer) WaitN(ctx context.Context, n int) error { return p.p.wait(ctx, n) }

// Burst is how many bytes are to be asked for at once, at most, at this moment.
func (p *Pacer) Burst() int { return p.p.piece() }
