package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pelletier/go-toml/v2/unstable"
)

// kind is what a value in TOML is.
type kind byte

const (
	isTable kind = iota
	isArray
	isText
	isInteger
	isFloat
	isBool
	isTime
)

var kindNames = [...]string{"a table", "a list", "text", "a number", "a number with a point", "true or false", "a time"}

// node is a value of the merged documents.
type node struct {
	kind   kind
	place  Place
	key    string // with the tables around it
	text   string // of a scalar
	items  []*node
	names  []string // of a table, in their order
	of     map[string]*node
	depth  int   // of a table: how many tables it lies in
	header Place // of a table: where [it] stands; zero: only what is in it
	closed bool  // an inline table: nothing is added to it later
}

func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	return n.of[name]
}

func (n *node) add(name string, c *node) {
	if n.of == nil {
		n.of = map[string]*node{}
	}
	n.names = append(n.names, name)
	n.of[name] = c
}

// MaxFile bounds a file, in bytes; maxDepth how deep values nest.
const (
	MaxFile  = 1 << 20
	maxDepth = 8
)

// reader reads one document into the tree of all.
type reader struct {
	file  string
	p     unstable.Parser
	lines []int // offsets at which lines begin
	wrong *problems
	root  *node
}

// read adds a document to root.
func read(file string, raw []byte, root *node, wrong *problems) {
	r := &reader{file: file, wrong: wrong, root: root, lines: []int{0}}
	for i, c := range raw {
		if c == '\n' {
			r.lines = append(r.lines, i+1)
		}
	}
	switch {
	case len(raw) > MaxFile:
		wrong.add(&Error{Place: Place{File: file}, Text: fmt.Sprintf("%d bytes, want at most %d", len(raw), MaxFile)})
		wrong.torn = true
		return
	case !utf8.Valid(raw):
		line := 1
		for i, text := range strings.Split(string(raw), "\n") {
			if !utf8.ValidString(text) {
				line = i + 1
				break
			}
		}
		wrong.add(&Error{Place: Place{file, line}, Text: "this is no UTF-8"})
		wrong.torn = true
		return
	}
	if i := deep(raw); i >= 0 {
		wrong.add(&Error{Place: Place{file, r.line(i)}, Text: "lists and tables are too deep in one another"})
		wrong.torn = true
		return
	}
	r.p.Reset(raw)
	at := root
	for r.p.NextExpression() {
		switch e := r.p.Expression(); e.Kind {
		case unstable.Table:
			at = r.header(e)
		case unstable.ArrayTable:
			at = nil
			name, place := "", Place{}
			for keys := e.Key(); keys.Next(); {
				name, place = join(name, string(keys.Node().Data)), r.place(keys.Node())
			}
			wrong.add(&Error{Place: place, Key: name, Text: "a list of tables is not used here", Hint: "write [" + name + "]"})
		case unstable.KeyValue:
			r.value(at, e, at == nil)
		}
	}
	var bad *unstable.ParserError
	if err := r.p.Error(); errors.As(err, &bad) {
		line := len(r.lines)
		if offset := cap(raw) - cap(bad.Highlight); len(bad.Highlight) > 0 && offset >= 0 && offset <= len(raw) {
			line = r.line(offset)
		}
		wrong.add(&Error{Place: Place{file, line}, Text: "no TOML: " + bad.Message})
		wrong.torn = true
	} else if err != nil {
		wrong.add(&Error{Place: Place{file, len(r.lines)}, Text: "no TOML: " + err.Error()})
		wrong.torn = true
	}
}

// deep finds brackets that are too many in one another, before a parser recurses into them; -1: there are none. Brackets in text and comments count only as long as their line.
func deep(raw []byte) int {
	depth := 0
	for i, c := range raw {
		switch c {
		case '[', '{':
			if depth++; depth > 1000 {
				return i
			}
		case ']', '}':
			depth = max(0, depth-1)
		}
	}
	return -1
}

func (r *reader) line(offset int) int {
	i, found := slices.BinarySearch(r.lines, offset)
	if found {
		return i + 1
	}
	return i
}

func (r *reader) place(n *unstable.Node) Place { return Place{r.file, r.line(int(n.Raw.Offset))} }

// header finds the table of a line such as [a.b]; nil: what follows belongs nowhere.
func (r *reader) header(e *unstable.Node) *node {
	at := r.root
	keys := e.Key()
	for keys.Next() {
		k, last := keys.Node(), keys.IsLast()
		next := r.step(at, k, last && e.Kind == unstable.Table)
		if next == nil {
			return nil
		}
		at = next
	}
	return at
}

