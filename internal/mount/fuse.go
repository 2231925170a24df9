//go:build (linux && !386 && !arm && !mips && !mipsle) || freebsd || darwin

package mount

import (
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"firn/internal/manifest"
)

// How long the kernel may go by what it was told: what is in a snapshot does not change.
const (
	forGood   = 365 * 24 * time.Hour
	forMoment = time.Second
)

// server answers the kernel for an FS. It keeps nothing but what is open.
type server struct {
	fuse.RawFileSystem
	f        *FS
	uid, gid uint32 // of whoever mounts: the folders above the snapshots are theirs, and what has no owner

	mu   sync.Mutex
	last uint64
	open map[uint64]any // *open, *listing, *place
}

func newServer(f *FS) *server {
	return &server{RawFileSystem: fuse.NewDefaultRawFileSystem(), f: f, uid: uint32(os.Getuid()), gid: uint32(os.Getgid()), open: map[uint64]any{}}
}

// String implements fuse.RawFileSystem.
func (s *server) String() string { return "firn" }

func (s *server) hold(x any) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.open[s.last] = x
	return s.last
}

func (s *server) held(handle uint64) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[handle]
}

func (s *server) release(handle uint64) {
	s.mu.Lock()
	x := s.open[handle]
	delete(s.open, handle)
	s.mu.Unlock()
	switch x := x.(type) {
	case *open:
		x.close()
	case *listing:
		x.close()
	}
}

// status is what the kernel is told of an error about a node, which whoever has mounted it is told too.
func (s *server) status(n node, err error) fuse.Status {
	k := kindOf(err)
	switch k {
	case isFine:
		return fuse.OK
	case isNone:
		return fuse.ENOENT
	case isStopped:
		return fuse.EINTR
	}
	s.f.explainOnce(n, err)
	if k == isCold {
		return fuse.Status(errnoCold)
	}
	return fuse.EIO
}

// Lookup implements fuse.RawFileSystem.
func (s *server) Lookup(cancel <-chan struct{}, header *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	n := node(header.NodeId)
	if n.slot() == 0 {
		top := s.f.top(cancel)
		in := top.byID[n]
		if in == nil {
			return fuse.Status(syscall.ESTALE)
		}
		p := top.find(in, name)
		if p == nil {
			return fuse.ENOENT
		}
		return s.placeEntry(p, cancel, out)
	}
	v, err := s.f.read(n.slot(), cancel)
	if err == nil {
		var c file
		if c, err = v.child(n, name); err == nil {
			s.entry(&c, out)
			return fuse.OK
		}
	}
	if kindOf(err) == isNone {
		out.SetEntryTimeout(forGood) // and node 0: there is none
		return fuse.OK
	}
	return s.status(n, err)
}

// placeEntry tells of a place above the snapshots, or of the root of one.
func (s *server) placeEntry(p *place, cancel <-chan struct{}, out *fuse.EntryOut) fuse.Status {
	out.NodeId = uint64(p.id)
	out.SetEntryTimeout(forMoment)
	return s.placeAttr(p, cancel, &out.Attr, out.SetAttrTimeout)
}

func (s *server) placeAttr(p *place, cancel <-chan struct{}, out *fuse.Attr, timeout func(time.Duration)) fuse.Status {
	if p.slot != 0 {
		v, err := s.f.read(p.slot, cancel)
		if err == nil {
			var root file
			if root, err = v.root(); err == nil {
				s.attr(&root, out)
				timeout(forGood)
				return fuse.OK
			}
		}
		return s.status(p.id, err)
	}
	timeout(forMoment)
	c := file{node: p.id, kind: manifest.Dir, mode: 0o555, links: 1, uid: int64(s.uid), gid: int64(s.gid), time: p.time}
	if p.target != "" {
		c.kind, c.mode, c.size = manifest.Symlink, 0o777, int64(len(p.target))
	}
	s.attr(&c, out)
	return fuse.OK
}

func (s *server) entry(c *file, out *fuse.EntryOut) {
	out.NodeId = uint64(c.node)
	out.SetEntryTimeout(forGood)
	out.SetAttrTimeout(forGood)
	s.attr(c, &out.Attr)
}

var typeBits = [...]uint32{
	manifest.File: syscall.S_IFREG, manifest.Dir: syscall.S_IFDIR, manifest.Symlink: syscall.S_IFLNK, manifest.FIFO: syscall.S_IFIFO,
	manifest.Char: syscall.S_IFCHR, manifest.Block: syscall.S_IFBLK, manifest.Socket: syscall.S_IFSOCK,
}

