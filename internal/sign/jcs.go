package sign

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"
)

// ErrJSON is matched by every error about a value or text that has no place in a signed document.
var ErrJSON = errors.New("not a document that can be signed")

const (
	maxDepth = 64
	maxJSON  = 16 << 20 // bytes of a document
	maxInt   = 1<<53 - 1
)

// JCS returns the canonical form (RFC 8785) of v: whatever encoding/json writes for it, with members sorted by the UTF-16 units of their names,
// no white space, and one way to write each string. Only the values of FORMAT §3 are taken: strings, integers whose
// absolute value is below 2^53, booleans, arrays and objects; null, fractions and invalid UTF-8 are errors that match ErrJSON. A
// json.RawMessage is taken as text, with the checks that the text needs: no name twice in an object, at most 64 levels, 16 MiB.
func JCS(v any) ([]byte, error) {
	raw, err := encode(v)
	if err != nil {
		return nil, err
	}
	doc, err := parse(raw)
	if err != nil {
		return nil, err
	}
	return doc.appendTo(nil), nil
}

// encode returns the JSON of v as encoding/json writes it, without its escapes for HTML.
func encode(v any) ([]byte, error) {
	if raw, ok := v.(json.RawMessage); ok {
		return raw, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrJSON, err)
	}
	return buf.Bytes(), nil
}

// value is a parsed document: exactly one of the fields by kind ('s' string, 'a' array, 'o' object, 'w' a word written as it is).
type value struct {
	kind    byte
	text    string
	items   []value
	members []member
}

type member struct {
	name  string
	value value
}

// appendTo appends the canonical form.
func (v *value) appendTo(dst []byte) []byte {
	switch v.kind {
	case 's':
		return appendString(dst, v.text)
	case 'a':
		dst = append(dst, '[')
		for i := range v.items {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = v.items[i].appendTo(dst)
		}
		return append(dst, ']')
	case 'o':
		dst = append(dst, '{')
		for i := range v.members {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, v.members[i].name)
			dst = append(dst, ':')
			dst = v.members[i].value.appendTo(dst)
		}
		return append(dst, '}')
	}
	return append(dst, v.text...)
}

// appendString writes s the one way that RFC 8785 §3.2.2.2 leaves.
func appendString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case c == '\b':
			dst = append(dst, '\\', 'b')
		case c == '\t':
			dst = append(dst, '\\', 't')
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c == '\f':
			dst = append(dst, '\\', 'f')
		case c == '\r':
			dst = append(dst, '\\', 'r')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(dst, '"')
}

// compareUTF16 orders valid UTF-8 by its UTF-16 code units: as by bytes, but U+E000 to U+FFFF sort behind the surrogates of what lies above.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if x != y {
			return cmp.Compare(unitOrder(x), unitOrder(y))
		}
		a, b = a[n:], b[m:]
	}
	return cmp.Compare(len(a), len(b))
}

func unitOrder(r rune) rune {
	switch {
	case r >= 0x10000: // first unit is 0xD800-0xDBFF
		return r - 0x10000 + 0xD800
	case r >= 0xE000:
		return r + 0x100000
	}
	return r
}

// parser reads JSON more strictly than encoding/json, which takes the last of two members with one name and mends broken UTF-8: what is signed must
// mean one thing to every reader.
type parser struct {
	b     []byte
	pos   int
	depth int
}

func parse(raw []byte) (value, error) {
	if len(raw) > maxJSON {
		return value{}, fmt.Errorf("%w: %d bytes", ErrJSON, len(raw))
	}
	p := parser{b: raw}
	v, err := p.value()
	if err != nil {
		return value{}, err
	}
	if p.space(); p.pos < len(p.b) {
		return value{}, p.fail("more behind the document")
	}
	return v, nil
}

func (p *parser) fail(reason string) error {
	return fmt.Errorf("%w: %s at byte %d", ErrJSON, reason, p.pos)
}

func (p *parser) space() {
	for p.pos < len(p.b) && (p.b[p.pos] == ' ' || p.b[p.pos] == '\t' || p.b[p.pos] == '\n' || p.b[p.pos] == '\r') {
		p.pos++
	}
}

