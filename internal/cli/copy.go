package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/browse"
	"firn/internal/copy"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/thaw"
	"firn/internal/units"
)

// copyCommand brings snapshots to a copy of the repository.
type copyCommand struct {
	c       *console
	read    readFlags
	host    hostFlags
	to      placeFlags
	filters filterFlags
	thaw    thawFlags
	dryRun  bool
	again   bool
}

// placeFlags say how another repository than --repo is reached.
type placeFlags struct {
	endpoint, region, profile, pathStyle string
}

func (f *placeFlags) register(cmd *cobra.Command, prefix string) {
	fl := cmd.Flags()
	fl.StringVar(&f.endpoint, prefix+"endpoint", "", "URL of the S3 compatible server of the other repository (as for --repo)")
	fl.StringVar(&f.region, prefix+"region", "", "region of its bucket")
	fl.StringVar(&f.profile, prefix+"profile", "", "profile in ~/.aws with its credentials")
	fl.StringVar(&f.pathStyle, prefix+"path-style", "", "on or off, as --path-style")
	fl.Lookup(prefix + "path-style").NoOptDefVal = "on"
}

// flags are those of a store at a location, with all else as it is for the first one.
func (f *placeFlags) flags(first *storeFlags, location string) *storeFlags {
	o := &storeFlags{repo: location, connections: first.connections, timeout: first.timeout, up: first.up, down: first.down, cacheMax: first.cacheMax, noCache: first.noCache}
	if isS3(location) {
		o.endpoint, o.region, o.profile, o.pathStyle = cmp.Or(f.endpoint, first.endpoint), cmp.Or(f.region, first.region), cmp.Or(f.profile, first.profile), cmp.Or(f.pathStyle, first.pathStyle)
	}
	return o
}

func newCopy(c *console) *cobra.Command {
	x := &copyCommand{c: c}
	cmd := &cobra.Command{
		Use:   "copy REPO2 [SNAPSHOT…]",
		Short: "Copy snapshots to a second repository, made with init --like",
		Long: `Brings what --repo has and REPO2 lacks to REPO2: all snapshots that are done, or those that are named or fit the filters. Objects are
copied as they are: each is read once, verified while it passes, and sent once; nothing is decrypted. Interrupted, run it again: it
goes on where it stopped. A host's write-only key is enough for the snapshots of its scope; with a passphrase or identity they also
keep the date at which they were stored first, by which firn prune goes.

REPO2 has a retention of its own: what firn prune or forget removed there does not come again, and what they remove here stays there.
With --again it comes as new snapshots, which takes a passphrase or identity. What lies in a cold class here is thawed first, if you
agree to the price; else the snapshots that need it are left out, and named.
` + snapshotHelp,
		Example: `  firn init /mnt/shelf/backup --like s3://bucket/nas
  firn copy --repo s3://bucket/nas /mnt/shelf/backup --dry-run
  firn copy --repo /mnt/disk/backup s3://bucket/nas
  firn copy --repo s3://bucket/nas /mnt/shelf/backup latest --source photos --max-cost 20 --yes`,
		Args: argsBetween(1, -1, "the repository to copy to"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args[0], args[1:]) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&x.dryRun, "dry-run", false, "tell what would be copied, and what thawing costs, and do nothing")
	fl.BoolVar(&x.again, "again", false, "also what REPO2 has forgotten, as new snapshots")
	fl.StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.to.register(cmd, "to-")
	x.thaw.register(cmd)
	x.filters.register(cmd)
	x.read.register(cmd)
	return cmd
}

func (x *copyCommand) run(ctx context.Context, location string, which []string) error {
	if err := x.thaw.check(); err != nil {
		return err
	}
	s, err := openSession(ctx, x.c, &x.read.store)
	if err != nil {
		return err
	}
	defer s.close()
	to, err := openSecond(ctx, x.c, s, x.to.flags(&x.read.store, location))
	if err != nil {
		return err
	}
	defer to.close()
	if x.dryRun {
		to.pretend() // nothing is ever stored in the other one
	}
	if err := x.open(ctx, s, to); err != nil {
		return err
	}
	o := copy.Options{From: s.repo, To: to.repo, Again: x.again, Report: x.c.listen().hear}
	if o.Choose, err = x.choose(ctx, s, which); err != nil {
		return err
	}
	return x.do(ctx, s, to, location, o, which)
}

// openSecond opens the store of a copy of s, and makes sure that it is one. s need not be open yet.
func openSecond(ctx context.Context, c *console, s *session, f *storeFlags) (*session, error) {
	c.resolve(f)
	to, err := openSession(ctx, c, f)
	if err != nil {
		return nil, err
	}
	if err := repo.CheckCopy(s.header.Config, to.header.Config, to.st.Location()); err != nil {
		to.close()
		return nil, notACopy(err)
	}
	return to, nil
}

