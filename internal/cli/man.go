package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newMan writes the pages of the manual, one for each command, in the roff macros of man(7).
func newMan(c *console) *cobra.Command {
	return &cobra.Command{
		Use: "man DIR", Short: "Write manual pages into a folder", Hidden: true, Args: argsBetween(1, 1, "one folder"),
		Example: "  firn man /usr/local/share/man/man1",
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			return writeManual(cmd.Root(), args[0])
		},
	}
}

func writeManual(cmd *cobra.Command, folder string) error {
	if cmd.Hidden || cmd.Name() == "help" {
		return nil
	}
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	if err := os.WriteFile(filepath.Join(folder, name+".1"), manualPage(cmd, name), 0o644); err != nil {
		return err
	}
	for _, sub := range cmd.Commands() {
		if err := writeManual(sub, folder); err != nil {
			return err
		}
	}
	return nil
}

// manualPage renders one page. Nothing in it depends on the time or the machine.
func manualPage(cmd *cobra.Command, name string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"firn %s\" \"firn\"\n", roffWord(strings.ToUpper(name)), roffText(Version))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", roffText(name), roffText(cmd.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", roffText(cmd.UseLine()))
	if cmd.Long != "" {
		b.WriteString(".SH DESCRIPTION\n")
		for _, p := range strings.Split(strings.TrimSpace(cmd.Long), "\n\n") {
			fmt.Fprintf(&b, ".PP\n%s\n", roffText(strings.Join(strings.Fields(p), " ")))
		}
	}
	roffFlags(&b, "OPTIONS", cmd.NonInheritedFlags())
	roffFlags(&b, "COMMON OPTIONS", cmd.InheritedFlags())
	if cmd.Example != "" {
		fmt.Fprintf(&b, ".SH EXAMPLES\n.nf\n%s\n.fi\n", roffLines(cmd.Example))
	}
	b.WriteString(".SH EXIT STATUS\n0 done, 1 failed, 2 used wrongly, 3 done but for some files, each of which was named\n")
	var others []string
	if cmd.HasParent() {
		others = append(others, strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-"))
	}
	for _, sub := range cmd.Commands() {
		if !sub.Hidden && sub.Name() != "help" {
			others = append(others, name+"-"+sub.Name())
		}
	}
	if len(others) > 0 {
		fmt.Fprintf(&b, ".SH SEE ALSO\n%s\n", roffText(strings.Join(others, "(1), ")+"(1)"))
	}
	return b.Bytes()
}

func roffFlags(b *bytes.Buffer, title string, flags *pflag.FlagSet) {
	first := true
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		if first {
			fmt.Fprintf(b, ".SH %s\n", title)
			first = false
		}
		word := "--" + f.Name
		if f.Shorthand != "" {
			word = "-" + f.Shorthand + ", " + word
		}
		kind, text := pflag.UnquoteUsage(f)
		if kind != "" {
			word += " " + kind
		}
		fmt.Fprintf(b, ".TP\n\\fB%s\\fR\n%s\n", roffText(word), roffText(text))
	})
}

// roffText escapes what roff would read as its own.
func roffText(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...").Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

func roffWord(s string) string { return `"` + strings.ReplaceAll(roffText(s), `"`, "") + `"` }

func roffLines(s string) string {
	lines := strings.Split(s, "\n")
	for i := range lines {
		lines[i] = roffText(lines[i])
	}
	return strings.Join(lines, "\n")
}
