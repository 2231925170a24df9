package cli

import (
	"context"
	"errors"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/check"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/thaw"
	"firn/internal/units"
)

// checkCommand compares what is stored with what should be.
type checkCommand struct {
	c       *console
	read    readFlags
	host    hostFlags
	thaw    thawFlags
	listing bool
	noKey   bool
	plan    bool
	cold    bool
	sums    string
	data    string

	wish check.Wish
}

func newCheck(c *console) *cobra.Command {
	x := &checkCommand{c: c}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "See whether all that is stored is there and whole",
		Long: `Looks whether every object that snapshots need is there with its size, and whether indexes, snapshots and manifests are whole:
every file's chunks are known, and the packs that hold them. That reads no file content, and nothing in a cold class. More costs
more, and is said before:

  --sums        compares the SHA-256 that the store keeps of each object: a request for each, and nothing is fetched
  --read-data   fetches packs that need no thawing, and their recovery volumes, and verifies them to the last byte
  --thaw        does so with those in a cold class, too: it shows the price of every tier, asks, and goes on later where it stopped

How much: 10%, 1/12, 50G or 100 (packs); without a value, all. What was read the longest ago comes first, so --read-data=1/12 every
month has read everything after a year. --listing leaves out everything but the listing.

A passphrase or identity is needed to see which files damage hurts; the write-only key of a host opens indexes and snapshots; without
any key (--no-key) names and sums are compared. Nothing is ever changed: firn repair does that. Exit code 1: something is damaged.`,
		Example: `  firn check
  firn check --sums=10%
  firn check --read-data=1/12 --yes
  firn check --read-data=5% --thaw --tier bulk --max-cost 5
  firn check --read-data --plan
  firn check --no-key --sums
  firn check --json | jq -r 'select(.event == "finding") | .object'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&x.listing, "listing", false, "only look whether everything is there, with its size")
	fl.StringVar(&x.sums, "sums", "", "compare the sums that the store keeps: of all objects, or of N% of them")
	fl.StringVar(&x.data, "read-data", "", "read packs: all, N%, 1/N, a size, or a number of packs")
	fl.Lookup("sums").NoOptDefVal, fl.Lookup("read-data").NoOptDefVal = "100%", "100%"
	fl.BoolVar(&x.cold, "thaw", false, "read packs in cold classes as well, which have to be thawed")
	fl.BoolVar(&x.plan, "plan", false, "tell what would be read and what that costs, and do nothing")
	fl.BoolVar(&x.noKey, "no-key", false, "go by names and sums alone, without any key")
	fl.StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.thaw.register(cmd)
	x.read.register(cmd)
	return cmd
}

// parse reads the flags that say how much.
func (x *checkCommand) parse() error {
	if err := x.thaw.check(); err != nil {
		return err
	}
	if x.listing && (x.sums != "" || x.data != "" || x.cold) {
		return usage("leave --listing away", "--listing looks at the listing alone, and --sums, --read-data and --thaw at more")
	}
	x.wish.Metadata = !x.listing
	if x.sums != "" {
		part, ok := strings.CutSuffix(x.sums, "%")
		v, err := strconv.ParseFloat(part, 64)
		if !ok || err != nil || !(v > 0 && v <= 100) {
			return usage("", "--sums %q: want a share such as 10%%", x.sums)
		}
		x.wish.Sums = v / 100
	}
	var share check.Share
	if x.data != "" {
		var err error
		if share, err = parseShare(x.data); err != nil {
			return err
		}
		x.wish.Read = share
	}
	if x.cold {
		if x.data == "" {
			share.All = true
		}
		x.wish.Cold = share
	}
	return nil
}

// parseShare reads the value of --read-data.
func parseShare(text string) (s check.Share, err error) {
	bad := usage("", "--read-data %q: want 10%%, 1/12, a size such as 50G, or a number of packs", text)
	if part, ok := strings.CutSuffix(text, "%"); ok {
		v, err := strconv.ParseFloat(part, 64)
		if err != nil || !(v > 0 && v <= 100) {
			return s, bad
		}
		return check.Share{Part: v / 100, All: v == 100}, nil
	}
	if of, ok := strings.CutPrefix(text, "1/"); ok {
		n, err := strconv.Atoi(of)
		if err != nil || n < 1 || n > 10_000 {
			return s, bad
		}
		return check.Share{Of: n}, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 1 {
			return s, bad
		}
		return check.Share{Packs: n}, nil
	}
	size, err := units.ParseSize(text)
	if err != nil || size <= 0 {
		return s, bad
	}
	return check.Share{Bytes: int64(size)}, nil
}

func (x *checkCommand) run(ctx context.Context) error {
	if err := x.parse(); err != nil {
		return err
	}
	x.read.store.noCache = true // what lies near by proves nothing of what is stored
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	o := check.Options{Store: s.st, Report: x.c.report(), Now: x.c.now, Dir: s.state.ChunkTableDir()}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o700); err != nil {
			o.Dir = ""
		}
	}
	if o.Access, err = x.access(ctx, s); err != nil {
		return err
	}
	if o.Region, err = x.thaw.prices.orNone(s.st, &x.read.store); err != nil {
		return err
	}
	lock, err := s.state.Lock(state.SourceID([]byte("check   ")), x.c.now()) // sources have random ids
	switch {
	case errors.As(err, new(*state.HeldError)):
		x.c.note("another check of this repository is at work: what this one reads is not remembered")
	default: // without a lock, where state cannot be written, nothing is remembered anyway
		o.History = check.OpenHistory(s.state)
		defer func() {
			o.History.Close()
			if lock != nil {
				lock.Release()
			}
		}()
	}
	k, err := check.Open(ctx, o)
	if err != nil {
		return err
	}
	defer k.Close()
	return x.check(ctx, s, k, o.Region)
}

// access finds the keys at hand; nil: none.
func (x *checkCommand) access(ctx context.Context, s *session) (*repo.Access, error) {
	if x.noKey {
		return nil, nil
	}
	cred, err := x.read.secrets.credential(ctx, x.c)
	if err != nil {
		return nil, err
	}
	if cred == nil && (!x.c.terminal || x.host.explicit()) {
		host, err := s.hostKey(&x.host)
		if err != nil {
			return nil, err
		}
		if host == nil {
			x.c.note("without a key: names and sums are compared, and nothing is known of what snapshots need")
			return nil, nil
		}
		x.c.note("with the write-only key of this host: manifests are not read, and damage is told by snapshot, not by file")
		return &repo.Access{Host: host}, nil
	}
	secrets, err := unlock(ctx, x.c, s.st, cred)
	return &repo.Access{Secrets: secrets}, err
}

// check plans, asks, and does it.
func (x *checkCommand) check(ctx context.Context, s *session, k *check.Check, region *price.Region) error {
	var job *thaw.Job
	var err error
	keep := s.jobState()
	key := sprintf("check-%x", s.header.ID)
	if x.cold && !x.plan {
		if job, err = thaw.Find(keep, key, x.c.now()); err != nil {
			return err
		}
		if job != nil {
			defer job.Close()
			x.c.note("going on with job %s of %s", job.Header().ID[:8], job.Header().Created.Local().Format(timeFormat))
			x.wish.Cold = check.Share{} // what it is about was chosen then
		}
	}
	p, err := k.Plan(ctx, x.wish)
	if err != nil {
		return err
	}
	if err := x.agree(ctx, region, p); err != nil {
		return err
	}
	look := &outlook{region: region, link: thaw.Link{Down: linkOf(s.state, &x.read.store).Down}, metas: true}
	if x.thaw.link > 0 {
		look.link.Down = float64(x.thaw.link)
	}
	if len(p.Needs) > 0 {
		if job, look, err = x.begin(ctx, s, key, p); err != nil {
			return err
		}
		if job != nil {
			defer job.Close()
		}
	}
	if x.plan {
		return nil
	}
	if err := x.parts(ctx, k, p); err != nil {
		return x.interrupted(ctx, err)
	}
	if job != nil {
		if err := x.runJob(ctx, s, k, job, look); err != nil {
			return x.interrupted(ctx, err)
		}
	}
	r, err := k.Report(ctx)
	x.c.endLine()
	if err != nil {
		return err
	}
	return x.report(r, job)
}

func (x *checkCommand) interrupted(ctx context.Context, err error) error {
	x.c.endLine()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &advice.Error{Text: "interrupted", Hint: "run it again: what was read is remembered, and read last", Err: err}
	}
	return err
}

// parts does what needs no thawing.
func (x *checkCommand) parts(ctx context.Context, k *check.Check, p *check.Plan) error {
	if x.wish.Metadata {
		if err := k.Metadata(ctx); err != nil {
			return err
		}
	}
	if err := k.Sums(ctx, p); err != nil {
		return err
	}
	return k.Read(ctx, p)
}

// checkStepJSON is what --plan --json says of each part.
type checkStepJSON struct {
	Event    string      `json:"event"` // step
	What     string      `json:"what"`  // sums, metadata, read
	Class    string      `json:"class"`
	Objects  int64       `json:"objects"`
	Requests int64       `json:"requests"`
	Bytes    int64       `json:"bytes"`
	Cost     price.Money `json:"cost"`
	Currency string      `json:"currency,omitempty"`
}

// cost is what a part costs, and of all of it what leaves the store.
func stepCost(region *price.Region, route string, s check.Step) price.Money {
	if region == nil {
		return 0
	}
	bill := price.Bill{region.Get(s.Class, s.Gets, s.Bytes), region.Egress(route, s.Bytes, 0)}
	return bill.Total()
}

// agree says what the parts cost and, where content or single objects are asked for, asks.
func (x *checkCommand) agree(ctx context.Context, region *price.Region, p *check.Plan) error {
	route := x.thaw.route
	if route == "" {
		route = price.Direct
	}
	t := x.c.table("part", "class", ">objects", ">requests", ">to fetch", ">cost")
	var total, asked price.Money
	for _, s := range p.Steps {
		cost := stepCost(region, route, s)
		total += cost
		if s.What != "metadata" {
			asked += cost
		}
		price := ""
		if region != nil {
			price = region.Format(cost)
		}
		t.row(s.What, s.Class, units.Count(s.Objects), units.Count(s.Gets), units.Size(s.Bytes).String(), price)
		if x.plan && x.c.json != "" {
			j := checkStepJSON{Event: "step", What: s.What, Class: s.Class, Objects: s.Objects, Requests: s.Gets, Bytes: s.Bytes, Cost: cost}
			if region != nil {
				j.Currency = region.Currency
			}
			if err := x.c.object(j); err != nil {
				return err
			}
		}
	}
	if x.c.json == "" && !x.c.quiet && (x.plan || total > 0 || x.c.verbose) {
		t.print()
		if total > 0 {
			x.c.print("at most %s in all; prices of %s\n", region.Format(total), region.Key())
		}
	}
	if region == nil && (x.wish.Sums > 0 || x.wish.Read.Any()) {
		x.c.note("no prices are known for this store: --price-region or --prices gives them")
	}
	limit, err := x.thaw.limit()
	if err != nil || x.plan {
		return err
	}
	switch {
	case limit != nil && region == nil && (x.wish.Sums > 0 || x.wish.Read.Any()):
		return failure("give the prices with --prices, or leave --max-cost out", "what it costs is not known, so --max-cost cannot be kept to")
	case limit != nil && total > *limit:
		return &advice.Error{Err: &thaw.BudgetError{Max: *limit, Needed: total, Currency: region.Currency}}
	case limit != nil || x.thaw.yes || asked == 0:
		return nil
	}
	return x.c.confirm(ctx, sprintf("Check it for %s?", region.Format(total)))
}

// begin shows what has to be thawed, asks, and makes a job; nil: nothing does, or it is only a plan.
func (x *checkCommand) begin(ctx context.Context, s *session, key string, p *check.Plan) (*thaw.Job, *outlook, error) {
	look, err := x.thaw.look(ctx, s, &x.read.store, p.Needs, false)
	if err != nil {
		return nil, nil, err
	}
	look.metas = true
	offer, err := x.thaw.choose(look)
	if err != nil {
		return nil, nil, err
	}
	if x.c.json == "" && !x.c.quiet {
		look.show(x.c, offer)
	}
	if x.plan {
		if x.c.json == "" {
			return nil, look, nil
		}
		return nil, look, x.c.objectOf("thaw_offers", struct {
			Offers []offerJSON `json:"offers"`
		}{look.json()})
	}
	if err := x.thaw.agree(ctx, x.c, look, offer); err != nil {
		return nil, nil, err
	}
	h, err := x.thaw.header(offer, look, "check", key)
	if err != nil {
		return nil, nil, err
	}
	job, err := thaw.Create(s.jobState(), h, p.Needs, x.c.now())
	return job, look, err
}

// runJob thaws and verifies what is cold.
func (x *checkCommand) runJob(ctx context.Context, s *session, k *check.Check, job *thaw.Job, look *outlook) error {
	run := x.thaw.runOptions(s, look)
	hear := x.c.listen()
	run.Events, run.Fetch = hear.hear, k.Fetch
	run.OnStatus = func(st thaw.Status) { hear.thawed(statusEvent(&st)) }
	res, err := thaw.Run(ctx, job, run)
	x.c.endLine()
	var left *thaw.LeftError
	if errors.As(err, &left) {
		for _, r := range res.Refused {
			x.c.warn("%s could not be thawed: %v", r.Object, r.Err)
		}
		if left.Refused > 0 {
			return err
		}
		return job.End(thaw.Done, x.c.now()) // what is gone the listing has told
	}
	return err
}
