// Package postgres makes streams of PostgreSQL databases with pg_dump, and writes them back with pg_restore and psql.
//
// Each database is a stream of its own, called as EscapeName writes its name, with ".dump" (pg_dump's custom format) or ".sql" behind it; "globals.sql" holds roles and tablespaces. A stream is
// one consistent state of its database; different streams of a snapshot are of different moments. Dumps are not compressed by the dumper, since what is compressed has nothing in common with
// what it was yesterday. There are no points: a dump starts from nothing, and the state that it has gets no name from the server that would last.
package postgres

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"firn/internal/program"
	"firn/internal/source"
)

// Kind is how snapshots call sources of this package.
const Kind = "postgres"

// all stands for every database of a server.
const all = "all"

// globals is the stream of what belongs to no database.
const globals = "globals.sql"

// Settings of a database, or of all of a server.
var Settings = append([]source.Setting{
	{Name: "host", Value: "HOST", Default: "libpq's", Help: "server, or the folder of its socket"},
	{Name: "port", Value: "N", Default: "libpq's", Help: "its port"},
	{Name: "user", Value: "ROLE", Default: "libpq's", Help: "role to connect as; its password comes from the password file, never from here"},
	{Name: "service", Value: "NAME", Help: "service of the connection service file that says all this"},
	{Name: "service_file", Value: "FILE", Default: "~/.pg_service.conf", Help: "that file"},
	{Name: "passfile", Value: "FILE", Default: "~/.pgpass", Help: "the password file"},
	{Name: "maintenance", Value: "DATABASE", Default: "postgres", Help: "database to ask in which databases and roles there are"},
	{Name: "format", Value: "custom|plain", Default: "custom", Help: "what pg_dump writes: custom keeps the properties of the database and restores in parts, plain is SQL"},
	{Name: "exclude", Value: "NAME,…", Help: "with all: leave out databases of these names or patterns"},
	{Name: "globals", Value: "yes|no", Default: "yes with all", Help: "store and restore roles and tablespaces, too"},
	{Name: "role_passwords", Value: "yes|no", Default: "yes", Help: "with the roles store their passwords (hashed); only a superuser can"},
	{Name: "dump_options", Value: "OPTIONS", Help: "more options for pg_dump, with spaces between them"},
	{Name: "programs", Value: "FOLDER", Default: "PATH", Help: "where pg_dump and the others are, such as /usr/lib/postgresql/17/bin"},
	{Name: "force", Value: "yes|no", Default: "no", Help: "restoring: replace what databases have already, and roles that exist"},
	{Name: "owner", Value: "yes|no", Default: "yes", Help: "restoring: owners and grants as they were; their roles have to exist"},
}, program.Common...)

// Source is one database or all of a server. It implements source.Producer.
type Source struct {
	server    *server
	database  string // empty: all
	plain     bool
	exclude   source.Names
	globals   bool
	passwords bool
	options   []string
}

// New returns the database of that name, or all of the server's for "all". It fails with *source.SettingError.
func New(rest string, o *source.Settings, _ source.Host) (*Source, error) {
	s := &Source{server: newServer(o), database: rest, exclude: o.Names("exclude"), passwords: o.Bool("role_passwords", true)}
	if rest == all {
		s.database = ""
	}
	s.globals = o.Bool("globals", rest == all)
	s.plain = readFormat(o)
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

func readFormat(o *source.Settings) (plain bool) {
	switch o.Text("format", "custom") {
	case "plain", "sql":
		return true
	case "custom":
	default:
		o.Fail("format", "want custom or plain")
	}
	return false
}

// refused says why an option cannot be given to the dumper.
func refused(option string) string {
	name, _, _ := strings.Cut(option, "=")
	switch {
	case !strings.HasPrefix(option, "-") || len(option) < 2:
		return "want options that begin with - and hold their values, such as --exclude-table=log"
	case slices.Contains([]string{"--file", "--format", "--dbname", "--password", "--compress", "--jobs"}, name), !strings.HasPrefix(option, "--") && strings.ContainsAny(option[1:2], "fFdWZj"):
		return "where the dump goes, its format and the connection are settled otherwise"
	}
	return ""
}

// Prepare implements source.Producer. It connects to every database, so that one that cannot be read is known before hours have gone by.
func (s *Source) Prepare(ctx context.Context, _ []source.Have) (*source.Batch, error) {
	if err := s.server.find("pg_dump", "psql"); err != nil {
		return nil, err
	}
	names := []string{s.database}
	if s.database == "" {
		found, err := s.server.databases(ctx)
		if err != nil {
			return nil, err
		}
		names = slices.DeleteFunc(found, s.exclude.Match)
		if len(names) == 0 {
			return nil, fmt.Errorf("no database of the server is left to be stored")
		}
	}
	b := &source.Batch{Base: -1}
	for _, name := range names {
		size, err := s.server.size(ctx, name)
		if err != nil {
			return nil, err
		}
		b.Streams = append(b.Streams, source.Stream{Path: streamOf(name, s.plain), Size: size, Open: s.dump(name)})
	}
	if s.globals {
		if err := s.checkGlobals(ctx); err != nil {
			return nil, err
		}
		b.Streams = append(b.Streams, source.Stream{Path: globals, Open: s.dumpGlobals})
	}
	slices.SortFunc(b.Streams, func(x, y source.Stream) int { return cmp.Compare(x.Path, y.Path) })
	return b, nil
}

// streamOf is the path of the dump of a database.
func streamOf(database string, plain bool) string {
	suffix := ".dump"
	if plain {
		suffix = ".sql"
	}
	return source.EscapeName(database, suffix, globals) + suffix
}

// dump makes the stream of one database.
func (s *Source) dump(database string) func(context.Context) (io.ReadCloser, error) {
	args := []string{"--no-password", "--format=custom", "--compress=0"}
	if s.plain {
		args = []string{"--no-password", "--format=plain"}
	}
	args = append(args, s.options...)
	c := s.server.command("pg_dump", fmt.Sprintf("database %q", database), append(args, "--dbname="+connection(database))...)
	return func(ctx context.Context) (io.ReadCloser, error) { return c.Start(ctx) }
}

// checkGlobals fails early where the dump of the globals would late.
func (s *Source) checkGlobals(ctx context.Context) error {
	if err := s.server.find("pg_dumpall"); err != nil {
		return err
	}
	if !s.passwords {
		return nil
	}
	return s.server.mayReadRoles(ctx)
}

func (s *Source) dumpGlobals(ctx context.Context) (io.ReadCloser, error) {
	args := []string{"--no-password", "--globals-only", "--dbname=" + connection(s.server.maintenance)}
	if !s.passwords {
		args = append(args, "--no-role-passwords")
	}
	return s.server.command("pg_dumpall", "roles and tablespaces", args...).Start(ctx)
}
