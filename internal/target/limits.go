package target

import (
	"slices"
	"strings"
	"sync"

	"firn/internal/source"
)

// Limit is a kind of thing that could not be set for lack of rights or because the file system cannot hold it.
type Limit struct {
	Kind  string // "owner", "group", "device node", "special file", "setuid bit", "setgid bit", "acl", "capability", "xattr user", "xattr security", …, "mode", "time"
	Count int64
	Path  string // of the first
	Err   error  // of the first
}

// limits counts them. The zero value is ready.
type limits struct {
	mu     sync.Mutex
	byKind map[string]*Limit
}

func (l *limits) add(kind string, path []byte, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.byKind == nil {
		l.byKind = map[string]*Limit{}
	}
	got := l.byKind[kind]
	if got == nil {
		got = &Limit{Kind: kind, Path: string(path), Err: err}
		l.byKind[kind] = got
	}
	got.Count++
}

// Limits tells what could not be set until now, sorted by kind.
func (t *Target) Limits() []Limit {
	t.limits.mu.Lock()
	defer t.limits.mu.Unlock()
	var out []Limit
	for _, l := range t.limits.byKind {
		out = append(out, *l)
	}
	slices.SortFunc(out, func(a, b Limit) int { return strings.Compare(a.Kind, b.Kind) })
	return out
}

// xattrKind is the kind of limit for an attribute.
func xattrKind(name string) string {
	switch {
	case strings.HasPrefix(name, "system.posix_acl_"):
		return "acl"
	case name == "security.capability":
		return "capability"
	}
	space, _, _ := strings.Cut(name, ".")
	return "xattr " + space
}

// specialKind is the kind of limit for a special file.
func specialKind(typ source.Type) string {
	if typ == source.Char || typ == source.Block {
		return "device node"
	}
	return "special file"
}
