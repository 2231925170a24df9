package migrate

import (
	"maps"
	"path"
	"strings"

	"firn/internal/schedule"
)

// shell reads a script for the commands in it, as far as that goes without running anything: quotes, continued lines, comments, here-documents, and variables that the script itself sets to
// plain text. What only a shell could find out makes a word doubtful.
type shell struct {
	src     string
	pos     int
	line    int
	vars    map[string]variable
	found   func(*shell, *command) // called for each command, in order, while the variables are as they are there
	when    string                 // schedule of the cron line that is read; empty: none
	loops   int                    // loops around what is read
	depth   int                    // of scripts in scripts
	heredoc []string               // delimiters of here-documents whose text begins with the next line
	last    *command               // what a pipe comes from
	budget  *int                   // bytes that variables may still become
}

// variable is what a script has set.
type variable struct {
	words  []word // one, or those of an array
	array  bool
	secret bool
}

// word is one of a command line, as the program gets it.
type word struct {
	text   string
	doubt  string // what the shell would have to be run for; empty: text is all of it
	secret bool   // text holds what a variable with a secret holds
	quoted bool   // some of it was quoted
	glob   bool   // the shell takes it for a pattern
	array  []word // of NAME=(…)
	list   bool   // it is such an assignment
}

// command is a simple command.
type command struct {
	line  int
	sets  map[string]word // assignments in front of it
	words []word
	when  string
	loop  bool
	other bool     // its input or output goes to a file
	from  *command // whose output it reads; nil: nobody's
}

// Runes that stand for what is not plain text while a word is read. A script that has them itself gets others.
const (
	homeMark  = '\ue000' // ${HOME}, as the configuration has it
	openMark  = '\ue001' // { and } and the comma between them, not quoted
	closeMark = '\ue002'
	commaMark = '\ue003'
)

var (
	noMarks    = strings.NewReplacer("\ue000", "\ufffd", "\ue001", "\ufffd", "\ue002", "\ufffd", "\ue003", "\ufffd", "\r\n", "\n")
	plainMarks = strings.NewReplacer("\ue001", "{", "\ue002", "}", "\ue003", ",")
)

const (
	maxExpansion = 4 << 20 // bytes that all variables of a script together may become
	maxNested    = 4
	maxBraces    = 200 // words that one becomes
)

// read reads a script, or a part of one, from a line on.
func (s *shell) read(src string, line int) {
	s.src, s.pos, s.line, s.heredoc, s.last = src, 0, line, nil, nil
	for s.pos < len(s.src) {
		s.command()
	}
}

func (s *shell) peek(n int) byte {
	if s.pos+n < len(s.src) {
		return s.src[s.pos+n]
	}
	return 0
}

// next takes one byte.
func (s *shell) next() byte {
	c := s.src[s.pos]
	s.pos++
	if c == '\n' {
		s.line++
	}
	return c
}

// command reads one, with what ends it.
func (s *shell) command() {
	c := &command{line: s.line, when: s.when}
	end := byte('\n')
	for s.pos < len(s.src) {
		ch := s.peek(0)
		switch {
		case ch == ' ' || ch == '\t' || ch == '\r':
			s.pos++
			continue
		case ch == '\\' && s.peek(1) == '\n':
			s.next()
			s.next()
			continue
		case ch == '#':
			s.comment()
			continue
		case ch == '\n':
			s.next()
			s.skipDocuments()
		case strings.IndexByte(";&|()", ch) >= 0:
			if end = s.next(); ch == s.peek(0) && ch != '(' && ch != ')' {
				s.next()
				end = ';'
			}
		case ch == '<' || ch == '>':
			c.other = s.redirect() || c.other
			continue
		default:
			if len(c.words) == 0 {
				c.line = s.line
			}
			c.words = append(c.words, s.word()...)
			continue
		}
		break
	}
	s.finish(c, end)
}

func (s *shell) comment() {
	for s.pos < len(s.src) && s.peek(0) != '\n' {
		s.pos++
	}
}

