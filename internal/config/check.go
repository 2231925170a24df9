package config

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/retain"
	"firn/internal/schedule"
	"firn/internal/units"
)

// maxPack is the largest size of packs.
const maxPack = 3 * units.GiB

// check looks at what only the whole shows.
func (b *builder) check() {
	b.checkRepositories()
	seen := map[string]*Source{}
	sources := b.root.child("sources")
	for _, s := range b.cfg.Sources {
		n := sources.child(s.Name)
		b.checkSource(s, n)
		b.checkTiming(&s.Timing, n, func(name string) *node { return b.where(n, name) })
		for _, id := range s.identities() {
			if other := seen[id]; other != nil {
				b.hint(n, "source = … gives one of them a name of its own", "its snapshots would be those of sources.%s, at %s", other.Name, other.Place)
			}
			seen[id] = s
		}
	}
	misspelt := slices.ContainsFunc(b.wrong.all, func(e *Error) bool { return e.Nearest == "repository" || e.Key == "repository" })
	if len(b.cfg.Sources) > 0 && len(b.cfg.Repositories) == 0 && !misspelt {
		b.wrong.add(&Error{Place: Place{File: b.cfg.Sources[0].Place.File, Line: 1}, Key: "repository", Text: "missing: where do backups go?", Hint: `such as repository = "s3://bucket/prefix"`})
	}
	if l := b.cfg.Serve.Listen; l != "" && l != "off" {
		if !isHostPort(l) {
			b.hint(b.root.child("serve").child("listen"), "such as 127.0.0.1:9137", "%q: want host:port, or off", clip(l))
		}
	}
	if b.cfg.Serve.UI && b.cfg.Serve.Listen == "off" {
		b.hint(b.root.child("serve").child("ui"), "leave listen out, or give it host:port", "pages are asked for, and listen is off")
	}
	for _, c := range b.cfg.Notify {
		if c.Server != "" {
			if !isHostPort(c.Server) {
				b.hint(b.root.child("notify").child(c.Name).child("server"), "such as mail.example.org:587", "%q: want host:port", clip(c.Server))
			}
		}
	}
}

// isHostPort reports whether text is a host, which may be empty, and a port.
func isHostPort(text string) bool {
	i := strings.LastIndexByte(text, ':')
	if i < 0 || strings.ContainsAny(text, " /@") {
		return false
	}
	port, err := strconv.ParseUint(text[i+1:], 10, 16)
	return err == nil && port > 0 && (!strings.Contains(text[:i], ":") || text[0] == '[' && text[i-1] == ']')
}

// identities are what snapshots of a source are known by.
func (s *Source) identities() []string {
	var all []string
	if s.As != "" {
		return []string{strings.Join([]string{s.Repository, s.Kind, "name", s.As}, "\n")}
	}
	for _, p := range append(slices.Clone(s.Paths), s.Rest) {
		if p != "" {
			all = append(all, strings.Join([]string{s.Repository, s.Kind, "path", p}, "\n"))
		}
	}
	return all
}

func (b *builder) checkRepositories() {
	all := b.root.child("repositories")
	for i, r := range b.cfg.Repositories {
		n := all.child(r.Name)
		if n == nil {
			n = b.root.child("repository")
		}
		own := func(name string) *node {
			for _, at := range []*node{n, b.root} {
				if c := at.child(name); c != nil {
					return c
				}
			}
			return n
		}
		for _, other := range b.cfg.Repositories[:i] {
			if r.Location != "" && other.Location == r.Location && other.Endpoint == r.Endpoint {
				b.bad(own("location"), "", "repositories.%s, at %s, is there already", other.Name, other.Place)
			}
		}
		for _, name := range r.Also {
			if name == r.Name {
				b.bad(own("also"), "", "a copy of a repository into itself")
			} else {
				b.repositoryOf(own("also"), name)
			}
		}
		for name, u := range map[string]*Upkeep{"transition": r.Transition, "prune": r.Prune, "check": r.Check, "drill": r.Drill} {
			if u != nil {
				b.checkTiming(&u.Timing, own(name), func(key string) *node { return orNode(own(name).child(key), own(name)) })
			}
		}
		for _, c := range r.Copies {
			at := n.child("copies").child(c.To)
			b.repositoryOf(at, c.To)
			b.checkTiming(&c.Timing, at, func(key string) *node { return orNode(at.child(key), at) })
		}
	}
}

