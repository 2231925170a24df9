package doctor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/store/mem"
)

// chilledWorld has two backups behind it, and then a rule of the bucket takes all hot objects into a cold class. From then on, no cold object may be read.
func chilledWorld(t *testing.T, use func(repo.Access) repo.Access, forget ...string) *world {
	w := newWorld(t, mem.Options{}, "DEEP_ARCHIVE")
	w.use = use(w.access)
	for _, text := range []string{"a", "b"} {
		w.write("new", text)
		_, err := w.backup()
		w.must(err)
	}
	for _, part := range forget {
		w.must(os.RemoveAll(filepath.Join(w.dirs.Cache, fmt.Sprintf("%x", w.header.ID), part)))
	}
	if n := w.chill("GLACIER", isHot); n < 15 {
		t.Fatalf("%d objects chilled", n)
	}
	return w
}

func hostOnly(a repo.Access) repo.Access   { return repo.Access{Host: a.Host} }
func everything(a repo.Access) repo.Access { return a }

// TestChilledBackup: backups go on from local state, whatever of it is left but the copies of the store's objects.
func TestChilledBackup(t *testing.T) {
	for name, c := range map[string]struct {
		use    func(repo.Access) repo.Access
		forget []string
		reads  bool // tries in vain to read the last manifest, and then reads the source
	}{
		"write-only":             {use: hostOnly},
		"all keys":               {use: everything},
		"without chunk table":    {use: hostOnly, forget: []string{"chunks"}},
		"without last manifest":  {use: hostOnly, forget: []string{"sources"}},
		"all keys, no manifest":  {use: everything, forget: []string{"sources"}, reads: true},
		"all keys, no table too": {use: everything, forget: []string{"sources", "chunks"}, reads: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := chilledWorld(t, c.use, c.forget...)
			if !c.reads {
				w.watch = mem.NoColdGet(t.Errorf)
			}
			for _, text := range []string{"b", "c"} { // unchanged, changed
				if text != "b" {
					w.write("new", text)
				}
				res, err := w.backup()
				if err != nil {
					t.Fatal(err)
				}
				if s := res.Snapshot.Stats; s.Files != 4 || s.Problems != 0 {
					t.Errorf("%+v", s)
				}
			}
			w.chill("STANDARD", isHot)
			_, s, err := w.scopes(t.Context(), w.mem, w.access)
			w.must(err)
			for _, it := range s.Items {
				if it.Status() != snapshot.IsDone {
					t.Errorf("snapshot %v is %v", it.ID, it.Status())
				}
			}
			if len(s.Items) != 4 || len(s.Damaged) > 0 {
				t.Errorf("%d snapshots, %v", len(s.Items), s.Damaged)
			}
		})
	}
}

// TestChilledAndForgotten: without copies of the store's objects a backup cannot know what is there. It says why, and stores nothing.
func TestChilledAndForgotten(t *testing.T) {
	w := chilledWorld(t, hostOnly, "store", "chunks")
	w.watch = func(r mem.Request) error {
		if r.Op == "put" {
			t.Errorf("put of %s", r.Name)
		}
		return nil
	}
	w.write("new", "c")
	_, err := w.backup()
	var failed *store.Error
	if !errors.Is(err, store.ErrCold) || !errors.As(err, &failed) || !strings.HasPrefix(failed.Name, "index/") {
		t.Errorf("%v", err)
	}
}

// TestHot finds what was chilled, thaws it and finds that.
func TestHot(t *testing.T) {
	w := chilledWorld(t, hostOnly)
	w.watch = mem.NoColdGet(func(format string, args ...any) {
		if args[0] != "firn.json" { // it is tried, since nothing else says whether it is there and readable
			t.Errorf(format, args...)
		}
	})
	findings := w.examine(nil)
	got := tell(findings, CheckHot)
	if len(got) != 1 || !strings.HasPrefix(got[0], "problem: ") || !strings.Contains(got[0], "lie in GLACIER") {
		t.Fatalf("%q", got)
	}
	if got := tell(findings, CheckRepository); len(got) != 1 || got[0] != "problem: firn.json lies in a cold class and cannot be read" {
		t.Errorf("%q", got)
	}
	for _, f := range findings {
		if fix := f.Fix.Thaw; f.Check == CheckHot && (fix == nil || fix.Objects != int64(w.chill("GLACIER", isHot)) || fix.Bytes < 1000 || fix.Readable != 0 || len(f.Evidence) != 3) {
			t.Errorf("%+v", f)
		}
	}
	var names []string
	w.must(w.mem.List(t.Context(), "", "", func(i store.Info) error {
		if isHot(i.Name) {
			names = append(names, i.Name)
		}
		return nil
	}))
	for _, name := range names {
		_, err := w.mem.Thaw(t.Context(), name, store.ThawOptions{Tier: store.Expedited, Days: 3})
		w.must(err)
	}
	later := w.now().Add(6 * time.Hour)
	w.now = func() time.Time { return later }
	w.watch = nil
	got = tell(w.examine(nil), CheckHot)
	if len(got) != 1 || !strings.HasPrefix(got[0], "warning: ") || !strings.Contains(got[0], "have a copy that can be read until 20") {
		t.Errorf("%q", got)
	}
}
