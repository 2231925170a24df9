package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/browse"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// world is a repository in memory whose store can be made to fail or hang, and an archive of it.
type world struct {
	t      testing.TB
	base   string
	st     *mem.Store
	access repo.Access
	blind  bool
	*Archive

	mu     sync.Mutex
	now    time.Time
	fail   error         // of opening, and of all requests of the archive
	hang   chan struct{} // requests of the archive wait until it is closed
	opens  atomic.Int64
	shuts  atomic.Int64
	inside atomic.Int64 // requests of an archive's store, as they run
	asked  atomic.Int64
}

// slow is the store that an archive gets.
type slow struct {
	store.Store
	w      *world
	closed atomic.Bool
}

func (s *slow) ask(ctx context.Context) error {
	if s.closed.Load() {
		s.w.t.Error("a request to a store that was closed")
	}
	s.w.asked.Add(1)
	s.w.mu.Lock()
	fail, hang := s.w.fail, s.w.hang
	s.w.mu.Unlock()
	if hang != nil {
		s.w.inside.Add(1)
		defer s.w.inside.Add(-1)
		select {
		case <-hang:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fail
}

func (s *slow) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := s.ask(ctx); err != nil {
		return nil, err
	}
	return s.Store.Get(ctx, name, offset, length)
}

func (s *slow) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if err := s.ask(ctx); err != nil {
		return err
	}
	return s.Store.List(ctx, prefix, after, fn)
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, base: t.TempDir(), st: mem.New(mem.Options{}), now: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)}
	w.must(os.Mkdir(filepath.Join(w.base, "src"), 0o755))
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(context.Background(), w.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas"})
	w.must(err)
	w.Archive = newArchive(&Place{Name: "nas", Open: w.open}, w.clock)
	w.waits = waits{time.Hour, time.Hour, time.Hour, time.Hour} // no test depends on speed
	t.Cleanup(func() {
		w.close()
		if o, s := w.opens.Load(), w.shuts.Load(); o != s {
			t.Errorf("opened %d times, closed %d times", o, s)
		}
	})
	return w
}

func (w *world) open(ctx context.Context) (*Opened, error) {
	s := &slow{Store: w.st, w: w}
	if err := s.ask(ctx); err != nil {
		return nil, err
	}
	access := repo.Access{Secrets: w.access.Secrets}
	if w.blind {
		access = repo.Access{Host: w.access.Host}
	}
	r, err := repo.Open(ctx, s, access, repo.Options{Now: w.clock})
	if err != nil {
		return nil, err
	}
	w.opens.Add(1)
	return &Opened{Repo: r, Store: s, Reads: !w.blind, Close: func() {
		w.shuts.Add(1)
		if s.closed.Swap(true) {
			w.t.Error("closed twice")
		}
	}}, nil
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) advance(d time.Duration) {
	w.mu.Lock()
	w.now = w.now.Add(d)
	w.mu.Unlock()
}

