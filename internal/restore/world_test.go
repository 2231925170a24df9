package restore_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"firn/internal/backup"
	"firn/internal/event"
	"firn/internal/format"
	"firn/internal/glob"
	"firn/internal/keys"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/dir"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/target"
)

// world is a repository in memory, with one host and one folder that is backed up.
type world struct {
	t      testing.TB
	st     *mem.Store
	access repo.Access
	dirs   state.Dirs
	base   string
	src    string
	pack   int64 // size of packs
	oldest int64 // time of files that are planted, seconds
	snap   *snapshot.Snapshot

	mu       sync.Mutex
	problems []string
	items    []string
}

func newWorld(t testing.TB) *world { return newWorldOn(t, mem.Options{}) }

func newWorldOn(t testing.TB, o mem.Options) *world {
	base := t.TempDir()
	w := &world{t: t, st: mem.New(o), base: base, oldest: -2e8, src: filepath.Join(base, "src"),
		dirs: state.Dirs{Cache: filepath.Join(base, "cache"), State: filepath.Join(base, "state")}}
	w.must(os.Mkdir(w.src, 0o755))
	pass, err := keys.Passphrase([]byte("correct horse"), keys.MinWork)
	w.must(err)
	w.access, err = repo.Init(context.Background(), w.st, repo.InitOptions{
		Keys: []repo.NewKey{{Label: "passphrase", Recipient: pass}}, HostName: "nas",
		Chunk:  &format.Chunk{Min: 64 << 10, Avg: 128 << 10, Max: 512 << 10}, // many chunks from small files
		Bundle: &format.Bundle{Min: 64 << 10, Max: 256 << 10},
	})
	w.must(err)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name string, content []byte) {
	w.t.Helper()
	path := filepath.Join(w.src, name)
	w.must(os.MkdirAll(filepath.Dir(path), 0o755))
	w.must(os.WriteFile(path, content, 0o644))
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
	return w.backupWith(r, s)
}

// backupWith makes a snapshot with what is known of the scope, which may be out of date.
func (w *world) backupWith(r *repo.Repository, s *repo.ScopeState) *snapshot.Snapshot {
	w.t.Helper()
	tree, err := dir.Open(w.src, dir.Options{Problem: func(path []byte, err error) { w.t.Errorf("%q: %v", path, err) }})
	w.must(err)
	defer func() { _ = tree.Close() }()
	st := state.Open(w.dirs, r.ID(), func(err error) { w.t.Log(err) })
	key := w.access.Host.Scope().SourceKey()
	res, err := backup.Run(context.Background(), backup.Options{
		Repo: r, Scope: s, State: st, Tree: tree, Names: tree.Names, Host: "nas", PackSize: w.pack,
		Source: snapshot.Origin{ID: snapshot.SourceID(key, "dir", "nas", "", []byte(w.src)), Kind: "dir", Path: []byte(w.src)},
		Detect: backup.DefaultDetect, Program: "test",
	})
	w.must(err)
	w.snap = res.Snapshot
	return res.Snapshot
}

// options are for restoring the last snapshot into a folder of this name.
func (w *world) options(name string) restore.Options {
	w.t.Helper()
	r, s := w.open()
	w.problems, w.items = nil, nil
	return restore.Options{Repo: r, Scope: s, Snapshot: w.snap, Target: filepath.Join(w.base, name), Overwrite: target.Changed,
		Report: func(e event.Event) {
			if p, ok := e.(event.Problem); ok {
				w.mu.Lock()
				w.problems = append(w.problems, fmt.Sprintf("%s: %v", p.Path, p.Err))
				w.mu.Unlock()
			}
		},
		Each: func(i restore.Item) {
			w.mu.Lock()
			w.items = append(w.items, fmt.Sprintf("%s %s %s", i.Action, i.Type, i.Path))
			w.mu.Unlock()
		}}
}

func (w *world) run(o restore.Options) *restore.Result {
	w.t.Helper()
	res, err := restore.Run(context.Background(), o)
	w.must(err)
	return res
}

// clean is run and fails the test for any problem.
func (w *world) clean(o restore.Options) *restore.Result {
	w.t.Helper()
	res := w.run(o)
	if res.Failed > 0 || len(w.problems) > 0 {
		w.t.Fatalf("%d failed: %v", res.Failed, w.problems)
	}
	return res
}

func patterns(t testing.TB, lines ...string) *glob.Set {
	t.Helper()
	s, err := glob.Parse(lines, "test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// describe lists a tree: one line for each entry, with all that a restore has to bring back. Of the root itself nothing is told.
func describe(t testing.TB, root string) []string {
	t.Helper()
	tree, err := dir.Open(root, dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tree.Close() }()
	inodes := map[uint64]string{}
	var out []string
	err = tree.Walk(context.Background(), func(e *source.Entry) error {
		if len(e.Path) == 0 {
			return nil
		}
		s := e.Stat
		line := fmt.Sprintf("%q type %d mode %04o owner %d:%d mtime %d.%09d", e.Path, s.Type, s.Mode, s.UID, s.GID, s.MtimeSec, s.MtimeNsec)
		d, err := tree.Details(e.Path, &s)
		if err != nil {
			return err
		}
		if s.Type == source.Char || s.Type == source.Block {
			line += fmt.Sprintf(" rdev %x", s.Rdev)
		}
		if s.Type != source.Dir && s.Nlink > 1 {
			if first, ok := inodes[s.Inode]; ok {
				line += " same as " + first
			} else {
				inodes[s.Inode] = string(e.Path)
			}
		}
		line += fmt.Sprintf(" %q %q", d.Target, d.Xattrs)
		if s.Type == source.File {
			content, err := os.ReadFile(filepath.Join(root, string(e.Path)))
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d bytes %x", len(content), hashOf(content))
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func hashOf(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// sameTree compares two trees.
func sameTree(t testing.TB, want, got string) {
	t.Helper()
	sameLines(t, describe(t, want), describe(t, got))
}

func sameLines(t testing.TB, want, got []string) {
	t.Helper()
	i, shown := 0, 0
	for i < max(len(want), len(got)) && shown < 8 {
		a, b := "", ""
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a != b {
			t.Errorf("want %s\n got %s", a, b)
			shown++
		}
		i++
	}
}

// packs names the packs of a kind: "data/" or "meta/".
func (w *world) packs(prefix string) []string {
	w.t.Helper()
	var names []string
	w.must(w.st.List(context.Background(), prefix, "", func(i store.Info) error {
		names = append(names, i.Name)
		return nil
	}))
	sort.Strings(names)
	return names
}

// object reads a stored object.
func (w *world) object(name string) []byte {
	w.t.Helper()
	rc, err := w.st.Get(context.Background(), name, 0, -1)
	w.must(err)
	defer func() { _ = rc.Close() }()
	var b bytes.Buffer
	_, err = b.ReadFrom(rc)
	w.must(err)
	return b.Bytes()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func (w *world) noTemporaries(name string) {
	w.t.Helper()
	w.must(filepath.WalkDir(filepath.Join(w.base, name), func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".firn") {
			w.t.Errorf("left behind: %s", path)
		}
		return err
	}))
}
