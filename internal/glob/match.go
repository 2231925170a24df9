package glob

import (
	"bytes"
	"unicode"
	"unicode/utf8"
)

// part is one component of a pattern.
type part struct {
	kind partKind
	lit  []byte  // literal, suffix, prefix
	toks []token // pattern
}

type partKind uint8

const (
	partLiteral partKind = iota
	partSuffix           // *lit
	partPrefix           // lit*
	partAny              // *
	partDeep             // **: any number of components; another part follows
	partTokens           // anything else
)

// token is a piece of a component.
type token struct {
	kind  tokenKind
	lit   []byte
	class *class
}

type tokenKind uint8

const (
	tokenLiteral tokenKind = iota
	tokenStar
	tokenOne // ?
	tokenClass
)

// match reports whether the whole path, which is not empty, has the form of r. The number of steps is at most about
// components of the path times components of the pattern: of several ** only the last needs to be tried again.
func (r *rule) match(path []byte) bool {
	if r.floating {
		return r.parts[0].match(path[bytes.LastIndexByte(path, '/')+1:])
	}
	at, n := 0, 0 // where the next component starts, past the end by one if there is none; the part for it
	deepAt, deep := 0, -1
	for {
		if n < len(r.parts) && r.parts[n].kind == partDeep {
			n++
			deepAt, deep = at, n
			continue
		}
		if at > len(path) {
			return n == len(r.parts)
		}
		end := componentEnd(path, at)
		if n < len(r.parts) && r.parts[n].match(path[at:end]) {
			at, n = end+1, n+1
			continue
		}
		if deep < 0 {
			return false
		}
		deepAt = componentEnd(path, deepAt) + 1
		if deepAt > len(path) {
			return false
		}
		at, n = deepAt, deep
	}
}

// reaches reports whether r may match a path below the folder dir.
func (r *rule) reaches(dir []byte) bool {
	if r.floating {
		return true
	}
	n := 0
	for at := 0; at < len(dir); n++ {
		if n == len(r.parts) {
			return false
		}
		if r.parts[n].kind == partDeep {
			return true
		}
		end := componentEnd(dir, at)
		if !r.parts[n].match(dir[at:end]) {
			return false
		}
		at = end + 1
	}
	return n < len(r.parts)
}

// componentEnd returns where the component ends that starts at at.
func componentEnd(path []byte, at int) int {
	if i := bytes.IndexByte(path[at:], '/'); i >= 0 {
		return at + i
	}
	return len(path)
}

// match reports whether a component has the form of p.
func (p *part) match(name []byte) bool {
	switch p.kind {
	case partLiteral:
		return bytes.Equal(name, p.lit)
	case partSuffix:
		return bytes.HasSuffix(name, p.lit)
	case partPrefix:
		return bytes.HasPrefix(name, p.lit)
	case partAny:
		return true
	case partTokens:
		return matchTokens(p.toks, name)
	}
	panic("glob: ** held against one component")
}

// matchTokens goes back to the last star alone, as an earlier one could gain nothing: at most len(toks) times len(name) steps.
func matchTokens(toks []token, name []byte) bool {
	at, n := 0, 0
	starAt, star := 0, -1
	for {
		if n == len(toks) && at == len(name) {
			return true
		}
		if n < len(toks) && toks[n].kind == tokenStar {
			n++
			starAt, star = at, n
			continue
		}
		if n < len(toks) {
			if width := toks[n].width(name[at:]); width >= 0 {
				at, n = at+width, n+1
				continue
			}
		}
		if star < 0 || starAt == len(name) {
			return false
		}
		_, width := decode(name[starAt:])
		starAt += width
		at, n = starAt, star
	}
}

// width returns how many bytes at the start of b t takes, or −1 if it does not match.
func (t *token) width(b []byte) int {
	if t.kind == tokenLiteral {
		if bytes.HasPrefix(b, t.lit) {
			return len(t.lit)
		}
		return -1
	}
	if len(b) == 0 {
		return -1
	}
	c, width := decode(b)
	if t.kind == tokenClass && !t.class.has(c) {
		return -1
	}
	return width
}

// decode returns the first character of b, which is not empty. A byte that is not UTF-8 is a character of its own, above all others.
func decode(b []byte) (rune, int) {
	c, width := utf8.DecodeRune(b)
	if c == utf8.RuneError && width == 1 {
		return utf8.MaxRune + 1 + rune(b[0]), 1
	}
	return c, width
}

// class is a set of characters.
type class struct {
	negated bool
	fold    bool
	ranges  [][2]rune // first and last
}

func (c *class) has(r rune) bool {
	if c.listed(r) {
		return !c.negated
	}
	if c.fold && r <= utf8.MaxRune {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			if c.listed(f) {
				return !c.negated
			}
		}
	}
	return c.negated
}

func (c *class) listed(r rune) bool {
	for _, x := range c.ranges {
		if x[0] <= r && r <= x[1] {
			return true
		}
	}
	return false
}

// appendFold appends b with each character replaced by the smallest one that differs from it in case only. It never becomes longer.
func appendFold(dst, b []byte) []byte {
	for len(b) > 0 {
		if c := b[0]; c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			b = b[1:]
			continue
		}
		r, width := utf8.DecodeRune(b)
		if r == utf8.RuneError && width == 1 {
			dst = append(dst, b[0])
		} else {
			dst = utf8.AppendRune(dst, smallestFold(r))
		}
		b = b[width:]
	}
	return dst
}

func smallestFold(r rune) rune {
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	return least
}
