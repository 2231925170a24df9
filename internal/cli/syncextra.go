package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"firn/internal/bucket"
	"firn/internal/sync"
	"firn/internal/sync/inventory"
	"firn/internal/units"
	"firn/internal/wire"
)

// syncExtra is what sync is told by files: listings, sums; and what it tells in one.
type syncExtra struct {
	c          *console
	inventory  string
	listFrom   string
	planFrom   string
	report     string
	reportSame bool

	listing *inventory.Listing
	sums    *sync.Checksums
	out     *os.File // a report that is not yet whole; nil: none, or standard output
	rep     *sync.Reporter
}

func (x *syncExtra) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&x.inventory, "inventory", "", "manifest.json of an S3 Inventory, a file or s3://…, in the place of listing the bucket")
	fl.StringVar(&x.listFrom, "list-from", "", "saved JSON of aws s3api list-objects-v2 in the place of listing the bucket")
	fl.StringVar(&x.planFrom, "plan-from", "", "md5sum, sha1sum or sha256sum list of the folder: sums in the place of reading files that are no newer than the list")
	fl.StringVar(&x.report, "report", "", "write the comparison to a file, by its name as .csv or as JSON lines; -: to standard output")
	fl.BoolVar(&x.reportSame, "report-same", false, "with --report: what is the same, too")
}

// check refuses what does not go together.
func (x *syncExtra) check(sealed, json, itemize bool) error {
	switch {
	case x.inventory != "" && x.listFrom != "":
		return usage("", "--inventory and --list-from exclude each other")
	case x.planFrom != "" && sealed:
		return usage("what is encrypted has no sum that a list could have", "--plan-from with --encrypt or --identity")
	case x.reportSame && x.report == "":
		return usage("", "--report-same needs --report")
	case x.report == "-" && (json || itemize):
		return usage("", "--report - goes to standard output, as --json and --itemize do: give it a file")
	}
	return nil
}

// open reads the files and begins the report. from and to are what was typed.
func (x *syncExtra) open(ctx context.Context, o *sync.Options, from, to string, so wire.StoreOptions) error {
	if err := x.list(ctx, o, so); err != nil {
		return err
	}
	if x.planFrom != "" {
		typed := from
		if wire.IsBucket(from) {
			typed = to
		}
		if err := x.readSums(o, typed); err != nil {
			return err
		}
	}
	if x.report == "" {
		return nil
	}
	sink := io.Writer(printer{x.c})
	if x.report != "-" {
		f, err := os.CreateTemp(filepath.Dir(x.report), "."+filepath.Base(x.report)+"-*")
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		x.out, sink = f, f
	}
	x.rep = sync.NewReporter(sink, strings.EqualFold(filepath.Ext(x.report), ".csv"))
	o.Report = func(d *sync.Difference) {
		if d.State != sync.Alike || x.reportSame {
			x.rep.Write(d)
		}
	}
	return nil
}

