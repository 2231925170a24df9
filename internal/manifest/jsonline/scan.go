// Package jsonline reads and writes the JSON lines of manifests, without reflection and without garbage.
//
// Reading is strict RFC 8259: UTF-8 only, no lone surrogates (both would otherwise turn into another path), integers that fit. It takes
// white space, members in any order and every escape, and it skips values of any kind, nested up to MaxDepth. Writing escapes
// as RFC 8785 §3.2.2.2 does: \" \\ \b \t \n \f \r, \u00xx for other control characters, everything else as it stands.
package jsonline

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxDepth is how deep values that are skipped may nest.
const MaxDepth = 64

// Error tells where and why a line is not what was expected.
type Error struct {
	Offset int // bytes from the start of the line
	Msg    string
}

func (e *Error) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Msg) }

// Scanner reads one line. The first error sticks: after it every method returns a zero value, and More returns false, so that callers
// check Err once, at the end. An object is read like this:
//
//	s.Open('{')
//	for n := 0; s.More(n, '}'); n++ {
//		switch string(s.Name()) { … }
//	}
//	s.End()
//	err := s.Err()
type Scanner struct {
	b       []byte
	i       int
	err     *Error
	scratch []byte
}

// Reset starts on a line, with or without its newline.
func (s *Scanner) Reset(line []byte) {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	s.b, s.i, s.err = line, 0, nil
}

// Err returns the first error, an *Error, or nil.
func (s *Scanner) Err() error {
	if s.err == nil {
		return nil
	}
	return s.err
}

// Offset returns where in the line the scanner is.
func (s *Scanner) Offset() int { return s.i }

// Fail makes msg the error, unless there is one.
func (s *Scanner) Fail(msg string) {
	if s.err == nil {
		s.err = &Error{Offset: s.i, Msg: msg}
	}
	s.b = s.b[:0]
	s.i = 0
}

// space skips white space and returns the next byte, 0 at the end.
func (s *Scanner) space() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\r', '\n':
			s.i++
		default:
			return c
		}
	}
	return 0
}

// Open reads the '{' or '[' that begins an object or array.
func (s *Scanner) Open(c byte) {
	if s.space() != c {
		s.Fail("want " + string(rune(c)))
		return
	}
	s.i++
}

// More reports whether another member or element follows the n that were read, and reads the comma before it, or else the end.
func (s *Scanner) More(n int, end byte) bool {
	c := s.space()
	if c == end && c != 0 {
		s.i++
		return false
	}
	if s.err != nil || n == 0 {
		return s.err == nil
	}
	if c != ',' {
		s.Fail("want , or " + string(rune(end)))
		return false
	}
	s.i++
	if s.space() == end {
		s.Fail("nothing behind the comma")
		return false
	}
	return true
}

// Comma reads the comma between two elements of an array of known shape.
func (s *Scanner) Comma() { s.Open(',') }

// Close reads the end of an array of known shape.
func (s *Scanner) Close(c byte) { s.Open(c) }

// Name reads the name of a member and the colon; valid until the next string is read.
func (s *Scanner) Name() []byte {
	name := s.Text()
	if s.space() != ':' {
		s.Fail("want : behind the name of a member")
		return nil
	}
	s.i++
	return name
}

// End checks that nothing but white space follows.
func (s *Scanner) End() {
	if s.err == nil {
		if s.space(); s.i < len(s.b) {
			s.Fail("more than one value")
		}
	}
}

// Null reads null if it is next, and reports whether it was.
func (s *Scanner) Null() bool {
	if s.space() != 'n' {
		return false
	}
	return s.word("null")
}

func (s *Scanner) word(w string) bool {
	if len(s.b)-s.i < len(w) || string(s.b[s.i:s.i+len(w)]) != w {
		s.Fail("unknown word")
		return false
	}
	s.i += len(w)
	return true
}

