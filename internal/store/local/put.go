package local

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"

	"firn/internal/store"
)

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	return store.Fail("put", name, s.put(ctx, name, r, size, o))
}

func (s *Store) put(ctx context.Context, name string, r io.ReadSeeker, size int64, o store.PutOptions) error {
	if _, err := s.prepare(ctx, name); err != nil {
		return err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	p, err := s.create(ctx, o)
	if err != nil {
		return err
	}
	buffer := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buffer)
	n, err := io.CopyBuffer(onlyWriter{p}, io.LimitReader(r, size), buffer[:])
	if err == nil && n < size {
		err = fmt.Errorf("content ends after %d of %d bytes", n, size)
	}
	if err != nil {
		return errors.Join(err, p.Abort())
	}
	return p.commit(ctx, name)
}

// onlyWriter hides every method but Write.
type onlyWriter struct{ io.Writer }

// Create implements store.Creator. Small writes are gathered.
func (s *Store) Create(ctx context.Context, o store.PutOptions) (store.Pending, error) {
	p, err := s.create(ctx, o)
	if err != nil {
		return nil, store.Fail("put", "", err)
	}
	return &gathering{p: p, buffer: buffers.Get().(*[bufferSize]byte)}, nil
}

// gathering is a pending object with a buffer before it.
type gathering struct {
	p      *pending
	buffer *[bufferSize]byte
	used   int
	err    error // of an earlier Write
}

func (g *gathering) Write(b []byte) (int, error) {
	total := len(b)
	for len(b) > 0 && g.err == nil {
		if g.used == 0 && len(b) >= bufferSize {
			_, g.err = g.p.Write(b)
			break
		}
		n := copy(g.buffer[g.used:], b)
		b, g.used = b[n:], g.used+n
		if g.used == bufferSize {
			g.empty()
		}
	}
	if g.err != nil {
		return 0, store.Fail("put", "", g.err)
	}
	return total, nil
}

func (g *gathering) empty() {
	if g.err == nil && g.used > 0 {
		_, g.err = g.p.Write(g.buffer[:g.used])
	}
	g.used = 0
}

func (g *gathering) Commit(ctx context.Context, name string) error {
	g.empty()
	defer g.release()
	if g.err != nil {
		return store.Fail("put", name, errors.Join(g.err, g.p.Abort()))
	}
	return store.Fail("put", name, g.p.commit(ctx, name))
}

func (g *gathering) Abort() error {
	defer g.release()
	return store.Fail("put", "", g.p.Abort())
}

func (g *gathering) release() {
	if g.buffer != nil {
		buffers.Put(g.buffer)
	}
	g.buffer, g.err = nil, fs.ErrClosed
}

// pending is a temporary file that becomes an object or goes away.
type pending struct {
	ctx     context.Context
	s       *Store
	root    *os.Root
	f       *os.File
	temp    string // path below the root
	o       store.PutOptions
	hash    hash.Hash // nil where no sum is to be verified
	written int64
	begun   int64 // bytes that the kernel was asked to write out
}

func (s *Store) create(ctx context.Context, o store.PutOptions) (*pending, error) {
	root, err := s.open()
	if err != nil {
		return nil, err
	}
	p := &pending{ctx: ctx, s: s, root: root, o: o}
	if !o.Sum.IsZero() {
		p.hash = sha256.New()
	}
	for range attempts {
		p.temp = filepath.Join(tempFolder, strconv.FormatUint(rand.Uint64(), 36))
		p.f, err = root.OpenFile(p.temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, permFile)
		if errors.Is(err, fs.ErrNotExist) {
			if err = root.Mkdir(tempFolder, permFolder); err == nil {
				continue
			}
		}
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", store.ErrNoStore, err)
	}
	if err != nil {
		return nil, mapError(err)
	}
	s.swept.Do(func() { s.sweep(root, p.f) })
	return p, nil
}

