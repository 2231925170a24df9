package cache

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"firn/internal/digest"
	"firn/internal/faultstore"
	"firn/internal/store"
	"firn/internal/store/mem"
	"firn/internal/storetest"
	"firn/internal/units"
)

func files(t *testing.T, dir string) (paths []string, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			info, _ := e.Info()
			paths, size = append(paths, path), size+info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths, size
}

func TestHits(t *testing.T) {
	base := faultstore.New(mem.New(mem.Options{}), 1)
	content := storetest.Content(1, 10_000)
	hot := "index/s/0-" + digest.SumObject(content).String()
	storetest.Put(t, base, hot, content)
	storetest.Put(t, base, "data/cold", content)
	dir := t.TempDir()
	for range 2 { // the second time as another process
		s := New(base, Options{Dir: dir})
		for range 3 {
			for _, c := range []struct{ offset, length int64 }{{0, -1}, {100, 50}, {9_999, -1}} {
				got, err := storetest.Get(t.Context(), s, hot, c.offset, c.length)
				n, _ := store.Clip(10_000, c.offset, c.length)
				if err != nil || !bytes.Equal(got, content[c.offset:c.offset+n]) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
			}
		}
		if _, err := storetest.Get(t.Context(), s, "data/cold", 0, -1); err != nil {
			t.Fatal(err)
		}
	}
	if n := base.Count("get"); n != 1+2 {
		t.Errorf("%d gets", n)
	}
	// what was put is not asked for
	s := New(base, Options{Dir: dir})
	storetest.Put(t, s, "snapshots/s/1", content)
	if got, err := storetest.Get(t.Context(), s, "snapshots/s/1", 0, -1); err != nil || !bytes.Equal(got, content) || base.Count("get") != 3 {
		t.Errorf("%d bytes, %v, %d gets", len(got), err, base.Count("get"))
	}
}

// A damaged copy is noticed and replaced, whatever byte is wrong.
func TestDamage(t *testing.T) {
	content := []byte("some content")
	for i := range len(content) + sha256.Size + 2 {
		base := mem.New(mem.Options{})
		storetest.Put(t, base, "keys/k.age", content)
		dir := t.TempDir()
		if _, err := storetest.Get(t.Context(), New(base, Options{Dir: dir}), "keys/k.age", 0, -1); err != nil {
			t.Fatal(err)
		}
		paths, _ := files(t, dir)
		if len(paths) != 1 {
			t.Fatalf("%q", paths)
		}
		b, err := os.ReadFile(paths[0])
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case i < len(b):
			b[i] ^= 1
		case i == len(b):
			b = b[:i-1]
		default:
			b = nil
		}
		if err := os.WriteFile(paths[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := storetest.Get(t.Context(), New(base, Options{Dir: dir}), "keys/k.age", 0, -1); err != nil || !bytes.Equal(got, content) {
			t.Fatalf("damage at %d: %q, %v", i, got, err)
		}
	}
}

// What does not have the sum in its name, or does not come whole, is passed on but not kept.
func TestNotKept(t *testing.T) {
	for _, rule := range []string{"get * flip", "get * short", "get * torn"} {
		base := mem.New(mem.Options{})
		content := storetest.Content(1, 1000)
		name := "index/s/0-" + digest.SumObject(content).String()
		storetest.Put(t, base, name, content)
		dir := t.TempDir()
		_, _ = storetest.Get(t.Context(), New(faultstore.New(base, 1, faultstore.MustParse(rule)...), Options{Dir: dir}), name, 0, -1)
		if paths, _ := files(t, dir); len(paths) > 0 {
			t.Errorf("%s: kept %q", rule, paths)
		}
	}
}

func TestEviction(t *testing.T) {
	base := mem.New(mem.Options{})
	dir := t.TempDir()
	const size, most = 1000, 20 * units.KB
	s := New(base, Options{Dir: dir, Max: most})
	name := func(i int) string { return fmt.Sprintf("index/s/%03d", i) }
	for i := range 60 {
		storetest.Put(t, s, name(i), storetest.Content(uint64(i), size))
		when := time.Now().Add(time.Duration(i-1000) * time.Minute)
		if err := os.Chtimes(s.path(name(i)), when, when); err != nil {
			t.Fatal(err)
		}
	}
	paths, total := files(t, dir)
	if total > int64(most) || len(paths) < 10 {
		t.Errorf("%d files of %d bytes", len(paths), total)
	}
	if _, err := os.Stat(s.path(name(59))); err != nil {
		t.Errorf("the newest is gone: %v", err)
	}
	if _, err := os.Stat(s.path(name(0))); err == nil {
		t.Error("the oldest is still there")
	}
	storetest.Put(t, s, "index/s/big", storetest.Content(1, int(most)/2))
	if _, err := os.Stat(s.path("index/s/big")); err == nil {
		t.Error("an object that would push out all others was kept")
	}
}

// A folder that cannot be used makes nothing fail.
func TestBadFolder(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	storetest.Suite{Objects: 30, Big: 1 << 20, Open: func(*testing.T) store.Store {
		return New(mem.New(mem.Options{}), Options{Dir: filepath.Join(file, "below"), Hot: func(string) bool { return true }})
	}}.Run(t)
}
