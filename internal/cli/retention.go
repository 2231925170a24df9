package cli

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/retain"
	"firn/internal/retention"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// newRetention holds the commands about which snapshots are kept.
func newRetention(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use: "retention", Short: "Show which snapshots rules keep, and why",
		Long: `Rules say which snapshots are kept; what one of them keeps is kept. Each source is decided by itself, by the store's clock, and its newest
snapshot always stays.

  --keep-last 10                    the newest ten
  --keep-daily 7 --keep-monthly 12  the first one of each of seven days and twelve months that have one; also
                                    hourly, weekly (from Monday on), quarterly, yearly
  --keep-within 30d                 what is younger; time without backups makes nothing old
  --keep-tag NAME                   what has the tag
  --keep-min 5                      never fewer than five of a source
  --cycle "simple frequency=1 phase=0 diffs=6 fulls=4"
                                    a full every seven backups, four fulls kept, each with its diffs; the oldest
                                    goes once the newest is done
  --cycle "hanoi frequency=1 phase=0 discs=5 archive-oldest=no full=no"
                                    ages of about 1, 2, 4, 8 and 16 days; archive-oldest=yes keeps one in 16 for
                                    good, full=yes makes each backup independent of the others

A cycle is planned by firn backup --cycle as well: frequency is in days, phase moves the days on which a backup is due.

Snapshots that lie closer together than half of how often a source is backed up count as one (--burst says otherwise). So whoever
steals the key of a host and stores snapshots without end cannot push out what was there.`,
		Example: `  firn retention explain --keep-daily 7 --keep-weekly 5 --keep-monthly 12`,
	}
	cmd.AddCommand(newRetentionExplain(c))
	return asFolder(cmd)
}

// retentionCommand explains what rules keep.
type retentionCommand struct {
	c       *console
	read    readFlags
	host    hostFlags
	filters filterFlags
	keep    retentionFlags
	file    string
	rules   retention.Rules // of the file; nil: the flags say what is kept
	prices  priceFlags
	year    int
}

