package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"firn/internal/retain"
	"firn/internal/source"
	"firn/internal/units"
)

// Kind is a kind of source with what can be said of it: what the configuration has to know of adapters.
type Kind struct {
	Name     string // dir for folders
	Others   []string
	Rest     string // what stands for a source of this kind, for people: PATH, DATASET
	What     string // half a line
	Settings []source.Setting
}

// folder is the kind of what path and paths name.
const folder = "dir"

// builder makes a Config of the tree.
type builder struct {
	wrong   *problems
	env     func(name string) (string, bool)
	kinds   []Kind
	t       *keysOf
	cfg     *Config
	root    *node
	cycles  map[string]retain.Cycle // as [cycles] has them
	moments map[[2]string]moment    // by form and text
	whats   []string                // kindKeys, once they were asked for
	apart   map[[2]string]bool      // schedule and window: whether no moment lies inside; filled as they are looked at
}

// sections are what may stand in the root beside keys for all sources and repositories.
var sections = []string{"include", "repository", "defaults", "repositories", "sources", "cycles", "notify", "log", "metrics", "serve", "run"}

func (b *builder) bad(n *node, near, format string, args ...any) {
	b.wrong.add(&Error{Place: n.place, Key: n.key, Text: fmt.Sprintf(format, args...), Nearest: near})
}

func (b *builder) hint(n *node, hint, format string, args ...any) {
	b.wrong.add(&Error{Place: n.place, Key: n.key, Text: fmt.Sprintf(format, args...), Hint: hint})
}

// build reads the whole tree.
func (b *builder) build() {
	b.cfg.Log = Log{Level: "info", Format: "text", MaxSize: 10 * units.MiB, Keep: 5}
	b.cfg.Run = Run{Parallel: 1, Priority: "low", CatchUp: true, Reports: 100}
	b.outside()
	b.section("log", b.t.log, &b.cfg.Log)
	b.section("metrics", b.t.metrics, &b.cfg.Metrics)
	b.section("serve", b.t.serve, &b.cfg.Serve)
	b.section("run", b.t.run, &b.cfg.Run)
	if log := b.root.child("log"); log.child("stderr") == nil {
		l := &b.cfg.Log
		l.Stderr = l.File == "" && !l.Syslog && !l.Journal
	}
	b.readCycles()
	b.repositories()
	b.each("notify", b.channel)
	if d := b.tableOf("defaults"); d != nil {
		b.table(d, b.t.defaults, newSource("", d.place), nil)
		b.only(d, "schedule", "every")
	}
	b.each("sources", b.source)
	b.check()
}

// outside looks at the keys before the first table that nothing else looks at.
func (b *builder) outside() {
	scratch, r := newSource("", Place{}), &Repository{}
	for _, name := range b.root.names {
		v := b.root.of[name]
		if slices.Contains(sections, name) {
			continue
		}
		k, o := find(b.t.defaults, name), any(scratch)
		if k == nil {
			if k, o = find(b.t.repository, name), r; k != nil && !k.top {
				k = nil
			}
		}
		if k == nil {
			b.unknown(v, name, b.rootNames(), b.t.repository)
			continue
		}
		b.value(k, name, v, o)
	}
	b.only(b.root, "schedule", "every")
	b.secrets(b.root, b.t.repository)
}

func (b *builder) rootNames() []string {
	all := slices.Clone(sections)
	for _, keys := range [][]key{b.t.defaults, b.t.repository} {
		for _, k := range keys {
			if k.top {
				all = append(all, k.names()...)
			}
		}
	}
	return all
}

// tableOf returns a table of the root; nil: there is none.
func (b *builder) tableOf(name string) *node {
	n := b.root.child(name)
	if n == nil {
		return nil
	}
	if n.kind != isTable {
		b.bad(n, "", "%s, want a table", kindNames[n.kind])
		return nil
	}
	return n
}

func (b *builder) section(name string, keys []key, o any) {
	if n := b.tableOf(name); n != nil {
		b.table(n, keys, o, nil)
	}
}

