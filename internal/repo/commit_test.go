package repo_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"firn/internal/chunk"
	"firn/internal/digest"
	"firn/internal/faultstore"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/sign"
	"firn/internal/snapshot"
)

// journal keeps records in memory.
type journal struct {
	mu      sync.Mutex
	records [][]byte
}

func (j *journal) Append(rec []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.records = append(j.records, slices.Clone(rec))
}

// TestPartial: a snapshot of a backup that has not ended restores and does not count as done.
func TestPartial(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	b := w.begin(r, w.load(r), repo.WriterOptions{})
	part := b.snapshot(false, "one")
	item, err := b.out.Publish(ctx, part)
	w.must(err)
	whole := b.snapshot(true, "one", "two")
	whole.Voids = []snapshot.ID{part.ID}
	done, err := b.out.Publish(ctx, whole)
	w.must(err)
	w.expect(w.access, item.ID, snapshot.IsPartial, "one")
	w.expect(w.access, done.ID, snapshot.IsUndone, "one", "two")
	w.must(b.out.Confirm(ctx, done))
	w.expect(w.access, done.ID, snapshot.IsDone, "one", "two")
	if voided := snapshot.Voided(w.load(r).Items); voided[part.ID] != whole.ID {
		t.Errorf("voided: %v", voided)
	}
}

// TestConfirmLater goes on where a run was cut off between snapshot and mark.
func TestConfirmLater(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	b := w.begin(r, w.load(r), repo.WriterOptions{})
	item, err := b.out.Publish(ctx, b.snapshot(true, "one"))
	w.must(err)
	s := w.load(w.open(w.access))
	w.must(s.Confirm(ctx, s.Items[0]))
	w.expect(w.access, item.ID, snapshot.IsDone, "one")
}

// TestAdopt: packs that reached the store before a crash are taken up, those that did not are sent again.
func TestAdopt(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	faulty := faultstore.New(w.mem, 1, faultstore.MustParse("put data/* before nth=3 permanent\nput index/* before permanent")...)
	w.st = faulty
	r := w.open(w.access)
	j := &journal{}
	b := w.begin(r, w.load(r), repo.WriterOptions{Journal: j, PackSize: 1, Lanes: 1, Uploads: 1})
	texts := []string{"one", "two", "three"}
	for _, text := range texts {
		if _, err := b.put(chunk.Data, []byte(text)); err != nil {
			break
		}
	}
	if err := b.out.SendPacks(ctx); err == nil {
		t.Fatal("nothing went wrong")
	}
	b.out.Abort()
	arrived := w.names("data/")
	if len(arrived) != 2 || len(j.records) < 3 {
		t.Fatalf("%d packs, %d records", len(arrived), len(j.records))
	}
	w.st = w.mem
	r = w.open(w.access)
	again := &journal{}
	b = w.begin(r, w.load(r), repo.WriterOptions{Journal: again})
	n, err := b.out.Adopt(ctx, append(j.records, []byte("P and then nonsense"), nil))
	w.must(err)
	if n != 2 {
		t.Errorf("%d packs adopted", n)
	}
	if n, err := b.out.Adopt(ctx, j.records); err != nil || n != 0 {
		t.Errorf("adopted again: %d, %v", n, err)
	}
	item, err := b.out.Publish(ctx, b.snapshot(true, texts...))
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	if got := w.names("data/"); len(got) != 3 {
		t.Errorf("%d packs: what was there was sent again", len(got))
	}
	w.expect(w.access, item.ID, snapshot.IsDone, texts...)

	r = w.open(w.access) // all of it stands in an index now
	b = w.begin(r, w.load(r), repo.WriterOptions{})
	if n, err := b.out.Adopt(ctx, again.records); err != nil || n != 0 {
		t.Errorf("adopted what is indexed: %d, %v", n, err)
	}
	b = w.begin(r, w.load(r), repo.WriterOptions{Epoch: 1})
	if n, err := b.out.Adopt(ctx, j.records); err != nil || n != 0 {
		t.Errorf("adopted packs of another epoch: %d, %v", n, err)
	}
}

// pruner retires and forgets, as the verb will.
func (w *world) pruner() *keys.HostKey {
	w.t.Helper()
	host, err := w.open(w.access).Enroll(ctx, "pruner", "nas", keys.Pruner)
	w.must(err)
	return host
}

func (w *world) record(signer *sign.Signer, rec *snapshot.Record) {
	w.t.Helper()
	body, err := rec.Marshal()
	w.must(err)
	object := w.envelope(sign.Prune, body, signer)
	w.add(fmt.Sprintf("prune/%016x-%v", w.clock.now().UnixMicro(), digest.SumObject(object)), object)
}