// redirect reads > FILE and the like; it reports whether what the command reads or writes is a file that matters.
func (s *shell) redirect() bool {
	ch := s.next()
	if ch == '<' && s.peek(0) == '<' && s.peek(1) != '<' {
		s.next()
		if s.peek(0) == '-' {
			s.next()
		}
		s.blanks()
		if w := s.word(); len(w) > 0 && len(s.heredoc) < 100 {
			s.heredoc = append(s.heredoc, w[0].text)
		}
		return true
	}
	for strings.IndexByte("<>&|-", s.peek(0)) >= 0 && s.peek(0) != 0 {
		s.next()
	}
	if s.peek(0) == '(' {
		s.balanced('(', ')')
		return true
	}
	s.blanks()
	w := s.word()
	return len(w) == 0 || w[0].text != "/dev/null" && strings.Trim(w[0].text, "0123456789") != ""
}

func (s *shell) blanks() {
	for s.peek(0) == ' ' || s.peek(0) == '\t' {
		s.pos++
	}
}

// skipDocuments skips the text of here-documents.
func (s *shell) skipDocuments() {
	for _, end := range s.heredoc {
		for s.pos < len(s.src) {
			line, _, _ := strings.Cut(s.src[s.pos:], "\n")
			s.pos = min(s.pos+len(line)+1, len(s.src))
			s.line++
			if strings.Trim(line, "\t \r") == end {
				break
			}
		}
	}
	s.heredoc = nil
}

// balanced skips from an opening byte to the one that closes it.
func (s *shell) balanced(open, shut byte) string {
	begin, deep := s.pos, 0
	for s.pos < len(s.src) {
		switch c := s.next(); {
		case c == '\\' && s.pos < len(s.src):
			s.next()
		case c == '\'' && open == '(':
			s.until('\'')
		case c == '"':
			for s.pos < len(s.src) {
				if c := s.next(); c == '"' {
					break
				} else if c == '\\' && s.pos < len(s.src) {
					s.next()
				}
			}
		case c == open:
			deep++
		case c == shut:
			if deep--; deep == 0 {
				return s.src[begin:s.pos]
			}
		}
	}
	return s.src[begin:s.pos]
}

// until takes text up to a byte, which is taken, too.
func (s *shell) until(end byte) string {
	begin := s.pos
	for s.pos < len(s.src) {
		if s.next() == end {
			return s.src[begin : s.pos-1]
		}
	}
	return s.src[begin:s.pos]
}

// wordBuilder puts a word together; variables that are not quoted make several of it.
type wordBuilder struct {
	done []word
	now  word
	some bool // now is a word, even if it is empty
	text strings.Builder
}

func (b *wordBuilder) cut() {
	if b.some {
		b.now.text = b.text.String()
		b.done = append(b.done, b.now)
	}
	b.now, b.some = word{}, false
	b.text.Reset()
}

func (b *wordBuilder) doubt(what string) {
	b.some = true
	if b.now.doubt == "" {
		b.now.doubt = what
	}
}

// word reads one word, which may become several, or none where something else begins.
func (s *shell) word() []word {
	b := &wordBuilder{}
	for s.pos < len(s.src) {
		ch := s.peek(0)
		if strings.IndexByte(" \t\r\n;&|()<>", ch) >= 0 {
			if (ch == '<' || ch == '>') && len(b.done) == 0 && b.some && !b.now.quoted && strings.Trim(b.text.String(), "0123456789") == "" {
				return nil // the number of what is redirected
			}
			if name := strings.TrimSuffix(strings.TrimSuffix(b.text.String(), "="), "+"); ch == '(' && len(name) < b.text.Len() && isVariable(name) && len(b.done) == 0 {
				s.next()
				b.now.array, b.now.list, b.some = s.array(), true, true
			}
			break
		}
		s.part(b)
	}
	b.cut()
	var out []word
	for _, w := range b.done {
		out = append(out, braces(w)...)
	}
	return out
}

// array reads the words of NAME=(…).
func (s *shell) array() (all []word) {
	for s.pos < len(s.src) && len(all) < 10_000 {
		switch ch := s.peek(0); {
		case ch == ')':
			s.next()
			return all
		case ch == '#':
			s.comment()
		case strings.IndexByte(" \t\r\n;&|(<>", ch) >= 0 || ch == '\\' && s.peek(1) == '\n':
			if s.next() == '\\' {
				s.next()
			}
		default:
			all = append(all, s.word()...)
		}
	}
	return all
}

