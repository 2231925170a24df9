package backup

import (
	"context"
	"errors"
	"slices"
	"sync"

	"firn/internal/event"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/state"
)

// journalName is the journal of a source.
func (r *run) journalName() string { return "backup-" + r.o.Source.ID.String() }

// openJournal returns the journal of the source and what an interrupted run left in it.
func (r *run) openJournal() (*state.Journal, [][]byte, error) {
	var records [][]byte
	j, err := r.o.State.OpenJournal(r.journalName(), func(rec []byte) error {
		records = append(records, append([]byte(nil), rec...))
		return nil
	})
	return j, records, err
}

// newSnapshot describes this run; Publish adds the packs.
func (r *run) newSnapshot(tree manifest.Tree, complete bool) *snapshot.Snapshot {
	r.problemMu.Lock()
	defer r.problemMu.Unlock()
	s := &snapshot.Snapshot{
		ID: newID(), Start: r.started, End: r.now(), Host: r.o.Host, HostID: [16]byte(r.o.Repo.Host().Host),
		Source: r.o.Source, Tags: r.o.Tags, Scope: r.o.Scope.ID(), Epoch: r.epoch,
		Previous: r.link, Sequence: r.sequence + 1, Complete: complete,
		Voids:    r.toVoid(),
		Manifest: snapshot.Tree{Chunk: tree.Chunk, Level: tree.Level, Lines: tree.Lines, Bytes: tree.Bytes},
		Storage:  r.o.Storage,
		Stats:    r.stats, Problems: append([]snapshot.Problem(nil), r.problems...), Program: r.o.Program,
	}
	r.addStream(s)
	s.Stats.BytesRead = r.bytesRead.Load()
	s.Stats.BytesAdded, s.Stats.BytesStored, s.Stats.PacksAdded = r.writer.Counts()
	return s
}

// toVoid is what the snapshot replaces once it is done: of more than it can name the last ones.
func (r *run) toVoid() []snapshot.ID {
	all := slices.Concat(r.open, r.voids)
	return all[max(0, len(all)-snapshot.MaxVoids):]
}

// finish publishes the snapshot of a whole pass.
func (r *run) finish(ctx context.Context, em *emitter, res *Result) error {
	var tree manifest.Tree
	var err error
	unchanged := r.takeOver(em)
	if unchanged {
		tree = repo.TreeOf(r.last.Snapshot)
	} else {
		if err := em.start(); err != nil {
			return err
		}
		if tree, err = em.tree.Finish(); err != nil {
			return err
		}
		// The disk takes its time to have the stat cache, the store to have the packs: side by side. A cache whose snapshot never comes to be names a
		// manifest that no snapshot has, so the next run looks every chunk up.
		var saved sync.WaitGroup
		saved.Go(func() { em.stats.Commit(r.note(tree.Chunk)) })
		defer saved.Wait()
	}
	if err := r.writer.SendPacks(ctx); err != nil {
		return err
	}
	if err := r.referenceBase(ctx); err != nil {
		return err
	}
	snap := r.newSnapshot(tree, true)
	item, err := r.writer.Publish(ctx, snap)
	if err != nil {
		return err
	}
	if err := r.writer.Confirm(ctx, item); err != nil {
		r.voids = append(r.voids, snap.ID)
		var lost *repo.RetiredError
		if errors.As(err, &lost) && !lost.Base.IsZero() {
			err = &BaseError{snap.Base, err} // to start over would not bring it back
		}
		return err
	}
	res.Snapshot, res.Unchanged = snap, unchanged
	r.remember(ctx, item, unchanged)
	return nil
}

// takeOver reports whether the tree is just as the last snapshot has it, and takes its packs over.
func (r *run) takeOver(em *emitter) bool {
	if r.o.Stream != nil || r.base == nil || !em.unchanged() || em.taken != r.base.plan.Records() || r.last.Epoch != r.epoch {
		return false
	}
	r.writer.ReferencePacks(r.lastPacks)
	return true
}

// remember writes local and host state. Nothing in it can fail the backup, which is done.
func (r *run) remember(ctx context.Context, item snapshot.Item, unchanged bool) {
	head := state.Head{Snapshot: item.ID, Sequence: item.Sequence, Body: item.Sum}
	r.o.State.SetHead(r.o.Source.ID, head)
	if unchanged {
		return // the stat cache stays as it is
	}
	if up := r.writer.Up(); up > 0 {
		r.o.State.SetLink(state.Link{Up: up})
	}
	if err := r.writer.PutState(ctx, r.heads()); err != nil && ctx.Err() == nil {
		r.o.Report.Emit(event.Note{Text: "host state was not stored: " + err.Error()})
	}
	r.o.Scope.Tidy(ctx)
}

// heads returns the newest done snapshot of each source that this host made.
func (r *run) heads() []snapshot.Head {
	newest := map[snapshot.Source]snapshot.Item{}
	host := [16]byte(r.o.Repo.Host().Host)
	for _, it := range r.o.Scope.Items {
		if have, ok := newest[it.Source.ID]; it.HostID == host && it.Status() == snapshot.IsDone && (!ok || it.Sequence > have.Sequence) {
			newest[it.Source.ID] = it
		}
	}
	var heads []snapshot.Head
	for id, it := range newest {
		heads = append(heads, snapshot.Head{Source: id, Name: it.Source.Name, Path: it.Source.Path, Snapshot: it.ID, Sequence: it.Sequence, Sum: it.Sum})
	}
	return heads
}

// rescue keeps what was emitted before the pass ended early as a partial snapshot.
func (r *run) rescue(ctx context.Context, em *emitter, res *Result, cause error) (*Result, error) {
	var retired *repo.RetiredError
	var producer *source.ProducerError
	var shrunk *ShrinkError
	if errors.As(cause, &retired) || errors.Is(cause, errCache) || errors.As(cause, &producer) || errors.As(cause, &shrunk) || !em.started || em.broken || em.tree.Lines() == 0 {
		return nil, cause
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.o.Grace)
	defer cancel()
	r.ctx = ctx
	err := r.publishPartial(ctx, em, res)
	if errors.Is(cause, err) {
		return nil, cause // said once
	}
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	return res, cause
}

// publishPartial sends what is sealed, and publishes what was emitted as a partial snapshot.
func (r *run) publishPartial(ctx context.Context, em *emitter, res *Result) error {
	em.close()
	tree, err := em.tree.Finish()
	if err != nil {
		return err
	}
	if err := r.writer.SendPacks(ctx); err != nil {
		return err
	}
	snap := r.newSnapshot(tree, false)
	if _, err := r.writer.Publish(ctx, snap); err != nil {
		return err
	}
	res.Snapshot, res.Partial = snap, true
	return nil
}
