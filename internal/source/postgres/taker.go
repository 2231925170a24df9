package postgres

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"firn/internal/source"
)

// cleanUp is how long the removal of a database may take that was restored in part.
const cleanUp = time.Minute

// maxGlobals bounds what is read of roles and tablespaces, in bytes.
const maxGlobals = 256 << 20

// Taker writes dumps into a server. It implements source.Taker.
type Taker struct {
	server   *server
	database string // that a single dump goes into; empty: each into the one that it came from
	globals  bool
	force    bool
	owner    bool
	plans    map[string]plan // by path of the stream
}

// plan is what becomes of one stream.
type plan struct {
	from, to string // databases
	plain    bool
	there    bool // the database is there already
	full     bool // and has something in it
}

// NewTaker returns the database of that name, or, for "all", whichever the dumps came from. It fails with *source.SettingError.
func NewTaker(rest string, o *source.Settings) (*Taker, error) {
	t := &Taker{server: newServer(o), database: rest, globals: o.Bool("globals", rest == all), force: o.Bool("force", false), owner: o.Bool("owner", true)}
	readFormat(o)
	if rest == all {
		t.database = ""
	}
	if rest == "" || strings.ContainsRune(rest, 0) {
		return nil, &source.MissingError{What: "database", Name: rest}
	}
	return t, o.Err()
}

// databaseOf is the inverse of streamOf.
func databaseOf(path string) (name string, plain, ok bool) {
	text, plain := strings.CutSuffix(path, ".sql")
	if !plain {
		if text, ok = strings.CutSuffix(path, ".dump"); !ok {
			return "", false, false
		}
	}
	name, ok = source.UnescapeName(text)
	return name, plain, ok && name != "" && path != globals
}

// Missing implements source.Taker. A database that is there and empty is filled; what has something in it is refused, unless what it has may be replaced. Roles come first.
func (t *Taker) Missing(ctx context.Context, links []source.Link) ([]source.Link, error) {
	if err := t.server.find("psql"); err != nil {
		return nil, err
	}
	t.plans = map[string]plan{}
	var wanted []source.Link
	for _, l := range links {
		name, plain, ok := databaseOf(l.Path)
		switch {
		case l.Path == globals && (t.globals || len(links) == 1):
			wanted = append(wanted, l)
		case l.Path == globals:
		case !ok:
			return nil, &source.TargetError{Target: t.String(), Reason: fmt.Sprintf("%q is no dump of a database", l.Path)}
		default:
			wanted = append(wanted, l)
			t.plans[l.Path] = plan{from: name, to: name, plain: plain}
		}
	}
	wanted, err := t.choose(wanted)
	if err != nil {
		return nil, err
	}
	for path, p := range t.plans {
		if p, err = t.look(ctx, p); err != nil {
			return nil, err
		}
		t.plans[path] = p
	}
	slices.SortFunc(wanted, func(x, y source.Link) int {
		return cmp.Or(-compareBool(x.Path == globals, y.Path == globals), cmp.Compare(x.Path, y.Path))
	})
	return wanted, nil
}

func compareBool(x, y bool) int {
	switch {
	case x == y:
		return 0
	case x:
		return 1
	}
	return -1
}

// String is how errors call the target.
func (t *Taker) String() string { return "postgres:" + cmp.Or(t.database, all) }

// choose keeps, where one database is the target, the dump that goes there: the only one, whatever its name, or that of the same name.
func (t *Taker) choose(links []source.Link) ([]source.Link, error) {
	if t.database == "" || len(t.plans) == 0 {
		return links, nil
	}
	path := ""
	for at, p := range t.plans {
		if len(t.plans) == 1 || p.from == t.database {
			path = at
		}
	}
	if path == "" {
		return nil, &source.TargetError{Target: t.String(), Reason: fmt.Sprintf("there are dumps of %d databases, and none of one of that name", len(t.plans))}
	}
	p := t.plans[path]
	p.to = t.database
	t.plans = map[string]plan{path: p}
	return slices.DeleteFunc(links, func(l source.Link) bool { return l.Path != path && l.Path != globals }), nil
}

// hasOwn asks whether there is anything in a database but what extensions and the system made.
const hasOwn = `SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') ` +
	`AND n.nspname !~ '^pg_(toast|temp)' AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') ` +
	`AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))`