// TestRetiredWhileCommitting: a snapshot that lost a pack to a prune is not done, and what it lost is sent again.
func TestRetiredWhileCommitting(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	first := w.backup(w.access, "one", "two")
	pruner := w.pruner()
	r := w.open(w.access)
	s := w.load(r)
	b := w.begin(r, s, repo.WriterOptions{})
	lost, err := b.out.Publish(ctx, b.snapshot(true, "two", "three"))
	w.must(err)
	names, err := s.PackNames(ctx, first.Snapshot)
	w.must(err)
	w.record(pruner.Signer(), &snapshot.Record{Scope: w.access.Host.ScopeID, Time: w.clock.now(), Retire: names})

	var retired *repo.RetiredError
	if err := b.out.Confirm(ctx, lost); !errors.As(err, &retired) || len(retired.Packs) == 0 || retired.Forgotten {
		t.Fatalf("confirmed: %v", err)
	}
	packs := len(w.names("data/"))
	b = w.begin(r, s, repo.WriterOptions{})
	again := b.snapshot(true, "two", "three")
	again.Voids = []snapshot.ID{lost.ID}
	item, err := b.out.Publish(ctx, again)
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	if got := len(w.names("data/")); got != packs+1 {
		t.Errorf("%d new packs", got-packs)
	}
	w.expect(w.access, lost.ID, snapshot.IsUndone, "two", "three")
	w.expect(w.access, item.ID, snapshot.IsDone, "two", "three")

	w.record(pruner.Signer(), &snapshot.Record{Scope: w.access.Host.ScopeID, Time: w.clock.now(), Forget: []snapshot.ID{lost.ID}})
	if err := s.Confirm(ctx, lost); !errors.As(err, &retired) || !retired.Forgotten {
		t.Errorf("a forgotten snapshot is confirmed: %v", err)
	}
	for _, it := range w.load(w.open(w.access)).Items {
		if want := it.ID == lost.ID; (it.Status() == snapshot.IsForgotten) != want {
			t.Errorf("%v is %v", it.ID, it.Status())
		}
	}
}

// TestMergeIndexes: many index objects become few, and everything is found as before, with and without local tables.
func TestMergeIndexes(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	dir := t.TempDir()
	local := func() (*repo.Repository, *repo.ScopeState) {
		r, err := repo.Open(ctx, w.st, w.access, repo.Options{Now: w.clock.now, IndexDir: dir})
		w.must(err)
		return r, w.load(r)
	}
	var items []snapshot.Item
	texts := func(i int) []string { return []string{fmt.Sprint("text ", i), "the same"} }
	add := func(n int, tidy bool) {
		for range n {
			r, s := local()
			b := w.begin(r, s, repo.WriterOptions{})
			item, err := b.out.Publish(ctx, b.snapshot(true, texts(len(items))...))
			w.must(err)
			w.must(b.out.Confirm(ctx, item))
			items = append(items, item)
			if tidy {
				s.Tidy(ctx)
			}
		}
	}
	add(18, false)
	check := func(what string) {
		t.Helper()
		r, s := local()
		for i, item := range items {
			if got, err := read(r, s, item); err != nil || !slices.Equal(got, texts(i)) {
				t.Fatalf("%s: snapshot %d: %q, %v", what, i, got, err)
			}
		}
	}
	check("all in order")
	tables, err := filepath.Glob(filepath.Join(dir, "*", "*.table"))
	w.must(err)
	if len(tables) == 0 {
		t.Fatal("no local table was written")
	}
	for what, harm := range map[string]func(path string) error{
		"cut":     func(p string) error { return os.Truncate(p, 100) },
		"missing": os.Remove,
		"foreign": func(p string) error { return os.WriteFile(p, make([]byte, 8192), 0o600) },
	} {
		tables, err = filepath.Glob(filepath.Join(dir, "*", "*.table"))
		w.must(err)
		for _, path := range tables {
			w.must(harm(path))
		}
		check("local tables " + what)
	}
	w.must(os.RemoveAll(dir))
	check("local tables lost")
	add(17, true)
	if n := len(w.names("index/")); n > 10 {
		t.Errorf("%d index objects after %d backups", n, len(items))
	}
	check("merged")
	for _, name := range w.names("index/") { // an index lost: nothing is known, nothing is told that is wrong
		w.must(w.mem.Delete(ctx, name))
	}
	r, s := local()
	if _, err := read(r, s, items[0]); !errors.Is(err, repo.ErrUnknownChunk) {
		t.Errorf("without an index: %v", err)
	}
}

// TestKilledWhileMerging: at every request of a merge that fails, all is still found, and the next merge ends it.
func TestKilledWhileMerging(t *testing.T) {
	for _, fault := range []string{"put index/* before permanent", "put index/* after permanent", "delete index/* before nth=1 permanent", "delete index/* before nth=4 permanent"} {
		w := newWorld(t, repo.InitOptions{})
		var items []snapshot.Item
		for i := range 9 {
			items = append(items, w.backup(w.access, fmt.Sprint("text ", i)))
		}
		w.st = faultstore.New(w.mem, 1, faultstore.MustParse(fault)...)
		w.load(w.open(w.access)).Tidy(ctx)
		w.st = w.mem
		for i, item := range items {
			w.expect(w.access, item.ID, snapshot.IsDone, fmt.Sprint("text ", i))
		}
		w.load(w.open(w.access)).Tidy(ctx)
		if n := len(w.names("index/")); n > 2 {
			t.Errorf("%s: %d index objects are left", fault, n)
		}
		for i, item := range items {
			w.expect(w.access, item.ID, snapshot.IsDone, fmt.Sprint("text ", i))
		}
	}
}

