// Package local is a store in a folder of a file system.
//
// An object is a file whose path below the root is its name. It is written to the folder "~tmp" (a name that no object can
// have), flushed, moved to its name by a call that refuses to replace, and then the folder is flushed: it is there
// whole or not at all, and survives a crash once Put or Commit returned. Folders are made on demand and stay. What a
// crash leaves in "~tmp" is removed by a later writer when it is a day old.
//
// Nothing outside the root is read or written, whatever symbolic links lie in it; List shows regular files only. Files have mode
// 0600 and folders 0700, less the umask.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"firn/internal/store"
)

const (
	tempFolder  = "~tmp"
	tempAge     = 24 * time.Hour // older leftovers are removed; a live temporary file is written to more often
	bufferSize  = 256 << 10      // of one write
	writeBehind = 8 << 20        // written bytes after which the kernel is asked to begin with them
	folderLimit = 4 << 20        // entries of one folder that List accepts
	folderBatch = 1024           // entries read at a time
	permFile    = 0o600
	permFolder  = 0o700
	attempts    = 100 // to find a free temporary name, and to open a folder that others remove
)

// Options of a store; the zero value is right for everything but tests.
type Options struct {
	// NoSync leaves out every flush to the disk: a crash of the machine may lose or cut objects that were acknowledged.
	NoSync bool
}

// Store is a folder.
type Store struct {
	path  string
	o     Options
	weak  []string
	flush flusher
	swept sync.Once
	moves atomic.Int32 // how files are moved: one of the move… values

	mu      sync.Mutex
	root    *os.Root            // nil until the folder was seen
	settled map[string]struct{} // folders whose entries in all folders above are on the disk
	publish sync.Mutex          // held while a file is moved on file systems that have no exclusive move
}

// Open returns the store in the folder path, which need not exist: until Make was called, calls fail with ErrNoStore.
func Open(path string, o Options) (*Store, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, store.Fail("open", path, err)
	}
	s := &Store{path: abs, o: o, settled: map[string]struct{}{".": {}}}
	if _, err := s.open(); err != nil && !errors.Is(err, store.ErrNoStore) {
		return nil, store.Fail("open", "", err)
	}
	return s, nil
}

// open returns the root, or ErrNoStore.
func (s *Store) open() (*os.Root, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root != nil {
		return s.root, nil
	}
	root, err := os.OpenRoot(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", store.ErrNoStore, err)
	}
	if err != nil {
		return nil, mapError(err)
	}
	s.root, s.weak = root, weakness(s.path)
	return root, nil
}

// Make implements store.Maker: it makes the folder and those above it.
func (s *Store) Make(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return store.Fail("make", "", err)
	}
	if _, err := s.open(); err == nil {
		return nil
	}
	if err := os.MkdirAll(s.path, permFolder); err != nil {
		return store.Fail("make", "", mapError(err))
	}
	if parent, err := os.Open(filepath.Dir(s.path)); err == nil {
		defer parent.Close()
		if err := s.syncFolder(parent); err != nil {
			return store.Fail("make", "", mapError(err))
		}
	}
	_, err := s.open()
	return store.Fail("make", "", err)
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	r, err := s.get(ctx, name, offset, length)
	if err != nil {
		return nil, store.Fail("get", name, err)
	}
	return r, nil
}

func (s *Store) get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	root, err := s.prepare(ctx, name)
	if err != nil {
		return nil, err
	}
	f, err := root.OpenFile(filepath.FromSlash(name), os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, s.missing(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = store.ErrNotExist
	}
	var n int64
	if err == nil {
		n, err = store.Clip(info.Size(), offset, length)
	}
	if err == nil && offset > 0 {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, mapError(err)
	}
	return &reader{ctx: ctx, f: f, name: name, left: n}, nil
}

// reader reads a part of a file until its context ends.
type reader struct {
	ctx  context.Context
	f    *os.File
	name string
	left int64
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, store.Fail("get", r.name, err)
	}
	if r.left == 0 {
		return 0, io.EOF
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // the file was cut while it was read
	}
	return n, store.Fail("get", r.name, mapError(err))
}

func (r *reader) Close() error { return r.f.Close() }

// Stat implements store.Store. It tells no sum: a file system keeps none.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	root, err := s.prepare(ctx, name)
	if err != nil {
		return store.Info{}, store.Fail("stat", name, err)
	}
	info, err := root.Lstat(filepath.FromSlash(name))
	if err != nil {
		return store.Info{}, store.Fail("stat", name, s.missing(err))
	}
	if !info.Mode().IsRegular() {
		return store.Info{}, store.Fail("stat", name, store.ErrNotExist)
	}
	return store.Info{Name: name, Size: info.Size(), Modified: info.ModTime()}, nil
}

// Delete implements store.Store. The folders stay.
func (s *Store) Delete(ctx context.Context, name string) error {
	root, err := s.prepare(ctx, name)
	if err != nil {
		return store.Fail("delete", name, err)
	}
	info, err := root.Lstat(filepath.FromSlash(name))
	if err == nil && info.IsDir() {
		return nil
	}
	if err == nil {
		err = root.Remove(filepath.FromSlash(name))
	}
	if err = s.missing(err); errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return store.Fail("delete", name, err)
}

// prepare checks what all calls about one object check.
func (s *Store) prepare(ctx context.Context, name string) (*os.Root, error) {
	if !store.ValidName(name) {
		return nil, store.ErrName
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.open()
}

// What file systems may lack.
const (
	farAway  = "network file system: other machines may see new objects late"
	mayBeFar = "this may be a network file system: other machines may see new objects late"
)

// Weakness implements store.Weak.
func (s *Store) Weakness() []string {
	s.mu.Lock()
	weak := append([]string(nil), s.weak...)
	s.mu.Unlock()
	if s.o.NoSync {
		weak = append(weak, "objects are not flushed to the disk")
	}
	if s.moves.Load() == moveChecked {
		weak = append(weak, "create-only holds within one process: the file system has no exclusive move")
	}
	return weak
}

// Location implements store.Store: the absolute path.
func (s *Store) Location() string { return s.path }

// Close implements store.Store.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.root == nil {
		return nil
	}
	return s.root.Close()
}
