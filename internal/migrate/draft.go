package migrate

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/units"
)

// ToolOptions are what the files of other tools do not say.
type ToolOptions struct {
	Repository string // where ours will be
	Folder     string // where the caller keeps the secrets, one file each; absolute
}

// setting is a key with its value, and why it is so.
type setting struct {
	key   string
	value any
	why   string
}

// settings are those of one table, in the order in which they are written.
type settings []setting

// set adds a setting, or replaces it.
func (s *settings) set(key string, value any, why ...string) {
	one := setting{key, value, strings.Join(why, " ")}
	if i := slices.IndexFunc(*s, func(o setting) bool { return o.key == key }); i >= 0 {
		(*s)[i] = one
		return
	}
	*s = append(*s, one)
}

func (s *settings) has(key string) bool {
	return slices.ContainsFunc(*s, func(o setting) bool { return o.key == key })
}

// add adds texts to a list.
func (s *settings) add(key string, texts ...string) {
	for i := range *s {
		if all, ok := (*s)[i].value.([]string); ok && (*s)[i].key == key {
			(*s)[i].value = append(all, texts...)
			return
		}
	}
	if len(texts) > 0 {
		s.set(key, slices.Clone(texts))
	}
}

// entry is a source or a channel.
type entry struct {
	wish string // name
	settings
	paths []string // of a source that reads files
}

// draft is a configuration that is being put together. Its texts are as people mean them: dollars are escaped when it is written.
type draft struct {
	notes
	tool, file string
	o          ToolOptions
	top        settings
	keep       settings
	upkeep     map[string]*settings // prune, check, drill
	sources    []*entry
	channels   []*entry
	secrets    []Secret
	value      func(string) string // how texts are written
	names      map[string]bool     // of the output of commands
}

func newDraft(tool, file string, o ToolOptions) *draft {
	return &draft{tool: tool, file: file, o: o, upkeep: map[string]*settings{}, names: map[string]bool{}, value: func(s string) string {
		return strings.ReplaceAll(value(s), string(homeMark), "${HOME}")
	}}
}

// passphrase keeps what opened the old repository: it opens ours, too.
func (d *draft) passphrase(line int, value string) {
	switch {
	case d.top.has("passphrase_file") || d.top.has("passphrase_command") || d.top.has("passphrase_env"):
		if !slices.Contains(d.secrets, Secret{d.tool + ".pass", value}) {
			d.add(line, "another passphrase: the first one of the file is taken")
		}
	case value == "" || strings.ContainsAny(value, "\n\r"):
		d.add(line, "a passphrase that is empty or has several lines cannot be taken over")
	default:
		d.secrets = append(d.secrets, Secret{d.tool + ".pass", value})
		d.top.set("passphrase_file", strings.TrimRight(d.o.Folder, "/")+"/"+d.tool+".pass")
		d.add(line, "the passphrase goes into a file of its own, and opens the new repository, too; delete it here once firn works")
	}
}

// job returns the settings of a job of the repository, with its schedule.
func (d *draft) job(name, schedule string) *settings {
	if d.upkeep[name] == nil {
		d.upkeep[name] = &settings{}
	}
	if !d.upkeep[name].has("schedule") && schedule != "" {
		d.upkeep[name].set("schedule", schedule)
	}
	return d.upkeep[name]
}

// folder makes a path as sources have it; false: it is none.
func (d *draft) folder(line int, said string) (string, bool) {
	clean := said
	if rest, ok := strings.CutPrefix(said, string(homeMark)); ok && (rest == "" || rest[0] == '/') {
		clean = "~" + rest
	}
	switch {
	case clean == "~" || strings.HasPrefix(clean, "~/"):
		if clean = path.Clean(clean); clean != "~" && !strings.HasPrefix(clean, "~/") {
			clean = ""
		}
	case strings.HasPrefix(clean, "/"):
		clean = path.Clean(clean)
	default:
		clean = ""
	}
	if clean == "" || strings.ContainsRune(clean, homeMark) {
		d.add(line, "%q is no absolute path: left out; name the folder in paths", clip(said))
		return "", false
	}
	return clean, true
}

// files adds sources that read folders. A pattern of absolute paths is for the folders in which it lies: in others it would mean something inside of them, so that folders with different ones
// become different sources.
func (d *draft) files(line int, folders, patterns []string) (all []*entry) {
	used := make([]bool, len(patterns))
	byPatterns := map[string]*entry{}
	for i, f := range folders {
		if slices.Contains(folders[:i], f) {
			continue
		}
		var mine []string
		for k, p := range patterns {
			if outside(p, f) {
				continue
			}
			used[k] = true
			if len(mine) > 0 || !strings.HasPrefix(p, "!") { // nothing is taken back of nothing
				mine = append(mine, p)
			}
		}
		id := strings.Join(mine, "\n")
		e := byPatterns[id]
		if e == nil {
			e = &entry{}
			e.add("exclude", mine...)
			byPatterns[id] = e
			all = append(all, e)
		}
		e.paths = append(e.paths, f)
	}
	for k, p := range patterns {
		if !used[k] && !strings.HasPrefix(p, "!") {
			d.add(line, "exclude %q lies outside of what is backed up: left out", clip(p))
		}
	}
	d.sources = append(d.sources, all...)
	return all
}

