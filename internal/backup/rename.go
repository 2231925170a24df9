package backup

import (
	"context"
	"errors"

	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/state"
)

// ErrNoHistory tells that a source has no snapshot that could be carried over.
var ErrNoHistory = errors.New("source has no finished snapshot")

// ErrHasHistory tells that a name is in use.
var ErrHasHistory = errors.New("source has snapshots already")

// ErrChained tells that the last snapshot of a source holds only what changed since another, which no other source has.
var ErrChained = errors.New("the last snapshot of the source builds upon an older one, which would be left behind")

// Rename carries the history of a source over to another name or path: it publishes the last snapshot of from as the first one of
// o.Source, and copies what the local cache knows, so that the next backup reads nothing again. o.Tree is not used.
func Rename(ctx context.Context, o Options, from snapshot.Source) (*snapshot.Snapshot, error) {
	o.setDefaults()
	var last snapshot.Item
	for _, it := range o.Scope.Items {
		if it.Status() != snapshot.IsDone {
			continue
		}
		if it.Source.ID == o.Source.ID {
			return nil, ErrHasHistory
		}
		if it.Source.ID == from && (last.Snapshot == nil || it.Sequence > last.Sequence) {
			last = it
		}
	}
	if last.Snapshot == nil {
		return nil, ErrNoHistory
	}
	if !last.Base.IsZero() {
		return nil, ErrChained
	}
	names, err := o.Scope.PackNames(ctx, last.Snapshot)
	if err != nil {
		return nil, err
	}
	w, err := o.Repo.NewWriter(ctx, o.Scope, repo.WriterOptions{Epoch: last.Epoch})
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	w.ReferencePacks(names)
	s := *last.Snapshot
	s.ID, s.Start, s.End = newID(), o.Now(), o.Now()
	s.Host, s.HostID, s.Source, s.Program = o.Host, [16]byte(o.Repo.Host().Host), o.Source, o.Program
	s.Renamed, s.Previous, s.Sequence, s.Voids, s.Problems = from, &snapshot.Link{ID: last.ID, Sum: last.Sum}, last.Sequence+1, nil, nil
	s.Stats.BytesRead, s.Stats.BytesAdded, s.Stats.BytesStored, s.Stats.PacksAdded, s.Stats.Problems = 0, 0, 0, 0, 0
	item, err := w.Publish(ctx, &s)
	if err != nil {
		return nil, err
	}
	if err := w.Confirm(ctx, item); err != nil {
		return nil, err
	}
	copyStats(o.State, from, o.Source.ID)
	o.State.SetHead(o.Source.ID, state.Head{Snapshot: s.ID, Sequence: s.Sequence, Body: item.Sum})
	return &s, nil
}

// copyStats gives the stat cache of one source to another.
func copyStats(st *state.State, from, to snapshot.Source) {
	r := st.OpenStats(from)
	if r == nil {
		return
	}
	defer r.Close()
	for r.Next() {
	}
	if !r.Complete() {
		return
	}
	w := st.CreateStats(to, r.Tag())
	defer w.Close()
	w.CopyBefore(r)
	w.Commit(r.Note())
}
