package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/drill"
	"firn/internal/event"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/target"
	"firn/internal/thaw"
	"firn/internal/units"
)

// drillCommand restores a sample on trial.
type drillCommand struct {
	c    *console
	back restoreCommand // with the flags of reading and thawing
	host hostFlags

	only     string
	snapshot string
	files    int64
	bytes    units.Size
	share    string
	seed     string
	scratch  string
	keep     bool
	anew     bool
}

// What a sample has at most where the user says nothing.
const (
	drillFiles = 200
	drillBytes = units.GiB
)

func newDrill(c *console) *cobra.Command {
	x := &drillCommand{c: c, back: restoreCommand{c: c}}
	cmd := &cobra.Command{
		Use:   "drill [SOURCE…]",
		Short: "Prove that recovery works: restore a random sample and compare it",
		Long: `Restores a random sample of the newest snapshot of each source into a scratch folder, in the very way that firn restore does it,
reads it from the disk, and compares it with what was backed up, and with the source, where that is on this machine and has the same
version. The outcome is recorded in the repository: firn snapshots shows it. Without a SOURCE all sources are drilled.

Every file has the same chance. Drills go round: files that none has tried yet come first, then those that were tried the longest
time ago. What lies in a cold class is thawed first, with its price shown and agreed to as for a restore; with --max-cost the sample
is taken from as few packs as that takes. Interrupted, run it again: it goes on with the same sample, and pays for nothing twice.

Exit codes: 0 everything that was tried came back, 1 something differs or nothing came back, 3 some of it did not come back, or is
still being thawed.`,
		Example: `  firn drill
  firn drill photos --files 1000 --bytes 20G
  firn drill --share 2% --max-cost 1.50 --yes -q
  firn drill /home --snapshot latest~3 --scratch /mnt/big --keep
  firn drill --json | jq '{source: .source.path, outcome, share: .share_files}'`,
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.Int64Var(&x.files, "files", 0, "how many files of each source (200, as far as they fit 1 GiB)")
	fl.Var(&x.bytes, "bytes", "how much content of each source, such as 5G")
	fl.Lookup("bytes").DefValue = ""
	fl.StringVar(&x.share, "share", "", "which part of the files of each source, such as 5%")
	fl.StringVar(&x.snapshot, "snapshot", "", "of this snapshot, not of the newest: an id, latest~2, @2026-01")
	fl.StringVar(&x.scratch, "scratch", "", "restore into a new folder in this one (the system's for temporary files)")
	fl.BoolVar(&x.keep, "keep", false, "leave there what was restored")
	fl.StringVar(&x.seed, "seed", "", "draw by this number alone, so that the same sample comes again")
	fl.BoolVar(&x.anew, "anew", false, "do not go on with an interrupted drill")
	fl.StringVar(&x.only, "host", "", "only sources of this host")
	x.back.thaw.register(cmd)
	x.back.read.register(cmd)
	return cmd
}

// ask is what the flags say, once they are read.
type ask struct {
	want  drill.Want
	seed  uint64
	limit *price.Money
}

func (x *drillCommand) check() (a ask, err error) {
	if err = x.back.thaw.check(); err != nil {
		return a, err
	}
	if a.limit, err = x.back.thaw.limit(); err != nil {
		return a, err
	}
	a.want = drill.Want{Files: x.files, Bytes: int64(x.bytes)}
	if x.share != "" {
		v, err := strconv.ParseFloat(strings.TrimSuffix(x.share, "%"), 64)
		if err != nil || !strings.HasSuffix(x.share, "%") || !(v > 0 && v <= 100) {
			return a, usage("", "--share %q: want a part of the files, such as 5%%", x.share)
		}
		a.want.Share = v / 100
	}
	switch {
	case x.files < 0 || x.files > drill.MaxFiles:
		return a, usage("", "--files %d: want 1 to %d", x.files, drill.MaxFiles)
	case x.bytes < 0:
		return a, usage("", "--bytes %v: want a size", x.bytes)
	case a.want == drill.Want{}:
		a.want = drill.Want{Files: drillFiles, Bytes: int64(drillBytes)}
	}
	if x.seed == "" {
		var b [8]byte
		_, _ = rand.Read(b[:]) // never fails
		a.seed = binary.LittleEndian.Uint64(b[:])
	} else if a.seed, err = strconv.ParseUint(x.seed, 16, 64); err != nil {
		return a, usage("", "--seed %q: want up to 16 hexadecimal digits", x.seed)
	}
	return a, nil
}

func (x *drillCommand) run(ctx context.Context, args []string) error {
	a, err := x.check()
	if err != nil {
		return err
	}
	l, err := openLibrary(ctx, x.c, &x.back.read)
	if err != nil {
		return err
	}
	defer l.close()
	snaps, err := x.snapshots(ctx, l, args)
	if err != nil {
		return err
	}
	name, err := x.host.orSystem()
	if err != nil {
		return err
	}
	left := a.limit
	codes := map[int]int{}
	for i, snap := range snaps {
		if left != nil { // an equal part of what is left
			part := *left / price.Money(len(snaps)-i)
			a.limit = &part
			x.back.thaw.maxCost = strconv.FormatFloat(float64(part), 'f', -1, 64)
		}
		code, cost, err := x.drill(ctx, l, snap, a, name)
		if errors.Is(err, drill.ErrEmpty) {
			x.c.note("%s: %v: there is nothing to prove", advice.SourceName(snap.Source), err)
			continue
		}
		if err != nil && (ctx.Err() != nil || len(snaps) == 1) {
			return err
		}
		if err != nil {
			x.c.warn("%s: %v", advice.SourceName(snap.Source), err)
			if hint := advice.Hint(err); hint != "" {
				x.c.say("hint", hint)
			}
			code = advice.Failed
		}
		codes[code]++
		if left != nil {
			rest := max(*left-cost, 0)
			left = &rest
		}
	}
	return drilled(codes)
}

// drilled is how the command ends.
func drilled(codes map[int]int) error {
	switch {
	case codes[advice.Failed] > 0:
		return &advice.Error{Code: advice.Failed, Text: "recovery is not proven", Hint: advice.HowToHeal}
	case codes[advice.Incomplete] > 0:
		return incomplete()
	}
	return nil
}

// snapshots to drill: the newest of each source that is meant.
func (x *drillCommand) snapshots(ctx context.Context, l *library, args []string) ([]*snapshot.Snapshot, error) {
	if x.snapshot != "" {
		if len(args) > 1 {
			return nil, usage("drill them one by one", "--snapshot is of one source")
		}
		f := filterFlags{host: x.only}
		if len(args) == 1 {
			f.source = args[0]
		}
		_, snap, err := l.pick(ctx, x.snapshot, "", &f)
		return []*snapshot.Snapshot{snap}, err
	}
	if len(args) == 0 {
		args = []string{""}
	}
	var out []*snapshot.Snapshot
	for _, source := range args {
		f, err := (&filterFlags{host: x.only, source: source}).among(x.c, l.items)
		if err != nil {
			return nil, err
		}
		f.Done = true
		for _, i := range slices.Backward(browse.Snapshots(l.items, f)) {
			if !slices.ContainsFunc(out, func(s *snapshot.Snapshot) bool { return s.Source.ID == i.Source.ID }) {
				out = append(out, i.Snapshot)
			}
		}
	}
	if len(out) == 0 {
		return nil, l.unread(snapshot.ErrNone)
	}
	slices.SortStableFunc(out, func(a, b *snapshot.Snapshot) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(advice.SourceName(a.Source), advice.SourceName(b.Source)))
	})
	return out, nil
}

