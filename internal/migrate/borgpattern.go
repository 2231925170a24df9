package migrate

import (
	"regexp"
	"strings"
)

// borgPattern makes a pattern of ours of one as Borg has it, whose style is said by "fm:" and so on or else is the one given; false: it cannot be said, which is told. Borg holds patterns against
// the whole path, without the slash in front.
func (d *draft) borgPattern(line int, said, style string) (string, bool) {
	text := said
	if i := strings.IndexByte(said, ':'); i == 2 {
		switch s := said[:i]; s {
		case "fm", "sh", "re", "pp", "pf":
			style, text = s, said[i+1:]
		}
	}
	text = strings.ReplaceAll(text, string(homeMark), "~")
	if strings.Trim(text, "/") == "" || strings.ContainsAny(text, "\n\r") {
		d.add(line, "pattern %q names nothing: left out", clip(said))
		return "", false
	}
	if strings.HasPrefix(text, "~") {
		d.add(line, "pattern %q: ~ is not known in patterns, write the folder out: left out", clip(said))
		return "", false
	}
	switch style {
	case "re":
		return d.borgRegexp(line, said, text)
	case "pp", "pf":
		return "/" + literalPattern.Replace(strings.Trim(text, "/")), true
	case "sh":
		if strings.HasPrefix(text, "**/") {
			return strings.TrimRight(text, "/"), true
		}
		return "/" + strings.Trim(text, "/"), true
	}
	return d.borgFnmatch(line, said, text)
}

// borgFnmatch is about the style fm, where * reaches over slashes.
func (d *draft) borgFnmatch(line int, said, text string) (string, bool) {
	bare := strings.Trim(text, "/")
	anchored := strings.HasPrefix(text, "/") || !strings.HasPrefix(bare, "*")
	if strings.HasSuffix(text, "/") {
		bare += "/*" // what is in it, and not itself
	}
	parts := strings.Split(bare, "/")
	if len(parts) == 1 {
		if anchored {
			return "/" + bare, true
		}
		return strings.ReplaceAll(bare, "**", "*"), true // *.o is held against the end of any path
	}
	var out []string
	for i, p := range parts {
		p = strings.ReplaceAll(p, "**", "*")
		switch {
		case p == "":
			continue
		case p == "*" && i == 0 && !anchored:
			out = append(out, "**")
		case p == "*" && i < len(parts)-1:
			out = append(out, "*", "**")
		default:
			if strings.Contains(p, "*") && p != "*" && i < len(parts)-1 {
				d.add(line, "pattern %q: in Borg's * reaches over slashes, here it ends at one (**, between slashes, reaches over them)", clip(said))
			}
			if i == 0 && !anchored {
				out = append(out, "**")
			}
			out = append(out, p)
		}
	}
	pattern := strings.Join(out, "/")
	if anchored {
		pattern = "/" + pattern
	}
	return pattern, true
}

// plainRegexp are regular expressions that say what a pattern can: the end of a name, or whole names.
var plainRegexp = regexp.MustCompile(`^(\.\*|\^\.\*|\^/?|/|\(\^\|/\))?((?:[A-Za-z0-9_ @~,=-]|\\[.+$()*?\[\]{}|^/-]|/)+)(\$|/|\(\$\|/\)|\(/\|\$\))?$`)

func (d *draft) borgRegexp(line int, said, text string) (string, bool) {
	m := plainRegexp.FindStringSubmatch(text)
	if m == nil {
		d.add(line, "pattern %q: regular expressions are not known: left out, say it by a pattern of gitignore", clip(said))
		return "", false
	}
	name := regexp.MustCompile(`\\(.)`).ReplaceAllString(m[2], "$1")
	name = literalPattern.Replace(strings.Trim(name, "/"))
	end := m[3] != "" || strings.HasSuffix(m[2], "/")
	switch whole := m[1] == "/" || m[1] == "(^|/)"; {
	case name == "":
	case strings.HasPrefix(m[1], "^") && m[1] != "^.*" && end:
		return "/" + name, true
	case whole && end && !strings.Contains(name, "/"):
		return name, true
	case whole && end:
		return "**/" + name, true
	case !whole && m[3] == "$" && !strings.Contains(name, "/"):
		return "*" + name, true
	}
	d.add(line, "pattern %q: regular expressions are not known: left out, say it by a pattern of gitignore", clip(said))
	return "", false
}

// borgPatterns reads the list that is called patterns: R PATH, + PATTERN, - PATTERN, ! PATTERN and P STYLE. It returns the folders.
func (d *draft) borgPatterns(all []phrase) (folders []string, patterns []string) {
	var choices []choice
	style := "sh"
	for _, t := range all {
		said := strings.TrimSpace(t.text)
		if said == "" || said[0] == '#' {
			continue
		}
		rest := strings.TrimSpace(said[1:])
		switch said[0] {
		case 'R':
			if f, ok := d.folder(t.line, rest); ok {
				folders = append(folders, f)
			}
		case 'P':
			style = rest
		case '+', '-', '!':
			if p, ok := d.borgPattern(t.line, rest, style); ok {
				choices = append(choices, choice{said[0] == '+', p, t.line})
			}
		default:
			d.add(t.line, "pattern %q begins with none of R, P, +, - and !: left out", clip(said))
		}
	}
	return folders, reversed(choices)
}
