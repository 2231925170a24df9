package cli

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/store"
)

// lockCommand extends the locks of what the snapshots need.
type lockCommand struct {
	c      *console
	read   readFlags
	prices priceFlags
	least  string
	mode   string
	o      lockOptions
	cap    string
	again  bool
}

func newLock(c *console) *cobra.Command {
	x := &lockCommand{c: c}
	cmd := &cobra.Command{
		Use:   "lock --for TIME",
		Short: "Keep what the snapshots need from being deleted, by Object Lock",
		Long: `Extends the Object Lock of everything that the snapshots need, old objects too, so that for TIME from now nobody can delete it,
whatever keys were stolen. New objects are locked by a default of the bucket; that does not reach what is older, and a pack that a
snapshot of today shares with one of last year has to outlive both.

Run it now and then, from a machine whose credentials may do s3:PutObjectRetention; no host that backs up needs that. Only locks
that end before TIME are extended, and then to a third more, so that most runs have little to do. What is locked is remembered here;
elsewhere each object is asked for once. Prices are shown first. A lock is never shortened.

--mode governance: who has the right s3:BypassGovernanceRetention can lift it. --mode compliance: nobody can, not even the owner of the
account; what is stored has to be paid for until the end.`,
		Example: `  firn lock --for 90d --dry-run
  firn lock --for 90d --yes
  firn lock --for 1y --mode compliance --max-cost 5`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	fl := cmd.Flags()
	fl.StringVar(&x.least, "for", "", "how long from now, such as 90d")
	fl.StringVar(&x.mode, "mode", "", "governance or compliance (as the bucket locks new objects, else governance)")
	fl.BoolVar(&x.o.dryRun, "dry-run", false, "tell what would be locked and what that costs, and do nothing")
	fl.BoolVarP(&x.o.yes, "yes", "y", false, "do not ask")
	fl.StringVar(&x.cap, "max-cost", "", "do nothing if it may cost more than this, such as 2.50")
	fl.BoolVar(&x.again, "ask-again", false, "ask every object for its lock, whatever is remembered")
	complete(cmd, "mode", "governance", "compliance")
	x.prices.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *lockCommand) run(ctx context.Context) error {
	var err error
	if x.o.least, x.o.mode, err = parseLock("--for", x.least, "--mode", x.mode); err != nil {
		return err
	}
	if x.o.limit, err = (&thawFlags{maxCost: x.cap}).limit(); err != nil {
		return err
	}
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.openLister(ctx, &x.read.secrets, &hostFlags{}); err != nil {
		return err
	}
	table, err := x.prices.table()
	if err != nil {
		return err
	}
	if x.o.region, err = x.prices.find(table, s.st, &x.read.store); err != nil {
		return err
	}
	ids, err := s.repo.Scopes(ctx)
	if err != nil {
		return err
	}
	var scopes []*repo.ScopeState
	for _, id := range ids {
		scope, err := s.repo.Load(ctx, id, false)
		if err != nil {
			return err
		}
		s.tellDamaged(scope)
		scopes = append(scopes, scope)
	}
	x.o.forget = x.again
	return s.lockObjects(ctx, scopes, x.o)
}

// parseLock reads how long and how hard; the names are those of the flags.
func parseLock(leastFlag, least, modeFlag, mode string) (time.Duration, store.LockMode, error) {
	d, err := parseAge(least)
	if err != nil {
		return 0, "", usage("", "%s %q: want a number of days, weeks, months or years, such as 90d", leastFlag, least)
	}
	switch m := store.LockMode(strings.ToUpper(mode)); m {
	case store.NoLock, store.Governance, store.Compliance:
		return d, m, nil
	}
	return 0, "", usage("", "%s %q: want governance or compliance", modeFlag, mode)
}

// lockOptions say what is to be locked.
type lockOptions struct {
	least  time.Duration
	mode   store.LockMode
	keep   func(snapshot.Item) bool // nil: every done snapshot
	region *price.Region
	limit  *price.Money // most that it may cost; nil: anything
	dryRun bool
	yes    bool
	forget bool // what is remembered of locks
}

// lockObjects shows what is to be locked and what it costs, asks, and locks. Scopes are loaded; their index is not needed.
func (s *session) lockObjects(ctx context.Context, scopes []*repo.ScopeState, o lockOptions) error {
	want := repo.Locking{Mode: o.mode, Least: o.least, More: o.least / 3, Keep: o.keep, Region: o.region}
	if !o.forget {
		memory, err := repo.OpenLockMemory(s.state)
		if err != nil {
			return err
		}
		defer memory.Close(s.c.now())
		want.Memory = memory
	}
	p, err := s.repo.PlanLock(ctx, scopes, want)
	if errors.Is(err, repo.ErrCannotLock) {
		return failure("a bucket is made with Object Lock, or it is switched on in its properties, with versioning; other stores have none", "%v", err)
	}
	if err != nil {
		return err
	}
	s.showLock(o.region, p)
	if p.Missing > 0 {
		s.c.warn("%s that snapshots need are not there: firn check tells more", counted(p.Missing, "object"))
	}
	if total := p.Cost.Total(); o.limit != nil && total > *o.limit {
		return failure("raise --max-cost", "it may cost %s, more than the limit of %s", o.region.Format(total), o.region.Format(*o.limit))
	}
	if o.dryRun || p.Short+p.Unknown == 0 {
		return s.lockDone(o.region, p, &repo.LockResult{})
	}
	if !o.yes {
		if err := s.c.confirm(ctx, "Lock them?"); err != nil {
			return err
		}
	}
	res, err := s.repo.RunLock(ctx, p)
	s.c.endLine()
	if e := s.lockDone(o.region, p, res); e != nil {
		return e
	}
	switch {
	case errors.Is(err, store.ErrDenied):
		return failure("locking takes the rights s3:GetObjectRetention and s3:PutObjectRetention", "%v", err)
	case err == nil && res.Failed > 0:
		return failure("run it again: what is locked by now is left alone", "%s could not be locked", counted(res.Failed, "object"))
	}
	return err
}

func (s *session) showLock(region *price.Region, p *repo.LockPlan) {
	if s.c.json != "" || s.c.quiet {
		return
	}
	s.c.print("%s that snapshots need: %d locked long enough, %d to be extended, %d to be asked for their lock first\n", counted(p.Objects, "object"), p.Enough, p.Short, p.Unknown)
	if p.Short+p.Unknown > 0 {
		s.c.print("to %s (%s), at most %s\n", p.Until.In(time.Local).Format(timeFormat), strings.ToLower(string(p.Mode)), region.Format(p.Cost.Total()))
	}
	if p.Foreign > 0 {
		s.c.print("%s of other scopes are left out: the key at hand does not open them\n", counted(p.Foreign, "object"))
	}
	if p.Rule.Mode == store.NoLock {
		s.c.print("new objects are not locked by the bucket: a default retention there costs nothing and protects them from the start\n")
	}
}

// lockDone tells what was done.
func (s *session) lockDone(region *price.Region, p *repo.LockPlan, res *repo.LockResult) error {
	if res == nil {
		return nil
	}
	if s.c.json != "" {
		return s.c.objectOf("lock", lockJSON{p.Mode, p.Least, p.Until, p.Objects, p.Bytes, p.Enough, p.Short, p.Unknown, p.Missing, p.Foreign, p.Cost.Total(), region.Currency,
			lockResultJSON{res.Extended, res.Enough, res.Softer, res.Gone, res.Failed}})
	}
	if s.c.quiet || res.Extended+res.Enough+res.Failed == 0 {
		return nil
	}
	s.c.print("locked %s; %d were so already\n", counted(res.Extended, "object"), res.Enough)
	if res.Softer > 0 {
		s.c.print("%s stay in governance mode: a lock that holds is made harder only by who may lift it\n", counted(res.Softer, "object"))
	}
	return nil
}

// lockJSON is what lock prints with --json.
type lockJSON struct {
	Mode     store.LockMode `json:"mode"`
	Least    time.Time      `json:"least"`
	Until    time.Time      `json:"until"`
	Objects  int64          `json:"objects"`
	Bytes    int64          `json:"bytes"`
	Enough   int64          `json:"enough"`
	Short    int64          `json:"short"`
	Unknown  int64          `json:"unknown"`
	Missing  int64          `json:"missing"`
	Foreign  int64          `json:"foreign"`
	Cost     price.Money    `json:"cost"`
	Currency string         `json:"currency"`
	Result   lockResultJSON `json:"result"`
}

type lockResultJSON struct {
	Extended int64 `json:"extended"`
	Enough   int64 `json:"enough"`
	Softer   int64 `json:"softer"`
	Gone     int64 `json:"gone"`
	Failed   int64 `json:"failed"`
}