// Int reads an integer: no fraction, no exponent, within lo and hi.
func (s *Scanner) Int(lo, hi int64) int64 {
	c := s.space()
	neg := c == '-'
	if neg {
		s.i++
	}
	start := s.i
	var u uint64
	for s.i < len(s.b) && s.b[s.i]-'0' < 10 {
		u = u*10 + uint64(s.b[s.i]-'0')
		s.i++
	}
	n := s.i - start
	if n == 0 || n > 1 && s.b[start] == '0' || s.i < len(s.b) && (s.b[s.i] == '.' || s.b[s.i]|0x20 == 'e') {
		s.Fail("want an integer")
		return 0
	}
	v := int64(u)
	if neg {
		v = -v
	}
	// 19 digits fit into 64 bits without overflow; −2^63 stays itself
	if n > 19 || u > 1<<63 || u == 1<<63 && !neg || v < lo || v > hi {
		s.Fail("number out of range")
		return 0
	}
	return v
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special returns a mask whose lowest bit stands in the first byte of w that is a quote, a backslash, a control character or not ASCII.
func special(w uint64) uint64 {
	quote := w ^ ones*'"'
	back := w ^ ones*'\\'
	return ((quote-ones)&^quote | (back-ones)&^back | (w-ones*0x20)&^w | w) & highs
}

// Text reads a string; the result is valid until the next one is read, and part of the line where it has no escapes.
func (s *Scanner) Text() []byte {
	if s.space() != '"' {
		s.Fail("want a string")
		return nil
	}
	s.i++
	b, start, i := s.b, s.i, s.i
	ascii := true
	for {
		for len(b)-i >= 8 {
			m := special(binary.LittleEndian.Uint64(b[i:]))
			if m != 0 {
				i += bits.TrailingZeros64(m) / 8
				break
			}
			i += 8
		}
		if i >= len(b) {
			s.Fail("string without end")
			return nil
		}
		switch c := b[i]; {
		case c == '"':
			s.i = i + 1
			if !ascii && !utf8.Valid(b[start:i]) {
				s.Fail("string is not UTF-8")
				return nil
			}
			return b[start:i]
		case c == '\\':
			return s.escaped(start, i)
		case c < ' ':
			s.i = i
			s.Fail("control character in a string")
			return nil
		case c >= utf8.RuneSelf:
			ascii = false
		}
		i++
	}
}

// escaped reads on a string from its first escape, at i, into scratch.
func (s *Scanner) escaped(start, i int) []byte {
	out := append(s.scratch[:0], s.b[start:i]...)
	for i < len(s.b) {
		switch c := s.b[i]; {
		case c == '"':
			s.i, s.scratch = i+1, out
			if !utf8.Valid(out) {
				s.Fail("string is not UTF-8")
				return nil
			}
			return out
		case c < ' ':
			s.i = i
			s.Fail("control character in a string")
			return nil
		case c != '\\':
			out = append(out, c)
			i++
		default:
			r, n := unescape(s.b[i:])
			if n == 0 {
				s.i = i
				s.Fail("bad escape in a string")
				return nil
			}
			out = utf8.AppendRune(out, r)
			i += n
		}
	}
	s.Fail("string without end")
	return nil
}

// unescape decodes the escape at the start of b and returns its length, 0 if it is none or half of a surrogate pair.
func unescape(b []byte) (rune, int) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\', '/':
		return rune(b[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	}
	r, ok := hex4(b)
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	low, ok := hex4(b[6:])
	if !ok {
		return 0, 0
	}
	if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
		return 0, 0
	}
	return r, 12
}

// hex4 reads \uxxxx.
func hex4(b []byte) (rune, bool) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	var r rune
	for _, c := range b[2:6] {
		switch {
		case c-'0' < 10:
			c -= '0'
		case c|0x20-'a' < 6:
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// Skip reads over any value, checking that it is JSON.
func (s *Scanner) Skip() { s.skip(0) }

func (s *Scanner) skip(depth int) {
	if depth > MaxDepth {
		s.Fail("nested too deep")
		return
	}
	switch c := s.space(); {
	case c == '{':
		s.i++
		for n := 0; s.More(n, '}'); n++ {
			s.Name()
			s.skip(depth + 1)
		}
	case c == '[':
		s.i++
		for n := 0; s.More(n, ']'); n++ {
			s.skip(depth + 1)
		}
	case c == '"':
		s.Text()
	case c == 't':
		s.word("true")
	case c == 'f':
		s.word("false")
	case c == 'n':
		s.word("null")
	default:
		s.number()
	}
}

// number reads over a number: -? int frac? exp?
func (s *Scanner) number() {
	s.accept('-', '-')
	if !s.accept('0', '0') && s.digits() == 0 {
		s.Fail("want a value")
		return
	}
	if s.accept('.', '.') && s.digits() == 0 {
		s.Fail("number without digits behind the point")
		return
	}
	if s.accept('e', 'E') {
		s.accept('+', '-')
		if s.digits() == 0 {
			s.Fail("number without exponent")
		}
	}
}

func (s *Scanner) accept(a, b byte) bool {
	if s.i < len(s.b) && (s.b[s.i] == a || s.b[s.i] == b) {
		s.i++
		return true
	}
	return false
}

func (s *Scanner) digits() (n int) {
	for s.i < len(s.b) && s.b[s.i]-'0' < 10 {
		s.i++
		n++
	}
	return n
}
