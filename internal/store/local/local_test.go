package local

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firn/internal/store"
	"firn/internal/storetest"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *Store, name, content string) error {
	t.Helper()
	return s.Put(t.Context(), name, bytes.NewReader([]byte(content)), int64(len(content)), store.PutOptions{})
}

func leftovers(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, tempFolder))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// With flushes, and in each way to move that a file system may leave.
func TestMoves(t *testing.T) {
	for how := moveExclusive; how <= moveChecked; how++ {
		t.Run(fmt.Sprint(how), func(t *testing.T) {
			dirs := []string{}
			storetest.Suite{Objects: 60, Big: 1 << 20, Open: func(t *testing.T) store.Store {
				dirs = append(dirs, t.TempDir())
				s := open(t, dirs[len(dirs)-1])
				s.moves.Store(how)
				t.Cleanup(func() {
					if left := leftovers(t, s.path); len(left) > 0 {
						t.Errorf("left %q", left)
					}
				})
				return s
			}}.Run(t)
		})
	}
}

func TestMake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, dir)
	if err := put(t, s, "x", "1"); !errors.Is(err, store.ErrNoStore) {
		t.Errorf("put: %v", err)
	}
	if _, err := s.Stat(t.Context(), "x"); !errors.Is(err, store.ErrNoStore) {
		t.Errorf("stat: %v", err)
	}
	if _, err := storetest.Names(t.Context(), s, "", ""); !errors.Is(err, store.ErrNoStore) {
		t.Errorf("list: %v", err)
	}
	for range 2 {
		if err := s.Make(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(t, s, "x", "1"); err != nil {
		t.Fatal(err)
	}
}

// A folder removed by others is made again, and what was a store and is gone is no empty one to write to.
func TestFolderGone(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for i := range 3 {
		if err := put(t, s, fmt.Sprintf("a/b/c/%d", i), "x"); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Skip("the folder cannot be removed while it is open")
	}
	if err := put(t, s, "x", "x"); !errors.Is(err, store.ErrNoStore) {
		t.Errorf("put: %v", err)
	}
}

func TestModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	dir := t.TempDir()
	s := open(t, dir)
	if err := put(t, s, "a/b", "x"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"a": 0o700 | os.ModeDir, "a/b": 0o600, tempFolder: 0o700 | os.ModeDir} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

// Nothing outside the root is read, listed, written or removed through a symbolic link.
func TestSymlinks(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	for link, to := range map[string]string{"folder": outside, "file": filepath.Join(outside, "secret"), "up": "..", "loop": "."} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Skip(err)
		}
	}
	if names, err := storetest.Names(t.Context(), s, "", ""); err != nil || len(names) > 0 {
		t.Errorf("list: %q, %v", names, err)
	}
	for _, name := range []string{"folder/secret", "file"} {
		if got, err := storetest.Get(t.Context(), s, name, 0, -1); err == nil {
			t.Errorf("get %s: %q", name, got)
		}
		_ = s.Delete(t.Context(), name)
	}
	if err := put(t, s, "folder/new", "x"); err == nil {
		t.Error("wrote outside")
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("outside: %v, %v", entries, err)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// What a crash leaves goes when it is old; what is young may be another writer's.
func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, tempFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 2 * tempAge, "young": tempAge / 2} {
		path := filepath.Join(dir, tempFolder, name)
		if err := os.WriteFile(path, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(-age)
		if err := os.Chtimes(path, when, when); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	if names, err := storetest.Names(t.Context(), s, "", ""); err != nil || len(names) > 0 {
		t.Errorf("list: %q, %v", names, err)
	}
	if err := put(t, s, "x", "x"); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, dir); len(left) != 1 || left[0] != "young" {
		t.Errorf("left %q", left)
	}
}

func TestDenied(t *testing.T) {
	if os.Geteuid() == 0 || runtime.GOOS == "windows" {
		t.Skip("nothing is denied to this user")
	}
	dir := t.TempDir()
	s := open(t, dir)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, "x", "x"); !errors.Is(err, store.ErrDenied) {
		t.Errorf("%v", err)
	}
}

// Calls that flush one folder at a time share flushes, and none is served by a flush that began before it came.
func TestFlusher(t *testing.T) {
	var f flusher
	var clock, flushes atomic.Int64
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			came := clock.Add(1)
			var began int64
			err := f.do("a", func() error {
				flushes.Add(1)
				began = clock.Add(1)
				time.Sleep(time.Millisecond)
				return nil
			})
			if err != nil || began != 0 && began < came {
				t.Errorf("%v, began %d, came %d", err, began, came)
			}
		})
	}
	wg.Wait()
	if n := flushes.Load(); n < 1 || n > 32 {
		t.Errorf("%d flushes for 64 calls", n)
	}
	broken := errors.New("disk is broken")
	if err := f.do("a", func() error { return broken }); err != broken {
		t.Errorf("%v", err)
	}
	if len(f.folders) != 0 {
		t.Errorf("%d folders are still remembered", len(f.folders))
	}
}

func BenchmarkPut(b *testing.B) {
	for _, writers := range []int{1, 8} {
		for _, noSync := range []bool{false, true} {
			b.Run(fmt.Sprintf("writers=%d/nosync=%v", writers, noSync), func(b *testing.B) {
				s, err := Open(b.TempDir(), Options{NoSync: noSync})
				if err != nil {
					b.Fatal(err)
				}
				content := storetest.Content(1, 4096)
				var next atomic.Int64
				b.SetParallelism(max(1, writers/runtime.GOMAXPROCS(0)))
				run := func() {
					i := next.Add(1)
					name := fmt.Sprintf("data/%02x/%d", i%16, i)
					if err := s.Put(b.Context(), name, bytes.NewReader(content), 4096, store.PutOptions{}); err != nil {
						b.Error(err)
					}
				}
				if writers == 1 {
					for b.Loop() {
						run()
					}
					return
				}
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						run()
					}
				})
			})
		}
	}
}

func BenchmarkCreate(b *testing.B) {
	s, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	content := storetest.Content(1, 32<<20)
	b.SetBytes(int64(len(content)))
	i := 0
	for b.Loop() {
		p, err := s.Create(b.Context(), store.PutOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for at := 0; at < len(content); at += 65536 {
			if _, err := p.Write(content[at : at+65536]); err != nil {
				b.Fatal(err)
			}
		}
		i++
		name := fmt.Sprintf("data/%d", i)
		if err := p.Commit(b.Context(), name); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := s.Delete(b.Context(), name); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