// part reads a piece of a word that is not quoted, or one that is.
func (s *shell) part(b *wordBuilder) {
	ch := s.next()
	switch {
	case ch == '\\' && s.pos < len(s.src):
		if c := s.next(); c != '\n' {
			b.text.WriteByte(c)
			b.some, b.now.quoted = true, true
		}
	case ch == '\'':
		b.some, b.now.quoted = true, true
		b.text.WriteString(s.until('\''))
	case ch == '"':
		b.some, b.now.quoted = true, true
		s.doubleQuoted(b)
	case ch == '$' && s.peek(0) == '\'':
		s.next()
		s.until('\'')
		b.doubt("$'…'")
	case ch == '$':
		s.dollar(b, false)
	case ch == '`':
		s.until('`')
		b.doubt("`…`")
	default:
		b.some = true
		switch ch {
		case '*', '?', '[':
			b.now.glob = true
		case '{':
			b.text.WriteRune(openMark)
			return
		case '}':
			b.text.WriteRune(closeMark)
			return
		case ',':
			b.text.WriteRune(commaMark)
			return
		}
		b.text.WriteByte(ch)
	}
}

func (s *shell) doubleQuoted(b *wordBuilder) {
	for s.pos < len(s.src) {
		switch ch := s.next(); {
		case ch == '"':
			return
		case ch == '\\' && s.pos < len(s.src):
			switch c := s.next(); c {
			case '\n':
			case '$', '`', '"', '\\':
				b.text.WriteByte(c)
			default:
				b.text.WriteByte('\\')
				b.text.WriteByte(c)
			}
		case ch == '$':
			s.dollar(b, true)
		case ch == '`':
			s.until('`')
			b.doubt("`…`")
		default:
			b.text.WriteByte(ch)
		}
	}
}

// dollar reads what stands behind one.
func (s *shell) dollar(b *wordBuilder, quoted bool) {
	switch ch := s.peek(0); {
	case ch == '(':
		inner := strings.Fields(strings.Trim(s.balanced('(', ')'), "()"))
		if len(inner) > 0 && strings.Trim(inner[0], "abcdefghijklmnopqrstuvwxyz-_/") == "" {
			b.doubt("$(" + clip(inner[0]) + " …)")
			return
		}
		b.doubt("$(…)")
	case ch == '{':
		raw := s.balanced('{', '}')
		s.expand(b, strings.TrimSuffix(raw[1:], "}"), quoted)
	case ch == '_' || ch >= 'a' && ch <= 'z' || ch >= 'A' && ch <= 'Z':
		begin := s.pos
		for isVariable(s.src[begin:min(s.pos+1, len(s.src))]) && s.pos < len(s.src) {
			s.pos++
		}
		s.expand(b, s.src[begin:s.pos], quoted)
	case ch >= '0' && ch <= '9' || ch != 0 && strings.IndexByte("@*#?!$-", ch) >= 0:
		s.next()
		b.doubt("$" + string(ch))
	default:
		b.some = true
		b.text.WriteByte('$')
	}
}