// stream adds one of another kind.
func (d *draft) stream(wish, kind, what string) *entry {
	e := &entry{wish: wish}
	e.set(kind, what)
	d.sources = append(d.sources, e)
	return e
}

// result writes all.
func (d *draft) result(about string) (*Result, error) {
	if len(d.sources) == 0 {
		return nil, &Error{d.file, 0, "nothing to back up in it: " + about}
	}
	var doc document
	doc.comment("Made from %s, of %s. Read it, then: firn config check, firn init, firn run --test", path.Base(clip(d.file)), d.tool)
	if d.o.Repository != "" {
		doc.set("repository", d.value(d.o.Repository), "")
	}
	d.write(&doc, d.top)
	if len(d.keep) > 0 {
		doc.set("keep", raw(d.inline(d.keep)), "")
	}
	for _, name := range []string{"prune", "check", "drill"} {
		if job := d.upkeep[name]; job != nil && len(*job) == 1 && (*job)[0].key == "schedule" {
			doc.set(name, (*job)[0].value, "")
		} else if job != nil {
			doc.set(name, raw(d.inline(*job)), "")
		}
	}
	r := &Result{Secrets: d.secrets}
	taken := map[string]bool{}
	for _, e := range d.sources {
		d.source(&doc, r, e, taken)
	}
	var channels document
	for _, e := range d.channels {
		doc.table("notify", channels.name(e.wish))
		d.write(&doc, e.settings)
	}
	d.add(0, "the old archives stay where they are and can be deleted when none of them is wanted any more; the first backup here stores everything once")
	r.TOML, r.Notes = doc.b.String(), d.sorted()
	return r, nil
}

// source writes one source; or several, where some of its folders are in another one already.
func (d *draft) source(doc *document, r *Result, e *entry, taken map[string]bool) {
	var fresh, again []string
	for _, p := range e.paths {
		if taken[p] {
			again = append(again, p)
			continue
		}
		taken[p] = true
		fresh = append(fresh, p)
	}
	begin := func(wish string) string {
		name := doc.name(wish)
		doc.table("sources", name)
		r.Sources++
		return name
	}
	wish := e.wish
	switch {
	case wish == "" && len(fresh) == 1 && fresh[0] == "~":
		wish = "home"
	case wish == "" && len(fresh) == 1:
		wish = fresh[0]
	case wish == "":
		wish = "files"
	}
	switch {
	case len(fresh) == 1:
		begin(wish)
		doc.set("path", d.value(fresh[0]), "")
		d.write(doc, e.settings)
	case len(fresh) > 1:
		begin(wish)
		d.write(doc, settings{{"paths", fresh, ""}})
		d.write(doc, e.settings)
	case len(e.paths) == 0:
		name := begin(wish)
		id := fmt.Sprint(e.settings[:1])
		d.write(doc, e.settings)
		if taken[id] && !e.has("name") {
			doc.set("source", name, "it is backed up by another job, too: this one keeps snapshots of its own")
		}
		taken[id] = true
	}
	for _, p := range again {
		name := begin(p)
		doc.set("path", d.value(p), "")
		doc.set("source", name, "it is backed up by another job, too: this one keeps snapshots of its own")
		d.write(doc, e.settings)
	}
}

// write writes settings. A text with a password in a URL is none that may stand in the file.
func (d *draft) write(doc *document, all settings) {
	for _, s := range all {
		switch v := s.value.(type) {
		case string:
			if withPassword(v) {
				d.add(0, "%s: its URL holds a password, which does not stand in a configuration: left out", s.key)
				continue
			}
			doc.set(s.key, d.value(v), s.why)
		case []string:
			texts := make([]string, 0, len(v))
			for _, t := range v {
				if !slices.Contains(texts, d.value(t)) || s.key == "exclude" {
					texts = append(texts, d.value(t))
				}
			}
			doc.set(s.key, texts, s.why)
		default:
			doc.set(s.key, v, s.why)
		}
	}
}

// inline writes settings as a table in one line.
func (d *draft) inline(all settings) string {
	var parts []string
	for _, s := range all {
		v := s.value
		if text, ok := v.(string); ok {
			v = d.value(text)
		}
		parts = append(parts, key(s.key)+" = "+literal(v))
	}
	return "{ " + strings.Join(parts, ", ") + " }"
}

// withPassword reports whether text is a URL that holds a password.
func withPassword(text string) bool {
	if !strings.Contains(text, "://") {
		return false
	}
	u, err := url.Parse(text)
	if err != nil {
		return strings.Contains(text, "@")
	}
	_, has := u.User.Password()
	return has
}

