package crash

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"firn/internal/storetest/versitygw"
)

// A key pair that protects nothing.
const (
	identity  = "AGE-SECRET-KEY-17X2WYQEANACWAP8ENESJ8QG6AQCWF0GVP3D44ZT0YQKMYPMNSM3SN5RP0C"
	recipient = "age1kdu4e7s67lq9944ng80zlqu25kujr2l8s2ld4qpqchtvpty2gqns4ys0cw"
)

const bucket = "crash"

// world is a folder with the program, trees and works. A work is a repository with the local state of a machine.
type world struct {
	t      testing.TB
	dir    string
	server *versitygw.Server // nil: repositories are folders
	seed   uint64
	rng    *rand.Rand
}

func newWorld(t testing.TB, remote bool) *world {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the real program many times")
	}
	w := &world{t: t, dir: t.TempDir(), seed: uint64(time.Now().UnixNano())}
	if s, err := strconv.ParseUint(os.Getenv("FIRN_SEED"), 10, 64); err == nil {
		w.seed = s
	}
	t.Logf("FIRN_SEED=%d", w.seed)
	w.rng = rand.New(rand.NewPCG(w.seed, 1))
	build := exec.Command("go", "build", "-o", w.path("firn"), "firn/cmd/firn")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	w.write("key", identity+"\n")
	if remote {
		w.server = versitygw.Start(t)
		if err := os.Mkdir(filepath.Join(w.server.Folder, bucket), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *world) path(names ...string) string {
	return filepath.Join(append([]string{w.dir}, names...)...)
}

func (w *world) write(name, text string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// repo is where the repository of a work lies for the program, and folder where it does on this disk.
func (w *world) repo(work string) string {
	if w.server != nil {
		return "s3://" + bucket + "/" + work
	}
	return w.folder(work)
}

func (w *world) folder(work string) string {
	if w.server != nil {
		return filepath.Join(w.server.Folder, bucket, work)
	}
	return w.path(work, "repo")
}

// command prepares a run of the program with what one work remembers.
func (w *world) command(work string, args ...string) *exec.Cmd {
	cmd := exec.Command(w.path("firn"), args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.path(work), "FIRN_CONFIG=none", "FIRN_REPO=" + w.repo(work), "FIRN_CACHE_DIR=" + w.path(work, "cache"), "FIRN_STATE_DIR=" + w.path(work, "state"),
		"FIRN_IDENTITY=" + w.path("key"), "GOMAXPROCS=4"}
	if s := w.server; s != nil {
		cmd.Env = append(cmd.Env, "AWS_ENDPOINT_URL_S3="+s.Endpoint, "AWS_REGION="+s.Region, "AWS_ACCESS_KEY_ID="+s.Access, "AWS_SECRET_ACCESS_KEY="+s.Secret, "AWS_EC2_METADATA_DISABLED=true")
	}
	return cmd
}

// must runs a command to its end, which has to be a good one, and returns what it printed.
func (w *world) must(cmd *exec.Cmd) []byte {
	w.t.Helper()
	out, err := run(cmd)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// run runs a command to its end.
func run(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%v: %w\n%.3000s%.3000s", cmd.Args[1:], err, out, stderr.Bytes())
	}
	return out, err
}

// init makes the repository of a work.
func (w *world) init(work string, args ...string) {
	w.t.Helper()
	if err := os.MkdirAll(w.path(work), 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.must(w.command(work, append([]string{"init", "--kit-saved", "--recipient", recipient}, args...)...))
}

// clone makes a work out of another, with all it remembers.
func (w *world) clone(from, to string) {
	w.t.Helper()
	w.copy(w.path(from), w.path(to))
	if _, err := os.Stat(w.folder(from)); err == nil && w.server != nil {
		w.copy(w.folder(from), w.folder(to))
	}
}

func (w *world) copy(from, to string) {
	w.t.Helper()
	if out, err := exec.Command("cp", "-a", from, to).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
}

// drop removes a work.
func (w *world) drop(work string) {
	w.t.Helper()
	for _, dir := range []string{w.path(work), w.folder(work)} {
		if err := os.RemoveAll(dir); err != nil {
			w.t.Fatal(err)
		}
	}
}

// backup backs a folder up and returns the id of the snapshot.
func (w *world) backup(work, dir string, args ...string) string {
	w.t.Helper()
	id, err := snapshotOf(run(w.command(work, append([]string{"backup", "--json", "--pack-size", "1M", "--source", "tree", dir}, args...)...)))
	if err != nil {
		w.t.Fatal(err)
	}
	return id
}

func snapshotOf(out []byte, err error) (string, error) {
	if err != nil {
		return "", err
	}
	var res struct{ Snapshot string }
	if err := json.Unmarshal(out, &res); err != nil || res.Snapshot == "" {
		return "", fmt.Errorf("no snapshot in %s: %v", out, err)
	}
	return res.Snapshot, nil
}

// restored restores a snapshot and returns what came of it.
func (w *world) restored(work, id string) map[string]string {
	w.t.Helper()
	target := w.path(work, "judge")
	defer os.RemoveAll(target)
	w.must(w.command(work, "restore", id, "--target", target, "-q"))
	return w.look(target)
}

// look describes all below a folder: kind, mode, time and content of each file, and which names are one file.
func (w *world) look(dir string) map[string]string {
	w.t.Helper()
	all, links := map[string]string{}, map[any]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		info, err := d.Info()
		if err != nil {
			return err
		}
		text := fmt.Sprint(info.Mode(), " ", info.ModTime().UnixNano())
		switch {
		case d.Type()&fs.ModeSymlink != 0:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			text = "-> " + to
		case d.Type().IsRegular():
			body, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %x", len(body), sha256.Sum256(body))
			if key, many := sameFile(info); many {
				if links[key] == "" {
					links[key] = rel
				}
				text += " = " + links[key]
			}
		}
		all[rel] = text
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

// same fails where two descriptions differ.
func (w *world) same(what string, got, want map[string]string) {
	w.t.Helper()
	if diff := difference(got, want); diff != "" {
		w.t.Errorf("%s, FIRN_SEED=%d:\n%s", what, w.seed, diff)
	}
}

func difference(got, want map[string]string) string {
	var lines []string
	for p, text := range want {
		if got[p] != text {
			lines = append(lines, fmt.Sprintf("%q: %q, want %q", p, got[p], text))
		}
	}
	for p, text := range got {
		if _, ok := want[p]; !ok {
			lines = append(lines, fmt.Sprintf("%q: %q, want nothing", p, text))
		}
	}
	if len(lines) > 10 {
		lines = append(lines[:10], fmt.Sprintf("and %d more", len(lines)-10))
	}
	return strings.Join(lines, "\n")
}