// isVariable reports whether text is the name of a variable.
func isVariable(text string) bool {
	for i, c := range []byte(text) {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return text != ""
}

// expand puts the value of a variable in, given as it stands between ${ and }.
func (s *shell) expand(b *wordBuilder, said string, quoted bool) {
	name, rest := said, ""
	for i := range len(said) {
		if !isVariable(said[:i+1]) {
			name, rest = said[:i], said[i:]
			break
		}
	}
	v, known := s.vars[name]
	every := rest == "[@]" || rest == "[*]"
	instead, optional := strings.CutPrefix(strings.TrimPrefix(rest, ":"), "-")
	if !optional {
		instead, optional = strings.CutPrefix(strings.TrimPrefix(rest, ":"), "=")
	}
	switch {
	case name == "" || rest != "" && !every && !optional:
		b.doubt("${" + clip(said) + "}")
	case known && (every || !v.array):
		s.put(b, v, quoted)
	case known && v.array && rest == "":
		s.put(b, variable{words: v.words[:min(1, len(v.words))], secret: v.secret}, quoted)
	case optional && strings.ContainsAny(instead, "$`\\\"'"):
		b.doubt("${" + clip(said) + "}")
	case optional:
		s.put(b, variable{words: []word{{text: instead}}}, quoted)
	case name == "HOME":
		b.some = true
		b.text.WriteRune(homeMark)
	default:
		b.doubt("$" + clip(name))
	}
}

// put adds the words of a variable. Those that are not quoted are cut at spaces.
func (s *shell) put(b *wordBuilder, v variable, quoted bool) {
	for i, w := range v.words {
		if i > 0 {
			b.cut()
		}
		if *s.budget -= len(w.text) + 1; *s.budget < 0 {
			b.doubt("a text that grows without end")
			return
		}
		if w.doubt != "" {
			b.doubt(w.doubt)
		}
		if quoted || v.array {
			b.some = true
			b.text.WriteString(w.text)
			b.now.secret = b.now.secret || v.secret || w.secret
			b.now.quoted = b.now.quoted || quoted
			continue
		}
		fields := strings.Fields(w.text)
		if len(fields) > 0 && strings.TrimLeft(w.text, " \t\n") != w.text {
			b.cut()
		}
		for k, f := range fields {
			if k > 0 {
				b.cut()
			}
			b.some = true
			b.text.WriteString(f)
			b.now.secret = b.now.secret || v.secret || w.secret
			b.now.glob = b.now.glob || strings.ContainsAny(f, "*?[")
		}
	}
}

// braces makes the words that {a,b} stands for.
func braces(w word) []word {
	if w.list {
		return []word{w}
	}
	texts := []string{w.text}
	for changed := true; changed && len(texts) <= maxBraces; {
		changed = false
		var next []string
		for _, t := range texts {
			made := spread(t)
			changed = changed || len(made) > 1
			next = append(next, made...)
		}
		texts = next
	}
	out := make([]word, 0, len(texts))
	for _, t := range texts {
		one := w
		one.text = plainMarks.Replace(t)
		out = append(out, one)
	}
	return out
}

// spread takes the first pair of braces with a comma in it apart.
func spread(text string) []string {
	width := len(string(openMark))
	for open, r := range text {
		if r != openMark {
			continue
		}
		deep, begin, parts := 0, open+width, []string(nil)
		for i, r := range text[open:] {
			i += open
			switch {
			case r == openMark:
				deep++
			case r == commaMark && deep == 1:
				parts, begin = append(parts, text[begin:i]), i+width
			case r == closeMark && deep == 1 && len(parts) > 0:
				var out []string
				for _, p := range append(parts, text[begin:i]) {
					out = append(out, text[:open]+p+text[i+width:])
				}
				return out
			case r == closeMark:
				deep--
			}
			if deep == 0 {
				break
			}
		}
	}
	return []string{text}
}

// keywords may stand in front of a command.
var keywords = map[string]bool{"if": true, "then": true, "else": true, "elif": true, "do": true, "while": true, "until": true, "!": true, "{": true, "}": true, "time": true, "function": true, "fi": true, "done": true, "esac": true,
	"for": true, "select": true, "case": true}

// finish takes a command that was read: an assignment changes the variables, everything else is told.
func (s *shell) finish(c *command, end byte) {
	from := s.last
	s.last = nil
	for len(c.words) > 0 && !c.words[0].quoted && keywords[c.words[0].text] {
		switch c.words[0].text {
		case "for", "select":
			s.loops++
			if len(c.words) > 1 && isVariable(c.words[1].text) {
				s.vars[c.words[1].text] = variable{words: []word{{doubt: "a loop over $" + clip(c.words[1].text)}}}
			}
			return
		case "while", "until":
			s.loops++
		case "done":
			s.loops = max(s.loops-1, 0)
		case "case":
			return
		}
		c.words = c.words[1:]
	}
	c.loop, c.from = s.loops > 0, from
	s.assignments(c)
	if len(c.words) == 0 {
		return
	}
	if end == '|' {
		s.last = c
	}
	s.found(s, c)
}

// assignments takes those in front of a command, and commands that are nothing but assignments.
func (s *shell) assignments(c *command) {
	n := 0
	for ; n < len(c.words); n++ {
		name, w, more, ok := assignment(c.words[n])
		if !ok {
			break
		}
		if c.sets == nil {
			c.sets = map[string]word{}
		}
		c.sets[name] = w
		c.words[n].list = more
	}
	given := c.words[:n]
	c.words = c.words[n:]
	if len(c.words) > 0 {
		switch c.words[0].text {
		case "export", "readonly", "declare", "local", "typeset":
			given, c.words = append(given, c.words[1:]...), nil
		case "unset":
			for _, w := range c.words[1:] {
				delete(s.vars, w.text)
			}
			c.words = nil
		case "read":
			for _, w := range c.words[1:] {
				if isVariable(w.text) {
					s.vars[w.text] = variable{words: []word{{doubt: "$" + clip(w.text)}}}
				}
			}
			c.words = nil
		}
	}
	if len(c.words) > 0 {
		return
	}
	for _, w := range given {
		if name, value, more, ok := assignment(w); ok {
			s.set(name, value, more)
		}
	}
}

// assignment takes NAME=VALUE and NAME+=VALUE apart.
func assignment(w word) (name string, value word, more, ok bool) {
	name, text, ok := strings.Cut(w.text, "=")
	name, more = strings.CutSuffix(name, "+")
	value = w
	value.text, value.list = text, w.array != nil || w.list && text == ""
	return name, value, more, ok && isVariable(name)
}

// set gives a variable a value.
func (s *shell) set(name string, w word, more bool) {
	v := variable{words: []word{w}, secret: isSecretName(name)}
	if w.list {
		v.words, v.array = w.array, true
	}
	if old, ok := s.vars[name]; ok && more {
		switch {
		case v.array:
			v.words = append(append([]word(nil), old.words...), v.words...)
		case len(old.words) == 1 && !old.array:
			if *s.budget -= len(old.words[0].text); *s.budget >= 0 {
				w.text = old.words[0].text + w.text
			}
			w.secret = w.secret || old.words[0].secret
			if w.doubt == "" {
				w.doubt = old.words[0].doubt
			}
			v.words = []word{w}
		}
	}
	if len(s.vars) < 10_000 && len(v.words) < 10_000 {
		s.vars[name] = v
	}
}

// isSecretName reports whether a variable of this name holds a secret.
func isSecretName(name string) bool {
	name = strings.ToUpper(name)
	for _, end := range []string{"_FILE", "_COMMAND", "_CMD", "_PATH", "_DIR", "FILE"} {
		if strings.HasSuffix(name, end) {
			return false
		}
	}
	for _, part := range []string{"PASSPHRASE", "PASSWORD", "PASSWD", "PASS", "SECRET", "TOKEN", "ACCOUNT_KEY", "ACCESS_KEY", "API_KEY", "APIKEY"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

// value returns what the environment of a command holds.
func (s *shell) value(c *command, name string) (word, bool) {
	if w, ok := c.sets[name]; ok {
		return w, true
	}
	v, ok := s.vars[name]
	if !ok || len(v.words) != 1 {
		return word{}, false
	}
	w := v.words[0]
	w.secret = w.secret || v.secret
	return w, true
}

// clip shortens a text for a note.
func clip(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ReplaceAll(plainMarks.Replace(text), string(homeMark), "$HOME"))
	if len(text) > 60 {
		return strings.ToValidUTF8(text[:60], "") + "…"
	}
	return text
}

// scripts runs a text through a shell: the lines of a crontab one by one with their times, everything else as a script.
func scripts(text string, found func(*shell, *command), odd func(line int, format string, args ...any)) {
	budget := maxExpansion
	s := &shell{vars: map[string]variable{}, found: found, budget: &budget}
	var script []string
	begin := 1
	flush := func(next int) {
		s.when, s.loops = "", 0
		s.read(strings.Join(script, "\n"), begin)
		script, begin = nil, next
	}
	for i, line := range strings.Split(noMarks.Replace(text), "\n") {
		when, rest, ok := cronLine(line)
		if !ok {
			script = append(script, unitLine(line))
			continue
		}
		flush(i + 2)
		if when == "@reboot" {
			odd(i+1, "@reboot: there are no jobs for the start of the machine; what was missed while it was off is caught up with anyway")
			when = ""
		}
		s.when = when
		s.read(strings.ReplaceAll(rest, `\%`, "%"), i+1)
	}
	flush(0)
}

// cronNames are the words that cron has for times.
var cronNames = map[string]string{
	"@hourly": "hourly", "@daily": "daily 00:00", "@midnight": "daily 00:00", "@weekly": "weekly Sun 00:00", "@monthly": "monthly 1 00:00", "@yearly": "yearly 01-01 00:00", "@annually": "yearly 01-01 00:00",
	"@reboot": "@reboot",
}

// cronLine takes a line of a crontab apart.
func cronLine(line string) (when, rest string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) > 1 && cronNames[fields[0]] != "" {
		return cronNames[fields[0]], strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), fields[0])), true
	}
	if len(fields) < 6 || strings.Trim(fields[0], "0123456789*,-/") != "" || strings.Trim(fields[1], "0123456789*,-/") != "" {
		return "", "", false
	}
	when = strings.Join(fields[:5], " ")
	if _, err := schedule.Parse(when); err != nil {
		return "", "", false
	}
	rest = line
	for _, f := range fields[:5] {
		rest = strings.TrimPrefix(strings.TrimLeft(rest, " \t"), f)
	}
	return when, strings.TrimSpace(rest), true
}