// TestCrashes: after a crash at any write, what was confirmed is there, and what was not can be done again.
func TestCrashes(t *testing.T) {
	for nth := 1; ; nth++ {
		w := newWorld(t, repo.InitOptions{})
		first := w.backup(w.access, "one")
		w.st = faultstore.New(w.mem, 1, faultstore.MustParse(fmt.Sprintf("put * before nth=%d permanent", nth))...)
		r := w.open(w.access)
		b := w.begin(r, w.load(r), repo.WriterOptions{})
		_, err := b.put(chunk.Data, []byte("two"))
		w.must(err)
		err = b.out.SendPacks(ctx)
		var item snapshot.Item
		if err == nil {
			b2 := b.snapshotOrNil(true, "one", "two")
			if b2 == nil {
				err = errors.New("cut off")
			} else if item, err = b.out.Publish(ctx, b2); err == nil {
				err = b.out.Confirm(ctx, item)
			}
		}
		b.out.Abort()
		w.st = w.mem
		w.expect(w.access, first.ID, snapshot.IsDone, "one")
		if err == nil {
			w.expect(w.access, item.ID, snapshot.IsDone, "one", "two")
			if nth < 6 {
				t.Errorf("a backup made only %d objects", nth-1)
			}
			return
		}
		w.expect(w.access, w.backup(w.access, "one", "two").ID, snapshot.IsDone, "one", "two")
	}
}

// snapshotOrNil is snapshot for stores that may fail.
func (b *run) snapshotOrNil(complete bool, texts ...string) *snapshot.Snapshot {
	soft := &failing{TB: b.w.t}
	w := *b.w
	w.t = soft
	c := *b
	c.w = &w
	var s *snapshot.Snapshot
	func() {
		defer func() {
			if r := recover(); r != nil && r != errFailing {
				panic(r)
			}
		}()
		s = c.snapshot(complete, texts...)
	}()
	return s
}

var errFailing = errors.New("failing")

type failing struct{ testing.TB }

func (f *failing) Fatal(...any) { panic(errFailing) }

// TestEpochs: a snapshot depends on packs of its own epoch alone.
func TestEpochs(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.backup(w.access, "one")
	r := w.open(w.access)
	s := w.load(r)
	old := w.begin(r, s, repo.WriterOptions{})
	b := w.begin(r, s, repo.WriterOptions{Epoch: 1})
	full := b.snapshot(true, "one")
	full.Epoch = 1
	item, err := b.out.Publish(ctx, full)
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	w.expect(w.access, item.ID, snapshot.IsDone, "one")
	w.must(b.out.Reference(old.hash.Sum([]byte("one")), chunk.Data))
	var wrong *repo.EpochError
	if _, err := b.out.Publish(ctx, full); !errors.As(err, &wrong) || wrong.Epoch != 0 || wrong.Want != 1 {
		t.Errorf("published with a pack of another epoch: %v", err)
	}
	if err := b.out.Reference(digest.Chunk{1}, chunk.Data); !errors.Is(err, repo.ErrUnknownChunk) {
		t.Errorf("unknown chunk: %v", err)
	}
}

// TestTwoOfTheSame: packs that two writers stored with the same chunk are both known, and one may be lost.
func TestTwoOfTheSame(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	a, b := w.begin(r, w.load(r), repo.WriterOptions{}), w.begin(r, w.load(r), repo.WriterOptions{})
	one, err := a.out.Publish(ctx, a.snapshot(true, "same"))
	w.must(err)
	w.must(a.out.Confirm(ctx, one))
	other := b.snapshot(true, "same")
	two, err := b.out.Publish(ctx, other)
	w.must(err)
	w.must(b.out.Confirm(ctx, two))
	packs := w.names("data/")
	if len(packs) != 2 {
		t.Fatalf("%d packs", len(packs))
	}
	for _, name := range packs {
		whole := w.object(name)
		w.must(w.mem.Delete(ctx, name))
		w.expect(w.access, one.ID, snapshot.IsDone, "same")
		w.add(name, whole)
	}
	for _, name := range packs {
		w.must(w.mem.Delete(ctx, name))
	}
	r = w.open(w.access)
	var damage *repo.DamageError
	if _, err := read(r, w.load(r), one); !errors.As(err, &damage) || !strings.HasPrefix(damage.Object, "data/") {
		t.Errorf("both lost: %v", err)
	}
}