// each calls f for every table of a section, in order.
func (b *builder) each(section string, f func(name string, n *node)) {
	n := b.tableOf(section)
	if n == nil {
		return
	}
	for _, name := range n.names {
		c := n.of[name]
		switch {
		case c.kind != isTable:
			b.bad(c, "", "%s, want a table [%s.NAME]", kindNames[c.kind], section)
		case !isName(name):
			b.bad(c, "", "%q is no name: want up to %d letters, digits, . _ and -, beginning with a letter or digit", clip(name), maxName)
		default:
			f(name, c)
		}
	}
}

// maxName is how long a name may be.
const maxName = 64

func isName(name string) bool {
	return name != "" && len(name) <= maxName && strings.Trim(name, bare+".") == "" && !strings.ContainsRune("._-", rune(name[0]))
}

// find returns the row of a key; nil: there is none.
func find(keys []key, name string) *key {
	for i := range keys {
		k := &keys[i]
		if k.form != secret && k.name == name {
			return k
		}
		if k.form == secret && strings.HasPrefix(name, k.name+"_") && slices.Contains(secretParts, name[len(k.name):]) {
			return k
		}
	}
	return nil
}

func namesOf(keys []key) []string {
	var all []string
	for i := range keys {
		all = append(all, keys[i].names()...)
	}
	return all
}

// table reads all keys of a table into o. own are keys that the caller reads itself; nil: later.
func (b *builder) table(n *node, keys []key, o any, own map[string]func(*node)) {
	for _, name := range n.names {
		v := n.of[name]
		if f, ok := own[name]; ok {
			if f != nil {
				f(v)
			}
			continue
		}
		k := find(keys, name)
		if k == nil {
			known := namesOf(keys)
			for name := range own {
				known = append(known, name)
			}
			slices.Sort(known)
			b.unknown(v, name, known, keys)
			continue
		}
		b.value(k, name, v, o)
	}
	b.secrets(n, keys)
}

// hidden are names under which people write a secret down.
var hidden = []string{"password", "passphrase", "token", "secret", "pass", "passwd", "api_key", "apikey", "access_key", "secret_key", "secret_access_key", "aws_secret_access_key"}

// unknown tells of a key that there is not.
func (b *builder) unknown(v *node, name string, known []string, keys []key) {
	if slices.Contains(hidden, strings.ToLower(name)) {
		what := ""
		for _, k := range keys {
			if k.form == secret && (k.name == strings.ToLower(name) || what == "" && k.name != "url") {
				what = k.name
			}
		}
		hint := "write it into a file that only its owner reads, and name that: " + what + "_file"
		if what == "" {
			hint = "programs take it from files of their own"
		}
		b.hint(v, hint, "a secret does not stand in the configuration")
		return
	}
	near := nearest(name, known)
	if name == "url" && slices.Contains(known, "location") { // as other programs call it
		near = "location"
	}
	if near != "" {
		b.bad(v, near, "there is no such key")
		return
	}
	b.hint(v, b.belongs(name), "there is no such key")
}

// belongs says where there is a key of a name; empty: nowhere.
func (b *builder) belongs(name string) string {
	for _, at := range []struct {
		table string
		keys  []key
	}{
		{"[sources.NAME]", b.t.source}, {"[repositories.NAME]", b.t.repository}, {"[repositories.NAME.transition]", b.t.transition}, {"[repositories.NAME.prune]", b.t.prune}, {"[repositories.NAME.check]", b.t.check}, {"[repositories.NAME.drill]", b.t.drill},
		{"keep", b.t.policy}, {"[notify.NAME]", b.t.channel}, {"[log]", b.t.log}, {"[metrics]", b.t.metrics}, {"[serve]", b.t.serve}, {"[run]", b.t.run}, {"[cycles.NAME]", b.t.cycle},
	} {
		if at.table == "[sources.NAME]" && slices.Contains(b.kindKeys(), name) || find(at.keys, name) != nil {
			return "it belongs into " + at.table
		}
	}
	return ""
}

// secrets tells of secrets that are said in two ways.
func (b *builder) secrets(n *node, keys []key) {
	for i := range keys {
		if k := &keys[i]; k.form == secret {
			b.only(n, k.names()...)
		}
	}
}

