package backup

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"firn/internal/chunk"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
)

// Stream says that a tree is made of streams (source.Stream), and what its snapshot is in a chain. Streams are read whole in every backup; a producer that fails
// means no snapshot.
type Stream struct {
	Base   *snapshot.Item // done snapshot of the source that the streams start from; nil: they need nothing
	Points []source.Point
}

// BaseError tells that the snapshot from which the streams were to start cannot be relied on: something that its chain needs is missing, retired or unreadable. Streams that
// start from nothing have to be made instead.
type BaseError struct {
	Base snapshot.ID
	Err  error
}

func (e *BaseError) Error() string {
	return fmt.Sprintf("snapshot %v cannot be a base: %v", e.Base, e.Err)
}

// Unwrap returns the reason.
func (e *BaseError) Unwrap() error { return e.Err }

// errMissingPack tells of a pack that no index names, or that takes no references any more.
var errMissingPack = errors.New("a pack of it is missing or retired")

// errForgotten tells of a base that records forget which were read after it.
var errForgotten = errors.New("it, or what it is built on, was forgotten")

// CheckBase fails with *BaseError if an increment cannot build upon a snapshot: it is not done, or one of the packs of its chain is missing or retired. The scope is loaded with its index.
func CheckBase(ctx context.Context, scope *repo.ScopeState, base *snapshot.Item) error {
	if base.Status() != snapshot.IsDone {
		return &BaseError{base.ID, fmt.Errorf("it is %v", base.Status())}
	}
	if scope.Forgotten()[base.ID] || !scope.ForgottenBase(base.Snapshot).IsZero() {
		return &BaseError{base.ID, errForgotten}
	}
	names, err := scope.PackNames(ctx, base.Snapshot)
	var broken *repo.ObjectError
	if errors.As(err, &broken) {
		return &BaseError{base.ID, err}
	}
	if err != nil {
		return err
	}
	for _, name := range names {
		_, ok, err := scope.Set().Find(name)
		if err != nil {
			return err
		}
		if !ok || scope.Set().Retired(name) {
			return &BaseError{base.ID, errMissingPack}
		}
	}
	return nil
}

// checkStream looks, before anything is read, whether the base holds.
func (r *run) checkStream(ctx context.Context) error {
	r.expected = snapshot.Stats{}
	base := r.o.Stream.Base
	if base == nil {
		return nil
	}
	if base.Source.ID != r.o.Source.ID || base.Epoch != r.epoch {
		return &BaseError{base.ID, fmt.Errorf("it is of another source, or of epoch %d and not %d", base.Epoch, r.epoch)}
	}
	if err := r.writer.Refresh(); err != nil {
		return err
	}
	return CheckBase(ctx, r.o.Scope, base)
}

// referenceBase makes the snapshot need all that its base needs.
func (r *run) referenceBase(ctx context.Context) error {
	if r.o.Stream == nil || r.o.Stream.Base == nil {
		return nil
	}
	names, err := r.o.Scope.PackNames(ctx, r.o.Stream.Base.Snapshot)
	if err != nil {
		return &BaseError{r.o.Stream.Base.ID, err}
	}
	r.writer.ReferencePacks(names)
	return nil
}

// addStream says in a snapshot what its streams lead to. A partial one is no base, so it names none.
func (r *run) addStream(s *snapshot.Snapshot) {
	if r.o.Stream == nil || !s.Complete {
		return
	}
	if r.o.Stream.Base != nil {
		s.Base = r.o.Stream.Base.ID
	}
	for _, p := range r.o.Stream.Points {
		s.Points = append(s.Points, snapshot.Point{Stream: p.Stream, Of: p.Of, At: p.At, ID: p.ID, From: p.From, FromAt: p.FromAt, Time: p.Time, Outside: p.Outside})
	}
}

// countStream adds a stream of which only now is known how long it is.
func (r *run) countStream(size int64) {
	r.problemMu.Lock()
	defer r.problemMu.Unlock()
	r.stats.Bytes += size
}

// underWay notes that a large file is being read, or no more.
func (r *run) underWay(l *large, reading bool) {
	r.largeMu.Lock()
	defer r.largeMu.Unlock()
	if reading {
		r.larges = append(r.larges, l)
	} else {
		r.larges = slices.DeleteFunc(r.larges, func(o *large) bool { return o == l })
	}
}

// referenceUnderWay makes the next partial snapshot need what is stored of files that are still being read.
func (em *emitter) referenceUnderWay() error {
	em.run.largeMu.Lock()
	larges := slices.Clone(em.run.larges)
	em.run.largeMu.Unlock()
	for _, l := range larges {
		if err := em.referenceSettled(l); err != nil {
			return err
		}
	}
	return nil
}

func (em *emitter) referenceSettled(l *large) error {
	for _, id := range l.stored.take() {
		if err := em.run.writer.Reference(id, chunk.Data); err != nil {
			return err
		}
	}
	return nil
}

// referenceStream notes the chunks of a stream that has ended.
func (em *emitter) referenceStream(l *large, res *contentResult) error {
	if err := em.referenceSettled(l); err != nil {
		return err
	}
	for _, id := range res.nodes {
		if err := em.run.writer.Reference(id, chunk.Meta); err != nil {
			return err
		}
	}
	return nil
}
