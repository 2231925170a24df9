package prune

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"firn/internal/digest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// What a lost record retired, and what was deleted since, the index may still name: whoever replaces the record retires that, too.
func TestReplacedRecordCoversWhatIsDeleted(t *testing.T) {
	all := []string{"comes back", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}
	for _, how := range []string{"prune", "repair"} {
		w := newWorld(t, nil, "", nil)
		w.backup(1, all...)
		w.clock.pass(time.Hour)
		w.backup(1, all[1:]...)
		opt := func() Options {
			o := w.options(w.mem, repo.Access{Secrets: w.access.Secrets})
			o.Decide, o.Refresh.Off = keepLast(1), true
			return o
		}
		for range 3 {
			w.clock.pass(25 * time.Hour)
			w.prune(opt())
		}
		for _, name := range w.names("prune/") { // the records rot
			raw := w.object(name)
			raw[len(raw)-1] ^= 1
			w.mem.Replace(name, raw)
		}
		w.clock.pass(time.Hour)
		if how == "prune" {
			w.prune(opt())
		} else {
			broken := w.names("prune/")
			w.must(opt().Repo.RetireUnneeded(ctx, nil))
			for _, name := range broken {
				w.must(w.mem.Delete(ctx, name))
			}
		}
		w.backup(1, all...)
		if err := w.sound(true); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
}

// Somebody with a write-only key adds an object that may be a damaged record, and ones that may be damaged snapshots: whoever holds everything gets rid of the one, and gives up the others by
// their ids.
func TestGarbageRecordBesideGarbageSnapshots(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	w.backup(1, "one")
	add := func(name string) {
		w.must(w.mem.Put(ctx, name, strings.NewReader("garbage"), 7, store.PutOptions{}))
	}
	add(fmt.Sprintf("prune/%016x-%v", 1, digest.Object{1}))
	id := snapshot.ID{7}
	add(fmt.Sprintf("snapshots/%v/%v", w.access.Host.ScopeID, id))
	w.clock.pass(1000 * time.Hour)
	all := repo.Access{Secrets: w.access.Secrets}
	w.prune(w.options(w.mem, all))

	add(fmt.Sprintf("prune/%016x-%v", 1, digest.Object{1}))
	add(fmt.Sprintf("snapshots/%v/%v.done", w.access.Host.ScopeID, id))
	if _, err := Run(ctx, w.options(w.mem, all)); err == nil {
		t.Error("deletes although nobody knows what a marked snapshot needs")
	}
	o := w.options(w.mem, all)
	o.Forget = []snapshot.ID{id}
	w.prune(o)

	add(fmt.Sprintf("prune/%016x-%v", 1, digest.Object{1}))
	for i := range 3 {
		add(fmt.Sprintf("snapshots/%v/%v.done", w.access.Host.ScopeID, snapshot.ID{8, byte(i)}))
		add(fmt.Sprintf("snapshots/%v/%v", w.access.Host.ScopeID, snapshot.ID{8, byte(i)}))
	}
	for i := range 3 { // one by one
		o = w.options(w.mem, all)
		o.Decide, o.Forget, o.Only = nil, []snapshot.ID{{8, byte(i)}}, true
		w.prune(o)
	}
	w.prune(w.options(w.mem, all))
	w.backup(1, "two")
}

// What never was a record goes a time of grace later. What may have been one stays for who holds everything.
func TestNeverRecordsGo(t *testing.T) {
	w := newWorld(t, nil, "", nil)
	w.backup(1, "one")
	sum := digest.SumObject([]byte("garbage"))
	never := fmt.Sprintf("prune/%016x-%v", 1, sum)
	w.must(w.mem.Put(ctx, never, strings.NewReader("garbage"), 7, store.PutOptions{}))
	w.must(w.mem.Put(ctx, "prune/notes", strings.NewReader("mine"), 4, store.PutOptions{}))
	w.clock.pass(time.Hour)
	w.prune(w.options(w.mem, w.prunes()))
	there := func() bool {
		_, err := w.mem.Stat(ctx, never)
		return err == nil
	}
	if !there() {
		t.Error("gone before listings that are late could show it")
	}
	w.clock.pass(25 * time.Hour)
	w.prune(w.options(w.mem, w.prunes()))
	if there() {
		t.Error("still there")
	}
	if _, err := w.mem.Stat(ctx, "prune/notes"); err != nil {
		t.Error("what has no name of ours is gone")
	}
}
