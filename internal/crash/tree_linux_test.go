package crash

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// sameFile tells by what several names of one file are known.
func sameFile(info fs.FileInfo) (key any, many bool) {
	st := info.Sys().(*syscall.Stat_t)
	return [2]uint64{uint64(st.Dev), st.Ino}, st.Nlink > 1
}

// Shape of the trees.
const (
	folders  = 12
	files    = 260
	bigFiles = 5
	bigSize  = 3 << 20 // bytes
)

// content is what compresses a little.
func content(rng *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32() & 0x7f)
	}
	return b
}

// grow makes a tree.
func grow(t testing.TB, dir string, rng *rand.Rand) {
	t.Helper()
	for i := range files {
		put(t, dir, i, content(rng, rng.IntN(30<<10)))
	}
	for i := range bigFiles {
		put(t, dir, files+i, content(rng, bigSize))
	}
	must(t, os.MkdirAll(filepath.Join(dir, "empty", "folder"), 0o750))
	must(t, os.Symlink("../nowhere", filepath.Join(dir, "link")))
	must(t, os.Link(name(dir, 1), filepath.Join(dir, "other name")))
	must(t, os.WriteFile(filepath.Join(dir, "n\xc3\xa4me \xff"), []byte("x"), 0o600))
	still(t, dir)
}

// change changes about a tenth of a tree.
func change(t testing.TB, dir string, rng *rand.Rand) {
	t.Helper()
	for range files / 10 {
		i := 2 + rng.IntN(files-2)
		switch rng.IntN(4) {
		case 0:
			_ = os.Remove(name(dir, i)) // may be gone already
		case 1:
			put(t, dir, i+1000, content(rng, rng.IntN(20<<10)))
		default:
			put(t, dir, i, content(rng, rng.IntN(30<<10)))
		}
	}
	big := content(rng, bigSize)
	put(t, dir, files, big)
	must(t, os.Chmod(filepath.Join(dir, "empty"), 0o700|fs.FileMode(rng.IntN(8))))
	still(t, dir)
}

func name(dir string, i int) string {
	return filepath.Join(dir, fmt.Sprintf("d%02d", i%folders), fmt.Sprintf("f%d", i))
}

func put(t testing.TB, dir string, i int, body []byte) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name(dir, i)), 0o755))
	must(t, os.WriteFile(name(dir, i), body, 0o644))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// still gives folders times that lie back, as those of a tree that nobody is at.
func still(t testing.TB, dir string) {
	t.Helper()
	at := time.Date(2026, 2, 3, 4, 5, 6, 789, time.UTC)
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			return os.Chtimes(p, at, at)
		}
		return err
	}))
}
