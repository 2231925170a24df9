package glob

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func parse(t testing.TB, lines ...string) *Set {
	t.Helper()
	return parseWith(t, Options{}, lines...)
}

func parseWith(t testing.TB, o Options, lines ...string) *Set {
	t.Helper()
	s, err := o.Parse(lines, "test")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestMatch(t *testing.T) {
	tests := []struct {
		patterns string // joined by |
		yes, no  string // paths joined by |; a slash at the end marks a folder
	}{
		{"dir2", "dir2|dir2/|a/dir2/|a/b/dir2", "dir|dir22|a/xdir2|dir2/a"},
		{"*.o", "a.o|.o|x/y.o|x.o/", "a.oo|a.o/b|o"},
		{"core*", "core|core.12|a/corex", "ecore"},
		{"/a", "a|a/", "b/a"},
		{"a/b", "a/b|a/b/", "x/a/b|a/b/c|ab"},
		{"build/", "build/|x/build/", "build|x/build"},
		{"a/b/", "a/b/", "a/b"},
		{"*", "a|a/b|.x", ""},
		{"**", "a|a/b|.x", ""},
		{"**/", "a/|a/b/", "a|a/b"},
		{"/*", "a|a/", "a/b"},
		{"/*/x", "a/x", "x|a/b/x"},
		{"**/x", "x|a/x|a/b/x", "xx|a/xx"},
		{"a/**", "a/b|a/b/c", "a|a/|b/a/c"},
		{"a/**/b", "a/b|a/x/b|a/x/y/b", "ab|a/xb|a/b/c|x/a/b"},
		{"**/a/**/b/**/c", "a/b/c|x/a/y/b/z/c|a/b/b/a/c", "a/c|b/a/c"},
		{"a/**/**/b", "a/b|a/x/b", "a"},
		{"***/x", "x|a/x", ""},
		{"a**b", "ab|axxb|x/axb", "a/b|a/x/b"},
		{"?", "a|é|x/b|\xff", "ab|\xff\xff"},
		{"[a-c]x", "ax|cx", "dx|x"},
		{"[!a-c]x", "dx|éx|-x", "ax|x"},
		{"[^a]", "b", "a"},
		{"[]a]|[!]b]c", "]|a|xc", "b|]c|bc"},
		{"[a-]x|[-b]y", "ax|-x|-y|by", "bx"},
		{`[\]\\]x`, `]x|\x`, "ax"},
		{"[[:digit:][:upper:]_]", "5|Q|_", "q|:"},
		{"[é-í]", "é|ì|í", "e|î|\xc3"},
		{`\!a|\#b|\*|a\ |[*]x`, "!a|#b|*|a |*x", "a|ax|yx"},
		{"a b  ", "a b", "a b  "},
		{`a\  `, "a ", "a|a  "},
		{"*.o|!keep.o", "a.o", "keep.o|x/keep.o"},
		{"!a|a", "a", ""},
		{"a|!a|a/", "a/", "a"},
		{"*a*b*c*", "abc|xaxbxcx|aabbcc", "acb|ab"},
		{"*.tar.gz|*.gz", "a.gz|a.tar.gz|.gz", "gz"},
		{"# comment||x\r", "x", "# comment|x\r"},
	}
	for _, test := range tests {
		s := parse(t, strings.Split(test.patterns, "|")...)
		for want, list := range map[bool]string{true: test.yes, false: test.no} {
			for path := range strings.SplitSeq(list, "|") {
				if list == "" {
					continue
				}
				name, dir := strings.CutSuffix(path, "/")
				if got, rule := s.Match([]byte(name), dir); got != want {
					t.Errorf("%q and path %q: %v by rule %d", test.patterns, path, got, rule)
				}
			}
		}
		if chosen, rule := s.Match(nil, true); chosen || rule != -1 {
			t.Errorf("%q choose the root", test.patterns)
		}
	}
}

func TestCovers(t *testing.T) {
	s := parse(t, "a/b", "!a/b/keep", "*.tmp", "!*.tmp", "logs/", "!x")
	for path, want := range map[string]struct {
		chosen bool
		rule   int
	}{
		"a/b/keep": {true, 0}, "a": {false, -1}, "a/b/c/d": {true, 0}, "q.tmp": {false, 3}, "q.tmp/y": {false, -1},
		"logs": {false, -1}, "logs/x": {true, 4}, "x": {false, 5},
	} {
		if chosen, rule := s.Covers([]byte(path), false); chosen != want.chosen || rule != want.rule {
			t.Errorf("%q: %v by rule %d instead of %v", path, chosen, rule, want)
		}
	}
}

func TestRoot(t *testing.T) {
	tests := []struct{ root, pattern, yes, no string }{
		{"/home/x", "/home/x/dir2", "dir2", "a/dir2|home/x/dir2"},
		{"/home/x/", "/home/x/dir2/", "dir2/", "dir2"},
		{"/home/x", "/home/x/*.o", "a.o", "b/a.o"},
		{"/home/x", "/home/x/**/c", "c|a/c", "a/cc"},
		{"/home/x", "/home/*/cache", "cache", "a/cache"},
		{"/home/x", "/*/x/dir", "a/x/dir", "dir"},
		{"/home/x", "/home/xy", "home/xy", "y"},
		{"/home/x", "/dir2", "dir2", "a/dir2"},
		{"/home/x", "home/x/dir2", "home/x/dir2", "dir2"},
		{"/home/x", "/home/x", "/|a|a/b", ""},
		{"/home/x", "/home/x/", "/|a|a/b", ""},
		{"/home/[x]", "/home/[[]x]/a", "a", "home/[x]/a"},
		{"/", "/etc/passwd", "etc/passwd", "passwd"},
		{"C:/Users/x", "C:/Users/x/dir", "dir", "Users/x/dir"},
		{"C:/Users/x", "/dir", "dir", "a/dir"},
	}
	for _, test := range tests {
		s := parseWith(t, Options{Root: test.root}, test.pattern)
		for want, list := range map[bool]string{true: test.yes, false: test.no} {
			for path := range strings.SplitSeq(list, "|") {
				name, dir := strings.CutSuffix(path, "/")
				if got, _ := s.Covers([]byte(name), dir); got != want && list != "" {
					t.Errorf("root %q, pattern %q, path %q: %v", test.root, test.pattern, path, got)
				}
			}
		}
	}
	fold := parseWith(t, Options{Root: "c:/users/X", FoldCase: true}, "C:/Users/x/Dir")
	if chosen, _ := fold.Match([]byte("DIR"), false); !chosen {
		t.Error("root with another case")
	}
}

func TestFoldCase(t *testing.T) {
	s := parseWith(t, Options{FoldCase: true}, "Readme", "*.JPG", "ÄB[c-d]?", "/Σa/ſ", "[!x]-", "K*")
	long := strings.Repeat("x/", foldBuffer) + "rEADME"
	for path, want := range map[string]bool{
		"README": true, "a/readme": true, "x.jpg": true, "x.Jpg": true, "äbCx": true, "äBdX": true, "äbe1": false, "ςA/S": true, "σA/s": true,
		"y-": true, "X-": false, "x-": false, "\u212aelvin": true, "kel": true, long: true,
	} {
		if got, _ := s.Match([]byte(path), false); got != want {
			t.Errorf("%.40q: %v", path, got)
		}
	}
	if got, _ := parse(t, "Readme").Match([]byte("README"), false); got {
		t.Error("case is not regarded")
	}
}

func TestBelow(t *testing.T) {
	tests := []struct {
		patterns string
		want     map[string]Reach
	}{
		{"", map[string]Reach{"": Nothing, "a": Nothing}},
		{"a/b/*.go", map[string]Reach{"": Something, "a": Something, "a/b": Something, "a/b/c": Nothing, "b": Nothing}},
		{"a", map[string]Reach{"": Something, "a": Everything, "a/b": Everything, "b": Something}},
		{"/a", map[string]Reach{"": Something, "a": Everything, "a/b": Everything, "b": Nothing}},
		{"/a/**", map[string]Reach{"a": Everything, "a/b": Everything, "b": Nothing, "": Something}},
		{"/a/**|!/a/b/c", map[string]Reach{"a": Something, "a/x": Everything, "b": Nothing}},
		{"/a/**|!*.keep", map[string]Reach{"a": Something, "b": Nothing}},
		{"!*.keep|/a/**", map[string]Reach{"a": Everything}},
		{"/a|!/a/b", map[string]Reach{"a": Everything, "a/b": Everything}},
		{"/a/**/b", map[string]Reach{"a": Something, "a/x": Something, "a/b": Everything, "x": Nothing}},
		{"*", map[string]Reach{"": Everything}},
		{"*/", map[string]Reach{"": Something}},
		{"*|!*/", map[string]Reach{"": Something, "a": Something}},
		{"!a", map[string]Reach{"": Nothing, "a": Nothing}},
	}
	for _, test := range tests {
		s := parse(t, strings.Split(test.patterns, "|")...)
		for dir, want := range test.want {
			if got := s.Below([]byte(dir)); got != want {
				t.Errorf("%q below %q: %v instead of %v", test.patterns, dir, got, want)
			}
		}
	}
	fold := parseWith(t, Options{FoldCase: true}, "/a/b/c")
	if fold.Below([]byte("A")) != Something || fold.Below([]byte("A/C")) != Nothing {
		t.Error("case is regarded below")
	}
}

func TestErrors(t *testing.T) {
	for pattern, reason := range map[string]string{
		"[a": "without", `a\`: "backslash", "a//b": "empty", "//a": "empty", "a//": "empty", "/": "nothing", "!": "nothing", "!/": "nothing", "./a": ". or ..",
		"a/../b": ". or ..", "[[:nope:]]": "class", "[a/b]": "without", "[": "without", "[]": "without", "[!]": "without", `[\`: "without", "a\x00b": "zero",
		strings.Repeat("a", MaxPattern+1): "longer",
	} {
		_, err := Parse([]string{"fine", pattern}, "list.txt")
		var e *PatternError
		if !errors.As(err, &e) || e.Line != 2 || e.Origin != "list.txt" || !strings.Contains(e.Reason, reason) {
			t.Errorf("%.40q: error %v", pattern, err)
		}
	}
	_, err := Parse([]string{"a//b"}, "")
	if want := `line 1: pattern "a//b": has an empty component`; err == nil || err.Error() != want {
		t.Errorf("error %v instead of %s", err, want)
	}
	if _, err := Parse(make([]string, MaxRules+5), ""); err != nil {
		t.Errorf("empty lines count: %v", err)
	}
	if _, err := Parse(strings.Split(strings.Repeat("a\n", MaxRules)+"a", "\n"), ""); err == nil {
		t.Error("too many patterns are taken")
	}
}

func TestUnmatched(t *testing.T) {
	s := parse(t, "*.o", "never", "build/", "x[1-3]", "!keep.o", "*.o")
	for _, path := range []string{"a.o", "build", "x2", "keep.o"} {
		s.Match([]byte(path), false)
	}
	got := []string{}
	for _, r := range s.Unmatched() {
		got = append(got, fmt.Sprint(r.Line, r.Pattern))
	}
	if fmt.Sprint(got) != "[2never 3build/]" {
		t.Errorf("unmatched: %q", got)
	}
	if rules := s.Rules(); len(rules) != 6 || !rules[4].Negated || rules[4].Pattern != "!keep.o" || rules[4].Origin != "test" {
		t.Errorf("rules: %v", rules)
	}
	hidden := parse(t, "[a]*", "a?", "a*")
	hidden.Match([]byte("ab"), false)
	if u := hidden.Unmatched(); len(u) != 0 {
		t.Errorf("rules behind a later one count as unmatched: %v", u)
	}
}

func TestEmptyAndJoin(t *testing.T) {
	var none *Set
	if !none.Empty() || !parse(t, "", "# x").Empty() || parse(t, "x").Empty() || !Join().Empty() || !Join(none, nil).Empty() {
		t.Error("empty sets")
	}
	if chosen, rule := none.Match([]byte("a"), false); chosen || rule != -1 {
		t.Error("an empty set chooses")
	}
	if none.Below(nil) != Nothing || none.Rules() != nil {
		t.Error("an empty set reaches")
	}
	a, b := parse(t, "*.o", "x"), parse(t, "!a.o")
	a.Match([]byte("x"), false)
	s := Join(a, none, b)
	if chosen, rule := s.Match([]byte("a.o"), false); chosen || rule != 2 {
		t.Errorf("joined: %v by %d", chosen, rule)
	}
	if len(s.Unmatched()) != 1 || len(a.Unmatched()) != 1 {
		t.Error("a joined set shares its memory")
	}
}

func TestNoAllocation(t *testing.T) {
	lines := []string{"*.o", "node_modules", "/a/b/c", "core*", "x[1-9]*", "**/tmp/*", "!keep", "build/", "é?"}
	path := []byte("some/where/in/the/tree/with/a/file-Name.Txt")
	for _, fold := range []bool{false, true} {
		s := parseWith(t, Options{FoldCase: fold}, lines...)
		if n := testing.AllocsPerRun(100, func() {
			s.Match(path, false)
			s.Covers(path, true)
			s.Below(path)
		}); n != 0 {
			t.Errorf("fold %v: %v allocations", fold, n)
		}
	}
}

// TestHostile: many stars must not take exponential time.
func TestHostile(t *testing.T) {
	s := parse(t, strings.Repeat("*a", 1000)+"b", strings.Repeat("**/a/", 500)+"b", "/"+strings.Repeat("*?", 100)+"/x")
	s.Match([]byte(strings.Repeat("a", 4000)), false)
	s.Match([]byte(strings.Repeat("a/", 2000)+"c"), false)
}

func FuzzMatch(f *testing.F) {
	for _, seed := range []string{"*.o\n!x", "a/**/b/\n[!a-z]?", `\#x` + "\n[[:alpha:]]*", "/r/o/x\n**", "é[à-ü]\n\xff*"} {
		f.Add(seed, "a/b/x.o", true)
	}
	f.Fuzz(func(t *testing.T, text, path string, fold bool) {
		if len(text) > 2000 || len(path) > 2000 {
			return
		}
		s, err := Options{Root: "/r/o", FoldCase: fold}.Parse(strings.Split(text, "\n"), "")
		if err != nil {
			return
		}
		p := []byte(path)
		chosen, rule := s.Match(p, true)
		if rule >= len(s.Rules()) || chosen && (rule < 0 || s.Rules()[rule].Negated) {
			t.Fatalf("chosen %v by rule %d", chosen, rule)
		}
		covered, _ := s.Covers(p, true)
		if chosen && !covered {
			t.Fatal("matched but not covered")
		}
		if string(p) != path {
			t.Fatal("the path was changed")
		}
		if i := strings.LastIndexByte(path, '/'); i > 0 && !strings.Contains(path, "//") && path[0] != '/' && path[len(path)-1] != '/' {
			switch s.Below(p[:i]) {
			case Nothing:
				if covered {
					t.Fatalf("%q is covered, but nothing below its folder is", path)
				}
			case Everything:
				if !covered {
					t.Fatalf("%q is not covered, but everything below its folder is", path)
				}
			}
		}
		if folded := appendFold(nil, p); len(folded) > len(p) || utf8.Valid(p) && !utf8.Valid(folded) {
			t.Fatalf("%q folds to %q", p, folded)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	lines := []string{"*.o", "*.pyc", "node_modules", ".cache/", "/var/tmp", "core*", "**/Trash/*", "*.sw[a-p]", "!keep.o"}
	path := []byte("home/someone/projects/firn/internal/glob/glob_test.go")
	for _, fold := range []bool{false, true} {
		b.Run(fmt.Sprintf("fold=%v", fold), func(b *testing.B) {
			s := parseWith(b, Options{FoldCase: fold}, lines...)
			b.ReportAllocs()
			for b.Loop() {
				s.Match(path, false)
			}
		})
	}
}