func (s *server) attr(c *file, out *fuse.Attr) {
	out.Ino, out.Size, out.Blocks = uint64(c.node), uint64(c.size), uint64(c.blocks)
	sec, nsec := uint64(c.time.Unix()), uint32(c.time.Nanosecond())
	if c.time.IsZero() {
		sec = 0
	}
	out.Atime, out.Mtime, out.Ctime, out.Atimensec, out.Mtimensec, out.Ctimensec = sec, sec, sec, nsec, nsec, nsec
	out.Mode, out.Nlink = typeBits[c.kind]|c.mode, c.links
	out.Uid, out.Gid = s.uid, s.gid
	if c.uid >= 0 {
		out.Uid = uint32(c.uid)
	}
	if c.gid >= 0 {
		out.Gid = uint32(c.gid)
	}
	if o := s.f.o.Owner; o != nil && c.node.slot() != 0 {
		out.Uid, out.Gid = o.UID, o.GID
	}
	if c.kind == manifest.Char || c.kind == manifest.Block {
		out.Rdev = deviceNumber(c.major, c.minor)
	}
	out.Blksize = block
}

// GetAttr implements fuse.RawFileSystem.
func (s *server) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n := node(in.NodeId)
	if n.slot() == 0 {
		p := s.f.top(cancel).byID[n]
		if p == nil {
			return fuse.Status(syscall.ESTALE)
		}
		return s.placeAttr(p, cancel, &out.Attr, out.SetTimeout)
	}
	v, err := s.f.read(n.slot(), cancel)
	if err == nil {
		var c file
		if c, err = v.attributes(n); err == nil {
			s.attr(&c, &out.Attr)
			out.SetTimeout(forGood)
		}
	}
	return s.status(n, err)
}

// Readlink implements fuse.RawFileSystem.
func (s *server) Readlink(cancel <-chan struct{}, header *fuse.InHeader) ([]byte, fuse.Status) {
	n := node(header.NodeId)
	if n.slot() == 0 {
		p := s.f.top(cancel).byID[n]
		if p == nil {
			return nil, fuse.Status(syscall.ESTALE)
		}
		return []byte(p.target), fuse.OK
	}
	v, err := s.f.read(n.slot(), cancel)
	if err != nil {
		return nil, s.status(n, err)
	}
	c, err := v.attributes(n)
	if err == nil && c.kind != manifest.Symlink {
		return nil, fuse.EINVAL
	}
	return c.target, s.status(n, err)
}

// GetXAttr implements fuse.RawFileSystem.
func (s *server) GetXAttr(cancel <-chan struct{}, header *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	n := node(header.NodeId)
	if n.slot() == 0 {
		return 0, fuse.ENOATTR
	}
	value, err := s.f.xattr(n, name, cancel)
	if err == errUnknown {
		return 0, fuse.Status(syscall.EOPNOTSUPP)
	}
	switch kindOf(err) {
	case isFine:
		return fill(dest, value)
	case isNone:
		return 0, fuse.ENOATTR
	}
	return 0, s.status(n, err)
}

// ListXAttr implements fuse.RawFileSystem.
func (s *server) ListXAttr(cancel <-chan struct{}, header *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	n := node(header.NodeId)
	if n.slot() == 0 {
		return 0, fuse.OK
	}
	names, err := s.f.xattrNames(n, cancel)
	if err != nil {
		return 0, s.status(n, err)
	}
	var list []byte
	for _, name := range names {
		list = append(append(list, name...), 0)
	}
	return fill(dest, list)
}

func fill(dest, value []byte) (uint32, fuse.Status) {
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

// Open implements fuse.RawFileSystem.
func (s *server) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := node(in.NodeId)
	if in.Flags&syscall.O_ACCMODE != syscall.O_RDONLY {
		return fuse.EROFS
	}
	if n.slot() == 0 {
		return fuse.Status(syscall.ESTALE)
	}
	o, err := s.f.openFile(n, cancel)
	if err != nil {
		return s.status(n, err)
	}
	out.Fh = s.hold(o)
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	return fuse.OK
}

// Read implements fuse.RawFileSystem.
func (s *server) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	o, ok := s.held(in.Fh).(*open)
	if !ok {
		return nil, fuse.EBADF
	}
	buf = buf[:min(len(buf), int(in.Size))]
	n, err := o.readAt(cancel, buf, int64(in.Offset))
	if err != nil {
		return nil, s.status(o.node, err)
	}
	s.f.told.works(o.node)
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

// Lseek implements fuse.RawFileSystem: SEEK_DATA and SEEK_HOLE.
func (s *server) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	o, ok := s.held(in.Fh).(*open)
	if !ok {
		return fuse.EBADF
	}
	if in.Whence != seekData && in.Whence != seekHole {
		return fuse.EINVAL
	}
	at, err := o.seek(cancel, int64(in.Offset), in.Whence == seekHole)
	if err == errRange {
		return fuse.Status(syscall.ENXIO)
	}
	out.Offset = uint64(at)
	return s.status(o.node, err)
}

