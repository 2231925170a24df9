package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"firn/internal/backup"
	"firn/internal/manifest"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
)

// oddTree shows a tree otherwise than it is.
type oddTree struct {
	source.Tree
	stat   func(path string, st *source.Stat)
	unread string // cannot be opened
}

func (o *oddTree) Walk(ctx context.Context, fn func(*source.Entry) error) error {
	return o.Tree.Walk(ctx, func(e *source.Entry) error {
		odd := *e
		if o.stat != nil {
			o.stat(string(e.Path), &odd.Stat)
		}
		return fn(&odd)
	})
}

func (o *oddTree) Open(path []byte) (source.Content, error) {
	if string(path) == o.unread {
		return nil, fs.ErrPermission
	}
	return o.Tree.Open(path)
}

func (w *world) link(old, name string) {
	w.t.Helper()
	if err := os.Link(filepath.Join(w.src, old), filepath.Join(w.src, name)); err != nil {
		w.t.Skip(err)
	}
}

// TestFirstNameUnreadable: where the first name of a file cannot be read any more, its other names do not become links to nothing, whether or not they
// seem to be as they were.
func TestFirstNameUnreadable(t *testing.T) {
	for _, second := range []func(*source.Stat){func(*source.Stat) {}, func(st *source.Stat) { st.Mode ^= 0o020 }} {
		w := newWorld(t)
		w.write("a", "the content")
		w.write("c", "other")
		w.link("a", "b")
		w.settle()
		w.backup()
		w.opts = func(o *backup.Options) {
			o.Tree = &oddTree{Tree: o.Tree, unread: "a", stat: func(path string, st *source.Stat) {
				switch path {
				case "a":
					st.CtimeNsec ^= 1
				case "b":
					second(st)
				}
			}}
		}
		res := w.backup()
		w.opts = nil
		if n := res.Snapshot.Stats.Problems; n != 2 {
			t.Errorf("%d problems", n)
		}
		there := map[string]bool{}
		w.read(res.Snapshot, func(e *manifest.Entry, _ []byte) {
			if there[string(e.Path)] = true; len(e.Hardlink) > 0 && !there[string(e.Hardlink)] {
				t.Errorf("%q is a link to %q, which is not there", e.Path, e.Hardlink)
			}
		})
		if !there["c"] {
			t.Error("the rest is missing")
		}
		w.verify(w.backup().Snapshot) // as soon as it can be read, all is there
	}
}

// TestInodeNumberGivenAgain: two files that are seen with the same inode number, one after the other, are two files.
func TestInodeNumberGivenAgain(t *testing.T) {
	w := newWorld(t)
	w.write("a", "one content")
	w.write("b", "another content")
	w.opts = func(o *backup.Options) {
		o.Tree = &oddTree{Tree: o.Tree, stat: func(path string, st *source.Stat) {
			if path != "" {
				st.Inode, st.Nlink = 77, 2
			}
		}}
	}
	w.read(w.backup().Snapshot, func(e *manifest.Entry, content []byte) {
		if len(e.Hardlink) > 0 {
			t.Errorf("%q is a link to %q", e.Path, e.Hardlink)
		}
	})
}

// TestLostCacheLooksAtCtime: a file whose size and mtime are as they were and that was written to since is read again, with or without the cache.
func TestLostCacheLooksAtCtime(t *testing.T) {
	w := newWorld(t)
	w.write("a", "content")
	w.write("b", "content of b")
	w.settle()
	w.backup()
	w.settle()
	path := filepath.Join(w.src, "a")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	w.write("a", "CONTENT")
	if err := os.Chtimes(path, st.ModTime(), st.ModTime()); err != nil {
		t.Fatal(err)
	}
	w.settle()
	if err := os.RemoveAll(w.dirs.Cache); err != nil {
		t.Fatal(err)
	}
	res := w.backup()
	if n := res.Snapshot.Stats.BytesRead; n != 7 {
		t.Errorf("%d bytes read", n)
	}
	w.verify(res.Snapshot)
}

