package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// referenceMark says where the pages come from.
const referenceMark = "<!-- Made by go test ./internal/cli -run TestReference with UPDATE=1, from the help -->\n"

// TestReference holds docs/reference to the help of the commands: a page for each, with its subcommands, and a list of all. UPDATE=1 writes them anew, and removes pages of commands that are no more.
func TestReference(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("some commands are not for every system; the pages are made on Linux")
	}
	root := newRoot(newConsole(os.Stdin, os.Stdout, os.Stderr))
	dir := filepath.Join("..", "..", "docs", "reference")
	pages := map[string]bool{"README.md": true}
	var index strings.Builder
	fmt.Fprintf(&index, "%s\n# Commands\n\n%s\n\n", referenceMark, mdText(root.Long))
	groups := append(root.Groups(), &cobra.Group{Title: "More"})
	for _, group := range groups {
		rows := ""
		for _, cmd := range root.Commands() {
			if cmd.GroupID != group.ID || !referred(cmd) {
				continue
			}
			page := cmd.Name() + ".md"
			pages[page] = true
			rows += fmt.Sprintf("| [firn %s](%s) | %s |\n", cmd.Name(), page, mdCell(cmd.Short))
			upToDate(t, filepath.Join(dir, page), referenceMark+"\n"+referencePage(cmd, "#")+"All commands have the [common flags](README.md#common-flags), too.\n")
		}
		if rows != "" {
			fmt.Fprintf(&index, "## %s\n\n| | |\n|---|---|\n%s\n", strings.TrimSuffix(group.Title, ":"), rows)
		}
	}
	fmt.Fprintf(&index, "## Common flags\n\n%s\n## Exit codes\n\n0 done, 1 failed, 2 used wrongly, 3 done but for some files, each of which was named.\n", mdFlags(root.PersistentFlags()))
	upToDate(t, filepath.Join(dir, "README.md"), index.String())
	there, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range there {
		switch {
		case pages[filepath.Base(name)]:
		case os.Getenv("UPDATE") == "":
			t.Errorf("%s is about no command: run this test with UPDATE=1", name)
		default:
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// referred reports whether a command has a place in the reference.
func referred(cmd *cobra.Command) bool {
	return !cmd.Hidden && cmd.Name() != "help" && cmd.Name() != "completion"
}

// referencePage is what a command's help says, and that of its subcommands.
func referencePage(cmd *cobra.Command, heading string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n\n", heading, cmd.CommandPath())
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	fmt.Fprintf(&b, "%s\n\n", mdText(text))
	if cmd.Runnable() || !cmd.HasSubCommands() {
		fmt.Fprintf(&b, "```text\n%s\n```\n\n", cmd.UseLine())
	}
	if cmd.Example != "" {
		lines := strings.Split(cmd.Example, "\n")
		for i := range lines {
			lines[i] = strings.TrimPrefix(lines[i], "  ")
		}
		fmt.Fprintf(&b, "Examples:\n\n```text\n%s\n```\n\n", strings.Join(lines, "\n"))
	}
	if flags := mdFlags(cmd.LocalFlags()); flags != "" {
		b.WriteString(flags + "\n")
	}
	for _, sub := range cmd.Commands() {
		if referred(sub) {
			b.WriteString(referencePage(sub, heading+"#"))
		}
	}
	return b.String()
}

// mdText is text of a help in Markdown: paragraphs, and what is indented as it stands.
func mdText(text string) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		if strings.HasPrefix(p, "  ") || strings.Contains(p, "\n  ") {
			paragraphs[i] = "```text\n" + p + "\n```"
			continue
		}
		paragraphs[i] = mdWords(p)
	}
	return strings.Join(paragraphs, "\n\n")
}

// mdWords keeps Markdown from reading what means nothing to it.
func mdWords(s string) string {
	return strings.NewReplacer("<", "&lt;", "*", `\*`, "_", `\_`, "|", `\|`, "[", `\[`, "]", `\]`).Replace(s)
}

func mdCell(s string) string { return strings.Join(strings.Fields(mdWords(s)), " ") }

// mdFlags is a table of flags.
func mdFlags(flags *pflag.FlagSet) string {
	rows := ""
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		word := "--" + f.Name
		if f.Shorthand != "" {
			word = "-" + f.Shorthand + ", " + word
		}
		kind, text := pflag.UnquoteUsage(f)
		if f.NoOptDefVal != "" && kind != "" {
			kind = "[=" + kind + "]"
		} else if kind != "" {
			kind = " " + kind
		}
		if strings.Contains(f.Usage, "default") || f.DefValue == "" || f.DefValue == "[]" || f.DefValue == "false" || f.DefValue == "0" || f.DefValue == "0s" {
			text = mdCell(text)
		} else {
			text = mdCell(text) + " (default `" + f.DefValue + "`)"
		}
		rows += fmt.Sprintf("| `%s%s` | %s |\n", word, strings.ReplaceAll(kind, "|", `\|`), text)
	})
	if rows == "" {
		return ""
	}
	return "| flag | |\n|---|---|\n" + rows
}
