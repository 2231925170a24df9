package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/prune"
	"firn/internal/repo"
	"firn/internal/retain"
	"firn/internal/retention"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/units"
)

// pruneCommand forgets by rule, and deletes what nobody needs.
type pruneCommand struct {
	c       *console
	read    readFlags
	prices  priceFlags
	keep    retentionFlags
	file    string
	rules   retention.Rules // of the file or the configuration; nil: the flags say what is kept
	all     bool
	source  string
	hostKey string
	grace   optionalAge
	early   bool
	cap     string
	refresh string
	lock    string
	dryRun  bool
	yes     bool
}

func newPrune(c *console) *cobra.Command {
	x := &pruneCommand{c: c}
	x.grace = optionalAge{d: prune.DefaultGrace, text: "24h"}
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Forget snapshots by rule, and delete what no snapshot needs",
		Long: `Forgets the snapshots that no rule keeps (firn retention explain shows what the rules say of each), and deletes the packs that no snapshot
needs any more. Backups may run beside it, and other prunes: no lock is taken. So packs are retired first, and deleted by a prune that
runs a time of grace later: run it now and then, from one machine or several.

A pack whose storage class bills a least stay waits until deleting it is free. --early does not wait, up to --max-cost.

Nothing is read from a cold class, ever. A snapshot is never written again, so an old pack goes as a whole, with the last snapshot that
needs a byte of it. What "repack" is elsewhere is here a refresh from the source: packs of which little is left in the newest snapshots
are retired, the next backups read what is left from the source and send it again, and the old packs go with the old snapshots. It is done
where it pays (which takes a passphrase or identity: manifests are read), up to a tenth of what is needed in one run. --refresh never
switches it off, --refresh 10G bounds what is sent again, --refresh all takes every pack that is not full.

Without any --keep the configuration says what stays of each of its sources; what it does not speak of stays.

A key made by firn keys write-only --prune is enough, on another machine than the backups; a passphrase or identity is, too. On a
terminal you are asked first; elsewhere it goes on, but for --keep-none, which takes --yes.`,
		Example: `  firn prune --keep-daily 7 --keep-weekly 5 --keep-monthly 12 --dry-run
  firn prune --keep-within 90d --keep-tag release --host-key prune.key
  firn prune --keep-all
  firn prune --keep-last 30 --early --max-cost 5`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	x.keep.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&x.file, "keep-file", "", "policies of sources, as JSON: [{\"source\": \"/home\", \"keep\": [\"--keep-daily=7\"]}]; what is not named stays")
	fl.BoolVar(&x.all, "keep-all", false, "forget none: only delete what is not needed any more")
	fl.StringVar(&x.source, "source", "", "forget only snapshots of this source: its name, path or id")
	fl.BoolVarP(&x.dryRun, "dry-run", "n", false, "tell what would be done, and do nothing")
	fl.BoolVarP(&x.yes, "yes", "y", false, "do not ask")
	fl.Var(&graceFlag{&x.grace}, "grace", "time between retiring and deleting; 0 on a store whose listings are never late")
	fl.BoolVar(&x.early, "early", false, "delete also what has not served its least stay, which costs the rest of it")
	fl.StringVar(&x.cap, "max-cost", "", "spend no more than this on --early, such as 2.50")
	fl.StringVar(&x.refresh, "refresh", "auto", "packs of which little is left: auto, never, all, or how much may be sent again, such as 10G")
	fl.StringVar(&x.lock, "lock", "", "then keep what the snapshots need from being deleted for so long, such as 90d (firn lock --help)")
	fl.StringVar(&x.hostKey, "host-key", "", "key of a host that may prune (FIRN_HOST_KEY)")
	complete(cmd, "refresh", "auto", "never", "all")
	x.prices.register(cmd)
	x.read.register(cmd)
	return cmd
}

// graceFlag is a time that may be 0.
type graceFlag struct{ *optionalAge }

// Set implements pflag.Value.
func (g *graceFlag) Set(text string) error {
	if text == "0" {
		g.d, g.text = 0, text
		return nil
	}
	return g.optionalAge.Set(text)
}

