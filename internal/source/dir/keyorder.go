package dir

import "bytes"

// compareKeys compares two names as they stand in keys, each with what follows it there.
func compareKeys(a []byte, endA string, b []byte, endB string) int {
	n := min(len(a), len(b))
	if c := bytes.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	for i := n; ; i++ {
		x, y := keyByte(a, endA, i), keyByte(b, endB, i)
		switch {
		case x != y:
			return x - y
		case x < 0:
			return 0
		}
	}
}

// keyByte is byte i of a name and what follows it, −1 behind its end.
func keyByte(name []byte, end string, i int) int {
	if i < len(name) {
		return int(name[i])
	}
	if i -= len(name); i < len(end) {
		return int(end[i])
	}
	return -1
}

// ending is what follows a name in a key.
func (o *Options) ending(folder bool) string {
	if folder {
		return "/"
	}
	return o.KeySuffix
}