func (w *world) set(fail error, hang chan struct{}) {
	w.mu.Lock()
	w.fail, w.hang = fail, hang
	w.mu.Unlock()
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// backup makes a snapshot in which a.txt has a content.
func (w *world) backup(content string) *snapshot.Snapshot {
	w.t.Helper()
	ctx, src := context.Background(), filepath.Join(w.base, "src")
	w.must(os.WriteFile(filepath.Join(src, "a.txt"), []byte(content), 0o644))
	r, err := repo.Open(ctx, w.st, w.access, repo.Options{Now: w.clock})
	w.must(err)
	scope, err := r.Load(ctx, w.access.Host.ScopeID, true)
	w.must(err)
	tree, err := dir.Open(src, dir.Options{Problem: func(path []byte, err error) { w.t.Errorf("%q: %v", path, err) }})
	w.must(err)
	defer func() { _ = tree.Close() }()
	dirs := state.Dirs{Cache: filepath.Join(w.base, "cache"), State: filepath.Join(w.base, "state")}
	res, err := backup.Run(ctx, backup.Options{Repo: r, Scope: scope, State: state.Open(dirs, r.ID(), func(err error) { w.t.Log(err) }), Tree: tree, Names: tree.Names, Host: "nas", Full: true,
		Source: snapshot.Origin{ID: snapshot.SourceID(w.access.Host.Scope().SourceKey(), "dir", "nas", "", []byte(src)), Kind: "dir", Path: []byte(src)}, Detect: backup.DefaultDetect, Program: "test", Now: w.clock})
	w.must(err)
	w.advance(time.Minute)
	return res.Snapshot
}

// cat reads a.txt of a snapshot.
func (w *world) cat(id snapshot.ID) (string, error) {
	var b bytes.Buffer
	err := w.View(context.Background(), id, func(v *browse.View) error {
		_, err := v.Cat(&b, []byte("a.txt"), browse.CatOptions{})
		return err
	})
	return b.String(), err
}

func (w *world) count() int {
	w.t.Helper()
	st, err := w.State(context.Background())
	w.must(err)
	return len(st.Items)
}

// remove takes a snapshot away with all that it needs, as a prune does in the end.
func (w *world) remove(s *snapshot.Snapshot) {
	w.t.Helper()
	var names []string
	w.must(w.st.List(context.Background(), "snapshots/", "", func(i store.Info) error {
		if strings.Contains(i.Name, s.ID.String()) {
			names = append(names, i.Name)
		}
		return nil
	}))
	for _, area := range []string{"data/", "meta/"} {
		w.must(w.st.List(context.Background(), area, "", func(i store.Info) error { names = append(names, i.Name); return nil }))
	}
	for _, name := range names {
		w.must(w.st.Delete(context.Background(), name))
	}
}

func TestArchive(t *testing.T) {
	w := newWorld(t)
	first := w.backup("one")
	if n := w.count(); n != 1 {
		t.Fatal(n)
	}
	asked := w.asked.Load()
	if n := w.count(); n != 1 || w.asked.Load() != asked {
		t.Errorf("%d snapshots, %d requests though it is known", n, w.asked.Load()-asked)
	}
	if got, err := w.cat(first.ID); got != "one" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	second := w.backup("two")
	if got, err := w.cat(second.ID); got != "two" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := w.cat(first.ID); got != "one" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := w.cat(snapshot.ID{1}); !errors.Is(err, snapshot.ErrNone) {
		t.Error(err)
	}
	third := w.backup("three")
	w.advance(-time.Minute) // as if none had passed
	if n := w.count(); n != 2 {
		t.Errorf("%d snapshots", n)
	}
	w.Expire()
	if n := w.count(); n != 3 {
		t.Errorf("%d snapshots", n)
	}
	err := w.Scope(t.Context(), w.access.Host.ScopeID, func(_ *Opened, s *repo.ScopeState) error {
		if !holds(s, third.ID) || s.Items[0].Snapshot != w.known.item(s.Items[0].ID) {
			t.Error("the scope is old, or does not share its snapshots")
		}
		return nil
	})
	w.must(err)
	if w.opens.Load() != 1 {
		t.Errorf("opened %d times", w.opens.Load())
	}
}

func (s State) item(id snapshot.ID) *snapshot.Snapshot {
	it, _ := s.Find(id)
	return it.Snapshot
}

// TestState: look-ups in many snapshots.
func TestState(t *testing.T) {
	var st State
	for i := range 50 {
		s := &snapshot.Snapshot{Sequence: uint64(i/2 + 1), Complete: true, Start: time.Unix(int64(1000-i), 0), Host: "h"}
		s.ID[0], s.ID[1] = byte(i*7), byte(i)
		s.Source.ID[0] = byte(i % 2)
		st.Items = append(st.Items, snapshot.Item{Snapshot: s, Marked: i != 20})
	}
	all := st.Items
	st = st.arranged()
	for _, it := range all {
		if got, ok := st.Find(it.ID); !ok || got.Snapshot != it.Snapshot {
			t.Errorf("%v: %v", it.ID, got)
		}
		if got := st.Prefixed(it.ID.String()[:4], 5); len(got) != 1 || got[0].Snapshot != it.Snapshot {
			t.Errorf("%v: %d", it.ID, len(got))
		}
		before, ok := st.Previous(it)
		want := it.Sequence - 1
		if it.Source.ID[0] == 0 && want == 11 {
			want = 10 // the eleventh is not done
		}
		if ok != (want > 0) || ok && (before.Sequence != want || before.Source.ID != it.Source.ID) {
			t.Errorf("before %d: %v", it.Sequence, ok)
		}
	}
	if _, ok := st.Find(snapshot.ID{9, 9}); ok || len(st.Prefixed("", 7)) != 7 || len(st.Prefixed("zz", 7)) != 0 {
		t.Error("found what is not there")
	}
	if got := st.Sources(); len(got) != 2 || got[0].Sequence != 25 || len(st.History(got[0].Source.ID)) != 25 {
		t.Errorf("%v", got)
	}
	if stampsOf(all)[keys.ScopeID{}] != stampsOf(st.Items)[keys.ScopeID{}] {
		t.Error("the stamp depends on order")
	}
	all[3].Forgotten = true
	if stampsOf(all)[keys.ScopeID{}] == stampsOf(st.Items)[keys.ScopeID{}] {
		t.Error("the stamp does not tell what is forgotten")
	}
}

func TestArchiveFails(t *testing.T) {
	w := newWorld(t)
	w.backup("one")
	gone := errors.New("gone")
	w.set(gone, nil)
	if _, err := w.State(t.Context()); !errors.Is(err, gone) {
		t.Errorf("opening: %v", err)
	}
	w.set(nil, nil)
	if n := w.count(); n != 1 {
		t.Errorf("%d snapshots once it works", n)
	}
	w.set(gone, nil)
	w.advance(time.Hour)
	st, err := w.State(t.Context())
	if err != nil || len(st.Items) != 1 || !errors.Is(st.Err, gone) {
		t.Errorf("%d snapshots, %v, %v", len(st.Items), st.Err, err)
	}
	asked := w.asked.Load()
	if st, err = w.State(t.Context()); err != nil || st.Err == nil || w.asked.Load() != asked {
		t.Errorf("%v, %v, asked %d times at once", st.Err, err, w.asked.Load()-asked)
	}
	w.set(nil, nil)
	w.advance(retryWait)
	if st, err = w.State(t.Context()); err != nil || st.Err != nil || w.opens.Load() != 2 {
		t.Errorf("%v, %v, opened %d times", st.Err, err, w.opens.Load())
	}
}

// TestArchiveHangs: what is known is told while the store does not answer, by many at once with one request.
func TestArchiveHangs(t *testing.T) {
	w := newWorld(t)
	first := w.backup("one")
	hang := make(chan struct{})
	w.set(nil, hang)
	w.waits.first = 0
	_, err := w.State(t.Context())
	var status *StatusError
	if !errors.As(err, &status) || status.Code != 503 {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.View(ctx, first.ID, nil); err == nil {
		t.Error("a view of a store that hangs")
	}
	close(hang)
	w.set(nil, nil)
	w.waits.first = time.Hour
	if got, err := w.cat(first.ID); got != "one" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	hang = make(chan struct{})
	w.set(nil, hang)
	w.advance(time.Hour)
	w.waits.patience = 0
	asked := w.asked.Load()
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if st, err := w.State(t.Context()); err != nil || len(st.Items) != 1 || len(w.Glance().Items) != 1 || len(w.Known().Items) != 1 {
				t.Errorf("%d, %v", len(st.Items), err)
			}
		})
	}
	all.Wait()
	if n := w.asked.Load() - asked; n > 4 {
		t.Errorf("%d requests", n)
	}
	close(hang)
}