// sweep removes old temporary files. What is old, the clock of the file system tells: that of the file just made.
func (s *Store) sweep(root *os.Root, made *os.File) {
	now, err := made.Stat()
	if err != nil {
		return
	}
	folder, err := root.Open(tempFolder)
	if err != nil {
		return
	}
	defer folder.Close()
	for {
		names, err := folder.Readdirnames(folderBatch)
		for _, name := range names {
			temp := filepath.Join(tempFolder, name)
			if info, err := root.Lstat(temp); err == nil && now.ModTime().Sub(info.ModTime()) > tempAge {
				_ = root.Remove(temp) // the next writer tries again
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *pending) Write(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := p.f.Write(b)
	if p.hash != nil {
		p.hash.Write(b[:n])
	}
	p.written += int64(n)
	if !p.s.o.NoSync && p.written-p.begun >= writeBehind {
		beginWriteback(p.f, p.begun, p.written-p.begun)
		p.begun = p.written
	}
	return n, mapError(err)
}

// Abort closes and removes the temporary file.
func (p *pending) Abort() error {
	p.f.Close()
	if err := p.root.Remove(p.temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return mapError(err)
	}
	return nil
}

func (p *pending) commit(ctx context.Context, name string) error {
	err := p.finish(ctx, name)
	if err == nil {
		err = p.s.publishAs(p.root, p.temp, name)
	}
	if err != nil {
		return errors.Join(err, p.Abort())
	}
	return nil
}

// finish verifies and flushes the temporary file.
func (p *pending) finish(ctx context.Context, name string) error {
	if _, err := p.s.prepare(ctx, name); err != nil {
		return err
	}
	if p.hash != nil && [32]byte(p.hash.Sum(nil)) != p.o.Sum {
		return store.ErrChecksum
	}
	if !p.s.o.NoSync {
		if err := p.f.Sync(); err != nil {
			return mapError(err)
		}
	}
	return mapError(p.f.Close())
}

// publishAs moves the temporary file to name, making folders where they are missing, and flushes what leads to it.
func (s *Store) publishAs(root *os.Root, temp, name string) error {
	dir := filepath.FromSlash(path.Dir(name))
	var err error
	for range attempts {
		var folder *os.File
		folder, err = root.Open(dir)
		if err == nil {
			err = s.moveInto(root, folder, temp, name)
			folder.Close()
			return err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		s.unsettle()
		if err = root.MkdirAll(dir, permFolder); err != nil {
			break
		}
	}
	return mapError(err)
}

func (s *Store) moveInto(root *os.Root, folder *os.File, temp, name string) error {
	if err := s.move(root, folder, temp, filepath.FromSlash(name)); err != nil {
		return err
	}
	dir := path.Dir(name)
	if err := s.flush.do(dir, func() error { return s.syncFolder(folder) }); err != nil {
		return mapError(err)
	}
	return mapError(s.settle(root, dir))
}

// settle makes sure, once for each folder, that the folders above it have it on the disk.
func (s *Store) settle(root *os.Root, dir string) error {
	s.mu.Lock()
	_, done := s.settled[dir]
	s.mu.Unlock()
	if done {
		return nil
	}
	parent := path.Dir(dir)
	if err := s.settle(root, parent); err != nil {
		return err
	}
	err := s.flush.do(parent, func() error {
		folder, err := root.Open(filepath.FromSlash(parent))
		if err != nil {
			return err
		}
		defer folder.Close()
		return s.syncFolder(folder)
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.settled[dir] = struct{}{}
	s.mu.Unlock()
	return nil
}

// unsettle forgets which folders are on the disk, since one was missing.
func (s *Store) unsettle() {
	s.mu.Lock()
	s.settled = map[string]struct{}{".": {}}
	s.mu.Unlock()
}

func (s *Store) syncFolder(folder *os.File) error {
	if s.o.NoSync {
		return nil
	}
	return syncFolder(folder)
}

// flusher lets calls that flush the same folder at the same time share one flush. A call is served by a flush that began
// after it came.
type flusher struct {
	mu      sync.Mutex
	folders map[string]*queue
}

type queue struct {
	turn  sync.Mutex // held during a flush
	next  *round     // round that has not begun; guarded by flusher.mu
	users int        // calls under way; guarded by flusher.mu
}

type round struct {
	done chan struct{}
	err  error
}

func (g *flusher) do(key string, flush func() error) error {
	g.mu.Lock()
	if g.folders == nil {
		g.folders = map[string]*queue{}
	}
	q := g.folders[key]
	if q == nil {
		q = &queue{}
		g.folders[key] = q
	}
	q.users++
	r, leads := q.next, false
	if r == nil {
		r, leads = &round{done: make(chan struct{})}, true
		q.next = r
	}
	g.mu.Unlock()
	if leads {
		q.turn.Lock()
		g.mu.Lock()
		q.next = nil
		g.mu.Unlock()
		r.err = flush()
		q.turn.Unlock()
		close(r.done)
	}
	<-r.done
	g.mu.Lock()
	if q.users--; q.users == 0 {
		delete(g.folders, key)
	}
	g.mu.Unlock()
	return r.err
}
