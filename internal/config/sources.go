package config

import (
	"slices"
	"strconv"
	"strings"

	"firn/internal/source"
	"firn/internal/units"
)

// kindOf finds a kind by one of its names.
func (b *builder) kindOf(name string) *Kind {
	for i := range b.kinds {
		if k := &b.kinds[i]; k.Name == name && name != folder || slices.Contains(k.Others, name) {
			return k
		}
	}
	return nil
}

func (b *builder) kind(name string) *Kind {
	for i := range b.kinds {
		if b.kinds[i].Name == name {
			return &b.kinds[i]
		}
	}
	return &Kind{Name: name}
}

// kindKeys are the keys that say what a source is.
func (b *builder) kindKeys() []string {
	if b.whats != nil {
		return b.whats
	}
	all := []string{"path", "paths"}
	for _, k := range b.kinds {
		if k.Name != folder {
			all = append(append(all, k.Name), k.Others...)
		}
	}
	b.whats = all
	return all
}

// reserved are names of the jobs of a repository.
var reserved = []string{"transition", "prune", "check", "drill", "copy"}

// source reads [sources.NAME].
func (b *builder) source(name string, n *node) {
	s := newSource(name, n.place)
	if slices.Contains(reserved, name) {
		b.bad(n, "", "the job of a repository is called so: choose another name")
	}
	kind := b.what(s, n)
	reads := s.Kind == folder || s.Kind == "" || n.child("mode") != nil && n.child("mode").text == "files"
	b.layer(b.root, s, reads, "repository", "notify")
	b.layer(b.root.child("defaults"), s, reads)
	b.layer(b.group(n), s, reads, "cycle")
	for _, said := range n.names {
		v := n.of[said]
		k := find(b.t.source, said)
		set := setting(kind, said)
		switch {
		case slices.Contains(b.kindKeys(), said), said == "name" && s.Kind == "command":
		case said == "enabled":
			s.Off = v.kind == isBool && v.text == "false"
			if v.kind != isBool {
				b.bad(v, "", "%s, want true or false", kindNames[v.kind])
			}
		case said == "settings":
			b.settings(s, kind, v)
		case k != nil && (reads || !k.files):
			b.value(k, said, v, s)
		case set != nil:
			b.setting(s, set, v)
		case k != nil:
			b.bad(v, "", "it is for sources that read files, and this is a source of kind %s", s.Kind)
		default:
			b.strange(v, said, kind)
		}
	}
	b.only(n, "schedule", "every")
	b.secrets(n, b.t.source)
	b.finish(s, n)
	b.cfg.Sources = append(b.cfg.Sources, s)
}

// what finds out which kind of source it is, and what of.
func (b *builder) what(s *Source, n *node) *Kind {
	var first *node
	var kind *Kind
	for _, said := range n.names {
		if !slices.Contains(b.kindKeys(), said) {
			continue
		}
		v := n.of[said]
		if first != nil {
			b.bad(v, "", "%s, at %s, says already what it is", first.key, first.place)
			continue
		}
		first = v
		if said == "path" || said == "paths" {
			s.Kind, kind = folder, b.kind(folder)
			if said == "paths" {
				b.folders(s, v)
			} else if p, ok := b.str(v); ok {
				s.Rest, _ = b.path(v, p)
			}
			continue
		}
		kind = b.kindOf(said)
		s.Kind = kind.Name
		rest, ok := b.str(v)
		switch {
		case !ok:
		case rest == "":
			b.bad(v, "", "empty: want %s", kind.Rest)
		case s.Kind == "command":
			s.Settings = map[string]string{"command": rest}
			s.Rest = b.output(s, n)
		case kind.Rest == "PATH" || kind.Rest == "SUBVOLUME":
			s.Rest, _ = b.path(v, rest)
		case s.Kind == "zfs" && strings.HasPrefix(rest, "/"):
			b.bad(v, "", "%q: want the name of a dataset, not where it is mounted", clip(rest))
		default:
			s.Rest = rest
		}
	}
	if first == nil {
		b.bad(n, "", "it does not say what to back up: want one of %s", strings.Join(b.kindKeys(), ", "))
	}
	return kind
}

// folders reads paths.
func (b *builder) folders(s *Source, v *node) {
	b.list(&key{name: "paths", form: paths}, v, &s.Paths)
	for i, p := range s.Paths {
		if slices.Contains(s.Paths[:i], p) {
			b.bad(v, "", "%q stands there twice", clip(p))
		}
	}
	if len(v.items) == 0 && v.kind == isArray {
		b.bad(v, "", "empty")
	}
	if len(s.Paths) == 1 {
		s.Rest, s.Paths = s.Paths[0], nil
	}
}

// output is what the output of a command is called.
func (b *builder) output(s *Source, n *node) string {
	if v := n.child("name"); v != nil {
		if name, ok := b.str(v); ok && (name == "" || strings.ContainsAny(name, "/\\")) {
			b.bad(v, "", "%q: want a name without slashes", clip(name))
		} else if ok {
			return name
		}
	}
	return s.Name
}

