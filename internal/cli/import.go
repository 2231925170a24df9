package cli

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/repo"
	"firn/internal/snapshot"
	"firn/internal/source"
	"firn/internal/source/zfs"
)

// newImport holds the commands that take over what other tools have made.
func newImport(c *console) *cobra.Command {
	cmd := &cobra.Command{
		Use: "import", Short: "Take over what other backup tools have made",
		Example: "  firn import s3napback /etc/s3napback.conf\n  firn import zfs-baseline tank/home@offsite-20260719",
	}
	cmd.AddCommand(newImportS3napback(c), newImportPasswords(c), newImportBorgmatic(c), newImportRestic(c), newImportDuplicity(c), newImportZFS(c))
	return asFolder(cmd)
}

// importZFS records that a snapshot of ZFS is stored elsewhere.
type importZFS struct {
	*backupCommand
	where     string
	recursive bool
}

func newImportZFS(c *console) *cobra.Command {
	x := &importZFS{backupCommand: &backupCommand{c: c, memory: defaultMemory(), detect: "size,mtime,ctime,inode", compression: "fastest"}}
	cmd := &cobra.Command{
		Use: "zfs-baseline DATASET@SNAPSHOT", Short: "Let increments start from a ZFS snapshot that another tool has stored", Args: argsBetween(1, 1, "one snapshot"),
		Long: `Records that a snapshot, which the pool still has, is stored elsewhere, so that the next backup of the dataset is an increment on
top of it and nothing is sent again. Nothing is read or stored but that record, and the snapshot is held until the increment is there.
A restore then needs the baseline first: receive it by the tool that has stored it, and let firn restore go on from there.

Give --source if backups of the dataset have it: it is the same source then. --where says where the baseline lies; whoever restores
reads it.`,
		Example: `  firn import zfs-baseline tank/cameras@offsite-20230719 --where s3://bucket/cameras/baseline-20230719
  firn import zfs-baseline tank/home@offsite-20260719 --recursive && firn backup zfs:tank/home -o recursive`,
		RunE: func(cmd *cobra.Command, args []string) error { return x.run(cmd.Context(), args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&x.where, "where", "", "where the baseline lies, in words or as an address")
	fl.BoolVar(&x.recursive, "recursive", false, "with all datasets below that have the snapshot")
	fl.StringVar(&x.name, "source", "", "name of the source, as in backups of it")
	fl.StringArrayVar(&x.tags, "tag", nil, "tag of the record (repeat for more)")
	x.host.register(cmd)
	x.secrets.register(cmd)
	x.store.register(cmd)
	return cmd
}

// maxWhere bounds what --where says, in bytes.
const maxWhere = 1 << 10

func (x *importZFS) run(ctx context.Context, text string) error {
	if len(x.where) > maxWhere || !utf8.ValidString(x.where) || strings.ContainsAny(x.where, "\n\r\x00") {
		return usage("", "--where: want one line of up to %d bytes", maxWhere)
	}
	values := map[string]string{}
	if x.recursive {
		values["recursive"] = "yes"
	}
	open := func(h source.Host) (*zfs.Baseline, error) {
		return zfs.NewBaseline(strings.TrimPrefix(text, "zfs:"), x.where, source.NewSettings(zfs.Settings, values), h)
	}
	first, err := open(source.Host{})
	if err != nil {
		return asUsage(err)
	}
	p, err := x.plan([]string{zfs.Kind + ":" + first.Dataset()}, -1)
	if err != nil {
		return err
	}
	r := p.roots[0]
	s, scope, err := x.open(ctx, p)
	if err != nil {
		return err
	}
	defer s.close()
	defer x.also.close()
	if err := s.ready(ctx); err != nil {
		return err
	}
	o, err := x.options(s, scope, p, r)
	if err != nil {
		return err
	}
	lock, err := s.state.Lock(o.Source.ID, x.c.now())
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := alreadyStored(scope, o.Source); err != nil {
		return err
	}
	producer, err := open(source.Host{Now: x.c.now, Holder: holder(s.header.ID, o.Source.ID)})
	if err != nil {
		return err
	}
	return x.produceOnce(ctx, s, scope, o, r, producer, nil, nil)
}

// errHasHistory tells of a source that does not begin with a baseline.
var errHasHistory = errors.New("it has snapshots here already, and increments go on from these")

// alreadyStored fails where increments have something to start from.
func alreadyStored(scope *repo.ScopeState, o snapshot.Origin) error {
	last := newest(scope.Items, o.ID)
	if last == nil || len(last.Points) == 0 || last.Points[0].Outside {
		return nil
	}
	return &advice.Error{Text: advice.SourceName(o) + ": " + errHasHistory.Error(), Err: errHasHistory, Hint: "back it up as it is, or give the new history a name of its own with --source"}
}
