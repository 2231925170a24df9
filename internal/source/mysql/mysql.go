// Package mysql makes streams of MySQL and MariaDB databases with mysqldump or mariadb-dump, and writes them back with the client.
//
// Each database is a stream of its own, called as EscapeName writes its name, with ".sql" behind it; "users.sql" holds accounts and roles, "grants.sql" their rights, which may speak of tables and so come last. A stream is
// one consistent state of the tables whose engine has transactions; others are named in a note, and are read as they are, or locked where that is wished.
// Different streams of a snapshot are of different moments.
//
// A dump has one statement a row: in the longer statements that the dumper prefers, a row more near the begin moves all ends, and what was stored yesterday is nowhere to be found in it. The Taker joins such statements again, since they are
// slow one by one. The second line of a dump is a comment of ours with the properties of the database, which the dumper does not say without a statement that binds the dump to its name.
package mysql

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"firn/internal/program"
	"firn/internal/source"
)

// Kind is how snapshots call sources of this package.
const Kind = "mysql"

// all stands for every database of a server.
const all = "all"

// Streams of what belongs to no database.
const (
	users  = "users.sql"
	grants = "grants.sql"
)

// Settings of a database, or of all of a server.
var Settings = append([]source.Setting{
	{Name: "host", Value: "HOST", Default: "the client's", Help: "server"},
	{Name: "port", Value: "N", Default: "the client's", Help: "its port"},
	{Name: "socket", Value: "FILE", Default: "the client's", Help: "its socket on this machine"},
	{Name: "user", Value: "NAME", Default: "the client's", Help: "account to connect as; its password comes from an option file, never from here"},
	{Name: "defaults_file", Value: "FILE", Default: "~/.my.cnf and the system's", Help: "read this option file and no other"},
	{Name: "defaults_extra_file", Value: "FILE", Help: "read this option file, too"},
	{Name: "lock", Value: "yes|no", Default: "no", Help: "lock the tables of a database while it is read, for engines without transactions; writers wait"},
	{Name: "long_inserts", Value: "yes|no", Default: "no", Help: "many rows in a statement: smaller dumps that can be fed to a server by hand faster, but little in common with the last one"},
	{Name: "exclude", Value: "NAME,…", Help: "with all: leave out databases of these names or patterns"},
	{Name: "users", Value: "yes|no", Default: "yes with all", Help: "store and restore accounts and grants, too"},
	{Name: "dump_options", Value: "OPTIONS", Help: "more options for the dumper, with spaces between them"},
	{Name: "programs", Value: "FOLDER", Default: "PATH", Help: "where the client and the dumper are"},
	{Name: "force", Value: "yes|no", Default: "no", Help: "restoring: replace tables that are there already, and give grants to accounts that exist"},
}, program.Common...)

// Source is one database or all of a server. It implements source.Producer.
type Source struct {
	server   *server
	database string // empty: all
	exclude  source.Names
	users    bool
	lock     bool
	long     bool
	options  []string
}

// New returns the database of that name, or all of the server's for "all". It fails with *source.SettingError.
func New(rest string, o *source.Settings, _ source.Host) (*Source, error) {
	s := &Source{server: newServer(o), database: rest, exclude: o.Names("exclude"), users: o.Bool("users", rest == all), lock: o.Bool("lock", false), long: o.Bool("long_inserts", false)}
	if rest == all {
		s.database = ""
	}
	s.options = strings.Fields(o.Text("dump_options", ""))
	for _, option := range s.options {
		if reason := refused(option); reason != "" {
			o.Fail("dump_options", reason)
		}
	}
	if rest == "" || strings.ContainsRune(rest, 0) {
		return nil, &source.MissingError{What: "database", Name: rest}
	}
	return s, o.Err()
}

// refused says why an option cannot be given to the dumper.
func refused(option string) string {
	name, _, _ := strings.Cut(option, "=")
	switch {
	case !strings.HasPrefix(option, "--") || len(option) < 3:
		return "want long options that hold their values, such as --ignore-table=shop.log"
	case strings.HasPrefix("--password", name) || strings.HasPrefix(name, "--pass"):
		return "others on this machine can read a password there; it belongs into an option file"
	case slices.Contains([]string{"--databases", "--all-databases", "--tables", "--system", "--result-file", "--tab", "--xml", "--force", "--compact", "--skip-comments"}, name):
		return "what the dump holds and where it goes is settled otherwise"
	}
	return ""
}

