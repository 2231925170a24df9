package target

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// tempPrefix begins the names of files that are being written.
const tempPrefix = ".firn-restore-"

// tempName is the name under which a file is written. It does not depend on the run, so that the next one finds it.
func tempName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return tempPrefix + hex.EncodeToString(sum[:8])
}

// check refuses paths that are not plainly below the target; "" is the target itself.
func check(path []byte) error {
	if len(path) == 0 {
		return nil
	}
	for name := range bytes.SplitSeq(path, []byte("/")) {
		if len(name) == 0 || string(name) == "." || string(name) == ".." || bytes.IndexByte(name, 0) >= 0 {
			return fmt.Errorf("%w: component %q", ErrPath, name)
		}
		if reserved(name) {
			return fmt.Errorf("%w: %q has another meaning on this system", ErrPath, name)
		}
	}
	return nil
}

// split cuts a path into folder and name.
func split(path []byte) (folder, name []byte) {
	i := bytes.LastIndexByte(path, '/')
	if i < 0 {
		return nil, path
	}
	return path[:i], path[i+1:]
}

// join is the path of a name in a folder.
func join(folder []byte, name string) []byte {
	path := append([]byte(nil), folder...)
	if len(path) > 0 {
		path = append(path, '/')
	}
	return append(path, name...)
}

// cause strips the path, which the caller has.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return os.NewSyscallError(p.Op, p.Err)
	}
	var l *os.LinkError
	if errors.As(err, &l) {
		return os.NewSyscallError(l.Op, l.Err)
	}
	return err
}