func (x *pruneCommand) run(ctx context.Context) error {
	o := prune.Options{Grace: x.grace.d, Early: x.early, DryRun: x.dryRun, Now: x.c.now}
	policy, err := x.policy()
	if err != nil {
		return err
	}
	policy.None = policy.None || x.rules.ForgetsAll()
	if x.lock != "" {
		if _, _, err := parseLock("--lock", x.lock, "--mode", ""); err != nil {
			return err
		}
	}
	if o.Last = policy.None; o.Last && !x.dryRun && !x.yes && !x.c.terminal {
		return failure("add --yes if that is meant", "nobody can be asked whether every snapshot is to be forgotten")
	}
	if o.Refresh, err = parseRefresh(x.refresh); err != nil {
		return err
	}
	limit, err := (&thawFlags{maxCost: x.cap}).limit()
	switch {
	case err != nil:
		return err
	case x.early && limit == nil:
		return usage("such as --max-cost 5; --dry-run says what would be needed", "--early deletes what is paid for: how much may that cost?")
	case limit != nil && !x.early:
		return usage("", "--max-cost bounds what --early costs, and --early is not given")
	case limit != nil:
		o.MaxCost = *limit
	}
	s, err := openPruner(ctx, x.c, &x.read, &hostFlags{keyFile: x.hostKey}, x.dryRun)
	if err != nil {
		return err
	}
	defer s.close()
	if o.Region, err = x.prices.orNone(s.st, &x.read.store); err != nil {
		return err
	}
	if o.Region == nil {
		x.c.note("no prices are known for this store, nor whether it bills a least stay: packs are deleted as soon as nobody needs them (--price-region or --prices tell)")
	}
	o.Repo = s.repo
	if !x.all {
		if o.Decide, err = x.decide(ctx, s, policy); err != nil {
			return err
		}
	}
	if err := x.remembering(ctx, s, o); err != nil || x.lock == "" {
		return err
	}
	table, err := x.prices.table()
	if err != nil {
		return err
	}
	region, err := x.prices.find(table, s.st, &x.read.store)
	if err != nil {
		return err
	}
	return x.lockKept(ctx, s, region)
}

// remembering is act with what this machine knows of locks.
func (x *pruneCommand) remembering(ctx context.Context, s *session, o prune.Options) error {
	if _, ok := store.As[store.Locker](s.st); !ok || x.dryRun {
		return x.act(ctx, o)
	}
	memory, err := repo.OpenLockMemory(s.state)
	if err != nil {
		return err
	}
	defer memory.Close(x.c.now())
	o.Locks = memory
	return x.act(ctx, o)
}

// policy is what the flags say is kept.
func (x *pruneCommand) policy() (retain.Policy, error) {
	p, err := x.keep.policy()
	if x.file != "" {
		return x.readRules(err == nil || !errors.Is(p.Check(), retain.ErrEmpty))
	}
	var bad *advice.Error
	empty := errors.As(err, &bad) && errors.Is(p.Check(), retain.ErrEmpty)
	switch {
	case x.all && x.source != "":
		return p, usage("", "--source says of which source snapshots are forgotten, and --keep-all forgets none")
	case x.all && x.refresh != "auto" && x.refresh != "never":
		return p, usage("say by rules which snapshots stay, such as --keep-last 100", "--refresh goes by how long snapshots stay, and --keep-all does not tell")
	case x.all && empty:
		return retain.Policy{}, nil
	case x.all && err == nil:
		return p, usage("leave out one of them", "--keep-all forgets none, but another flag says which to keep")
	case empty && x.source == "":
		rules, wrong := x.c.policies()
		if wrong != nil || len(rules) > 0 {
			x.rules = rules
			return retain.Policy{}, wrong
		}
	}
	if empty {
		bad.Hint += ", --keep-all everything"
	}
	return p, err
}

// readRules reads --keep-file; said tells that other flags say what is kept, too.
func (x *pruneCommand) readRules(said bool) (p retain.Policy, err error) {
	if said || x.all || x.source != "" {
		return p, usage("write it into the file", "--keep-file says what is kept of each source, and so does another flag")
	}
	x.rules, err = readKeepFile(x.file)
	return p, err
}

