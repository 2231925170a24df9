package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// file is a log file that rotates. Write reports no error.
type file struct {
	path    string
	max     int64
	keep    int
	trouble once

	mu     sync.Mutex
	f      *os.File // nil: not open
	torn   bool     // the last line that was written has no end
	closed bool
}

func newFile(o Options) *file {
	f := &file{path: o.File, max: int64(o.MaxSize), keep: o.Keep}
	f.trouble.note, f.trouble.what = o.Note, "log file"
	if f.max == 0 {
		f.max = int64(defaultSize)
	}
	f.max, f.keep = max(f.max, int64(leastSize)), min(max(f.keep, 0), mostKeep)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble.about(f.ready(0))
	return f
}

// Write implements io.Writer: one line.
func (f *file) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return len(p), nil
	}
	b := short(p)
	err := f.ready(int64(len(b)))
	if err == nil {
		err = f.append(b)
	}
	f.trouble.about(err)
	return len(p), nil
}

// Close implements io.Closer.
func (f *file) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	return f.drop()
}

// drop closes what is open. f.mu is held.
func (f *file) drop() error {
	if f.f == nil {
		return nil
	}
	err := f.f.Close()
	f.f = nil
	return err
}

// append writes a line. f.mu is held.
func (f *file) append(b []byte) error {
	if f.torn {
		b = append([]byte{'\n'}, b...)
	}
	n, err := f.f.Write(b)
	f.torn = n > 0 && b[n-1] != '\n' || n == 0 && f.torn
	if err != nil {
		_ = f.drop()
	}
	return err
}

// errKind tells of what is no file.
var errKind = errors.New("it is no file that can be written to as a log")

// ready opens the file where that is needed, and rotates it where so many more bytes do not fit. f.mu is held.
func (f *file) ready(more int64) error {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		_ = f.drop()
		return f.open()
	}
	if err != nil {
		_ = f.drop()
		return err
	}
	switch {
	case info.Mode()&fs.ModeCharDevice != 0: // /dev/stdout and the like do not rotate
	case !info.Mode().IsRegular():
		_ = f.drop()
		return &fs.PathError{Op: "open", Path: f.path, Err: errKind}
	case info.Size() > 0 && info.Size()+more > f.max && more > 0:
		f.rotate(more)
	}
	if f.f != nil {
		have, err := f.f.Stat()
		now, gone := os.Stat(f.path)
		if err == nil && gone == nil && os.SameFile(have, now) {
			return nil
		}
		_ = f.drop()
	}
	return f.open()
}

// open opens the file, and makes its folder where only that is missing. f.mu is held.
func (f *file) open() error {
	const flags, mode = os.O_WRONLY | os.O_APPEND | os.O_CREATE, 0o640
	made, err := os.OpenFile(f.path, flags, mode)
	if errors.Is(err, fs.ErrNotExist) {
		if os.Mkdir(filepath.Dir(f.path), 0o750) != nil {
			return err
		}
		made, err = os.OpenFile(f.path, flags, mode)
	}
	if err != nil {
		return err
	}
	f.f, f.torn = made, false
	return nil
}

// rotate moves the files on, unless somebody else is at it or has just done so. What does not work leaves a file that grows: lines matter more than its size. f.mu is held.
func (f *file) rotate(more int64) {
	lock, err := os.OpenFile(f.path+".lock", os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return
	}
	defer func() { _ = lock.Close() }() // which unlocks it
	if !tryLock(lock) {
		return
	}
	info, err := os.Stat(f.path)
	if err != nil || info.Size()+more <= f.max {
		return
	}
	_ = f.drop() // Windows moves no open file
	if f.keep == 0 {
		_ = os.Remove(f.path)
		return
	}
	gap := 1 // the first number that is free, or else the last one, which is replaced
	for gap < f.keep && exists(f.numbered(gap)) {
		gap++
	}
	for i := gap - 1; i >= 1; i-- {
		_ = os.Rename(f.numbered(i), f.numbered(i+1))
	}
	_ = os.Rename(f.path, f.numbered(1))
	f.trim()
}

// trim deletes what is left of a time when more were kept. f.mu is held.
func (f *file) trim() {
	for i := f.keep + 1; i <= mostKeep && os.Remove(f.numbered(i)) == nil; i++ {
	}
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func (f *file) numbered(n int) string { return f.path + "." + strconv.Itoa(n) }
