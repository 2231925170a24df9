package local

import (
	"errors"
	"fmt"
	"io/fs"

	"firn/internal/store"
)

// mapError makes errors of the file system match those of the contract. It keeps the original behind them.
func mapError(err error) error {
	var known error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrExist) && !errors.Is(err, store.ErrExist):
		return store.ErrExist
	case isFull(err):
		known = store.ErrFull
	case isReadOnly(err):
		known = store.ErrReadOnly
	case errors.Is(err, fs.ErrPermission):
		known = store.ErrDenied
	default:
		return err
	}
	if errors.Is(err, known) {
		return err
	}
	return fmt.Errorf("%w: %w", known, err)
}

// missing is mapError for calls that look for a file: a path that leads nowhere is ErrNotExist.
func (s *Store) missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) || isNotFolder(err) {
		return store.ErrNotExist
	}
	return mapError(err)
}