// step goes into a table, which it makes if there is none.
func (r *reader) step(at *node, k *unstable.Node, opens bool) *node {
	name, place := string(k.Data), r.place(k)
	c := at.child(name)
	if c == nil {
		c = &node{kind: isTable, place: place, key: join(at.key, name), depth: at.depth + 1}
		at.add(name, c)
	}
	switch {
	case c.kind != isTable:
		r.wrong.add(&Error{Place: place, Key: c.key, Text: fmt.Sprintf("a table here, but %s at %s", kindNames[c.kind], c.place)})
		return nil
	case c.closed:
		r.wrong.add(&Error{Place: place, Key: c.key, Text: fmt.Sprintf("said at %s already", c.place)})
		return nil
	case opens && c.header.Line > 0 && (c.header.File == r.file || whole(c)):
		r.wrong.add(&Error{Place: place, Key: c.key, Text: fmt.Sprintf("stands at %s already", c.header)})
		return nil
	case opens:
		c.header, c.place = place, place
	case whole(c) && c.place.File != r.file:
		r.wrong.add(&Error{Place: place, Key: c.key, Text: fmt.Sprintf("stands at %s already", c.place)})
		return nil
	}
	return c
}

// whole reports whether a table is a thing of its own, of which one file speaks.
func whole(n *node) bool {
	table, _, _ := strings.Cut(n.key, ".")
	return n.depth == 2 && slices.Contains([]string{"repositories", "sources", "cycles", "notify"}, table)
}

// value adds what a line key = value says. lost: it is in no table, and only its syntax matters.
func (r *reader) value(at *node, e *unstable.Node, lost bool) {
	if lost {
		return
	}
	keys := e.Key()
	for keys.Next() {
		k := keys.Node()
		if !keys.IsLast() {
			if at = r.step(at, k, false); at == nil {
				return
			}
			continue
		}
		name, place := string(k.Data), r.place(k)
		key := join(at.key, name)
		if old := at.child(name); old != nil {
			r.wrong.add(&Error{Place: place, Key: key, Text: fmt.Sprintf("said at %s already", old.place)})
			return
		}
		if c := r.node(e.Value(), key, place, 0); c != nil {
			at.add(name, c)
		}
	}
}

// node makes a value.
func (r *reader) node(v *unstable.Node, key string, place Place, depth int) *node {
	n := &node{key: key, place: place, text: string(v.Data)}
	if depth > maxDepth {
		r.wrong.add(&Error{Place: place, Key: key, Text: "lists and tables are too deep in one another"})
		return nil
	}
	switch v.Kind {
	case unstable.String:
		n.kind = isText
	case unstable.Integer:
		n.kind = isInteger
	case unstable.Float:
		n.kind = isFloat
	case unstable.Bool:
		n.kind = isBool
	case unstable.Array:
		n.kind, n.text = isArray, ""
		for it := v.Children(); it.Next(); {
			c := it.Node()
			at := place
			if c.Raw.Length > 0 {
				at = r.place(c)
			}
			if item := r.node(c, key, at, depth+1); item != nil {
				n.items = append(n.items, item)
			}
		}
	case unstable.InlineTable:
		n.kind, n.text, n.header = isTable, "", place
		for it := v.Children(); it.Next(); {
			if e := it.Node(); e.Kind == unstable.KeyValue {
				r.inline(n, e, depth)
			}
		}
		n.closed = true
	default:
		n.kind = isTime
	}
	return n
}

// inline adds a member of an inline table.
func (r *reader) inline(n *node, e *unstable.Node, depth int) {
	at := n
	keys := e.Key()
	for keys.Next() {
		k := keys.Node()
		if !keys.IsLast() {
			if at = r.step(at, k, false); at == nil {
				return
			}
			continue
		}
		name, place := string(k.Data), r.place(k)
		if old := at.child(name); old != nil {
			r.wrong.add(&Error{Place: place, Key: join(at.key, name), Text: fmt.Sprintf("said at %s already", old.place)})
			return
		}
		if c := r.node(e.Value(), join(at.key, name), place, depth+1); c != nil {
			at.add(name, c)
		}
	}
}

// join makes the name of a key in a table.
func join(table, name string) string {
	if strings.Trim(name, bare) != "" || name == "" {
		name = quote(name)
	}
	if table == "" {
		return name
	}
	return table + "." + name
}

// bare are the characters of names that need no quotes.
const bare = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// quote writes text as TOML has it.
func quote(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteRune(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, c)
		default:
			b.WriteRune(c)
		}
	}
	return b.String() + `"`
}