// unitLine makes a line of a script of one of a unit of systemd, or of NAME = VALUE in a crontab.
func unitLine(line string) string {
	name, value, ok := strings.Cut(line, "=")
	bare := strings.TrimSpace(name)
	switch {
	case !ok:
	case bare == "ExecStart" || bare == "ExecStartPre" || bare == "ExecStartPost":
		return strings.TrimLeft(value, "-+@!: ")
	case bare == "Environment":
		return "export " + value
	case bare != name && isVariable(bare):
		return bare + "=" + strings.TrimLeft(value, " \t")
	}
	return line
}

// wrappers run the program that they are given.
var wrappers = map[string]bool{"sudo": true, "doas": true, "nice": true, "ionice": true, "env": true, "exec": true, "timeout": true, "flock": true, "nohup": true, "chronic": true, "cronic": true, "command": true,
	"chrt": true, "systemd-cat": true, "systemd-inhibit": true, "systemd-run": true, "setpriv": true, "run-one": true, "caffeinate": true, "trickle": true, "su": true, "runuser": true}

var shells = map[string]bool{"sh": true, "bash": true, "dash": true, "zsh": true, "ksh": true}

// call finds a program in a command, and what it is given. What a shell is given to run is read as a script.
func (s *shell) call(c *command, program string) ([]word, bool) {
	words := c.words
	name := func(i int) string { return path.Base(words[i].text) }
	starts := func(i int) bool {
		_, _, _, sets := assignment(words[i])
		return sets || name(i) == program || wrappers[name(i)] || shells[name(i)]
	}
	if c.when != "" && len(words) > 1 && !starts(0) && starts(1) {
		c.words = words[1:] // the user of a system's crontab
		s.assignments(c)
		if words = c.words; len(words) == 0 {
			return nil, false
		}
	}
	if name(0) == program {
		return words[1:], true
	}
	if !wrappers[name(0)] && !shells[name(0)] {
		return nil, false
	}
	for i := 1; i < len(words); i++ {
		w := words[i].text
		switch {
		case name(i) == program && (i+1 >= len(words) || name(i+1) != program):
			return words[i+1:], true
		case strings.HasPrefix(w, "-") && strings.HasSuffix(w, "c") && len(w) < 5 && i+1 < len(words) && s.depth < maxNested && (shells[name(0)] || shells[name(i-1)] || name(0) == "su" || name(0) == "runuser" || name(0) == "flock"):
			inner := *s
			inner.depth, inner.when, inner.vars = s.depth+1, c.when, maps.Clone(s.vars)
			for name, w := range c.sets {
				inner.set(name, w, false)
			}
			inner.read(words[i+1].text, c.line)
			return nil, false
		case words[i].text == "":
		default:
			if set, value, more, ok := assignment(words[i]); ok && !more {
				if c.sets == nil {
					c.sets = map[string]word{}
				}
				c.sets[set] = value
			}
		}
	}
	return nil, false
}
