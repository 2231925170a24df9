package jsonline

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends text as a JSON string. What is not UTF-8 becomes U+FFFD: names that have to survive are kept in base64 then
// (AppendKey).
func AppendString[T ~string | ~[]byte](dst []byte, text T) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(text); {
		c := text[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			n := runeLen(text[i:])
			if n > 0 {
				i += n
				continue
			}
			dst = append(dst, text[start:i]...)
			dst = append(dst, "\uFFFD"...)
		} else {
			dst = append(dst, text[start:i]...)
			dst = appendEscape(dst, c)
		}
		i++
		start = i
	}
	dst = append(dst, text[start:]...)
	return append(dst, '"')
}

// runeLen returns the length of the character at the start of text, 0 if it is not UTF-8.
func runeLen[T ~string | ~[]byte](text T) int {
	var head [utf8.UTFMax]byte
	n := copy(head[:], text)
	r, size := utf8.DecodeRune(head[:n])
	if r == utf8.RuneError && size <= 1 {
		return 0
	}
	return size
}

func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, `\b`...)
	case '\t':
		return append(dst, `\t`...)
	case '\n':
		return append(dst, `\n`...)
	case '\f':
		return append(dst, `\f`...)
	case '\r':
		return append(dst, `\r`...)
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// plain reports whether b needs no escapes and is ASCII.
func plain(b []byte) bool {
	for len(b) >= 8 {
		if special(binary.LittleEndian.Uint64(b)) != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// AppendKey appends the member name with value as a string, or, where value is not UTF-8, the member name_b64 in base64.
func AppendKey(dst []byte, name string, value []byte) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	if plain(value) {
		dst = append(dst, `":"`...)
		dst = append(dst, value...)
		return append(dst, '"')
	}
	if utf8.Valid(value) {
		dst = append(dst, `":`...)
		return AppendString(dst, value)
	}
	dst = append(dst, `_b64":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, value)
	return append(dst, '"')
}

// hexPairs has the two digits of each byte, so that ids are written two digits at a time.
var hexPairs = func() (t [256]uint16) {
	for i := range t {
		t[i] = uint16(hexDigits[i>>4]) | uint16(hexDigits[i&15])<<8
	}
	return t
}()

// AppendHex32 appends id as 64 hex digits.
func AppendHex32(dst []byte, id *[32]byte) []byte {
	n := len(dst)
	dst = append(dst, make([]byte, 64)...)
	out := dst[n : n+64]
	for i, c := range id {
		binary.LittleEndian.PutUint16(out[2*i:], hexPairs[c])
	}
	return dst
}

// hexValues has the value of each lower-case hex digit, 0xff for other bytes.
var hexValues = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i := range hexDigits {
		t[hexDigits[i]] = byte(i)
	}
	return t
}()

// Hex32 reads a string of 64 lower-case hex digits.
func (s *Scanner) Hex32(id *[32]byte) {
	s.ParseHex(s.Text(), id)
}

// ParseHex reads 64 lower-case hex digits from text, part of the line.
func (s *Scanner) ParseHex(text []byte, id *[32]byte) {
	if len(text) != 64 {
		s.Fail("want 64 hex digits")
		return
	}
	bad := byte(0)
	for i := range id {
		hi, lo := hexValues[text[2*i]], hexValues[text[2*i+1]]
		bad |= hi | lo
		id[i] = hi<<4 | lo&15
	}
	if bad > 15 {
		s.Fail("want lower-case hex digits")
	}
}

// Base64 reads a string of base64 with padding and appends what it says to dst.
func (s *Scanner) Base64(dst []byte) []byte {
	text := s.Text()
	out, err := strictBase64.AppendDecode(dst, text)
	if err != nil || bytes.ContainsAny(text, "\r\n") { // the decoder skips line ends
		s.Fail("bad base64")
		return dst
	}
	return out
}

var strictBase64 = base64.StdEncoding.Strict()

// AppendNano appends v, less than 10^9, with nine digits.
func AppendNano(dst []byte, v uint32) []byte {
	dst = append(dst, "000000000"...)
	for i := len(dst) - 1; v > 0; i-- {
		dst[i] = '0' + byte(v%10)
		v /= 10
	}
	return dst
}
