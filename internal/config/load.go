package config

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Reader is what a configuration needs of the world.
type Reader interface {
	ReadFile(name string) ([]byte, error)
	Glob(pattern string) ([]string, error) // as filepath.Glob
	Env(name string) (string, bool)
}

// Limits of includes.
const (
	maxFiles   = 500
	maxInclude = 8 // how deep files include others
)

// Load reads the configuration in a file and those that it includes. kinds are the kinds of sources that there are. It fails with Errors where what they say is wrong, and as ReadFile does where the
// first file cannot be read.
func Load(read Reader, name string, kinds []Kind) (*Config, error) {
	raw, err := read.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	l := &loader{read: read, b: newBuilder(kinds, read.Env)}
	l.file(name, raw, 0)
	return l.b.done()
}

// Parse reads one document, without what it includes; env may be nil.
func Parse(name string, raw []byte, kinds []Kind, env func(name string) (string, bool)) (*Config, error) {
	b := newBuilder(kinds, env)
	b.cfg.Files = []string{name}
	read(name, raw, b.root, b.wrong)
	return b.done()
}

func newBuilder(kinds []Kind, env func(string) (string, bool)) *builder {
	return &builder{wrong: &problems{}, env: env, kinds: kinds, t: tables(), cfg: &Config{}, root: &node{kind: isTable}}
}

// done builds what was read. Where the syntax is wrong that is told first: the rest would be guesses.
func (b *builder) done() (*Config, error) {
	if !b.wrong.torn {
		b.build()
	}
	if err := b.wrong.err(b.cfg.Files); err != nil {
		return nil, err
	}
	return b.cfg, nil
}

// loader follows includes.
type loader struct {
	read Reader
	b    *builder
}

func (l *loader) file(name string, raw []byte, depth int) {
	b := l.b
	b.cfg.Files = append(b.cfg.Files, name)
	if len(b.cfg.Files) > maxFiles {
		if len(b.cfg.Files) == maxFiles+1 {
			b.wrong.add(&Error{Place: Place{File: name}, Text: fmt.Sprintf("more than %d files", maxFiles)})
		}
		return
	}
	read(name, raw, b.root, b.wrong)
	include := b.root.child("include")
	if include != nil { // each file has one of its own
		delete(b.root.of, "include")
		b.root.names = slices.DeleteFunc(b.root.names, func(n string) bool { return n == "include" })
	}
	patterns := []*node{}
	switch {
	case include == nil && depth == 0:
		patterns = append(patterns, &node{kind: isText, text: "conf.d/*.toml", place: Place{File: name, Line: 1}, key: "include"})
	case include != nil && include.kind == isArray:
		patterns = include.items
	case include != nil:
		patterns = append(patterns, include)
	}
	for _, p := range patterns {
		if text, ok := b.str(p); ok {
			l.include(name, p, text, depth)
		}
	}
}

// include reads the files of a pattern, in the order of their names.
func (l *loader) include(from string, at *node, pattern string, depth int) {
	b := l.b
	if depth == maxInclude {
		b.bad(at, "", "files include one another %d deep", maxInclude)
		return
	}
	full, ok := pattern, true
	if strings.HasPrefix(pattern, "~") {
		if full, ok = b.path(at, pattern); !ok {
			return
		}
	} else if !absolute(pattern) {
		full = filepath.Join(filepath.Dir(from), filepath.FromSlash(pattern))
	}
	names, err := l.read.Glob(full)
	switch {
	case err != nil:
		b.bad(at, "", "%q is no pattern", clip(pattern))
		return
	case len(names) == 0 && !strings.ContainsAny(pattern, "*?["):
		b.bad(at, "", "there is no file %q", clip(full))
		return
	}
	slices.Sort(names)
	hidden := strings.HasPrefix(filepath.Base(full), ".")
	for _, name := range names {
		if slices.Contains(b.cfg.Files, name) || !hidden && strings.HasPrefix(filepath.Base(name), ".") { // what editors and package managers leave there, as shells see it
			continue
		}
		raw, err := l.read.ReadFile(name)
		if err != nil {
			reason := err
			var in *fs.PathError
			if errors.As(err, &in) {
				reason = in.Err
			}
			b.bad(at, "", "%q cannot be read: %v", clip(name), reason)
			continue
		}
		l.file(name, raw, depth+1)
	}
}