// list reads what stands for the listing of a bucket: of TO, or of FROM where TO is a folder.
func (x *syncExtra) list(ctx context.Context, o *sync.Options, so wire.StoreOptions) (err error) {
	p := &o.To
	if p.Bucket == nil {
		p = &o.From
	}
	want := inventory.Options{Bucket: p.Name, Prefix: p.Prefix}
	switch {
	case x.inventory != "":
		err = x.readInventory(ctx, want, so)
	case x.listFrom != "":
		err = x.readSaved(ctx, want)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	p.Listing, p.AsOf = x.listing, x.listing.Created
	tell := x.c.note
	if x.c.now().Sub(p.AsOf) > longAgo {
		tell = x.c.warn
	}
	tell("the listing is %s old: %s objects, as of %s", longDuration(x.c.now().Sub(p.AsOf)), units.Count(x.listing.Objects), p.AsOf.Local().Format(timeFormat))
	return nil
}

func (x *syncExtra) readInventory(ctx context.Context, o inventory.Options, so wire.StoreOptions) (err error) {
	var files inventory.Files = localInventory(x.inventory)
	if wire.IsBucket(x.inventory) {
		b, key, err := wire.OpenBucket(ctx, x.inventory, so)
		if err != nil {
			return err
		}
		defer func() { _ = b.Close() }()
		name, _, err := wire.ParseBucket(x.inventory)
		if err != nil {
			return err
		}
		files = &remoteInventory{b, name, strings.TrimSuffix(key, "/")}
	}
	x.listing, err = inventory.Open(ctx, files, o)
	return inventoryHint(err)
}

// inventoryHint says what to do about an inventory that cannot be used.
func inventoryHint(err error) error {
	switch {
	case errors.Is(err, inventory.ErrUnsupported):
		return failure("configure the inventory as CSV or Parquet, with size, last modified date, ETag and storage class; or leave --inventory out", "%v", err)
	case errors.Is(err, inventory.ErrDamaged):
		return failure("fetch it again, or leave --inventory out", "%v", err)
	}
	return err
}

func (x *syncExtra) readSaved(ctx context.Context, o inventory.Options) error {
	f, err := os.Open(x.listFrom)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if x.listing, err = inventory.Saved(ctx, f, info.ModTime(), o); err != nil {
		return fmt.Errorf("%q: %w", x.listFrom, err)
	}
	return nil
}

// readSums reads a list of sums. typed is the folder as it was given.
func (x *syncExtra) readSums(o *sync.Options, typed string) error {
	folder := o.From.Folder + o.To.Folder
	if folder == "" {
		return usage("", "--plan-from is about a folder, and both sides are buckets")
	}
	f, err := os.Open(x.planFrom)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	roots := []string{filepath.ToSlash(folder), filepath.ToSlash(realPath(folder))}
	if typed = path.Clean(filepath.ToSlash(typed)); !filepath.IsAbs(typed) && typed != "." {
		roots = append(roots, typed, "./"+typed)
	}
	if x.sums, err = sync.ReadChecksums(f, info.ModTime(), roots, ""); err != nil {
		return fmt.Errorf("%q: %w", x.planFrom, err)
	}
	if n := x.sums.Bad; n > 0 {
		x.c.warn("%q: %s not understood, the first of them is line %d", x.planFrom, counted(n, "line"), x.sums.FirstBad)
	}
	if n := x.sums.Others; n > 0 {
		x.c.warn("%q: %s of files that do not lie in %q", x.planFrom, counted(n, "sum"), folder)
	}
	o.Sums = x.sums
	return nil
}

// finish makes the report whole, if the sync went through so far that it tells something, and removes temporary files.
func (x *syncExtra) finish(whole bool) error {
	if x.listing != nil {
		x.listing.Close()
	}
	if x.sums != nil {
		x.sums.Close()
	}
	if x.rep == nil {
		return nil
	}
	err := x.rep.Close()
	x.rep = nil
	if x.out == nil {
		return err
	}
	err = errors.Join(err, x.out.Chmod(0o644), x.out.Sync(), x.out.Close())
	if err == nil && whole {
		err = os.Rename(x.out.Name(), x.report)
	}
	if err != nil || !whole {
		_ = os.Remove(x.out.Name())
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// compared reports whether a sync that ended so has compared all.
func compared(err error) bool {
	return err == nil || errors.As(err, new(*sync.GuardError)) || errors.As(err, new(*sync.DueError))
}

// printer is standard output.
type printer struct{ c *console }

// Write implements io.Writer.
func (p printer) Write(b []byte) (int, error) { p.c.print("%s", b); return len(b), nil }

// localInventory is the path of a manifest; what it names lies beside it, in data beside it or beside its folder, or under its whole key from some folder above.
type localInventory string

// Manifest implements inventory.Files.
func (l localInventory) Manifest(_ context.Context, sum bool) (io.ReadCloser, error) {
	if sum {
		return os.Open(filepath.Join(filepath.Dir(string(l)), "manifest.checksum"))
	}
	return os.Open(string(l))
}

// Data implements inventory.Files.
func (l localInventory) Data(_ context.Context, _, key string) (io.ReadCloser, error) {
	name := path.Base(path.Clean("/" + key))
	dir := filepath.Dir(string(l))
	try := []string{filepath.Join(dir, name), filepath.Join(dir, "data", name), filepath.Join(dir, "..", "data", name)}
	for up := dir; len(try) < 12; up = filepath.Join(up, "..") {
		try = append(try, filepath.Join(up, filepath.FromSlash(path.Clean("/"+key))))
	}
	for _, full := range try {
		if f, err := os.Open(full); !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	return nil, fmt.Errorf("%w: it should lie beside the manifest, or in a folder data there", fs.ErrNotExist)
}

// remoteInventory is a manifest in a bucket.
type remoteInventory struct {
	b    bucket.Bucket
	name string
	key  string
}

// Manifest implements inventory.Files.
func (r *remoteInventory) Manifest(ctx context.Context, sum bool) (io.ReadCloser, error) {
	key := r.key
	if sum {
		key = path.Join(path.Dir(key), "manifest.checksum")
	}
	return r.get(ctx, key)
}

func (r *remoteInventory) get(ctx context.Context, key string) (io.ReadCloser, error) {
	in, _, err := r.b.Get(ctx, key, bucket.GetOptions{Length: -1})
	if errors.Is(err, bucket.ErrNotExist) {
		err = fmt.Errorf("%q: %w", key, fs.ErrNotExist)
	}
	return in, err
}

// Data implements inventory.Files.
func (r *remoteInventory) Data(ctx context.Context, name, key string) (io.ReadCloser, error) {
	if name != r.name {
		return nil, fmt.Errorf("it lies in bucket %q, and the manifest in %q", name, r.name)
	}
	return r.get(ctx, key)
}

// longAgo is when a listing is so old that the user should hear of it.
const longAgo = 8 * 24 * time.Hour
