package source

import (
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

const hexDigits = "0123456789ABCDEF"

// EscapeName returns any name as one component of a path, such that different names differ and UnescapeName finds the name again: what a path, a file system or a shell could take for something else is written as "%"
// and two hexadecimal digits for each byte. reserved are components that mean something else where the name goes, suffix is what will stand behind it: no result with the suffix is one of them, as long as
// these begin with a letter. An empty name stays empty.
func EscapeName(name, suffix string, reserved ...string) string {
	var b strings.Builder
	for i, r := range name {
		size := utf8.RuneLen(r)
		if r == utf8.RuneError {
			_, size = utf8.DecodeRuneInString(name[i:])
		}
		switch {
		case r < ' ', r == 0x7f, r == utf8.RuneError && size == 1, strings.ContainsRune(`%/\:*?"<>|`, r),
			i == 0 && (r == '.' || r == '-' || r == ' '), i == len(name)-1 && (r == '.' || r == ' '):
			escapeBytes(&b, name[i:i+size])
		default:
			b.WriteString(name[i : i+size])
		}
	}
	text := b.String()
	if text == "" || text[0] == '%' || !slices.Contains(reserved, text+suffix) {
		return text
	}
	_, size := utf8.DecodeRuneInString(name)
	b.Reset()
	escapeBytes(&b, name[:size])
	return b.String() + text[size:]
}

func escapeBytes(b *strings.Builder, bytes string) {
	for _, c := range []byte(bytes) {
		b.Write([]byte{'%', hexDigits[c>>4], hexDigits[c&15]})
	}
}

// UnescapeName returns the name of which EscapeName made text. It reports false where EscapeName makes no such text.
func UnescapeName(text string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		high, low := strings.IndexByte(hexDigits, text[i+1]), strings.IndexByte(hexDigits, text[i+2])
		if high < 0 || low < 0 {
			return "", false
		}
		b.WriteByte(byte(high<<4 | low))
		i += 2
	}
	name := b.String()
	return name, name == "" && text == "" || EscapeName(name, "") == text || EscapeName(name, "", EscapeName(name, "")) == text
}

// Names are patterns of names that are left out: as path.Match has them, but "*" goes over slashes, too.
type Names []string

// Names reads a list of names or patterns with commas between them.
func (s *Settings) Names(name string) Names {
	var list Names
	for _, p := range strings.Split(s.Text(name, ""), ",") {
		p = strings.TrimSpace(p)
		if p == "" {
			continue
		}
		if _, err := path.Match(p, "x"); err != nil {
			s.Fail(name, "want names or patterns with commas between them")
			return nil
		}
		list = append(list, p)
	}
	return list
}

// Match reports whether one of the patterns fits.
func (n Names) Match(name string) bool {
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x01") }
	return slices.ContainsFunc(n, func(p string) bool {
		ok, _ := path.Match(flat(p), flat(name))
		return ok || p == name
	})
}
