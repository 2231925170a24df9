package backup_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"firn/internal/backup"
	"firn/internal/event"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// TestRollback: where the store has lost snapshots that this host made, backups go on behind the last of them.
func TestRollback(t *testing.T) {
	for _, c := range []struct {
		what string
		keep int // of three snapshots
	}{{"all are gone", 0}, {"the newest are gone", 1}} {
		t.Run(c.what, func(t *testing.T) {
			w := newWorld(t)
			var made []*snapshot.Snapshot
			for _, content := range []string{"one", "two!", "three"} {
				w.write("file", content)
				w.settle()
				made = append(made, w.backup().Snapshot)
			}
			for _, s := range made[c.keep:] {
				err := w.st.List(context.Background(), "snapshots/", "", func(i store.Info) error {
					if name := i.Name[len("snapshots/")+17:]; name == s.ID.String() || name == s.ID.String()+".done" {
						return w.st.Delete(context.Background(), i.Name)
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			var told atomic.Bool
			w.opts = func(o *backup.Options) {
				o.Report = func(e event.Event) {
					if _, note := e.(event.Note); note {
						told.Store(true)
					}
				}
			}
			next := w.backup().Snapshot
			if next.Sequence != 4 || next.Previous == nil || next.Previous.ID != made[2].ID || !told.Load() {
				t.Errorf("number %d behind %+v, told %v", next.Sequence, next.Previous, told.Load())
			}
			_, s := w.open()
			for _, h := range snapshot.Histories(s.Items) {
				var broken *snapshot.ChainError
				if err := h.Verify(); errors.As(err, &broken) {
					t.Error(err)
				}
				if gaps := h.Gaps(); len(gaps) != 1 || gaps[0].Previous != made[2].ID || gaps[0].After != uint64(c.keep) {
					t.Errorf("gaps: %+v", gaps)
				}
			}
		})
	}
}
