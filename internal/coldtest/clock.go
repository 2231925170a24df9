package coldtest

import (
	"container/heap"
	"context"
	"runtime"
	"sync"
	"time"
)

// Clock is the time by which objects age, thaw and expire, and by which whoever is tested may wait.
type Clock interface {
	Now() time.Time
	// Sleep returns after d, or with the error of ctx once that ends.
	Sleep(ctx context.Context, d time.Duration) error
}

// Real is the machine's clock.
type Real struct{}

// Now implements Clock.
func (Real) Now() time.Time { return time.Now() }

// Sleep implements Clock.
func (Real) Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// defaultSettle is long enough for a goroutine that was woken to make its next call on an idle machine.
const defaultSettle = 200 * time.Microsecond

// Virtual is a clock that stands still while anybody works and leaps to the end of the shortest sleep once all is quiet: when no Hold is out
// and neither Hold nor Sleep was called for the settling time. So days go by in milliseconds, and those who sleep wake in the right order, however many
// they are. A server holds its clock while it works on a request. Where quiet is noticed too early, on a busy machine, time merely goes faster.
type Virtual struct {
	settle time.Duration

	mu       sync.Mutex
	now      time.Time
	sleepers sleepers
	held     int
	moves    uint64 // calls so far; two equal readings with settle between them are quiet
	driving  bool
}

// NewVirtual returns a clock that stands at start. What is zero is the machine's time, and a settling time that does.
func NewVirtual(start time.Time, settle time.Duration) *Virtual {
	if start.IsZero() {
		start = time.Now()
	}
	if settle <= 0 {
		settle = defaultSettle
	}
	return &Virtual{now: start.UTC(), settle: settle}
}

// Now implements Clock.
func (v *Virtual) Now() time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.now
}

// Advance moves the clock at once, and wakes who slept less than that.
func (v *Virtual) Advance(d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.moves++
	v.to(v.now.Add(d))
}

// Hold keeps the clock from leaping until release is called; release may be called again, and does nothing then. Work that the clock cannot see, such as a download
// that takes no simulated time, is held.
func (v *Virtual) Hold() (release func()) {
	v.mu.Lock()
	v.held++
	v.moves++
	v.mu.Unlock()
	return sync.OnceFunc(func() {
		v.mu.Lock()
		v.held--
		v.moves++
		v.mu.Unlock()
	})
}

// Sleep implements Clock.
func (v *Virtual) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 || ctx.Err() != nil {
		return ctx.Err()
	}
	v.mu.Lock()
	s := &sleeper{until: v.now.Add(d), awake: make(chan struct{})}
	v.moves++
	heap.Push(&v.sleepers, s)
	if !v.driving {
		v.driving = true
		go v.drive()
	}
	v.mu.Unlock()
	select {
	case <-s.awake:
		return ctx.Err()
	case <-ctx.Done():
		v.mu.Lock()
		defer v.mu.Unlock()
		if s.at >= 0 {
			heap.Remove(&v.sleepers, s.at)
		}
		return ctx.Err()
	}
}

// drive leaps from sleep to sleep and ends when nobody sleeps.
func (v *Virtual) drive() {
	for {
		v.mu.Lock()
		before := v.moves
		v.mu.Unlock()
		runtime.Gosched()
		time.Sleep(v.settle)
		v.mu.Lock()
		if len(v.sleepers) == 0 {
			v.driving = false
			v.mu.Unlock()
			return
		}
		if v.held == 0 && v.moves == before {
			v.to(v.sleepers[0].until)
		}
		v.mu.Unlock()
	}
}

// to moves the clock to t, never back. mu is held.
func (v *Virtual) to(t time.Time) {
	if t.After(v.now) {
		v.now = t
	}
	for len(v.sleepers) > 0 && !v.sleepers[0].until.After(v.now) {
		close(heap.Pop(&v.sleepers).(*sleeper).awake)
	}
}

type sleeper struct {
	until time.Time
	awake chan struct{}
	at    int // in the heap; -1: no longer
}

type sleepers []*sleeper

func (s sleepers) Len() int           { return len(s) }
func (s sleepers) Less(i, j int) bool { return s[i].until.Before(s[j].until) }
func (s sleepers) Swap(i, j int)      { s[i], s[j] = s[j], s[i]; s[i].at, s[j].at = i, j }

func (s *sleepers) Push(x any) {
	e := x.(*sleeper)
	e.at = len(*s)
	*s = append(*s, e)
}

func (s *sleepers) Pop() any {
	old := *s
	e := old[len(old)-1]
	e.at = -1
	*s = old[:len(old)-1]
	return e
}
