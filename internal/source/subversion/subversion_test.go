//go:build unix

package subversion

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firn/internal/dbtest"
	"firn/internal/source"
)

// run runs one of Subversion's programs.
func run(t *testing.T, input, name string, args ...string) string {
	t.Helper()
	c := exec.Command(dbtest.Need(t, name), args...)
	c.Stdin = strings.NewReader(input)
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	var stderr bytes.Buffer
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("%s %v: %v: %s", name, args, err, stderr.Bytes())
	}
	return string(out)
}

func create(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "", "svnadmin", "create", dir)
	return dir
}

// commit makes a revision.
func commit(t *testing.T, dir, file, content string) {
	t.Helper()
	at := (&url.URL{Scheme: "file", Path: dir}).String()
	from := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(from, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "", "svnmucc", "--non-interactive", "-m", "größe\nof "+file, "put", from, at+"/"+file)
}

func prepare(t *testing.T, dir string, have []source.Have, values ...string) (*source.Batch, error) {
	t.Helper()
	m := map[string]string{}
	for i := 0; i < len(values); i += 2 {
		m[values[i]] = values[i+1]
	}
	s, err := New(dir, source.NewSettings(Settings, m), source.Host{})
	if err != nil {
		t.Fatal(err)
	}
	return s.Prepare(t.Context(), have)
}

// kept is what a repository has of one snapshot.
type kept struct {
	points  []source.Point
	streams map[string][]byte
	base    int // index in the list; -1: none
}

// history is snapshots, the oldest first.
type history []kept

// have is what a producer is told: the newest first.
func (h history) have() (list []source.Have) {
	for _, k := range slices.Backward(h) {
		list = append(list, source.Have{Points: k.points})
	}
	return list
}

// store adds a snapshot.
func (h *history) store(t *testing.T, dir string, values ...string) *source.Batch {
	t.Helper()
	b, err := prepare(t, dir, h.have(), values...)
	if err != nil {
		t.Fatal(err)
	}
	k := kept{points: b.Points, streams: map[string][]byte{}, base: -1}
	if b.Base >= 0 {
		k.base = len(*h) - 1 - b.Base
	}
	for _, s := range b.Streams {
		r, err := s.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if k.streams[s.Path], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		_ = r.Close()
	}
	for _, p := range b.Points {
		if _, ok := k.streams[p.Stream]; p.Stream != "" && !ok || (p.Stream == "") != (p.From != "" && p.From == p.ID) || p.From != "" && k.base < 0 {
			t.Fatalf("%+v", p)
		}
		if p.From != "" && !slices.ContainsFunc((*h)[k.base].points, func(o source.Point) bool { return o.Of == p.Of && o.ID == p.From }) {
			t.Fatalf("%+v does not start from what the base has", p)
		}
	}
	*h = append(*h, k)
	return b
}

// links are what leads to the newest snapshot, as whoever replays chains finds it.
func (h history) links() (list []source.Link) {
	last := len(h) - 1
	named := map[string]bool{}
	for _, p := range h[last].points {
		at, p := last, &p
		var chain []source.Link
		for p != nil {
			if p.Stream != "" {
				named[p.Stream] = true
				chain = append(chain, link(p.Stream, *p, h[at].streams[p.Stream]))
			}
			from := p.From
			if from == "" {
				break
			}
			at, p = h[at].base, nil
			for i := range h[at].points {
				if h[at].points[i].ID == from {
					p = &h[at].points[i]
				}
			}
		}
		slices.Reverse(chain)
		list = append(list, chain...)
	}
	for path, content := range h[last].streams {
		if !named[path] {
			list = append(list, link(path, source.Point{}, content))
		}
	}
	return list
}

func link(path string, p source.Point, content []byte) source.Link {
	return source.Link{Path: path, Point: p, Size: int64(len(content)), Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }}
}

// take loads links into a place, and returns how many were needed.
func take(t *testing.T, dir string, links []source.Link) (int, error) {
	t.Helper()
	taker, err := NewTaker(dir, source.NewSettings(Settings, nil))
	if err != nil {
		t.Fatal(err)
	}
	missing, err := taker.Missing(t.Context(), links)
	for _, l := range missing {
		if err == nil {
			err = taker.Take(t.Context(), l)
		}
	}
	return len(missing), err
}

