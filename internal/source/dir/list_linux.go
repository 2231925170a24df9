package dir

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

const (
	direntBuffer = 64 << 10
	blockBits    = 18 // names are kept in blocks of 256 KiB
	blockSize    = 1 << blockBits
	maxBlocks    = 1 << (32 - blockBits) // 4 GiB of names in one folder
	direntHead   = 19                    // ino 8, off 8, reclen 2, type 1: struct linux_dirent64, getdents(2)
)

// nameRef finds a name in an arena, where a NUL follows it.
type nameRef struct {
	at   uint32 // block and offset
	size uint16
	kind uint8 // DT_DIR, …; DT_UNKNOWN where the file system does not tell
}

// arena holds the names of one folder.
type arena struct{ blocks [][]byte }

func (a *arena) bytes(r nameRef) []byte {
	off := r.at & (blockSize - 1)
	return a.blocks[r.at>>blockBits][off : off+uint32(r.size)]
}

// pointer is the name as the system wants it.
func (a *arena) pointer(r nameRef) *byte { return &a.blocks[r.at>>blockBits][r.at&(blockSize-1)] }

// key sorts names: their first 8 bytes decide most comparisons.
type key struct {
	head uint64
	ref  nameRef
}

// reader is what one goroutine needs to read folders.
type reader struct {
	w      *walker
	stat   statBuf
	buf    []byte // of getdents64
	blocks [][]byte
	keys   []key
	refs   []nameRef
	path   []byte
	nodes  []*node
	noTime bool // the system refused O_NOATIME
}

func newReader(w *walker) *reader { return &reader{w: w, buf: make([]byte, direntBuffer)} }

// openDir opens a folder by its name in an open one, without touching its access time where that is allowed.
func (r *reader) openDir(up int, name []byte) (int, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC | unix.O_NONBLOCK
	for {
		how := flags
		if !r.noTime {
			how |= unix.O_NOATIME
		}
		fd, _, e := unix.Syscall6(unix.SYS_OPENAT, uintptr(up), uintptr(unsafe.Pointer(&name[0])), uintptr(how|unix.O_LARGEFILE), 0, 0, 0)
		switch {
		case e == 0:
			return int(fd), nil
		case e == unix.EPERM && !r.noTime:
			r.noTime = true
		case e != unix.EINTR:
			return -1, e
		}
	}
}

// readUnit reads a folder or a stretch of one.
func (r *reader) readUnit(u *unit) {
	if u.of.mount && !u.stretch {
		if u.note = r.mountNote(u.of); u.note != (Note{}) {
			return
		}
	}
	fd, err := r.w.pin(u.of, r)
	if err != nil {
		u.err = err
		return
	}
	defer r.w.unpin(u.of)
	if u.stretch {
		r.statAll(fd, u, &u.whole.names, u.whole.refs[u.first:u.last])
		return
	}
	if u.err = r.list(fd); u.err != nil {
		u.err = failed("readdir", u.err)
	}
	if r.w.t.opts.KeyOrder {
		r.sortKeys(fd)
	} else {
		r.sort()
	}
	if r.w.t.opts.CacheTags && r.onlyTag(fd) {
		u.note = Note{Reason: CacheFolder}
	}
	if len(r.keys) > 2*stretchEntries {
		r.divide(u)
		return
	}
	refs := r.pack(u)
	r.statAll(fd, u, &u.names, refs)
	u.of.last = u.fresh == 0
}

// list reads the names of a folder into the blocks and keys of the reader. What was read before an error stays.
func (r *reader) list(fd int) error {
	r.keys = r.keys[:0]
	if r.blocks == nil {
		r.blocks = [][]byte{make([]byte, 0, blockSize)}
	}
	r.blocks = r.blocks[:1]
	r.blocks[0] = r.blocks[0][:0]
	for {
		n, err := unix.Getdents(fd, r.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return err
		}
		if err := r.parse(r.buf[:n]); err != nil {
			return err
		}
	}
}

