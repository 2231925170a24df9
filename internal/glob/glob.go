// Package glob chooses paths by patterns in the manner of gitignore (git's gitignore(5) is the model, and git the judge in the tests):
//
//	name         that name anywhere; so do *.o, ?x, [a-z]*: a pattern without a slash is held against the last component
//	a/b, /a      with a slash before or within it: from the root
//	name/        folders only
//	*            any run of characters but the slash     ?  one character     [a-z] [!a-z] [[:digit:]]  one of a class
//	**/x  a/**   as a whole component: any number of folders; at the end, everything below     a/**/b  zero or more between
//	!pattern     takes back what an earlier pattern chose
//	# …          a comment; \# \! \* and so on mean the character itself; spaces at the end go, unless escaped
//
// The last pattern that matches decides. A folder that is chosen is chosen with everything below it; no later pattern takes back a part of that.
//
// Here and not in git: where the root's absolute path is known, /home/x/dir is read as dir below the root /home/x; ? and
// classes take a whole UTF-8 character; a pattern that git would silently never match is an error. Paths have components
// joined by slashes, without a slash at either end; they need not be UTF-8.
package glob

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

const (
	// MaxPattern is the longest pattern in bytes.
	MaxPattern = 4096
	// MaxRules is the most patterns that a Set has.
	MaxRules = 100_000

	// foldBuffer is the longest path in bytes that is matched without case and without allocation.
	foldBuffer = 1024
)

// Rule is one pattern and where it was written.
type Rule struct {
	Pattern string // as written, without spaces at the end
	Origin  string // as given to Parse
	Line    int    // counted from 1
	Negated bool   // starts with "!"
}

// PatternError tells which pattern cannot be read.
type PatternError struct {
	Rule
	Reason string
}

func (e *PatternError) Error() string {
	where := fmt.Sprintf("line %d", e.Line)
	if e.Origin != "" {
		where = fmt.Sprintf("%s:%d", e.Origin, e.Line)
	}
	return fmt.Sprintf("%s: pattern %.200q: %s", where, e.Pattern, e.Reason)
}

// Options are how patterns are meant.
type Options struct {
	// Root is the absolute path of the folder that paths are relative to, with slashes ("/home/x", "C:/Users/x"); empty: unknown. A pattern that
	// starts with it means what lies below. A wildcard may stand for any component of the root but the first.
	Root string
	// FoldCase matches without regard to case (Unicode simple folding).
	FoldCase bool
}

// Set is a list of patterns, ready to match. A nil Set is empty. Its methods may be called by several goroutines at once.
type Set struct {
	rules []*rule
	fold  bool

	// Which rules can match is found by look-up for the common forms; the lists of rule numbers ascend.
	names    map[string][]int32 // last component, literally
	suffixes affixes            // *literal
	prefixes affixes            // literal*
	paths    map[string][]int32 // whole path, literally
	rest     []int32            // all others: tried one by one
	roots    []int32            // that match the root itself
}

// affixes finds the beginnings or ends of a name that rules ask for.
type affixes struct {
	lengths []int // ascending, each once
	rules   map[string][]int32
}

func (a *affixes) add(lit []byte, n int32) {
	if a.rules == nil {
		a.rules = map[string][]int32{}
	}
	a.rules[string(lit)] = append(a.rules[string(lit)], n)
	if i, found := slices.BinarySearch(a.lengths, len(lit)); !found {
		a.lengths = slices.Insert(a.lengths, i, len(lit))
	}
}

// Parse reads patterns, one a line; origin says in errors and rules where they come from, such as the name of a file. The error is a *PatternError.
func Parse(lines []string, origin string) (*Set, error) { return Options{}.Parse(lines, origin) }