// drill drills one source.
func (x *drillCommand) drill(ctx context.Context, l *library, snap *snapshot.Snapshot, a ask, here string) (code int, cost price.Money, err error) {
	started := x.c.now()
	scope, err := l.scope(ctx, snap.Scope)
	if err != nil {
		return 0, 0, err
	}
	o := drill.Options{
		Repo: l.s.repo, Scope: scope, Snapshot: snap, State: l.s.jobState(), Seed: a.seed, Want: a.want, Scratch: x.scratch, Keep: x.keep, Anew: x.anew || x.seed != "", Alone: x.seed != "",
		By: here, Now: x.c.now, Report: x.c.listen().hear,
		Find: func(id snapshot.ID) *snapshot.Snapshot {
			for _, i := range l.items {
				if i.ID == id && i.Status() == snapshot.IsDone {
					return i.Snapshot
				}
			}
			return nil
		},
		Restore: func(ctx context.Context, t *drill.Trial) (*drill.Restored, error) {
			return x.restore(ctx, l.s, scope, t)
		},
	}
	if a.limit != nil {
		if o.Budget, err = x.budget(l.s, *a.limit); err != nil {
			return 0, 0, err
		}
	}
	if snap.Host == here && snap.Source.Kind == "dir" && len(snap.Source.Path) > 0 {
		o.Source = string(snap.Source.Path)
	}
	res, err := drill.Run(ctx, o)
	x.c.endLine()
	if res.Restored != nil {
		cost = res.Restored.Cost
	}
	if err != nil {
		return advice.Failed, cost, x.failed(ctx, res, err)
	}
	return x.show(snap.Host, res, x.c.now().Sub(started))
}

