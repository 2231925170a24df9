package repo_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firn/internal/chunk"
	"firn/internal/faultstore"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// onGet calls a function before objects below a prefix are read.
type onGet struct {
	store.Store
	prefix string
	do     func(name string) error
}

func (o *onGet) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if strings.HasPrefix(name, o.prefix) {
		if err := o.do(name); err != nil {
			return nil, err
		}
	}
	return o.Store.Get(ctx, name, off, n)
}

// retire writes a record and returns its name.
func (w *world) retire(packs []snapshot.Item) string {
	w.t.Helper()
	s := w.load(w.open(w.access))
	var retire []snapshot.Item
	retire = append(retire, packs...)
	names, err := s.PackNames(ctx, retire[0].Snapshot)
	w.must(err)
	name, err := s.Retire(ctx, names, nil)
	w.must(err)
	return name
}

// TestConfirmAfterFailure: what one record retires is not forgotten where the next one cannot be read at first.
func TestConfirmAfterFailure(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	first := w.backup(w.access, "one", "two")
	base := w.st
	fail := true
	second := ""
	w.st = &onGet{base, "prune/", func(name string) error {
		if name == second && fail {
			fail = false
			return store.ErrTimeout
		}
		return nil
	}}
	r := w.open(w.access)
	b := w.begin(r, w.load(r), repo.WriterOptions{})
	item, err := b.out.Publish(ctx, b.snapshot(true, "one"))
	w.must(err)
	w.retire([]snapshot.Item{first})
	other, err := w.load(w.open(w.access)).Retire(ctx, nil, []snapshot.ID{{1}})
	w.must(err)
	second = other
	if err := b.out.Confirm(ctx, item); !errors.Is(err, store.ErrTimeout) {
		t.Fatalf("first: %v", err)
	}
	var retired *repo.RetiredError
	if err := b.out.Confirm(ctx, item); !errors.As(err, &retired) {
		t.Errorf("confirmed with retired packs: %v", err)
	}
}

// TestMergedWhileRead: a record, or an index, that is listed and then merged into another one is found there.
func TestMergedWhileRead(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	first := w.backup(w.access, "one", "two")
	base := w.st
	r := w.open(w.access)
	s := w.load(r)
	b := w.begin(r, s, repo.WriterOptions{})
	item, err := b.out.Publish(ctx, b.snapshot(true, "one"))
	w.must(err)
	old := w.retire([]snapshot.Item{first})
	moved := &onGet{base, "prune/", nil}
	moved.do = func(name string) error {
		if name == old {
			w.st = base
			w.retire([]snapshot.Item{first})
			return base.Delete(ctx, old)
		}
		return nil
	}
	w.st = moved
	later := w.load(w.open(w.access))
	var retired *repo.RetiredError
	if err := later.Confirm(ctx, item); !errors.As(err, &retired) {
		t.Errorf("confirmed with retired packs: %v", err)
	}

	w.st = base
	for i := range 8 {
		w.backup(w.access, fmt.Sprint("text ", i))
	}
	merged := false
	w.st = &onGet{base, "index/", func(string) error {
		if !merged {
			merged = true
			w.st = base
			w.load(w.open(w.access)).Tidy(ctx)
		}
		return nil
	}}
	w.expect(w.access, first.ID, snapshot.IsDone, "one", "two")
	if !merged || len(w.names("index/")) > 4 {
		t.Errorf("merged %v, %d index objects", merged, len(w.names("index/")))
	}
}

// TestPacksWithoutIndex: packs that a failed run sent and could not name in an index are named by the next run that refers to them.
func TestPacksWithoutIndex(t *testing.T) {
	for _, rule := range []string{"put index/* before nth=1", "put index/* after nth=1"} {
		w := newWorld(t, repo.InitOptions{})
		w.st = faultstore.New(w.mem, 1, faultstore.MustParse(rule)...)
		r := w.open(w.access)
		s := w.load(r)
		j := &journal{}
		b := w.begin(r, s, repo.WriterOptions{Journal: j})
		_, err := b.put(chunk.Data, []byte("one"))
		w.must(err)
		var fault *faultstore.Fault
		if err := b.out.SendPacks(ctx); !errors.As(err, &fault) {
			t.Fatalf("%s: %v", rule, err)
		}
		b.out.Abort()
		next := w.begin(r, s, repo.WriterOptions{}) // of another source, say
		item, err := next.out.Publish(ctx, next.snapshot(true, "one", "two"))
		w.must(err)
		w.must(next.out.Confirm(ctx, item))
		w.expect(w.access, item.ID, snapshot.IsDone, "one", "two")

		again := w.begin(w.open(w.access), w.load(w.open(w.access)), repo.WriterOptions{})
		if n, err := again.out.Adopt(ctx, j.records); n != 1 || err != nil {
			t.Errorf("%d adopted, %v", n, err)
		}
	}
}

