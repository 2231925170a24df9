package dir

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
)

// resolve is the absolute path of what path leads to. Its errors are *fs.PathError with the path as it was given.
func resolve(path string) (string, error) {
	resolved, err := filepath.EvalSymlinks(path)
	if err == nil {
		resolved, err = filepath.Abs(resolved)
	}
	if err == nil {
		return resolved, nil
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
		if p.Path != path && p.Path != filepath.Clean(path) {
			err = fmt.Errorf("on the way to it, %q: %w", p.Path, p.Err)
		}
	}
	return "", &fs.PathError{Op: "open", Path: path, Err: err}
}
