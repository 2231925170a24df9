package glob

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// trimSpaces removes spaces at the end but one that a backslash protects.
func trimSpaces(line string) string {
	out := strings.TrimRight(line, " ")
	if slashes := len(out) - len(strings.TrimRight(out, `\`)); slashes%2 == 1 && len(out) < len(line) {
		out += " "
	}
	return out
}

// compile fills r from its pattern.
func (o Options) compile(r *rule) error {
	text := r.Pattern
	if len(text) > MaxPattern {
		return &PatternError{r.Rule, "longer than 4096 bytes"}
	}
	if strings.IndexByte(text, 0) >= 0 {
		return &PatternError{r.Rule, "has a zero byte, which no path has"}
	}
	text, r.Negated = strings.CutPrefix(text, "!")
	text, r.dirOnly = strings.CutSuffix(text, "/")
	if text == "" {
		return &PatternError{r.Rule, "names nothing"}
	}
	anchored := strings.Contains(text, "/")
	components := strings.Split(strings.TrimPrefix(text, "/"), "/")
	if o.Root != "" {
		if below, ok := o.belowRoot(text, r.dirOnly); ok {
			components, anchored = below, true
			r.root = len(below) == 0
		}
	}
	for _, c := range components {
		p, reason := o.compilePart(c)
		if reason != "" {
			return &PatternError{r.Rule, reason}
		}
		if p.kind == partDeep && len(r.parts) > 0 && r.parts[len(r.parts)-1].kind == partDeep {
			continue // **/** is **
		}
		r.parts = append(r.parts, p)
	}
	r.floating = !anchored
	r.finish()
	return nil
}

// finish gives what a ** at the end stands for: anything within, at least one component.
func (r *rule) finish() {
	if r.root {
		r.parts = []part{{kind: partDeep}}
		r.dirOnly = false
	}
	n := len(r.parts)
	if r.parts[n-1].kind == partDeep {
		if r.floating {
			r.parts[n-1].kind = partAny
		} else {
			r.parts = append(r.parts, part{kind: partAny})
		}
		n = len(r.parts)
	}
	r.all = r.parts[n-1].kind == partAny && !r.dirOnly && (n == 1 || r.parts[n-2].kind == partDeep)
}

// belowRoot returns the components of the absolute pattern text below the root, if it leads there. The first component of the root must stand in it
// literally, so that /*/x stays what it is in git.
func (o Options) belowRoot(text string, dirOnly bool) ([]string, bool) {
	root := strings.Split(strings.Trim(o.Root, "/"), "/")
	absolute := strings.HasPrefix(o.Root, "/")
	if absolute != strings.HasPrefix(text, "/") {
		return nil, false
	}
	components := strings.Split(strings.TrimPrefix(text, "/"), "/")
	if root[0] == "" { // the root is "/"
		return components, true
	}
	if len(components) < len(root) {
		return nil, false
	}
	for i, name := range root {
		p, reason := o.compilePart(components[i])
		if reason != "" || p.kind == partDeep || i == 0 && p.kind != partLiteral || !p.match(o.folded(name)) {
			return nil, false
		}
	}
	return components[len(root):], true
}

func (o Options) folded(s string) []byte {
	if o.FoldCase {
		return appendFold(nil, []byte(s))
	}
	return []byte(s)
}

// compilePart reads one component; reason tells why it cannot be one.
func (o Options) compilePart(text string) (p part, reason string) {
	switch {
	case text == "":
		return part{}, "has an empty component"
	case text == "." || text == "..":
		return part{}, "has a component . or .., which no path has"
	case len(text) > 1 && strings.Trim(text, "*") == "":
		return part{kind: partDeep}, ""
	}
	toks, reason := o.tokens(text)
	if reason != "" {
		return part{}, reason
	}
	lit := func(i int) bool { return toks[i].kind == tokenLiteral }
	star := func(i int) bool { return toks[i].kind == tokenStar }
	switch {
	case len(toks) == 1 && lit(0):
		return part{kind: partLiteral, lit: toks[0].lit}, ""
	case len(toks) == 1 && star(0):
		return part{kind: partAny}, ""
	case len(toks) == 2 && star(0) && lit(1):
		return part{kind: partSuffix, lit: toks[1].lit}, ""
	case len(toks) == 2 && lit(0) && star(1):
		return part{kind: partPrefix, lit: toks[0].lit}, ""
	}
	return part{kind: partTokens, toks: toks}, ""
}

// tokens splits a component; neighbouring literals are one token, neighbouring stars too.
func (o Options) tokens(text string) (toks []token, reason string) {
	var lit []byte
	flush := func() {
		if len(lit) > 0 {
			toks = append(toks, token{kind: tokenLiteral, lit: o.folded(string(lit))})
			lit = nil
		}
	}
	for text != "" {
		c := text[0]
		text = text[1:]
		switch c {
		case '\\':
			if text == "" {
				return nil, "has a backslash with nothing behind it"
			}
			lit = append(lit, text[0])
			text = text[1:]
		case '*':
			flush()
			if len(toks) == 0 || toks[len(toks)-1].kind != tokenStar {
				toks = append(toks, token{kind: tokenStar})
			}
		case '?':
			flush()
			toks = append(toks, token{kind: tokenOne})
		case '[':
			flush()
			cl := &class{fold: o.FoldCase}
			if text, reason = cl.parse(text); reason != "" {
				return nil, reason
			}
			toks = append(toks, token{kind: tokenClass, class: cl})
		default:
			lit = append(lit, c)
		}
	}
	flush()
	return toks, ""
}

// posix are the named classes, in ASCII as in git.
var posix = map[string][][2]rune{
	"alnum": {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}, "alpha": {{'A', 'Z'}, {'a', 'z'}}, "blank": {{' ', ' '}, {'\t', '\t'}},
	"cntrl": {{0, 31}, {127, 127}}, "digit": {{'0', '9'}}, "graph": {{33, 126}}, "lower": {{'a', 'z'}}, "print": {{32, 126}},
	"punct": {{33, 47}, {58, 64}, {91, 96}, {123, 126}}, "space": {{9, 13}, {' ', ' '}}, "upper": {{'A', 'Z'}},
	"xdigit": {{'0', '9'}, {'A', 'F'}, {'a', 'f'}},
}

const unclosed = "has a [ without its ]"

// parse reads a class up to and including its ] and returns what follows. text starts behind the [.
func (c *class) parse(text string) (rest, reason string) {
	if text != "" && (text[0] == '!' || text[0] == '^') {
		c.negated = true
		text = text[1:]
	}
	for first := true; ; first = false {
		switch {
		case text == "":
			return "", unclosed
		case text[0] == ']' && !first:
			c.ranges = slices.Clip(c.ranges)
			return text[1:], ""
		case strings.HasPrefix(text, "[:"):
			name, after, found := strings.Cut(text[2:], ":]")
			ranges := posix[name]
			if !found || ranges == nil {
				return "", "has an unknown class " + text[:min(len(text), 12)]
			}
			c.ranges = append(c.ranges, ranges...)
			text = after
			continue
		}
		lo, after, reason := classRune(text)
		if reason != "" {
			return "", reason
		}
		hi := lo
		if len(after) > 1 && after[0] == '-' && after[1] != ']' {
			if hi, after, reason = classRune(after[1:]); reason != "" {
				return "", reason
			}
		}
		c.ranges = append(c.ranges, [2]rune{lo, hi})
		text = after
	}
}

// classRune reads one character of a class, possibly escaped.
func classRune(text string) (r rune, rest, reason string) {
	text, escaped := strings.CutPrefix(text, `\`)
	if text == "" {
		return 0, "", unclosed
	}
	if !escaped && text[0] == '/' {
		return 0, "", unclosed
	}
	r, width := decode([]byte(text[:min(len(text), utf8.UTFMax)]))
	return r, text[width:], ""
}
