package sync

import (
	"strings"

	"firn/internal/glob"
)

// Filter chooses paths by patterns of package glob. The last pattern that fits a path, or a folder above it, decides; one with an exclamation mark in front takes a path in. So what is excluded
// by a wide pattern can be had back by a narrow one, file by file, though buckets have no folders.
type Filter struct {
	exact, folded *glob.Set
	takesBack     bool
}

// NewFilter makes a filter; folded regards no case and only leaves out. Either may be nil.
func NewFilter(exact, folded *glob.Set) *Filter {
	f := &Filter{exact: exact, folded: folded}
	for _, r := range exact.Rules() {
		f.takesBack = f.takesBack || r.Negated
	}
	return f
}

// Leaves reports whether a path is left out.
func (f *Filter) Leaves(path string, dir bool) bool {
	if f == nil || f.exact.Empty() && f.folded.Empty() {
		return false
	}
	return f.decide(f.exact, path, dir) || f.decide(f.folded, path, dir)
}

// Prunes reports whether a folder need not be entered.
func (f *Filter) Prunes(path string) bool {
	return f != nil && (!f.takesBack && f.decide(f.exact, path, true) || f.decide(f.folded, path, true))
}

func (f *Filter) decide(set *glob.Set, path string, dir bool) bool {
	if set.Empty() {
		return false
	}
	out, last := set.Match([]byte(path), dir)
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		if chosen, rule := set.Match([]byte(path[:i]), true); rule > last {
			out, last = chosen, rule
		}
	}
	return out
}
