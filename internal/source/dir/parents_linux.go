package dir

import (
	"bytes"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	maxParents  = 48
	maxPathPart = 4000 // bytes of a path given to the system at once; PATH_MAX is 4096
)

// parents keeps the folders open in which Open and Details worked last: consecutive entries lie in the same one.
type parents struct {
	mu     sync.Mutex
	byPath map[string]*parent
	ring   parent // those in byPath, the latest first
	root   parent
}

// parent is an open folder.
type parent struct {
	fd         int
	path       string
	users      int  // guarded by parents.mu
	dropped    bool // closed when users falls to 0
	prev, next *parent
	noTime     atomic.Bool // the system refused O_NOATIME for a file here
}

func (p *parents) init(root int) {
	p.byPath = map[string]*parent{}
	p.ring.prev, p.ring.next = &p.ring, &p.ring
	p.root.fd = root
}

// get opens the folder at path, relative to the root, without following any symlink. The caller calls put.
func (p *parents) get(path []byte) (*parent, error) {
	if len(path) == 0 {
		return &p.root, nil
	}
	if d := p.find(path); d != nil {
		return d, nil
	}
	fd, err := p.open(path)
	if err != nil {
		return nil, failed("open", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.byPath[string(path)]; d != nil {
		d.users++
		_ = unix.Close(fd)
		return d, nil
	}
	d := &parent{fd: fd, path: string(path), users: 1}
	p.byPath[d.path] = d
	p.front(d)
	if len(p.byPath) > maxParents {
		p.drop(p.ring.prev)
	}
	return d, nil
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
		unix.Close(d.fd)
	}
}

func (p *parents) put(d *parent) {
	if d == &p.root {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.users--; d.users == 0 && d.dropped {
		unix.Close(d.fd)
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
	from, rest := &p.root, path
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

// openBeneath opens the folder at path, as a place to work from, below an open one. No component may be a symlink.
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
		next, err := openPart(fd, string(part))
		if err == unix.ENOSYS {
			continue
		}
		if fd != root {
			unix.Close(fd)
		}
		if err != nil {
			return -1, err
		}
		fd, path = next, bytes.TrimPrefix(path[len(part):], []byte("/"))
	}
	return fd, nil
}

// openPart opens some components at once; ENOSYS: it must be one at a time, try again.
func openPart(fd int, part string) (int, error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if noOpenat2.Load() {
		return openRetry(fd, part, flags)
	}
	how := unix.OpenHow{Flags: flags, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH}
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

// split cuts a path into folder and name.
func split(path []byte) (folder, name []byte) {
	i := bytes.LastIndexByte(path, '/')
	if i < 0 {
		return nil, path
	}
	return path[:i], path[i+1:]
}