// failed says of a drill that did not come to its end what can be done.
func (x *drillCommand) failed(ctx context.Context, res *drill.Result, err error) error {
	var room *drill.RoomError
	switch {
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		hint := "nothing was proven"
		if res.Scratch != "" {
			hint = "run the same command again: it goes on where it stopped, and pays for nothing twice"
		}
		return &advice.Error{Text: "interrupted", Hint: hint, Err: err}
	case errors.As(err, &room):
		return &advice.Error{Text: sprintf("scratch folder in %q: the sample takes %v, %v are free", room.Path, units.Size(room.Need), units.Size(room.Have)),
			Hint: "name a folder on a larger disk with --scratch, or a smaller sample with --files or --bytes", Err: err}
	case errors.Is(err, drill.ErrNothing):
		return &advice.Error{Err: err, Hint: "raise --bytes or --max-cost"}
	}
	return err
}

// budget is the model of what a sample costs.
func (x *drillCommand) budget(s *session, limit price.Money) (*drill.Budget, error) {
	f := &x.back.thaw
	region, err := f.prices.orNone(s.st, &x.back.read.store)
	if err != nil {
		return nil, err
	}
	if region == nil {
		return nil, failure("give the prices with --prices, or leave --max-cost out", "%v, so --max-cost cannot be kept to", drill.ErrNoPrices)
	}
	route := cmp.Or(f.route, price.Direct)
	return &drill.Budget{
		Max:  limit,
		Send: func(bytes int64) price.Money { return region.Egress(route, bytes, 0).Cost },
		Tolls: func(ctx context.Context, packs []thaw.Need) ([]drill.Toll, price.Money, error) {
			return x.tolls(ctx, s, region, packs)
		},
	}, nil
}

// tolls prices packs one by one.
func (x *drillCommand) tolls(ctx context.Context, s *session, region *price.Region, packs []thaw.Need) (out []drill.Toll, once price.Money, err error) {
	out = make([]drill.Toll, len(packs))
	if !mayBeCold(s) {
		for i := range packs {
			out[i].Cost = region.Get(packs[i].Class, 1, packs[i].Size).Cost
		}
		return out, 0, nil
	}
	survey, err := thaw.Look(ctx, s.st, packs, thaw.LookOptions{Region: region})
	if err != nil {
		return nil, 0, err
	}
	days, tiers := float64(max(x.back.thaw.days, 1)+1), map[string]string{} // by class
	for i := range packs {
		fact := survey.At(i)
		if fact.Missing {
			continue
		}
		out[i].Cost = region.Get(fact.Class, 1, packs[i].Size).Cost
		if out[i].Cold = fact.Cold && fact.Copy.State == store.NoCopy; !out[i].Cold {
			continue
		}
		tier, known := tiers[fact.Class]
		if !known {
			of, err := x.alone(ctx, s, packs[i])
			if err != nil {
				return nil, 0, err
			}
			tier = string(of.Tier)
			tiers[fact.Class] = tier
			once = max(once, of.Total-of.Bill.Of(price.WhatEgress)) // that of one pack counts twice, to be on the safe side
		}
		bill, err := region.Thaw(fact.Class, tier, 1, packs[i].Size, days)
		if err != nil {
			return nil, 0, badPrices(err)
		}
		out[i].Cost += bill.Total()
	}
	return out, once, nil
}

// alone is the offer to thaw one pack.
func (x *drillCommand) alone(ctx context.Context, s *session, pack thaw.Need) (*thaw.Offer, error) {
	look, err := x.back.thaw.look(ctx, s, &x.back.read.store, []thaw.Need{pack}, false)
	if err != nil {
		return nil, err
	}
	return x.back.thaw.choose(look)
}

