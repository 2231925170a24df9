package manifest

import (
	"bytes"
	"encoding/binary"
	"math/bits"
)

// Compare orders paths bytewise by component, as the manifest does: a folder, then what is in it, then what sorts behind it. It is
// bytes.Compare with '/' sorted before every other byte.
func Compare(a, b []byte) int {
	i, n := 0, min(len(a), len(b))
	for n-i >= 8 {
		if x := binary.LittleEndian.Uint64(a[i:]) ^ binary.LittleEndian.Uint64(b[i:]); x != 0 {
			i += bits.TrailingZeros64(x) / 8
			break
		}
		i += 8
	}
	for i < n && a[i] == b[i] {
		i++
	}
	if i == n {
		return len(a) - len(b)
	}
	switch {
	case a[i] == '/':
		return -1
	case b[i] == '/':
		return 1
	}
	return int(a[i]) - int(b[i])
}

// CheckPath tells what is wrong with a path in a word or two: absolute, an empty component, "." or "..", NUL, too long; "": nothing. The
// path "" is the source itself.
func CheckPath(path []byte) string {
	switch {
	case len(path) == 0:
		return ""
	case len(path) > MaxPath:
		return "path too long"
	case path[0] == '/':
		return "absolute path"
	case bytes.IndexByte(path, 0) >= 0:
		return "NUL in path"
	}
	for rest := path; ; {
		i := bytes.IndexByte(rest, '/')
		name := rest
		if i >= 0 {
			name = rest[:i]
		}
		switch string(name) {
		case "":
			return "empty component in path"
		case ".", "..":
			return "unsafe component in path"
		}
		if i < 0 {
			return ""
		}
		rest = rest[i+1:]
	}
}

// Within reports whether path is dir or lies below it. Everything lies below "".
func Within(path, dir []byte) bool {
	n := len(dir)
	return n == 0 || len(path) >= n && (len(path) == n || path[n] == '/') && bytes.Equal(path[:n], dir)
}

// AppendAfter appends a key that sorts behind path and everything below it, and before every path behind those; it is no path itself.
// There is none for "".
func AppendAfter(dst, path []byte) []byte { return append(append(dst, path...), 0) }
