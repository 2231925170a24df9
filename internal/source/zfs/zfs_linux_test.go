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
	f.do("zpool", "destroy", "-f", "tank")
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
	// What stays unmounted stays as it was received, and takes what comes later without force.
	unmounted := map[string]string{"unmounted": "yes"}
	if n, err = restore(t, "tank/twin", links[:1], unmounted); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err = restore(t, "tank/twin", links, unmounted); n != len(links)-1 || err != nil {
		t.Fatal(n, err)
	}
	if got := f.do("zfs", "get", "-H", "-r", "-o", "value", "mounted", "tank/twin"); strings.Contains(got, "yes") {
		t.Fatalf("mounted: %s", got)
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

// TestFuseStopped: a run that was stopped is gone on with, stream for stream; one that is too old is not, and is cleared away.
func TestFuseStopped(t *testing.T) {
	if !privately(t) {
		return
	}
	f := newFuse(t, 256)
	f.do("zfs", "create", "tank/home")
	write(t, f.root+"/home/a", bytes.Repeat([]byte("a"), 1<<20))
	ctx := context.Background()
	now := time.Now()
	host := source.Host{Now: func() time.Time { return now }, Holder: "me"}
	other := source.Host{Now: func() time.Time { return now.Add(time.Second) }, Holder: "other"}
	s := &shelf{t: t}

	b, err := newSource(t, "tank/home", host, nil).Prepare(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	stopped := s.read(b)
	if err := b.End(ctx, false); err != nil {
		t.Fatal(err)
	}
	write(t, f.root+"/home/a", []byte("changed meanwhile"))
	now = now.Add(20 * 24 * time.Hour)
	again := s.run("tank/home", host, nil)
	if len(again.batch.Notes) != 1 || again.batch.Points[0].ID != stopped.batch.Points[0].ID {
		t.Fatalf("%+v", again.batch)
	}
	for path, content := range stopped.streams {
		if !bytes.Equal(content, again.streams[path]) || len(content) < 1<<20 {
			t.Fatalf("%s: %d bytes, then others: %d", path, len(content), len(again.streams[path]))
		}
	}
	// Somebody else's run of the same dataset is nothing to us, nor are we to them.
	o := &shelf{t: t}
	if k := o.run("tank/home", other, nil); k.batch.Points[0].ID == again.batch.Points[0].ID {
		t.Fatal("took what is not theirs")
	}
	now = now.Add(2 * time.Second)
	b, err = newSource(t, "tank/home", host, nil).Prepare(ctx, s.have())
	if err != nil {
		t.Fatal(err)
	}
	if b.Base != 0 || b.Points[0].From != again.batch.Points[0].ID {
		t.Fatalf("%+v", b)
	}
	now = now.Add(3 * time.Second)
	third := s.run("tank/home", host, map[string]string{"resume": "1s"}) // the snapshot was made by the machine's clock
	if third.batch.Points[0].ID == b.Points[0].ID {
		t.Fatal("goes on with what is too old")
	}
	got := snapshots(f, "tank/home")
	if len(got) != 2 || !slices.Contains(got, "tank/home@"+third.batch.Points[0].At) {
		t.Fatalf("snapshots %q: want the last of each holder", got)
	}
}

// TestFuseBase: where the newest state is gone, an older one serves; else the stream is a full one, and says so.
func TestFuseBase(t *testing.T) {
	if !privately(t) {
		return
	}
	f := newFuse(t, 256)
	f.do("zfs", "create", "tank/home")
	c := weekly()
	host := source.Host{Now: c.now, Holder: "me"}
	s := &shelf{t: t}
	opts := map[string]string{"keep": "3"}
	var made []*kept
	for i := range 5 {
		write(t, f.root+"/home/a", bytes.Repeat([]byte{byte(i)}, 1000))
		made = append(made, s.run("tank/home", host, opts))
		c.week()
	}
	at := func(i int) string { return "tank/home@" + made[i].batch.Points[0].At }
	if got := snapshots(f, "tank/home"); !slices.Equal(got, []string{at(2), at(3), at(4)}) {
		t.Fatalf("kept %q", got)
	}
	f.do("zfs", "release", "firn:me", at(4))
	f.do("zfs", "rollback", "-r", at(3))
	// A snapshot of the same name is not the same.
	f.do("zfs", "snapshot", at(4))
	back := s.run("tank/home", host, opts)
	if b := back.batch; b.Base != 1 || b.Points[0].From != made[3].batch.Points[0].ID || len(b.Notes) != 1 || !strings.Contains(b.Notes[0], "older state") {
		t.Fatalf("%+v", b)
	}
	if got := snapshots(f, "tank/home"); !slices.Contains(got, at(4)) {
		t.Fatalf("%q: what is not ours is gone", got)
	}
	c.week()
	for _, name := range snapshots(f, "tank/home") {
		_ = f.try("zfs", "release", "firn:me", name)
		f.do("zfs", "destroy", name)
	}
	full := s.run("tank/home", host, opts)
	if b := full.batch; b.Base != -1 || b.Points[0].From != "" || len(b.Notes) != 1 || !strings.Contains(b.Notes[0], "full stream") {
		t.Fatalf("%+v", b)
	}
	// Renamed, its chain goes on.
	c.week()
	f.do("zfs", "unmount", "tank/home")
	f.do("zfs", "rename", "tank/home", "tank/house")
	renamed := s.run("tank/house", host, opts)
	if p := renamed.batch.Points[0]; p.From != full.batch.Points[0].ID || p.Of != "tank/home" {
		t.Fatalf("%+v", renamed.batch)
	}
	// What is between is sent, too, where it is wished.
	c.week()
	f.do("zfs", "snapshot", "tank/house@between")
	s.run("tank/house", host, map[string]string{"intermediates": "yes"})
	f.pool("other", 128)
	if _, err := restore(t, "other", s.links(), nil); err == nil {
		t.Fatal("overwrote the file system of a pool")
	}
	if _, err := restore(t, "other/house", s.links(), nil); err != nil {
		t.Fatal(err)
	}
	if got := snapshots(f, "other/house"); !slices.Contains(got, "other/house@between") {
		t.Fatal(got)
	}
	// A chain that another tool has begun.
	f.do("zfs", "snapshot", "tank/house@offsite")
	base, err := zfs.NewBaseline("tank/house@offsite", "s3://old/house", settings(nil), host)
	if err != nil {
		t.Fatal(err)
	}
	b, err := base.Prepare(context.Background(), nil)
	if err != nil || len(b.Points) != 1 || !b.Points[0].Outside || b.Points[0].At != "offsite (s3://old/house)" || b.End(context.Background(), true) != nil {
		t.Fatalf("%+v, %v", b, err)
	}
	outside := &shelf{t: t, batches: []*kept{{batch: b}}}
	if f.try("zfs", "destroy", "tank/house@offsite") == nil {
		t.Fatal("the baseline is not held")
	}
	if inc := outside.run("tank/house", host, nil); inc.batch.Points[0].From != b.Points[0].ID {
		t.Fatalf("%+v", inc.batch)
	}
	f.do("zfs", "destroy", "tank/house@offsite")
	outside.batches = outside.batches[1:]
	outside.batches[0].base = nil
	var target *source.TargetError
	if _, err := restore(t, "tank/new", outside.links(), nil); !errors.As(err, &target) || !strings.Contains(err.Error(), "s3://old/house") {
		t.Fatal(err)
	}
}

// TestFuseFiles: the files of a snapshot, of which nothing stays.
func TestFuseFiles(t *testing.T) {
	if !privately(t) {
		return
	}
	f := newFuse(t, 256)
	f.do("zfs", "create", "tank/home")
	write(t, f.root+"/home/a/b", []byte("as it was"))
	ctx := context.Background()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	src := newSource(t, "tank/home", source.Host{Holder: "me"}, map[string]string{"mode": "files"})
	killed, err := src.Prepare(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.root+"/home/a/b", []byte("later"))
	if got := files(t, killed.Folder); got["/a/b"] != "as it was" || killed.Display != f.root+"/home" || killed.Base != -1 {
		t.Fatalf("%q in %+v", got, killed)
	}
	b, err := src.Prepare(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := files(t, b.Folder); got["/a/b"] != "later" {
		t.Fatalf("%q", got)
	}
	if err := b.End(ctx, true); err != nil {
		t.Fatal(err)
	}
	if got := snapshots(f, "tank/home"); len(got) != 0 {
		t.Fatalf("%q is left", got)
	}
	if got := f.do("zfs", "list", "-H", "-r", "-o", "name", "tank/home"); got != "tank/home" {
		t.Fatalf("%q is left", got)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Fatalf("%q is left, %v", left, err)
	}
}

// TestFuseBad: what is wrong is told by its type.
func TestFuseBad(t *testing.T) {
	if !privately(t) {
		return
	}
	f := newFuse(t, 256)
	f.do("zfs", "create", "tank/home")
	ctx := context.Background()
	c := weekly()
	host := source.Host{Now: c.now, Holder: "me"}
	prepare := func(dataset string, values map[string]string) error {
		t.Helper()
		_, err := newSource(t, dataset, host, values).Prepare(ctx, nil)
		if err == nil {
			t.Fatalf("%s: no error", dataset)
		}
		t.Log(err)
		return err
	}
	var missing *source.MissingError
	if err := prepare("tank/nothing", nil); !errors.As(err, &missing) || missing.What != "dataset" || missing.Name != "tank/nothing" {
		t.Fatal(err)
	}
	if err := prepare("pond/home", nil); !errors.As(err, &missing) || missing.What != "pool" || missing.Name != "pond" {
		t.Fatal(err)
	}
	if err := prepare("tank/home", map[string]string{"snapshot": "none"}); !errors.As(err, &missing) || missing.What != "snapshot" {
		t.Fatal(err)
	}
	var taken *zfs.TakenError
	f.do("zfs", "snapshot", "tank/home@offsite-20260719")
	if err := prepare("tank/home", map[string]string{"pattern": "offsite-%Y%m%d"}); !errors.As(err, &taken) {
		t.Fatal(err)
	}
	if _, err := zfs.NewBaseline("tank/home@none", "", settings(nil), host); err != nil {
		t.Fatal(err)
	}
	taker, err := zfs.NewTaker("pond/home", settings(nil))
	if err != nil {
		t.Fatal(err)
	}
	link := source.Link{Path: "x", Point: source.Point{Of: "tank/home", ID: "1", At: "a"}}
	if _, err := taker.Missing(ctx, []source.Link{link}); !errors.As(err, &missing) {
		t.Fatal(err)
	}
	// What is no stream, or half of one, changes nothing.
	s := &shelf{t: t}
	write(t, f.root+"/home/a", bytes.Repeat([]byte("x"), 1<<20))
	k := s.run("tank/home", host, map[string]string{"snapshot": "offsite-20260719"})
	good := s.links()[0]
	var failed *source.ProducerError
	for name, content := range map[string][]byte{"nothing": nil, "junk": bytes.Repeat([]byte("junk"), 100), "half": k.streams[good.Path][:1000]} {
		bad := good
		bad.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
		if _, err := restore(t, "tank/bad", []source.Link{bad}, nil); !errors.As(err, &failed) {
			t.Fatalf("%s: %v", name, err)
		}
	}
	wrong := good
	wrong.Point.ID = "4711"
	if _, err := restore(t, "tank/bad", []source.Link{wrong}, nil); !errors.As(err, &failed) {
		t.Fatal(err)
	}
	if f.try("zfs", "list", "tank/bad") == nil {
		t.Fatal("something is left of a stream that was none")
	}
	// Content that cannot be read stops the restore with its own error.
	lost := errors.New("lost")
	torn := good
	torn.Open = func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(bytes.NewReader(k.streams[good.Path][:2000]), failing{lost})), nil
	}
	if _, err := restore(t, "tank/bad", []source.Link{torn}, nil); !errors.Is(err, lost) || f.try("zfs", "list", "tank/bad") == nil {
		t.Fatal(err)
	}
	// A target that was changed since, and what brings it back.
	if _, err := restore(t, "tank/copy", []source.Link{good}, nil); err != nil {
		t.Fatal(err)
	}
	c.week()
	write(t, f.root+"/home/a", []byte("y"))
	s.run("tank/home", host, nil)
	write(t, f.root+"/copy/mine", []byte("mine"))
	var target *source.TargetError
	if _, err := restore(t, "tank/copy", s.links(), nil); !errors.As(err, &target) || !target.Exists {
		t.Fatal(err)
	}
	f.do("zfs", "snapshot", "tank/copy@mine")
	if _, err := restore(t, "tank/copy", s.links(), nil); !errors.As(err, &target) || !target.Exists || !strings.Contains(err.Error(), `"mine"`) {
		t.Fatal(err)
	}
	if n, err := restore(t, "tank/copy", s.links(), map[string]string{"force": "yes"}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if got := files(t, f.root+"/copy"); got["/a"] != "y" || len(got) != 1 {
		t.Fatalf("%q", got)
	}
	f.do("zpool", "export", "-f", "tank")
	if err := prepare("tank/home", nil); !errors.As(err, &missing) || missing.What != "pool" {
		t.Fatal(err)
	}
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
