package mysql

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"firn/internal/source"
)

// cleanUp is how long the removal of a database may take that was restored in part.
const cleanUp = time.Minute

// maxScript bounds what is read of accounts and grants, in bytes.
const maxScript = 256 << 20

// Taker writes dumps into a server. It implements source.Taker.
type Taker struct {
	server   *server
	database string // that a single dump goes into; empty: each into the one that it came from
	users    bool
	force    bool
	plans    map[string]plan // by path of the stream
	accounts map[string]bool // that were there before
}

// plan is what becomes of one stream.
type plan struct {
	from, to string // databases
	there    bool   // the database is there already
}

// NewTaker returns the database of that name, or, for "all", whichever the dumps came from. It fails with *source.SettingError.
func NewTaker(rest string, o *source.Settings) (*Taker, error) {
	t := &Taker{server: newServer(o), database: rest, users: o.Bool("users", rest == all), force: o.Bool("force", false)}
	if rest == all {
		t.database = ""
	}
	if rest == "" || strings.ContainsRune(rest, 0) {
		return nil, &source.MissingError{What: "database", Name: rest}
	}
	return t, o.Err()
}

// String is how errors call the target.
func (t *Taker) String() string { return "mysql:" + cmp.Or(t.database, all) }

// databaseOf is the inverse of streamOf.
func databaseOf(path string) (string, bool) {
	text, ok := strings.CutSuffix(path, ".sql")
	if !ok {
		return "", false
	}
	name, ok := source.UnescapeName(text)
	return name, ok && name != ""
}

// turn is when a stream is taken: what accounts may do is said last, since it may speak of tables.
func turn(path string) int {
	switch path {
	case users:
		return 0
	case grants:
		return 2
	}
	return 1
}

// isScript reports whether a stream is of accounts and not of a database.
func isScript(path string) bool { return turn(path) != 1 }

// Missing implements source.Taker. A database that is there and empty is filled; one with tables is refused, unless these may be replaced. Accounts come first, grants last.
func (t *Taker) Missing(ctx context.Context, links []source.Link) ([]source.Link, error) {
	if _, err := t.server.find(client); err != nil {
		return nil, err
	}
	t.plans, t.accounts = map[string]plan{}, map[string]bool{}
	var wanted []source.Link
	for _, l := range links {
		name, ok := databaseOf(l.Path)
		switch {
		case isScript(l.Path) && (t.users || len(links) == 1):
			wanted = append(wanted, l)
		case isScript(l.Path):
		case !ok:
			return nil, &source.TargetError{Target: t.String(), Reason: fmt.Sprintf("%q is no dump of a database", l.Path)}
		default:
			wanted = append(wanted, l)
			t.plans[l.Path] = plan{from: name, to: name}
		}
	}
	wanted, err := t.choose(wanted)
	if err != nil {
		return nil, err
	}
	for path, p := range t.plans {
		if t.plans[path], err = t.look(ctx, p); err != nil {
			return nil, err
		}
	}
	if slices.ContainsFunc(wanted, func(l source.Link) bool { return isScript(l.Path) }) && !t.force {
		list, err := t.server.accounts(ctx)
		if err != nil {
			return nil, err
		}
		for _, a := range list {
			t.accounts[a.line()] = true
		}
	}
	slices.SortFunc(wanted, func(x, y source.Link) int {
		return cmp.Or(cmp.Compare(turn(x.Path), turn(y.Path)), cmp.Compare(x.Path, y.Path))
	})
	return wanted, nil
}

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
	return slices.DeleteFunc(links, func(l source.Link) bool { return l.Path != path && !isScript(l.Path) }), nil
}

// look finds out what is there of a database.
func (t *Taker) look(ctx context.Context, p plan) (plan, error) {
	if slices.Contains(own, strings.ToLower(p.to)) {
		return p, &source.TargetError{Target: "mysql:" + p.to, Exists: true, Reason: "the database belongs to the server"}
	}
	list, err := t.server.databases(ctx, p.to)
	if err != nil || len(list) == 0 {
		return p, err
	}
	p.there = true
	if list[0].tables > 0 && !t.force {
		return p, &source.TargetError{Target: "mysql:" + p.to, Exists: true, Reason: "the database has tables already"}
	}
	return p, nil
}

// Take implements source.Taker. A database that it made, and no other, is removed again where it could not be filled.
func (t *Taker) Take(ctx context.Context, l source.Link) error {
	r, err := l.Open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }()
	if isScript(l.Path) {
		return t.takeScript(ctx, l.Path, r)
	}
	p, ok := t.plans[l.Path]
	if !ok {
		return &source.TargetError{Target: t.String(), Reason: fmt.Sprintf("nobody asked for %q", l.Path)}
	}
	// What is thawed takes days, in which others make and fill databases.
	if p, err = t.look(ctx, plan{from: p.from, to: p.to}); err != nil {
		return err
	}
	return t.fill(ctx, p, r)
}

// properties are what our line says, in words that need no quoting.
var properties = regexp.MustCompile(`(?m)^` + headBegin + `charset=([a-z0-9_]+) collation=([a-z0-9_]+)$`)

// fill writes a dump into its database.
func (t *Taker) fill(ctx context.Context, p plan, r io.Reader) (err error) {
	in := bufio.NewReaderSize(r, joinBuffer)
	made := false
	defer func() {
		if made && err != nil {
			t.drop(ctx, p.to)
		}
	}()
	if !p.there {
		begin, err := in.Peek(4 << 10)
		if err != nil && err != io.EOF {
			return err
		}
		sql := "CREATE DATABASE " + ident(p.to)
		if m := properties.FindSubmatch(begin); m != nil {
			sql += fmt.Sprintf(" CHARACTER SET %s COLLATE %s", m[1], m[2])
		}
		if _, err := t.server.ask(ctx, sql); err != nil { // such as one that was made meanwhile
			return err
		}
		made = true
	}
	return t.feed(ctx, fmt.Sprintf("database %q", p.to), newJoiner(in, p.from, p.to), "--database="+p.to)
}

// feed runs a script.
func (t *Taker) feed(ctx context.Context, what string, script io.Reader, args ...string) error {
	c, err := t.server.command(client, what, append([]string{"--batch", "--binary-mode", "--connect-timeout=30"}, args...)...)
	if err != nil {
		return err
	}
	c.Idle = 0 // an index may take long
	return c.Feed(ctx, script)
}

// drop removes a database that was made here, also where the restore was cancelled.
func (t *Taker) drop(ctx context.Context, name string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanUp)
	defer cancel()
	_, _ = t.server.ask(ctx, "DROP DATABASE IF EXISTS "+ident(name))
}

// takeScript makes the accounts that are not there, or gives them their grants.
func (t *Taker) takeScript(ctx context.Context, path string, r io.Reader) error {
	text, err := io.ReadAll(io.LimitReader(r, maxScript+1))
	if err == nil && len(text) > maxScript {
		err = fmt.Errorf("%q has more than %d bytes", path, maxScript)
	}
	if err != nil {
		return err
	}
	return t.feed(ctx, "accounts", bytes.NewReader([]byte(leaveOut(string(text), t.accounts))))
}
