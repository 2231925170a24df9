package migrate

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// phrase is a text of a file, and where it stands.
type phrase struct {
	text string
	line int
}

// Limits of what is read of YAML, whose aliases make much of little.
const (
	maxYAML  = 200_000 // values
	maxAlias = 16      // of aliases in aliases
)

// borgmatic reads one file.
type borgmatic struct {
	*draft
	keys      map[string]*yaml.Node
	lines     map[string]int
	constants map[string]string
	left      int    // values that may still be read
	where     string // working directory
}

// borgSections are those of files up to version 1.7; their options stand in the root since.
var borgSections = []string{"location", "storage", "retention", "consistency", "output", "hooks"}

// Borgmatic reads a configuration of borgmatic, of the present versions and of those with sections. What its folders and databases are becomes sources with the same schedule; the times of runs stand
// elsewhere (cron, systemd).
func Borgmatic(name string, raw []byte, o ToolOptions) (*Result, error) {
	if err := text(name, raw); err != nil {
		return nil, err
	}
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(noMarks.Replace(string(raw))), &root); err != nil {
		return nil, &Error{name, 0, clip(strings.TrimPrefix(err.Error(), "yaml: "))}
	}
	b := &borgmatic{draft: newDraft("borgmatic", name, o), keys: map[string]*yaml.Node{}, lines: map[string]int{}, constants: map[string]string{}, left: maxYAML}
	b.value = b.written
	if len(root.Content) == 0 || root.Content[0].Kind != yaml.MappingNode {
		return nil, &Error{name, 1, "it holds no options"}
	}
	b.flatten(root.Content[0], 0)
	if b.left <= 0 {
		return nil, &Error{name, 0, fmt.Sprintf("more than %d values", maxYAML)}
	}
	b.top.set("schedule", "daily 03:00", "borgmatic ran when cron or a timer called it: put its time here")
	for _, part := range []func(){b.fixed, b.access, b.retention, b.files, b.databases, b.checks, b.hooks, b.monitors, b.rest} {
		part()
	}
	r, err := b.result("want source_directories, patterns with R, or databases")
	var bad *Error
	if errors.As(err, &bad) && b.left <= 0 {
		return nil, &Error{name, 0, fmt.Sprintf("more than %d values", maxYAML)}
	}
	return r, err
}

// flatten takes the options of a mapping, those of sections and those that are merged into it.
func (b *borgmatic) flatten(n *yaml.Node, deep int) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], b.real(n.Content[i+1])
		if b.left--; b.left <= 0 || deep > maxAlias {
			return
		}
		switch {
		case k.Value == "<<" && v.Kind == yaml.MappingNode:
			b.flatten(v, deep+1)
		case slices.Contains(borgSections, k.Value) && v.Kind == yaml.MappingNode:
			b.flatten(v, deep+1)
		case strings.HasPrefix(v.Tag, "!include") || k.Value == "<<":
			b.add(k.Line, "%s %s: read that file, too, by another import, or put its content here", v.Tag, clip(v.Value))
		case k.Kind != yaml.ScalarNode:
			b.add(k.Line, "a key that is no text: left out")
		case b.keys[k.Value] == nil || k.Line < b.lines[k.Value]:
			b.keys[k.Value], b.lines[k.Value] = v, k.Line
		}
	}
}

// real follows aliases.
func (b *borgmatic) real(n *yaml.Node) *yaml.Node {
	for range maxAlias {
		if n.Kind != yaml.AliasNode || n.Alias == nil {
			return n
		}
		n = n.Alias
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Line: n.Line}
}

// take returns an option, which is dealt with by that; nil: there is none.
func (b *borgmatic) take(name string) (*yaml.Node, int) {
	n, line := b.keys[name], b.lines[name]
	delete(b.keys, name)
	if n != nil && n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		n = nil
	}
	return n, line
}

var (
	constantUse = regexp.MustCompile(`\{[A-Za-z_][A-Za-z0-9_]*\}`)
	variableUse = regexp.MustCompile(`\$\{[A-Za-z_][A-Za-z0-9_]*(:?-[^{}$\n]*)?\}`)
	credential  = regexp.MustCompile(`^\{credential (file|systemd|container) ([^{}]+)\}$`)
)

