// Package migrate reads the configurations of other tools into ours. What it makes is text for a person to read before it is used: TOML as package config has it, and notes about everything that
// has no equivalent or means something else here. Nothing that the other file says is left out without a note.
//
// Secrets are never part of a result's text; where a file holds some, they are returned apart.
package migrate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of what is read.
const (
	MaxFile  = 4 << 20 // bytes
	maxLines = 100_000
	maxNotes = 1000
)

// Note is one thing that a person has to know or do.
type Note struct {
	Line int // of the file that was read, from 1; 0: of no line
	Text string
}

// Secret is one that stood in the file, to be kept in a file of its own.
type Secret struct {
	Name  string // as a file may be called: letters, digits, "-", "_", "."
	Value string
}

// Result is what became of a file.
type Result struct {
	TOML    string
	Notes   []Note // in the order of lines
	Secrets []Secret
	Sources int
}

// Error tells why a file cannot be read.
type Error struct {
	Name string
	Line int // 0: of no line
	Text string
}

func (e *Error) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.Name, e.Text)
	}
	return fmt.Sprintf("%s:%d: %s", e.Name, e.Line, e.Text)
}

// text checks that raw is text of a size that makes sense.
func text(name string, raw []byte) error {
	switch {
	case len(raw) > MaxFile:
		return &Error{name, 0, fmt.Sprintf("longer than %d bytes", MaxFile)}
	case !utf8.Valid(raw):
		return &Error{name, 0, "no text in UTF-8; convert it first, such as by iconv -f latin1 -t utf-8"}
	case strings.ContainsRune(string(raw), 0):
		return &Error{name, 0, "no text"}
	}
	return nil
}

// notes collects notes.
type notes struct{ list []Note }

func (n *notes) add(line int, format string, args ...any) {
	note := Note{line, fmt.Sprintf(format, args...)}
	if len(n.list) < maxNotes && !slices.Contains(n.list, note) {
		n.list = append(n.list, note)
	}
}

// sorted returns the notes in the order of lines, those of no line last.
func (n *notes) sorted() []Note {
	slices.SortStableFunc(n.list, func(a, b Note) int {
		if a.Line == 0 || b.Line == 0 {
			return b.Line - a.Line
		}
		return a.Line - b.Line
	})
	return n.list
}

// document writes TOML.
type document struct {
	b     strings.Builder
	names map[string]bool // of sources
}

// comment writes lines of comment.
func (d *document) comment(format string, args ...any) {
	for _, line := range strings.Split(fmt.Sprintf(format, args...), "\n") {
		d.b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
}

func (d *document) line() { d.b.WriteByte('\n') }

// table begins a table.
func (d *document) table(parts ...string) {
	for i, p := range parts {
		parts[i] = key(p)
	}
	d.b.WriteString("\n[" + strings.Join(parts, ".") + "]\n")
}

// set writes a value: string, []string, int, bool, or raw. why is a comment behind it; may be empty.
func (d *document) set(name string, value any, why string) {
	d.b.WriteString(key(name) + " = " + literal(value))
	if why != "" {
		d.b.WriteString(" # " + why)
	}
	d.b.WriteByte('\n')
}

// raw is TOML that is written as it is.
type raw string

func literal(value any) string {
	switch v := value.(type) {
	case raw:
		return string(v)
	case string:
		return quote(v)
	case []string:
		all := make([]string, len(v))
		for i, s := range v {
			all[i] = quote(s)
		}
		if long := strings.Join(all, ", "); len(long) <= 100 {
			return "[" + long + "]"
		}
		return "[\n  " + strings.Join(all, ",\n  ") + ",\n]"
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	}
	panic(fmt.Sprintf("migrate: no TOML for %T", value)) // a programmer's error
}

// quote writes a basic string of TOML.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// value writes a string in which a dollar is a dollar: in ours it begins a variable.
func value(s string) string { return strings.ReplaceAll(s, "$", "$$") }

// key writes a key, quoted where it has to be.
func key(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == "" {
		return s
	}
	return quote(s)
}

// maxName is how long the name of a source gets, in bytes, before a number is added.
const maxName = 48

// name makes a name for a source that no other has.
func (d *document) name(wish string) string {
	base := plain(wish)
	if d.names == nil { // what jobs of repositories are called is nobody's name
		d.names = map[string]bool{"transition": true, "prune": true, "check": true, "drill": true, "copy": true}
	}
	got := base
	for n := 2; d.names[got]; n++ {
		got = fmt.Sprintf("%s-%d", base, n)
	}
	d.names[got] = true
	return got
}

// plain makes a name of letters, digits, "-" and "_" of any text.
func plain(text string) string {
	var b strings.Builder
	for _, r := range text {
		ok := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_'
		switch {
		case ok:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= maxName {
			break
		}
	}
	name := strings.Trim(b.String(), "-_")
	if name == "" {
		return "root"
	}
	return name
}
