package coldtest

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
)

// blob is content that never changes: pieces one after another. Objects that were copied or put together from parts share pieces.
type blob []*piece

// piece lies in memory or in a file, which goes with the last who uses it.
type piece struct {
	b    []byte
	path string
	size int64
	uses atomic.Int64
}

func (b blob) size() (n int64) {
	for _, p := range b {
		n += p.size
	}
	return n
}

// share counts one more user.
func (b blob) share() blob {
	for _, p := range b {
		p.uses.Add(1)
	}
	return b
}

// drop counts one user less.
func (b blob) drop() {
	for _, p := range b {
		if p.uses.Add(-1) == 0 && p.path != "" {
			_ = os.Remove(p.path) // it is in the server's own folder; what stays there harms nobody
		}
	}
}

// open reads length bytes from offset on. Both lie within the blob.
func (b blob) open(offset, length int64) (io.ReadCloser, error) {
	r := &blobReader{}
	var readers []io.Reader
	for _, p := range b {
		n := min(p.size-offset, length)
		if n <= 0 {
			offset = max(0, offset-p.size)
			continue
		}
		if p.path == "" {
			readers = append(readers, bytes.NewReader(p.b[offset:offset+n]))
		} else {
			f, err := os.Open(p.path)
			if err != nil {
				return nil, errors.Join(err, r.Close())
			}
			r.files = append(r.files, f)
			readers = append(readers, io.NewSectionReader(f, offset, n))
		}
		offset, length = 0, length-n
	}
	r.Reader = io.MultiReader(readers...)
	return r, nil
}

type blobReader struct {
	io.Reader
	files []*os.File
}

func (r *blobReader) Close() (err error) {
	for _, f := range r.files {
		err = errors.Join(err, f.Close())
	}
	return err
}

// flip returns the blob with one bit in its middle turned, in memory.
func (b blob) flip() (blob, error) {
	r, err := b.open(0, b.size())
	if err != nil {
		return nil, err
	}
	all, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if len(all) > 0 {
		all[len(all)/2] ^= 0x10
	}
	p := &piece{b: all, size: int64(len(all))}
	p.uses.Add(1)
	return blob{p}, nil
}

// sink takes the content of one request.
type sink struct {
	memory *bytes.Buffer
	file   *os.File
	size   int64
}

// newSink makes room for about size bytes.
func (s *Server) newSink(size int64) (*sink, error) {
	if s.o.Folder == "" {
		return &sink{memory: bytes.NewBuffer(make([]byte, 0, max(0, min(size, 64<<20))))}, nil
	}
	s.mu.Lock()
	s.blobs++
	name := strconv.FormatUint(s.blobs, 36)
	s.mu.Unlock()
	f, err := os.Create(filepath.Join(s.o.Folder, "content-"+name))
	if err != nil {
		return nil, err
	}
	return &sink{file: f}, nil
}

func (k *sink) Write(p []byte) (n int, err error) {
	if k.file != nil {
		n, err = k.file.Write(p)
	} else {
		n, err = k.memory.Write(p)
	}
	k.size += int64(n)
	return n, err
}

// done ends the writing; the blob has one user.
func (k *sink) done() (blob, error) {
	p := &piece{size: k.size}
	p.uses.Add(1)
	if k.file == nil {
		p.b = k.memory.Bytes()
		return blob{p}, nil
	}
	p.path = k.file.Name()
	if err := k.file.Close(); err != nil {
		return nil, err
	}
	return blob{p}, nil
}

// giveUp removes what was written.
func (k *sink) giveUp() {
	if k.file != nil {
		_ = k.file.Close()
		_ = os.Remove(k.file.Name())
	}
}