// Prepare implements source.Producer.
func (s *Source) Prepare(ctx context.Context, _ []source.Have) (*source.Batch, error) {
	args, err := s.arguments(ctx)
	if err != nil {
		return nil, err
	}
	list, err := s.server.databases(ctx, s.database)
	if err != nil {
		return nil, err
	}
	b := &source.Batch{Base: -1}
	if s.database == "" {
		list = slices.DeleteFunc(list, func(d *database) bool {
			if strings.HasPrefix(d.name, "#mysql50#") {
				b.Notes = append(b.Notes, fmt.Sprintf("%q is a folder that is no database, and is left out", strings.TrimPrefix(d.name, "#mysql50#")))
				return true
			}
			return s.exclude.Match(d.name)
		})
	}
	switch {
	case len(list) == 0 && s.database != "":
		return nil, &source.MissingError{What: "database", Name: s.database}
	case len(list) == 0 && !s.users:
		return nil, errors.New("no database of the server is left to be stored")
	}
	for _, d := range list {
		if len(d.unsafe) > 0 && !s.lock {
			b.Notes = append(b.Notes, fmt.Sprintf("database %q has tables without transactions (%s), which may change while they are read", d.name, strings.Join(d.unsafe, ", ")))
		}
		b.Streams = append(b.Streams, source.Stream{Path: streamOf(d.name), Size: d.size, Open: s.dump(d, args)})
	}
	if s.users {
		if _, err := s.server.accounts(ctx); err != nil {
			return nil, err
		}
		b.Streams = append(b.Streams, source.Stream{Path: users, Open: s.server.dumpUsers}, source.Stream{Path: grants, Open: s.server.dumpGrants})
	}
	slices.SortFunc(b.Streams, func(x, y source.Stream) int { return cmp.Compare(x.Path, y.Path) })
	return b, nil
}

// streamOf is the path of the dump of a database.
func streamOf(database string) string {
	return source.EscapeName(database, ".sql", users, grants) + ".sql"
}

// arguments are those of the dumper that is there.
func (s *Source) arguments(ctx context.Context) ([]string, error) {
	path, err := s.server.find(dumper)
	if err != nil {
		return nil, err
	}
	version, err := program.Command{Name: path, Args: []string{"--version"}, Idle: patience}.Output(ctx, maxAnswer)
	if err != nil {
		return nil, err
	}
	args := []string{"--quick", "--skip-dump-date", "--routines", "--triggers", "--events", "--hex-blob", "--no-tablespaces", "--create-options", "--add-drop-table", "--comments"}
	if s.lock {
		args = append(args, "--lock-tables")
	} else {
		args = append(args, "--single-transaction", "--skip-lock-tables")
	}
	if s.long {
		args = append(args, "--extended-insert")
	} else {
		args = append(args, "--skip-extended-insert")
	}
	if !strings.Contains(string(version), "MariaDB") {
		// Neither of MariaDB's: what a server has done is no content of a database, and older servers do not know that table.
		args = append(args, "--loose-set-gtid-purged=OFF", "--loose-column-statistics=0")
	}
	return append(args, s.options...), nil
}

// dump makes the stream of one database.
func (s *Source) dump(d *database, args []string) func(context.Context) (io.ReadCloser, error) {
	return func(ctx context.Context) (io.ReadCloser, error) {
		c, err := s.server.command(dumper, fmt.Sprintf("database %q", d.name), append(slices.Clone(args), "--", d.name)...)
		if err != nil {
			return nil, err
		}
		r, err := c.Start(ctx)
		if err != nil {
			return nil, err
		}
		return &headed{Reader: headReader(r, head(d)), Closer: r}, nil
	}
}

// headed is a dump with our line in it.
type headed struct {
	io.Reader
	io.Closer
}

// headReader puts line behind the first line of r: clients look for a mark of their own in the first.
func headReader(r io.Reader, line string) io.Reader {
	in := bufio.NewReaderSize(r, 64<<10)
	first := &firstLine{in: in}
	return io.MultiReader(first, strings.NewReader(line), in)
}

// firstLine reads up to the first line feed, or nothing where that is far away.
type firstLine struct {
	in   *bufio.Reader
	line []byte
	seen bool
}

// Read implements io.Reader.
func (f *firstLine) Read(b []byte) (int, error) {
	if !f.seen {
		f.seen = true
		line, err := f.in.ReadSlice('\n')
		if err == io.EOF || err == bufio.ErrBufferFull {
			err = errNoDump
		}
		if err != nil {
			return 0, err
		}
		f.line = slices.Clone(line)
	}
	if len(f.line) == 0 {
		return 0, io.EOF
	}
	n := copy(b, f.line)
	f.line = f.line[n:]
	return n, nil
}

// errNoDump tells of output that does not begin as dumps do.
var errNoDump = errors.New("what the dumper wrote is no dump")

// headBegin begins our line.
const headBegin = "-- firn database "

// head is our line.
func head(d *database) string {
	return fmt.Sprintf("%scharset=%s collation=%s\n", headBegin, d.charset, d.collation)
}