// str returns the text of a scalar, with constants put in.
func (b *borgmatic) str(n *yaml.Node) string {
	b.left--
	if n = b.real(n); n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	if b.left -= len(n.Value) / 64; len(n.Value) > 4096 || len(b.constants) == 0 {
		return n.Value
	}
	out := constantUse.ReplaceAllStringFunc(n.Value, func(use string) string {
		if v, ok := b.constants[use[1:len(use)-1]]; ok {
			return v
		}
		return use
	})
	b.left -= len(out) / 64
	return out
}

// one takes an option that is a text.
func (b *borgmatic) one(name string) (string, int) {
	n, line := b.take(name)
	if n == nil {
		return "", line
	}
	if n.Kind != yaml.ScalarNode {
		b.add(line, "%s: want a text: left out", name)
		return "", line
	}
	return b.str(n), line
}

// yes takes an option that is true or false.
func (b *borgmatic) yes(name string) bool {
	said, _ := b.one(name)
	switch strings.ToLower(said) {
	case "true", "yes", "on":
		return true
	}
	return false
}

// each returns the texts of a list, or the one text.
func (b *borgmatic) each(n *yaml.Node) (all []phrase) {
	if n == nil {
		return nil
	}
	n = b.real(n)
	if n.Kind == yaml.ScalarNode {
		if s := b.str(n); s != "" {
			all = append(all, phrase{s, n.Line})
		}
		return all
	}
	if n.Kind != yaml.SequenceNode {
		b.add(n.Line, "want a list: left out")
		return nil
	}
	for _, item := range n.Content {
		if b.left <= 0 {
			return all
		}
		if s := b.str(item); s != "" {
			all = append(all, phrase{s, item.Line})
		} else if r := b.real(item); r.Kind != yaml.ScalarNode {
			b.add(item.Line, "want a text in the list: left out")
		}
	}
	return all
}

func (b *borgmatic) list(name string) []phrase {
	n, _ := b.take(name)
	return b.each(n)
}

// fields are those of a mapping, by name.
func (b *borgmatic) fields(n *yaml.Node) (map[string]*yaml.Node, []string) {
	all, names := map[string]*yaml.Node{}, []string(nil)
	n = b.real(n)
	if n.Kind != yaml.MappingNode {
		return all, nil
	}
	for i := 0; i+1 < len(n.Content) && b.left > 0; i += 2 {
		b.left--
		k := n.Content[i]
		if _, twice := all[k.Value]; !twice && k.Kind == yaml.ScalarNode {
			all[k.Value] = b.real(n.Content[i+1])
			names = append(names, k.Value)
		}
	}
	return all, names
}

// written is how texts go into the configuration: ${NAME} and ${NAME:-text} are variables of the environment in both.
func (b *borgmatic) written(s string) string {
	var out strings.Builder
	at := 0
	for _, m := range variableUse.FindAllStringIndex(s, -1) {
		use := s[m[0]:m[1]]
		if strings.Contains(use, "-") && !strings.Contains(use, ":-") {
			use = strings.Replace(use, "-", ":-", 1)
		}
		out.WriteString(value(s[at:m[0]]) + use)
		at = m[1]
	}
	out.WriteString(value(s[at:]))
	return out.String()
}

// fixed is what is replaced in everything else.
func (b *borgmatic) fixed() {
	n, _ := b.take("constants")
	if n == nil {
		return
	}
	all, names := b.fields(n)
	for _, name := range names {
		if v := all[name]; v.Kind == yaml.ScalarNode && len(v.Value) < 1000 {
			b.constants[name] = v.Value
		} else {
			b.add(v.Line, "constant %q is no text: left out", clip(name))
		}
	}
}

