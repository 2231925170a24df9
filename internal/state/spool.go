package state

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Spool keeps packs on disk until the store has them. Since the caller has to know whether a pack is there, its methods return
// errors; a caller who gets one goes on in memory.
type Spool struct {
	s   *State
	dir string
}

// Spool returns the spool of the repository.
func (s *State) Spool() *Spool { return &Spool{s, s.folder("spool", s.cache, "spool")} }

// SpoolFile is a file of the spool that a process has open: nameless while it is written, then, if it is kept, under a name by which another process finds it
// when this one was killed. It is marked as in use until it is closed.
type SpoolFile struct {
	*os.File
	path string
}

const (
	tempPrefix   = ".tmp-"
	uploadSuffix = ".upload" // of the note of an upload in parts
	maxUpload    = 4096      // bytes of such a note
)

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
	return &SpoolFile{f, f.Name()}, nil
}

// Room returns how many bytes the disk of the spool has left, and whether that is known.
func (p *Spool) Room() (n int64, ok bool) {
	if p.dir == "" {
		return 0, false
	}
	return roomIn(p.dir)
}

// Keep gives the file a name, which must be a plain file name without a dot in front; it stays open. It is not synced: after a power cut it may be
// there and not whole, which its sum tells.
func (f *SpoolFile) Keep(name string) error {
	if err := checkName(name); err != nil {
		return err
	}
	path := filepath.Join(filepath.Dir(f.path), name)
	if err := os.Rename(f.path, path); err != nil {
		return err
	}
	f.path = path
	return nil
}

// Discard closes and removes the file, and the note of its upload.
func (f *SpoolFile) Discard() {
	_ = f.Close()
	_ = os.Remove(f.path)
	_ = os.Remove(f.path + uploadSuffix)
}

func checkName(name string) error {
	if name == "" || name[0] == '.' || name != filepath.Base(name) {
		return &fs.PathError{Op: "spool", Path: name, Err: fs.ErrInvalid}
	}
	return nil
}

func (p *Spool) path(name string) (string, error) {
	if p.dir == "" {
		return "", ErrNone
	}
	return filepath.Join(p.dir, name), checkName(name)
}

// Open opens a kept file that no other process has open. What is in it is as trustworthy as the disk: compare its sum with its name.
func (p *Spool) Open(name string) (*SpoolFile, error) {
	path, err := p.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); errors.Is(err, errHeld) {
		_ = f.Close()
		return nil, &fs.PathError{Op: "spool", Path: name, Err: err}
	}
	return &SpoolFile{f, path}, nil
}

// inUse reports whether a process has a file of the spool open.
func (p *Spool) inUse(name string) bool {
	f, err := os.OpenFile(filepath.Join(p.dir, name), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	err = tryLock(f)
	_ = f.Close()
	return errors.Is(err, errHeld)
}

// UploadNote remembers the upload of a kept file in parts. It lies beside the file and goes with it. Nothing in it fails: an upload
// that is not remembered begins anew.
type UploadNote struct{ path string }

// UploadNote returns the note of a name.
func (p *Spool) UploadNote(name string) *UploadNote {
	path, err := p.path(name)
	if err != nil {
		return &UploadNote{}
	}
	return &UploadNote{path + uploadSuffix}
}

// Upload returns what SetUpload was given last, empty if there is none.
func (n *UploadNote) Upload() string {
	if n.path == "" {
		return ""
	}
	raw, err := os.ReadFile(n.path)
	if err != nil || len(raw) > maxUpload {
		return ""
	}
	return string(raw)
}

// SetUpload remembers the id of an upload; empty: there is none any more.
func (n *UploadNote) SetUpload(id string) {
	switch {
	case n.path == "":
	case id == "":
		_ = os.Remove(n.path)
	default:
		_ = replaceFile(n.path, []byte(id))
	}
}

// Remove removes a kept file; one that is not there is no error.
func (p *Spool) Remove(name string) error {
	path, err := p.path(name)
	if err == nil {
		_ = os.Remove(path + uploadSuffix)
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
		if err != nil || !info.Mode().IsRegular() || strings.HasPrefix(d.Name(), ".") || strings.HasSuffix(d.Name(), uploadSuffix) {
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
