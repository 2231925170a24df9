package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/browse"
	"firn/internal/units"
)

// listCommand lists what a snapshot holds.
type listCommand struct {
	c         *console
	read      readFlags
	filters   filterFlags
	long      bool
	recursive bool
	include   []string
	exclude   []string
}

func newList(c *console) *cobra.Command {
	x := &listCommand{c: c}
	cmd := &cobra.Command{
		Use:   "ls SNAPSHOT[:PATH]",
		Short: "List the files of a snapshot",
		Long:  "Lists what lies in a folder of a snapshot, or all below it. Paths are printed relative to the source.\n" + snapshotHelp,
		Example: `  firn ls latest
  firn ls -l latest:/home/eve/documents
  firn ls -R @yesterday --include '*.jpg' --json`,
		Args: argsBetween(1, 2, "a snapshot, and perhaps a path in it"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.BoolVarP(&x.long, "long", "l", false, "with mode, owner, size and time")
	fl.BoolVarP(&x.recursive, "recursive", "R", false, "everything below")
	fl.StringArrayVar(&x.include, "include", nil, "only what matches the pattern (repeat for more)")
	fl.StringArrayVarP(&x.exclude, "exclude", "e", nil, "not what matches the pattern")
	x.filters.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *listCommand) run(ctx context.Context, args []string) error {
	l, err := openLibrary(ctx, x.c, &x.read)
	if err != nil {
		return err
	}
	defer l.close()
	v, path, err := l.view(ctx, args[0], &x.filters)
	if err != nil {
		return err
	}
	if len(args) == 2 {
		path = pathIn(v.Snapshot.Source, args[1])
	}
	o := browse.ListOptions{Path: path, Recursive: x.recursive}
	if o.Include, err = patterns(v.Snapshot.Source, x.include, "--include"); err != nil {
		return err
	}
	if o.Exclude, err = patterns(v.Snapshot.Source, x.exclude, "--exclude"); err != nil {
		return err
	}
	return v.List(o, x.entry)
}

func (x *listCommand) entry(e *browse.Entry) error {
	if x.c.json != "" {
		return x.c.objectOf("entry", e)
	}
	if x.long {
		x.c.print("%s\n", longLine(e))
	} else {
		x.c.print("%s\n", entryName(e))
	}
	return nil
}

// entryName is the path of an entry as people are shown it: quoted where it holds what does not print, a folder with a slash at its end.
func entryName(e *browse.Entry) string {
	text := shownPath(e.Path)
	if e.Type == "dir" {
		text += "/"
	}
	return text
}

// shownPath quotes a path where it holds what does not print.
func shownPath(path []byte) string {
	text := string(path)
	if len(path) == 0 {
		return "."
	}
	if quoted := strconv.Quote(text); quoted[1:len(quoted)-1] != strings.ReplaceAll(strings.ReplaceAll(text, `\`, `\\`), `"`, `\"`) {
		return quoted
	}
	return text
}

// longLine is an entry in the manner of ls -l.
func longLine(e *browse.Entry) string {
	size := units.Size(e.Size).String()
	if e.Type == "char" || e.Type == "block" {
		size = fmt.Sprintf("%d, %d", e.Major, e.Minor)
	}
	line := fmt.Sprintf("%s %-8s %-8s %10s %s %s", modeText(e), ownerText(e.User, e.UID), ownerText(e.Group, e.GID), size, e.Mtime.Local().Format(timeFormat), entryName(e))
	switch {
	case e.Type == "symlink":
		line += " -> " + shownPath(e.Target)
	case len(e.Hardlink) > 0:
		line += " = " + shownPath(e.Hardlink)
	}
	if e.Error != "" {
		line += "  (" + printable(e.Error) + ")"
	}
	return line
}

func ownerText(name string, id int64) string {
	switch {
	case name != "":
		return printable(name)
	case id < 0:
		return "-"
	}
	return strconv.FormatInt(id, 10)
}

// modeText is the type and the permission bits, as ls -l has them.
func modeText(e *browse.Entry) string {
	b := []byte("-rwxrwxrwx")
	letters := map[string]byte{"dir": 'd', "symlink": 'l', "fifo": 'p', "char": 'c', "block": 'b', "socket": 's'}
	if l, ok := letters[e.Type]; ok {
		b[0] = l
	}
	for i := range 9 {
		if e.Mode&(1<<(8-i)) == 0 {
			b[1+i] = '-'
		}
	}
	for _, s := range []struct {
		bit       uint32
		at        int
		with, not byte
	}{{0o4000, 3, 's', 'S'}, {0o2000, 6, 's', 'S'}, {0o1000, 9, 't', 'T'}} {
		if e.Mode&s.bit != 0 {
			if b[s.at] == 'x' {
				b[s.at] = s.with
			} else {
				b[s.at] = s.not
			}
		}
	}
	return string(b)
}
