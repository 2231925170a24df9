package restore_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"firn/internal/manifest"
	"firn/internal/restore"
	"firn/internal/target"
)

func listed(t testing.TB, paths ...string) *restore.Paths {
	t.Helper()
	p := &restore.Paths{}
	for _, path := range paths {
		if err := p.Add([]byte(path)); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

// entryLine is a line of describe taken apart.
type entryLine struct{ path, head, tail, same string }

func taken(t testing.TB, lines []string) (out []entryLine) {
	t.Helper()
	for _, line := range lines {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			t.Fatal(err)
		}
		e := entryLine{head: line}
		e.path, _ = strconv.Unquote(quoted)
		if head, rest, ok := strings.Cut(line, " same as "); ok {
			at := strings.Index(rest, ` "`) // of the target of a link
			e.head, e.same, e.tail = head, rest[:at], rest[at:]
		}
		out = append(out, e)
	}
	return out
}

// chosen are the lines of those entries that a list chooses, and of the folders on the way there, with names of hard-linked files that are not chosen replaced by the first that is.
func chosen(t testing.TB, all []entryLine, list []string) (out []string) {
	t.Helper()
	within := func(path, dir string) bool { return manifest.Within([]byte(path), []byte(dir)) }
	first := map[string]string{}
	for _, e := range all {
		in, onWay := false, false
		for _, l := range list {
			in, onWay = in || within(e.path, l), onWay || within(l, e.path)
		}
		if !in && !onWay {
			continue
		}
		group := e.same
		if group == "" {
			group = e.path
		}
		if lead, ok := first[group]; ok && e.same != "" {
			out = append(out, e.head+" same as "+lead+e.tail)
			continue
		}
		first[group] = e.path
		out = append(out, e.head+e.tail)
	}
	return out
}

// draw chooses some of the paths, in any order, some of them twice.
func draw(r *rand.Rand, all []entryLine, n int) (list []string) {
	for range n {
		list = append(list, all[r.IntN(len(all))].path)
	}
	return list
}

// TestPathsList: what is restored by a list is what the list names of a full restore, into a folder and as a tar, and the plan says so.
func TestPathsList(t *testing.T) {
	for seed := range uint64(4) {
		w := newWorld(t)
		w.pack = 300 << 10
		w.plant(seed+80, 90)
		w.backup()
		all := taken(t, describe(t, w.src))
		r := rand.New(rand.NewPCG(seed, 5))
		for round, n := range []int{1, 2, 5, 20, len(all)} {
			list := draw(r, all, n)
			o := w.options(fmt.Sprintf("out%d", round))
			o.Paths, o.Window = listed(t, list...), []int{0, 7, 64}[r.IntN(3)]
			absent, err := restore.Absent(context.Background(), o)
			if err != nil || len(absent) > 0 {
				t.Fatalf("%q, %v", absent, err)
			}
			plan, err := restore.Plan(context.Background(), o)
			w.must(err)
			res := w.clean(o)
			want := chosen(t, all, list)
			sameLines(t, want, describe(t, o.Target))
			if plan.Files != res.Files || plan.Bytes != res.Bytes || plan.Dirs != res.Dirs || plan.Others != res.Others || int(res.Files+res.Dirs+res.Others) != len(want)+1 {
				t.Errorf("planned %d files, %d bytes, %d folders; restored %+v of %d", plan.Files, plan.Bytes, plan.Dirs, res, len(want))
			}
			again := w.options(fmt.Sprintf("out%d", round))
			slices.Reverse(list)
			again.Paths = listed(t, append(list, list[0])...)
			if restore.ThawKey(&again) != restore.ThawKey(&o) {
				t.Error("the order of a list counts")
			}
			again.Paths = listed(t, append(list, "another")...)
			if restore.ThawKey(&again) == restore.ThawKey(&o) {
				t.Error("the list does not count")
			}
			var names []string
			for tr := tar.NewReader(bytes.NewReader(w.tar(o))); ; {
				h, err := tr.Next()
				if err == io.EOF {
					break
				}
				w.must(err)
				names = append(names, strings.TrimSuffix(h.Name, "/"))
			}
			var paths []string
			for _, e := range taken(t, want) {
				paths = append(paths, e.path)
			}
			missing := 0
			for _, p := range paths {
				if !slices.Contains(names, p) {
					missing++ // sockets cannot stand in a tar
				}
			}
			if len(names)+missing != len(paths) || missing > 1 {
				t.Errorf("the tar has %d entries, %d are missing of %d", len(names), missing, len(paths))
			}
		}
	}
}

// TestPathsAbsent: what the snapshot does not have is named, and left out.
func TestPathsAbsent(t *testing.T) {
	w := newWorld(t)
	w.write("a/b/c.txt", []byte("c"))
	w.write("a/b.txt", []byte("b"))
	w.write("z", []byte("z"))
	w.backup()
	for _, c := range []struct{ path, list, absent, want string }{
		{"", "a/b|nothing|a/x/y|z|zz", "a/x/y|nothing|zz", "a a/b a/b/c.txt z"},
		{"", "a|a/nothing|a/b", "a/nothing", "a a/b a/b.txt a/b/c.txt"},
		{"", "nothing", "nothing", ""},
		{"", "|nothing", "nothing", "a a/b a/b.txt a/b/c.txt z"},
		{"", "/a/b.txt/", "", "a a/b.txt"},
		{"a", "a/b|z", "z", "b b/c.txt"},
		{"a/b", "a", "", "c.txt"},
		{"a/b.txt", "a|z", "z", "b.txt"},
		{"", "a/b.txt/x|../a|a/./b", "../a|a/./b|a/b.txt/x", ""},
	} {
		o := w.options("out-" + strings.NewReplacer("/", "-", "|", "+").Replace(c.path+"_"+c.list))
		o.Path, o.Paths = []byte(c.path), listed(t, strings.Split(c.list, "|")...)
		absent, err := restore.Absent(context.Background(), o)
		w.must(err)
		if got := string(bytes.Join(absent, []byte("|"))); got != c.absent {
			t.Errorf("%q in %q: absent %s, want %s", c.list, c.path, got, c.absent)
		}
		w.clean(o)
		got := ""
		if exists(o.Target) {
			got = strings.Join(names(t, o.Target), " ")
		}
		if got != c.want {
			t.Errorf("%q in %q: %s, want %s", c.list, c.path, got, c.want)
		}
	}
}

// TestPathsDelete removes what the snapshot has not from listed folders alone.
func TestPathsDelete(t *testing.T) {
	w := newWorld(t)
	w.write("a/one", []byte("1"))
	w.write("b/two", []byte("2"))
	w.backup()
	o := w.options("out")
	w.clean(o)
	for _, name := range []string{"a/more", "b/more", "more"} {
		w.must(os.WriteFile(filepath.Join(o.Target, name), nil, 0o600))
	}
	o = w.options("out")
	o.Paths, o.Delete, o.Overwrite = listed(t, "a"), true, target.Changed
	w.clean(o)
	if got := strings.Join(names(t, o.Target), " "); got != "a a/one b b/more b/two more" {
		t.Error(got)
	}
}

// TestPathsThaw: passes over packs that come bit by bit bring what a list names, killed or not.
func TestPathsThaw(t *testing.T) {
	g := newGlacier(t, 64)
	all := taken(t, describe(t, g.src))
	r := rand.New(rand.NewPCG(3, 5))
	for round, n := range []int{3, 30} {
		list := draw(r, all, n)
		g.freeze("STANDARD", 0)
		g.freeze("DEEP_ARCHIVE", 0)
		g.speed, g.twice = 1e4, nil
		for die := 20; ; die *= 3 {
			o := g.options(fmt.Sprintf("out%d", round))
			o.Paths = listed(t, list...)
			res, err := g.thaw(o, g.state(fmt.Sprintf("jobs%d", round)), die)
			if err == nil && res.Done {
				sameLines(t, chosen(t, all, list), describe(t, o.Target))
				break
			}
			if !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		if len(g.twice) > 0 || len(g.problems) > 0 {
			t.Errorf("twice %v, problems %v", g.twice, g.problems)
		}
	}
}

// BenchmarkPathsList plans a restore of every second of 20,000 files.
func BenchmarkPathsList(b *testing.B) {
	w := newWorld(b)
	var paths []string
	for i := range 20_000 {
		name := fmt.Sprintf("d%03d/f%05d", i%100, i)
		w.write(name, []byte(name))
		if i%2 == 0 {
			paths = append(paths, name)
		}
	}
	w.backup()
	sort.Strings(paths)
	o := w.options("out")
	o.Paths = listed(b, paths...)
	for b.Loop() {
		if absent, err := restore.Absent(context.Background(), o); err != nil || len(absent) > 0 {
			b.Fatal(len(absent), err)
		}
		if n, err := restore.Plan(context.Background(), o); err != nil || n.Files != int64(len(paths)) {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(len(paths)), "paths")
}