// parse adds the names of one answer of getdents64.
func (r *reader) parse(b []byte) error {
	for len(b) > direntHead {
		size := int(binary.NativeEndian.Uint16(b[16:]))
		if size <= direntHead || size > len(b) {
			return unix.EIO
		}
		name := b[direntHead:size]
		kind := b[18]
		b = b[size:]
		end := bytes.IndexByte(name, 0)
		if end < 0 {
			end = len(name)
		}
		name = name[:end]
		if string(name) == "." || string(name) == ".." {
			continue
		}
		if end == 0 || bytes.IndexByte(name, '/') >= 0 {
			return unix.EIO // a broken or hostile file system: such a name leads elsewhere
		}
		if err := r.add(name, kind); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) add(name []byte, kind uint8) error {
	last := &r.blocks[len(r.blocks)-1]
	if len(*last)+len(name)+1 > blockSize {
		if len(r.blocks) == maxBlocks {
			return unix.ENOMEM
		}
		r.blocks = append(r.blocks, make([]byte, 0, blockSize))
		last = &r.blocks[len(r.blocks)-1]
	}
	at := uint32(len(r.blocks)-1)<<blockBits | uint32(len(*last))
	*last = append(append(*last, name...), 0)
	r.keys = append(r.keys, key{head(name), nameRef{at, uint16(len(name)), kind}})
	return nil
}

// head is the first 8 bytes as a number that sorts like them.
func head(name []byte) uint64 {
	if len(name) >= 8 {
		return binary.BigEndian.Uint64(name)
	}
	var b [8]byte
	copy(b[:], name)
	return binary.BigEndian.Uint64(b[:])
}

// sort sorts the names bytewise and drops one that a folder shows twice because it changed while it was read.
func (r *reader) sort() {
	a := arena{r.blocks}
	slices.SortFunc(r.keys, func(x, y key) int {
		switch {
		case x.head < y.head:
			return -1
		case x.head > y.head:
			return 1
		}
		return bytes.Compare(a.bytes(x.ref), a.bytes(y.ref))
	})
	r.keys = slices.CompactFunc(r.keys, func(x, y key) bool {
		return x.head == y.head && bytes.Equal(a.bytes(x.ref), a.bytes(y.ref))
	})
}

// sortKeys is sort for Options.KeyOrder. Where the file system does not tell what is a folder, each name is asked for.
func (r *reader) sortKeys(fd int) {
	a, o := arena{r.blocks}, &r.w.t.opts
	for i := range r.keys {
		if k := &r.keys[i]; k.ref.kind == unix.DT_UNKNOWN {
			var st source.Stat
			if r.stat.at(fd, a.pointer(k.ref), &st) == 0 && st.Type == source.Dir {
				k.ref.kind = unix.DT_DIR
			}
		}
	}
	slices.SortFunc(r.keys, func(x, y key) int {
		return compareKeys(a.bytes(x.ref), o.ending(x.ref.kind == unix.DT_DIR), a.bytes(y.ref), o.ending(y.ref.kind == unix.DT_DIR))
	})
	r.keys = slices.CompactFunc(r.keys, func(x, y key) bool { return bytes.Equal(a.bytes(x.ref), a.bytes(y.ref)) })
}

const (
	cacheTag       = "CACHEDIR.TAG"
	cacheSignature = "Signature: 8a477f597d28d172789f06886806bc55"
)

// onlyTag drops all names but that of a valid cache tag, if there is one.
func (r *reader) onlyTag(fd int) bool {
	a := arena{r.blocks}
	i := slices.IndexFunc(r.keys, func(k key) bool { return string(a.bytes(k.ref)) == cacheTag })
	if i < 0 {
		return false
	}
	c, err := openRegular(fd, cacheTag, nil)
	if err != nil {
		return false
	}
	defer c.Close()
	var b [len(cacheSignature)]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != cacheSignature {
		return false
	}
	r.keys[0] = r.keys[i]
	r.keys = r.keys[:1]
	return true
}

// pack copies the names into an arena of the right size, in order; the references are valid until the next call.
func (r *reader) pack(u *unit) []nameRef {
	size := 0
	for i := range r.keys {
		size += int(r.keys[i].ref.size) + 1
	}
	from := arena{r.blocks}
	r.refs = r.refs[:0]
	var buf []byte
	for i := range r.keys {
		ref := r.keys[i].ref
		if n := int(ref.size) + 1; buf == nil || len(buf)+n > blockSize {
			if buf != nil {
				u.names.blocks = append(u.names.blocks, buf)
			}
			buf = r.w.takeBytes(min(size, blockSize))
		}
		at := uint32(len(u.names.blocks))<<blockBits | uint32(len(buf))
		buf = append(append(buf, from.bytes(ref)...), 0)
		r.refs = append(r.refs, nameRef{at, ref.size, ref.kind})
		size -= int(ref.size) + 1
	}
	if buf != nil {
		u.names.blocks = append(u.names.blocks, buf)
	}
	return r.refs
}

// divide makes stretches of a large folder. It takes the blocks over.
func (r *reader) divide(u *unit) {
	u.names.blocks, r.blocks = r.blocks, nil
	u.refs = make([]nameRef, len(r.keys))
	for i := range r.keys {
		u.refs[i] = r.keys[i].ref
	}
	r.keys = nil
	for first := 0; first < len(u.refs); first += stretchEntries {
		u.parts = append(u.parts, &unit{of: u.of, whole: u, stretch: true, first: first, last: min(first+stretchEntries, len(u.refs))})
	}
	u.fresh = len(u.parts)
}

// statAll makes the records of these names.
func (r *reader) statAll(fd int, u *unit, names *arena, refs []nameRef) {
	u.recs = r.w.takeRecords(len(refs))
	base := -1
	if r.w.t.opts.Exclude != nil {
		r.path = appendPath(r.path[:0], u.of)
		base = len(r.path)
	}
	for _, ref := range refs {
		u.recs = append(u.recs, record{name: ref})
		rec := &u.recs[len(u.recs)-1]
		rec.errno = r.stat.at(fd, names.pointer(ref), &rec.stat)
		if rec.errno != 0 {
			rec.bare = true
			r.hidden(u.of, names.bytes(ref), rec)
			continue
		}
		if base >= 0 {
			r.path = append(r.path[:base], names.bytes(ref)...)
			if r.w.t.opts.Exclude(r.path, rec.stat.Type == source.Dir, &rec.stat) {
				u.recs = u.recs[:len(u.recs)-1]
				continue
			}
		}
		r.judge(u, names, rec)
	}
}

// judge decides about an entry that is there and not excluded.
func (r *reader) judge(u *unit, names *arena, rec *record) {
	o := &r.w.t.opts
	switch rec.stat.Type {
	case source.File:
		if o.MaxSize > 0 && rec.stat.Size > o.MaxSize {
			rec.bare, rec.note = true, Note{Reason: TooLarge}
		}
	case source.Dir:
		mount := rec.stat.Dev != u.of.dev
		if mount && o.OneFileSystem {
			rec.note = Note{Reason: OtherFileSystem}
			return
		}
		rec.sub = r.takeNode()
		at := names.bytes(rec.name)
		rec.sub.folder = folder{parent: u.of, name: at[: len(at)+1 : len(at)+1], dev: rec.stat.Dev, mount: mount, fd: -1}
		rec.sub.unit.of = &rec.sub.folder
		u.fresh++
	}
}

// hidden turns the refusal that root meets at another user's desktop portal into a note.
func (r *reader) hidden(in *folder, name []byte, rec *record) {
	if rec.errno != unix.EACCES || rec.name.kind != unix.DT_DIR || unix.Geteuid() != 0 {
		return
	}
	path := r.w.absolute(in) + "/" + string(name)
	if kind := mountedType(r.w.mounts(), 0, path); portals[kind] {
		rec.errno, rec.note = 0, Note{PseudoFileSystem, kind}
	}
}

// mountNote says why the file system that is mounted on f is left out.
func (r *reader) mountNote(f *folder) Note {
	up, err := r.w.pin(f.parent, r)
	if err != nil {
		return Note{}
	}
	defer r.w.unpin(f.parent)
	fd, err := openRetry(up, string(f.name[:len(f.name)-1]), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW)
	if err != nil {
		return Note{}
	}
	defer unix.Close(fd)
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) != nil {
		return Note{}
	}
	return judge(r.w.absolute(f), uint32(st.Type), f.dev, r.w.mounts)
}

// absolute is the path of a folder from /, without a slash at its end.
func (w *walker) absolute(f *folder) string {
	path := append([]byte(w.t.root), '/')
	if w.t.root == "/" {
		path = path[:1]
	}
	path = appendPath(path, f)
	return string(bytes.TrimSuffix(path, []byte("/")))
}

// appendPath adds the path of a folder from the root of the walk, with a slash behind each name.
func appendPath(b []byte, f *folder) []byte {
	from := len(b)
	for ; f.parent != nil; f = f.parent {
		b = append(b, '/')
		at := len(b)
		b = append(b, f.name[:len(f.name)-1]...)
		slices.Reverse(b[at:])
	}
	slices.Reverse(b[from:])
	return b
}
