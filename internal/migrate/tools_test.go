package migrate

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/config"
	"firn/internal/glob"
	"firn/internal/source"
)

var toolOptions = ToolOptions{Repository: "s3://bucket/nas", Folder: "/etc/firn/secrets"}

type importer func(name string, raw []byte, o ToolOptions) (*Result, error)

var importers = map[string]importer{"borgmatic": Borgmatic, "restic": Restic, "duplicity": Duplicity}

// importerOf finds the one that a file of testdata is for.
func importerOf(t testing.TB, file string) importer {
	for tool, f := range importers {
		if strings.Contains(filepath.Base(file), "."+tool) {
			return f
		}
	}
	t.Fatal(file)
	return nil
}

// accepted reads a result as firn does.
func accepted(t testing.TB, r *Result) *config.Config {
	t.Helper()
	dump := []source.Setting{{Name: "host", Value: "HOST"}, {Name: "port", Value: "N"}, {Name: "user", Value: "NAME"}, {Name: "socket", Value: "FILE"}, {Name: "format", Value: "custom|plain"},
		{Name: "dump_options", Value: "OPTIONS"}, {Name: "programs", Value: "FOLDER"}}
	kinds := []config.Kind{{Name: "dir", Rest: "PATH"}, {Name: "postgres", Rest: "DATABASE|all", Settings: dump}, {Name: "mysql", Rest: "DATABASE|all", Settings: dump},
		{Name: "command", Rest: "COMMAND", Settings: []source.Setting{{Name: "command", Value: "COMMAND"}}}}
	env := func(string) (string, bool) { return "/home/me", true }
	c, err := config.Parse("firn.toml", []byte(r.TOML), kinds, env)
	if err != nil {
		t.Fatalf("%v in\n%s", err, r.TOML)
	}
	if len(c.Sources) != r.Sources {
		t.Errorf("%d sources, said %d", len(c.Sources), r.Sources)
	}
	return c
}

func TestTools(t *testing.T) {
	files, err := filepath.Glob("testdata/tools/*[a-z]")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		if strings.HasSuffix(file, ".golden") {
			continue
		}
		n++
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r, err := importerOf(t, file)(file, raw, toolOptions)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		accepted(t, r)
		got := show(r)
		for _, s := range r.Secrets {
			got += "secret " + s.Name + ": " + s.Value + "\n"
			if strings.Contains(show(r), s.Value) {
				t.Errorf("%s: %q is printed", file, s.Value)
			}
		}
		for _, secret := range []string{"hunter22", "topsecretkey", "secretword", "restpw", "sftppw", "verysecret", "tk_secret"} {
			if strings.Contains(show(r), secret) {
				t.Errorf("%s: %q is printed", file, secret)
			}
		}
		if *update {
			if err := os.WriteFile(file+".golden", []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file + ".golden")
		if err != nil || got != string(want) {
			t.Errorf("%s (%v):\n%s", file, err, got)
		}
	}
	if n < 5 {
		t.Errorf("%d files", n)
	}
}

// TestReversed compares lists in which the first pattern that matches decides with what is made of them, path by path.
func TestReversed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "b", "c"}
	var paths []string
	for _, x := range names {
		paths = append(paths, "/"+x)
		for _, y := range names {
			paths = append(paths, "/"+x+"/"+y)
			for _, z := range names {
				paths = append(paths, "/"+x+"/"+y+"/"+z)
			}
		}
	}
	for range 3000 {
		var all []choice
		for range 1 + random.IntN(4) {
			all = append(all, choice{take: random.IntN(2) == 0, pattern: paths[random.IntN(len(paths))]})
		}
		set, err := glob.Parse(reversed(all), "x")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			if len(p) < 6 {
				continue // files only: folders are there if something in them is
			}
			want := false
			for _, c := range all {
				if within(p, c.pattern) {
					want = !c.take
					break
				}
			}
			if got, _ := set.Covers([]byte(p[1:]), false); got != want {
				t.Fatalf("%s in %+v: left out %v, want %v (%q)", p, all, got, want, reversed(all))
			}
		}
	}
}

func TestBorgPatterns(t *testing.T) {
	for said, want := range map[string]string{
		"*.pyc": "*.pyc", "*/.cache": "**/.cache", "/home/*/.cache": "/home/*/**/.cache", "home/x": "/home/x", "/etc/": "/etc/*", "sh:**/x": "**/x", "sh:home/*/x": "/home/*/x", "pp:/a*b": `/a\*b`, `re:\.o$`: "*.o",
		"re:/tmp/": "tmp", "re:^home/x$": "/home/x", "re:(a|b)": "", "~/x": "", "fm:*": "*", "re:.*": "", "": "", "/": "", "re:a/b$": "",
	} {
		d := newDraft("borgmatic", "x", toolOptions)
		got, ok := d.borgPattern(1, said, "fm")
		if got != want || ok != (want != "") || !ok && len(d.list) != 1 {
			t.Errorf("%q: %q, %v, want %q (%v)", said, got, ok, want, d.list)
		}
	}
}