// open opens both with what is at hand.
func (x *copyCommand) open(ctx context.Context, s, to *session) error {
	if err := s.openLister(ctx, &x.read.secrets, &x.host); err != nil {
		return err
	}
	a := repo.Access{Secrets: s.repo.Secrets(), Host: s.repo.Host()}
	if a.Host == nil {
		host, err := s.hostKey(&x.host)
		if err != nil {
			x.c.note("%v; going on without", err)
		}
		a.Host = host
	}
	if a.Secrets == nil {
		x.c.note("with the key of host %q only the snapshots of scope %q are copied, and dated anew; a passphrase or identity copies all, with their dates", a.Host.Name, a.Host.ScopeName)
	}
	return to.open(ctx, a)
}

// choose returns which snapshots are meant; nil: all.
func (x *copyCommand) choose(ctx context.Context, s *session, which []string) (func(*snapshot.Item) bool, error) {
	if len(which) == 0 && x.filters.source == "" && x.filters.host == "" && len(x.filters.tags) == 0 {
		return nil, nil
	}
	items, err := s.items(ctx)
	if err != nil {
		return nil, err
	}
	f, err := x.filters.among(x.c, items)
	if err != nil {
		return nil, err
	}
	chosen := map[snapshot.ID]bool{}
	for _, text := range which {
		it, err := browse.Select(items, text, f, x.c.now(), time.Local)
		if err != nil {
			return nil, err
		}
		if it.Status() != snapshot.IsDone {
			return nil, failure("only what a backup has completed is copied", "snapshot %s is %s", shortID(it.ID), it.Status())
		}
		chosen[it.ID] = true
	}
	if len(which) == 0 {
		for _, it := range browse.Snapshots(items, f) {
			chosen[it.ID] = true
		}
	}
	return func(it *snapshot.Item) bool { return chosen[it.ID] }, nil
}

// do copies, with thawing where that is needed and wanted, and tells about it.
func (x *copyCommand) do(ctx context.Context, s, to *session, location string, o copy.Options, which []string) error {
	started := x.c.now()
	x.failures(&o)
	if !x.dryRun && !mayBeCold(s) {
		res, err := copy.Run(ctx, o)
		return x.end(ctx, to, res, nil, err, x.c.now().Sub(started))
	}
	plan, err := copy.Make(ctx, copy.Options{From: o.From, To: o.To, Choose: o.Choose, Again: o.Again, Report: o.Report})
	if err != nil {
		return err
	}
	look := &outlook{}
	if needs := plan.Needs(); mayBeCold(s) && len(needs) > 0 {
		if look, err = x.thaw.look(ctx, s, &x.read.store, needs, false); err != nil {
			return err
		}
	}
	if x.dryRun {
		return x.showPlan(s, to, location, plan, look)
	}
	job, look, err := x.job(ctx, s, to, plan, look, which)
	if err != nil {
		return err
	}
	if job == nil {
		res, err := copy.Run(ctx, o)
		return x.end(ctx, to, res, nil, err, x.c.now().Sub(started))
	}
	defer job.Close()
	res, _, err := copy.Thaw(ctx, o, plan, job, x.thaw.runOptions(s, look))
	return x.end(ctx, to, res, job, err, x.c.now().Sub(started))
}

// failures names each snapshot that could not be copied, as soon as that is known.
func (x *copyCommand) failures(o *copy.Options) {
	o.Each = func(it *snapshot.Item, err error) {
		switch {
		case err != nil && !errors.Is(err, snapshot.ErrNone):
			x.c.warn("snapshot %s of %s is not copied: %v", shortID(it.ID), advice.SourceName(it.Source), firstLines(err, 3))
		case err == nil:
			x.c.explain("snapshot %s of %s is copied", shortID(it.ID), advice.SourceName(it.Source))
		}
	}
}

// firstLines is the beginning of an error that joins many.
func firstLines(err error, n int) string {
	lines := strings.Split(err.Error(), "\n")
	if len(lines) > n {
		lines = append(lines[:n], "…")
	}
	return strings.Join(lines, "; ")
}

