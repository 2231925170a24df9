package migrate

import (
	"strings"
)

// directive is one line of a configuration as Apache has them: a name and values.
type directive struct {
	name   string // in lower case
	given  string // as it was written
	values []string
	line   int
}

// block is what stands between <kind name> and </kind>.
type block struct {
	kind, given string // kind in lower case
	name        string
	line        int
	closed      bool // its end was written
	directives  []directive
	blocks      []*block
}

// get returns the values of all directives of a name, and the line of the last.
func (b *block) get(name string) (values []string, line int) {
	for _, d := range b.directives {
		if d.name == name {
			values, line = append(values, d.values...), d.line
		}
	}
	return values, line
}

// apache reads such a configuration. Blocks whose kind shorthand knows hold no others: where one is not closed, the next block, or the end of what it lies in, closes it.
func apache(name string, raw []byte, shorthand func(kind string) bool) (*block, error) {
	root := &block{closed: true}
	open := []*block{root}
	lines := strings.Split(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n")
	if len(lines) > maxLines {
		return nil, &Error{name, maxLines, "too many lines"}
	}
	for i := 0; i < len(lines); i++ {
		at, line := i+1, lines[i]
		for strings.HasSuffix(line, `\`) && i+1 < len(lines) {
			i++
			line = strings.TrimSuffix(line, `\`) + " " + lines[i]
		}
		line = strings.TrimSpace(line)
		var err error
		switch {
		case line == "" || line[0] == '#':
		case strings.HasPrefix(line, "</"):
			open, err = closeBlock(name, at, line, open)
		case line[0] == '<':
			open, err = openBlock(name, at, line, open, shorthand)
		default:
			err = addDirective(name, at, line, open[len(open)-1])
		}
		if err != nil {
			return nil, err
		}
	}
	return root, nil
}

// maxDepth is how deep blocks may lie in one another.
const maxDepth = 16

func openBlock(name string, at int, line string, open []*block, shorthand func(string) bool) ([]*block, error) {
	inside, ok := strings.CutSuffix(line, ">")
	if !ok {
		return nil, &Error{name, at, "a block that begins with < wants > at the end of its line"}
	}
	words, err := split(inside[1:])
	if err != "" || len(words) == 0 {
		return nil, &Error{name, at, "want <Kind name>"}
	}
	b := &block{kind: strings.ToLower(words[0]), given: words[0], name: strings.Join(words[1:], " "), line: at}
	if top := open[len(open)-1]; shorthand(top.kind) || top.kind == b.kind {
		open = open[:len(open)-1]
	}
	if len(open) > maxDepth {
		return nil, &Error{name, at, "blocks lie too deep in one another"}
	}
	top := open[len(open)-1]
	top.blocks = append(top.blocks, b)
	return append(open, b), nil
}

func closeBlock(name string, at int, line string, open []*block) ([]*block, error) {
	kind := strings.ToLower(strings.TrimSpace(strings.TrimSuffix(line[2:], ">")))
	for i := len(open) - 1; i > 0; i-- {
		if open[i].kind == kind {
			open[i].closed = true
			return open[:i], nil
		}
	}
	return nil, &Error{name, at, "</" + kind + "> closes nothing that is open"}
}

func addDirective(name string, at int, line string, b *block) error {
	words, err := split(line)
	if err != "" {
		return &Error{name, at, err}
	}
	if len(words) > 0 {
		b.directives = append(b.directives, directive{strings.ToLower(words[0]), words[0], words[1:], at})
	}
	return nil
}

// split takes a line apart at blanks, except inside of quotes. A word that begins with "#" ends it.
func split(line string) (words []string, err string) {
	var word strings.Builder
	quoted, inWord := rune(0), false
	escaped := false
	for _, r := range line {
		switch {
		case escaped:
			if r != '"' && r != '\'' && r != '\\' && r != ' ' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
			escaped = false
		case r == '\\':
			escaped, inWord = true, true
		case quoted != 0 && r == quoted:
			quoted = 0
		case quoted != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quoted, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		case r == '#' && !inWord:
			return words, ""
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quoted != 0 {
		return nil, "a quote is not closed"
	}
	if escaped {
		word.WriteByte('\\')
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, ""
}
