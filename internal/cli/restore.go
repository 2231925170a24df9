package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"firn/internal/advice"
	"firn/internal/glob"
	"firn/internal/restore"
	"firn/internal/snapshot"
	"firn/internal/store"
	"firn/internal/target"
	"firn/internal/units"
)

// restoreCommand brings files back.
type restoreCommand struct {
	c       *console
	read    readFlags
	filters filterFlags
	thaw    thawFlags
	from    copiesFlags
	to      intoFlags

	target      string
	tar         string
	plan        bool
	dryRun      bool
	overwrite   string
	remove      bool
	include     []string
	exclude     []string
	list        listFlags
	noOwner     bool
	ownerByName bool
	noXattrs    bool
	keepPartial bool
	workers     int
}

func newRestore(c *console) *cobra.Command {
	x := &restoreCommand{c: c}
	cmd := &cobra.Command{
		Use:   "restore SNAPSHOT[:PATH] [PATTERN…]",
		Short: "Bring a snapshot, or a part of it, back",
		Long: `Writes what lies in the source, or in PATH, straight into the folder --target, which is made if it is not there. Each object is
fetched once. What is damaged is named, the rest is restored, and the exit code is 3. Interrupted, run it again: what is complete stays.

What lies in a cold class is thawed first: firn says what that costs with each tier and how long it takes, asks, thaws no more at a
time than the link brings home before the copies expire, and restores files as their packs come. Stop it at any time, for days; the
same command goes on, and pays for nothing twice. With --detach it does not wait. firn thaw list shows what is under way.

--files-from restores exactly what a file lists, and all below listed folders. A path that the snapshot does not have is named, and the
exit code is 3. Patterns and PATH still count: only what all of them choose is restored. The order of the list does not matter, and the
same list goes on where it stopped.

A snapshot of streams is replayed into what it came from with --into, together with the chain of snapshots that it builds upon, as far as
the target lacks it; --target writes the streams of the chain as files. With --to-command, a stream that is damaged stops the command; but
where firn itself is killed, the command sees the end of its input, as if that were all.
` + snapshotHelp,
		Example: `  firn restore latest --target /tmp/restored
  firn restore latest:/home/eve/documents --target ./documents
  firn restore @2026-11-20 '*.jpg' --source photos --target ./photos --plan
  firn restore latest --target / --source / --overwrite changed
  firn restore latest --target ./some --files-from wanted.txt
  firn restore latest --target /mnt/new --tier bulk --max-cost 40 --yes
  firn restore latest --repo s3://bucket/nas --from /mnt/shelf/backup --target /mnt/new
  firn restore latest --source zfs:tank/home --zfs pool/restored
  firn restore latest:db.sql --to-command 'psql mydb'
  firn restore latest --tar - | ssh other tar -x -C /srv`,
		Args: argsBetween(1, -1, "a snapshot"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args) },
	}
	fl := cmd.Flags()
	fl.StringVarP(&x.target, "target", "t", "", "folder to restore into")
	fl.StringVar(&x.tar, "tar", "", "write a tar to this file instead; - is standard output")
	fl.BoolVar(&x.plan, "plan", false, "tell what would be fetched, and do nothing")
	fl.BoolVar(&x.dryRun, "dry-run", false, "tell what would be written, and do nothing")
	fl.StringVar(&x.overwrite, "overwrite", "", "what is there already: never replaced (the default), changed, always")
	fl.BoolVar(&x.remove, "delete", false, "remove from restored folders what the snapshot does not have")
	fl.StringArrayVar(&x.include, "include", nil, "only what matches the pattern (repeat for more)")
	fl.StringArrayVarP(&x.exclude, "exclude", "e", nil, "not what matches the pattern")
	x.list.register(cmd)
	fl.BoolVar(&x.noOwner, "no-owner", false, "do not set owners")
	fl.BoolVar(&x.ownerByName, "owner-by-name", false, "set owners by name where this system knows it, not by number")
	fl.BoolVar(&x.noXattrs, "no-xattrs", false, "do not set extended attributes and ACLs")
	fl.BoolVar(&x.keepPartial, "keep-partial", false, "leave damaged files there, with holes where something is lost")
	fl.IntVar(&x.workers, "workers", 0, "files written at once (by the number of cores)")
	complete(cmd, "overwrite", "never", "changed", "always")
	x.from.register(cmd)
	x.to.register(cmd)
	x.thaw.register(cmd)
	x.filters.register(cmd)
	x.read.register(cmd)
	return cmd
}

