package target

import (
	"bytes"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	maxParents  = 64
	maxPathPart = 4000 // bytes of a path given to the system at once; PATH_MAX is 4096
)

// parents keeps the folders open in which was worked last.
type parents struct {
	mu     sync.Mutex
	byPath map[string]*parent
	ring   parent // those in byPath, the latest first
	root   *parent
}

// parent is an open folder.
type parent struct {
	fd         int
	path       string
	users      int  // guarded by parents.mu
	dropped    bool // closed when users falls to 0
	prev, next *parent

	acl   bool      // new entries inherit an ACL
	once  sync.Once // of the following
	uid   int64     // of new files here; -1 unknown
	gid   int64
	marks bool // a new file has the mode that it was made with
}

func (p *parents) init(root int) {
	p.byPath = map[string]*parent{}
	p.ring.prev, p.ring.next = &p.ring, &p.ring
	p.root = newParent(root, "")
}

func newParent(fd int, path string) *parent {
	d := &parent{fd: fd, path: path, users: 1}
	n, err := unix.Fgetxattr(fd, aclDefault, nil)
	d.acl = err == nil && n > 0
	return d
}

// learn looks once at a file that was just made in the folder with the mode unfinished: the system may have its own mind about owners (setgid
// folders, mount options, servers that map users) and modes (FAT).
func (d *parent) learn(fd int) {
	d.once.Do(func() {
		var st unix.Stat_t
		d.uid, d.gid = -1, -1
		if unix.Fstat(fd, &st) == nil {
			d.uid, d.gid, d.marks = int64(st.Uid), int64(st.Gid), st.Mode&0o7777 == unfinished
		}
	})
}

// get opens the folder at path below the target without following any symlink. The caller calls put.
func (p *parents) get(path []byte) (*parent, error) {
	if len(path) == 0 {
		return p.root, nil
	}
	if d := p.find(path); d != nil {
		return d, nil
	}
	fd, err := p.open(path)
	if err != nil {
		return nil, failed("open", err)
	}
	fresh := newParent(fd, string(path))
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.byPath[fresh.path]; d != nil {
		d.users++
		_ = unix.Close(fd)
		return d, nil
	}
	p.byPath[fresh.path] = fresh
	p.front(fresh)
	if len(p.byPath) > maxParents {
		p.drop(p.ring.prev)
	}
	return fresh, nil
}

func (p *parents) find(path []byte) *parent {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.byPath[string(path)]
	if d != nil {
		d.users++
		if p.ring.next != d {
			d.prev.next, d.next.prev = d.next, d.prev
			p.front(d)
		}
	}
	return d
}

func (p *parents) front(d *parent) {
	d.prev, d.next = &p.ring, p.ring.next
	d.next.prev, p.ring.next = d, d
}

func (p *parents) drop(d *parent) {
	delete(p.byPath, d.path)
	d.prev.next, d.next.prev = d.next, d.prev
	if d.dropped = true; d.users == 0 {
		_ = unix.Close(d.fd)
	}
}

func (p *parents) put(d *parent) {
	if d == p.root {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.users--; d.users == 0 && d.dropped {
		_ = unix.Close(d.fd)
	}
}

// forget drops a folder that was removed, and what lay in it.
func (p *parents) forget(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for at, d := range p.byPath {
		if at == path || strings.HasPrefix(at, path+"/") {
			p.drop(d)
		}
	}
}

func (p *parents) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.ring.next != &p.ring {
		p.drop(p.ring.next)
	}
}

// open opens the folder at path from the nearest one that is open.
func (p *parents) open(path []byte) (int, error) {
	from, rest := p.root, path
	if up, name := split(path); len(up) > 0 {
		if d := p.find(up); d != nil {
			from, rest = d, name
		}
	}
	defer p.put(from)
	return openBeneath(from.fd, rest)
}

// noOpenat2 is set when the kernel does not know openat2 (before 5.6) or a filter forbids it.
var noOpenat2 atomic.Bool

// openBeneath opens the folder at path below an open one. No component may be a symlink.
func openBeneath(root int, path []byte) (int, error) {
	fd := root
	for len(path) > 0 {
		part := path
		if len(part) > maxPathPart {
			part = part[:max(1, bytes.LastIndexByte(part[:maxPathPart], '/'))]
		}
		if i := bytes.IndexByte(part, '/'); i >= 0 && noOpenat2.Load() {
			part = part[:i]
		}
		next, err := openFolder(fd, string(part))
		if err == unix.ENOSYS {
			continue
		}
		if fd != root {
			_ = unix.Close(fd)
		}
		if err != nil {
			return -1, err
		}
		fd, path = next, bytes.TrimPrefix(path[len(part):], []byte("/"))
	}
	return fd, nil
}

// openFolder opens a folder for reading, or where that is forbidden as a place to work from. ENOSYS: give one component at a time.
func openFolder(fd int, part string) (int, error) {
	const flags = unix.O_DIRECTORY | unix.O_NOFOLLOW
	got, err := openOnce(fd, part, flags|unix.O_RDONLY)
	if err == unix.EACCES {
		return openOnce(fd, part, flags|unix.O_PATH)
	}
	return got, err
}

func openOnce(fd int, part string, flags int) (int, error) {
	if noOpenat2.Load() {
		return openRetry(fd, part, flags, 0)
	}
	how := unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC | unix.O_LARGEFILE), Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH}
	for {
		got, err := unix.Openat2(fd, part, &how)
		switch err {
		case unix.EINTR, unix.EAGAIN:
			continue
		case unix.ENOSYS, unix.EPERM:
			noOpenat2.Store(true)
			return -1, unix.ENOSYS
		}
		return got, err
	}
}

// openRetry is openat with close-on-exec, repeated when a signal interrupts it.
func openRetry(fd int, name string, flags int, mode uint32) (int, error) {
	for {
		got, err := unix.Openat(fd, name, flags|unix.O_CLOEXEC, mode)
		if err != unix.EINTR {
			return got, err
		}
	}
}
