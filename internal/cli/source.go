package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/backup"
	"firn/internal/browse"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// newSource holds the commands about sources.
func newSource(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use: "source", Short: "List sources and their kinds, and carry a history over to another name or path",
		Example: "  firn source list\n  firn source kinds\n  firn source rename /mnt/old /mnt/new",
	}
	cmd.AddCommand(newSourceList(c), newSourceKinds(c), newSourceRename(c))
	return asFolder(cmd)
}

// sourceCommand is what they share.
type sourceCommand struct {
	c    *console
	read readFlags
	host hostFlags
}

func newSourceList(c *console) *cobra.Command {
	x := &sourceCommand{c: c}
	cmd := &cobra.Command{
		Use: "list", Short: "List the sources of the repository", Args: noArgs,
		Long:    "Lists what was backed up, each with its newest snapshot. A host's own key is enough; it shows the sources of its scope.",
		Example: "  firn source list",
		RunE:    func(cmd *cobra.Command, _ []string) error { return x.list(cmd.Context()) },
	}
	cmd.Flags().StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.read.register(cmd)
	return cmd
}

// sourceLine is what source list prints with --json.
type sourceLine struct {
	Event     string     `json:"event"` // source
	Source    sourceJSON `json:"source"`
	Snapshots int        `json:"snapshots"` // that are done
	Latest    string     `json:"latest,omitempty"`
	Time      *time.Time `json:"time,omitempty"`
	Bytes     int64      `json:"bytes"`
	Files     int64      `json:"files"`
	Chain     *chainJSON `json:"chain,omitempty"` // of the latest
}

func (x *sourceCommand) list(ctx context.Context) error {
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.openLister(ctx, &x.read.secrets, &x.host); err != nil {
		return err
	}
	items, err := s.items(ctx)
	if err != nil {
		return err
	}
	t := x.c.table("source", "host", "kind", "name", "path", ">snapshots", "latest", ">files", ">size", "chain")
	for _, h := range snapshot.Histories(items) {
		last := h.Items[len(h.Items)-1]
		j := sourceLine{Event: "source", Source: originJSON(last.Source, last.Host)}
		for _, it := range h.Items {
			if it.Status() == snapshot.IsDone {
				j.Snapshots++
			}
		}
		latest := "none done"
		if it, ok := h.Newest(); ok {
			at := it.Start.UTC()
			j.Latest, j.Time, j.Bytes, j.Files = it.ID.String(), &at, it.Stats.Bytes, it.Stats.Files
			latest = shortID(it.ID) + " " + it.Start.Local().Format(timeFormat)
			j.Chain = chainOf(items, it)
		}
		if x.c.json != "" {
			if err := x.c.object(j); err != nil {
				return err
			}
			continue
		}
		t.row(j.Source.ID, last.Host, last.Source.Kind, last.Source.Name, string(last.Source.Path), units.Count(int64(j.Snapshots)), latest, units.Count(j.Files), units.Size(j.Bytes).String(), j.Chain.text())
	}
	t.print()
	return nil
}

func newSourceRename(c *console) *cobra.Command {
	x := &sourceCommand{c: c}
	cmd := &cobra.Command{
		Use: "rename FROM TO", Short: "Carry the history of a source over to another name or path", Args: argsBetween(2, 2, "a source and its new name or path"),
		Long: `After a folder has moved, or a source got a name, its history goes on under the new one: the next backup finds everything known, and
reads nothing again. FROM is the name, path or id of a source, or KIND:REST. TO is KIND:REST, a path if it has a slash in it, or a name.`,
		Example: "  firn source rename /mnt/old /mnt/new\n  firn source rename /home/eve eve",
		RunE:    func(cmd *cobra.Command, args []string) error { return x.rename(cmd.Context(), args[0], args[1]) },
	}
	x.host.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *sourceCommand) rename(ctx context.Context, from, to string) error {
	if strings.TrimSpace(to) == "" {
		return usage("", "the new name is empty")
	}
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	scope, err := s.openWriter(ctx, &x.read.secrets, &x.host)
	if err != nil {
		return err
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	host := x.host.given()
	if host == "" {
		host = s.repo.Host().Name
	}
	old, err := findSource(x.c, scope.Items, from)
	if err != nil {
		return err
	}
	origin, err := renamed(old, to)
	if err != nil {
		return err
	}
	origin.ID = snapshot.SourceID(s.repo.Host().Scope().SourceKey(), origin.Kind, host, origin.Name, origin.Path)
	lock, err := s.state.Lock(origin.ID, x.c.now())
	if err != nil {
		return err
	}
	defer lock.Release()
	snap, err := backup.Rename(ctx, backup.Options{Repo: s.repo, Scope: scope, State: s.state, Source: origin, Host: host, Program: "firn " + Version, Now: x.c.now, Report: x.c.report()}, old.ID)
	if err != nil {
		return err
	}
	switch {
	case x.c.json != "":
		return x.c.object(map[string]any{"event": "renamed", "from": originJSON(old, host), "source": originJSON(origin, host), "snapshot": snap.ID.String()})
	case !x.c.quiet:
		x.c.print("%s goes on as %s with snapshot %s\n", printable(advice.SourceName(old)), printable(advice.SourceName(origin)), shortID(snap.ID))
	}
	return nil
}

// findSource finds the one source that a name, path or id means.
func findSource(c *console, items []snapshot.Item, text string) (snapshot.Origin, error) {
	found := map[snapshot.Source]snapshot.Origin{}
	var last snapshot.Origin
	filters := filterFlags{source: text}
	f, err := filters.among(c, items)
	if err != nil {
		return last, err
	}
	for _, i := range browse.Snapshots(items, f) {
		found[i.Source.ID], last = i.Source, i.Source
	}
	switch len(found) {
	case 0:
		return last, failure("firn source list shows the sources of this host's scope", "no source %q", text)
	case 1:
		return last, nil
	}
	return last, failure("give its id: firn source list shows them", "%d sources are called %q", len(found), text)
}
