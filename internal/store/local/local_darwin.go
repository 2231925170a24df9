package local

import (
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// renameNew renames temp to a name that must be free.
func (s *Store) renameNew(root *os.Root, folder *os.File, temp, to string) error {
	from, err := root.Open(filepath.Dir(temp))
	if err != nil {
		return err
	}
	defer from.Close()
	return unix.RenameatxNp(int(from.Fd()), filepath.Base(temp), int(folder.Fd()), filepath.Base(to), unix.RENAME_EXCL)
}

func beginWriteback(*os.File, int64, int64) {}
