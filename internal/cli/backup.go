package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/backup"
	"firn/internal/frame"
	"firn/internal/price"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/units"
)

// backupCommand takes folders and files into a repository.
type backupCommand struct {
	c       *console
	store   storeFlags
	secrets secretFlags
	host    hostFlags
	choose  excludeFlags
	streams streamFlags
	storage storageFlags
	also    alsoFlags
	limits  limitFlags
	prices  priceFlags
	region  *price.Region // nil: what the store asks is not known

	name      string
	tags      []string
	full      bool
	cycle     cycleFlags
	dryRun    bool
	detect    string
	forceRead bool

	compression string
	packSize    units.Size
	memory      units.Size
	workers     int
}

// maxPackSize leaves room for padding: a pack's plaintext has at most 4 GiB.
const maxPackSize = 3 * units.GiB

// defaultMemory is what a backup may take, in bytes: more cores have more in hand.
func defaultMemory() units.Size {
	return min(max(128*units.MiB, 64*units.MiB+units.Size(runtime.GOMAXPROCS(0))*16*units.MiB), 320*units.MiB)
}

func newBackup(c *console) *cobra.Command {
	x := &backupCommand{c: c, memory: defaultMemory()}
	cmd := &cobra.Command{
		Use:   "backup SOURCE… | --name NAME {-- PROGRAM ARG… | --command LINE | --stdin}",
		Short: "Back up folders, files, file systems, databases and the output of programs",
		Long: `Stores what has changed in each SOURCE since its last snapshot, and makes a new one. A backup that is interrupted keeps what it has
done, as a partial snapshot that can be restored; run again, it goes on where it stopped. Files that cannot be read are named, the
rest is backed up, and the exit code is 3.

A SOURCE is a path, or KIND:REST (firn source kinds lists them), each with snapshots of its own. What a program prints is stored only
if the program ends well: one that fails, hangs (-o timeout=1h) or is killed means no snapshot, and the exit code is 1. Passwords do not
belong into its arguments, where others can read them. Commands around a backup (-o before=…, -o after=…, -o read_from=…) make and
remove a snapshot of the file system that is read instead, with LVM for example.

The first backup from a machine needs a passphrase or an identity; it makes a write-only key for this host, which later backups use
by themselves. A passphrase that is given all the same is checked. The repository and firn's own local state are left out where they
lie inside a PATH, and so are file systems that hold no data, such as /proc.

Patterns are those of gitignore: a name matches anywhere, a path with a slash from the source's folder on; absolute paths work, too.`,
		Example: `  firn backup --repo s3://bucket/nas /home /etc
  firn backup --repo /mnt/disk/backup ~/photos --exclude '*.tmp' --exclude ~/photos/cache
  FIRN_REPO=s3://bucket/nas firn backup --host-key /etc/firn/host.key -q /srv
  firn backup --repo /mnt/disk/backup --source photos /mnt/card --tag card --json
  firn backup --name mydb.sql -- pg_dump mydb
  firn backup --name db.sql.age --command 'mysqldump --single-transaction db | age -r age1…' -o timeout=1h
  firn backup /srv -o before=/etc/firn/snap.sh -o read_from=/mnt/snap/srv -o after=/etc/firn/unsnap.sh`,
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args, cmd.ArgsLenAtDash()) },
	}
	fl := cmd.Flags()
	fl.StringVar(&x.name, "source", "", "name of the source, instead of its path, which may then change")
	x.streams.register(cmd)
	cmd.ValidArgsFunction = completeSources
	fl.StringArrayVar(&x.tags, "tag", nil, "tag of the snapshot (repeat for more)")
	fl.BoolVar(&x.full, "full", false, "store everything anew, depending on nothing older")
	x.cycle.register(cmd)
	fl.BoolVar(&x.dryRun, "dry-run", false, "read and count, store nothing")
	fl.StringVar(&x.detect, "detect", "size,mtime,ctime,inode", "what shows that a file is as it was, or always: read every file")
	fl.BoolVar(&x.forceRead, "force-read", false, "the same as --detect always")
	x.limits.register(cmd)
	x.storage.register(cmd)
	x.prices.register(cmd)
	fl.StringVar(&x.compression, "compression", "fastest", "fastest, default, better or best")
	fl.Var(&x.packSize, "pack-size", "size of packs of file content, up to 3G (16M, less where memory is short; in a cold class what the link sends in 30 s, 16M to 256M)")
	fl.Lookup("pack-size").DefValue = ""
	fl.Var(&x.memory, "memory", "memory to keep to")
	fl.IntVar(&x.workers, "workers", 0, "files read and compressed at once (one a core)")
	complete(cmd, "compression", "fastest", "default", "better", "best")
	complete(cmd, "detect", "size,mtime,ctime,inode", "size,mtime,ctime", "size,mtime", "always")
	x.choose.register(fl)
	x.host.register(cmd)
	x.secrets.register(cmd)
	x.also.register(cmd)
	x.store.register(cmd)
	return cmd
}

