package target

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

const (
	aclPrefix    = "system.posix_acl_"
	aclAccess    = aclPrefix + "access"
	aclDefault   = aclPrefix + "default"
	maxXattrList = 1 << 20 // bytes of names; Linux stops at 64 KiB
)

// subject is what gets metadata. Nothing here follows a symlink.
type subject interface {
	chown(uid, gid int) error
	chmod(mode uint32) error
	utimes(ts *[2]unix.Timespec) error
	setxattr(name string, value []byte) error
	removexattr(name string) error
	listxattr(b []byte) (int, error)
}

// byFD is an open file or folder.
type byFD struct{ fd int }

func (s byFD) chown(uid, gid int) error                 { return unix.Fchown(s.fd, uid, gid) }
func (s byFD) chmod(mode uint32) error                  { return unix.Fchmod(s.fd, mode) }
func (s byFD) setxattr(name string, value []byte) error { return unix.Fsetxattr(s.fd, name, value, 0) }
func (s byFD) removexattr(name string) error            { return unix.Fremovexattr(s.fd, name) }
func (s byFD) listxattr(b []byte) (int, error)          { return unix.Flistxattr(s.fd, b) }
func (s byFD) utimes(ts *[2]unix.Timespec) error        { return utimensat(s.fd, nil, ts, 0) }

// byName is a name in an open folder: a symlink, a special file, what may not be opened.
type byName struct{ spot }

func (s byName) chown(uid, gid int) error {
	return unix.Fchownat(s.in.fd, s.name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
}

// chmod uses fchmodat2 (Linux 6.6), before that the way through /proc to a descriptor that is known to be no symlink.
func (s byName) chmod(mode uint32) error {
	err := unix.Fchmodat(s.in.fd, s.name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if err != unix.EOPNOTSUPP && err != unix.ENOSYS {
		return err
	}
	fd, err := openRetry(s.in.fd, s.name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	return unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode)
}

func (s byName) utimes(ts *[2]unix.Timespec) error {
	name, err := unix.BytePtrFromString(s.name)
	if err != nil {
		return err
	}
	return utimensat(s.in.fd, name, ts, unix.AT_SYMLINK_NOFOLLOW)
}

// proc is a short path to the name, however long the real one is.
func (s byName) proc() string { return "/proc/self/fd/" + strconv.Itoa(s.in.fd) + "/" + s.name }

func (s byName) setxattr(name string, value []byte) error {
	return unix.Lsetxattr(s.proc(), name, value, 0)
}
func (s byName) removexattr(name string) error   { return unix.Lremovexattr(s.proc(), name) }
func (s byName) listxattr(b []byte) (int, error) { return unix.Llistxattr(s.proc(), b) }

// utimensat is utimensat(2); without a name it is about fd itself.
func utimensat(fd int, name *byte, ts *[2]unix.Timespec, flags uintptr) error {
	for {
		_, _, e := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), uintptr(unsafe.Pointer(name)), uintptr(unsafe.Pointer(ts)), flags, 0, 0)
		switch e {
		case 0:
			return nil
		case unix.EINTR:
			continue
		}
		return e
	}
}

// present is what a subject has before metadata is applied.
type present struct {
	uid, gid int64  // -1 unknown
	inherits bool   // it may have an ACL from its folder
	fresh    bool   // made by this run: it has no other attributes, and its owner may write it
	mode     uint32 // unless fresh
}

// Finish applies metadata to anything but a file that CreateFile has begun; folders last, the deepest first. A regular
// file with other names is left alone (ErrInTheWay).
func (t *Target) Finish(path []byte, m *Meta) error {
	s, err := t.place(path)
	if err != nil {
		return err
	}
	defer t.parents.put(s.in)
	var st unix.Stat_t
	if err := s.stat(&st); err != nil {
		return err
	}
	if typeOf(st.Mode) != m.Type {
		return ErrInTheWay
	}
	have := present{uid: int64(st.Uid), gid: int64(st.Gid), inherits: s.in.acl, mode: st.Mode & 0o7777}
	if m.Type != source.Dir && m.Type != source.File {
		have.fresh = true
		return t.apply(byName{s}, m, have, path)
	}
	fd, err := openRetry(s.in.fd, s.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		if m.Type == source.File && st.Nlink != 1 {
			return ErrInTheWay
		}
		return t.apply(byName{s}, m, have, path)
	}
	defer unix.Close(fd)
	if err := unix.Fstat(fd, &st); err != nil {
		return failed("stat", err)
	}
	if typeOf(st.Mode) != m.Type || m.Type == source.File && st.Nlink != 1 {
		return ErrInTheWay
	}
	return t.apply(byFD{fd}, m, have, path)
}

// apply sets owner, attributes, times and mode, in this order: a change of owner clears capabilities and setuid bits, attributes of users need
// a file that its owner may write, and the mode comes last because it marks a small file as complete.
func (t *Target) apply(s subject, m *Meta, have present, path []byte) error {
	var errs []error
	ownerSet, groupSet := t.chown(s, m, have, path, &errs)
	if !t.opts.NoXattrs {
		t.xattrs(s, m, have, path, &errs)
	}
	ts := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(m.MtimeSec, m.MtimeNsec)}
	if err := s.utimes(&ts); err != nil {
		if refused(err) {
			t.limits.add("time", path, err)
		} else {
			errs = append(errs, failed("utimensat", err))
		}
	}
	if m.Type == source.Symlink {
		return errors.Join(errs...)
	}
	mode := m.Mode & 0o7777
	if mode&unix.S_ISUID != 0 && !ownerSet {
		mode &^= unix.S_ISUID
		t.limits.add("setuid bit", path, unix.EPERM)
	}
	if mode&unix.S_ISGID != 0 && !groupSet && m.Type != source.Dir {
		mode &^= unix.S_ISGID
		t.limits.add("setgid bit", path, unix.EPERM)
	}
	if err := s.chmod(mode); err != nil {
		if refused(err) {
			t.limits.add("mode", path, err)
		} else {
			errs = append(errs, failed("chmod", err))
		}
	}
	return errors.Join(errs...)
}

