package sync

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"firn/internal/bucket"
)

// clashes finds keys that cannot be files beside those that came before: "a/b" where "a" is a file. In the order of keys all between the two begin with "a", so a stack will do.
type clashes struct{ files []string }

// of returns the file that is in the way of a key, "" if there is none. Keys come in order.
func (c *clashes) of(key string) string {
	for len(c.files) > 0 && !strings.HasPrefix(key, c.files[len(c.files)-1]) {
		c.files = c.files[:len(c.files)-1]
	}
	for _, f := range c.files {
		if len(key) > len(f) && key[len(f)] == '/' {
			return f
		}
	}
	c.files = append(c.files, key)
	return ""
}

// checkKey says why a key cannot be a path below a folder. What the system forbids besides, package target says.
func checkKey(path string) error {
	switch {
	case path == "":
		return fmt.Errorf("%w: the name is empty", ErrKey)
	case strings.HasPrefix(path, "/"):
		return fmt.Errorf("%w: the key begins with a slash", ErrKey)
	case strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("%w: a NUL in it", ErrKey)
	}
	for name := range strings.SplitSeq(path, "/") {
		switch {
		case name == "":
			return fmt.Errorf("%w: it has an empty name between slashes, or ends in one", ErrKey)
		case name == "." || name == "..":
			return fmt.Errorf("%w: it has %q as a name", ErrKey, name)
		case len(name) > 255:
			return fmt.Errorf("%w: a name in it has %d bytes, and 255 is the most", ErrKey, len(name))
		case isTemp(name):
			return fmt.Errorf("%w: files in work are called so", ErrKey)
		}
	}
	return nil
}

// errKeptThere is a name at which what is replaced is kept.
var errKeptThere = errors.New("its key lies where replaced objects are kept")

// fitting says why the target cannot have a key.
func (r *run) fitting(key string) error {
	if full := r.o.To.Prefix + key; r.o.BackupDir == "" || !strings.HasPrefix(full, r.o.BackupDir) {
		return checkPath(full)
	}
	return errKeptThere
}

// checkPath says why a file cannot be an object.
func checkPath(key string) error {
	switch {
	case len(key) > bucket.MaxKey:
		return fmt.Errorf("its key would have %d bytes, and %d is the most", len(key), bucket.MaxKey)
	case !utf8.ValidString(key):
		return fmt.Errorf("its name is not UTF-8, and keys are")
	}
	for _, c := range key {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
			return fmt.Errorf("its name has the character %#x, which listings of buckets cannot tell", c)
		}
	}
	return nil
}