// only tells where more than one of some keys are said.
func (b *builder) only(n *node, names ...string) {
	var first *node
	for _, name := range n.names {
		v := n.of[name]
		switch {
		case !slices.Contains(names, name):
		case first == nil:
			first = v
		default:
			b.bad(v, "", "%s, at %s, says the same: one of them", first.key, first.place)
		}
	}
}

// readCycles reads [cycles].
func (b *builder) readCycles() {
	b.cycles = map[string]retain.Cycle{}
	b.each("cycles", func(name string, n *node) {
		members, own := []string{}, map[string]func(*node){}
		for _, k := range b.t.cycle {
			k := k
			own[k.name] = func(v *node) {
				if text, ok := b.scalar(v); ok {
					members = append(members, k.name+"="+text)
				}
			}
		}
		said := ""
		own["cycle"] = func(v *node) { said, _ = b.str(v) }
		kind := ""
		own["kind"] = func(v *node) { kind, _ = b.str(v) }
		b.table(n, b.t.defaults, newSource("", n.place), own)
		b.only(n, "schedule", "every")
		if kind != "" && said != "" {
			b.bad(n, "", "cycle and kind say the same: one of them")
		}
		if said == "" {
			said = strings.Join(append([]string{kind}, members...), " ")
		}
		c, err := retain.ParseCycle(said)
		if err != nil {
			b.bad(n, "", "%s", err)
		}
		b.cycles[name] = c
	})
}

// named returns what a key names, from the table of a section; it tells where there is no such thing.
func (b *builder) named(v *node, name, section string) bool {
	n := b.root.child(section)
	if n != nil && n.of[name] != nil {
		return true
	}
	var known []string
	if n != nil {
		known = n.names
	}
	b.bad(v, nearest(name, known), "there is no [%s]", join(section, clip(name)))
	return false
}

func newSource(name string, place Place) *Source {
	return &Source{Name: name, Place: place, MaxShrink: 0.5}
}

// upkeep reads transition, prune, check and drill; of two that a repository inherits and says, its own counts.
func (b *builder) upkeep(k *key, v *node, to **Upkeep) {
	u := &Upkeep{Place: v.place}
	switch v.kind {
	case isText:
		b.value(find(k.parts, "schedule"), "schedule", v, u)
	case isBool:
		if v.text == "true" {
			b.hint(v, "such as "+k.name+" = \"weekly Sun 05:00\"", "want a schedule")
		}
		u = nil
	case isTable:
		b.table(v, k.parts, u, nil)
		b.only(v, "schedule", "every")
	default:
		b.hint(v, "such as "+k.name+" = \"weekly Sun 05:00\"", "%s, want a schedule or a table", kindNames[v.kind])
	}
	*to = u
}

// repositories reads all repositories, and which is the default one.
func (b *builder) repositories() {
	b.each("repositories", func(name string, n *node) { b.repository(name, n, "") })
	switch v := b.root.child("repository"); {
	case v != nil:
		b.short(v)
	case b.cfg.Repository("default") != nil:
		b.cfg.Default = "default"
	case len(b.cfg.Repositories) == 1:
		b.cfg.Default = b.cfg.Repositories[0].Name
	}
}

// short reads repository before the first table: the name of one, or the location of the only one.
func (b *builder) short(v *node) {
	said, ok := b.str(v)
	if !ok {
		return
	}
	all := b.root.child("repositories")
	if all.child(said) != nil {
		b.cfg.Default = said
		return
	}
	if isName(said) && !strings.Contains(said, "/") && all != nil {
		b.named(v, said, "repositories")
		return
	}
	if old := all.child("default"); old != nil {
		b.bad(v, "", "[repositories.default], at %s, says it, too", old.place)
		return
	}
	b.cfg.Default = "default"
	b.repository("default", nil, said)
}

