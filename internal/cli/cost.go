package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/cost"
	"firn/internal/index"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
)

// costCommand says what a repository costs.
type costCommand struct {
	c      *console
	read   readFlags
	host   hostFlags
	prices priceFlags

	whatIf     []string
	months     int
	growthDays int
	days       float64
	estimate   bool
	plot       bool
	svg        string
}

func newCost(c *console) *cobra.Command {
	x := &costCommand{c: c}
	cmd := &cobra.Command{
		Use:   "cost",
		Short: "Show what the repository costs, will cost, and would cost elsewhere",
		Long: `Lists the store (one request for 1,000 objects) and says what it costs: now, by class and kind; over the next months, under the growth
that the snapshots show; what the last backup and a full restore cost, by each tier and route. No file content is read. Listing needs no
key; growth and the last backup need the key of this host, a passphrase or an identity.

Prices come with the program, dated and with their source; firn cost --json shows both. --prices names a TOML file with figures that
count before them:

  [aws.us-east-1.class.DEEP_ARCHIVE]        # corrects one figure, by the GB and month
  storage = 0.0009
  [aws.us-east-1.class.DEEP_ARCHIVE.tier.Bulk]
  per_gb = 0.002
  [cellar.nas]                              # adds a provider of your own
  like = "wasabi/any"`,
		Example: `  firn cost
  firn cost --months 36 --plot
  firn cost --svg cost.svg
  firn cost --what-if class=GLACIER --what-if region=eu-central-1 --what-if provider=wasabi
  firn cost --what-if provider=scaleway,region=fr-par,class=GLACIER
  firn cost --json | jq 'select(.event == "cost_restore")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	fl := cmd.Flags()
	fl.StringArrayVar(&x.whatIf, "what-if", nil, "compare with class=…,region=…,provider=… (repeat for more)")
	fl.IntVar(&x.months, "months", 12, "how many months to look ahead")
	fl.IntVar(&x.growthDays, "growth-days", 90, "days of history from which growth is derived")
	fl.Float64Var(&x.days, "days", 7, "days that thawed copies are kept during a restore")
	fl.BoolVar(&x.estimate, "estimate", false, "do not list the store: add up what the indexes know of packs")
	fl.BoolVar(&x.plot, "plot", false, "plot the next months")
	fl.StringVar(&x.svg, "svg", "", "write the plot into this file")
	_ = cmd.RegisterFlagCompletionFunc("what-if", x.completeWhatIf)
	_ = cmd.MarkFlagFilename("svg", "svg")
	x.prices.register(cmd)
	fl.StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.read.register(cmd)
	return cmd
}

// completeWhatIf offers class=, region= and provider= with their values, after what stands there already.
func (x *costCommand) completeWhatIf(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
	t, err := x.prices.table()
	if err != nil {
		t = price.Default()
	}
	before := ""
	if i := strings.LastIndexByte(typed, ','); i >= 0 {
		before = typed[:i+1]
	}
	seen := map[string]bool{}
	var out []string
	offer := func(text string) {
		if !seen[text] && !strings.Contains(before, text[:strings.IndexByte(text, '=')+1]) {
			seen[text] = true
			out = append(out, before+text)
		}
	}
	for _, p := range t.Providers() {
		offer("provider=" + p)
	}
	for _, key := range t.Regions() {
		offer("region=" + key)
		if r, err := t.Region(price.Parsed(key)); err == nil {
			for _, c := range r.Classes {
				offer("class=" + c.Name)
			}
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// costPlace is what one --what-if asks for; nothing is as it is.
type costPlace struct{ text, provider, region, class string }

// places reads --what-if.
func (x *costCommand) places() (all []costPlace, err error) {
	for _, text := range x.whatIf {
		p := costPlace{text: text}
		for _, part := range strings.Split(text, ",") {
			name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
			if !ok || value == "" {
				name = ""
			}
			switch name {
			case "class":
				p.class = value
			case "provider":
				p.provider = strings.ToLower(value)
			case "region":
				p.region = value
				if provider, region := price.Parsed(value); region != "" {
					p.provider, p.region = provider, region
				}
			default:
				return nil, usage("it is a list such as class=GLACIER,region=eu-west-1,provider=aws", "--what-if %q: %q is neither class=…, region=… nor provider=…", text, part)
			}
		}
		all = append(all, p)
	}
	return all, nil
}

// check refuses what makes no sense, before anything is opened.
func (x *costCommand) check() error {
	switch {
	case x.months < 1 || x.months > cost.MaxMonths:
		return usage("", "--months %d: want 1 to %d", x.months, cost.MaxMonths)
	case x.growthDays < 1 || x.growthDays > 3650:
		return usage("30 or 90 show the present growth", "--growth-days %d: want 1 to 3650", x.growthDays)
	case !(x.days >= 1 && x.days <= 365):
		return usage("", "--days %v: want 1 to 365", x.days)
	}
	if x.svg != "" {
		if _, err := os.Lstat(x.svg); err == nil {
			return failure("choose another name, or remove it", "%q is there already", x.svg)
		}
	}
	return nil
}

// costPicture is all that the command found out.
type costPicture struct {
	region  *price.Region
	table   *price.Table
	inv     *cost.Inventory
	outlook cost.Outlook
	stay    *cost.Alternative
	last    *cost.Backup
	others  []costOther
	keyless bool // nothing is known of snapshots
}

type costOther struct {
	costPlace
	*cost.Alternative
}

func (x *costCommand) run(ctx context.Context) error {
	if err := x.check(); err != nil {
		return err
	}
	places, err := x.places()
	if err != nil {
		return err
	}
	p := &costPicture{}
	if p.table, err = x.prices.table(); err != nil {
		return err
	}
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	if p.region, err = x.prices.find(p.table, s.st, &x.read.store); err != nil {
		return err
	}
	if err := x.look(ctx, s, p); err != nil {
		return err
	}
	p.stay = cost.Stay(p.region, p.inv, p.outlook)
	if err := x.compare(p, places); err != nil {
		return err
	}
	if x.svg != "" {
		if err := writeNew(x.svg, forecastSVG(p), 0o644); err != nil {
			return err
		}
	}
	if x.c.json != "" {
		return x.objects(p)
	}
	x.show(p)
	return nil
}

// look lists the store and reads the snapshots.
func (x *costCommand) look(ctx context.Context, s *session, p *costPicture) error {
	now := x.c.now()
	items, sets, err := x.history(ctx, s)
	switch {
	case errors.Is(err, errNoKeyAtHand) && !x.estimate:
		p.keyless = true
	case err != nil:
		return err
	}
	if x.estimate {
		p.inv, err = cost.Estimate(sets, p.region, now)
	} else {
		p.inv, err = cost.Take(ctx, s.st, p.region, now)
	}
	if err != nil {
		return err
	}
	p.outlook = cost.Outlook{Growth: cost.GrowthOf(items, now, time.Duration(x.growthDays)*24*time.Hour), Months: x.months, Days: x.days}
	if last, ok := cost.Last(p.region, p.inv.Bulk(), items, p.inv); ok {
		p.last = &last
	}
	return nil
}

var errNoKeyAtHand = errors.New("no key at hand")

// history reads the snapshots, and the indexes where those are to be added up. It fails with errNoKeyAtHand where neither the user nor this machine has a key.
func (x *costCommand) history(ctx context.Context, s *session) ([]snapshot.Item, []*index.Set, error) {
	cred, err := x.read.secrets.credential(ctx, x.c)
	if err != nil {
		return nil, nil, err
	}
	host, err := s.hostKey(&x.host)
	switch {
	case err != nil && cred == nil:
		return nil, nil, err
	case cred == nil && host == nil && !x.estimate:
		return nil, nil, errNoKeyAtHand
	case cred == nil && host != nil:
		err = s.open(ctx, repo.Access{Host: host})
	default:
		secrets, locked := unlock(ctx, x.c, s.st, cred)
		if locked != nil {
			return nil, nil, locked
		}
		err = s.open(ctx, repo.Access{Secrets: secrets})
	}
	if err != nil {
		return nil, nil, err
	}
	ids, err := s.repo.Scopes(ctx)
	if err != nil {
		return nil, nil, err
	}
	var items []snapshot.Item
	var sets []*index.Set
	for _, id := range ids {
		scope, err := s.repo.Load(ctx, id, x.estimate)
		if err != nil {
			return nil, nil, err
		}
		s.tellDamaged(scope)
		items, sets = append(items, scope.Items...), append(sets, scope.Set())
	}
	return items, sets, nil
}

// compare works out what --what-if asks for.
func (x *costCommand) compare(p *costPicture, places []costPlace) error {
	for _, at := range places {
		a, err := cost.At(p.table, p.region, p.inv, at.provider, at.region, at.class, p.outlook)
		if err != nil {
			return badPrices(err)
		}
		p.others = append(p.others, costOther{at, a})
	}
	return nil
}