// decide puts the policy into the words of package prune.
func (x *pruneCommand) decide(ctx context.Context, s *session, policy retain.Policy) (prune.Decide, error) {
	if x.rules != nil {
		items, err := s.items(ctx)
		if err != nil {
			return nil, err
		}
		tellRules(x.c, x.rules, items)
		return func(items []snapshot.Item, now time.Time) ([]snapshot.ID, error) {
			return x.rules.Decide(items, now, time.Local), nil
		}, nil
	}
	filters := filterFlags{source: x.source}
	filter := filters.filter()
	if x.source != "" {
		items, err := s.items(ctx)
		if err != nil {
			return nil, err
		}
		if filter, err = filters.among(x.c, items); err != nil {
			return nil, err
		}
	}
	return func(items []snapshot.Item, now time.Time) (gone []snapshot.ID, err error) {
		mine := map[snapshot.ID]bool{}
		if x.source != "" {
			for _, it := range browse.Snapshots(items, filter) {
				mine[it.ID] = true
			}
		}
		for _, v := range retain.Decide(retention.Snapshots(items), policy, now, time.Local) {
			if !v.Keep && (x.source == "" || mine[snapshot.ID(v.ID)]) {
				gone = append(gone, snapshot.ID(v.ID))
			}
		}
		return gone, nil
	}, nil
}

func parseRefresh(text string) (prune.Refresh, error) {
	switch text {
	case "auto":
		return prune.Refresh{}, nil
	case "never":
		return prune.Refresh{Off: true}, nil
	case "all":
		return prune.Refresh{All: true}, nil
	}
	var size units.Size
	if err := size.Set(text); err != nil || size <= 0 {
		return prune.Refresh{}, usage("", "--refresh %q: want auto, never, all, or a size such as 10G", text)
	}
	return prune.Refresh{Budget: int64(size)}, nil
}

// openPruner opens the repository for somebody who may prune: with a passphrase or identity if one is given, with the key of a host that may, or with what the user types. To look, any
// key will do.
func openPruner(ctx context.Context, c *console, read *readFlags, h *hostFlags, look bool) (*session, error) {
	s, err := openSession(ctx, c, &read.store)
	if err != nil {
		return nil, err
	}
	if look {
		s.pretend()
	}
	if err := s.openToPrune(ctx, &read.secrets, h, look); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *session) openToPrune(ctx context.Context, f *secretFlags, h *hostFlags, look bool) error {
	cred, err := f.credential(ctx, s.c)
	if err != nil {
		return err
	}
	if cred == nil {
		host, err := s.hostKey(h)
		if err != nil {
			return err
		}
		if host != nil && (look || h.explicit() || mayPrune(host)) {
			if !look && !mayPrune(host) {
				return failure("firn keys write-only --prune makes a key that may; a passphrase or identity may as well", "the key of host %q may not prune", host.Name)
			}
			return s.open(ctx, repo.Access{Host: host})
		}
	}
	secrets, err := unlock(ctx, s.c, s.st, cred)
	if err != nil {
		return err
	}
	return s.open(ctx, repo.Access{Secrets: secrets})
}

// mayPrune reports whether a host is certified to prune.
func mayPrune(host *keys.HostKey) bool {
	cert, err := keys.ParseCertificate(host.Certificate)
	return err == nil && cert.Role == keys.Pruner
}

// act prunes, and asks before where somebody is there.
func (x *pruneCommand) act(ctx context.Context, o prune.Options) error {
	if !x.dryRun && !x.yes && x.c.terminal {
		look := o
		look.DryRun = true
		look.Report = x.c.listen().hear
		res, err := prune.Run(ctx, look)
		x.c.endLine()
		if err != nil {
			return x.c.prunedError(err)
		}
		if res.Forgets() || res.Deleted.Packs > 0 || res.Retired.Packs > 0 || res.Refreshed.Packs > 0 {
			x.c.showPrune(res, o.Region, true)
			if err := x.c.confirm(ctx, "Go on?"); err != nil {
				return err
			}
		}
	}
	o.Report = x.c.listen().hear
	res, err := prune.Run(ctx, o)
	x.c.endLine()
	if err != nil {
		return x.c.prunedError(err)
	}
	if res.Needed.Packs == 0 && res.Deleted.Packs == 0 && !res.Forgets() && len(res.Waiting) == 0 {
		x.c.note("nothing is stored that this key reaches: the key of a host prunes its own scope alone (firn keys write-only --prune --scope NAME)")
	}
	return x.c.pruned(res, o.Region, x.dryRun)
}

