package source

import (
	"path"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscapeName(t *testing.T) {
	for name, want := range map[string]string{
		"shop":          "shop",
		"my shop":       "my shop",
		"a/b":           "a%2Fb",
		"100%":          "100%25",
		"..":            "%2E%2E",
		".":             "%2E",
		"...":           "%2E.%2E",
		".hidden":       "%2Ehidden",
		"-x":            "%2Dx",
		" x ":           "%20x%20",
		"new\nline":     "new%0Aline",
		`"q" 'q'`:       `%22q%22 'q'`,
		"größe":         "größe",
		"\xff":          "%FF",
		"\uFFFD":        "\uFFFD",
		"globals":       "%67lobals",
		"globals.sql":   "globals.sql",
		"a:b*c?d<e>f|g": "a%3Ab%2Ac%3Fd%3Ce%3Ef%7Cg",
		"":              "",
	} {
		got := EscapeName(name, ".sql", "globals.sql")
		if got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
		if back, ok := UnescapeName(got); !ok || back != name {
			t.Errorf("%q: %q, %v", got, back, ok)
		}
	}
	for _, text := range []string{"%", "%2", "%2f", "%zz", "%41%42", "a/b", "..", "a%41"} {
		if name, ok := UnescapeName(text); ok {
			t.Errorf("%q is %q", text, name)
		}
	}
}

func FuzzEscapeName(f *testing.F) {
	for _, s := range []string{"", "a", "%", "%2F", "..", "a/b", "\xff\xfe", "größe ", "\uFFFD", "x\x00y"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, reserved := range [][]string{nil, {EscapeName(name, ".x") + ".x"}} {
			text := EscapeName(name, ".x", reserved...)
			if name != "" && (path.Clean(text) != text || text == "." || text == "..") || strings.ContainsAny(text, "/\\\x00\n") || !utf8.ValidString(text) {
				t.Fatalf("%q became %q", name, text)
			}
			if len(reserved) > 0 && name != "" && text+".x" == reserved[0] && text[0] != '%' {
				t.Fatalf("%q became %q, which is reserved", name, text)
			}
			if back, ok := UnescapeName(text); !ok || back != name {
				t.Fatalf("%q became %q became %q, %v", name, text, back, ok)
			}
		}
		if back, ok := UnescapeName(name); ok && EscapeName(back, "") != name && EscapeName(back, "", EscapeName(back, "")) != name {
			t.Fatalf("%q is taken for %q", name, back)
		}
	})
}

func TestNames(t *testing.T) {
	known := []Setting{{Name: "exclude"}}
	s := NewSettings(known, map[string]string{"exclude": "test*, tmp,a?c, [x]"})
	n := s.Names("exclude")
	for name, want := range map[string]bool{"test": true, "test/1": true, "tmp": true, "tmp2": false, "abc": true, "abcd": false, "x": true, "": false} {
		if n.Match(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	if s = NewSettings(known, map[string]string{"exclude": "a,[b"}); s.Names("exclude") != nil || s.Err() == nil {
		t.Error("a bad pattern is accepted")
	}
	if n := NewSettings(known, nil).Names("exclude"); n.Match("") || n.Match("a") {
		t.Error("nothing excludes something")
	}
}
