package cli

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"firn/internal/advice"
	"firn/internal/migrate"
)

// importFile turns the file of another tool into a configuration of ours.
type importFile struct {
	c      *console
	out    string
	repo   string // where the repository will be, or below what
	folder string // for secrets
	placed bool   // it was given
	force  bool

	read func(x *importFile, name string, raw []byte) (*migrate.Result, error)
}

func (x *importFile) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVarP(&x.out, "output", "o", "", "write the configuration to this new file (standard output)")
	fl.BoolVar(&x.force, "force", false, "replace files that are there")
}

func newImportS3napback(c *console) *cobra.Command {
	x := &importFile{c: c}
	cmd := &cobra.Command{
		Use: "s3napback FILE", Short: "Turn a configuration of s3napback into one of firn", Args: argsBetween(1, 1, "one file"),
		Long: `Reads a configuration of s3napback and prints one of firn that backs up the same: each Directory, MySQL, PostgreSQL, Subversion and
SubversionDir becomes a source, with the cycle of its block. Blocks may lack their closing tags, as in s3napback's own example. What has
no equivalent, or means something else, is told line by line on standard error. Archives that s3napback has made are not touched.`,
		Example: `  firn import s3napback /etc/s3napback/s3napback.conf
  firn import s3napback s3napback.conf --repo s3://new-bucket/server1 -o /etc/firn/firn.toml && firn config check`,
		RunE: func(_ *cobra.Command, args []string) error { return x.run(args[0]) },
	}
	x.register(cmd)
	cmd.Flags().StringVarP(&x.repo, "repo", "r", "", "where the repository will be (firn/ in the same bucket)")
	x.read = func(x *importFile, name string, raw []byte) (*migrate.Result, error) {
		return migrate.S3napback(name, raw, migrate.S3napbackOptions{Year: x.c.now().Local().Year(), Repository: x.repo})
	}
	return cmd
}

func newImportPasswords(c *console) *cobra.Command {
	x := &importFile{c: c}
	cmd := &cobra.Command{
		Use: "passwords FILE --repo LOCATION", Short: "Take over the passwords of ZFS datasets from a script's JSON file", Args: argsBetween(1, 1, "one file"),
		Long: `Reads {"dataset": {"pass": "…"}, …}, in which scripts around zfs send keep a password for each dataset, and prints a configuration in which
each dataset is a source with a repository of its own below LOCATION, opened by the same password. Datasets that share a password share
a repository. The passwords go into files of their own, readable by you alone; none is printed.`,
		Example: `  firn import passwords passwords.json --repo s3://bucket -o /etc/firn/conf.d/zfs.toml`,
		RunE:    func(_ *cobra.Command, args []string) error { return x.run(args[0]) },
	}
	x.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&x.repo, "repo", "r", "", "below which the repositories will be, such as s3://bucket")
	fl.StringVar(&x.folder, "folder", "", "where the files with the passwords go (secrets/ beside --output)")
	x.read = func(x *importFile, name string, raw []byte) (*migrate.Result, error) {
		if x.repo == "" {
			return nil, usage("such as --repo s3://bucket", "below which location will the repositories be?")
		}
		if err := x.findFolder(); err != nil {
			return nil, err
		}
		return migrate.Passwords(name, raw, migrate.PasswordsOptions{Base: x.repo, Folder: x.folder})
	}
	return cmd
}

// newImportTool makes the command for one of the tools whose files are read alike.
func newImportTool(c *console, use, short, long, example string, read func(name string, raw []byte, o migrate.ToolOptions) (*migrate.Result, error)) *cobra.Command {
	x := &importFile{c: c}
	cmd := &cobra.Command{
		Use: use + " FILE --repo LOCATION", Short: short, Args: argsBetween(1, 1, "one file"), Long: long, Example: example,
		RunE: func(_ *cobra.Command, args []string) error { return x.run(args[0]) },
	}
	x.register(cmd)
	fl := cmd.Flags()
	fl.StringVarP(&x.repo, "repo", "r", "", "where the repository will be: a folder or s3://bucket/prefix")
	fl.StringVar(&x.folder, "folder", "", "where a file with the passphrase goes (secrets/ beside --output)")
	x.read = func(x *importFile, name string, raw []byte) (*migrate.Result, error) {
		if x.repo == "" {
			return nil, usage("such as --repo s3://bucket/nas", "where will the repository be?")
		}
		if err := x.findFolder(); err != nil {
			return nil, err
		}
		return read(name, raw, migrate.ToolOptions{Repository: x.repo, Folder: x.folder})
	}
	return cmd
}

func newImportBorgmatic(c *console) *cobra.Command {
	return newImportTool(c, "borgmatic", "Turn a configuration of borgmatic into one of firn",
		`Reads a configuration of borgmatic, with its options in the root or in sections, and prints one of firn that backs up the same: folders,
databases, patterns, what is kept, checks, hooks, and who is told. What has no equivalent, or means something else, is told line by line
on standard error. A passphrase goes into a file of its own and opens the new repository. Archives that Borg has made are not touched.`,
		"  firn import borgmatic /etc/borgmatic/config.yaml --repo s3://bucket/server1 -o /etc/firn/firn.toml && firn config check", migrate.Borgmatic)
}

