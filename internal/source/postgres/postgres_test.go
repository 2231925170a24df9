//go:build unix

package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"firn/internal/dbtest"
	"firn/internal/source"
)

// settings of a server, and more.
func settings(s *dbtest.Server, more ...string) map[string]string {
	m := map[string]string{"user": "postgres"}
	if s != nil {
		m["host"] = s.Dir
	}
	for i := 0; i < len(more); i += 2 {
		m[more[i]] = more[i+1]
	}
	return m
}

func prepare(t *testing.T, rest string, values map[string]string) (*source.Batch, error) {
	t.Helper()
	s, err := New(rest, source.NewSettings(Settings, values), source.Host{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Prepare(t.Context(), nil)
}

// store reads all streams.
func store(t *testing.T, rest string, values map[string]string) map[string][]byte {
	t.Helper()
	b, err := prepare(t, rest, values)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.IsSortedFunc(b.Streams, func(x, y source.Stream) int { return strings.Compare(x.Path, y.Path) }) || b.Base != -1 || len(b.Points) > 0 {
		t.Fatalf("%+v", b)
	}
	all := map[string][]byte{}
	for _, s := range b.Streams {
		r, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if all[s.Path], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	return all
}

func links(all map[string][]byte) (list []source.Link) {
	for _, path := range slices.Sorted(maps.Keys(all)) {
		list = append(list, source.Link{Path: path, Size: int64(len(all[path])), Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(all[path])), nil
		}})
	}
	return list
}

func take(t *testing.T, rest string, values map[string]string, all map[string][]byte) error {
	t.Helper()
	taker, err := NewTaker(rest, source.NewSettings(Settings, values))
	if err != nil {
		t.Fatal(err)
	}
	missing, err := taker.Missing(t.Context(), links(all))
	for _, l := range missing {
		if err == nil {
			err = taker.Take(t.Context(), l)
		}
	}
	return err
}

// odd are names of databases as nobody should choose them, and somebody does.
var odd = []string{"globals", "a/b", "größe \"quo'te\" back\\slash new\nline 100%", "dbname=postgres", "-d", ".."}

const schema = `create table t(id int primary key, body text, raw bytea); create view v as select id from t; create sequence s start 7;
create function f() returns int language sql as $$select 1; -- insert into
$$; insert into t select i, 'text ' || i || E'\n\t''"\\', decode(md5(i::text), 'hex') from generate_series(1, 500) i; select nextval('s'); select lo_from_bytea(0, '\x00ff01');
create role reader; grant select on t to reader; comment on table t is 'new
line'`

// state is what a database has, as its own dump says.
func state(t *testing.T, s *dbtest.Server, database string) string {
	t.Helper()
	all := store(t, database, settings(s, "format", "plain"))
	if len(all) != 1 {
		t.Fatal(len(all))
	}
	var lines []string
	for _, text := range all {
		for l := range strings.Lines(string(text)) {
			if !strings.HasPrefix(l, `\restrict`) && !strings.HasPrefix(l, `\unrestrict`) {
				lines = append(lines, l)
			}
		}
	}
	return strings.Join(lines, "")
}

func TestServer(t *testing.T) {
	s := dbtest.Postgres(t)
	s.SQL("", "create database shop; alter database shop set work_mem = '5MB'")
	s.SQL("shop", schema)
	s.SQL("", `create role "we""ird" login password 'hunter2'; comment on role "we""ird" is 'a;b''c
d'; grant reader to "we""ird"; create role needspassword login password 'x'; create role nobody_special login`)
	for _, name := range odd {
		s.SQL("", "create database "+ident(name))
		s.SQL(name, "create table named as select "+literal(name)+"::text as name")
	}
	t.Run("round trip", func(t *testing.T) { testRoundTrip(t, s) })
	t.Run("plain", func(t *testing.T) { testPlain(t, s) })
	t.Run("targets", func(t *testing.T) { testTargets(t, s) })
	t.Run("half a restore", func(t *testing.T) { testHalf(t, s) })
	t.Run("meanwhile", func(t *testing.T) { testMeanwhile(t, s) })
	t.Run("bad input", func(t *testing.T) { testBadInput(t, s) })
	t.Run("killed", func(t *testing.T) { testKilled(t, s) })
	t.Run("files of libpq", func(t *testing.T) { testFiles(t, s) })
}

// testRoundTrip takes everything to another server.
func testRoundTrip(t *testing.T, s *dbtest.Server) {
	all := store(t, "all", settings(s))
	if len(all) != len(odd)+4 || all["globals.sql"] == nil || all["globals.dump"] == nil || all["a%2Fb.dump"] == nil || all["%2E%2E.dump"] == nil {
		t.Fatal(slices.Sorted(maps.Keys(all)))
	}
	for path, content := range all {
		if path != globals && !bytes.HasPrefix(content, []byte("PGDMP")) {
			t.Errorf("%s begins with %.20q", path, content)
		}
	}
	other := dbtest.Postgres(t)
	other.SQL("", "create role reader nologin valid until '2030-01-01'")
	if err := take(t, "all", settings(other), all); err != nil {
		t.Fatal(err)
	}
	if err := take(t, "all", settings(other), all); !exists(err) {
		t.Errorf("a second time: %v", err)
	}
	if a, b := state(t, s, "shop"), state(t, other, "shop"); a != b {
		t.Errorf("was\n%s\nis\n%s", a, b)
	}
	for _, name := range odd {
		if got := other.SQL(name, "select name from named"); got != name {
			t.Errorf("%q is called %q", name, got)
		}
	}
	const roles = "select rolname, rolcanlogin, rolpassword, rolvaliduntil from pg_authid where rolname !~ '^pg_' and rolname <> 'reader' order by 1"
	if a, b := s.SQL("", roles), other.SQL("", roles); a != b {
		t.Errorf("roles were\n%s\nare\n%s", a, b)
	}
	if got := other.SQL("", "select rolvaliduntil is not null from pg_roles where rolname = 'reader'"); got != "t" {
		t.Error("a role that was there has been changed")
	}
	if got := other.SQL("shop", "show work_mem; select has_table_privilege('reader', 't', 'select'), pg_has_role('we\"ird', 'reader', 'member')"); got != "5MB\nt|t" {
		t.Error(got)
	}
}

func exists(err error) bool {
	var target *source.TargetError
	return errors.As(err, &target) && target.Exists
}

func testPlain(t *testing.T, s *dbtest.Server) {
	all := store(t, "shop", settings(s, "format", "plain", "globals", "yes"))
	if len(all) != 2 || !bytes.Contains(all["shop.sql"], []byte("CREATE TABLE")) {
		t.Fatal(slices.Collect(maps.Keys(all)))
	}
	if err := take(t, "copy of shop", settings(s, "globals", "no"), all); err != nil {
		t.Fatal(err)
	}
	if a, b := state(t, s, "shop"), state(t, s, "copy of shop"); a != b {
		t.Errorf("was\n%s\nis\n%s", a, b)
	}
	if err := take(t, "copy of shop", settings(s, "force", "yes"), all); !exists(err) {
		t.Error(err)
	}
	if b := store(t, "globals", settings(s, "format", "plain")); b["%67lobals.sql"] == nil {
		t.Error("the database globals and the roles share a name")
	}
}

func testTargets(t *testing.T, s *dbtest.Server) {
	shop := store(t, "shop", settings(s))
	s.SQL("", "create database old")
	s.SQL("old", "create table t(id text); insert into t values ('mine'); create table mine(id int)")
	if err := take(t, "old", settings(s), shop); !exists(err) {
		t.Fatal(err)
	}
	if got := s.SQL("old", "select id from t"); got != "mine" {
		t.Fatal("what was there has gone")
	}
	if err := take(t, "old", settings(s, "force", "yes"), shop); err != nil {
		t.Fatal(err)
	}
	if got := s.SQL("old", "select count(*) from t; select count(*) from mine"); got != "500\n0" {
		t.Fatal(got)
	}
	s.SQL("", "create database empty")
	if err := take(t, "empty", settings(s, "owner", "no"), shop); err != nil {
		t.Fatal(err)
	}
	both := store(t, "all", settings(s, "exclude", "template*,postgres,copy*"))
	if err := take(t, "nowhere", settings(s), both); err == nil || exists(err) {
		t.Fatalf("many dumps into one database: %v", err)
	}
	s.SQL("", `drop database "a/b"`)
	if err := take(t, "a/b", settings(s), both); err != nil {
		t.Fatal(err)
	}
	if got := s.SQL("a/b", "select name from named"); got != "a/b" {
		t.Fatal(got)
	}
	if err := take(t, "new", settings(s), map[string][]byte{"a.tar": nil}); err == nil {
		t.Fatal("a stream of another kind is taken")
	}
}

// testHalf: what cannot be restored whole leaves no database behind.
func testHalf(t *testing.T, s *dbtest.Server) {
	for _, format := range []string{"custom", "plain"} {
		all := store(t, "shop", settings(s, "format", format))
		for path, content := range all {
			broken := errors.New("a pack is lost")
			l := source.Link{Path: path, Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(content[:len(content)/2]), failing{broken})), nil
			}}
			for _, to := range []string{"half", "shop"} {
				taker, err := NewTaker(to, source.NewSettings(Settings, settings(s)))
				if err != nil {
					t.Fatal(err)
				}
				if to == "shop" {
					s.SQL("", "alter database shop rename to shop_away")
				}
				missing, err := taker.Missing(t.Context(), []source.Link{l})
				if err != nil || len(missing) != 1 {
					t.Fatal(missing, err)
				}
				if err := taker.Take(t.Context(), l); !errors.Is(err, broken) {
					t.Errorf("%s: %v", format, err)
				}
				if got := s.SQL("", "select count(*) from pg_database where datname = '"+to+"'"); got != "0" {
					t.Errorf("%s: half a database is left", format)
				}
				if to == "shop" {
					s.SQL("", "alter database shop_away rename to shop")
				}
			}
			short := map[string][]byte{path: content[:len(content)/2]}
			if err := take(t, "half", settings(s), short); format == "custom" && err == nil {
				t.Errorf("%s: half a dump is restored", format)
			}
		}
	}
}