// plan is what the flags say, checked before anything is opened.
type plan struct {
	detect  backup.Detect
	level   frame.Level
	storage snapshot.Storage
	roots   []root
}

func (x *backupCommand) plan(args []string, dash int) (p plan, err error) {
	specs, err := x.streams.read(x.c, args, dash)
	if err != nil {
		return p, err
	}
	if x.forceRead {
		x.detect = "always"
	}
	if p.detect, err = backup.ParseDetect(x.detect); err != nil {
		return p, usage("", "--detect: %v", err)
	}
	if p.level, err = frame.ParseLevel(x.compression); err != nil {
		return p, usage("", "--compression: %v", err)
	}
	if p.storage, err = x.storage.storage(); err != nil {
		return p, err
	}
	if err = x.cycle.check(); err != nil {
		return p, err
	}
	switch {
	case x.name != "" && len(specs) > 1:
		return p, usage("back them up one by one, each with a name of its own", "--source names one source, but %d paths are given", len(specs))
	case x.packSize != 0 && (x.packSize < units.MiB || x.packSize > maxPackSize):
		return p, usage("", "--pack-size %v: want 1M to %v", x.packSize, maxPackSize)
	case x.memory < 64*units.MiB:
		return p, usage("", "--memory %v: want at least 64M", x.memory)
	case slices.ContainsFunc(x.tags, func(tag string) bool { return tag == "" || len(tag) > snapshot.MaxTag }) || len(x.tags) > snapshot.MaxTags:
		return p, usage("", "--tag: want up to %d tags of 1 to %d bytes", snapshot.MaxTags, snapshot.MaxTag)
	case len(x.host.given()) > snapshot.MaxTag:
		return p, usage("", "--host: want a name of up to %d bytes", snapshot.MaxTag)
	case x.workers < 0:
		return p, usage("", "--workers %d: want a positive number", x.workers)
	}
	p.roots, err = x.streams.roots(specs)
	return p, err
}

func (x *backupCommand) run(ctx context.Context, args []string, dash int) error {
	p, err := x.plan(args, dash)
	if err != nil {
		return err
	}
	x.store.recall = true
	defer x.limits.begin(&x.store)()
	s, scope, err := x.open(ctx, p)
	if errors.Is(err, errMoved) {
		x.store.recall = false
		s, scope, err = x.open(ctx, p)
	}
	for err != nil && ctx.Err() == nil && x.also.standIn(x.c, &x.store, err) {
		s, scope, err = x.open(ctx, p)
	}
	if err != nil {
		return err
	}
	defer s.close()
	defer x.also.close()
	if x.region, err = x.prices.orNone(s.st, &x.store); err != nil {
		return err
	}
	x.limitMemory()
	s.tellDamaged(scope)
	worst, err := x.backUpAll(ctx, s, scope, p)
	switch {
	case err != nil || ctx.Err() != nil:
		return err
	case x.dryRun || x.limits.reached != "":
		return worst
	}
	if err := x.also.fill(ctx, x.c, s); err != nil && worst != nil {
		x.c.warn("%v", err)
	} else if err != nil {
		worst = err
	}
	if freed := s.state.Trim(int64(x.store.cacheMax)); freed > 0 {
		x.c.explain("local cache: %v deleted", units.Size(freed))
	}
	return worst
}

