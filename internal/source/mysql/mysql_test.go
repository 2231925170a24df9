//go:build unix

package mysql

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

// settings of a server, and more. No option file of the machine counts.
func settings(s *dbtest.Server, more ...string) map[string]string {
	m := map[string]string{"defaults_file": os.DevNull}
	if s != nil {
		m["socket"], m["user"] = s.Socket, "root"
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
var odd = []string{"users", "grants", "all", "a/b", "größe \"quo'te\\\" ba`ck\\slash 100%", "-d", "..", "a=b"}

const schema = "create table t(id int primary key, body text, raw blob, n int generated always as (id * 2) stored) default charset utf8mb4;" +
	`insert into t(id, body, raw) select seq, concat('text ', seq, '\n\t\'"\\;` + "\\n-- INSERT INTO `t` VALUES (1);\\n" + `größe'), unhex(md5(seq)) from seq_1_to_3000;
create table p(id int); insert into p values (1), (null), (3);
create view v as select id from t;
delimiter //
create procedure f() begin
INSERT INTO ` + "`p` VALUES (1);\nINSERT INTO `p`" + ` VALUES (2);
end//
create trigger tr before insert on p for each row set new.id = new.id + 1//
create event e on schedule every 1 day do delete from p//
delimiter ;
`

func TestServer(t *testing.T) {
	s := dbtest.MariaDB(t)
	s.SQL("", "create database shop character set latin1 collate latin1_german2_ci")
	s.SQL("shop", schema)
	s.SQL("", `create user 'we''ird'@'%' identified by 'hunter2' require ssl; create role boss; grant select on shop.t to boss; grant boss to 'we''ird'@'%'; set default role boss for 'we''ird'@'%';
		create user poor@localhost; grant select on shop.p to poor@localhost; create user secret@localhost identified by 'x'; grant all on *.* to secret@localhost`)
	for _, name := range odd {
		s.SQL("", "create database "+ident(name))
		s.SQL(name, "create table named as select "+literal(name)+" as name")
	}
	t.Run("round trip", func(t *testing.T) { testRoundTrip(t, s) })
	t.Run("targets", func(t *testing.T) { testTargets(t, s) })
	t.Run("half a restore", func(t *testing.T) { testHalf(t, s) })
	t.Run("meanwhile", func(t *testing.T) { testMeanwhile(t, s) })
	t.Run("engines", func(t *testing.T) { testEngines(t, s) })
	t.Run("bad input", func(t *testing.T) { testBadInput(t, s) })
	t.Run("killed", func(t *testing.T) { testKilled(t, s) })
	t.Run("option files", func(t *testing.T) { testFiles(t, s) })
}

// testRoundTrip takes everything to another server.
func testRoundTrip(t *testing.T, s *dbtest.Server) {
	all := store(t, "all", settings(s))
	if len(all) != len(odd)+3 || all["users.sql"] == nil || all["%75sers.sql"] == nil || all["%67rants.sql"] == nil || all["a%2Fb.sql"] == nil || all["%2E%2E.sql"] == nil {
		t.Fatal(slices.Sorted(maps.Keys(all)))
	}
	other := dbtest.MariaDB(t)
	other.SQL("", "create user poor@localhost identified by 'mine'")
	kept := other.SQL("", "show grants for poor@localhost")
	if err := take(t, "all", settings(other), all); err != nil {
		t.Fatal(err)
	}
	if err := take(t, "all", settings(other), all); !exists(err) {
		t.Errorf("a second time: %v", err)
	}
	again := store(t, "all", settings(other))
	for path, content := range all {
		if path != users && path != grants && !bytes.Equal(content, again[path]) {
			t.Errorf("%s: %s", path, differs(string(content), string(again[path])))
		}
	}
	for _, name := range odd {
		if got := other.SQL(name, "select name = "+literal(name)+" from named"); got != "1" {
			t.Errorf("%q is not called so", name)
		}
	}
	for _, sql := range []string{"show create user `we'ird`@`%`", "show grants for `we'ird`@`%`", "show grants for boss"} {
		if a, b := s.SQL("", sql), other.SQL("", sql); a != b {
			t.Errorf("%s was\n%s\nis\n%s", sql, a, b)
		}
	}
	if got := other.SQL("", "show grants for poor@localhost"); got != kept {
		t.Errorf("an account that was there has been changed: %s", got)
	}
	if err := take(t, "all", settings(other, "force", "yes"), all); err != nil {
		t.Fatal(err)
	}
	if got := other.SQL("", "show grants for poor@localhost"); !strings.Contains(got, "SELECT ON `shop`.`p`") || !strings.Contains(got, "IDENTIFIED") {
		t.Error(got)
	}
}

// differs shows the first line that does.
func differs(a, b string) string {
	was, is := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range min(len(was), len(is)) {
		if was[i] != is[i] {
			return fmt.Sprintf("line %d was\n%.500s\nis\n%.500s", i+1, was[i], is[i])
		}
	}
	return fmt.Sprintf("%d lines became %d", len(was), len(is))
}

func exists(err error) bool {
	var target *source.TargetError
	return errors.As(err, &target) && target.Exists
}

func testTargets(t *testing.T, s *dbtest.Server) {
	shop := store(t, "shop", settings(s))
	if text := string(shop["shop.sql"]); len(shop) != 1 || strings.Count(text, "\nINSERT INTO `t` ") != 3000 || strings.Contains(text, "USE `") || strings.Contains(text, "Dump completed on") {
		t.Error("the dump is not as it should be")
	}
	if err := take(t, "copy", settings(s), shop); err != nil {
		t.Fatal(err)
	}
	if got := s.SQL("", "select default_collation_name from information_schema.schemata where schema_name = 'copy'"); got != "latin1_german2_ci" {
		t.Error(got)
	}
	second := store(t, "copy", settings(s))["copy.sql"]
	names := strings.NewReplacer("Database: copy", "Database: shop", "database 'copy'", "database 'shop'", "ALTER DATABASE `copy`", "ALTER DATABASE `shop`")
	if a, b := string(shop["shop.sql"]), names.Replace(string(second)); a != b {
		t.Error(differs(a, b))
	}
	if err := take(t, "copy", settings(s), shop); !exists(err) {
		t.Fatal(err)
	}
	s.SQL("copy", "delete from t; create table mine(id int)")
	if err := take(t, "copy", settings(s, "force", "yes"), shop); err != nil {
		t.Fatal(err)
	}
	if got := s.SQL("copy", "select count(*) from t union all select count(*) from mine"); got != "3000\n0" {
		t.Fatal(got)
	}
	long := store(t, "shop", settings(s, "long_inserts", "yes", "users", "yes"))
	if n := strings.Count(string(long["shop.sql"]), "\nINSERT INTO `t` "); n != 1 || len(long) != 3 {
		t.Errorf("%d statements, %d streams", n, len(long))
	}
	s.SQL("", "drop database copy; create database copy")
	if err := take(t, "copy", settings(s), long); err != nil {
		t.Fatal(err)
	}
	both := store(t, "all", settings(s, "exclude", "copy*"))
	if err := take(t, "nowhere", settings(s), both); err == nil || exists(err) {
		t.Fatalf("many dumps into one database: %v", err)
	}
	if err := take(t, "mysql", settings(s, "force", "yes"), shop); !exists(err) {
		t.Fatalf("into the server's own: %v", err)
	}
	if err := take(t, "new", settings(s), map[string][]byte{"a.tar": nil}); err == nil {
		t.Fatal("a stream of another kind is taken")
	}
	s.SQL("", "drop database copy")
}

// testHalf: what cannot be restored whole leaves no database behind.
func testHalf(t *testing.T, s *dbtest.Server) {
	content := store(t, "shop", settings(s))["shop.sql"]
	broken := errors.New("a pack is lost")
	l := source.Link{Path: "shop.sql", Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(content[:len(content)/2]), failing{broken})), nil
	}}
	taker, err := NewTaker("half", source.NewSettings(Settings, settings(s)))
	if err != nil {
		t.Fatal(err)
	}
	if missing, err := taker.Missing(t.Context(), []source.Link{l}); err != nil || len(missing) != 1 {
		t.Fatal(missing, err)
	}
	if err := taker.Take(t.Context(), l); !errors.Is(err, broken) {
		t.Error(err)
	}
	wrong := bytes.Replace(content, []byte("CREATE TABLE `p`"), []byte("CREATE TABLE `p`("), 1)
	var producer *source.ProducerError
	if err := take(t, "half", settings(s), map[string][]byte{"shop.sql": wrong}); !errors.As(err, &producer) || !strings.Contains(producer.Stderr, "1064") {
		t.Error(err)
	}
	if got := s.SQL("", "show databases like 'half'"); got != "" {
		t.Error("half a database is left")
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
	s.SQL("", "create database meanwhile; create table meanwhile.mine(id int)")
	if err := taker.Take(t.Context(), all[0]); !exists(err) {
		t.Errorf("got %v", err)
	}
	if got := s.SQL("", "select count(*) from meanwhile.mine"); got != "0" {
		t.Error("it is gone: ", got)
	}
	s.SQL("", "drop database meanwhile")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// testEngines: tables that cannot be read as of one moment are told, unless they are locked.
func testEngines(t *testing.T, s *dbtest.Server) {
	s.SQL("", "create database isam; create table isam.t(id int) engine=myisam; create table isam.u(id int) engine=aria; create table isam.v(id int)")
	for lock, want := range map[string]int{"no": 1, "yes": 0} {
		b, err := prepare(t, "isam", settings(s, "lock", lock))
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Notes) != want || want == 1 && !strings.Contains(b.Notes[0], "aria, myisam") {
			t.Errorf("lock=%s: %q", lock, b.Notes)
		}
		if all := store(t, "isam", settings(s, "lock", lock)); !bytes.Contains(all["isam.sql"], []byte("ENGINE=MyISAM")) {
			t.Error("no dump")
		}
	}
	s.SQL("", "drop database isam")
}