// refused tells a lack of rights or of abilities of the file system from a failure.
func refused(err error) bool {
	return err == unix.EPERM || err == unix.EACCES || err == unix.EOPNOTSUPP || err == unix.ENOSYS
}

// chown sets the owner and reports what is as wanted; an owner that is unknown or not wanted at all is not.
func (t *Target) chown(s subject, m *Meta, have present, path []byte, errs *[]error) (ownerSet, groupSet bool) {
	uid, gid := t.owners.of(m, t.opts.OwnerByName)
	ownerSet, groupSet = uid >= 0 && uid == have.uid, gid >= 0 && gid == have.gid
	if t.opts.NoOwner {
		return ownerSet, groupSet
	}
	wantUser, wantGroup := uid >= 0 && !ownerSet, gid >= 0 && !groupSet
	if wantUser && t.denied.owner.Load() {
		wantUser = false
		t.limits.add("owner", path, unix.EPERM)
	}
	if _, no := t.denied.groups.Load(gid); no && wantGroup && !wantUser {
		wantGroup = false
		t.limits.add("group", path, unix.EPERM)
	}
	if wantUser {
		err := s.chown(int(uid), pick(wantGroup, gid))
		if err == nil {
			return true, groupSet || wantGroup
		}
		t.lostOwner(err, path, errs)
	}
	if !wantGroup {
		return ownerSet, groupSet
	}
	err := s.chown(-1, int(gid))
	switch {
	case err == nil:
		return ownerSet, true
	case refused(err) || err == unix.EINVAL:
		t.limits.add("group", path, err)
		if t.euid != 0 {
			t.denied.groups.Store(gid, struct{}{})
		}
	default:
		*errs = append(*errs, failed("chown", err))
	}
	return ownerSet, false
}

// lostOwner deals with an owner that could not be set. EINVAL is a number that the user namespace does not have.
func (t *Target) lostOwner(err error, path []byte, errs *[]error) {
	if !refused(err) && err != unix.EINVAL {
		*errs = append(*errs, failed("chown", err))
		return
	}
	t.limits.add("owner", path, err)
	if err == unix.EPERM && t.euid != 0 {
		t.denied.owner.Store(true)
	}
}

func pick(ok bool, id int64) int {
	if ok {
		return int(id)
	}
	return -1
}

// xattrs sets the attributes, and removes those of an existing entry, or inherited from the folder, that it is not to have. ACLs come last:
// they may take the right to set the others from the owner.
func (t *Target) xattrs(s subject, m *Meta, have present, path []byte, errs *[]error) {
	if !have.fresh || have.inherits {
		if !have.fresh && t.euid != 0 && have.mode&0o200 == 0 {
			_ = s.chmod(have.mode | 0o200) // only an owner can, and only an owner needs it
		}
		removeOthers(s, m.Xattrs)
	}
	for _, acls := range []bool{false, true} {
		for i := range m.Xattrs {
			if x := &m.Xattrs[i]; strings.HasPrefix(x.Name, aclPrefix) == acls {
				t.setxattr(s, x, path, errs)
			}
		}
	}
}

func (t *Target) setxattr(s subject, x *source.Xattr, path []byte, errs *[]error) {
	err := s.setxattr(x.Name, x.Value)
	switch {
	case err == nil:
	case refused(err) || err == unix.EINVAL:
		t.limits.add(xattrKind(x.Name), path, err)
	default:
		*errs = append(*errs, fmt.Errorf("extended attribute %q: %w", x.Name, failed("setxattr", err)))
	}
}

// removeOthers removes ACLs and attributes of users that are not among those to set. What the system itself sets (labels) stays.
func removeOthers(s subject, keep []source.Xattr) {
	var small [1024]byte
	b := small[:]
	n, err := s.listxattr(b)
	for err == unix.ERANGE && len(b) < maxXattrList {
		b = make([]byte, 8*len(b))
		n, err = s.listxattr(b)
	}
	if err != nil || n <= 0 {
		return
	}
next:
	for name := range bytes.SplitSeq(b[:n], []byte{0}) {
		if text := string(name); text == aclAccess || text == aclDefault || strings.HasPrefix(text, "user.") || text == "security.capability" {
			for i := range keep {
				if keep[i].Name == text {
					continue next
				}
			}
			_ = s.removexattr(text)
		}
	}
}

// typeOf translates the type bits of st_mode.
func typeOf(mode uint32) source.Type {
	switch mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return source.Dir
	case unix.S_IFLNK:
		return source.Symlink
	case unix.S_IFIFO:
		return source.FIFO
	case unix.S_IFCHR:
		return source.Char
	case unix.S_IFBLK:
		return source.Block
	case unix.S_IFSOCK:
		return source.Socket
	}
	return source.File
}
