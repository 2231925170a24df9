package mount

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"firn/internal/snapshot"
)

// maxName is how long a name is that was made safe, in bytes; what is put behind it to tell it from others fits into 255.
const maxName = 160

// safeName makes a name of a file of any text: the slashes of a path become dashes, what does not print or means something to a shell's eye becomes an underscore.
func safeName(text string) string {
	var b strings.Builder
	for _, r := range strings.Trim(text, "/") {
		switch {
		case r == '/' || r == '\\':
			r = '-'
		case r == utf8.RuneError, !unicode.IsPrint(r), unicode.IsSpace(r), strings.ContainsRune(`*?"'<>|;&$!:`+"`", r):
			r = '_'
		}
		if b.Len()+utf8.RuneLen(r) > maxName {
			break
		}
		b.WriteRune(r)
	}
	name := b.String()
	switch {
	case name == "":
		return "root"
	case name[0] == '.' || name[0] == '-':
		return "_" + name[1:]
	}
	return name
}

// sourceName is what a source is called where nobody else is called so.
func sourceName(o snapshot.Origin) string {
	if o.Name != "" {
		return safeName(o.Name)
	}
	return safeName(string(o.Path))
}

// dateForm and its parts are how times stand in names: sortable, and without what other systems forbid.
const (
	dayForm   = "2006-01-02"
	clockForm = "15-04-05"
	dateForm  = dayForm + "_" + clockForm
)
