package glob

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestAgainstGit holds random patterns against random paths and asks git whether it decides alike, by the same pattern.
func TestAgainstGit(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil || runtime.GOOS == "windows" {
		if os.Getenv("CI") == "true" && runtime.GOOS != "windows" {
			t.Fatal("git is not installed")
		}
		t.Skip("needs git and a file system that takes any name")
	}
	for _, fold := range []bool{false, true} {
		t.Run(fmt.Sprintf("fold=%v", fold), func(t *testing.T) {
			g := newGit(t, fold)
			r := rand.New(rand.NewPCG(11, 12))
			rounds := 150
			if testing.Short() {
				rounds = 20
			}
			for range rounds {
				var lines []string
				for range 1 + r.IntN(5) {
					lines = append(lines, randomPattern(r))
				}
				g.compare(t, lines)
			}
			for _, lines := range [][]string{
				{"a*", "!ab", "/ab/foo"}, {"*", "!*/", "!*.o"}, {"/*", "!/foo"}, {"foo/**", "!foo/ab"}, {`\!n`, `\#h`, `x\ y`, "x y  "}, {`[[]c]`}, {"**/foo/**/a"},
			} {
				g.compare(t, lines)
			}
		})
	}
}

type git struct {
	dir   string
	fold  bool
	paths []string // a folder ends in a slash
}

var treeNames = []string{"a", "b", "ab", "Ab", "foo", "foo.o", "b.o", ".x", "x y", "#h", "!n", "[c]", "a*", "+", "a-b", "Z9"}

func newGit(t *testing.T, fold bool) *git {
	g := &git{dir: t.TempDir(), fold: fold}
	g.run(t, "", "init", "-q")
	r := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		at := ""
		for range r.IntN(4) {
			at += treeNames[r.IntN(len(treeNames))] + "/"
		}
		file := at + treeNames[r.IntN(len(treeNames))]
		if os.MkdirAll(filepath.Join(g.dir, at), 0o777) != nil {
			continue // a file stands in the way
		}
		if _, err := os.Lstat(filepath.Join(g.dir, file)); err == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(g.dir, file), nil, 0o666); err != nil {
			t.Fatal(err)
		}
		g.paths = append(g.paths, file)
		for i := range len(at) {
			if at[i] == '/' {
				g.paths = append(g.paths, at[:i+1])
			}
		}
	}
	slices.Sort(g.paths)
	g.paths = slices.Compact(g.paths)
	return g
}

func (g *git) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "core.ignorecase=" + strconv.FormatBool(g.fold), "-c", "core.excludesFile="}, args...)...)
	cmd.Dir = g.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_CEILING_DIRECTORIES="+filepath.Dir(g.dir), "LC_ALL=C")
	cmd.Env = slices.DeleteFunc(cmd.Env, func(s string) bool { return strings.HasPrefix(s, "GIT_DIR=") || strings.HasPrefix(s, "GIT_WORK_TREE=") })
	cmd.Stdin = strings.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: nothing is ignored
		t.Fatalf("git %q: %v: %s", args, err, stderr.String())
	}
	return string(out)
}

// compare checks every path of the tree.
func (g *git) compare(t *testing.T, lines []string) {
	t.Helper()
	s, err := Options{FoldCase: g.fold}.Parse(lines, "")
	if err != nil {
		return // git would take it and never match
	}
	if err := os.WriteFile(filepath.Join(g.dir, ".git", "info", "exclude"), []byte(strings.Join(lines, "\n")+"\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	var stdin strings.Builder
	for _, p := range g.paths {
		stdin.WriteString("./" + strings.TrimSuffix(p, "/") + "\x00")
	}
	fields := strings.Split(g.run(t, stdin.String(), "check-ignore", "--no-index", "-v", "-n", "-z", "--stdin"), "\x00")
	if len(fields) != 4*len(g.paths)+1 {
		t.Fatalf("git answers %d fields for %d paths", len(fields), len(g.paths))
	}
	for i, p := range g.paths {
		want, _ := strconv.Atoi(fields[4*i+1]) // line; 0: no pattern
		name, dir := strings.CutSuffix(p, "/")
		chosen, rule := s.Covers([]byte(name), dir)
		got := 0
		if rule >= 0 {
			got = s.Rules()[rule].Line
		}
		if got != want || chosen != (want > 0 && !strings.HasPrefix(fields[4*i+2], "!")) {
			t.Errorf("patterns %q, path %q: line %d, in git line %d", lines, p, got, want)
		}
	}
}

// randomPattern stays clear of two oddities of git: ** beside other characters in a pattern with slashes, which it reads as if the literal before it were a
// whole component, and a ? or class held against one byte of a character.
func randomPattern(r *rand.Rand) string {
	var parts []string
	for range 1 + r.IntN(3)*r.IntN(2) {
		parts = append(parts, randomPart(r))
	}
	p := strings.Join(parts, "/")
	if r.IntN(4) == 0 {
		p = "/" + p
	}
	if r.IntN(4) == 0 {
		p += "/"
	}
	if p[0] == '#' || p[0] == '!' {
		p = `\` + p
	}
	if r.IntN(4) == 0 {
		p = "!" + p
	}
	return p
}

func randomPart(r *rand.Rand) string {
	switch r.IntN(10) {
	case 0:
		return "**"
	case 1:
		return "*"
	case 2, 3, 4:
		name := treeNames[r.IntN(len(treeNames))]
		return strings.NewReplacer("[", `\[`, "*", `\*`).Replace(name)
	}
	pieces := []string{"a", "b", "f", "o", ".", "*", "?[ -~]", "[ab]", "[!a]", "[^b-z]", "[[:alpha:]]", "[A-Z]", "[]!c]", `\a`, "[[:upper:]b]", "[a-]", "*.o", "foo", "[ -~]"}
	var p strings.Builder
	for range 1 + r.IntN(4) {
		piece := pieces[r.IntN(len(pieces))]
		if piece[0] == '*' && strings.HasSuffix(p.String(), "*") {
			continue
		}
		p.WriteString(piece)
	}
	return p.String()
}
