package cli

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/price"
	"firn/internal/transition"
	"firn/internal/units"
)

// transitionCommand moves content whose hot time is over into its cold class.
type transitionCommand struct {
	c      *console
	read   readFlags
	host   hostFlags
	prices priceFlags
	dryRun bool
	yes    bool
	anyway bool
}

func newTransition(c *console) *cobra.Command {
	x := &transitionCommand{c: c}
	cmd := &cobra.Command{
		Use:   "transition",
		Short: "Move content whose hot time is over into its cold class",
		Long: `Sources that are backed up with --class CLASS --hot-for TIME --then COLDER keep their content in CLASS until it is TIME old. This
command moves what is older: the store copies it in place, nothing is downloaded, and nothing is moved that would not pay for itself
within a year. Run it now and then (in a configuration the job transition of the repository does), from a machine whose credentials may
overwrite objects; backups need no such right. A host's write-only key is enough to tell what may move.`,
		Example: `  firn backup --repo s3://bucket/nas ~/photos --class STANDARD_IA --hot-for 30d --then DEEP_ARCHIVE
  firn transition --repo s3://bucket/nas --dry-run
  firn transition --repo s3://bucket/nas --yes`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&x.dryRun, "dry-run", false, "tell what would be moved and what that costs, and do nothing")
	fl.BoolVarP(&x.yes, "yes", "y", false, "do not ask")
	fl.BoolVar(&x.anyway, "anyway", false, "move also what does not pay for itself within a year")
	fl.StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.prices.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *transitionCommand) run(ctx context.Context) error {
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.openLister(ctx, &x.read.secrets, &x.host); err != nil {
		return err
	}
	table, err := x.prices.table()
	if err != nil {
		return err
	}
	o := transition.Options{Repo: s.repo, Now: x.c.now, Anyway: x.anyway, Report: x.c.listen().hear}
	if o.Region, err = x.prices.find(table, s.st, &x.read.store); err != nil {
		return err
	}
	ids, err := s.repo.Scopes(ctx)
	if err != nil {
		return err
	}
	for _, id := range ids {
		scope, err := s.repo.Load(ctx, id, true)
		if err != nil {
			return err
		}
		s.tellDamaged(scope)
		o.Scopes = append(o.Scopes, scope)
	}
	p, err := transition.Make(ctx, o)
	if errors.Is(err, transition.ErrUnknown) {
		return failure("give the prices with --prices, or move whatever it costs with --anyway", "%v", err)
	}
	if err != nil {
		return err
	}
	return x.act(ctx, o, p)
}

// act shows the plan, asks, and moves.
func (x *transitionCommand) act(ctx context.Context, o transition.Options, p *transition.Plan) error {
	if x.c.json == "" {
		x.show(o.Region, p)
	}
	if x.dryRun || len(p.Moves) == 0 {
		if x.c.json != "" {
			return x.c.objectOf("transition", transitionJSON{p, o.Region.Currency, p.Cost.Total(), &transition.Result{}})
		}
		return nil
	}
	if !x.yes {
		if err := x.c.confirm(ctx, "Move them?"); err != nil {
			return err
		}
	}
	res, err := transition.Run(ctx, o, p)
	x.c.endLine()
	if errors.Is(err, transition.ErrNoMover) {
		return failure("a lifecycle rule of the bucket can do it", "%v", err)
	}
	if res != nil && x.c.json != "" {
		if e := x.c.objectOf("transition", transitionJSON{p, o.Region.Currency, p.Cost.Total(), res}); e != nil {
			return e
		}
	} else if res != nil && !x.c.quiet {
		x.c.print("moved %s, %v\n", counted(res.Moved, "object"), units.Size(res.Size))
	}
	if err == nil && res.Failed > 0 {
		return failure("run it again: what has moved is left alone", "%s could not be moved", counted(res.Failed, "object"))
	}
	return err
}

// transitionJSON is what transition prints with --json.
type transitionJSON struct {
	*transition.Plan
	Currency string             `json:"currency"`
	Cost     price.Money        `json:"cost"`
	Result   *transition.Result `json:"result"`
}

func (x *transitionCommand) show(region *price.Region, p *transition.Plan) {
	if x.c.quiet {
		return
	}
	if p.Rules == 0 {
		x.c.print("no source has content that is to move: firn backup --class CLASS --hot-for TIME --then COLDER says so\n")
		return
	}
	if len(p.Moves) > 0 {
		x.c.print("%s, %v, to %s: costs %s, saves %s a month\n", counted(int64(len(p.Moves)), "object"), units.Size(p.Size), p.Moves[0].To,
			region.Format(p.Cost.Total()), region.Format(p.Saves))
	} else {
		x.c.print("nothing is to move now\n")
	}
	for _, why := range []struct {
		n    int64
		text string
	}{
		{p.Moved, "there already"}, {p.Young, "too young"}, {p.Shared, "needed by another source, which keeps them where they are"}, {p.Unpaid, "not worth it: moving them costs more than a year saves"},
		{p.Frozen, "in another cold class"}, {p.Unused, "in no snapshot"},
	} {
		if why.n > 0 {
			x.c.print("  %s %s\n", counted(why.n, "object"), why.text)
		}
	}
	if !p.Next.IsZero() {
		x.c.print("  the next will be old enough on %s\n", p.Next.In(time.Local).Format(timeFormat))
	}
}
