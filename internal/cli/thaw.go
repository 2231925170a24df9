package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/restore"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/units"
	"firn/internal/wire"
)

// thawCommand makes cold objects readable without restoring them.
type thawCommand struct {
	c        *console
	read     readFlags
	filters  filterFlags
	thaw     thawFlags
	include  []string
	exclude  []string
	list     listFlags
	metadata bool
	manifest string
}

func newThaw(c *console) *cobra.Command {
	x := &thawCommand{c: c}
	cmd := &cobra.Command{
		Use:   "thaw SNAPSHOT[:PATH] [PATTERN…]",
		Short: "Make what lies in a cold class readable for some days",
		Long: `Asks the store for readable copies of the packs that a snapshot, or what lies under PATH in it, needs, and waits until all are there. A
restore does this by itself; use thaw alone to look at files with firn cat, to write a tar, or to read the objects with other
programs. What it costs is said before, and nothing that is thawed is paid for again. Interrupted, run it again. Copies end by
themselves after --days.

With --metadata it is about everything but file content: objects that a lifecycle rule of the bucket moved into a cold class, without which
nothing can be listed. No key is needed for that. firn doctor finds such rules.

With --batch-manifest it asks for nothing, and writes the list that S3 Batch Operations takes, for restores of millions of objects.
` + snapshotHelp,
		Example: `  firn thaw latest:/home/eve/films --days 10
  firn thaw latest --tier standard --max-cost 20 --yes
  firn thaw --metadata --repo s3://bucket/nas
  firn thaw latest --batch-manifest manifest.csv
  firn thaw list`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&x.metadata, "metadata", false, "bring back what a lifecycle rule has chilled, except file content")
	fl.StringVar(&x.manifest, "batch-manifest", "", "write a manifest for S3 Batch Operations to this file instead")
	fl.StringArrayVar(&x.include, "include", nil, "only what matches the pattern (repeat for more)")
	fl.StringArrayVarP(&x.exclude, "exclude", "e", nil, "not what matches the pattern")
	x.list.register(cmd)
	x.thaw.register(cmd)
	x.filters.register(cmd)
	x.read.register(cmd)
	cmd.AddCommand(newThawList(c), newThawShow(c), newThawCancel(c))
	return cmd
}

func (x *thawCommand) run(ctx context.Context, args []string) error {
	if err := x.thaw.check(); err != nil {
		return err
	}
	switch {
	case x.metadata && (len(args) > 0 || len(x.include)+len(x.exclude) > 0 || x.list.given() || x.manifest != ""):
		return usage("", "--metadata is about the whole repository, and takes no snapshot")
	case !x.metadata && len(args) == 0:
		return usage("firn thaw --help shows how it is used", "firn thaw wants a snapshot")
	}
	if err := x.list.check(&x.read.secrets); err != nil {
		return err
	}
	if x.metadata {
		return x.bringBack(ctx)
	}
	return x.list.verdict(x.bringOut(ctx, args))
}

// bringOut has what a snapshot needs thawed.
func (x *thawCommand) bringOut(ctx context.Context, args []string) error {
	l, err := openLibrary(ctx, x.c, &x.read)
	if err != nil {
		return err
	}
	defer l.close()
	which, text := splitExpr(args[0])
	scope, snap, err := l.pick(ctx, which, text, &x.filters)
	if err != nil {
		return err
	}
	o := restore.Options{Repo: l.s.repo, Scope: scope, Snapshot: snap, Path: pathIn(snap.Source, text)}
	if o.Include, err = patterns(snap.Source, append(x.include, args[1:]...), "--include"); err != nil {
		return err
	}
	if o.Exclude, err = patterns(snap.Source, x.exclude, "--exclude"); err != nil {
		return err
	}
	if o.Paths, err = x.list.paths(x.c, snap.Source); err != nil {
		return err
	}
	if err := x.list.lookUp(ctx, x.c, o); err != nil {
		return err
	}
	plan, err := restore.Plan(ctx, o)
	if err != nil {
		return err
	}
	needs := restore.Packs(plan)
	look, err := x.thaw.look(ctx, l.s, &x.read.store, needs, true)
	if err != nil {
		return err
	}
	if x.manifest != "" {
		return x.writeManifest(l.s, look)
	}
	h := thaw.Header{Purpose: "thaw", Key: "thaw-" + restore.ThawKey(&o), Description: describe(snap, o.Path, "")}
	return x.hold(ctx, l.s, look, needs, h)
}