// group is the table of the cycle that a source names; nil: there is none.
func (b *builder) group(n *node) *node {
	v := n.child("cycle")
	for _, outer := range []*node{b.root.child("defaults"), b.root} {
		if v == nil {
			v = outer.child("cycle")
		}
	}
	if v == nil || v.kind != isText {
		return nil
	}
	return b.root.child("cycles").child(v.text)
}

// layer reads what holds for several sources.
func (b *builder) layer(n *node, s *Source, reads bool, skip ...string) {
	if n == nil || n.kind != isTable {
		return
	}
	for _, said := range n.names {
		if k := find(b.t.defaults, said); k != nil && (reads || !k.files) && !slices.Contains(skip, said) {
			b.value(k, said, n.of[said], s)
		}
	}
}

// setting finds a setting of a kind; nil: there is none.
func setting(kind *Kind, name string) *source.Setting {
	if kind == nil {
		return nil
	}
	for i := range kind.Settings {
		if kind.Settings[i].Name == name {
			return &kind.Settings[i]
		}
	}
	return nil
}

// settings reads the table of that name.
func (b *builder) settings(s *Source, kind *Kind, n *node) {
	if n.kind != isTable {
		b.bad(n, "", "%s, want a table", kindNames[n.kind])
		return
	}
	for _, said := range n.names {
		if set := setting(kind, said); set != nil && !(s.Kind == "command" && said == "command") {
			b.setting(s, set, n.of[said])
		} else {
			b.strange(n.of[said], said, kind)
		}
	}
}

// strange tells of a key that the source does not have.
func (b *builder) strange(v *node, said string, kind *Kind) {
	known := slices.Concat(namesOf(b.t.source), b.kindKeys())
	if kind != nil {
		for _, set := range kind.Settings {
			known = append(known, set.Name)
		}
	}
	var others []string
	for i := range b.kinds {
		if setting(&b.kinds[i], said) != nil {
			others = append(others, b.kinds[i].Name)
		}
	}
	switch {
	case said == "name":
		b.hint(v, "a source is called by source", "only commands have it")
	case kind != nil && len(others) > 0:
		b.bad(v, "", "a source of kind %s has no such setting: it belongs to %s", kind.Name, strings.Join(others, ", "))
	case kind != nil || len(others) == 0: // else it may be right: that there is no kind is told already
		b.unknown(v, said, known, b.t.source)
	}
}

// setting reads the value of a setting, as the adapter reads it.
func (b *builder) setting(s *Source, set *source.Setting, v *node) {
	out, ok := "", false
	switch {
	case v.kind == isArray:
		var items []string
		b.list(&key{name: set.Name, form: list}, v, &items)
		if !strings.Contains(set.Value, ",") {
			b.bad(v, "", "a list, want %s", set.Value)
			return
		}
		for _, item := range items {
			if strings.Contains(item, ",") {
				b.bad(v, "", "%q: no commas here", clip(item))
			}
		}
		out, ok = strings.Join(items, ","), true
	case v.kind == isBool:
		if out = "no"; v.text == "true" {
			out = "yes"
		}
		ok = true
	default:
		out, ok = b.scalar(v)
	}
	if !ok {
		return
	}
	if s.Settings == nil {
		s.Settings = map[string]string{}
	}
	if _, twice := s.Settings[set.Name]; twice {
		b.bad(v, "", "said twice")
	}
	s.Settings[set.Name] = b.fits(set, v, out)
}

// fits holds a value to what the setting says of itself.
func (b *builder) fits(set *source.Setting, v *node, out string) string {
	switch choices := strings.Split(set.Value, "|"); {
	case len(choices) > 1 && set.Value == strings.ToLower(set.Value):
		if !slices.Contains(choices, out) {
			b.bad(v, nearest(out, choices), "%q: want %s", clip(out), strings.Join(choices, ", "))
		}
	case set.Value == "N" || set.Value == "NUMBER":
		if n, err := strconv.Atoi(out); err != nil || n < 0 {
			b.bad(v, "", "%q: want a number", clip(out))
		}
	case set.Value == "DURATION":
		if _, err := units.ParseDuration(out); err != nil {
			b.bad(v, "", "%s", err)
		}
	case set.Value == "FOLDER" || set.Value == "FILE":
		out, _ = b.path(v, out)
	case v.kind == isBool:
		b.bad(v, "", "true or false, want %s", set.Value)
	}
	return out
}

// finish puts in what follows from the rest.
func (b *builder) finish(s *Source, n *node) {
	switch {
	case s.Repository != "":
		b.repositoryOf(b.where(n, "repository"), s.Repository)
	case b.cfg.Default != "":
		s.Repository = b.cfg.Default
	case len(b.cfg.Repositories) > 0:
		b.bad(n, "", "it does not say into which repository: there are %d, and none is the default", len(b.cfg.Repositories))
	}
	if v := n.child("keep"); s.Cycle.Kind != "" && (v == nil || v.kind != isText) {
		s.Keep.Cycle = s.Cycle // else the source itself says that all stays, however often it is backed up
	}
}

// where finds the node that says a key for a source: in its table, that of its cycle, or what holds for all.
func (b *builder) where(n *node, name string) *node {
	for _, layer := range []*node{n, b.group(n), b.root.child("defaults"), b.root} {
		if layer != nil && layer.kind == isTable && layer.of[name] != nil {
			return layer.of[name]
		}
	}
	return n
}