func TestShell(t *testing.T) {
	for text, want := range map[string]string{
		`a "b c" 'd $x'`:                       `a|b c|d $x`,
		"a b\\\n c":                            "a|b|c",
		"X=1; a $X\"$X\"${X}":                  "a|111",
		"X='1 2'; a $X \"$X\"":                 "a|1|2|1 2",
		"A=(1 '2 3'); A+=(4); a \"${A[@]}\" z": "a|1|2 3|4|z",
		"a x{1,2{3,4}} {q} {}":                 "a|x1|x23|x24|{q}|{}",
		"a ${Y:-d}$Z":                          "a|d?",
		"a `b` $(c \"d)\" e) f":                "a|?|?|f",
		"a # b":                                "a",
		"a#b \\#c":                             "a#b|#c",
		"a >x 2>&1 <y b":                       "a|b",
		"a <<E\nb\nE\nc":                       "a/c",
		"if a; then b; else c; fi":             "a/b/c",
		"a | b && c || d; e & f":               "a/b/c/d/e/f",
		"X=1 a":                                "a",
		"export X=1 Y=2; a $X$Y":               "a|12",
		"X=a; X+=b; c $X":                      "c|ab",
		"for x in 1 2; do a $x; done; b":       "a|?/b",
		"f() { a; }":                           "f/a",
		"a $":                                  "a|$",
		"a '":                                  "a|",
		"a \"":                                 "a|",
		"a $( ":                                "a|?",
		"a ${":                                 "a|?",
		"a >\nb >":                             "a/b",
		"read X; a $X $1 $@":                   "a|?|?|?",
	} {
		var got []string
		scripts(text, func(_ *shell, c *command) {
			var words []string
			for _, w := range c.words {
				if w.doubt != "" {
					w.text += "?"
				}
				words = append(words, w.text)
			}
			got = append(got, strings.Join(words, "|"))
		}, func(int, string, ...any) {})
		if strings.Join(got, "/") != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestToolsBad(t *testing.T) {
	for _, c := range []struct{ tool, text, want string }{
		{"borgmatic", "", "no options"}, {"borgmatic", "- a", "no options"}, {"borgmatic", "a: [", "x: "}, {"borgmatic", "keep_daily: 7", "nothing to back up"}, {"borgmatic", "a: \xff", "UTF-8"},
		{"borgmatic", "source_directories: [/a]\na: &a [" + strings.Repeat("x,", 1000) + "x]\npostgresql_databases: [" + strings.Repeat("*a,", 10) + "*a]", ""},
		{"restic", "", "does not call restic"}, {"restic", "echo restic backup /x", "does not call"}, {"restic", "restic backup $X", "nothing to back up"}, {"restic", "restic", "nothing to back up"},
		{"restic", "a >", "does not call"}, {"restic", "15 6 * * * root A=1", "does not call"}, {"restic", "restic backup >", "nothing to back up"},
		{"duplicity", "duplicity /x", "nothing to back up"}, {"duplicity", "duplicity $A $B", "nothing to back up"},
		{"restic", "A=xxxxxxxxxxxxxxxx\n" + strings.Repeat("A=$A$A\n", 60) + "restic backup $A", "nothing to back up"},
		{"restic", "restic backup " + strings.Repeat("{a,b}", 40), "nothing to back up"},
	} {
		_, err := importers[c.tool]("x", []byte(c.text), toolOptions)
		var typed *Error
		if c.want != "" && (!errors.As(err, &typed) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s %.60q: %v, want %q", c.tool, c.text, err, c.want)
		}
	}
}

// TestBorgmaticNothingSilent gives each option of its schema that is not taken over a value, and looks for it in the notes.
func TestBorgmaticNothingSilent(t *testing.T) {
	for name := range borgKnown {
		r, err := Borgmatic("x", []byte("source_directories: [/x]\n"+name+": 1\n"), toolOptions)
		if err != nil || !strings.Contains(show(r), "\n2: "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func fuzzTool(f *testing.F, tool string) {
	files, _ := filepath.Glob("testdata/tools/*." + tool + "*")
	for _, file := range files {
		if raw, err := os.ReadFile(file); err == nil && !strings.HasSuffix(file, ".golden") {
			f.Add(raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := importers[tool]("x", raw, toolOptions)
		if err != nil {
			return
		}
		accepted(t, r)
		for _, s := range r.Secrets {
			if s.Name != filepath.Base(s.Name) || strings.HasPrefix(s.Name, ".") {
				t.Errorf("%q is no name of a file", s.Name)
			}
		}
	})
}

func FuzzBorgmatic(f *testing.F) { fuzzTool(f, "borgmatic") }
func FuzzRestic(f *testing.F)    { fuzzTool(f, "restic") }
func FuzzDuplicity(f *testing.F) { fuzzTool(f, "duplicity") }
