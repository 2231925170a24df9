package local

import (
	"bytes"
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"firn/internal/store"
	"firn/internal/storetest"
)

// mount mounts a small file system for a test, where the user may.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("mounting needs root: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

func TestFull(t *testing.T) {
	dir := mount(t, "size=1m")
	s := open(t, dir)
	if err := put(t, s, "a", "x"); err != nil {
		t.Fatal(err)
	}
	content := storetest.Content(1, 4<<20)
	if err := s.Put(t.Context(), "b", bytes.NewReader(content), int64(len(content)), store.PutOptions{}); !errors.Is(err, store.ErrFull) {
		t.Errorf("put: %v", err)
	}
	p, err := s.Create(t.Context(), store.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if _, err = p.Write(content[:1<<20]); err != nil {
			break
		}
	}
	if !errors.Is(err, store.ErrFull) {
		t.Errorf("write: %v", err)
	}
	if err := p.Commit(t.Context(), "c"); !errors.Is(err, store.ErrFull) {
		t.Errorf("commit: %v", err)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left %q", left)
	}
	if names, err := storetest.Names(t.Context(), s, "", ""); err != nil || len(names) != 1 {
		t.Errorf("%q, %v", names, err)
	}
	if err := put(t, s, "d", "there is room again"); err != nil {
		t.Error(err)
	}
}

func TestReadOnly(t *testing.T) {
	dir := mount(t, "size=1m")
	s := open(t, dir)
	if err := put(t, s, "a", "x"); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Skip(err)
	}
	if err := put(t, s, "b", "x"); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("put: %v", err)
	}
	if err := s.Delete(t.Context(), "a"); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("delete: %v", err)
	}
	if got, err := storetest.Get(t.Context(), s, "a", 0, -1); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
}