func testBadInput(t *testing.T, s *dbtest.Server) {
	var missing *source.MissingError
	var producer *source.ProducerError
	var program *source.ProgramError
	for name, c := range map[string]struct {
		rest   string
		values map[string]string
		want   any
		says   string
	}{
		"no such database": {"nosuch", settings(s), &missing, `database "nosuch" does not exist`},
		"server is down":   {"shop", settings(nil, "socket", filepath.Join(t.TempDir(), "s")), &producer, "Can't connect"},
		"needs a password": {"shop", settings(s, "user", "secret"), &producer, "Access denied"},
		"no such user":     {"shop", settings(s, "user", "nosuch"), &producer, "Access denied"},
		"users unreadable": {"all", settings(s, "user", "poor"), &producer, "denied"},
		"silent server":    {"shop", settings(nil, "socket", listenSilently(t), "timeout", "1s"), &producer, "mariadb"},
		"no programs":      {"shop", settings(s, "programs", t.TempDir()), &program, "mariadb-dump"},
		"nothing is left":  {"all", settings(s, "exclude", "*", "users", "no"), nil, "no database"},
		"no option file":   {"shop", settings(s, "defaults_file", filepath.Join(t.TempDir(), "x")), &producer, "defaults file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := prepare(t, c.rest, c.values)
			if err == nil || c.want != nil && !errors.As(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%T %v", err, err)
			}
		})
	}
	b, err := prepare(t, "shop", settings(s, "user", "poor"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Streams[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.As(err, &producer) || producer.Stderr == "" {
		t.Errorf("without rights: %v", err)
	}
	_ = r.Close()
	for _, values := range []map[string]string{{"port": "70000"}, {"dump_options": "--password=x"}, {"dump_options": "--pass=x"}, {"dump_options": "-px"}, {"dump_options": "--databases"}, {"dump_options": "x"},
		{"exclude": "["}, {"defaults_file": "a", "defaults_extra_file": "b"}, {"nosuch": ""}} {
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
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return filepath.Join(dir, "s")
}

// testKilled: a dumper that is killed in the middle has made half a dump, which is none.
func testKilled(t *testing.T, s *dbtest.Server) {
	s.SQL("", "create database large; use large; create table t as select seq, repeat(md5(seq), 30) from seq_1_to_20000")
	b, err := prepare(t, "large", settings(s))
	if err != nil {
		t.Fatal(err)
	}
	r, err := b.Streams[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if _, err := io.ReadFull(r, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	killChild(t, "mariadb-dump")
	_, err = io.Copy(io.Discard, r)
	var producer *source.ProducerError
	if !errors.As(err, &producer) || !strings.Contains(err.Error(), "killed") {
		t.Errorf("%v", err)
	}
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

// testFiles: passwords come from option files.
func testFiles(t *testing.T, s *dbtest.Server) {
	home := t.TempDir()
	file := filepath.Join(home, ".my.cnf")
	write := func(password string) {
		if err := os.WriteFile(file, []byte("[client]\nsocket="+s.Socket+"\nuser=secret\npassword="+password+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("x")
	if all := store(t, "shop", map[string]string{"defaults_file": file}); len(all["shop.sql"]) < 1000 {
		t.Error("no dump")
	}
	t.Setenv("HOME", home)
	if all := store(t, "shop", nil); len(all["shop.sql"]) < 1000 {
		t.Error("no dump")
	}
	write("wrong")
	if _, err := prepare(t, "shop", nil); err == nil || !strings.Contains(err.Error(), "Access denied") || strings.Contains(err.Error(), "wrong") {
		t.Errorf("%v", err)
	}
}

// TestMySQLsOwn: the programs of MySQL get options that MariaDB's do not have. The dumper is a stand-in that prints its arguments; there is no server.
func TestMySQLsOwn(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"mysqldump": "if test \"$1\" = --version; then echo 'mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)'; exit; fi\nprintf '%s\\n' first \"$@\"",
		"mysql":     "printf 'shop\\tutf8mb4\\tutf8mb4_0900_ai_ci\\n'",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	all := store(t, "shop", settings(nil, "programs", dir, "dump_options", "--ignore-table=shop.log"))
	got := strings.Split(string(all["shop.sql"]), "\n")
	if got[0] != "first" || got[1] != strings.TrimSuffix(head(&database{charset: "utf8mb4", collation: "utf8mb4_0900_ai_ci"}), "\n") || got[2] != "--defaults-file="+os.DevNull {
		t.Errorf("%q", got)
	}
	for _, want := range []string{"--loose-set-gtid-purged=OFF", "--loose-column-statistics=0", "--single-transaction", "--skip-extended-insert", "--ignore-table=shop.log", "shop"} {
		if !slices.Contains(got, want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
}
