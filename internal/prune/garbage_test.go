package prune

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"firn/internal/snapshot"
	"firn/internal/store"
)

// Garbage that somebody with a write-only key has added: each object of it is given up by its id, and what has no mark is in the way for an hour.
func TestGarbage(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	w.backup(1, "one")
	add := func(i int, marked bool) snapshot.ID {
		name := fmt.Sprintf("snapshots/%v/%032x", w.access.Host.ScopeID, i)
		w.must(w.mem.Put(ctx, name, strings.NewReader("x"), 1, store.PutOptions{}))
		if marked {
			w.must(w.mem.Put(ctx, name+".done", strings.NewReader("x"), 1, store.PutOptions{}))
		}
		return snapshot.ID{15: byte(i)}
	}
	run := func(forget ...snapshot.ID) error {
		o := w.options(w.mem, w.prunes())
		if o.Forget, o.Only = forget, len(forget) > 0; o.Only {
			o.Decide = nil
		}
		_, err := Run(ctx, o)
		return err
	}
	var unread *UnreadableError
	add(1, false)
	if err := run(); !errors.As(err, &unread) {
		t.Errorf("somebody may be about to mark it: %v", err)
	}
	w.clock.pass(2 * time.Hour)
	w.must(run())
	ids := []snapshot.ID{add(2, true), add(3, true), add(4, true)}
	w.clock.pass(1000 * time.Hour)
	for i, id := range ids {
		if err := run(); !errors.As(err, &unread) || len(unread.Objects) != len(ids)-i {
			t.Errorf("with %d left: %v", len(ids)-i, err)
		}
		if err := run(id); err != nil {
			t.Errorf("one cannot be given up before the others: %v", err)
		}
	}
	w.must(run())
}

func TestUnreadableNames(t *testing.T) {
	e := &UnreadableError{Err: errors.New("why"), Objects: strings.Split("a b c d e f g", " ")}
	if text := e.Error(); !strings.Contains(text, "e and 2 more: why") || strings.Contains(e.Whole(), "more") || !strings.Contains(e.Whole(), "f, g: why") {
		t.Errorf("%v; %s", e, e.Whole())
	}
}
