package manifest

// Compare orders paths bytewise by component, as the manifest does: a folder, then what is in it, then what sorts behind it. It is
// bytes.Compare with '/' sorted before every other byte.
func Compare(a, b []byte) int { panic("manifest: not built yet") }

// CheckPath tells what is wrong with a path: absolute, an empty component, "." or "..", NUL, too long; nil: nothing.
func CheckPath(path []byte) error { panic("manifest: not built yet") }

// Within reports whether path is dir or lies below it. Everything lies below "".
func Within(path, dir []byte) bool { panic("manifest: not built yet") }

// AppendAfter appends a key that sorts behind path and everything below it, and before every path behind those; it is no path itself.
func AppendAfter(dst, path []byte) []byte { return append(append(dst, path...), 0) }
