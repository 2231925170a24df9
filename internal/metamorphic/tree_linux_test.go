package metamorphic

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firn/internal/source"
	"firn/internal/source/dir"
)

// tree is a folder to which random things happen.
type tree struct {
	t    testing.TB
	rng  *rand.Rand
	root string
	next int
}

func newTree(t testing.TB, rng *rand.Rand, root string) *tree {
	x := &tree{t: t, rng: rng, root: root}
	x.must(os.MkdirAll(filepath.Join(root, "sub"), 0o755))
	return x
}

func (x *tree) must(err error) {
	x.t.Helper()
	if err != nil {
		x.t.Fatal(err)
	}
}

// list returns the paths of a type, relative to the root, in order.
func (x *tree) list(want func(fs.DirEntry) bool) (paths []string) {
	x.must(filepath.WalkDir(x.root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != x.root && want(d) {
			paths = append(paths, path)
		}
		return err
	}))
	return paths
}

func (x *tree) file() string {
	return x.pick(x.list(func(d fs.DirEntry) bool { return d.Type().IsRegular() }))
}
func (x *tree) dir() string {
	return x.pick(append(x.list(fs.DirEntry.IsDir), x.root))
}
func (x *tree) any() string {
	return x.pick(slices.DeleteFunc(x.list(func(fs.DirEntry) bool { return true }), func(p string) bool { return p == filepath.Join(x.root, "sub") }))
}

func (x *tree) pick(from []string) string {
	if len(from) == 0 {
		return ""
	}
	return from[x.rng.IntN(len(from))]
}

func (x *tree) name() string {
	x.next++
	odd := []string{"", "", "", "", " x", "\n", "\xff\xfe", "ä", "-", "~"}
	return filepath.Join(x.dir(), fmt.Sprintf("%c%d%s", 'a'+rune(x.rng.IntN(26)), x.next, odd[x.rng.IntN(len(odd))]))
}

// content is random, or repeats, or is what other files may have, too.
func (x *tree) content(n int) []byte {
	b := make([]byte, n)
	switch x.rng.IntN(4) {
	case 0:
		for i := range b {
			b[i] = byte(i / 100)
		}
	case 1:
		same := rand.New(rand.NewPCG(uint64(x.rng.IntN(3)), 9))
		for i := range b {
			b[i] = byte(same.Uint32())
		}
	default:
		for i := range b {
			b[i] = byte(x.rng.Uint32())
		}
	}
	return b
}

func (x *tree) size() int {
	switch x.rng.IntN(12) {
	case 0:
		return 0
	case 1, 2:
		return 50_000 + x.rng.IntN(200_000)
	case 3:
		return 300_000 + x.rng.IntN(2_000_000)
	}
	return x.rng.IntN(9000)
}

// step does one random thing.
func (x *tree) step() {
	file, some := x.file(), x.any()
	switch op := x.rng.IntN(20); {
	case op < 6 || file == "":
		x.must(os.WriteFile(x.name(), x.content(x.size()), fs.FileMode(0o600+x.rng.IntN(64))))
	case op == 6:
		x.must(os.Mkdir(x.name(), 0o755))
	case op == 7:
		x.edit(file)
	case op == 8:
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		x.must(err)
		_, err = f.Write(x.content(x.rng.IntN(20_000)))
		x.must(errors.Join(err, f.Close()))
	case op == 9:
		st, err := os.Stat(file)
		x.must(err)
		x.must(os.Truncate(file, x.rng.Int64N(st.Size()*3/2+1))) // may leave a hole behind
	case op == 10:
		to := x.name()
		if rel, err := filepath.Rel(some, to); err == nil && rel[0] != '.' {
			return // into itself
		}
		x.must(os.Rename(some, to))
	case op == 11:
		x.must(os.Link(file, x.name()))
	case op == 12:
		x.must(os.RemoveAll(some))
	case op == 13:
		if st, err := os.Lstat(some); err == nil && st.Mode()&fs.ModeSymlink == 0 {
			x.must(os.Chmod(some, fs.FileMode(0o700+x.rng.IntN(64))))
		}
	case op == 14:
		x.must(unix.Lsetxattr(file, fmt.Sprintf("user.a%d", x.rng.IntN(3)), x.content(x.rng.IntN(60)), 0))
	case op == 15:
		x.must(os.Symlink("somewhere/"+fmt.Sprint(x.next), x.name()))
	case op == 16:
		x.sparse(x.name())
	case op == 17:
		at := time.Unix(x.rng.Int64N(2e9), x.rng.Int64N(1e9))
		x.must(os.Chtimes(file, at, at))
	case op == 18:
		x.must(os.WriteFile(file, x.content(x.size()), 0o644)) // in place: all its names
	case op == 19:
		if st, err := os.Lstat(file); err == nil { // what only ctime tells
			content, err := os.ReadFile(file)
			x.must(err)
			if len(content) > 0 {
				content[x.rng.IntN(len(content))] ^= 1
			}
			f, err := os.OpenFile(file, os.O_WRONLY, 0)
			x.must(err)
			_, err = f.Write(content)
			x.must(errors.Join(err, f.Close(), os.Chtimes(file, st.ModTime(), st.ModTime())))
		}
	}
}

