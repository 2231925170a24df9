package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firn/internal/store"
	"firn/internal/storetest/versitygw"
	"firn/internal/wire"
)

// terminal runs firn against an S3 server, each time as a process of its own.
type terminal struct {
	t   *testing.T
	dir string
	env []string
}

// run runs the test's own program as firn, which TestMain makes it.
func (c *terminal) run(args ...string) (stdout, stderr string, code int) {
	c.t.Helper()
	cmd, errs := c.command(args...)
	var out bytes.Buffer
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			c.t.Fatal(err)
		}
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// command prepares a run, and returns what it will say on standard error.
func (c *terminal) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command("firn", args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	var errs bytes.Buffer
	cmd.Stderr = &errs
	return cmd, &errs
}

func (c *terminal) ok(args ...string) string {
	c.t.Helper()
	out, errs, code := c.run(args...)
	if code != 0 {
		c.t.Fatalf("firn %q: code %d\n%s%s", args, code, out, errs)
	}
	return out
}

// fails wants exit code 1 and these words on standard error.
func (c *terminal) fails(words []string, args ...string) {
	c.t.Helper()
	out, errs, code := c.run(args...)
	if code != 1 || out != "" {
		c.t.Errorf("firn %q: code %d, %q", args, code, out)
	}
	for _, w := range words {
		if !strings.Contains(errs, w) {
			c.t.Errorf("firn %q: no %q in\n%s", args, w, errs)
		}
	}
}

func newTerminal(t *testing.T, s *versitygw.Server) *terminal {
	dir := t.TempDir()
	for name, text := range map[string]string{"key.txt": identity + "\n", "src/one": "one\n", "src/sub/two": strings.Repeat("two\n", 100_000)} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &terminal{t, dir, machine(dir, "AWS_ACCESS_KEY_ID="+s.Access, "AWS_SECRET_ACCESS_KEY="+s.Secret, "AWS_REGION="+s.Region, "AWS_ENDPOINT_URL_S3="+s.Endpoint, "FIRN_REPO=s3://firn-test/nas",
		"FIRN_IDENTITY=key.txt")}
}

// set replaces a variable of the environment.
func (c *terminal) set(name, value string) *terminal {
	env := []string{name + "=" + value}
	for _, e := range c.env {
		if !strings.HasPrefix(e, name+"=") {
			env = append(env, e)
		}
	}
	return &terminal{c.t, c.dir, env}
}

// TestS3 goes the whole way over a real S3 server: a bucket is made, filled, listed, read and restored.
func TestS3(t *testing.T) {
	s := versitygw.Start(t)
	c := newTerminal(t, s)
	c.fails([]string{"firn: error: ", "no repository here", "firn init"}, "snapshots")
	if out := c.ok("init", "--recipient", recipient, "--kit-saved"); !strings.Contains(out, "s3://firn-test/nas") {
		t.Error(out)
	}
	c.fails([]string{"a repository is here already"}, "init", "--recipient", recipient, "--kit-saved")
	c.ok("backup", "src")
	var line struct {
		State     string
		Unchanged bool
	}
	if err := json.Unmarshal([]byte(c.ok("backup", "src", "--json")), &line); err != nil || !line.Unchanged || line.State != "done" {
		t.Errorf("second backup: %+v, %v", line, err)
	}
	var spent struct {
		Unchanged bool
		Cost      struct {
			Now, Monthly float64
			Requests     struct{ Put, Get, List int }
		}
	}
	priced := c.set("FIRN_PRICE_REGION", "aws/us-east-1").set("FIRN_IDENTITY", "") // an identity would be checked, by one listing more
	if err := json.Unmarshal([]byte(priced.ok("backup", "src", "--json")), &spent); err != nil || !spent.Unchanged {
		t.Errorf("third backup: %+v, %v", spent, err)
	}
	// LIST hosts, index, snapshots, prune; PUT the snapshot and its mark.
	if r := spent.Cost.Requests; r.Put != 2 || r.Get != 0 || r.List != 4 || spent.Cost.Now < 6*.005/1000*.999 || spent.Cost.Now > 6*.005/1000*1.001 {
		t.Errorf("a backup of what has not changed: %+v", spent.Cost)
	}
	lost := func() error {
		t.Setenv("AWS_ACCESS_KEY_ID", s.Access)
		t.Setenv("AWS_SECRET_ACCESS_KEY", s.Secret)
		st, err := wire.OpenStore(t.Context(), "s3://firn-test/nas", wire.StoreOptions{Endpoint: s.Endpoint, Region: s.Region})
		if err != nil {
			return err
		}
		return st.Delete(t.Context(), "firn.json")
	}
	if err := errors.Join(lost(), os.WriteFile(filepath.Join(c.dir, "src", "three"), []byte("three"), 0o600)); err != nil {
		t.Fatal(err)
	}
	c.ok("backup", "src") // goes by what it remembers, and stores it again
	if out := c.ok("cat", "latest:one"); out != "one\n" {
		t.Errorf("cat: %q", out)
	}
	c.ok("restore", "latest", "--target", "out")
	if got, err := os.ReadFile(filepath.Join(c.dir, "out", "sub", "two")); err != nil || len(got) != 400_000 {
		t.Errorf("restored %d bytes, %v", len(got), err)
	}

	_, errs, _ := c.run("snapshots", "--debug")
	if !strings.Contains(errs, "firn: debug: ListObjectsV2 GET ") || strings.Contains(errs, s.Secret) {
		t.Errorf("--debug: %s", errs)
	}
	if found, _ := filepath.Glob(filepath.Join(c.dir, ".cache", "firn", "*", "store", "*", "*")); len(found) == 0 {
		t.Error("hot objects are not kept near")
	}

	c.fails([]string{"no repository here", "firn init"}, "snapshots", "-r", "s3://firn-none/nas")
	c.fails([]string{"credentials refused", "AWS_ACCESS_KEY_ID"}, "snapshots", "-r", "s3://firn-test/nas", "--debug=false", "--endpoint", s.Endpoint, "--no-cache", "--connections", "1", "--profile", "nobody")
	wrong := c.set("AWS_SECRET_ACCESS_KEY", "wrong")
	wrong.fails([]string{"firn: error: ", "credentials refused", "hint: credentials come from"}, "backup", "src")
	none := c.set("AWS_ACCESS_KEY_ID", "")
	none.fails([]string{"firn: error: ", "hint: credentials come from"}, "backup", "src")
}