// next skips space and consumes c if it comes next.
func (p *parser) next(c byte) bool {
	p.space()
	if p.pos < len(p.b) && p.b[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) value() (value, error) {
	p.space()
	if p.pos == len(p.b) {
		return value{}, p.fail("early end")
	}
	switch c := p.b[p.pos]; {
	case c == '"':
		s, err := p.str()
		return value{kind: 's', text: s}, err
	case c == '{' || c == '[':
		if p.depth++; p.depth > maxDepth {
			return value{}, p.fail("too many levels")
		}
		defer func() { p.depth-- }()
		p.pos++
		if c == '[' {
			return p.array()
		}
		return p.object()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, word := range []string{"true", "false"} {
		if bytes.HasPrefix(p.b[p.pos:], []byte(word)) {
			p.pos += len(word)
			return value{kind: 'w', text: word}, nil
		}
	}
	return value{}, p.fail("unexpected value")
}

func (p *parser) array() (value, error) {
	v := value{kind: 'a'}
	if p.next(']') {
		return v, nil
	}
	for {
		item, err := p.value()
		if err != nil {
			return value{}, err
		}
		v.items = append(v.items, item)
		if p.next(']') {
			return v, nil
		}
		if !p.next(',') {
			return value{}, p.fail("array without comma or end")
		}
	}
}

func (p *parser) object() (value, error) {
	v := value{kind: 'o'}
	if p.next('}') {
		return v, nil
	}
	for {
		p.space()
		name, err := p.str()
		if err != nil {
			return value{}, err
		}
		if !p.next(':') {
			return value{}, p.fail("member without colon")
		}
		item, err := p.value()
		if err != nil {
			return value{}, err
		}
		v.members = append(v.members, member{name, item})
		if p.next('}') {
			break
		}
		if !p.next(',') {
			return value{}, p.fail("object without comma or end")
		}
	}
	slices.SortFunc(v.members, func(a, b member) int { return compareUTF16(a.name, b.name) })
	for i := 1; i < len(v.members); i++ {
		if v.members[i].name == v.members[i-1].name {
			return value{}, p.fail(fmt.Sprintf("member %.60q twice in the object that ends", v.members[i].name))
		}
	}
	return v, nil
}

// number takes integers written plainly, which is how every JSON library writes them.
func (p *parser) number() (value, error) {
	start := p.pos
	for p.pos < len(p.b) && bytes.IndexByte([]byte("+-.eE0123456789"), p.b[p.pos]) >= 0 {
		p.pos++
	}
	text := string(p.b[start:p.pos])
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > maxInt || n < -maxInt || strconv.FormatInt(n, 10) != text {
		p.pos = start
		return value{}, p.fail(fmt.Sprintf("number %.40q: want an integer below 2^53", text))
	}
	return value{kind: 'w', text: text}, nil
}

// str reads a string; it is valid UTF-8.
func (p *parser) str() (string, error) {
	if p.pos == len(p.b) || p.b[p.pos] != '"' {
		return "", p.fail("string wanted")
	}
	p.pos++
	var out []byte
	for p.pos < len(p.b) {
		switch c := p.b[p.pos]; {
		case c == '"':
			p.pos++
			if !utf8.Valid(out) {
				return "", p.fail("invalid UTF-8")
			}
			return string(out), nil
		case c < 0x20:
			return "", p.fail("control character in a string")
		case c == '\\':
			r, err := p.escape()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
			p.pos++
		}
	}
	return "", p.fail("string without end")
}

// escape reads what a backslash starts, both halves of a surrogate pair.
func (p *parser) escape() (rune, error) {
	if p.pos+1 >= len(p.b) {
		return 0, p.fail("early end")
	}
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), p.b[p.pos+1]); i >= 0 {
		p.pos += 2
		return rune("\"\\/\b\f\n\r\t"[i]), nil
	}
	high, err := p.unit()
	if err != nil {
		return 0, err
	}
	if high < 0xD800 || high > 0xDFFF {
		return high, nil
	}
	if high > 0xDBFF {
		return 0, p.fail("lone surrogate")
	}
	low, err := p.unit()
	if err != nil || low < 0xDC00 || low > 0xDFFF {
		return 0, p.fail("lone surrogate")
	}
	return 0x10000 + (high-0xD800)<<10 + (low - 0xDC00), nil
}

// unit reads \u and four hex digits.
func (p *parser) unit() (rune, error) {
	if p.pos+6 > len(p.b) || p.b[p.pos] != '\\' || p.b[p.pos+1] != 'u' {
		return 0, p.fail("unknown escape")
	}
	var r rune
	for _, c := range p.b[p.pos+2 : p.pos+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, p.fail("unknown escape")
		}
		r = r<<4 | rune(c)
	}
	p.pos += 6
	return r, nil
}
