package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/keys"
	"firn/internal/price"
	"firn/internal/state"
	"firn/internal/sync"
	"firn/internal/sync/ledger"
	"firn/internal/units"
	"firn/internal/wire"
)

// syncCommand mirrors plain files.
type syncCommand struct {
	c      *console
	store  storeFlags
	prices priceFlags

	patterns    []string // as given, those that take in with an exclamation mark
	patternFile []string
	anyCase     []string
	oneSystem   bool

	remove, dryRun, itemize    bool
	maxDelete                  string
	checksum, sizeOnly, update bool
	class                      string
	classRules                 []string
	metadata, folders          bool
	links                      string
	backupDir                  string
	partSize, threshold        units.Size
	encrypt, identities        []string
	maxCost, tier              string
	yes, wait                  bool
	days                       int
	poll                       time.Duration
	spent                      price.Money // agreed to
	from, to                   sync.Place
	region                     *price.Region
	started                    time.Time
	extra                      syncExtra
}

func newSync(c *console) *cobra.Command {
	x := &syncCommand{c: c, extra: syncExtra{c: c}}
	cmd := &cobra.Command{
		Use:   "sync FROM TO",
		Short: "Mirror a folder to a bucket as plain files, or back",
		Long: `Makes TO the same as FROM: a folder and s3://bucket/prefix, either way, or two buckets of one server. Each file is an object that any
program opens. What is equal is not sent again: that is known from what the last run noted on this machine, from the listing (a request
for 1,000 objects), and else by comparing contents with ETags and checksums.

What only TO has stays, unless --delete is given; then it is deleted at the end, if all could be read and written. Nothing is deleted
where FROM is empty or more than half of TO would go: --max-delete says what is right. Patterns are those of firn backup; of --exclude
and --include the last one that fits a file, or a folder above it, decides, and what is left out is left alone in TO.

With --itemize each file is printed as rsync does: < is sent, > is got, c is copied by the server, . has new metadata only; then f, L
or d, and + for a new one, or c (content), s (size), t (time), p (metadata). With *deleting it is deleted, with *thawing it is cold.

What replaces or deletes objects that have to be paid for longer, and what has to be thawed, is shown with its price before it is done:
--max-cost agrees to as much, --yes to anything. Cold files are asked for; run it again when they are there, or --wait.`,
		Example: `  firn sync /srv/photos s3://bucket/photos
  firn sync --delete --dry-run --itemize /srv/photos s3://bucket/photos
  firn sync /srv/archive s3://bucket/archive --class DEEP_ARCHIVE --class-rule '*.jpg=GLACIER_IR' --metadata
  firn sync s3://bucket/photos /srv/restored --metadata
  firn sync s3://bucket/photos s3://other/photos --delete --backup-dir old
  firn sync --dry-run --report differences.csv /srv/photos s3://bucket/photos
  firn sync --plan-from sums.md5 --inventory s3://lists/photos/daily/2026-11-01T01-00Z/manifest.json /srv/photos s3://bucket/photos`,
		Args: argsBetween(2, 2, "where from and where to"),
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args[0], args[1]) },
	}
	x.register(cmd)
	return cmd
}

// patternList is a flag whose values are kept in one order with those of another flag.
type patternList struct {
	all    *[]string
	prefix string
}

func (p patternList) String() string { return "" }

// Set reads the value of the flag.
func (p patternList) Set(text string) error { *p.all = append(*p.all, p.prefix+text); return nil }

// Type names the value in the help.
func (p patternList) Type() string { return "pattern" }