// prunedError says what can be done about an error.
func (c *console) prunedError(err error) error {
	var unread *prune.UnreadableError
	var last *prune.LastError
	var base *prune.BaseError
	switch {
	case errors.As(err, &unread):
		e := &advice.Error{Err: err, Hint: "firn check tells more, firn repair mends what it can; a snapshot that is lost is given up by firn forget with its whole id (-v names all)"}
		if c.verbose || c.json != "" {
			e.Text = unread.Whole()
		}
		return e
	case errors.As(err, &last):
		return &advice.Error{Err: err, Hint: "firn forget --last forgets it if that is meant; firn prune --keep-none forgets all"}
	case errors.As(err, &base):
		return &advice.Error{Err: err, Hint: "forget these with it, or later: firn snapshots shows which are built on it"}
	case errors.Is(err, prune.ErrGrace):
		return &advice.Error{Err: err, Code: advice.Usage, Hint: "leave out --grace"}
	case errors.Is(err, prune.ErrRecords):
		return &advice.Error{Err: err, Hint: "run it once with a passphrase or identity: until then backups wait, too"}
	case errors.Is(err, prune.ErrNothing):
		return &advice.Error{Err: err, Hint: "firn snapshots lists them"}
	case errors.Is(err, repo.ErrWriteOnly):
		return &advice.Error{Err: err, Text: "the key at hand may not prune", Hint: "firn keys write-only --prune makes one that may; a passphrase or identity may as well"}
	case errors.Is(err, store.ErrDenied):
		return &advice.Error{Err: err, Hint: "pruning takes the right to delete (s3:DeleteObject, with versions s3:DeleteObjectVersion)"}
	}
	return err
}

// lockKept locks what is left.
func (x *pruneCommand) lockKept(ctx context.Context, s *session, region *price.Region) error {
	least, mode, err := parseLock("--lock", x.lock, "--mode", "")
	if err != nil {
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
		scopes = append(scopes, scope)
	}
	return s.lockObjects(ctx, scopes, lockOptions{least: least, mode: mode, region: region, dryRun: x.dryRun, yes: x.yes || !x.c.terminal})
}

// prunedJSON is what prune and forget print with --json.
type prunedJSON struct {
	DryRun    bool            `json:"dry_run"`
	At        time.Time       `json:"at"`
	Currency  string          `json:"currency,omitempty"`
	Forgotten []forgottenJSON `json:"forgotten"`
	Locked    int             `json:"locked"`
	Needed    prune.Amount    `json:"needed"`
	Retired   prune.Amount    `json:"retired"`
	Deleted   prune.Amount    `json:"deleted"`
	Parts     int             `json:"pack_sets"`
	Early     price.Money     `json:"early"`
	Waiting   []prune.Waiting `json:"waiting"`
	Refreshed prune.Refreshed `json:"refreshed"`
	Tidied    map[string]int  `json:"tidied"`
}

type forgottenJSON struct {
	ID     string    `json:"snapshot"`
	Scope  string    `json:"scope"`
	Source string    `json:"source"`
	Host   string    `json:"host"`
	Stored time.Time `json:"time"`
	Why    prune.Why `json:"why"`
}