// backUpAll backs up one source after the other, until a limit is reached. worst is what went wrong with one of them, err what ends the command.
func (x *backupCommand) backUpAll(ctx context.Context, s *session, scope *repo.ScopeState, p plan) (worst, err error) {
	for i, r := range p.roots {
		err := x.backUp(ctx, s, scope, p, r)
		if wrong := s.ready(ctx); wrong != nil {
			return worst, wrong
		}
		if ctx.Err() != nil {
			return worst, err
		}
		worst = worse(worst, err)
		if x.limits.reached != "" {
			x.limits.leave(x.c, p.roots[i+1:])
			break
		}
	}
	x.choose.tellUnmatched(x.c)
	return worst, nil
}

// open opens the repository and loads the scope of this host.
func (x *backupCommand) open(ctx context.Context, p plan) (*session, *repo.ScopeState, error) {
	s, err := openSession(ctx, x.c, &x.store)
	if err != nil {
		return nil, nil, err
	}
	if err := x.also.open(ctx, x.c, s, &x.store); err != nil {
		s.close()
		return nil, nil, err
	}
	if x.dryRun {
		s.pretend()
	}
	for _, r := range p.roots {
		if r.real == "" {
			continue // no folder
		}
		if err := x.choose.check(s, r); err != nil {
			s.close()
			return nil, nil, err
		}
	}
	scope, err := s.openWriter(ctx, &x.secrets, &x.host)
	if err != nil {
		s.close()
	}
	return s, scope, err
}

// worse returns the error that says more, and says the other.
func worse(a, b error) error {
	if advice.Code(b) == advice.Failed || a == nil {
		return b
	}
	return a
}

// limitMemory runs after scrypt, whose 64 MiB were given back.
func (x *backupCommand) limitMemory() { debug.SetMemoryLimit(int64(x.memory) - backup.MemoryProgram) }

// backUp makes one snapshot and tells about it.
func (x *backupCommand) backUp(ctx context.Context, s *session, scope *repo.ScopeState, p plan, r root) error {
	o, err := x.options(s, scope, p, r)
	if err != nil {
		return err
	}
	if !x.due(scope, &o) {
		return nil
	}
	lock, err := s.state.Lock(o.Source.ID, x.c.now())
	if err != nil {
		err = fmt.Errorf("%s: %w", r.given, err)
		x.show(o, nil, err, 0)
		return err
	}
	defer lock.Release()
	if r.made != nil {
		return x.produce(ctx, s, scope, o, r)
	}
	_, err = x.readFolder(ctx, s, scope, o, r)
	return err
}

// readFolder stores a folder or file. done tells that the snapshot is in the repository for good.
func (x *backupCommand) readFolder(ctx context.Context, s *session, scope *repo.ScopeState, o backup.Options, r root) (done bool, err error) {
	started := x.c.now()
	hear := x.c.listen()
	o.Report = hear.hear
	o.Unread = &backup.Unread{}
	tree, err := x.choose.open(s, r, o.Unread, hear.hear)
	if err != nil {
		err = missing(r.folder(), err)
		x.show(o, nil, err, x.c.now().Sub(started))
		return false, err
	}
	defer func() { _ = tree.Close() }()
	o.Tree, o.Names = tree, tree.Names
	s.tellOwn(r)
	last := newest(scope.Items, o.Source.ID)
	if last != nil {
		x.c.explain("the last snapshot of %s is %s, number %d, of %s", advice.SourceName(o.Source), shortID(last.ID), last.Sequence, last.Start.Local().Format(timeFormat))
	}
	if last == nil {
		stop := x.expect(ctx, s, r, &o)
		defer stop()
	}
	if x.c.verbose || x.c.debug {
		o.Each = func(path []byte, why string) { x.c.explain("%q is read: %s", filepath.Join(r.path, string(path)), why) }
	}
	res, err := backup.Run(ctx, o)
	if err == nil && !res.Unchanged {
		s.keepHeader(ctx)
	}
	x.c.endLine()
	x.choose.walked(err == nil)
	x.show(o, res, err, x.c.now().Sub(started))
	switch {
	case x.limits.stopped(x.c, res, err):
		return false, nil
	case err != nil && (ctx.Err() != nil || res != nil && res.Partial):
		hint := "run the same command again: it goes on where it stopped"
		if x.dryRun {
			hint = ""
		}
		return false, &advice.Error{Text: stopped(ctx, err), Hint: hint, Err: err}
	case err != nil:
		return false, named(o.Source, err)
	case res.Snapshot.Stats.Problems > 0:
		return true, incomplete()
	}
	return true, nil
}

