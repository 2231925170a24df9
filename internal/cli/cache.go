package cli

import (
	"encoding/hex"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/state"
	"firn/internal/units"
)

// newCache holds the commands about what this machine keeps.
func newCache(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use: "cache", Short: "Show and trim what firn keeps on this machine",
		Long: `firn remembers what it saw, so that the next run is fast. All of it can be deleted: that costs time, not data. Only the state folder
holds something to keep: the key of this host. FIRN_CACHE_DIR and FIRN_STATE_DIR say where it all lies.`,
		Example: "  firn cache show\n  firn cache trim --cache-max 1G\n  firn cache clear",
	}
	cmd.AddCommand(newCacheShow(c), newCacheTrim(c), newCacheClear(c))
	return asFolder(cmd)
}

func newCacheShow(c *console) *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show what is kept for each repository", Args: noArgs,
		Example: "  firn cache show --json",
		RunE:    func(*cobra.Command, []string) error { return c.showCache() },
	}
}

func (c *console) showCache() error {
	dirs := localDirs()
	t := c.table("repository", ">sources", ">spool", ">store", ">chunks", ">state")
	for _, l := range localRepositories(dirs) {
		u := state.OpenCopy(dirs, l.repository, l.copy, nil).Usage()
		if c.json != "" {
			o := map[string]any{"event": "cache", "repository": hex.EncodeToString(l.repository[:]), "sources": u.Sources, "spool": u.Spool, "store": u.Store, "chunks": u.Chunks, "state": u.State}
			if n := l.number(); n != "" {
				o["copy"] = n
			}
			if err := c.object(o); err != nil {
				return err
			}
			continue
		}
		t.row(l.String(), units.Size(u.Sources).String(), units.Size(u.Spool).String(), units.Size(u.Store).String(), units.Size(u.Chunks).String(), units.Size(u.State).String())
	}
	t.print()
	if c.json == "" && !c.quiet {
		c.print("cache %s\nstate %s\n", orNone(dirs.Cache), orNone(dirs.State))
	}
	return nil
}

func orNone(path string) string {
	if path == "" {
		return "none: no folder for it was found"
	}
	return path
}

// localRepository is a repository, or a copy of one, of which this machine keeps something.
type localRepository struct{ repository, copy [16]byte }

// number tells copies apart; empty: it is the first.
func (l localRepository) number() string {
	if l.copy == [16]byte{} {
		return ""
	}
	return hex.EncodeToString(l.copy[:])
}

func (l localRepository) String() string {
	text := hex.EncodeToString(l.repository[:])
	if n := l.number(); n != "" {
		text += ", copy " + n[:8]
	}
	return text
}

// parseLocal reads the name of a folder of local state.
func parseLocal(name string) (l localRepository, ok bool) {
	id, number, isCopy := strings.Cut(name, "-")
	a, err := hex.DecodeString(id)
	if err != nil || len(a) != 16 {
		return l, false
	}
	l.repository = [16]byte(a)
	if !isCopy {
		return l, true
	}
	b, err := hex.DecodeString(number)
	if err != nil || len(b) != 16 {
		return l, false
	}
	l.copy = [16]byte(b)
	return l, l.copy != [16]byte{}
}

// localRepositories are all repositories of which this machine keeps something.
func localRepositories(dirs state.Dirs) (found []localRepository) {
	for _, base := range []string{dirs.Cache, dirs.State} {
		if base == "" {
			continue
		}
		list, err := os.ReadDir(base)
		if err != nil {
			continue // nothing there yet
		}
		for _, e := range list {
			if l, ok := parseLocal(e.Name()); ok && e.IsDir() && !slices.Contains(found, l) {
				found = append(found, l)
			}
		}
	}
	return found
}

func newCacheTrim(c *console) *cobra.Command {
	limit := units.Size(defaultCacheMax)
	cmd := &cobra.Command{
		Use: "trim", Short: "Delete what was used the longest time ago", Args: noArgs,
		Example: "  firn cache trim --cache-max 500M",
		RunE:    func(*cobra.Command, []string) error { return c.trimCache(limit) },
	}
	cmd.Flags().Var(&limit, "cache-max", "size that the cache of each repository may have")
	return cmd
}

func newCacheClear(c *console) *cobra.Command {
	return &cobra.Command{
		Use: "clear", Short: "Delete the cache of all repositories, not the keys of this host", Args: noArgs,
		Example: "  firn cache clear",
		RunE:    func(*cobra.Command, []string) error { return c.trimCache(0) },
	}
}

func (c *console) trimCache(limit units.Size) error {
	dirs := localDirs()
	var freed units.Size
	for _, l := range localRepositories(dirs) {
		freed += units.Size(state.OpenCopy(dirs, l.repository, l.copy, nil).Trim(int64(limit)))
	}
	switch {
	case c.json != "":
		return c.object(map[string]any{"event": "trimmed", "bytes": freed})
	case !c.quiet:
		c.print("%v deleted\n", freed)
	}
	return nil
}
