package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Spool keeps sealed packs on disk until the store has them. Since the caller has to know whether a pack is safe there, its methods return
// errors; a caller who gets one goes on in memory.
type Spool struct {
	s   *State
	dir string
}

// Spool returns the spool of the repository.
func (s *State) Spool() *Spool { return &Spool{s, s.folder("spool", s.cache, "spool")} }

// SpoolFile is a file of the spool that is being written: first nameless, then kept under a name or discarded.
type SpoolFile struct {
	*os.File
	spool *Spool
}

const tempPrefix = ".tmp-"

// Create makes a nameless file of mode 0600. If the process ends before Keep, the next Clean removes it.
func (p *Spool) Create() (*SpoolFile, error) {
	if p.dir == "" {
		return nil, ErrNone
	}
	f, err := os.CreateTemp(p.dir, tempPrefix+"*")
	if err != nil {
		return nil, err
	}
	_ = tryLock(f) // marks it as in use; without locks Clean leaves it alone
	return &SpoolFile{f, p}, nil
}

// Keep syncs and closes the file and gives it a name, which must be a plain file name without a dot in front. After a crash it is there.
func (f *SpoolFile) Keep(name string) error {
	path, err := f.spool.path(name)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return err
	}
	return syncDir(f.spool.dir)
}

// Discard closes and removes the file.
func (f *SpoolFile) Discard() {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

func (p *Spool) path(name string) (string, error) {
	if p.dir == "" {
		return "", ErrNone
	}
	if name == "" || name[0] == '.' || name != filepath.Base(name) {
		return "", &fs.PathError{Op: "spool", Path: name, Err: fs.ErrInvalid}
	}
	return filepath.Join(p.dir, name), nil
}

// Open opens a kept file for reading. What is in it is as trustworthy as the disk: compare its sum with its name.
func (p *Spool) Open(name string) (*os.File, error) {
	path, err := p.path(name)
	if err != nil {
		return nil, err
	}
	return os.Open(path)
}

// Remove removes a kept file; one that is not there is no error.
func (p *Spool) Remove(name string) error {
	path, err := p.path(name)
	if err == nil {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// SpoolEntry is a kept file.
type SpoolEntry struct {
	Name string
	Size int64
}

// List returns the kept files by name.
func (p *Spool) List() ([]SpoolEntry, error) {
	if p.dir == "" {
		return nil, nil
	}
	files, err := os.ReadDir(p.dir)
	if err != nil {
		return nil, err
	}
	var list []SpoolEntry
	for _, d := range files {
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(d.Name(), ".") {
			continue
		}
		list = append(list, SpoolEntry{d.Name(), info.Size()})
	}
	return list, nil
}

// Clean removes nameless files that ended processes left.
func (p *Spool) Clean() {
	if p.dir == "" {
		return
	}
	files, err := os.ReadDir(p.dir)
	if err != nil {
		return
	}
	for _, d := range files {
		if !strings.HasPrefix(d.Name(), tempPrefix) {
			continue
		}
		path := filepath.Join(p.dir, d.Name())
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		free := tryLock(f) == nil
		_ = f.Close()
		if free {
			_ = os.Remove(path)
		}
	}
}