// access is where the archives were, what opened them, and how fast they were sent.
func (b *borgmatic) access() {
	if n, line := b.take("repositories"); n != nil {
		for _, item := range n.Content {
			at := b.str(item)
			if f, _ := b.fields(item); f["path"] != nil {
				at = b.str(f["path"])
			}
			b.add(item.Line, "repository %q stays as it is; ours is %q", place(at), b.o.Repository)
		}
		if len(n.Content) > 1 {
			b.add(line, "several repositories: for a second one here, see also and copies of [repositories.NAME]")
		}
	}
	if said, line := b.one("encryption_passcommand"); said != "" {
		if strings.Contains(said, "{") && strings.Contains(said, "}") && !strings.Contains(said, "${") {
			b.add(line, "encryption_passcommand: what stands in braces is borgmatic's: look at it")
		}
		b.top.set("passphrase_command", said)
	}
	if said, line := b.one("encryption_passphrase"); said != "" {
		b.passphraseOf(line, said)
	}
	if said, line := b.one("upload_rate_limit"); said != "" {
		b.limit(line, "upload_rate_limit", said)
	}
	if said, line := b.one("remote_rate_limit"); said != "" {
		b.limit(line, "remote_rate_limit", said)
	}
	if said, line := b.one("compression"); said != "" {
		b.compression(line, said)
	}
}

func (b *borgmatic) passphraseOf(line int, said string) {
	m := credential.FindStringSubmatch(said)
	env := variableUse.FindString(said)
	switch {
	case b.top.has("passphrase_command"):
		b.add(line, "encryption_passphrase beside encryption_passcommand: the command is taken")
	case m != nil && m[1] == "file" && strings.HasPrefix(m[2], "/"):
		b.top.set("passphrase_file", m[2])
	case m != nil:
		b.add(line, "encryption_passphrase from %s %s: say passphrase_file, where that lies when it runs", m[1], clip(m[2]))
	case strings.HasPrefix(said, "{credential"):
		b.add(line, "encryption_passphrase: that store of credentials is not known; passphrase_command may ask it")
	case env != "" && env == said && !strings.Contains(env, "-"):
		b.top.set("passphrase_env", env[2:len(env)-1])
	case env != "":
		b.add(line, "encryption_passphrase: passphrase_env takes a whole variable: left out")
	default:
		b.passphrase(line, said)
	}
}

// limit sets the speed of sending, given in KiB a second.
func (d *draft) limit(line int, what, said string) {
	n, err := strconv.ParseUint(strings.TrimSpace(said), 10, 40)
	switch {
	case err != nil:
		d.add(line, "%s: %q is no number: left out", what, clip(said))
	case n > 0:
		d.top.set("limit_upload", strconv.FormatUint(n, 10)+"K")
	}
}

// compression chooses the level that is nearest.
func (b *borgmatic) compression(line int, said string) {
	said = strings.TrimPrefix(said, "auto,")
	name, level, _ := strings.Cut(said, ",")
	n, err := strconv.Atoi(level)
	if err != nil {
		n = 3
	}
	switch name {
	case "lz4":
		b.top.set("compression", "fastest")
	case "zstd", "zlib":
		b.top.set("compression", []string{"fastest", "default", "better", "best"}[slices.Index([]bool{n <= 1, n <= 5, n <= 12, true}, true)])
	case "lzma":
		b.top.set("compression", "best")
	default:
		b.add(line, "compression %q: here it is zstd always, and what does not become smaller is stored as it is", clip(said))
	}
}

// borgHours are Borg's letters for times.
var borgHours = map[string]int{"H": 1, "d": 24, "w": 7 * 24, "m": 31 * 24, "y": 366 * 24}

func (b *borgmatic) retention() {
	if said, line := b.one("keep_within"); said != "" {
		if d, ok := period(said, borgHours); ok {
			b.keep.set("within", ageText(d))
		} else {
			b.add(line, "keep_within %q: want such as 2d: left out", clip(said))
		}
	}
	for _, r := range [][2]string{{"keep_hourly", "hourly"}, {"keep_daily", "daily"}, {"keep_weekly", "weekly"}, {"keep_monthly", "monthly"}, {"keep_13weekly", "quarterly"}, {"keep_3monthly", "quarterly"}, {"keep_yearly", "yearly"}} {
		if said, line := b.one(r[0]); said != "" {
			if n, ok := b.number(line, r[0], said); ok {
				b.keep.set(r[1], n)
			}
		}
	}
	if len(b.keep) > 0 {
		b.job("prune", "weekly Sun 05:00").set("schedule", "weekly Sun 05:00")
		b.add(0, "borgmatic pruned in each run; prune = \"weekly Sun 05:00\" is enough here, and in cold classes the better")
	}
}

