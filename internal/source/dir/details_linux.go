package dir

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

const (
	maxTarget    = 1 << 20 // of a symlink; Linux itself stops at 4095
	maxXattrList = 1 << 20 // bytes of names; Linux stops at 64 KiB
	maxXattr     = 1 << 20 // one value; Linux stops at 64 KiB
)

// Details reads the target of a symlink and the extended attributes: all that the system lets this user see, POSIX ACLs
// (system.posix_acl_access, …_default) and capabilities (security.capability) among them. A file system without attributes has none.
// Where some attributes cannot be read, the others come with the error.
func (t *Tree) Details(path []byte, st *source.Stat) (source.Details, error) {
	var d source.Details
	dir, name, err := t.place(path)
	if err != nil {
		return d, err
	}
	defer t.parents.put(dir)
	if st.Type == source.Symlink {
		if d.Target, err = readlink(dir.fd, name); err != nil {
			return d, err
		}
	}
	x := xattrs{fd: dir.fd, name: name}
	d.Xattrs, err = x.all()
	return d, err
}

// place finds the open folder and the name in it of a path; for the root folder the name is ".".
func (t *Tree) place(path []byte) (*parent, string, error) {
	if t.single != "" {
		if string(path) != t.single {
			return nil, "", failed("open", unix.ENOENT)
		}
		return &t.parents.root, t.base, nil
	}
	if len(path) == 0 {
		return &t.parents.root, ".", nil
	}
	folder, name := split(path)
	if len(name) == 0 || bytes.IndexByte(path, 0) >= 0 || string(name) == "." || string(name) == ".." {
		return nil, "", failed("open", unix.EINVAL)
	}
	dir, err := t.parents.get(folder)
	return dir, string(name), err
}

func readlink(fd int, name string) (string, error) {
	for size := 256; size <= maxTarget; size *= 4 {
		b := make([]byte, size)
		n, err := unix.Readlinkat(fd, name, b)
		if err != nil {
			return "", failed("readlink", err)
		}
		if n < size {
			return string(b[:n]), nil
		}
	}
	return "", failed("readlink", unix.ENAMETOOLONG)
}

// xattrs reads the attributes of a name in an open folder, not following a symlink: by the calls of Linux 6.13 that take a folder
// (listxattrat, getxattrat), before that by a path through /proc/self/fd, which is short however long the real one is.
type xattrs struct {
	fd   int
	name string
	proc string // the path through /proc, once it is needed
}

// noXattrAt is set when the kernel does not know the calls that take a folder or a filter forbids them.
var noXattrAt atomic.Bool

// xattrArgs is struct xattr_args of linux/xattr.h, which has a pointer as a number; keep holds what it points to.
type xattrArgs struct {
	value uint64
	size  uint32
	flags uint32
	keep  *byte
}

const xattrArgsSize = 16

func (x *xattrs) path() string {
	if x.proc == "" {
		x.proc = "/proc/self/fd/" + strconv.Itoa(x.fd) + "/" + x.name
	}
	return x.proc
}

// all reads names and values, sorted by name.
func (x *xattrs) all() ([]source.Xattr, error) {
	list, err := x.list()
	if err != nil || len(list) == 0 {
		return nil, err
	}
	var out []source.Xattr
	var bad error
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		value, err := x.get(name)
		switch {
		case err == nil:
			out = append(out, source.Xattr{Name: name, Value: value})
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EOPNOTSUPP):
			// gone since it was listed, or listed by a file system that does not have it
		case bad == nil:
			bad = fmt.Errorf("extended attribute %q: %w", name, err)
		}
	}
	slices.SortFunc(out, func(a, b source.Xattr) int { return strings.Compare(a.Name, b.Name) })
	return out, bad
}

func (x *xattrs) list() ([]byte, error) {
	var small [1024]byte
	b := small[:]
	for {
		n, err := x.listInto(b)
		switch {
		case err == nil:
			return append([]byte(nil), b[:n]...), nil
		case err == unix.EOPNOTSUPP, err == unix.ENOSYS:
			return nil, nil
		case err == unix.EINTR:
		case err != unix.ERANGE || len(b) >= maxXattrList:
			return nil, failed("listxattr", err)
		default:
			b = make([]byte, 8*len(b))
		}
	}
}

func (x *xattrs) listInto(b []byte) (int, error) {
	if !noXattrAt.Load() {
		name, err := unix.BytePtrFromString(x.name)
		if err != nil {
			return 0, err
		}
		n, _, e := unix.Syscall6(unix.SYS_LISTXATTRAT, uintptr(x.fd), uintptr(unsafe.Pointer(name)), unix.AT_SYMLINK_NOFOLLOW,
			uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.ENOSYS, unix.EPERM:
			noXattrAt.Store(true)
		default:
			return 0, e
		}
	}
	return unix.Llistxattr(x.path(), b)
}

func (x *xattrs) get(attr string) ([]byte, error) {
	var small [512]byte
	b := small[:]
	for {
		n, err := x.getInto(attr, b)
		switch {
		case err == nil:
			return append([]byte{}, b[:n]...), nil
		case err == unix.EINTR:
		case err != unix.ERANGE || len(b) >= maxXattr:
			return nil, failed("getxattr", err)
		default:
			b = make([]byte, 16*len(b))
		}
	}
}

func (x *xattrs) getInto(attr string, b []byte) (int, error) {
	if noXattrAt.Load() {
		return unix.Lgetxattr(x.path(), attr, b)
	}
	name, err := unix.BytePtrFromString(x.name)
	if err != nil {
		return 0, err
	}
	key, err := unix.BytePtrFromString(attr)
	if err != nil {
		return 0, err
	}
	args := &xattrArgs{size: uint32(len(b)), keep: &b[0]}
	args.value = uint64(uintptr(unsafe.Pointer(args.keep)))
	n, _, e := unix.Syscall6(unix.SYS_GETXATTRAT, uintptr(x.fd), uintptr(unsafe.Pointer(name)), unix.AT_SYMLINK_NOFOLLOW,
		uintptr(unsafe.Pointer(key)), uintptr(unsafe.Pointer(args)), xattrArgsSize)
	runtime.KeepAlive(args)
	if e != 0 {
		return 0, e
	}
	return int(n), nil
}
