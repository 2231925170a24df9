package backup

import (
	"context"
	"errors"
	"fmt"

	"firn/internal/snapshot"
	"firn/internal/units"
)

// Limit is what ends a run in order before it is through: Options.Until or Options.MaxUpload.
type Limit string

// Limits of a run.
const (
	ByTime   Limit = "time"
	ByUpload Limit = "upload"
)

// LimitError tells that a run ended in order since it reached a limit. What it had stored is kept in a partial snapshot, from which the next run goes on.
type LimitError struct{ Limit Limit }

func (e *LimitError) Error() string {
	if e.Limit == ByUpload {
		return "the run has sent as much as it may"
	}
	return "the time of the run is over"
}

// errEnough ends the walk, and the reading of large files, where a limit is reached.
var errEnough = errors.New("a limit is reached")

// ShrinkError tells that a source has lost more since its last snapshot than it may. Nothing was published.
type ShrinkError struct {
	Last                 snapshot.ID
	Files, Bytes         int64 // that there are now
	LastFiles, LastBytes int64 // that the last snapshot has
}

func (e *ShrinkError) Error() string {
	return fmt.Sprintf("the source has %s files of %v now, and its last snapshot has %s of %v", units.Count(e.Files), units.Size(e.Bytes), units.Count(e.LastFiles), units.Size(e.LastBytes))
}

// end ends the run in order: nothing more is begun, and what a worker is at is stored. What is left out the next run finds to be new.
func (r *run) end(by Limit) { r.enough(&LimitError{by}) }

// ending reports whether nothing more is to be begun.
func (r *run) ending() bool {
	select {
	case <-r.o.Until: // also before watchTime has got round to it
		r.end(ByTime)
	default:
	}
	return r.soft.Err() != nil
}

// shorten notes that something was left out because the run was ending.
func (r *run) shorten() { r.cutShort.Store(true) }

// reached returns the limit that made this run leave something out; nil: none did.
func (r *run) reached() *LimitError {
	var limit *LimitError
	if r.cutShort.Load() && errors.As(context.Cause(r.soft), &limit) {
		return limit
	}
	return nil
}

// watchTime ends the run once its time is over, until the context ends.
func (r *run) watchTime() {
	select {
	case <-r.o.Until:
		r.end(ByTime)
	case <-r.soft.Done():
	}
}

// put notes that a chunk was put, whose frame has so many bytes, 0 where it was known. The run may end only where something new is on its way, so that however little may be sent
// each run gets further.
func (r *run) put(frame int) {
	if frame == 0 || r.o.MaxUpload <= 0 || r.ending() {
		return
	}
	waits := r.writer.Unsent()
	if r.packs.Parity != nil {
		waits += waits / 100 * int64(*r.packs.Parity)
	}
	if r.sent()+waits >= r.o.MaxUpload {
		r.end(ByUpload)
	}
}

func (r *run) sent() int64 {
	if r.o.Sent != nil {
		return r.o.Sent()
	}
	_, stored, _ := r.writer.Counts()
	return stored
}

// judge compares what the walk has found with the last snapshot of the source; where none is done yet, with what a first backup has begun, of which only counts whether there is
// anything left: a snapshot of nothing would void it. Streams are counted where there are to be some: a chain in which nothing happened has none.
func (r *run) judge() error {
	o, before := &r.o, r.before
	if before.Snapshot == nil {
		before = r.begun
	}
	if before.Snapshot == nil || o.MaxShrink == nil && !o.NotEmpty {
		return nil
	}
	r.problemMu.Lock()
	now := r.stats
	r.problemMu.Unlock()
	was := before.Stats
	shrunk := was.Files > 0 && now.Files == 0 && (o.NotEmpty || *o.MaxShrink < 1)
	switch {
	case o.Stream != nil:
		shrunk = shrunk && len(o.Stream.Points) == 0
	case o.MaxShrink != nil && r.before.Snapshot != nil:
		left := 1 - *o.MaxShrink
		shrunk = shrunk || float64(now.Files) < left*float64(was.Files) || float64(now.Bytes) < left*float64(was.Bytes)
	}
	if !shrunk {
		return nil
	}
	return &ShrinkError{Last: before.ID, Files: now.Files, Bytes: now.Bytes, LastFiles: was.Files, LastBytes: was.Bytes}
}

// keep publishes what there is of a run that a limit ended.
func (r *run) keep(ctx context.Context, em *emitter, res *Result, limit *LimitError) (*Result, error) {
	r.ctx = ctx // that of the stages is over
	res.Partial, res.Limit = true, limit.Limit
	added, _, _ := r.writer.Counts()
	if !em.started && added == 0 && r.writer.Unindexed() == 0 {
		return res, limit // there is nothing to keep
	}
	err := em.start()
	if err == nil {
		err = r.publishPartial(ctx, em, res)
	}
	if err != nil {
		return nil, err
	}
	return res, limit
}
