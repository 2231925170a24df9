package local

import (
	"errors"
	"io/fs"
	"os"

	"firn/internal/store"
)

// How a temporary file gets its name, best first. A file system that refuses one is asked the next.
const (
	moveExclusive int32 = iota // one call that renames and refuses to replace
	moveLink                   // a hard link, which refuses to replace, then the temporary name goes
	moveChecked                // a look and a rename, under a lock of this process
)

var errNoSuchMove = errors.New("file system has no exclusive move")

// move gives the file temp the name to in folder, or fails with ErrExist.
func (s *Store) move(root *os.Root, folder *os.File, temp, to string) error {
	for how := s.moves.Load(); ; how++ {
		err := s.moveBy(how, root, folder, temp, to)
		if how < moveChecked && refusesMove(err, how == moveLink) {
			continue
		}
		if err == nil {
			s.moves.Store(how)
		}
		return mapError(err)
	}
}

func (s *Store) moveBy(how int32, root *os.Root, folder *os.File, temp, to string) error {
	switch how {
	case moveExclusive:
		return s.renameNew(root, folder, temp, to)
	case moveLink:
		err := root.Link(temp, to)
		if errors.Is(err, fs.ErrExist) && same(root, temp, to) {
			err = nil // a network file system repeated the call after its answer was lost
		}
		if err == nil {
			_ = root.Remove(temp) // the object is there: a second name that stays is swept one day
		}
		return err
	}
	s.publish.Lock()
	defer s.publish.Unlock()
	if _, err := root.Lstat(to); err == nil {
		return store.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return root.Rename(temp, to)
}

func same(root *os.Root, a, b string) bool {
	first, err := root.Lstat(a)
	if err != nil {
		return false
	}
	second, err := root.Lstat(b)
	return err == nil && os.SameFile(first, second)
}