// restore restores a trial as firn restore would.
func (x *drillCommand) restore(ctx context.Context, s *session, scope *repo.ScopeState, t *drill.Trial) (*drill.Restored, error) {
	told := &told{c: x.c, listen: x.c.listen().hear}
	o := restore.Options{Repo: s.repo, Scope: scope, Snapshot: t.Snapshot, Include: t.Include, Target: t.Target, Overwrite: target.Changed, Report: told.hear}
	x.announce(t)
	res, err := x.by(ctx, s, o)
	if res != nil {
		res.Failures = append(res.Failures, told.problems...) // of a path that is in both, the last one counts
	}
	return res, err
}

// by restores at once, or by a job of thawing.
func (x *drillCommand) by(ctx context.Context, s *session, o restore.Options) (*drill.Restored, error) {
	if !mayBeCold(s) {
		return x.warm(ctx, s, o)
	}
	plan, err := restore.Plan(ctx, o)
	if err != nil {
		return nil, err
	}
	keep := s.jobState()
	job, err := thaw.Find(keep, restore.ThawKey(&o), x.c.now())
	if err != nil {
		return nil, err
	}
	var look *outlook
	if job != nil {
		look, err = x.back.goOn(ctx, s, job, keep, &o, plan)
	} else {
		job, look, err = x.back.begin(ctx, s, keep, &o, plan)
	}
	if err != nil {
		return nil, err
	}
	if job == nil {
		return x.warm(ctx, s, o)
	}
	defer job.Close()
	return x.cold(ctx, s, o, restore.ThawOptions{Plan: plan, State: keep, Job: job, Run: x.back.thaw.runOptions(s, look)})
}

// told listens to a restore: what does not come back is told at the end.
type told struct {
	c      *console
	listen event.Func

	mu       sync.Mutex
	problems []drill.Finding
}