// TestJournalNamesWhatIsIndexed: a pack that is sent after an index was written is in the journal still.
func TestJournalNamesWhatIsIndexed(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	j := &journal{}
	b := w.begin(r, w.load(r), repo.WriterOptions{Journal: j, PackSize: 200})
	for i := range 2 {
		_, err := b.put(chunk.Data, []byte(fmt.Sprintf("%0300d", i)))
		w.must(err)
	}
	w.must(b.out.SendPacks(ctx))
	for i := range 2 { // the second seals the first
		_, err := b.put(chunk.Data, []byte(fmt.Sprintf("%0301d", i)))
		w.must(err)
	}
	b.out.Abort()
	if got := w.begin(r, w.load(r), repo.WriterOptions{}); len(j.records) < 4 {
		t.Fatalf("%d records", len(j.records))
	} else if n, err := got.out.Adopt(ctx, j.records); err != nil || n > 1 {
		t.Errorf("%d adopted, %v", n, err)
	}
}

// TestTakeOverRetired: packs that were retired before the snapshot was begun do not become part of a done one, whoever names them.
func TestTakeOverRetired(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	first := w.backup(w.access, "one")
	w.retire([]snapshot.Item{first})
	r := w.open(w.access)
	s := w.load(r)
	names, err := s.PackNames(ctx, first.Snapshot)
	w.must(err)
	b := w.begin(r, s, repo.WriterOptions{})
	b.out.ReferencePacks(names)
	item, err := b.out.Publish(ctx, b.snapshot(true, "other"))
	w.must(err)
	var retired *repo.RetiredError
	if err := b.out.Confirm(ctx, item); !errors.As(err, &retired) || len(retired.Packs) < len(names) {
		t.Errorf("confirmed: %v", err)
	}
}

// refusing is a store whose disk is full when packs are begun.
type refusing struct{ store.Store }

func (r *refusing) Create(context.Context, store.PutOptions) (store.Pending, error) {
	return nil, store.ErrFull
}

// TestNoRoomForPacks: a pack that cannot be sealed ends the run with its reason, however it goes on.
func TestNoRoomForPacks(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	w.st = &refusing{w.mem}
	r := w.open(w.access)
	b := w.begin(r, w.load(r), repo.WriterOptions{PackSize: 100})
	_, err := b.put(chunk.Data, []byte("one"))
	w.must(err)
	for i := range 3 {
		if err := b.out.SendPacks(ctx); !errors.Is(err, store.ErrFull) {
			t.Errorf("%d: %v", i, err)
		}
		if _, err := b.put(chunk.Data, []byte(fmt.Sprint("text ", i))); !errors.Is(err, store.ErrFull) {
			t.Errorf("%d: put: %v", i, err)
		}
	}
	b.out.Abort()
}

// TestLostPackSet: a pack set that is gone is told as damage, and stored again with the next snapshot.
func TestLostPackSet(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	first := w.backup(w.access, "one")
	for _, name := range w.names("packset/") {
		w.must(w.mem.Delete(ctx, name))
	}
	r := w.open(w.access)
	s := w.load(r)
	var object *repo.ObjectError
	if _, err := s.PackNames(ctx, first.Snapshot); !errors.As(err, &object) || !strings.HasPrefix(object.Name, "packset/") {
		t.Fatalf("missing pack set: %v", err)
	}
	b := w.begin(r, s, repo.WriterOptions{})
	item, err := b.out.Publish(ctx, b.snapshot(true, "one"))
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	if names, err := w.load(w.open(w.access)).PackNames(ctx, item.Snapshot); err != nil || len(names) == 0 {
		t.Errorf("%v, %v", names, err)
	}
}

// TestSilentStoreIsNoDamage: where the certificate of an author cannot be asked for, loading fails; nothing is left out.
func TestSilentStoreIsNoDamage(t *testing.T) {
	w := newWorld(t, repo.InitOptions{ScopeName: "shared"})
	host, err := w.open(w.access).Enroll(ctx, "other", "shared", keys.Writer)
	w.must(err)
	w.backup(repo.Access{Secrets: w.access.Secrets, Host: host}, "one")
	w.st = &onGet{w.mem, "hosts/" + host.Host.String(), func(string) error { return store.ErrTimeout }}
	r := w.open(w.access)
	if _, err := r.Load(ctx, w.access.Host.ScopeID, true); !errors.Is(err, store.ErrTimeout) {
		t.Errorf("loaded: %v", err)
	}
}