// repositoryOf tells where there is no such repository.
func (b *builder) repositoryOf(n *node, name string) {
	var known []string
	for _, r := range b.cfg.Repositories {
		known = append(known, r.Name)
	}
	if !slices.Contains(known, name) {
		b.bad(n, nearest(name, known), "there is no repository %q", clip(name))
	}
}

func orNode(n, otherwise *node) *node {
	if n == nil {
		return otherwise
	}
	return n
}

// checkTiming tells of a schedule that never comes, and of a window that it never meets.
func (b *builder) checkTiming(t *Timing, n *node, where func(string) *node) {
	if t.Schedule.IsZero() || n == nil {
		return
	}
	said := where("schedule")
	if said.key == n.key || said.of != nil {
		said = where("every")
	}
	epoch := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	switch {
	case t.Schedule.Next(epoch, time.UTC).IsZero():
		b.bad(said, "", "%q never comes", clip(t.Schedule.String()))
	case !t.Window.IsZero() && b.neverMeet(t.Schedule, t.Window):
		b.bad(where("window"), "", "%q never comes inside the window %q", clip(t.Schedule.String()), clip(t.Window.String()))
	case t.StaleAfter > 0 && t.StaleAfter < t.Schedule.Pace():
		b.bad(where("stale_after"), "", "%v is less than lies between two moments of %q", t.StaleAfter, clip(t.Schedule.String()))
	}
}

// neverMeet reports whether no moment of a schedule, nor what its spread makes of it, lies inside a window: in two years, or the first 3000 of them.
func (b *builder) neverMeet(s schedule.Schedule, w schedule.Window) bool {
	if s.Counted() {
		return false
	}
	key := [2]string{s.String(), w.String()}
	if apart, ok := b.apart[key]; ok {
		return apart
	}
	at := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	end := at.AddDate(2, 0, 0)
	apart := true
	for range 3000 {
		at = s.Next(at, time.UTC)
		if at.IsZero() || at.After(end) {
			break
		}
		if opens := w.Opens(at, time.UTC); !opens.IsZero() && !opens.After(at.Add(s.Spread())) {
			apart = false
			break
		}
	}
	if b.apart == nil {
		b.apart = map[[2]string]bool{}
	}
	b.apart[key] = apart
	return apart
}

// checkSource tells of what does not go together in a source.
func (b *builder) checkSource(s *Source, n *node) {
	bad := func(name, format string, args ...any) { b.bad(b.where(n, name), "", format, args...) }
	switch {
	case (s.Then == "") != (s.HotFor == ""):
		bad("then", "then and hot_for belong together")
	case s.Then != "" && s.Class == "":
		bad("then", "it needs class, the class to begin with")
	case s.Then != "" && s.Then == s.Class:
		bad("then", "the same as class")
	}
	for name, class := range map[string]string{"class": s.Class, "then": s.Then} {
		if len(class) > 64 || strings.Trim(class, bare) != "" {
			bad(name, "%q: want letters, digits, _ and -", clip(class))
		}
	}
	if s.As != "" && len(s.Paths) > 0 {
		bad("source", "it names one source, and there are %d paths", len(s.Paths))
	}
	if s.Cycle.Kind == retain.Simple && s.FullEvery > 0 {
		bad("full_every", "a simple cycle says already when a full is made")
	}
	if s.PackSize != 0 && (s.PackSize < units.MiB || s.PackSize > maxPack) {
		bad("pack_size", "want 1M to 3G")
	}
	if s.Memory != 0 && s.Memory < 64*units.MiB {
		bad("memory", "want at least 64M")
	}
	if s.Detect != "" && s.Detect != "always" {
		for word := range strings.SplitSeq(s.Detect, ",") {
			if known := []string{"size", "mtime", "ctime", "inode"}; !slices.Contains(known, word) {
				b.bad(b.where(n, "detect"), nearest(word, known), "%q: want some of size,mtime,ctime,inode, or always", clip(word))
			}
		}
	}
	for _, tag := range s.Tags {
		if len(tag) > 256 {
			bad("tags", "a tag of more than 256 bytes")
		}
	}
	for i, name := range s.Notify {
		if !slices.Contains(s.Notify[:i], name) {
			b.named(b.where(n, "notify"), name, "notify")
		}
	}
	for _, f := range s.Options {
		if !strings.HasPrefix(f, "-") {
			bad("flags", "%q is no flag: want --NAME or --NAME=VALUE", clip(f))
		} else if word, _, _ := strings.Cut(f, "="); slices.Contains([]string{"--config", "--json", "--repo", "-r"}, word) {
			bad("flags", "%s cannot be said here", word)
		}
	}
}