// TestArchivePruned: a snapshot goes away while it is looked at.
func TestArchivePruned(t *testing.T) {
	w := newWorld(t)
	first := w.backup("one")
	if got, err := w.cat(first.ID); got != "one" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	w.remove(first)
	var status *StatusError
	if _, err := w.cat(first.ID); !errors.As(err, &status) || status.Code != 410 || status.Hint == "" {
		t.Errorf("content: %v", err)
	}
	if _, err := w.Item(t.Context(), first.ID); !errors.As(err, &status) || status.Code != 410 {
		t.Errorf("%v", err)
	}
	second := w.backup("two")
	if got, err := w.cat(second.ID); got != "two" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := w.Item(t.Context(), snapshot.ID{3}); errors.As(err, &status) && status.Code == 410 || !errors.Is(err, snapshot.ErrNone) {
		t.Errorf("%v", err)
	}
}

func TestArchiveBlind(t *testing.T) {
	w := newWorld(t)
	w.blind = true
	first := w.backup("one")
	st, err := w.State(t.Context())
	if err != nil || st.Reads || len(st.Items) != 1 {
		t.Errorf("%+v, %v", st, err)
	}
	var status *StatusError
	if _, err := w.cat(first.ID); !errors.As(err, &status) || status.Code != 403 || !strings.Contains(status.Text, "cannot read") {
		t.Errorf("%v", err)
	}
}

