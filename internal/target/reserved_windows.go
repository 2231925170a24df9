package target

import (
	"bytes"
	"path/filepath"
)

// reserved reports whether the system would read a name in another way: device names, streams ("a:b"), separators, characters
// that it forbids, and trailing dots and spaces, which it drops ("Naming Files, Paths, and Namespaces", Microsoft).
func reserved(name []byte) bool {
	last := name[len(name)-1]
	return last == '.' || last == ' ' || bytes.ContainsAny(name, `<>:"\|?*`) || bytes.ContainsFunc(name, func(r rune) bool { return r < 32 }) ||
		!filepath.IsLocal(string(name))
}