func (x *syncCommand) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.BoolVar(&x.remove, "delete", false, "delete in TO what FROM does not have, at the end, if all went well")
	fl.StringVar(&x.maxDelete, "max-delete", "", "delete nothing if it were more than so many files, or percent of TO such as 80% (50%, and not all)")
	fl.BoolVarP(&x.dryRun, "dry-run", "n", false, "tell what would be done, and do nothing")
	fl.BoolVarP(&x.itemize, "itemize", "i", false, "print a line for each file that is not the same")
	fl.VarP(patternList{&x.patterns, ""}, "exclude", "e", "leave out what matches the pattern (repeat for more)")
	fl.Var(patternList{&x.patterns, "!"}, "include", "take in again what an --exclude before it leaves out")
	fl.StringArrayVar(&x.patternFile, "exclude-from", nil, "leave out what matches a pattern of this file, one a line")
	fl.StringArrayVar(&x.anyCase, "iexclude", nil, "like --exclude, upper and lower case alike")
	fl.BoolVarP(&x.oneSystem, "one-file-system", "x", false, "leave out what is mounted inside the folder")
	fl.BoolVarP(&x.checksum, "checksum", "c", false, "compare contents, whatever times say")
	fl.BoolVar(&x.sizeOnly, "size-only", false, "what has the same size is equal")
	fl.BoolVarP(&x.update, "update", "u", false, "leave alone what is newer in TO")
	fl.StringVar(&x.class, "class", "", "storage class of new objects, such as DEEP_ARCHIVE; small ones go to STANDARD where that is cheaper over a year")
	fl.StringArrayVar(&x.classRules, "class-rule", nil, "class by size or pattern, such as 'size<128K=STANDARD' or '*.jpg=GLACIER_IR'; of those that fit the last counts")
	complete(cmd, "class", classNames...)
	fl.BoolVar(&x.metadata, "metadata", false, "keep mode, owner, times and symlinks, as metadata that rclone and s3fs understand")
	fl.BoolVar(&x.folders, "folders", false, "with --metadata: folders, too, as empty objects that end in a slash")
	fl.StringVar(&x.links, "links", "", "what becomes of symlinks: skip, follow or metadata (skip; with --metadata: metadata)")
	complete(cmd, "links", "skip", "follow", "metadata")
	fl.StringVar(&x.backupDir, "backup-dir", "", "keep what is replaced or deleted: a prefix in the bucket of TO, or a folder")
	fl.StringArrayVar(&x.encrypt, "encrypt", nil, "encrypt each file with age for this recipient, or those of a file; its object is called .age (repeat for more)")
	fl.StringArrayVar(&x.identities, "identity", nil, "from a bucket: file with age identities that decrypt what is called .age")
	fl.StringVar(&x.maxCost, "max-cost", "", "agree to what costs no more than this besides requests, such as 25 (less than a cent)")
	fl.BoolVarP(&x.yes, "yes", "y", false, "do not ask whether a price is right")
	fl.StringVar(&x.tier, "tier", "", "how fast to thaw: bulk, standard or expedited (the cheapest)")
	complete(cmd, "tier", "bulk", "standard", "expedited")
	fl.IntVar(&x.days, "days", 7, "how long thawed copies are kept")
	fl.BoolVar(&x.wait, "wait", false, "wait until cold files are thawed, and fetch them")
	fl.DurationVar(&x.poll, "poll", 0, "with --wait: time between two looks (chosen by the tier)")
	fl.Var(&x.store.up, "bwlimit", "bytes a second, such as 2M, or a timetable: 'Mon-Fri 08:00-18:00 2M, else off'")
	fl.Lookup("bwlimit").DefValue = ""
	fl.IntVar(&x.store.connections, "connections", 0, "transfers at once (32)")
	fl.Var(&x.partSize, "part-size", "size of the parts in which large files are sent (16M, more where they would be too many)")
	fl.Var(&x.threshold, "multipart-threshold", "files larger than this are sent in parts (32M)")
	for _, name := range []string{"part-size", "multipart-threshold"} {
		fl.Lookup(name).DefValue = ""
	}
	x.extra.register(cmd)
	x.registerServer(cmd)
	x.prices.register(cmd)
}