// Parse reads patterns as the function Parse does.
func (o Options) Parse(lines []string, origin string) (*Set, error) {
	var rules []*rule
	for i, line := range lines {
		if i == 0 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		line = trimSpaces(strings.TrimSuffix(line, "\r"))
		if line == "" || line[0] == '#' {
			continue
		}
		r := &rule{Rule: Rule{Pattern: line, Origin: origin, Line: i + 1}}
		if len(rules) == MaxRules {
			return nil, &PatternError{r.Rule, "too many patterns"}
		}
		if err := o.compile(r); err != nil {
			return nil, err
		}
		rules = append(rules, r)
	}
	return newSet(rules, o.FoldCase), nil
}

// Join returns a set with the rules of all sets in order, so that those of later sets win. It has its own memory of which rules matched. It panics if
// some sets regard case and some do not.
func Join(sets ...*Set) *Set {
	var rules []*rule
	var kind *Set
	for _, s := range sets {
		if s.Empty() {
			continue
		}
		if kind != nil && kind.fold != s.fold {
			panic("glob: sets with and without case joined")
		}
		kind = s
		for _, r := range s.rules {
			rules = append(rules, r.clone())
		}
	}
	return newSet(rules, kind != nil && kind.fold)
}

func newSet(rules []*rule, fold bool) *Set {
	s := &Set{rules: rules, fold: fold, names: map[string][]int32{}, paths: map[string][]int32{}}
	for i, r := range rules {
		n := int32(i)
		if r.root {
			s.roots = append(s.roots, n)
		}
		last := &r.parts[len(r.parts)-1]
		switch lit := r.literal(); {
		case r.floating && last.kind == partLiteral:
			s.names[string(last.lit)] = append(s.names[string(last.lit)], n)
		case r.floating && last.kind == partSuffix:
			s.suffixes.add(last.lit, n)
		case r.floating && last.kind == partPrefix:
			s.prefixes.add(last.lit, n)
		case lit != nil:
			s.paths[string(lit)] = append(s.paths[string(lit)], n)
		default:
			s.rest = append(s.rest, n)
		}
	}
	return s
}

// Empty reports whether s has no rules.
func (s *Set) Empty() bool { return s == nil || len(s.rules) == 0 }

// Rules returns the rules in order; Match tells their numbers.
func (s *Set) Rules() []Rule { return s.list(func(*rule) bool { return true }) }

// Unmatched returns the rules that no path has matched yet, whether or not another rule decided.
func (s *Set) Unmatched() []Rule {
	return s.list(func(r *rule) bool { return !r.matched.Load() })
}

func (s *Set) list(want func(*rule) bool) (out []Rule) {
	if s == nil {
		return nil
	}
	for _, r := range s.rules {
		if want(r) {
			out = append(out, r.Rule)
		}
	}
	return out
}

// Match reports whether path, a folder or not, is chosen, and the number of the rule that decides; −1 where none matches. It looks at the path itself
// alone: a walk that does not enter chosen folders needs no more, others use Covers. The root is the path "". It does not allocate (without
// regard to case: for paths up to 1 KiB).
func (s *Set) Match(path []byte, dir bool) (chosen bool, rule int) {
	if s.Empty() {
		return false, -1
	}
	if s.fold {
		var buf [foldBuffer]byte
		return s.match(appendFold(buf[:0], path), dir)
	}
	return s.match(path, dir)
}

// match is Match of a folded path.
func (s *Set) match(path []byte, dir bool) (bool, int) {
	best := s.lookUp(path, dir)
	for i := len(s.rest) - 1; i >= 0 && len(path) > 0; i-- {
		n := int(s.rest[i])
		r := s.rules[n]
		if n < best && r.matched.Load() || r.dirOnly && !dir || !r.match(path) {
			continue
		}
		r.mark()
		best = max(best, n)
	}
	return best >= 0 && !s.rules[best].Negated, best
}