// jobKey is the same for copies of the same choice between the same two.
func jobKey(s, to *session, which []string, f *filterFlags) string {
	h := sha256.New()
	fmt.Fprintf(h, "copy 1 %x %x %x %q %q %q %q", s.header.ID, s.header.Copy, to.header.Copy, which, f.source, f.host, f.tags)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// job goes on with the thawing of an earlier run, or plans it and asks whether the price is right; nil: nothing is to be thawed, or nobody agreed to it.
func (x *copyCommand) job(ctx context.Context, s, to *session, plan *copy.Plan, look *outlook, which []string) (*thaw.Job, *outlook, error) {
	keep, key := s.jobState(), jobKey(s, to, which, &x.filters)
	job, err := thaw.Find(keep, key, x.c.now())
	if err != nil {
		return nil, nil, err
	}
	if job != nil {
		x.c.note("going on with job %s of %s", job.Header().ID[:8], job.Header().Created.Local().Format(timeFormat))
		if err := x.thaw.change(x.c, job); err != nil {
			job.Close()
			return nil, nil, err
		}
		look.survey = nil // of the plan, which may have other objects
		return job, look, nil
	}
	if look.survey == nil || !look.thawed() {
		return nil, look, nil
	}
	offer, err := x.thaw.choose(look)
	if err != nil {
		return nil, nil, err
	}
	if !x.c.quiet && x.c.json == "" && look.cold() {
		x.c.print("%s, %v to copy:\n", counted(plan.Packs, "pack"), units.Size(plan.Bytes))
		look.show(x.c, offer)
	}
	if look.toAsk() && !x.thaw.yes && !x.c.terminal {
		x.c.note("nobody can be asked whether that price is right: what is not thawed is left out. --yes, with --max-cost, thaws it")
		return nil, look, nil
	}
	if err := x.thaw.agree(ctx, x.c, look, offer); err != nil {
		return nil, nil, err
	}
	h, err := x.thaw.header(offer, look, "copy", key)
	if err != nil {
		return nil, nil, err
	}
	h.Description = copyDescription(to)
	job, err = thaw.Create(keep, h, plan.Needs(), x.c.now())
	return job, look, err
}

// copyDescription is what a job remembers for people.
func copyDescription(to *session) json.RawMessage {
	raw, err := json.Marshal(thawDescription{Target: to.st.Location()})
	if err != nil {
		panic("cli: " + err.Error()) // texts only
	}
	return raw
}

// copyJSON is what copy prints with --json.
type copyJSON struct {
	To          string          `json:"to"`
	DryRun      bool            `json:"dry_run"`
	Snapshots   int64           `json:"snapshots"`
	There       int64           `json:"there"`
	Forgotten   int64           `json:"forgotten"`
	Packs       int64           `json:"packs"`
	Bytes       int64           `json:"bytes"`
	Taken       int64           `json:"taken"`
	Renewed     int64           `json:"renewed"`
	Outdated    []string        `json:"outdated"`
	Volumes     int64           `json:"volumes"`
	VolumeBytes int64           `json:"volume_bytes"`
	Cold        int64           `json:"cold"`
	Failed      []notCopiedJSON `json:"failed"`
	Seconds     float64         `json:"seconds"`
	Cost        *copyCost       `json:"cost,omitempty"` // of a dry run
	Offers      []offerJSON     `json:"offers,omitempty"`
	Thaw        *jobJSON        `json:"thaw,omitempty"`
	Error       string          `json:"error,omitempty"`
}

type notCopiedJSON struct {
	Snapshot string `json:"snapshot"`
	Error    string `json:"error"`
}

func copiedJSON(to *session, r *copy.Result) copyJSON {
	j := copyJSON{To: to.st.Location(), Snapshots: r.Snapshots, There: r.There, Forgotten: r.Forgotten, Packs: r.Packs, Bytes: r.Bytes, Taken: r.Taken,
		Volumes: r.Volumes, VolumeBytes: r.VolumeBytes, Cold: int64(len(r.Cold)), Failed: []notCopiedJSON{}, Renewed: r.Renewed, Outdated: []string{}}
	for _, id := range r.Outdated {
		j.Outdated = append(j.Outdated, id.String())
	}
	for _, f := range r.Failed {
		j.Failed = append(j.Failed, notCopiedJSON{f.Item.ID.String(), firstLines(f.Err, 3)})
	}
	return j
}

// copyCost is what a copy would cost: at the repository, where nothing has to be thawed first, and at the copy.
type copyCost struct {
	Currency string      `json:"currency"`
	Fetch    price.Money `json:"fetch"`   // requests and what leaves the store
	Store    price.Money `json:"store"`   // requests
	Monthly  price.Money `json:"monthly"` // to keep it
}

// cost is what a plan would cost, as far as the prices are known; nil where they are not, or where nothing costs anything.
func (x *copyCommand) cost(s, to *session, location string, p *copy.Plan, cold bool) *copyCost {
	c := &copyCost{}
	if region, err := x.thaw.prices.orNone(s.st, &x.read.store); err == nil && region != nil && isS3(s.st.Location()) && !cold {
		c.Currency = region.Currency
		c.Fetch = append(region.Backup(nil, 0, p.Packs), region.Egress(cmp.Or(x.thaw.route, price.Direct), p.Bytes, 0)).Total()
	}
	if region, err := x.thaw.prices.orNone(to.st, x.to.flags(&x.read.store, location)); err == nil && region != nil && isS3(location) && (c.Currency == "" || c.Currency == region.Currency) {
		sent := p.Sent()
		c.Currency, c.Store, c.Monthly = region.Currency, region.Backup(sent, 0, 0).Total(), region.Monthly(sent).Total()
	}
	if c.Fetch == 0 && c.Store == 0 && c.Monthly == 0 {
		return nil
	}
	return c
}

// showPlan tells what a copy would do.
func (x *copyCommand) showPlan(s, to *session, location string, p *copy.Plan, look *outlook) error {
	cost := x.cost(s, to, location, p, look.survey != nil && look.thawed())
	if x.c.json != "" {
		j := copiedJSON(to, &p.Result)
		j.DryRun, j.Cost = true, cost
		if look.survey != nil {
			j.Offers = look.json()
		}
		return x.c.objectOf("copy", j)
	}
	x.c.print("would copy %s to %s: %s, %v\n", counted(p.Snapshots, "snapshot"), to.st.Location(), counted(p.Packs, "pack"), units.Size(p.Bytes))
	x.tellRest(to, &p.Result)
	if cost != nil {
		money := price.Region{Currency: cost.Currency}
		x.c.print("  fetching it would cost %s, storing it %s, and keeping it %s a month\n", money.Format(cost.Fetch), money.Format(cost.Store), money.Format(cost.Monthly))
	}
	if look.survey != nil && look.thawed() {
		offer, err := x.thaw.choose(look)
		if err != nil {
			return err
		}
		look.show(x.c, offer)
	}
	return nil
}

// tellRest tells what is not copied, and needs no copying.
func (x *copyCommand) tellRest(to *session, r *copy.Result) {
	if r.There > 0 {
		x.c.print("  %s there already\n", counted(r.There, "snapshot"))
	}
	if r.Forgotten > 0 {
		x.c.print("  %s forgotten there, and not copied again\n", counted(r.Forgotten, "snapshot"))
	}
	if r.Taken > 0 {
		x.c.print("  %s lay there already\n", counted(r.Taken, "pack"))
	}
	if r.Renewed > 0 {
		x.c.print("  %s packed anew, since objects that they need were given up there\n", counted(r.Renewed, "snapshot"))
	}
	for _, id := range r.Outdated {
		x.c.note("%s still has snapshot %s, from which paths were taken here: firn forget %s --repo %s", to.st.Location(), shortID(id), shortID(id), to.st.Location())
	}
}

// end tells what a copy did.
func (x *copyCommand) end(ctx context.Context, to *session, res *copy.Result, job *thaw.Job, err error, took time.Duration) error {
	x.c.endLine()
	waiting := job != nil && job.Status().State == thaw.Active && job.Status().Left.Objects > 0
	if x.c.json != "" {
		j := copiedJSON(to, res)
		j.Seconds = seconds(took)
		if job != nil {
			status := job.Status()
			j.Thaw = &jobJSON{Job: job.Header().ID, Done: !waiting, Status: &status}
		}
		if err != nil {
			j.Error = err.Error()
		}
		if e := x.c.objectOf("copy", j); e != nil {
			return e
		}
	} else if !x.c.quiet {
		verb := "copied"
		if err != nil {
			verb = "stopped: copied"
		}
		x.c.print("%s %s to %s: %s, %v, in %s\n", verb, counted(res.Snapshots, "snapshot"), to.st.Location(), counted(res.Packs, "pack"), units.Size(res.Bytes+res.VolumeBytes), duration(took))
		x.tellRest(to, res)
		if waiting {
			x.c.print("%s to come, %s of them asked for; run the same command again\n", counted(job.Status().Left.Objects, "pack"), units.Count(job.Status().Thawing.Objects))
		}
	}
	switch {
	case err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled):
		return &advice.Error{Text: "interrupted", Hint: "run the same command again: it goes on where it stopped", Err: err}
	case err != nil:
		return notACopy(err)
	case waiting:
		return nil
	case len(res.Failed) > 0:
		return &advice.Error{Code: advice.Incomplete, Hint: hintFor(res)}
	}
	return nil
}

// hintFor says what to do about snapshots that could not be copied.
func hintFor(res *copy.Result) string {
	for _, f := range res.Failed {
		switch {
		case errors.As(f.Err, new(*repo.RetiredError)):
			return "the other repository has given up objects that these snapshots need: with the passphrase or an identity they are packed anew"
		case errors.Is(f.Err, repo.ErrUntrusted):
			return "give the passphrase or an identity: with the root key they can be copied"
		}
	}
	if len(res.Cold) > 0 {
		return "what is in a cold class is thawed with --yes, and --max-cost"
	}
	return "firn check tells what is damaged, firn repair mends it; then copy again"
}
