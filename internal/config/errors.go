package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"firn/internal/source"
)

// Error is one thing that is wrong with a configuration.
type Error struct {
	Place          // Line 0: the file as a whole
	Key     string // with the tables around it: sources.photos.path; may be empty
	Text    string
	Nearest string // the name or value that may have been meant; may be empty
	Hint    string // what to do; may be empty
}

// Error returns "file:line: key: text (did you mean …)".
func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
		}
		b.WriteString(": ")
	}
	if e.Key != "" {
		b.WriteString(e.Key + ": ")
	}
	b.WriteString(e.Text)
	switch {
	case e.Nearest != "":
		fmt.Fprintf(&b, " (did you mean %s?)", e.Nearest)
	case e.Hint != "":
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

// String returns "file:line".
func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

// MaxErrors is how many errors are told at once.
const MaxErrors = 50

// Errors are all that is wrong, by file and line; after MaxErrors the last one says how many more there are.
type Errors []*Error

func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns all errors.
func (e Errors) Unwrap() []error {
	out := make([]error, len(e))
	for i, one := range e {
		out[i] = one
	}
	return out
}

// problems gathers errors. What is found wrong twice is told once: defaults are read for every source.
type problems struct {
	all  []*Error
	seen map[string]bool
	torn bool // a file was not read to its end: what is missing may stand there
}

func (p *problems) add(e *Error) {
	text := e.Error()
	if p.seen == nil {
		p.seen = map[string]bool{}
	}
	if !p.seen[text] {
		p.seen[text] = true
		p.all = append(p.all, e)
	}
}

// err returns all errors in order; nil: there are none. files is the order of the files.
func (p *problems) err(files []string) error {
	if len(p.all) == 0 {
		return nil
	}
	slices.SortStableFunc(p.all, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(slices.Index(files, a.File), slices.Index(files, b.File)), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key), cmp.Compare(a.Text, b.Text))
	})
	if more := len(p.all) - MaxErrors; more > 0 {
		p.all = append(p.all[:MaxErrors:MaxErrors], &Error{Text: fmt.Sprintf("and %d more", more)})
	}
	return Errors(p.all)
}

// nearest finds the name that may have been meant; empty: there is none.
func nearest(name string, known []string) string {
	if len(name) > 64 {
		return ""
	}
	settings := make([]source.Setting, len(known))
	for i, k := range known {
		settings[i].Name = k
	}
	return source.Nearest(settings, name)
}

func clip(text string) string {
	if len(text) > 80 {
		return strings.ToValidUTF8(text[:80], "") + "…"
	}
	return text
}
