//go:build unix

package dbtest

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// startUp is how long a server may take before the test fails.
const startUp = 2 * time.Minute

// Need skips the test where a program is missing, and returns its path otherwise. Folders are looked at beside PATH, the last that a pattern has first.
func Need(t testing.TB, name string, patterns ...string) string {
	t.Helper()
	for _, p := range append(patterns, "/usr/local/sbin", "/usr/sbin", "/sbin") {
		found, _ := filepath.Glob(filepath.Join(p, name))
		slices.Reverse(found)
		for _, f := range found {
			if path, err := exec.LookPath(f); err == nil {
				return path
			}
		}
	}
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: %v", name, err)
	}
	t.Skipf("%s is missing: %v", name, err)
	return ""
}

// Server is a running server.
type Server struct {
	Dir    string // of its socket
	Socket string // MariaDB's; PostgreSQL's is known by Dir
	t      testing.TB
	client []string
}

// folder makes a folder with a short path, which the given user owns; sockets have short names only.
func folder(t testing.TB, owner string) (string, *syscall.SysProcAttr) {
	t.Helper()
	dir, err := os.MkdirTemp("", "firn-db-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if os.Geteuid() != 0 {
		return dir, nil
	}
	var uid, gid int
	for _, name := range []string{owner, "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, _ = strconv.Atoi(u.Uid)
		gid, _ = strconv.Atoi(u.Gid)
		break
	}
	if uid == 0 {
		t.Skip("there is no ordinary user to run a server as")
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// run runs a program to its end as the given user.
func run(t testing.TB, as *syscall.SysProcAttr, dir string, args ...string) {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.SysProcAttr, c.Dir, c.Env = as, dir, environment(dir)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
}

func environment(home string) []string {
	return []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "LC_ALL=C"}
}

// serve starts a server that ends with the test, also where the test is killed: a shell holds a pipe of ours, and stops the server with the signal when that is closed.
func serve(t testing.TB, as *syscall.SysProcAttr, dir, signal string, args ...string) {
	t.Helper()
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	c := exec.Command("/bin/sh", append([]string{"-c", `"$@" & p=$!; read x; kill -` + signal + ` $p; wait $p`, "sh"}, args...)...)
	c.SysProcAttr, c.Dir, c.Env, c.Stdout, c.Stderr = as, dir, environment(dir), log, log
	hold, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = hold.Close()
		_ = c.Wait()
	})
}

// await waits until a server answers.
func (s *Server) await() {
	s.t.Helper()
	for end := time.Now().Add(startUp); ; time.Sleep(20 * time.Millisecond) {
		_, err := s.try("SELECT 1")
		if err == nil {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(s.Dir, "log"))
			s.t.Fatalf("the server does not answer: %v\n%s", err, log)
		}
	}
}

// try runs SQL with the server's own client.
func (s *Server) try(sql string, more ...string) (string, error) {
	c := exec.Command(s.client[0], append(slices.Clone(s.client[1:]), more...)...)
	c.Stdin = strings.NewReader(sql)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.Bytes())
	}
	return string(out), err
}

// SQL runs SQL in a database as the superuser and returns what it gives, rows in lines. The empty database is the server's own.
func (s *Server) SQL(database, sql string) string {
	s.t.Helper()
	out, err := s.try(sql, s.in(database)...)
	if err != nil {
		s.t.Fatalf("%.200s: %v", sql, err)
	}
	return strings.TrimSuffix(out, "\n")
}

func (s *Server) in(database string) []string {
	switch {
	case database == "":
		return nil
	case s.Socket != "":
		return []string{"-D", database}
	}
	return []string{"-d", "dbname='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(database) + "'"}
}

// Feed runs a script in a database, from r.
func (s *Server) Feed(database string, r io.Reader) {
	s.t.Helper()
	c := exec.Command(s.client[0], append(slices.Clone(s.client[1:]), s.in(database)...)...)
	c.Stdin = r
	if out, err := c.CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// Postgres starts a PostgreSQL server whose superuser is "postgres"; whoever reaches its socket is believed, but for the role "needspassword".
func Postgres(t testing.TB) *Server {
	t.Helper()
	bin := filepath.Dir(Need(t, "initdb", "/usr/lib/postgresql/*/bin"))
	dir, as := folder(t, "postgres")
	s := &Server{Dir: dir, t: t, client: []string{Need(t, "psql", bin), "-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", dir, "-U", "postgres"}}
	data := filepath.Join(dir, "data")
	run(t, as, dir, filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
	hba := "local all needspassword scram-sha-256\nlocal all all trust\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o644); err != nil {
		t.Fatal(err)
	}
	serve(t, as, dir, "INT", filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=20")
	s.await()
	return s
}

// MariaDB starts a MariaDB server with a superuser "root" without a password.
func MariaDB(t testing.TB) *Server {
	t.Helper()
	dir, as := folder(t, "mysql")
	s := &Server{Dir: dir, Socket: filepath.Join(dir, "s"), t: t}
	s.client = []string{Need(t, "mariadb"), "--no-defaults", "-N", "-B", "-S", s.Socket, "-u", "root", "--default-character-set=utf8mb4", "--binary-mode"}
	data := filepath.Join(dir, "data")
	run(t, as, dir, Need(t, "mariadb-install-db"), "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
	serve(t, as, dir, "TERM", Need(t, "mariadbd"), "--no-defaults", "--datadir="+data, "--socket="+s.Socket, "--skip-networking", "--skip-name-resolve", "--pid-file="+filepath.Join(dir, "pid"),
		"--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--event-scheduler=OFF")
	s.await()
	return s
}
