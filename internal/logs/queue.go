package logs

import (
	"fmt"
	"sync"
	"time"
)

// Limits of what waits for a daemon.
const (
	queueLength = 1024
	drainTime   = 3 * time.Second
)

// queue hands lines to a daemon from a goroutine of its own, so that one that hangs holds up nobody. It owns that goroutine: close ends it, or leaves it behind where it hangs.
type queue struct {
	work    chan func() error
	trouble *once
	ended   chan struct{}
	drain   time.Duration

	mu     sync.Mutex
	closed bool
	lost   int
}

func newQueue(trouble *once, length int, drain time.Duration) *queue {
	if drain == 0 {
		drain = drainTime
	}
	q := &queue{work: make(chan func() error, length), trouble: trouble, ended: make(chan struct{}), drain: drain}
	go func() {
		defer close(q.ended)
		for f := range q.work {
			trouble.about(f())
		}
	}()
	return q
}

// add queues one line, or loses it where too many wait.
func (q *queue) add(f func() error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return
	}
	select {
	case q.work <- f:
		q.lost = 0
	default:
		if q.lost++; q.lost == 1 {
			q.trouble.note(fmt.Sprintf("%s: it takes no lines any more: some are lost", q.trouble.what))
		}
	}
}

// Close implements io.Closer: it waits for what is queued.
func (q *queue) Close() error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.work)
	}
	q.mu.Unlock()
	t := time.NewTimer(q.drain)
	defer t.Stop()
	select {
	case <-q.ended:
	case <-t.C:
	}
	return nil
}