// testMeanwhile: a database that others make while packs are thawed is theirs.
func testMeanwhile(t *testing.T, s *dbtest.Server) {
	all := links(store(t, "shop", settings(s)))
	taker, err := NewTaker("meanwhile", source.NewSettings(Settings, settings(s)))
	if err != nil {
		t.Fatal(err)
	}
	if missing, err := taker.Missing(t.Context(), all); err != nil || len(missing) != 1 {
		t.Fatal(missing, err)
	}
	s.SQL("", "create database meanwhile")
	s.SQL("meanwhile", "create table mine(id int)")
	if err := taker.Take(t.Context(), all[0]); !exists(err) {
		t.Errorf("got %v", err)
	}
	if got := s.SQL("meanwhile", "select count(*) from mine"); got != "0" {
		t.Error("it is gone: ", got)
	}
	s.SQL("", "drop database meanwhile")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func testBadInput(t *testing.T, s *dbtest.Server) {
	silent := listenSilently(t)
	var missing *source.MissingError
	var producer *source.ProducerError
	var program *source.ProgramError
	for name, c := range map[string]struct {
		rest   string
		values map[string]string
		want   any
		says   string
	}{
		"no such database":  {"nosuch", settings(s), &missing, `database "nosuch" does not exist`},
		"server is down":    {"shop", settings(nil, "host", t.TempDir()), &producer, "connection to server"},
		"needs a password":  {"shop", settings(s, "user", "needspassword"), &producer, "no password supplied"},
		"no such role":      {"shop", settings(s, "user", "nosuch"), &producer, "does not exist"},
		"roles unreadable":  {"all", settings(s, "user", "nobody_special"), &errPasswords, "role_passwords"},
		"silent server":     {"shop", settings(nil, "host", silent, "timeout", "1s"), &producer, "psql"},
		"no programs":       {"shop", settings(s, "programs", t.TempDir()), &program, "pg_dump"},
		"nothing is left":   {"all", settings(s, "exclude", "*"), nil, "no database"},
		"no such service":   {"shop", settings(s, "service", "nosuch"), &producer, "nosuch"},
		"no maintenance db": {"all", settings(s, "maintenance", "nosuch"), &producer, "nosuch"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := prepare(t, c.rest, c.values)
			if err == nil || c.want != nil && c.want != &errPasswords && !errors.As(err, c.want) || c.want == &errPasswords && !errors.Is(err, errPasswords) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%T %v", err, err)
			}
		})
	}
	if _, err := prepare(t, "all", settings(s, "user", "nobody_special", "role_passwords", "no")); err != nil {
		t.Error(err)
	}
	b, err := prepare(t, "shop", settings(s, "user", "nobody_special"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Streams[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.As(err, &producer) || !strings.Contains(producer.Stderr, "permission denied") {
		t.Errorf("without rights: %v", err)
	}
	_ = r.Close()
	for _, values := range []map[string]string{{"port": "70000"}, {"format": "tar"}, {"dump_options": "--file=x"}, {"dump_options": "-"}, {"dump_options": "-fx"}, {"dump_options": "x"}, {"exclude": "["}, {"nosuch": ""}} {
		if _, err := New("x", source.NewSettings(Settings, values), source.Host{}); err == nil {
			t.Errorf("%v is accepted", values)
		}
	}
	for _, rest := range []string{"", "a\x00b"} {
		if _, err := New(rest, source.NewSettings(Settings, nil), source.Host{}); err == nil {
			t.Errorf("%q is accepted", rest)
		}
		if _, err := NewTaker(rest, source.NewSettings(Settings, nil)); err == nil {
			t.Errorf("%q is accepted as a target", rest)
		}
	}
}

// listenSilently stands for a server that takes connections and says nothing.
func listenSilently(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "firn-silent-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return dir
}

// testKilled: a dumper that is killed in the middle has made half a dump, which is none.
func testKilled(t *testing.T, s *dbtest.Server) {
	s.SQL("", "create database large")
	s.SQL("large", "create table t as select i, repeat(md5(i::text), 30) from generate_series(1, 20000) i")
	b, err := prepare(t, "large", settings(s))
	if err != nil {
		t.Fatal(err)
	}
	if size := b.Streams[0].Size; size < 10<<20 || size > 100<<20 {
		t.Errorf("20 MB are expected as %d", size)
	}
	r, err := b.Streams[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := io.ReadFull(r, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	killChild(t, "pg_dump")
	_, err = io.Copy(io.Discard, r)
	var producer *source.ProducerError
	if !errors.As(err, &producer) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
	s.SQL("", "drop database large with (force)")
}

// killChild kills the program of that name that this process has started.
func killChild(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc")
	}
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range all {
		var pid, parent int
		var comm, state string
		b, _ := os.ReadFile(f)
		if n, _ := fmt.Sscan(string(b), &pid, &comm, &state, &parent); n == 4 && parent == os.Getpid() && comm == "("+name+")" {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("%s does not run", name)
}

// testFiles: passwords and services come from the files of libpq.
func testFiles(t *testing.T, s *dbtest.Server) {
	dir := t.TempDir()
	pass, service := filepath.Join(dir, "pass"), filepath.Join(dir, "services")
	if err := os.WriteFile(pass, []byte("*:*:*:needspassword:x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(service, []byte("[shop]\nhost="+s.Dir+"\nuser=needspassword\ndbname=postgres\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.SQL("", "alter role needspassword superuser")
	all := store(t, "shop", map[string]string{"passfile": pass, "service_file": service, "service": "shop"})
	if len(all["shop.dump"]) < 1000 || !bytes.Contains(all["shop.dump"], []byte("text 17")) {
		t.Error("another database was stored")
	}
	if err := os.WriteFile(pass, []byte("*:*:*:needspassword:wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(t, "shop", map[string]string{"passfile": pass, "service_file": service, "service": "shop"}); err == nil || !strings.Contains(err.Error(), "password") {
		t.Errorf("%v", err)
	}
}