func (t *told) hear(e event.Event) {
	p, ok := e.(event.Problem)
	if !ok {
		t.listen(e)
		return
	}
	t.c.explain("%q: %v", p.Path, p.Err)
	f := drill.Finding{Path: []byte(p.Path), Err: p.Err}
	var damage *repo.DamageError
	if errors.As(p.Err, &damage) {
		f.Object = damage.Object
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.problems = append(t.problems, f)
}

// announce tells what is tried.
func (x *drillCommand) announce(t *drill.Trial) {
	text := sprintf("drilling %s, snapshot %s of %s: %s of %s, %v, seed %016x", advice.SourceName(t.Snapshot.Source), shortID(t.Snapshot.ID), t.Snapshot.Start.Local().Format(timeFormat),
		units.Count(int64(len(t.Files))), counted(t.OfFiles, "file"), units.Size(t.Bytes), t.Seed)
	if t.OfPacks > 0 {
		text += sprintf(", from %s of %s", units.Count(t.Packs), counted(t.OfPacks, "pack"))
	}
	if t.Resumed {
		text += "; going on with it"
	}
	x.c.note("%s", text)
	if t.TooDear > 0 {
		x.c.note("%s passed over, since --max-cost does not reach for what would have to be thawed or downloaded for them alone", counted(t.TooDear, "file"))
	}
	if t.TooLarge > 0 {
		x.c.note("%s passed over, larger than the limit or what was left of it", counted(t.TooLarge, "file"))
	}
}

// warm restores what can be read at once.
func (x *drillCommand) warm(ctx context.Context, s *session, o restore.Options) (*drill.Restored, error) {
	res, err := restore.Run(ctx, o)
	out := restoredOf(res)
	out.Done = err == nil
	region, e := x.back.thaw.prices.orNone(s.st, &x.back.read.store)
	if e != nil && err == nil {
		err = e
	}
	if cost := x.back.spent(region, res); cost != nil {
		out.Cost, out.Currency = cost.Total, cost.Currency
	}
	return out, err
}

// cold restores by a job of thawing.
func (x *drillCommand) cold(ctx context.Context, s *session, o restore.Options, t restore.ThawOptions) (*drill.Restored, error) {
	res, err := restore.Thaw(ctx, o, t)
	if res == nil {
		return &drill.Restored{Paid: true}, err
	}
	out := restoredOf(res.Result)
	out.Done, out.Paid = res.Done && err == nil, true
	if res.Thaw != nil {
		out.Cost = res.Thaw.Status.Spent
		if speed := res.Thaw.Status.Speed; speed > 0 && speed != thaw.AssumedDown {
			s.state.SetLink(state.Link{Down: speed})
		}
	}
	if t.Run.Region != nil {
		out.Currency = t.Run.Region.Currency
	}
	if res.Done && t.Job.Status().State == thaw.Active { // what is left is gone
		if e := t.Job.End(thaw.Done, x.c.now()); e != nil && err == nil {
			err = e
		}
	}
	return out, err
}

func restoredOf(res *restore.Result) *drill.Restored {
	out := &drill.Restored{}
	if res == nil {
		return out
	}
	out.BytesGot = res.BytesGot
	for _, d := range res.Damaged {
		out.Failures = append(out.Failures, drill.Finding{Path: d.Path, Object: d.Object, Err: d.Err})
	}
	for _, l := range res.Limits {
		out.Limits = append(out.Limits, l.Kind)
	}
	return out
}

// drillJSON is what drill prints with --json for each source.
type drillJSON struct {
	Source     sourceJSON  `json:"source"`
	Snapshot   string      `json:"snapshot"`
	Outcome    string      `json:"outcome"` // proven, partly, failed, waiting
	Seed       string      `json:"seed"`
	Files      int64       `json:"files"` // tried
	Bytes      int64       `json:"bytes"`
	ShareFiles float64     `json:"share_files"`
	ShareBytes float64     `json:"share_bytes"`
	Packs      int64       `json:"packs,omitempty"` // where --max-cost limited them
	Fresh      int64       `json:"fresh"`           // never tried before
	TooLarge   int64       `json:"too_large"`
	TooDear    int64       `json:"too_dear"`
	Matched    int64       `json:"matched"`
	Same       int64       `json:"same"`    // of them, as the source has them
	Changed    int64       `json:"changed"` // of them, changed in the source since
	Unchecked  int64       `json:"unchecked"`
	Differing  []trialJSON `json:"differing"`
	Lost       []trialJSON `json:"lost"`
	BytesGot   int64       `json:"bytes_got"`
	Cost       price.Money `json:"cost"`
	Currency   string      `json:"currency,omitempty"`
	Seconds    float64     `json:"seconds"`
	Scratch    string      `json:"scratch,omitempty"`
	Recorded   bool        `json:"recorded"` // in the repository
}

type trialJSON struct {
	Path   string `json:"path,omitempty"`
	B64    []byte `json:"path_b64,omitempty"` // where it is not UTF-8
	What   string `json:"what,omitempty"`
	Object string `json:"object,omitempty"`
	Error  string `json:"error"`
}

// show tells the outcome, and returns the exit code that belongs to it.
func (x *drillCommand) show(host string, res *drill.Result, took time.Duration) (code int, cost price.Money, err error) {
	switch res.Outcome() {
	case "failed":
		code = advice.Failed
	case "partly", "waiting":
		code = advice.Incomplete
	}
	if res.Stored != nil {
		x.c.warn("the proof was not stored in the repository, so other machines do not see it: %v", res.Stored)
	}
	cost = res.Restored.Cost
	if x.c.json != "" {
		return code, cost, x.c.objectOf("drill", x.json(host, res, took))
	}
	if res.Compared != nil {
		for _, f := range res.Compared.Differing {
			x.c.warn("%s: %s differs: %v", shownPath(f.Path), f.What, f.Err)
		}
		for _, f := range res.Compared.Lost {
			x.c.warn("%s: not restorable: %v", shownPath(f.Path), f.Err)
		}
	}
	if !x.c.quiet {
		x.c.print("%s\n", x.text(res, took))
	}
	return code, cost, nil
}

// text is the outcome for people, in a line.
func (x *drillCommand) text(res *drill.Result, took time.Duration) string {
	s, c := res.Sample, res.Compared
	name := advice.SourceName(res.Snapshot.Source)
	if c == nil {
		return sprintf("%s: waiting for packs to be thawed; run the same command again", name)
	}
	text := sprintf("%s: %s: %s of %s (%s), %v of %v (%s) came back as backed up", name, map[string]string{"proven": "proven", "partly": "partly proven", "failed": "NOT PROVEN"}[res.Outcome()],
		units.Count(c.Matched), counted(s.OfFiles, "file"), percent(c.Matched, s.OfFiles), units.Size(c.BytesMatched), units.Size(s.OfBytes), percent(c.BytesMatched, s.OfBytes))
	for _, n := range []struct {
		count int64
		what  string
	}{{c.Same, "as the source has them"}, {c.Changed, "changed in the source since"}, {int64(len(c.Differing)), "DIFFERING"}, {int64(len(c.Lost)), "NOT RESTORABLE"}} {
		if n.count > 0 {
			text += sprintf(", %s %s", units.Count(n.count), n.what)
		}
	}
	text += sprintf("; seed %016x, in %s", s.Seed, duration(took))
	if res.Restored.Cost > 0 {
		text += ", it cost " + res.Restored.Cost.In(res.Restored.Currency)
	}
	if res.Scratch != "" {
		text += sprintf("\nwhat was restored lies in %s", shownPath([]byte(res.Scratch)))
	}
	return text
}

// percent is a part of a whole as people read it.
func percent(part, whole int64) string {
	if whole == 0 {
		return "0 %"
	}
	p := 100 * float64(part) / float64(whole)
	switch {
	case part == whole:
		return "100 %"
	case p >= 10:
		return sprintf("%.0f %%", min(p, 99))
	case p >= 0.1:
		return sprintf("%.1f %%", p)
	}
	return sprintf("%.2g %%", p)
}

func (x *drillCommand) json(host string, res *drill.Result, took time.Duration) drillJSON {
	s := res.Sample
	j := drillJSON{
		Source: originJSON(res.Snapshot.Source, host), Snapshot: res.Snapshot.ID.String(), Outcome: res.Outcome(), Seed: sprintf("%016x", s.Seed), Files: int64(len(s.Files)), Bytes: s.Bytes,
		ShareFiles: part(int64(len(s.Files)), s.OfFiles), ShareBytes: part(s.Bytes, s.OfBytes), Packs: s.Packs, Fresh: s.Fresh, TooLarge: s.TooLarge, TooDear: s.TooDear,
		Differing: []trialJSON{}, Lost: []trialJSON{}, BytesGot: res.Restored.BytesGot, Cost: res.Restored.Cost, Currency: res.Restored.Currency, Seconds: seconds(took),
		Scratch: res.Scratch, Recorded: res.Proof != nil && res.Stored == nil,
	}
	if c := res.Compared; c != nil {
		j.Matched, j.Same, j.Changed, j.Unchecked = c.Matched, c.Same, c.Changed, c.Unchecked
		j.Differing, j.Lost = trialsJSON(c.Differing), trialsJSON(c.Lost)
	}
	return j
}

func trialsJSON(list []drill.Finding) []trialJSON {
	out := make([]trialJSON, len(list))
	for i, f := range list {
		out[i] = trialJSON{What: f.What, Object: f.Object, Error: f.Err.Error()}
		if utf8.Valid(f.Path) {
			out[i].Path = string(f.Path)
		} else {
			out[i].B64 = f.Path
		}
	}
	return out
}

func part(n, of int64) float64 {
	if of == 0 {
		return 0
	}
	return float64(n) / float64(of)
}

// proofJSON is the last proof of a source in the JSON of snapshots.
type proofJSON struct {
	Time       time.Time `json:"time"`
	Snapshot   string    `json:"snapshot"`
	By         string    `json:"by"`
	Good       bool      `json:"good"`
	Files      int64     `json:"files"`
	Bytes      int64     `json:"bytes"`
	ShareFiles float64   `json:"share_files"`
	ShareBytes float64   `json:"share_bytes"`
	Differing  int64     `json:"differing"`
	Lost       int64     `json:"lost"`
	Cost       float64   `json:"cost"`
	Currency   string    `json:"currency,omitempty"`
}

func newProofJSON(p *snapshot.Proof) *proofJSON {
	return &proofJSON{p.Time.UTC(), p.Snapshot.String(), p.By, p.Good(), p.Files, p.Bytes, part(p.Files, p.OfFiles), part(p.Bytes, p.OfBytes), p.Differing, p.Lost, p.Cost, p.Currency}
}

// proofText is the last proof of a source, in a line.
func proofText(name string, p *snapshot.Proof) string {
	verdict := "recovery proven"
	if !p.Good() {
		verdict = "recovery NOT PROVEN"
	}
	text := sprintf("%s: %s %s by %s, %s of %s (%s)", name, verdict, p.Time.Local().Format(timeFormat), p.By, units.Count(p.Files), counted(p.OfFiles, "file"), percent(p.Files, p.OfFiles))
	if p.Differing > 0 {
		text += sprintf(", %s differing", units.Count(p.Differing))
	}
	if p.Lost > 0 {
		text += sprintf(", %s not restorable", units.Count(p.Lost))
	}
	return text
}