// edit changes some bytes of a file.
func (x *tree) edit(file string) {
	content, err := os.ReadFile(file)
	x.must(err)
	at := x.rng.IntN(len(content) + 1)
	insert := x.content(x.rng.IntN(500))
	st, err := os.Stat(file)
	x.must(err)
	x.must(os.WriteFile(file, slices.Concat(content[:at], insert, content[at:]), st.Mode()))
}

// sparse makes a file with holes; some have so many that their pieces need a tree.
func (x *tree) sparse(name string) {
	f, err := os.Create(name)
	x.must(err)
	pos := int64(0)
	pieces, hole, data := 1+x.rng.IntN(6), int64(400_000), 100_000
	if x.rng.IntN(5) == 0 {
		pieces, hole, data = 60+x.rng.IntN(200), 20_000, 9_000
	}
	for range pieces {
		pos += x.rng.Int64N(hole)
		b := x.content(1 + x.rng.IntN(data))
		_, err := f.WriteAt(b, pos)
		x.must(err)
		pos += int64(len(b))
	}
	x.must(f.Truncate(pos + x.rng.Int64N(300_000)))
	x.must(f.Close())
}

// describe lists a tree: one line for each entry, with all that a restore has to bring back. Of the root itself nothing is told.
func describe(t testing.TB, root string) []string {
	t.Helper()
	x, err := dir.Open(root, dir.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = x.Close() }()
	inodes := map[uint64]string{}
	var out []string
	err = x.Walk(context.Background(), func(e *source.Entry) error {
		if len(e.Path) == 0 {
			return nil
		}
		s := e.Stat
		line := fmt.Sprintf("%q type %d mode %04o owner %d:%d mtime %d.%09d", e.Path, s.Type, s.Mode, s.UID, s.GID, s.MtimeSec, s.MtimeNsec)
		d, err := x.Details(e.Path, &s)
		if err != nil {
			return err
		}
		if s.Type != source.Dir && s.Nlink > 1 {
			if first, ok := inodes[s.Inode]; ok {
				line += " same as " + first
			} else {
				inodes[s.Inode] = fmt.Sprintf("%q", e.Path)
			}
		}
		line += fmt.Sprintf(" %q %q", d.Target, d.Xattrs)
		if s.Type == source.File {
			content, err := os.ReadFile(filepath.Join(root, string(e.Path)))
			if err != nil {
				return err
			}
			h := fnv.New64a()
			h.Write(content)
			line += fmt.Sprintf(" %d bytes %x", len(content), h.Sum64())
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// differ returns the first lines in which two descriptions differ.
func differ(want, got []string) (lines []string) {
	for i := 0; i < max(len(want), len(got)) && len(lines) < 12; i++ {
		a, b := "nothing", "nothing"
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a != b {
			lines = append(lines, "want "+a, " got "+b)
		}
	}
	return lines
}