// TestDamagedTable: a local chunk table with a damaged block is built again.
func TestDamagedTable(t *testing.T) {
	w := newWorld(t)
	w.index = t.TempDir()
	secrets := w.access.Secrets
	w.access.Secrets = nil // who holds everything merges indexes
	for i := range 18 {    // so many index objects make a table worth it
		w.write(fmt.Sprintf("f%d", i), fmt.Sprintf("content %d", i))
		w.backup()
	}
	tables, err := filepath.Glob(filepath.Join(w.index, "*", "*.table"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("no tables: %v", err)
	}
	path := tables[0]
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		raw := bytes.Clone(whole)
		raw[len(raw)*i/12] ^= 0x40
		if err := os.WriteFile(path, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		w.write("f3", fmt.Sprintf("content for round %d", i))
		w.settle()
		res := w.backup()
		w.access.Secrets = secrets
		w.verify(res.Snapshot)
		w.access.Secrets = nil
	}
	if res := w.backup(); !res.Unchanged {
		t.Error("changes were found")
	}
}

// TestLostPackSet: where a pack set of the last snapshot is gone, the next backup does not depend on it.
func TestLostPackSet(t *testing.T) {
	w := newWorld(t)
	w.grow(1, 20)
	w.settle()
	w.backup()
	if err := os.RemoveAll(filepath.Join(w.root, "packset")); err != nil {
		t.Fatal(err)
	}
	res := w.backup()
	w.verify(res.Snapshot)
	_, s := w.open()
	if names := w.packs(s, res.Snapshot); len(names) == 0 {
		t.Error("no packs")
	}
	if n := res.Snapshot.Stats.BytesRead; n != 0 {
		t.Errorf("%d bytes were read again", n)
	}
}

// TestUndonePackSetLost: a snapshot that was published, and can never be confirmed since its pack set is gone, does not stop later backups.
func TestUndonePackSetLost(t *testing.T) {
	w := newWorld(t)
	w.write("a", "one")
	w.settle()
	first := w.backup()
	if err := os.Remove(filepath.Join(w.root, "snapshots", fmt.Sprintf("%x", first.Snapshot.Scope), first.Snapshot.ID.String()+".done")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.root, "packset")); err != nil {
		t.Fatal(err)
	}
	second := w.backup()
	w.verify(second.Snapshot)
	w.checkScope(second.Snapshot.ID)
}

// TestRenameOfRetired: a history whose packs are retired is not carried over as if nothing had happened.
func TestRenameOfRetired(t *testing.T) {
	w := newWorld(t)
	w.write("a", "one")
	w.settle()
	first := w.backup()
	_, before := w.open()
	names := w.packs(before, first.Snapshot)
	if _, err := before.Retire(context.Background(), names, nil); err != nil {
		t.Fatal(err)
	}
	r, s := w.open()
	_, err := backup.Rename(context.Background(), backup.Options{Repo: r, Scope: s, State: w.state(r), Host: "nas",
		Source: snapshot.Origin{ID: snapshot.Source{9}, Kind: "dir", Path: []byte("/other")}}, first.Snapshot.Source.ID)
	var retired *repo.RetiredError
	if !errors.As(err, &retired) {
		t.Errorf("carried over: %v", err)
	}
}

// TestRetiredIsSentAgain: what was retired is read and sent again, once.
func TestRetiredIsSentAgain(t *testing.T) {
	w := newWorld(t)
	w.grow(2, 30)
	w.settle()
	first := w.backup()
	_, s := w.open()
	names := w.packs(s, first.Snapshot)
	if _, err := s.Retire(context.Background(), names, nil); err != nil {
		t.Fatal(err)
	}
	res := w.backup()
	if res.Snapshot.Stats.BytesAdded == 0 {
		t.Error("nothing was sent again")
	}
	old := map[string]bool{}
	for _, n := range names {
		old[n.String()] = true
	}
	_, s = w.open()
	for _, n := range w.packs(s, res.Snapshot) {
		if old[n.String()] {
			t.Errorf("pack %v is retired", n)
		}
	}
	w.verify(res.Snapshot)
	if next := w.backup(); !next.Unchanged || next.Snapshot.Stats.BytesRead != 0 {
		t.Errorf("%+v", next.Snapshot.Stats)
	}
}

