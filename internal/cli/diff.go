package cli

import (
	"context"

	"github.com/spf13/cobra"

	"firn/internal/browse"
	"firn/internal/units"
)

// diffCommand compares two snapshots.
type diffCommand struct {
	c        *console
	read     readFlags
	filters  filterFlags
	include  []string
	exclude  []string
	metadata bool
	stat     bool
}

func newDiff(c *console) *cobra.Command {
	x := &diffCommand{c: c, metadata: true}
	cmd := &cobra.Command{
		Use:   "diff SNAPSHOT[:PATH] SNAPSHOT",
		Short: "Show what differs between two snapshots",
		Long: `Prints one line for each path that differs: + added, - removed, M content changed, U only metadata changed (owner, mode, times,
attributes), T became something else.
` + snapshotHelp,
		Example: `  firn diff latest~1 latest
  firn diff @2026-01:/etc latest --stat
  firn diff 5f3a latest --metadata=false`,
		Args: argsBetween(2, 2, "two snapshots"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&x.metadata, "metadata", true, "tell changes of metadata alone, too")
	fl.BoolVar(&x.stat, "stat", false, "print the sums only")
	fl.StringArrayVar(&x.include, "include", nil, "only what matches the pattern (repeat for more)")
	fl.StringArrayVarP(&x.exclude, "exclude", "e", nil, "not what matches the pattern")
	x.filters.register(cmd)
	x.read.register(cmd)
	return cmd
}

// marks of the kinds of changes.
var marks = map[string]string{"added": "+", "removed": "-", "modified": "M", "metadata": "U", "type": "T"}

func (x *diffCommand) run(ctx context.Context, args []string) error {
	l, err := openLibrary(ctx, x.c, &x.read)
	if err != nil {
		return err
	}
	defer l.close()
	before, path, err := l.view(ctx, args[0], &x.filters)
	if err != nil {
		return err
	}
	after, second, err := l.view(ctx, args[1], &x.filters)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		path = second
	}
	o := browse.DiffOptions{Path: path, Metadata: x.metadata}
	if o.Include, err = patterns(before.Snapshot.Source, x.include, "--include"); err != nil {
		return err
	}
	if o.Exclude, err = patterns(before.Snapshot.Source, x.exclude, "--exclude"); err != nil {
		return err
	}
	stats, err := browse.Diff(before, after, o, x.change)
	if err != nil {
		return err
	}
	if x.c.json != "" {
		return x.c.objectOf("summary", stats)
	}
	if x.stat || !x.c.quiet && x.c.live {
		x.c.print("%s added, %s removed, %s modified, %s metadata, %s type; %v added, %v removed\n", units.Count(stats.Added), units.Count(stats.Removed),
			units.Count(stats.Modified), units.Count(stats.Metadata), units.Count(stats.Type), units.Size(stats.BytesAdded), units.Size(stats.BytesRemoved))
	}
	if stats.Approximate {
		x.c.note("the snapshots lie in different scopes or epochs: content was compared by size and time")
	}
	return nil
}

// changeJSON is what diff prints with --json.
type changeJSON struct {
	Event string        `json:"event"` // change
	Kind  string        `json:"kind"`  // added, removed, modified, metadata, type
	Old   *browse.Entry `json:"old,omitempty"`
	New   *browse.Entry `json:"new,omitempty"`
}

func (x *diffCommand) change(ch *browse.Change) error {
	if x.stat {
		return nil
	}
	if x.c.json != "" {
		return x.c.object(changeJSON{"change", ch.Kind, ch.Old, ch.New})
	}
	e := ch.New
	if e == nil {
		e = ch.Old
	}
	x.c.print("%s %s\n", marks[ch.Kind], entryName(e))
	return nil
}
