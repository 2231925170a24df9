package plain

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"firn/internal/bucket"
	"firn/internal/store"
	"firn/internal/store/s3"
)

// meaning is an error of package store that is one of the bucket's, too.
type meaning struct{ is, was error }

func (m *meaning) Error() string        { return m.is.Error() }
func (m *meaning) Is(target error) bool { return target == m.is || target == m.was }

var meanings = []meaning{
	{bucket.ErrNotExist, store.ErrNotExist},
	{bucket.ErrDenied, store.ErrDenied},
	{bucket.ErrCold, store.ErrCold},
	{bucket.ErrChecksum, store.ErrChecksum},
	{bucket.ErrPrecondition, nil},
}

// failed gives an error of the parent the meaning that it has here. What was temporary stays so.
func failed(err error) error {
	var e *s3.Error
	if err == nil || !errors.As(err, &e) {
		return err
	}
	other := *e
	switch {
	case e.Code == "NoSuchUpload":
		other.Reason = bucket.ErrNoUpload
	case e.Code == "KeyTooLongError", e.Code == "InvalidObjectName", e.Code == "InvalidURI", e.Code == "XMinioInvalidObjectName", e.Code == "XMinioInvalidResourceName",
		e.Code == "DirectoryObjectContainsData", e.Code == "ObjectParentIsFile", e.Code == "ExistingObjectIsDirectory": // the last of servers that keep objects as files
		other.Reason = bucket.ErrKey
	case errors.Is(e.Reason, store.ErrExist):
		other.Reason = &meanings[len(meanings)-1]
	default:
		for i := range meanings {
			if e.Reason != nil && e.Reason == meanings[i].was {
				other.Reason = &meanings[i]
			}
		}
	}
	return &other
}

// final reports whether repeating the call is of no use.
func final(err error) bool {
	if !store.IsTemporary(err) {
		return true
	}
	var e *s3.Error
	if errors.As(err, &e) {
		switch e.Code {
		case "NoSuchUpload", "InvalidPart", "InvalidPartOrder", "GlacierExpeditedRetrievalNotAvailable":
			return true
		}
	}
	return false
}

// tries counts those of one call.
type tries struct {
	n     int
	start time.Time
}

// again waits and returns nil if the call that failed with err is to be repeated, else the error to return.
func (b *Bucket) again(ctx context.Context, t *tries, op, key string, err error) error {
	if end := ctx.Err(); end != nil {
		return end
	}
	last := final(err)
	if err = failed(err); last {
		return err
	}
	if t.start.IsZero() {
		t.start = b.o.Now()
	}
	t.n++
	wait := b.o.Longest
	if first := b.o.First << min(t.n-1, 31); first > 0 && first < wait {
		wait = first
	}
	wait = wait/16 + time.Duration(rand.Int64N(int64(wait)))*15/16
	if t.n >= b.o.Tries || b.o.Now().Add(wait).Sub(t.start) > b.o.Patience {
		if t.n == 1 {
			return err
		}
		return fmt.Errorf("%w (after %d tries)", err, t.n)
	}
	if b.o.Notify != nil {
		b.o.Notify(op, key, err, wait)
	}
	if b.o.Sleep(ctx, wait) != nil {
		return errors.Join(ctx.Err(), err)
	}
	return nil
}

// do makes a call, through a gate, until it does not fail for a reason that may pass.
func (b *Bucket) do(ctx context.Context, g *gate, op, key string, call func() error) error {
	var t tries
	for {
		turn, err := g.enter(ctx)
		if err != nil {
			return bucket.Fail(op, key, err)
		}
		err = call()
		g.leave(turn, err)
		if err == nil {
			return nil
		}
		if err = b.again(ctx, &t, op, key, err); err != nil {
			return bucket.Fail(op, key, err)
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// refuses reports whether a server does not know something that was asked for beside what every server knows. Amazon's knows it all.
func (b *Bucket) refuses(err error) bool {
	var e *s3.Error
	if b.s.Amazon() || !errors.As(err, &e) {
		return false
	}
	if errors.Is(e.Reason, store.ErrUnsupported) {
		return true
	}
	switch e.Code {
	case "InvalidArgument", "InvalidRequest", "MalformedXML", "InvalidChecksum":
		return e.Status == http.StatusBadRequest
	}
	return e.Status == http.StatusBadRequest && e.Code != "" && strings.Contains(strings.ToLower(e.Message), "checksum") && !errors.Is(e.Reason, store.ErrChecksum)
}

// gate lets some calls in at once: at most most, and fewer where the server is asked too much.
type gate struct {
	most int

	mu      sync.Mutex
	allowed float64 // at once, 1 to most
	inside  int
	turn    int // counts how often allowed was halved
	waiting []chan struct{}
}

func newGate(most int) *gate { return &gate{most: most, allowed: float64(most)} }

// enter waits until the call may pass. The caller calls leave once with the turn that it gets.
func (g *gate) enter(ctx context.Context) (turn int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	g.mu.Lock()
	if len(g.waiting) == 0 && g.inside < int(g.allowed) {
		g.inside++
		defer g.mu.Unlock()
		return g.turn, nil
	}
	in := make(chan struct{})
	g.waiting = append(g.waiting, in)
	g.mu.Unlock()
	select {
	case <-in:
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.turn, nil
	case <-ctx.Done():
		g.giveUp(in)
		return 0, ctx.Err()
	}
}

// admit lets in who is next. g.mu is held.
func (g *gate) admit() {
	for len(g.waiting) > 0 && g.inside < int(g.allowed) {
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
		g.inside++
	}
}

// giveUp takes out who waits no longer, or was let in at that moment.
func (g *gate) giveUp(in chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, other := range g.waiting {
		if other == in {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			return
		}
	}
	g.inside--
	g.admit()
}

// leave halves what is allowed where the server says that it is too much; those that were under way then tell nothing new.
func (g *gate) leave(turn int, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	switch {
	case err == nil:
		g.allowed = min(float64(g.most), g.allowed+1/g.allowed)
	case store.IsThrottled(err) && turn == g.turn:
		g.allowed = max(1, g.allowed/2)
		g.turn++
	}
	g.admit()
}
