package cli

import (
	"context"
	"path/filepath"

	"github.com/spf13/cobra"

	"firn/internal/browse"
	"firn/internal/units"
)

// catCommand prints files.
type catCommand struct {
	c       *console
	read    readFlags
	filters filterFlags
	offset  int64
	length  units.Size
}

func newCat(c *console) *cobra.Command {
	x := &catCommand{c: c}
	cmd := &cobra.Command{
		Use:   "cat SNAPSHOT:PATH…",
		Short: "Print files of a snapshot",
		Long:  "Writes the content of files to standard output, one after another. Nothing else goes there.\n" + snapshotHelp,
		Example: `  firn cat latest:/etc/fstab
  firn cat latest:var/log/syslog --offset -4096
  firn cat 5f3a:mail/inbox | less`,
		Args: argsBetween(1, -1, "at least one file, such as latest:/etc/fstab"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	cmd.Flags().Int64Var(&x.offset, "offset", 0, "byte to begin with; negative: from the end")
	cmd.Flags().Var(&x.length, "length", "how many bytes")
	cmd.Flags().Lookup("length").DefValue = ""
	x.filters.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *catCommand) run(ctx context.Context, args []string) error {
	if x.c.json != "" {
		return usage("firn ls --json tells about files", "cat writes content, which has no JSON form")
	}
	for _, arg := range args {
		if _, path := splitExpr(arg); path == "" {
			return usage("write it as SNAPSHOT:PATH, such as latest:/etc/fstab", "%q names no file", arg)
		}
	}
	l, err := openLibrary(ctx, x.c, &x.read)
	if err != nil {
		return err
	}
	defer l.close()
	for _, arg := range args {
		v, path, err := l.view(ctx, arg, &x.filters)
		if err != nil {
			return err
		}
		if len(path) == 0 { // the source itself, which then is a file
			path = []byte(filepath.Base(string(v.Snapshot.Source.Path)))
		}
		if _, err := v.Cat(x.c.content(), path, browse.CatOptions{Offset: x.offset, Length: int64(x.length)}); err != nil {
			return err
		}
	}
	return nil
}