// hold has what was looked at thawed, and waits for it.
func (x *thawCommand) hold(ctx context.Context, s *session, look *outlook, needs []thaw.Need, h thaw.Header) error {
	job, err := thaw.Find(s.jobState(), h.Key, x.c.now())
	if err != nil {
		return err
	}
	if job == nil {
		if !look.cold() {
			if x.c.json == "" && !x.c.quiet {
				x.c.print("nothing has to be thawed\n")
				look.showClasses(x.c)
			}
			if x.c.json == "" {
				return nil
			}
			return x.c.objectOf("thaw", jobJSON{Done: true, Status: &thaw.Status{State: thaw.Done, At: x.c.now().UTC()}})
		}
		offer, err := x.thaw.choose(look)
		if err != nil {
			return err
		}
		if !x.c.quiet && x.c.json == "" {
			look.show(x.c, offer)
		}
		if err := x.thaw.agree(ctx, x.c, look, offer); err != nil {
			return err
		}
		made, err := x.thaw.header(offer, look, h.Purpose, h.Key)
		if err != nil {
			return err
		}
		made.Description, made.Hold = h.Description, true
		if job, err = thaw.Create(s.jobState(), made, needs, x.c.now()); err != nil {
			return err
		}
	}
	defer job.Close()
	if err := x.thaw.change(x.c, job); err != nil { // a limit that is given now counts, also for a job that was begun without
		return err
	}
	run := x.thaw.runOptions(s, look)
	hear := x.c.listen()
	run.Events = hear.hear
	run.OnStatus = func(st thaw.Status) { hear.thawed(statusEvent(&st)) }
	res, err := thaw.Run(ctx, job, run)
	x.c.endLine()
	return x.ended(ctx, job, look, res, err)
}

