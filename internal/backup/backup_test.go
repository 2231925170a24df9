package backup_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/event"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/local"
)

// world is a repository in a folder, with one host.
type world struct {
	t      *testing.T
	st     store.Store
	access repo.Access
	dirs   state.Dirs
	root   string // repository
	src    string // what is backed up
	index  string // folder of chunk tables; empty: none
	opts   func(*backup.Options)
	report event.Func // of the repository
}

func newWorld(t *testing.T, init ...repo.InitOptions) *world {
	base := t.TempDir()
	w := &world{t: t, root: filepath.Join(base, "repo"), src: filepath.Join(base, "src"),
		dirs: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}}
	if err := os.Mkdir(w.src, 0o755); err != nil {
		t.Fatal(err)
	}
	st, err := local.Open(w.root, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w.st = st
	pass, err := keys.Passphrase([]byte("correct horse"), 10)
	if err != nil {
		t.Fatal(err)
	}
	var o repo.InitOptions
	if len(init) > 0 {
		o = init[0]
	}
	o.Keys, o.HostName = []repo.NewKey{{Label: "passphrase", Recipient: pass}}, "nas"
	w.access, err = repo.Init(context.Background(), st, o)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) write(name, content string) {
	path := filepath.Join(w.src, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) state(r *repo.Repository) *state.State {
	return state.Open(w.dirs, r.ID(), func(err error) { w.t.Log(err) })
}

// settle makes the files old enough that their ctime can be relied on.
func (w *world) settle() { time.Sleep(15 * time.Millisecond) }

func (w *world) open() (*repo.Repository, *repo.ScopeState) {
	w.t.Helper()
	r, err := repo.Open(context.Background(), w.st, w.access, repo.Options{IndexDir: w.index})
	if err != nil {
		w.t.Fatal(err)
	}
	s, err := r.Load(context.Background(), w.access.Host.ScopeID, true)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, s
}

// openToWrite opens the repository as a backup does: with a spool, and without prune records.
func (w *world) openToWrite(ctx context.Context) (*repo.Repository, *repo.ScopeState, error) {
	w.t.Helper()
	spool := state.Open(w.dirs, w.access.Host.Repository, func(err error) { w.t.Log(err) }).Spool()
	r, err := repo.Open(ctx, w.st, w.access, repo.Options{IndexDir: w.index, Spool: spool, Report: w.report})
	if err != nil {
		return nil, nil, err
	}
	s, err := r.LoadToWrite(ctx, w.access.Host.ScopeID)
	return r, s, err
}

func (w *world) backup() *backup.Result {
	w.t.Helper()
	res, err := w.try(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

func (w *world) try(ctx context.Context) (*backup.Result, error) {
	w.t.Helper()
	r, s, err := w.openToWrite(ctx)
	if err != nil {
		return nil, err
	}
	tree, err := dir.Open(w.src, dir.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer tree.Close()
	st := state.Open(w.dirs, r.ID(), func(err error) { w.t.Log(err) })
	key := w.access.Host.Scope().SourceKey()
	o := backup.Options{
		Repo: r, Scope: s, State: st, Tree: tree, Names: tree.Names, Host: "nas",
		Source: snapshot.Origin{ID: snapshot.SourceID(key, "dir", "nas", "", []byte(w.src)), Kind: "dir", Path: []byte(w.src)},
		Detect: backup.DefaultDetect, Program: "test",
	}
	if w.opts != nil {
		w.opts(&o)
	}
	return backup.Run(ctx, o)
}

func TestFirstThenUnchangedThenEdited(t *testing.T) {
	w := newWorld(t)
	w.write("a/one", "one")
	w.write("a/two", "two")
	w.write("b", "bbb")
	w.write("empty", "")
	if err := os.Symlink("b", filepath.Join(w.src, "link")); err != nil {
		t.Fatal(err)
	}
	w.settle()
	first := w.backup()
	if s := first.Snapshot.Stats; s.Files != 4 || s.Dirs != 2 || s.Others != 1 || s.FilesNew != 4 || s.BytesRead != 9 || s.Problems != 0 {
		t.Fatalf("first: %+v", s)
	}
	second := w.backup()
	if s := second.Snapshot.Stats; !second.Unchanged || s.BytesRead != 0 || s.PacksAdded != 0 || s.FilesUnchanged != 4 {
		t.Fatalf("second: unchanged %v, %+v", second.Unchanged, s)
	}
	if second.Snapshot.Sequence != 2 || second.Snapshot.Previous.ID != first.Snapshot.ID {
		t.Fatalf("second does not follow the first: %+v", second.Snapshot)
	}
	w.write("a/two", "TWO!")
	w.settle()
	third := w.backup()
	if s := third.Snapshot.Stats; third.Unchanged || s.BytesRead != 4 || s.FilesChanged != 1 || s.FilesUnchanged != 3 {
		t.Fatalf("third: %+v", s)
	}
}

// rename carries the history of a source over to w.src.
func (w *world) rename(from snapshot.Source) *snapshot.Snapshot {
	w.t.Helper()
	r, s := w.open()
	st := state.Open(w.dirs, r.ID(), nil)
	key := w.access.Host.Scope().SourceKey()
	snap, err := backup.Rename(context.Background(), backup.Options{
		Repo: r, Scope: s, State: st, Host: "nas", Program: "test",
		Source: snapshot.Origin{ID: snapshot.SourceID(key, "dir", "nas", "", []byte(w.src)), Kind: "dir", Path: []byte(w.src)},
	}, from)
	if err != nil {
		w.t.Fatal(err)
	}
	return snap
}
