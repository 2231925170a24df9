// Package cache keeps copies of small hot objects of a store in a local folder.
//
// Objects never change, so a copy is good for ever. A copy of the object N lies in the file xx/yyyy…, the SHA-256 of N in hex;
// the file holds the content and then SHA-256(N ‖ 0x00 ‖ content), 32 bytes, which is checked before the first use in each process.
// Where N ends in a SHA-256 the content is checked against that too, before it is kept. The folder can be deleted at any time, and
// shared by processes.
//
// The cache never makes a call fail: a folder that is full, read-only or gone is left alone. It answers Get of a whole object,
// and of any part once it has the whole; everything else, List above all, is asked of the store. A Get may show a copy of an object
// that was deleted elsewhere: what is there, List says.
package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"firn/internal/digest"
	"firn/internal/store"
	"firn/internal/units"
)

const (
	defaultMax = 1 * units.GiB
	evictTo    = 0.9            // of Max, so that not every object evicts another
	tempPrefix = "new-"         // of copies being written
	tempAge    = 24 * time.Hour // older ones are leftovers
	touchAge   = time.Hour      // how exact "last used" is
	permFolder = 0o700
)

// Options of a cache.
type Options struct {
	Dir string                 // the folder; it is made when needed
	Max units.Size             // size of all copies; 0: 1 GiB. An object larger than a quarter of it is not kept
	Hot func(name string) bool // which objects to keep; nil: Hot
}

// Hot reports whether name is one of the objects that runs read again and again.
func Hot(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	switch first {
	case "index", "packset", "snapshots", "hosts", "keys", "prune":
		return true
	}
	return false
}

// Store answers from the folder what it can, and asks another store for the rest.
type Store struct {
	s store.Store
	o Options

	mu       sync.Mutex
	verified map[string]bool // files checked by this process
	size     int64           // of the folder, roughly; -1: not counted yet
}

// New returns a store that keeps copies of what it gets from s.
func New(s store.Store, o Options) *Store {
	if o.Max <= 0 {
		o.Max = defaultMax
	}
	if o.Hot == nil {
		o.Hot = Hot
	}
	return &Store{s: s, o: o, verified: map[string]bool{}, size: -1}
}

// Unwrap implements store.Wrapper.
func (s *Store) Unwrap() store.Store { return s.s }

func (s *Store) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	x := hex.EncodeToString(sum[:])
	return filepath.Join(s.o.Dir, x[:2], x[2:])
}

// sumInName returns the SHA-256 that ends a name, if one does.
func sumInName(name string) (digest.Object, bool) {
	if len(name) < 64 {
		return digest.Object{}, false
	}
	sum, err := digest.ParseObject(name[len(name)-64:])
	return sum, err == nil
}

func newTrailer(name string) hash.Hash {
	h := sha256.New()
	h.Write([]byte(name))
	h.Write([]byte{0})
	return h
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil || !s.o.Hot(name) {
		return s.s.Get(ctx, name, offset, length)
	}
	if r := s.copyOf(name, offset, length); r != nil {
		r.ctx = ctx
		return r, nil
	}
	r, err := s.s.Get(ctx, name, offset, length)
	if err != nil || offset != 0 || length >= 0 {
		return r, err
	}
	return &keeping{r: r, k: s.keep(name)}, nil
}

// copyOf opens a part of the copy of name, or returns nil.
func (s *Store) copyOf(name string, offset, length int64) *reader {
	path := s.path(name)
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || !s.good(f, name, path, info.Size()) {
		f.Close()
		return nil
	}
	n, err := store.Clip(info.Size()-sha256.Size, offset, length)
	if err != nil {
		f.Close()
		return nil // let the store say so
	}
	if now := time.Now(); now.Sub(info.ModTime()) > touchAge {
		_ = os.Chtimes(path, now, now) // if that fails the copy goes a little earlier
	}
	return &reader{name: name, f: f, r: io.NewSectionReader(f, offset, n)}
}

// good checks a copy once in each process; a bad one is removed.
func (s *Store) good(f *os.File, name, path string, size int64) bool {
	s.mu.Lock()
	done := s.verified[path]
	s.mu.Unlock()
	if done {
		return true
	}
	h := newTrailer(name)
	var trailer [sha256.Size]byte
	ok := size >= sha256.Size
	if ok {
		_, err := io.Copy(h, io.NewSectionReader(f, 0, size-sha256.Size))
		_, err2 := f.ReadAt(trailer[:], size-sha256.Size)
		ok = err == nil && err2 == nil && [sha256.Size]byte(h.Sum(nil)) == trailer
	}
	if !ok {
		_ = os.Remove(path) // if it cannot be removed it is refused again
		return false
	}
	s.mu.Lock()
	s.verified[path] = true
	s.mu.Unlock()
	return true
}

