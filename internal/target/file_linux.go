package target

import (
	"errors"
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	unfinished   = 0o200   // mode of a file under its own name that is not complete
	reserveLeast = 1 << 20 // bytes from which on space is allocated in advance
)

// File is a regular file in work. WriteAt, ReadAt and Punch may be called by several goroutines at once; then Finish or Abort once.
type File struct {
	t       *Target
	at      spot
	spec    *FileSpec
	fd      int
	temp    string // "" while it has its own name
	resumed bool
	end     atomic.Int64 // of what was written
}

// CreateFile begins a regular file; File is nil when the outcome is Kept.
func (t *Target) CreateFile(path []byte, spec *FileSpec) (*File, Outcome, error) {
	s, err := t.named(path)
	if err != nil {
		return nil, 0, err
	}
	s.path = append([]byte(nil), path...)
	f := &File{t: t, at: s, spec: spec, fd: -1}
	outcome, err := f.begin()
	if f.fd < 0 {
		t.parents.put(s.in)
		return nil, outcome, err
	}
	if err == nil {
		err = f.reserve()
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Abort(false))
	}
	return f, outcome, nil
}

// begin opens the file under its own or its temporary name, if the policy lets it.
func (f *File) begin() (Outcome, error) {
	direct := f.spec.Size <= directMax && !f.spec.Resume
	if direct {
		done, err := f.beginDirect()
		if done || err != nil {
			return Created, err
		}
	}
	outcome := Created
	var st unix.Stat_t
	if err := f.at.stat(&st); err == nil {
		kept, err := f.judge(&st)
		if kept || err != nil {
			return Kept, err
		}
		outcome = Replaced
	} else if !errors.Is(err, unix.ENOENT) {
		return 0, err
	}
	f.temp = tempName(f.at.name)
	return outcome, f.openTemp()
}

// beginDirect makes the file under its own name, if that is free and the file system can show that it is not complete.
func (f *File) beginDirect() (bool, error) {
	err := f.create(f.at.name, unfinished)
	if err == unix.EEXIST {
		return false, nil
	}
	if err != nil {
		return false, failed("open", err)
	}
	if f.at.in.learn(f.fd); f.at.in.marks {
		return true, nil
	}
	err = errors.Join(unix.Unlinkat(f.at.in.fd, f.at.name, 0), unix.Close(f.fd))
	f.fd = -1
	return false, err
}

// create makes a new file.
func (f *File) create(name string, mode uint32) error {
	fd, err := openRetry(f.at.in.fd, name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, mode)
	if err == nil {
		f.fd = fd
	}
	return err
}

// judge decides about what is in the way; a folder it removes if it may, the rest is replaced when the file is complete.
func (f *File) judge(st *unix.Stat_t) (kept bool, err error) {
	t := f.t
	if err := t.exact(f.at); err != nil {
		return false, err
	}
	kind := st.Mode & unix.S_IFMT
	partial := kind == unix.S_IFREG && st.Mode&0o7777 == unfinished && int64(st.Uid) == t.euid && st.Nlink == 1 && st.Size <= f.spec.Size
	switch {
	case partial:
		return false, nil
	case t.opts.Overwrite == Never:
		return true, nil
	case kind == unix.S_IFDIR:
		return false, t.clear(f.at, st)
	case kind != unix.S_IFREG || st.Size != f.spec.Size || st.Nlink != 1:
		return false, nil
	case t.opts.Overwrite == Changed && int64(st.Mtim.Sec) == f.spec.MtimeSec && int64(st.Mtim.Nsec) == int64(f.spec.MtimeNsec):
		return true, nil
	case f.spec.Same == nil:
		return false, nil
	}
	return f.compare()
}

