package doctest

import (
	"fmt"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Places of the world.
const (
	outputs = "/run/doc/out" // what blocks print, each by its line
	inputs  = "/run/doc/in"  // files that pages show
	standIn = "/run/doc/bin" // first on PATH
	built   = "/run/doc/built"
)

// page is a document as a script: a line of the script stands on the line that it has in the document, so that the shell's own messages name the right ones.
type page struct {
	name   string // slash-separated, relative to the root of the module
	script []string
	files  map[int]string  // contents by the line of their block
	needs  map[string]bool // real servers
	blocks []block         // that are run
	left   []string        // what is not run, and why
}

// block is a fenced block that is run.
type block struct {
	line int
	want []string // what it prints, by the block of text that follows; nil: anything
	from int      // line of that block
}

// readers are the marks of README.md whose blocks .ci/run runs.
var readers = map[string]bool{"quick start": true, "test": true}

// read makes a script of a page.
func read(root, name string) (*page, error) {
	raw, err := os.ReadFile(path.Join(root, name))
	if err != nil {
		return nil, err
	}
	return parse(name, strings.Split(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n"))
}

func parse(name string, lines []string) (*page, error) {
	p := &page{name: name, script: make([]string, len(lines)), files: map[int]string{}, needs: map[string]bool{}}
	mark := "" // the comment right before
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		switch {
		case line == "":
		case strings.HasPrefix(line, "<!--"):
			end := i
			for !strings.Contains(lines[end], "-->") {
				if end++; end == len(lines) {
					return nil, fmt.Errorf("%s:%d: a comment without an end", name, i+1)
				}
			}
			mark = p.comment(lines, i, end)
			i = end
		case strings.HasPrefix(line, "```"):
			end := i + 1
			for end < len(lines) && strings.TrimSpace(lines[end]) != "```" {
				end++
			}
			if end == len(lines) {
				return nil, fmt.Errorf("%s:%d: a block without an end", name, i+1)
			}
			if err := p.fenced(strings.TrimPrefix(line, "```"), mark, lines, i, end); err != nil {
				return nil, err
			}
			mark, i = "", end
		default:
			mark = ""
		}
	}
	return p, nil
}

// comment takes a comment that begins on line i and ends on line end, both counted from 0, and returns what it says about the next block.
func (p *page) comment(lines []string, i, end int) string {
	text := strings.Join(lines[i:end+1], "\n")
	text = strings.TrimSpace(text[strings.Index(text, "<!--")+4 : strings.LastIndex(text, "-->")])
	if needs, ok := strings.CutPrefix(text, "needs:"); ok {
		for _, n := range strings.Fields(needs) {
			p.needs[n] = true
		}
		return ""
	}
	if !strings.HasPrefix(text, "test:") {
		return text
	}
	copy(p.script[i:], lines[i:end+1])
	first := p.script[i]
	p.script[i] = first[strings.Index(first, "test:")+5:]
	last := p.script[end]
	p.script[end] = last[:strings.LastIndex(last, "-->")]
	p.script[i] = strings.TrimSpace(p.script[i])
	return ""
}

// fenced takes a block whose fences stand on the lines i and end, both counted from 0.
func (p *page) fenced(lang, mark string, lines []string, i, end int) error {
	body := lines[i+1 : end]
	put, isFile := strings.CutPrefix(mark, "file:")
	reason, isLeft := strings.CutPrefix(mark, "not run:")
	switch {
	case lang == "sh" && (isLeft || readers[mark]):
		if readers[mark] {
			reason = ".ci/run does it"
		}
		p.left = append(p.left, fmt.Sprintf("%s:%d: %s", p.name, i+1, strings.TrimSpace(reason)))
	case lang == "sh":
		for n, l := range body {
			p.script[i+1+n] = guarded(l)
		}
		p.script[i] = fmt.Sprintf("exec >%s/%d 2>&1", outputs, i+1)
		p.script[end] = "exec >&8 2>&1"
		p.blocks = append(p.blocks, block{line: i + 1})
	case mark == "output" && lang == "text" && len(p.blocks) > 0:
		last := &p.blocks[len(p.blocks)-1]
		last.want, last.from = body, i+2
	case isFile:
		put = strings.TrimSpace(put)
		p.files[i+1] = strings.Join(body, "\n") + "\n"
		p.script[i] = fmt.Sprintf("mkdir -p %q && cp %s/%d %q", path.Dir(put), inputs, i+1, put)
	case mark == "kubernetes" && lang == "yaml":
		commands, err := containers(strings.Join(body, "\n"))
		if err != nil {
			return fmt.Errorf("%s:%d: %w", p.name, i+1, err)
		}
		p.script[end] = strings.Join(commands, " && ")
	case mark == "output" || mark == "kubernetes":
		return fmt.Errorf("%s:%d: the mark %q stands before a block of another language, %q", p.name, i+1, mark, lang)
	case lang == "" && strings.HasPrefix(p.name, "docs/guide/"):
		return fmt.Errorf("%s:%d: a block without a language", p.name, i+1)
	}
	return nil
}

var chain = regexp.MustCompile(`^[^|"'\\]* && [^|"'\\]*$`)

// guarded has a chain of commands that breaks off fail as a whole: the shell goes on after one of which not the last command failed.
func guarded(line string) string {
	command, comment, found := strings.Cut(line, "  #")
	if !chain.MatchString(command) {
		return line
	}
	command += " || false"
	if found {
		command += " #" + comment
	}
	return command
}

// manifest is what is read of an object of Kubernetes.
type manifest struct {
	Kind string
	Spec struct {
		Schedule    string
		Template    podTemplate
		JobTemplate struct {
			Spec struct{ Template podTemplate }
		} `yaml:"jobTemplate"`
	}
}

type podTemplate struct {
	Spec struct {
		Containers []container
		Init       []container `yaml:"initContainers"`
		Volumes    []struct{ Name string }
	}
}

type container struct {
	Name, Image   string
	Command, Args []string
	Env           []struct{ Name, Value string }
}

// containers are the command lines of all containers of some objects of Kubernetes, with their variables.
func containers(text string) (lines []string, err error) {
	d := yaml.NewDecoder(strings.NewReader(text))
	for {
		var m manifest
		if err := d.Decode(&m); err != nil {
			if len(lines) == 0 {
				return nil, fmt.Errorf("no command of a container: %w", err)
			}
			return lines, nil
		}
		if m.Kind == "" {
			return nil, fmt.Errorf("an object without a kind")
		}
		if m.Kind == "CronJob" && len(strings.Fields(m.Spec.Schedule)) != 5 {
			return nil, fmt.Errorf("schedule %q is no line of cron", m.Spec.Schedule)
		}
		for _, t := range []podTemplate{m.Spec.Template, m.Spec.JobTemplate.Spec.Template} {
			for _, c := range append(t.Spec.Init, t.Spec.Containers...) {
				if c.Image == "" || len(c.Command) == 0 {
					return nil, fmt.Errorf("container %q without an image or a command", c.Name)
				}
				words := []string{"env"}
				for _, e := range c.Env {
					words = append(words, quoted(e.Name+"="+e.Value))
				}
				for _, w := range append(c.Command, c.Args...) {
					words = append(words, quoted(w))
				}
				lines = append(lines, strings.Join(words, " "))
			}
		}
	}
}

// quoted is a word of the shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// TestGuarded: only what is surely a chain of plain commands is changed.
func TestGuarded(t *testing.T) {
	for line, want := range map[string]string{
		"a && b": "a && b || false", "a && b   # c": "a && b  || false # c", "a": "a", `a && b \`: `a && b \`, "a || b": "a || b", "echo 'a && b'": "echo 'a && b'", "a | b && c": "a | b && c",
	} {
		if got := guarded(line); strings.Join(strings.Fields(got), " ") != strings.Join(strings.Fields(want), " ") {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

// TestParse: lines stay where they are, and marks do what they say.
func TestParse(t *testing.T) {
	p, err := parse("x.md", strings.Split("# X\n<!-- needs: zfs -->\n<!-- test: a\nb -->\n\n```sh\nc \\\n  d\n```\n\n<!-- output -->\n```text\n1\n```\n<!-- not run: why -->\n```sh\nno\n```\n"+
		"<!-- file: /etc/y -->\n```toml\nz\n```\n<!-- kubernetes -->\n```yaml\nkind: Job\nspec: {template: {spec: {containers: [{image: i, command: [run, \"it's\"], env: [{name: A, value: b c}]}]}}}\n```\n", "\n"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(p.script, "\n")
	want := "\n\na\nb \n\nexec >/run/doc/out/6 2>&1\nc \\\n  d\nexec >&8 2>&1\n\n\n\n\n\n\n\n\n\n\nmkdir -p \"/etc\" && cp /run/doc/in/20 \"/etc/y\"\n\n\n\n\n\n\nenv 'A=b c' 'run' 'it'\\''s'\n"
	if got != want || !p.needs["zfs"] || len(p.blocks) != 1 || p.blocks[0].want[0] != "1" || p.files[20] != "z\n" {
		t.Errorf("%+v\n%s\nwant\n%s", p, got, want)
	}
	if len(p.left) != 1 || p.left[0] != "x.md:16: why" {
		t.Errorf("left out: %q", p.left)
	}
	for _, bad := range []string{"```sh\n", "<!-- ", "```\nx\n```", "<!-- kubernetes -->\n```yaml\nkind: Job\n```", "<!-- output -->\n```yaml\n```"} {
		if _, err := parse("docs/guide/x.md", strings.Split(bad, "\n")); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