type reader struct {
	ctx  context.Context
	name string
	f    *os.File
	r    io.Reader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, store.Fail("get", r.name, err)
	}
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		err = store.Fail("get", r.name, err)
	}
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }

// keeping passes an object on and keeps a copy if it comes whole.
type keeping struct {
	r io.ReadCloser
	k *keeper
}

func (r *keeping) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.k.write(p[:n])
	if err == io.EOF {
		r.k.finish()
	} else if err != nil {
		r.k.drop()
	}
	return n, err
}

func (r *keeping) Close() error {
	r.k.drop()
	return r.r.Close()
}

// keeper writes a copy. Any failure drops the copy and nothing else.
type keeper struct {
	s       *Store
	name    string
	f       *os.File // nil: dropped or finished
	content hash.Hash
	trailer hash.Hash
	size    int64
}

func (s *Store) keep(name string) *keeper {
	k := &keeper{s: s, name: name}
	folder := filepath.Dir(s.path(name))
	f, err := os.CreateTemp(folder, tempPrefix)
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(folder, permFolder) == nil {
		f, err = os.CreateTemp(folder, tempPrefix)
	}
	if err == nil {
		k.f, k.content, k.trailer = f, sha256.New(), newTrailer(name)
	}
	return k
}

func (k *keeper) write(p []byte) {
	if k.f == nil {
		return
	}
	k.size += int64(len(p))
	if k.size > int64(k.s.o.Max)/4 {
		k.drop()
		return
	}
	k.content.Write(p)
	k.trailer.Write(p)
	if _, err := k.f.Write(p); err != nil {
		k.drop()
	}
}

func (k *keeper) drop() {
	if k.f != nil {
		k.f.Close()
		_ = os.Remove(k.f.Name())
		k.f = nil
	}
}

func (k *keeper) finish() {
	if k.f == nil {
		return
	}
	sum, named := sumInName(k.name)
	if named && digest.Object(k.content.Sum(nil)) != sum {
		k.drop()
		return
	}
	_, err := k.f.Write(k.trailer.Sum(nil))
	if err = errors.Join(err, k.f.Close()); err == nil {
		err = os.Rename(k.f.Name(), k.s.path(k.name))
	}
	if err != nil {
		_ = os.Remove(k.f.Name())
	}
	k.f = nil
	if err == nil {
		k.s.grew(k.size + sha256.Size)
	}
}

// grew accounts for a new copy and evicts those longest unused where they are too many.
func (s *Store) grew(by int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.size >= 0 {
		s.size += by
	}
	if s.size < 0 || s.size > int64(s.o.Max) {
		s.evict()
	}
}

type copyFile struct {
	path string
	size int64
	used time.Time
}

// evict counts the folder and removes the copies longest unused until it is within bounds.
func (s *Store) evict() {
	var files []copyFile
	s.size = 0
	_ = filepath.WalkDir(s.o.Dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		if strings.HasPrefix(e.Name(), tempPrefix) {
			if time.Since(info.ModTime()) > tempAge {
				_ = os.Remove(path)
			}
			return nil
		}
		files = append(files, copyFile{path, info.Size(), info.ModTime()})
		s.size += info.Size()
		return nil
	})
	if s.size <= int64(s.o.Max) {
		return
	}
	slices.SortFunc(files, func(a, b copyFile) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if float64(s.size) <= evictTo*float64(s.o.Max) {
			return
		}
		if os.Remove(f.path) == nil {
			s.size -= f.size
			delete(s.verified, f.path)
		}
	}
}

// Put implements store.Store. What was put is kept, since the next run reads it.
func (s *Store) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	err := s.s.Put(ctx, name, r, size, o)
	if err != nil || !s.o.Hot(name) || size > int64(s.o.Max)/4 {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil
	}
	k := s.keep(name)
	buffer := make([]byte, min(size, 64<<10)+1)
	for left := size; k.f != nil; {
		n, err := r.Read(buffer[:min(left, int64(len(buffer)))])
		k.write(buffer[:n])
		if left -= int64(n); left == 0 {
			k.finish()
		} else if err != nil {
			k.drop()
		}
	}
	return nil
}

// Delete implements store.Store. The copy goes first.
func (s *Store) Delete(ctx context.Context, name string) error {
	s.Drop(name)
	return s.s.Delete(ctx, name)
}

// Drop implements store.Dropper.
func (s *Store) Drop(name string) {
	if !s.o.Hot(name) {
		return
	}
	path := s.path(name)
	_ = os.Remove(path)
	s.mu.Lock()
	delete(s.verified, path)
	s.mu.Unlock()
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	return s.s.List(ctx, prefix, after, fn)
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	return s.s.Stat(ctx, name)
}

// Location implements store.Store.
func (s *Store) Location() string { return s.s.Location() }

// Close implements store.Store.
func (s *Store) Close() error { return s.s.Close() }