// TestLastNameStandsAlone: a name that was a link to another file and is the only one of its own now has its own content, also where nothing but size and mtime counts and these
// are as they were.
func TestLastNameStandsAlone(t *testing.T) {
	for _, detect := range []backup.Detect{{}, {Inode: true}, {Ctime: true}, backup.DefaultDetect} {
		w := newWorld(t)
		w.write("a", "what both were")
		w.link("a", "b")
		w.settle()
		w.opts = func(o *backup.Options) { o.Detect = detect }
		w.backup()
		if err := os.Remove(filepath.Join(w.src, "a")); err != nil {
			t.Fatal(err)
		}
		w.write("a", "another file now")
		w.settle()
		w.read(w.backup().Snapshot, func(e *manifest.Entry, content []byte) {
			if string(e.Path) == "b" && (len(e.Hardlink) > 0 || string(content) != "what both were") {
				t.Errorf("detect %+v: %q is a link to %q and has %q", detect, e.Path, e.Hardlink, content)
			}
		})
	}
}

// swapTree puts another file in the place of one, right before it is opened.
type swapTree struct {
	source.Tree
	path string
	swap func()
}

func (s *swapTree) Open(path []byte) (source.Content, error) {
	if string(path) == s.path {
		s.swap()
	}
	return s.Tree.Open(path)
}

// TestFirstNameReplaced: where the first name of a file is given to another file between its listing and its reading, its other names are no links to that one.
func TestFirstNameReplaced(t *testing.T) {
	for _, size := range []int{10, 1 << 20} {
		w := newWorld(t)
		old, other := bytes.Repeat([]byte("o"), size), bytes.Repeat([]byte("n"), size)
		w.write("a", string(old))
		w.link("a", "b")
		w.settle()
		w.opts = func(o *backup.Options) {
			o.Tree = &swapTree{Tree: o.Tree, path: "a", swap: func() {
				if err := os.Remove(filepath.Join(w.src, "a")); err != nil {
					t.Error(err)
				}
				w.write("a", string(other))
			}}
		}
		res := w.backup()
		w.opts = nil
		if n := res.Snapshot.Stats.Problems; n != 1 {
			t.Errorf("%d problems, want one: the other name", n)
		}
		w.read(res.Snapshot, func(e *manifest.Entry, content []byte) {
			if string(e.Path) == "a" && !bytes.Equal(content, other) || string(e.Path) == "b" {
				t.Errorf("%q is a link to %q and has %.10q", e.Path, e.Hardlink, content)
			}
		})
		w.verify(w.backup().Snapshot)
	}
}

// openTree is told of a path before it is opened.
type openTree struct {
	source.Tree
	open func(path string)
}

func (o *openTree) Open(path []byte) (source.Content, error) {
	o.open(string(path))
	return o.Tree.Open(path)
}

// TestFirstNameCutShort: where a limit ends the reading of the first name of a large file, the partial snapshot has no links to it, though it has no other name by then.
func TestFirstNameCutShort(t *testing.T) {
	w := newWorld(t)
	w.write("a", string(bytes.Repeat([]byte("large"), 4<<20)))
	w.link("a", "b")
	w.write("c", "behind")
	w.settle()
	over, behind := make(chan struct{}), make(chan struct{})
	w.opts = func(o *backup.Options) {
		o.Until = over
		o.Tree = &openTree{Tree: o.Tree, open: func(path string) {
			switch path {
			case "a":
				<-behind // the other name is on its way
				if err := os.Remove(filepath.Join(w.src, "b")); err != nil {
					t.Error(err)
				}
				close(over)
			case "c":
				close(behind)
			}
		}}
	}
	res, err := w.try(t.Context())
	if !errors.As(err, new(*backup.LimitError)) || res == nil || res.Snapshot == nil {
		t.Fatalf("%+v, %v", res, err)
	}
	there := map[string]bool{}
	w.read(res.Snapshot, func(e *manifest.Entry, _ []byte) {
		if there[string(e.Path)] = true; len(e.Hardlink) > 0 && !there[string(e.Hardlink)] {
			t.Errorf("%q is a link to %q, which is not there", e.Path, e.Hardlink)
		}
	})
	if !there["c"] || there["a"] {
		t.Errorf("%v", there)
	}
	w.opts = nil
	w.verify(w.backup().Snapshot)
}