// registerServer adds how the server is reached.
func (x *syncCommand) registerServer(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&x.store.endpoint, "endpoint", "", "URL of an S3 compatible server (AWS_ENDPOINT_URL_S3)")
	fl.StringVar(&x.store.region, "region", "", "region of the bucket (AWS_REGION)")
	fl.StringVar(&x.store.profile, "profile", "", "profile in ~/.aws with the credentials (AWS_PROFILE)")
	fl.StringVar(&x.store.pathStyle, "path-style", "", "on: the bucket in the path of URLs; off: in the host name")
	fl.Lookup("path-style").NoOptDefVal = "on"
	complete(cmd, "path-style", "on", "off")
	fl.DurationVar(&x.store.timeout, "timeout", 0, "how long the server may be silent, such as 2m (30s until it has answered once, then 90s)")
}

func (x *syncCommand) run(ctx context.Context, from, to string) (err error) {
	x.started = x.c.now()
	x.store.down = x.store.up
	o, err := x.options(from, to)
	if err != nil {
		return err
	}
	x.c.explain("from %s to %s", from, to)
	closeAll, err := x.open(ctx, &o, from, to)
	if err != nil {
		return err
	}
	defer closeAll()
	if err := x.secrets(ctx, &o); err != nil {
		return err
	}
	if err := x.classes(&o); err != nil {
		return err
	}
	defer func() { _ = x.extra.finish(false) }() // if it has not ended well
	so := x.store.options(x.c)
	so.GetEndpoint = ""
	if err := x.extra.open(ctx, &o, from, to, so); err != nil {
		return err
	}
	hear := x.c.listen().hear
	o.Events = hear
	o.Each = x.item
	o.Agree = x.agree
	book, err := ledger.Open(localDirs(), x.pair(from, to), x.c.now(), func(err error) { x.c.warn("%v", err) })
	if err != nil {
		return syncHeld(err)
	}
	o.Book = book
	o.Skip = ownBelow(o.From.Folder+o.To.Folder, book.Dir())
	res, err := sync.Run(ctx, o)
	x.c.endLine()
	book.Close()
	if e := x.extra.finish(compared(err)); err == nil {
		err = e
	}
	return x.end(ctx, res, err, from, to)
}

// syncHeld says what a lock on a pair means.
func syncHeld(err error) error {
	var held *state.HeldError
	if !errors.As(err, &held) {
		return err
	}
	text := "another firn sync of these two is under way"
	if held.PID > 0 {
		text += fmt.Sprintf(": process %d, since %s", held.PID, held.Since.Local().Format(timeFormat))
	}
	return &advice.Error{Text: text, Hint: "wait until it has ended; others may run meanwhile"}
}

// pair names what is remembered of these two sides, at this server.
func (x *syncCommand) pair(from, to string) (id [16]byte) {
	name := func(text string, p sync.Place) string {
		if p.Bucket != nil {
			return fmt.Sprintf("bucket %q %q %q", x.store.server(), p.Name, p.Prefix)
		}
		return fmt.Sprintf("folder %q", realPath(p.Folder))
	}
	a, b := name(from, x.from), name(to, x.to)
	if x.from.Bucket != nil && x.to.Bucket == nil {
		a, b = b, a // the same both ways
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "sync 1\n%s\n%s\n", a, b))
	return [16]byte(sum[:16])
}

// ownBelow is where what firn remembers lies below a folder, if it does.
func ownBelow(folder, own string) []string {
	if folder == "" || own == "" {
		return nil
	}
	real, err := filepath.EvalSymlinks(own)
	if err != nil {
		return nil
	}
	rel, ok := belowFolder(realPath(folder), real)
	if !ok || rel == "" {
		return nil
	}
	return []string{rel}
}