// expect counts a source that is backed up for the first time: beside the backup, for the progress, or, where storing it costs something, before it, to say
// how much.
func (x *backupCommand) expect(ctx context.Context, s *session, r root, o *backup.Options) (stop func()) {
	class, packSize, parity := backup.Packs(*o)
	costs := x.region != nil && x.region.Monthly([]price.Sent{{Class: class, Objects: 1, Bytes: 1 << 30}}).Total() > 0
	if x.c.quiet || !x.c.live && !costs {
		return func() {}
	}
	var wait func()
	o.Expect, wait, stop = x.choose.count(ctx, s, r)
	if !costs {
		return stop
	}
	wait()
	files, total := o.Expect()
	x.c.dues(x.region, files, total, sent(total, class, packSize, parity), linkOf(o.State, &x.store))
	return stop
}

// newest finds the last snapshot of a source that is done; nil: there is none.
func newest(items []snapshot.Item, id snapshot.Source) (last *snapshot.Item) {
	for i, it := range items {
		if it.Source.ID == id && it.Status() == snapshot.IsDone && (last == nil || it.Sequence > last.Sequence) {
			last = &items[i]
		}
	}
	return last
}

// stopped says why a backup ended early.
func stopped(ctx context.Context, err error) string {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return "interrupted"
	}
	return err.Error()
}

// options of the verb, but for the tree.
func (x *backupCommand) options(s *session, scope *repo.ScopeState, p plan, r root) (backup.Options, error) {
	host := s.repo.Host()
	name := x.host.given()
	if name == "" {
		name = host.Name
	}
	origin := snapshot.Origin{Kind: "dir", Name: x.name, Path: []byte(r.path)}
	if r.made != nil {
		origin.Kind, origin.Path = r.made.kind, []byte(r.made.path)
	}
	origin.ID = snapshot.SourceID(host.Scope().SourceKey(), origin.Kind, name, origin.Name, origin.Path)
	o := backup.Options{
		Repo: s.repo, Scope: scope, State: s.state, Source: origin, Host: name, Tags: x.tags, Full: x.full, Detect: p.detect,
		Workers: x.workers, PackSize: int64(x.packSize), Memory: int64(x.memory), Level: p.level,
		Storage: p.storage, IsCold: coldIn(x.region), Ready: s.ready, Program: "firn " + Version, Now: x.c.now,
	}
	x.limits.set(&o, x.dryRun)
	return o, nil
}

// backupJSON is what backup prints for each source with --json.
type backupJSON struct {
	Event     string             `json:"event"` // result
	Source    sourceJSON         `json:"source"`
	Snapshot  string             `json:"snapshot"`        // id; empty: none was made
	State     string             `json:"state"`           // done, partial, failed, dry run, not due
	Limit     backup.Limit       `json:"limit,omitempty"` // partial: what ended it in order, time or upload
	Sent      int64              `json:"sent,omitempty"`  // with --max-upload: bytes that went to the store, repetitions included
	Next      *time.Time         `json:"next,omitempty"`  // with a cycle, where none is due: when one will be
	Unchanged bool               `json:"unchanged"`
	Resumed   int                `json:"resumed"` // packs of an interrupted run that were taken up
	Seconds   float64            `json:"seconds"`
	Cost      *spentJSON         `json:"cost,omitempty"` // absent where nothing is known of it
	Stats     snapshot.Stats     `json:"stats"`          // as in FORMAT §10
	Base      string             `json:"base,omitempty"` // id of the snapshot that its streams start from
	Problems  []snapshot.Problem `json:"problems"`       // the first 100
	Error     string             `json:"error,omitempty"`
}

