package zfs_test

import (
	"path/filepath"
	"testing"

	"firn/internal/mounttest"
)

// privately reports whether this is a process of its own for the test that calls it.
func privately(t *testing.T) bool {
	t.Helper()
	return mounttest.Privately(t, "zfs-fuse", "zfs", "zpool")
}

// fuse is a running zfs-fuse.
type fuse struct {
	t    *testing.T
	dir  string // with pools
	root string // of the file system "tank"
}

// newFuse starts it with one pool of so many MiB.
func newFuse(t *testing.T, size int64) *fuse {
	t.Helper()
	f := &fuse{t: t, dir: mounttest.StartZFS(t)}
	f.root = filepath.Join(f.dir, "tank")
	f.pool("tank", size)
	return f
}

func (f *fuse) pool(name string, size int64) {
	f.t.Helper()
	mounttest.Pool(f.t, f.dir, name, size)
}

func (f *fuse) do(name string, args ...string) string {
	f.t.Helper()
	return mounttest.Do(f.t, name, args...)
}

func (f *fuse) try(name string, args ...string) error { return mounttest.Try(name, args...) }