// Flush implements fuse.RawFileSystem.
func (s *server) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.OK }

// Release implements fuse.RawFileSystem.
func (s *server) Release(_ <-chan struct{}, in *fuse.ReleaseIn) { s.release(in.Fh) }

// OpenDir implements fuse.RawFileSystem.
func (s *server) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := node(in.NodeId)
	if n.slot() != 0 {
		out.Fh = s.hold(s.f.list(n))
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
		return fuse.OK
	}
	p := s.f.top(cancel).byID[n]
	if p == nil {
		return fuse.Status(syscall.ESTALE)
	}
	out.Fh = s.hold(p)
	return fuse.OK
}

// ReleaseDir implements fuse.RawFileSystem.
func (s *server) ReleaseDir(in *fuse.ReleaseIn) { s.release(in.Fh) }

// Offsets in folders: 1 is behind ".", 2 behind "..", and firstOff + k behind line or place k.
const firstOff = 3

// ReadDir implements fuse.RawFileSystem.
func (s *server) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.readDir(cancel, in, out, func(e fuse.DirEntry) (*fuse.EntryOut, bool) { return nil, out.AddDirEntry(e) })
}

// ReadDirPlus implements fuse.RawFileSystem.
func (s *server) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.readDir(cancel, in, out, func(e fuse.DirEntry) (*fuse.EntryOut, bool) {
		x := out.AddDirLookupEntry(e)
		return x, x != nil
	})
}

// readDir adds entries until they do not fit any more. add returns what to fill in besides, if anything is wanted.
func (s *server) readDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList, add func(fuse.DirEntry) (*fuse.EntryOut, bool)) fuse.Status {
	off := in.Offset
	for ; off < 2; off++ {
		e := fuse.DirEntry{Mode: syscall.S_IFDIR, Name: "..", Off: off + 1}
		if off == 0 {
			e.Name, e.Ino = ".", in.NodeId
		}
		if _, ok := add(e); !ok {
			return fuse.OK
		}
	}
	behind := int64(off) - firstOff // the line or place after which it goes on
	switch d := s.held(in.Fh).(type) {
	case *place:
		return s.readPlaces(cancel, d, behind+1, add)
	case *listing:
		return s.readChildren(cancel, d, behind, add)
	}
	return fuse.EBADF
}

// readPlaces lists what is above the snapshots, or their roots. What these are like is asked for when somebody wants to know: that may take a while.
func (s *server) readPlaces(cancel <-chan struct{}, d *place, from int64, add func(fuse.DirEntry) (*fuse.EntryOut, bool)) fuse.Status {
	for k := from; k < int64(len(d.inside)); k++ {
		p := d.inside[k]
		mode := uint32(syscall.S_IFDIR)
		if p.target != "" {
			mode = syscall.S_IFLNK
		}
		out, ok := add(fuse.DirEntry{Name: p.name, Ino: uint64(p.id), Mode: mode, Off: uint64(k + firstOff)})
		if !ok {
			break
		}
		if out != nil && p.slot == 0 {
			s.placeEntry(p, cancel, out)
		}
	}
	return fuse.OK
}

// tooLong is how long a name can be that the kernel takes (FUSE_NAME_MAX).
const tooLong = 1024

func (s *server) readChildren(cancel <-chan struct{}, d *listing, behind int64, add func(fuse.DirEntry) (*fuse.EntryOut, bool)) fuse.Status {
	some := false
	err := d.from(behind, cancel, func(c *child) bool {
		if len(c.name) > tooLong {
			return true
		}
		out, ok := add(fuse.DirEntry{Name: string(c.name), Ino: uint64(c.node), Mode: typeBits[c.kind], Off: uint64(c.line + firstOff)})
		if !ok {
			return false
		}
		some = true
		if out != nil && !c.bad {
			s.entry(&c.file, out)
		}
		return true
	})
	if some && kindOf(err) != isFine {
		return fuse.OK // first what there is; the next call fails
	}
	return s.status(d.dir, err)
}

// StatFs implements fuse.RawFileSystem.
func (s *server) StatFs(_ <-chan struct{}, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	out.Bsize, out.Frsize, out.NameLen = block, block, 255
	return fuse.OK
}

// Access implements fuse.RawFileSystem: who may not write is told so by the kernel, since it is mounted for reading only.
func (s *server) Access(<-chan struct{}, *fuse.AccessIn) fuse.Status { return fuse.ENOSYS }