// compare lets the caller look at the existing file.
func (f *File) compare() (bool, error) {
	fd, err := openRetry(f.at.in.fd, f.at.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, nil // what cannot be read is not the same
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Nlink != 1 {
		return false, failed("stat", err)
	}
	return f.spec.Same(&File{fd: fd})
}

// openTemp makes the temporary file, or takes up the one of an interrupted run.
func (f *File) openTemp() error {
	for range 8 {
		err := f.create(f.temp, 0o600)
		if err == nil {
			return f.lock()
		}
		if err != unix.EEXIST {
			return failed("open", err)
		}
		if done, err := f.takeUp(); done || err != nil {
			return err
		}
	}
	return ErrBusy
}

// takeUp resumes an existing temporary file, or removes it.
func (f *File) takeUp() (bool, error) {
	fd, err := openRetry(f.at.in.fd, f.temp, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err == nil {
		f.fd = fd
		var st unix.Stat_t
		err = unix.Fstat(fd, &st)
		ours := err == nil && st.Mode&unix.S_IFMT == unix.S_IFREG && int64(st.Uid) == f.t.euid && st.Nlink == 1
		if ours {
			if err := f.lock(); err != nil {
				return false, err
			}
		}
		if ours && f.spec.Resume && st.Size <= f.spec.Size {
			f.resumed = st.Size > 0
			f.end.Store(st.Size)
			return true, nil
		}
		_ = unix.Close(fd)
		f.fd = -1
	}
	err = unix.Unlinkat(f.at.in.fd, f.temp, 0)
	if err == unix.ENOENT {
		err = nil
	}
	return false, failed("unlink", err)
}

// lock keeps other restores off the temporary file while it is in work. Without flock there is nobody to be kept off.
func (f *File) lock() error {
	if err := unix.Flock(f.fd, unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		return nil
	}
	_ = unix.Close(f.fd)
	f.fd = -1
	return ErrBusy
}

// reserve allocates the space of a larger file in advance: it stays in one piece though it is written in any order, and a full disk
// shows at once. The size of the file still tells how far it was written.
func (f *File) reserve() error {
	if !f.t.reserve || f.spec.Sparse || f.spec.Size < reserveLeast {
		return nil
	}
	err := unix.Fallocate(f.fd, unix.FALLOC_FL_KEEP_SIZE, 0, f.spec.Size)
	if err == unix.ENOSPC || err == unix.EDQUOT || err == unix.EFBIG {
		return failed("fallocate", err)
	}
	return nil
}

// Resumed reports whether the file has content of an interrupted run, for the caller to check with ReadAt: nothing says that
// it is right, and between its pieces may be holes.
func (f *File) Resumed() bool { return f.resumed }

// WriteAt writes all of p.
func (f *File) WriteAt(p []byte, off int64) (int, error) {
	total := 0
	for total < len(p) {
		n, err := unix.Pwrite(f.fd, p[total:min(len(p), total+1<<30)], off+int64(total))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return total, failed("write", err)
		}
		total += n
	}
	for end := off + int64(total); ; {
		old := f.end.Load()
		if end <= old || f.end.CompareAndSwap(old, end) {
			return total, nil
		}
	}
}

// ReadAt reads what was written, or left by an interrupted run.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	total := 0
	for total < len(p) {
		n, err := unix.Pread(f.fd, p[total:min(len(p), total+1<<30)], off+int64(total))
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return total, failed("read", err)
		case n == 0:
			return total, io.EOF
		}
		total += n
	}
	return total, nil
}

// Punch makes a hole; only a resumed file needs it, in a new one what is not written is a hole. Where the file system has none
// zeros are written.
func (f *File) Punch(off, n int64) error {
	n = min(n, f.end.Load()-off)
	if n <= 0 {
		return nil
	}
	err := unix.Fallocate(f.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
	if err == nil {
		return nil
	}
	if err != unix.EOPNOTSUPP && err != unix.ENOSYS {
		return failed("fallocate", err)
	}
	zeros := make([]byte, min(n, 1<<20))
	for n > 0 {
		k, err := f.WriteAt(zeros[:min(n, int64(len(zeros)))], off)
		if err != nil {
			return err
		}
		off, n = off+int64(k), n-int64(k)
	}
	return nil
}

// Finish sets size and metadata, closes the file and gives it its name. If the content cannot be completed the file is removed.
// An error of metadata leaves the complete file there.
func (f *File) Finish() error {
	if f.fd < 0 {
		return os.ErrClosed
	}
	if f.resumed || f.end.Load() != f.spec.Size {
		if err := unix.Ftruncate(f.fd, f.spec.Size); err != nil {
			return errors.Join(failed("truncate", err), f.Abort(false))
		}
	}
	have := present{uid: -1, gid: -1, inherits: f.at.in.acl, fresh: !f.resumed}
	if f.temp == "" {
		have.uid, have.gid = f.at.in.uid, f.at.in.gid
	} else if st := (unix.Stat_t{}); unix.Fstat(f.fd, &st) == nil {
		have.uid, have.gid = int64(st.Uid), int64(st.Gid)
	}
	metaErr := f.t.apply(byFD{f.fd}, &f.spec.Meta, have, f.at.path)
	err := unix.Close(f.fd)
	f.fd = -1
	switch {
	case err != nil && err != unix.EINTR:
		err = failed("close", err)
		_ = unix.Unlinkat(f.at.in.fd, f.written(), 0)
	case f.temp != "":
		err = f.t.rename(f.at, f.temp)
	default:
		err = nil
	}
	f.t.parents.put(f.at.in)
	return errors.Join(err, metaErr)
}

// written is the name under which the file is written.
func (f *File) written() string {
	if f.temp != "" {
		return f.temp
	}
	return f.at.name
}

// Abort closes and removes the file; with keep, what was written stays under the temporary name for a later Resume.
func (f *File) Abort(keep bool) error {
	if f.fd < 0 {
		return nil
	}
	defer f.t.parents.put(f.at.in)
	var err error
	if !keep || f.temp == "" {
		err = failed("unlink", unix.Unlinkat(f.at.in.fd, f.written(), 0))
	}
	err = errors.Join(err, failed("close", unix.Close(f.fd)))
	f.fd = -1
	return err
}

// WriteFile makes a regular file with this content, of spec.Size bytes, and finishes it, unless the outcome is Kept.
func (t *Target) WriteFile(path []byte, spec *FileSpec, content []byte) (Outcome, error) {
	f, outcome, err := t.CreateFile(path, spec)
	if err != nil || f == nil {
		return outcome, err
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		return 0, errors.Join(err, f.Abort(false))
	}
	return outcome, f.Finish()
}