// repository reads one; n is nil for the one that stands before the first table.
func (b *builder) repository(name string, n *node, location string) {
	r := &Repository{Name: name}
	if n == nil {
		v := b.root.of["repository"]
		r.Place = v.place
		b.value(find(b.t.repository, "location"), "location", v, r)
	}
	for _, k := range b.t.repository {
		if !k.top {
			continue
		}
		for _, said := range k.names() {
			if v := b.root.child(said); v != nil {
				b.value(&k, said, v, r)
			}
		}
	}
	if n != nil {
		r.Place = n.place
		b.table(n, b.t.repository, r, map[string]func(*node){"copies": func(v *node) { b.copies(r, v) }})
		if n.child("location") == nil {
			b.bad(n, "", "location is missing")
		}
	}
	b.cfg.Repositories = append(b.cfg.Repositories, r)
}

// copies reads [repositories.NAME.copies].
func (b *builder) copies(r *Repository, n *node) {
	if n.kind != isTable {
		b.bad(n, "", "%s, want a table [repositories.%s.copies.TO]", kindNames[n.kind], r.Name)
		return
	}
	for _, to := range n.names {
		v := n.of[to]
		c := &Copy{Place: v.place, To: to}
		switch {
		case to == r.Name:
			b.bad(v, "", "a copy of a repository into itself")
		case v.kind == isText:
			b.value(find(b.t.copy, "schedule"), "schedule", v, c)
		case v.kind == isTable:
			b.table(v, b.t.copy, c, nil)
			b.only(v, "schedule", "every")
		default:
			b.bad(v, "", "%s, want a schedule or a table", kindNames[v.kind])
		}
		r.Copies = append(r.Copies, c)
	}
}

// channel reads [notify.NAME].
func (b *builder) channel(name string, n *node) {
	c := &Channel{Name: name, Place: n.place, After: 1, All: true, Timeout: 30 * time.Second, Tries: 3}
	b.table(n, b.t.channel, c, nil)
	for i := range b.t.channel {
		k := &b.t.channel[i]
		for _, said := range k.names() {
			if v := n.child(said); v != nil && c.Type != "" && len(k.only) > 0 && !slices.Contains(k.only, c.Type) && !(k.form != secret && find(b.t.channel, said) != k) {
				b.bad(v, "", "a %s channel has none: it belongs to %s", c.Type, strings.Join(k.only, ", "))
			}
		}
	}
	missing := func(is bool, what string) {
		if is {
			b.bad(n, "", "a %s channel needs %s", c.Type, what)
		}
	}
	none := Secret{}
	switch c.Type {
	case "":
		if n.child("type") == nil {
			b.bad(n, "", "type is missing: want mail, webhook, ntfy, slack, healthchecks or command")
		}
	case "mail":
		missing(len(c.To) == 0, "to")
		missing(c.From == "", "from")
		missing(c.Server == "", "server")
		c.TLS = or(c.TLS, "starttls")
	case "command":
		missing(c.Command == "", "command")
	default:
		missing(c.URL == "" && c.URLFrom == none, "url")
		if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
			b.bad(n.child("url"), "", "no URL: want one that begins with https:// or http://")
		}
		if c.URL != "" && c.URLFrom != none {
			b.bad(n, "", "url says the same as url_file, url_command or url_env: one of them")
		}
	}
	if c.Type == "webhook" {
		c.Method = or(c.Method, "POST")
	}
	if len(c.On) == 0 {
		c.On = []string{"failure", "missed", "recovered"}
		if c.Type == "healthchecks" {
			c.On = []string{"always", "start"}
		}
	}
	b.cfg.Notify = append(b.cfg.Notify, c)
}

func or(a, otherwise string) string {
	if a == "" {
		return otherwise
	}
	return a
}

// Source returns the source of a name; nil: there is none.
func (c *Config) Source(name string) *Source {
	for _, s := range c.Sources {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Repository returns the repository of a name; nil: there is none.
func (c *Config) Repository(name string) *Repository {
	for _, r := range c.Repositories {
		if r.Name == name {
			return r
		}
	}
	return nil
}

// Channel returns the channel of a name; nil: there is none.
func (c *Config) Channel(name string) *Channel {
	for _, n := range c.Notify {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// DefaultRepository returns the repository of whoever names none; nil: there is none, or several of which none is the default.
func (c *Config) DefaultRepository() *Repository { return c.Repository(c.Default) }
