package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"firn/internal/store"
)

// List implements store.Store. It holds the names of one folder of each level at a time.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	root, err := s.open()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return store.Fail("list", prefix, err)
	}
	dir := "."
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		if dir = prefix[:i]; !store.ValidName(dir) {
			return nil // no object's name begins so
		}
	}
	l := lister{ctx: ctx, s: s, root: root, prefix: prefix, after: after, fn: fn}
	err = l.folder(dir)
	if l.failed {
		return err
	}
	return store.Fail("list", prefix, err)
}

type lister struct {
	ctx           context.Context
	s             *Store
	root          *os.Root
	prefix, after string
	fn            func(store.Info) error
	failed        bool // the error is fn's
}

// maxReads is how often a folder is read again as soon as something in it is gone; after that only at its end. Somebody who deletes much must not make listing slow.
const maxReads = 64

// folder lists the folder dir, "." for the root. Where a file is gone that was there when the folder was read, it is read again, for the names that come then: the file may have been merged into
// another one meanwhile, and who lists has to see the one or the other.
func (l *lister) folder(dir string) error {
	names, err := l.read(dir)
	reads, stale := 0, false
	for err == nil && len(names) > 0 {
		name := names[0]
		names = names[1:]
		var gone bool
		if gone, err = l.entry(dir, name); err != nil {
			return err
		}
		if stale = stale || gone; stale && (reads < maxReads || len(names) == 0) {
			reads, stale = reads+1, false
			if names, err = l.read(dir); err == nil {
				next, same := slices.BinarySearch(names, name)
				if names = names[next:]; same {
					names = names[1:]
				}
			}
		}
	}
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}

// entry lists what one name in a folder stands for. gone: it is a file that is not there any more.
func (l *lister) entry(dir, name string) (gone bool, err error) {
	if err := l.ctx.Err(); err != nil {
		return false, err
	}
	base, isFolder := strings.CutSuffix(name, "/")
	full := path.Join(dir, base)
	if isFolder {
		return false, l.folder(full)
	}
	return l.file(full)
}

// read returns the sorted names in dir that matter, those of folders with a "/" behind.
func (l *lister) read(dir string) ([]string, error) {
	f, err := l.root.OpenFile(filepath.FromSlash(dir), os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, l.s.missing(err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.IsDir() {
		return nil, mapError(err)
	}
	var names []string
	for {
		entries, err := f.ReadDir(folderBatch)
		for _, e := range entries {
			if name := l.wanted(dir, e); name != "" {
				names = append(names, name)
			}
		}
		if err == io.EOF {
			slices.Sort(names)
			return names, nil
		}
		if err != nil {
			return nil, mapError(err)
		}
		if len(names) > folderLimit {
			return nil, fmt.Errorf("folder %q has more than %d entries", dir, folderLimit)
		}
	}
}

// wanted returns the name of an entry, or "" if there is nothing to list under it.
func (l *lister) wanted(dir string, e fs.DirEntry) string {
	name := e.Name()
	full := path.Join(dir, name)
	if !store.ValidName(full) {
		return ""
	}
	if e.Type().IsRegular() {
		if full <= l.after || !strings.HasPrefix(full, l.prefix) {
			return ""
		}
		return name
	}
	if !e.IsDir() {
		return ""
	}
	full += "/"
	if !strings.HasPrefix(full, l.prefix) && !strings.HasPrefix(l.prefix, full) {
		return ""
	}
	if full <= l.after && !strings.HasPrefix(l.after, full) {
		return ""
	}
	return name + "/"
}

func (l *lister) file(name string) (gone bool, err error) {
	info, err := l.root.Lstat(filepath.FromSlash(name))
	if err = l.s.missing(err); errors.Is(err, store.ErrNotExist) {
		return true, nil // deleted since the folder was read
	}
	if err != nil || !info.Mode().IsRegular() {
		return false, err
	}
	err = l.fn(store.Info{Name: name, Size: info.Size(), Modified: info.ModTime()})
	l.failed = err != nil
	return false, err
}
