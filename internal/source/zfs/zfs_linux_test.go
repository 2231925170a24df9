package zfs_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firn/internal/source"
	"firn/internal/source/zfs"
)

func settings(values map[string]string) *source.Settings {
	return source.NewSettings(zfs.Settings, values)
}

// shelf stands for a repository: it keeps streams by their snapshots.
type shelf struct {
	t       *testing.T
	batches []*kept // oldest first
}

type kept struct {
	batch   *source.Batch
	streams map[string][]byte
	base    *kept
}

func (s *shelf) have() (list []source.Have) {
	for i := len(s.batches) - 1; i >= 0; i-- {
		list = append(list, source.Have{Points: s.batches[i].batch.Points})
	}
	return list
}

func newSource(t *testing.T, dataset string, host source.Host, values map[string]string) *zfs.Source {
	t.Helper()
	s, err := zfs.New(dataset, settings(values), host)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run makes one backup.
func (s *shelf) run(dataset string, host source.Host, values map[string]string) *kept {
	s.t.Helper()
	b, err := newSource(s.t, dataset, host, values).Prepare(context.Background(), s.have())
	if err != nil {
		s.t.Fatal(err)
	}
	k := s.read(b)
	if err := b.End(context.Background(), true); err != nil {
		s.t.Fatal(err)
	}
	s.batches = append(s.batches, k)
	return k
}

func (s *shelf) read(b *source.Batch) *kept {
	s.t.Helper()
	k := &kept{batch: b, streams: map[string][]byte{}}
	if b.Base >= 0 {
		k.base = s.batches[len(s.batches)-1-b.Base]
	}
	for _, st := range b.Streams {
		r, err := st.Open(context.Background())
		if err != nil {
			s.t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			s.t.Fatal(err)
		}
		_ = r.Close()
		k.streams[st.Path] = content
	}
	return k
}

// links are those that lead to the last backup.
func (s *shelf) links() (links []source.Link) {
	for k := s.batches[len(s.batches)-1]; k != nil; k = k.base {
		var own []source.Link
		for _, p := range k.batch.Points {
			content := k.streams[p.Stream]
			own = append(own, source.Link{Path: p.Stream, Point: p, Size: int64(len(content)),
				Open: func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }})
		}
		links = append(own, links...)
	}
	return links
}

func restore(t *testing.T, target string, links []source.Link, values map[string]string) (int, error) {
	t.Helper()
	taker, err := zfs.NewTaker(target, settings(values))
	if err != nil {
		t.Fatal(err)
	}
	missing, err := taker.Missing(context.Background(), links)
	if err != nil {
		return 0, err
	}
	for i, l := range missing {
		if err := taker.Take(context.Background(), l); err != nil {
			return i, err
		}
	}
	return len(missing), nil
}

// clock goes on by a week, as the machine's does not.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }
func (c *clock) week()          { c.at = c.at.Add(7 * 24 * time.Hour) }

func weekly() *clock { return &clock{time.Date(2026, 7, 19, 3, 0, 0, 0, time.UTC)} }

func write(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// files reads what lies in a folder.
func files(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, root)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func snapshots(f *fuse, dataset string) []string {
	var names []string
	for line := range strings.Lines(f.do("zfs", "list", "-H", "-r", "-t", "snapshot", "-o", "name", dataset)) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, dataset) {
			names = append(names, name)
		}
	}
	return names
}

func TestFuseChain(t *testing.T) {
	if !privately(t) {
		return
	}
	f := newFuse(t, 256)
	f.do("zfs", "create", "tank/home")
	f.do("zfs", "create", "tank/home/eve")
	c := weekly()
	host := source.Host{Now: c.now, Holder: "0123abcd"}
	opts := map[string]string{"recursive": "yes", "pattern": "offsite-%Y%m%d"}
	write(t, f.root+"/home/a", []byte("first"))
	write(t, f.root+"/home/eve/b", bytes.Repeat([]byte("b"), 1<<20))
	f.do("zfs", "snapshot", "tank/home@mine")

	s := &shelf{t: t}
	first := s.run("tank/home", host, opts)
	if b := first.batch; b.Base != -1 || len(b.Points) != 2 || b.Points[0].From != "" || b.Points[0].At != "offsite-20260719" || b.Points[0].Of != "tank/home" {
		t.Fatalf("first: %+v", b)
	}
	c.week()
	write(t, f.root+"/home/a", []byte("second"))
	f.do("zfs", "create", "tank/home/bob")
	write(t, f.root+"/home/bob/new", []byte("n"))
	second := s.run("tank/home", host, opts)
	if b := second.batch; b.Base != 0 || len(b.Points) != 3 || len(b.Notes) != 1 || !strings.Contains(b.Notes[0], "tank/home/bob is new") {
		t.Fatalf("second: %+v", b)
	}
	want := []string{"tank/home@mine", "tank/home@offsite-20260726"}
	if got := slices.DeleteFunc(snapshots(f, "tank/home"), func(n string) bool { return strings.Contains(n, "home/") }); !slices.Equal(got, want) {
		t.Fatalf("snapshots %q, want %q", got, want)
	}
	c.week()
	f.do("zfs", "release", "firn:0123abcd", "tank/home/eve@offsite-20260726")
	f.do("zfs", "destroy", "-r", "tank/home/eve")
	if err := os.Remove(f.root + "/home/a"); err != nil {
		t.Fatal(err)
	}
	third := s.run("tank/home", host, opts)
	if b := third.batch; b.Base != 0 || len(b.Points) != 2 {
		t.Fatalf("third: %+v", b)
	}
	wantFiles := files(t, f.root+"/home")

	// Only what leads to the third: eve is no part of it.
	var links []source.Link
	for _, l := range s.links() {
		if l.Point.Of != "tank/home/eve" {
			links = append(links, l)
		}
	}
	f.destroy("tank")
	f.pool("tank", 256)
	n, err := restore(t, "tank/deep/restored", links[:1], nil)
	if n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err = restore(t, "tank/deep/restored", links, map[string]string{"force": "yes"}); n != len(links)-1 || err != nil {
		t.Fatal(n, err)
	}
	if got := files(t, f.root+"/deep/restored"); len(got) != len(wantFiles) || got["/bob/new"] != "n" {
		t.Fatalf("restored %q, want %q", got, wantFiles)
	}
	if n, err = restore(t, "tank/deep/restored", links, nil); n != 0 || err != nil {
		t.Fatal("again: ", n, err)
	}
	var target *source.TargetError
	f.do("zfs", "create", "tank/other")
	if _, err = restore(t, "tank/other", links, nil); !errors.As(err, &target) || !target.Exists {
		t.Fatal(err)
	}
	if _, err = restore(t, "tank/nothing", links[len(links)-1:], nil); !errors.As(err, &target) || target.Exists || !strings.Contains(err.Error(), "has to be received there first") {
		t.Fatal(err)
	}
}
