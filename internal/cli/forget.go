package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/prune"
	"firn/internal/snapshot"
)

// forgetCommand forgets snapshots that are named, or takes paths out of some.
type forgetCommand struct {
	c       *console
	read    readFlags
	prices  priceFlags
	filters filterFlags
	paths   []string
	retire  bool
	hostKey string
	last    bool
	dryRun  bool
	yes     bool
}

func newForget(c *console) *cobra.Command {
	x := &forgetCommand{c: c}
	cmd := &cobra.Command{
		Use:   "forget SNAPSHOT… | --path GLOB",
		Short: "Forget snapshots, or take paths out of them",
		Long: `Forgets the snapshots that are named: an id or the beginning of one, latest, or a time such as @2026-07. It is as if they had never been;
the room that they took is made free by the next runs of firn prune. The last snapshot of a source is forgotten only with --last. One on
which others are built (a chain of streams) stays as long as they do. A snapshot that cannot be read is named by its whole id.

With --path the snapshots are replaced by others without these files, everywhere or where --source, --host and --tag say, as after a
folder was backed up that should not have been. Patterns are those of --exclude. That takes a passphrase or identity.`,
		Example: `  firn forget 1f0c2a9b --dry-run
  firn forget 1f0c2a9b 77ab0e55
  firn forget --path '/home/*/Downloads' --source home --dry-run`,
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&x.paths, "path", nil, "take what matches out of the snapshots (repeat for more)")
	fl.BoolVar(&x.retire, "retire", false, "with --path: retire packs that still hold some of it, so that the rest is sent again and they can go")
	fl.BoolVar(&x.last, "last", false, "forget also the last snapshot of a source")
	fl.BoolVarP(&x.dryRun, "dry-run", "n", false, "tell what would be done, and do nothing")
	fl.BoolVarP(&x.yes, "yes", "y", false, "do not ask")
	fl.StringVar(&x.hostKey, "host-key", "", "key of a host that may prune (FIRN_HOST_KEY)")
	x.filters.register(cmd)
	x.prices.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *forgetCommand) run(ctx context.Context, args []string) error {
	switch {
	case len(x.paths) > 0 && len(args) > 0:
		return usage("say which by --source, --host and --tag", "--path is about many snapshots, and %q about one", args[0])
	case len(x.paths) > 0 && x.last:
		return usage("", "--path forgets no snapshot without another one in its place, and --last is about the last one of a source")
	case len(x.paths) > 0 && x.hostKey != "":
		return usage("leave out --host-key", "--path takes a passphrase or identity: no host's key opens content")
	case len(x.paths) > 0:
		return rewritePaths(ctx, x.c, &x.read, &x.prices, rewriteOptions{paths: x.paths, filters: x.filters, retire: x.retire, dryRun: x.dryRun, yes: x.yes})
	case len(args) == 0:
		return usage("firn snapshots lists them; firn prune forgets by rule", "which snapshots are to be forgotten?")
	case x.retire:
		return usage("", "--retire is for --path")
	}
	s, err := openPruner(ctx, x.c, &x.read, &hostFlags{keyFile: x.hostKey}, x.dryRun)
	if err != nil {
		return err
	}
	defer s.close()
	ids, err := x.named(ctx, s, args)
	if err != nil {
		return err
	}
	o := prune.Options{Repo: s.repo, Forget: ids, Last: x.last, Only: true, DryRun: x.dryRun, Grace: prune.DefaultGrace, Now: x.c.now, Report: x.c.listen().hear}
	if !x.dryRun && !x.yes && x.c.terminal {
		look := o
		look.DryRun = true
		res, err := prune.Run(ctx, look)
		x.c.endLine()
		if err != nil {
			return x.c.prunedError(err)
		}
		x.c.showPrune(res, nil, true)
		if err := x.c.confirm(ctx, sprintf("Forget %s?", counted(int64(len(ids)), "snapshot"))); err != nil {
			return err
		}
	}
	res, err := prune.Run(ctx, o)
	x.c.endLine()
	if err != nil {
		return x.c.prunedError(err)
	}
	return x.c.pruned(res, nil, x.dryRun)
}

// named finds the snapshots that the user names, each once.
func (x *forgetCommand) named(ctx context.Context, s *session, args []string) (ids []snapshot.ID, err error) {
	items, err := s.items(ctx)
	if err != nil {
		return nil, err
	}
	filter, err := x.filters.among(x.c, items)
	if err != nil {
		return nil, err
	}
	seen := map[snapshot.ID]bool{}
	for _, arg := range args {
		it, err := browse.Select(items, arg, filter, x.c.now(), time.Local)
		id, perr := snapshot.ParseID(arg)
		switch {
		case err == nil:
			id = it.ID
		case errors.Is(err, snapshot.ErrNone) && perr == nil: // perhaps one that cannot be read
		default:
			return nil, &advice.Error{Err: err, Hint: advice.Hint(err)}
		}
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	return ids, nil
}