// ended tells how a job that holds has come out.
func (x *thawCommand) ended(ctx context.Context, job *thaw.Job, look *outlook, res *thaw.Result, err error) error {
	st := res.Status
	if x.c.json != "" {
		j := jobJSON{Job: job.Header().ID, Done: st.State == thaw.Done, Status: &st}
		if look.region != nil {
			j.Currency = look.region.Currency
		}
		if e := x.c.objectOf("thaw", j); e != nil && err == nil {
			err = e
		}
	} else if !x.c.quiet {
		x.c.print("%s of %s thawed, %v", units.Count(st.Fetched.Objects), counted(st.Fetched.Objects+st.Left.Objects, "object"), units.Size(st.Fetched.Bytes))
		if look.region != nil {
			x.c.print("; it cost %s", look.region.Format(st.Spent))
		}
		x.c.print("\n")
		if err == nil && st.Left.Objects > 0 {
			text := "run the same command again to see how far it is"
			if !st.ETA.IsZero() {
				text += "; all can be there by " + st.ETA.Local().Format(timeFormat)
			}
			x.c.print("%s\n", text)
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &advice.Error{Text: "interrupted", Hint: "run the same command again: what was asked for comes meanwhile", Err: err}
	}
	return err
}

// writeManifest writes what S3 Batch Operations reads.
func (x *thawCommand) writeManifest(s *session, look *outlook) error {
	l, err := wire.ParseLocation(s.st.Location())
	if err != nil || l.Scheme != "s3" {
		return failure("", "S3 Batch Operations knows buckets, and %s is none", s.st.Location())
	}
	prefix := l.Prefix
	if prefix != "" {
		prefix += "/"
	}
	cold := func(yield func(string) bool) {
		for i, need := range look.survey.Needs {
			if at := look.survey.At(i); at.Cold && at.Copy.State == store.NoCopy && !yield(prefix+need.Object) {
				return
			}
		}
	}
	if !look.toAsk() {
		return failure("firn restore brings the files home", "nothing has to be asked for, so there is no manifest to write")
	}
	f, err := os.OpenFile(x.manifest, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	n, err := thaw.WriteBatchManifest(f, l.Bucket, cold)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(x.manifest)
		return err
	}
	if x.c.json != "" {
		return x.c.object(map[string]any{"event": "manifest", "file": x.manifest, "objects": n})
	}
	x.c.print("%s written to %s\n", counted(n, "object"), x.manifest)
	if !x.c.quiet {
		x.c.print(`upload it, and have it carried out, for example with:
  aws s3 cp %[1]s s3://BUCKET/%[1]s
  aws s3control create-job --account-id ACCOUNT --no-confirmation-required --priority 10 --role-arn ROLE \
    --operation '{"S3InitiateRestoreObject":{"ExpirationInDays":%[2]d,"GlacierJobTier":"BULK"}}' --report '{"Enabled":false}' \
    --manifest '{"Spec":{"Format":"%[3]s","Fields":["%[4]s"]},"Location":{"ObjectArn":"arn:aws:s3:::BUCKET/%[1]s","ETag":"ETAG"}}'
then restore as always: what is thawed, or on its way, is not asked for again
`, x.manifest, max(x.thaw.days, thaw.HoldDays), thaw.BatchFormat, strings.Join(thaw.BatchFields(), `","`))
	}
	return nil
}

// metadataDays is how long copies of metadata are kept unless the user says otherwise: they are small, and cost as much as they did where they belong.
const metadataDays = 90

// bringBack has everything thawed that is not file content. It needs no key: keys may be what is cold.
func (x *thawCommand) bringBack(ctx context.Context) error {
	location, err := x.read.store.location()
	if err != nil {
		return err
	}
	st, err := wire.OpenStore(ctx, location, x.read.store.options(x.c))
	if err != nil {
		return err
	}
	defer func() { _ = st.Close() }()
	if x.thaw.days == 0 {
		x.thaw.days = metadataDays
	}
	region, err := x.thaw.prices.orNone(st, &x.read.store)
	if err != nil {
		return err
	}
	cold := coldIn(region)
	var needs []thaw.Need
	err = st.List(ctx, "", "", func(i store.Info) error {
		if !strings.HasPrefix(i.Name, "data/") && cold(i.Class) {
			needs = append(needs, thaw.Need{Object: i.Name, Class: i.Class, Size: i.Size, Wanted: i.Size})
		}
		return nil
	})
	if err != nil {
		return err
	}
	s := &session{c: x.c, st: st, dirs: localDirs(), dry: true} // a job of its own needs the repository's id, which may be cold
	s.state = nowhere(x.c)
	look, err := x.thaw.look(ctx, s, &x.read.store, needs, true)
	if err != nil {
		return err
	}
	look.metas = true
	if err := x.hold(ctx, s, look, needs, thaw.Header{Purpose: "metadata"}); err != nil {
		return err
	}
	if len(needs) > 0 && !x.c.quiet && x.c.json == "" {
		x.c.print("the copies are kept for %d days; firn doctor --fix-rules writes rules that leave these objects alone from now on\n", x.thaw.days)
	}
	return nil
}

// statusEvent is as much of a job's status as a progress line shows.
func statusEvent(st *thaw.Status) thawProgress {
	return thawProgress{objects: st.Fetched.Objects + st.Left.Objects, thawing: st.Thawing.Objects, ready: st.Ready.Objects, fetched: st.Fetched.Objects, eta: st.ETA, spent: float64(st.Spent)}
}

func newThawList(c *console) *cobra.Command {
	f := &storeFlags{}
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the thaw jobs that this machine knows",
		Example: "  firn thaw list\n  firn thaw list --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := openSession(cmd.Context(), c, f)
			if err != nil {
				return err
			}
			defer s.close()
			jobs, err := thaw.List(s.state, c.now())
			if err != nil {
				return err
			}
			t := c.table("job", "purpose", "state", "begun", ">fetched", ">of", ">thawing", ">spent", "until", "what")
			for _, j := range jobs {
				if c.json != "" {
					if err := c.objectOf("job", entryJSON(j)); err != nil {
						return err
					}
					continue
				}
				t.row(j.Header.ID[:8], j.Header.Purpose, jobState(j), j.Header.Created.Local().Format(timeFormat), units.Count(j.Status.Fetched.Objects),
					units.Count(j.Status.Fetched.Objects+j.Status.Left.Objects), units.Count(j.Status.Thawing.Objects), spentText(j), etaText(j), whatText(j))
			}
			t.print()
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func newThawShow(c *console) *cobra.Command {
	f := &storeFlags{}
	cmd := &cobra.Command{
		Use:     "show JOB",
		Short:   "Tell how far a thaw job is",
		Example: "  firn thaw show 1f3a",
		Args:    argsBetween(1, 1, "one job"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openSession(cmd.Context(), c, f)
			if err != nil {
				return err
			}
			defer s.close()
			j, err := findJob(s, args[0])
			if err != nil {
				return err
			}
			if c.json != "" {
				return c.objectOf("job", entryJSON(*j))
			}
			c.showJob(j)
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func newThawCancel(c *console) *cobra.Command {
	f := &storeFlags{}
	cmd := &cobra.Command{
		Use:   "cancel JOB",
		Short: "End a thaw job: nothing more is asked for",
		Long: `Nothing more is asked for. What was asked for comes nevertheless, and stays paid for: no store takes a retrieval back. The copies end by
themselves after their days, and a restore that needs them before uses them.`,
		Example: "  firn thaw cancel 1f3a",
		Args:    argsBetween(1, 1, "one job"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := openSession(cmd.Context(), c, f)
			if err != nil {
				return err
			}
			defer s.close()
			j, err := thaw.Cancel(s.state, args[0], c.now())
			if err != nil {
				return err
			}
			if c.json != "" {
				return c.objectOf("job", entryJSON(j))
			}
			c.print("cancelled %s; %s asked for come nevertheless, and are paid for: %s\n", j.Header.ID[:8], counted(j.Status.Requested.Objects, "object"), spentText(j))
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

// findJob finds a job by its id or a unique beginning of it.
func findJob(s *session, id string) (*thaw.Entry, error) {
	jobs, err := thaw.List(s.state, s.c.now())
	if err != nil {
		return nil, err
	}
	var found *thaw.Entry
	for i := range jobs {
		if id == "" || !strings.HasPrefix(jobs[i].Header.ID, id) {
			continue
		}
		if found != nil {
			return nil, failure("give more of it", "several jobs begin with %q", id)
		}
		found = &jobs[i]
	}
	if found == nil {
		return nil, &thaw.NoJobError{ID: id}
	}
	return found, nil
}

// showJob prints all that is known of a job.
func (c *console) showJob(j *thaw.Entry) {
	st := j.Status
	tally := func(t thaw.Tally) string {
		return fmt.Sprintf("%s, %v", counted(t.Objects, "object"), units.Size(t.Bytes))
	}
	for _, line := range [][2]string{
		{"job", j.Header.ID}, {"purpose", j.Header.Purpose}, {"what", whatText(*j)}, {"state", jobState(*j)},
		{"begun", j.Header.Created.Local().Format(timeFormat)}, {"tier", tierText(j.Header.Tier)}, {"copies kept", counted(int64(j.Header.Days), "day")},
		{"asked for", tally(st.Requested)}, {"thawing", tally(st.Thawing)}, {"ready", tally(st.Ready)}, {"fetched", tally(st.Fetched)}, {"left", tally(st.Left)},
		{"spent", spentText(*j)}, {"complete by", etaText(*j)}, {"as of", st.At.Local().Format(timeFormat)},
	} {
		if line[1] != "" {
			c.print("%-12s %s\n", line[0], line[1])
		}
	}
	if st.Failed.Objects > 0 {
		c.print("%-12s %s\n", "failed", tally(st.Failed))
	}
	if st.Again > 0 {
		c.print("%-12s %s whose copy had expired\n", "paid again", counted(st.Again, "object"))
	}
}

func jobState(j thaw.Entry) string {
	if j.PID != 0 {
		return fmt.Sprintf("process %d", j.PID)
	}
	return string(j.Status.State)
}

func spentText(j thaw.Entry) string {
	if j.Header.Region == "" {
		return ""
	}
	region, err := (&priceFlags{}).byKey(j.Header.Provider + "/" + j.Header.Region)
	if err != nil {
		return j.Status.Spent.String()
	}
	return region.Format(j.Status.Spent)
}

func etaText(j thaw.Entry) string {
	if j.Status.ETA.IsZero() || j.Status.State != thaw.Active {
		return ""
	}
	return j.Status.ETA.Local().Format(timeFormat)
}

// jobEntryJSON is a job in the JSON of thaw list, show and cancel.
type jobEntryJSON struct {
	Job    string       `json:"job"`
	PID    int          `json:"pid,omitempty"`
	Header *thaw.Header `json:"header"`
	Status *thaw.Status `json:"status"`
	At     time.Time    `json:"at"`
}

func entryJSON(j thaw.Entry) jobEntryJSON {
	return jobEntryJSON{j.Header.ID, j.PID, &j.Header, &j.Status, j.Status.At}
}

// whatText says what a job is about.
func whatText(j thaw.Entry) string {
	var d thawDescription
	if json.Unmarshal(j.Header.Description, &d) != nil {
		return ""
	}
	text := d.Source
	if len(d.Snapshot) >= 8 {
		text = d.Snapshot[:8] + " of " + text
	}
	if d.Path != "" {
		text += ":" + d.Path
	}
	if d.Target != "" {
		text += " into " + d.Target
	}
	return text
}

// nowhere is local state that keeps nothing.
func nowhere(c *console) *state.State { return state.Open(state.Dirs{}, [16]byte{}, c.without()) }
