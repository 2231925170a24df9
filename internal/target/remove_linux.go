package target

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"firn/internal/source"
)

// list reads the names in an open folder.
func list(fd int) ([]string, error) {
	own, err := openRetry(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, failed("open", err)
	}
	f := os.NewFile(uintptr(own), "folder")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	return names, cause(err)
}

// RemoveExtra removes from a folder everything for whose name keep is false, folders with all that is in them; symlinks are not followed, and
// what is mounted there stays (ErrMount). removed (may be nil) is told each entry removed directly in the folder. It goes on after an
// error; errors come joined. No file of the folder may be in work meanwhile.
func (t *Target) RemoveExtra(folder []byte, keep func(name []byte) bool, removed func(path []byte, typ source.Type)) error {
	if err := check(folder); err != nil {
		return err
	}
	in, err := t.parents.get(folder)
	if err != nil {
		return err
	}
	defer t.parents.put(in)
	var here unix.Stat_t
	if err := unix.Fstat(in.fd, &here); err != nil {
		return failed("stat", err)
	}
	names, err := list(in.fd)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if keep([]byte(name)) {
			continue
		}
		path := join(folder, name)
		typ, err := t.removeExtra(in.fd, name, uint64(here.Dev))
		if typ == source.Dir {
			t.parents.forget(string(path))
		}
		if err != nil {
			errs = append(errs, &os.PathError{Op: "remove", Path: string(path), Err: err})
		} else if removed != nil {
			removed(path, typ)
		}
	}
	return errors.Join(errs...)
}

func (t *Target) removeExtra(fd int, name string, dev uint64) (source.Type, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, failed("lstat", err)
	}
	typ := typeOf(st.Mode)
	if typ == source.Dir {
		return typ, removeTree(fd, name, dev)
	}
	return typ, failed("unlink", unix.Unlinkat(fd, name, 0))
}

// removeTree removes a folder of the file system dev with all that is in it. It holds one descriptor for each level.
func removeTree(up int, name string, dev uint64) error {
	fd, err := openRetry(up, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err == unix.EACCES { // own folders may be closed even to their owner
		if unix.Fchmodat(up, name, 0o700, unix.AT_SYMLINK_NOFOLLOW) == nil {
			fd, err = openRetry(up, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		}
	}
	if err != nil {
		return failed("open", err)
	}
	err = empty(fd, dev)
	_ = unix.Close(fd)
	if err != nil {
		return err
	}
	return failed("rmdir", unix.Unlinkat(up, name, unix.AT_REMOVEDIR))
}

// empty removes what is in an open folder.
func empty(fd int, dev uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return failed("stat", err)
	}
	if uint64(st.Dev) != dev {
		return ErrMount
	}
	names, err := list(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		err := unix.Unlinkat(fd, n, 0)
		switch {
		case err == nil || err == unix.ENOENT:
		case err == unix.EISDIR || err == unix.EPERM:
			if err := removeTree(fd, n, dev); err != nil {
				return err
			}
		default:
			return failed("unlink", err)
		}
	}
	return nil
}