// pruned tells what a prune did.
func (c *console) pruned(res *prune.Result, region *price.Region, dry bool) error {
	if c.json == "" {
		c.showPrune(res, region, dry)
		return nil
	}
	j := prunedJSON{DryRun: dry, At: res.At.UTC(), Forgotten: []forgottenJSON{}, Locked: res.Locked, Needed: res.Needed, Retired: res.Retired, Deleted: res.Deleted, Parts: res.Parts, Early: res.Early,
		Waiting: res.Waiting, Refreshed: res.Refreshed, Tidied: map[string]int{"indexes": res.Indexes, "records": res.Records, "states": res.States}}
	if j.Waiting == nil {
		j.Waiting = []prune.Waiting{}
	}
	if region != nil {
		j.Currency = region.Currency
	}
	for _, f := range res.Forgotten {
		j.Forgotten = append(j.Forgotten, forgottenJSON{f.ID.String(), f.Scope.String(), advice.SourceName(f.Source), f.Host, f.Stored.UTC(), f.Why})
	}
	return c.objectOf("prune", j)
}

// amountText shows packs, and what they cost.
func amountText(a prune.Amount, region *price.Region) string {
	text := sprintf("%s, %v", counted(a.Packs, "pack"), units.Size(a.Bytes))
	if region != nil && a.Month > 0 {
		text += ", " + region.Format(a.Month) + " a month"
	}
	return text
}

var whyForgotten = map[prune.Why]string{prune.ByRule: "no rule keeps it", prune.Asked: "as asked", prune.Undone: "never confirmed, and replaced", prune.Partial: "of a backup that did not end, and replaced",
	prune.Before: "forgotten before, and still there"}

func (c *console) showPrune(res *prune.Result, region *price.Region, dry bool) {
	if c.quiet {
		return
	}
	would := func(did, todo string) string {
		if dry {
			return todo
		}
		return did
	}
	for _, f := range res.Forgotten {
		c.tell("%s %s  %s  %s  (%s)\n", would("forgot", "would forget"), hex.EncodeToString(f.ID[:4]), f.Stored.Local().Format(timeFormat), printable(advice.SourceName(f.Source)), whyForgotten[f.Why])
	}
	if res.Locked > 0 {
		c.tell("%s forgotten, and kept by a lock for now\n", counted(int64(res.Locked), "snapshot"))
	}
	if res.Deleted.Packs+int64(res.Parts) > 0 {
		c.tell("%s %s\n", would("deleted", "would delete"), amountText(res.Deleted, region))
	}
	if res.Early > 0 && region != nil {
		c.tell("  %s for least stays that are cut short\n", region.Format(res.Early))
	}
	if res.Retired.Packs > 0 {
		c.tell("%s %s that no snapshot needs\n", would("retired", "would retire"), amountText(res.Retired, region))
	}
	c.showRefresh(&res.Refreshed, region, would)
	for _, w := range res.Waiting {
		c.showWaiting(&w, region)
	}
	if res.Needed.Packs > 0 {
		c.tell("%s needed\n", amountText(res.Needed, region))
	}
}

func (c *console) showRefresh(r *prune.Refreshed, region *price.Region, would func(did, todo string) string) {
	if r.Blind {
		c.note("packs of which little is left are not looked for: that takes a passphrase or identity, since manifests tell (--refresh never: do not look)")
	}
	if r.Packs > 0 {
		c.tell("%s %s of which little is left: the next backups send about %v again, and they are gone by %s\n", would("retired", "would retire"), amountText(r.Amount, region), units.Size(r.Resend),
			r.Until.Local().Format("2006-01-02"))
	}
	if r.Left > 0 {
		c.tell("  %s more in later runs\n", counted(r.Left, "pack"))
	}
}

func (c *console) showWaiting(w *prune.Waiting, region *price.Region) {
	until := ""
	if !w.Until.IsZero() {
		until = " until " + w.Until.Local().Format("2006-01-02 15:04")
		if w.First.Before(w.Until) {
			until = sprintf(" from %s to %s", w.First.Local().Format("2006-01-02"), w.Until.Local().Format("2006-01-02"))
		}
	}
	text := amountText(w.Amount, region)
	switch w.Why {
	case prune.Grace:
		c.tell("%s wait for a prune after the time of grace,%s\n", text, until)
	case prune.Stay:
		c.tell("%s wait until deleting them is free,%s; now it would cost %s\n", text, until, region.Format(w.Cost))
	case prune.Young:
		c.tell("%s are so young that a backup under way may need them,%s\n", text, until)
	case prune.Lock:
		c.tell("%s are locked%s\n", text, until)
	}
}
