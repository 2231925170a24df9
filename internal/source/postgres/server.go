package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/program"
	"firn/internal/source"
)

const (
	maxAnswer    = 64 << 20 // bytes that a question may bring back
	maxDatabases = 9000     // streams of one backup
	patience     = 2 * time.Minute
)

// server is how a server is reached. Passwords are libpq's affair: it finds them in files of its own or in its environment.
type server struct {
	env         []string
	programs    string // folder; empty: PATH
	maintenance string // database to ask in what there is
	idle        time.Duration
}

// newServer reads the settings that say where the server is.
func newServer(o *source.Settings) *server {
	s := &server{programs: o.Text("programs", ""), maintenance: o.Text("maintenance", "postgres"), idle: program.Timeout(o)}
	for _, v := range [][2]string{{"host", "PGHOST"}, {"user", "PGUSER"}, {"service", "PGSERVICE"}, {"service_file", "PGSERVICEFILE"}, {"passfile", "PGPASSFILE"}} {
		if text := o.Text(v[0], ""); text != "" {
			s.env = append(s.env, v[1]+"="+text)
		}
	}
	if port := o.Int("port", 0, 1, 65535); port != 0 {
		s.env = append(s.env, "PGPORT="+strconv.Itoa(port))
	}
	if os.Getenv("PGCONNECT_TIMEOUT") == "" {
		s.env = append(s.env, "PGCONNECT_TIMEOUT=30")
	}
	s.env = append(s.env, "PGAPPNAME=firn")
	return s
}

// command is one of PostgreSQL's programs. Its label names the database, and nothing of how the server is reached.
func (s *server) command(name, what string, args ...string) program.Command {
	c := program.Command{Name: name, Args: args, Env: s.env, Idle: s.idle, Label: name}
	if s.programs != "" {
		c.Name = filepath.Join(s.programs, name)
	}
	if what != "" {
		c.Label += " for " + what
	}
	return c
}

// find tells whether programs are there.
func (s *server) find(names ...string) error {
	for _, n := range names {
		if _, err := program.Find(s.command(n, "").Name); err != nil {
			return err
		}
	}
	return nil
}

// connection is the connection string of a database, since its bare name might be taken for one.
func connection(database string) string {
	return "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"
}

// ident quotes a name for SQL.
func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// literal quotes a text for SQL, whatever the server takes backslashes for.
func literal(text string) string {
	q := "'" + strings.ReplaceAll(text, "'", "''") + "'"
	if strings.Contains(q, `\`) {
		return "E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}

// ask runs SQL that gives one field a row. It is stopped when the server says nothing for two minutes, or for the time that the user set.
func (s *server) ask(ctx context.Context, database, sql string) ([]string, error) {
	c := s.command("psql", fmt.Sprintf("database %q", database), "--no-psqlrc", "--no-password", "--quiet", "--no-align", "--tuples-only", "--record-separator-zero",
		"--set=ON_ERROR_STOP=1", "--dbname="+connection(database), "--command="+sql)
	c.Env = append(slices.Clone(c.Env), "PGCLIENTENCODING=UTF8")
	if c.Idle == 0 {
		c.Idle = patience
	}
	out, err := c.Output(ctx, maxAnswer)
	if err != nil || len(out) == 0 {
		return nil, err
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"), nil
}

// ask1 runs SQL that gives one field.
func (s *server) ask1(ctx context.Context, database, sql string) (string, error) {
	list, err := s.ask(ctx, database, sql)
	if err == nil && len(list) != 1 {
		err = fmt.Errorf("database %q: the server gave %d rows, want one", database, len(list))
	}
	if err != nil {
		return "", err
	}
	return list[0], nil
}

// databases lists those that can be connected to.
func (s *server) databases(ctx context.Context) ([]string, error) {
	names, err := s.ask(ctx, s.maintenance, "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND datconnlimit <> -2 ORDER BY datname")
	if err != nil {
		return nil, err
	}
	if len(names) > maxDatabases {
		return nil, fmt.Errorf("the server has %d databases, want at most %d", len(names), maxDatabases)
	}
	return names, nil
}

// size is about how many bytes a dump of a database has: what its files have, without indexes, as far as the statistics know these, and without what every database has. It waits for no lock.
func (s *server) size(ctx context.Context, database string) (int64, error) {
	text, err := s.ask1(ctx, database, `SELECT pg_catalog.pg_database_size(pg_catalog.current_database()) - `+
		`(SELECT coalesce(sum(relpages::bigint), 0) * pg_catalog.current_setting('block_size')::bigint FROM pg_catalog.pg_class WHERE relkind = 'i') - 5000000`)
	if err == nil {
		var size int64
		if size, err = strconv.ParseInt(text, 10, 64); err == nil {
			return max(size, 0), nil
		}
		return 0, fmt.Errorf("database %q: the server says that it has %q bytes", database, text)
	}
	if ctx.Err() == nil && !s.exists(ctx, database) {
		return 0, &source.MissingError{What: "database", Name: database}
	}
	return 0, err
}

// exists reports false where a database is known not to be there.
func (s *server) exists(ctx context.Context, database string) bool {
	n, err := s.ask1(ctx, s.maintenance, "SELECT count(*) FROM pg_catalog.pg_database WHERE datname = "+literal(database))
	return err != nil || n != "0"
}

// errPasswords tells that only a superuser sees the passwords of roles.
var errPasswords = errors.New("the passwords of roles cannot be read by this user, but roles can be stored without them (role_passwords)")

// mayReadRoles fails where a dump of the roles would.
func (s *server) mayReadRoles(ctx context.Context) error {
	text, err := s.ask1(ctx, s.maintenance, "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')")
	if err == nil && text != "t" {
		err = errPasswords
	}
	return err
}
