package local

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/windows"
)

const openFlags = 0

func isFull(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED)
}

func isReadOnly(err error) bool { return errors.Is(err, windows.ERROR_WRITE_PROTECT) }

func isNotFolder(err error) bool {
	return errors.Is(err, windows.ERROR_PATH_NOT_FOUND) || errors.Is(err, windows.ERROR_DIRECTORY)
}

func refusesMove(err error, _ bool) bool {
	return errors.Is(err, errNoSuchMove) || errors.Is(err, windows.ERROR_INVALID_FUNCTION) || errors.Is(err, windows.ERROR_NOT_SUPPORTED)
}

// renameNew renames temp to a name that must be free; the call returns once the change is on the disk.
func (s *Store) renameNew(root *os.Root, _ *os.File, temp, to string) error {
	from, err := windows.UTF16PtrFromString(filepath.Join(s.path, temp))
	if err != nil {
		return err
	}
	name, err := windows.UTF16PtrFromString(filepath.Join(s.path, to))
	if err != nil {
		return err
	}
	err = windows.MoveFileEx(from, name, windows.MOVEFILE_WRITE_THROUGH)
	if errors.Is(err, windows.ERROR_ALREADY_EXISTS) {
		return os.ErrExist
	}
	return err
}

// syncFolder does nothing: Windows flushes folders with the move.
func syncFolder(*os.File) error { return nil }

func beginWriteback(*os.File, int64, int64) {}

// weakness tells in what the file system at path falls short of the contract: a drive may be a folder that a server shares.
func weakness(path string) []string {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return nil
	}
	var volume [windows.MAX_LONG_PATH]uint16
	if windows.GetVolumePathName(name, &volume[0], uint32(len(volume))) != nil {
		return []string{mayBeFar}
	}
	switch windows.GetDriveType(&volume[0]) {
	case windows.DRIVE_REMOTE:
		return []string{farAway}
	case windows.DRIVE_UNKNOWN, windows.DRIVE_NO_ROOT_DIR:
		return []string{mayBeFar}
	}
	return nil
}
