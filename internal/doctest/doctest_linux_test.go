package doctest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"firn/internal/cli"
)

// Variables that tell the process in a world which page it is about, and which firn.
const (
	pageVariable = "FIRN_DOC_PAGE"
	firnVariable = "FIRN_DOC_FIRN"
)

// short are the pages that short runs look at.
var short = []string{"README.md", "docs/guide/first-backup.md"}

// pageTime ends a page that hangs.
const pageTime = 5 * time.Minute

// TestPages runs every page in a world of its own.
func TestPages(t *testing.T) {
	if os.Getenv(pageVariable) != "" {
		t.Skip("this is a world")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	must(t, err)
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	pages := list(t, root)
	if testing.Short() {
		pages = short
	}
	firn := program(t)
	var mu sync.Mutex
	var left []string
	blocks := 0
	t.Run("page", func(t *testing.T) {
		for _, name := range pages {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p, err := read(root, name)
				must(t, err)
				mu.Lock()
				left, blocks = append(left, p.left...), blocks+len(p.blocks)
				mu.Unlock()
				if len(p.blocks) > 0 {
					apart(t, root, name, firn)
				}
			})
		}
	})
	slices.Sort(left)
	t.Logf("%d blocks of %d pages run, %d not:\n%s", blocks, len(pages), len(left), strings.Join(left, "\n"))
}

// list names the pages.
func list(t *testing.T, root string) []string {
	pages := []string{"README.md"}
	for _, pattern := range []string{"docs/*.md", "docs/guide/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		must(t, err)
		for _, f := range found {
			name, err := filepath.Rel(root, f)
			must(t, err)
			pages = append(pages, filepath.ToSlash(name))
		}
	}
	return pages
}

// TestMain is firn where it is called so: the program of this source, without building it beside the tests once more.
func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "firn" {
		os.Exit(cli.Main(os.Args[1:]))
	}
	os.Exit(m.Run())
}

// program puts firn into a folder of its own.
func program(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	firn := filepath.Join(t.TempDir(), "firn")
	if os.Link(self, firn) == nil {
		return firn
	}
	content, err := os.ReadFile(self)
	must(t, errors.Join(err, os.WriteFile(firn, content, 0o755)))
	return firn
}

// apart runs a page in a process of its own.
func apart(t *testing.T, root, name, firn string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), pageTime)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestPage$", "-test.v", "-test.count=1")
	c.Env = append(os.Environ(), pageVariable+"="+name, firnVariable+"="+firn)
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS, Pdeathsig: syscall.SIGKILL}
	out, err := c.CombinedOutput()
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EINVAL):
		t.Skip("no mounts of its own here: ", err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case bytes.Contains(out, []byte("--- SKIP")):
		t.Skipf("%s", out)
	default:
		t.Logf("%s", out)
	}
}

// TestPage runs a page in the world of this process.
func TestPage(t *testing.T) {
	name := os.Getenv(pageVariable)
	if name == "" {
		t.Skip("TestPages runs it")
	}
	p, err := read(filepath.Join("..", ".."), name)
	must(t, err)
	enter(t, os.Getenv(firnVariable))
	env := furnish(t, p)
	p.run(t, env)
}

// preamble has the shell stop at what fails, and tell where.
const preamble = `set -Eeuo pipefail; exec 8>&1; trap 'echo "$LINENO" >>/run/doc/failed' ERR`

// run runs the script and looks at what it printed.
func (p *page) run(t *testing.T, env []string) {
	t.Helper()
	p.script[0] = preamble
	script := "/run/doc/page.sh"
	must(t, os.WriteFile(script, []byte(strings.Join(p.script, "\n")), 0o644))
	c := exec.Command("bash", script)
	c.Dir = home
	c.Env = append([]string{"PATH=" + standIn + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + home, "USER=root", "LC_ALL=C.UTF-8", "TZ=UTC", "TERM=dumb", "COLUMNS=120",
		"FIRN_PASSPHRASE_TYPED=only for trying", "AWS_EC2_METADATA_DISABLED=true"}, env...)
	out, err := c.CombinedOutput()
	if err != nil {
		line := p.failed()
		t.Fatalf("%s:%d: %v\n%s\n%s", p.name, line, err, p.printed(line), out)
	}
	for _, b := range p.blocks {
		got, err := os.ReadFile(fmt.Sprintf("%s/%d", outputs, b.line))
		if errors.Is(err, fs.ErrNotExist) {
			t.Logf("%s:%d: not reached", p.name, b.line) // the page ended in order before it
			continue
		}
		must(t, err)
		if i, err := compare(b.want, strings.Split(string(got), "\n")); err != nil {
			t.Errorf("%s:%d: %v; the block printed\n%s", p.name, b.from+i, err, got)
		}
	}
	if testing.Verbose() {
		p.tell(t)
	}
}

// failed is the line on which the script failed first, or 0.
func (p *page) failed() int {
	b, _ := os.ReadFile("/run/doc/failed")
	first, _, _ := strings.Cut(string(b), "\n")
	n, _ := strconv.Atoi(first)
	return n
}

// printed is what the block around a line printed.
func (p *page) printed(line int) []byte {
	around := 0
	for _, b := range p.blocks {
		if b.line <= line || line == 0 {
			around = b.line
		}
	}
	b, _ := os.ReadFile(fmt.Sprintf("%s/%d", outputs, around))
	return b
}

// tell prints what all blocks printed, for whoever writes a page.
func (p *page) tell(t *testing.T) {
	for _, b := range p.blocks {
		got, _ := os.ReadFile(fmt.Sprintf("%s/%d", outputs, b.line))
		t.Logf("%s:%d:\n%s", p.name, b.line, got)
	}
}