func newImportRestic(c *console) *cobra.Command {
	return newImportTool(c, "restic", "Turn a script or crontab that calls restic into a configuration of firn",
		`Reads a shell script, a crontab or a unit of systemd in which restic is called, and prints a configuration that backs up the same: each
restic backup becomes a source, restic forget what is kept, the times of a crontab schedules. Variables that the file sets itself are
known; nothing is run, and what only a shell could find out is told line by line on standard error, as is what has no equivalent.
RESTIC_PASSWORD goes into a file of its own and opens the new repository. What restic has stored is not touched.`,
		"  firn import restic /usr/local/bin/backup.sh --repo s3://bucket/server1\n  firn import restic /etc/crontab --repo /mnt/disk/firn -o /etc/firn/firn.toml && firn config check", migrate.Restic)
}

func newImportDuplicity(c *console) *cobra.Command {
	return newImportTool(c, "duplicity", "Turn a script or crontab that calls duplicity into a configuration of firn",
		`Reads a shell script or a crontab in which duplicity is called, and prints a configuration that backs up the same: each backup becomes a
source, with --include and --exclude in their order, remove-older-than what is kept, the times of a crontab schedules. Variables that the
file sets itself are known; nothing is run, and what only a shell could find out is told line by line on standard error, as is what has
no equivalent. PASSPHRASE goes into a file of its own and opens the new repository. What duplicity has stored is not touched.`,
		"  firn import duplicity /etc/cron.daily/backup --repo s3://bucket/server1 -o /etc/firn/firn.toml && firn config check", migrate.Duplicity)
}

// findFolder chooses where secrets go.
func (x *importFile) findFolder() (err error) {
	x.placed = x.folder != ""
	switch {
	case x.placed:
	case x.out != "":
		x.folder = filepath.Join(filepath.Dir(x.out), "secrets")
	case os.Geteuid() == 0:
		x.folder = "/etc/firn/secrets"
	default:
		home, err := os.UserConfigDir()
		if err != nil {
			return usage("name one with --folder", "there is no folder for secrets: %v", err)
		}
		x.folder = filepath.Join(home, "firn", "secrets")
	}
	x.folder, err = filepath.Abs(x.folder)
	return err
}

func (x *importFile) run(name string) error {
	raw, err := readBounded(name)
	if err != nil {
		return err
	}
	r, err := x.read(x, name, raw)
	var bad *migrate.Error
	if errors.As(err, &bad) {
		return &advice.Error{Text: err.Error(), Err: err, Code: advice.Usage}
	}
	if err != nil {
		return err
	}
	if len(r.Secrets) > 0 && x.out == "" && !x.placed {
		return usage("give --output FILE, and it goes into secrets/ beside that, or --folder; nothing was written", "%q holds %s: where is it to be kept?", name, counted(int64(len(r.Secrets)), "secret"))
	}
	if err := x.free(r); err != nil {
		return err
	}
	for _, s := range r.Secrets {
		if err := x.write(filepath.Join(x.folder, s.Name), s.Value+"\n", 0o600); err != nil {
			return err
		}
	}
	if x.out != "" {
		if err := x.write(x.out, r.TOML, 0o640); err != nil {
			return err
		}
	}
	return x.show(name, r)
}

// readBounded reads a file that some tool has written.
func readBounded(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, migrate.MaxFile+1))
}

// free makes sure, before anything is written, that nothing would be replaced.
func (x *importFile) free(r *migrate.Result) error {
	names := []string{x.out}
	for _, s := range r.Secrets {
		names = append(names, filepath.Join(x.folder, s.Name))
	}
	for _, name := range names {
		if _, err := os.Lstat(name); name != "" && !x.force && !errors.Is(err, fs.ErrNotExist) {
			return usage("choose another name, or give --force", "%q is there already; nothing was written", name)
		}
	}
	return nil
}

// write makes a file whole or not at all.
func (x *importFile) write(name, text string, mode fs.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".firn-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

// importedJSON is what these commands print with --json.
type importedJSON struct {
	Event   string       `json:"event"` // imported
	File    string       `json:"file"`
	Output  string       `json:"output,omitempty"`
	Config  string       `json:"config"`
	Sources int          `json:"sources"`
	Secrets []string     `json:"secrets"` // files
	Notes   []importNote `json:"notes"`
}

type importNote struct {
	Line int    `json:"line"`
	Text string `json:"text"`
}

func (x *importFile) show(name string, r *migrate.Result) error {
	j := importedJSON{Event: "imported", File: name, Output: x.out, Config: r.TOML, Sources: r.Sources, Secrets: []string{}, Notes: []importNote{}}
	for _, s := range r.Secrets {
		j.Secrets = append(j.Secrets, filepath.Join(x.folder, s.Name))
	}
	for _, n := range r.Notes {
		j.Notes = append(j.Notes, importNote{n.Line, n.Text})
		if n.Line == 0 {
			x.c.note("%s", n.Text)
			continue
		}
		x.c.note("%s:%d: %s", name, n.Line, n.Text)
	}
	if x.c.json != "" {
		return x.c.object(j)
	}
	for _, s := range j.Secrets {
		x.c.note("password written to %q", s)
	}
	if x.out != "" {
		x.c.print("%s: %s; firn config check reads it\n", x.out, counted(int64(r.Sources), "source"))
		return nil
	}
	x.c.print("%s", r.TOML)
	return nil
}
