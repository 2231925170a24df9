package mysql

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"firn/internal/program"
	"firn/internal/source"
)

const (
	maxAnswer    = 256 << 20 // bytes that a question may bring back
	maxDatabases = 9000      // streams of one backup
	patience     = 2 * time.Minute
	largest      = "--max-allowed-packet=1073741824" // a row may be as large as the protocol has it
)

// server is how a server is reached. Passwords are the affair of its programs, which find them in option files.
type server struct {
	options  []string // for every program; those that name option files first, as they want it
	env      []string
	programs string // folder; empty: PATH
	idle     time.Duration
}

// newServer reads the settings that say where the server is.
func newServer(o *source.Settings) *server {
	s := &server{programs: o.Text("programs", ""), idle: program.Timeout(o)}
	for _, name := range []string{"defaults_file", "defaults_extra_file", "host", "socket", "user"} {
		if text := o.Text(name, ""); text != "" {
			s.options = append(s.options, "--"+strings.ReplaceAll(name, "_", "-")+"="+text)
		}
	}
	if o.Has("defaults_file") && o.Has("defaults_extra_file") {
		o.Fail("defaults_extra_file", "defaults_file takes the place of all others")
	}
	if port := o.Int("port", 0, 1, 65535); port != 0 {
		s.options = append(s.options, "--port="+strconv.Itoa(port))
	}
	if os.Getenv("HOME") == "" {
		if u, err := user.Current(); err == nil {
			s.env = append(s.env, "HOME="+u.HomeDir) // where ~/.my.cnf is, which some starters of programs do not say
		}
	}
	return s
}

// The programs, under the names that MariaDB and MySQL have for them.
var (
	client = []string{"mariadb", "mysql"}
	dumper = []string{"mariadb-dump", "mysqldump"}
)

// find returns where a program is.
func (s *server) find(names []string) (string, error) {
	if s.programs == "" {
		return program.Find(names[0], names[1:]...)
	}
	return program.Find(filepath.Join(s.programs, names[0]), filepath.Join(s.programs, names[1]))
}

// command is one of the programs. Its label says what it is for, and nothing of how the server is reached.
func (s *server) command(names []string, what string, args ...string) (program.Command, error) {
	path, err := s.find(names)
	if err != nil {
		return program.Command{}, err
	}
	all := append(append([]string{}, s.options...), "--default-character-set=utf8mb4", largest)
	return program.Command{Name: path, Args: append(all, args...), Env: s.env, Idle: s.idle, Label: filepath.Base(path) + " for " + what}, nil
}

// ask runs SQL statements and returns their rows. It is stopped when the server says nothing for two minutes, or for the time that the user set.
func (s *server) ask(ctx context.Context, sql string) ([][]string, error) {
	c, err := s.command(client, "questions", "--batch", "--skip-column-names", "--connect-timeout=30", "--execute="+sql)
	if err != nil {
		return nil, err
	}
	if c.Idle == 0 {
		c.Idle = patience
	}
	out, err := c.Output(ctx, maxAnswer)
	if err != nil {
		return nil, err
	}
	return rows(string(out)), nil
}

// rows takes apart what the client prints in a batch: rows in lines, fields between tabs, what would be either escaped.
func rows(out string) (list [][]string) {
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		for i := range fields {
			fields[i] = unescape.Replace(fields[i])
		}
		list = append(list, fields)
	}
	return list
}

var unescape = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\0`, "\x00")

// ident quotes a name for SQL.
func ident(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// literal is a text for SQL, whatever the server takes backslashes for.
func literal(text string) string {
	if text == "" {
		return "''"
	}
	return fmt.Sprintf("CONVERT(X'%x' USING utf8mb4)", text)
}

// database is what a server says of one.
type database struct {
	name               string
	charset, collation string
	size               int64
	unsafe             []string // engines of tables that cannot be read as of one moment
	tables             int64    // all kinds
}

// own are the databases that belong to the server.
var own = []string{"information_schema", "performance_schema", "mysql", "sys"}

// transactional are engines whose tables can be read as of one moment, or hold nothing of their own.
var transactional = []string{"innodb", "rocksdb", "tokudb", "ndbcluster", "ndb", "xpand", "blackhole", "federated", "connect", "spider", "sequence", "memory", "performance_schema", "mrg_myisam"}

// databases finds the one of that name, or, for the empty name, all but the server's own.
func (s *server) databases(ctx context.Context, name string) ([]*database, error) {
	where := " = " + literal(name)
	if name == "" {
		where = " NOT IN ('" + strings.Join(own, "', '") + "')"
	}
	list, err := s.ask(ctx, "SELECT schema_name, default_character_set_name, default_collation_name FROM information_schema.schemata WHERE schema_name"+where+" ORDER BY schema_name")
	if err != nil {
		return nil, err
	}
	if len(list) > maxDatabases {
		return nil, fmt.Errorf("the server has %d databases, want at most %d", len(list), maxDatabases)
	}
	var all []*database
	byName := map[string]*database{}
	for _, r := range list {
		if len(r) != 3 {
			return nil, fmt.Errorf("the server gave %d fields for a database, want 3", len(r))
		}
		d := &database{name: r[0], charset: r[1], collation: r[2]}
		all = append(all, d)
		byName[d.name] = d
	}
	if len(all) > 0 {
		err = s.tables(ctx, byName, "table_schema"+where)
	}
	return all, err
}

// tables adds what is known of the tables.
func (s *server) tables(ctx context.Context, byName map[string]*database, where string) error {
	list, err := s.ask(ctx, "SELECT table_schema, lower(coalesce(engine, '')), count(*), cast(coalesce(sum(data_length), 0) AS unsigned) FROM information_schema.tables WHERE "+where+" GROUP BY 1, 2 ORDER BY 1, 2")
	if err != nil {
		return err
	}
	for _, r := range list {
		if len(r) != 4 || byName[r[0]] == nil {
			continue // made in the meantime
		}
		d := byName[r[0]]
		n, _ := strconv.ParseInt(r[2], 10, 64)
		size, _ := strconv.ParseInt(r[3], 10, 64)
		d.tables += n
		d.size += max(size, 0)
		if r[1] != "" && !slices.Contains(transactional, r[1]) {
			d.unsafe = append(d.unsafe, r[1])
		}
	}
	return nil
}
