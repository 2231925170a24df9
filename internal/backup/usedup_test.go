package backup_test

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"firn/internal/backup"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// forge stores a snapshot like one of this host, as a thief can who has its key.
func (w *world) forge(like *snapshot.Snapshot, change func(s *snapshot.Snapshot)) {
	w.t.Helper()
	ctx := context.Background()
	r, scope := w.open()
	s := *like
	s.ID = snapshot.ID{0xee, byte(len(scope.Items))}
	change(&s)
	out, err := r.NewWriter(ctx, scope, repo.WriterOptions{Epoch: like.Epoch, Lanes: 1})
	if err != nil {
		w.t.Fatal(err)
	}
	defer out.Abort()
	out.ReferencePacks(w.packs(scope, like))
	it, err := out.Publish(ctx, &s)
	if err == nil {
		err = out.Confirm(ctx, it)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// A snapshot voids what its source has left undone, as much of it as it can name.
func TestMoreVoidsThanASnapshotCanName(t *testing.T) {
	w := newWorld(t)
	w.write("a", "1")
	w.settle()
	w.opts = func(o *backup.Options) {
		for i := range snapshot.MaxVoids + 10 {
			partial := &snapshot.Snapshot{Source: o.Source, Scope: o.Scope.ID(), HostID: [16]byte(w.access.Host.Host), Sequence: 1}
			binary.BigEndian.PutUint32(partial.ID[:], uint32(i+1))
			o.Scope.Items = append(o.Scope.Items, snapshot.Item{Snapshot: partial})
		}
	}
	res := w.backup()
	if v := res.Snapshot.Voids; len(v) != snapshot.MaxVoids || binary.BigEndian.Uint32(v[0][:]) != 11 {
		t.Errorf("%d snapshots are void", len(v))
	}
	w.opts = nil
	w.verify(res.Snapshot)
}

// A number that nobody gets to by counting is not gone on from.
func TestSequenceUsedUp(t *testing.T) {
	w := newWorld(t)
	w.write("a", "1")
	w.settle()
	first := w.backup()
	w.forge(first.Snapshot, func(s *snapshot.Snapshot) { s.Sequence, s.Previous = 1<<64-1, &snapshot.Link{ID: first.Snapshot.ID} })
	for i := range 2 {
		res := w.backup()
		if res.Snapshot.Sequence != first.Snapshot.Sequence+uint64(i)+1 || i == 0 && res.Snapshot.Previous.ID != first.Snapshot.ID {
			t.Errorf("number %d, after %v", res.Snapshot.Sequence, res.Snapshot.Previous)
		}
	}
}

// Whoever uses up the epochs with one snapshot keeps nobody from making fulls; where no epoch is left, a full is refused, since it would be none.
func TestEpochsUsedUp(t *testing.T) {
	w := newWorld(t)
	w.write("a", "1")
	w.settle()
	first := w.backup()
	w.forge(first.Snapshot, func(s *snapshot.Snapshot) { s.Epoch, s.Complete, s.Source.ID = 0xfffffffe, true, snapshot.Source{9} })
	full := func(o *backup.Options) { o.Full = true }
	w.opts = full
	for i := range 2 {
		if res := w.backup(); res.Snapshot.Epoch != uint32(i)+1 {
			t.Errorf("full number %d is of epoch %d", i, res.Snapshot.Epoch)
		} else {
			w.verify(res.Snapshot)
		}
	}
	w.opts = func(o *backup.Options) {
		full(o)
		for i := range 1<<12 + 1 {
			o.Scope.Items = append(o.Scope.Items, snapshot.Item{Snapshot: &snapshot.Snapshot{Epoch: uint32(min(uint64(i)<<20, 1<<32-1))}})
		}
	}
	if _, err := w.try(context.Background()); !errors.Is(err, backup.ErrEpochs) {
		t.Errorf("got %v", err)
	}
}
