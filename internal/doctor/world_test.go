package doctor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/cache"
	"firn/internal/store/mem"
)

// world is a repository in memory with one host, its folders and what it backs up.
type world struct {
	t      *testing.T
	mem    *mem.Store
	watch  func(mem.Request) error // nil: nothing
	now    func() time.Time
	access repo.Access
	header *repo.Header
	dirs   state.Dirs
	src    string
	use    repo.Access // of backups
}

func newWorld(t *testing.T, o mem.Options, class string) *world {
	base := t.TempDir()
	w := &world{t: t, now: time.Now, src: filepath.Join(base, "src"), dirs: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}}
	o.Now = func() time.Time { return w.now() }
	o.Watch = func(r mem.Request) error {
		if w.watch == nil {
			return nil
		}
		return w.watch(r)
	}
	w.mem = mem.New(o)
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(t.Context(), w.mem, repo.InitOptions{Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas", DataClass: class, Now: func() time.Time { return w.now() }})
	w.must(err)
	w.header, err = repo.ReadHeader(t.Context(), w.mem)
	w.must(err)
	w.must(state.Open(w.dirs, w.header.ID, nil).SetHostKey(w.access.Host))
	for i, text := range []string{"one", "two", strings.Repeat("three ", 10_000)} {
		w.write([]string{"one", "two", "sub/three"}[i], text)
	}
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
	time.Sleep(15 * time.Millisecond) // its ctime can be relied on from then on
}

// scopes opens the repository as its host does, with warm local caches where they are warm.
func (w *world) scopes(ctx context.Context, st store.Store, a repo.Access) (*repo.Repository, *repo.ScopeState, error) {
	local := state.Open(w.dirs, w.header.ID, nil)
	r, err := repo.Open(ctx, cache.New(st, cache.Options{Dir: local.StoreCacheDir()}), a, repo.Options{Now: w.now, IndexDir: local.ChunkTableDir(), Header: w.header})
	if err != nil {
		return nil, nil, err
	}
	s, err := r.Load(ctx, w.access.Host.ScopeID, true)
	return r, s, err
}

// backup backs up the source as its host, without a passphrase.
func (w *world) backup() (*backup.Result, error) {
	w.t.Helper()
	r, s, err := w.scopes(w.t.Context(), w.mem, w.use)
	if err != nil {
		return nil, err
	}
	tree, err := dir.Open(w.src, dir.Options{})
	w.must(err)
	defer tree.Close()
	return backup.Run(w.t.Context(), backup.Options{
		Repo: r, Scope: s, State: state.Open(w.dirs, r.ID(), func(err error) { w.t.Error(err) }), Tree: tree, Names: tree.Names, Host: "nas",
		Source: snapshot.Origin{ID: snapshot.SourceID(w.access.Host.Scope().SourceKey(), "dir", "nas", "", []byte(w.src)), Kind: "dir", Path: []byte(w.src)},
		Detect: backup.DefaultDetect, Program: "test", Now: w.now,
	})
}

// chill puts objects into a class as a rule of the bucket would, and tells how many.
func (w *world) chill(class string, which func(name string) bool) (n int) {
	w.must(w.mem.List(w.t.Context(), "", "", func(i store.Info) error {
		if which(i.Name) {
			w.mem.Reclass(i.Name, class)
			n++
		}
		return nil
	}))
	return n
}

// options are those of an examination by the host.
func (w *world) options() Options {
	return Options{Store: w.mem, Dirs: w.dirs, Now: w.now,
		Version: func(context.Context, string) (string, error) { return "1.3.0", nil },
		Open: func(ctx context.Context, _ *repo.Header) ([]*repo.ScopeState, error) {
			_, s, err := w.scopes(ctx, w.mem, repo.Access{Host: w.access.Host})
			if err != nil {
				return nil, err
			}
			return []*repo.ScopeState{s}, nil
		}}
}

func (w *world) examine(change func(*Options)) []Finding {
	w.t.Helper()
	o := w.options()
	if change != nil {
		change(&o)
	}
	findings, err := Examine(w.t.Context(), o)
	w.must(err)
	return findings
}
