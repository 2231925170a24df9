package tidy

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// maxLines is how long a function may be, from its first line to its closing brace.
const maxLines = 70

// badNames say nothing about what a package does.
var badNames = []string{"util", "utils", "common", "helper", "helpers", "type", "types", "manager", "data", "global", "globals", "misc", "base"}

// touching are the packages of floor 1 that touch the world all the same, since adapters, which share them, may not import one another.
var touching = map[string]bool{"program": true}

// impure are the packages that floors 0 and 1 stay away from: disk, network, processes. The clock is looked for by call.
var impure = []string{"os", "os/exec", "os/signal", "io/ioutil", "net", "net/http", "syscall", "golang.org/x/sys/unix", "golang.org/x/sys/windows"}

// check applies every rule for Go files.
func (f *file) check(known map[string]int) []string {
	if f.tree == nil {
		return nil
	}
	out := f.checkPlace(known)
	out = append(out, f.checkImports(known)...)
	out = append(out, f.checkShape()...)
	if floor, ok := known[f.pkg]; ok && !f.test {
		if floor < 5 {
			out = append(out, f.checkVoice()...)
		}
		if floor <= 1 && !touching[f.pkg] {
			out = append(out, f.checkClock()...)
		}
	}
	return out
}

func (f *file) at(n ast.Node, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.name, f.fset.Position(n.Pos()).Line, fmt.Sprintf(format, args...))
}

// checkPlace: every package is in the table, and is named for its job.
func (f *file) checkPlace(known map[string]int) (out []string) {
	if _, ok := known[f.pkg]; !ok {
		out = append(out, f.at(f.tree.Name, "package %s is not in the table of floors", f.pkg))
	}
	name := strings.TrimSuffix(f.tree.Name.Name, "_test")
	if slices.Contains(badNames, name) || slices.Contains(badNames, path.Base(f.pkg)) {
		out = append(out, f.at(f.tree.Name, "package name %s does not say what it does", name))
	}
	if name != "main" && name != path.Base(f.pkg) {
		out = append(out, f.at(f.tree.Name, "package %s lies in folder %s", name, f.pkg))
	}
	return out
}

// checkImports: imports run down.
func (f *file) checkImports(known map[string]int) (out []string) {
	mine, ok := known[f.pkg]
	for _, spec := range f.tree.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		if ok && mine <= 1 && !f.test && !touching[f.pkg] && slices.Contains(impure, p) {
			out = append(out, f.at(spec, "floor %d touches no disk, network or process, so does not import %s", mine, p))
		}
		rel, local := strings.CutPrefix(p, "firn/")
		if !local {
			continue
		}
		rel = strings.TrimPrefix(rel, "internal/")
		theirs, there := known[rel]
		if !there {
			out = append(out, f.at(spec, "imports %s, which is not in the table of floors", rel))
		} else if ok && !f.mayImport(mine, rel, theirs) {
			out = append(out, f.at(spec, "%s (floor %d) imports %s (floor %d): want a strictly lower floor", f.pkg, mine, rel, theirs))
		}
	}
	return out
}

func (f *file) mayImport(mine int, rel string, theirs int) bool {
	switch {
	case rel == f.pkg, strings.HasPrefix(rel, f.pkg+"/"), strings.HasPrefix(f.pkg, rel+"/"):
		return true
	case mine == testsOnly:
		return theirs < command || theirs == testsOnly
	case f.test:
		return theirs <= mine || theirs == testsOnly
	}
	return theirs < mine
}

// checkShape: formatted, short functions, no hidden start and no hidden end.
func (f *file) checkShape() (out []string) {
	if want, err := format.Source(f.src); err != nil || !bytes.Equal(want, f.src) {
		out = append(out, f.name+": not formatted as gofmt does")
	}
	if f.test {
		return out
	}
	for _, d := range f.tree.Decls {
		fn, _ := d.(*ast.FuncDecl)
		if fn != nil && fn.Recv == nil && fn.Name.Name == "init" {
			out = append(out, f.at(fn, "func init: hidden work before main"))
		}
		mayExit := fn != nil && fn.Recv == nil && fn.Name.Name == "main" && f.tree.Name.Name == "main"
		ast.Inspect(d, func(n ast.Node) bool {
			out = append(out, f.checkNode(n, mayExit)...)
			return true
		})
	}
	return out
}

func (f *file) checkNode(n ast.Node, mayExit bool) (out []string) {
	switch n := n.(type) {
	case *ast.FuncDecl, *ast.FuncLit:
		lines := f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line + 1
		if lines > maxLines {
			out = append(out, f.at(n, "function of %d lines, more than %d", lines, maxLines))
		}
	case *ast.CallExpr:
		name := callee(n)
		ends := name == "os.Exit" || strings.HasPrefix(name, "log.Fatal") || name == "syscall.Exit"
		if ends && !mayExit {
			out = append(out, f.at(n, "%s outside a command's main", name))
		}
	}
	return out
}

// callee is "pkg.Func" for a call of that shape, else empty.
func callee(c *ast.CallExpr) string {
	sel, ok := c.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	return x.Name + "." + sel.Sel.Name
}