// files are the folders, and what of them is left out.
func (b *borgmatic) files() {
	b.where, _ = b.one("working_directory")
	var paths, patterns []string
	for _, t := range b.list("source_directories") {
		paths = append(paths, b.directory(t)...)
	}
	roots, chosen := b.borgPatterns(b.list("patterns"))
	paths = append(paths, roots...)
	for _, t := range b.list("exclude_patterns") {
		if p, ok := b.borgPattern(t.line, t.text, "fm"); ok {
			patterns = append(patterns, escaped(p))
		}
	}
	e := &entry{}
	defer func(all []*entry) {
		for _, made := range all {
			made.settings = append(made.settings, e.settings...)
		}
	}(b.draft.files(b.lines["exclude_patterns"], paths, append(chosen, patterns...)))
	for _, t := range b.list("exclude_from") {
		if f, ok := b.draft.folder(t.line, t.text); ok {
			e.add("exclude_from", f)
			b.add(t.line, "exclude_from %q: its lines are read as gitignore has patterns; Borg's styles (fm:, re: …) are not known there", clip(t.text))
		}
	}
	for _, t := range b.list("patterns_from") {
		b.add(t.line, "patterns_from %q: put its lines into patterns and import again: left out", clip(t.text))
	}
	for _, t := range b.list("exclude_if_present") {
		if strings.Contains(t.text, "/") {
			b.add(t.line, "exclude_if_present %q: want a name: left out", clip(t.text))
			continue
		}
		e.add("exclude_if_present", t.text)
	}
	for _, name := range []string{"exclude_caches", "one_file_system"} {
		if b.yes(name) {
			e.set(name, true)
		}
	}
}

// escaped makes sure that a pattern is none that takes back.
func escaped(p string) string {
	if strings.HasPrefix(p, "!") || strings.HasPrefix(p, "#") {
		return `\` + p
	}
	return p
}

// directory is one of source_directories, in which patterns stand for folders that are there.
func (b *borgmatic) directory(t phrase) []string {
	said := t.text
	if !strings.HasPrefix(said, "/") && !strings.HasPrefix(said, "~") && strings.HasPrefix(b.where, "/") {
		said = b.where + "/" + said
	}
	if i := strings.IndexAny(said, "*?["); i >= 0 {
		above := said[:strings.LastIndexByte(said[:i], '/')+1]
		b.add(t.line, "%q: folders are not chosen by patterns; all of %q is taken, name them in paths or exclude the others", clip(said), clip(above))
		said = above
	}
	if f, ok := b.draft.folder(t.line, said); ok {
		return []string{f}
	}
	return nil
}

// known are options that mean nothing here, and why; the rest is told as left out.
var borgKnown = map[string]string{
	"archive_name_format": "snapshots have ids, and the name of their source", "match_archives": "snapshots are told apart by source and host", "prefix": "snapshots are told apart by source and host",
	"source_directories_must_exist": "a folder that is missing fails its backup always", "ssh_command": "there is no SSH to a store", "remote_path": "there is no program at the store's side",
	"checkpoint_interval": "a run that is stopped goes on where it stood", "chunker_params": "content is cut by a fixed rule", "retries": "requests are tried again as a matter of course",
	"lock_wait": "writers need no lock", "read_special": "what a command writes can be a source: command = \"…\"", "atime": "access times are not stored", "numeric_ids": "numbers and names of owners are stored",
	"umask": "files of firn are readable by their owner alone", "relocated_repo_access_is_ok": "repositories may move", "unknown_unencrypted_repo_access_is_ok": "everything is encrypted",
	"skip_actions": "jobs without a schedule do not run", "exclude_nodump": "the flag nodump is not looked at", "log_file": "see [log]", "syslog_verbosity": "see [log]", "verbosity": "see [log]",
	"keep_exclude_tags": "the file that marks a folder is left out with it",
}

// rest tells of what nobody took.
func (b *borgmatic) rest() {
	var names []string
	for name := range b.keys {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if why := borgKnown[name]; why != "" {
			b.add(b.lines[name], "%s: %s", name, why)
			continue
		}
		b.add(b.lines[name], "%s: left out, nothing here is the same", clip(name))
	}
}