// TestS3Replaced: what is remembered of a repository does not outlive it: a backup into a place where another one is now goes into that, whether or not the key of the
// host for the old one is still at hand, and whether what is remembered is whole. A key that comes by a pipe is read once.
func TestS3Replaced(t *testing.T) {
	for _, how := range []string{"noticed", "at once", "no host key", "damaged"} {
		t.Run(how, func(t *testing.T) { s3Replaced(t, how) })
	}
}

func s3Replaced(t *testing.T, how string) {
	s := versitygw.Start(t)
	c := newTerminal(t, s)
	stateDir := filepath.Join(c.dir, "state")
	c = c.set("FIRN_STATE_DIR", stateDir)
	c.ok("init", "--recipient", recipient, "--kit-saved")
	c.ok("backup", "src")
	t.Setenv("AWS_ACCESS_KEY_ID", s.Access)
	t.Setenv("AWS_SECRET_ACCESS_KEY", s.Secret)
	st, err := wire.OpenStore(t.Context(), "s3://firn-test/nas", wire.StoreOptions{Endpoint: s.Endpoint, Region: s.Region})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	if err := st.List(t.Context(), "", "", func(i store.Info) error { names = append(names, i.Name); return nil }); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := st.Delete(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if how == "noticed" {
		c.fails([]string{"no repository here"}, "backup", "src")
	}
	c.set("FIRN_STATE_DIR", filepath.Join(c.dir, "other")).ok("init", "--recipient", recipient, "--kit-saved")
	switch how {
	case "no host key":
		keys, err := filepath.Glob(filepath.Join(stateDir, "*", "host.key"))
		if err != nil || len(keys) != 1 || os.Remove(keys[0]) != nil {
			t.Fatalf("%q, %v", keys, err)
		}
	case "damaged":
		places, err := filepath.Glob(filepath.Join(stateDir, "places", "*"))
		if err != nil || len(places) == 0 {
			t.Fatalf("%q, %v", places, err)
		}
		headers := 0
		for _, place := range places {
			raw, err := os.ReadFile(place)
			changed := strings.Replace(string(raw), "786432", "786433", 1)
			if err != nil || os.WriteFile(place, []byte(changed), 0o600) != nil {
				t.Fatalf("%s, %v", raw, err)
			}
			if changed != string(raw) {
				headers++
			}
		}
		if headers != 1 {
			t.Fatalf("%d headers are remembered", headers)
		}
	}
	again := c
	if raw, err := os.ReadFile(filepath.Join(c.dir, "key.txt")); err != nil {
		t.Fatal(err)
	} else if fifo := filepath.Join(c.dir, "fifo"); exec.Command("mkfifo", fifo).Run() == nil {
		again = c.set("FIRN_IDENTITY", fifo)
		go func() { _ = os.WriteFile(fifo, raw, 0o600) }()
	}
	again.ok("backup", "src")
	c.ok("restore", "latest", "--target", "out")
	if got, err := os.ReadFile(filepath.Join(c.dir, "out", "one")); err != nil || string(got) != "one\n" {
		t.Errorf("restored %q, %v", got, err)
	}
}