// lookUp returns the last of the rules of common form that match, or −1.
func (s *Set) lookUp(path []byte, dir bool) int {
	if len(path) == 0 {
		return s.last(s.roots, dir, -1)
	}
	best := -1
	if len(s.paths) > 0 {
		best = s.last(s.paths[string(path)], dir, best)
	}
	name := path[bytes.LastIndexByte(path, '/')+1:]
	if len(s.names) > 0 {
		best = s.last(s.names[string(name)], dir, best)
	}
	for _, n := range s.suffixes.lengths {
		if n > len(name) {
			break
		}
		best = s.last(s.suffixes.rules[string(name[len(name)-n:])], dir, best)
	}
	for _, n := range s.prefixes.lengths {
		if n > len(name) {
			break
		}
		best = s.last(s.prefixes.rules[string(name[:n])], dir, best)
	}
	return best
}

// last marks the rules of list, which match but for being for folders only, and returns the last of them or best, whichever is later.
func (s *Set) last(list []int32, dir bool, best int) int {
	for _, n := range list {
		if r := s.rules[n]; dir || !r.dirOnly {
			r.mark()
			best = max(best, int(n))
		}
	}
	return best
}

// Covers is Match for a path out of its walk: it is chosen, too, if a folder above it is. The rule is then that folder's.
func (s *Set) Covers(path []byte, dir bool) (chosen bool, rule int) {
	if s.Empty() {
		return false, -1
	}
	if s.fold {
		var buf [foldBuffer]byte
		return s.covers(appendFold(buf[:0], path), dir)
	}
	return s.covers(path, dir)
}

func (s *Set) covers(path []byte, dir bool) (bool, int) {
	if len(path) > 0 {
		if chosen, n := s.match(nil, true); chosen {
			return true, n
		}
	}
	for i, c := range path {
		if c == '/' {
			if chosen, n := s.match(path[:i], true); chosen {
				return true, n
			}
		}
	}
	return s.match(path, dir)
}

// Reach is what can be chosen below a folder.
type Reach uint8

const (
	Nothing    Reach = iota // no path below is chosen
	Something               // some may be
	Everything              // every path below is chosen
)

// Below tells what Covers can say of paths below the folder dir, so that a walk can leave it out: one that skips what is chosen where it says Everything,
// one that wants what is chosen where it says Nothing. In doubt it says Something.
func (s *Set) Below(dir []byte) Reach {
	if s.Empty() {
		return Nothing
	}
	var buf [foldBuffer]byte
	child := buf[:0]
	if s.fold {
		child = appendFold(child, dir)
	} else {
		child = append(child, dir...)
	}
	if chosen, _ := s.covers(child, true); chosen {
		return Everything
	}
	dir = child
	if len(dir) > 0 {
		child = append(child, '/')
	}
	child = append(child, 'x') // stands for any child: a rule with all matches each of them or none
	reach := Nothing
	for _, r := range s.rules {
		switch {
		case r.Negated:
			if reach == Everything && r.reaches(dir) {
				reach = Something
			}
		case r.all && r.match(child):
			reach = Everything
		case reach == Nothing && r.reaches(dir):
			reach = Something
		}
	}
	return reach
}

// rule is a compiled pattern.
type rule struct {
	Rule
	dirOnly  bool
	floating bool // held against the last component; parts has one
	root     bool // chooses the root itself
	all      bool // chooses either all children of a folder or none
	parts    []part
	matched  atomic.Bool
}

func (r *rule) clone() *rule {
	return &rule{Rule: r.Rule, dirOnly: r.dirOnly, floating: r.floating, root: r.root, all: r.all, parts: r.parts}
}

// mark remembers that r matched, without writing where that is known.
func (r *rule) mark() {
	if !r.matched.Load() {
		r.matched.Store(true)
	}
}

// literal returns the path that r matches if it is the only one, else nil.
func (r *rule) literal() []byte {
	if r.floating {
		return nil
	}
	var path []byte
	for i := range r.parts {
		if r.parts[i].kind != partLiteral {
			return nil
		}
		if i > 0 {
			path = append(path, '/')
		}
		path = append(path, r.parts[i].lit...)
	}
	return path
}