// place is a location as notes may show it.
func place(text string) string {
	if i := strings.LastIndexByte(text, '@'); i > 0 && strings.Contains(text[:i], ":") {
		scheme, _, ok := strings.Cut(text, "://")
		if ok {
			return clip(scheme + "://…" + text[i:])
		}
		if strings.Count(text[:i], ":") > 1 {
			return "…" + clip(text[i:])
		}
	}
	return clip(text)
}

// number makes the value of a rule to keep by; -1 is all.
func (d *draft) number(line int, what, said string) (any, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(said))
	switch {
	case err == nil && n > 0 && n < 1<<20:
		return n, true
	case n == -1 || err == nil && n > 0 || said == "unlimited":
		return "all", true
	case err == nil && n == 0:
		return nil, false
	}
	d.add(line, "%s: %q is no number: left out", what, clip(said))
	return nil, false
}

// period reads lengths of time as other tools have them, 2y5m7d3h or 3M, into days or hours; units says what a letter means, in hours.
var periods = regexp.MustCompile(`^([0-9]{1,6})([A-Za-z]+)`)

func period(said string, hours map[string]int) (time.Duration, bool) {
	total := 0
	for rest := said; rest != ""; {
		m := periods.FindStringSubmatch(rest)
		if m == nil || hours[m[2]] == 0 {
			return 0, false
		}
		n, _ := strconv.Atoi(m[1]) // up to six digits
		if total += n * hours[m[2]]; total > 24*365*100 {
			return 0, false
		}
		rest = rest[len(m[0]):]
	}
	return time.Duration(total) * time.Hour, total > 0
}

// ageText writes a length of time as keys of the form age have it.
func ageText(d time.Duration) string {
	if d%units.Day == 0 {
		return strconv.Itoa(int(d/units.Day)) + "d"
	}
	return strconv.Itoa(int(d/time.Hour)) + "h"
}

// literalPattern makes a pattern that means a name as it is.
var literalPattern = strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`)

// isPattern reports whether there is more in a text than names.
func isPattern(text string) bool { return strings.ContainsAny(text, `*?[]\`) }

// outside reports whether a pattern is of paths none of which lies in a folder.
func outside(pattern, folder string) bool {
	pattern = strings.TrimPrefix(pattern, "!")
	home := strings.HasPrefix(pattern, string(homeMark))
	switch ours := strings.HasPrefix(folder, "~"); {
	case !home && !strings.HasPrefix(pattern, "/"):
		return false
	case home && ours:
		folder = string(homeMark) + folder[1:]
	case home: // where that is nobody knows here
		return folder != "/" && !within(folder, "/home") && !within(folder, "/root") && !within(folder, "/Users")
	case ours:
		return true
	}
	fixed := pattern
	if i := strings.IndexAny(pattern, `*?[\`); i >= 0 {
		fixed = pattern[:strings.LastIndexByte(pattern[:i], '/')+1]
	}
	fixed = path.Clean(fixed)
	return !within(fixed, folder) && !(isPattern(pattern) && within(folder, fixed))
}

// within reports whether a path is a folder or lies below it.
func within(p, folder string) bool {
	return p == folder || folder == "/" || strings.HasPrefix(p, strings.TrimRight(folder, "/")+"/")
}

// choice is one pattern of a list in which the first that matches decides.
type choice struct {
	take    bool
	pattern string // as ours
	line    int
}

// reversed makes a list in which the last that matches decides of one in which the first does. What is taken inside of a folder that is not gets a way through it.
func reversed(all []choice) []string {
	var out []string
	for i := len(all) - 1; i >= 0; i-- {
		c := all[i]
		if c.take {
			if slices.ContainsFunc(all[i+1:], func(later choice) bool { return !later.take }) {
				if len(out) == 0 || out[len(out)-1] != "!"+c.pattern {
					out = append(out, "!"+c.pattern)
				}
				out = append(out, "!"+strings.TrimSuffix(c.pattern, "/")+"/**")
			}
			continue
		}
		var inner []string
		for _, earlier := range all[:i] {
			if p := earlier.pattern; earlier.take && p != c.pattern && strings.HasPrefix(p, strings.TrimSuffix(c.pattern, "/")+"/") && !isPattern(p) {
				inner = append(inner, p)
			}
		}
		if len(inner) == 0 || isPattern(c.pattern) {
			out = append(out, c.pattern)
			continue
		}
		out = append(out, ways(c.pattern, inner)...)
	}
	return out
}

// ways leaves a folder out but for some paths in it.
func ways(folder string, inner []string) []string {
	folder = strings.TrimSuffix(folder, "/")
	out := []string{folder + "/*"}
	open := map[string]bool{folder: true}
	for _, p := range inner {
		parts := strings.Split(strings.Trim(strings.TrimPrefix(p, folder), "/"), "/")
		at := folder
		for i, part := range parts {
			if at += "/" + part; open[at] {
				continue
			}
			out = append(out, "!"+at)
			if i < len(parts)-1 {
				open[at] = true
				out = append(out, at+"/*")
			}
		}
	}
	return out
}