// check refuses what makes no sense before anything is opened.
func (x *restoreCommand) check() error {
	if _, err := overwriting(x.overwrite); err != nil {
		return err
	}
	if err := x.thaw.check(); err != nil {
		return err
	}
	if err := x.to.check(x); err != nil {
		return err
	}
	if err := x.list.check(&x.read.secrets); err != nil {
		return err
	}
	switch {
	case x.target == "" && x.tar == "" && !x.plan && !x.to.given():
		return usage("give --target DIR or --tar FILE; for streams --into KIND:REST, --stdout or --to-command", "where to?")
	case x.tar != "" && (x.remove || x.overwrite != "" || x.dryRun):
		return usage("", "--delete, --overwrite and --dry-run are for --target, not for --tar")
	case strings.HasPrefix(x.tar, "-") && x.tar != "-":
		return usage("--tar - writes to standard output; a file of that name is ./"+x.tar, "--tar %q is a flag, not a file", x.tar)
	case x.tar == "-" && x.c.json != "":
		return usage("write the tar to a file", "standard output cannot hold both a tar and JSON")
	case x.tar == "-" && term.IsTerminal(int(os.Stdout.Fd())):
		return usage("send it on with a pipe, or to a file", "a tar does not belong on a terminal")
	}
	return nil
}

// overwriting reads the value of --overwrite.
func overwriting(text string) (target.Overwrite, error) {
	switch text {
	case "", "never":
		return target.Never, nil
	case "changed":
		return target.Changed, nil
	case "always":
		return target.Always, nil
	}
	return 0, usage("", "--overwrite %q: want never, changed or always", text)
}

func (x *restoreCommand) run(ctx context.Context, args []string) error {
	if err := x.check(); err != nil {
		return err
	}
	l, o, err := x.open(ctx, args)
	if err != nil {
		return err
	}
	defer l.close()
	defer x.from.close()
	if err := x.list.lookUp(ctx, x.c, o); err != nil {
		return err
	}
	return x.list.verdict(x.bring(ctx, l, o, args))
}

// bring does what was asked for with the repository that is open.
func (x *restoreCommand) bring(ctx context.Context, l *library, o restore.Options, args []string) (err error) {
	if x.to.given() || x.wholeChain(&o) {
		return x.replay(ctx, l, &o, args)
	}
	x.tellIncrement(&o)
	if x.plan {
		return x.showPlan(ctx, l.s, o)
	}
	if x.target != "" {
		if err := x.checkTarget(l.s, o.Snapshot.Source, o.Path); err != nil {
			return err
		}
	}
	if x.tar != "" && x.tar != "-" {
		return x.toFile(ctx, l.s, o)
	}
	if x.tar == "-" {
		o.Tar = x.c.content()
	}
	if _, err := x.thaw.prices.orNone(l.s.st, &x.read.store); err != nil {
		return err
	}
	if o.Tar == nil && !x.dryRun && mayBeCold(l.s) {
		return x.restoreCold(ctx, l.s, o)
	}
	err = x.do(ctx, l.s, o)
	if errors.As(err, new(*restore.ColdError)) && o.Tar == nil && !x.dryRun {
		x.c.note("%v", err)
		return x.restoreCold(ctx, l.s, o)
	}
	return err
}

// options of the verb.
func (x *restoreCommand) options(ctx context.Context, l *library, args []string) (o restore.Options, err error) {
	which, text := splitExpr(args[0])
	scope, snap, err := l.pick(ctx, which, text, &x.filters)
	if err != nil {
		return o, err
	}
	o = restore.Options{
		Repo: l.s.repo, Scope: scope, Snapshot: snap, Path: pathIn(snap.Source, text), Target: x.target, Delete: x.remove,
		NoOwner: x.noOwner, OwnerByName: x.ownerByName, NoXattrs: x.noXattrs, KeepPartial: x.keepPartial, DryRun: x.dryRun, Workers: x.workers,
	}
	if o.Overwrite, err = overwriting(x.overwrite); err != nil {
		return o, err
	}
	if o.Include, err = patterns(snap.Source, append(x.include, args[1:]...), "--include"); err != nil {
		return o, err
	}
	if o.Exclude, err = patterns(snap.Source, x.exclude, "--exclude"); err != nil {
		return o, err
	}
	o.Paths, err = x.list.paths(x.c, snap.Source)
	return o, err
}