// look finds out what is there of a database.
func (t *Taker) look(ctx context.Context, p plan) (plan, error) {
	program := "pg_restore"
	if p.plain {
		program = "psql"
	}
	if err := t.server.find(program); err != nil {
		return p, err
	}
	n, err := t.server.ask1(ctx, t.server.maintenance, "SELECT count(*) FROM pg_catalog.pg_database WHERE datname = "+literal(p.to))
	if err != nil || n == "0" {
		return p, err
	}
	p.there = true
	full, err := t.server.ask1(ctx, p.to, hasOwn)
	if err != nil {
		return p, err
	}
	p.full = full != "f"
	target := "postgres:" + p.to
	switch {
	case p.full && !t.force:
		return p, &source.TargetError{Target: target, Exists: true, Reason: "the database has tables already"}
	case p.full && p.plain:
		return p, &source.TargetError{Target: target, Exists: true, Reason: "the database has tables already, and a plain dump goes only into an empty one"}
	}
	return p, nil
}

// Take implements source.Taker. A database that it made is removed again where it could not be filled.
func (t *Taker) Take(ctx context.Context, l source.Link) error {
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if l.Path == globals {
		return t.takeGlobals(ctx, r)
	}
	p, ok := t.plans[l.Path]
	if !ok {
		return &source.TargetError{Target: t.String(), Reason: fmt.Sprintf("nobody asked for %q", l.Path)}
	}
	// What is thawed takes days, in which others make and fill databases.
	if p, err = t.look(ctx, plan{from: p.from, to: p.to, plain: p.plain}); err != nil {
		return err
	}
	if err := t.fill(ctx, p, r); err != nil {
		if !p.there {
			t.drop(ctx, p.to)
		}
		return err
	}
	return nil
}

// fill writes a dump into its database.
func (t *Taker) fill(ctx context.Context, p plan, r io.Reader) error {
	whole := !p.plain && p.from == p.to // the dump knows how to make its database, with all properties
	if !p.there && !whole {
		if err := t.create(ctx, p.to); err != nil {
			return err
		}
	}
	what := fmt.Sprintf("database %q", p.to)
	if p.plain {
		c := t.server.command("psql", what, "--no-psqlrc", "--no-password", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1", "--dbname="+connection(p.to), "--file=-")
		c.Idle = 0 // an index may take long
		return c.Feed(ctx, r)
	}
	args := []string{"--no-password", "--exit-on-error"}
	if !t.owner {
		args = append(args, "--no-owner", "--no-privileges")
	}
	switch {
	case !p.there && whole:
		args = append(args, "--create", "--dbname="+connection(t.server.maintenance))
	case p.full:
		args = append(args, "--clean", "--if-exists", "--single-transaction", "--dbname="+connection(p.to))
	default:
		args = append(args, "--dbname="+connection(p.to))
	}
	c := t.server.command("pg_restore", what, args...)
	c.Idle = 0
	return c.Feed(ctx, r)
}

func (t *Taker) create(ctx context.Context, database string) error {
	_, err := t.server.ask(ctx, t.server.maintenance, "CREATE DATABASE "+ident(database)+" TEMPLATE template0")
	return err
}

// drop removes a database that was made here, also where the restore was cancelled. A session that has not noticed yet is ended, where the server can do that.
func (t *Taker) drop(ctx context.Context, database string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	if _, err := t.server.ask(ctx, t.server.maintenance, "DROP DATABASE IF EXISTS "+ident(database)+" WITH (FORCE)"); err != nil {
		_, _ = t.server.ask(ctx, t.server.maintenance, "DROP DATABASE IF EXISTS "+ident(database))
	}
}

// takeGlobals makes the roles and tablespaces that are not there.
func (t *Taker) takeGlobals(ctx context.Context, r io.Reader) error {
	script, err := io.ReadAll(io.LimitReader(r, maxGlobals+1))
	if err == nil && len(script) > maxGlobals {
		err = fmt.Errorf("%q has more than %d bytes", globals, maxGlobals)
	}
	if err != nil {
		return err
	}
	have := existing{roles: map[string]bool{}, tablespaces: map[string]bool{}, force: t.force}
	for sql, set := range map[string]map[string]bool{"SELECT rolname FROM pg_catalog.pg_roles": have.roles, "SELECT spcname FROM pg_catalog.pg_tablespace": have.tablespaces} {
		names, err := t.server.ask(ctx, t.server.maintenance, sql)
		if err != nil {
			return err
		}
		for _, n := range names {
			set[n] = true
		}
	}
	c := t.server.command("psql", "roles and tablespaces", "--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname="+connection(t.server.maintenance), "--file=-")
	return c.Feed(ctx, bytes.NewReader(have.leaveOut(script)))
}