// options are what the flags say.
func (x *syncCommand) options(from, to string) (o sync.Options, err error) {
	switch {
	case !wire.IsBucket(from) && !wire.IsBucket(to):
		return o, usage("one of them is s3://bucket/prefix; from folder to folder rsync is what you want", "neither %q nor %q is a bucket", from, to)
	case x.checksum && x.sizeOnly:
		return o, usage("", "--checksum and --size-only exclude each other")
	case x.folders && !x.metadata:
		return o, usage("", "--folders needs --metadata")
	case len(x.encrypt) > 0 && wire.IsBucket(from):
		return o, usage("what lies in a bucket is encrypted as it is, or not", "--encrypt is for files of a folder")
	case len(x.identities) > 0 && wire.IsBucket(to):
		return o, usage("", "--identity is for the way into a folder")
	case x.days < 1 || x.days > 365:
		return o, usage("", "--days %d: want 1 to 365", x.days)
	case x.partSize != 0 && x.partSize < 5*units.MiB:
		return o, usage("", "--part-size %v: servers want at least 5M", x.partSize)
	}
	if err := x.extra.check(len(x.encrypt)+len(x.identities) > 0, x.c.json != "", x.itemize); err != nil {
		return o, err
	}
	o = sync.Options{Update: x.update, Delete: x.remove, DryRun: x.dryRun, Metadata: x.metadata, Folders: x.folders, OneFileSystem: x.oneSystem,
		Connections: x.store.connections, PartSize: int64(x.partSize), Threshold: int64(x.threshold), Now: x.c.now}
	switch {
	case x.checksum:
		o.Compare = sync.ByContent
	case x.sizeOnly:
		o.Compare = sync.BySize
	}
	if o.Guard, err = parseGuard(x.maxDelete); err != nil {
		return o, err
	}
	if o.Links, err = x.linkMode(); err != nil {
		return o, err
	}
	tier := map[string]string{"": "", "bulk": "Bulk", "standard": "Standard", "expedited": "Expedited"}
	name, ok := tier[strings.ToLower(x.tier)]
	if !ok {
		return o, usage("", "--tier %q: want bulk, standard or expedited", x.tier)
	}
	o.Thaw = &sync.Thawing{Tier: name, Days: x.days, Wait: x.wait, Poll: x.poll}
	if _, err := (&thawFlags{maxCost: x.maxCost}).limit(); err != nil {
		return o, err
	}
	return o, nil
}

func (x *syncCommand) linkMode() (sync.Links, error) {
	switch x.links {
	case "":
		if x.metadata {
			return sync.KeepLinks, nil
		}
		return sync.SkipLinks, nil
	case "skip":
		return sync.SkipLinks, nil
	case "follow":
		return sync.FollowLinks, nil
	case "metadata":
		return sync.KeepLinks, nil
	}
	return 0, usage("", "--links %q: want skip, follow or metadata", x.links)
}

// parseGuard reads a number of files or a percentage.
func parseGuard(text string) (g sync.Guard, err error) {
	if text == "" {
		return g, nil
	}
	g = sync.Guard{Set: true, Count: -1}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		g.Percent, err = strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err == nil && g.Percent >= 0 && g.Percent <= 100 {
			return g, nil
		}
	} else if g.Count, err = strconv.ParseInt(text, 10, 64); err == nil && g.Count >= 0 {
		return g, nil
	}
	return g, usage("", "--max-delete %q: want a number of files such as 100, or a percentage such as 80%%", text)
}

// open opens both sides.
func (x *syncCommand) open(ctx context.Context, o *sync.Options, from, to string) (func(), error) {
	var open []func() error
	closeAll := func() {
		for _, fn := range open {
			_ = fn()
		}
	}
	one := func(text string) (p sync.Place, err error) {
		if !wire.IsBucket(text) {
			if text == "" {
				return p, usage("", "a path is empty")
			}
			p.Folder, err = filepath.Abs(text)
			return p, err
		}
		if p.Name, _, err = wire.ParseBucket(text); err != nil {
			return p, usage("", "%v", err)
		}
		so := x.store.options(x.c)
		so.GetEndpoint = ""
		so.Connections = cmp.Or(so.Connections, 32)
		if p.Bucket, p.Prefix, err = wire.OpenBucket(ctx, text, so); err != nil {
			return p, err
		}
		open = append(open, p.Bucket.Close)
		if p.Prefix != "" && !strings.HasSuffix(p.Prefix, "/") {
			p.Prefix += "/"
		}
		return p, nil
	}
	var err error
	if x.from, err = one(from); err == nil {
		x.to, err = one(to)
	}
	if err == nil {
		err = x.apart()
	}
	if err == nil {
		err = x.keepIn(o)
	}
	if err != nil {
		closeAll()
		return nil, err
	}
	o.From, o.To = x.from, x.to
	return closeAll, nil
}

