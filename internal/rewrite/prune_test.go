package rewrite_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/retain"
	"firn/internal/rewrite"
	"firn/internal/snapshot"
	"firn/internal/store/mem"
)

// daily keeps a snapshot a day, for a week.
func daily(items []snapshot.Item, now time.Time) (gone []snapshot.ID, err error) {
	var snaps []retain.Snapshot
	for _, it := range items {
		snaps = append(snaps, retain.Snapshot{ID: it.ID, Source: it.Source.ID, Time: it.Stored, Made: it.End, Sequence: it.Sequence, Epoch: it.Epoch, Base: it.Base, Done: it.Status() == snapshot.IsDone})
	}
	for _, v := range retain.Decide(snaps, retain.Policy{Daily: 7}, now, time.UTC) {
		if !v.Keep {
			gone = append(gone, snapshot.ID(v.ID))
		}
	}
	return gone, nil
}

// A prune comes when a stand-in is done and the old snapshot is not forgotten yet. Both are of the same day, so a rule that sees both lets one of them go, and if that were the stand-in
// the other would be forgotten a moment later: each day has to have its snapshot. The ids are random, so it takes some runs to see the worst.
func TestPruneBeforeOldOnesAreForgotten(t *testing.T) {
	for range 4 {
		var days time.Duration
		w := newWorld(t, mem.Options{Now: func() time.Time { return time.Now().Add(days) }})
		w.write("keep", 1, 300)
		w.write("secret", 2, 300)
		w.backup()
		w.must(os.Remove(filepath.Join(w.base, "src", "secret")))
		for range 2 {
			days += 24 * time.Hour
			w.write("keep", uint64(days), 300)
			w.backup()
		}
		r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.access.Secrets}, repo.Options{})
		w.must(err)
		came := false
		w.st = &onPut{w.mem, func(name string) {
			if strings.HasPrefix(name, "prune/") && !came {
				came = true
				_, err := prune.Run(ctx, prune.Options{Repo: r, Decide: daily, Grace: 24 * time.Hour, Now: func() time.Time { return time.Now().Add(days) }})
				w.must(err)
			}
		}}
		w.rewrite("secret")
		if n := len(w.items()); n != 3 || !came {
			t.Fatalf("%d snapshots of 3 days", n)
		}
	}
}

// A stand-in that somebody forgets before the old snapshot is forgotten: that one stays.
func TestStandInIsForgotten(t *testing.T) {
	w := newWorld(t, mem.Options{})
	w.history()
	before := w.items()
	r, err := repo.Open(ctx, w.mem, repo.Access{Secrets: w.access.Secrets}, repo.Options{})
	w.must(err)
	came := false
	w.st = &onPut{w.mem, func(name string) {
		if !strings.HasPrefix(name, "index/") || came {
			return
		}
		s, err := r.Load(ctx, w.access.Host.ScopeID, false)
		w.must(err)
		for old, by := range snapshot.Rewritten(s.Items) {
			if came = true; old == before[1].ID {
				_, err = s.Retire(ctx, nil, []snapshot.ID{by})
				w.must(err)
			}
		}
	}}
	_, res := w.rewrite("/secret")
	if !came || len(res.Replaced) != 1 || len(res.Skipped) != 1 || res.Skipped[0].ID != before[1].ID || !errors.Is(res.Skipped[0].Err, rewrite.ErrForgotten) {
		t.Fatalf("%+v", res)
	}
	if after := w.items(); len(after) != 3 || after[1].ID != before[1].ID {
		t.Fatalf("%d snapshots, the second is %v", len(after), after[1].ID)
	}
	w.sound()
	if _, res := w.rewrite("/secret"); len(res.Replaced) != 1 || len(w.items()) != 3 {
		t.Errorf("the next run: %+v", res)
	}
}
