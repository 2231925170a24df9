package cli

import (
	"context"
	"sort"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/keys"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// findCommand looks for files in snapshots.
type findCommand struct {
	c         *console
	read      readFlags
	filters   filterFlags
	snapshots []string
	all       bool
	exclude   []string
	kind      string
	long      bool
}

func newFind(c *console) *cobra.Command {
	x := &findCommand{c: c}
	cmd := &cobra.Command{
		Use:   "find PATTERN…",
		Short: "Find files by name in all snapshots",
		Long: `Finds the files that match a pattern, in the newest snapshot of each source, in those named with --snapshot, or with
--all-snapshots in all of them. A file that stayed the same over several snapshots is printed once, with the first and the last that have
it so. Patterns are those of gitignore: a name matches anywhere, a path with a slash from the source's folder on.
` + snapshotHelp,
		Example: `  firn find '*.odt'
  firn find --all-snapshots letter.txt -l
  firn find --snapshot @2026-01 --type dir cache`,
		Args: argsBetween(1, -1, "at least one pattern"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&x.snapshots, "snapshot", nil, "look into this snapshot (repeat for more)")
	fl.BoolVar(&x.all, "all-snapshots", false, "look into all snapshots")
	fl.StringArrayVarP(&x.exclude, "exclude", "e", nil, "not what matches the pattern")
	fl.StringVar(&x.kind, "type", "", "only file, dir, symlink, fifo, char, block or socket")
	fl.BoolVarP(&x.long, "long", "l", false, "with mode, owner, size and time")
	complete(cmd, "type", "file", "dir", "symlink", "fifo", "char", "block", "socket")
	x.filters.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *findCommand) run(ctx context.Context, args []string) error {
	switch x.kind {
	case "", "file", "dir", "symlink", "fifo", "char", "block", "socket":
	default:
		return usage("", "--type %q: want file, dir, symlink, fifo, char, block or socket", x.kind)
	}
	if x.all && len(x.snapshots) > 0 {
		return usage("give one of them", "both --all-snapshots and --snapshot are given")
	}
	l, err := openLibrary(ctx, x.c, &x.read)
	if err != nil {
		return err
	}
	defer l.close()
	chosen, err := x.choose(l)
	if err != nil {
		return err
	}
	found := 0
	for _, group := range chosen {
		scope, err := l.scope(ctx, group.scope)
		if err != nil {
			return err
		}
		o := browse.FindOptions{Snapshots: group.items, Type: x.kind}
		if o.Include, err = patterns(group.items[0].Source, args, "PATTERN"); err != nil {
			return err
		}
		if o.Exclude, err = patterns(group.items[0].Source, x.exclude, "--exclude"); err != nil {
			return err
		}
		err = browse.Find(ctx, l.s.repo, scope, o, func(v *browse.Version) error {
			found++
			return x.show(v)
		})
		if err != nil {
			return err
		}
	}
	if found == 0 {
		x.c.note("nothing found")
	}
	return nil
}

// searched is the snapshots of one source, which patterns are relative to.
type searched struct {
	scope keys.ScopeID
	items []snapshot.Item
}

// choose returns the snapshots to look into, by source.
func (x *findCommand) choose(l *library) ([]searched, error) {
	f, err := x.filters.among(x.c, l.items)
	if err != nil {
		return nil, err
	}
	var items []snapshot.Item
	for _, expr := range x.snapshots {
		item, err := browse.Select(l.items, expr, f, l.s.c.now(), l.s.c.now().Location())
		if err != nil {
			return nil, err
		}
		items = append(items, item)
	}
	if len(x.snapshots) == 0 {
		f.Done = true
		for _, i := range browse.Snapshots(l.items, f) {
			items = append(items, i.Item)
		}
	}
	var out []searched
	for _, h := range snapshot.Histories(items) {
		list := h.Items
		if len(x.snapshots) == 0 && !x.all {
			list = list[len(list)-1:]
		}
		out = append(out, searched{list[0].Scope, list})
	}
	sort.SliceStable(out, func(i, j int) bool {
		return advice.SourceName(out[i].items[0].Source) < advice.SourceName(out[j].items[0].Source)
	})
	return out, nil
}

// versionJSON is what find prints with --json.
type versionJSON struct {
	Event     string        `json:"event"` // version
	Source    sourceJSON    `json:"source"`
	Entry     *browse.Entry `json:"entry"` // members as in the manifest
	First     string        `json:"first"` // ids of snapshots
	Last      string        `json:"last"`
	Snapshots int           `json:"snapshots"`
}

func (x *findCommand) show(v *browse.Version) error {
	if x.c.json != "" {
		return x.c.object(versionJSON{"version", originJSON(v.Source, v.First.Host), &v.Entry, v.First.ID.String(), v.Last.ID.String(), v.Count})
	}
	which := shortID(v.Last.ID)
	if v.Count > 1 {
		which = sprintf("%s…%s (%s)", shortID(v.First.ID), shortID(v.Last.ID), units.Count(int64(v.Count)))
	}
	line := entryName(&v.Entry)
	if x.long {
		line = longLine(&v.Entry)
	}
	x.c.print("%s:%s\n", which, line)
	return nil
}