// apart refuses two sides of which one lies in the other.
func (x *syncCommand) apart() error {
	if x.from.Bucket == nil || x.to.Bucket == nil || x.from.Name != x.to.Name {
		return nil
	}
	if strings.HasPrefix(x.from.Prefix, x.to.Prefix) || strings.HasPrefix(x.to.Prefix, x.from.Prefix) {
		return usage("", "one of the two lies in the other")
	}
	return nil
}

// keepIn reads --backup-dir.
func (x *syncCommand) keepIn(o *sync.Options) (err error) {
	switch {
	case x.backupDir == "":
		return nil
	case x.to.Bucket == nil:
		if wire.IsBucket(x.backupDir) {
			return usage("", "--backup-dir %q: want a folder, as TO is one", x.backupDir)
		}
		if o.BackupDir, err = filepath.Abs(x.backupDir); err != nil {
			return err
		}
		if rel, ok := belowFolder(realPath(x.to.Folder), realPath(o.BackupDir)); ok {
			return usage("", "--backup-dir %q lies in TO, at %q: choose a folder outside of it", x.backupDir, rel)
		}
		return nil
	case wire.IsBucket(x.backupDir):
		name, prefix, err := wire.ParseBucket(x.backupDir)
		if err != nil || name != x.to.Name || prefix == "" {
			return usage("", "--backup-dir %q: want a prefix in bucket %s", x.backupDir, x.to.Name)
		}
		o.BackupDir = strings.TrimSuffix(prefix, "/") + "/"
	default:
		o.BackupDir = strings.Trim(x.backupDir, "/") + "/"
	}
	if strings.HasPrefix(x.to.Prefix, o.BackupDir) {
		return usage("", "--backup-dir %q: TO lies in it", x.backupDir)
	}
	return nil
}

// secrets reads recipients and identities.
func (x *syncCommand) secrets(ctx context.Context, o *sync.Options) error {
	for _, text := range x.encrypt {
		list, err := keys.ParseRecipients(text, x.c.reading(ctx))
		if err != nil {
			return err
		}
		for _, r := range list {
			o.Recipients = append(o.Recipients, r.Age())
		}
	}
	for _, file := range x.identities {
		ids, err := keys.ParseIdentities(file, x.c.reading(ctx))
		if err != nil {
			return err
		}
		o.Identities = append(o.Identities, ids...)
	}
	return nil
}

// classes reads what chooses files and their storage classes, and finds the prices.
func (x *syncCommand) classes(o *sync.Options) (err error) {
	if o.Filter, err = x.filter(cmp.Or(x.from.Folder, x.to.Folder)); err != nil {
		return err
	}
	if x.region, err = x.findPrices(); err != nil {
		return err
	}
	o.Region = x.region
	if strings.Trim(x.class, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return usage("", "--class %q: want letters, digits, _ and -", x.class)
	}
	if o.Classes, err = sync.NewClasses(x.class, x.classRules); err != nil {
		return usage("", "--class-rule: %v", err)
	}
	o.Classes.Price(x.region)
	if n := o.Classes.Least(); n > 0 && x.to.Bucket != nil {
		x.c.explain("files below %v go to %s, which is cheaper for them than %s over a year", units.Size(n), price.DefaultClass, o.Classes.Default)
	}
	return nil
}

// findPrices finds those of the server; nil: none are known.
func (x *syncCommand) findPrices() (*price.Region, error) {
	t, err := x.prices.table()
	if err != nil {
		return nil, err
	}
	if chosen := cmp.Or(x.prices.region, os.Getenv("FIRN_PRICE_REGION")); chosen != "" {
		return regionOf(t, chosen)
	}
	provider, name := price.Guess(x.store.server(), cmp.Or(x.store.region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")))
	if provider == "" {
		return nil, nil
	}
	r, err := t.Region(provider, name)
	if err != nil {
		return nil, nil // a region that is not in the table
	}
	return r, nil
}