func dump(t *testing.T, dir string) string { return run(t, "", "svnadmin", "dump", "-q", dir) }

func same(t *testing.T, a, b string) {
	t.Helper()
	if dump(t, a) != dump(t, b) {
		t.Errorf("%s and %s differ", a, b)
	}
	run(t, "", "svnadmin", "verify", "-q", b)
}

func TestOne(t *testing.T) {
	for _, deltas := range []string{"no", "yes"} {
		base := t.TempDir()
		dir := create(t, filepath.Join(base, "größe & co"))
		if err := os.WriteFile(filepath.Join(dir, "hooks", "pre-commit"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("pre-commit", filepath.Join(dir, "hooks", "link")); err != nil {
			t.Fatal(err)
		}
		var h history
		b := h.store(t, dir, "deltas", deltas)
		if b.Base != -1 || len(b.Streams) != 2 || b.Points[0].Stream != "größe & co.00000000-00000000.svndump" || b.Points[0].Of != "größe & co" {
			t.Fatalf("%+v", b)
		}
		commit(t, dir, "a.txt", "one\n")
		commit(t, dir, "a.txt", "two\n")
		b = h.store(t, dir, "deltas", deltas)
		if b.Base != 0 || b.Points[0].Stream != "größe & co.00000001-00000002.svndump" || b.Points[0].At != "r2" || b.Points[0].FromAt != "r0" {
			t.Fatalf("%+v", b)
		}
		b = h.store(t, dir, "deltas", deltas)
		if b.Base != 0 || len(b.Streams) != 1 || b.Points[0].Stream != "" || b.Points[0].From != b.Points[0].ID {
			t.Fatalf("nothing new: %+v", b)
		}
		if conf := b.Streams[0].Path; len(h[2].streams[conf]) == 0 || !bytes.Equal(h[1].streams[conf], h[2].streams[conf]) {
			t.Errorf("%s differs, although nothing has changed", conf)
		}
		commit(t, dir, "b.txt", "three\n")
		h.store(t, dir, "deltas", deltas)
		to := filepath.Join(base, "new", "repo")
		if n, err := take(t, to, h.links()); n != 4 || err != nil {
			t.Fatal(n, err)
		}
		same(t, dir, to)
		hook, err := os.Stat(filepath.Join(to, "hooks", "pre-commit"))
		if target, _ := os.Readlink(filepath.Join(to, "hooks", "link")); err != nil || hook.Mode().Perm() != 0o755 || target != "pre-commit" {
			t.Error(hook, err, target)
		}
		if n, err := take(t, to, h.links()); n != 0 || err != nil {
			t.Errorf("it needs %d more, %v", n, err)
		}
	}
}

// TestMeanwhile: a repository that others make or commit to while packs are thawed is theirs.
func TestMeanwhile(t *testing.T) {
	base := t.TempDir()
	dir, to := create(t, filepath.Join(base, "old")), filepath.Join(base, "new")
	commit(t, dir, "a.txt", "one\n")
	var h history
	h.store(t, dir)
	taker, err := NewTaker(to, source.NewSettings(Settings, nil))
	if err != nil {
		t.Fatal(err)
	}
	missing, err := taker.Missing(t.Context(), h.links())
	if err != nil || len(missing) != 2 {
		t.Fatal(missing, err)
	}
	create(t, to)
	commit(t, to, "mine.txt", "mine\n")
	before := dump(t, to)
	var target *source.TargetError
	for _, l := range missing {
		if err := taker.Take(t.Context(), l); !errors.As(err, &target) || !target.Exists {
			t.Errorf("%s: %v", l.Path, err)
		}
	}
	if dump(t, to) != before {
		t.Error("it was loaded into")
	}
}

// TestPrefix: whatever part of the history a target has, it gets the rest.
func TestPrefix(t *testing.T) {
	base := t.TempDir()
	dir := create(t, filepath.Join(base, "repo"))
	var h history
	for i := range 6 {
		commit(t, dir, "a.txt", fmt.Sprint(i))
		if i%2 == 1 {
			h.store(t, dir)
		}
	}
	full := dump(t, dir)
	for _, upto := range []string{"0", "1", "2", "3", "5", "6"} {
		to := create(t, filepath.Join(base, "to"+upto))
		run(t, run(t, "", "svnadmin", "dump", "-q", "-r", "0:"+upto, dir), "svnadmin", "load", "-q", to)
		if _, err := take(t, to, h.links()); err != nil {
			t.Fatalf("r%s: %v", upto, err)
		}
		if dump(t, to) != full {
			t.Errorf("r%s: not the same", upto)
		}
	}
	commit(t, dir, "a.txt", "newer")
	if n, err := take(t, dir, h.links()); n != 0 || err != nil {
		t.Errorf("a repository that has more: %d, %v", n, err)
	}
	other := create(t, filepath.Join(base, "other"))
	commit(t, other, "x", "y")
	var target *source.TargetError
	if _, err := take(t, other, h.links()); !errors.As(err, &target) || !target.Exists {
		t.Errorf("another repository: %v", err)
	}
	run(t, "", "svnadmin", "setuuid", other, strings.TrimSpace(run(t, "", "svnlook", "uuid", dir)))
	if _, err := take(t, other, h.links()); !errors.As(err, &target) || !target.Exists {
		t.Errorf("another history under the same UUID: %v", err)
	}
	if _, err := take(t, filepath.Join(base, "late"), h.links()[1:]); !errors.As(err, &target) || target.Exists {
		t.Errorf("a chain without its begin: %v", err)
	}
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t, base, h.links()); !errors.As(err, &target) || !target.Exists {
		t.Errorf("a folder with other things: %v", err)
	}
	for _, name := range []string{"x.tar", "a/%2E%2E/00000000-00000001.svndump", "%2E%2E/conf.tar", "../00000000-00000001.svndump", "a/00000002-00000001.svndump", "a//00000000-00000001.svndump"} {
		if _, err := take(t, filepath.Join(base, "hostile"), []source.Link{link(name, source.Point{}, nil)}); !errors.As(err, &target) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestFolder(t *testing.T) {
	base := t.TempDir()
	root, to := filepath.Join(base, "svn"), filepath.Join(base, "back")
	names := []string{"alpha", "group/beta", "group/ga mma%", "group/deep/er/far", "skip"}
	for _, n := range names {
		commit(t, create(t, filepath.Join(root, n)), "f", n)
	}
	outside := create(t, filepath.Join(base, "outside"))
	if err := os.Symlink(outside, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	var h history
	b := h.store(t, root, "exclude", "skip")
	var of []string
	for _, p := range b.Points {
		of = append(of, p.Of)
	}
	if !slices.Equal(of, []string{"alpha", "group/beta", "group/ga mma%25"}) || len(b.Streams) != 6 {
		t.Fatalf("%q", of)
	}
	commit(t, filepath.Join(root, "alpha"), "f", "second")
	late := create(t, filepath.Join(root, "late"))
	b = h.store(t, root, "exclude", "skip")
	if b.Base != 0 || len(b.Points) != 4 || len(b.Notes) != 0 {
		t.Fatalf("%+v", b)
	}
	commit(t, late, "f", "x")
	commit(t, filepath.Join(root, "group/beta"), "g", "x")
	h.store(t, root, "exclude", "skip")
	if _, err := take(t, to, h.links()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"alpha", "group/beta", "group/ga mma%", "late"} {
		same(t, filepath.Join(root, n), filepath.Join(to, n))
	}
	if b, err := prepare(t, root, nil, "depth", "4"); err != nil || len(b.Points) != 6 {
		t.Errorf("%+v, %v", b, err)
	}
	// A repository that has gone has no point any more; one that cannot be read stops all.
	if err := os.RemoveAll(filepath.Join(root, "alpha")); err != nil {
		t.Fatal(err)
	}
	if b, err := prepare(t, root, h.have()); err != nil || len(b.Points) != 4 || slices.ContainsFunc(b.Points, func(p source.Point) bool { return p.Of == "alpha" }) {
		t.Errorf("%+v, %v", b, err)
	}
	if err := os.WriteFile(filepath.Join(root, "skip", "db", "current"), []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := prepare(t, root, nil); err == nil || !strings.Contains(err.Error(), "skip") {
		t.Errorf("a broken repository: %v", err)
	}
}

// TestReplaced: what is not the history that was stored is stored in full, and that is told.
func TestReplaced(t *testing.T) {
	base := t.TempDir()
	dir := create(t, filepath.Join(base, "repo"))
	for i := range 4 {
		commit(t, dir, "a", fmt.Sprint(i))
	}
	var h history
	h.store(t, dir)
	short := filepath.Join(base, "short")
	run(t, "", "svnadmin", "create", short)
	run(t, run(t, "", "svnadmin", "dump", "-q", "-r", "0:2", dir), "svnadmin", "load", "-q", "--force-uuid", short)
	swap := func(with string) {
		t.Helper()
		if err := errors.Join(os.RemoveAll(dir), os.Rename(with, dir)); err != nil {
			t.Fatal(err)
		}
	}
	check := func(reason string) {
		t.Helper()
		b := h.store(t, dir)
		if b.Base != -1 || b.Points[0].From != "" || len(b.Notes) != 1 || !strings.Contains(b.Notes[0], reason) {
			t.Errorf("%s: %+v", reason, b)
		}
	}
	swap(short)
	check("it has 2 revisions, and had 4")
	h = h[:1]
	for i := range 3 {
		commit(t, dir, "b", fmt.Sprint(i))
	}
	check("revision 4 is another")
	h = h[:1]
	other := create(t, filepath.Join(base, "other"))
	commit(t, other, "a", "x")
	swap(other)
	check("UUID")
	commit(t, dir, "a", "y")
	if b := h.store(t, dir); b.Base != 0 || len(b.Notes) != 0 {
		t.Errorf("%+v", b)
	}
	// A roll-back goes on from an older snapshot where there is one.
	h = nil
	h.store(t, dir)
	was := filepath.Join(base, "was")
	run(t, "", "svnadmin", "hotcopy", dir, was)
	commit(t, dir, "a", "z")
	h.store(t, dir)
	swap(was)
	if b := h.store(t, dir); b.Base != 1 || len(b.Streams) != 1 {
		t.Errorf("%+v", b)
	}
}

func TestBadInput(t *testing.T) {
	dbtest.Need(t, "svnadmin")
	var missing *source.MissingError
	var program *source.ProgramError
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{empty, file, filepath.Join(empty, "nosuch")} {
		if _, err := prepare(t, dir, nil); !errors.As(err, &missing) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	if _, err := prepare(t, empty, nil, "programs", empty); !errors.As(err, &program) {
		t.Error(err)
	}
	dir := create(t, filepath.Join(empty, "repo"))
	commit(t, dir, "a", "x")
	b, err := prepare(t, dir, []source.Have{{Points: []source.Point{{Of: "repo", ID: "nonsense"}, {Of: "repo", ID: ":1"}, {Of: "repo", ID: "x:-1"}}}})
	if err != nil || b.Base != -1 {
		t.Errorf("%+v %v", b, err)
	}
	if err := os.Remove(filepath.Join(dir, "db", "revs", "0", "1")); err != nil {
		t.Fatal(err)
	}
	r, err := b.Streams[0].Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var producer *source.ProducerError
	if _, err := io.ReadAll(r); !errors.As(err, &producer) || producer.Stderr == "" {
		t.Errorf("a broken repository: %v", err)
	}
	_ = r.Close()
	for _, rest := range []string{"", "a\x00b"} {
		if _, err := New(rest, source.NewSettings(Settings, nil), source.Host{}); err == nil {
			t.Errorf("%q is accepted", rest)
		}
	}
	// Half a dump leaves what was loaded, and the next one goes on there.
	good := create(t, filepath.Join(empty, "good"))
	for i := range 5 {
		commit(t, good, "a", strings.Repeat(fmt.Sprint(i), 1000))
	}
	var h history
	h.store(t, good)
	all := h.links()
	broken := errors.New("a pack is lost")
	half := slices.Clone(all)
	half[0].Open = func(context.Context) (io.ReadCloser, error) {
		content := h[0].streams[half[0].Path]
		return io.NopCloser(io.MultiReader(bytes.NewReader(content[:len(content)*2/3]), failing{broken})), nil
	}
	to := filepath.Join(empty, "to")
	if _, err := take(t, to, half); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := take(t, to, all); err != nil {
		t.Error(err)
	}
	same(t, good, to)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
