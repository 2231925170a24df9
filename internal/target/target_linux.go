package target

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

// Target is an open folder. Its methods may be called by several goroutines at once, for different paths.
type Target struct {
	opts    Options
	rootFD  int
	euid    int64
	reserve bool // the file system gains from space allocated in advance
	parents parents
	limits  limits
	owners  owners
	denied  denied
	folding atomic.Int32 // caseUnknown, …
}

// denied remembers what the system has refused, so that it is not asked once per file.
type denied struct {
	owner  atomic.Bool
	groups sync.Map // gid int64 → struct{}
}

// failed says which system call failed; the caller of this package has the path.
func failed(call string, err error) error { return os.NewSyscallError(call, err) }

// Open opens dir, which is made with its parents if it is not there. Errors are *fs.PathError.
func Open(dir string, o Options) (*Target, error) {
	if err := makeRoot(dir, o); err != nil {
		return nil, err
	}
	fd, err := openRetry(unix.AT_FDCWD, dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	t := &Target{opts: o, rootFD: fd, euid: int64(os.Geteuid())}
	var st unix.Statfs_t
	if unix.Fstatfs(fd, &st) == nil {
		t.reserve = uint32(st.Type) == unix.EXT4_SUPER_MAGIC || uint32(st.Type) == unix.XFS_SUPER_MAGIC
	}
	t.parents.init(fd)
	return t, nil
}

// Sync writes everything to disk that was written until now (syncfs(2)).
func (t *Target) Sync() error { return failed("syncfs", unix.Syncfs(t.rootFD)) }

// Close releases the folder. No method may run or be called afterwards.
func (t *Target) Close() error {
	t.parents.close()
	return failed("close", unix.Close(t.rootFD))
}

// spot is a name in an open folder.
type spot struct {
	in   *parent
	name string
	path []byte
}

// place opens the folder of a path. The caller puts it back.
func (t *Target) place(path []byte) (spot, error) {
	if err := check(path); err != nil {
		return spot{}, err
	}
	if len(path) == 0 {
		return spot{t.parents.root, ".", path}, nil
	}
	folder, name := split(path)
	in, err := t.parents.get(folder)
	return spot{in, string(name), path}, err
}

func (s spot) stat(st *unix.Stat_t) error {
	return failed("lstat", unix.Fstatat(s.in.fd, s.name, st, unix.AT_SYMLINK_NOFOLLOW))
}

// Mkdir makes a folder, of the mode that marks it as unfinished until Finish; its parents must be there. "" is the target itself. An existing folder is Kept under
// every policy, and made usable by its owner until Finish; one that an interrupted run has made is Resumed.
func (t *Target) Mkdir(path []byte) (Outcome, error) {
	if len(path) == 0 {
		return Kept, nil
	}
	s, err := t.place(path)
	if err != nil {
		return 0, err
	}
	defer t.parents.put(s.in)
	outcome, err := t.make(s, source.Dir, func(name string) error { return unix.Mkdirat(s.in.fd, name, unfinishedDir) },
		func(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFDIR })
	if outcome == Kept && err == nil {
		return t.existing(s)
	}
	return outcome, err
}

// existing gives the owner all rights to an existing folder; who is not its owner must do with what he has.
func (t *Target) existing(s spot) (Outcome, error) {
	var st unix.Stat_t
	if err := s.stat(&st); err != nil {
		return 0, err
	}
	own := t.euid == 0 || int64(st.Uid) == t.euid
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFDIR:
		return 0, ErrInTheWay
	case own && isUnfinished(st.Mode):
		return Resumed, nil
	case t.euid == 0 || !own || st.Mode&0o700 == 0o700:
		return Kept, nil
	}
	return Kept, byName{s}.chmod(st.Mode&0o7777 | 0o700)
}

// make makes an entry by create, and deals with what is in its way; same finds that it is already there.
func (t *Target) make(s spot, typ source.Type, create func(name string) error, same func(*unix.Stat_t) bool) (Outcome, error) {
	err := create(s.name)
	if err == nil {
		return Created, nil
	}
	if err != unix.EEXIST {
		return 0, failed("create", err)
	}
	var st unix.Stat_t
	if err := s.stat(&st); err != nil {
		return 0, err
	}
	if err := t.exact(s); err != nil {
		return 0, err
	}
	switch {
	case same(&st):
		return Kept, nil
	case t.opts.Overwrite == Never && typ == source.Dir:
		return 0, ErrInTheWay
	case t.opts.Overwrite == Never:
		return Kept, nil
	}
	if typ == source.Dir || st.Mode&unix.S_IFMT == unix.S_IFDIR {
		if err := t.clear(s, &st); err != nil {
			return 0, err
		}
		return Replaced, failed("create", create(s.name))
	}
	temp := tempName(s.name)
	if err := create(temp); err == unix.EEXIST {
		if err := unix.Unlinkat(s.in.fd, temp, 0); err != nil {
			return 0, failed("unlink", err)
		}
		if err := create(temp); err != nil {
			return 0, failed("create", err)
		}
	} else if err != nil {
		return 0, failed("create", err)
	}
	return Replaced, t.rename(s, temp)
}

