package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/index"
	"firn/internal/repair"
	"firn/internal/repo"
	"firn/internal/state"
	"firn/internal/store"
	"firn/internal/thaw"
	"firn/internal/units"
	"firn/internal/wire"
)

// repairCommand mends a repository.
type repairCommand struct {
	c        *console
	read     readFlags
	host     hostFlags
	thaw     thawFlags
	dryRun   bool
	readData bool
	withCold bool
	sums     bool
	parity   int

	config []byte // firn.json, where the store's own is lost
}

func newRepair(c *console) *cobra.Command {
	x := &repairCommand{c: c}
	cmd := &cobra.Command{
		Use:   "repair [OBJECT…]",
		Short: "Mend what is damaged or lost in a repository",
		Long: `Looks for objects that are missing or of a wrong size, and mends them: packs from their recovery data, recovery data from its pack, the
index from the tables in the packs, and of the small objects what can be made again. Packs that are beyond help are marked as lost, so
that the next backups send again what the sources still have; snapshots stay, and a restore gives all the rest.

It shows what it would do and asks first. A damaged object is kept on this machine until the mended one was verified in the store; run
again, it ends what was cut off. With --read-data it reads every pack instead of trusting the listing; with OBJECTs, the names of packs as
firn check tells them, it reads these. What lies in a cold class is thawed first, for a price that it says before.`,
		Example: `  firn repair
  firn repair --read-data --yes
  firn repair data/1f0c2a9b8d7e6f50/3a/3a7bd3e2360a3d29eea436fcfb7e44c735d117c42d1c1835420b6b9942dd4f1b
  firn repair --thaw --read-data --tier bulk --max-cost 5
  firn repair --dry-run --json | jq -r 'select(.event == "hurt") | .files[]'`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.BoolVar(&x.dryRun, "dry-run", false, "tell what would be done, and do nothing")
	fl.BoolVar(&x.readData, "read-data", false, "read all packs and their recovery data, but for cold ones")
	fl.BoolVar(&x.withCold, "thaw", false, "with --read-data: the cold ones, too")
	fl.BoolVar(&x.sums, "sums", false, "ask the store for the checksum of every pack, one request each")
	fl.IntVar(&x.parity, "add-parity", 0, "make so many percent of recovery data for packs that have none")
	fl.StringVar(&x.host.keyFile, "host-key", "", "write-only key of this host (FIRN_HOST_KEY)")
	x.thaw.register(cmd)
	fl.Lookup("yes").Usage = "do not ask, neither about the plan nor about the price"
	x.read.register(cmd)
	return cmd
}

func (x *repairCommand) run(ctx context.Context, args []string) error {
	if err := x.thaw.check(); err != nil {
		return err
	}
	switch {
	case x.withCold && !x.readData:
		return usage("packs that are damaged are thawed anyway, once the price is agreed", "--thaw goes with --read-data")
	case x.parity < 0 || x.parity > 100:
		return usage("", "--add-parity %d: want 1 to 100 percent", x.parity)
	case x.dryRun && x.thaw.yes:
		return usage("", "--dry-run and --yes exclude each other")
	}
	for _, name := range args {
		if _, ok := repo.ParseName(name); !ok {
			return usage("firn check tells the names of objects", "%q is not the name of an object", name)
		}
	}
	x.read.store.noCache = true // the store itself is what is looked at
	s, err := x.open(ctx)
	if err != nil {
		return err
	}
	defer s.close()
	o, err := x.options(s, args)
	if err != nil {
		return err
	}
	plan, err := repair.Examine(ctx, o)
	x.c.endLine()
	if err != nil {
		return err
	}
	return x.act(ctx, s, o, plan)
}

// open opens the repository with its secrets and without local tables. Where firn.json is lost or damaged it goes by what is remembered of it, or makes it again.
func (x *repairCommand) open(ctx context.Context) (*session, error) {
	cred, err := x.read.secrets.credential(ctx, x.c)
	if err != nil {
		return nil, err
	}
	s, err := openSession(ctx, x.c, &x.read.store)
	var broken *repo.ObjectError
	if err != nil && !errors.As(err, &broken) && !errors.Is(err, repo.ErrNoRepository) {
		return nil, err
	}
	if err != nil {
		if s, err = x.headless(ctx, cred, err); err != nil {
			return nil, err
		}
	}
	secrets, err := unlock(ctx, x.c, s.st, cred)
	if err == nil {
		if x.config == nil {
			err = x.openWith(ctx, s, repo.Access{Secrets: secrets})
		}
		if x.config != nil || errors.As(err, &broken) { // its signature is false
			if x.config == nil {
				x.config, err = repo.SealConfig(secrets, s.header.Config)
			}
			if err == nil {
				s.header, err = repo.ParseHeader(x.config)
			}
			if err == nil {
				err = x.openWith(ctx, s, repo.Access{Secrets: secrets})
			}
		}
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// headless opens a repository whose firn.json is gone: why says so.
func (x *repairCommand) headless(ctx context.Context, cred *credential, why error) (*session, error) {
	location, err := x.read.store.location()
	if err != nil {
		return nil, err
	}
	st, err := wire.OpenStore(ctx, location, x.read.store.options(x.c))
	if err != nil {
		return nil, err
	}
	s := &session{c: x.c, st: st, dirs: localDirs(), ready: func(context.Context) error { return nil }}
	secrets, err := unlock(ctx, x.c, st, cred)
	if err != nil {
		s.close()
		if errors.Is(err, repo.ErrNoKeys) || errors.Is(err, repo.ErrNoRepository) {
			return nil, why
		}
		return nil, err
	}
	raw := s.dirs.Place(x.read.store.place(location))
	if h, e := repo.ParseHeader(raw); e != nil || h.ID != [16]byte(secrets.Repository) {
		x.c.note("firn.json is made again: what only the lost one said, such as the storage class, is as firn init has it")
		raw, err = repo.SealConfig(secrets, nil)
	}
	if err == nil {
		s.header, err = repo.ParseHeader(raw)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	x.config = raw
	s.state = state.OpenCopy(s.dirs, s.header.ID, s.header.Copy, x.c.without())
	return s, nil
}

func (x *repairCommand) openWith(ctx context.Context, s *session, a repo.Access) (err error) {
	s.repo, err = repo.Open(ctx, s.st, a, repo.Options{Report: x.c.report(), Now: x.c.now, Header: s.header})
	return err
}

func (x *repairCommand) options(s *session, args []string) (repair.Options, error) {
	o := repair.Options{Repo: s.repo, Objects: args, ReadData: x.readData, Cold: x.withCold, Sums: x.sums, Parity: x.parity, Config: x.config,
		Report: x.c.listen().hear, Now: x.c.now, Workers: runtime.GOMAXPROCS(0)}
	var err error
	if o.Region, err = x.thaw.prices.orNone(s.st, &x.read.store); err != nil {
		return o, err
	}
	if s.dirs.State == "" {
		return o, failure("set FIRN_STATE_DIR", "there is no folder where damaged objects could be kept until they are mended")
	}
	id := s.repo.ID()
	o.Dir = filepath.Join(s.dirs.State, hex.EncodeToString(id[:]), "repair")
	if host, err := s.hostKey(&x.host); err == nil {
		o.Host = host
	} else if x.host.explicit() {
		return o, err
	}
	if dir := s.state.StoreCacheDir(); dir != "" {
		copies := wire.Cached(emptyStore{}, dir, defaultCacheMax)
		o.Copy = func(name string) []byte {
			rc, err := copies.Get(context.Background(), name, 0, -1)
			if err != nil {
				return nil
			}
			defer func() { _ = rc.Close() }()
			raw, err := io.ReadAll(io.LimitReader(rc, index.MaxHeader<<5))
			if err != nil {
				return nil
			}
			return raw
		}
	}
	return o, nil
}

// emptyStore is a store that has nothing: behind a cache, what the cache keeps is all there is.
type emptyStore struct{ store.Store }

func (emptyStore) Get(_ context.Context, name string, _, _ int64) (io.ReadCloser, error) {
	return nil, store.Fail("get", name, store.ErrNotExist)
}

func (emptyStore) Delete(context.Context, string) error { return nil }

// repairLock is the lock of repairs on this machine.
var repairLock = state.SourceID{'r', 'e', 'p', 'a', 'i', 'r'}

// act shows the plan, asks, and repairs.
func (x *repairCommand) act(ctx context.Context, s *session, o repair.Options, p *repair.Plan) error {
	var look *outlook
	var err error
	if len(p.Needs) > 0 && mayBeCold(s) {
		if look, err = x.thaw.look(ctx, s, &x.read.store, p.Needs, false); err != nil {
			return err
		}
	}
	if x.c.json == "" && !x.c.quiet || x.dryRun {
		if err := x.show(p.Steps, p.Hurt); err != nil {
			return err
		}
	}
	if x.c.json == "" && !x.c.quiet {
		x.c.print("%s looked at, %s read", counted(p.Packs, "pack"), units.Count(p.Read))
		if p.Unread > 0 {
			x.c.print(", %s not read since they are cold", units.Count(p.Unread))
		}
		x.c.print("\n")
	}
	if look != nil && look.cold() && x.c.json == "" && !x.c.quiet {
		x.c.print("to be thawed first:\n")
		look.show(x.c, nil)
	}
	if !p.Writes() || x.dryRun || !x.thaw.yes && !x.c.terminal {
		return x.planned(p)
	}
	if !x.thaw.yes {
		if err := x.c.confirm(ctx, "Repair it?"); err != nil {
			return err
		}
	}
	lock, err := s.state.Lock(repairLock, x.c.now())
	if err != nil {
		return failure("wait for it to end", "another repair is at work on this machine")
	}
	defer lock.Release()
	t, err := x.thawing(ctx, s, look, p)
	if err != nil {
		return err
	}
	if t != nil {
		defer t.Job.Close()
	}
	res, err := repair.Run(ctx, o, p, t)
	x.c.endLine()
	x.dropCopies(s, res)
	return x.ended(ctx, res, err)
}

// planned ends a run that only looked.
func (x *repairCommand) planned(p *repair.Plan) error {
	res := &repair.Result{Steps: p.Steps, Hurt: p.Hurt}
	if x.c.json != "" {
		if !x.dryRun {
			if err := x.show(p.Steps, p.Hurt); err != nil {
				return err
			}
		}
		if err := x.c.object(x.summary(res)); err != nil {
			return err
		}
	}
	switch {
	case res.Well():
		if x.c.json == "" && !x.c.quiet {
			x.c.print("nothing is damaged\n")
		}
		return nil
	case p.Writes():
		return failure("firn repair --yes does it", "%s can be dealt with, and nothing was done", counted(res.Count(repair.Planned), "object"))
	}
	return x.verdict(res)
}

// thawing has a job made or found for what is cold; nil: nothing is.
func (x *repairCommand) thawing(ctx context.Context, s *session, look *outlook, p *repair.Plan) (*repair.Thawing, error) {
	if look == nil || !look.thawed() {
		return nil, nil
	}
	const key = "repair"
	job, err := thaw.Find(s.jobState(), key, x.c.now())
	if err != nil {
		return nil, err
	}
	if job != nil && !covers(job, p.Needs) {
		err := job.End(thaw.Cancelled, x.c.now()) // what it has asked for comes all the same, and the store knows
		job.Close()
		if job = nil; err != nil {
			return nil, err
		}
	}
	if job == nil {
		offer, err := x.thaw.choose(look)
		if err != nil {
			return nil, err
		}
		if err := x.thaw.agree(ctx, x.c, look, offer); err != nil {
			return nil, err
		}
		h, err := x.thaw.header(offer, look, "repair", key)
		if err != nil {
			return nil, err
		}
		if job, err = thaw.Create(s.jobState(), h, p.Needs, x.c.now()); err != nil {
			return nil, err
		}
	} else {
		look.survey = nil // of other needs, perhaps
	}
	run := x.thaw.runOptions(s, look)
	hear := x.c.listen()
	run.Events = hear.hear
	run.OnStatus = func(st thaw.Status) { hear.thawed(statusEvent(&st)) }
	return &repair.Thawing{Job: job, Run: run}, nil
}

// covers reports whether a job is about all that is needed, and has fetched none of it.
func covers(job *thaw.Job, needs []thaw.Need) bool {
	open := map[string]bool{}
	for i, n := range job.Needs() {
		open[n.Object] = !job.Fetched(i)
	}
	return !slices.ContainsFunc(needs, func(n thaw.Need) bool { return !open[n.Object] })
}

// dropCopies forgets what the local cache keeps of objects that were damaged.
func (x *repairCommand) dropCopies(s *session, res *repair.Result) {
	dir := s.state.StoreCacheDir()
	if dir == "" || res == nil {
		return
	}
	copies := wire.Cached(emptyStore{}, dir, defaultCacheMax)
	for _, step := range res.Steps {
		if step.Remedy == repair.Copy || step.Remedy == repair.Make || step.Remedy == repair.Remove {
			_ = copies.Delete(context.Background(), step.Object)
		}
	}
}

// ended tells how a repair has come out.
func (x *repairCommand) ended(ctx context.Context, res *repair.Result, err error) error {
	if e := x.show(res.Steps, res.Hurt); e != nil && err == nil {
		err = e
	}
	if x.c.json != "" {
		if e := x.c.object(x.summary(res)); e != nil && err == nil {
			err = e
		}
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &advice.Error{Text: "interrupted", Hint: "run the same command again: it ends what was begun", Err: err}
	}
	if err != nil {
		return err
	}
	if x.c.json == "" && !x.c.quiet {
		x.c.print("%s mended", counted(res.Count(repair.Mended), "object"))
		for _, other := range []struct {
			outcome repair.Outcome
			text    string
		}{{repair.Marked, "marked as lost"}, {repair.Healed, "healed by later backups"}, {repair.Left, "beyond help"}, {repair.Failed, "failed"}, {repair.Waits, "to be thawed first"}} {
			if n := res.Count(other.outcome); n > 0 {
				x.c.print(", %s %s", units.Count(n), other.text)
			}
		}
		x.c.print("\n")
	}
	return x.verdict(res)
}

// verdict is the error of a repository that is not well.
func (x *repairCommand) verdict(res *repair.Result) error {
	switch {
	case res.Well():
		return nil
	case res.Count(repair.Failed) > 0:
		return failure("run it again once what is named is out of the way", "%s could not be mended", counted(res.Count(repair.Failed), "object"))
	case res.Count(repair.Waits) > 0:
		return failure("run it again: it thaws them, and says before what that costs", "%s to be thawed first", counted(res.Count(repair.Waits), "object"))
	case res.Count(repair.Marked) > 0:
		return failure("back up the sources concerned: what they still have is sent again; then firn repair tells what was healed. firn restore gives all the rest",
			"%s beyond help lose content of %s", counted(res.Count(repair.Marked), "pack"), counted(int64(len(res.Hurt)), "snapshot"))
	case len(res.Hurt) > 0:
		return failure("firn restore gives all the rest", "%s lose content", counted(int64(len(res.Hurt)), "snapshot"))
	}
	hint := "get what is named from another copy or an older version of the store"
	for _, step := range res.Steps {
		if step.Outcome == repair.Left && strings.HasPrefix(step.Object, "hosts/") {
			hint += "; what is missing below hosts/ the next backup of that host stores again"
			break
		}
	}
	return failure(hint, "%s beyond help", counted(res.Count(repair.Left), "object"))
}

// stepJSON is a line of repair with --json.
type stepJSON struct {
	Event   string         `json:"event"` // repair
	Object  string         `json:"object"`
	Damage  string         `json:"damage,omitempty"`
	Why     string         `json:"why,omitempty"`
	Remedy  repair.Remedy  `json:"remedy"`
	Outcome repair.Outcome `json:"outcome"`
	Error   string         `json:"error,omitempty"`
	Class   string         `json:"class,omitempty"`
	Size    int64          `json:"size,omitempty"`
}

// hurtJSON is a snapshot that loses something.
type hurtJSON struct {
	Event    string    `json:"event"` // hurt
	Snapshot string    `json:"snapshot"`
	Source   string    `json:"source"`
	Time     time.Time `json:"time"`
	Files    []string  `json:"files"`
	More     int64     `json:"more,omitempty"`
	Entries  int64     `json:"entries,omitempty"`
	Error    string    `json:"error,omitempty"`
}

// repairedJSON is the last line.
type repairedJSON struct {
	Event   string `json:"event"` // repaired
	Well    bool   `json:"well"`
	Planned int64  `json:"planned"`
	Mended  int64  `json:"mended"`
	Marked  int64  `json:"marked"`
	Healed  int64  `json:"healed"`
	Lost    int64  `json:"lost"`
	Failed  int64  `json:"failed"`
	Cold    int64  `json:"cold"`
	Hurt    int64  `json:"hurt"`
}

func (x *repairCommand) summary(res *repair.Result) repairedJSON {
	return repairedJSON{"repaired", res.Well(), res.Count(repair.Planned), res.Count(repair.Mended), res.Count(repair.Marked), res.Count(repair.Healed),
		res.Count(repair.Left), res.Count(repair.Failed), res.Count(repair.Waits), int64(len(res.Hurt))}
}

// shownFiles is how many files of a snapshot are named where nobody asks for more.
const shownFiles = 10

// show prints steps, and what snapshots lose.
func (x *repairCommand) show(steps []*repair.Step, hurt []*repo.Hurt) error {
	if x.c.json != "" {
		return x.showJSON(steps, hurt)
	}
	t := x.c.table("what", "state", "object", "why")
	for _, s := range steps {
		if x.c.quiet && (s.Outcome == repair.Mended || s.Outcome == repair.Healed || s.Outcome == repair.Sound) {
			continue
		}
		why := s.Err
		if why == nil {
			why = s.Why
		}
		text := string(s.Damage)
		if why != nil {
			text = strings.TrimPrefix(oneLine(why.Error()), s.Object+": ")
		}
		t.row(remedyText(s.Remedy), string(s.Outcome), s.Object, printable(text))
	}
	t.print()
	for _, h := range hurt {
		x.c.print("snapshot %s of %s (%s) loses %s", shortID(h.Snapshot.ID), advice.SourceName(h.Snapshot.Source), h.Snapshot.Start.Local().Format(timeFormat),
			counted(int64(len(h.Files))+h.More, "file"))
		if h.Entries > 0 {
			x.c.print(" and %s of its list", counted(h.Entries, "line"))
		}
		x.c.print("\n")
		for i, f := range h.Files {
			if i == shownFiles && !x.c.verbose {
				x.c.print("  … and %s more (--verbose names them)\n", units.Count(int64(len(h.Files)-i)+h.More))
				break
			}
			x.c.print("  %s\n", printable(f))
		}
	}
	return nil
}

func (x *repairCommand) showJSON(steps []*repair.Step, hurt []*repo.Hurt) error {
	text := func(err error) string {
		if err == nil {
			return ""
		}
		return oneLine(err.Error())
	}
	for _, s := range steps {
		if err := x.c.object(stepJSON{"repair", s.Object, string(s.Damage), text(s.Why), s.Remedy, s.Outcome, text(s.Err), s.Class, s.Size}); err != nil {
			return err
		}
	}
	for _, h := range hurt {
		files := h.Files
		if files == nil {
			files = []string{}
		}
		if err := x.c.object(hurtJSON{"hurt", h.Snapshot.ID.String(), advice.SourceName(h.Snapshot.Source), h.Snapshot.Start.UTC(), files, h.More, h.Entries, text(h.Err)}); err != nil {
			return err
		}
	}
	return nil
}

// remedyText says what is done, in a few words.
func remedyText(r repair.Remedy) string {
	switch r {
	case repair.Finish:
		return "end what was begun"
	case repair.Parity:
		return "mend from parity"
	case repair.Volume:
		return "make parity again"
	case repair.Reindex:
		return "index again"
	case repair.Copy:
		return "put back a copy"
	case repair.Make:
		return "make again"
	case repair.Remove:
		return "remove"
	case repair.Resend:
		return "send again"
	}
	return "no remedy"
}