// TestSameContentOfBothKinds: a file that has the content of a manifest's chunk is stored beside it.
func TestSameContentOfBothKinds(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	b := w.begin(r, w.load(r), repo.WriterOptions{})
	for _, kind := range []chunk.Kind{chunk.Data, chunk.Meta} {
		id, err := b.put(kind, []byte("the same"))
		w.must(err)
		w.must(b.out.Reference(id, kind))
	}
	item, err := b.out.Publish(ctx, b.snapshot(true, "the same"))
	w.must(err)
	w.must(b.out.Confirm(ctx, item))
	w.expect(w.access, item.ID, snapshot.IsDone, "the same")
	if d, m := w.names("data/"), w.names("meta/"); len(d) != 1 || len(m) != 1 || slices.Equal(d, m) {
		t.Errorf("packs %v and %v", d, m)
	}
}

// TestPartialsSharePackSets: what a run has stored of its pack set for one snapshot it does not store again for the next.
func TestPartialsSharePackSets(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	r := w.open(w.access)
	b := w.begin(r, w.load(r), repo.WriterOptions{})
	part, err := b.out.Publish(ctx, b.snapshot(false, "one"))
	w.must(err)
	whole, err := b.out.Publish(ctx, b.snapshot(true, "one"))
	w.must(err)
	w.must(b.out.Confirm(ctx, whole))
	if n := len(w.names("packset/")); n != 1 || part.Packs[0] != whole.Packs[0] {
		t.Errorf("%d pack sets", n)
	}
	w.expect(w.access, whole.ID, snapshot.IsDone, "one")
}

// TestTablesOfTwoProcesses: processes that share the folder of local tables cost one another time and nothing else.
func TestTablesOfTwoProcesses(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	dir := t.TempDir()
	open := func() (*repo.Repository, *repo.ScopeState) {
		a := w.access
		a.Secrets = nil
		r, err := repo.Open(ctx, w.st, a, repo.Options{Now: w.clock.now, IndexDir: dir})
		w.must(err)
		return r, w.load(r)
	}
	var items []snapshot.Item
	write := func(r *repo.Repository, s *repo.ScopeState, n int) {
		for range n {
			b := w.begin(r, s, repo.WriterOptions{})
			item, err := b.out.Publish(ctx, b.snapshot(true, fmt.Sprint("text ", len(items))))
			w.must(err)
			w.must(b.out.Confirm(ctx, item))
			b.out.Abort()
			items = append(items, item)
		}
	}
	r1, s1 := open()
	r2, s2 := open()
	for range 3 { // both write tables, and remove those of the other
		write(r1, s1, 17)
		write(r2, s2, 17)
	}
	r3, s3 := open()
	write(r3, s3, 1)
	r, err := repo.Open(ctx, w.st, w.access, repo.Options{Now: w.clock.now, IndexDir: dir})
	w.must(err)
	s := w.load(r)
	for i, item := range items {
		if got, err := read(r, s, item); err != nil || len(got) != 1 || got[0] != fmt.Sprint("text ", i) {
			t.Fatalf("snapshot %d: %q, %v", i, got, err)
		}
	}
}

// TestIndexInPieces reads an index of many objects into tables as it comes, for a machine that has none; a disk that refuses tables takes nothing away.
func TestIndexInPieces(t *testing.T) {
	w := newWorld(t, repo.InitOptions{})
	open := func(o repo.Options) (*repo.Repository, *repo.ScopeState) {
		o.Now = w.clock.now
		r, err := repo.Open(ctx, w.st, w.access, o)
		w.must(err)
		return r, w.load(r)
	}
	r, s := open(repo.Options{})
	var items []snapshot.Item
	for i := range 40 {
		b := w.begin(r, s, repo.WriterOptions{})
		item, err := b.out.Publish(ctx, b.snapshot(true, fmt.Sprint("text ", i)))
		w.must(err)
		w.must(b.out.Confirm(ctx, item))
		b.out.Abort()
		items = append(items, item)
	}
	full := filepath.Join(t.TempDir(), "file")
	w.must(os.WriteFile(full, nil, 0o600))
	for _, held := range []int{1, 3, 7, 1000} {
		for _, dir := range []string{t.TempDir(), filepath.Join(full, "below a file"), ""} {
			for range 3 { // the second finds the tables of the first
				r, s := open(repo.Holding(repo.Options{IndexDir: dir}, held))
				for i, item := range items {
					if got, err := read(r, s, item); err != nil || len(got) != 1 || got[0] != fmt.Sprint("text ", i) {
						t.Fatalf("%d held, in %q, snapshot %d: %q, %v", held, dir, i, got, err)
					}
				}
			}
			if tables, err := filepath.Glob(filepath.Join(dir, "*", "*.table")); dir != "" && (err != nil || len(tables) > 6) {
				t.Errorf("%d held: %d tables are left, %v", held, len(tables), err)
			}
		}
	}
}
