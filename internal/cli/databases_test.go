//go:build unix

package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/dbtest"
)

// added is how many bytes the newest snapshot had to store that were new, and how many it has.
func (b *bench) added() (fresh, size int64) {
	b.t.Helper()
	s := b.newest().Stats
	return s.BytesAdded, s.Bytes
}

// barely checks that a second dump of a barely changed database adds little.
func (b *bench) barely(kind string, change func(), args ...string) {
	b.t.Helper()
	b.wants(0, nil, append([]string{"backup"}, args...)...)
	first, size := b.added()
	change()
	b.wants(0, nil, append([]string{"backup"}, args...)...)
	second, _ := b.added()
	b.t.Logf("%s: %d bytes, %d of them stored; %d after a small change", kind, size, first, second)
	if size < 10_000_000 || second > first/2 {
		b.t.Errorf("%s: %d bytes, %d of them stored; %d after a small change", kind, size, first, second)
	}
}

// TestPostgres takes a server through the whole system into another.
func TestPostgres(t *testing.T) {
	s, other := dbtest.Postgres(t), dbtest.Postgres(t)
	b := newBench(t)
	s.SQL("", `create database shop; create database "a/b"; create role reader`)
	s.SQL("shop", "create table t(id int primary key, body text); insert into t select i, repeat(md5(i::text), 10) from generate_series(1, 50000) i; grant select on t to reader")
	at := []string{"-o", "host=" + s.Dir, "-o", "user=postgres"}
	b.barely("custom", func() { s.SQL("shop", "delete from t where id = 7; insert into t values (100000, 'new')") }, append(at, "postgres:shop")...)
	b.wants(0, []string{"4 streams"}, append(at, "backup", "postgres:all", "-o", "exclude=template*", "-o", "use_temp_file", "-o", "temp_dir="+t.TempDir())...)
	to := []string{"-o", "host=" + other.Dir, "-o", "user=postgres"}
	b.wants(0, []string{"replayed 4 streams"}, append(to, "restore", "latest", "--source", "postgres:all", "--into", "postgres:all")...)
	const sum = "select count(*), md5(string_agg(t::text, ',' order by id)), has_table_privilege('reader', 't', 'select') from t"
	if a, b := s.SQL("shop", sum), other.SQL("shop", sum); a != b || !strings.HasSuffix(a, "|t") {
		t.Errorf("was %s, is %s", a, b)
	}
	b.wants(1, []string{"has tables already", "hint: "}, append(to, "restore", "latest", "--source", "postgres:all", "--into", "postgres:all")...)
	b.wants(0, []string{"replayed 1 stream"}, append(to, "restore", "latest", "--source", "postgres:shop", "--into", "postgres:shop 2")...)
	if a, b := s.SQL("shop", sum), other.SQL("shop 2", sum); a != b {
		t.Errorf("was %s, is %s", a, b)
	}

	// A dumper that is killed in the middle makes no snapshot.
	programs := t.TempDir()
	if err := os.Symlink(dbtest.Need(t, "psql"), filepath.Join(programs, "psql")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(programs, "pg_dump"), []byte("#!/bin/sh\nhead -c 3000000 /dev/zero\nkill -9 $$\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	before := b.newest().ID
	b.wants(1, []string{"killed", `database "shop"`}, append(at, "backup", "postgres:shop", "-o", "programs="+programs)...)
	b.wants(1, []string{`database "nosuch" does not exist`}, append(at, "backup", "postgres:nosuch")...)
	b.wants(1, []string{"temporary file in"}, append(at, "backup", "postgres:shop", "-o", "temp_dir="+filepath.Join(programs, "nosuch"))...)
	if after := b.newest().ID; after != before {
		t.Errorf("half a dump is a snapshot: %v", after)
	}
}

// TestMySQL takes a server through the whole system into another.
func TestMySQL(t *testing.T) {
	s, other := dbtest.MariaDB(t), dbtest.MariaDB(t)
	b := newBench(t)
	s.SQL("", "create database shop; create database `a/b`; create user reader@localhost identified by 'x'; use shop; "+
		"create table t(id int primary key, body text); insert into t select seq, repeat(md5(seq), 10) from seq_1_to_50000; grant select on shop.t to reader@localhost")
	at := []string{"-o", "socket=" + s.Socket, "-o", "user=root", "-o", "defaults_file=" + os.DevNull}
	b.barely("mysql", func() { s.SQL("shop", "delete from t where id = 7; insert into t values (100000, 'new')") }, append(at, "mysql:shop")...)
	b.wants(0, []string{"4 streams"}, append(at, "backup", "mysql:all", "-o", "use_temp_file")...)
	to := []string{"-o", "socket=" + other.Socket, "-o", "user=root", "-o", "defaults_file=" + os.DevNull}
	b.wants(0, []string{"replayed 4 streams"}, append(to, "restore", "latest", "--source", "mysql:all", "--into", "mysql:all")...)
	const sum = "select count(*), sum(crc32(concat(id, body))) from t"
	if a, b := s.SQL("shop", sum), other.SQL("shop", sum); a != b || !strings.HasPrefix(a, "50000") {
		t.Errorf("was %s, is %s", a, b)
	}
	if got := other.SQL("", "show grants for reader@localhost"); !strings.Contains(got, "`shop`.`t`") {
		t.Error(got)
	}
	b.wants(1, []string{"has tables already", "hint: choose another target", "what -o force does: replace tables"}, append(to, "restore", "latest", "--source", "mysql:all", "--into", "mysql:all")...)
	b.wants(0, []string{"replayed 1 stream"}, append(to, "restore", "latest:shop.sql", "--source", "mysql:all", "--into", "mysql:second")...)
	if a, b := s.SQL("shop", sum), other.SQL("second", sum); a != b {
		t.Errorf("was %s, is %s", a, b)
	}
	b.wants(1, []string{"Access denied"}, "-o", "socket="+s.Socket, "-o", "user=nosuch", "-o", "defaults_file="+os.DevNull, "backup", "mysql:shop")
}

// TestSubversion takes a folder of repositories through a chain, into another folder, and into files that svnadmin loads in the order of their names.
func TestSubversion(t *testing.T) {
	dbtest.Need(t, "svnadmin")
	b := newBench(t)
	root, to := filepath.Join(b.dir, "svn"), filepath.Join(b.dir, "back")
	run := func(input []byte, name string, args ...string) []byte {
		t.Helper()
		c := exec.Command(dbtest.Need(t, name), args...)
		c.Stdin = bytes.NewReader(input)
		out, err := c.Output()
		if err != nil {
			t.Fatalf("%s %q: %v", name, args, err)
		}
		return out
	}
	commit := func(repo, dir string) {
		t.Helper()
		run(nil, "svn", "mkdir", "-q", "--non-interactive", "-m", "log", "file://"+filepath.Join(root, repo, dir))
	}
	for _, repo := range []string{"one", "two", "group/three"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, repo)), 0o755); err != nil {
			t.Fatal(err)
		}
		run(nil, "svnadmin", "create", filepath.Join(root, repo))
	}
	b.wants(0, []string{"6 streams", "in full"}, "backup", "svn:"+root)
	for i := range 3 {
		commit("one", fmt.Sprint(i))
		if i == 1 {
			commit("group/three", "x")
		}
		b.wants(0, []string{"on top of"}, "backup", "svn:"+root)
	}
	b.wants(0, []string{"3 streams"}, "backup", "svn:"+root)
	b.wants(0, []string{"replayed 10 streams"}, "restore", "latest", "--into", "svn:"+to)
	for _, repo := range []string{"one", "two", "group/three"} {
		if !bytes.Equal(run(nil, "svnadmin", "dump", "-q", filepath.Join(root, repo)), run(nil, "svnadmin", "dump", "-q", filepath.Join(to, repo))) {
			t.Errorf("%s is not the same", repo)
		}
	}
	b.wants(0, []string{"replayed 0 streams"}, "restore", "latest", "--into", "svn:"+to)
	files := filepath.Join(b.dir, "files")
	b.wants(0, []string{"replayed 10 streams", "svnadmin create REPOSITORIES/one", "tar -x -C REPOSITORIES/two -f "}, "restore", "latest", "--target", files)
	byHand := filepath.Join(b.dir, "by hand")
	run(nil, "svnadmin", "create", byHand)
	parts, err := filepath.Glob(filepath.Join(files, "one", "*.svndump"))
	if err != nil || len(parts) != 4 {
		t.Fatalf("%q, %v", parts, err)
	}
	for _, p := range parts {
		content, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		run(content, "svnadmin", "load", "-q", byHand)
	}
	if !bytes.Equal(run(nil, "svnadmin", "dump", "-q", filepath.Join(root, "one")), run(nil, "svnadmin", "dump", "-q", byHand)) {
		t.Error("loaded by hand it is not the same")
	}
	if err := os.RemoveAll(filepath.Join(root, "one")); err != nil {
		t.Fatal(err)
	}
	run(nil, "svnadmin", "create", filepath.Join(root, "one"))
	b.wants(0, []string{"another than the one that was stored", "on top of"}, "backup", "svn:"+root)
	b.wants(1, []string{"another repository", "hint: choose another target, or one that does not exist yet\n"}, "restore", "latest", "--into", "svn:"+to)
	b.wants(1, []string{"does not exist"}, "backup", "svn:"+filepath.Join(b.dir, "nosuch"))
}
