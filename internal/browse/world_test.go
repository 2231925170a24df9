package browse_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/browse"
	"firn/internal/glob"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store/mem"
)

// world is a repository in memory, with one host and one folder that is backed up.
type world struct {
	t      testing.TB
	st     *mem.Store
	access repo.Access
	dirs   state.Dirs
	src    string
	full   bool
	tags   []string
}

func newWorld(t testing.TB) *world {
	base := t.TempDir()
	w := &world{t: t, st: mem.New(mem.Options{}), src: filepath.Join(base, "src"),
		dirs: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}}
	w.must(os.Mkdir(w.src, 0o755))
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(context.Background(), w.st, repo.InitOptions{Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas"})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name, content string) {
	w.t.Helper()
	path := filepath.Join(w.src, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, []byte(content), 0o644))
	w.must(os.Chmod(path, 0o644)) // whatever the umask is
}

func (w *world) open() (*repo.Repository, *repo.ScopeState) {
	w.t.Helper()
	r, err := repo.Open(context.Background(), w.st, w.access, repo.Options{})
	w.must(err)
	s, err := r.Load(context.Background(), w.access.Host.ScopeID, true)
	w.must(err)
	return r, s
}

// backup makes a snapshot of w.src.
func (w *world) backup() *snapshot.Snapshot {
	w.t.Helper()
	time.Sleep(15 * time.Millisecond) // so that times of change can be relied on
	r, s := w.open()
	tree, err := dir.Open(w.src, dir.Options{Problem: func(path []byte, err error) { w.t.Errorf("%q: %v", path, err) }})
	w.must(err)
	defer func() { _ = tree.Close() }()
	st := state.Open(w.dirs, r.ID(), func(err error) { w.t.Log(err) })
	key := w.access.Host.Scope().SourceKey()
	res, err := backup.Run(context.Background(), backup.Options{
		Repo: r, Scope: s, State: st, Tree: tree, Names: tree.Names, Host: "nas", Full: w.full, Tags: w.tags,
		Source: snapshot.Origin{ID: snapshot.SourceID(key, "dir", "nas", "", []byte(w.src)), Kind: "dir", Path: []byte(w.src)},
		Detect: backup.DefaultDetect, Program: "test",
	})
	w.must(err)
	return res.Snapshot
}

func (w *world) view(s *snapshot.Snapshot) *browse.View {
	w.t.Helper()
	r, scope := w.open()
	v, err := browse.Open(w.t.Context(), r, scope, s)
	w.must(err)
	return v
}

func patterns(t testing.TB, lines ...string) *glob.Set {
	t.Helper()
	s, err := glob.Parse(lines, "test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}
