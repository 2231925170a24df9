package program

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"firn/internal/source"
	"firn/internal/units"
)

// tempPrefix begins the names of temporary files, for the moment that they have one.
const tempPrefix = ".firn-stream-"

const (
	stageBuffer = 1 << 20  // bytes that are copied at once
	stageEach   = 64       // buffers between two looks at the free space
	stageSpare  = 64 << 20 // bytes that are left free, so that a backup does not fill a disk that others need
)

// SpaceError tells that a temporary file does not fit.
type SpaceError struct {
	Dir        string
	Free, Size int64 // bytes that are free, and that are in the file so far
}

func (e *SpaceError) Error() string {
	return fmt.Sprintf("no room for a temporary file in %q: %v free, of which %v are left to others, and %v written so far", e.Dir, units.Size(e.Free), units.Size(stageSpare), units.Size(e.Size))
}

// TempError tells that a temporary file cannot be made, written or read.
type TempError struct {
	Dir string
	Err error
}

func (e *TempError) Error() string { return fmt.Sprintf("temporary file in %q: %v", e.Dir, e.Err) }

// Unwrap returns the reason.
func (e *TempError) Unwrap() error { return e.Err }

// Staged returns a stream that is written to a temporary file as fast as its producer can, which has ended well when the first byte is read from there. The file is for its owner only, and has
// no name where the system allows that: a crash leaves nothing, and elsewhere the next one removes what a crash left. dir empty: the system's folder for such files.
// Open of it fails with what the stream's Read would report, with a *SpaceError before the disk is full, or a *TempError.
func Staged(s source.Stream, dir string) source.Stream {
	if dir == "" {
		dir = os.TempDir()
	}
	return stagedIn(s, dir, freeSpace)
}

func stagedIn(s source.Stream, dir string, free func(dir string) int64) source.Stream {
	open := s.Open
	s.Open = func(ctx context.Context) (io.ReadCloser, error) {
		removeLeft(dir)
		if room := free(dir); room >= 0 && room < s.Size+stageSpare {
			return nil, &SpaceError{Dir: dir, Free: room}
		}
		f, err := openTemp(dir)
		if err != nil {
			return nil, &TempError{dir, err}
		}
		if err := fillTemp(ctx, f, dir, open, free); err != nil {
			_ = f.Close()
			return nil, err
		}
		return f, nil
	}
	return s
}

// fillTemp writes a whole stream into a file, and goes back to its start.
func fillTemp(ctx context.Context, f io.ReadWriteSeeker, dir string, open func(context.Context) (io.ReadCloser, error), free func(dir string) int64) error {
	r, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	buf := make([]byte, stageBuffer)
	size := int64(0)
	for n := 0; ; n++ {
		if n%stageEach == stageEach-1 {
			if room := free(dir); room >= 0 && room < stageSpare {
				return &SpaceError{dir, room, size}
			}
		}
		got, err := readFull(r, buf)
		if _, wrong := f.Write(buf[:got]); wrong != nil {
			return &TempError{dir, wrong}
		}
		size += int64(got)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return &TempError{dir, err}
	}
	return nil
}

// readFull fills buf as far as r goes; unlike io.ReadFull it reports errors of r as they are, with what came before.
func readFull(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var got int
		got, err = r.Read(buf[n:])
		n += got
	}
	return n, err
}

// namedTemp makes a file that has a name, and takes the name away where the system allows that for open files.
func namedTemp(dir string) (*tempFile, error) {
	f, err := os.CreateTemp(dir, tempPrefix)
	if err != nil {
		return nil, err
	}
	if os.Remove(f.Name()) == nil {
		return &tempFile{f, ""}, nil
	}
	return &tempFile{f, f.Name()}, nil
}

// tempFile is a file that goes when it is closed.
type tempFile struct {
	*os.File
	name string // empty: it has none
}

// Close implements io.Closer.
func (t *tempFile) Close() error {
	err := t.File.Close()
	if t.name != "" {
		err = errors.Join(err, os.Remove(t.name))
	}
	return err
}

// removeLeft removes files that a crash left in dir. What is in use either has no name, or cannot be removed, so nobody else is hurt.
func removeLeft(dir string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}