func (t *Target) rename(s spot, temp string) error {
	err := unix.Renameat(s.in.fd, temp, s.in.fd, s.name)
	if err != nil {
		_ = unix.Unlinkat(s.in.fd, temp, 0)
	}
	return failed("rename", err)
}

// clear removes what is in the way.
func (t *Target) clear(s spot, st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return failed("unlink", unix.Unlinkat(s.in.fd, s.name, 0))
	}
	defer t.parents.forget(string(s.path))
	err := unix.Unlinkat(s.in.fd, s.name, unix.AT_REMOVEDIR)
	switch {
	case err != unix.ENOTEMPTY && err != unix.EEXIST:
		return failed("rmdir", err)
	case !t.opts.Delete:
		return ErrNotEmpty
	}
	return removeTree(s.in.fd, s.name, uint64(st.Dev))
}

// Symlink makes a symlink; an existing one with the same target is Kept.
func (t *Target) Symlink(path []byte, to string) (Outcome, error) {
	s, err := t.named(path)
	if err != nil {
		return 0, err
	}
	defer t.parents.put(s.in)
	return t.make(s, source.Symlink, func(name string) error { return unix.Symlinkat(to, s.in.fd, name) }, func(st *unix.Stat_t) bool {
		if st.Mode&unix.S_IFMT != unix.S_IFLNK {
			return false
		}
		b := make([]byte, len(to)+1)
		n, err := unix.Readlinkat(s.in.fd, s.name, b)
		return err == nil && string(b[:n]) == to
	})
}

// Link gives an entry that was restored before a second name. Where the file system has no hard links, or the entry has as many as it
// can, the error is unix.EPERM, unix.EOPNOTSUPP, unix.EXDEV or unix.EMLINK: the caller may then write a copy.
func (t *Target) Link(existing, path []byte) (Outcome, error) {
	from, err := t.named(existing)
	if err != nil {
		return 0, err
	}
	defer t.parents.put(from.in)
	s, err := t.named(path)
	if err != nil {
		return 0, err
	}
	defer t.parents.put(s.in)
	return t.make(s, source.File, func(name string) error { return unix.Linkat(from.in.fd, from.name, s.in.fd, name, 0) }, func(st *unix.Stat_t) bool {
		var other unix.Stat_t
		return from.stat(&other) == nil && other.Dev == st.Dev && other.Ino == st.Ino
	})
}

// Mknod makes a FIFO, a socket or a device node, by m.Type, m.Major and m.Minor; an existing one of the same kind is Kept.
func (t *Target) Mknod(path []byte, m *Meta) (Outcome, error) {
	kinds := map[source.Type]uint32{source.FIFO: unix.S_IFIFO, source.Socket: unix.S_IFSOCK, source.Char: unix.S_IFCHR, source.Block: unix.S_IFBLK}
	kind, ok := kinds[m.Type]
	if !ok {
		return 0, fmt.Errorf("type %d is no special file: %w", m.Type, unix.EINVAL)
	}
	dev := uint64(0)
	if m.Type == source.Char || m.Type == source.Block {
		dev = unix.Mkdev(m.Major, m.Minor)
	}
	s, err := t.named(path)
	if err != nil {
		return 0, err
	}
	defer t.parents.put(s.in)
	outcome, err := t.make(s, m.Type, func(name string) error { return unix.Mknodat(s.in.fd, name, kind|0o600, int(dev)) }, func(st *unix.Stat_t) bool {
		return st.Mode&unix.S_IFMT == kind && uint64(st.Rdev) == dev
	})
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP) {
		t.limits.add(specialKind(m.Type), path, err)
		return Lacking, nil
	}
	return outcome, err
}

// named is place for what cannot be the target itself.
func (t *Target) named(path []byte) (spot, error) {
	if len(path) == 0 {
		return spot{}, fmt.Errorf("%w: it is the target itself", ErrPath)
	}
	return t.place(path)
}

// What is known of whether the file system takes names that differ by case for one.
const (
	caseUnknown int32 = iota
	caseTold
	caseFolded
)

// folds finds that out, once, by a name that is there: nothing has to be made for it, which a kill could leave behind. A name without letters tells nothing, and needs nothing.
func (t *Target) folds(s spot) bool {
	if known := t.folding.Load(); known != caseUnknown {
		return known == caseFolded
	}
	other := otherCase(s.name)
	var a, b unix.Stat_t
	if other == s.name || !utf8.ValidString(s.name) || s.stat(&a) != nil {
		return false
	}
	err := unix.Fstatat(s.in.fd, other, &b, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case err == nil && a.Dev == b.Dev && a.Ino == b.Ino:
		t.folding.Store(caseFolded) // or two names of one file: then a few folders are read that need not be
		return true
	case (err == nil || err == unix.ENOENT) && hasASCIILetter(s.name): // of other letters file systems have ideas of their own
		t.folding.Store(caseTold)
	}
	return false
}

func hasASCIILetter(name string) bool {
	return strings.ContainsFunc(name, func(r rune) bool { return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' })
}

// otherCase exchanges large and small letters.
func otherCase(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, name)
}

// exact finds out whether what is in the way has the very name, on a file system that does not tell cases apart.
func (t *Target) exact(s spot) error {
	if !t.folds(s) {
		return nil
	}
	names, err := list(s.in.fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == s.name {
			return nil
		}
	}
	return ErrCaseClash
}
