package postgres

import (
	"bytes"
	"strings"
)

// existing is what a server has that a script of globals would make.
type existing struct {
	roles, tablespaces map[string]bool
	force              bool // change what is there all the same
}

// leaveOut removes the statements that make or change what is there already: pg_dumpall writes scripts for empty servers, on which only the errors that
// must be overlooked show what was there. Grants stay.
func (e existing) leaveOut(script []byte) []byte {
	var out bytes.Buffer
	for len(script) > 0 {
		n := statement(script)
		if !e.has(string(script[:n])) {
			out.Write(script[:n])
		}
		script = script[n:]
	}
	return out.Bytes()
}

// has reports whether a statement is about what is there.
func (e existing) has(statement string) bool {
	text := skipComments(statement)
	for _, about := range []struct {
		begin string
		names map[string]bool
	}{
		{"CREATE ROLE ", e.roles}, {"ALTER ROLE ", e.roles}, {"COMMENT ON ROLE ", e.roles}, {"SECURITY LABEL ON ROLE ", e.roles},
		{"CREATE TABLESPACE ", e.tablespaces}, {"ALTER TABLESPACE ", e.tablespaces}, {"COMMENT ON TABLESPACE ", e.tablespaces},
	} {
		if rest, ok := strings.CutPrefix(text, about.begin); ok {
			return about.names[identOf(rest)] && (!e.force || strings.HasPrefix(text, "CREATE "))
		}
	}
	return false
}

// identOf reads the name at the start of text.
func identOf(text string) string {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " ;\n\t")
		if end < 0 {
			return text
		}
		return text[:end]
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] == '"' {
			if i+1 == len(text) || text[i+1] != '"' {
				break
			}
			i++
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// skipComments returns what follows blank space and comments.
func skipComments(text string) string {
	for {
		text = strings.TrimLeft(text, " \t\r\n")
		if !strings.HasPrefix(text, "--") {
			return text
		}
		end := strings.IndexByte(text, '\n')
		if end < 0 {
			return ""
		}
		text = text[end:]
	}
}

// statement is how long the first statement of a script is, with what stands before it, its semicolon and the rest of that line if that is blank. A command of psql, which begins with a backslash, ends with its line.
func statement(script []byte) int {
	started := false
	for i := 0; i < len(script); i++ {
		switch c := script[i]; {
		case c == ' ', c == '\t', c == '\r', c == '\n':
		case c == '-' && bytes.HasPrefix(script[i:], []byte("--")), c == '\\' && !started:
			end := bytes.IndexByte(script[i:], '\n')
			if end < 0 {
				return len(script)
			}
			i += end
			if c == '\\' {
				return i + 1
			}
		case c == ';':
			if i++; i < len(script) && script[i] == '\n' {
				i++
			}
			return i
		case c == '\'' || c == '"':
			started = true
			i += quoted(script, i)
		default:
			started = true
		}
	}
	return len(script)
}

// quoted is how long the text in quotes at i is, but for its last byte.
func quoted(script []byte, i int) int {
	escapes := script[i] == '\'' && i > 0 && (script[i-1] == 'E' || script[i-1] == 'e') && (i == 1 || !wordByte(script[i-2]))
	for k := i + 1; k < len(script); k++ {
		switch {
		case script[k] == '\\' && escapes:
			k++
		case script[k] == script[i] && k+1 < len(script) && script[k+1] == script[i]:
			k++
		case script[k] == script[i]:
			return k - i
		}
	}
	return len(script) - 1 - i
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}
