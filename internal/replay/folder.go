package replay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"firn/internal/source"
)

// Folder writes streams as files, each under its path in the manifest. It implements source.Taker. A file appears when it is whole and on the disk.
type Folder struct {
	s       *Streams
	dir     string
	replace bool
	names   map[string]string // by key
}

// Folder returns a taker that writes into dir, which is made with its parents if it is not there. What is there already and is as long and as old as the stream says stays; what else stands in the
// way of a file is replaced, or an error. Streams of several snapshots that have one path get the beginning of the snapshot's id behind their name.
func (s *Streams) Folder(dir string, replace bool) *Folder {
	f := &Folder{s: s, dir: dir, replace: replace, names: map[string]string{}}
	count := map[string]int{}
	for _, l := range s.links {
		count[l.Path]++
	}
	for _, l := range s.links {
		name := l.Path
		if count[name] > 1 {
			ext := path.Ext(name)
			name = fmt.Sprintf("%s-%x%s", strings.TrimSuffix(name, ext), l.item.ID[:4], ext)
		}
		f.names[keyOf(&l.Link)] = filepath.FromSlash(name)
	}
	return f
}

// Name is the path of the file of a link, relative to the folder.
func (f *Folder) Name(l source.Link) string { return f.names[keyOf(&l)] }

// Missing implements source.Taker.
func (f *Folder) Missing(_ context.Context, links []source.Link) ([]source.Link, error) {
	var out []source.Link
	for _, l := range links {
		info, err := os.Lstat(filepath.Join(f.dir, f.Name(l)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case info.Mode().IsRegular() && info.Size() == l.Size && info.ModTime().Equal(f.time(l)):
			continue
		case info.IsDir() || !f.replace:
			return nil, &source.TargetError{Target: fmt.Sprintf("%q", filepath.Join(f.dir, f.Name(l))), Reason: "is there already, and is something else", Exists: true}
		}
		out = append(out, l)
	}
	return out, nil
}

// time is that of a link's file.
func (f *Folder) time(l source.Link) time.Time {
	m := f.s.byKey[keyOf(&l)].entry.Mtime
	return time.Unix(m.Sec, int64(m.Nsec))
}

// Take implements source.Taker.
func (f *Folder) Take(ctx context.Context, l source.Link) (err error) {
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(f.dir) // a path in a manifest leads nowhere else
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	name := f.Name(l)
	if dir := filepath.Dir(name); dir != "." {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	part := filepath.Join(filepath.Dir(name), ".firn-restore-"+filepath.Base(name))
	if err := root.Remove(part); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	to, err := root.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(part)
		}
	}()
	err = f.write(ctx, to, l)
	if e := to.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	if err := root.Chtimes(part, f.time(l), f.time(l)); err != nil {
		return err
	}
	if info, err := root.Lstat(name); err == nil && (info.IsDir() || !f.replace) {
		return &source.TargetError{Target: fmt.Sprintf("%q", filepath.Join(f.dir, name)), Reason: "has come into being meanwhile", Exists: true}
	}
	return root.Rename(part, name)
}

func (f *Folder) write(ctx context.Context, to *os.File, l source.Link) error {
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if _, err := io.Copy(to, r); err != nil {
		return err
	}
	return to.Sync()
}