// TestArchiveRests: who uses a repository keeps it open; else it is closed, and opened again for the next one.
func TestArchiveRests(t *testing.T) {
	w := newWorld(t)
	first := w.backup("one")
	inside, leave := make(chan struct{}), make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- w.View(context.Background(), first.ID, func(v *browse.View) error {
			close(inside)
			<-leave
			_, err := v.Cat(io.Discard, []byte("a.txt"), browse.CatOptions{})
			return err
		})
	}()
	<-inside
	w.rest()
	if n := w.shuts.Load(); n != 0 {
		t.Error("closed while it was used")
	}
	close(leave)
	w.must(<-ended)
	w.rest()
	w.rest()
	if n := w.shuts.Load(); n != 1 || w.live != nil {
		t.Errorf("closed %d times", n)
	}
	if got, err := w.cat(first.ID); got != "one" || err != nil || w.opens.Load() != 2 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestArchiveCloses(t *testing.T) {
	w := newWorld(t)
	w.backup("one")
	w.set(nil, make(chan struct{})) // opening hangs for ever
	ended := make(chan error)
	go func() { _, err := w.State(context.Background()); ended <- err }()
	for w.inside.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	w.close()
	if err := <-ended; err == nil {
		t.Error("opened after all")
	}
	if _, err := w.State(t.Context()); !errors.Is(err, errClosed) {
		t.Error(err)
	}
	if err := w.Use(t.Context(), func(*Opened) error { return nil }); !errors.Is(err, errClosed) {
		t.Error(err)
	}
}

// TestArchiveRace: everything at once, with more snapshots than are kept open.
func TestArchiveRace(t *testing.T) {
	w := newWorld(t)
	var ids []snapshot.ID
	for i := range maxViews + 3 {
		ids = append(ids, w.backup(strings.Repeat("x", i)).ID)
	}
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 30 {
				switch k := (i*7 + g*3) % len(ids); {
				case i%10 == 9:
					w.rest()
				case i%10 == 5:
					w.advance(time.Minute)
					w.Expire()
				case i%10 == 6:
					if err := w.Scope(t.Context(), w.access.Host.ScopeID, func(*Opened, *repo.ScopeState) error { return nil }); err != nil {
						t.Error(err)
					}
				default:
					if got, err := w.cat(ids[k]); err != nil || len(got) != k {
						t.Errorf("%q, %v", got, err)
					}
				}
			}
		})
	}
	all.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.live != nil && len(w.live.views) > maxViews {
		t.Errorf("%d snapshots are open", len(w.live.views))
	}
}