var (
	flagWord = regexp.MustCompile(`(^|[\s"'(=\x60])--[a-z]`)
	firnWord = regexp.MustCompile(`\bfirn (init|backup|restore|snapshots|ls|find|diff|cat|mount|prune|check|repair|drill|cost|keys|policy|sync|import|run|schedule|serve|config|ui|pause|resume|copy)\b`)
)

// checkVoice: below floor 5 errors state facts; what to type about them is known above.
func (f *file) checkVoice() (out []string) {
	ast.Inspect(f.tree, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			if name := callee(n); name == "errors.New" || name == "fmt.Errorf" {
				out = append(out, f.voice(n)...)
			}
		case *ast.CompositeLit:
			if sel, ok := n.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "Note" {
				out = append(out, f.voice(n)...)
			}
		case *ast.FuncDecl:
			if n.Recv != nil && n.Name.Name == "Error" {
				out = append(out, f.voice(n)...)
				return false
			}
		}
		return true
	})
	return out
}

func (f *file) voice(n ast.Node) (out []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return true
		}
		s, err := strconv.Unquote(lit.Value)
		if err == nil && (flagWord.MatchString(s) || firnWord.MatchString(s)) {
			out = append(out, f.at(lit, "command or flag in an error below floor 5: %q", s))
		}
		return true
	})
	return out
}

// checkClock: the time is an argument on floors 0 and 1.
func (f *file) checkClock() (out []string) {
	ast.Inspect(f.tree, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			x, _ := sel.X.(*ast.Ident)
			clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
			if x != nil && x.Name == "time" && slices.Contains(clock, sel.Sel.Name) {
				out = append(out, f.at(sel, "time.%s: floors 0 and 1 have no clock", sel.Sel.Name))
			}
		}
		return true
	})
	return out
}

// The patterns are put together from parts, so that this file passes its own rules.
var (
	undone = regexp.MustCompile(`\b(` + strings.Join([]string{"TO" + "DO", "FIX" + "ME", "X" + "XX"}, "|") + `)\b`)
	hosts  = regexp.MustCompile(`(?i)\b((go)?proxy\.golang\.` + `org|sum\.golang\.` + `org|goproxy\.(io|cn)` + `|registry\.npmjs\.` + `org|pypi\.` +
		`org|files\.pythonhosted\.` + `org|deb\.debian\.` + `org|archive\.ubuntu\.` + `com|index\.crates\.` + `io|dl-cdn\.alpinelinux\.` + `org)\b`)
	homes = regexp.MustCompile(`(^|[^\w./-])(/ro` + `ot/|/home/([\w.-]+)|/Users/([\w.-]+)|[A-Za-z]:\\Users\\([\w.-]+))`)
)

// people who live in examples; so do those with names of one or two letters.
var people = []string{"you", "user", "ann", "anna", "alice", "bob", "eve", "jane", "joe", "john"}

// checkText applies the rules for all files.
func checkText(name string, b []byte, secrets []string) (out []string) {
	if bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
		return nil
	}
	for i, line := range strings.Split(string(b), "\n") {
		say := func(format string, args ...any) {
			out = append(out, fmt.Sprintf("%s:%d: %s", name, i+1, fmt.Sprintf(format, args...)))
		}
		if m := undone.FindString(line); m != "" {
			say("left undone by its own words: %s", m)
		}
		if m := hosts.FindString(line); m != "" {
			say("names a registry: %s", m)
		}
		for _, m := range homes.FindAllStringSubmatch(line, -1) {
			if who := m[3] + m[4] + m[5]; (len(who) > 2 || m[3] == "" && who == "") && !slices.Contains(people, who) {
				say("names a home folder: %s", m[2])
			}
		}
		for _, s := range secrets {
			if strings.Contains(line, s) {
				say("names a path of this machine: %s", s)
			}
		}
	}
	return out
}

// machinePaths are folders of the machine that runs this test; no file should know them.
func machinePaths(root string) (out []string) {
	add := func(p string) {
		p = filepath.ToSlash(p)
		if strings.Count(p, "/") >= 2 && len(p) > 8 { // shorter ones stand in files by chance
			out = append(out, p)
		}
	}
	add(root)
	if home, err := os.UserHomeDir(); err == nil {
		add(home)
	}
	return out
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return root
}

// files lists this module's files, those of nested modules left out: what git tracks or would track, or, without git, what is there.
func files(t *testing.T, root string) (out []string) {
	t.Helper()
	names, err := gitFiles(root)
	if err != nil {
		names = walkFiles(t, root)
	}
	var nested []string
	for _, n := range names {
		if d := path.Dir(n); path.Base(n) == "go.mod" && d != "." {
			nested = append(nested, d+"/")
		}
	}
	for _, n := range names {
		inside := func(d string) bool { return strings.HasPrefix(n, d) }
		if !slices.ContainsFunc(nested, inside) {
			out = append(out, n)
		}
	}
	if len(out) == 0 {
		t.Fatal("no files found")
	}
	return out
}

func gitFiles(root string) ([]string, error) {
	cmd := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	b, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	names := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	slices.Sort(names)
	return slices.Compact(names), nil
}

func walkFiles(t *testing.T, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "dist") {
			return filepath.SkipDir
		}
		if d.Type().IsRegular() {
			rel, err := filepath.Rel(root, p)
			if err != nil {
				return err
			}
			out = append(out, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
