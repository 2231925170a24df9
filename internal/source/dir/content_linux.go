package dir

import (
	"io"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

// content is an open regular file. Read keeps its own position, so that NextData may move the one of the system.
type content struct {
	fd    int
	pos   int64
	size  int64 // when it was opened
	dense bool  // as many blocks as bytes when it was opened: no holes to look for
}

var _ source.Content = (*content)(nil)

// Open opens a regular file for reading: not through a symlink at any place of the path, without waiting for what is not a file (any
// more), and without touching its access time where the system allows it (own files, or root). What is not a regular file is ErrNotRegular.
func (t *Tree) Open(path []byte) (source.Content, error) {
	dir, name, err := t.place(path)
	if err != nil {
		return nil, err
	}
	defer t.parents.put(dir)
	c, err := openRegular(dir.fd, name, &dir.noTime)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// openRegular opens a file in an open folder. noTime, if not nil, remembers that O_NOATIME is refused in that folder.
func openRegular(dir int, name string, noTime *atomic.Bool) (*content, error) {
	const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := -1, error(unix.EPERM)
	if noTime == nil || !noTime.Load() {
		fd, err = openRetry(dir, name, flags|unix.O_NOATIME)
	}
	if err == unix.EPERM {
		if fd, err = openRetry(dir, name, flags); err == nil && noTime != nil {
			noTime.Store(true)
		}
	}
	switch err {
	case nil:
	case unix.EAGAIN:
		return openLeased(dir, name)
	case unix.ELOOP, unix.ENXIO: // a symlink; a socket or a FIFO without a writer
		return nil, ErrNotRegular
	default:
		return nil, failed("open", err)
	}
	return checked(fd)
}

// openLeased opens a file on which another process, such as a file server, has a lease: it waits until the lease is given
// back or broken (fcntl(2), F_SETLEASE; 45 seconds at most unless the system is told otherwise).
func openLeased(dir int, name string) (*content, error) {
	place, err := openRetry(dir, name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, failed("open", err)
	}
	defer unix.Close(place)
	var st source.Stat
	if _, err := statFD(place, &st); err != nil {
		return nil, failed("stat", err)
	}
	if st.Type != source.File {
		return nil, ErrNotRegular
	}
	fd, err := openRetry(unix.AT_FDCWD, "/proc/self/fd/"+strconv.Itoa(place), unix.O_RDONLY)
	if err != nil {
		return nil, failed("open", err)
	}
	return checked(fd)
}

func checked(fd int) (*content, error) {
	var st source.Stat
	blocks, err := statFD(fd, &st)
	if err == nil && st.Type == source.File {
		return &content{fd: fd, size: st.Size, dense: blocks >= (st.Size+511)/512}, nil
	}
	unix.Close(fd)
	if err != nil {
		return nil, failed("stat", err)
	}
	return nil, ErrNotRegular
}

func (c *content) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := pread(c.fd, p, c.pos)
	c.pos += int64(n)
	if err == nil && n == 0 {
		err = io.EOF
	}
	return n, err
}

// ReadAt is for several goroutines.
func (c *content) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, failed("pread", unix.EINVAL)
	}
	total := 0
	for total < len(p) {
		n, err := pread(c.fd, p[total:], off+int64(total))
		total += n
		if err != nil {
			return total, err
		}
		if n == 0 {
			return total, io.EOF
		}
	}
	return total, nil
}

func pread(fd int, p []byte, off int64) (int, error) {
	const most = 1 << 30 // the system reads less than 2 GiB at once
	for {
		n, err := unix.Pread(fd, p[:min(len(p), most)], off)
		if err == unix.EINTR {
			continue
		}
		return max(n, 0), failed("read", err)
	}
}

func (c *content) Close() error {
	if c.fd < 0 {
		return os.ErrClosed
	}
	err := unix.Close(c.fd)
	c.fd = -1
	return failed("close", err)
}

func (c *content) Stat() (source.Stat, error) {
	var st source.Stat
	_, err := statFD(c.fd, &st)
	return st, failed("stat", err)
}

// NextData asks the system with SEEK_DATA and SEEK_HOLE (lseek(2)); a file with as many blocks as bytes is all data.
func (c *content) NextData(offset, size int64) (start, end int64, err error) {
	if offset >= size {
		return size, size, nil
	}
	if c.dense {
		return offset, size, nil
	}
	start, err = unix.Seek(c.fd, offset, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO:
		return size, size, nil
	case err == unix.EINVAL || err == unix.EOPNOTSUPP:
		return offset, size, nil
	case err != nil:
		return 0, 0, failed("lseek", err)
	case start >= size:
		return size, size, nil
	}
	end, err = unix.Seek(c.fd, start, unix.SEEK_HOLE)
	if err != nil || end <= start || end > size {
		end = size
	}
	return start, end, nil
}