func newRetentionExplain(c *console) *cobra.Command {
	x := &retentionCommand{c: c}
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Show what is kept, what goes, and why, without doing anything",
		Long: `Says of each snapshot which rule keeps it and until when, or why it goes, and draws a year: a column for each week, a mark for each
day. Nothing is deleted; a host's own key is enough. firn retention --help tells what the rules mean. With --tag all snapshots are
decided, and those with the tag are shown. Without any rule those of the configuration hold.`,
		Example: `  firn retention explain --keep-daily 7 --keep-weekly 5 --keep-monthly 12
  firn retention explain --source /home --cycle "hanoi discs=6 archive-oldest=yes" --price-region aws/us-east-1
  firn retention explain --keep-last 3 --json | jq -r 'select(.keep == false) | .snapshot'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return x.run(cmd.Context()) },
	}
	x.keep.register(cmd)
	cmd.Flags().StringVar(&x.file, "keep-file", "", "policies of sources, as JSON (firn prune --help)")
	cmd.Flags().IntVar(&x.year, "year", 0, "draw this year (the newest that has a snapshot)")
	cmd.Flags().StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.filters.register(cmd)
	x.prices.register(cmd)
	x.read.register(cmd)
	return cmd
}

// explained is one source with what becomes of its snapshots.
type explained struct {
	retention.Source
	region *price.Region
	class  string // in which new content ends up
}

func (x *retentionCommand) run(ctx context.Context) error {
	policy, err := x.policy()
	if err != nil {
		return err
	}
	if x.year < 0 || x.year > 9999 {
		return usage("", "--year %d: want a year such as 2026", x.year)
	}
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
	f, err := x.filters.among(x.c, items)
	if err != nil {
		return err
	}
	sources := retention.Explain(items, policy, x.c.now(), time.Local)
	if x.rules != nil {
		sources = x.rules.Explain(items, x.c.now(), time.Local)
	}
	shown := 0
	for i := range sources {
		e := &explained{Source: sources[i]}
		last := *e.Last()
		if f.Source != "" && !anyOf(e.Items, f.Source) || f.Host != "" && f.Host != last.Host {
			continue
		}
		e.class = contentClass(s.repo, last.Storage)
		if e.region, err = x.prices.orNone(s.st, &x.read.store); err != nil {
			return err
		}
		shown++
		own := policy
		if x.rules != nil {
			own = x.rules.PolicyOf(&last)
		}
		if err := x.show(e, own); err != nil {
			return err
		}
	}
	if shown == 0 {
		x.c.note("no snapshots")
	}
	return nil
}

// contentClass is where new content of a source is in the end.
func contentClass(r *repo.Repository, s snapshot.Storage) string {
	switch {
	case s.Then != "":
		return s.Then
	case s.Class != "":
		return s.Class
	}
	return r.Config().Class.Data
}

// policy is what the flags say is kept, or rules where a file does.
func (x *retentionCommand) policy() (retain.Policy, error) {
	p, err := x.keep.policy()
	if x.file == "" && err != nil && errors.Is(p.Check(), retain.ErrEmpty) {
		rules, wrong := x.c.policies()
		if wrong != nil || len(rules) > 0 {
			x.rules = rules
			return p, wrong
		}
	}
	if x.file == "" {
		return p, err
	}
	if err == nil || !errors.Is(p.Check(), retain.ErrEmpty) {
		return p, usage("write it into the file", "--keep-file says what is kept of each source, and so does another flag")
	}
	x.rules, err = readKeepFile(x.file)
	return p, err
}

// retentionJSON is what retention explain prints of each snapshot with --json.
type retentionJSON struct {
	Event    string       `json:"event"` // retention
	Snapshot string       `json:"snapshot"`
	Source   sourceJSON   `json:"source"`
	Time     time.Time    `json:"time"` // by the store's clock
	State    string       `json:"state"`
	Sequence uint64       `json:"sequence"`
	Epoch    uint32       `json:"epoch"`
	Keep     bool         `json:"keep"`
	Until    *time.Time   `json:"until,omitempty"` // at least; absent: not known
	Forever  bool         `json:"forever"`
	Reasons  []reasonJSON `json:"reasons"`
}

type reasonJSON struct {
	Rule   string `json:"rule"`
	Slot   string `json:"slot,omitempty"`
	Number int    `json:"number,omitempty"` // its place, 1 being the newest
	Of     int    `json:"of,omitempty"`     // places that the rule has; absent also where they do not end
	By     string `json:"by,omitempty"`     // snapshot that needs it, or stands in its place
	Past   bool   `json:"past"`
	Text   string `json:"text"`
}

// keptJSON is what retention explain prints of each source, after its snapshots.
type keptJSON struct {
	Event     string         `json:"event"` // retention_source
	Source    sourceJSON     `json:"source"`
	Snapshots int            `json:"snapshots"`
	Kept      int            `json:"kept"`
	Going     int            `json:"going"`
	Next      *nextJSON      `json:"next,omitempty"`
	Growth    *archivingJSON `json:"growth,omitempty"`
}

// nextJSON is what a cycle plans.
type nextJSON struct {
	Due  bool      `json:"due"`
	Full bool      `json:"full"`
	Time time.Time `json:"time"` // since when it is due, or when it will be
}

// archivingJSON is what archiving the oldest disc adds in a year.
type archivingJSON struct {
	Snapshots float64  `json:"snapshots"`
	Bytes     *float64 `json:"bytes,omitempty"` // at most; absent: there is too little history
	Month     *float64 `json:"month,omitempty"` // what that costs a month, after each year so much more
	Currency  string   `json:"currency,omitempty"`
}

func newRetentionJSON(it snapshot.Item, v retain.Verdict) retentionJSON {
	j := retentionJSON{Event: "retention", Snapshot: it.ID.String(), Source: originJSON(it.Source, it.Host), Time: it.Stored.UTC(), State: it.Status().String(), Sequence: it.Sequence,
		Epoch: it.Epoch, Keep: v.Keep, Reasons: []reasonJSON{}}
	until, forever := v.Until()
	j.Forever = forever
	if !until.IsZero() {
		u := until.UTC()
		j.Until = &u
	}
	for _, r := range v.Reasons {
		o := reasonJSON{Rule: string(r.Rule), Slot: r.Slot, Number: r.Number, Of: r.Of, Past: r.Past, Text: r.String()}
		if r.Of == retain.All {
			o.Of = 0
		}
		if r.By != [16]byte{} {
			o.By = snapshot.ID(r.By).String()
		}
		j.Reasons = append(j.Reasons, o)
	}
	return j
}

// show tells about one source.
func (x *retentionCommand) show(e *explained, policy retain.Policy) error {
	last := *e.Last()
	kept := 0
	t := x.c.table("id", "stored", "keep", "until", "why", "tags")
	for i, it := range e.Items {
		v := e.Verdicts[i]
		if v.Keep {
			kept++
		}
		if !hasTags(it.Tags, x.filters.tags) {
			continue
		}
		if x.c.json != "" {
			if err := x.c.object(newRetentionJSON(it, v)); err != nil {
				return err
			}
			continue
		}
		t.row(retentionRow(it, v)...)
	}
	next, growth := x.outlook(e, policy)
	if x.c.json != "" {
		return x.c.object(keptJSON{Event: "retention_source", Source: originJSON(last.Source, last.Host), Snapshots: len(e.Items), Kept: kept, Going: len(e.Items) - kept, Next: next, Growth: growth})
	}
	x.c.print("%s (%s): %s, %s stay, %s go\n", printable(advice.SourceName(last.Source)), printable(last.Host), counted(int64(len(e.Items)), "snapshot"),
		units.Count(int64(kept)), units.Count(int64(len(e.Items)-kept)))
	if !x.c.quiet {
		t.print()
		x.draw(e)
	}
	x.tellOutlook(e, next, growth)
	return nil
}

func hasTags(have, want []string) bool {
	for _, tag := range want {
		if !slices.Contains(have, tag) {
			return false
		}
	}
	return true
}

func retentionRow(it snapshot.Item, v retain.Verdict) []string {
	keep, until := "goes", ""
	if v.Keep {
		keep = "stays"
		switch at, forever := v.Until(); {
		case forever:
			until = "for good"
		case !at.IsZero():
			until = at.In(time.Local).Format("2006-01-02")
		}
	}
	var why []string
	for _, r := range v.Reasons {
		why = append(why, r.String())
	}
	return []string{shortID(it.ID), it.Stored.Local().Format(timeFormat), keep, until, strings.Join(why, "; "), strings.Join(it.Tags, ",")}
}

// draw draws the year.
func (x *retentionCommand) draw(e *explained) {
	year := x.year
	if year == 0 {
		if _, year = retain.Years(e.Snaps, time.Local); year == 0 {
			return
		}
	}
	marks := retain.ASCII
	if speaksUTF8() {
		marks = retain.Dots
	}
	x.c.print("\n%d: %s stays, %s goes, %s no snapshot\n", year, marks.Kept, marks.Going, marks.None)
	for _, line := range retain.Calendar(e.Snaps, e.Verdicts, year, time.Local, marks) {
		x.c.print("  %s\n", line)
	}
	x.c.print("\n")
}

// outlook is what a cycle plans for a source, and what archiving adds.
func (x *retentionCommand) outlook(e *explained, policy retain.Policy) (*nextJSON, *archivingJSON) {
	if policy.Cycle.Kind == "" {
		return nil, nil
	}
	due, full, when := policy.Cycle.Next(retention.Planned(e.Items), x.c.now(), time.Local)
	next := &nextJSON{due, full, when.UTC()}
	g := policy.Cycle.Growth(e.Snaps, x.c.now())
	if g.Snapshots == 0 {
		return next, nil
	}
	growth := &archivingJSON{Snapshots: g.Snapshots}
	if g.Known {
		growth.Bytes = &g.Bytes
	}
	if g.Known && e.region != nil {
		objects, stored := int64(0), int64(0)
		for _, it := range e.Items {
			objects, stored = objects+it.Stats.PacksAdded, stored+it.Stats.BytesStored
		}
		sent := price.Sent{Class: e.class, Bytes: int64(g.Bytes), Objects: int64(float64(objects) * g.Bytes / float64(max(stored, 1)))}
		month := float64(e.region.Monthly([]price.Sent{sent}).Total())
		growth.Month, growth.Currency = &month, e.region.Currency
	}
	return next, growth
}

func (x *retentionCommand) tellOutlook(e *explained, next *nextJSON, growth *archivingJSON) {
	if next != nil {
		kind, when := "a backup", "is due since"
		if next.Full {
			kind = "a full backup"
		}
		if !next.Due {
			when = "will be due on"
		}
		x.c.print("%s %s %s\n", kind, when, next.Time.In(time.Local).Format(timeFormat))
	}
	if growth == nil {
		return
	}
	text := sprintf("archiving the oldest disc adds %.1f snapshots a year", growth.Snapshots)
	switch {
	case growth.Bytes == nil:
		text += "; what they take will show when there is more history"
	case growth.Month == nil:
		text += sprintf(", at most %v", units.Size(*growth.Bytes))
	default:
		text += sprintf(", at most %v, which cost %s a month more after each year", units.Size(*growth.Bytes), e.region.Format(price.Money(*growth.Month)))
	}
	x.c.print("%s\n", text)
}