// show tells what a backup did.
func (x *backupCommand) show(o backup.Options, res *backup.Result, err error, took time.Duration) {
	cost := spentOn(x.region, res, o.Repo.Config().Class.Meta, x.store.made.take(), x.dryRun)
	if x.c.json != "" {
		j := backupJSON{Event: "result", Source: originJSON(o.Source, o.Host), State: "failed", Seconds: seconds(took), Sent: x.limits.take(), Problems: []snapshot.Problem{}}
		if res != nil && res.Snapshot != nil {
			j.Snapshot, j.Unchanged, j.Resumed, j.Stats, j.State = res.Snapshot.ID.String(), res.Unchanged, res.Resumed, res.Snapshot.Stats, "done"
			j.Problems = append(j.Problems, res.Snapshot.Problems...)
			j.Cost = cost
			if !res.Snapshot.Base.IsZero() {
				j.Base = res.Snapshot.Base.String()
			}
			switch {
			case x.dryRun:
				j.Snapshot, j.State = "", "dry run"
			case res.Partial:
				j.State = "partial"
			}
		}
		switch {
		case res != nil && res.Limit != "":
			j.State, j.Limit = "partial", res.Limit
		case err != nil:
			j.Error = err.Error()
		}
		_ = x.c.object(j) // marshals; errors of writing are kept by the console
		return
	}
	if res == nil || res.Snapshot == nil || x.c.quiet {
		return
	}
	what, st := "snapshot "+shortID(res.Snapshot.ID), res.Snapshot.Stats
	switch {
	case x.dryRun:
		what = "dry run"
	case res.Partial:
		what = "partial " + what
	}
	files := fmt.Sprintf("%s: %s new, %s changed, %s unchanged", counted(st.Files, "file"), units.Count(st.FilesNew), units.Count(st.FilesChanged), units.Count(st.FilesUnchanged))
	if o.Stream != nil {
		files = streamsText(res.Snapshot)
	}
	if st.Problems > 0 {
		files += fmt.Sprintf(", %s not read", units.Count(st.Problems))
	}
	x.c.print("%s of %s (%s)\n  %s; %v read, %v new, %v stored, in %s\n", what, advice.SourceName(o.Source), o.Host,
		files, units.Size(st.BytesRead), units.Size(st.BytesAdded), units.Size(st.BytesStored), duration(took))
	if cost != nil {
		verb := "it cost"
		if x.dryRun {
			verb = "it would cost"
		}
		text := sprintf("  %s %s, and costs %s a month more", verb, x.region.Format(cost.Now), x.region.Format(cost.Monthly))
		if up := linkOf(o.State, &x.store).Up; x.dryRun && up > 0 {
			text += sprintf("; %s at %v/s", longDuration(time.Duration(float64(st.BytesStored)/up*float64(time.Second))), units.Size(up))
		}
		x.c.print("%s\n", text)
	}
}

// sourceJSON is a source in the JSON of all commands.
type sourceJSON struct {
	ID   string `json:"id"`
	Kind string `json:"kind"`
	Host string `json:"host"`
	Name string `json:"name"`
	Path string `json:"path"`
	B64  []byte `json:"path_b64,omitempty"` // where the path is no UTF-8
}

func originJSON(o snapshot.Origin, host string) sourceJSON {
	j := sourceJSON{ID: o.ID.String(), Kind: o.Kind, Host: host, Name: o.Name, Path: string(o.Path)}
	if !utf8.Valid(o.Path) {
		j.B64 = o.Path
	}
	return j
}