// checkTarget refuses to write over the source unless the user says how, and into the repository.
func (x *restoreCommand) checkTarget(s *session, o snapshot.Origin, path []byte) error {
	goal := realPath(x.target)
	if own := s.folder(); own != "" {
		if _, inside := (root{real: own}).below(goal); inside {
			return failure("choose another folder", "target %q lies in the repository", x.target)
		}
	}
	place := filepath.Join(realPath(string(o.Path)), filepath.FromSlash(string(path)))
	if goal == place && x.overwrite == "" && !x.dryRun {
		return failure("to restore in place say how: --overwrite never, changed or always; else choose another --target",
			"target %q is the source itself", x.target)
	}
	return nil
}

// realPath resolves as much of a path as is there.
func realPath(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest)
		}
		if at == filepath.Dir(at) {
			return abs
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// toFile writes a tar to a new file, which appears whole or not at all.
func (x *restoreCommand) toFile(ctx context.Context, s *session, o restore.Options) error {
	if _, err := os.Lstat(x.tar); err == nil {
		return failure("choose another name, or remove it first", "tar %q: the file exists already", x.tar)
	}
	f, err := os.CreateTemp(filepath.Dir(x.tar), "."+filepath.Base(x.tar)+"-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone where it was renamed
	o.Tar = f
	err = x.do(ctx, s, o)
	if e := f.Sync(); e != nil && err == nil {
		err = e
	}
	if e := f.Close(); e != nil && err == nil {
		err = e
	}
	if err != nil && !errors.As(err, new(*partly)) {
		return err
	}
	if e := os.Rename(f.Name(), x.tar); e != nil {
		return e
	}
	return err
}

// partly marks the error of a restore that went to its end, of which some files failed.
type partly struct{ err error }

func (p *partly) Error() string { return p.err.Error() }

// Unwrap returns what ends the command.
func (p *partly) Unwrap() error { return p.err }

// resultJSON is what restore prints with --json.
type resultJSON struct {
	*restore.Result
	Snapshot string       `json:"snapshot"`
	Target   string       `json:"target,omitempty"`
	Seconds  float64      `json:"seconds"`
	Absent   []string     `json:"absent,omitempty"` // of the list of paths
	Damaged  []damageJSON `json:"damaged"`
	Limits   []limitJSON  `json:"limits"`
	Cost     *restoreCost `json:"cost,omitempty"` // absent where nothing is known of it
	Thaw     *jobJSON     `json:"thaw,omitempty"` // where something had to be thawed
	Error    string       `json:"error,omitempty"`
}

type damageJSON struct {
	Path   string `json:"path"`
	Object string `json:"object,omitempty"`
	Kept   bool   `json:"kept"`
	Error  string `json:"error"`
}

type limitJSON struct {
	Kind  string `json:"kind"`
	Count int64  `json:"count"`
	Path  string `json:"path"` // of the first
	Error string `json:"error"`
}

// do restores and tells about it.
func (x *restoreCommand) do(ctx context.Context, s *session, o restore.Options) error {
	started := x.c.now()
	o.Report = x.c.listen().hear
	if x.dryRun || x.c.verbose {
		o.Each = x.each()
	}
	res, err := restore.Run(ctx, o)
	x.c.endLine()
	if res != nil && !(errors.As(err, new(*restore.ColdError)) && o.Tar == nil && !x.dryRun) {
		if e := x.show(s, o, res, err, x.c.now().Sub(started)); e != nil && err == nil {
			err = e
		}
	}
	if err == nil && res.Failed > 0 {
		if res.Damaged != nil {
			return &partly{&advice.Error{Code: advice.Incomplete, Hint: advice.HowToHeal}}
		}
		return &partly{incomplete()}
	}
	return err
}

// each prints what is done with every entry.
func (x *restoreCommand) each() func(restore.Item) {
	var mu sync.Mutex
	return func(i restore.Item) {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case x.c.json != "":
			o := map[string]any{"event": "item", "action": i.Action, "type": i.Type, "size": i.Size}
			if utf8.Valid(i.Path) {
				o["path"] = string(i.Path)
			} else {
				o["path_b64"] = i.Path // bytes marshal as base64
			}
			_ = x.c.object(o)
		case x.tar == "-":
		case i.Action != restore.Keep || x.c.verbose:
			x.c.print("%-7s %s\n", i.Action, shownPath(i.Path))
		}
	}
}

func (x *restoreCommand) show(s *session, o restore.Options, res *restore.Result, err error, took time.Duration) error {
	region, _ := x.thaw.prices.orNone(s.st, &x.read.store) // what is wrong with the prices was told before
	cost := x.spent(region, res)
	if x.c.json != "" {
		j := x.resultJSON(o, res, err, took)
		j.Cost = cost
		return x.c.objectOf("result", j)
	}
	if e := x.showText(o, res, err, took); e != nil {
		return e
	}
	if cost != nil && !x.c.quiet && x.tar != "-" {
		x.c.print("it cost %s\n", region.Format(cost.Total))
	}
	return nil
}

func (x *restoreCommand) resultJSON(o restore.Options, res *restore.Result, err error, took time.Duration) resultJSON {
	j := resultJSON{Result: res, Snapshot: o.Snapshot.ID.String(), Target: x.target, Absent: x.list.absent, Seconds: seconds(took), Damaged: []damageJSON{}, Limits: []limitJSON{}}
	for _, d := range res.Damaged {
		j.Damaged = append(j.Damaged, damageJSON{string(d.Path), d.Object, d.Kept, d.Err.Error()})
	}
	for _, l := range res.Limits {
		j.Limits = append(j.Limits, limitJSON{l.Kind, l.Count, l.Path, l.Err.Error()})
	}
	if err != nil {
		j.Error = err.Error()
	}
	return j
}

// showText is show for people.
func (x *restoreCommand) showText(o restore.Options, res *restore.Result, err error, took time.Duration) error {
	for _, l := range res.Limits {
		x.c.note("%s: not restored for %s, such as %q: %v", l.Kind, counted(l.Count, "entry"), l.Path, l.Err)
	}
	if res.NoDelete {
		x.c.warn("nothing was deleted, since not everything could be restored")
	}
	if x.c.quiet {
		return nil
	}
	verb := "restored"
	if x.dryRun {
		verb = "would restore"
	}
	text := sprintf("%s %s, %s, %v: ", verb, counted(res.Files, "file"), counted(res.Dirs, "folder"), units.Size(res.Bytes))
	if err != nil {
		text = "stopped: "
	}
	text += sprintf("%s created, %s replaced, %s kept", units.Count(res.Created), units.Count(res.Replaced), units.Count(res.Kept))
	for _, n := range []struct {
		count int64
		what  string
	}{{res.Deleted, "deleted"}, {res.Skipped, "skipped"}, {res.Failed, "FAILED"}} {
		if n.count > 0 {
			text += sprintf(", %s %s", units.Count(n.count), n.what)
		}
	}
	text += sprintf("; %v fetched, in %s\n", units.Size(res.BytesGot), duration(took))
	if x.tar == "-" {
		x.c.say("note", strings.TrimSpace(text))
	} else {
		x.c.print("%s", text)
	}
	x.tellUnmatched(o)
	if res.Kept > 0 && x.overwrite == "" && x.target != "" {
		x.c.note("what was there already stays as it is; --overwrite changed replaces what differs")
	}
	return nil
}

// tellUnmatched mentions the patterns that matched nothing.
func (x *restoreCommand) tellUnmatched(o restore.Options) {
	for _, set := range []*glob.Set{o.Include, o.Exclude} {
		for _, r := range set.Unmatched() {
			if !r.Negated {
				x.c.note("pattern %q matched nothing", r.Pattern)
			}
		}
	}
}

// planJSON is what restore --plan prints with --json.
type planJSON struct {
	*restore.Needs
	Absent []string    `json:"absent,omitempty"` // of the list of paths
	Offers []offerJSON `json:"offers"`
}

// showPlan tells what a restore would fetch, what of it has to be thawed, and what that costs.
func (x *restoreCommand) showPlan(ctx context.Context, s *session, o restore.Options) error {
	n, err := restore.Plan(ctx, o)
	if err != nil {
		return err
	}
	look := &outlook{}
	if _, ok := store.As[store.Thawer](s.st); ok {
		if look, err = x.thaw.look(ctx, s, &x.read.store, x.from.lacking(ctx, s, restore.Packs(n)), false); err != nil {
			return err
		}
	}
	if x.c.json != "" {
		return x.c.objectOf("plan", planJSON{n, x.list.absent, look.json()})
	}
	x.c.print("%s, %s, %v of content\n", counted(n.Files, "file"), counted(n.Dirs, "folder"), units.Size(n.Bytes))
	x.c.print("%s, %s, %v to fetch\n", counted(int64(len(n.Packs)), "pack"), counted(n.Requests, "request"), units.Size(n.Download))
	x.tellUnmatched(o)
	if look.survey != nil {
		offer, err := x.thaw.choose(look)
		if err != nil {
			return err
		}
		look.show(x.c, offer)
	}
	if n.Missing > 0 {
		x.c.warn("%s chunks are in no known pack: files that need them cannot be restored whole", units.Count(n.Missing))
		return incomplete()
	}
	return nil
}
