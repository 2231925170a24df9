package cli

import (
	"context"
	"errors"
	"sync"
	"time"

	"firn/internal/browse"
	"firn/internal/glob"
	"firn/internal/price"
	"firn/internal/rewrite"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// rewriteOptions say what is taken out of which snapshots.
type rewriteOptions struct {
	paths   []string // patterns, as of --exclude
	filters filterFlags
	retire  bool // packs that still hold some of it
	dryRun  bool
	yes     bool
}

// rewritePaths takes paths out of snapshots, as forget --path does.
func rewritePaths(ctx context.Context, c *console, read *readFlags, prices *priceFlags, o rewriteOptions) error {
	s, err := openSession(ctx, c, &read.store)
	if err != nil {
		return err
	}
	defer s.close()
	if o.dryRun {
		s.pretend()
	}
	if err := s.openReader(ctx, &read.secrets); err != nil {
		return err
	}
	x := &rewriter{c: c, o: o}
	items, err := s.items(ctx)
	if err != nil {
		return err
	}
	if x.filter, err = o.filters.among(c, items); err != nil {
		return err
	}
	x.filter.Done = true
	want := rewrite.Options{Repo: s.repo, Choose: x.chosen, Paths: x.compile, Retire: o.retire, Program: "firn " + Version, Now: c.now, Report: c.report()}
	if x.region, err = prices.orNone(s.st, &read.store); err != nil {
		return err
	}
	want.Region = x.region
	p, err := rewrite.Make(ctx, want)
	c.endLine()
	if err != nil {
		return err
	}
	return x.act(ctx, want, p)
}

// rewriter is a rewriting as a command.
type rewriter struct {
	c      *console
	o      rewriteOptions
	filter browse.Filter
	region *price.Region

	mu   sync.Mutex
	sets []*glob.Set // of the sources, the patterns compiled for each
}

func (x *rewriter) chosen(it snapshot.Item) bool {
	return len(browse.Snapshots([]snapshot.Item{it}, x.filter)) > 0
}

func (x *rewriter) compile(o snapshot.Origin) (*glob.Set, error) {
	set, err := patterns(o, x.o.paths, "--path")
	if err == nil {
		x.mu.Lock()
		x.sets = append(x.sets, set)
		x.mu.Unlock()
	}
	return set, err
}

// act shows the plan, asks, and does it.
func (x *rewriter) act(ctx context.Context, o rewrite.Options, p *rewrite.Plan) error {
	x.tellSkipped(p.Skipped)
	x.show(p)
	if p.Nothing() {
		return x.done(p, &rewrite.Result{}, len(p.Skipped))
	}
	if !x.o.dryRun && !x.o.yes && x.c.terminal {
		if err := x.c.confirm(ctx, "Replace them?"); err != nil {
			return err
		}
	}
	res, err := rewrite.Run(ctx, o, p)
	x.c.endLine()
	if err != nil {
		return err
	}
	x.tellSkipped(res.Skipped)
	return x.done(p, res, len(p.Skipped)+len(res.Skipped))
}

// tellSkipped says which snapshots are left as they are.
func (x *rewriter) tellSkipped(all []rewrite.Skipped) {
	for _, s := range all {
		why := s.Err.Error()
		switch {
		case errors.Is(s.Err, rewrite.ErrEverything):
			why = "nothing of it would be left: forget it as a whole"
		case errors.Is(s.Err, rewrite.ErrChain):
			why = "it is a link in a chain of streams, of which each needs the one before: forget it as a whole"
		case errors.Is(s.Err, rewrite.ErrRetired):
			why = "it needs packs that are retired: it can be rewritten no more, and goes with its time"
		case errors.Is(s.Err, rewrite.ErrForgotten):
			why = "the one that was to stand in its place was forgotten meanwhile: run it again"
		}
		if s.ID.IsZero() {
			x.c.warn("%s", why)
			continue
		}
		x.c.warn("snapshot %s is left as it is: %s", shortID(s.ID), why)
	}
}

func (x *rewriter) show(p *rewrite.Plan) {
	for _, rule := range unmatched(x.sets) {
		x.c.note("nothing matches --path %s", rule)
	}
	if x.c.json != "" || x.c.quiet {
		return
	}
	if len(p.Snapshots) == 0 {
		x.c.print("none of %s has such a path\n", counted(int64(p.Looked), "snapshot"))
		return
	}
	for _, path := range p.Paths {
		x.c.print("  %s\n", printable(string(path)))
	}
	files, bytes := p.Most()
	x.c.print("in %d of %s: up to %s, %v in one of them\n", len(p.Snapshots), counted(int64(p.Looked), "snapshot"), counted(files, "file"), units.Size(bytes))
}

// unmatched are the patterns that matched in no source.
func unmatched(sets []*glob.Set) (out []string) {
	count := map[string]int{}
	for _, set := range sets {
		for _, r := range set.Unmatched() {
			count[r.Pattern]++
		}
	}
	for _, set := range sets[:min(len(sets), 1)] {
		for _, r := range set.Rules() {
			if count[r.Pattern] == len(sets) {
				out = append(out, r.Pattern)
			}
		}
	}
	return out
}

// done tells what was done; skipped is how many snapshots were left as they are.
func (x *rewriter) done(p *rewrite.Plan, res *rewrite.Result, skipped int) error {
	if x.c.json != "" {
		if err := x.c.objectOf("rewrite", x.json(p, res)); err != nil {
			return err
		}
	} else if !x.c.quiet && !p.Nothing() {
		x.tell(res)
	}
	if skipped > 0 {
		return incomplete()
	}
	return nil
}

func (x *rewriter) tell(res *rewrite.Result) {
	would := ""
	if x.o.dryRun {
		would = "would be "
	}
	x.c.print("%sreplaced: %s; %v of new manifests\n", would, counted(int64(len(res.Replaced)), "snapshot"), units.Size(res.Stored))
	if more := res.Forgotten - len(res.Replaced); more > 0 {
		x.c.print("%sforgotten: %s that a run which was cut off has left\n", would, counted(int64(more), "snapshot"))
	}
	x.c.print("firn prune frees %s, %v, when it runs next and its time of grace is over\n", counted(res.Freed.Packs, "pack"), units.Size(res.Freed.Bytes))
	if res.Waiting.Packs > 0 {
		x.c.print("  %v of that is paid for until %s whether it is deleted or not; prune leaves it until then\n", units.Size(res.Waiting.Bytes), res.FreedBy.In(time.Local).Format("2006-01-02"))
	}
	if res.Unsure {
		x.c.warn("pack sets cannot be read, so more may be needed than these numbers say: firn check tells which")
	}
	if res.Still.Packs > 0 {
		x.c.print("bytes of what is taken out stay in %s, %v, beside content that is needed: encrypted, and as long as these are kept\n", counted(res.Still.Packs, "pack"), units.Size(res.Still.Bytes))
		if res.Retired.Packs > 0 {
			x.c.print("  they take no new references: the next backups store again what they need of them, and each goes with the last snapshot that needs it\n")
		} else {
			x.c.print("  --retire has the next backups store again what they need of them, so that they go with the last snapshot that needs them\n")
		}
	}
	x.c.note("what the source still has, the next backup stores again, unless it is excluded")
}

// rewriteJSON is what rewriting prints with --json.
type rewriteJSON struct {
	DryRun    bool              `json:"dry_run"`
	Looked    int               `json:"looked"`
	Paths     []string          `json:"paths"`
	Snapshots []rewrittenJSON   `json:"snapshots"`
	Skipped   []rewriteSkipJSON `json:"skipped"`
	Forgotten int               `json:"forgotten"`
	Freed     rewrite.Packs     `json:"freed"`
	Waiting   rewrite.Packs     `json:"waiting"`
	FreedBy   time.Time         `json:"freed_by,omitzero"`
	Unsure    bool              `json:"unsure"`
	Still     rewrite.Packs     `json:"still"`
	Retired   rewrite.Packs     `json:"retired"`
	Stored    int64             `json:"stored"`
}

type rewrittenJSON struct {
	Snapshot string     `json:"snapshot"`
	New      string     `json:"new"`
	Time     time.Time  `json:"time"`
	Source   sourceJSON `json:"source"`
	Files    int64      `json:"files"`
	Dirs     int64      `json:"dirs"`
	Others   int64      `json:"others"`
	Bytes    int64      `json:"bytes"`
}

type rewriteSkipJSON struct {
	Snapshot string `json:"snapshot"`
	Error    string `json:"error"`
}

func (x *rewriter) json(p *rewrite.Plan, res *rewrite.Result) rewriteJSON {
	j := rewriteJSON{DryRun: x.o.dryRun, Looked: p.Looked, Paths: []string{}, Snapshots: []rewrittenJSON{}, Skipped: []rewriteSkipJSON{}, Forgotten: res.Forgotten, Freed: res.Freed,
		Waiting: res.Waiting, FreedBy: res.FreedBy, Unsure: res.Unsure, Still: res.Still, Retired: res.Retired, Stored: res.Stored}
	for _, path := range p.Paths {
		j.Paths = append(j.Paths, string(path))
	}
	for _, r := range res.Replaced {
		a := r.Affected
		j.Snapshots = append(j.Snapshots, rewrittenJSON{r.Old.String(), r.New.String(), a.Item.Start, originJSON(a.Item.Source, a.Item.Host), a.Files, a.Dirs, a.Others, a.Bytes})
	}
	for _, s := range append(p.Skipped[:len(p.Skipped):len(p.Skipped)], res.Skipped...) {
		id := ""
		if !s.ID.IsZero() {
			id = s.ID.String()
		}
		j.Skipped = append(j.Skipped, rewriteSkipJSON{id, s.Err.Error()})
	}
	return j
}
